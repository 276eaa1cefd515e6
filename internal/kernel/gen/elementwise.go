package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
)

const (
	log2e = math.Log2E
	ln2   = math.Ln2
	ln2hi = 0.693359375 // n·ln2hi is exact for whole n of a few bits
	ln2lo = ln2 - ln2hi

	notLessOrNaN = 21
	unordered    = 3
	largest      = math.MaxFloat32
	smallest     = 0x1p-126
)

// e^r = 1 + r + r²·(…) for |r| <= ln(2)/2: minimax, relative error 4e-9.
var expPoly = []float64{0.0013814540104671673, 0.008368745195609022, 0.0416683907913866, 0.16666520398318574, 0.4999999343207678, 1, 1}

// expOf is e^(n·ln 2 + r).
func (m *machine) expOf(n, r vector) vector {
	p := m.set(expPoly[0])
	for _, c := range expPoly[1:] {
		m.horner(c, r, p)
	}
	m.scale(n, p)
	return p
}

// expSmall is e^x for |x| < 80; x is lost.
func (m *machine) expSmall(x vector) vector {
	n := m.vec()
	m.mul(log2e, x, n)
	m.round(n, n)
	m.fms(ln2, n, x)
	return m.expOf(n, x)
}

// exp is e^x for every x, between 0 and the largest float32; x is lost.
func (m *machine) exp(x vector) vector {
	low := -87.33
	if !m.wide {
		low = -86.98
	}
	some := m.compareTo(notLessOrNaN, x, low)
	m.minimum(89, x, x)
	m.maximum(low, x, x)
	n := m.vec()
	m.mul(log2e, x, n)
	m.round(n, n)
	m.fms(ln2hi, n, x)
	m.fms(ln2lo, n, x)
	var p vector
	if m.wide {
		p = m.expOf(n, x)
	} else { // 2^128 is no float32: 2·2^127
		m.sub(1, n, n)
		p = m.expOf(n, x)
		VADDPS(p, p, p)
	}
	m.minimum(largest, p, p)
	m.keep(some, p, p)
	return p
}

// The Cephes polynomial for ln(1+x), x in [√½−1, √2−1].
var logPoly = []float64{7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1, -1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1}

// log is ln x for positive normal x; x is lost. NaN gives something.
func (m *machine) logNormal(x vector) vector {
	e := m.vec()
	if m.wide {
		VGETEXPPS(x, e)
		VGETMANTPS(Imm(0), x, x)
	} else {
		VPSRLD(Imm(23), x, e)
		VPSUBD(m.bits(127), e, e)
		VCVTDQ2PS(e, e)
		VANDPS(m.bits(0x007fffff), x, x)
		VORPS(m.bits(0x3f800000), x, x)
	}
	big := m.compareTo(greaterThan, x, math.Sqrt2)
	if m.wide {
		VMULPS_BCST(m.c(0.5), x, big.k, x)
		VADDPS_BCST(m.c(1), e, big.k, e)
	} else {
		half, one := m.vec(), m.vec()
		VMULPS(m.c(0.5), x, half)
		m.merge(big, half, x)
		VANDPS(m.c(1), big.v, one)
		VADDPS(one, e, e)
	}
	m.sub(1, x, x)
	z := m.vec()
	VMULPS(x, x, z)
	p := m.set(logPoly[0])
	for _, c := range logPoly[1:] {
		m.horner(c, x, p)
	}
	VMULPS(x, p, p)
	VMULPS(z, p, p)
	m.fma(ln2lo, e, p)
	m.fms(0.5, z, p)
	VADDPS(x, p, p)
	m.fma(ln2hi, e, p)
	return p
}

// log is ln x; what is not a positive normal number counts as the smallest one.
func (m *machine) log(x vector) vector {
	if m.wide {
		m.maximum(smallest, x, x)
		return m.logNormal(x)
	}
	nan := m.compare(unordered, x, x)
	keep := m.copy(x)
	m.maximum(smallest, x, x)
	p := m.logNormal(x)
	m.merge(nan, keep, p)
	return p
}

// Rational approximation of tanh on [-7.9, 7.9] (Eigen), relative error 3e-7.
var (
	tanhNumerator   = []float64{-2.76076847742355e-16, 2.00018790482477e-13, -8.60467152213735e-11, 5.12229709037114e-08, 1.48572235717979e-05, 6.37261928875436e-04, 4.89352455891786e-03}
	tanhDenominator = []float64{1.19825839466702e-06, 1.18534705686654e-04, 2.26843463243900e-03, 4.89352518554385e-03}
)

func (m *machine) tanh(x vector) vector {
	m.minimum(7.90531110763549805, x, x)
	m.maximum(-7.90531110763549805, x, x)
	x2 := m.vec()
	VMULPS(x, x, x2)
	p := m.set(tanhNumerator[0])
	for _, c := range tanhNumerator[1:] {
		m.horner(c, x2, p)
	}
	VMULPS(x, p, p)
	q := m.set(tanhDenominator[0])
	for _, c := range tanhDenominator[1:] {
		m.horner(c, x2, q)
	}
	VDIVPS(q, p, p)
	return p
}

// onePlusExp is 1 + e^−x.
func (m *machine) onePlusExp(x vector) vector {
	e := m.exp(m.neg(x))
	m.add(1, e, e)
	return e
}

func (m *machine) sigmoid(x vector) vector {
	q, s := m.onePlusExp(x), m.set(1)
	VDIVPS(q, s, s)
	return s
}

// softplus is max(x, 0) + ln(1 + e^−|x|).
func (m *machine) softplus(x vector) vector {
	top := m.vec()
	z := m.zero()
	VMAXPS(x, z, top)
	a := m.vec()
	VSUBPS(x, z, a)
	VMINPS(x, a, a)
	e := m.exp(a)
	u := m.vec()
	m.add(1, e, u)
	d := m.vec()
	m.sub(1, u, d)
	VSUBPS(d, e, e) // what the sum 1 + e lost
	VADDPS(e, top, top)
	l := m.logNormal(u)
	VADDPS(l, top, top)
	return top
}

func (m *machine) silu(x vector) vector {
	m.maximum(-100, x, x) // beyond, the result is 0
	q := m.onePlusExp(x)
	VDIVPS(q, x, x)
	return x
}

const geluA, geluB = 0.7978845608028654, 0.044715

// geluArgument is 2a(x + bx³) = x(2a + 2abx²): gelu(x) = x·sigmoid of it.
func (m *machine) geluArgument(x vector) vector {
	u, x2 := m.set(2*geluA), m.vec()
	VMULPS(x, x, x2)
	m.fma(2*geluA*geluB, x2, u)
	VMULPS(x, u, u)
	return u
}

func (m *machine) gelu(x vector) vector {
	m.maximum(-30, x, x)
	q := m.onePlusExp(m.geluArgument(x))
	VDIVPS(q, x, x)
	return x
}

// Derivatives return gy·f′(x).

func (m *machine) tanhGrad(gy, y vector) vector {
	d := m.set(1)
	VFNMADD231PS(y, y, d)
	VMULPS(gy, d, d)
	return d
}

func (m *machine) siluGrad(gy, x vector) vector {
	m.maximum(-100, x, x)
	s := m.sigmoid(m.copy(x))
	r := m.set(1)
	VSUBPS(s, r, r)
	VMULPS(x, r, r)
	VFMADD213PS(s, s, r)
	VMULPS(gy, r, r)
	return r
}

// geluGrad is s + x·s·(1−s)·u′ with the sigmoid s of u = geluArgument.
func (m *machine) geluGrad(gy, x vector) vector {
	m.maximum(-30, x, x)
	m.minimum(30, x, x)
	s := m.sigmoid(m.geluArgument(x))
	x2, d := m.vec(), m.set(2*geluA)
	VMULPS(x, x, x2)
	m.fma(6*geluA*geluB, x2, d)
	VMULPS(x, d, d)
	r := m.set(1)
	VSUBPS(s, r, r)
	VMULPS(d, r, r)
	VFMADD213PS(s, s, r)
	VMULPS(gy, r, r)
	return r
}

// over runs the body for n elements, a vector at a time (unroll of them in the main loop), with a mask for what is left over. The
// body gets the distance in bytes from the pointers, which over advances.
func (m *machine) over(n gp, unroll int, ps []gp, whole func(disp int), part func(k mask)) {
	top, rest, tail, out := label("whole"), label("rest"), label("tail"), label("end")
	CMPQ(n, Imm(uint64(m.width*unroll)))
	JL(LabelRef(rest))
	Label(top)
	for u := range unroll {
		whole(m.bytes() * u)
	}
	advance(m.bytes()*unroll, ps...)
	SUBQ(Imm(uint64(m.width*unroll)), n)
	CMPQ(n, Imm(uint64(m.width*unroll)))
	JGE(LabelRef(top))
	Label(rest)
	TESTQ(n, n)
	JLE(LabelRef(out))
	count, full := GP64(), GP64()
	MOVQ(n, count)
	MOVQ(U32(uint32(m.width)), full)
	CMPQ(count, full)
	CMOVQGT(full, count)
	Label(tail)
	part(m.first(count))
	advance(m.bytes(), ps...)
	SUBQ(count, n)
	JMP(LabelRef(rest))
	Label(out)
}

func (m *machine) mapOf(name string, f func(x vector) vector) {
	m.text(name, "func(dst, x *float32, n int)")
	dst, x, n := arg("dst"), arg("x"), arg("n")
	m.over(n, 2, []gp{dst, x}, func(d int) {
		VMOVUPS(f(m.load(at(x, d))), at(dst, d))
	}, func(k mask) {
		m.storeFirst(k, f(m.loadFirst(k, at(x, 0))), at(dst, 0))
	})
	m.end()
}

func (m *machine) gradOf(name string, f func(gy, x vector) vector) {
	m.text(name, "func(dst, gy, x *float32, n int)")
	dst, gy, x, n := arg("dst"), arg("gy"), arg("x"), arg("n")
	m.over(n, 1, []gp{dst, gy, x}, func(d int) {
		VMOVUPS(f(m.load(at(gy, d)), m.load(at(x, d))), at(dst, d))
	}, func(k mask) {
		m.storeFirst(k, f(m.loadFirst(k, at(gy, 0)), m.loadFirst(k, at(x, 0))), at(dst, 0))
	})
	m.end()
}

func (m *machine) axpy() {
	m.text("axpy", "func(y *float32, a float32, x *float32, n int)")
	y, x, n := arg("y"), arg("x"), arg("n")
	a := m.param("a")
	m.over(n, 2, []gp{y, x}, func(d int) {
		v := m.load(at(y, d))
		VFMADD231PS(at(x, d), a, v)
		VMOVUPS(v, at(y, d))
	}, func(k mask) {
		v := m.loadFirst(k, at(y, 0))
		VFMADD231PS(m.loadFirst(k, at(x, 0)), a, v)
		m.storeFirst(k, v, at(y, 0))
	})
	m.end()
}

func (m *machine) mulAdd() {
	m.text("mulAdd", "func(dst, x, a, b *float32, n int)")
	dst, x, a, b, n := arg("dst"), arg("x"), arg("a"), arg("b"), arg("n")
	m.over(n, 2, []gp{dst, x, a, b}, func(d int) {
		v, w := m.load(at(x, d)), m.load(at(a, d))
		VFMADD231PS(at(b, d), w, v)
		VMOVUPS(v, at(dst, d))
	}, func(k mask) {
		v := m.loadFirst(k, at(x, 0))
		VFMADD231PS(m.loadFirst(k, at(a, 0)), m.loadFirst(k, at(b, 0)), v)
		m.storeFirst(k, v, at(dst, 0))
	})
	m.end()
}

func (m *machine) elementwise() {
	m.mapOf("exp", m.exp)
	m.mapOf("log", m.log)
	m.mapOf("tanh", m.tanh)
	m.mapOf("sigmoid", m.sigmoid)
	m.mapOf("softplus", m.softplus)
	m.mapOf("silu", m.silu)
	m.mapOf("gelu", m.gelu)
	m.gradOf("tanhGrad", m.tanhGrad)
	m.gradOf("siluGrad", m.siluGrad)
	m.gradOf("geluGrad", m.geluGrad)
	m.axpy()
	m.mulAdd()
}
