package ad

import "hepmorph/internal/kernel"

type neighbours[T kernel.Float] struct {
	x, y  Tensor
	index [][]int32
}

// Neighbours records y, whose row r of an item is the rows index[r] of the item in x one after another, zeros for −1. All lists are equally
// long. A Linear after it is a convolution, of any neighbourhood.
func (p *Program[T]) Neighbours(x Tensor, index [][]int32) Tensor {
	if len(index) == 0 || len(index[0]) == 0 {
		panic("ad: no neighbours")
	}
	for _, list := range index {
		if len(list) != len(index[0]) {
			panic("ad: rows with different numbers of neighbours")
		}
		for _, k := range list {
			if k < -1 || int(k) >= x.Rep {
				panic("ad: a neighbour that is no row of the item")
			}
		}
	}
	y := p.New(len(index[0])*x.Width, len(index))
	p.Add(&neighbours[T]{x, y, index})
	return y
}

func (o *neighbours[T]) In() []Tensor { return []Tensor{o.x} }

// each calls f for every pair of a row of y and a neighbour: where the neighbour's units start in x, and where they go in y.
func (o *neighbours[T]) each(f *Frame[T], visit func(from, to int)) {
	const l = kernel.Lanes
	for item := range f.Items {
		for r, list := range o.index {
			row := item*o.y.Rep + r
			to := row/l*o.y.Stride() + row%l
			for j, k := range list {
				if k >= 0 {
					from := item*o.x.Rep + int(k)
					visit(from/l*o.x.Stride()+from%l, to+j*o.x.Width*l)
				}
			}
		}
	}
}

func (o *neighbours[T]) Forward(f *Frame[T]) {
	x, y, w := f.V(o.x), f.V(o.y), o.x.Width*kernel.Lanes
	clear(f.Values(o.y))
	o.each(f, func(from, to int) {
		for u := 0; u < w; u += kernel.Lanes {
			y[to+u] = x[from+u]
		}
	})
}

func (o *neighbours[T]) Backward(f *Frame[T], fresh []bool) {
	if !f.HasGrad(o.x) {
		return
	}
	if fresh[0] {
		clear(f.Cotangents(o.x))
	}
	gx, gy, w := f.G(o.x), f.G(o.y), o.x.Width*kernel.Lanes
	o.each(f, func(from, to int) {
		for u := 0; u < w; u += kernel.Lanes {
			gx[from+u] += gy[to+u]
		}
	})
}
