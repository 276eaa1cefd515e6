package flows_test

import (
	"flag"
	"math"
	"path/filepath"
	"testing"

	"hepmorph/flows"
	"hepmorph/internal/ad"
	"hepmorph/internal/modelfile"
	"hepmorph/internal/nn"
	"hepmorph/internal/rng"
	"hepmorph/samples/toys"
)

var (
	long  = flag.Bool("long", false, "train the density check for 20,000 steps, to its real bounds")
	steps = flag.Int("steps", 0, "steps of the density check; default 100, or 20,000 with -long")
	seed  = flag.Uint64("seed", 1, "seed of the density check's flow and batches")
	write = flag.String("write", "", "folder for the samples of the density check: internal/peer/density.py trains PyTorch's flow on the same")
)

// densities has, for each toy, the bound on held-out NLL − entropy in nats a dimension after 20,000 steps, and after the short run, which some
// have.
var densities = []struct {
	name        string
	short, long float64
}{
	{"eight-gaussians", 0.2, 0.01},
	{"moons", 0.05, 0.01},
	{"rings", 0, 0.01},
	{"gaussians-16d", 0, 0.01},
	{"checkerboard", 0, 0.03},
}

// TestDensity trains the default spline flow on samples of known density and compares its held-out likelihood with the truth's own on the same
// points: the mean difference is the KL divergence.
func TestDensity(t *testing.T) {
	for _, e := range densities {
		t.Run(e.name, func(t *testing.T) {
			bound, n := e.short, 100
			if *long {
				bound, n = e.long, 20000
			}
			if *steps > 0 {
				n = *steps
			}
			if bound == 0 && *steps == 0 {
				t.Skip("trained by: go test ./flows -run Density -timeout 2h -args -long")
			}
			d, err := toys.ByName(e.name)
			if err != nil {
				t.Fatal(err)
			}
			got := divergence(t, d, n)
			t.Logf("%s: %.4f nats a dimension above the truth after %d steps", e.name, got, n)
			if !(got < bound) {
				t.Errorf("the held-out likelihood misses the truth by %.4f nats a dimension, at most %g", got, bound)
			}
			if *long && got < -0.003 {
				t.Errorf("the held-out likelihood is better than the truth by %.4f nats a dimension", -got)
			}
		})
	}
}

func divergence(t *testing.T, d toys.Density, steps int) float64 {
	const batch = 1024
	dim := d.Dim()
	held := 1 << 17
	if !*long {
		held = 1 << 13
	}
	train := max(1<<16, min(1<<20, steps*batch))
	x := toys.Sample(d, train, 1)
	mean, sd := make([]float64, dim), make([]float64, dim)
	for k := range dim {
		for i := k; i < len(x); i += dim {
			mean[k] += x[i] / float64(train)
		}
		for i := k; i < len(x); i += dim {
			sd[k] += (x[i] - mean[k]) * (x[i] - mean[k]) / float64(train)
		}
		sd[k] = math.Sqrt(sd[k])
	}
	standard := func(x []float64) []float32 {
		z := make([]float32, len(x))
		for i, v := range x {
			z[i] = float32((v - mean[i%dim]) / sd[i%dim])
		}
		return z
	}
	test := toys.Sample(d, held, 2)
	truth := toys.MeanLogProb(d, test) // of the standardised points
	for _, s := range sd {
		truth += math.Log(s)
	}
	if *write != "" {
		f := &modelfile.File{Meta: map[string]string{}}
		f.Add("train", standard(x), train, dim)
		f.Add("test", standard(test), held, dim)
		f.Add("truth", []float64{truth}, 1)
		if err := f.Write(filepath.Join(*write, d.Name()+".safetensors")); err != nil {
			t.Fatal(err)
		}
	}
	pool := flows.NewPool(0)
	defer pool.Close()
	ps := flows.NewParams[float32]()
	fl, err := flows.NewNSF(ps, flows.Settings{Features: dim, Seed: *seed})
	if err != nil {
		t.Fatal(err)
	}
	p := ad.NewProgram(ps)
	fl.NLL(p, p.Input(dim), flows.Tensor{}, p.Input(1))
	sh := ad.NewShards(ps, 4)
	exec := p.Compile(flows.Best(), pool, sh, ad.Settings{})
	opt := nn.NewAdam(ps, sh, flows.Best(), pool, nn.AdamSettings{Clip: 5, Average: 0.999})
	w, index := make([]float32, batch), make([]int32, batch)
	for i := range w {
		w[i] = 1.0 / batch
	}
	run := &ad.Run[float32]{N: batch, Backward: true, Losses: make([]float64, 1), Inputs: []ad.Source[float32]{{Data: standard(x), Index: index}, {Data: w}}}
	key, schedule := rng.NewKey(*seed, "batches"), nn.Cosine(min(200, steps/10))
	for step := range steps {
		s := key.At(uint64(step))
		for i := range index {
			index[i] = int32(s.IntN(train))
		}
		exec.Run(run)
		opt.Update(2e-3 * schedule(step, steps))
	}
	copy(ps.W, opt.Mean)

	lp := make([]float32, held)
	flows.NewEvaluator(fl, flows.Best(), pool).LogProb(held, lp, standard(test), nil)
	got := 0.0
	for _, v := range lp {
		got += float64(v) / float64(held)
	}
	return (truth - got) / float64(dim)
}
