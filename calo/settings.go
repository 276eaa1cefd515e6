package calo

import (
	"errors"
	"fmt"
	"math"
	"time"

	"hepmorph/flows"
	"hepmorph/internal/ad"
)

// ErrSettings marks settings that can't be used.
var ErrSettings = errors.New("impossible settings")

// Settings fix what a training results in. The zero value of a field is its default, except Seed; either steps or a budget must be given. Where
// a 0 makes sense of its own (Average, Clip, Decay), a negative number means it.
type Settings struct {
	Codec  string // quantile, calodream, vit4hep; default quantile
	Shape  TransformerSettings
	Energy EnergySettings

	EnergySteps, Steps int           // of both trainings; or
	Budget             time.Duration // for both, an eighth of it for the energies; it is turned into steps once
	EnergyBatch, Batch int           // showers a step; default 512 and 64
	EnergyRate, Rate   float64       // highest learning rate; default 2e-3, for shape networks wider than 128 1e-3
	Average            float64       // decay of the moving average of the weights; default 0.999
	Clip               float64       // largest norm of a gradient; default 1
	Decay              float64       // weight decay; default 1e-5
	Turns              string        // turn showers around the axis: on, off, auto (where all layers are equal); default auto
	Validation         float64       // share of the showers kept out of the training; default 0.05, 640 showers at most
	Times              string        // how training draws times: uniform (default) or logit-normal (see drawTime)
	Coupling           string        // of noise and showers: independent (default) or turns (see turnCoupling)
	Seed               uint64

	Solving Solving // how showers are drawn unless asked otherwise
}

// EnergySettings describe the energy network, a residual network of Depth layers of Width units. The zero value of a field is its default.
type EnergySettings struct {
	Width int // default 256
	Depth int // default 3
}

// Solving says how the equations of both networks are solved. The zero value of a field is its default.
type Solving struct {
	Solver      string // of the shapes: a name of flows.SolverNames; default midpoint
	Steps       int    // of it; default 8
	EnergySteps int    // midpoint steps of the energies; default 25
}

func (s *Solving) resolve() {
	if s.Solver == "" {
		s.Solver = "midpoint"
	}
	if s.Steps == 0 {
		s.Steps = 8
	}
	if s.EnergySteps == 0 {
		s.EnergySteps = 25
	}
}

func (s Settings) resolve(c Codec) Settings {
	s.Shape.resolve(c)
	for _, d := range []struct {
		field *int
		value int
	}{{&s.Energy.Width, 256}, {&s.Energy.Depth, 3}, {&s.EnergyBatch, 512}, {&s.Batch, 64}} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	if s.Rate == 0 {
		s.Rate = 2e-3
		if s.Shape.Width > 128 {
			s.Rate = 1e-3
		}
	}
	for _, d := range []struct {
		field *float64
		value float64
	}{{&s.EnergyRate, 2e-3}, {&s.Average, 0.999}, {&s.Clip, 1}, {&s.Decay, 1e-5}, {&s.Validation, 0.05}} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	for _, f := range []*float64{&s.Average, &s.Clip, &s.Decay} {
		*f = max(*f, 0)
	}
	if s.Times == "" {
		s.Times = uniformTimes
	}
	if s.Coupling == "" {
		s.Coupling = independent
	}
	s.Solving.resolve()
	if s.Turns == "" || s.Turns == "auto" {
		s.Turns = "off"
		if _, _, _, uniform := c.Geometry().Uniform(); uniform {
			s.Turns = "on"
		}
	}
	return s
}

func (s *Settings) check() error {
	fail := func(format string, args ...any) error {
		return fmt.Errorf("calo: could not use settings: "+format+": %w", append(args, ErrSettings)...)
	}
	switch {
	case s.Energy.Width < 1 || s.Energy.Width > 8192 || s.Energy.Depth < 1 || s.Energy.Depth > 64:
		return fail("an energy network of %d layers of %d units", s.Energy.Depth, s.Energy.Width)
	case s.EnergyBatch < 1 || s.Batch < 1 || s.EnergyBatch > 1<<20 || s.Batch > 1<<20:
		return fail("batches of %d and %d showers", s.EnergyBatch, s.Batch)
	case s.EnergySteps < 0 || s.Steps < 0 || s.Budget < 0:
		return fail("%d and %d steps, %v", s.EnergySteps, s.Steps, s.Budget)
	case s.Turns != "on" && s.Turns != "off":
		return fail("turns %q: on, off, auto are possible", s.Turns)
	case s.Times != uniformTimes && s.Times != logitNormal:
		return fail("times %q: %s, %s are possible", s.Times, uniformTimes, logitNormal)
	case s.Coupling != independent && s.Coupling != byTurns:
		return fail("coupling %q: %s, %s are possible", s.Coupling, independent, byTurns)
	case s.Coupling == byTurns && (s.Turns != "on" || s.Codec == "calodream"):
		return fail("coupling by turns needs turned showers and a codec that treats all sectors alike (quantile, vit4hep)")
	case s.Solving.Steps < 1 || s.Solving.Steps > 1<<20 || s.Solving.EnergySteps < 1 || s.Solving.EnergySteps > 1<<20:
		return fail("%d and %d steps of a solver", s.Solving.Steps, s.Solving.EnergySteps)
	}
	for _, v := range []struct {
		name         string
		value, least float64
		most         float64
	}{{"rate", s.Rate, 0, 1}, {"energy rate", s.EnergyRate, 0, 1}, {"average", s.Average, 0, 1}, {"clip", s.Clip, 0, math.MaxFloat64}, {"decay", s.Decay, 0, 1}, {"validation", s.Validation, 0, 0.9}} {
		if !(v.value >= v.least && v.value <= v.most) {
			return fail("%s %v: %v to %v is possible", v.name, v.value, v.least, v.most)
		}
	}
	return nil
}

// networks are the two velocities of a model.
type networks struct {
	energyParams, shapeParams *ad.Params[float32]
	energy                    *flows.VelocityNet[float32]
	shape                     *transformer[float32]
}

func newNetworks(c Codec, s Settings) (*networks, error) {
	n := &networks{energyParams: ad.NewParams[float32](), shapeParams: ad.NewParams[float32]()}
	d := c.Dims()
	var err error
	n.energy, err = flows.NewVelocityNet(n.energyParams, flows.VelocitySettings{Name: "energy", Features: d.Energy, Context: d.EnergyCondition,
		Hidden: s.Energy.Width, Blocks: s.Energy.Depth, Seed: s.Seed})
	if err != nil {
		return nil, err
	}
	tl, err := newTiling(c, s.Shape.Patch)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSettings, err)
	}
	if n.shape, err = newTransformer(n.shapeParams, s.Shape, *tl, d); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSettings, err)
	}
	return n, nil
}
