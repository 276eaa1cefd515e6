package ad

import "hepmorph/internal/kernel"

// place fixes where tensors lie in a frame for tiles of so many items, and returns the lengths of its values and cotangents. Without a backward
// pass an operation's memory is used again as soon as nobody reads it any more, so that it stays in the cache; what no operation reads, inputs
// and accumulators keep theirs.
func (p *Program[T]) place(items int, backward bool, last []int) (values, cotangents int) {
	size := func(b *buffer) int { return capPanels(items, b.rep) * b.width * kernel.Lanes }
	if backward {
		for i := range p.bufs {
			b := &p.bufs[i]
			b.off = values
			values += size(b)
			if b.grad {
				b.goff = cotangents
				cotangents += size(b)
			}
		}
		return values, cotangents
	}
	var free gaps
	for i := range p.bufs {
		if b := &p.bufs[i]; last[i] == forever {
			b.off = values
			values += size(b)
		}
	}
	next := 0
	for op := range p.ops {
		for ; next < len(p.bufs) && p.bufs[next].born <= op; next++ {
			b := &p.bufs[next]
			if last[next] != forever {
				b.off, values = free.take(size(b), values)
			}
		}
		for i := range next {
			if last[i] == op {
				free.give(p.bufs[i].off, size(&p.bufs[i]))
			}
		}
	}
	return values, 0
}

// forever is the last use of what is kept.
const forever = -1

// lastUses are, by tensor, the numbers of the operations that use it last.
func (p *Program[T]) lastUses() []int {
	last := make([]int, len(p.bufs))
	for i, b := range p.bufs {
		last[i] = b.born
	}
	for k, op := range p.ops {
		for _, t := range op.In() {
			if !t.None() {
				last[t.id-1], p.bufs[t.id-1].read = k, true
			}
		}
	}
	for i, b := range p.bufs {
		if b.sum || b.grad && !b.read {
			last[i] = forever
		}
	}
	for _, t := range p.inputs {
		last[t.id-1] = forever
	}
	return last
}

// gaps are the parts of a memory that are free again, in order.
type gaps []struct{ off, n int }

// take finds n numbers in the smallest gap that holds them, or at the end, and returns where, and the new end.
func (g *gaps) take(n, end int) (off, newEnd int) {
	best := -1
	for i, f := range *g {
		if f.n >= n && (best < 0 || f.n < (*g)[best].n) {
			best = i
		}
	}
	if best < 0 {
		return end, end + n
	}
	f := &(*g)[best]
	off = f.off
	f.off, f.n = f.off+n, f.n-n
	return off, end
}

// give frees n numbers, joined to the gaps beside them.
func (g *gaps) give(off, n int) {
	i := 0
	for i < len(*g) && (*g)[i].off < off {
		i++
	}
	*g = append((*g)[:i], append(gaps{{off, n}}, (*g)[i:]...)...)
	for k := max(0, i-1); k < min(i+1, len(*g)-1); {
		if a, b := &(*g)[k], (*g)[k+1]; a.off+a.n == b.off {
			a.n += b.n
			*g = append((*g)[:k+1], (*g)[k+2:]...)
			continue
		}
		k++
	}
}
