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
	item int // whose row fills all of dst, -1 if none
}

func spread[T kernel.Float](f *Frame[T], p Part, rep int) spreader[T] {
	s := spreader[T]{f: f, p: p, rep: rep, item: -1}
	if p.Tensor.Rep != rep {
		s.dst = f.Temp(p.Width() * kernel.Lanes)
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
	last := s.f.Items - 1
	for e := 0; e < l; {
		item := min((panel*l+e)/s.rep, last)
		n := min(l, (item+1)*s.rep-panel*l) - e
		if item == last {
			n = l - e
		}
		if n == l {
			if item == s.item {
				return s.dst
			}
			s.item = item
		} else {
			s.item = -1
		}
		from := src[item/l*stride+p.Lo*l+item%l:]
		for u := range p.Width() {
			v, d := from[u*l], s.dst[u*l+e:][:n]
			for i := range d {
				d[i] = v
			}
		}
		e += n
	}
	return s.dst
}

// collect adds the panel src to the cotangent of p, the mirror of spread.
func collect[T kernel.Float](f *Frame[T], src []T, p Part, panel, rep int) {
	const l = kernel.Lanes
	dst, s := f.G(p.Tensor), p.Tensor.Stride()
	if p.Tensor.Rep == rep {
		f.K.Axpy(dst[panel*s+p.Lo*l:panel*s+p.Hi*l], 1, src[:p.Width()*l])
		return
	}
	end := min(l, f.Items*rep-panel*l)
	for e := 0; e < end; {
		item := (panel*l + e) / rep
		n := min(end, (item+1)*rep-panel*l) - e
		to := dst[item/l*s+p.Lo*l+item%l:]
		for u := range p.Width() {
			var sum T
			for _, v := range src[u*l+e:][:n] {
				sum += v
			}
			to[u*l] += sum
		}
		e += n
	}
}
