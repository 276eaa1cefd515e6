package plot

import (
	"math"
	"sort"
)

// Matrix is a correlation matrix, or the difference of two, in colours fixed to ±Range with 100 × the value in every cell
// (up to 20 variables).
type Matrix struct {
	Title  string // "Linear correlation × 100, data"
	Labels []string
	Values []float64 // row-major, len(Labels)²
	Range  float64   // default 1
	Notes  string    // below the matrix: "largest |Δρ| 0.012, floor 0.010"
	Alt    string
}

// Figure lays the matrix out.
func (m Matrix) Figure() *Figure {
	n := len(m.Labels)
	e := make([]float64, n+1)
	for i := range e {
		e[i] = float64(i) - 0.5
	}
	r := m.Range
	if !(r > 0) {
		r = 1
	}
	h := Heat{XEdges: e, YEdges: e, Z: m.Values, Min: -r, Max: r, Diverging: true, Numbers: n <= 20}
	p := Panel{X: Axis{Names: m.Labels}, Y: Axis{Names: m.Labels}, Layers: []Layer{h}, Scale: &Scale{Of: h}}
	return &Figure{Width: 16, Height: 14, Title: m.Title, Foot: m.Notes, Alt: m.Alt, Columns: [][]Panel{{p}}}
}

// Spread is the median of a quantity with its 16 % and 84 % quantiles in every bin, and the statistical error of the median.
type Spread struct {
	Label            string
	Role             Role // 0: data
	Median, Err      []float64
	Lower, Upper     []float64 // quantiles
	LowerErr, UppErr []float64 // unused by the figure if nil
}

// Profile shows medians (points) and 16 to 84 % quantiles (lines) of one quantity in bins of another, and below the medians' distance
// from the data's in units of the data's half width of 68 %.
type Profile struct {
	Style  Style
	X      Axis
	YTitle string
	Edges  []float64
	Data   Spread
	Curves []Spread
	Notes  []string
	Alt    string
}

// Figure lays the profile out.
func (p Profile) Figure() *Figure {
	n := len(p.Edges) - 1
	x := p.X
	if x.Min == x.Max && n > 0 {
		x.Min, x.Max = p.Edges[0], p.Edges[n]
	}
	mid := make([]float64, max(0, n))
	for i := range mid {
		mid[i] = (p.Edges[i] + p.Edges[i+1]) / 2
		if x.Log && p.Edges[i] > 0 {
			mid[i] = math.Sqrt(p.Edges[i] * p.Edges[i+1])
		}
	}
	top := Panel{X: x, Y: Axis{Title: p.YTitle}, Share: 0.7, Legend: true, Head: 1.4}
	top.Layers = append(top.Layers, Band{Edges: p.Edges, Lo: p.Data.Lower, Hi: p.Data.Upper, Color: GreyTint, Label: "Data, 16 to 84 %"})
	bottom := Panel{X: x, Y: Axis{Title: "Δ / σ_{68}", Ticks: 4, Centre: true}, Share: 0.3}
	var band Band
	for i := range mid {
		s := width68(p.Data, i)
		band.Lo, band.Hi = append(band.Lo, -at(p.Data.Err, i)/s), append(band.Hi, at(p.Data.Err, i)/s)
	}
	band.Edges, band.Color = p.Edges, Grey
	bottom.Layers = append(bottom.Layers, band, Level{At: 0, Color: Black})
	var devs []float64
	for k, c := range p.Curves {
		col, _, dash, m, radius := c.Role.look(k)
		for _, q := range [][]float64{c.Lower, c.Upper} {
			top.Layers = append(top.Layers, levels(p.Edges, q, col, dash)...)
		}
		top.Layers = append(top.Layers, Points{X: mid, Y: c.Median, Lo: c.Err, Hi: c.Err, Edges: p.Edges, Color: col, Marker: m, Radius: radius, Label: c.Label})
		d := Points{X: mid, Color: col, Marker: m, Radius: radius}
		for i := range mid {
			s := width68(p.Data, i)
			v := (at(c.Median, i) - at(p.Data.Median, i)) / s
			d.Y, d.Lo, d.Hi = append(d.Y, v), append(d.Lo, at(c.Err, i)/s), append(d.Hi, at(c.Err, i)/s)
			if finite(v) {
				devs = append(devs, math.Abs(v))
			}
		}
		bottom.Layers = append(bottom.Layers, d)
	}
	top.Layers = append(top.Layers, Points{X: mid, Y: p.Data.Median, Lo: p.Data.Err, Hi: p.Data.Err, Edges: p.Edges, Color: Black, Marker: Circle, Label: "Data, median"})
	r := 0.1
	sort.Float64s(devs)
	if len(devs) > 0 {
		q := devs[min(len(devs)-1, len(devs)*9/10)]
		for _, r = range []float64{0.02, 0.05, 0.1, 0.2, 0.5, 1, 2} {
			if q <= 0.9*r {
				break
			}
		}
	}
	bottom.Y.Min, bottom.Y.Max = -r, r
	return &Figure{Style: p.Style, Label: true, Notes: p.Notes, Alt: p.Alt, Columns: [][]Panel{{top, bottom}}}
}

func at(v []float64, i int) float64 {
	if i < len(v) {
		return v[i]
	}
	return math.NaN()
}

func width68(s Spread, i int) float64 {
	if w := (at(s.Upper, i) - at(s.Lower, i)) / 2; w > 0 {
		return w
	}
	return math.NaN()
}

// levels are short lines across the bins.
func levels(edges, y []float64, c rgba, dash []float64) []Layer {
	l := Line{Color: c, Dash: dash, Width: 1.2}
	for i := range min(len(y), len(edges)-1) {
		l.X = append(l.X, edges[i], edges[i+1], math.NaN())
		l.Y = append(l.Y, y[i], y[i], math.NaN())
	}
	return []Layer{l}
}

// Trace is a quantity over the steps of a training.
type Trace struct {
	Label string
	X, Y  []float64
	Dash  bool
}

// History shows a training: losses on top, then a panel for each constraint with its bound, then the multipliers.
type History struct {
	Style       Style
	XTitle      string // default "Step"
	Losses      []Trace
	Constraints []ConstraintTrace
	Multipliers []Trace
	Best        float64 // step of the stored model; 0: not drawn
	Alt         string
}

// ConstraintTrace is a constrained quantity and the bounds that it should keep; NaN: no bound on that side.
type ConstraintTrace struct {
	Trace
	Unit     string
	Min, Max float64
}

// Figure lays the history out; its height grows with the number of constraints.
func (h History) Figure() *Figure {
	x := Axis{Title: h.XTitle}
	if x.Title == "" {
		x.Title = "Step"
	}
	mark := func(p Panel) Panel {
		if h.Best > 0 {
			p.Layers = append([]Layer{Level{At: h.Best, Vertical: true, Color: DarkGrey, Dash: Dot}}, p.Layers...)
		}
		return p
	}
	curves := func(ts []Trace, first int) []Layer {
		var out []Layer
		for i, t := range ts {
			l := Line{X: t.X, Y: t.Y, Color: historyColor(first + i), Label: t.Label}
			if t.Dash {
				l.Dash = Dash
			}
			out = append(out, l)
		}
		return out
	}
	var col []Panel
	if len(h.Losses) > 0 {
		col = append(col, mark(Panel{X: x, Y: Axis{Title: "Loss"}, Share: 1.6, Legend: true, Layers: curves(h.Losses, 0)}))
	}
	for i, c := range h.Constraints {
		title := c.Label
		if c.Unit != "" {
			title += " [" + c.Unit + "]"
		}
		p := Panel{X: x, Y: Axis{Title: title, Centre: true, Ticks: 4}}
		p.Layers = append(p.Layers, Line{X: c.X, Y: c.Y, Color: historyColor(i)})
		var lo, hi float64 = math.Inf(1), math.Inf(-1)
		for _, b := range []float64{c.Min, c.Max} {
			if finite(b) {
				p.Layers = append(p.Layers, Level{At: b, Color: Red, Dash: Dash, Width: 1.2})
				lo, hi = min(lo, b), max(hi, b)
			}
		}
		for _, y := range c.Y {
			if finite(y) {
				lo, hi = min(lo, y), max(hi, y)
			}
		}
		if hi > lo {
			p.Y.Min, p.Y.Max = lo-0.1*(hi-lo), hi+0.12*(hi-lo)
		}
		col = append(col, mark(p))
	}
	if len(h.Multipliers) > 0 {
		col = append(col, mark(Panel{X: x, Y: Axis{Title: "Multiplier λ", Centre: true, Ticks: 4}, Share: 1.2, Legend: true, Layers: curves(h.Multipliers, 0)}))
	}
	height := 16.0
	if n := len(col); n > 3 {
		height += 3.2 * float64(n-3)
	}
	f := &Figure{Style: h.Style, Height: min(height, 60), Alt: h.Alt}
	if len(col) > 0 {
		f.Columns = [][]Panel{col}
	}
	return f
}

func historyColor(i int) rgba {
	switch i {
	case 0:
		return Black
	case 1:
		return Blue
	case 2:
		return Red
	}
	return Palette(i - 3)
}

// Operating is a receiver operating characteristic: false against true positive rates.
type Operating struct {
	Label    string // with the area: "before, AUC 0.650"
	Role     Role
	FPR, TPR []float64
}

// ROC shows operating characteristics with the diagonal of a classifier that sees no difference.
type ROC struct {
	Style  Style
	Curves []Operating
	Notes  []string
	Alt    string
}

// Figure lays the curves out.
func (r ROC) Figure() *Figure {
	p := Panel{X: Axis{Title: "False positive rate", Min: 0, Max: 1}, Y: Axis{Title: "True positive rate", Min: 0, Max: 1.0}, Legend: true, Corner: BottomRight}
	p.Layers = append(p.Layers, Line{X: []float64{0, 1}, Y: []float64{0, 1}, Color: DarkGrey, Dash: Dot, Width: 1.2, Label: "no difference"})
	for i, c := range r.Curves {
		col, _, dash, _, _ := c.Role.look(i)
		p.Layers = append(p.Layers, Line{X: c.FPR, Y: c.TPR, Color: col, Dash: dash, Label: c.Label})
	}
	return &Figure{Style: r.Style, Label: true, Notes: r.Notes, Alt: r.Alt, Columns: [][]Panel{{p}}}
}

// Pulls shows (data − prediction)/σ in every bin as bars, with bands of one and two standard deviations.
type Pulls struct {
	Style  Style
	X      Axis
	YTitle string // default "(Data − morphed) / σ"
	Edges  []float64
	Y      []float64
	Notes  []string // "χ^{2}/ndf = 48.2/49, p = 0.51"
	Alt    string
}

// Figure lays the pulls out.
func (p Pulls) Figure() *Figure {
	top := 4.0
	for _, v := range p.Y {
		if finite(v) && math.Abs(v) > top {
			top = math.Min(math.Abs(v), 20)
		}
	}
	y := Axis{Title: p.YTitle, Min: -1.1 * top, Max: 1.8 * top}
	if y.Title == "" {
		y.Title = "(Data − morphed) / σ"
	}
	x := p.X
	if x.Min == x.Max && len(p.Edges) > 1 {
		x.Min, x.Max = p.Edges[0], p.Edges[len(p.Edges)-1]
	}
	pn := Panel{X: x, Y: y, Layers: []Layer{
		Region{Lo: -2, Hi: 2, Horizontal: true, Color: LightGrey},
		Region{Lo: -1, Hi: 1, Horizontal: true, Color: GreyTint},
		Bars{Edges: p.Edges, Y: p.Y, Color: Blue},
		Level{At: 0, Color: Black},
	}}
	return &Figure{Height: 10, Style: p.Style, Label: true, Notes: p.Notes, Alt: p.Alt, Columns: [][]Panel{{pn}}}
}

// Plane is a two-dimensional histogram: Z[iy*nx+ix].
type Plane struct {
	Title string
	Z     []float64
}

// Density shows two-dimensional histograms beside each other in one logarithmic colour scale, with the lines of the first one (data)
// that hold 39, 68 and 95 % of its entries drawn over all of them.
type Density struct {
	Style          Style
	X, Y           Axis
	XEdges, YEdges []float64
	Planes         []Plane // the first is data; contents normalised alike
	Alt            string
}

// Figure lays the planes out in a row.
func (d Density) Figure() *Figure {
	hi := 0.0
	for _, p := range d.Planes {
		for _, z := range p.Z {
			if finite(z) {
				hi = max(hi, z)
			}
		}
	}
	if hi == 0 {
		hi = 1
	}
	f := &Figure{Width: 24, Height: 9, Size: 0.75, Style: d.Style, Alt: d.Alt}
	for i, p := range d.Planes {
		h := Heat{XEdges: d.XEdges, YEdges: d.YEdges, Z: p.Z, Min: hi * 1e-3, Max: hi, Log: true}
		k := Contour{XEdges: d.XEdges, YEdges: d.YEdges, Z: d.Planes[0].Z, Levels: containing(d.Planes[0].Z, 0.39, 0.68, 0.95), Color: Black, Width: 1}
		pn := Panel{X: d.X, Y: d.Y, Title: p.Title, Layers: []Layer{h, k}}
		pn.X.Ticks = 4
		n, m := len(d.XEdges), len(d.YEdges)
		if n > 1 && m > 1 {
			pn.X.Min, pn.X.Max, pn.Y.Min, pn.Y.Max = d.XEdges[0], d.XEdges[n-1], d.YEdges[0], d.YEdges[m-1]
		}
		if i > 0 {
			pn.Y.NoLabels, pn.Y.Title = true, ""
		}
		if i < len(d.Planes)-1 {
			pn.X.Title = ""
		} else {
			pn.Scale = &Scale{Of: h}
		}
		f.Columns = append(f.Columns, []Panel{pn})
	}
	return f
}

// containing returns the contents above which the given shares of all entries lie, cells taken from the fullest down.
func containing(z []float64, shares ...float64) []float64 {
	var s []float64
	sum := 0.0
	for _, v := range z {
		if v > 0 && finite(v) {
			s, sum = append(s, v), sum+v
		}
	}
	sort.Sort(sort.Reverse(sort.Float64Slice(s)))
	var out []float64
	k, run := 0, 0.0
	for _, q := range shares {
		for k < len(s) && run < q*sum {
			run += s[k]
			k++
		}
		if k > 0 {
			out = append(out, s[k-1])
		}
	}
	return out
}
