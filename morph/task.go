package morph

import (
	"fmt"
	"math"
	"time"

	"hepmorph/flows"
	"hepmorph/internal/ad"
	"hepmorph/internal/kernel"
	"hepmorph/internal/modelfile"
	"hepmorph/internal/nn"
	"hepmorph/internal/rng"
	"hepmorph/internal/train"
)

// sampleSet is one sample in model space, row-major.
type sampleSet struct {
	n     int
	x     []float32 // (n, D)
	c     []float32 // (n, C)
	w     []float64 // positive weights of mean 1 that bring the conditions to those of the data: for all that is an average over them
	given []float64 // positive physics weights of mean 1, without that factor: for what is learned given the conditions
	keys  []uint64  // what addresses a row's random numbers
}

func (s *sampleSet) part(rows []int, d, c int) *sampleSet {
	p := &sampleSet{n: len(rows)}
	for _, r := range rows {
		p.x = append(p.x, s.x[r*d:(r+1)*d]...)
		p.c = append(p.c, s.c[r*c:(r+1)*c]...)
		p.w, p.given = append(p.w, s.w[r]), append(p.given, s.given[r])
		p.keys = append(p.keys, s.keys[r])
	}
	return p
}

// trainingData is everything a task needs of the events.
type trainingData struct {
	sim, data       *sampleSet // training rows
	simVal, dataVal *sampleSet // validation rows
	// requantise draws the random parts of the training features anew (atoms, truncated floats, integers) for an epoch; nil if there are none.
	requantise func(epoch int)
	observed   []derived
}

// taskSettings are the numbers of a training.
type taskSettings struct {
	batch       int
	rate        float64
	schedule    nn.Schedule
	adam        nn.AdamSettings
	seed        uint64
	constraints []boundQuantity
	lambdaRate  float64
	warmup      float64 // share of all steps before constraints act
	requantise  int     // epochs between draws
	domainDecay float64 // of the weights on the domain
}

// task trains a network; it implements train.Task.
type task struct {
	taskSettings
	net  *network
	td   *trainingData
	k    *kernel.Set[float32]
	pool *ad.Pool
	sh   *ad.Shards[float32]
	opt  *nn.Adam[float32]
	cons *constraints

	// all training rows: simulation, then data
	x, ctx   []float32
	w        []float64
	simRows  int
	dataRows int

	nll     *ad.Exec[float32]
	run     ad.Run[float32]
	index   []int32
	weights []float32
	orders  [2]shuffle
	epoch   int

	best     []float32 // parameters of the best evaluation
	val      *validator
	lossUnit float64
}

// A shuffle walks through the rows of one domain in a new permutation each epoch.
type shuffle struct {
	key   rng.Key
	n     int
	epoch int
	perm  []int32
}

func (o *shuffle) at(i int) int32 {
	e := i/o.n + 1
	if e != o.epoch {
		if o.perm == nil {
			o.perm = make([]int32, o.n)
		}
		s := o.key.At(uint64(e))
		s.Perm(o.perm)
		o.epoch = e
	}
	return o.perm[i%o.n]
}

func newTask(net *network, td *trainingData, pool *ad.Pool, s taskSettings) (*task, error) {
	t := &task{taskSettings: s, net: net, td: td, k: kernel.Best(), pool: pool}
	t.sh = ad.NewShards(net.ps, 4)
	t.opt = nn.NewAdam(net.ps, t.sh, t.k, pool, s.adam)
	t.simRows, t.dataRows = td.sim.n, td.data.n
	if net.method == CNF {
		t.simRows = 0 // the likelihood is that of the data alone
	}
	t.load()
	t.orders[0] = shuffle{key: rng.NewKey(s.seed, "order of simulation"), n: max(t.simRows, 1)}
	t.orders[1] = shuffle{key: rng.NewKey(s.seed, "order of data"), n: t.dataRows}

	p := ad.NewProgram(net.ps)
	x, c, w := p.Input(net.d), p.Input(net.contextDim()), p.Input(1)
	net.flow.NLL(p, x, c, w)
	t.nll = p.Compile(t.k, pool, t.sh, ad.Settings{})
	t.index, t.weights = make([]int32, s.batch), make([]float32, s.batch)
	t.run = ad.Run[float32]{N: s.batch, Backward: true, Losses: make([]float64, 1),
		Inputs: []ad.Source[float32]{{Data: t.x, Index: t.index}, {Data: t.ctx, Index: t.index}, {Data: t.weights}}}
	t.best = append([]float32(nil), net.ps.W...)
	var err error
	if t.cons, err = newConstraints(t); err != nil {
		return nil, err
	}
	t.val = newValidator(t)
	return t, nil
}

// load joins the training rows of both samples.
func (t *task) load() {
	n, td := t.net, t.td
	var simC []float32
	if t.simRows > 0 {
		simC, _ = n.contexts(td.sim.n, td.sim.x, td.sim.c, 0)
		t.x = append(t.x[:0], td.sim.x...)
		t.w = append(t.w[:0], td.sim.given...)
	} else {
		t.x, t.w = t.x[:0], t.w[:0]
	}
	t.ctx = append(t.ctx[:0], simC...)
	dataX, dataC := td.data.x, td.data.c
	if n.method == CNF && n.pairing == Shuffle {
		dataX, dataC = t.unrelated()
	}
	c, _ := n.contexts(td.data.n, dataX, dataC, 1)
	t.ctx = append(t.ctx, c...)
	t.x = append(t.x, td.data.x...)
	t.w = append(t.w, td.data.given...)
	if len(t.run.Inputs) > 0 {
		t.run.Inputs[0].Data, t.run.Inputs[1].Data = t.x, t.ctx
	}
}

// unrelated gives each data row the features and conditions of a random simulated one.
func (t *task) unrelated() (x, c []float32) {
	td, d, k := t.td, t.net.d, t.net.c
	s := rng.NewKey(t.seed, "unrelated pairs").At(0)
	for range td.data.n {
		r := s.IntN(td.sim.n)
		x = append(x, td.sim.x[r*d:(r+1)*d]...)
		c = append(c, td.sim.c[r*k:(r+1)*k]...)
	}
	return x, c
}

// Step implements train.Task.
func (t *task) Step(step, total int, rate float64) ([]train.Value, error) {
	if t.td.requantise != nil {
		if e := step * t.batch / (t.simRows + t.dataRows) / max(1, t.taskSettings.requantise); e != t.epoch {
			t.epoch = e
			t.td.requantise(e)
			t.load()
		}
	}
	constrained := t.cons != nil && float64(step) >= t.warmup*float64(total)
	if constrained {
		if err := t.cons.begin(step); err != nil {
			return nil, err
		}
	}
	t.likelihood(step)
	values := []train.Value{{Name: "loss", Value: t.run.Losses[0]}}
	if constrained {
		extra, err := t.cons.step(step)
		if err != nil {
			return nil, err
		}
		values = append(values, extra...)
	}
	lr := t.rate * rate * t.schedule(step, total)
	if t.domainDecay > 0 {
		for _, at := range t.net.domain {
			t.net.ps.W[at] *= float32(max(0, 1-lr*t.domainDecay))
		}
	}
	norm := t.opt.Update(lr)
	return append(values, train.Value{Name: "rate", Value: lr}, train.Value{Name: "gradient", Value: norm}), nil
}

// likelihood adds the gradient of the batch's weighted negative log-likelihood: half of the rows from each sample.
func (t *task) likelihood(step int) {
	half := t.batch / 2
	if t.simRows == 0 {
		half = 0
	}
	for i := range t.index {
		var r int32
		if i < half {
			r = t.orders[0].at(step*half + i)
		} else {
			r = int32(t.simRows) + t.orders[1].at(step*(t.batch-half)+i-half)
		}
		t.index[i] = r
		t.weights[i] = float32(t.w[r] / float64(t.batch))
	}
	clear(t.run.Losses)
	t.nll.Run(&t.run)
}

// takeNorm returns the norm of the gradient and clears it.
func (t *task) takeNorm() float64 {
	t.sh.Settle(t.pool)
	q := 0.0
	for i := range t.net.ps.Len() {
		g := float32(0)
		for _, shard := range t.sh.G {
			g += shard[i]
		}
		g *= t.net.ps.Mask[i]
		q += float64(g) * float64(g)
	}
	t.sh.Clear(t.pool)
	return math.Sqrt(q)
}

// Evaluate implements train.Task: the score of the averaged parameters.
func (t *task) Evaluate() (float64, []train.Value, error) {
	defer t.averaged()()
	return t.val.score()
}

// averaged puts the moving average in the place of the parameters until the returned function is called.
func (t *task) averaged() (restore func()) {
	if t.opt.Mean == nil {
		return func() {}
	}
	own := append([]float32(nil), t.net.ps.W...)
	copy(t.net.ps.W, t.opt.Mean)
	return func() { copy(t.net.ps.W, own) }
}

// Keep implements train.Task.
func (t *task) Keep() {
	if t.opt.Mean != nil {
		copy(t.best, t.opt.Mean)
	} else {
		copy(t.best, t.net.ps.W)
	}
}

// finish makes the best parameters the network's.
func (t *task) finish() { copy(t.net.ps.W, t.best) }

// Save implements train.Task.
func (t *task) Save(f *modelfile.File) error {
	for _, v := range t.vectors() {
		if *v.data != nil {
			f.Add("task."+v.name, append([]float32(nil), *v.data...), len(*v.data))
		}
	}
	if err := f.SetJSON("optimizer", optimizerState{t.opt.Step, t.opt.Norm}); err != nil {
		return err
	}
	if t.cons != nil {
		return t.cons.save(f)
	}
	return nil
}

// optimizerState is what a checkpoint holds of the optimizer beside its vectors.
type optimizerState struct {
	Step int     `json:"step"`
	Norm float64 `json:"norm"`
}

type vector struct {
	name string
	data *[]float32
}

func (t *task) vectors() []vector {
	return []vector{{"parameters", &t.net.ps.W}, {"first moment", &t.opt.M}, {"second moment", &t.opt.V}, {"average", &t.opt.Mean}, {"best", &t.best}}
}

// Load implements train.Task.
func (t *task) Load(f *modelfile.File) error {
	for _, v := range t.vectors() {
		if *v.data == nil {
			continue
		}
		d, err := modelfile.Get[float32](f, "task."+v.name, len(*v.data))
		if err != nil {
			return err
		}
		copy(*v.data, d)
	}
	var o optimizerState
	if err := f.JSON("optimizer", &o); err != nil {
		return err
	}
	t.opt.Step, t.opt.Norm = o.Step, o.Norm
	t.sh.Clear(t.pool)
	if t.cons != nil {
		return t.cons.load(f)
	}
	return nil
}

// stepsIn measures the parts of a training and says how many steps fit into a budget. The task's state is as before.
func (t *task) stepsIn(budget time.Duration, evaluations int) (int, error) {
	f := &modelfile.File{Meta: map[string]string{}}
	if err := t.Save(f); err != nil {
		return 0, err
	}
	const warm, trial = 5, 25
	var start time.Time
	for i := range warm + trial {
		if i == warm {
			start = time.Now()
		}
		t.likelihood(i)
		t.opt.Update(0)
	}
	one := time.Since(start).Seconds() / trial
	if t.cons != nil {
		cost, err := t.cons.cost()
		if err != nil {
			return 0, err
		}
		one += cost * (1 - t.warmup)
	}
	start = time.Now()
	if _, _, err := t.Evaluate(); err != nil {
		return 0, err
	}
	fixed := time.Since(start).Seconds() * float64(evaluations)
	if t.td.requantise != nil {
		start = time.Now()
		t.td.requantise(0)
		t.load()
		one += time.Since(start).Seconds() * float64(t.batch) / float64((t.simRows+t.dataRows)*max(1, t.taskSettings.requantise))
	}
	left := 0.96*budget.Seconds() - fixed
	if left < one {
		return 0, fmt.Errorf("morph: could not train in %v: %d evaluations alone take %.1f s (a longer budget, or fewer evaluations)", budget, evaluations, fixed)
	}
	return int(left / one), t.Load(f)
}

// validator scores a network on the validation rows.
type validator struct {
	t        *task
	mov      *mover
	nll      *ad.Exec[float32]
	in       []ad.Source[float32]
	n        int
	sliced   *flows.Sliced[float32]
	morphed  []float32
	sim, dat flows.Rows[float32]
}

// scoreRows bounds the rows that the physics metric of an evaluation looks at.
const scoreRows = 20000

func newValidator(t *task) *validator {
	n, td := t.net, t.td
	v := &validator{t: t, mov: n.mover(t.pool)}
	var x, c, w []float32
	add := func(s *sampleSet, domain float32) {
		ctx, _ := n.contexts(s.n, s.x, s.c, domain)
		x, c = append(x, s.x...), append(c, ctx...)
		sum := 0.0
		for _, q := range s.w {
			sum += q
		}
		for _, q := range s.w {
			w = append(w, float32(q/sum))
		}
		v.n += s.n
	}
	if n.method == Switch {
		add(td.simVal, 0)
	}
	add(td.dataVal, 1)
	p := ad.NewProgram(n.ps)
	n.flow.NLL(p, p.Input(n.d), p.Input(n.contextDim()), p.Input(1))
	v.nll = p.Compile(t.k, t.pool, nil, ad.Settings{Shards: 64})
	v.in = []ad.Source[float32]{{Data: x}, {Data: c}, {Data: w}}
	v.sliced = flows.NewSliced[float32](t.pool, n.d+n.c, 16, t.seed)
	ns, nd := min(td.simVal.n, scoreRows), min(td.dataVal.n, scoreRows)
	v.morphed = make([]float32, ns*n.d)
	v.sim = flows.Rows[float32]{N: ns, D: n.d + n.c, X: make([]float32, ns*(n.d+n.c)), W: td.simVal.w[:ns]}
	v.dat = flows.Rows[float32]{N: nd, D: n.d + n.c, X: joint(nd, td.dataVal.x, n.d, td.dataVal.c, n.c, nil), W: td.dataVal.w[:nd]}
	return v
}

// joint puts features and conditions of n rows side by side.
func joint(n int, x []float32, d int, c []float32, k int, dst []float32) []float32 {
	if dst == nil {
		dst = make([]float32, n*(d+k))
	}
	for i := range n {
		r := dst[i*(d+k):]
		copy(r[:d], x[i*d:])
		copy(r[d:d+k], c[i*k:])
	}
	return dst
}

// score is the held-out negative log-likelihood, the mean of both samples, with the sliced energy distance between morphed simulation and
// data beside it.
func (v *validator) score() (float64, []train.Value, error) {
	losses := make([]float64, 1)
	v.nll.Run(&ad.Run[float32]{N: v.n, Inputs: v.in, Losses: losses})
	nll := losses[0]
	n, s := v.t.net, v.t.td.simVal
	if n.method == Switch {
		nll /= 2
	}
	v.mov.move(v.sim.N, v.morphed, s.x, s.c, s.keys, v.t.seed)
	joint(v.sim.N, v.morphed, n.d, s.c, n.c, v.sim.X)
	e := v.sliced.Energy(v.sim, v.dat, nil, 0)
	if math.IsNaN(e) {
		return 0, nil, fmt.Errorf("morph: could not evaluate: a morphed value is %w", train.ErrNotFinite)
	}
	return nll, []train.Value{{Name: "nll", Value: nll}, {Name: "energy distance", Value: e}}, nil
}
