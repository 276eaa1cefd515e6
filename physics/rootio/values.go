package rootio

import (
	"fmt"
	"math"
)

// Values is a column: the values of one branch in consecutive rows.
//
// One of the slices is set, by Kind.Elem: bool in B, the signed integers in I, the unsigned in U, float32 in F32, float64 in
// F64, strings in S. Off is nil for scalars; else row i is [Off[i], Off[i+1]) and len(Off) is the number of rows plus one.
type Values struct {
	Kind Kind
	Off  []int32
	F32  []float32
	F64  []float64
	I    []int64
	U    []uint64
	B    []bool
	S    []string
}

// NewValues returns an empty column with room for n rows of one value.
func NewValues(k Kind, n int) *Values {
	v := &Values{Kind: k}
	if k.Form != Scalar {
		v.Off = make([]int32, 1, n+1)
	}
	switch e := k.Elem; {
	case e == Bool:
		v.B = make([]bool, 0, n)
	case e.Signed():
		v.I = make([]int64, 0, n)
	case e.Unsigned():
		v.U = make([]uint64, 0, n)
	case e == Float32:
		v.F32 = make([]float32, 0, n)
	case e == Float64:
		v.F64 = make([]float64, 0, n)
	case e == String:
		v.S = make([]string, 0, n)
	}
	return v
}

// Float32s returns a scalar column of float32.
func Float32s(x []float32) *Values { return &Values{Kind: Kind{Elem: Float32}, F32: x} }

// Float64s returns a scalar column of float64.
func Float64s(x []float64) *Values { return &Values{Kind: Kind{Elem: Float64}, F64: x} }

// Ints returns a scalar column of signed integers of the given type.
func Ints(e Elem, x []int64) *Values { return &Values{Kind: Kind{Elem: e}, I: x} }

// Uints returns a scalar column of unsigned integers of the given type.
func Uints(e Elem, x []uint64) *Values { return &Values{Kind: Kind{Elem: e}, U: x} }

// Bools returns a scalar column of booleans.
func Bools(x []bool) *Values { return &Values{Kind: Kind{Elem: Bool}, B: x} }

// Strings returns a scalar column of strings.
func Strings(x []string) *Values { return &Values{Kind: Kind{Elem: String}, S: x} }

// Size is the number of values, over all rows.
func (v *Values) Size() int {
	switch e := v.Kind.Elem; {
	case e == Bool:
		return len(v.B)
	case e.Signed():
		return len(v.I)
	case e.Unsigned():
		return len(v.U)
	case e == Float32:
		return len(v.F32)
	case e == Float64:
		return len(v.F64)
	case e == String:
		return len(v.S)
	}
	return 0
}

// Rows is the number of rows.
func (v *Values) Rows() int {
	if v.Off != nil {
		return max(0, len(v.Off)-1)
	}
	return v.Size()
}

// Row returns where the values of row i begin and end.
func (v *Values) Row(i int) (lo, hi int) {
	if v.Off == nil {
		return i, i + 1
	}
	return int(v.Off[i]), int(v.Off[i+1])
}

// Float returns value i (of all values, not of a row) as float64; a bool is 0 or 1, a string NaN. Integers above 2^53 lose digits.
func (v *Values) Float(i int) float64 {
	switch e := v.Kind.Elem; {
	case e == Float32:
		return float64(v.F32[i])
	case e == Float64:
		return v.F64[i]
	case e.Signed():
		return float64(v.I[i])
	case e.Unsigned():
		return float64(v.U[i])
	case e == Bool:
		if v.B[i] {
			return 1
		}
		return 0
	}
	return math.NaN()
}

// Int returns value i as int64: unsigned values keep their bits, floats are truncated.
func (v *Values) Int(i int) int64 {
	switch e := v.Kind.Elem; {
	case e.Signed():
		return v.I[i]
	case e.Unsigned():
		return int64(v.U[i])
	case e == Bool:
		if v.B[i] {
			return 1
		}
		return 0
	}
	return int64(v.Float(i))
}

// SetFloat writes x as value i, converted to the column's type; integers are rounded to the nearest.
func (v *Values) SetFloat(i int, x float64) {
	switch e := v.Kind.Elem; {
	case e == Float32:
		v.F32[i] = float32(x)
	case e == Float64:
		v.F64[i] = x
	case e.Signed():
		v.I[i] = int64(math.RoundToEven(x))
	case e.Unsigned():
		v.U[i] = uint64(math.RoundToEven(max(0, x)))
	case e == Bool:
		v.B[i] = x != 0
	}
}

// Floats returns all values as float64; it copies.
func (v *Values) Floats() []float64 {
	out := make([]float64, v.Size())
	switch e := v.Kind.Elem; {
	case e == Float64:
		copy(out, v.F64)
	case e == Float32:
		for i, x := range v.F32 {
			out[i] = float64(x)
		}
	default:
		for i := range out {
			out[i] = v.Float(i)
		}
	}
	return out
}

// Clone returns a deep copy.
func (v *Values) Clone() *Values {
	return &Values{
		Kind: v.Kind,
		Off:  append([]int32(nil), v.Off...),
		F32:  append([]float32(nil), v.F32...),
		F64:  append([]float64(nil), v.F64...),
		I:    append([]int64(nil), v.I...),
		U:    append([]uint64(nil), v.U...),
		B:    append([]bool(nil), v.B...),
		S:    append([]string(nil), v.S...),
	}
}

// Take returns the given rows, in that order, as a new column.
func (v *Values) Take(rows []int) *Values {
	out := NewValues(v.Kind, len(rows))
	for _, r := range rows {
		lo, hi := v.Row(r)
		out.appendRange(v, lo, hi)
		if out.Off != nil {
			out.Off = append(out.Off, int32(out.Size()))
		}
	}
	return out
}

// Append adds the rows of w, a column of the same kind.
func (v *Values) Append(w *Values) error {
	if w.Kind.Elem != v.Kind.Elem || (w.Off == nil) != (v.Off == nil) {
		return fmt.Errorf("rootio: could not append a column of %v to one of %v", w.Kind, v.Kind)
	}
	base := int32(v.Size())
	v.appendRange(w, 0, w.Size())
	if v.Off != nil {
		for _, o := range w.Off[1:] {
			v.Off = append(v.Off, base+o)
		}
	}
	return nil
}

func (v *Values) appendRange(w *Values, lo, hi int) {
	switch e := v.Kind.Elem; {
	case e == Bool:
		v.B = append(v.B, w.B[lo:hi]...)
	case e.Signed():
		v.I = append(v.I, w.I[lo:hi]...)
	case e.Unsigned():
		v.U = append(v.U, w.U[lo:hi]...)
	case e == Float32:
		v.F32 = append(v.F32, w.F32[lo:hi]...)
	case e == Float64:
		v.F64 = append(v.F64, w.F64[lo:hi]...)
	case e == String:
		v.S = append(v.S, w.S[lo:hi]...)
	}
}

// check says what is wrong with a column of n rows.
func (v *Values) check(n int) error {
	if v == nil {
		return fmt.Errorf("no values")
	}
	if v.Kind.Form == Scalar {
		if v.Off != nil || v.Size() != n {
			return fmt.Errorf("%d values for %d rows", v.Size(), n)
		}
		return nil
	}
	if len(v.Off) != n+1 || v.Off[0] != 0 || int(v.Off[n]) != v.Size() {
		return fmt.Errorf("offsets do not describe %d rows of %d values", n, v.Size())
	}
	for i := range n {
		d := int(v.Off[i+1]) - int(v.Off[i])
		if d < 0 || v.Kind.Form == Fixed && d != v.Kind.Len {
			return fmt.Errorf("row %d has %d values", i, d)
		}
	}
	return nil
}

// Batch is a range of consecutive rows of a tree or chain. A batch belongs to the callback that gets it: it may be kept,
// its columns are never reused.
type Batch struct {
	Lo   int64 // entry of the first row
	N    int   // rows
	Cols map[string]*Values
}

// Slice returns rows lo to hi as a batch of its own; scalar columns share memory with b.
func (b *Batch) Slice(lo, hi int) *Batch {
	out := &Batch{Lo: b.Lo + int64(lo), N: hi - lo, Cols: make(map[string]*Values, len(b.Cols))}
	for name, v := range b.Cols {
		out.Cols[name] = v.slice(lo, hi)
	}
	return out
}

func (v *Values) slice(lo, hi int) *Values {
	out := &Values{Kind: v.Kind}
	a, z := lo, hi
	if v.Off != nil {
		a, z = int(v.Off[lo]), int(v.Off[hi])
		out.Off = make([]int32, hi-lo+1)
		for i := range out.Off {
			out.Off[i] = v.Off[lo+i] - int32(a)
		}
	}
	switch e := v.Kind.Elem; {
	case e == Bool:
		out.B = v.B[a:z]
	case e.Signed():
		out.I = v.I[a:z]
	case e.Unsigned():
		out.U = v.U[a:z]
	case e == Float32:
		out.F32 = v.F32[a:z]
	case e == Float64:
		out.F64 = v.F64[a:z]
	case e == String:
		out.S = v.S[a:z]
	}
	return out
}

// Convert returns the column with another numeric type and the same rows.
func (v *Values) Convert(k Kind) *Values {
	out := &Values{Kind: k, Off: v.Off}
	n := v.Size()
	switch e := k.Elem; {
	case e == Bool:
		out.B = make([]bool, n)
	case e.Signed():
		out.I = make([]int64, n)
		for i := range n {
			out.I[i] = v.Int(i)
		}
		return out
	case e.Unsigned():
		out.U = make([]uint64, n)
		for i := range n {
			out.U[i] = uint64(v.Int(i))
		}
		return out
	case e == Float32:
		out.F32 = make([]float32, n)
	case e == Float64:
		out.F64 = make([]float64, n)
	}
	for i := range n {
		out.SetFloat(i, v.Float(i))
	}
	return out
}
