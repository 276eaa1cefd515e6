package metric

import (
	"fmt"
	"math"
	"slices"

	"hepmorph/internal/gbdt/order"
)

// Column is one column of one sample, sorted once for all one-dimensional metrics. It is immutable and safe for
// concurrent use.
type Column struct {
	V   []float64 // distinct values, ascending
	W   []float64 // the weight at each value (negative where signed weights make it so)
	Q   []float64 // the sum of squared weights at each value
	Sum float64   // of W
	N   float64   // effective number of events
	Bad int       // rows left out because they are NaN
}

// Sort prepares a column. It fails if no row with a value is there or their weights add up to 0.
func Sort(x, w []float64) (*Column, error) {
	if w != nil && len(w) != len(x) {
		return nil, fmt.Errorf("metric: could not sort a column: %d weights for %d rows", len(w), len(x))
	}
	c := &Column{}
	var sq float64
	for _, i := range order.Of(x) {
		v := x[i]
		if v != v {
			c.Bad++
			continue
		}
		wi := weight(w, int(i))
		if n := len(c.V); n > 0 && c.V[n-1] == v {
			c.W[n-1] += wi
			c.Q[n-1] += wi * wi
		} else {
			c.V = append(c.V, v)
			c.W = append(c.W, wi)
			c.Q = append(c.Q, wi*wi)
		}
		c.Sum += wi
		sq += wi * wi
	}
	if len(c.V) == 0 || c.Sum == 0 || math.IsNaN(c.Sum) || math.IsInf(c.Sum, 0) {
		return nil, fmt.Errorf("metric: could not sort a column: %d of %d rows have a value, their weights add up to %g", len(x)-c.Bad, len(x), c.Sum)
	}
	c.N = c.Sum * c.Sum / sq
	return c, nil
}

// MeanSD returns weighted mean and standard deviation.
func (c *Column) MeanSD() (mean, sd float64) {
	for i, v := range c.V {
		mean += c.W[i] * v
	}
	mean /= c.Sum
	for i, v := range c.V {
		sd += c.W[i] * (v - mean) * (v - mean)
	}
	return mean, math.Sqrt(sd / c.Sum)
}

// Quantiles returns, for each ascending p in [0,1], the smallest value at which the weighted distribution reaches p.
func (c *Column) Quantiles(p ...float64) []float64 {
	out := make([]float64, len(p))
	k, cum := 0, 0.0
	for i, v := range c.V {
		cum += c.W[i] / c.Sum
		for k < len(p) && cum >= p[k]-1e-12 {
			out[k] = v
			k++
		}
	}
	for ; k < len(p); k++ {
		out[k] = c.V[len(c.V)-1]
	}
	return out
}

// CDF returns the shares of weight below x and up to x.
func (c *Column) CDF(x float64) (below, upto float64) {
	below, upto = c.sumTo(x, c.W)
	return below / c.Sum, upto / c.Sum
}

// sumTo adds up what is given for each value, W or Q, below x and up to x.
func (c *Column) sumTo(x float64, given []float64) (below, upto float64) {
	for i, v := range c.V {
		if v > x {
			break
		}
		if v < x {
			below += given[i]
		}
		upto += given[i]
	}
	return below, upto
}

// Atom returns the share of weight at x and its statistical error.
func (c *Column) Atom(x float64) (share, err float64) {
	sq := 0.0
	if i, ok := slices.BinarySearch(c.V, x); ok {
		share, sq = c.W[i]/c.Sum, c.Q[i]
	}
	return share, c.shareErr(share, sq)
}

// quantileErr is the statistical error of the share of weight below quantile p.
func (c *Column) quantileErr(p float64) float64 {
	var below, sq float64
	for i := range c.V {
		share := c.W[i] / c.Sum
		if below+share >= p {
			if share > 0 {
				sq += c.Q[i] * max(0, p-below) / share
			}
			break
		}
		below += share
		sq += c.Q[i]
	}
	return c.shareErr(p, sq)
}

// shareErr is the statistical error of a share p of the weight whose events have squared weights that add up to sq: what
// is in may be missing, and what is out may be too much.
func (c *Column) shareErr(p, sq float64) float64 {
	out := c.Sum*c.Sum/c.N - sq
	return math.Sqrt((1-p)*(1-p)*sq+p*p*max(out, 0)) / math.Abs(c.Sum)
}

// merge visits the distinct values of both columns in order with the two normalised distribution functions up to and
// including that value, and the next value (the last one has none and is not visited).
func merge(a, b *Column, f func(fa, fb, v, next float64)) {
	i, j := 0, 0
	var fa, fb float64
	for i < len(a.V) || j < len(b.V) {
		var v float64
		switch {
		case j == len(b.V) || i < len(a.V) && a.V[i] < b.V[j]:
			v = a.V[i]
		default:
			v = b.V[j]
		}
		if i < len(a.V) && a.V[i] == v {
			fa += a.W[i]
			i++
		}
		if j < len(b.V) && b.V[j] == v {
			fb += b.W[j]
			j++
		}
		next := math.Inf(1)
		if i < len(a.V) {
			next = a.V[i]
		}
		if j < len(b.V) {
			next = min(next, b.V[j])
		}
		if i == len(a.V) && j == len(b.V) {
			return
		}
		f(fa/a.Sum, fb/b.Sum, v, next)
	}
}

// W1 is the Wasserstein distance ∫|F_a - F_b| dx in the unit of the column.
func (a *Column) W1(b *Column) float64 {
	d := 0.0
	merge(a, b, func(fa, fb, v, next float64) {
		if g := math.Abs(fa - fb); g != 0 {
			d += g * (next - v)
		}
	})
	return d
}

// KS returns the largest |F_a - F_b| and its p-value from the Kolmogorov law with the effective numbers of events and
// Stephens' correction. With ties, truncated floats or atoms the p-value is too large (conservative).
func (a *Column) KS(b *Column) (d, p float64) {
	merge(a, b, func(fa, fb, _, _ float64) { d = max(d, math.Abs(fa-fb)) })
	n := math.Sqrt(a.N * b.N / (a.N + b.N))
	return d, kolmogorov(d * (n + 0.12 + 0.11/n))
}

// kolmogorov is the survival function of Kolmogorov's law.
func kolmogorov(t float64) float64 {
	if t < 0.2 {
		return 1
	}
	if t < 1 { // the theta function's other form converges faster here
		s := 0.0
		for k := 1; k < 40; k += 2 {
			s += math.Exp(-float64(k*k) * math.Pi * math.Pi / (8 * t * t))
		}
		return 1 - math.Sqrt(2*math.Pi)/t*s
	}
	s := 0.0
	for k := 1; k < 20; k++ {
		e := math.Exp(-2 * float64(k*k) * t * t)
		if k%2 == 0 {
			e = -e
		}
		s += e
	}
	return min(1, max(0, 2*s))
}

// W1 is the weighted Wasserstein distance between x and the reference y over the reference's standard deviation.
// It is NaN if a sample has no row with a value or no weight.
func W1(x, wx, y, wy []float64) float64 {
	a, b, err := sortTwo(x, wx, y, wy)
	if err != nil {
		return math.NaN()
	}
	_, sd := b.MeanSD()
	return a.W1(b) / sd
}

// KS is the two-sample Kolmogorov-Smirnov distance and its p-value; see Column.KS.
func KS(x, wx, y, wy []float64) (d, p float64) {
	a, b, err := sortTwo(x, wx, y, wy)
	if err != nil {
		return math.NaN(), math.NaN()
	}
	return a.KS(b)
}

func sortTwo(x, wx, y, wy []float64) (a, b *Column, err error) {
	if a, err = Sort(x, wx); err == nil {
		b, err = Sort(y, wy)
	}
	return a, b, err
}

// Quantiles returns weighted quantiles of the values that are not NaN; p must ascend. NaN without any.
func Quantiles(x, w []float64, p ...float64) []float64 {
	c, err := Sort(x, w)
	if err != nil {
		out := make([]float64, len(p))
		for i := range out {
			out[i] = math.NaN()
		}
		return out
	}
	return c.Quantiles(p...)
}
