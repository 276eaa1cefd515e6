// Package train runs the loop around a model: steps, evaluations, early stop, checkpoints that a killed run continues from to the same
// bits, signals, and the log.
//
// Everything a step needs is a function of its number (package rng) and of the task's state, which a checkpoint holds whole; so a run that was
// killed at any moment and started again ends in the same bits as one that was not.
package train

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"time"

	"hepmorph/internal/atomicfile"
	"hepmorph/internal/modelfile"
)

var (
	// ErrStopped means that the context ended; a checkpoint holds the last finished step (exit code 75).
	ErrStopped = errors.New("stopped, checkpoint saved")
	// ErrDiverged means that the loss was not finite even at lower rates (exit code 6).
	ErrDiverged = errors.New("training diverged")
	// ErrNotFinite is what a task returns from Step or Evaluate when numbers are no numbers: the loop goes back and lowers the rate.
	ErrNotFinite = errors.New("not finite")
	// ErrResume means that checkpoints are there that belong to another configuration (exit code 8).
	ErrResume = errors.New("checkpoint of another run")
	// ErrLocked means that another process works in the folder.
	ErrLocked = errors.New("run folder is in use")
)

// A Value is one named number of a log record.
type Value struct {
	Name  string
	Value float64
}

// A Task is what is trained.
type Task interface {
	// Step makes update number step of total, at rate times the scheduled learning rate, and returns what to log. A value named "loss" is
	// watched: it must stay finite.
	Step(step, total int, rate float64) ([]Value, error)
	// Evaluate returns the score of the present state, lower is better, and what to log.
	Evaluate() (score float64, log []Value, err error)
	// Keep remembers the present state as the best one.
	Keep()
	// Save and Load carry the whole state, the best one included.
	Save(f *modelfile.File) error
	Load(f *modelfile.File) error
}

// Settings of a run. Zero values are defaults.
type Settings struct {
	Steps       int           // number of steps; or
	Budget      time.Duration // a time, which StepsIn turns into a number of steps once
	StepsIn     func(time.Duration) (int, error)
	Evaluations int // evaluations of a whole run; default 40
	Evaluate    int // steps between evaluations instead
	First       int // no evaluation counts as the best before this step
	Patience    int // evaluations without improvement before an early stop; 0 never stops early

	Dir        string        // run folder; "" keeps nothing on disk
	Digest     string        // of everything that fixes the result; a checkpoint with another digest is refused
	Every      time.Duration // between checkpoints; default 30 s
	Checkpoint int           // steps between checkpoints instead, for tests
	Fresh      bool          // remove checkpoints and start over

	Progress func(Progress) // called after every step
}

// Progress tells how far a run is.
type Progress struct {
	Step, Total int
	Resumed     int // step from which the run was resumed, 0 if it was not
	Loss        float64
	Score       float64 // of the last evaluation
	Best        float64
	BestStep    int
}

// A Record is one line of the log. Time is the only part that differs between two runs of the same training.
type Record struct {
	Step   int
	Kind   string  // "step" or "evaluation"
	Time   float64 // seconds of training up to here, those before a resume included
	Values []Value
}

// A Result is what a run ends with.
type Result struct {
	Steps, Planned, BestStep int
	Best                     float64
	Early                    bool // stopped early
	History                  []Record
}

type loop struct {
	Settings
	task     Task
	step     int
	total    int
	resumed  int
	rate     float64
	retries  int
	best     float64
	bestStep int
	bad      int
	score    float64
	early    bool
	history  []Record
	started  time.Time
	spent    float64 // seconds of training before this process
	good     int     // step of the last good snapshot
	failures int     // failed periodic saves in a row
}

// Run trains the task. If Dir has checkpoints with the same Digest it continues from the newest sound one.
func Run(ctx context.Context, task Task, s Settings) (*Result, error) {
	l := &loop{Settings: s, task: task, rate: 1, best: math.Inf(1), score: math.NaN(), started: time.Now()}
	if l.Every == 0 {
		l.Every = 30 * time.Second
	}
	if s.Dir != "" {
		if err := atomicfile.MkdirAll(l.folder()); err != nil {
			return nil, err
		}
		release, err := lock(s.Dir)
		if err != nil {
			return nil, err
		}
		defer release()
		if err := l.resume(); err != nil {
			return nil, err
		}
	}
	if l.total == 0 {
		if err := l.plan(); err != nil {
			return nil, err
		}
	}
	if l.Evaluate == 0 {
		n := l.Evaluations
		if n == 0 {
			n = 40
		}
		l.Evaluate = max(1, l.total/n)
	}
	return l.run(ctx)
}

func (l *loop) plan() error {
	l.total = l.Steps
	if l.total == 0 {
		if l.StepsIn == nil || l.Budget <= 0 {
			return errors.New("train: could not plan the run: neither steps nor a time budget")
		}
		n, err := l.StepsIn(l.Budget)
		if err != nil {
			return err
		}
		l.total = max(n, 1)
	}
	f, err := l.snapshot()
	if err != nil {
		return err
	}
	return l.write(f)
}

func (l *loop) run(ctx context.Context) (*Result, error) {
	last := time.Now()
	good, err := l.snapshot()
	if err != nil {
		return nil, err
	}
	for {
		done := l.step >= l.total || l.early
		if !done && ctx.Err() != nil {
			f, err := l.snapshot()
			if errors.Is(err, modelfile.ErrNotFinite) {
				f = good
			} else if err != nil {
				return nil, err
			}
			if err := l.write(f); err != nil {
				return nil, err
			}
			return nil, fmt.Errorf("train: step %d of %d: %w", l.step, l.total, ErrStopped)
		}
		if !done {
			loss, err := l.advance()
			if errors.Is(err, ErrNotFinite) {
				if good, err = l.back(good, err); err != nil {
					return nil, err
				}
				continue
			}
			if err != nil {
				return nil, err
			}
			if l.Progress != nil {
				l.Progress(Progress{Step: l.step, Total: l.total, Resumed: l.resumed, Loss: loss, Score: l.score, Best: l.best, BestStep: l.bestStep})
			}
			due := time.Since(last) > l.Every
			if l.Checkpoint > 0 {
				due = l.step%l.Checkpoint == 0
			}
			if !due {
				continue
			}
		}
		last = time.Now()
		f, err := l.snapshot()
		if errors.Is(err, modelfile.ErrNotFinite) { // a moment of the optimizer, while the loss is finite still
			if good, err = l.back(good, err); err != nil {
				return nil, err
			}
			continue
		}
		if err != nil {
			return nil, err
		}
		good = f
		if !done {
			if err := l.periodic(good); err != nil {
				return nil, err
			}
			continue
		}
		if err := l.write(good); err != nil {
			return nil, err
		}
		return &Result{Steps: l.step, Planned: l.total, BestStep: l.bestStep, Best: l.best, Early: l.early, History: l.history}, nil
	}
}

// advance makes one step and, when it is due, an evaluation.
func (l *loop) advance() (float64, error) {
	values, err := l.task.Step(l.step, l.total, l.rate)
	if err != nil {
		return 0, err
	}
	loss := math.NaN()
	for _, v := range values {
		if math.IsNaN(v.Value) || math.IsInf(v.Value, 0) {
			return 0, fmt.Errorf("train: step %d: %s is %v: %w", l.step, v.Name, v.Value, ErrNotFinite)
		}
		if v.Name == "loss" {
			loss = v.Value
		}
	}
	l.step++
	if every := max(1, l.total/400); l.step%every == 0 || l.step == l.total {
		l.history = append(l.history, Record{l.step, "step", l.seconds(), values})
	}
	if l.step%l.Evaluate != 0 && l.step != l.total {
		return loss, nil
	}
	score, log, err := l.task.Evaluate()
	if err != nil {
		return 0, err
	}
	if math.IsNaN(score) {
		return 0, fmt.Errorf("train: step %d: the score is %v: %w", l.step, score, ErrNotFinite)
	}
	l.score = score
	l.history = append(l.history, Record{l.step, "evaluation", l.seconds(), append([]Value{{"score", score}}, log...)})
	if l.step < l.First && l.step < l.total {
		return loss, nil
	}
	if score < l.best {
		l.best, l.bestStep, l.bad = score, l.step, 0
		l.task.Keep()
	} else if l.bad++; l.Patience > 0 && l.bad >= l.Patience {
		l.early = true
	}
	return loss, nil
}

// seconds is how long the training has run, to a millisecond.
func (l *loop) seconds() float64 {
	return math.Round((l.spent+time.Since(l.started).Seconds())*1000) / 1000
}

// back returns to the last good state at half the rate.
func (l *loop) back(good *modelfile.File, cause error) (*modelfile.File, error) {
	if l.retries++; l.retries > 3 {
		return nil, fmt.Errorf("%w: %w (last good checkpoint: step %d; try a lower rate or a smaller clip)", ErrDiverged, cause, l.good)
	}
	retries, rate, spent := l.retries, l.rate/2, l.seconds()
	if err := l.restore(good); err != nil {
		return nil, err
	}
	l.retries, l.rate, l.spent = retries, rate, spent
	return l.snapshot()
}

// state is what the loop itself adds to a checkpoint.
type state struct {
	Step, Total, BestStep, Bad, Retries int
	Rate, Spent                         float64
	Best, Score                         string // exact, NaN and Inf included
	Early                               bool
	History                             []Record
}

func (r Record) MarshalJSON() ([]byte, error) {
	var b strings.Builder
	fmt.Fprintf(&b, `{"step":%d,"time":%g,"kind":%q`, r.Step, r.Time, r.Kind)
	for _, v := range r.Values {
		fmt.Fprintf(&b, `,%q:%s`, v.Name, strconv.FormatFloat(v.Value, 'g', -1, 64))
	}
	b.WriteByte('}')
	return []byte(b.String()), nil
}

// UnmarshalJSON reads a record; values keep their order.
func (r *Record) UnmarshalJSON(b []byte) error {
	dec := json.NewDecoder(bytes.NewReader(b))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return fmt.Errorf("train: could not read a record of the log: it is no object: %w", err)
	}
	*r = Record{}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return err
		}
		v, err := dec.Token()
		if err != nil {
			return err
		}
		switch v := v.(type) {
		case string:
			r.Kind = v
		case float64:
			switch name := key.(string); name {
			case "step":
				r.Step = int(v)
			case "time":
				r.Time = v
			default:
				r.Values = append(r.Values, Value{name, v})
			}
		default:
			return fmt.Errorf("train: could not read a record of the log: %v is %v", key, v)
		}
	}
	_, err := dec.Token()
	return err
}

const stateKey = "training"

func (l *loop) snapshot() (*modelfile.File, error) {
	f := &modelfile.File{Meta: map[string]string{"kind": "checkpoint", "digest": l.Digest}}
	st := state{Step: l.step, Total: l.total, BestStep: l.bestStep, Bad: l.bad, Retries: l.retries, Rate: l.rate, Spent: l.seconds(), Early: l.early,
		Best: strconv.FormatFloat(l.best, 'x', -1, 64), Score: strconv.FormatFloat(l.score, 'x', -1, 64)}
	if err := f.SetJSON(stateKey, st); err != nil {
		return nil, err
	}
	hist, err := json.Marshal(l.history)
	if err != nil {
		return nil, err
	}
	f.Add("training.history", hist, len(hist)) // a tensor: the header is bounded
	if err := l.task.Save(f); err != nil {
		return nil, err
	}
	if err := f.Finite(); err != nil {
		return nil, err
	}
	l.good = l.step
	return f, nil
}

func (l *loop) restore(f *modelfile.File) error {
	var st state
	if err := f.JSON(stateKey, &st); err != nil {
		return err
	}
	hist, err := modelfile.Get[uint8](f, "training.history", -1)
	if err != nil {
		return err
	}
	l.history = nil
	if err := json.Unmarshal(hist, &l.history); err != nil {
		return fmt.Errorf("train: could not read the history: %w", err)
	}
	l.spent, l.started = st.Spent, time.Now()
	l.step, l.total, l.bestStep, l.bad, l.retries, l.rate, l.early = st.Step, st.Total, st.BestStep, st.Bad, st.Retries, st.Rate, st.Early
	if l.best, err = strconv.ParseFloat(st.Best, 64); err != nil {
		return fmt.Errorf("train: could not read the best score: %w", err)
	}
	if l.score, err = strconv.ParseFloat(st.Score, 64); err != nil {
		return fmt.Errorf("train: could not read the score: %w", err)
	}
	return l.task.Load(f)
}

func (l *loop) folder() string { return filepath.Join(l.Dir, "checkpoints") }

const keepCheckpoints = 3

// periodic writes a checkpoint; a failure is survived twice in a row.
func (l *loop) periodic(f *modelfile.File) error {
	if err := l.write(f); err != nil {
		if l.failures++; l.failures >= 3 {
			return err
		}
		return nil
	}
	l.failures = 0
	return nil
}

// write keeps the last good snapshot on disk.
func (l *loop) write(f *modelfile.File) error {
	if l.Dir == "" {
		return nil
	}
	if err := f.Write(filepath.Join(l.folder(), fmt.Sprintf("step-%08d.ckpt", l.good))); err != nil {
		return err
	}
	old, err := checkpoints(l.folder())
	if err != nil {
		return err
	}
	for len(old) > keepCheckpoints {
		if err := os.Remove(old[0]); err != nil {
			return fmt.Errorf("train: could not remove an old checkpoint: %w", err)
		}
		old = old[1:]
	}
	return l.writeLog()
}

// writeLog writes log.jsonl: the history, one object a line.
func (l *loop) writeLog() error {
	return atomicfile.Write(filepath.Join(l.Dir, "log.jsonl"), func(w io.Writer) error {
		for _, r := range l.history {
			b, err := r.MarshalJSON()
			if err != nil {
				return err
			}
			if _, err := fmt.Fprintf(w, "%s\n", b); err != nil {
				return err
			}
		}
		return nil
	})
}

// checkpoints lists the files of a folder, oldest first.
func checkpoints(dir string) ([]string, error) {
	all, err := filepath.Glob(filepath.Join(dir, "step-*.ckpt"))
	if err != nil {
		return nil, err
	}
	sort.Strings(all)
	return all, nil
}

// resume continues from the newest sound checkpoint, if there is one.
func (l *loop) resume() error {
	all, err := checkpoints(l.folder())
	if err != nil {
		return err
	}
	for i := len(all) - 1; i >= 0; i-- {
		if l.Fresh {
			if err := os.Remove(all[i]); err != nil {
				return fmt.Errorf("train: could not remove a checkpoint: %w", err)
			}
			continue
		}
		f, err := modelfile.Read(all[i])
		if err != nil {
			continue // damaged: the one before it
		}
		if f.Meta["digest"] != l.Digest {
			return fmt.Errorf("train: could not resume in %q: %w: digest %.12s there, %.12s here (other inputs, configuration or version; --force starts over, or choose another folder)",
				l.Dir, ErrResume, f.Meta["digest"], l.Digest)
		}
		if err := l.restore(f); err != nil {
			return fmt.Errorf("train: could not resume from %q: %w", all[i], err)
		}
		l.resumed = l.step
		return nil
	}
	return nil
}
