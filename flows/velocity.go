package flows

import (
	"fmt"
	"math"

	"hepmorph/internal/ad"
	"hepmorph/internal/kernel"
	"hepmorph/internal/rng"
)

// VelocitySettings describe a velocity network. The zero value of a field is its default.
type VelocitySettings struct {
	Name        string // prefix of the parameters' names; default "velocity"
	Features    int
	Context     int
	Hidden      int  // units; default 256
	Blocks      int  // residual layers; default 3
	Frequencies int  // pairs sin, cos of 2πkt beside t itself; default 8
	Mean        bool // learns the mean velocity between two times
	Seed        uint64
}

// A VelocityNet is a residual network with SiLU units for v(x, t, c). It starts as v = 0, the identity map.
type VelocityNet[T Float] struct {
	VelocitySettings
	Params *Params[T]
	in     layer
	blocks []layer
	out    layer
}

type layer struct{ w, b *ad.Param }

// NewVelocityNet adds the parameters of a network to ps.
func NewVelocityNet[T Float](ps *Params[T], s VelocitySettings) (*VelocityNet[T], error) {
	if s.Name == "" {
		s.Name = "velocity"
	}
	if s.Hidden == 0 {
		s.Hidden = 256
	}
	if s.Blocks == 0 {
		s.Blocks = 3
	}
	if s.Frequencies == 0 {
		s.Frequencies = 8
	}
	if s.Features < 1 || s.Context < 0 || s.Hidden < 1 || s.Blocks < 0 || s.Frequencies < 0 {
		return nil, fmt.Errorf("flows: could not make a velocity of %d features and %d contexts with %d blocks of %d units", s.Features, s.Context, s.Blocks, s.Hidden)
	}
	v := &VelocityNet[T]{VelocitySettings: s, Params: ps}
	dense := func(name string, rows, cols int, zero bool) layer {
		l := layer{ps.Matrix(s.Name+"."+name+".weight", rows, cols), ps.Vector(s.Name+"."+name+".bias", rows)}
		if !zero {
			bound := 1 / math.Sqrt(float64(cols))
			ps.Uniform(l.w, bound, s.Seed)
			ps.Uniform(l.b, bound, s.Seed)
		}
		return l
	}
	v.in = dense("in", s.Hidden, s.Features+v.TimeWidth()+s.Context, false)
	for i := range s.Blocks {
		v.blocks = append(v.blocks, dense(fmt.Sprintf("block%d", i), s.Hidden, s.Hidden, false))
	}
	v.out = dense("out", s.Features, s.Hidden, true)
	return v, nil
}

// TimeWidth is the number of time features.
func (v *VelocityNet[T]) TimeWidth() int {
	if v.Mean {
		return 2 * (2*v.Frequencies + 1)
	}
	return 2*v.Frequencies + 1
}

// meanFeatures writes those of a time t and of the time from there to s; s does not matter to a network without Mean.
func (v *VelocityNet[T]) meanFeatures(dst []T, t, s float64) {
	timeFeatures(dst, t, v.Frequencies)
	if v.Mean {
		timeFeatures(dst[2*v.Frequencies+1:], s-t, v.Frequencies)
	}
}

// timeFeatures writes t and the sines and cosines of 2πkt.
func timeFeatures[T Float](dst []T, t float64, frequencies int) {
	dst[0] = T(t)
	for k := range frequencies {
		s, c := math.Sincos(2 * math.Pi * float64(k+1) * t)
		dst[1+2*k], dst[2+2*k] = T(s), T(c)
	}
}

// Record records v from rows of x followed by the time features, and the context.
func (v *VelocityNet[T]) Record(p *Program[T], xt, c Tensor) Tensor {
	h := xt
	if v.Context > 0 {
		h = p.Concat(xt, c)
	}
	h = p.Activate(ad.SiLU, p.Linear(h, v.in.w, v.in.b))
	for _, b := range v.blocks {
		h = p.Sum2(h, p.Activate(ad.SiLU, p.Linear(h, b.w, b.b)))
	}
	return p.Linear(h, v.out.w, v.out.b)
}

// MatchLoss records the flow-matching loss Σ_i w_i·mean_d (v(x_t, t, c) − target)² (arXiv 2210.02747) over what a Matching fills, and returns
// its slot.
func (v *VelocityNet[T]) MatchLoss(p *Program[T], c func() Tensor, w func() Tensor) int {
	n := v.Features + v.TimeWidth()
	pair := p.Input(n + v.Features)
	var context Tensor
	if v.Context > 0 {
		context = c()
	}
	return p.SquaredError(v.Record(p, p.Slice(pair, 0, n), context), p.Slice(pair, n, n+v.Features), w())
}

// A Matching fills the first input of MatchLoss: for each row of a batch a time t, the point x_t = (1−t)x0 + t x1 and the
// target x1 − x0. All random numbers are functions of Key, Step and the row.
type Matching[T Float] struct {
	Features, Frequencies int
	X0                    []T // rows of the start, nil for standard normal numbers
	X1                    []T // rows of the end
	Index0, Index1        []int32
	Key                   Key
	Step                  uint64
	Time                  func(*rng.Stream) float64 // draws t; nil: uniform in [0,1)
}

// Fill is the Fill of a Source.
func (m *Matching[T]) Fill(dst []T, first, n int) {
	d := m.Features
	w := 2*d + 2*m.Frequencies + 1
	for i := range n {
		r := first + i
		s := m.Key.At(rng.Hash(m.Step, uint64(r)))
		t := 0.0
		if m.Time != nil {
			t = m.Time(&s)
		} else {
			t = s.Float64()
		}
		x1 := row(m.X1, m.Index1, r, d)
		at, target := dst[i*w:][:d], dst[i*w+w-d:][:d]
		for k := range d {
			x0 := T(0)
			if m.X0 == nil {
				x0 = T(s.Norm())
			} else {
				x0 = row(m.X0, m.Index0, r, d)[k]
			}
			at[k] = T(1-t)*x0 + T(t)*x1[k]
			target[k] = x1[k] - x0
		}
		timeFeatures(dst[i*w+d:], t, m.Frequencies)
	}
}

func row[T Float](x []T, index []int32, r, d int) []T {
	if index != nil {
		r = int(index[r])
	}
	return x[r*d:][:d]
}

// A Field is a velocity network ready for a solver. Set C to the contexts of the rows before it is used. Not safe for concurrent use.
type Field[T Float] struct {
	C    []T
	net  *VelocityNet[T]
	exec *ad.Exec[T]
	out  Tensor
	x    []T
	time []T
	run  ad.Run[T]
	in   [2]ad.Source[T]
	sink [1]ad.Sink[T]
}

// NewField compiles a network.
func NewField[T Float](v *VelocityNet[T], k *kernel.Set[T], pool *ad.Pool) *Field[T] {
	f := &Field[T]{net: v, time: make([]T, v.TimeWidth())}
	p := ad.NewProgram(v.Params)
	xt := p.Input(v.Features + v.TimeWidth())
	var c Tensor
	if v.Context > 0 {
		c = p.Input(v.Context)
	}
	f.out = v.Record(p, xt, c)
	f.exec = p.Compile(k, pool, nil, ad.Settings{Shards: evaluatorShards})
	f.in[0].Fill = f.fill
	return f
}

// Dim is the number of features.
func (f *Field[T]) Dim() int { return f.net.Features }

func (f *Field[T]) fill(dst []T, first, n int) {
	d := f.net.Features
	w := d + len(f.time)
	for i := range n {
		copy(dst[i*w:][:d], f.x[(first+i)*d:])
		copy(dst[i*w+d:][:len(f.time)], f.time)
	}
}

// Velocity writes the network's velocity at time t.
func (f *Field[T]) Velocity(v, x []T, n int, t float64) { f.Mean(v, x, n, t, t) }

// Mean writes the network's mean velocity between t and s, which it must have learned.
func (f *Field[T]) Mean(v, x []T, n int, t, s float64) {
	f.x = x
	f.net.meanFeatures(f.time, t, s)
	f.in[1].Data = f.C
	f.sink[0] = ad.Sink[T]{Tensor: f.out, Data: v}
	f.run = ad.Run[T]{N: n, Inputs: f.in[:1], Outputs: f.sink[:]}
	if f.net.Context > 0 {
		f.run.Inputs = f.in[:]
	}
	f.exec.Run(&f.run)
}
