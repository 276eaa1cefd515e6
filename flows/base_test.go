package flows_test

import (
	"math"
	"testing"

	"hepmorph/flows"
	"hepmorph/internal/ad"
	"hepmorph/internal/rng"
)

var bases = []struct {
	name string
	make func(ps params, d int) (flows.Base[float64], error)
}{
	{"normal", func(ps params, d int) (flows.Base[float64], error) { return flows.Normal[float64]{}, nil }},
	{"student t", func(ps params, d int) (flows.Base[float64], error) {
		nu := make([]float64, d)
		for i := range nu {
			nu[i] = 1.5 + 2*float64(i)
		}
		return flows.NewStudentT(ps, "base", nu)
	}},
	{"mixture", func(ps params, d int) (flows.Base[float64], error) {
		b, err := flows.NewMixture(ps, "base", d, 3, 1.5, 1)
		for i := range ps.W {
			ps.W[i] += 0.1 * float64(i%5) * ps.Mask[i]
		}
		return b, err
	}},
}

func baseFlow(t *testing.T, build func(ps params, d int) (flows.Base[float64], error), d int) *flows.Flow[float64] {
	t.Helper()
	ps := flows.NewParams[float64]()
	b, err := build(ps, d)
	if err != nil {
		t.Fatal(err)
	}
	order := make([]int, d)
	for i := range order {
		order[i] = i
	}
	same, err := flows.NewPermutation[float64](order)
	if err != nil {
		t.Fatal(err)
	}
	return &flows.Flow[float64]{Params: ps, Bijectors: flows.Chain[float64]{same}, Base: b}
}

// TestBaseIsADensity integrates it and compares its distribution function with draws.
func TestBaseIsADensity(t *testing.T) {
	pool := flows.NewPool(2)
	defer pool.Close()
	for _, e := range bases {
		t.Run(e.name, func(t *testing.T) {
			fl := baseFlow(t, e.make, 1)
			ev := flows.NewEvaluator(fl, flows.Portable[float64](), pool)
			const n, span = 20001, 0.9999
			x, lp := make([]float64, n), make([]float64, n)
			for i := range x { // x = u/(1−u²) reaches far out
				u := span * (2*float64(i)/(n-1) - 1)
				x[i] = 3 * u / (1 - u*u)
			}
			ev.LogProb(n, lp, x, nil)
			cdf := make([]float64, n)
			for i := 1; i < n; i++ {
				cdf[i] = cdf[i-1] + (math.Exp(lp[i])+math.Exp(lp[i-1]))/2*(x[i]-x[i-1])
			}
			if math.Abs(cdf[n-1]-1) > 1e-3 {
				t.Fatalf("integrates to %.5f", cdf[n-1])
			}
			const draws = 20000
			y := make([]float64, draws)
			ev.Sample(draws, y, nil, rng.NewKey(1, "draws"), 0)
			worst := 0.0
			for i := 500; i < n; i += 1500 {
				below := 0
				for _, v := range y {
					if v < x[i] {
						below++
					}
				}
				worst = max(worst, math.Abs(float64(below)/draws-cdf[i]))
			}
			if worst > 0.012 { // Kolmogorov, p = 0.006
				t.Errorf("draws leave the distribution function by %.4f", worst)
			}
		})
	}
}

func TestBaseGradients(t *testing.T) {
	pool := flows.NewPool(1)
	defer pool.Close()
	for _, e := range bases {
		t.Run(e.name, func(t *testing.T) {
			const n, d = 21, 3
			fl := baseFlow(t, e.make, d)
			p := ad.NewProgram(fl.Params)
			x := p.DiffInput(d, 1)
			fl.NLL(p, x, flows.Tensor{}, p.Input(1))
			sh := ad.NewShards(fl.Params, 2)
			exec := p.Compile(flows.Portable[float64](), pool, sh, ad.Settings{Items: 8})
			s := rng.NewKey(3, "rows").At(0)
			rows, w := make([]float64, n*d), make([]float64, n)
			for i := range rows {
				rows[i] = 2 * s.Norm()
			}
			for i := range w {
				w[i] = s.Float64()
			}
			value := func() float64 {
				r := &ad.Run[float64]{N: n, Keep: true, Losses: make([]float64, 1), Inputs: []ad.Source[float64]{{Data: rows}, {Data: w}}}
				exec.Run(r)
				return r.Losses[0]
			}
			value()
			exec.Back(n, nil)
			gx := make([]float64, n*d)
			exec.InputGrad(n, ad.Sink[float64]{Tensor: x, Data: gx})
			grad := make([]float64, fl.Params.Len())
			for _, g := range sh.G {
				for i, v := range g {
					grad[i] += v
				}
			}
			check := func(what string, at *float64, got float64) {
				old := *at
				*at = old + 1e-6
				up := value()
				*at = old - 1e-6
				down := value()
				*at = old
				if want := (up - down) / 2e-6; math.Abs(got-want) > 1e-6*max(1, math.Abs(want)) || got == 0 {
					t.Errorf("%s: gradient %v, differences say %v", what, got, want)
				}
			}
			for i := 0; i < n*d; i += 4 {
				check("row", &rows[i], gx[i])
			}
			for _, par := range fl.Params.List {
				for i := range par.Rows {
					for j := range par.Cols {
						k := par.Off + i*par.LD + j
						check(par.Name, &fl.Params.W[k], grad[k])
					}
				}
			}
		})
	}
}

func TestTailIndex(t *testing.T) {
	const n = 40000
	ps := flows.NewParams[float64]()
	want := []float64{1.5, 3, 0}
	b, err := flows.NewStudentT(ps, "base", []float64{1.5, 3, math.Inf(1)})
	if err != nil {
		t.Fatal(err)
	}
	x := make([]float64, 3*n)
	key := rng.NewKey(1, "tails")
	for i := range n {
		b.Draw(key, uint64(i), x[3*i:3*i+3])
		s := rng.NewKey(2, "uniform").At(uint64(i))
		x[3*i+2] = s.Float64() // lighter than any power
	}
	nu := flows.TailIndex(flows.Rows[float64]{N: n, D: 3, X: x})
	for i, w := range want[:2] {
		if math.Abs(nu[i]/w-1) > 0.25 {
			t.Errorf("tail index %.2f, want %g", nu[i], w)
		}
	}
	if !math.IsInf(nu[2], 1) {
		t.Errorf("a uniform has tail index %g", nu[2])
	}
	if b.Freedom(2) < 100 {
		t.Errorf("a normal tail has %g degrees of freedom", b.Freedom(2))
	}
	if _, err := flows.NewStudentT(ps, "other", []float64{0}); err == nil {
		t.Error("0 degrees of freedom are accepted")
	}
}

func TestNormalizeActNorms(t *testing.T) {
	pool := flows.NewPool(1)
	defer pool.Close()
	ps := flows.NewParams[float64]()
	var ch flows.Chain[float64]
	for _, name := range []string{"a", "b"} {
		norm, err := flows.NewActNorm(ps, name, 3)
		if err != nil {
			t.Fatal(err)
		}
		lu, err := flows.NewLU(ps, name, 3)
		if err != nil {
			t.Fatal(err)
		}
		ch = append(ch, lu, norm)
	}
	random(ps, 0.5)
	fl := &flows.Flow[float64]{Params: ps, Bijectors: ch}
	const n = 1000
	s := rng.NewKey(5, "rows").At(0)
	r := flows.Rows[float64]{N: n, D: 3, X: make([]float64, 3*n), W: make([]float64, n)}
	for i := range r.W {
		r.W[i] = s.Float64()
		for k := range 3 {
			r.X[3*i+k] = 100*float64(k) + float64(k+1)*s.Norm()
		}
	}
	flows.NormalizeActNorms(fl, flows.Portable[float64](), pool, r, nil)
	z := r
	z.X = make([]float64, 3*n)
	flows.NewEvaluator(fl, flows.Portable[float64](), pool).Encode(n, z.X, nil, r.X, nil)
	m := flows.NewMoments(z)
	for k := range 3 {
		if math.Abs(m.Mean[k]) > 1e-9 || math.Abs(m.Cov[4*k]-1) > 1e-9 {
			t.Errorf("feature %d leaves with mean %g and variance %g", k, m.Mean[k], m.Cov[4*k])
		}
	}
}
