package ad

import "hepmorph/internal/kernel"

type gatedAdd[T kernel.Float] struct {
	x, h, y Tensor
	g       Part
	in      []Tensor
	of      []int
}

// GatedAdd records y = x + g·h, point by point: the gated residual of adaLN-Zero (arXiv 2212.09748). g has the rows of x, or one row
// an item, which then holds for all rows of the item.
func (p *Program[T]) GatedAdd(x, h Tensor, g Part) Tensor {
	if x.Width != h.Width || x.Width != g.Width() || x.Rep != h.Rep || g.Tensor.Rep != x.Rep && g.Tensor.Rep != 1 {
		panic("ad: gated sum of tensors of different shape")
	}
	o := &gatedAdd[T]{x: x, h: h, g: g, y: p.New(x.Width, x.Rep)}
	o.in, o.of = tensors(x.All(), h.All(), g)
	p.Add(o)
	return o.y
}

func (o *gatedAdd[T]) In() []Tensor { return o.in }

func (o *gatedAdd[T]) Forward(f *Frame[T]) {
	s := o.x.Stride()
	gate := f.Temp(s)
	for p := range f.Panels(o.x) {
		spread(f, gate, o.g, p, o.x.Rep)
		x, h, g := f.V(o.x)[p*s:][:s], f.V(o.h)[p*s:][:s], gate[:s]
		y := f.V(o.y)[p*s:][:s]
		for i, v := range x {
			y[i] = v + g[i]*h[i]
		}
	}
}

func (o *gatedAdd[T]) Backward(f *Frame[T], fresh []bool) {
	s := o.x.Stride()
	for i, t := range o.in {
		if fresh[i] && f.HasGrad(t) {
			clear(f.Cotangents(t))
		}
	}
	gate, dg := f.Temp(s), f.Temp(s)
	for p := range f.Panels(o.x) {
		gy := f.G(o.y)[p*s:][:s]
		if f.HasGrad(o.x) {
			f.K.Axpy(f.G(o.x)[p*s:][:s], 1, gy)
		}
		if f.HasGrad(o.h) {
			spread(f, gate, o.g, p, o.x.Rep)
			d, g := f.G(o.h)[p*s:][:s], gate[:s]
			for i, v := range gy {
				d[i] += v * g[i]
			}
		}
		if f.HasGrad(o.g.Tensor) {
			h, d := f.V(o.h)[p*s:][:s], dg[:s]
			for i, v := range gy {
				d[i] = v * h[i]
			}
			collect(f, dg, o.g, p, o.x.Rep)
		}
	}
}

type product[T kernel.Float] struct{ a, b, y Tensor }

// Product records y = a·b, point by point.
func (p *Program[T]) Product(a, b Tensor) Tensor {
	if a.Width != b.Width || a.Rep != b.Rep || a == b {
		panic("ad: product of one tensor or of two of different shape")
	}
	y := p.New(a.Width, a.Rep)
	p.Add(&product[T]{a, b, y})
	return y
}

func (o *product[T]) In() []Tensor { return []Tensor{o.a, o.b} }

func (o *product[T]) Forward(f *Frame[T]) {
	y, a, b := f.Values(o.y), f.Values(o.a), f.Values(o.b)
	for i, v := range a {
		y[i] = v * b[i]
	}
}

func (o *product[T]) Backward(f *Frame[T], fresh []bool) {
	f.depositProduct(o.a, f.Cotangents(o.y), f.Values(o.b), fresh[0])
	f.depositProduct(o.b, f.Cotangents(o.y), f.Values(o.a), fresh[1])
}

// depositProduct adds a·b, point by point, to the cotangent of t.
func (f *Frame[T]) depositProduct(t Tensor, a, b []T, fresh bool) {
	if !f.HasGrad(t) {
		return
	}
	d := f.Cotangents(t)
	if fresh {
		for i, v := range a {
			d[i] = v * b[i]
		}
		return
	}
	for i, v := range a {
		d[i] += v * b[i]
	}
}
