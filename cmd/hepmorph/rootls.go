package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"hepmorph/physics/rootio"
)

func (a *app) rootCommand() *cobra.Command {
	return group("root", "look into ROOT files", a.rootLs())
}

func (a *app) rootLs() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{Use: "ls FILE...", Short: "list trees, branches, types and entries", Args: cobra.MinimumNArgs(1),
		Long:              "Lists every object of a file; for trees their entries and branches, with the type that the file gives and the counter of arrays.\nFILE may be root://host//path.",
		Example:           "  hepmorph root ls mc.root",
		ValidArgsFunction: rootFiles,
		RunE: func(cmd *cobra.Command, args []string) error {
			for i, path := range args {
				list, err := rootio.List(cmd.Context(), path, rootio.Options{Guard: true})
				if err != nil {
					return err
				}
				if asJSON {
					e := json.NewEncoder(a.out)
					e.SetIndent("", "  ")
					if err := e.Encode(map[string]any{"file": path, "objects": list}); err != nil {
						return err
					}
					continue
				}
				if i > 0 {
					fmt.Fprintln(a.out)
				}
				a.listing(path, list)
			}
			return nil
		}}
	c.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return c
}

func (a *app) listing(path string, list []rootio.TreeInfo) {
	fmt.Fprintln(a.out, path)
	for _, t := range list {
		switch {
		case t.Why != "":
			fmt.Fprintf(a.out, "  %s  %s: %s\n", t.Path, t.Class, t.Why)
			continue
		case !t.IsTree():
			fmt.Fprintf(a.out, "  %s  %s\n", t.Path, t.Class)
			continue
		}
		fmt.Fprintf(a.out, "  %s  %s, %d entries, %d branches\n", t.Path, t.Class, t.Entries, len(t.Branches))
		width := 0
		for _, b := range t.Branches {
			width = max(width, len(b.Name))
		}
		for _, b := range t.Branches {
			kind := b.Kind.String()
			if b.Why != "" {
				kind = fmt.Sprintf("%s: %s", b.Type, b.Why)
			} else if b.Counter != "" {
				kind += " counted by " + b.Counter
			}
			fmt.Fprintln(a.out, strings.TrimRight(fmt.Sprintf("    %-*s  %s", width, b.Name, kind), " "))
		}
	}
}

func rootFiles(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return []string{"root"}, cobra.ShellCompDirectiveFilterFileExt
}
