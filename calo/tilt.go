package calo

import "math"

// A tilter moves the energies of a layer's voxels to a sum and to means of their axes.
type tilter struct {
	gains  [][tiltNumbers]float64 // of the voxels with energy: change of sum and means with the logarithm of a voxel
	change []float64              // of the logarithms
	at     []int
}

const (
	tiltNumbers = 1 + planeNumbers
	// tiltRidge is (τ/σ)² for logarithms that may be wrong by σ = 0.3 and numbers that may be wrong by τ = 0.001 of their spread.
	tiltRidge = 1e-5
	tiltMost  = 1.5 // largest change of a logarithm
	tiltSteps = 10
)

// tilt changes the energies w of voxels so that they come near to the sum energy and, with planes, to means of the axes, weighted with them, near to the target: it
// minimises Σδ²/σ² + Σr²/τ² over changes δ of the logarithms, r being what is missing of the numbers. So a voxel changes by how much it weighs: the few
// large ones make up for what is missing, the many small ones, whose spectrum has edges, stay.
func (t *tilter) tilt(w []float64, energy float64, axes []planeAxes, target planeAxes, planes bool) {
	t.at = t.at[:0]
	for v, x := range w {
		if x > 0 {
			t.at = append(t.at, v)
		}
	}
	n := len(t.at)
	if cap(t.change) < n {
		t.gains, t.change = make([][tiltNumbers]float64, n), make([]float64, n)
	}
	t.gains, t.change = t.gains[:n], t.change[:n]
	clear(t.change)
	numbers := 1
	if planes {
		numbers = tiltNumbers
	}
	var scale planeAxes // one over the spread
	for step := range tiltSteps {
		sum := 0.0
		var mean, square planeAxes
		for i, v := range t.at {
			x := w[v] * math.Exp(t.change[i])
			sum += x
			for k, f := range axes[v] {
				mean[k] += x * f
				square[k] += x * f * f
			}
		}
		if !(sum > 0) || math.IsInf(sum, 1) {
			clear(t.change)
			break
		}
		for k := range mean {
			mean[k] /= sum
			square[k] /= sum
			if sd := math.Sqrt(max(0, square[k]-mean[k]*mean[k])); step == 0 && sd > 1e-6*math.Sqrt(square[k]) {
				scale[k] = 1 / sd
			}
		}
		var missing [tiltNumbers]float64
		missing[0] = math.Log(energy / sum)
		for k := range mean {
			missing[1+k] = (target[k] - mean[k]) * scale[k]
		}
		var h [tiltNumbers][tiltNumbers]float64
		for i, v := range t.at {
			p := w[v] * math.Exp(t.change[i]) / sum
			g := &t.gains[i]
			g[0] = p
			for k, f := range axes[v] {
				g[1+k] = p * (f - mean[k]) * scale[k]
			}
			for k := range numbers {
				missing[k] += g[k] * t.change[i]
				for j := range k + 1 {
					h[k][j] += g[k] * g[j]
				}
			}
		}
		for k := range numbers {
			h[k][k] += tiltRidge
		}
		solveSymmetric(&h, &missing, numbers)
		for i := range t.at {
			d := 0.0
			for k := range numbers {
				d += t.gains[i][k] * missing[k]
			}
			t.change[i] = min(max(d, -tiltMost), tiltMost)
		}
	}
	for i, v := range t.at {
		w[v] *= math.Exp(t.change[i])
	}
}

// solveSymmetric solves h·x = b in place for the first n rows of a positive definite h, of which the lower triangle is given.
func solveSymmetric(h *[tiltNumbers][tiltNumbers]float64, b *[tiltNumbers]float64, n int) {
	for k := range n { // Cholesky factor in place
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
	for k := range n {
		for i := range k {
			b[k] -= h[k][i] * b[i]
		}
		b[k] /= h[k][k]
	}
	for k := n - 1; k >= 0; k-- {
		for i := k + 1; i < n; i++ {
			b[k] -= h[i][k] * b[i]
		}
		b[k] /= h[k][k]
	}
}
