package metric

import (
	"math"
	"sort"

	"gonum.org/v1/gonum/mathext"
)

// Chi is a χ² test of two binned samples.
type Chi struct {
	Chi2 float64
	NDF  int
	P    float64
}

// chi2P is the probability of a larger χ².
func chi2P(c float64, ndf int) float64 {
	if ndf <= 0 {
		return 1
	}
	if c <= 0 {
		return 1
	}
	return mathext.GammaIncRegComp(float64(ndf)/2, c/2)
}

// counts returns the sums of weights and of squared weights in the bins [edges[k], edges[k+1]); the last bin holds its
// upper edge too.
func (c *Column) counts(edges []float64) (n, q []float64) {
	n, q = make([]float64, len(edges)-1), make([]float64, len(edges)-1)
	last := len(n) - 1
	k := 0
	for i := sort.SearchFloat64s(c.V, edges[0]); i < len(c.V); i++ {
		v := c.V[i]
		for k < last && v >= edges[k+1] {
			k++
		}
		if v > edges[last+1] {
			break
		}
		n[k] += c.W[i]
		q[k] += c.Q[i]
	}
	return n, q
}

// Edges returns bins of about equal weight in the column, for Chi2: at most bins of them, fewer where single values hold
// more than a bin's share. The outer edges are infinite.
func (c *Column) Edges(bins int) []float64 {
	e := []float64{math.Inf(-1)}
	cum, next := 0.0, 1 // cum: weight below the present value
	const eps = 1e-9
	for i, v := range c.V {
		if share := cum / c.Sum * float64(bins); i > 0 && next < bins && share >= float64(next)-eps {
			e = append(e, v) // at a value: no value is ever split
			next = int(share+eps) + 1
		}
		cum += c.W[i]
	}
	return append(e, math.Inf(1))
}

// Chi2 compares the columns in the given bins: Σ (n_a-n_b)²/(s_a²+s_b²) over samples normalised inside the bins' range,
// s² the sum of squared weights, ndf = filled bins - 1.
func (a *Column) Chi2(b *Column, edges []float64) Chi {
	na, qa := a.counts(edges)
	nb, qb := b.counts(edges)
	return chi2(na, qa, nb, qb)
}

func chi2(na, qa, nb, qb []float64) Chi {
	sa, sb := total(len(na), na), total(len(nb), nb)
	c := Chi{NDF: -1}
	for k := range na {
		s := qa[k]/(sa*sa) + qb[k]/(sb*sb)
		if s == 0 {
			continue
		}
		d := na[k]/sa - nb[k]/sb
		c.Chi2 += d * d / s
		c.NDF++
	}
	c.NDF = max(c.NDF, 0)
	c.P = chi2P(c.Chi2, c.NDF)
	return c
}

// Chi2 compares x with the reference y in bins of equal population of y (50 by custom). Signed weights count as they are.
func Chi2(x, wx, y, wy []float64, bins int) Chi {
	a, b, err := sortTwo(x, wx, y, wy)
	if err != nil {
		return Chi{P: math.NaN(), Chi2: math.NaN()}
	}
	return a.Chi2(b, b.Edges(bins))
}

// Chi2Edges compares x with y in fixed ascending bins, e.g. 60 from 100 to 160 GeV; what lies outside does not count.
func Chi2Edges(x, wx, y, wy, edges []float64) Chi {
	a, b, err := sortTwo(x, wx, y, wy)
	if err != nil {
		return Chi{P: math.NaN(), Chi2: math.NaN()}
	}
	return a.Chi2(b, edges)
}

// Ratio compares bin by bin.
type Ratio struct {
	Edges      []float64
	Value, Err []float64 // normalised content of x over that of the reference, and its error; NaN where the reference is empty
	Worst      int       // the bin furthest from 1 in units of its error
	Pull       float64   // how far, signed
	Outside    int       // bins that are off by more than the tolerance and by more than 3 errors
}

// Ratios returns the ratio of the normalised columns in each bin. Tolerance is the relative difference that never counts
// as a failure (0.01 by custom).
func (a *Column) Ratios(b *Column, edges []float64, tolerance float64) Ratio {
	na, qa := a.counts(edges)
	nb, qb := b.counts(edges)
	sa, sb := total(len(na), na), total(len(nb), nb)
	r := Ratio{Edges: edges, Value: make([]float64, len(na)), Err: make([]float64, len(na))}
	for k := range na {
		pa, pb := na[k]/sa, nb[k]/sb
		r.Value[k] = pa / pb
		if pb == 0 {
			r.Value[k], r.Err[k] = math.NaN(), math.NaN()
			continue
		}
		r.Err[k] = math.Sqrt(qa[k]/(sa*sa)+qb[k]/(sb*sb)*r.Value[k]*r.Value[k]) / math.Abs(pb)
		pull := (r.Value[k] - 1) / r.Err[k]
		if r.Err[k] == 0 {
			continue
		}
		if math.Abs(pull) > math.Abs(r.Pull) {
			r.Pull, r.Worst = pull, k
		}
		if math.Abs(pull) > 3 && math.Abs(r.Value[k]-1) > tolerance {
			r.Outside++
		}
	}
	return r
}

// Central drops values outside the central share of the column, for "the central 98 %": it returns equal-population bins
// between the quantiles (1-share)/2 and (1+share)/2.
func (c *Column) Central(share float64, bins int) []float64 {
	q := c.Quantiles((1-share)/2, (1+share)/2)
	e := c.Edges(bins)
	out := []float64{q[0]}
	for _, v := range e[1 : len(e)-1] {
		if v > q[0] && v < q[1] {
			out = append(out, v)
		}
	}
	if q[1] > out[len(out)-1] {
		return append(out, q[1])
	}
	return append(out, math.Nextafter(out[len(out)-1], math.Inf(1)))
}

// Holm returns the p-values adjusted for their number (Holm 1979): each is the smallest family-wise level at which that
// test fails. NaN values are left out of the count and stay NaN.
func Holm(p []float64) []float64 {
	var idx []int
	for i, v := range p {
		if v == v {
			idx = append(idx, i)
		}
	}
	sort.SliceStable(idx, func(a, b int) bool { return p[idx[a]] < p[idx[b]] })
	out := make([]float64, len(p))
	for i := range out {
		out[i] = math.NaN()
	}
	worst := 0.0
	for k, i := range idx {
		worst = max(worst, min(1, float64(len(idx)-k)*p[i]))
		out[i] = worst
	}
	return out
}
