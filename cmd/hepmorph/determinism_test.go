package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"hepmorph/internal/testdata"
	"hepmorph/internal/train"
	"hepmorph/morph"
)

// thorough is flatConfig with all that draws random numbers or adds up in parallel.
func thorough(t testing.TB, steps int) string {
	return configFile(t, layoutSamples(t, "flat"), "{method: histogram, bins: 5}", "{method: classifier, rounds: 1, folds: 2}",
		"train: {steps: 20, batch: 128, evaluations: 4}", fmt.Sprintf("train: {steps: %d, batch: 128, evaluations: 8, constraint_warmup: 0.1, early_stop: 0}\n"+
			`constraints: [{quantity: mmd, max: 2 sd over floor, every: 4, events: 256}, {quantity: mean(m), max: 50 MeV, every: 4, events: 256}]`, steps))
}

// TestAnyNumberOfThreads trains, applies and validates with 1, 2 and 4 threads.
func TestAnyNumberOfThreads(t *testing.T) {
	conf := thorough(t, 40)
	sim := filepath.Join(layoutSamples(t, "flat"), "diphoton-simulation.root")
	type outcome struct {
		model, log, resolved, metrics string
		tree                          *tree
	}
	var first outcome
	for _, threads := range []string{"1", "2", "4"} {
		dir := t.TempDir()
		out := filepath.Join(dir, "out.root")
		mustRun(t, "morph", "train", "-q", "-c", conf, "--out", dir, "--threads", threads)
		model := filepath.Join(dir, "model.hmm")
		mustRun(t, "morph", "apply", "-q", "-m", model, "-o", out, sim, "--threads", threads)
		mustRun(t, "morph", "validate", "-q", "-m", model, "--quick", "--out", filepath.Join(dir, "report"), "--threads", threads)
		o := outcome{read(t, model), testdata.Untimed(read(t, filepath.Join(dir, "log.jsonl"))), read(t, filepath.Join(dir, "config.resolved.yaml")),
			read(t, filepath.Join(dir, "report", "metrics.json")), readTree(t, "diphoton", out)}
		if threads == "1" {
			first = o
			if n := strings.Count(o.log, `"mean(m) multiplier"`); n != 36 {
				t.Errorf("log.jsonl has the multiplier of mean(m) %d times; it acts in 36 steps, each of which is a record", n)
			}
			continue
		}
		for _, c := range []struct{ name, a, b string }{{"model.hmm", first.model, o.model}, {"log.jsonl", first.log, o.log},
			{"config.resolved.yaml", first.resolved, o.resolved}, {"metrics.json", first.metrics, o.metrics}} {
			if c.a != c.b {
				t.Errorf("%s threads: %s differs from that with 1", threads, c.name)
			}
		}
		if !reflect.DeepEqual(first.tree, o.tree) {
			t.Errorf("%s threads: the morphed file differs from that with 1", threads)
		}
	}
	if !strings.Contains(first.metrics, `"schema": "hepmorph.metrics/1"`) {
		t.Errorf("metrics.json begins %.80q", first.metrics)
	}
}

// TestResolvedConfigReplays trains again from what a run with a time budget has resolved.
func TestResolvedConfigReplays(t *testing.T) {
	conf := configFile(t, layoutSamples(t, "flat"), "steps: 20", "budget: 500ms")
	a, b := t.TempDir(), t.TempDir()
	mustRun(t, "morph", "train", "-q", "-c", conf, "--out", a)
	mustRun(t, "morph", "train", "-q", "-c", filepath.Join(a, "config.resolved.yaml"), "--out", b)
	if read(t, filepath.Join(a, "model.hmm")) != read(t, filepath.Join(b, "model.hmm")) {
		t.Error("the resolved config gives another model")
	}
}

// sameRun compares what two runs have left.
func sameRun(t *testing.T, got, want string) {
	t.Helper()
	for _, name := range []string{"model.hmm", "log.jsonl", "config.resolved.yaml"} {
		if testdata.Untimed(read(t, filepath.Join(got, name))) != testdata.Untimed(read(t, filepath.Join(want, name))) {
			t.Errorf("%s differs from that of a run in one go", name)
		}
	}
}

func TestStoppedRunsContinueToTheSameBits(t *testing.T) {
	conf := thorough(t, 60)
	whole := t.TempDir()
	mustRun(t, "morph", "train", "-q", "-c", conf, "--out", whole)
	dir := t.TempDir()
	for _, stop := range []int{7, 23, 48} {
		cfg, err := morph.LoadConfig(conf)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		_, err = morph.Train(ctx, cfg, morph.TrainOptions{Dir: dir, Version: version(), Progress: func(p train.Progress) {
			if p.Step == stop {
				cancel()
			}
		}})
		cancel()
		if !errors.Is(err, train.ErrStopped) {
			t.Fatalf("stopped at step %d: %v", stop, err)
		}
		if _, err := os.Stat(filepath.Join(dir, "model.hmm")); err == nil {
			t.Fatal("a model is there before the end")
		}
	}
	mustRun(t, "morph", "train", "-q", "-c", conf, "--out", dir)
	sameRun(t, dir, whole)
}

// process starts the command as a process of its own.
func process(t *testing.T, stdin io.Reader, args ...string) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Skip(err)
	}
	cmd := exec.Command(self, args...)
	cmd.Env = append(os.Environ(), asCommand+"=1")
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stderr = stdin, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			cmd.Process.Kill()
			cmd.Wait()
		}
	})
	return cmd, &stderr
}

// reached waits for a checkpoint of a step or later.
func reached(t *testing.T, dir string, step int) {
	t.Helper()
	least := fmt.Sprintf("step-%08d.ckpt", step)
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		all, err := filepath.Glob(filepath.Join(dir, "checkpoints", "step-*.ckpt"))
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range all {
			if filepath.Base(c) >= least {
				return
			}
		}
	}
	t.Fatalf("no checkpoint of step %d", step)
}

func TestKilledRunsContinueToTheSameBits(t *testing.T) {
	const steps = 1200
	conf := configFile(t, layoutSamples(t, "flat"), "steps: 20", fmt.Sprintf("steps: %d", steps))
	whole, dir := t.TempDir(), t.TempDir()
	mustRun(t, "morph", "train", "-q", "-c", conf, "--out", whole)
	args := []string{"morph", "train", "-q", "-c", conf, "--out", dir, "--checkpoint", "20"}
	for i, step := range []int{100, 400, 700} {
		cmd, stderr := process(t, nil, args...)
		reached(t, dir, step)
		sig, want := syscall.SIGKILL, -1
		if i == 1 {
			sig, want = syscall.SIGTERM, exitStopped
		}
		if err := cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		cmd.Wait()
		if code := cmd.ProcessState.ExitCode(); code != want {
			t.Fatalf("%v at step %d: exit code %d, want %d\n%s", sig, step, code, want, stderr)
		}
		if i == 1 && !strings.Contains(stderr.String(), "run the same command again") {
			t.Errorf("it does not say what to do: %s", stderr)
		}
	}
	// The newest checkpoint is damaged: the one before it is taken.
	all, err := filepath.Glob(filepath.Join(dir, "checkpoints", "step-*.ckpt"))
	if err != nil || len(all) < 2 {
		t.Fatal(all, err)
	}
	newest := all[len(all)-1]
	write(t, newest, read(t, newest)[:1000])
	mustRun(t, args...)
	sameRun(t, dir, whole)
	left, err := filepath.Glob(filepath.Join(dir, ".*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestSecondInterrupt: work that does not end is left at the second signal.
func TestSecondInterrupt(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	cmd, _ := process(t, r, "morph", "train", "-c", "-", "--out", filepath.Join(t.TempDir(), "run"))
	// More than a pipe holds: when it is written the process reads, and handles signals.
	if _, err := io.WriteString(w, strings.Repeat("# a long config\n", 1<<14)); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		cmd.Wait()
		close(done)
	}()
	for {
		if err := cmd.Process.Signal(os.Interrupt); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Fatal(err)
		}
		select {
		case <-done:
			if code := cmd.ProcessState.ExitCode(); code != exitInterrupted {
				t.Errorf("exit code %d", code)
			}
			return
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// TestStoppedApplyLeavesNothing ends the context while a file is written.
func TestStoppedApplyLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	r := command(ctx, "morph", "apply", "-m", flatModel(t), "-o", filepath.Join(dir, "out.root"), filepath.Join(layoutSamples(t, "flat"), "diphoton-simulation.root"))
	if r.code != exitStopped || !strings.Contains(r.err, "stopped") {
		t.Errorf("exit code %d\n%s", r.code, r.err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
