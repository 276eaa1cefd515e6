package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"hepmorph/calo"
	"hepmorph/internal/modelfile"
	"hepmorph/morph"
)

func (a *app) modelCommand() *cobra.Command {
	show := &cobra.Command{Use: "show MODEL", Short: "print the model card of a morph or of showers", Args: cobra.ExactArgs(1), Example: "  hepmorph model show run/model.hmm\n  hepmorph model show shower/model.hmm",
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return []string{"hmm"}, cobra.ShellCompDirectiveFilterFileExt
		},
		RunE: func(_ *cobra.Command, args []string) error {
			card, err := modelCard(args[0])
			if err != nil {
				return err
			}
			fmt.Fprint(a.out, card)
			return nil
		}}
	config := &cobra.Command{Use: "config MODEL", Short: "print the resolved config of a morph", Args: cobra.ExactArgs(1), Example: "  hepmorph model config run/model.hmm > again.yaml",
		RunE: func(_ *cobra.Command, args []string) error {
			m, err := morph.ReadModel(args[0])
			if err != nil {
				return err
			}
			text, err := m.Config().YAML(false)
			if err != nil {
				return err
			}
			_, err = a.out.Write(text)
			return err
		}}
	return group("model", "look into model files", show, config)
}

// modelCard is the card of a model of either kind.
func modelCard(path string) (string, error) {
	f, err := modelfile.Read(path)
	if err != nil {
		return "", err
	}
	if f.Meta["kind"] == calo.ModelKind {
		m, err := calo.ReadModel(path)
		if err != nil {
			return "", err
		}
		return m.Card(), nil
	}
	m, err := morph.ReadModel(path)
	if err != nil {
		return "", err
	}
	return m.Card(), nil
}
