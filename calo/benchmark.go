package calo

import (
	"math"

	"hepmorph/calo/geometry"
	"hepmorph/internal/gbdt"
	"hepmorph/validation/metric"
)

// A Check is one line of the benchmark of the mini geometry: a number, and the largest that passes at each of Levels (NaN: no such level).
type Check struct {
	Name  string
	Value float64
	Bound [3]float64
	Note  string
}

// Level is the highest level that the number reaches, "" if none.
func (c *Check) Level() (name string) {
	for k, l := range Levels() {
		if c.Value <= c.Bound[k] {
			name = l
		}
	}
	return name
}

// Benchmark are the results of all components on one geometry; nil leaves out the checks of what was not run.
type Benchmark struct {
	Evaluation *Evaluation // by Evaluate
	Verified   *geometry.Report
	Trained    *Trained
	Eight      []Distilled // solvers of eight evaluations
	// AUC of trees on the high-level features of smaller samples, all against the same reference: drawn with a bespoke solver of 16 evaluations, with many
	// RK4 steps, and from a model with an autoencoder.
	Bespoke, RK4, Latent float64
}

// enoughForFloors is the number of showers from which on the floors of truth are checked; with fewer they are noise.
const enoughForFloors = 5000

// HighLevelAUC is the AUC of trees on high-level features, as Evaluate computes it.
func HighLevelAUC(ref, gen Source, seed uint64, threads int) (float64, error) {
	r, err := Measure(ref, threads)
	if err != nil {
		return 0, err
	}
	g, err := Measure(gen, threads)
	if err != nil {
		return 0, err
	}
	n := int(min(r.N, g.N))
	return metric.OutOfFoldAUC(r.Slice(0, n).HighLevel(), g.Slice(0, n).HighLevel(), 5, gbdt.LeafWise(200, 0.05), seed, threads)
}

// Checks compares the results with what is asked for.
func (b *Benchmark) Checks() (out []Check) {
	add := func(name string, value float64, note string, bound ...float64) {
		c := Check{Name: name, Value: value, Note: note, Bound: [3]float64{nan, nan, nan}}
		copy(c.Bound[:], bound)
		out = append(out, c)
	}
	e := b.Evaluation
	fpd := e.Find("fpd", "jetnet", "high-level features")
	if fpd.N >= enoughForFloors {
		away, off := 0.0, 0.0 // of the AUCs of truth from 1/2, of its separation powers from what is expected
		for i := range e.Metrics {
			if m := &e.Metrics[i]; m.Name == "auc" {
				away = max(away, math.Abs(m.Floor-0.5))
			}
		}
		n := int(fpd.N)
		for _, s := range Separations(e.Reference.Slice(0, n), e.Truth.Slice(0, n)) {
			if s.Group != "E_tot/E_inc" { // one histogram, not a mean over layers
				off = max(off, math.Abs(s.Value/s.Floor-1))
			}
		}
		add("truth: AUC off 0.5", away, "largest of all classifiers", 0.02)
		add("truth: S off bins/2N", off, "relative, largest of the means over layers", 0.3)
		add("truth: FPD", fpd.Floor, "", 0.02)
	}
	if v := b.Verified; v != nil {
		add("showers with a wrong layer sum", float64(v.LayerOff), "by more than 1e-5", 0)
		add("voxels NaN, negative, small", float64(v.NotFinite+v.Negative+v.BelowThreshold), "", 0)
	}
	if t := b.Trained; t != nil {
		add("flow-matching loss, held out", t.Shapes.Best, "noise: π/2", 1.57, 1.3)
	}
	excess := func(method, name string, subjects ...string) (worst float64, of string) {
		worst = math.Inf(-1)
		for _, s := range subjects {
			if m := e.Find(name, method, s); m != nil && m.Value-m.Floor > worst {
				worst, of = m.Value-m.Floor, s
			}
		}
		return worst, of
	}
	auc := func(name, method, subject string) {
		m := e.Find("auc", method, subject)
		var bound [3]float64
		for k := range bound {
			bound[k] = level(k).of(m)
		}
		add(name, m.Value, "", bound[:]...)
	}
	auc("AUC, layer energies", "gbdt", "layer energies")
	auc("AUC, high-level features", "gbdt", "high-level features")
	auc("AUC, voxels", "mlp", "voxels")
	worst, of := excess("official", "separation", "E_tot/E_inc", "E_layer")
	add("S of energies above floor", worst, of, 1e-2, 3e-3, 1e-3)
	worst, of = excess("official", "separation", "EC_eta", "EC_phi", "EC_r", "W_eta", "W_phi", "W_r")
	add("S of centres, widths above floor", worst, of, 2e-2, 5e-3, 2e-3)
	add("FPD over that of truth", fpd.Value/max(fpd.Floor, fpd.FloorSD), "", 100, 10, 3)
	if b.Latent > 0 {
		add("latent: AUC, high-level features", b.Latent, "", 0.90, 0.75)
	}
	best := math.Inf(1)
	for _, d := range b.Eight {
		best = min(best, d.Error/d.MidpointError)
	}
	if len(b.Eight) > 0 {
		add("bespoke 8: error over midpoint's", best, "end points against many RK4 steps", 1, 0.5, 0.25)
	}
	if b.Bespoke > 0 && b.RK4 > 0 {
		add("bespoke 16: AUC off that of RK4", math.Abs(b.Bespoke-b.RK4), "", 0.03, 0.01)
	}
	return out
}
