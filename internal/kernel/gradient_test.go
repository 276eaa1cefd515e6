package kernel

import (
	"fmt"
	"math"
	"testing"
)

// central compares a gradient with central differences of f, in float64.
func central(t *testing.T, name string, x, grad []float64, f func() float64) {
	t.Helper()
	const h = 1e-6
	for i := range x {
		v := x[i]
		x[i] = v + h
		a := f()
		x[i] = v - h
		b := f()
		x[i] = v
		want := (a - b) / (2 * h)
		if math.Abs(grad[i]-want) > 2e-7*(1+math.Abs(want))*10 {
			t.Fatalf("%s: derivative %d is %.10g, the difference quotient %.10g", name, i, grad[i], want)
		}
	}
}

func dot(a, b []float64) float64 {
	s := 0.0
	for i, v := range a {
		s += v * b[i]
	}
	return s
}

func normal(seed uint64, n int, scale float64) []float64 {
	r := random(seed)
	v := make([]float64, n)
	for i := range v {
		v[i] = scale * r.NormFloat64()
	}
	return v
}

func TestAffineGradient(t *testing.T) {
	const n = 3
	k := reference
	x, theta := normal(1, n*Lanes, 1), normal(2, 2*n*Lanes, 2)
	gy, gl := normal(3, n*Lanes, 1), normal(4, Lanes, 1)
	save := make([]float64, n*AffineSave*Lanes)
	loss := func() float64 {
		y, l := make([]float64, n*Lanes), make([]float64, Lanes)
		k.AffineForward(n, 1, y, n*Lanes, l, x, n*Lanes, theta, 2*n*Lanes, save, n*AffineSave*Lanes)
		return dot(y, gy) + dot(l, gl)
	}
	loss()
	dx, dth := make([]float64, n*Lanes), make([]float64, 2*n*Lanes)
	k.AffineBackward(n, 1, dx, n*Lanes, dth, 2*n*Lanes, gy, n*Lanes, gl, x, n*Lanes, theta, 2*n*Lanes, save, n*AffineSave*Lanes)
	central(t, "x", x, dx, loss)
	central(t, "theta", theta, dth, loss)
}

func TestSplineGradient(t *testing.T) {
	k := reference
	for _, bins := range []int{1, 2, 5, 8} {
		for _, circular := range []bool{false, true} {
			const n = 2
			s := Spline{Bins: bins, Bound: 3, Circular: circular}
			name := fmt.Sprintf("%+v", s)
			tp, sp := n*s.Params()*Lanes, n*s.Save()*Lanes
			x, theta := normal(1, n*Lanes, 2), normal(2, tp, 1)
			gy, gl := normal(3, n*Lanes, 1), normal(4, Lanes, 1)
			save := make([]float64, sp)
			loss := func() float64 {
				y, l := make([]float64, n*Lanes), make([]float64, Lanes)
				k.SplineForward(s, n, 1, y, n*Lanes, l, x, n*Lanes, theta, tp, save, sp)
				return dot(y, gy) + dot(l, gl)
			}
			loss()
			dx, dth := make([]float64, n*Lanes), make([]float64, tp)
			k.SplineBackward(s, n, 1, dx, n*Lanes, dth, tp, gy, n*Lanes, gl, x, n*Lanes, theta, tp, save, sp)
			central(t, name+" x", x, dx, loss)
			central(t, name+" theta", theta, dth, loss)
		}
	}
}

// The inverse undoes the forward map and its log-determinant, and the log-determinant is that of the map.
func TestSplineInverts(t *testing.T) {
	k := reference
	for _, bins := range []int{1, 2, 8, 32} {
		for _, circular := range []bool{false, true} {
			s := Spline{Bins: bins, Bound: 3, Circular: circular}
			tp, sp := s.Params()*Lanes, s.Save()*Lanes
			for seed := range uint64(20) {
				x, theta, save := normal(seed, Lanes, 2), normal(seed+100, tp, 2), make([]float64, sp)
				y, l, back := make([]float64, Lanes), make([]float64, Lanes), make([]float64, Lanes)
				k.SplineForward(s, 1, 1, y, Lanes, l, x, Lanes, theta, tp, save, sp)
				for e := range l {
					const h = 1e-6
					shifted := func(d float64) float64 {
						u := append([]float64(nil), x...)
						u[e] += d
						v, l := make([]float64, Lanes), make([]float64, Lanes)
						k.SplineForward(s, 1, 1, v, Lanes, l, u, Lanes, theta, tp, save, sp)
						return v[e]
					}
					if d := math.Log((shifted(h) - shifted(-h)) / (2 * h)); math.Abs(d-l[e]) > 1e-5 {
						t.Fatalf("%+v: log-determinant %g, the difference quotient gives %g", s, l[e], d)
					}
				}
				k.SplineInverse(s, 1, 1, back, Lanes, l, y, Lanes, theta, tp)
				for e := range x {
					if math.Abs(back[e]-x[e]) > 1e-9 || math.Abs(l[e]) > 1e-8 {
						t.Fatalf("%+v: %.12g came back as %.12g, log-determinants sum to %g", s, x[e], back[e], l[e])
					}
				}
			}
		}
	}
}

// A circular spline has one slope at both ends: the map continues with period 2·Bound.
func TestCircularSplineCloses(t *testing.T) {
	s := Spline{Bins: 6, Bound: math.Pi, Circular: true}
	tp, sp := s.Params()*Lanes, s.Save()*Lanes
	theta := normal(5, tp, 1)
	x, y, l := make([]float64, Lanes), make([]float64, Lanes), make([]float64, Lanes)
	for e := range x {
		x[e] = math.Pi - 1e-9
		if e%2 == 1 {
			x[e] = -x[e]
		}
		for r := range s.Params() {
			theta[r*Lanes+e] = theta[r*Lanes]
		}
	}
	reference.SplineForward(s, 1, 1, y, Lanes, l, x, Lanes, theta, tp, make([]float64, sp), sp)
	if math.Abs(l[0]-l[1]) > 1e-6 || math.Abs(y[0]+y[1]) > 1e-6 || math.Abs(l[0]) < 1e-3 {
		t.Fatalf("ends at %g and %g with log slopes %g and %g", y[0], y[1], l[0], l[1])
	}
}

func TestLayerNormGradient(t *testing.T) {
	const rows = 5
	k := reference
	x, scale, shift, gy := normal(1, rows*Lanes, 1), normal(2, rows*Lanes, 1), normal(3, rows*Lanes, 1), normal(4, rows*Lanes, 1)
	mean, rstd := make([]float64, Lanes), make([]float64, Lanes)
	loss := func() float64 {
		y := make([]float64, rows*Lanes)
		k.LayerNorm(y, rows*Lanes, mean, rstd, x, rows*Lanes, scale, shift, rows*Lanes, rows, 1, 1e-3)
		return dot(y, gy)
	}
	loss()
	dx, dscale, dshift := make([]float64, rows*Lanes), make([]float64, rows*Lanes), make([]float64, rows*Lanes)
	k.LayerNormBackward(dx, rows*Lanes, dscale, dshift, rows*Lanes, gy, rows*Lanes, x, rows*Lanes, mean, rstd, scale, rows*Lanes, rows, 1)
	central(t, "x", x, dx, loss)
	central(t, "scale", scale, dscale, loss)
	central(t, "shift", shift, dshift, loss)
}

func TestSoftmaxGradient(t *testing.T) {
	const rows, valid = 6, 4
	k := reference
	s, g := normal(1, rows*Lanes, 1), normal(2, rows*Lanes, 1)
	p := make([]float64, rows*Lanes)
	loss := func() float64 {
		k.Softmax(p, rows*Lanes, s, rows*Lanes, rows, valid, 1, 0.7)
		return dot(p, g)
	}
	loss()
	ds := make([]float64, rows*Lanes)
	k.SoftmaxBackward(ds, rows*Lanes, g, rows*Lanes, p, rows*Lanes, rows, 1, 0.7)
	central(t, "softmax", s, ds, loss)
}

func TestActivationGradients(t *testing.T) {
	x, g := normal(1, 200, 2), normal(2, 200, 1)
	for _, c := range []struct {
		name string
		f    func(dst, x []float64)
		grad func(dst, gy, x []float64)
	}{{"silu", reference.SiLU, reference.SiLUGrad}, {"gelu", reference.GELU, reference.GELUGrad}, {"tanh", reference.Tanh, func(dst, gy, x []float64) {
		y := make([]float64, len(x))
		reference.Tanh(y, x)
		reference.TanhGrad(dst, gy, y)
	}}} {
		d := make([]float64, len(x))
		c.grad(d, g, x)
		central(t, c.name, x, d, func() float64 {
			y := make([]float64, len(x))
			c.f(y, x)
			return dot(y, g)
		})
	}
}

func TestGaussMixGradient(t *testing.T) {
	const dim, ny = 3, 7
	x, y, wy := normal(1, dim*Lanes, 1), normal(2, dim*ny, 1), normal(3, ny, 1)
	c := []float64{0.3, 1.1}
	g := normal(4, Lanes, 1)
	f, grad := make([]float64, Lanes), make([]float64, dim*Lanes)
	reference.GaussMix(f, grad, dim*Lanes, x, dim*Lanes, dim, 1, y, wy, ny, c)
	for d := range dim {
		for e := range Lanes {
			grad[d*Lanes+e] *= g[e]
		}
	}
	central(t, "x", x, grad, func() float64 {
		f := make([]float64, Lanes)
		reference.GaussMix(f, nil, 0, x, dim*Lanes, dim, 1, y, wy, ny, c)
		return dot(f, g)
	})
}

// The product, its gradient with respect to the input (swapped strides) and the weight gradient belong together.
func TestMulGradient(t *testing.T) {
	const m, k, ld = 11, 9, 16
	set := reference
	w, x, gy := normal(1, m*ld, 1), normal(2, k*Lanes, 1), normal(3, m*Lanes, 1)
	y := make([]float64, m*Lanes)
	loss := func() float64 {
		set.Mul(y, m*Lanes, w, ld, 1, x, k*Lanes, m, k, 1, nil, Epilogue[float64]{})
		return dot(y, gy)
	}
	dx, dw, xt := make([]float64, k*Lanes), make([]float64, m*ld), make([]float64, ld*Lanes)
	set.Mul(dx, k*Lanes, w, 1, ld, gy, m*Lanes, k, m, 1, nil, Epilogue[float64]{})
	set.Transpose(xt, ld, ld*Lanes, x, k*Lanes, k, 1)
	set.GradW(dw, ld, gy, m*Lanes, xt, ld, ld*Lanes, m, k, 1, nil, false)
	central(t, "x", x, dx, loss)
	central(t, "w", w, dw, loss)
}
