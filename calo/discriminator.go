package calo

import (
	"context"
	"fmt"
	"math"

	"hepmorph/internal/ad"
	"hepmorph/internal/kernel"
	"hepmorph/internal/nn"
	"hepmorph/internal/rng"
	"hepmorph/internal/train"
	"hepmorph/validation/metric"
)

// A view is what a network sees of a shower: a number of the incident energy (MeV) and one of each filled voxel (MeV); empty voxels are 0.
type view struct {
	name   string
	energy func(incident float64) float64
	voxel  func(e, incident float64) float64
}

// views are the challenge's low-level inputs, [log10 E_inc, voxels/E_inc], and the same in logarithms, where small voxels count too. In the second
// the threshold is at 1/6 and empty voxels are at 0.
func views(threshold float64) []view {
	if threshold <= 0 {
		threshold = 1e-3
	}
	return []view{
		{"voxels", math.Log10, func(e, incident float64) float64 { return e / incident }},
		{"log voxels", func(incident float64) float64 { return math.Log10(incident) - 4 },
			func(e, _ float64) float64 { return (math.Log10(max(e, threshold)/threshold) + 0.5) / 3 }},
	}
}

// discriminatorSettings fix the network and its training. The zero value of a field is its default: the size of the project's judge (the challenge has
// 2048 units, rate 2e-4, batches of 1000 and 50 epochs).
type discriminatorSettings struct {
	Width  int // units of three hidden layers; default 256
	Epochs int // default 20
	Batch  int // default 500
	Repeat int // trainings, each with another split and start; default 3
}

func (s discriminatorSettings) filled() discriminatorSettings {
	for _, d := range []struct {
		field *int
		value int
	}{{&s.Width, 256}, {&s.Epochs, 20}, {&s.Batch, 500}, {&s.Repeat, 3}} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	return s
}

// A verdict is how well a classifier tells two samples apart.
type verdict struct {
	AUC, AUCErr float64
	JSD, JSDErr float64      // Jensen-Shannon divergence of the calibrated scores
	Score       [2][]float64 // of rows that the classifier has not seen
	Prob        [2][]float64 // the same, calibrated to the probability of the second sample
}

// pairs are the showers of two samples as a network sees them. Row r is shower r of the first one, or r - n of the second.
type pairs struct {
	of     [2]*store
	n      int
	energy [2][]float32
	rows   []int32 // of the present batch
}

func newPairs(a, b *store, v view, threshold float64) *pairs {
	p := &pairs{n: a.n}
	for side, s := range []*store{a, b} {
		seen := *s
		seen.value = make([]float32, len(s.value))
		p.energy[side] = make([]float32, s.n)
		for i, incident := range s.incident {
			p.energy[side][i] = float32(v.energy(incident))
			for k := s.start[i]; k < s.start[i+1]; k++ {
				if above(s.value[k], threshold) {
					seen.value[k] = float32(v.voxel(float64(s.value[k]), incident))
				}
			}
		}
		p.of[side] = &seen
	}
	return p
}

// side is the sample of a row and its number there.
func (p *pairs) side(row int32) (side int, i int32) {
	if int(row) < p.n {
		return 0, row
	}
	return 1, row - int32(p.n)
}

// fill writes inputs, one row a shower.
func (p *pairs) fill(dst []float32, first, n int) {
	width := len(dst) / n
	for k := range n {
		side, i := p.side(p.rows[first+k])
		row := dst[k*width : (k+1)*width]
		row[0] = p.energy[side][i]
		p.of[side].voxels(row[1:], i, nil)
	}
}

// discriminator trains one network on the rows used and keeps the epoch that is right most often on those held. It implements train.Task.
type discriminator struct {
	*matching
	data  *pairs
	score *ad.Exec[float32]
	out   ad.Tensor
	every int // batches of an epoch
}

func newDiscriminator(data *pairs, voxels int, pool *ad.Pool, used, held []int32, s discriminatorSettings, seed uint64) *discriminator {
	type layer struct{ w, b *ad.Param }
	ps := ad.NewParams[float32]()
	var layers []layer
	in := voxels + 1
	for i, out := range []int{s.Width, s.Width, s.Width, 1} {
		l := layer{ps.Matrix(fmt.Sprintf("layer%d.weight", i), out, in), ps.Vector(fmt.Sprintf("layer%d.bias", i), out)}
		ps.Uniform(l.w, 1/math.Sqrt(float64(in)), seed)
		ps.Uniform(l.b, 1/math.Sqrt(float64(in)), seed)
		layers, in = append(layers, l), out
	}
	record := func(p *ad.Program[float32]) ad.Tensor {
		x := p.Input(voxels + 1)
		for i, l := range layers {
			if x = p.Linear(x, l.w, l.b); i+1 < len(layers) {
				x = p.Activate(ad.LeakyReLU, x)
			}
		}
		return x
	}
	d := &discriminator{data: data, every: (len(used) + s.Batch - 1) / s.Batch}
	p := ad.NewProgram(ps)
	x := record(p)
	p.LogisticLoss(x, p.Input(1), p.Input(1))
	label, weight := make([]float32, s.Batch), make([]float32, s.Batch)
	d.matching = newMatching(p, pool, used, held, matchSettings{batch: s.Batch, rate: 1e-3, adam: nn.AdamSettings{}, seed: seed}, func(_ uint64, rows []int32) []ad.Source[float32] {
		data.rows = rows
		for i, r := range rows {
			side, _ := data.side(r)
			label[i], weight[i] = float32(side), 1/float32(len(rows))
		}
		return []ad.Source[float32]{{Fill: data.fill}, {Data: label}, {Data: weight}}
	})
	p = ad.NewProgram(ps)
	d.out = record(p)
	d.score = p.Compile(kernel.Best(), pool, nil, ad.Settings{})
	return d
}

// Step implements train.Task: a constant rate, and a last batch of an epoch that may be smaller.
func (d *discriminator) Step(step, _ int, rate float64) ([]train.Value, error) {
	epoch, at := step/d.every, step%d.every*d.batch
	rows := d.rows[:min(d.batch, len(d.order.rows)-at)]
	for i := range rows {
		rows[i] = d.order.at(epoch*len(d.order.rows) + at + i)
	}
	loss := d.pass(uint64(step), rows, true)
	d.opt.Update(d.rate * rate)
	return []train.Value{{Name: "loss", Value: loss}}, nil
}

// Evaluate implements train.Task: the share of the held rows that the network gets wrong.
func (d *discriminator) Evaluate() (float64, []train.Value, error) {
	wrong := 0
	for i, s := range d.scores(d.held) {
		if side, _ := d.data.side(d.held[i]); (s > 0) != (side == 1) {
			wrong++
		}
	}
	return float64(wrong) / float64(len(d.held)), nil, nil
}

// scores are the logits of rows.
func (d *discriminator) scores(rows []int32) []float32 {
	out := make([]float32, len(rows))
	for lo := 0; lo < len(rows); lo += d.batch {
		hi := min(len(rows), lo+d.batch)
		d.data.rows = rows[lo:hi]
		d.score.Run(&ad.Run[float32]{N: hi - lo, Inputs: []ad.Source[float32]{{Fill: d.data.fill}}, Outputs: []ad.Sink[float32]{{Tensor: d.out, Data: out[lo:hi]}}})
	}
	return out
}

// split gives the scores of rows to their samples.
func (d *discriminator) split(rows []int32) (score [2][]float64) {
	for i, s := range d.scores(rows) {
		side, _ := d.data.side(rows[i])
		score[side] = append(score[side], float64(s))
	}
	return score
}

// discriminate trains networks that tell sample b from sample a by their voxels: 60 % of each are trained on, the epoch that is best on the next 20 % is kept and
// calibrated on them by isotonic regression, the rest is judged. Errors are standard deviations over the repeated trainings; with one, of an AUC near 1/2 on as
// many showers.
func discriminate(ctx context.Context, a, b *store, v view, voxels int, threshold float64, s discriminatorSettings, seed uint64, pool *ad.Pool) (*verdict, error) {
	s = s.filled()
	data := newPairs(a, b, v, threshold)
	out := &verdict{}
	var auc, jsd []float64
	tested := 0
	for k := range s.Repeat {
		var part [3][]int32
		at := int32(0)
		for side, st := range data.of {
			perm := make([]int32, st.n)
			r := rng.NewKey(seed, "split for a discriminator").At(rng.Hash(uint64(k), uint64(side)))
			r.Perm(perm)
			for i, row := range perm {
				third := min(2, max(0, (5*i/st.n)-2))
				part[third] = append(part[third], row+at)
			}
			at += int32(st.n)
		}
		d := newDiscriminator(data, voxels, pool, part[0], part[1], s, rng.Hash(seed, uint64(k)))
		if _, err := train.Run(ctx, d, train.Settings{Steps: s.Epochs * d.every, Evaluate: d.every}); ctx.Err() != nil {
			return nil, context.Cause(ctx)
		} else if err != nil {
			return nil, fmt.Errorf("calo: could not train a classifier: %w", err)
		}
		d.finish()
		held, test := d.split(part[1]), d.split(part[2])
		c := calibrate(held)
		auc, jsd = append(auc, metric.AUC(test[0], nil, test[1], nil)), append(jsd, metric.JensenShannon(c, test[0], test[1]))
		out.Score, out.Prob = test, [2][]float64{mapped(test[0], c.At), mapped(test[1], c.At)}
		tested = min(len(test[0]), len(test[1]))
	}
	out.AUC, out.AUCErr = meanSD(auc)
	out.JSD, out.JSDErr = meanSD(jsd)
	if s.Repeat < 2 {
		out.AUCErr, out.JSDErr = 1/math.Sqrt(6*float64(tested)), nan
	}
	return out, nil
}

// calibrate maps scores to the probability of the second sample by isotonic regression; each sample counts one half.
func calibrate(score [2][]float64) *metric.Calibration {
	s, y, w := make([]float64, 0, len(score[0])+len(score[1])), []float64{}, []float64{}
	for side, v := range score {
		s = append(s, v...)
		for range v {
			y, w = append(y, float64(side)), append(w, 1/float64(len(v)))
		}
	}
	return metric.Isotonic(s, y, w)
}
