package mdmm

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"testing"

	"hepmorph/internal/rng"
)

// A problem has its solution in pencil and paper: x and the derivative of the optimum by the bound, which is the size of
// the multiplier.
type problem struct {
	name   string
	start  []float64
	grad   func(x, g []float64)                             // gradient of the loss, added to g
	values func(x []float64) []float64                      // of all constraints
	jac    func(x []float64, k int, g []float64, w float64) // adds w times the gradient of value k
	x      []float64
	cons   map[string][]Constraint // by family
	lambda []float64               // size, in the order of values
}

func linear(c ...float64) func(x, g []float64, w float64) {
	return func(_, g []float64, w float64) {
		for i, v := range c {
			g[i] += w * v
		}
	}
}

func dot(c []float64, x []float64) (s float64) {
	for i := range c {
		s += c[i] * x[i]
	}
	return s
}

// upper writes value <= bound in the published and the recommended form.
func upper(name string, bound float64) map[string][]Constraint {
	return map[string][]Constraint{
		"at most": {{Name: name, Kind: AtMost, Max: bound}},
		"within":  {{Name: name, Kind: Within, Min: -100, Max: bound}},
		"max":     {{Name: name, Kind: Max, Max: bound, Slack: 0.1}},
	}
}

var problems = []problem{
	{
		name: "parabola, x <= 1", start: []float64{3},
		grad:   func(x, g []float64) { g[0] += 2 * (x[0] - 2) },
		values: func(x []float64) []float64 { return []float64{x[0]} },
		jac:    func(_ []float64, _ int, g []float64, w float64) { g[0] += w },
		x:      []float64{1}, lambda: []float64{2}, cons: upper("x", 1),
	},
	{
		name: "parabola, x >= 3", start: []float64{0},
		grad:   func(x, g []float64) { g[0] += 2 * (x[0] - 2) },
		values: func(x []float64) []float64 { return []float64{x[0]} },
		jac:    func(_ []float64, _ int, g []float64, w float64) { g[0] += w },
		x:      []float64{3}, lambda: []float64{2},
		cons: map[string][]Constraint{
			"at least": {{Name: "x", Kind: AtLeast, Min: 3}},
			"within":   {{Name: "x", Kind: Within, Min: 3, Max: 100}},
			"min":      {{Name: "x", Kind: Min, Min: 3, Slack: 0.1}},
		},
	},
	{
		name: "circle, x + y = 1", start: []float64{2, -3},
		grad:   func(x, g []float64) { g[0] += 2 * x[0]; g[1] += 2 * x[1] },
		values: func(x []float64) []float64 { return []float64{x[0] + x[1]} },
		jac:    func(x []float64, _ int, g []float64, w float64) { linear(1, 1)(x, g, w) },
		x:      []float64{0.5, 0.5}, lambda: []float64{1},
		cons: map[string][]Constraint{"eq": {{Name: "sum", Kind: Eq, Target: 1}}, "equal": {{Name: "sum", Kind: Equal, Target: 1}}},
	},
	{
		// minimise 1-x^2 subject to x <= eps: the Hessian of the Lagrangian is -2, damping above 2 makes it positive.
		name: "concave front", start: []float64{0.6},
		grad:   func(x, g []float64) { g[0] -= 2 * x[0] },
		values: func(x []float64) []float64 { return []float64{x[0]} },
		jac:    func(_ []float64, _ int, g []float64, w float64) { g[0] += w },
		x:      []float64{0.3}, lambda: []float64{0.6},
		cons: map[string][]Constraint{
			"at most": {{Name: "x", Kind: AtMost, Max: 0.3, Damping: 5}},
			"equal":   {{Name: "x", Kind: Equal, Target: 0.3, Damping: 5}},
			"eq":      {{Name: "x", Kind: Eq, Target: 0.3, Damping: 5}},
			"within":  {{Name: "x", Kind: Within, Min: -1, Max: 0.3, Damping: 5}},
		},
	},
	{
		// Beale's problem (Hock and Schittkowski 35).
		name: "HS35, x + y + 2z <= 3", start: []float64{0.5, 0.5, 0.5},
		grad: func(x, g []float64) {
			g[0] += -8 + 4*x[0] + 2*x[1] + 2*x[2]
			g[1] += -6 + 2*x[0] + 4*x[1]
			g[2] += -4 + 2*x[0] + 2*x[2]
		},
		values: func(x []float64) []float64 { return []float64{dot([]float64{1, 1, 2}, x)} },
		jac:    func(x []float64, _ int, g []float64, w float64) { linear(1, 1, 2)(x, g, w) },
		x:      []float64{4.0 / 3, 7.0 / 9, 4.0 / 9}, lambda: []float64{2.0 / 9}, cons: upper("plane", 3),
	},
	{
		// A vector constraint: the projection of (3, 0.5, -2) on the box [-1,1]^3; only two sides act.
		name: "box", start: []float64{0, 0, 0},
		grad: func(x, g []float64) {
			for i, a := range []float64{3, 0.5, -2} {
				g[i] += x[i] - a
			}
		},
		values: func(x []float64) []float64 { return x },
		jac:    func(_ []float64, k int, g []float64, w float64) { g[k] += w },
		x:      []float64{1, 0.5, -1}, lambda: []float64{2, 0, 1},
		cons: map[string][]Constraint{"within": {{Name: "box", Kind: Within, Min: -1, Max: 1, Size: 3}}},
	},
	{
		// Rosenbrock's valley in the unit disc; x and multiplier from solving the two equations numerically.
		name: "Rosenbrock in the disc", start: []float64{0, 0},
		grad: func(x, g []float64) {
			d := x[1] - x[0]*x[0]
			g[0] += 2*(x[0]-1) - 400*x[0]*d
			g[1] += 200 * d
		},
		values: func(x []float64) []float64 { return []float64{x[0]*x[0] + x[1]*x[1]} },
		jac:    func(x []float64, _ int, g []float64, w float64) { g[0] += 2 * w * x[0]; g[1] += 2 * w * x[1] },
		x:      []float64{0.7864151510, 0.6176983125}, lambda: []float64{0.1214906},
		cons: map[string][]Constraint{"at most": {{Name: "r2", Kind: AtMost, Max: 1}}},
	},
	{
		// Two constraints of which one does not act: nearest point to (2,2) with x + y <= 2 and x <= 5.
		name: "one of two acts", start: []float64{-4, 9},
		grad:   func(x, g []float64) { g[0] += 2 * (x[0] - 2); g[1] += 2 * (x[1] - 2) },
		values: func(x []float64) []float64 { return []float64{x[0] + x[1], x[0]} },
		jac: func(x []float64, k int, g []float64, w float64) {
			g[0] += w
			if k == 0 {
				g[1] += w
			}
		},
		x: []float64{1, 1}, lambda: []float64{2, 0},
		cons: map[string][]Constraint{"at most": {{Name: "sum", Kind: AtMost, Max: 2}, {Name: "x", Kind: AtMost, Max: 5}}},
	},
}

// solve runs plain gradient descent with step lr, multipliers at rate up.
func (p *problem) solve(t *testing.T, l *Lagrangian, steps int, lr, up float64) []float64 {
	t.Helper()
	x := append([]float64{}, p.start...)
	g := make([]float64, len(x))
	for range steps {
		clear(g)
		p.grad(x, g)
		_, w := l.Weights(p.values(x))
		for k, wk := range w {
			p.jac(x, k, g, wk)
		}
		for i := range x {
			x[i] -= lr * g[i]
		}
		l.Ascend(up)
	}
	return x
}

func (l *Lagrangian) sizes() (out []float64) {
	for i := range l.cons {
		c, s := &l.cons[i], &l.states[i]
		for k := range c.size() {
			v := math.Abs(s.lambda[k])
			if c.Kind == Within {
				v = math.Abs(s.lambda[k] - s.lambda[c.size()+k])
			}
			out = append(out, v*c.scale())
		}
	}
	return out
}

func TestKnownSolutions(t *testing.T) {
	for _, p := range problems {
		for family, cons := range p.cons {
			l, err := New(cons...)
			if err != nil {
				t.Fatal(err)
			}
			lr, steps := 0.02, 20000
			if p.name == "Rosenbrock in the disc" {
				lr, steps = 5e-4, 200000
			}
			x := p.solve(t, l, steps, lr, lr)
			for i := range x {
				if !(math.Abs(x[i]-p.x[i]) < 1e-3) {
					t.Errorf("%s, %s: x = %v, want %v", p.name, family, x, p.x)
					break
				}
			}
			for i, lam := range l.sizes() {
				if !(math.Abs(lam-p.lambda[i]) < 1e-3) {
					t.Errorf("%s, %s: lambda = %v, want %v", p.name, family, l.sizes(), p.lambda)
					break
				}
			}
		}
	}
}

// Damping between 0.1 and 10, scales and the PI update end at the same point.
func TestSettingsDoNotMoveTheSolution(t *testing.T) {
	p := problems[0]
	for _, c := range []Constraint{
		{Damping: 0.1}, {Damping: 10}, {Damping: -1}, {Scale: 3}, {Scale: 0.3}, {Rate: 0.1}, {Average: 20},
		{KP: 1, Nu: 0.5}, {KP: 5, Nu: 0}, {Every: 4}, {Warmup: 500}, {Every: 3, Average: 5, Warmup: 100},
	} {
		c.Name, c.Kind, c.Max = "x", AtMost, 1
		l, err := New(c)
		if err != nil {
			t.Fatal(err)
		}
		x := p.solve(t, l, 30000, 0.01, 0.01)
		tol := 1e-3
		if c.Every > 1 {
			tol = 0.1 // between two evaluations x drifts by lr times the force
		}
		if lam := l.sizes()[0]; !(math.Abs(x[0]-1) < 1e-3) || !(math.Abs(lam-2) < tol) {
			t.Errorf("%+v: x = %v, lambda = %v", c, x, lam)
		}
	}
}

func TestAdamax(t *testing.T) {
	p := problems[2]
	l, err := New(p.cons["eq"]...)
	if err != nil {
		t.Fatal(err)
	}
	l.UseAdamax()
	x := p.solve(t, l, 20000, 0.01, 2e-3)
	if lam := l.sizes()[0]; !(math.Abs(x[0]-0.5) < 3e-3) || !(math.Abs(lam-1) < 1e-2) {
		t.Errorf("x = %v, lambda = %v", x, lam)
	}
}

// On the concave front plain descent-ascent does not settle; with damping it does (TestKnownSolutions).
func TestPlainDescentAscentCyclesOnTheConcaveFront(t *testing.T) {
	p := problems[3]
	for _, damping := range []float64{-1, 0.5} {
		l, err := New(Constraint{Name: "x", Kind: Equal, Target: 0.3, Damping: damping})
		if err != nil {
			t.Fatal(err)
		}
		x := append([]float64{}, p.start...)
		lo, hi := math.Inf(1), math.Inf(-1)
		const steps = 100000
		for i := range steps {
			g := []float64{0}
			p.grad(x, g)
			_, w := l.Weights(x)
			x[0] = min(max(x[0]-0.01*(g[0]+w[0]), 0), 1) // the front is defined on [0,1]
			l.Ascend(0.01)
			if i > steps*9/10 {
				lo, hi = min(lo, x[0]), max(hi, x[0])
			}
		}
		if hi-lo < 0.5 {
			t.Errorf("damping %v: x stays in [%v, %v] at the end", damping, lo, hi)
		}
	}
}

// The traps of the published forms, and that the recommended one has none of them.
func TestTraps(t *testing.T) {
	p := problems[0]
	// A slack of exactly 0 never moves: the inequality x <= 1 holds x at 1 although the loss wants it at 0.
	pull := problem{start: []float64{3}, grad: func(x, g []float64) { g[0] += 2 * x[0] }, values: p.values, jac: p.jac}
	published, err := New(Constraint{Name: "x", Kind: Max, Max: 1})
	if err != nil {
		t.Fatal(err)
	}
	if x := pull.solve(t, published, 20000, 0.02, 0.02); math.Abs(x[0]-1) > 1e-3 {
		t.Errorf("the published slack moved from 0: x = %v", x)
	}
	for _, c := range []Constraint{{Name: "x", Kind: Max, Max: 1, Slack: 0.1}, {Name: "x", Kind: AtMost, Max: 1}} {
		l, err := New(c)
		if err != nil {
			t.Fatal(err)
		}
		if x := pull.solve(t, l, 20000, 0.02, 0.02); math.Abs(x[0]) > 1e-3 {
			t.Errorf("%s: x = %v, want 0", c.Kind, x)
		}
		if lam := l.sizes()[0]; c.Kind == AtMost && lam != 0 {
			t.Errorf("%s: lambda %v has not decayed", c.Kind, lam)
		}
	}
	// The hard kinds keep the lambda they have gathered.
	hard, err := New(Constraint{Name: "x", Kind: MaxHard, Max: 1})
	if err != nil {
		t.Fatal(err)
	}
	pull.solve(t, hard, 20000, 0.02, 0.02)
	if lam := hard.states[0].lambda[0]; lam >= 0 {
		t.Errorf("max hard: lambda = %v, want a negative rest", lam)
	}
}

// The published formulas, number by number: inf, extra loss, derivative by the value.
func TestPublishedFormulas(t *testing.T) {
	const lam, scale, damp, slack = -0.7, 1.5, 2.0, 0.5
	for _, c := range []struct {
		kind          Kind
		v, inf, slope float64
	}{
		{Eq, 3, 2 - 3, -1},
		{Max, 3, 2 - 3 - slack*slack, -1},
		{Max, 1, 2 - 1 - slack*slack, -1},
		{MaxHard, 3, 2 - 3, -1},
		{MaxHard, 1, 0, 0},
		{Min, 3, 3 - 1 - slack*slack, 1},
		{Min, -1, -1 - 1 - slack*slack, 1},
		{MinHard, 3, 0, 0},
		{MinHard, -1, 1 - -1, -1},
		{BoundHard, 3, 2 - 3, -1},
		{BoundHard, 1.5, 0, 0},
		{BoundHard, -1, 1 - -1, -1},
	} {
		l, err := New(Constraint{Name: "c", Kind: c.kind, Target: 2, Min: 1, Max: 2, Scale: scale, Damping: damp})
		if err != nil {
			t.Fatal(err)
		}
		s := &l.states[0]
		s.lambda[0], s.slack[0], s.started[0] = lam, slack, true
		extra, w := l.Weights([]float64{c.v})
		wantE := scale * (lam*c.inf + damp*c.inf*c.inf/2)
		wantW := scale * (lam + damp*c.inf) * c.slope
		if math.Abs(extra-wantE) > 1e-15 || math.Abs(w[0]-wantW) > 1e-15 {
			t.Errorf("%s at %v: extra %v, weight %v; want %v, %v", c.kind, c.v, extra, w[0], wantE, wantW)
		}
		l.Ascend(0.1)
		if got, want := s.lambda[0], lam+0.1*scale*c.inf; math.Abs(got-want) > 1e-15 {
			t.Errorf("%s at %v: lambda %v, want %v", c.kind, c.v, got, want)
		}
		if c.kind == Max || c.kind == Min {
			want := slack + 0.1*2*slack*scale*(lam+damp*c.inf)
			if math.Abs(s.slack[0]-want) > 1e-15 {
				t.Errorf("%s: slack %v, want %v", c.kind, s.slack[0], want)
			}
		}
	}
	l, err := New(Constraint{Name: "c", Kind: Max, Max: 2}, Constraint{Name: "d", Kind: Min, Min: 1})
	if err != nil {
		t.Fatal(err)
	}
	l.Weights([]float64{1, 5})
	if l.states[0].slack[0] != 1 || l.states[1].slack[0] != 2 {
		t.Error("the slack does not start at the root of the room")
	}
}

// The weight is the derivative of the extra loss, for every kind.
func TestWeightsAgainstDifferences(t *testing.T) {
	for _, kind := range []Kind{Eq, Max, MaxHard, Min, MinHard, BoundHard, Equal, AtMost, AtLeast, Within} {
		for _, v := range []float64{-3, -0.9, 0.2, 0.9, 4} {
			for _, lam := range []float64{0, 0.8} {
				at := func(v float64) (float64, float64) {
					l, err := New(Constraint{Name: "c", Kind: kind, Target: 0.5, Min: -1, Max: 1, Scale: 2, Damping: 3})
					if err != nil {
						t.Fatal(err)
					}
					s := &l.states[0]
					s.lambda[0], s.slack[0], s.started[0] = lam, 0.7, true
					e, w := l.Weights([]float64{v})
					return e, w[0]
				}
				const h = 1e-6
				up, _ := at(v + h)
				down, _ := at(v - h)
				_, w := at(v)
				if d := (up - down) / (2 * h); math.Abs(d-w) > 1e-6*max(1, math.Abs(w)) {
					t.Errorf("%s at %v, lambda %v: weight %v, differences give %v", kind, v, lam, w, d)
				}
			}
		}
	}
}

// With noise in the value, averaging keeps the solution while the damping of a noisy value moves it: a bound that does
// not act on the mean is touched by single values.
func TestAveragingIgnoresTheVariance(t *testing.T) {
	solve := func(c Constraint) float64 {
		l, err := New(c)
		if err != nil {
			t.Fatal(err)
		}
		noise := rng.NewKey(1, "noise")
		x, sum, n := 0.0, 0.0, 0
		for i := range 60000 {
			s := noise.At(uint64(i))
			e := 1 + s.Norm()
			_, w := l.Weights([]float64{x * e}) // mean x, standard deviation |x|
			x -= 0.003 * (2*(x-2) + w[0]*e)
			l.Ascend(0.003)
			if i > 30000 {
				sum += x
				n++
			}
		}
		return sum / float64(n)
	}
	avg := solve(Constraint{Name: "x", Kind: Equal, Target: 1, Damping: 5, Average: 500})
	if math.Abs(avg-1) > 0.02 {
		t.Errorf("averaged: x = %v, want 1", avg)
	}
	inactive := solve(Constraint{Name: "x", Kind: AtMost, Max: 3, Damping: 5, Average: 500})
	if math.Abs(inactive-2) > 0.02 {
		t.Errorf("an averaged bound that does not act moves x to %v", inactive)
	}
	if noisy := solve(Constraint{Name: "x", Kind: AtMost, Max: 3, Damping: 5}); noisy > inactive-0.05 {
		t.Errorf("without averaging x = %v: the test shows nothing", noisy)
	}
}

// The PI update damps the oscillation of a fast multiplier.
func TestPIUpdateDamps(t *testing.T) {
	amplitude := func(c Constraint) float64 {
		c.Name, c.Kind, c.Target, c.Rate = "x", Equal, 1, 0.4
		c.Damping = -1
		l, err := New(c)
		if err != nil {
			t.Fatal(err)
		}
		x, worst := 0.0, 0.0
		for i := range 400 {
			_, w := l.Weights([]float64{x})
			x -= 0.02 * (2*(x-2) + w[0])
			l.Ascend(0)
			if i > 200 {
				worst = max(worst, math.Abs(x-1))
			}
		}
		return worst
	}
	plain, pi := amplitude(Constraint{}), amplitude(Constraint{KP: 4, Nu: 0.1})
	if !(pi < plain/10) {
		t.Errorf("amplitude %v with PI, %v without", pi, plain)
	}
}

func TestInfeasibleIsReported(t *testing.T) {
	l, err := New(Constraint{Name: "never", Kind: AtMost, Max: -1, Limit: 50})
	if err != nil {
		t.Fatal(err)
	}
	for range 2000 {
		l.Weights([]float64{1})
		l.Ascend(0.1)
	}
	r := l.Records()[0]
	if r.Status != "violated" || r.Feasible != -1 || r.Multiplier != 50 || r.Violation != 2 {
		t.Errorf("%+v", r)
	}
}

func TestRecords(t *testing.T) {
	l, err := New(
		Constraint{Name: "a", Unit: "GeV", Kind: AtMost, Max: 2, Size: 3},
		Constraint{Name: "b", Kind: Within, Min: -1, Max: 1},
		Constraint{Name: "late", Kind: Equal, Target: 1, Warmup: 10},
	)
	if err != nil {
		t.Fatal(err)
	}
	_, w := l.Weights([]float64{1, 5, 2, -4, 3})
	if w[0] != 0 || w[1] <= 0 || w[3] >= 0 || w[4] != 0 {
		t.Errorf("weights %v", w)
	}
	l.Ascend(0.1)
	r := l.Records()
	if r[0].Index != 1 || r[0].Value != 5 || r[0].Violation != 3 || math.Abs(r[0].Multiplier-0.3) > 1e-12 || r[0].Status != "violated" {
		t.Errorf("%+v", r[0])
	}
	if r[1].Violation != 3 || math.Abs(r[1].Multiplier-0.3) > 1e-12 || r[2].Status != "waiting" {
		t.Errorf("%+v\n%+v", r[1], r[2])
	}
	if _, err := json.Marshal(r); err != nil {
		t.Error(err)
	}
}

// A run that is stopped after any step, its state sent through JSON, continues to the same bits.
func TestStateRoundTrip(t *testing.T) {
	cons := []Constraint{
		{Name: "slack", Kind: Max, Max: 1}, {Name: "avg", Kind: AtMost, Max: 1, Average: 7, KP: 0.3, Nu: 0.4},
		{Name: "two", Kind: Within, Min: -0.1, Max: 0.1, Size: 2, Every: 3}, {Name: "eq", Kind: Eq, Target: 0.1, Warmup: 5},
	}
	values := func(step int) []float64 {
		s := rng.NewKey(3, "values").At(uint64(step))
		v := make([]float64, 5)
		for i := range v {
			v[i] = s.Norm() / 3
		}
		return v
	}
	for _, adamax := range []bool{false, true} {
		fresh := func() *Lagrangian {
			l, err := New(cons...)
			if err != nil {
				t.Fatal(err)
			}
			if adamax {
				l.UseAdamax()
			}
			return l
		}
		whole := fresh()
		var trace []State
		for i := range 40 {
			whole.Weights(values(i))
			whole.Ascend(0.1)
			trace = append(trace, whole.State())
		}
		for stop := range 40 {
			text, err := json.Marshal(trace[stop])
			if err != nil {
				t.Fatal(err)
			}
			var st State
			if err := json.Unmarshal(text, &st); err != nil {
				t.Fatal(err)
			}
			l, err := New(cons...)
			if err != nil {
				t.Fatal(err)
			}
			if err := l.Restore(st); err != nil {
				t.Fatal(err)
			}
			for i := stop + 1; i < 40; i++ {
				l.Weights(values(i))
				l.Ascend(0.1)
			}
			if !reflect.DeepEqual(l.State(), trace[39]) {
				t.Fatalf("stopped after step %d: another end", stop)
			}
		}
	}
}

func TestRestoreRefusesAnotherState(t *testing.T) {
	mk := func(c ...Constraint) *Lagrangian {
		l, err := New(c...)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	l := mk(Constraint{Name: "a", Kind: AtMost, Max: 1})
	good := l.State()
	for name, change := range map[string]func(*State){
		"count":  func(s *State) { s.Constraints = nil },
		"name":   func(s *State) { s.Constraints[0].Name = "b" },
		"kind":   func(s *State) { s.Constraints[0].Kind = Max },
		"size":   func(s *State) { s.Constraints[0].Lambda = []float64{1, 2} },
		"NaN":    func(s *State) { s.Constraints[0].Lambda = []float64{math.NaN()} },
		"step":   func(s *State) { s.Step = -1 },
		"values": func(s *State) { s.Constraints[0].Mean = nil },
	} {
		st := l.State()
		change(&st)
		if err := l.Restore(st); !errors.Is(err, ErrState) {
			t.Errorf("%s: %v", name, err)
		}
		if !reflect.DeepEqual(l.State(), good) {
			t.Errorf("%s: the refused state left traces", name)
		}
	}
}

func TestBadConstraints(t *testing.T) {
	for _, c := range []Constraint{
		{}, {Name: "a"}, {Name: "a", Kind: "less"}, {Name: "a", Kind: Within, Min: 2, Max: 1}, {Name: "a", Kind: AtMost, Max: math.NaN()},
		{Name: "a", Kind: AtMost, Scale: -1}, {Name: "a", Kind: AtMost, Nu: 1}, {Name: "a", Kind: Max, Average: 3}, {Name: "a", Kind: AtMost, Size: -1},
	} {
		if _, err := New(c); err == nil {
			t.Errorf("%+v is accepted", c)
		}
	}
	if _, err := New(Constraint{Name: "a", Kind: Eq}, Constraint{Name: "a", Kind: Max}); err == nil {
		t.Error("two of one name")
	}
}

func TestNonFiniteValuesLeaveTheStateAlone(t *testing.T) {
	l, err := New(Constraint{Name: "a", Kind: AtMost, Max: 1}, Constraint{Name: "b", Kind: AtMost, Max: 1})
	if err != nil {
		t.Fatal(err)
	}
	extra, w := l.Weights([]float64{math.NaN(), 3})
	if !math.IsNaN(extra) || w[0] != 0 || w[1] != 2 {
		t.Errorf("%v %v", extra, w)
	}
	l.Ascend(1)
	if l.states[0].lambda[0] != 0 || l.states[1].lambda[0] != 2 {
		t.Error("multipliers moved wrongly")
	}
	if allocs := testing.AllocsPerRun(10, func() { l.Weights([]float64{1, 2}); l.Ascend(1) }); allocs > 0 {
		t.Errorf("%v allocations in a step", allocs)
	}
}

func ExampleLagrangian() {
	// Minimise (x-2)^2 subject to x <= 1.
	l, err := New(Constraint{Name: "x", Kind: AtMost, Max: 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	x := 0.0
	for range 5000 {
		_, w := l.Weights([]float64{x})
		x -= 0.02 * (2*(x-2) + w[0])
		l.Ascend(0.02)
	}
	fmt.Printf("x = %.3f, lambda = %.3f\n", x, l.Records()[0].Multiplier)
	// Output: x = 1.000, lambda = 2.000
}
