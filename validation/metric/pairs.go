package metric

import (
	"fmt"
	"math"
	"slices"
	"sort"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas64"

	"hepmorph/internal/gbdt/order"
	"hepmorph/internal/par"
	"hepmorph/internal/rng"
)

// PairSettings of the tests that look at all pairs of events (MMDTest, EnergyTest). Cost grows as Rows².
type PairSettings struct {
	Rows         int       // most events of each sample, drawn without replacement. Default 2000.
	Permutations int       // of the null distribution. Default 200.
	Bandwidths   []float64 // of MMDTest's Gaussians, in standardised units. Default: the median distance of the reference × {0.5, 1, 2}.
	Seed         uint64
	Threads      int // 0: every core that is granted
}

// PairTest is a distance over all pairs of events with its null distribution.
type PairTest struct {
	Value      float64   // unbiased: its mean is 0 for equal laws, so it can be negative
	Null       Floor     // of the value under equal laws
	Z          float64   // (Value - Null.Mean)/Null.SD
	P          float64   // one-sided, never 0: (1 + exceeding)/(1 + Permutations)
	N          [2]int    // events used
	Bandwidths []float64 // MMD only
}

// MMDTest is the unbiased squared maximum mean discrepancy (Gretton et al. 2012) of the joint law of all columns with a
// mixture of Gaussian kernels,
//
//	MMD² = Σ_{i≠j} w_i w_j k(x_i,x_j)/Σ_{i≠j} w_i w_j + same for y - 2 Σ_ij w_i v_j k(x_i,y_j)/(Σw Σv),
//
// on columns standardised by the reference y. Signed weights enter as they are. The null comes from permutations where all
// weights of a sample are equal, else from the wild bootstrap (Chwialkowski et al. 2014, arXiv:1408.5404), since events
// with other weights cannot be exchanged. Rows with a NaN are not allowed.
func MMDTest(x [][]float64, wx []float64, y [][]float64, wy []float64, s PairSettings) (*PairTest, error) {
	p, err := newPairs("compute MMD", x, wx, y, wy, &s)
	if err != nil {
		return nil, err
	}
	h := s.Bandwidths
	if h == nil {
		m := p.median()
		h = []float64{m / 2, m, 2 * m}
	}
	for _, v := range h {
		if !(v > 0) || math.IsInf(v, 0) {
			return nil, fmt.Errorf("metric: could not compute MMD: a bandwidth is %g (are all columns constant?)", v)
		}
	}
	t := p.test(gaussians(h), 1, s)
	t.Bandwidths = slices.Clone(h)
	return t, nil
}

// EnergyTest is the energy distance 2E|X-Y| - E|X-X'| - E|Y-Y'| (Székely and Rizzo 2004), unbiased, on columns standardised
// by the reference y; weights and null as in MMDTest.
func EnergyTest(x [][]float64, wx []float64, y [][]float64, wy []float64, s PairSettings) (*PairTest, error) {
	p, err := newPairs("compute energy distance", x, wx, y, wy, &s)
	if err != nil {
		return nil, err
	}
	return p.test(func(d2 []float64) {
		for i, v := range d2 {
			d2[i] = -math.Sqrt(v)
		}
	}, 0, s), nil
}

// gaussians turns squared distances into the mean of Gaussian kernels of the given widths.
func gaussians(h []float64) func([]float64) {
	h = slices.Clone(h)
	sort.Sort(sort.Reverse(sort.Float64Slice(h)))
	return func(d2 []float64) {
		for i, v := range d2 {
			var k, sum float64
			for q, w := range h {
				if q > 0 && h[q-1] == 2*w { // exp(-v/2w²) is the wider one's fourth power
					k *= k
					k *= k
				} else {
					k = math.Exp(-v / (2 * w * w))
				}
				sum += k
			}
			d2[i] = sum / float64(len(h))
		}
	}
}

// pairs holds both samples, standardised, rows of x first.
type pairs struct {
	z      []float64 // (n+m, d) by rows
	n, m   int
	d      int
	w      []float64
	equal  bool // all weights of each sample are equal
	thread int
}

func newPairs(verb string, x [][]float64, wx []float64, y [][]float64, wy []float64, s *PairSettings) (*pairs, error) {
	if err := checkPair(verb, x, wx, y, wy); err != nil {
		return nil, err
	}
	if s.Rows == 0 {
		s.Rows = 2000
	}
	if s.Permutations == 0 {
		s.Permutations = 200
	}
	ix, iy := choose(len(x[0]), s.Rows, s.Seed), choose(len(y[0]), s.Rows, s.Seed+1)
	p := &pairs{n: len(ix), m: len(iy), d: len(x), equal: true, thread: s.Threads}
	if p.n < 2 || p.m < 2 {
		return nil, fmt.Errorf("metric: could not %s: %d and %d rows, at least 2 are needed", verb, p.n, p.m)
	}
	mean, sd := standard(y, wy, s.Threads)
	p.z, p.w = make([]float64, (p.n+p.m)*p.d), make([]float64, p.n+p.m)
	for side, idx := range [][]int32{ix, iy} {
		t, w, at := x, wx, 0
		if side == 1 {
			t, w, at = y, wy, p.n
		}
		for k, i := range idx {
			p.w[at+k] = weight(w, int(i))
			p.equal = p.equal && p.w[at+k] == p.w[at]
			for j := range t {
				v := (t[j][i] - mean[j]) / sd[j]
				if math.IsNaN(v) || math.IsInf(v, 0) {
					return nil, fmt.Errorf("metric: could not %s: column %d of row %d is %g (leave such rows out or map them to a number)", verb, j, i, t[j][i])
				}
				p.z[(at+k)*p.d+j] = v
			}
		}
	}
	if total(p.n, p.w[:p.n]) == 0 || total(p.m, p.w[p.n:]) == 0 {
		return nil, fmt.Errorf("metric: could not %s: the weights of the drawn events add up to 0", verb)
	}
	return p, nil
}

// standard returns means and standard deviations of columns; a constant column has sd 1.
func standard(y [][]float64, wy []float64, threads int) (mean, sd []float64) {
	mean, sd = make([]float64, len(y)), make([]float64, len(y))
	par.For(threads, len(y), 1, func(j, _, _ int) {
		mean[j], sd[j] = meanSD(y[j], wy)
		if !(sd[j] > 0) || math.IsInf(sd[j], 0) {
			sd[j] = 1
		}
	})
	return mean, sd
}

// choose returns at most k of n rows, a function of the seed, in ascending order.
func choose(n, k int, seed uint64) []int32 {
	if n <= k {
		out := make([]int32, n)
		for i := range out {
			out[i] = int32(i)
		}
		return out
	}
	u := make([]float64, n)
	key := rng.NewKey(seed, "choose rows")
	for i := range u {
		u[i] = key.Uniform(uint64(i))
	}
	out := order.Of(u)[:k]
	slices.Sort(out)
	return out
}

// median is the median distance between events of the reference (at most 1000 of them).
func (p *pairs) median() float64 {
	m := min(p.m, 1000)
	var d []float64
	for i := range m {
		a := p.z[(p.n+i)*p.d:][:p.d]
		for k := range i {
			b := p.z[(p.n+k)*p.d:][:p.d]
			s := 0.0
			for j, v := range a {
				s += (v - b[j]) * (v - b[j])
			}
			d = append(d, s)
		}
	}
	idx := order.Of(d)
	return math.Sqrt(d[idx[len(idx)/2]])
}

// times returns K·A for the (N,c) matrix A by rows, K the kernel matrix of all events, diagonal included.
func (p *pairs) times(kernel func([]float64), a []float64, c int) []float64 {
	n := p.n + p.m
	out := make([]float64, n*c)
	sq := make([]float64, n)
	for i := range sq {
		v := p.z[i*p.d:][:p.d]
		sq[i] = dot(v, v)
	}
	z := blas64.General{Rows: n, Cols: p.d, Stride: p.d, Data: p.z}
	const block = 64
	par.For(p.thread, n, block, func(_, lo, hi int) {
		r := hi - lo
		k := blas64.General{Rows: r, Cols: n, Stride: n, Data: make([]float64, r*n)}
		blas64.Gemm(blas.NoTrans, blas.Trans, -2, blas64.General{Rows: r, Cols: p.d, Stride: p.d, Data: p.z[lo*p.d : hi*p.d]}, z, 0, k)
		for i := range r {
			row := k.Data[i*n : (i+1)*n]
			for j := range row {
				row[j] = max(0, row[j]+sq[lo+i]+sq[j])
			}
			row[lo+i] = 0
			kernel(row)
		}
		blas64.Gemm(blas.NoTrans, blas.NoTrans, 1, k, blas64.General{Rows: n, Cols: c, Stride: c, Data: a}, 0,
			blas64.General{Rows: r, Cols: c, Stride: c, Data: out[lo*c : hi*c]})
	})
	return out
}

// test computes the distance and its null; k0 is the kernel of an event with itself.
func (p *pairs) test(kernel func([]float64), k0 float64, s PairSettings) *PairTest {
	n, b := p.n+p.m, s.Permutations
	c := b + 2 // weights of x, weights of y, then one column a permutation
	a := make([]float64, n*c)
	var sum, sq [2]float64
	for i, w := range p.w {
		side := 0
		if i >= p.n {
			side = 1
		}
		a[i*c+side] = w
		sum[side] += w
		sq[side] += w * w
	}
	key := rng.NewKey(s.Seed, "permutation")
	if p.equal {
		perm := make([]int32, n)
		for k := range b {
			st := key.At(uint64(k))
			st.Perm(perm)
			for _, i := range perm[:p.n] {
				a[int(i)*c+2+k] = 1
			}
		}
	} else {
		for k := range b {
			st := key.At(uint64(k))
			var bits uint64
			var mean [2]float64
			for i, w := range p.w {
				if i%64 == 0 {
					bits = st.Uint64()
				}
				side, e := 0, 1-2*float64(bits&1)
				bits >>= 1
				if i >= p.n {
					side = 1
				}
				a[i*c+2+k] = e
				mean[side] += w / sum[side] * e
			}
			for i, w := range p.w {
				if i < p.n {
					a[i*c+2+k] = w / sum[0] * (a[i*c+2+k] - mean[0])
				} else {
					a[i*c+2+k] = -w / sum[1] * (a[i*c+2+k] - mean[1])
				}
			}
		}
	}
	ka := p.times(kernel, a, c)
	form := func(u, v int) float64 { // a_u' K a_v
		t := 0.0
		for i := range n {
			t += a[i*c+u] * ka[i*c+v]
		}
		return t
	}
	t := &PairTest{N: [2]int{p.n, p.m}}
	t.Value = (form(0, 0)-k0*sq[0])/(sum[0]*sum[0]-sq[0]) + (form(1, 1)-k0*sq[1])/(sum[1]*sum[1]-sq[1]) - 2*form(0, 1)/(sum[0]*sum[1])
	null := make([]float64, b)
	if p.equal {
		w0, w1 := p.w[0], p.w[p.n]
		row := make([]float64, n) // K·1
		all := 0.0
		for i := range n {
			row[i] = ka[i*c]/w0 + ka[i*c+1]/w1
			all += row[i]
		}
		nn, mm := float64(p.n), float64(p.m)
		for k := range b {
			var xx, x1 float64
			for i := range n {
				if a[i*c+2+k] != 0 {
					xx += ka[i*c+2+k]
					x1 += row[i]
				}
			}
			xy := x1 - xx
			yy := all - 2*x1 + xx
			null[k] = (xx-nn*k0)/(nn*(nn-1)) + (yy-mm*k0)/(mm*(mm-1)) - 2*xy/(nn*mm)
		}
	} else {
		// E of the form over the signs: Σ a_i² (k_ii - 2 (K a)_i + a'K a) within each sample; taken off, so that the null is centred.
		trace := 0.0
		for side := range 2 {
			lo, hi := 0, p.n
			if side == 1 {
				lo, hi = p.n, n
			}
			aka := form(side, side) / (sum[side] * sum[side])
			for i := lo; i < hi; i++ {
				w := p.w[i] / sum[side]
				trace += w * w * (k0 - 2*ka[i*c+side]/sum[side] + aka)
			}
		}
		for k := range b {
			null[k] = form(2+k, 2+k) - trace
		}
	}
	above := 0
	for _, v := range null {
		if v >= t.Value {
			above++
		}
	}
	t.Null.Mean, t.Null.SD = meanSD(null, nil)
	t.Z = (t.Value - t.Null.Mean) / t.Null.SD
	t.P = float64(1+above) / float64(1+b)
	return t
}

// SlicedSettings of SlicedW1.
type SlicedSettings struct {
	Directions int // Default 200; always the same ones for a number of columns.
	Rows       int // most events of each sample. Default 100000.
	Seed       uint64
	Threads    int // 0: every core that is granted
}

func (s SlicedSettings) filled() SlicedSettings {
	if s.Directions == 0 {
		s.Directions = 200
	}
	if s.Rows == 0 {
		s.Rows = 100000
	}
	return s
}

// SlicedW1 is the mean W1 over fixed random unit directions of the columns, standardised by the reference y.
func SlicedW1(x [][]float64, wx []float64, y [][]float64, wy []float64, s SlicedSettings) (float64, error) {
	if err := checkPair("compute sliced W1", x, wx, y, wy); err != nil {
		return 0, err
	}
	s = s.filled()
	mean, sd := standard(y, wy, s.Threads)
	zx, vx := thin(x, wx, s.Rows, s.Seed)
	zy, vy := thin(y, wy, s.Rows, s.Seed+1)
	out, errs := make([]float64, s.Directions), make([]error, s.Directions)
	project(zx, zy, mean, sd, s, func(k int, px, py []float64) {
		a, b, err := sortTwo(px, vx, py, vy)
		if err != nil {
			errs[k] = err
			return
		}
		out[k] = a.W1(b) / float64(s.Directions)
	})
	t := 0.0
	for k, v := range out {
		if errs[k] != nil {
			return 0, errs[k]
		}
		t += v
	}
	return t, nil
}

// project calls f for every direction with the rows of both samples along it, in any order.
func project(x, y [][]float64, mean, sd []float64, s SlicedSettings, f func(k int, px, py []float64)) {
	key := rng.NewKey(1, "directions")
	par.For(s.Threads, s.Directions, 1, func(k, _, _ int) {
		st := key.At(uint64(k))
		u := make([]float64, len(x))
		norm := 0.0
		for j := range u {
			u[j] = st.Norm()
			norm += u[j] * u[j]
		}
		along := func(t [][]float64) []float64 {
			p := make([]float64, len(t[0]))
			for j, c := range t {
				f := u[j] / math.Sqrt(norm) / sd[j]
				for i, v := range c {
					p[i] += f * (v - mean[j])
				}
			}
			return p
		}
		f(k, along(x), along(y))
	})
}

// thin returns at most rows events.
func thin(x [][]float64, w []float64, rows int, seed uint64) ([][]float64, []float64) {
	n := len(x[0])
	if n <= rows {
		return x, w
	}
	idx := choose(n, rows, seed)
	pick := func(v []float64) []float64 {
		out := make([]float64, len(idx))
		for k, i := range idx {
			out[k] = v[i]
		}
		return out
	}
	out := make([][]float64, len(x))
	for j, c := range x {
		out[j] = pick(c)
	}
	if w == nil {
		return out, nil
	}
	return out, pick(w)
}
