package rootio

import (
	"fmt"
	"reflect"

	"go-hep.org/x/hep/groot/rtree"
)

// embedded refuses a tree whose baskets were never written on their own: they lie inside the tree's record, where the decoder
// does not look.
func embedded(file, path string, t rtree.Tree) error {
	if t.Entries() == 0 {
		return nil
	}
	for _, b := range t.Branches() {
		if seeks, known := basketSeeks(b); !known || seeks > 0 || len(b.Branches()) > 0 {
			return nil
		}
	}
	if len(t.Branches()) == 0 {
		return nil
	}
	return &Error{Op: "read", File: file, Object: fmt.Sprintf("tree %q", path), Kind: ErrUnsupported, Why: "its baskets are embedded in the tree, which is not supported",
		Hint: "write it again, for example with hadd"}
}

// basketSeeks counts the baskets of a branch that were written on their own.
func basketSeeks(b rtree.Branch) (n int, known bool) {
	v := structOf(b, "tbranch")
	if v.Kind() != reflect.Struct {
		return 0, false
	}
	s := v.FieldByName("basketSeek")
	if !s.IsValid() || s.Kind() != reflect.Slice {
		return 0, false
	}
	for i := range s.Len() {
		if s.Index(i).Int() != 0 {
			n++
		}
	}
	return n, true
}
