package ad

import (
	"math"

	"hepmorph/internal/kernel"
)

type gaussianSample[T kernel.Float] struct {
	mean, logvar Part
	noise, y     Tensor
	in           []Tensor
}

// GaussianSample records mean + exp(logvar/2)·noise: a draw whose parameters can be learned (arXiv 1312.6114).
func (p *Program[T]) GaussianSample(mean, logvar Part, noise Tensor) Tensor {
	if mean.Width() != logvar.Width() || mean.Width() != noise.Width || mean.Tensor.Rep != noise.Rep || logvar.Tensor.Rep != noise.Rep {
		panic("ad: mean, variance and noise of different shape")
	}
	o := &gaussianSample[T]{mean: mean, logvar: logvar, noise: noise, y: p.New(noise.Width, noise.Rep)}
	o.in, _ = tensors(mean, logvar, noise.All())
	p.Add(o)
	return o.y
}

func (o *gaussianSample[T]) In() []Tensor { return o.in }

func (o *gaussianSample[T]) Forward(f *Frame[T]) {
	for p := range f.Panels(o.y) {
		y := units(f.V(o.y), o.y.All(), p)
		m, v, n := units(f.V(o.mean.Tensor), o.mean, p), units(f.V(o.logvar.Tensor), o.logvar, p), units(f.V(o.noise), o.noise.All(), p)
		for i := range y {
			y[i] = m[i] + T(math.Exp(float64(v[i])/2))*n[i]
		}
	}
}

// units are those of a part in panel p of a tensor's numbers.
func units[T kernel.Float](s []T, t Part, p int) []T {
	at := p * t.Tensor.Stride()
	return s[at+t.Lo*kernel.Lanes : at+t.Hi*kernel.Lanes]
}

func (o *gaussianSample[T]) Backward(f *Frame[T], fresh []bool) {
	for i, t := range o.in {
		if fresh[i] && f.HasGrad(t) {
			clear(f.Cotangents(t))
		}
	}
	for p := range f.Panels(o.y) {
		g, v, n := units(f.G(o.y), o.y.All(), p), units(f.V(o.logvar.Tensor), o.logvar, p), units(f.V(o.noise), o.noise.All(), p)
		if f.HasGrad(o.mean.Tensor) {
			f.K.Axpy(units(f.G(o.mean.Tensor), o.mean, p), 1, g)
		}
		if f.HasGrad(o.logvar.Tensor) {
			d := units(f.G(o.logvar.Tensor), o.logvar, p)
			for i := range g {
				d[i] += g[i] * n[i] * T(math.Exp(float64(v[i])/2)) / 2
			}
		}
		if f.HasGrad(o.noise) {
			d := units(f.G(o.noise), o.noise.All(), p)
			for i := range g {
				d[i] += g[i] * T(math.Exp(float64(v[i])/2))
			}
		}
	}
}

type gaussianKL[T kernel.Float] struct {
	mean, logvar Part
	w            Tensor
	in           []Tensor
	slot         int
}

// GaussianKL records the loss Σ_r w_r·mean_u (mean² + exp(logvar) − 1 − logvar)/2, the divergence from a standard normal, and returns its slot.
func (p *Program[T]) GaussianKL(mean, logvar Part, w Tensor) int {
	if mean.Width() != logvar.Width() || mean.Tensor.Rep != w.Rep || logvar.Tensor.Rep != w.Rep || w.Width != 1 {
		panic("ad: mean, variance and weights of different shape")
	}
	o := &gaussianKL[T]{mean: mean, logvar: logvar, w: w, slot: p.Loss()}
	o.in, _ = tensors(mean, logvar)
	p.Add(o)
	return o.slot
}

func (o *gaussianKL[T]) In() []Tensor { return o.in }

func (o *gaussianKL[T]) Forward(f *Frame[T]) {
	s := 0.0
	for p := range f.Panels(o.w) {
		m, v, w := units(f.V(o.mean.Tensor), o.mean, p), units(f.V(o.logvar.Tensor), o.logvar, p), units(f.V(o.w), o.w.All(), p)
		for i := range m {
			a, b := float64(m[i]), float64(v[i])
			s += float64(w[i%kernel.Lanes]) * (a*a + math.Exp(b) - 1 - b) / 2
		}
	}
	f.AddLoss(o.slot, s/float64(o.mean.Width()))
}

func (o *gaussianKL[T]) Backward(f *Frame[T], fresh []bool) {
	for i, t := range o.in {
		if fresh[i] && f.HasGrad(t) {
			clear(f.Cotangents(t))
		}
	}
	scale := 1 / T(o.mean.Width())
	for p := range f.Panels(o.w) {
		m, v, w := units(f.V(o.mean.Tensor), o.mean, p), units(f.V(o.logvar.Tensor), o.logvar, p), units(f.V(o.w), o.w.All(), p)
		if f.HasGrad(o.mean.Tensor) {
			d := units(f.G(o.mean.Tensor), o.mean, p)
			for i := range d {
				d[i] += scale * w[i%kernel.Lanes] * m[i]
			}
		}
		if f.HasGrad(o.logvar.Tensor) {
			d := units(f.G(o.logvar.Tensor), o.logvar, p)
			for i := range d {
				d[i] += scale * w[i%kernel.Lanes] * T(math.Exp(float64(v[i]))-1) / 2
			}
		}
	}
}

type gaussianFit[T kernel.Float] struct {
	mean, logvar Part
	x, w         Tensor
	in           []Tensor
	slot         int
}

// GaussianFit records the loss Σ_i w_i·((x_i−mean_i)²·exp(−logvar_i) + logvar_i)/2, how unlikely given numbers x are from normal distributions, without
// its constant; weights w have the shape of x. It returns the slot.
func (p *Program[T]) GaussianFit(mean, logvar Part, x, w Tensor) int {
	if mean.Width() != logvar.Width() || mean.Width() != x.Width || x.Width != w.Width || mean.Tensor.Rep != x.Rep || logvar.Tensor.Rep != x.Rep || w.Rep != x.Rep {
		panic("ad: mean, variance, numbers and weights of different shape")
	}
	o := &gaussianFit[T]{mean: mean, logvar: logvar, x: x, w: w, slot: p.Loss()}
	o.in, _ = tensors(mean, logvar)
	p.Add(o)
	return o.slot
}

func (o *gaussianFit[T]) In() []Tensor { return o.in }

func (o *gaussianFit[T]) Forward(f *Frame[T]) {
	s := 0.0
	for p := range f.Panels(o.x) {
		m, v := units(f.V(o.mean.Tensor), o.mean, p), units(f.V(o.logvar.Tensor), o.logvar, p)
		x, w := units(f.V(o.x), o.x.All(), p), units(f.V(o.w), o.w.All(), p)
		for i, weight := range w {
			if weight != 0 {
				d, b := float64(x[i]-m[i]), float64(v[i])
				s += float64(weight) * (d*d*math.Exp(-b) + b) / 2
			}
		}
	}
	f.AddLoss(o.slot, s)
}

func (o *gaussianFit[T]) Backward(f *Frame[T], fresh []bool) {
	for i, t := range o.in {
		if fresh[i] && f.HasGrad(t) {
			clear(f.Cotangents(t))
		}
	}
	for p := range f.Panels(o.x) {
		m, v := units(f.V(o.mean.Tensor), o.mean, p), units(f.V(o.logvar.Tensor), o.logvar, p)
		x, w := units(f.V(o.x), o.x.All(), p), units(f.V(o.w), o.w.All(), p)
		var dm, dv []T
		if f.HasGrad(o.mean.Tensor) {
			dm = units(f.G(o.mean.Tensor), o.mean, p)
		}
		if f.HasGrad(o.logvar.Tensor) {
			dv = units(f.G(o.logvar.Tensor), o.logvar, p)
		}
		for i, weight := range w {
			if weight == 0 {
				continue
			}
			d := m[i] - x[i]
			scaled := d * T(math.Exp(-float64(v[i])))
			if dm != nil {
				dm[i] += weight * scaled
			}
			if dv != nil {
				dv[i] += weight * (1 - d*scaled) / 2
			}
		}
	}
}
