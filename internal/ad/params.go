package ad

import (
	"fmt"
	"math"

	"hepmorph/internal/kernel"
	"hepmorph/internal/rng"
)

// Params is a store of named parameter matrices in one flat vector, so that an optimizer, a checkpoint or a moving average sees
// plain slices.
type Params[T kernel.Float] struct {
	List []*Param
	W    []T // values
	Mask []T // 1 where a weight may move, 0 where it is masked or padding
}

// A Param is a matrix (Rows, Cols) with row length LD >= Cols in the flat vector, at Off. A bias has Cols 1 and LD 1.
type Param struct {
	Name       string
	Rows, Cols int
	LD         int
	Off        int
	index      int // in the list
}

// Size is the number of entries in the flat vector, padding included.
func (p *Param) Size() int { return p.Rows * p.LD }

// NewParams returns an empty store.
func NewParams[T kernel.Float]() *Params[T] { return &Params[T]{} }

const align = 16

func roundUp(n, m int) int { return (n + m - 1) / m * m }

// Matrix adds a weight matrix, rows padded to multiples of 16, zero until it is initialised. Names must differ.
func (ps *Params[T]) Matrix(name string, rows, cols int) *Param {
	ld := roundUp(cols, align)
	if ld%1024 == 0 { // a product that steps over rows a multiple of 4096 bytes apart would find them in few sets of the level-1 cache
		ld += align
	}
	return ps.add(name, rows, cols, ld)
}

// Vector adds a bias or another list of n numbers.
func (ps *Params[T]) Vector(name string, n int) *Param { return ps.add(name, n, 1, 1) }

func (ps *Params[T]) add(name string, rows, cols, ld int) *Param {
	for _, q := range ps.List {
		if q.Name == name {
			panic("ad: two parameters of one name: " + name)
		}
	}
	p := &Param{Name: name, Rows: rows, Cols: cols, LD: ld, Off: len(ps.W), index: len(ps.List)}
	n := roundUp(rows*ld, align)
	ps.W, ps.Mask = longer(ps.W, n), longer(ps.Mask, n)
	for i := range rows {
		for j := range cols {
			ps.Mask[p.Off+i*ld+j] = 1
		}
	}
	ps.List = append(ps.List, p)
	return p
}

// longer appends n zeros.
func longer[T kernel.Float](s []T, n int) []T {
	if n += len(s); n > cap(s) {
		t := kernel.Slab[T](max(n, len(s)+len(s)/2))
		copy(t, s)
		s = t
	}
	return s[:n]
}

// Len is the length of the flat vector, padding included.
func (ps *Params[T]) Len() int { return len(ps.W) }

// Count is the number of parameters that can move.
func (ps *Params[T]) Count() int {
	n := 0
	for _, m := range ps.Mask {
		if m != 0 {
			n++
		}
	}
	return n
}

// Row returns row i of p.
func (ps *Params[T]) Row(p *Param, i int) []T { return ps.W[p.Off+i*p.LD:][:p.Cols] }

// SetMask freezes the entries of p where keep is false and sets them to zero.
func (ps *Params[T]) SetMask(p *Param, keep func(i, j int) bool) {
	for i := range p.Rows {
		for j := range p.Cols {
			if !keep(i, j) {
				ps.Mask[p.Off+i*p.LD+j] = 0
				ps.W[p.Off+i*p.LD+j] = 0
			}
		}
	}
}

// Uniform fills p with numbers uniform in ±bound, addressed by seed and name, and leaves masked entries at zero.
func (ps *Params[T]) Uniform(p *Param, bound float64, seed uint64) {
	s := rng.NewKey(seed, "init "+p.Name).At(0)
	ps.fill(p, func() float64 { return bound * (2*s.Float64() - 1) })
}

// Normal fills p with normal numbers of standard deviation sd.
func (ps *Params[T]) Normal(p *Param, sd float64, seed uint64) {
	s := rng.NewKey(seed, "init "+p.Name).At(0)
	ps.fill(p, func() float64 { return sd * s.Norm() })
}

// Constant fills p with v.
func (ps *Params[T]) Constant(p *Param, v float64) { ps.fill(p, func() float64 { return v }) }

func (ps *Params[T]) fill(p *Param, f func() float64) {
	for i := range p.Rows {
		for j := range p.Cols {
			if v, k := T(f()), p.Off+i*p.LD+j; ps.Mask[k] != 0 {
				ps.W[k] = v
			}
		}
	}
}

// Named returns the parameters by name as dense row-major matrices.
func (ps *Params[T]) Named() map[string][]T {
	m := map[string][]T{}
	for _, p := range ps.List {
		v := make([]T, 0, p.Rows*p.Cols)
		for i := range p.Rows {
			v = append(v, ps.Row(p, i)...)
		}
		m[p.Name] = v
	}
	return m
}

// SetNamed fills the parameters from dense matrices. It refuses missing names, other sizes and numbers that are not finite.
func (ps *Params[T]) SetNamed(m map[string][]T) error {
	for _, p := range ps.List {
		v, ok := m[p.Name]
		if !ok {
			return fmt.Errorf("ad: could not find parameter %q", p.Name)
		}
		if len(v) != p.Rows*p.Cols {
			return fmt.Errorf("ad: could not use parameter %q: it has %d numbers, not %d×%d", p.Name, len(v), p.Rows, p.Cols)
		}
		for k, w := range v {
			if math.IsNaN(float64(w)) || math.IsInf(float64(w), 0) {
				return fmt.Errorf("ad: could not use parameter %q: number %d is not finite", p.Name, k)
			}
		}
		for i := range p.Rows {
			copy(ps.Row(p, i), v[i*p.Cols:(i+1)*p.Cols])
		}
	}
	return nil
}

// Convert returns a store of the same layout in another element type.
func Convert[U, T kernel.Float](ps *Params[T]) *Params[U] {
	q := &Params[U]{List: ps.List, W: make([]U, len(ps.W)), Mask: make([]U, len(ps.Mask))}
	for i := range ps.W {
		q.W[i], q.Mask[i] = U(ps.W[i]), U(ps.Mask[i])
	}
	return q
}
