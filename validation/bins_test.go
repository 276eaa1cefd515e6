package validation

import (
	"math"
	"testing"

	"hepmorph/internal/rng"
	"hepmorph/validation/metric"
)

func column(t *testing.T, x []float64) *metric.Column {
	t.Helper()
	c, err := metric.Sort(x, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func draw(n int, f func(s *rng.Stream) float64) []float64 {
	x := make([]float64, n)
	for i := range x {
		s := rng.NewKey(1, "bins").At(uint64(i))
		x[i] = f(&s)
	}
	return x
}

func TestBinningHoldsTheData(t *testing.T) {
	for name, c := range map[string]struct {
		v Variable
		x []float64
	}{
		"normal":         {Variable{}, draw(20000, func(s *rng.Stream) float64 { return s.Norm() })},
		"heavy tail":     {Variable{}, draw(20000, func(s *rng.Stream) float64 { return s.Norm() / math.Abs(s.Norm()) })},
		"outlier":        {Variable{}, append(draw(20000, func(s *rng.Stream) float64 { return s.Norm() }), 1e9, -1e30)},
		"whole":          {Variable{}, draw(5000, func(s *rng.Stream) float64 { return float64(s.Poisson(30)) })},
		"flag":           {Variable{}, draw(5000, func(s *rng.Stream) float64 { return float64(s.IntN(2)) })},
		"constant":       {Variable{}, draw(500, func(s *rng.Stream) float64 { return 3 })},
		"log":            {Variable{Log: true}, draw(20000, func(s *rng.Stream) float64 { return 25 + 30*s.Exp() })},
		"log with zeros": {Variable{Log: true}, draw(20000, func(s *rng.Stream) float64 { return math.Max(0, s.Norm()) })},
		"log negative":   {Variable{Log: true}, draw(5000, func(s *rng.Stream) float64 { return -1 - s.Exp() })},
		"two values":     {Variable{}, []float64{1.5, 2.5}},
		"given":          {Variable{Lo: 100, Hi: 160, Bins: 60}, draw(20000, func(s *rng.Stream) float64 { return 80 + 100*s.Float64() })},
	} {
		col := column(t, c.x)
		b := newBinning(c.v, col)
		for i := 1; i < len(b.edges); i++ {
			if !(b.edges[i] > b.edges[i-1]) || !finite(b.edges[i]) {
				t.Fatalf("%s: edges %v", name, b.edges)
			}
		}
		if n := len(b.edges); n < 2 || n > 200 {
			t.Errorf("%s: %d edges", name, n)
		}
		w := make([]float64, len(c.x))
		for i := range w {
			w[i] = 1
		}
		h := fill(b, c.x, w)
		if h.sum() != float64(len(c.x)) {
			t.Errorf("%s: %v of %d entries", name, h.sum(), len(c.x))
		}
		if c.v.Hi == 0 && name != "log with zeros" && h.outside() > 0.01 {
			t.Errorf("%s: %.3f outside %v…%v", name, h.outside(), b.edges[0], b.edges[len(b.edges)-1])
		}
		for i, x := range c.x { // by hand
			if i > 3000 {
				break
			}
			one := fill(b, []float64{x}, []float64{1})
			for k := range len(b.edges) - 1 {
				in := x >= b.edges[k] && (x < b.edges[k+1] || k == len(b.edges)-2 && x == b.edges[k+1])
				if in != (one.n[k+1] == 1) {
					t.Fatalf("%s: %v is in bin %v, edges %v…%v", name, x, one.n, b.edges[k], b.edges[k+1])
				}
			}
		}
	}
}

func TestAtomHasItsOwnBin(t *testing.T) {
	x := draw(20000, func(s *rng.Stream) float64 {
		if s.Float64() < .4 {
			return 0
		}
		return s.Exp()
	})
	b := newBinning(Variable{Atoms: []float64{0}}, column(t, x))
	h := fill(b, x, draw(len(x), func(*rng.Stream) float64 { return 1 }))
	zeros := 0.0
	for _, v := range x {
		if v == 0 {
			zeros++
		}
	}
	if !b.atom || h.n[1] != zeros {
		t.Errorf("the first bin has %v entries, %v are exactly 0", h.n[1], zeros)
	}
	if found := newBinning(Variable{}, column(t, x)); !found.atom {
		t.Error("an undeclared atom was not found")
	}
	if smooth := newBinning(Variable{}, column(t, draw(20000, func(s *rng.Stream) float64 { return s.Exp() }))); smooth.atom {
		t.Error("an atom was found where there is none")
	}
}

// Bins out of step with the grid of a truncated float would ripple: some hold one value more than others.
func TestBinsKeepStepWithTruncatedFloats(t *testing.T) {
	x := draw(50000, func(s *rng.Stream) float64 { return math.Round(s.Float64()*256) / 256 })
	b := newBinning(Variable{}, column(t, x))
	h := fill(b, x, draw(len(x), func(*rng.Stream) float64 { return 1 }))
	n, _ := h.inner()
	mean := (h.sum() - n[0] - n[len(n)-1]) / float64(len(n)-2)
	for i := 1; i < len(n)-1; i++ {
		if math.Abs(n[i]-mean) > 5*math.Sqrt(mean) && i < len(n)-2 {
			t.Errorf("bin %d of a flat law has %v entries, the mean is %.0f", i, n[i], mean)
		}
	}
}

func TestWholeNumbersHaveTheirBins(t *testing.T) {
	b := newBinning(Variable{}, column(t, []float64{0, 1, 1, 2, 3, 5, 7}))
	if b.edges[0] != -.5 || b.edges[len(b.edges)-1] != 7.5 || len(b.edges) != 9 {
		t.Errorf("edges %v", b.edges)
	}
}

func TestChosenRows(t *testing.T) {
	idx := chosen(1000, 100, 3)
	if len(idx) != 100 {
		t.Fatalf("%d rows", len(idx))
	}
	for i := 1; i < len(idx); i++ {
		if idx[i] <= idx[i-1] || idx[i] >= 1000 {
			t.Fatalf("rows %v", idx)
		}
	}
	if len(chosen(5, 100, 3)) != 5 {
		t.Error("of 5 rows not all were taken")
	}
}
