package ad

import "hepmorph/internal/kernel"

// linear is y = act(W x + b), row by row. W is (out, in), b (out) or nil.
type linear[T kernel.Float] struct {
	x, y Tensor
	w, b *Param
	act  kernel.Act
}

// Linear records y = W x + b; b may be nil.
func (p *Program[T]) Linear(x Tensor, w, b *Param) Tensor {
	return p.linear(x, w, b, kernel.Identity)
}

// LinearReLU records y = max(W x + b, 0); b may be nil.
func (p *Program[T]) LinearReLU(x Tensor, w, b *Param) Tensor { return p.linear(x, w, b, kernel.ReLU) }

func (p *Program[T]) linear(x Tensor, w, b *Param, act kernel.Act) Tensor {
	if w.Cols != x.Width {
		panic("ad: linear: width of the input is not that of the weights")
	}
	y := p.New(w.Rows, x.Rep)
	p.Add(&linear[T]{x: x, y: y, w: w, b: b, act: act})
	return y
}

func (o *linear[T]) In() []Tensor { return []Tensor{o.x} }

func (o *linear[T]) Forward(f *Frame[T]) { o.forward(f, 0, o.w.Rows) }

// ForwardPart computes a part of the units.
func (o *linear[T]) ForwardPart(f *Frame[T], part, parts int) {
	lo, hi := portion(o.w.Rows, kernel.Block, part, parts)
	o.forward(f, lo, hi)
}

func (o *linear[T]) forward(f *Frame[T], lo, hi int) {
	if lo == hi {
		return
	}
	e := kernel.Epilogue[T]{Act: o.act, Half: f.half(o.x)}
	if o.b != nil {
		e.Bias = f.W(o.b)[lo:]
	}
	if w := f.rounded[o.w]; w != nil {
		o.forwardRounded(f, w, lo, hi, e)
		return
	}
	f.K.Mul(f.V(o.y)[lo*kernel.Lanes:], o.y.Stride(), f.W(o.w)[lo*o.w.LD:], o.w.LD, 1, f.V(o.x), o.x.Stride(), hi-lo, o.w.Cols, f.Panels(o.x), nil, e)
}

func (o *linear[T]) Backward(f *Frame[T], fresh []bool) {
	o.Prepare(f, fresh, 0, 1)
	o.BackwardPart(f, fresh, 0, 1)
}

// Prepare takes the cotangent of y back through the activation.
func (o *linear[T]) Prepare(f *Frame[T], _ []bool, part, parts int) {
	if o.act != kernel.ReLU {
		return
	}
	g, y := f.Cotangents(o.y), f.Values(o.y)
	lo, hi := portion(len(y), kernel.Lanes, part, parts)
	g = g[lo:hi]
	for i, v := range y[lo:hi] {
		if v <= 0 {
			g[i] = 0 // nobody else reads it
		}
	}
}

// BackwardPart computes the gradients of a part of the columns of the weights, the cotangents of as many units of x, and a part of the
// gradient of the bias.
func (o *linear[T]) BackwardPart(f *Frame[T], fresh []bool, part, parts int) {
	lo, hi := portion(o.w.Cols, align, part, parts)
	o.weightGradient(f, lo, hi, part, parts)
	if f.HasGrad(o.x) && lo < hi {
		f.K.Mul(f.G(o.x)[lo*kernel.Lanes:], o.x.Stride(), f.W(o.w)[lo:], 1, o.w.LD, f.G(o.y), o.y.Stride(), hi-lo, o.w.Rows, f.Panels(o.x), nil,
			kernel.Epilogue[T]{Add: !fresh[0], Half: f.half(o.x)})
	}
}

// Sizes of the part of a weight gradient that is made at a time: cotangents of so many units in so many panels stay in the level-2 cache while
// all columns of the weights pass.
const (
	gradRows   = 128
	gradPanels = 17
)

// weightGradient adds the gradient of the columns [lo,hi) of the weights, and that of the bias for each block of its rows that falls to a part.
// Turned inputs lie in blocks of so many columns as the kernel takes at a time, all panels of a block in one piece.
func (o *linear[T]) weightGradient(f *Frame[T], lo, hi, part, parts int) {
	const l = kernel.Lanes
	np, x, gy, sy, sx := f.Panels(o.x), f.V(o.x), f.G(o.y), o.y.Stride(), o.x.Stride()
	dw, fresh := f.FreshDW(o.w)
	width := roundUp(hi-lo, align)
	turned := f.Temp(min(np, gradPanels) * l * width)
	for p := 0; p < np; p += gradPanels {
		n := min(gradPanels, np-p)
		for q := range n {
			for u := 0; u < width; u += l {
				w := min(l, width-u)
				f.K.Transpose(turned[u*n*l+q*w*l:], w, w*l, x[(p+q)*sx+(lo+u)*l:], sx, min(w, hi-lo-u), 1)
			}
		}
		for block, i := 0, 0; i < o.w.Rows; block, i = block+1, i+gradRows {
			m, g := min(gradRows, o.w.Rows-i), gy[p*sy+i*l:]
			if o.b != nil && block%parts == part {
				f.K.RowSum(f.DW(o.b)[i:], g, sy, m, n)
			}
			for u := 0; u < width; u += l {
				w := min(l, width-u)
				f.K.GradW(dw[i*o.w.LD+lo+u:], o.w.LD, g, sy, turned[u*n*l:], w, w*l, m, min(w, hi-lo-u), n, nil, p > 0 || !fresh)
			}
		}
	}
}

// Transposed returns the panels of x, of width units and at a stride, row by row in scratch memory, as GradW wants them, and the length of a row:
// rows a multiple of 512 bytes apart would meet in few sets of the level-1 cache.
func (f *Frame[T]) Transposed(x []T, stride, width, np int) (rows []T, ld int) {
	if ld = roundUp(width, align); ld%128 == 0 {
		ld += align
	}
	rows = f.Temp(np * kernel.Lanes * ld)
	f.K.Transpose(rows, ld, kernel.Lanes*ld, x, stride, width, np)
	return rows, ld
}
