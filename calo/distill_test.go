package calo

import (
	"context"
	"errors"
	"math"
	"path/filepath"
	"slices"
	"testing"
)

// TestDistill fits solvers to a small trained model: in the file they stay what they are, and at 8 evaluations they end at half the distance of
// midpoint steps, or nearer, on new showers too.
func TestDistill(t *testing.T) {
	s := small("quantile")
	s.Shape = TransformerSettings{Width: 16, Depth: 1, Heads: 2, Ratio: 2}
	s.Steps, s.Batch, s.Rate = 120, 16, 4e-3
	tr, err := Train(context.Background(), toy(lookup(t, "mini"), 300, 1), s, TrainOptions{})
	if err != nil {
		t.Fatal(err)
	}
	m := tr.Model
	in := LogUniform(2e3, 5e4, 40, 9)
	steps := func(solver string, n int) GenerateOptions {
		return GenerateOptions{Seed: 5, Solving: Solving{Solver: solver, Steps: n, EnergySteps: 4}}
	}
	if err := m.Generate(context.Background(), in, steps(bespoke, 8), nil); !errors.Is(err, ErrSettings) {
		t.Errorf("a solver that is not there: %v", err)
	}
	o := DistillOptions{Evaluations: 8, Showers: 32, Reference: 25, Seed: 2}
	fits, err := m.Distill(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range fits {
		t.Logf("%s: %.4f, midpoint %.4f", d.Kind, d.Error, d.MidpointError)
	}
	if len(fits) != 2 || !(fits[0].Error < 0.5*fits[0].MidpointError) || !(fits[1].Error < fits[1].MidpointError) {
		t.Errorf("errors %+v", fits)
	}
	if _, err := m.Distill(context.Background(), o); err != nil || len(m.Solvers) != 2 {
		t.Errorf("%d solvers after a second fit: %v", len(m.Solvers), err)
	}

	path := filepath.Join(t.TempDir(), "model.hmm")
	if err := m.Write(path); err != nil {
		t.Fatal(err)
	}
	back, err := ReadModel(path)
	if err != nil {
		t.Fatal(err)
	}
	got, _ := drawn(t, m, in, steps(bespoke, 8))
	if again, _ := drawn(t, back, in, steps(bespoke, 8)); !slices.Equal(got, again) {
		t.Error("the model from the file draws other showers")
	}
	truth, _ := drawn(t, m, in, steps("rk4", 25))
	midpoint, _ := drawn(t, m, in, steps("midpoint", 4))
	off := func(v []float32) (sum float64) {
		for i, x := range v {
			sum += math.Abs(float64(x - truth[i]))
		}
		return
	}
	if a, b := off(got), off(midpoint); !(a < 0.7*b) {
		t.Errorf("voxels are off by %v, by %v with midpoint steps", a, b)
	}

	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := m.Distill(ctx, o); !errors.Is(err, context.Canceled) {
		t.Errorf("a fit that was stopped: %v", err)
	}
	o.Evaluations = 1
	if _, err := m.Distill(context.Background(), o); !errors.Is(err, ErrSettings) {
		t.Errorf("one evaluation: %v", err)
	}
}
