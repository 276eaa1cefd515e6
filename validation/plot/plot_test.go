package plot

import (
	"bytes"
	"flag"
	"image/png"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var regen = flag.Bool("regen", false, "write the golden files anew")

func toyRatio() Ratio {
	rnd := rand.New(rand.NewPCG(1, 1))
	const n = 40
	edges := make([]float64, n+1)
	for i := range edges {
		edges[i] = -1 + 2*float64(i)/n
	}
	fill := func(mu, s float64, events int, w float64) (h, e []float64) {
		h, e = make([]float64, n), make([]float64, n)
		for range events {
			if i := int((math.Tanh(mu+rnd.NormFloat64()*s) + 1) / 2 * n); i >= 0 && i < n {
				h[i]++
			}
		}
		for i := range h {
			h[i], e[i] = h[i]*w, math.Sqrt(h[i])*w
		}
		return h, e
	}
	r := Ratio{
		Style: Style{Status: "Work in progress", Lumi: "59.8 fb^{-1}", Energy: "13 TeV"},
		X:     Axis{Title: "Photon ID score, m_{γγ} [GeV], σ_{iηiη}"}, YTitle: "Photons / 0.05", Edges: edges,
		Notes: []string{"Z → ee, barrel, p_{T} > 25 GeV"}, Alt: "Photon ID score in data and simulation",
	}
	r.Data, _ = fill(.30, .50, 20000, 1)
	for _, v := range r.Data {
		lo, hi := Poisson(v)
		r.DataLo, r.DataHi = append(r.DataLo, lo), append(r.DataHi, hi)
	}
	s, es := fill(.38, .47, 200000, .1)
	m, em := fill(.301, .50, 200000, .1)
	r.Curves = []Curve{{"Simulation", Simulation, s, es}, {"Morphed simulation", Morphed, m, em}}
	return r
}

func toyMatrix() Matrix {
	names := []string{"p_{T}", "η", "φ", "R_{9}", "σ_{iηiη}", "σ_{iηiφ}", "η width", "φ width", "S_{4}", "H/E", "iso", "ID score"}
	n := len(names)
	v := make([]float64, n*n)
	for i := range n {
		for j := range n {
			v[i*n+j] = math.Exp(-math.Abs(float64(i-j))/2) * math.Cos(float64(i+j))
			if i == j {
				v[i*n+j] = 1
			}
		}
	}
	return Matrix{Title: "Linear correlation × 100, morphed simulation − data", Labels: names, Values: v, Notes: "largest |Δρ| 0.012, floor 0.010"}
}

func toyProfile() Profile {
	p := Profile{X: Axis{Title: "p_{T} [GeV]", Log: true}, YTitle: "R_{9}", Edges: []float64{25, 30, 36, 44, 55, 70, 95, 150, 300}}
	mk := func(k, d float64) Spread {
		var s Spread
		for i := range 8 {
			m := .9 + .006*float64(i) + d
			s.Median, s.Err = append(s.Median, m), append(s.Err, .002+.0004*float64(i))
			s.Lower, s.Upper = append(s.Lower, m-.06*k), append(s.Upper, m+.035*k)
		}
		return s
	}
	p.Data = mk(1, 0)
	a, b := mk(.9, .008), mk(1, .001)
	a.Label, a.Role, b.Label, b.Role = "Simulation", Simulation, "Morphed simulation", Morphed
	p.Curves = []Spread{a, b}
	return p
}

func toyHistory() History {
	var x, tr, va, mmd, dm, l1, l2 []float64
	for i := range 200 {
		s := float64(i) * 50
		x = append(x, s)
		d := math.Exp(-s / 2000)
		tr, va = append(tr, 2.1+1.4*d+.03*math.Sin(s)), append(va, 2.14+1.4*d)
		mmd, dm = append(mmd, 1e-3*(.4+3*d)), append(dm, 240*math.Exp(-s/1500)*math.Cos(s/900))
		l1, l2 = append(l1, 12*(1-d)), append(l2, 4*(1-d)*math.Cos(s/3000))
	}
	return History{
		Losses:      []Trace{{Label: "training", X: x, Y: tr}, {Label: "validation", X: x, Y: va}},
		Constraints: []ConstraintTrace{{Trace{Label: "MMD^{2}", X: x, Y: mmd}, "", math.NaN(), 8e-4}, {Trace{Label: "mean(m_{γγ})", X: x, Y: dm}, "MeV", -50, 50}},
		Multipliers: []Trace{{Label: "λ(MMD^{2})", X: x, Y: l1}, {Label: "λ(mean(m_{γγ}))", X: x, Y: l2}},
		Best:        8200,
	}
}

func toyROC() ROC {
	curve := func(k float64) (f, t []float64) {
		for i := range 201 {
			v := float64(i) / 200
			f, t = append(f, v), append(t, math.Pow(v, k))
		}
		return
	}
	a, b := Operating{Label: "before, AUC 0.708", Role: Simulation}, Operating{Label: "after, AUC 0.503", Role: Morphed}
	a.FPR, a.TPR = curve(.45)
	b.FPR, b.TPR = curve(.985)
	return ROC{Curves: []Operating{a, b}, Notes: []string{"gradient-boosted trees"}}
}

func toyDensity() Density {
	d := Density{X: Axis{Title: "σ_{iηiη}"}, Y: Axis{Title: "R_{9}"}}
	for i := range 41 {
		d.XEdges, d.YEdges = append(d.XEdges, .006+.0003*float64(i)), append(d.YEdges, .5+.0125*float64(i))
	}
	for k, t := range []string{"Data", "Simulation", "Morphed simulation"} {
		z := make([]float64, 1600)
		for j := range 40 {
			for i := range 40 {
				u, v := (float64(i)-18-float64(k%2)*3)/6, (float64(j)-26)/6
				z[j*40+i] = 1e4 * math.Exp(-(u*u+v*v+1.1*u*v)/2)
				if z[j*40+i] < .5 {
					z[j*40+i] = math.NaN()
				}
			}
		}
		d.Planes = append(d.Planes, Plane{t, z})
	}
	return d
}

func toyPulls() Pulls {
	r := toyRatio()
	p := Pulls{X: r.X, Edges: r.Edges, Notes: []string{"χ^{2}/ndf = 37.1/39, p = 0.56"}}
	for i, d := range r.Data {
		p.Y = append(p.Y, (d-r.Curves[1].Y[i])/math.Max(1, math.Hypot(r.DataHi[i], r.Curves[1].Err[i])))
	}
	return p
}

func toys() map[string]Drawing {
	blind := toyRatio()
	blind.Blind = [2]float64{.2, .5}
	blind.LogY = true
	s, m := blind.Curves[0], blind.Curves[1]
	blind.Curves = append(blind.Curves, Curve{"Perfect morph", Reference, m.Y, m.Err})
	stack := toyRatio()
	stack.Stack = []Part{{"γγ", scaled(s.Y, .6)}, {"γ + jet", scaled(s.Y, .3)}, {"jets", scaled(s.Y, .1)}}
	stack.Curves = stack.Curves[:1]
	return map[string]Drawing{
		"ratio": toyRatio(), "ratio-blind-log": blind, "stack": stack, "matrix": toyMatrix(), "profile": toyProfile(),
		"history": toyHistory(), "roc": toyROC(), "density": toyDensity(), "pulls": toyPulls(),
	}
}

func scaled(v []float64, k float64) []float64 {
	o := make([]float64, len(v))
	for i := range v {
		o[i] = k * v[i]
	}
	return o
}

// The goldens are SVG: text, exact to a rounding. With -regen they are written anew; look at them before committing.
func TestGolden(t *testing.T) {
	all := toys()
	for _, name := range []string{"ratio-blind-log", "matrix", "profile", "history", "density"} {
		d := all[name]
		got, err := Render(d, "svg")
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join("testdata", name+"_golden.svg")
		if *regen {
			if err := os.MkdirAll("testdata", 0o777); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, got, 0o666); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			g, w := strings.Split(string(got), "\n"), strings.Split(string(want), "\n")
			for i := range min(len(g), len(w)) {
				if g[i] != w[i] {
					t.Errorf("%s: line %d is\n%.200s\nwant\n%.200s", name, i+1, g[i], w[i])
					break
				}
			}
			t.Errorf("%s: %d lines, want %d (go test -regen writes it anew)", name, len(g), len(w))
		}
	}
}

// With PLOT_OUT=folder the toy figures are written there in all formats, to be looked at.
func TestSaveAllFormats(t *testing.T) {
	dir := os.Getenv("PLOT_OUT")
	if dir == "" {
		dir = t.TempDir()
	}
	for name, d := range toys() {
		for _, f := range Formats {
			p := filepath.Join(dir, name+"."+f)
			if err := Save(d, p); err != nil {
				t.Fatal(err)
			}
			b, err := os.ReadFile(p)
			if err != nil || len(b) < 1000 {
				t.Fatalf("%s: %d bytes, %v", p, len(b), err)
			}
			again, err := Render(d, f)
			if err != nil || !bytes.Equal(b, again) {
				t.Errorf("%s: a second drawing differs", p)
			}
			if f == "png" {
				if _, err := png.Decode(bytes.NewReader(b)); err != nil {
					t.Errorf("%s: %v", p, err)
				}
			}
		}
	}
	if err := Save(toyROC(), filepath.Join(dir, "roc.gif")); err == nil {
		t.Error("gif was accepted")
	}
}

func BenchmarkRender(b *testing.B) {
	for _, f := range Formats {
		b.Run(f, func(b *testing.B) {
			d := toyRatio()
			for b.Loop() {
				if _, err := Render(d, f); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
