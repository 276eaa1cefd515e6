package rootio

import (
	"go-hep.org/x/hep/groot/rbase"
	"go-hep.org/x/hep/groot/rtree"
)

// setTitles gives the branches of a new tree their documentation. The encoder has no setter: a branch's title is a field that
// its package keeps to itself, reached here by name; where the name has changed the titles stay as they are.
func setTitles(w rtree.Writer, cols []*writeCol) {
	for i, b := range w.Branches() {
		if i >= len(cols) || cols[i].Title == "" {
			continue
		}
		if n, err := hidden[rbase.Named](structOf(b, "tbranch"), "named"); err == nil {
			n.SetTitle(cols[i].Title)
		}
	}
}
