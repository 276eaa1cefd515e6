package morph

import (
	"fmt"
	"slices"
	"strings"

	"hepmorph/internal/config"
	"hepmorph/physics"
)

// PresetNames lists the layouts that PresetConfig knows.
func PresetNames() []string { return physics.Presets() }

// PresetList describes the layouts, one a line.
func PresetList() string {
	var b strings.Builder
	for _, name := range physics.Presets() {
		if p, err := physics.GetPreset(name); err == nil {
			fmt.Fprintf(&b, "  %-12s %s\n", p.Name, p.About)
		}
	}
	return b.String()
}

// PresetConfig prints a commented configuration for a layout. File names are examples.
func PresetConfig(name string) ([]byte, error) {
	p, err := physics.GetPreset(name)
	if err != nil {
		return nil, err
	}
	c := configOf(p, InputConfig{Files: []string{"simulation.root"}, Tree: p.Tree}, InputConfig{Files: []string{"data.root"}, Tree: p.Tree})
	return commented(c, slices.Concat([]string{"hepmorph: " + p.About}, p.Notes, []string{
		"change the file names, then: hepmorph morph check -c THIS; hepmorph morph train -c THIS --out run",
		"any value can be overridden: --set train.budget=5m",
	})...)
}

// configOf fills a configuration from what is known about a layout.
func configOf(p physics.Preset, simulation, data InputConfig) *Config {
	c := NewConfig()
	c.Train.Epochs = defaultEpochs
	simulation.Weight, simulation.XSec, simulation.KFactor, simulation.FilterEff, simulation.SumOfWeights = p.Weight, p.XSec, p.KFactor, p.FilterEff, p.SumOfWeights
	c.Inputs.Simulation, c.Inputs.Data = []InputConfig{simulation}, []InputConfig{data}
	c.ID = p.ID
	if p.Row != "" {
		c.Row = p.Row
	}
	for _, d := range p.Define {
		c.Define = append(c.Define, config.Item[string]{Name: d.Name, Value: d.Expr})
	}
	c.Select, c.Split.Train = p.Select, p.Split
	for _, s := range p.Features {
		f := FeatureSpec{Expr: short(s), Unit: s.Unit, Label: s.Label, Transform: choose(s.Transform), Bounds: s.Bounds, Gap: s.Gap, Atom: s.Atom,
			Sentinels: s.Sentinels, Mantissa: s.Mantissa, Range: s.Range, Log: s.Log}
		c.Features = append(c.Features, config.Item[FeatureSpec]{Name: s.Name, Value: f})
	}
	for _, s := range p.Conditions {
		k := ConditionSpec{Expr: short(s), Unit: s.Unit, Label: s.Label, Transform: choose(s.Transform), Bounds: s.Bounds, Gap: s.Gap, Range: s.Range, Log: s.Log}
		c.Conditions = append(c.Conditions, config.Item[ConditionSpec]{Name: s.Name, Value: k})
	}
	for _, s := range p.Observables {
		o := ObservableSpec{Expr: short(s), Unit: s.Unit, Label: s.Label, Range: s.Range, Blind: s.Blind, Peak: s.Peak, Log: s.Log}
		c.Observables = append(c.Observables, config.Item[ObservableSpec]{Name: s.Name, Value: o})
	}
	if len(c.Conditions) == 0 {
		c.Reweight.Method = "none"
	}
	c.Constraints = []ConstraintConfig{{Quantity: "mmd", Max: Bound{Value: 2, Kind: OverFloor}}}
	c.Validation.Slices, c.Validation.Energy = p.Slices, p.Energy
	return c
}

// commented prints a configuration below lines of comment.
func commented(c *Config, lines ...string) ([]byte, error) {
	body, err := c.YAML(true)
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	for _, line := range lines {
		fmt.Fprintf(&b, "# %s\n", line)
	}
	b.WriteByte('\n')
	b.Write(body)
	return []byte(b.String()), nil
}

// short leaves an expression out that is the name itself.
func short(s physics.Spec) string {
	if s.Expr == s.Name {
		return ""
	}
	return s.Expr
}

// choose leaves log and logit to the automatic transform, which keeps bounds the same way and follows the shape as well.
func choose(transform string) string {
	if transform == "log" || transform == "logit" {
		return ""
	}
	return transform
}
