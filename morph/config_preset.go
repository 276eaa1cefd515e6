package morph

import (
	"fmt"
	"slices"
	"strings"

	"hepmorph/internal/config"
	"hepmorph/physics"
	"hepmorph/physics/rootio"
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
	return template(p, "simulation.root", nil)
}

// ProposeConfig prints a commented configuration for a simulation file: that of the layout which its branches have, or one
// with its plain floating-point numbers as features. Lines above it say what was left out.
func ProposeConfig(file, tree string, branches []rootio.Branch) ([]byte, error) {
	if p, ok := physics.GuessPreset(tree, branches); ok {
		have := map[string]bool{}
		for _, b := range branches {
			have[b.Name] = true
		}
		p.Tree = tree
		p.ID = slices.DeleteFunc(slices.Clone(p.ID), func(id string) bool { return !have[id] })
		return template(p, file, []string{fmt.Sprintf("proposed for %s: the layout %s", file, p.Name)})
	}
	p := physics.Preset{About: "no known layout: all plain floating-point numbers are proposed as features", Tree: tree}
	for _, b := range branches {
		if b.Kind.Form == rootio.Scalar && (b.Kind.Elem == rootio.Float32 || b.Kind.Elem == rootio.Float64) && nameForm.MatchString(b.Name) {
			p.Features = append(p.Features, physics.Spec{Name: b.Name})
		}
	}
	if len(p.Features) == 0 {
		return nil, fmt.Errorf("morph: could not propose a config for %q: tree %q has no plain number that could be a feature: %w", file, tree, ErrInput)
	}
	return template(p, file, []string{"move to conditions what the morph depends on and must not change, delete what is neither"})
}

// template fills a configuration from what is known about a layout.
func template(p physics.Preset, file string, notes []string) ([]byte, error) {
	c := NewConfig()
	if err := c.resolve(); err != nil {
		return nil, err
	}
	c.Inputs.Simulation = []InputConfig{{Files: []string{file}, Tree: p.Tree, Weight: p.Weight}}
	c.Inputs.Data = []InputConfig{{Files: []string{"data.root"}, Tree: p.Tree}}
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
	body, err := c.YAML(true)
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	for _, line := range slices.Concat([]string{"hepmorph: " + p.About}, notes, p.Notes, []string{
		"change the file names, then: hepmorph morph train -c THIS --out run", "any value can be overridden: --set train.budget=5m",
	}) {
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
