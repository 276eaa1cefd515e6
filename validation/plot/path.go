package plot

import (
	"image"
	"image/color"
	"math"
)

// point is a place on the sheet in points, y upwards from the lower left corner.
type point struct{ x, y float64 }

func (p point) finite() bool {
	return !math.IsNaN(p.x) && !math.IsInf(p.x, 0) && !math.IsNaN(p.y) && !math.IsInf(p.y, 0)
}

// path is a list of sub-paths: op 'M' and 'L' take one point, 'Q' two, 'C' three, 'Z' none.
type path struct {
	op []byte
	pt []point
}

func (p *path) move(a point) { p.op, p.pt = append(p.op, 'M'), append(p.pt, a) }
func (p *path) line(a point) { p.op, p.pt = append(p.op, 'L'), append(p.pt, a) }
func (p *path) quad(a, b point) {
	p.op, p.pt = append(p.op, 'Q'), append(p.pt, a, b)
}
func (p *path) cube(a, b, c point) {
	p.op, p.pt = append(p.op, 'C'), append(p.pt, a, b, c)
}
func (p *path) close() { p.op = append(p.op, 'Z') }

// polygon is a closed path through pts; nil if one of them is not finite.
func polygon(pts ...point) *path {
	var p path
	for i, a := range pts {
		if !a.finite() {
			return nil
		}
		if i == 0 {
			p.move(a)
		} else {
			p.line(a)
		}
	}
	p.close()
	return &p
}

// pen is how a line is drawn; width and dashes in points.
type pen struct {
	color color.RGBA
	width float64
	dash  []float64
}

// device is a back end: PNG, PDF or SVG. Coordinates are points, y upwards. Colours are opaque.
type device interface {
	// fill fills with the non-zero winding rule.
	fill(p *path, c color.RGBA)
	// rect fills an upright rectangle with sharp edges, so that neighbours leave no seam.
	rect(lo, hi point, c color.RGBA)
	disc(at point, r float64, c color.RGBA)
	// stroke draws polylines (only 'M', 'L' and 'Z').
	stroke(p *path, s pen)
	// text fills glyphs placed relative to at, turned by rot (radians, anticlockwise).
	text(gs []placed, at point, rot float64, c color.RGBA)
	// image stretches a picture over a rectangle without smoothing.
	image(m *image.RGBA, lo, hi point)
	// bytes finishes the drawing.
	bytes() ([]byte, error)
}

// circle is a disc of four cubic curves.
func circle(at point, r float64) *path {
	k := 0.5522847498 * r
	var p path
	p.move(point{at.x + r, at.y})
	p.cube(point{at.x + r, at.y + k}, point{at.x + k, at.y + r}, point{at.x, at.y + r})
	p.cube(point{at.x - k, at.y + r}, point{at.x - r, at.y + k}, point{at.x - r, at.y})
	p.cube(point{at.x - r, at.y - k}, point{at.x - k, at.y - r}, point{at.x, at.y - r})
	p.cube(point{at.x + k, at.y - r}, point{at.x + r, at.y - k}, point{at.x + r, at.y})
	p.close()
	return &p
}
