package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hepmorph/internal/train"
	"hepmorph/physics/rootio"
)

// changed writes the flat samples into dir, the simulation with columns changed.
func changed(t *testing.T, dir string, change func(tr *tree)) string {
	t.Helper()
	s := layoutSamples(t, "flat")
	tr := readTree(t, "diphoton", filepath.Join(s, "diphoton-simulation.root"))
	change(tr)
	writeTree(t, filepath.Join(dir, "diphoton-simulation.root"), "diphoton", tr.n, tr.cols)
	write(t, filepath.Join(dir, "diphoton-data.root"), read(t, filepath.Join(s, "diphoton-data.root")))
	return dir
}

func set(v *rootio.Values, x float64) {
	for i := range v.Size() {
		v.SetFloat(i, x)
	}
}

// TestBadInput holds every way to be wrong that a user is likely to find: each ends in a message that names the thing, in the exit code of its kind, and leaves
// the disk as it was.
func TestBadInput(t *testing.T) {
	flat := layoutSamples(t, "flat")
	model := flatModel(t)
	sim := filepath.Join(flat, "diphoton-simulation.root")
	training := func(conf, dir string, more ...string) []string {
		return append([]string{"morph", "train", "-c", conf, "--out", filepath.Join(dir, "runs", "run")}, more...)
	}
	// trainOn trains on changed samples.
	trainOn := func(change func(tr *tree), replace ...string) func(*testing.T, string) []string {
		return func(t *testing.T, dir string) []string {
			return training(configFile(t, changed(t, dir, change), replace...), dir)
		}
	}
	// trainWith trains by a changed config.
	trainWith := func(replace ...string) func(*testing.T, string) []string {
		return func(t *testing.T, dir string) []string { return training(configFile(t, flat, replace...), dir) }
	}
	apply := func(more ...string) func(*testing.T, string) []string {
		return func(t *testing.T, dir string) []string {
			args := []string{"morph", "apply", "-m", model, "-o", filepath.Join(dir, "out.root")}
			return append(args, more...)
		}
	}
	applyTo := func(change func(tr *tree)) func(*testing.T, string) []string {
		return func(t *testing.T, dir string) []string {
			return apply(filepath.Join(changed(t, dir, change), "diphoton-simulation.root"))(t, dir)
		}
	}
	broken := func(damage func(b []byte) []byte) func(*testing.T, string) []string {
		return func(t *testing.T, dir string) []string {
			path := filepath.Join(dir, "broken.root")
			write(t, path, string(damage([]byte(read(t, sim)))))
			return apply(path)(t, dir)
		}
	}
	brokenModel := func(damage func(b []byte) []byte) func(*testing.T, string) []string {
		return func(t *testing.T, dir string) []string {
			path := filepath.Join(dir, "broken.hmm")
			write(t, path, string(damage([]byte(read(t, model)))))
			return []string{"morph", "apply", "-m", path, "-o", filepath.Join(dir, "out.root"), sim}
		}
	}
	plain := func(args ...string) func(*testing.T, string) []string {
		return func(_ *testing.T, dir string) []string {
			out := make([]string, len(args))
			for i, a := range args {
				out[i] = strings.ReplaceAll(a, "DIR", dir)
			}
			return out
		}
	}
	for _, c := range []struct {
		name string
		args func(t *testing.T, dir string) []string
		code int
		want []string
	}{
		// usage
		{"no such command", plain("morf"), exitUsage, []string{`unknown command "morf"`, "did you mean morph?", "see: hepmorph --help"}},
		{"no such subcommand", plain("morph", "aply"), exitUsage, []string{"did you mean apply?", "see: hepmorph morph --help"}},
		{"no such flag", plain("morph", "train", "--confg", "x"), exitUsage, []string{"--confg", "see: hepmorph morph train --help"}},
		{"missing flag", plain("morph", "train"), exitUsage, []string{"missing --config"}},
		{"missing output", plain("morph", "apply", "-m", model, sim), exitUsage, []string{"missing --output"}},
		{"missing argument", plain("morph", "apply", "-m", model, "-o", "DIR/x.root"), exitUsage, []string{"requires at least 1 arg"}},
		{"number that is none", plain("samples", "oneflow", "--out", "DIR/s", "--events", "many"), exitUsage, []string{"--events", "many"}},
		{"no events", plain("samples", "oneflow", "--out", "DIR/s", "--events", "0"), exitUsage, []string{"--events 0"}},
		{"too few events", plain("samples", "oneflow", "--out", "DIR/s", "--events", "99"), exitUsage, []string{"99 events", "must be 100"}},
		{"a process twice", plain("samples", "diphoton", "--out", "DIR/s", "--processes", "yy,yy"), exitUsage, []string{"yy", "twice"}},
		{"unknown layout", plain("samples", "diphoton", "--out", "DIR/s", "--layout", "csv"), exitUsage, []string{"csv", "nanoaod"}},
		{"unknown process", plain("samples", "diphoton", "--out", "DIR/s", "--processes", "yy,zz"), exitUsage, []string{"zz"}},
		{"peak of everything", plain("samples", "diphoton", "--out", "DIR/s", "--peak", "1"), exitUsage, []string{"a share of 1"}},
		{"unknown preset", plain("morph", "init", "--preset", "cms"), exitUsage, []string{"cms-nanoaod"}},
		{"threads below zero", plain("version", "--threads", "-2"), exitUsage, []string{"--threads -2"}},
		{"shard beyond", apply("--shard", "3/2", sim), exitUsage, []string{"3/2"}},
		{"shard of words", apply("--shard", "1/2x", sim), exitUsage, []string{"1/2x"}},
		{"model and config", plain("morph", "validate", "-m", model, "-c", "x", "--out", "DIR/r"), exitUsage, []string{"not both"}},
		{"neither model nor config", plain("morph", "validate", "--out", "DIR/r"), exitUsage, []string{"missing --model or --config"}},
		{"settings of a model", plain("morph", "validate", "-m", model, "--set", "seed=2", "--out", "DIR/r"), exitUsage, []string{"--set"}},

		// config
		{"config missing", plain("morph", "train", "-c", "DIR/no.yaml", "--out", "DIR/run"), exitConfig, []string{"no.yaml", "no such file"}},
		{"config is no YAML", trainWith("seed: 3", "seed: [3"), exitConfig, []string{"run.yaml:"}},
		{"config typos, all at once", trainWith("bins: 4}", "bnis: 4}", "kind: nsf", "kind: nfs", "steps: 20", "steps: -3", "atom: 0", "atm: 0", "seed: 3", "seed: three"),
			exitConfig, []string{"run.yaml:1: seed", "run.yaml:10: features.iso.atm: unknown key (did you mean atom?)", "flow.bnis: unknown key (did you mean bins?)",
				`flow.kind: "nfs" is unknown (did you mean nsf?)`, "train.steps: -3 is below 0"}},
		{"config without features", trainWith("features:", "observables_:", "conditions:", "conditionss:"), exitConfig, []string{"features", "did you mean conditions?"}},
		{"setting of an unknown key", func(t *testing.T, dir string) []string {
			return training(configFile(t, flat), dir, "--set", "train.step=5")
		}, exitConfig, []string{"--set train.step=5", "did you mean steps?"}},
		{"expression that is none", trainWith("expr: lead_r9", `expr: "lead_r9 +"`), exitConfig, []string{`"lead_r9 +"`, "r9"}},
		{"selection that is a number", trainWith("lead_pt > 35 && sublead_pt > 25", "lead_pt + 1"), exitConfig, []string{"lead_pt + 1", "true or false"}},
		{"id that is no integer", trainWith("id: [eventNumber]", "id: [lead_pt]"), exitConfig, []string{"lead_pt", "integer"}},
		{"feature of text", trainOn(func(tr *tree) {
			s := make([]string, tr.n)
			tr.cols["lead_r9"] = rootio.Strings(s)
		}), exitConfig, []string{"lead_r9", "string"}},

		// inputs
		{"file missing", trainWith("diphoton-simulation", "diphoton-simulatoin"), exitInput, []string{"diphoton-simulatoin.root", "no such file", "nearest: diphoton-simulation.root"}},
		{"folder for a file", trainWith("/diphoton-simulation.root", ""), exitInput, []string{"it is a folder"}},
		{"tree missing", trainWith("tree: diphoton, weight", "tree: Events, weight"), exitInput, []string{`"Events"`, "diphoton-simulation.root", "nearest: diphoton"}},
		{"feature missing", trainWith("expr: lead_r9", "expr: led_r9"), exitInput, []string{`"led_r9"`, "nearest: lead_r9", "diphoton-simulation.root"}},
		{"condition missing", trainWith("expr: lead_eta", "expr: lead_etta"), exitInput, []string{`"lead_etta"`, "nearest: lead_eta"}},
		{"weight missing", trainWith("weight: weight", "weight: wgt"), exitInput, []string{`"wgt"`}},
		{"branch of a selection missing", trainWith("sublead_pt > 25", "sub_pt > 25"), exitInput, []string{`"sub_pt"`, "nearest:"}},
		{"tree without entries", trainOn(func(tr *tree) {
			for name, v := range tr.cols {
				tr.cols[name] = v.Take(nil)
			}
			tr.n = 0
		}), exitInput, []string{"diphoton-simulation.root", "no entries"}},
		{"nothing selected", trainWith("lead_pt > 35", "lead_pt > 35000"), exitInput, []string{"no row passes the selection", "1500", "lead_pt > 35000"}},
		{"nothing to train on", trainWith("eventNumber % 10 < 7", "eventNumber < 0"), exitInput, []string{"split", "0 are for training"}},
		{"weights that are all zero", trainOn(func(tr *tree) { set(tr.cols["weight"], 0) }), exitInput, []string{"simulation", "weights add up to 0"}},
		{"weights that cancel", trainOn(func(tr *tree) { set(tr.cols["weight"], -1) }), exitInput, []string{"weights add up to -"}},
		{"weight that is no number", trainOn(func(tr *tree) { tr.cols["weight"].SetFloat(7, math.NaN()) }), exitInput, []string{"weight", "entry 7", "NaN"}},
		{"feature that is no number", trainOn(func(tr *tree) { set(tr.cols["lead_r9"], math.NaN()) }), exitInput, []string{`"r9"`, "not finite", "entry"}},
		{"feature with one infinity", trainOn(func(tr *tree) {
			set(tr.cols["lead_pt"], 50) // so that all rows are selected
			for i := range tr.n {
				tr.cols["lead_r9"].SetFloat(i, 0.5+float64(i%97)/200)
			}
			tr.cols["lead_r9"].SetFloat(11, math.Inf(1))
			set(tr.cols["sublead_pt"], 40)
		}, "  pt1: {expr: lead_pt}\n", ""), exitInput, []string{`"r9"`, "1 of 1500", "entry 11"}},
		{"condition that is no number", trainOn(func(tr *tree) { set(tr.cols["lead_eta"], math.NaN()) }), exitInput, []string{`"eta1"`, "not finite"}},
		{"constant feature", trainWith("expr: lead_r9", "expr: 0*lead_r9"), exitInput, []string{`"r9"`, "constant"}},
		{"feature that is constant in one sample", trainOn(func(tr *tree) { set(tr.cols["lead_r9"], 0.5) }), exitInput, []string{`"r9"`, "all its values in simulation are 0.5"}},
		{"constant condition", trainWith("expr: lead_eta", "expr: 0*lead_eta"), exitInput, []string{`"eta1"`, "constant"}},
		{"truncated file", broken(func(b []byte) []byte { return b[:len(b)/2] }), exitInput, []string{"broken.root", "truncated"}},
		{"empty file", broken(func(b []byte) []byte { return nil }), exitInput, []string{"broken.root", "it is empty"}},
		{"no ROOT file", broken(func(b []byte) []byte { return []byte("PK\x03\x04 something else") }), exitInput, []string{"not a ROOT file"}},
		{"damaged file", broken(func(b []byte) []byte {
			for i := len(b) / 4; i < len(b)*3/4; i += 7 {
				b[i] ^= 0x55
			}
			return b
		}), exitInput, []string{"broken.root"}},
		{"file missing in apply", apply("DIR/nothing.root"), exitInput, []string{"nothing.root", "no such file"}},
		{"file missing in root ls", plain("root", "ls", "DIR/nothing.root"), exitInput, []string{"nothing.root", "no such file"}},
		{"pattern without files", apply(filepath.Join(flat, "nothing*.root")), exitInput, []string{"nothing*.root"}},
		{"weight that is no number in apply", applyTo(func(tr *tree) { tr.cols["weight"].SetFloat(7, math.Inf(1)) }), exitInput, []string{"weight", "entry 7"}},
		{"morphed before", applyTo(func(tr *tree) { tr.cols["lead_r9_morphed"] = tr.cols["lead_r9"] }), exitInput, []string{"lead_r9_morphed", "--suffix"}},
		{"file of a proposal missing", plain("morph", "init", "DIR/no.root"), exitInput, []string{"no.root"}},
		{"tree of a proposal missing", plain("morph", "init", sim, "--tree", "diphotn"), exitInput, []string{`"diphotn"`, "nearest: diphoton"}},
		{"validate without the model's files", func(t *testing.T, dir string) []string {
			return []string{"morph", "validate", "-m", model, "--simulation", filepath.Join(dir, "gone.root"), "--out", filepath.Join(dir, "report")}
		}, exitInput, []string{"gone.root", "no such file"}},

		// outputs
		{"output is there", func(t *testing.T, dir string) []string {
			write(t, filepath.Join(dir, "out.root"), "precious")
			return apply(sim)(t, dir)
		}, exitOutput, []string{"out.root", "exists", "--force"}},
		{"output is the input", func(t *testing.T, dir string) []string {
			in := filepath.Join(changed(t, dir, func(*tree) {}), "diphoton-simulation.root")
			return []string{"morph", "apply", "-m", model, "-o", in, "--force", in}
		}, exitOutput, []string{"it is an input"}},
		{"output is the input by another name", func(t *testing.T, dir string) []string {
			in := filepath.Join(changed(t, dir, func(*tree) {}), "diphoton-simulation.root")
			link := filepath.Join(dir, "link.root")
			if err := os.Symlink(in, link); err != nil {
				t.Skip(err)
			}
			return []string{"morph", "apply", "-m", model, "-o", link, "--force", in}
		}, exitOutput, []string{"it is an input"}},
		{"output folder of an input", func(t *testing.T, dir string) []string {
			in := filepath.Join(changed(t, dir, func(*tree) {}), "diphoton-simulation.root")
			return []string{"morph", "apply", "-m", model, "-o", dir + "/", "--force", in}
		}, exitOutput, []string{"it is an input"}},
		{"output folder is missing", plain("morph", "apply", "-m", model, "-o", "DIR/no/out.root", sim), exitOutput, []string{"out.root", "no such file or directory"}},
		{"output folder is a file", func(t *testing.T, dir string) []string {
			write(t, filepath.Join(dir, "runs"), "precious")
			return training(configFile(t, flat), dir)
		}, exitOutput, []string{"runs", "not a directory"}},
		{"output folder can't be written", func(t *testing.T, dir string) []string {
			locked := filepath.Join(dir, "locked")
			if err := os.Mkdir(locked, 0o555); err != nil {
				t.Fatal(err)
			}
			if f, err := os.CreateTemp(locked, ""); err == nil { // root may
				f.Close()
				os.Remove(f.Name())
				t.Skip("permissions do not bind this user")
			}
			return []string{"morph", "apply", "-m", model, "-o", filepath.Join(locked, "out.root"), sim}
		}, exitOutput, []string{"out.root", "permission denied"}},
		{"output on a server", plain("morph", "apply", "-m", model, "-o", "root://localhost//out.root", sim), exitOutput, []string{"root://localhost//out.root"}},
		{"two inputs of one name", func(t *testing.T, dir string) []string {
			other := filepath.Join(changed(t, dir, func(*tree) {}), "diphoton-simulation.root")
			return []string{"morph", "apply", "-m", model, "-o", filepath.Join(dir, "out") + "/", sim, other}
		}, exitInput, []string{"diphoton-simulation.root", "apply them apart"}},
		{"samples are there", plain("samples", "diphoton", "--out", flat, "--events", "10"), exitOutput, []string{"diphoton-simulation.root", "--force"}},
		{"samples into a file", func(t *testing.T, dir string) []string {
			write(t, filepath.Join(dir, "s"), "precious")
			return []string{"samples", "oneflow", "--out", filepath.Join(dir, "s"), "--events", "100"}
		}, exitOutput, []string{"not a directory"}},
		{"report is there", func(t *testing.T, dir string) []string {
			write(t, filepath.Join(dir, "report.html"), "precious")
			return []string{"morph", "validate", "-m", model, "--out", dir, "--quick"}
		}, exitOutput, []string{"report.html", "--force"}},
		{"model is there, its checkpoints are not", func(t *testing.T, dir string) []string {
			write(t, filepath.Join(dir, "model.hmm"), "precious")
			return []string{"morph", "train", "-c", configFile(t, flat), "--out", dir}
		}, exitOutput, []string{"model.hmm", "--force"}},
		{"run folder in use", func(t *testing.T, dir string) []string {
			// process 1 lives, and is not this one
			host, err := os.Hostname()
			if err != nil {
				t.Skip(err)
			}
			write(t, filepath.Join(dir, ".lock"), fmt.Sprintf(`{"PID":1,"Host":%q}`, host))
			if err := os.Mkdir(filepath.Join(dir, "checkpoints"), 0o777); err != nil {
				t.Fatal(err)
			}
			return []string{"morph", "train", "-c", configFile(t, flat), "--out", dir}
		}, exitOutput, []string{"in use", "process 1"}},

		// models
		{"model is no model", brokenModel(func([]byte) []byte { return []byte("features: {}\nflow: nsf, and more of that") }), exitModel, []string{"broken.hmm"}},
		{"model is empty", brokenModel(func([]byte) []byte { return nil }), exitModel, []string{"broken.hmm"}},
		{"model is cut", brokenModel(func(b []byte) []byte { return b[:len(b)-100] }), exitModel, []string{"broken.hmm"}},
		{"model with a flipped bit", brokenModel(func(b []byte) []byte { b[len(b)-9] ^= 1; return b }), exitModel, []string{"broken.hmm"}},
		{"model with a flipped bit in its header", brokenModel(func(b []byte) []byte { b[200] ^= 1; return b }), exitModel, []string{"broken.hmm"}},
		{"model is a checkpoint", func(t *testing.T, dir string) []string {
			ckpt, err := filepath.Glob(filepath.Join(filepath.Dir(model), "checkpoints", "*.ckpt"))
			if err != nil || len(ckpt) == 0 {
				t.Fatal("no checkpoint: ", err)
			}
			return []string{"model", "show", ckpt[0]}
		}, exitModel, []string{"checkpoint"}},
		{"model is missing", plain("model", "show", "DIR/no.hmm"), exitInput, []string{"no.hmm", "no such file"}},
		{"model for other columns", applyTo(func(tr *tree) { delete(tr.cols, "lead_r9") }), exitModel, []string{`"lead_r9"`, "nearest:", "diphoton-simulation.root"}},
		{"run folder of another config", func(t *testing.T, dir string) []string {
			mustRun(t, "morph", "train", "-q", "-c", configFile(t, flat, "steps: 20", "steps: 2"), "--out", dir)
			return []string{"morph", "train", "-c", configFile(t, flat, "steps: 20", "steps: 3"), "--out", dir}
		}, exitModel, []string{"--force"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			args := c.args(t, dir)
			before := snapshot(t, dir)
			precious := snapshot(t, shared.dir)
			r := command(context.Background(), args...)
			if r.code != c.code {
				t.Errorf("exit code %d, want %d", r.code, c.code)
			}
			for _, w := range c.want {
				if !strings.Contains(r.err, w) {
					t.Errorf("the message lacks %q", w)
				}
			}
			if strings.Contains(r.err, "bug in hepmorph") || strings.Contains(r.err, "goroutine") {
				t.Error("it calls itself a bug")
			}
			if !strings.HasPrefix(r.err, "hepmorph: ") && !strings.Contains(r.err, "\nhepmorph: ") {
				t.Error("the message does not say that it is hepmorph's")
			}
			if r.out != "" {
				t.Errorf("results were printed: %q", r.out)
			}
			if after := snapshot(t, dir); after != before {
				t.Errorf("the disk changed: before\n%safter\n%s", before, after)
			}
			if snapshot(t, shared.dir) != precious {
				t.Error("inputs changed")
			}
			if t.Failed() {
				t.Logf("hepmorph %s\n%s", strings.Join(args, " "), r.err)
			}
		})
	}
}

func TestDiverges(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	conf := configFile(t, layoutSamples(t, "flat"), "kind: nsf, transforms: 2", "kind: maf, transforms: 24",
		"steps: 20", "steps: 200, rate: 0.999, clip: 0, rate_warmup: 0, schedule: constant, ema: 0, early_stop: 0")
	r := command(context.Background(), "morph", "train", "-q", "-c", conf, "--out", dir)
	if r.code != exitDiverged || !strings.Contains(r.err, "diverged") {
		t.Fatalf("exit code %d\n%s", r.code, r.err)
	}
	if _, err := os.Stat(filepath.Join(dir, "model.hmm")); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a model was written")
	}
}

func TestMissedTargetIsAnExitCode(t *testing.T) {
	r := command(context.Background(), "morph", "validate", "-q", "-m", flatModel(t), "--quick", "--strict", "--out", filepath.Join(t.TempDir(), "report"))
	if r.code != exitValidation || !strings.Contains(r.err, "target") {
		t.Errorf("a morph of 20 steps passes: exit code %d\n%s", r.code, r.err)
	}
}

// TestBug makes the writer of results panic.
func TestBug(t *testing.T) {
	var err strings.Builder
	code := run(context.Background(), []string{"version"}, stdio{strings.NewReader(""), panics{}, &err})
	if code != exitBug || !strings.Contains(err.String(), "this is a bug in hepmorph") || !strings.Contains(err.String(), "panics.Write") {
		t.Errorf("exit code %d\n%s", code, err.String())
	}
}

type panics struct{}

func (panics) Write([]byte) (int, error) { panic("main: out of ink") }

func TestExitCodesOfErrors(t *testing.T) {
	for _, c := range []struct {
		err  error
		code int
	}{
		{nil, exitOK}, {errors.New("what"), exitBug}, {fmt.Errorf("a: %w", train.ErrStopped), exitStopped}, {fmt.Errorf("a: %w", context.Canceled), exitStopped},
		{usageError{errors.New("b")}, exitUsage}, {fmt.Errorf("a: %w", train.ErrDiverged), exitDiverged}, {errThreshold, exitValidation},
		{fmt.Errorf("a: %w", rootio.ErrOutput), exitOutput},
	} {
		if got := exitCode(c.err); got != c.code {
			t.Errorf("%v: exit code %d, want %d", c.err, got, c.code)
		}
	}
}
