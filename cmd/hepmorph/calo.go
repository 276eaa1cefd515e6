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
	"hepmorph/physics/rootio"
	"hepmorph/samples"
)

func (a *app) caloCommand() *cobra.Command {
	return group("calo", "draw calorimeter showers, learned from simulated ones", a.caloInit(), a.caloDemo(), a.caloTrain(), a.caloDistill(), a.caloGenerate(), a.caloVerify(), a.caloValidate())
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

func (a *app) caloGenerate() *cobra.Command {
	var model, out, from, spectrum string
	var energy float64
	var n int64
	o := calo.GenerateOptions{}
	c := &cobra.Command{Use: "generate -m MODEL -o OUT", Short: "draw showers", Args: cobra.NoArgs,
		Long: `Writes showers in the CaloChallenge's format, HDF5, or ROOT if the name ends in .root, with the layer energies that
were drawn beside them. Incident energies come from a file of showers, are one fixed energy, or uniform in their
logarithm. Shower i depends on the model, the seed, its energy and i alone; memory does not grow with their number.`,
		Example: "  hepmorph calo generate -m shower/model.hmm -o showers.h5 --energies reference.h5\n  hepmorph calo generate -m shower/model.hmm -o showers.root --spectrum 1000:100000 --events 10000\n  hepmorph calo generate -m shower/fast.hmm -o showers.h5 --energy 50000 --solver bespoke --steps 8",
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
			if o.Steps < 0 || o.EnergySteps < 0 {
				return usageError{fmt.Errorf("--steps %d, --energy-steps %d: 0 or more is expected", o.Steps, o.EnergySteps)}
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
	f.StringVar(&o.Solver, "solver", "", "euler, midpoint, heun, rk4, rk38, dopri5; mean-flow of a model with mean velocities; bespoke, non-stationary or scale-time of a distilled model, with --steps evaluations (default: what the model was trained to use)")
	f.IntVar(&o.Steps, "steps", 0, "steps of the solver (0: what the model was trained to use)")
	f.IntVar(&o.EnergySteps, "energy-steps", 0, "midpoint steps of the energy network (0: what the model was trained to use)")
	f.StringVar(&o.Precision, "precision", "", "float32, or bf16: the shape network's layers multiply numbers rounded to bfloat16, faster on processors with AVX512_BF16, slower on others (default: what the model was trained to use)")
	c.RegisterFlagCompletionFunc("energies", showerFiles)
	c.RegisterFlagCompletionFunc("precision", cobra.FixedCompletions([]string{"float32", "bf16"}, cobra.ShellCompDirectiveNoFileComp))
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
