package main

import (
	"github.com/spf13/cobra"

	"hepmorph/calo"
)

func (a *app) caloInit() *cobra.Command {
	var geo, particle string
	c := &cobra.Command{Use: "init [FILE]", Short: "print a commented config to start from", Args: cobra.MaximumNArgs(1), ValidArgsFunction: showerFiles,
		Long: `Prints the default settings of calo train, with a comment on every key. With a file of showers, its name and its
geometry are filled in.`,
		Example: "  hepmorph calo init train.h5 > shower.yaml\n  hepmorph calo init --geometry ds2 > shower.yaml",
		RunE: func(cmd *cobra.Command, args []string) error {
			g, err := caloGeometry(geo, particle)
			if err != nil {
				return err
			}
			file := "train.h5"
			if len(args) > 0 {
				file = args[0]
				f, err := openShowers(cmd, file, g)
				if err != nil {
					return err
				}
				defer f.Close()
				g = f.Geometry
				if geo == "" {
					geo = g.Name
				}
			}
			cfg := calo.Proposal(g)
			cfg.Data.File, cfg.Data.Geometry, cfg.Data.Particle = file, geo, particle
			text, err := cfg.YAML(true, "train:    hepmorph calo train -c THIS --out shower", "generate: hepmorph calo generate -m shower/model.hmm -o showers.h5 --spectrum 1000:100000")
			if err != nil {
				return err
			}
			_, err = a.out.Write(text)
			return err
		}}
	geometryFlags(c, &geo, &particle)
	return c
}
