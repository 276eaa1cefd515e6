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
	np := f.Panels(o.x)
	gy := f.G(o.y)
	if o.act == kernel.ReLU {
		g := f.Cotangents(o.y)
		for i, y := range f.Values(o.y) {
			if y <= 0 {
				g[i] = 0 // nobody else reads it
			}
		}
	}
	xt, ld := f.Transposed(f.V(o.x), o.x.Stride(), o.w.Cols, np)
	f.K.GradW(f.DW(o.w), o.w.LD, gy, o.y.Stride(), xt, ld, kernel.Lanes*ld, o.w.Rows, o.w.Cols, np, nil)
	if o.b != nil {
		f.K.RowSum(f.DW(o.b), gy, o.y.Stride(), o.w.Rows, np)
	}
	if f.HasGrad(o.x) {
		f.K.Mul(f.G(o.x), o.x.Stride(), f.W(o.w), 1, o.w.LD, gy, o.y.Stride(), o.w.Cols, o.w.Rows, np, nil, kernel.Epilogue[T]{Add: !fresh[0], Half: f.half(o.x)})
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
