package flows_test

import (
	"math"
	"testing"

	"hepmorph/flows"
	"hepmorph/internal/ad"
	"hepmorph/internal/nn"
	"hepmorph/internal/rng"
)

// TestMeanFlow learns the mean velocity from N(0,1) to N(2c, 1/4), whose paths are known: x_0 ends at 2c + x_0/2. One evaluation must end there,
// where one Euler step of the velocity loses the width; four must, and the velocity itself in many small steps.
func TestMeanFlow(t *testing.T) {
	pool := flows.NewPool(2)
	defer pool.Close()
	ps := flows.NewParams[float32]()
	net, err := flows.NewVelocityNet(ps, flows.VelocitySettings{Features: 1, Context: 1, Hidden: 64, Blocks: 2, Frequencies: 2, Mean: true, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	p := ad.NewProgram(ps)
	net.MatchLoss(p, func() flows.Tensor { return p.Input(1) }, func() flows.Tensor { return p.Input(1) })
	const n, steps = 256, 6000
	sh := ad.NewShards(ps, 4)
	e := p.Compile(flows.Best(), pool, sh, ad.Settings{})
	opt := nn.NewAdam(ps, sh, flows.Best(), pool, nn.AdamSettings{Clip: 1, Average: 0.99})
	m := flows.NewMeanMatching(net, flows.Best(), pool, rng.NewKey(1, "mean"))
	m.Share = 0.5
	x1, c, w := make([]float32, n), make([]float32, n), make([]float32, n)
	for step := range steps {
		s := rng.NewKey(1, "ends").At(uint64(step))
		for i := range x1 {
			c[i] = float32(2*s.Float64() - 1)
			x1[i], w[i] = 2*c[i]+0.5*float32(s.Norm()), 1.0/n
		}
		rows := m.Rows(uint64(step), x1, c, n)
		e.Run(&ad.Run[float32]{N: n, Backward: true, Losses: make([]float64, 1), Inputs: []ad.Source[float32]{{Data: rows}, {Data: c}, {Data: w}}})
		opt.Update(2e-3 * nn.Cosine(20)(step, steps))
	}
	copy(ps.W, opt.Mean)
	f := flows.NewField(net, flows.Best(), pool)
	f.C = make([]float32, n)
	off := func(s flows.Solver[float32], evaluations int) float64 {
		x, sum := make([]float32, n), 0.0
		r := rng.NewKey(2, "starts").At(0)
		for i := range x {
			x[i], f.C[i] = float32(r.Norm()), float32(2*r.Float64()-1)
		}
		start := append([]float32(nil), x...)
		if calls, err := s.Solve(f, x, n, 0, 1); err != nil || calls != evaluations {
			t.Fatal(calls, err)
		}
		for i, v := range x {
			d := float64(v - 2*f.C[i] - start[i]/2)
			sum += d * d / n
		}
		return math.Sqrt(sum)
	}
	euler, _ := flows.NewSolver[float32]("euler", 1, 0)
	rk4, _ := flows.NewSolver[float32]("rk4", 20, 0)
	euler4, _ := flows.NewSolver[float32]("euler", 4, 0)
	plain4 := off(euler4, 4)
	one, four := off(&flows.MeanFlow[float32]{Steps: 1}, 1), off(&flows.MeanFlow[float32]{Steps: 4}, 4)
	plain, exact := off(euler, 1), off(rk4, 80)
	if !(one < 0.5*plain && four < 0.4*plain4 && exact < 0.1) {
		t.Errorf("end points off by %.3f in one mean step, %.3f in four; %.3f in one Euler step, %.3f in four; %.3f in 20 RK4 steps", one, four, plain, plain4, exact)
	}
	if _, err := (&flows.MeanFlow[float64]{Steps: 1}).Solve(swirl{}, make([]float64, 2), 1, 0, 1); err == nil {
		t.Error("a velocity without means is accepted")
	}
}
