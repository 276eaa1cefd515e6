package flows

import (
	"fmt"

	"hepmorph/internal/ad"
)

// A Permutation reorders features: z_i = x_{order[i]}. Its log-det is 0.
type Permutation[T Float] struct{ order, back []int }

// NewPermutation makes one; order must hold each of 0..D-1 once.
func NewPermutation[T Float](order []int) (*Permutation[T], error) {
	p := &Permutation[T]{order: append([]int(nil), order...), back: make([]int, len(order))}
	seen := make([]bool, len(order))
	for i, k := range order {
		if k < 0 || k >= len(order) || seen[k] {
			return nil, fmt.Errorf("flows: could not permute by %v: each of 0 to %d must be there once", order, len(order)-1)
		}
		seen[k], p.back[k] = true, i
	}
	return p, nil
}

// Dim is the number of features.
func (q *Permutation[T]) Dim() int { return len(q.order) }

// ContextDim is 0.
func (q *Permutation[T]) ContextDim() int { return 0 }

// Forward records the reordered features.
func (q *Permutation[T]) Forward(p *Program[T], x, c, ladj Tensor) Tensor {
	return permute(p, x, q.order)
}

// Inverse records the features in their first order.
func (q *Permutation[T]) Inverse(p *Program[T], z, c, ladj Tensor) Tensor {
	return permute(p, z, q.back)
}

type permuteOp[T Float] struct {
	x, y  Tensor
	order []int
}

func permute[T Float](p *Program[T], x Tensor, order []int) Tensor {
	o := &permuteOp[T]{x, p.New(x.Width, x.Rep), order}
	p.Add(o)
	return o.y
}

func (o *permuteOp[T]) In() []Tensor { return []Tensor{o.x} }

func (o *permuteOp[T]) Forward(f *ad.Frame[T]) {
	x, y := f.V(o.x), f.V(o.y)
	for p := range f.Panels(o.x) {
		for i, k := range o.order {
			copy(y[p*o.y.Stride()+i*lanes:][:lanes], x[p*o.x.Stride()+k*lanes:])
		}
	}
}

func (o *permuteOp[T]) Backward(f *ad.Frame[T], fresh []bool) {
	if !f.HasGrad(o.x) {
		return
	}
	gx, gy := f.G(o.x), f.G(o.y)
	for p := range f.Panels(o.x) {
		for i, k := range o.order {
			d, s := gx[p*o.x.Stride()+k*lanes:][:lanes], gy[p*o.y.Stride()+i*lanes:][:lanes]
			if fresh[0] {
				copy(d, s)
			} else {
				f.K.Axpy(d, 1, s)
			}
		}
	}
}
