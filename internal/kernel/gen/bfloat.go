package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/ir"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Go's assembler does not know VDPBF16PS, so that its machine code is written out, with registers that nothing else may choose: accumulators
// from Z0 on, vectors of b, and a broadcast pair.
const (
	pairsB         = 16
	pairsBroadcast = 18
)

// fixed is one of the vectors Z0 to Z31.
func fixed(i int) vector { return reg.Vector.Lookup(reg.Index(i), reg.S512).(vector) }

func fixedAccumulators(rows, vectors int) [][]vector {
	acc := make([][]vector, rows)
	for i := range acc {
		for j := range vectors {
			acc[i] = append(acc[i], fixed(i*vectors+j))
		}
	}
	return acc
}

// dotPairs emits Z(acc) += a₀·b₀ + a₁·b₁ in every lane of 32 bits of Z(a) and Z(b), each a pair of bfloat16 numbers:
// EVEX.512.F3.0F38.W0 52 /r.
func dotPairs(a, b, acc int) {
	not := func(register, bit int) int { return ^register >> bit & 1 }
	p0 := not(acc, 3)<<7 | not(a, 4)<<6 | not(a, 3)<<5 | not(acc, 4)<<4 | 2
	p1 := (^b&15)<<3 | 1<<2 | 2
	p2 := 2<<5 | not(b, 4)<<3
	modrm := 3<<6 | acc&7<<3 | a&7
	read, written := []Op{fixed(a), fixed(b), fixed(acc)}, []Op{fixed(acc)}
	Comment(fmt.Sprintf("VDPBF16PS Z%d, Z%d, Z%d", a, b, acc))
	Instruction(&ir.Instruction{Opcode: "LONG", Operands: []Op{U32(0x62 | p0<<8 | p1<<16 | p2<<24)}, Inputs: read, Outputs: written})
	Instruction(&ir.Instruction{Opcode: "WORD", Operands: []Op{U16(0x52 | modrm<<8)}, Inputs: read, Outputs: written})
}

// pairProduct emits product for pairs of bfloat16 numbers.
func (m *machine) pairProduct(lanes int) {
	m.text(map[int]string{32: "mulPairs", 16: "mulPairsHalf"}[lanes], "func(task *byte)")
	m.products(lanes, inner{fixedAccumulators, m.outerPairs})
}

// outerPairs is outer for pairs of bfloat16 numbers, one a row and those at b, and for fixedAccumulators.
func (m *machine) outerPairs(acc [][]vector, row func(i int) Mem, b func(j int) Mem) {
	for j := range acc[0] {
		VMOVUPS(b(j), fixed(pairsB+j))
	}
	for i := range acc {
		VBROADCASTSS(row(i), fixed(pairsBroadcast))
		for j := range acc[i] {
			dotPairs(pairsBroadcast, pairsB+j, i*len(acc[i])+j)
		}
	}
}

// roundPairs emits the rounding of units to bfloat16, half to even, in pairs: dst[j][e] holds src[2j][e] in its lower bits and
// src[2j+1][e] in its upper ones.
func (m *machine) roundPairs() {
	m.text("roundPairs", "func(dst *uint32, src *float32, pairs int)")
	dst, src, pairs := arg("dst"), arg("src"), arg("pairs")
	below, one := m.vec(), m.vec()
	VBROADCASTSS(m.bits(0x7fff), below)
	VBROADCASTSS(m.bits(1), one)
	times(pairs, func() {
		for j := range m.vectors() {
			var r [2]vector // rounded in the upper bits
			for i := range r {
				x, odd := m.load(at(src, 128*i+m.bytes()*j)), m.vec()
				VPSRLD(Imm(16), x, odd)
				VANDPS(one, odd, odd)
				VPADDD(below, x, x)
				VPADDD(odd, x, x)
				r[i] = x
			}
			VPSRLD(Imm(16), r[0], r[0])
			m.and(0xffff0000, r[1], r[1])
			VORPS(r[0], r[1], r[1])
			VMOVUPS(r[1], at(dst, m.bytes()*j))
		}
		advance(256, src)
		advance(128, dst)
	})
	m.end()
}
