package calo

import (
	"context"
	"fmt"
	"math"

	"hepmorph/flows"
	"hepmorph/internal/ad"
)

// Values of Solving.Solver beside those of flows.SolverNames: solvers fitted to the shape network of one model.
const (
	bespoke       = "bespoke" // the better one of the two
	nonStationary = "non-stationary"
	scaleTime     = "scale-time"
)

// meanFlow is a solver for networks of mean velocities.
const meanFlow = "mean-flow"

// TrainSolvers are the solvers that a model can be trained to use; mean-flow needs a network of mean velocities.
func TrainSolvers() []string { return append(flows.SolverNames(), meanFlow) }

// A Distilled is a bespoke solver of a model's shape network (arXiv:2403.01329, arXiv:2310.19075). Errors are root mean square distances of
// end points from those of many RK4 steps, over all numbers of the showers' tokens, on showers that nothing was fitted to.
type Distilled struct {
	Kind                 string
	Evaluations          int
	Error, MidpointError float64                       // MidpointError at the same number of evaluations
	Showers, Reference   int                           // that it was fitted and judged with; steps of RK4
	NonStationary        *flows.NonStationary[float32] `json:",omitempty"`
	ScaleTime            *flows.ScaleTime[float32]     `json:",omitempty"`
}

// solver is a copy for one use at a time.
func (d *Distilled) solver() flows.Solver[float32] {
	if d.NonStationary != nil {
		s := *d.NonStationary
		return &s
	}
	s := *d.ScaleTime
	return &s
}

func (d *Distilled) check() error {
	switch {
	case d.Evaluations < 1 || d.Evaluations > maxEvaluations:
		return fmt.Errorf("a solver of %d evaluations", d.Evaluations)
	case d.Kind == nonStationary && d.NonStationary != nil && d.ScaleTime == nil:
		return d.NonStationary.Check(d.Evaluations)
	case d.Kind == scaleTime && d.ScaleTime != nil && d.NonStationary == nil:
		return d.ScaleTime.Check(d.Evaluations)
	}
	return fmt.Errorf("a solver of unknown kind %q", d.Kind)
}

const maxEvaluations = 64

// solverOf makes the solver of the shape network's equation.
func (m *Model) solverOf(s Solving) (flows.Solver[float32], error) {
	if s.Solver == meanFlow {
		if !m.shape.Mean {
			return nil, fmt.Errorf("calo: could not use solver %s: the shape network has not learned mean velocities (shape.mean in its config)", s.Solver)
		}
		return &flows.MeanFlow[float32]{Steps: s.Steps}, nil
	}
	if s.Solver != bespoke && s.Solver != nonStationary && s.Solver != scaleTime {
		return flows.NewSolver[float32](s.Solver, s.Steps, 0)
	}
	var best *Distilled
	have := ""
	for i := range m.Solvers {
		d := &m.Solvers[i]
		have += fmt.Sprintf(" %s %d,", d.Kind, d.Evaluations)
		if d.Evaluations == s.Steps && (s.Solver == bespoke || s.Solver == d.Kind) && (best == nil || d.Error < best.Error) {
			best = d
		}
	}
	if best == nil {
		if have == "" {
			have = " none,"
		}
		return nil, fmt.Errorf("calo: could not find a %s solver of %d evaluations: the model holds%s others are made by calo distill", s.Solver, s.Steps, have)
	}
	return best.solver(), nil
}

// DistillOptions say how bespoke solvers are fitted.
type DistillOptions struct {
	Evaluations int // of the shape network a shower
	Showers     int // default 192, less where they are large; a quarter of them judges
	Reference   int // steps of RK4 that count as the truth; default 50
	Seed        uint64
	Threads     int
}

// distillFloats bounds the showers by the numbers of their tokens.
const distillFloats = 1 << 20

// Distill fits both kinds of bespoke solvers to the shape network on showers at energies of the trained range, adds them to m in the place
// of others with as many evaluations, and returns them.
func (m *Model) Distill(ctx context.Context, o DistillOptions) ([]Distilled, error) {
	if o.Showers == 0 {
		o.Showers = 192
	}
	if o.Reference == 0 {
		o.Reference = 50
	}
	if o.Evaluations < 2 || o.Evaluations > maxEvaluations || o.Showers < 8 || o.Reference < 1 {
		return nil, fmt.Errorf("calo: could not fit solvers of %d evaluations to %d showers with %d reference steps: 2 to %d, at least 8 and 1 are possible: %w",
			o.Evaluations, o.Showers, o.Reference, maxEvaluations, ErrSettings)
	}
	n := max(8, min(o.Showers, distillFloats/m.shape.width()))
	pool := ad.NewPool(o.Threads)
	defer pool.Close()
	w, err := m.newGenerator(pool, GenerateOptions{Seed: o.Seed, Solving: m.solving(Solving{Precision: fullPrecision})})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSettings, err)
	}
	w.resize(n)
	if err := LogUniform(m.Training.EnergyMin, m.Training.EnergyMax, int64(n), o.Seed).At(0, w.incident); err != nil {
		return nil, err
	}
	if err := w.begin(0, n); err != nil {
		return nil, err
	}
	field := &stoppable{w.shapeField, ctx}
	x := w.x[:n*field.Dim()]
	set := flows.FitSettings{Reference: o.Reference}
	var fits []Distilled
	ns, e, err := flows.FitNonStationary(field, x, n, o.Evaluations, set)
	if err == nil {
		fits = append(fits, Distilled{Kind: nonStationary, Error: e.Own, MidpointError: e.Midpoint, NonStationary: ns})
		if o.Evaluations%2 == 0 {
			var st *flows.ScaleTime[float32]
			st, e, err = flows.FitScaleTime(field, x, n, o.Evaluations/2, set)
			fits = append(fits, Distilled{Kind: scaleTime, Error: e.Own, MidpointError: e.Midpoint, ScaleTime: st})
		}
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("calo: could not fit the solvers: %w", err)
	}
	for i := range fits {
		fits[i].Evaluations, fits[i].Showers, fits[i].Reference = o.Evaluations, n, o.Reference
	}
	var kept []Distilled
	for _, d := range m.Solvers {
		if d.Evaluations != o.Evaluations {
			kept = append(kept, d)
		}
	}
	m.Solvers = append(kept, fits...)
	return fits, nil
}

// stoppable is a velocity of no numbers once its context has ended, which ends a fit.
type stoppable struct {
	field flows.Velocity[float32]
	ctx   context.Context
}

func (s *stoppable) Dim() int { return s.field.Dim() }

func (s *stoppable) Velocity(v, x []float32, n int, t float64) {
	if s.ctx.Err() != nil {
		for i := range v {
			v[i] = float32(math.NaN())
		}
		return
	}
	s.field.Velocity(v, x, n, t)
}
