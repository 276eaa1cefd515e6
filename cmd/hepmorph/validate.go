package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sort"
	"strings"

	"github.com/spf13/cobra"

	"hepmorph/morph"
	"hepmorph/physics/rootio"
	"hepmorph/validation"
	"hepmorph/validation/plot"
)

// validateOptions say what is compared.
type validateOptions struct {
	out        string
	simulation []string // other files than the config's
	data       []string
	reference  string
	quick      bool
	all        bool // all rows, not only those set aside from training
	strict     bool
	unblind    bool
	history    *plot.History
}

func (a *app) morphValidate() *cobra.Command {
	var model, conf string
	var set []string
	var o validateOptions
	c := &cobra.Command{Use: "validate -m MODEL | -c CONFIG --out DIR", Short: "compare simulation, morphed simulation and data", Args: cobra.NoArgs,
		Long: `Writes DIR/report.html (self-contained), metrics.json, summary.md, histograms.root and figures as PDF, PNG and SVG.
Every metric stands beside its value before the morph and its statistical floor. Rows that the model was trained on
are left out, if the config has a split. With a config instead of a model simulation and data are compared as they are.`,
		Example: "  hepmorph morph validate -m run/model.hmm --out report\n  hepmorph morph validate -m run/model.hmm --out report --reference truth.root --strict",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := required("out", o.out); err != nil {
				return err
			}
			var m *morph.Model
			var cfg *morph.Config
			var err error
			switch {
			case model != "" && conf != "":
				return usageError{errors.New("give a model or a config, not both")}
			case model != "" && len(set) > 0:
				return usageError{errors.New("--set changes a config; a model has its own")}
			case model != "":
				if m, err = morph.ReadModel(model); err == nil {
					cfg = m.Config()
				}
			case conf != "":
				cfg, err = a.loadConfig(conf, set)
			default:
				return usageError{errors.New("missing --model or --config")}
			}
			if err != nil {
				return err
			}
			rep, err := a.validate(cmd.Context(), cfg, m, o)
			if err != nil {
				return err
			}
			fmt.Fprintln(a.out, inside(o.out, "report.html"))
			a.logf("%s", rep.Headline())
			if worst := rep.Verdict.Worst; worst != nil {
				a.logf("worst slice: %s", worst)
			}
			if o.strict && len(rep.Failed()) > 0 {
				return errThreshold
			}
			return nil
		}}
	f := c.Flags()
	f.StringVarP(&model, "model", "m", "", "model file")
	f.StringVarP(&conf, "config", "c", "", "configuration, to compare without a model")
	f.StringVar(&o.out, "out", "", "folder of the report")
	f.StringArrayVar(&set, "set", nil, "override a value of the config: key=value, repeatable")
	f.StringSliceVar(&o.simulation, "simulation", nil, "files of the simulation instead of the config's")
	f.StringSliceVar(&o.data, "data", nil, "files of the data instead of the config's")
	f.StringVar(&o.reference, "reference", "", "file with a right answer, shown as a fourth sample")
	f.BoolVar(&o.quick, "quick", false, "smaller classifiers: seconds instead of minutes")
	f.BoolVar(&o.all, "all", false, "training rows too")
	f.BoolVar(&o.unblind, "unblind", false, "show the windows that the config declares blind")
	f.BoolVar(&o.strict, "strict", false, "exit with 7 if a target is missed")
	return c
}

func (a *app) validate(ctx context.Context, cfg *morph.Config, m *morph.Model, o validateOptions) (*validation.Report, error) {
	for _, name := range []string{"report.html", "metrics.json", "summary.md", "histograms.root"} {
		if err := a.unused(inside(o.out, name)); err != nil {
			return nil, err
		}
	}
	cfg = replaced(cfg, o.simulation, o.data)
	looked := cfg
	if o.unblind {
		looked = cfg.Unblinded()
	}
	cmp := newComparison(looked)
	load := func(d morph.Domain, c *morph.Config) (*morph.Events, []float64, []float64, error) {
		ev, err := c.Load(ctx, d, rootio.Options{Guard: true})
		if err != nil {
			return nil, nil, nil, err
		}
		if !o.all {
			if ev, err = ev.HeldOut(c); err != nil {
				return nil, nil, nil, err
			}
		}
		if d == morph.Data || m == nil {
			return ev, nil, nil, nil
		}
		kinematic, positive, err := m.Factors(ev, a.threads)
		return ev, kinematic, positive, err
	}
	data, _, _, err := load(morph.Data, looked)
	if err != nil {
		return nil, err
	}
	sim, kinematic, positive, err := load(morph.Simulation, looked)
	if err != nil {
		return nil, err
	}
	if err := cfg.SameUnits(sim, data); err != nil {
		return nil, err
	}
	if err := errors.Join(cmp.add(validation.Data, data, nil, nil, nil), cmp.add(validation.Simulation, sim, kinematic, positive, nil)); err != nil {
		return nil, err
	}
	if m != nil {
		moved, err := m.Move(sim, a.threads)
		if err != nil {
			return nil, err
		}
		if err := cmp.add(validation.Morphed, sim, kinematic, positive, moved); err != nil {
			return nil, err
		}
	}
	if o.reference != "" {
		right, kinematic, positive, err := load(morph.Simulation, replaced(looked, []string{o.reference}, nil))
		if err != nil {
			return nil, err
		}
		if err := cmp.add(validation.Reference, right, kinematic, positive, nil); err != nil {
			return nil, err
		}
	}
	set := cmp.settings(a, m)
	set.Quick, set.History = o.quick, o.history
	if o.unblind {
		set.Notes = append(set.Notes, unblinded(cfg)...)
	}
	undo := folders(o.out)
	rep, err := validation.Run(ctx, o.out, cmp.samples, variables(looked), set)
	if err != nil {
		undo()
	}
	return rep, err
}

// replaced is a config that reads other files: one input, with what the first of the config says of them.
func replaced(cfg *morph.Config, simulation, data []string) *morph.Config {
	c := *cfg
	for _, r := range []struct {
		in    *[]morph.InputConfig
		files []string
	}{{&c.Inputs.Simulation, simulation}, {&c.Inputs.Data, data}} {
		if len(r.files) > 0 {
			one := (*r.in)[0]
			one.Files = r.files
			if len(*r.in) > 1 && r.in == &c.Inputs.Simulation {
				c.Inputs.Luminosity = 0 // one of the processes
			}
			*r.in = []morph.InputConfig{one}
		}
	}
	return &c
}

// notes says in words what a reader of the report must know.
func notes(cfg *morph.Config, m *morph.Model) []string {
	n := []string{morph.Absorbs}
	if m != nil && cfg.Method == morph.CNF {
		n = append(n, "Method cnf draws features anew at the conditions of an event: it gives the right law, but no map from the simulated event to the morphed one.")
	}
	for _, o := range cfg.ObservableSpecs() {
		if len(o.Blind) == 2 {
			n = append(n, fmt.Sprintf("Rows with %s in [%g, %g) are blinded: they are in no training, no number and no figure.", o.Name, o.Blind[0], o.Blind[1]))
		}
	}
	return n
}

// unblinded names the windows that are shown in spite of the config.
func unblinded(cfg *morph.Config) []string {
	var n []string
	for _, o := range cfg.ObservableSpecs() {
		if len(o.Blind) == 2 {
			n = append(n, fmt.Sprintf("Unblinded: rows with %s in [%g, %g) are shown here. They were in no training.", o.Name, o.Blind[0], o.Blind[1]))
		}
	}
	return n
}

func variables(cfg *morph.Config) []validation.Variable {
	var out []validation.Variable
	span := func(v *validation.Variable, r []float64) {
		if len(r) == 2 {
			v.Lo, v.Hi = r[0], r[1]
		}
	}
	for _, f := range cfg.FeatureSpecs() {
		v := validation.Variable{Name: f.Name, Label: f.Label, Unit: f.Unit, Kind: validation.Feature, Bins: f.Bins, LogY: f.Log, Integer: f.Integer}
		if f.Atom != nil {
			v.Atoms = []float64{*f.Atom}
		}
		span(&v, f.Range)
		out = append(out, v)
	}
	for _, f := range cfg.ConditionSpecs() {
		v := validation.Variable{Name: f.Name, Label: f.Label, Unit: f.Unit, Kind: validation.Condition, Bins: f.Bins, LogY: f.Log}
		span(&v, f.Range)
		out = append(out, v)
	}
	for _, o := range cfg.ObservableSpecs() {
		v := validation.Variable{Name: o.Name, Label: o.Label, Unit: o.Unit, Kind: validation.Observable, Bins: o.Bins, LogY: o.Log}
		span(&v, o.Range)
		if len(o.Blind) == 2 {
			v.Blind = [2]float64{o.Blind[0], o.Blind[1]}
		}
		if len(o.Peak) == 2 {
			v.Window = [2]float64{o.Peak[0], o.Peak[1]}
			if o.Unit == "GeV" {
				v.Tolerance = 0.05
			}
		}
		out = append(out, v)
	}
	return out
}

// history draws the training's losses, constraints and multipliers into the run folder.
func (a *app) history(t *morph.Trained, dir string) error {
	return plot.Save(historyOf(t), inside(dir, "history.pdf"), inside(dir, "history.png"))
}

func historyOf(t *morph.Trained) *plot.History {
	r, cfg := t.Result, t.Model.Config()
	h := &plot.History{Best: float64(r.BestStep)}
	units := map[string]string{}
	for _, c := range cfg.Constraints {
		if kind, arg, err := c.Parse(); err == nil {
			o, _ := cfg.Observables.Get(arg)
			units[kind+"("+arg+")"] = o.Unit
		}
	}
	get := func(kind, name string) (t plot.Trace) {
		t.Label = name
		for _, rec := range r.History {
			if rec.Kind != kind {
				continue
			}
			for _, v := range rec.Values {
				if v.Name == name && !math.IsNaN(v.Value) {
					t.X = append(t.X, float64(rec.Step))
					t.Y = append(t.Y, v.Value)
				}
			}
		}
		return t
	}
	loss := get("step", "loss")
	loss.Label = "training"
	held := get("evaluation", "nll")
	held.Label = "held out"
	h.Losses = []plot.Trace{loss, held}
	names := map[string]bool{}
	for _, rec := range r.History {
		for _, v := range rec.Values {
			if n, ok := strings.CutSuffix(v.Name, " multiplier"); ok {
				names[n] = true
			}
		}
	}
	var sorted []string
	for n := range names {
		sorted = append(sorted, n)
	}
	sort.Strings(sorted)
	for _, n := range sorted {
		bound := get("step", n+" bound")
		c := plot.ConstraintTrace{Trace: get("step", n), Unit: units[n], Min: math.NaN(), Max: math.NaN()}
		if len(bound.Y) > 0 {
			c.Max = bound.Y[len(bound.Y)-1]
		}
		h.Constraints = append(h.Constraints, c)
		l := get("step", n+" multiplier")
		l.Label = n
		h.Multipliers = append(h.Multipliers, l)
	}
	return h
}
