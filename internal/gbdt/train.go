package gbdt

import (
	"fmt"
	"math"
	"math/bits"

	"hepmorph/internal/par"
	"hepmorph/internal/rng"
)

// Settings of a training. The zero value is the recommended classifier; a negative number means "none" where noted.
type Settings struct {
	Loss          Loss    // Default Logistic.
	Trees         int     // Most trees. Default 600.
	Depth         int     // Most splits from root to leaf. Default 6; with Leaves, 64.
	Leaves        int     // Most leaves; above 0 the best leaf is split first. Default 0: level by level.
	Bins          int     // Most bins of a column, 2..255. Default 255.
	Rate          float64 // Learning rate. Default 0.1.
	Subsample     float64 // Share of rows that each tree sees, in (0,1]. Default 0.8.
	MinChild      float64 // Smallest hessian of a child, in units of the mean weight. Default 20; negative: none.
	MinRows       int     // Smallest number of rows in a leaf. Default 0: no such limit.
	L2            float64 // Penalty on leaf values. Default 1; negative: none.
	EarlyStop     int     // Stop after so many trees without gain on the validation part. Default 20; negative: none.
	ValidFraction float64 // Share of rows set aside for that. Default 0.25; negative: none.
	Seed          uint64  // Of sub-samples and the validation part.
	Threads       int     // 0: every core that is granted. The result does not depend on it.
}

// LeafWise returns the settings that correspond to scikit-learn's HistGradientBoosting without early stop: trees of 31
// leaves, at least 20 rows a leaf, no penalty, all rows in every tree.
func LeafWise(trees int, rate float64) Settings {
	return Settings{Trees: trees, Rate: rate, Leaves: 31, MinRows: 20, MinChild: 1e-3, L2: -1, Subsample: 1, EarlyStop: -1, ValidFraction: -1}
}

func (s Settings) filled() (Settings, error) {
	def := func(v *float64, d float64) {
		if *v == 0 {
			*v = d
		} else if *v < 0 {
			*v = 0
		}
	}
	defInt := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	defInt(&s.Trees, 600)
	if s.Leaves > 0 {
		defInt(&s.Depth, 64)
	}
	defInt(&s.Depth, 6)
	defInt(&s.Bins, maxBins)
	defInt(&s.EarlyStop, 20)
	def(&s.Rate, 0.1)
	def(&s.Subsample, 0.8)
	def(&s.MinChild, 20)
	def(&s.L2, 1)
	def(&s.ValidFraction, 0.25)
	for _, c := range []struct {
		ok         bool
		name, want string
		v          any
	}{
		{s.Loss <= Squared, "loss", "logistic or squared", s.Loss},
		{s.Trees > 0, "trees", "at least 1", s.Trees},
		{s.Depth > 0 && s.Depth <= 64, "depth", "1..64", s.Depth},
		{s.Leaves >= 0 && s.Leaves != 1, "leaves", "0 or at least 2", s.Leaves},
		{s.Bins >= 2 && s.Bins <= maxBins, "bins", "2..255", s.Bins},
		{s.Rate > 0 && s.Rate <= 1, "rate", "in (0,1]", s.Rate},
		{s.Subsample > 0 && s.Subsample <= 1, "subsample", "in (0,1]", s.Subsample},
		{s.ValidFraction < 1, "validation fraction", "below 1", s.ValidFraction},
		{!math.IsInf(s.MinChild, 0) && s.MinChild == s.MinChild, "smallest child", "finite", s.MinChild},
		{!math.IsInf(s.L2, 0) && s.L2 == s.L2, "penalty", "finite", s.L2},
	} {
		if !c.ok {
			return s, fmt.Errorf("gbdt: could not use settings: %s is %v, must be %s", c.name, c.v, c.want)
		}
	}
	if s.MinChild == 0 {
		s.MinChild = 1e-6 // a side without any hessian is not a side
	}
	if s.ValidFraction == 0 || s.EarlyStop < 0 {
		s.ValidFraction, s.EarlyStop = 0, -1
	}
	return s, nil
}

// check looks at everything that comes from the user's data and returns the sum of weights.
func check(cols [][]float64, y, w []float64, loss Loss) (float64, error) {
	if len(cols) == 0 || len(y) == 0 {
		return 0, fmt.Errorf("gbdt: could not train: %d columns, %d rows", len(cols), len(y))
	}
	if len(y) > math.MaxInt32 || len(cols) > math.MaxUint16 {
		return 0, fmt.Errorf("gbdt: could not train: %d columns, %d rows: more than 65535 or 2^31-1", len(cols), len(y))
	}
	for f, c := range cols {
		if len(c) != len(y) {
			return 0, fmt.Errorf("gbdt: could not train: column %d has %d rows, the target %d", f, len(c), len(y))
		}
	}
	if w != nil && len(w) != len(y) {
		return 0, fmt.Errorf("gbdt: could not train: %d weights for %d rows", len(w), len(y))
	}
	total := 0.0
	var class [2]float64
	for i, v := range y {
		wi := 1.0
		if w != nil {
			wi = w[i]
		}
		if !(wi >= 0) || math.IsInf(wi, 0) {
			return 0, fmt.Errorf("gbdt: could not train: weight of row %d is %g (trees need finite weights that are not negative)", i, wi)
		}
		switch {
		case loss == Logistic && v != 0 && v != 1:
			return 0, fmt.Errorf("gbdt: could not train: class of row %d is %g, must be 0 or 1", i, v)
		case v != v || math.IsInf(v, 0):
			return 0, fmt.Errorf("gbdt: could not train: target of row %d is %g", i, v)
		}
		if loss == Logistic {
			class[int(v)] += wi
		}
		total += wi
	}
	if !(total > 0) || math.IsInf(total, 0) {
		return 0, fmt.Errorf("gbdt: could not train: the weights add up to %g", total)
	}
	if loss == Logistic && (class[0] == 0 || class[1] == 0) {
		return 0, fmt.Errorf("gbdt: could not train: sums of weights are %g in class 0 and %g in class 1, both must be positive", class[0], class[1])
	}
	return total, nil
}

// Train fits trees to y given cols ([feature][row], NaN is missing), weighted by w (nil: 1; must not be negative; only
// ratios matter). Nothing passed in is kept or changed.
//
// It fails on shapes that disagree, weights that are negative or not finite or all zero, targets that are not 0 or 1
// (Logistic) or not finite (Squared), a class without weight, and settings out of range.
func Train(cols [][]float64, y, w []float64, s Settings) (*Model, error) {
	s, err := s.filled()
	if err != nil {
		return nil, err
	}
	total, err := check(cols, y, w, s.Loss)
	if err != nil {
		return nil, err
	}
	n := len(y)
	scale := float64(n) / total
	wt := make([]float64, n)
	for i := range wt {
		wt[i] = scale
		if w != nil {
			wt[i] = w[i] * scale
		}
	}
	var fit, valid []int32
	vk := rng.NewKey(s.Seed, "gbdt validation")
	for i := range n {
		if s.ValidFraction > 0 && vk.Uniform(uint64(i)) < s.ValidFraction {
			valid = append(valid, int32(i))
		} else {
			fit = append(fit, int32(i))
		}
	}
	if len(fit) == 0 || len(valid) == 0 {
		fit = fit[:0]
		for i := range n {
			fit = append(fit, int32(i))
		}
		valid, s.EarlyStop = nil, -1
	}
	t := newTrainer(cols, y, wt, fit, valid, s)
	return t.run(), nil
}

type trainer struct {
	s          Settings
	g          *grower
	y, w       []float64
	fit, valid []int32
	spare      []int32 // for as many rows as are fitted
	margin     []float64
	lookup     lookup // of the newest tree
	m          *Model
}

func newTrainer(cols [][]float64, y, w []float64, fit, valid []int32, s Settings) *trainer {
	b := bin(cols, w, fit, s.Bins, s.Threads)
	t := &trainer{s: s, y: y, w: w, fit: fit, valid: valid, spare: make([]int32, len(fit)), margin: make([]float64, len(y)),
		m: &Model{loss: s.Loss, cuts: b.cuts, gain: make([]float64, len(cols)), ValidLoss: math.NaN()}}
	var sw, sy float64
	for i, v := range w {
		sw += v
		sy += v * y[i]
	}
	mean := sy / sw
	unit := 1.0 // the loss's own scale, for what counts as a gain
	if s.Loss == Logistic {
		t.m.base = math.Log(mean / (1 - mean)) // check has seen weight in both classes
	} else {
		t.m.base = mean
		v := 0.0
		for i, yi := range y {
			v += w[i] * (yi - mean) * (yi - mean)
		}
		unit = v / sw
	}
	for i := range t.margin {
		t.margin[i] = t.m.base
	}
	t.g = &grower{s: s, b: b, minGain: 1e-6 * unit, gh: make([]grad, len(y)), rows: make([]int32, 0, len(fit)), spare: make([]int32, len(fit))}
	return t
}

func (t *trainer) run() *Model {
	best, bestLoss := 0, math.Inf(1) // the first tree is always kept, as xgboost does: a score without any spread has no error
	for k := range t.s.Trees {
		rest := t.sample(uint64(k))
		t.gradients()
		tr := t.g.grow()
		t.update(tr, rest)
		t.m.trees = append(t.m.trees, *tr)
		if len(t.valid) == 0 {
			best = k + 1
			if len(tr.nodes) == 1 && t.s.Subsample == 1 {
				break // nothing left to learn
			}
			continue
		}
		if l := t.loss(); l < bestLoss {
			best, bestLoss = k+1, l
		} else if k+1-best >= t.s.EarlyStop {
			break
		}
	}
	t.m.trees = t.m.trees[:best]
	t.m.Rounds = best
	if len(t.valid) > 0 {
		t.m.ValidLoss = bestLoss
	}
	for i := range t.m.trees {
		for _, g := range t.m.trees[i].gain {
			t.m.gain[g.feat] += g.gain
		}
		t.m.trees[i].gain = nil
	}
	return t.m
}

// gradients are those of the rows of the next tree.
func (t *trainer) gradients() {
	par.For(t.s.Threads, len(t.g.rows), chunkRows/4, func(_, lo, hi int) {
		for _, r := range t.g.rows[lo:hi] {
			w := t.w[r]
			if t.s.Loss == Logistic {
				p := Sigmoid(t.margin[r])
				t.g.gh[r] = grad{float32(w * (p - t.y[r])), float32(w * max(p*(1-p), 1e-16))}
			} else {
				t.g.gh[r] = grad{float32(w * (t.margin[r] - t.y[r])), float32(w)}
			}
		}
	})
}

// sample chooses the rows of tree k and returns the rows of the fitted part that it leaves out, in memory of the trainer.
func (t *trainer) sample(k uint64) (rest []int32) {
	g := t.g
	g.rows = g.rows[:0]
	if t.s.Subsample == 1 {
		g.rows = append(g.rows, t.fit...)
		return nil
	}
	h := rng.Hash(t.s.Seed, 0x7375_6273, k)
	limit := uint64(t.s.Subsample * (1 << 53))
	type piece struct{ in, out []int32 }
	pieces := make([]piece, (len(t.fit)+chunkRows-1)/chunkRows)
	par.For(t.s.Threads, len(t.fit), chunkRows, func(c, lo, hi int) {
		in, out, n := g.spare[lo:hi], t.spare[lo:hi], 0
		for i, r := range t.fit[lo:hi] { // without a branch on what is chance
			in[n], out[i-n] = r, r
			_, below := bits.Sub64(rng.Mix(h+uint64(r)*0x9e3779b97f4a7c15)>>11, limit, 0)
			n += int(below)
		}
		pieces[c] = piece{in[:n], out[:hi-lo-n]}
	})
	rest = t.spare[:0]
	for _, p := range pieces {
		g.rows, rest = append(g.rows, p.in...), append(rest, p.out...)
	}
	if len(g.rows) == 0 {
		g.rows, rest = append(g.rows, t.fit...), nil
	}
	return rest
}

// update adds the new tree to the margins: rows it was grown on lie in its leaves, the others walk.
func (t *trainer) update(tr *tree, rest []int32) {
	g := t.g
	par.For(t.s.Threads, len(g.leaves), 1, func(i, _, _ int) {
		l := &g.leaves[i]
		v := tr.value[l.node]
		for _, r := range g.rows[l.lo:l.hi] {
			t.margin[r] += v
		}
	})
	fast := t.lookup.set(tr)
	for _, rows := range [][]int32{rest, t.valid} {
		par.For(t.s.Threads, len(rows), chunkRows/8, func(_, lo, hi int) {
			if fast {
				t.lookup.addRows(t.margin, rows[lo:hi], g.b)
				return
			}
			for _, r := range rows[lo:hi] {
				t.margin[r] += tr.value[tr.leaf(g.b, int(r))]
			}
		})
	}
}

// loss is the mean loss of the validation part.
func (t *trainer) loss() float64 {
	chunks := (len(t.valid) + chunkRows/8 - 1) / (chunkRows / 8)
	part := make([]sum, chunks)
	par.For(t.s.Threads, len(t.valid), chunkRows/8, func(c, lo, hi int) {
		var l, w float64
		for _, r := range t.valid[lo:hi] {
			m := t.margin[r]
			w += t.w[r]
			if t.s.Loss == Logistic { // log(1+e^m) - y m
				l += t.w[r] * (math.Log1p(math.Exp(-math.Abs(m))) + max(m, 0) - t.y[r]*m)
			} else {
				l += t.w[r] * (m - t.y[r]) * (m - t.y[r])
			}
		}
		part[c] = sum{l, w}
	})
	var a sum
	for _, p := range part {
		a.g += p.g
		a.h += p.h
	}
	if a.h == 0 {
		return 0
	}
	return a.g / a.h
}
