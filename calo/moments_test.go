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

func TestTilt(t *testing.T) {
	g := lookup(t, "mini")
	axes := newMoments(quantile{g: g}).axes[4]
	var tilted tilter
	for i := range 200 {
		s := rng.NewKey(1, "tilt").At(uint64(i))
		w, other := make([]float64, len(axes)), make([]float64, len(axes))
		for v := range w {
			if s.Float64() < 0.7 {
				w[v] = math.Exp(2 * s.Norm())
				other[v] = w[v] * math.Exp(0.3*s.Norm())
			}
		}
		before, target := planeOf(w, axes), planeOf(other, axes)
		got := slices.Clone(w)
		tilted.tilt(got, axes, target)
		after := planeOf(got, axes)
		for k := range target {
			if left, want := math.Abs(after[k]-target[k]), 0.1*math.Abs(before[k]-target[k])+0.01*[planeNumbers]float64{target[0], target[1], target[0], target[0], target[1], target[1]}[k]; left > want {
				t.Errorf("%d: mean %d: %v from %v for %v", i, k, after[k], before[k], target[k])
			}
		}
		for v := range w {
			if (w[v] > 0) != (got[v] > 0) {
				t.Fatalf("%d: voxel %d: weight %v from %v", i, v, got[v], w[v])
			}
		}
		same := slices.Clone(w)
		tilted.tilt(same, axes, before)
		sum := 0.0
		for _, x := range w {
			sum += x
		}
		for v := range w { // the weights that come back add up to 1
			if math.Abs(same[v]-w[v]/sum) > 1e-3*w[v]/sum {
				t.Fatalf("%d: a target that is met changes weight %v to %v", i, w[v]/sum, same[v])
			}
		}
		impossible := planeAxes{1e3, -5, 100, -100, 1e6, 1e6}
		tilted.tilt(got, axes, impossible)
		for v, x := range got {
			if math.IsNaN(x) || math.IsInf(x, 0) || x < 0 || (x > 0) != (w[v] > 0) {
				t.Fatalf("%d: an impossible target gives weight %v", i, x)
			}
		}
	}
}

// What the energy network draws of a layer's plane comes out of decoding, whatever the shape network draws.
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
		for k := range y {
			y[k] = float32(st.Norm())
		}
		c.DecodeShape(back, e, y)
		f.Measure(s.Geo, e.Incident, back)
		for l, want := range e.Planes {
			if e.Filled[l] < 20 {
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
