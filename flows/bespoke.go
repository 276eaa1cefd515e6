package flows

import (
	"fmt"
	"math"
	"slices"
)

// Bespoke solvers are fitted to one velocity: few evaluations end where many steps of a standard method end. Both kinds here are linear in
// their coefficients once the times are fixed, so they are fitted by least squares along the velocity's own paths, row after row of the
// scheme: each row uses the points and slopes that the rows before it produced, so that their error is corrected. No gradient of the velocity is
// needed.

// FitSettings say how a bespoke solver is fitted. The zero value is the recommended run.
type FitSettings struct {
	Reference int     // steps of RK4 that count as the truth; default 200
	Ridge     float64 // pull towards the standard method, relative to the size of a slope; default: the best of ridges
}

// FitErrors are root mean square distances of end points from the truth, on rows that nothing was fitted to.
type FitErrors struct {
	Own      float64 // of the fitted solver
	Midpoint float64 // of midpoint steps with as many evaluations, or one less
}

// firstRidge is that of the search for times; then ridges are tried, of which the last one leaves the standard method nearly as it is.
const firstRidge = 1e-6

var ridges = []float64{1e-8, 1e-4, 1e-2, 1, 100}

// heldOut is the part of the rows, 1/heldOut, on which fits are compared.
const heldOut = 4

// choose fits a scheme on most rows for every grid of times, then for every ridge on the best of them, and returns the one whose end points are
// nearest to the truth on the rest of the rows. Evaluations are one less than the points.
func choose[T Float, S Solver[T]](f Velocity[T], x []T, n, points int, set FitSettings, fit func(x []T, n int, tr truth[T], ridge float64) S) (best S, errors FitErrors, err error) {
	if n < 1 || points < 2 || len(x) != n*f.Dim() {
		return best, errors, fmt.Errorf("flows: could not fit a solver to %d times and %d rows of %d features in %d numbers", points, n, f.Dim(), len(x))
	}
	if set.Reference == 0 {
		set.Reference = 200
	}
	use, from := n, 0 // rows to fit and first row to compare
	if n >= heldOut {
		use = n - n/heldOut
		from = use
	}
	var schedules [][]float64
	for _, g := range grids {
		times := make([]float64, points)
		for i := range times {
			times[i] = g(float64(i) / float64(points-1))
		}
		times[0], times[points-1] = 0, 1
		schedules = append(schedules, times)
	}
	path := reference(f, x, n, set.Reference, slices.Compact(slices.Sorted(slices.Values(slices.Concat(schedules...)))))
	end := path.at[len(path.at)-1]
	judge := func(s Solver[T]) (float64, error) {
		y := append([]T(nil), x...) // all rows: the velocity of a row may depend on its number
		_, err := s.Solve(f, y, n, 0, 1)
		return rms(y[from*f.Dim():], end[from*f.Dim():]), err
	}
	errors.Own = math.Inf(1)
	try := func(times []float64, ridge float64) (better bool, err error) {
		fitted := truth[T]{times: times}
		for _, t := range times {
			k, _ := slices.BinarySearch(path.times, t)
			fitted.at = append(fitted.at, path.at[k][:use*f.Dim()])
		}
		s := fit(x[:use*f.Dim()], use, fitted, ridge)
		e, err := judge(s)
		if better = err == nil && e < errors.Own; better {
			best, errors.Own = s, e
		}
		return better, err
	}
	ridge := set.Ridge
	if ridge == 0 {
		ridge = firstRidge
	}
	chosen := schedules[0]
	for _, times := range schedules {
		better, err := try(times, ridge)
		if err != nil {
			return best, errors, err
		}
		if better {
			chosen = times
		}
	}
	if set.Ridge == 0 {
		for _, r := range ridges {
			if _, err := try(chosen, r); err != nil {
				return best, errors, err
			}
		}
	}
	if math.IsInf(errors.Own, 1) {
		return best, errors, fmt.Errorf("flows: could not fit a solver: %w: the velocity is not finite", ErrSolver)
	}
	errors.Midpoint, err = judge(&Fixed[T]{Tableau: tableaus[1], Steps: max(1, (points-1)/2)})
	return best, errors, err
}

// grids are the families of times among which a fit chooses: uniform, dense at the start, at the end, at both.
var grids = []func(u float64) float64{
	func(u float64) float64 { return u },
	func(u float64) float64 { return 1 - math.Cos(math.Pi*u/2) },
	func(u float64) float64 { return math.Sin(math.Pi * u / 2) },
	func(u float64) float64 { return (1 - math.Cos(math.Pi*u)) / 2 },
}

// truth are points on the paths at given times.
type truth[T Float] struct {
	times []float64
	at    [][]T
}

func reference[T Float](f Velocity[T], x []T, n, steps int, times []float64) truth[T] {
	tr := truth[T]{times: times, at: [][]T{append([]T(nil), x...)}}
	for i := 1; i < len(times); i++ {
		y := append([]T(nil), tr.at[i-1]...)
		h := times[i] - times[i-1]
		s := &Fixed[T]{Tableau: tableaus[3], Steps: max(1, int(math.Ceil(h*float64(steps))))}
		s.Solve(f, y, n, times[i-1], times[i])
		tr.at = append(tr.at, y)
	}
	return tr
}

func rms[T Float](a, b []T) float64 {
	s := 0.0
	for i := range a {
		d := float64(a[i]) - float64(b[i])
		s += d * d
	}
	return math.Sqrt(s / float64(max(len(a), 1)))
}

// fitRow finds the coefficients θ that bring Σ_j θ_j·cols_j closest to y, with a ridge towards start.
func fitRow[T Float](y []T, cols [][]T, start []float64, ridge float64) []float64 {
	m := len(cols)
	gram, rhs := make([]float64, m*m), make([]float64, m)
	for r := range y {
		e := float64(y[r])
		for j, c := range cols {
			e -= start[j] * float64(c[r])
		}
		for j, c := range cols {
			v := float64(c[r])
			rhs[j] += v * e
			for k := range j + 1 {
				gram[j*m+k] += v * float64(cols[k][r])
			}
		}
	}
	theta := append([]float64(nil), start...)
	for ; ridge < 1e6; ridge *= 10 {
		if d, ok := cholesky(gram, rhs, m, ridge); ok {
			for j := range theta {
				theta[j] += d[j]
			}
			return theta
		}
	}
	return theta
}

// cholesky solves (G + ridge·diag G) d = r for a symmetric G given by its lower half; it fails where G is not positive.
func cholesky(g, r []float64, m int, ridge float64) ([]float64, bool) {
	l := make([]float64, m*m)
	for j := range m {
		for k := range j + 1 {
			s := g[j*m+k]
			if j == k {
				s *= 1 + ridge
			}
			for i := range k {
				s -= l[j*m+i] * l[k*m+i]
			}
			if j == k {
				if !(s > 1e-14*g[j*m+j]) {
					return nil, false
				}
				l[j*m+j] = math.Sqrt(s)
			} else {
				l[j*m+k] = s / l[k*m+k]
			}
		}
	}
	d := append([]float64(nil), r...)
	for j := range m {
		for i := range j {
			d[j] -= l[j*m+i] * d[i]
		}
		d[j] /= l[j*m+j]
	}
	for j := m - 1; j >= 0; j-- {
		for i := j + 1; i < m; i++ {
			d[j] -= l[i*m+j] * d[i]
		}
		d[j] /= l[j*m+j]
	}
	return d, true
}

func mix[T Float](dst []T, theta []float64, cols [][]T) {
	clear(dst)
	for j, w := range theta {
		for i, v := range cols[j] {
			dst[i] += T(w) * v
		}
	}
}

var errSpan = fmt.Errorf("flows: could not use a bespoke solver: it goes from time 0 to 1 alone")

// A NonStationary is the bespoke non-stationary solver of arXiv 2403.01329: x_{i+1} = a_i x_0 + Σ_{j≤i} b_ij u_j with u_j = v(x_j, t_j), from
// t = 0 to 1 in len(A) evaluations. Its fields are its state.
type NonStationary[T Float] struct {
	Times []float64 // t_0 = 0, ..., t_n = 1
	A     []float64
	B     [][]float64
	cols  [][]T
}

// FitNonStationary fits one to n rows x at time 0.
func FitNonStationary[T Float](f Velocity[T], x []T, n, steps int, set FitSettings) (*NonStationary[T], FitErrors, error) {
	return choose(f, x, n, steps+1, set, func(x []T, n int, tr truth[T], ridge float64) *NonStationary[T] {
		s := &NonStationary[T]{Times: tr.times}
		cols := [][]T{append([]T(nil), x...)}
		y := append([]T(nil), x...)
		start := []float64{1}
		for i := range steps {
			u := make([]T, len(x))
			f.Velocity(u, y, n, s.Times[i])
			cols = append(cols, u)
			start = append(start, s.Times[i+1]-s.Times[i])
			theta := fitRow(tr.at[i+1], cols, start, ridge)
			s.A, s.B = append(s.A, theta[0]), append(s.B, theta[1:])
			mix(y, theta, cols)
		}
		return s
	})
}

// Check refuses a state, as from a file, that no fit to so many evaluations makes.
func (s *NonStationary[T]) Check(evaluations int) error {
	bad := len(s.Times) != evaluations+1 || len(s.A) != evaluations || len(s.B) != evaluations
	for i := 0; !bad && i < evaluations; i++ {
		bad = len(s.B[i]) != i+1 || !finite(s.B[i])
	}
	if bad || !finite(s.A) || !schedule(s.Times) {
		return fmt.Errorf("flows: could not use a non-stationary solver: it is not one of %d evaluations", evaluations)
	}
	return nil
}

func finite(v []float64) bool {
	return !slices.ContainsFunc(v, func(x float64) bool { return math.IsNaN(x) || math.IsInf(x, 0) })
}

// schedule says whether times go from 0 to 1.
func schedule(t []float64) bool {
	return finite(t) && len(t) > 1 && t[0] == 0 && t[len(t)-1] == 1 && slices.IsSorted(t)
}

// Solve moves n rows from time 0 to 1.
func (s *NonStationary[T]) Solve(f Velocity[T], x []T, n int, t0, t1 float64) (int, error) {
	if t0 != 0 || t1 != 1 {
		return 0, errSpan
	}
	x = x[:n*f.Dim()]
	for len(s.cols) < len(s.A)+1 {
		s.cols = append(s.cols, nil)
	}
	for i := range s.cols {
		s.cols[i] = grow(s.cols[i], len(x))
	}
	copy(s.cols[0], x)
	for i := range s.A {
		f.Velocity(s.cols[i+1], x, n, s.Times[i])
		clear(x)
		mix(x, s.A[i:i+1], s.cols[:1])
		for j, b := range s.B[i] {
			w := T(b)
			for k, v := range s.cols[j+1] {
				x[k] += w * v
			}
		}
	}
	return len(s.A), nil
}

// A ScaleTime is a bespoke solver of the midpoint kind with free scales and times of each step (arXiv 2310.19075): the half step is
// z = p_i x + q_i u(x, t_i), the step x ← α_i x + β_i u(x, t_i) + γ_i u(z, m_i). The paper's 4 numbers a step are a subset of these 5. It takes two
// evaluations a step. Its fields are its state.
type ScaleTime[T Float] struct {
	Times, Mid []float64 // t_0..t_n and m_0..m_{n-1}
	Half       [][2]float64
	Full       [][3]float64
	u, v, z    []T
}

// FitScaleTime fits one to n rows x at time 0.
func FitScaleTime[T Float](f Velocity[T], x []T, n, steps int, set FitSettings) (*ScaleTime[T], FitErrors, error) {
	return choose(f, x, n, 2*steps+1, set, func(x []T, n int, tr truth[T], ridge float64) *ScaleTime[T] {
		s := &ScaleTime[T]{Times: []float64{0}}
		y := append([]T(nil), x...)
		u, v, z := make([]T, len(x)), make([]T, len(x)), make([]T, len(x))
		for i := range steps {
			t, m, next := tr.times[2*i], tr.times[2*i+1], tr.times[2*i+2]
			f.Velocity(u, y, n, t)
			half := fitRow(tr.at[2*i+1], [][]T{y, u}, []float64{1, m - t}, ridge)
			mix(z, half, [][]T{y, u})
			f.Velocity(v, z, n, m)
			cols := [][]T{append([]T(nil), y...), u, v}
			full := fitRow(tr.at[2*i+2], cols, []float64{1, 0, next - t}, ridge)
			mix(y, full, cols)
			s.Times, s.Mid = append(s.Times, next), append(s.Mid, m)
			s.Half, s.Full = append(s.Half, [2]float64(half)), append(s.Full, [3]float64(full))
		}
		return s
	})
}

// Check refuses a state, as from a file, that no fit to so many evaluations makes.
func (s *ScaleTime[T]) Check(evaluations int) error {
	n := evaluations / 2
	bad := evaluations%2 != 0 || len(s.Times) != n+1 || len(s.Mid) != n || len(s.Half) != n || len(s.Full) != n
	for i := 0; !bad && i < n; i++ {
		bad = !finite(s.Half[i][:]) || !finite(s.Full[i][:]) || !(s.Mid[i] >= s.Times[i] && s.Mid[i] <= s.Times[i+1])
	}
	if bad || !schedule(s.Times) {
		return fmt.Errorf("flows: could not use a scale-time solver: it is not one of %d evaluations", evaluations)
	}
	return nil
}

// Solve moves n rows from time 0 to 1.
func (s *ScaleTime[T]) Solve(f Velocity[T], x []T, n int, t0, t1 float64) (int, error) {
	if t0 != 0 || t1 != 1 {
		return 0, errSpan
	}
	x = x[:n*f.Dim()]
	s.u, s.v, s.z = grow(s.u, len(x)), grow(s.v, len(x)), grow(s.z, len(x))
	for i, m := range s.Mid {
		f.Velocity(s.u, x, n, s.Times[i])
		p, q := T(s.Half[i][0]), T(s.Half[i][1])
		for k, v := range x {
			s.z[k] = p*v + q*s.u[k]
		}
		f.Velocity(s.v, s.z, n, m)
		a, b, c := T(s.Full[i][0]), T(s.Full[i][1]), T(s.Full[i][2])
		for k, v := range x {
			x[k] = a*v + b*s.u[k] + c*s.v[k]
		}
	}
	return 2 * len(s.Mid), nil
}
