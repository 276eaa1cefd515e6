package train

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"hepmorph/internal/modelfile"
	"hepmorph/internal/rng"
	"hepmorph/internal/testdata"
)

// walk is a task whose state is a few numbers that every step moves at random, addressed by the step's number.
type walk struct {
	x, best []float64
	steps   []int // numbers of the steps made
	broken  int   // this step gives NaN, unless the rate was lowered
	always  bool
	score   func(step int) float64
	err     error
	stop    context.CancelFunc
	stopAt  int
}

func newWalk() *walk {
	return &walk{x: make([]float64, 5), best: make([]float64, 5), broken: -1, stopAt: -1}
}

func (w *walk) Step(step, total int, rate float64) ([]Value, error) {
	if w.err != nil && step == w.broken {
		return nil, w.err
	}
	w.steps = append(w.steps, step)
	if step == w.stopAt {
		w.stop()
	}
	s := rng.NewKey(1, "walk").At(uint64(step))
	for i := range w.x {
		w.x[i] = 0.9*w.x[i] + rate*s.Norm()
	}
	loss := w.x[0] * w.x[0]
	if step == w.broken && (rate == 1 || w.always) {
		loss = math.NaN()
	}
	return []Value{{"loss", loss}, {"norm", math.Abs(w.x[1])}}, nil
}

func (w *walk) Evaluate() (float64, []Value, error) {
	if w.score != nil {
		return w.score(len(w.steps)), nil, nil
	}
	return w.x[0], []Value{{"second", w.x[1]}}, nil
}

func (w *walk) Keep() { copy(w.best, w.x) }

func (w *walk) Save(f *modelfile.File) error {
	f.Add("x", slices.Clone(w.x), len(w.x))
	f.Add("best", slices.Clone(w.best), len(w.best))
	return nil
}

func (w *walk) Load(f *modelfile.File) error {
	x, err := modelfile.Get[float64](f, "x", len(w.x))
	if err != nil {
		return err
	}
	best, err := modelfile.Get[float64](f, "best", len(w.x))
	copy(w.x, x)
	copy(w.best, best)
	return err
}

func run(t *testing.T, w *walk, s Settings) *Result {
	t.Helper()
	r, err := Run(context.Background(), w, s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestResume stops a run at every step and continues it: the same bits, and no step more than since the last checkpoint.
func TestResume(t *testing.T) {
	const total = 23
	set := Settings{Steps: total, Evaluate: 4, Checkpoint: 5, Digest: "d"}
	whole := newWalk()
	set.Dir = t.TempDir()
	want := run(t, whole, set)
	wantLog := untimed(t, set.Dir)
	for stop := range total {
		ctx, cancel := context.WithCancel(context.Background())
		w := newWalk()
		w.stop, w.stopAt = cancel, stop
		set.Dir = t.TempDir()
		_, err := Run(ctx, w, set)
		if stop < total-1 && !errors.Is(err, ErrStopped) || stop == total-1 && err != nil {
			t.Fatalf("stopped at step %d: %v", stop, err)
		}
		again := newWalk()
		got := run(t, again, set)
		if !slices.Equal(again.x, whole.x) || !slices.Equal(again.best, whole.best) {
			t.Fatalf("stopped at step %d: the state is %v, not %v", stop, again.x, whole.x)
		}
		if len(w.steps)+len(again.steps) != total {
			t.Fatalf("stopped at step %d: %d + %d steps", stop, len(w.steps), len(again.steps))
		}
		if got.Best != want.Best || got.BestStep != want.BestStep || len(got.History) != len(want.History) {
			t.Fatalf("stopped at step %d: %+v, not %+v", stop, got, want)
		}
		if log := untimed(t, set.Dir); log != wantLog {
			t.Fatalf("stopped at step %d: another log:\n%s\nnot\n%s", stop, log, wantLog)
		}
		for i, last := 0, 0.0; i < len(got.History); i++ {
			if r := got.History[i]; r.Time < last {
				t.Fatalf("stopped at step %d: the time goes back to %v at step %d", stop, r.Time, r.Step)
			} else {
				last = r.Time
			}
		}
	}
}

// untimed reads a log without its times, which no two runs share.
func untimed(t *testing.T, dir string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "log.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	return testdata.Untimed(string(b))
}

// TestKilled takes away what was written after a checkpoint, as a kill does, and damages the newest one.
func TestKilled(t *testing.T) {
	set := Settings{Steps: 20, Evaluate: 6, Checkpoint: 4, Digest: "d", Dir: t.TempDir()}
	whole := newWalk()
	run(t, whole, set)
	all, err := checkpoints(filepath.Join(set.Dir, "checkpoints"))
	if err != nil || len(all) != keepCheckpoints {
		t.Fatalf("%d checkpoints are kept: %v", len(all), err)
	}
	b, err := os.ReadFile(all[2])
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(all[2], b, 0o644); err != nil {
		t.Fatal(err)
	}
	w := newWalk()
	run(t, w, set)
	if !slices.Equal(w.x, whole.x) {
		t.Error("resumed from the checkpoint before a damaged one, the state differs")
	}
	if w.steps[0] != 16 {
		t.Errorf("resumed at step %d, want 16", w.steps[0])
	}
}

func TestDigestAndFresh(t *testing.T) {
	set := Settings{Steps: 6, Digest: "one", Dir: t.TempDir()}
	run(t, newWalk(), set)
	set.Digest = "another"
	if _, err := Run(context.Background(), newWalk(), set); !errors.Is(err, ErrResume) {
		t.Errorf("checkpoints of another run: %v", err)
	}
	set.Fresh = true
	w := newWalk()
	run(t, w, set)
	if len(w.steps) != 6 {
		t.Errorf("a fresh run makes %d steps", len(w.steps))
	}
}

func TestEarlyStop(t *testing.T) {
	w := newWalk()
	w.score = func(step int) float64 { return math.Abs(float64(step) - 12) } // best at step 12
	r := run(t, w, Settings{Steps: 100, Evaluate: 3, Patience: 4})
	if !r.Early || r.BestStep != 12 || r.Steps != 12+4*3 || r.Best != 0 {
		t.Errorf("stopped early: %v at step %d, best %g at %d", r.Early, r.Steps, r.Best, r.BestStep)
	}
	w = newWalk()
	w.score = func(step int) float64 { return float64(step) }
	if r := run(t, w, Settings{Steps: 30, Evaluate: 3, First: 9}); r.BestStep != 9 {
		t.Errorf("the best step is %d, none before 9 counts", r.BestStep)
	}
}

func TestDivergence(t *testing.T) {
	w := newWalk()
	w.broken = 7
	set := Settings{Steps: 12, Checkpoint: 5}
	run(t, w, set)
	if want := []int{0, 1, 2, 3, 4, 5, 6, 7, 5, 6, 7, 8, 9, 10, 11}; !slices.Equal(w.steps, want) {
		t.Errorf("steps %v, want %v", w.steps, want)
	}
	w = newWalk()
	w.broken, w.always = 7, true
	if _, err := Run(context.Background(), w, set); !errors.Is(err, ErrDiverged) {
		t.Errorf("a loss that is never finite: %v", err)
	}
	w = newWalk()
	w.score = func(int) float64 { return math.NaN() }
	if _, err := Run(context.Background(), w, set); !errors.Is(err, ErrDiverged) {
		t.Errorf("a score that is not finite: %v", err)
	}
	w = newWalk()
	w.broken, w.err = 3, errors.New("boom")
	if _, err := Run(context.Background(), w, set); !errors.Is(err, w.err) {
		t.Errorf("an error of the task: %v", err)
	}
}

func TestPlan(t *testing.T) {
	w := newWalk()
	r := run(t, w, Settings{Budget: time.Minute, StepsIn: func(d time.Duration) (int, error) { return int(d / (2 * time.Second)), nil }})
	if r.Planned != 30 || r.Steps != 30 {
		t.Errorf("%d steps planned, %d made", r.Planned, r.Steps)
	}
	if _, err := Run(context.Background(), newWalk(), Settings{}); err == nil {
		t.Error("neither steps nor a budget, and no error")
	}
	// a resumed run keeps its plan
	set := Settings{Budget: time.Minute, Dir: t.TempDir(), Checkpoint: 5, StepsIn: func(time.Duration) (int, error) { return 12, nil }}
	ctx, cancel := context.WithCancel(context.Background())
	w = newWalk()
	w.stop, w.stopAt = cancel, 3
	if _, err := Run(ctx, w, set); !errors.Is(err, ErrStopped) {
		t.Fatal(err)
	}
	set.StepsIn = func(time.Duration) (int, error) { return 0, errors.New("asked twice") }
	if r := run(t, newWalk(), set); r.Steps != 12 {
		t.Errorf("%d steps after a resume, 12 were planned", r.Steps)
	}
}

func TestLock(t *testing.T) {
	dir := t.TempDir()
	host, _ := os.Hostname()
	path := filepath.Join(dir, ".lock")
	for _, c := range []struct {
		content string
		locked  bool
	}{
		{fmt.Sprintf(`{"PID":%d,"Host":%q}`, os.Getppid(), host), true},
		{`{"PID":1,"Host":"another machine"}`, true},
		{fmt.Sprintf(`{"PID":%d,"Host":%q}`, 1<<22+7, host), false}, // nobody has that number
		{"half a lo", false},
	} {
		if err := os.WriteFile(path, []byte(c.content), 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := Run(context.Background(), newWalk(), Settings{Steps: 1, Dir: dir, Fresh: true})
		if errors.Is(err, ErrLocked) != c.locked || !c.locked && err != nil {
			t.Errorf("lock %s: %v", c.content, err)
		}
		if _, err := os.Stat(path); (err == nil) != c.locked {
			t.Errorf("lock %s: left behind: %v", c.content, err == nil)
		}
	}
}

// TestUnwritable survives two failed checkpoints in a row and tells of the third.
func TestUnwritable(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Log("as root: the folder is replaced by a file")
	}
	dir := t.TempDir()
	w := newWalk()
	w.score = func(step int) float64 {
		if step == 1 {
			if err := os.RemoveAll(filepath.Join(dir, "checkpoints")); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "checkpoints"), nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		return 0
	}
	_, err := Run(context.Background(), w, Settings{Steps: 20, Evaluate: 1, Checkpoint: 1, Dir: dir})
	if err == nil || len(w.steps) != 3 {
		t.Errorf("%d steps with checkpoints that can't be written: %v", len(w.steps), err)
	}
}

func TestLogIsOneObjectALine(t *testing.T) {
	dir := t.TempDir()
	run(t, newWalk(), Settings{Steps: 8, Evaluate: 4, Dir: dir})
	b, err := os.ReadFile(filepath.Join(dir, "log.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	if len(lines) != 8+2 {
		t.Fatalf("%d lines", len(lines))
	}
	for _, l := range lines {
		var r Record
		if err := r.UnmarshalJSON([]byte(l)); err != nil {
			t.Fatalf("%s: %v", l, err)
		}
		if again, err := r.MarshalJSON(); err != nil || string(again) != l {
			t.Errorf("%s is read as %s", l, again)
		}
	}
}
