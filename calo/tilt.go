package calo

import "math"

// A tilter moves the energies of a layer's voxels to a sum and to means of their axes.
type tilter struct {
	gains  [][tiltNumbers]float64 // of the filled voxels: change of sum and means with the normal number of a voxel
	change []float64              // of the normal numbers
}

const (
	tiltNumbers = 1 + planeNumbers
	// tiltRidge is (τ/σ)² for normal numbers that may be wrong by σ = 0.3 and numbers of the plane that may be wrong by τ = 0.001 of their spread.
	tiltRidge = 1e-5
	tiltMost  = 1.5 // largest change of a normal number
	tiltSteps = 10
	tiltSlope = gridStep / 2 // change of a normal number over which the change of the energy is taken
)

// tilt changes the ranks of voxels so that they come near to the sum energy and to means of the axes, weighted with their energies, near to the target: it
// minimises Σδ²/σ² + Σr²/τ² over changes δ of the normal numbers, r being what is missing of the numbers. So a voxel changes by how much it weighs: the few
// large ones make up for what is missing, the many small ones stay.
func (t *tilter) tilt(r *ranks, energy float64, axes []planeAxes, target planeAxes) {
	n := len(r.rank)
	if cap(t.change) < n {
		t.gains, t.change = make([][tiltNumbers]float64, n), make([]float64, n)
	}
	t.gains, t.change = t.gains[:n], t.change[:n]
	clear(t.change)
	var scale planeAxes // one over the spread
	for step := range tiltSteps {
		sum := 0.0
		var mean, square planeAxes
		for i := range r.rank {
			x := r.energy(i, t.change[i])
			sum += x
			for k, f := range axes[r.rank[i].voxel] {
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
		for i := range r.rank {
			p := (r.energy(i, t.change[i]+tiltSlope) - r.energy(i, t.change[i]-tiltSlope)) / (2 * tiltSlope * sum)
			g := &t.gains[i]
			g[0] = p
			for k, f := range axes[r.rank[i].voxel] {
				g[1+k] = p * (f - mean[k]) * scale[k]
			}
			for k := range g {
				missing[k] += g[k] * t.change[i]
				for j := range k + 1 {
					h[k][j] += g[k] * g[j]
				}
			}
		}
		for k := range h {
			h[k][k] += tiltRidge
		}
		solveSymmetric(&h, &missing)
		for i := range t.change {
			d := 0.0
			for k, g := range t.gains[i] {
				d += g * missing[k]
			}
			t.change[i] = min(max(d, -tiltMost), tiltMost)
		}
	}
	for i := range t.change {
		r.rank[i].normal += t.change[i]
	}
}

// solveSymmetric solves h·x = b in place for a positive definite h, of which the lower triangle is given.
func solveSymmetric(h *[tiltNumbers][tiltNumbers]float64, b *[tiltNumbers]float64) {
	n := len(b)
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
