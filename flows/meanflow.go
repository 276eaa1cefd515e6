package flows

import (
	"fmt"

	"hepmorph/internal/ad"
	"hepmorph/internal/kernel"
	"hepmorph/internal/rng"
)

// Mean flows (arXiv 2505.13447) learn the mean velocity u(x_t, t, s) of a path between two times, so that x_s = x_t + (s−t)·u(x_t, t, s) in
// one evaluation. With v = x_1 − x_0 of a pair, u = v + (s−t)·du/dt along the path (s fixed), of which the right-hand side is the target, held fixed.
// The derivative in the direction (v, 1) is a central difference: the pair's own path is straight, so that both its points are points of
// training at t ± MeanStep.

// MeanStep is half the width of that difference: wide enough for float32, narrow enough for networks whose fastest time feature has a period
// of an eighth.
const MeanStep = 0.005

// MeanTimes draws the two times of a pair: different ones, uniform with t < s, with probability share, else t = s, plain flow matching.
func MeanTimes(r *rng.Stream, share float64) (t, s float64) {
	a, b, apart := r.Float64(), r.Float64(), r.Float64() < share
	if !apart {
		return a, a
	}
	return min(a, b), max(a, b)
}

// MeanTarget is the target, from v and the mean velocities after and before.
func MeanTarget[T Float](v, after, before T, t, s float64) T {
	return v + T((s-t)/(2*MeanStep))*(after-before)
}

// A MeanVelocity also knows mean velocities.
type MeanVelocity[T Float] interface {
	Velocity[T]
	// Mean writes the mean velocity between times t and s of n rows that are x at time t.
	Mean(u, x []T, n int, t, s float64)
}

// A MeanFlow solves with steps of the mean velocity, one evaluation each; the velocity must be a MeanVelocity.
type MeanFlow[T Float] struct {
	Steps int
	u     []T
}

// Solve moves n rows.
func (m *MeanFlow[T]) Solve(f Velocity[T], x []T, n int, t0, t1 float64) (int, error) {
	mean, ok := f.(MeanVelocity[T])
	if !ok {
		return 0, fmt.Errorf("flows: could not solve with mean velocities: the network has not learned them")
	}
	x = x[:n*f.Dim()]
	m.u = grow(m.u, len(x))
	h := (t1 - t0) / float64(m.Steps)
	for i := range m.Steps {
		t := t0 + h*float64(i)
		mean.Mean(m.u, x, n, t, t+h)
		for k, v := range m.u {
			x[k] += T(h) * v
		}
	}
	return m.Steps, nil
}

// A MeanMatching makes the rows of the first input of MatchLoss for a network of mean velocities. All random numbers are functions of Key, step
// and row.
type MeanMatching[T Float] struct {
	Share float64 // of pairs with different times; the paper's best is 0.25
	Key   Key

	net        *VelocityNet[T]
	exec       *ad.Exec[T]
	out        Tensor
	rows       []T
	shifted, c []T // inputs of the differences
	u          []T
	apart      []int
	times      [][2]float64
}

// NewMeanMatching is for a network with Mean.
func NewMeanMatching[T Float](net *VelocityNet[T], k *kernel.Set[T], pool *ad.Pool, key Key) *MeanMatching[T] {
	m := &MeanMatching[T]{Share: 0.25, Key: key, net: net}
	p := ad.NewProgram(net.Params)
	x := p.Input(net.Features + net.TimeWidth())
	var c Tensor
	if net.Context > 0 {
		c = p.Input(net.Context)
	}
	m.out = net.Record(p, x, c)
	m.exec = p.Compile(k, pool, nil, ad.Settings{Shards: evaluatorShards})
	return m
}

// Rows are those of a step for the n ends x1 and their contexts.
func (m *MeanMatching[T]) Rows(step uint64, x1, context []T, n int) []T {
	d, in, nc := m.net.Features, m.net.Features+m.net.TimeWidth(), m.net.Context
	w := in + d
	m.rows, m.shifted, m.c, m.u = grow(m.rows, n*w), grow(m.shifted, 2*n*in), grow(m.c, 2*n*nc), grow(m.u, 2*n*d)
	m.apart, m.times = m.apart[:0], m.times[:0]
	for i := range n {
		r := m.Key.At(rng.Hash(step, uint64(i)))
		t, s := MeanTimes(&r, m.Share)
		row := m.rows[i*w:][:w]
		for k, end := range x1[i*d:][:d] {
			x0 := T(r.Norm())
			row[k], row[in+k] = T(1-t)*x0+T(t)*end, end-x0
		}
		m.net.meanFeatures(row[d:], t, s)
		m.times = append(m.times, [2]float64{t, s})
		if s == t {
			continue
		}
		for side, h := range [2]float64{MeanStep, -MeanStep} {
			at := 2*len(m.apart) + side
			to := m.shifted[at*in:][:in]
			for k, v := range row[in:] {
				to[k] = row[k] + T(h)*v
			}
			m.net.meanFeatures(to[d:], t+h, s)
			copy(m.c[at*nc:][:nc], context[i*nc:])
		}
		m.apart = append(m.apart, i)
	}
	if len(m.apart) == 0 {
		return m.rows
	}
	run := &ad.Run[T]{N: 2 * len(m.apart), Inputs: []ad.Source[T]{{Data: m.shifted}}, Outputs: []ad.Sink[T]{{Tensor: m.out, Data: m.u}}}
	if nc > 0 {
		run.Inputs = append(run.Inputs, ad.Source[T]{Data: m.c})
	}
	m.exec.Run(run)
	for j, i := range m.apart {
		target := m.rows[i*w+in:][:d]
		for k, v := range target {
			target[k] = MeanTarget(v, m.u[2*j*d+k], m.u[(2*j+1)*d+k], m.times[i][0], m.times[i][1])
		}
	}
	return m.rows
}
