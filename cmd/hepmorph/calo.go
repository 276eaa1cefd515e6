package main

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hepmorph/calo"
	"hepmorph/calo/geometry"
	"hepmorph/internal/train"
	"hepmorph/physics/rootio"
	"hepmorph/samples"
)

func (a *app) caloCommand() *cobra.Command {
	return group("calo", "draw calorimeter showers, learned from simulated ones", a.caloTrain(), a.caloGenerate(), a.caloVerify(), a.caloValidate())
}

// caloGeometry takes a built-in name or a binning file; "" leaves it to the number of voxels.
func caloGeometry(name, particle string) (*geometry.Geometry, error) {
	if name == "" {
		return nil, nil
	}
	if strings.HasSuffix(strings.ToLower(name), ".xml") {
		return geometry.ReadXMLFile(name, particle)
	}
	g, err := geometry.Lookup(name)
	if err != nil {
		return nil, usageError{err}
	}
	return g, nil
}

// geometryFlags are those of commands that read showers.
func geometryFlags(c *cobra.Command, name, particle *string) {
	c.Flags().StringVar(name, "geometry", "", "ds1-photons, ds1-pions, ds2, ds3, mini or a binning file .xml (default: by the number of voxels)")
	c.Flags().StringVar(particle, "particle", "", "photon, pion or electron, where a binning file has several")
}

func openShowers(cmd *cobra.Command, path string, g *geometry.Geometry) (*geometry.Reader, error) {
	return geometry.OpenWith(cmd.Context(), path, g, rootio.Options{Guard: true})
}

func showerFiles(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return []string{"h5", "hdf5", "hdf", "root"}, cobra.ShellCompDirectiveFilterFileExt
}

func (a *app) caloTrain() *cobra.Command {
	var data, out, geo, particle string
	var s calo.Settings
	var patch []int
	var showers int64
	o := calo.TrainOptions{}
	c := &cobra.Command{Use: "train --data FILE", Short: "train a generator of showers", Args: cobra.NoArgs,
		Long: `Learns from a file of showers (HDF5 as in the CaloChallenge, or ROOT) and writes model.hmm, all that generate needs,
with checkpoints in energies/ and shapes/: one network draws the energies of the layers, the other one the voxels. A
run that was stopped, by a signal or a kill, continues when the same command is given again, to the same bits. The
time budget is turned into numbers of steps once, at the start.

Codecs: quantile (default; the sum of a layer is always exact, empty layers and voxels are drawn as such),
calodream and vit4hep (the published preprocessing of arXiv:2405.09629 and arXiv:2601.05289).`,
		Example: "  hepmorph calo train --data train.h5 --out shower --budget 15m\n  hepmorph calo train --data dataset_2_1.hdf5 --geometry ds2 --codec calodream --published --width 480 --depth 6 --heads 6",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := required("data", data); err != nil {
				return err
			}
			switch {
			case len(patch) == 3:
				s.Shape.Patch = [3]int(patch)
			case len(patch) > 0:
				return usageError{fmt.Errorf("--patch: three numbers are expected, not %d", len(patch))}
			}
			if showers < 0 {
				return usageError{fmt.Errorf("--showers %d: 0 or more is expected", showers)}
			}
			if (s.Steps == 0) != (s.EnergySteps == 0) {
				return usageError{errors.New("--steps and --energy-steps belong together")}
			}
			if s.Steps != 0 {
				s.Budget = 0
			}
			g, err := caloGeometry(geo, particle)
			if err != nil {
				return err
			}
			f, err := openShowers(cmd, data, g)
			if err != nil {
				return err
			}
			defer f.Close()
			n := f.N
			if showers > 0 {
				n = min(n, showers)
			}
			bar := a.progress("step")
			start := time.Now()
			undo := folders(out)
			o.Dir, o.Threads, o.Force, o.Version, o.Log = out, a.threads, a.force, version(), a.logf
			o.Clock = func() time.Duration { return time.Since(start) }
			o.Progress = func(network string, p train.Progress) {
				note := fmt.Sprintf("%s: loss %.4f", network, p.Loss)
				if p.BestStep > 0 {
					note += fmt.Sprintf(", held out %.4f, best %.4f", p.Score, p.Best)
				}
				bar.say(int64(p.Step), int64(p.Total), note)
			}
			t, err := calo.Train(cmd.Context(), calo.FileSource{File: f, Hi: n}, s, o)
			bar.done()
			if err != nil {
				undo()
				return err
			}
			a.logf("trained %d and %d steps in %v; held-out flow-matching losses: energies %.4f, shapes %.4f (%.4f is that of noise)", t.Energies.Steps, t.Shapes.Steps,
				time.Since(start).Round(time.Second), t.Energies.Best, t.Shapes.Best, math.Pi/2)
			fmt.Fprintln(a.out, t.Path)
			return nil
		}}
	f := c.Flags()
	f.StringVar(&data, "data", "", "showers to learn from")
	f.StringVar(&out, "out", "shower", "run folder")
	f.Int64Var(&showers, "showers", 0, "use the first showers only (0: all)")
	f.DurationVar(&s.Budget, "budget", 15*time.Minute, "time to train")
	f.IntVar(&s.Steps, "steps", 0, "steps of the shape network instead of a budget")
	f.IntVar(&s.EnergySteps, "energy-steps", 0, "steps of the energy network instead of a budget")
	f.StringVar(&s.Codec, "codec", "quantile", strings.Join(calo.Codecs(), ", "))
	f.IntVar(&s.Shape.Width, "width", 96, "units of a token")
	f.IntVar(&s.Shape.Depth, "depth", 4, "blocks of the shape network")
	f.IntVar(&s.Shape.Heads, "heads", 4, "heads of an attention")
	f.IntSliceVar(&patch, "patch", nil, "layers, sectors and rings of a token (default: 3 × up to 16 × 1, or what divides the geometry)")
	f.BoolVar(&s.Shape.Published, "published", false, "positions and time as in arXiv:2405.09629")
	f.IntVar(&s.Batch, "batch", 64, "showers a step")
	f.Float64Var(&s.Rate, "rate", 0, "highest learning rate (0: 2e-3, for a width above 128 1e-3)")
	f.StringVar(&s.Turns, "turns", "auto", "turn and mirror showers around the axis: on, off, auto (where all layers are equal)")
	f.Uint64Var(&s.Seed, "seed", 1, "seed of all random numbers")
	f.IntVar(&o.Checkpoint, "checkpoint", 0, "steps between checkpoints (0: every 30 seconds)")
	geometryFlags(c, &geo, &particle)
	c.RegisterFlagCompletionFunc("data", showerFiles)
	return c
}

func (a *app) caloGenerate() *cobra.Command {
	var model, out, from, spectrum string
	var energy float64
	var n int64
	o := calo.GenerateOptions{}
	c := &cobra.Command{Use: "generate -m MODEL -o OUT", Short: "draw showers", Args: cobra.NoArgs,
		Long: `Writes showers in the CaloChallenge's format, HDF5, or ROOT if the name ends in .root, with the layer energies that
were drawn beside them. Incident energies come from a file of showers, are one fixed energy, or uniform in their
logarithm. Shower i depends on the model, the seed, its energy and i alone; memory does not grow with their number.`,
		Example: "  hepmorph calo generate -m shower/model.hmm -o showers.h5 --energies reference.h5\n  hepmorph calo generate -m shower/model.hmm -o showers.root --spectrum 1000:100000 --events 10000",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := required("model", model); err != nil {
				return err
			}
			if err := required("output", out); err != nil {
				return err
			}
			given := 0
			for _, name := range []string{"energies", "energy", "spectrum"} {
				if cmd.Flags().Changed(name) {
					given++
				}
			}
			if given != 1 {
				return usageError{errors.New("give one of --energies, --energy, --spectrum")}
			}
			if n < 0 || n == 0 && from == "" {
				return usageError{fmt.Errorf("--events %d: at least 1 is expected", n)}
			}
			var in calo.Incident
			switch {
			case from != "":
				f, err := openShowers(cmd, from, nil)
				if err != nil {
					return err
				}
				defer f.Close()
				if !cmd.Flags().Changed("events") {
					n = 0
				}
				in = calo.EnergiesOf(f, n)
			case spectrum != "":
				lo, hi, ok := strings.Cut(spectrum, ":")
				e1, err1 := strconv.ParseFloat(lo, 64)
				e2, err2 := strconv.ParseFloat(hi, 64)
				if !ok || err1 != nil || err2 != nil || !(e1 > 0) || !(e2 >= e1) || math.IsInf(e2, 1) {
					return usageError{fmt.Errorf("--spectrum %s: LO:HI in MeV is expected", spectrum)}
				}
				in = calo.LogUniform(e1, e2, n, o.Seed)
			default:
				if !(energy > 0) || math.IsInf(energy, 1) {
					return usageError{fmt.Errorf("--energy %g: an energy above 0 in MeV is expected", energy)}
				}
				in = calo.Fixed(energy, n)
			}
			m, err := calo.ReadModel(model)
			if err != nil {
				return err
			}
			if err := a.unused(out); err != nil {
				return err
			}
			return a.generate(cmd, m, out, in, o)
		}}
	f := c.Flags()
	f.StringVarP(&model, "model", "m", "", "model file")
	f.StringVarP(&out, "output", "o", "", "file to write")
	f.StringVar(&from, "energies", "", "file of showers whose incident energies to take")
	f.Float64Var(&energy, "energy", 0, "one incident energy, MeV")
	f.StringVar(&spectrum, "spectrum", "", "LO:HI in MeV: energies uniform in their logarithm")
	f.Int64Var(&n, "events", 1000, "showers (with --energies: all)")
	f.Int64Var(&o.First, "first", 0, "number of the first shower, for parts of a larger sample")
	f.Uint64Var(&o.Seed, "seed", 1, "seed of all random numbers")
	f.StringVar(&o.Solver, "solver", "midpoint", "euler, midpoint, heun, rk4, rk38 or dopri5")
	f.IntVar(&o.Steps, "steps", 8, "steps of the solver")
	c.RegisterFlagCompletionFunc("energies", showerFiles)
	return c
}

func (a *app) generate(cmd *cobra.Command, m *calo.Model, path string, in calo.Incident, o calo.GenerateOptions) error {
	w, err := geometry.Create(path, m.Geometry(), true)
	if err != nil {
		return err
	}
	defer w.Abort()
	bar := a.progress("shower")
	o.Threads, o.Progress = a.threads, bar.set
	outside := 0
	start := time.Now()
	err = m.Generate(cmd.Context(), in, o, func(incident []float64, voxels []float32, layers []float64) error {
		for _, e := range incident {
			if e < m.Training.EnergyMin*(1-1e-6) || e > m.Training.EnergyMax*(1+1e-6) {
				outside++
			}
		}
		return w.Write(incident, voxels, layers)
	})
	bar.done()
	if err != nil {
		return err
	}
	took := time.Since(start)
	if err := w.Close(); err != nil {
		return err
	}
	if outside > 0 {
		a.logf("%d showers have energies outside of the trained range, %.4g to %.4g MeV", outside, m.Training.EnergyMin, m.Training.EnergyMax)
	}
	a.logf("%d showers in %v, %.1f a second", in.N, took.Round(time.Millisecond), float64(in.N)/took.Seconds())
	fmt.Fprintln(a.out, path)
	return nil
}

func (a *app) caloVerify() *cobra.Command {
	var geo, particle string
	c := &cobra.Command{Use: "verify FILE...", Short: "check files of showers", Args: cobra.MinimumNArgs(1),
		Long: `Reads files of showers through and checks shape, units, that energies are finite and not negative, and, for generated
ones, that no voxel lies between 0 and the threshold and that voxels add up to the layer energies. Ends with 7 if
a check fails.`,
		Example: "  hepmorph calo verify showers.h5", ValidArgsFunction: showerFiles,
		RunE: func(cmd *cobra.Command, args []string) error {
			g, err := caloGeometry(geo, particle)
			if err != nil {
				return err
			}
			bad := 0
			for _, path := range args {
				f, err := openShowers(cmd, path, g)
				if err != nil {
					return err
				}
				r, err := geometry.Verify(cmd.Context(), f)
				f.Close()
				if err != nil {
					return err
				}
				fmt.Fprintf(a.out, "%s\n", path)
				for _, k := range r.Checks {
					state := "ok"
					if !k.OK {
						state = "NO"
						bad++
					}
					fmt.Fprintf(a.out, "  %s  %-18s %s\n", state, k.Name, k.Found)
				}
			}
			if bad > 0 {
				return fmt.Errorf("%d checks failed: %w", bad, errShowers)
			}
			return nil
		}}
	geometryFlags(c, &geo, &particle)
	return c
}

func (a *app) samplesShowers() *cobra.Command {
	var out string
	var anchors bool
	var s samples.ShowerSettings
	c := &cobra.Command{Use: "showers --out FILE", Short: "calorimeter showers in the manner of GFlash", Args: cobra.NoArgs,
		Long: `Writes showers in the CaloChallenge's format, HDF5, or ROOT if the name ends in .root: profiles by hep-ex/0001020 with
sampling fluctuations, early starts and a noise threshold, adjusted to the public layer energies of the challenge's
sets; --anchors prints how near they are.`,
		Example: "  hepmorph samples showers --out showers.h5 --geometry ds2 --events 1000",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := required("out", out); err != nil {
				return err
			}
			if s.Events < 1 {
				return usageError{fmt.Errorf("--events %d: at least 1 is expected", s.Events)}
			}
			if _, err := geometry.Lookup(s.Geometry); err != nil {
				return usageError{err}
			}
			if e1, e2 := s.EnergyMin, s.EnergyMax; (e1 != 0 || e2 != 0) && (!(e1 >= 100) || !(e2 >= e1) || e2 > 1e8) {
				return usageError{fmt.Errorf("--energy-min %g --energy-max %g: 100 to 1e8 MeV are possible, and both are needed", e1, e2)}
			}
			if err := a.unused(out); err != nil {
				return err
			}
			s.Threads = a.threads
			bar := a.progress("shower")
			err := samples.WriteShowers(cmd.Context(), out, s, bar.set)
			bar.done()
			if err != nil {
				return err
			}
			fmt.Fprintln(a.out, out)
			if !anchors {
				return nil
			}
			table, err := samples.AnchorShowers(cmd.Context(), s)
			if err != nil {
				return err
			}
			return samples.PrintAnchors(a.out, table)
		}}
	f := c.Flags()
	f.StringVar(&out, "out", "", "file to write")
	f.StringVar(&s.Geometry, "geometry", "mini", strings.Join(geometry.Names(), ", "))
	f.Int64Var(&s.Events, "events", 10000, "showers")
	f.Uint64Var(&s.Seed, "seed", 1, "seed of all random numbers")
	f.Float64Var(&s.EnergyMin, "energy-min", 0, "lowest incident energy, MeV (default: that of the real set)")
	f.Float64Var(&s.EnergyMax, "energy-max", 0, "highest incident energy, MeV")
	f.BoolVar(&anchors, "anchors", false, "print the comparison with the real sets")
	return c
}
