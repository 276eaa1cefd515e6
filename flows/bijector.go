package flows

import (
	"hepmorph/internal/ad"
	"hepmorph/internal/kernel"
	"hepmorph/internal/rng"
)

// Float is the element type of a flow: float32 in the product, float64 in checks.
type Float = kernel.Float

// Names of the engine under which code outside this module can write a bijector: a Program is a list of Ops over Tensors and Params, each of
// which runs on the Frame of one tile with a set of Kernels; a Pool has the workers; a Key names a family of addressed random numbers.
type (
	Key              = rng.Key
	Pool             = ad.Pool
	Tensor           = ad.Tensor
	Param            = ad.Param
	Program[T Float] = ad.Program[T]
	Params[T Float]  = ad.Params[T]
	Op[T Float]      = ad.Op[T]
	Frame[T Float]   = ad.Frame[T]
	Kernels[T Float] = kernel.Set[T]
)

// NewParams returns an empty store of parameters.
func NewParams[T Float]() *Params[T] { return ad.NewParams[T]() }

// NewPool starts workers, one for every core that is granted if threads is 0. Close ends them.
func NewPool(threads int) *Pool { return ad.NewPool(threads) }

// NewKey derives a key from a seed and the name of its purpose.
func NewKey(seed uint64, name string) Key { return rng.NewKey(seed, name) }

// Best returns the fastest kernels of this processor, Portable those in plain Go, which also exist in float64.
func Best() *Kernels[float32] { return kernel.Best() }

// Portable returns the kernels in plain Go.
func Portable[T Float]() *Kernels[T] { return kernel.Portable[T]() }

// A Bijector records an invertible map of rows of D features, given a context of C numbers. Forward takes x, Inverse takes z; both
// add the log-det of the direction run to ladj, an accumulator of one unit. c may be the zero Tensor if ContextDim is 0. A Bijector may be
// recorded any number of times, in any program over the same parameters.
type Bijector[T Float] interface {
	Dim() int
	ContextDim() int
	Forward(p *Program[T], x, c, ladj Tensor) Tensor
	Inverse(p *Program[T], z, c, ladj Tensor) Tensor
}

// A Chain runs bijectors one after another; the first is next to the data.
type Chain[T Float] []Bijector[T]

// Dim is the number of features.
func (ch Chain[T]) Dim() int { return ch[0].Dim() }

// ContextDim is the number of context numbers that any member takes.
func (ch Chain[T]) ContextDim() int {
	n := 0
	for _, b := range ch {
		n = max(n, b.ContextDim())
	}
	return n
}

// Forward records all members in order.
func (ch Chain[T]) Forward(p *Program[T], x, c, ladj Tensor) Tensor {
	for _, b := range ch {
		x = b.Forward(p, x, c, ladj)
	}
	return x
}

// Inverse records the members' inverses in reverse order.
func (ch Chain[T]) Inverse(p *Program[T], z, c, ladj Tensor) Tensor {
	for i := len(ch) - 1; i >= 0; i-- {
		z = ch[i].Inverse(p, z, c, ladj)
	}
	return z
}
