package kernel

import (
	"math"
	"sync"
)

// bfloat16 rounds to the 8 bits of precision of a bfloat16 number, half to even.
func bfloat16[T Float](v T) uint32 {
	b := math.Float32bits(float32(v))
	return (b + 0x7fff + b>>16&1) >> 16
}

// RoundRow rounds a row of weights in pairs, as MulPairs takes them: dst[j] holds row[2j] in its lower bits and row[2j+1], or 0 beyond the
// end, in its upper ones.
func RoundRow[T Float](dst []uint32, row []T) {
	for i, v := range row {
		if i%2 == 0 {
			dst[i/2] = bfloat16(v)
		} else {
			dst[i/2] |= bfloat16(v) << 16
		}
	}
}

func roundPairs[T Float](dst []uint32, dp int, src []T, sp, rows, np int) {
	for p := range np {
		for i := range rows {
			to := dst[p*dp+i/2*Lanes:][:Lanes]
			for l, v := range src[p*sp+i*Lanes:][:Lanes] {
				if i%2 == 0 {
					to[l] = bfloat16(v)
				} else {
					to[l] |= bfloat16(v) << 16
				}
			}
		}
	}
}

func lower[T Float](pair uint32) T { return T(math.Float32frombits(pair << 16)) }
func upper[T Float](pair uint32) T { return T(math.Float32frombits(pair &^ 0xffff)) }

// unpair makes two rows of one.
func unpair[T Float](rows *[2 * Lanes]T, pairs *[Lanes]uint32) {
	for l, v := range pairs {
		rows[l], rows[Lanes+l] = lower[T](v), upper[T](v)
	}
}

// Sizes of the pieces of mulUnpaired: rows of a, pairs of a row, panels of b.
const (
	pieceRows   = 64
	piecePairs  = 32
	piecePanels = 4
)

// pieces are factors whose pairs have become numbers again.
type pieces[T Float] struct {
	a [pieceRows * 2 * piecePairs]T
	b [piecePanels * 2 * piecePairs * Lanes]T
}

// unpaired makes MulPairs of the Mul of a set, for processors without a product of pairs.
func unpaired[T Float](mul func(c []T, cp int, a []T, rs, cs int, b []T, bp int, m, k, np int, spans []Span, e Epilogue[T])) func(c []T, cp int, a []uint32, rs int, b []uint32, bp int, m, pairs, np int, e Epilogue[T]) {
	memory := sync.Pool{New: func() any { return new(pieces[T]) }}
	return func(c []T, cp int, a []uint32, rs int, b []uint32, bp int, m, pairs, np int, e Epilogue[T]) {
		const rowLength, panelLength = 2 * piecePairs, 2 * piecePairs * Lanes
		w := memory.Get().(*pieces[T])
		defer memory.Put(w)
		for p := 0; p < np; p += piecePanels {
			panels := min(piecePanels, np-p)
			for j := 0; j == 0 || j < pairs; j += piecePairs {
				n := min(piecePairs, pairs-j)
				for q := range panels {
					for i := range n {
						unpair((*[2 * Lanes]T)(w.b[q*panelLength+i*2*Lanes:]), (*[Lanes]uint32)(b[(p+q)*bp+(j+i)*Lanes:]))
					}
				}
				for i := 0; i < m; i += pieceRows {
					rows := min(pieceRows, m-i)
					for r := range rows {
						for q, v := range a[(i+r)*rs+j:][:n] {
							w.a[r*rowLength+2*q], w.a[r*rowLength+2*q+1] = lower[T](v), upper[T](v)
						}
					}
					mul(c[p*cp+i*Lanes:], cp, w.a[:], rowLength, 1, w.b[:], panelLength, rows, 2*n, panels, nil, e.piece(i, p, panels, np, j == 0, j+n >= pairs))
				}
			}
		}
	}
}

// piece is the epilogue of the rows from i on of some of np panels, from number p on, in the first, the last or another part of their sums.
func (e Epilogue[T]) piece(i, p, panels, np int, first, last bool) Epilogue[T] {
	e.Half = e.Half && p+panels == np
	if e.Bias != nil {
		e.Bias = e.Bias[i:]
	}
	if !first {
		e.Bias, e.Add = nil, true
	}
	if e.Gate != nil {
		e.Gate = e.Gate[p*e.GateStride+i*Lanes:]
	}
	if !last {
		e.Act, e.Gate = Identity, nil
	}
	return e
}
