package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
)

// The kernels of this file work down the units of one panel, all 32 lanes side by side.

// down runs the body for n rows, with the pointers at the row; the pointers themselves stay.
func (m *machine) down(n gp, ps []gp, body func(ps []gp)) {
	qs := make([]gp, len(ps))
	for i, p := range ps {
		qs[i] = GP64()
		MOVQ(p, qs[i])
	}
	k := GP64()
	MOVQ(n, k)
	times(k, func() {
		body(qs)
		advance(128, qs...)
	})
}

func (m *machine) loadAll(p gp) []vector {
	v := make([]vector, m.vectors())
	for h := range v {
		v[h] = m.load(at(p, m.bytes()*h))
	}
	return v
}

func (m *machine) storeAll(v []vector, p gp) {
	for h := range v {
		VMOVUPS(v[h], at(p, m.bytes()*h))
	}
}

func (m *machine) zeros() []vector {
	v := make([]vector, m.vectors())
	for h := range v {
		v[h] = m.zero()
	}
	return v
}

func (m *machine) constant(p gp, d int) vector {
	x := m.vec()
	VBROADCASTSS(at(p, d), x)
	return x
}

// layerNorm: constants are 1/rows and eps; scale and shift may be nil.
func (m *machine) layerNorm() {
	m.text("layerNorm", "func(rows int, y, mean, rstd, x, scale, shift, constants *float32)")
	rows, y, mean, rstd, x, scale, shift, c := arg("rows"), arg("y"), arg("mean"), arg("rstd"), arg("x"), arg("scale"), arg("shift"), arg("constants")
	mu, q := m.zeros(), m.zeros()
	m.down(rows, []gp{x}, func(ps []gp) {
		for h, v := range mu {
			VADDPS(at(ps[0], m.bytes()*h), v, v)
		}
	})
	for _, v := range mu {
		VMULPS(m.constant(c, 0), v, v)
	}
	m.storeAll(mu, mean)
	m.down(rows, []gp{x}, func(ps []gp) {
		for h, v := range q {
			d := m.load(at(ps[0], m.bytes()*h))
			VSUBPS(mu[h], d, d)
			VFMADD231PS(d, d, v)
		}
	})
	for h, v := range q {
		VMULPS(m.constant(c, 0), v, v)
		VADDPS(m.constant(c, 4), v, v)
		VSQRTPS(v, v)
		one := m.set(1)
		VDIVPS(v, one, v)
		VMOVUPS(v, at(rstd, m.bytes()*h))
	}
	plain, out := label("plain"), label("out")
	TESTQ(scale, scale)
	JZ(LabelRef(plain))
	m.down(rows, []gp{x, y, scale, shift}, func(ps []gp) {
		for h, r := range q {
			d := m.load(at(ps[0], m.bytes()*h))
			VSUBPS(mu[h], d, d)
			VMULPS(r, d, d)
			VFMADD231PS(at(ps[2], m.bytes()*h), d, d)
			VADDPS(at(ps[3], m.bytes()*h), d, d)
			VMOVUPS(d, at(ps[1], m.bytes()*h))
		}
	})
	JMP(LabelRef(out))
	Label(plain)
	m.down(rows, []gp{x, y}, func(ps []gp) {
		for h, r := range q {
			d := m.load(at(ps[0], m.bytes()*h))
			VSUBPS(mu[h], d, d)
			VMULPS(r, d, d)
			VMOVUPS(d, at(ps[1], m.bytes()*h))
		}
	})
	Label(out)
	m.end()
}

// layerNormBackward: with h = (x−mean)·rstd and g = gy·(1+scale), dx = rstd·(g − mean(g) − h·mean(g·h)). inv is 1/rows.
// One vector of lanes after the other: AVX2 has too few registers for all.
func (m *machine) layerNormBackward() {
	m.text("layerNormBackward", "func(rows int, dx, dscale, dshift, gy, x, mean, rstd, scale *float32, inv float32)")
	rows := arg("rows")
	ps := map[string]gp{}
	for _, p := range []string{"dx", "dscale", "dshift", "gy", "x", "mean", "rstd", "scale"} {
		ps[p] = arg(p)
	}
	vectors := GP64()
	MOVQ(U32(uint32(m.vectors())), vectors)
	Label("vector")
	mu, r, sg, sgh := m.load(at(ps["mean"], 0)), m.load(at(ps["rstd"], 0)), m.zero(), m.zero()
	plain, second := label("plain"), label("second")
	i, k := GP64(), GP64()
	rest := func(body func(at func(p string) Mem)) {
		XORQ(i, i)
		MOVQ(rows, k)
		times(k, func() {
			body(func(p string) Mem { return Mem{Base: ps[p], Index: i, Scale: 1} })
			ADDQ(U32(128), i)
		})
	}
	normalised := func(x Mem) vector {
		h := m.load(x)
		VSUBPS(mu, h, h)
		VMULPS(r, h, h)
		return h
	}
	means := func() {
		inv := m.param("inv")
		VMULPS(inv, sg, sg)
		VMULPS(inv, sgh, sgh)
	}
	finish := func(g, h vector, to Mem) {
		VSUBPS(sg, g, g)
		VFNMADD231PS(sgh, h, g)
		VMULPS(r, g, g)
		VMOVUPS(g, to)
	}
	noGradient := label("noGradient")
	TESTQ(ps["dscale"], ps["dscale"])
	JZ(LabelRef(noGradient))
	rest(func(at func(string) Mem) {
		g, h := m.load(at("gy")), normalised(at("x"))
		VMOVUPS(g, at("dshift"))
		VMULPS(g, h, h)
		VMOVUPS(h, at("dscale"))
	})
	Label(noGradient)
	TESTQ(ps["scale"], ps["scale"])
	JZ(LabelRef(plain))
	rest(func(at func(string) Mem) {
		g, h := m.load(at("gy")), normalised(at("x"))
		VFMADD231PS(at("scale"), g, g)
		VADDPS(g, sg, sg)
		VFMADD231PS(g, h, sgh)
	})
	means()
	rest(func(at func(string) Mem) {
		g, h := m.load(at("gy")), normalised(at("x"))
		VFMADD231PS(at("scale"), g, g)
		finish(g, h, at("dx"))
	})
	JMP(LabelRef(second))
	Label(plain)
	rest(func(at func(string) Mem) {
		g, h := m.load(at("gy")), normalised(at("x"))
		VADDPS(g, sg, sg)
		VFMADD231PS(g, h, sgh)
	})
	means()
	rest(func(at func(string) Mem) {
		g, h := m.load(at("gy")), normalised(at("x"))
		finish(g, h, at("dx"))
	})
	Label(second)
	for _, p := range []string{"dx", "gy", "x", "mean", "rstd"} {
		advance(m.bytes(), ps[p])
	}
	for _, p := range []string{"dscale", "dshift", "scale"} {
		skip := label("nil")
		TESTQ(ps[p], ps[p])
		JZ(LabelRef(skip))
		advance(m.bytes(), ps[p])
		Label(skip)
	}
	DECQ(vectors)
	JNZ(LabelRef("vector"))
	m.end()
}

// softmax over the first valid rows; the rest rows after them become 0.
func (m *machine) softmax() {
	m.text("softmax", "func(valid, rest int, p, s *float32, scale float32)")
	valid, rest, p, s := arg("valid"), arg("rest"), arg("p"), arg("s")
	scale := m.param("scale")
	var top []vector
	for h := range m.vectors() {
		v := m.load(at(s, m.bytes()*h))
		VMULPS(scale, v, v)
		top = append(top, v)
	}
	m.down(valid, []gp{s}, func(ps []gp) {
		for h, v := range top {
			x := m.vec()
			VMULPS(at(ps[0], m.bytes()*h), scale, x)
			VMAXPS(x, v, v)
		}
	})
	sum := m.zeros()
	m.down(valid, []gp{s, p}, func(ps []gp) {
		for h, v := range sum {
			x := m.vec()
			VMULPS(at(ps[0], m.bytes()*h), scale, x)
			VSUBPS(top[h], x, x)
			e := m.exp(x)
			VADDPS(e, v, v)
			VMOVUPS(e, at(ps[1], m.bytes()*h))
		}
	})
	for _, v := range sum {
		one := m.set(1)
		VDIVPS(v, one, v)
	}
	m.down(valid, []gp{p}, func(ps []gp) {
		for h, v := range sum {
			x := m.vec()
			VMULPS(at(ps[0], m.bytes()*h), v, x)
			VMOVUPS(x, at(ps[0], m.bytes()*h))
		}
	})
	offset := GP64()
	MOVQ(valid, offset)
	SHLQ(Imm(7), offset)
	ADDQ(offset, p)
	z := m.zero()
	times(rest, func() {
		for h := range m.vectors() {
			VMOVUPS(z, at(p, m.bytes()*h))
		}
		advance(128, p)
	})
	m.end()
}

// softmaxBackward: ds = scale·p·(gp − Σ gp·p).
func (m *machine) softmaxBackward() {
	m.text("softmaxBackward", "func(rows int, ds, gp, p *float32, scale float32)")
	rows, ds, gp_, p := arg("rows"), arg("ds"), arg("gp"), arg("p")
	dot := m.zeros()
	m.down(rows, []gp{gp_, p}, func(ps []gp) {
		for h, v := range dot {
			x := m.load(at(ps[0], m.bytes()*h))
			VFMADD231PS(at(ps[1], m.bytes()*h), x, v)
		}
	})
	scale := m.param("scale")
	m.down(rows, []gp{gp_, p, ds}, func(ps []gp) {
		for h, v := range dot {
			x := m.load(at(ps[0], m.bytes()*h))
			VSUBPS(v, x, x)
			VMULPS(at(ps[1], m.bytes()*h), x, x)
			VMULPS(scale, x, x)
			VMOVUPS(x, at(ps[2], m.bytes()*h))
		}
	})
	m.end()
}
