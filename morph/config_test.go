package morph

import (
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"hepmorph/internal/config"
	"hepmorph/physics"
)

// The example of design.md section 8.
const example = `
seed: 1
inputs:
  simulation: [{files: [mc*.root], tree: Events, weight: genWeight*puWeight, label: "γγ simulation"}]
  data:       [{files: [data.root], tree: Events}]
id: [run, luminosityBlock, event]
row: event
define:  {m: "diphoton_mass(Photon_pt, Photon_eta, Photon_phi)"}
select:  ["nPhoton >= 2", "Photon_pt[0] > 25", "m > 62"]
split:   {train: "event % 10 < 7", validation: 0.1}
features:   {r9: {expr: "Photon_r9[0]", transform: logit, bounds: [0, 1.1], mantissa: 10}, ch: {expr: "Photon_pfChargedIso[0]", atom: 0, transform: log}}
conditions: {pt: {expr: "Photon_pt[0]", unit: GeV, transform: log}}
observables: {m: {unit: GeV, range: [100, 160], blind: [120, 130]}}
reweight: {method: classifier, clip: 10}
method: switch
flow:  {kind: nsf, transforms: 6, hidden: [128, 128], bins: 8}
train: {budget: 15m, batch: 1024, rate: 1e-3}
constraints: [{quantity: mmd, max: "2 sd over floor"}, {quantity: mean(m), max: 50 MeV}]
output: {suffix: _morphed}
validation: {slices: ["abs(Photon_eta[0]) < 1.4442", "abs(Photon_eta[0]) > 1.566"], label: "Simulation", lumi: "1 fb^{-1}", energy: "13.6 TeV"}
`

func TestConfigOfTheDesign(t *testing.T) {
	c, err := DecodeConfig("run.yaml", []byte(example), "flow.bins=12", "inputs.data.0.files=[a.root, b.root]")
	if err != nil {
		t.Fatal(err)
	}
	if c.Flow.Bins != 12 || c.Train.Budget != Duration(15*time.Minute) || c.Method != Switch || *c.Features[1].Value.Atom != 0 {
		t.Errorf("%+v", c)
	}
	if got := c.FeatureSpecs(); got[0].Name != "r9" || got[1].Name != "ch" || got[0].Mantissa != 10 {
		t.Errorf("features %+v", got)
	}
	if b := c.Constraints[0].Max; b != (Bound{2, "", OverFloor}) {
		t.Errorf("%+v", b)
	}
	if v, err := c.Constraints[1].Max.In("GeV"); err != nil || v != 0.05 {
		t.Errorf("%v, %v", v, err)
	}
	s := c.Samples(Simulation)
	if len(s) != 1 || s[0].Weight != "genWeight*puWeight" || len(s[0].Select) != 3 || s[0].Define[0] != (physics.Definition{Name: "m", Expr: "diphoton_mass(Photon_pt, Photon_eta, Photon_phi)"}) {
		t.Errorf("%+v", s)
	}
	if d := c.Samples(Data); !reflect.DeepEqual(d[0].Files, []string{"a.root", "b.root"}) {
		t.Errorf("%+v", d)
	}
	names := []string{}
	for _, col := range c.Columns() {
		names = append(names, col.Name+" "+col.Expr)
	}
	if want := "r9 Photon_r9[0],ch Photon_pfChargedIso[0],pt Photon_pt[0],m m,run run,luminosityBlock luminosityBlock,event event"; strings.Join(names, ",") != want {
		t.Errorf("columns %v", names)
	}
	// Printed with or without comments it is read back to the same.
	for _, comments := range []bool{false, true} {
		text, err := c.YAML(comments)
		if err != nil {
			t.Fatal(err)
		}
		back, err := DecodeConfig("again.yaml", text)
		if err != nil || !reflect.DeepEqual(back, c) {
			t.Errorf("%v\n%s", err, text)
		}
		if strings.Contains(string(text), "# autoregressive") && !comments {
			t.Error("comments where none were wanted")
		}
	}
}

func TestShortForms(t *testing.T) {
	c, err := DecodeConfig("", []byte("inputs: {simulation: mc.root, data: [d1.root, {files: d2.root}]}\nfeatures: {a: \"x[0]\", b: }\nconditions: {c: }\n"))
	if err != nil {
		t.Fatal(err)
	}
	if c.Inputs.Simulation[0].Files[0] != "mc.root" || c.Inputs.Data[1].Files[0] != "d2.root" || c.Features[0].Value.Expr != "x[0]" {
		t.Errorf("%+v", c)
	}
	if f := c.FeatureSpecs()[1]; f.source() != "b" || c.Train.Epochs == 0 {
		t.Errorf("%+v", f)
	}
}

func TestBoundsAndDurations(t *testing.T) {
	for text, want := range map[string]Bound{
		"0.01": {0.01, "", Absolute}, "50 MeV": {50, "MeV", Absolute}, "2 sd over floor": {2, "", OverFloor}, " 0.5  x free ": {0.5, "", TimesFree}, "3 %": {3, "%", Absolute},
	} {
		var b, again Bound
		if err := b.SetScalar(text); err != nil || b != want {
			t.Errorf("%q: %+v, %v", text, b, err)
		}
		if err := again.SetScalar(b.String()); err != nil || again != b {
			t.Errorf("%q is printed as %q", text, b)
		}
	}
	for _, text := range []string{"", "x", "-1", "0", "nan", "inf", "2 sd over", "1 2 3"} {
		var b Bound
		if err := b.SetScalar(text); err == nil {
			t.Errorf("%q is read as %+v", text, b)
		}
	}
	for _, c := range []struct {
		b    Bound
		unit string
		want float64
	}{{Bound{50, "MeV", ""}, "GeV", 0.05}, {Bound{2, "GeV", ""}, "MeV", 2000}, {Bound{3, "cm", ""}, "cm", 3}, {Bound{1, "%", ""}, "", 0.01}, {Bound{3, "", ""}, "GeV", 3}} {
		if v, err := c.b.In(c.unit); err != nil || v != c.want {
			t.Errorf("%v in %q: %v, %v", c.b, c.unit, v, err)
		}
	}
	if _, err := (Bound{3, "cm", ""}).In("GeV"); err == nil {
		t.Error("3 cm in GeV")
	}
	for text, want := range map[string]string{"15m": "15m", "90s": "1m30s", "1h30m": "1h30m", "2h": "2h", "10s": "10s", "60m": "1h"} {
		var d Duration
		if err := d.SetScalar(text); err != nil || d.String() != want {
			t.Errorf("%q: %q, %v", text, d, err)
		}
	}
	var d Duration
	if d.SetScalar("15") == nil || d.SetScalar("-3s") == nil {
		t.Error("no time, yet accepted")
	}
}

// Every mistake in one go, with its line.
func TestConfigMistakes(t *testing.T) {
	text := `seed: one
inputs:
  simulation: [{file: mc.root}]
row: event
split: {validation: 0.9}
features:
  r9: {transform: logit}
  m: {expr: x, bounds: [2, 1]}
  ch: {expr: y, atom: 1, bounds: [0], integer: true, mantissa: 10}
  "1st": {expr: z}
  phi: {expr: p, transform: periodic, gap: [1]}
  iso: {expr: q, atom_treatment: hurdle, sentinels: [-999]}
conditions:
  r9: {expr: pt, period: 3}
  eta: {bounds: [0, 2], gap: [1.5, 2.5]}
observables:
  mgg: {unit: GeV, range: [160, 100]}
reweight: {method: clasifier, columns: [et]}
method: swich
flow: {bins: 1, hidden: []}
train: {budget: 15m, steps: 100, rate: 2}
constraints:
  - {quantity: mdd, max: 1}
  - {quantity: mean(mg), max: 50 MeV}
  - {quantity: width(mgg), max: 5 cm}
  - {quantity: transport, max: 2 sd over floor}
  - {quantity: corr}
output: {suffix: "-x"}
`
	err := func() error { _, err := DecodeConfig("run.yaml", []byte(text)); return err }()
	if !errors.Is(err, config.ErrInvalid) {
		t.Fatal(err)
	}
	want := []string{
		`run.yaml:1: seed: expected a whole number`,
		`run.yaml:3: inputs.simulation[0].file: unknown key (did you mean files?)`,
		`run.yaml:3: inputs.simulation[0].files: is required`,
		`run.yaml:2: inputs.data: is required`,
		`run.yaml:5: split.validation: 0.9 is above 0.5`,
		`run.yaml:7: features.r9.transform: logit needs bounds`,
		`run.yaml:8: features.m.bounds: 2 must be below 1`,
		`run.yaml:9: features.ch.mantissa: an integer column`,
		`run.yaml:9: features.ch.atom: 1 is above the lower bound 0`,
		`run.yaml:10: features.1st: a name has letters`,
		`run.yaml:11: features.phi.transform: a periodic column has neither`,
		`run.yaml:11: features.phi.gap: has 1 numbers`,
		`run.yaml:12: features.iso.atom_treatment: there is no atom`,
		`run.yaml:14: conditions.r9: the name is taken under features`,
		`run.yaml:15: conditions.eta.gap: [1.5 2.5] is not inside bounds [0 2]`,
		`run.yaml:17: observables.mgg.range: 160 must be below 100`,
		`run.yaml:18: reweight.method: "clasifier" is unknown (did you mean classifier?)`,
		`run.yaml:18: reweight.columns[0]: "et" is no condition (did you mean eta?)`,
		`run.yaml:19: method: "swich" is unknown (did you mean switch?)`,
		`run.yaml:20: flow.bins: 1 is below 2`,
		`run.yaml:20: flow.hidden: is required`,
		`run.yaml:21: train: budget, steps and epochs exclude each other`,
		`run.yaml:23: constraints[0].quantity: unknown quantity "mdd" (did you mean mmd?)`,
		`run.yaml:24: constraints[1].quantity: "mg" is no observable or feature (did you mean mgg?)`,
		`run.yaml:25: constraints[2].max: 5 cm can't be expressed in "GeV"`,
		`run.yaml:26: constraints[3].max: only mmd has a floor`,
		`run.yaml:27: constraints[4].max: is required`,
		`run.yaml:28: output.suffix: "-x" may have letters`,
	}
	got := err.Error()
	for _, w := range want {
		if !strings.Contains(got, "config: "+w) {
			t.Errorf("missing: %s", w)
		}
	}
	if t.Failed() {
		fmt.Println(got)
	}
}

func FuzzConfig(f *testing.F) {
	f.Add(example)
	f.Add("features: {a: {sentinels: [.nan, .inf]}}\ninputs: {simulation: a, data: b}")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := DecodeConfig("f.yaml", []byte(text))
		if err != nil {
			if !errors.Is(err, config.ErrInvalid) {
				t.Error(err)
			}
			return
		}
		out, err := c.YAML(false)
		if err != nil {
			return
		}
		if _, err := DecodeConfig("out.yaml", out); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	})
}

func TestDomainDecayNeedsADomain(t *testing.T) {
	for method, ok := range map[string]bool{"switch": true, "cnf": false} {
		_, err := DecodeConfig("run.yaml", []byte(example), "method="+method, "train.domain_decay=3")
		if ok != (err == nil) || !ok && !strings.Contains(err.Error(), "train.domain_decay: a cnf knows no domain") {
			t.Errorf("%s: %v", method, err)
		}
	}
}

// TestLengthOverrides: the length of a training that is set takes the place of the file's.
func TestLengthOverrides(t *testing.T) {
	text := strings.Replace(example, "budget: 15m", "epochs: 3", 1)
	if text == example {
		t.Fatal("the example has no budget")
	}
	for _, c := range []struct {
		sets []string
		want TrainConfig
	}{
		{nil, TrainConfig{Epochs: 3}}, {[]string{"train.steps=20"}, TrainConfig{Steps: 20}}, {[]string{"train.budget=2m"}, TrainConfig{Budget: Duration(2 * time.Minute)}},
		{[]string{"train.epochs=5"}, TrainConfig{Epochs: 5}},
	} {
		cfg, err := DecodeConfig("run.yaml", []byte(text), c.sets...)
		if err != nil {
			t.Fatalf("%v: %v", c.sets, err)
		}
		if got := cfg.Train; got.Steps != c.want.Steps || got.Budget != c.want.Budget || got.Epochs != c.want.Epochs {
			t.Errorf("%v: budget %v, %d steps, %v epochs", c.sets, got.Budget, got.Steps, got.Epochs)
		}
	}
	if _, err := DecodeConfig("run.yaml", []byte(text), "train.steps=20", "train.budget=2m"); err == nil {
		t.Error("two lengths at once pass")
	}
}

// The configs of docs/configs are read without a complaint.
func TestDocumentedConfigs(t *testing.T) {
	paths, err := filepath.Glob("../docs/configs/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, path := range paths {
		if strings.HasPrefix(filepath.Base(path), "calo-") {
			continue
		}
		n++
		if _, err := LoadConfig(path); err != nil {
			t.Errorf("%v", err)
		}
	}
	if n < 9 {
		t.Errorf("%d configs", n)
	}
}
