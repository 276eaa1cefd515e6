package morph

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"hepmorph/internal/config"
	"hepmorph/physics"
	"hepmorph/physics/rootio"
)

// ProposeOptions say what a configuration is proposed for.
type ProposeOptions struct {
	Simulation string
	Data       string // "": the same file stands in its place
	Tree       string // of both files; "": the one with most branches
	Preset     string // "": found out from the branches
	Read       rootio.Options
}

// proposeRows is how many selected rows of a file are looked at, proposeEntries how many entries are read for them.
const (
	proposeRows    = 40000
	proposeEntries = 1000000
	fewRows        = 50  // a selection that leaves fewer is loosened
	pairShare      = 0.1 // of the events; from here on it is a sample of pairs
)

// errEnough ends the reading of a file.
var errEnough = errors.New("enough rows")

// treeOf is a file whose tree is proposed for.
type treeOf struct {
	file, tree string
	entries    int64
	branches   []rootio.Branch
}

// Propose prints a commented configuration for two files, or for one: columns by the names that the branches have, and atoms, sentinels and mantissa bits by
// their values. It runs as it is. Errors match ErrInput, or are those of reading.
func Propose(ctx context.Context, o ProposeOptions) ([]byte, error) {
	var files [2]treeOf
	for d, f := range []string{o.Simulation, o.Data} {
		if f == "" {
			files[d] = files[Simulation]
			continue
		}
		var err error
		if files[d], err = pickTree(ctx, f, o.Tree, o.Read); err != nil {
			return nil, err
		}
		if files[d].entries == 0 {
			return nil, fmt.Errorf("morph: could not propose a config for %q: its tree %q has no entries (give a file with events, or another --tree): %w", f, files[d].tree, ErrInput)
		}
	}
	common := slices.DeleteFunc(slices.Clone(files[Simulation].branches), func(b rootio.Branch) bool {
		return !slices.ContainsFunc(files[Data].branches, func(d rootio.Branch) bool { return d.Name == b.Name && d.Kind.Readable() })
	})
	candidates, err := layouts(o, files[Simulation], common)
	if err != nil {
		return nil, err
	}
	var best *Config
	var tables [2]*physics.Table
	var about proposed
	most := -1
	for i, p := range candidates {
		c := configOf(p.Preset, InputConfig{Files: []string{files[Simulation].file}, Tree: files[Simulation].tree}, InputConfig{Files: []string{files[Data].file}, Tree: files[Data].tree})
		if i == 0 {
			best, about = c, p
		}
		t, share, err := sampleRows(ctx, c, files, o.Read)
		if err != nil {
			return nil, err
		}
		n := min(t[0].Len(), t[1].Len())
		score := n
		if n >= fewRows {
			if score += 100 * proposeRows; c.Row != "event" {
				score = n/10 + 100*proposeRows // pairs have what single photons have, and their mass
			}
		}
		if score > most {
			best, about, tables, most = c, p, t, score
		}
		if n >= fewRows && (c.Row != "event" || i+1 == len(candidates) || candidates[i+1].Row == "" || share > pairShare) {
			break
		}
	}
	notes := []string{fmt.Sprintf("proposed by hepmorph morph init for %s, tree %s: %s", o.Simulation, files[Simulation].tree, about.About)}
	if o.Data == "" {
		notes = append(notes, "ONE FILE WAS GIVEN: it stands for the data as well, so that this runs. Edit inputs.data, or give --data.")
	}
	n := [2]int{}
	if tables[0] != nil {
		n = [2]int{tables[0].Len(), tables[1].Len()}
	}
	notes = append(notes, fmt.Sprintf("looked at %d selected rows of simulation and %d of data", n[0], n[1]))
	if min(n[0], n[1]) < fewRows {
		notes = append(notes, "TOO FEW ROWS to tell much from their values: look at atoms, sentinels and mantissas yourself")
		best.Split = Split{Validation: 0.3} // none can be spared
	}
	more, err := best.fromValues(tables)
	if err != nil {
		return nil, err
	}
	notes = append(notes, more...)
	if len(about.skipped) > 0 {
		notes = append(notes, "other versions of the same, not proposed: "+strings.Join(about.skipped, " "))
	}
	notes = append(notes, about.Notes...)
	if len(best.Features) == 0 {
		return nil, fmt.Errorf("morph: could not propose a config for %q: no column of tree %q varies: %w", o.Simulation, files[Simulation].tree, ErrInput)
	}
	notes = append(notes, "next: hepmorph morph check -c THIS; hepmorph morph train -c THIS --out run")
	text, err := commented(best, notes...)
	if err != nil {
		return nil, err
	}
	if _, err := DecodeConfig("the proposal", text); err != nil {
		return nil, fmt.Errorf("morph: could not propose a config for %q: %w", o.Simulation, err)
	}
	return text, nil
}

// pickTree finds the tree of a file.
func pickTree(ctx context.Context, file, tree string, read rootio.Options) (treeOf, error) {
	list, err := rootio.List(ctx, file, read)
	if err != nil {
		return treeOf{}, err
	}
	var best *rootio.TreeInfo
	var names []string
	why := ""
	for i, t := range list {
		if t.Why != "" {
			why = fmt.Sprintf("%s: %s", t.Path, t.Why)
		}
		if !t.IsTree() || t.Why != "" {
			continue
		}
		names = append(names, t.Path)
		if t.Path == tree || tree == "" && (best == nil || len(t.Branches) > len(best.Branches)) {
			best = &list[i]
		}
	}
	if best == nil {
		return treeOf{}, &rootio.Error{Op: "find tree", Want: tree, File: file, Kind: rootio.ErrTree, Why: why, Have: rootio.Nearest(tree, names, 5)}
	}
	return treeOf{file, best.Path, best.Entries, best.Branches}, nil
}

// layouts lists what may fit, best first.
func layouts(o ProposeOptions, sim treeOf, common []rootio.Branch) ([]proposed, error) {
	weight := func(p *proposed) { // data need not have the weight
		q := proposed{}
		q.event(columnsOfTree(sim.branches))
		p.Weight, p.XSec, p.KFactor, p.FilterEff, p.SumOfWeights = q.Weight, q.XSec, q.KFactor, q.FilterEff, q.SumOfWeights
	}
	have := map[string]bool{}
	for _, b := range common {
		have[b.Name] = true
	}
	if o.Preset != "" {
		p, err := physics.GetPreset(o.Preset)
		if err != nil {
			return nil, err
		}
		q := proposed{Preset: p}
		q.ID = slices.DeleteFunc(slices.Clone(p.ID), func(id string) bool { return !have[id] })
		q.reduce(sim.branches, common)
		return []proposed{q}, nil
	}
	c := columnsOfTree(common)
	var out []proposed
	if ph, ok := findPhotons(c); ok {
		for _, k := range []struct {
			kind   rows
			strict bool
			about  string
		}{{rowPair, true, "two photons of an event"}, {rowPhoton, true, "every photon"}, {rowPair, false, "two photons of an event, all of them"},
			{rowPhoton, false, "every photon, without selection"}, {rowOne, true, "one photon of an event"}, {rowOne, false, "one photon of an event, without selection"}} {
			if p, ok := layoutFor(c, ph, k.kind, k.strict); ok {
				p.About = k.about
				weight(&p)
				out = append(out, p)
			}
		}
		if len(out) > 0 {
			return out, nil
		}
	}
	if p, ok := physics.GuessPreset(sim.tree, common); ok {
		p.ID = slices.DeleteFunc(slices.Clone(p.ID), func(id string) bool { return !have[id] })
		return []proposed{{Preset: p}}, nil
	}
	p := proposed{Preset: physics.Preset{About: "no known layout: all plain floating-point numbers are proposed as features", Notes: []string{
		"move to conditions what the morph depends on and must not change, delete what is neither"}}}
	p.event(c)
	weight(&p)
	for _, b := range common {
		plain := b.Kind.Form == rootio.Scalar && (b.Kind.Elem == rootio.Float32 || b.Kind.Elem == rootio.Float64)
		if plain && simpleName.MatchString(b.Name) && !slices.Contains(weightFactors, b.Name) && !slices.Contains(normalisationNames, b.Name) {
			p.Features = append(p.Features, physics.Spec{Name: b.Name})
		}
	}
	if len(p.Features) == 0 {
		return nil, fmt.Errorf("morph: could not propose a config for %q: tree %q has no photons and no plain number that could be a feature (another --tree?): %w", o.Simulation, sim.tree, ErrInput)
	}
	return []proposed{p}, nil
}

// reduce takes away what a preset has and the files have not.
func (p *proposed) reduce(sim, common []rootio.Branch) {
	var without []string
	compiles := func(branches []rootio.Branch, what string, s physics.Sample, cols ...physics.Column) bool {
		s.Define, s.Row = p.Define, p.Row
		_, err := physics.Prepare(branches, s, cols)
		if err != nil {
			without = append(without, what)
		}
		return err == nil
	}
	defs := p.Define
	p.Define = nil
	for _, d := range defs {
		if compiles(common, d.Name, physics.Sample{}, physics.Column{Name: d.Name, Expr: d.Expr}) {
			p.Define = append(p.Define, d)
		}
	}
	for _, specs := range []*[]physics.Spec{&p.Features, &p.Conditions, &p.Observables} {
		*specs = slices.DeleteFunc(slices.Clone(*specs), func(s physics.Spec) bool {
			return !compiles(common, s.Name, physics.Sample{}, physics.Column{Name: s.Name, Expr: s.Expr})
		})
	}
	p.Select = slices.DeleteFunc(slices.Clone(p.Select), func(cut string) bool { return !compiles(common, cut, physics.Sample{Select: []string{cut}}) })
	p.Slices = slices.DeleteFunc(slices.Clone(p.Slices), func(cut string) bool { return !compiles(common, cut, physics.Sample{Select: []string{cut}}) })
	if p.Weight != "" && !compiles(sim, p.Weight, physics.Sample{Weight: p.Weight}) {
		p.Weight = ""
	}
	for _, factor := range []string{p.XSec, p.KFactor, p.FilterEff, p.SumOfWeights} {
		if factor != "" && !compiles(sim, factor, physics.Sample{Weight: factor}) {
			p.XSec, p.KFactor, p.FilterEff, p.SumOfWeights = "", "", "", ""
		}
	}
	if p.Split != "" && !compiles(common, p.Split, physics.Sample{Select: []string{p.Split}}) {
		p.Split = physics.EntryName + " % 10 < 7"
	}
	if len(without) > 0 {
		p.Notes = append(slices.Clone(p.Notes), "of the preset left out, as the files have not what it needs (without --preset other names are looked for): "+strings.Join(without, "; "))
	}
}

// sampleRows reads the selected rows at the beginning of both files. share is the smaller of their shares of selected rows.
func sampleRows(ctx context.Context, c *Config, files [2]treeOf, read rootio.Options) (out [2]*physics.Table, share float64, err error) {
	share = 1
	for d, f := range files {
		if d == int(Data) && f.file == files[Simulation].file && f.tree == files[Simulation].tree {
			out[d] = out[Simulation]
			continue
		}
		s := c.Samples(Domain(d))[0]
		l, err := c.lay(f.branches, s)
		if err != nil {
			return out, 0, fmt.Errorf("%s: %w", f.file, err)
		}
		prog, err := physics.Prepare(f.branches, s, l.columns)
		if err != nil {
			return out, 0, fmt.Errorf("%s: %w", f.file, err)
		}
		chain, err := rootio.Open(ctx, []string{f.file}, f.tree, read)
		if err != nil {
			return out, 0, err
		}
		defer chain.Close()
		out[d] = physics.NewTable(0)
		rows := int64(0)
		err = chain.Read(ctx, prog.Branches(), 0, min(f.entries, proposeEntries), func(b *rootio.Batch) error {
			t, flow, err := prog.Run(b)
			if err != nil {
				return fmt.Errorf("%s: %w", f.file, err)
			}
			rows += flow[0].Entries
			if t.Len() > 0 {
				if err := out[d].Append(t); err != nil {
					return err
				}
			}
			if out[d].Len() >= proposeRows {
				return errEnough
			}
			return nil
		})
		if err != nil && !errors.Is(err, errEnough) {
			return out, 0, err
		}
		share = min(share, float64(out[d].Len())/math.Max(1, float64(rows)))
	}
	return out, share, nil
}

// fromValues completes features by their values and drops columns that can't be used. It returns what there is to say of it.
func (c *Config) fromValues(t [2]*physics.Table) ([]string, error) {
	if t[0] == nil || t[1] == nil || t[0].Len() == 0 || t[1].Len() == 0 {
		return nil, nil
	}
	var notes []string
	say := func(format string, args ...any) { notes = append(notes, fmt.Sprintf(format, args...)) }
	columns := func(name string) (cols [2][]float64, err error) {
		for d := range t {
			if cols[d], err = t[d].Col(name); err != nil {
				return cols, err
			}
		}
		return cols, nil
	}
	var kept [][2][]float64
	var keptNames []string
	twin := func(cols [2][]float64) string {
		for i, k := range kept {
			if equalColumns(k[0], cols[0]) && equalColumns(k[1], cols[1]) {
				return keptNames[i]
			}
		}
		return ""
	}
	var conditions config.Map[ConditionSpec]
	for _, it := range c.Conditions {
		cols, err := columns(it.Name)
		if err != nil {
			return nil, err
		}
		l := lookAt(cols, nil, nil)
		switch other := twin(cols); {
		case l.constant():
			say("%s: constant here, left out", it.Name)
			continue
		case other != "":
			say("%s: the same as %s, left out", it.Name, other)
			continue
		case l.NotFinite[0]+l.NotFinite[1] > 0:
			say("%s: has values that are not finite, left out (select them away to use it)", it.Name)
			continue
		}
		kept, keptNames = append(kept, cols), append(keptNames, it.Name)
		conditions = append(conditions, it)
	}
	c.Conditions = conditions
	if len(c.Conditions) == 0 {
		c.Reweight.Method = "none"
	}
	var features config.Map[FeatureSpec]
	for _, it := range c.Features {
		cols, err := columns(it.Name)
		if err != nil {
			return nil, err
		}
		l := lookAt(cols, nil, nil)
		switch other := twin(cols); {
		case l.Distinct < 2, constantIn(cols, l):
			say("%s: constant here, left out", it.Name)
			continue
		case other != "":
			say("%s: the same as %s, left out", it.Name, other)
			continue
		}
		kept, keptNames = append(kept, cols), append(keptNames, it.Name)
		f := it.Value
		f.Sentinels = slices.Concat(l.Odd, l.Sentinels)
		f.Atom, f.Integer, f.Mantissa = l.Atom, l.Integer, l.Mantissa
		if f.Integer {
			f.Mantissa = 0
		}
		lowest := l.Min
		if l.Atom != nil {
			lowest = *l.Atom
		}
		if len(f.Bounds) == 2 && (lowest < f.Bounds[0] || l.Max > f.Bounds[1]) {
			f.Bounds = nil
		}
		if len(f.Gap) > 0 {
			f.Gap = nil
		}
		if len(f.Sentinels) > 0 {
			say("%s: %.2f %% of simulation and %.2f %% of data hold a sentinel (%v), which is kept", it.Name, percent(l.Sentinel[0]+l.NotFinite[0], l.Rows[0]), percent(l.Sentinel[1]+l.NotFinite[1], l.Rows[1]), []float64(f.Sentinels))
		}
		if f.Atom != nil {
			say("%s: %.1f %% of simulation and %.1f %% of data are exactly %v", it.Name, percent(l.AtomRows[0], l.Rows[0]), percent(l.AtomRows[1], l.Rows[1]), *f.Atom)
		}
		features = append(features, config.Item[FeatureSpec]{Name: it.Name, Value: f})
	}
	c.Features = features
	for i := range c.Observables {
		o := &c.Observables[i].Value
		if len(o.Blind) != 2 {
			continue
		}
		say("%s is blind in [%g, %g): rows there are in no training and no figure", c.Observables[i].Name, o.Blind[0], o.Blind[1])
	}
	return notes, nil
}

func percent(n, of int) float64 { return 100 * float64(n) / math.Max(1, float64(of)) }

// constantIn reports whether one of the samples has only one value beside sentinels and atom.
func constantIn(cols [2][]float64, l *columnLook) bool {
	for _, c := range cols {
		first, set, varies := 0.0, false, false
		for _, v := range c {
			if v-v != 0 || l.Sentinels.holds(v) || l.Atom != nil && v == *l.Atom {
				continue
			}
			if varies = set && v != first; varies {
				break
			}
			first, set = v, true
		}
		if !varies {
			return true
		}
	}
	return false
}

func equalColumns(a, b []float64) bool {
	return len(a) == len(b) && slices.EqualFunc(a, b, func(x, y float64) bool { return x == y || x != x && y != y })
}
