package calo

import (
	"fmt"
	"math"

	"hepmorph/internal/ad"
	"hepmorph/internal/kernel"
)

// TransformerSettings describe the shape network, a vision transformer with adaLN-Zero (arXiv:2405.09629, arXiv:2212.09748). The zero value
// of a field is its default.
type TransformerSettings struct {
	Patch [3]int // layers, sectors and rings of a token; default 3 × up to 16 × 1
	Width int    // units of a token; default 96
	Depth int    // blocks; default 4
	Heads int    // default 4
	Ratio int    // hidden units of a block's network over Width; default 4
	// Published takes learnable position frequencies and 256 sinusoids of the unscaled time, and gives no token its layer's numbers.
	Published bool
	// Mean learns the mean velocity between two times (see flows.MeanFlow), for drawing in few steps.
	Mean bool
}

func (s *TransformerSettings) resolve(c Codec) {
	if s.Patch == [3]int{} {
		s.Patch = defaultPatch(c)
	}
	for _, d := range []struct {
		field *int
		value int
	}{{&s.Width, 96}, {&s.Depth, 4}, {&s.Heads, 4}, {&s.Ratio, 4}} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
}

// Widths of the time features.
const (
	times          = 64
	publishedTimes = 256
)

// transformer is the shape network's velocity v(x_t, t, condition): the tokens of x_t with numbers of their layers in, tokens out. It
// starts as v = 0.
type transformer[T kernel.Float] struct {
	TransformerSettings
	tiling
	extra     int // numbers of its layers that a token gets
	condition int
	times     int

	x, c1, c2, t1, t2 dense
	table             *ad.Param // positions
	frequencies       *ad.Param
	blocks            []block
	modulation, out   dense
}

type dense struct{ w, b *ad.Param }

type block struct{ modulation, qkv, proj, up, down dense }

func newTransformer[T kernel.Float](ps *ad.Params[T], s TransformerSettings, tl tiling, d Dims) (*transformer[T], error) {
	n := &transformer[T]{TransformerSettings: s, tiling: tl, extra: tl.layers * d.Layer, condition: d.ShapeCondition, times: times}
	if s.Published {
		n.extra, n.times = 0, publishedTimes
	}
	if s.Mean {
		n.times *= 2
	}
	fail := func(format string, args ...any) (*transformer[T], error) {
		return nil, fmt.Errorf("calo: could not make the shape network: "+format, args...)
	}
	switch w := s.Width; {
	case w < 1 || w > 4096 || s.Depth < 1 || s.Depth > 64 || s.Ratio < 1 || s.Ratio > 16:
		return fail("width %d, depth %d, ratio %d: 1 to 4096, 64, 16 are possible", w, s.Depth, s.Ratio)
	case s.Heads < 1 || w%s.Heads != 0:
		return fail("%d units do not split over %d heads", w, s.Heads)
	case s.Published && w%6 != 0:
		return fail("published positions need a width that 6 divides, not %d", w)
	case s.Published && tl.grid[0] == 0:
		return fail("published positions need equal layers")
	}
	layer := func(name string, rows, cols int) dense {
		return dense{ps.Matrix(name+".weight", rows, cols), ps.Vector(name+".bias", rows)}
	}
	w := s.Width
	n.x = layer("x", w, n.patch+n.extra)
	n.c1, n.c2 = layer("condition.0", w, n.condition), layer("condition.1", w, w)
	n.t1, n.t2 = layer("time.0", w, n.times), layer("time.1", w, w)
	if s.Published {
		n.frequencies = ps.Vector("frequencies", w/2)
	} else {
		n.table = ps.Matrix("positions", n.tokens, w)
	}
	for i := range s.Depth {
		name := fmt.Sprintf("block%d.", i)
		n.blocks = append(n.blocks, block{layer(name+"modulation", 6*w, w), layer(name+"qkv", 3*w, w), layer(name+"proj", w, w),
			layer(name+"up", s.Ratio*w, w), layer(name+"down", w, s.Ratio*w)})
	}
	n.modulation, n.out = layer("modulation", 2*w, w), layer("out", n.patch, w)
	return n, nil
}

// initialise draws the start values: Xavier-uniform weights, zero biases and modulations.
func (n *transformer[T]) initialise(ps *ad.Params[T], seed uint64) {
	xavier := func(l dense) { ps.Uniform(l.w, math.Sqrt(6/float64(l.w.Rows+l.w.Cols)), seed) }
	for _, l := range []dense{n.x, n.c1, n.c2} {
		xavier(l)
	}
	for _, l := range []dense{n.t1, n.t2} {
		ps.Normal(l.w, 0.02, seed)
	}
	if n.Published {
		ps.Normal(n.frequencies, 1, seed)
	} else {
		ps.Normal(n.table, 0.3, seed)
	}
	for _, b := range n.blocks {
		for _, l := range []dense{b.qkv, b.proj, b.up, b.down} {
			xavier(l)
		}
	}
}

// items is the width of the input with one row a shower: the time's numbers, then the condition.
func (n *transformer[T]) items() int { return n.times + n.condition }

// timeFeatures writes the numbers of a time t and, for a network of mean velocities, those of the time from there to s.
func (n *transformer[T]) timeFeatures(dst []T, t, s float64) {
	if n.Mean {
		n.sinusoids(dst[:n.times/2], t)
		n.sinusoids(dst[n.times/2:n.times], s-t)
		return
	}
	n.sinusoids(dst[:n.times], t)
}

func (n *transformer[T]) sinusoids(dst []T, t float64) {
	half := len(dst) / 2
	for k := range half {
		w := math.Exp(math.Log(200) * float64(k) / float64(half-1))
		if n.Published {
			w = math.Exp(-math.Log(1e4) * float64(k) / float64(half))
		}
		sin, cos := math.Sincos(t * w)
		dst[k], dst[half+k] = T(cos), T(sin)
	}
}

// precondition are the numbers of v = skip·x_t + out·F(in·x_t, t, c), where F is what a network is trained for. If x_1 were normal numbers that
// nothing connects, F = 0 would be the answer at every t; so the network learns the rest alone, from numbers of unit variance to numbers of
// unit variance (after arXiv:2206.00364).
func precondition(t float64) (in, skip, out float64) {
	variance := t*t + (1-t)*(1-t) // of x_t
	return 1 / math.Sqrt(variance), (2*t - 1) / variance, 1 / math.Sqrt(variance)
}

// precondition is that of the network, for the mean velocity between t and s; a published one is v itself. The path of unconnected normal
// numbers is x_s = x_t·√(Var x_s/Var x_t).
func (n *transformer[T]) precondition(t, s float64) (in, skip, out float64) {
	if n.Published {
		return 1, 0, 1
	}
	in, skip, out = precondition(t)
	if s != t {
		skip = (math.Sqrt((s*s+(1-s)*(1-s))/(t*t+(1-t)*(1-t))) - 1) / (s - t)
	}
	return in, skip, out
}

// record records F of precondition. x has the tokens followed by their layers' numbers, items what items says.
func (n *transformer[T]) record(p *ad.Program[T], x, items ad.Tensor) ad.Tensor {
	linear := func(l dense, x ad.Tensor) ad.Tensor { return p.Linear(x, l.w, l.b) }
	embed := func(a, b dense, x ad.Tensor) ad.Tensor { return linear(b, p.Activate(ad.SiLU, linear(a, x))) }
	c := p.Sum2(embed(n.t1, n.t2, p.Slice(items, 0, n.times)), embed(n.c1, n.c2, p.Slice(items, n.times, items.Width)))
	c = p.Activate(ad.SiLU, c)
	h := linear(n.x, x)
	if n.Published {
		h = n.addFrequencies(p, h)
	} else {
		h = p.AddTable(h, n.table)
	}
	w := n.Width
	for _, b := range n.blocks {
		m := linear(b.modulation, c)
		part := func(k int) ad.Part { return m.Part(k*w, (k+1)*w) } // shift, scale, gate; shift, scale, gate
		qkv := linear(b.qkv, p.ModulatedNorm(h, part(1), part(0), 1e-6))
		a := p.Attention(qkv.Part(0, w), qkv.Part(w, 2*w), qkv.Part(2*w, 3*w), n.Heads, false)
		h = p.GatedAdd(h, linear(b.proj, a), part(2))
		u := p.Activate(ad.GELU, linear(b.up, p.ModulatedNorm(h, part(4), part(3), 1e-6)))
		h = p.GatedAdd(h, linear(b.down, u), part(5))
	}
	m := linear(n.modulation, c)
	return linear(n.out, p.ModulatedNorm(h, m.Part(w, 2*w), m.Part(0, w), 1e-6))
}

// frequencies adds positions made of learned frequencies: for the axes ring, sector, layer the sines and cosines of 2πf·index/count.
type frequencies[T kernel.Float] struct {
	x, y ad.Tensor
	f    *ad.Param
	grid [3]int
}

func (n *transformer[T]) addFrequencies(p *ad.Program[T], x ad.Tensor) ad.Tensor {
	o := &frequencies[T]{x, p.New(x.Width, x.Rep), n.frequencies, n.grid}
	p.Add(o)
	return o.y
}

func (o *frequencies[T]) In() []ad.Tensor { return []ad.Tensor{o.x} }

// wave is what a frequency does to the tokens of an item: its sine and its cosine go to two units, of the turns 2π·index/count along its axis.
type wave struct {
	units    [2]int
	turn     []float64 // by token
	sin, cos []float64
	sum      [2][]float64
}

// waves calls visit for a part of the frequencies.
func (o *frequencies[T]) waves(f *ad.Frame[T], part, parts int, visit func(k int, w wave)) {
	third, n := o.f.Rows/3, o.x.Rep
	w := wave{turn: f.Temp64(n), sin: f.Temp64(n), cos: f.Temp64(n), sum: [2][]float64{f.Temp64(n), f.Temp64(n)}}
	stride := [3]int{o.grid[1] * o.grid[2], o.grid[2], 1}
	for k := o.f.Rows * part / parts; k < o.f.Rows*(part+1)/parts; k++ {
		axis := k / third
		w.units[0] = (2-axis)*2*third + k%third
		w.units[1] = w.units[0] + third
		v, count, step := float64(f.W(o.f)[k]), o.grid[axis], stride[axis]
		for token := range n {
			first := token / step % count * step // the first of the same index
			if token == first {
				w.turn[token] = 2 * math.Pi * float64(token/step) / float64(count)
				w.sin[token], w.cos[token] = math.Sincos(w.turn[token] * v)
			}
			w.turn[token], w.sin[token], w.cos[token] = w.turn[first], w.sin[first], w.cos[first]
		}
		visit(k, w)
	}
}

// rows calls visit for the rows of a unit, panel by panel: where they start, the token of the first of them, and how many.
func (o *frequencies[T]) rows(f *ad.Frame[T], unit int, visit func(at, token, n int)) {
	const l = kernel.Lanes
	for r, all := 0, f.Rows(o.x); r < all; r += l {
		visit(r/l*o.x.Stride()+unit*l, r%o.x.Rep, min(l, all-r))
	}
}

func (o *frequencies[T]) Forward(f *ad.Frame[T]) { o.ForwardPart(f, 0, 1) }

// ForwardPart adds a part of the frequencies.
func (o *frequencies[T]) ForwardPart(f *ad.Frame[T], part, parts int) {
	x, y := f.V(o.x), f.V(o.y)
	o.waves(f, part, parts, func(_ int, w wave) {
		for i, values := range [2][]float64{w.sin, w.cos} {
			o.rows(f, w.units[i], func(at, token, n int) {
				dst := y[at:][:kernel.Lanes]
				copy(dst, x[at:])
				for e := range dst[:n] {
					dst[e] += T(values[token])
					if token++; token == len(values) {
						token = 0
					}
				}
			})
		}
	})
}

func (o *frequencies[T]) Backward(f *ad.Frame[T], fresh []bool) { o.BackwardPart(f, fresh, 0, 1) }

// BackwardPart does a part of the frequencies.
func (o *frequencies[T]) BackwardPart(f *ad.Frame[T], fresh []bool, part, parts int) {
	dw, gy := f.DW(o.f), f.G(o.y)
	o.waves(f, part, parts, func(k int, w wave) {
		for i, sum := range w.sum {
			clear(sum)
			o.rows(f, w.units[i], func(at, token, n int) {
				for _, g := range gy[at:][:n] {
					sum[token] += float64(g)
					if token++; token == len(sum) {
						token = 0
					}
				}
				if !f.HasGrad(o.x) {
					return
				}
				if gx := f.G(o.x)[at:][:kernel.Lanes]; fresh[0] {
					copy(gx, gy[at:])
				} else {
					f.K.Axpy(gx, 1, gy[at:][:kernel.Lanes])
				}
			})
		}
		d := 0.0
		for token, turn := range w.turn {
			d += turn * (w.cos[token]*w.sum[0][token] - w.sin[token]*w.sum[1][token])
		}
		dw[k] += T(d)
	})
}
