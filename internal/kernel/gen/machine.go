package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

type (
	vector interface {
		reg.Register
		reg.Vec
	}
	gp = reg.GPVirtual
)

// A machine is one instruction set: vectors of width float32 numbers. Its methods emit what AVX-512 and AVX2 do differently; where
// the instructions are the same the kernels call avo directly. Operands are in avo's order: sources first, destination last.
type machine struct {
	name  string
	width int
	wide  bool // AVX-512
}

var (
	isa    *machine
	tables = map[string]Mem{}
)

func (m *machine) bytes() int { return 4 * m.width }

// vectors is the number of vectors in the 32 lanes of a panel.
func (m *machine) vectors() int { return 32 / m.width }

func (m *machine) vec() vector {
	if m.wide {
		return ZMM()
	}
	return YMM()
}

func (m *machine) vecs(n int) []vector {
	v := make([]vector, n)
	for i := range v {
		v[i] = m.vec()
	}
	return v
}

// text opens a function of the name followed by that of the instruction set.
func (m *machine) text(name, signature string) {
	TEXT(name+m.name, NOSPLIT, signature)
	Pragma("noescape")
}

func (m *machine) end() {
	VZEROUPPER()
	RET()
}

// bits is a constant of 32 bits in memory, repeated over 8 lanes so that it is a vector operand for AVX2.
func (m *machine) bits(b uint32) Mem {
	n := fmt.Sprintf("c%08x%s", b, m.name)
	t, ok := tables[n]
	if !ok {
		t = GLOBL(n, RODATA|NOPTR)
		for i := range 8 {
			DATA(4*i, U32(b))
		}
		tables[n] = t
	}
	return t
}

func (m *machine) c(v float64) Mem { return m.bits(math.Float32bits(float32(v))) }

// set fills a vector with a constant.
func (m *machine) set(v float64) vector {
	x := m.vec()
	VBROADCASTSS(m.c(v), x)
	return x
}

func (m *machine) zero() vector {
	x := m.vec()
	VXORPS(x, x, x)
	return x
}

func (m *machine) load(p Mem) vector {
	x := m.vec()
	VMOVUPS(p, x)
	return x
}

func (m *machine) copy(x vector) vector {
	y := m.vec()
	VMOVAPS(x, y)
	return y
}

// Arithmetic with a constant as the first source.
func (m *machine) add(v float64, x, dst vector) {
	if m.wide {
		VADDPS_BCST(m.c(v), x, dst)
	} else {
		VADDPS(m.c(v), x, dst)
	}
}

func (m *machine) sub(v float64, x, dst vector) { m.add(-v, x, dst) }

func (m *machine) mul(v float64, x, dst vector) {
	if m.wide {
		VMULPS_BCST(m.c(v), x, dst)
	} else {
		VMULPS(m.c(v), x, dst)
	}
}

// minimum and maximum keep a NaN of x.
func (m *machine) minimum(v float64, x, dst vector) { VMINPS(x, m.set(v), dst) }
func (m *machine) maximum(v float64, x, dst vector) { VMAXPS(x, m.set(v), dst) }

// horner: dst = dst·x + v.
func (m *machine) horner(v float64, x, dst vector) {
	if m.wide {
		VFMADD213PS_BCST(m.c(v), x, dst)
	} else {
		VFMADD213PS(m.c(v), x, dst)
	}
}

// fma: dst += x·v.
func (m *machine) fma(v float64, x, dst vector) {
	if m.wide {
		VFMADD231PS_BCST(m.c(v), x, dst)
	} else {
		VFMADD231PS(m.c(v), x, dst)
	}
}

// fms: dst -= x·v.
func (m *machine) fms(v float64, x, dst vector) {
	if m.wide {
		VFNMADD231PS_BCST(m.c(v), x, dst)
	} else {
		VFNMADD231PS(m.c(v), x, dst)
	}
}

func (m *machine) and(bits uint32, x, dst vector) {
	if m.wide {
		VPANDD_BCST(m.bits(bits), x, dst)
	} else {
		VANDPS(m.bits(bits), x, dst)
	}
}

func (m *machine) abs(x vector) vector {
	a := m.vec()
	m.and(0x7fffffff, x, a)
	return a
}

func (m *machine) neg(x vector) vector {
	z := m.zero()
	VSUBPS(x, z, z)
	return z
}

// round to the nearest integer.
func (m *machine) round(x, dst vector) {
	if m.wide {
		VRNDSCALEPS(Imm(0), x, dst)
	} else {
		VROUNDPS(Imm(8), x, dst)
	}
}

// scale multiplies x by 2^n for whole n; AVX2 needs a normal result, and n is lost.
func (m *machine) scale(n, x vector) {
	if m.wide {
		VSCALEFPS(n, x, x)
		return
	}
	VCVTPS2DQ(n, n)
	VPSLLD(Imm(23), n, n)
	VPADDD(n, x, x)
}

// A mask selects lanes: a mask register, or a vector of all-ones and all-zeros.
type mask struct {
	k reg.OpmaskVirtual
	v vector
}

// Predicates of comparisons: ordered, quiet; notLess also holds for NaN.
const (
	equal          = 0
	lessThan       = 17
	greaterThan    = 30
	greaterOrEqual = 29
)

// compare selects lanes where x op y; y may be memory.
func (m *machine) compare(op uint8, x vector, y Op) mask {
	if m.wide {
		k := K()
		VCMPPS(Imm(uint64(op)), y, x, k)
		return mask{k: k}
	}
	v := m.vec()
	VCMPPS(Imm(uint64(op)), y, x, v)
	return mask{v: v}
}

func (m *machine) compareTo(op uint8, x vector, c float64) mask {
	if m.wide {
		k := K()
		VCMPPS_BCST(Imm(uint64(op)), m.c(c), x, k)
		return mask{k: k}
	}
	v := m.vec()
	VCMPPS(Imm(uint64(op)), m.c(c), x, v)
	return mask{v: v}
}

// merge copies src to dst where the mask holds.
func (m *machine) merge(k mask, src, dst vector) {
	if m.wide {
		VMOVAPS(src, k.k, dst)
	} else {
		VBLENDVPS(k.v, src, dst, dst)
	}
}

// keep writes to dst x where the mask holds and 0 elsewhere.
func (m *machine) keep(k mask, x, dst vector) {
	if m.wide {
		VMOVAPS_Z(x, k.k, dst)
	} else {
		VANDPS(k.v, x, dst)
	}
}

// first selects the first n lanes, n in a register from 1 to the width.
func (m *machine) first(n gp) mask {
	if m.wide {
		ones, k := GP32(), K()
		MOVL(U32(0xffff), ones)
		BZHIL(n.As32(), ones, ones)
		KMOVW(ones, k)
		return mask{k: k}
	}
	name := "firstLanes" + m.name
	t, ok := tables[name]
	if !ok {
		t = GLOBL(name, RODATA|NOPTR)
		for i := range 16 {
			b := uint32(0)
			if i < 8 {
				b = 0xffffffff
			}
			DATA(4*i, U32(b))
		}
		tables[name] = t
	}
	p, v := GP64(), m.vec()
	LEAQ(t.Offset(32), p)
	SHLQ(Imm(2), n)
	SUBQ(n, p)
	SHRQ(Imm(2), n)
	VMOVUPS(Mem{Base: p}, v)
	return mask{v: v}
}

func (m *machine) loadFirst(k mask, p Mem) vector {
	x := m.vec()
	if m.wide {
		VMOVUPS_Z(p, k.k, x)
	} else {
		VMASKMOVPS(p, k.v, x)
	}
	return x
}

func (m *machine) storeFirst(k mask, x vector, p Mem) {
	if m.wide {
		VMOVUPS(x, k.k, p)
	} else {
		VMASKMOVPS(x, k.v, p)
	}
}

// broadcast of a scalar parameter.
func (m *machine) param(name string) vector {
	x, v := XMM(), m.vec()
	Load(Param(name), x)
	VBROADCASTSS(x, v)
	return v
}

func at(p reg.Register, disp int) Mem { return Mem{Base: p, Disp: disp} }

func arg(name string) gp { return Load(Param(name), GP64()).(gp) }

func advance(by int, ps ...gp) {
	for _, p := range ps {
		switch {
		case by >= -128 && by < 128:
			ADDQ(Imm(uint64(by)), p)
		default:
			ADDQ(U32(uint32(by)), p)
		}
	}
}

var labels int

// label makes a name that is unique in the file.
func label(s string) string {
	labels++
	return fmt.Sprintf("%s%d", s, labels)
}

// times runs the body n times, n a register that is used up. The body may run zero times.
func times(n gp, body func()) {
	top, out := label("loop"), label("out")
	TESTQ(n, n)
	JLE(LabelRef(out))
	Label(top)
	body()
	DECQ(n)
	JNZ(LabelRef(top))
	Label(out)
}
