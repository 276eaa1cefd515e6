package morph

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"hepmorph/physics"
	"hepmorph/physics/rootio"
)

const (
	saneEntries = 20000 // of a file are looked at before it is morphed
	saneRows    = 20    // fewer selected ones prove nothing
)

// sane looks at the beginning of the files that are to be morphed: columns in another unit, as MeV against GeV, or with no row where the training had any, are an
// error that matches ErrColumns. Where the selection leaves nothing, as it does in another unit, the rows before its last cuts are looked at.
func (a *applier) sane(ctx context.Context, chain *rootio.Chain) error {
	sample := a.sample
	all := len(sample.Select)
	for cuts := all; cuts >= 0; cuts-- {
		sample.Select = sample.Select[:cuts]
		prog, err := physics.Prepare(chain.Branches(), sample, a.lay.columns)
		if err != nil {
			return err
		}
		t, err := beginning(ctx, prog, chain)
		if err != nil {
			if cuts < all {
				return nil // what needs a cut can't be computed without it; morphing will say what is wrong with the rest
			}
			return err
		}
		if t.Len() >= saneRows || cuts == all && t.Len() > 0 {
			return a.compare(t, chain.Files[0].Path, cuts == all)
		}
	}
	return nil
}

// beginning reads the rows of the first entries of the first file.
func beginning(ctx context.Context, prog *physics.Program, chain *rootio.Chain) (*physics.Table, error) {
	out := physics.NewTable(0)
	err := chain.Read(ctx, prog.Branches(), 0, min(chain.Files[0].Entries, saneEntries), func(b *rootio.Batch) error {
		t, _, err := prog.Run(b)
		if err != nil || t.Len() == 0 {
			return err
		}
		return out.Append(t)
	})
	return out, err
}

// compare holds the columns of a file against those of the training.
func (a *applier) compare(t *physics.Table, file string, selected bool) error {
	check := func(name, unit string, trained, lo, hi float64, inside func(v float64) (use, in bool)) error {
		col, err := t.Col(name)
		if err != nil {
			return err
		}
		var x []float64
		n := 0
		for _, v := range col {
			use, in := inside(v)
			if !use {
				continue
			}
			if x = append(x, v); in {
				n++
			}
		}
		if len(x) < saneRows {
			return nil
		}
		median := size(x, nil)
		if differentUnits([2]float64{trained, median}) {
			if unit != "" {
				unit = ", in " + unit
			}
			return fmt.Errorf("morph: could not apply the model to %q: the median size of %q is %.4g there and was %.4g in the training%s: %w (another unit, MeV against GeV? write the file in the unit of the training, or train on files like it)",
				file, name, median, trained, unit, ErrColumns)
		}
		if selected && n == 0 {
			return fmt.Errorf("morph: could not apply the model to %q: all of the first %d values of %q lie outside [%.4g, %.4g], where the model was trained: %w (it is for other events: train on files like it)",
				file, len(x), name, lo, hi, ErrColumns)
		}
		return nil
	}
	for i := range a.m.enc.Features {
		f := &a.m.enc.Features[i]
		err := check(f.Spec.Name, f.Spec.Unit, f.Info.Size, f.Lo, f.Hi, func(v float64) (use, in bool) {
			c, _ := f.classify(v)
			return !math.IsNaN(v) && !math.IsInf(v, 0) && (c == tail || c == outside), c == tail
		})
		if err != nil {
			return err
		}
	}
	for i := range a.m.enc.Conditions {
		c := &a.m.enc.Conditions[i]
		if c.Periodic {
			continue
		}
		err := check(c.Spec.Name, c.Spec.Unit, c.Size, c.Lo, c.Hi, func(v float64) (use, in bool) {
			return !math.IsNaN(v) && !math.IsInf(v, 0), v >= c.Lo && v <= c.Hi
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// SameUnits refuses samples whose columns differ as MeV and GeV do.
func (c *Config) SameUnits(simulation, data *Events) error {
	for _, col := range c.Columns() {
		if col.Role != physics.Feature && col.Role != physics.Condition {
			continue
		}
		f, _ := c.Features.Get(col.Name)
		cols, err := both(col.Name, []*physics.Table{simulation.Table, data.Table})
		if err != nil {
			return err
		}
		if s := [2]float64{size(cols[0], f.Sentinels), size(cols[1], f.Sentinels)}; differentUnits(s) {
			return fmt.Errorf("morph: could not compare the samples: the median size of %q is %.4g in simulation and %.4g in data: MeV against GeV? (write one of them again in the unit of the other): %w", col.Name, s[0], s[1], ErrInput)
		}
	}
	return nil
}

// missing lists the branches that the expressions of a sample need and a tree has not.
func (c *Config) missing(s physics.Sample, branches []rootio.Branch) []string {
	define := map[string]string{}
	for _, d := range s.Define {
		define[d.Name] = d.Expr
	}
	exprs := append([]string{s.Weight}, s.Select...)
	for _, col := range c.Columns() {
		exprs = append(exprs, col.Expr)
	}
	var out []string
	for _, e := range exprs {
		e, err := inline(e, define)
		if err != nil || e == "" {
			continue
		}
		var x *physics.ExprError
		_, err = physics.Prepare(branches, physics.Sample{Row: s.Row}, []physics.Column{{Name: "a value", Expr: e}})
		if !errors.As(err, &x) || x.Want == "" || slices.Contains(out, x.Want) || slices.ContainsFunc(branches, func(b rootio.Branch) bool { return b.Name == x.Want }) {
			continue
		}
		out = append(out, x.Want)
	}
	return out
}

// misfit says what to do about columns that a file has not.
func misfit(cfg *Config, s physics.Sample, file string, branches []rootio.Branch, err error) error {
	want := ""
	var x *physics.ExprError
	var r *rootio.Error
	switch {
	case errors.As(err, &x):
		want = x.Want
	case errors.As(err, &r) && errors.Is(err, rootio.ErrColumns):
		want = r.Want
	}
	var names []string
	for _, b := range branches {
		if b.Name == want {
			return err
		}
		if b.Kind.Readable() {
			names = append(names, b.Name)
		}
	}
	switch {
	case want == "":
		return err
	case slices.Contains(cfg.ID, want):
		return fmt.Errorf("%w (%q is in id: it keeps the random numbers of an event the same; add the branch to the file, or give id: [] in the config to take the number of the entry, and train)", err, want)
	}
	near := ""
	if n := rootio.Nearest(want, names, 3); len(n) > 0 && (x == nil || len(x.Have) == 0) {
		near = ", but " + strings.Join(n, ", ")
	}
	also := slices.DeleteFunc(cfg.missing(s, branches), func(m string) bool { return m == want })
	for i, m := range also {
		if n := rootio.Nearest(m, names, 2); len(n) > 0 {
			also[i] += " (nearest: " + strings.Join(n, ", ") + ")"
		}
	}
	if len(also) > 0 {
		near += "; it lacks too " + strings.Join(also, ", ")
	}
	return fmt.Errorf("%w (there is no %q%s: use the names of the file; hepmorph morph init %s proposes a config)", err, want, near, file)
}
