package plot

import (
	"bytes"
	"compress/zlib"
	"fmt"
	"image"
	"image/color"
	"math"
	"strconv"
	"unicode/utf16"
)

// pdf is a page of filled and stroked paths and pictures. There is neither a font nor a date in the file.
type pdf struct {
	w, h    float64
	title   string
	body    bytes.Buffer
	images  []*image.RGBA
	fillCol color.RGBA
	filled  bool
}

func newPDF(w, h float64, title string) *pdf { return &pdf{w: w, h: h, title: title} }

func (d *pdf) nums(v ...float64) {
	b := d.body.AvailableBuffer()
	for _, x := range v {
		x = math.Round(x*100) / 100
		if x == 0 {
			x = 0
		}
		b = strconv.AppendFloat(b, x, 'f', -1, 64)
		b = append(b, ' ')
	}
	d.body.Write(b)
}

func (d *pdf) colour(c color.RGBA, op string) {
	for _, v := range []uint8{c.R, c.G, c.B} {
		d.body.WriteString(strconv.FormatFloat(float64(v)/255, 'g', 3, 64))
		d.body.WriteByte(' ')
	}
	d.body.WriteString(op + "\n")
}

func (d *pdf) setFill(c color.RGBA) {
	if !d.filled || d.fillCol != c {
		d.colour(c, "rg")
		d.filled, d.fillCol = true, c
	}
}

// draw writes a path; at turns a point into the sheet's.
func (d *pdf) draw(p *path, at func(point) point) {
	i := 0
	var cur point
	for _, op := range p.op {
		switch op {
		case 'M', 'L':
			cur = at(p.pt[i])
			d.nums(cur.x, cur.y)
			d.body.WriteString(map[byte]string{'M': "m\n", 'L': "l\n"}[op])
			i++
		case 'Q': // PDF has cubic curves only
			q, e := at(p.pt[i]), at(p.pt[i+1])
			d.nums(cur.x+2*(q.x-cur.x)/3, cur.y+2*(q.y-cur.y)/3, e.x+2*(q.x-e.x)/3, e.y+2*(q.y-e.y)/3, e.x, e.y)
			d.body.WriteString("c\n")
			cur = e
			i += 2
		case 'C':
			a, b, e := at(p.pt[i]), at(p.pt[i+1]), at(p.pt[i+2])
			d.nums(a.x, a.y, b.x, b.y, e.x, e.y)
			d.body.WriteString("c\n")
			cur = e
			i += 3
		case 'Z':
			d.body.WriteString("h\n")
		}
	}
}

func same(p point) point { return p }

func (d *pdf) fill(p *path, c color.RGBA) {
	d.setFill(c)
	d.draw(p, same)
	d.body.WriteString("f\n")
}

func (d *pdf) disc(at point, r float64, c color.RGBA) { d.fill(circle(at, r), c) }

func (d *pdf) rect(lo, hi point, c color.RGBA) {
	d.setFill(c)
	d.nums(lo.x, lo.y, hi.x-lo.x, hi.y-lo.y)
	d.body.WriteString("re f\n")
}

func (d *pdf) stroke(p *path, s pen) {
	d.colour(s.color, "RG")
	d.nums(s.width)
	d.body.WriteString("w [")
	d.nums(s.dash...)
	d.body.WriteString("] 0 d\n")
	d.draw(p, same)
	d.body.WriteString("S\n")
}

func (d *pdf) text(gs []placed, at point, rot float64, c color.RGBA) {
	d.setFill(c)
	sin, cos := math.Sincos(rot)
	for _, g := range gs {
		d.draw(&g.g.outline, func(a point) point {
			x, y := g.x+a.x*g.k, g.y+a.y*g.k
			return point{at.x + x*cos - y*sin, at.y + x*sin + y*cos}
		})
		d.body.WriteString("f\n")
	}
}

func (d *pdf) image(m *image.RGBA, lo, hi point) {
	d.images = append(d.images, m)
	d.body.WriteString("q ")
	d.nums(hi.x-lo.x, 0, 0, hi.y-lo.y, lo.x, lo.y)
	fmt.Fprintf(&d.body, "cm /I%d Do Q\n", len(d.images)-1)
}

// utf16Hex is a PDF text string in hexadecimal digits.
func utf16Hex(s string) string {
	b := []byte("FEFF")
	for _, u := range utf16.Encode([]rune(s)) {
		b = fmt.Appendf(b, "%04X", u)
	}
	return string(b)
}

func deflate(b []byte) ([]byte, error) {
	var z bytes.Buffer
	w := zlib.NewWriter(&z)
	if _, err := w.Write(b); err != nil {
		return nil, err
	}
	err := w.Close()
	return z.Bytes(), err
}

func (d *pdf) bytes() ([]byte, error) {
	var out bytes.Buffer
	var at []int
	object := func(dict string, stream []byte) {
		at = append(at, out.Len())
		fmt.Fprintf(&out, "%d 0 obj\n", len(at))
		if stream == nil {
			fmt.Fprintf(&out, "<<%s>>\nendobj\n", dict)
			return
		}
		fmt.Fprintf(&out, "<<%s/Length %d>>\nstream\n%s\nendstream\nendobj\n", dict, len(stream), stream)
	}
	body, err := deflate(d.body.Bytes())
	if err != nil {
		return nil, err
	}
	// objects: 1 catalog, 2 pages, 3 page, 4 content, 5 information, then two an image (colours, mask)
	var res bytes.Buffer
	for i := range d.images {
		fmt.Fprintf(&res, "/I%d %d 0 R", i, 6+2*i)
	}
	out.WriteString("%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")
	object("/Type/Catalog/Pages 2 0 R", nil)
	object("/Type/Pages/Kids[3 0 R]/Count 1", nil)
	object(fmt.Sprintf("/Type/Page/Parent 2 0 R/MediaBox[0 0 %s %s]/Contents 4 0 R/Resources<</XObject<<%s>>>>", num(nil, d.w), num(nil, d.h), res.Bytes()), nil)
	object("/Filter/FlateDecode", body)
	object("/Producer(hepmorph)/Title<"+utf16Hex(printable(d.title))+">", nil)
	for i, m := range d.images {
		b := m.Bounds()
		rgb, mask := make([]byte, 0, 3*b.Dx()*b.Dy()), make([]byte, 0, b.Dx()*b.Dy())
		for k := 0; k < len(m.Pix); k += 4 {
			rgb = append(rgb, m.Pix[k:k+3]...)
			mask = append(mask, m.Pix[k+3])
		}
		if rgb, err = deflate(rgb); err != nil {
			return nil, err
		}
		if mask, err = deflate(mask); err != nil {
			return nil, err
		}
		dict := fmt.Sprintf("/Type/XObject/Subtype/Image/Width %d/Height %d/BitsPerComponent 8/Filter/FlateDecode", b.Dx(), b.Dy())
		object(fmt.Sprintf("%s/ColorSpace/DeviceRGB/SMask %d 0 R", dict, 7+2*i), rgb)
		object(dict+"/ColorSpace/DeviceGray", mask)
	}
	ref := out.Len()
	fmt.Fprintf(&out, "xref\n0 %d\n0000000000 65535 f \n", len(at)+1)
	for _, a := range at {
		fmt.Fprintf(&out, "%010d 00000 n \n", a)
	}
	fmt.Fprintf(&out, "trailer\n<</Size %d/Root 1 0 R/Info 5 0 R>>\nstartxref\n%d\n%%%%EOF\n", len(at)+1, ref)
	return out.Bytes(), nil
}
