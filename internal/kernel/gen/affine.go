package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
)

var (
	lnSlope   = -math.Log(1e-3)
	affineInv = 1 / lnSlope
	widthInv  = 2 / lnSlope
)

// soften limits x smoothly: x ← x·r with r = 1/(1+|x|·over), which it returns; r² is the derivative.
func (m *machine) soften(x vector, over float64) vector {
	a := m.abs(x)
	m.mul(over, a, a)
	m.add(1, a, a)
	r := m.set(1)
	VDIVPS(a, r, r)
	VMULPS(r, x, x)
	return r
}

// The affine kernels work on one panel of n features.

// affineForward emits the map, in a variant that fills save for the backward pass and in one that keeps nothing.
func (m *machine) affineForward(keeps bool) {
	if keeps {
		m.text("affineForward", "func(n int, y, ladj, x, theta, save *float32)")
	} else {
		m.text("affineEvaluate", "func(n int, y, ladj, x, theta *float32)")
	}
	n, y, ladj, x, theta := arg("n"), arg("y"), arg("ladj"), arg("x"), arg("theta")
	rows := []gp{theta}
	var save gp
	if keeps {
		save = arg("save")
		rows = append(rows, save)
	}
	sum := m.vecs(m.vectors())
	for h, l := range sum {
		VMOVUPS(at(ladj, m.bytes()*h), l)
	}
	times(n, func() {
		for h, l := range sum {
			d := m.bytes() * h
			s := m.load(at(theta, 128+d))
			r := m.soften(s, affineInv)
			if keeps {
				VMULPS(r, r, r)
				VMOVUPS(r, at(save, 128+d))
			}
			VADDPS(s, l, l)
			e := m.expSmall(s)
			if keeps {
				VMOVUPS(e, at(save, d))
			}
			v := m.load(at(x, d))
			VFMADD213PS(at(theta, d), e, v)
			VMOVUPS(v, at(y, d))
		}
		advance(256, rows...)
		advance(128, x, y)
	})
	for h, l := range sum {
		VMOVUPS(l, at(ladj, m.bytes()*h))
	}
	m.end()
}

func (m *machine) affineBackward() {
	m.text("affineBackward", "func(n int, dx, dtheta, gy, gl, x, save *float32)")
	n, dx, dtheta, gy, gl, x, save := arg("n"), arg("dx"), arg("dtheta"), arg("gy"), arg("gl"), arg("x"), arg("save")
	times(n, func() {
		for h := range m.vectors() {
			d := m.bytes() * h
			g, gx, gs := m.load(at(gy, d)), m.vec(), m.load(at(gl, d))
			VMULPS(at(save, d), g, gx)
			VMOVUPS(g, at(dtheta, d))
			VFMADD231PS(at(x, d), gx, gs)
			VMULPS(at(save, 128+d), gs, gs)
			VMOVUPS(gs, at(dtheta, 128+d))
			VMOVUPS(gx, at(dx, d))
		}
		advance(256, dtheta, save)
		advance(128, dx, gy, x)
	})
	m.end()
}

func (m *machine) affineInverse() {
	m.text("affineInverse", "func(n int, x, ladj, y, theta *float32)")
	n, x, ladj, y, theta := arg("n"), arg("x"), arg("ladj"), arg("y"), arg("theta")
	sum := m.vecs(m.vectors())
	for h, l := range sum {
		VMOVUPS(at(ladj, m.bytes()*h), l)
	}
	times(n, func() {
		for h, l := range sum {
			d := m.bytes() * h
			s := m.load(at(theta, 128+d))
			m.soften(s, affineInv)
			VSUBPS(s, l, l)
			e := m.expSmall(m.neg(s))
			v := m.load(at(y, d))
			VSUBPS(at(theta, d), v, v)
			VMULPS(e, v, v)
			VMOVUPS(v, at(x, d))
		}
		advance(256, theta)
		advance(128, x, y)
	})
	for h, l := range sum {
		VMOVUPS(l, at(ladj, m.bytes()*h))
	}
	m.end()
}
