// Package toys has distributions in a few dimensions whose density is known exactly, to test what learns densities: a flow's mean
// log-likelihood can't exceed the distribution's own, and the difference is its KL divergence.
//
//	eight-gaussians  eight round Gaussians of sd 0.2 on a circle of radius 2.5
//	moons            two interleaved half circles of radius 1, with Gaussian noise of sd 0.1
//	rings            three circles of radius 1, 2, 3 with Gaussian noise of sd 0.1, in shares 1:2:3
//	checkerboard     uniform on eight of the sixteen unit squares of [-2,2] x [-2,2]
//	gaussians-16d    a mixture of six correlated Gaussians in 16 dimensions
//
// Points are row-major (n, Dim()). Densities are by the volume of x, logarithms natural, no units. Everything here is safe for
// concurrent use, and a function of its arguments.
package toys

import (
	"fmt"
	"math"
	"strings"

	"gonum.org/v1/gonum/integrate/quad"

	"hepmorph/internal/par"
	"hepmorph/internal/rng"
)

// A Density is a distribution that can be drawn from and whose density is known.
type Density interface {
	Name() string
	Dim() int
	// LogProb is ln p(x) at the point x of Dim() numbers; -Inf where p is 0.
	LogProb(x []float64) float64

	draw(s *rng.Stream, x []float64)
	entropy() (h float64, known bool)
	box() (lo, hi float64) // outside this square (two dimensions) the density is below 1e-14 of its maximum
}

// All lists the densities, in a fixed order.
func All() []Density {
	return []Density{newEight(), newMoons(), rings{}, checkerboard{}, newGaussians16()}
}

// ByName returns a density by its name; the error lists all.
func ByName(name string) (Density, error) {
	var names []string
	for _, d := range All() {
		if d.Name() == name {
			return d, nil
		}
		names = append(names, d.Name())
	}
	return nil, fmt.Errorf("toys: could not find density %q: there are %s", name, strings.Join(names, ", "))
}

// Sample draws n points, row-major (n, Dim()). Point i depends on the density, seed and i alone.
func Sample(d Density, n int, seed uint64) []float64 {
	dim := d.Dim()
	x := make([]float64, n*dim)
	key := rng.NewKey(seed, "toys "+d.Name())
	par.For(0, n, 2048, func(_, lo, hi int) {
		for i := lo; i < hi; i++ {
			s := key.At(uint64(i))
			d.draw(&s, x[i*dim:(i+1)*dim])
		}
	})
	return x
}

// MeanLogProb is the mean of LogProb over the points x, row-major (n, Dim()).
func MeanLogProb(d Density, x []float64) float64 {
	dim := d.Dim()
	n := len(x) / dim
	return par.Sum(0, n, 1024, func(lo, hi int) float64 {
		s := 0.0
		for i := lo; i < hi; i++ {
			s += d.LogProb(x[i*dim : (i+1)*dim])
		}
		return s
	}) / float64(n)
}

// Entropy is -E[ln p] in nats and its error: closed form (checkerboard) or quadrature (two dimensions) with an error below 1e-8,
// else a mean over 2^18 points with its standard error.
func Entropy(d Density) (h, sd float64) {
	if h, ok := d.entropy(); ok {
		return h, 0
	}
	if d.Dim() == 2 {
		lo, hi := d.box()
		const n = 400 // the trapezoid rule converges exponentially for smooth densities that vanish at the border
		step := (hi - lo) / n
		return -step * step * par.Sum(0, n, 16, func(a, b int) float64 {
			s := 0.0
			for i := a; i < b; i++ {
				for j := range n {
					l := d.LogProb([]float64{lo + step*(float64(i)+0.5), lo + step*(float64(j)+0.5)})
					if l > -700 {
						s += l * math.Exp(l)
					}
				}
			}
			return s
		}), 1e-8
	}
	const n = 1 << 18
	x := Sample(d, n, 0)
	mean := MeanLogProb(d, x)
	dim := d.Dim()
	sum := par.Sum(0, n, 1024, func(lo, hi int) float64 {
		s := 0.0
		for i := lo; i < hi; i++ {
			e := d.LogProb(x[i*dim:(i+1)*dim]) - mean
			s += e * e
		}
		return s
	})
	return -mean, math.Sqrt(sum) / n
}

// logSumExp of at most a few terms, which it overwrites.
func logSumExp(t []float64) float64 {
	m := math.Inf(-1)
	for _, x := range t {
		m = max(m, x)
	}
	if math.IsInf(m, -1) {
		return m
	}
	s := 0.0
	for _, x := range t {
		s += math.Exp(x - m)
	}
	return m + math.Log(s)
}

// round is ln of the density of a round Gaussian in two dimensions at squared distance d2.
func round(d2, sd float64) float64 { return -d2/(2*sd*sd) - math.Log(2*math.Pi*sd*sd) }

type eight struct{ centre [8][2]float64 }

const eightSD = 0.2

func newEight() eight {
	var e eight
	for k := range e.centre {
		s, c := math.Sincos(2 * math.Pi * float64(k) / 8)
		e.centre[k] = [2]float64{2.5 * c, 2.5 * s}
	}
	return e
}

func (eight) Name() string             { return "eight-gaussians" }
func (eight) Dim() int                 { return 2 }
func (eight) entropy() (float64, bool) { return 0, false }
func (eight) box() (lo, hi float64)    { return -4.5, 4.5 }

func (e eight) draw(s *rng.Stream, x []float64) {
	c := e.centre[s.IntN(8)]
	x[0], x[1] = c[0]+eightSD*s.Norm(), c[1]+eightSD*s.Norm()
}

func (e eight) LogProb(x []float64) float64 {
	var t [8]float64
	for k, c := range e.centre {
		t[k] = round((x[0]-c[0])*(x[0]-c[0])+(x[1]-c[1])*(x[1]-c[1]), eightSD)
	}
	return logSumExp(t[:]) - math.Log(8)
}

// moons: (cos t, sin t) and (1 - cos t, 1/2 - sin t), t uniform in (0, pi), plus noise. The density is an integral over t, done by
// Gauss-Legendre quadrature of an order that is exact to rounding at this noise.
type moons struct {
	centre [2 * moonNodes][2]float64
	weight [2 * moonNodes]float64 // ln
}

const (
	moonSD    = 0.1
	moonNodes = 96
)

func newMoons() *moons {
	var m moons
	var t, w [moonNodes]float64
	quad.Legendre{}.FixedLocations(t[:], w[:], 0, math.Pi)
	for k := range t {
		s, c := math.Sincos(t[k])
		m.centre[2*k], m.centre[2*k+1] = [2]float64{c, s}, [2]float64{1 - c, 0.5 - s}
		m.weight[2*k] = math.Log(w[k] / (2 * math.Pi))
		m.weight[2*k+1] = m.weight[2*k]
	}
	return &m
}

func (*moons) Name() string             { return "moons" }
func (*moons) Dim() int                 { return 2 }
func (*moons) entropy() (float64, bool) { return 0, false }
func (*moons) box() (lo, hi float64)    { return -2.2, 3.2 }

func (m *moons) draw(s *rng.Stream, x []float64) {
	sin, cos := math.Sincos(math.Pi * s.Float64())
	if s.IntN(2) == 1 {
		cos, sin = 1-cos, 0.5-sin
	}
	x[0], x[1] = cos+moonSD*s.Norm(), sin+moonSD*s.Norm()
}

func (m *moons) LogProb(x []float64) float64 {
	var t [2 * moonNodes]float64
	for k, c := range m.centre {
		t[k] = m.weight[k] + round((x[0]-c[0])*(x[0]-c[0])+(x[1]-c[1])*(x[1]-c[1]), moonSD)
	}
	return logSumExp(t[:])
}

// rings: a point on a circle plus noise has the density exp(-(r^2+R^2)/2s^2) I0(rR/s^2) / (2 pi s^2).
type rings struct{}

const ringSD = 0.1

func (rings) Name() string             { return "rings" }
func (rings) Dim() int                 { return 2 }
func (rings) entropy() (float64, bool) { return 0, false }
func (rings) box() (lo, hi float64)    { return -4.2, 4.2 }

func (rings) draw(s *rng.Stream, x []float64) {
	r := 1.0
	if u := s.Float64(); u >= 0.5 {
		r = 3
	} else if u >= 1.0/6 {
		r = 2
	}
	sin, cos := math.Sincos(2 * math.Pi * s.Float64())
	x[0], x[1] = r*cos+ringSD*s.Norm(), r*sin+ringSD*s.Norm()
}

func (rings) LogProb(x []float64) float64 {
	r := math.Hypot(x[0], x[1])
	var t [3]float64
	for k := range t {
		R := float64(k + 1)
		t[k] = math.Log(R/6) + round((r-R)*(r-R), ringSD) + logI0Scaled(r*R/(ringSD*ringSD))
	}
	return logSumExp(t[:])
}

// logI0Scaled is ln(exp(-z) I0(z)) for z >= 0: the power series, or the asymptotic one, both to rounding.
func logI0Scaled(z float64) float64 {
	if z < 30 {
		q, term, sum := z*z/4, 1.0, 1.0
		for k := 1.0; term > 1e-17*sum; k++ {
			term *= q / (k * k)
			sum += term
		}
		return math.Log(sum) - z
	}
	term, sum := 1.0, 1.0
	for k := 1.0; k < 30; k++ {
		term *= (2*k - 1) * (2*k - 1) / (8 * k * z)
		sum += term
		if term < 1e-17 {
			break
		}
	}
	return math.Log(sum) - 0.5*math.Log(2*math.Pi*z)
}

type checkerboard struct{}

func (checkerboard) Name() string             { return "checkerboard" }
func (checkerboard) Dim() int                 { return 2 }
func (checkerboard) entropy() (float64, bool) { return math.Log(8), true }
func (checkerboard) box() (lo, hi float64)    { return -2, 2 }

func (checkerboard) draw(s *rng.Stream, x []float64) {
	i, j := s.IntN(4), s.IntN(2)
	x[0] = float64(i) - 2 + s.Float64()
	x[1] = float64(2*j+i%2) - 2 + s.Float64()
}

func (checkerboard) LogProb(x []float64) float64 {
	i, j := math.Floor(x[0])+2, math.Floor(x[1])+2
	if !(0 <= i && i < 4 && 0 <= j && j < 4) || math.Mod(i+j, 2) != 0 {
		return math.Inf(-1)
	}
	return -math.Log(8)
}

// gaussians16 is a mixture of Gaussians in 16 dimensions with full covariances: x = mean + L z, L lower triangular.
type gaussians16 struct {
	share [parts]float64 // ln
	mean  [parts][dim16]float64
	l     [parts][dim16 * dim16]float64
	norm  [parts]float64 // ln det L + 8 ln 2 pi
}

const (
	dim16 = 16
	parts = 6
)

func newGaussians16() *gaussians16 {
	var g gaussians16
	key := rng.NewKey(16, "toys gaussians-16d constants")
	total := 0.0
	for p := range parts {
		s := key.At(uint64(p))
		w := 0.5 + s.Float64()
		total += w
		g.share[p] = math.Log(w)
		g.norm[p] = dim16 / 2 * math.Log(2*math.Pi)
		for i := range dim16 {
			g.mean[p][i] = 1.5 * s.Norm()
			for j := range i {
				g.l[p][dim16*i+j] = 0.25 * s.Norm()
			}
			d := 0.4 + 0.6*s.Float64()
			g.l[p][dim16*i+i] = d
			g.norm[p] += math.Log(d)
		}
	}
	for p := range g.share {
		g.share[p] -= math.Log(total)
	}
	return &g
}

func (*gaussians16) Name() string             { return "gaussians-16d" }
func (*gaussians16) Dim() int                 { return dim16 }
func (*gaussians16) entropy() (float64, bool) { return 0, false }
func (*gaussians16) box() (lo, hi float64)    { return -10, 10 }

func (g *gaussians16) draw(s *rng.Stream, x []float64) {
	p, u := 0, s.Float64()
	for ; p < parts-1; p++ {
		if u -= math.Exp(g.share[p]); u < 0 {
			break
		}
	}
	var z [dim16]float64
	for i := range z {
		z[i] = s.Norm()
		x[i] = g.mean[p][i]
		for j, v := range z[:i+1] {
			x[i] += g.l[p][dim16*i+j] * v
		}
	}
}

func (g *gaussians16) LogProb(x []float64) float64 {
	var t [parts]float64
	for p := range parts {
		var z [dim16]float64
		t[p] = g.share[p] - g.norm[p]
		for i := range z {
			v := x[i] - g.mean[p][i]
			for j, u := range z[:i] {
				v -= g.l[p][dim16*i+j] * u
			}
			z[i] = v / g.l[p][dim16*i+i]
			t[p] -= z[i] * z[i] / 2
		}
	}
	return logSumExp(t[:])
}
