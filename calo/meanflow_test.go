package calo

import (
	"context"
	"errors"
	"math"
	"slices"
	"testing"

	"hepmorph/internal/ad"
)

// TestMeanFlowTargets holds that targets are those of the definition: with a network whose output is 0, the mean velocity is that of unconnected
// normal numbers, x_s − x_t = x_t(√(Var x_s/Var x_t) − 1), whose derivative along the pair is known.
func TestMeanFlowTargets(t *testing.T) {
	g := lookup(t, "mini")
	src := toy(g, 60, 1)
	s := small("quantile")
	s.Shape.Mean = true
	c, err := Fit(s.Codec, src, 1)
	if err != nil {
		t.Fatal(err)
	}
	s = s.resolve(c)
	nets, err := newNetworks(c, s)
	if err != nil {
		t.Fatal(err)
	}
	net := nets.shape
	net.initialise(nets.shapeParams, 1) // its output is 0
	pool := ad.NewPool(2)
	defer pool.Close()
	m := newMeanTargets(net, nets.shapeParams, pool, matchSettings{batch: 2, times: uniformTimes})
	in := net.patch + net.extra
	width := in + 2*net.patch
	const t0, until, x, v = 0.3, 0.8, 0.7, -1.2
	m.times[0], m.times[1] = [2]float64{t0, until}, [2]float64{t0, t0}
	tokens, conds := make([]float32, 2*net.tokens*width), make([]float32, 2*net.items())
	for i := range 2 {
		from, skip, out := net.precondition(m.times[i][0], m.times[i][1])
		for token := range net.tokens {
			row := tokens[(i*net.tokens+token)*width:][:width]
			for k := range net.patch {
				row[k], row[in+k], row[in+net.patch+k] = float32(from*x), float32((v-skip*x)/out), 1
			}
		}
	}
	before := slices.Clone(tokens)
	m.targets(tokens, conds, 2)
	if !slices.Equal(tokens[net.tokens*width:], before[net.tokens*width:]) {
		t.Error("a pair at one time has changed")
	}
	variance := func(t float64) float64 { return t*t + (1-t)*(1-t) }
	u := func(t, x float64) float64 { return x * (math.Sqrt(variance(until)/variance(t)) - 1) / (until - t) }
	const h = 1e-5
	want := v + (until-t0)*(u(t0+h, x+h*v)-u(t0-h, x-h*v))/(2*h)
	_, skip, out := net.precondition(t0, until)
	for token := range net.tokens {
		row := tokens[token*width:]
		for k := range net.patch {
			if got := float64(row[in+k])*out + skip*x; math.Abs(got-want) > 1e-3 {
				t.Fatalf("target %v, %v expected, %v before", got, want, v)
			}
		}
	}
}

// TestMeanFlowModel trains one, draws from it in one evaluation a shower, and asks models that can't for the same.
func TestMeanFlowModel(t *testing.T) {
	src := toy(lookup(t, "mini"), 120, 1)
	s := small("quantile")
	s.Shape.Mean = true
	mean, err := Train(context.Background(), src, s, TrainOptions{})
	if err != nil {
		t.Fatal(err)
	}
	in := LogUniform(1e3, 1e5, 20, 5)
	o := GenerateOptions{Seed: 3, Solving: Solving{Solver: meanFlow, Steps: 1, EnergySteps: 2}, Threads: 2}
	one, _ := drawn(t, mean.Model, in, o)
	o.Threads = 1
	if again, _ := drawn(t, mean.Model, in, o); !slices.Equal(one, again) {
		t.Error("the showers depend on the number of threads")
	}
	o.Steps = 4
	if four, _ := drawn(t, mean.Model, in, o); slices.Equal(one, four) {
		t.Error("four steps draw what one draws")
	}
	s.Shape.Mean = false
	plain, err := Train(context.Background(), src, s, TrainOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := plain.Model.Generate(context.Background(), in, o, nil); !errors.Is(err, ErrSettings) {
		t.Errorf("mean velocities of a model that has not learned them: %v", err)
	}
}
