package calo

import (
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"hepmorph/internal/config"
)

func TestConfigSaysAllMistakesAtOnce(t *testing.T) {
	_, err := DecodeConfig("shower.yaml", []byte(`codec: quantil
energy: {widht: 3}
shape:
  heads: 5
  patch: [3, 8]
  coupling: turns
data: {turns: off}
train: {budget: 5m, average: 1}
generate: {solver: rk5}
latent: {on: true}
`), "shape.empties=0.5", "energy.steps=-1", "train.budget=9m")
	errs, ok := err.(config.Errors)
	if !ok {
		t.Fatalf("%T: %v", err, err)
	}
	for _, want := range []string{
		`shower.yaml:1: codec: "quantil" is unknown (did you mean quantile?)`, "shower.yaml:2: energy.widht: unknown key (did you mean width?)",
		"shower.yaml:4: shape.heads: 96 units do not split over 5 heads", "shower.yaml:5: shape.patch: has 2 elements, not 3", "shower.yaml:6: shape.coupling: turns need",
		"shower.yaml:8: train.average: 1 is not below 1", `shower.yaml:9: generate.solver: "rk5" is unknown (did you mean rk4?)`, "--set energy.steps=-1",
		"shape.empties: narrow empty voxels need codec moments or quantile",
	} {
		if !strings.Contains(errs.Error(), want) {
			t.Errorf("%q is not in\n%v", want, errs)
		}
	}
}

func TestConfigPrintsWhatItReads(t *testing.T) {
	want := Proposal(lookup(t, "mini"))
	text, err := want.YAML(true, "a line")
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodeConfig("config", text)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("printed and read back: %+v, %+v before", got, want)
	}
	for line := range strings.SplitSeq(string(text), "\n") {
		key, _, isKey := strings.Cut(strings.TrimSpace(line), ":")
		if isKey && !strings.HasPrefix(key, "#") && !strings.Contains(string(text), "# ") {
			t.Errorf("%s has no comment", key)
		}
	}
}

// TestConfigDefaultsAreThoseOfSettings holds that an empty config trains what Settings without a value train.
func TestConfigDefaultsAreThoseOfSettings(t *testing.T) {
	c, err := LoadConfig("")
	if err != nil {
		t.Fatal(err)
	}
	if c.Train.Budget != defaultBudget {
		t.Errorf("budget %v", c.Train.Budget)
	}
	for _, geometry := range []string{"mini", "ds2", "ds1-photons"} {
		codec := &quantile{g: lookup(t, geometry)}
		got, want := c.Settings().resolve(codec), Settings{Seed: 1, Codec: Codecs()[0], Budget: c.Settings().Budget}.resolve(codec)
		if got != want {
			t.Errorf("%s: %+v, %+v without a config", geometry, got, want)
		}
	}
}

func TestConfigBudgetAndSteps(t *testing.T) {
	text := []byte("energy: {steps: 7}\nshape: {steps: 8}\n")
	for set, want := range map[string][3]int{"": {7, 8, 0}, "train.budget=1s": {0, 0, 1}} {
		var sets []string
		if set != "" {
			sets = []string{set}
		}
		c, err := DecodeConfig("config", text, sets...)
		if err != nil {
			t.Fatal(err)
		}
		s := c.Settings()
		if got := [3]int{s.EnergySteps, s.Steps, int(s.Budget.Seconds())}; got != want {
			t.Errorf("%s: %v, %v expected", set, got, want)
		}
	}
	if _, err := DecodeConfig("config", []byte("shape: {steps: 8}\n")); err == nil {
		t.Error("steps of one network alone are accepted")
	}
	c, err := DecodeConfig("config", []byte("train: {average: 0, clip: 0, decay: 0}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if s := c.Settings().resolve(&quantile{g: lookup(t, "mini")}); s.Average != 0 || s.Clip != 0 || s.Decay != 0 {
		t.Errorf("switched off: %v %v %v", s.Average, s.Clip, s.Decay)
	}
}

func TestConfigExamples(t *testing.T) {
	paths, err := filepath.Glob("../docs/configs/calo-*.yaml")
	if err != nil || len(paths) == 0 {
		t.Fatal(paths, err)
	}
	for _, path := range paths {
		if _, err := LoadConfig(path); err != nil {
			t.Error(err)
		}
	}
}
