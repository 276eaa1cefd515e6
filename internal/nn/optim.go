package nn

import (
	"math"
	"slices"

	"hepmorph/internal/ad"
	"hepmorph/internal/kernel"
)

// AdamSettings fix an optimizer (arXiv 1412.6980; with Decay AdamW, 1711.05101). The zero value of a field is its default, except Decay,
// Clip, ClipRatio and Average, where zero switches the option off.
//
// A Clip below the usual norm makes every step a normalised one: batches with far events then count less than others, and the parameters
// settle where the mean of g/|g| is zero and not that of g. ClipRatio only cuts what is unusual.
type AdamSettings struct {
	Beta1, Beta2, Eps float64 // 0.9, 0.999, 1e-8
	Decay             float64 // decoupled weight decay
	Clip              float64 // largest global norm of the gradient
	ClipRatio         float64 // largest global norm of the gradient over its running mean
	Average           float64 // decay of the exponential moving average of the parameters, e.g. 0.999
}

// An Adam updates the parameters of a store from gradient shards. Its slices are its state, together with Step.
type Adam[T kernel.Float] struct {
	AdamSettings
	Step int
	Norm float64 // running mean of the clipped norms, for ClipRatio
	M, V []T
	Mean []T // moving average, nil without Average

	ps     *ad.Params[T]
	k      *kernel.Set[T]
	pool   *ad.Pool
	shards *ad.Shards[T]
	norms  []float64
	step   kernel.AdamStep
	views  [][][]T // shards cut to chunks
	masks  [][]T   // by chunk, nil where all of it may move
	sum    func(worker, task int)
	update func(worker, task int)
}

// chunk is the number of parameters a task updates; the partition is part of the result (the order of the norm's sum).
const chunk = 16384

// NewAdam makes an optimizer for ps, whose masks are as they will be, and the gradients in sh.
func NewAdam[T kernel.Float](ps *ad.Params[T], sh *ad.Shards[T], k *kernel.Set[T], pool *ad.Pool, s AdamSettings) *Adam[T] {
	if s.Beta1 == 0 {
		s.Beta1 = 0.9
	}
	if s.Beta2 == 0 {
		s.Beta2 = 0.999
	}
	if s.Eps == 0 {
		s.Eps = 1e-8
	}
	n := ps.Len()
	a := &Adam[T]{AdamSettings: s, M: kernel.Slab[T](n), V: kernel.Slab[T](n), ps: ps, k: k, pool: pool, shards: sh}
	if s.Average > 0 {
		a.Mean = kernel.Slab[T](n)
		copy(a.Mean, ps.W)
	}
	chunks := (n + chunk - 1) / chunk
	a.norms = make([]float64, chunks)
	for c := range chunks {
		lo, hi := c*chunk, min(n, (c+1)*chunk)
		var v [][]T
		for _, g := range sh.G {
			v = append(v, g[lo:hi])
		}
		a.views = append(a.views, v)
		mask := ps.Mask[lo:hi]
		if !slices.ContainsFunc(mask, func(m T) bool { return m != 1 }) {
			mask = nil
		}
		a.masks = append(a.masks, mask)
	}
	a.sum = func(_, c int) { a.norms[c] = k.SumSq(a.views[c], a.masks[c]) }
	a.update = a.apply
	return a
}

// normKeep is how much of the running mean of norms a step keeps.
const normKeep = 0.99

// Update applies one step at the given rate to the sum of the shards, which it spends, and returns the norm of the gradient before clipping (0
// without Clip and ClipRatio, which are what needs it).
func (a *Adam[T]) Update(rate float64) float64 {
	a.shards.Settle(a.pool)
	norm := 0.0
	a.step = kernel.AdamStep{Rate: rate, Beta1: a.Beta1, Beta2: a.Beta2, Eps: a.Eps, Decay: a.Decay, Scale: 1}
	if a.Clip > 0 || a.ClipRatio > 0 {
		a.pool.Run(len(a.norms), a.sum)
		for _, v := range a.norms {
			norm += v
		}
		norm = math.Sqrt(norm)
		if limit := a.limit(norm); norm > limit {
			a.step.Scale = limit / norm
		}
	}
	a.Step++
	a.step.Correct1 = 1 / (1 - math.Pow(a.Beta1, float64(a.Step)))
	a.step.Correct2 = 1 / (1 - math.Pow(a.Beta2, float64(a.Step)))
	// the average follows more quickly while it is young, so that it forgets the start
	a.step.Keep = min(a.Average, float64(1+a.Step)/float64(10+a.Step))
	a.pool.Run(len(a.views), a.update)
	a.shards.Spend()
	return norm
}

// limit is the largest norm that passes, and keeps count of what has passed.
func (a *Adam[T]) limit(norm float64) float64 {
	limit := math.Inf(1)
	if a.Clip > 0 {
		limit = a.Clip
	}
	if a.ClipRatio > 0 {
		if a.Norm > 0 {
			limit = min(limit, a.ClipRatio*a.Norm)
		}
		keep := min(normKeep, float64(a.Step)/float64(a.Step+1))
		a.Norm = keep*a.Norm + (1-keep)*min(norm, limit)
	}
	return limit
}

func (a *Adam[T]) apply(_, c int) {
	lo, hi := c*chunk, min(a.ps.Len(), (c+1)*chunk)
	var mean []T
	if a.Mean != nil {
		mean = a.Mean[lo:hi]
	}
	a.k.Adam(a.ps.W[lo:hi], a.M[lo:hi], a.V[lo:hi], mean, a.views[c], a.masks[c], a.step)
}

// A Schedule gives the learning rate of a step in [0, total), relative to the peak.
type Schedule func(step, total int) float64

// Constant keeps the peak rate.
func Constant(_, _ int) float64 { return 1 }

// Cosine rises linearly over warm steps and falls to zero with a half cosine.
func Cosine(warm int) Schedule {
	return func(step, total int) float64 {
		if step < warm {
			return float64(step+1) / float64(warm)
		}
		x := float64(step-warm) / float64(max(total-warm, 1))
		return 0.5 * (1 + math.Cos(math.Pi*min(x, 1)))
	}
}

// OneCycle rises over the fraction rise of all steps from 1/25 to the peak and falls to 1/1e4 of its start, both with half cosines
// (arXiv 1708.07120, the constants of PyTorch).
func OneCycle(rise float64) Schedule {
	const first, last = 1.0 / 25, 1.0 / 25 / 1e4
	half := func(a, b, x float64) float64 { return b + (a-b)/2*(1+math.Cos(math.Pi*x)) }
	return func(step, total int) float64 {
		up := rise * float64(total)
		if s := float64(step); s < up {
			return half(first, 1, s/up)
		}
		return half(1, last, min(1, (float64(step)-up)/max(float64(total)-up, 1)))
	}
}

// A Plateau lowers the rate by Factor when a metric has not fallen for Patience checks. Its fields are its state.
type Plateau struct {
	Factor   float64
	Patience int
	Best     float64
	Bad      int
	Scale    float64 // current factor on the peak rate
	Started  bool
}

// Check takes the newest value of the metric and returns the factor on the peak rate.
func (p *Plateau) Check(v float64) float64 {
	if !p.Started {
		p.Started, p.Best, p.Scale = true, v, 1
		return p.Scale
	}
	if v < p.Best {
		p.Best, p.Bad = v, 0
		return p.Scale
	}
	if p.Bad++; p.Bad > p.Patience {
		p.Bad = 0
		p.Scale *= p.Factor
	}
	return p.Scale
}
