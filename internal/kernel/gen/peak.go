package main

import (
	. "github.com/mmcloughlin/avo/build"
)

// peakChains is the number of independent multiply-adds a round of the peak kernel.
const peakChains = 12

// peak emits n rounds of independent multiply-adds in registers: what the processor can do at most.
func (m *machine) peak() {
	m.text("peak", "func(n int)")
	n := arg("n")
	acc := m.vecs(peakChains)
	for _, v := range acc {
		VXORPS(v, v, v)
	}
	x := m.zero()
	times(n, func() {
		for _, v := range acc {
			VFMADD231PS(x, x, v)
		}
	})
	m.end()
}
