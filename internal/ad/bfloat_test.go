package ad_test

import (
	"math"
	"slices"
	"testing"

	"hepmorph/internal/ad"
	"hepmorph/internal/kernel"
	"hepmorph/internal/rng"
)

// round is the nearest bfloat16 number.
func round(v float32) float64 {
	var pair [1]uint32
	kernel.RoundRow(pair[:], []float32{v})
	return float64(math.Float32frombits(pair[0] << 16))
}

// TestBFloat16 holds that Linear rounds what it multiplies and nothing else, at any number of threads, and without garbage.
func TestBFloat16(t *testing.T) {
	const rep, width = 5, 7
	ps := ad.NewParams[float32]()
	p := ad.NewProgram(ps)
	x := p.InputRows(width, rep)
	w, b := ps.Matrix("w", 37, width), ps.Vector("b", 37)
	ps.Normal(w, 1, 1)
	ps.Normal(b, 1, 1)
	y, z := p.Linear(x, w, b), p.LinearReLU(x, w, nil)
	for _, items := range []int{1, 13, 40} {
		in := make([]float32, items*rep*width)
		s := rng.NewKey(1, "rounded").At(uint64(items))
		for i := range in {
			in[i] = float32(s.Norm())
		}
		var want []float32
		for _, threads := range []int{1, 2, 3} {
			pool := ad.NewPool(threads)
			e := p.Compile(kernel.Best(), pool, nil, ad.Settings{Items: 6, BFloat16: true})
			out := make([]float32, 2*items*rep*37)
			run := ad.Run[float32]{N: items, Inputs: []ad.Source[float32]{{Data: in}},
				Outputs: []ad.Sink[float32]{{Tensor: y, Data: out[:items*rep*37]}, {Tensor: z, Data: out[items*rep*37:]}}}
			e.Run(&run)
			if n := allocations(func() { e.Run(&run) }); n > 0 {
				t.Errorf("%d items, %d threads: %g allocations a pass", items, threads, n)
			}
			pool.Close()
			if want == nil {
				want = out
			}
			if !slices.Equal(out, want) {
				t.Errorf("%d items: %d threads change the result", items, threads)
			}
		}
		for r := range items * rep {
			for i := range 37 {
				sum := 0.0
				for k, v := range ps.Row(w, i) {
					sum += round(v) * round(in[r*width+k])
				}
				got, relu := float64(want[r*37+i]), float64(want[(items*rep+r)*37+i])
				if bias := float64(ps.Row(b, i)[0]); math.Abs(got-sum-bias) > 1e-5 || math.Abs(relu-max(sum, 0)) > 1e-5 {
					t.Fatalf("%d items: unit %d of row %d is %v and %v, want %v and %v", items, i, r, got, relu, sum+bias, max(sum, 0))
				}
			}
		}
	}
	pool := ad.NewPool(1)
	defer pool.Close()
	defer func() {
		if recover() == nil {
			t.Error("a program with gradients rounds")
		}
	}()
	p.Compile(kernel.Best(), pool, ad.NewShards(ps, 1), ad.Settings{BFloat16: true})
}
