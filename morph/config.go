package morph

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"hepmorph/internal/config"
	"hepmorph/physics"
)

// Config is everything that a morph is made from: the YAML file of `hepmorph morph`. Its shape is that of design.md
// section 8. NewConfig gives the defaults.
type Config struct {
	Seed uint64 `yaml:"seed" help:"seed of every random number: same seed, same result on any number of threads"`

	Inputs Inputs   `yaml:"inputs" help:"the two samples; events need not be paired\neach is a list of {files, tree, weight, label, select, scale}; several of them add up\nof several simulations also {xsec (pb), kfac, filteff, sum_of_weights}: numbers or branches, the last also Runs (NanoAOD);\nluminosity (fb^-1) beside them makes their sums numbers of events, else figures are normalised to data"`
	ID     []string `yaml:"id,omitempty" help:"branches that identify an event; they key the random numbers of apply, so that an event always gets the same"`
	Row    string   `yaml:"row" help:"one row for each event, or for each element of a collection (photon)"`

	Define config.Map[string] `yaml:"define,omitempty" expr:"true" help:"names for expressions over branches, usable below"`
	Select []string           `yaml:"select,omitempty" help:"rows that pass all of these are used and morphed"`
	Split  Split              `yaml:"split" help:"train: which selected rows are trained on (empty: all); validation: the share of those set aside"`

	Features    config.Map[FeatureSpec]    `yaml:"features" help:"columns that are morphed\ntransform: auto none log logit gauss periodic; bounds: [lowest, highest]; atom: a value of its own, like 0\nmantissa: stored bits of truncated floats (0: found out); sentinels: values kept as they are; integer: true"`
	Conditions  config.Map[ConditionSpec]  `yaml:"conditions" help:"columns that the morph depends on and leaves as they are"`
	Observables config.Map[ObservableSpec] `yaml:"observables,omitempty" help:"columns derived from features and conditions, looked at and constrained\nblind: rows inside are used in no training and no figure"`

	Reweight ReweightConfig `yaml:"reweight" help:"brings the conditions of the simulation to those of the data before the morph"`
	Weights  WeightsConfig  `yaml:"weights" help:"how signed weights become positive for training; the original weights are kept in all outputs"`

	Method  Method      `yaml:"method" oneof:"switch cnf" help:"switch: one flow, encode as simulation and decode as data; cnf: a flow of the data, sampled"`
	Pairing Pairing     `yaml:"pairing,omitempty" oneof:"own shuffle" help:"cnf only"`
	Flow    FlowConfig  `yaml:"flow" help:"the network"`
	Train   TrainConfig `yaml:"train" help:"training: a budget in time, or steps, or epochs"`

	Constraints []ConstraintConfig `yaml:"constraints,omitempty" help:"bounds in physical terms, kept by MDMM\nquantities: mmd, transport, corr, mean(x), width(x), w1(x)\nbounds: a number, '50 MeV', '2 sd over floor', '0.5 x free'"`

	Output     OutputConfig     `yaml:"output" help:"what apply writes"`
	Validation ValidationConfig `yaml:"validation" help:"what validate draws"`
}

// Inputs are the two samples.
type Inputs struct {
	Luminosity Luminosity    `yaml:"luminosity,omitempty"`
	Simulation []InputConfig `yaml:"simulation"`
	Data       []InputConfig `yaml:"data"`
}

// InputConfig is one part of a sample.
type InputConfig struct {
	Files  []string `yaml:"files" required:"true"`
	Tree   string   `yaml:"tree,omitempty"`
	Weight string   `yaml:"weight,omitempty" expr:"true"`
	Label  string   `yaml:"label,omitempty"`
	Select []string `yaml:"select,omitempty"`
	Scale  float64  `yaml:"scale,omitempty" min:"0"`

	// What an event of a simulation stands for: weight * xsec * kfac * filteff / sum_of_weights pb. Numbers, or expressions over its branches.
	XSec         string `yaml:"xsec,omitempty" expr:"true"`
	KFactor      string `yaml:"kfac,omitempty" expr:"true"`
	FilterEff    string `yaml:"filteff,omitempty" expr:"true"`
	SumOfWeights string `yaml:"sum_of_weights,omitempty" expr:"true"` // of all generated events; or Runs
}

// SetScalar lets an input be written as one file name.
func (c *InputConfig) SetScalar(text string) error {
	*c = InputConfig{Files: []string{text}}
	return nil
}

// Split divides the selected rows.
type Split struct {
	Train      string  `yaml:"train,omitempty" expr:"true"`
	Validation float64 `yaml:"validation" min:"0.01" max:"0.5"`
}

// ObservableSpec declares a derived column. Without an expression it is the definition, or branch, of its name.
type ObservableSpec struct {
	Name  string    `yaml:"-"`
	Expr  string    `yaml:"expr,omitempty" expr:"true"`
	Unit  string    `yaml:"unit,omitempty"`
	Label string    `yaml:"label,omitempty"`
	Range []float64 `yaml:"range,omitempty" len:"2"`
	Blind []float64 `yaml:"blind,omitempty" len:"2"`
	Peak  []float64 `yaml:"peak,omitempty" len:"2"` // window in which mean and width are quoted
	Bins  int       `yaml:"bins,omitempty" min:"0" max:"1000"`
	Log   bool      `yaml:"log,omitempty"`
}

// SetScalar lets an observable be written as its expression alone.
func (o *ObservableSpec) SetScalar(text string) error { o.Expr = text; return nil }

// ReweightConfig says how the conditions of the simulation are weighted to those of the data.
type ReweightConfig struct {
	Method  string   `yaml:"method" oneof:"none histogram classifier" help:"none, histogram (quantile bins), classifier (boosted trees)"`
	Clip    float64  `yaml:"clip" min:"1" help:"largest factor"`
	Columns []string `yaml:"columns,omitempty" help:"of the conditions; default: all"`
	Bins    int      `yaml:"bins" min:"2" max:"200" help:"of a histogram, each axis"`
	Folds   int      `yaml:"folds" min:"2" max:"10" help:"of a classifier: factors of training rows come from trees that have not seen them"`
	Rounds  int      `yaml:"rounds" min:"1" max:"20" help:"of a classifier: each corrects what the ones before have left"`
	Balance bool     `yaml:"balance" help:"in the end make means, variances and covariances of the conditions those of the data"`
}

// WeightsConfig says how signed weights are treated in training.
type WeightsConfig struct {
	Signed  string   `yaml:"signed" oneof:"auto none abs classifier regress" help:"auto: regress if there are negative weights, which gives E[w|x]; classifier: |w| times the mean sign at x;\nabs is biased; none: negative weights are an error"`
	Columns []string `yaml:"columns,omitempty" help:"what the mean weight may depend on; default: features, conditions and observables"`
}

// FlowConfig is the network.
type FlowConfig struct {
	Kind       string `yaml:"kind" oneof:"nsf coupling maf" help:"nsf: autoregressive rational-quadratic splines; coupling: splines in two passes; maf: affine"`
	Transforms int    `yaml:"transforms" min:"1" max:"64"`
	Hidden     []int  `yaml:"hidden" min:"1" max:"4096"`
	Bins       int    `yaml:"bins" min:"2" max:"64" help:"of a spline"`
	Passes     int    `yaml:"passes,omitempty" min:"0" help:"0: autoregressive"`
}

// TrainConfig is the training.
type TrainConfig struct {
	Budget Duration `yaml:"budget,omitempty" help:"a time (15m), which fixes the number of steps once; or"`
	Steps  int      `yaml:"steps,omitempty" min:"0" help:"a number of steps; or"`
	Epochs float64  `yaml:"epochs,omitempty" min:"0" help:"passes through the smaller sample"`

	Batch       int     `yaml:"batch" min:"2" max:"1000000" help:"rows of a step, half from each sample"`
	Rate        float64 `yaml:"rate" above:"0" below:"1" help:"learning rate of Adam"`
	WeightDecay float64 `yaml:"weight_decay,omitempty" min:"0" below:"1" help:"of AdamW; 0.3 helps with few events"`
	DomainDecay float64 `yaml:"domain_decay,omitempty" min:"0" below:"100" help:"decay of the weights on the domain, for a switch: what differs between the samples is the smoother"`
	Clip        float64 `yaml:"clip" min:"0" help:"largest norm of the gradient over its running mean, 0: none"`
	EMA         float64 `yaml:"ema" min:"0" below:"1" help:"moving average of the parameters, 0: none"`
	Schedule    string  `yaml:"schedule" oneof:"cosine constant"`
	RateWarmup  float64 `yaml:"rate_warmup" min:"0" max:"0.5" help:"share of the steps in which the rate rises"`
	Evaluations int     `yaml:"evaluations" min:"1" max:"10000" help:"how often the validation rows are looked at"`
	EarlyStop   int     `yaml:"early_stop" min:"0" help:"evaluations without improvement before it stops, 0: never"`
	Calibrate   bool    `yaml:"calibrate" help:"solve the last bijector in closed form at the end, unless transport is bounded"`
	Requantise  int     `yaml:"requantise" min:"0" help:"epochs between new draws of dequantisation and atoms, 0: drawn once"`
	Ensemble    int     `yaml:"ensemble,omitempty" min:"0" max:"100" help:"networks trained on bootstrap samples for an uncertainty, 0: none"`

	MultiplierRate   float64 `yaml:"multiplier_rate" above:"0" help:"of the constraints"`
	ConstraintWarmup float64 `yaml:"constraint_warmup" min:"0" below:"1" help:"share of the steps before constraints act"`
}

// OutputConfig says what apply writes.
type OutputConfig struct {
	Suffix string `yaml:"suffix" required:"true" help:"name of a morphed branch: its own and this"`
	Friend bool   `yaml:"friend,omitempty" help:"only the new branches and the id, to be used as a friend tree"`
}

// ValidationConfig says what validate draws.
type ValidationConfig struct {
	Slices     []string `yaml:"slices,omitempty" help:"selections in which everything is shown again"`
	Title      string   `yaml:"title,omitempty"`
	Experiment string   `yaml:"experiment,omitempty"`
	Label      string   `yaml:"label,omitempty" help:"words beside the experiment, like Simulation"`
	Lumi       string   `yaml:"lumi,omitempty"`
	Energy     string   `yaml:"energy,omitempty"`
	MaxEvents  int      `yaml:"max_events,omitempty" min:"0"`
}

// ConstraintConfig bounds a quantity of morphed events.
type ConstraintConfig struct {
	Quantity string `yaml:"quantity" required:"true"`
	Max      Bound  `yaml:"max"`

	Damping float64 `yaml:"damping,omitempty" min:"0"`
	Rate    float64 `yaml:"rate,omitempty" min:"0"`
	Scale   float64 `yaml:"scale,omitempty" min:"0"`
	Average int     `yaml:"average,omitempty" min:"0"`
	Every   int     `yaml:"every,omitempty" min:"0"`
	Events  int     `yaml:"events,omitempty" min:"0"`
	KP      float64 `yaml:"kp,omitempty" min:"0"`
	Nu      float64 `yaml:"nu,omitempty" min:"0" below:"1"`
}

var quantityForm = regexp.MustCompile(`^\s*([a-z0-9]+)\s*(?:\(\s*([^()]*?)\s*\))?\s*$`)

// Parse splits a quantity like mean(m) into its kind and argument.
func (c *ConstraintConfig) Parse() (kind, argument string, err error) {
	m := quantityForm.FindStringSubmatch(c.Quantity)
	if m == nil {
		return "", "", fmt.Errorf("%q is no quantity (like mmd or mean(m))", c.Quantity)
	}
	kind, argument = m[1], m[2]
	whole, single := []string{"mmd", "transport", "corr"}, []string{"mean", "width", "w1"}
	switch {
	case slices.Contains(whole, kind) && argument == "", slices.Contains(single, kind) && argument != "":
		return kind, argument, nil
	case slices.Contains(whole, kind):
		return "", "", fmt.Errorf("%s takes no argument", kind)
	case slices.Contains(single, kind):
		return "", "", fmt.Errorf("%s needs a column, like %s(m)", kind, kind)
	}
	hint := ""
	if near := config.Near(kind, append(whole, single...), 1); len(near) > 0 {
		hint = " (did you mean " + near[0] + "?)"
	}
	return "", "", fmt.Errorf("unknown quantity %q%s", kind, hint)
}

// A Bound is a limit: a number in a unit, so many standard deviations over the floor, or a multiple of the value that the
// quantity has without the constraint.
type Bound struct {
	Value float64
	Unit  string // of an absolute bound; "" is that of the quantity itself
	Kind  BoundKind
}

// BoundKind says what the number of a Bound means.
type BoundKind string

// The kinds of bounds.
const (
	Absolute  BoundKind = ""
	OverFloor BoundKind = "sd over floor"
	TimesFree BoundKind = "x free"
)

// SetScalar reads "0.01", "50 MeV", "2 sd over floor" or "0.5 x free".
func (b *Bound) SetScalar(text string) error {
	num, rest, _ := strings.Cut(strings.TrimSpace(text), " ")
	rest = strings.Join(strings.Fields(rest), " ")
	v, err := strconv.ParseFloat(num, 64)
	if err != nil || v-v != 0 || !(v > 0) {
		return fmt.Errorf("%q is no bound (a positive number with a unit, \"2 sd over floor\", or \"0.5 x free\")", text)
	}
	*b = Bound{Value: v}
	switch {
	case rest == string(OverFloor), rest == string(TimesFree):
		b.Kind = BoundKind(rest)
	case strings.Contains(rest, " "):
		return fmt.Errorf("%q is no bound (a positive number with a unit, \"2 sd over floor\", or \"0.5 x free\")", text)
	default:
		b.Unit = rest
	}
	return nil
}

func (b Bound) String() string {
	s := strconv.FormatFloat(b.Value, 'g', -1, 64)
	return strings.TrimSpace(s + " " + b.Unit + string(b.Kind))
}

// In returns an absolute bound in the unit of its column: energies are converted, other units must agree.
func (b Bound) In(unit string) (float64, error) {
	if b.Unit == "" || b.Unit == unit {
		return b.Value, nil
	}
	if b.Unit == "%" && unit == "" {
		return b.Value / 100, nil
	}
	energy := map[string]float64{"eV": 1e-9, "keV": 1e-6, "MeV": 1e-3, "GeV": 1, "TeV": 1e3}
	from, ok1 := energy[b.Unit]
	to, ok2 := energy[unit]
	if !ok1 || !ok2 {
		return 0, fmt.Errorf("%s can't be expressed in %q", b, unit)
	}
	return b.Value * from / to, nil
}

// A Duration is a time budget like 90s, 15m or 1h30m.
type Duration = config.Duration

// NewConfig returns the defaults.
func NewConfig() *Config {
	return &Config{
		Seed:     1,
		Row:      "event",
		Split:    Split{Validation: 0.1},
		Reweight: ReweightConfig{Method: "classifier", Clip: 10, Bins: 20, Folds: 4, Rounds: 3, Balance: true},
		Weights:  WeightsConfig{Signed: "auto"},
		Method:   Switch,
		Pairing:  Own,
		Flow:     FlowConfig{Kind: "nsf", Transforms: 6, Hidden: []int{128, 128}, Bins: 8},
		Train: TrainConfig{
			Batch: 1024, Rate: 1e-3, Clip: 3, EMA: 0.999, Schedule: "cosine", RateWarmup: 0.02, Evaluations: 40, EarlyStop: 12,
			Calibrate: true, Requantise: 1, MultiplierRate: 0.02, ConstraintWarmup: 0.3,
		},
		Output:     OutputConfig{Suffix: "_morphed"},
		Validation: ValidationConfig{},
	}
}

// LoadConfig reads a configuration file; sets are overrides like flow.bins=16. The error has every mistake with its line.
func LoadConfig(path string, sets ...string) (*Config, error) {
	c := NewConfig()
	if err := config.Load(path, c, lengths(sets)...); err != nil {
		return nil, err
	}
	return c, c.resolve()
}

// DecodeConfig is LoadConfig from memory; name stands in messages.
func DecodeConfig(name string, text []byte, sets ...string) (*Config, error) {
	c := NewConfig()
	if err := config.Decode(name, text, c, lengths(sets)...); err != nil {
		return nil, err
	}
	return c, c.resolve()
}

// lengths lets an override of one length of training (budget, steps, epochs) take the place of the others.
func lengths(sets []string) []string {
	keys := []string{"train.budget", "train.steps", "train.epochs"}
	given := map[string]bool{}
	for _, s := range sets {
		key, _, _ := strings.Cut(s, "=")
		given[strings.TrimSpace(key)] = true
	}
	if !slices.ContainsFunc(keys, func(k string) bool { return given[k] }) {
		return sets
	}
	out := slices.Clone(sets)
	for _, k := range keys {
		if !given[k] {
			out = append(out, k+"=null")
		}
	}
	return out
}

// defaultEpochs is how long a training is that says nothing of it. On samples of 1e5 rows a flow that sees them more often begins to learn
// their fluctuations: the published recipe was best after 18 epochs at nearly the full rate.
const defaultEpochs = 30

// resolve fills in what depends on other values.
func (c *Config) resolve() error {
	if t := &c.Train; t.Budget == 0 && t.Steps == 0 && t.Epochs == 0 {
		t.Epochs = defaultEpochs
	}
	return nil
}

// YAML prints the configuration, with the meaning of its keys or without. What it prints is read back to the same.
func (c *Config) YAML(comments bool) ([]byte, error) { return config.Print(c, comments) }

// FeatureSpecs returns the features with their names.
func (c *Config) FeatureSpecs() []FeatureSpec {
	out := make([]FeatureSpec, len(c.Features))
	for i, it := range c.Features {
		out[i] = it.Value
		out[i].Name = it.Name
	}
	return out
}

// ConditionSpecs returns the conditions with their names.
func (c *Config) ConditionSpecs() []ConditionSpec {
	out := make([]ConditionSpec, len(c.Conditions))
	for i, it := range c.Conditions {
		out[i] = it.Value
		out[i].Name = it.Name
	}
	return out
}

// ObservableSpecs returns the observables with their names.
func (c *Config) ObservableSpecs() []ObservableSpec {
	out := make([]ObservableSpec, len(c.Observables))
	for i, it := range c.Observables {
		out[i] = it.Value
		out[i].Name = it.Name
	}
	return out
}

// Columns lists what has to be read of both samples: features, conditions, observables and the columns of the id.
func (c *Config) Columns() []physics.Column {
	var out []physics.Column
	for _, f := range c.FeatureSpecs() {
		out = append(out, physics.Column{Name: f.Name, Expr: f.source(), Unit: f.Unit, Role: physics.Feature})
	}
	for _, f := range c.ConditionSpecs() {
		out = append(out, physics.Column{Name: f.Name, Expr: f.source(), Unit: f.Unit, Role: physics.Condition})
	}
	for _, o := range c.ObservableSpecs() {
		out = append(out, physics.Column{Name: o.Name, Expr: or(o.Expr, o.Name), Unit: o.Unit, Role: physics.Observable})
	}
	for _, id := range c.ID {
		if !slices.ContainsFunc(out, func(col physics.Column) bool { return col.Name == id }) {
			out = append(out, physics.Column{Name: id, Expr: id, Role: physics.ID})
		}
	}
	return out
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// Samples turns the inputs of a domain into what physics reads. Definitions and selections of the whole configuration
// come before an input's own.
func (c *Config) Samples(d Domain) []physics.Sample {
	list := c.Inputs.Simulation
	if d == Data {
		list = c.Inputs.Data
	}
	out := make([]physics.Sample, len(list))
	for i, in := range list {
		s := physics.Sample{Files: in.Files, Tree: in.Tree, Weight: in.eventWeight(), Label: in.name(d, len(list)), Row: c.Row, Scale: in.Scale}
		if d == Simulation && c.Absolute() {
			s.Scale = c.Inputs.Luminosity.perPicobarn()
			if in.Scale > 0 {
				s.Scale *= in.Scale
			}
		}
		for _, def := range c.Define {
			s.Define = append(s.Define, physics.Definition{Name: def.Name, Expr: def.Value})
		}
		s.Select = append(slices.Clone(c.Select), in.Select...)
		out[i] = s
	}
	return out
}

var nameForm = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// Validate implements config.Validator: the rules that types and limits can't say.
func (c *Config) Validate(r *config.Report) {
	if len(c.Inputs.Simulation) == 0 {
		r.Errorf("inputs.simulation", "is required: a list of {files: [...], tree: ..., weight: ...}")
	}
	if len(c.Inputs.Data) == 0 {
		r.Errorf("inputs.data", "is required: a list of {files: [...], tree: ...}")
	}
	if len(c.Features) == 0 {
		r.Errorf("features", "is required: at least one column to morph")
	}
	if len(c.Conditions) == 0 && c.Method == CNF {
		r.Errorf("conditions", "method cnf needs at least one")
	}
	c.validateNormalisation(r)
	c.validateNames(r)
	for _, it := range c.Features {
		validateFeature(r, "features."+it.Name, &it.Value, len(c.Conditions))
	}
	for _, it := range c.Conditions {
		at, s := "conditions."+it.Name, it.Value
		validateColumn(r, at, s.Transform, s.Bounds, s.Gap, s.Period, s.Range)
	}
	blind := ""
	for _, it := range c.Observables {
		at, o := "observables."+it.Name, it.Value
		increasing(r, at+".range", o.Range)
		increasing(r, at+".blind", o.Blind)
		increasing(r, at+".peak", o.Peak)
		if len(o.Blind) == 2 {
			if blind != "" {
				r.Errorf(at+".blind", "%s is blinded already (one window at most)", blind)
			}
			blind = it.Name
		}
	}
	for i, col := range c.Reweight.Columns {
		if _, ok := c.Conditions.Get(col); !ok {
			r.Errorf(fmt.Sprintf("reweight.columns[%d]", i), "%q is no condition%s", col, near(col, c.Conditions.Names()))
		}
	}
	all := slices.Concat(c.Features.Names(), c.Conditions.Names(), c.Observables.Names())
	for i, col := range c.Weights.Columns {
		if !slices.Contains(all, col) {
			r.Errorf(fmt.Sprintf("weights.columns[%d]", i), "%q is no feature, condition or observable%s", col, near(col, all))
		}
	}
	if len(c.Conditions) == 0 && c.Reweight.Method != "none" && c.Reweight.Method != "" {
		r.Errorf("reweight.method", "there are no conditions to reweight (use none)")
	}
	c.validateTrain(r)
	for i := range c.Constraints {
		c.validateConstraint(r, fmt.Sprintf("constraints[%d]", i), &c.Constraints[i])
	}
	if c.Output.Suffix != "" && !regexp.MustCompile(`^[A-Za-z0-9_]+$`).MatchString(c.Output.Suffix) {
		r.Errorf("output.suffix", "%q may have letters, digits and _ only", c.Output.Suffix)
	}
}

func near(name string, known []string) string {
	if n := config.Near(name, known, 1); len(n) > 0 {
		return " (did you mean " + n[0] + "?)"
	}
	return ""
}

func (c *Config) validateNames(r *config.Report) {
	place := map[string]string{}
	for _, group := range []struct {
		name  string
		names []string
	}{{"features", c.Features.Names()}, {"conditions", c.Conditions.Names()}, {"observables", c.Observables.Names()}} {
		for _, n := range group.names {
			at := group.name + "." + n
			if !nameForm.MatchString(n) {
				r.Errorf(at, "a name has letters, digits and _ only, and begins with no digit (put the branch under expr)")
			}
			if first, taken := place[n]; taken {
				r.Errorf(at, "the name is taken under %s", first)
			}
			place[n] = group.name
		}
	}
	for _, d := range c.Define {
		if !nameForm.MatchString(d.Name) {
			r.Errorf("define."+d.Name, "a name has letters, digits and _ only, and begins with no digit")
		}
		if d.Value == "" {
			r.Errorf("define."+d.Name, "has no expression")
		}
	}
}

func increasing(r *config.Report, at string, v []float64) {
	if len(v) == 2 && !(v[0] < v[1]) {
		r.Errorf(at, "%v must be below %v", v[0], v[1])
	}
}

func validateColumn(r *config.Report, at, transform string, bounds, gap []float64, period float64, span []float64) {
	increasing(r, at+".range", span)
	if len(bounds) > 2 {
		r.Errorf(at+".bounds", "has %d elements, not 1 (lowest) or 2 (lowest, highest)", len(bounds))
	}
	increasing(r, at+".bounds", bounds)
	if transform == "logit" && len(bounds) != 2 {
		r.Errorf(at+".transform", "logit needs bounds: [lowest, highest]")
	}
	if period != 0 && transform != "periodic" {
		r.Errorf(at+".period", "only a periodic column has one (transform: periodic)")
	}
	if transform == "periodic" && (len(bounds) > 0 || len(gap) > 0) {
		r.Errorf(at+".transform", "a periodic column has neither bounds nor gap")
	}
	if len(gap)%2 != 0 {
		r.Errorf(at+".gap", "has %d numbers, not pairs of lower and upper edges", len(gap))
	}
	for i := 1; i < len(gap); i++ {
		if !(gap[i-1] < gap[i]) {
			r.Errorf(at+".gap", "must increase: %v, then %v", gap[i-1], gap[i])
			break
		}
	}
	if len(bounds) == 2 && len(gap) > 0 && (gap[0] <= bounds[0] || gap[len(gap)-1] >= bounds[1]) {
		r.Errorf(at+".gap", "%v is not inside bounds %v", gap, bounds)
	}
}

func validateFeature(r *config.Report, at string, f *FeatureSpec, conditions int) {
	validateColumn(r, at, f.Transform, f.Bounds, f.Gap, f.Period, f.Range)
	if f.Integer && f.Mantissa > 0 {
		r.Errorf(at+".mantissa", "an integer column has no truncated mantissa")
	}
	if f.Atom != nil {
		switch {
		case math.IsInf(*f.Atom, 0) || *f.Atom != *f.Atom:
			r.Errorf(at+".atom", "must be finite (list it under sentinels)")
		case len(f.Bounds) > 0 && *f.Atom > f.Bounds[0]:
			r.Errorf(at+".atom", "%v is above the lower bound %v (an atom is the lowest value)", *f.Atom, f.Bounds[0])
		case f.Transform == "periodic":
			r.Errorf(at+".atom", "a periodic column has none")
		case f.Sentinels.holds(*f.Atom):
			r.Errorf(at+".atom", "%v is a sentinel too", *f.Atom)
		}
	}
	if f.AtomTreatment == "hurdle" {
		switch {
		case f.Atom == nil && !f.SentinelAsAtom:
			r.Errorf(at+".atom_treatment", "there is no atom")
		case conditions == 0:
			r.Errorf(at+".atom_treatment", "hurdle needs conditions")
		}
	}
	if f.SentinelAsAtom && len(f.Sentinels) == 0 {
		r.Errorf(at+".sentinels_as_atoms", "there are no sentinels")
	}
}

func (c *Config) validateTrain(r *config.Report) {
	t := &c.Train
	n := 0
	for _, set := range []bool{t.Budget > 0, t.Steps > 0, t.Epochs > 0} {
		if set {
			n++
		}
	}
	if n > 1 {
		r.Errorf("train", "budget, steps and epochs exclude each other (give one)")
	}
	if c.Flow.Kind == "coupling" && len(c.Features) == 1 {
		r.Errorf("flow.kind", "a coupling needs at least two features (use nsf)")
	}
	if c.Method == CNF && c.Train.DomainDecay > 0 {
		r.Errorf("train.domain_decay", "a cnf knows no domain (leave it out, or use the method switch)")
	}
	if len(c.Flow.Hidden) == 0 {
		r.Errorf("flow.hidden", "is required: sizes of the hidden layers, like [128, 128]")
	}
	if c.Row == "" {
		r.Errorf("row", "is required: event, or the name of a collection")
	}
}

func (c *Config) validateConstraint(r *config.Report, at string, k *ConstraintConfig) {
	kind, arg, err := k.Parse()
	if err != nil {
		r.Errorf(at+".quantity", "%v", err)
		return
	}
	if k.Max.Value == 0 {
		r.Errorf(at+".max", "is required: a number, '50 MeV', '2 sd over floor', '0.5 x free'")
		return
	}
	if k.Max.Kind == OverFloor && kind != "mmd" {
		r.Errorf(at+".max", "only mmd has a floor")
	}
	if arg == "" {
		if k.Max.Unit != "" {
			r.Errorf(at+".max", "%s has no unit", kind)
		}
		return
	}
	unit, found := "", false
	if o, ok := c.Observables.Get(arg); ok {
		unit, found = o.Unit, true
	} else if f, ok := c.Features.Get(arg); ok {
		unit, found = f.Unit, true
	}
	if !found {
		r.Errorf(at+".quantity", "%q is no observable or feature%s", arg, near(arg, append(c.Observables.Names(), c.Features.Names()...)))
		return
	}
	if k.Max.Kind == Absolute {
		if _, err := k.Max.In(unit); err != nil {
			r.Errorf(at+".max", "%v, the unit of %s", err, arg)
		}
	}
}
