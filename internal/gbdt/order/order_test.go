package order

import (
	"math"
	"slices"
	"sort"
	"testing"

	"hepmorph/internal/rng"
)

func TestOfAgreesWithAStableSort(t *testing.T) {
	key := rng.NewKey(1, "order")
	for _, n := range []int{0, 1, 2, 511, 512, 5000} {
		for name, draw := range map[string]func(*rng.Stream) float64{
			"normal":  (*rng.Stream).Norm,
			"float32": func(s *rng.Stream) float64 { return float64(float32(s.Norm() * 1e-20)) },
			"ties":    func(s *rng.Stream) float64 { return float64(s.IntN(7)) - 3 },
			"special": func(s *rng.Stream) float64 {
				return []float64{math.NaN(), math.Inf(1), math.Inf(-1), 0, math.Copysign(0, -1), 5e-324, -5e-324, 1, -math.MaxFloat64, -math.NaN()}[s.IntN(10)]
			},
		} {
			x := make([]float64, n)
			for i := range x {
				s := key.At(uint64(i))
				x[i] = draw(&s)
			}
			want := make([]int32, n)
			for i := range want {
				want[i] = int32(i)
			}
			sort.SliceStable(want, func(i, j int) bool {
				a, b := x[want[i]], x[want[j]]
				return a < b || (b != b && a == a)
			})
			if got := Of(x); !slices.Equal(got, want) {
				t.Errorf("%s, n = %d: not the order of a stable sort", name, n)
			}
		}
	}
}

func BenchmarkOf(b *testing.B) {
	key := rng.NewKey(1, "order")
	x := make([]float64, 1<<20)
	for i := range x {
		s := key.At(uint64(i))
		x[i] = s.Norm()
	}
	b.SetBytes(int64(8 * len(x)))
	for b.Loop() {
		Of(x)
	}
}
