package kernel

import (
	"math"
	"os"
	"testing"
)

// long reports whether the long form of a test was asked for: HEPMORPH_LONG=1.
func long() bool { return os.Getenv("HEPMORPH_LONG") != "" }

func allFinite(t *testing.T, what string, in func(i int) any, s []float32) {
	t.Helper()
	for i, v := range s {
		if v-v != 0 {
			t.Fatalf("%s: element %d is %g, from %v", what, i, v, in(i))
		}
	}
}

// Splines at random inputs, far outside, exactly at the ends, exactly on and beside knots, with parameters from 0 to ±1e6: everything
// stays finite, inside stays inside, and the inverse finds the argument or one with the same value.
func TestSplineIsFinite(t *testing.T) {
	eachSet(t, func(t *testing.T, set *Set[float32]) {
		const n, np = 2, 4
		want := 200_000
		if long() {
			want = 100_000_000
		}
		if set.Name == "portable" {
			want /= 10
		}
		r := random(99)
		for _, s := range []Spline{{Bins: 8, Bound: 5}, {Bins: 8, Bound: math.Pi, Circular: true}, {Bins: 5, Bound: 1}} {
			xp, tp, sp := n*Lanes, n*s.Params()*Lanes, n*s.Save()*Lanes
			x, y, back := make([]float32, np*xp), make([]float32, np*xp), make([]float32, np*xp)
			dx, gy, again := make([]float32, np*xp), make([]float32, np*xp), make([]float32, np*xp)
			theta, dth, save := make([]float32, np*tp), make([]float32, np*tp), make([]float32, np*sp)
			ladj, gl := make([]float32, np*Lanes), make([]float32, np*Lanes)
			scales := []float32{0, 0.3, 1, 3, 30, 1e3, 1e6}
			bound := float32(s.Bound)
			for done, round := 0, 0; done < want/3; round++ {
				scale := scales[round%len(scales)]
				for i := range theta {
					theta[i] = scale * float32(r.NormFloat64())
				}
				if round%50 == 7 {
					scale = 1e6
					for i := range theta {
						theta[i] = 1e6 * float32(1-2*(i/7%2))
					}
				}
				for repeat := 0; repeat < 20 && done < want/3; repeat++ {
					for i := range x {
						p, f, e := i/xp, i%xp/Lanes, i%Lanes
						switch r.IntN(8) {
						case 0:
							x[i] = float32(r.NormFloat64()) * 1e6
						case 1:
							x[i] = []float32{bound, -bound, 1e6, -1e6, 0, math.Nextafter32(bound, 0), -math.Nextafter32(bound, 0)}[r.IntN(7)]
						case 2:
							if done%1000 < 256 { // costly: a knot, or its neighbours
								var q knots
								q.fill(s, func(row int) float64 { return float64(theta[p*tp+(f*s.Params()+row)*Lanes+e]) })
								x[i] = math.Nextafter32(float32(q.x[r.IntN(s.Bins+1)]), float32(r.IntN(3)-1)*10)
								continue
							}
							fallthrough
						default:
							x[i] = bound * float32(r.NormFloat64()) / 2
						}
					}
					for i := range gy {
						gy[i] = 1
					}
					for i := range gl {
						ladj[i], gl[i] = 0, 1
					}
					at := func(i int) any { return []any{s, "x", x[i%len(x)], "scale", scale} }
					set.SplineForward(s, n, np, y, xp, ladj, x, xp, theta, tp, save, sp)
					allFinite(t, "y", at, y)
					allFinite(t, "ladj", at, ladj)
					set.SplineBackward(s, n, np, dx, xp, dth, tp, gy, xp, gl, x, xp, theta, tp, save, sp)
					allFinite(t, "dx", at, dx)
					allFinite(t, "dtheta", at, dth)
					set.SplineInverse(s, n, np, back, xp, ladj, y, xp, theta, tp)
					allFinite(t, "inverse", at, back)
					allFinite(t, "inverse ladj", at, ladj)
					set.SplineForward(s, n, np, again, xp, ladj, back, xp, theta, tp, save, sp)
					for i, v := range x {
						if v <= -bound || v >= bound {
							if y[i] != v || back[i] != v {
								t.Fatalf("%+v: outside, at %g: %g and back %g", s, v, y[i], back[i])
							}
							continue
						}
						// where the map is flat x is lost in float32, where it is steep y
						if dx, dy := math.Abs(float64(back[i]-v)), math.Abs(float64(again[i]-y[i])); scale <= 1 && !(min(dx, dy) <= 2e-5*s.Bound) {
							t.Fatalf("%+v: %g to %g, back to %g and again to %g (parameters %g)", s, v, y[i], back[i], again[i], scale)
						}
						if !(y[i] >= -bound*(1+1e-6) && y[i] <= bound*(1+1e-6)) {
							t.Fatalf("%+v: %g went outside, to %g", s, v, y[i])
						}
					}
					done += len(x)
				}
			}
		}
	})
}

// The element-wise maps at every float32 (long), or at every 4099th.
func TestElementwiseIsFinite(t *testing.T) {
	eachSet(t, func(t *testing.T, set *Set[float32]) {
		step := uint64(4099)
		if long() && set.Name != "portable" { // minutes
			step = 1
		}
		x, y, one := make([]float32, 4096), make([]float32, 4096), make([]float32, 4096)
		for i := range one {
			one[i] = 1
		}
		for b := uint64(0); b < 1<<32; {
			n := 0
			for ; n < len(x) && b < 1<<32; b += step {
				if v := math.Float32frombits(uint32(b)); v-v == 0 {
					x[n] = v
					n++
				}
			}
			at := func(i int) any { return x[i] }
			for _, c := range mapCases() {
				c.of(set)(y[:n], x[:n])
				allFinite(t, c.name, at, y[:n])
			}
			set.SiLUGrad(y[:n], one[:n], x[:n])
			allFinite(t, "silu'", at, y[:n])
			set.GELUGrad(y[:n], one[:n], x[:n])
			allFinite(t, "gelu'", at, y[:n])
		}
	})
}

// A training step makes no garbage.
func TestKernelsAllocateNothing(t *testing.T) {
	eachSet(t, func(t *testing.T, set *Set[float32]) {
		s := Spline{Bins: 8, Bound: 5}
		buf := make([][]float32, 12)
		for i := range buf {
			buf[i] = make([]float32, 64*Lanes)
		}
		a, b, c, d, e, f, g, h := buf[0], buf[1], buf[2], buf[3], buf[4], buf[5], buf[6], buf[7]
		spans := []Span{{0, 8, 5}, {0, 16, 11}}
		grads := [][]float32{a, b}
		mix := []float32{1, 2}
		for name, call := range map[string]func(){
			"mul": func() {
				set.Mul(a, 16*Lanes, b, 16, 1, c, 16*Lanes, 16, 16, 1, spans, Epilogue[float32]{Bias: d, Act: ReLU, Gate: e, GateStride: 16 * Lanes})
			},
			"gradw":     func() { set.GradW(a, 16, b, 16*Lanes, c, 16, 16*Lanes, 16, 16, 1, spans, true) },
			"transpose": func() { set.Transpose(a, 16, 16*Lanes, b, 16*Lanes, 16, 1) },
			"rowsum":    func() { set.RowSum(a, b, 16*Lanes, 16, 1) },
			"exp":       func() { set.Exp(a, b) },
			"affine": func() {
				set.AffineForward(1, 1, a, Lanes, b, c, Lanes, d, 2*Lanes, e, 2*Lanes)
				set.AffineBackward(1, 1, a, Lanes, b, 2*Lanes, c, Lanes, d, e, Lanes, f, 2*Lanes, g, 2*Lanes)
				set.AffineInverse(1, 1, a, Lanes, nil, c, Lanes, d, 2*Lanes)
			},
			"spline": func() {
				set.SplineForward(s, 1, 1, a, Lanes, b, c, Lanes, d, 23*Lanes, e, 32*Lanes)
				set.SplineBackward(s, 1, 1, a, Lanes, b, 23*Lanes, c, Lanes, d, e, Lanes, f, 23*Lanes, g, 32*Lanes)
				set.SplineInverse(s, 1, 1, a, Lanes, nil, c, Lanes, d, 23*Lanes)
			},
			"layernorm": func() {
				set.LayerNorm(a, Lanes, b, c, d, Lanes, e, f, Lanes, 1, 1, 1)
				set.LayerNormBackward(a, Lanes, b, c, Lanes, d, Lanes, e, Lanes, f, g, h, Lanes, 1, 1)
			},
			"softmax": func() {
				set.Softmax(a, Lanes, b, Lanes, 1, 1, 1, 1)
				set.SoftmaxBackward(a, Lanes, b, Lanes, c, Lanes, 1, 1, 1)
			},
			"adam":     func() { set.SumSq(grads, nil); set.Adam(c, d, e, nil, grads, nil, AdamStep{}) },
			"gaussmix": func() { set.GaussMix(a, b, Lanes, c, Lanes, 1, 1, d, e, 4, mix) },
		} {
			if n := testing.AllocsPerRun(10, call); n != 0 {
				t.Errorf("%s: %g allocations a call", name, n)
			}
		}
	})
}
