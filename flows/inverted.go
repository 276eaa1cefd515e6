package flows

// Inverted runs a bijector the other way round.
type Inverted[T Float] struct{ Bijector[T] }

// Forward records the member's Inverse.
func (i Inverted[T]) Forward(p *Program[T], x, c, ladj Tensor) Tensor {
	return i.Bijector.Inverse(p, x, c, ladj)
}

// Inverse records the member's Forward.
func (i Inverted[T]) Inverse(p *Program[T], z, c, ladj Tensor) Tensor {
	return i.Bijector.Forward(p, z, c, ladj)
}

// NewIAF returns an inverse autoregressive flow of affine maps (arXiv 1606.04934): drawing is one plain pass, the density an incremental
// one.
func NewIAF[T Float](ps *Params[T], s Settings) (*Flow[T], error) {
	fl, err := NewMAF(ps, s)
	if err != nil {
		return nil, err
	}
	for i, b := range fl.Bijectors {
		fl.Bijectors[i] = Inverted[T]{b}
	}
	return fl, nil
}

// NewRealNVP returns a flow of affine couplings (arXiv 1605.08803).
func NewRealNVP[T Float](ps *Params[T], s Settings) (*Flow[T], error) {
	s.Passes = 2
	return NewMAF(ps, s)
}
