package plot

import (
	"image/color"
	"math"
	"sort"
	"strconv"
)

// Role decides how a curve looks.
type Role uint8

// The roles of a validation: simulation before the correction, simulation after it, and a sample with the right answer.
const (
	Simulation Role = iota + 1
	Morphed
	Reference
)

// look is the appearance of a role: line, tint of its band, marker in the ratio.
func (r Role) look(i int) (c, tinted color.RGBA, dash []float64, m Marker, radius float64) {
	switch r {
	case Simulation:
		return Red, RedTint, Dash, Square, 2.2
	case Morphed:
		return Blue, BlueTint, nil, Circle, 2.8
	case Reference:
		return Green, GreenTint, DashDot, Triangle, 2.8
	}
	c = Palette(i)
	return c, tint(c, 0.3), nil, Diamond, 2.4
}

// Curve is a predicted histogram with the statistical errors of its bins.
type Curve struct {
	Label  string
	Role   Role
	Y, Err []float64
}

// Part is one of the histograms whose sum is a prediction; parts are stacked in their order, the first at the bottom.
type Part struct {
	Label string
	Y     []float64
}

// Ratio is a histogram of data and predictions above the ratio of data to each prediction.
type Ratio struct {
	Style   Style
	X       Axis // Title with the unit in brackets: "m_{γγ} [GeV]"; the range defaults to the edges
	Unit    string
	YTitle  string // default: "Events / bin width unit", or "dN/dx" if the widths differ
	Edges   []float64
	Data    []float64 // contents; NaN: not shown (blinded)
	DataLo  []float64 // errors below and above; see [Poisson]
	DataHi  []float64
	Label   string // of the data; default "Data"
	Curves  []Curve
	Stack   []Part
	Notes   []string // selection, normalisation, entries outside: below experiment and status
	LogY    bool
	Blind   [2]float64 // grey, without data points; none if equal
	NoRatio bool
	Free    bool   // the upper axis need not start at 0
	Ratio   string // title of the lower panel; default "Data / MC"
	Alt     string
}

// ratioRanges are the half widths that a ratio panel may have.
var ratioRanges = []float64{0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 1}

// Figure lays the ratio plot out.
func (r Ratio) Figure() *Figure {
	n := len(r.Edges) - 1
	x := r.X
	if x.Min == x.Max && n > 0 {
		x.Min, x.Max = r.Edges[0], r.Edges[n]
	}
	scale, title := r.yTitle()
	div := func(v []float64) []float64 {
		if scale == nil || v == nil {
			return v
		}
		o := make([]float64, min(len(v), len(scale)))
		for i := range o {
			o[i] = v[i] / scale[i]
		}
		return o
	}
	blind := r.Blind[1] > r.Blind[0]
	hidden := func(i int) bool { return blind && r.Edges[i] < r.Blind[1] && r.Edges[i+1] > r.Blind[0] }
	mid := make([]float64, max(n, 0))
	seen := make([]float64, len(mid))
	for i := range mid {
		mid[i], seen[i] = (r.Edges[i]+r.Edges[i+1])/2, math.NaN()
		if x.Log && r.Edges[i] > 0 {
			mid[i] = math.Sqrt(r.Edges[i] * r.Edges[i+1])
		}
		if i < len(r.Data) && !hidden(i) && r.Data[i] != 0 {
			seen[i] = r.Data[i]
		}
	}
	top := Panel{X: x, Y: Axis{Title: title, Log: r.LogY}, Share: 0.72, Legend: true, Head: 1.45, ZeroLine: !r.Free}
	bottom := Panel{X: x, Y: Axis{Title: r.Ratio, Ticks: 4, Centre: true}, Share: 0.28}
	if r.Ratio == "" {
		bottom.Y.Title = "Data / MC"
	}
	if blind {
		grey := Region{Lo: r.Blind[0], Hi: r.Blind[1], Color: LightGrey, Label: "Blinded"}
		top.Layers = append(top.Layers, grey)
		grey.Label = ""
		bottom.Layers = append(bottom.Layers, grey)
	}
	var base []float64
	for i, p := range r.Stack {
		c := Palette(i)
		sum := make([]float64, len(p.Y))
		for k, y := range div(p.Y) {
			sum[k] = y
			if base != nil && k < len(base) {
				sum[k] += base[k]
			}
		}
		top.Layers = append(top.Layers, Steps{Edges: r.Edges, Y: sum, Base: base, Color: Black, Width: 0.5, Fill: &c, Label: p.Label})
		base = sum
	}
	// bands first, then lines: a band never hides a curve. The morphed curve has the band; without one the last curve has it.
	banded := len(r.Curves) - 1
	for i, c := range r.Curves {
		if c.Role == Morphed {
			banded = i
		}
	}
	for i, c := range r.Curves {
		if i != banded || len(c.Err) < len(c.Y) {
			continue
		}
		_, tinted, _, _, _ := c.Role.look(i)
		y, e := div(c.Y), div(c.Err)
		lo, hi, rlo, rhi := make([]float64, len(y)), make([]float64, len(y)), make([]float64, len(y)), make([]float64, len(y))
		for k := range y {
			lo[k], hi[k] = y[k]-e[k], y[k]+e[k]
			rlo[k], rhi[k] = 1-e[k]/y[k], 1+e[k]/y[k]
			if !(y[k] > 0) {
				rlo[k], rhi[k] = math.NaN(), math.NaN()
			}
		}
		band := Band{Edges: r.Edges, Lo: lo, Hi: hi, Color: tinted}
		if len(r.Stack) > 0 { // the stack must stay visible
			band.Color, band.Hatch, band.Label = DarkGrey, true, "Stat. uncertainty"
		}
		top.Layers = append(top.Layers, band)
		bottom.Layers = append(bottom.Layers, Band{Edges: r.Edges, Lo: rlo, Hi: rhi, Color: Grey})
	}
	bottom.Layers = append(bottom.Layers, Level{At: 1, Color: Black})
	var best, other []float64 // distances from 1 beyond the error: of the banded curve, of the others
	for i, c := range r.Curves {
		col, tinted, dash, m, radius := c.Role.look(i)
		s := Steps{Edges: r.Edges, Y: div(c.Y), Color: col, Dash: dash, Label: c.Label}
		if i == banded && len(c.Err) >= len(c.Y) && len(r.Stack) == 0 {
			s.Band = &tinted
		}
		top.Layers = append(top.Layers, s)
		p := Points{X: mid, Color: col, Marker: m, Radius: radius}
		for k := range mid {
			y, lo, hi := math.NaN(), 0.0, 0.0
			if k < len(c.Y) && c.Y[k] > 0 {
				y = seen[k] / c.Y[k]
				if k < len(r.DataLo) && k < len(r.DataHi) {
					lo, hi = r.DataLo[k]/c.Y[k], r.DataHi[k]/c.Y[k]
				}
			}
			if d := max(0, math.Abs(y-1)-max(lo, hi)); finite(d) {
				if i == banded {
					best = append(best, d)
				} else {
					other = append(other, d)
				}
			}
			p.Y, p.Lo, p.Hi = append(p.Y, y), append(p.Lo, lo), append(p.Hi, hi)
		}
		bottom.Layers = append(bottom.Layers, p)
	}
	label := r.Label
	if label == "" {
		label = "Data"
	}
	if r.Data != nil {
		lo, hi := div(r.DataLo), div(r.DataHi)
		if lo == nil {
			lo, hi = make([]float64, n), make([]float64, n)
		}
		top.Layers = append(top.Layers, Points{X: mid, Y: div(seen), Lo: lo, Hi: hi, Color: Black, Marker: Circle, Label: label})
	}
	half := max(ratioRange(best, 0.1, 1), ratioRange(other, 0.1, 0.4))
	bottom.Y.Min, bottom.Y.Max = 1-half, 1+half
	f := &Figure{Style: r.Style, Label: true, Notes: r.Notes, Alt: r.Alt}
	f.Columns = [][]Panel{{top, bottom}}
	if r.NoRatio || r.Data == nil || len(r.Curves) == 0 {
		f.Columns = [][]Panel{{top}}
	}
	return f
}

// ratioRange is the smallest range within lo and hi that holds nine of ten points. The morphed curve's must fit; an uncorrected one that
// is far off leaves arrows, so that the closure can still be read.
func ratioRange(dev []float64, lo, hi float64) float64 {
	if len(dev) == 0 {
		return lo
	}
	s := append([]float64(nil), dev...)
	sort.Float64s(s)
	q := s[min(len(s)-1, len(s)*9/10)]
	for _, h := range ratioRanges {
		if h >= lo && (q <= h || h >= hi) {
			return h
		}
	}
	return hi
}

// yTitle is the title of the upper axis; for bins of different width also their widths, by which contents are divided.
func (r Ratio) yTitle() ([]float64, string) {
	n := len(r.Edges) - 1
	if n < 1 {
		return nil, r.YTitle
	}
	w := (r.Edges[n] - r.Edges[0]) / float64(n)
	unit := ""
	if r.Unit != "" {
		unit = " " + r.Unit
	}
	for i := range n {
		if !(math.Abs(r.Edges[i+1]-r.Edges[i]-w) < 1e-6*w) {
			if r.YTitle != "" {
				return nil, r.YTitle
			}
			widths := make([]float64, n)
			for k := range widths {
				widths[k] = r.Edges[k+1] - r.Edges[k]
			}
			if r.Unit != "" {
				return widths, "dN/dx [1/" + r.Unit + "]"
			}
			return widths, "dN/dx"
		}
	}
	if r.YTitle != "" {
		return nil, r.YTitle
	}
	return nil, "Events / " + short(w) + unit
}

// short writes a bin width with three digits at most.
func short(v float64) string {
	e := 0
	if v > 0 {
		e = int(math.Floor(math.Log10(v)))
	}
	if e >= 5 || e < -4 {
		m := v / math.Pow(10, float64(e))
		return strconv.FormatFloat(m, 'g', 3, 64) + "×10^{" + number(float64(e), 0) + "}"
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}
