package ad_test

import (
	"math"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"hepmorph/internal/ad"
	"hepmorph/internal/kernel"
	"hepmorph/internal/rng"
)

// block records a small transformer block over rows, with every kind of memory that an operation may take.
func block(p *ad.Program[float32], rep int) (out ad.Tensor) {
	ps := p.Params
	dense := func(name string, rows, cols int) (w, b *ad.Param) {
		w, b = ps.Matrix(name+".weight", rows, cols), ps.Vector(name+".bias", rows)
		ps.Normal(w, 0.3, 1)
		ps.Normal(b, 0.1, 1)
		return
	}
	x, c, y, w := p.InputRows(5, rep), p.Input(3), p.InputRows(5, rep), p.InputRows(1, rep)
	wi, bi := dense("in", 16, 5)
	wm, bm := dense("modulation", 48, 3)
	wq, bq := dense("qkv", 48, 16)
	wo, bo := dense("out", 5, 16)
	pos := ps.Matrix("positions", rep, 16)
	ps.Normal(pos, 0.5, 1)
	h := p.AddTable(p.Linear(x, wi, bi), pos)
	m := p.Linear(p.Activate(ad.SiLU, c), wm, bm)
	qkv := p.Linear(p.ModulatedNorm(h, m.Part(0, 16), m.Part(16, 32), 1e-5), wq, bq)
	a := p.Attention(qkv.Part(0, 16), qkv.Part(16, 32), qkv.Part(32, 48), 2, true)
	h = p.GatedAdd(h, a, m.Part(32, 48))
	out = p.Linear(p.Activate(ad.GELU, h), wo, bo)
	p.SquaredError(out, y, w)
	return out
}

const tokens = 37

type blockRun struct {
	run  ad.Run[float32]
	exec *ad.Exec[float32]
	sh   *ad.Shards[float32]
	out  ad.Tensor
}

func newBlock(pool *ad.Pool, n int, set ad.Settings) *blockRun {
	ps := ad.NewParams[float32]()
	p := ad.NewProgram(ps)
	b := &blockRun{out: block(p, tokens)}
	if set.Shards == 0 {
		set.Shards = 4
	}
	b.sh = ad.NewShards(ps, set.Shards)
	b.exec = p.Compile(kernel.Best(), pool, b.sh, set)
	s := rng.NewKey(1, "block").At(0)
	fill := func(k int) []float32 {
		v := make([]float32, n*k)
		for i := range v {
			v[i] = float32(s.Norm())
		}
		return v
	}
	index := make([]int32, n)
	s.Perm(index)
	b.run = ad.Run[float32]{N: n, Backward: true, Losses: make([]float64, 1), Inputs: []ad.Source[float32]{
		{Data: fill(5 * tokens), Index: index}, {Data: fill(3), Index: index},
		{Fill: func(dst []float32, first, n int) {
			for i := range dst {
				dst[i] = float32((first*5*tokens + i) % 7)
			}
		}}, {Data: fill(tokens)},
	}}
	return b
}

func (b *blockRun) gradient() []float32 {
	g := make([]float32, len(b.sh.G[0]))
	for _, s := range b.sh.G {
		for i, v := range s {
			g[i] += v
		}
	}
	return g
}

func TestThreadsDoNotMatter(t *testing.T) {
	some, one := threadsDoNotMatter(t, ad.Settings{Items: 3}), threadsDoNotMatter(t, ad.Settings{Items: 10, Shards: 1})
	for i := range some {
		if d := math.Abs(some[i]-one[i]) / some[i]; d > 1e-5 {
			t.Errorf("workers that share each tile compute something else: %v instead of %v", one, some)
		}
	}
}

// threadsDoNotMatter returns the norm of the gradient and the loss.
func threadsDoNotMatter(t *testing.T, set ad.Settings) [2]float64 {
	var want []float32
	var norm, loss float64
	for _, threads := range []int{1, 2, 3, 8} {
		pool := ad.NewPool(threads)
		b := newBlock(pool, 43, set)
		out := make([]float32, 43*5*tokens)
		b.run.Outputs = []ad.Sink[float32]{{Tensor: b.out, Data: out}}
		b.exec.Run(&b.run)
		got := append(append(b.gradient(), out...), float32(b.run.Losses[0]))
		pool.Close()
		if want == nil {
			want, loss = got, b.run.Losses[0]
			for _, g := range b.gradient() {
				norm += float64(g) * float64(g)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%d threads change the result with %d shards", threads, len(b.sh.G))
		}
	}
	return [2]float64{math.Sqrt(norm), loss}
}

func TestShards(t *testing.T) {
	ps := ad.NewParams[float32]()
	ps.Matrix("small", 100, 100)
	if n := ps.Shards(); n != 4 {
		t.Errorf("%d shards for a small network", n)
	}
	ps.Matrix("large", 2048, 2048)
	if n := ps.Shards(); n != 1 {
		t.Errorf("%d shards for a large network", n)
	}
}

// TestTwoPhases holds that Run with Keep and Back is the same as one pass.
func TestTwoPhases(t *testing.T) {
	pool := ad.NewPool(2)
	defer pool.Close()
	for _, shards := range []int{4, 1} {
		set := ad.Settings{Items: 3, Shards: shards}
		one, two := newBlock(pool, 20, set), newBlock(pool, 20, set)
		one.exec.Run(&one.run)
		two.run.Backward, two.run.Keep = false, true
		two.exec.Run(&two.run)
		two.exec.Back(20, nil)
		if !slices.Equal(one.gradient(), two.gradient()) {
			t.Errorf("the gradients of one pass and of two phases differ with %d shards", shards)
		}
	}
}

func TestItemsDoNotSeeEachOther(t *testing.T) {
	pool := ad.NewPool(1)
	b := newBlock(pool, 12, ad.Settings{Items: 5})
	out := make([]float32, 12*5*tokens)
	b.run.Outputs = []ad.Sink[float32]{{Tensor: b.out, Data: out}}
	b.exec.Run(&b.run)
	before := slices.Clone(out)
	for i := range b.run.Inputs[0].Index {
		if b.run.Inputs[0].Index[i] == 7 {
			b.run.Inputs[0].Data[7*5*tokens+4] += 1
			b.exec.Run(&b.run)
			for k := range out {
				if item := k / (5 * tokens); (out[k] != before[k]) != (item == i) && item != i {
					t.Fatalf("a change of item %d moves item %d", i, item)
				}
			}
			if slices.Equal(out[i*5*tokens:][:5*tokens], before[i*5*tokens:][:5*tokens]) {
				t.Error("a change of an item changes nothing")
			}
		}
	}
}

// allocations are those of a step: what each of three measurements sees, since the runtime allocates for itself now and then.
func allocations(step func()) float64 {
	least := testing.AllocsPerRun(5, step)
	for range 2 {
		least = min(least, testing.AllocsPerRun(5, step))
	}
	return least
}

func TestStepsMakeNoGarbage(t *testing.T) {
	pool := ad.NewPool(2)
	defer pool.Close()
	for _, shards := range []int{4, 1} {
		b := newBlock(pool, 40, ad.Settings{Items: 4, Shards: shards})
		b.exec.Run(&b.run)
		if n := allocations(func() { b.exec.Run(&b.run) }); n > 0 {
			t.Errorf("a step makes %v allocations with %d shards", n, shards)
		}
		b.run.Backward, b.run.Keep = false, true
		b.exec.Run(&b.run)
		b.exec.Back(40, nil)
		if n := allocations(func() { b.exec.Run(&b.run); b.exec.Back(40, nil) }); n > 0 {
			t.Errorf("a step in two phases makes %v allocations with %d shards", n, shards)
		}
	}
}

func TestPoolRunsEveryTaskOnce(t *testing.T) {
	for _, threads := range []int{1, 2, 5} {
		p := ad.NewPool(threads)
		for round := range 200 {
			tasks := round % 23
			var done [23]atomic.Int32
			p.Run(tasks, func(w, k int) {
				if w < 0 || w >= threads {
					t.Errorf("worker %d of %d", w, threads)
				}
				done[k].Add(1)
			})
			for k := range done {
				if got, want := done[k].Load(), map[bool]int32{true: 1}[k < tasks]; got != want {
					t.Fatalf("%d threads: task %d of %d ran %d times", threads, k, tasks, got)
				}
			}
			if round == 100 {
				time.Sleep(5 * time.Millisecond) // workers park
			}
		}
		p.Close()
	}
}

func TestPoolRaisesPanics(t *testing.T) {
	p := ad.NewPool(2)
	defer p.Close()
	for range 3 {
		func() {
			defer func() {
				if r := recover(); r != "boom" {
					t.Errorf("recovered %v", r)
				}
			}()
			p.Run(10, func(_, k int) {
				if k == 3 {
					panic("boom")
				}
			})
			t.Error("no panic")
		}()
	}
	p.Run(4, func(int, int) {}) // still works
}

func TestIdleWorkersPark(t *testing.T) {
	before := runtime.NumGoroutine()
	p := ad.NewPool(4)
	p.Run(8, func(int, int) {})
	p.Close()
	for range 100 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Errorf("%d goroutines are left", runtime.NumGoroutine()-before)
}

func TestParams(t *testing.T) {
	ps := ad.NewParams[float32]()
	m := ps.Matrix("m", 3, 5)
	v := ps.Vector("v", 4)
	ps.SetMask(m, func(i, j int) bool { return j <= i })
	ps.Uniform(m, 1, 1)
	ps.Constant(v, 2)
	if n := ps.Count(); n != 6+4 {
		t.Errorf("%d parameters may move, want 10", n)
	}
	if x := ps.Row(m, 0); x[1] != 0 || x[0] == 0 {
		t.Errorf("row 0 of a masked matrix is %v", x)
	}
	named := ps.Named()
	qs := ad.Convert[float64](ps)
	other := ad.NewParams[float32]()
	other.Matrix("m", 3, 5)
	other.Vector("v", 4)
	if err := other.SetNamed(named); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(other.W, ps.W) {
		t.Error("parameters change on their way by name")
	}
	for i, w := range qs.W {
		if float32(w) != ps.W[i] {
			t.Fatal("parameters change when converted")
		}
	}
	named["m"][3] = float32(math.NaN())
	if other.SetNamed(named) == nil {
		t.Error("NaN is accepted")
	}
	named["m"] = named["m"][:4]
	if other.SetNamed(named) == nil {
		t.Error("a wrong size is accepted")
	}
	delete(named, "m")
	if other.SetNamed(named) == nil {
		t.Error("a missing name is accepted")
	}
}

// TestWorkersShareATile holds that a batch of fewer tiles than workers gives what one worker computes, to the same bits.
func TestWorkersShareATile(t *testing.T) {
	var want []float32
	for _, threads := range []int{1, 2, 3, 8} {
		pool := ad.NewPool(threads)
		b := newBlock(pool, 5, ad.Settings{Items: 5})
		out := make([]float32, 5*5*tokens)
		b.run.Backward, b.run.Outputs = false, []ad.Sink[float32]{{Tensor: b.out, Data: out}}
		b.exec.Run(&b.run)
		got := append(slices.Clone(out), float32(b.run.Losses[0]))
		if n := allocations(func() { b.exec.Run(&b.run) }); n > 0 {
			t.Errorf("%d threads: %g allocations a pass", threads, n)
		}
		pool.Close()
		if want == nil {
			want = got
		}
		if !slices.Equal(got, want) {
			t.Errorf("%d threads change the result", threads)
		}
	}
}

// TestMemoryIsUsedAgain holds that a program without gradients computes the same in less memory.
func TestMemoryIsUsedAgain(t *testing.T) {
	pool := ad.NewPool(1)
	defer pool.Close()
	const n = 7
	run := func(gradients bool) []float32 {
		ps := ad.NewParams[float32]()
		p := ad.NewProgram(ps)
		x := p.InputRows(6, 5)
		h := x
		for i := range 6 {
			name := string(rune('a' + i))
			w := ps.Matrix(name, 6, 6)
			ps.Normal(w, 0.5, 1)
			g := p.Activate(ad.Tanh, p.Linear(h, w, nil))
			h = p.Sum2(p.LayerNorm(p.Sum2(g, h), 1e-5), p.Concat(p.Attention(g.Part(0, 2), g.Part(2, 4), h.Part(4, 6), 1, true), p.Slice(g, 2, 6)))
		}
		var sh *ad.Shards[float32]
		if gradients {
			sh = ad.NewShards(ps, 2)
		}
		e := p.Compile(kernel.Best(), pool, sh, ad.Settings{Items: 3})
		in, out := make([]float32, n*30), make([]float32, n*30)
		s := rng.NewKey(1, "memory").At(0)
		for i := range in {
			in[i] = float32(s.Norm())
		}
		e.Run(&ad.Run[float32]{N: n, Inputs: []ad.Source[float32]{{Data: in}}, Outputs: []ad.Sink[float32]{{Tensor: h, Data: out}}})
		return out
	}
	if !slices.Equal(run(true), run(false)) {
		t.Error("memory that is used again changes the result")
	}
}

// TestSpentGradients holds that a step after an optimizer's begins at zero in every shard, those that get no tile and the parameters that no
// operation reaches included.
func TestSpentGradients(t *testing.T) {
	for _, set := range []ad.Settings{{Items: 3}, {Items: 3, Shards: 1}} {
		var want []float32
		for _, threads := range []int{1, 3} {
			pool := ad.NewPool(threads)
			b := newBlock(pool, 40, set)
			b.run.N = 5
			b.exec.Run(&b.run)
			if want == nil {
				want = b.gradient()
			}
			b.run.N = 40
			b.exec.Run(&b.run)
			if slices.Equal(b.gradient(), want) {
				t.Fatal("a second step adds nothing: the test shows nothing")
			}
			b.sh.Spend()
			b.run.N = 5
			b.exec.Run(&b.run)
			b.sh.Settle(pool)
			if !slices.Equal(b.gradient(), want) {
				t.Errorf("%d threads, %d shards: something of the step before is left", threads, len(b.sh.G))
			}
			b.sh.Spend()
			b.sh.Settle(pool)
			for _, g := range b.gradient() {
				if g != 0 {
					t.Fatal("gradients are left")
				}
			}
			pool.Close()
		}
	}
}
