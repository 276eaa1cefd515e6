// Package adtest checks operations of package ad against central differences. An operation joins the checks by one line of a
// registry (see internal/ad's test): a function that records it on random inputs and parameters.
package adtest

import (
	"fmt"
	"math"
	"testing"

	"hepmorph/internal/ad"
	"hepmorph/internal/kernel"
	"hepmorph/internal/rng"
)

// A Builder hands out inputs and parameters with random content while an operation is recorded.
type Builder struct {
	P      *ad.Program[float64]
	n      int
	key    rng.Key
	names  int
	inputs []ad.Tensor
	diff   []bool
	data   [][]float64
}

// Input declares an input with a cotangent, normal numbers of standard deviation 1.
func (b *Builder) Input(width, rep int) ad.Tensor {
	return b.input(b.P.DiffInput(width, rep), true, func(s *rng.Stream) float64 { return s.Norm() })
}

// Fixed declares an input without a cotangent, such as weights or labels, uniform in (0.5, 1.5).
func (b *Builder) Fixed(width, rep int) ad.Tensor {
	return b.input(b.P.InputRows(width, rep), false, func(s *rng.Stream) float64 { return 0.5 + s.Float64() })
}

func (b *Builder) input(t ad.Tensor, diff bool, draw func(s *rng.Stream) float64) ad.Tensor {
	s := b.key.At(uint64(len(b.inputs)))
	d := make([]float64, b.n*t.Rep*t.Width)
	for i := range d {
		d[i] = draw(&s)
	}
	b.inputs, b.diff, b.data = append(b.inputs, t), append(b.diff, diff), append(b.data, d)
	return t
}

// Param makes a parameter with random content.
func (b *Builder) Param(rows, cols int) *ad.Param {
	b.names++
	name := fmt.Sprintf("p%d", b.names)
	var p *ad.Param
	if cols == 1 {
		p = b.P.Params.Vector(name, rows)
	} else {
		p = b.P.Params.Matrix(name, rows, cols)
	}
	b.P.Params.Normal(p, 0.7, 5)
	return p
}

// tolerance is that of the house: |a−n| ≤ 1e-6·max(1, |a|+|n|) at a step of 6e-6.
const tolerance, step = 1e-6, 6e-6

// Gradients records an operation by build, which returns its output, or None for one that is a loss, and compares the gradients of
// Σ cotangent·output + losses by inputs and parameters with differences, for numbers of items that fill tiles and that do not. It does so a
// second time with inputs that another operation uses too, so that gradients must be added.
func Gradients(t *testing.T, build func(b *Builder) ad.Tensor) {
	t.Helper()
	pool := ad.NewPool(2)
	defer pool.Close()
	for _, shared := range []bool{false, true} {
		for _, n := range []int{1, 5, 19} {
			t.Run(fmt.Sprintf("n=%d,shared=%v", n, shared), func(t *testing.T) { gradients(t, pool, n, shared, build) })
		}
	}
}

func gradients(t *testing.T, pool *ad.Pool, n int, shared bool, build func(b *Builder) ad.Tensor) {
	ps := ad.NewParams[float64]()
	b := &Builder{P: ad.NewProgram(ps), n: n, key: rng.NewKey(7, "adtest")}
	var outs []ad.Sink[float64]
	if y := build(b); !y.None() {
		outs = append(outs, ad.Sink[float64]{Tensor: y})
	}
	if shared {
		for i, x := range b.inputs {
			if b.diff[i] {
				outs = append(outs, ad.Sink[float64]{Tensor: b.P.Slice(x, 0, x.Width)})
			}
		}
	}
	cots := make([]ad.Sink[float64], len(outs))
	for i, o := range outs {
		s := rng.NewKey(8, "cotangent").At(uint64(i))
		size := n * o.Tensor.Rep * o.Tensor.Width
		outs[i].Data = make([]float64, size)
		cots[i] = ad.Sink[float64]{Tensor: o.Tensor, Data: make([]float64, size)}
		for k := range size {
			cots[i].Data[k] = s.Norm()
		}
	}
	sh := ad.NewShards(ps, 3)
	e := b.P.Compile(kernel.Portable[float64](), pool, sh, ad.Settings{Items: 8})
	value := func(keep bool) float64 {
		r := &ad.Run[float64]{N: n, Keep: keep, Outputs: outs, Losses: make([]float64, b.P.Losses())}
		for i := range b.inputs {
			r.Inputs = append(r.Inputs, ad.Source[float64]{Data: b.data[i]})
		}
		e.Run(r)
		s := 0.0
		for _, l := range r.Losses {
			s += l
		}
		for i, o := range outs {
			for k, v := range o.Data {
				s += v * cots[i].Data[k]
			}
		}
		return s
	}
	value(true)
	e.Back(n, cots)
	grad := make([]float64, ps.Len())
	for _, g := range sh.G {
		for i, v := range g {
			grad[i] += v
		}
	}
	pick := rng.NewKey(9, "pick").At(0)
	compare := func(what string, at *float64, got float64) {
		old := *at
		h := step * max(1, math.Abs(old))
		*at = old + h
		up := value(false)
		*at = old - h
		down := value(false)
		*at = old
		if want := (up - down) / (2 * h); math.Abs(got-want) > tolerance*max(1, math.Abs(got)+math.Abs(want)) {
			t.Errorf("%s: gradient %v, differences say %v", what, got, want)
		}
	}
	for _, p := range ps.List {
		norm := 0.0
		for range 12 {
			i, j := pick.IntN(p.Rows), pick.IntN(p.Cols)
			k := p.Off + i*p.LD + j
			compare(fmt.Sprintf("%s[%d,%d]", p.Name, i, j), &ps.W[k], grad[k])
			norm += math.Abs(grad[k])
		}
		if norm == 0 {
			t.Errorf("%s receives no gradient", p.Name)
		}
	}
	for i, x := range b.inputs {
		if !b.diff[i] {
			continue
		}
		g := make([]float64, len(b.data[i]))
		e.InputGrad(n, ad.Sink[float64]{Tensor: x, Data: g})
		norm := 0.0
		for range 20 {
			k := pick.IntN(len(g))
			compare(fmt.Sprintf("input %d[%d]", i, k), &b.data[i][k], g[k])
			norm += math.Abs(g[k])
		}
		if norm == 0 {
			t.Errorf("input %d receives no gradient", i)
		}
	}
}
