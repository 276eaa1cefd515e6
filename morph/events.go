package morph

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"hepmorph/internal/rng"
	"hepmorph/physics"
	"hepmorph/physics/rootio"
)

// ErrConfig marks configurations that can't work with the files they name (exit code 3); ErrColumns models that were made for
// other columns (exit code 8).
var (
	ErrConfig  = errors.New("configuration does not fit")
	ErrColumns = errors.New("model is for other columns")
)

// Events is a loaded sample: the selected rows of all its inputs.
type Events struct {
	Domain  Domain
	Table   *physics.Table
	CutFlow physics.CutFlow
	Keys    []uint64 // what addresses the random numbers of a row
	Parts   []Part

	part        []int // the input of each row
	observables []*observable
}

// Part is one input of a sample.
type Part struct {
	Label   string
	Files   []string
	Tree    string
	Rows    int // selected
	CutFlow physics.CutFlow
	Weight  string  // expression of a row's weight
	Runs    float64 // sum of weights in the trees Runs that it is divided by; 0: none
}

// Range is a range of rows that came from one input.
type Range struct{ Input, Lo, Hi int }

// Ranges lists the rows of each input, in their order; inputs without rows are left out.
func (ev *Events) Ranges() []Range {
	var out []Range
	for i, p := range ev.part {
		if n := len(out); n > 0 && out[n-1].Input == p {
			out[n-1].Hi = i + 1
			continue
		}
		out = append(out, Range{p, i, i + 1})
	}
	return out
}

// take returns some of the rows.
func (ev *Events) take(rows []int) *Events {
	out := *ev
	out.Table, out.Keys, out.part = ev.Table.Take(rows), make([]uint64, len(rows)), make([]int, len(rows))
	for i, r := range rows {
		out.Keys[i], out.part[i] = ev.Keys[r], ev.part[r]
	}
	return &out
}

// names of columns that the configuration does not name
const (
	trainColumn = "split:train"
	slicePrefix = "slice:"
)

// layout is what expressions of a configuration mean for a tree.
type layout struct {
	kinds       map[string]rootio.Kind
	observables []*observable
	columns     []physics.Column
}

// define returns the definitions, and the features and conditions under their names where no branch has them.
func (c *Config) define(kinds map[string]rootio.Kind) map[string]string {
	m := map[string]string{}
	for _, d := range c.Define {
		m[d.Name] = d.Value
	}
	add := func(name, expr string) {
		if _, taken := kinds[name]; !taken && m[name] == "" && expr != name {
			m[name] = expr
		}
	}
	for _, f := range c.FeatureSpecs() {
		add(f.Name, f.source())
	}
	for _, f := range c.ConditionSpecs() {
		add(f.Name, f.source())
	}
	return m
}

// lay prepares the columns for the branches of a tree.
func (c *Config) lay(branches []rootio.Branch, s physics.Sample) (*layout, error) {
	bare := physics.Sample{Row: s.Row}
	p, err := physics.Prepare(branches, bare, nil)
	if err != nil {
		return nil, err
	}
	l := &layout{kinds: p.Kinds()}
	define := c.define(l.kinds)
	var features []string
	for _, f := range c.FeatureSpecs() {
		expr, err := inline(f.source(), c.define(l.kinds))
		if err != nil {
			return nil, err
		}
		features = append(features, expr)
	}
	have := map[string]bool{}
	for _, col := range c.Columns() {
		if col.Role == physics.Observable {
			expr := col.Expr
			if _, branch := l.kinds[expr]; !branch {
				if expr, err = inline(expr, define); err != nil {
					return nil, err
				}
			}
			o, err := newObservable(col.Name, expr, nil, l.kinds, features)
			if err != nil {
				return nil, err
			}
			l.observables = append(l.observables, o)
			col.Expr = expr
		}
		l.columns = append(l.columns, col)
		have[col.Name] = true
	}
	for _, o := range l.observables {
		for _, col := range o.columns() {
			if !have[col.Name] {
				have[col.Name] = true
				l.columns = append(l.columns, col)
			}
		}
	}
	if c.Split.Train != "" {
		l.columns = append(l.columns, physics.Column{Name: trainColumn, Expr: c.Split.Train})
	}
	for _, s := range c.Validation.Slices {
		l.columns = append(l.columns, physics.Column{Name: slicePrefix + s, Expr: s})
	}
	return l, nil
}

// morphColumns are the columns that a morph needs: observables are computed from morphed values only.
func (l *layout) morphColumns() []physics.Column {
	inputs := map[string]bool{}
	for _, o := range l.observables {
		for _, c := range o.columns() {
			inputs[c.Name] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(l.columns), func(c physics.Column) bool { return c.Role == physics.Observable && !inputs[c.Name] })
}

// expr is the expression of a column.
func (l *layout) expr(name string) string {
	for _, c := range l.columns {
		if c.Name == name {
			return c.Expr
		}
	}
	return ""
}

// Load reads a sample of the configuration: every input, one after another.
func (c *Config) Load(ctx context.Context, d Domain, read rootio.Options) (*Events, error) {
	ev, _, err := c.load(ctx, d, read)
	return ev, err
}

func (c *Config) load(ctx context.Context, d Domain, read rootio.Options) (*Events, *layout, error) {
	ev := &Events{Domain: d, Table: physics.NewTable(0)}
	var first *layout
	for i, s := range c.Samples(d) {
		s.Read = read
		files, err := rootio.Expand(s.Files)
		if err != nil {
			return nil, nil, err
		}
		chain, err := rootio.Open(ctx, files, s.Tree, read)
		if err != nil {
			return nil, nil, err
		}
		tree, branches := chain.Tree, chain.Branches()
		l, err := c.lay(branches, s)
		chain.Close()
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", files[0], misfit(c, s, files[0], branches, err))
		}
		if first == nil {
			first = l
		}
		s.Files, s.Tree = files, tree
		runs, err := c.normalise(ctx, d, i, &s)
		if err != nil {
			return nil, nil, err
		}
		t, flow, err := physics.Load(ctx, s, l.columns)
		if err != nil {
			return nil, nil, misfit(c, s, files[0], branches, err)
		}
		if d == Data {
			if t, err = c.closeEyes(t, flow); err != nil {
				return nil, nil, err
			}
		}
		keys, err := c.keys(t, uint64(i))
		if err != nil {
			return nil, nil, err
		}
		if i > 0 && t.Weight == nil && ev.Table.Weight != nil {
			t.Weight = ones(t.Len())
		}
		if err := ev.Table.Append(t); err != nil {
			return nil, nil, fmt.Errorf("morph: could not join the inputs of %s: %w", domainName(d), err)
		}
		ev.Keys = append(ev.Keys, keys...)
		ev.CutFlow = ev.CutFlow.Add(flow)
		ev.Parts = append(ev.Parts, Part{Label: s.Label, Files: files, Tree: tree, Rows: t.Len(), CutFlow: flow, Weight: s.Weight, Runs: runs})
		for range t.Len() {
			ev.part = append(ev.part, i)
		}
		switch {
		case flow[0].Entries == 0:
			return nil, nil, fmt.Errorf("morph: could not use %s (%s): tree %q has no entries (take it out of inputs.%s, or give other files): %w", files[0], s.Label, tree, domainName(d), ErrInput)
		case t.Len() == 0:
			return nil, nil, fmt.Errorf("morph: could not use %s (%s): no row passes the selection (of %d; see the cut flow below, and loosen select, give other files, or take it out of inputs.%s): %w\n%s",
				files[0], s.Label, flow[0].Entries, domainName(d), ErrInput, flow)
		}
	}
	ev.observables = first.observables
	return ev, first, nil
}

func domainName(d Domain) string {
	if d == Data {
		return "data"
	}
	return "simulation"
}

func ones(n int) []float64 {
	w := make([]float64, n)
	for i := range w {
		w[i] = 1
	}
	return w
}

// keys gives each row of a table the number that addresses its random draws: a hash of its id, else of its file's position and its entry.
func (c *Config) keys(t *physics.Table, input uint64) ([]uint64, error) {
	keys := make([]uint64, t.Len())
	var ids [][]uint64
	for _, name := range c.ID {
		col, err := t.Column(name)
		if err != nil {
			return nil, err
		}
		if col.U == nil {
			return nil, fmt.Errorf("morph: could not use %q as id: it is no integer: %w", name, ErrInput)
		}
		ids = append(ids, col.U)
	}
	for i := range keys {
		h := rng.Hash(input, uint64(entry(t, i)))
		if len(ids) > 0 {
			h = uint64(len(ids))
			for _, id := range ids {
				h = rng.Hash(h, id[i])
			}
		}
		if t.Elem != nil {
			h = rng.Hash(h, uint64(t.Elem[i]))
		}
		keys[i] = h
	}
	return keys, nil
}

func entry(t *physics.Table, i int) int64 {
	if t.Entry == nil {
		return int64(i)
	}
	return t.Entry[i]
}

// weight is the physics weight of row i.
func weight(t *physics.Table, i int) float64 {
	if t.Weight == nil {
		return 1
	}
	return t.Weight[i]
}

// check refuses samples that nothing can be learnt from.
func (ev *Events) check() error {
	sum, abs := 0.0, 0.0
	for i, w := range ev.Table.Weight {
		if math.IsNaN(w) || math.IsInf(w, 0) {
			return fmt.Errorf("morph: could not use %s: the weight of entry %d is %v: %w", domainName(ev.Domain), entry(ev.Table, i), w, ErrInput)
		}
		sum += w
		abs += math.Abs(w)
	}
	if ev.Table.Weight != nil && !(sum > 0) {
		return fmt.Errorf("morph: could not use %s: its %d weights add up to %v (absolute: %v): %w", domainName(ev.Domain), len(ev.Table.Weight), sum, abs, ErrInput)
	}
	return nil
}

// parts divides the rows of a sample.
type parts struct{ train, validation, test []int }

// learn lists the rows that are learnt from, those for training first.
func (p parts) learn() []int { return slices.Concat(p.train, p.validation) }

// split divides rows by the configuration: those that split.train excludes, and blinded ones, are not learnt from. Blinded rows are in no part.
func (c *Config) split(ev *Events) (parts, error) {
	var p parts
	var learn []float64
	if c.Split.Train != "" {
		var err error
		if learn, err = ev.Table.Col(trainColumn); err != nil {
			return p, err
		}
	}
	blind, err := c.blinded(ev.Table)
	if err != nil {
		return p, err
	}
	key := rng.NewKey(c.Seed, "validation rows")
	for i := range ev.Table.Len() {
		switch {
		case blind != nil && blind[i]:
		case learn != nil && learn[i] == 0:
			p.test = append(p.test, i)
		case key.Uniform(ev.Keys[i]) < c.Split.Validation:
			p.validation = append(p.validation, i)
		default:
			p.train = append(p.train, i)
		}
	}
	if len(p.train) == 0 || len(p.validation) == 0 {
		return p, fmt.Errorf("morph: could not train: of %d selected rows of %s %d are for training and %d for validation (see split): %w",
			ev.Table.Len(), domainName(ev.Domain), len(p.train), len(p.validation), ErrInput)
	}
	return p, nil
}

// Unblinded is a configuration without blind windows, for looking at a result. Nothing is trained by it.
func (c *Config) Unblinded() *Config {
	out := *c
	out.Observables = slices.Clone(c.Observables)
	for i := range out.Observables {
		out.Observables[i].Value.Blind = nil
	}
	return &out
}

// blinded says which rows lie in a blind window; nil if there is none.
func (c *Config) blinded(t *physics.Table) ([]bool, error) {
	var out []bool
	for _, o := range c.ObservableSpecs() {
		if len(o.Blind) != 2 {
			continue
		}
		v, err := t.Col(o.Name)
		if err != nil {
			return nil, err
		}
		if out == nil {
			out = make([]bool, len(v))
		}
		for i, x := range v {
			out[i] = out[i] || x >= o.Blind[0] && x < o.Blind[1]
		}
	}
	return out, nil
}

// closeEyes takes the rows of data in a blind window away and counts the last cut without them, so that no later step can see them, nor their number.
func (c *Config) closeEyes(t *physics.Table, flow physics.CutFlow) (*physics.Table, error) {
	blind, err := c.blinded(t)
	if err != nil || blind == nil {
		return t, err
	}
	var rows []int
	last := &flow[len(flow)-1]
	for i, b := range blind {
		if !b {
			rows = append(rows, i)
			continue
		}
		w := weight(t, i)
		last.Entries, last.SumW, last.SumW2 = last.Entries-1, last.SumW-w, last.SumW2-w*w
	}
	last.Expr = strings.TrimPrefix(last.Expr+", outside the blind window", ", ")
	return t.Take(rows), nil
}

// requireFinite refuses columns whose values are not numbers where that is not declared.
func (c *Config) requireFinite(ev *Events) error {
	for _, col := range ev.Table.Columns {
		if col.F == nil || col.Role != physics.Feature && col.Role != physics.Condition {
			continue
		}
		f, _ := c.Features.Get(col.Name)
		bad, at := 0, -1
		for i, v := range col.F {
			if (math.IsNaN(v) || math.IsInf(v, 0)) && !f.Sentinels.holds(v) {
				if bad++; at < 0 {
					at = i
				}
			}
		}
		if bad > 0 {
			return fmt.Errorf("morph: could not use column %q of %s: %d of %d values are not finite, the first (%v) in entry %d (select them away, or list the value under sentinels): %w",
				col.Name, domainName(ev.Domain), bad, len(col.F), col.F[at], entry(ev.Table, at), ErrInput)
		}
	}
	return nil
}
