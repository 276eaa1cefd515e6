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

// A run is a number of consecutive rows that lie in one panel both of an item's own panels and of the tensor's.
type run struct{ from, fromLane, to, toLane, n int }

// runs calls f for the pieces of an item: from are panels of a tensor with rep rows an item, to those of the item alone.
func runs(item, rep int, f func(r run)) {
	const l = kernel.Lanes
	for t := 0; t < rep; {
		k := item*rep + t
		n := min(l-t%l, l-k%l, rep-t)
		f(run{k / l, k % l, t / l, t % l, n})
		t += n
	}
}

// gather copies the rows of one item into panels of its own, with zeros where it has no rows.
func gather[T kernel.Float](f *Frame[T], dst, src []T, p Part, item int) {
	const l = kernel.Lanes
	w, s := p.Width()*l, p.Tensor.Stride()
	if tail := p.Tensor.Rep % l; tail > 0 {
		clear(dst[p.Tensor.Rep/l*w:][:w])
	}
	runs(item, p.Tensor.Rep, func(r run) {
		to, from := dst[r.to*w+r.toLane:], src[r.from*s+p.Lo*l+r.fromLane:]
		for u := 0; u < w; u += l {
			copy(to[u:u+r.n], from[u:])
		}
	})
}

// scatter writes, or adds, an item's own panels to its rows.
func scatter[T kernel.Float](f *Frame[T], dst, src []T, p Part, item int, add bool) {
	const l = kernel.Lanes
	w, s := p.Width()*l, p.Tensor.Stride()
	runs(item, p.Tensor.Rep, func(r run) {
		from, to := src[r.to*w+r.toLane:], dst[r.from*s+p.Lo*l+r.fromLane:]
		for u := 0; u < w; u += l {
			if !add {
				copy(to[u:u+r.n], from[u:])
				continue
			}
			d := to[u : u+r.n]
			for e, v := range from[u : u+r.n] {
				d[e] += v
			}
		}
	})
}

// spread fills one panel with p: its own rows, or with one row an item that of the item to which each of rep rows belongs.
func spread[T kernel.Float](f *Frame[T], dst []T, p Part, panel, rep int) {
	const l = kernel.Lanes
	src, s := f.V(p.Tensor), p.Tensor.Stride()
	if p.Tensor.Rep == rep {
		copy(dst, src[panel*s+p.Lo*l:panel*s+p.Hi*l])
		return
	}
	for e := 0; e < l; {
		item := min((panel*l+e)/rep, f.Items-1)
		n := min(l, (item+1)*rep-panel*l) - e
		if item == f.Items-1 {
			n = l - e
		}
		from := src[item/l*s+p.Lo*l+item%l:]
		for u := range p.Width() {
			v, d := from[u*l], dst[u*l+e:][:n]
			for i := range d {
				d[i] = v
			}
		}
		e += n
	}
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
