// Package nn has the layers of networks, their initialisation, optimizers and schedules, on package ad.
package nn

import (
	"fmt"
	"iter"
	"math"

	"hepmorph/internal/ad"
	"hepmorph/internal/kernel"
)

// A MADE is a masked multilayer perceptron with ReLU units (arXiv 1502.03509): from a context of C numbers and D features in G groups it
// computes P parameters for each feature, those of group g from the context and the groups before g alone. G = D is autoregressive, G = 2 a
// coupling, G = 1 makes the parameters depend on the context only.
//
// Units are sorted by degree (the number of groups a unit may see), so that every mask is a range: a product skips what the mask makes zero,
// and the inverse of a flow computes group by group the rows that just became known. Inside, features stand in the order of their groups.
type MADE[T kernel.Float] struct {
	C, D, P int
	Embed   int // numbers that stand for a feature at the input
	Groups  int
	Feature []int // feature at each position
	start   []int // first position of each group; Groups+1 entries
	layers  []maskedLayer
	names   string
}

type maskedLayer struct {
	w, b      *ad.Param
	in, out   int
	degree    []int // of each output unit, ascending
	first     []int // first output unit of degree >= g, g = 0..Groups
	use       []int // inputs that units of degree g use: [0, use[g])
	spans     []kernel.Span
	backSpans []kernel.Span // for inputs, the outputs that use them
}

// MADESettings describe a conditioner.
type MADESettings struct {
	Name    string
	Context int
	Group   []int // group of each feature, 0..G-1
	Params  int   // numbers a feature
	Embed   int   // numbers that stand for each feature at the input; default 1, the feature itself
	Hidden  []int // units of each hidden layer
	Seed    uint64
	// ZeroContext lists context numbers whose first-layer weights start at zero: the output does not depend on them yet.
	ZeroContext []int
	// ZeroOutput starts the last layer at zero.
	ZeroOutput bool
}

// NewMADE adds the parameters of a conditioner to ps and initialises them uniformly in ±1/√(inputs), as PyTorch's linear layers.
func NewMADE[T kernel.Float](ps *ad.Params[T], s MADESettings) *MADE[T] {
	m := &MADE[T]{C: s.Context, D: len(s.Group), P: s.Params, Embed: max(s.Embed, 1), names: s.Name}
	for _, g := range s.Group {
		m.Groups = max(m.Groups, g+1)
	}
	for g := range m.Groups {
		m.start = append(m.start, len(m.Feature))
		for f, k := range s.Group {
			if k == g {
				m.Feature = append(m.Feature, f)
			}
		}
		if len(m.Feature) == m.start[g] {
			panic("nn: a group without features")
		}
	}
	m.start = append(m.start, m.D)

	inDegree := make([]int, m.C, m.C+m.D*m.Embed) // an input may be used by units of degree >= its own
	var group []int                               // of each position
	for g := range m.Groups {
		for range m.start[g+1] - m.start[g] {
			for range m.Embed {
				inDegree = append(inDegree, g+1)
			}
			group = append(group, g)
		}
	}
	for l, n := range append(append([]int(nil), s.Hidden...), m.D*m.P) {
		var degree []int
		if l < len(s.Hidden) {
			for i := range UnitOrder(n, m.Groups, m.C) {
				degree = append(degree, i)
			}
		} else {
			for i := range n {
				degree = append(degree, group[i/m.P])
			}
		}
		m.layers = append(m.layers, newMaskedLayer(ps, fmt.Sprintf("%s.%d", s.Name, l), inDegree, degree, m.Groups, s.Seed))
		inDegree = degree
	}
	for _, c := range s.ZeroContext {
		for _, at := range m.ContextWeights(c) {
			ps.W[at] = 0
		}
	}
	if s.ZeroOutput {
		last := m.layers[len(m.layers)-1]
		ps.Constant(last.w, 0)
		ps.Constant(last.b, 0)
	}
	return m
}

// UnitOrder yields the degree of each unit of a hidden layer in order, and the unit's number in a layer whose units cycle through the
// degrees, as in other libraries. Degree 0, which sees the context alone, has units only where there is context (or nothing else).
func UnitOrder(units, groups, context int) iter.Seq2[int, int] {
	base := 0
	if context == 0 && groups > 1 {
		base = 1
	}
	return func(yield func(degree, cyclic int) bool) {
		for d := base; d < groups; d++ {
			for j := d - base; j < units; j += groups - base {
				if !yield(d, j) {
					return
				}
			}
		}
	}
}

func newMaskedLayer[T kernel.Float](ps *ad.Params[T], name string, in, out []int, groups int, seed uint64) maskedLayer {
	l := maskedLayer{in: len(in), out: len(out), degree: out}
	l.w = ps.Matrix(name+".weight", l.out, l.in)
	l.b = ps.Vector(name+".bias", l.out)
	ps.SetMask(l.w, func(i, j int) bool { return in[j] <= out[i] })
	bound := 1 / math.Sqrt(float64(max(l.in, 1)))
	ps.Uniform(l.w, bound, seed)
	ps.Uniform(l.b, bound, seed)
	for g := range groups + 1 {
		n := 0
		for n < l.out && out[n] < g {
			n++
		}
		l.first = append(l.first, n)
		k := 0
		for k < l.in && in[k] <= g {
			k++
		}
		l.use = append(l.use, k)
	}
	l.spans = runs(l.out, func(i int) (lo, hi int) { return 0, l.use[out[i]] })
	l.backSpans = runs(l.in, func(j int) (lo, hi int) { return l.first[in[j]], l.out })
	return l
}

// tileCost is how many multiply-adds of a vector, of which a row of a panel has two, could be done while another tile of rows is begun.
const tileCost = 32

// runs puts n units, of which each uses a range of the summed index, into runs that share one: those of the same range, and others where what
// they would multiply with zeros costs less than the tiles that are saved.
func runs(n int, uses func(i int) (lo, hi int)) []kernel.Span {
	tiles := func(rows int32) int32 { return (rows + kernel.Block - 1) / kernel.Block }
	var spans []kernel.Span
	for i := range n {
		lo, hi := uses(i)
		next := kernel.Span{Lo: int32(lo), Hi: int32(hi), Rows: 1}
		if k := len(spans) - 1; k >= 0 && spans[k].Lo == next.Lo && spans[k].Hi == next.Hi {
			spans[k].Rows++
		} else {
			spans = append(spans, next)
		}
	}
	merged := spans[:0]
	for _, s := range spans {
		if k := len(merged) - 1; k >= 0 {
			last := merged[k]
			both := kernel.Span{Lo: min(last.Lo, s.Lo), Hi: max(last.Hi, s.Hi), Rows: last.Rows + s.Rows}
			work := func(s kernel.Span) int32 { return 2*s.Rows*(s.Hi-s.Lo) + tileCost*tiles(s.Rows) }
			if work(both) <= work(last)+work(s) {
				merged[k] = both
				continue
			}
		}
		merged = append(merged, s)
	}
	return merged
}

// Import replaces the parameters by those of a dense network whose hidden units stand in another order. Unit i of hidden layer l is unit
// hidden[l][i] there; input i is inputs[i] there; output row i is outputs[i] there. weight(l) is (out, in) row-major, bias(l) has out numbers.
func (m *MADE[T]) Import(ps *ad.Params[T], inputs []int, hidden [][]int, outputs []int, weight, bias func(layer int) []float32) error {
	in := inputs
	for l, layer := range m.layers {
		out := outputs
		if l < len(m.layers)-1 {
			out = hidden[l]
		}
		w, b := weight(l), bias(l)
		if len(w) != layer.out*layer.in || len(b) != layer.out {
			return fmt.Errorf("nn: could not import layer %d of %s: %d weights and %d biases, expected %d×%d and %d", l, m.names, len(w), len(b), layer.out, layer.in, layer.out)
		}
		for i := range layer.out {
			row := ps.Row(layer.w, i)
			for j := range row {
				row[j] = T(w[out[i]*layer.in+in[j]])
				if ps.Mask[layer.w.Off+i*layer.w.LD+j] == 0 {
					row[j] = 0
				}
			}
			ps.Row(layer.b, i)[0] = T(b[out[i]])
		}
		in = out
	}
	return nil
}

// ContextWeights are the places, in the vector of parameters, of the first layer's weights on context number c.
func (m *MADE[T]) ContextWeights(c int) []int {
	w := m.layers[0].w
	at := make([]int, w.Rows)
	for i := range at {
		at[i] = w.Off + i*w.LD + c
	}
	return at
}

// Layers is the number of linear layers, hidden ones and the output.
func (m *MADE[T]) Layers() int { return len(m.layers) }

// Degrees of the units of a hidden layer, ascending.
func (m *MADE[T]) Degrees(layer int) []int { return m.layers[layer].degree }

// Start is the first position of group g; Start(Groups) is D.
func (m *MADE[T]) Start(g int) int { return m.start[g] }

// State is what a MADE keeps in a program between forward and backward: its input (context, features in group order), hidden units
// and parameters.
type State struct {
	Input  ad.Tensor
	hidden []ad.Tensor
	Theta  ad.Tensor
}

// NewState reserves memory in a program.
func (m *MADE[T]) NewState(p *ad.Program[T]) State {
	s := State{Input: p.Keep(m.C+m.D*m.Embed, 1)}
	for _, l := range m.layers[:len(m.layers)-1] {
		s.hidden = append(s.hidden, p.Keep(l.out, 1))
	}
	s.Theta = p.Keep(m.D*m.P, 1)
	return s
}

// Fill copies the context and, if x is not nil, the features (in their own order) into the state's input. What stands for features that are
// embedded is the caller's to write, behind the context.
func (m *MADE[T]) Fill(f *ad.Frame[T], s State, c, x []T) {
	const n = kernel.Lanes
	in := f.V(s.Input)
	w := s.Input.Stride()
	for p := range f.Panels(s.Input) {
		copy(in[p*w:][:m.C*n], c[p*m.C*n:])
		if x == nil {
			continue
		}
		for i, k := range m.Feature {
			copy(in[p*w+(m.C+i)*n:][:n], x[(p*m.D+k)*n:])
		}
	}
}

func (m *MADE[T]) values(f *ad.Frame[T], s State, l int) ([]T, int) {
	t := s.Theta
	switch {
	case l < 0:
		t = s.Input
	case l < len(s.hidden):
		t = s.hidden[l]
	}
	return f.V(t), t.Stride()
}

// A Late says how to compute all parameters but the last of each feature: a map that needs few of these, and learns which from the others, computes
// them itself (see kernel.Slopes).
type Late struct {
	count int
	spans []kernel.Span // of the output layer, two a feature
	uses  []int32       // hidden units that a feature uses
}

// Late leaves away the last count parameters of each feature.
func (m *MADE[T]) Late(count int) *Late {
	last := &m.layers[len(m.layers)-1]
	l := &Late{count: count}
	for i := range m.D {
		uses := int32(last.use[last.degree[i*m.P]])
		l.uses = append(l.uses, uses)
		l.spans = append(l.spans, kernel.Span{Hi: uses, Rows: int32(m.P - count)}, kernel.Span{Lo: 1, Rows: int32(count)})
	}
	return l
}

// Slopes are the parameters that l leaves away, in scratch memory of the frame. Hidden units must be known before they are used.
func (m *MADE[T]) Slopes(f *ad.Frame[T], s State, l *Late) kernel.Slopes[T] {
	q := &m.layers[len(m.layers)-1]
	w, b := f.W(q.w), f.W(q.b)
	slopes := kernel.Slopes[T]{Step: (l.count + 1) * (1 + q.w.LD), Uses: l.uses}
	slopes.Hidden, slopes.Stride = m.values(f, s, len(m.layers)-2)
	slopes.Table = f.Temp(m.D * slopes.Step)
	for i, uses := range l.uses {
		row := (i+1)*m.P - l.count
		f.K.SlopeTable(slopes.Table[i*slopes.Step:], b[row:], w[row*q.w.LD:], q.w.LD, int(uses))
	}
	return slopes
}

// Forward computes all parameters from a filled state, but for what late leaves away if it is not nil.
func (m *MADE[T]) Forward(f *ad.Frame[T], s State, late *Late) {
	np := f.Panels(s.Input)
	for l := range m.layers {
		q := &m.layers[l]
		x, xs := m.values(f, s, l-1)
		y, ys := m.values(f, s, l)
		e := kernel.Epilogue[T]{Bias: f.W(q.b), Act: m.act(l)}
		spans := q.spans
		if late != nil && l == len(m.layers)-1 {
			spans = late.spans
		}
		f.K.Mul(y, ys, f.W(q.w), q.w.LD, 1, x, xs, q.out, q.in, np, spans, e)
	}
}

func (m *MADE[T]) act(l int) kernel.Act {
	if l < len(m.layers)-1 {
		return kernel.ReLU
	}
	return kernel.Identity
}

// ForwardGroups is Forward group by group, and calls known(g) when it has the parameters of group g, so that the features of that group are in the state
// before the parameters of the next.
func (m *MADE[T]) ForwardGroups(f *ad.Frame[T], s State, late *Late, known func(g int)) {
	type layer struct {
		x, y, w, b []T
		xs, ys     int
	}
	var layers [9]layer
	for l := range m.layers {
		q, v := &m.layers[l], &layers[l]
		v.x, v.xs = m.values(f, s, l-1)
		v.y, v.ys = m.values(f, s, l)
		v.w, v.b = f.W(q.w), f.W(q.b)
	}
	np := f.Panels(s.Input)
	for g := range m.Groups {
		for l := range m.layers {
			q, v := &m.layers[l], &layers[l]
			if lo, hi := q.first[g], q.first[g+1]; lo < hi {
				var spans []kernel.Span
				if late != nil && l == len(m.layers)-1 {
					spans = late.spans[2*m.start[g] : 2*m.start[g+1]]
				}
				f.K.Mul(v.y[lo*kernel.Lanes:], v.ys, v.w[lo*q.w.LD:], q.w.LD, 1, v.x, v.xs, hi-lo, q.use[g], np, spans, kernel.Epilogue[T]{Bias: v.b[lo:], Act: m.act(l)})
			}
		}
		known(g)
	}
}

// A Cotangent holds the gradients of a backward pass in scratch memory: of the parameters (to be filled by the caller), the hidden units and
// the input.
type Cotangent[T kernel.Float] struct {
	Theta []T // (D·P) units
	Input []T // (C+D·Embed) units
	hid   [8][]T
}

// NewCotangent takes scratch memory of the frame.
func (m *MADE[T]) NewCotangent(f *ad.Frame[T], s State) Cotangent[T] {
	np := f.Panels(s.Input)
	c := Cotangent[T]{Theta: f.Temp(np * s.Theta.Stride()), Input: f.Temp(np * s.Input.Stride())}
	for l, t := range s.hidden {
		c.hid[l] = f.Temp(np * t.Stride())
	}
	return c
}

func (m *MADE[T]) cotangent(c *Cotangent[T], s State, l int) ([]T, int) {
	switch {
	case l < 0:
		return c.Input, s.Input.Stride()
	case l < len(s.hidden):
		return c.hid[l], s.hidden[l].Stride()
	}
	return c.Theta, s.Theta.Stride()
}

// Backward takes c.Theta, adds the weight gradients and fills those parts of c.Input that are asked for.
func (m *MADE[T]) Backward(f *ad.Frame[T], s State, c *Cotangent[T], features, context bool) {
	np := f.Panels(s.Input)
	for l := len(m.layers) - 1; l >= 0; l-- {
		q := &m.layers[l]
		m.weights(f, s, c, l)
		gy, gys := m.cotangent(c, s, l)
		gx, gxs := m.cotangent(c, s, l-1)
		if l > 0 {
			h, hs := m.values(f, s, l-1)
			f.K.Mul(gx, gxs, f.W(q.w), 1, q.w.LD, gy, gys, q.in, q.out, np, q.backSpans, kernel.Epilogue[T]{Gate: h, GateStride: hs})
			continue
		}
		switch {
		case context:
			f.K.Mul(gx, gxs, f.W(q.w), 1, q.w.LD, gy, gys, q.in, q.out, np, q.backSpans, kernel.Epilogue[T]{})
		case features:
			f.K.Mul(gx[m.C*kernel.Lanes:], gxs, f.W(q.w)[m.C:], 1, q.w.LD, gy, gys, m.D*m.Embed, q.out, np, nil, kernel.Epilogue[T]{})
		}
	}
}

func (m *MADE[T]) weights(f *ad.Frame[T], s State, c *Cotangent[T], l int) {
	const n = kernel.Lanes
	np := f.Panels(s.Input)
	q := &m.layers[l]
	x, xs := m.values(f, s, l-1)
	gy, gys := m.cotangent(c, s, l)
	xt, ld := f.Transposed(x, xs, q.in, np)
	dw, fresh := f.FreshDW(q.w)
	f.K.GradW(dw, q.w.LD, gy, gys, xt, ld, n*ld, q.out, q.in, np, q.spans, !fresh)
	f.K.RowSum(f.DW(q.b), gy, gys, q.out, np)
}

// BackwardGroup carries the cotangents of the parameters of groups >= g down to the features of group g-1, in the mirror of ForwardGroups: it
// must be called for g = Groups-1, ..., 1 (and 0 before BackwardWeights, which needs the hidden units of every degree), each after c.Theta of
// group g was filled. Positions of group g-1 in c.Input are then complete.
func (m *MADE[T]) BackwardGroup(f *ad.Frame[T], s State, c *Cotangent[T], g int) {
	const n = kernel.Lanes
	np := f.Panels(s.Input)
	for l := len(m.layers) - 1; l >= 0; l-- {
		q := &m.layers[l]
		gy, gys := m.cotangent(c, s, l)
		gx, gxs := m.cotangent(c, s, l-1)
		lo, hi := 0, 0 // inputs of the layer to be done now
		if l > 0 {
			below := &m.layers[l-1]
			lo, hi = below.first[g], below.first[g+1]
		} else if g > 0 {
			lo, hi = m.C+m.start[g-1]*m.Embed, m.C+m.start[g]*m.Embed
		}
		if lo == hi {
			continue
		}
		from := q.first[g]
		if from == q.out { // fewer units than groups: none of this degree or above
			for p := range np {
				clear(gx[p*gxs+lo*n : p*gxs+hi*n])
			}
			continue
		}
		var e kernel.Epilogue[T]
		if l > 0 {
			h, hs := m.values(f, s, l-1)
			e.Gate, e.GateStride = h[lo*n:], hs
		}
		f.K.Mul(gx[lo*n:], gxs, f.W(q.w)[from*q.w.LD+lo:], 1, q.w.LD, gy[from*n:], gys, hi-lo, q.out-from, np, nil, e)
	}
}

// BackwardWeights adds the weight gradients after BackwardGroup was called for every group.
func (m *MADE[T]) BackwardWeights(f *ad.Frame[T], s State, c *Cotangent[T]) {
	for l := len(m.layers) - 1; l >= 0; l-- {
		m.weights(f, s, c, l)
	}
}

// BackwardContext fills the context's part of c.Input after BackwardGroup was called for every group.
func (m *MADE[T]) BackwardContext(f *ad.Frame[T], s State, c *Cotangent[T]) {
	q := &m.layers[0]
	gy, gys := m.cotangent(c, s, 0)
	f.K.Mul(c.Input, s.Input.Stride(), f.W(q.w), 1, q.w.LD, gy, gys, m.C, q.out, f.Panels(s.Input), nil, kernel.Epilogue[T]{})
}
