package morph

import (
	"encoding/json"
	"math"
	"reflect"
	"testing"

	"hepmorph/internal/rng"
)

// fitted lists at least one step of every registered kind, and whole chains, with a typical range of values.
func fitted(t testing.TB) map[string]struct {
	t      transform
	lo, hi float64
} {
	t.Helper()
	s := rng.NewKey(1, "transform test").At(0)
	const n = 20000
	skew, bounded, circle, w := make([]float64, n), make([]float64, n), make([]float64, n), make([]float64, n)
	for i := range n {
		skew[i] = 20 + 30*s.Exp()
		bounded[i] = 1.1 / (1 + math.Exp(-2-s.Norm()))
		circle[i] = mod(1+0.8*s.Norm()+math.Pi, 2*math.Pi) - math.Pi
		w[i] = s.Float64()
	}
	steps := func(s stepSpec, x []float64) chain {
		c, _, err := fitSteps(s, x, w)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	g, err := fitGauss(sortSample(skew, w))
	if err != nil {
		t.Fatal(err)
	}
	type entry = struct {
		t      transform
		lo, hi float64
	}
	return map[string]entry{
		"shift":            {&shiftStep{1, 2 * math.Pi, -math.Pi}, -math.Pi + 1e-9, 1},
		"gap":              {&gapStep{[]float64{1.37, 1.52, 3, 4}}, 0, 1.37},
		"log":              {&logStep{25, 0.3}, 25, 1e6},
		"logit":            {&logitStep{0, 2.37}, 0, 2.37},
		"affine":           {&affineStep{3, 0.01}, -1e6, 1e6},
		"gauss":            {g, -1e6, 1e6},
		"chain none":       {steps(stepSpec{kind: "none"}, skew), -1e6, 1e6},
		"chain robust":     {steps(stepSpec{kind: "none", robust: true}, skew), -1e6, 1e6},
		"chain log":        {steps(stepSpec{kind: "log", bounds: 1, lo: 20}, skew), 20, 1e6},
		"chain logit":      {steps(stepSpec{kind: "logit", bounds: 2, lo: 0, hi: 1.1}, bounded), 0, 1.1},
		"chain gauss":      {steps(stepSpec{kind: "gauss"}, skew), 0, 1e5},
		"chain gauss edge": {steps(stepSpec{kind: "gauss", bounds: 1, lo: 20}, skew), 20, 1e5},
		"chain gauss box":  {steps(stepSpec{kind: "gauss", bounds: 2, lo: 0, hi: 1.1}, bounded), 0, 1.1},
		"chain periodic":   {steps(stepSpec{kind: "periodic"}, circle), -math.Pi + 1e-6, -3},
	}
}

func TestTransformProperties(t *testing.T) {
	all := fitted(t)
	for kind := range transforms {
		if _, ok := all[kind]; !ok {
			t.Errorf("transform %q is not tested", kind)
		}
	}
	s := rng.NewKey(2, "transform points").At(0)
	for name, e := range all {
		points := []float64{e.lo, e.hi}
		for range 2000 {
			f := s.Float64()
			x := e.lo + f*(e.hi-e.lo)
			if s.IntN(2) == 0 && e.hi-e.lo > 1000 {
				x = e.lo + math.Pow(e.hi-e.lo, f) - 1
			}
			points = append(points, min(max(x, e.lo), e.hi))
		}
		worst := 0.0
		for _, x := range points {
			if !e.t.inside(x) {
				t.Fatalf("%s: %v is not inside", name, x)
			}
			u, l := e.t.forward(x)
			back, lb := e.t.inverse(u)
			worst = max(worst, math.Abs(back-x)/max(1, math.Abs(x)))
			if math.Abs(l/lb-1) > 1e-5 && x != e.lo && x != e.hi {
				t.Fatalf("%s: slope %v forward, %v backward at %v", name, l, lb, x)
			}
			if x-x != 0 || u-u != 0 || l-l != 0 {
				t.Fatalf("%s: not finite at %v: %v, %v", name, x, u, l)
			}
		}
		if worst > 1e-9 {
			t.Errorf("%s: round trip off by %.2g", name, worst)
		}
		// strictly increasing, and the slope agrees with differences away from kinks
		bad := 0
		for range 500 {
			x := e.lo + (0.001+0.998*s.Float64())*(e.hi-e.lo)
			h := 1e-6 * max(1e-3, min(math.Abs(x), e.hi-e.lo))
			a, _ := e.t.forward(x - h)
			b, _ := e.t.forward(x + h)
			if !(b > a) {
				t.Fatalf("%s: does not increase at %v", name, x)
			}
			_, l := e.t.forward(x)
			if d := (b - a) / (2 * h); math.Abs(d/l-1) > 1e-4 {
				bad++ // a knot may lie in between
			}
		}
		if bad > 5 {
			t.Errorf("%s: slope disagrees with differences at %d of 500 points", name, bad)
		}
		for _, x := range []float64{-1e6, 1e6, 0, math.MaxFloat32, -math.MaxFloat32, math.Inf(1), math.Inf(-1)} {
			u, l := e.t.forward(x)
			if u != u || l != l {
				t.Errorf("%s: forward(%v) = %v, %v", name, x, u, l)
			}
			if v, l := e.t.inverse(x); v != v || l != l {
				t.Errorf("%s: inverse(%v) = %v, %v", name, x, v, l)
			}
		}
	}
}

func TestChainsAreStoredExactly(t *testing.T) {
	for name, e := range fitted(t) {
		c := chain{e.t}
		if whole, ok := e.t.(chain); ok {
			c = whole
		}
		text, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		var back chain
		if err := json.Unmarshal(text, &back); err != nil || !reflect.DeepEqual(c, back) {
			t.Errorf("%s: restored %+v (%v)", name, back, err)
		}
	}
	for _, bad := range []string{
		`[{"kind":"nosuch","params":{}}]`, `[{"kind":"affine","params":{"mean":0,"sd":0}}]`, `[{"kind":"logit","params":{"a":1,"b":1}}]`,
		`[{"kind":"gauss","params":{"x":[0,0],"y":[0,1],"d":[1,1]}}]`, `[{"kind":"gauss","params":{}}]`, `[{"kind":"log","params":{}}]`,
		`[{"kind":"gap","params":{"edges":[1]}}]`, `[{"kind":"shift","params":{}}]`, `{}`,
	} {
		var c chain
		if err := json.Unmarshal([]byte(bad), &c); err == nil {
			t.Errorf("%s is accepted", bad)
		}
	}
}

func TestGaussMakesNormal(t *testing.T) {
	s := rng.NewKey(3, "mixture").At(0)
	const n = 50000
	x, w := make([]float64, n), make([]float64, n)
	for i := range n {
		w[i] = 0.5 + s.Float64()
		switch s.IntN(3) {
		case 0:
			x[i] = s.Norm()
		case 1:
			x[i] = 6 + 0.3*s.Norm()
		default:
			x[i] = 10 * s.Exp()
		}
	}
	c, _, err := fitSteps(stepSpec{kind: "gauss"}, x, w)
	if err != nil {
		t.Fatal(err)
	}
	u := make([]float64, n)
	for i := range x {
		u[i], _ = c.forward(x[i])
	}
	q := sortSample(u, w)
	for _, z := range []float64{-3, -2, -1, 0, 1, 2, 3} {
		if d := q.quantile(normalCDF(z)) - z; math.Abs(d) > 0.03 {
			t.Errorf("quantile at %v is off by %.3f", z, d)
		}
	}
}

// TestPeaksApartAreNotJoined: normal scores are not for two peaks with nothing between them, and are for all else, few rows as well.
func TestPeaksApartAreNotJoined(t *testing.T) {
	crack := func(s *rng.Stream) float64 {
		for {
			if v := 1.1 * s.Norm(); math.Abs(v) < 1.37 || math.Abs(v) > 1.52 {
				return v
			}
		}
	}
	widths := func(between float64) func(s *rng.Stream) float64 {
		return func(s *rng.Stream) float64 {
			switch u := s.Float64(); {
			case u < between:
				return 0.01 + 0.015*s.Float64()
			case u < 0.25:
				return 0.0267 + 0.002*s.Norm()
			}
			return 0.0092 + 0.0006*s.Norm()
		}
	}
	for name, c := range map[string]struct {
		draw       func(s *rng.Stream) float64
		kind, want string
	}{
		"shower widths":      {widths(0), "auto", "log"},
		"a crack":            {crack, "auto", "none"},
		"a crack, asked for": {crack, "gauss", "gauss"},
		"separate values":    {func(s *rng.Stream) float64 { return math.Round(3 * s.Norm()) }, "auto", "none"},
		"a few between":      {widths(0.1), "auto", "gauss"},
		"one peak":           {func(s *rng.Stream) float64 { return s.Norm() }, "auto", "gauss"},
		"a long tail":        {func(s *rng.Stream) float64 { return math.Exp(1.5 * s.Norm()) }, "auto", "gauss"},
		"flat":               {func(s *rng.Stream) float64 { return s.Float64() - 0.5 }, "auto", "gauss"},
	} {
		for try, n := range []int{200000, 300, 300, 300, 1000, 1000, 1000, 5000, 5000, 5000, 20000, 20000} {
			if n < 100000 && c.want != "gauss" {
				continue // few rows may not tell
			}
			s := rng.NewKey(uint64(try), name).At(0)
			x, w := make([]float64, n), make([]float64, n)
			for i := range x {
				x[i], w[i] = c.draw(&s), s.Exp()
			}
			if _, got, err := fitSteps(stepSpec{kind: c.kind}, x, w); err != nil || got != c.want {
				t.Errorf("%s, %d rows: %s (%v), want %s", name, n, got, err, c.want)
			}
		}
	}
}

func TestNormalQuantile(t *testing.T) {
	for _, z := range []float64{-37, -20, -8.3, -5, -2.5, -1, -0.1, 0, 0.3, 1.7, 4, 5.5} {
		if got := normalQuantile(normalCDF(z)); math.Abs(got-z) > 1e-9*max(1, math.Abs(z)) {
			t.Errorf("quantile(cdf(%v)) = %v", z, got)
		}
	}
	// Known values: R's qnorm.
	for p, z := range map[float64]float64{0.975: 1.959963984540054, 1e-10: -6.361340902404056, 0.5: 0} {
		if got := normalQuantile(p); math.Abs(got-z) > 1e-14*max(1, math.Abs(z)) {
			t.Errorf("quantile(%v) = %.16g, want %.16g", p, got, z)
		}
	}
}

func TestWeightedQuantilesAndMoments(t *testing.T) {
	x, w := []float64{3, 1, 2, 4}, []float64{1, 1, 1, 1}
	s := sortSample(x, w)
	if q := s.quantile(0.5); q != 2.5 {
		t.Errorf("median %v", q)
	}
	if n := s.neff(); n != 4 {
		t.Errorf("n_eff %v", n)
	}
	mean, sd := moments([]float64{1, 5}, []float64{3, 1})
	if mean != 2 || math.Abs(sd-math.Sqrt(3)) > 1e-15 {
		t.Errorf("mean %v, sd %v", mean, sd)
	}
}

// Every float of few mantissa bits comes back exactly from anywhere in its cell, and cells tile the line.
func TestGridIsRestoredExactly(t *testing.T) {
	s := rng.NewKey(4, "grid").At(0)
	for _, bits := range []int{1, 8, 10, 12, 22} {
		g := grid{Mantissa: bits}
		for range 5000 {
			x := math.Ldexp(math.RoundToEven((1+s.Float64())*math.Ldexp(1, bits)), s.IntN(60)-30-bits)
			if s.IntN(2) == 0 {
				x = -x
			}
			for _, u := range []float64{0, 0.5, 1, s.Float64()} {
				if got := g.snap(g.spread(x, u)); got != x {
					t.Fatalf("%d bits: %v comes back as %v (u = %v)", bits, x, got, u)
				}
			}
			if float64(float32(x)) != x {
				t.Fatalf("%v is no float32", x)
			}
			lo, hi := g.cell(x)
			next := g.snap(hi + (hi-lo)*1e-3)
			if nlo, _ := g.cell(next); nlo != hi {
				t.Fatalf("%d bits: the cell of %v ends at %v, that of %v begins at %v", bits, x, hi, next, nlo)
			}
		}
		if g.snap(g.spread(0, 0.3)) != 0 {
			t.Error("0 moves")
		}
	}
	g := grid{Integer: true}
	for _, x := range []float64{-3, 0, 1, 17} {
		for _, u := range []float64{0, 0.5, 1} {
			if got := g.snap(g.spread(x, u)); got != x {
				t.Errorf("integer %v comes back as %v", x, got)
			}
		}
	}
}

func TestDetectMantissa(t *testing.T) {
	s := rng.NewKey(5, "mantissa").At(0)
	truncated := func(bits int) []float64 {
		x := make([]float64, 1000)
		for i := range x {
			x[i] = grid{Mantissa: bits}.snap(s.Norm())
		}
		return x
	}
	full := make([]float64, 1000)
	whole := make([]float64, 1000)
	double := make([]float64, 1000)
	for i := range full {
		full[i], whole[i], double[i] = float64(float32(s.Norm())), float64(s.IntN(50)), s.Norm()
	}
	for name, c := range map[string]struct {
		got, want int
	}{
		"10 bits":         {detectMantissa(truncated(10)), 10},
		"12 bits":         {detectMantissa(truncated(12), truncated(11)), 12},
		"one side is not": {detectMantissa(truncated(10), full), 0},
		"float32":         {detectMantissa(full), 0},
		"float64":         {detectMantissa(double), 0},
		"whole numbers":   {detectMantissa(whole), 0},
		"with a sentinel": {detectMantissa(append(truncated(8), math.NaN(), math.Inf(1))), 8},
		"empty":           {detectMantissa(nil), 0},
	} {
		if c.got != c.want {
			t.Errorf("%s: %d bits, want %d", name, c.got, c.want)
		}
	}
}
