package calo

import (
	"fmt"

	"hepmorph/flows"
	"hepmorph/internal/ad"
	"hepmorph/internal/kernel"
	"hepmorph/internal/rng"
)

// parallel draws all numbers of the energy vector at once (arXiv:2601.05289): a transformer over the numbers at a common time, a small network
// on its output.
type parallel[T kernel.Float] struct {
	numberTransformer[T]
	x, condition     dense
	positions, order *ad.Param // of the numbers and of the condition's
}

func buildParallel[T kernel.Float](ps *ad.Params[T], s EnergySettings, d Dims, seed uint64) (*parallel[T], error) {
	if s.Width%4 != 0 {
		return nil, fmt.Errorf("calo: could not make the energy network: tokens of %d units: a multiple of 4 is expected", s.Width)
	}
	m := maker[T]{ps, seed}
	half := s.Width / 2
	n := &parallel[T]{x: m.dense("energy.x", half, 1), condition: m.dense("energy.condition", s.Width, 1),
		positions: ps.Matrix("energy.positions", d.Energy, half), order: ps.Matrix("energy.order", d.EnergyCondition, s.Width)}
	ps.Normal(n.positions, 1, seed)
	ps.Normal(n.order, 1, seed)
	n.numberTransformer = m.numbers(s, d, half, half+s.Width)
	return n, nil
}

// recordVelocity records v from x_t, the features of t and what encode made of the condition.
func (n *parallel[T]) recordVelocity(r recorded[T], x, features ad.Tensor, memory []ad.Part) ad.Tensor {
	p := r.p
	time := p.Expand(r.linear(n.time.out, features), n.tokens)
	h := r.decode(p.Concat(p.AddTable(r.linear(n.x, x), n.positions), time), memory, func(q, k, v ad.Part) ad.Tensor { return p.Attention(q, k, v, n.Heads, false) })
	return r.head(n.velocity, p.Concat(time, h))
}

func (n *parallel[T]) encode(r recorded[T], condition ad.Tensor) []ad.Part {
	return r.encode(r.p.AddTable(r.linear(n.condition, condition), n.order))
}

// loss records the flow-matching loss. Inputs: x_t and velocity of each number; features of t; condition; weights.
func (n *parallel[T]) loss(p *ad.Program[T]) {
	pair, features, condition, w := p.InputRows(2, n.tokens), p.Input(n.time.width()), p.InputRows(1, n.sources), p.InputRows(1, n.tokens)
	r := recorded[T]{n.transformer, p}
	v := n.recordVelocity(r, p.Slice(pair, 0, 1), features, n.encode(r, condition))
	p.SquaredError(v, p.Slice(pair, 1, 2), w)
}

// parallelNetwork is what training and drawing see.
type parallelNetwork struct{ *parallel[float32] }

func newParallel(ps *ad.Params[float32], s EnergySettings, d Dims, seed uint64) (energyNetwork, error) {
	n, err := buildParallel(ps, s, d, seed)
	return parallelNetwork{n}, err
}

func (n parallelNetwork) record(p *ad.Program[float32], b *energyBatch, s matchSettings) func(uint64) []ad.Source[float32] {
	n.loss(p)
	key, features := energyPaths(s), n.time.width()
	weight := make([]float32, s.batch*n.tokens)
	times := make([]float32, s.batch*features)
	pairs := make([]float32, s.batch*n.tokens*2)
	return func(step uint64) []ad.Source[float32] {
		for i := range b.n {
			r := key.At(rng.Hash(step, uint64(i)))
			t := drawTime(s.times, &r)
			n.time.features(times[i*features:], t)
			for k, x1 := range b.vectors[i*n.tokens:][:n.tokens] {
				x0, at := float32(r.Norm()), i*n.tokens+k
				pairs[2*at], pairs[2*at+1] = float32(1-t)*x0+float32(t)*x1, x1-x0
				weight[at] = b.weight[i] / float32(n.tokens)
			}
		}
		return []ad.Source[float32]{{Data: pairs}, {Data: times}, {Data: b.cond}, {Data: weight}}
	}
}

// parallelSampler is the velocity of all numbers, the condition encoded once.
type parallelSampler struct {
	parallelNetwork
	solver         flows.Solver[float32]
	first, field   *ad.Exec[float32]
	memory, result ad.Tensor
	kept, times    []float32
}

func (n parallelNetwork) sampler(pool *ad.Pool, steps int) (energySampler, error) {
	solver, err := flows.NewSolver[float32]("midpoint", steps, 0)
	if err != nil {
		return nil, err
	}
	s := &parallelSampler{parallelNetwork: n, solver: solver}
	compile := func(p *ad.Program[float32]) *ad.Exec[float32] {
		return p.Compile(kernel.Best(), pool, nil, ad.Settings{Shards: fieldShards})
	}
	p := ad.NewProgram(n.ps)
	r := recorded[float32]{n.transformer, p}
	s.memory = r.concat(n.encode(r, p.InputRows(1, n.sources)))
	s.first = compile(p)
	p = ad.NewProgram(n.ps)
	r.p = p
	x, features := p.InputRows(1, n.tokens), p.Input(n.time.width())
	s.result = n.recordVelocity(r, x, features, r.memory(n.sources))
	s.field = compile(p)
	return s, nil
}

func (s *parallelSampler) draw(x, conditions []float32, n int) error {
	s.kept, s.times = room(s.kept, n*s.sources*s.memory.Width), room(s.times, n*s.time.width())
	s.first.Run(&ad.Run[float32]{N: n, Inputs: []ad.Source[float32]{{Data: conditions}}, Outputs: []ad.Sink[float32]{{Tensor: s.memory, Data: s.kept}}})
	_, err := s.solver.Solve(s, x, n, 0, 1)
	return err
}

// Dim is the length of the vector.
func (s *parallelSampler) Dim() int { return s.tokens }

// Velocity writes the velocities of n rows x at time t.
func (s *parallelSampler) Velocity(v, x []float32, n int, t float64) {
	for i := range n {
		s.time.features(s.times[i*s.time.width():], t)
	}
	s.field.Run(&ad.Run[float32]{N: n, Inputs: []ad.Source[float32]{{Data: x}, {Data: s.times}, {Data: s.kept}}, Outputs: []ad.Sink[float32]{{Tensor: s.result, Data: v}}})
}
