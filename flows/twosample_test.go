package flows

import (
	"math"
	"testing"

	"hepmorph/internal/ad"
	"hepmorph/internal/kernel"
	"hepmorph/internal/rng"
)

func sample(n, d int, shift float64, seed uint64) Rows[float64] {
	s := rng.NewKey(seed, "two-sample").At(0)
	r := Rows[float64]{N: n, D: d, X: make([]float64, n*d), W: make([]float64, n)}
	for i := range r.X {
		r.X[i] = s.Norm() + shift
	}
	for i := range r.W {
		r.W[i] = 0.5 + s.Float64()
	}
	return r
}

func TestTwoSampleGradients(t *testing.T) {
	pool := ad.NewPool(2)
	defer pool.Close()
	x, y := sample(41, 3, 0.3, 1), sample(53, 3, 0, 2)
	sl := NewSliced[float64](pool, 3, 7, 1)
	axes := NewSliced[float64](pool, 3, 0, 1)
	mmd := NewMMD(kernel.Portable[float64](), pool, 0.7, 1.5)
	for name, f := range map[string]func(grad []float64, scale float64) float64{
		"mmd":     func(g []float64, s float64) float64 { return mmd.Value(x, y, g, s) },
		"w1":      func(g []float64, s float64) float64 { return sl.W1(x, y, g, s) },
		"w1 axes": func(g []float64, s float64) float64 { return axes.W1(x, y, g, s) },
		"w2":      func(g []float64, s float64) float64 { return sl.W2(x, y, g, s) },
		"energy":  func(g []float64, s float64) float64 { return sl.Energy(x, y, g, s) },
		"corr": func(g []float64, s float64) float64 {
			m := NewMoments(x)
			if g != nil {
				CorrGrad(m, x, 0, 2, g, s)
			}
			return m.Corr(0, 2)
		},
	} {
		grad := make([]float64, len(x.X))
		f(grad, 1.7)
		for _, i := range []int{0, 5, 17, 60, 122} {
			old := x.X[i]
			const h = 1e-6
			x.X[i] = old + h
			up := f(nil, 0)
			x.X[i] = old - h
			down := f(nil, 0)
			x.X[i] = old
			want := 1.7 * (up - down) / (2 * h)
			if math.Abs(grad[i]-want) > 1e-6*max(1e-2, math.Abs(want)) {
				t.Errorf("%s: gradient %d is %v, differences say %v", name, i, grad[i], want)
			}
			if grad[i] == 0 {
				t.Errorf("%s: gradient %d is zero", name, i)
			}
		}
	}
}

func TestMMDAgainstTheDefinition(t *testing.T) {
	pool := ad.NewPool(2)
	defer pool.Close()
	x, y := sample(40, 2, 0.5, 3), sample(35, 2, 0, 4)
	x.W[3] = -0.4
	h := []float64{0.5, 1, 2}
	kern := func(a, b []float64) float64 {
		q := 0.0
		for k := range a {
			q += (a[k] - b[k]) * (a[k] - b[k])
		}
		s := 0.0
		for _, v := range h {
			s += math.Exp(-q/(2*v*v)) / 3
		}
		return s
	}
	term := func(a, b Rows[float64], same bool) float64 {
		num, den := 0.0, 0.0
		for i := range a.N {
			for j := range b.N {
				if same && i == j {
					continue
				}
				w := a.W[i] * b.W[j]
				num += w * kern(a.X[i*2:i*2+2], b.X[j*2:j*2+2])
				den += w
			}
		}
		return num / den
	}
	want := term(x, x, true) + term(y, y, true) - 2*term(x, y, false)
	got := NewMMD(kernel.Portable[float64](), pool, h...).Value(x, y, nil, 0)
	if math.Abs(got-want) > 1e-12 {
		t.Errorf("MMD² %v, by the definition %v", got, want)
	}
}

func TestSlicedKnownAnswers(t *testing.T) {
	pool := ad.NewPool(1)
	x := Rows[float64]{N: 2, D: 1, X: []float64{0, 1}, W: []float64{1, 1}}
	y := Rows[float64]{N: 2, D: 1, X: []float64{3, 4}, W: []float64{2, 2}}
	s := NewSliced[float64](pool, 1, 0, 1)
	if v := s.W1(x, y, nil, 0); math.Abs(v-3) > 1e-12 {
		t.Errorf("W1 of a shift by 3: %v", v)
	}
	if v := s.W2(x, y, nil, 0); math.Abs(v-9) > 1e-12 {
		t.Errorf("W2² of a shift by 3: %v", v)
	}
	// 2·E|X−Y| − E|X−X'| − E|Y−Y'| = 2·3 − 1/2 − 1/2
	if v := s.Energy(x, y, nil, 0); math.Abs(v-5) > 1e-12 {
		t.Errorf("energy distance %v, want 5", v)
	}
}

func TestTwoSampleLossesMakeNoGarbage(t *testing.T) {
	pool := ad.NewPool(2)
	defer pool.Close()
	x, y := sample(100, 3, 0.3, 1), sample(90, 3, 0, 2)
	grad := make([]float64, len(x.X))
	mmd, sl := NewMMD(kernel.Portable[float64](), pool, 0.7, 1.5), NewSliced[float64](pool, 3, 5, 1)
	step := func() {
		mmd.Value(x, y, grad, 1)
		sl.W1(x, y, grad, 1)
		sl.W2(x, y, grad, 1)
		sl.Energy(x, y, grad, 1)
	}
	step()
	if n := testing.AllocsPerRun(5, step); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
