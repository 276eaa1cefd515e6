package nn_test

import (
	"math"
	"slices"
	"testing"

	"hepmorph/internal/ad"
	"hepmorph/internal/kernel"
	"hepmorph/internal/nn"
	"hepmorph/internal/rng"
)

// store is two matrices, one masked, and gradients in three shards.
func store() (*ad.Params[float64], *ad.Shards[float64]) {
	ps := ad.NewParams[float64]()
	m := ps.Matrix("m", 5, 7)
	ps.SetMask(m, func(i, j int) bool { return j <= i+1 })
	ps.Normal(m, 1, 1)
	ps.Normal(ps.Matrix("big", 150, 160), 1, 1) // more than one chunk of the optimizer
	return ps, ad.NewShards(ps, 3)
}

func fill(sh *ad.Shards[float64], pool *ad.Pool, step int) {
	sh.Clear(pool)
	for j, g := range sh.G {
		s := rng.NewKey(uint64(step), "gradient").At(uint64(j))
		for i := range g {
			g[i] = s.Norm()
		}
	}
}

// TestAdam compares with the textbook, one number at a time.
func TestAdam(t *testing.T) {
	for name, set := range map[string]nn.AdamSettings{
		"plain":   {},
		"decay":   {Decay: 0.1},
		"clip":    {Clip: 3},
		"no clip": {Clip: 1e9},
		"ratio":   {ClipRatio: 0.95},
		"all":     {Beta1: 0.8, Beta2: 0.9, Eps: 1e-2, Decay: 0.01, Clip: 2, ClipRatio: 1.1, Average: 0.9},
	} {
		t.Run(name, func(t *testing.T) {
			ps, sh := store()
			pool := ad.NewPool(2)
			defer pool.Close()
			opt := nn.NewAdam(ps, sh, kernel.Portable[float64](), pool, set)
			b1, b2, eps := opt.Beta1, opt.Beta2, opt.Eps
			w := slices.Clone(ps.W)
			m, v, mean := make([]float64, len(w)), make([]float64, len(w)), slices.Clone(w)
			var passed []float64 // norms after clipping
			cut := false
			for step := range 5 {
				fill(sh, pool, step)
				g := make([]float64, len(w))
				norm := 0.0
				for i := range g {
					for _, s := range sh.G {
						g[i] += s[i]
					}
					g[i] *= ps.Mask[i]
					norm += g[i] * g[i]
				}
				norm = math.Sqrt(norm)
				rate := 0.1 / float64(step+1)
				got := opt.Update(rate)
				clips := set.Clip > 0 || set.ClipRatio > 0
				if clips && math.Abs(got/norm-1) > 1e-12 || !clips && got != 0 {
					t.Fatalf("the norm is %g, want %g", got, norm)
				}
				limit := math.Inf(1)
				if set.Clip > 0 {
					limit = set.Clip
				}
				if set.ClipRatio > 0 && step > 0 { // a young running mean is the plain one
					limit = min(limit, set.ClipRatio*sum(passed)/float64(len(passed)))
				}
				scale := min(1, limit/norm)
				cut = cut || scale < 1
				passed = append(passed, min(norm, limit))
				keep := min(set.Average, float64(step+2)/float64(step+11))
				for i := range w {
					x := g[i] * scale
					m[i] = b1*m[i] + (1-b1)*x
					v[i] = b2*v[i] + (1-b2)*x*x
					mh, vh := m[i]/(1-math.Pow(b1, float64(step+1))), v[i]/(1-math.Pow(b2, float64(step+1)))
					w[i] -= rate * (mh/(math.Sqrt(vh)+eps) + set.Decay*w[i]*ps.Mask[i])
					mean[i] = w[i] + keep*(mean[i]-w[i])
				}
				for i := range w {
					if math.Abs(w[i]-ps.W[i]) > 1e-12*max(1, math.Abs(w[i])) {
						t.Fatalf("step %d: parameter %d is %v, want %v", step, i, ps.W[i], w[i])
					}
					if ps.Mask[i] == 0 && ps.W[i] != 0 {
						t.Fatalf("step %d: masked parameter %d is %v", step, i, ps.W[i])
					}
					if opt.Mean != nil && math.Abs(mean[i]-opt.Mean[i]) > 1e-12*max(1, math.Abs(mean[i])) {
						t.Fatalf("step %d: the average of parameter %d is %v, want %v", step, i, opt.Mean[i], mean[i])
					}
				}
			}
			if norm := opt.Update(0.1); norm != 0 {
				t.Errorf("a gradient of norm %g is left", norm)
			}
			if set.ClipRatio > 0 && !cut {
				t.Error("nothing was clipped: the test shows nothing")
			}
		})
	}
}

func sum(v []float64) (s float64) {
	for _, x := range v {
		s += x
	}
	return s
}

func TestAdamDoesNotDependOnThreads(t *testing.T) {
	var want []float64
	for _, threads := range []int{1, 2, 5} {
		ps, sh := store()
		pool := ad.NewPool(threads)
		opt := nn.NewAdam(ps, sh, kernel.Portable[float64](), pool, nn.AdamSettings{Clip: 1, Average: 0.99})
		for step := range 3 {
			fill(sh, pool, step)
			opt.Update(0.01)
		}
		pool.Close()
		got := append(slices.Clone(ps.W), opt.Mean...)
		if want == nil {
			want = got
		}
		if !slices.Equal(got, want) {
			t.Errorf("%d threads change the update", threads)
		}
	}
}

func TestSchedules(t *testing.T) {
	const total = 1000
	near := func(what string, got, want float64) {
		t.Helper()
		if math.Abs(got-want) > 1e-6 {
			t.Errorf("%s: %g, want %g", what, got, want)
		}
	}
	near("constant", nn.Constant(3, total), 1)
	c := nn.Cosine(100)
	near("cosine, first", c(0, total), 0.01)
	near("cosine, warm", c(99, total), 1)
	near("cosine, middle", c(550, total), 0.5)
	near("cosine, end", c(total, total), 0)
	o := nn.OneCycle(0.3)
	near("one-cycle, first", o(0, total), 1.0/25)
	near("one-cycle, peak", o(300, total), 1)
	near("one-cycle, end", o(total, total), 1.0/25/1e4)
	for _, s := range []nn.Schedule{c, o} {
		for i := range total + 1 {
			if v := s(i, total); v < 0 || v > 1 {
				t.Fatalf("a rate of %g at step %d", v, i)
			}
		}
	}
	p := nn.Plateau{Factor: 0.5, Patience: 2}
	var got []float64
	for _, v := range []float64{3, 2, 2.5, 2.1, 2.2, 1, 1, 1, 1} {
		got = append(got, p.Check(v))
	}
	if want := []float64{1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.25}; !slices.Equal(got, want) {
		t.Errorf("plateau gives %v, want %v", got, want)
	}
}

// TestMasks looks at the Jacobian of a conditioner: the parameters of a feature depend on context and on earlier groups alone, and on all of
// those.
func TestMasks(t *testing.T) {
	pool := ad.NewPool(1)
	defer pool.Close()
	for _, c := range []struct {
		name    string
		context int
		group   []int
	}{
		{"autoregressive", 2, []int{0, 1, 2, 3}}, {"reversed", 1, []int{3, 2, 1, 0}}, {"coupling", 2, []int{0, 0, 1, 1, 1}}, {"mixed", 0, []int{1, 0, 2, 1}}, {"context alone", 3, []int{0, 0}}, {"one", 1, []int{0}},
	} {
		t.Run(c.name, func(t *testing.T) {
			const params = 3
			ps := ad.NewParams[float64]()
			m := nn.NewMADE(ps, nn.MADESettings{Name: "made", Context: c.context, Group: c.group, Params: params, Hidden: []int{31, 23}, Seed: 2})
			d := len(c.group)
			x := make([]float64, d+c.context)
			s := rng.NewKey(1, "x").At(0)
			for i := range x {
				x[i] = s.Norm()
			}
			run := func() []float64 {
				p := ad.NewProgram(ps)
				o := &conditioner{m: m, x: p.Input(d), s: m.NewState(p), y: p.New(d*params, 1)}
				if c.context > 0 {
					o.c = p.Input(c.context)
				}
				p.Add(o)
				e := p.Compile(kernel.Portable[float64](), pool, nil, ad.Settings{})
				out := make([]float64, d*params)
				in := []ad.Source[float64]{{Data: x[:d]}}
				if c.context > 0 {
					in = append(in, ad.Source[float64]{Data: x[d:]})
				}
				e.Run(&ad.Run[float64]{N: 1, Inputs: in, Outputs: []ad.Sink[float64]{{Tensor: o.y, Data: out}}})
				return out
			}
			before := run()
			for j := range x {
				old := x[j]
				x[j] += 5
				after := run()
				x[j] = old
				for pos, f := range m.Feature {
					may := j >= d || c.group[j] < c.group[f]
					moved := !slices.Equal(before[pos*params:(pos+1)*params], after[pos*params:(pos+1)*params])
					if moved != may {
						t.Errorf("input %d moves the parameters of feature %d: %v, should be %v", j, f, moved, may)
					}
				}
			}
		})
	}
}

// conditioner runs a MADE as an operation.
type conditioner struct {
	m       *nn.MADE[float64]
	x, c, y ad.Tensor
	s       nn.State
}

func (o *conditioner) In() []ad.Tensor { return nil }
func (o *conditioner) Forward(f *ad.Frame[float64]) {
	var c []float64
	if !o.c.None() {
		c = f.V(o.c)
	}
	o.m.Fill(f, o.s, c, f.V(o.x))
	o.m.Forward(f, o.s, nil)
	copy(f.V(o.y), f.V(o.s.Theta))
}
func (o *conditioner) Backward(*ad.Frame[float64], []bool) {}

// TestUnitOrder holds that degrees are cycled through as other libraries do, so that weights can be exchanged.
func TestUnitOrder(t *testing.T) {
	for _, c := range []struct {
		units, groups, context int
		degrees, cyclic        []int
	}{
		{5, 2, 1, []int{0, 0, 0, 1, 1}, []int{0, 2, 4, 1, 3}},
		{5, 3, 0, []int{1, 1, 1, 2, 2}, []int{0, 2, 4, 1, 3}},
		{2, 3, 1, []int{0, 1}, []int{0, 1}},
		{3, 1, 0, []int{0, 0, 0}, []int{0, 1, 2}},
	} {
		var degrees, cyclic []int
		for d, j := range nn.UnitOrder(c.units, c.groups, c.context) {
			degrees, cyclic = append(degrees, d), append(cyclic, j)
		}
		if !slices.Equal(degrees, c.degrees) || !slices.Equal(cyclic, c.cyclic) {
			t.Errorf("%d units, %d groups: degrees %v of units %v, want %v of %v", c.units, c.groups, degrees, cyclic, c.degrees, c.cyclic)
		}
	}
}
