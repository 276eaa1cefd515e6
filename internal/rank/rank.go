// Package rank counts the elements of an increasing list that lie below a number.
package rank

import (
	"math"
	"math/bits"
)

// cells is the number of cells of a List.
const cells = 1024

// A List counts its elements below many numbers in less time than a search would. It divides its range into cells of one width and knows how many elements lie
// in the cells before each, so that one or two comparisons are left. No branch depends on the number: a mispredicted one costs more than all the rest.
type List struct {
	lowest, scale float64
	before        [cells]int32
	keys          []uint64 // of the elements, then larger ones than any number has
	window        int      // a power of two; no cell has as many elements
}

// New takes an increasing list without NaN.
func New(list []float64) *List {
	l := &List{window: 1}
	n := len(list)
	if n > 1 {
		l.lowest, l.scale = list[0], cells/(list[n-1]-list[0])
		if !(l.scale <= math.MaxFloat64) { // all of them are one cell then
			l.scale = 0
		}
	}
	var in [cells]int
	for _, x := range list {
		in[l.cell(x)]++
	}
	before := 0
	for i, k := range in {
		l.before[i] = int32(before)
		before += k
		for l.window <= k {
			l.window *= 2
		}
	}
	l.keys = make([]uint64, 0, n+l.window)
	for _, x := range list {
		l.keys = append(l.keys, Key(x))
	}
	for range l.window {
		l.keys = append(l.keys, math.MaxUint64)
	}
	return l
}

// Key maps a number that is not NaN to an integer of the same order, so that comparisons become arithmetic.
func Key(x float64) uint64 {
	b := math.Float64bits(x + 0) // -0 becomes 0
	return b ^ (uint64(int64(b)>>63) | 1<<63)
}

// cell is a place among the cells that does not fall with x.
func (l *List) cell(x float64) int {
	t := (x - l.lowest) * l.scale
	switch {
	case !(t > 0):
		return 0
	case t >= cells-1:
		return cells - 1
	}
	return int(t)
}

// Below counts the elements that are less than x, which must not be NaN.
func (l *List) Below(x float64) int { return l.upTo(x, Key(x)) }

// NotAbove counts the elements that are not greater than x, which must not be NaN.
func (l *List) NotAbove(x float64) int { return l.upTo(x, Key(x)+1) }

// upTo counts the elements whose keys are less than key, that of x or the next one. Those of later cells are not, so that they do no harm in the window.
func (l *List) upTo(x float64, key uint64) int {
	lo := int(l.before[l.cell(x)])
	for half := l.window / 2; half > 0; half /= 2 {
		_, less := bits.Sub64(l.keys[lo+half-1], key, 0) // 1 if the element is less
		lo += half & -int(less)
	}
	return lo
}
