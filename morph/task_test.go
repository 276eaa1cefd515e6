package morph

import (
	"math"
	"reflect"
	"slices"
	"testing"

	"hepmorph/flows"
	"hepmorph/internal/ad"
	"hepmorph/internal/nn"
	"hepmorph/internal/rng"
)

// gauss makes simulation and data of two features and one condition whose laws are known: x|c ~ N(c, 1) and N(c/2 + 0.5, 0.8²).
func gauss(n int, seed uint64) *trainingData {
	set := func(a, b, s float64, name string) *sampleSet {
		k := rng.NewKey(seed, name)
		out := &sampleSet{n: n}
		for i := range n {
			st := k.At(uint64(i))
			c := st.Norm()
			out.c = append(out.c, float32(c))
			for range 2 {
				out.x = append(out.x, float32(a*c+b+s*st.Norm()))
			}
			out.w, out.given = append(out.w, 1), append(out.given, 1)
			out.keys = append(out.keys, uint64(i))
		}
		return out
	}
	td := &trainingData{sim: set(1, 0, 1, "sim"), simVal: set(1, 0, 1, "sim val"), data: set(0.5, 0.5, 0.8, "data"), dataVal: set(0.5, 0.5, 0.8, "data val")}
	h := func(x []float32, i int) float64 { return float64(x[2*i] + 2*x[2*i+1]) }
	obs := derived{name: "h", inside: func(float64) bool { return true }, value: func(rows []int32, x []float32, v []float64, grad []float32) error {
		for i := range rows {
			v[i] = h(x, i)
			if grad != nil {
				grad[2*i], grad[2*i+1] = 1, 2
			}
		}
		return nil
	}}
	for i := range n {
		obs.data = append(obs.data, h(td.data.x, i))
	}
	td.observed = []derived{obs}
	return td
}

func smallTask(t *testing.T, method Method, cons ...boundQuantity) *task {
	t.Helper()
	pool := ad.NewPool(2)
	t.Cleanup(pool.Close)
	net, err := newNetwork(method, Own, 2, 1, FlowConfig{Kind: "nsf", Transforms: 2, Hidden: []int{24, 24}, Bins: 6}, 1)
	if err != nil {
		t.Fatal(err)
	}
	tk, err := newTask(net, gauss(3000, 1), pool, taskSettings{batch: 256, rate: 5e-3, schedule: nn.Constant, seed: 1, lambdaRate: 0.1,
		adam: nn.AdamSettings{Clip: 5}, constraints: cons})
	if err != nil {
		t.Fatal(err)
	}
	return tk
}

func TestSwitchStartsAsTheIdentity(t *testing.T) {
	tk := smallTask(t, Switch)
	s := tk.td.sim
	out := make([]float32, len(s.x))
	tk.net.mover(tk.pool).move(s.n, out, s.x, s.c, s.keys, 1)
	for i := range out {
		if math.Abs(float64(out[i]-s.x[i])) > 1e-4 {
			t.Fatalf("row %d moves from %v to %v before any step", i/2, s.x[i], out[i])
		}
	}
}

// TestDomainDecay holds the weights on the domain back: the morph moves less, and without them it is the identity.
func TestDomainDecay(t *testing.T) {
	moved := func(tk *task) (sum float64) {
		s := tk.td.simVal
		out := make([]float32, len(s.x))
		tk.net.mover(tk.pool).move(s.n, out, s.x, s.c, s.keys, 1)
		for i := range out {
			sum += math.Abs(float64(out[i]-s.x[i])) / float64(len(out))
		}
		return sum
	}
	var distance []float64
	for _, decay := range []float64{0, 5, 50} {
		tk := smallTask(t, Switch)
		tk.domainDecay = decay
		for i := range 200 {
			if _, err := tk.Step(i, 200, 1); err != nil {
				t.Fatal(err)
			}
		}
		distance = append(distance, moved(tk))
		for _, at := range tk.net.domain {
			tk.net.ps.W[at] = 0
		}
		if d := moved(tk); d > 1e-4 {
			t.Errorf("without the weights on the domain features move by %.3g", d)
		}
	}
	t.Logf("features move by %.3f with decays of 0, 5, 50", distance)
	if distance[1] > 0.95*distance[0] || distance[2] > 0.7*distance[1] {
		t.Errorf("features move by %.3f with decays of 0, 5, 50", distance)
	}
}

// TestMethodsLearnAKnownMap trains both methods on Gaussians: the switch must reach the exact map 0.5 + c/2 + 0.8 (x − c).
func TestMethodsLearnAKnownMap(t *testing.T) {
	for _, method := range []Method{Switch, CNF} {
		tk := smallTask(t, method)
		for i := range 400 {
			tk.schedule = func(step, total int) float64 { return 1 - float64(i)/400 }
			if _, err := tk.Step(i, 400, 1); err != nil {
				t.Fatal(err)
			}
		}
		s, d := tk.td.simVal, tk.td.dataVal
		out := make([]float32, len(s.x))
		tk.net.mover(tk.pool).move(s.n, out, s.x, s.c, s.keys, 1)
		var off, m, q, md, qd float64
		for i := range s.n {
			c := float64(s.c[i])
			off += math.Abs(float64(out[2*i])-(0.5+c/2+0.8*(float64(s.x[2*i])-c))) / float64(s.n)
			m += float64(out[2*i]) / float64(s.n)
			q += float64(out[2*i]) * float64(out[2*i]) / float64(s.n)
			md += float64(d.x[2*i]) / float64(s.n)
			qd += float64(d.x[2*i]) * float64(d.x[2*i]) / float64(s.n)
		}
		if math.Abs(m-md) > 0.1 || math.Abs(math.Sqrt(q-m*m)-math.Sqrt(qd-md*md)) > 0.1 {
			t.Errorf("%s: mean %.3f sd %.3f, data %.3f %.3f", method, m, math.Sqrt(q-m*m), md, math.Sqrt(qd-md*md))
		}
		if method == Switch && off > 0.12 {
			t.Errorf("switch: rows are %.3f off the exact map on average", off)
		}
		if method == CNF && off < 0.3 {
			t.Errorf("cnf: rows are only %.3f off the exact map, though it draws them anew", off)
		}
	}
}

// TestConstraintGradients compares what push adds to the shards with central differences of the weighted values, in float32.
func TestConstraintGradients(t *testing.T) {
	for _, method := range []Method{Switch, CNF} {
		for _, q := range []boundQuantity{{kind: "mmd", max: 0.01, events: 400}, {kind: "transport", max: 0.1, events: 400}, {kind: "corr", max: 0.1, events: 400},
			{kind: "mean", observable: "h", max: 0.1, events: 500}, {kind: "width", observable: "h", max: 0.1, events: 500}, {kind: "w1", observable: "h", max: 0.1, events: 500}} {
			tk := smallTask(t, method, q)
			if method == CNF && q.kind == "transport" {
				continue
			}
			for i := range 60 {
				tk.likelihood(i)
				tk.opt.Update(5e-3)
			}
			c, it := tk.cons, tk.cons.items[0]
			value := func() float64 {
				b, err := c.block(it, 7)
				if err != nil {
					t.Fatal(err)
				}
				v := make([]float64, c.lag.Len())
				if err := c.measure(b, v); err != nil {
					t.Fatal(err)
				}
				s := 0.0
				for k, x := range v {
					s += float64(k+1) * x
				}
				return s
			}
			b, err := c.block(it, 7)
			if err != nil {
				t.Fatal(err)
			}
			w := make([]float64, c.lag.Len())
			for k := range w {
				w[k] = float64(k + 1)
			}
			tk.sh.Clear(tk.pool)
			if err := c.add(b, w); err != nil {
				t.Fatal(err)
			}
			grad := make([]float64, tk.net.ps.Len())
			norm := 0.0
			for _, g := range tk.sh.G {
				for i, v := range g {
					grad[i] += float64(v) * float64(tk.net.ps.Mask[i])
				}
			}
			for _, g := range grad {
				norm += g * g
			}
			norm = math.Sqrt(norm)
			if norm == 0 {
				t.Errorf("%s %s: no gradient", method, it.name())
				continue
			}
			// along the gradient: float32 leaves little for single parameters
			const h = 2e-3
			own := append([]float32(nil), tk.net.ps.W...)
			move := func(s float64) float64 {
				for i := range own {
					tk.net.ps.W[i] = own[i] + float32(s*grad[i]/norm)
				}
				return value()
			}
			want := (move(h) - move(-h)) / (2 * h)
			copy(tk.net.ps.W, own)
			if math.Abs(want-norm) > 0.03*norm {
				t.Errorf("%s %s: gradient %.5g along itself, differences say %.5g", method, it.name(), norm, want)
			}
		}
	}
}

// TestBlocksStandForAllRows compares quantities of an observable on blocks with those of all rows: blocks must be off by far less than as many
// events drawn at random.
func TestBlocksStandForAllRows(t *testing.T) {
	const all, events, tries = 3000, 300, 40
	for _, kind := range []string{"mean", "width", "w1"} {
		tk := smallTask(t, Switch, boundQuantity{kind: kind, observable: "h", max: 1, events: events})
		for i := range tk.td.sim.w {
			tk.td.sim.w[i] = 0.5 + float64(i%3)/2
		}
		for i := range 200 {
			tk.likelihood(i)
			tk.opt.Update(5e-3)
		}
		c, it := tk.cons, tk.cons.items[0]
		distance := func() float64 {
			b, err := c.block(it, 0)
			if err != nil {
				t.Fatal(err)
			}
			h, _, err := c.observable(b, false)
			if err != nil {
				t.Fatal(err)
			}
			return c.distance(b, h, nil)
		}
		fixed := func(events int) float64 {
			it.boundQuantity.events, it.data = events, flows.Rows[float64]{}
			if err := c.fix(it); err != nil {
				t.Fatal(err)
			}
			return distance()
		}
		if w := c.warnings(); len(w) != 0 {
			t.Errorf("%s: a bound far above the statistical error has the warnings %q", kind, w)
		}
		want, got, random := fixed(all), 0.0, 0.0
		for i := range tries {
			e := fixed(events+i-tries/2) - want
			got += e * e / tries
		}
		fixed(events)
		for i := range tries {
			k := rng.NewKey(1, "block").At(uint64(i))
			for n := 0; n < events; {
				if r := k.IntN(all); k.Float64()*1.5 < tk.td.sim.w[r] {
					it.sim[n] = int32(r)
					n++
				}
			}
			e := distance() - want
			random += e * e / tries
		}
		got, random = math.Sqrt(got), math.Sqrt(random)
		t.Logf("%s: %.4f of all rows; blocks are off by %.4f, random ones by %.4f", kind, want, got, random)
		if got > 0.5*random {
			t.Errorf("%s: blocks are off by %.4f, random ones by %.4f", kind, got, random)
		}
	}
}

func TestConstraintsBound(t *testing.T) {
	tk := smallTask(t, Switch, boundQuantity{kind: "transport", max: 0.05, every: 1, events: 256, rate: 0.5})
	for i := range 500 {
		if _, err := tk.Step(i, 500, 1); err != nil {
			t.Fatal(err)
		}
	}
	b, err := tk.cons.block(tk.cons.items[0], 1000)
	if err != nil {
		t.Fatal(err)
	}
	if v := tk.cons.transport(b, nil, 0); v > 0.06 {
		t.Errorf("transport %.3f, bounded at 0.05", v)
	}
}

// TestObservablesAreBound trains with and without a bound that the likelihood alone misses.
func TestObservablesAreBound(t *testing.T) {
	for _, q := range []boundQuantity{{kind: "mean", max: 0.004}, {kind: "width", max: 0.004}, {kind: "w1", max: 0.035}} {
		q.observable, q.events, q.every = "h", 1500, 4
		var end, nll [2]float64
		for k := range end {
			tk := smallTask(t, Switch, q)
			bound := tk.cons
			if w := bound.warnings(); len(w) != 1 {
				t.Errorf("%s: a bound of a tenth of the statistical error has the warnings %q", q.kind, w)
			}
			if k == 0 {
				tk.cons = nil
			}
			for i := range 1200 {
				if _, err := tk.Step(i, 1200, 1-float64(i)/1200); err != nil {
					t.Fatal(err)
				}
			}
			b, err := bound.block(bound.items[0], 0)
			if err != nil {
				t.Fatal(err)
			}
			h, _, err := bound.observable(b, false)
			if err != nil {
				t.Fatal(err)
			}
			end[k] = math.Abs(bound.distance(b, h, nil))
			if nll[k], _, err = tk.Evaluate(); err != nil {
				t.Fatal(err)
			}
		}
		t.Logf("%s: %.4f free, %.4f bound at %.4f; held-out likelihood %.4f, %.4f", q.kind, end[0], end[1], q.max, nll[0], nll[1])
		if end[1] > 1.2*q.max || end[0] < 1.5*end[1] {
			t.Errorf("%s: %.4f, bound at %.4f, %.4f without the bound", q.kind, end[1], q.max, end[0])
		}
		if nll[1] > nll[0]+0.02 {
			t.Errorf("%s: the bound costs %.4f of the likelihood", q.kind, nll[1]-nll[0])
		}
	}
}

// TestBoundsByWhatIsFree begins with bounds that are multiples of what quantities are when they begin to act.
func TestBoundsByWhatIsFree(t *testing.T) {
	tk := smallTask(t, Switch, boundQuantity{kind: "transport", timesFree: 0.5, events: 256}, boundQuantity{kind: "w1", observable: "h", timesFree: 0.5, events: 500})
	tk.warmup = 0.5
	for i := range 42 {
		if _, err := tk.Step(i, 80, 1); err != nil {
			t.Fatal(err)
		}
	}
	for _, it := range tk.cons.items {
		if !(it.unit > 1e-3 && it.unit < 2) {
			t.Errorf("%s has the bound %v", it.name(), it.unit)
		}
		if it.obs != nil && !(it.scale > 0 && it.scale < 1) {
			t.Errorf("%s is scaled by %v", it.name(), it.scale)
		}
	}
}

// TestFactorOfConditionsIsNotLearned: the likelihood is that of features given the conditions, so weights that bring the conditions of the simulation to the data's do not enter
// it; they do enter the score, which is a mean over the conditions of the data.
func TestFactorOfConditionsIsNotLearned(t *testing.T) {
	run := func(factor bool) (*task, float64) {
		tk := smallTask(t, Switch)
		if factor {
			for _, s := range []*sampleSet{tk.td.sim, tk.td.simVal} {
				for i := range s.w {
					s.w[i] *= math.Exp(float64(s.c[i]))
				}
				meanOne(s.w)
			}
			tk.load()
			tk.val = newValidator(tk)
		}
		for i := range 50 {
			tk.likelihood(i)
			tk.opt.Update(5e-3)
		}
		score, _, err := tk.Evaluate()
		if err != nil {
			t.Fatal(err)
		}
		return tk, score
	}
	with, weighted := run(true)
	without, plain := run(false)
	if !slices.Equal(with.net.ps.W, without.net.ps.W) {
		t.Error("the factor of the conditions changes what is learned")
	}
	if math.Abs(weighted-plain) < 1e-3 {
		t.Errorf("the factor of the conditions does not change the score: %.5f and %.5f", weighted, plain)
	}
	if _, err := with.calibrate(); err != nil {
		t.Fatal(err)
	}
	if _, err := without.calibrate(); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(with.net.cal, without.net.cal) {
		t.Error("the factor of the conditions changes the calibration")
	}
}
