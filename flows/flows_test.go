package flows

import (
	"fmt"
	"math"
	"testing"

	"hepmorph/internal/ad"
	"hepmorph/internal/kernel"
	"hepmorph/internal/rng"
)

// registry lists every named flow; the properties below hold for each.
var registry = []struct {
	name string
	make func(ps *Params[float64], d, c int, seed uint64) (*Flow[float64], error)
}{
	{"maf", func(ps *Params[float64], d, c int, seed uint64) (*Flow[float64], error) {
		return NewMAF(ps, Settings{Features: d, Context: c, Transforms: 3, Hidden: []int{24, 16}, Seed: seed})
	}},
	{"nsf", func(ps *Params[float64], d, c int, seed uint64) (*Flow[float64], error) {
		return NewNSF(ps, Settings{Features: d, Context: c, Transforms: 2, Hidden: []int{24, 20}, Seed: seed})
	}},
	{"nsf 5 bins", func(ps *Params[float64], d, c int, seed uint64) (*Flow[float64], error) {
		return NewNSF(ps, Settings{Features: d, Context: c, Transforms: 2, Hidden: []int{17}, Bins: 5, Seed: seed})
	}},
	{"coupling nsf", func(ps *Params[float64], d, c int, seed uint64) (*Flow[float64], error) {
		return NewNSF(ps, Settings{Features: d, Context: c, Transforms: 3, Hidden: []int{24, 20}, Passes: 2, Seed: seed})
	}},
	{"circular nsf", func(ps *Params[float64], d, c int, seed uint64) (*Flow[float64], error) {
		return NewNSF(ps, Settings{Features: d, Context: c, Transforms: 2, Hidden: []int{24}, Bound: math.Pi, Circular: true, Seed: seed})
	}},
}

// sharpen makes the parameters larger than their start, so that the maps are far from linear.
func sharpen(ps *Params[float64], by float64) {
	for i := range ps.W {
		ps.W[i] *= by
	}
}

func rows(n, d int, scale float64, seed uint64) []float64 {
	s := rng.NewKey(seed, "rows").At(0)
	x := make([]float64, n*d)
	for i := range x {
		x[i] = scale * s.Norm()
	}
	return x
}

func forEach(t *testing.T, f func(t *testing.T, fl *Flow[float64], d, c int)) {
	for _, e := range registry {
		for _, dc := range [][2]int{{1, 0}, {1, 2}, {2, 0}, {5, 3}, {8, 1}} {
			t.Run(fmt.Sprintf("%s/%d-%d", e.name, dc[0], dc[1]), func(t *testing.T) {
				ps := ad.NewParams[float64]()
				fl, err := e.make(ps, dc[0], dc[1], 3)
				if err != nil {
					t.Fatal(err)
				}
				sharpen(ps, 2)
				f(t, fl, dc[0], dc[1])
			})
		}
	}
}

func TestInverseAndLogDet(t *testing.T) {
	pool := ad.NewPool(2)
	defer pool.Close()
	forEach(t, func(t *testing.T, fl *Flow[float64], d, c int) {
		ev := NewEvaluator(fl, kernel.Portable[float64](), pool)
		for _, n := range []int{1, 7, 64, 131} {
			x, ctx := rows(n, d, 2, 1), rows(n, c, 1, 2)
			z, l := make([]float64, n*d), make([]float64, n)
			ev.Encode(n, z, l, x, ctx)
			y, m := make([]float64, n*d), make([]float64, n)
			ev.Decode(n, y, m, z, ctx)
			for i := range x {
				if math.Abs(y[i]-x[i]) > 1e-9*max(1, math.Abs(x[i])) {
					t.Fatalf("n=%d: row %d: %v comes back as %v", n, i/d, x[i], y[i])
				}
			}
			for i := range l {
				if math.Abs(l[i]+m[i]) > 1e-8 {
					t.Fatalf("n=%d: row %d: log-dets %v and %v do not cancel", n, i, l[i], m[i])
				}
			}
		}
	})
}

func TestLogDetIsTheJacobians(t *testing.T) {
	pool := ad.NewPool(1)
	forEach(t, func(t *testing.T, fl *Flow[float64], d, c int) {
		ev := NewEvaluator(fl, kernel.Portable[float64](), pool)
		const n = 9
		x, ctx := rows(n, d, 1.5, 5), rows(n, c, 1, 6)
		z, l := make([]float64, n*d), make([]float64, n)
		ev.Encode(n, z, l, x, ctx)
		jac := make([][]float64, n)
		for i := range jac {
			jac[i] = make([]float64, d*d)
		}
		const h = 1e-6
		up, down := make([]float64, n*d), make([]float64, n*d)
		for j := range d {
			xs := append([]float64(nil), x...)
			for i := range n {
				xs[i*d+j] += h
			}
			ev.Encode(n, up, nil, xs, ctx)
			for i := range n {
				xs[i*d+j] -= 2 * h
			}
			ev.Encode(n, down, nil, xs, ctx)
			for i := range n {
				for k := range d {
					jac[i][k*d+j] = (up[i*d+k] - down[i*d+k]) / (2 * h)
				}
			}
		}
		for i := range n {
			if want := logDet(jac[i], d); math.Abs(l[i]-want) > 1e-6*max(1, math.Abs(want)) {
				t.Errorf("row %d: log-det %v, from the Jacobian %v", i, l[i], want)
			}
		}
	})
}

func logDet(a []float64, d int) float64 {
	s := 0.0
	for k := range d {
		p := k
		for i := k; i < d; i++ {
			if math.Abs(a[i*d+k]) > math.Abs(a[p*d+k]) {
				p = i
			}
		}
		for j := range d {
			a[k*d+j], a[p*d+j] = a[p*d+j], a[k*d+j]
		}
		s += math.Log(math.Abs(a[k*d+k]))
		for i := k + 1; i < d; i++ {
			q := a[i*d+k] / a[k*d+k]
			for j := k; j < d; j++ {
				a[i*d+j] -= q * a[k*d+j]
			}
		}
	}
	return s
}

// TestGradients compares the gradients of a random function of value and log-det, in both directions, with central differences: for every
// parameter block, for the input and for the context.
func TestGradients(t *testing.T) {
	pool := ad.NewPool(1)
	forEach(t, func(t *testing.T, fl *Flow[float64], d, c int) {
		for _, inverse := range []bool{false, true} {
			t.Run(map[bool]string{false: "forward", true: "inverse"}[inverse], func(t *testing.T) {
				const n = 37
				p := ad.NewProgram(fl.Params)
				x := p.DiffInput(d, 1)
				in := []Tensor{x}
				var ctx Tensor
				if c > 0 {
					ctx = p.DiffInput(c, 1)
					in = append(in, ctx)
				}
				ladj := p.Sum(1)
				var y Tensor
				if inverse {
					y = fl.Bijectors.Inverse(p, x, ctx, ladj)
				} else {
					y = fl.Bijectors.Forward(p, x, ctx, ladj)
				}
				sh := ad.NewShards(fl.Params, 2)
				e := p.Compile(kernel.Portable[float64](), pool, sh, ad.Settings{Items: 32})
				data := [][]float64{rows(n, d, 1.3, 11), rows(n, c, 1, 12)}
				gy, gl := rows(n, d, 1, 13), rows(n, 1, 1, 14)
				outY, outL := make([]float64, n*d), make([]float64, n)
				value := func(keep bool) float64 {
					r := &ad.Run[float64]{N: n, Keep: keep, Outputs: []ad.Sink[float64]{{Tensor: y, Data: outY}, {Tensor: ladj, Data: outL}}}
					for i := range in {
						r.Inputs = append(r.Inputs, ad.Source[float64]{Data: data[i]})
					}
					e.Run(r)
					s := 0.0
					for i, v := range outY {
						s += v * gy[i]
					}
					for i, v := range outL {
						s += v * gl[i]
					}
					return s
				}
				value(true)
				e.Back(n, []ad.Sink[float64]{{Tensor: y, Data: gy}, {Tensor: ladj, Data: gl}})
				grad := make([]float64, fl.Params.Len())
				for _, g := range sh.G {
					for i, v := range g {
						grad[i] += v * fl.Params.Mask[i]
					}
				}
				inGrad := make([][]float64, len(in))
				for i, v := range in {
					inGrad[i] = make([]float64, len(data[i]))
					e.InputGrad(n, ad.Sink[float64]{Tensor: v, Data: inGrad[i]})
				}
				check := func(what string, at *float64, got float64) {
					t.Helper()
					old := *at
					h := 3e-6 * max(1, math.Abs(old))
					*at = old + h
					up := value(false)
					*at = old - h
					down := value(false)
					*at = old
					want := (up - down) / (2 * h)
					if math.Abs(got-want) > 2e-6*max(1, math.Abs(got)+math.Abs(want)) {
						t.Errorf("%s: gradient %v, differences say %v", what, got, want)
					}
				}
				pick := rng.NewKey(1, "pick").At(0)
				for _, par := range fl.Params.List {
					norm := 0.0
					for i := range par.Size() {
						norm = max(norm, math.Abs(grad[par.Off+i]))
					}
					if norm == 0 && par.Cols > 1 && par.Cols > c+1 {
						t.Errorf("%s receives no gradient", par.Name)
					}
					for range 4 {
						i, j := pick.IntN(par.Rows), pick.IntN(par.Cols)
						k := par.Off + i*par.LD + j
						if fl.Params.Mask[k] == 0 {
							continue
						}
						check(fmt.Sprintf("%s[%d,%d]", par.Name, i, j), &fl.Params.W[k], grad[k])
					}
				}
				for i := range in {
					for range 6 {
						if len(data[i]) == 0 {
							continue
						}
						k := pick.IntN(len(data[i]))
						check(fmt.Sprintf("input %d[%d]", i, k), &data[i][k], inGrad[i][k])
					}
				}
			})
		}
	})
}

func TestZeroContextIsIgnoredAtFirst(t *testing.T) {
	pool := ad.NewPool(1)
	ps := ad.NewParams[float64]()
	fl, err := NewNSF(ps, Settings{Features: 4, Context: 2, Transforms: 2, ZeroContext: []int{1}, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	ev := NewEvaluator(fl, kernel.Portable[float64](), pool)
	x := rows(10, 4, 1, 1)
	ctx := rows(10, 2, 1, 2)
	z, back := make([]float64, 40), make([]float64, 40)
	ev.Encode(10, z, nil, x, ctx)
	for i := range 10 {
		ctx[2*i+1] = 1
	}
	ev.Decode(10, back, nil, z, ctx)
	for i := range x {
		if math.Abs(x[i]-back[i]) > 1e-12 {
			t.Fatalf("encode at 0 and decode at 1 moves %v to %v", x[i], back[i])
		}
	}
}

func TestResultsDoNotDependOnThreads(t *testing.T) {
	ps := ad.NewParams[float32]()
	fl, err := NewNSF(ps, Settings{Features: 3, Context: 1, Transforms: 2, Hidden: []int{32}, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	const n = 1000
	x, c, w := make([]float32, n*3), make([]float32, n), make([]float32, n)
	s := rng.NewKey(1, "threads").At(0)
	for i := range x {
		x[i] = float32(s.Norm())
	}
	for i := range w {
		w[i] = 1.0 / n
	}
	var want []float32
	for _, threads := range []int{1, 2, 4} {
		pool := ad.NewPool(threads)
		p := ad.NewProgram(ps)
		fl.NLL(p, p.Input(3), p.Input(1), p.Input(1))
		sh := ad.NewShards(ps, 4)
		e := p.Compile(kernel.Best(), pool, sh, ad.Settings{})
		e.Run(&ad.Run[float32]{N: n, Backward: true, Losses: make([]float64, 1), Inputs: []ad.Source[float32]{{Data: x}, {Data: c}, {Data: w}}})
		var all []float32
		for _, g := range sh.G {
			all = append(all, g...)
		}
		if want == nil {
			want = all
		}
		for i := range all {
			if all[i] != want[i] {
				t.Fatalf("%d threads: gradient %d is %v, was %v", threads, i, all[i], want[i])
			}
		}
		pool.Close()
	}
}
