package rootio

import (
	"reflect"
	"unsafe"

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
		v := reflect.ValueOf(b)
		if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
			continue
		}
		v = v.Elem()
		if e := v.FieldByName("tbranch"); e.IsValid() {
			v = e
		}
		if f := v.FieldByName("named"); f.IsValid() && f.Type() == reflect.TypeFor[rbase.Named]() && f.CanAddr() {
			(*rbase.Named)(unsafe.Pointer(f.UnsafeAddr())).SetTitle(cols[i].Title)
		}
	}
}
