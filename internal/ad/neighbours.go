package ad

import "hepmorph/internal/kernel"

type neighbours[T kernel.Float] struct {
	x, y  Tensor
	spans []span
}

// A span says that rows from, from+1, ... of an item of x are the slot-th neighbours of rows to, to+1, ... of y, n of them.
type span struct{ slot, from, to, n int }

// Neighbours records y, whose row r of an item is the rows index[r] of the item in x one after another, zeros for −1. All lists are equally
// long. A Linear after it is a convolution, of any neighbourhood.
func (p *Program[T]) Neighbours(x Tensor, index [][]int32) Tensor {
	if len(index) == 0 || len(index[0]) == 0 {
		panic("ad: no neighbours")
	}
	slots := len(index[0])
	o := &neighbours[T]{x: x, y: p.New(slots*x.Width, len(index))}
	for slot := range slots {
		last := span{n: -1}
		for r, list := range index {
			if len(list) != slots {
				panic("ad: rows with different numbers of neighbours")
			}
			k := int(list[slot])
			switch {
			case k < -1 || k >= x.Rep:
				panic("ad: a neighbour that is no row of the item")
			case k == -1:
				continue
			case last.n > 0 && r == last.to+last.n && k == last.from+last.n:
				last.n++
				o.spans[len(o.spans)-1] = last
			default:
				last = span{slot, k, r, 1}
				o.spans = append(o.spans, last)
			}
		}
	}
	p.Add(o)
	return o.y
}

func (o *neighbours[T]) In() []Tensor { return []Tensor{o.x} }

// each calls f for runs of n rows that lie in one panel of x and of y: where their units start.
func (o *neighbours[T]) each(f *Frame[T], visit func(from, to, n int)) {
	const l = kernel.Lanes
	for item := range f.Items {
		for _, s := range o.spans {
			from, to := item*o.x.Rep+s.from, item*o.y.Rep+s.to
			for left := s.n; left > 0; {
				n := min(left, l-from%l, l-to%l)
				visit(from/l*o.x.Stride()+from%l, to/l*o.y.Stride()+s.slot*o.x.Width*l+to%l, n)
				from, to, left = from+n, to+n, left-n
			}
		}
	}
}

func (o *neighbours[T]) Forward(f *Frame[T]) {
	x, y, w := f.V(o.x), f.V(o.y), o.x.Width*kernel.Lanes
	clear(f.Values(o.y))
	o.each(f, func(from, to, n int) {
		for u := 0; u < w; u += kernel.Lanes {
			copy(y[to+u:][:n], x[from+u:])
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
	o.each(f, func(from, to, n int) {
		for u := 0; u < w; u += kernel.Lanes {
			d := gx[from+u:][:n]
			for e, v := range gy[to+u:][:n] {
				d[e] += v
			}
		}
	})
}
