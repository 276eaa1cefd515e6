package morph

import (
	"math"
	"slices"
	"sort"
)

// What a column's values must show before something is said of them. The limits are the smaller, the more rows there are.
const (
	leastAtom     = 0.004 // share of rows at the lowest value
	atomRows      = 5     // … and rows there at least
	atomOver      = 4     // … and so many times the rows at any other value
	sentinelRows  = 3
	sentinelApart = 1.5 // a sentinel lies so many widths of all other values away from them
	mantissaRows  = 20  // a bit that is never set in so many values is not stored
)

// sentinelValues are the numbers that stand for "there is none", as experiments write them.
var sentinelValues = []float64{-1, -9, -10, -99, -100, -111, -999, -1000, -9999, -10000, -99999, -999999, 99, 999, 9999, 99999, 1e10, -1e10,
	-math.MaxFloat32, math.MaxFloat32}

// columnLook is what the values of a column in one or two samples look like, before any declaration.
type columnLook struct {
	Rows      [2]int
	NotFinite [2]int
	Odd       Floats // of NaN, +Inf and -Inf those that are there
	Sentinels Floats // found
	Sentinel  [2]int // rows with one of them, or with a value that is declared one
	Atom      *float64
	AtomRows  [2]int
	Min, Max  float64 // of what is left: neither sentinel nor atom, finite
	Mantissa  int     // stored bits, 0: all
	Integer   bool
	Distinct  int
	Spike     float64 // share of the commonest value of what is left
	SpikeAt   float64
}

// constant says whether nothing is left that a morph could move.
func (l *columnLook) constant() bool { return l.Distinct < 2 }

// lookAt inspects a column in simulation and data; declared values count as sentinels or atom without a search.
func lookAt(cols [2][]float64, declared Floats, atomDeclared *float64) *columnLook {
	l := &columnLook{}
	var all []float64
	for d, c := range cols {
		l.Rows[d] = len(c)
		for _, v := range c {
			switch {
			case declared.holds(v):
				l.Sentinel[d]++
			case v-v != 0:
				l.NotFinite[d]++
				if !l.Odd.holds(v) {
					l.Odd = append(l.Odd, v)
				}
			default:
				all = append(all, v)
			}
		}
	}
	sort.Float64s(all)
	runs := runsOf(all)
	for len(runs) > 2 { // sentinels stand at the ends, apart from all else
		at := l.sentinel(runs)
		if at < 0 {
			break
		}
		l.Sentinels = append(l.Sentinels, runs[at].v)
		runs = slices.Delete(runs, at, at+1)
	}
	for d, c := range cols {
		for _, v := range c {
			if l.Sentinels.holds(v) {
				l.Sentinel[d]++
			}
		}
	}
	l.Atom = atomDeclared
	if l.Atom == nil && len(runs) > 1 && !wholeRuns(runs) {
		l.Atom = atomOf(runs)
	}
	if l.Atom != nil {
		a := *l.Atom
		runs = slices.DeleteFunc(runs, func(r valueRun) bool { return r.v == a })
		for d, c := range cols {
			for _, v := range c {
				if v == a {
					l.AtomRows[d]++
				}
			}
		}
	}
	l.Distinct = len(runs)
	if l.Distinct == 0 {
		return l
	}
	l.Min, l.Max = runs[0].v, runs[len(runs)-1].v
	values, total := make([]float64, len(runs)), 0
	for i, r := range runs {
		values[i] = r.v
		total += r.n
	}
	for _, r := range runs {
		if s := float64(r.n) / float64(total); s > l.Spike {
			l.Spike, l.SpikeAt = s, r.v
		}
	}
	l.Integer = l.Distinct > 2 && wholeRuns(runs)
	if total >= mantissaRows {
		l.Mantissa = detectMantissa(values)
	}
	return l
}

// valueRun is a value and how many rows have it.
type valueRun struct {
	v float64
	n int
}

func runsOf(sorted []float64) []valueRun {
	var out []valueRun
	for _, v := range sorted {
		if k := len(out); k > 0 && out[k-1].v == v {
			out[k-1].n++
			continue
		}
		out = append(out, valueRun{v, 1})
	}
	return out
}

func wholeRuns(runs []valueRun) bool {
	for _, r := range runs {
		if r.v != math.Trunc(r.v) {
			return false
		}
	}
	return true
}

// sentinel returns the end of the runs that is one, or -1. A value of -1 is one only below values that are not negative.
func (l *columnLook) sentinel(runs []valueRun) int {
	if wholeRuns(runs) && runs[len(runs)-1].v-runs[0].v < 90 {
		return -1 // small whole numbers, an index or a count, may have any value
	}
	for _, low := range []bool{true, false} {
		at, next, far := 0, 1, len(runs)-1
		if !low {
			at, next, far = len(runs)-1, len(runs)-2, 0
		}
		v := runs[at].v
		if !slices.Contains(sentinelValues, v) || runs[at].n < sentinelRows {
			continue
		}
		width := math.Abs(runs[far].v - runs[next].v)
		apart := math.Abs(v - runs[next].v)
		if math.Abs(v) < 90 && (runs[next].v < 0 || v > 0) {
			continue
		}
		if math.Abs(v) < 90 && apart > 0.5*math.Abs(v) || apart > sentinelApart*width {
			return at
		}
	}
	return -1
}

// atomOf returns the lowest value if it holds far more rows than any other, else nil.
func atomOf(runs []valueRun) *float64 {
	total, other := 0, 0
	for i, r := range runs {
		total += r.n
		if i > 0 {
			other = max(other, r.n)
		}
	}
	n := runs[0].n
	if n < atomRows || float64(n) < leastAtom*float64(total) || n < atomOver*other {
		return nil
	}
	v := runs[0].v
	return &v
}
