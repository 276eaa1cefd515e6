package ad_test

import (
	"math"
	"testing"

	"hepmorph/internal/ad"
	"hepmorph/internal/kernel"
	"hepmorph/internal/rng"
)

// TestCachedAttention draws row after row and compares with causal attention over all rows at once, for a second batch through the same cache
// too.
func TestCachedAttention(t *testing.T) {
	const rows, width, heads = 9, 6, 2
	pool := ad.NewPool(2)
	defer pool.Close()
	ps := ad.NewParams[float64]()
	whole, step := ad.NewProgram(ps), ad.NewProgram(ps)
	all := whole.InputRows(3*width, rows)
	want := whole.Attention(all.Part(0, width), all.Part(width, 2*width), all.Part(2*width, 3*width), heads, true)
	one, cache := step.Input(3*width), ad.NewCache[float64](rows)
	got := step.CachedAttention(one.Part(0, width), one.Part(width, 2*width), one.Part(2*width, 3*width), heads, cache)
	ew := whole.Compile(kernel.Portable[float64](), pool, nil, ad.Settings{})
	es := step.Compile(kernel.Portable[float64](), pool, nil, ad.Settings{Items: 32})
	for batch, n := range []int{70, 5, 100} {
		r := rng.NewKey(3, "cache").At(uint64(batch))
		x, a, b := make([]float64, n*rows*3*width), make([]float64, n*rows*width), make([]float64, n*width)
		for i := range x {
			x[i] = r.Norm()
		}
		ew.Run(&ad.Run[float64]{N: n, Inputs: []ad.Source[float64]{{Data: x}}, Outputs: []ad.Sink[float64]{{Tensor: want, Data: a}}})
		cache.Start(n)
		for row := range rows {
			cache.Row = row
			es.Run(&ad.Run[float64]{N: n, Outputs: []ad.Sink[float64]{{Tensor: got, Data: b}}, Inputs: []ad.Source[float64]{{Fill: func(dst []float64, first, items int) {
				for i := range items {
					copy(dst[i*3*width:][:3*width], x[((first+i)*rows+row)*3*width:])
				}
			}}}})
			for i := range n {
				for u := range width {
					if g, w := b[i*width+u], a[(i*rows+row)*width+u]; math.Abs(g-w) > 1e-12 {
						t.Fatalf("batch of %d, item %d, row %d, unit %d: %v, %v over all rows", n, i, row, u, g, w)
					}
				}
			}
		}
	}
}
