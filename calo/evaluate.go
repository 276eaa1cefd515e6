package calo

import (
	"context"
	"fmt"
	"math"

	"hepmorph/internal/gbdt"
	"hepmorph/validation/metric"
	"hepmorph/validation/plot"
)

// EvaluateSettings say how generated showers are judged. The zero value is the full evaluation.
type EvaluateSettings struct {
	// Truth is a second, independent reference. With it every number is also given for reference against truth, which is
	// what a perfect model would show.
	Truth     Source
	Quick     bool // fewer rows and draws: seconds instead of minutes
	NoFigures bool
	Style     plot.Style
	Seed      uint64
	Threads   int // 0: all
}

// A Metric is one number of the evaluation: of generated showers, and its floor, that of truth (NaN without one).
type Metric struct {
	Name, Method, Subject, Unit string
	N                           int64 // showers of the smaller sample
	Value, SD, Floor, FloorSD   float64
}

// A Figure has a name that is good for a file.
type Figure struct {
	Name, Title string
	Drawing     plot.Drawing
}

// An Evaluation is what Evaluate found.
type Evaluation struct {
	Reference, Generated *Features
	Metrics              []Metric
	Figures              []Figure
}

// Find returns a metric, or nil.
func (e *Evaluation) Find(name, subject string) *Metric {
	for i := range e.Metrics {
		if e.Metrics[i].Name == name && e.Metrics[i].Subject == subject {
			return &e.Metrics[i]
		}
	}
	return nil
}

// Evaluate compares generated with reference showers by the definitions of the CaloChallenge (arXiv:2410.21611) and of the judges of
// this project: separation powers in the official bins, trees on the high-level features and on the layer energies (200 trees of 31
// leaves, rate 0.05, out-of-fold scores of 5 folds), FPD, KPD, precision, recall, density and coverage, response and occupancy. The two
// samples must be of one geometry and should have independent incident energies of the same law. Errors: those of the sources, and
// other geometries or empty samples.
func Evaluate(ctx context.Context, ref, gen Source, s EvaluateSettings) (*Evaluation, error) {
	fail := func(format string, args ...any) (*Evaluation, error) {
		return nil, fmt.Errorf("calo: could not evaluate showers: "+format, args...)
	}
	g := ref.Geometry()
	for _, o := range []Source{gen, s.Truth} {
		if o != nil && !o.Geometry().Equal(g) {
			return fail("reference has %v, another sample %v", g, o.Geometry())
		}
	}
	r, err := Measure(ref, s.Threads)
	if err != nil {
		return nil, err
	}
	x, err := Measure(gen, s.Threads)
	if err != nil {
		return nil, err
	}
	var t *Features
	if s.Truth != nil {
		if t, err = Measure(s.Truth, s.Threads); err != nil {
			return nil, err
		}
	}
	n := min(r.N, x.N)
	if t != nil {
		n = min(n, t.N)
	}
	if n < 20 {
		return fail("%d showers on one side, 20 are needed", n)
	}
	e := &Evaluation{Reference: r, Generated: x}
	r, x = r.Slice(0, int(n)), x.Slice(0, int(n))
	if t != nil {
		t = t.Slice(0, int(n))
	}

	v := evaluator{e: e, n: n, s: s, ref: r, gen: x, truth: t}
	steps := []func() error{
		func() error { return v.spectrum(ref, gen) },
		v.separations, v.response, v.classifiers, v.distances,
		func() error { return v.neighbours(ref, gen) },
	}
	for _, step := range steps {
		if err := ctx.Err(); err != nil {
			return nil, context.Cause(ctx)
		}
		if err := step(); err != nil {
			return nil, err
		}
	}
	if !s.NoFigures {
		e.Figures = append(e.Figures, figures(r, x, s.Style)...)
	}
	return e, nil
}

type evaluator struct {
	e               *Evaluation
	n               int64
	s               EvaluateSettings
	ref, gen, truth *Features
}

func (v *evaluator) add(m Metric) {
	m.N = v.n
	v.e.Metrics = append(v.e.Metrics, m)
}

var nan = math.NaN()

func (v *evaluator) spectrum(ref, gen Source) error {
	edges, a, err := Spectrum(ref, v.e.Reference.Largest)
	if err != nil {
		return err
	}
	_, b, err := Spectrum(gen, v.e.Reference.Largest)
	if err != nil {
		return err
	}
	floor := nan
	if v.s.Truth != nil {
		_, c, err := Spectrum(v.s.Truth, v.e.Reference.Largest)
		if err != nil {
			return err
		}
		floor = metric.Separation(a, c)
	}
	v.add(Metric{Name: "separation", Method: "official", Subject: "voxel", Value: metric.Separation(a, b), SD: nan, Floor: floor, FloorSD: nan})
	if !v.s.NoFigures {
		v.e.Figures = append(v.e.Figures, spectrumFigure(edges, a, b, v.s.Style))
	}
	return nil
}

func (v *evaluator) separations() error {
	got := Separations(v.ref, v.gen)
	var floor []Separation
	if v.truth != nil {
		floor = Separations(v.ref, v.truth)
	}
	for i, s := range got {
		m := Metric{Name: "separation", Method: "official", Subject: s.Group, Value: s.Value, SD: nan, Floor: s.Floor, FloorSD: nan}
		if floor != nil {
			m.Floor = floor[i].Value
		}
		v.add(m)
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

func (v *evaluator) response() error {
	for _, c := range []struct {
		subject string
		of      func(*Features) []float64
	}{{"E_tot/E_inc", (*Features).Response}, {"filled voxels", (*Features).occupancy}} {
		gm, gs := meanSD(c.of(v.gen))
		rm, rs := meanSD(c.of(v.ref))
		v.add(Metric{Name: "mean", Method: "moment", Subject: c.subject, Value: gm, SD: gs / math.Sqrt(float64(v.n)), Floor: rm, FloorSD: rs / math.Sqrt(float64(v.n))})
		v.add(Metric{Name: "sd", Method: "moment", Subject: c.subject, Value: gs, SD: nan, Floor: rs, FloorSD: nan})
	}
	v.add(Metric{Name: "below_threshold", Method: "count", Subject: "voxel", Value: float64(v.e.Generated.BelowThreshold), SD: nan, Floor: float64(v.e.Reference.BelowThreshold), FloorSD: nan})
	return nil
}

func (v *evaluator) classifiers() error {
	folds, set := 5, gbdt.LeafWise(200, 0.05)
	if v.s.Quick {
		folds, set = 2, gbdt.LeafWise(100, 0.1)
	}
	for _, c := range []struct {
		subject string
		of      func(*Features) [][]float64
	}{{"high-level features", (*Features).HighLevel}, {"layer energies", (*Features).LayerEnergies}} {
		ref := c.of(v.ref)
		auc, err := metric.OutOfFoldAUC(ref, c.of(v.gen), folds, set, v.s.Seed, v.s.Threads)
		if err != nil {
			return err
		}
		noise := 1 / math.Sqrt(6*float64(v.n)) // of an AUC near 1/2
		m := Metric{Name: "auc", Method: "gbdt", Subject: c.subject, Value: auc, SD: noise, Floor: nan, FloorSD: nan}
		if v.truth != nil {
			if m.Floor, err = metric.OutOfFoldAUC(ref, c.of(v.truth), folds, set, v.s.Seed, v.s.Threads); err != nil {
				return err
			}
			m.FloorSD = noise
		}
		v.add(m)
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

func (v *evaluator) distances() error {
	ref, gen := v.ref.HighLevel(), v.gen.HighLevel()
	var truth [][]float64
	if v.truth != nil {
		truth = v.truth.HighLevel()
	}
	p := v.distanceSettings()
	for _, c := range []struct {
		name string
		of   func(x, y [][]float64, p metric.PhysicsSettings) (float64, float64, error)
	}{{"fpd", metric.FPD}, {"kpd", metric.KPD}} {
		m := Metric{Name: c.name, Method: "jetnet", Subject: "high-level features", Floor: nan, FloorSD: nan}
		var err error
		if m.Value, m.SD, err = c.of(ref, gen, p); err != nil {
			return err
		}
		if truth != nil {
			if m.Floor, m.FloorSD, err = c.of(ref, truth, p); err != nil {
				return err
			}
		}
		v.add(m)
	}
	return nil
}

// logVoxels are log10 of the voxels of the first n showers with empty ones at 0.1 MeV, column by column.
func logVoxels(src Source, n int) ([][]float64, error) {
	g := src.Geometry()
	out := make([][]float64, g.Voxels())
	done := fmt.Errorf("enough")
	err := src.Each(func(incident []float64, voxels []float32) error {
		for i := range incident {
			for k, x := range voxels[i*g.Voxels() : (i+1)*g.Voxels()] {
				e := 0.1
				if above(x, g.Threshold) {
					e = float64(x)
				}
				out[k] = append(out[k], math.Log10(e))
			}
			if len(out[0]) == n {
				return done
			}
		}
		return nil
	})
	if err == done {
		err = nil
	}
	return out, err
}

func (v *evaluator) neighbours(ref, gen Source) error {
	n := int(min(v.n, 1000))
	if v.s.Quick {
		n = int(min(v.n, 500))
	}
	x, err := logVoxels(ref, n)
	if err != nil {
		return err
	}
	y, err := logVoxels(gen, n)
	if err != nil {
		return err
	}
	p, err := metric.PRDC(x, y, 5, v.s.Threads)
	if err != nil {
		return err
	}
	floor := metric.Neighbours{Precision: nan, Recall: nan, Density: nan, Coverage: nan}
	if v.s.Truth != nil {
		z, err := logVoxels(v.s.Truth, n)
		if err != nil {
			return err
		}
		if floor, err = metric.PRDC(x, z, 5, v.s.Threads); err != nil {
			return err
		}
	}
	for _, m := range []struct {
		name         string
		value, floor float64
	}{{"precision", p.Precision, floor.Precision}, {"recall", p.Recall, floor.Recall}, {"density", p.Density, floor.Density}, {"coverage", p.Coverage, floor.Coverage}} {
		v.add(Metric{Name: m.name, Method: "prdc", Subject: "voxels", Value: m.value, SD: nan, Floor: m.floor, FloorSD: nan})
	}
	return nil
}
