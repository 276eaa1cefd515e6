// Package flowtest says what a correct bijector is. Run it on your own:
//
//	func TestMine(t *testing.T) {
//		flowtest.Bijector(t, flowtest.Options{}, func(ps *flows.Params[float64]) (flows.Bijector[float64], error) {
//			return mine.New(ps, "mine", 4, 2)
//		})
//	}
//
// In float64: Inverse undoes Forward and the other way round, at random rows, at ±1e6 and at exact knots; the log-dets of both directions cancel
// and that of Forward is the Jacobian's by central differences; gradients of both outputs of both directions by input, context and every
// parameter agree with differences, and every parameter receives one; a row depends on itself alone; any number of rows works; a context is
// accepted even if it is not used; parameters that are saved and loaded give the same bits.
package flowtest

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"hepmorph/flows"
	"hepmorph/internal/ad"
	"hepmorph/internal/rng"
)

// Options adjust the suite. The zero value is right for a bijector of the whole space.
type Options struct {
	Scale    float64 // standard deviation of the inputs; default 1.5
	Sharpen  float64 // parameters are multiplied by this, away from nearly linear maps; default 2
	Identity bool    // all parameters zero is the identity
	// Bounded says that rows live in [−Bounded, Bounded]; larger inputs are not tried.
	Bounded float64
}

// A Maker makes a bijector over a new store.
type Maker func(ps *flows.Params[float64]) (flows.Bijector[float64], error)

// Bijector runs the whole suite as subtests.
func Bijector(t *testing.T, o Options, build Maker) {
	if o.Scale == 0 {
		o.Scale = 1.5
	}
	if o.Sharpen == 0 {
		o.Sharpen = 2
	}
	s := &suite{Options: o, build: build}
	t.Run("inverse", s.inverse)
	t.Run("extremes", s.extremes)
	t.Run("jacobian", s.jacobian)
	t.Run("rows", s.rows)
	t.Run("saved", s.saved)
	if o.Identity {
		t.Run("identity", s.identity)
	}
	t.Run("gradients", func(t *testing.T) { s.gradients(t, false) })
	t.Run("inverse gradients", func(t *testing.T) { s.gradients(t, true) })
}

type suite struct {
	Options
	build Maker
}

// A subject is a bijector ready to run.
type subject struct {
	fl   *flows.Flow[float64]
	ev   *flows.Evaluator[float64]
	d, c int
}

func (s *suite) subject(t *testing.T, sharpen float64) *subject {
	t.Helper()
	ps := flows.NewParams[float64]()
	b, err := s.build(ps)
	if err != nil {
		t.Fatal(err)
	}
	for i := range ps.W {
		ps.W[i] *= sharpen
	}
	pool := flows.NewPool(2)
	t.Cleanup(pool.Close)
	fl := &flows.Flow[float64]{Params: ps, Bijectors: flows.Chain[float64]{b}}
	return &subject{fl: fl, ev: flows.NewEvaluator(fl, flows.Portable[float64](), pool), d: b.Dim(), c: b.ContextDim()}
}

func (s *suite) normal(n, d int, scale float64, seed uint64) []float64 {
	st := rng.NewKey(seed, "flowtest").At(0)
	x := make([]float64, n*d)
	for i := range x {
		x[i] = scale * st.Norm()
		if s.Bounded > 0 {
			x[i] = s.Bounded * math.Tanh(x[i]/s.Bounded)
		}
	}
	return x
}

func (q *subject) encode(n int, x, c []float64) (z, l []float64) {
	z, l = make([]float64, n*q.d), make([]float64, n)
	q.ev.Encode(n, z, l, x, c)
	return
}

func (q *subject) decode(n int, z, c []float64) (x, l []float64) {
	x, l = make([]float64, n*q.d), make([]float64, n)
	q.ev.Decode(n, x, l, z, c)
	return
}

func (s *suite) inverse(t *testing.T) {
	q := s.subject(t, s.Sharpen)
	for _, n := range []int{0, 1, 7, 64, 131} {
		x, c := s.normal(n, q.d, s.Scale, 1), s.normal(n, q.c, 1, 2)
		before := slices.Clone(x)
		z, l := q.encode(n, x, c)
		y, m := q.decode(n, z, c)
		compare(t, x, y, q.d, 1e-9)
		for i := range l {
			if math.Abs(l[i]+m[i]) > 1e-8*max(1, math.Abs(l[i])) {
				t.Fatalf("n=%d: row %d: log-dets %v and %v do not cancel", n, i, l[i], m[i])
			}
		}
		if !slices.Equal(x, before) {
			t.Fatal("the input was changed")
		}
		y, _ = q.decode(n, x, c)
		z, _ = q.encode(n, y, c)
		compare(t, x, z, q.d, 1e-9)
	}
}

func compare(t *testing.T, want, got []float64, d int, tol float64) {
	t.Helper()
	for i := range want {
		if !(math.Abs(got[i]-want[i]) <= tol*max(1, math.Abs(want[i]))) {
			t.Fatalf("row %d: %v comes back as %v", i/d, want[i], got[i])
		}
	}
}

// extremes tries numbers far out and such that stand exactly on usual knots.
func (s *suite) extremes(t *testing.T) {
	q := s.subject(t, s.Sharpen)
	values := []float64{0, 1, -1, 5, -5, 4.999999, -4.999999, 5.000001, math.Pi, -math.Pi, 1e-30, -1e-30, 1e-300, 30, -30, 1e6, -1e6}
	const n = 500
	st := rng.NewKey(3, "extremes").At(0)
	x, c := make([]float64, n*q.d), make([]float64, n*q.c)
	pick := func(v []float64, bound float64) {
		for i := range v {
			v[i] = values[st.IntN(len(values))]
			if bound > 0 {
				v[i] = min(max(v[i], -bound), bound)
			}
		}
	}
	pick(x, s.Bounded)
	pick(c, 30)
	finite := func(what string, v []float64) {
		for i := range v {
			if math.IsNaN(v[i]) || math.IsInf(v[i], 0) {
				t.Fatalf("%s %d is %v", what, i, v[i])
			}
		}
	}
	z, l := q.encode(n, x, c)
	finite("output", z)
	finite("log-det", l)
	y, m := q.decode(n, x, c)
	finite("output of the inverse", y)
	finite("log-det of the inverse", m)
}

func (s *suite) jacobian(t *testing.T) {
	q := s.subject(t, s.Sharpen)
	const n, h = 9, 1e-6
	x, c := s.normal(n, q.d, s.Scale, 5), s.normal(n, q.c, 1, 6)
	_, l := q.encode(n, x, c)
	jac := make([][]float64, n)
	for i := range jac {
		jac[i] = make([]float64, q.d*q.d)
	}
	for j := range q.d {
		move := func(by float64) []float64 {
			y := slices.Clone(x)
			for i := range n {
				y[i*q.d+j] += by
			}
			z, _ := q.encode(n, y, c)
			return z
		}
		up, down := move(h), move(-h)
		for i := range n {
			for k := range q.d {
				jac[i][k*q.d+j] = (up[i*q.d+k] - down[i*q.d+k]) / (2 * h)
			}
		}
	}
	for i := range n {
		if want := logDet(jac[i], q.d); math.Abs(l[i]-want) > 1e-6*max(1, math.Abs(want)) {
			t.Errorf("row %d: log-det %v, from the Jacobian %v", i, l[i], want)
		}
	}
}

// logDet is ln|det a| by elimination with pivots; a is used up.
func logDet(a []float64, d int) float64 {
	s := 0.0
	for k := range d {
		p := k
		for i := k; i < d; i++ {
			if math.Abs(a[i*d+k]) > math.Abs(a[p*d+k]) {
				p = i
			}
		}
		for j := range d {
			a[k*d+j], a[p*d+j] = a[p*d+j], a[k*d+j]
		}
		s += math.Log(math.Abs(a[k*d+k]))
		for i := k + 1; i < d; i++ {
			f := a[i*d+k] / a[k*d+k]
			for j := k; j < d; j++ {
				a[i*d+j] -= f * a[k*d+j]
			}
		}
	}
	return s
}

func (s *suite) rows(t *testing.T) {
	q := s.subject(t, s.Sharpen)
	const n, i = 70, 41
	x, c := s.normal(n, q.d, s.Scale, 7), s.normal(n, q.c, 1, 8)
	z, l := q.encode(n, x, c)
	for k := range q.d {
		x[i*q.d+k] *= 0.5
	}
	y, m := q.encode(n, x, c)
	for r := range n {
		if same := slices.Equal(z[r*q.d:(r+1)*q.d], y[r*q.d:(r+1)*q.d]) && l[r] == m[r]; same == (r == i) {
			t.Fatalf("row %d was changed: row %d the same: %v", i, r, same)
		}
	}
}

func (s *suite) saved(t *testing.T) {
	a, b := s.subject(t, s.Sharpen), s.subject(t, 0)
	if err := b.fl.Params.SetNamed(a.fl.Params.Named()); err != nil {
		t.Fatal(err)
	}
	x, c := s.normal(33, a.d, s.Scale, 9), s.normal(33, a.c, 1, 10)
	z, l := a.encode(33, x, c)
	y, m := b.encode(33, x, c)
	if !slices.Equal(z, y) || !slices.Equal(l, m) {
		t.Error("saved and loaded parameters give another map")
	}
}

func (s *suite) identity(t *testing.T) {
	q := s.subject(t, 0)
	x, c := s.normal(50, q.d, 3, 11), s.normal(50, q.c, 1, 12)
	z, l := q.encode(50, x, c)
	compare(t, x, z, q.d, 1e-12)
	for i, v := range l {
		if math.Abs(v) > 1e-12 {
			t.Fatalf("row %d: log-det %v", i, v)
		}
	}
}

// gradients checks a random function of value and log-det against central differences.
func (s *suite) gradients(t *testing.T, inverse bool) {
	ps := flows.NewParams[float64]()
	b, err := s.build(ps)
	if err != nil {
		t.Fatal(err)
	}
	for i := range ps.W {
		ps.W[i] *= s.Sharpen
	}
	const n = 19
	d, c := b.Dim(), b.ContextDim()
	p := ad.NewProgram(ps)
	in := []flows.Tensor{p.DiffInput(d, 1)}
	var context flows.Tensor
	if c > 0 {
		context = p.DiffInput(c, 1)
		in = append(in, context)
	}
	ladj := p.Sum(1)
	var y flows.Tensor
	if inverse {
		y = b.Inverse(p, in[0], context, ladj)
	} else {
		y = b.Forward(p, in[0], context, ladj)
	}
	sh := ad.NewShards(ps, 2)
	pool := flows.NewPool(1)
	defer pool.Close()
	e := p.Compile(flows.Portable[float64](), pool, sh, ad.Settings{Items: 16})
	data := [][]float64{s.normal(n, d, s.Scale, 13), s.normal(n, c, 1, 14)}
	cots := []ad.Sink[float64]{{Tensor: y, Data: s.normal(n, d, 1, 15)}, {Tensor: ladj, Data: s.normal(n, 1, 1, 16)}}
	outs := []ad.Sink[float64]{{Tensor: y, Data: make([]float64, n*d)}, {Tensor: ladj, Data: make([]float64, n)}}
	value := func(keep bool) float64 {
		r := &ad.Run[float64]{N: n, Keep: keep, Outputs: outs}
		for i := range in {
			r.Inputs = append(r.Inputs, ad.Source[float64]{Data: data[i]})
		}
		e.Run(r)
		sum := 0.0
		for i, o := range outs {
			for k, v := range o.Data {
				sum += v * cots[i].Data[k]
			}
		}
		return sum
	}
	value(true)
	e.Back(n, cots)
	grad := make([]float64, ps.Len())
	for _, g := range sh.G {
		for i, v := range g {
			grad[i] += v * ps.Mask[i]
		}
	}
	check := func(what string, at *float64, got float64) {
		t.Helper()
		old := *at
		h := 3e-6 * max(1, math.Abs(old))
		*at = old + h
		up := value(false)
		*at = old - h
		down := value(false)
		*at = old
		if want := (up - down) / (2 * h); !(math.Abs(got-want) <= 3e-6*max(1, math.Abs(got)+math.Abs(want))) {
			t.Errorf("%s: gradient %v, differences say %v", what, got, want)
		}
	}
	pick := rng.NewKey(1, "pick").At(0)
	for _, par := range ps.List {
		norm, free := 0.0, 0
		for i := range par.Size() {
			norm = max(norm, math.Abs(grad[par.Off+i]))
			free += int(ps.Mask[par.Off+i])
		}
		if norm == 0 && free > 0 {
			t.Errorf("%s receives no gradient", par.Name)
		}
		for range 3 {
			i, j := pick.IntN(par.Rows), pick.IntN(par.Cols)
			if k := par.Off + i*par.LD + j; ps.Mask[k] != 0 {
				check(fmt.Sprintf("%s[%d,%d]", par.Name, i, j), &ps.W[k], grad[k])
			}
		}
	}
	for i, v := range in {
		g := make([]float64, len(data[i]))
		e.InputGrad(n, ad.Sink[float64]{Tensor: v, Data: g})
		for range 5 {
			k := pick.IntN(len(g))
			check(fmt.Sprintf("input %d[%d]", i, k), &data[i][k], g[k])
		}
	}
}
