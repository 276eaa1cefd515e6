package physics

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sort"
	"strings"

	"hepmorph/physics/rootio"
)

// Definition gives an expression a name that later expressions may use.
type Definition struct{ Name, Expr string }

// Sample says which rows of which files make a sample.
type Sample struct {
	Files  []string // paths, patterns, root:// addresses
	Tree   string   // "" where a file has only one
	Weight string   // expression of an event's weight, "" is 1; may be negative
	Label  string
	Define []Definition // in any order; they may use one another
	Select []string     // applied in order; each sees only rows that passed those before it
	Row    string       // "" or "event": a row is an event; else a collection: a row is one of its elements

	// Scale multiplies every weight, for cross-sections. Default 1.
	Scale float64
	// Read says how the files are read.
	Read rootio.Options
}

// Cut is one step of a selection.
type Cut struct {
	Expr    string // "" for all rows
	Entries int64
	SumW    float64
	SumW2   float64
}

// CutFlow counts the rows after each step, beginning with all of them.
type CutFlow []Cut

// Add adds the counts of another part of the same sample. Where the parts have other cuts, those in common are kept and one more for all that follow.
func (c CutFlow) Add(o CutFlow) CutFlow {
	if len(c) == 0 {
		return slices.Clone(o)
	}
	same := 0
	for same < min(len(c), len(o)) && c[same].Expr == o[same].Expr {
		same++
	}
	if same < max(len(c), len(o)) {
		a, b := c.Selected(), o.Selected()
		a.Expr, b.Expr = "cuts of each part", "cuts of each part"
		c, o = append(slices.Clone(c[:same]), a), append(slices.Clone(o[:same]), b)
	}
	for i := range o {
		c[i].Entries += o[i].Entries
		c[i].SumW += o[i].SumW
		c[i].SumW2 += o[i].SumW2
	}
	return c
}

// Selected is the count after the last step.
func (c CutFlow) Selected() Cut {
	if len(c) == 0 {
		return Cut{}
	}
	return c[len(c)-1]
}

// String is the cut flow as a table.
func (c CutFlow) String() string {
	var b strings.Builder
	for i, s := range c {
		name, part := s.Expr, ""
		if i == 0 {
			name = "all"
		} else if c[0].Entries > 0 {
			part = fmt.Sprintf("  %5.1f %%", 100*float64(s.Entries)/float64(c[0].Entries))
		}
		fmt.Fprintf(&b, "%10d  %14.6g%s  %s\n", s.Entries, s.SumW, part, name)
	}
	return b.String()
}

// Program is the compiled form of a sample's definitions, selections, weight and columns, for one layout of branches. It
// works batch by batch, so that memory does not grow. Safe for concurrent use.
type Program struct {
	sample   Sample
	coll     *collection
	defs     map[string]*Expr
	kinds    map[string]rootio.Kind // of branches and definitions, as expressions see them
	weight   *Expr
	cuts     []*Expr
	columns  []Column
	exprs    []*Expr
	branches []string
	entry    bool // EntryName is the number of the entry
	element  bool // ElementName is the position in the collection
}

// collection says which branches hold the elements that are the rows.
type collection struct {
	name     string
	branches map[string]bool
	shape    string // the branch that gives the number of elements
}

// EntryName is the entry of a row in the chain as expressions see it, where no branch has that name: `entry % 10 < 7`.
const EntryName = "entry"

// ElementName is the position of a row among those of its event, where rows are elements of a collection and no branch has that name: `element == 0` is the leading photon.
const ElementName = "element"

// Prepare compiles a sample for the branches of a tree and the columns that are wanted: each has a Name, an Expr (default: its
// name), a Unit and a Role; a column of role ID is exact.
func Prepare(branches []rootio.Branch, s Sample, columns []Column) (*Program, error) {
	p := &Program{sample: s, defs: map[string]*Expr{}, kinds: map[string]rootio.Kind{}}
	for _, b := range branches {
		if b.Kind.Readable() {
			if _, ok := p.kinds[b.Name]; !ok {
				p.kinds[b.Name] = b.Kind
			}
		}
	}
	if _, ok := p.kinds[EntryName]; !ok {
		p.kinds[EntryName] = rootio.Kind{Elem: rootio.Int64}
		p.entry = true
	}
	if s.Row != "" && s.Row != "event" {
		c, err := findCollection(branches, s.Row)
		if err != nil {
			return nil, err
		}
		p.coll = c
		for name := range c.branches {
			p.kinds[name] = rootio.Kind{Elem: p.kinds[name].Elem}
		}
		if _, ok := p.kinds[ElementName]; !ok {
			p.kinds[ElementName] = rootio.Kind{Elem: rootio.Int32}
			p.element = true
		}
	}
	if err := p.define(s.Define); err != nil {
		return nil, err
	}
	var err error
	if s.Weight != "" {
		if p.weight, err = Compile(s.Weight, p.kinds); err != nil {
			return nil, fmt.Errorf("weight: %w", err)
		}
	}
	for _, src := range s.Select {
		e, err := Compile(src, p.kinds)
		if err != nil {
			return nil, fmt.Errorf("selection: %w", err)
		}
		if !e.Bool() {
			return nil, fmt.Errorf("selection: %w", &ExprError{Src: src, Row: -1, Why: "its value is a number, not true or false"})
		}
		p.cuts = append(p.cuts, e)
	}
	for _, c := range columns {
		if c.Expr == "" {
			c.Expr = c.Name
		}
		e, err := Compile(c.Expr, p.kinds)
		if err != nil {
			return nil, fmt.Errorf("column %q: %w", c.Name, err)
		}
		if c.Role == ID && !e.Integer() {
			return nil, fmt.Errorf("column %q: %w", c.Name, &ExprError{Src: c.Expr, Row: -1, Why: "it identifies events, so it must be an integer"})
		}
		c.F, c.U = nil, nil
		p.columns, p.exprs = append(p.columns, c), append(p.exprs, e)
	}
	p.need()
	return p, nil
}

// define compiles the definitions in an order in which each finds those that it uses.
func (p *Program) define(defs []Definition) error {
	left := map[string]Definition{}
	for _, d := range defs {
		if _, ok := left[d.Name]; ok {
			return fmt.Errorf("definition %q: %w", d.Name, &ExprError{Src: d.Expr, Row: -1, Why: "it is defined twice"})
		}
		if _, ok := p.kinds[d.Name]; ok {
			return fmt.Errorf("definition %q: %w", d.Name, &ExprError{Src: d.Expr, Row: -1, Why: "the tree has a branch of that name"})
		}
		left[d.Name] = d
	}
	for len(left) > 0 {
		progress := false
		var first error
		for _, d := range defs {
			if _, ok := left[d.Name]; !ok {
				continue
			}
			e, err := Compile(d.Expr, p.kinds)
			if err != nil {
				var x *ExprError
				if errors.As(err, &x) {
					if _, later := left[x.Want]; later && x.Want != d.Name {
						continue
					}
				}
				if first == nil {
					first = fmt.Errorf("definition %q: %w", d.Name, err)
				}
				continue
			}
			k := rootio.Kind{Elem: rootio.Float64}
			switch {
			case e.Bool():
				k.Elem = rootio.Bool
			case e.Integer():
				k.Elem = rootio.Int64
			}
			p.defs[d.Name], p.kinds[d.Name] = e, k
			delete(left, d.Name)
			progress = true
		}
		if first != nil {
			return first
		}
		if !progress {
			names := sortedKeys(left)
			return fmt.Errorf("definition %q: %w", names[0], &ExprError{Src: left[names[0]].Expr, Row: -1, Why: "it uses itself, by way of " + strings.Join(names, ", ")})
		}
	}
	return nil
}

// need finds the branches that any expression uses.
func (p *Program) need() {
	need := map[string]bool{}
	var visit func(e *Expr)
	visit = func(e *Expr) {
		if e == nil {
			return
		}
		for _, b := range e.Branches() {
			if d, ok := p.defs[b]; ok {
				visit(d)
			} else if !(b == EntryName && p.entry || b == ElementName && p.element) {
				need[b] = true
			}
		}
	}
	visit(p.weight)
	for _, e := range p.cuts {
		visit(e)
	}
	for _, e := range p.exprs {
		visit(e)
	}
	if p.coll != nil {
		need[p.coll.shape] = true
	}
	p.branches = sortedKeys(need)
}

// Branches lists the branches that must be read, sorted.
func (p *Program) Branches() []string { return p.branches }

// Kinds are the branches and definitions as expressions see them: elements of the row's collection are scalars.
func (p *Program) Kinds() map[string]rootio.Kind { return p.kinds }

// Columns are the columns of the tables, without values.
func (p *Program) Columns() []Column { return p.columns }

// InCollection reports whether a branch holds elements of the collection that rows are made of.
func (p *Program) InCollection(branch string) bool { return p.coll != nil && p.coll.branches[branch] }

// findCollection finds the branches of a collection: those counted by the branch of that name or nNAME or NAME_n, or whose
// name begins with NAME_, whatever the case. Files of uproot have a counter for each branch.
func findCollection(branches []rootio.Branch, name string) (*collection, error) {
	l := strings.ToLower(name)
	var counters []string
	for _, b := range branches {
		switch strings.ToLower(b.Name) {
		case l, "n" + l, l + "_n":
			counters = append(counters, b.Name)
		}
	}
	c := &collection{name: name, branches: map[string]bool{}}
	var jagged []string
	for _, b := range branches {
		if !b.Kind.Jagged() || b.Kind.Len > 1 {
			continue
		}
		jagged = append(jagged, b.Name)
		if slices.Contains(counters, b.Counter) && b.Counter != "" || strings.HasPrefix(strings.ToLower(b.Name), l+"_") || strings.EqualFold(b.Name, name) {
			c.branches[b.Name] = true
			if c.shape == "" {
				c.shape = b.Name
			}
		}
	}
	if c.shape == "" {
		sort.Strings(jagged)
		return nil, &ExprError{Src: name, Row: -1, Want: name, Why: fmt.Sprintf("no collection %q to take rows from", name), Have: rootio.Nearest(name, jagged, 5)}
	}
	return c, nil
}

// explode makes a batch with a row for each element. parent gives the event of each row.
func (p *Program) explode(b *rootio.Batch) (out *rootio.Batch, parent []int, elem []int32, err error) {
	off := b.Cols[p.coll.shape].Off
	n := int(off[b.N])
	parent, elem = make([]int, n), make([]int32, n)
	for i := range b.N {
		for j := off[i]; j < off[i+1]; j++ {
			parent[j], elem[j] = i, j-off[i]
		}
	}
	out = &rootio.Batch{Lo: b.Lo, N: n, Cols: make(map[string]*rootio.Values, len(b.Cols))}
	for name, v := range b.Cols {
		if !p.coll.branches[name] {
			out.Cols[name] = v.Take(parent)
			continue
		}
		if !slices.Equal(v.Off, off) {
			for i := range b.N {
				if v.Off[i+1]-v.Off[i] != off[i+1]-off[i] {
					return nil, nil, nil, &ExprError{Src: p.coll.name, Row: b.Lo + int64(i), Why: fmt.Sprintf("branch %q has %d elements, %q has %d", name, v.Off[i+1]-v.Off[i], p.coll.shape, off[i+1]-off[i])}
				}
			}
		}
		w := *v
		w.Off, w.Kind = nil, rootio.Kind{Elem: v.Kind.Elem}
		out.Cols[name] = &w
	}
	return out, parent, elem, nil
}

// work makes the batch that expressions see, without definitions.
func (p *Program) work(b *rootio.Batch) (work *rootio.Batch, parent []int, elem []int32, err error) {
	work = &rootio.Batch{Lo: b.Lo, N: b.N, Cols: make(map[string]*rootio.Values, len(b.Cols)+len(p.defs)+1)}
	for name, v := range b.Cols {
		work.Cols[name] = v
	}
	if p.entry {
		number := make([]int64, b.N)
		for i := range number {
			number[i] = b.Lo + int64(i)
		}
		work.Cols[EntryName] = rootio.Ints(rootio.Int64, number)
	}
	if p.coll == nil {
		return work, nil, nil, nil
	}
	if work, parent, elem, err = p.explode(work); err == nil && p.element {
		position := make([]int64, len(elem))
		for i, e := range elem {
			position[i] = int64(e)
		}
		work.Cols[ElementName] = rootio.Ints(rootio.Int32, position)
	}
	return work, parent, elem, err
}

// Rows returns a batch with every row that the program works on, selected or not: the events of b, or the elements of their collections.
func (p *Program) Rows(b *rootio.Batch) (*rootio.Batch, error) {
	work, _, _, err := p.work(b)
	return work, err
}

// Run evaluates a batch that has the branches of the program: the selected rows as a table, and the counts. The table's
// Weight is the sample's weight, Entry the entry in the chain.
func (p *Program) Run(b *rootio.Batch) (*Table, CutFlow, error) {
	lo := b.Lo
	work, parent, elem, err := p.work(b)
	if err != nil {
		return nil, nil, err
	}
	run := &run{p: p, b: work, parent: parent}
	weights := make([]float64, work.N)
	scale := p.sample.Scale
	if scale == 0 {
		scale = 1
	}
	for i := range weights {
		weights[i] = scale
	}
	if p.weight != nil {
		w, err := run.eval(p.weight, nil)
		if err != nil {
			return nil, nil, fmt.Errorf("weight: %w", err)
		}
		for i := range weights {
			weights[i] = scale * w[i]
			if math.IsNaN(weights[i]) || math.IsInf(weights[i], 0) {
				return nil, nil, fmt.Errorf("weight: %w", run.located(p.weight.failed(work, i, fmt.Sprintf("it is %v", weights[i]))))
			}
		}
	}
	flow := make(CutFlow, 0, len(p.cuts)+1)
	count := func(src string, rows []int) {
		c := Cut{Expr: src}
		add := func(w float64) {
			c.Entries++
			c.SumW += w
			c.SumW2 += w * w
		}
		if rows == nil {
			for _, w := range weights {
				add(w)
			}
		}
		for _, r := range rows {
			add(weights[r])
		}
		flow = append(flow, c)
	}
	count("", nil)
	var rows []int
	for _, e := range p.cuts {
		if err := run.prepare(e, rows); err != nil {
			return nil, nil, err
		}
		kept, err := e.Select(work, rows)
		if err != nil {
			return nil, nil, fmt.Errorf("selection: %w", run.located(err))
		}
		rows = kept
		count(e.src, rows)
	}
	n := work.N
	if rows != nil {
		n = len(rows)
	}
	t := NewTable(n)
	t.Entry, t.Weight = make([]int64, n), make([]float64, n)
	if elem != nil {
		t.Elem = make([]int32, n)
	}
	for k := range n {
		r := k
		if rows != nil {
			r = rows[k]
		}
		t.Entry[k], t.Weight[k] = lo+int64(r), weights[r]
		if elem != nil {
			t.Entry[k], t.Elem[k] = lo+int64(parent[r]), elem[r]
		}
	}
	for i, e := range p.exprs {
		c := p.columns[i]
		if err := run.prepare(e, rows); err != nil {
			return nil, nil, err
		}
		var err error
		if c.Role == ID {
			c.U, err = e.Uints(work, rows)
		} else {
			c.F, err = e.Eval(work, rows)
		}
		if err != nil {
			return nil, nil, fmt.Errorf("column %q: %w", c.Name, run.located(err))
		}
		if err := t.Add(c); err != nil {
			return nil, nil, err
		}
	}
	return t, flow, nil
}

// run evaluates definitions when they are first needed, on the rows that are left then: rows only become fewer.
type run struct {
	p      *Program
	b      *rootio.Batch
	parent []int
}

func (r *run) prepare(e *Expr, rows []int) error {
	for _, name := range e.Branches() {
		d, ok := r.p.defs[name]
		if !ok || r.b.Cols[name] != nil {
			continue
		}
		if err := r.prepare(d, rows); err != nil {
			return err
		}
		v := &rootio.Values{Kind: r.p.kinds[name]}
		if v.Kind.Elem == rootio.Int64 {
			u, err := d.Uints(r.b, rows)
			if err != nil {
				return fmt.Errorf("definition %q: %w", name, r.located(err))
			}
			i := make([]int64, len(u))
			for k, x := range u {
				i[k] = int64(x)
			}
			v.I = spread(i, rows, r.b.N, 0)
			r.b.Cols[name] = v
			continue
		}
		f, err := d.Eval(r.b, rows)
		if err != nil {
			return fmt.Errorf("definition %q: %w", name, r.located(err))
		}
		f = spread(f, rows, r.b.N, math.NaN())
		v.F64 = f
		if v.Kind.Elem == rootio.Bool {
			v.F64, v.B = nil, make([]bool, len(f))
			for i, x := range f {
				v.B[i] = x == 1
			}
		}
		r.b.Cols[name] = v
	}
	return nil
}

// spread puts the values of some rows at their places among n.
func spread[T any](x []T, rows []int, n int, fill T) []T {
	if rows == nil {
		return x
	}
	out := make([]T, n)
	for i := range out {
		out[i] = fill
	}
	for k, r := range rows {
		out[r] = x[k]
	}
	return out
}

func (r *run) eval(e *Expr, rows []int) ([]float64, error) {
	if err := r.prepare(e, rows); err != nil {
		return nil, err
	}
	f, err := e.Eval(r.b, rows)
	return f, r.located(err)
}

// located turns a row of an exploded batch into the entry that it belongs to.
func (r *run) located(err error) error {
	var x *ExprError
	if r.parent != nil && errors.As(err, &x) && x.Row >= r.b.Lo {
		if k := int(x.Row - r.b.Lo); k < len(r.parent) {
			x.Row = r.b.Lo + int64(r.parent[k])
		}
	}
	return err
}

// Load reads a sample: definitions, selections in order, and the columns of the rows that passed, in the order of the files.
// Memory grows with the selected rows only.
func Load(ctx context.Context, s Sample, columns []Column) (*Table, CutFlow, error) {
	files, err := rootio.Expand(s.Files)
	if err != nil {
		return nil, nil, err
	}
	chain, err := rootio.Open(ctx, files, s.Tree, s.Read)
	if err != nil {
		return nil, nil, err
	}
	defer chain.Close()
	p, err := Prepare(chain.Branches(), s, columns)
	if err != nil {
		return nil, nil, in(files, err)
	}
	out := NewTable(0)
	var flow CutFlow
	err = chain.Read(ctx, p.Branches(), 0, -1, func(b *rootio.Batch) error {
		t, f, err := p.Run(b)
		if err != nil {
			return in(files, err)
		}
		flow = flow.Add(f)
		return out.Append(t)
	})
	if err != nil {
		return nil, nil, err
	}
	if flow == nil { // no rows at all
		t, f, err := p.Run(p.empty())
		if err != nil {
			return nil, nil, err
		}
		out, flow = t, f
	}
	return out, flow, nil
}

// in names the files that an expression was evaluated for.
func in(files []string, err error) error {
	name := files[0]
	if len(files) > 1 {
		name = fmt.Sprintf("%s and %d more", name, len(files)-1)
	}
	return fmt.Errorf("%w [%s]", err, name)
}

// empty is a batch without rows.
func (p *Program) empty() *rootio.Batch {
	b := &rootio.Batch{Cols: map[string]*rootio.Values{}}
	for _, name := range p.branches {
		k := p.kinds[name]
		if p.InCollection(name) {
			k.Form = rootio.Vector
		}
		b.Cols[name] = rootio.NewValues(k, 0)
	}
	return b
}
