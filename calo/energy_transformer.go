package calo

import (
	"fmt"
	"math"

	"hepmorph/internal/ad"
	"hepmorph/internal/kernel"
	"hepmorph/internal/rng"
)

// An encoderDecoder is the transformer of arXiv:1706.03762 with ReLU, normalisation after every part and at both ends.
type encoderDecoder[T kernel.Float] struct {
	width, heads     int
	encoder, decoder []postNormLayer
	encoded, decoded norm
}

// numberTransformer is what both energy transformers have: an encoder of the condition and a decoder of the numbers of the vector, and a small
// network that makes velocities of its output and of the time.
type numberTransformer[T kernel.Float] struct {
	EnergySettings
	ps              *ad.Params[T]
	tokens, sources int
	transformer     *encoderDecoder[T]
	time            timeEmbedding
	velocity        velocityHead
}

// numbers adds the parameters of a numberTransformer whose time has timeWidth units; its small network reads inputs.
func (m maker[T]) numbers(s EnergySettings, d Dims, timeWidth, inputs int) numberTransformer[T] {
	return numberTransformer[T]{EnergySettings: s, ps: m.ps, tokens: d.Energy, sources: d.EnergyCondition, transformer: m.encoderDecoder(s), time: m.time(timeWidth, s.Frequency),
		velocity: m.head(s, inputs)}
}

type norm struct{ scale, shift *ad.Param }

// A postNormLayer of an encoder attends to itself, one of a decoder to the encoder's output too.
type postNormLayer struct {
	self, cross attend
	up, down    dense
	norms       [3]norm // after self, cross, hidden
}

type attend struct{ q, kv, out dense }

// A maker adds parameters with start values: weights Xavier-uniform, biases 0, norms 1 and 0.
type maker[T kernel.Float] struct {
	ps   *ad.Params[T]
	seed uint64
}

func (m maker[T]) dense(name string, rows, cols int) dense {
	d := dense{m.ps.Matrix(name+".weight", rows, cols), m.ps.Vector(name+".bias", rows)}
	m.ps.Uniform(d.w, math.Sqrt(6/float64(rows+cols)), m.seed)
	return d
}

func (m maker[T]) norm(name string, n int) norm {
	v := norm{m.ps.Vector(name+".scale", n), m.ps.Vector(name+".shift", n)}
	m.ps.Constant(v.scale, 1)
	return v
}

func (m maker[T]) attend(name string, w int) attend {
	return attend{m.dense(name+".q", w, w), m.dense(name+".kv", 2*w, w), m.dense(name+".out", w, w)}
}

func (m maker[T]) encoderDecoder(s EnergySettings) *encoderDecoder[T] {
	t := &encoderDecoder[T]{width: s.Width, heads: s.Heads}
	layer := func(name string, cross bool) postNormLayer {
		l := postNormLayer{self: m.attend(name+".self", s.Width)}
		l.norms[0] = m.norm(name+".norm0", s.Width)
		if cross {
			l.cross = m.attend(name+".cross", s.Width)
			l.norms[1] = m.norm(name+".norm1", s.Width)
		}
		l.up, l.down = m.dense(name+".up", s.Hidden, s.Width), m.dense(name+".down", s.Width, s.Hidden)
		l.norms[2] = m.norm(name+".norm2", s.Width)
		return l
	}
	for i := range s.Depth {
		t.encoder = append(t.encoder, layer(fmt.Sprintf("energy.encoder%d", i), false))
		t.decoder = append(t.decoder, layer(fmt.Sprintf("energy.decoder%d", i), true))
	}
	t.encoded, t.decoded = m.norm("energy.encoded", s.Width), m.norm("energy.decoded", s.Width)
	return t
}

// recorded is an encoderDecoder in a program.
type recorded[T kernel.Float] struct {
	*encoderDecoder[T]
	p *ad.Program[T]
}

func (r recorded[T]) linear(d dense, x ad.Tensor) ad.Tensor { return r.p.Linear(x, d.w, d.b) }

func (r recorded[T]) norm(n norm, x ad.Tensor) ad.Tensor {
	return r.p.AffineNorm(x, n.scale, n.shift, 1e-5)
}

// add is the norm of x + y.
func (r recorded[T]) add(n norm, x, y ad.Tensor) ad.Tensor { return r.norm(n, r.p.Sum2(x, y)) }

func (r recorded[T]) hidden(l postNormLayer, x ad.Tensor) ad.Tensor {
	return r.add(l.norms[2], x, r.linear(l.down, r.p.LinearReLU(x, l.up.w, l.up.b)))
}

// encode gives, for each layer of the decoder, keys and values of the source's tokens.
func (r recorded[T]) encode(x ad.Tensor) []ad.Part {
	for _, l := range r.encoder {
		kv := r.linear(l.self.kv, x)
		a := r.p.Attention(r.linear(l.self.q, x).All(), kv.Part(0, r.width), kv.Part(r.width, 2*r.width), r.heads, false)
		x = r.hidden(l, r.add(l.norms[0], x, r.linear(l.self.out, a)))
	}
	x = r.norm(r.encoded, x)
	var memory []ad.Part
	for _, l := range r.decoder {
		memory = append(memory, r.linear(l.cross.kv, x).All())
	}
	return memory
}

// decode is the decoder's output for tokens x. Self is attention among them.
func (r recorded[T]) decode(x ad.Tensor, memory []ad.Part, self func(q, k, v ad.Part) ad.Tensor) ad.Tensor {
	half := func(p ad.Part, k int) ad.Part { return p.Tensor.Part(p.Lo+k*r.width, p.Lo+(k+1)*r.width) }
	for i, l := range r.decoder {
		kv := r.linear(l.self.kv, x).All()
		a := self(r.linear(l.self.q, x).All(), half(kv, 0), half(kv, 1))
		x = r.add(l.norms[0], x, r.linear(l.self.out, a))
		a = r.p.Attention(r.linear(l.cross.q, x).All(), half(memory[i], 0), half(memory[i], 1), r.heads, false)
		x = r.add(l.norms[1], x, r.linear(l.cross.out, a))
		x = r.hidden(l, x)
	}
	return r.norm(r.decoded, x)
}

// memory declares what encode gives as an input of another program: the parts of all layers side by side.
func (r recorded[T]) memory(tokens int) []ad.Part {
	all := r.p.InputRows(len(r.decoder)*2*r.width, tokens)
	var memory []ad.Part
	for i := range r.decoder {
		memory = append(memory, all.Part(i*2*r.width, (i+1)*2*r.width))
	}
	return memory
}

// concat puts the parts of encode side by side.
func (r recorded[T]) concat(memory []ad.Part) ad.Tensor {
	var all []ad.Tensor
	for _, m := range memory {
		all = append(all, m.Tensor)
	}
	return r.p.Concat(all...)
}

// A velocityHead makes a velocity of one number from that number, the time and a decoder's output: SiLU layers, all but the first one
// normalised.
type velocityHead struct {
	first  dense
	hidden []dense
	norms  []norm
	out    dense
}

// head adds one of s.HeadDepth layers. It starts as v = 0.
func (m maker[T]) head(s EnergySettings, in int) velocityHead {
	h := velocityHead{first: m.dense("energy.head0", s.HeadWidth, in)}
	for i := 1; i < s.HeadDepth; i++ {
		name := fmt.Sprintf("energy.head%d", i)
		h.hidden = append(h.hidden, m.dense(name, s.HeadWidth, s.HeadWidth))
		h.norms = append(h.norms, m.norm(name+".norm", s.HeadWidth))
	}
	h.out = dense{m.ps.Matrix("energy.out.weight", 1, s.HeadWidth), m.ps.Vector("energy.out.bias", 1)}
	return h
}

func (r recorded[T]) head(h velocityHead, x ad.Tensor) ad.Tensor {
	x = r.p.Activate(ad.SiLU, r.linear(h.first, x))
	for i, d := range h.hidden {
		x = r.p.Activate(ad.SiLU, r.norm(h.norms[i], r.linear(d, x)))
	}
	return r.linear(h.out, x)
}

// A timeEmbedding is the sines and cosines of 2πwt at fixed frequencies w, drawn once from normal numbers (arXiv:2006.10739), before a linear
// layer.
type timeEmbedding struct {
	frequencies []float64
	out         dense
}

// time adds an embedding with n units, an even number, and frequencies of that standard deviation.
func (m maker[T]) time(n int, deviation float64) timeEmbedding {
	t := timeEmbedding{make([]float64, n/2), m.dense("energy.time", n, n)}
	s := rng.NewKey(m.seed, "calo energy time").At(0)
	for i := range t.frequencies {
		t.frequencies[i] = deviation * s.Norm()
	}
	return t
}

func (t *timeEmbedding) width() int { return 2 * len(t.frequencies) }

// features writes the numbers of a time.
func (t *timeEmbedding) features(dst []float32, time float64) {
	n := len(t.frequencies)
	for i, w := range t.frequencies {
		sin, cos := math.Sincos(2 * math.Pi * w * time)
		dst[i], dst[n+i] = float32(sin), float32(cos)
	}
}
