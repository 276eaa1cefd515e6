package plot

import (
	"image/color"
	"math"
	"strings"
	"sync"
	"unicode"

	"codeberg.org/go-fonts/liberation/liberationsansbold"
	"codeberg.org/go-fonts/liberation/liberationsansitalic"
	"codeberg.org/go-fonts/liberation/liberationsansregular"
	"golang.org/x/image/font"
	"golang.org/x/image/font/sfnt"
	"golang.org/x/image/math/fixed"
)

// face is one of the three embedded styles.
type face uint8

const (
	regular face = iota
	bold
	italic
	nFaces
)

// Sizes and places of scripts, relative to the size of the text they belong to.
const (
	subShift   = -0.20
	superShift = +0.38
	stackShift = 0.06 // how much farther each goes when both stand above each other, so that a γ does not touch a T
	scriptSize = 0.70
	maxNesting = 8 // deeper braces keep the size of the eighth
	capHeight  = 0.716
	descent    = 0.212
)

// glyph is an outline in font units (y upwards), loaded at one pixel a unit so that nothing is rounded.
type glyph struct {
	face    face
	index   sfnt.GlyphIndex
	outline path
	advance float64
	left    float64 // x range of the outline
	right   float64
}

// outlines holds a font and the glyphs loaded from it. Safe for concurrent use.
type outlines struct {
	once   sync.Once
	ttf    []byte
	mu     sync.Mutex
	font   *sfnt.Font
	buf    sfnt.Buffer
	em     float64
	glyphs map[sfnt.GlyphIndex]*glyph
	runes  map[rune]sfnt.GlyphIndex
	kerns  map[[2]sfnt.GlyphIndex]float64
}

var fonts = [nFaces]*outlines{
	regular: {ttf: liberationsansregular.TTF},
	bold:    {ttf: liberationsansbold.TTF},
	italic:  {ttf: liberationsansitalic.TTF},
}

func (o *outlines) load() {
	o.once.Do(func() {
		f, err := sfnt.Parse(o.ttf)
		if err != nil {
			panic("plot: embedded font is damaged")
		}
		o.font, o.em = f, float64(f.UnitsPerEm())
		o.glyphs = map[sfnt.GlyphIndex]*glyph{}
		o.runes = map[rune]sfnt.GlyphIndex{}
		o.kerns = map[[2]sfnt.GlyphIndex]float64{}
	})
}

// glyph returns the outline of a rune; one that the font lacks is the font's empty box.
func (o *outlines) glyph(fc face, r rune) *glyph {
	o.load()
	o.mu.Lock()
	defer o.mu.Unlock()
	i, ok := o.runes[r]
	if !ok {
		i, _ = o.font.GlyphIndex(&o.buf, r) // 0, the empty box, if there is none
		if near := nearest[r]; i == 0 && near != 0 {
			i, _ = o.font.GlyphIndex(&o.buf, near)
		}
		o.runes[r] = i
	}
	if g := o.glyphs[i]; g != nil {
		return g
	}
	g := &glyph{face: fc, index: i, left: math.Inf(1), right: math.Inf(-1)}
	ppem := fixed.Int26_6(o.font.UnitsPerEm()) << 6
	at := func(q fixed.Point26_6) point {
		p := point{float64(q.X) / 64, -float64(q.Y) / 64}
		g.left, g.right = min(g.left, p.x), max(g.right, p.x)
		return p
	}
	segs, _ := o.font.LoadGlyph(&o.buf, i, ppem, nil)
	for k, s := range segs {
		switch s.Op {
		case sfnt.SegmentOpMoveTo:
			if k > 0 {
				g.outline.close()
			}
			g.outline.move(at(s.Args[0]))
		case sfnt.SegmentOpLineTo:
			g.outline.line(at(s.Args[0]))
		case sfnt.SegmentOpQuadTo:
			g.outline.quad(at(s.Args[0]), at(s.Args[1]))
		case sfnt.SegmentOpCubeTo:
			g.outline.cube(at(s.Args[0]), at(s.Args[1]), at(s.Args[2]))
		}
	}
	if len(segs) > 0 {
		g.outline.close()
	}
	if adv, err := o.font.GlyphAdvance(&o.buf, i, ppem, font.HintingNone); err == nil {
		g.advance = float64(adv) / 64
	}
	o.glyphs[i] = g
	return g
}

// kern is the change of the distance between two glyphs, in font units.
func (o *outlines) kern(a, b sfnt.GlyphIndex) float64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	k, ok := o.kerns[[2]sfnt.GlyphIndex{a, b}]
	if !ok {
		if v, err := o.font.Kern(&o.buf, a, b, fixed.Int26_6(o.font.UnitsPerEm())<<6, font.HintingNone); err == nil {
			k = float64(v) / 64
		}
		o.kerns[[2]sfnt.GlyphIndex{a, b}] = k
	}
	return k
}

// nearest are stand-ins for signs of formulas that Liberation Sans lacks.
var nearest = map[rune]rune{'⟨': '‹', '⟩': '›', '∥': '‖', 'ϕ': 'φ', 'ϵ': 'ε', '⋅': '·', '∼': '~', '⇒': '→', 'ℓ': 'l', '⁻': '−'}

// hasRune says whether the regular face can draw r.
func hasRune(r rune) bool { return fonts[regular].glyph(regular, r).index != 0 }

// placed is a glyph with its place, in points relative to the start of the line.
type placed struct {
	g    *glyph
	x, y float64
	k    float64 // points a font unit
}

// script finds the end of a _{…} or ^{…} that starts at s[i]: the index of its closing brace, or -1.
func script(s []rune, i int) int {
	if i+1 >= len(s) || s[i] != '_' && s[i] != '^' || s[i+1] != '{' {
		return -1
	}
	depth := 0
	for j := i + 1; j < len(s); j++ {
		switch s[j] {
		case '{':
			depth++
		case '}':
			if depth--; depth == 0 {
				return j
			}
		}
	}
	return -1
}

// layout places the glyphs of a line and returns its width. An unclosed brace is plain text: a label never brings the program down.
func layout(s string, fc face, size float64) ([]placed, float64) {
	l := line{fc: fc, o: fonts[fc]}
	l.o.load()
	clean := strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case unicode.IsControl(r):
			return -1
		}
		return r
	}, s)
	w := l.run([]rune(clean), 0, 0, size, 0)
	return l.out, w
}

type line struct {
	fc  face
	o   *outlines
	out []placed
}

func (l *line) run(s []rune, x, y, size float64, depth int) float64 {
	last := -1
	for i := 0; i < len(s); i++ {
		if j := script(s, i); j > 0 {
			// a subscript and a superscript side by side stand above each other
			if k := script(s, j+1); k > 0 && s[j+1] != s[i] {
				first := l.script(s, i, j, x, y, size, stackShift, depth)
				x, i = max(first, l.script(s, j+1, k, x, y, size, stackShift, depth)), k
			} else {
				x, i = l.script(s, i, j, x, y, size, 0, depth), j
			}
			last = -1
			continue
		}
		r := s[i]
		if r == '-' && depth > 0 && i+1 < len(s) && unicode.IsDigit(s[i+1]) {
			r = '−' // fb^{-1}
		}
		g := l.o.glyph(l.fc, r)
		k := size / l.o.em
		if last >= 0 {
			x += l.o.kern(sfnt.GlyphIndex(last), g.index) * k
		}
		if len(g.outline.op) > 0 {
			l.out = append(l.out, placed{g, x, y, k})
		}
		x, last = x+g.advance*k, int(g.index)
	}
	return x
}

// script places the script s[i:j+1], farther from the line by a share of its size, and returns where it ends.
func (l *line) script(s []rune, i, j int, x, y, size, farther float64, depth int) float64 {
	shift := subShift - farther
	if s[i] == '^' {
		shift = superShift + farther
	}
	small := size * scriptSize
	if depth >= maxNesting {
		small, shift = size, 0
	}
	return l.run(s[i+2:j], x, y+shift*size, small, depth+1)
}

// format of a text: ha 0 left, 0.5 centre, 1 right; va 0 baseline, 0.5 middle of the capitals, 1 top of the capitals, -1 bottom with descenders.
type format struct {
	face   face
	size   float64
	ha, va float64
	rot    float64
	color  color.RGBA
	fit    float64 // widest in points, 0: no limit; a longer text shrinks to 60 %, then it is cut with …
}

// fitted returns the glyphs and the width of a text within f.fit.
func fitted(s string, f format) ([]placed, float64, float64) {
	gs, w := layout(s, f.face, f.size)
	if f.fit <= 0 || w <= f.fit {
		return gs, w, f.size
	}
	size := max(f.size*f.fit/w, 0.6*f.size)
	gs, w = layout(s, f.face, size)
	if w <= f.fit*1.001 {
		return gs, w, size
	}
	dots, dw := layout("…", f.face, size)
	n := len(gs)
	for n > 0 && gs[n-1].x+gs[n-1].g.advance*gs[n-1].k+dw > f.fit {
		n--
	}
	end := 0.0
	if n > 0 {
		end = gs[n-1].x + gs[n-1].g.advance*gs[n-1].k
	}
	out := append([]placed(nil), gs[:n]...)
	for _, d := range dots {
		d.x += end
		out = append(out, d)
	}
	return out, end + dw, size
}
