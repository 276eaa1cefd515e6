package ad

import (
	"hepmorph/internal/kernel"
)

// Settings fix how a program runs. The zero value is the recommended run.
type Settings struct {
	Items  int // items a tile; default: as many as make 128 rows or more (2048 to train with one shard), with little padding
	Shards int // gradient shards; default 4. Part of the result: sums are taken in this partition. With one, workers share each tile
	// BFloat16 rounds the inputs and the weights of Linear to bfloat16, for a program without gradients: twice as fast on processors with
	// products of such numbers, and to the same results, up to the rounding of sums, on others. Weights are read by Compile.
	BFloat16 bool
}

// A Frame is the memory of one tile: every tensor's values and cotangents.
type Frame[T kernel.Float] struct {
	K        *kernel.Set[T]
	Items    int // items of this tile that are real; the rest of the last panel is padding
	First    int // number of the tile's first item in the batch
	prog     *Program[T]
	cap      int
	slab     []T
	grads    []T
	temp     scratch[T]
	wide     scratch[float64]
	pairs    scratch[uint32]
	rounded  map[*Param][]uint32 // weights of Linear as pairs of bfloat16 numbers, where it multiplies such
	dw       []T
	spent    []bool // see Shards
	attended attended[T]
	heads    attention[T] // a part of one
	unseen   []bool       // by tensor: accumulators that nobody looks at in this run
	backward bool         // a backward pass follows
	losses   []float64
}

// Panels is the number of panels that the real rows of t fill.
func (f *Frame[T]) Panels(t Tensor) int {
	return (f.Items*t.Rep + kernel.Lanes - 1) / kernel.Lanes
}

// Rows is the number of real rows of t.
func (f *Frame[T]) Rows(t Tensor) int { return f.Items * t.Rep }

// half says whether the last panel of t is at most half full.
func (f *Frame[T]) half(t Tensor) bool { return (f.Rows(t)-1)%kernel.Lanes < kernel.Lanes/2 }

// Stride is the distance between panels of t.
func (t Tensor) Stride() int { return t.Width * kernel.Lanes }

func capPanels(items, rep int) int { return (items*rep + kernel.Lanes - 1) / kernel.Lanes }

// V is the value of t, panel after panel.
func (f *Frame[T]) V(t Tensor) []T {
	b := &f.prog.bufs[t.id-1]
	return f.slab[b.off:][:capPanels(f.cap, b.rep)*b.width*kernel.Lanes]
}

// Sum is the accumulator t, or nil if nobody looks at it: no operation, output or backward pass.
func (f *Frame[T]) Sum(t Tensor) []T {
	if f.unseen[t.id-1] {
		return nil
	}
	return f.V(t)
}

// Differentiated says whether a backward pass follows, which wants what operations keep.
func (f *Frame[T]) Differentiated() bool { return f.backward }

// G is the cotangent of t.
func (f *Frame[T]) G(t Tensor) []T {
	b := &f.prog.bufs[t.id-1]
	if !b.grad {
		panic("ad: tensor without cotangent")
	}
	return f.grads[b.goff:][:capPanels(f.cap, b.rep)*b.width*kernel.Lanes]
}

// W is the value of a parameter, rows of p.LD.
func (f *Frame[T]) W(p *Param) []T { return f.prog.Params.W[p.Off:][:p.Size()] }

// DW is where the gradient of a parameter is added.
func (f *Frame[T]) DW(p *Param) []T {
	dw, fresh := f.FreshDW(p)
	if fresh {
		clear(dw)
	}
	return dw
}

// FreshDW is DW for an operation that computes all of a gradient that may move: where it is fresh, what is there has to be overwritten.
func (f *Frame[T]) FreshDW(p *Param) (dw []T, fresh bool) {
	if fresh = f.spent[p.index]; fresh {
		f.spent[p.index] = false
	}
	return f.dw[p.Off:][:p.Size()], fresh
}

// Temp returns at least n numbers of scratch that live until the operation returns. Their content is arbitrary.
func (f *Frame[T]) Temp(n int) []T { return f.temp.take(n) }

// Temp64 is Temp in float64, for small exact work.
func (f *Frame[T]) Temp64(n int) []float64 { return f.wide.take(n)[:n] }

func (f *Frame[T]) newOperation() { f.temp.used, f.wide.used, f.pairs.used = 0, 0, 0 }

type scratch[T any] struct {
	slab []T
	used int
}

func (s *scratch[T]) take(n int) []T {
	n = roundUp(n, align)
	if s.used+n > len(s.slab) {
		s.slab = make([]T, 2*(s.used+n)) // only while warming up: what was handed out before stays alive in its old slab
		s.used = 0
	}
	t := s.slab[s.used:][:n]
	s.used += n
	return t
}

// AddLoss adds v to a loss of this tile.
func (f *Frame[T]) AddLoss(slot int, v float64) { f.losses[slot] += v }

// A Source gives the rows of an input. Row r of the batch is Data[Index[r]·width:], or Data[r·width:] without an Index. Fill, if not nil,
// is called instead: it writes the rows of items [first, first+n) row-major into dst (n·rep·width); it must depend on its arguments alone.
type Source[T kernel.Float] struct {
	Data  []T
	Index []int32
	Fill  func(dst []T, first, n int)
}

// A Sink receives a tensor's rows, row-major (N·rep, width).
type Sink[T kernel.Float] struct {
	Tensor Tensor
	Data   []T
}

// A Run is one pass over a batch of N items.
type Run[T kernel.Float] struct {
	N        int
	Inputs   []Source[T]
	Outputs  []Sink[T]
	Backward bool      // forward and backward tile by tile; losses inside the program
	Keep     bool      // keep every tile's memory for Back
	Losses   []float64 // added up over tiles in order; length Program losses, may be nil
}

// An Exec runs a compiled program. Not safe for concurrent use.
type Exec[T kernel.Float] struct {
	prog   *Program[T]
	set    Settings
	pool   *Pool
	k      *kernel.Set[T]
	frames []*Frame[T] // one a worker, or one where workers share each tile
	kept   []*Frame[T] // one a tile
	fresh  [][]bool
	zero   []Tensor // cotangents that start at zero
	last   []int    // by tensor: its last use
	unseen []bool   // see Frame
	shards *Shards[T]
	tiles  [][]float64 // losses a tile
	run    *Run[T]
	back   Run[T]
	cot    []Sink[T]
	rows   [][]T // scratch of Fill, one a worker
	fwd    func(worker, task int)
	bwd    func(worker, task int)

	rounded map[*Param][]uint32 // see Frame
	team    *team[T]
}

// Compile fixes the memory of the program and how it runs. Parameters added later are not seen.
func (p *Program[T]) Compile(k *kernel.Set[T], pool *Pool, shards *Shards[T], s Settings) *Exec[T] {
	if shards != nil {
		s.Shards = len(shards.G)
	} else if s.Shards == 0 {
		s.Shards = 4
	}
	if s.Items == 0 {
		s.Items = p.tile(tileRows)
		if shards != nil && s.Shards == 1 {
			s.Items = p.tile(sharedTileRows)
		}
	}
	e := &Exec[T]{prog: p, set: s, pool: pool, k: k, shards: shards}
	e.last = p.lastUses()
	off, goff := p.place(s.Items, shards != nil, e.last)
	written := make([]bool, len(p.bufs)+1)
	e.fresh = make([][]bool, len(p.ops))
	for i := len(p.ops) - 1; i >= 0; i-- {
		in := p.ops[i].In()
		e.fresh[i] = make([]bool, len(in))
		for j, t := range in {
			if p.HasGrad(t) && !written[t.id] {
				e.fresh[i][j] = true
				written[t.id] = true
			}
		}
	}
	e.unseen = make([]bool, len(p.bufs))
	for i := range p.bufs {
		if b := p.bufs[i]; b.grad && !written[i+1] {
			e.zero = append(e.zero, Tensor{id: i + 1, Width: b.width, Rep: b.rep})
		}
	}
	e.frames = make([]*Frame[T], pool.Workers())
	if s.Shards == 1 {
		e.frames = e.frames[:1]
	}
	e.rows = make([][]T, pool.Workers())
	e.fwd, e.bwd = e.forwardShard, e.backwardShard
	if s.BFloat16 {
		if shards != nil {
			panic("ad: products of bfloat16 numbers have no gradients")
		}
		e.roundWeights()
	}
	e.slabs(off, goff)
	e.team = e.newTeam()
	return e
}

// tileRows is the least number of rows of a default tile: fewer would stream the weights and their gradients more often, more would not stay
// in the level-2 cache.
const tileRows = 128

// sharedTileRows is that of a tile which all workers share to train a large network: weights and their gradients come from memory, and it is
// the work between two of their journeys that counts.
const sharedTileRows = 2048

// tile is the number of items that makes at least rows rows, up to four times as many where panels would be padded by over 2 %.
func (p *Program[T]) tile(rows int) int {
	rep := 1
	for _, t := range p.inputs {
		rep = max(rep, t.Rep)
	}
	least := (rows + rep - 1) / rep
	best, waste := least, 1.0
	for n := least; n <= 4*least && waste > 0.02; n++ {
		padded := roundUp(n*rep, kernel.Lanes)
		if w := 1 - float64(n*rep)/float64(padded); w < waste-1e-9 {
			best, waste = n, w
		}
	}
	return best
}

func (e *Exec[T]) slabs(off, goff int) {
	for i := range e.frames {
		e.frames[i] = e.frame(off, goff)
	}
}

func (e *Exec[T]) frame(off, goff int) *Frame[T] {
	return &Frame[T]{K: e.k, prog: e.prog, cap: e.set.Items, slab: kernel.Slab[T](off), grads: kernel.Slab[T](goff), unseen: e.unseen, rounded: e.rounded}
}

func (e *Exec[T]) tileCount(n int) int { return (n + e.set.Items - 1) / e.set.Items }

// shardOf is the range of tiles of shard s.
func (e *Exec[T]) shardOf(s, tiles int) (lo, hi int) {
	return tiles * s / e.set.Shards, tiles * (s + 1) / e.set.Shards
}

// Run executes a pass. It makes no garbage once the buffers have their size.
func (e *Exec[T]) Run(r *Run[T]) {
	if len(r.Inputs) != len(e.prog.inputs) {
		panic("ad: wrong number of inputs")
	}
	e.run = r
	tiles := e.tileCount(r.N)
	for len(e.tiles) < tiles {
		e.tiles = append(e.tiles, make([]float64, e.prog.losses))
	}
	if r.Keep {
		for len(e.kept) < tiles {
			e.kept = append(e.kept, e.frame(len(e.frames[0].slab), len(e.frames[0].grads)))
		}
	}
	if r.Backward && e.shards == nil {
		panic("ad: backward without gradient shards")
	}
	for i := range e.unseen {
		e.unseen[i] = e.prog.bufs[i].sum && !e.prog.bufs[i].read && !r.Backward && !r.Keep
	}
	for _, o := range r.Outputs {
		e.unseen[o.Tensor.id-1] = false
		if e.shards == nil && e.last[o.Tensor.id-1] != forever {
			panic("ad: output of a tensor that operations read, without gradients")
		}
	}
	if e.shared() || tiles < e.pool.Workers() && !r.Backward && !r.Keep {
		e.runTogether(tiles)
	} else {
		e.pool.Run(e.set.Shards, e.fwd)
	}
	e.sumLosses(tiles)
	e.run = nil
}

func (e *Exec[T]) sumLosses(tiles int) {
	for i := range e.run.Losses {
		for _, l := range e.tiles[:tiles] {
			e.run.Losses[i] += l[i]
		}
	}
}

func (e *Exec[T]) forwardShard(worker, shard int) {
	lo, hi := e.shardOf(shard, e.tileCount(e.run.N))
	for t := lo; t < hi; t++ {
		f := e.frames[worker]
		if e.run.Keep {
			f = e.kept[t]
		}
		e.begin(f, t, worker)
		for _, op := range e.prog.ops {
			f.newOperation()
			op.Forward(f)
		}
		e.deliver(f)
		if e.run.Backward {
			e.beginBack(f, shard)
			e.backward(f)
		}
	}
}

// begin gives a frame the inputs of a tile.
func (e *Exec[T]) begin(f *Frame[T], tile, worker int) {
	f.losses, f.backward = e.tiles[tile], e.run.Backward || e.run.Keep
	clear(f.losses)
	e.load(f, tile, worker)
}

// beginBack gives a frame the shard for its gradients, and cotangents that start at zero.
func (e *Exec[T]) beginBack(f *Frame[T], shard int) {
	f.dw, f.spent = e.shards.G[shard], e.shards.spent[shard]
	for _, z := range e.zero {
		clear(f.G(z))
	}
}

// deliver writes the outputs of a tile.
func (e *Exec[T]) deliver(f *Frame[T]) {
	for _, o := range e.run.Outputs {
		unpack(o.Data[f.First*o.Tensor.Rep*o.Tensor.Width:], f.V(o.Tensor), o.Tensor.Width, f.Rows(o.Tensor))
	}
}

func (e *Exec[T]) backward(f *Frame[T]) {
	for i := len(e.prog.ops) - 1; i >= 0; i-- {
		f.newOperation()
		e.prog.ops[i].Backward(f, e.fresh[i])
	}
}

// Back runs the backward pass of the last Run with Keep, from cotangents of tensors that no operation reads. A cotangent's rows are
// row-major like a Sink's.
func (e *Exec[T]) Back(n int, cotangents []Sink[T]) {
	e.cot = cotangents
	e.back.N = n
	e.run = &e.back
	if e.shared() {
		e.shards.Settle(e.pool)
		for t := range e.tileCount(n) {
			e.beginKept(t, 0)
			e.backwardTogether(e.kept[t])
		}
	} else {
		e.pool.Run(e.set.Shards, e.bwd)
	}
	e.cot, e.run = nil, nil
}

func (e *Exec[T]) backwardShard(_, shard int) {
	lo, hi := e.shardOf(shard, e.tileCount(e.run.N))
	for t := lo; t < hi; t++ {
		e.beginKept(t, shard)
		e.backward(e.kept[t])
	}
}

// beginKept gives the frame of a kept tile the cotangents of Back.
func (e *Exec[T]) beginKept(tile, shard int) {
	f := e.kept[tile]
	e.beginBack(f, shard)
	for _, c := range e.cot {
		pack(f.G(c.Tensor), c.Data[f.First*c.Tensor.Rep*c.Tensor.Width:], nil, c.Tensor.Width, f.Rows(c.Tensor))
	}
}

// InputGrad copies the cotangent of a DiffInput after a kept Run and Back.
func (e *Exec[T]) InputGrad(n int, s Sink[T]) {
	for t := range e.tileCount(n) {
		f := e.kept[t]
		unpack(s.Data[f.First*s.Tensor.Rep*s.Tensor.Width:], f.G(s.Tensor), s.Tensor.Width, f.Rows(s.Tensor))
	}
}

func (e *Exec[T]) load(f *Frame[T], tile, worker int) {
	f.First = tile * e.set.Items
	f.Items = min(e.run.N-f.First, e.set.Items)
	for i := range e.prog.bufs {
		if b := e.prog.bufs[i]; b.sum {
			clear(f.V(Tensor{id: i + 1, Width: 1, Rep: b.rep}))
		}
	}
	for i, in := range e.prog.inputs {
		src := e.run.Inputs[i]
		n := f.Rows(in)
		switch {
		case src.Fill != nil:
			need := e.set.Items * in.Rep * in.Width
			if len(e.rows[worker]) < need {
				e.rows[worker] = make([]T, need)
			}
			dst := e.rows[worker][:n*in.Width]
			src.Fill(dst, f.First, f.Items)
			pack(f.V(in), dst, nil, in.Width, n)
		case src.Index != nil:
			if in.Rep == 1 {
				pack(f.V(in), src.Data, src.Index[f.First:], in.Width, n)
			} else {
				packItems(f.V(in), src.Data, src.Index[f.First:], in.Width, in.Rep, f.Items)
			}
		default:
			pack(f.V(in), src.Data[f.First*in.Rep*in.Width:], nil, in.Width, n)
		}
	}
}

// pack writes n rows into panels; the rest of the last panel gets zeros.
func pack[T kernel.Float](dst, src []T, index []int32, width, n int) {
	for r := range roundUp(n, kernel.Lanes) {
		d := dst[r/kernel.Lanes*width*kernel.Lanes+r%kernel.Lanes:]
		if r >= n {
			for u := range width {
				d[u*kernel.Lanes] = 0
			}
			continue
		}
		k := r
		if index != nil {
			k = int(index[r])
		}
		for u, v := range src[k*width : (k+1)*width] {
			d[u*kernel.Lanes] = v
		}
	}
}

func packItems[T kernel.Float](dst, src []T, index []int32, width, rep, items int) {
	n := items * rep
	for r := range roundUp(n, kernel.Lanes) {
		d := dst[r/kernel.Lanes*width*kernel.Lanes+r%kernel.Lanes:]
		if r >= n {
			for u := range width {
				d[u*kernel.Lanes] = 0
			}
			continue
		}
		k := int(index[r/rep])*rep + r%rep
		for u, v := range src[k*width : (k+1)*width] {
			d[u*kernel.Lanes] = v
		}
	}
}

func unpack[T kernel.Float](dst, src []T, width, n int) {
	for r := range n {
		s := src[r/kernel.Lanes*width*kernel.Lanes+r%kernel.Lanes:]
		d := dst[r*width:][:width]
		for u := range d {
			d[u] = s[u*kernel.Lanes]
		}
	}
}
