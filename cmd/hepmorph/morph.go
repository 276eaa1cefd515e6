package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hepmorph/internal/atomicfile"
	"hepmorph/internal/train"
	"hepmorph/morph"
)

func (a *app) morphCommand() *cobra.Command {
	return group("morph", "learn to move simulated events, apply it, prove it", a.morphInit(), a.morphCheck(), a.morphTrain(), a.morphApply(), a.morphValidate())
}

func (a *app) morphTrain() *cobra.Command {
	var conf, out string
	var seed uint64
	var set []string
	var every int
	c := &cobra.Command{Use: "train -c CONFIG", Short: "train a morph", Args: cobra.NoArgs,
		Long: `Trains on the inputs that the config names and writes into the run folder: model.hmm (all that apply needs),
config.resolved.yaml, log.jsonl, history.pdf and checkpoints. A run that was stopped, by a signal or a kill,
continues where it was when the same command is given again, to the same bits. A time budget fixes the number of
steps once, at the start; with the resolved config the result is the same at any number of threads.`,
		Example: "  hepmorph morph train -c run.yaml --out run\n  hepmorph morph train -c run.yaml --out quick --set train.budget=2m --set flow.kind=coupling",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := required("config", conf); err != nil {
				return err
			}
			if cmd.Flags().Changed("seed") {
				set = append(set, fmt.Sprintf("seed=%d", seed))
			}
			cfg, err := a.loadConfig(conf, set)
			if err != nil {
				return err
			}
			t, err := a.train(cmd, cfg, out, every)
			if err != nil {
				return err
			}
			fmt.Fprintln(a.out, t.Path)
			return nil
		}}
	f := c.Flags()
	f.StringVarP(&conf, "config", "c", "", "configuration (see: hepmorph morph init)")
	f.StringVar(&out, "out", "run", "run folder")
	f.StringArrayVar(&set, "set", nil, "override a value of the config: key=value, repeatable")
	f.Uint64Var(&seed, "seed", 0, "seed instead of the config's")
	f.IntVar(&every, "checkpoint", 0, "steps between checkpoints (0: every 30 seconds)")
	c.RegisterFlagCompletionFunc("config", yamlFiles)
	return c
}

func yamlFiles(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return []string{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt
}

func (a *app) loadConfig(path string, set []string) (*morph.Config, error) {
	if path == "-" {
		text, err := io.ReadAll(a.in)
		if err != nil {
			return nil, fmt.Errorf("config: could not read standard input: %w", err)
		}
		return morph.DecodeConfig("standard input", text, set...)
	}
	return morph.LoadConfig(path, set...)
}

func (a *app) train(cmd *cobra.Command, cfg *morph.Config, dir string, every int) (*morph.Trained, error) {
	if checkpoints, err := filepath.Glob(inside(inside(dir, "checkpoints"), "*.ckpt")); err == nil && len(checkpoints) == 0 {
		if err := a.unused(inside(dir, "model.hmm")); err != nil { // else the run continues, or is found to be another's
			return nil, err
		}
	}
	bar := a.progress("step")
	start := time.Now()
	undo := folders(dir)
	t, err := morph.Train(cmd.Context(), cfg, morph.TrainOptions{Dir: dir, Threads: a.threads, Guard: true, Force: a.force, Version: version(), Log: a.logf, Checkpoint: every,
		Progress: func(p train.Progress) {
			note := fmt.Sprintf("loss %.4f", p.Loss)
			if p.BestStep > 0 {
				note += fmt.Sprintf(", held out %.4f, best %.4f", p.Score, p.Best)
			}
			bar.say(int64(p.Step), int64(p.Total), note)
		}})
	bar.done()
	if err != nil {
		undo()
		return nil, err
	}
	r := t.Result
	early := ""
	if r.Early {
		early = ", stopped early"
	}
	a.logf("trained %d of %d steps in %v%s; best at step %d, held-out negative log-likelihood %.5f", r.Steps, r.Planned, time.Since(start).Round(time.Second), early, r.BestStep, r.Best)
	a.logf("%s", morph.Absorbs)
	return t, a.history(t, dir)
}

func (a *app) morphApply() *cobra.Command {
	var model string
	var shard string
	o := morph.ApplyOptions{}
	c := &cobra.Command{Use: "apply -m MODEL -o OUT FILE...", Short: "morph ntuples", Args: cobra.MinimumNArgs(1),
		Long: `Writes the inputs with every branch that can be kept, in the same order, and adds
  B_morphed          for features that are branches or elements B[i] of arrays: the whole array, morphed elements replaced
  NAME_morphed       for computed features, and for observables computed again from morphed values
  morph_status       0 not selected, 1 morphed, 2 outside the trained range, 3 a sentinel was kept
  morph_kinweight    the factor that brings the conditions to those of data
  morph_weight       the physics weight times it, signed
With several simulations in the config a file gets the weight of the one that it belongs to, by its name or --label.
Several inputs go into one file in order, or into one file each if OUT is a folder or ends in /.
Memory does not grow with the number of events.`,
		Example:           "  hepmorph morph apply -m run/model.hmm -o morphed.root mc.root\n  hepmorph morph apply -m run/model.hmm -o morphed/ mc1.root mc2.root --friend",
		ValidArgsFunction: rootFiles,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := required("model", model); err != nil {
				return err
			}
			if err := required("output", o.Out); err != nil {
				return err
			}
			m, err := morph.ReadModel(model)
			if err != nil {
				return err
			}
			if shard != "" {
				i, n, _ := strings.Cut(shard, "/")
				var err1, err2 error
				o.Shard, err1 = strconv.Atoi(i)
				o.Shards, err2 = strconv.Atoi(n)
				if err1 != nil || err2 != nil || o.Shard < 1 || o.Shard > o.Shards {
					return usageError{fmt.Errorf("--shard %s: i/n with 1 <= i <= n is expected", shard)}
				}
			}
			o.In = args
			return a.apply(cmd, m, o)
		}}
	f := c.Flags()
	f.StringVarP(&model, "model", "m", "", "model file")
	f.StringVarP(&o.Out, "output", "o", "", "file or folder to write")
	f.StringVar(&o.Tree, "tree", "", "tree to morph (default: that of the training)")
	f.StringVar(&o.Suffix, "suffix", "", "suffix of morphed branches (default: the model's)")
	f.StringVar(&o.Label, "label", "", "which simulation of several in the config the files belong to: its label (default: by their names)")
	f.BoolVar(&o.Friend, "friend", false, "write only the new branches and the id")
	f.StringVar(&shard, "shard", "", "i/n: only that part of the entries")
	return c
}

func (a *app) apply(cmd *cobra.Command, m *morph.Model, o morph.ApplyOptions) error {
	bar := a.progress("event")
	o.Threads, o.Guard, o.Force, o.Progress = a.threads, true, a.force, bar.set
	start := time.Now()
	undo := folders(o.Out)
	out, err := m.Apply(cmd.Context(), o)
	if err != nil {
		undo()
	}
	bar.done()
	total := int64(0)
	for _, r := range out {
		total += r.Report.Entries
		s := r.Status
		a.logf("%s: %d entries; %d rows morphed, %d not selected, %d outside the trained range, %d with a sentinel kept; new branches: %s",
			r.Path, r.Report.Entries, s[1], s[0], s[2], s[3], strings.Join(r.Columns, " "))
		for _, l := range r.Report.Lost {
			a.logf("  not kept: %s: %s", l.Name, l.Why)
		}
		for _, l := range r.Report.Left {
			a.logf("  not copied: %s: %s", l.Name, l.Why)
		}
		if len(r.Stale) > 0 {
			a.logf("  made stale by the morph: %s", strings.Join(r.Stale, " "))
		}
		fmt.Fprintln(a.out, r.Path)
	}
	if err == nil && total > 0 {
		a.logf("%.0f events/s", float64(total)/time.Since(start).Seconds())
	}
	if err == nil && !a.json {
		a.next(out, o, m.Config().Output.Friend)
	}
	return err
}

// unused refuses a path that is taken, unless outputs may be replaced.
func (a *app) unused(path string) error {
	if _, err := os.Lstat(path); err != nil || a.force {
		return nil // a path that can't be looked at can't be written either, and that is said then
	}
	return &atomicfile.Error{Path: path, Err: fmt.Errorf("%w (to replace it: --force)", fs.ErrExist), Kept: true}
}

// folders notes which of dir and its parents are missing; undo removes those that were made since and are empty.
func folders(dir string) (undo func()) {
	var missing []string
	for p := filepath.Clean(dir); ; p = filepath.Dir(p) {
		if _, err := os.Lstat(p); !errors.Is(err, fs.ErrNotExist) || p == filepath.Dir(p) {
			break
		}
		missing = append(missing, p)
	}
	return func() {
		for _, p := range missing {
			if info, err := os.Lstat(p); err == nil && (!info.IsDir() || os.Remove(p) != nil) {
				return
			}
		}
	}
}

func inside(dir, name string) string { return filepath.Join(dir, name) }
