package morph

import "math"

// grid is the set of values that a column can have: floats with few mantissa bits, or integers. Before the model a value
// is spread evenly over its cell, after it the result is put back on the grid: what is left off a grid, trees see.
type grid struct {
	Mantissa int  `json:"mantissa,omitempty"` // stored mantissa bits, 0: no such grid
	Integer  bool `json:"integer,omitempty"`
}

func (g grid) active() bool { return g.Mantissa != 0 || g.Integer }

// cell returns the interval that snaps to x.
func (g grid) cell(x float64) (lo, hi float64) {
	switch {
	case g.Integer:
		return x, x + 1
	case g.Mantissa == 0 || x == 0:
		return x, x
	}
	a := math.Abs(x)
	frac, exp := math.Frexp(a) // a = frac * 2^exp, 1/2 <= frac < 1
	up := math.Ldexp(1, exp-1-g.Mantissa)
	down := up
	if frac == 0.5 {
		down /= 2 // the grid below a power of two is twice as fine
	}
	lo, hi = a-down/2, a+up/2
	if x < 0 {
		return -hi, -lo
	}
	return lo, hi
}

// spread puts x at the fraction u in (0,1) of its cell.
func (g grid) spread(x, u float64) float64 {
	if !g.active() {
		return x
	}
	lo, hi := g.cell(x)
	const margin = 1e-6 // stay off the borders, which belong to two cells
	return lo + (margin+(1-2*margin)*u)*(hi-lo)
}

// snap returns the grid value whose cell holds v.
func (g grid) snap(v float64) float64 {
	switch {
	case g.Integer:
		return math.Floor(v)
	case g.Mantissa == 0 || v == 0:
		return v
	}
	_, exp := math.Frexp(v)
	step := math.Ldexp(1, exp-1-g.Mantissa)
	if step == 0 {
		return v
	}
	return math.RoundToEven(v/step) * step
}

// detectMantissa counts the mantissa bits in use, over float32 values; 0 if the column is not truncated: it uses nearly
// all bits, is not stored in float32, or holds small whole numbers only.
func detectMantissa(cols ...[]float64) int {
	const most = 15 // of 23: at least 8 bits are always zero
	var used uint32
	whole := true
	for _, x := range cols {
		for _, v := range x {
			f := float32(v)
			if v != v || math.IsInf(v, 0) {
				continue
			}
			if float64(f) != v {
				return 0
			}
			whole = whole && v == math.Trunc(v)
			used |= math.Float32bits(f) & (1<<23 - 1)
		}
	}
	bits := 0
	for ; bits < 24 && used<<bits&(1<<23-1) != 0; bits++ {
	}
	if whole || bits == 0 || bits > most {
		return 0
	}
	return bits
}
