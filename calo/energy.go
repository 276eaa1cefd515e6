package calo

import (
	"hepmorph/flows"
	"hepmorph/internal/ad"
	"hepmorph/internal/kernel"
	"hepmorph/internal/par"
	"hepmorph/internal/rng"
)

// Values of EnergySettings.Network.
const (
	residualNet       = "residual"
	autoregressiveNet = "autoregressive"
	parallelNet       = "parallel"
)

// EnergyNetworks lists the kinds of energy networks.
func EnergyNetworks() []string { return []string{residualNet, autoregressiveNet, parallelNet} }

// An energyNetwork draws energy vectors given a condition.
type energyNetwork interface {
	// record records the training: its loss, and what fills the inputs for a batch of which the energies are known.
	record(p *ad.Program[float32], b *energyBatch, s matchSettings) (fill func(step uint64) []ad.Source[float32])
	// sampler is for drawing with midpoint steps.
	sampler(pool *ad.Pool, steps int) (energySampler, error)
}

// An energySampler moves n rows x of normal numbers to energy vectors, given their conditions.
type energySampler interface {
	draw(x, conditions []float32, n int) error
}

func newEnergyNetwork(ps *ad.Params[float32], s EnergySettings, d Dims, seed uint64) (energyNetwork, error) {
	switch s.Network {
	case autoregressiveNet:
		return newAutoregressive(ps, s, d, seed)
	case parallelNet:
		return newParallel(ps, s, d, seed)
	}
	net, err := flows.NewVelocityNet(ps, flows.VelocitySettings{Name: "energy", Features: d.Energy, Context: d.EnergyCondition, Hidden: s.Width, Blocks: s.Depth, Seed: seed})
	return residual{net}, err
}

// An energyBatch holds the energies of a batch of showers.
type energyBatch struct {
	Dims
	n                     int
	vectors, cond, weight []float32 // (n, Energy), (n, EnergyCondition), (n) of 1/n
}

// energyMatching trains the energy network. With turns, showers are turned and mirrored around the axis of the particle.
func energyMatching(c Codec, st *store, net energyNetwork, ps *ad.Params[float32], pool *ad.Pool, turns bool, used, held []int32, s matchSettings) *matching {
	d, g := c.Dims(), c.Geometry()
	b := &energyBatch{Dims: d, vectors: make([]float32, s.batch*d.Energy), cond: make([]float32, s.batch*d.EnergyCondition), weight: make([]float32, s.batch)}
	key := rng.NewKey(s.seed, "calo energies")
	var turned [][]int32
	if turns {
		turned = turnings(c)
	}
	p := ad.NewProgram(ps)
	fill := net.record(p, b, s)
	return newMatching(p, pool, used, held, s, func(step uint64, rows []int32) []ad.Source[float32] {
		b.n = len(rows)
		par.For(pool.Workers(), b.n, encodeChunk, func(_, lo, hi int) {
			e, voxels := NewEnergies(g), make([]float32, g.Voxels())
			for i := lo; i < hi; i++ {
				r := key.At(rng.Hash(step, uint64(i)))
				var to []int32
				if turned != nil {
					to = turned[r.IntN(len(turned))]
				}
				st.shower(e, voxels, rows[i], to)
				c.EncodeEnergies(b.vectors[i*d.Energy:(i+1)*d.Energy], e, &r)
				c.EnergyCondition(b.cond[i*d.EnergyCondition:(i+1)*d.EnergyCondition], e.Incident)
				b.weight[i] = 1 / float32(b.n)
			}
		})
		return fill(step)
	})
}

// residual is one network for the whole vector, without attention.
type residual struct{ *flows.VelocityNet[float32] }

func (r residual) record(p *ad.Program[float32], b *energyBatch, s matchSettings) func(uint64) []ad.Source[float32] {
	pairs := &flows.Matching[float32]{Features: b.Energy, Frequencies: r.Frequencies, X1: b.vectors, Key: energyPaths(s),
		Time: func(r *rng.Stream) float64 { return drawTime(s.times, r) }}
	r.MatchLoss(p, func() ad.Tensor { return p.Input(b.EnergyCondition) }, func() ad.Tensor { return p.Input(1) })
	weight := make([]float32, len(b.weight))
	width := 2*b.Energy + r.TimeWidth()
	fill := func(dst []float32, first, n int) {
		pairs.Fill(dst, first, n)
		for i := range n {
			row := dst[i*width : (i+1)*width]
			target := row[width-b.Energy:]
			in, skip, out := precondition(float64(row[b.Energy]))
			for k, xt := range row[:b.Energy] {
				row[k], target[k] = float32(in)*xt, (target[k]-float32(skip)*xt)/float32(out)
			}
		}
	}
	return func(step uint64) []ad.Source[float32] {
		pairs.Step = step
		for i := range b.n {
			s := pairs.Key.At(rng.Hash(step, uint64(i)))
			_, _, out := precondition(pairs.Time(&s)) // the time that Fill draws
			weight[i] = b.weight[i] * float32(out*out)
		}
		return []ad.Source[float32]{{Fill: fill}, {Data: b.cond}, {Data: weight}}
	}
}

// energyPaths addresses the noise and times of the energy network's training.
func energyPaths(s matchSettings) rng.Key { return rng.NewKey(s.seed, "calo energy paths") }

func (r residual) sampler(pool *ad.Pool, steps int) (energySampler, error) {
	solver, err := flows.NewSolver[float32]("midpoint", steps, 0)
	return &residualSampler{Field: flows.NewField(r.VelocityNet, kernel.Best(), pool), solver: solver}, err
}

type residualSampler struct {
	*flows.Field[float32]
	solver flows.Solver[float32]
	in     []float32
}

func (s *residualSampler) draw(x, conditions []float32, n int) error {
	s.C = conditions
	_, err := s.solver.Solve(s, x, n, 0, 1)
	return err
}

// Velocity writes the velocities of n rows x at time t.
func (s *residualSampler) Velocity(v, x []float32, n int, t float64) {
	in, skip, out := precondition(t)
	s.in = room(s.in, n*s.Dim())
	for k, xt := range x[:n*s.Dim()] {
		s.in[k] = float32(in) * xt
	}
	s.Field.Velocity(v, s.in, n, t)
	for k, xt := range x[:n*s.Dim()] {
		v[k] = float32(skip)*xt + float32(out)*v[k]
	}
}
