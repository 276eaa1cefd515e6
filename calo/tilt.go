package calo

import "math"

// A tilter holds what tilt needs.
type tilter struct {
	z       []planeAxes // of the voxels with weight, from the target, in deviations
	logs, p []float64
}

// tiltRidge is the share of a small difference that tilt leaves. It bounds what an impossible target does to the weights.
const tiltRidge = 0.02

// tilt multiplies the weights w of a layer's voxels by exp(λ·axes), so that the weighted means of their axes come to the target: of all
// weights that have these means those nearest to w in relative entropy. λ minimises ln Σ w exp(λ·z) + ridge·λ²/2, z being the axes
// from the target in their deviations under w, by Newton's method.
func (t *tilter) tilt(w []float64, axes []planeAxes, target planeAxes) {
	sum := 0.0
	for _, x := range w {
		sum += x
	}
	if !(sum > 0) || math.IsInf(sum, 1) {
		return
	}
	var mean, square planeAxes
	for v, x := range w {
		if x > 0 {
			for k, f := range axes[v] {
				mean[k] += x / sum * f
				square[k] += x / sum * f * f
			}
		}
	}
	var scale planeAxes
	for k := range scale {
		if sd := math.Sqrt(max(0, square[k]-mean[k]*mean[k])); sd > 1e-6*math.Sqrt(square[k]) {
			scale[k] = 1 / sd
		}
	}
	t.z, t.logs = t.z[:0], t.logs[:0]
	for v, x := range w {
		if x > 0 {
			var z planeAxes
			for k, f := range axes[v] {
				z[k] = (f - target[k]) * scale[k]
			}
			t.z, t.logs = append(t.z, z), append(t.logs, math.Log(x/sum))
		}
	}
	t.p = append(t.p[:0], t.logs...)
	var at planeAxes
	value := t.weigh(&at)
	for range 20 {
		var g planeAxes
		var h [planeNumbers][planeNumbers]float64
		for i, p := range t.p {
			z := &t.z[i]
			for k, zk := range z {
				g[k] += p * zk
				for j := range k + 1 {
					h[k][j] += p * zk * z[j]
				}
			}
		}
		for k := range h {
			for j := range k + 1 {
				h[k][j] -= g[k] * g[j]
			}
			h[k][k] += tiltRidge
		}
		largest := 0.0
		for k := range g {
			g[k] += tiltRidge * at[k]
			largest = max(largest, math.Abs(g[k]))
		}
		if largest < 1e-5 {
			break
		}
		step := newtonStep(&h, g)
		slope := 0.0
		for k, s := range step {
			slope += s * g[k]
		}
		size, moved := 1.0, false
		for range 30 {
			next := at
			for k, s := range step {
				next[k] += size * s
			}
			if v := t.weigh(&next); v <= value+1e-4*size*slope {
				at, value, moved = next, v, true
				break
			}
			size /= 2
		}
		if !moved {
			t.weigh(&at)
			break
		}
	}
	i := 0
	for v, x := range w {
		if x > 0 {
			w[v] = max(t.p[i], math.SmallestNonzeroFloat32)
			i++
		}
	}
}

// weigh writes the normalised weights at λ and returns what is minimised.
func (t *tilter) weigh(at *planeAxes) float64 {
	most := math.Inf(-1)
	for i, z := range t.z {
		a := t.logs[i]
		for k, f := range z {
			a += at[k] * f
		}
		t.p[i] = a
		most = max(most, a)
	}
	sum := 0.0
	for i, a := range t.p {
		t.p[i] = math.Exp(a - most)
		sum += t.p[i]
	}
	for i := range t.p {
		t.p[i] /= sum
	}
	value := most + math.Log(sum)
	for _, x := range at {
		value += tiltRidge / 2 * x * x
	}
	return value
}

// newtonStep solves h·step = -g for a positive definite h, of which the lower triangle is given.
func newtonStep(h *[planeNumbers][planeNumbers]float64, g planeAxes) planeAxes {
	for k := range h { // Cholesky factor in place
		for j := range k + 1 {
			s := h[k][j]
			for i := range j {
				s -= h[k][i] * h[j][i]
			}
			if j == k {
				h[k][k] = math.Sqrt(max(s, 1e-12))
			} else {
				h[k][j] = s / h[j][j]
			}
		}
	}
	var x planeAxes
	for k := range x {
		s := -g[k]
		for i := range k {
			s -= h[k][i] * x[i]
		}
		x[k] = s / h[k][k]
	}
	for k := planeNumbers - 1; k >= 0; k-- {
		s := x[k]
		for i := k + 1; i < planeNumbers; i++ {
			s -= h[i][k] * x[i]
		}
		x[k] = s / h[k][k]
	}
	return x
}
