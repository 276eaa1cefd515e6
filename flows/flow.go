package flows

import (
	"fmt"

	"hepmorph/internal/ad"
	"hepmorph/internal/kernel"
	"hepmorph/internal/nn"
)

// A Flow is a chain of bijectors over a base distribution: ln p(x|c) = ln base(f(x;c)) + ln|det df/dx|.
type Flow[T Float] struct {
	Params    *Params[T]
	Bijectors Chain[T]
	Base      Base[T] // nil: standard normal
}

// Dim and ContextDim are the numbers of features and of context.
func (fl *Flow[T]) Dim() int        { return fl.Bijectors.Dim() }
func (fl *Flow[T]) ContextDim() int { return fl.Bijectors.ContextDim() }

// Settings describe a named flow. The zero value of a field is its default.
type Settings struct {
	Name       string // prefix of the parameters' names; default "flow"
	Features   int    // D >= 1
	Context    int    // C >= 0
	Transforms int    // default 6
	Hidden     []int  // default 128, 128
	Bins       int    // of splines; default 8
	Bound      float64
	// Passes is the number of groups: 0 means one a feature (autoregressive), 2 a coupling.
	Passes int
	// Circular makes every feature an angle in [−bound, bound): circular splines with learned rotations between them, conditioners that see
	// cosine and sine, a uniform base (arXiv 2002.02428).
	Circular bool
	// ZeroContext lists context numbers on which the flow does not depend when it starts (the domain switch).
	ZeroContext []int
	// ZeroOutput starts as the identity.
	ZeroOutput bool
	Seed       uint64
}

func (s Settings) withDefaults() (Settings, error) {
	if s.Name == "" {
		s.Name = "flow"
	}
	if s.Transforms == 0 {
		s.Transforms = 6
	}
	if s.Hidden == nil {
		s.Hidden = []int{128, 128}
	}
	if s.Bins == 0 {
		s.Bins = 8
	}
	if s.Bound == 0 {
		s.Bound = 5
	}
	if s.Passes == 0 {
		s.Passes = s.Features
	}
	switch {
	case s.Features < 1:
		return s, fmt.Errorf("flows: could not make a flow of %d features (at least 1)", s.Features)
	case s.Context < 0 || s.Transforms < 1 || s.Passes < 1 || s.Bins < 2 || s.Bins > 32 || !(s.Bound > 0) || len(s.Hidden) > 8:
		return s, fmt.Errorf("flows: could not make a flow with context %d, %d transforms, %d passes, %d bins on ±%g, %d hidden layers", s.Context, s.Transforms, s.Passes, s.Bins, s.Bound, len(s.Hidden))
	}
	for _, h := range s.Hidden {
		if h < 1 {
			return s, fmt.Errorf("flows: could not make a hidden layer of %d units", h)
		}
	}
	s.Passes = min(s.Passes, s.Features)
	return s, nil
}

// groups gives the group of each feature for the given pass direction (arXiv 1705.07057: the order alternates between transforms).
func groups(features, passes int, reverse bool) []int {
	g := make([]int, features)
	size := (features + passes - 1) / passes
	for i := range g {
		k := i
		if reverse {
			k = features - 1 - i
		}
		g[i] = k / size
	}
	return g
}

// NewMAF returns a masked autoregressive flow of affine maps (arXiv 1705.07057).
func NewMAF[T Float](ps *Params[T], s Settings) (*Flow[T], error) {
	return newAutoregressive[T](ps, s, func(Settings) Univariate[T] { return Affine[T]{} })
}

// NewNSF returns a neural spline flow (arXiv 1906.04032): autoregressive, or a coupling with Passes 2. Its features are numbers, or with
// Circular all of them angles.
func NewNSF[T Float](ps *Params[T], s Settings) (*Flow[T], error) {
	return newAutoregressive[T](ps, s, func(s Settings) Univariate[T] {
		return Spline[T]{kernel.Spline{Bins: s.Bins, Bound: s.Bound, Circular: s.Circular}}
	})
}

func newAutoregressive[T Float](ps *Params[T], s Settings, mapping func(Settings) Univariate[T]) (*Flow[T], error) {
	s, err := s.withDefaults()
	if err != nil {
		return nil, err
	}
	fl := &Flow[T]{Params: ps}
	for t := range s.Transforms {
		m := mapping(s)
		a := &Autoregressive[T]{Map: m}
		net := nn.MADESettings{
			Name: fmt.Sprintf("%s.%d", s.Name, t), Context: s.Context, Group: groups(s.Features, s.Passes, t%2 == 1), Params: m.Params(),
			Hidden: s.Hidden, Seed: s.Seed, ZeroContext: s.ZeroContext, ZeroOutput: s.ZeroOutput,
		}
		if s.Circular {
			net.Embed, a.Circle = 2, s.Bound
			r, err := NewRotation(ps, net.Name, s.Features, s.Bound)
			if err != nil {
				return nil, err
			}
			fl.Bijectors = append(fl.Bijectors, r)
		}
		a.Net = nn.NewMADE(ps, net)
		fl.Bijectors = append(fl.Bijectors, a)
	}
	if s.Circular {
		fl.Base = Uniform[T]{Bound: s.Bound}
	}
	return fl, nil
}

// NLL records the training loss Σ_i w_i·(−ln p(x_i|c_i)) and returns its slot.
func (fl *Flow[T]) NLL(p *Program[T], x, c, w Tensor) int {
	ladj := p.Sum(1)
	z := fl.Bijectors.Forward(p, x, c, ladj)
	if fl.Base == nil {
		return p.GaussianNLL(z, ladj, w)
	}
	return p.WeightedSum(fl.Base.LogProb(p, z, ladj), w, -1)
}

func (fl *Flow[T]) base() Base[T] {
	if fl.Base == nil {
		return Normal[T]{}
	}
	return fl.Base
}

// An Evaluator runs a flow on rows, in tiles on several workers. Not safe for concurrent use; the flow's parameters must not change while
// it runs.
type Evaluator[T Float] struct {
	fl                      *Flow[T]
	encode, decode, density *ad.Exec[T]
	z, zl, x, xl, lp        Tensor
	noise                   func(dst []T, first, n int)
	key                     Key
	first                   uint64
	run                     ad.Run[T]
	in                      [2]ad.Source[T]
	out                     [2]ad.Sink[T]
}

// evaluatorShards is the number of pieces that rows are split into for the workers.
const evaluatorShards = 64

// NewEvaluator compiles the flow's passes for a set of kernels and a pool of workers.
func NewEvaluator[T Float](fl *Flow[T], k *kernel.Set[T], pool *ad.Pool) *Evaluator[T] {
	ev := &Evaluator[T]{fl: fl}
	set := ad.Settings{Shards: evaluatorShards}
	p := ad.NewProgram(fl.Params)
	x, c := p.Input(fl.Dim()), ev.context(p)
	ev.zl = p.Sum(1)
	ev.z = fl.Bijectors.Forward(p, x, c, ev.zl)
	ev.encode = p.Compile(k, pool, nil, set)

	p = ad.NewProgram(fl.Params)
	x, c = p.Input(fl.Dim()), ev.context(p)
	ladj := p.Sum(1)
	ev.lp = fl.base().LogProb(p, fl.Bijectors.Forward(p, x, c, ladj), ladj)
	ev.density = p.Compile(k, pool, nil, set)

	p = ad.NewProgram(fl.Params)
	z, c := p.Input(fl.Dim()), ev.context(p)
	ev.xl = p.Sum(1)
	ev.x = fl.Bijectors.Inverse(p, z, c, ev.xl)
	ev.decode = p.Compile(k, pool, nil, set)

	base, d := fl.base(), fl.Dim()
	ev.noise = func(dst []T, first, n int) {
		for i := range n {
			base.Draw(ev.key, ev.first+uint64(first+i), dst[i*d:(i+1)*d])
		}
	}
	return ev
}

func (ev *Evaluator[T]) context(p *Program[T]) Tensor {
	if ev.fl.ContextDim() == 0 {
		return Tensor{}
	}
	return p.Input(ev.fl.ContextDim())
}

func (ev *Evaluator[T]) do(e *ad.Exec[T], n int, x ad.Source[T], c []T, out ...ad.Sink[T]) {
	ev.in = [2]ad.Source[T]{x, {Data: c}}
	ev.run = ad.Run[T]{N: n, Inputs: ev.in[:1], Outputs: ev.out[:0]}
	if ev.fl.ContextDim() > 0 {
		ev.run.Inputs = ev.in[:]
	}
	for _, o := range out {
		if o.Data != nil {
			ev.run.Outputs = append(ev.run.Outputs, o)
		}
	}
	e.Run(&ev.run)
	ev.in, ev.out = [2]ad.Source[T]{}, [2]ad.Sink[T]{}
}

// Encode writes z = f(x; c) for n rows and, if ladj is not nil, ln|det dz/dx|.
func (ev *Evaluator[T]) Encode(n int, z, ladj, x, c []T) {
	ev.do(ev.encode, n, ad.Source[T]{Data: x}, c, ad.Sink[T]{Tensor: ev.z, Data: z}, ad.Sink[T]{Tensor: ev.zl, Data: ladj})
}

// Decode writes x with f(x; c) = z for n rows and, if ladj is not nil, ln|det dx/dz|.
func (ev *Evaluator[T]) Decode(n int, x, ladj, z, c []T) {
	ev.do(ev.decode, n, ad.Source[T]{Data: z}, c, ad.Sink[T]{Tensor: ev.x, Data: x}, ad.Sink[T]{Tensor: ev.xl, Data: ladj})
}

// LogProb writes ln p(x|c) for n rows.
func (ev *Evaluator[T]) LogProb(n int, out, x, c []T) {
	ev.do(ev.density, n, ad.Source[T]{Data: x}, c, ad.Sink[T]{Tensor: ev.lp, Data: out})
}

// Sample draws n rows given their contexts. Row i depends on (key, first+i) and c alone.
func (ev *Evaluator[T]) Sample(n int, x, c []T, key Key, first uint64) {
	ev.key, ev.first = key, first
	ev.do(ev.decode, n, ad.Source[T]{Fill: ev.noise}, c, ad.Sink[T]{Tensor: ev.x, Data: x})
}
