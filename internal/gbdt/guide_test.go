package gbdt

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// A guide finds what find finds, at, beside and between cuts of any distribution.
func TestGuide(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{0, 1, 2, 3, 17, 254} {
		for name, draw := range map[string]func() float64{
			"even":   r.Float64,
			"normal": r.NormFloat64,
			"tails":  func() float64 { return math.Exp(20 * r.NormFloat64()) },
			"signs":  func() float64 { return r.NormFloat64() * math.Exp(50*r.NormFloat64()) },
			"whole":  func() float64 { return float64(r.IntN(1000) - 500) },
			"ends": func() float64 {
				return []float64{math.Inf(-1), -math.MaxFloat64, -1, 0, 1, math.MaxFloat64, math.Inf(1)}[r.IntN(7)]
			},
			"tiny": func() float64 { return float64(r.IntN(1000)) * 5e-324 },
		} {
			var cuts []float64
			for range n {
				cuts = append(cuts, draw())
			}
			slices.Sort(cuts)
			cuts = slices.Compact(cuts)
			g, keys := newGuide(cuts), orderedAll(cuts)
			check := func(x float64) {
				if got, want := g.find(x), find(keys, x); got != want {
					t.Fatalf("%s, %d cuts: %g is in bin %d, want %d", name, n, x, got, want)
				}
			}
			for _, x := range append(slices.Clone(cuts), 0, math.Copysign(0, -1), math.Inf(1), math.Inf(-1), math.NaN(), math.MaxFloat64, -math.MaxFloat64) {
				for _, y := range []float64{x, math.Nextafter(x, math.Inf(1)), math.Nextafter(x, math.Inf(-1))} {
					check(y)
				}
			}
			for range 300 {
				check(draw())
			}
		}
	}
}
