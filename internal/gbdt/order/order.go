// Package order sorts long columns of floats: a stable radix sort of the permutation, several times faster than a
// comparison sort and the same on every machine.
package order

import (
	"cmp"
	"math"
	"slices"
)

const (
	digit  = 11
	radix  = 1 << digit
	passes = 6 // 6 × 11 ≥ 64 bits
)

type pair struct {
	key uint64
	row int32
}

// key maps x to an integer of the same order; -0 equals +0, every NaN comes last.
func key(x float64) uint64 {
	if x != x {
		return math.MaxUint64
	}
	b := math.Float64bits(x + 0)
	if b>>63 != 0 {
		return ^b
	}
	return b | 1<<63
}

// Of returns the rows of x in ascending order, equal values in the order of their rows, NaN last.
func Of(x []float64) []int32 {
	n := len(x)
	out := make([]int32, n)
	if n < 512 {
		for i := range out {
			out[i] = int32(i)
		}
		slices.SortStableFunc(out, func(a, b int32) int { return cmp.Compare(key(x[a]), key(x[b])) })
		return out
	}
	a, b := make([]pair, n), make([]pair, n)
	var count [passes][radix]int32
	for i, v := range x {
		k := key(v)
		a[i] = pair{k, int32(i)}
		for p := range passes {
			count[p][k>>(p*digit)&(radix-1)]++
		}
	}
	for p := range passes {
		c := &count[p]
		shift := uint(p * digit)
		if int(c[a[0].key>>shift&(radix-1)]) == n {
			continue // all rows share this digit, as the low bits of float32 values do
		}
		at := int32(0)
		for d := range c {
			c[d], at = at, at+c[d]
		}
		for _, v := range a {
			d := v.key >> shift & (radix - 1)
			b[c[d]] = v
			c[d]++
		}
		a, b = b, a
	}
	for i := range out {
		out[i] = a[i].row
	}
	return out
}
