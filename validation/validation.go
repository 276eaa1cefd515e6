package validation

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"hepmorph/internal/atomicfile"
	"hepmorph/validation/plot"
)

// Roles of samples.
const (
	Simulation = "simulation"
	Data       = "data"
	Morphed    = "morphed"
	Reference  = "reference"
)

// Sample is one set of events, by columns.
type Sample struct {
	Role              string // simulation, data, morphed or reference
	Label             string // in legends; default from the role
	File, Tree        string // where it came from, for the record
	Entries, Selected int64  // of the file; 0: the number of rows
	Cols              map[string][]float64
	Weight            []float64 // analysis weight, signed; nil: 1
	KinWeight         []float64 // factor of a kinematic reweighting; nil: 1
	// TrainWeight replaces |Weight| in the training of classifiers, e.g. by the positive weights of the signed recipe; nil: |Weight|.
	TrainWeight []float64
	// ID is the event number: folds of classifiers follow it ((ID/10) mod 2), so that they agree with independent judges. nil: the row.
	ID []int64
}

func (s *Sample) rows() int {
	n := len(s.Weight)
	for _, c := range s.Cols {
		return len(c)
	}
	return n
}

// Kinds of variables.
const (
	Feature    = "feature"
	Condition  = "condition"
	Observable = "observable"
)

// Variable is a column that is validated.
type Variable struct {
	Name    string
	Label   string // plot text such as "m_{γγ}"; default Name
	Unit    string
	Kind    string     // feature, condition or observable
	Lo, Hi  float64    // range of the histogram; equal: quantiles of data
	Bins    int        // default 40, 60 for observables
	Log     bool       // logarithmic bins
	LogY    bool       // logarithmic contents
	Integer bool       // bins at whole numbers; found by itself where all values are whole
	Atoms   []float64  // values that hold a finite share of events, e.g. 0 of an isolation; found by itself in data
	Blind   [2]float64 // window in which nothing may be looked at; none if equal
	Window  [2]float64 // where mean and width are compared, e.g. 115 to 135 GeV around a peak; equal: everywhere
	// Tolerance is the difference of mean and width in Window that counts as agreement even if significant, in the variable's unit.
	Tolerance float64
}

func (v Variable) label() string {
	if v.Label != "" {
		return v.Label
	}
	return v.Name
}

func (v Variable) title() string {
	if v.Unit != "" {
		return v.label() + " [" + v.Unit + "]"
	}
	return v.label()
}

func (v Variable) blinded() bool { return v.Blind[1] > v.Blind[0] }

// Slice is a part of the events, e.g. the barrel: all numbers and figures are made for it too.
type Slice struct {
	Name string
	Rows [][]bool // a mask for each sample, in the samples' order
}

// Settings of a report; the zero value is the recommended one.
type Settings struct {
	Title                            string
	Experiment, Status, Lumi, Energy string // of the figures, see plot.Style
	Selection                        string // a line in every figure
	Version                          string // of the program, for the record
	Seed                             uint64
	Threads                          int // 0: every core that is granted
	Slices                           []Slice
	MaxEvents                        int           // of each sample in a classifier test. Default 100 000, 20 000 if Quick.
	Absolute                         bool          // simulation's weights carry cross sections and luminosity: no normalisation to data
	Quick                            bool          // smaller classifiers and pair tests: seconds instead of minutes
	Notes                            []string      // sentences for the report, e.g. what a morph absorbs
	Text                             string        // lines that the report shows as they are, below the verdict
	History                          *plot.History // training curves to show
	NoFigures                        bool          // numbers only

	effort *effort // of tests; nil: from Quick
}

// effort is how much statistics the floors and the tests of all pairs get.
type effort struct {
	trees, depth, bootstrap int // of the classifier; 0: its defaults
	pairs, permutations     int
	directions, sliced      int // of sliced W1, and its most rows
	reps                    int // draws of the floors of correlations and of sliced W1: 40 know a standard deviation to 11 %
}

var (
	full  = effort{pairs: 2000, permutations: 500, directions: 100, sliced: 20000, reps: 40}
	quick = effort{trees: 150, depth: 4, bootstrap: 50, pairs: 1000, permutations: 200, directions: 50, sliced: 10000, reps: 40}
)

func (s Settings) style() plot.Style {
	return plot.Style{Experiment: s.Experiment, Status: s.Status, Lumi: s.Lumi, Energy: s.Energy}
}

// ErrInput is wrapped by every error that the samples or variables cause.
var ErrInput = errors.New("cannot validate this input")

func inputError(format string, args ...any) error {
	return fmt.Errorf("validation: could not compare samples: "+format+" (%w)", append(args, ErrInput)...)
}

// Run compares the samples and writes the report into the folder out. Data and simulation are needed; several samples of role simulation
// are one mixture, shown as a stack. Without a morphed sample the numbers after it stay empty and no target is judged.
//
// Errors: errors.Is(err, ErrInput) for columns that are missing or of different lengths, weights without a positive sum, unknown roles or
// kinds; errors.Is(err, atomicfile.ErrWrite) if the folder cannot be written; the context's error.
func Run(ctx context.Context, out string, samples []Sample, vars []Variable, s Settings) (*Report, error) {
	r, err := newRun(samples, vars, s)
	if err != nil {
		return nil, err
	}
	if err := atomicfile.MkdirAll(filepath.Join(out, "figures")); err != nil {
		return nil, err
	}
	for _, sc := range r.scopes() {
		if err := r.scope(ctx, sc); err != nil {
			return nil, err
		}
	}
	rep := r.report()
	if err := r.page(rep).Write(ctx, out); err != nil {
		return nil, err
	}
	return rep, nil
}

// table is a prepared sample.
type table struct {
	role, label string
	n           int
	cols        map[string][]float64
	raw, w      []float64 // Weight, and Weight × KinWeight
	train       []float64
	id          []int64
	part        []uint8 // which of several simulations a row came from; nil: one
}

func (t *table) take(keep []bool) *table {
	var idx []int
	for i, k := range keep {
		if k {
			idx = append(idx, i)
		}
	}
	return t.rows(idx)
}

func (t *table) rows(idx []int) *table {
	o := &table{role: t.role, label: t.label, n: len(idx), cols: make(map[string][]float64, len(t.cols)), raw: pick(t.raw, idx), w: pick(t.w, idx), train: pick(t.train, idx)}
	for n, c := range t.cols {
		o.cols[n] = pick(c, idx)
	}
	o.id, o.part = pick(t.id, idx), pick(t.part, idx)
	return o
}

func pick[T any](v []T, idx []int) []T {
	if v == nil {
		return nil
	}
	out := make([]T, len(idx))
	for k, i := range idx {
		out[k] = v[i]
	}
	return out
}

// weights of a variable: those of the conditions before the morph are not reweighted.
func (t *table) weights(v Variable) []float64 {
	if v.Kind == Condition && t.role == Simulation {
		return t.raw
	}
	return t.w
}

// run holds the state of one report.
type run struct {
	Settings
	do      effort
	vars    []Variable
	inputs  []Input
	sim     *table
	data    *table
	morphed *table // nil: none
	ref     *table // nil: none
	// pairs are simulation and morphed simulation row by row, blinded rows included (they hold no data); nil if the rows do not match.
	pairs   [2]*table
	parts   []string
	slices  []sliceRows
	rows    []*Row
	figures []*Figure
	hists   histFile
	notes   []string
	looking string // where the classifier finds a difference, in words
}

type sliceRows struct {
	name  string
	rows  map[string][]bool // by role, blinded rows left out
	pairs []bool            // of simulation, blinded rows included
}

var roleLabels = map[string]string{Simulation: "Simulation", Data: "Data", Morphed: "Morphed simulation", Reference: "Reference"}

func newRun(samples []Sample, vars []Variable, s Settings) (*run, error) {
	if s.MaxEvents <= 0 {
		s.MaxEvents = 100000
		if s.Quick {
			s.MaxEvents = 20000
		}
	}
	r := &run{Settings: s, do: full, notes: append([]string(nil), s.Notes...)}
	if s.Quick {
		r.do = quick
	}
	if s.effort != nil {
		r.do = *s.effort
	}
	if len(vars) == 0 {
		return nil, inputError("no variables are given")
	}
	seen := map[string]bool{}
	for _, v := range vars {
		switch {
		case v.Name == "" || seen[v.Name]:
			return nil, inputError("variable %q is given twice or has no name", v.Name)
		case v.Kind != Feature && v.Kind != Condition && v.Kind != Observable:
			return nil, inputError("variable %q: kind %q is none of feature, condition, observable", v.Name, v.Kind)
		}
		seen[v.Name] = true
		r.vars = append(r.vars, v)
	}
	byRole := map[string][]*table{}
	masks := map[string][][]bool{} // of each slice, by role, samples of a role one after another
	for si := range samples {
		sm := &samples[si]
		if roleLabels[sm.Role] == "" {
			return nil, inputError("sample %q: role %q is none of simulation, data, morphed, reference", sm.Label, sm.Role)
		}
		t, err := r.prepare(sm)
		if err != nil {
			return nil, err
		}
		byRole[sm.Role] = append(byRole[sm.Role], t)
		if masks[sm.Role] == nil {
			masks[sm.Role] = make([][]bool, len(s.Slices))
		}
		for k, sl := range s.Slices {
			if len(sl.Rows) != len(samples) || len(sl.Rows[si]) != t.n {
				return nil, inputError("slice %q has no mask of %d rows for sample %q", sl.Name, t.n, t.label)
			}
			masks[sm.Role][k] = append(masks[sm.Role][k], sl.Rows[si]...)
		}
		entries, selected := sm.Entries, sm.Selected
		if entries == 0 {
			entries = int64(t.n)
		}
		if selected == 0 {
			selected = int64(t.n)
		}
		r.inputs = append(r.inputs, Input{Role: sm.Role, Label: t.label, File: sm.File, Tree: sm.Tree, Entries: entries, Selected: selected, NEff: Number(nEff(t.w))})
	}
	for _, role := range []string{Data, Simulation} {
		if len(byRole[role]) == 0 {
			return nil, inputError("there is no sample of role %s", role)
		}
	}
	for role, to := range map[string]**table{Data: &r.data, Simulation: &r.sim, Morphed: &r.morphed, Reference: &r.ref} {
		*to = join(byRole[role])
	}
	for _, t := range []*table{r.data, r.sim, r.morphed, r.ref} {
		if t == nil {
			continue
		}
		sum := 0.0
		for _, w := range t.w {
			sum += w
		}
		if !(sum > 0) {
			return nil, inputError("sample %q: the weights add up to %g", t.label, sum)
		}
	}
	r.parts = labels(byRole[Simulation])
	r.pair()
	whole := append([][]bool(nil), masks[Simulation]...)
	r.blind(masks)
	for k, sl := range s.Slices {
		rows := sliceRows{name: sl.Name, rows: map[string][]bool{}, pairs: whole[k]}
		for role := range masks {
			rows.rows[role] = masks[role][k]
		}
		r.slices = append(r.slices, rows)
	}
	return r, nil
}

func (r *run) prepare(sm *Sample) (*table, error) {
	n := sm.rows()
	t := &table{role: sm.Role, label: sm.Label, n: n, cols: map[string][]float64{}, id: sm.ID}
	if t.label == "" {
		t.label = roleLabels[sm.Role]
	}
	if n == 0 {
		return nil, inputError("sample %q has no rows", t.label)
	}
	for _, v := range r.vars {
		c, ok := sm.Cols[v.Name]
		if !ok {
			return nil, inputError("sample %q has no column %q", t.label, v.Name)
		}
		if len(c) != n {
			return nil, inputError("sample %q: column %q has %d rows, others have %d", t.label, v.Name, len(c), n)
		}
		t.cols[v.Name] = c
	}
	for name, w := range map[string]int{"Weight": len(sm.Weight), "KinWeight": len(sm.KinWeight), "TrainWeight": len(sm.TrainWeight), "ID": len(sm.ID)} {
		if w != 0 && w != n {
			return nil, inputError("sample %q: %s has %d rows, the columns have %d", t.label, name, w, n)
		}
	}
	if sm.ID != nil && len(sm.ID) == 0 {
		t.id = nil
	}
	t.raw, t.w, t.train = make([]float64, n), make([]float64, n), make([]float64, n)
	for i := range n {
		w, k := 1.0, 1.0
		if len(sm.Weight) > 0 {
			w = sm.Weight[i]
		}
		if len(sm.KinWeight) > 0 {
			k = sm.KinWeight[i]
		}
		tr := math.Abs(w)
		if len(sm.TrainWeight) > 0 {
			tr = sm.TrainWeight[i]
		}
		t.raw[i], t.w[i], t.train[i] = w, w*k, tr*k
		if !finite(t.w[i]) || !finite(t.train[i]) || t.train[i] < 0 {
			return nil, inputError("sample %q: row %d has weight %g × %g, training weight %g", t.label, i, w, k, tr)
		}
	}
	return t, nil
}

func join(ts []*table) *table {
	if len(ts) < 2 {
		if len(ts) == 0 {
			return nil
		}
		return ts[0]
	}
	o := &table{role: ts[0].role, label: roleLabels[ts[0].role], cols: map[string][]float64{}}
	ids := true
	for _, t := range ts {
		ids = ids && t.id != nil
	}
	parts := labels(ts)
	for _, t := range ts {
		o.n += t.n
		for name, c := range t.cols {
			o.cols[name] = append(o.cols[name], c...)
		}
		o.raw, o.w, o.train = append(o.raw, t.raw...), append(o.w, t.w...), append(o.train, t.train...)
		if ids {
			o.id = append(o.id, t.id...)
		}
		for range t.n {
			o.part = append(o.part, uint8(slices.Index(parts, t.label)))
		}
	}
	return o
}

// labels lists the different labels of tables, in their order: those of one label are one part of a stack.
func labels(ts []*table) []string {
	var out []string
	for _, t := range ts {
		if !slices.Contains(out, t.label) {
			out = append(out, t.label)
		}
	}
	return out
}

// blind removes the rows of every declared window from all samples, and from the slices' masks.
func (r *run) blind(masks map[string][][]bool) {
	var names []string
	for _, v := range r.vars {
		if v.blinded() {
			names = append(names, v.Name)
		}
	}
	if len(names) == 0 {
		return
	}
	for _, t := range []**table{&r.data, &r.sim, &r.morphed, &r.ref} {
		if *t == nil {
			continue
		}
		keep := make([]bool, (*t).n)
		var kept []int
		for i := range keep {
			keep[i] = true
			for _, v := range r.vars {
				x := (*t).cols[v.Name][i]
				keep[i] = keep[i] && !(v.blinded() && x > v.Blind[0] && x < v.Blind[1])
			}
			if keep[i] {
				kept = append(kept, i)
			}
		}
		for k, m := range masks[(*t).role] {
			masks[(*t).role][k] = pick(m, kept)
		}
		*t = (*t).rows(kept)
	}
	r.notes = append(r.notes, "Blinded: rows inside the window of "+strings.Join(names, ", ")+" are left out of every number and figure, in all samples.")
}

// pair finds out whether the morphed sample is the simulation row by row: then transport and dependence have a meaning.
func (r *run) pair() {
	if r.morphed == nil || r.morphed.n != r.sim.n {
		return
	}
	for _, v := range r.vars {
		if v.Kind != Condition {
			continue
		}
		a, b := r.sim.cols[v.Name], r.morphed.cols[v.Name]
		for i := range a {
			if a[i] != b[i] && (a[i] == a[i] || b[i] == b[i]) {
				return
			}
		}
	}
	for i, w := range r.sim.raw {
		if w != r.morphed.raw[i] {
			return
		}
	}
	r.pairs = [2]*table{r.sim, r.morphed}
}

// scopeTables are the samples of one scope: everything, or a slice.
type scopeTables struct {
	name  string // "": everything
	sim   *table
	data  *table
	mor   *table
	ref   *table
	pairs [2]*table
}

func (r *run) scopes() []scopeTables {
	out := []scopeTables{{"", r.sim, r.data, r.morphed, r.ref, r.pairs}}
	for _, sl := range r.slices {
		cut := func(t *table) *table {
			if t == nil {
				return nil
			}
			return t.take(sl.rows[t.role])
		}
		s := scopeTables{name: sl.name, sim: cut(r.sim), data: cut(r.data), mor: cut(r.morphed), ref: cut(r.ref)}
		for k, t := range r.pairs {
			if t != nil {
				s.pairs[k] = t.take(sl.pairs)
			}
		}
		out = append(out, s)
	}
	return out
}

// samples lists the tables that are there, data first.
func (sc *scopeTables) samples() []*table {
	out := []*table{sc.data, sc.sim}
	for _, t := range []*table{sc.mor, sc.ref} {
		if t != nil {
			out = append(out, t)
		}
	}
	return out
}

func nEff(w []float64) float64 {
	var s, q float64
	for _, v := range w {
		s += v
		q += v * v
	}
	if q == 0 {
		return 0
	}
	return s * s / q
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }
