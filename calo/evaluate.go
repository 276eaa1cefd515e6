package calo

import (
	"context"
	"errors"
	"fmt"
	"math"

	"hepmorph/internal/ad"
	"hepmorph/physics/rootio"
	"hepmorph/validation/metric"
	"hepmorph/validation/plot"
)

// EvaluateSettings say how generated showers are judged. The zero value is the full evaluation.
type EvaluateSettings struct {
	// Truth is a second, independent simulated sample. Every number is also given for it in the place of the generated showers: the floor, what a
	// perfect model would show. Without it the reference is halved.
	Truth     Source
	Targets   string // a level of Levels; default good
	Quick     bool   // fewer rows, draws and trainings: seconds instead of minutes
	NoFigures bool
	Style     plot.Style
	Seed      uint64
	Threads   int // 0: all
}

// A Metric is one number of the evaluation: of generated showers, and its floor, that of truth.
type Metric struct {
	Name, Method, Subject, Unit string
	N                           int64 // showers of the smaller sample
	Value, SD, Floor, FloorSD   float64
	Target                      float64 // the largest value that passes; NaN: nothing is demanded
}

// Passes says whether the value keeps its target; ok is false where nothing is demanded.
func (m *Metric) Passes() (pass, ok bool) { return m.Value <= m.Target, !math.IsNaN(m.Target) }

// A Figure has a name that is good for a file, and the numbers that it shows.
type Figure struct {
	Name, Section, Caption, Alt string
	Drawing                     plot.Drawing
	Wide                        bool
	Histograms                  []rootio.Hist
}

// Sections of the figures, in their order.
func Sections() []string {
	return []string{secEnergies, secProfiles, secClassifiers, secVoxels, secAverage, secLayers, secCorrelations, secAverageLayer}
}

const (
	secEnergies     = "Energies"
	secProfiles     = "Profiles"
	secClassifiers  = "Classifiers"
	secVoxels       = "Voxels"
	secAverage      = "Average shower"
	secAverageLayer = "Average shower in each layer"
	secLayers       = "Layers"
	secCorrelations = "Correlations"
)

// An Evaluation is what Evaluate found.
type Evaluation struct {
	Reference, Generated, Truth *Features
	Metrics                     []Metric
	Figures                     []Figure
	Halved                      bool // the floor is of one half of the reference against the other one
	SameEnergies                bool // generated at the incident energies of the reference, shower by shower
}

// Find returns a metric, or nil.
func (e *Evaluation) Find(name, method, subject string) *Metric {
	for i := range e.Metrics {
		if m := &e.Metrics[i]; m.Name == name && m.Method == method && m.Subject == subject {
			return m
		}
	}
	return nil
}

// mostJudged is how many showers of each sample the classifiers look at.
const mostJudged = 20000

// Evaluate compares generated with reference showers by the definitions of the CaloChallenge (arXiv:2410.21611) and of the judges of
// this project: separation powers in the official bins, boosted trees on the high-level features and on the layer energies (200 trees of 31
// leaves, rate 0.05, out-of-fold scores of 5 folds), networks on the voxels (three hidden layers of 256), both calibrated by isotonic
// regression, FPD, KPD, precision, recall, density and coverage, response and occupancy. The samples must be of one geometry and should have
// independent incident energies of the same law. Errors: those of the sources, other geometries or empty samples, the context's.
func Evaluate(ctx context.Context, ref, gen Source, s EvaluateSettings) (*Evaluation, error) {
	fail := func(format string, args ...any) (*Evaluation, error) {
		return nil, fmt.Errorf("calo: could not evaluate showers: "+format, args...)
	}
	demanded, err := demands(s.Targets)
	if err != nil {
		return nil, err
	}
	g := ref.Geometry()
	for _, o := range []Source{gen, s.Truth} {
		if o != nil && !o.Geometry().Equal(g) {
			return fail("reference has %v, another sample %v", g, o.Geometry())
		}
	}
	e := &Evaluation{Halved: s.Truth == nil}
	truth := s.Truth
	if e.Halved { // the generated showers may be of the same energies as the reference: then both get other ones
		ref, gen, truth = every{ref, 0, 2, math.MaxInt}, every{gen, 1, 2, math.MaxInt}, every{ref, 1, 2, math.MaxInt}
	}
	n := int64(math.MaxInt64)
	for _, f := range []struct {
		src Source
		to  **Features
	}{{ref, &e.Reference}, {gen, &e.Generated}, {truth, &e.Truth}} {
		if *f.to, err = Measure(f.src, s.Threads); err != nil {
			return nil, err
		}
		n = min(n, (*f.to).N)
	}
	if n < 20 {
		return fail("%d showers on one side, 20 are needed", n)
	}
	v := evaluator{e: e, n: n, s: s, pool: ad.NewPool(s.Threads)}
	defer v.pool.Close()
	for i, f := range []struct {
		f   *Features
		src Source
	}{{e.Reference, ref}, {e.Generated, gen}, {e.Truth, truth}} {
		v.of[i] = sample{f.f.Slice(0, int(n)), every{f.src, 0, 1, int(n)}}
	}
	e.SameEnergies = sameEnergies(v.of[0].Features, v.of[1].Features)
	for _, step := range []func(context.Context) error{v.spectrum, v.separations, v.moments, v.trees, v.networks, v.distances, v.neighbours, v.counts} {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	for i := range e.Metrics {
		e.Metrics[i].Target = demanded.of(&e.Metrics[i])
	}
	if !s.NoFigures {
		v.figures()
	}
	return e, nil
}

// every is each step-th shower of a source from number first on, n of them at most.
type every struct {
	Source
	first, step, n int
}

func (s every) Each(visit func([]float64, []float32) error) error {
	at, done, width := 0, 0, s.Geometry().Voxels()
	enough := errors.New("enough")
	var energies []float64
	var kept []float32
	err := s.Source.Each(func(incident []float64, voxels []float32) error {
		energies, kept = energies[:0], kept[:0]
		for i, e := range incident {
			if k := at + i - s.first; k >= 0 && k%s.step == 0 && done < s.n {
				energies, kept = append(energies, e), append(kept, voxels[i*width:(i+1)*width]...)
				done++
			}
		}
		at += len(incident)
		if len(energies) > 0 {
			if err := visit(energies, kept); err != nil {
				return err
			}
		}
		if done == s.n {
			return enough
		}
		return nil
	})
	if errors.Is(err, enough) {
		return nil
	}
	return err
}

func sameEnergies(a, b *Features) bool {
	for i, x := range a.Incident {
		if math.Abs(x-b.Incident[i]) > 1e-6*x {
			return false
		}
	}
	return true
}

// sample is one side of a comparison.
type sample struct {
	*Features
	src Source
}

// evaluator compares the generated showers, and truth in their place, with the reference.
type evaluator struct {
	e    *Evaluation
	n    int64
	s    EvaluateSettings
	of   [3]sample // reference, generated, truth
	pool *ad.Pool

	spectra [3][]float64 // counts of voxel energies
	edges   []float64
	judged  []judged
}

var nan = math.NaN()

// compare adds a metric: of the generated showers and of truth.
func (v *evaluator) compare(m Metric, of func(x sample) (value, sd float64, err error)) (err error) {
	m.N, m.Target = v.n, nan
	if m.Value, m.SD, err = of(v.of[1]); err != nil {
		return err
	}
	if m.Floor, m.FloorSD, err = of(v.of[2]); err != nil {
		return err
	}
	v.e.Metrics = append(v.e.Metrics, m)
	return nil
}

func (v *evaluator) spectrum(context.Context) (err error) {
	for i, x := range v.of {
		if v.edges, v.spectra[i], err = Spectrum(x.src, v.e.Reference.Largest); err != nil {
			return err
		}
	}
	v.e.Metrics = append(v.e.Metrics, Metric{Name: "separation", Method: "official", Subject: "voxel", N: v.n, Value: metric.Separation(v.spectra[0], v.spectra[1]), SD: nan,
		Floor: metric.Separation(v.spectra[0], v.spectra[2]), FloorSD: nan, Target: nan})
	return nil
}

func (v *evaluator) separations(context.Context) error {
	floor := Separations(v.of[0].Features, v.of[2].Features)
	for i, s := range Separations(v.of[0].Features, v.of[1].Features) {
		v.e.Metrics = append(v.e.Metrics, Metric{Name: "separation", Method: "official", Subject: s.Group, N: v.n, Value: s.Value, SD: nan, Floor: floor[i].Value, FloorSD: nan, Target: nan})
	}
	return nil
}

func meanSD(x []float64) (mean, sd float64) {
	var m moments
	for _, v := range x {
		m.add(v)
	}
	if m.n == 0 {
		return nan, nan
	}
	mean = m.sum / m.n
	sd = math.Sqrt(max(0, m.sq/m.n-mean*mean))
	return m.shift + mean, sd
}

// occupancy is the number of filled voxels of each shower.
func (f *Features) occupancy() []float64 {
	out := make([]float64, len(f.Incident))
	for l, s := range f.Sparsity {
		n := float64(f.Geometry.Layers[l].Voxels())
		for i, x := range s {
			out[i] += math.Round((1 - x) * n)
		}
	}
	return out
}

// moments are the differences of mean and standard deviation to the reference, with their errors.
func (v *evaluator) moments(context.Context) error {
	for _, c := range []struct {
		subject string
		of      func(*Features) []float64
	}{{"E_tot/E_inc", (*Features).Response}, {"filled voxels", (*Features).occupancy}} {
		rm, rs := meanSD(c.of(v.of[0].Features))
		n := float64(v.n)
		if err := v.compare(Metric{Name: "mean", Method: "all", Subject: c.subject}, func(x sample) (float64, float64, error) {
			m, s := meanSD(c.of(x.Features))
			return m - rm, math.Hypot(s, rs) / math.Sqrt(n), nil
		}); err != nil {
			return err
		}
		if err := v.compare(Metric{Name: "width", Method: "all", Subject: c.subject}, func(x sample) (float64, float64, error) {
			_, s := meanSD(c.of(x.Features))
			return s - rs, math.Hypot(s, rs) / math.Sqrt(2*n), nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// counts are voxels that no file of showers should hold.
func (v *evaluator) counts(context.Context) error {
	for _, c := range []struct {
		name string
		of   func(*Features) int64
	}{
		{"below_threshold", func(f *Features) int64 { return f.BelowThreshold }}, {"negative", func(f *Features) int64 { return f.Negative }},
		{"not_finite", func(f *Features) int64 { return f.NotFinite }},
	} {
		if err := v.compare(Metric{Name: c.name, Method: "count", Subject: "voxels"}, func(x sample) (float64, float64, error) { return float64(c.of(x.Features)), nan, nil }); err != nil {
			return err
		}
	}
	return nil
}

// distanceSettings are the official ones where the samples are large enough, else those of the judges.
func (v *evaluator) distanceSettings() metric.PhysicsSettings {
	p := metric.PhysicsSettings{Seed: v.s.Seed, Threads: v.s.Threads}
	if v.n < 50000 || v.s.Quick {
		p.Min, p.Max, p.Draws = 2000, 8000, 5
		p.Rows = int(min(v.n, 5000))
	}
	if v.s.Quick {
		p.Draws, p.Points, p.Rows = 2, 5, int(min(v.n, 2000))
	}
	return p
}

func (v *evaluator) distances(context.Context) error {
	ref := v.of[0].HighLevel()
	p := v.distanceSettings()
	for _, c := range []struct {
		name string
		of   func(x, y [][]float64, p metric.PhysicsSettings) (float64, float64, error)
	}{{"fpd", metric.FPD}, {"kpd", metric.KPD}} {
		if err := v.compare(Metric{Name: c.name, Method: "jetnet", Subject: "high-level features"}, func(x sample) (float64, float64, error) { return c.of(ref, x.HighLevel(), p) }); err != nil {
			return err
		}
	}
	return nil
}

// logVoxels are log10 of the voxels of showers with empty ones at 0.1 MeV, column by column.
func logVoxels(src Source) ([][]float64, error) {
	g := src.Geometry()
	out := make([][]float64, g.Voxels())
	err := src.Each(func(incident []float64, voxels []float32) error {
		for i := range incident {
			for k, x := range voxels[i*g.Voxels() : (i+1)*g.Voxels()] {
				e := 0.1
				if above(x, g.Threshold) {
					e = float64(x)
				}
				out[k] = append(out[k], math.Log10(e))
			}
		}
		return nil
	})
	return out, err
}

func (v *evaluator) neighbours(context.Context) error {
	n := int(min(v.n, 1000))
	if v.s.Quick {
		n = int(min(v.n, 500))
	}
	var found [2]metric.Neighbours
	var ref [][]float64
	for i, x := range v.of {
		voxels, err := logVoxels(every{x.src, 0, max(1, int(v.n)/n), n})
		if err != nil {
			return err
		}
		if i == 0 {
			ref = voxels
		} else if found[i-1], err = metric.PRDC(ref, voxels, 5, v.s.Threads); err != nil {
			return err
		}
	}
	for _, m := range []struct {
		name string
		of   func(metric.Neighbours) float64
	}{
		{"precision", func(n metric.Neighbours) float64 { return n.Precision }}, {"recall", func(n metric.Neighbours) float64 { return n.Recall }},
		{"density", func(n metric.Neighbours) float64 { return n.Density }}, {"coverage", func(n metric.Neighbours) float64 { return n.Coverage }},
	} {
		v.e.Metrics = append(v.e.Metrics, Metric{Name: m.name, Method: "prdc", Subject: "voxels", N: int64(n), Value: m.of(found[0]), SD: nan, Floor: m.of(found[1]), FloorSD: nan, Target: nan})
	}
	return nil
}
