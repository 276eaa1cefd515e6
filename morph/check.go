package morph

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"hepmorph/internal/ad"
	"hepmorph/internal/config"
	"hepmorph/internal/rng"
	"hepmorph/physics"
	"hepmorph/physics/rootio"
	"hepmorph/validation/metric"
)

// Check is what a look at the inputs of a configuration finds before any training.
type Check struct {
	Luminosity Luminosity // 0: the simulation is normalised to data
	Samples    [2]CheckedSample
	Columns    []CheckedColumn
	Findings   []Finding
	// The classifier test on rows that a training does not learn from, at most checkRows of each sample, with kinematic weights.
	Before, Floor, Conditions Estimate
	Weights                   []string // what was done to the weights
	Time                      *TrainingTime

	held      [2]*Events
	kin, posi []float64
}

// Estimate is a number with its error; N is 0 where it could not be had.
type Estimate struct {
	Value, Err float64
	N          int
}

// CheckedSample is one of the two samples.
type CheckedSample struct {
	Parts                         []CheckedPart
	Yield, NEff                   float64 // sum of weights and effective events of the selected rows
	Sighted                       float64 // sum of weights outside blind windows
	Selected                      int
	Train, Validation, Test, Lost int // Lost: blind
}

// CheckedPart is one input.
type CheckedPart struct {
	Part
	Negative float64 // share of the selected rows
	Share    float64 // of the sample's sum of weights
	Variance float64 // share of the sample's sum of squared weights
}

// CheckedColumn is what a column looks like. Pairs are simulation and data.
type CheckedColumn struct {
	Name, Kind string
	Unit       string
	Min, Max   [2]float64 // finite values, without sentinels
	Median     [2]float64
	Atom       [2]float64 // share of rows
	AtomAt     float64
	Sentinel   [2]float64
	NotFinite  [2]int
	Bits       int // of a truncated mantissa, 0: full
	Whole      bool
	Outside    [2]float64 // share of the weight that lies where splines are the identity
	W1, W1Bar  float64    // distance of simulation from data in standard deviations, and what equal laws would show
}

// A Finding is something to change, or to know.
type Finding struct {
	Fatal bool   // training would refuse, or be of no use
	Text  string // what is found
	Line  string // line of the configuration to paste, if that is the remedy
}

// TrainingTime is an estimate for this machine as it is now.
type TrainingTime struct {
	Parameters, Steps int
	Step, Total       time.Duration
	Memory            int64 // bytes
}

// CheckOptions say how a check runs.
type CheckOptions struct {
	Threads int
	Guard   bool
}

const (
	checkRows  = 50000 // of a sample, in the classifier test
	weighRows  = 30000 // of a sample, for the weights
	lookRows   = 120000
	trialRows  = 12000 // to measure a step
	floorDraws = 100   // its floor is known to 4 %
	spikeRows  = 30    // on one value are no accident
	scarceRows = 2000  // fewer make a morph of noise
)

// CheckConfig reads, selects and inspects both samples of a configuration. What a training would refuse is a fatal finding as far as it can go on; errors are
// those of reading, of expressions, of selections that leave nothing and of weights that mean nothing.
func CheckConfig(ctx context.Context, cfg *Config, o CheckOptions) (*Check, error) {
	c := &Check{Luminosity: cfg.Inputs.Luminosity}
	var ev [2]*Events
	var lay *layout
	for d := range ev {
		var err error
		var l *layout
		if ev[d], l, err = cfg.load(ctx, Domain(d), rootio.Options{Guard: o.Guard}); err != nil {
			return nil, err
		}
		if lay == nil {
			lay = l
		}
		if err := ev[d].check(); err != nil {
			return nil, err
		}
	}
	var split [2]parts
	for d := range ev {
		var err error
		if split[d], err = cfg.split(ev[d]); err != nil {
			c.fatal("", "%v", err)
		}
		c.sample(ev[d], split[d])
		if c.held[d], err = ev[d].HeldOut(cfg); err != nil {
			if c.held[d], err = ev[d].Sighted(cfg); err != nil {
				return nil, err
			}
			c.say("", "%s: split.train leaves no row aside: a validation will look at the rows that were trained on", domainName(Domain(d)))
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := c.columns(cfg, ev, split); err != nil {
		return nil, err
	}
	if c.failed() {
		return c, nil
	}
	p := &prepared{model: &Model{cfg: cfg}}
	small := split
	for d := range small {
		small[d] = thin(ev[d], split[d], weighRows)
	}
	quick := *cfg
	quick.Reweight.Folds, quick.Reweight.Rounds = 2, 1
	opt := TrainOptions{Threads: o.Threads, Log: func(format string, args ...any) { c.Weights = append(c.Weights, fmt.Sprintf(format, args...)) }}
	tables, weights, err := p.weigh(&quick, ev, small, opt)
	if err != nil {
		c.fatal("", "%v", err)
		return c, nil
	}
	if err := c.encoder(cfg, p, tables, weights.all, small); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := c.classify(cfg, p, o.Threads); err != nil {
		return nil, err
	}
	if c.failed() {
		return c, nil
	}
	return c, c.estimate(cfg, p, lay, ev, split, o.Threads)
}

func (c *Check) fatal(line, format string, args ...any) {
	c.Findings = append(c.Findings, Finding{true, fmt.Sprintf(format, args...), line})
}

func (c *Check) say(line, format string, args ...any) {
	c.Findings = append(c.Findings, Finding{false, fmt.Sprintf(format, args...), line})
}

func (c *Check) failed() bool {
	return slices.ContainsFunc(c.Findings, func(f Finding) bool { return f.Fatal })
}

// Err is an error that names the fatal findings, nil if there are none.
func (c *Check) Err() error {
	n := 0
	first := ""
	for _, f := range c.Findings {
		if f.Fatal {
			if n++; n == 1 {
				first = f.Text
			}
		}
	}
	switch n {
	case 0:
		return nil
	case 1:
		return fmt.Errorf("morph: could not train on this: %s: %w", first, ErrInput)
	}
	return fmt.Errorf("morph: could not train on this: %s, and %d more problems above: %w", first, n-1, ErrInput)
}

// HeldOut returns the rows that a training does not learn from and, for simulation, their kinematic factors and positive weights (nil: all 1).
func (c *Check) HeldOut(d Domain) (ev *Events, kinematic, positive []float64) {
	if d == Data {
		return c.held[d], nil, nil
	}
	return c.held[d], c.kin, c.posi
}

func (c *Check) sample(ev *Events, p parts) {
	s := &c.Samples[ev.Domain]
	s.Selected, s.Train, s.Validation, s.Test = ev.Table.Len(), len(p.train), len(p.validation), len(p.test)
	s.Lost = s.Selected - s.Train - s.Validation - s.Test
	at := 0
	all := ev.CutFlow.Selected()
	s.Yield, s.NEff = all.SumW, nEff(all.SumW, all.SumW2)
	for _, i := range slices.Concat(p.learn(), p.test) {
		s.Sighted += weight(ev.Table, i)
	}
	for _, part := range ev.Parts {
		q := CheckedPart{Part: part}
		for i := at; i < at+part.Rows; i++ {
			if weight(ev.Table, i) < 0 {
				q.Negative += 1 / float64(part.Rows)
			}
		}
		at += part.Rows
		own := part.CutFlow.Selected()
		q.Share, q.Variance = own.SumW/all.SumW, own.SumW2/all.SumW2
		s.Parts = append(s.Parts, q)
		if q.Variance > 0.5 && q.Variance > 2*q.Share {
			c.say("", "%s: %.1f %% of the mixture, but %.0f %% of its sum of squared weights: its events weigh much (%d rows); more of them would help most, or leave it out", part.Label, 100*q.Share, 100*q.Variance, part.Rows)
		}
	}
	if s.Train > 0 && s.Train < scarceRows {
		c.say("", "%s: only %d rows to train on: a flow will learn their fluctuations (more events, a looser select, fewer features)", domainName(ev.Domain), s.Train)
	}
}

// thin keeps at most n of the rows to learn from, the same ones for the same ids.
func thin(ev *Events, p parts, n int) parts {
	all := len(p.train) + len(p.validation)
	if all <= n {
		return p
	}
	key := rng.NewKey(0, "rows of a check")
	take := func(rows []int) (out []int) {
		for _, r := range rows {
			if key.Uniform(ev.Keys[r]) < float64(n)/float64(all) {
				out = append(out, r)
			}
		}
		return out
	}
	return parts{train: take(p.train), validation: take(p.validation), test: p.test}
}

// columns inspects the values of every column. Blinded rows are not looked at.
func (c *Check) columns(cfg *Config, ev [2]*Events, split [2]parts) error {
	var t [2]*physics.Table
	for d := range t {
		rows := slices.Concat(split[d].learn(), split[d].test)
		if len(rows) == 0 {
			rows = upTo(ev[d].Table.Len())
		}
		if len(rows) > lookRows {
			step := float64(len(rows)) / lookRows
			some := make([]int, lookRows)
			for i := range some {
				some[i] = rows[int(float64(i)*step)]
			}
			rows = some
		}
		t[d] = ev[d].Table.Take(rows)
	}
	var seen []CheckedColumn
	var values [][2][]float64
	for _, col := range cfg.Columns() {
		if col.Role == physics.ID {
			continue
		}
		cols, err := both(col.Name, t[:])
		if err != nil {
			return err
		}
		f, feature := cfg.Features.Get(col.Name)
		f.Name = col.Name
		l := lookAt(cols, f.Sentinels, f.Atom)
		k := CheckedColumn{Name: col.Name, Unit: col.Unit, Kind: fmt.Sprint(col.Role), Bits: l.Mantissa, Whole: l.Integer, NotFinite: l.NotFinite}
		if l.Atom != nil {
			k.AtomAt = *l.Atom
		}
		for d := range cols {
			k.Min[d], k.Max[d], k.Median[d] = span(cols[d], slices.Concat(l.Sentinels, f.Sentinels))
			k.Atom[d] = float64(l.AtomRows[d]) / math.Max(1, float64(l.Rows[d]))
			k.Sentinel[d] = float64(l.Sentinel[d]) / math.Max(1, float64(l.Rows[d]))
		}
		if col.Role != physics.Observable {
			c.judge(f, feature, col, cols, l, &k)
			for i, other := range values {
				if equalColumns(other[0], cols[0]) && equalColumns(other[1], cols[1]) && !l.constant() {
					c.fatal("", "%s: the same values as %s (leave one out)", col.Name, seen[i].Name)
				}
			}
			seen, values = append(seen, k), append(values, cols)
		}
		c.distance(&k, t, cols, slices.Concat(l.Sentinels, f.Sentinels), cfg.Seed)
		c.Columns = append(c.Columns, k)
	}
	return nil
}

// span returns lowest, highest and middle of the finite values that are no sentinels.
func span(x []float64, sentinels Floats) (lo, hi, median float64) {
	v := make([]float64, 0, len(x))
	for _, u := range x {
		if u-u == 0 && !sentinels.holds(u) {
			v = append(v, u)
		}
	}
	if len(v) == 0 {
		return math.NaN(), math.NaN(), math.NaN()
	}
	slices.Sort(v)
	return v[0], v[len(v)-1], v[len(v)/2]
}

// size is the median of the absolute values of what is finite and no sentinel; unlike a median it tells the unit of a symmetric column too.
func size(x []float64, sentinels Floats) float64 {
	abs := make([]float64, 0, len(x))
	for _, v := range x {
		if !sentinels.holds(v) {
			abs = append(abs, math.Abs(v))
		}
	}
	_, _, median := span(abs, nil)
	return median
}

// judge says what to change in the declaration of a feature or condition.
func (c *Check) judge(f FeatureSpec, feature bool, col physics.Column, cols [2][]float64, l *columnLook, k *CheckedColumn) {
	if l.constant() {
		c.fatal("", "%s: constant in the selected rows (leave it out)", col.Name)
		return
	}
	sizes := [2]float64{size(cols[0], slices.Concat(l.Sentinels, f.Sentinels)), size(cols[1], slices.Concat(l.Sentinels, f.Sentinels))}
	if differentUnits(sizes) {
		c.fatal("", "%s: its median size is %.4g in simulation and %.4g in data: MeV against GeV? (write one of them again in the unit of the other)", col.Name, sizes[0], sizes[1])
	}
	if !feature {
		for _, v := range l.Sentinels {
			c.say(fmt.Sprintf("select: [..., %q]", fmt.Sprintf("%s != %v", col.Expr, v)), "%s: a condition has no sentinels, but %.2f %% of its values are exactly %v", col.Name, 100*max(k.Sentinel[0], k.Sentinel[1]), v)
		}
		if l.NotFinite[0]+l.NotFinite[1] > 0 {
			c.fatal("", "%s: %d values of simulation and %d of data are not finite (select them away)", col.Name, l.NotFinite[0], l.NotFinite[1])
		}
		return
	}
	better, why := f, []string{}
	stop := false
	if len(l.Odd) > 0 {
		better.Sentinels = append(slices.Clone(better.Sentinels), l.Odd...)
		why = append(why, fmt.Sprintf("%d values of simulation and %d of data are not finite: declare them", l.NotFinite[0], l.NotFinite[1]))
		stop = true
	}
	if len(l.Sentinels) > 0 {
		better.Sentinels = append(slices.Clone(better.Sentinels), l.Sentinels...)
		why = append(why, fmt.Sprintf("%.2f %% of simulation and %.2f %% of data are exactly %v, far from all else: a sentinel", 100*k.Sentinel[0], 100*k.Sentinel[1], []float64(l.Sentinels)))
		stop = true
	}
	if f.Atom == nil && l.Atom != nil {
		better.Atom = l.Atom
		why = append(why, fmt.Sprintf("%.1f %% of simulation and %.1f %% of data are exactly %v: an atom", 100*k.Atom[0], 100*k.Atom[1], *l.Atom))
	}
	if f.Atom != nil && l.AtomRows[0]+l.AtomRows[1] == 0 {
		better.Atom = nil
		why = append(why, fmt.Sprintf("no value is %v: there is no atom", *f.Atom))
	}
	if f.Atom != nil && l.Min < *f.Atom {
		better.Atom = nil
		why = append(why, fmt.Sprintf("its values reach down to %v, below the atom", l.Min))
		stop = true
	}
	switch {
	case l.Integer && !f.Integer:
		better.Integer, better.Mantissa = true, 0
		why = append(why, "all values are whole numbers")
	case f.Integer && !l.Integer && l.Distinct > 2:
		better.Integer = false
		why = append(why, "not all values are whole numbers")
		stop = true
	case f.Mantissa != 0 && f.Mantissa != l.Mantissa && !(f.Mantissa == -1 && l.Mantissa == 0) && l.Rows[0]+l.Rows[1] > 10*mantissaRows:
		better.Mantissa = l.Mantissa
		why = append(why, fmt.Sprintf("its values use %s", bitsOf(l.Mantissa)))
	}
	if n := len(f.Bounds); n > 0 && (l.Min < f.Bounds[0] || n > 1 && l.Max > f.Bounds[1]) {
		better.Bounds = nil
		why = append(why, fmt.Sprintf("values from %v to %v lie outside bounds %v", l.Min, l.Max, f.Bounds))
		stop = true
	}
	if spike := l.Spike * float64(l.Rows[0]+l.Rows[1]); !better.Integer && l.Spike > suspicious && spike > spikeRows {
		text := fmt.Sprintf("%.1f %% of the values are exactly %v", 100*l.Spike, l.SpikeAt)
		if l.SpikeAt > l.Min {
			text += ", which is not the lowest: as a sentinel such rows are kept as they are, else they are spread"
		} else if l.Atom == nil {
			text += ", the lowest: an atom, if that is a value of its own"
		}
		why = append(why, text)
	}
	if len(why) > 0 {
		line := ""
		if !specEqual(f, better) {
			line = specLine(better)
		}
		if stop {
			c.fatal(line, "%s: %s", col.Name, strings.Join(why, "; "))
		} else {
			c.say(line, "%s: %s", col.Name, strings.Join(why, "; "))
		}
	}
	if constantIn(cols, l) {
		c.fatal("", "%s: constant in one of the samples: no map leads from one to the other (leave it out)", col.Name)
	}
}

func bitsOf(n int) string {
	if n == 0 {
		return "all mantissa bits (or are no truncated float32)"
	}
	return fmt.Sprintf("%d mantissa bits", n)
}

// differentUnits reports whether two sizes differ as MeV and GeV do.
func differentUnits(s [2]float64) bool {
	return s[0] > 0 && s[1] > 0 && (s[0] > 100*s[1] || s[1] > 100*s[0])
}

func specEqual(a, b FeatureSpec) bool { return specLine(a) == specLine(b) }

// specLine is a feature as the configuration has it.
func specLine(f FeatureSpec) string {
	text, err := config.Print(&struct {
		Features config.Map[FeatureSpec] `yaml:"features"`
	}{config.Map[FeatureSpec]{{Name: f.Name, Value: f}}}, false)
	if err != nil {
		return ""
	}
	_, line, _ := strings.Cut(string(text), "\n")
	return strings.TrimRight(line, "\n")
}

// distance compares the laws of a column, signed weights as they are.
func (c *Check) distance(k *CheckedColumn, t [2]*physics.Table, cols [2][]float64, sentinels Floats, seed uint64) {
	k.W1, k.W1Bar = math.NaN(), math.NaN()
	var x, w [2][]float64
	for d := range cols {
		for i, v := range cols[d] {
			if v-v == 0 && !sentinels.holds(v) {
				x[d], w[d] = append(x[d], v), append(w[d], weight(t[d], i))
			}
		}
		if len(x[d]) < 10 {
			return
		}
	}
	simulation, err := metric.Sort(x[0], w[0])
	if err != nil {
		return
	}
	data, err := metric.Sort(x[1], w[1])
	if err != nil {
		return
	}
	_, sd := data.MeanSD()
	if !(sd > 0) {
		return
	}
	floor, _ := simulation.Floors(data, floorDraws, seed, 1)
	k.W1, k.W1Bar = simulation.W1(data)/sd, floor.Mean/sd
}

// encoder fits the transforms one by one, so that all that is wrong is said at once.
func (c *Check) encoder(cfg *Config, p *prepared, tables [2]*physics.Table, weights [2][]float64, split [2]parts) error {
	var fit [2]*physics.Table
	var w [2][]float64
	for d := range fit {
		n := len(split[d].train)
		fit[d] = tables[d].Take(upTo(n))
		var err error
		if w[d], err = normalised(n, weights[d][:n]); err != nil {
			c.fatal("", "%v", err)
			return nil
		}
	}
	e := &Encoder{Seed: cfg.Seed}
	for _, spec := range cfg.ConditionSpecs() {
		cols, err := both(spec.Name, fit[:])
		if err != nil {
			return err
		}
		k, err := fitCondition(spec, cols, w)
		if err != nil {
			c.fatal("", "condition %s: %v", spec.Name, err)
			continue
		}
		e.Conditions = append(e.Conditions, *k)
	}
	for _, spec := range cfg.FeatureSpecs() {
		cols, err := both(spec.Name, fit[:])
		if err != nil {
			return err
		}
		f, err := e.fitFeature(spec, cols, w, fit[:])
		if err != nil {
			c.fatal("", "feature %s: %v", spec.Name, err)
			continue
		}
		e.Features = append(e.Features, *f)
		j := len(e.Features) - 1
		if err := e.look(j, fit[:], w); err != nil {
			return err
		}
		in := e.Features[j].Info
		for i := range c.Columns {
			if c.Columns[i].Name == spec.Name {
				c.Columns[i].Outside = in.Beyond
			}
		}
		if max(in.Beyond[0], in.Beyond[1]) > 0.01 {
			c.say(specLine(withTransform(spec)), "%s: %.1f %% of simulation and %.1f %% of data lie where splines are the identity", spec.Name, 100*in.Beyond[0], 100*in.Beyond[1])
		}
	}
	p.model.enc = e
	return nil
}

func withTransform(f FeatureSpec) FeatureSpec {
	f.Transform = "gauss"
	return f
}

// classify runs the classifier test on rows set aside.
func (c *Check) classify(cfg *Config, p *prepared, threads int) error {
	var err error
	m := p.model
	share := [2]float64{1, 1} // of the rows set aside
	for d := range c.held {
		all := c.held[d].Table.Len()
		c.held[d] = c.held[d].some(checkRows)
		share[d] = float64(c.held[d].Table.Len()) / float64(all)
	}
	if f := share[Data] / share[Simulation]; f != 1 { // a normalisation to luminosity stays right
		held := c.held[Simulation].take(upTo(c.held[Simulation].Table.Len()))
		held.Table.Weight = weights(held.Table)
		for i := range held.Table.Weight {
			held.Table.Weight[i] *= f
		}
		c.held[Simulation] = held
	}
	if c.kin, c.posi, err = m.Factors(c.held[Simulation], threads); err != nil {
		return err
	}
	side := func(names []string) (out [2]metric.Side, err error) {
		for d, ev := range c.held {
			t := ev.Table
			if out[d].X, err = tableColumns(t, names); err != nil {
				return out, err
			}
			out[d].Eval = slices.Clone(weights(t))
			out[d].Train = make([]float64, t.Len())
			for i, w := range out[d].Eval {
				out[d].Train[i] = math.Abs(w)
				if d == int(Simulation) && c.posi != nil {
					out[d].Train[i] = c.posi[i]
				}
				if d == int(Simulation) && c.kin != nil {
					out[d].Train[i] *= c.kin[i]
					out[d].Eval[i] *= c.kin[i]
				}
			}
			out[d].Fold = metric.Folds(ev.EventNumbers(), t.Len())
		}
		return out, nil
	}
	all, err := side(slices.Concat(cfg.Features.Names(), cfg.Conditions.Names()))
	if err != nil {
		return err
	}
	set := metric.ClassifierSettings{Seed: cfg.Seed, Threads: threads, Bootstrap: 40}
	test := func(what string, run func() (*metric.ClassifierResult, error)) (e Estimate) {
		res, err := run()
		if err != nil {
			c.say("", "no classifier test (%s): %v", what, err)
			return e
		}
		return Estimate{res.AUC, res.Err, min(res.N[0], res.N[1])}
	}
	if min(c.held[0].Table.Len(), c.held[1].Table.Len()) < 200 {
		c.say("", "fewer than 200 rows of a sample are set aside from training: no classifier test (see split)")
		return nil
	}
	c.Before = test("before", func() (*metric.ClassifierResult, error) {
		return metric.ClassifierTest(all[Simulation], all[Data], set)
	})
	half := metric.Halves(c.held[Data].EventNumbers(), c.held[Data].Table.Len())
	c.Floor = test("floor", func() (*metric.ClassifierResult, error) { return metric.ClassifierFloor(all[Data], half, set) })
	if len(cfg.Conditions) > 0 {
		only, err := side(cfg.Conditions.Names())
		if err != nil {
			return err
		}
		c.Conditions = test("conditions", func() (*metric.ClassifierResult, error) {
			return metric.ClassifierTest(only[Simulation], only[Data], set)
		})
	}
	switch e := c.Before; {
	case e.N > 0 && c.Floor.N > 0 && e.Value < max(0.5, c.Floor.Value)+2*math.Hypot(e.Err, c.Floor.Err):
		c.say("", "the classifier can't tell simulation from data: there is nothing to morph, or there are too few events to see it")
	case c.Conditions.N > 0 && c.Conditions.Value > 0.52 && c.Conditions.Value > 0.5+4*c.Conditions.Err:
		c.say("", "the conditions differ after reweighting (AUC %.3f): the morph assumes that they agree (reweight by all of them, or make a condition that the detector changes a feature)", c.Conditions.Value)
	}
	return nil
}

// some keeps at most n rows of a sample, those that come first in a shuffle by their ids.
func (ev *Events) some(n int) *Events {
	if ev.Table.Len() <= n {
		return ev
	}
	key := rng.NewKey(1, "rows of a check")
	type row struct {
		u float64
		i int
	}
	order := make([]row, ev.Table.Len())
	for i := range order {
		order[i] = row{key.Uniform(ev.Keys[i]), i}
	}
	slices.SortFunc(order, func(a, b row) int { return cmp.Or(cmp.Compare(a.u, b.u), a.i-b.i) })
	rows := make([]int, n)
	for i := range rows {
		rows[i] = order[i].i
	}
	slices.Sort(rows)
	return ev.take(rows)
}

// estimate measures some steps of the training on some of its rows.
func (c *Check) estimate(cfg *Config, p *prepared, lay *layout, ev [2]*Events, split [2]parts, threads int) error {
	var few [2]parts
	var tables [2]*physics.Table
	var w rowWeights
	for d := range few {
		few[d] = thin(ev[d], split[d], trialRows)
		if len(few[d].train) < 2 || len(few[d].validation) < 2 {
			return nil
		}
		tables[d] = ev[d].Table.Take(few[d].learn())
		w.given[d] = ones(tables[d].Len())
	}
	w.all = w.given
	quiet := TrainOptions{Threads: threads, Log: func(string, ...any) {}}
	if err := p.encode(cfg, lay, ev, few, tables, w, quiet); err != nil {
		if min(len(split[0].train), len(split[1].train)) < scarceRows { // nothing is wrong with the configuration
			c.say("", "a training on so few rows would be refused: %v", err)
		} else {
			c.fatal("", "%v", err)
		}
		return nil
	}
	net, err := newNetwork(cfg.Method, cfg.Pairing, p.model.enc.Dim(), p.model.enc.CondDim(), cfg.Flow, cfg.Seed)
	if err != nil {
		c.fatal("", "%v", err)
		return nil
	}
	settings, err := cfg.taskSettings()
	if err != nil {
		return err
	}
	pool := ad.NewPool(threads)
	defer pool.Close()
	tk, err := newTask(net, p.data, pool, settings)
	if err != nil {
		c.fatal("", "%v", err)
		return nil
	}
	const hour = time.Hour
	n, err := tk.stepsIn(hour, 1)
	if err != nil {
		return err
	}
	t := &TrainingTime{Parameters: net.ps.Count(), Step: hour / time.Duration(max(1, n))}
	rows := [2]int{len(split[0].train) + len(split[0].validation), len(split[1].train) + len(split[1].validation)}
	t.Steps = cfg.Train.Steps
	if cfg.Train.Epochs > 0 {
		t.Steps = max(1, int(math.Round(cfg.Train.Epochs*float64(2*min(rows[0], rows[1]))/float64(cfg.Train.Batch))))
	}
	t.Total = t.Step * time.Duration(t.Steps)
	if cfg.Train.Budget > 0 {
		t.Total = time.Duration(cfg.Train.Budget)
		t.Steps = int(t.Total / t.Step)
	}
	columns := len(ev[0].Table.Columns)
	for d := range rows {
		t.Memory += int64(ev[d].Table.Len()) * int64(columns+3) * 8                    // as read
		t.Memory += int64(rows[d]) * (int64(columns+3)*8*3 + 4*int64(net.d+net.c+2)*2) // copies to learn from, and model space
	}
	t.Memory += int64(t.Parameters)*4*8 + int64(cfg.Train.Batch)*int64(cfg.Flow.Transforms)*int64(net.d*(3*cfg.Flow.Bins+8)+4*slices.Max(cfg.Flow.Hidden))*4*2 + 64<<20
	c.Time = t
	return nil
}
