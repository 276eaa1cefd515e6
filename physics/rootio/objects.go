package rootio

import (
	"fmt"
	"math"

	"go-hep.org/x/hep/groot/rbytes"
	"go-hep.org/x/hep/groot/rdict"
	"go-hep.org/x/hep/groot/root"
	"go-hep.org/x/hep/groot/rtypes"
)

// object is a histogram, graph or text on its way from one file to another, encoded.
type object struct {
	path, class string
	data        []byte // nil when it can't be had
	why         string
}

// copied are the classes that can be carried over: decoded, checked, encoded again.
var copied = map[string]bool{
	"TH1F": true, "TH1D": true, "TH1I": true, "TH2F": true, "TH2D": true, "TH2I": true, "TProfile": true, "TProfile2D": true,
	"TGraph": true, "TGraphErrors": true, "TGraphAsymmErrors": true, "TObjString": true,
}

// maxObject is the largest encoded object that is carried over.
const maxObject = 256 << 20

// objects decodes what is no tree in a file.
func (l *local) objects(path string, emit func(object) error) error {
	f, err := openFile(path)
	if err != nil {
		return err
	}
	defer f.Close()
	var list []entry
	err = guarded("list", path, "", func() error {
		list, err = walk(f)
		return wrapped("list", path, "its folders", err)
	})
	if err != nil {
		return err
	}
	for _, e := range list {
		if isTree(e.class) {
			continue
		}
		o := object{path: e.path, class: e.class}
		if !copied[e.class] {
			o.why = "objects of class " + e.class + " are not copied"
		} else if err := guarded("read", path, fmt.Sprintf("%q", e.path), func() error {
			v, err := e.dir.Get(e.key.Name())
			if err != nil {
				return err
			}
			m, ok := v.(rbytes.Marshaler)
			if !ok {
				return fmt.Errorf("%T can't be written", v)
			}
			w := rbytes.NewWBuffer(nil, nil, 0, rdict.StreamerInfos)
			if _, err := m.MarshalROOT(w); err != nil {
				return err
			}
			if len(w.Bytes()) > maxObject {
				return fmt.Errorf("it has %d bytes", len(w.Bytes()))
			}
			o.data = append([]byte{}, w.Bytes()...)
			return nil
		}); err != nil {
			o.why = why(err)
		}
		if err := emit(o); err != nil {
			return err
		}
	}
	return nil
}

// decode makes the object again.
func (o object) decode() (v root.Object, err error) {
	err = guarded("read", o.path, "", func() error {
		if !rtypes.Factory.HasKey(o.class) {
			return fmt.Errorf("unknown class %s", o.class)
		}
		var ok bool
		if v, ok = rtypes.Factory.Get(o.class)().Interface().(root.Object); !ok {
			return fmt.Errorf("class %s is no object", o.class)
		}
		u, ok := v.(rbytes.Unmarshaler)
		if !ok {
			return fmt.Errorf("class %s can't be decoded", o.class)
		}
		return u.UnmarshalROOT(rbytes.NewRBuffer(o.data, nil, 0, rdict.StreamerInfos))
	})
	return v, err
}

// sum adds the contents of a histogram to another of the same binning.
func sum(dst, src root.Object) error {
	if dst.Class() != src.Class() {
		return fmt.Errorf("one is a %s, the other a %s", dst.Class(), src.Class())
	}
	if member(dst, "fArray") == nil {
		return fmt.Errorf("objects of class %s from several files can't be added", dst.Class())
	}
	for _, axis := range []string{"fXaxis", "fYaxis"} {
		for _, m := range []string{"fNbins", "fXmin", "fXmax", "fXbins"} {
			a, b := member(member(dst, axis), m), member(member(src, axis), m)
			if fmt.Sprint(deref(a)) != fmt.Sprint(deref(b)) {
				return fmt.Errorf("their binnings differ")
			}
		}
	}
	for _, m := range []string{"fArray", "fSumw2", "fEntries", "fTsumw", "fTsumw2", "fTsumwx", "fTsumwx2", "fTsumwy", "fTsumwy2", "fTsumwxy"} {
		a, b := member(dst, m), member(src, m)
		if a == nil && b == nil {
			continue
		}
		if err := addTo(a, b); err != nil {
			return fmt.Errorf("%s: %w", m, err)
		}
	}
	return nil
}

func deref(p any) any {
	switch x := p.(type) {
	case *int:
		return *x
	case *float64:
		return *x
	case *[]float64:
		return *x
	}
	return p
}

func addTo(a, b any) error {
	switch x := a.(type) {
	case *float64:
		if y, ok := b.(*float64); ok {
			*x += *y
			return nil
		}
	case *[]float64:
		if y, ok := b.(*[]float64); ok && len(*x) == len(*y) {
			for i, v := range *y {
				(*x)[i] += v
			}
			return nil
		}
	case *[]float32:
		if y, ok := b.(*[]float32); ok && len(*x) == len(*y) {
			for i, v := range *y {
				(*x)[i] += v
			}
			return nil
		}
	case *[]int32:
		if y, ok := b.(*[]int32); ok && len(*x) == len(*y) {
			for i, v := range *y {
				s := int64((*x)[i]) + int64(v)
				(*x)[i] = int32(min(max(s, math.MinInt32), math.MaxInt32))
			}
			return nil
		}
	}
	return fmt.Errorf("they have different sizes")
}
