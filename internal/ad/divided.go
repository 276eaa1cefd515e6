package ad

import "hepmorph/internal/kernel"

// A Divided is an operation whose forward pass workers can share: where a batch has fewer tiles than there are workers, each of them does a
// part of every such operation, in a frame of its own over the memory of the tile.
type Divided[T kernel.Float] interface {
	// ForwardPart does one of several parts. Together they do what Forward does, to the same bits.
	ForwardPart(f *Frame[T], part, parts int)
}

// portion is the part of n things, in whole units, that falls to one of several parts.
func portion(n, unit, part, parts int) (lo, hi int) {
	units := (n + unit - 1) / unit
	return min(n, units*part/parts*unit), min(n, units*(part+1)/parts*unit)
}

// forwardTogether runs the tiles of a forward pass one after another, all workers on each.
func (e *Exec[T]) forwardTogether(tiles int) {
	f := e.frames[0]
	if e.views == nil {
		e.part = e.forwardPart
		e.views = []*Frame[T]{f}
		for range e.pool.Workers() - 1 {
			e.views = append(e.views, &Frame[T]{K: f.K, prog: f.prog, cap: f.cap, slab: f.slab, unseen: f.unseen, rounded: f.rounded})
		}
		for _, op := range e.prog.ops {
			d, _ := op.(Divided[T])
			e.divided = append(e.divided, d)
		}
	}
	for t := range tiles {
		e.begin(f, t, 0)
		for _, v := range e.views[1:] {
			v.Items, v.First = f.Items, f.First
		}
		for i, op := range e.prog.ops {
			if e.now = e.divided[i]; e.now != nil {
				e.pool.Run(len(e.views), e.part)
				continue
			}
			f.newOperation()
			op.Forward(f)
		}
		e.deliver(f)
	}
}

func (e *Exec[T]) forwardPart(worker, part int) {
	f := e.views[worker]
	f.newOperation()
	e.now.ForwardPart(f, part, len(e.views))
}
