package ad

import "hepmorph/internal/kernel"

// roundWeights rounds the weights of all Linear operations to bfloat16.
func (e *Exec[T]) roundWeights() {
	e.rounded = map[*Param][]uint32{}
	for _, op := range e.prog.ops {
		l, ok := op.(*linear[T])
		if !ok || e.rounded[l.w] != nil {
			continue
		}
		n := pairsOf(l.w)
		w := make([]uint32, l.w.Rows*n)
		for i := range l.w.Rows {
			kernel.RoundRow(w[i*n:], e.prog.Params.Row(l.w, i))
		}
		e.rounded[l.w] = w
	}
}

// pairsOf is the number of pairs in a row of weights.
func pairsOf(w *Param) int { return (w.Cols + 1) / 2 }

// forwardRounded is forward with the rounded weights w and rounded inputs.
func (o *linear[T]) forwardRounded(f *Frame[T], w []uint32, lo, hi int, e kernel.Epilogue[T]) {
	n, np := pairsOf(o.w), f.Panels(o.x)
	x := f.pairs.take(np * n * kernel.Lanes)
	f.K.RoundPairs(x, n*kernel.Lanes, f.V(o.x), o.x.Stride(), o.w.Cols, np)
	f.K.MulPairs(f.V(o.y)[lo*kernel.Lanes:], o.y.Stride(), w[lo*n:], n, x, n*kernel.Lanes, hi-lo, n, np, e)
}
