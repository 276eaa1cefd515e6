package flows

import (
	"math"
	"testing"

	"hepmorph/internal/rng"
)

// TestZiggurat compares counts with the normal distribution, in bins that reach into the tail.
func TestZiggurat(t *testing.T) {
	const n = 4_000_000
	edges := []float64{-4.5, -4, tailStart * -1, -3, -2, -1.5, -1, -0.5, -0.2, 0, 0.2, 0.5, 1, 1.5, 2, 3, tailStart, 4, 4.5}
	count := make([]float64, len(edges)+1)
	z := theZiggurat()
	var m [5]float64
	s := rng.NewKey(1, "ziggurat").At(0)
	for range n {
		x := z.norm(&s)
		k := 0
		for k < len(edges) && x >= edges[k] {
			k++
		}
		count[k]++
		for p := range m {
			m[p] += math.Pow(x, float64(p)) / n
		}
	}
	cdf := func(x float64) float64 { return math.Erfc(-x/math.Sqrt2) / 2 }
	chi2, last := 0.0, 0.0
	for k, c := range count {
		p := 1.0
		if k < len(edges) {
			p = cdf(edges[k])
		}
		e := n * (p - last)
		last = p
		chi2 += (c - e) * (c - e) / e
	}
	if chi2 > 43.8 { // 19 degrees of freedom, p = 0.001
		t.Errorf("χ² = %.1f of %d bins: %v", chi2, len(count), count)
	}
	for p, want := range []float64{1, 0, 1, 0, 3} {
		if math.Abs(m[p]-want) > 0.02 {
			t.Errorf("moment %d is %.4f, want %g", p, m[p], want)
		}
	}
}
