package flows_test

import (
	"errors"
	"math"
	"testing"

	"hepmorph/flows"
	"hepmorph/internal/ad"
	"hepmorph/internal/nn"
	"hepmorph/internal/rng"
)

// logistic is x' = x(1−x)(1+cos t), whose solution is x/(1−x) = C·exp(t + sin t).
type logistic struct{ calls int }

func (*logistic) Dim() int { return 1 }

func (l *logistic) Velocity(v, x []float64, n int, t float64) {
	l.calls++
	for i := range n {
		v[i] = x[i] * (1 - x[i]) * (1 + math.Cos(t))
	}
}

func exactLogistic(x, t0, t1 float64) float64 {
	c := x / (1 - x) * math.Exp(t1+math.Sin(t1)-t0-math.Sin(t0))
	return c / (1 + c)
}

func TestOrderOfSolvers(t *testing.T) {
	order := map[string]float64{"euler": 1, "midpoint": 2, "heun": 2, "rk4": 4, "rk38": 4}
	start := []float64{0.05, 0.3, 0.7}
	for _, name := range flows.SolverNames() {
		if name == "dopri5" {
			continue
		}
		fail := func(steps int) float64 {
			s, err := flows.NewSolver[float64](name, steps, 0)
			if err != nil {
				t.Fatal(err)
			}
			x := append([]float64(nil), start...)
			f := &logistic{}
			calls, err := s.Solve(f, x, len(x), 0.2, 3)
			if err != nil || calls != f.calls {
				t.Fatalf("%s: %d evaluations counted, %d made: %v", name, calls, f.calls, err)
			}
			e := 0.0
			for i, v := range x {
				e = max(e, math.Abs(v-exactLogistic(start[i], 0.2, 3)))
			}
			return e
		}
		if slope := math.Log2(fail(64) / fail(128)); math.Abs(slope-order[name]) > 0.1 {
			t.Errorf("%s: the error falls with power %.3f of the step, want %g", name, slope, order[name])
		}
	}
}

func TestAdaptiveSolver(t *testing.T) {
	for _, tol := range []float64{1e-3, 1e-6, 1e-10} {
		s, err := flows.NewSolver[float64]("dopri5", 0, tol)
		if err != nil {
			t.Fatal(err)
		}
		x := []float64{0.05, 0.3, 0.7}
		calls, err := s.Solve(&logistic{}, x, 3, 3, -1) // backwards
		if err != nil {
			t.Fatal(err)
		}
		for i, v := range []float64{0.05, 0.3, 0.7} {
			if e := math.Abs(x[i] - exactLogistic(v, 3, -1)); e > 20*tol {
				t.Errorf("tolerance %g: error %g after %d evaluations", tol, e, calls)
			}
		}
	}
	s := &flows.DormandPrince[float64]{Relative: 1e-12, Absolute: 1e-12, Evaluations: 50}
	if _, err := s.Solve(&logistic{}, []float64{0.1}, 1, 0, 100); !errors.Is(err, flows.ErrSolver) {
		t.Errorf("too many evaluations: %v", err)
	}
	if _, err := s.Solve(broken{}, []float64{0.1}, 1, 0, 1); !errors.Is(err, flows.ErrSolver) {
		t.Errorf("a velocity of NaN: %v", err)
	}
	if _, err := flows.NewSolver[float64]("rk5", 10, 0); err == nil {
		t.Error("an unknown name is accepted")
	}
	if _, err := flows.NewSolver[float64]("rk4", 0, 0); err == nil {
		t.Error("no steps are accepted")
	}
}

type broken struct{}

func (broken) Dim() int { return 1 }
func (broken) Velocity(v, x []float64, n int, t float64) {
	for i := range v {
		v[i] = math.NaN()
	}
}

// swirl is the exact velocity of flow matching from a normal to two islands in two dimensions, up to a rotation with time.
type swirl struct{}

func (swirl) Dim() int { return 2 }
func (swirl) Velocity(v, x []float64, n int, t float64) {
	for i := range n {
		a, b := x[2*i], x[2*i+1]
		s2 := (1-t)*(1-t) + 0.04*t*t
		w := math.Tanh(2 * t * a / s2) // which island
		va := w*2 + (0.04*t-(1-t))/s2*(a-2*t*w)
		vb := (t - (1 - t)) / ((1-t)*(1-t) + t*t) * b
		v[2*i], v[2*i+1] = va+0.5*b*t, vb-0.5*a*t*(1-t)
	}
}

func TestBespokeSolvers(t *testing.T) {
	const n = 1200
	draw := func(seed uint64) []float64 {
		s := rng.NewKey(seed, "swirl").At(0)
		x := make([]float64, 2*n)
		for i := range x {
			x[i] = s.Norm()
		}
		return x
	}
	train, test := draw(1), draw(2)
	truth := append([]float64(nil), test...)
	solve := func(s flows.Solver[float64], x []float64) int {
		calls, err := s.Solve(swirl{}, x, n, 0, 1)
		if err != nil {
			t.Fatal(err)
		}
		return calls
	}
	exact, _ := flows.NewSolver[float64]("rk4", 400, 0)
	solve(exact, truth)
	distance := func(s flows.Solver[float64], evaluations int) float64 {
		x := append([]float64(nil), test...)
		if calls := solve(s, x); calls != evaluations {
			t.Errorf("%d evaluations, want %d", calls, evaluations)
		}
		sum := 0.0
		for i := range x {
			sum += (x[i] - truth[i]) * (x[i] - truth[i])
		}
		return math.Sqrt(sum / float64(len(x)))
	}
	before := append([]float64(nil), train...)
	ns, own, err := flows.FitNonStationary(swirl{}, train, n, 8, flows.FitSettings{})
	if err != nil {
		t.Fatal(err)
	}
	st, ownST, err := flows.FitScaleTime(swirl{}, train, n, 4, flows.FitSettings{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range train {
		if train[i] != before[i] {
			t.Fatal("the fit changes its rows")
		}
	}
	euler, _ := flows.NewSolver[float64]("euler", 8, 0)
	midpoint, _ := flows.NewSolver[float64]("midpoint", 4, 0)
	e, m, a, b := distance(euler, 8), distance(midpoint, 8), distance(ns, 8), distance(st, 8)
	t.Logf("euler %.4f midpoint %.4f non-stationary %.4f (fit %.4f) scale-time %.4f (fit %.4f)", e, m, a, own.Own, b, ownST.Own)
	if a > e/10 || b > m/1.1 || a > 2*own.Own || b > 1.5*ownST.Own || math.Abs(own.Midpoint/m-1) > 0.5 {
		t.Errorf("8 evaluations end at distance %.4f (Euler), %.4f (midpoint), %.4f (non-stationary, %.4f in the fit), %.4f (scale-time, %.4f in the fit)", e, m, a, own.Own, b, ownST.Own)
	}
	if err := errors.Join(ns.Check(8), st.Check(8)); err != nil {
		t.Error(err)
	}
	broken := *ns
	broken.B = broken.B[:7]
	if broken.Check(8) == nil || ns.Check(7) == nil || st.Check(6) == nil {
		t.Error("solvers of other sizes are accepted")
	}
	if _, err := ns.Solve(swirl{}, test, n, 0, 0.5); err == nil {
		t.Error("another span is accepted")
	}
	if _, _, err := flows.FitNonStationary(swirl{}, train, n-1, 8, flows.FitSettings{}); err == nil {
		t.Error("a wrong number of rows is accepted")
	}
}

// TestFlowMatching trains on x1 ~ N(0,1), where the best loss is π/2, and solves the equation, which should keep the sample as it is.
func TestFlowMatching(t *testing.T) {
	pool := flows.NewPool(2)
	defer pool.Close()
	ps := flows.NewParams[float32]()
	net, err := flows.NewVelocityNet(ps, flows.VelocitySettings{Features: 1, Hidden: 32, Blocks: 1, Frequencies: 2, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	p := ad.NewProgram(ps)
	net.MatchLoss(p, nil, func() flows.Tensor { return p.Input(1) })
	const n = 1024
	sh := ad.NewShards(ps, 4)
	e := p.Compile(flows.Best(), pool, sh, ad.Settings{})
	opt := nn.NewAdam(ps, sh, flows.Best(), pool, nn.AdamSettings{})
	x1, w := make([]float32, 64*n), make([]float32, n)
	s := rng.NewKey(1, "x1").At(0)
	for i := range x1 {
		x1[i] = float32(s.Norm())
	}
	for i := range w {
		w[i] = 1.0 / n
	}
	m := &flows.Matching[float32]{Features: 1, Frequencies: 2, Key: rng.NewKey(1, "matching")}
	run := &ad.Run[float32]{N: n, Backward: true, Losses: make([]float64, 1), Inputs: []ad.Source[float32]{{Fill: m.Fill}, {Data: w}}}
	const steps = 600
	mean := 0.0
	for step := range steps {
		m.Step, m.X1 = uint64(step), x1[step%64*n:][:n]
		run.Losses[0] = 0
		e.Run(run)
		if step == 0 && math.Abs(run.Losses[0]-2) > 0.2 {
			t.Errorf("the loss of v = 0 is %.3f, want 2", run.Losses[0])
		}
		if step >= steps-150 {
			mean += run.Losses[0] / 150
		}
		opt.Update(3e-3 * nn.Cosine(20)(step, steps))
	}
	if math.Abs(mean-math.Pi/2) > 0.03 {
		t.Errorf("the loss ends at %.4f, the best one is π/2", mean)
	}
	f := flows.NewField(net, flows.Best(), pool)
	x := append([]float32(nil), x1[:n]...)
	solver, _ := flows.NewSolver[float32]("rk4", 20, 0)
	if _, err := solver.Solve(f, x, n, 0, 1); err != nil {
		t.Fatal(err)
	}
	q := 0.0
	for i := range x {
		q += float64(x[i]-x1[i]) * float64(x[i]-x1[i]) / n
	}
	if math.Sqrt(q) > 0.15 {
		t.Errorf("the map from a normal to a normal moves by %.3f", math.Sqrt(q))
	}
}

func TestVelocityGradients(t *testing.T) {
	pool := flows.NewPool(1)
	defer pool.Close()
	ps := flows.NewParams[float64]()
	net, err := flows.NewVelocityNet(ps, flows.VelocitySettings{Features: 2, Context: 1, Hidden: 7, Blocks: 2, Frequencies: 2, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	random(ps, 0.5)
	p := ad.NewProgram(ps)
	net.MatchLoss(p, func() flows.Tensor { return p.Input(1) }, func() flows.Tensor { return p.Input(1) })
	sh := ad.NewShards(ps, 2)
	e := p.Compile(flows.Portable[float64](), pool, sh, ad.Settings{Items: 8})
	const n = 19
	draw := func(k int) []float64 {
		v := make([]float64, n*k)
		s := rng.NewKey(2, "rows").At(uint64(k))
		for i := range v {
			v[i] = s.Norm()
		}
		return v
	}
	m := &flows.Matching[float64]{Features: 2, Frequencies: 2, X0: draw(2), X1: draw(2), Key: rng.NewKey(1, "matching")}
	run := &ad.Run[float64]{N: n, Backward: true, Losses: make([]float64, 1), Inputs: []ad.Source[float64]{{Fill: m.Fill}, {Data: draw(1)}, {Data: draw(1)}}}
	value := func() float64 {
		run.Losses[0] = 0
		e.Run(run)
		return run.Losses[0]
	}
	value()
	grad := append([]float64(nil), sh.G[0]...)
	for i, v := range sh.G[1] {
		grad[i] += v
	}
	for _, par := range ps.List {
		for k := par.Off; k < par.Off+par.Size(); k += 5 {
			old := ps.W[k]
			if ps.Mask[k] == 0 {
				continue
			}
			ps.W[k] = old + 1e-6
			up := value()
			ps.W[k] = old - 1e-6
			down := value()
			ps.W[k] = old
			if want := (up - down) / 2e-6; math.Abs(grad[k]-want) > 1e-6*max(1, math.Abs(want)) {
				t.Errorf("%s: gradient %v, differences say %v", par.Name, grad[k], want)
			}
		}
	}
}
