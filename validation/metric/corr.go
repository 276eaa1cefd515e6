package metric

import (
	"math"

	"hepmorph/internal/gbdt/order"
	"hepmorph/internal/par"
)

// Pearson returns the matrix of weighted linear correlations of the columns, d×d by rows. Rows with a NaN in any column are
// left out; a constant column has correlation 0 with all others.
func Pearson(x [][]float64, w []float64, threads int) [][]float64 {
	d := len(x)
	if d == 0 {
		return nil
	}
	n := len(x[0])
	chunks := (n + chunk - 1) / chunk
	// Means first, then products of deviations: no cancellation.
	part := make([][]float64, chunks)
	ok := make([]bool, n)
	par.For(threads, n, chunk, func(c, lo, hi int) {
		s := make([]float64, d+1)
		for i := lo; i < hi; i++ {
			good := true
			for j := range x {
				good = good && x[j][i] == x[j][i] && !math.IsInf(x[j][i], 0)
			}
			ok[i] = good
		}
		for i := lo; i < hi; i++ {
			if ok[i] {
				s[d] += weight(w, i)
			}
		}
		for j, col := range x {
			for i := lo; i < hi; i++ {
				if ok[i] {
					s[j] += weight(w, i) * col[i]
				}
			}
		}
		part[c] = s
	})
	mean := make([]float64, d+1)
	for _, s := range part {
		for j, v := range s {
			mean[j] += v
		}
	}
	for j := range d {
		mean[j] /= mean[d]
	}
	const tile = 512
	par.For(threads, n, chunk, func(c, lo, hi int) {
		s := make([]float64, d*d)
		dev, wdev := make([]float64, d*tile), make([]float64, d*tile)
		for ; lo < hi; lo += tile {
			m := min(tile, hi-lo)
			for j, col := range x {
				a, b := dev[j*tile:][:m], wdev[j*tile:][:m]
				for i := range a {
					a[i], b[i] = 0, 0
					if ok[lo+i] {
						a[i] = col[lo+i] - mean[j]
						b[i] = weight(w, lo+i) * a[i]
					}
				}
			}
			for j := range d {
				a := wdev[j*tile:][:m]
				for k := range j + 1 {
					s[j*d+k] += dot(a, dev[k*tile:][:m])
				}
			}
		}
		part[c] = s
	})
	cov := make([]float64, d*d)
	for _, s := range part {
		for j, v := range s {
			cov[j] += v
		}
	}
	r := square(d)
	for j := range d {
		r[j][j] = 1
		for k := range j {
			if v := cov[j*d+j] * cov[k*d+k]; v > 0 {
				r[j][k] = cov[j*d+k] / math.Sqrt(v)
				r[k][j] = r[j][k]
			}
		}
	}
	return r
}

func square(d int) [][]float64 {
	r := make([][]float64, d)
	for i := range r {
		r[i] = make([]float64, d)
	}
	return r
}

// dot sums in four lanes: the order is fixed, the latency of the additions hidden.
func dot(a, b []float64) float64 {
	var s0, s1, s2, s3 float64
	b = b[:len(a)]
	i := 0
	for ; i+4 <= len(a); i += 4 {
		s0 += a[i] * b[i]
		s1 += a[i+1] * b[i+1]
		s2 += a[i+2] * b[i+2]
		s3 += a[i+3] * b[i+3]
	}
	for ; i < len(a); i++ {
		s0 += a[i] * b[i]
	}
	return (s0 + s1) + (s2 + s3)
}

// Ranks returns each row's weighted mid-rank in (0,1): the share of weight below its value plus half the share at it.
// NaN rows stay NaN. Negative weights enter the shares as they are.
func Ranks(x, w []float64) []float64 {
	idx := order.Of(x)
	out := make([]float64, len(x))
	for len(idx) > 0 && x[idx[len(idx)-1]] != x[idx[len(idx)-1]] {
		out[idx[len(idx)-1]] = math.NaN()
		idx = idx[:len(idx)-1]
	}
	sum := 0.0
	for _, i := range idx {
		sum += weight(w, int(i))
	}
	below := 0.0
	for lo := 0; lo < len(idx); {
		hi, at := lo, 0.0
		for hi < len(idx) && x[idx[hi]] == x[idx[lo]] {
			at += weight(w, int(idx[hi]))
			hi++
		}
		r := (below + at/2) / sum
		for _, i := range idx[lo:hi] {
			out[i] = r
		}
		below += at
		lo = hi
	}
	return out
}

// Spearman returns the matrix of weighted rank correlations of the columns: Pearson's of the mid-ranks.
func Spearman(x [][]float64, w []float64, threads int) [][]float64 {
	r := make([][]float64, len(x))
	par.For(threads, len(x), 1, func(j, _, _ int) { r[j] = Ranks(x[j], w) })
	return Pearson(r, w, threads)
}

// CorrDiff is how two correlation matrices differ.
type CorrDiff struct {
	Max  float64 // largest |Δρ|
	I, J int     // of this pair
	Frob float64 // ‖R_a-R_b‖_F, over both triangles ("D_corr")
}

// CompareCorr compares two correlation matrices; FloorCorr says what is chance.
func CompareCorr(a, b [][]float64) CorrDiff {
	var c CorrDiff
	for i := range a {
		for j := range i {
			d := a[i][j] - b[i][j]
			c.Frob += 2 * d * d
			if math.Abs(d) > c.Max {
				c.Max, c.I, c.J = math.Abs(d), j, i
			}
		}
	}
	c.Frob = math.Sqrt(c.Frob)
	return c
}
