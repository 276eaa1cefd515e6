package samples

import (
	"fmt"
	"math"
	"slices"

	"hepmorph/internal/par"
	"hepmorph/internal/rng"
	"hepmorph/physics"
)

// OneflowSettings describe a pair of samples of the one-flow toy. The zero value is a quick pair; published is 10^7 of each.
type OneflowSettings struct {
	Events   int                     // of each sample. Default 100000, at least 100, at most 2^31-1. Memory: some 90 bytes an event
	Seed     uint64                  // same seed, same events
	Threads  int                     // 0: all
	Force    bool                    // overwrite files
	Progress func(done, total int64) // events written so far, of both files; may be nil
}

func (s OneflowSettings) resolve() (OneflowSettings, error) {
	if s.Events == 0 {
		s.Events = 100000
	}
	if s.Events < 100 || s.Events > math.MaxInt32 {
		return s, settingsError{fmt.Errorf("samples: could not make one-flow samples: %d events asked for, must be 100 to %d", s.Events, math.MaxInt32)}
	}
	return s, nil
}

// OneflowColumns lists the columns of the one-flow toy: three conditions, then four features.
var oneflowColumns = [7]string{"pt", "eta", "noise", "v1A", "v2A", "v1B", "v2B"}

// oneflowA holds vA ~ N(m - a eta, max(0.1, s - b pt + 0.1 noise)).
type oneflowA struct{ m, a, s, b float64 }

// oneflowB holds vB = 0 with probability clip(r + d pt - 0.1 noise, 0, 1), else t + Exp(h + k eta + 0.2 noise).
type oneflowB struct{ r, d, t, h, k float64 }

// oneflow holds the constants of a sample and the upper triangle of the normal-score correlations that are imposed on it.
type oneflow struct {
	pt, eta     float64
	a           [2]oneflowA
	b           [2]oneflowB
	correlation [21]float64
}

// The constants are the published ones. The correlations are those that the published code really imposes: its nominal matrices are
// not positive definite and get repaired (negative eigenvalues replaced by the mean of the positive ones, diagonal reset).
var oneflows = map[Which]*oneflow{
	Data: {
		pt: 1, eta: 0.25,
		a: [2]oneflowA{{-0.5, 0.20, 0.8, 0.10}, {0.5, 0.10, 1.0, 0.20}},
		b: [2]oneflowB{{0.3, 0.10, 0.8, 1.0, 0.30}, {0.4, 0.05, 0.9, 1.3, 0.20}},
		correlation: [21]float64{
			-.2144, -.1771, .1028, .3824, -.2102, -.5300,
			.4795, .2995, .0384, .6203, .4368,
			.1618, -.0478, .3407, .6667,
			.3999, .0547, .0095,
			.0177, .1875,
			.3432},
	},
	Simulation: {
		pt: 0.95, eta: 0.20,
		a: [2]oneflowA{{-0.6, 0.25, 0.7, 0.15}, {0.6, 0.05, 1.1, 0.15}},
		b: [2]oneflowB{{0.5, 0.15, 0.5, 1.1, 0.35}, {0.3, 0.10, 0.8, 1.1, 0.15}},
		correlation: [21]float64{
			-.5010, -.2571, .1912, .4071, -.3093, -.4747,
			.2176, .3247, .0250, .4231, .4868,
			-.0236, .0740, .1102, .1906,
			.2539, .0424, -.0284,
			.0577, .1046,
			.2586},
	},
}

// matrix returns the full correlation matrix, row-major (7,7).
func (o *oneflow) matrix() [49]float64 {
	var c [49]float64
	k := 0
	for i := range 7 {
		c[8*i] = 1
		for j := i + 1; j < 7; j++ {
			c[7*i+j], c[7*j+i] = o.correlation[k], o.correlation[k]
			k++
		}
	}
	return c
}

// Oneflow makes a sample of the published one-flow toy (arXiv 2403.18582, its public code) in memory, floats rounded to float32 as in
// the file: columns drawn from their formulas (see oneflowA, oneflowB; pt ~ Exp, eta = |U(-2,2) N(0 mean 1)|, noise ~ U(0,3)), then
// reordered after Iman and Conover so that their normal scores have a given correlation. The marginal of every column stays that
// of its formula; pt is not reordered at all.
//
// It fails on settings outside their range, and for Truth: reordering leaves no event that a perfect morph could be told for.
func Oneflow(s OneflowSettings, which Which) (*physics.Table, error) {
	s, err := s.resolve()
	if err != nil {
		return nil, err
	}
	o := oneflows[which]
	if o == nil {
		return nil, fmt.Errorf("samples: could not make one-flow samples: no such sample: %v", which)
	}
	cols := o.draw(s, which)
	imanConover(cols, o.matrix(), s.Threads)
	t := physics.NewTable(s.Events)
	for k, name := range oneflowColumns {
		par.For(s.Threads, s.Events, 1<<14, func(_, lo, hi int) {
			for i, x := range cols[k][lo:hi] {
				if math.Abs(x) < 3e-6 {
					x = 0
				}
				cols[k][lo+i] = float64(float32(x))
			}
		})
		role := physics.Feature
		if k < 3 {
			role = physics.Condition
		}
		if err := t.Add(physics.Column{Name: name, Expr: name, Role: role, F: cols[k]}); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// draw fills the columns from their formulas; exact zeros become U(1e-6, 2e-6), so that ranks break their ties at random.
func (o *oneflow) draw(s OneflowSettings, which Which) [][]float64 {
	cols := make([][]float64, 7)
	for k := range cols {
		cols[k] = make([]float64, s.Events)
	}
	key := rng.NewKey(s.Seed, "oneflow "+which.String())
	par.For(s.Threads, s.Events, 4096, func(_, lo, hi int) {
		for i := lo; i < hi; i++ {
			r := key.At(uint64(i))
			pt := o.pt * r.Exp()
			eta := math.Abs((4*r.Float64() - 2) * (1 + o.eta*r.Norm()))
			noise := 3 * r.Float64()
			row := [7]float64{pt, eta, noise}
			for j, a := range o.a {
				row[3+j] = a.m - a.a*eta + max(0.1, a.s-a.b*pt+0.1*noise)*r.Norm()
			}
			for j, b := range o.b {
				u, x := r.Float64(), r.Exp()
				if u >= b.r+b.d*pt-0.1*noise {
					row[5+j] = b.t + (b.h+b.k*eta+0.2*noise)*x
				}
			}
			for k, x := range row {
				u := r.Float64()
				if x == 0 {
					x = 1e-6 * (1 + u)
				}
				cols[k][i] = x
			}
		}
	})
	return cols
}

// imanConover reorders each of the columns so that their normal scores get, nearly, the correlation c, row-major (d,d), positive
// definite: scores Phi^-1(rank/(N+1)), of correlation Q Q^T, times (P Q^-1)^T with c = P P^T give the order of the new columns.
// The first column keeps its order. Source: Iman and Conover, Commun. Stat. B11 (1982) 311.
func imanConover(cols [][]float64, c [49]float64, threads int) {
	const d = 7
	n := len(cols[0])
	score := make([][]float64, d) // of an event, in the order of events
	sorted := make([][]float64, d)
	par.For(threads, d, 1, func(k, _, _ int) {
		score[k], sorted[k] = normalScores(cols[k])
	})

	const size = 1 << 14
	part := make([][d * d]float64, (n+size-1)/size)
	par.For(threads, n, size, func(p, lo, hi int) {
		for i := range d {
			for j := range i + 1 {
				part[p][d*i+j] = dot(score[i][lo:hi], score[j][lo:hi])
			}
		}
	})
	var t [49]float64
	for p := range part {
		for k, x := range part[p] {
			t[k] += x
		}
	}
	// Scores have mean 0 by their symmetry, but for ties: their second moments are their covariances.
	for i := range d {
		for j := range i {
			t[d*i+j] /= math.Sqrt(t[(d+1)*i] * t[(d+1)*j])
			t[d*j+i] = t[d*i+j]
		}
	}
	for i := range d {
		t[(d+1)*i] = 1
	}
	m := timesInverse(cholesky(c), cholesky(t))
	par.For(threads, d-1, 1, func(k, _, _ int) {
		row := m[d*(k+1) : d*(k+2)]
		x := make([]float64, n)
		for j, f := range row[:k+2] {
			for i, s := range score[j] {
				x[i] += f * s
			}
		}
		order := ascending(x)
		for r, i := range order {
			cols[k+1][i] = sorted[k+1][r]
		}
	})
}

// normalScores returns Phi^-1(rank/(N+1)), equal values sharing their mean rank, and the values in ascending order.
func normalScores(x []float64) (score, sorted []float64) {
	order := ascending(x)
	n := len(x)
	score, sorted = make([]float64, n), make([]float64, n)
	for r, i := range order {
		sorted[r] = x[i]
	}
	for lo := 0; lo < n; {
		hi := lo + 1
		for hi < n && sorted[hi] == sorted[lo] {
			hi++
		}
		z := -math.Sqrt2 * math.Erfcinv(2*(float64(lo+hi+1)/2)/float64(n+1))
		for _, i := range order[lo:hi] {
			score[i] = z
		}
		lo = hi
	}
	return score, sorted
}

// ascending returns the order of the values, equal ones by index.
func ascending(x []float64) []int32 {
	type item struct {
		x float64
		i int32
	}
	items := make([]item, len(x))
	for i, v := range x {
		items[i] = item{v, int32(i)}
	}
	slices.SortFunc(items, func(a, b item) int {
		switch {
		case a.x < b.x:
			return -1
		case a.x > b.x:
			return 1
		}
		return int(a.i - b.i)
	})
	order := make([]int32, len(x))
	for r, it := range items {
		order[r] = it.i
	}
	return order
}

func dot(a, b []float64) float64 {
	s := 0.0
	for i, x := range a {
		s += x * b[i]
	}
	return s
}

// cholesky returns the lower triangular L of a = L L^T, (7,7) row-major. a must be positive definite.
func cholesky(a [49]float64) (l [49]float64) {
	const d = 7
	for i := range d {
		for j := range i + 1 {
			s := a[d*i+j] - dot(l[d*i:d*i+j], l[d*j:d*j+j])
			if i == j {
				l[d*i+i] = math.Sqrt(s)
			} else {
				l[d*i+j] = s / l[d*j+j]
			}
		}
	}
	return l
}

// timesInverse returns p q^-1 for lower triangular p and q.
func timesInverse(p, q [49]float64) (m [49]float64) {
	const d = 7
	for i := range d { // m q = p, from the last column back
		for j := i; j >= 0; j-- {
			s := p[d*i+j]
			for k := j + 1; k <= i; k++ {
				s -= m[d*i+k] * q[d*k+j]
			}
			m[d*i+j] = s / q[d*j+j]
		}
	}
	return m
}
