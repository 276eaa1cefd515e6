package metric

import (
	"fmt"
	"math"

	"hepmorph/internal/gbdt"
	"hepmorph/internal/par"
	"hepmorph/internal/rng"
)

// Side is one sample of a classifier test.
type Side struct {
	X     [][]float64 // [column][row]; NaN is "missing", which the trees may use
	Train []float64   // training weights, not negative (nil: |Eval|)
	Eval  []float64   // weights of the AUC, signed (nil: 1)
	Fold  []uint8     // 0 or 1 (nil: parity of the row)
}

func (s *Side) fold(i int) uint8 {
	if s.Fold == nil {
		return uint8(i & 1)
	}
	return s.Fold[i]
}

func (s *Side) train(i int) float64 {
	if s.Train == nil {
		return math.Abs(weight(s.Eval, i))
	}
	return s.Train[i]
}

func (s *Side) check(name string) error {
	n, err := checkTable("test with a classifier", name, s.X, s.Eval)
	if err != nil {
		return err
	}
	if s.Train != nil && len(s.Train) != n || s.Fold != nil && len(s.Fold) != n {
		return fmt.Errorf("metric: could not test with a classifier: %s: %d rows, %d training weights, %d folds", name, n, len(s.Train), len(s.Fold))
	}
	return nil
}

// rows returns the columns and weights of one fold.
func (s *Side) rows(fold uint8) (x [][]float64, train, eval []float64, idx []int) {
	for i := range s.X[0] {
		if s.fold(i) == fold {
			idx = append(idx, i)
			train = append(train, s.train(i))
			eval = append(eval, weight(s.Eval, i))
		}
	}
	x = make([][]float64, len(s.X))
	for j, c := range s.X {
		x[j] = make([]float64, len(idx))
		for k, i := range idx {
			x[j][k] = c[i]
		}
	}
	return x, train, eval, idx
}

// take returns the listed rows as a Side.
func (s *Side) take(keep func(i int) bool) Side {
	var idx []int
	for i := range s.X[0] {
		if keep(i) {
			idx = append(idx, i)
		}
	}
	pick := func(v []float64) []float64 {
		if v == nil {
			return nil
		}
		out := make([]float64, len(idx))
		for k, i := range idx {
			out[k] = v[i]
		}
		return out
	}
	out := Side{Train: pick(s.Train), Eval: pick(s.Eval), Fold: make([]uint8, len(idx))}
	for k, i := range idx {
		out.Fold[k] = s.fold(i)
	}
	for _, c := range s.X {
		out.X = append(out.X, pick(c))
	}
	return out
}

// ClassifierSettings of a classifier test; the zero value is the recommended one.
type ClassifierSettings struct {
	Trees     gbdt.Settings // zero: depth 6, rate 0.1, subsample 0.8, ≤ 600 trees, early stop (the judge's xgboost)
	Bootstrap int           // Poisson bootstraps for the error of the AUC. Default 100.
	Seed      uint64
	Threads   int // 0: every core that is granted
}

// ClassifierResult says how well boosted trees tell sample 0 from sample 1.
type ClassifierResult struct {
	AUC, Err float64      // mean of the two folds; 0.5 is "cannot tell"
	Folds    [2]float64   // AUC of each scored fold
	N        [2]int       // rows of the samples
	NEff     [2]float64   // with the evaluation weights
	Score    [2][]float64 // log-odds of sample 1 for each row of either sample, from the model that has not seen it
	Gain     []float64    // each column's share of the loss reduction, mean of the folds
	Rounds   [2]int       // trees of each fold's model
}

// balance scales the weights of each class to mean 1.
func balance(w []float64, n0 int) {
	for _, part := range [][]float64{w[:n0], w[n0:]} {
		s := total(len(part), part)
		if s > 0 {
			f := float64(len(part)) / s
			for i := range part {
				part[i] *= f
			}
		}
	}
}

// fitTwo trains trees to tell b (class 1) from a (class 0), classes balanced as the judges do: mean weight 1 in each.
func fitTwo(a, b [][]float64, wa, wb []float64, s gbdt.Settings) (*gbdt.Model, error) {
	n0, n1 := len(wa), len(wb)
	x := make([][]float64, len(a))
	for j := range x {
		x[j] = append(append(make([]float64, 0, n0+n1), a[j]...), b[j]...)
	}
	y := make([]float64, n0+n1)
	for i := range n1 {
		y[n0+i] = 1
	}
	w := append(append(make([]float64, 0, n0+n1), wa...), wb...)
	balance(w, n0)
	return gbdt.Train(x, y, w, s)
}

// ClassifierTest trains trees on one fold to tell the samples apart and scores the other fold, both ways. AUC is the mean
// over the two scored folds, Err its error from Poisson bootstraps of the scored events (each fold's own deviation, root
// mean square over √2): the definition of the project's judges. The folds' AUCs are slightly correlated under equal laws, so
// the error covers 64-68 % there rather than 68 %.
//
// Training uses the positive weights, evaluation the signed ones. It fails on shapes that disagree, negative training
// weights, and a fold that lacks one of the samples.
func ClassifierTest(a, b Side, s ClassifierSettings) (*ClassifierResult, error) {
	if err := a.check("sample 0"); err != nil {
		return nil, err
	}
	if err := b.check("sample 1"); err != nil {
		return nil, err
	}
	if len(a.X) != len(b.X) {
		return nil, fmt.Errorf("metric: could not test with a classifier: %d columns against %d", len(a.X), len(b.X))
	}
	if s.Bootstrap == 0 {
		s.Bootstrap = 100
	}
	r := &ClassifierResult{
		N: [2]int{len(a.X[0]), len(b.X[0])}, NEff: [2]float64{nEff(len(a.X[0]), a.Eval), nEff(len(b.X[0]), b.Eval)},
		Score: [2][]float64{make([]float64, len(a.X[0])), make([]float64, len(b.X[0]))},
		Gain:  make([]float64, len(a.X)),
	}
	variance := 0.0
	for f := range uint8(2) {
		xa, ta, _, _ := a.rows(f)
		xb, tb, _, _ := b.rows(f)
		if len(ta) == 0 || len(tb) == 0 {
			return nil, fmt.Errorf("metric: could not test with a classifier: fold %d has %d and %d rows", f, len(ta), len(tb))
		}
		ts := s.Trees
		ts.Seed, ts.Threads = rng.Hash(s.Seed, uint64(f)), s.Threads
		m, err := fitTwo(xa, xb, ta, tb, ts)
		if err != nil {
			return nil, fmt.Errorf("metric: could not test with a classifier: fold %d: %w", f, err)
		}
		r.Rounds[f] = m.Rounds
		for j, g := range m.Gain() {
			r.Gain[j] += g / 2
		}
		var score, w [2][]float64
		for k, side := range []*Side{&a, &b} {
			x, _, eval, idx := side.rows(1 - f)
			if len(idx) == 0 {
				return nil, fmt.Errorf("metric: could not test with a classifier: fold %d of sample %d has no rows", 1-f, k)
			}
			score[k], w[k] = make([]float64, len(idx)), eval
			m.Margin(x, score[k], s.Threads)
			for q, i := range idx {
				r.Score[k][i] = score[k][q]
			}
		}
		ranks := rank(score[0], score[1])
		r.Folds[1-f] = ranks.auc(func(i int) float64 { return w[0][i] }, func(i int) float64 { return w[1][i] })
		v := ranks.bootstrap(w[0], w[1], s.Bootstrap, rng.Hash(s.Seed, 2, uint64(f)), s.Threads)
		variance += v / 2
	}
	r.AUC = (r.Folds[0] + r.Folds[1]) / 2
	r.Err = math.Sqrt(variance / 2)
	return r, nil
}

// bootstrap returns the variance of the AUC when each event counts a Poisson(1) number of times.
func (r *ranked) bootstrap(w0, w1 []float64, n int, seed uint64, threads int) float64 {
	a := make([]float64, n)
	par.For(threads, n, 1, func(b, _, _ int) {
		h := rng.Hash(seed, uint64(b))
		a[b] = r.auc(
			func(i int) float64 { return w0[i] * poisson1(h, uint64(i)) },
			func(i int) float64 { return w1[i] * poisson1(h, uint64(i)|1<<40) })
	})
	_, sd := meanSD(a, nil)
	return sd * sd
}

// poissonCum are the cumulative probabilities of a Poisson number of mean 1.
var poissonCum = func() (c [18]float64) {
	p, s := math.Exp(-1), 0.0
	for k := range c {
		s += p
		c[k] = s
		p /= float64(k + 1)
	}
	return c
}()

// poisson1 is a Poisson number of mean 1, a function of the two addresses.
func poisson1(h, i uint64) float64 {
	u := float64(rng.Mix(h+i*0x9e3779b97f4a7c15)>>11) * 0x1p-53
	k := 0
	for k < len(poissonCum) && u >= poissonCum[k] {
		k++
	}
	return float64(k)
}

// Folds assigns events to two folds by their numbers, (id/10) mod 2: nil ids give the parity of the row / 10 as if the row
// were the number. Halves splits by (id/20) mod 2, independently of the folds. Both are the judges' own.
func Folds(id []int64, n int) []uint8  { return byID(id, n, 10) }
func Halves(id []int64, n int) []uint8 { return byID(id, n, 20) }

func byID(id []int64, n int, div int64) []uint8 {
	out := make([]uint8, n)
	for i := range out {
		v := int64(i)
		if id != nil {
			v = id[i]
		}
		out[i] = uint8(v / div & 1)
	}
	return out
}

// ClassifierFloor is the classifier test of one half of a sample against the other: what the test says of equal laws.
// half tells the halves (0 or 1) and must not be the folds themselves.
func ClassifierFloor(data Side, half []uint8, s ClassifierSettings) (*ClassifierResult, error) {
	if err := data.check("the sample"); err != nil {
		return nil, err
	}
	if len(half) != len(data.X[0]) {
		return nil, fmt.Errorf("metric: could not test with a classifier: %d marks of halves for %d rows", len(half), len(data.X[0]))
	}
	a := data.take(func(i int) bool { return half[i] == 0 })
	b := data.take(func(i int) bool { return half[i] != 0 })
	return ClassifierTest(a, b, s)
}
