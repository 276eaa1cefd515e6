// Command reach trains the default flow on the points of a safetensors file and says how fast, and how its loss falls:
//
//	go run ./internal/peer/reach [-steps 20000] [-rate 1e-3] [-clip 1] [-threads 0] FILE
//
// The file has tensors train and test, standardised points, and may have train.context and test.context. internal/peer/density.py trains
// PyTorch's flow on the same file: the same architecture, batch, optimiser, schedule and average of the weights.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"hepmorph/flows"
	"hepmorph/internal/ad"
	"hepmorph/internal/modelfile"
	"hepmorph/internal/nn"
	"hepmorph/internal/rng"
)

const batch, warm = 1024, 200

func main() {
	steps := flag.Int("steps", 20000, "training steps")
	rate := flag.Float64("rate", 1e-3, "highest learning rate")
	clip := flag.Float64("clip", 1, "largest norm of a gradient")
	threads := flag.Int("threads", 0, "workers; 0: all cores")
	flag.Parse()
	err := errors.New("reach: one file is expected")
	if flag.NArg() == 1 {
		err = reach(flag.Arg(0), *steps, *rate, *clip, *threads)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// points are rows of numbers and of their contexts.
type points struct {
	n    int
	x, c []float32
}

// read takes points of dim numbers, on condition of context numbers, both 0 where they are not known.
func read(f *modelfile.File, name string, dim, context int) (p points, d, c int, err error) {
	t, err := f.Tensor(name)
	if err != nil {
		return p, 0, 0, err
	}
	if len(t.Shape) != 2 || t.Shape[0] < batch || dim > 0 && t.Shape[1] != dim {
		return p, 0, 0, fmt.Errorf("reach: could not use tensor %q of shape %v: at least %d rows of equal length are expected", name, t.Shape, batch)
	}
	p.n = t.Shape[0]
	if p.x, err = modelfile.Get[float32](f, name, p.n, t.Shape[1]); err != nil {
		return p, 0, 0, err
	}
	if k, err := f.Tensor(name + ".context"); err == nil && len(k.Shape) == 2 {
		if c = k.Shape[1]; dim > 0 && c != context {
			return p, 0, 0, fmt.Errorf("reach: could not use tensor %q: contexts of another length", name+".context")
		}
		if p.c, err = modelfile.Get[float32](f, name+".context", p.n, c); err != nil {
			return p, 0, 0, err
		}
	}
	return p, t.Shape[1], c, nil
}

func reach(file string, steps int, rate, clip float64, threads int) error {
	f, err := modelfile.ReadPlain(file)
	if err != nil {
		return err
	}
	train, dim, context, err := read(f, "train", 0, 0)
	if err != nil {
		return err
	}
	test, _, _, err := read(f, "test", dim, context)
	if err != nil {
		return err
	}
	ps := flows.NewParams[float32]()
	fl, err := flows.NewNSF(ps, flows.Settings{Features: dim, Context: context, Seed: 1})
	if err != nil {
		return err
	}
	pool := flows.NewPool(threads)
	defer pool.Close()
	p := ad.NewProgram(ps)
	x := p.Input(dim)
	var c flows.Tensor
	if context > 0 {
		c = p.Input(context)
	}
	fl.NLL(p, x, c, p.Input(1))
	sh := ad.NewShards(ps, 4)
	exec := p.Compile(flows.Best(), pool, sh, ad.Settings{})
	opt := nn.NewAdam(ps, sh, flows.Best(), pool, nn.AdamSettings{Clip: clip, Average: 0.999})
	w, index := make([]float32, batch), make([]int32, batch)
	for i := range w {
		w[i] = 1.0 / batch
	}
	run := &ad.Run[float32]{N: batch, Backward: true, Losses: make([]float64, 1), Inputs: []ad.Source[float32]{{Data: train.x, Index: index}}}
	if context > 0 {
		run.Inputs = append(run.Inputs, ad.Source[float32]{Data: train.c, Index: index})
	}
	run.Inputs = append(run.Inputs, ad.Source[float32]{Data: w})
	ev := flows.NewEvaluator(fl, flows.Best(), pool)
	lp, own := make([]float32, test.n), make([]float32, len(ps.W))
	held := func() float64 {
		copy(own, ps.W)
		copy(ps.W, opt.Mean)
		ev.LogProb(test.n, lp, test.x, test.c)
		copy(ps.W, own)
		sum := 0.0
		for _, v := range lp {
			sum -= float64(v)
		}
		return sum / float64(test.n)
	}
	key, schedule := rng.NewKey(1, "batches"), nn.Cosine(min(warm, steps/10))
	var spent time.Duration
	for step := range steps {
		start := time.Now()
		s := key.At(uint64(step))
		for i := range index {
			index[i] = int32(s.IntN(train.n))
		}
		exec.Run(run)
		opt.Update(rate * schedule(step, steps))
		spent += time.Since(start)
		if done := step + 1; done%max(1, steps/10) == 0 {
			fmt.Printf("%d steps, %.1f s: %.5f nats\n", done, spent.Seconds(), held())
		}
	}
	fmt.Printf("%.0f events a second\n", batch*float64(steps)/spent.Seconds())
	return nil
}
