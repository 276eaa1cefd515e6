package morph

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"time"

	"hepmorph/internal/ad"
	"hepmorph/internal/atomicfile"
	"hepmorph/internal/kernel"
	"hepmorph/internal/nn"
	"hepmorph/internal/par"
	"hepmorph/internal/rng"
	"hepmorph/internal/train"
	"hepmorph/physics"
	"hepmorph/physics/rootio"
)

// TrainOptions say how a training runs, not what it results in.
type TrainOptions struct {
	Dir      string // run folder
	Threads  int
	Guard    bool // read inputs in a child process
	Force    bool // start over where a run is
	Version  string
	Log      func(format string, args ...any)
	Progress func(train.Progress)
	// Checkpoint is the number of steps between checkpoints; 0: by time.
	Checkpoint int
}

// Absorbs is what every log and report says of a morph.
const Absorbs = "A morph moves the simulation onto the data whatever the reason of a difference: it absorbs the composition of the samples (background in the data, missing processes in the simulation) as well as the detector."

// Trained is the outcome of a training.
type Trained struct {
	Model  *Model
	Path   string // of the model file
	Result *train.Result
}

// Train learns a morph from the samples of a configuration and writes DIR/model.hmm, DIR/config.resolved.yaml, DIR/log.jsonl and checkpoints. A run that was
// stopped continues.
func Train(ctx context.Context, cfg *Config, o TrainOptions) (*Trained, error) {
	if o.Log == nil {
		o.Log = func(string, ...any) {}
	}
	if err := atomicfile.MkdirAll(o.Dir); err != nil {
		return nil, err
	}
	prep, err := prepare(ctx, cfg, o)
	if err != nil {
		return nil, err
	}
	pool := ad.NewPool(o.Threads)
	defer pool.Close()
	m := prep.model
	net, err := newNetwork(cfg.Method, cfg.Pairing, m.enc.Dim(), m.enc.CondDim(), cfg.Flow, cfg.Seed)
	if err != nil {
		return nil, err
	}
	m.net = net
	o.Log("%s: %d parameters, %d features, %d condition numbers, kernels %s", cfg.Flow.Kind, net.ps.Count(), net.d, net.c, kernel.Best().Name)
	settings, err := cfg.taskSettings()
	if err != nil {
		return nil, err
	}
	tk, err := newTask(net, prep.data, pool, settings)
	if err != nil {
		return nil, err
	}
	for _, line := range tk.cons.warnings() {
		o.Log("%s", line)
	}
	steps := cfg.Train.Steps
	if cfg.Train.Epochs > 0 {
		small := min(prep.data.sim.n, prep.data.data.n)
		steps = max(1, int(math.Round(cfg.Train.Epochs*float64(2*small)/float64(cfg.Train.Batch))))
	}
	digest, err := cfg.digest(prep.inputs)
	if err != nil {
		return nil, err
	}
	set := train.Settings{Steps: steps, Budget: time.Duration(cfg.Train.Budget), Patience: cfg.Train.EarlyStop, Dir: o.Dir, Digest: digest, Fresh: o.Force,
		Progress: o.Progress, Checkpoint: o.Checkpoint,
		StepsIn: func(b time.Duration) (int, error) {
			n, err := tk.stepsIn(b, cfg.Train.Evaluations)
			if err == nil {
				o.Log("%v of training are %d steps here", b, n)
			}
			return n, err
		},
		Evaluations: cfg.Train.Evaluations}
	res, err := train.Run(ctx, tk, set)
	if err != nil {
		return nil, err
	}
	tk.finish()
	gain, err := m.calibrate(tk, o)
	if err != nil {
		return nil, err
	}
	resolved := *cfg
	resolved.Train.Budget, resolved.Train.Epochs, resolved.Train.Steps = 0, 0, res.Planned
	m.cfg = &resolved
	m.Training = Training{Steps: res.Steps, Planned: res.Planned, BestStep: res.BestStep, Score: res.Best, Early: res.Early, Calibrated: gain, Inputs: prep.inputs, Runs: prep.runs, Version: o.Version,
		Kernels: kernel.Best().Name}
	out := &Trained{Model: m, Path: filepath.Join(o.Dir, "model.hmm"), Result: res}
	if err := m.Write(out.Path); err != nil {
		return nil, err
	}
	text, err := resolved.YAML(false)
	if err != nil {
		return nil, err
	}
	return out, atomicfile.WriteFile(filepath.Join(o.Dir, "config.resolved.yaml"), text)
}

// calibrate gives the trained network its last bijector, where that may act, and returns what it has gained.
func (m *Model) calibrate(tk *task, o TrainOptions) (float64, error) {
	if !m.cfg.Train.Calibrate || m.net.method == CNF && m.net.pairing == Shuffle {
		return 0, nil
	}
	for _, c := range tk.constraints {
		if c.kind == "transport" {
			return 0, nil // the bound may hold the means back
		}
	}
	gain, err := tk.calibrate()
	if err != nil {
		return 0, err
	}
	o.Log("calibration of the latent features: log-likelihood of new rows raised by %.3g, expected", gain)
	return gain, nil
}

// taskSettings turns the configuration's numbers into those of a task.
func (c *Config) taskSettings() (taskSettings, error) {
	t := c.Train
	s := taskSettings{batch: t.Batch, rate: t.Rate, seed: c.Seed, lambdaRate: t.MultiplierRate, warmup: t.ConstraintWarmup, requantise: t.Requantise, domainDecay: t.DomainDecay,
		adam: nn.AdamSettings{Decay: t.WeightDecay, ClipRatio: t.Clip, Average: t.EMA}}
	s.schedule = nn.Constant
	if t.Schedule == "cosine" {
		s.schedule = func(step, total int) float64 { return nn.Cosine(max(1, int(t.RateWarmup*float64(total))))(step, total) }
	}
	for _, k := range c.Constraints {
		kind, arg, err := k.Parse()
		if err != nil {
			return s, err
		}
		q := boundQuantity{kind: kind, observable: arg, every: k.Every, events: k.Events, damping: k.Damping, rate: k.Rate, average: k.Average}
		switch k.Max.Kind {
		case OverFloor:
			q.floorSD = k.Max.Value
		case TimesFree:
			q.timesFree = k.Max.Value
		default:
			unit := ""
			if o, ok := c.Observables.Get(arg); ok {
				unit = o.Unit
			}
			if q.max, err = k.Max.In(unit); err != nil {
				return s, err
			}
		}
		s.constraints = append(s.constraints, q)
	}
	return s, nil
}

// digest names everything that fixes the result of a training.
func (c *Config) digest(inputs []InputFile) (string, error) {
	text, err := c.YAML(false)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	h.Write(text)
	for _, in := range inputs {
		fmt.Fprintf(h, "%s %d %s\n", in.Role, in.Bytes, in.SHA256)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// prepared is what a training starts from.
type prepared struct {
	model  *Model
	data   *trainingData
	inputs []InputFile
	runs   []float64 // sums of weights of the simulations, see Training
}

func prepare(ctx context.Context, cfg *Config, o TrainOptions) (*prepared, error) {
	p := &prepared{model: &Model{cfg: cfg}}
	read := rootio.Options{Guard: o.Guard}
	var ev [2]*Events
	var split [2]parts
	var lay *layout
	for d := range ev {
		var err error
		var l *layout
		if ev[d], l, err = cfg.load(ctx, Domain(d), read); err != nil {
			return nil, err
		}
		if lay == nil {
			lay = l
		}
		if err := ev[d].check(); err != nil {
			return nil, err
		}
		if err := cfg.requireFinite(ev[d]); err != nil {
			return nil, err
		}
		if split[d], err = cfg.split(ev[d]); err != nil {
			return nil, err
		}
		o.Log("%s: %d of %d entries selected; %d to train on, %d for validation, %d set aside", domainName(Domain(d)), ev[d].Table.Len(), ev[d].CutFlow[0].Entries,
			len(split[d].train), len(split[d].validation), len(split[d].test))
		in, err := hashInputs(ev[d])
		if err != nil {
			return nil, err
		}
		p.inputs = append(p.inputs, in...)
	}
	if err := cfg.SameUnits(ev[Simulation], ev[Data]); err != nil {
		return nil, err
	}
	p.runs = ev[Simulation].sumsInRuns()
	if list := ev[Simulation].Parts; len(list) > 1 {
		all := ev[Simulation].CutFlow.Selected().SumW
		for _, part := range list {
			o.Log("  %s: %d rows, %.2f %% of the mixture", part.Label, part.Rows, 100*part.CutFlow.Selected().SumW/all)
		}
	}
	tables, weights, err := p.weigh(cfg, ev, split, o)
	if err != nil {
		return nil, err
	}
	var fit [2]*physics.Table
	var fitWeights [2][]float64
	for d := range ev {
		n := len(split[d].train)
		fit[d] = tables[d].Take(upTo(n))
		fitWeights[d] = weights.all[d][:n]
	}
	p.model.enc, err = FitEncoder(cfg.FeatureSpecs(), cfg.ConditionSpecs(), fit[:], fitWeights[:], cfg.Seed)
	if err != nil {
		return nil, err
	}
	for _, line := range splitLines(p.model.enc.Describe()) {
		o.Log("%s", line)
	}
	return p, p.encode(cfg, lay, ev, split, tables, weights, o)
}

func upTo(n int) []int {
	v := make([]int, n)
	for i := range v {
		v[i] = i
	}
	return v
}

// rowWeights are positive weights of the rows to learn from, by domain, training rows first.
type rowWeights struct {
	given [2][]float64 // physics weights: those of the features, given the conditions
	all   [2][]float64 // times the factor that brings the conditions of the simulation to the data's
}

// weigh makes the weights, and the columns of the rows that they belong to.
func (p *prepared) weigh(cfg *Config, ev [2]*Events, split [2]parts, o TrainOptions) (tables [2]*physics.Table, w rowWeights, err error) {
	for d := range ev {
		tables[d] = ev[d].Table.Take(split[d].learn())
		names := cfg.Weights.Columns
		if len(names) == 0 {
			names = slices.Concat(cfg.Features.Names(), cfg.Conditions.Names(), cfg.Observables.Names())
		}
		cols, err := tableColumns(tables[d], names)
		if err != nil {
			return tables, w, err
		}
		pos, positive, err := FitPositive(cfg.Weights.Signed, names, cols, weights(tables[d]), cfg.Seed, o.Threads)
		if err != nil {
			return tables, w, fmt.Errorf("%s: %w", domainName(Domain(d)), err)
		}
		if pos.Method != "none" {
			o.Log("%s: %s", domainName(Domain(d)), pos.Report.String())
		}
		w.given[d], w.all[d] = positive, positive
		if Domain(d) == Simulation {
			p.model.positive = pos
		}
	}
	names := cfg.Reweight.Columns
	if len(names) == 0 {
		names = cfg.Conditions.Names()
	}
	var c [2]Conditioned
	for d := range c {
		cols, err := tableColumns(tables[d], names)
		if err != nil {
			return tables, w, err
		}
		c[d] = Conditioned{Cols: cols, Weight: w.given[d]}
	}
	kin, factors, err := FitReweighter(cfg.Reweight, names, c[Simulation], c[Data], cfg.Seed, o.Threads)
	if err != nil {
		return tables, w, err
	}
	p.model.kin = kin
	if kin.Method != "none" {
		for _, line := range splitLines(kin.Report.String()) {
			o.Log("%s", line)
		}
		w.all[Simulation] = slices.Clone(w.given[Simulation])
		for i, k := range factors {
			w.all[Simulation][i] *= k
		}
	}
	return tables, w, nil
}

// encode puts the rows to learn from into model space.
func (p *prepared) encode(cfg *Config, lay *layout, ev [2]*Events, split [2]parts, tables [2]*physics.Table, weights rowWeights, o TrainOptions) error {
	enc := p.model.enc
	td := &trainingData{}
	var kept [2][]int // rows of the table that train or validate
	sets := [2][2]**sampleSet{{&td.sim, &td.simVal}, {&td.data, &td.dataVal}}
	for d := range ev {
		t := tables[d]
		rows := split[d].learn()
		keys := make([]uint64, len(rows))
		for i, r := range rows {
			keys[i] = ev[d].Keys[r]
		}
		n := t.Len()
		x, c := make([]float32, n*enc.Dim()), make([]float32, n*enc.CondDim())
		status := make([]uint8, n)
		if err := encodeAll(enc, t, keys, Domain(d), x, c, status, o.Threads); err != nil {
			return err
		}
		all := &sampleSet{n: n, x: x, c: c, w: weights.all[d], given: weights.given[d], keys: keys}
		var part [2][]int
		for i := range n {
			if status[i] != StatusMorphed {
				continue
			}
			k := 0
			if i >= len(split[d].train) {
				k = 1
			}
			part[k] = append(part[k], i)
		}
		if len(part[0]) < 2 || len(part[1]) < 2 {
			return fmt.Errorf("morph: could not train: only %d rows of %s have all features in their domain: %w", len(part[0]), domainName(Domain(d)), ErrInput)
		}
		if lost := n - len(part[0]) - len(part[1]); lost > 0 {
			o.Log("%s: %d rows hold a sentinel or lie out of bounds and are not trained on", domainName(Domain(d)), lost)
		}
		kept[d] = part[0]
		for k := range part {
			s := all.part(part[k], enc.Dim(), enc.CondDim())
			meanOne(s.w)
			meanOne(s.given)
			*sets[d][k] = s
		}
	}
	if cfg.Train.Requantise > 0 && enc.random() {
		var trainTables [2]*physics.Table
		for d := range trainTables {
			trainTables[d] = tables[d].Take(kept[d])
		}
		td.requantise = func(epoch int) {
			for d, s := range [2]*sampleSet{td.sim, td.data} {
				keys := s.keys
				if epoch > 0 { // epoch 0 has the draws that a training begins with
					keys = make([]uint64, s.n)
					for i, k := range s.keys {
						keys[i] = rng.Hash(k, uint64(epoch))
					}
				}
				status := make([]uint8, s.n)
				if err := encodeAll(enc, trainTables[d], keys, Domain(d), s.x, nil, status, o.Threads); err != nil {
					panic(err) // the same rows were encoded before
				}
			}
		}
	}
	observed, err := observables(cfg, enc, lay, tables, kept)
	if err != nil {
		return err
	}
	td.observed = observed
	p.data = td
	return nil
}

// encodeRows is the number of rows that one task encodes.
const encodeRows = 4096

// encodeAll puts rows into model space. Every status becomes that of a row that is morphed, or says why it is not.
func encodeAll(enc *Encoder, t *physics.Table, keys []uint64, d Domain, x, c []float32, status []uint8, threads int) error {
	n := t.Len()
	for i := range status {
		status[i] = StatusMorphed
	}
	errs := make([]error, (n+encodeRows-1)/encodeRows)
	par.For(threads, n, encodeRows, func(k, lo, hi int) {
		errs[k] = enc.Encode(t, lo, hi, keys, d, x[lo*enc.Dim():hi*enc.Dim()], status[lo:hi])
		if errs[k] == nil && c != nil {
			errs[k] = enc.EncodeConditions(t, lo, hi, c[lo*enc.CondDim():hi*enc.CondDim()], status[lo:hi])
		}
	})
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func meanOne(w []float64) {
	s := 0.0
	for _, v := range w {
		s += v
	}
	for i := range w {
		w[i] *= float64(len(w)) / s
	}
}

// observables makes the derived quantities that constraints may bound, for training rows.
func observables(cfg *Config, enc *Encoder, lay *layout, tables [2]*physics.Table, kept [2][]int) ([]derived, error) {
	if len(cfg.Constraints) == 0 {
		return nil, nil
	}
	var out []derived
	sim := tables[Simulation].Take(kept[Simulation])
	data := tables[Data].Take(kept[Data])
	for _, o := range lay.observables {
		spec, _ := cfg.Observables.Get(o.name)
		d := derived{name: o.name, unit: spec.Unit, inside: func(h float64) bool {
			return (len(spec.Range) != 2 || h >= spec.Range[0] && h < spec.Range[1]) && (len(spec.Blind) != 2 || h < spec.Blind[0] || h >= spec.Blind[1])
		}}
		var err error
		if d.data, err = data.Col(o.name); err != nil {
			return nil, err
		}
		cols := make([][]float64, len(o.inputs))
		for k, in := range o.inputs {
			if in.feature < 0 {
				if cols[k], err = sim.Col(in.column); err != nil {
					return nil, err
				}
			}
		}
		d.value = func(rows []int32, x []float32, h []float64, grad []float32) error {
			return derivedValue(o, enc, sim, cols, rows, x, h, grad)
		}
		out = append(out, d)
	}
	return out, nil
}

// derivedValue computes an observable of morphed rows and its gradient in model space, by central differences of the observable times the slopes of the features'
// transforms.
func derivedValue(o *observable, enc *Encoder, sim *physics.Table, cols [][]float64, rows []int32, z []float32, h []float64, grad []float32) error {
	n, d := len(rows), enc.Dim()
	idx := make([]int, n)
	for i, r := range rows {
		idx[i] = int(r)
	}
	part := sim.Take(idx)
	x, dx := make([][]float64, d), make([][]float64, d)
	for j := range x {
		x[j], dx[j] = make([]float64, n), make([]float64, n)
	}
	if err := enc.DecodeGrad(z, part, 0, n, Data, x, dx); err != nil {
		return err
	}
	eval := func(feature int, step float64) ([]float64, error) {
		return o.values(n, func(k, i int) float64 {
			in := o.inputs[k]
			if in.feature < 0 {
				return cols[k][rows[i]]
			}
			v := x[in.feature][i]
			if in.feature == feature {
				v += step * max(1, math.Abs(v))
			}
			return v
		})
	}
	v, err := eval(-1, 0)
	if err != nil {
		return err
	}
	copy(h, v)
	if grad == nil {
		return nil
	}
	for _, in := range o.inputs {
		if in.feature < 0 {
			continue
		}
		const step = 1e-5
		up, err := eval(in.feature, step)
		if err != nil {
			return err
		}
		down, err := eval(in.feature, -step)
		if err != nil {
			return err
		}
		j := in.feature
		for i := range n {
			grad[i*d+j] = float32((up[i] - down[i]) / (2 * step * max(1, math.Abs(x[j][i]))) * dx[j][i])
		}
	}
	return nil
}
