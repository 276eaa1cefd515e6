package calo

import (
	"context"
	"math"

	"hepmorph/internal/gbdt"
	"hepmorph/validation/metric"
)

// judged is what one classifier found: generated against reference, and truth against reference.
type judged struct {
	method, subject  string
	generated, truth *verdict
}

// classified adds the metrics of a classifier.
func (v *evaluator) classified(j judged) {
	v.judged = append(v.judged, j)
	g, t := j.generated, j.truth
	v.e.Metrics = append(v.e.Metrics,
		Metric{Name: "auc", Method: j.method, Subject: j.subject, N: v.n, Value: g.AUC, SD: g.AUCErr, Floor: t.AUC, FloorSD: t.AUCErr, Target: nan},
		Metric{Name: "jsd", Method: j.method, Subject: j.subject, N: v.n, Value: g.JSD, SD: g.JSDErr, Floor: t.JSD, FloorSD: t.JSDErr, Target: nan})
}

// stride leaves out showers evenly where there are more than the classifiers look at.
func (v *evaluator) stride() int { return max(1, int((v.n+mostJudged-1)/mostJudged)) }

// trees are boosted trees on high-level features and on layer energies.
func (v *evaluator) trees(context.Context) error {
	folds, set := 5, gbdt.LeafWise(200, 0.05)
	if v.s.Quick {
		folds, set = 2, gbdt.LeafWise(100, 0.1)
	}
	for _, c := range []struct {
		subject string
		of      func(*Features) [][]float64
	}{{"high-level features", (*Features).HighLevel}, {"layer energies", (*Features).LayerEnergies}} {
		var found [2]*verdict
		ref := thinned(c.of(v.of[0].Features), v.stride())
		for i, x := range v.of[1:] {
			score, err := metric.OutOfFold(ref, thinned(c.of(x.Features), v.stride()), folds, set, v.s.Seed, v.s.Threads)
			if err != nil {
				return err
			}
			found[i] = crossCalibrated(score)
		}
		v.classified(judged{"gbdt", c.subject, found[0], found[1]})
	}
	return nil
}

// thinned is every step-th row of columns.
func thinned(x [][]float64, step int) [][]float64 {
	if step == 1 {
		return x
	}
	out := make([][]float64, len(x))
	for j, c := range x {
		for i := 0; i < len(c); i += step {
			out[j] = append(out[j], c[i])
		}
	}
	return out
}

// crossCalibrated is the verdict of scores that no row was trained on for: each half of them is calibrated on the other one.
func crossCalibrated(score [2][]float64) *verdict {
	out := &verdict{Score: score, AUC: metric.AUC(score[0], nil, score[1], nil), AUCErr: 1 / math.Sqrt(6*float64(min(len(score[0]), len(score[1])))), JSDErr: nan}
	var half [2][2][]float64
	for side, s := range score {
		for i, x := range s {
			half[i%2][side] = append(half[i%2][side], x)
		}
		out.Prob[side] = make([]float64, len(s))
	}
	for k, h := range half {
		c := calibrate(half[1-k])
		out.JSD += metric.JensenShannon(c, h[0], h[1]) / 2
		for side, s := range h {
			for i, x := range s {
				out.Prob[side][2*i+k] = c.At(x)
			}
		}
	}
	return out
}

// networks look at the voxels.
func (v *evaluator) networks(ctx context.Context) error {
	var set discriminatorSettings
	step := v.stride()
	if v.s.Quick {
		set.Repeat = 1
		set.Epochs = 10
		step = max(step, int((v.n+4999)/5000))
	}
	var stores [3]*store
	for i, x := range v.of {
		var err error
		if stores[i], err = newStore(every{x.src, 0, step, math.MaxInt}); err != nil {
			return err
		}
	}
	g := v.of[0].Geometry
	all := views(g.Threshold)
	if v.s.Quick {
		all = all[:1]
	}
	for _, w := range all {
		var found [2]*verdict
		for i := range found {
			var err error
			if found[i], err = discriminate(ctx, stores[0], stores[i+1], w, g.Voxels(), g.Threshold, set, v.s.Seed, v.pool); err != nil {
				return err
			}
		}
		v.classified(judged{"mlp", w.name, found[0], found[1]})
	}
	return nil
}
