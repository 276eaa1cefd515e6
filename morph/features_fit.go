package morph

import (
	"fmt"
	"math"
	"slices"

	"hepmorph/internal/gbdt"
	"hepmorph/internal/rng"
	"hepmorph/physics"
)

// FitEncoder fits the transforms of all features and conditions to the training rows of simulation and data, in common:
// one transform for both, each sample with the same total weight. Weights must not be negative (PositiveWeights makes
// such); nil means 1. The tables hold each feature and condition under its name.
//
// Errors match ErrInput: a column that is missing, constant, or not finite where that is not declared a sentinel.
func FitEncoder(features []FeatureSpec, conditions []ConditionSpec, samples []*physics.Table, weights [][]float64, seed uint64) (*Encoder, error) {
	if len(samples) != 2 || len(weights) != 2 {
		panic("morph: an encoder is fitted to simulation and data")
	}
	var w [2][]float64
	for d := range samples {
		var err error
		if w[d], err = normalised(samples[d].Len(), weights[d]); err != nil {
			return nil, err
		}
	}
	e := &Encoder{Seed: seed}
	for _, spec := range conditions {
		cols, err := both(spec.Name, samples)
		if err != nil {
			return nil, err
		}
		c, err := fitCondition(spec, cols, w)
		if err != nil {
			return nil, fmt.Errorf("morph: could not use condition %q: %w", spec.Name, err)
		}
		e.Conditions = append(e.Conditions, *c)
	}
	for _, spec := range features {
		cols, err := both(spec.Name, samples)
		if err != nil {
			return nil, err
		}
		f, err := e.fitFeature(spec, cols, w, samples)
		if err != nil {
			return nil, fmt.Errorf("morph: could not use feature %q: %w", spec.Name, err)
		}
		e.Features = append(e.Features, *f)
	}
	for j := range e.Features {
		if err := e.look(j, samples, w); err != nil {
			return nil, err
		}
	}
	return e, nil
}

// normalised scales weights to a sum of 1.
func normalised(n int, w []float64) ([]float64, error) {
	if n == 0 {
		return nil, fmt.Errorf("morph: could not fit the features: a sample has no rows: %w", ErrInput)
	}
	out := make([]float64, n)
	sum := 0.0
	for i := range out {
		out[i] = 1
		if w != nil {
			out[i] = w[i]
		}
		if !(out[i] >= 0) || math.IsInf(out[i], 0) {
			return nil, fmt.Errorf("morph: could not fit the features: weight %d is %v: %w", i, out[i], ErrInput)
		}
		sum += out[i]
	}
	if !(sum > 0) {
		return nil, fmt.Errorf("morph: could not fit the features: all weights are 0: %w", ErrInput)
	}
	for i := range out {
		out[i] /= sum
	}
	return out, nil
}

func both(name string, samples []*physics.Table) (cols [2][]float64, err error) {
	for d, t := range samples {
		if cols[d], err = t.Col(name); err != nil {
			return cols, fmt.Errorf("%w (%w)", err, ErrInput)
		}
	}
	return cols, nil
}

// pool joins the rows of both samples that keep returns, with weights.
func pool(cols, w [2][]float64, keep func(x float64) bool) (x, wx []float64) {
	for d := range cols {
		for i, v := range cols[d] {
			if keep(v) {
				x, wx = append(x, v), append(wx, w[d][i])
			}
		}
	}
	return x, wx
}

// limit bounds all values: a power of two, so that it lies on every grid, and a float32.
const limit = 1 << 127

// widen sets the domain of a feature without bounds: the trained range and as much again on either side. Values beyond
// would be extrapolated so far that nothing is known.
func (f *feature) widen() {
	width := f.Info.Max - f.Info.Min
	if len(f.Spec.Bounds) == 0 {
		f.Lo = max(f.Grid.snap(f.Info.Min-width), -limit)
		for _, t := range f.Tail {
			if l, ok := t.(*logStep); ok && len(f.Spec.Gap) == 0 {
				f.Lo = max(f.Lo, l.Min)
			}
		}
	}
	if len(f.Spec.Bounds) < 2 {
		f.Hi = min(f.Grid.snap(f.Info.Max+width), limit)
	}
	f.Floor = f.Lo
	if len(f.Atoms) > 0 {
		f.Floor = f.Info.Min
	}
}

func (e *Encoder) fitFeature(spec FeatureSpec, cols, w [2][]float64, samples []*physics.Table) (*feature, error) {
	f := &feature{Spec: spec, Lo: -limit, Hi: limit}
	if len(spec.Bounds) > 0 {
		f.Lo = spec.Bounds[0]
	}
	if len(spec.Bounds) > 1 {
		f.Hi = spec.Bounds[1]
	}
	if spec.Atom != nil {
		f.Atoms = Floats{*spec.Atom}
	}
	if spec.SentinelAsAtom {
		f.Atoms = append(f.Atoms, spec.Sentinels...)
	} else {
		f.Keep = spec.Sentinels
	}
	for d, name := range []string{"simulation", "data"} {
		bad, out, first := 0, 0, 0.0
		for _, x := range cols[d] {
			if c, _ := f.classify(x); c == outside {
				if x-x != 0 {
					bad++
				} else if out++; out == 1 {
					first = x
				}
			}
		}
		if bad > 0 {
			return nil, fmt.Errorf("%d of %d values in %s are not finite (cut them away, or list .nan or .inf under sentinels): %w", bad, len(cols[d]), name, ErrInput)
		}
		if out > 0 {
			return nil, fmt.Errorf("%d of %d values in %s are outside bounds %v or in a gap %v, the first is %v (widen them, or list the value under sentinels): %w",
				out, len(cols[d]), name, spec.Bounds, spec.Gap, first, ErrInput)
		}
	}
	isTail := func(x float64) bool { c, _ := f.classify(x); return c == tail }
	x, wx := pool(cols, w, isTail)
	switch {
	case spec.Integer:
		for _, v := range x {
			if v != math.Trunc(v) {
				return nil, fmt.Errorf("it holds %v, which is no integer (leave integer away): %w", v, ErrInput)
			}
		}
		f.Grid.Integer = true
	case spec.Mantissa > 0:
		f.Grid.Mantissa = spec.Mantissa
	case spec.Mantissa == 0:
		f.Grid.Mantissa = detectMantissa(x)
	}
	if len(x) < 2 || slices.Min(x) == slices.Max(x) {
		return nil, fmt.Errorf("it is constant in the training rows (leave it out, or make it a condition): %w", ErrInput)
	}
	var tails [2][]float64
	for d, name := range []string{"simulation", "data"} {
		one, _ := pool([2][]float64{cols[d]}, [2][]float64{w[d]}, isTail)
		if tails[d] = one; len(one) > 1 && slices.Min(one) == slices.Max(one) {
			return nil, fmt.Errorf("all its values in %s are %v, not so in the other sample: no map leads from one to the other (leave it out): %w", name, one[0], ErrInput)
		}
	}
	f.Info = ColumnInfo{Name: spec.Name, Min: slices.Min(x), Max: slices.Max(x), Mantissa: f.Grid.Mantissa}
	f.Info.Spike, f.Info.SpikeAt = spike(x, wx)
	if spec.Atom != nil && !(f.Info.Min > *spec.Atom) {
		return nil, fmt.Errorf("its values reach down to %v, below the atom at %v (an atom is the lowest value): %w", f.Info.Min, *spec.Atom, ErrInput)
	}
	if spec.Atom != nil && len(spec.Gap) == 0 && spec.Transform != "periodic" {
		f.Shift = commonStart(tails)
	}
	key := rng.NewKey(e.Seed, "fit "+spec.Name)
	for i := range x {
		d := Data
		if i < len(tails[Simulation]) {
			d = Simulation
		}
		x[i] = f.Grid.spread(x[i], key.Uniform(uint64(i))) + f.Shift[d]
	}
	lo, hi := f.Lo, f.Hi // the bounds, widened by the cell that their values are spread over
	if len(spec.Bounds) > 0 {
		lo, _ = f.Grid.cell(lo)
	}
	if len(spec.Bounds) > 1 {
		_, hi = f.Grid.cell(hi)
	}
	var err error
	kind := spec.Transform
	if spec.AtomTreatment == "hurdle" {
		kind = "gauss" // ranks are taken from the normal distribution
	}
	f.Tail, f.Info.Transform, err = fitSteps(stepSpec{kind, len(spec.Bounds), lo, hi, spec.Gap, spec.Period, spec.Robust, f.Atoms}, x, wx)
	if err != nil {
		return nil, err
	}
	f.widen()
	if spec.AtomTreatment == "hurdle" {
		if len(f.Atoms) != 1 {
			return nil, fmt.Errorf("the hurdle treatment takes exactly one atom, there are %d: %w", len(f.Atoms), ErrInput)
		}
		if f.Hurdle, err = e.fitHurdle(f.Atoms[0], cols, w, samples); err != nil {
			return nil, err
		}
	}
	f.Final = affineStep{0, 1}
	if len(f.Atoms) > 0 && f.Hurdle == nil {
		f.Final = f.fitFinal(cols, w, key)
	}
	return f, nil
}

// commonStart returns what to add to each of two tails so that both begin at the lower of their two starts: nothing, unless both starts are known to much
// better than their distance. A map that is smooth does not take one step into the other.
func commonStart(tails [2][]float64) (shift [2]float64) {
	var start, within [2]float64
	for d, x := range tails {
		k := max(startRows, len(x)/500)
		if len(x) < 2*k {
			return shift
		}
		x = slices.Clone(x)
		slices.Sort(x)
		start[d], within[d] = x[0], x[k]-x[0]
	}
	if 4*max(within[0], within[1]) < math.Abs(start[0]-start[1]) {
		low := min(start[0], start[1])
		shift = [2]float64{low - start[0], low - start[1]}
	}
	return shift
}

// startRows is the least number of rows that a start is known by.
const startRows = 10

// spike finds the value that holds most of the weight.
func spike(x, w []float64) (share, at float64) {
	s := sortSample(x, w)
	total := s.cum[len(s.cum)-1]
	start := 0.0
	for i := range s.x {
		if i+1 == len(s.x) || s.x[i+1] != s.x[i] {
			if p := (s.cum[i] - start) / total; p > share {
				share, at = p, s.x[i]
			}
			start = s.cum[i]
		}
	}
	return share, at
}

// fitFinal standardises tail and atoms together.
func (f *feature) fitFinal(cols, w [2][]float64, key rng.Key) affineStep {
	f.Final = affineStep{0, 1}
	var z, wz []float64
	for d := range cols {
		for i, x := range cols[d] {
			c, k := f.classify(x)
			s := key.At(uint64(d)<<40 | uint64(i))
			switch c {
			case tail:
				v, _ := f.encodeTail(f.Grid.spread(x, s.Float64()), 0, Domain(d))
				z, wz = append(z, v), append(wz, w[d][i])
			case atom:
				z, wz = append(z, f.encodeAtom(k, 0, &s)), append(wz, w[d][i])
			}
		}
	}
	mean, sd := moments(z, wz)
	return affineStep{mean, sd}
}

func (e *Encoder) fitHurdle(value float64, cols, w [2][]float64, samples []*physics.Table) (*hurdle, error) {
	if len(e.Conditions) == 0 {
		return nil, fmt.Errorf("the hurdle treatment needs conditions: %w", ErrInput)
	}
	h := &hurdle{Conditions: e.CondNames()}
	for d, t := range samples {
		x := make([][]float64, len(h.Conditions))
		for i, name := range h.Conditions {
			c, err := t.Col(name)
			if err != nil {
				return nil, err
			}
			x[i] = c
		}
		y := make([]float64, t.Len())
		for i, v := range cols[d] {
			if v == value || v != v && value != value {
				y[i] = 1
			}
		}
		m, err := gbdt.Train(x, y, w[d], gbdt.Settings{Trees: 200, Depth: 3, Rate: 0.1, Seed: e.Seed})
		if err != nil {
			return nil, err
		}
		if h.Models[d], err = m.MarshalBinary(); err != nil {
			return nil, err
		}
	}
	return h, h.load()
}

// stepSpec is what features and conditions have in common.
type stepSpec struct {
	kind   string
	bounds int
	lo, hi float64
	gap    []float64
	period float64
	robust bool
	atoms  Floats
}

// fitSteps builds the chain of a column from its values: gap or cut, transform, standardisation.
func fitSteps(s stepSpec, x, w []float64) (chain, string, error) {
	x = slices.Clone(x)
	var c chain
	push := func(t transform) {
		for i, v := range x {
			x[i], _ = t.forward(v)
		}
		c = append(c, t)
	}
	kind, auto := s.kind, s.kind == "" || s.kind == "auto"
	if auto {
		kind = "gauss"
	}
	name := kind
	if kind == "periodic" {
		p := s.period
		if p == 0 {
			p = 2 * math.Pi
		}
		origin := -p / 2
		if slices.Min(x) >= 0 && slices.Max(x) > p/2 {
			origin = 0
		}
		cut := emptiest(x, w, p)
		if cut > origin+p {
			cut -= p
		}
		push(&shiftStep{cut, p, origin})
		s.bounds, s.lo, s.hi, kind = 2, 0, p, "gauss"
	}
	if len(s.gap) > 0 {
		g := &gapStep{s.gap}
		push(g)
		if s.bounds > 0 {
			s.lo, _ = g.forward(s.lo)
		}
		if s.bounds > 1 {
			s.hi, _ = g.forward(s.hi)
		}
	}
	inner := kind
	if kind == "gauss" { // bounds are kept by what stands before the spline
		switch low := slices.Min(x); {
		case s.bounds > 1:
			inner = "logit"
		case s.bounds == 1 || low > 0 || len(s.atoms) > 0 && low > s.atoms[0]:
			inner = "log"
		default:
			inner = "none"
		}
	}
	switch inner {
	case "none":
	case "log":
		low, lowest := slices.Min(x), s.lo
		if s.bounds == 0 {
			switch {
			case len(s.atoms) > 0 && low > s.atoms[0]:
				lowest = s.atoms[0]
			case low > 0:
				lowest = 0
			default:
				_, sd := moments(x, w)
				lowest = low - 1e-3*sd
			}
		}
		offset := 1e-3 * (sortSample(x, w).quantile(0.5) - lowest)
		if !(offset > 0) {
			return nil, name, fmt.Errorf("more than half of its values lie at the lower bound %v (declare an atom): %w", lowest, ErrInput)
		}
		push(&logStep{lowest, offset})
	case "logit":
		if s.bounds < 2 {
			return nil, name, fmt.Errorf("logit needs bounds [lowest, highest]: %w", ErrInput)
		}
		push(&logitStep{s.lo, s.hi})
	default:
		return nil, name, fmt.Errorf("unknown transform %q: %w", s.kind, ErrInput)
	}
	push(fitAffine(x, w, s.robust))
	if kind == "gauss" {
		sample := sortSample(x, w)
		g, err := fitGauss(sample)
		if err != nil {
			return nil, name, fmt.Errorf("%w: %w", err, ErrInput)
		}
		if auto && g.apart(sample) {
			return c, inner, nil
		}
		push(g)
		push(fitAffine(x, w, false))
	}
	return c, name, nil
}

func fitAffine(x, w []float64, robust bool) *affineStep {
	mean, sd := moments(x, w)
	if robust {
		s := sortSample(x, w)
		mean = s.quantile(0.5)
		if d := (s.quantile(0.8413) - s.quantile(0.1587)) / 2; d > 0 {
			sd = d
		}
	}
	return &affineStep{mean, sd}
}

// emptiest finds the middle of the emptiest of 60 parts of a period, where a circle is cut open with least harm.
func emptiest(x, w []float64, p float64) float64 {
	const parts = 60
	var h [parts]float64
	for i, v := range x {
		h[min(int(mod(v, p)/p*parts), parts-1)] += w[i]
	}
	best := 0
	for k := range h {
		if h[k] < h[best] {
			best = k
		}
	}
	return (float64(best) + 0.5) / parts * p
}

func fitCondition(spec ConditionSpec, cols, w [2][]float64) (*condition, error) {
	for d, name := range []string{"simulation", "data"} {
		bad := 0
		for _, x := range cols[d] {
			if x-x != 0 {
				bad++
			}
		}
		if bad > 0 {
			return nil, fmt.Errorf("%d of %d values in %s are not finite (cut them away): %w", bad, len(cols[d]), name, ErrInput)
		}
	}
	x, wx := pool(cols, w, func(float64) bool { return true })
	c := &condition{Spec: spec, Lo: slices.Min(x), Hi: slices.Max(x)}
	c.Size = size(cols[Simulation], nil)
	if c.Lo == c.Hi {
		return nil, fmt.Errorf("it is constant in the training rows (leave it out): %w", ErrInput)
	}
	if spec.Transform == "periodic" {
		c.Periodic = true
		if c.Spec.Period == 0 {
			c.Spec.Period = 2 * math.Pi
		}
		c.Lo, c.Hi = -limit, limit
		return c, nil
	}
	s := stepSpec{kind: spec.Transform, bounds: len(spec.Bounds), gap: spec.Gap, robust: spec.Robust}
	for i, b := range spec.Bounds {
		if i == 0 {
			s.lo = b
		} else {
			s.hi = b
		}
	}
	if s.bounds > 0 && c.Lo < s.lo || s.bounds > 1 && c.Hi > s.hi {
		return nil, fmt.Errorf("its values reach from %v to %v, outside bounds %v: %w", c.Lo, c.Hi, spec.Bounds, ErrInput)
	}
	var err error
	c.Steps, _, err = fitSteps(s, x, wx)
	return c, err
}

// look fills what depends on the finished feature: shares and moments in each sample.
func (e *Encoder) look(j int, samples []*physics.Table, w [2][]float64) error {
	f := &e.Features[j]
	for d, t := range samples {
		col, err := t.Col(f.Spec.Name)
		if err != nil {
			return err
		}
		var x, wx []float64
		p, err := f.shares(t, 0, t.Len(), Domain(d))
		if err != nil {
			return err
		}
		for i, v := range col {
			switch c, _ := f.classify(v); c {
			case atom:
				f.Info.Atom[d] += w[d][i]
			case sentinel:
				f.Info.Sentinel[d] += 1 / float64(len(col))
			case tail:
				x, wx = append(x, v), append(wx, w[d][i])
				if z, _ := f.encodeTail(v, share(p, i), Domain(d)); math.Abs(z) > 5 {
					f.Info.Beyond[d] += w[d][i]
				}
			}
		}
		if len(x) > 0 {
			if m, sd := moments(x, wx); m-m == 0 && sd-sd == 0 { // all weights of the tail may be 0
				f.Info.Mean[d], f.Info.SD[d] = m, sd
			}
			if Domain(d) == Simulation {
				f.Info.Size = size(x, nil)
			}
		}
	}
	return nil
}
