package calo

import (
	"context"
	"math"
	"slices"
	"testing"

	"hepmorph/internal/ad"
	"hepmorph/internal/kernel"
	"hepmorph/internal/nn"
	"hepmorph/internal/rng"
	"hepmorph/internal/train"
)

// chain is a law whose best loss is known: x_0 = c_0 + s_0 ε, x_i = a_i x_{i-1} + s_i ε.
var (
	chainDims  = Dims{Energy: 3, EnergyCondition: 2}
	chainSlope = [3]float64{1, 0.8, -0.7}
	chainSD    = [3]float64{0.5, 0.6, 0.3}
)

func drawChain(vector, condition []float32, r *rng.Stream) {
	for k := range condition {
		condition[k] = float32(2*r.Float64() - 1)
	}
	before := float64(condition[0])
	for i := range vector {
		before = chainSlope[i]*before + chainSD[i]*r.Norm()
		vector[i] = float32(before)
	}
}

// noisy gives every weight a value, so that nothing is hidden behind a zero.
func noisy[T kernel.Float](ps *ad.Params[T]) {
	for _, p := range ps.List {
		ps.Normal(p, 0.4, 3)
	}
}

func smallEnergy(network string) EnergySettings {
	return EnergySettings{Network: network, Width: 16, Depth: 2, Heads: 2, Hidden: 24, HeadWidth: 32, HeadDepth: 2, Frequency: 4}
}

// TestEnergyTransformerGradients compares the gradient of every kind of weight with differences, in float64.
func TestEnergyTransformerGradients(t *testing.T) {
	d := Dims{Energy: 3, EnergyCondition: 2}
	s := EnergySettings{Width: 8, Depth: 2, Heads: 2, Hidden: 6, HeadWidth: 5, HeadDepth: 2, Frequency: 1}
	for name, record := range map[string]func(ps *ad.Params[float64], p *ad.Program[float64]) error{
		autoregressiveNet: func(ps *ad.Params[float64], p *ad.Program[float64]) error {
			net, err := buildAutoregressive(ps, s, d, 1)
			if err == nil {
				net.loss(p)
			}
			return err
		},
		parallelNet: func(ps *ad.Params[float64], p *ad.Program[float64]) error {
			net, err := buildParallel(ps, s, d, 1)
			if err == nil {
				net.loss(p)
			}
			return err
		},
	} {
		ps := ad.NewParams[float64]()
		p := ad.NewProgram(ps)
		if err := record(ps, p); err != nil {
			t.Fatal(err)
		}
		noisy(ps)
		compareGradients(t, name, p, map[string][]int{autoregressiveNet: {2 * 8, 3 * 8, 3 * 10, 3}, parallelNet: {3 * 2, 4, 2, 3}}[name]...)
	}
}

// TestAutoregressiveIsCausal holds that number i of the decoder's output knows the numbers before i and no others.
func TestAutoregressiveIsCausal(t *testing.T) {
	pool := ad.NewPool(1)
	defer pool.Close()
	const tokens, sources = 6, 2
	ps := ad.NewParams[float32]()
	net, err := buildAutoregressive(ps, smallEnergy(autoregressiveNet), Dims{Energy: tokens, EnergyCondition: sources}, 1)
	if err != nil {
		t.Fatal(err)
	}
	noisy(ps)
	p := ad.NewProgram(ps)
	r := recorded[float32]{net.transformer, p}
	source, target := p.InputRows(net.Width, sources), p.InputRows(net.Width, tokens)
	out := r.decode(target, r.encode(source), func(q, k, v ad.Part) ad.Tensor { return p.Attention(q, k, v, net.Heads, true) })
	exec := p.Compile(kernel.Best(), pool, nil, ad.Settings{})
	run := func(vector, condition []float32) []float32 {
		in1, in2, h := make([]float32, sources*net.Width), make([]float32, tokens*net.Width), make([]float32, tokens*net.Width)
		net.sourceTokens(in1, condition)
		net.targetTokens(in2, vector)
		exec.Run(&ad.Run[float32]{N: 1, Inputs: []ad.Source[float32]{{Data: in1}, {Data: in2}}, Outputs: []ad.Sink[float32]{{Tensor: out, Data: h}}})
		return h
	}
	vector, condition := []float32{0.3, -1, 0.7, 2, -0.4, 0.1}, []float32{0.5, -0.2}
	before := run(vector, condition)
	row := func(h []float32, i int) []float32 { return h[i*net.Width:][:net.Width] }
	for k := range vector {
		other := slices.Clone(vector)
		other[k] += 0.5
		after := run(other, condition)
		for i := range tokens {
			if same := slices.Equal(row(before, i), row(after, i)); same != (i <= k) {
				t.Errorf("number %d changed: output %d the same: %v", k, i, same)
			}
		}
	}
	for k := range condition {
		other := slices.Clone(condition)
		other[k] += 0.5
		if after := run(vector, other); slices.Equal(row(before, 0), row(after, 0)) {
			t.Errorf("condition %d does not matter", k)
		}
	}
}

// TestCachedDrawingIsThatOfTheWholePrefix draws with the cache and without, number after number.
func TestCachedDrawingIsThatOfTheWholePrefix(t *testing.T) {
	pool := ad.NewPool(2)
	defer pool.Close()
	const tokens, sources, n = 5, 2, 70
	ps := ad.NewParams[float32]()
	d := Dims{Energy: tokens, EnergyCondition: sources}
	energy, err := newAutoregressive(ps, smallEnergy(autoregressiveNet), d, 1)
	if err != nil {
		t.Fatal(err)
	}
	noisy(ps)
	net := energy.(autoregressiveNetwork)
	r := rng.NewKey(1, "draw").At(0)
	noise, condition := make([]float32, n*tokens), make([]float32, n*sources)
	for _, v := range [][]float32{noise, condition} {
		for i := range v {
			v[i] = float32(r.Norm())
		}
	}
	drawn := func(threads, n int) []float32 {
		pool := ad.NewPool(threads)
		defer pool.Close()
		s, err := energy.sampler(pool, 3)
		if err != nil {
			t.Fatal(err)
		}
		var x []float32
		for range 2 { // what a batch leaves behind does not matter to the next one
			x = slices.Clone(noise[:n*tokens])
			if err := s.draw(x, condition, n); err != nil {
				t.Fatal(err)
			}
		}
		return x
	}
	got := drawn(1, n)
	if !slices.Equal(got, drawn(3, n)) {
		t.Error("the vectors depend on the number of threads")
	}
	if !slices.Equal(got[:tokens], drawn(1, 1)) {
		t.Error("a vector depends on those drawn with it")
	}

	sampler, err := energy.sampler(pool, 3)
	if err != nil {
		t.Fatal(err)
	}
	s := sampler.(*autoregressiveSampler)
	p := ad.NewProgram(ps)
	rec := recorded[float32]{net.transformer, p}
	source, target := p.InputRows(net.Width, sources), p.InputRows(net.Width, tokens)
	out := rec.decode(target, rec.encode(source), func(q, k, v ad.Part) ad.Tensor { return p.Attention(q, k, v, net.Heads, true) })
	exec := p.Compile(kernel.Best(), pool, nil, ad.Settings{})
	in1, in2, h := make([]float32, n*sources*net.Width), make([]float32, n*tokens*net.Width), make([]float32, n*tokens*net.Width)
	x, one := slices.Clone(noise), make([]float32, n)
	s.h = make([]float32, n*net.Width)
	for k := range tokens {
		for i := range n {
			net.sourceTokens(in1[i*sources*net.Width:], condition[i*sources:][:sources])
			net.targetTokens(in2[i*tokens*net.Width:], x[i*tokens:][:tokens])
		}
		exec.Run(&ad.Run[float32]{N: n, Inputs: []ad.Source[float32]{{Data: in1}, {Data: in2}}, Outputs: []ad.Sink[float32]{{Tensor: out, Data: h}}})
		for i := range n {
			copy(s.h[i*net.Width:][:net.Width], h[(i*tokens+k)*net.Width:])
			one[i] = x[i*tokens+k]
		}
		if _, err := s.solver.Solve(s, one, n, 0, 1); err != nil {
			t.Fatal(err)
		}
		for i := range n {
			x[i*tokens+k] = one[i]
		}
	}
	for i, want := range x {
		if math.Abs(float64(got[i]-want)) > 1e-4*(1+math.Abs(float64(want))) {
			t.Fatalf("number %d: %v with a cache, %v without", i, got[i], want)
		}
	}
}

// TestEnergyTransformersLearnALaw trains on a chain of normal numbers. The best loss is π/2 times the mean deviation of a number given those
// before it (autoregressive) or of the principal axes (parallel), as Var x_t = (1-t)² + t²s² says.
func TestEnergyTransformersLearnALaw(t *testing.T) {
	for _, network := range []string{autoregressiveNet, parallelNet} {
		pool := ad.NewPool(2)
		ps := ad.NewParams[float32]()
		d := chainDims
		net, err := newEnergyNetwork(ps, smallEnergy(network), d, 1)
		if err != nil {
			t.Fatal(err)
		}
		rows := make([]int32, 20000)
		for i := range rows {
			rows[i] = int32(i)
		}
		s := matchSettings{batch: 256, rate: 4e-3, adam: nn.AdamSettings{Average: 0.99, Clip: 1}, times: uniformTimes}
		b := &energyBatch{Dims: d, vectors: make([]float32, s.batch*d.Energy), cond: make([]float32, s.batch*d.EnergyCondition), weight: make([]float32, s.batch)}
		p := ad.NewProgram(ps)
		fill := net.record(p, b, s)
		key := rng.NewKey(1, "chain")
		m := newMatching(p, pool, rows, rows[:4096], s, func(step uint64, rows []int32) []ad.Source[float32] {
			b.n = len(rows)
			for i, row := range rows {
				r := key.At(uint64(row))
				drawChain(b.vectors[i*d.Energy:][:d.Energy], b.cond[i*d.EnergyCondition:][:d.EnergyCondition], &r)
				b.weight[i] = 1 / float32(b.n)
			}
			return fill(step)
		})
		first, _, err := m.Evaluate()
		if err != nil {
			t.Fatal(err)
		}
		r, err := train.Run(context.Background(), m, train.Settings{Steps: 400, Evaluations: 4})
		if err != nil {
			t.Fatal(err)
		}
		m.finish()
		want := 0.0
		for _, s := range chainDeviations(network) {
			want += math.Pi / 2 * s / 3
		}
		if !(first > 1.3*want) || !(r.Best < 1.04*want && r.Best > 0.96*want) {
			t.Errorf("%s: loss %v after %v, the best is %v", network, r.Best, first, want)
		}

		const n = 20000
		x, c := make([]float32, n*3), make([]float32, n*2)
		rs := rng.NewKey(2, "chain").At(0)
		for i := range x {
			x[i] = float32(rs.Norm())
		}
		for i := range n {
			c[2*i] = 0.5
		}
		sampler, err := net.sampler(pool, 20)
		if err != nil {
			t.Fatal(err)
		}
		if err := sampler.draw(x, c, n); err != nil {
			t.Fatal(err)
		}
		mean, sd := 0.5, 0.0
		for i := range 3 {
			mean *= chainSlope[i]
			sd = math.Hypot(chainSlope[i]*sd, chainSD[i])
			m1, m2 := 0.0, 0.0
			for k := range n {
				v := float64(x[3*k+i])
				m1 += v / n
				m2 += v * v / n
			}
			if got := math.Sqrt(m2 - m1*m1); math.Abs(m1-mean) > 0.06 || math.Abs(got/sd-1) > 0.08 {
				t.Errorf("%s: number %d: %v ± %v, %v ± %v expected", network, i, m1, got, mean, sd)
			}
		}
		pool.Close()
	}
}

// chainDeviations are those of the numbers given the ones before, or of the principal axes given the condition.
func chainDeviations(network string) []float64 {
	if network == autoregressiveNet {
		return chainSD[:]
	}
	var c [3][3]float64 // covariance given c
	for i := range 3 {
		for j := range i {
			c[i][j] = chainSlope[i] * c[max(i-1, j)][min(i-1, j)]
			c[j][i] = c[i][j]
		}
		c[i][i] = chainSD[i] * chainSD[i]
		if i > 0 {
			c[i][i] += chainSlope[i] * chainSlope[i] * c[i-1][i-1]
		}
	}
	for range 50 { // Jacobi's rotations
		for i := range 3 {
			for j := range i {
				theta := math.Atan2(2*c[i][j], c[i][i]-c[j][j]) / 2
				sin, cos := math.Sincos(theta)
				for k := range 3 {
					c[i][k], c[j][k] = cos*c[i][k]+sin*c[j][k], cos*c[j][k]-sin*c[i][k]
				}
				for k := range 3 {
					c[k][i], c[k][j] = cos*c[k][i]+sin*c[k][j], cos*c[k][j]-sin*c[k][i]
				}
			}
		}
	}
	return []float64{math.Sqrt(c[0][0]), math.Sqrt(c[1][1]), math.Sqrt(c[2][2])}
}
