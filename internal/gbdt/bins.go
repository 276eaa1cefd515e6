package gbdt

import (
	"math/bits"

	"hepmorph/internal/gbdt/order"
	"hepmorph/internal/par"
	"hepmorph/internal/rank"
)

const (
	maxBins    = 255     // bins of values; the byte 255 is left for "missing"
	missingBin = 255     // NaN
	sketchRows = 1 << 18 // cuts of longer columns come from so many rows at even distances: a quantile error below 0.1 %
	chunkRows  = 1 << 15 // sums over rows run in chunks of so many
	pack       = 4       // features in one word of bins
)

// bins holds columns as bytes, four features to a word: byte k of words[j][row] is the bin of feature 4j+k.
type bins struct {
	rows, feats int
	words       [][]uint32
	cuts        [][]float64 // ascending; bin b holds cuts[b-1] <= x < cuts[b]
	missing     []bool      // the column has NaN
}

func (b *bins) at(f, row int) uint8 { return uint8(b.words[f/pack][row] >> (8 * (f % pack))) }

// orderedAll are the keys of cuts.
func orderedAll(cuts []float64) []uint64 {
	k := make([]uint64, len(cuts))
	for i, c := range cuts {
		k[i] = rank.Key(c)
	}
	return k
}

// find returns the bin of x, the number of cuts that are not above it. No branch depends on the data: a mispredicted one
// costs more than the whole step.
func find(cuts []uint64, x float64) uint8 {
	if x != x {
		return missingBin
	}
	k := rank.Key(x)
	lo, n := 0, len(cuts)
	for n > 0 {
		half := (n + 1) >> 1
		_, below := bits.Sub64(k, cuts[lo+half-1], 0) // 1 if x lies below the cut
		lo += half & (int(below) - 1)
		n -= half
	}
	return uint8(lo)
}

// cutsOf places at most most-1 cuts in a column so that bins hold equal shares of the weight w (nil: of the rows). Only
// the listed rows count, and of these those with a value and weight. With at most `most` distinct values each has its own bin.
func cutsOf(x, w []float64, rows []int32, most int) []float64 {
	step := 1
	if len(rows) > sketchRows {
		step = (len(rows) + sketchRows - 1) / sketchRows
	}
	v := make([]float64, 0, len(rows)/step+1)
	vw := make([]float64, 0, cap(v))
	for i := 0; i < len(rows); i += step {
		r := rows[i]
		wr := 1.0
		if w != nil {
			wr = w[r]
		}
		if x[r] == x[r] && wr > 0 {
			v = append(v, x[r])
			vw = append(vw, wr)
		}
	}
	var val, mass []float64 // distinct values and their weight
	total := 0.0
	for _, i := range order.Of(v) {
		if n := len(val); n > 0 && val[n-1] == v[i] {
			mass[n-1] += vw[i]
		} else {
			val = append(val, v[i])
			mass = append(mass, vw[i])
		}
		total += vw[i]
	}
	if len(val) <= most {
		if len(val) == 0 {
			return nil
		}
		return append([]float64(nil), val[1:]...)
	}
	// Values above the mean share stand alone; the others fill the remaining bins evenly.
	heavy := make([]bool, len(val))
	left, free := total, most
	for again := true; again && free > 1; {
		again = false
		share := left / float64(free)
		for i, m := range mass {
			if !heavy[i] && m >= share && free > 1 {
				heavy[i], again = true, true
				left -= m
				free--
			}
		}
	}
	var cuts []float64
	filled := 0.0
	share := left / float64(free)
	for i := 1; i < len(val) && len(cuts) < most-1; i++ {
		filled += mass[i-1]
		next := mass[i] / 2
		if heavy[i-1] || heavy[i] || filled+next >= share {
			if !heavy[i-1] { // what is left is shared by what is free
				left -= filled
				free--
				if free > 0 {
					share = left / float64(free)
				}
			}
			cuts = append(cuts, val[i])
			filled = 0
		}
	}
	return cuts
}

// bin cuts and packs the columns. Cuts come from the listed rows; all rows are packed.
func bin(cols [][]float64, w []float64, rows []int32, most, threads int) *bins {
	n := len(cols[0])
	b := &bins{rows: n, feats: len(cols), words: make([][]uint32, (len(cols)+pack-1)/pack), cuts: make([][]float64, len(cols)), missing: make([]bool, len(cols))}
	par.For(threads, len(cols), 1, func(f, _, _ int) {
		b.cuts[f] = cutsOf(cols[f], w, rows, most)
		for _, r := range rows {
			if x := cols[f][r]; x != x {
				b.missing[f] = true
				break
			}
		}
	})
	for j := range b.words {
		b.words[j] = make([]uint32, n)
	}
	keys := make([][]uint64, len(cols))
	for f := range keys {
		keys[f] = orderedAll(b.cuts[f])
	}
	par.For(threads, n, chunkRows/4, func(_, lo, hi int) {
		for f, x := range cols {
			cuts, words, shift := keys[f], b.words[f/pack], 8*(f%pack)
			for r := lo; r < hi; r++ {
				words[r] |= uint32(find(cuts, x[r])) << shift
			}
		}
	})
	return b
}
