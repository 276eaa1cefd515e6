package ad_test

import (
	"fmt"
	"testing"
	"time"

	"hepmorph/internal/ad"
	"hepmorph/internal/kernel"
	"hepmorph/internal/rng"
)

// vit records a vision transformer with adaLN-Zero blocks (arXiv 2212.09748) on tokens of patches.
func vit(p *ad.Program[float32], tokens, patch, width, depth, heads int) {
	ps := p.Params
	dense := func(name string, rows, cols int) (w, b *ad.Param) {
		w, b = ps.Matrix(name+".weight", rows, cols), ps.Vector(name+".bias", rows)
		ps.Normal(w, 0.05, 1)
		return
	}
	x, c, y, w := p.InputRows(patch, tokens), p.Input(width), p.InputRows(patch, tokens), p.InputRows(1, tokens)
	lin := func(name string, x ad.Tensor, out int) ad.Tensor {
		w, b := dense(name, out, x.Width)
		return p.Linear(x, w, b)
	}
	pos := ps.Matrix("positions", tokens, width)
	ps.Normal(pos, 0.02, 1)
	h := p.AddTable(lin("in", x, width), pos)
	s := p.Activate(ad.SiLU, c)
	for i := range depth {
		name := fmt.Sprintf("block%d.", i)
		m := lin(name+"modulation", s, 6*width)
		part := func(k int) ad.Part { return m.Part(k*width, (k+1)*width) }
		qkv := lin(name+"qkv", p.ModulatedNorm(h, part(0), part(1), 1e-6), 3*width)
		a := p.Attention(qkv.Part(0, width), qkv.Part(width, 2*width), qkv.Part(2*width, 3*width), heads, false)
		h = p.GatedAdd(h, lin(name+"out", a, width), part(2))
		g := p.Activate(ad.GELU, lin(name+"up", p.ModulatedNorm(h, part(3), part(4), 1e-6), 4*width))
		h = p.GatedAdd(h, lin(name+"down", g, width), part(5))
	}
	m := lin("modulation", s, 2*width)
	p.SquaredError(lin("final", p.ModulatedNorm(h, m.Part(0, width), m.Part(width, 2*width), 1e-6), patch), y, w)
}

// BenchmarkTransformer is a training step without the optimizer of the transformer that is compared with the Python peer: 135 tokens of 48
// voxels, width 128, depth 4, 4 heads, 32 showers.
func BenchmarkTransformer(b *testing.B) {
	const tokens, patch, width, n = 135, 48, 128, 32
	for _, backward := range []bool{false, true} {
		b.Run(map[bool]string{false: "velocity", true: "gradient"}[backward], func(b *testing.B) {
			ps := ad.NewParams[float32]()
			p := ad.NewProgram(ps)
			vit(p, tokens, patch, width, 4, 4)
			pool := ad.NewPool(0)
			defer pool.Close()
			sh := ad.NewShards(ps, 4)
			e := p.Compile(kernel.Best(), pool, sh, ad.Settings{})
			fill := func(k int) []float32 {
				s := rng.NewKey(1, "vit").At(uint64(k))
				v := make([]float32, n*k)
				for i := range v {
					v[i] = float32(s.Norm())
				}
				return v
			}
			run := &ad.Run[float32]{N: n, Backward: backward, Losses: make([]float64, 1), Inputs: []ad.Source[float32]{{Data: fill(tokens * patch)}, {Data: fill(width)}, {Data: fill(tokens * patch)}, {Data: fill(tokens)}}}
			e.Run(run)
			b.ReportAllocs()
			best := time.Duration(1 << 62)
			for b.Loop() {
				start := time.Now()
				e.Run(run)
				best = min(best, time.Since(start))
			}
			b.ReportMetric(float64(best.Microseconds())/1000, "best-ms")
		})
	}
}

// BenchmarkPool is a fork and join around little work.
func BenchmarkPool(b *testing.B) {
	pool := ad.NewPool(2)
	defer pool.Close()
	x := make([]float32, 4*4096)
	k := kernel.Best()
	f := func(_, t int) {
		for range 16 {
			k.Axpy(x[t*4096:][:4096], 1e-3, x[t*4096:][:4096])
		}
	}
	for b.Loop() {
		pool.Run(4, f)
	}
}
