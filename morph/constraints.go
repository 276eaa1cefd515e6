package morph

import (
	"fmt"
	"math"
	"strings"
	"time"

	"hepmorph/flows"
	"hepmorph/internal/ad"
	"hepmorph/internal/gbdt/order"
	"hepmorph/internal/modelfile"
	"hepmorph/internal/rng"
	"hepmorph/internal/train"
	"hepmorph/mdmm"
)

// A derived observable is a function of morphed features and of what else the event has, in its own unit.
type derived struct {
	name, unit string
	// value writes h for training rows of the simulation whose morphed features in model space are x (n,D), and, if grad is not nil, dh/dx (n,D).
	value func(rows []int32, x []float32, h []float64, grad []float32) error
	data  []float64 // of the training rows of the data
	// inside says which rows of simulation and data count (not blinded, inside its range).
	inside func(h float64) bool
}

// boundQuantity is a constrained quantity with its bound. Kinds: mmd, transport, corr, mean, width, w1.
type boundQuantity struct {
	kind       string
	observable string  // for mean, width, w1
	max        float64 // in the quantity's unit; or
	floorSD    float64 // so many standard deviations of the quantity between two data batches over its mean there; or
	timesFree  float64 // a multiple of what the quantity is when constraints begin to act
	damping    float64
	rate       float64
	average    int
	every      int
	events     int // events in a block
}

func (q boundQuantity) name() string {
	if q.observable != "" {
		return q.kind + "(" + q.observable + ")"
	}
	return q.kind
}

// constraints evaluate the bounded quantities of morphed events and push the network with the multipliers' weights. Values are in units of
// their bound, so that one multiplier rate fits all; the log has their own units.
type constraints struct {
	t     *task
	lag   *mdmm.Lagrangian
	items []*item
	exec  *ad.Exec[float32]
	out   ad.Tensor
	mmd   *flows.MMD[float32]

	c0, c1 []float32 // contexts of all simulated training rows
}

type item struct {
	boundQuantity
	offset, unit float64 // value in bounds = (quantity − offset)/unit
	obs          *derived
	pairs        [][2]int
	first        int // index of its first value in the Lagrangian's vector
	size         int
	// for quantities of observables; others draw new rows each time
	sim   []int32             // a fixed block, of equal weights
	data  flows.Rows[float64] // of all rows that are inside
	want  flows.Moments       // of these
	known float64             // statistical error of the quantity on all training rows, in its unit
	scale float64             // of the gradient, 0 until it is measured, see begin
}

func newConstraints(t *task) (*constraints, error) {
	if len(t.constraints) == 0 {
		return nil, nil
	}
	c := &constraints{t: t}
	p, out := t.net.morphProgram()
	c.exec, c.out = p.Compile(t.k, t.pool, t.sh, ad.Settings{}), out
	c.c0, c.c1 = t.net.contexts(t.td.sim.n, t.td.sim.x, t.td.sim.c, 0)
	var specs []mdmm.Constraint
	n := 0
	for i := range t.constraints {
		it := &item{boundQuantity: t.constraints[i], size: 1, first: n}
		if err := c.prepare(it); err != nil {
			return nil, err
		}
		average := 20 // of what changes from batch to batch
		if it.obs != nil {
			average = 1
		}
		specs = append(specs, mdmm.Constraint{Name: it.name(), Kind: mdmm.AtMost, Max: 1, Size: it.size, Average: def(it.average, average), Every: it.every, Damping: it.damping, Rate: it.rate})
		n += it.size
		c.items = append(c.items, it)
	}
	var err error
	c.lag, err = mdmm.New(specs...)
	return c, err
}

func (c *constraints) prepare(it *item) error {
	t := c.t
	td := t.td
	it.unit = it.max
	switch it.kind {
	case "mmd":
		it.events = def(it.events, 1024)
		it.every = def(it.every, 4)
		if c.mmd == nil {
			r := flows.Rows[float32]{N: min(td.data.n, 4000), D: t.net.d + t.net.c, W: td.data.w}
			r.X = joint(r.N, td.data.x, t.net.d, td.data.c, t.net.c, nil)
			h := flows.MedianDistance(r, t.seed)
			c.mmd = flows.NewMMD(t.k, t.pool, h/2, h, 2*h)
		}
		if it.floorSD > 0 {
			mean, sd := c.floor(it)
			it.offset, it.unit = mean, it.floorSD*sd
		}
	case "transport":
		it.events, it.every = def(it.events, 1024), def(it.every, 4)
	case "corr":
		it.events, it.every = def(it.events, 4096), def(it.every, 16)
		for a := range t.net.d {
			for b := a + 1; b < t.net.d+t.net.c; b++ {
				it.pairs = append(it.pairs, [2]int{a, b})
			}
		}
		it.size = len(it.pairs)
	case "mean", "width", "w1":
		it.events, it.every = def(it.events, 32768), def(it.every, 100)
		for i := range td.observed {
			if td.observed[i].name == it.observable {
				it.obs = &td.observed[i]
			}
		}
		if it.obs == nil {
			return fmt.Errorf("morph: could not constrain %s: there is no observable %q", it.name(), it.observable)
		}
		if err := c.fix(it); err != nil {
			return err
		}
	default:
		return fmt.Errorf("morph: could not constrain %q (mmd, transport, corr, mean(x), width(x) or w1(x))", it.kind)
	}
	if it.timesFree == 0 && !(it.unit > 0) {
		return fmt.Errorf("morph: could not constrain %s: its bound %v is not positive", it.name(), it.unit)
	}
	return nil
}

// fix chooses the block of a quantity of an observable, and what it is compared with. Events drawn at random would bring a statistical error far
// larger than a bound like 50 MeV. A morph changes an event little, so the block has what the whole sample has before the morph: rows at equal
// distances of the distribution function of the observable (systematic sampling). The data are all there.
func (c *constraints) fix(it *item) error {
	td := c.t.td
	for r, h := range it.obs.data {
		if it.obs.inside(h) {
			put(&it.data, h, td.data.w[r])
		}
	}
	rows, h := make([]int32, td.sim.n), make([]float64, td.sim.n)
	for r := range rows {
		rows[r] = int32(r)
	}
	if err := it.obs.value(rows, td.sim.x, h, nil); err != nil {
		return err
	}
	if it.data.N > 0 {
		it.want = flows.NewMoments(it.data)
	}
	var before flows.Rows[float64]
	for r, v := range h {
		if it.obs.inside(v) {
			put(&before, v, td.sim.w[r])
		}
	}
	if before.N > 0 && it.data.N > 0 {
		it.known = math.Sqrt(it.want.Cov[0] * (1/sortSample(before.X, before.W).neff() + 1/sortSample(it.data.X, it.data.W).neff()))
		if it.kind == "width" {
			it.known /= math.Sqrt2
		}
	}
	total := 0.0
	for _, w := range td.sim.w {
		total += w
	}
	n, sum := min(it.events, td.sim.n), 0.0
	it.sim = make([]int32, 0, n)
	for _, r := range order.Of(h) {
		sum += td.sim.w[r]
		for len(it.sim) < n && (float64(len(it.sim))+0.5)*total < sum*float64(n) {
			it.sim = append(it.sim, r)
		}
	}
	return nil
}

// warnings names the bounds that are tighter than what the training rows know.
func (c *constraints) warnings() []string {
	var out []string
	if c == nil {
		return nil
	}
	for _, it := range c.items {
		if it.obs != nil && it.unit > 0 && it.unit < it.known {
			out = append(out, strings.TrimSpace(fmt.Sprintf("%s: its bound is %.3g of the statistical error of the training rows, %.2g %s", it.name(), it.unit/it.known, it.known, it.obs.unit))+
				": the morph will follow their fluctuations (a looser bound, or more events)")
		}
	}
	return out
}

// put appends a value and its weight.
func put(r *flows.Rows[float64], v, w float64) {
	r.X, r.W, r.N, r.D = append(r.X, v), append(r.W, w), r.N+1, 1
}

func def(v, otherwise int) int {
	if v == 0 {
		return otherwise
	}
	return v
}

// draw takes at most n different rows of 0..rows-1.
func draw(s *rng.Stream, rows, n int) []int32 {
	p := make([]int32, rows)
	s.Perm(p)
	return p[:min(n, rows)]
}

// floor is mean and sd of MMD² between two data batches.
func (c *constraints) floor(it *item) (mean, sd float64) {
	const tries = 40
	td := c.t.td
	k := rng.NewKey(c.t.seed, "mmd floor")
	var v []float64
	for i := range tries {
		s := k.At(uint64(i))
		rows := draw(&s, td.data.n, 2*it.events)
		h := len(rows) / 2
		v = append(v, c.mmd.Value(c.dataRows(rows[:h]), c.dataRows(rows[h:]), nil, 0))
	}
	for _, x := range v {
		mean += x / tries
	}
	for _, x := range v {
		sd += (x - mean) * (x - mean) / (tries - 1)
	}
	return mean, math.Sqrt(sd)
}

func (c *constraints) dataRows(rows []int32) flows.Rows[float32] {
	n, td := c.t.net, c.t.td
	r := flows.Rows[float32]{N: len(rows), D: n.d + n.c}
	for _, i := range rows {
		r.X = append(append(r.X, td.data.x[int(i)*n.d:][:n.d]...), td.data.c[int(i)*n.c:][:n.c]...)
		r.W = append(r.W, td.data.w[i])
	}
	return r
}

// step evaluates what is due, adds the gradients to the shards, and moves the multipliers.
func (c *constraints) step(step int) ([]train.Value, error) {
	values := make([]float64, c.lag.Len())
	due := false
	var blocks []*block
	for i, it := range c.items {
		if !c.lag.Due(i) {
			continue
		}
		due = true
		b, err := c.block(it, step)
		if err != nil {
			return nil, err
		}
		if err := c.measure(b, values); err != nil {
			return nil, err
		}
		blocks = append(blocks, b)
	}
	extra, w := c.lag.Weights(values)
	for _, b := range blocks {
		if err := c.push(b, w); err != nil {
			return nil, err
		}
	}
	c.lag.Ascend(c.t.lambdaRate)
	var out []train.Value
	if due {
		out = append(out, train.Value{Name: "constraint loss", Value: extra})
	}
	for i, r := range c.lag.Records() {
		it := c.items[i]
		out = append(out, train.Value{Name: r.Name, Value: r.Average*it.unit + it.offset}, train.Value{Name: r.Name + " bound", Value: it.unit + it.offset},
			train.Value{Name: r.Name + " multiplier", Value: r.Multiplier})
	}
	return out, nil
}

// begin fixes, before a constraint acts for the first time, a bound that is a multiple of what is free, and how hard a bound on an observable pushes.
// 50 MeV are so little beside the width of a spectrum that the likelihood does not feel them: in units of the bound, the gradient of a mean is
// larger than that of the likelihood by orders of magnitude, and any violation would be a kick that undoes what the flow has learned. With the
// scale, a violation by one bound pushes as hard as the likelihood does in a batch. The gradients must be clear; they are left so.
func (c *constraints) begin(step int) error {
	const batches = 4
	for i, it := range c.items {
		if !c.lag.Due(i) {
			continue
		}
		if it.unit == 0 {
			if err := c.measureFree(it); err != nil {
				return err
			}
		}
		if it.obs == nil || it.scale > 0 {
			continue
		}
		b, err := c.block(it, step)
		if err != nil {
			return err
		}
		if err := c.add(b, []float64{1}); err != nil {
			return err
		}
		own, likelihood := c.t.takeNorm(), 0.0
		for k := range batches {
			c.t.likelihood(step + k)
			likelihood += c.t.takeNorm() / batches
		}
		if own > 0 {
			it.scale = likelihood / (own * float64(it.every))
		}
	}
	return nil
}

// measureFree sets the bound of a quantity to a multiple of what it is now, before its constraint acts.
func (c *constraints) measureFree(it *item) error {
	const blocks = 8
	it.unit = 1
	values := make([]float64, c.lag.Len())
	sum := 0.0
	for k := range blocks {
		b, err := c.block(it, -1-k)
		if err != nil {
			return err
		}
		if err := c.measure(b, values); err != nil {
			return err
		}
		for _, v := range values[it.first : it.first+it.size] {
			sum += v / float64(blocks*it.size)
		}
	}
	it.unit = max(it.timesFree*sum, 1e-9)
	return nil
}

// block is a set of simulated rows with their morphed features, and, but for observables, the data rows to compare with.
type block struct {
	it        *item
	sim, data []int32
	x         []float32 // morphed, model space
	keys      []uint64
	z         []float32 // latent points of a cnf
}

// chunkRows is how many rows keep their memory for the backward pass at once.
const chunkRows = 4096

func (c *constraints) block(it *item, step int) (*block, error) {
	t := c.t
	b := &block{it: it, sim: it.sim}
	if b.sim == nil {
		s := rng.NewKey(t.seed, "rows of "+it.name()).At(uint64(step))
		b.sim, b.data = pick(&s, t.td.sim.n, it.events), pick(&s, t.td.data.n, it.events)
	}
	if t.net.method == CNF {
		for _, r := range b.sim {
			b.keys = append(b.keys, rng.Hash(uint64(step), t.td.sim.keys[r]))
		}
		b.z = noise(len(b.sim), t.net.d, b.keys, t.seed)
	}
	b.x = make([]float32, len(b.sim)*t.net.d)
	for lo := 0; lo < len(b.sim); lo += chunkRows {
		hi := min(lo+chunkRows, len(b.sim))
		c.forward(b, lo, hi)
	}
	return b, nil
}

// pick draws n rows with replacement.
func pick(s *rng.Stream, rows, n int) []int32 {
	p := make([]int32, min(n, rows))
	for i := range p {
		p[i] = int32(s.IntN(rows))
	}
	return p
}

func (c *constraints) forward(b *block, lo, hi int) {
	d := c.t.net.d
	rows := b.sim[lo:hi]
	in := []ad.Source[float32]{{Data: c.t.td.sim.x, Index: rows}, {Data: c.c0, Index: rows}, {Data: c.c1, Index: rows}}
	if c.t.net.method == CNF {
		in = []ad.Source[float32]{{Data: b.z[lo*d : hi*d]}, {Data: c.c0, Index: rows}}
	}
	c.exec.Run(&ad.Run[float32]{N: hi - lo, Keep: true, Inputs: in, Outputs: []ad.Sink[float32]{{Tensor: c.out, Data: b.x[lo*d : hi*d]}}})
}

// push adds the gradient of the block's values, weighted by the multipliers.
func (c *constraints) push(b *block, w []float64) error {
	part := w[b.it.first : b.it.first+b.it.size]
	if b.it.obs != nil {
		part = []float64{part[0] * b.it.scale}
	}
	return c.add(b, part)
}

// add adds the gradient of the block's weighted values.
func (c *constraints) add(b *block, part []float64) error {
	active := false
	for _, v := range part {
		active = active || v != 0
	}
	if !active {
		return nil
	}
	d := c.t.net.d
	grad := make([]float32, len(b.sim)*d)
	if err := c.gradient(b, part, grad); err != nil {
		return err
	}
	for lo := 0; lo < len(b.sim); lo += chunkRows {
		hi := min(lo+chunkRows, len(b.sim))
		if len(b.sim) > chunkRows {
			c.forward(b, lo, hi)
		}
		c.exec.Back(hi-lo, []ad.Sink[float32]{{Tensor: c.out, Data: grad[lo*d : hi*d]}})
	}
	return nil
}

// simRows are the morphed features and the conditions of the block.
func (c *constraints) simRows(b *block) flows.Rows[float32] {
	n, td := c.t.net, c.t.td
	r := flows.Rows[float32]{N: len(b.sim), D: n.d + n.c}
	for i, s := range b.sim {
		r.X = append(append(r.X, b.x[i*n.d:][:n.d]...), td.sim.c[int(s)*n.c:][:n.c]...)
		r.W = append(r.W, td.sim.w[s])
	}
	return r
}

func (c *constraints) measure(b *block, values []float64) error {
	it := b.it
	set := func(k int, v float64) { values[it.first+k] = (v - it.offset) / it.unit }
	switch it.kind {
	case "mmd":
		set(0, c.mmd.Value(c.simRows(b), c.dataRows(b.data), nil, 0))
	case "transport":
		set(0, c.transport(b, nil, 0))
	case "corr":
		s, d := flows.NewMoments(c.simRows(b)), flows.NewMoments(c.dataRows(b.data))
		for k, p := range it.pairs {
			set(k, math.Abs(s.Corr(p[0], p[1])-d.Corr(p[0], p[1])))
		}
	default:
		h, _, err := c.observable(b, false)
		if err != nil {
			return err
		}
		set(0, math.Abs(c.distance(b, h, nil)))
	}
	return nil
}

func (c *constraints) gradient(b *block, w []float64, grad []float32) error {
	it, n := b.it, c.t.net
	narrow := func(wide []float32) {
		for i := range b.sim {
			for k := range n.d {
				grad[i*n.d+k] += wide[i*(n.d+n.c)+k]
			}
		}
	}
	switch it.kind {
	case "mmd":
		wide := make([]float32, len(b.sim)*(n.d+n.c))
		c.mmd.Value(c.simRows(b), c.dataRows(b.data), wide, w[0]/it.unit)
		narrow(wide)
	case "transport":
		c.transport(b, grad, w[0]/it.unit)
	case "corr":
		wide := make([]float32, len(b.sim)*(n.d+n.c))
		r := c.simRows(b)
		s, d := flows.NewMoments(r), flows.NewMoments(c.dataRows(b.data))
		for k, p := range it.pairs {
			if w[k] != 0 {
				sign := 1.0
				if s.Corr(p[0], p[1]) < d.Corr(p[0], p[1]) {
					sign = -1
				}
				flows.CorrGrad(s, r, p[0], p[1], wide, sign*w[k]/it.unit)
			}
		}
		narrow(wide)
	default:
		h, dh, err := c.observable(b, true)
		if err != nil {
			return err
		}
		g := make([]float64, len(h))
		sign := 1.0
		if c.distance(b, h, g) < 0 {
			sign = -1
		}
		for i := range b.sim {
			for k := range n.d {
				grad[i*n.d+k] += float32(sign * w[0] / it.unit * g[i] * float64(dh[i*n.d+k]))
			}
		}
	}
	return nil
}

// transport is the weighted mean over rows of the mean absolute displacement of a feature, in standard deviations.
func (c *constraints) transport(b *block, grad []float32, scale float64) float64 {
	td, d := c.t.td, c.t.net.d
	sum, norm := 0.0, 0.0
	for _, s := range b.sim {
		norm += td.sim.w[s]
	}
	for i, s := range b.sim {
		w := td.sim.w[s] / norm / float64(d)
		for k := range d {
			v := float64(b.x[i*d+k]) - float64(td.sim.x[int(s)*d+k])
			sum += w * math.Abs(v)
			if grad != nil {
				grad[i*d+k] += float32(scale * w * math.Copysign(1, v))
			}
		}
	}
	return sum
}

func (c *constraints) observable(b *block, gradient bool) (h []float64, dh []float32, err error) {
	h = make([]float64, len(b.sim))
	if gradient {
		dh = make([]float32, len(b.sim)*c.t.net.d)
	}
	err = b.it.obs.value(b.sim, b.x, h, dh)
	return h, dh, err
}

// distance is the difference of means or widths, or W1, between the observable of morphed simulation and data, over events inside; g, if not nil,
// gets its derivative by each h.
func (c *constraints) distance(b *block, h, g []float64) float64 {
	it := b.it
	var s flows.Rows[float64]
	var at []int
	for i, v := range h {
		if it.obs.inside(v) {
			put(&s, v, 1)
			at = append(at, i)
		}
	}
	if s.N == 0 || it.data.N == 0 {
		return 0
	}
	if it.kind == "w1" {
		var grad []float64
		if g != nil {
			grad = make([]float64, s.N)
		}
		v := flows.NewSliced[float64](c.t.pool, 1, 0, 0).W1(s, it.data, grad, 1)
		for k, i := range at {
			if g != nil {
				g[i] = grad[k]
			}
		}
		return v
	}
	ms := flows.NewMoments(s)
	if it.kind == "mean" {
		for _, i := range at {
			if g != nil {
				g[i] = 1 / ms.W
			}
		}
		return ms.Mean[0] - it.want.Mean[0]
	}
	sd := math.Sqrt(ms.Cov[0])
	for k, i := range at {
		if g != nil && sd > 0 {
			g[i] = (s.X[k] - ms.Mean[0]) / (ms.W * sd)
		}
	}
	return sd - math.Sqrt(it.want.Cov[0])
}

// cost is the mean time of a step's constraints, in seconds, gradients included.
func (c *constraints) cost() (float64, error) {
	total := 0.0
	for _, it := range c.items {
		start := time.Now()
		b, err := c.block(it, 0)
		if err != nil {
			return 0, err
		}
		values, w := make([]float64, c.lag.Len()), make([]float64, c.lag.Len())
		if err := c.measure(b, values); err != nil {
			return 0, err
		}
		for k := range it.size {
			w[it.first+k] = 1
		}
		if err := c.add(b, w[it.first:it.first+it.size]); err != nil {
			return 0, err
		}
		total += time.Since(start).Seconds() / float64(it.every)
	}
	c.t.sh.Clear(c.t.pool)
	return total, nil
}

// constraintState is what a checkpoint holds of them.
type constraintState struct {
	Lagrangian mdmm.State `json:"lagrangian"`
	Units      []float64  `json:"units"`
	Scales     []float64  `json:"scales"`
}

func (c *constraints) save(f *modelfile.File) error {
	st := constraintState{Lagrangian: c.lag.State()}
	for _, it := range c.items {
		st.Units, st.Scales = append(st.Units, it.unit), append(st.Scales, it.scale)
	}
	return f.SetJSON("constraints", st)
}

func (c *constraints) load(f *modelfile.File) error {
	var st constraintState
	if err := f.JSON("constraints", &st); err != nil {
		return err
	}
	if len(st.Units) != len(c.items) || len(st.Scales) != len(c.items) {
		return fmt.Errorf("morph: could not resume: the checkpoint has the state of %d constraints, the configuration %d; one of another version can't be continued (--force begins anew)", min(len(st.Units), len(st.Scales)), len(c.items))
	}
	for i, it := range c.items {
		it.unit, it.scale = st.Units[i], st.Scales[i]
	}
	return c.lag.Restore(st.Lagrangian)
}
