package rootio

import (
	"fmt"
	"slices"
	"strings"

	"go-hep.org/x/hep/groot/rbase"
	"go-hep.org/x/hep/groot/rbytes"
	"go-hep.org/x/hep/groot/rdict"
	"go-hep.org/x/hep/groot/riofs"
	"go-hep.org/x/hep/groot/rmeta"
	"go-hep.org/x/hep/groot/rtree"
)

// vectorOf names std::vector as ROOT does; groot's own names (int32_t, ...) are typedefs that change the type of a copied branch.
var vectorOf = map[Elem]struct {
	cxx  string
	elem rmeta.Enum
}{
	Bool: {"bool", rmeta.Bool}, Int8: {"char", rmeta.Int8}, Int16: {"short", rmeta.Int16}, Int32: {"int", rmeta.Int32}, Int64: {"long", rmeta.Int64},
	Uint8: {"unsigned char", rmeta.Uint8}, Uint16: {"unsigned short", rmeta.Uint16}, Uint32: {"unsigned int", rmeta.Uint32}, Uint64: {"unsigned long", rmeta.Uint64},
	Float32: {"float", rmeta.Float32}, Float64: {"double", rmeta.Float64}, String: {"string", rmeta.STLstring},
}

// Versions and check sum that ROOT gives these classes; the check sum of a vector is a hash of its name.
const (
	vectorVersion  = 6
	stringVersion  = 2
	stringChecksum = 1852773892
)

func nameHash(s string) uint32 {
	h := uint32(0)
	for _, c := range []byte(s) {
		h = 3*h + uint32(c)
	}
	return h
}

// shape gives the branches of a new tree their documentation and makes vectors and texts what ROOT would have written. groot
// has no setters for that, and states a leaf type by which uproot takes every vector for an array of shorts.
func shape(f *riofs.File, w rtree.Writer, cols []*writeCol) error {
	l, err := layoutsOf(f)
	if err != nil {
		return err
	}
	const own = 10 // the version by which groot registers the vectors of a tree that it makes
	l.drop(func(si rbytes.StreamerInfo) bool {
		return strings.HasPrefix(si.Name(), "vector<") && si.ClassVersion() == own
	})
	for i, b := range w.Branches() {
		c := cols[i]
		v := structOf(b, "tbranch")
		if c.Title != "" {
			n, err := hidden[rbase.Named](v, "named")
			if err != nil {
				return err
			}
			n.SetTitle(c.Title)
		}
		if !c.element() {
			continue
		}
		class, version, sum := "string", stringVersion, uint32(stringChecksum)
		if c.Kind.Form == Vector {
			of := vectorOf[c.Kind.Elem]
			class, version = "vector<"+of.cxx+">", vectorVersion
			sum = nameHash(class)
			if !slices.ContainsFunc(*l.list, func(si rbytes.StreamerInfo) bool { return si.Name() == class }) {
				l.add(rdict.NewCxxStreamerInfo(class, vectorVersion, sum, []rbytes.StreamerElement{rdict.NewStreamerSTL("This", rmeta.STLvector, of.elem)}))
			}
		}
		e := structOf(b, "")
		name, err := hidden[string](e, "class")
		if err != nil {
			return err
		}
		vers, err := hidden[uint16](e, "clsver")
		if err != nil {
			return err
		}
		check, err := hidden[uint32](e, "chksum")
		if err != nil {
			return err
		}
		*name, *vers, *check = class, uint16(version), sum
		leaf := structOf(b.Leaves()[0], "")
		typ, err := hidden[int32](leaf, "ltype")
		if err != nil {
			return err
		}
		size, err := hidden[int](structOf(b.Leaves()[0], "tleaf"), "etype")
		if err != nil {
			return err
		}
		*typ, *size = -1, 0
	}
	return nil
}

// element reports whether the branch is one of objects: a vector, or a std::string.
func (c WriteColumn) element() bool {
	return c.Kind.Form == Vector || c.Std && c.Kind == Kind{Elem: String}
}

// complete looks at the class layouts of a written file: ROOT ends the program that opens a file in which one comes twice or empty.
func complete(f *riofs.File) error {
	seen := map[string]bool{}
	for _, si := range f.StreamerInfos() {
		id := fmt.Sprintf("%s version %d", si.Name(), si.ClassVersion())
		if seen[id] || len(si.Elements()) == 0 && si.Name() != "TString" {
			return fmt.Errorf("the layout of %s is there twice, or empty", id)
		}
		seen[id] = true
	}
	return nil
}
