package ad

import "hepmorph/internal/kernel"

// HasGrad says whether t carries a cotangent in this program.
func (f *Frame[T]) HasGrad(t Tensor) bool { return f.prog.HasGrad(t) }

// live is the part of t that real rows fill.
func (f *Frame[T]) live(s []T, t Tensor) []T { return s[:f.Panels(t)*t.Stride()] }

// Values returns the panels of t that real rows fill, and Cotangents theirs.
func (f *Frame[T]) Values(t Tensor) []T     { return f.live(f.V(t), t) }
func (f *Frame[T]) Cotangents(t Tensor) []T { return f.live(f.G(t), t) }

// start clears a part of the cotangent of t where nothing is there yet.
func (f *Frame[T]) start(t Tensor, fresh bool, part, parts int) {
	if fresh && f.HasGrad(t) {
		g := f.Cotangents(t)
		lo, hi := portion(len(g), kernel.Lanes, part, parts)
		clear(g[lo:hi])
	}
}

// deposit adds src to the cotangent of t, or overwrites it when it is fresh.
func (f *Frame[T]) deposit(t Tensor, src []T, fresh bool) { f.addTo(f.Cotangents(t), src, fresh) }

// addTo adds src to dst, or overwrites it when it is fresh.
func (f *Frame[T]) addTo(dst, src []T, fresh bool) {
	if fresh {
		copy(dst, src)
	} else {
		f.K.Axpy(dst, 1, src)
	}
}

// An Activation is a point-wise function of the set of kernels.
type Activation uint8

const (
	SiLU Activation = iota
	GELU
	Tanh
	LeakyReLU // x where x > 0, else x/100
)

// leak is the slope of LeakyReLU below zero.
const leak = 0.01

type activation[T kernel.Float] struct {
	kind Activation
	x, y Tensor
}

// Activate records y = f(x), point by point.
func (p *Program[T]) Activate(kind Activation, x Tensor) Tensor {
	y := p.New(x.Width, x.Rep)
	p.Add(&activation[T]{kind: kind, x: x, y: y})
	return y
}

func (o *activation[T]) In() []Tensor { return []Tensor{o.x} }

func (o *activation[T]) Forward(f *Frame[T]) { o.ForwardPart(f, 0, 1) }

// ForwardPart maps a part of the numbers.
func (o *activation[T]) ForwardPart(f *Frame[T], part, parts int) {
	y, x := f.Values(o.y), f.Values(o.x)
	lo, hi := portion(len(x), kernel.Lanes, part, parts)
	y, x = y[lo:hi], x[lo:hi]
	switch o.kind {
	case SiLU:
		f.K.SiLU(y, x)
	case GELU:
		f.K.GELU(y, x)
	case Tanh:
		f.K.Tanh(y, x)
	case LeakyReLU:
		for i, v := range x {
			y[i] = max(v, leak*v)
		}
	}
}

func (o *activation[T]) Backward(f *Frame[T], fresh []bool) { o.BackwardPart(f, fresh, 0, 1) }

// BackwardPart maps a part of the numbers.
func (o *activation[T]) BackwardPart(f *Frame[T], fresh []bool, part, parts int) {
	if !f.HasGrad(o.x) {
		return
	}
	gx, gy, x, y := f.Cotangents(o.x), f.Cotangents(o.y), f.Values(o.x), f.Values(o.y)
	lo, hi := portion(len(x), kernel.Lanes, part, parts)
	gx, gy, x, y = gx[lo:hi], gy[lo:hi], x[lo:hi], y[lo:hi]
	dst := gx
	if !fresh[0] {
		dst = f.Temp(len(gx))[:len(gx)]
	}
	switch o.kind {
	case SiLU:
		f.K.SiLUGrad(dst, gy, x)
	case GELU:
		f.K.GELUGrad(dst, gy, x)
	case Tanh:
		f.K.TanhGrad(dst, gy, y)
	case LeakyReLU:
		for i, v := range x {
			if v > 0 {
				dst[i] = gy[i]
			} else {
				dst[i] = leak * gy[i]
			}
		}
	}
	if !fresh[0] {
		f.K.Axpy(gx, 1, dst)
	}
}

type add[T kernel.Float] struct{ a, b, y Tensor }

// Sum2 records y = a + b, of equal shape.
func (p *Program[T]) Sum2(a, b Tensor) Tensor {
	if a.Width != b.Width || a.Rep != b.Rep {
		panic("ad: sum of two tensors of different shape")
	}
	y := p.New(a.Width, a.Rep)
	p.Add(&add[T]{a, b, y})
	return y
}

func (o *add[T]) In() []Tensor { return []Tensor{o.a, o.b} }

func (o *add[T]) Forward(f *Frame[T]) {
	y, a, b := f.Values(o.y), f.Values(o.a), f.Values(o.b)
	for i, v := range a {
		y[i] = v + b[i]
	}
}

func (o *add[T]) Backward(f *Frame[T], fresh []bool) {
	for i, t := range [...]Tensor{o.a, o.b} {
		if f.HasGrad(t) {
			f.deposit(t, f.Cotangents(o.y), fresh[i])
		}
	}
}
