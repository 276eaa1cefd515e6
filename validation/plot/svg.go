package plot

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"html"
	"image"
	"image/color"
	"image/png"
	"math"
	"strconv"
)

// vector graphics for browsers: each glyph is defined once and used by reference, so that a figure stays small.
type svg struct {
	w, h  float64
	title string
	defs  bytes.Buffer
	body  bytes.Buffer
	ids   map[*glyph]string
	pen   string // attributes of the open stroke: lines of one pen become one path
}

func newSVG(w, h float64, title string) *svg {
	return &svg{w: w, h: h, title: title, ids: map[*glyph]string{}}
}

// num writes a coordinate with at most two decimals: 1/100 point is 3.5 µm.
func num(b []byte, v float64) []byte {
	v = math.Round(v*100) / 100
	if v == 0 {
		v = 0 // no -0
	}
	return strconv.AppendFloat(b, v, 'f', -1, 64)
}

func hex(c color.RGBA) string {
	if c.R == c.R>>4*17 && c.G == c.G>>4*17 && c.B == c.B>>4*17 {
		return fmt.Sprintf("#%x%x%x", c.R&15, c.G&15, c.B&15)
	}
	return fmt.Sprintf("#%02x%02x%02x", c.R, c.G, c.B)
}

// data writes a path's "d"; at turns a point into the written coordinates.
func (s *svg) data(b []byte, p *path, at func(point) point) []byte {
	i := 0
	n := map[byte]int{'M': 1, 'L': 1, 'Q': 2, 'C': 3}
	for _, op := range p.op {
		b = append(b, op)
		for j := range n[op] {
			if j > 0 {
				b = append(b, ' ')
			}
			q := at(p.pt[i])
			b = num(b, q.x)
			b = append(b, ' ')
			b = num(b, q.y)
			i++
		}
	}
	return b
}

func (s *svg) sheet(p point) point { return point{p.x, s.h - p.y} }

// relative writes an outline in whole font units, in relative coordinates, y downwards: half the length.
func relative(b []byte, p *path) []byte {
	var cur, start point
	i := 0
	put := func(q point) {
		for _, d := range []float64{q.x - cur.x, cur.y - q.y} {
			if d >= 0 && b[len(b)-1] <= '9' {
				b = append(b, ' ')
			}
			b = strconv.AppendInt(b, int64(math.Round(d)), 10)
		}
	}
	for _, op := range p.op {
		if op == 'Z' {
			b = append(b, 'z')
			cur = start
			continue
		}
		n := map[byte]int{'M': 1, 'L': 1, 'Q': 2, 'C': 3}[op]
		b = append(b, op|0x20)
		for j := range n {
			put(p.pt[i+j])
		}
		i += n
		cur = p.pt[i-1]
		cur = point{math.Round(cur.x), math.Round(cur.y)}
		if op == 'M' {
			start = cur
		}
	}
	return b
}

func (s *svg) flush() {
	if s.pen != "" {
		s.body.WriteString("\"/>\n")
		s.pen = ""
	}
}

func (s *svg) disc(at point, r float64, c color.RGBA) {
	s.flush()
	a := s.sheet(at)
	fmt.Fprintf(&s.body, "<circle cx=\"%s\" cy=\"%s\" r=\"%s\" fill=\"%s\"/>\n", num(nil, a.x), num(nil, a.y), num(nil, r), hex(c))
}

func (s *svg) fill(p *path, c color.RGBA) {
	s.flush()
	fmt.Fprintf(&s.body, "<path fill=\"%s\" d=\"%s\"/>\n", hex(c), s.data(nil, p, s.sheet))
}

func (s *svg) rect(lo, hi point, c color.RGBA) {
	s.flush()
	a, b := s.sheet(point{lo.x, hi.y}), s.sheet(point{hi.x, lo.y})
	fmt.Fprintf(&s.body, "<rect x=\"%s\" y=\"%s\" width=\"%s\" height=\"%s\" fill=\"%s\" shape-rendering=\"crispEdges\"/>\n",
		num(nil, a.x), num(nil, a.y), num(nil, b.x-a.x), num(nil, b.y-a.y), hex(c))
}

func (s *svg) stroke(p *path, q pen) {
	b := fmt.Appendf(nil, "stroke=\"%s\" stroke-width=\"%s\"", hex(q.color), num(nil, q.width))
	if len(q.dash) > 0 {
		b = append(b, " stroke-dasharray=\""...)
		for i, d := range q.dash {
			if i > 0 {
				b = append(b, ' ')
			}
			b = num(b, d)
		}
		b = append(b, '"')
	}
	if pen := string(b); pen != s.pen {
		s.flush()
		s.pen = pen
		fmt.Fprintf(&s.body, "<path fill=\"none\" %s d=\"", pen)
	}
	s.body.Write(s.data(nil, p, s.sheet))
}

func (s *svg) text(gs []placed, at point, rot float64, c color.RGBA) {
	if len(gs) == 0 {
		return
	}
	s.flush()
	a := s.sheet(at)
	fmt.Fprintf(&s.body, "<g fill=\"%s\" transform=\"translate(%s %s)", hex(c), num(nil, a.x), num(nil, a.y))
	if rot != 0 {
		fmt.Fprintf(&s.body, " rotate(%s)", num(nil, -rot*180/math.Pi))
	}
	s.body.WriteString("\">")
	k, y := 0.0, 0.0
	for i, g := range gs {
		if i == 0 || g.k != k || g.y != y { // a new size or height: font units from here on
			if i > 0 {
				s.body.WriteString("</g>")
			}
			k, y = g.k, g.y
			fmt.Fprintf(&s.body, "<g transform=\"translate(0 %s) scale(%s)\">", num(nil, -y), strconv.FormatFloat(k, 'g', 4, 64))
		}
		id := s.ids[g.g]
		if id == "" {
			id = "g" + strconv.Itoa(len(s.ids))
			s.ids[g.g] = id
			fmt.Fprintf(&s.defs, "<path id=\"%s\" d=\"%s\"/>\n", id, relative(nil, &g.g.outline))
		}
		fmt.Fprintf(&s.body, "<use xlink:href=\"#%s\" x=\"%.0f\"/>", id, g.x/k)
	}
	s.body.WriteString("</g></g>\n")
}

func (s *svg) image(m *image.RGBA, lo, hi point) {
	s.flush()
	var b bytes.Buffer
	if png.Encode(&b, m) != nil {
		return
	}
	a, e := s.sheet(point{lo.x, hi.y}), s.sheet(point{hi.x, lo.y})
	fmt.Fprintf(&s.body, "<image x=\"%s\" y=\"%s\" width=\"%s\" height=\"%s\" preserveAspectRatio=\"none\" style=\"image-rendering:pixelated\" xlink:href=\"data:image/png;base64,%s\"/>\n",
		num(nil, a.x), num(nil, a.y), num(nil, e.x-a.x), num(nil, e.y-a.y), base64.StdEncoding.EncodeToString(b.Bytes()))
}

func (s *svg) bytes() ([]byte, error) {
	s.flush()
	var b bytes.Buffer
	fmt.Fprintf(&b, "<svg xmlns=\"http://www.w3.org/2000/svg\" xmlns:xlink=\"http://www.w3.org/1999/xlink\" width=\"%spt\" height=\"%spt\" viewBox=\"0 0 %s %s\" role=\"img\">\n",
		num(nil, s.w), num(nil, s.h), num(nil, s.w), num(nil, s.h))
	if s.title != "" {
		fmt.Fprintf(&b, "<title>%s</title>\n", html.EscapeString(printable(s.title)))
	}
	fmt.Fprintf(&b, "<defs>\n%s</defs>\n<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n%s</svg>\n", s.defs.Bytes(), s.body.Bytes())
	return b.Bytes(), nil
}
