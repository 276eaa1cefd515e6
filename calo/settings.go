package calo

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

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
	Latent LatentSettings // of an autoencoder between voxels and shape network

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
	// Empties is how much of their part of the line empty voxels fill, next to filled ones; default 1, where each number is normal by itself. Less of it
	// is less noise to be drawn: the spectrum of voxels gains, centres and widths of layers lose. Codecs moments and quantile only.
	Empties float64
	Seed    uint64

	Solving Solving // how showers are drawn unless asked otherwise
}

// EnergySettings describe the energy network: residual (Depth layers of Width units), or a transformer (Depth layers of encoder and of
// decoder each), autoregressive or parallel. The zero value of a field is its default.
type EnergySettings struct {
	Network string // of EnergyNetworks; default residual
	Width   int    // default 256; of a transformer's tokens 64, or what the autoregressive one needs
	Depth   int    // default 3; of a transformer 2

	// Of transformers alone.
	Heads                int // default 4
	Hidden               int // units of a layer's own network; default 4 × Width
	HeadWidth, HeadDepth int // of the small network for the velocity of a number; default 128, 3 layers
	// Frequency is the standard deviation of the time's frequencies; default 4. The published 30 needs a longer training.
	Frequency float64
}

func (s *EnergySettings) resolve(d Dims) {
	if s.Network == "" {
		s.Network = residualNet
	}
	fill := func(field *int, residual, transformer int) {
		if *field == 0 {
			*field = transformer
			if s.Network == residualNet {
				*field = residual
			}
		}
	}
	width := 64
	if s.Network == autoregressiveNet { // a one for every position
		width = max(width, (max(d.Energy+2, d.EnergyCondition+1)+15)/16*16)
	}
	fill(&s.Width, 256, width)
	fill(&s.Depth, 3, 2)
	if s.Network != residualNet {
		fill(&s.Heads, 0, 4)
		fill(&s.Hidden, 0, 4*s.Width)
		fill(&s.HeadWidth, 0, 128)
		fill(&s.HeadDepth, 0, 3)
		if s.Frequency == 0 {
			s.Frequency = 4
		}
	}
}

func (s *EnergySettings) check() error {
	switch {
	case !slices.Contains(EnergyNetworks(), s.Network):
		return fmt.Errorf("energy network %q: there are %v", s.Network, EnergyNetworks())
	case s.Width < 1 || s.Width > 8192 || s.Depth < 1 || s.Depth > 64:
		return fmt.Errorf("an energy network of %d layers of %d units: up to 64 of 8192 are possible", s.Depth, s.Width)
	case s.Network == residualNet:
	case s.Heads < 1 || s.Width%s.Heads != 0:
		return fmt.Errorf("energy network: %d units do not split over %d heads", s.Width, s.Heads)
	case s.Hidden < 1 || s.Hidden > 32768 || s.HeadWidth < 1 || s.HeadWidth > 8192 || s.HeadDepth < 1 || s.HeadDepth > 64:
		return fmt.Errorf("energy network: %d hidden units, a head of %d layers of %d units", s.Hidden, s.HeadDepth, s.HeadWidth)
	case !(s.Frequency > 0 && s.Frequency <= 1000):
		return fmt.Errorf("energy network: time frequencies of deviation %v: up to 1000 is possible", s.Frequency)
	}
	return nil
}

// Solving says how the equations of both networks are solved. The zero value of a field is its default.
type Solving struct {
	Solver      string // of the shapes: a name of flows.SolverNames; default midpoint
	Steps       int    // of it; default 8
	EnergySteps int    // midpoint steps of the energies; default 25
	Precision   string // of the inputs and weights of the shape network's linear layers: float32 (default) or bf16
}

// Values of Solving.Precision.
const (
	fullPrecision = "float32"
	bfloat16      = "bf16"
)

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
	if s.Precision == "" {
		s.Precision = fullPrecision
	}
}

func (s *Solving) check() error {
	switch {
	case s.Steps < 1 || s.Steps > 1<<20 || s.EnergySteps < 1 || s.EnergySteps > 1<<20:
		return fmt.Errorf("%d and %d steps of a solver", s.Steps, s.EnergySteps)
	case s.Precision != "" && s.Precision != fullPrecision && s.Precision != bfloat16: // models of before have none
		return fmt.Errorf("precision %q: %s, %s are possible", s.Precision, fullPrecision, bfloat16)
	}
	return nil
}

func (s Settings) resolve(c Codec) Settings {
	s.Shape.resolve(c)
	if s.Latent.On {
		s.Latent.resolve()
	}
	s.Energy.resolve(c.Dims())
	for _, d := range []struct {
		field *int
		value int
	}{{&s.EnergyBatch, 512}, {&s.Batch, 64}} {
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
	}{{&s.EnergyRate, 2e-3}, {&s.Average, 0.999}, {&s.Clip, 1}, {&s.Decay, 1e-5}, {&s.Validation, 0.05}, {&s.Empties, 1}} {
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
	if err := s.Energy.check(); err != nil {
		return fail("%w", err)
	}
	if err := s.Solving.check(); err != nil {
		return fail("%w", err)
	}
	switch {
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
	case !(s.Empties >= 0 && s.Empties <= 1): // models of before have 0
		return fail("empty voxels over %v of their part of the line: up to 1 is possible", s.Empties)
	case s.Empties > 0 && s.Empties < 1 && (s.Latent.On || s.Codec != "moments" && s.Codec != "quantile"):
		return fail("narrow empty voxels need codec moments or quantile and no autoencoder")
	case s.Coupling == byTurns && s.Latent.On:
		return fail("coupling by turns needs voxels, not the numbers of an autoencoder")
	case s.Coupling == byTurns && (s.Turns != "on" || s.Codec != "quantile" && s.Codec != "vit4hep"):
		return fail("coupling by turns needs turned showers and a codec that treats all sectors alike and does not say how a shower lies (quantile, vit4hep)")
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
	energy                    energyNetwork
	shape                     *transformer[float32]
}

func newNetworks(c Codec, s Settings) (*networks, error) {
	n := &networks{energyParams: ad.NewParams[float32](), shapeParams: ad.NewParams[float32]()}
	d := c.Dims()
	var err error
	if n.energy, err = newEnergyNetwork(n.energyParams, s.Energy, d, s.Seed); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSettings, err)
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
