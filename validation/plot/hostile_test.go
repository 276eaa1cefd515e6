package plot

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"image/png"
	"io"
	"math"
	"strings"
	"testing"
)

var hostileTexts = []string{"", "_", "^", "{", "}", "_{", "^{a", "_{^{_{x", "p_{T}^{γ_{1}}", "😀 emoji", strings.Repeat("wide ", 40),
	strings.Repeat("_{", 100) + "x" + strings.Repeat("}", 100), "a\x00b\nc\td", "\xff\xfe", "<&\"'>", "]]>", "%%EOF", "(unbalanced \\"}

var hostileContents = map[string][]float64{
	"empty": {}, "one": {5}, "zero": {0, 0, 0}, "nan": {math.NaN(), 1, math.NaN()}, "inf": {math.Inf(1), 2, math.Inf(-1)},
	"large": {1e6, 2e6, 1.5e6}, "huge": {1e300, -1e300, 1e308}, "tiny": {1e-300, 5e-324, 1e-310}, "negative": {-3, -1, -2}, "mixed": {-1, 0, 4},
}

func check(t *testing.T, name string, d Drawing) {
	t.Helper()
	for _, f := range Formats {
		b, err := Render(d, f)
		if err != nil {
			t.Fatalf("%s.%s: %v", name, f, err)
		}
		switch f {
		case "png":
			if _, err := png.Decode(bytes.NewReader(b)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		case "svg":
			for x := xml.NewDecoder(bytes.NewReader(b)); ; {
				if _, err := x.Token(); err == io.EOF {
					break
				} else if err != nil {
					t.Fatalf("%s: svg: %v", name, err)
				}
			}
			if bytes.Contains(b, []byte("NaN")) || bytes.Contains(b, []byte("Inf")) {
				t.Errorf("%s: svg has a coordinate that is not finite", name)
			}
		case "pdf":
			if !bytes.HasPrefix(b, []byte("%PDF-")) || !bytes.HasSuffix(b, []byte("%%EOF\n")) {
				t.Errorf("%s: no PDF", name)
			}
		}
	}
}

// Small figures, so that hundreds of them stay fast.
func small(d Drawing) Drawing {
	f := *d.Figure()
	f.Height *= 4 / max(f.Width, 4)
	f.Width = 4
	return &f
}

func TestHostileTexts(t *testing.T) {
	for i, s := range hostileTexts {
		r := Ratio{Style: Style{Experiment: s, Status: s, Lumi: s, Energy: s}, X: Axis{Title: s}, YTitle: s, Notes: []string{s, s}, Label: s, Alt: s,
			Edges: []float64{0, 1, 2, 3}, Data: []float64{1, 2, 3}, Curves: []Curve{{s, Morphed, []float64{1, 2, 3}, []float64{1, 1, 1}}}}
		m := Matrix{Title: s, Labels: []string{s, s + s}, Values: []float64{1, 0, 0, 1}, Notes: s, Alt: s}
		h := History{Losses: []Trace{{Label: s, X: []float64{1, 2}, Y: []float64{1, 2}}}, Constraints: []ConstraintTrace{{Trace: Trace{Label: s}, Unit: s}}}
		for k, d := range []Drawing{r, m, h} {
			check(t, fmt.Sprintf("text %d figure %d", i, k), small(d))
		}
	}
}

func TestHostileContents(t *testing.T) {
	for name, v := range hostileContents {
		n := len(v)
		edges := []float64{}
		for i := range n + 1 {
			edges = append(edges, float64(i))
		}
		for _, log := range []bool{false, true} {
			r := Ratio{Edges: edges, X: Axis{Title: "x"}, Data: v, DataLo: v, DataHi: v, LogY: log, Blind: [2]float64{1, 2},
				Curves: []Curve{{"s", Simulation, v, v}, {"m", Morphed, v, v}, {"o", 0, v, nil}}, Stack: []Part{{"a", v}, {"b", v}}}
			check(t, fmt.Sprint("ratio ", name, log), small(r))
		}
		s := Spread{Label: "x", Role: Morphed, Median: v, Err: v, Lower: v, Upper: v}
		check(t, "profile "+name, small(Profile{Edges: edges, Data: s, Curves: []Spread{s}}))
		check(t, "pulls "+name, small(Pulls{Edges: edges, Y: v}))
		check(t, "roc "+name, small(ROC{Curves: []Operating{{FPR: v, TPR: v}}}))
		tr := Trace{Label: "l", X: v, Y: v}
		check(t, "history "+name, small(History{Losses: []Trace{tr}, Constraints: []ConstraintTrace{{tr, "", math.NaN(), math.Inf(1)}}, Multipliers: []Trace{tr}, Best: 1}))
		if n == 0 {
			check(t, "matrix", small(Matrix{}))
			check(t, "density", small(Density{}))
			check(t, "figure", &Figure{})
			check(t, "panel", &Figure{Columns: [][]Panel{{}, {{}}}})
			continue
		}
		z := make([]float64, n*n)
		for i := range z {
			z[i] = v[i%n]
		}
		check(t, "matrix "+name, small(Matrix{Labels: make([]string, n), Values: z}))
		check(t, "density "+name, small(Density{XEdges: edges, YEdges: edges, Planes: []Plane{{"a", z}, {"b", z}}}))
	}
}

func TestHostileRanges(t *testing.T) {
	bad := []float64{math.NaN(), math.Inf(1), -1e308, 1e308, 0, 1e-320, -5}
	for _, lo := range bad {
		for _, hi := range bad {
			for _, log := range []bool{false, true} {
				for _, whole := range []bool{false, true} {
					a := Axis{Min: lo, Max: hi, Log: log, Integer: whole}.usable()
					ticks, _ := a.ticks()
					if len(ticks) > 1100 {
						t.Errorf("%v…%v: %d ticks", lo, hi, len(ticks))
					}
					p := Panel{X: a, Y: a, Layers: []Layer{Line{X: bad, Y: bad}, Points{X: bad, Y: bad}, Level{At: lo}, Region{Lo: lo, Hi: hi}, Bars{Edges: bad, Y: bad[1:]}}, Legend: true}
					if b, err := Render(&Figure{Width: 3, Height: 3, Columns: [][]Panel{{p}}}, "svg"); err != nil || bytes.Contains(b, []byte("NaN")) {
						t.Errorf("%v…%v log %v: %v", lo, hi, log, err)
					}
				}
			}
		}
	}
}

func FuzzText(f *testing.F) {
	for _, s := range hostileTexts {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if len(s) > 1000 {
			return
		}
		gs, w := layout(s, regular, 12)
		if !finite(w) || w < -1 {
			t.Errorf("%q is %v wide", s, w)
		}
		for _, g := range gs {
			if !finite(g.x) || !finite(g.y) || !(g.k > 0) {
				t.Errorf("%q: glyph at %v, %v, scale %v", s, g.x, g.y, g.k)
			}
		}
	})
}

func TestFontHasEveryRuneInUse(t *testing.T) {
	for _, r := range "ΔΣΓΛΩαβγδεζηθκλμνξπρστυφχψω−×±·≤≥≠≈∞√∫∂→←‹›…°|″′½" {
		if !hasRune(r) {
			t.Errorf("no glyph for %q", r)
		}
	}
	for _, r := range "⟨⟩∥ϕϵ⋅∼⇒ℓ⁻" {
		if !hasRune(r) {
			t.Errorf("no stand-in for %q", r)
		}
	}
	if hasRune('😀') {
		t.Error("the test is worthless: an emoji was found")
	}
}

func TestScripts(t *testing.T) {
	at := func(s string) (out []placed) { out, _ = layout(s, regular, 100); return out }
	a := at("a_{b}")
	if len(a) != 2 || math.Abs(a[1].y+20) > 1e-9 || math.Abs(a[1].k/a[0].k-0.7) > 1e-9 {
		t.Errorf("subscript: %+v", a)
	}
	a = at("p_{T}^{γ_{1}}") // superscript above the subscript, nested 1 below its γ
	if len(a) != 4 || math.Abs(a[1].x-a[2].x) > 1e-9 || math.Abs(a[2].y-44) > 1e-9 || math.Abs(a[3].y-(44-0.2*70)) > 1e-9 || math.Abs(a[3].k/a[0].k-0.49) > 1e-9 {
		t.Errorf("nested scripts: %+v", a)
	}
	if a = at("p_{T}^{γ}"); len(a) != 3 || a[1].y+capHeight*70 > a[2].y-descent*70 {
		t.Errorf("the superscript touches the subscript: %+v", a)
	}
	if got, want := at("fb^{-1}")[2].g, fonts[regular].glyph(regular, '−'); got != want {
		t.Error("a hyphen before a digit in a script is no minus")
	}
	if n := len(at("a_{b")); n != 4 {
		t.Errorf("unclosed brace: %d glyphs, want 4 as they stand", n)
	}
	if n := len(at("photon_pt")); n != 9 {
		t.Errorf("column name: %d glyphs, want 9", n)
	}
}

func TestTicks(t *testing.T) {
	for _, c := range []struct {
		a     Axis
		want  string
		power int
	}{
		{Axis{Min: -1, Max: 1, Ticks: 6}, "−1.0 −0.5 0.0 0.5 1.0", 0},
		{Axis{Min: 0, Max: 1234}, "0 250 500 750 1000", 0},
		{Axis{Min: 0, Max: 4.2e6}, "0 1 2 3 4", 6},
		{Axis{Min: 0, Max: 2e-4}, "0 50 100 150 200", -6},
		{Axis{Min: 0, Max: 3, Integer: true}, "0 1 2 3", 0},
		{Axis{Min: 25, Max: 300, Log: true}, "50 100 200", 0},
		{Axis{Min: 1000.1, Max: 99900, Log: true}, "2×10^{3} 5×10^{3} 10^{4} 2×10^{4} 5×10^{4}", 0},
		{Axis{Min: 1e3, Max: 1e5, Log: true}, "10^{3} 10^{4} 10^{5}", 0},
		{Axis{Min: .5, Max: 2e4, Log: true}, "1 10 10^{2} 10^{3} 10^{4}", 0},
		{Axis{Min: .9, Max: 1.1, Ticks: 4}, "0.90 0.95 1.00 1.05 1.10", 0},
	} {
		var got []string
		ticks, power := c.a.usable().ticks()
		for _, tk := range ticks {
			if tk.label != "" {
				got = append(got, tk.label)
			}
		}
		if s := strings.Join(got, " "); s != c.want || power != c.power {
			t.Errorf("%v…%v: %q ×10^%d, want %q ×10^%d", c.a.Min, c.a.Max, s, power, c.want, c.power)
		}
	}
}

// 100 entries have an error bar from 90 to 110, not from 95 to 105.
func TestErrorBarsAreFull(t *testing.T) {
	lo, hi := Poisson(100)
	if lo != 10 || hi != 10 {
		t.Fatalf("Poisson(100) = %v, %v", lo, hi)
	}
	p := Panel{X: Axis{Min: 0, Max: 2}, Y: Axis{Min: 0, Max: 200}, Layers: []Layer{Points{X: []float64{1}, Y: []float64{100}, Lo: []float64{lo}, Hi: []float64{hi}, Color: Red, Marker: Square, Radius: .5}}}
	b, err := Render(&Figure{Columns: [][]Panel{{p}}}, "png")
	if err != nil {
		t.Fatal(err)
	}
	m, err := png.Decode(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	first, last, frame := 0, 0, [2]int{}
	for y := range m.Bounds().Dy() {
		for x := range m.Bounds().Dx() {
			r, g, bl, _ := m.At(x, y).RGBA()
			if r>>8 > 180 && g>>8 < 60 && bl>>8 < 60 {
				if first == 0 {
					first = y
				}
				last = y
			}
		}
		// the frame's upper and lower line, seen in a column without ticks at 30 % of the width
		if r, _, _, _ := m.At(m.Bounds().Dx()*31/100, y).RGBA(); r>>8 < 100 {
			if frame[0] == 0 {
				frame[0] = y
			}
			frame[1] = y
		}
	}
	got := 200 * float64(last-first+1) / float64(frame[1]-frame[0])
	if math.Abs(got-20) > 0.7 {
		t.Errorf("the bar of 100 ± 10 is %.1f long, want 20", got)
	}
}

func TestPoisson(t *testing.T) {
	for _, c := range []struct{ n, lo, hi float64 }{{0, 0, 1.841}, {1, 0.827, 2.300}, {3, 1.633, 2.918}, {10, 3.108, 4.267}, {25, 5, 5}} { // PDG review of statistics, Garwood
		lo, hi := Poisson(c.n)
		if math.Abs(lo-c.lo) > 1e-3 || math.Abs(hi-c.hi) > 1e-3 {
			t.Errorf("Poisson(%v) = %.3f, %.3f, want %v, %v", c.n, lo, hi, c.lo, c.hi)
		}
	}
}

func TestRatioLeavesOutBlindedAndEmptyBins(t *testing.T) {
	one := []float64{1, 1, 1}
	r := Ratio{Edges: []float64{0, 1, 2, 3}, Data: []float64{4, 5, 0}, DataLo: one, DataHi: one, Curves: []Curve{{"m", Morphed, []float64{2, 5, 5}, one}}, Blind: [2]float64{1.2, 1.4}}
	for i, p := range r.Figure().Columns[0] {
		for _, l := range p.Layers {
			if q, ok := l.(Points); ok {
				want := []float64{4, math.NaN(), math.NaN()}
				if i == 1 {
					want[0] = 2
				}
				for k := range want {
					if q.Y[k] != want[k] && !(math.IsNaN(want[k]) && math.IsNaN(q.Y[k])) {
						t.Errorf("panel %d bin %d: %v, want %v", i, k, q.Y[k], want[k])
					}
				}
			}
		}
	}
}
