package main

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hepmorph/morph"
	"hepmorph/physics/rootio"
	"hepmorph/samples"
	"hepmorph/validation"
	"hepmorph/validation/metric"
)

// processNames are the simulations of the tests below; data mix them by their cross sections.
var processNames = []string{"yy", "yj", "signal"}

// processSettings are those of the samples: equal numbers of events, unequal cross sections, negative weights.
func processSettings(layout samples.Layout) samples.DiphotonSettings {
	return samples.DiphotonSettings{Events: 8000, Seed: 7, Peak: 0.05, Layout: layout, Truth: true, Processes: []samples.Process{samples.Continuum, samples.GammaJet, samples.Signal}}
}

func processSamples(t testing.TB, layout samples.Layout) string {
	return fixture(t, "processes-"+string(layout), func(dir string) {
		if _, err := samples.WriteDiphoton(context.Background(), dir, processSettings(layout)); err != nil {
			t.Fatal(err)
		}
	})
}

// mixtureConfig is a config with one simulation for each process. which is simulation or truth; normalise says how an input is normalised, or nothing.
func mixtureConfig(t testing.TB, layout samples.Layout, which, weight, rest string, normalise func(k int) string) string {
	t.Helper()
	dir := processSamples(t, layout)
	tree := map[samples.Layout]string{samples.Flat: "diphoton", samples.NanoAOD: "Events", samples.ATLAS2025: "analysis"}[layout]
	b := "inputs:\n"
	if normalise(0) != "" {
		b += "  luminosity: 2.5\n"
	}
	b += "  simulation:\n"
	for k, p := range processNames {
		b += fmt.Sprintf("    - {files: [%s/diphoton-%s-%s.root], tree: %s, weight: %q, label: %s, %s}\n", dir, which, p, tree, weight, p, normalise(k))
	}
	b += fmt.Sprintf("  data: [{files: [%s/diphoton-data.root], tree: %s}]\n", dir, tree)
	path := filepath.Join(t.TempDir(), "run.yaml")
	write(t, path, b+rest)
	return path
}

const flatMixture = `id: [eventNumber]
select: [lead_pt > 35 && sublead_pt > 25]
split: {train: "eventNumber % 10 < 7", validation: 0.2}
features: {r9: {expr: lead_r9}, sieie: {expr: sublead_sieie}, pt1: {expr: lead_pt}}
conditions: {eta1: {expr: lead_eta}, eta2: {expr: sublead_eta}}
observables:
  m: {expr: "pair_mass(lead_pt, lead_eta, lead_phi, sublead_pt, sublead_eta, sublead_phi)", unit: GeV, range: [100, 160], bins: 20}
  ptgg: {expr: "pair_pt(lead_pt, lead_phi, sublead_pt, sublead_phi)", unit: GeV, range: [0, 150], bins: 20}
reweight: {method: histogram, bins: 4}
flow: {kind: nsf, transforms: 2, hidden: [16], bins: 4}
train: {steps: 20, batch: 128, evaluations: 2}
`

func byColumns(int) string { return "xsec: xsec, sum_of_weights: sum_of_weights" }

func loadMixture(t testing.TB, path string, d morph.Domain) *morph.Events {
	t.Helper()
	cfg, err := morph.LoadConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	ev, err := cfg.Load(context.Background(), d, rootio.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return ev
}

// Sums of weights come from a column, from the tree Runs, or are given; cross section, k-factor and efficiency are numbers or columns. Each way the sums of an
// input are luminosity times cross section, the shares are those that the samples were made with, and N_eff is that of the mixture.
func TestMixtureSums(t *testing.T) {
	const lumi = 2500.0 // pb^-1
	nano := "id: [run, event]\nselect: [nPhoton >= 2]\nfeatures: {r9: {expr: \"Photon_r9[0]\"}}\nconditions: {eta: {expr: \"Photon_eta[0]\"}}\n"
	atlas := "id: [eventNumber]\nselect: [photon_n >= 2]\nfeatures: {cone: {expr: \"photon_ptcone20[0]\", atom: 0}}\nconditions: {eta: {expr: \"photon_eta[0]\"}}\n"
	numbers := func(sum func(k int) string) func(k int) string {
		return func(k int) string {
			s := processSettings(samples.NanoAOD)
			x, err := s.CrossSection(s.Processes[k])
			if err != nil {
				t.Fatal(err)
			}
			return fmt.Sprintf("xsec: %g, kfac: %g, filteff: %g, sum_of_weights: %s", x.Sigma, x.KFactor, x.FilterEff, sum(k))
		}
	}
	generated := func(k int) string {
		sum := 0.0
		for _, w := range readTree(t, "Events", filepath.Join(processSamples(t, samples.NanoAOD), "diphoton-simulation-"+processNames[k]+".root")).floats(t, "genWeight") {
			sum += w
		}
		return fmt.Sprint(sum)
	}
	for _, l := range []struct {
		name, weight, rest string
		layout             samples.Layout
		normalise          func(k int) string
	}{
		{"columns, flat", "weight", flatMixture, samples.Flat, byColumns},
		{"columns, ATLAS", "mcWeight * ScaleFactor_PILEUP", atlas, samples.ATLAS2025, func(int) string { return "xsec: xsec, kfac: kfac, filteff: filteff, sum_of_weights: sum_of_weights" }},
		{"Runs", "genWeight * puWeight", nano, samples.NanoAOD, numbers(func(int) string { return "Runs" })},
		{"given", "genWeight * puWeight", nano, samples.NanoAOD, numbers(generated)},
	} {
		t.Run(l.name, func(t *testing.T) {
			s := processSettings(l.layout)
			shares, err := s.Shares()
			if err != nil {
				t.Fatal(err)
			}
			ev := loadMixture(t, mixtureConfig(t, l.layout, "simulation", l.weight, l.rest, l.normalise), morph.Simulation)
			all := ev.CutFlow[0].SumW
			for k, p := range ev.Parts {
				x, err := s.CrossSection(s.Processes[k])
				if err != nil {
					t.Fatal(err)
				}
				got, want, sd := p.CutFlow[0].SumW, lumi*x.Effective(), math.Sqrt(p.CutFlow[0].SumW2)
				if p.Label != processNames[k] || math.Abs(got-want) > 4*sd || sd > 0.03*want {
					t.Errorf("%s: %.1f +- %.1f events before the selection, not %.1f", p.Label, got, sd, want)
				}
				if share := shares[s.Processes[k]]; math.Abs(got/all-share) > 4*sd/all {
					t.Errorf("%s: share %.4f, not %.4f", p.Label, got/all, share)
				}
			}
			sum, square, negative := 0.0, 0.0, 0
			for _, w := range ev.Table.Weight {
				sum += w
				square += w * w
				if w < 0 {
					negative++
				}
			}
			last := ev.CutFlow.Selected()
			if math.Abs(last.SumW-sum) > 1e-9*sum || math.Abs(last.SumW2-square) > 1e-9*square || int(last.Entries) != ev.Table.Len() || negative == 0 {
				t.Errorf("cut flow %+v; the rows have %g, %g, %d of them negative", last, sum, square, negative)
			}
			n := 0
			for _, r := range ev.Ranges() {
				if n += r.Hi - r.Lo; ev.Parts[r.Input].Rows != r.Hi-r.Lo {
					t.Errorf("rows %+v of input %+v", r, ev.Parts[r.Input])
				}
			}
			if n != ev.Table.Len() {
				t.Errorf("ranges have %d rows of %d", n, ev.Table.Len())
			}
		})
	}
}

// The mixture of the processes, as the detector of data would have seen them, has the spectra of data, which are made as that mixture; the processes without
// their cross sections have not. Data differ in the law of eta by a known factor, which goes into the weight.
func TestMixtureSpectra(t *testing.T) {
	const tilted = "weight * (1 - 0.02 * (abs(lead_eta) + abs(sublead_eta)))"
	right := mixtureConfig(t, samples.Flat, "truth", tilted, flatMixture, byColumns)
	wrong := mixtureConfig(t, samples.Flat, "truth", tilted, flatMixture, func(int) string { return "" })
	sim, alike, data := loadMixture(t, right, morph.Simulation), loadMixture(t, wrong, morph.Simulation), loadMixture(t, right, morph.Data)
	for _, name := range []string{"m", "ptgg", "pt1", "r9", "sieie"} {
		col := func(ev *morph.Events) []float64 {
			x, err := ev.Table.Col(name)
			if err != nil {
				t.Fatal(err)
			}
			return x
		}
		good := metric.Chi2(col(sim), sim.Table.Weight, col(data), data.Table.Weight, 30)
		bad := metric.Chi2(col(alike), alike.Table.Weight, col(data), data.Table.Weight, 30)
		t.Logf("%s: chi2 %.1f of %d, p = %.3g; without cross sections %.1f, p = %.3g", name, good.Chi2, good.NDF, good.P, bad.Chi2, bad.P)
		if good.P < 1e-3 {
			t.Errorf("%s: chi2 %.1f of %d: the mixture has another spectrum than data", name, good.Chi2, good.NDF)
		}
		if name == "m" && bad.P > 1e-6 {
			t.Errorf("%s: equal numbers of events of all processes have the spectrum of data: this test sees nothing", name)
		}
	}
}

// Check and validate show the processes as a stack and say what they are normalised to; apply weighs a file by its process.
func TestMixtureEndToEnd(t *testing.T) {
	s := processSettings(samples.Flat)
	effective := func(k int) float64 {
		x, err := s.CrossSection(s.Processes[k])
		if err != nil {
			t.Fatal(err)
		}
		return x.Effective()
	}
	conf := mixtureConfig(t, samples.Flat, "simulation", "weight", flatMixture, func(k int) string { return fmt.Sprintf("xsec: %g, sum_of_weights: sum_of_weights", effective(k)) })
	dir := t.TempDir()
	look, run, report := filepath.Join(dir, "look"), filepath.Join(dir, "run"), filepath.Join(dir, "report")
	r := mustRun(t, "morph", "check", "-c", conf, "--out", look)
	for _, want := range []string{"the simulations together", "yj", "normalised to 2.5 fb^-1", "/ (sum_of_weights)"} {
		if !strings.Contains(r.out, want) {
			t.Errorf("%q is not said:\n%s", want, r.out)
		}
	}
	mustRun(t, "morph", "train", "-q", "-c", conf, "--out", run)
	mustRun(t, "morph", "validate", "-q", "-m", filepath.Join(run, "model.hmm"), "--out", report, "--quick")
	for _, out := range []string{look, report} {
		rep, err := validation.Decode([]byte(read(t, filepath.Join(out, "metrics.json"))))
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, in := range rep.Inputs {
			if in.Role == validation.Simulation {
				n++
			}
		}
		if n != len(processNames) || !strings.Contains(read(t, filepath.Join(out, "report.html")), "normalised to luminosity") {
			t.Errorf("%s: %d simulations", out, n)
		}
		if list := mustRun(t, "root", "ls", filepath.Join(out, "histograms.root")).out; !strings.Contains(list, "simulation_2") {
			t.Errorf("%s: no histograms of the processes:\n%s", out, list)
		}
	}
	if _, err := os.Stat(filepath.Join(report, "figures", "m-processes.svg")); err != nil {
		t.Error(err)
	}

	model, samplesDir := filepath.Join(run, "model.hmm"), processSamples(t, samples.Flat)
	file := func(process string) string { return filepath.Join(samplesDir, "diphoton-simulation-"+process+".root") }
	mustRun(t, "morph", "apply", "-q", "-m", model, "-o", dir+"/", file("yj"), file("signal"))
	for k, process := range processNames[1:] {
		out := readTree(t, "diphoton", filepath.Join(dir, filepath.Base(file(process))))
		weight, kin, sum, own := out.floats(t, "morph_weight"), out.floats(t, "morph_kinweight"), out.floats(t, "sum_of_weights"), out.floats(t, "weight")
		for i := range weight {
			if want := 2500 * effective(k+1) * own[i] / sum[i] * kin[i]; math.Abs(weight[i]-want) > 1e-9*math.Abs(want) {
				t.Fatalf("%s: morph_weight of entry %d is %g, not %g", process, i, weight[i], want)
			}
		}
	}
	for _, c := range []struct {
		says string
		args []string
	}{
		{"give a folder", []string{"-o", filepath.Join(dir, "all.root"), file("yy"), file("yj")}},
		{"--label: yy, yj, signal", []string{"-o", filepath.Join(dir, "data.root"), filepath.Join(samplesDir, "diphoton-data.root")}},
		{"yy, yj, signal", []string{"-o", filepath.Join(dir, "data.root"), "--label", "zz", file("yy")}},
	} {
		r := command(context.Background(), append([]string{"morph", "apply", "-m", model}, c.args...)...)
		if r.code != exitInput || !strings.Contains(r.err, c.says) {
			t.Errorf("apply %v: exit code %d: %s", c.args, r.code, r.err)
		}
	}
}

// What is wrong with a simulation of several is said with the remedy.
func TestMixtureErrors(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.root")
	cols := map[string]*rootio.Values{}
	for name, v := range readTree(t, "diphoton", filepath.Join(processSamples(t, samples.Flat), "diphoton-simulation-yj.root")).cols {
		cols[name] = rootio.NewValues(v.Kind, 0)
	}
	writeTree(t, empty, "diphoton", 0, cols)
	for _, c := range []struct {
		name     string
		from, to string
		code     int
		says     []string
	}{
		{"empty", "diphoton-simulation-yj.root", empty, exitInput, []string{"yj", "no entries", "take it out of inputs.simulation"}},
		{"one without cross section", "label: signal, xsec: xsec, sum_of_weights: sum_of_weights", "label: signal", exitConfig, []string{"inputs.simulation[2].xsec", "normalised alike"}},
		{"no sum", "label: yy, xsec: xsec, sum_of_weights: sum_of_weights", "label: yy, xsec: xsec", exitConfig, []string{"inputs.simulation[0].sum_of_weights", "Runs"}},
		{"negative", "label: yy, xsec: xsec", "label: yy, xsec: -3", exitConfig, []string{"must be positive"}},
		{"no Runs", "label: yj, xsec: xsec, sum_of_weights: sum_of_weights", "label: yj, xsec: xsec, sum_of_weights: Runs", exitInput, []string{"Runs", "give the number"}},
		{"data", "data: [{", "data: [{xsec: 1, sum_of_weights: 1, ", exitConfig, []string{"inputs.data[0].xsec"}},
		{"luminosity", "luminosity: 2.5", "luminosity: 2 barns", exitConfig, []string{"fb^-1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			conf := mixtureConfig(t, samples.Flat, "simulation", "weight", flatMixture, byColumns)
			text := read(t, conf)
			if c.name == "empty" {
				c.from = filepath.Join(processSamples(t, samples.Flat), c.from)
			}
			if !strings.Contains(text, c.from) {
				t.Fatalf("the config has no %q", c.from)
			}
			write(t, conf, strings.Replace(text, c.from, c.to, 1))
			r := command(context.Background(), "morph", "check", "-c", conf)
			if r.code != c.code {
				t.Errorf("exit code %d, not %d", r.code, c.code)
			}
			for _, s := range c.says {
				if !strings.Contains(r.err, s) {
					t.Errorf("%q is not said: %s", s, r.err)
				}
			}
		})
	}
}
