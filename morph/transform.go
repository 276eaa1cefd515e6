package morph

import (
	"encoding/json"
	"fmt"
	"math"
	"sort"

	"hepmorph/internal/gbdt/order"
	"hepmorph/internal/rank"
)

// A transform is one smooth, strictly increasing step of a feature's way into model space. It is fitted once and then
// constant; its fields are stored as JSON. All of it runs in float64.
type transform interface {
	// forward returns the value and the slope du/dx. Values outside the domain are treated as its edge.
	forward(x float64) (u, slope float64)
	// inverse is exact; slope is that of forward at the point it returns.
	inverse(u float64) (x, slope float64)
	// inside reports whether x is in the domain.
	inside(x float64) bool
}

// transforms names every step: an entry here is all that a new one needs besides its file.
var transforms = map[string]func() transform{
	"shift":  func() transform { return new(shiftStep) },
	"gap":    func() transform { return new(gapStep) },
	"log":    func() transform { return new(logStep) },
	"logit":  func() transform { return new(logitStep) },
	"gauss":  func() transform { return new(gaussStep) },
	"affine": func() transform { return new(affineStep) },
}

// A chain runs steps one after another.
type chain []transform

func (c chain) forward(x float64) (u, slope float64) {
	slope = 1
	for _, t := range c {
		var s float64
		x, s = t.forward(x)
		slope *= s
	}
	return x, slope
}

func (c chain) inverse(u float64) (x, slope float64) {
	slope = 1
	for i := len(c) - 1; i >= 0; i-- {
		var s float64
		u, s = c[i].inverse(u)
		slope *= s
	}
	return u, slope
}

// A batch is a transform that has a faster way to map many values, in place, without their slopes.
type batch interface {
	forwardAll(x []float64)
	inverseAll(u []float64)
}

// forwardAll and inverseAll replace many values by their images, step by step: one value need not wait for the other. slope is multiplied, if it is not nil.
func (c chain) forwardAll(x, slope []float64) {
	for _, t := range c {
		if b, ok := t.(batch); ok && slope == nil {
			b.forwardAll(x)
			continue
		}
		for i, v := range x {
			u, s := t.forward(v)
			x[i] = u
			if slope != nil {
				slope[i] *= s
			}
		}
	}
}

func (c chain) inverseAll(u []float64) {
	for k := len(c) - 1; k >= 0; k-- {
		if b, ok := c[k].(batch); ok {
			b.inverseAll(u)
			continue
		}
		for i, v := range u {
			u[i], _ = c[k].inverse(v)
		}
	}
}

func (c chain) inside(x float64) bool {
	for _, t := range c {
		if !t.inside(x) {
			return false
		}
		x, _ = t.forward(x)
	}
	return true
}

type namedStep struct {
	Kind   string          `json:"kind"`
	Params json.RawMessage `json:"params"`
}

// MarshalJSON stores each step with its kind.
func (c chain) MarshalJSON() ([]byte, error) {
	list := make([]namedStep, len(c))
	for i, t := range c {
		for kind, mk := range transforms {
			if fmt.Sprintf("%T", mk()) == fmt.Sprintf("%T", t) {
				list[i].Kind = kind
			}
		}
		params, err := json.Marshal(t)
		if err != nil {
			return nil, err
		}
		list[i].Params = params
	}
	return json.Marshal(list)
}

// UnmarshalJSON reads what MarshalJSON has written.
func (c *chain) UnmarshalJSON(b []byte) error {
	var list []namedStep
	if err := json.Unmarshal(b, &list); err != nil {
		return err
	}
	*c = nil
	for _, n := range list {
		mk, ok := transforms[n.Kind]
		if !ok {
			return fmt.Errorf("unknown transform %q", n.Kind)
		}
		t := mk()
		if err := json.Unmarshal(n.Params, t); err != nil {
			return err
		}
		if v, ok := t.(interface{ check() error }); ok {
			if err := v.check(); err != nil {
				return fmt.Errorf("transform %q: %w", n.Kind, err)
			}
		}
		*c = append(*c, t)
	}
	return nil
}

// shiftStep maps a periodic value in [Origin, Origin+Period) to [0, Period), cut open at Cut.
type shiftStep struct {
	Cut    float64 `json:"cut"`
	Period float64 `json:"period"`
	Origin float64 `json:"origin"`
}

func (s *shiftStep) check() error {
	if !(s.Period > 0) {
		return fmt.Errorf("period %v", s.Period)
	}
	return nil
}

// mod is x modulo p in [0,p).
func mod(x, p float64) float64 {
	if x-x != 0 {
		return 0
	}
	r := math.Mod(x, p)
	if r < 0 {
		r += p
	}
	if r >= p {
		r = 0
	}
	return r
}

func (s *shiftStep) forward(x float64) (float64, float64) { return mod(x-s.Cut, s.Period), 1 }

// inverse restores into (Origin, Origin+Period].
func (s *shiftStep) inverse(u float64) (float64, float64) {
	x := u + s.Cut
	if x > s.Origin+s.Period {
		x -= s.Period
	} else if x <= s.Origin {
		x += s.Period
	}
	return x, 1
}

func (s *shiftStep) inside(x float64) bool { return true }

// gapStep removes forbidden intervals (like the barrel-endcap transition in |eta|): Edges holds lo, hi pairs, increasing.
type gapStep struct {
	Edges []float64 `json:"edges"`
}

func (g *gapStep) check() error {
	if len(g.Edges)%2 != 0 || !sort.Float64sAreSorted(g.Edges) {
		return fmt.Errorf("edges %v", g.Edges)
	}
	return nil
}

func (g *gapStep) forward(x float64) (float64, float64) {
	removed := 0.0
	for i := 0; i < len(g.Edges); i += 2 {
		lo, hi := g.Edges[i], g.Edges[i+1]
		switch {
		case x >= hi:
			removed += hi - lo
		case x > lo:
			return lo - removed, 1
		}
	}
	return x - removed, 1
}

func (g *gapStep) inverse(u float64) (float64, float64) {
	for i := 0; i < len(g.Edges); i += 2 {
		if u <= g.Edges[i] {
			break
		}
		u += g.Edges[i+1] - g.Edges[i]
	}
	return u, 1
}

func (g *gapStep) inside(x float64) bool {
	for i := 0; i < len(g.Edges); i += 2 {
		if x > g.Edges[i] && x < g.Edges[i+1] {
			return false
		}
	}
	return true
}

// logStep is u = ln(x - Min + S): 0 < S keeps the edge finite. morphing.md 5.1.
type logStep struct {
	Min float64 `json:"min"`
	S   float64 `json:"s"`
}

func (l *logStep) check() error {
	if !(l.S > 0) {
		return fmt.Errorf("offset %v", l.S)
	}
	return nil
}

func (l *logStep) forward(x float64) (float64, float64) {
	v := max(x-l.Min, 0) + l.S
	return math.Log(v), 1 / v
}

func (l *logStep) inverse(u float64) (float64, float64) {
	v := math.Exp(min(u, 300))
	return max(v-l.S, 0) + l.Min, 1 / v
}

func (l *logStep) inside(x float64) bool { return x >= l.Min }

// edge keeps a logit finite at the bounds.
const edge = 1e-6

// logitStep maps [A,B] to a line: t = d + (1-2d)(x-A)/(B-A), u = ln(t/(1-t)), d = 1e-6. morphing.md 5.2.
type logitStep struct {
	A float64 `json:"a"`
	B float64 `json:"b"`
}

func (l *logitStep) check() error {
	if !(l.A < l.B) {
		return fmt.Errorf("bounds %v, %v", l.A, l.B)
	}
	return nil
}

func (l *logitStep) forward(x float64) (float64, float64) {
	w := l.B - l.A
	x = min(max(x, l.A), l.B)
	t, r := edge+(1-2*edge)*((x-l.A)/w), edge+(1-2*edge)*((l.B-x)/w) // r = 1-t without cancellation
	return math.Log(t) - math.Log(r), (1 - 2*edge) / (w * t * r)
}

func (l *logitStep) inverse(u float64) (float64, float64) {
	w := l.B - l.A
	e := math.Exp(-math.Abs(u))
	small := e / (1 + e) // the smaller of t and 1-t
	part := min(max((small-edge)/(1-2*edge), 0), 1)
	x := l.A + w*part
	if u > 0 {
		x = l.B - w*part
	}
	small = max(small, edge)
	return x, (1 - 2*edge) / (w * small * (1 - small))
}

func (l *logitStep) inside(x float64) bool { return x >= l.A && x <= l.B }

// affineStep is u = (x - Mean)/SD.
type affineStep struct {
	Mean float64 `json:"mean"`
	SD   float64 `json:"sd"`
}

func (a *affineStep) check() error {
	if !(a.SD > 0) {
		return fmt.Errorf("standard deviation %v", a.SD)
	}
	return nil
}

func (a *affineStep) forward(x float64) (float64, float64) {
	return (x - a.Mean) / a.SD, 1 / a.SD
}
func (a *affineStep) inverse(u float64) (float64, float64) { return u*a.SD + a.Mean, 1 / a.SD }
func (a *affineStep) inside(float64) bool                  { return true }

func (a *affineStep) forwardAll(x []float64) {
	for i, v := range x {
		x[i] = (v - a.Mean) / a.SD
	}
}

func (a *affineStep) inverseAll(u []float64) {
	for i, v := range u {
		u[i] = v*a.SD + a.Mean
	}
}

// gaussStep maps a distribution to a standard normal one: a monotone rational-quadratic spline through the knots
// (X[k], Y[k]) with slopes D[k] (Gregory and Delbourgo 1982, as in arXiv 1906.04032), linear beyond the outer knots.
type gaussStep struct {
	X []float64 `json:"x"`
	Y []float64 `json:"y"`
	D []float64 `json:"d"`

	bins  []gaussBin // made by check
	knots *rank.List // X
}

// gaussBin is the spline between two knots.
type gaussBin struct {
	x, y, w, h float64 // lower knot and size
	s, d0, d1  float64 // h/w and the slopes at the knots
	dd         float64 // d0 + d1 − 2s
}

func (g *gaussStep) check() error {
	n := len(g.X)
	if n < 2 || len(g.Y) != n || len(g.D) != n {
		return fmt.Errorf("%d, %d and %d knots", n, len(g.Y), len(g.D))
	}
	for i := range n {
		if !(g.D[i] > 0) || i > 0 && !(g.X[i] > g.X[i-1] && g.Y[i] > g.Y[i-1]) {
			return fmt.Errorf("knot %d does not increase", i)
		}
	}
	g.bins = make([]gaussBin, n-1)
	for k := range g.bins {
		b := gaussBin{x: g.X[k], y: g.Y[k], w: g.X[k+1] - g.X[k], h: g.Y[k+1] - g.Y[k], d0: g.D[k], d1: g.D[k+1]}
		b.s = b.h / b.w
		b.dd = b.d0 + b.d1 - 2*b.s
		g.bins[k] = b
	}
	g.knots = rank.New(g.X)
	return nil
}

// below and above are the lines beyond the outer knots.
func (g *gaussStep) below(x float64) float64 { return g.Y[0] + (x-g.X[0])*g.D[0] }
func (g *gaussStep) above(x float64) float64 {
	n := len(g.X) - 1
	return g.Y[n] + (x-g.X[n])*g.D[n]
}

func (g *gaussStep) forward(x float64) (float64, float64) {
	n := len(g.X) - 1
	switch {
	case !(x > g.X[0]):
		return g.below(x), g.D[0]
	case x >= g.X[n]:
		return g.above(x), g.D[n]
	}
	b := &g.bins[g.knots.Below(x)-1]
	z := (x - b.x) / b.w
	return b.value(z), b.slope(z)
}

func (g *gaussStep) forwardAll(x []float64) {
	lo, hi := g.X[0], g.X[len(g.X)-1]
	for i, v := range x {
		switch {
		case !(v > lo):
			x[i] = g.below(v)
		case v >= hi:
			x[i] = g.above(v)
		default:
			b := &g.bins[g.knots.Below(v)-1]
			x[i] = b.value((v - b.x) / b.w)
		}
	}
}

// value and slope are those at the fraction z of the width.
func (b *gaussBin) value(z float64) float64 {
	r := 1 - z
	return b.y + b.h*z*(b.s*z+b.d0*r)/(b.s+b.dd*z*r)
}

func (b *gaussBin) slope(z float64) float64 {
	r := 1 - z
	den := b.s + b.dd*z*r
	return b.s * b.s * (2*b.s*z*r + b.d0*r*r + b.d1*z*z) / (den * den)
}

func (g *gaussStep) inverse(u float64) (float64, float64) {
	n := len(g.Y) - 1
	switch {
	case !(u > g.Y[0]):
		return g.X[0] + (u-g.Y[0])/g.D[0], g.D[0]
	case u >= g.Y[n]:
		return g.X[n] + (u-g.Y[n])/g.D[n], g.D[n]
	}
	b, z := g.fraction(u)
	return b.x + z*b.w, b.slope(z)
}

func (g *gaussStep) inverseAll(u []float64) {
	lo, hi := g.Y[0], g.Y[len(g.Y)-1]
	for i, v := range u {
		if v > lo && v < hi {
			b, z := g.fraction(v)
			u[i] = b.x + z*b.w
		} else {
			u[i], _ = g.inverse(v)
		}
	}
}

// fraction is the bin in which u lies, between the outer knots, and the fraction of its width where the spline is u.
func (g *gaussStep) fraction(u float64) (*gaussBin, float64) {
	n := len(g.bins)
	k := min(int((u-g.Y[0])/(g.Y[n]-g.Y[0])*float64(n)), n-1) // right where no knot was left out
	for u <= g.Y[k] {
		k--
	}
	for u > g.Y[k+1] {
		k++
	}
	b := &g.bins[k]
	r := u - b.y
	a := b.h*(b.s-b.d0) + r*b.dd
	m := b.h*b.d0 - r*b.dd
	c := -b.s * r
	z := min(max(2*c/(-m-math.Sqrt(max(0, m*m-4*a*c))), 0), 1)
	return b, min(max(z-(b.value(z)-u)/(b.slope(z)*b.w), 0), 1) // one Newton step takes the rounding out
}

func (g *gaussStep) inside(float64) bool { return true }

// gaussKnots is the largest number of knots: the marginal is followed to about a tenth of a standard deviation.
const gaussKnots = 64

// fitGauss takes sorted values with their weights.
func fitGauss(s sorted) (*gaussStep, error) {
	n := s.neff()
	tail := max(20/n, 1e-4) // beyond the outer knots lies too little to follow
	if tail > 0.2 {
		tail = 0.2
	}
	end := -normalQuantile(tail)
	knots := int(min(max(n/50, 2), gaussKnots))
	g := &gaussStep{}
	width := s.x[len(s.x)-1] - s.x[0]
	for k := range knots {
		y := end * (2*float64(k)/float64(knots-1) - 1)
		x := s.quantile(normalCDF(y))
		if m := len(g.X); m > 0 && x-g.X[m-1] <= 1e-9*width {
			continue
		}
		g.X, g.Y = append(g.X, x), append(g.Y, y)
	}
	m := len(g.X)
	if m < 2 {
		return nil, fmt.Errorf("nearly all values are equal")
	}
	slope := make([]float64, m-1)
	for k := range slope {
		slope[k] = (g.Y[k+1] - g.Y[k]) / (g.X[k+1] - g.X[k])
	}
	g.D = make([]float64, m)
	g.D[0], g.D[m-1] = slope[0], slope[m-2]
	for k := 1; k < m-1; k++ { // the weighted harmonic mean of Fritsch and Butland (1984)
		h0, h1 := g.X[k]-g.X[k-1], g.X[k+1]-g.X[k]
		w0, w1 := 2*h1+h0, h1+2*h0
		g.D[k] = (w0 + w1) / (w0/slope[k-1] + w1/slope[k])
	}
	return g, g.check()
}

const (
	binParts    = 8     // equal parts of the range between two knots whose densities are looked at
	middle      = 1.645 // normal score of the fifth and the last but fifth per cent, within which it is done
	emptyValley = 0.03  // share of the lower peak below which two peaks have nothing between them
	surely      = 40    // events that the lower peak would have there, so that nothing is no chance
)

// apart says whether a sample has two peaks with nothing between them (the width of a shower in barrel and endcap, η on both sides of a crack). Normal scores
// put the end of one peak beside the beginning of the next: where a condition chooses one of them, both have a sharp edge, which splines smear.
func (g *gaussStep) apart(s sorted) bool {
	n, rows := len(g.bins), s.neff()
	density, left := make([]float64, n), make([]float64, n) // that of a bin, and the largest up to it
	for k, top := 0, 0.0; k < n; k++ {
		density[k] = (s.below(g.X[k+1]) - s.below(g.X[k])) / g.bins[k].w
		top = max(top, density[k])
		left[k] = top
	}
	for k, right := n-1, 0.0; k >= 0; k-- {
		b := &g.bins[k]
		right = max(right, density[k])
		if b.y < -middle || b.y+b.h > middle {
			continue
		}
		width, from := b.w/binParts, s.below(b.x)
		for i := range binParts {
			to := s.below(b.x + width*float64(i+1))
			if peak := width * min(left[k], right); to-from < emptyValley*peak && rows*peak > surely {
				return true
			}
			from = to
		}
	}
	return false
}

// sorted is a weighted sample in increasing order.
type sorted struct {
	x   []float64
	cum []float64 // weight up to and including each value; the last is the total
}

func sortSample(x, w []float64) (s sorted) {
	s.x, s.cum = make([]float64, len(x)), make([]float64, len(x))
	total := 0.0
	for i, row := range order.Of(x) {
		total += w[row]
		s.x[i], s.cum[i] = x[row], total
	}
	return s
}

func (s sorted) neff() float64 {
	total, sq, last := s.cum[len(s.cum)-1], 0.0, 0.0
	for _, c := range s.cum {
		sq += (c - last) * (c - last)
		last = c
	}
	return total * total / sq
}

// quantile interpolates between the midpoints of the weights.
func (s sorted) quantile(p float64) float64 {
	n := len(s.x)
	t := p * s.cum[n-1]
	mid := func(i int) float64 {
		if i == 0 {
			return s.cum[0] / 2
		}
		return (s.cum[i-1] + s.cum[i]) / 2
	}
	i := sort.Search(n, func(i int) bool { return mid(i) >= t })
	switch {
	case i == 0:
		return s.x[0]
	case i == n:
		return s.x[n-1]
	}
	a, b := mid(i-1), mid(i)
	if b <= a {
		return s.x[i]
	}
	f := (t - a) / (b - a)
	return s.x[i-1] + f*(s.x[i]-s.x[i-1])
}

// below is the share of the weight below x.
func (s sorted) below(x float64) float64 {
	i := sort.SearchFloat64s(s.x, x)
	if i == 0 {
		return 0
	}
	return s.cum[i-1] / s.cum[len(s.cum)-1]
}

// moments returns weighted mean and standard deviation.
func moments(x, w []float64) (mean, sd float64) {
	var sw, sx float64
	for i, v := range x {
		sw += w[i]
		sx += w[i] * v
	}
	mean = sx / sw
	var s2 float64
	for i, v := range x {
		s2 += w[i] * (v - mean) * (v - mean)
	}
	return mean, math.Sqrt(s2 / sw)
}

// normalCDF is the standard normal distribution function.
func normalCDF(z float64) float64 { return 0.5 * math.Erfc(-z/math.Sqrt2) }

// normalQuantile is the inverse of normalCDF for 0 < p < 1 (Wichura 1988, AS241, about 1e-16 relative).
func normalQuantile(p float64) float64 {
	q := p - 0.5
	if math.Abs(q) <= 0.425 {
		r := 0.180625 - q*q
		return q * poly(r, 3.3871328727963666080e0, 1.3314166789178437745e+2, 1.9715909503065514427e+3, 1.3731693765509461125e+4,
			4.5921953931549871457e+4, 6.7265770927008700853e+4, 3.3430575583588128105e+4, 2.5090809287301226727e+3) /
			poly(r, 1, 4.2313330701600911252e+1, 6.8718700749205790830e+2, 5.3941960214247511077e+3,
				2.1213794301586595867e+4, 3.9307895800092710610e+4, 2.8729085735721942674e+4, 5.2264952788528545610e+3)
	}
	r := p
	if q > 0 {
		r = 1 - p
	}
	return math.Copysign(tailQuantile(r), q)
}

// tailQuantile is the z > 0 beyond which lies the probability p < 0.075; accurate for the smallest p.
func tailQuantile(p float64) float64 {
	r := math.Sqrt(-math.Log(max(p, 1e-300)))
	if r <= 5 {
		r -= 1.6
		return poly(r, 1.42343711074968357734e0, 4.63033784615654529590e0, 5.76949722146069140550e0, 3.64784832476320460504e0,
			1.27045825245236838258e0, 2.41780725177450611770e-1, 2.27238449892691845833e-2, 7.74545014278341407640e-4) /
			poly(r, 1, 2.05319162663775882187e0, 1.67638483018380384940e0, 6.89767334985100004550e-1,
				1.48103976427480074590e-1, 1.51986665636164571966e-2, 5.47593808499534494600e-4, 1.05075007164441684324e-9)
	}
	r -= 5
	return poly(r, 6.65790464350110377720e0, 5.46378491116411436990e0, 1.78482653991729133580e0, 2.96560571828504891230e-1,
		2.65321895265761230930e-2, 1.24266094738807843860e-3, 2.71155556874348757815e-5, 2.01033439929228813265e-7) /
		poly(r, 1, 5.99832206555887937690e-1, 1.36929880922735805310e-1, 1.48753612908506148525e-2,
			7.86869131145613259100e-4, 1.84631831751005468180e-5, 1.42151175831644588870e-7, 2.04426310338993978564e-15)
}

func poly(x float64, c ...float64) float64 {
	s := 0.0
	for i := len(c) - 1; i >= 0; i-- {
		s = s*x + c[i]
	}
	return s
}
