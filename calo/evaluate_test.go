package calo

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"hepmorph/calo/geometry"
	"hepmorph/validation/metric"
	"hepmorph/validation/plot"
)

// A shower of three voxels by hand.
func TestFeaturesByHand(t *testing.T) {
	g := lookup(t, "mini")
	s := &Showers{Geo: g, Incident: []float64{1000}, Voxels: make([]float32, 1080)}
	// layer 2: 30 MeV at sector 1, ring 3 and 10 MeV at sector 6, ring 0; 0.01 MeV below the threshold
	s.Voxels[2*72+1*9+3], s.Voxels[2*72+6*9], s.Voxels[2*72+5] = 30, 10, 0.01
	f, err := Measure(s, 1)
	if err != nil {
		t.Fatal(err)
	}
	r1, r2 := 3.5*4.65, 0.5*4.65
	a1, a2 := -math.Pi+1.5*math.Pi/4, -math.Pi+6.5*math.Pi/4
	near := func(what string, got, want float64) {
		if math.Abs(got-want) > 1e-9*max(1, math.Abs(want)) {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	near("energy", f.Layer[2][0], 40)
	near("total", f.Total[0], 40)
	eta := (30*r1*math.Cos(a1) + 10*r2*math.Cos(a2)) / 40
	near("centre eta", f.CentreEta[2][0], eta)
	near("centre phi", f.CentrePhi[2][0], (30*r1*math.Sin(a1)+10*r2*math.Sin(a2))/40)
	near("centre r", f.CentreR[2][0], (30*r1+10*r2)/40)
	near("width eta", f.WidthEta[2][0], math.Sqrt((30*math.Pow(r1*math.Cos(a1), 2)+10*math.Pow(r2*math.Cos(a2), 2))/40-eta*eta))
	near("sparsity", f.Sparsity[2][0], 1-2.0/72)
	near("sparsity of an empty layer", f.Sparsity[3][0], 1)
	near("centre of an empty layer", f.CentreR[3][0], 0)
	if f.BelowThreshold != 1 || f.Largest != 30 {
		t.Error(f.BelowThreshold, f.Largest)
	}
}

func TestNumbersOfColumns(t *testing.T) {
	for name, want := range map[string]int{"mini": 122, "ds1-photons": 30, "ds1-pions": 46, "ds2": 362} {
		f, err := Measure(toy(lookup(t, name), 3, 1), 0)
		if err != nil {
			t.Fatal(err)
		}
		if got := len(f.HighLevel()); got != want {
			t.Errorf("%s: %d columns, want %d", name, got, want)
		}
	}
}

func TestMeasureIsTheSameInBlocksAndOnAnyThreads(t *testing.T) {
	s := toy(lookup(t, "ds1-pions"), 333, 3)
	a, err := Measure(s, 1)
	if err != nil {
		t.Fatal(err)
	}
	b, err := Measure(s, 5)
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range a.HighLevel() {
		if !slices.Equal(c, b.HighLevel()[i]) {
			t.Fatalf("column %d differs", i)
		}
	}
	if !slices.Equal(a.Mean, b.Mean) {
		t.Error("mean voxels differ")
	}
}

// TestGoldens compares with the same definitions in numpy, scikit-learn and jetnet (testdata/golden.py), on distorted and on generated showers.
func TestGoldens(t *testing.T) {
	b, err := os.ReadFile("testdata/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	type golden struct {
		Separation  map[string]float64
		Sums        []float64 // of the columns of the high-level features
		First       []float64 // shower 0
		FPD, KPD    [2]float64
		Calibration struct {
			AUC, JSD    float64
			Probability []float64 // of the first showers of odd number
		}
	}
	var want struct{ Distorted, Generated golden }
	if err := json.Unmarshal(b, &want); err != nil {
		t.Fatal(err)
	}
	ref, distorted := load(t, "showers/mini_reference.h5", 1000), load(t, "showers/mini_train.h5", 1000)
	for i := range distorted.Len() { // ring 0 loses a tenth, which ring 2 gets
		v := distorted.Shower(i)
		for k := 0; k < len(v); k += 9 {
			d := v[k] * 0.1
			v[k] -= d
			v[k+2] += d
		}
	}
	f, err := geometry.Open(context.Background(), "testdata/generated.h5", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, c := range []struct {
		name     string
		ref, gen Source
		want     golden
	}{{"distorted", ref, distorted, want.Distorted}, {"generated", ref.Slice(0, int(f.N)), FileSource{File: f, Hi: f.N}, want.Generated}} {
		t.Run(c.name, func(t *testing.T) {
			r, err := Measure(c.ref, 0)
			if err != nil {
				t.Fatal(err)
			}
			g, err := Measure(c.gen, 0)
			if err != nil {
				t.Fatal(err)
			}
			ctx := context.Background()
			v := evaluator{e: &Evaluation{Reference: r}, n: r.N, of: [3]sample{{r, c.ref}, {g, c.gen}, {r, c.ref}}}
			if err := errors.Join(v.spectrum(ctx), v.separations(ctx)); err != nil {
				t.Fatal(err)
			}
			for group, w := range c.want.Separation {
				m := v.e.Find("separation", "official", group)
				if m == nil || math.Abs(m.Value-w) > 1e-6+1e-4*w {
					t.Errorf("separation of %s: %+v, want %v", group, m, w)
				}
			}
			ref, gen := r.HighLevel(), g.HighLevel()
			for i, col := range gen {
				sum := 0.0
				for _, x := range col {
					sum += x
				}
				if w := c.want; math.Abs(sum-w.Sums[i]) > 1e-6*(1+math.Abs(w.Sums[i])) || math.Abs(col[0]-w.First[i]) > 1e-7*(1+math.Abs(col[0])) {
					t.Errorf("column %d: sum %v, want %v; first %v, want %v", i, sum, w.Sums[i], col[0], w.First[i])
				}
			}
			// other random numbers, so within the errors of both
			set := metric.PhysicsSettings{Min: int(r.N) / 2, Max: int(r.N), Points: 10, Draws: 15, Batches: 40, Rows: int(r.N), Seed: 1}
			if x, sd, err := metric.FPD(ref, gen, set); err != nil || math.Abs(x-c.want.FPD[0]) > 3*math.Hypot(sd, c.want.FPD[1]) {
				t.Errorf("FPD %v ± %v, want %v: %v", x, sd, c.want.FPD, err)
			}
			if x, sd, err := metric.KPD(ref, gen, set); err != nil || math.Abs(x-c.want.KPD[0]) > 3*math.Hypot(sd, c.want.KPD[1])/math.Sqrt(40/1.57) {
				t.Errorf("KPD %v ± %v, want %v: %v", x, sd, c.want.KPD, err) // the error of a median of 40
			}
			var half [2][2][]float64 // of even and odd showers
			for side, f := range []*Features{r, g} {
				for i, x := range f.CentreR[4] {
					half[i%2][side] = append(half[i%2][side], x-0.01*f.Layer[3][i]/f.Incident[i])
				}
			}
			k, odd := calibrate(half[0]), half[1]
			for i, w := range c.want.Calibration.Probability {
				if p := min(max(k.At(odd[1][i]), 1e-6), 1-1e-6); math.Abs(p-w) > 1e-6 {
					t.Errorf("shower %d: calibrated to %v, want %v", 2*i+1, p, w)
				}
			}
			if x := metric.AUC(odd[0], nil, odd[1], nil); math.Abs(x-c.want.Calibration.AUC) > 1e-9 {
				t.Errorf("AUC %v, want %v", x, c.want.Calibration.AUC)
			}
			if x := metric.JensenShannon(k, odd[0], odd[1]); math.Abs(x-c.want.Calibration.JSD) > 1e-6 {
				t.Errorf("divergence %v, want %v", x, c.want.Calibration.JSD)
			}
		})
	}
}

func TestEvaluateTruthAgainstTruth(t *testing.T) {
	ref, gen := toy(lookup(t, "mini"), 300, 11), toy(lookup(t, "mini"), 300, 12)
	e, err := Evaluate(context.Background(), ref, gen, EvaluateSettings{Truth: toy(lookup(t, "mini"), 300, 13), Quick: true, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range e.Metrics {
		if math.IsNaN(m.Value) || math.IsNaN(m.Floor) {
			t.Errorf("%s of %s: %v, floor %v", m.Name, m.Subject, m.Value, m.Floor)
		}
		if m.Name == "auc" && math.Abs(m.Value-0.5) > 0.08 {
			t.Errorf("%+v", m)
		}
		if m.Name == "separation" && m.Value > 3*m.Floor+1e-3 {
			t.Errorf("%+v", m)
		}
		if pass, ok := m.Passes(); ok && !pass {
			t.Errorf("truth misses a target: %+v", m)
		}
	}
	if e.Halved || e.SameEnergies {
		t.Error("three independent samples are not taken as such")
	}
	seen := map[string]bool{}
	for _, f := range e.Figures {
		if seen[f.Name] || strings.ContainsAny(f.Name, " /") {
			t.Errorf("figure %q", f.Name)
		}
		seen[f.Name] = true
	}
	for _, name := range []string{"voxel_spectrum", "response", "resolution", "longitudinal", "radial", "average_depth", "average_layer2", "average_layer14", "correlation_reference",
		"separation_by_layer", "roc_mlp_voxels", "probability_gbdt_high-level_features"} {
		if !seen[name] {
			t.Errorf("no figure %s", name)
		}
	}
	for _, f := range e.Figures {
		if !slices.Contains(Sections(), f.Section) {
			t.Errorf("figure %s is in no section", f.Name)
		}
		if strings.HasPrefix(f.Name, "average_d") || f.Name == "resolution" || f.Name == "separation_by_layer" || strings.HasPrefix(f.Name, "roc") {
			if b, err := plot.Render(f.Drawing, "svg"); err != nil || len(b) < 1000 {
				t.Errorf("%s: %d bytes, %v", f.Name, len(b), err)
			}
		}
	}
}

func TestEvaluateRefuses(t *testing.T) {
	ctx := context.Background()
	a := toy(lookup(t, "mini"), 30, 1)
	if _, err := Evaluate(ctx, a, toy(lookup(t, "ds1-photons"), 30, 1), EvaluateSettings{}); err == nil {
		t.Error("compared two geometries")
	}
	if _, err := Evaluate(ctx, a, a.Slice(0, 5), EvaluateSettings{}); err == nil {
		t.Error("compared with five showers")
	}
	done, stop := context.WithCancel(ctx)
	stop()
	if _, err := Evaluate(done, a, a, EvaluateSettings{}); err == nil {
		t.Error("went on after the end")
	}
}

// The official ranges of dataset 1 by layer.
func TestBinningOfDatasetOne(t *testing.T) {
	b := newBinning(lookup(t, "ds1-pions"))
	for _, c := range []struct {
		l                      int
		centre, width, centreR float64
	}{{1, 100, 100, 500}, {4, 500, 400, 1500}, {5, 500, 400, 1500}, {6, 100, 100, 1500}} {
		if e := b.centre(c.l); e[0] != -c.centre || len(e) != 101 {
			t.Error(e[0])
		}
		if e := b.width(c.l); e[100] != c.width {
			t.Error(e[100])
		}
		if e := b.centreR(c.l); e[100] != c.centreR || b.widthR(c.l)[100] != c.centreR {
			t.Error(e[100])
		}
	}
	// discrete energies are histogrammed one by one
	g := lookup(t, "ds1-photons")
	s := toy(g, 400, 1)
	for i := range s.Incident {
		s.Incident[i] = float64(int(256) << (i % 8))
	}
	f, err := Measure(s, 0)
	if err != nil {
		t.Fatal(err)
	}
	if got := Separations(f, f); got[0].Group != "E_tot/E_inc" || len(got[0].PerLayer) != 8 || got[0].Value != 0 {
		t.Errorf("%+v", got[0])
	}
}
