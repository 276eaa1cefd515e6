package morph

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"hepmorph/internal/ad"
	"hepmorph/internal/atomicfile"
	"hepmorph/internal/par"
	"hepmorph/physics"
	"hepmorph/physics/rootio"
)

// ApplyOptions say what is morphed and where it goes.
type ApplyOptions struct {
	In       []string
	Out      string // a file, which gets all inputs in order, or, if it ends in / or is a folder, one file for each
	Tree     string // default: that of the first simulation input of the model
	Suffix   string // default: the model's
	Label    string // of the simulation in the config that the inputs belong to; default: the one that has files of their names
	Friend   bool   // only the new branches and the id
	Shard    int    // of Shards, from 1; 0: everything
	Shards   int
	Threads  int
	Guard    bool
	Force    bool
	Progress func(done, total int64)
}

// Applied is what was written.
type Applied struct {
	Path    string
	Tree    string
	Report  rootio.CopyReport
	Status  [4]int64 // rows of each status
	Columns []string // new branches
	Stale   []string // branches of the input that the morph makes stale
}

// Apply writes the inputs with morphed features. See design: every input branch that can be kept, arrays B_morphed for features read from B[i],
// <name>_morphed for other features and for observables, morph_status, morph_kinweight, morph_weight. Every entry stays, in order.
func (m *Model) Apply(ctx context.Context, o ApplyOptions) ([]Applied, error) {
	files, err := rootio.Expand(o.In)
	if err != nil {
		return nil, err
	}
	type job struct {
		in  []string
		out string
	}
	var jobs []job
	if strings.HasSuffix(o.Out, "/") || isDir(o.Out) {
		seen := map[string]bool{}
		for _, f := range files {
			name := filepath.Base(f)
			if seen[name] {
				return nil, fmt.Errorf("morph: could not write to %q: two inputs are called %q (apply them apart): %w", o.Out, name, ErrInput)
			}
			seen[name] = true
			jobs = append(jobs, job{[]string{f}, filepath.Join(o.Out, name)})
		}
	} else {
		jobs = []job{{files, o.Out}}
	}
	for _, j := range jobs {
		for _, in := range j.in {
			if sameFile(in, j.out) {
				return nil, fmt.Errorf("morph: could not write %q: it is an input: %w", j.out, atomicfile.ErrWrite)
			}
		}
		if !o.Force && exists(j.out) {
			return nil, fmt.Errorf("morph: could not write %q: it exists (--force replaces it): %w", j.out, atomicfile.ErrWrite)
		}
	}
	if strings.HasSuffix(o.Out, "/") {
		if err := atomicfile.MkdirAll(o.Out); err != nil {
			return nil, err
		}
	}
	movers, closeMovers := m.movers(o.Threads)
	defer closeMovers()
	var out []Applied
	for _, j := range jobs {
		a, err := m.applyTo(ctx, j.in, j.out, o, movers)
		if err != nil {
			return out, err
		}
		out = append(out, *a)
	}
	return out, nil
}

// fillsAtOnce is how many batches are morphed at a time: what one of them does on one thread, the others fill with work. More would cost memory.
const fillsAtOnce = 4

// movers makes one mover for each batch that is morphed at a time and shares the threads out among them.
func (m *Model) movers(threads int) (movers []*mover, done func()) {
	if threads <= 0 {
		threads = par.Threads()
	}
	n := min(threads, fillsAtOnce)
	var pools []*ad.Pool
	for i := range n {
		pools = append(pools, ad.NewPool(threads*(i+1)/n-threads*i/n))
		movers = append(movers, m.net.mover(pools[i]))
	}
	return movers, func() {
		for _, p := range pools {
			p.Close()
		}
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func isDir(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.IsDir()
}

func sameFile(a, b string) bool {
	x, err1 := os.Stat(a)
	y, err2 := os.Stat(b)
	return err1 == nil && err2 == nil && os.SameFile(x, y)
}

// target is a new branch that holds features.
type target struct {
	column   rootio.WriteColumn
	source   string      // branch whose values it copies, "" for a computed one
	elements map[int]int // element -> feature; -1: the scalar, or the row's own element
	feature  int         // of a computed one, -1
	obs      int         // of an observable, -1
}

type applier struct {
	m       *Model
	sample  physics.Sample
	prog    *physics.Program
	lay     *layout
	movers  chan *mover // that no batch uses
	targets []target
	define  map[string]string
	weight  *physics.Expr
	scale   float64
	exprs   map[string]*physics.Expr // of computed columns, by name
	photon  bool
	shape   string // a branch of the row's collection
	mu      sync.Mutex
	res     *Applied // mu
}

// sampleOf says how files that are to be morphed are selected and weighed.
func (m *Model) sampleOf(files []string, label string) (physics.Sample, error) {
	i, err := m.cfg.inputOf(files, label)
	if err != nil {
		return physics.Sample{}, err
	}
	s := m.cfg.Samples(Simulation)[i]
	if runs := m.Training.Runs; i < len(runs) && runs[i] > 0 {
		divide(&s, runs[i])
	}
	return s, nil
}

func (m *Model) applyTo(ctx context.Context, in []string, path string, o ApplyOptions, movers []*mover) (*Applied, error) {
	sample, err := m.sampleOf(in, o.Label)
	if err != nil {
		return nil, err
	}
	tree := o.Tree
	if tree == "" {
		tree = sample.Tree
	}
	chain, err := rootio.Open(ctx, in, tree, rootio.Options{Guard: o.Guard})
	if err != nil {
		return nil, err
	}
	defer chain.Close()
	branches := chain.Branches()
	a := &applier{m: m, sample: sample, scale: 1, movers: make(chan *mover, len(movers)), res: &Applied{Path: path, Tree: chain.Tree}, exprs: map[string]*physics.Expr{}}
	for _, mov := range movers {
		a.movers <- mov
	}
	cfg := *m.cfg
	cfg.Split.Train, cfg.Validation.Slices = "", nil
	a.lay, err = cfg.lay(branches, sample)
	if err == nil {
		a.prog, err = physics.Prepare(branches, sample, a.lay.morphColumns())
	}
	if err != nil {
		if errors.Is(err, rootio.ErrColumns) || errors.Is(err, physics.ErrExpr) {
			return nil, fmt.Errorf("morph: could not apply the model to %q: %w: %w", in[0], ErrColumns, misfit(m.cfg, sample, in[0], branches, err))
		}
		return nil, err
	}
	if sample.Scale > 0 {
		a.scale = sample.Scale
	}
	suffix := o.Suffix
	if suffix == "" {
		suffix = m.cfg.Output.Suffix
	}
	a.define = cfg.define(a.lay.kinds)
	if err := a.sane(ctx, chain); err != nil {
		return nil, err
	}
	add, err := a.plan(branches, suffix)
	if err != nil {
		return nil, err
	}
	need := slices.Clone(a.prog.Branches())
	for _, t := range a.targets {
		if t.source != "" && !slices.Contains(need, t.source) {
			need = append(need, t.source)
		}
	}
	opt := rootio.CopyOptions{Progress: o.Progress, Fills: len(movers)}
	if o.Shards > 0 {
		entries := chain.Entries()
		opt.Lo, opt.Hi = entries*int64(o.Shard-1)/int64(o.Shards), entries*int64(o.Shard)/int64(o.Shards)
		if opt.Lo == opt.Hi {
			opt.Lo, opt.Hi = entries, entries // none: an end of 0 would be all
		}
		opt.Bare = o.Shard > 1 // other trees belong to the sample as a whole: the first shard has them
	}
	if o.Friend || m.cfg.Output.Friend {
		a.res.Report, err = chain.Friend(ctx, path, m.cfg.ID, add, a.fill, need, opt)
	} else {
		a.res.Report, err = chain.Copy(ctx, path, add, a.fill, need, opt)
	}
	if err != nil {
		return nil, err
	}
	for _, c := range add {
		a.res.Columns = append(a.res.Columns, c.Name)
	}
	a.res.Stale = stale(branches, a.targets)
	return a.res, nil
}

// cutIndex splits B[i] into branch and element; a plain name has element -1, another expression no branch.
func cutIndex(expr string) (branch string, element int, ok bool) {
	s := squash(expr)
	name, rest, indexed := strings.Cut(s, "[")
	if !nameForm.MatchString(strings.ReplaceAll(name, ".", "_")) {
		return "", 0, false
	}
	if !indexed {
		return name, -1, true
	}
	i, err := strconv.Atoi(strings.TrimSuffix(rest, "]"))
	if err != nil || i < 0 {
		return "", 0, false
	}
	return name, i, true
}

// plan decides on the new branches.
func (a *applier) plan(branches []rootio.Branch, suffix string) ([]rootio.WriteColumn, error) {
	byName := map[string]rootio.Branch{}
	for _, b := range branches {
		byName[b.Name] = b
	}
	cfg := a.m.cfg
	for i, f := range cfg.FeatureSpecs() {
		branch, element, plain := cutIndex(f.source())
		b, exists := byName[branch]
		if !plain || !exists {
			t := target{column: rootio.WriteColumn{Name: f.Name + suffix, Kind: rootio.Kind{Elem: rootio.Float32, Len: 1}}, feature: i, obs: -1}
			a.targets = append(a.targets, t)
			continue
		}
		if k := slices.IndexFunc(a.targets, func(t target) bool { return t.source == branch }); k >= 0 {
			a.targets[k].elements[element] = i
			continue
		}
		col := b.Column()
		col.Name = branch + suffix
		if e := col.Kind.Elem; !e.Numeric() || e == rootio.Bool {
			return nil, fmt.Errorf("morph: could not morph branch %q: it holds %s: %w", branch, e, ErrInput)
		}
		a.targets = append(a.targets, target{column: col, source: branch, elements: map[int]int{element: i}, feature: -1, obs: -1})
	}
	for i, o := range a.lay.observables {
		if o.morphs() {
			a.targets = append(a.targets, target{column: rootio.WriteColumn{Name: o.name + suffix, Kind: rootio.Kind{Elem: rootio.Float64, Len: 1}}, feature: -1, obs: i})
		}
	}
	status := rootio.WriteColumn{Name: "morph_status", Kind: rootio.Kind{Elem: rootio.Uint8, Len: 1}}
	kin := rootio.WriteColumn{Name: "morph_kinweight", Kind: rootio.Kind{Elem: rootio.Float64, Len: 1}}
	w := rootio.WriteColumn{Name: "morph_weight", Kind: rootio.Kind{Elem: rootio.Float64, Len: 1}}
	if cfg.Row != "event" {
		a.photon = true
		for _, t := range a.targets {
			if t.source != "" && a.prog.InCollection(t.source) {
				a.shape = t.source
			}
		}
		if a.shape == "" {
			return nil, fmt.Errorf("morph: could not write rows of %q: no feature is a branch of the collection: %w", cfg.Row, ErrConfig)
		}
		for _, c := range []*rootio.WriteColumn{&status, &kin, &w} {
			shape := byName[a.shape].Column()
			c.Kind.Form, c.Counter = shape.Kind.Form, shape.Counter
		}
		for i := range a.targets {
			if t := &a.targets[i]; t.source == "" {
				shape := byName[a.shape].Column()
				t.column.Kind.Form, t.column.Counter = shape.Kind.Form, shape.Counter
			}
		}
	}
	var add []rootio.WriteColumn
	for _, t := range a.targets {
		add = append(add, t.column)
	}
	add = append(add, status, kin, w)
	for _, c := range add {
		if _, taken := byName[c.Name]; taken {
			return nil, fmt.Errorf("morph: could not add branch %q: the input has it already (was it morphed before? choose another --suffix): %w", c.Name, ErrInput)
		}
	}
	var err error
	if a.weight, err = a.compile(a.sample.Weight); err != nil {
		return nil, err
	}
	for _, t := range a.targets {
		switch {
		case t.feature >= 0:
			a.exprs[t.column.Name], err = a.compile(a.lay.expr(a.m.enc.Names()[t.feature]))
		case t.obs >= 0:
			a.exprs[t.column.Name], err = a.compile(a.lay.observables[t.obs].expr)
		}
		if err != nil {
			return nil, err
		}
	}
	return add, nil
}

// compile prepares an expression for the rows of the program; nil for none.
func (a *applier) compile(expr string) (*physics.Expr, error) {
	if expr == "" {
		return nil, nil
	}
	expr, err := inline(expr, a.define)
	if err != nil {
		return nil, err
	}
	return physics.Compile(expr, a.lay.kinds)
}

// fill computes the new branches of a batch.
func (a *applier) fill(b *rootio.Batch) (map[string]*rootio.Values, error) {
	mov := <-a.movers
	defer func() { a.movers <- mov }()
	t, _, err := a.prog.Run(b)
	if err != nil {
		return nil, err
	}
	keys, err := a.m.cfg.keys(t, 0)
	if err != nil {
		return nil, err
	}
	values, status, err := a.m.moved(t, keys, mov)
	if err != nil {
		return nil, err
	}
	factors, err := a.m.kinematic(t, mov.threads)
	if err != nil {
		return nil, err
	}
	if factors == nil {
		factors = ones(t.Len())
	}
	work, err := a.prog.Rows(b)
	if err != nil {
		return nil, err
	}
	return a.scatter(b, work, t, status, values, factors)
}

// scatter puts the values of selected rows into columns that have every row of the batch. work has the batch as expressions see it.
func (a *applier) scatter(b, work *rootio.Batch, t *physics.Table, status []uint8, values [][]float64, factors []float64) (map[string]*rootio.Values, error) {
	n := t.Len()
	row := make([]int, n)          // of the batch
	at := row                      // of work
	others := make([]bool, work.N) // rows of work that are not selected
	for i := range row {
		row[i] = int(entry(t, i) - b.Lo)
	}
	if a.photon {
		at = make([]int, n)
		off := b.Cols[a.shape].Off
		for i := range at {
			at[i] = int(off[row[i]]) + int(t.Elem[i])
		}
	}
	for i := range others {
		others[i] = true
	}
	for _, r := range at {
		others[r] = false
	}
	var rest []int
	for i, o := range others {
		if o {
			rest = append(rest, i)
		}
	}
	out := map[string]*rootio.Values{}
	for _, tg := range a.targets {
		if tg.source != "" {
			v := b.Cols[tg.source].Clone()
			for element, f := range tg.elements {
				for i := range n {
					to := at[i]
					if element >= 0 && v.Off != nil {
						to = int(v.Off[row[i]]) + element
					}
					v.SetFloat(to, values[f][i])
				}
			}
			out[tg.column.Name] = v
			continue
		}
		h := []float64(nil)
		if tg.feature >= 0 {
			h = values[tg.feature]
		} else {
			var err error
			if h, err = observe(a.lay.observables[tg.obs], t, values); err != nil {
				return nil, err
			}
		}
		v := a.empty(b, tg.column.Kind)
		own(work, a.exprs[tg.column.Name], rest, v)
		for i, r := range at {
			v.SetFloat(r, h[i])
		}
		out[tg.column.Name] = v
	}
	return out, a.flags(b, work, t, at, status, factors, out)
}

// empty is a column of zeros with a value for each row, or each element of the row's collection.
func (a *applier) empty(b *rootio.Batch, k rootio.Kind) *rootio.Values {
	size := b.N
	v := &rootio.Values{Kind: k}
	if a.photon {
		v.Off = slices.Clone(b.Cols[a.shape].Off)
		size = int(v.Off[b.N])
	}
	switch k.Elem {
	case rootio.Float32:
		v.F32 = make([]float32, size)
	case rootio.Float64:
		v.F64 = make([]float64, size)
	default:
		v.U = make([]uint64, size)
	}
	return v
}

// own sets what a computed column holds in rows that are not morphed: the row's own value; 0 where it has none, because an element is missing or the value
// is no number.
func own(work *rootio.Batch, e *physics.Expr, rows []int, v *rootio.Values) {
	if len(rows) == 0 {
		return
	}
	h, err := e.Eval(work, rows)
	if err == nil {
		for k, r := range rows {
			v.SetFloat(r, finite(h[k]))
		}
	} else if len(rows) > 1 {
		own(work, e, rows[:len(rows)/2], v)
		own(work, e, rows[len(rows)/2:], v)
	}
}

func finite(x float64) float64 {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return 0
	}
	return x
}

// flags adds status and weights.
func (a *applier) flags(b, work *rootio.Batch, t *physics.Table, at []int, status []uint8, factors []float64, out map[string]*rootio.Values) error {
	kind := rootio.Kind{Elem: rootio.Float64, Len: 1}
	st := rootio.Kind{Elem: rootio.Uint8, Len: 1}
	if a.photon {
		kind.Form, st.Form = b.Cols[a.shape].Kind.Form, b.Cols[a.shape].Kind.Form
	}
	s, k, w := a.empty(b, st), a.empty(b, kind), a.empty(b, kind)
	for i := range k.F64 {
		k.F64[i], w.F64[i] = 1, a.scale
	}
	if a.weight != nil {
		h, err := a.weight.Eval(work, nil)
		if err != nil {
			return err
		}
		for i, x := range h {
			w.F64[i] = x * a.scale
		}
	}
	selected := [4]int64{}
	for i, r := range at {
		selected[status[i]]++
		s.U[r], k.F64[r], w.F64[r] = uint64(status[i]), factors[i], weight(t, i)*factors[i]
	}
	selected[StatusNotSelected] += int64(len(s.U) - len(at))
	a.mu.Lock()
	for c, v := range selected {
		a.res.Status[c] += v
	}
	a.mu.Unlock()
	out["morph_status"], out["morph_kinweight"], out["morph_weight"] = s, k, w
	return nil
}

// derivedFrom lists branches that are made from others: their last parts, and what they are made from.
var derivedFrom = map[string][]string{
	"cutBased": {"hoe", "sieie", "pfChargedIso", "pfRelIso03_all", "pfRelIso03_chg"}, "cutBased_bitmap": {"hoe", "sieie", "pfChargedIso"},
	"vidNestedWPBitmap": {"hoe", "sieie", "pfChargedIso"}, "mvaID": {"r9", "sieie", "s4", "etaWidth", "phiWidth", "pfChargedIso", "pfPhoIso03"},
	"mvaID_WP80": {"mvaID"}, "mvaID_WP90": {"mvaID"}, "isTightID": {"r9", "sieie"}, "isTightIso": {"ptcone20", "topoetcone40"},
	"isLooseIso": {"ptcone20", "topoetcone40"}, "m_gg": {"pt", "lead_pt", "sublead_pt"}, "mass": {"pt"},
}

// stale lists branches of the input that follow from morphed ones by the names that experiments give them.
func stale(branches []rootio.Branch, targets []target) []string {
	var moved []string
	for _, t := range targets {
		if t.source != "" {
			moved = append(moved, t.source)
		}
	}
	last := func(s string) string {
		for _, prefix := range []string{"Photon_", "photon_", "lead_", "sublead_", "probe_", "pho_"} {
			s = strings.TrimPrefix(s, prefix)
		}
		return s
	}
	var out []string
	for _, b := range branches {
		if slices.Contains(moved, b.Name) {
			continue
		}
		from := derivedFrom[last(b.Name)]
		if slices.ContainsFunc(moved, func(m string) bool { return slices.Contains(from, last(m)) }) {
			out = append(out, b.Name)
		}
	}
	return out
}
