package flows

import (
	"fmt"
	"math"

	"hepmorph/internal/ad"
	"hepmorph/internal/kernel"
)

// A factorised matrix of a Linear bijector. All matrices are (D, D) row-major, in float64.
type factors[T Float] interface {
	// matrices writes W and its inverse and returns ln|det W|.
	matrices(f *ad.Frame[T], w, inverse []float64) (logDet float64)
	// backward adds the gradients of the parameters, given dw for W and gl for ln|det W|.
	backward(f *ad.Frame[T], dw []float64, gl float64)
}

// A Linear is z = W x + b with a matrix that is factorised so that it has an inverse whatever its parameters are. It mixes features
// between transforms; it takes no context.
type Linear[T Float] struct {
	d    int
	ps   *Params[T]
	w    factors[T]
	bias *ad.Param
}

// NewLU makes W = L·U with unit lower triangular L and upper triangular U, whose diagonal is positive and softly bounded to within
// [1/1000, 1000] (arXiv 1807.03039). It starts as the identity; put a Permutation or an orthogonal layer beside it if the order matters.
func NewLU[T Float](ps *Params[T], name string, d int) (*Linear[T], error) {
	if d < 1 {
		return nil, fmt.Errorf("flows: could not make a linear map of %d features", d)
	}
	lu := &luFactors[T]{d: d, ps: ps, lower: ps.Matrix(name+".lower", d, d), upper: ps.Matrix(name+".upper", d, d), diag: ps.Vector(name+".diagonal", d)}
	ps.SetMask(lu.lower, func(i, j int) bool { return j < i })
	ps.SetMask(lu.upper, func(i, j int) bool { return j > i })
	return &Linear[T]{d: d, ps: ps, w: lu, bias: ps.Vector(name+".bias", d)}, nil
}

// NewOrthogonal makes W = H_1···H_k, a product of k Householder reflections H = 1 − 2vvᵀ/|v|² with vectors drawn from the seed (arXiv
// 1611.09630); k = D reaches every orthogonal matrix of its determinant. Its log-det is 0.
func NewOrthogonal[T Float](ps *Params[T], name string, d, k int, seed uint64) (*Linear[T], error) {
	if d < 1 || k < 1 {
		return nil, fmt.Errorf("flows: could not make an orthogonal map of %d features from %d reflections", d, k)
	}
	h := &householder[T]{d: d, ps: ps, v: ps.Matrix(name+".vectors", k, d)}
	ps.Normal(h.v, 1, seed)
	return &Linear[T]{d: d, ps: ps, w: h, bias: ps.Vector(name+".bias", d)}, nil
}

// Dim is the number of features.
func (l *Linear[T]) Dim() int { return l.d }

// ContextDim is 0.
func (l *Linear[T]) ContextDim() int { return 0 }

// Forward records W x + b.
func (l *Linear[T]) Forward(p *Program[T], x, c, ladj Tensor) Tensor {
	return l.record(p, x, ladj, false)
}

// Inverse records W⁻¹ (z − b).
func (l *Linear[T]) Inverse(p *Program[T], z, c, ladj Tensor) Tensor {
	return l.record(p, z, ladj, true)
}

func (l *Linear[T]) record(p *Program[T], x, ladj Tensor, inverse bool) Tensor {
	o := &linearOp[T]{l: l, x: x, ladj: ladj, y: p.New(l.d, 1), inverse: inverse}
	p.Add(o)
	return o.y
}

type linearOp[T Float] struct {
	l          *Linear[T]
	x, y, ladj Tensor
	inverse    bool
}

func (o *linearOp[T]) In() []Tensor { return []Tensor{o.x} }

// matrix returns the matrix of the direction, rows padded, its bias and log-det.
func (o *linearOp[T]) matrix(f *ad.Frame[T]) (m []T, ld int, bias []T, logDet float64) {
	d := o.l.d
	ld = (d + 15) &^ 15
	var w [2][]float64
	for i := range w {
		w[i] = f.Temp64(d * d)
	}
	logDet = o.l.w.matrices(f, w[0], w[1])
	b := f.W(o.l.bias)
	k := 0
	if o.inverse {
		k, logDet = 1, -logDet
	}
	m, bias = f.Temp(d * ld)[:d*ld], f.Temp(d)[:d]
	for i := range d {
		s := float64(b[i])
		for j, v := range w[k][i*d : (i+1)*d] {
			m[i*ld+j] = T(v)
		}
		if o.inverse {
			s = 0
			for j, v := range w[1][i*d : (i+1)*d] {
				s -= v * float64(b[j])
			}
		}
		bias[i] = T(s)
	}
	return
}

func (o *linearOp[T]) Forward(f *ad.Frame[T]) {
	m, ld, bias, logDet := o.matrix(f)
	np := f.Panels(o.x)
	f.K.Mul(f.V(o.y), o.y.Stride(), m, ld, 1, f.V(o.x), o.x.Stride(), o.l.d, o.l.d, np, nil, kernel.Epilogue[T]{Bias: bias})
	l := f.Values(o.ladj)
	for i := range l {
		l[i] += T(logDet)
	}
}

// Backward uses, for x = W⁻¹(z−b): dz = W⁻ᵀ dx, dW = −dz xᵀ, db = −Σ dz.
func (o *linearOp[T]) Backward(f *ad.Frame[T], fresh []bool) {
	m, ld, _, _ := o.matrix(f)
	np, d := f.Panels(o.x), o.l.d
	gx := f.Temp(np * o.x.Stride())
	f.K.Mul(gx, o.x.Stride(), m, 1, ld, f.G(o.y), o.y.Stride(), d, d, np, nil, kernel.Epilogue[T]{})
	left, right, sign := f.G(o.y), f.V(o.x), 1.0
	if o.inverse {
		left, right, sign = gx, f.V(o.y), -1
	}
	xt, dw := f.Temp(np*lanes*ld), f.Temp(d*ld)
	clear(dw)
	f.K.Transpose(xt, ld, lanes*ld, right, o.x.Stride(), d, np)
	f.K.GradW(dw, ld, left, o.x.Stride(), xt, ld, lanes*ld, d, d, np, nil, true)
	db := f.Temp(d)
	clear(db)
	f.K.RowSum(db, left, o.x.Stride(), d, np)
	full := f.Temp64(d * d)
	for i := range d {
		f.DW(o.l.bias)[i] += T(sign * float64(db[i]))
		for j := range d {
			full[i*d+j] = sign * float64(dw[i*ld+j])
		}
	}
	gl := 0.0
	for _, v := range f.G(o.ladj)[:f.Rows(o.x)] {
		gl += sign * float64(v)
	}
	o.l.w.backward(f, full, gl)
	if !f.HasGrad(o.x) {
		return
	}
	if g := f.Cotangents(o.x); fresh[0] {
		copy(g, gx)
	} else {
		f.K.Axpy(g, 1, gx[:len(g)])
	}
}

// product writes a·b to c; transposed ones are read across.
func product(c, a, b []float64, d int, ta, tb bool) {
	clear(c)
	for i := range d {
		for k := range d {
			v := a[i*d+k]
			if ta {
				v = a[k*d+i]
			}
			if v == 0 {
				continue
			}
			for j := range d {
				if tb {
					c[i*d+j] += v * b[j*d+k]
				} else {
					c[i*d+j] += v * b[k*d+j]
				}
			}
		}
	}
}

type luFactors[T Float] struct {
	d            int
	ps           *Params[T]
	lower, upper *ad.Param
	diag         *ad.Param
}

// triangles are L and U, and the slopes of the diagonal of U by its parameters.
func (l *luFactors[T]) triangles(f *ad.Frame[T]) (lower, upper, slope []float64, logDet float64) {
	d := l.d
	lower, upper, slope = f.Temp64(d*d), f.Temp64(d*d), f.Temp64(d)
	for i := range d {
		for j := range d {
			lower[i*d+j] = float64(l.ps.Row(l.lower, i)[j])
			upper[i*d+j] = float64(l.ps.Row(l.upper, i)[j])
		}
		s, r := logWidth(float64(l.ps.Row(l.diag, i)[0]))
		lower[i*d+i], upper[i*d+i], slope[i] = 1, math.Exp(s), r
		logDet += s
	}
	return
}

func (l *luFactors[T]) matrices(f *ad.Frame[T], w, inverse []float64) float64 {
	d := l.d
	lower, upper, _, logDet := l.triangles(f)
	product(w, lower, upper, d, false, false)
	col := f.Temp64(d)
	for j := range d { // column j of the inverse
		clear(col)
		col[j] = 1
		for i := range d {
			for k := range i {
				col[i] -= lower[i*d+k] * col[k]
			}
		}
		for i := d - 1; i >= 0; i-- {
			for k := i + 1; k < d; k++ {
				col[i] -= upper[i*d+k] * col[k]
			}
			col[i] /= upper[i*d+i]
			inverse[i*d+j] = col[i]
		}
	}
	return logDet
}

func (l *luFactors[T]) backward(f *ad.Frame[T], dw []float64, gl float64) {
	d := l.d
	lower, upper, slope, _ := l.triangles(f)
	dl, du := f.Temp64(d*d), f.Temp64(d*d)
	product(dl, dw, upper, d, false, true)
	product(du, lower, dw, d, true, false)
	for i := range d {
		for j := range i {
			f.DW(l.lower)[i*l.lower.LD+j] += T(dl[i*d+j])
		}
		for j := i + 1; j < d; j++ {
			f.DW(l.upper)[i*l.upper.LD+j] += T(du[i*d+j])
		}
		f.DW(l.diag)[i] += T((du[i*d+i]*upper[i*d+i] + gl) * slope[i])
	}
}

type householder[T Float] struct {
	d  int
	ps *Params[T]
	v  *ad.Param
}

// vector returns v_k and 2/|v|², 0 for a vector that vanishes (the reflection is then the identity).
func (h *householder[T]) vector(k int, v []float64) (beta float64) {
	q := 0.0
	for i, x := range h.ps.Row(h.v, k) {
		v[i] = float64(x)
		q += v[i] * v[i]
	}
	if q < 1e-30 {
		return 0
	}
	return 2 / q
}

// reflect replaces the rows of w by w(1 − β v vᵀ).
func reflect(w, v []float64, beta float64, d int) {
	for i := range d {
		row := w[i*d : (i+1)*d]
		s := 0.0
		for j, x := range row {
			s += x * v[j]
		}
		for j := range row {
			row[j] -= beta * s * v[j]
		}
	}
}

func (h *householder[T]) matrices(f *ad.Frame[T], w, inverse []float64) float64 {
	d := h.d
	clear(w)
	for i := range d {
		w[i*d+i] = 1
	}
	v := f.Temp64(d)
	for k := range h.v.Rows {
		beta := h.vector(k, v)
		reflect(w, v, beta, d)
	}
	for i := range d {
		for j := range d {
			inverse[j*d+i] = w[i*d+j]
		}
	}
	return 0
}

// backward goes through the product from its end: W = A·H, dH = Aᵀ dW, dA = dW·Hᵀ = dW·H, and A = W·H.
func (h *householder[T]) backward(f *ad.Frame[T], dw []float64, _ float64) {
	d := h.d
	w, unused := f.Temp64(d*d), f.Temp64(d*d)
	h.matrices(f, w, unused)
	v, dh := f.Temp64(d), f.Temp64(d*d)
	for k := h.v.Rows - 1; k >= 0; k-- {
		beta := h.vector(k, v)
		reflect(w, v, beta, d) // A
		product(dh, w, dw, d, true, false)
		reflect(dw, v, beta, d)
		// H = 1 − β v vᵀ with β = 2/|v|²: dv = −β(dH+dHᵀ)v + β² (vᵀ dH v) v
		s := 0.0
		for i := range d {
			for j := range d {
				s += v[i] * dh[i*d+j] * v[j]
			}
		}
		for i := range d {
			g := beta * beta * s * v[i]
			for j := range d {
				g -= beta * (dh[i*d+j] + dh[j*d+i]) * v[j]
			}
			f.DW(h.v)[k*h.v.LD+i] += T(g)
		}
	}
}
