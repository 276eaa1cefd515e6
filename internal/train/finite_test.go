package train

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"hepmorph/internal/modelfile"
)

// descent minimises x^2 with momentum, so that its state is more than a number.
type descent struct {
	x, v, best float64
	bad        func(step int, rate float64) bool // a step whose loss is no number
	overflow   int                               // a step after which the state is no number while the loss is one
	evaluate   func() error
}

func (d *descent) Step(step, total int, rate float64) ([]Value, error) {
	d.v = 0.9*d.v - 0.01*rate*d.x*(1+math.Sin(float64(step)))
	d.x += d.v
	loss := d.x * d.x
	if d.bad != nil && d.bad(step, rate) {
		loss = math.NaN()
	}
	if d.overflow > 0 && step == d.overflow && rate == 1 {
		d.v = math.Inf(1)
	}
	return []Value{{"loss", loss}, {"velocity", d.v - d.v}}, nil
}

func (d *descent) Evaluate() (float64, []Value, error) {
	if d.evaluate != nil {
		if err := d.evaluate(); err != nil {
			return 0, nil, err
		}
	}
	return math.Abs(d.x), []Value{{"x", d.x}}, nil
}

func (d *descent) Keep() { d.best = d.x }

func (d *descent) Save(f *modelfile.File) error {
	f.Add("state", []float64{d.x, d.v, d.best}, 3)
	return nil
}

func (d *descent) Load(f *modelfile.File) error {
	s, err := modelfile.Get[float64](f, "state", 3)
	if err == nil {
		d.x, d.v, d.best = s[0], s[1], s[2]
	}
	return err
}

func settings(dir string) Settings {
	return Settings{Steps: 50, Evaluations: 10, Dir: dir, Digest: "one", Checkpoint: 7}
}

func TestNotFinite(t *testing.T) {
	for name, c := range map[string]struct {
		d    descent
		rate float64 // that the run ends with
	}{
		"loss":       {descent{bad: func(step int, rate float64) bool { return step == 30 && rate == 1 }}, 0.5},
		"loss twice": {descent{bad: func(step int, rate float64) bool { return step == 30 && rate > 0.25 }}, 0.25},
		"state":      {descent{overflow: 13}, 0.5},
	} {
		t.Run(name, func(t *testing.T) {
			d := c.d
			d.x = 1
			var rate float64
			inner := d.bad
			d.bad = func(step int, r float64) bool { rate = r; return inner != nil && inner(step, r) }
			r, err := Run(context.Background(), &d, settings(t.TempDir()))
			if err != nil || r.Steps != 50 || rate != c.rate || math.IsNaN(d.x+d.v) {
				t.Errorf("%+v, rate %v, state %v %v: %v", r, rate, d.x, d.v, err)
			}
		})
	}
	n := 0
	for name, d := range map[string]*descent{
		"always":     {x: 1, bad: func(step int, _ float64) bool { return step == 10 }},
		"evaluation": {x: 1, evaluate: func() error { n++; return fmt.Errorf("evaluation %d: %w", n, ErrNotFinite) }},
	} {
		dir := t.TempDir()
		if _, err := Run(context.Background(), d, settings(dir)); !errors.Is(err, ErrDiverged) || !strings.Contains(err.Error(), "last good checkpoint: step ") {
			t.Errorf("%s: %v", name, err)
		}
		if left, err := checkpoints(filepath.Join(dir, "checkpoints")); err != nil || len(left) == 0 {
			t.Errorf("%s: no good checkpoint is left: %v", name, err)
		}
	}
}

func TestRecordKeepsItsOrder(t *testing.T) {
	want := Record{7, "step", 12.5, []Value{{"loss", 1.5}, {"b", -2}, {"a", 3e-7}}}
	b, err := want.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	var got Record
	if err := got.UnmarshalJSON(b); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v: %v", got, err)
	}
	for _, bad := range []string{``, `[]`, `{"a":[1]}`, `{"a":1`} {
		if err := new(Record).UnmarshalJSON([]byte(bad)); err == nil {
			t.Errorf("%q passes", bad)
		}
	}
}
