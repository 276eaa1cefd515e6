package flows

import (
	"fmt"
	"math"

	"hepmorph/internal/ad"
	"hepmorph/internal/kernel"
)

// An ActNorm is z = x·exp(s) + t, one scale and one shift a feature (arXiv 1807.03039). It starts as the identity; Normalize sets it from
// data. The log-scale is softly bounded, |s| < ln 1000.
type ActNorm[T Float] struct {
	d     int
	ps    *Params[T]
	theta *ad.Param // (D, 2): shift, raw log-scale
}

// NewActNorm adds the parameters for d features.
func NewActNorm[T Float](ps *Params[T], name string, d int) (*ActNorm[T], error) {
	if d < 1 {
		return nil, fmt.Errorf("flows: could not normalise %d features", d)
	}
	return &ActNorm[T]{d: d, ps: ps, theta: ps.Matrix(name+".actnorm", d, 2)}, nil
}

// Dim is the number of features.
func (a *ActNorm[T]) Dim() int { return a.d }

// ContextDim is 0.
func (a *ActNorm[T]) ContextDim() int { return 0 }

// Normalize sets scale and shift so that these rows leave with mean 0 and variance 1 in each feature, weights applied. A constant feature
// keeps its scale.
func (a *ActNorm[T]) Normalize(r Rows[T]) {
	m := NewMoments(r)
	for k := range a.d {
		s := 0.0
		if v := m.Cov[k*a.d+k]; v > 0 {
			s = min(max(-math.Log(v)/2, -6), 6) // ln 1000 is 6.9
		}
		row := a.ps.Row(a.theta, k)
		row[0] = T(-m.Mean[k] * math.Exp(s))
		row[1] = T(s / (1 - math.Abs(s)/math.Log(1e3)))
	}
}

// NormalizeActNorms sets every ActNorm of a flow from data, in order: each sees the rows as the members before it leave them. c are the
// contexts of the rows, nil without.
func NormalizeActNorms[T Float](fl *Flow[T], k *kernel.Set[T], pool *ad.Pool, r Rows[T], c []T) {
	for i, b := range fl.Bijectors {
		a, ok := b.(*ActNorm[T])
		if !ok {
			continue
		}
		rows := r
		if i > 0 {
			before := &Flow[T]{Params: fl.Params, Bijectors: fl.Bijectors[:i]}
			rows.X = make([]T, r.N*r.D)
			NewEvaluator(before, k, pool).Encode(r.N, rows.X, nil, r.X, c)
		}
		a.Normalize(rows)
	}
}

// Forward records x·exp(s) + t.
func (a *ActNorm[T]) Forward(p *Program[T], x, c, ladj Tensor) Tensor {
	return a.record(p, x, ladj, false)
}

// Inverse records (z − t)·exp(−s).
func (a *ActNorm[T]) Inverse(p *Program[T], z, c, ladj Tensor) Tensor {
	return a.record(p, z, ladj, true)
}

func (a *ActNorm[T]) record(p *Program[T], x, ladj Tensor, inverse bool) Tensor {
	o := &actNormOp[T]{a: a, x: x, ladj: ladj, y: p.New(a.d, 1), save: p.Keep(a.d*kernel.AffineSave, 1), inverse: inverse}
	p.Add(o)
	return o.y
}

type actNormOp[T Float] struct {
	a                *ActNorm[T]
	x, y, ladj, save Tensor
	inverse          bool
}

func (o *actNormOp[T]) In() []Tensor { return []Tensor{o.x} }

// theta spreads the parameters over the lanes of np panels.
func (o *actNormOp[T]) theta(f *ad.Frame[T], np int) []T {
	n := 2 * o.a.d * lanes
	t := f.Temp(np * n)
	for k := range o.a.d {
		for j, v := range o.a.ps.Row(o.a.theta, k) {
			row := t[(2*k+j)*lanes:][:lanes]
			for e := range row {
				row[e] = v
			}
		}
	}
	for p := 1; p < np; p++ {
		copy(t[p*n:][:n], t[:n])
	}
	return t
}

func (o *actNormOp[T]) Forward(f *ad.Frame[T]) {
	np, s := f.Panels(o.x), o.x.Stride()
	t := o.theta(f, np)
	if o.inverse {
		f.K.AffineInverse(o.a.d, np, f.V(o.y), s, f.V(o.ladj), f.V(o.x), s, t, 2*s)
		return
	}
	f.K.AffineForward(o.a.d, np, f.V(o.y), s, f.V(o.ladj), f.V(o.x), s, t, 2*s, f.V(o.save), o.save.Stride())
}

// Backward of the inverse x = (z−t)/S, S = exp(s), is that of the forward map at x with cotangents −gx/S of its output and −gl of its
// log-det; the cotangent of z is gx/S.
func (o *actNormOp[T]) Backward(f *ad.Frame[T], fresh []bool) {
	np, s, d := f.Panels(o.x), o.x.Stride(), o.a.d
	t := o.theta(f, np)
	gy, gl, x, save := f.G(o.y), f.G(o.ladj), f.V(o.x), f.V(o.save)
	dx, dt := f.Temp(np*s), f.Temp(2*np*s)
	gz := dx
	if o.inverse {
		x = f.V(o.y)
		y, unused := f.Temp(np*s), f.Temp(np*lanes)
		f.K.AffineForward(d, np, y, s, unused, x, s, t, 2*s, save, o.save.Stride())
		gz = f.Temp(np * s)
		back, minus := f.Temp(np*s), f.Temp(np*lanes)
		for p := range np {
			for k := range d {
				for e := range lanes {
					i := p*s + k*lanes + e
					gz[i] = gy[i] / save[p*o.save.Stride()+2*k*lanes+e]
					back[i] = -gz[i]
				}
			}
		}
		for i := range minus[:np*lanes] {
			minus[i] = -gl[i]
		}
		gy, gl = back, minus
	}
	f.K.AffineBackward(d, np, dx, s, dt, 2*s, gy, s, gl, x, s, t, 2*s, save, o.save.Stride())
	sum := f.Temp(2 * d)
	clear(sum)
	f.K.RowSum(sum, dt, 2*s, 2*d, np)
	for k := range d {
		f.DW(o.a.theta)[k*o.a.theta.LD] += sum[2*k]
		f.DW(o.a.theta)[k*o.a.theta.LD+1] += sum[2*k+1]
	}
	if !f.HasGrad(o.x) {
		return
	}
	if g := f.Cotangents(o.x); fresh[0] {
		copy(g, gz)
	} else {
		f.K.Axpy(g, 1, gz[:len(g)])
	}
}
