package calo

import (
	"fmt"

	"hepmorph/flows"
	"hepmorph/internal/ad"
	"hepmorph/internal/kernel"
	"hepmorph/internal/rng"
)

// autoregressive draws the energy vector number after number (arXiv:2405.09629, section 3): a transformer reads the condition and the numbers
// so far, and a small network on its output is the velocity of the next number. Tokens are not embedded: a token is a number, a one at its
// position, and zeros.
type autoregressive[T kernel.Float] struct{ numberTransformer[T] }

func buildAutoregressive[T kernel.Float](ps *ad.Params[T], s EnergySettings, d Dims, seed uint64) (*autoregressive[T], error) {
	if least := max(d.Energy+2, d.EnergyCondition+1); s.Width < least || s.Width%2 != 0 {
		return nil, fmt.Errorf("calo: could not make the energy network: tokens of %d units for %d numbers and %d conditions: an even number of at least %d is expected",
			s.Width, d.Energy, d.EnergyCondition, least)
	}
	return &autoregressive[T]{maker[T]{ps, seed}.numbers(s, d, s.Width, 1+2*s.Width)}, nil
}

// loss records the flow-matching loss of all numbers at once, each given those before it. Inputs: tokens of the condition and of the vector;
// x_t, features of t and velocity of each number; weights.
func (a *autoregressive[T]) loss(p *ad.Program[T]) {
	source, target := p.InputRows(a.Width, a.sources), p.InputRows(a.Width, a.tokens)
	n := 1 + a.time.width()
	path, w := p.InputRows(n+1, a.tokens), p.InputRows(1, a.tokens)
	r := recorded[T]{a.transformer, p}
	h := r.decode(target, r.encode(source), func(q, k, v ad.Part) ad.Tensor { return p.Attention(q, k, v, a.Heads, true) })
	p.SquaredError(a.recordVelocity(r, p.Slice(path, 0, n), h), p.Slice(path, n, n+1), w)
}

// recordVelocity records v from rows of x_t and the features of t, and the decoder's output.
func (a *autoregressive[T]) recordVelocity(r recorded[T], path, h ad.Tensor) ad.Tensor {
	time := r.linear(a.time.out, r.p.Slice(path, 1, path.Width))
	return r.head(a.velocity, r.p.Concat(r.p.Slice(path, 0, 1), time, h))
}

// token writes number x at a position.
func token[T kernel.Float](dst []T, x T, position int) {
	clear(dst)
	dst[0], dst[1+position] = x, 1
}

// sourceTokens writes the tokens of a condition, targetTokens those of a vector: token i has number i-1.
func (a *autoregressive[T]) sourceTokens(dst, condition []T) {
	for k, c := range condition {
		token(dst[k*a.Width:][:a.Width], c, k)
	}
}

func (a *autoregressive[T]) targetTokens(dst, vector []T) {
	before := T(0)
	for i, x := range vector {
		token(dst[i*a.Width:][:a.Width], before, i)
		before = x
	}
}

// autoregressiveNetwork is what training and drawing see.
type autoregressiveNetwork struct{ *autoregressive[float32] }

func newAutoregressive(ps *ad.Params[float32], s EnergySettings, d Dims, seed uint64) (energyNetwork, error) {
	a, err := buildAutoregressive(ps, s, d, seed)
	return autoregressiveNetwork{a}, err
}

func (a autoregressiveNetwork) record(p *ad.Program[float32], b *energyBatch, s matchSettings) func(uint64) []ad.Source[float32] {
	a.loss(p)
	key, n := energyPaths(s), a.time.width()
	weight := make([]float32, s.batch*a.tokens)
	vector := func(i int) []float32 { return b.vectors[i*a.tokens:][:a.tokens] }
	return func(step uint64) []ad.Source[float32] {
		for i := range weight[:b.n*a.tokens] {
			weight[i] = b.weight[0] / float32(a.tokens)
		}
		each := func(size int, f func(dst []float32, i int)) ad.Source[float32] {
			return ad.Source[float32]{Fill: func(dst []float32, first, items int) {
				for i := range items {
					f(dst[i*size:][:size], first+i)
				}
			}}
		}
		return []ad.Source[float32]{
			each(a.sources*a.Width, func(dst []float32, i int) { a.sourceTokens(dst, b.cond[i*a.sources:][:a.sources]) }),
			each(a.tokens*a.Width, func(dst []float32, i int) { a.targetTokens(dst, vector(i)) }),
			each(a.tokens*(n+2), func(dst []float32, i int) {
				r := key.At(rng.Hash(step, uint64(i)))
				for k, x1 := range vector(i) { // each number has a time of its own
					t, x0 := drawTime(s.times, &r), float32(r.Norm())
					row := dst[k*(n+2):][:n+2]
					row[0], row[n+1] = float32(1-t)*x0+float32(t)*x1, x1-x0
					a.time.features(row[1:], t)
				}
			}),
			{Data: weight},
		}
	}
}

// autoregressiveSampler draws number after number; keys and values of the numbers so far stay in caches.
type autoregressiveSampler struct {
	autoregressiveNetwork
	solver flows.Solver[float32]

	encode, step, head     *ad.Exec[float32]
	memory, output, result ad.Tensor
	caches                 []*ad.Cache[float32]

	sources, kept, tokens, h, one []float32
	features                      []float32
	x                             []float32 // what Velocity is asked for
}

// cachedItems is the number of showers a tile: whole panels, as caches need them.
const cachedItems = 64

func (a autoregressiveNetwork) sampler(pool *ad.Pool, steps int) (energySampler, error) {
	solver, err := flows.NewSolver[float32]("midpoint", steps, 0)
	if err != nil {
		return nil, err
	}
	s := &autoregressiveSampler{autoregressiveNetwork: a, solver: solver, features: make([]float32, a.time.width())}
	compile := func(p *ad.Program[float32]) *ad.Exec[float32] {
		return p.Compile(kernel.Best(), pool, nil, ad.Settings{Shards: fieldShards, Items: cachedItems})
	}
	p := ad.NewProgram(a.ps)
	r := recorded[float32]{a.transformer, p}
	s.memory = r.concat(r.encode(p.InputRows(a.Width, a.autoregressive.sources)))
	s.encode = compile(p)

	p = ad.NewProgram(a.ps)
	r.p = p
	next, memory := p.Input(a.Width), r.memory(a.autoregressive.sources)
	s.output = r.decode(next, memory, func(q, k, v ad.Part) ad.Tensor {
		c := ad.NewCache[float32](a.autoregressive.tokens)
		s.caches = append(s.caches, c)
		return p.CachedAttention(q, k, v, a.Heads, c)
	})
	s.step = compile(p)

	p = ad.NewProgram(a.ps)
	r.p = p
	s.result = a.recordVelocity(r, p.Input(1+a.time.width()), p.Input(a.Width))
	s.head = compile(p)
	return s, nil
}

func (s *autoregressiveSampler) draw(x, conditions []float32, n int) error {
	net := s.autoregressive
	s.sources, s.kept = room(s.sources, n*net.sources*net.Width), room(s.kept, n*net.sources*s.memory.Width)
	s.tokens, s.h, s.one = room(s.tokens, n*net.Width), room(s.h, n*net.Width), room(s.one, n)
	for i := range n {
		net.sourceTokens(s.sources[i*net.sources*net.Width:], conditions[i*net.sources:][:net.sources])
	}
	s.encode.Run(&ad.Run[float32]{N: n, Inputs: []ad.Source[float32]{{Data: s.sources}}, Outputs: []ad.Sink[float32]{{Tensor: s.memory, Data: s.kept}}})
	for _, c := range s.caches {
		c.Start(n)
	}
	clear(s.one) // the vector begins after a 0
	for k := range net.tokens {
		for i := range n {
			token(s.tokens[i*net.Width:][:net.Width], s.one[i], k)
		}
		for _, c := range s.caches {
			c.Row = k
		}
		s.step.Run(&ad.Run[float32]{N: n, Inputs: []ad.Source[float32]{{Data: s.tokens}, {Data: s.kept}}, Outputs: []ad.Sink[float32]{{Tensor: s.output, Data: s.h}}})
		for i := range n {
			s.one[i] = x[i*net.tokens+k]
		}
		if _, err := s.solver.Solve(s, s.one, n, 0, 1); err != nil {
			return err
		}
		for i := range n {
			x[i*net.tokens+k] = s.one[i]
		}
	}
	return nil
}

// Dim is that of one number.
func (s *autoregressiveSampler) Dim() int { return 1 }

// Velocity is that of the number whose decoder outputs are in h.
func (s *autoregressiveSampler) Velocity(v, x []float32, n int, t float64) {
	s.time.features(s.features, t)
	s.x = x
	width := 1 + len(s.features)
	fill := func(dst []float32, first, items int) {
		for i := range items {
			dst[i*width] = s.x[first+i]
			copy(dst[i*width+1:(i+1)*width], s.features)
		}
	}
	s.head.Run(&ad.Run[float32]{N: n, Inputs: []ad.Source[float32]{{Fill: fill}, {Data: s.h}}, Outputs: []ad.Sink[float32]{{Tensor: s.result, Data: v}}})
}

// room is v, or something as long as is needed.
func room(v []float32, n int) []float32 {
	if len(v) < n {
		return make([]float32, n)
	}
	return v
}
