package main

import (
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hepmorph/calo"
	"hepmorph/internal/atomicfile"
	"hepmorph/internal/train"
)

// caloKeys are the flags of calo train that stand for a key of the config.
var caloKeys = map[string]string{
	"data": "data.file", "showers": "data.showers", "geometry": "data.geometry", "particle": "data.particle", "turns": "data.turns", "codec": "codec", "seed": "seed",
	"budget": "train.budget", "steps": "shape.steps", "energy-steps": "energy.steps", "width": "shape.width", "depth": "shape.depth", "heads": "shape.heads",
	"patch": "shape.patch", "published": "shape.published", "batch": "shape.batch", "rate": "shape.rate",
}

func (a *app) caloTrain() *cobra.Command {
	var conf, out string
	var set []string
	var every int
	c := &cobra.Command{Use: "train --data FILE", Short: "train a generator of showers", Args: cobra.NoArgs,
		Long: `Learns from a file of showers (HDF5 as in the CaloChallenge, or ROOT) and writes model.hmm, all that generate needs,
config.resolved.yaml, and checkpoints in energies/ and shapes/: one network draws the energies of the layers, the
other one the voxels. A run that was stopped, by a signal or a kill, continues when the same command is given again,
to the same bits. The time budget is turned into numbers of steps once, at the start.

Settings come from a config (see: hepmorph calo init), where there is one; flags override it, and --set what no flag
names. Codecs: moments (default; the sum of a layer is always exact, empty layers and voxels are drawn as such, and
the energy network draws where the energy of a layer lies), quantile (the same without the last), calodream and vit4hep (the published preprocessing of arXiv:2405.09629 and arXiv:2601.05289).`,
		Example: "  hepmorph calo train --data train.h5 --out shower --budget 15m\n  hepmorph calo train -c shower.yaml --out shower --set train.times=logit-normal\n" +
			"  hepmorph calo train --data dataset_2_1.hdf5 --geometry ds2 --codec calodream --published --width 480 --depth 6 --heads 6",
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, name := range slices.Sorted(maps.Keys(caloKeys)) {
				if f := cmd.Flags().Lookup(name); f.Changed {
					v := f.Value.String()
					if f.Value.Type() == "string" {
						v = strconv.Quote(v)
					}
					set = append(set, caloKeys[name]+"="+v)
				}
			}
			cfg, err := a.loadCaloConfig(conf, set)
			if err != nil {
				if conf == "" { // all of it came from flags
					return usageError{err}
				}
				return err
			}
			if err := required("data", cfg.Data.File); err != nil {
				return err
			}
			_, err = a.trainShowers(cmd, cfg, out, every)
			return err
		}}
	d := calo.Proposal(nil)
	f := c.Flags()
	f.StringVarP(&conf, "config", "c", "", "configuration (see: hepmorph calo init)")
	f.StringArrayVar(&set, "set", nil, "override a value of the config: key=value, repeatable")
	f.StringVar(&out, "out", "shower", "run folder")
	f.IntVar(&every, "checkpoint", 0, "steps between checkpoints (0: every 30 seconds)")
	f.String("data", "", "showers to learn from")
	f.Int64("showers", 0, "use the first showers only (0: all)")
	f.Duration("budget", time.Duration(d.Train.Budget), "time to train")
	f.Int("steps", 0, "steps of the shape network instead of a budget")
	f.Int("energy-steps", 0, "steps of the energy network instead of a budget")
	f.String("codec", d.Codec, strings.Join(calo.Codecs(), ", "))
	f.Int("width", d.Shape.Width, "units of a token")
	f.Int("depth", d.Shape.Depth, "blocks of the shape network")
	f.Int("heads", d.Shape.Heads, "heads of an attention")
	f.IntSlice("patch", nil, "layers, sectors and rings of a token (default: 3 × up to 16 × 1, or what divides the geometry)")
	f.Bool("published", false, "positions and time as in arXiv:2405.09629")
	f.Int("batch", d.Shape.Batch, "showers a step")
	f.Float64("rate", 0, "highest learning rate (0: 2e-3, for a width above 128 1e-3)")
	f.String("turns", d.Data.Turns, "turn and mirror showers around the axis: on, off, auto (where all layers are equal)")
	f.Uint64("seed", d.Seed, "seed of all random numbers")
	geometryFlags(c, new(string), new(string))
	c.RegisterFlagCompletionFunc("data", showerFiles)
	c.RegisterFlagCompletionFunc("config", yamlFiles)
	return c
}

func (a *app) loadCaloConfig(path string, set []string) (*calo.Config, error) {
	if path == "-" {
		text, err := io.ReadAll(a.in)
		if err != nil {
			return nil, fmt.Errorf("config: could not read standard input: %w", err)
		}
		return calo.DecodeConfig("standard input", text, set...)
	}
	return calo.LoadConfig(path, set...)
}

func (a *app) trainShowers(cmd *cobra.Command, cfg *calo.Config, out string, every int) (*calo.Trained, error) {
	g, err := caloGeometry(cfg.Data.Geometry, cfg.Data.Particle)
	if err != nil {
		return nil, err
	}
	f, err := openShowers(cmd, cfg.Data.File, g)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	n := f.N
	if cfg.Data.Showers > 0 {
		n = min(n, cfg.Data.Showers)
	}
	bar := a.progress("step")
	start := time.Now()
	undo := folders(out)
	o := calo.TrainOptions{Dir: out, Threads: a.threads, Force: a.force, Version: version(), Log: a.logf, Checkpoint: every, Clock: func() time.Duration { return time.Since(start) }}
	o.Progress = func(network string, p train.Progress) {
		note := fmt.Sprintf("%s: loss %.4f", network, p.Loss)
		if p.BestStep > 0 {
			note += fmt.Sprintf(", held out %.4f, best %.4f", p.Score, p.Best)
		}
		bar.say(int64(p.Step), int64(p.Total), note)
	}
	t, err := calo.Train(cmd.Context(), calo.FileSource{File: f, Hi: n}, cfg.Settings(), o)
	bar.done()
	if err != nil {
		undo()
		return nil, err
	}
	text, err := cfg.Resolved(t.Model).YAML(false)
	if err != nil {
		return nil, err
	}
	if err := atomicfile.WriteFile(inside(out, "config.resolved.yaml"), text); err != nil {
		return nil, err
	}
	a.logf("trained %d and %d steps in %v; held-out flow-matching losses: energies %.4f, shapes %.4f (%.4f is that of noise)", t.Energies.Steps, t.Shapes.Steps,
		time.Since(start).Round(time.Second), t.Energies.Best, t.Shapes.Best, math.Pi/2)
	fmt.Fprintln(a.out, t.Path)
	return t, nil
}
