package calo

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"hepmorph/calo/geometry"
	"hepmorph/internal/config"
)

// A Config is what `hepmorph calo train -c` reads: showers to learn from and Settings. Keys that are left out have the values of NewConfig.
type Config struct {
	Seed     uint64         `yaml:"seed" help:"of all random numbers"`
	Data     DataConfig     `yaml:"data"`
	Codec    string         `yaml:"codec" oneof:"moments quantile calodream vit4hep" help:"between showers and networks: moments, quantile, or the published ones of calodream and vit4hep"`
	Energy   EnergyConfig   `yaml:"energy"`
	Shape    ShapeConfig    `yaml:"shape"`
	Latent   LatentConfig   `yaml:"latent,omitempty" help:"an autoencoder of the voxels, whose numbers the shape network draws in their place"`
	Train    TrainConfig    `yaml:"train"`
	Generate GenerateConfig `yaml:"generate"`
}

// DataConfig says what to learn from.
type DataConfig struct {
	File       string  `yaml:"file" help:"showers to learn from, HDF5 as in the CaloChallenge or ROOT"`
	Showers    int64   `yaml:"showers,omitempty" min:"0" help:"the first ones only; default: all"`
	Geometry   string  `yaml:"geometry,omitempty" help:"ds1-photons, ds1-pions, ds2, ds3, mini or a binning file .xml; default: by the number of voxels"`
	Particle   string  `yaml:"particle,omitempty" oneof:"photon pion electron" help:"of a binning file that has several"`
	Turns      string  `yaml:"turns" oneof:"auto on off" help:"turn and mirror showers around the axis; auto: where all layers are equal"`
	Validation float64 `yaml:"validation" above:"0" max:"0.9" help:"share of the showers set aside, 640 at most"`
}

// EnergyConfig describes the energy network and its training.
type EnergyConfig struct {
	Network string `yaml:"network" oneof:"residual autoregressive parallel" help:"residual, or a transformer: autoregressive (arXiv:2405.09629) or parallel (arXiv:2601.05289)"`
	Width   int    `yaml:"width,omitempty" min:"0" max:"8192" help:"units of a residual layer (default 256), of a transformer's token (64, or what an autoregressive one needs)"`
	Depth   int    `yaml:"depth,omitempty" min:"0" max:"64" help:"residual layers (default 3), layers of encoder and of decoder (2)"`

	Heads     int `yaml:"heads,omitempty" min:"0" max:"8192" help:"of a transformer's attention; default 4"`
	Hidden    int `yaml:"hidden,omitempty" min:"0" max:"32768" help:"hidden units of a transformer's layer; default 4 times the width"`
	HeadWidth int `yaml:"head_width,omitempty" min:"0" max:"8192" help:"units of the small network for the velocity of one number; default 128"`
	HeadDepth int `yaml:"head_depth,omitempty" min:"0" max:"64" help:"its layers; default 3"`

	Frequency float64 `yaml:"frequency,omitempty" min:"0" max:"1000" help:"standard deviation of a transformer's time frequencies; default 4, published 30"`

	Steps int     `yaml:"steps,omitempty" min:"0" help:"of the training, instead of an eighth of train.budget"`
	Batch int     `yaml:"batch" min:"1" max:"1048576" help:"showers a step"`
	Rate  float64 `yaml:"rate" above:"0" max:"1" help:"highest learning rate"`
}

// ShapeConfig describes the shape network and its training.
type ShapeConfig struct {
	Patch     []int   `yaml:"patch,omitempty" len:"3" min:"1" help:"layers, sectors and rings of a token; default: 3, up to 16 and 1, or what divides the geometry"`
	Width     int     `yaml:"width" min:"1" max:"4096" help:"units of a token"`
	Depth     int     `yaml:"depth" min:"1" max:"64" help:"blocks"`
	Heads     int     `yaml:"heads" min:"1" max:"4096" help:"of an attention; they divide the width"`
	Ratio     int     `yaml:"ratio" min:"1" max:"16" help:"hidden units of a block over the width"`
	Published bool    `yaml:"published,omitempty" help:"positions and time as in arXiv:2405.09629"`
	Mean      bool    `yaml:"mean,omitempty" help:"learn mean velocities between two times (arXiv:2505.13447), for the solver mean-flow with few steps"`
	Steps     int     `yaml:"steps,omitempty" min:"0" help:"of the training, instead of seven eighths of train.budget"`
	Batch     int     `yaml:"batch" min:"1" max:"1048576" help:"showers a step"`
	Rate      float64 `yaml:"rate,omitempty" min:"0" max:"1" help:"highest learning rate; default 2e-3, for a width above 128 1e-3"`
	Empties   float64 `yaml:"empties" above:"0" max:"1" help:"how much of their part of the line empty voxels fill; less: a better spectrum of voxels, worse centres and widths (codecs moments, quantile)"`
	Coupling  string  `yaml:"coupling" oneof:"independent turns" help:"of noise and showers; turns: noise is turned to where it is nearest to its shower (arXiv:2306.15030)"`
}

// LatentConfig describes the autoencoder and its training. Keys that are left out have the defaults of LatentSettings.
type LatentConfig struct {
	On       bool    `yaml:"on,omitempty" help:"train and use one"`
	Stride   []int   `yaml:"stride,omitempty" len:"3" min:"1" help:"layers, sectors and rings of a cell; default 3, 2, 1"`
	Channels int     `yaml:"channels,omitempty" min:"0" max:"1024" help:"default 16"`
	Blocks   int     `yaml:"blocks,omitempty" min:"0" max:"64" help:"convolutions over neighbouring cells, of each side; default 1"`
	Features int     `yaml:"features,omitempty" min:"0" max:"256" help:"numbers of a cell; default 2"`
	KL       float64 `yaml:"kl,omitempty" min:"0" max:"1" help:"weight of the divergence from normal numbers, 1 is that of a likelihood; default 0.001"`
	Steps    int     `yaml:"steps,omitempty" min:"0" help:"of the training, instead of a fifth of train.budget"`
	Batch    int     `yaml:"batch,omitempty" min:"0" max:"1048576" help:"showers a step; default 128"`
	Rate     float64 `yaml:"rate,omitempty" min:"0" max:"1" help:"highest learning rate; default 5e-3"`
}

// TrainConfig is what both trainings share.
type TrainConfig struct {
	Budget  config.Duration `yaml:"budget,omitempty" help:"a time, which is turned into steps once, instead of energy.steps and shape.steps"`
	Times   string          `yaml:"times" oneof:"uniform logit-normal" help:"times of training: uniform or logit-normal (arXiv:2403.03206)"`
	Average float64         `yaml:"average" min:"0" below:"1" help:"decay of the moving average of the weights, 0: none"`
	Clip    float64         `yaml:"clip" min:"0" help:"largest norm of a gradient, 0: none"`
	Decay   float64         `yaml:"decay" min:"0" below:"1" help:"weight decay"`
}

// GenerateConfig is how the model draws unless it is asked otherwise.
type GenerateConfig struct {
	Solver      string `yaml:"solver" help:"of the shapes: euler, midpoint, heun, rk4, rk38, dopri5; mean-flow with shape.mean"`
	Steps       int    `yaml:"steps" min:"1" max:"1048576" help:"of the solver"`
	EnergySteps int    `yaml:"energy_steps" min:"1" max:"1048576" help:"midpoint steps of the energies"`
	Precision   string `yaml:"precision" oneof:"float32 bf16" help:"of the shape network's products; bf16 is faster on processors with AVX512_BF16"`
}

// defaultBudget is the time of a training that says nothing of it.
const defaultBudget = config.Duration(15 * time.Minute)

// NewConfig returns the defaults.
func NewConfig() *Config {
	g, err := geometry.Lookup("mini")
	if err != nil {
		panic("calo: the mini geometry is missing")
	}
	c := configOf(Settings{Seed: 1, Codec: Codecs()[0]}.resolve(&quantile{g: g}))
	c.Shape.Patch, c.Shape.Rate, c.Data.Turns = nil, 0, "auto" // these depend on other values
	c.Energy.Width, c.Energy.Depth = 0, 0
	return c
}

// configOf is the inverse of Settings.
func configOf(s Settings) *Config {
	c := &Config{Seed: s.Seed, Codec: s.Codec, Data: DataConfig{Turns: s.Turns, Validation: s.Validation}}
	c.Energy = EnergyConfig{Network: s.Energy.Network, Width: s.Energy.Width, Depth: s.Energy.Depth, Heads: s.Energy.Heads, Hidden: s.Energy.Hidden,
		HeadWidth: s.Energy.HeadWidth, HeadDepth: s.Energy.HeadDepth, Frequency: s.Energy.Frequency, Steps: s.EnergySteps, Batch: s.EnergyBatch, Rate: s.EnergyRate}
	c.Shape = ShapeConfig{Patch: s.Shape.Patch[:], Width: s.Shape.Width, Depth: s.Shape.Depth, Heads: s.Shape.Heads, Ratio: s.Shape.Ratio, Published: s.Shape.Published, Mean: s.Shape.Mean,
		Steps: s.Steps, Batch: s.Batch, Rate: s.Rate, Empties: s.Empties, Coupling: s.Coupling}
	c.Train = TrainConfig{Budget: config.Duration(s.Budget), Times: s.Times, Average: s.Average, Clip: s.Clip, Decay: s.Decay}
	if l := s.Latent; l.On {
		c.Latent = LatentConfig{true, l.Stride[:], l.Channels, l.Blocks, l.Features, l.KL, l.Steps, l.Batch, l.Rate}
	}
	c.Generate = GenerateConfig{Solver: s.Solving.Solver, Steps: s.Solving.Steps, EnergySteps: s.Solving.EnergySteps, Precision: s.Solving.Precision}
	return c
}

// Settings are those of a training by c.
func (c *Config) Settings() Settings {
	none := func(x float64) float64 {
		if x == 0 {
			return -1
		}
		return x
	}
	s := Settings{Seed: c.Seed, Codec: c.Codec, Turns: c.Data.Turns, Validation: c.Data.Validation,
		Energy:      EnergySettings{c.Energy.Network, c.Energy.Width, c.Energy.Depth, c.Energy.Heads, c.Energy.Hidden, c.Energy.HeadWidth, c.Energy.HeadDepth, c.Energy.Frequency},
		Shape:       TransformerSettings{Width: c.Shape.Width, Depth: c.Shape.Depth, Heads: c.Shape.Heads, Ratio: c.Shape.Ratio, Published: c.Shape.Published, Mean: c.Shape.Mean},
		EnergySteps: c.Energy.Steps, EnergyBatch: c.Energy.Batch, EnergyRate: c.Energy.Rate,
		Steps: c.Shape.Steps, Batch: c.Shape.Batch, Rate: c.Shape.Rate, Empties: c.Shape.Empties, Coupling: c.Shape.Coupling,
		Budget: time.Duration(c.Train.Budget), Times: c.Train.Times, Average: none(c.Train.Average), Clip: none(c.Train.Clip), Decay: none(c.Train.Decay),
		Solving: Solving{c.Generate.Solver, c.Generate.Steps, c.Generate.EnergySteps, c.Generate.Precision}}
	copy(s.Shape.Patch[:], c.Shape.Patch)
	if l := c.Latent; l.On {
		s.Latent = LatentSettings{On: true, Channels: l.Channels, Blocks: l.Blocks, Features: l.Features, KL: l.KL, Steps: l.Steps, Batch: l.Batch, Rate: l.Rate}
		copy(s.Latent.Stride[:], l.Stride)
	}
	return s
}

// LoadConfig reads a configuration; sets override single values, like shape.width=128. The error, of type config.Errors, has every mistake
// with its line. An empty path stands for an empty file.
func LoadConfig(path string, sets ...string) (*Config, error) {
	c := NewConfig()
	if path == "" {
		return c, config.Decode("", nil, c, lengths(sets)...)
	}
	return c, config.Load(path, c, lengths(sets)...)
}

// DecodeConfig is LoadConfig from memory; name stands in messages.
func DecodeConfig(name string, text []byte, sets ...string) (*Config, error) {
	c := NewConfig()
	return c, config.Decode(name, text, c, lengths(sets)...)
}

// lengths lets an override of the budget take the place of steps, and the other way round.
func lengths(sets []string) []string {
	given := func(key string) bool {
		return slices.ContainsFunc(sets, func(s string) bool {
			k, _, _ := strings.Cut(s, "=")
			return strings.TrimSpace(k) == key
		})
	}
	budget, steps := given("train.budget"), given("energy.steps") || given("shape.steps")
	switch {
	case budget && !steps:
		return append(slices.Clone(sets), "energy.steps=null", "shape.steps=null", "latent.steps=null")
	case steps && !budget:
		return append(slices.Clone(sets), "train.budget=null")
	}
	return sets
}

// Validate checks what no single key shows, and takes the default budget where neither a budget nor steps are given.
func (c *Config) Validate(r *config.Report) {
	switch steps := c.Energy.Steps > 0 || c.Shape.Steps > 0; {
	case steps && (c.Energy.Steps == 0 || c.Shape.Steps == 0):
		r.Errorf("shape.steps", "energy.steps and shape.steps belong together")
	case steps && c.Train.Budget > 0:
		r.Errorf("train.budget", "give a budget, or energy.steps and shape.steps")
	case !steps && c.Train.Budget == 0:
		c.Train.Budget = defaultBudget
	}
	if names := TrainSolvers(); !slices.Contains(names, c.Generate.Solver) {
		hint := ""
		if near := config.Near(c.Generate.Solver, names, 1); len(near) > 0 {
			hint = " (did you mean " + near[0] + "?)"
		}
		r.Errorf("generate.solver", "%q is unknown%s; known: %s", c.Generate.Solver, hint, strings.Join(names, ", "))
	}
	if c.Generate.Solver == meanFlow && !c.Shape.Mean {
		r.Errorf("generate.solver", "%s needs shape.mean", meanFlow)
	}
	if l := c.Latent; l.On && (l.Steps > 0) != (c.Shape.Steps > 0) {
		r.Errorf("latent.steps", "give a budget, or energy.steps, shape.steps and latent.steps")
	}
	if c.Shape.Empties < 1 && (c.Latent.On || c.Codec != "moments" && c.Codec != "quantile") {
		r.Errorf("shape.empties", "narrow empty voxels need codec moments or quantile and no autoencoder (latent)")
	}
	if c.Shape.Coupling == byTurns && c.Latent.On {
		r.Errorf("shape.coupling", "turns need voxels, not the numbers of an autoencoder (latent)")
	}
	if c.Shape.Width%c.Shape.Heads != 0 {
		r.Errorf("shape.heads", "%d units do not split over %d heads", c.Shape.Width, c.Shape.Heads)
	}
	if c.Shape.Coupling == byTurns && (c.Data.Turns == "off" || c.Codec == "calodream" || c.Codec == "moments") {
		r.Errorf("shape.coupling", "turns need data.turns and a codec that treats all sectors alike and does not say how a shower lies (quantile, vit4hep)")
	}
}

// YAML prints c, below lines of comment; with comments it says what every key means.
func (c *Config) YAML(comments bool, lines ...string) ([]byte, error) {
	body, err := config.Print(c, comments)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	for _, line := range lines {
		fmt.Fprintf(&b, "# %s\n", line)
	}
	if len(lines) > 0 {
		b.WriteByte('\n')
	}
	b.Write(body)
	return b.Bytes(), nil
}

// Proposal is a configuration to start from, with all defaults for a geometry written out; nil stands for a geometry that is not known yet.
func Proposal(g *geometry.Geometry) *Config {
	c := NewConfig()
	c.Train.Budget = defaultBudget
	var e EnergySettings
	e.resolve(Dims{})
	c.Energy.Width, c.Energy.Depth = e.Width, e.Depth
	if g != nil {
		p := defaultPatch(&quantile{g: g})
		c.Shape.Patch = p[:]
	}
	return c
}

// Resolved is the configuration that trains m again: steps instead of a time, and no defaults left open.
func (c *Config) Resolved(m *Model) *Config {
	r := configOf(m.Settings)
	r.Data.File, r.Data.Showers, r.Data.Geometry, r.Data.Particle = c.Data.File, c.Data.Showers, c.Data.Geometry, c.Data.Particle
	return r
}
