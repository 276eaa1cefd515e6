package rootio

import (
	"errors"
	"fmt"
	"reflect"
	"slices"

	"go-hep.org/x/hep/groot/riofs"
	"go-hep.org/x/hep/groot/root"
	"go-hep.org/x/hep/groot/rtree"
)

// A batch of the reader is closed at so many rows, or bytes, whichever comes first.
const (
	batchRows  = 1 << 15
	batchBytes = 8 << 20
	lastRows   = 1 << 12 // of the last one of flat branches, see smaller
)

// smaller is how many of the rows that are left go into the next batch if there is room for n. What is left at the end is halved and halved again: whoever
// works on a batch alone has others wait for the last one.
func smaller(n, left int64) int64 {
	if left > batchRows {
		return n
	}
	return min(n, max(left/2, lastRows), left)
}

// accum collects the values of one branch, row by row, from the variable that the decoder fills.
type accum struct {
	kind Kind
	cur  Values
	hint int // values of the batch before
	pull func()
}

func (a *accum) reset(rows int) {
	a.cur = *NewValues(a.kind, 0)
	n := max(a.hint+a.hint/8, rows)
	switch e := a.kind.Elem; {
	case e == Bool:
		a.cur.B = make([]bool, 0, n)
	case e.Signed():
		a.cur.I = make([]int64, 0, n)
	case e.Unsigned():
		a.cur.U = make([]uint64, 0, n)
	case e == Float32:
		a.cur.F32 = make([]float32, 0, n)
	case e == Float64:
		a.cur.F64 = make([]float64, 0, n)
	case e == String:
		a.cur.S = make([]string, 0, n)
	}
	if a.kind.Form != Scalar {
		a.cur.Off = make([]int32, 1, rows+1)
	}
}

// take hands the collected values over.
func (a *accum) take() *Values {
	v := a.cur
	a.hint = v.Size()
	return &v
}

func (a *accum) bytes() int {
	n := a.kind.Elem.Size()
	if n == 0 {
		n = 32
	}
	return n*a.cur.Size() + 4*len(a.cur.Off)
}

type number interface {
	~int8 | ~int16 | ~int32 | ~int64 | ~uint8 | ~uint16 | ~uint32 | ~uint64 | ~float32 | ~float64
}

func pullScalar[T, S number](p *T, dst *[]S) func() {
	return func() { *dst = append(*dst, S(*p)) }
}

func pullSlice[T, S number](p *[]T, dst *[]S, off *[]int32) func() {
	return func() {
		for _, x := range *p {
			*dst = append(*dst, S(x))
		}
		*off = append(*off, int32(len(*dst)))
	}
}

func pullCopy[T any](p *[]T, dst *[]T, off *[]int32) func() {
	return func() {
		*dst = append(*dst, *p...)
		*off = append(*off, int32(len(*dst)))
	}
}

// newAccum returns the variable for the decoder and the accumulator that reads it.
func newAccum(k Kind, rt reflect.Type) (ptr any, a *accum, err error) {
	a = &accum{kind: k}
	a.cur.Kind = k
	rv := reflect.New(rt)
	ptr = rv.Interface()
	c, off := &a.cur, &a.cur.Off
	view := ptr
	if rt.Kind() == reflect.Array && rt.Elem().Kind() != reflect.Array {
		s := reflect.New(reflect.SliceOf(rt.Elem()))
		s.Elem().Set(rv.Elem().Slice(0, rt.Len())) // a view: it always shows what the decoder wrote last
		view = s.Interface()
	}
	switch p := view.(type) {
	case *bool:
		a.pull = func() { c.B = append(c.B, *p) }
	case *string:
		a.pull = func() { c.S = append(c.S, *p) }
	case *int8:
		a.pull = pullScalar(p, &c.I)
	case *int16:
		a.pull = pullScalar(p, &c.I)
	case *int32:
		a.pull = pullScalar(p, &c.I)
	case *int64:
		a.pull = pullScalar(p, &c.I)
	case *uint8:
		a.pull = pullScalar(p, &c.U)
	case *uint16:
		a.pull = pullScalar(p, &c.U)
	case *uint32:
		a.pull = pullScalar(p, &c.U)
	case *uint64:
		a.pull = pullScalar(p, &c.U)
	case *float32:
		a.pull = pullScalar(p, &c.F32)
	case *float64:
		a.pull = pullScalar(p, &c.F64)
	case *root.Float16:
		a.pull = pullScalar(p, &c.F32)
	case *root.Double32:
		a.pull = pullScalar(p, &c.F64)
	case *[]bool:
		a.pull = pullCopy(p, &c.B, off)
	case *[]string:
		a.pull = pullCopy(p, &c.S, off)
	case *[]int8:
		a.pull = pullSlice(p, &c.I, off)
	case *[]int16:
		a.pull = pullSlice(p, &c.I, off)
	case *[]int32:
		a.pull = pullSlice(p, &c.I, off)
	case *[]int64:
		a.pull = pullCopy(p, &c.I, off)
	case *[]uint8:
		a.pull = pullSlice(p, &c.U, off)
	case *[]uint16:
		a.pull = pullSlice(p, &c.U, off)
	case *[]uint32:
		a.pull = pullSlice(p, &c.U, off)
	case *[]uint64:
		a.pull = pullCopy(p, &c.U, off)
	case *[]float32:
		a.pull = pullCopy(p, &c.F32, off)
	case *[]float64:
		a.pull = pullCopy(p, &c.F64, off)
	case *[]root.Float16:
		a.pull = pullSlice(p, &c.F32, off)
	case *[]root.Double32:
		a.pull = pullSlice(p, &c.F64, off)
	default:
		if k.Form == Scalar || k.Elem == NoElem {
			return nil, nil, fmt.Errorf("values of type %v can't be columns", rt)
		}
		a.pull = func() {
			a.walk(rv.Elem())
			*off = append(*off, int32(c.Size()))
		}
	}
	return ptr, a, nil
}

// walk appends the values of a nested array; it is the slow way, for shapes with several dimensions.
func (a *accum) walk(v reflect.Value) {
	switch v.Kind() {
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			a.walk(v.Index(i))
		}
	case reflect.Bool:
		a.cur.B = append(a.cur.B, v.Bool())
	case reflect.String:
		a.cur.S = append(a.cur.S, v.String())
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		a.cur.I = append(a.cur.I, v.Int())
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		a.cur.U = append(a.cur.U, v.Uint())
	case reflect.Float32:
		a.cur.F32 = append(a.cur.F32, float32(v.Float()))
	case reflect.Float64:
		a.cur.F64 = append(a.cur.F64, v.Float())
	}
}

// readRange reads rows lo to hi of one tree, in order, and calls emit for each batch; Batch.Lo is the row in the file plus base. With flats
// it reads flat branches by itself, and where it can't do that returns errNotFlat.
func readRange(f *riofs.File, file, path string, t rtree.Tree, names []string, lo, hi, base int64, flats bool, emit func(*Batch) error) error {
	obj := fmt.Sprintf("tree %q", path)
	branches, refs := describe(t)
	index := make(map[string]int, len(branches))
	for i, b := range branches {
		if _, ok := index[b.Name]; !ok {
			index[b.Name] = i
		}
	}
	// The decoder wants a counter before the arrays that it counts.
	counts := map[string]bool{}
	for _, name := range names {
		if i, ok := index[name]; ok && branches[i].Counter != "" {
			counts[branches[i].Counter] = true
		}
	}
	names = slices.Clone(names)
	slices.SortStableFunc(names, func(a, b string) int {
		if counts[a] == counts[b] {
			return 0
		}
		if counts[a] {
			return -1
		}
		return 1
	})
	vars := make([]rtree.ReadVar, 0, len(names))
	var cols []*accum // of vars
	var arrays []*flat
	var inVars, inArrays []string
	width := 0 // of a row of the arrays
	for _, name := range names {
		i, ok := index[name]
		if !ok {
			return noBranch(file, path, name, branches)
		}
		b := branches[i]
		if !b.Kind.Readable() {
			return &Error{Op: "read", File: file, Object: fmt.Sprintf("%s: branch %q", obj, name), Kind: ErrUnsupported, Why: b.Why}
		}
		if flats && !counts[name] {
			if c := newFlat(f, t, refs[i].branch, b.Kind); c != nil {
				arrays, inArrays = append(arrays, c), append(inArrays, name)
				width += b.Kind.Elem.Size()
				continue
			}
		}
		ptr, a, err := newAccum(b.Kind, refs[i].rtype)
		if err != nil {
			return &Error{Op: "read", File: file, Object: fmt.Sprintf("%s: branch %q", obj, name), Kind: ErrUnsupported, Err: err}
		}
		vars = append(vars, rtree.ReadVar{Name: refs[i].branch, Leaf: refs[i].leaf, Value: ptr})
		cols, inVars = append(cols, a), append(inVars, name)
	}
	if lo >= hi {
		return nil
	}
	if len(names) == 0 {
		for at := lo; at < hi; at += batchRows {
			if err := emit(&Batch{Lo: base + at, N: int(min(batchRows, hi-at)), Cols: map[string]*Values{}}); err != nil {
				return err
			}
		}
		return nil
	}

	at, n := lo, 0
	var stop error
	flush := func() error {
		b := &Batch{Lo: base + at, N: n, Cols: make(map[string]*Values, len(names))}
		for i, a := range cols {
			v := a.take()
			if err := v.check(n); err != nil {
				return &Error{Op: "read", File: file, Object: fmt.Sprintf("%s: branch %q: rows from %d", obj, inVars[i], at), Kind: ErrCorrupt, Err: err}
			}
			b.Cols[inVars[i]] = v
		}
		got, err := readArrays(arrays, at, at+int64(n))
		if errors.Is(err, errChecksum) {
			return &Error{Op: "read", File: file, Object: obj, Kind: ErrCorrupt, Err: err, Hint: "fetch it again"}
		}
		if err != nil {
			return err
		}
		for i, v := range got {
			b.Cols[inArrays[i]] = v
		}
		at += int64(n)
		n = 0
		return emit(b)
	}
	room := func() int { return int(min(batchRows, hi-at, max(256, batchBytes/int64(12*len(names))))) }
	for len(cols) == 0 && at < hi {
		n = int(smaller(min(batchRows, max(256, batchBytes/int64(width))), hi-at))
		if err := flush(); err != nil {
			return err
		}
	}
	if at == hi {
		return nil
	}
	err := guarded("read", file, obj, func() error {
		r, err := rtree.NewReader(t, vars, rtree.WithRange(lo, hi))
		if err != nil {
			return wrapped("read", file, obj, err)
		}
		defer r.Close()
		for _, a := range cols {
			a.reset(room())
		}
		err = r.Read(func(rtree.RCtx) error {
			for _, a := range cols {
				a.pull()
			}
			n++
			if n < batchRows && n&255 != 0 && len(names) < 64 {
				return nil
			}
			size := n * width
			for _, a := range cols {
				size += a.bytes()
			}
			if n < batchRows && size < batchBytes {
				return nil
			}
			if stop = flush(); stop != nil {
				return stop
			}
			for _, a := range cols {
				a.reset(room())
			}
			return nil
		})
		if stop != nil {
			return stop
		}
		return wrapped("read", file, obj, err)
	})
	if err != nil {
		return err
	}
	if n > 0 {
		if err := flush(); err != nil {
			return err
		}
	}
	if at != hi {
		return &Error{Op: "read", File: file, Object: obj, Kind: ErrCorrupt, Why: fmt.Sprintf("rows end at %d of %d", at, hi)}
	}
	return nil
}

func noBranch(file, path, name string, have []Branch) error {
	names := make([]string, 0, len(have))
	for _, b := range have {
		names = append(names, b.Name)
	}
	return &Error{Op: "find branch", File: file, Object: fmt.Sprintf("tree %q", path), Kind: ErrColumns, Why: "no such branch", Want: name, Have: Nearest(name, names, 5)}
}
