package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"hepmorph/internal/atomicfile"
	"hepmorph/morph"
	"hepmorph/validation"
)

func (a *app) morphCheck() *cobra.Command {
	var conf, out string
	var set []string
	c := &cobra.Command{Use: "check -c CONFIG [--out DIR]", Short: "look at both samples before any training", Args: cobra.NoArgs,
		Long: `Prints what a training would start from: the cut flow of every input with yields, sums of weights, effective events
and negative weights; every column with its range, atoms, sentinels, truncation and what lies outside the splines; the
distance of simulation and data, by column and by a classifier with its floor; the time and memory of the training;
and what to change in the config, as lines to paste. With --out also figures, as DIR/report.html.`,
		Example: "  hepmorph morph check -c run.yaml\n  hepmorph morph check -c run.yaml --out look",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := required("config", conf); err != nil {
				return err
			}
			cfg, err := a.loadConfig(conf, set)
			if err != nil {
				return err
			}
			if out != "" {
				for _, name := range []string{"report.html", "check.txt", "metrics.json", "summary.md", "histograms.root"} {
					if err := a.unused(inside(out, name)); err != nil {
						return err
					}
				}
			}
			found, err := morph.CheckConfig(cmd.Context(), cfg, morph.CheckOptions{Threads: a.threads, Guard: true})
			if err != nil {
				return err
			}
			text := found.String()
			if _, err := io.WriteString(a.out, text); err != nil {
				return err
			}
			if out != "" {
				if err := a.checkReport(cmd, cfg, found, out, text); err != nil {
					return err
				}
			}
			return found.Err()
		}}
	f := c.Flags()
	f.StringVarP(&conf, "config", "c", "", "configuration (see: hepmorph morph init)")
	f.StringVar(&out, "out", "", "folder of a report with figures")
	f.StringArrayVar(&set, "set", nil, "override a value of the config: key=value, repeatable")
	c.RegisterFlagCompletionFunc("config", yamlFiles)
	return c
}

// checkReport draws data against simulation, with the weights that a training would use.
func (a *app) checkReport(cmd *cobra.Command, cfg *morph.Config, found *morph.Check, out, text string) error {
	cmp := newComparison(cfg)
	for _, d := range []morph.Domain{morph.Data, morph.Simulation} {
		ev, kinematic, positive := found.HeldOut(d)
		role := validation.Data
		if d == morph.Simulation {
			role = validation.Simulation
		}
		if err := cmp.add(role, ev, kinematic, positive, nil); err != nil {
			return err
		}
	}
	set := cmp.settings(a, nil)
	set.Quick, set.Text = true, text
	undo := folders(out)
	if _, err := validation.Run(cmd.Context(), out, cmp.samples, variables(cfg), set); err != nil {
		undo()
		return err
	}
	if err := atomicfile.WriteFile(inside(out, "check.txt"), []byte(text)); err != nil {
		return err
	}
	_, err := fmt.Fprintln(a.out, inside(out, "report.html"))
	return err
}
