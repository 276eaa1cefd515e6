package metric

import (
	"hepmorph/internal/gbdt/order"
)

// AUC is the area under the ROC curve of a score: the weighted probability that an event of sample 1 scores above one of
// sample 0, ties counting one half. Weights may be negative (then the estimate can leave [0,1]); nil means 1.
func AUC(s0, w0, s1, w1 []float64) float64 {
	r := rank(s0, s1)
	return r.auc(
		func(i int) float64 { return weight(w0, i) },
		func(i int) float64 { return weight(w1, i) })
}

// ranked holds two samples of scores in common order, for repeated evaluation under other weights.
type ranked struct {
	n0    int
	row   []int32 // rows of sample 0, then n0 + rows of sample 1, ascending in score
	group []bool  // row i begins a new value
}

func rank(s0, s1 []float64) *ranked {
	all := make([]float64, 0, len(s0)+len(s1))
	all = append(append(all, s0...), s1...)
	r := &ranked{n0: len(s0), row: order.Of(all), group: make([]bool, len(all))}
	for i, k := range r.row {
		r.group[i] = i == 0 || all[k] != all[r.row[i-1]]
	}
	return r
}

func (r *ranked) auc(w0, w1 func(int) float64) float64 {
	var below, area, a, b, sum1 float64 // a, b: weights of the two samples at the present value
	for i, k := range r.row {
		if r.group[i] {
			area += b * (below + a/2)
			below += a
			sum1 += b
			a, b = 0, 0
		}
		if int(k) < r.n0 {
			a += w0(int(k))
		} else {
			b += w1(int(k) - r.n0)
		}
	}
	area += b * (below + a/2)
	below += a
	sum1 += b
	return area / (below * sum1)
}

// Curve is a ROC curve: the shares of sample 1 (True) and of sample 0 (False) above falling thresholds, from (0,0) to (1,1).
type Curve struct{ False, True []float64 }

// ROC returns the curve thinned to at most points, at even steps of rank. Both axes are weighted shares.
func ROC(s0, w0, s1, w1 []float64, points int) Curve {
	r := rank(s0, s1)
	t0, t1 := total(len(s0), w0), total(len(s1), w1)
	c := Curve{False: []float64{0}, True: []float64{0}}
	var a, b float64
	step := max(1, len(r.row)/max(1, points-1))
	since := 0
	for i := len(r.row) - 1; i >= 0; i-- {
		k := int(r.row[i])
		if k < r.n0 {
			a += weight(w0, k)
		} else {
			b += weight(w1, k-r.n0)
		}
		since++
		if r.group[i] && (since >= step || i == 0) {
			c.False, c.True = append(c.False, a/t0), append(c.True, b/t1)
			since = 0
		}
	}
	return c
}
