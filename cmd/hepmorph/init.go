package main

import (
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"hepmorph/morph"
	"hepmorph/physics/rootio"
)

func (a *app) morphInit() *cobra.Command {
	var preset string
	o := morph.ProposeOptions{Read: rootio.Options{Guard: true}}
	c := &cobra.Command{Use: "init [FILE] [--data FILE]", Short: "print a commented config to start from", Args: cobra.MaximumNArgs(1),
		Long: "Prints a config with a comment on every key. With a ROOT file of simulation, and better one of data too, the columns are proposed from the\n" +
			"branches that are there (CMS NanoAOD, flat ntuples, ATLAS Open Data), and atoms, sentinels and truncated floats are found in their values; of\n" +
			"an unknown layout all plain numbers are proposed as features. Without a file, an example for one of the known layouts:\n" + morph.PresetList(),
		Example:           "  hepmorph morph init mc.root --data data.root > run.yaml\n  hepmorph morph init --preset cms-nanoaod > run.yaml",
		ValidArgsFunction: rootFiles,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				if o.Data != "" || o.Tree != "" {
					return usageError{errors.New("--data and --tree say more of a file; there is no FILE of simulation")}
				}
				text, err := morph.PresetConfig(preset)
				if err != nil {
					return usageError{err}
				}
				_, err = a.out.Write(text)
				return err
			}
			if o.Simulation = args[0]; cmd.Flags().Changed("preset") {
				if _, err := morph.PresetConfig(preset); err != nil {
					return usageError{err}
				}
				o.Preset = preset
			}
			text, err := morph.Propose(cmd.Context(), o)
			if err != nil {
				return err
			}
			_, err = a.out.Write(text)
			return err
		}}
	f := c.Flags()
	f.StringVar(&preset, "preset", "diphoton", "layout: "+strings.Join(morph.PresetNames(), ", ")+"; with a file, its columns instead of those found")
	f.StringVar(&o.Data, "data", "", "file of data")
	f.StringVar(&o.Tree, "tree", "", "tree of the files (default: the one with most branches)")
	return c
}
