package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// words is a buffer of pairs between canaries, and filled with them.
type words struct{ raw, s []uint32 }

func newWords(n, start int) words {
	raw := slices.Repeat([]uint32{math.Float32bits(canary)}, guard+start+n+guard)
	return words{raw, raw[guard+start:][:n:n]}
}

// check wants the content to be want and the canaries around it to be alive.
func (w words) check(t *testing.T, what string, want []uint32) {
	t.Helper()
	if !slices.Equal(w.s, want) {
		t.Fatalf("%s: wrong pairs", what)
	}
	start := len(w.raw) - guard - len(w.s)
	for i, v := range w.raw {
		if (i < start || i >= start+len(w.s)) && v != math.Float32bits(canary) {
			t.Fatalf("%s: wrote outside, at %d of %d", what, i-start, len(w.s))
		}
	}
}

// nearest rounds to bfloat16 by its definition: the nearer neighbour, of two the one with an even last bit; half a step beyond the largest
// number begins infinity.
func nearest(v float32) uint32 {
	b := math.Float32bits(v)
	down := b >> 16
	if v != v || math.IsInf(float64(v), 0) || b&0xffff == 0 {
		return down
	}
	value := func(u uint32) float64 {
		if x := float64(math.Float32frombits(u << 16)); !math.IsInf(x, 0) {
			return x
		}
		return math.Copysign(math.Ldexp(1, 128), float64(v))
	}
	below, above := math.Abs(float64(v)-value(down)), math.Abs(value(down+1)-float64(v))
	if above < below || above == below && down&1 != 0 {
		return down + 1
	}
	return down
}

func TestRoundPairs(t *testing.T) {
	special := []uint32{0, 1 << 31, 1, 0x7fff, 0x8000, 0x8001, 0x18000, 0x007fffff, 0x3f808000, 0x3f818000, 0x3f807fff, 0x3f808001, 0xbf808000, 0xbf818000,
		0x3fffffff, 0x7f7f7fff, 0x7f7f8000, 0x7f7fffff, 0xff7fffff, 0x7f800000, 0xff800000, 0x7fc00000, 0xffc00000}
	eachSet(t, func(t *testing.T, set *Set[float32]) {
		r := random(20)
		for rows := range 36 {
			for np := range 3 {
				src, sp := panels(r, rows, np, Lanes*r.IntN(2)+r.IntN(2)*3, 1)
				for i, v := range src.s {
					switch {
					case v != v:
					case r.IntN(2) == 0:
						src.s[i] = math.Float32frombits(special[r.IntN(len(special))])
					default: // any finite number
						src.s[i] = math.Float32frombits(uint32(r.IntN(2))<<31 | r.Uint32N(0x7f800000))
					}
				}
				n := (rows + 1) / 2
				dp := n*Lanes + Lanes*r.IntN(2) + r.IntN(2)*5
				dst := newWords(max(0, dp*np), r.IntN(16))
				want := slices.Clone(dst.s)
				for p := range np {
					for i := range n * Lanes {
						low, up := src.s[p*sp+i/Lanes*2*Lanes+i%Lanes], float32(0)
						if i/Lanes*2+1 < rows {
							up = src.s[p*sp+(i/Lanes*2+1)*Lanes+i%Lanes]
						}
						want[p*dp+i] = nearest(low) | nearest(up)<<16
					}
				}
				set.RoundPairs(dst.s, dp, src.s, sp, rows, np)
				dst.check(t, fmt.Sprintf("rows=%d np=%d", rows, np), want)
			}
		}
	})
}

func TestRoundRow(t *testing.T) {
	dst := newWords(4, 0)
	RoundRow(dst.s, []float64{1, -2, 0, 3.5, 1 + 1.0/256})
	dst.check(t, "row", []uint32{0xc0003f80, 0x40600000, 0x3f80, math.Float32bits(canary)})
}

// roundedMatrix is a matrix of pairs, rows rs apart, and its numbers, rows 2·pairs long.
func roundedMatrix(r *rand.Rand, rows, pairs, rs int) (words, []float64) {
	w, numbers := newWords(max(0, (rows-1)*rs+pairs), r.IntN(16)), make([]float64, rows*2*pairs)
	for i := range rows {
		row := numbers[i*2*pairs:][:2*pairs]
		for j := range row {
			row[j] = float64(math.Float32frombits(nearest(float32(r.NormFloat64())) << 16))
		}
		RoundRow(w.s[i*rs:], row)
	}
	return w, numbers
}

// roundedPanels are panels of pairs at a stride, and their numbers as panels of 2·pairs rows.
func roundedPanels(r *rand.Rand, pairs, np, stride int) (words, []float64) {
	w, numbers := newWords(max(0, (np-1)*stride+pairs*Lanes), r.IntN(16)), make([]float64, np*2*pairs*Lanes)
	for i := range numbers {
		numbers[i] = float64(math.Float32frombits(nearest(float32(r.NormFloat64())) << 16))
	}
	reference.RoundPairs(w.s, stride, numbers, 2*pairs*Lanes, 2*pairs, np)
	return w, numbers
}

func TestMulPairs(t *testing.T) {
	eachSet(t, func(t *testing.T, set *Set[float32]) {
		t.Run("set", func(t *testing.T) { testMulPairs(t, set.MulPairs) })
		if set.Name == "avx512" { // what takes the place of AVX512_BF16
			t.Run("unpaired", func(t *testing.T) { testMulPairs(t, unpaired(set.Mul)) })
		}
	})
}

func testMulPairs(t *testing.T, mulPairs func(c []float32, cp int, a []uint32, rs int, b []uint32, bp int, m, pairs, np int, e Epilogue[float32])) {
	r := random(21)
	for _, sz := range [][3]int{{0, 3, 1}, {3, 0, 2}, {8, 8, 0}, {1, 1, 1}, {2, 5, 1}, {3, 7, 2}, {4, 1, 3}, {5, 13, 1}, {6, 2, 2}, {7, 31, 1}, {8, 16, 2}, {9, 17, 1}, {12, 64, 2},
		{13, 23, 3}, {16, 32, 4}, {17, 33, 5}, {23, 128, 1}, {31, 3, 9}, {64, 40, 1}, {65, 65, 6}, {97, 61, 2}, {24, 257, 2}, {400, 350, 2}} {
		m, pairs, np := sz[0], sz[1], sz[2]
		variants := 24
		if m*pairs > 1<<16 {
			variants = 3
		}
		for range variants {
			rs, bp := pairs+r.IntN(5), pairs*Lanes+Lanes*r.IntN(2)+3*r.IntN(2)
			a, aw := roundedMatrix(r, m, pairs, rs)
			b, bw := roundedPanels(r, pairs, np, bp)
			c, cp := panels(r, m, np, r.IntN(3)*Lanes, 1)
			gate, gp := panels(r, m, np, r.IntN(2)*Lanes, 1)
			bias := newVec(m, 1).fill(r, 1)
			e, f, with := someEpilogue(r, bias, gate, gp)
			name := fmt.Sprintf("m=%d pairs=%d np=%d%s", m, pairs, np, with)
			as, bs := slices.Clone(a.s), slices.Clone(b.s)
			mulPairs(c.s, cp, a.s, rs, b.s, bp, m, pairs, np, e)
			reference.Mul(c.w, cp, aw, 2*pairs, 1, bw, 2*pairs*Lanes, m, 2*pairs, np, nil, f)
			c.check(t, name, 2e-6*math.Sqrt(float64(2*pairs+1)))
			gate.check(t, name+": gate", 0)
			bias.check(t, name+": bias", 0)
			a.check(t, name+": a", as)
			b.check(t, name+": b", bs)
		}
	}
}
