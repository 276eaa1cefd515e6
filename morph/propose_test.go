package morph

import (
	"context"
	"errors"
	"math"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"hepmorph/internal/rng"
	"hepmorph/internal/testdata"
	"hepmorph/physics/rootio"
)

// writeColumns makes a file with one tree of scalar branches.
func writeColumns(t testing.TB, name string, cols map[string]*rootio.Values) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	f, err := rootio.Create(path, rootio.WriteOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var wc []rootio.WriteColumn
	n := 0
	for _, c := range sortedNames(cols) {
		wc = append(wc, rootio.WriteColumn{Name: c, Kind: cols[c].Kind})
		n = cols[c].Rows()
	}
	w, err := f.Tree("t", "", wc)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []func() error{func() error { return w.Write(&rootio.Batch{N: n, Cols: cols}) }, w.Close, f.Close} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

func sortedNames[T any](m map[string]T) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

func float32s(n int, f func(i int, u float64) float64) *rootio.Values {
	key := rng.NewKey(3, "test values")
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(f(i, key.Uniform(uint64(i))))
	}
	return rootio.Float32s(x)
}

func propose(t testing.TB, o ProposeOptions) (*Config, string) {
	t.Helper()
	text, err := Propose(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	c, err := DecodeConfig("proposal.yaml", text)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return c, string(text)
}

// Of an unknown tree every plain number is a feature, as its values show it; what can't be morphed is left out and named.
func TestProposePlain(t *testing.T) {
	const n = 2000
	cols := map[string]*rootio.Values{
		"a":        float32s(n, func(i int, u float64) float64 { return u }),
		"iso":      float32s(n, func(i int, u float64) float64 { return max(0, 3*u-1) }),
		"shape":    float32s(n, func(i int, u float64) float64 { return []float64{u, -999}[(i%200)/199] }),
		"rounded":  float32s(n, func(i int, u float64) float64 { return (grid{Mantissa: 9}).snap(1 + u) }),
		"jets":     float32s(n, func(i int, u float64) float64 { return math.Floor(6 * u) }),
		"flat":     float32s(n, func(i int, u float64) float64 { return 2 }),
		"twin":     float32s(n, func(i int, u float64) float64 { return u }),
		"nan":      float32s(n, func(i int, u float64) float64 { return []float64{u * u, math.NaN()}[(i%100)/99] }),
		"weight":   float32s(n, func(i int, u float64) float64 { return 1 }),
		"label":    rootio.Strings(make([]string, n)),
		"saturate": float32s(n, func(i int, u float64) float64 { return min(u, 0.9) }),
	}
	c, text := propose(t, ProposeOptions{Simulation: writeColumns(t, "my.root", cols)})
	want := []string{"a", "iso", "jets", "nan", "rounded", "saturate", "shape"}
	if got := slices.Sorted(slices.Values(c.Features.Names())); !reflect.DeepEqual(got, want) {
		t.Fatalf("features %v, not %v\n%s", got, want, text)
	}
	get := func(name string) FeatureSpec { f, _ := c.Features.Get(name); return f }
	if f := get("iso"); f.Atom == nil || *f.Atom != 0 || len(f.Sentinels) > 0 {
		t.Errorf("iso: %+v", f)
	}
	if f := get("shape"); !reflect.DeepEqual(f.Sentinels, Floats{-999}) || f.Atom != nil {
		t.Errorf("shape: %+v", f)
	}
	if f := get("nan"); len(f.Sentinels) != 1 || !math.IsNaN(f.Sentinels[0]) {
		t.Errorf("nan: %+v", f)
	}
	if get("rounded").Mantissa != 9 || !get("jets").Integer || get("jets").Atom != nil || get("a").Mantissa != 0 || get("a").Atom != nil || get("saturate").Atom != nil {
		t.Errorf("%+v %+v %+v", get("rounded"), get("jets"), get("a"))
	}
	for _, s := range []string{"flat: constant", "twin: the same as a", "ONE FILE WAS GIVEN", "weight: weight"} {
		if !strings.Contains(text, s) {
			t.Errorf("%q is not said:\n%s", s, text)
		}
	}
	if c.Inputs.Data[0].Weight != "" || c.Split.Train != "entry % 10 < 7" || c.ID != nil {
		t.Errorf("data weight %q, split %q, id %v", c.Inputs.Data[0].Weight, c.Split.Train, c.ID)
	}
}

// What a preset has and a file has not is left out and named.
func TestProposePresetReduced(t *testing.T) {
	c, text := propose(t, ProposeOptions{Simulation: testdata.Shared(t, "root/nano_tt_v15.root"), Preset: "cms-nanoaod"})
	if !strings.Contains(text, "of the preset left out") || !strings.Contains(text, ": rho\n") || !slices.Contains(c.Features.Names(), "r9") || slices.Contains(c.Conditions.Names(), "rho") {
		t.Error(text)
	}
}

func TestProposeRefuses(t *testing.T) {
	path := writeColumns(t, "x.root", map[string]*rootio.Values{"i": rootio.Ints(rootio.Int32, []int64{1, 2})})
	if _, err := Propose(context.Background(), ProposeOptions{Simulation: path}); !errors.Is(err, ErrInput) {
		t.Errorf("a tree without columns: %v", err)
	}
	if _, err := Propose(context.Background(), ProposeOptions{Simulation: path, Tree: "u"}); !errors.Is(err, rootio.ErrTree) {
		t.Errorf("no such tree: %v", err)
	}
	if _, err := Propose(context.Background(), ProposeOptions{Simulation: path, Preset: "nosuch"}); err == nil {
		t.Error("no such preset")
	}
}

// All atoms, sentinels and mantissas that the shared files have by their description are found, and no others.
func TestProposeFindsWhatIsThere(t *testing.T) {
	type spec struct {
		atom     bool
		sentinel bool
		mantissa int
	}
	nano := map[string]spec{"r9": {mantissa: 10}, "s4": {sentinel: true, mantissa: 10}, "sieie": {mantissa: 10}, "etaWidth": {sentinel: true, mantissa: 10}, "hoe": {atom: true, mantissa: 10},
		"pfChargedIso": {atom: true, mantissa: 10}, "pfPhoIso03": {atom: true, mantissa: 10}, "energyErr": {mantissa: 10}, "eCorr": {mantissa: 11}, "mvaID": {mantissa: 10}}
	flat := map[string]spec{"r9": {mantissa: 10}, "sieie": {mantissa: 10}, "pfPhoIso03": {atom: true, mantissa: 10}, "mvaID": {mantissa: 10}}
	atlas := map[string]spec{"ptcone20": {atom: true}, "topoetcone40": {sentinel: true}}
	for _, l := range []struct {
		name, weight, split string
		conditions          []string
		want                map[string]spec
	}{
		{"nano", "genWeight * puWeight", "event % 10 < 7", []string{"lead_pt", "lead_eta", "sublead_pt", "sublead_eta", "dphi", "rho"}, nano},
		{"flat", "weight", "eventNumber % 10 < 7", []string{"lead_pt", "lead_eta", "sublead_pt", "sublead_eta", "dphi", "rho"}, flat},
		{"atlas", "ScaleFactor_PHOTON * ScaleFactor_PILEUP * mcWeight", "eventNumber % 10 < 7",
			[]string{"lead_pt", "lead_eta", "sublead_pt", "sublead_eta", "dphi", "pileup"}, atlas},
	} {
		t.Run(l.name, func(t *testing.T) {
			if testing.Short() && l.name == "nano" {
				t.Skip("reads 100 MB")
			}
			c, text := propose(t, ProposeOptions{Simulation: testdata.Shared(t, "diphoton/"+l.name+"-simulation.root"), Data: testdata.Shared(t, "diphoton/"+l.name+"-data.root")})
			if in := c.Inputs.Simulation[0]; (in.XSec == "xsec" && in.KFactor == "kfac" && in.FilterEff == "filteff" && in.SumOfWeights == "sum_of_weights") != (l.name == "atlas") {
				t.Errorf("normalisation %+v", in)
			}
			if c.Inputs.Simulation[0].Weight != l.weight || c.Inputs.Data[0].Weight != "" || c.Split.Train != l.split {
				t.Errorf("weight %q, split %q", c.Inputs.Simulation[0].Weight, c.Split.Train)
			}
			if !reflect.DeepEqual(c.Conditions.Names(), l.conditions) {
				t.Errorf("conditions %v", c.Conditions.Names())
			}
			if o := c.ObservableSpecs(); len(o) == 0 || !reflect.DeepEqual(o[0].Blind, []float64{120, 130}) {
				t.Errorf("nothing is blind: %+v", o)
			}
			if len(c.Features) != 2*len(l.want) {
				t.Errorf("features %v", c.Features.Names())
			}
			for _, f := range c.FeatureSpecs() {
				_, name, _ := strings.Cut(f.Name, "_")
				w, ok := l.want[name]
				got := spec{f.Atom != nil && *f.Atom == 0, reflect.DeepEqual(f.Sentinels, Floats{-999}), f.Mantissa}
				if !ok || got != w || (len(f.Sentinels) > 0) != w.sentinel || f.Integer || (f.Atom != nil) != w.atom {
					t.Errorf("%s: %+v, not %+v", f.Name, got, w)
				}
			}
			if t.Failed() {
				t.Log(text)
			}
		})
	}
}

// A tree without entries says nothing.
func TestProposeEmpty(t *testing.T) {
	_, err := Propose(context.Background(), ProposeOptions{Simulation: testdata.Shared(t, "root/nano_dy_empty.root")})
	if !errors.Is(err, ErrInput) || !strings.Contains(err.Error(), "no entries") {
		t.Error(err)
	}
}

// Each readable file with photons gets a configuration that loads and can be checked as it is.
func TestProposalsRun(t *testing.T) {
	for _, l := range []struct {
		file, row string
		features  int // at least
	}{
		{"DYJetsToLL_UL17_Skim", "photon", 12}, {"EGamma_F_Skim", "photon", 12}, {"GJet_v11_Skim", "photon", 12}, {"nanoAOD_2015_CMS_Open_Data_ttbar", "photon", 6},
		{"nano_dy", "photon", 6}, {"nano_tt_v15", "photon", 14}, {"ttH_M125_2017", "event", 12}, {"uproot-HZZ", "photon", 1}, {"hdna_tnp_mc", "event", 15}, {"phoid_mva", "event", 8},
		{"scouting_nano", "scoutingphoton", 5},
	} {
		t.Run(l.file, func(t *testing.T) {
			c, text := propose(t, ProposeOptions{Simulation: testdata.Shared(t, "root/"+l.file+".root")})
			if c.Row != l.row || len(c.Features) < l.features {
				t.Errorf("row %s, features %v", c.Row, c.Features.Names())
			}
			if l.file != "nano_tt_v15" { // one with the proposed network is enough
				c.Flow.Transforms, c.Flow.Hidden = 1, []int{32}
			}
			found, err := CheckConfig(context.Background(), c, CheckOptions{Threads: 2})
			if err != nil {
				t.Fatalf("%v\n%s", err, text)
			}
			if err := found.Err(); err != nil {
				t.Errorf("%v\n%s\n%s", err, text, found)
			}
		})
	}
}
