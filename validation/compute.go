package validation

import (
	"context"
	"fmt"
	"math"
	"sort"
	"strconv"

	"hepmorph/internal/par"
	"hepmorph/internal/rng"
	"hepmorph/validation/metric"
)

// Numbers of the metrics, after the project's metric list (design: "Metrics"): each with its reason.
const (
	chiBins      = 50 // of equal population in data
	profileBins  = 8
	profileRows  = 200000 // more do not make a 3 % profile better
	ratioSlack   = 0.01   // a bin ratio within 1 % never fails
	largeSample  = 3e5    // from here on also the absolute bars below hold
	w1Bar        = 0.005
	corrBar      = 0.01
	pLevel       = 0.01 // of Holm-corrected p-values
	pObservable  = 0.05
	floorFactor  = 1.5
	floorSigmas  = 2.5 // … or so many standard deviations above the floor, where that is more
	floorDraws   = 200 // of W1 and KS: their mean is known to 3 %
	centralShare = 0.98
)

func null() Number { return Number(math.NaN()) }

// newRow appends nothing: rows are collected in order by the caller, so that threads do not decide it.
func (sc *scopeTables) newRow(name, method, subject, unit string) *Row {
	n := min(sc.data.n, sc.sim.n)
	if sc.mor != nil {
		n = min(n, sc.mor.n)
	}
	if sc.name != "" {
		subject += " @ " + sc.name
	}
	return &Row{Name: name, Method: method, Subject: subject, Unit: unit, N: int64(n), Before: null(), After: null(), AfterSD: null(), Floor: null(),
		FloorSD: null(), Reference: null(), P: null(), Target: null(), slice: sc.name}
}

// put sets the number of the table's role.
func (row *Row) put(t *table, v float64) {
	switch t.role {
	case Simulation:
		row.Before = Number(v)
	case Morphed:
		row.After = Number(v)
	case Reference:
		row.Reference = Number(v)
	}
}

// judge compares After with Target, or P where there is one.
func (row *Row) judge() {
	if !finite(float64(row.After)) || !finite(float64(row.Target)) {
		return
	}
	ok := row.After <= row.Target
	if finite(float64(row.P)) && row.holm {
		ok = row.P > row.Target || row.large
	}
	row.Pass = &ok
}

// overFloor is the target of a distance that is never zero: 1.5 × the floor, or 2.5 of its standard deviations above it.
func overFloor(f metric.Floor, factor float64) Number {
	return Number(math.Max(factor*f.Mean, f.Mean+floorSigmas*f.SD))
}

// varResult is all that one variable gives.
type varResult struct {
	v     Variable
	rows  []*Row
	bin   binning
	hists map[string]hist // by role, normalised to data
	parts []hist          // of several simulations
	notes []string
	ok    bool
}

// scope computes every number of one scope and describes its figures.
func (r *run) scope(ctx context.Context, sc scopeTables) error {
	for _, t := range sc.samples() {
		s := 0.0
		for _, w := range t.w {
			s += w
		}
		if t.n < 50 || !(s > 0) {
			r.notes = append(r.notes, fmt.Sprintf("Slice %q is left out: %s has %d rows with a sum of weights of %.4g (50 rows are needed).", sc.name, t.label, t.n, s))
			if sc.name == "" {
				return inputError("sample %q has %d rows outside blind windows, with a sum of weights of %.4g (50 rows are needed)", t.label, t.n, s)
			}
			return nil
		}
	}
	results := make([]varResult, len(r.vars))
	errs := make([]error, len(r.vars))
	par.For(r.Threads, len(r.vars), 1, func(k, _, _ int) {
		if errs[k] = ctx.Err(); errs[k] == nil {
			results[k] = r.variable(&sc, r.vars[k])
		}
	})
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	var rows []*Row
	aucs, scores := r.classifiers(&sc)
	rows = append(rows, aucs...)
	corr, mats := r.correlations(&sc)
	rows = append(rows, corr...)
	rows = append(rows, r.joint(&sc)...)
	if err := ctx.Err(); err != nil {
		return err
	}
	profRows, profs := r.profiles(&sc, results)
	for _, v := range results {
		rows = append(rows, v.rows...)
		r.notes = append(r.notes, v.notes...)
	}
	rows = append(rows, profRows...)
	finish(rows)
	r.rows = append(r.rows, rows...)
	r.describe(&sc, results, mats, profs, scores)
	return ctx.Err()
}

// finish corrects p-values for the number of subjects of each metric, and judges.
func finish(rows []*Row) {
	groups := map[[2]string][]*Row{}
	var order [][2]string
	for _, row := range rows {
		if row.holm {
			k := [2]string{row.Name, row.Method}
			if groups[k] == nil {
				order = append(order, k)
			}
			groups[k] = append(groups[k], row)
		}
	}
	for _, k := range order {
		p := make([]float64, len(groups[k]))
		for i, row := range groups[k] {
			p[i] = float64(row.P)
		}
		for i, v := range metric.Holm(p) {
			groups[k][i].P = Number(v)
		}
	}
	for _, row := range rows {
		row.judge()
	}
}

// variable computes the one-dimensional metrics and the histograms.
func (r *run) variable(sc *scopeTables, v Variable) varResult {
	res := varResult{v: v, hists: map[string]hist{}}
	ts := sc.samples()
	cols := make([]*metric.Column, len(ts))
	for i, t := range ts {
		c, err := metric.Sort(onlyFinite(t.cols[v.Name]), t.weights(v))
		if err != nil {
			res.notes = append(res.notes, fmt.Sprintf("%s is left out%s: in %s no row has a value, or their weights add up to 0.", v.Name, at(sc.name), t.label))
			return res
		}
		cols[i] = c
		if c.Bad > 0 && sc.name == "" {
			res.notes = append(res.notes, fmt.Sprintf("%s: %d of %d rows of %s have no finite value.", v.Name, c.Bad, t.n, t.label))
		}
	}
	res.ok = true
	data := cols[0]
	_, sd := data.MeanSD()
	if !(sd > 0) {
		sd = 1
	}
	row := func(name, method, unit string) *Row {
		w := sc.newRow(name, method, v.Name, unit)
		res.rows = append(res.rows, w)
		return w
	}
	subject := data // the sample that the floor is for
	for i, t := range ts {
		if t.role == Morphed || t.role == Simulation && sc.mor == nil {
			subject = cols[i]
		}
	}
	large := math.Min(subject.N, data.N) >= largeSample
	seed := rng.Hash(r.Seed, hash(v.Name), hash(sc.name))

	w1, ks, chi, ratio := row("w1", "marginal", "sd"), row("ks", "marginal", ""), row("chi2", "population"+strconv.Itoa(chiBins), "chi2/ndf"), row("ratio", "bins", "bins")
	f, fks := subject.Floors(data, floorDraws, seed, 1)
	w1.Floor, w1.FloorSD = Number(f.Mean/sd), Number(f.SD/sd)
	w1.Target = overFloor(metric.Floor{Mean: f.Mean / sd, SD: f.SD / sd}, floorFactor)
	if large && v.Kind == Feature {
		w1.Target = Number(math.Min(float64(w1.Target), math.Max(w1Bar, (f.Mean+floorSigmas*f.SD)/sd)))
	}
	ks.Floor, ks.FloorSD = Number(fks.Mean), Number(fks.SD)
	edges := data.Edges(chiBins)
	central := data.Central(centralShare, chiBins)
	ks.Target, chi.Target, ratio.Target = pLevel, pLevel, pLevel
	ks.holm, chi.holm, ratio.holm = true, true, true
	ratio.Floor = 0
	for i, t := range ts {
		if t.role == Data {
			continue
		}
		c := cols[i]
		w1.put(t, c.W1(data)/sd)
		d, p := c.KS(data)
		ks.put(t, d)
		x := c.Chi2(data, edges)
		chi.put(t, x.Chi2/math.Max(1, float64(x.NDF)))
		chi.Floor, chi.FloorSD = 1, Number(math.Sqrt(2/math.Max(1, float64(x.NDF))))
		q := c.Ratios(data, central, ratioSlack)
		ratio.put(t, float64(q.Outside))
		if t.role == Morphed {
			ks.P, chi.P = Number(p), Number(x.P)
			// the largest of as many pulls, by Šidák
			one := math.Erfc(math.Abs(q.Pull) / math.Sqrt2)
			ratio.P = Number(-math.Expm1(float64(len(central)-1) * math.Log1p(-math.Min(one, 1-1e-16))))
			ratio.large = q.Outside == 0
		}
	}
	r.moments(sc, v, ts, cols, row)
	r.atoms(sc, v, ts, cols, row)
	if v.Kind == Observable && v.Hi > v.Lo && v.Bins > 0 {
		x := row("chi2", "bins"+strconv.Itoa(v.Bins), "chi2/ndf")
		x.Target, x.holm = pObservable, true
		fixed := uniform(v.Lo, v.Hi, v.Bins)
		for i, t := range ts {
			if t.role == Data {
				continue
			}
			c := cols[i].Chi2(data, fixed)
			x.put(t, c.Chi2/math.Max(1, float64(c.NDF)))
			x.Floor, x.FloorSD = 1, Number(math.Sqrt(2/math.Max(1, float64(c.NDF))))
			if t.role == Morphed {
				x.P = Number(c.P)
			}
		}
	}
	r.transport(sc, v, data, row)

	res.bin = newBinning(v, data)
	h := fill(res.bin, sc.data.cols[v.Name], sc.data.weights(v))
	total := h.sum()
	res.hists[Data] = h
	for _, t := range ts[1:] {
		h := fill(res.bin, t.cols[v.Name], t.weights(v))
		k := total / h.sum()
		if r.Absolute && t.role != Reference {
			k = 1
		}
		if !finite(k) {
			k = 0
		}
		res.hists[t.role] = h.scale(k)
		if t.role == Simulation && t.part != nil {
			res.parts = r.partHists(res.bin, t, v, k)
		}
	}
	if !res.bin.logY && res.bin.atom {
		n, _ := res.hists[Data].inner()
		rest := 0.0
		for _, y := range n[1:] {
			rest = math.Max(rest, y)
		}
		res.bin.logY = n[0] > 8*rest
	}
	return res
}

func (r *run) partHists(b binning, t *table, v Variable, k float64) []hist {
	out := make([]hist, len(r.parts))
	w := t.weights(v)
	for p := range out {
		var x, u []float64
		for i, q := range t.part {
			if int(q) == p {
				x, u = append(x, t.cols[v.Name][i]), append(u, w[i])
			}
		}
		out[p] = fill(b, x, u).scale(k)
	}
	return out
}

// onlyFinite replaces ±Inf by NaN, which the metrics leave out.
func onlyFinite(x []float64) []float64 {
	for i, v := range x {
		if math.IsInf(v, 0) {
			out := append([]float64(nil), x...)
			for k := i; k < len(out); k++ {
				if math.IsInf(out[k], 0) {
					out[k] = math.NaN()
				}
			}
			return out
		}
	}
	return x
}

func at(scope string) string {
	if scope == "" {
		return ""
	}
	return " in " + scope
}

// hash turns a name into an address of random numbers.
func hash(s string) uint64 {
	st := rng.NewKey(0, s).At(0)
	return st.Uint64()
}

// moments compares means and widths, in the window if there is one.
func (r *run) moments(sc *scopeTables, v Variable, ts []*table, cols []*metric.Column, row func(name, method, unit string) *Row) {
	method, lo, hi := "all", math.Inf(-1), math.Inf(1)
	if v.Window[1] > v.Window[0] {
		method, lo, hi = "window", v.Window[0], v.Window[1]
	}
	d := metric.Moments(onlyFinite(ts[0].cols[v.Name]), ts[0].weights(v), lo, hi)
	mean, width := row("mean", method, v.Unit), row("width", method, v.Unit)
	mean.Target, width.Target, mean.holm, width.holm, mean.Floor, width.Floor = pLevel, pLevel, true, true, 0, 0
	for _, t := range ts[1:] {
		m := metric.Moments(onlyFinite(t.cols[v.Name]), t.weights(v), lo, hi)
		mean.put(t, m.Mean-d.Mean)
		width.put(t, m.Width-d.Width)
		em, ew := math.Hypot(m.MeanErr, d.MeanErr), math.Hypot(m.WidErr, d.WidErr)
		if t.role == Morphed || sc.mor == nil && t.role == Simulation {
			mean.FloorSD, width.FloorSD = Number(em), Number(ew)
		}
		if t.role == Morphed {
			mean.P, mean.AfterSD = Number(normalP((m.Mean-d.Mean)/em)), Number(em)
			width.P, width.AfterSD = Number(normalP((m.Width-d.Width)/ew)), Number(ew)
			tol := v.Tolerance
			if tol == 0 && method == "all" && math.Min(m.N, d.N) >= largeSample {
				tol = w1Bar * d.Width // a thousand-sigma machine is no use: half a per cent of a width is agreement
			}
			mean.large, width.large = math.Abs(m.Mean-d.Mean) <= tol, math.Abs(m.Width-d.Width) <= tol
		}
	}
}

// normalP is the two-sided p-value of a normal pull; 1 where nothing differs.
func normalP(z float64) float64 {
	if math.IsNaN(z) {
		return 1
	}
	return math.Erfc(math.Abs(z) / math.Sqrt2)
}

// atoms compares the shares of events at single values.
func (r *run) atoms(sc *scopeTables, v Variable, ts []*table, cols []*metric.Column, row func(name, method, unit string) *Row) {
	values := append([]float64(nil), v.Atoms...)
	if at, _, ok := lowestAtom(v, cols[0], cols[0].V[0], 0); ok && !whole(cols[0]) && len(values) == 0 {
		values = append(values, at)
	}
	for _, a := range values {
		w := row("atom", short(a), "share")
		d, ed := cols[0].Atom(a)
		w.Floor, w.Target, w.holm = 0, pLevel, true
		for i, t := range ts {
			if t.role == Data {
				continue
			}
			p, e := cols[i].Atom(a)
			w.put(t, p-d)
			w.FloorSD = Number(math.Hypot(e, ed))
			if t.role == Morphed {
				w.AfterSD = Number(math.Hypot(e, ed))
				w.P = Number(normalP((p - d) / math.Hypot(e, ed)))
				if p == d {
					w.P = 1
				}
			}
		}
	}
}

// transport says how far the morph moves events, against the least that any map with the same result could, and whether it keeps their order.
func (r *run) transport(sc *scopeTables, v Variable, data *metric.Column, row func(name, method, unit string) *Row) {
	if sc.pairs[0] == nil || v.Kind == Condition {
		return
	}
	w := sc.pairs[1].w
	x, y := [][]float64{onlyFinite(sc.pairs[0].cols[v.Name])}, [][]float64{onlyFinite(sc.pairs[1].cols[v.Name])}
	_, sd := data.MeanSD()
	if !(sd > 0) {
		return
	}
	abs, _ := metric.Transport(x, y, w, []float64{sd})
	t := row("transport", "abs", "sd")
	t.After, t.Floor = Number(abs[0]), Number(metric.TransportBound(x, y, w, []float64{sd}, 1)[0])
	var atom func(i int) bool
	if a, _, ok := lowestAtom(v, data, data.V[0], 0); ok {
		atom = func(i int) bool { return x[0][i] != a && y[0][i] != a }
	}
	d := row("dependence", "spearman", "")
	d.After, d.Floor = Number(metric.Dependence(x[0], y[0], abs64(w), atom)), null()
}

func abs64(w []float64) []float64 {
	o := make([]float64, len(w))
	for i, v := range w {
		o[i] = math.Abs(v)
	}
	return o
}

// matrix returns the columns of the kinds, in the variables' order.
func (r *run) matrix(t *table, kinds ...string) [][]float64 {
	var out [][]float64
	for _, v := range r.names(kinds...) {
		out = append(out, t.cols[v.Name])
	}
	return out
}

func (r *run) names(kinds ...string) []Variable {
	var out []Variable
	for _, v := range r.vars {
		for _, k := range kinds {
			if v.Kind == k {
				out = append(out, v)
			}
		}
	}
	return out
}

// scores are the classifier's results that figures need.
type scores struct {
	before, after *metric.ClassifierResult
	simSide       metric.Side
	dataSide      metric.Side
	morSide       metric.Side
}

// classifiers runs the two-sample tests with boosted trees: features and conditions together, then the conditions alone.
func (r *run) classifiers(sc *scopeTables) ([]*Row, scores) {
	var out []*Row
	var keep scores
	set := metric.ClassifierSettings{Seed: rng.Hash(r.Seed, hash(sc.name)), Threads: r.Threads, Bootstrap: r.do.bootstrap}
	set.Trees.Trees, set.Trees.Depth = r.do.trees, r.do.depth
	for _, sub := range []struct {
		subject string
		kinds   []string
	}{{"features+conditions", []string{Feature, Condition}}, {"conditions", []string{Condition}}} {
		vars := r.names(sub.kinds...)
		if len(vars) == 0 || sub.subject == "conditions" && len(vars) == len(r.names(Feature, Condition)) {
			continue
		}
		side := func(t *table, w []float64) metric.Side {
			idx := chosen(t.n, r.MaxEvents, rng.Hash(r.Seed, hash(t.role)))
			s := metric.Side{Train: pick(t.train, idx), Eval: pick(w, idx)}
			fold := metric.Folds(t.id, t.n)
			s.Fold = pick(fold, idx)
			for _, v := range vars {
				s.X = append(s.X, pick(t.cols[v.Name], idx))
			}
			return s
		}
		row := sc.newRow("auc", "gbdt", sub.subject, "")
		row.N = min(row.N, int64(r.MaxEvents))
		data := side(sc.data, sc.data.w)
		run := func(t *table, w []float64) (*metric.ClassifierResult, metric.Side) {
			s := side(t, w)
			res, err := metric.ClassifierTest(s, data, set)
			if err != nil {
				r.notes = append(r.notes, fmt.Sprintf("The classifier test of %s on %s%s was left out: %v.", t.label, sub.subject, at(sc.name), err))
				return nil, s
			}
			row.put(t, res.AUC)
			return res, s
		}
		rawSim := sc.sim.w
		if sub.subject == "conditions" {
			rawSim = sc.sim.raw
		}
		before, bs := run(sc.sim, rawSim)
		var after *metric.ClassifierResult
		var as metric.Side
		if sc.mor != nil {
			if after, as = run(sc.mor, sc.mor.w); after != nil {
				row.AfterSD = Number(after.Err)
			}
		}
		if sc.ref != nil {
			run(sc.ref, sc.ref.w)
		}
		idx := chosen(sc.data.n, r.MaxEvents, rng.Hash(r.Seed, hash(Data)))
		half := pick(metric.Halves(sc.data.id, sc.data.n), idx)
		if f, err := metric.ClassifierFloor(data, half, set); err == nil {
			row.Floor, row.FloorSD = Number(f.AUC), Number(f.Err)
			row.Target = Number(math.Max(0.5, f.AUC) + 2*f.Err)
		}
		out = append(out, row)
		if sub.subject == "features+conditions" {
			keep = scores{before: before, after: after, simSide: bs, dataSide: data, morSide: as}
			best := after
			if best == nil {
				best = before
			}
			if best != nil && sc.name == "" {
				r.gain(best.Gain, vars)
			}
		}
	}
	return out, keep
}

// gain remembers in words where the classifier found the difference.
func (r *run) gain(g []float64, vars []Variable) {
	type share struct {
		name string
		v    float64
	}
	var s []share
	sum := 0.0
	for i, v := range g {
		s = append(s, share{vars[i].Name, v})
		sum += v
	}
	if !(sum > 0) {
		return
	}
	sort.SliceStable(s, func(a, b int) bool { return s[a].v > s[b].v })
	text := ""
	for i, v := range s[:min(3, len(s))] {
		if i > 0 {
			text += ", "
		}
		text += v.name + " " + percent(v.v/sum)
	}
	r.looking = text
}

// chosen returns at most k of n rows, the same for any number of threads.
func chosen(n, k int, seed uint64) []int {
	idx := make([]int, 0, min(n, k))
	if n <= k {
		for i := range n {
			idx = append(idx, i)
		}
		return idx
	}
	// selection sampling (Knuth 3.4.2 S) with addressed numbers: exactly k rows, in order
	key := rng.NewKey(seed, "rows of the test")
	for i := 0; len(idx) < k; i++ {
		if key.Uniform(uint64(i))*float64(n-i) < float64(k-len(idx)) {
			idx = append(idx, i)
		}
	}
	return idx
}

// mats are the correlation matrices for the figures, of features and conditions and observables.
type mats struct {
	vars     []Variable
	data     [][]float64
	sim, mor [][]float64
	simMax   float64
	morMax   float64
	floor    float64
}

// correlations compares all pairs of columns.
func (r *run) correlations(sc *scopeTables) ([]*Row, mats) {
	var out []*Row
	vars := r.names(Feature, Condition)
	if len(vars) < 2 {
		return nil, mats{}
	}
	m := mats{vars: vars}
	subject := sc.sim // the sample that the floors are for
	if sc.mor != nil {
		subject = sc.mor
	}
	for _, method := range []string{"pearson", "spearman"} {
		corr := metric.Pearson
		if method == "spearman" {
			corr = metric.Spearman
		}
		largest, frob := sc.newRow("corr_max", method, "features+conditions", ""), sc.newRow("corr_frob", method, "features+conditions", "")
		dx := r.matrix(sc.data, Feature, Condition)
		rd := corr(dx, sc.data.w, r.Threads)
		f := metric.FloorCorr(r.matrix(subject, Feature, Condition), subject.w, dx, sc.data.w, method == "spearman", r.do.reps, rng.Hash(r.Seed, hash(sc.name), 3), r.Threads)
		largest.Floor, largest.FloorSD, frob.Floor, frob.FloorSD = Number(f.Max.Mean), Number(f.Max.SD), Number(f.Frob.Mean), Number(f.Frob.SD)
		largest.Target, frob.Target = overFloor(f.Max, floorFactor), overFloor(f.Frob, floorFactor)
		if math.Min(nEff(subject.w), nEff(sc.data.w)) >= largeSample {
			largest.Target = Number(math.Max(corrBar, f.Max.Mean+floorSigmas*f.Max.SD))
		}
		var worst *Row
		for _, t := range sc.samples()[1:] {
			rt := corr(r.matrix(t, Feature, Condition), t.w, r.Threads)
			c := metric.CompareCorr(rt, rd)
			largest.put(t, c.Max)
			frob.put(t, c.Frob)
			if t == subject {
				worst = sc.newRow("corr", method, vars[c.I].Name+","+vars[c.J].Name, "")
				worst.put(t, rt[c.I][c.J]-rd[c.I][c.J])
				worst.Floor, worst.FloorSD = 0, Number(f.SD[c.I][c.J])
				if t.role == Morphed {
					rs := corr([][]float64{sc.sim.cols[vars[c.I].Name], sc.sim.cols[vars[c.J].Name]}, sc.sim.w, r.Threads)
					worst.Before = Number(rs[0][1] - rd[c.I][c.J])
				}
			}
			if method == "pearson" {
				switch t.role {
				case Simulation:
					m.sim, m.simMax = rt, c.Max
				case Morphed:
					m.mor, m.morMax = rt, c.Max
				}
			}
		}
		if method == "pearson" {
			m.data, m.floor = rd, f.Max.Mean
		}
		out = append(out, largest, frob, worst)
	}
	return out, m
}

// joint runs the tests of all columns at once: MMD, energy distance, sliced W1.
func (r *run) joint(sc *scopeTables) []*Row {
	rows, dirs, cut := r.do.pairs, r.do.directions, r.do.sliced
	seed := rng.Hash(r.Seed, hash(sc.name), 5)
	complete := func(t *table, n int) ([][]float64, []float64) {
		x := r.matrix(t, Feature, Condition)
		var good []int
		for i := range t.n {
			ok := true
			for _, c := range x {
				ok = ok && finite(c[i])
			}
			if ok {
				good = append(good, i)
			}
		}
		sel := chosen(len(good), n, rng.Hash(seed, hash(t.role)))
		idx := make([]int, len(sel))
		for k, i := range sel {
			idx[k] = good[i]
		}
		out := make([][]float64, len(x))
		for j, c := range x {
			out[j] = pick(c, idx)
		}
		return out, pick(t.w, idx)
	}
	mmd, energy, sliced := sc.newRow("mmd2", "permutation", "features+conditions", ""), sc.newRow("energy", "permutation", "features+conditions", ""), sc.newRow("sliced_w1", "directions"+strconv.Itoa(dirs), "features+conditions", "sd")
	var out []*Row
	ps := metric.PairSettings{Rows: rows, Permutations: r.do.permutations, Seed: seed, Threads: r.Threads}
	dx, dw := complete(sc.data, rows)
	for _, t := range []struct {
		row *Row
		f   func(x [][]float64, wx []float64, y [][]float64, wy []float64, s metric.PairSettings) (*metric.PairTest, error)
	}{{mmd, metric.MMDTest}, {energy, metric.EnergyTest}} {
		t.row.N = min(t.row.N, int64(rows))
		failed := false
		for _, s := range sc.samples()[1:] {
			x, w := complete(s, rows)
			res, err := t.f(x, w, dx, dw, ps)
			if err != nil {
				r.notes = append(r.notes, fmt.Sprintf("%s of %s%s was left out: %v.", t.row.Name, s.label, at(sc.name), err))
				failed = true
				break
			}
			t.row.put(s, res.Value)
			if s.role == Morphed || s.role == Simulation && sc.mor == nil {
				t.row.Floor, t.row.FloorSD = Number(res.Null.Mean), Number(res.Null.SD)
				t.row.Target = Number(res.Null.Mean + 2*res.Null.SD)
				if s.role == Morphed {
					t.row.P = Number(res.P)
				}
			}
		}
		if !failed {
			out = append(out, t.row)
		}
	}
	sx, sw := complete(sc.data, cut)
	ss := metric.SlicedSettings{Directions: dirs, Rows: cut, Seed: seed, Threads: r.Threads}
	sliced.N = min(sliced.N, int64(cut))
	for _, t := range sc.samples()[1:] {
		x, w := complete(t, cut)
		v, err := metric.SlicedW1(x, w, sx, sw, ss)
		if err != nil {
			r.notes = append(r.notes, fmt.Sprintf("Sliced W1 of %s%s was left out: %v.", t.label, at(sc.name), err))
			return out
		}
		sliced.put(t, v)
		if t.role == Morphed || t.role == Simulation && sc.mor == nil {
			if f, err := metric.FloorSlicedW1(x, w, sx, sw, r.do.reps, ss); err == nil {
				sliced.Floor, sliced.FloorSD, sliced.Target = Number(f.Mean), Number(f.SD), overFloor(f, 1.2)
			}
		}
	}
	return append(out, sliced)
}

// profile is one figure of profiles: a feature in bins of a condition.
type profile struct {
	y, x  Variable
	bins  map[string][]metric.ProfileBin // by role; data is Q[1] of any
	worst float64
	edges []float64
}

// profiles compares quantiles of every feature and observable in bins of every condition.
func (r *run) profiles(sc *scopeTables, results []varResult) ([]*Row, []profile) {
	type pair struct{ y, x int }
	var pairs []pair
	for i, a := range results {
		for j, b := range results {
			if a.ok && b.ok && a.v.Kind == Feature && b.v.Kind == Condition {
				pairs = append(pairs, pair{i, j})
			}
		}
	}
	rows := make([]*Row, len(pairs))
	out := make([]profile, len(pairs))
	thin := func(t *table) *table {
		if t == nil || t.n <= profileRows {
			return t
		}
		return t.rows(chosen(t.n, profileRows, rng.Hash(r.Seed, hash(t.role), 7)))
	}
	ts := []*table{thin(sc.data), thin(sc.sim), thin(sc.mor), thin(sc.ref)}
	par.For(r.Threads, len(pairs), 1, func(k, _, _ int) {
		y, x := r.vars[pairs[k].y], r.vars[pairs[k].x]
		row := sc.newRow("profile", "quantiles", y.Name+","+x.Name, "sd")
		row.Target, row.holm, row.Floor = pLevel, true, null()
		p := profile{y: y, x: x, bins: map[string][]metric.ProfileBin{}}
		for _, t := range ts[1:] {
			if t == nil {
				continue
			}
			b, err := metric.Profile(onlyFinite(t.cols[y.Name]), t.cols[x.Name], t.w, onlyFinite(ts[0].cols[y.Name]), ts[0].cols[x.Name], ts[0].w, profileBins)
			if err != nil {
				continue
			}
			p.bins[t.role] = b
			worst, n := 0.0, 0
			for _, q := range b {
				for _, z := range q.Pull {
					if finite(z) {
						worst, n = math.Max(worst, math.Abs(z)), n+1
					}
				}
			}
			row.put(t, worst)
			if t.role == Morphed {
				p.worst = worst
				row.P = Number(-math.Expm1(float64(n) * math.Log1p(-math.Min(normalP(worst), 1-1e-16))))
			}
			if len(p.edges) == 0 {
				p.edges = profileEdges(b, ts[0].cols[x.Name], ts[0].w)
			}
		}
		rows[k], out[k] = row, p
	})
	return rows, out
}

// profileEdges puts finite ends on the outer bins.
func profileEdges(b []metric.ProfileBin, x, w []float64) []float64 {
	q := metric.Quantiles(onlyFinite(x), w, 0.002, 0.998)
	e := []float64{math.Min(q[0], b[0].Hi)}
	for _, v := range b {
		e = append(e, v.Hi)
	}
	e[len(e)-1] = math.Max(q[1], b[len(b)-1].Lo)
	for i := 1; i < len(e); i++ {
		if !(e[i] > e[i-1]) {
			e[i] = math.Nextafter(e[i-1], math.Inf(1))
		}
	}
	return e
}

// short writes a number with four digits.
func short(v float64) string { return strconv.FormatFloat(v, 'g', 4, 64) }

func percent(v float64) string {
	switch {
	case v == 0 || math.Abs(v) >= 0.0995:
		return strconv.FormatFloat(100*v, 'f', 0, 64) + " %"
	case math.Abs(v) >= 0.00995:
		return strconv.FormatFloat(100*v, 'f', 1, 64) + " %"
	}
	return strconv.FormatFloat(100*v, 'g', 2, 64) + " %"
}
