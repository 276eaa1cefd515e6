package rank

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// Counts are those of a search, at, beside and between elements of any distribution.
func TestCounts(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{0, 1, 2, 3, 17, 254, 1000} {
		for name, draw := range map[string]func() float64{
			"even":   r.Float64,
			"normal": r.NormFloat64,
			"tails":  func() float64 { return math.Exp(20 * r.NormFloat64()) },
			"signs":  func() float64 { return r.NormFloat64() * math.Exp(50*r.NormFloat64()) },
			"whole":  func() float64 { return float64(r.IntN(1000) - 500) },
			"huge":   func() float64 { return (2*r.Float64() - 1) * math.MaxFloat64 },
			"ends": func() float64 {
				return []float64{math.Inf(-1), -math.MaxFloat64, -1, 0, 1, math.MaxFloat64, math.Inf(1)}[r.IntN(7)]
			},
			"tiny": func() float64 { return float64(r.IntN(1000)) * 5e-324 },
		} {
			var list []float64
			for range n {
				list = append(list, draw())
			}
			slices.Sort(list)
			list = slices.Compact(list)
			have := New(list)
			check := func(x float64) {
				below, has := slices.BinarySearch(list, x)
				notAbove := below
				if has {
					notAbove++
				}
				if a, b := have.Below(x), have.NotAbove(x); a != below || b != notAbove {
					t.Fatalf("%s, %d elements: below %g %d, not above %d; want %d, %d", name, len(list), x, a, b, below, notAbove)
				}
			}
			for _, x := range append(slices.Clone(list), 0, math.Copysign(0, -1), math.Inf(1), math.Inf(-1), math.MaxFloat64, -math.MaxFloat64) {
				check(x)
				check(math.Nextafter(x, math.Inf(1)))
				check(math.Nextafter(x, math.Inf(-1)))
			}
			for range 300 {
				check(draw())
			}
		}
	}
}
