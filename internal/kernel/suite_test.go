package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// canary marks memory that no kernel may use or change: a NaN with a pattern of its own.
var canary = math.Float32frombits(0x7fc5a5a5)

const guard = 40

// A vec is a float32 buffer between canaries together with its float64 twin for the reference. Odd starts leave it unaligned.
type vec struct {
	raw, s []float32
	w      []float64
}

func newVec(n, start int) *vec {
	v := &vec{raw: make([]float32, guard+start+n+guard), w: make([]float64, n)}
	for i := range v.raw {
		v.raw[i] = canary
	}
	for i := range v.w {
		v.w[i] = math.NaN()
	}
	v.s = v.raw[guard+start : guard+start+n : guard+start+n]
	return v
}

func (v *vec) set(i int, x float64) {
	v.s[i] = float32(x)
	v.w[i] = float64(v.s[i])
}

func (v *vec) fill(r *rand.Rand, scale float64) *vec {
	for i := range v.s {
		v.set(i, scale*r.NormFloat64())
	}
	return v
}

// panels is a vec of np panels with rows rows and a gap of canaries after each.
func panels(r *rand.Rand, rows, np, gap int, scale float64) (v *vec, stride int) {
	stride = rows*Lanes + gap
	v = newVec(max(0, stride*np-gap), r.IntN(2)*r.IntN(16))
	for p := range np {
		for i := range rows * Lanes {
			v.set(p*stride+i, scale*r.NormFloat64())
		}
	}
	return v, stride
}

// matrix is a vec of rows × cols numbers with rows ld apart.
func matrix(r *rand.Rand, rows, cols, ld int, scale float64) *vec {
	v := newVec(max(0, (rows-1)*ld+cols), r.IntN(2)*r.IntN(16))
	for i := range rows {
		for j := range cols {
			v.set(i*ld+j, scale*r.NormFloat64())
		}
	}
	return v
}

// check compares the buffer with its twin and looks at every canary. tol is absolute and relative.
func (v *vec) check(t *testing.T, what string, tol float64) {
	t.Helper()
	for i, x := range v.raw {
		at := i - (len(v.raw) - guard - len(v.s))
		if at < 0 || at >= len(v.s) || math.IsNaN(v.w[at]) {
			if math.Float32bits(x) != math.Float32bits(canary) {
				t.Fatalf("%s: wrote outside, at %d of %d: %g", what, at, len(v.s), x)
			}
			continue
		}
		if d := math.Abs(float64(x) - v.w[at]); !(d <= tol*(1+math.Abs(v.w[at]))) {
			t.Fatalf("%s: element %d of %d is %.9g, want %.9g", what, at, len(v.s), x, v.w[at])
		}
	}
}

func random(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 42)) }

var reference = Portable[float64]()

// sets are the float32 sets that this processor can run.
func sets() []*Set[float32] { return append(fastSets(), Portable[float32]()) }

func eachSet(t *testing.T, f func(t *testing.T, set *Set[float32])) {
	for _, set := range sets() {
		t.Run(set.Name, func(t *testing.T) { f(t, set) })
	}
}

func someSpans(r *rand.Rand, m, k int) []Span {
	s := []Span{}
	for i := 0; i < m; {
		lo, rows := r.IntN(k+1), min(1+r.IntN(24), m-i)
		s = append(s, Span{int32(lo), int32(lo + r.IntN(k-lo+1)), int32(rows)})
		switch r.IntN(5) {
		case 0:
			s[len(s)-1].Lo = 0
		case 1: // left alone
			s[len(s)-1].Lo = s[len(s)-1].Hi + 1
		}
		i += rows
	}
	return s
}

// someEpilogue picks parts of an epilogue at random, for the kernel and for the reference, and names them.
func someEpilogue(r *rand.Rand, bias, gate *vec, gateStride int) (e Epilogue[float32], f Epilogue[float64], name string) {
	if r.IntN(2) == 0 {
		e.Bias, f.Bias = bias.s, bias.w
		name += " bias"
	}
	if r.IntN(2) == 0 {
		e.Act, f.Act = ReLU, ReLU
		name += " relu"
	}
	if r.IntN(2) == 0 {
		e.Add, f.Add = true, true
		name += " add"
	}
	if r.IntN(2) == 0 {
		e.Half, f.Half = true, true
		name += " half"
	}
	if r.IntN(2) == 0 {
		e.Gate, e.GateStride, f.Gate, f.GateStride = gate.s, gateStride, gate.w, gateStride
		name += " gate"
	}
	return e, f, name
}

func TestMul(t *testing.T) {
	eachSet(t, func(t *testing.T, set *Set[float32]) {
		r := random(1)
		sizes := [][3]int{{0, 3, 1}, {3, 0, 2}, {8, 8, 0}, {1, 1, 1}, {2, 5, 1}, {3, 7, 2}, {4, 1, 3}, {5, 13, 1}, {6, 2, 2}, {7, 31, 1}, {8, 16, 2}, {9, 17, 1},
			{12, 64, 2}, {13, 23, 3}, {16, 12, 1}, {17, 40, 2}, {23, 128, 1}, {31, 3, 2}, {40, 19, 1}, {64, 100, 1}, {97, 61, 2}, {24, 517, 2}, {70, 1030, 1}}
		for _, sz := range sizes {
			m, k, np := sz[0], sz[1], sz[2]
			for variant := range 48 {
				transposed, spanned := variant&1 != 0, variant&2 != 0
				ld := k + r.IntN(5)
				rs, cs := ld, 1
				var a *vec
				if transposed {
					ld = m + r.IntN(5)
					rs, cs = 1, ld
					a = matrix(r, k, m, ld, 1)
				} else {
					a = matrix(r, m, k, ld, 1)
				}
				b, bp := panels(r, k, np, Lanes*r.IntN(2)+r.IntN(2)*3, 1)
				c, cp := panels(r, m, np, r.IntN(3)*Lanes, 1)
				gate, gp := panels(r, m, np, r.IntN(2)*Lanes, 1)
				bias := newVec(m, 1).fill(r, 1)
				var spans []Span
				if spanned {
					spans = someSpans(r, m, k)
				}
				e, f, with := someEpilogue(r, bias, gate, gp)
				name := fmt.Sprintf("m=%d k=%d np=%d transposed=%v spans=%v%s", m, k, np, transposed, spans, with)
				set.Mul(c.s, cp, a.s, rs, cs, b.s, bp, m, k, np, spans, e)
				reference.Mul(c.w, cp, a.w, rs, cs, b.w, bp, m, k, np, spans, f)
				c.check(t, name, 2e-6*math.Sqrt(float64(k+1)))
				gate.check(t, name+": gate", 0)
				bias.check(t, name+": bias", 0)
			}
		}
	})
}

// A large product, which goes block by block, is that of each panel by itself, to the same bits.
func TestMulInBlocks(t *testing.T) {
	const m, k, np = 136, 1030, 9
	for _, set := range fastSets() {
		r := random(6)
		a, bias := newVec(m*k, 1).fill(r, 1), newVec(m, 1).fill(r, 1)
		b, bp := panels(r, k, np, 0, 1)
		gate, gp := panels(r, m, np, Lanes, 1)
		for variant := range 16 {
			c, cp := panels(r, m, np, Lanes, 1)
			rs, cs := k, 1
			if variant%2 == 1 {
				rs, cs = 1, m
			}
			var spans []Span
			if variant%4 > 1 {
				spans = someSpans(r, m, k)
			}
			e, _, with := someEpilogue(r, bias, gate, gp)
			want := slices.Clone(c.s)
			for p := range np {
				one := e
				one.Half = e.Half && p == np-1
				if e.Gate != nil {
					one.Gate = e.Gate[p*gp:]
				}
				set.Mul(want[p*cp:], cp, a.s, rs, cs, b.s[p*bp:], bp, m, k, 1, spans, one)
			}
			set.Mul(c.s, cp, a.s, rs, cs, b.s, bp, m, k, np, spans, e)
			for i, v := range c.s {
				if math.Float32bits(v) != math.Float32bits(want[i]) {
					t.Fatalf("%s, transposed %v, spans %v,%s: number %d is %v, %v panel by panel", set.Name, variant%2 == 1, spans, with, i, v, want[i])
				}
			}
		}
	}
}

// Memory outside a span may hold anything: an incremental inverse has not computed it yet.
func TestMulLeavesOutSpans(t *testing.T) {
	eachSet(t, func(t *testing.T, set *Set[float32]) {
		b := make([]float32, 16*Lanes)
		a := make([]float32, 16*16)
		for i := range a {
			a[i] = canary
		}
		for i := range b {
			b[i] = canary
		}
		for i := range 16 {
			for k := 4; k < 4+i/8; k++ {
				a[i*16+k] = 2
			}
		}
		for l := range Lanes {
			b[4*Lanes+l] = float32(l)
		}
		c := make([]float32, 16*Lanes)
		set.Mul(c, 16*Lanes, a, 16, 1, b, 16*Lanes, 16, 16, 1, []Span{{4, 4, 8}, {4, 5, 8}}, Epilogue[float32]{})
		for i, v := range c {
			want := float32(0)
			if i >= 8*Lanes {
				want = float32(2 * (i % Lanes))
			}
			if v != want {
				t.Fatalf("unit %d lane %d: %g, want %g", i/Lanes, i%Lanes, v, want)
			}
		}
	})
}

func TestGradW(t *testing.T) {
	eachSet(t, func(t *testing.T, set *Set[float32]) {
		r := random(2)
		for _, sz := range [][3]int{{0, 3, 1}, {8, 16, 0}, {1, 1, 1}, {2, 16, 2}, {3, 17, 1}, {4, 31, 3}, {5, 32, 1}, {6, 33, 2}, {7, 48, 1}, {8, 12, 2}, {9, 64, 1}, {13, 80, 2}, {16, 100, 1}, {23, 128, 1}, {40, 37, 2}, {65, 130, 2}} {
			m, k, np := sz[0], sz[1], sz[2]
			for variant := range 16 {
				ldx := (k+15)&^15 + 16*r.IntN(3)
				ld := (k+15)&^15 + 16*r.IntN(3)
				var spans []Span
				if variant&1 != 0 {
					spans = someSpans(r, m, k)
				}
				dy, dyp := panels(r, m, np, r.IntN(2)*Lanes, 1)
				xtp := Lanes*ldx + 16*r.IntN(2)
				xt := newVec(xtp*np, r.IntN(2)).fill(r, 1)
				w := newVec(m*ld, r.IntN(2)).fill(r, 1)
				set.GradW(w.s, ld, dy.s, dyp, xt.s, ldx, xtp, m, k, np, spans, variant&2 != 0)
				reference.GradW(w.w, ld, dy.w, dyp, xt.w, ldx, xtp, m, k, np, spans, variant&2 != 0)
				w.check(t, fmt.Sprintf("m=%d k=%d np=%d ld=%d ldx=%d spans=%v add=%v", m, k, np, ld, ldx, spans, variant&2 != 0), 2e-6*math.Sqrt(float64(32*np+1)))
			}
		}
	})
}

func TestTransposeAndRowSum(t *testing.T) {
	eachSet(t, func(t *testing.T, set *Set[float32]) {
		r := random(3)
		for _, rows := range []int{0, 1, 2, 7, 8, 9, 15, 16, 17, 23, 32, 33, 48, 61, 128} {
			for np := range 4 {
				src, sp := panels(r, rows, np, r.IntN(3)*Lanes+r.IntN(2), 1)
				ld := (rows+15)&^15 + 16*r.IntN(2)
				dp := ld*Lanes + 16*r.IntN(2)
				dst := newVec(max(0, dp*np-(dp-ld*Lanes)), r.IntN(2))
				set.Transpose(dst.s, ld, dp, src.s, sp, rows, np)
				reference.Transpose(dst.w, ld, dp, src.w, sp, rows, np)
				dst.check(t, fmt.Sprintf("transpose rows=%d np=%d ld=%d", rows, np, ld), 0)
				sum := newVec(rows, 1).fill(r, 1)
				set.RowSum(sum.s, src.s, sp, rows, np)
				reference.RowSum(sum.w, src.w, sp, rows, np)
				sum.check(t, fmt.Sprintf("row sum rows=%d np=%d", rows, np), 1e-5)
			}
		}
	})
}

// An exact transpose of numbers that a float32 sum would round.
func TestTransposeIsExact(t *testing.T) {
	eachSet(t, func(t *testing.T, set *Set[float32]) {
		src := make([]float32, 37*Lanes)
		for i := range src {
			src[i] = float32(i + 1)
		}
		dst := make([]float32, 48*Lanes)
		set.Transpose(dst, 48, 48*Lanes, src, 37*Lanes, 37, 1)
		for e := range Lanes {
			for u := range 48 {
				want := float32(0)
				if u < 37 {
					want = src[u*Lanes+e]
				}
				if dst[e*48+u] != want {
					t.Fatalf("unit %d lane %d: %g, want %g", u, e, dst[e*48+u], want)
				}
			}
		}
	})
}

type mapCase struct {
	name   string
	of     func(s *Set[float32]) func(dst, x []float32)
	want   func(float64) float64
	lo, hi float64
	rel    float64 // relative error
	abs    float64 // plus this
}

func mapCases() []mapCase {
	return []mapCase{
		{"exp", func(s *Set[float32]) func(dst, x []float32) { return s.Exp }, math.Exp, -100, 88.7, 4e-7, 2e-38},
		{"log", func(s *Set[float32]) func(dst, x []float32) { return s.Log }, math.Log, 1e-37, 1e30, 4e-7, 1e-7},
		{"tanh", func(s *Set[float32]) func(dst, x []float32) { return s.Tanh }, math.Tanh, -12, 12, 4e-7, 0},
		{"sigmoid", func(s *Set[float32]) func(dst, x []float32) { return s.Sigmoid }, sigmoid, -86, 90, 4e-7, 0},
		{"softplus", func(s *Set[float32]) func(dst, x []float32) { return s.Softplus }, softplus, -80, 90, 4e-7, 0},
		{"silu", func(s *Set[float32]) func(dst, x []float32) { return s.SiLU }, silu, -80, 90, 5e-7, 0},
		{"gelu", func(s *Set[float32]) func(dst, x []float32) { return s.GELU }, gelu, -12, 90, 5e-7, 4e-7},
	}
}

func TestElementwise(t *testing.T) {
	eachSet(t, func(t *testing.T, set *Set[float32]) {
		r := random(4)
		for _, c := range mapCases() {
			f := c.of(set)
			for _, n := range []int{0, 1, 3, 7, 8, 15, 16, 17, 31, 33, 64, 100, 4097} {
				x := newVec(n, n%3)
				for i := range n {
					v := c.lo + (c.hi-c.lo)*r.Float64()
					switch {
					case c.name == "log":
						v = math.Exp(math.Log(c.lo) + math.Log(c.hi/c.lo)*r.Float64())
					case i%4 == 0:
						v = r.NormFloat64()
					case i%4 == 1:
						v = r.NormFloat64() * math.Exp(-10*r.Float64())
					}
					x.set(i, v)
				}
				y := newVec(n, n%2)
				for i := range n {
					y.w[i] = 0
				}
				f(y.s, x.s)
				for i, v := range y.s {
					want := c.want(x.w[i])
					if d := math.Abs(float64(v) - want); !(d <= c.rel*math.Abs(want)+c.abs) {
						t.Fatalf("%s(%.9g) = %.9g, want %.9g (relative error %.2g)", c.name, x.s[i], v, want, d/math.Abs(want))
					}
					y.w[i] = float64(v)
				}
				y.check(t, c.name, 0)
				x.check(t, c.name+": argument", 0)
				f(x.s, x.s)
				for i := range x.s {
					if x.s[i] != y.s[i] {
						t.Fatalf("%s in place differs at %d", c.name, i)
					}
				}
			}
		}
	})
}

var extremes = []float32{0, float32(math.Copysign(0, -1)), 1e-45, -1e-45, 1e-38, -1e-38, 1e-30, 1e-7, -1e-7, 0.5, -0.5, 1, -1, 5, -5, 20, -20, 87, -87, 88.7, -88.7, 89, -89, 104, -104, 1e3, -1e3, 1e6, -1e6,
	1e10, -1e10, 1e20, -1e20, math.MaxFloat32, -math.MaxFloat32}

func TestFiniteStaysFinite(t *testing.T) {
	eachSet(t, func(t *testing.T, set *Set[float32]) {
		one := make([]float32, len(extremes))
		for i := range one {
			one[i] = 1
		}
		y := make([]float32, len(extremes))
		finite := func(name string) {
			t.Helper()
			for i, v := range y {
				if f := float64(v); math.IsNaN(f) || math.IsInf(f, 0) {
					t.Errorf("%s(%g) = %g", name, extremes[i], v)
				}
			}
		}
		for _, c := range mapCases() {
			c.of(set)(y, extremes)
			finite(c.name)
		}
		set.SiLUGrad(y, one, extremes)
		finite("silu'")
		set.GELUGrad(y, one, extremes)
		finite("gelu'")
	})
}

// A NaN must not vanish in a kernel: the training loop looks for it in the loss.
func TestNaNStays(t *testing.T) {
	eachSet(t, func(t *testing.T, set *Set[float32]) {
		nan := float32(math.NaN())
		x := []float32{nan, 1, nan, 0.5, nan}
		y := make([]float32, len(x))
		for _, c := range mapCases() {
			c.of(set)(y, x)
			for i, v := range y {
				if (v != v) != (x[i] != x[i]) {
					t.Errorf("%s(%g) = %g", c.name, x[i], v)
				}
			}
		}
	})
}

func TestGradients(t *testing.T) {
	eachSet(t, func(t *testing.T, set *Set[float32]) {
		r := random(5)
		for _, c := range []struct {
			name  string
			f     func(dst, gy, x []float32)
			g     func(dst, gy, x []float64)
			scale float64
		}{{"tanh", set.TanhGrad, reference.TanhGrad, 0.5}, {"silu", set.SiLUGrad, reference.SiLUGrad, 4}, {"gelu", set.GELUGrad, reference.GELUGrad, 4}} {
			for _, n := range []int{0, 1, 7, 8, 16, 17, 100, 1000} {
				x, gy, dst := newVec(n, 1).fill(r, c.scale), newVec(n, 0).fill(r, 1), newVec(n, 2)
				c.f(dst.s, gy.s, x.s)
				c.g(dst.w, gy.w, x.w)
				dst.check(t, c.name, 2e-6)
				c.f(gy.s, gy.s, x.s)
				c.g(gy.w, gy.w, x.w)
				gy.check(t, c.name+" in place", 2e-6)
				x.check(t, c.name, 0)
			}
		}
		for _, n := range []int{0, 1, 7, 8, 16, 17, 100, 1000} {
			x, y := newVec(n, 1).fill(r, 1), newVec(n, 0).fill(r, 1)
			set.Axpy(y.s, 0.5, x.s)
			reference.Axpy(y.w, 0.5, x.w)
			y.check(t, "axpy", 1e-6)
			set.MulAdd(y.s, y.s, x.s, x.s)
			reference.MulAdd(y.w, y.w, x.w, x.w)
			y.check(t, "mulAdd", 1e-6)
		}
	})
}

func TestAffine(t *testing.T) {
	eachSet(t, func(t *testing.T, set *Set[float32]) {
		r := random(6)
		for _, n := range []int{0, 1, 2, 3, 8, 11} {
			for np := range 4 {
				name := fmt.Sprintf("n=%d np=%d", n, np)
				gap := Lanes * r.IntN(2)
				x, xp := panels(r, n, np, gap, 2)
				y, yp := panels(r, n, np, 0, 0)
				theta, tp := panels(r, 2*n, np, gap, 3)
				save, sp := panels(r, AffineSave*n, np, 0, 0)
				ladj, _ := panels(r, 1, np, 0, 1)
				set.AffineForward(n, np, y.s, yp, ladj.s, x.s, xp, theta.s, tp, save.s, sp)
				reference.AffineForward(n, np, y.w, yp, ladj.w, x.w, xp, theta.w, tp, save.w, sp)
				y.check(t, name+" y", 3e-6)
				ladj.check(t, name+" ladj", 3e-6)

				gy, gyp := panels(r, n, np, gap, 1)
				gl, _ := panels(r, 1, np, 0, 1)
				dx, dxp := panels(r, n, np, Lanes, 0)
				dth, dtp := panels(r, 2*n, np, 0, 0)
				set.AffineBackward(n, np, dx.s, dxp, dth.s, dtp, gy.s, gyp, gl.s, x.s, xp, theta.s, tp, save.s, sp)
				reference.AffineBackward(n, np, dx.w, dxp, dth.w, dtp, gy.w, gyp, gl.w, x.w, xp, theta.w, tp, save.w, sp)
				dx.check(t, name+" dx", 3e-6)
				dth.check(t, name+" dtheta", 1e-5)
				set.AffineBackward(n, np, dx.s, dxp, theta.s, tp, gy.s, gyp, gl.s, x.s, xp, theta.s, tp, save.s, sp)
				reference.AffineBackward(n, np, dx.w, dxp, theta.w, tp, gy.w, gyp, gl.w, x.w, xp, theta.w, tp, save.w, sp)
				theta.check(t, name+" dtheta in place of theta", 1e-5)

				theta, tp = panels(r, 2*n, np, gap, 3)
				set.AffineInverse(n, np, y.s, yp, ladj.s, x.s, xp, theta.s, tp)
				reference.AffineInverse(n, np, y.w, yp, ladj.w, x.w, xp, theta.w, tp)
				y.check(t, name+" inverse", 5e-6)
				ladj.check(t, name+" inverse ladj", 3e-6)
				set.AffineInverse(n, np, y.s, yp, nil, x.s, xp, theta.s, tp)
				y.check(t, name+" inverse without ladj", 5e-6)
			}
		}
	})
}

func TestSpline(t *testing.T) {
	eachSet(t, func(t *testing.T, set *Set[float32]) {
		r := random(7)
		for _, bins := range []int{1, 2, 3, 5, 8, 13, 16, 32} {
			for _, circular := range []bool{false, true} {
				for _, n := range []int{0, 1, 3} {
					for _, np := range []int{0, 1, 2} {
						s := Spline{Bins: bins, Bound: []float64{5, 1, math.Pi, 3}[r.IntN(4)], Circular: circular}
						name := fmt.Sprintf("%+v n=%d np=%d", s, n, np)
						// the knots are sums of float32: the error within a bin grows with the number of bins
						loose := max(1, float64(bins)/8)
						gap := Lanes * r.IntN(2)
						x, xp := panels(r, n, np, gap, s.Bound/2)
						y, yp := panels(r, n, np, 0, 0)
						theta, tp := panels(r, s.Params()*n, np, gap, 1)
						save, sp := panels(r, s.Save()*n, np, gap, 0)
						ladj, _ := panels(r, 1, np, 0, 1)
						set.SplineForward(s, n, np, y.s, yp, ladj.s, x.s, xp, theta.s, tp, save.s, sp)
						reference.SplineForward(s, n, np, y.w, yp, ladj.w, x.w, xp, theta.w, tp, save.w, sp)
						y.check(t, name+" y", 1e-5*loose)
						ladj.check(t, name+" ladj", 1e-4*loose)
						for i := range save.s { // what a set keeps is its own affair, but it stays inside
							if save.s[i] != canary && !math.IsNaN(save.w[i]) {
								save.w[i] = float64(save.s[i])
							}
						}
						save.check(t, name+" save", 0)

						gy, gyp := panels(r, n, np, gap, 1)
						gl, _ := panels(r, 1, np, 0, 1)
						dx, dxp := panels(r, n, np, Lanes, 0)
						dth, dtp := panels(r, s.Params()*n, np, 0, 0)
						set.SplineBackward(s, n, np, dx.s, dxp, dth.s, dtp, gy.s, gyp, gl.s, x.s, xp, theta.s, tp, save.s, sp)
						reference.SplineBackward(s, n, np, dx.w, dxp, dth.w, dtp, gy.w, gyp, gl.w, x.w, xp, theta.w, tp, save.w, sp)
						dx.check(t, name+" dx", 3e-4*loose)
						dth.check(t, name+" dtheta", 3e-4*loose)
						theta.check(t, name+" theta", 0)
						set.SplineBackward(s, n, np, dx.s, dxp, theta.s, tp, gy.s, gyp, gl.s, x.s, xp, theta.s, tp, save.s, sp)
						reference.SplineBackward(s, n, np, dx.w, dxp, theta.w, tp, gy.w, gyp, gl.w, x.w, xp, theta.w, tp, save.w, sp)
						theta.check(t, name+" dtheta in place of theta", 3e-4*loose)

						theta, tp = panels(r, s.Params()*n, np, gap, 1)
						set.SplineInverse(s, n, np, y.s, yp, ladj.s, x.s, xp, theta.s, tp)
						reference.SplineInverse(s, n, np, y.w, yp, ladj.w, x.w, xp, theta.w, tp)
						y.check(t, name+" inverse", 2e-5*loose)
						ladj.check(t, name+" inverse ladj", 1e-4*loose)
						set.SplineInverse(s, n, np, y.s, yp, nil, x.s, xp, theta.s, tp)
						y.check(t, name+" inverse without ladj", 2e-5*loose)
					}
				}
			}
		}
	})
}

// TestLateSlopes holds that splines whose slopes come late have the bits of those whose slopes are all computed before.
func TestLateSlopes(t *testing.T) {
	eachSet(t, func(t *testing.T, set *Set[float32]) {
		if set.SplineForwardLate == nil {
			t.Skip("no late slopes")
		}
		r := random(17)
		s := Spline{Bins: 8, Bound: 5}
		const hidden, ld = 40, 48
		for _, n := range []int{0, 1, 3, 3, 3, 3} {
			for np := range 4 {
				name := fmt.Sprintf("n=%d np=%d", n, np)
				pr, slopes := s.Params(), s.LateSlopes()
				first := pr - slopes
				x, xp := panels(r, n, np, Lanes, s.Bound/2)
				for i := range x.s { // all bins, knots at the ends and the outside
					if i%7 == 0 {
						x.set(i, float64(i%29)/28*2.2*s.Bound-1.1*s.Bound)
					}
				}
				h, hp := panels(r, hidden, np, Lanes, 1)
				theta, tp := panels(r, pr*n, np, Lanes, 1)
				full := newVec(len(theta.s), 0)
				copy(full.s, theta.s)
				w := newVec(n*slopes*ld, 0).fill(r, 0.3)
				late := Slopes[float32]{Hidden: h.s, Stride: hp, Table: newVec(n*8*(1+ld), 0).s, Step: 8 * (1 + ld)}
				for f := range n {
					uses := []int{hidden, 0, 17}[f]
					late.Uses = append(late.Uses, int32(uses))
					rows, bias := w.s[f*slopes*ld:][:slopes*ld], newVec(slopes, 0).fill(r, 1).s
					set.SlopeTable(late.Table[f*late.Step:], bias, rows, ld, uses)
					for p := range np {
						slope := full.s[p*tp+(f*pr+first)*Lanes:]
						set.Mul(slope, 0, rows, ld, 1, h.s[p*hp:], 0, slopes, uses, 1, nil, Epilogue[float32]{Bias: bias})
					}
				}
				y, yp := panels(r, n, np, 0, 0)
				save, sp := panels(r, s.Save()*n, np, 0, 0)
				ladj, _ := panels(r, 1, np, 0, 1)
				other := func(v *vec) *vec { u := newVec(len(v.s), 0); copy(u.s, v.s); return u }
				y2, save2, ladj2 := other(y), other(save), other(ladj)
				same := func(what string, a, b *vec) {
					t.Helper()
					if !slices.Equal(a.s, b.s) {
						t.Errorf("%s: %s differs", name, what)
					}
				}
				set.SplineForward(s, n, np, y.s, yp, ladj.s, x.s, xp, full.s, tp, save.s, sp)
				set.SplineForwardLate(s, n, np, y2.s, yp, ladj2.s, x.s, xp, theta.s, tp, save2.s, sp, late)
				same("y", y, y2)
				same("ladj", ladj, ladj2)
				same("save", save, save2)
				set.SplineForward(s, n, np, y.s, yp, nil, x.s, xp, full.s, tp, nil, 0)
				set.SplineForwardLate(s, n, np, y2.s, yp, nil, x.s, xp, theta.s, tp, nil, 0, late)
				same("y alone", y, y2)
				set.SplineForward(s, n, np, y.s, yp, ladj.s, x.s, xp, full.s, tp, nil, 0)
				set.SplineForwardLate(s, n, np, y2.s, yp, ladj2.s, x.s, xp, theta.s, tp, nil, 0, late)
				same("ladj without save", ladj, ladj2)
				set.SplineInverse(s, n, np, y.s, yp, ladj.s, x.s, xp, full.s, tp)
				set.SplineInverseLate(s, n, np, y2.s, yp, ladj2.s, x.s, xp, theta.s, tp, late)
				same("inverse", y, y2)
				same("inverse ladj", ladj, ladj2)
				set.SplineInverse(s, n, np, y.s, yp, nil, x.s, xp, full.s, tp)
				set.SplineInverseLate(s, n, np, y2.s, yp, nil, x.s, xp, theta.s, tp, late)
				same("inverse alone", y, y2)
			}
		}
	})
}

func TestLayerNorm(t *testing.T) {
	eachSet(t, func(t *testing.T, set *Set[float32]) {
		r := random(8)
		for _, rows := range []int{1, 2, 7, 16, 33, 128} {
			for np := range 3 {
				for _, modulated := range []bool{false, true} {
					name := fmt.Sprintf("rows=%d np=%d modulated=%v", rows, np, modulated)
					x, xp := panels(r, rows, np, Lanes*r.IntN(2), 2)
					y, yp := panels(r, rows, np, 0, 0)
					mean, _ := panels(r, 1, np, 0, 0)
					rstd, _ := panels(r, 1, np, 0, 0)
					scale, mp := panels(r, rows, np, Lanes, 1)
					shift, _ := panels(r, rows, np, Lanes, 1)
					gy, gyp := panels(r, rows, np, Lanes, 1)
					dx, dxp := panels(r, rows, np, 0, 0)
					dscale, dmp := panels(r, rows, np, Lanes, 0)
					dshift, _ := panels(r, rows, np, Lanes, 0)
					if !modulated {
						none := new(vec)
						scale, shift, dscale, dshift = none, none, none, none
					}
					const eps = 1e-2
					set.LayerNorm(y.s, yp, mean.s, rstd.s, x.s, xp, scale.s, shift.s, mp, rows, np, eps)
					reference.LayerNorm(y.w, yp, mean.w, rstd.w, x.w, xp, scale.w, shift.w, mp, rows, np, float64(float32(eps)))
					y.check(t, name+" y", 1e-5)
					mean.check(t, name+" mean", 1e-6)
					rstd.check(t, name+" rstd", 1e-5)
					set.LayerNormBackward(dx.s, dxp, dscale.s, dshift.s, dmp, gy.s, gyp, x.s, xp, mean.s, rstd.s, scale.s, mp, rows, np)
					reference.LayerNormBackward(dx.w, dxp, dscale.w, dshift.w, dmp, gy.w, gyp, x.w, xp, mean.w, rstd.w, scale.w, mp, rows, np)
					dx.check(t, name+" dx", 1e-4)
					if modulated {
						dscale.check(t, name+" dscale", 1e-5)
						dshift.check(t, name+" dshift", 0)
					}
				}
			}
		}
	})
}

func TestSoftmax(t *testing.T) {
	eachSet(t, func(t *testing.T, set *Set[float32]) {
		r := random(9)
		for _, rows := range []int{1, 2, 7, 16, 33, 135} {
			for np := range 3 {
				for _, valid := range []int{1, (rows + 1) / 2, rows} {
					name := fmt.Sprintf("rows=%d np=%d valid=%d", rows, np, valid)
					s, sp := panels(r, rows, np, Lanes*r.IntN(2), 20)
					p, pp := panels(r, rows, np, 0, 0)
					set.Softmax(p.s, pp, s.s, sp, rows, valid, np, 0.3)
					reference.Softmax(p.w, pp, s.w, sp, rows, valid, np, float64(float32(0.3)))
					p.check(t, name, 3e-6)
					gp, gpp := panels(r, rows, np, 0, 1)
					ds, dsp := panels(r, rows, np, Lanes, 0)
					set.SoftmaxBackward(ds.s, dsp, gp.s, gpp, p.s, pp, rows, np, 0.3)
					reference.SoftmaxBackward(ds.w, dsp, gp.w, gpp, p.w, pp, rows, np, 0.3)
					ds.check(t, name+" backward", 3e-6)
					set.SoftmaxBackward(gp.s, gpp, gp.s, gpp, p.s, pp, rows, np, 0.3)
					reference.SoftmaxBackward(gp.w, gpp, gp.w, gpp, p.w, pp, rows, np, 0.3)
					gp.check(t, name+" backward in place", 3e-6)
					set.Softmax(s.s, sp, s.s, sp, rows, valid, np, 0.3)
					reference.Softmax(s.w, sp, s.w, sp, rows, valid, np, float64(float32(0.3)))
					s.check(t, name+" in place", 3e-6)
				}
			}
		}
	})
}

func TestAdamAndSumSq(t *testing.T) {
	eachSet(t, func(t *testing.T, set *Set[float32]) {
		r := random(10)
		for _, n := range []int{0, 1, 7, 8, 15, 16, 17, 33, 100, 1027} {
			for shards := 1; shards <= 3; shards++ {
				for variant := range 4 {
					masked, averaged := variant&1 != 0, variant&2 != 0
					name := fmt.Sprintf("n=%d shards=%d masked=%v averaged=%v", n, shards, masked, averaged)
					w, m, v, mean := newVec(n, 1).fill(r, 1), newVec(n, 0).fill(r, 1), newVec(n, 3), newVec(n, 4).fill(r, 1)
					mask := newVec(n, 2)
					for i := range n {
						v.set(i, r.Float64())
						if long := n/4 < i && i < n/2; long || r.IntN(2) == 0 {
							mask.set(i, 0)
							if masked {
								m.set(i, 0)
								v.set(i, 0)
								mean.set(i, w.w[i])
							}
						} else {
							mask.set(i, 1)
						}
					}
					var gs [][]float32
					var gw [][]float64
					for range shards {
						g := newVec(n, 5).fill(r, 1)
						gs, gw = append(gs, g.s), append(gw, g.w)
					}
					ms, mw := mask.s, mask.w
					if !masked {
						ms, mw = nil, nil
					}
					a, b := set.SumSq(gs, ms), reference.SumSq(gw, mw)
					if math.Abs(a-b) > 1e-6*b {
						t.Fatalf("%s: sum of squares %g, want %g", name, a, b)
					}
					step := AdamStep{Rate: 0.01, Beta1: 0.9, Beta2: 0.99, Eps: 1e-3, Decay: 0.1, Scale: 0.7, Correct1: 2, Correct2: 5, Keep: 0.9}
					as, aw := mean.s, mean.w
					if !averaged {
						as, aw = nil, nil
					}
					set.Adam(w.s, m.s, v.s, as, gs, ms, step)
					reference.Adam(w.w, m.w, v.w, aw, gw, mw, step)
					w.check(t, name+" w", 2e-6)
					m.check(t, name+" m", 2e-6)
					v.check(t, name+" v", 2e-6)
					mean.check(t, name+" mean", 2e-6)
				}
			}
		}
	})
}

func TestGaussMix(t *testing.T) {
	eachSet(t, func(t *testing.T, set *Set[float32]) {
		r := random(11)
		for _, dim := range []int{1, 2, 3, 10, 13} {
			for _, ny := range []int{0, 1, 3, 4, 5, 8, 30} {
				for np := range 3 {
					for _, c := range [][]float64{{0.5}, {2, 0.5, 0.125}, {0.1, 0.5, 1.7}, {0.125, 0.25, 0.5, 1, 2}} {
						name := fmt.Sprintf("dim=%d ny=%d np=%d c=%v", dim, ny, np, c)
						x, xp := panels(r, dim, np, Lanes*r.IntN(2), 1)
						grad, gp := panels(r, dim, np, Lanes*r.IntN(2), 1)
						f, _ := panels(r, 1, np, 0, 1)
						y, wy := newVec(ny*dim, 1).fill(r, 1), newVec(ny, 1).fill(r, 1)
						cv := newVec(len(c), 0)
						for i, v := range c {
							cv.set(i, v)
						}
						set.GaussMix(f.s, grad.s, gp, x.s, xp, dim, np, y.s, wy.s, ny, cv.s)
						reference.GaussMix(f.w, grad.w, gp, x.w, xp, dim, np, y.w, wy.w, ny, cv.w)
						f.check(t, name, 1e-5)
						grad.check(t, name+" gradient", 1e-5)
						set.GaussMix(f.s, nil, gp, x.s, xp, dim, np, y.s, wy.s, ny, cv.s)
						reference.GaussMix(f.w, nil, gp, x.w, xp, dim, np, y.w, wy.w, ny, cv.w)
						f.check(t, name+" without gradient", 1e-5)
						grad.check(t, name+" gradient untouched", 1e-5)
					}
				}
			}
		}
	})
}

func TestMisuse(t *testing.T) {
	eachSet(t, func(t *testing.T, set *Set[float32]) {
		short := make([]float32, 31)
		long := make([]float32, 4096)
		pairs, few := make([]uint32, 4096), make([]uint32, 31)
		misuse := map[string]func(){
			"mul c": func() { set.Mul(short, Lanes, long, 1, 1, long, Lanes, 1, 1, 1, nil, Epilogue[float32]{}) },
			"mul b": func() { set.Mul(long, Lanes, long, 1, 1, short, Lanes, 1, 1, 1, nil, Epilogue[float32]{}) },
			"mul a": func() { set.Mul(long, 4*Lanes, short, 16, 1, long, 16*Lanes, 4, 16, 1, nil, Epilogue[float32]{}) },
			"pairs c": func() {
				set.MulPairs(short, Lanes, pairs, 1, pairs, Lanes, 1, 1, 1, Epilogue[float32]{})
			},
			"pairs b": func() {
				set.MulPairs(long, Lanes, pairs, 1, few, Lanes, 1, 1, 1, Epilogue[float32]{})
			},
			"pairs a": func() {
				set.MulPairs(long, 4*Lanes, few, 16, pairs, 16*Lanes, 4, 16, 1, Epilogue[float32]{})
			},
			"rounded": func() { set.RoundPairs(few, Lanes, long, Lanes, 1, 1) },
			"round":   func() { set.RoundPairs(pairs, Lanes, short, Lanes, 1, 1) },
			"grad w":  func() { set.GradW(short, 16, long, 2*Lanes, long, 16, 16*Lanes, 2, 16, 1, nil, true) },
			"exp":     func() { set.Exp(short, long) },
			"axpy":    func() { set.Axpy(short, 1, long) },
			"mulAdd":  func() { set.MulAdd(long, long, long, short) },
			"affine":  func() { set.AffineForward(1, 1, long, Lanes, short, long, Lanes, long, 2*Lanes, long, 2*Lanes) },
			"row sum": func() { set.RowSum(short, long, 100*Lanes, 100, 1) },
			"spline": func() {
				set.SplineForward(Spline{Bins: 8, Bound: 5}, 1, 1, short, Lanes, long, long, Lanes, long, 23*Lanes, long, 32*Lanes)
			},
			"softmax":  func() { set.Softmax(short, Lanes, long, Lanes, 1, 1, 1, 1) },
			"adam":     func() { set.Adam(long[:32], long[:32], long[:32], nil, [][]float32{short}, nil, AdamStep{}) },
			"gaussmix": func() { set.GaussMix(short, nil, 0, long, Lanes, 1, 1, long, long, 1, long[:1]) },
		}
		if set.SplineForwardLate != nil {
			spline := Spline{Bins: 8, Bound: 5}
			run := func(s Spline, late Slopes[float32]) func() {
				return func() {
					set.SplineForwardLate(s, 2, 1, long, 2*Lanes, nil, long, 2*Lanes, long, 46*Lanes, nil, 0, late)
				}
			}
			misuse["late hidden"] = run(spline, Slopes[float32]{Hidden: short, Table: long, Uses: []int32{1, 1}})
			misuse["late table"] = run(spline, Slopes[float32]{Hidden: long, Table: short, Step: 16, Uses: []int32{1, 1}})
			misuse["late uses"] = run(spline, Slopes[float32]{Hidden: long, Table: long, Uses: []int32{1}})
			misuse["late negative"] = run(spline, Slopes[float32]{Hidden: long, Table: long, Uses: []int32{1, -1}})
			misuse["late circle"] = run(Spline{Bins: 8, Bound: 5, Circular: true}, Slopes[float32]{Uses: []int32{0, 0}})
			misuse["late inverse"] = func() {
				set.SplineInverseLate(spline, 1, 1, long, Lanes, nil, long, Lanes, short, 23*Lanes, Slopes[float32]{Uses: []int32{0}})
			}
			misuse["late without ladj"] = func() {
				set.SplineForwardLate(spline, 1, 1, long, Lanes, nil, long, Lanes, long, 23*Lanes, long, 32*Lanes, Slopes[float32]{Table: long, Uses: []int32{0}})
			}
			misuse["slope table"] = func() { set.SlopeTable(short, long, long, 16, 16) }
			misuse["slope weights"] = func() { set.SlopeTable(long, long, short, 16, 16) }
		}
		for name, f := range misuse {
			func() {
				defer func() {
					if recover() == nil {
						t.Errorf("%s: a short slice went through", name)
					}
				}()
				f()
			}()
		}
	})
}
