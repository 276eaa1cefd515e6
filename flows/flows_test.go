package flows

import (
	"math"
	"testing"

	"hepmorph/internal/ad"
	"hepmorph/internal/kernel"
	"hepmorph/internal/rng"
)

func rows(n, d int, scale float64, seed uint64) []float64 {
	s := rng.NewKey(seed, "rows").At(0)
	x := make([]float64, n*d)
	for i := range x {
		x[i] = scale * s.Norm()
	}
	return x
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
