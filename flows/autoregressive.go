package flows

import (
	"math"

	"hepmorph/internal/ad"
	"hepmorph/internal/kernel"
	"hepmorph/internal/nn"
)

// A Univariate is a monotonic map of one number with Params parameters, applied to n features at once. theta rows of a feature are
// consecutive. See package kernel for the layouts.
type Univariate[T Float] interface {
	Params() int
	Save() int // rows a feature that Forward keeps for Backward
	// Forward gets a nil save where no Backward follows, and then a nil ladj where the log-det is not wanted.
	Forward(k *kernel.Set[T], n, np int, y []T, yp int, ladj, x []T, xp int, theta []T, tp int, save []T, sp int)
	Backward(k *kernel.Set[T], n, np int, dx []T, dxp int, dtheta []T, dtp int, gy []T, gyp int, gl, x []T, xp int, theta []T, tp int, save []T, sp int)
	// Inverse gets a nil ladj where the log-det is not wanted.
	Inverse(k *kernel.Set[T], n, np int, x []T, xp int, ladj, y []T, yp int, theta []T, tp int)
}

// Affine is y = x·exp(s) + t with a softly bounded log-scale, |s| < ln 1000 (zuko's MonotonicAffineTransform).
type Affine[T Float] struct{}

func (Affine[T]) Params() int { return 2 }
func (Affine[T]) Save() int   { return kernel.AffineSave }
func (Affine[T]) Forward(k *kernel.Set[T], n, np int, y []T, yp int, ladj, x []T, xp int, theta []T, tp int, save []T, sp int) {
	k.AffineForward(n, np, y, yp, ladj, x, xp, theta, tp, save, sp)
}
func (Affine[T]) Backward(k *kernel.Set[T], n, np int, dx []T, dxp int, dtheta []T, dtp int, gy []T, gyp int, gl, x []T, xp int, theta []T, tp int, save []T, sp int) {
	k.AffineBackward(n, np, dx, dxp, dtheta, dtp, gy, gyp, gl, x, xp, theta, tp, save, sp)
}
func (Affine[T]) Inverse(k *kernel.Set[T], n, np int, x []T, xp int, ladj, y []T, yp int, theta []T, tp int) {
	k.AffineInverse(n, np, x, xp, ladj, y, yp, theta, tp)
}

// A Spline is the monotonic rational-quadratic spline of arXiv 1906.04032, with zuko's parameters; Circular makes it one of the circle.
type Spline[T Float] struct{ kernel.Spline }

func (s Spline[T]) Forward(k *kernel.Set[T], n, np int, y []T, yp int, ladj, x []T, xp int, theta []T, tp int, save []T, sp int) {
	k.SplineForward(s.Spline, n, np, y, yp, ladj, x, xp, theta, tp, save, sp)
}
func (s Spline[T]) Backward(k *kernel.Set[T], n, np int, dx []T, dxp int, dtheta []T, dtp int, gy []T, gyp int, gl, x []T, xp int, theta []T, tp int, save []T, sp int) {
	k.SplineBackward(s.Spline, n, np, dx, dxp, dtheta, dtp, gy, gyp, gl, x, xp, theta, tp, save, sp)
}
func (s Spline[T]) Inverse(k *kernel.Set[T], n, np int, x []T, xp int, ladj, y []T, yp int, theta []T, tp int) {
	k.SplineInverse(s.Spline, n, np, x, xp, ladj, y, yp, theta, tp)
}

// Autoregressive maps each feature by a Univariate whose parameters a MADE computes from the context and the features of earlier groups: a
// masked autoregressive flow with as many groups as features, a coupling with two. One pass of density; the inverse is one incremental pass, group
// by group.
type Autoregressive[T Float] struct {
	Net *nn.MADE[T]
	Map Univariate[T]
	// Circle, if not 0, says that features live on a circle [−Circle, Circle): the conditioner, with Embed 2, sees cos and sin of πx/Circle.
	Circle float64
}

// Dim is the number of features.
func (a *Autoregressive[T]) Dim() int { return a.Net.D }

// ContextDim is the number of context numbers.
func (a *Autoregressive[T]) ContextDim() int { return a.Net.C }

// Forward records y, with log-det added to ladj.
func (a *Autoregressive[T]) Forward(p *Program[T], x, c, ladj Tensor) Tensor {
	o := a.op(p, x, c, ladj)
	p.Add(&arForward[T]{o})
	return o.y
}

// Inverse records x with Forward(x) = z.
func (a *Autoregressive[T]) Inverse(p *Program[T], z, c, ladj Tensor) Tensor {
	o := a.op(p, z, c, ladj)
	p.Add(&arInverse[T]{o})
	return o.y
}

func (a *Autoregressive[T]) op(p *Program[T], x, c, ladj Tensor) *arOp[T] {
	o := &arOp[T]{a: a, x: x, c: c, ladj: ladj, state: a.Net.NewState(p), save: p.Keep(a.Net.D*a.Map.Save(), 1), y: p.New(a.Net.D, 1)}
	if a.Circle > 0 {
		o.at = p.Keep(a.Net.D, 1)
	}
	if s, ok := a.Map.(Spline[T]); ok && s.LateSlopes() > 0 {
		o.spline, o.late = s, a.Net.Late(s.LateSlopes())
	}
	return o
}

// arOp is what both directions share: x is the operation's input, y its output.
type arOp[T Float] struct {
	a       *Autoregressive[T]
	x, c, y Tensor
	ladj    Tensor
	state   nn.State
	save    Tensor
	at      Tensor // features in the order of positions, where the conditioner's input does not hold them
	spline  Spline[T]
	late    *nn.Late // the spline's slopes may come late; else nil
}

// lateIn is how the spline's slopes come late in a frame, nil if they don't.
func (o *arOp[T]) lateIn(f *ad.Frame[T]) *nn.Late {
	if f.K.SplineForwardLate == nil {
		return nil
	}
	return o.late
}

// positions are the features of the data side in the order of positions, and their panel stride.
func (o *arOp[T]) positions(f *ad.Frame[T]) ([]T, int) {
	if o.a.Circle > 0 {
		return f.V(o.at), o.at.Stride()
	}
	return f.V(o.state.Input)[o.a.Net.C*lanes:], o.state.Input.Stride()
}

// embed writes what stands for the positions [lo, hi) at the conditioner's input.
func (o *arOp[T]) embed(f *ad.Frame[T], lo, hi int) {
	if o.a.Circle == 0 {
		return
	}
	in, x := f.V(o.state.Input), f.V(o.at)
	for p := range f.Panels(o.x) {
		for i := lo; i < hi; i++ {
			k := p*o.state.Input.Stride() + (o.a.Net.C+2*i)*lanes
			for e, v := range x[p*o.at.Stride()+i*lanes:][:lanes] {
				sin, cos := math.Sincos(math.Pi * float64(v) / o.a.Circle)
				in[k+e], in[k+lanes+e] = T(cos), T(sin)
			}
		}
	}
}

// addInput adds, for the positions [lo, hi), the cotangent that the conditioner's input passes to the features to dst, of panel stride ds.
func (o *arOp[T]) addInput(f *ad.Frame[T], dst []T, ds int, c *nn.Cotangent[T], lo, hi int) {
	is := o.state.Input.Stride()
	first := o.a.Net.C * lanes
	if o.a.Circle == 0 {
		for p := range f.Panels(o.x) {
			f.K.Axpy(dst[p*ds+lo*lanes:p*ds+hi*lanes], 1, c.Input[p*is+first+lo*lanes:p*is+first+hi*lanes])
		}
		return
	}
	in, w := f.V(o.state.Input), T(math.Pi/o.a.Circle)
	for p := range f.Panels(o.x) {
		for i := lo; i < hi; i++ {
			k := p*is + first + 2*i*lanes
			for e := range lanes {
				dst[p*ds+i*lanes+e] += w * (in[k+e]*c.Input[k+lanes+e] - in[k+lanes+e]*c.Input[k+e])
			}
		}
	}
}

func (o *arOp[T]) In() []Tensor { return []Tensor{o.x, o.c} }

func (o *arOp[T]) context(f *ad.Frame[T]) []T {
	if o.c.None() {
		return nil
	}
	return f.V(o.c)
}

const lanes = kernel.Lanes

// gather copies features, in the order of the features, to positions; scatter is its inverse, adding if add is set.
func (o *arOp[T]) gather(dst []T, ds int, src []T, np int) {
	d := o.a.Net.D
	for p := range np {
		for i, k := range o.a.Net.Feature {
			*(*[lanes]T)(dst[p*ds+i*lanes:]) = *(*[lanes]T)(src[(p*d+k)*lanes:])
		}
	}
}

func (o *arOp[T]) scatter(dst, src []T, ss, np int, add bool) {
	d := o.a.Net.D
	for p := range np {
		for i, k := range o.a.Net.Feature {
			t, s := (*[lanes]T)(dst[(p*d+k)*lanes:]), (*[lanes]T)(src[p*ss+i*lanes:])
			if !add {
				*t = *s
				continue
			}
			for e, v := range s {
				t[e] += v
			}
		}
	}
}

func (o *arOp[T]) depositContext(f *ad.Frame[T], in []T, fresh bool) {
	n := o.a.Net.C * lanes
	g := f.G(o.c)
	for p := range f.Panels(o.c) {
		s, t := in[p*o.state.Input.Stride():][:n], g[p*n:][:n]
		if fresh {
			copy(t, s)
		} else {
			f.K.Axpy(t, 1, s)
		}
	}
}

type arForward[T Float] struct{ *arOp[T] }

func (o *arForward[T]) Forward(f *ad.Frame[T]) {
	m := o.a.Net
	np := f.Panels(o.x)
	if o.a.Circle == 0 {
		m.Fill(f, o.state, o.context(f), f.V(o.x))
	} else {
		m.Fill(f, o.state, o.context(f), nil)
		o.gather(f.V(o.at), o.at.Stride(), f.V(o.x), np)
		o.embed(f, 0, m.D)
	}
	late := o.lateIn(f)
	m.Forward(f, o.state, late)
	y := f.Temp(np * m.D * lanes)
	x, xs := o.positions(f)
	var save []T
	if f.Differentiated() {
		save = f.V(o.save)
	}
	theta, ts := f.V(o.state.Theta), o.state.Theta.Stride()
	if late != nil {
		f.K.SplineForwardLate(o.spline.Spline, m.D, np, y, m.D*lanes, f.Sum(o.ladj), x, xs, theta, ts, save, o.save.Stride(), m.Slopes(f, o.state, late))
	} else {
		o.a.Map.Forward(f.K, m.D, np, y, m.D*lanes, f.Sum(o.ladj), x, xs, theta, ts, save, o.save.Stride())
	}
	o.scatter(f.V(o.y), y, m.D*lanes, np, false)
}

func (o *arForward[T]) Backward(f *ad.Frame[T], fresh []bool) {
	m := o.a.Net
	np := f.Panels(o.x)
	w := m.D * lanes
	gy := f.Temp(np * w)
	o.gather(gy, w, f.G(o.y), np)
	dx := f.Temp(np * w)
	c := m.NewCotangent(f, o.state)
	x, xs := o.positions(f)
	o.a.Map.Backward(f.K, m.D, np, dx, w, c.Theta, o.state.Theta.Stride(), gy, w, f.G(o.ladj), x, xs, f.V(o.state.Theta), o.state.Theta.Stride(), f.V(o.save), o.save.Stride())
	features, context := f.HasGrad(o.x), f.HasGrad(o.c)
	m.Backward(f, o.state, &c, features, context)
	if context {
		o.depositContext(f, c.Input, fresh[1])
	}
	if features {
		o.addInput(f, dx, w, &c, 0, m.D)
		o.scatter(f.G(o.x), dx, w, np, !fresh[0])
	}
}

type arInverse[T Float] struct{ *arOp[T] }

func (o *arInverse[T]) Forward(f *ad.Frame[T]) {
	m := o.a.Net
	np := f.Panels(o.x)
	w := m.D * lanes
	z := f.Temp(np * w)
	o.gather(z, w, f.V(o.x), np)
	m.Fill(f, o.state, o.context(f), nil)
	x, xs := o.positions(f)
	theta, ts := f.V(o.state.Theta), o.state.Theta.Stride()
	ladj := f.Sum(o.ladj)
	var late *nn.Late
	if !f.Differentiated() { // Backward wants all parameters
		late = o.lateIn(f)
	}
	var slopes kernel.Slopes[T]
	if late != nil {
		slopes = m.Slopes(f, o.state, late)
	}
	m.ForwardGroups(f, o.state, late, func(g int) {
		lo, hi := m.Start(g), m.Start(g+1)
		if theta := theta[lo*m.P*lanes:]; late != nil {
			f.K.SplineInverseLate(o.spline.Spline, hi-lo, np, x[lo*lanes:], xs, ladj, z[lo*lanes:], w, theta, ts, slopes.From(lo))
		} else {
			o.a.Map.Inverse(f.K, hi-lo, np, x[lo*lanes:], xs, ladj, z[lo*lanes:], w, theta, ts)
		}
		o.embed(f, lo, hi)
	})
	o.scatter(f.V(o.y), x, xs, np, false)
}

// Backward differentiates x = g(z) through F(x; θ) = z, F the forward map with log-det l: for cotangents a of x and s of the inverse's log-det,
// which is −l, the total a' = a − s ∂l/∂x gives b = (∂F/∂x)^-T a' as the cotangent of z, and the parameters' is −b·∂F/∂θ − s·∂l/∂θ. The
// triangular system is solved from the last group to the first, and the conditioner's backward pass follows it group by group.
func (o *arInverse[T]) Backward(f *ad.Frame[T], fresh []bool) {
	m := o.a.Net
	np := f.Panels(o.x)
	w := m.D * lanes
	theta, ts := f.V(o.state.Theta), o.state.Theta.Stride()
	save, ss := f.V(o.save), o.save.Stride()
	a, b := f.Temp(np*w), f.Temp(np*w)
	o.gather(a, w, f.G(o.y), np)
	one, slope, curl := f.Temp(np*w), f.Temp(np*w), f.Temp(np*w)
	for i := range one {
		one[i] = 1
	}
	zero := f.Temp(np * w)
	clear(zero)
	minus := f.Temp(np * lanes)
	ladj := f.Temp(np * lanes)
	clear(ladj)
	for i, v := range f.G(o.ladj)[:np*lanes] {
		minus[i] = -v
	}
	x, xs := o.positions(f)
	o.a.Map.Forward(f.K, m.D, np, b, w, ladj, x, xs, theta, ts, save, ss)
	c := m.NewCotangent(f, o.state)
	scratch := f.Temp(np * ts)
	o.a.Map.Backward(f.K, m.D, np, slope, w, scratch, ts, one, w, zero, x, xs, theta, ts, save, ss)
	o.a.Map.Backward(f.K, m.D, np, curl, w, scratch, ts, zero, w, minus, x, xs, theta, ts, save, ss)
	f.K.Axpy(a[:np*w], 1, curl[:np*w])
	for g := m.Groups - 1; g >= 0; g-- {
		lo, hi := m.Start(g), m.Start(g+1)
		if g < m.Groups-1 {
			o.addInput(f, a, w, &c, lo, hi)
		}
		for p := range np {
			for i := p*w + lo*lanes; i < p*w+hi*lanes; i++ {
				b[i] = a[i] / slope[i]
				a[i] = -b[i]
			}
		}
		o.a.Map.Backward(f.K, hi-lo, np, one[lo*lanes:], w, c.Theta[lo*m.P*lanes:], ts, a[lo*lanes:], w, minus, x[lo*lanes:], xs, theta[lo*m.P*lanes:], ts, save[lo*o.a.Map.Save()*lanes:], ss)
		m.BackwardGroup(f, o.state, &c, g)
	}
	m.BackwardWeights(f, o.state, &c)
	if f.HasGrad(o.c) {
		m.BackwardContext(f, o.state, &c)
		o.depositContext(f, c.Input, fresh[1])
	}
	if f.HasGrad(o.x) {
		o.scatter(f.G(o.x), b, w, np, !fresh[0])
	}
}
