package morph

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"hepmorph/internal/config"
	"hepmorph/physics"
	"hepmorph/physics/rootio"
)

// Luminosity is an integrated luminosity in inverse femtobarn.
type Luminosity float64

// SetScalar reads 36.1, "36.1 fb^-1" or "36100 pb^-1".
func (l *Luminosity) SetScalar(text string) error {
	num, unit, _ := strings.Cut(strings.TrimSpace(text), " ")
	per := map[string]float64{"": 1, "fb-1": 1, "/fb": 1, "pb-1": 1e-3, "/pb": 1e-3}
	f, known := per[strings.NewReplacer("^", "", "{", "", "}", "", " ", "").Replace(unit)]
	v, err := strconv.ParseFloat(num, 64)
	if err != nil || v-v != 0 || !(v > 0) || !known {
		return fmt.Errorf("%q is no luminosity (like 36.1, in fb^-1, or '36100 pb^-1')", text)
	}
	*l = Luminosity(v * f)
	return nil
}

func (l Luminosity) String() string { return strconv.FormatFloat(float64(l), 'g', -1, 64) + " fb^-1" }

// perPicobarn is the luminosity in inverse picobarn, the unit of cross sections.
func (l Luminosity) perPicobarn() float64 { return 1000 * float64(l) }

// fromRuns as sum_of_weights stands for the sum that NanoAOD keeps in its tree Runs.
const fromRuns = "Runs"

// factors are what an event's weight is multiplied with, in their order.
func (in *InputConfig) factors() []string {
	return slices.DeleteFunc([]string{in.Weight, in.XSec, in.KFactor, in.FilterEff}, func(s string) bool { return s == "" })
}

// eventWeight is the expression of an event's weight: weight * xsec * kfac * filteff / sum_of_weights, without a sum that is in Runs.
func (in *InputConfig) eventWeight() string {
	if in.XSec == "" {
		return in.Weight
	}
	w := "(" + strings.Join(in.factors(), ") * (") + ")"
	if in.SumOfWeights != fromRuns {
		w += " / (" + in.SumOfWeights + ")"
	}
	return w
}

// name is the label of an input, or what tells it from the others.
func (in *InputConfig) name(d Domain, inputs int) string {
	switch {
	case in.Label != "":
		return in.Label
	case inputs > 1 && len(in.Files) > 0:
		return strings.TrimSuffix(filepath.Base(in.Files[0]), filepath.Ext(in.Files[0]))
	}
	return domainName(d)
}

// Absolute reports whether the weights of the simulation carry cross sections and a luminosity, so that their sums are numbers of events.
func (c *Config) Absolute() bool { return c.Inputs.Luminosity > 0 }

// validateNormalisation checks that all simulations are normalised alike.
func (c *Config) validateNormalisation(r *config.Report) {
	for i, in := range c.Inputs.Data {
		at := fmt.Sprintf("inputs.data[%d]", i)
		for _, kv := range in.normalisation() {
			if kv[1] != "" {
				r.Errorf(at+"."+kv[0], "data are not normalised to a cross section")
			}
		}
	}
	with := slices.IndexFunc(c.Inputs.Simulation, func(in InputConfig) bool { return in.XSec != "" })
	for i, in := range c.Inputs.Simulation {
		at := fmt.Sprintf("inputs.simulation[%d]", i)
		for _, kv := range in.normalisation() {
			if x, err := strconv.ParseFloat(kv[1], 64); err == nil && !(x > 0) {
				r.Errorf(at+"."+kv[0], "%s must be positive", kv[1])
			}
			if in.XSec == "" && kv[1] != "" {
				r.Errorf(at+"."+kv[0], "there is no xsec that it belongs to")
			}
		}
		switch {
		case in.XSec != "" && in.SumOfWeights == "":
			r.Errorf(at+".sum_of_weights", "is required with xsec: the sum over all generated events, as a number, as a branch, or Runs (NanoAOD)")
		case in.XSec == "" && with >= 0:
			r.Errorf(at+".xsec", "is required, as simulation[%d] has one: all simulations must be normalised alike", with)
		case in.XSec == "" && c.Absolute():
			r.Errorf(at+".xsec", "is required with a luminosity: cross section in pb, and sum_of_weights")
		}
	}
}

// normalisation lists the keys of an input that normalise it, with their values.
func (in *InputConfig) normalisation() [4][2]string {
	return [4][2]string{{"xsec", in.XSec}, {"kfac", in.KFactor}, {"filteff", in.FilterEff}, {"sum_of_weights", in.SumOfWeights}}
}

// sumInRuns adds the sums of generator weights in the trees Runs of NanoAOD files.
func sumInRuns(ctx context.Context, files []string, read rootio.Options) (float64, error) {
	const remedy = "sum_of_weights: Runs is the sum that NanoAOD keeps in a tree of that name; give the number, or a branch, instead"
	chain, err := rootio.Open(ctx, files, fromRuns, read)
	if err != nil {
		return 0, fmt.Errorf("%w (%s)", err, remedy)
	}
	defer chain.Close()
	name := "genEventSumw"
	if _, err := chain.Branch(name); err != nil {
		name += "_" // NanoAOD v6
	}
	sum := 0.0
	err = chain.Read(ctx, []string{name}, 0, chain.Entries(), func(b *rootio.Batch) error {
		for i := range b.N {
			sum += b.Cols[name].Float(i)
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("%w (%s)", err, remedy)
	}
	if !(sum > 0) {
		return 0, fmt.Errorf("morph: could not normalise %s: %s in Runs adds up to %v (%s): %w", files[0], name, sum, remedy, ErrInput)
	}
	return sum, nil
}

// normalise divides the weights of input i by the sum in its trees Runs, where that is asked for, and returns it.
func (c *Config) normalise(ctx context.Context, d Domain, i int, s *physics.Sample) (float64, error) {
	if d != Simulation || c.Inputs.Simulation[i].SumOfWeights != fromRuns {
		return 0, nil
	}
	sum, err := sumInRuns(ctx, s.Files, s.Read)
	if err == nil {
		divide(s, sum)
	}
	return sum, err
}

// sumsInRuns are the sums by which the weights of each input were divided; nil if none was.
func (ev *Events) sumsInRuns() []float64 {
	sums, any := make([]float64, len(ev.Parts)), false
	for i, p := range ev.Parts {
		sums[i] = p.Runs
		any = any || p.Runs > 0
	}
	if !any {
		return nil
	}
	return sums
}

// divide divides the weights of a sample by a sum of weights.
func divide(s *physics.Sample, sum float64) {
	if s.Scale == 0 {
		s.Scale = 1
	}
	s.Scale /= sum
}

// inputOf says which simulation files that are to be morphed belong to, as its weight and selection are theirs: the one of that label, else the one whose files
// have their names.
func (c *Config) inputOf(files []string, label string) (int, error) {
	list := c.Inputs.Simulation
	var labels []string
	for i := range list {
		labels = append(labels, list[i].name(Simulation, len(list)))
	}
	choose := "choose one with --label: " + strings.Join(labels, ", ")
	if label != "" {
		if i := slices.Index(labels, label); i >= 0 {
			return i, nil
		}
		return 0, fmt.Errorf("morph: could not find the simulation %q in the model's config (%s): %w", label, choose, ErrInput)
	}
	alike := !slices.ContainsFunc(list, func(in InputConfig) bool {
		return in.eventWeight() != list[0].eventWeight() || in.Scale != list[0].Scale || in.SumOfWeights == fromRuns && len(list) > 1 || !slices.Equal(in.Select, list[0].Select)
	})
	if alike {
		return 0, nil
	}
	found := -1
	for _, f := range files {
		var of []int
		for i := range list {
			if list[i].names(f) {
				of = append(of, i)
			}
		}
		switch {
		case len(of) != 1:
			return 0, fmt.Errorf("morph: could not weigh %q: the model was trained on %d simulations, and the name says not which it belongs to (%s): %w", f, len(list), choose, ErrInput)
		case found >= 0 && of[0] != found:
			return 0, fmt.Errorf("morph: could not merge %q into one file with the others: it belongs to %q, they to %q, with other weights (give a folder as output): %w", f, labels[of[0]], labels[found], ErrInput)
		}
		found = of[0]
	}
	return found, nil
}

// names reports whether an input lists a file, in whatever folder.
func (in *InputConfig) names(file string) bool {
	base := filepath.Base(file)
	return slices.ContainsFunc(in.Files, func(f string) bool {
		match, err := filepath.Match(filepath.Base(f), base)
		return filepath.Base(f) == base || err == nil && match
	})
}
