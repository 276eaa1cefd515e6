package ad

import "hepmorph/internal/kernel"

// table adds one learned row for each row of an item: a positional embedding.
type table[T kernel.Float] struct {
	x, y Tensor
	t    *Param
}

// AddTable records y = x + t[r], r the number of the row within its item. t is (x.Rep, x.Width).
func (p *Program[T]) AddTable(x Tensor, t *Param) Tensor {
	if t.Rows != x.Rep || t.Cols != x.Width {
		panic("ad: table of another shape than an item")
	}
	o := &table[T]{x, p.New(x.Width, x.Rep), t}
	p.Add(o)
	return o.y
}

func (o *table[T]) In() []Tensor { return []Tensor{o.x} }

func (o *table[T]) Forward(f *Frame[T]) { o.ForwardPart(f, 0, 1) }

// ForwardPart adds a part of the panels.
func (o *table[T]) ForwardPart(f *Frame[T], part, parts int) {
	const l = kernel.Lanes
	lo, hi := portion(f.Panels(o.x), 1, part, parts)
	y, w, s := f.V(o.y), f.W(o.t), o.x.Stride()
	copy(y[lo*s:hi*s], f.V(o.x)[lo*s:hi*s])
	for r := lo * l; r < min(f.Rows(o.y), hi*l); r++ {
		d := y[r/l*o.y.Stride()+r%l:]
		for u, v := range w[r%o.x.Rep*o.t.LD:][:o.t.Cols] {
			d[u*l] += v
		}
	}
}

func (o *table[T]) Backward(f *Frame[T], fresh []bool) { o.BackwardPart(f, fresh, 0, 1) }

// BackwardPart does a part of the units.
func (o *table[T]) BackwardPart(f *Frame[T], fresh []bool, part, parts int) {
	const l = kernel.Lanes
	gy, dw := f.G(o.y), f.DW(o.t)
	lo, hi := portion(o.x.Width, 1, part, parts)
	for r := range f.Rows(o.y) {
		s, d := gy[r/l*o.y.Stride()+r%l:], dw[r%o.x.Rep*o.t.LD:][:o.t.Cols]
		for u := lo; u < hi; u++ {
			d[u] += s[u*l]
		}
	}
	if f.HasGrad(o.x) {
		s := o.x.Stride()
		for p := range f.Panels(o.x) {
			f.addTo(f.G(o.x)[p*s+lo*l:p*s+hi*l], gy[p*s+lo*l:p*s+hi*l], fresh[0])
		}
	}
}
