package ad

import (
	"math"

	"hepmorph/internal/kernel"
)

// A Cache holds the keys and values of the rows that items had in earlier runs of a program, one row of each item in a run, so that drawing row
// after row costs each row once. Call Start for a new batch; Row is the number of the row that the next run computes.
type Cache[T kernel.Float] struct {
	Row          int
	rows         int // of an item
	wk, wv       int
	keys, values []T // [panel of items][row][unit][lane]
}

// NewCache is for items of that many rows.
func NewCache[T kernel.Float](rows int) *Cache[T] { return &Cache[T]{rows: rows} }

// Start makes room for n items and goes to row 0.
func (c *Cache[T]) Start(n int) {
	c.Row = 0
	panels := (n + kernel.Lanes - 1) / kernel.Lanes * c.rows * kernel.Lanes
	if len(c.keys) < panels*c.wk || len(c.values) < panels*c.wv {
		c.keys, c.values = make([]T, panels*c.wk), make([]T, panels*c.wv)
	}
}

type cachedAttention[T kernel.Float] struct {
	q, k, v, y Part
	in         []Tensor
	heads      int
	cache      *Cache[T]
}

// CachedAttention records what row Row of the causal Attention gives, from that row's query, key and value and the keys and values that
// earlier runs left in the cache. Tensors have one row an item. It has no backward pass.
func (p *Program[T]) CachedAttention(q, k, v Part, heads int, c *Cache[T]) Tensor {
	switch {
	case q.Tensor.Rep != 1 || k.Tensor.Rep != 1 || v.Tensor.Rep != 1 || q.Width() != k.Width():
		panic("ad: cached attention of more than one row, or with queries and keys that do not fit")
	case heads < 1 || q.Width()%heads != 0 || v.Width()%heads != 0:
		panic("ad: attention with units that do not split over the heads")
	}
	c.wk, c.wv = k.Width(), v.Width()
	o := &cachedAttention[T]{q: q, k: k, v: v, y: p.New(v.Width(), 1).All(), heads: heads, cache: c}
	o.in, _ = tensors(q, k, v)
	p.Add(o)
	return o.y.Tensor
}

func (o *cachedAttention[T]) In() []Tensor { return o.in }

func (o *cachedAttention[T]) Forward(f *Frame[T]) {
	const l = kernel.Lanes
	if f.First%l != 0 {
		panic("ad: cached attention with tiles that are not whole panels")
	}
	c := o.cache
	rows := c.Row + 1
	dk, dv := c.wk/o.heads*l, c.wv/o.heads*l // numbers of a head in a panel
	scale := T(1 / math.Sqrt(float64(c.wk/o.heads)))
	weights := f.Temp(rows * l)[:rows*l]
	for p := range f.Panels(o.y.Tensor) {
		panel := func(t Part) []T { return f.V(t.Tensor)[p*t.Tensor.Stride()+t.Lo*l : p*t.Tensor.Stride()+t.Hi*l] }
		at := (f.First/l + p) * c.rows
		copy(c.keys[(at+c.Row)*c.wk*l:], panel(o.k))
		copy(c.values[(at+c.Row)*c.wv*l:], panel(o.v))
		q, y := panel(o.q), panel(o.y)
		clear(y)
		for h := range o.heads {
			clear(weights)
			for j := range rows {
				w := weights[j*l:][:l]
				key, query := c.keys[(at+j)*c.wk*l+h*dk:][:dk], q[h*dk:][:dk]
				for u := 0; u < dk; u += l {
					b := query[u:][:l]
					for e, a := range key[u:][:l] {
						w[e] += a * b[e]
					}
				}
			}
			f.K.Softmax(weights, rows*l, weights, rows*l, rows, rows, 1, scale)
			for j := range rows {
				w := weights[j*l:][:l]
				value, out := c.values[(at+j)*c.wv*l+h*dv:][:dv], y[h*dv:][:dv]
				for u := 0; u < dv; u += l {
					d := out[u:][:l]
					for e, a := range value[u:][:l] {
						d[e] += a * w[e]
					}
				}
			}
		}
	}
}

func (o *cachedAttention[T]) Backward(*Frame[T], []bool) {
	panic("ad: cached attention has no backward pass")
}
