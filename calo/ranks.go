package calo

import "math"

// ranks are the filled voxels of a layer, each with the normal number that says where its energy lies among those of its ring's filled voxels. What moves the
// ranks leaves the edges of the spectrum of voxels where they are.
type ranks struct {
	sections []section // of the rings
	rank     []rank
}

type rank struct {
	voxel, ring int
	normal      float64
}

// clear empties r for another layer.
func (r *ranks) clear() { r.sections, r.rank = r.sections[:0], r.rank[:0] }

// energy of filled voxel i, not normalised, with its number changed by change.
func (r *ranks) energy(i int, change float64) float64 {
	k := &r.rank[i]
	return math.Exp(r.sections[k.ring].value(min(max(k.normal+change, -maxNormal), maxNormal)))
}

const (
	sumMost  = 3    // largest change of a normal number for the sum
	sumClose = 1e-3 // of the sum
)

// sumTo changes all numbers by the same, so that the energies add up to sum: the few large ones do not make up alone for what is missing.
func (r *ranks) sumTo(sum float64) {
	over := func(change float64) float64 {
		s := 0.0
		for i := range r.rank {
			s += r.energy(i, change)
		}
		return math.Log(s / sum)
	}
	by := 0.0
	if f := over(0); f > sumClose {
		by = rootOf(over, -sumMost, over(-sumMost), 0, f)
	} else if f < -sumClose {
		by = rootOf(over, 0, f, sumMost, over(sumMost))
	}
	for i := range r.rank {
		r.rank[i].normal += by
	}
}

// rootOf finds where the rising f is 0 between lo and hi, to sumClose, or the end that is nearer to it: regula falsi, and bisection where that is slow.
func rootOf(f func(float64) float64, lo, flo, hi, fhi float64) float64 {
	switch {
	case flo >= 0:
		return lo
	case fhi <= 0:
		return hi
	}
	for range 40 {
		by := (lo + hi) / 2
		if t := flo / (flo - fhi); t > 0.05 && t < 0.95 {
			by = lo + t*(hi-lo)
		}
		v := f(by)
		switch {
		case math.Abs(v) < sumClose:
			return by
		case v > 0:
			hi, fhi = by, v
		default:
			lo, flo = by, v
		}
	}
	return (lo + hi) / 2
}
