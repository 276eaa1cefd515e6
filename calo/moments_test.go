package calo

import (
	"math"
	"slices"
	"testing"

	"hepmorph/internal/rng"
)

// planeOf are the weighted means of the axes.
func planeOf(w []float64, axes []planeAxes) (mean planeAxes) {
	sum := 0.0
	for v, x := range w {
		sum += x
		for k, f := range axes[v] {
			mean[k] += x * f
		}
	}
	for k := range mean {
		mean[k] /= sum
	}
	return mean
}

// logarithms are ranks of filled voxels whose numbers are half the logarithms of their energies.
func logarithms(w []float64) *ranks {
	grid := make([]float32, gridN)
	for k := range grid {
		grid[k] = float32(-gridEdge + gridStep*float64(k))
	}
	r := &ranks{sections: []section{{sd: 2, q0: grid, q1: grid}}}
	for v, x := range w {
		if x > 0 {
			r.rank = append(r.rank, rank{voxel: v, normal: math.Log(x) / 2})
		}
	}
	return r
}

func TestRanksAddUp(t *testing.T) {
	key := rng.NewKey(1, "ranks")
	for i := range 200 {
		s := key.At(uint64(i))
		w := make([]float64, 1+s.IntN(40))
		for v := range w {
			w[v] = math.Exp(2 * max(-2, min(s.Norm(), 2)))
		}
		r := logarithms(w)
		before, sum, got := r.energy(0, 0), math.Exp(4*s.Norm()), 0.0
		for _, x := range w {
			got += x
		}
		sum *= got
		r.sumTo(sum)
		by := math.Log(r.energy(0, 0) / before)
		got = 0
		for k := range w {
			x := r.energy(k, 0)
			got += x
			if relative(x, w[k]*math.Exp(by)) > 1e-9 {
				t.Fatalf("%d: voxel %d changes by %v, the first one by %v", i, k, math.Log(x/w[k]), by)
			}
		}
		if far := math.Abs(math.Log(got / sum)); far > 2*sumClose && math.Abs(by) < 2*sumMost-0.01 {
			t.Errorf("%d: the sum is off by %v after a change by %v", i, far, by)
		}
	}
}

func TestTilt(t *testing.T) {
	g := lookup(t, "mini")
	axes := newMoments(quantile{g: g}).axes[4]
	var tilted tilter
	sumOf := func(w []float64) (sum float64) {
		for _, x := range w {
			sum += x
		}
		return sum
	}
	for i := range 200 {
		s := rng.NewKey(1, "tilt").At(uint64(i))
		w, other := make([]float64, len(axes)), make([]float64, len(axes))
		for v := range w {
			if s.Float64() < 0.7 {
				w[v] = math.Exp(2 * max(-2.4, min(s.Norm(), 2.4)))
				other[v] = w[v] * math.Exp(0.3*s.Norm())
			}
		}
		energy, target := sumOf(other), planeOf(other, axes)
		tilt := func(w []float64, energy float64, target planeAxes) {
			r := logarithms(w)
			tilted.tilt(r, energy, axes, target)
			for i, k := range r.rank {
				w[k.voxel] = r.energy(i, 0)
			}
		}
		got := slices.Clone(w)
		tilt(got, energy, target)
		if r := relative(sumOf(got), energy); r > 1e-3 {
			t.Errorf("%d: the sum is off by %v", i, r)
		}
		after := planeOf(got, axes)
		for k, scale := range [planeNumbers]float64{target[0], target[1], target[0], target[0], target[1], target[1]} {
			if math.Abs(after[k]-target[k]) > 0.01*scale {
				t.Errorf("%d: mean %d: %v for %v", i, k, after[k], target[k])
			}
		}
		same := slices.Clone(w)
		tilt(same, sumOf(w), planeOf(w, axes))
		for v := range w {
			if (w[v] > 0) != (got[v] > 0) {
				t.Fatalf("%d: voxel %d: %v from %v", i, v, got[v], w[v])
			}
			if math.Abs(same[v]-w[v]) > 1e-6*w[v] {
				t.Fatalf("%d: numbers that are met change %v to %v", i, w[v], same[v])
			}
		}
		tilt(got, 1e6, planeAxes{1e3, -5, 100, -100, 1e6, 1e6})
		for v, x := range got {
			if math.IsNaN(x) || math.IsInf(x, 0) || (x > 0) != (w[v] > 0) {
				t.Fatalf("%d: impossible numbers give %v", i, x)
			}
		}
	}
}

// What the energy network draws of a layer's plane comes out of decoding, though the shape network draws something else.
func TestPlanesComeOut(t *testing.T) {
	s := showers(t, 1500)
	c := fit(t, "moments", s)
	d := c.Dims()
	key := rng.NewKey(2, "planes")
	x, y := make([]float32, d.Energy), make([]float32, d.Shape)
	back := make([]float32, s.Geo.Voxels())
	e, f := NewEnergies(s.Geo), NewEnergies(s.Geo)
	var sum, far float64
	for i := range 300 {
		st := key.At(uint64(i))
		e.Measure(s.Geo, s.Incident[i], s.Shower(i))
		c.EncodeEnergies(x, e, &st)
		f.Incident = e.Incident
		c.DecodeEnergies(f, x)
		for l, want := range e.Planes {
			if !located(e, l) || !located(f, l) {
				continue
			}
			sum++
			if got := f.Planes[l]; math.Abs(got.R-want.R) > 0.02*want.R || math.Abs(got.X-want.X)+math.Abs(got.Y-want.Y) > 0.05*want.R || relative(got.RR, want.RR) > 0.1 {
				far++
			}
		}
		c.EncodeShape(y, e, s.Shower(i), &st)
		for k, v := range y {
			y[k] = 0.9*v + 0.4*float32(st.Norm())
		}
		c.DecodeShape(back, e, y, nil)
		f.Measure(s.Geo, e.Incident, back)
		for l, want := range e.Planes {
			if e.Filled[l] < tiltLeast {
				continue
			}
			sum++
			if got := f.Planes[l]; math.Abs(got.R-want.R) > 0.03*want.R || math.Abs(got.X-want.X)+math.Abs(got.Y-want.Y) > 0.1*want.R {
				far++
			}
		}
	}
	if far > sum/20 {
		t.Errorf("%v of %v layers lie elsewhere", far, sum)
	}
}
