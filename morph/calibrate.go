package morph

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/mat"

	"hepmorph/internal/ad"
	"hepmorph/internal/kernel"
	"hepmorph/internal/par"
)

// A calibration is the last bijector of a network, between flow and base: for each domain an affine autoregressive layer whose conditioner is
// linear,
//
//	u_j = (z_j − a_j − b_j·c − l_j·z_{<j})/s_j,
//
// so that its fit is a weighted least-squares problem with a solution in closed form. A stochastic training leaves the mean of
// the latent features wrong by about 0.01: the likelihood does not feel it (5e-5 nats), but it is three times what half a million events resolve,
// and the difference between the domains' errors is a shift of every morphed event. After the calibration latent features of either sample have
// mean 0 and no linear dependence on each other and on the conditions, to the statistics of the training rows, and the same variance.
type calibration struct {
	Domains []linear `json:"domains"` // by the domain number of the flow; one for a cnf
}

// linear is the layer of one domain: each row of Weights has intercept, conditions (C) and features before (D), Scale has the deviations of what is left
// (D). Weights that the training rows don't call for are 0, scales that they don't call for 1.
type linear struct {
	Weights [][]float64 `json:"weights"`
	Scale   []float64   `json:"scale"`
}

// gramRows is the number of rows whose products are summed by one task; the partition is part of the result.
const gramRows = 8192

// enough is the square of the smallest deviation, in standard errors, that is calibrated: with less a parameter costs more on new rows than it gains
// (Akaike's criterion).
const enough = 2

// rowProducts are the summed products of weighted rows (1, c, z).
type rowProducts struct {
	*mat.SymDense
	rows float64 // effective number
}

// linearFit is a layer whose scales are 1 yet, and what is needed to choose them.
type linearFit struct {
	linear
	left, held []float64 // logarithms of the deviations that training rows and validation rows are left with
	rows       float64   // effective number of training rows
	gain       float64   // estimate by how much the layer raises the mean log-likelihood of new rows
}

// fitLinear fits the layer for d features and k conditions to the training rows.
func fitLinear(d, k int, training, validation rowProducts) (*linearFit, error) {
	total, rows := training.At(0, 0), training.rows
	l := &linearFit{rows: rows}
	for j := range d {
		at := make([]int, 1+k+j) // regressors that are left
		for a := range at {
			at[a] = a
		}
		for {
			beta, inverse, rest, err := regress(training.SymDense, at, 1+k+j)
			if err != nil {
				return nil, fmt.Errorf("morph: could not calibrate latent feature %d: %w", j, err)
			}
			weakest, least := 0, math.Inf(1) // one goes at a time: of two that say the same, one stays
			for i, b := range beta {
				if t := b * b * rows / (inverse[i] * rest); t < least {
					weakest, least = i, t
				}
			}
			if least < enough {
				at = slices.Delete(at, weakest, weakest+1)
				continue
			}
			row := make([]float64, 1+k+d)
			for i, a := range at {
				row[a] = beta[i]
			}
			l.gain += (training.At(1+k+j, 1+k+j)/total-rest)/2 - float64(len(at))/rows
			l.Weights, l.Scale = append(l.Weights, row), append(l.Scale, 1)
			l.left, l.held = append(l.left, math.Log(rest)/2), append(l.held, math.Log(validation.rest(row, 1+k+j))/2)
			break
		}
	}
	return l, nil
}

// setScales sets the scales of both domains, of which a morph feels the ratio: that of the deviations of training rows. It stays 1 if it differs from it by chance, or
// if validation rows deny it. What a flow knows by heart of its training rows narrows them in both domains and leaves the ratio alone.
func setScales(domains []*linearFit) {
	for j := range domains[0].Scale {
		log, held, variance := 0.0, 0.0, 0.0
		for d, l := range domains {
			sign := float64(1 - 2*d)
			log, held, variance = log+sign*l.left[j], held+sign*l.held[j], variance+1/(2*l.rows)
		}
		if log*log < enough*variance || !(log*(2*held-log) > 0) { // without validation rows held is no number
			continue
		}
		part := log / float64(len(domains))
		for d, l := range domains {
			l.Scale[j] = math.Exp(part * float64(1-2*d))
			l.gain += part * (2*held/float64(len(domains)) - part)
		}
	}
}

// rest is the variance of variable y after the prediction by row.
func (m rowProducts) rest(row []float64, y int) float64 {
	v := m.At(y, y)
	for a, x := range row[:y] {
		v -= 2 * x * m.At(a, y)
		for b, z := range row[:y] {
			v += x * z * m.At(a, b)
		}
	}
	return v / m.At(0, 0)
}

// products sums the products of n rows with d features z, k conditions c and weights w.
func products(n, d, k int, z, c []float32, w []float64, threads int) rowProducts {
	size := 1 + k + d
	parts := make([][]float64, (n+gramRows-1)/gramRows)
	par.For(threads, n, gramRows, func(p, lo, hi int) {
		g, v := make([]float64, size*size), make([]float64, size)
		v[0] = 1
		for i := lo; i < hi; i++ {
			for j := range k {
				v[1+j] = float64(c[i*k+j])
			}
			for j := range d {
				v[1+k+j] = float64(z[i*d+j])
			}
			for a, x := range v {
				x *= w[i]
				for b, y := range v[:a+1] {
					g[a*size+b] += x * y
				}
			}
		}
		parts[p] = g
	})
	gram := mat.NewSymDense(size, nil)
	for a := range size {
		for b := range a + 1 {
			sum := 0.0
			for _, g := range parts {
				sum += g[a*size+b]
			}
			gram.SetSym(a, b, sum)
		}
	}
	square := 0.0
	for _, v := range w {
		square += v * v
	}
	return rowProducts{gram, gram.At(0, 0) * gram.At(0, 0) / square}
}

// regress solves for variable y by the variables at, from the products of all: coefficients, the diagonal of the inverse of their products in units of the
// sum of weights, and the residual's variance.
func regress(gram *mat.SymDense, at []int, y int) (beta, inverse []float64, rest float64, err error) {
	total := gram.At(0, 0)
	rest = gram.At(y, y) / total
	if len(at) > 0 {
		left, right := mat.NewSymDense(len(at), nil), mat.NewVecDense(len(at), nil)
		for i, a := range at {
			for j, b := range at[:i+1] {
				left.SetSym(i, j, gram.At(a, b)/total)
			}
			left.SetSym(i, i, left.At(i, i)+1e-9) // a condition may be constant
			right.SetVec(i, gram.At(a, y)/total)
		}
		var ch mat.Cholesky
		if !ch.Factorize(left) {
			return nil, nil, 0, errors.New("the products of its regressors are not positive")
		}
		var b mat.VecDense
		var inv mat.SymDense
		if err := ch.SolveVecTo(&b, right); err != nil {
			return nil, nil, 0, err
		}
		if err := ch.InverseTo(&inv); err != nil {
			return nil, nil, 0, err
		}
		for i := range at {
			beta, inverse = append(beta, b.AtVec(i)), append(inverse, inv.At(i, i))
		}
		rest -= mat.Dot(&b, right)
	}
	if !(rest > 0) {
		return nil, nil, 0, errors.New("it follows from others")
	}
	return beta, inverse, rest, nil
}

// mean is the part of z_j that the layer predicts; z needs only the features before j.
func (l *linear) mean(j, k int, z, c []float32) float64 {
	row := l.Weights[j]
	m := row[0]
	for a, v := range c[:k] {
		m += row[1+a] * float64(v)
	}
	for a, v := range z[:j] {
		m += row[1+k+a] * float64(v)
	}
	return m
}

// forward takes latent features z (D) to those of the base u (D), not in place.
func (l *linear) forward(k int, z, c, u []float32) {
	for j := range z {
		u[j] = float32((float64(z[j]) - l.mean(j, k, z, c)) / l.Scale[j])
	}
}

// inverse undoes forward, not in place.
func (l *linear) inverse(k int, u, c, z []float32) {
	for j := range u {
		z[j] = float32(float64(u[j])*l.Scale[j] + l.mean(j, k, z, c))
	}
}

// check says whether a calibration read from a file fits a network.
func (c *calibration) check(n *network) error {
	if want := n.domains(); len(c.Domains) != want {
		return fmt.Errorf("a calibration of %d domains, want %d", len(c.Domains), want)
	}
	for _, l := range c.Domains {
		if len(l.Weights) != n.d || len(l.Scale) != n.d {
			return fmt.Errorf("a calibration of %d features, want %d", len(l.Weights), n.d)
		}
		for j, row := range l.Weights {
			if len(row) != 1+n.c+n.d || !(l.Scale[j] > 0) {
				return fmt.Errorf("a calibration whose feature %d has %d weights and scale %v", j, len(row), l.Scale[j])
			}
		}
	}
	return nil
}

// domains is the number of laws that the flow has learnt: those of both samples, or of the data alone.
func (n *network) domains() int {
	if n.method == CNF {
		return 1
	}
	return 2
}

// between takes latent features from the base of the simulation, or from noise, to that of the data: what stands between forward and inverse of a morph.
// z (n,D) is changed in place, c (n,C) are the conditions.
func (c *calibration) between(n *network, rows int, z, cond []float32, threads int) {
	par.For(threads, rows, gramRows, func(_, lo, hi int) {
		u := make([]float32, n.d)
		for i := lo; i < hi; i++ {
			zi, ci := z[i*n.d:(i+1)*n.d], cond[i*n.c:(i+1)*n.c]
			if n.method == Switch {
				c.Domains[0].forward(n.c, zi, ci, u)
			} else {
				copy(u, zi)
			}
			c.Domains[len(c.Domains)-1].inverse(n.c, u, ci, zi)
		}
	})
}

// latent runs the flow forward: z (n,D).
func (n *network) latent(pool *ad.Pool, s *sampleSet, domain float32) []float32 {
	p := ad.NewProgram(n.ps)
	out := n.flow.Bijectors.Forward(p, p.Input(n.d), p.Input(n.contextDim()), p.Sum(1))
	e := p.Compile(kernel.Best(), pool, nil, ad.Settings{Shards: 64})
	ctx, _ := n.contexts(s.n, s.x, s.c, domain)
	z := make([]float32, s.n*n.d)
	e.Run(&ad.Run[float32]{N: s.n, Inputs: []ad.Source[float32]{{Data: s.x}, {Data: ctx}}, Outputs: []ad.Sink[float32]{{Tensor: out, Data: z}}})
	return z
}

// calibrate fits the last bijector to the training rows, and the validation rows, of a network that has its final parameters. gain is how much it should
// raise the mean log-likelihood of new rows.
func (t *task) calibrate() (gain float64, err error) {
	n := t.net
	cal := &calibration{}
	sets := [][2]*sampleSet{{t.td.sim, t.td.simVal}, {t.td.data, t.td.dataVal}}
	if n.method == CNF {
		sets = sets[1:]
	}
	var fits []*linearFit
	for d, pair := range sets {
		domain := float32(d)
		if n.method == CNF {
			domain = 1
		}
		var sums [2]rowProducts
		for i, s := range pair {
			sums[i] = products(s.n, n.d, n.c, n.latent(t.pool, s, domain), s.c, s.given, t.pool.Workers())
		}
		l, err := fitLinear(n.d, n.c, sums[0], sums[1])
		if err != nil {
			return 0, err
		}
		fits = append(fits, l)
	}
	setScales(fits)
	for _, l := range fits {
		cal.Domains = append(cal.Domains, l.linear)
		gain += l.gain / float64(len(fits))
	}
	n.cal = cal
	return gain, nil
}
