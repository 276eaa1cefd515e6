package nn

import (
	"math/rand/v2"
	"testing"

	"hepmorph/internal/kernel"
)

// Every unit finds all that it uses in the range of its run.
func TestRuns(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		units, inputs := 1+r.IntN(60), r.IntN(80)
		lo, hi := make([]int, units), make([]int, units)
		for i, l, h := 0, 0, 0; i < units; i++ {
			if r.IntN(1+r.IntN(24)) == 0 {
				l, h = min(l+r.IntN(4), inputs), min(h+r.IntN(9), inputs)
			}
			lo[i], hi[i] = l, max(l, h)
		}
		spans := runs(units, func(i int) (int, int) { return lo[i], hi[i] })
		i := 0
		for _, s := range spans {
			for range s.Rows {
				if int(s.Lo) > lo[i] || int(s.Hi) < hi[i] {
					t.Fatalf("unit %d uses [%d,%d), its run is %v", i, lo[i], hi[i], s)
				}
				i++
			}
		}
		if i != units {
			t.Fatalf("runs %v have %d of %d units", spans, i, units)
		}
	}
	// 16 units of each degree, then 23 parameters of each feature: no zero is multiplied
	for _, n := range []int{16, 23} {
		for i, s := range runs(8*n, func(i int) (int, int) { return 0, 16 * (1 + i/n) }) {
			if want := (kernel.Span{Hi: int32(16 * (i + 1)), Rows: int32(n)}); s != want {
				t.Errorf("run %d is %v, want %v", i, s, want)
			}
		}
	}
	// units of their own degree each share a tile
	if s := runs(8, func(i int) (int, int) { return 0, 1 + i }); len(s) != 1 {
		t.Errorf("8 small units in %d runs", len(s))
	}
}
