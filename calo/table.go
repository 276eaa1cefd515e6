package calo

import (
	"fmt"
	"math"
	"slices"
	"sort"
)

// A table is the distribution of a number x given a covariate c, with an atom for "empty": P(empty | c), location and scale of
// x given c, and quantiles of the standardised rest given c. All are linear between nodes. It maps x to a number g that is
// standard normal at any c, if empties are spread over the part of the line below the point that has P(empty) on its left.
type table struct {
	Nodes  []float32   `json:"c"`    // of c, rising
	Empty  []float32   `json:"zero"` // P(empty) at the nodes
	Mu     []float32   `json:"mu"`
	SD     []float32   `json:"sd"`
	QNodes []float32   `json:"qc"` // of c, for the quantiles, rising
	Q      [][]float32 `json:"q"`  // quantiles of (x-mu)/sd at quantileGrid, rising
}

// quantileGrid are the normal numbers at which quantiles are kept; beyond them x is linear in g.
const (
	gridN    = 97
	gridEdge = 3.0
	gridStep = 2 * gridEdge / (gridN - 1)
)

// Bounds of g and of P(empty): a number beyond 5.2 standard deviations is not told from one at 5.2.
const (
	maxNormal = 5.2
	minEmpty  = 1e-7
	maxEmpty  = 1 - 1e-4
)

func normalCDF(z float64) float64 { return 0.5 * math.Erfc(-z/math.Sqrt2) }

// normalQuantile is the inverse of normalCDF, within ±maxNormal.
func normalQuantile(u float64) float64 {
	return min(max(-math.Sqrt2*math.Erfcinv(2*u), -maxNormal), maxNormal)
}

// A slice of a table at one covariate.
type section struct {
	empty, cut float64 // P(empty); the g below which x is empty
	mu, sd     float64
	q0, q1     []float32 // quantiles at the nodes on both sides
	f          float64   // how far it is from the first to the second
	degenerate bool      // x is the same for all
}

// q is the quantile at point k of the grid.
func (s *section) q(k int) float64 { return float64(s.q0[k])*(1-s.f) + float64(s.q1[k])*s.f }

func between(nodes []float32, c float64) (i int, t float64) {
	n := len(nodes)
	if n == 1 {
		return 0, 0
	}
	i = sort.Search(n, func(k int) bool { return float64(nodes[k]) > c }) - 1
	i = min(max(i, 0), n-2)
	t = (c - float64(nodes[i])) / float64(nodes[i+1]-nodes[i])
	return i, min(max(t, 0), 1)
}

func lerp(v []float32, i int, t float64) float64 {
	if t == 0 {
		return float64(v[i])
	}
	return float64(v[i])*(1-t) + float64(v[i+1])*t
}

// emptyAt is P(empty | c).
func (t *table) emptyAt(c float64) float64 {
	i, f := between(t.Nodes, c)
	return min(max(lerp(t.Empty, i, f), 0), maxEmpty)
}

// at fills s with the distribution at c.
func (t *table) at(s *section, c float64) {
	i, f := between(t.Nodes, c)
	s.empty = min(max(lerp(t.Empty, i, f), 0), maxEmpty)
	s.cut = normalQuantile(max(s.empty, minEmpty))
	s.mu, s.sd = lerp(t.Mu, i, f), lerp(t.SD, i, f)
	s.degenerate = s.sd < 2e-3
	i, s.f = between(t.QNodes, c)
	s.q0, s.q1 = t.Q[i], t.Q[min(i+1, len(t.Q)-1)]
}

// forward is the normal number of x. u, uniform in [0,1), takes the place of x where x does not vary.
func (s *section) forward(x, u float64) float64 {
	if s.degenerate {
		return s.above(normalQuantile(u))
	}
	r := (x - s.mu) / s.sd
	i, end := 0, gridN-1
	for end-i > 1 {
		if k := (i + end) / 2; s.q(k) > r {
			end = k
		} else {
			i = k
		}
	}
	q := s.q(i)
	z := -gridEdge + gridStep*(float64(i)+(r-q)/(s.q(i+1)-q))
	return s.above(z)
}

// above puts a normal number z into the part of the line above the cut.
func (s *section) above(z float64) float64 {
	z = min(max(z, -maxNormal), maxNormal)
	if s.empty < minEmpty {
		return z
	}
	if z > 0 { // through the upper tail, where no digits are lost
		return min(maxNormal, -normalQuantile((1-s.empty)*normalCDF(-z)))
	}
	return normalQuantile(s.empty + (1-s.empty)*normalCDF(z))
}

// spread is a normal number for an empty x: u, uniform in [0,1), of the part below the cut.
func (s *section) spread(u float64) float64 { return normalQuantile(s.empty * u) }

// inverse is the x of a normal number above the cut. A number at or below it gives the smallest x.
func (s *section) inverse(g float64) float64 { return s.value(s.below(g)) }

// below is the inverse of above.
func (s *section) below(g float64) float64 {
	z := g
	if s.empty >= minEmpty {
		if tail := normalCDF(-g) / (1 - s.empty); tail < 0.5 {
			z = -normalQuantile(tail)
		} else {
			z = normalQuantile(max(0, normalCDF(g)-s.empty) / (1 - s.empty))
		}
	}
	return min(max(z, -maxNormal), maxNormal)
}

// value is the x of the normal number z that says where x lies among those that are not empty.
func (s *section) value(z float64) float64 {
	p := (z + gridEdge) / gridStep
	i := min(max(int(math.Floor(p)), 0), gridN-2)
	q := s.q(i)
	return s.mu + s.sd*(q+(p-float64(i))*(s.q(i+1)-q))
}

// check refuses tables that are not what fit makes.
func (t *table) check() error {
	n := len(t.Nodes)
	if n == 0 || len(t.Empty) != n || len(t.Mu) != n || len(t.SD) != n || len(t.QNodes) == 0 || len(t.Q) != len(t.QNodes) {
		return fmt.Errorf("table of %d nodes and %d quantile nodes", n, len(t.QNodes))
	}
	for _, v := range append([][]float32{t.Nodes, t.Empty, t.Mu, t.SD, t.QNodes}, t.Q...) {
		for _, x := range v {
			if math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) {
				return fmt.Errorf("table holds %v", x)
			}
		}
	}
	for i, sd := range t.SD {
		if sd <= 0 || t.Empty[i] < 0 || t.Empty[i] > 1 {
			return fmt.Errorf("node %d: deviation %v, empty with %v", i, sd, t.Empty[i])
		}
	}
	rising := func(v []float32) bool {
		for i := 1; i < len(v); i++ {
			if !(v[i] > v[i-1]) {
				return false
			}
		}
		return true
	}
	if !rising(t.Nodes) || !rising(t.QNodes) {
		return fmt.Errorf("nodes do not rise")
	}
	for _, q := range t.Q {
		if len(q) != gridN || !rising(q) {
			return fmt.Errorf("quantiles do not rise")
		}
	}
	return nil
}

// A tabler fits a table in two passes over the data; its memory does not depend on their number.
type tabler struct {
	lo, width float64 // of c's fine bins
	n, empty  []float64
	sum, sq   []float64

	t     table
	edges []float64 // of c, between the quantile nodes
	hist  [][]uint32
}

const (
	fineBins   = 160
	tableNodes = 16
	histBins   = 1024
	histEdge   = 8.0
)

// newTabler expects covariates in [lo,hi].
func newTabler(lo, hi float64) *tabler {
	b := make([]float64, 4*fineBins)
	return &tabler{
		lo: lo, width: max(hi-lo, 1e-6) / fineBins,
		n: b[:fineBins], empty: b[fineBins : 2*fineBins], sum: b[2*fineBins : 3*fineBins], sq: b[3*fineBins:],
	}
}

func (t *tabler) bin(c float64) int {
	return min(max(int((c-t.lo)/t.width), 0), fineBins-1)
}

// addEmpty counts an empty x, add a filled one.
func (t *tabler) addEmpty(c float64) { t.empty[t.bin(c)]++ }

func (t *tabler) add(c, x float64) {
	i := t.bin(c)
	t.n[i]++
	t.sum[i] += x
	t.sq[i] += x * x
}

func (t *tabler) centre(i int) float64 { return t.lo + (float64(i)+0.5)*t.width }

// spaced picks up to k covariates that cut the counts into equal parts; both ends are among them.
func (t *tabler) spaced(counts func(i int) float64, k int, middles bool) []float64 {
	total := 0.0
	first, last := -1, -1
	for i := range fineBins {
		if c := counts(i); c > 0 {
			if first < 0 {
				first = i
			}
			last = i
			total += c
		}
	}
	if first < 0 {
		return nil
	}
	var out []float64
	add := func(c float64) {
		if len(out) == 0 || c-out[len(out)-1] >= t.width/2 {
			out = append(out, c)
		}
	}
	if !middles {
		add(t.centre(first))
	}
	acc := 0.0
	j := 0
	for i := first; i <= last; i++ {
		c := counts(i)
		for ; j < k; j++ {
			at := (float64(j) + 0.5) / float64(k) * total
			if !middles {
				at = float64(j) / float64(k-1) * total
			}
			if acc+c <= at || c == 0 {
				break
			}
			add(t.lo + (float64(i)+(at-acc)/c)*t.width)
		}
		acc += c
	}
	if !middles && last > first {
		if n := len(out); n > 1 && t.centre(last)-out[n-1] < t.width {
			out[n-1] = t.centre(last)
		} else {
			add(t.centre(last))
		}
	}
	return out
}

// local is the value at c of a straight line through the points (x_i, y_i/w_i), or with flat of a constant, which can't leave the
// range of the points. Their weights w_i fall with the distance from c.
func (t *tabler) local(c float64, w, y []float64, flat bool, fallback float64) float64 {
	for h := 2.5 * t.width; h < 4*fineBins*t.width; h *= 1.5 {
		var s0, s1, s2, y0, y1 float64
		for i := range fineBins {
			if w[i] == 0 {
				continue
			}
			d := t.centre(i) - c
			k := math.Exp(-0.5 * d * d / (h * h))
			s0 += k * w[i]
			s1 += k * w[i] * d
			s2 += k * w[i] * d * d
			y0 += k * y[i]
			y1 += k * y[i] * d
		}
		if s0 < 400 {
			continue // too few: look further
		}
		det := s0*s2 - s1*s1
		if !flat && det > 1e-6*s0*s2 {
			v := (s2*y0 - s1*y1) / det
			if lo, hi := y0/s0-3*h, y0/s0+3*h; v > lo && v < hi || h > 10*t.width {
				return v
			}
		}
		return y0 / s0
	}
	var s0, y0 float64
	for i := range fineBins {
		s0 += w[i]
		y0 += y[i]
	}
	if s0 == 0 {
		return fallback
	}
	return y0 / s0
}

// fitLocation ends the first pass.
func (t *tabler) fitLocation() {
	all := make([]float64, fineBins)
	for i := range all {
		all[i] = t.n[i] + t.empty[i]
	}
	nodes := t.spaced(func(i int) float64 { return all[i] }, tableNodes, false)
	if nodes == nil {
		nodes = []float64{t.lo}
	}
	for _, c := range nodes {
		t.t.Nodes = append(t.t.Nodes, float32(c))
	}
	t.t.Nodes = slices.Compact(t.t.Nodes)
	for _, c := range t.t.Nodes {
		t.t.Empty = append(t.t.Empty, float32(min(max(t.local(float64(c), all, t.empty, false, 1), 0), 1)))
		t.t.Mu = append(t.t.Mu, float32(t.local(float64(c), t.n, t.sum, false, 0)))
		t.t.SD = append(t.t.SD, 1)
	}
	rest := make([]float64, fineBins)
	for i := range rest {
		j, f := between(t.t.Nodes, t.centre(i))
		mu := lerp(t.t.Mu, j, f)
		rest[i] = max(0, t.sq[i]-2*mu*t.sum[i]+mu*mu*t.n[i])
	}
	for k, c := range t.t.Nodes {
		t.t.SD[k] = float32(math.Sqrt(max(t.local(float64(c), t.n, rest, true, 1), 1e-6)))
	}
	total := 0.0
	for _, n := range t.n {
		total += n
	}
	groups := min(16, max(1, int(total/400)))
	count := func(i int) float64 { return t.n[i] }
	for _, c := range t.spaced(count, groups, true) {
		t.t.QNodes = append(t.t.QNodes, float32(c))
	}
	t.t.QNodes = slices.Compact(t.t.QNodes)
	if len(t.t.QNodes) == 0 {
		t.t.QNodes = []float32{float32(t.lo)}
	}
	for i := 1; i < len(t.t.QNodes); i++ {
		t.edges = append(t.edges, float64(t.t.QNodes[i-1]+t.t.QNodes[i])/2)
	}
	t.hist = make([][]uint32, len(t.t.QNodes))
	for i := range t.hist {
		t.hist[i] = make([]uint32, histBins)
	}
}

// addShape takes a filled x in the second pass.
func (t *tabler) addShape(c, x float64) {
	i, f := between(t.t.Nodes, c)
	r := (x - lerp(t.t.Mu, i, f)) / lerp(t.t.SD, i, f)
	k := min(max(int((r+histEdge)*(histBins/(2*histEdge))), 0), histBins-1)
	t.hist[sort.SearchFloat64s(t.edges, c)][k]++
}

// table ends the second pass.
func (t *tabler) table() table {
	for _, h := range t.hist {
		t.t.Q = append(t.t.Q, quantiles(h))
	}
	return t.t
}

// quantiles reads the quantiles of a histogram at the grid. Where fewer than four entries lie beyond a point it goes on as a
// straight line; with too few entries it is a normal distribution.
func quantiles(h []uint32) []float32 {
	total := 0.0
	for _, n := range h {
		total += float64(n)
	}
	q := make([]float64, gridN)
	for k := range q {
		q[k] = -gridEdge + gridStep*float64(k)
	}
	if total >= 20 {
		lo, hi := -1, -1
		acc, bin := 0.0, 0
		for k := range q {
			p := normalCDF(q[k])
			if total*min(p, 1-p) < 4 {
				continue
			}
			if lo < 0 {
				lo = k
			}
			hi = k
			for bin < histBins-1 && acc+float64(h[bin]) < p*total {
				acc += float64(h[bin])
				bin++
			}
			q[k] = -histEdge + (float64(bin)+min(1, (p*total-acc)/max(1, float64(h[bin]))))*(2*histEdge/histBins)
		}
		span := max(1, min(18, hi-lo))
		if hi > lo {
			up := max(0.3, (q[hi]-q[hi-span])/(float64(span)*gridStep)) * gridStep
			down := max(0.3, (q[lo+span]-q[lo])/(float64(span)*gridStep)) * gridStep
			for k := hi + 1; k < gridN; k++ {
				q[k] = q[k-1] + up
			}
			for k := lo - 1; k >= 0; k-- {
				q[k] = q[k+1] - down
			}
		}
	}
	out := make([]float32, gridN)
	for k := range q {
		out[k] = float32(q[k])
		if k > 0 && out[k] < out[k-1]+1e-3 {
			out[k] = out[k-1] + 1e-3
		}
	}
	return out
}
