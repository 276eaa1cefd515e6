package ad

import "hepmorph/internal/kernel"

type layerNorm[T kernel.Float] struct {
	x, y, mean, rstd Tensor
	scale, shift     Part
	in               []Tensor
	of               []int
	eps              T
}

// LayerNorm records y = (x−mean)/√(var+eps) over the units of each row (arXiv 1607.06450, biased variance).
func (p *Program[T]) LayerNorm(x Tensor, eps float64) Tensor {
	return p.ModulatedNorm(x, Part{}, Part{}, eps)
}

// ModulatedNorm records y = LayerNorm(x)·(1+scale) + shift, the adaptive norm of arXiv 2212.09748. Scale and shift have the units of x
// and its rows, or one row an item, which then holds for all rows of the item; their tensors have equal width.
func (p *Program[T]) ModulatedNorm(x Tensor, scale, shift Part, eps float64) Tensor {
	o := &layerNorm[T]{x: x, y: p.New(x.Width, x.Rep), mean: p.Keep(1, x.Rep), rstd: p.Keep(1, x.Rep), scale: scale, shift: shift, eps: T(eps)}
	if scale.Tensor.None() {
		o.in = []Tensor{x}
	} else {
		for _, m := range [...]Part{scale, shift} {
			if m.Width() != x.Width || m.Tensor.Rep != x.Rep && m.Tensor.Rep != 1 {
				panic("ad: modulation of another shape than what is normalised")
			}
		}
		if scale.Tensor == x || shift.Tensor == x {
			panic("ad: a tensor that modulates itself")
		}
		o.in, o.of = tensors(x.All(), scale, shift)
	}
	p.Add(o)
	return o.y
}

func (o *layerNorm[T]) In() []Tensor { return o.in }

func (o *layerNorm[T]) Forward(f *Frame[T]) { o.forward(f, 0, f.Panels(o.x)) }

// ForwardPart normalises a part of the panels.
func (o *layerNorm[T]) ForwardPart(f *Frame[T], part, parts int) {
	lo, hi := portion(f.Panels(o.x), 1, part, parts)
	o.forward(f, lo, hi)
}

func (o *layerNorm[T]) forward(f *Frame[T], lo, hi int) {
	x, y, mean, rstd, s := f.V(o.x), f.V(o.y), f.V(o.mean), f.V(o.rstd), o.x.Stride()
	const l = kernel.Lanes
	if o.of == nil {
		f.K.LayerNorm(y[lo*s:], s, mean[lo*l:], rstd[lo*l:], x[lo*s:], s, nil, nil, 0, o.x.Width, hi-lo, o.eps)
		return
	}
	scale, shift := spread(f, o.scale, o.x.Rep), spread(f, o.shift, o.x.Rep)
	for p := lo; p < hi; p++ {
		f.K.LayerNorm(y[p*s:], s, mean[p*l:], rstd[p*l:], x[p*s:], s, scale.panel(p), shift.panel(p), s, o.x.Width, 1, o.eps)
	}
}

func (o *layerNorm[T]) Backward(f *Frame[T], fresh []bool) {
	o.Prepare(f, fresh, 0, 1)
	o.BackwardPart(f, fresh, 0, 1)
}

// Prepare lets the cotangents of scale and shift start at zero.
func (o *layerNorm[T]) Prepare(f *Frame[T], fresh []bool, part, parts int) {
	for i, t := range o.in[1:] {
		f.start(t, fresh[i+1], part, parts)
	}
}

// BackwardPart does a part of the items.
func (o *layerNorm[T]) BackwardPart(f *Frame[T], fresh []bool, part, parts int) {
	const l = kernel.Lanes
	x, gy, mean, rstd, s, rep := f.V(o.x), f.G(o.y), f.V(o.mean), f.V(o.rstd), o.x.Stride(), o.x.Rep
	own := f.items(rep, part, parts)
	temp := f.Temp(s)
	var dscale, dshift []T
	var scale spreader[T]
	var scales, shifts collector[T]
	modulated := o.of != nil
	if modulated {
		dscale, dshift = f.Temp(s), f.Temp(s)
		scale, scales, shifts = spread(f, o.scale, rep), collect(f, o.scale, own), collect(f, o.shift, own)
	}
	for p := own.from; p < own.to; p++ {
		dx, write := temp, own.owns(p) && f.HasGrad(o.x)
		if write && fresh[0] {
			dx = f.G(o.x)[p*s:]
		}
		var by []T
		if modulated {
			by = scale.panel(p)
		}
		f.K.LayerNormBackward(dx, s, dscale, dshift, s, gy[p*s:], s, x[p*s:], s, mean[p*l:], rstd[p*l:], by, s, o.x.Width, 1)
		if write && !fresh[0] {
			f.K.Axpy(f.G(o.x)[p*s:][:s], 1, dx[:s])
		}
		if modulated {
			scales.add(dscale, p)
			shifts.add(dshift, p)
		}
	}
	if modulated {
		scales.finish()
		shifts.finish()
	}
}

type affineNorm[T kernel.Float] struct {
	x, y, mean, rstd Tensor
	scale, shift     *Param
	eps              T
}

// AffineNorm records y = LayerNorm(x)·scale + shift with a learned scale and shift for each unit (arXiv 1607.06450).
func (p *Program[T]) AffineNorm(x Tensor, scale, shift *Param, eps float64) Tensor {
	if scale.Rows != x.Width || shift.Rows != x.Width || scale.LD != 1 || shift.LD != 1 {
		panic("ad: scale or shift of another length than what is normalised")
	}
	o := &affineNorm[T]{x, p.New(x.Width, x.Rep), p.Keep(1, x.Rep), p.Keep(1, x.Rep), scale, shift, T(eps)}
	p.Add(o)
	return o.y
}

func (o *affineNorm[T]) In() []Tensor { return []Tensor{o.x} }

// panels are scale−1 and shift for every lane.
func (o *affineNorm[T]) panels(f *Frame[T]) (scale, shift []T) {
	scale, shift = f.Temp(o.x.Stride()), f.Temp(o.x.Stride())
	a, b := f.W(o.scale), f.W(o.shift)
	for u := range o.x.Width {
		for e := u * kernel.Lanes; e < (u+1)*kernel.Lanes; e++ {
			scale[e], shift[e] = a[u]-1, b[u]
		}
	}
	return
}

func (o *affineNorm[T]) Forward(f *Frame[T]) {
	x, y, mean, rstd, s := f.V(o.x), f.V(o.y), f.V(o.mean), f.V(o.rstd), o.x.Stride()
	scale, shift := o.panels(f)
	for p := range f.Panels(o.x) {
		f.K.LayerNorm(y[p*s:], s, mean[p*kernel.Lanes:], rstd[p*kernel.Lanes:], x[p*s:], s, scale, shift, s, o.x.Width, 1, o.eps)
	}
}

func (o *affineNorm[T]) Backward(f *Frame[T], fresh []bool) {
	x, gy, mean, rstd, s := f.V(o.x), f.G(o.y), f.V(o.mean), f.V(o.rstd), o.x.Stride()
	scale, _ := o.panels(f)
	dx, dscale, dshift := f.Temp(s), f.Temp(s), f.Temp(s)
	for p := range f.Panels(o.x) {
		f.K.LayerNormBackward(dx, s, dscale, dshift, s, gy[p*s:], s, x[p*s:], s, mean[p*kernel.Lanes:], rstd[p*kernel.Lanes:], scale, s, o.x.Width, 1)
		f.K.RowSum(f.DW(o.scale), dscale, s, o.x.Width, 1)
		f.K.RowSum(f.DW(o.shift), dshift, s, o.x.Width, 1)
		if !f.HasGrad(o.x) {
			continue
		}
		if g := f.G(o.x)[p*s:][:s]; fresh[0] {
			copy(g, dx)
		} else {
			f.K.Axpy(g, 1, dx[:s])
		}
	}
}
