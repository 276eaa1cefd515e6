package morph

import (
	"math"

	"gonum.org/v1/gonum/mat"
)

// A Balance is what is left for weights to do once a histogram or a classifier has found their shape: the factor
// exp(lambda.phi(c)), phi the conditions and their products, that makes means, variances and covariances of the weighted
// simulation those of the data. Of all weights that do so they are the nearest to the ones before in relative entropy
// (entropy balancing: Hainmueller, Political Analysis 20 (2012) 25; the empirical likelihood's tilt).
type Balance struct {
	Mean   []float64 `json:"mean"`   // of the data, each condition
	SD     []float64 `json:"sd"`     // of the data
	Lambda []float64 `json:"lambda"` // of the conditions, then of the products with j <= i in order of i, j; shorter: 0
}

// farthest bounds a condition in standard deviations of the data, so that no tail is weighed by its square.
const farthest = 5

// phi writes the terms of a row's conditions, as many as out holds.
func (b *Balance) phi(x []float64, out []float64) {
	n := len(b.Mean)
	for j := range n {
		out[j] = max(-farthest, min((x[j]-b.Mean[j])/b.SD[j], farthest))
	}
	if len(out) == n {
		return
	}
	k := n
	for i := range n {
		for j := 0; j <= i; j++ {
			out[k] = out[i] * out[j]
			k++
		}
	}
}

// scale multiplies factors of rows, cols[condition][row], by those of the balance.
func (b *Balance) scale(cols [][]float64, factors []float64) {
	if b == nil {
		return
	}
	x, phi := make([]float64, len(cols)), make([]float64, len(b.Lambda))
	for i := range factors {
		for j := range cols {
			x[j] = cols[j][i]
		}
		b.phi(x, phi)
		s := 0.0
		for k, l := range b.Lambda {
			s += l * phi[k]
		}
		if s == s { // a row without a condition keeps its factor
			factors[i] *= math.Exp(s)
		}
	}
}

// rowsPerMoment is how many rows a moment takes: with fewer the data's are not known well enough to be worth a weight.
const rowsPerMoment = 100

// fitBalance finds the balance of a weighted simulation, by Newton's method on its convex dual, log E exp(lambda.(phi -
// phi of the data)). It gives nil where no weights can do so: few rows, a constant condition, moments of the data that
// lie outside of the simulation, or weights that leave less than half of the effective events.
func fitBalance(sim, data Conditioned) *Balance {
	n := len(sim.Cols)
	b := &Balance{Mean: make([]float64, n), SD: make([]float64, n)}
	for j := range n {
		for i, x := range data.Cols[j] {
			b.Mean[j] += data.Weight[i] * x
		}
		for i, x := range data.Cols[j] {
			b.SD[j] += data.Weight[i] * (x - b.Mean[j]) * (x - b.Mean[j])
		}
		if b.SD[j] = math.Sqrt(b.SD[j]); !(b.SD[j] > 0) || math.IsInf(b.SD[j], 0) {
			return nil
		}
	}
	terms, rows := n+n*(n+1)/2, min(sim.rows(), data.rows())
	if rows < rowsPerMoment*terms {
		terms = n
	}
	if rows < rowsPerMoment*terms {
		return nil
	}
	target, phi, x := make([]float64, terms), make([]float64, terms), make([]float64, n)
	each := func(c Conditioned, do func(w float64)) {
		for i, w := range c.Weight {
			for j := range x {
				x[j] = c.Cols[j][i]
			}
			b.phi(x, phi)
			do(w)
		}
	}
	each(data, func(w float64) {
		for k, p := range phi {
			target[k] += w * p
		}
	})
	b.Lambda = make([]float64, terms)
	trial := make([]float64, terms)
	// value is the dual and, where they are wanted, its gradient and the lower half of its Hessian
	value := func(lambda, grad, hess []float64) (v, square float64) {
		clear(grad)
		clear(hess)
		each(sim, func(w float64) {
			s := 0.0
			for k := range phi {
				phi[k] -= target[k]
				s += lambda[k] * phi[k]
			}
			e := w * math.Exp(s)
			v += e
			square += e * e
			if hess == nil {
				return
			}
			at := 0
			for k, p := range phi {
				p *= e
				grad[k] += p
				for l, q := range phi[:k+1] {
					hess[at+l] += p * q
				}
				at += k + 1
			}
		})
		return v, square
	}
	grad, hess, curvature := make([]float64, terms), make([]float64, terms*(terms+1)/2), mat.NewSymDense(terms, nil)
	var before float64
	for step := range 50 {
		v, square := value(b.Lambda, grad, hess)
		if step == 0 {
			before = v * v / square
		}
		worst := 0.0
		for k := range grad {
			grad[k] /= v
			worst = max(worst, math.Abs(grad[k]))
		}
		if worst < 1e-8 {
			if v*v/square < before/2 {
				return nil
			}
			return b
		}
		at := 0
		for k := range terms {
			for l := range k + 1 {
				curvature.SetSym(k, l, hess[at]/v-grad[k]*grad[l])
				at++
			}
		}
		var chol mat.Cholesky
		var d mat.VecDense
		if !chol.Factorize(curvature) || chol.SolveVecTo(&d, mat.NewVecDense(terms, grad)) != nil {
			return nil
		}
		for size := 1.0; ; size /= 2 {
			if size < 1e-6 {
				return nil
			}
			for k := range trial {
				trial[k] = b.Lambda[k] - size*d.AtVec(k)
			}
			if next, _ := value(trial, nil, nil); next <= v*(1+1e-12) {
				copy(b.Lambda, trial)
				break
			}
		}
	}
	return nil
}
