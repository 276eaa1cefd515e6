// Command gen writes the assembly of package kernel: the same kernels for AVX-512 and for AVX2 with FMA.
//
//	go run . -isa AVX512 -out ../avx512_amd64.s -stubs ../avx512_amd64.go -pkg kernel
package main

import (
	"flag"
	"fmt"
	"os"

	. "github.com/mmcloughlin/avo/build"
)

func main() {
	name := flag.String("isa", "", "AVX512 or AVX2")
	flag.Parse()
	switch *name {
	case "AVX512":
		isa = &machine{name: *name, width: 16, wide: true}
	case "AVX2":
		isa = &machine{name: *name, width: 8}
	default:
		fmt.Fprintf(os.Stderr, "gen: unknown instruction set %q: take AVX512 or AVX2\n", *name)
		os.Exit(2)
	}
	isa.product(32)
	isa.product(16)
	isa.weightGradient(32)
	isa.weightGradient(16)
	isa.transpose()
	isa.rowSum()
	isa.elementwise()
	isa.affineForward(true)
	isa.affineForward(false)
	isa.affineBackward()
	isa.affineInverse()
	isa.adam()
	isa.sumSquares()
	isa.splines()
	isa.layerNorm()
	isa.layerNormBackward()
	isa.softmax()
	isa.softmaxBackward()
	isa.gaussMix()
	isa.peak()
	if isa.wide {
		isa.pairProduct(32)
		isa.pairProduct(16)
	}
	isa.roundPairs()
	Generate()
}
