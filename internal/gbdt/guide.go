package gbdt

import (
	"math"
	"math/bits"
)

// guideCells is the number of cells of a guide.
const guideCells = 1024

// A guide finds the bins of many numbers in less time than find: it divides the range of the cuts into cells of one width and knows how many cuts lie in the
// cells before each, so that one or two comparisons are left.
type guide struct {
	lowest, scale float64
	before        [guideCells]uint8
	keys          []uint64 // of the cuts, then larger ones than any number has
	window        int      // a power of two; no cell has as many cuts
}

func newGuide(cuts []float64) *guide {
	g := &guide{window: 1}
	n := len(cuts)
	if n > 1 {
		g.lowest, g.scale = cuts[0], guideCells/(cuts[n-1]-cuts[0])
		if !(g.scale <= math.MaxFloat64) { // all of them are one cell then
			g.scale = 0
		}
	}
	var in [guideCells]int
	for _, c := range cuts {
		in[g.cell(c)]++
	}
	before := 0
	for i, k := range in {
		g.before[i] = uint8(before)
		before += k
		for g.window <= k {
			g.window *= 2
		}
	}
	g.keys = orderedAll(cuts)
	for range g.window {
		g.keys = append(g.keys, math.MaxUint64)
	}
	return g
}

// cell is a place among the cells that does not fall with x.
func (g *guide) cell(x float64) int {
	t := (x - g.lowest) * g.scale
	switch {
	case !(t > 0):
		return 0
	case t >= guideCells-1:
		return guideCells - 1
	}
	return int(t)
}

// find returns the bin of x, the number of cuts that are not above it. Cuts of later cells lie above x, so that they do no harm in the window.
func (g *guide) find(x float64) uint8 {
	if x != x {
		return missingBin
	}
	k, lo := ordered(x), int(g.before[g.cell(x)])
	for half := g.window / 2; half > 0; half /= 2 {
		_, below := bits.Sub64(k, g.keys[lo+half-1], 0) // 1 if x lies below the cut
		lo += half & (int(below) - 1)
	}
	return uint8(lo)
}
