package plot

import (
	"bytes"
	"cmp"
	"image"
	"image/color"
	"image/png"
	"math"
	"slices"

	"golang.org/x/image/vector"
)

// dpi is the resolution of PNG files.
const dpi = 200

// raster draws on pixels.
type raster struct {
	img *image.RGBA
	k   float64 // pixels a point
	h   float64
	z   vector.Rasterizer
}

func newRaster(w, h float64) *raster {
	k := dpi / 72.0
	r := &raster{img: image.NewRGBA(image.Rect(0, 0, int(math.Round(w*k)), int(math.Round(h*k)))), k: k, h: h}
	for i := range r.img.Pix {
		r.img.Pix[i] = 255
	}
	return r
}

func (r *raster) px(p point) (float64, float64) { return p.x * r.k, (r.h - p.y) * r.k }

// paint rasterises a path given in pixels, in the smallest box that holds it.
func (r *raster) paint(p *path, c color.RGBA) {
	if len(p.pt) == 0 {
		return
	}
	x0, y0, x1, y1 := math.Inf(1), math.Inf(1), math.Inf(-1), math.Inf(-1)
	for _, a := range p.pt {
		x0, x1, y0, y1 = min(x0, a.x), max(x1, a.x), min(y0, a.y), max(y1, a.y)
	}
	b := r.img.Bounds()
	const far = 1 << 14 // a path beyond this is no figure of ours
	if !(x0 > -far && y0 > -far && x1 < far && y1 < far) {
		return
	}
	box := image.Rect(int(math.Floor(x0)), int(math.Floor(y0)), int(math.Ceil(x1))+1, int(math.Ceil(y1))+1)
	if box.Intersect(b).Empty() {
		return
	}
	r.z.Reset(box.Dx(), box.Dy())
	at := func(a point) (float32, float32) {
		return float32(a.x - float64(box.Min.X)), float32(a.y - float64(box.Min.Y))
	}
	i := 0
	for _, op := range p.op {
		switch op {
		case 'M':
			r.z.MoveTo(at(p.pt[i]))
			i++
		case 'L':
			r.z.LineTo(at(p.pt[i]))
			i++
		case 'Q':
			ax, ay := at(p.pt[i])
			bx, by := at(p.pt[i+1])
			r.z.QuadTo(ax, ay, bx, by)
			i += 2
		case 'C':
			ax, ay := at(p.pt[i])
			bx, by := at(p.pt[i+1])
			cx, cy := at(p.pt[i+2])
			r.z.CubeTo(ax, ay, bx, by, cx, cy)
			i += 3
		case 'Z':
			r.z.ClosePath()
		}
	}
	if in := box.Intersect(b); in == box {
		r.z.Draw(r.img, box, image.NewUniform(c), image.Point{})
	} else { // the rasteriser wants the whole box: draw it apart, copy what lies on the sheet
		tmp := image.NewRGBA(box)
		for y := in.Min.Y; y < in.Max.Y; y++ {
			copy(tmp.Pix[tmp.PixOffset(in.Min.X, y):tmp.PixOffset(in.Max.X, y)], r.img.Pix[r.img.PixOffset(in.Min.X, y):])
		}
		r.z.Draw(tmp, box, image.NewUniform(c), image.Point{})
		for y := in.Min.Y; y < in.Max.Y; y++ {
			copy(r.img.Pix[r.img.PixOffset(in.Min.X, y):], tmp.Pix[tmp.PixOffset(in.Min.X, y):tmp.PixOffset(in.Max.X, y)])
		}
	}
}

func (r *raster) fill(p *path, c color.RGBA) {
	q := path{op: p.op, pt: make([]point, len(p.pt))}
	for i, a := range p.pt {
		q.pt[i].x, q.pt[i].y = r.px(a)
	}
	r.paint(&q, c)
}

func (r *raster) disc(at point, radius float64, c color.RGBA) { r.fill(circle(at, radius), c) }

func (r *raster) rect(lo, hi point, c color.RGBA) {
	x0, y1 := r.px(lo)
	x1, y0 := r.px(hi)
	box := image.Rect(int(math.Round(x0)), int(math.Round(y0)), int(math.Round(x1)), int(math.Round(y1))).Intersect(r.img.Bounds())
	for y := box.Min.Y; y < box.Max.Y; y++ {
		row := r.img.Pix[r.img.PixOffset(box.Min.X, y):r.img.PixOffset(box.Max.X, y)]
		for i := 0; i < len(row); i += 4 {
			row[i], row[i+1], row[i+2], row[i+3] = c.R, c.G, c.B, 255
		}
	}
}

// stroke fills one quadrilateral a segment and a small disc at each inner corner; all turn the same way, so that overlaps count once.
func (r *raster) stroke(p *path, s pen) {
	w := max(s.width*r.k, 1) / 2
	for _, pts := range polylines(p) {
		px := make([]point, len(pts))
		for i, a := range pts {
			px[i].x, px[i].y = r.px(a)
		}
		d := make([]float64, len(s.dash))
		for i := range d {
			d[i] = s.dash[i] * r.k
		}
		for _, part := range dashed(px, d) {
			var q path
			for i := 1; i < len(part); i++ {
				a, b := part[i-1], part[i]
				dx, dy := b.x-a.x, b.y-a.y
				l := math.Hypot(dx, dy)
				if l == 0 {
					continue
				}
				nx, ny := -dy/l*w, dx/l*w
				q.move(point{a.x - nx, a.y - ny})
				q.line(point{b.x - nx, b.y - ny})
				q.line(point{b.x + nx, b.y + ny})
				q.line(point{a.x + nx, a.y + ny})
				q.close()
				if len(part) <= 6 { // a frame: its box is the whole sheet, its lines are thin
					if len(part) > 2 { // square corners
						for _, c := range []point{a, b} {
							q.move(point{c.x - w, c.y - w})
							q.line(point{c.x + w, c.y - w})
							q.line(point{c.x + w, c.y + w})
							q.line(point{c.x - w, c.y + w})
							q.close()
						}
					}
					r.paint(&q, s.color)
					q = path{}
				}
			}
			if len(part) <= 6 {
				continue
			}
			for i := 1; i+1 < len(part); i++ {
				a, b, e := part[i-1], part[i], part[i+1]
				cross := (b.x-a.x)*(e.y-b.y) - (b.y-a.y)*(e.x-b.x)
				dot := (b.x-a.x)*(e.x-b.x) + (b.y-a.y)*(e.y-b.y)
				if math.Abs(cross) <= 1e-3*math.Abs(dot) && dot > 0 {
					continue
				}
				if dot == 0 && (b.x == a.x || b.y == a.y) { // a step: a square keeps its corner sharp
					q.move(point{b.x - w, b.y - w})
					q.line(point{b.x + w, b.y - w})
					q.line(point{b.x + w, b.y + w})
					q.line(point{b.x - w, b.y + w})
					q.close()
					continue
				}
				for j := range 12 {
					t := 2 * math.Pi * float64(j) / 12
					c := point{b.x + w*math.Cos(t), b.y + w*math.Sin(t)}
					if j == 0 {
						q.move(c)
					} else {
						q.line(c)
					}
				}
				q.close()
			}
			r.paint(&q, s.color)
		}
	}
}

func (r *raster) text(gs []placed, at point, rot float64, c color.RGBA) {
	sin, cos := math.Sincos(rot)
	for _, g := range gs {
		q := path{op: g.g.outline.op, pt: make([]point, len(g.g.outline.pt))}
		for i, a := range g.g.outline.pt {
			x, y := g.x+a.x*g.k, g.y+a.y*g.k
			q.pt[i].x, q.pt[i].y = r.px(point{at.x + x*cos - y*sin, at.y + x*sin + y*cos})
		}
		r.paint(&q, c)
	}
}

func (r *raster) image(m *image.RGBA, lo, hi point) {
	b := m.Bounds()
	x0, y1 := r.px(lo)
	x1, y0 := r.px(hi)
	box := image.Rect(int(math.Round(x0)), int(math.Round(y0)), int(math.Round(x1)), int(math.Round(y1)))
	in := box.Intersect(r.img.Bounds())
	for y := in.Min.Y; y < in.Max.Y; y++ {
		sy := b.Min.Y + (y-box.Min.Y)*b.Dy()/box.Dy()
		for x := in.Min.X; x < in.Max.X; x++ {
			sx := b.Min.X + (x-box.Min.X)*b.Dx()/box.Dx()
			if c := m.RGBAAt(sx, sy); c.A == 255 {
				r.img.SetRGBA(x, y, c)
			}
		}
	}
}

func (r *raster) bytes() ([]byte, error) {
	var b bytes.Buffer
	err := (&png.Encoder{CompressionLevel: png.BestSpeed}).Encode(&b, paletted(r.img))
	return b.Bytes(), err
}

// paletted stores a picture with one byte a pixel, a third of the time and of the size. The 48 most frequent colours stay exact, the
// others (edges of letters and lines) are rounded to 32 levels a channel and then to the nearest of 256 colours. A picture that would
// change visibly, a fine heat map, stays as it is.
func paletted(m *image.RGBA) image.Image {
	type colour = [3]uint8
	count := map[colour]int{}
	run := 0
	for i := 0; i < len(m.Pix); i += 4 {
		run++
		if i+4 == len(m.Pix) || m.Pix[i] != m.Pix[i+4] || m.Pix[i+1] != m.Pix[i+5] || m.Pix[i+2] != m.Pix[i+6] {
			count[colour(m.Pix[i:i+3])] += run
			run = 0
		}
	}
	byCount := func(n map[colour]int) []colour {
		all := make([]colour, 0, len(n))
		for c := range n {
			all = append(all, c)
		}
		slices.SortFunc(all, func(a, b colour) int { return cmp.Or(n[b]-n[a], slices.Compare(a[:], b[:])) })
		return all
	}
	round := func(v uint8) uint8 { return uint8(((int(v)*31+127)/255*255 + 15) / 31) }
	exact := byCount(count)
	to, coarse := make(map[colour]colour, len(exact)), map[colour]int{}
	for i, c := range exact {
		q := c
		if i >= 48 {
			q = colour{round(c[0]), round(c[1]), round(c[2])}
		}
		to[c] = q
		coarse[q] += count[c]
	}
	index := make(map[colour]uint8, len(coarse))
	far := 0 // pixels whose colour would change by more than an eighth of the range
	var pal color.Palette
	all := byCount(coarse)
	for i, c := range all {
		if i < 256 {
			index[c] = uint8(i)
			pal = append(pal, color.RGBA{c[0], c[1], c[2], 255})
			continue
		}
		best, least := 0, math.MaxInt
		for k, q := range all[:256] {
			a, b, d := int(c[0])-int(q[0]), int(c[1])-int(q[1]), int(c[2])-int(q[2])
			if s := a*a + b*b + d*d; s < least {
				best, least = k, s
			}
		}
		if least > 32*32 {
			far += coarse[c]
		}
		index[c] = uint8(best)
	}
	if far > len(m.Pix)/4/1000 {
		return m
	}
	p := image.NewPaletted(m.Bounds(), pal)
	last := colour(m.Pix[:3])
	at := index[to[last]]
	for i := 0; i < len(m.Pix); i += 4 {
		if c := colour(m.Pix[i : i+3]); c != last {
			last, at = c, index[to[c]]
		}
		p.Pix[i/4] = at
	}
	return p
}

// polylines splits a path of lines into its parts; a closed part ends where it began.
func polylines(p *path) [][]point {
	var out [][]point
	i := 0
	for _, op := range p.op {
		switch op {
		case 'M':
			out = append(out, []point{p.pt[i]})
			i++
		case 'L':
			out[len(out)-1] = append(out[len(out)-1], p.pt[i])
			i++
		case 'Z':
			l := len(out) - 1
			out[l] = append(out[l], out[l][0])
		}
	}
	return out
}

// dashed cuts a polyline into its dashes; without a pattern it is returned whole.
func dashed(pts []point, dash []float64) [][]point {
	sum := 0.0
	for _, d := range dash {
		sum += d
	}
	if sum <= 0 {
		return [][]point{pts}
	}
	var out [][]point
	k, left, on := 0, dash[0], true
	cur := []point{pts[0]}
	for i := 1; i < len(pts); i++ {
		a, b := pts[i-1], pts[i]
		l := math.Hypot(b.x-a.x, b.y-a.y)
		if !(l < 1e5*sum) {
			return [][]point{pts}
		}
		for at := 0.0; at < l; {
			if left > l-at {
				left -= l - at
				at = l
				if on {
					cur = append(cur, b)
				}
				continue
			}
			at += left
			q := point{a.x + (b.x-a.x)*at/l, a.y + (b.y-a.y)*at/l}
			if on {
				out = append(out, append(cur, q))
				cur = nil
			} else {
				cur = []point{q}
			}
			k = (k + 1) % len(dash)
			left, on = dash[k], !on
		}
	}
	if on && len(cur) > 1 {
		out = append(out, cur)
	}
	return out
}
