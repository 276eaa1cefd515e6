package ad

import (
	"math"

	"hepmorph/internal/kernel"
)

type gaussianNLL[T kernel.Float] struct {
	z, ladj, w Tensor
	slot       int
}

// GaussianNLL records the loss Σ_i w_i·(|z_i|²/2 + D/2·ln 2π − ladj_i), the negative log-likelihood of a flow with a normal base, and
// returns its slot. w has one unit an item; padding has none.
func (p *Program[T]) GaussianNLL(z, ladj, w Tensor) int {
	o := &gaussianNLL[T]{z: z, ladj: ladj, w: w, slot: p.Loss()}
	p.Add(o)
	return o.slot
}

func (o *gaussianNLL[T]) In() []Tensor { return []Tensor{o.z, o.ladj} }

func (o *gaussianNLL[T]) Forward(f *Frame[T]) {
	z, l, w := f.V(o.z), f.V(o.ladj), f.V(o.w)
	c := float64(o.z.Width) / 2 * math.Log(2*math.Pi)
	s := 0.0
	for p := range f.Panels(o.z) {
		var half [kernel.Lanes]T
		for u := range o.z.Width {
			for e, v := range z[p*o.z.Stride()+u*kernel.Lanes:][:kernel.Lanes] {
				half[e] += v * v / 2
			}
		}
		for e, h := range half {
			k := p*kernel.Lanes + e
			s += float64(w[k]) * (float64(h-l[k]) + c)
		}
	}
	f.AddLoss(o.slot, s)
}

func (o *gaussianNLL[T]) Backward(f *Frame[T], fresh []bool) {
	z, gz, gl, w := f.V(o.z), f.G(o.z), f.G(o.ladj), f.V(o.w)
	for p := range f.Panels(o.z) {
		wp := w[p*kernel.Lanes:][:kernel.Lanes]
		for u := range o.z.Width {
			k := p*o.z.Stride() + u*kernel.Lanes
			d, v := gz[k:][:kernel.Lanes], z[k:][:kernel.Lanes]
			for e, we := range wp {
				if fresh[0] {
					d[e] = we * v[e]
				} else {
					d[e] += we * v[e]
				}
			}
		}
		for e, we := range wp {
			if fresh[1] {
				gl[p*kernel.Lanes+e] = -we
			} else {
				gl[p*kernel.Lanes+e] -= we
			}
		}
	}
}

type squaredError[T kernel.Float] struct {
	x, y, w Tensor
	slot    int
}

// SquaredError records the loss Σ_r w_r·mean_u (x−y)² over rows r; w has one unit a row.
func (p *Program[T]) SquaredError(x, y, w Tensor) int {
	o := &squaredError[T]{x: x, y: y, w: w, slot: p.Loss()}
	p.Add(o)
	return o.slot
}

func (o *squaredError[T]) In() []Tensor { return []Tensor{o.x, o.y} }

func (o *squaredError[T]) Forward(f *Frame[T]) {
	x, y, w := f.V(o.x), f.V(o.y), f.V(o.w)
	s := 0.0
	for p := range f.Panels(o.x) {
		var q [kernel.Lanes]T
		for u := range o.x.Width {
			k := p*o.x.Stride() + u*kernel.Lanes
			b := y[k:][:kernel.Lanes]
			for e, v := range x[k:][:kernel.Lanes] {
				q[e] += (v - b[e]) * (v - b[e])
			}
		}
		for e, v := range q {
			s += float64(w[p*kernel.Lanes+e]) * float64(v)
		}
	}
	f.AddLoss(o.slot, s/float64(o.x.Width))
}

func (o *squaredError[T]) Backward(f *Frame[T], fresh []bool) {
	x, y, w := f.V(o.x), f.V(o.y), f.V(o.w)
	for i, t := range o.In() {
		if !f.HasGrad(t) {
			continue
		}
		sign := T(2) / T(o.x.Width)
		if i == 1 {
			sign = -sign
		}
		g := f.G(t)
		for p := range f.Panels(o.x) {
			for u := range o.x.Width {
				k := p*o.x.Stride() + u*kernel.Lanes
				for e := range kernel.Lanes {
					d := sign * w[p*kernel.Lanes+e] * (x[k+e] - y[k+e])
					if fresh[i] {
						g[k+e] = d
					} else {
						g[k+e] += d
					}
				}
			}
		}
	}
}

type logistic[T kernel.Float] struct {
	s, y, w Tensor
	slot    int
}

// LogisticLoss records Σ_i w_i·(softplus(s_i) − y_i·s_i) for scores s, labels y in [0,1] and weights w of one shape.
func (p *Program[T]) LogisticLoss(s, y, w Tensor) int {
	o := &logistic[T]{s: s, y: y, w: w, slot: p.Loss()}
	p.Add(o)
	return o.slot
}

func (o *logistic[T]) In() []Tensor { return []Tensor{o.s} }

func (o *logistic[T]) Forward(f *Frame[T]) {
	s, y, w := f.Values(o.s), f.V(o.y), f.V(o.w)
	sum := 0.0
	for i, v := range s {
		x := float64(v)
		sum += float64(w[i]) * (max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) - float64(y[i])*x)
	}
	f.AddLoss(o.slot, sum)
}

func (o *logistic[T]) Backward(f *Frame[T], fresh []bool) {
	g, y, w := f.G(o.s), f.V(o.y), f.V(o.w)
	for i, v := range f.Values(o.s) {
		d := w[i] * (T(1/(1+math.Exp(-float64(v)))) - y[i])
		if fresh[0] {
			g[i] = d
		} else {
			g[i] += d
		}
	}
}

type weightedSum[T kernel.Float] struct {
	x, w  Tensor
	scale T
	slot  int
}

// WeightedSum records the loss scale·Σ_r w_r·x_r for one unit a row.
func (p *Program[T]) WeightedSum(x, w Tensor, scale float64) int {
	if x.Width != 1 || w.Width != 1 || x.Rep != w.Rep {
		panic("ad: weighted sum of more than one unit")
	}
	o := &weightedSum[T]{x: x, w: w, scale: T(scale), slot: p.Loss()}
	p.Add(o)
	return o.slot
}

func (o *weightedSum[T]) In() []Tensor { return []Tensor{o.x} }

func (o *weightedSum[T]) Forward(f *Frame[T]) {
	w := f.V(o.w)
	s := 0.0
	for i, v := range f.V(o.x)[:f.Rows(o.x)] {
		s += float64(w[i]) * float64(v)
	}
	f.AddLoss(o.slot, float64(o.scale)*s)
}

func (o *weightedSum[T]) Backward(f *Frame[T], fresh []bool) {
	g, w := f.Cotangents(o.x), f.V(o.w)
	for i := range g {
		d := o.scale * w[i]
		if fresh[0] {
			g[i] = d
		} else {
			g[i] += d
		}
	}
}
