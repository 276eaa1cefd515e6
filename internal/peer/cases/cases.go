// Package cases has the benchmark cases of flows: the ones that the Go benchmarks run and that are compared with Python peers. 8 features, 4
// conditions, 5 transforms, ReLU conditioners; narrow is 2×128 with batches of 1024, wide is 3×256 with batches of 4096.
package cases

import (
	"fmt"

	"hepmorph/flows"
	"hepmorph/internal/ad"
	"hepmorph/internal/kernel"
	"hepmorph/internal/nn"
	"hepmorph/internal/rng"
)

const features, conditions, transforms = 8, 4, 5

// A Case is one flow and its batch.
type Case struct {
	Name     string // "maf narrow"
	Kind     string // maf | nsf | coupling
	Features int
	Hidden   []int
	Batch    int
}

// All lists the cases.
func All() []Case {
	var all []Case
	for _, size := range []struct {
		name   string
		hidden []int
		batch  int
	}{{"narrow", []int{128, 128}, 1024}, {"wide", []int{256, 256, 256}, 4096}} {
		for _, kind := range []string{"maf", "nsf", "coupling"} {
			all = append(all, Case{Name: kind + " " + size.name, Kind: kind, Features: features, Hidden: size.hidden, Batch: size.batch})
		}
	}
	return all
}

// A Runner holds a case ready to run.
type Runner struct {
	Case
	flow  *flows.Flow[float32]
	pool  *ad.Pool
	exec  *ad.Exec[float32]
	run   ad.Run[float32]
	adam  *nn.Adam[float32]
	ev    *flows.Evaluator[float32]
	x, c  []float32
	out   []float32
	draws uint64
}

// New prepares a case for a number of workers (0: all).
func New(c Case, k *kernel.Set[float32], threads int, set ad.Settings) (*Runner, error) {
	ps := ad.NewParams[float32]()
	s := flows.Settings{Features: c.Features, Context: conditions, Transforms: transforms, Hidden: c.Hidden, Seed: 1}
	var err error
	r := &Runner{Case: c, pool: ad.NewPool(threads)}
	switch c.Kind {
	case "maf":
		r.flow, err = flows.NewMAF(ps, s)
	case "coupling":
		s.Passes = 2
		fallthrough
	case "nsf":
		r.flow, err = flows.NewNSF(ps, s)
	default:
		err = fmt.Errorf("cases: could not find kind %q", c.Kind)
	}
	if err != nil {
		return nil, err
	}
	p := ad.NewProgram(ps)
	r.flow.NLL(p, p.Input(c.Features), p.Input(conditions), p.Input(1))
	if set.Shards == 0 {
		set.Shards = 4
	}
	sh := ad.NewShards(ps, set.Shards)
	r.exec = p.Compile(k, r.pool, sh, set)
	r.adam = nn.NewAdam(ps, sh, k, r.pool, nn.AdamSettings{})
	r.ev = flows.NewEvaluator(r.flow, k, r.pool)
	draw := func(stream string, n int) []float32 {
		v := make([]float32, n)
		s := rng.NewKey(1, stream).At(0)
		for i := range v {
			v[i] = float32(s.Norm())
		}
		return v
	}
	r.x, r.c, r.out = draw("x", c.Batch*c.Features), draw("c", c.Batch*conditions), make([]float32, c.Batch*c.Features)
	w := make([]float32, c.Batch)
	index := make([]int32, c.Batch)
	for i := range w {
		w[i], index[i] = 1/float32(c.Batch), int32(i)
	}
	r.run = ad.Run[float32]{N: c.Batch, Backward: true, Losses: make([]float64, 1),
		Inputs: []ad.Source[float32]{{Data: r.x, Index: index}, {Data: r.c, Index: index}, {Data: w}}}
	return r, nil
}

// Close ends the workers.
func (r *Runner) Close() { r.pool.Close() }

// Train makes one step: negative log-likelihood, gradients, Adam. It returns the loss before the step.
func (r *Runner) Train() float64 {
	r.run.Losses[0] = 0
	r.exec.Run(&r.run)
	r.adam.Update(1e-4)
	return r.run.Losses[0]
}

// LogProb evaluates the density of one batch.
func (r *Runner) LogProb() { r.ev.LogProb(r.Batch, r.out, r.x, r.c) }

// Sample draws one batch.
func (r *Runner) Sample() {
	r.ev.Sample(r.Batch, r.out, r.c, rng.NewKey(1, "sample"), r.draws)
	r.draws += uint64(r.Batch)
}

// Work is the number of floating-point operations of a step that the masks leave in matrix products: for each weight that may move, a
// multiply-add forward, one for its gradient and one for the gradient of its input.
func (r *Runner) Work() float64 {
	n := 0
	for _, p := range r.flow.Params.List {
		if p.Cols == 1 {
			continue
		}
		for _, m := range r.flow.Params.Mask[p.Off:][:p.Size()] {
			n += int(m)
		}
	}
	return 6 * float64(n) * float64(r.Batch)
}
