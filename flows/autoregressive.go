package flows

import (
	"hepmorph/internal/ad"
	"hepmorph/internal/kernel"
	"hepmorph/internal/nn"
)

// A Univariate is a monotonic map of one number with Params parameters, applied to n features at once. theta rows of a feature are
// consecutive. See package kernel for the layouts.
type Univariate[T Float] interface {
	Params() int
	Save() int // rows a feature that Forward keeps for Backward
	Forward(k *kernel.Set[T], n, np int, y []T, yp int, ladj, x []T, xp int, theta []T, tp int, save []T, sp int)
	Backward(k *kernel.Set[T], n, np int, dx []T, dxp int, dtheta []T, dtp int, gy []T, gyp int, gl, x []T, xp int, theta []T, tp int, save []T, sp int)
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
}

// Dim is the number of features.
func (a *Autoregressive[T]) Dim() int { return a.Net.D }

// ContextDim is the number of context numbers.
func (a *Autoregressive[T]) ContextDim() int { return a.Net.C }

// Forward records y, with log-det added to ladj.
func (a *Autoregressive[T]) Forward(p *Program[T], x, c, ladj Tensor) Tensor {
	o := &arOp[T]{a: a, x: x, c: c, ladj: ladj, state: a.Net.NewState(p), save: p.Keep(a.Net.D*a.Map.Save(), 1)}
	o.y = p.New(a.Net.D, 1)
	p.Add(&arForward[T]{o})
	return o.y
}

// Inverse records x with Forward(x) = z.
func (a *Autoregressive[T]) Inverse(p *Program[T], z, c, ladj Tensor) Tensor {
	o := &arOp[T]{a: a, x: z, c: c, ladj: ladj, state: a.Net.NewState(p), save: p.Keep(a.Net.D*a.Map.Save(), 1)}
	o.y = p.New(a.Net.D, 1)
	p.Add(&arInverse[T]{o})
	return o.y
}

// arOp is what both directions share: x is the operation's input, y its output.
type arOp[T Float] struct {
	a       *Autoregressive[T]
	x, c, y Tensor
	ladj    Tensor
	state   nn.State
	save    Tensor
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
			copy(dst[p*ds+i*lanes:][:lanes], src[(p*d+k)*lanes:])
		}
	}
}

func (o *arOp[T]) scatter(dst, src []T, ss, np int, add bool) {
	d := o.a.Net.D
	for p := range np {
		for i, k := range o.a.Net.Feature {
			t, s := dst[(p*d+k)*lanes:][:lanes], src[p*ss+i*lanes:][:lanes]
			if !add {
				copy(t, s)
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
	m.Fill(f, o.state, o.context(f), f.V(o.x))
	m.Forward(f, o.state)
	y := f.Temp(np * m.D * lanes)
	in := f.V(o.state.Input)[m.C*lanes:]
	o.a.Map.Forward(f.K, m.D, np, y, m.D*lanes, f.V(o.ladj), in, o.state.Input.Stride(), f.V(o.state.Theta), o.state.Theta.Stride(), f.V(o.save), o.save.Stride())
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
	in := f.V(o.state.Input)[m.C*lanes:]
	o.a.Map.Backward(f.K, m.D, np, dx, w, c.Theta, o.state.Theta.Stride(), gy, w, f.G(o.ladj), in, o.state.Input.Stride(), f.V(o.state.Theta), o.state.Theta.Stride(), f.V(o.save), o.save.Stride())
	context := f.HasGrad(o.c)
	m.Backward(f, o.state, &c, context)
	if context {
		o.depositContext(f, c.Input, fresh[1])
	}
	if f.HasGrad(o.x) {
		for p := range np {
			f.K.Axpy(dx[p*w:][:w], 1, c.Input[p*o.state.Input.Stride()+m.C*lanes:][:w])
		}
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
	in, is := f.V(o.state.Input), o.state.Input.Stride()
	theta, ts := f.V(o.state.Theta), o.state.Theta.Stride()
	for g := range m.Groups {
		m.ForwardGroup(f, o.state, g)
		lo, hi := m.Start(g), m.Start(g+1)
		o.a.Map.Inverse(f.K, hi-lo, np, in[(m.C+lo)*lanes:], is, f.V(o.ladj), z[lo*lanes:], w, theta[lo*m.P*lanes:], ts)
	}
	o.scatter(f.V(o.y), in[m.C*lanes:], is, np, false)
}

// Backward differentiates x = g(z) through F(x; θ) = z, F the forward map with log-det l: for cotangents a of x and s of the inverse's log-det,
// which is −l, the total a' = a − s ∂l/∂x gives b = (∂F/∂x)^-T a' as the cotangent of z, and the parameters' is −b·∂F/∂θ − s·∂l/∂θ. The
// triangular system is solved from the last group to the first, and the conditioner's backward pass follows it group by group.
func (o *arInverse[T]) Backward(f *ad.Frame[T], fresh []bool) {
	m := o.a.Net
	np := f.Panels(o.x)
	w := m.D * lanes
	in, is := f.V(o.state.Input), o.state.Input.Stride()
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
	x, xs := in[m.C*lanes:], is
	o.a.Map.Forward(f.K, m.D, np, b, w, ladj, x, xs, theta, ts, save, ss)
	c := m.NewCotangent(f, o.state)
	scratch := f.Temp(np * ts)
	o.a.Map.Backward(f.K, m.D, np, slope, w, scratch, ts, one, w, zero, x, xs, theta, ts, save, ss)
	o.a.Map.Backward(f.K, m.D, np, curl, w, scratch, ts, zero, w, minus, x, xs, theta, ts, save, ss)
	for g := m.Groups - 1; g >= 0; g-- {
		lo, hi := m.Start(g), m.Start(g+1)
		for p := range np {
			for i := p*w + lo*lanes; i < p*w+hi*lanes; i++ {
				t := a[i] + curl[i]
				if g < m.Groups-1 {
					t += c.Input[p*is+m.C*lanes+i-p*w]
				}
				b[i] = t / slope[i]
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
