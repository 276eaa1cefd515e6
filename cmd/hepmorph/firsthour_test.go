package main

import (
	"context"
	"fmt"
	"math"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"hepmorph/internal/testdata"
	"hepmorph/physics/rootio"
)

// rewritten writes the flat simulation again, with its columns changed.
func rewritten(t testing.TB, change func(name string, v *rootio.Values) (string, *rootio.Values)) string {
	t.Helper()
	tr := readTree(t, "diphoton", filepath.Join(layoutSamples(t, "flat"), "diphoton-simulation.root"))
	cols := map[string]*rootio.Values{}
	for name, v := range tr.cols {
		if v.Kind.Form != rootio.Scalar || v.Kind.Elem == rootio.String {
			continue
		}
		if to, w := change(name, v.Clone()); to != "" {
			cols[to] = w
		}
	}
	path := filepath.Join(t.TempDir(), "changed.root")
	writeTree(t, path, "diphoton", tr.n, cols)
	return path
}

func inMeV(name string, v *rootio.Values) (string, *rootio.Values) {
	if strings.HasSuffix(name, "_pt") {
		for i := range v.F32 {
			v.F32[i] *= 1000
		}
		for i := range v.F64 {
			v.F64[i] *= 1000
		}
	}
	return name, v
}

// A file that does not fit is refused with the reason and the remedy, and nothing is written.
func TestApplyNamesWhatDoesNotFit(t *testing.T) {
	model := flatModel(t)
	keep := func(name string, v *rootio.Values) (string, *rootio.Values) { return name, v }
	for _, l := range []struct {
		name   string
		change func(name string, v *rootio.Values) (string, *rootio.Values)
		code   int
		says   []string
	}{
		{"the same", keep, exitOK, nil},
		{"MeV", inMeV, exitModel, []string{`size of "pt1"`, "MeV against GeV", "unit of the training"}},
		{"TeV", func(name string, v *rootio.Values) (string, *rootio.Values) { // nothing passes the selection
			for i := range v.F32 {
				if strings.HasSuffix(name, "_pt") {
					v.F32[i] /= 1000
				}
			}
			return name, v
		}, exitModel, []string{`size of "pt1"`, "MeV against GeV"}},
		{"no id", func(name string, v *rootio.Values) (string, *rootio.Values) {
			if name == "eventNumber" {
				return "", nil
			}
			return name, v
		}, exitModel, []string{`"eventNumber"`, "id: []"}},
		{"other names", func(name string, v *rootio.Values) (string, *rootio.Values) {
			return strings.Replace(name, "lead_", "leading_", 1), v
		}, exitModel, []string{"lead_pt", "leading_pt", "morph init"}},
		{"other events", func(name string, v *rootio.Values) (string, *rootio.Values) {
			for i := range v.F32 {
				if name == "lead_eta" {
					v.F32[i] = 7
				}
			}
			return name, v
		}, exitModel, []string{`"eta1"`, "outside", "other events"}},
	} {
		t.Run(l.name, func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "out.root")
			r := command(context.Background(), "morph", "apply", "-m", model, "-o", out, rewritten(t, l.change))
			if r.code != l.code {
				t.Errorf("exit code %d, not %d\n%s", r.code, l.code, r.err)
			}
			for _, s := range l.says {
				if !strings.Contains(r.err, s) {
					t.Errorf("%q is not said: %s", s, r.err)
				}
			}
			if made, _ := filepath.Glob(out + "*"); (len(made) > 0) != (l.code == exitOK) {
				t.Errorf("files: %v", made)
			}
		})
	}
}

// The proposal for the project's own samples is checked and trained as it is.
func TestInitCheckTrain(t *testing.T) {
	s := layoutSamples(t, "flat")
	conf := filepath.Join(t.TempDir(), "run.yaml")
	write(t, conf, mustRun(t, "morph", "init", s+"/diphoton-simulation.root", "--data", s+"/diphoton-data.root").out)
	out := filepath.Join(t.TempDir(), "look")
	r := mustRun(t, "morph", "check", "-c", conf, "--out", out)
	for _, want := range []string{"N_eff", "floor", "rows to train on", "parameters", "report.html"} {
		if !strings.Contains(r.out, want) {
			t.Errorf("%q is not said:\n%s", want, r.out)
		}
	}
	if text := read(t, filepath.Join(out, "check.txt")); !strings.Contains(r.out, text) || text == "" {
		t.Error("check.txt is not what was printed")
	}
	mustRun(t, "morph", "train", "-c", conf, "--out", filepath.Join(t.TempDir(), "run"), "--set", "train.epochs=0", "--set", "train.steps=2", "--set", "flow.hidden=[16]",
		"--set", "flow.transforms=1")
}

// Everything that is wrong is said at once, with lines to paste; pasted, they leave nothing to change.
func TestCheckSuggests(t *testing.T) {
	const n = 1500
	value := func(seed, i int) float64 {
		_, f := math.Modf(float64(i+1) * (math.Sqrt(float64(seed)) + 0.1))
		return f
	}
	sample := func(name string, shift float64) string {
		cols := map[string]*rootio.Values{}
		for k, f := range map[string]func(i int) float64{
			"shape": func(i int) float64 { return map[bool]float64{true: -999, false: value(2, i) + shift}[i%100 == 0] },
			"iso":   func(i int) float64 { return max(0, value(3, i)-0.4+shift) },
			"score": func(i int) float64 { return 2*value(5, i) + shift },
			"flat":  func(i int) float64 { return 1 },
			"twin":  func(i int) float64 { return 2*value(5, i) + shift },
			"pt":    func(i int) float64 { return 20 + 50*value(7, i) },
			"nan":   func(i int) float64 { return map[bool]float64{true: math.NaN(), false: value(11, i)}[i%50 == 0] },
		} {
			x := make([]float32, n)
			for i := range x {
				x[i] = float32(f(i))
			}
			cols[k] = rootio.Float32s(x)
		}
		path := filepath.Join(t.TempDir(), name)
		writeTree(t, path, "t", n, cols)
		return path
	}
	head := fmt.Sprintf("inputs:\n  simulation: [%s]\n  data: [%s]\nsplit: {train: \"entry %% 2 == 0\", validation: 0.2}\nreweight: {method: none}\n", sample("mc.root", 0), sample("data.root", 0.1))
	conf := filepath.Join(t.TempDir(), "run.yaml")
	write(t, conf, head+"features:\n  shape: {}\n  iso: {}\n  score: {bounds: [0, 1]}\n  flat: {}\n  twin: {}\n  nan: {}\nconditions:\n  pt: {}\n")
	r := command(context.Background(), "morph", "check", "-c", conf)
	if r.code != exitInput {
		t.Errorf("exit code %d: %s", r.code, r.err)
	}
	var lines []string
	for _, l := range strings.Split(r.out, "\n") {
		if strings.HasPrefix(l, "      ") && strings.Contains(l, ": {") {
			lines = append(lines, strings.TrimSpace(l))
		}
	}
	for _, want := range []string{"-999", "atom: 0", "outside bounds", "flat: constant", "twin: the same values as score", "not finite", ".nan"} {
		if !strings.Contains(r.out, want) {
			t.Errorf("%q is not said:\n%s", want, r.out)
		}
	}
	fixed := "features:\n"
	for _, l := range lines {
		fixed += "  " + l + "\n"
	}
	write(t, conf, head+fixed+"conditions:\n  pt: {}\n")
	r = command(context.Background(), "morph", "check", "-c", conf)
	if r.code != exitOK || strings.Contains(r.out, "atom: 0") {
		t.Errorf("exit code %d with the lines pasted\n%s\n%s%s", r.code, fixed, r.out, r.err)
	}
}

// An input that leaves nothing is an error that names it.
func TestCheckEmptySecondSimulation(t *testing.T) {
	s := layoutSamples(t, "flat")
	conf := configFile(t, s, "weight: weight}]\n  data", "weight: weight, label: pairs}, {files: [SAMPLES/diphoton-truth.root], tree: diphoton, label: signal, select: [\"lead_pt < 0\"]}]\n  data")
	for _, what := range []string{"check", "train"} {
		r := command(context.Background(), "morph", what, "-c", conf)
		if r.code != exitInput || !strings.Contains(r.err, "signal") || !strings.Contains(r.err, "no row passes") || !strings.Contains(r.err, "lead_pt < 0") {
			t.Errorf("%s: exit code %d: %s", what, r.code, r.err)
		}
	}
}

// The first number of the check agrees with that of the independent judge: 0.7084 before on task R1.
func TestCheckAgreesWithJudge(t *testing.T) {
	if testing.Short() {
		t.Skip("unpacks 30 MB of LZMA and grows trees")
	}
	testdata.Shared(t, "diphoton/nano-simulation.root")
	config := read(t, "../../docs/configs/nano-r1.yaml")
	conf := filepath.Join(t.TempDir(), "r1.yaml")
	write(t, conf, strings.ReplaceAll(config, "../shared/data/diphoton", filepath.Dir(testdata.Shared(t, "diphoton/nano-data.root"))))
	r := mustRun(t, "morph", "check", "-c", conf)
	m := regexp.MustCompile(`AUC before ([0-9.]+)`).FindStringSubmatch(r.out)
	if m == nil {
		t.Fatal(r.out)
	}
	if auc, err := strconv.ParseFloat(m[1], 64); err != nil || math.Abs(auc-0.7084) > 0.005 {
		t.Errorf("AUC before %s, the judge says 0.7084", m[1])
	}
}

// Samples in different units are found before a training.
func TestCheckUnits(t *testing.T) {
	s := layoutSamples(t, "flat")
	conf := configFile(t, s, "SAMPLES/diphoton-data.root", rewritten(t, inMeV))
	r := command(context.Background(), "morph", "check", "-c", conf)
	if r.code != exitInput || !strings.Contains(r.out, "PROBLEM: pt1") || !strings.Contains(r.out, "MeV against GeV") {
		t.Errorf("exit code %d\n%s%s", r.code, r.out, r.err)
	}
}
