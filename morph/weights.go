package morph

import (
	"fmt"
	"math"

	"hepmorph/internal/gbdt"
	"hepmorph/internal/modelfile"
	"hepmorph/internal/rng"
)

// A Positive turns signed event weights into positive ones with the same law, for what can't do with signs: a
// likelihood is unbounded below where the weighted density is negative, and |w| is biased unless the share of negative
// weights is the same everywhere. morphing.md 5.9; the idea is that of neural resampling, arXiv 2007.11586.
//
//	none        weights as they are; negative ones are an error
//	abs         |w|: biased, for comparison
//	classifier  |w| (2 D(x) - 1), D(x) the share of |w| that is positive at x, from boosted trees
//	regress     E[w|x] from boosted trees: without the spread of |w| at x, so with more effective events
//
// "auto" is none without negative weights, else regress. Safe for concurrent use.
type Positive struct {
	Method  string       `json:"method"`
	Columns []string     `json:"columns,omitempty"`
	Floor   float64      `json:"floor"`  // smallest weight, in units of the mean
	Scale   float64      `json:"scale"`  // of regress: the mean weight
	Slope   float64      `json:"slope"`  // Offset + Slope times the trees' output
	Offset  float64      `json:"offset"` // fits best on rows they have not seen
	Report  SignedReport `json:"report"`
	models  []*gbdt.Model
}

// SignedReport says what the weights were and became, over the training rows.
type SignedReport struct {
	Negative float64 `json:"negative"` // share of rows with a negative weight
	Before   float64 `json:"ess_before"`
	After    float64 `json:"ess_after"` // effective share of rows
	Sum      float64 `json:"sum"`       // sum of the positive weights over that of the signed ones, before it is made equal
}

// String prints the report for a log.
func (s *SignedReport) String() string {
	return fmt.Sprintf("weights: %.2f %% negative, effective events %.1f %% as they are, %.1f %% as trained on", 100*s.Negative, 100*s.Before, 100*s.After)
}

const (
	positiveFolds = 5
	positiveFloor = 0.02
)

// FitPositive fits positive weights to training rows, cols[column][row], and returns those of these rows: they come from
// trees that have not seen the row. Their sum is that of w.
//
// It fails, matching ErrInput, if weights are not finite, or their sum is not positive.
func FitPositive(method string, columns []string, cols [][]float64, w []float64, seed uint64, threads int) (*Positive, []float64, error) {
	bad := func(format string, a ...any) (*Positive, []float64, error) {
		return nil, nil, fmt.Errorf("morph: could not use the event weights: %s: %w", fmt.Sprintf(format, a...), ErrInput)
	}
	var sum, abs, sq float64
	negative := 0
	for i, v := range w {
		if v-v != 0 {
			return bad("weight %d is %v", i, v)
		}
		if v < 0 {
			negative++
		}
		sum += v
		abs += math.Abs(v)
		sq += v * v
	}
	n := float64(len(w))
	switch {
	case len(w) == 0:
		return bad("there are no rows")
	case abs == 0:
		return bad("all are 0")
	case sum <= 0:
		return bad("their sum is %v, which is not positive", sum)
	}
	p := &Positive{Method: method, Columns: columns, Floor: positiveFloor, Scale: sum / n}
	if method == "auto" || method == "" {
		p.Method = "none"
		if negative > 0 {
			p.Method = "regress"
		}
	}
	p.Report.Negative, p.Report.Before = float64(negative)/n, sum*sum/(n*sq)
	out := make([]float64, len(w))
	switch p.Method {
	case "none":
		if negative > 0 {
			return bad("%d of %d are negative (set weights.signed: auto)", negative, len(w))
		}
		copy(out, w)
	case "abs":
		for i, v := range w {
			out[i] = math.Abs(v)
		}
	case "classifier", "regress":
		if len(cols) == 0 {
			return bad("there are no columns that they could depend on")
		}
		if err := p.fit(cols, w, out, seed, threads); err != nil {
			return nil, nil, fmt.Errorf("morph: could not make the event weights positive: %w", err)
		}
	default:
		return bad("unknown method %q", method)
	}
	var total, total2 float64
	for _, v := range out {
		total += v
	}
	p.Report.Sum = total / sum
	for i := range out {
		out[i] *= sum / total
		total2 += out[i] * out[i]
	}
	p.Report.After = sum * sum / (n * total2)
	return p, out, nil
}

// fit trains the trees and writes each row's weight from the model that has not seen it.
func (p *Positive) fit(cols [][]float64, w, out []float64, seed uint64, threads int) error {
	y, wt := make([]float64, len(w)), make([]float64, len(w))
	for i, v := range w {
		wt[i] = 1
		y[i] = v / p.Scale
		if p.Method == "classifier" {
			wt[i], y[i] = math.Abs(v), 0
			if v > 0 {
				y[i] = 1
			}
		}
	}
	// Slow trees with large leaves: the mean weight changes gently, and single weights are noisy.
	s := gbdt.Settings{Trees: 400, Depth: 4, Rate: 0.05, MinChild: 200, EarlyStop: 40, ValidFraction: 0.15, Seed: rng.Hash(seed, 13), Threads: threads}
	if p.Method == "regress" {
		s.Loss = gbdt.Squared
	} else {
		s.MinChild = 20 // the hessian is small where nearly all weights have one sign
	}
	fold, key := make([]int, len(w)), rng.NewKey(seed, "folds of the weights")
	for i := range fold {
		fold[i] = int(key.Uniform(uint64(i)) * positiveFolds)
	}
	models, margin, err := crossFit(cols, y, wt, fold, positiveFolds, s)
	if err != nil {
		return err
	}
	p.models = models
	p.calibrate(margin, y, wt)
	for i, m := range margin {
		out[i] = p.weight(m, w[i])
	}
	return nil
}

// calibrate finds slope and offset: slow trees that stop early leave the weights too flat.
func (p *Positive) calibrate(margin, y, w []float64) {
	p.Slope, p.Offset = 1, 0
	if p.Method == "classifier" {
		if a, b := bestLine(margin, y, w); a > 0 {
			p.Slope, p.Offset = a, b
		}
		return
	}
	mean, _ := moments(margin, w)
	target, _ := moments(y, w)
	var cov, vari float64
	for i, m := range margin {
		cov += (m - mean) * y[i]
		vari += (m - mean) * (m - mean)
	}
	if vari > 0 {
		p.Slope = min(max(cov/vari, 0), 2)
	}
	p.Offset = target - p.Slope*mean
}

// weight turns the trees' output for a row into its weight.
func (p *Positive) weight(margin, w float64) float64 {
	margin = p.Offset + p.Slope*margin
	if p.Method == "regress" {
		return p.Scale * max(margin, p.Floor)
	}
	return math.Abs(w) * max(2*gbdt.Sigmoid(margin)-1, p.Floor)
}

// Apply writes the positive weights of rows, from their columns and their own weights, to out.
func (p *Positive) Apply(cols [][]float64, w, out []float64, threads int) {
	switch p.Method {
	case "none":
		copy(out, w)
		return
	case "abs":
		for i, v := range w {
			out[i] = math.Abs(v)
		}
		return
	}
	one, sum := make([]float64, len(out)), make([]float64, len(out))
	for _, m := range p.models {
		m.Margin(cols, one, threads)
		for i, v := range one {
			sum[i] += v
		}
	}
	for i := range out {
		out[i] = p.weight(sum[i]/float64(len(p.models)), w[i])
	}
}

// Save adds the model of weights to a model file under a name.
func (p *Positive) Save(f *modelfile.File, name string) error {
	if err := f.SetJSON(name, p); err != nil {
		return err
	}
	if p.models == nil {
		return nil
	}
	return saveModels(f, name, p.models)
}

// LoadPositive reads what Save has added.
func LoadPositive(f *modelfile.File, name string) (*Positive, error) {
	p := new(Positive)
	if err := f.JSON(name, p); err != nil {
		return nil, err
	}
	switch p.Method {
	case "none", "abs":
		return p, nil
	case "classifier", "regress":
		var err error
		p.models, err = loadModels(f, name, len(p.Columns))
		return p, err
	}
	return nil, fmt.Errorf("morph: could not restore the weights: unknown method %q: %w", p.Method, modelfile.ErrUnusable)
}
