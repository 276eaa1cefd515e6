package morph

import (
	"fmt"
	"math"
	"sort"
	"strings"

	"hepmorph/internal/gbdt"
	"hepmorph/internal/modelfile"
	"hepmorph/internal/rng"
	"hepmorph/validation/metric"
)

// A Reweighter turns the conditions of a simulated row into a factor that gives the simulation the data's law of
// conditions: a morph that is conditional on them assumes equal laws. morphing.md 5.10. It is applied to new rows in
// apply, and lies in the model file. Safe for concurrent use.
type Reweighter struct {
	Method  string         `json:"method"` // none, histogram, classifier
	Columns []string       `json:"columns"`
	Clip    float64        `json:"clip"`
	Norm    float64        `json:"norm"` // weighted mean of the factors before, over the training rows
	Report  ReweightReport `json:"report"`
	Balance *Balance       `json:"balance,omitempty"` // nil: none

	// histogram: inner edges of each axis, factor of each bin, the last axis runs fastest
	Edges   [][]float64 `json:"edges,omitempty"`
	Factors []float64   `json:"-"`

	// classifier: the log factor is the sum over rounds of Slope times the mean log-odds of the round's models
	Slopes []float64 `json:"slopes,omitempty"`
	models [][]*gbdt.Model
}

// ReweightReport says what the weights cost and how well they work, on training rows that their trees have not seen.
type ReweightReport struct {
	ESS      float64    `json:"ess"` // effective share of the simulation, (sum k)^2/(n sum k^2) with the weights
	Max      float64    `json:"max"` // largest factor
	Clipped  float64    `json:"clipped"`
	Lost     float64    `json:"lost"`       // share of the data in histogram bins without simulation
	Before   float64    `json:"auc_before"` // of a classifier on the conditions alone, over at most 50000 rows a sample
	After    float64    `json:"auc_after"`
	AUCError float64    `json:"auc_error"`
	Columns  []ChiShift `json:"columns"`
}

// ChiShift compares a condition before and after: chi-square over its degrees of freedom, in 50 equally populated bins.
type ChiShift struct {
	Name   string  `json:"name"`
	Before float64 `json:"before"`
	After  float64 `json:"after"`
}

// String prints the report for a log.
func (r *ReweightReport) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "conditions: AUC %.4f before, %.4f +- %.4f after; effective events %.1f %%; largest factor %.3g, %.2f %% clipped", r.Before, r.After, r.AUCError, 100*r.ESS, r.Max, 100*r.Clipped)
	if r.Lost > 0 {
		fmt.Fprintf(&b, "; %.2f %% of the data lie where there is no simulation", 100*r.Lost)
	}
	for _, c := range r.Columns {
		fmt.Fprintf(&b, "\n  %-16s chi2/ndf %8.2f -> %.2f", c.Name, c.Before, c.After)
	}
	return b.String()
}

// A Conditioned sample is what reweighting looks at: columns[condition][row], and weights that are not negative (nil: 1).
type Conditioned struct {
	Cols   [][]float64
	Weight []float64
}

func (c *Conditioned) rows() int { return len(c.Cols[0]) }

// FitReweighter fits factors to training rows and returns those of the simulated rows as well. With a classifier these
// come from models that have not seen the row, so that the noise of the fit doesn't pass as a difference of samples.
func FitReweighter(cfg ReweightConfig, columns []string, sim, data Conditioned, seed uint64, threads int) (*Reweighter, []float64, error) {
	r := &Reweighter{Method: cfg.Method, Columns: columns, Clip: cfg.Clip, Norm: 1}
	if r.Method == "none" || r.Method == "" || len(columns) == 0 {
		r.Method = "none"
		k := make([]float64, 0)
		if len(sim.Cols) > 0 {
			k = make([]float64, sim.rows())
		}
		for i := range k {
			k[i] = 1
		}
		r.Report.ESS, r.Report.Max = 1, 1
		return r, k, nil
	}
	ws, err := normalised(sim.rows(), sim.Weight)
	if err != nil {
		return nil, nil, err
	}
	wd, err := normalised(data.rows(), data.Weight)
	if err != nil {
		return nil, nil, err
	}
	sim.Weight, data.Weight = ws, wd
	var logk []float64
	switch r.Method {
	case "histogram":
		r.fitHistogram(cfg.Bins, sim, data)
		logk = make([]float64, sim.rows())
		r.logFactors(sim.Cols, logk, threads)
	case "classifier":
		if logk, err = r.fitClassifier(cfg, sim, data, seed, threads); err != nil {
			return nil, nil, fmt.Errorf("morph: could not reweight the conditions: %w", err)
		}
	default:
		return nil, nil, fmt.Errorf("morph: could not reweight the conditions: unknown method %q", r.Method)
	}
	var sum float64
	k := make([]float64, len(logk))
	for i, l := range logk {
		k[i] = r.factor(l)
		sum += ws[i] * k[i]
	}
	if sum > 0 && cfg.Balance {
		weighted := Conditioned{Cols: sim.Cols, Weight: make([]float64, len(k))}
		for i := range k {
			weighted.Weight[i] = ws[i] * k[i] / sum
		}
		if r.Balance = fitBalance(weighted, data); r.Balance != nil {
			r.Balance.scale(sim.Cols, k)
			sum = 0
			for i := range k {
				sum += ws[i] * k[i]
			}
		}
	}
	if !(sum > 0) {
		return nil, nil, fmt.Errorf("morph: could not reweight the conditions: simulation and data have no common region: %w", ErrInput)
	}
	r.Norm = sum
	clipped := 0.0
	for i := range k {
		if math.Exp(logk[i]) > r.Clip {
			clipped += ws[i]
		}
		k[i] /= sum
	}
	r.Report.Clipped = clipped
	if err := r.report(sim, data, k, seed, threads); err != nil {
		return nil, nil, fmt.Errorf("morph: could not judge the reweighting of the conditions: %w", err)
	}
	return r, k, nil
}

// factor clips a factor before normalisation.
func (r *Reweighter) factor(logk float64) float64 { return min(math.Exp(min(logk, 700)), r.Clip) }

// Apply writes the factors of rows, cols[condition][row], to out: positive where the training had events, mean 1 over
// the training rows.
func (r *Reweighter) Apply(cols [][]float64, out []float64, threads int) {
	if r.Method == "none" {
		for i := range out {
			out[i] = 1
		}
		return
	}
	r.logFactors(cols, out, threads)
	for i, l := range out {
		out[i] = r.factor(l) / r.Norm
	}
	r.Balance.scale(cols, out)
}

// logFactors writes log factors before clipping.
func (r *Reweighter) logFactors(cols [][]float64, out []float64, threads int) {
	clear(out)
	if r.Method == "histogram" {
		x := make([]float64, len(cols))
		for i := range out {
			for j := range cols {
				x[j] = cols[j][i]
			}
			out[i] = math.Log(r.Factors[r.bin(x)])
		}
		return
	}
	one := make([]float64, len(out))
	for k, round := range r.models {
		for _, m := range round {
			m.Margin(cols, one, threads)
			for i, v := range one {
				out[i] += r.Slopes[k] * v / float64(len(round))
			}
		}
	}
}

func (r *Reweighter) bin(x []float64) int {
	at := 0
	for j, e := range r.Edges {
		at = at*(len(e)+1) + sort.Search(len(e), func(i int) bool { return e[i] > x[j] })
	}
	return at
}

// fitHistogram counts both samples in bins of equal population of the data.
func (r *Reweighter) fitHistogram(bins int, sim, data Conditioned) {
	for len(r.Edges) < len(data.Cols) {
		j := len(r.Edges)
		s := sortSample(data.Cols[j], data.Weight)
		var e []float64
		for k := 1; k < bins; k++ {
			if q := s.quantile(float64(k) / float64(bins)); len(e) == 0 || q > e[len(e)-1] {
				e = append(e, q)
			}
		}
		r.Edges = append(r.Edges, e)
	}
	size := 1
	for _, e := range r.Edges {
		size *= len(e) + 1
	}
	ns, nd := make([]float64, size), make([]float64, size)
	fill := func(c Conditioned, n []float64) {
		x := make([]float64, len(c.Cols))
		for i := range c.rows() {
			for j := range c.Cols {
				x[j] = c.Cols[j][i]
			}
			n[r.bin(x)] += c.Weight[i]
		}
	}
	fill(sim, ns)
	fill(data, nd)
	r.Factors = make([]float64, size)
	for b := range ns {
		if ns[b] > 0 {
			r.Factors[b] = nd[b] / ns[b]
		} else {
			r.Report.Lost += nd[b]
			r.Factors[b] = 1 // no training row is here; a new one keeps its weight
		}
	}
}

// fitClassifier learns the log ratio of data to simulation in rounds: each trains on what the factors so far have left,
// and its part is scaled by the slope that fits best on rows it has not seen. It returns the log factors of the
// simulated rows, from the models that have not seen them.
func (r *Reweighter) fitClassifier(cfg ReweightConfig, sim, data Conditioned, seed uint64, threads int) ([]float64, error) {
	folds := max(2, cfg.Folds)
	ns, nd := sim.rows(), data.rows()
	n := ns + nd
	cols := make([][]float64, len(sim.Cols))
	for j := range cols {
		cols[j] = append(append(make([]float64, 0, n), sim.Cols[j]...), data.Cols[j]...)
	}
	fold, key := make([]int, n), rng.NewKey(seed, "folds of the reweighting")
	for i := range fold {
		fold[i] = int(key.Uniform(uint64(i)) * float64(folds))
	}
	y, w := make([]float64, n), make([]float64, n)
	copy(w[ns:], data.Weight)
	for i := ns; i < n; i++ {
		y[i] = 1
	}
	logk := make([]float64, ns)
	for round := range max(1, cfg.Rounds) {
		sum := 0.0
		for i := range ns {
			w[i] = sim.Weight[i] * r.factor(logk[i])
			sum += w[i]
		}
		for i := range ns {
			w[i] /= sum
		}
		models, margin, err := crossFit(cols, y, w, fold, folds, r.trees(round, seed, threads))
		if err != nil {
			return nil, err
		}
		slope, _ := bestLine(margin, y, w)
		if slope < 0.05 {
			break // nothing is left that unseen rows would confirm
		}
		r.models, r.Slopes = append(r.models, models), append(r.Slopes, slope)
		for i := range logk {
			logk[i] += slope * margin[i]
		}
	}
	return logk, nil
}

// trees are the settings of a round's trees: deep enough for correlations of three or four conditions, slow, many rows in
// a leaf.
func (r *Reweighter) trees(round int, seed uint64, threads int) gbdt.Settings {
	return gbdt.Settings{Trees: 400, Depth: 4, Rate: 0.1, MinChild: 50, EarlyStop: 20, ValidFraction: 0.2, Seed: rng.Hash(seed, 11, uint64(round)), Threads: threads}
}

// crossFit trains one model on all rows but each fold and returns every row's margin from the model that has not seen it.
func crossFit(cols [][]float64, y, w []float64, fold []int, folds int, s gbdt.Settings) ([]*gbdt.Model, []float64, error) {
	margin := make([]float64, len(y))
	var models []*gbdt.Model
	for f := range folds {
		var in, out []int
		for i, k := range fold {
			if k == f {
				out = append(out, i)
			} else {
				in = append(in, i)
			}
		}
		if len(in) == 0 || len(out) == 0 {
			return nil, nil, fmt.Errorf("%d rows are too few for %d folds: %w", len(y), folds, ErrInput)
		}
		ts := s
		ts.Seed = rng.Hash(s.Seed, uint64(f))
		m, err := gbdt.Train(takeRows(cols, in), takeRow(y, in), takeRow(w, in), ts)
		if err != nil {
			return nil, nil, err
		}
		part := make([]float64, len(out))
		m.Margin(takeRows(cols, out), part, s.Threads)
		for k, i := range out {
			margin[i] = part[k]
		}
		models = append(models, m)
	}
	return models, margin, nil
}

func takeRows(cols [][]float64, rows []int) [][]float64 {
	out := make([][]float64, len(cols))
	for j, c := range cols {
		out[j] = takeRow(c, rows)
	}
	return out
}

func takeRow(x []float64, rows []int) []float64 {
	out := make([]float64, len(rows))
	for k, i := range rows {
		out[k] = x[i]
	}
	return out
}

// bestLine minimises the weighted logistic loss of a*margin+b by Newton's method; a is at most 2, and 0 where there is no
// minimum.
func bestLine(margin, y, w []float64) (a, b float64) {
	a = 1
	for range 30 {
		var ga, gb, haa, hab, hbb float64
		for i, m := range margin {
			p := gbdt.Sigmoid(a*m + b)
			g, h := w[i]*(p-y[i]), w[i]*p*(1-p)
			ga += g * m
			gb += g
			haa += h * m * m
			hab += h * m
			hbb += h
		}
		det := haa*hbb - hab*hab
		if !(det > 0) {
			return 0, 0
		}
		da, db := (hbb*ga-hab*gb)/det, (haa*gb-hab*ga)/det
		a, b = a-da, b-db
		if math.Abs(da) < 1e-10 {
			break
		}
	}
	if a-a != 0 || b-b != 0 {
		return 0, 0
	}
	return min(a, 2), b
}

// judged bounds the rows of each sample that the reported AUC is measured on.
const judged = 50000

// report fills in what the factors cost and how the conditions compare.
func (r *Reweighter) report(sim, data Conditioned, k []float64, seed uint64, threads int) error {
	rep := &r.Report
	wk := make([]float64, len(k))
	var s, s2, b2 float64
	for i, f := range k {
		wk[i] = sim.Weight[i] * f
		s += wk[i]
		s2 += wk[i] * wk[i]
		b2 += sim.Weight[i] * sim.Weight[i]
		rep.Max = max(rep.Max, f)
	}
	rep.ESS = s * s / s2 * b2 // the weights sum to 1
	for j, name := range r.Columns {
		before := metric.Chi2(sim.Cols[j], sim.Weight, data.Cols[j], data.Weight, 50)
		after := metric.Chi2(sim.Cols[j], wk, data.Cols[j], data.Weight, 50)
		rep.Columns = append(rep.Columns, ChiShift{name, before.Chi2 / float64(max(1, before.NDF)), after.Chi2 / float64(max(1, after.NDF))})
	}
	side := func(c Conditioned, w []float64) metric.Side {
		n := min(judged, len(w))
		cols := make([][]float64, len(c.Cols))
		for j := range cols {
			cols[j] = c.Cols[j][:n]
		}
		return metric.Side{X: cols, Train: w[:n], Eval: w[:n]}
	}
	set := metric.ClassifierSettings{Trees: gbdt.Settings{Trees: 200}, Bootstrap: 20, Seed: seed, Threads: threads}
	for _, t := range []struct {
		w   []float64
		auc *float64
	}{{sim.Weight, &rep.Before}, {wk, &rep.After}} {
		res, err := metric.ClassifierTest(side(sim, t.w), side(data, data.Weight), set)
		if err != nil {
			return err
		}
		*t.auc, rep.AUCError = res.AUC, res.Err
	}
	return nil
}

// Save adds the reweighter to a model file under a name.
func (r *Reweighter) Save(f *modelfile.File, name string) error {
	if err := f.SetJSON(name, r); err != nil {
		return err
	}
	if r.Factors != nil {
		f.Add(name+".factors", r.Factors, len(r.Factors))
	}
	for k, round := range r.models {
		if err := saveModels(f, fmt.Sprintf("%s.round%d", name, k), round); err != nil {
			return err
		}
	}
	return nil
}

// LoadReweighter reads what Save has added.
func LoadReweighter(f *modelfile.File, name string) (*Reweighter, error) {
	r := new(Reweighter)
	if err := f.JSON(name, r); err != nil {
		return nil, err
	}
	bad := func(format string, a ...any) error {
		return fmt.Errorf("morph: could not restore the reweighting: %s: %w", fmt.Sprintf(format, a...), modelfile.ErrUnusable)
	}
	if n := len(r.Columns); r.Balance != nil && (len(r.Balance.Mean) != n || len(r.Balance.SD) != n || len(r.Balance.Lambda) != n && len(r.Balance.Lambda) != n+n*(n+1)/2) {
		return nil, bad("the balance is not one of %d columns", n)
	}
	if !(r.Norm > 0) || !(r.Clip > 0) && r.Method != "none" {
		return nil, bad("norm %v, clip %v", r.Norm, r.Clip)
	}
	switch r.Method {
	case "none":
	case "histogram":
		size := 1
		for _, e := range r.Edges {
			if !sort.Float64sAreSorted(e) || len(e) > 1000 || size > 1<<40/(len(e)+1) {
				return nil, bad("edges are not in order")
			}
			size *= len(e) + 1
		}
		if len(r.Edges) != len(r.Columns) {
			return nil, bad("%d axes for %d columns", len(r.Edges), len(r.Columns))
		}
		var err error
		if r.Factors, err = modelfile.Get[float64](f, name+".factors", size); err != nil {
			return nil, err
		}
	case "classifier":
		for k := range r.Slopes {
			round, err := loadModels(f, fmt.Sprintf("%s.round%d", name, k), len(r.Columns))
			if err != nil {
				return nil, err
			}
			r.models = append(r.models, round)
		}
	default:
		return nil, bad("unknown method %q", r.Method)
	}
	return r, nil
}

func saveModels(f *modelfile.File, name string, models []*gbdt.Model) error {
	for i, m := range models {
		b, err := m.MarshalBinary()
		if err != nil {
			return fmt.Errorf("morph: could not store %s: %w", name, err)
		}
		f.Add(fmt.Sprintf("%s.%d", name, i), b, len(b))
	}
	f.Add(name+".count", []uint64{uint64(len(models))}, 1)
	return nil
}

func loadModels(f *modelfile.File, name string, columns int) ([]*gbdt.Model, error) {
	n, err := modelfile.Get[uint64](f, name+".count", 1)
	if err != nil {
		return nil, err
	}
	if n[0] == 0 || n[0] > uint64(len(f.Tensors)) {
		return nil, fmt.Errorf("morph: could not restore %s: %d models: %w", name, n[0], modelfile.ErrUnusable)
	}
	models := make([]*gbdt.Model, n[0])
	for i := range models {
		b, err := modelfile.Get[uint8](f, fmt.Sprintf("%s.%d", name, i), -1)
		if err != nil {
			return nil, err
		}
		models[i] = new(gbdt.Model)
		if err := models[i].UnmarshalBinary(b); err != nil {
			return nil, fmt.Errorf("morph: could not restore %s: %w: %w", name, err, modelfile.ErrUnusable)
		}
		if models[i].Features() != columns {
			return nil, fmt.Errorf("morph: could not restore %s: made for %d columns, not %d: %w", name, models[i].Features(), columns, modelfile.ErrUnusable)
		}
	}
	return models, nil
}
