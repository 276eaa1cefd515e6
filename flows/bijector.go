package flows

import (
	"hepmorph/internal/ad"
	"hepmorph/internal/kernel"
	"hepmorph/internal/rng"
)

// Float is the element type of a flow: float32 in the product, float64 in checks.
type Float = kernel.Float

// Program, Tensor and Params are the engine's, so that a bijector can be written outside this module. A Key names a family of addressed
// random numbers.
type (
	Key              = rng.Key
	Program[T Float] = ad.Program[T]
	Tensor           = ad.Tensor
	Params[T Float]  = ad.Params[T]
)

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
