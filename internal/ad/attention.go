package ad

import (
	"math"

	"hepmorph/internal/kernel"
)

// keepProbabilities is the largest number of attention weights of an item that the forward pass keeps; larger ones are computed again.
const keepProbabilities = 1 << 20

// attention is softmax(q·k/√d)·v within each item and head. An item's rows are gathered into panels of their own: with [p][u][e] the
// queries in lanes and the keys as units, the scores are one product, the softmax runs along units, and all six products of both
// directions are Mul or GradW.
type attention[T kernel.Float] struct {
	q, k, v, y Part
	kept       Tensor
	in         []Tensor
	of         []int
	heads      int
	causal     bool
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
	o := &attention[T]{q: q, k: k, v: v, heads: heads, causal: causal, y: p.New(v.Width(), q.Tensor.Rep).All()}
	o.in, o.of = tensors(q, k, v)
	pq := itemPanels(q)
	if n := heads * k.Tensor.Rep; n*pq*kernel.Lanes <= keepProbabilities {
		o.kept = p.Keep(n, pq*kernel.Lanes)
	}
	p.Add(o)
	return o.y.Tensor
}

func (o *attention[T]) In() []Tensor { return o.in }

func itemPanels(p Part) int { return (p.Tensor.Rep + kernel.Lanes - 1) / kernel.Lanes }

// An attended item: what both directions need of one item, in scratch memory.
type attended[T kernel.Float] struct {
	*attention[T]
	f            *Frame[T]
	item         int
	np           int // panels of queries
	nk           int // keys
	dk, dv       int // units of a head
	lk, lv       int // rows of keys and values by token
	q, k, v      []T
	keys, values []T // [head][token][unit]
	weights      []T
}

func (o *attention[T]) attend(f *Frame[T]) *attended[T] {
	a := &f.attended
	*a = attended[T]{attention: o, f: f, np: itemPanels(o.q), nk: o.k.Tensor.Rep, dk: o.q.Width() / o.heads, dv: o.v.Width() / o.heads}
	a.lk, a.lv = roundUp(a.dk, align), roundUp(a.dv, align)
	tokens := itemPanels(o.k) * kernel.Lanes
	a.q = f.Temp(a.np * o.q.Width() * kernel.Lanes)
	a.k, a.v = f.Temp(tokens*o.k.Width()), f.Temp(tokens*o.v.Width())
	a.keys, a.values = f.Temp(o.heads*tokens*a.lk), f.Temp(o.heads*tokens*a.lv)
	if o.kept.None() {
		a.weights = f.Temp(a.np * a.nk * kernel.Lanes)
	}
	return a
}

// load gathers an item and puts keys and values in order of tokens.
func (a *attended[T]) load(item int) {
	a.item = item
	gather(a.f, a.q, a.f.V(a.attention.q.Tensor), a.attention.q, item)
	gather(a.f, a.k, a.f.V(a.attention.k.Tensor), a.attention.k, item)
	gather(a.f, a.v, a.f.V(a.attention.v.Tensor), a.attention.v, item)
	for h := range a.heads {
		a.byToken(a.head(a.keys, h), a.lk, a.k[h*a.dk*kernel.Lanes:], a.heads*a.dk, a.dk, itemPanels(a.attention.k))
		a.byToken(a.head(a.values, h), a.lv, a.v[h*a.dv*kernel.Lanes:], a.heads*a.dv, a.dv, itemPanels(a.attention.v))
	}
}

// head is the part of one head in what stands in order of heads.
func (a *attended[T]) head(s []T, h int) []T {
	n := len(s) / a.heads
	return s[h*n:][:n]
}

func (a *attended[T]) byToken(dst []T, ld int, src []T, width, units, np int) {
	a.f.K.Transpose(dst, ld, kernel.Lanes*ld, src, width*kernel.Lanes, units, np)
}

// seen is the number of keys that the queries of panel p may see.
func (a *attended[T]) seen(p int) int {
	if a.causal {
		return min(a.nk, (p+1)*kernel.Lanes)
	}
	return a.nk
}

// steps calls f for all panels at once, or for one at a time where they see different numbers of keys.
func (a *attended[T]) steps(f func(p, np, seen int)) {
	if !a.causal {
		f(0, a.np, a.nk)
		return
	}
	for p := range a.np {
		f(p, 1, a.seen(p))
	}
}

func (a *attended[T]) memory(h int) []T {
	if a.kept.None() {
		return a.weights
	}
	n := a.np * a.nk * kernel.Lanes
	return a.f.V(a.kept)[(a.item*a.heads+h)*n:][:n]
}

func (a *attended[T]) scale() T { return T(1 / math.Sqrt(float64(a.dk))) }

// probabilities computes the weights of head h: [p][key][query's lane].
func (a *attended[T]) probabilities(h int) []T {
	const l = kernel.Lanes
	w, s := a.memory(h), a.nk*l
	keys, q, qs := a.head(a.keys, h), a.q[h*a.dk*l:], a.heads*a.dk*l
	a.steps(func(p, np, seen int) {
		a.f.K.Mul(w[p*s:], s, keys, a.lk, 1, q[p*qs:], qs, seen, a.dk, np, nil, kernel.Epilogue[T]{})
		if a.causal {
			for j := p*l + 1; j < seen; j++ {
				row := w[p*s+j*l:][:j-p*l]
				for e := range row {
					row[e] = -1e30
				}
			}
		}
		a.f.K.Softmax(w[p*s:], s, w[p*s:], s, a.nk, seen, np, a.scale())
	})
	return w
}

func (o *attention[T]) Forward(f *Frame[T]) {
	const l = kernel.Lanes
	a := o.attend(f)
	out, os := f.Temp(a.np*o.v.Width()*l), o.v.Width()*l
	for item := range f.Items {
		a.load(item)
		for h := range o.heads {
			w, s := a.probabilities(h), a.nk*l
			values := a.head(a.values, h)
			a.steps(func(p, np, seen int) {
				f.K.Mul(out[p*os+h*a.dv*l:], os, values, 1, a.lv, w[p*s:], s, a.dv, seen, np, nil, kernel.Epilogue[T]{})
			})
		}
		scatter(f, f.V(o.y.Tensor), out, o.y, item, false)
	}
}

func (o *attention[T]) Backward(f *Frame[T], fresh []bool) {
	const l = kernel.Lanes
	a := o.attend(f)
	for i, t := range o.in {
		if fresh[i] && f.HasGrad(t) {
			clear(f.Cotangents(t))
		}
	}
	gy, ys := f.Temp(a.np*o.v.Width()*l), o.v.Width()*l
	gq, qs := f.Temp(a.np*o.q.Width()*l), o.q.Width()*l
	gk, gv := f.Temp(len(a.keys)), f.Temp(len(a.values))
	gw, s := f.Temp(a.np*a.nk*l), a.nk*l
	rows := f.Temp(a.np * l * max(a.lk, a.lv))
	for item := range f.Items {
		a.load(item)
		gather(f, gy, f.G(o.y.Tensor), o.y, item)
		clear(gk)
		clear(gv)
		for h := range o.heads {
			w := a.memory(h)
			if o.kept.None() {
				a.probabilities(h)
			}
			keys, values := a.head(a.keys, h), a.head(a.values, h)
			a.byToken(rows, a.lv, gy[h*a.dv*l:], o.v.Width(), a.dv, a.np)
			a.steps(func(p, np, seen int) {
				f.K.GradW(a.head(gv, h), a.lv, w[p*s:], s, rows[p*l*a.lv:], a.lv, l*a.lv, seen, a.dv, np, nil)
				f.K.Mul(gw[p*s:], s, values, a.lv, 1, gy[p*ys+h*a.dv*l:], ys, seen, a.dv, np, nil, kernel.Epilogue[T]{})
				f.K.SoftmaxBackward(gw[p*s:], s, gw[p*s:], s, w[p*s:], s, seen, np, a.scale())
				f.K.Mul(gq[p*qs+h*a.dk*l:], qs, keys, 1, a.lk, gw[p*s:], s, a.dk, seen, np, nil, kernel.Epilogue[T]{})
			})
			a.byToken(rows, a.lk, a.q[h*a.dk*l:], o.q.Width(), a.dk, a.np)
			a.steps(func(p, np, seen int) {
				f.K.GradW(a.head(gk, h), a.lk, gw[p*s:], s, rows[p*l*a.lk:], a.lk, l*a.lk, seen, a.dk, np, nil)
			})
		}
		if f.HasGrad(o.q.Tensor) {
			scatter(f, f.G(o.q.Tensor), gq, o.q, item, true)
		}
		a.addTokens(o.k, gk, a.lk, a.dk)
		a.addTokens(o.v, gv, a.lv, a.dv)
	}
}

// addTokens adds cotangents in order of tokens to the item's rows of p.
func (a *attended[T]) addTokens(p Part, src []T, ld, units int) {
	const l = kernel.Lanes
	if !a.f.HasGrad(p.Tensor) {
		return
	}
	g, s := a.f.G(p.Tensor), p.Tensor.Stride()
	for t := range p.Tensor.Rep {
		k := a.item*p.Tensor.Rep + t
		d := g[k/l*s+p.Lo*l+k%l:]
		for h := range a.heads {
			for u, v := range a.head(src, h)[t*ld:][:units] {
				d[(h*units+u)*l] += v
			}
		}
	}
}
