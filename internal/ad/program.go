package ad

import "hepmorph/internal/kernel"

// A Tensor is a value of a program: Width units for each row, Rep rows an item. The zero Tensor is none.
type Tensor struct {
	id    int // 1 + index of its buffer
	Width int
	Rep   int
}

// None says whether t is the zero Tensor.
func (t Tensor) None() bool { return t.id == 0 }

// An Op is one fused operation of a program. In lists the tensors that Forward reads; it may leave out inputs without cotangents, and tensors that
// were made for this operation. Forward overwrites its outputs. Backward reads the cotangents of its outputs and
// writes those of the tensors in In: where fresh is true nothing is there yet and it overwrites, elsewhere it adds. Weight gradients are
// always added, into Frame.DW.
type Op[T kernel.Float] interface {
	In() []Tensor
	Forward(f *Frame[T])
	Backward(f *Frame[T], fresh []bool)
}

type buffer struct {
	width, rep int
	grad       bool // has a cotangent
	sum        bool // an accumulator: zeroed before each forward, operations add to it
	born       int  // number of the operation that makes it
	read       bool // by an operation (set by Compile)
	off, goff  int  // in the frame's memory (set by Compile)
}

// A Program is a list of operations over tensors and parameters. Recording is not safe for concurrent use.
type Program[T kernel.Float] struct {
	Params *Params[T]
	bufs   []buffer
	ops    []Op[T]
	inputs []Tensor
	losses int
}

// NewProgram starts a program over the parameters ps, which several programs may share.
func NewProgram[T kernel.Float](ps *Params[T]) *Program[T] { return &Program[T]{Params: ps} }

func (p *Program[T]) tensor(b buffer) Tensor {
	b.born = len(p.ops)
	p.bufs = append(p.bufs, b)
	return Tensor{id: len(p.bufs), Width: b.width, Rep: b.rep}
}

// Input declares the next input: width numbers an item, filled from a Source. It has no cotangent.
func (p *Program[T]) Input(width int) Tensor { return p.InputRows(width, 1) }

// InputRows declares an input with rep rows an item.
func (p *Program[T]) InputRows(width, rep int) Tensor {
	t := p.tensor(buffer{width: width, rep: rep})
	p.inputs = append(p.inputs, t)
	return t
}

// DiffInput declares an input with a cotangent, for gradients with respect to data.
func (p *Program[T]) DiffInput(width, rep int) Tensor {
	t := p.tensor(buffer{width: width, rep: rep, grad: true})
	p.inputs = append(p.inputs, t)
	return t
}

// New makes an output tensor for an operation.
func (p *Program[T]) New(width, rep int) Tensor {
	return p.tensor(buffer{width: width, rep: rep, grad: true})
}

// Keep makes a tensor without cotangent: what an operation keeps between Forward and Backward.
func (p *Program[T]) Keep(width, rep int) Tensor { return p.tensor(buffer{width: width, rep: rep}) }

// Sum makes an accumulator of one unit: zero when a forward pass starts, operations add to it. All of them see the same cotangent. It
// carries log-determinants.
func (p *Program[T]) Sum(rep int) Tensor {
	return p.tensor(buffer{width: 1, rep: rep, grad: true, sum: true})
}

// Add appends an operation.
func (p *Program[T]) Add(op Op[T]) { p.ops = append(p.ops, op) }

// Loss reserves a slot for a scalar loss; operations add to it through Frame.AddLoss.
func (p *Program[T]) Loss() int {
	p.losses++
	return p.losses - 1
}

// Losses is the number of reserved slots.
func (p *Program[T]) Losses() int { return p.losses }

// HasGrad says whether t carries a cotangent.
func (p *Program[T]) HasGrad(t Tensor) bool { return !t.None() && p.bufs[t.id-1].grad }
