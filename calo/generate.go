package calo

import (
	"context"
	"fmt"
	"math"

	"hepmorph/calo/geometry"
	"hepmorph/flows"
	"hepmorph/internal/ad"
	"hepmorph/internal/kernel"
	"hepmorph/internal/par"
	"hepmorph/internal/rng"
)

// Incident are the energies of the showers that are wanted.
type Incident struct {
	N  int64
	At func(first int64, dst []float64) error // MeV of the showers from number first on
}

// Fixed is n times one energy (MeV).
func Fixed(energy float64, n int64) Incident {
	return Incident{n, func(_ int64, dst []float64) error {
		for i := range dst {
			dst[i] = energy
		}
		return nil
	}}
}

// LogUniform is n energies between lo and hi (MeV), uniform in their logarithm; energy i is a function of the seed and i.
func LogUniform(lo, hi float64, n int64, seed uint64) Incident {
	key := rng.NewKey(seed, "calo incident energies")
	return Incident{n, func(first int64, dst []float64) error {
		for i := range dst {
			dst[i] = lo * math.Exp(math.Log(hi/lo)*key.Uniform(uint64(first)+uint64(i)))
		}
		return nil
	}}
}

// EnergiesOf are those of the first n showers of a file; n 0: all.
func EnergiesOf(f *geometry.Reader, n int64) Incident {
	if n == 0 || n > f.N {
		n = f.N
	}
	return Incident{n, func(first int64, dst []float64) error { return f.Read(first, first+int64(len(dst)), dst, nil, nil) }}
}

// GenerateOptions say how showers are drawn.
type GenerateOptions struct {
	Seed     uint64
	First    int64 // number of the first shower, for parts of a larger sample
	Solving        // fields that are zero are the model's
	Threads  int
	Progress func(done, total int64)
}

// generateFloats bounds the showers of a block by the numbers of their tokens.
const (
	generateFloats = 4 << 20
	generateMost   = 512
)

// Generate draws showers and gives them to f block by block, in order: incident energies (n), voxels (n × voxels) and the layer energies
// that they add up to (n × layers), in MeV; the slices are reused. Shower i depends on the model, the options, its energy and its number alone; memory
// does not grow with their number. Errors: impossible energies, those of in and f, the context's.
func (m *Model) Generate(ctx context.Context, in Incident, o GenerateOptions, f func(incident []float64, voxels []float32, layers []float64) error) error {
	o.Solving = m.solving(o.Solving)
	if err := o.Solving.check(); err != nil {
		return fmt.Errorf("calo: could not generate showers: %w: %w", err, ErrSettings)
	}
	shapes, err := m.solverOf(o.Solving)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrSettings, err)
	}
	pool := ad.NewPool(o.Threads)
	defer pool.Close()
	w, err := m.newGenerator(pool, o)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrSettings, err)
	}
	block := min(generateMost, max(1, generateFloats/m.shape.width()))
	g := m.Geometry()
	for at := int64(0); at < in.N; at += int64(block) {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		n := int(min(int64(block), in.N-at))
		w.resize(n)
		if err := in.At(at, w.incident); err != nil {
			return err
		}
		for i, e := range w.incident {
			if !(e > 0) || math.IsInf(e, 1) {
				return fmt.Errorf("calo: could not generate shower %d of %v MeV: energies above 0 are expected: %w", at+int64(i), e, ErrSettings)
			}
		}
		if err := w.draw(uint64(o.First+at), n, shapes); err != nil {
			return err
		}
		if err := f(w.incident, w.voxels[:n*g.Voxels()], w.sums[:n*len(g.Layers)]); err != nil {
			return err
		}
		if o.Progress != nil {
			o.Progress(at+int64(n), in.N)
		}
	}
	return nil
}

// solving fills in what is not asked for.
func (m *Model) solving(s Solving) Solving {
	of := m.Settings.Solving
	if s.Solver == "" {
		s.Solver = of.Solver
		if s.Steps == 0 {
			s.Steps = of.Steps
		}
	}
	if s.EnergySteps == 0 {
		s.EnergySteps = of.EnergySteps
	}
	if s.Precision == "" {
		s.Precision = of.Precision
	}
	s.resolve()
	return s
}

// A generator holds what a block needs.
type generator struct {
	*Model
	threads                int
	first                  uint64 // number of the block's first shower
	energyNoise, shapeKeys rng.Key
	decodeKeys             rng.Key
	energies               energySampler
	turnKeys               rng.Key
	turned                 [][]int32 // of a model that learned from turned showers
	shapeField             *shapeField

	incident []float64
	coarse   []*Energies
	ex, ec   []float32 // energy vectors and conditions
	x        []float32 // tokens
	voxels   []float32
	sums     []float64
}

func (m *Model) newGenerator(pool *ad.Pool, o GenerateOptions) (*generator, error) {
	energies, err := m.energy.sampler(pool, o.EnergySteps)
	w := &generator{Model: m, threads: pool.Workers(), energyNoise: rng.NewKey(o.Seed, "calo energy noise"), shapeKeys: rng.NewKey(o.Seed, "calo shape noise"), decodeKeys: rng.NewKey(o.Seed, "calo decoding"),
		turnKeys: rng.NewKey(o.Seed, "calo turns"), energies: energies, shapeField: newShapeField(m, pool, o.Precision)}
	if m.Settings.Turns == "on" {
		w.turned = turnings(m.codec)
	}
	return w, err
}

func (w *generator) resize(n int) {
	d, g, s := w.codec.Dims(), w.Geometry(), w.shapeField
	for len(w.coarse) < n {
		w.coarse = append(w.coarse, NewEnergies(g))
	}
	grow := func(v []float32, k int) []float32 {
		if len(v) < n*k {
			return make([]float32, n*k)
		}
		return v
	}
	w.ex, w.ec = grow(w.ex, d.Energy), grow(w.ec, d.EnergyCondition)
	w.x, w.voxels = grow(w.x, w.shape.width()), grow(w.voxels, g.Voxels())
	s.numbers, s.mask, s.items = grow(s.numbers, s.net.tokens*s.net.extra), grow(s.mask, s.net.width()), grow(s.items, s.net.items())
	if len(w.sums) < n*len(g.Layers) {
		w.sums = make([]float64, n*len(g.Layers))
	}
	if cap(w.incident) < n {
		w.incident = make([]float64, n)
	}
	w.incident = w.incident[:n]
}

// draw fills the block with showers number first and up.
func (w *generator) draw(first uint64, n int, shapes flows.Solver[float32]) error {
	if err := w.begin(first, n); err != nil {
		return err
	}
	if _, err := shapes.Solve(w.shapeField, w.x, n, 0, 1); err != nil {
		return err
	}
	w.end(n)
	return nil
}

// begin draws the energies of showers number first and up, and the noise that their shapes come from.
func (w *generator) begin(first uint64, n int) error {
	w.first = first
	c, d, g, s := w.codec, w.codec.Dims(), w.Geometry(), w.shapeField
	par.For(w.threads, n, encodeChunk, func(_, lo, hi int) {
		for i := lo; i < hi; i++ {
			normal(w.energyNoise, first+uint64(i), w.ex[i*d.Energy:(i+1)*d.Energy])
			c.EnergyCondition(w.ec[i*d.EnergyCondition:(i+1)*d.EnergyCondition], w.incident[i])
		}
	})
	if err := w.energies.draw(w.ex, w.ec, n); err != nil {
		return err
	}
	net := s.net
	par.For(w.threads, n, encodeChunk, func(_, lo, hi int) {
		layers := make([]float32, d.Layer*len(g.Layers))
		for i := lo; i < hi; i++ {
			e := w.coarse[i]
			e.Incident = w.incident[i]
			c.DecodeEnergies(e, w.ex[i*d.Energy:(i+1)*d.Energy])
			c.ShapeCondition(s.items[i*net.items()+net.times:(i+1)*net.items()], layers, e)
			net.giveLayers(s.numbers[i*net.tokens*net.extra:], layers, net.extra)
			mask := s.mask[i*net.width() : (i+1)*net.width()]
			net.mask(mask, e, d.SkipEmpty, net.patch)
			x := w.x[i*net.width() : (i+1)*net.width()]
			normal(w.shapeKeys, first+uint64(i), x)
			for k, v := range mask {
				x[k] *= v
			}
		}
	})
	return nil
}

// end makes voxels of shapes.
func (w *generator) end(n int) {
	c, d, g, net := w.codec, w.codec.Dims(), w.Geometry(), w.shape
	par.For(w.threads, n, encodeChunk, func(_, lo, hi int) {
		shape, straight := make([]float32, d.Shape), make([]float32, g.Voxels())
		for i := lo; i < hi; i++ {
			net.join(shape, w.x[i*net.width():(i+1)*net.width()])
			voxels := w.voxels[i*g.Voxels() : (i+1)*g.Voxels()]
			s := w.decodeKeys.At(w.first + uint64(i))
			c.DecodeShape(voxels, w.coarse[i], shape, &s)
			if w.turned != nil { // what symmetry the network has not learned becomes exact
				s := w.turnKeys.At(w.first + uint64(i))
				copy(straight, voxels)
				for k, to := range w.turned[s.IntN(len(w.turned))] {
					voxels[to] = straight[k]
				}
			}
			copy(w.sums[i*len(g.Layers):(i+1)*len(g.Layers)], w.coarse[i].Layers)
		}
	})
}

func normal(key rng.Key, at uint64, dst []float32) {
	s := key.At(at)
	for k := range dst {
		dst[k] = float32(s.Norm())
	}
}

// A shapeField is the shape network as a velocity of the tokens.
type shapeField struct {
	net     *transformer[float32]
	exec    *ad.Exec[float32]
	out     ad.Tensor
	numbers []float32 // of the tokens' layers
	mask    []float32
	items   []float32 // time and condition of each shower
	x       []float32
	scale   float32 // of x at the network's input
	run     ad.Run[float32]
	in      [3]ad.Source[float32]
	sink    [1]ad.Sink[float32]
	time    []float32
}

// fieldShards is the number of parts of a block that run at the same time.
const fieldShards = 32

func newShapeField(m *Model, pool *ad.Pool, precision string) *shapeField {
	net := m.shape
	s := &shapeField{net: net, time: make([]float32, net.times)}
	p := ad.NewProgram(m.shapeParams)
	x, items, mask := p.InputRows(net.patch+net.extra, net.tokens), p.Input(net.items()), p.InputRows(net.patch, net.tokens)
	s.out = p.Product(net.record(p, x, items), mask)
	s.exec = p.Compile(kernel.Best(), pool, nil, ad.Settings{Shards: fieldShards, BFloat16: precision == bfloat16})
	s.in[0].Fill = s.fill
	return s
}

// Dim is the length of a shower's tokens.
func (s *shapeField) Dim() int { return s.net.width() }

func (s *shapeField) fill(dst []float32, first, n int) {
	net := s.net
	width := net.patch + net.extra
	for row := range n * net.tokens {
		from := first*net.tokens + row
		for k, v := range s.x[from*net.patch:][:net.patch] {
			dst[row*width+k] = s.scale * v
		}
		copy(dst[row*width+net.patch:(row+1)*width], s.numbers[from*net.extra:])
	}
}

// Velocity writes the velocities of n showers' tokens x at time t.
func (s *shapeField) Velocity(v, x []float32, n int, t float64) { s.Mean(v, x, n, t, t) }

// Mean writes the mean velocities between t and until, which the network must have learned.
func (s *shapeField) Mean(v, x []float32, n int, t, until float64) {
	in, skip, out := s.net.precondition(t, until)
	s.x, s.scale = x, float32(in)
	s.net.timeFeatures(s.time, t, until)
	for i := range n {
		copy(s.items[i*s.net.items():], s.time)
	}
	s.in[1].Data, s.in[2].Data = s.items, s.mask
	s.sink[0] = ad.Sink[float32]{Tensor: s.out, Data: v}
	s.run = ad.Run[float32]{N: n, Inputs: s.in[:], Outputs: s.sink[:]}
	s.exec.Run(&s.run)
	if s.net.Published {
		return
	}
	for k, xt := range x[:n*s.Dim()] {
		v[k] = float32(skip)*xt + float32(out)*v[k]
	}
}
