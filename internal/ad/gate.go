package ad

import "hepmorph/internal/kernel"

type gatedAdd[T kernel.Float] struct {
	x, h, y Tensor
	g       Part
}

// GatedAdd records y = x + g·h, point by point: the gated residual of adaLN-Zero (arXiv 2212.09748). g has the rows of x, or one row
// an item, which then holds for all rows of the item.
func (p *Program[T]) GatedAdd(x, h Tensor, g Part) Tensor {
	if x.Width != h.Width || x.Width != g.Width() || x.Rep != h.Rep || g.Tensor.Rep != x.Rep && g.Tensor.Rep != 1 {
		panic("ad: gated sum of tensors of different shape")
	}
	if x == h || x == g.Tensor || h == g.Tensor {
		panic("ad: gated sum of one tensor with itself")
	}
	o := &gatedAdd[T]{x: x, h: h, g: g, y: p.New(x.Width, x.Rep)}
	p.Add(o)
	return o.y
}

func (o *gatedAdd[T]) In() []Tensor { return []Tensor{o.x, o.h, o.g.Tensor} }

func (o *gatedAdd[T]) Forward(f *Frame[T]) { o.forward(f, 0, f.Panels(o.x)) }

// ForwardPart adds a part of the panels.
func (o *gatedAdd[T]) ForwardPart(f *Frame[T], part, parts int) {
	lo, hi := portion(f.Panels(o.x), 1, part, parts)
	o.forward(f, lo, hi)
}

func (o *gatedAdd[T]) forward(f *Frame[T], lo, hi int) {
	s := o.x.Stride()
	gate := spread(f, o.g, o.x.Rep)
	for p := lo; p < hi; p++ {
		x, h, g := f.V(o.x)[p*s:][:s], f.V(o.h)[p*s:][:s], gate.panel(p)[:s]
		f.K.MulAdd(f.V(o.y)[p*s:][:s], x, g, h)
	}
}

func (o *gatedAdd[T]) Backward(f *Frame[T], fresh []bool) {
	o.Prepare(f, fresh, 0, 1)
	o.BackwardPart(f, fresh, 0, 1)
}

// Prepare lets the gate's cotangent start at zero.
func (o *gatedAdd[T]) Prepare(f *Frame[T], fresh []bool, part, parts int) {
	f.start(o.g.Tensor, fresh[2], part, parts)
}

// BackwardPart does a part of the items.
func (o *gatedAdd[T]) BackwardPart(f *Frame[T], fresh []bool, part, parts int) {
	s, own := o.x.Stride(), f.items(o.x.Rep, part, parts)
	gate, gates, dg := spread(f, o.g, o.x.Rep), collect(f, o.g, own), f.Temp(s)
	for p := own.from; p < own.to; p++ {
		gy := f.G(o.y)[p*s:][:s]
		if own.owns(p) {
			if f.HasGrad(o.x) {
				f.addTo(f.G(o.x)[p*s:][:s], gy, fresh[0])
			}
			if f.HasGrad(o.h) {
				f.addProduct(f.G(o.h)[p*s:][:s], gy, gate.panel(p)[:s], fresh[1])
			}
		}
		if f.HasGrad(o.g.Tensor) {
			f.addProduct(dg[:s], gy, f.V(o.h)[p*s:][:s], true)
			gates.add(dg, p)
		}
	}
	gates.finish()
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
	if f.HasGrad(t) {
		f.addProduct(f.Cotangents(t), a, b, fresh)
	}
}

// addProduct adds a·b to d, or writes it.
func (f *Frame[T]) addProduct(d, a, b []T, fresh bool) {
	d = d[:len(a)]
	if fresh {
		clear(d)
	}
	f.K.MulAdd(d, d, a, b)
}
