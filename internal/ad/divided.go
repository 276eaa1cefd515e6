package ad

import "hepmorph/internal/kernel"

// A Divided is an operation whose forward pass workers can share: where workers run a tile together, each of them does a part of every such
// operation, in a frame of its own over the memory of the tile.
type Divided[T kernel.Float] interface {
	// ForwardPart does one of several parts. Together they do what Forward does, to the same bits.
	ForwardPart(f *Frame[T], part, parts int)
}

// A DividedBackward is an operation whose backward pass workers can share.
type DividedBackward[T kernel.Float] interface {
	// BackwardPart does one of several parts. Together, after all parts of Prepare, they do what Backward does, to the same bits.
	BackwardPart(f *Frame[T], fresh []bool, part, parts int)
}

// A Prepared is a DividedBackward with something to be done before the first of its parts begins, in parts as well.
type Prepared[T kernel.Float] interface {
	Prepare(f *Frame[T], fresh []bool, part, parts int)
}

// portion is the part of n things, in whole units, that falls to one of several parts.
func portion(n, unit, part, parts int) (lo, hi int) {
	units := (n + unit - 1) / unit
	return min(n, units*part/parts*unit), min(n, units*(part+1)/parts*unit)
}

// A team is what workers need to run tiles together.
type team[T kernel.Float] struct {
	views    []*Frame[T]  // one a worker, all over the memory of one tile
	forward  []Divided[T] // by operation, nil where one worker does it alone; so are the next two
	prepare  []Prepared[T]
	backward []DividedBackward[T]
	op       int // the operation that is shared now

	forwardPart, preparePart, backwardPart func(worker, part int)
}

func (e *Exec[T]) newTeam() *team[T] {
	t := &team[T]{}
	for range e.pool.Workers() {
		t.views = append(t.views, &Frame[T]{K: e.k, prog: e.prog, cap: e.set.Items, unseen: e.unseen, rounded: e.rounded})
	}
	for _, op := range e.prog.ops {
		f, _ := op.(Divided[T])
		p, _ := op.(Prepared[T])
		b, _ := op.(DividedBackward[T])
		t.forward, t.prepare, t.backward = append(t.forward, f), append(t.prepare, p), append(t.backward, b)
	}
	t.forwardPart = func(worker, part int) { t.forward[t.op].ForwardPart(t.start(worker), part, len(t.views)) }
	t.preparePart = func(worker, part int) { t.prepare[t.op].Prepare(t.start(worker), e.fresh[t.op], part, len(t.views)) }
	t.backwardPart = func(worker, part int) {
		t.backward[t.op].BackwardPart(t.start(worker), e.fresh[t.op], part, len(t.views))
	}
	return t
}

// start is the frame of a worker for the next part.
func (t *team[T]) start(worker int) *Frame[T] {
	f := t.views[worker]
	f.newOperation()
	return f
}

// look turns the frames of the team to the memory of a tile.
func (t *team[T]) look(f *Frame[T]) {
	for _, v := range t.views {
		v.slab, v.grads, v.dw, v.spent, v.losses = f.slab, f.grads, f.dw, f.spent, f.losses
		v.backward, v.Items, v.First = f.backward, f.Items, f.First
	}
}

// shared says whether the workers share each tile because there is one shard, which one of them would fill alone.
func (e *Exec[T]) shared() bool { return e.set.Shards == 1 && e.pool.Workers() > 1 }

// runTogether runs the tiles of a pass one after another, all workers on each.
func (e *Exec[T]) runTogether(tiles int) {
	if e.run.Backward {
		e.shards.Settle(e.pool) // no worker may clear what another adds to
	}
	for t := range tiles {
		f := e.frames[0]
		if e.run.Keep {
			f = e.kept[t]
		}
		e.begin(f, t, 0)
		e.team.look(f)
		for i, op := range e.prog.ops {
			if e.team.op = i; e.team.forward[i] != nil {
				e.pool.Run(len(e.team.views), e.team.forwardPart)
			} else {
				op.Forward(e.team.start(0))
			}
		}
		e.deliver(f)
		if e.run.Backward {
			e.beginBack(f, 0)
			e.backwardTogether(f)
		}
	}
}

func (e *Exec[T]) backwardTogether(f *Frame[T]) {
	t := e.team
	t.look(f)
	for i := len(e.prog.ops) - 1; i >= 0; i-- {
		t.op = i
		if t.backward[i] == nil {
			e.prog.ops[i].Backward(t.start(0), e.fresh[i])
			continue
		}
		if t.prepare[i] != nil {
			e.pool.Run(len(t.views), t.preparePart)
		}
		e.pool.Run(len(t.views), t.backwardPart)
	}
}
