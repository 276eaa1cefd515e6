package calo

import (
	"context"
	"errors"
	"math"
	"slices"
	"testing"

	"hepmorph/calo/geometry"
)

func TestLevels(t *testing.T) {
	for _, c := range []struct {
		value float64
		bound [3]float64
		want  string
	}{
		{0.7, [3]float64{0.8, 0.65, 0.58}, "must"}, {0.65, [3]float64{0.8, 0.65, 0.58}, "good"}, {0.5, [3]float64{0.8, 0.65, 0.58}, "stretch"},
		{0.81, [3]float64{0.8, 0.65, 0.58}, ""}, {0, [3]float64{0, nan, nan}, "must"}, {1, [3]float64{0, nan, nan}, ""}, {math.NaN(), [3]float64{1, 1, 1}, ""},
	} {
		if got := (&Check{Value: c.value, Bound: c.bound}).Level(); got != c.want {
			t.Errorf("%v of %v: %q, want %q", c.value, c.bound, got, c.want)
		}
	}
	if _, err := demands("none"); !errors.Is(err, ErrSettings) {
		t.Error(err)
	}
	m := Metric{Name: "separation", Method: "official", Subject: "EC_r", Value: 0.012, Floor: 0.004}
	if name, ok := m.Level(); name != "must" || !ok {
		t.Errorf("%+v: %q", m, name)
	}
	m.Subject = "sparsity"
	if _, ok := m.Level(); ok {
		t.Error("something is demanded of the sparsity")
	}
	m = Metric{Name: "fpd", Method: "jetnet", Subject: "high-level features", Value: 0.02, Floor: 0.01}
	if name, _ := m.Level(); name != "stretch" {
		t.Errorf("%+v: %q", m, name)
	}
}

// TestChecksOfTruth: as many independent showers as generated ones reach all that is asked for; worse numbers are told.
func TestChecksOfTruth(t *testing.T) {
	g := lookup(t, "mini")
	e, err := Evaluate(context.Background(), toy(g, 400, 21), toy(g, 400, 22), EvaluateSettings{Truth: toy(g, 400, 23), Quick: true, NoFigures: true, Seed: 1, Targets: "must"})
	if err != nil {
		t.Fatal(err)
	}
	b := Benchmark{Evaluation: e, Verified: &geometry.Report{}, Eight: []Distilled{{Error: 3, MidpointError: 4}, {Error: 1, MidpointError: 4}}, Bespoke: 0.62, RK4: 0.6, Latent: 0.8}
	names := map[string]string{}
	for _, c := range b.Checks() {
		names[c.Name] = c.Level()
		if c.Level() == "" {
			t.Errorf("%s: %v misses %v", c.Name, c.Value, c.Bound)
		}
	}
	for name, want := range map[string]string{"latent: AUC, high-level features": "must", "bespoke 8: error over midpoint's": "stretch", "bespoke 16: AUC off that of RK4": "must", "showers with a wrong layer sum": "must"} {
		if names[name] != want {
			t.Errorf("%s reaches %q, not %q", name, names[name], want)
		}
	}
	if _, ok := names["truth: FPD"]; ok {
		t.Error("floors of 400 showers are judged")
	}
	b.Verified.LayerOff, b.Latent = 1, 0.95
	missed := []string{}
	for _, c := range b.Checks() {
		if c.Level() == "" {
			missed = append(missed, c.Name)
		}
	}
	if !slices.Equal(missed, []string{"showers with a wrong layer sum", "latent: AUC, high-level features"}) {
		t.Errorf("missed: %v", missed)
	}
}
