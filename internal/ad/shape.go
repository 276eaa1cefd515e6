package ad

import "hepmorph/internal/kernel"

type concat[T kernel.Float] struct {
	in []Tensor
	y  Tensor
}

// Concat records y, whose units are those of all inputs one after another.
func (p *Program[T]) Concat(in ...Tensor) Tensor {
	w := 0
	for _, t := range in {
		if t.Rep != in[0].Rep {
			panic("ad: concatenation of tensors with different rows")
		}
		w += t.Width
	}
	y := p.New(w, in[0].Rep)
	p.Add(&concat[T]{in, y})
	return y
}

func (o *concat[T]) In() []Tensor { return o.in }

func (o *concat[T]) Forward(f *Frame[T]) {
	y := f.V(o.y)
	for p := range f.Panels(o.y) {
		d := y[p*o.y.Stride():]
		for _, t := range o.in {
			n := t.Stride()
			copy(d[:n], f.V(t)[p*n:])
			d = d[n:]
		}
	}
}

func (o *concat[T]) Backward(f *Frame[T], fresh []bool) {
	gy := f.G(o.y)
	for p := range f.Panels(o.y) {
		s := gy[p*o.y.Stride():]
		for i, t := range o.in {
			n := t.Stride()
			if f.HasGrad(t) {
				d := f.G(t)[p*n:][:n]
				if fresh[i] {
					copy(d, s)
				} else {
					f.K.Axpy(d, 1, s[:n])
				}
			}
			s = s[n:]
		}
	}
}

type slice[T kernel.Float] struct {
	x, y Tensor
	lo   int
}

// Slice records units [lo, hi) of x.
func (p *Program[T]) Slice(x Tensor, lo, hi int) Tensor {
	y := p.New(hi-lo, x.Rep)
	p.Add(&slice[T]{x, y, lo})
	return y
}

func (o *slice[T]) In() []Tensor { return []Tensor{o.x} }

func (o *slice[T]) Forward(f *Frame[T]) {
	n := o.y.Stride()
	for p := range f.Panels(o.y) {
		copy(f.V(o.y)[p*n:][:n], f.V(o.x)[p*o.x.Stride()+o.lo*kernel.Lanes:])
	}
}

func (o *slice[T]) Backward(f *Frame[T], fresh []bool) {
	if !f.HasGrad(o.x) {
		return
	}
	if fresh[0] {
		clear(f.Cotangents(o.x))
	}
	n := o.y.Stride()
	for p := range f.Panels(o.y) {
		f.K.Axpy(f.G(o.x)[p*o.x.Stride()+o.lo*kernel.Lanes:][:n], 1, f.G(o.y)[p*n:][:n])
	}
}

type expand[T kernel.Float] struct{ x, y Tensor }

// Expand records y with rep rows an item, each a copy of the item's one row in x.
func (p *Program[T]) Expand(x Tensor, rep int) Tensor {
	if x.Rep != 1 {
		panic("ad: only one row an item can be expanded")
	}
	y := p.New(x.Width, rep)
	p.Add(&expand[T]{x, y})
	return y
}

func (o *expand[T]) In() []Tensor { return []Tensor{o.x} }

func (o *expand[T]) Forward(f *Frame[T]) {
	x, y := f.V(o.x), f.V(o.y)
	w := o.x.Width
	for p := range f.Panels(o.y) {
		for e := range kernel.Lanes {
			item := min((p*kernel.Lanes+e)/o.y.Rep, f.Items-1)
			s := x[item/kernel.Lanes*o.x.Stride()+item%kernel.Lanes:]
			d := y[p*o.y.Stride()+e:]
			for u := range w {
				d[u*kernel.Lanes] = s[u*kernel.Lanes]
			}
		}
	}
}

func (o *expand[T]) Backward(f *Frame[T], fresh []bool) {
	if !f.HasGrad(o.x) {
		return
	}
	gx, gy := f.G(o.x), f.G(o.y)
	if fresh[0] {
		clear(f.Cotangents(o.x))
	}
	for r := range f.Rows(o.y) {
		item := r / o.y.Rep
		d := gx[item/kernel.Lanes*o.x.Stride()+item%kernel.Lanes:]
		s := gy[r/kernel.Lanes*o.y.Stride()+r%kernel.Lanes:]
		for u := range o.x.Width {
			d[u*kernel.Lanes] += s[u*kernel.Lanes]
		}
	}
}
