package main

import (
	"bytes"
	"context"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hepmorph/calo/geometry"
	"hepmorph/internal/testdata"
	"hepmorph/validation"
)

// caloTraining is a training of both networks in a second.
func caloTraining(data, out string) []string {
	return []string{"calo", "train", "--data", data, "--out", out, "--steps", "20", "--energy-steps", "20", "--width", "12", "--depth", "1", "--heads", "2", "--batch", "16", "-q"}
}

// TestCalo goes from generated training showers to a report.
func TestCalo(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	mustRun(t, "samples", "showers", "--out", in("train.h5"), "--events", "400", "--energy-min", "1000", "--energy-max", "10000")
	mustRun(t, "samples", "showers", "--out", in("reference.root"), "--events", "150", "--seed", "2", "--energy-min", "1000", "--energy-max", "10000")
	mustRun(t, "samples", "showers", "--out", in("photons.h5"), "--geometry", "ds1-photons", "--events", "50")
	mustRun(t, caloTraining(in("train.h5"), in("run"))...)
	model := in("run/model.hmm")
	mustRun(t, "calo", "generate", "-m", model, "-o", in("a.h5"), "--energies", in("reference.root"), "--steps", "2", "--threads", "2")
	mustRun(t, "calo", "generate", "-m", model, "-o", in("b.h5"), "--energies", in("reference.root"), "--steps", "2", "--threads", "1")
	a, b := read(t, in("a.h5")), read(t, in("b.h5"))
	if a != b {
		t.Error("the showers depend on the number of threads")
	}
	mustRun(t, "calo", "generate", "-m", model, "-o", in("c.root"), "--energy", "5000", "--events", "20", "--steps", "1")
	r := mustRun(t, "calo", "generate", "-m", model, "-o", in("d.h5"), "--spectrum", "1000:1e6", "--events", "30", "--steps", "1")
	if !strings.Contains(r.err, "outside of the trained range") {
		t.Errorf("energies beyond the training: %s", r.err)
	}
	mustRun(t, "calo", "distill", "-m", model, "-o", in("fast.hmm"), "--evaluations", "2", "--showers", "8", "--reference", "3", "-q")
	mustRun(t, "calo", "generate", "-m", in("fast.hmm"), "-o", in("f.h5"), "--energies", in("reference.root"), "--solver", "bespoke", "--steps", "2")
	if read(t, in("f.h5")) == a {
		t.Error("a bespoke solver draws the showers of midpoint steps")
	}
	card := mustRun(t, "model", "show", in("fast.hmm")).out
	for _, want := range []string{"mini (15 layers × 8 sectors × 9 rings = 1080 voxels)", "codec        moments", "20 and 20 steps", "of 2 evaluations", "made by      hepmorph"} {
		if !strings.Contains(card, want) {
			t.Errorf("the card of a model of showers lacks %q:\n%s", want, card)
		}
	}
	r = mustRun(t, "calo", "verify", in("a.h5"), in("c.root"), in("d.h5"), in("train.h5"))
	if strings.Count(r.out, "layer sums") != 3 || strings.Contains(r.out, "NO") {
		t.Errorf("verify: %s", r.out)
	}
	mustRun(t, "calo", "validate", "--reference", in("reference.root"), "--generated", in("a.h5"), "--floor", in("train.h5"), "--out", in("report"), "--quick")
	rep, err := validation.Decode([]byte(read(t, in("report/metrics.json"))))
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range [][3]string{{"auc", "gbdt", "layer energies"}, {"auc", "mlp", "voxels"}} {
		if m := rep.Find(k[0], k[1], k[2]); m == nil || !(m.After >= 0 && m.After <= 1 && m.Floor >= 0) || m.Pass == nil || !math.IsNaN(float64(m.Before)) {
			t.Errorf("metrics.json: %v %+v", k, m)
		}
	}
	if n := rep.Verdict.Pass + rep.Verdict.Fail; n != 15 {
		t.Errorf("%+v", rep.Verdict)
	}
	page := read(t, in("report/report.html"))
	if !strings.Contains(page, "reference.root") || !strings.Contains(page, "data:image/svg") || !strings.Contains(page, "15 targets hold") || strings.Contains(page, "ZgotmplZ") {
		t.Error("report.html is not complete")
	}
	for _, name := range []string{"summary.md", "histograms.root", "histograms.yoda", "figures/response.pdf", "figures/average_layer7.png"} {
		if _, err := os.Stat(in("report/" + name)); err != nil {
			t.Error(err)
		}
	}
	// without a second sample the reference is halved; a target that is missed matters to --strict alone
	halved := []string{"calo", "validate", "--reference", in("reference.root"), "--generated", in("a.h5"), "--quick", "--targets", "stretch", "--strict", "--out"}
	if r := command(context.Background(), append(halved, in("strict"))...); r.code != exitValidation || !strings.Contains(read(t, in("strict/summary.md")), "every second shower of the reference") {
		t.Errorf("--strict ends with %d: %s", r.code, r.err)
	}

	for _, c := range []struct {
		code int
		args []string
	}{
		{exitUsage, []string{"calo", "train"}},
		{exitUsage, []string{"calo", "train", "--data", in("train.h5"), "--out", in("x"), "--heads", "7"}},
		{exitUsage, []string{"calo", "train", "--data", in("train.h5"), "--out", in("x"), "--steps", "5"}},
		{exitInput, []string{"calo", "train", "--data", in("train.h5"), "--out", in("x"), "--geometry", "ds2"}},
		{exitInput, []string{"calo", "train", "--data", in("none.h5"), "--out", in("x")}},
		{exitInput, []string{"calo", "verify", model}},
		{exitUsage, []string{"calo", "verify", in("a.h5"), "--geometry", "ds7"}},
		{exitUsage, []string{"calo", "generate", "-m", model, "-o", in("e.h5")}},
		{exitUsage, []string{"calo", "generate", "-m", model, "-o", in("e.h5"), "--energy", "-3"}},
		{exitUsage, []string{"calo", "generate", "-m", model, "-o", in("e.h5"), "--energy", "3", "--solver", "none"}},
		{exitUsage, []string{"calo", "generate", "-m", model, "-o", in("e.h5"), "--energy", "3", "--solver", "bespoke"}},
		{exitUsage, []string{"calo", "distill", "-m", model, "-o", in("e.h5"), "--evaluations", "1"}},
		{exitOutput, []string{"calo", "distill", "-m", model, "-o", model}},
		{exitModel, []string{"calo", "generate", "-m", in("a.h5"), "-o", in("e.h5"), "--energy", "3"}},
		{exitOutput, []string{"calo", "generate", "-m", model, "-o", in("a.h5"), "--energy", "3"}},
		{exitUsage, []string{"samples", "showers", "--out", in("e.h5"), "--geometry", "ds7"}},
		{exitUsage, []string{"calo", "validate", "--reference", in("a.h5"), "--out", in("x")}},
		{exitUsage, []string{"calo", "validate", "--reference", in("a.h5"), "--generated", in("d.h5"), "--out", in("x"), "--targets", "none"}},
		{exitInput, []string{"calo", "validate", "--reference", in("a.h5"), "--generated", model, "--out", in("x")}},
		{exitInput, []string{"calo", "validate", "--reference", in("a.h5"), "--generated", in("photons.h5"), "--out", in("x")}},
		{exitOutput, []string{"calo", "validate", "--reference", in("a.h5"), "--generated", in("d.h5"), "--out", in("report")}},
	} {
		if r := command(context.Background(), c.args...); r.code != c.code {
			t.Errorf("%v: exit code %d, %d expected: %s", c.args, r.code, c.code, r.err)
		}
	}
	for _, name := range []string{"x", "e.h5"} {
		if _, err := os.Stat(in(name)); err == nil {
			t.Errorf("a command that failed left %s", name)
		}
	}
	if read(t, in("a.h5")) != a {
		t.Error("a file that was there has changed")
	}
}

// TestCaloConfig holds that a config trains what flags train, that flags override it, and that mistakes are told.
func TestCaloConfig(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	mustRun(t, "samples", "showers", "--out", in("train.h5"), "--events", "100", "--energy-min", "1000", "--energy-max", "10000")
	mustRun(t, caloTraining(in("train.h5"), in("flags"))...)
	text := mustRun(t, "calo", "init", in("train.h5")).out
	if !strings.Contains(text, "geometry: mini") || !strings.Contains(text, in("train.h5")) || !strings.Contains(text, "patch: [3, 8, 1]") {
		t.Errorf("init: %s", text)
	}
	if err := os.WriteFile(in("shower.yaml"), []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	args := caloTraining(in("train.h5"), in("config"))
	mustRun(t, append(args, "-c", in("shower.yaml"))...)
	mustRun(t, "calo", "train", "-c", in("config/config.resolved.yaml"), "--out", in("again"), "-q")
	for _, name := range []string{"config", "again"} {
		if read(t, in(name+"/model.hmm")) != read(t, in("flags/model.hmm")) {
			t.Errorf("the model of %s is another one", name)
		}
	}
	mustRun(t, "calo", "train", "-c", in("config/config.resolved.yaml"), "--out", in("other"), "--set", "train.times=logit-normal", "-q")
	if read(t, in("other/model.hmm")) == read(t, in("flags/model.hmm")) {
		t.Error("other times give the same model")
	}
	mustRun(t, "calo", "train", "-c", in("config/config.resolved.yaml"), "--out", in("coupled"), "--codec", "quantile", "--set", "shape.coupling=turns", "--set", "shape.mean=true",
		"--set", "generate.solver=mean-flow", "--set", "generate.steps=1", "-q")
	mustRun(t, "calo", "generate", "-m", in("coupled/model.hmm"), "-o", in("few.h5"), "--energy", "5000", "--events", "5", "-q")
	for want, args := range map[string][]string{
		"did you mean heads": {"-c", in("shower.yaml"), "--set", "shape.hedas=3"},
		"solver":             {"-c", in("shower.yaml"), "--set", "generate.solver=none"},
		"could not":          {"-c", in("none.yaml")},
	} {
		if r := command(context.Background(), append([]string{"calo", "train", "--out", in("x")}, args...)...); r.code != exitConfig || !strings.Contains(r.err, want) {
			t.Errorf("%v: exit code %d: %s", args, r.code, r.err)
		}
	}
}

// TestCaloVerifyFindsFaults holds that a file whose voxels do not add up is refused.
func TestCaloVerifyFindsFaults(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bad.h5")
	g, err := geometry.Lookup("mini")
	if err != nil {
		t.Fatal(err)
	}
	w, err := geometry.Create(path, g, true)
	if err != nil {
		t.Fatal(err)
	}
	voxels, layers := make([]float32, g.Voxels()), make([]float64, len(g.Layers))
	voxels[0], layers[0] = 800, 801
	if err := w.Write([]float64{1000}, voxels, layers); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if r := command(context.Background(), "calo", "verify", path); r.code != exitValidation || !strings.Contains(r.out, "NO  layer sums") {
		t.Errorf("exit code %d: %s%s", r.code, r.out, r.err)
	}
}

// TestCaloOnCascadeShowers trains on showers of the particle cascade, of which most have an empty layer.
func TestCaloOnCascadeShowers(t *testing.T) {
	dir := t.TempDir()
	out := filepath.Join(dir, "showers.h5")
	mustRun(t, append(caloTraining(testdata.Shared(t, "showers/mini_train.h5"), filepath.Join(dir, "run")), "--showers", "600")...)
	mustRun(t, "calo", "generate", "-m", filepath.Join(dir, "run/model.hmm"), "-o", out, "--energies", testdata.Shared(t, "showers/mini_reference2.h5"), "--events", "200", "--steps", "2")
	mustRun(t, "calo", "verify", out)
	if b := []byte(read(t, out)); !bytes.HasPrefix(b, []byte("\x89HDF")) {
		t.Error("not an HDF5 file")
	}
}
