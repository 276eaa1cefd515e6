package metric

import (
	"math"

	"hepmorph/internal/par"
)

// Transport is how far a map moves events: per column the weighted mean of |y-x|, and of (y-x)², each over the reference
// deviation sd (1 or its power where sd is nil). Rows where either is NaN are left out.
func Transport(x, y [][]float64, w, sd []float64) (abs, square []float64) {
	abs, square = make([]float64, len(x)), make([]float64, len(x))
	for j := range x {
		f := 1.0
		if sd != nil {
			f = 1 / sd[j]
		}
		sum := 0.0
		for i, v := range x[j] {
			if d := (y[j][i] - v) * f; d == d {
				wi := weight(w, i)
				sum += wi
				abs[j] += wi * math.Abs(d)
				square[j] += wi * d * d
			}
		}
		abs[j] /= sum
		square[j] /= sum
	}
	return abs, square
}

// TransportBound is the smallest mean |y-x| per column that any map with the same result could have: W1 of the marginals
// before and after, over sd.
func TransportBound(x, y [][]float64, w, sd []float64, threads int) []float64 {
	out := make([]float64, len(x))
	par.For(threads, len(x), 1, func(j, _, _ int) {
		a, b, err := sortTwo(x[j], w, y[j], w)
		if err != nil {
			out[j] = math.NaN()
			return
		}
		out[j] = a.W1(b)
		if sd != nil {
			out[j] /= sd[j]
		}
	})
	return out
}

// Dependence is the weighted rank correlation of a column before and after a map, over the rows where keep says so (nil:
// all): the rows of an atom have no order and are best left out. 1 is "keeps the order of events", 0 "ignores its input".
func Dependence(before, after, w []float64, keep func(i int) bool) float64 {
	var a, b, v []float64
	for i, x := range before {
		if x == x && after[i] == after[i] && (keep == nil || keep(i)) {
			a, b, v = append(a, x), append(b, after[i]), append(v, weight(w, i))
		}
	}
	if len(a) < 2 {
		return math.NaN()
	}
	return Spearman([][]float64{a, b}, v, 1)[0][1]
}

// ProfileBin compares one column in one bin of a condition.
type ProfileBin struct {
	Lo, Hi float64    // of the condition
	N      [2]float64 // effective events of sample and reference
	Q      [2][3]float64
	Err    [2][3]float64
	Pull   [3]float64
}

// Profile compares the 16 %, 50 % and 84 % quantiles of x with those of the reference y in bins of a condition (cx, cy)
// that hold equal shares of the reference.
//
// A pull is the difference of the two distribution functions at the reference's quantile over its statistical error: it
// means the same for smooth columns, truncated floats and atoms (value shares on both sides of an atom make it 0 there).
// Err is half the distance between the quantiles one error below and above.
func Profile(x, cx, wx, y, cy, wy []float64, bins int) ([]ProfileBin, error) {
	ref, err := Sort(cy, wy)
	if err != nil {
		return nil, err
	}
	edges := ref.Edges(bins)
	levels := [3]float64{0.16, 0.5, 0.84}
	out := make([]ProfileBin, len(edges)-1)
	split := func(v, c, w []float64) (vals, ws [][]float64) {
		vals, ws = make([][]float64, len(out)), make([][]float64, len(out))
		for i, ci := range c {
			if ci != ci || v[i] != v[i] {
				continue
			}
			k := searchEdges(edges, ci)
			vals[k] = append(vals[k], v[i])
			ws[k] = append(ws[k], weight(w, i))
		}
		return vals, ws
	}
	vx, ux := split(x, cx, wx)
	vy, uy := split(y, cy, wy)
	for k := range out {
		b := &out[k]
		b.Lo, b.Hi = edges[k], edges[k+1]
		cols := [2]*Column{}
		for s, v := range [2][2][]float64{{vx[k], ux[k]}, {vy[k], uy[k]}} {
			c, err := Sort(v[0], v[1])
			if err != nil { // an empty bin compares as nothing
				for q := range levels {
					b.Q[s][q], b.Err[s][q], b.Pull[q] = math.NaN(), math.NaN(), math.NaN()
				}
				continue
			}
			cols[s] = c
			b.N[s] = c.N
			for q, p := range levels {
				e := c.quantileErr(p)
				v := c.Quantiles(max(0, p-e), p, min(1, p+e))
				b.Q[s][q], b.Err[s][q] = v[1], (v[2]-v[0])/2
			}
		}
		if cols[0] == nil || cols[1] == nil {
			continue
		}
		for q := range levels {
			b.Pull[q] = sharePull(cols[0], cols[1], b.Q[1][q])
		}
	}
	return out, nil
}

// sharePull is the difference of the shares of weight below v over its statistical error. Where v is an atom, the smaller
// of the pulls below and up to it counts, 0 if they disagree in sign.
func sharePull(a, b *Column, v float64) float64 {
	pull := func(pa, pb, sqa, sqb float64) float64 {
		if e := math.Hypot(a.shareErr(pb, sqa), b.shareErr(pb, sqb)); e > 0 {
			return (pa - pb) / e
		}
		return 0
	}
	a0, a1 := a.CDF(v)
	b0, b1 := b.CDF(v)
	qa0, qa1 := a.sumTo(v, a.Q)
	qb0, qb1 := b.sumTo(v, b.Q)
	below, upto := pull(a0, b0, qa0, qb0), pull(a1, b1, qa1, qb1)
	if below*upto <= 0 {
		return 0
	}
	return math.Copysign(min(math.Abs(below), math.Abs(upto)), below)
}

// searchEdges returns the bin k with edges[k] <= v < edges[k+1], outer bins open.
func searchEdges(edges []float64, v float64) int {
	lo, hi := 0, len(edges)-1
	for hi-lo > 1 {
		mid := (lo + hi) / 2
		if edges[mid] <= v {
			lo = mid
		} else {
			hi = mid
		}
	}
	return lo
}

// A Calibration maps scores to probabilities by a step function that never falls.
type Calibration struct{ Score, P []float64 }

// Isotonic fits the weighted isotonic regression of the outcomes y (0 or 1, or any number) on a score by pooling adjacent
// violators. Blocks whose weight is not positive are pooled with their neighbours, so a few negative weights do no harm.
func Isotonic(score, y, w []float64) *Calibration {
	type block struct{ lo, hi, sum, w float64 }
	var b []block
	c, err := sortByScore(score, y, w)
	if err != nil {
		return &Calibration{}
	}
	for _, v := range c {
		b = append(b, block{v.s, v.s, v.y, v.w})
		for n := len(b); n > 1; n = len(b) {
			p, q := b[n-2], b[n-1]
			if p.w > 0 && q.w > 0 && p.sum*q.w < q.sum*p.w {
				break
			}
			b = append(b[:n-2], block{p.lo, q.hi, p.sum + q.sum, p.w + q.w})
		}
	}
	out := &Calibration{}
	for _, v := range b {
		p := v.sum / v.w
		out.Score, out.P = append(out.Score, v.lo), append(out.P, p)
		if v.hi > v.lo {
			out.Score, out.P = append(out.Score, v.hi), append(out.P, p)
		}
	}
	return out
}

type scored struct{ s, y, w float64 }

// sortByScore returns distinct scores with Σwy and Σw at each.
func sortByScore(score, y, w []float64) ([]scored, error) {
	c, err := Sort(score, w)
	if err != nil {
		return nil, err
	}
	wy := make([]float64, len(score))
	for i := range wy {
		wy[i] = weight(w, i) * y[i]
	}
	out := make([]scored, len(c.V))
	for i, v := range c.V {
		out[i] = scored{s: v, w: c.W[i]}
	}
	for i, s := range score {
		if s == s {
			k, n := 0, len(c.V)
			for k < n {
				if m := (k + n) / 2; c.V[m] < s {
					k = m + 1
				} else {
					n = m
				}
			}
			out[k].y += wy[i]
		}
	}
	return out, nil
}

// At interpolates the calibration linearly between its knots; outside it is constant. NaN without any knot.
func (c *Calibration) At(score float64) float64 {
	n := len(c.Score)
	if n == 0 {
		return math.NaN()
	}
	if score <= c.Score[0] {
		return c.P[0]
	}
	if score >= c.Score[n-1] {
		return c.P[n-1]
	}
	k := searchEdges(c.Score, score)
	if c.Score[k+1] == c.Score[k] {
		return c.P[k]
	}
	f := (score - c.Score[k]) / (c.Score[k+1] - c.Score[k])
	return c.P[k] + f*(c.P[k+1]-c.P[k])
}
