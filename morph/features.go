package morph

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"

	"hepmorph/internal/gbdt"
	"hepmorph/internal/rng"
	"hepmorph/physics"
)

// ErrInput marks columns that can't be used as they are: missing, constant, not finite (exit code 4).
var ErrInput = errors.New("unusable input")

// Status says of a row what became of it; design.md section 12.
const (
	StatusNotSelected uint8 = 0
	StatusMorphed     uint8 = 1
	StatusOutside     uint8 = 2 // outside the trained range of the conditions, or of a feature's bounds
	StatusSentinel    uint8 = 3 // a feature holds a sentinel, which is kept
)

// Domain is the sample that a row comes from.
type Domain uint8

// The two domains, in the order of the samples that an Encoder is fitted to.
const (
	Simulation Domain = 0
	Data       Domain = 1
)

// FeatureSpec declares a column that is morphed.
type FeatureSpec struct {
	Name           string    `yaml:"-" json:"name"`
	Expr           string    `yaml:"expr,omitempty" expr:"true" json:"expr,omitempty"`
	Unit           string    `yaml:"unit,omitempty" json:"unit,omitempty"`
	Label          string    `yaml:"label,omitempty" json:"label,omitempty"`
	Transform      string    `yaml:"transform,omitempty" oneof:"auto none log logit gauss periodic" json:"transform,omitempty"`
	Bounds         []float64 `yaml:"bounds,omitempty" json:"bounds,omitempty"` // [lowest] or [lowest, highest]
	Gap            []float64 `yaml:"gap,omitempty" json:"gap,omitempty"`       // forbidden intervals: lo, hi, lo, hi, ...
	Atom           *float64  `yaml:"atom,omitempty" json:"atom,omitempty"`     // a value of its own, like an isolation of 0
	AtomTreatment  string    `yaml:"atom_treatment,omitempty" oneof:"smear hurdle" json:"atom_treatment,omitempty"`
	Sentinels      Floats    `yaml:"sentinels,omitempty" nonfinite:"true" json:"sentinels,omitempty"`
	SentinelAsAtom bool      `yaml:"sentinels_as_atoms,omitempty" json:"sentinels_as_atoms,omitempty"`
	Mantissa       int       `yaml:"mantissa,omitempty" min:"-1" max:"22" json:"mantissa,omitempty"` // stored bits; 0: find out, -1: all
	Integer        bool      `yaml:"integer,omitempty" json:"integer,omitempty"`
	Period         float64   `yaml:"period,omitempty" min:"0" json:"period,omitempty"` // of a periodic feature, 0: 2 pi
	Robust         bool      `yaml:"robust,omitempty" json:"robust,omitempty"`         // standardise with median and quantiles

	// For figures only.
	Range []float64 `yaml:"range,omitempty" len:"2" json:"range,omitempty"`
	Bins  int       `yaml:"bins,omitempty" min:"0" max:"1000" json:"bins,omitempty"`
	Log   bool      `yaml:"log,omitempty" json:"log,omitempty"`
}

// SetScalar lets a feature be written as its expression alone.
func (f *FeatureSpec) SetScalar(text string) error { f.Expr = text; return nil }

// source is what the column is computed from.
func (f *FeatureSpec) source() string {
	if f.Expr == "" {
		return f.Name
	}
	return f.Expr
}

// ConditionSpec declares a column that the morph depends on and leaves alone.
type ConditionSpec struct {
	Name      string    `yaml:"-" json:"name"`
	Expr      string    `yaml:"expr,omitempty" expr:"true" json:"expr,omitempty"`
	Unit      string    `yaml:"unit,omitempty" json:"unit,omitempty"`
	Label     string    `yaml:"label,omitempty" json:"label,omitempty"`
	Transform string    `yaml:"transform,omitempty" oneof:"auto none log logit gauss periodic" json:"transform,omitempty"`
	Bounds    []float64 `yaml:"bounds,omitempty" json:"bounds,omitempty"`
	Gap       []float64 `yaml:"gap,omitempty" json:"gap,omitempty"`
	Period    float64   `yaml:"period,omitempty" min:"0" json:"period,omitempty"`
	Robust    bool      `yaml:"robust,omitempty" json:"robust,omitempty"`

	Range []float64 `yaml:"range,omitempty" len:"2" json:"range,omitempty"`
	Bins  int       `yaml:"bins,omitempty" min:"0" max:"1000" json:"bins,omitempty"`
	Log   bool      `yaml:"log,omitempty" json:"log,omitempty"`
}

// SetScalar lets a condition be written as its expression alone.
func (c *ConditionSpec) SetScalar(text string) error { c.Expr = text; return nil }

func (c *ConditionSpec) source() string {
	if c.Expr == "" {
		return c.Name
	}
	return c.Expr
}

// Floats is a list of numbers that may hold NaN and Inf; in JSON those are strings.
type Floats []float64

// MarshalJSON writes NaN, +Inf and -Inf as strings.
func (f Floats) MarshalJSON() ([]byte, error) {
	list := make([]any, len(f))
	for i, v := range f {
		list[i] = v
		if v-v != 0 {
			list[i] = fmt.Sprint(v)
		}
	}
	return json.Marshal(list)
}

// UnmarshalJSON reads what MarshalJSON has written.
func (f *Floats) UnmarshalJSON(b []byte) error {
	var list []json.RawMessage
	if err := json.Unmarshal(b, &list); err != nil {
		return err
	}
	*f = make(Floats, len(list))
	for i, raw := range list {
		switch string(raw) {
		case `"NaN"`:
			(*f)[i] = math.NaN()
		case `"+Inf"`:
			(*f)[i] = math.Inf(1)
		case `"-Inf"`:
			(*f)[i] = math.Inf(-1)
		default:
			if err := json.Unmarshal(raw, &(*f)[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// holds reports whether v is one of the values; NaN is equal to NaN.
func (f Floats) holds(v float64) bool {
	for _, s := range f {
		if v == s || v != v && s != s {
			return true
		}
	}
	return false
}

// An Encoder takes features and conditions to model space and back. It is fitted once, on training rows of both samples
// in common, is stored as JSON, and is safe for concurrent use.
//
// Way in: sentinels are set aside, atoms get a band below the tail (or their share of probability), values on a grid are
// spread over their cell, then transform and standardisation, all in float64. Way out: the exact inverse.
type Encoder struct {
	Seed       uint64      `json:"seed"`
	Features   []feature   `json:"features"`
	Conditions []condition `json:"conditions"`
}

// feature is one fitted column.
type feature struct {
	Spec FeatureSpec `json:"spec"`
	Grid grid        `json:"grid"`
	Keep Floats      `json:"keep,omitempty"` // sentinels that pass through

	Atoms  Floats     `json:"atoms,omitempty"` // the first lies next to the tail
	Hurdle *hurdle    `json:"hurdle,omitempty"`
	Tail   chain      `json:"tail"`  // to a tail of mean 0 and sd 1
	Final  affineStep `json:"final"` // of the tail with its atoms

	Lo    float64 `json:"lo"` // the domain of the tail: the bounds, or the trained range with as much again on either side
	Hi    float64 `json:"hi"`
	Floor float64 `json:"floor"` // lowest output of the tail: Lo, or above an atom the smallest value seen

	// Shift is added to tail values of either sample before Tail, so that tails that begin at different points above an atom, like those of a noise
	// threshold, begin at Floor in both.
	Shift [2]float64 `json:"shift,omitzero"`

	Info ColumnInfo `json:"info"`
}

// ColumnInfo is what the fit has seen of a column.
type ColumnInfo struct {
	Name      string     `json:"name"`
	Min       float64    `json:"min"` // of the tail
	Max       float64    `json:"max"`
	Mean      [2]float64 `json:"mean"` // of the tail, in simulation and data
	SD        [2]float64 `json:"sd"`
	Size      float64    `json:"size"`     // median of the absolute values of the tail in simulation
	Atom      [2]float64 `json:"atom"`     // share of the weight in atoms
	Sentinel  [2]float64 `json:"sentinel"` // share of rows with a sentinel that is kept
	Beyond    [2]float64 `json:"beyond"`   // share of the weight outside -5..5 in model space, where splines are the identity
	Mantissa  int        `json:"mantissa,omitempty"`
	Transform string     `json:"transform"`
	Spike     float64    `json:"spike"` // largest share of the tail's weight on one value
	SpikeAt   float64    `json:"spike_at"`
}

// condition is one fitted condition column: one dimension, or cosine and sine.
type condition struct {
	Spec     ConditionSpec `json:"spec"`
	Periodic bool          `json:"periodic,omitempty"`
	Steps    chain         `json:"steps,omitempty"`
	Lo       float64       `json:"lo"` // trained range
	Hi       float64       `json:"hi"`
	Size     float64       `json:"size"` // median of the absolute values in simulation
}

func (c *condition) dim() int {
	if c.Periodic {
		return 2
	}
	return 1
}

// band is half the width of an atom's band, in standard deviations of the tail.
const band = 2.0

// strip is the width, in the same units, of what lies between an atom's values and the tail above it. Flows are smooth and smear the step at the start of the tail into it: what is found
// there is missing in the tail.
const strip = 0.2

// hurdle gives an atom its share of probability: the latent value of a row is the normal score of its rank in the mixed
// distribution of atom and tail at its own conditions. morphing.md 5.5 B.
type hurdle struct {
	Conditions []string  `json:"conditions"`
	Models     [2][]byte `json:"models"` // boosted trees of each domain
	models     [2]*gbdt.Model
}

const (
	leastShare = 1e-3 // an atom's probability is kept in [leastShare, 1-leastShare]
	farTail    = 8.0  // beyond so many standard deviations the mixed distribution can't be told from the tail
)

func (h *hurdle) load() error {
	for d := range h.models {
		h.models[d] = new(gbdt.Model)
		if err := h.models[d].UnmarshalBinary(h.Models[d]); err != nil {
			return err
		}
		if h.models[d].Features() != len(h.Conditions) {
			return fmt.Errorf("a model of %d columns for %d conditions", h.models[d].Features(), len(h.Conditions))
		}
	}
	return nil
}

// shares returns the atom's probability for rows lo..hi.
func (h *hurdle) shares(t *physics.Table, lo, hi int, d Domain) ([]float64, error) {
	cols := make([][]float64, len(h.Conditions))
	for i, name := range h.Conditions {
		c, err := t.Col(name)
		if err != nil {
			return nil, fmt.Errorf("morph: could not encode: %w", err)
		}
		cols[i] = c[lo:hi]
	}
	p := make([]float64, hi-lo)
	h.models[d].Probability(cols, p, 1)
	for i := range p {
		p[i] = min(max(p[i], leastShare), 1-leastShare)
	}
	return p, nil
}

// above maps the tail's value u to the mixed distribution of atom share p; exact inverse below.
func above(u, p float64) (z, slope float64) {
	if u > farTail {
		z, _ = above(farTail, p)
		return z + u - farTail, 1
	}
	if u > 0 { // the smaller probability carries the precision
		q := (1 - p) * normalCDF(-u)
		z = -normalQuantile(q)
	} else {
		z = normalQuantile(p + (1-p)*normalCDF(u))
	}
	return z, (1 - p) * math.Exp((z*z-u*u)/2)
}

func below(z, p float64) (u, slope float64) {
	top, _ := above(farTail, p)
	if z > top {
		return farTail + z - top, 1
	}
	q := normalCDF(-z) / (1 - p)
	if q < 0.5 {
		u = -normalQuantile(q)
	} else {
		u = normalQuantile(max((normalCDF(z)-p)/(1-p), 1e-300))
	}
	return u, (1 - p) * math.Exp((z*z-u*u)/2)
}

// squeeze bends the tail of a feature with atoms so that it stays above -band: u' = -b + softplus(2(u+b))/2.
func squeeze(u float64) (v, slope float64) {
	t := 2 * (u + band)
	return -band + softplus(t)/2, 1 / (1 + math.Exp(-t))
}

func unsqueeze(v float64) (u, slope float64) {
	s := max(2*(v+band), 1e-300)
	t := s
	if s < 40 {
		t = math.Log(math.Expm1(s))
	}
	return t/2 - band, 1 / (1 + math.Exp(-t))
}

func softplus(t float64) float64 {
	if t > 0 {
		return t + math.Log1p(math.Exp(-t))
	}
	return math.Log1p(math.Exp(t))
}

// encodeTail takes a tail value, spread over its cell, to model space.
func (f *feature) encodeTail(x, p float64, d Domain) (z, slope float64) {
	z, slope = f.Tail.forward(x + f.Shift[d])
	return f.lift(z, slope, p)
}

// lift is the way of encodeTail after Tail.
func (f *feature) lift(u, uslope, p float64) (z, slope float64) {
	z, s := u, 1.0
	switch {
	case f.Hurdle != nil:
		z, s = above(z, p)
	case len(f.Atoms) > 0:
		z, s = squeeze(z)
	}
	slope = uslope * s
	z, s = f.Final.forward(z)
	return z, slope * s
}

// encodeAtom draws the model value of atom k: a bell around the middle of its band, or a rank below the atom's share.
func (f *feature) encodeAtom(k int, p float64, s *rng.Stream) float64 {
	var z float64
	if f.Hurdle != nil {
		z = normalQuantile(p * (1e-9 + (1-2e-9)*s.Float64()))
	} else {
		bell := s.Float64() + s.Float64() + s.Float64() - 1.5         // on (-1.5, 1.5)
		z = min(-2*band*float64(k+1)+bell*band/1.5, -band-1.01*strip) // so far below the strip that float32 keeps it there
	}
	z, _ = f.Final.forward(z)
	return z
}

// atomAt returns the atom that a model value belongs to, or -1. z is before Final.
func (f *feature) atomAt(z, p float64) int {
	switch {
	case len(f.Atoms) == 0:
		return -1
	case f.Hurdle != nil:
		if z < normalQuantile(p) {
			return 0
		}
		return -1
	case z >= -band-strip:
		return -1
	}
	return min(int((-z-band)/(2*band)), len(f.Atoms)-1)
}

// decode returns the physical value before it is put on its grid, and dz/dx; +Inf for an atom, which doesn't move.
func (f *feature) decode(z, p float64, d Domain) (x, slope float64) {
	z, slope, k := f.drop(z, p)
	if k >= 0 {
		return f.Atoms[k], math.Inf(1)
	}
	x, s := f.Tail.inverse(z)
	return x - f.Shift[d], slope * s
}

// drop is the way of decode before Tail. atom is -1 for a tail, to which the strip below is mirrored.
func (f *feature) drop(z, p float64) (u, slope float64, atom int) {
	z = min(max(z, -1e6), 1e6)
	u, slope = f.Final.inverse(z)
	if k := f.atomAt(u, p); k >= 0 {
		return u, slope, k
	}
	s := 1.0
	switch {
	case f.Hurdle != nil:
		u, s = below(u, p)
	case len(f.Atoms) > 0 && u < -band:
		u, s = unsqueeze(-2*band - u)
		s = -s
	case len(f.Atoms) > 0:
		u, s = unsqueeze(u)
	}
	return u, slope * s, -1
}

// finish puts a decoded value on the grid and inside its range.
func (f *feature) finish(x float64, d Domain) float64 {
	if f.Atoms.holds(x) {
		return x
	}
	if g := f.Spec.Gap; len(g) > 0 {
		x = outOfGap(x, g)
	}
	x, _ = f.fold(x, d)
	return min(max(f.Grid.snap(x), f.start(d)), f.Hi)
}

// start is the lowest value of the tail in a sample.
func (f *feature) start(d Domain) float64 { return f.Floor - f.Shift[d] }

// fold mirrors a value of the tail at the start of the tail above an atom: what smooth splines put below it is missing above it, and must not pile up there.
// sign is that of the slope.
func (f *feature) fold(x float64, d Domain) (y, sign float64) {
	start := f.start(d)
	if f.Spec.Atom == nil || !(x < start) {
		return x, 1
	}
	return start + min(start-x, start-*f.Spec.Atom), -1
}

// outOfGap moves a value that rounding put inside a forbidden interval to its nearer edge.
func outOfGap(x float64, g []float64) float64 {
	for i := 0; i < len(g); i += 2 {
		if x > g[i] && x < g[i+1] {
			if x-g[i] < g[i+1]-x {
				return g[i]
			}
			return g[i+1]
		}
	}
	return x
}

// class says how a raw value is treated.
type class uint8

const (
	tail class = iota
	atom
	sentinel
	outside
)

// classify returns the class of x and, for an atom, which.
func (f *feature) classify(x float64) (class, int) {
	if f.Keep.holds(x) {
		return sentinel, 0
	}
	for k, a := range f.Atoms {
		if x == a || x != x && a != a {
			return atom, k
		}
	}
	if x-x != 0 || x < f.Lo || x > f.Hi || !(&gapStep{f.Spec.Gap}).inside(x) {
		return outside, 0
	}
	return tail, 0
}

// Dim is the number of model dimensions of the features: one each.
func (e *Encoder) Dim() int { return len(e.Features) }

// CondDim is the number of model dimensions of the conditions: one each, two for periodic ones.
func (e *Encoder) CondDim() int {
	n := 0
	for i := range e.Conditions {
		n += e.Conditions[i].dim()
	}
	return n
}

// Names lists the features, CondNames the conditions.
func (e *Encoder) Names() []string {
	out := make([]string, len(e.Features))
	for i := range e.Features {
		out[i] = e.Features[i].Spec.Name
	}
	return out
}

// CondNames lists the conditions.
func (e *Encoder) CondNames() []string {
	out := make([]string, len(e.Conditions))
	for i := range e.Conditions {
		out[i] = e.Conditions[i].Spec.Name
	}
	return out
}

// Info returns what the fit has seen of each feature.
func (e *Encoder) Info() []ColumnInfo {
	out := make([]ColumnInfo, len(e.Features))
	for i := range e.Features {
		out[i] = e.Features[i].Info
	}
	return out
}

// columns finds the features' values in a table.
func (e *Encoder) columns(t *physics.Table) ([][]float64, error) {
	cols := make([][]float64, len(e.Features))
	for i := range e.Features {
		c, err := t.Col(e.Features[i].Spec.Name)
		if err != nil {
			return nil, fmt.Errorf("morph: could not encode: %w", err)
		}
		cols[i] = c
	}
	return cols, nil
}

// draws are the streams of one feature's random numbers.
type draws struct{ grid, atom rng.Key }

func (e *Encoder) draws(f *feature) draws {
	return draws{rng.NewKey(e.Seed, "dequantise "+f.Spec.Name), rng.NewKey(e.Seed, "atom "+f.Spec.Name)}
}

// shares returns the atom's probabilities of a feature with a hurdle, else nil.
func (f *feature) shares(t *physics.Table, lo, hi int, d Domain) ([]float64, error) {
	if f.Hurdle == nil {
		return nil, nil
	}
	return f.Hurdle.shares(t, lo, hi, d)
}

func share(p []float64, i int) float64 {
	if p == nil {
		return 0
	}
	return p[i]
}

// each calls f for every row and feature with its model value and dz/dx (1 for what is not a tail).
func (e *Encoder) each(t *physics.Table, lo, hi int, keys []uint64, d Domain, f func(row, col int, c class, z, slope float64)) error {
	return e.visit(t, lo, hi, keys, d, true, f)
}

// visit is each, in less time if slopes are not wanted: they are wrong then.
func (e *Encoder) visit(t *physics.Table, lo, hi int, keys []uint64, d Domain, wanted bool, f func(row, col int, c class, z, slope float64)) error {
	cols, err := e.columns(t)
	if err != nil {
		return err
	}
	tails, rows := make([]float64, 0, hi-lo), make([]int, hi-lo)
	var slopes []float64
	if wanted {
		slopes = make([]float64, hi-lo)
	}
	for j := range e.Features {
		ft := &e.Features[j]
		dr := e.draws(ft)
		p, err := ft.shares(t, lo, hi, d)
		if err != nil {
			return err
		}
		tails = tails[:0]
		for i := lo; i < hi; i++ {
			x := cols[j][i]
			c, k := ft.classify(x)
			switch c {
			case tail:
				if ft.Grid.active() {
					x = ft.Grid.spread(x, dr.grid.Uniform(keys[i]))
				}
				rows[len(tails)] = i - lo
				tails = append(tails, x+ft.Shift[d])
			case atom:
				s := dr.atom.At(keys[i])
				f(i-lo, j, c, ft.encodeAtom(k, share(p, i-lo), &s), 1)
			default:
				f(i-lo, j, c, 0, 1)
			}
		}
		for k := range slopes {
			slopes[k] = 1
		}
		ft.Tail.forwardAll(tails, slopes)
		for k, u := range tails {
			slope := 1.0
			if wanted {
				slope = slopes[k]
			}
			z, slope := ft.lift(u, slope, share(p, rows[k]))
			f(rows[k], j, tail, z, slope)
		}
	}
	return nil
}

// Encode writes rows lo..hi of the table in model space to dst (hi-lo, Dim), row-major. keys holds one number for every
// row of the table, which addresses its random draws. status, if not nil, has one value for each of these rows and gets
// StatusSentinel where a feature holds a sentinel and StatusOutside where one is out of its bounds or not finite; other
// values are left as they are. Such features are 0 in dst.
func (e *Encoder) Encode(t *physics.Table, lo, hi int, keys []uint64, d Domain, dst []float32, status []uint8) error {
	n := e.Dim()
	return e.visit(t, lo, hi, keys, d, false, func(row, col int, c class, z, _ float64) {
		dst[row*n+col] = float32(z)
		if status == nil {
			return
		}
		switch {
		case c == outside:
			status[row] = StatusOutside
		case c == sentinel && status[row] != StatusOutside:
			status[row] = StatusSentinel
		}
	})
}

// LogJac writes, for rows lo..hi, the sum over features of log dz/dx: what turns a density in model space into one in
// physical units. Atoms and sentinels count 0.
func (e *Encoder) LogJac(t *physics.Table, lo, hi int, keys []uint64, d Domain, dst []float64) error {
	clear(dst[:hi-lo])
	return e.each(t, lo, hi, keys, d, func(row, _ int, _ class, _, slope float64) { dst[row] += math.Log(slope) })
}

// Decode takes z (hi-lo, Dim) back to physical values: out[feature][row]. orig is the table that was encoded; rows of
// status StatusOutside and features that hold a sentinel keep its values. d is the domain that the rows are decoded as.
// Atoms are restored exactly and values on a grid are put back on it.
func (e *Encoder) Decode(z []float32, orig *physics.Table, lo, hi int, d Domain, status []uint8, out [][]float64) error {
	cols, err := e.columns(orig)
	if err != nil {
		return err
	}
	n := e.Dim()
	tails, rows := make([]float64, 0, hi-lo), make([]int, hi-lo)
	for j := range e.Features {
		f := &e.Features[j]
		p, err := f.shares(orig, lo, hi, d)
		if err != nil {
			return err
		}
		tails = tails[:0]
		for i := range hi - lo {
			x := cols[j][lo+i]
			if status != nil && (status[i] == StatusOutside || status[i] == StatusNotSelected) || f.Keep.holds(x) {
				out[j][i] = x
				continue
			}
			u, _, k := f.drop(float64(z[i*n+j]), share(p, i))
			if k >= 0 {
				out[j][i] = f.finish(f.Atoms[k], d)
				continue
			}
			rows[len(tails)] = i
			tails = append(tails, u)
		}
		f.Tail.inverseAll(tails)
		for k, v := range tails {
			out[j][rows[k]] = f.finish(v-f.Shift[d], d)
		}
	}
	return nil
}

// DecodeGrad writes the physical values before they are put on their grid, x[feature][row], and their slopes dx/dz
// (0 for atoms), for constraints on derived observables.
func (e *Encoder) DecodeGrad(z []float32, orig *physics.Table, lo, hi int, d Domain, x, dx [][]float64) error {
	n := e.Dim()
	for j := range e.Features {
		f := &e.Features[j]
		p, err := f.shares(orig, lo, hi, d)
		if err != nil {
			return err
		}
		for i := range hi - lo {
			v, slope := f.decode(float64(z[i*n+j]), share(p, i), d)
			if !f.Atoms.holds(v) {
				y, sign := f.fold(v, d)
				v, slope = min(max(y, f.start(d)), f.Hi), sign*slope
			}
			x[j][i] = v
			if dx != nil {
				dx[j][i] = 1 / slope
			}
		}
	}
	return nil
}

// EncodeConditions writes the conditions of rows lo..hi to dst (hi-lo, CondDim), row-major. status, if not nil, gets
// StatusOutside where one is not finite or outside the range seen in training; dst then has the nearest value inside.
func (e *Encoder) EncodeConditions(t *physics.Table, lo, hi int, dst []float32, status []uint8) error {
	n, at := e.CondDim(), 0
	inside := make([]float64, 0, hi-lo)
	for j := range e.Conditions {
		c := &e.Conditions[j]
		col, err := t.Col(c.Spec.Name)
		if err != nil {
			return fmt.Errorf("morph: could not encode: %w", err)
		}
		inside := inside[:0]
		for i := lo; i < hi; i++ {
			x := col[i]
			if status != nil && !(x >= c.Lo && x <= c.Hi) {
				status[i-lo] = StatusOutside
			}
			if x != x {
				x = c.Lo
			}
			if c.Periodic {
				to := dst[(i-lo)*n+at:]
				sin, cos := math.Sincos(2 * math.Pi * min(max(x, -1e12), 1e12) / c.Spec.Period)
				to[0], to[1] = float32(cos), float32(sin)
				continue
			}
			inside = append(inside, min(max(x, c.Lo), c.Hi))
		}
		c.Steps.forwardAll(inside, nil)
		for i, u := range inside {
			dst[i*n+at] = float32(u)
		}
		at += c.dim()
	}
	return nil
}

// UnmarshalJSON restores an encoder to equal bits.
func (e *Encoder) UnmarshalJSON(b []byte) error {
	type plain Encoder
	if err := json.Unmarshal(b, (*plain)(e)); err != nil {
		return fmt.Errorf("morph: could not restore the feature transforms: %w", err)
	}
	for i := range e.Features {
		if err := e.Features[i].restore(); err != nil {
			return fmt.Errorf("morph: could not restore feature %q: %w", e.Features[i].Spec.Name, err)
		}
	}
	for i := range e.Conditions {
		if c := &e.Conditions[i]; c.Periodic && !(c.Spec.Period > 0) || !(c.Lo < c.Hi) {
			return fmt.Errorf("morph: could not restore condition %q: period %v, range %v to %v", c.Spec.Name, c.Spec.Period, c.Lo, c.Hi)
		}
	}
	return nil
}

// restore checks what the code relies on and loads the models.
func (f *feature) restore() error {
	if err := f.Final.check(); err != nil {
		return err
	}
	if err := (&gapStep{f.Spec.Gap}).check(); err != nil {
		return err
	}
	if g := f.Grid.Mantissa; g < 0 || g > 23 {
		return fmt.Errorf("%d mantissa bits", g)
	}
	if f.Hurdle == nil {
		return nil
	}
	if len(f.Atoms) != 1 {
		return fmt.Errorf("a hurdle with %d atoms", len(f.Atoms))
	}
	return f.Hurdle.load()
}

// suspicious is a share of a continuous column on one value that asks for an atom.
const suspicious = 0.03

// Describe prints a table of the fitted columns for logs, and below it what looks wrong.
func (e *Encoder) Describe() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-16s %-9s %5s %12s %12s %15s %15s %15s\n", "feature", "transform", "bits", "min", "max", "atoms", "sentinels", "beyond 5 sd")
	for i := range e.Features {
		in := &e.Features[i].Info
		bits := "-"
		if in.Mantissa > 0 {
			bits = fmt.Sprint(in.Mantissa)
		}
		pair := func(v [2]float64) string { return fmt.Sprintf("%.4f / %.4f", v[0], v[1]) }
		fmt.Fprintf(&b, "%-16s %-9s %5s %12.5g %12.5g %15s %15s %15s\n", in.Name, in.Transform, bits, in.Min, in.Max, pair(in.Atom), pair(in.Sentinel), pair(in.Beyond))
	}
	for i := range e.Features {
		f := &e.Features[i]
		if in := &f.Info; !f.Grid.Integer && in.Spike > suspicious {
			fmt.Fprintf(&b, "%s: %.1f %% of the weight lies exactly at %v (declare an atom, a sentinel or an integer?)\n", in.Name, 100*in.Spike, in.SpikeAt)
		}
		if f.Shift != [2]float64{} {
			fmt.Fprintf(&b, "%s: above its atom values begin at %v in simulation, at %v in data; morphed ones begin there, too\n", f.Info.Name, f.start(Simulation), f.start(Data))
		}
		if in := &f.Info; max(in.Beyond[0], in.Beyond[1]) > 0.01 {
			fmt.Fprintf(&b, "%s: more than 1 %% lies where splines are the identity (another transform?)\n", in.Name)
		}
	}
	return b.String()
}
