package plot

import (
	"image"
	"image/color"
	"math"
)

// Layer is something drawn in a panel: [Steps], [Band], [Points], [Line], [Region], [Level], [Bars], [Heat], [Contour].
type Layer interface {
	// reach calls f for places that the layer covers, in data coordinates, so that ranges and free corners can be found.
	reach(f func(x, y float64))
	draw(c *area)
	key() (key, bool)
}

// key is an entry of the legend.
type key struct {
	text   string
	line   *pen
	fill   *color.RGBA
	hatch  bool
	marker Marker
	color  color.RGBA
	radius float64
	bar    bool
	last   bool // after all others
}

// area is a panel's frame with its axes.
type area struct {
	*sheet
	x, y   Axis
	lo, hi point
}

func (c *area) px(v float64) float64 { return c.lo.x + c.x.frac(v)*(c.hi.x-c.lo.x) }
func (c *area) py(v float64) float64 { return c.lo.y + c.y.frac(v)*(c.hi.y-c.lo.y) }

// clampY keeps a height inside the frame.
func (c *area) clampY(v float64) float64 { return max(c.lo.y, min(c.hi.y, c.py(v))) }
func (c *area) clampX(v float64) float64 { return max(c.lo.x, min(c.hi.x, c.px(v))) }

// clipped strokes a polyline, cutting it at the frame (Liang and Barsky); not finite points break it.
func (c *area) clipped(p pen, pts []point) {
	var q path
	var last point
	open := false
	for i := 1; i < len(pts); i++ {
		a, b := pts[i-1], pts[i]
		if !a.finite() || !b.finite() {
			open = false
			continue
		}
		t0, t1, ok := 0.0, 1.0, true
		for _, e := range [4][2]float64{{a.x - b.x, a.x - c.lo.x}, {b.x - a.x, c.hi.x - a.x}, {a.y - b.y, a.y - c.lo.y}, {b.y - a.y, c.hi.y - a.y}} {
			switch d, r := e[0], e[1]; {
			case d == 0:
				ok = ok && r >= 0
			case d < 0:
				t0 = max(t0, r/d)
			default:
				t1 = min(t1, r/d)
			}
		}
		if !ok || t0 > t1 {
			open = false
			continue
		}
		// far outside the sheet rounding is coarser than the frame: hold the cut to it
		at := func(t float64) point {
			return point{max(c.lo.x, min(c.hi.x, a.x+t*(b.x-a.x))), max(c.lo.y, min(c.hi.y, a.y+t*(b.y-a.y)))}
		}
		s, e := at(t0), at(t1)
		if !s.finite() || !e.finite() {
			open = false
			continue
		}
		if !open || s != last {
			q.move(s)
		}
		q.line(e)
		last, open = e, t1 == 1
	}
	if len(q.op) > 0 {
		c.dev.stroke(&q, p)
	}
}

func (c *area) pen(col color.RGBA, width float64, dash []float64) pen {
	p := pen{color: col, width: width * c.u}
	for _, d := range dash {
		p.dash = append(p.dash, d*c.u)
	}
	return p
}

// Dashes of lines, in points.
var (
	Dash    = []float64{5, 3}
	DashDot = []float64{6, 2.5, 1.5, 2.5}
	Dot     = []float64{1.5, 2}
)

// Steps is the outline of a histogram, down to the axis at both ends.
type Steps struct {
	Edges, Y []float64
	Base     []float64 // lower side of the filling, for stacks; nil: the axis
	Color    color.RGBA
	Width    float64 // points; default 1.6
	Dash     []float64
	Fill     *color.RGBA // opaque
	Band     *color.RGBA // colour of a band that belongs to it, shown in the legend
	Label    string      // in the legend; empty: not there
}

func (s Steps) reach(f func(x, y float64)) {
	for i, y := range s.Y {
		if i+1 < len(s.Edges) && finite(y) {
			f(s.Edges[i], y)
			f(s.Edges[i+1], y)
		}
	}
}

func (s Steps) draw(c *area) {
	n := min(len(s.Y), len(s.Edges)-1)
	if n < 1 {
		return
	}
	if s.Fill != nil {
		for i := range n {
			if !finite(s.Y[i]) {
				continue
			}
			base := c.lo.y
			if s.Base != nil {
				base = c.clampY(s.Base[i])
			}
			x0, x1, y := c.clampX(s.Edges[i]), c.clampX(s.Edges[i+1]), c.clampY(s.Y[i])
			if x1 > x0 && y > base {
				c.dev.rect(point{x0, base}, point{x1, y}, *s.Fill)
			}
		}
	}
	if s.Width < 0 {
		return
	}
	far := c.lo.y - 3*(c.hi.y-c.lo.y)
	at := func(v float64) float64 {
		if !finite(v) {
			return math.NaN()
		}
		return max(far, c.py(v))
	}
	pts := []point{{c.px(s.Edges[0]), c.lo.y}}
	for i := range n {
		pts = append(pts, point{c.px(s.Edges[i]), at(s.Y[i])}, point{c.px(s.Edges[i+1]), at(s.Y[i])})
	}
	pts = append(pts, point{c.px(s.Edges[n]), c.lo.y})
	c.clipped(s.pen(c), pts)
}

func (s Steps) pen(c *area) pen {
	w := s.Width
	if w == 0 {
		w = 1.6
	}
	return c.pen(s.Color, w, s.Dash)
}

func (s Steps) key() (key, bool) {
	k := key{text: s.Label, fill: s.Fill}
	if s.Band != nil {
		k.fill = s.Band
	}
	if s.Width >= 0 {
		w := s.Width
		if w == 0 {
			w = 1.6
		}
		k.line = &pen{color: s.Color, width: w, dash: s.Dash}
	}
	return k, s.Label != ""
}

// Band fills the bins between two curves with an opaque tint, or hatches them.
type Band struct {
	Edges, Lo, Hi []float64
	Color         color.RGBA
	Hatch         bool
	Label         string
}

func (b Band) reach(f func(x, y float64)) {
	for i := range b.Hi {
		if i+1 < len(b.Edges) && i < len(b.Lo) && finite(b.Hi[i]) && finite(b.Lo[i]) {
			f(b.Edges[i], b.Hi[i])
			f(b.Edges[i+1], b.Lo[i])
		}
	}
}

func (b Band) draw(c *area) {
	n := min(len(b.Lo), len(b.Hi), len(b.Edges)-1)
	box := func(i int) (point, point, bool) {
		if !finite(b.Lo[i]) || !finite(b.Hi[i]) {
			return point{}, point{}, false
		}
		lo := point{c.clampX(b.Edges[i]), c.clampY(b.Lo[i])}
		hi := point{c.clampX(b.Edges[i+1]), c.clampY(b.Hi[i])}
		return lo, hi, hi.x > lo.x && hi.y > lo.y
	}
	if b.Hatch {
		for i := range n {
			if lo, hi, ok := box(i); ok {
				c.hatch(lo, hi, b.Color)
			}
		}
		return
	}
	// runs of neighbouring bins become one polygon: no seams
	for i := 0; i < n; i++ {
		var up, down []point
		for ; i < n; i++ {
			lo, hi, ok := box(i)
			if !ok {
				break
			}
			up = append(up, point{lo.x, hi.y}, hi)
			down = append(down, lo, point{hi.x, lo.y})
		}
		if len(up) == 0 {
			continue
		}
		for k := len(down) - 1; k >= 0; k-- {
			up = append(up, down[k])
		}
		if p := polygon(up...); p != nil {
			c.dev.fill(p, b.Color)
		}
	}
}

// hatch draws lines at 45° through a box; their phase is that of the sheet, so that neighbours join.
func (c *area) hatch(lo, hi point, col color.RGBA) {
	gap := 4 * c.u
	p := c.pen(col, 0.6, nil)
	in := *c
	in.lo, in.hi = lo, hi
	h := hi.y - lo.y
	for k := math.Floor((lo.x - hi.y) / gap); k*gap < hi.x-lo.y; k++ {
		x := k*gap + lo.y // the line x - y = k·gap
		in.clipped(p, []point{{x, lo.y}, {x + h, hi.y}})
	}
}

func (b Band) key() (key, bool) {
	return key{text: b.Label, fill: &b.Color, hatch: b.Hatch, last: b.Hatch}, b.Label != ""
}

// Marker is the shape of a point.
type Marker uint8

// The shapes.
const (
	Circle Marker = iota + 1
	Square
	Triangle
	Diamond
	OpenCircle
	OpenSquare
)

// Points are markers with vertical errors. A point outside the range leaves an arrow at the edge that it lies beyond.
type Points struct {
	X, Y   []float64
	Lo, Hi []float64 // lengths of the bars below and above; nil: none
	Edges  []float64 // of the bins, for horizontal bars; nil: none
	Color  color.RGBA
	Marker Marker
	Radius float64 // points; default 2.8
	Label  string
}

func (p Points) bars(i int) (lo, hi float64) {
	if i < len(p.Lo) && p.Lo[i] > 0 && finite(p.Lo[i]) {
		lo = p.Lo[i]
	}
	if i < len(p.Hi) && p.Hi[i] > 0 && finite(p.Hi[i]) {
		hi = p.Hi[i]
	}
	return lo, hi
}

func (p Points) reach(f func(x, y float64)) {
	for i := range min(len(p.X), len(p.Y)) {
		if finite(p.X[i]) && finite(p.Y[i]) {
			lo, hi := p.bars(i)
			f(p.X[i], p.Y[i]+hi)
			f(p.X[i], p.Y[i]-lo)
		}
	}
}

func (p Points) radius() float64 {
	if p.Radius > 0 {
		return p.Radius
	}
	return 2.8
}

func (p Points) draw(c *area) {
	line := c.pen(p.Color, 1.2, nil)
	shown := func(f func(i int, x, y float64)) {
		for i := range min(len(p.X), len(p.Y)) {
			if !finite(p.X[i]) || !finite(p.Y[i]) {
				continue
			}
			if x := c.px(p.X[i]); x > c.lo.x-0.01 && x < c.hi.x+0.01 {
				f(i, x, c.py(p.Y[i]))
			}
		}
	}
	inside := func(y float64) bool { return y > c.lo.y-0.01 && y < c.hi.y+0.01 }
	shown(func(i int, x, y float64) {
		lo, hi := p.bars(i)
		if y0, y1 := c.clampY(p.Y[i]-lo), c.clampY(p.Y[i]+hi); y1 > y0 {
			c.stroke(line, point{x, y0}, point{x, y1})
		}
		if i+1 < len(p.Edges) && inside(y) {
			c.stroke(line, point{c.clampX(p.Edges[i]), y}, point{c.clampX(p.Edges[i+1]), y})
		}
	})
	shown(func(i int, x, y float64) {
		a := 5 * c.u
		switch {
		case inside(y):
			c.marker(p.Marker, point{x, y}, p.radius()*c.u, p.Color)
		case y > c.hi.y:
			t := c.hi.y - 2*c.u
			c.fill(p.Color, point{x, t}, point{x - a/2, t - a}, point{x + a/2, t - a})
		default:
			t := c.lo.y + 2*c.u
			c.fill(p.Color, point{x, t}, point{x - a/2, t + a}, point{x + a/2, t + a})
		}
	})
}

func (p Points) key() (key, bool) {
	return key{text: p.Label, marker: p.Marker, color: p.Color, radius: p.radius(), bar: p.Lo != nil || p.Hi != nil}, p.Label != ""
}

// Line is a curve through points; NaN breaks it.
type Line struct {
	X, Y  []float64
	Color color.RGBA
	Width float64 // points; default 1.6
	Dash  []float64
	Label string
}

func (l Line) reach(f func(x, y float64)) {
	for i := range min(len(l.X), len(l.Y)) {
		if finite(l.X[i]) && finite(l.Y[i]) {
			f(l.X[i], l.Y[i])
		}
	}
}

func (l Line) width() float64 {
	if l.Width > 0 {
		return l.Width
	}
	return 1.6
}

func (l Line) draw(c *area) {
	pts := make([]point, 0, len(l.X))
	for i := range min(len(l.X), len(l.Y)) {
		q := point{c.px(l.X[i]), c.py(l.Y[i])}
		if !finite(l.X[i]) || !finite(l.Y[i]) {
			q = point{math.NaN(), math.NaN()}
		}
		pts = append(pts, q)
	}
	c.clipped(c.pen(l.Color, l.width(), l.Dash), thin(pts, 0.15*c.u))
}

// thin leaves out points closer than d to the last one kept, so that a curve of a million points stays small.
func thin(pts []point, d float64) []point {
	if len(pts) < 2000 {
		return pts
	}
	out := pts[:1:1]
	for i, p := range pts[1:] {
		l := out[len(out)-1]
		if !p.finite() || !l.finite() || math.Abs(p.x-l.x) >= d || math.Abs(p.y-l.y) >= d || i == len(pts)-2 {
			out = append(out, p)
		}
	}
	return out
}

func (l Line) key() (key, bool) {
	return key{text: l.Label, line: &pen{color: l.Color, width: l.width(), dash: l.Dash}}, l.Label != ""
}

// Level is a straight line across the panel, at a height or, with Vertical, at a place of x.
type Level struct {
	At       float64
	Vertical bool
	Color    color.RGBA
	Width    float64 // points; default 0.8
	Dash     []float64
	Label    string
}

func (l Level) reach(func(x, y float64)) {}

func (l Level) width() float64 {
	if l.Width > 0 {
		return l.Width
	}
	return 0.8
}

func (l Level) draw(c *area) {
	p := c.pen(l.Color, l.width(), l.Dash)
	if l.Vertical {
		c.clipped(p, []point{{c.px(l.At), c.lo.y}, {c.px(l.At), c.hi.y}})
		return
	}
	c.clipped(p, []point{{c.lo.x, c.py(l.At)}, {c.hi.x, c.py(l.At)}})
}

func (l Level) key() (key, bool) {
	return key{text: l.Label, line: &pen{color: l.Color, width: l.width(), dash: l.Dash}}, l.Label != ""
}

// Region shades a range of x over the panel's whole height, or of y with Horizontal: a blinded window, a band of pulls.
type Region struct {
	Lo, Hi     float64
	Horizontal bool
	Color      color.RGBA
	Label      string
}

func (r Region) reach(func(x, y float64)) {}

func (r Region) draw(c *area) {
	lo, hi := point{c.clampX(r.Lo), c.lo.y}, point{c.clampX(r.Hi), c.hi.y}
	if r.Horizontal {
		lo, hi = point{c.lo.x, c.clampY(r.Lo)}, point{c.hi.x, c.clampY(r.Hi)}
	}
	if lo.finite() && hi.finite() && hi.x > lo.x && hi.y > lo.y {
		c.dev.rect(lo, hi, r.Color)
	}
}

func (r Region) key() (key, bool) {
	return key{text: r.Label, fill: &r.Color, last: true}, r.Label != ""
}

// Bars are filled bins from zero to their value: pulls.
type Bars struct {
	Edges, Y []float64
	Color    color.RGBA
	Label    string
}

func (b Bars) reach(f func(x, y float64)) { Steps{Edges: b.Edges, Y: b.Y}.reach(f) }

func (b Bars) draw(c *area) {
	zero := c.clampY(0)
	for i := range min(len(b.Y), len(b.Edges)-1) {
		if !finite(b.Y[i]) {
			continue
		}
		x0, x1, y := c.clampX(b.Edges[i]), c.clampX(b.Edges[i+1]), c.clampY(b.Y[i])
		if lo, hi := min(y, zero), max(y, zero); x1 > x0 && hi > lo {
			c.dev.rect(point{x0, lo}, point{x1, hi}, b.Color)
		}
	}
}

func (b Bars) key() (key, bool) { return key{text: b.Label, fill: &b.Color}, b.Label != "" }

// Heat is a grid of coloured cells; Z[iy*nx+ix], NaN is left white. Its range is always given, so that the same value has the same
// colour in every panel.
type Heat struct {
	XEdges, YEdges []float64
	Z              []float64
	Min, Max       float64
	Log            bool
	Diverging      bool // blue, grey, red: for signed quantities with Min = -Max
	Numbers        bool // the value in every cell, as 100 × z
}

func (h Heat) reach(f func(x, y float64)) {
	if n, m := len(h.XEdges), len(h.YEdges); n > 1 && m > 1 {
		f(h.XEdges[0], h.YEdges[0])
		f(h.XEdges[n-1], h.YEdges[m-1])
	}
}

func (h Heat) axis() Axis { return Axis{Min: h.Min, Max: h.Max, Log: h.Log}.usable() }

func (h Heat) color(z float64) (color.RGBA, bool) {
	if !finite(z) || h.Log && z <= 0 {
		return color.RGBA{}, false
	}
	div, r := ramps()
	if h.Diverging {
		r = div
	}
	return r.at(max(0, min(1, h.axis().frac(z)))), true
}

func (h Heat) draw(c *area) {
	nx, ny := len(h.XEdges)-1, len(h.YEdges)-1
	if nx < 1 || ny < 1 || len(h.Z) < nx*ny {
		return
	}
	if nx*ny > 500 && evenly(c.px, h.XEdges) && evenly(c.py, h.YEdges) {
		m := image.NewRGBA(image.Rect(0, 0, nx, ny))
		for j := range ny {
			for i := range nx {
				if col, ok := h.color(h.Z[j*nx+i]); ok {
					m.SetRGBA(i, ny-1-j, col)
				}
			}
		}
		c.dev.image(m, point{c.clampX(h.XEdges[0]), c.clampY(h.YEdges[0])}, point{c.clampX(h.XEdges[nx]), c.clampY(h.YEdges[ny])})
		return
	}
	for j := range ny {
		for i := range nx {
			z := h.Z[j*nx+i]
			lo, hi := point{c.clampX(h.XEdges[i]), c.clampY(h.YEdges[j])}, point{c.clampX(h.XEdges[i+1]), c.clampY(h.YEdges[j+1])}
			if col, ok := h.color(z); ok && hi.x > lo.x && hi.y > lo.y {
				c.dev.rect(lo, hi, col)
				if h.Numbers {
					ink := Black
					if dark(col) {
						ink = whiteColor
					}
					c.text(number(100*z, 0), point{(lo.x + hi.x) / 2, (lo.y + hi.y) / 2},
						format{size: 8 * c.u, ha: 0.5, va: 0.5, color: ink, fit: 0.95 * (hi.x - lo.x)})
				}
			}
		}
	}
}

func dark(c color.RGBA) bool {
	return 0.299*float64(c.R)+0.587*float64(c.G)+0.114*float64(c.B) < 105
}

// evenly says whether edges are equidistant on the sheet.
func evenly(at func(float64) float64, e []float64) bool {
	n := len(e) - 1
	a, b := at(e[0]), at(e[n])
	for i, v := range e {
		if !(math.Abs(at(v)-(a+(b-a)*float64(i)/float64(n))) < 1e-3*math.Abs(b-a)/float64(n)) {
			return false
		}
	}
	return true
}

func (Heat) key() (key, bool) { return key{}, false }

// Contour draws the lines on which a grid of cell contents, taken at the cells' middles, has given values.
type Contour struct {
	XEdges, YEdges []float64
	Z              []float64
	Levels         []float64
	Color          color.RGBA
	Width          float64 // points; default 1.2
	Dash           []float64
	Label          string
}

func (k Contour) reach(f func(x, y float64)) { Heat{XEdges: k.XEdges, YEdges: k.YEdges}.reach(f) }

func (k Contour) width() float64 {
	if k.Width > 0 {
		return k.Width
	}
	return 1.2
}

func (k Contour) draw(c *area) {
	nx, ny := len(k.XEdges)-1, len(k.YEdges)-1
	if nx < 2 || ny < 2 || len(k.Z) < nx*ny {
		return
	}
	at := func(i, j int) point {
		return point{(c.px(k.XEdges[i]) + c.px(k.XEdges[i+1])) / 2, (c.py(k.YEdges[j]) + c.py(k.YEdges[j+1])) / 2}
	}
	z := func(i, j int) float64 {
		if v := k.Z[j*nx+i]; finite(v) {
			return v
		}
		return 0
	}
	p := c.pen(k.Color, k.width(), k.Dash)
	for _, level := range k.Levels {
		for j := range ny - 1 {
			for i := range nx - 1 {
				// marching squares: where the level crosses the four sides
				q := [4][2]int{{i, j}, {i + 1, j}, {i + 1, j + 1}, {i, j + 1}}
				var cut []point
				for s := range 4 {
					a, b := q[s], q[(s+1)%4]
					za, zb := z(a[0], a[1])-level, z(b[0], b[1])-level
					if (za < 0) != (zb < 0) {
						t := za / (za - zb)
						pa, pb := at(a[0], a[1]), at(b[0], b[1])
						cut = append(cut, point{pa.x + t*(pb.x-pa.x), pa.y + t*(pb.y-pa.y)})
					}
				}
				for s := 0; s+1 < len(cut); s += 2 {
					c.clipped(p, cut[s:s+2])
				}
			}
		}
	}
}

func (k Contour) key() (key, bool) {
	return key{text: k.Label, line: &pen{color: k.Color, width: k.width(), dash: k.Dash}}, k.Label != ""
}
