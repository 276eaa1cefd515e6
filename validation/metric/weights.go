package metric

import (
	"fmt"
	"math"

	"hepmorph/internal/par"
)

const chunk = 1 << 14 // rows of one fixed chunk

func weight(w []float64, i int) float64 {
	if w == nil {
		return 1
	}
	return w[i]
}

// NEff is the number of equally weighted events that would be as precise: (Σw)²/Σw². Negative weights lower it.
func NEff(w []float64) float64 {
	var s, q float64
	for _, v := range w {
		s += v
		q += v * v
	}
	if q == 0 {
		return 0
	}
	return s * s / q
}

func nEff(n int, w []float64) float64 {
	if w == nil {
		return float64(n)
	}
	return NEff(w)
}

func total(n int, w []float64) float64 {
	if w == nil {
		return float64(n)
	}
	s := 0.0
	for _, v := range w {
		s += v
	}
	return s
}

// meanSD returns weighted mean and standard deviation of the values that are not NaN.
func meanSD(x, w []float64) (mean, sd float64) {
	var sw, sx float64
	for i, v := range x {
		if v == v {
			sw += weight(w, i)
			sx += weight(w, i) * v
		}
	}
	mean = sx / sw
	s := 0.0
	for i, v := range x {
		if v == v {
			s += weight(w, i) * (v - mean) * (v - mean)
		}
	}
	return mean, math.Sqrt(s / sw)
}

// Moment is mean and width of a column in a window, each with its statistical error.
type Moment struct {
	Mean, MeanErr float64
	Width, WidErr float64 // standard deviation inside the window
	N             float64 // effective number of events in the window
	Fraction      float64 // share of the sample's weight in the window
}

// Moments returns mean and width of x in [lo, hi), e.g. of a mass between 115 and 135 GeV, in the unit of x.
func Moments(x, w []float64, lo, hi float64) Moment {
	var sw, sx, sq, all float64
	for i, v := range x {
		wi := weight(w, i)
		all += wi
		if v >= lo && v < hi {
			sw += wi
			sq += wi * wi
			sx += wi * v
		}
	}
	m := Moment{Mean: sx / sw, Fraction: sw / all}
	if sq > 0 {
		m.N = sw * sw / sq
	}
	var s2, em, es float64
	for i, v := range x {
		if v >= lo && v < hi {
			s2 += weight(w, i) * (v - m.Mean) * (v - m.Mean)
		}
	}
	s2 /= sw
	m.Width = math.Sqrt(s2)
	for i, v := range x {
		if v >= lo && v < hi {
			wi := weight(w, i)
			d := (v - m.Mean) * (v - m.Mean)
			em += wi * wi * d
			es += wi * wi * (d - s2) * (d - s2)
		}
	}
	m.MeanErr = math.Sqrt(em) / math.Abs(sw)
	m.WidErr = math.Sqrt(es) / (2 * m.Width * math.Abs(sw))
	return m
}

// checkTable looks at the shape of a sample: columns of one length, as many weights, finite weights of non-zero sum.
func checkTable(verb, name string, x [][]float64, w []float64) (n int, err error) {
	if len(x) == 0 {
		return 0, fmt.Errorf("metric: could not %s: %s has no columns", verb, name)
	}
	n = len(x[0])
	for j, c := range x {
		if len(c) != n {
			return 0, fmt.Errorf("metric: could not %s: %s: column %d has %d rows, column 0 has %d", verb, name, j, len(c), n)
		}
	}
	if n == 0 {
		return 0, fmt.Errorf("metric: could not %s: %s has no rows", verb, name)
	}
	if w == nil {
		return n, nil
	}
	if len(w) != n {
		return 0, fmt.Errorf("metric: could not %s: %s has %d weights for %d rows", verb, name, len(w), n)
	}
	s := 0.0
	for i, v := range w {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return 0, fmt.Errorf("metric: could not %s: %s: weight of row %d is %g", verb, name, i, v)
		}
		s += v
	}
	if s == 0 {
		return 0, fmt.Errorf("metric: could not %s: %s: the weights add up to 0", verb, name)
	}
	return n, nil
}

func checkPair(verb string, x [][]float64, wx []float64, y [][]float64, wy []float64) error {
	if _, err := checkTable(verb, "the first sample", x, wx); err != nil {
		return err
	}
	if _, err := checkTable(verb, "the second sample", y, wy); err != nil {
		return err
	}
	if len(x) != len(y) {
		return fmt.Errorf("metric: could not %s: %d columns against %d", verb, len(x), len(y))
	}
	return nil
}

// sumRows adds f over fixed chunks of rows in order.
func sumRows(threads, n int, f func(lo, hi int) float64) float64 {
	return par.Sum(threads, n, chunk, f)
}
