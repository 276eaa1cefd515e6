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

// energyMatching trains the energy network.
func energyMatching(c Codec, st *store, net energyNetwork, ps *ad.Params[float32], pool *ad.Pool, used, held []int32, s matchSettings) *matching {
	d := c.Dims()
	b := &energyBatch{Dims: d, vectors: make([]float32, s.batch*d.Energy), cond: make([]float32, s.batch*d.EnergyCondition), weight: make([]float32, s.batch)}
	key := rng.NewKey(s.seed, "calo energies")
	p := ad.NewProgram(ps)
	fill := net.record(p, b, s)
	return newMatching(p, pool, used, held, s, func(step uint64, rows []int32) []ad.Source[float32] {
		b.n = len(rows)
		par.For(pool.Workers(), b.n, encodeChunk, func(_, lo, hi int) {
			e := NewEnergies(c.Geometry())
			for i := lo; i < hi; i++ {
				st.energies(e, rows[i])
				r := key.At(rng.Hash(step, uint64(i)))
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
	return func(step uint64) []ad.Source[float32] {
		pairs.Step = step
		return []ad.Source[float32]{{Fill: pairs.Fill}, {Data: b.cond}, {Data: b.weight}}
	}
}

// energyPaths addresses the noise and times of the energy network's training.
func energyPaths(s matchSettings) rng.Key { return rng.NewKey(s.seed, "calo energy paths") }

func (r residual) sampler(pool *ad.Pool, steps int) (energySampler, error) {
	solver, err := flows.NewSolver[float32]("midpoint", steps, 0)
	return &fieldSampler{flows.NewField(r.VelocityNet, kernel.Best(), pool), solver}, err
}

type fieldSampler struct {
	field  *flows.Field[float32]
	solver flows.Solver[float32]
}

func (s *fieldSampler) draw(x, conditions []float32, n int) error {
	s.field.C = conditions
	_, err := s.solver.Solve(s.field, x, n, 0, 1)
	return err
}
