package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
)

// sliceBytes is the size of a slice header: grads points at a list of them, whose first word is the pointer.
const sliceBytes = 24

// ahead is how many bytes before they are used parameters and gradients are asked for: half of the gradients lie with another core.
const ahead = 1024

// sumShards is Σ_j grads[j] at the byte offset.
func (m *machine) sumShards(grads, shards, offset gp, k *mask) vector {
	g := m.zero()
	p, j, base := GP64(), GP64(), GP64()
	MOVQ(grads, p)
	MOVQ(shards, j)
	times(j, func() {
		MOVQ(at(p, 0), base)
		PREFETCHT0(Mem{Base: base, Index: offset, Scale: 1, Disp: ahead})
		where := Mem{Base: base, Index: offset, Scale: 1}
		if k == nil {
			VADDPS(where, g, g)
		} else {
			VADDPS(m.loadFirst(*k, where), g, g)
		}
		advance(sliceBytes, p)
	})
	return g
}

// loadAt loads a vector at the byte offset from p, with k its first lanes.
func (m *machine) loadAt(p, offset gp, k *mask) vector {
	where := Mem{Base: p, Index: offset, Scale: 1}
	if k != nil {
		return m.loadFirst(*k, where)
	}
	return m.load(where)
}

// masked loads a vector of the mask, and jumps to frozen where all of it is 0. Of a network with masks half the vectors are.
func (m *machine) masked(mk, offset gp, k *mask, frozen string) vector {
	s := m.loadAt(mk, offset, k)
	if m.wide {
		any := K()
		VPTESTMD(s, s, any)
		KORTESTW(any, any)
	} else {
		VPTEST(s, s)
	}
	JZ(LabelRef(frozen))
	return s
}

// Constants of adam, in the order of adamConstants in optim_amd64.go.
const (
	adamRate = 4 * iota
	adamBeta1
	adamRest1
	adamBeta2
	adamRest2
	adamEps
	adamDecay
	adamScale
	adamCorrect1
	adamCorrect2
	adamKeep
)

// adam emits one step over n parameters; mean and mask may be nil.
func (m *machine) adam() {
	m.text("adam", "func(n int, w, mo, v, mean, mask *float32, grads *byte, shards int, constants *float32)")
	n, w, mo, v, mean, mk, grads, shards, c := arg("n"), arg("w"), arg("mo"), arg("v"), arg("mean"), arg("mask"), arg("grads"), arg("shards"), arg("constants")
	offset := GP64()
	XORQ(offset, offset)
	constant := func(d int) vector {
		x := m.vec()
		VBROADCASTSS(at(c, d), x)
		return x
	}
	step := func(k *mask) {
		load := func(p gp) vector { return m.loadAt(p, offset, k) }
		store := func(x vector, p gp) {
			where := Mem{Base: p, Index: offset, Scale: 1}
			if k != nil {
				m.storeFirst(*k, x, where)
			} else {
				VMOVUPS(x, where)
			}
		}
		scale, decay := constant(adamScale), constant(adamDecay)
		unmasked, frozen := label("unmasked"), label("frozen")
		TESTQ(mk, mk)
		JZ(LabelRef(unmasked))
		s := m.masked(mk, offset, k, frozen)
		VMULPS(s, scale, scale)
		VMULPS(s, decay, decay)
		Label(unmasked)
		g := m.sumShards(grads, shards, offset, k)
		VMULPS(scale, g, g)
		for _, p := range []gp{w, mo, v} {
			PREFETCHT0(Mem{Base: p, Index: offset, Scale: 1, Disp: ahead})
		}
		mm := load(mo)
		VMULPS(constant(adamBeta1), mm, mm)
		VFMADD231PS(constant(adamRest1), g, mm)
		store(mm, mo)
		vv := load(v)
		VMULPS(constant(adamBeta2), vv, vv)
		VMULPS(g, g, g)
		VFMADD231PS(constant(adamRest2), g, vv)
		store(vv, v)
		VMULPS(constant(adamCorrect2), vv, vv)
		VSQRTPS(vv, vv)
		VADDPS(constant(adamEps), vv, vv)
		VMULPS(constant(adamCorrect1), mm, mm)
		VDIVPS(vv, mm, mm)
		x := load(w)
		VFMADD231PS(decay, x, mm)
		VFNMADD231PS(constant(adamRate), mm, x)
		store(x, w)
		TESTQ(mean, mean)
		JZ(LabelRef(frozen))
		average := load(mean)
		VSUBPS(x, average, average)
		VMULPS(constant(adamKeep), average, average)
		VADDPS(x, average, average)
		store(average, mean)
		Label(frozen)
	}
	m.overOffset(n, offset, step)
	m.end()
}

// overOffset runs the body for n elements at a growing offset in bytes.
func (m *machine) overOffset(n, offset gp, body func(k *mask)) {
	m.over(n, 1, []gp{offset}, func(int) { body(nil) }, func(k mask) { body(&k) })
}

// sumSquares emits out[..] = Σ (Σ_j grads[j]·mask)² in as many float64 as a vector holds.
func (m *machine) sumSquares() {
	m.text("sumSquares", "func(out *float64, n int, mask *float32, grads *byte, shards int)")
	out, n, mk, grads, shards := arg("out"), arg("n"), arg("mask"), arg("grads"), arg("shards")
	lo, hi := m.zero(), m.zero()
	offset := GP64()
	XORQ(offset, offset)
	m.overOffset(n, offset, func(k *mask) {
		factor := m.set(1)
		unmasked, frozen := label("unmasked"), label("frozen")
		TESTQ(mk, mk)
		JZ(LabelRef(unmasked))
		VMOVAPS(m.masked(mk, offset, k, frozen), factor)
		Label(unmasked)
		g := m.sumShards(grads, shards, offset, k)
		VMULPS(factor, g, g)
		a, b := m.vec(), m.vec()
		if m.wide {
			upper := YMM()
			VEXTRACTF64X4(Imm(1), g, upper)
			VCVTPS2PD(g.AsY(), a)
			VCVTPS2PD(upper, b)
		} else {
			upper := XMM()
			VEXTRACTF128(Imm(1), g, upper)
			VCVTPS2PD(g.AsX(), a)
			VCVTPS2PD(upper, b)
		}
		VFMADD231PD(a, a, lo)
		VFMADD231PD(b, b, hi)
		Label(frozen)
	})
	VADDPD(lo, hi, lo)
	VMOVUPD(lo, at(out, 0))
	m.end()
}
