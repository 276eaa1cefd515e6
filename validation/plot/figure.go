package plot

import (
	"image/color"
	"math"
	"strings"
)

// Figure is one picture: columns of panels. Panels of a column stand above each other without a gap and share their x axis.
type Figure struct {
	Width, Height float64 // cm; default 16 × 16
	Style         Style
	Title         string  // above the frame at the left; the figures of a paper leave it out
	Alt           string  // what the picture shows, for readers who can't see it; goes into SVG and PDF
	Foot          string  // below everything, at the left
	Size          float64 // of texts and lines, relative to a figure of one panel; default 1
	Label         bool    // experiment, status and Notes in the first panel
	Notes         []string
	Columns       [][]Panel
}

// Panel is a frame with axes around layers. Layers are drawn in order, the frame last.
type Panel struct {
	X, Y     Axis
	Share    float64 // of the column's height; default 1
	Title    string  // above the frame of a column's first panel
	Layers   []Layer
	Legend   bool
	Corner   Corner  // where the legend goes
	Head     float64 // highest content times Head is the top of an automatic y axis, at least; default 1.1
	ZeroLine bool    // an automatic y axis starts at 0
	Scale    *Scale  // colour scale at the right
	Inside   []string
}

// Corner is a place for the legend.
type Corner uint8

// Auto takes the corner with the fewest marks below it; panels with Label or Head make room at the top instead.
const (
	Auto Corner = iota
	TopRight
	TopLeft
	BottomLeft
	BottomRight
)

// Scale is a colour scale as tall as the frame.
type Scale struct {
	Of    Heat
	Title string
}

// cm16 is 16 cm in points: sizes are given for a figure of this width.
const cm16 = 16 / 2.54 * 72

// sheet is a device with a size.
type sheet struct {
	dev  device
	w, h float64
	u    float64 // points of the sheet for a point of a 16 cm figure
}

func (s *sheet) text(t string, at point, f format) float64 {
	if t == "" || !at.finite() {
		return 0
	}
	gs, w, size := fitted(t, f)
	dy := 0.0
	switch f.va {
	case 0.5:
		dy = -capHeight / 2 * size
	case 1:
		dy = -capHeight * size
	case -1:
		dy = descent * size
	}
	dx := -f.ha * w
	sin, cos := math.Sincos(f.rot)
	if f.color.A == 0 {
		f.color = Black
	}
	s.dev.text(gs, point{at.x + dx*cos - dy*sin, at.y + dx*sin + dy*cos}, f.rot, f.color)
	return w
}

func (s *sheet) stroke(p pen, pts ...point) {
	var q path
	for i, a := range pts {
		if !a.finite() {
			return
		}
		if i == 0 {
			q.move(a)
		} else {
			q.line(a)
		}
	}
	s.dev.stroke(&q, p)
}

func (s *sheet) fill(c color.RGBA, pts ...point) {
	if p := polygon(pts...); p != nil {
		s.dev.fill(p, c)
	}
}

func (s *sheet) frame(lo, hi point) {
	var q path
	q.move(lo)
	q.line(point{hi.x, lo.y})
	q.line(hi)
	q.line(point{lo.x, hi.y})
	q.close()
	s.dev.stroke(&q, pen{color: Black, width: s.u})
}

func (s *sheet) marker(m Marker, at point, r float64, c color.RGBA) {
	if !at.finite() {
		return
	}
	open := pen{color: c, width: 1.1 * s.u}
	switch m {
	case Circle, OpenCircle:
		s.dev.disc(at, r, c)
		if m == OpenCircle {
			s.marker(Circle, at, 0.6*r, whiteColor)
		}
	case Square:
		s.fill(c, point{at.x - r, at.y - r}, point{at.x + r, at.y - r}, point{at.x + r, at.y + r}, point{at.x - r, at.y + r})
	case OpenSquare:
		q := polygon(point{at.x - r, at.y - r}, point{at.x + r, at.y - r}, point{at.x + r, at.y + r}, point{at.x - r, at.y + r})
		s.dev.fill(q, whiteColor)
		s.dev.stroke(q, open)
	case Triangle:
		s.fill(c, point{at.x - 1.1*r, at.y - 0.8*r}, point{at.x + 1.1*r, at.y - 0.8*r}, point{at.x, at.y + 1.2*r})
	case Diamond:
		s.fill(c, point{at.x - 1.25*r, at.y}, point{at.x, at.y - 1.25*r}, point{at.x + 1.25*r, at.y}, point{at.x, at.y + 1.25*r})
	}
}

func (f *Figure) size() (w, h float64) {
	w, h = f.Width, f.Height
	if !(w > 0) {
		w = 16
	}
	if !(h > 0) {
		h = 16
	}
	return min(w, 100) / 2.54 * 72, min(h, 100) / 2.54 * 72
}

// layoutOf is where the frame of a column lies.
type layoutOf struct{ left, right, title float64 }

// draw lays the figure out from measured texts and draws it.
func (f *Figure) draw(dev device) {
	w, h := f.size()
	s := &sheet{dev: dev, w: w, h: h, u: w / cm16}
	if f.Size > 0 && finite(f.Size) {
		s.u *= min(f.Size, 4)
	}
	u := s.u
	if len(f.Columns) == 0 {
		return
	}
	cols := make([][]*area, len(f.Columns))
	pads := make([]layoutOf, len(f.Columns))
	bottom, top := 40.0, 32.0
	if f.Foot != "" {
		bottom += 18
	}
	foot := bottom
	for ci, col := range f.Columns {
		cols[ci] = make([]*area, len(col))
		x := shared(col)
		for pi := range col {
			p := &col[pi]
			a := &area{sheet: s, x: x, y: p.yRange(x)}
			cols[ci][pi] = a
			if p.Y.Title != "" {
				pads[ci].title = max(pads[ci].title, a.widestY()+12)
			}
			pads[ci].left = max(pads[ci].left, a.widestY()+10)
			pads[ci].right = max(pads[ci].right, a.rightPad(p, pi == len(col)-1))
		}
		if pads[ci].title > 0 {
			if len(f.Columns) == 1 {
				pads[ci].title = max(pads[ci].title, 41)
			}
			pads[ci].left = max(pads[ci].left, pads[ci].title+22)
		}
		if len(col) > 0 {
			bottom = max(bottom, cols[ci][len(col)-1].bottomPad()+foot-40)
		}
		if len(col) > 0 && col[0].Title != "" && (f.Title != "" || f.Style.corner() != "") {
			top = 50
		}
	}
	sum := 0.0
	for i := range pads {
		if i == 0 && len(pads) == 1 {
			pads[i].left = max(pads[i].left, 63) // 14 % of the width: figures of a report line up
			pads[i].right = max(pads[i].right, 18)
		}
		sum += (pads[i].left + pads[i].right) * u
	}
	width := (w - sum) / float64(len(cols))
	if width < 20*u {
		width = 20 * u
	}
	y0, y1 := bottom*u, h-top*u
	if y1 < y0+20*u {
		y1 = y0 + 20*u
	}
	x := 0.0
	for ci, col := range f.Columns {
		x += pads[ci].left * u
		total := 0.0
		for _, p := range col {
			total += p.share()
		}
		at := y1
		for pi := range col {
			a, p := cols[ci][pi], &col[pi]
			height := (y1 - y0) * p.share() / total
			a.lo, a.hi = point{x, at - height}, point{x + width, at}
			if pi == len(col)-1 {
				a.lo.y = y0
			}
			at = a.lo.y
			q := *p
			a.panel(f, &q, ci, pi, pi == len(col)-1, pads[ci].title)
		}
		x += width + pads[ci].right*u
	}
	if f.Foot != "" {
		s.text(f.Foot, point{pads[0].left * u, 10 * u}, format{size: 13 * u, fit: w - pads[0].left*u - 8*u})
	}
	if len(cols[0]) > 0 {
		first, last := cols[0][0], cols[len(cols)-1][0]
		line := first.hi.y + 6*u
		if top > 32 {
			line += 18 * u
		}
		cw := 0.0
		if c := f.Style.corner(); c != "" {
			cw = s.text(c, point{last.hi.x, line}, format{size: 14 * u, ha: 1, fit: 0.8 * w})
		}
		if f.Title != "" {
			s.text(f.Title, point{first.lo.x, line}, format{size: 14 * u, fit: max(40*u, last.hi.x-first.lo.x-cw-10*u)})
		}
	}
}

func (p *Panel) share() float64 {
	if p.Share > 0 && finite(p.Share) {
		return p.Share
	}
	return 1
}

// shared is the x axis of a column: the first panel's range, else what its layers reach, and the last panel's title.
func shared(col []Panel) Axis {
	if len(col) == 0 {
		return Axis{}.usable()
	}
	x := col[0].X
	for _, p := range col {
		if x.Title == "" {
			x.Title = p.X.Title
		}
		if len(p.X.Names) > 0 {
			x.Names = p.X.Names
		}
	}
	if len(x.Names) > 0 && x.Min == x.Max {
		x.Min, x.Max = -0.5, float64(len(x.Names))-0.5
	}
	if x.Min == x.Max {
		lo, hi := math.Inf(1), math.Inf(-1)
		for _, p := range col {
			for _, l := range p.Layers {
				l.reach(func(v, _ float64) {
					if finite(v) && (!x.Log || v > 0) {
						lo, hi = min(lo, v), max(hi, v)
					}
				})
			}
		}
		x.Min, x.Max = lo, hi
	}
	return x.usable()
}

// yRange is the panel's y axis; an automatic one holds all layers.
func (p *Panel) yRange(x Axis) Axis {
	y := p.Y
	if len(y.Names) > 0 && y.Min == y.Max {
		y.Min, y.Max = -0.5, float64(len(y.Names))-0.5
	}
	if y.Min != y.Max {
		return y.usable()
	}
	lo, hi, pos := math.Inf(1), math.Inf(-1), math.Inf(1)
	for _, l := range p.Layers {
		l.reach(func(vx, v float64) {
			if vx < x.Min || vx > x.Max {
				return
			}
			lo, hi = min(lo, v), max(hi, v)
			if v > 0 {
				pos = min(pos, v)
			}
		})
	}
	if math.IsInf(lo, 0) {
		lo, hi = 0, 1
	}
	head := p.Head
	if head <= 0 {
		head = 1.1
	}
	if y.Log {
		if math.IsInf(pos, 0) || hi <= 0 {
			y.Min, y.Max = 0.5, 10
			return y.usable()
		}
		y.Min = max(pos/2, hi*1e-9)
		y.Max = hi * math.Pow(hi/y.Min, head-1)
		return y.usable()
	}
	if p.ZeroLine {
		y.Min, y.Max = min(0, lo*1.1), hi*head
		if hi <= 0 {
			y.Max = 1
		}
		return y.usable()
	}
	d := hi - lo
	if d <= 0 {
		d = max(math.Abs(hi), 1) * 0.1
	}
	y.Min, y.Max = lo-0.06*d, hi+(head-1.04)*d
	return y.usable()
}

// widestY is the width of the widest label of the y axis, in points of a 16 cm figure.
func (a *area) widestY() float64 {
	w := 0.0
	if a.y.NoLabels {
		return 0
	}
	for _, n := range a.y.Names {
		_, lw, _ := fitted(n, format{size: 12, fit: 110})
		w = max(w, lw)
	}
	ticks, _ := a.y.ticks()
	for _, t := range ticks {
		if t.label != "" {
			_, lw := layout(t.label, regular, 13)
			w = max(w, lw)
		}
	}
	return w
}

func (a *area) rightPad(p *Panel, last bool) float64 {
	w := 8.0
	if last && !a.x.NoLabels {
		ticks, power := a.x.ticks()
		if power != 0 {
			w = max(w, 36)
		}
		if n := len(ticks); n > 0 {
			for _, t := range ticks {
				if t.label != "" && a.x.frac(t.v) > 0.97 {
					_, lw := layout(t.label, regular, 13)
					w = max(w, lw/2+2)
				}
			}
		}
	}
	if p.Scale != nil {
		b := area{sheet: a.sheet, y: p.Scale.Of.axis()}
		sw := 9 + 14 + 5 + b.widestY()
		if p.Scale.Title != "" {
			sw += 20
		}
		w = max(w, sw+4)
	}
	return w
}

func (a *area) bottomPad() float64 {
	b := 24.0
	if len(a.x.Names) > 0 {
		for _, n := range a.x.Names {
			_, lw, _ := fitted(n, format{size: 12, fit: 110})
			b = max(b, 16+lw*math.Sqrt2/2+4)
		}
	}
	if a.x.Title != "" {
		b += 26
	}
	return max(b, 32)
}

// panel draws one panel with everything around it.
func (a *area) panel(f *Figure, p *Panel, ci, pi int, last bool, title float64) {
	u := a.u
	keys := p.keys()
	left := a.labelBlock(f, p, keys, ci == 0 && pi == 0, false)
	p.makeRoom(a, left, keys)
	for _, l := range p.Layers {
		l.draw(a)
	}
	a.frame(a.lo, a.hi)
	a.ticks(pi, last, title)
	if p.Title != "" && pi == 0 {
		a.text(p.Title, point{(a.lo.x + a.hi.x) / 2, a.hi.y + 6*u}, format{size: 13 * u, ha: 0.5, fit: a.hi.x - a.lo.x})
	}
	a.labelBlock(f, p, keys, ci == 0 && pi == 0, true)
	if p.Legend && len(keys) > 0 {
		a.legend(p, keys, left)
	}
	if p.Scale != nil {
		a.scale(p.Scale)
	}
}

// block is a text block at the top of a panel, in points from its upper corner.
type block struct{ w, h float64 }

// labelBlock draws or measures experiment, status and notes.
func (a *area) labelBlock(f *Figure, p *Panel, keys []key, first, draw bool) block {
	u := a.u
	full := a.hi.x - a.lo.x - 32*u
	beside := full
	if len(keys) > 0 {
		l, _, _ := a.legendSize(keys)
		beside = a.hi.x - a.lo.x - l.w - 50*u
	}
	var b block
	x, y := a.lo.x+16*u, a.hi.y-14*u
	put := func(t string, fc face, size, step float64) {
		if t == "" {
			return
		}
		ft := format{face: fc, size: size * u, va: 1, fit: full}
		if _, w := layout(t, fc, size*u); w > beside && 0.65*w <= beside {
			ft.fit = beside // a little smaller rather than in the legend's way
		}
		if draw {
			a.text(t, point{x, y - b.h}, ft)
		}
		_, w, _ := fitted(t, ft)
		b.w = max(b.w, w)
		b.h += step * u
	}
	if f.Label && first {
		put(f.Style.name(), bold, 20, 24)
		put(f.Style.Status, italic, 14, 20)
		for _, n := range f.Notes {
			put(n, regular, 13, 18)
		}
	}
	for _, n := range p.Inside {
		put(n, regular, 12, 16)
	}
	if b.h > 0 {
		b.h += 14 * u
		b.w += 16 * u
	}
	return b
}

func (p *Panel) keys() []key {
	var out []key
	if !p.Legend {
		return nil
	}
	// data, black points, lead the legend though they are drawn last; shaded regions end it
	rank := func(k key) int {
		switch {
		case k.marker != 0 && k.color == Black:
			return 0
		case k.last:
			return 2
		}
		return 1
	}
	for r := range 3 {
		for _, l := range p.Layers {
			if k, ok := l.key(); ok && rank(k) == r {
				out = append(out, k)
			}
		}
	}
	return out
}

func (a *area) legendSize(keys []key) (b block, size, row float64) {
	size, row = 14*a.u, 20*a.u
	if len(keys) > 6 {
		size, row = 11*a.u, 15*a.u
	}
	for _, k := range keys {
		_, w, _ := fitted(k.text, format{size: size, fit: 0.62 * (a.hi.x - a.lo.x)})
		b.w = max(b.w, w+35*a.u)
	}
	b.h = row * float64(len(keys))
	return b, size, row
}

// makeRoom raises the top of an automatic y axis until the texts at the top are clear of the layers.
func (p *Panel) makeRoom(a *area, left block, keys []key) {
	if p.Y.Min != p.Y.Max || a.hi.y-a.lo.y <= 0 {
		return
	}
	height, width := a.hi.y-a.lo.y, a.hi.x-a.lo.x
	type room struct{ x0, x1, h float64 } // fractions of the panel
	var rooms []room
	if left.h > 0 {
		rooms = append(rooms, room{0, (left.w + 16*a.u) / width, left.h / height})
	}
	if len(keys) > 0 && p.Corner == Auto && p.Head <= 1.2 {
		b, _, _ := a.legendSize(keys)
		var n int
		if p.Corner, n = p.corner(a, b, left); n > 0 {
			p.Corner, p.Head = Auto, 1.21 // no corner is free: make room at the top
		}
	}
	if len(keys) > 0 && p.Corner != BottomLeft && p.Corner != BottomRight && (p.Head > 1.2 || p.Corner != Auto) {
		b, _, _ := a.legendSize(keys)
		h := b.h + 12*a.u
		if left.w+b.w+30*a.u > width {
			h += left.h
		}
		r := room{1 - (b.w+28*a.u)/width, 1, h / height}
		if p.Corner == TopLeft {
			r = room{0, (b.w + 28*a.u) / width, (left.h + h) / height}
		}
		rooms = append(rooms, r)
	}
	top := 1.0
	for _, l := range p.Layers {
		l.reach(func(x, y float64) {
			fx, fy := a.x.frac(x), a.y.frac(y)
			for _, r := range rooms {
				if fx >= r.x0-0.01 && fx <= r.x1+0.01 && fy > 0 && fy < 10 {
					top = max(top, fy/(1-min(0.7, r.h+0.03)))
				}
			}
		})
	}
	a.y.Max = a.y.at(min(top, 3))
	a.y = a.y.usable()
}

// corner is where the legend is least in the way.
func (p *Panel) corner(a *area, b block, left block) (Corner, int) {
	if p.Corner != Auto {
		return p.Corner, 0
	}
	if p.Head > 1.2 {
		return TopRight, 0
	}
	best, fewest := TopRight, math.MaxInt
	w, h := (b.w+20*a.u)/(a.hi.x-a.lo.x), (b.h+16*a.u)/(a.hi.y-a.lo.y)
	for _, c := range []Corner{TopRight, TopLeft, BottomRight, BottomLeft} {
		n := 0
		if c == TopLeft && left.h > 0 {
			n += 100
		}
		for _, l := range p.Layers {
			l.reach(func(x, y float64) {
				fx, fy := a.x.frac(x), a.y.frac(y)
				if c == TopRight || c == BottomRight {
					fx = 1 - fx
				}
				if c == TopRight || c == TopLeft {
					fy = 1 - fy
				}
				if fx <= w && fy <= h {
					n++
				}
			})
		}
		if n < fewest {
			best, fewest = c, n
		}
	}
	return best, fewest
}

func (a *area) legend(p *Panel, keys []key, left block) {
	u := a.u
	b, size, row := a.legendSize(keys)
	x, y := a.hi.x-14*u-b.w, a.hi.y-9*u
	corner, _ := p.corner(a, b, left)
	switch corner {
	case TopLeft:
		x, y = a.lo.x+16*u, y-left.h
	case BottomLeft:
		x, y = a.lo.x+16*u, a.lo.y+9*u+b.h
	case BottomRight:
		y = a.lo.y + 9*u + b.h
	default:
		if left.w+b.w+30*u > a.hi.x-a.lo.x {
			y -= left.h
		}
	}
	if p.Head <= 1.2 { // curves may pass below: keep the text readable
		a.dev.rect(point{x - 3*u, y - b.h}, point{x + b.w + 3*u, y}, whiteColor)
	}
	wide := 28 * u
	for _, k := range keys {
		y -= row / 2
		if k.fill != nil {
			h := min(5*u, 0.3*row)
			lo, hi := point{x, y - h}, point{x + wide, y + h}
			if k.hatch {
				a.hatch(lo, hi, *k.fill)
			} else {
				a.dev.rect(lo, hi, *k.fill)
			}
		}
		if k.line != nil {
			a.stroke(a.pen(k.line.color, k.line.width, k.line.dash), point{x, y}, point{x + wide, y})
		}
		if k.marker != 0 {
			if k.bar {
				a.stroke(pen{color: k.color, width: 1.2 * u}, point{x + wide/2, y - 7*u}, point{x + wide/2, y + 7*u})
			}
			a.marker(k.marker, point{x + wide/2, y}, k.radius*u, k.color)
		}
		a.text(k.text, point{x + wide + 7*u, y}, format{size: size, va: 0.5, fit: 0.62 * (a.hi.x - a.lo.x)})
		y -= row / 2
	}
}

// ticks draws ticks on all sides, labels at the left and, for the last panel, below, and the titles.
func (a *area) ticks(pi int, last bool, titleAt float64) {
	u := a.u
	line := pen{color: Black, width: u}
	length := func(t tick) float64 {
		if t.major {
			return 7 * u
		}
		return 3.5 * u
	}
	title := 24.0
	xt, xpow := a.x.ticks()
	cornerFree := true // no x label reaches the lower left corner
	for _, t := range xt {
		x, l := a.px(t.v), length(t)
		if x < a.lo.x-0.01 || x > a.hi.x+0.01 {
			continue
		}
		a.stroke(line, point{x, a.lo.y}, point{x, a.lo.y + l})
		a.stroke(line, point{x, a.hi.y}, point{x, a.hi.y - l})
		if last && t.label != "" && !a.x.NoLabels {
			w := a.text(t.label, point{x, a.lo.y - 5*u}, format{size: 13 * u, ha: 0.5, va: 1})
			cornerFree = cornerFree && x-w/2 > a.lo.x-5*u
		}
	}
	if last && xpow != 0 && !a.x.NoLabels {
		a.text("×10^{"+number(float64(xpow), 0)+"}", point{a.hi.x + 4*u, a.lo.y}, format{size: 13 * u, va: 0.5})
	}
	if last {
		for i, n := range a.x.Names {
			f := format{size: 12 * u, ha: 1, va: 0.5, rot: math.Pi / 4, fit: 110 * u}
			_, w, _ := fitted(n, f)
			a.text(n, point{a.px(float64(i)) + 4*u, a.lo.y - 8*u}, f)
			title = max(title, 16+w/u*math.Sqrt2/2+4)
		}
	}
	yt, ypow := a.y.ticks()
	for _, t := range yt {
		y, l := a.py(t.v), length(t)
		if y < a.lo.y-0.01 || y > a.hi.y+0.01 {
			continue
		}
		a.stroke(line, point{a.lo.x, y}, point{a.lo.x + l, y})
		a.stroke(line, point{a.hi.x, y}, point{a.hi.x - l, y})
		// labels at a border shared with another panel, or at a corner with an x label, would touch
		half := 7 * u
		if t.label == "" || a.y.NoLabels || !last && y < a.lo.y+half || pi > 0 && y > a.hi.y-half || last && !cornerFree && y < a.lo.y+half {
			continue
		}
		a.text(t.label, point{a.lo.x - 5*u, y}, format{size: 13 * u, ha: 1, va: 0.5})
	}
	for i, n := range a.y.Names {
		a.text(n, point{a.lo.x - 5*u, a.py(float64(i))}, format{size: 12 * u, ha: 1, va: 0.5, fit: 110 * u})
	}
	name := a.y.Title
	if ypow != 0 && !a.y.NoLabels {
		power := "×10^{" + number(float64(ypow), 0) + "}"
		if pi > 0 { // no room above
			name = strings.TrimSpace(name + " (" + power + ")")
		} else {
			a.text(power, point{a.lo.x, a.hi.y + 6*u}, format{size: 13 * u, ha: 0.3})
		}
	}
	if last && a.x.Title != "" {
		at, f := point{a.hi.x, a.lo.y - title*u}, format{size: 16 * u, ha: 1, va: 1, fit: a.hi.x - 4*u}
		if a.x.Centre {
			at.x, f.ha = (a.lo.x+a.hi.x)/2, 0.5
		}
		a.text(a.x.Title, at, f)
	}
	if name != "" {
		at := point{a.lo.x - titleAt*u, a.hi.y} // titles of a column stand in one line
		f := format{size: 16 * u, ha: 1, rot: math.Pi / 2, fit: 1.04 * (a.hi.y - a.lo.y)}
		if a.y.Centre {
			at.y, f.ha, f.fit = (a.lo.y+a.hi.y)/2, 0.5, 0.98*(a.hi.y-a.lo.y)
		}
		a.text(name, at, f)
	}
}

// scale draws the colour scale.
func (a *area) scale(s *Scale) {
	u := a.u
	b := area{sheet: a.sheet, x: Axis{Max: 1}, y: s.Of.axis(), lo: point{a.hi.x + 9*u, a.lo.y}, hi: point{a.hi.x + 23*u, a.hi.y}}
	const n = 128
	for i := range n {
		z := b.y.at((float64(i) + 0.5) / n)
		if c, ok := s.Of.color(z); ok {
			b.dev.rect(point{b.lo.x, b.lo.y + (b.hi.y-b.lo.y)*float64(i)/n}, point{b.hi.x, b.lo.y + (b.hi.y-b.lo.y)*float64(i+1)/n}, c)
		}
	}
	b.frame(b.lo, b.hi)
	ticks, power := b.y.ticks()
	widest := 0.0
	for _, t := range ticks {
		y := b.py(t.v)
		if t.label == "" || y < b.lo.y-0.01 || y > b.hi.y+0.01 {
			continue
		}
		b.stroke(pen{color: Black, width: u}, point{b.hi.x, y}, point{b.hi.x - 4*u, y})
		widest = max(widest, b.text(t.label, point{b.hi.x + 4*u, y}, format{size: 12 * u, va: 0.5}))
	}
	if power != 0 {
		b.text("×10^{"+number(float64(power), 0)+"}", point{b.lo.x, b.hi.y + 6*u}, format{size: 12 * u})
	}
	b.text(s.Title, point{b.hi.x + widest + 20*u, b.hi.y}, format{size: 13 * u, ha: 1, rot: math.Pi / 2, fit: b.hi.y - b.lo.y})
}
