package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
)

// gaussMix emits, for the 32 lanes of a panel, the sums over points of the kernel mixture and its gradient. mode 2 or 4 says that c
// grows by that factor, so that one exponential gives the others by squaring; 0 that every bandwidth needs its own. c holds −log2(e)/(2h²),
// fw and gw what the sums of e and of c·e are to be multiplied with; grad may be nil.
func (m *machine) gaussMix() {
	m.text("gaussMix", "func(f, grad, x *float32, dim int, y, wy *float32, ny int, c *float32, nc, mode int, fw, gw float32)")
	f, grad, x := arg("f"), arg("grad"), arg("x")
	vectors := GP64()
	MOVQ(U32(uint32(m.vectors())), vectors)
	Label("vector")
	y, wy, ny, stride := arg("y"), arg("wy"), arg("ny"), arg("dim")
	SHLQ(Imm(2), stride)
	group := 8
	if !m.wide {
		group = 3
	}
	for _, n := range []int{group, 1} {
		top, out := label("points"), label("points")
		Label(top)
		CMPQ(ny, Imm(uint64(n)))
		JL(LabelRef(out))
		m.gaussPoints(n, f, grad, x, y, wy, stride)
		advance(4*n, wy)
		for range n {
			ADDQ(stride, y)
		}
		SUBQ(Imm(uint64(n)), ny)
		JMP(LabelRef(top))
		Label(out)
	}
	advance(m.bytes(), f, x)
	skip := label("skip")
	TESTQ(grad, grad)
	JZ(LabelRef(skip))
	advance(m.bytes(), grad)
	Label(skip)
	DECQ(vectors)
	JNZ(LabelRef("vector"))
	m.end()
}

func (m *machine) gaussPoints(n int, f, grad, x, y, wy, stride gp) {
	// the distance of x to n points
	difference := func(xd vector, p Mem) vector {
		t := m.vec()
		if m.wide {
			VSUBPS_BCST(p, xd, t)
		} else {
			VBROADCASTSS(p, t)
			VSUBPS(t, xd, t)
		}
		return t
	}
	r2 := make([]vector, n)
	for j := range r2 {
		r2[j] = m.zero()
	}
	xp, yp, k := GP64(), GP64(), GP64()
	start := func() rowsOf {
		MOVQ(x, xp)
		MOVQ(y, yp)
		Load(Param("dim"), k)
		return newRows(n, yp, stride)
	}
	rows := start()
	times(k, func() {
		xd := m.load(at(xp, 0))
		for j, r := range r2 {
			t := difference(xd, rows.at(j))
			VFMADD231PS(t, t, r)
		}
		advance(128, xp)
		advance(4, rows.bases...)
	})

	sum, slope := make([]vector, n), make([]vector, n) // Σ e, Σ c·e
	for j := range n {
		sum[j], slope[j] = m.zero(), m.zero()
	}
	c, q, mode := GP64(), GP64(), GP64()
	Load(Param("c"), c)
	Load(Param("nc"), q)
	Load(Param("mode"), mode)
	general, done := label("general"), label("done")
	TESTQ(mode, mode)
	JZ(LabelRef(general))
	cv := m.constant(c, 0)
	for _, r := range r2 {
		VMULPS(cv, r, r)
		m.exp2Negative(r)
	}
	accumulate := func() {
		cv := m.constant(c, 0)
		for j, e := range r2 {
			VADDPS(e, sum[j], sum[j])
			VFMADD231PS(e, cv, slope[j])
		}
	}
	DECQ(q)
	times(q, func() {
		accumulate()
		for _, e := range r2 {
			VMULPS(e, e, e)
		}
		once := label("once")
		CMPQ(mode, Imm(4))
		JNE(LabelRef(once))
		for _, e := range r2 {
			VMULPS(e, e, e)
		}
		Label(once)
		advance(4, c)
	})
	accumulate()
	JMP(LabelRef(done))
	Label(general)
	times(q, func() {
		cv := m.constant(c, 0)
		for j, r := range r2 {
			t := m.vec()
			VMULPS(cv, r, t)
			m.exp2Negative(t)
			VADDPS(t, sum[j], sum[j])
			VFMADD231PS(t, cv, slope[j])
		}
		advance(4, c)
	})
	Label(done)

	total := m.load(at(f, 0))
	fw := m.param("fw")
	for j, s := range sum {
		w := m.constant(wy, 4*j)
		VMULPS(w, s, s)
		VFMADD231PS(fw, s, total)
	}
	VMOVUPS(total, at(f, 0))
	out := label("value")
	TESTQ(grad, grad)
	JZ(LabelRef(out))
	gw := m.param("gw")
	for j, s := range slope {
		w := m.constant(wy, 4*j)
		VMULPS(gw, w, w)
		VMULPS(w, s, s)
	}
	rows = start()
	g := GP64()
	MOVQ(grad, g)
	times(k, func() {
		xd, acc := m.load(at(xp, 0)), m.load(at(g, 0))
		for j, s := range slope {
			t := difference(xd, rows.at(j))
			VFMADD231PS(s, t, acc)
		}
		VMOVUPS(acc, at(g, 0))
		advance(128, xp, g)
		advance(4, rows.bases...)
	})
	Label(out)
}

// exp2Negative replaces x <= 0 by 2^x.
func (m *machine) exp2Negative(x vector) {
	low := -126.0
	if !m.wide {
		low = -125.0
	}
	some := m.compareTo(notLessOrNaN, x, low)
	m.maximum(low, x, x)
	n, p := m.vec(), m.vec()
	m.round(x, n)
	VSUBPS(n, x, x)
	VBROADCASTSS(m.c(exp2Poly[0]), p)
	for _, c := range exp2Poly[1:] {
		m.horner(c, x, p)
	}
	m.scale(n, p)
	m.keep(some, p, x)
}
