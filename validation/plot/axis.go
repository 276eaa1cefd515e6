package plot

import (
	"math"
	"strconv"
	"strings"
)

// Axis describes one side of a panel. With Min = Max the range comes from the layers.
type Axis struct {
	Title    string
	Min, Max float64
	Log      bool
	Integer  bool // ticks at whole numbers only
	Ticks    int  // about how many labelled divisions; default 5
	Centre   bool // title in the middle instead of at the end
	NoLabels bool // ticks without numbers

	// Names labels the middle of unit cells 0, 1, 2, … instead of numbers (the axis then has no ticks).
	Names []string
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// usable makes a range that can be drawn: finite, not empty, positive if logarithmic.
func (a Axis) usable() Axis {
	if !finite(a.Min) || !finite(a.Max) || math.Abs(a.Min) > 1e300 || math.Abs(a.Max) > 1e300 {
		a.Min, a.Max = 0, 1
	}
	if a.Max < a.Min {
		a.Min, a.Max = a.Max, a.Min
	}
	if a.Log {
		if a.Max <= 0 {
			a.Max = 1
		}
		if a.Min <= 0 {
			a.Min = a.Max / 1e4
		}
		a.Min, a.Max = max(a.Min, 1e-290), max(a.Max, 1e-290)
		if a.Max < a.Min*1.05 {
			a.Min, a.Max = a.Min/2, a.Max*2
		}
		return a
	}
	if a.Max-a.Min <= 1e-290 || a.Max-a.Min <= 1e-12*math.Max(math.Abs(a.Min), math.Abs(a.Max)) {
		d := math.Max(0.5, 0.05*math.Abs(a.Max))
		a.Min, a.Max = a.Min-d, a.Max+d
	}
	return a
}

// frac maps a value to 0…1 over the range. Values that a log axis can't hold go far below.
func (a Axis) frac(v float64) float64 {
	if a.Log {
		if v <= 0 {
			return -1e3
		}
		return math.Log(v/a.Min) / math.Log(a.Max/a.Min)
	}
	return (v - a.Min) / (a.Max - a.Min)
}

// at is the inverse of frac.
func (a Axis) at(f float64) float64 {
	if a.Log {
		return a.Min * math.Pow(a.Max/a.Min, f)
	}
	return a.Min + f*(a.Max-a.Min)
}

type tick struct {
	v     float64
	label string
	major bool
}

// ticks returns the ticks of the range and a power of ten that is taken out of the labels (0: none).
func (a Axis) ticks() ([]tick, int) {
	if len(a.Names) > 0 {
		return nil, 0
	}
	if a.Log {
		if t, ok := a.logTicks(); ok {
			return t, 0
		}
	}
	n := a.Ticks
	if n <= 0 {
		n = 5
	}
	raw := (a.Max - a.Min) / float64(n)
	mag := math.Pow(10, math.Floor(math.Log10(raw)))
	if mag == 0 || !finite(mag) {
		return nil, 0
	}
	step, sub := 10*mag, 5.0
	for _, c := range [...]struct{ m, sub float64 }{{1, 5}, {2, 4}, {2.5, 5}, {5, 5}} {
		if raw <= c.m*mag*1.0001 {
			step, sub = c.m*mag, c.sub
			break
		}
	}
	if a.Integer {
		if step <= 1 {
			step, sub = 1, 1
		} else {
			step = math.Ceil(step)
			if step/sub != math.Floor(step/sub) {
				sub = step
				if step > 10 {
					sub = 1
				}
			}
		}
	}
	power := 0
	if top := math.Max(math.Abs(a.Min), math.Abs(a.Max)); top >= 1e5 || top < 1e-3 {
		power = 3 * int(math.Floor(math.Log10(top)/3+1e-9))
	}
	unit := math.Pow(10, float64(power))
	prec := decimals(step / unit)
	var out []tick
	first := math.Ceil(a.Min/step*sub - 1e-6)
	for k := 0; k < 1000; k++ {
		i := first + float64(k)
		v := i * step / sub
		if v > a.Max+1e-6*step {
			break
		}
		t := tick{v: v}
		if math.Mod(i, sub) == 0 {
			t.label, t.major = number(v/unit, prec), true
		}
		out = append(out, t)
	}
	return out, power
}

// decimals is the number of digits after the point that a step of 1, 2, 2.5 or 5 × 10ⁿ needs.
func decimals(step float64) int {
	if step <= 0 || !finite(step) {
		return 0
	}
	for p := range 12 {
		s := step * math.Pow(10, float64(p))
		if math.Abs(s-math.Round(s)) < 1e-6*s {
			return p
		}
	}
	return 12
}

// number formats with a true minus sign and without "−0".
func number(v float64, prec int) string {
	s := strconv.FormatFloat(v, 'f', prec, 64)
	if strings.HasPrefix(s, "-") {
		if strings.Trim(s, "-0.") == "" {
			return s[1:]
		}
		return "−" + s[1:]
	}
	return s
}

// logTicks labels decades, and 2 and 5 times them where they are few; a range of less than about one decade is left to the linear finder.
func (a Axis) logTicks() ([]tick, bool) {
	lo, hi := math.Log10(a.Min), math.Log10(a.Max)
	if hi-lo < 0.9 {
		return nil, false
	}
	every := int(math.Ceil((hi - lo) / 7))
	few := hi-lo < 1.6 || math.Floor(hi+1e-9) <= math.Ceil(lo-1e-9)
	plain := few && a.Max < 1e4 && a.Min > 1e-3
	var out []tick
	for e := int(math.Floor(lo)); e <= int(math.Ceil(hi)); e++ {
		for m := 1; m < 10; m++ {
			v := float64(m) * math.Pow(10, float64(e))
			if v < a.Min*(1-1e-9) || v > a.Max*(1+1e-9) || m > 1 && hi-lo > 15 {
				continue
			}
			t := tick{v: v}
			switch named := m == 1 || few && (m == 2 || m == 5); {
			case named && plain:
				t.label = number(float64(m)*math.Pow(10, float64(e)), max(0, -e))
			case m == 1 && e%every == 0:
				t.label = power10(e)
			case named && m > 1:
				t.label = strconv.Itoa(m) + "×10^{" + number(float64(e), 0) + "}"
			}
			t.major = m == 1
			out = append(out, t)
		}
	}
	return out, true
}

func power10(e int) string {
	switch {
	case e >= 0 && e <= 1:
		return number(math.Pow(10, float64(e)), 0)
	case e == -1:
		return "0.1"
	}
	return "10^{" + number(float64(e), 0) + "}"
}
