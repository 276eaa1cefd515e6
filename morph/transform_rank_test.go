package morph

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// Ranks are counts, at, beside and between elements of any distribution.
func TestRanks(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{2, 3, 17, 64, 1000} {
		for name, draw := range map[string]func() float64{
			"even":   r.Float64,
			"normal": r.NormFloat64,
			"tails":  func() float64 { return math.Exp(20 * r.NormFloat64()) },
			"huge":   func() float64 { return (2*r.Float64() - 1) * math.MaxFloat64 },
			"tiny":   func() float64 { return float64(r.IntN(1000)) * 5e-324 },
		} {
			list := []float64{0, 5e-324}
			for len(list) < n {
				list = append(list, draw())
			}
			slices.Sort(list)
			list = slices.Compact(list)
			have := newRanks(list)
			check := func(x float64) {
				want, _ := slices.BinarySearch(list, x)
				if got := have.of(x); got != want {
					t.Fatalf("%s, %d elements: %d are less than %g, not %d", name, len(list), want, x, got)
				}
			}
			for _, x := range list {
				check(x)
				check(math.Nextafter(x, 1))
				check(math.Nextafter(x, -1))
			}
			for range 300 {
				check(draw())
			}
		}
	}
}
