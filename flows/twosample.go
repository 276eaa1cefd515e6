package flows

import (
	"math"
	"slices"

	"hepmorph/internal/ad"
	"hepmorph/internal/kernel"
	"hepmorph/internal/rng"
)

// Two-sample losses couple the events of a batch. Each takes rows x (N, D) with weights and the rows y of the other sample, returns the
// value, and, if grad is not nil, ADDS scale times its gradient by x to grad (N, D). Weights need not be normalised and may be
// negative where it is said. Sums over events are in float64.

// Rows is a weighted sample, row-major.
type Rows[T Float] struct {
	N, D int
	X    []T
	W    []float64
}

func (r Rows[T]) sums() (w, w2 float64) {
	for _, v := range r.W[:r.N] {
		w += v
		w2 += v * v
	}
	return
}

// An MMD computes the unbiased squared maximum mean discrepancy with a mixture of Gaussian kernels: for sums over different events
//
//	MMD² = Σ w_i w_j k(x_i,x_j)/Σ w_i w_j + the same for y − 2 Σ w_i v_j k(x_i,y_j)/(Σw Σv),  k(x,y) = mean_q exp(−|x−y|²/(2h_q²))
//
// Its mean is 0 for samples of one law, and it may be negative. Weights may have signs. Memory is kept between calls; not safe for
// concurrent use.
type MMD[T Float] struct {
	k    *kernel.Set[T]
	pool *ad.Pool
	c    []T
	xp   []T // panels
	f, g []T
	wx   []T
	wy   []T
	part []float64

	x, y     Rows[T]
	gradient bool
	half     bool // y is x: panels see what lies behind them alone, twice
	task     func(worker, panel int)
}

// NewMMD makes one with bandwidths h, in units of the rows.
func NewMMD[T Float](k *kernel.Set[T], pool *ad.Pool, h ...float64) *MMD[T] {
	m := &MMD[T]{k: k, pool: pool}
	for _, v := range h {
		m.c = append(m.c, T(1/(2*v*v)))
	}
	m.task = m.panel
	return m
}

// MedianDistance is the median of |x_i − x_j| over pairs drawn from the sample, the usual unit of bandwidths.
func MedianDistance[T Float](r Rows[T], seed uint64) float64 {
	const pairs = 4001
	s := rng.NewKey(seed, "median distance").At(0)
	var d []float64
	for range pairs {
		i, j := s.IntN(r.N), s.IntN(r.N)
		if i == j {
			continue
		}
		q := 0.0
		for k := range r.D {
			t := float64(r.X[i*r.D+k]) - float64(r.X[j*r.D+k])
			q += t * t
		}
		d = append(d, math.Sqrt(q))
	}
	if len(d) == 0 {
		return 1
	}
	slices.Sort(d)
	if m := d[len(d)/2]; m > 0 {
		return m
	}
	return 1
}

func grow[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}

// sum returns Σ_i w_i Σ_j v_j k(x_i, y_j) and leaves in m.g, panel-wise, Σ_j v_j ∂k/∂x_i. With half set, x is y, no gradient is wanted, and
// each pair is computed once.
func (m *MMD[T]) sum(x, y Rows[T], gradient, half bool) float64 {
	panels := (x.N + lanes - 1) / lanes
	m.xp = grow(m.xp, panels*x.D*lanes)
	m.f = grow(m.f, panels*lanes)
	m.g = grow(m.g, panels*x.D*lanes)
	m.wy = grow(m.wy, y.N)
	m.part = grow(m.part, panels)
	for j := range m.wy {
		m.wy[j] = T(y.W[j])
	}
	m.x, m.y, m.gradient, m.half = x, y, gradient, half
	m.pool.Run(panels, m.task)
	m.x, m.y = Rows[T]{}, Rows[T]{}
	s := 0.0
	for _, v := range m.part {
		s += v
	}
	return s
}

// panel sums over all y for 32 rows of x.
func (m *MMD[T]) panel(_, p int) {
	x, y, d := m.x, m.y, m.x.D
	xp, f, g := m.xp[p*d*lanes:][:d*lanes], m.f[p*lanes:][:lanes], m.g[p*d*lanes:][:d*lanes]
	n := min(lanes, x.N-p*lanes)
	for e := range lanes {
		for k := range d {
			v := T(0)
			if e < n {
				v = x.X[(p*lanes+e)*d+k]
			}
			xp[k*lanes+e] = v
		}
	}
	clear(f)
	clear(g)
	if !m.gradient {
		g = nil
	}
	total := func() float64 {
		s := 0.0
		for e := range n {
			s += x.W[p*lanes+e] * float64(f[e])
		}
		return s
	}
	if !m.half {
		m.k.GaussMix(f, g, d*lanes, xp, d*lanes, d, 1, y.X, m.wy, y.N, m.c)
		m.part[p] = total()
		return
	}
	at := p * lanes
	m.k.GaussMix(f, nil, 0, xp, d*lanes, d, 1, y.X[at*d:], m.wy[at:], n, m.c)
	m.part[p] = -total() // of the panel with itself, below counted twice
	m.k.GaussMix(f, nil, 0, xp, d*lanes, d, 1, y.X[(at+n)*d:], m.wy[at+n:], y.N-at-n, m.c)
	m.part[p] += 2 * total()
}

func (m *MMD[T]) addGrad(grad []T, x Rows[T], scale float64) {
	for i := range x.N {
		w := T(scale * x.W[i])
		g := m.g[i/lanes*x.D*lanes+i%lanes:]
		for k := range x.D {
			grad[i*x.D+k] += w * g[k*lanes]
		}
	}
}

// Within returns Σ_{i≠j} w_i w_j k(x_i,x_j)/Σ_{i≠j} w_i w_j, a term that may be computed once for a fixed sample.
func (m *MMD[T]) Within(x Rows[T], grad []T, scale float64) float64 {
	w, w2 := x.sums()
	norm := 1 / (w*w - w2)
	s := m.sum(x, x, grad != nil, grad == nil)
	if grad != nil {
		m.addGrad(grad, x, 2*scale*norm)
	}
	return (s - w2) * norm
}

// Between returns Σ_ij w_i v_j k(x_i,y_j)/(Σw Σv).
func (m *MMD[T]) Between(x, y Rows[T], grad []T, scale float64) float64 {
	w, _ := x.sums()
	v, _ := y.sums()
	s := m.sum(x, y, grad != nil, false)
	if grad != nil {
		m.addGrad(grad, x, scale/(w*v))
	}
	return s / (w * v)
}

// Value returns MMD² and adds scale times its gradient by x.
func (m *MMD[T]) Value(x, y Rows[T], grad []T, scale float64) float64 {
	return m.Within(x, grad, scale) + m.Within(y, nil, 0) - 2*m.Between(x, y, grad, -2*scale)
}

// point is an event of either sample on one projection.
type point struct {
	v float64
	w float64 // normalised, negative for y
	i int32   // row of x, -1 for y
}

// A Sliced computes distances between projections on fixed random unit directions: W1, W2² and the energy distance, each in O(N log N) a
// direction. Weights must not be negative for W2. Not safe for concurrent use.
type Sliced[T Float] struct {
	pool *ad.Pool
	dirs [][]float64
	line [][]point
	part []float64
	grad [][]float64 // a direction's derivative by the projected x

	x, y     Rows[T]
	sx, sy   float64 // sums of weights
	f        func(line []point, g []float64) float64
	gradient bool
	task     func(worker, direction int)
}

// direction projects, sorts and hands over to the distance.
func (s *Sliced[T]) direction(_, d int) {
	x, y, dir := s.x, s.y, s.dirs[d]
	line := grow(s.line[d], x.N+y.N)
	s.line[d] = line
	for i := range x.N {
		line[i] = point{project(dir, x, i), x.W[i] / s.sx, int32(i)}
	}
	for i := range y.N {
		line[x.N+i] = point{project(dir, y, i), -y.W[i] / s.sy, -1}
	}
	slices.SortFunc(line, func(a, b point) int {
		switch {
		case a.v < b.v:
			return -1
		case a.v > b.v:
			return 1
		}
		return int(a.i) - int(b.i)
	})
	var g []float64
	if s.gradient {
		g = grow(s.grad[d], x.N)
		s.grad[d] = g
		clear(g)
	}
	s.part[d] = s.f(line, g)
}

func project[T Float](dir []float64, r Rows[T], i int) float64 {
	v := 0.0
	for k, t := range dir {
		v += t * float64(r.X[i*r.D+k])
	}
	return v
}

// NewSliced draws n directions in D dimensions; n = 0 gives the axes, one for each feature.
func NewSliced[T Float](pool *ad.Pool, d, n int, seed uint64) *Sliced[T] {
	s := &Sliced[T]{pool: pool}
	if n == 0 {
		for k := range d {
			v := make([]float64, d)
			v[k] = 1
			s.dirs = append(s.dirs, v)
		}
	}
	key := rng.NewKey(seed, "directions")
	for i := range n {
		st := key.At(uint64(i))
		v := make([]float64, d)
		q := 0.0
		for k := range v {
			v[k] = st.Norm()
			q += v[k] * v[k]
		}
		for k := range v {
			v[k] /= math.Sqrt(q)
		}
		s.dirs = append(s.dirs, v)
	}
	s.line = make([][]point, len(s.dirs))
	s.grad = make([][]float64, len(s.dirs))
	s.part = make([]float64, len(s.dirs))
	s.task = s.direction
	return s
}

// each runs f on every sorted projection and averages.
func (s *Sliced[T]) each(x, y Rows[T], grad []T, scale float64, f func(line []point, g []float64) float64) float64 {
	s.x, s.y, s.f, s.gradient = x, y, f, grad != nil
	s.sx, _ = x.sums()
	s.sy, _ = y.sums()
	s.pool.Run(len(s.dirs), s.task)
	s.x, s.y, s.f = Rows[T]{}, Rows[T]{}, nil
	total := 0.0
	for d, v := range s.part {
		total += v
		if grad == nil {
			continue
		}
		for i, g := range s.grad[d] {
			g *= scale / float64(len(s.dirs))
			for k, t := range s.dirs[d] {
				grad[i*x.D+k] += T(g * t)
			}
		}
	}
	return total / float64(len(s.dirs))
}

// W1 is the mean over directions of ∫|F−G| (weighted distribution functions). Weights may have signs.
func (s *Sliced[T]) W1(x, y Rows[T], grad []T, scale float64) float64 {
	return s.each(x, y, grad, scale, lineW1)
}

func lineW1(line []point, g []float64) float64 {
	h, sum := 0.0, 0.0 // h = F − G
	for i, p := range line {
		if g != nil && p.i >= 0 {
			g[p.i] += math.Abs(h) - math.Abs(h+p.w)
		}
		h += p.w
		if i+1 < len(line) {
			sum += math.Abs(h) * (line[i+1].v - p.v)
		}
	}
	return sum
}

// Energy is the mean over directions of the energy distance 2E|X−Y| − E|X−X'| − E|Y−Y'| = 2∫(F−G)², the MMD² of the negative-distance kernel
// (biased: events meet themselves at distance 0). Weights may have signs.
func (s *Sliced[T]) Energy(x, y Rows[T], grad []T, scale float64) float64 {
	return s.each(x, y, grad, scale, lineEnergy)
}

func lineEnergy(line []point, g []float64) float64 {
	h, sum := 0.0, 0.0
	for i, p := range line {
		if g != nil && p.i >= 0 {
			g[p.i] += 2 * (h*h - (h+p.w)*(h+p.w))
		}
		h += p.w
		if i+1 < len(line) {
			sum += 2 * h * h * (line[i+1].v - p.v)
		}
	}
	return sum
}

// W2 is the mean over directions of the squared 2-Wasserstein distance, by monotone transport. Weights must be positive.
func (s *Sliced[T]) W2(x, y Rows[T], grad []T, scale float64) float64 {
	return s.each(x, y, grad, scale, lineW2)
}

func lineW2(line []point, g []float64) float64 {
	sum := 0.0
	i, j := -1, -1 // present points of x and y in the line
	var left, right float64
	next := func(k int, x bool) int {
		for k++; k < len(line) && (line[k].i >= 0) != x; k++ {
		}
		return k
	}
	i, j = next(i, true), next(j, false)
	if i < len(line) {
		left = line[i].w
	}
	if j < len(line) {
		right = -line[j].w
	}
	for i < len(line) && j < len(line) {
		m := min(left, right)
		d := line[i].v - line[j].v
		sum += m * d * d
		if g != nil {
			g[line[i].i] += 2 * m * d
		}
		left -= m
		right -= m
		if left <= 0 {
			if i = next(i, true); i < len(line) {
				left = line[i].w
			}
		}
		if right <= 0 {
			if j = next(j, false); j < len(line) {
				right = -line[j].w
			}
		}
	}
	return sum
}

// Moments are the weighted means and covariances of a sample.
type Moments struct {
	W    float64
	Mean []float64
	Cov  []float64 // (D, D)
}

// NewMoments computes them.
func NewMoments[T Float](r Rows[T]) Moments {
	m := Moments{Mean: make([]float64, r.D), Cov: make([]float64, r.D*r.D)}
	m.W, _ = r.sums()
	for i := range r.N {
		for k := range r.D {
			m.Mean[k] += r.W[i] * float64(r.X[i*r.D+k])
		}
	}
	for k := range m.Mean {
		m.Mean[k] /= m.W
	}
	d := make([]float64, r.D)
	for i := range r.N {
		for k := range d {
			d[k] = float64(r.X[i*r.D+k]) - m.Mean[k]
		}
		for k, a := range d {
			for l := k; l < r.D; l++ {
				m.Cov[k*r.D+l] += r.W[i] * a * d[l]
			}
		}
	}
	for k := range r.D {
		for l := k; l < r.D; l++ {
			m.Cov[k*r.D+l] /= m.W
			m.Cov[l*r.D+k] = m.Cov[k*r.D+l]
		}
	}
	return m
}

// Corr is the correlation of features k and l; 0 where one is constant.
func (m Moments) Corr(k, l int) float64 {
	d := len(m.Mean)
	q := m.Cov[k*d+k] * m.Cov[l*d+l]
	if q <= 0 {
		return 0
	}
	return m.Cov[k*d+l] / math.Sqrt(q)
}

// CorrGrad ADDS scale times the gradient of the correlation of k and l to grad. With z the standardised values,
// ∂ρ/∂x_ik = w_i/(Σw σ_k)·(z_il − ρ z_ik).
func CorrGrad[T Float](m Moments, r Rows[T], k, l int, grad []T, scale float64) {
	d := r.D
	sk, sl := math.Sqrt(m.Cov[k*d+k]), math.Sqrt(m.Cov[l*d+l])
	if sk == 0 || sl == 0 {
		return
	}
	rho := m.Corr(k, l)
	for i := range r.N {
		zk := (float64(r.X[i*d+k]) - m.Mean[k]) / sk
		zl := (float64(r.X[i*d+l]) - m.Mean[l]) / sl
		w := scale * r.W[i] / m.W
		grad[i*d+k] += T(w / sk * (zl - rho*zk))
		grad[i*d+l] += T(w / sl * (zk - rho*zl))
	}
}
