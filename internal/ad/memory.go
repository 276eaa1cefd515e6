package ad

import "hepmorph/internal/kernel"

// place fixes where tensors lie in a frame for tiles of so many items, and returns the lengths of its values and cotangents. Memory is used
// again as soon as no operation needs what is in it, so that it stays in the cache: that of values where there is no backward pass, that of
// cotangents where there is one. What no operation reads, inputs and accumulators keep theirs.
func (p *Program[T]) place(items int, backward bool, last []int) (values, cotangents int) {
	var v, g plan
	end := len(p.ops) - 1
	for i := range p.bufs {
		b := &p.bufs[i]
		n := capPanels(items, b.rep) * b.width * kernel.Lanes
		always := last[i] == forever
		if backward || always {
			v.keep(&b.off, n)
		} else {
			v.lend(&b.off, n, b.born, last[i])
		}
		if !backward || !b.grad {
			continue
		}
		if always {
			g.keep(&b.goff, n)
		} else { // backward, operations go from the last to the first
			g.lend(&b.goff, n, end-last[i], end-b.born)
		}
	}
	return v.place(len(p.ops)), g.place(len(p.ops))
}

// A plan says how long parts of a memory are needed.
type plan struct {
	kept int // numbers at the beginning that are needed all the time
	lent []loan
}

// A loan is n numbers from operation from to operation to, both included; at is where they are.
type loan struct {
	at          *int
	n, from, to int
}

func (p *plan) keep(at *int, n int) {
	*at = p.kept
	p.kept += n
}

func (p *plan) lend(at *int, n, from, to int) { p.lent = append(p.lent, loan{at, n, from, to}) }

// place finds places for all loans, in the order in which ops operations begin to need them, and returns the length of the memory.
func (p *plan) place(ops int) (end int) {
	var free gaps
	end = p.kept
	for op := range ops {
		for _, l := range p.lent {
			if l.from == op {
				*l.at, end = free.take(l.n, end)
			}
		}
		for _, l := range p.lent {
			if l.to == op {
				free.give(*l.at, l.n)
			}
		}
	}
	return end
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
