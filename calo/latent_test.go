package calo

import (
	"context"
	"errors"
	"math"
	"os"
	"slices"
	"testing"

	"hepmorph/calo/geometry"
	"hepmorph/internal/ad"
	"hepmorph/internal/nn"
	"hepmorph/internal/rng"
	"hepmorph/internal/train"
)

// TestAutoencoderGradients compares the gradient of every kind of weight with differences, in float64.
func TestAutoencoderGradients(t *testing.T) {
	edges := []float64{0, 1, 2, 3}
	var layers []geometry.Layer
	for range 4 {
		layers = append(layers, geometry.Layer{REdges: edges, Alpha: 4})
	}
	g, err := geometry.New("small", "electron", 11, 0, layers)
	if err != nil {
		t.Fatal(err)
	}
	ps := ad.NewParams[float64]()
	s := LatentSettings{Stride: [3]int{2, 2, 1}, Channels: 3, Features: 2, KL: 0.1}
	s.resolve()
	net, err := newAutoencoder(ps, s, g, Dims{Shape: g.Voxels(), ShapeCondition: 2, Layer: 3}, 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range ps.List {
		ps.Normal(q, 0.2, 3) // more, and variances differ by powers of ten
	}
	p := ad.NewProgram(ps)
	net.loss(p)
	compareGradients(t, "autoencoder", p, 48, 24, 48, 12, 2, 12)
}

// TestAutoencoderDrawsVoxels holds that decoding draws what the cells do not hold, from the stream that it is given: as long as they hold nothing the
// numbers of the voxels are normal.
func TestAutoencoderDrawsVoxels(t *testing.T) {
	g := lookup(t, "mini")
	src := toy(g, 300, 1)
	inner, err := Fit("quantile", src, 1)
	if err != nil {
		t.Fatal(err)
	}
	c, err := newLatent(inner, LatentSettings{}, 1)
	if err != nil {
		t.Fatal(err)
	}
	e, voxels, again := NewEnergies(g), make([]float32, g.Voxels()), make([]float32, g.Voxels())
	shape, cells := make([]float32, g.Voxels()), make([]float32, c.Dims().Shape)
	key := rng.NewKey(1, "decode")
	var of moments
	for i := range src.Len() {
		e.Measure(g, src.Incident[i], src.Shower(i))
		s, same, next := key.At(uint64(i)), key.At(uint64(i)), key.At(uint64(i+1))
		c.DecodeShape(voxels, e, cells, &s)
		if c.DecodeShape(again, e, cells, &same); !slices.Equal(voxels, again) {
			t.Fatal("the same stream gives another shower")
		}
		if c.DecodeShape(again, e, cells, &next); slices.Equal(voxels, again) {
			t.Fatal("another stream gives the same shower")
		}
		inner.EncodeShape(shape, e, voxels, &s)
		for v, x := range shape {
			if e.Layers[v*len(g.Layers)/g.Voxels()] > 0 {
				of.add(float64(x))
			}
		}
	}
	if mean, sd := of.result(); math.Abs(mean) > 0.03 || math.Abs(sd-1) > 0.03 {
		t.Errorf("the numbers of decoded voxels have mean %v and deviation %v", mean, sd)
	}
}

// TestAutoencoderLearnsShowers trains one: what it decodes is nearer to the shower than what it decodes of another shower, layers keep their
// energies, numbers of voxels and moments, and the numbers of the cells are standardised.
func TestAutoencoderLearnsShowers(t *testing.T) {
	g := lookup(t, "mini")
	src := toy(g, 300, 1)
	for i := range src.Len() { // most of each shower lies on one side
		side := rng.NewKey(1, "side").Uniform(uint64(i)) * 2 * math.Pi
		v := src.Shower(i)
		for k := range v {
			v[k] *= float32(math.Exp(2 * math.Cos(2*math.Pi*float64(k/9%8)/8-side)))
		}
	}
	inner, err := Fit("moments", src, 1)
	if err != nil {
		t.Fatal(err)
	}
	c, err := newLatent(inner, LatentSettings{}, 1)
	if err != nil {
		t.Fatal(err)
	}
	st, err := newStore(src)
	if err != nil {
		t.Fatal(err)
	}
	rows := make([]int32, st.n)
	for i := range rows {
		rows[i] = int32(i)
	}
	pool := ad.NewPool(2)
	defer pool.Close()
	m := latentMatching(c, st, pool, true, rows, rows[:100], matchSettings{batch: 32, rate: 1e-2, adam: nn.AdamSettings{Clip: 1, Average: 0.98}, seed: 1})
	before, _, err := m.Evaluate()
	if err != nil {
		t.Fatal(err)
	}
	res, err := train.Run(context.Background(), m, train.Settings{Steps: 250, Evaluations: 5})
	if err != nil {
		t.Fatal(err)
	}
	m.finish()
	if !(res.Best < 0.7*before) {
		t.Errorf("loss %v, %v before the training", res.Best, before)
	}
	c.standardise(st, rows, 1)

	d := c.Dims()
	if d.Shape != 360 {
		t.Errorf("%d numbers, 2×5×4×9 expected", d.Shape)
	}
	e, got, voxels, decoded := NewEnergies(g), NewEnergies(g), make([]float32, g.Voxels()), make([]float32, g.Voxels())
	numbers := make([][]float32, st.n)
	square := 0.0
	for i := range numbers {
		s := rng.NewKey(1, "encode").At(uint64(i))
		st.shower(e, voxels, rows[i], nil)
		numbers[i] = make([]float32, d.Shape)
		c.EncodeShape(numbers[i], e, voxels, &s)
		for _, v := range numbers[i] {
			square += float64(v*v) / float64(len(numbers)*d.Shape)
		}
	}
	if math.Abs(square-1) > 0.1 {
		t.Errorf("the numbers have a mean square of %v", square)
	}
	var own, other float64
	var radius moments // how far the mean radii of layers are off
	for i := range numbers {
		s := rng.NewKey(1, "decode").At(uint64(i))
		st.shower(e, voxels, rows[i], nil)
		for j, x := range [][]float32{numbers[i], numbers[(i+1)%len(numbers)]} {
			c.DecodeShape(decoded, e, x, &s)
			got.Measure(g, e.Incident, decoded)
			for l, want := range e.Layers {
				if math.Abs(got.Layers[l]-want) > geometry.SumTolerance*want || got.Filled[l] > e.Filled[l] {
					t.Fatalf("shower %d: layer %d has %v MeV in %d voxels, %v in %d expected", i, l, got.Layers[l], got.Filled[l], want, e.Filled[l])
				}
				if e.Filled[l] >= tiltLeast {
					radius.add(math.Abs(got.Planes[l].R/e.Planes[l].R - 1))
				}
			}
			off := 0.0
			for k, v := range decoded {
				off += math.Abs(float64(v-voxels[k])) / e.Incident
			}
			if j == 0 {
				own += off
			} else {
				other += off
			}
		}
	}
	if !(own < 0.6*other) {
		t.Errorf("a shower is off by %v of its energy, by %v with the numbers of another one", own/float64(len(numbers)), other/float64(len(numbers)))
	}
	if off, _ := radius.result(); !(off < 0.1) { // 0.13 without the tilt of the inner codec
		t.Errorf("the mean radii of layers are off by %v", off)
	}
}

// TestLatentModel trains all three networks, stops in between, and draws from the file.
func TestLatentModel(t *testing.T) {
	src := toy(lookup(t, "mini"), 120, 1)
	s := small("quantile")
	s.Latent = LatentSettings{On: true, Channels: 4, Steps: 12, Batch: 16}
	whole, err := Train(context.Background(), src, s, TrainOptions{Dir: t.TempDir(), Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(whole.Path)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	ctx, progress := stopAt("autoencoder", 5)
	if _, err := Train(ctx, src, s, TrainOptions{Dir: dir, Threads: 1, Progress: progress}); !errors.Is(err, train.ErrStopped) {
		t.Fatalf("stopped: %v", err)
	}
	again, err := Train(context.Background(), src, s, TrainOptions{Dir: dir, Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(again.Path); err != nil || !slices.Equal(got, want) {
		t.Error("a training that was stopped in the autoencoder gives another model", err)
	}
	m, err := ReadModel(whole.Path)
	if err != nil {
		t.Fatal(err)
	}
	in := LogUniform(1e3, 1e5, 20, 5)
	o := GenerateOptions{Seed: 3, Solving: Solving{Steps: 2, EnergySteps: 2}, Threads: 2}
	got, _ := drawn(t, m, in, o)
	o.Threads = 1
	if again, _ := drawn(t, whole.Model, in, o); !slices.Equal(got, again) {
		t.Error("the model from the file, or another number of threads, draws other showers")
	}
	for name, change := range map[string]func(*Settings){
		"stride":   func(s *Settings) { s.Latent.Stride = [3]int{2, 2, 1} },
		"patch":    func(s *Settings) { s.Shape.Patch = [3]int{2, 1, 1} },
		"steps":    func(s *Settings) { s.Latent.Steps = 0 },
		"coupling": func(s *Settings) { s.Coupling = byTurns },
		"empties":  func(s *Settings) { s.Empties = 0.5 },
	} {
		bad := s
		change(&bad)
		if _, err := Train(context.Background(), src, bad, TrainOptions{}); !errors.Is(err, ErrSettings) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
