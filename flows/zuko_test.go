package flows

import (
	"math"
	"path/filepath"
	"strings"
	"testing"

	"hepmorph/internal/ad"
	"hepmorph/internal/kernel"
	"hepmorph/internal/modelfile"
	"hepmorph/internal/nn"
)

// goldens were made by internal/peer/zuko_goldens.py.
var goldens = []string{"maf", "nsf", "coupling", "unconditional", "single"}

type golden[T Float] struct {
	ps      *Params[T]
	fl      *Flow[T]
	n       int
	x, c, w []T
	logProb []float64
	losses  []float64
	grad    []T // of the mean negative log-likelihood, in the order of ps
}

func convert[T Float](v []float32) []T {
	out := make([]T, len(v))
	for i := range v {
		out[i] = T(v[i])
	}
	return out
}

func readGolden[T Float](t *testing.T, name string) *golden[T] {
	t.Helper()
	path := filepath.Join("testdata", name+".safetensors")
	g := &golden[T]{ps: ad.NewParams[T]()}
	var err error
	if g.fl, err = ReadZuko(g.ps, path, "flow"); err != nil {
		t.Fatal(err)
	}
	f, err := modelfile.ReadPlain(path)
	if err != nil {
		t.Fatal(err)
	}
	x, err := modelfile.Get[float32](f, "golden.x", -1, g.fl.Dim())
	if err != nil {
		t.Fatal(err)
	}
	g.n = len(x) / g.fl.Dim()
	g.x, g.w = convert[T](x), make([]T, g.n)
	for i := range g.w {
		g.w[i] = 1 / T(g.n)
	}
	if g.fl.ContextDim() > 0 {
		c, err := modelfile.Get[float32](f, "golden.c", g.n, g.fl.ContextDim())
		if err != nil {
			t.Fatal(err)
		}
		g.c = convert[T](c)
	}
	if g.logProb, err = modelfile.Get[float64](f, "golden.log_prob", g.n); err != nil {
		t.Fatal(err)
	}
	if g.losses, err = modelfile.Get[float64](f, "golden.losses", 40); err != nil {
		t.Fatal(err)
	}
	// the peer's gradient takes the way of the peer's weights
	grads := &modelfile.File{}
	for _, q := range f.Tensors {
		if strings.HasPrefix(q.Name, "base.") || strings.HasSuffix(q.Name, ".order") {
			grads.Tensors = append(grads.Tensors, q)
		}
		if key, ok := strings.CutPrefix(q.Name, "golden.grad."); ok {
			d := q.Data.([]float64)
			v := make([]float32, len(d))
			for i := range v {
				v[i] = float32(d[i])
			}
			grads.Add(key, v, q.Shape...)
		}
	}
	gs := ad.NewParams[T]()
	if _, err := fromZuko(gs, grads, "flow"); err != nil {
		t.Fatal(err)
	}
	g.grad = gs.W
	return g
}

// train returns a function that computes the loss and its gradient in one shard.
func (g *golden[T]) train(k *kernel.Set[T], pool *ad.Pool) (step func() float64, sh *ad.Shards[T]) {
	p := ad.NewProgram(g.ps)
	x := p.Input(g.fl.Dim())
	r := &ad.Run[T]{N: g.n, Backward: true, Losses: make([]float64, 1), Inputs: []ad.Source[T]{{Data: g.x}}}
	var c Tensor
	if g.c != nil {
		c = p.Input(g.fl.ContextDim())
		r.Inputs = append(r.Inputs, ad.Source[T]{Data: g.c})
	}
	g.fl.NLL(p, x, c, p.Input(1))
	r.Inputs = append(r.Inputs, ad.Source[T]{Data: g.w})
	sh = ad.NewShards(g.ps, 1)
	e := p.Compile(k, pool, sh, ad.Settings{})
	return func() float64 {
		r.Losses[0] = 0
		e.Run(r)
		return r.Losses[0]
	}, sh
}

// gradientError is the largest difference between a gradient and the peer's, relative to the largest number of the same parameter.
func (g *golden[T]) gradientError(got []T) float64 {
	worst := 0.0
	for _, p := range g.ps.List {
		scale, diff := 0.0, 0.0
		for i := p.Off; i < p.Off+p.Size(); i++ {
			if g.ps.Mask[i] == 0 {
				continue
			}
			scale = max(scale, math.Abs(float64(g.grad[i])))
			diff = max(diff, math.Abs(float64(got[i]-g.grad[i])))
		}
		worst = max(worst, diff/max(scale, 1e-6))
	}
	return worst
}

// testAgainstZuko compares densities, gradients and, with a tolerance for it, the losses of 40 steps.
func testAgainstZuko[T Float](t *testing.T, k *kernel.Set[T], density, gradient, trajectory float64) {
	pool := ad.NewPool(1)
	for _, name := range goldens {
		t.Run(name+"/"+k.Name, func(t *testing.T) {
			g := readGolden[T](t, name)
			out := make([]T, g.n)
			NewEvaluator(g.fl, k, pool).LogProb(g.n, out, g.x, g.c)
			for i, v := range out {
				if math.Abs(float64(v)-g.logProb[i]) > density*max(1, math.Abs(g.logProb[i])) {
					t.Fatalf("row %d: ln p is %v, zuko says %v", i, v, g.logProb[i])
				}
			}
			step, sh := g.train(k, pool)
			step()
			if e := g.gradientError(sh.G[0]); e > gradient {
				t.Errorf("gradients differ from zuko's by %g", e)
			}
			// the check must see half a percent in any one parameter
			for _, p := range g.ps.List {
				wrong := append([]T(nil), sh.G[0]...)
				for i := p.Off; i < p.Off+p.Size(); i++ {
					wrong[i] *= 1.005
				}
				if g.gradientError(wrong) <= gradient {
					t.Errorf("a gradient of %s that is 0.5 %% too large goes unnoticed", p.Name)
				}
			}
			if trajectory == 0 {
				return
			}
			follow := func(wrong T) float64 {
				g := readGolden[T](t, name)
				step, sh := g.train(k, pool)
				opt := nn.NewAdam(g.ps, sh, k, pool, nn.AdamSettings{Eps: 1})
				worst := 0.0
				for _, want := range g.losses {
					worst = max(worst, math.Abs(step()-want)/max(1, math.Abs(want)))
					for i := range sh.G[0] {
						sh.G[0][i] *= wrong
					}
					opt.Update(0.1)
				}
				return worst
			}
			if e := follow(1); e > trajectory {
				t.Errorf("losses leave zuko's by %g", e)
			}
			if e := follow(1.005); e <= trajectory {
				t.Errorf("losses with a gradient 0.5 %% too large stay within %g", e)
			}
		})
	}
}

func TestAgainstZuko(t *testing.T) {
	t.Run("float32", func(t *testing.T) { testAgainstZuko(t, kernel.Best(), 5e-6, 2e-5, 5e-6) })
	t.Run("float64", func(t *testing.T) { testAgainstZuko(t, kernel.Portable[float64](), 1e-9, 1e-6, 0) })
}

func TestReadZukoRefuses(t *testing.T) {
	f, err := modelfile.ReadPlain(filepath.Join("testdata", "maf.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(q *modelfile.Tensor){
		"base.loc":                              func(q *modelfile.Tensor) { q.Data.([]float32)[0] = 1 },
		"base.scale":                            func(q *modelfile.Tensor) { q.Name = "other" },
		"transform.transforms.0.order":          func(q *modelfile.Tensor) { q.Data.([]int64)[1] = 9 },
		"transform.transforms.1.order":          func(q *modelfile.Tensor) { copy(q.Data.([]int64), []int64{0, 0, 2, 2}) },
		"transform.transforms.0.hyper.0.weight": func(q *modelfile.Tensor) { q.Name = "other" },
		"transform.transforms.0.hyper.0.bias":   func(q *modelfile.Tensor) { q.Shape = []int{3} },
		"transform.transforms.0.hyper.2.weight": func(q *modelfile.Tensor) { q.Shape = []int{10, 48} },
		"transform.transforms.0.hyper.4.weight": func(q *modelfile.Tensor) { q.Shape = []int{160} },
	} {
		g := &modelfile.File{}
		for _, q := range f.Tensors {
			switch d := q.Data.(type) {
			case []float32:
				q.Data = append([]float32(nil), d...)
			case []int64:
				q.Data = append([]int64(nil), d...)
			}
			if q.Name == name {
				change(&q)
			}
			g.Tensors = append(g.Tensors, q)
		}
		if _, err := fromZuko(ad.NewParams[float32](), g, "flow"); err == nil {
			t.Errorf("%s: changed, and nobody notices", name)
		}
	}
	if _, err := ReadZuko(ad.NewParams[float32](), filepath.Join("testdata", "none"), "flow"); err == nil {
		t.Error("a missing file is no error")
	}
}
