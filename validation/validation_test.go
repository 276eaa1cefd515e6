package validation

import (
	"bytes"
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hepmorph/internal/rng"
	"hepmorph/validation/plot"
)

// toy makes a simulation of n events with an imperfect detector, data of n events, and the simulation morphed by the known map plus an
// extra shift. The momentum spectrum differs too and has its exact weights. Features: r9 on the grid of a float of 10 bits, an isolation with an atom at 0, a width correlated with r9.
func toy(n int, shift float64) ([]Sample, []Variable) {
	gen := func(name string, detector bool) (map[string][]float64, []float64, []float64) {
		key := rng.NewKey(11, name)
		c := map[string][]float64{}
		var w, kin []float64
		scale := 30.0
		if name == "simulation" {
			scale = 27
		}
		for i := range n {
			s := key.At(uint64(i))
			x, eta := scale*s.Exp(), 5*(s.Float64()-.5)
			pt := 25 + x
			nvtx := float64(s.Poisson(30))
			g1, g2, g3, u := s.Norm(), s.Norm(), s.Norm(), s.Float64()
			m := 100 + 60*s.Float64()
			if s.Float64() < .2 {
				m = 125 + 1.7*s.Norm()
			}
			a, b, iso := .5*g1, .5*(.6*g1+.8*g2), 0.0
			if u > .4 {
				iso = 1.5 * math.Exp(.7*g3)
			}
			if detector {
				a, b, m = .08+.45*g1+.02*eta, .5*(.4*g1+.9165*g2), 1.003*m
				iso *= 1.15
			}
			r9 := 1/(1+math.Exp(-2*a-1.5)) + 1e-3*(pt-50)/50
			r9 = math.Round(r9*1024) / 1024
			for k, v := range map[string]float64{"pt": pt, "eta": eta, "nvtx": nvtx, "r9": r9, "sieie": .01 * math.Exp(.25*b), "iso": iso, "m": m} {
				c[k] = append(c[k], v)
			}
			wi := 1.0
			if name == "simulation" && s.Float64() < .1 {
				wi = -1
			}
			w, kin = append(w, wi), append(kin, math.Exp(x/scale-x/30)*scale/30)
		}
		return c, w, kin
	}
	sim, w, kin := gen("simulation", true)
	mor, _, _ := gen("simulation", false)
	data, wd, _ := gen("data", false)
	for i := range mor["sieie"] {
		mor["sieie"][i] += shift * .0025
	}
	vars := []Variable{
		{Name: "r9", Label: "R_{9}", Kind: Feature}, {Name: "sieie", Label: "σ_{iηiη}", Kind: Feature}, {Name: "iso", Label: "I_{ch}", Unit: "GeV", Kind: Feature, Atoms: []float64{0}},
		{Name: "pt", Label: "p_{T}", Unit: "GeV", Kind: Condition, Log: true}, {Name: "eta", Label: "η", Kind: Condition}, {Name: "nvtx", Label: "N_{vtx}", Kind: Condition},
		{Name: "m", Label: "m_{γγ}", Unit: "GeV", Kind: Observable, Lo: 100, Hi: 160, Bins: 60, Window: [2]float64{115, 135}, Tolerance: .05},
	}
	return []Sample{
		{Role: Simulation, Label: "Simulation", File: "mc.root", Tree: "Events", Cols: sim, Weight: w, KinWeight: kin},
		{Role: Data, Label: "Data", File: "data.root", Tree: "Events", Cols: data, Weight: wd},
		{Role: Morphed, Label: "Morphed simulation", File: "morphed.root", Tree: "Events", Cols: mor, Weight: w, KinWeight: kin},
	}, vars
}

// little is enough statistics for the code; the thresholds below allow for it.
var little = &effort{trees: 80, depth: 4, bootstrap: 20, pairs: 400, permutations: 100, directions: 20, sliced: 2000, reps: 20}

func region(samples []Sample, f func(eta float64) bool) [][]bool {
	var out [][]bool
	for _, s := range samples {
		m := make([]bool, len(s.Cols["eta"]))
		for i, e := range s.Cols["eta"] {
			m[i] = f(e)
		}
		out = append(out, m)
	}
	return out
}

// With REPORT_OUT=folder the report stays there, to be looked at.
func TestReportOfAGoodMorph(t *testing.T) {
	out := os.Getenv("REPORT_OUT")
	if out == "" {
		out = t.TempDir()
	}
	samples, vars := toy(6000, 0)
	set := Settings{Title: "Toy: good morph", Seed: 1, effort: little, Status: "Simulation", Lumi: "1 fb^{-1}", Energy: "13.6 TeV", Version: "test",
		Slices:  []Slice{{"|eta| < 1.4442", region(samples, func(e float64) bool { return math.Abs(e) < 1.4442 })}},
		History: &plot.History{Losses: []plot.Trace{{Label: "validation", X: []float64{0, 1, 2}, Y: []float64{3, 2, 1.5}}}}}
	rep, err := Run(context.Background(), out, samples, vars, set)
	if err != nil {
		t.Fatal(err)
	}
	auc := rep.Find("auc", "gbdt", "features+conditions")
	if auc == nil || auc.Before < 0.55 || math.Abs(float64(auc.After)-.5) > .03 || auc.Pass == nil || !*auc.Pass {
		t.Errorf("classifier: %+v", auc)
	}
	for _, row := range rep.Failed() {
		if row.P < 1e-4 || row.Floor > 0 && row.After > 3*row.Floor {
			t.Errorf("%s (%s) of %s: %v → %v, floor %v, p %v: a perfect morph is far off", row.Name, row.Method, row.Subject, row.Before, row.After, row.Floor, row.P)
		}
	}
	if len(rep.Failed()) > 3 {
		t.Errorf("%d targets of a perfect morph are missed", len(rep.Failed()))
	}
	for _, f := range []string{"report.html", "metrics.json", "summary.md", "histograms.root", "histograms.yoda", "figures/r9.png", "figures/m-pulls.pdf", "figures/correlation-morphed.svg", "figures/_eta____1.4442/iso.png"} {
		if st, err := os.Stat(filepath.Join(out, filepath.FromSlash(f))); err != nil || st.Size() == 0 {
			t.Errorf("%s: %v", f, err)
		}
	}
	b, err := os.ReadFile(filepath.Join(out, "metrics.json"))
	if err != nil {
		t.Fatal(err)
	}
	back, err := Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	again, err := back.Encode()
	if err != nil || !bytes.Equal(again, b) {
		t.Errorf("metrics.json does not survive a round trip (%v)", err)
	}
	html, err := os.ReadFile(filepath.Join(out, "report.html"))
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(html, []byte("src=\"data:image/svg")); n < 25 {
		t.Errorf("report.html has %d figures", n)
	}
	for _, bad := range []string{"src=\"http", "href=\"http", "#ZgotmplZ", "<link", "@import"} {
		if bytes.Contains(html, []byte(bad)) {
			t.Errorf("report.html has %q", bad)
		}
	}
	if bytes.Count(html, []byte("<img")) != bytes.Count(html, []byte("alt=\"")) || len(html) > 8<<20 {
		t.Errorf("report.html: %d bytes, %d pictures, %d alternative texts", len(html), bytes.Count(html, []byte("<img")), bytes.Count(html, []byte("alt=\"")))
	}
}

func TestABadMorphIsFound(t *testing.T) {
	samples, vars := toy(5000, .3)
	set := Settings{Seed: 1, effort: little, NoFigures: true, Slices: []Slice{
		{"barrel", region(samples, func(e float64) bool { return math.Abs(e) < 1.5 })}, {"endcap", region(samples, func(e float64) bool { return math.Abs(e) >= 1.5 })}}}
	// wrong in the endcap only
	for i, e := range samples[2].Cols["eta"] {
		if math.Abs(e) < 1.5 {
			samples[2].Cols["sieie"][i] -= .3 * .0025
		}
	}
	rep, err := Run(context.Background(), t.TempDir(), samples, vars, set)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, method, subject string
		pass                  bool
	}{{"w1", "marginal", "sieie @ endcap", false}, {"w1", "marginal", "sieie @ barrel", true}, {"mean", "all", "sieie @ endcap", false}, {"profile", "quantiles", "sieie,eta", false}, {"w1", "marginal", "r9", true}} {
		row := rep.Find(c.name, c.method, c.subject)
		if row == nil || row.Pass == nil || *row.Pass != c.pass {
			t.Errorf("%s of %s: %+v, want pass %v", c.name, c.subject, row, c.pass)
		}
	}
	if rep.Verdict.Worst == nil || rep.Verdict.Worst.Slice != "endcap" {
		t.Errorf("the worst slice is %v", rep.Verdict.Worst)
	}
}

func TestSameAtAnyNumberOfThreads(t *testing.T) {
	samples, vars := toy(2000, .1)
	var first []byte
	for _, threads := range []int{1, 3} {
		dir := t.TempDir()
		if _, err := Run(context.Background(), dir, samples, vars, Settings{Seed: 3, effort: little, Threads: threads, NoFigures: true}); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(dir, "metrics.json"))
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = b
		} else if !bytes.Equal(b, first) {
			t.Errorf("metrics.json differs with %d threads", threads)
		}
	}
}

func TestBlindedRowsAreNowhere(t *testing.T) {
	samples, vars := toy(3000, 0)
	vars[6].Blind = [2]float64{120, 130}
	r, err := newRun(samples, vars, Settings{Slices: []Slice{{"all", region(samples, func(float64) bool { return true })}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, sc := range r.scopes() {
		for _, s := range sc.samples() {
			if s.n == 3000 || s.n < 1500 {
				t.Errorf("%s in %q has %d rows", s.label, sc.name, s.n)
			}
			for _, m := range s.cols["m"] {
				if m > 120 && m < 130 {
					t.Fatalf("%s in %q: an event at %v", s.label, sc.name, m)
				}
			}
		}
	}
	sc := r.scopes()[0]
	res := r.variable(&sc, vars[6])
	fig := r.ratio(&sc, &res, nil)
	if fig.Blind != vars[6].Blind {
		t.Errorf("the figure's window is %v", fig.Blind)
	}
}

func TestBadInputIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(s []Sample, v []Variable) ([]Sample, []Variable)
		text  string
	}{
		"column":  {func(s []Sample, v []Variable) ([]Sample, []Variable) { delete(s[1].Cols, "r9"); return s, v }, `sample "Data" has no column "r9"`},
		"length":  {func(s []Sample, v []Variable) ([]Sample, []Variable) { s[0].Weight = s[0].Weight[1:]; return s, v }, "Weight has 299 rows, the columns have 300"},
		"weights": {func(s []Sample, v []Variable) ([]Sample, []Variable) { s[0].Weight = make([]float64, 300); return s, v }, "the weights add up to 0"},
		"nan":     {func(s []Sample, v []Variable) ([]Sample, []Variable) { s[0].Weight[3] = math.NaN(); return s, v }, "row 3 has weight NaN"},
		"role":    {func(s []Sample, v []Variable) ([]Sample, []Variable) { s[2].Role = "truth"; return s, v }, `role "truth"`},
		"no data": {func(s []Sample, v []Variable) ([]Sample, []Variable) { return s[:1], v }, "no sample of role data"},
		"kind":    {func(s []Sample, v []Variable) ([]Sample, []Variable) { v[0].Kind = "x"; return s, v }, `kind "x"`},
		"twice":   {func(s []Sample, v []Variable) ([]Sample, []Variable) { return s, append(v, v[0]) }, `variable "r9" is given twice`},
		"none":    {func(s []Sample, v []Variable) ([]Sample, []Variable) { return s, nil }, "no variables"},
		"empty":   {func(s []Sample, v []Variable) ([]Sample, []Variable) { s[1].Cols = nil; s[1].Weight = nil; return s, v }, "has no rows"},
	} {
		s, v := toy(300, 0)
		s, v = c.spoil(s, v)
		dir := filepath.Join(t.TempDir(), "out")
		_, err := Run(context.Background(), dir, s, v, Settings{Quick: true})
		if !errors.Is(err, ErrInput) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v, want %q", name, err, c.text)
		}
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%s: the folder was made", name)
		}
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	s, v := toy(300, 0)
	if _, err := Run(ctx, t.TempDir(), s, v, Settings{Quick: true}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// A fourth sample, two simulations, no morphed sample, and columns that no one should feed in.
func TestOtherShapesOfInput(t *testing.T) {
	samples, vars := toy(900, 0)
	ref := samples[2]
	ref.Role, ref.Label = Reference, "Perfect morph"
	half := func(s Sample, lo, hi int, label string) Sample {
		o := Sample{Role: s.Role, Label: label, Cols: map[string][]float64{}, Weight: s.Weight[lo:hi]}
		for n, c := range s.Cols {
			o.Cols[n] = c[lo:hi]
		}
		return o
	}
	odd := func(f func(i int) float64) func() ([]Sample, []Variable) {
		return func() ([]Sample, []Variable) {
			s, v := toy(900, 0)
			for k := range s {
				c := append([]float64(nil), s[k].Cols["r9"]...)
				for i := range c {
					c[i] = f(i + 7*k)
				}
				s[k].Cols["r9"] = c
			}
			return s, v
		}
	}
	for name, f := range map[string]func() ([]Sample, []Variable){
		"reference": func() ([]Sample, []Variable) { return append(samples[:3:3], ref), vars },
		"two": func() ([]Sample, []Variable) {
			return []Sample{half(samples[0], 0, 500, "γγ"), half(samples[0], 500, 900, "γ + jet"), samples[1]}, vars
		},
		"one feature":   func() ([]Sample, []Variable) { return samples, vars[:1] },
		"only features": func() ([]Sample, []Variable) { return samples, vars[:3] },
		"only conditions": func() ([]Sample, []Variable) {
			return samples[:2], vars[3:6]
		},
		"constant": odd(func(int) float64 { return 4 }),
		"all nan":  odd(func(int) float64 { return math.NaN() }),
		"some nan": odd(func(i int) float64 { return []float64{1, math.NaN(), 2, math.Inf(1), math.Inf(-1), 3.5}[i%6] }),
		"huge":     odd(func(i int) float64 { return float64(i) * 1e300 }),
		"sentinel": odd(func(i int) float64 { return []float64{-999, .5 + float64(i)/2000}[i%2] }),
	} {
		s, v := f()
		out := t.TempDir()
		if d := os.Getenv("REPORT_OUT"); d != "" {
			out = filepath.Join(d, name)
		}
		rep, err := Run(context.Background(), out, s, v, Settings{effort: little, Seed: 2, NoFigures: name != "reference" && name != "two" && name != "some nan" && name != "huge"})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if len(rep.Metrics) == 0 {
			t.Errorf("%s: no metrics", name)
		}
		switch name {
		case "reference":
			if row := rep.Find("w1", "marginal", "r9"); !finite(float64(row.Reference)) {
				t.Errorf("%s: %+v", name, row)
			}
		case "two", "only conditions":
			if rep.Verdict.Pass+rep.Verdict.Fail != 0 {
				t.Errorf("%s: targets are judged without a morphed sample", name)
			}
		case "all nan":
			if rep.Find("w1", "marginal", "r9") != nil || rep.Find("w1", "marginal", "sieie") == nil {
				t.Errorf("%s: the wrong columns were left out", name)
			}
		}
	}
}
