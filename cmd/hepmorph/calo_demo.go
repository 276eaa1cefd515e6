package main

import (
	"fmt"
	"math"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"hepmorph/calo"
	"hepmorph/calo/geometry"
	"hepmorph/internal/atomicfile"
	"hepmorph/samples"
)

const caloDemoConfig = `# the config of hepmorph calo demo
seed: 1
data: {file: %[1]s}
energy: {steps: %[2]d}
shape: {width: 64, depth: 3, steps: %[3]d}
`

const caloLatentConfig = caloDemoConfig + "latent: {on: true, steps: %[4]d}\n"

// demoShowers are the numbers of a demonstration.
type demoShowers struct {
	out              string
	events           int64
	steps, latent    int
	smaller          int64 // showers of the samples that one number is taken from
	distil, referred int   // showers and steps of RK4 of the bespoke solvers
}

func (a *app) caloDemo() *cobra.Command {
	d := demoShowers{smaller: 2000, distil: 64, referred: 24}
	c := &cobra.Command{Use: "demo", Short: "all of calo end to end on built-in showers", Args: cobra.NoArgs,
		Long: `Makes showers of the mini geometry, trains energy and shape network, fits bespoke solvers of 8 and 16 evaluations, draws
showers, checks and validates them, does the same with an autoencoder in short, and prints what was reached beside
what is asked for. It takes some minutes on two cores and ends with a report.`,
		Example: "  hepmorph calo demo --out demo-calo",
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.demoShowers(cmd, d) }}
	f := c.Flags()
	f.StringVar(&d.out, "out", "demo-calo", "folder to write to")
	f.Int64Var(&d.events, "events", 20000, "showers to train on; half as many are generated")
	f.IntVar(&d.steps, "steps", 5000, "steps of the shape network, and half as many of the energy network")
	f.IntVar(&d.latent, "latent-steps", 800, "steps of the shape network of a second model with an autoencoder, which gets half as many and its energy network half as many again; 0: none")
	return c
}

func (a *app) demoShowers(cmd *cobra.Command, d demoShowers) error {
	if d.events < 400 || d.steps < 2 || d.latent < 0 || d.latent == 1 {
		return usageError{fmt.Errorf("--events %d --steps %d --latent-steps %d: at least 400, 2 and 2 or 0 are expected", d.events, d.steps, d.latent)}
	}
	ctx := cmd.Context()
	in := func(name string) string { return inside(d.out, name) }
	if err := atomicfile.MkdirAll(d.out); err != nil {
		return err
	}
	a.logf("1/7 samples: %d showers to train on, twice %d to compare with", d.events, d.events/2)
	for seed, name := range []string{"train.h5", "reference.h5", "floor.h5"} {
		if err := a.unused(in(name)); err != nil {
			return err
		}
		n := d.events / 2
		if seed == 0 {
			n = d.events
		}
		if err := samples.WriteShowers(ctx, in(name), samples.ShowerSettings{Geometry: "mini", Events: n, Seed: uint64(seed + 1), Threads: a.threads}, func(_, _ int64) {}); err != nil {
			return err
		}
	}
	a.logf("2/7 train: hepmorph calo train -c %s --out %s", in("demo.yaml"), in("run"))
	t, err := a.demoTrain(cmd, in("demo.yaml"), in("run"), fmt.Sprintf(caloDemoConfig, in("train.h5"), d.steps/2, d.steps))
	if err != nil {
		return err
	}
	b := calo.Benchmark{Trained: t}
	m := t.Model
	a.logf("3/7 distill: hepmorph calo distill -m %s -o %s", t.Path, in("fast.hmm"))
	for _, n := range []int{16, 8} {
		fits, err := m.Distill(ctx, calo.DistillOptions{Evaluations: n, Showers: d.distil, Reference: d.referred, Threads: a.threads})
		if err != nil {
			return err
		}
		for _, f := range fits {
			a.logf("%s, %d evaluations: end points off by %.4f; midpoint %.4f", f.Kind, f.Evaluations, f.Error, f.MidpointError)
		}
		b.Eight = fits
	}
	if err := m.Write(in("fast.hmm")); err != nil {
		return err
	}
	a.logf("4/7 generate: hepmorph calo generate -m %s -o %s --energies %s --solver bespoke --steps 16", in("fast.hmm"), in("showers.h5"), in("floor.h5"))
	bespoke := calo.Solving{Solver: "bespoke", Steps: 16}
	if err := a.demoGenerate(cmd, m, in("showers.h5"), in("floor.h5"), 0, bespoke); err != nil {
		return err
	}
	a.logf("5/7 verify: hepmorph calo verify %s", in("showers.h5"))
	f, err := openShowers(cmd, in("showers.h5"), nil)
	if err != nil {
		return err
	}
	b.Verified, err = geometry.Verify(ctx, f)
	f.Close()
	if err != nil {
		return err
	}
	a.logf("6/7 the same showers by RK4, and a model with an autoencoder")
	auc := func(to *float64, name string) error {
		ref, err := openShowers(cmd, in("reference.h5"), nil)
		if err != nil {
			return err
		}
		defer ref.Close()
		gen, err := openShowers(cmd, in(name), nil)
		if err != nil {
			return err
		}
		defer gen.Close()
		n := min(d.smaller, ref.N, gen.N)
		*to, err = calo.HighLevelAUC(calo.FileSource{File: ref, Hi: n}, calo.FileSource{File: gen, Hi: n}, 1, a.threads)
		return err
	}
	if err := a.demoGenerate(cmd, m, in("rk4.h5"), in("floor.h5"), d.smaller, calo.Solving{Solver: "rk4", Steps: d.referred / 2}); err != nil {
		return err
	}
	if err := auc(&b.RK4, "rk4.h5"); err != nil {
		return err
	}
	if err := auc(&b.Bespoke, "showers.h5"); err != nil {
		return err
	}
	if d.latent > 0 {
		l, err := a.demoTrain(cmd, in("latent.yaml"), in("latent"), fmt.Sprintf(caloLatentConfig, in("train.h5"), 3*d.latent/2, d.latent, d.latent/2))
		if err != nil {
			return err
		}
		if err := a.demoGenerate(cmd, l.Model, in("latent.h5"), in("floor.h5"), d.smaller, calo.Solving{}); err != nil {
			return err
		}
		if err := auc(&b.Latent, "latent.h5"); err != nil {
			return err
		}
	}
	a.logf("7/7 validate: hepmorph calo validate --reference %s --generated %s --floor %s --targets must --out %s", in("reference.h5"), in("showers.h5"), in("floor.h5"), in("report"))
	_, e, err := a.validateShowers(cmd, showerFilesOf{in("reference.h5"), in("showers.h5"), in("floor.h5")}, nil, in("report"), calo.EvaluateSettings{Targets: "must", Seed: 1})
	if err != nil {
		return err
	}
	b.Evaluation = e
	missed, err := a.printChecks(b.Checks())
	if err != nil {
		return err
	}
	fmt.Fprintln(a.out, inside(in("report"), "report.html"))
	if missed > 0 {
		what := "1 check of the demonstration misses what it must reach"
		if missed > 1 {
			what = fmt.Sprintf("%d checks of the demonstration miss what they must reach", missed)
		}
		return fmt.Errorf("%s: %w", what, errThreshold)
	}
	return nil
}

func (a *app) demoTrain(cmd *cobra.Command, conf, out, text string) (*calo.Trained, error) {
	if err := atomicfile.WriteFile(conf, []byte(text)); err != nil {
		return nil, err
	}
	cfg, err := calo.DecodeConfig(base(conf), []byte(text))
	if err != nil {
		return nil, err
	}
	return a.trainShowers(cmd, cfg, out, 0)
}

// demoGenerate draws n showers (0: all) at the energies of a file.
func (a *app) demoGenerate(cmd *cobra.Command, m *calo.Model, path, energies string, n int64, s calo.Solving) error {
	f, err := openShowers(cmd, energies, nil)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := a.unused(path); err != nil {
		return err
	}
	return a.generate(cmd, m, path, calo.EnergiesOf(f, n), calo.GenerateOptions{Seed: 1, Solving: s})
}

// printChecks prints a table and counts what misses the first level.
func (a *app) printChecks(checks []calo.Check) (missed int, err error) {
	t := tabwriter.NewWriter(a.out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "check\tvalue\tmust\tgood\tstretch\treached\t")
	for i := range checks {
		c := &checks[i]
		name := c.Name
		if c.Note != "" {
			name += " (" + c.Note + ")"
		}
		reached := c.Level()
		if reached == "" {
			reached = "MISSED"
			missed++
		}
		bound := func(v float64) string {
			if math.IsNaN(v) {
				return ""
			}
			return "<= " + decimal(v)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t\n", name, decimal(c.Value), bound(c.Bound[0]), bound(c.Bound[1]), bound(c.Bound[2]), reached)
	}
	return missed, t.Flush()
}
