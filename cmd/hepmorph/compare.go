package main

import (
	"fmt"
	"strings"

	"hepmorph/morph"
	"hepmorph/validation"
)

// comparison collects samples for a report, with the masks of the config's slices.
type comparison struct {
	cfg     *morph.Config
	samples []validation.Sample
	slices  []validation.Slice
}

func newComparison(cfg *morph.Config) *comparison {
	c := &comparison{cfg: cfg}
	for _, s := range cfg.Validation.Slices {
		c.slices = append(c.slices, validation.Slice{Name: s})
	}
	return c
}

// add adds loaded events under a role. kinematic and positive are weights as of morph.Model.Factors; moved has the columns that a morph has changed. Several
// simulations become one sample each, which the report stacks.
func (c *comparison) add(role string, ev *morph.Events, kinematic, positive []float64, moved map[string][]float64) error {
	whole := validation.Sample{Role: role, Cols: map[string][]float64{}, Weight: ev.Table.Weight, KinWeight: kinematic, TrainWeight: positive, ID: ev.EventNumbers(), Selected: int64(ev.Table.Len())}
	for _, name := range ev.Table.Names() {
		col, err := ev.Table.Column(name)
		if err != nil {
			return err
		}
		if col.F != nil {
			whole.Cols[name] = col.F
		}
	}
	for name, x := range moved {
		whole.Cols[name] = x
	}
	describe(&whole, ev.Parts)
	var masks [][]bool
	for _, s := range c.cfg.Validation.Slices {
		rows, err := ev.InSlice(s)
		if err != nil {
			return err
		}
		masks = append(masks, rows)
	}
	ranges := ev.Ranges()
	if role != validation.Simulation || len(ranges) < 2 {
		ranges = []morph.Range{{Hi: ev.Table.Len()}}
	}
	for _, r := range ranges {
		s := whole
		if len(ranges) > 1 {
			s = rowsOf(whole, r)
			s.Label = ev.Parts[r.Input].Label
			describe(&s, ev.Parts[r.Input:r.Input+1])
		}
		c.samples = append(c.samples, s)
		for i := range masks {
			c.slices[i].Rows = append(c.slices[i].Rows, masks[i][r.Lo:r.Hi])
		}
	}
	return nil
}

// describe names the files of a sample.
func describe(s *validation.Sample, parts []morph.Part) {
	var files []string
	s.Entries = 0
	for _, p := range parts {
		for _, f := range p.Files {
			files = append(files, base(f))
		}
		s.Tree = p.Tree
		s.Entries += p.CutFlow[0].Entries
	}
	s.File = strings.Join(files, " ")
	if label := parts[0].Label; len(parts) == 1 && (s.Role == validation.Simulation || s.Role == validation.Data) && label != validation.Simulation && label != validation.Data {
		s.Label = label // that of the config, not the name of the sample
	}
}

func base(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }

// rowsOf is a range of a sample's rows.
func rowsOf(s validation.Sample, r morph.Range) validation.Sample {
	cut := func(x []float64) []float64 {
		if x == nil {
			return nil
		}
		return x[r.Lo:r.Hi]
	}
	cols := make(map[string][]float64, len(s.Cols))
	for name, x := range s.Cols {
		cols[name] = x[r.Lo:r.Hi]
	}
	s.Cols, s.Weight, s.KinWeight, s.TrainWeight, s.Selected = cols, cut(s.Weight), cut(s.KinWeight), cut(s.TrainWeight), int64(r.Hi-r.Lo)
	if s.ID != nil {
		s.ID = s.ID[r.Lo:r.Hi]
	}
	return s
}

// settings are those of a report on a config.
func (c *comparison) settings(a *app, m *morph.Model) validation.Settings {
	v := c.cfg.Validation
	s := validation.Settings{Title: v.Title, Experiment: v.Experiment, Status: v.Label, Lumi: v.Lumi, Energy: v.Energy, Version: version(), Seed: c.cfg.Seed, Threads: a.threads,
		MaxEvents: v.MaxEvents, Notes: notes(c.cfg, m), Slices: c.slices, Absolute: c.cfg.Absolute()}
	if c.cfg.Absolute() && c.cfg.Split.Train != "" {
		s.Notes = append(s.Notes, "Shown are the rows set aside from training, of simulation and data alike: a part of the luminosity.")
	}
	if s.Lumi == "" && c.cfg.Absolute() {
		s.Lumi = fmt.Sprintf("%g fb^{-1}", float64(c.cfg.Inputs.Luminosity))
	}
	return s
}
