package calo

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"hepmorph/calo/geometry"
	"hepmorph/flows"
	"hepmorph/internal/ad"
	"hepmorph/internal/kernel"
	"hepmorph/internal/modelfile"
	"hepmorph/internal/nn"
	"hepmorph/internal/rng"
	"hepmorph/internal/train"
)

// TestPublishedParameterCounts holds the published configurations to the numbers of parameters of arXiv:2410.21611, energy networks included, and
// to those that its layers say for the rest.
func TestPublishedParameterCounts(t *testing.T) {
	for _, c := range []struct {
		config        string
		energy, total int
	}{{"calo-ds2", 2384705, 28427393}, {"calo-ds3", 2384705, 8253575}, {"calo-ds2-parallel", 1958785, 28001473}} {
		cfg, err := LoadConfig("../docs/configs/" + c.config + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		codec := newPublished(cfg.Codec, lookup(t, cfg.Data.Geometry))
		s := cfg.Settings().resolve(codec)
		if err := s.check(); err != nil {
			t.Fatal(err)
		}
		nets, err := newNetworks(codec, s)
		if err != nil {
			t.Fatal(err)
		}
		m := Model{networks: nets}
		if energy, shape := m.Parameters(); energy != c.energy || energy+shape != c.total {
			t.Errorf("%s: %d and %d parameters, %d and %d together are published", c.config, energy, shape, c.energy, c.total)
		}
	}
}

func TestTokens(t *testing.T) {
	for _, c := range []struct {
		codec, geometry string
		tokens, patch   int
	}{
		{"quantile", "mini", 45, 24}, {"calodream", "ds2", 135, 48}, {"quantile", "ds3", 15 * 5 * 9, 60},
		{"quantile", "ds1-photons", 38, 10}, {"vit4hep", "ds1-photons", 88, 5}, {"vit4hep", "ds1-pions", 125, 5},
	} {
		var codec Codec = newPublished(c.codec, lookup(t, c.geometry))
		if c.codec == "quantile" {
			codec = &quantile{g: lookup(t, c.geometry)}
		}
		tl, err := newTiling(codec, defaultPatch(codec))
		if err != nil {
			t.Fatal(err)
		}
		if tl.tokens != c.tokens || tl.patch != c.patch {
			t.Errorf("%s, %s: %d tokens of %d, not %d of %d", c.geometry, c.codec, tl.tokens, tl.patch, c.tokens, c.patch)
		}
		shape := make([]float32, codec.Dims().Shape)
		for i := range shape {
			shape[i] = float32(i + 1)
		}
		tokens, back := make([]float32, tl.width()), make([]float32, len(shape))
		tl.cut(tokens, shape, tl.patch)
		tl.join(back, tokens)
		if !slices.Equal(shape, back) {
			t.Errorf("%s, %s: tokens lose numbers", c.geometry, c.codec)
		}
		e := NewEnergies(codec.Geometry())
		for l := range e.Layers {
			e.Layers[l] = 1
		}
		if n := tl.mask(tokens, e, true, tl.patch); n != len(shape) {
			t.Errorf("%s, %s: %d of %d numbers are drawn", c.geometry, c.codec, n, len(shape))
		}
	}
	if _, err := newTiling(&quantile{g: lookup(t, "mini")}, [3]int{2, 8, 1}); err == nil {
		t.Error("a patch that does not divide the geometry is accepted")
	}
}

func TestTurnings(t *testing.T) {
	for name, want := range map[string]int{"mini": 16, "ds1-photons": 20} {
		g := lookup(t, name)
		all := turnings(&quantile{g: g})
		if len(all) != want {
			t.Errorf("%s: %d turns, %d expected", name, len(all), want)
		}
		r, _, _ := g.Centres()
		for _, to := range all {
			seen := make([]bool, len(to))
			for from, v := range to {
				if seen[v] || r[v] != r[from] {
					t.Fatalf("%s: voxel %d goes to %d", name, from, v)
				}
				seen[v] = true
			}
		}
		for v, w := range all[0] {
			if int(w) != v {
				t.Fatalf("%s: the first turn moves voxel %d to %d", name, v, w)
			}
		}
	}
}

// TestTransformerGradient compares the gradient of every kind of weight with differences, in float64.
func TestTransformerGradient(t *testing.T) {
	for _, published := range []bool{false, true} {
		p, widths := smallTransformer[float64](t, published)
		compareGradients(t, fmt.Sprintf("published %v", published), p, widths...)
	}
}

// smallTransformer records a transformer with a loss, no parameter of which is zero, and gives the numbers an item of its inputs.
func smallTransformer[T kernel.Float](t *testing.T, published bool) (p *ad.Program[T], widths []int) {
	codec := Codec(&quantile{g: lookup(t, "ds1-photons")})
	s := TransformerSettings{Patch: [3]int{1, 1, 190}, Width: 6, Depth: 2, Heads: 2, Ratio: 1, Published: published}
	if published {
		g, err := geometry.New("small", "photon", 22, 0, []geometry.Layer{{REdges: []float64{0, 1, 2}, Alpha: 2}, {REdges: []float64{0, 1, 2}, Alpha: 2}})
		if err != nil {
			t.Fatal(err)
		}
		codec, s.Patch = newPublished("calodream", g), [3]int{1, 1, 1}
	}
	tl, err := newTiling(codec, s.Patch)
	if err != nil {
		t.Fatal(err)
	}
	ps := ad.NewParams[T]()
	net, err := newTransformer(ps, s, *tl, codec.Dims())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range ps.List {
		ps.Normal(p, 0.4, 3)
	}
	p = ad.NewProgram(ps)
	x, items, y, w := p.InputRows(net.patch+net.extra, net.tokens), p.Input(net.items()), p.InputRows(net.patch, net.tokens), p.InputRows(1, net.tokens)
	p.SquaredError(net.record(p, x, items), y, w)
	return p, []int{net.tokens * x.Width, net.items(), net.tokens * net.patch, net.tokens}
}

// TestTransformerThreads holds that a network whose tiles all workers share has the same gradient, bit by bit, at any number of workers.
func TestTransformerThreads(t *testing.T) {
	for _, published := range []bool{false, true} {
		var want []float32
		for _, threads := range []int{1, 2, 3} {
			pool := ad.NewPool(threads)
			p, widths := smallTransformer[float32](t, published)
			sh := ad.NewShards(p.Params, 1)
			exec := p.Compile(kernel.Best(), pool, sh, ad.Settings{Items: 9})
			s := rng.NewKey(1, "threads").At(0)
			run := ad.Run[float32]{N: 13, Backward: true, Losses: make([]float64, p.Losses())}
			for _, width := range widths {
				v := make([]float32, run.N*width)
				for i := range v {
					v[i] = float32(s.Norm())
				}
				run.Inputs = append(run.Inputs, ad.Source[float32]{Data: v})
			}
			exec.Run(&run)
			if n := testing.AllocsPerRun(2, func() { exec.Run(&run) }); n > 0 {
				t.Errorf("published %v, %d threads: a step makes %v allocations", published, threads, n)
			}
			pool.Close()
			if want == nil {
				want = slices.Clone(sh.G[0])
			}
			if !slices.Equal(sh.G[0], want) {
				t.Errorf("published %v: %d threads change the gradient", published, threads)
			}
		}
	}
}

// compareGradients compares the gradient of the losses' sum by every kind of weight with differences, at normal inputs of given widths.
func compareGradients(t *testing.T, name string, p *ad.Program[float64], widths ...int) {
	pool := ad.NewPool(1)
	defer pool.Close()
	ps := p.Params
	sh := ad.NewShards(ps, 1)
	exec := p.Compile(kernel.Portable[float64](), pool, sh, ad.Settings{})
	r := rng.NewKey(1, "gradient").At(0)
	run := ad.Run[float64]{N: 3, Losses: make([]float64, p.Losses())}
	for _, width := range widths {
		v := make([]float64, run.N*width)
		for i := range v {
			v[i] = r.Norm()
		}
		run.Inputs = append(run.Inputs, ad.Source[float64]{Data: v})
	}
	loss := func(backward bool) float64 {
		clear(run.Losses)
		run.Backward = backward
		exec.Run(&run)
		return total(run.Losses)
	}
	loss(true)
	for _, q := range ps.List {
		largest, at := 0.0, 0
		for i := range q.Rows {
			for j := range q.Cols {
				if k := q.Off + i*q.LD + j; math.Abs(sh.G[0][k]) > largest {
					largest, at = math.Abs(sh.G[0][k]), k
				}
			}
		}
		const h = 1e-5
		own := ps.W[at]
		ps.W[at] = own + h
		up := loss(false)
		ps.W[at] = own - h
		want := (up - loss(false)) / (2 * h)
		ps.W[at] = own
		if got := sh.G[0][at]; !(math.Abs(got-want) <= 1e-6*(1+math.Abs(want))) || largest == 0 {
			t.Errorf("%s: %s: gradient %v, differences say %v", name, q.Name, got, want)
		}
	}
}

// TestNoiseLoss holds the loss of normal numbers to π/2, which follows from Var x_t and Cov(x_1-x_0, x_t).
func TestNoiseLoss(t *testing.T) {
	const d = 2
	pool := ad.NewPool(2)
	defer pool.Close()
	net, err := flows.NewVelocityNet(ad.NewParams[float32](), flows.VelocitySettings{Features: d, Hidden: 32, Blocks: 1})
	if err != nil {
		t.Fatal(err)
	}
	rows := make([]int32, 20000)
	for i := range rows {
		rows[i] = int32(i)
	}
	s := matchSettings{batch: 1024, rate: 5e-3, adam: nn.AdamSettings{Average: 0.99}}
	x, w := make([]float32, s.batch*d), make([]float32, s.batch)
	key := rng.NewKey(1, "noise")
	pairs := &flows.Matching[float32]{Features: d, Frequencies: net.Frequencies, X1: x, Key: rng.NewKey(1, "paths")}
	p := ad.NewProgram(net.Params)
	net.MatchLoss(p, nil, func() ad.Tensor { return p.Input(1) })
	m := newMatching(p, pool, rows, rows, s, func(step uint64, rows []int32) []ad.Source[float32] {
		r := key.At(step)
		for i := range x {
			x[i] = float32(r.Norm())
		}
		for i := range w {
			w[i] = 1 / float32(len(rows))
		}
		pairs.Step = step
		return []ad.Source[float32]{{Fill: pairs.Fill}, {Data: w}}
	})
	first, _, err := m.Evaluate()
	if err != nil {
		t.Fatal(err)
	}
	if math.Abs(first-2) > 0.06 {
		t.Errorf("loss of a velocity of 0 is %v, 2 expected", first)
	}
	r, err := train.Run(context.Background(), m, train.Settings{Steps: 400, Evaluations: 4})
	if err != nil {
		t.Fatal(err)
	}
	if math.Abs(r.Best-math.Pi/2) > 0.03 {
		t.Errorf("loss of normal numbers is %v, π/2 expected", r.Best)
	}
}

// small are settings of a training that takes less than a second.
func small(codec string) Settings {
	return Settings{Codec: codec, Shape: TransformerSettings{Width: 12, Depth: 1, Heads: 2, Ratio: 1}, Energy: EnergySettings{Width: 16, Depth: 1}, EnergySteps: 20, Steps: 20,
		EnergyBatch: 32, Batch: 16, Seed: 4}
}

// stopAt ends a context after a step.
func stopAt(network string, step int) (context.Context, func(string, train.Progress)) {
	ctx, cancel := context.WithCancel(context.Background())
	return ctx, func(name string, p train.Progress) {
		if name == network && p.Step == step {
			cancel()
		}
	}
}

func TestTrainStopsAndGoesOnToTheSameBits(t *testing.T) {
	src := toy(lookup(t, "mini"), 120, 1)
	s := small("quantile")
	read := func(tr *Trained, err error) []byte {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(tr.Path)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	want := read(Train(context.Background(), src, s, TrainOptions{Dir: t.TempDir(), Threads: 2}))
	dir := t.TempDir()
	for _, stop := range []struct {
		network string
		step    int
	}{{"energies", 7}, {"shapes", 5}} {
		ctx, progress := stopAt(stop.network, stop.step)
		if _, err := Train(ctx, src, s, TrainOptions{Dir: dir, Threads: 1, Progress: progress}); !errors.Is(err, train.ErrStopped) {
			t.Fatalf("stopped in %s: %v", stop.network, err)
		}
	}
	if got := read(Train(context.Background(), src, s, TrainOptions{Dir: dir, Threads: 1})); !slices.Equal(got, want) {
		t.Error("a training that was stopped twice, on another number of threads, gives another model")
	}
	other := s
	other.Rate = 1e-4
	if _, err := Train(context.Background(), src, other, TrainOptions{Dir: dir}); !errors.Is(err, train.ErrResume) {
		t.Errorf("another training in the folder: %v", err)
	}
}

// drawn collects what a model generates.
func drawn(t *testing.T, m *Model, in Incident, o GenerateOptions) (voxels []float32, layers []float64) {
	t.Helper()
	err := m.Generate(context.Background(), in, o, func(_ []float64, v []float32, l []float64) error {
		voxels, layers = append(voxels, v...), append(layers, l...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return
}

func TestGenerate(t *testing.T) {
	for _, c := range []struct{ codec, geometry, network string }{{"quantile", "mini", residualNet}, {"quantile", "ds1-photons", autoregressiveNet},
		{"calodream", "mini", autoregressiveNet}, {"vit4hep", "ds1-photons", parallelNet}} {
		g := lookup(t, c.geometry)
		s := small(c.codec)
		s.Energy = EnergySettings{Network: c.network, Width: 32, Depth: 1, HeadWidth: 16}
		s.Shape.Published = c.codec == "calodream"
		tr, err := Train(context.Background(), toy(g, 150, 2), s, TrainOptions{Dir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		m, err := ReadModel(tr.Path)
		if err != nil {
			t.Fatal(err)
		}
		const n = 30
		in := LogUniform(1e3, 1e5, n, 5)
		o := GenerateOptions{Seed: 3, Solving: Solving{Steps: 2, EnergySteps: 2}, Threads: 2}
		voxels, layers := drawn(t, m, in, o)
		sums := make([]float64, len(g.Layers))
		for i := range n {
			g.LayerSums(sums, voxels[i*g.Voxels():(i+1)*g.Voxels()])
			for l, want := range layers[i*len(sums) : (i+1)*len(sums)] {
				if c.codec == "quantile" && math.Abs(sums[l]-want) > geometry.SumTolerance*want {
					t.Errorf("%s, %s: shower %d: layer %d has %v MeV, %v were drawn", c.geometry, c.codec, i, l, sums[l], want)
				}
			}
		}
		for k, v := range voxels {
			if !(v >= 0) || math.IsInf(float64(v), 1) || c.codec == "quantile" && v > 0 && !above(v, g.Threshold) {
				t.Fatalf("%s, %s: voxel %d is %v", c.geometry, c.codec, k, v)
			}
		}
		// showers depend on their number alone: not on threads, blocks or what the model went through
		o.Threads, o.First = 1, 7
		var energies [n]float64
		if err := in.At(0, energies[:]); err != nil {
			t.Fatal(err)
		}
		part, _ := drawn(t, tr.Model, Incident{5, func(first int64, dst []float64) error { copy(dst, energies[7+first:]); return nil }}, o)
		if !slices.Equal(part, voxels[7*g.Voxels():12*g.Voxels()]) {
			t.Errorf("%s, %s: showers 7 to 11 by themselves differ", c.geometry, c.codec)
		}
		if err := m.Generate(context.Background(), Fixed(-1, 3), o, nil); !errors.Is(err, ErrSettings) {
			t.Errorf("energy below zero: %v", err)
		}
	}
}

func TestTrainRefuses(t *testing.T) {
	src := toy(lookup(t, "mini"), 20, 1)
	for name, change := range map[string]func(*Settings){
		"codec":  func(s *Settings) { s.Codec = "none" },
		"plan":   func(s *Settings) { s.Steps = 0 },
		"heads":  func(s *Settings) { s.Shape.Heads = 5 },
		"patch":  func(s *Settings) { s.Shape.Patch = [3]int{2, 2, 2} },
		"turns":  func(s *Settings) { s.Turns = "sideways" },
		"rate":   func(s *Settings) { s.Rate = -1 },
		"net":    func(s *Settings) { s.Energy.Network = "convolution" },
		"tokens": func(s *Settings) { s.Energy = EnergySettings{Network: autoregressiveNet, Width: 16} },
		"budget": func(s *Settings) { s.EnergySteps, s.Budget = 0, time.Microsecond },
	} {
		s := small("quantile")
		change(&s)
		ticks := time.Duration(0)
		_, err := Train(context.Background(), src, s, TrainOptions{Clock: func() time.Duration { ticks += time.Second; return ticks }})
		if !errors.Is(err, ErrSettings) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestReadModelRefuses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "model.hmm")
	f := &modelfile.File{Meta: map[string]string{"kind": "morph"}}
	if err := f.Write(path); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadModel(path); !errors.Is(err, modelfile.ErrUnusable) {
		t.Errorf("a model of another kind: %v", err)
	}
}
