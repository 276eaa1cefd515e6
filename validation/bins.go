package validation

import (
	"math"
	"sort"

	"hepmorph/validation/metric"
)

// binning of a variable's histograms, found from data.
type binning struct {
	edges []float64
	log   bool
	logY  bool
	whole bool   // whole numbers
	note  string // "leftmost bin: x = 0 (31 % of data)"
	atom  bool   // the first bin holds exactly the value atomAt
	at    float64
}

// atomShare is the smallest share of events at one value that makes it an atom.
const atomShare = 0.02

// newBinning chooses ranges from weighted quantiles of data, whole-numbered bins for whole numbers, bins in step with the grid of
// truncated floats, and a bin of its own for an atom at the lower end.
func newBinning(v Variable, c *metric.Column) binning {
	b := binning{log: v.Log, logY: v.LogY}
	n := v.Bins
	if n <= 0 {
		n = 40
		if v.Kind == Observable {
			n = 60
		}
	}
	n = min(n, 1000)
	lo, hi, given := v.Lo, v.Hi, v.Hi > v.Lo
	q := c.Quantiles(0.001, 0.05, 0.95, 0.999)
	if !given {
		lo, hi = q[0], q[3]
	}
	if v.Integer || whole(c) {
		b.whole = true
		if !given && len(c.V) <= 200 {
			lo, hi = max(lo, c.V[0]), min(hi, c.V[len(c.V)-1])
		}
		lo, hi = math.Floor(lo), math.Ceil(hi)
		step := math.Max(1, math.Ceil((hi-lo+1)/math.Max(float64(n), 60)))
		for e := lo - 0.5; ; e += step {
			b.edges = append(b.edges, e)
			if e >= hi+0.5 || len(b.edges) > 2000 {
				break
			}
		}
		b.log = false
		return b
	}
	atom, share, found := lowestAtom(v, c, lo, hi)
	if found && !given {
		lo = atom
	}
	if b.log && lo <= 0 {
		if i := sort.Search(len(c.V), func(i int) bool { return c.V[i] > 0 }); i < len(c.V) && hi > c.V[i] {
			lo = math.Max(c.V[i], hi*1e-6)
		} else {
			b.log = false
		}
	}
	switch {
	case hi <= lo:
		d := math.Max(0.5, 0.05*math.Abs(lo))
		b.edges, b.log = uniform(lo-d, lo+d, 10), false
		return b
	case b.log:
		b.edges = uniform(math.Log(lo), math.Log(hi), n)
		for i := range b.edges {
			b.edges[i] = math.Exp(b.edges[i])
		}
		b.edges[0], b.edges[n] = lo, hi
	case given:
		b.edges = uniform(lo, hi, n)
	default:
		if g := grid(c, q[1], q[2]); g > 0 && (hi-lo)/g > 25 && (hi-lo)/g < 20*float64(n) {
			w := g * math.Ceil((hi-lo)/float64(n)/g)
			first := math.Floor(lo/g)*g - g/2
			for k := 0; k <= 2*n; k++ {
				e := first + float64(k)*w
				b.edges = append(b.edges, e)
				if e > hi {
					break
				}
			}
		} else {
			lo, hi = round(lo, hi)
			b.edges = uniform(lo, hi, n)
		}
	}
	if found && atom >= b.edges[0] && atom <= b.edges[1] && !b.log {
		// the atom gets a bin to the left of the others: it would tower over the one that it falls into
		w := b.edges[1] - b.edges[0]
		edges := []float64{atom - w, math.Nextafter(atom, math.Inf(1))}
		for k := 1; edges[len(edges)-1] < b.edges[len(b.edges)-1]; k++ {
			edges = append(edges, atom+float64(k)*w)
		}
		b.edges, b.atom, b.at = edges, true, atom
		b.note = "leftmost bin: exactly " + short(atom) + ", " + percent(share) + " of data"
	}
	return b
}

func uniform(lo, hi float64, n int) []float64 {
	e := make([]float64, n+1)
	for i := range e {
		e[i] = lo + (hi-lo)*float64(i)/float64(n)
	}
	e[n] = hi
	return e
}

// round widens a range to ends with two digits relative to its width.
func round(lo, hi float64) (float64, float64) {
	step := math.Pow(10, math.Floor(math.Log10(hi-lo))-1)
	a, b := math.Floor(lo/step+1e-9)*step, math.Ceil(hi/step-1e-9)*step
	if !finite(a) || !finite(b) || b <= a {
		return lo, hi
	}
	return a, b
}

// whole says whether all values are whole numbers, and few enough to be counts.
func whole(c *metric.Column) bool {
	if c.V[len(c.V)-1]-c.V[0] > 1e4 {
		return false
	}
	for _, v := range c.V {
		if v != math.Trunc(v) {
			return false
		}
	}
	return true
}

// lowestAtom finds the declared or most frequent value that is also the lowest in range.
func lowestAtom(v Variable, c *metric.Column, lo, hi float64) (at, share float64, ok bool) {
	i := sort.SearchFloat64s(c.V, lo)
	if i >= len(c.V)-1 {
		return 0, 0, false
	}
	at, share = c.V[i], c.W[i]/c.Sum
	for _, a := range v.Atoms {
		if k := sort.SearchFloat64s(c.V, a); k < len(c.V)-1 && c.V[k] == a && a <= at {
			return a, c.W[k] / c.Sum, true
		}
	}
	// the next distinct values must be far rarer, else it is a coarse grid
	next := c.W[i+1] / c.Sum
	return at, share, share > atomShare && share > 10*next
}

// grid is the largest step between neighbouring values of a truncated float between two quantiles, 0 if values are dense.
func grid(c *metric.Column, lo, hi float64) float64 {
	i, j := sort.SearchFloat64s(c.V, lo), sort.SearchFloat64s(c.V, hi)
	if j-i < 10 || float64(len(c.V)) > 0.2*c.N {
		return 0
	}
	var gaps []float64
	for k := i + 1; k <= j && k < len(c.V); k++ {
		gaps = append(gaps, c.V[k]-c.V[k-1])
	}
	sort.Float64s(gaps)
	g := gaps[len(gaps)*95/100]
	if m := math.Exp2(math.Round(math.Log2(g))); math.Abs(g-m) < 1e-3*m {
		return m
	}
	return 0
}

// hist is a weighted histogram with underflow and overflow in cells 0 and n+1.
type hist struct {
	n, q    []float64 // contents, sums of squared weights
	entries int64
	bad     int64 // not finite
}

func fill(b binning, x, w []float64) hist {
	e := b.edges
	m := len(e) - 1
	h := hist{n: make([]float64, m+2), q: make([]float64, m+2)}
	lo, hi, inv := e[0], e[m], 0.0
	even := true
	width := (hi - lo) / float64(m)
	for i, v := range e {
		even = even && math.Abs(v-(lo+width*float64(i))) < 1e-9*width
	}
	if even {
		inv = 1 / width
	}
	for i, v := range x {
		if !finite(v) {
			h.bad++
			continue
		}
		k := 0
		switch {
		case v < lo:
		case v > hi:
			k = m + 1
		case even:
			k = min(m, int((v-lo)*inv)+1)
			// rounding: hold the bin to its edges
			if v < e[k-1] {
				k--
			} else if k < m && v >= e[k] {
				k++
			}
		default:
			k = min(m, sort.Search(len(e), func(j int) bool { return e[j] > v }))
		}
		h.n[k] += w[i]
		h.q[k] += w[i] * w[i]
		h.entries++
	}
	return h
}

func (h hist) sum() float64 {
	s := 0.0
	for _, v := range h.n {
		s += v
	}
	return s
}

func (h hist) scale(k float64) hist {
	o := hist{n: make([]float64, len(h.n)), q: make([]float64, len(h.q)), entries: h.entries, bad: h.bad}
	for i := range h.n {
		o.n[i], o.q[i] = k*h.n[i], k*k*h.q[i]
	}
	return o
}

// inner returns contents and errors without underflow and overflow.
func (h hist) inner() (n, e []float64) {
	m := len(h.n) - 2
	n, e = h.n[1:m+1], make([]float64, m)
	for i := range e {
		e[i] = math.Sqrt(h.q[i+1])
	}
	return n, e
}

// outside is the share of contents beyond the range.
func (h hist) outside() float64 {
	s := h.sum()
	if s == 0 {
		return 0
	}
	return (h.n[0] + h.n[len(h.n)-1]) / s
}

// counts says whether the contents are numbers of unweighted events.
func (h hist) counts() bool {
	for i := range h.n {
		if h.n[i] != h.q[i] {
			return false
		}
	}
	return true
}
