// Package mdmm keeps constraints on quantities that gradient descent minimises along with a loss: the Modified
// Differential Method of Multipliers (Platt and Barr, NIPS 1987; used for morphing in arXiv 2504.12343).
//
// A constraint knows numbers only. In every step the caller computes the values of all constrained quantities, asks a
// Lagrangian for the weight of each (the derivative of the extra loss by that value), puts the weights into the backward
// pass, and lets the multipliers ascend:
//
//	extra, w := l.Weights(values)   // add sum_i w[i] * grad(values[i]) to the gradient of the loss
//	l.Ascend(0.01)
//
// Nine kinds of constraint: six in the exact form of github.com/crowsonkb/mdmm, and three recommended ones (AtMost,
// AtLeast, Within; Equal is their two-sided relative) that need no slack variable, keep multipliers at their valid sign
// and average noisy values.
//
// The published form adds scale * (lambda*inf + damping*inf^2/2), lambda starts at 0 and ascends by the gradient
// scale*inf. Its traps: with inf = max - value, lambda is negative where it acts; a slack that starts at exactly 0 never
// moves, so that the inequality becomes an equality; the hard kinds never let lambda decay.
//
// The recommended form has g <= 0 with g = value - max. Minimising over the slack gives the extra loss
// (max(0, lambda+c*g)^2 - lambda^2)/(2c), so the weight is max(0, lambda + c*g), and lambda <- max(0, lambda + rate*g).
// Where the constraint acts it equals the published method; where it is satisfied lambda decays to 0. With averaging both
// use the running mean of g as a constant: the square of a noisy g would otherwise be minimised by its variance too.
// Optional: the PI update of the multiplier (nuPI, arXiv 2406.04558) against oscillation.
package mdmm

import (
	"errors"
	"fmt"
	"math"
)

// Kind says what a constraint demands of its values.
type Kind string

// The published kinds, then the recommended ones.
const (
	Eq        Kind = "eq"         // value = Target
	Max       Kind = "max"        // value <= Max, by a slack variable
	MaxHard   Kind = "max hard"   // value <= Max, the violation alone
	Min       Kind = "min"        // value >= Min, by a slack variable
	MinHard   Kind = "min hard"   // value >= Min, the violation alone
	BoundHard Kind = "bound hard" // Min <= value <= Max, the violation alone

	Equal   Kind = "equal"    // value = Target, averaged
	AtMost  Kind = "at most"  // value <= Max, without slack
	AtLeast Kind = "at least" // value >= Min, without slack
	Within  Kind = "within"   // Min <= value <= Max, without slack, a multiplier for each side
)

func (k Kind) published() bool {
	return k == Eq || k == Max || k == MaxHard || k == Min || k == MinHard || k == BoundHard
}

func (k Kind) slack() bool { return k == Max || k == Min }

// A Constraint describes one constrained quantity, or Size of one kind with a multiplier each.
type Constraint struct {
	Name string `json:"name"`
	Unit string `json:"unit,omitempty"`
	Kind Kind   `json:"kind"`

	Target float64 `json:"target,omitempty"` // Eq, Equal
	Min    float64 `json:"min,omitempty"`    // Min, MinHard, BoundHard, AtLeast, Within
	Max    float64 `json:"max,omitempty"`    // Max, MaxHard, BoundHard, AtMost, Within
	Size   int     `json:"size,omitempty"`   // number of values; 0 means 1

	Scale   float64 `json:"scale,omitempty"`   // of the extra loss; 0 means 1
	Damping float64 `json:"damping,omitempty"` // c; 0 means 1, negative means none
	Rate    float64 `json:"rate,omitempty"`    // of the multiplier; 0: the rate given to Ascend
	Slack   float64 `json:"slack,omitempty"`   // lowest starting slack; 0 as published, > 0 avoids the trap

	// For the recommended kinds only.
	Average int     `json:"average,omitempty"` // length of the running mean in evaluations; 0 or 1: none
	KP      float64 `json:"kp,omitempty"`      // proportional gain of the PI update; 0: plain ascent
	Nu      float64 `json:"nu,omitempty"`      // its averaging, 0 <= nu < 1
	Limit   float64 `json:"limit,omitempty"`   // largest |lambda|; 0: none

	Warmup int `json:"warmup,omitempty"` // step at which it begins to act
	Every  int `json:"every,omitempty"`  // evaluated in every n-th step only; its weight is n times as large then; 0 means 1
}

func (c *Constraint) size() int        { return max(1, c.Size) }
func (c *Constraint) scale() float64   { return or(c.Scale, 1) }
func (c *Constraint) damping() float64 { return max(0, or(c.Damping, 1)) }
func (c *Constraint) every() int       { return max(1, c.Every) }

func or(x, otherwise float64) float64 {
	if x == 0 {
		return otherwise
	}
	return x
}

func (c *Constraint) check() error {
	bad := func(format string, a ...any) error {
		return fmt.Errorf("mdmm: could not use constraint %q: %s", c.Name, fmt.Sprintf(format, a...))
	}
	for _, x := range []float64{c.Target, c.Min, c.Max, c.Scale, c.Damping, c.Rate, c.Slack, c.KP, c.Nu, c.Limit} {
		if x-x != 0 {
			return bad("a number is not finite")
		}
	}
	switch {
	case c.Name == "":
		return bad("it has no name")
	case !c.Kind.published() && c.Kind != Equal && c.Kind != AtMost && c.Kind != AtLeast && c.Kind != Within:
		return bad("unknown kind %q", c.Kind)
	case (c.Kind == BoundHard || c.Kind == Within) && c.Min > c.Max:
		return bad("min %v is above max %v", c.Min, c.Max)
	case c.Scale < 0 || c.Rate < 0 || c.Slack < 0 || c.KP < 0 || c.Limit < 0:
		return bad("scale, rate, slack, kp and limit can't be negative")
	case c.Nu < 0 || c.Nu >= 1:
		return bad("nu %v is not in [0,1)", c.Nu)
	case c.Size < 0 || c.Average < 0 || c.Warmup < 0 || c.Every < 0:
		return bad("size, average, warmup and every can't be negative")
	case c.Kind.published() && (c.Average > 1 || c.KP > 0 || c.Limit > 0):
		return bad("averaging, PI update and limit belong to the recommended kinds")
	}
	return nil
}

// A Lagrangian holds the multipliers of some constraints. It is not safe for concurrent use.
type Lagrangian struct {
	cons   []Constraint
	states []state
	step   int
	adamax bool
	total  int
	w      []float64
}

// state of one constraint: slices have one element per value, twice as many multipliers for Within (upper, lower).
type state struct {
	lambda, slack []float64
	started       []bool
	value, mean   []float64 // last value, running mean of the value
	seen          int       // evaluations
	grad          []float64 // d extra / d lambda of the last Weights
	slackGrad     []float64
	fresh         bool // Weights was called since the last Ascend
	xi            []float64
	xiStarted     bool
	feasibleAt    int // step at which it was satisfied first, -1 before
	slow, vari    float64
	opt           []moments // Adamax of lambda, then of slack
}

type moments struct{ m, u float64 }

// New makes a Lagrangian. Names must differ.
func New(cons ...Constraint) (*Lagrangian, error) {
	l := &Lagrangian{cons: cons}
	names := map[string]bool{}
	for i := range cons {
		c := &cons[i]
		if err := c.check(); err != nil {
			return nil, err
		}
		if names[c.Name] {
			return nil, fmt.Errorf("mdmm: could not use constraint %q: the name is taken", c.Name)
		}
		names[c.Name] = true
		n := c.size()
		sides := n
		if c.Kind == Within {
			sides = 2 * n
		}
		l.states = append(l.states, state{
			lambda: make([]float64, sides), grad: make([]float64, sides), xi: make([]float64, sides),
			slack: make([]float64, n), slackGrad: make([]float64, n), started: make([]bool, n),
			value: make([]float64, n), mean: make([]float64, n), feasibleAt: -1, opt: make([]moments, sides+n),
		})
		l.total += n
	}
	l.w = make([]float64, l.total)
	return l, nil
}

// UseAdamax moves multipliers and slacks by Adamax, the optimiser of the published code, instead of by plain gradient
// steps. A step then has about the length of the rate whatever the violation is.
func (l *Lagrangian) UseAdamax() { l.adamax = true }

// Constraints returns the constraints in their order; values are laid out in this order.
func (l *Lagrangian) Constraints() []Constraint { return l.cons }

// Len is the number of values of all constraints.
func (l *Lagrangian) Len() int { return l.total }

// Step is the number of calls of Ascend.
func (l *Lagrangian) Step() int { return l.step }

// Due reports whether constraint i is evaluated in this step. Values of others are not looked at.
func (l *Lagrangian) Due(i int) bool { return l.step%l.cons[i].every() == 0 }

// Weights takes the values of all constraints and returns the extra loss and d(extra)/d(value) for each. Before its
// warm-up and when it is not due, a constraint has weight 0. The slice is valid until the next call. A value that is not
// finite makes the extra loss NaN and leaves the state alone.
func (l *Lagrangian) Weights(v []float64) (extra float64, w []float64) {
	if len(v) != l.total {
		panic("mdmm: number of values does not match the constraints")
	}
	clear(l.w)
	at := 0
	for i := range l.cons {
		c, s := &l.cons[i], &l.states[i]
		n := c.size()
		part, out := v[at:at+n], l.w[at:at+n]
		at += n
		s.fresh = false
		if !l.Due(i) {
			continue
		}
		if !finite(part) {
			extra = math.NaN()
			continue
		}
		s.observe(c, part, l.step)
		s.fresh = l.step >= c.Warmup
		for k := range n {
			e, d := s.term(c, k)
			if s.fresh {
				extra += e * float64(c.every())
				out[k] = d * float64(c.every())
			}
		}
	}
	return extra, l.w
}

func finite(v []float64) bool {
	for _, x := range v {
		if x-x != 0 {
			return false
		}
	}
	return true
}

// observe updates running means and what the log shows.
func (s *state) observe(c *Constraint, v []float64, step int) {
	s.seen++
	a := 1 / float64(min(s.seen, max(1, c.Average)))
	for k, x := range v {
		s.value[k] = x
		s.mean[k] += a * (x - s.mean[k])
	}
	worst := s.violation(c)
	if worst <= 0 && s.feasibleAt < 0 {
		s.feasibleAt = step
	}
	if s.seen == 1 {
		s.slow = worst
	}
	const b = 0.01
	d := worst - s.slow
	s.slow += b * d
	s.vari = (1 - b) * (s.vari + b*d*d)
}

// violation is the largest g over the values, by the running mean; negative when satisfied. For equalities it is |g|.
func (s *state) violation(c *Constraint) float64 {
	worst := math.Inf(-1)
	for _, m := range s.mean {
		worst = max(worst, violation(c, m))
	}
	return worst
}

func violation(c *Constraint, m float64) float64 {
	switch c.Kind {
	case Eq, Equal:
		return math.Abs(m - c.Target)
	case Max, MaxHard, AtMost:
		return m - c.Max
	case Min, MinHard, AtLeast:
		return c.Min - m
	}
	return max(m-c.Max, c.Min-m)
}

// term returns the extra loss of value k and its derivative by the value, and keeps the derivatives by multiplier and
// slack.
func (s *state) term(c *Constraint, k int) (extra, dv float64) {
	scale, damp := c.scale(), c.damping()
	fn := s.value[k]
	if !c.Kind.published() {
		m := s.mean[k]
		switch c.Kind {
		case Equal:
			g := m - c.Target
			s.grad[k] = scale * g
			return scale * (s.lambda[k]*g + damp*g*g/2), scale * (s.lambda[k] + damp*g)
		case AtMost:
			return s.oneSide(k, m-c.Max, scale, damp)
		case AtLeast:
			extra, dv = s.oneSide(k, c.Min-m, scale, damp)
			return extra, -dv
		}
		n := c.size()
		eu, du := s.oneSide(k, m-c.Max, scale, damp)
		el, dl := s.oneSide(n+k, c.Min-m, scale, damp)
		return eu + el, du - dl
	}
	if c.Kind.slack() && !s.started[k] {
		room := c.Max - fn
		if c.Kind == Min {
			room = fn - c.Min
		}
		s.slack[k] = max(math.Sqrt(max(0, room)), c.Slack)
		s.started[k] = true
	}
	var inf, dinf float64 // infeasibility and its derivative by the value
	switch c.Kind {
	case Eq:
		inf, dinf = c.Target-fn, -1
	case Max:
		inf, dinf = c.Max-fn-s.slack[k]*s.slack[k], -1
	case Min:
		inf, dinf = fn-c.Min-s.slack[k]*s.slack[k], 1
	case MaxHard:
		inf = min(fn, c.Max) - fn
	case MinHard:
		inf = max(fn, c.Min) - fn
	case BoundHard:
		inf = min(max(fn, c.Min), c.Max) - fn
	}
	if dinf == 0 && inf != 0 {
		dinf = -1
	}
	pull := scale * (s.lambda[k] + damp*inf)
	s.grad[k] = scale * inf
	s.slackGrad[k] = -2 * s.slack[k] * pull
	return scale * (s.lambda[k]*inf + damp*inf*inf/2), pull * dinf
}

// oneSide is the slack-free inequality g <= 0 with multiplier j.
func (s *state) oneSide(j int, g, scale, damp float64) (extra, dg float64) {
	s.grad[j] = scale * g
	lam := s.lambda[j]
	if damp == 0 {
		return scale * lam * g, scale * lam
	}
	p := max(0, lam+damp*g)
	return scale * (p*p - lam*lam) / (2 * damp), scale * p
}

// Ascend ends a step: multipliers go up their gradient and slacks down theirs, at the rate lr or the constraint's own.
// Constraints that had no part in the last Weights stay as they are.
func (l *Lagrangian) Ascend(lr float64) {
	for i := range l.cons {
		c, s := &l.cons[i], &l.states[i]
		if !s.fresh {
			continue
		}
		s.fresh = false
		rate := or(c.Rate, lr)
		for j := range s.lambda {
			s.lambda[j] += l.move(&s.opt[j], s.grad[j], rate)
			if c.Kind.published() {
				continue
			}
			if c.KP > 0 {
				if !s.xiStarted {
					s.xi[j] = s.grad[j]
				}
				before := s.xi[j]
				s.xi[j] = c.Nu*before + (1-c.Nu)*s.grad[j]
				s.lambda[j] += c.KP * (s.xi[j] - before)
			}
			if c.Kind != Equal {
				s.lambda[j] = max(0, s.lambda[j])
			}
			if c.Limit > 0 {
				s.lambda[j] = min(max(s.lambda[j], -c.Limit), c.Limit)
			}
		}
		s.xiStarted = true
		if c.Kind.slack() {
			for k := range s.slack {
				s.slack[k] -= l.move(&s.opt[len(s.lambda)+k], s.slackGrad[k], lr)
			}
		}
	}
	l.step++
}

// move is the length of a step along gradient g.
func (l *Lagrangian) move(o *moments, g, rate float64) float64 {
	if !l.adamax {
		return rate * g
	}
	o.m = 0.9*o.m + 0.1*g
	o.u = max(0.999*o.u, math.Abs(g)+1e-8)
	return rate / (1 - math.Pow(0.9, float64(l.step+1))) * o.m / o.u
}

// A Record is what the log shows of a constraint. For a vector it is the value that violates most.
type Record struct {
	Name       string  `json:"name"`
	Unit       string  `json:"unit,omitempty"`
	Kind       Kind    `json:"kind"`
	Index      int     `json:"index,omitempty"`
	Value      float64 `json:"value"`   // of the last evaluation
	Average    float64 `json:"average"` // running mean
	Min        float64 `json:"min"`     // the bounds; equal for an equality
	Max        float64 `json:"max"`
	Violation  float64 `json:"violation"` // of the running mean; <= 0 when satisfied
	Multiplier float64 `json:"lambda"`
	Slack      float64 `json:"slack,omitempty"`
	Feasible   int     `json:"feasible_at"` // step at which it was satisfied first, -1: never yet
	Amplitude  float64 `json:"amplitude"`   // of the oscillation of the violation, over about 100 evaluations
	Status     string  `json:"status"`      // waiting | satisfied | active | violated
}

// Records describes all constraints.
func (l *Lagrangian) Records() []Record {
	out := make([]Record, len(l.cons))
	for i := range l.cons {
		c, s := &l.cons[i], &l.states[i]
		k := 0
		for j := range s.mean {
			if violation(c, s.mean[j]) > violation(c, s.mean[k]) {
				k = j
			}
		}
		r := Record{
			Name: c.Name, Unit: c.Unit, Kind: c.Kind, Index: k, Value: s.value[k], Average: s.mean[k],
			Min: c.Min, Max: c.Max, Violation: violation(c, s.mean[k]), Multiplier: s.lambda[k], Slack: s.slack[k],
			Feasible: s.feasibleAt, Amplitude: math.Sqrt(2 * s.vari),
		}
		if c.Kind == Within && s.lambda[c.size()+k] > r.Multiplier {
			r.Multiplier = s.lambda[c.size()+k]
		}
		if c.Kind == Eq || c.Kind == Equal {
			r.Min, r.Max = c.Target, c.Target
		}
		tol := 0.05 * max(math.Abs(c.Target), math.Abs(c.Min), math.Abs(c.Max))
		switch {
		case s.seen == 0 || l.step < c.Warmup:
			r.Status = "waiting"
		case r.Violation > tol:
			r.Status = "violated"
		case r.Multiplier != 0:
			r.Status = "active"
		default:
			r.Status = "satisfied"
		}
		out[i] = r
	}
	return out
}

// A State is everything that a checkpoint needs. It survives JSON to the last bit.
type State struct {
	Step        int               `json:"step"`
	Adamax      bool              `json:"adamax,omitempty"`
	Constraints []ConstraintState `json:"constraints"`
}

// A ConstraintState is the state of one constraint.
type ConstraintState struct {
	Name       string    `json:"name"`
	Kind       Kind      `json:"kind"`
	Lambda     []float64 `json:"lambda"`
	Slack      []float64 `json:"slack"`
	Started    []bool    `json:"started"`
	Value      []float64 `json:"value"`
	Mean       []float64 `json:"mean"`
	Seen       int       `json:"seen"`
	Xi         []float64 `json:"xi"`
	XiStarted  bool      `json:"xi_started"`
	FeasibleAt int       `json:"feasible_at"`
	Slow       float64   `json:"slow"`
	Variance   float64   `json:"variance"`
	M          []float64 `json:"m"`
	U          []float64 `json:"u"`
}

// State copies the state between two steps (after Ascend).
func (l *Lagrangian) State() State {
	st := State{Step: l.step, Adamax: l.adamax}
	for i := range l.cons {
		c, s := &l.cons[i], &l.states[i]
		cs := ConstraintState{
			Name: c.Name, Kind: c.Kind, Lambda: copied(s.lambda), Slack: copied(s.slack), Started: append([]bool{}, s.started...),
			Value: copied(s.value), Mean: copied(s.mean), Seen: s.seen, Xi: copied(s.xi), XiStarted: s.xiStarted,
			FeasibleAt: s.feasibleAt, Slow: s.slow, Variance: s.vari,
		}
		for _, o := range s.opt {
			cs.M, cs.U = append(cs.M, o.m), append(cs.U, o.u)
		}
		st.Constraints = append(st.Constraints, cs)
	}
	return st
}

func copied(x []float64) []float64 { return append([]float64{}, x...) }

// ErrState marks a state that belongs to other constraints.
var ErrState = errors.New("state of other constraints")

// Restore takes the state of an equal Lagrangian. It checks names, kinds and sizes first; on error nothing has changed.
func (l *Lagrangian) Restore(st State) error {
	bad := func(format string, a ...any) error {
		return fmt.Errorf("mdmm: could not restore: %s: %w", fmt.Sprintf(format, a...), ErrState)
	}
	if len(st.Constraints) != len(l.cons) || st.Step < 0 {
		return bad("%d constraints at step %d, want %d", len(st.Constraints), st.Step, len(l.cons))
	}
	for i, cs := range st.Constraints {
		c, s := &l.cons[i], &l.states[i]
		n, sides := c.size(), len(s.lambda)
		if cs.Name != c.Name || cs.Kind != c.Kind {
			return bad("constraint %q (%s), want %q (%s)", cs.Name, cs.Kind, c.Name, c.Kind)
		}
		if len(cs.Lambda) != sides || len(cs.Xi) != sides || len(cs.Slack) != n || len(cs.Started) != n ||
			len(cs.Value) != n || len(cs.Mean) != n || len(cs.M) != sides+n || len(cs.U) != sides+n || cs.Seen < 0 {
			return bad("constraint %q has another number of values", c.Name)
		}
		for _, x := range [][]float64{cs.Lambda, cs.Xi, cs.Slack, cs.Value, cs.Mean, cs.M, cs.U, {cs.Slow, cs.Variance}} {
			if !finite(x) {
				return bad("constraint %q: a number is not finite", c.Name)
			}
		}
	}
	l.step, l.adamax = st.Step, st.Adamax
	for i, cs := range st.Constraints {
		s := &l.states[i]
		copy(s.lambda, cs.Lambda)
		copy(s.slack, cs.Slack)
		copy(s.started, cs.Started)
		copy(s.value, cs.Value)
		copy(s.mean, cs.Mean)
		copy(s.xi, cs.Xi)
		s.seen, s.xiStarted, s.feasibleAt = cs.Seen, cs.XiStarted, cs.FeasibleAt
		s.slow, s.vari, s.fresh = cs.Slow, cs.Variance, false
		for j := range s.opt {
			s.opt[j] = moments{cs.M[j], cs.U[j]}
		}
	}
	return nil
}
