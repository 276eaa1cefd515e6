package morph

import "math"

// rankCells is the number of cells of ranks.
const rankCells = 256

// ranks counts the elements of an increasing list that are less than a number. It divides the range of the list into cells of one width and knows how many
// elements lie in the cells before each, so that one or two comparisons are left. No branch depends on the number: a mispredicted one costs more than all
// the rest.
type ranks struct {
	lowest, scale float64
	before        [rankCells]int32
	list          []float64 // followed by infinities
	window        int       // a power of two; no cell has as many elements
}

// newRanks takes a list of at least two elements.
func newRanks(list []float64) *ranks {
	n := len(list)
	r := &ranks{lowest: list[0], scale: rankCells / (list[n-1] - list[0]), window: 1}
	if !(r.scale <= math.MaxFloat64) { // all of them are one cell then
		r.scale = 0
	}
	var in [rankCells]int
	for _, x := range list {
		in[r.cell(x)]++
	}
	before := 0
	for i, k := range in {
		r.before[i] = int32(before)
		before += k
		for r.window <= k {
			r.window *= 2
		}
	}
	r.list = append(make([]float64, 0, n+r.window), list...)
	for range r.window {
		r.list = append(r.list, math.Inf(1))
	}
	return r
}

// cell is a place among the cells that does not fall with x.
func (r *ranks) cell(x float64) int {
	t := (x - r.lowest) * r.scale
	switch {
	case !(t > 0):
		return 0
	case t >= rankCells-1:
		return rankCells - 1
	}
	return int(t)
}

// of counts the elements that are less than x, a finite number. Those of later cells are not, so that they do no harm in the window.
func (r *ranks) of(x float64) int {
	lo := int(r.before[r.cell(x)])
	for half := r.window / 2; half > 0; half /= 2 {
		less := int(math.Float64bits(r.list[lo+half-1]-x) >> 63)
		lo += half & -less
	}
	return lo
}
