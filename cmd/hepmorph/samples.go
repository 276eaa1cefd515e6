package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"hepmorph/samples"
)

func (a *app) samplesCommand() *cobra.Command {
	return group("samples", "write samples whose truth is known", a.samplesDiphoton(), a.samplesOneflow(), a.samplesShowers())
}

func (a *app) samplesDiphoton() *cobra.Command {
	var out, layout string
	var s samples.DiphotonSettings
	var processes []string
	c := &cobra.Command{Use: "diphoton --out DIR", Short: "an LHC-like diphoton simulation and data", Args: cobra.NoArgs,
		Long: `Writes diphoton-simulation.root and diphoton-data.root: continuum γγ with a peak at 125 GeV, shower shapes,
zero-inflated isolations, pile-up, signed generator weights. Data differ in energy scale and resolution, shower
shapes, isolation and pile-up, in closed form; --truth adds what a perfect morph would make of the simulation.`,
		Example: "  hepmorph samples diphoton --out samples --events 200000 --truth\n  hepmorph samples diphoton --out nano --layout nanoaod --processes yy,yj,signal",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := required("out", out); err != nil {
				return err
			}
			if s.Events < 1 {
				return usageError{fmt.Errorf("--events %d: at least 1 is expected", s.Events)}
			}
			if s.Peak < 0 {
				return usageError{fmt.Errorf("--peak %g: a share of at least 0 and below 1 is expected", s.Peak)}
			}
			s.Threads, s.Force, s.Layout = a.threads, a.force, samples.Layout(layout)
			for _, p := range processes {
				v, err := samples.ParseProcess(p)
				if err != nil {
					return usageError{err}
				}
				s.Processes = append(s.Processes, v)
			}
			if s.Peak == 0 {
				s.Peak = -1 // none; 0 would be the default
			}
			bar := a.progress("events")
			s.Progress = bar.set
			files, err := samples.WriteDiphoton(cmd.Context(), out, s)
			bar.done()
			return a.written(files, err)
		}}
	f := c.Flags()
	f.StringVar(&out, "out", "", "folder to write to")
	f.Int64Var(&s.Events, "events", 100000, "events of each sample")
	f.Uint64Var(&s.Seed, "seed", 1, "seed of all random numbers")
	f.StringVar(&layout, "layout", "flat", "flat, nanoaod or atlas-2025")
	f.BoolVar(&s.Truth, "truth", false, "write the answer of a perfect morph too")
	f.Float64Var(&s.Peak, "peak", 0.02, "share of the 125 GeV peak in both samples")
	f.StringSliceVar(&processes, "processes", nil, "write one simulation for each of yy, yj, signal instead of one for all")
	return c
}

func (a *app) samplesOneflow() *cobra.Command {
	var out string
	var s samples.OneflowSettings
	c := &cobra.Command{Use: "oneflow --out DIR", Short: "the published toy of arXiv 2403.18582", Args: cobra.NoArgs,
		Long:    "Writes oneflow-simulation.root and oneflow-data.root with the columns pt, eta, noise, v1A, v2A, v1B, v2B.",
		Example: "  hepmorph samples oneflow --out samples --events 300000",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := required("out", out); err != nil {
				return err
			}
			if s.Events < 1 {
				return usageError{fmt.Errorf("--events %d: at least 1 is expected", s.Events)}
			}
			s.Threads, s.Force = a.threads, a.force
			bar := a.progress("events")
			s.Progress = bar.set
			files, err := samples.WriteOneflow(cmd.Context(), out, s)
			bar.done()
			return a.written(files, err)
		}}
	f := c.Flags()
	f.StringVar(&out, "out", "", "folder to write to")
	f.IntVar(&s.Events, "events", 100000, "events of each sample")
	f.Uint64Var(&s.Seed, "seed", 1, "seed of all random numbers")
	return c
}

func (a *app) written(files []string, err error) error {
	if errors.Is(err, samples.ErrSettings) {
		return usageError{err}
	}
	if err != nil {
		return err
	}
	for _, f := range files {
		fmt.Fprintln(a.out, f)
	}
	return nil
}
