package metric

import (
	"fmt"
	"math"

	"hepmorph/internal/gbdt"
	"hepmorph/internal/rng"
)

// ReweightSettings of the classifier weights; the zero value is the recommended one.
type ReweightSettings struct {
	Trees   gbdt.Settings // zero: depth 3, rate 0.05, ≤ 1500 trees, early stop, else as gbdt
	Clip    float64       // largest factor before normalisation. Default 10, the judges' own; a bias where the samples differ much.
	Models  int           // models whose log-odds are averaged, each with its own validation part. Default 1.
	Seed    uint64
	Threads int // 0: every core that is granted
}

// Reweighter turns conditions of simulated events into factors that give them the law of data.
type Reweighter struct {
	Models []*gbdt.Model
	Clip   float64
	Norm   float64 // the factors' weighted mean over the simulation that was trained on
}

// Reweight trains trees to tell data from simulation in the given columns and returns the factor f/(1-f), clipped
// (arXiv:1907.08209 and many before). Weights must not be negative: signed samples come with their positive weights.
func Reweight(sim, data [][]float64, wsim, wdata []float64, s ReweightSettings) (*Reweighter, error) {
	if err := checkPair("reweight", sim, wsim, data, wdata); err != nil {
		return nil, err
	}
	if s.Clip == 0 {
		s.Clip = 10
	}
	if !(s.Clip > 0) {
		return nil, fmt.Errorf("metric: could not reweight: the clip is %g, must be positive", s.Clip)
	}
	def := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	def(&s.Models, 1)
	def(&s.Trees.Trees, 1500)
	def(&s.Trees.Depth, 3)
	if s.Trees.Rate == 0 {
		s.Trees.Rate = 0.05
	}
	ones := func(w []float64, n int) []float64 {
		if w != nil {
			return w
		}
		w = make([]float64, n)
		for i := range w {
			w[i] = 1
		}
		return w
	}
	wsim, wdata = ones(wsim, len(sim[0])), ones(wdata, len(data[0]))
	r := &Reweighter{Clip: s.Clip, Norm: 1}
	for k := range s.Models {
		ts := s.Trees
		ts.Seed, ts.Threads = rng.Hash(s.Seed, 7, uint64(k)), s.Threads
		m, err := fitTwo(sim, data, wsim, wdata, ts)
		if err != nil {
			return nil, fmt.Errorf("metric: could not reweight: %w", err)
		}
		r.Models = append(r.Models, m)
	}
	k := make([]float64, len(sim[0]))
	r.Factors(sim, k, s.Threads)
	var a, b float64
	for i, v := range k {
		a += wsim[i] * v
		b += wsim[i]
	}
	r.Norm = a / b
	return r, nil
}

// Factors writes the factor of each row to out: min(f/(1-f), Clip)/Norm, always finite and not negative. It panics if the
// number of columns or rows disagrees with the training's.
func (r *Reweighter) Factors(cols [][]float64, out []float64, threads int) {
	clear(out)
	one := make([]float64, len(out))
	for _, m := range r.Models {
		m.Margin(cols, one, threads)
		for i, v := range one {
			out[i] += v
		}
	}
	for i, v := range out {
		out[i] = min(math.Exp(v/float64(len(r.Models))), r.Clip) / r.Norm
	}
}
