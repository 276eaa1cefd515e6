package rootio

import (
	"fmt"
	"reflect"

	"go-hep.org/x/hep/groot/rtree"
)

// embedded prepares branches whose baskets were never written on their own: they lie inside the tree's record, which is where
// small trees often are. The decoder looks for them there only when the table of baskets is empty, and it is full of zeros.
func embedded(file, path string, t rtree.Tree) error {
	var visit func(b rtree.Branch) error
	visit = func(b rtree.Branch) error {
		for _, sub := range b.Branches() {
			if err := visit(sub); err != nil {
				return err
			}
		}
		v := structOf(b, "tbranch")
		if v.Kind() != reflect.Struct {
			return nil
		}
		seek, err := hidden[[]int64](v, "basketSeek")
		if err != nil {
			return err
		}
		inside, err := hidden[[]rtree.Basket](v, "baskets")
		if err != nil {
			return err
		}
		if len(*inside) == 0 || len(*seek) == 0 {
			return nil
		}
		for _, at := range *seek {
			if at != 0 {
				return nil
			}
		}
		bytes, err := hidden[[]int32](v, "basketBytes")
		if err != nil {
			return err
		}
		entry, err := hidden[[]int64](v, "basketEntry")
		if err != nil {
			return err
		}
		*seek, *bytes, *entry = nil, nil, []int64{0}
		return nil
	}
	for _, b := range t.Branches() {
		if err := visit(b); err != nil {
			return &Error{Op: "read", File: file, Object: fmt.Sprintf("tree %q", path), Kind: ErrUnsupported, Why: "its baskets are embedded in the tree", Err: err}
		}
	}
	return nil
}
