package ad

import "hepmorph/internal/kernel"

// A Part is the units [Lo, Hi) of a tensor: the queries in the joint output of one linear layer, the shift in that of a modulation.
type Part struct {
	Tensor Tensor
	Lo, Hi int
}

// Part is the units [lo, hi) of t.
func (t Tensor) Part(lo, hi int) Part {
	if lo < 0 || hi > t.Width || lo >= hi {
		panic("ad: part of a tensor out of range")
	}
	return Part{t, lo, hi}
}

// All is the whole of t as a Part.
func (t Tensor) All() Part { return Part{t, 0, t.Width} }

// Width is the number of units.
func (p Part) Width() int { return p.Hi - p.Lo }

// tensors lists the different tensors of some parts, and for each part the number of its tensor in that list.
func tensors(parts ...Part) (list []Tensor, of []int) {
	for _, p := range parts {
		k := 0
		for k < len(list) && list[k] != p.Tensor {
			k++
		}
		if k == len(list) {
			list = append(list, p.Tensor)
		}
		of = append(of, k)
	}
	return
}

// A spreader fills panels with a Part for every row of a tensor of rep rows an item: the Part's own rows or, if it has one row an item, that of
// the item to which each row belongs.
type spreader[T kernel.Float] struct {
	f    *Frame[T]
	p    Part
	rep  int
	dst  []T
	ones []T // for the lanes of a panel
	item int // whose row fills all of dst, -1 if none
}

func spread[T kernel.Float](f *Frame[T], p Part, rep int) spreader[T] {
	s := spreader[T]{f: f, p: p, rep: rep, item: -1}
	if p.Tensor.Rep != rep {
		s.dst, s.ones = f.Temp(p.Width()*kernel.Lanes), f.Temp(kernel.Lanes)[:kernel.Lanes]
		for i := range s.ones {
			s.ones[i] = 1
		}
	}
	return s
}

// panel returns the units of p for the rows of a panel.
func (s *spreader[T]) panel(panel int) []T {
	const l = kernel.Lanes
	src, stride, p := s.f.V(s.p.Tensor), s.p.Tensor.Stride(), s.p
	if p.Tensor.Rep == s.rep {
		return src[panel*stride+p.Lo*l : panel*stride+p.Hi*l]
	}
	item, last := min(panel*l/s.rep, s.f.Items-1), s.f.Items-1
	if item != s.item {
		s.f.K.Mul(s.dst, 0, s.column(item), l, 1, s.ones, l, p.Width(), 1, 1, nil, kernel.Epilogue[T]{})
		s.item = item
	}
	for e := (item+1)*s.rep - panel*l; e < l && item < last; e += s.rep {
		item++
		from, end := s.column(item), min(l, e+s.rep)
		if item == last {
			end = l
		}
		for u := range p.Width() {
			v, d := from[u*l], s.dst[u*l+e:u*l+end]
			for i := range d {
				d[i] = v
			}
		}
		s.item = -1 // no longer one item alone
	}
	return s.dst
}

// column is the row of an item, from its first unit on, one unit every 32 numbers.
func (s *spreader[T]) column(item int) []T {
	return s.f.V(s.p.Tensor)[item/kernel.Lanes*s.p.Tensor.Stride()+s.p.Lo*kernel.Lanes+item%kernel.Lanes:]
}

// A collector adds panels with a row for every row of a share to the cotangent of p, the mirror of spreader.
type collector[T kernel.Float] struct {
	f     *Frame[T]
	p     Part
	own   share
	item  int // whose rows are being added, -1 for none
	total []T // of whole panels
	rest  []T // of parts of panels: [unit][32], each lane by itself
}

func collect[T kernel.Float](f *Frame[T], p Part, own share) collector[T] {
	c := collector[T]{f: f, p: p, own: own, item: -1}
	if f.HasGrad(p.Tensor) && p.Tensor.Rep != own.rep {
		n := p.Width()
		c.total, c.rest = f.Temp(n)[:n], f.Temp(n * kernel.Lanes)[:n*kernel.Lanes]
	}
	return c
}

// add takes the next panel.
func (c *collector[T]) add(src []T, panel int) {
	const l = kernel.Lanes
	if !c.f.HasGrad(c.p.Tensor) {
		return
	}
	src = src[:c.p.Width()*l]
	rep := c.own.rep
	if c.p.Tensor.Rep == rep {
		if s := c.p.Tensor.Stride(); c.own.owns(panel) {
			c.f.K.Axpy(c.f.G(c.p.Tensor)[panel*s+c.p.Lo*l:panel*s+c.p.Hi*l], 1, src)
		}
		return
	}
	end := min(l, c.own.hi*rep-panel*l)
	for e := max(0, c.own.lo*rep-panel*l); e < end; {
		item := (panel*l + e) / rep
		n := min(end, (item+1)*rep-panel*l) - e
		if item != c.item {
			c.finish()
			c.item = item
			clear(c.total)
			clear(c.rest)
		}
		if n == l {
			c.f.K.RowSum(c.total, src, len(src), len(c.total), 1)
		} else {
			for u := 0; u < len(src); u += l {
				d := c.rest[u+e:][:n]
				for i, v := range src[u+e:][:n] {
					d[i] += v
				}
			}
		}
		e += n
	}
}

// finish adds what is there of the newest item to its cotangent.
func (c *collector[T]) finish() {
	const l = kernel.Lanes
	if c.item < 0 {
		return
	}
	c.f.K.RowSum(c.total, c.rest, len(c.rest), len(c.total), 1)
	to := c.f.G(c.p.Tensor)[c.item/l*c.p.Tensor.Stride()+c.p.Lo*l+c.item%l:]
	for u, v := range c.total {
		to[u*l] += v
	}
	c.item = -1
}

// A share is a part of the rows of a tensor of rep rows an item: whole items, and the panels in which they lie.
type share struct{ lo, hi, from, to, rep int }

// items is the share of one of several parts.
func (f *Frame[T]) items(rep, part, parts int) share {
	lo, hi := portion(f.Items, 1, part, parts)
	s := share{lo: lo, hi: hi, from: lo * rep / kernel.Lanes, rep: rep}
	if lo < hi {
		s.to = (hi*rep + kernel.Lanes - 1) / kernel.Lanes
	}
	return s
}

// owns says whether panel p is its own: the first of its panels may have begun with an item of another.
func (s share) owns(p int) bool { return p*kernel.Lanes >= s.lo*s.rep }
