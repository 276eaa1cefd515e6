package flows

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
)

// A Velocity is the right-hand side of dx/dt = v(x, t), for rows at one common time.
type Velocity[T Float] interface {
	Dim() int
	// Velocity writes v for n rows x, row-major (n, Dim()).
	Velocity(v, x []T, n int, t float64)
}

// A Solver moves rows along a velocity.
type Solver[T Float] interface {
	// Solve moves n rows in place from time t0 to t1 and returns how often it evaluated the velocity. Not safe for concurrent use.
	Solve(f Velocity[T], x []T, n int, t0, t1 float64) (evaluations int, err error)
}

// A Tableau holds the coefficients of an explicit Runge-Kutta method of some order: k_i = v(x + h Σ_j A_ij k_j, t + C_i h),
// x ← x + h Σ B_i k_i.
type Tableau struct {
	Name  string
	Order int
	A     [][]float64
	B, C  []float64
}

// tableaus are the fixed-step methods.
var tableaus = []Tableau{
	{"euler", 1, [][]float64{{}}, []float64{1}, []float64{0}},
	{"midpoint", 2, [][]float64{{}, {0.5}}, []float64{0, 1}, []float64{0, 0.5}},
	{"heun", 2, [][]float64{{}, {1}}, []float64{0.5, 0.5}, []float64{0, 1}},
	{"rk4", 4, [][]float64{{}, {0.5}, {0, 0.5}, {0, 0, 1}}, []float64{1.0 / 6, 1.0 / 3, 1.0 / 3, 1.0 / 6}, []float64{0, 0.5, 0.5, 1}},
	// the rule that torchdiffeq calls rk4
	{"rk38", 4, [][]float64{{}, {1.0 / 3}, {-1.0 / 3, 1}, {1, -1, 1}}, []float64{1.0 / 8, 3.0 / 8, 3.0 / 8, 1.0 / 8}, []float64{0, 1.0 / 3, 2.0 / 3, 1}},
}

// dopri is the pair of Dormand and Prince (1980) of orders 5 and 4; the last stage is the first of the next step.
var dopri = Tableau{"dopri5", 5, [][]float64{{}, {1.0 / 5}, {3.0 / 40, 9.0 / 40}, {44.0 / 45, -56.0 / 15, 32.0 / 9},
	{19372.0 / 6561, -25360.0 / 2187, 64448.0 / 6561, -212.0 / 729}, {9017.0 / 3168, -355.0 / 33, 46732.0 / 5247, 49.0 / 176, -5103.0 / 18656},
	{35.0 / 384, 0, 500.0 / 1113, 125.0 / 192, -2187.0 / 6784, 11.0 / 84}},
	[]float64{35.0 / 384, 0, 500.0 / 1113, 125.0 / 192, -2187.0 / 6784, 11.0 / 84, 0}, []float64{0, 1.0 / 5, 3.0 / 10, 4.0 / 5, 8.0 / 9, 1, 1}}

// dopriError is the difference of the weights of both orders.
var dopriError = []float64{71.0 / 57600, 0, -71.0 / 16695, 71.0 / 1920, -17253.0 / 339200, 22.0 / 525, -1.0 / 40}

// SolverNames are the names that NewSolver knows.
func SolverNames() []string {
	var names []string
	for _, t := range tableaus {
		names = append(names, t.Name)
	}
	return append(names, dopri.Name)
}

// NewSolver makes a solver by its name: a fixed number of equal steps, or dopri5 with relative and absolute tolerance tol, for which steps
// does not matter. tol 0 means 1e-5.
func NewSolver[T Float](name string, steps int, tol float64) (Solver[T], error) {
	if name == dopri.Name {
		if tol == 0 {
			tol = 1e-5
		}
		return &DormandPrince[T]{Relative: tol, Absolute: tol}, nil
	}
	i := slices.IndexFunc(tableaus, func(t Tableau) bool { return t.Name == name })
	if i < 0 {
		return nil, fmt.Errorf("flows: could not find solver %q: there are %s", name, strings.Join(SolverNames(), ", "))
	}
	if steps < 1 {
		return nil, fmt.Errorf("flows: could not solve with %q in %d steps (at least 1)", name, steps)
	}
	return &Fixed[T]{Tableau: tableaus[i], Steps: steps}, nil
}

// stages holds the slopes of one step.
type stages[T Float] struct {
	k [][]T
	y []T
}

func (s *stages[T]) grow(stages, n int) {
	for len(s.k) < stages {
		s.k = append(s.k, nil)
	}
	for i := range s.k {
		s.k[i] = grow(s.k[i], n)
	}
	s.y = grow(s.y, n)
}

// combine writes x + h Σ a_j k_j.
func combine[T Float](dst, x []T, h float64, a []float64, k [][]T) {
	copy(dst, x)
	for j, c := range a {
		if c == 0 {
			continue
		}
		w := T(h * c)
		for i, v := range k[j] {
			dst[i] += w * v
		}
	}
}

// Fixed is a Runge-Kutta method with equal steps.
type Fixed[T Float] struct {
	Tableau
	Steps int
	stages[T]
}

// Solve makes Steps steps.
func (s *Fixed[T]) Solve(f Velocity[T], x []T, n int, t0, t1 float64) (int, error) {
	x = x[:n*f.Dim()]
	s.grow(len(s.B), len(x))
	h := (t1 - t0) / float64(s.Steps)
	for step := range s.Steps {
		t := t0 + h*float64(step)
		for i, a := range s.A {
			in := x
			if i > 0 {
				combine(s.y, x, h, a, s.k)
				in = s.y
			}
			f.Velocity(s.k[i], in, n, t+s.C[i]*h)
		}
		combine(s.y, x, h, s.B, s.k)
		copy(x, s.y)
	}
	return s.Steps * len(s.B), nil
}

// A DormandPrince is the adaptive method of orders 5(4). One step size holds for all rows: the error of a step is the root mean square
// over all numbers of |error|/(Absolute + Relative·|x|).
type DormandPrince[T Float] struct {
	Relative, Absolute float64
	Evaluations        int // largest number of evaluations; 0 means 10,000
	stages[T]
	e []T
}

// ErrSolver means that an adaptive solver gave up.
var ErrSolver = errors.New("no solution")

// Solve moves the rows. It returns ErrSolver if it needs too many evaluations or meets numbers that are not finite; x is then at some time
// in between.
func (s *DormandPrince[T]) Solve(f Velocity[T], x []T, n int, t0, t1 float64) (int, error) {
	x = x[:n*f.Dim()]
	if len(x) == 0 || t0 == t1 {
		return 0, nil
	}
	s.grow(len(dopri.B), len(x))
	s.e = grow(s.e, len(x))
	limit := s.Evaluations
	if limit == 0 {
		limit = 10000
	}
	f.Velocity(s.k[0], x, n, t0)
	count := 1
	h := s.first(x, t1-t0)
	for t := t0; ; {
		if last := t1 - t; math.Abs(h) >= math.Abs(last)*(1-1e-12) {
			h = last
		}
		if count+6 > limit || t+h == t {
			return count, fmt.Errorf("flows: could not solve the equation at time %g: %w after %d evaluations with steps of %.3g (looser tolerances?)", t, ErrSolver, count, h)
		}
		for i := 1; i < len(dopri.A); i++ {
			combine(s.y, x, h, dopri.A[i], s.k)
			f.Velocity(s.k[i], s.y, n, t+dopri.C[i]*h)
		}
		count += 6
		clear(s.e)
		combine(s.e, s.e, h, dopriError, s.k)
		q := 0.0
		for i, e := range s.e {
			r := float64(e) / (s.Absolute + s.Relative*max(math.Abs(float64(x[i])), math.Abs(float64(s.y[i]))))
			q += r * r
		}
		q = math.Sqrt(q / float64(len(x)))
		if math.IsNaN(q) || math.IsInf(q, 0) {
			if math.Abs(h) < 1e-9*math.Abs(t1-t0) {
				return count, fmt.Errorf("flows: could not solve the equation at time %g: %w: the velocity is not finite", t, ErrSolver)
			}
			h /= 10
			continue
		}
		if q <= 1 {
			copy(x, s.y) // the weights of order 5 are those of the last stage
			s.k[0], s.k[6] = s.k[6], s.k[0]
			if h == t1-t {
				return count, nil
			}
			t += h
		}
		h *= min(max(0.9*math.Pow(q, -0.2), 0.2), 10)
	}
}

// first is a step from the size of x and its slope.
func (s *DormandPrince[T]) first(x []T, span float64) float64 {
	var a, b float64
	for i, v := range x {
		w := s.Absolute + s.Relative*math.Abs(float64(v))
		a += float64(v) * float64(v) / (w * w)
		b += float64(s.k[0][i]) * float64(s.k[0][i]) / (w * w)
	}
	h := math.Abs(span)
	if b > 0 {
		h = min(h, max(0.01*math.Sqrt(a/b), 1e-6*h))
	}
	return math.Copysign(h, span)
}
