package flows

import (
	"fmt"
	"math"

	"hepmorph/internal/ad"
)

// A Rotation turns angles in [−bound, bound) by a learned angle each: z = x + a, wrapped. Circular splines keep −bound where it is, so a flow
// needs rotations between them to move everything. What is no angle, outside of the interval, is left alone. Its log-det is 0.
type Rotation[T Float] struct {
	d     int
	bound float64
	ps    *Params[T]
	by    *ad.Param
}

// NewRotation adds the parameters for d angles.
func NewRotation[T Float](ps *Params[T], name string, d int, bound float64) (*Rotation[T], error) {
	if d < 1 || !(bound > 0) {
		return nil, fmt.Errorf("flows: could not rotate %d angles of ±%g", d, bound)
	}
	return &Rotation[T]{d: d, bound: bound, ps: ps, by: ps.Vector(name+".rotation", d)}, nil
}

// Dim is the number of angles.
func (r *Rotation[T]) Dim() int { return r.d }

// ContextDim is 0.
func (r *Rotation[T]) ContextDim() int { return 0 }

// Forward records x + a.
func (r *Rotation[T]) Forward(p *Program[T], x, c, ladj Tensor) Tensor { return r.record(p, x, 1) }

// Inverse records z − a.
func (r *Rotation[T]) Inverse(p *Program[T], z, c, ladj Tensor) Tensor { return r.record(p, z, -1) }

func (r *Rotation[T]) record(p *Program[T], x Tensor, sign float64) Tensor {
	o := &rotationOp[T]{r, x, p.New(r.d, 1), sign}
	p.Add(o)
	return o.y
}

type rotationOp[T Float] struct {
	r    *Rotation[T]
	x, y Tensor
	sign float64
}

func (o *rotationOp[T]) In() []Tensor { return []Tensor{o.x} }

// angle says whether v lies on the circle.
func (r *Rotation[T]) angle(v T) bool { return float64(v) >= -r.bound && float64(v) < r.bound }

func (o *rotationOp[T]) Forward(f *ad.Frame[T]) {
	x, y, b := f.V(o.x), f.V(o.y), o.r.bound
	for u := range o.r.d {
		by := o.sign * math.Remainder(float64(f.W(o.r.by)[u]), 2*b)
		for p := range f.Panels(o.x) {
			k := p*o.x.Stride() + u*lanes
			for e, v := range x[k:][:lanes] {
				if o.r.angle(v) {
					t := float64(v) + by
					if t >= b {
						t -= 2 * b
					} else if t < -b {
						t += 2 * b
					}
					if v = T(t); !o.r.angle(v) { // rounded onto the seam
						v = T(-b)
					}
				}
				y[k+e] = v
			}
		}
	}
}

func (o *rotationOp[T]) Backward(f *ad.Frame[T], fresh []bool) {
	x, gy := f.V(o.x), f.G(o.y)
	for u := range o.r.d {
		sum := 0.0
		for p := range f.Panels(o.x) {
			k := p*o.x.Stride() + u*lanes
			for e, g := range gy[k:][:lanes] {
				if o.r.angle(x[k+e]) {
					sum += float64(g)
				}
			}
		}
		f.DW(o.r.by)[u] += T(o.sign * sum)
	}
	if !f.HasGrad(o.x) {
		return
	}
	if d := f.Cotangents(o.x); fresh[0] {
		copy(d, gy)
	} else {
		f.K.Axpy(d, 1, gy[:len(d)])
	}
}
