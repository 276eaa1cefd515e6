package ad

import (
	"math"

	"hepmorph/internal/kernel"
)

// keepProbabilities is the largest number of attention weights of an item that the forward pass keeps; larger ones are computed again.
const keepProbabilities = 1 << 20

// attention is softmax(q·k/√d)·v within each item and head. With the queries of an item in lanes, in the panels that they share with its
// neighbours, and the keys as units, the scores are one product, the softmax runs along units, and all six products of both directions are Mul
// or GradW. Weights of a neighbour's queries are zero, so that nothing has to be gathered.
type attention[T kernel.Float] struct {
	q, k, v, y Part
	kept       Tensor
	in         []Tensor
	of         []int
	heads      int
	causal     bool
	first, all int // number of the first head, and of all heads, where this is a part of another
}

// Attention records multi-head scaled dot-product attention (arXiv 1706.03762) over the rows of each item; items never see each
// other. q has rows of its own number, k and v of another; units are split evenly over the heads. Causal lets row i of the queries see the
// keys 0..i alone.
func (p *Program[T]) Attention(q, k, v Part, heads int, causal bool) Tensor {
	switch {
	case k.Tensor.Rep != v.Tensor.Rep || q.Width() != k.Width():
		panic("ad: attention with queries, keys and values that do not fit")
	case heads < 1 || q.Width()%heads != 0 || v.Width()%heads != 0:
		panic("ad: attention with units that do not split over the heads")
	}
	o := &attention[T]{q: q, k: k, v: v, heads: heads, causal: causal, all: heads, y: p.New(v.Width(), q.Tensor.Rep).All()}
	o.in, o.of = tensors(q, k, v)
	lanes := mostPanels(q.Tensor.Rep) * kernel.Lanes
	if n := heads * k.Tensor.Rep; n*lanes <= keepProbabilities {
		o.kept = p.Keep(n, lanes)
	}
	p.Add(o)
	return o.y.Tensor
}

func (o *attention[T]) In() []Tensor { return o.in }

// A place is where the rows of an item lie: in np panels from number first on, off lanes into them.
type place struct{ first, off, np int }

func placeOf(item, rep int) place {
	const l = kernel.Lanes
	row := item * rep
	return place{row / l, row % l, (row%l + rep + l - 1) / l}
}

// mostPanels is the largest number of panels that rep rows can lie in.
func mostPanels(rep int) int { return (rep + 2*kernel.Lanes - 2) / kernel.Lanes }

// An attended item: what both directions need of one item, in scratch memory.
type attended[T kernel.Float] struct {
	*attention[T]
	f            *Frame[T]
	item         int
	at, by       place // of queries, and of keys and values
	nk           int   // keys
	dk, dv       int   // units of a head
	lk, lv       int   // lengths of rows by token
	keys, values []T   // [head][lane of a panel][unit]
	weights      []T
}

func (o *attention[T]) attend(f *Frame[T]) *attended[T] {
	a := &f.attended
	*a = attended[T]{attention: o, f: f, nk: o.k.Tensor.Rep, dk: o.q.Width() / o.heads, dv: o.v.Width() / o.heads}
	a.lk, a.lv = roundUp(a.dk, align), roundUp(a.dv, align)
	tokens := mostPanels(a.nk) * kernel.Lanes
	a.keys, a.values = f.Temp(o.heads*tokens*a.lk), f.Temp(o.heads*tokens*a.lv)
	if o.kept.None() {
		a.weights = f.Temp(mostPanels(o.q.Tensor.Rep) * a.nk * kernel.Lanes)
	}
	return a
}

// load puts keys and values of an item in order of tokens.
func (a *attended[T]) load(item int) {
	a.item, a.at, a.by = item, placeOf(item, a.q.Tensor.Rep), placeOf(item, a.nk)
	for h := range a.heads {
		a.byToken(a.head(a.keys, h), a.lk, a.f.V(a.k.Tensor), a.k, a.by, h, a.dk)
		a.byToken(a.head(a.values, h), a.lv, a.f.V(a.v.Tensor), a.v, a.by, h, a.dv)
	}
}

// head is the part of one head in what stands in order of heads.
func (a *attended[T]) head(s []T, h int) []T {
	n := len(s) / a.heads
	return s[h*n:][:n]
}

// token is the first token of an item in what byToken wrote for head h.
func (a *attended[T]) token(s []T, h, ld int) []T { return a.head(s, h)[a.by.off*ld:] }

// panels are the units of head h of a Part, from the item's first panel on.
func (a *attended[T]) panels(s []T, p Part, at place, h, units int) []T {
	return s[at.first*p.Tensor.Stride()+(p.Lo+h*units)*kernel.Lanes:]
}

func (a *attended[T]) byToken(dst []T, ld int, src []T, p Part, at place, h, units int) {
	a.f.K.Transpose(dst, ld, kernel.Lanes*ld, a.panels(src, p, at, h, units), p.Tensor.Stride(), units, at.np)
}

// steps calls f for all panels of queries at once, or for one at a time where they see different numbers of keys.
func (a *attended[T]) steps(f func(p, np, seen int)) {
	if !a.causal {
		f(0, a.at.np, a.nk)
		return
	}
	for p := range a.at.np {
		f(p, 1, min(a.nk, (p+1)*kernel.Lanes-a.at.off))
	}
}

func (a *attended[T]) memory(h int) []T {
	n := mostPanels(a.q.Tensor.Rep) * a.nk * kernel.Lanes
	if a.kept.None() {
		return a.weights[:n]
	}
	return a.f.V(a.kept)[(a.item*a.all+a.first+h)*n:][:n]
}

func (a *attended[T]) scale() T { return T(1 / math.Sqrt(float64(a.dk))) }

// probabilities computes the weights of head h: [p][key][query's lane].
func (a *attended[T]) probabilities(h int) []T {
	const l = kernel.Lanes
	w, s := a.memory(h), a.nk*l
	keys := a.token(a.keys, h, a.lk)
	q, qs := a.panels(a.f.V(a.q.Tensor), a.q, a.at, h, a.dk), a.q.Tensor.Stride()
	a.steps(func(p, np, seen int) {
		a.f.K.Mul(w[p*s:], s, keys, a.lk, 1, q[p*qs:], qs, seen, a.dk, np, nil, kernel.Epilogue[T]{})
		if a.causal {
			for j := max(0, p*l-a.at.off+1); j < seen; j++ {
				row := w[p*s+j*l:][:j+a.at.off-p*l]
				for e := range row {
					row[e] = -1e30
				}
			}
		}
		a.f.K.Softmax(w[p*s:], s, w[p*s:], s, a.nk, seen, np, a.scale())
	})
	last := a.at.np - 1
	end := a.at.off + a.q.Tensor.Rep - last*l
	for j := range a.nk {
		clear(w[j*l:][:a.at.off])
		clear(w[last*s+j*l:][end:l])
	}
	return w
}

func (o *attention[T]) Forward(f *Frame[T]) {
	const l = kernel.Lanes
	a := o.attend(f)
	ys := o.y.Tensor.Stride()
	for item := range f.Items {
		a.load(item)
		for h := range o.heads {
			w, s := a.probabilities(h), a.nk*l
			values, y := a.token(a.values, h, a.lv), a.panels(f.V(o.y.Tensor), o.y, a.at, h, a.dv)
			mul := func(p, np, seen int, add bool) {
				f.K.Mul(y[p*ys:], ys, values, 1, a.lv, w[p*s:], s, a.dv, seen, np, nil, kernel.Epilogue[T]{Add: add})
			}
			a.steps(func(p, np, seen int) {
				if p == 0 && a.at.off > 0 { // a panel that the item before has begun
					mul(0, 1, seen, true)
					p, np = p+1, np-1
				}
				if np > 0 {
					mul(p, np, seen, false)
				}
			})
		}
	}
}

// ForwardPart computes a part of the heads.
func (o *attention[T]) ForwardPart(f *Frame[T], part, parts int) {
	if h := o.some(f, part, parts); h.heads > 0 {
		h.Forward(f)
	}
}

// some is a part of the heads.
func (o *attention[T]) some(f *Frame[T], part, parts int) *attention[T] {
	lo, hi := portion(o.heads, 1, part, parts)
	units := func(p Part) Part {
		d := p.Width() / o.heads
		return Part{p.Tensor, p.Lo + lo*d, p.Lo + hi*d}
	}
	h := &f.heads
	*h = *o
	h.q, h.k, h.v, h.y = units(o.q), units(o.k), units(o.v), units(o.y)
	h.heads, h.first = hi-lo, lo
	return h
}

func (o *attention[T]) Backward(f *Frame[T], fresh []bool) {
	o.Prepare(f, fresh, 0, 1)
	o.backward(f)
}

// Prepare lets cotangents start at zero: an item adds to panels that it shares with its neighbours.
func (o *attention[T]) Prepare(f *Frame[T], fresh []bool, part, parts int) {
	for i, t := range o.in {
		f.start(t, fresh[i], part, parts)
	}
}

// BackwardPart computes a part of the heads.
func (o *attention[T]) BackwardPart(f *Frame[T], _ []bool, part, parts int) {
	if h := o.some(f, part, parts); h.heads > 0 {
		h.backward(f)
	}
}

func (o *attention[T]) backward(f *Frame[T]) {
	const l = kernel.Lanes
	a := o.attend(f)
	ys, qs := o.y.Tensor.Stride(), o.q.Tensor.Stride()
	gk, gv := newTokens(a, a.dk), newTokens(a, a.dv)
	gw, s := f.Temp(mostPanels(o.q.Tensor.Rep)*a.nk*l), a.nk*l
	rows := f.Temp((mostPanels(o.q.Tensor.Rep)*l + 1) * max(a.lk, a.lv))
	for item := range f.Items {
		a.load(item)
		for h := range o.heads {
			w := a.memory(h)
			if o.kept.None() {
				a.probabilities(h)
			}
			keys, values := a.token(a.keys, h, a.lk), a.token(a.values, h, a.lv)
			gy := a.panels(f.G(o.y.Tensor), o.y, a.at, h, a.dv)
			var gq []T
			if f.HasGrad(o.q.Tensor) {
				gq = a.panels(f.G(o.q.Tensor), o.q, a.at, h, a.dk)
			}
			a.byToken(rows, a.lv, f.G(o.y.Tensor), o.y, a.at, h, a.dv)
			gv.start()
			a.steps(func(p, np, seen int) {
				gv.add(w[p*s:], s, rows[p*l*a.lv:], a.lv, seen, np)
				f.K.Mul(gw[p*s:], s, values, a.lv, 1, gy[p*ys:], ys, seen, a.dv, np, nil, kernel.Epilogue[T]{})
				f.K.SoftmaxBackward(gw[p*s:], s, gw[p*s:], s, w[p*s:], s, seen, np, a.scale())
				if gq != nil {
					f.K.Mul(gq[p*qs:], qs, keys, 1, a.lk, gw[p*s:], s, a.dk, seen, np, nil, kernel.Epilogue[T]{Add: true})
				}
			})
			gv.deposit(o.v, h)
			a.byToken(rows, a.lk, f.V(o.q.Tensor), o.q, a.at, h, a.dk)
			gk.start()
			a.steps(func(p, np, seen int) {
				gk.add(gw[p*s:], s, rows[p*l*a.lk:], a.lk, seen, np)
			})
			gk.deposit(o.k, h)
		}
	}
}

// tokens are the cotangents of the keys or values of one head: groups of 32 units, [group][token's lane of a panel][unit], so that each group
// is panels of its own, with tokens for units.
type tokens[T kernel.Float] struct {
	*attended[T]
	units, lanes int
	sum, turned  []T
}

func newTokens[T kernel.Float](a *attended[T], units int) tokens[T] {
	lanes := mostPanels(a.nk) * kernel.Lanes
	n := roundUp(units, kernel.Lanes) * lanes
	return tokens[T]{a, units, lanes, a.f.Temp(n)[:n], a.f.Temp(n)[:n]}
}

func (t *tokens[T]) start() { clear(t.sum) }

// add adds Σ_lanes w[key][lane]·rows[lane][unit], rows of length ld.
func (t *tokens[T]) add(w []T, s int, rows []T, ld, seen, np int) {
	const l = kernel.Lanes
	for u := 0; u < t.units; u += l {
		t.f.K.GradW(t.sum[(u/l*t.lanes+t.by.off)*l:], l, w, s, rows[u:], ld, l*ld, seen, min(l, t.units-u), np, nil, true)
	}
}

// deposit adds the sum to the cotangent of head h of p.
func (t *tokens[T]) deposit(p Part, h int) {
	const l = kernel.Lanes
	if !t.f.HasGrad(p.Tensor) {
		return
	}
	ld := roundUp(t.units, l)
	for u := 0; u < t.units; u += l {
		t.f.K.Transpose(t.turned[u*l:], l, ld*l, t.sum[u*t.lanes:], l*l, l, t.by.np)
	}
	to := t.panels(t.f.G(p.Tensor), p, t.by, h, t.units)
	for panel := range t.by.np {
		t.f.K.Axpy(to[panel*p.Tensor.Stride():][:t.units*l], 1, t.turned[panel*ld*l:][:t.units*l])
	}
}
