package calo

import (
	"math"

	"hepmorph/internal/rng"
)

// Values of Settings.Times and Settings.Coupling.
const (
	uniformTimes = "uniform"
	logitNormal  = "logit-normal"
	independent  = "independent"
	byTurns      = "turns"
)

// drawTime draws the time of a training pair: uniform in [0,1), or the logistic function of a normal number (arXiv:2403.03206), which looks more
// often at times in the middle, where noise and shower are hardest to tell apart.
func drawTime(kind string, r *rng.Stream) float64 {
	if kind == logitNormal {
		return 1 / (1 + math.Exp(-r.Norm()))
	}
	return r.Float64()
}

// A turnCoupling turns the noise of each shower around the axis to where it is nearest to the shower, among all turns and mirror images:
// equivariant optimal transport (arXiv:2306.15030) for that group, shower by shower. Paths are shorter; what is learned is the same law, for
// showers are themselves turned at random, so that turned noise is normal noise and says nothing about the shower but how it lies.
type turnCoupling [][]int32 // new places of the numbers of a shape vector

// newTurnCoupling carries the turns of voxels over to the shape vector. Layers that a codec pads have one sector and stay.
func newTurnCoupling(c Codec) turnCoupling {
	var out turnCoupling
	for _, voxels := range turnings(c) {
		to := make([]int32, c.Dims().Shape)
		at := 0
		for l, n := range shapeLengths(c) {
			lo, hi := c.Geometry().Span(l)
			for k := range n {
				to[at+k] = int32(at + k)
				if n == hi-lo {
					to[at+k] += voxels[lo+k] - int32(lo+k)
				}
			}
			at += n
		}
		out = append(out, to)
	}
	return out
}

// turn writes the noise that lies best for the shape vector.
func (t turnCoupling) turn(dst, noise, shape []float32) {
	best, most := 0, math.Inf(-1)
	for i, to := range t {
		dot := 0.0 // the nearest has the largest product
		for k, v := range noise {
			dot += float64(v * shape[to[k]])
		}
		if dot > most {
			best, most = i, dot
		}
	}
	for k, v := range noise {
		dst[t[best][k]] = v
	}
}
