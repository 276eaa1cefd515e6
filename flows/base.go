package flows

import (
	"fmt"
	"math"
	"slices"

	"hepmorph/internal/ad"
)

// A Base is the distribution that a flow maps the data to.
type Base[T Float] interface {
	// LogProb records ladj + ln p(z), one unit a row.
	LogProb(p *Program[T], z, ladj Tensor) Tensor
	// Draw writes one point, a function of the key and the address at.
	Draw(key Key, at uint64, z []T)
}

// Normal is the standard normal base.
type Normal[T Float] struct{}

// Draw writes independent standard normal numbers.
func (Normal[T]) Draw(key Key, at uint64, z []T) {
	s := key.At(at)
	fill(theZiggurat(), &s, z)
}

// LogProb records ladj − |z|²/2 − D/2·ln 2π.
func (Normal[T]) LogProb(p *Program[T], z, ladj Tensor) Tensor {
	o := &normalLogProb[T]{z: z, ladj: ladj, y: p.New(1, 1)}
	p.Add(o)
	return o.y
}

type normalLogProb[T Float] struct{ z, ladj, y Tensor }

func (o *normalLogProb[T]) In() []Tensor { return []Tensor{o.z, o.ladj} }

func (o *normalLogProb[T]) Forward(f *ad.Frame[T]) {
	z, l, y := f.V(o.z), f.V(o.ladj), f.V(o.y)
	c := T(float64(o.z.Width) / 2 * math.Log(2*math.Pi))
	for p := range f.Panels(o.z) {
		var half [lanes]T
		for u := range o.z.Width {
			for e, v := range z[p*o.z.Stride()+u*lanes:][:lanes] {
				half[e] += v * v / 2
			}
		}
		for e, h := range half {
			y[p*lanes+e] = l[p*lanes+e] - h - c
		}
	}
}

func (o *normalLogProb[T]) Backward(f *ad.Frame[T], fresh []bool) {
	g := f.G(o.y)
	depositRows(f, o.ladj, g, fresh[1])
	if !f.HasGrad(o.z) {
		return
	}
	z, gz := f.V(o.z), f.G(o.z)
	if fresh[0] {
		clear(f.Cotangents(o.z))
	}
	for p := range f.Panels(o.z) {
		for u := range o.z.Width {
			k := p*o.z.Stride() + u*lanes
			for e, v := range z[k:][:lanes] {
				gz[k+e] -= v * g[p*lanes+e]
			}
		}
	}
}

// depositRows adds g to the cotangent of a tensor of one unit.
func depositRows[T Float](f *ad.Frame[T], t Tensor, g []T, fresh bool) {
	if !f.HasGrad(t) {
		return
	}
	d := f.Cotangents(t)
	if fresh {
		copy(d, g)
	} else {
		f.K.Axpy(d, 1, g[:len(d)])
	}
}

// A StudentT is a base of independent Student t distributions, one number of degrees of freedom a feature, learned with the flow. Splines
// are the identity far out and affine maps keep the order of a tail, so that features get the tails that their base has: marginal
// tail-adaptive flows (arXiv 2206.10311). Start from the degrees of freedom that TailIndex estimates.
type StudentT[T Float] struct {
	ps  *Params[T]
	raw *ad.Param // ν = minFreedom + exp(raw)
}

// minFreedom keeps ν away from 0; above maxFreedom a t distribution is as good as normal.
const minFreedom, maxFreedom = 0.05, 200

// NewStudentT adds the parameters of a base with the given degrees of freedom, one a feature; +Inf stands for a normal tail.
func NewStudentT[T Float](ps *Params[T], name string, freedom []float64) (*StudentT[T], error) {
	b := &StudentT[T]{ps: ps, raw: ps.Vector(name+".freedom", len(freedom))}
	for i, v := range freedom {
		if !(v > minFreedom) {
			return nil, fmt.Errorf("flows: could not make a Student t base: feature %d has %g degrees of freedom (more than %g)", i, v, minFreedom)
		}
		ps.Row(b.raw, i)[0] = T(math.Log(min(v, maxFreedom) - minFreedom))
	}
	return b, nil
}

// Freedom returns ν and dν/draw of a feature.
func (b *StudentT[T]) freedom(i int) (nu, slope float64) {
	e := math.Exp(min(float64(b.ps.Row(b.raw, i)[0]), math.Log(maxFreedom)))
	return minFreedom + e, e
}

// Freedom is the number of degrees of freedom of a feature.
func (b *StudentT[T]) Freedom(i int) float64 {
	nu, _ := b.freedom(i)
	return nu
}

// Draw writes independent numbers, a normal over the root of a χ²/ν each.
func (b *StudentT[T]) Draw(key Key, at uint64, z []T) {
	s := key.At(at)
	for i := range z {
		nu, _ := b.freedom(i)
		z[i] = T(s.Norm() / math.Sqrt(max(2*s.Gamma(nu/2)/nu, 1e-300)))
		z[i] = min(max(z[i], -1e30), 1e30)
	}
}

// LogProb records ladj + Σ_i ln t(z_i; ν_i).
func (b *StudentT[T]) LogProb(p *Program[T], z, ladj Tensor) Tensor {
	o := &studentLogProb[T]{b: b, z: z, ladj: ladj, y: p.New(1, 1)}
	p.Add(o)
	return o.y
}

type studentLogProb[T Float] struct {
	b          *StudentT[T]
	z, ladj, y Tensor
}

func (o *studentLogProb[T]) In() []Tensor { return []Tensor{o.z, o.ladj} }

func (o *studentLogProb[T]) Forward(f *ad.Frame[T]) {
	z, y := f.V(o.z), f.V(o.y)
	copy(f.Values(o.y), f.V(o.ladj))
	for u := range o.z.Width {
		nu, _ := o.b.freedom(u)
		a, _ := math.Lgamma((nu + 1) / 2)
		c, _ := math.Lgamma(nu / 2)
		norm := a - c - math.Log(nu*math.Pi)/2
		for p := range f.Panels(o.z) {
			for e, v := range z[p*o.z.Stride()+u*lanes:][:lanes] {
				y[p*lanes+e] += T(norm - (nu+1)/2*math.Log1p(float64(v)*float64(v)/nu))
			}
		}
	}
}

func (o *studentLogProb[T]) Backward(f *ad.Frame[T], fresh []bool) {
	g := f.G(o.y)
	depositRows(f, o.ladj, g, fresh[1])
	z, grad := f.V(o.z), f.HasGrad(o.z)
	var gz []T
	if grad {
		gz = f.G(o.z)
		if fresh[0] {
			clear(f.Cotangents(o.z))
		}
	}
	for u := range o.z.Width {
		nu, slope := o.b.freedom(u)
		norm := (digamma((nu+1)/2) - digamma(nu/2) - 1/nu) / 2
		sum := 0.0
		for p := range f.Panels(o.z) {
			k := p*o.z.Stride() + u*lanes
			for e, v := range z[k:][:lanes] {
				x, q := float64(v), float64(g[p*lanes+e])
				w := (nu + 1) / (nu + x*x)
				sum += q * (norm - math.Log1p(x*x/nu)/2 + w*x*x/(2*nu))
				if grad {
					gz[k+e] -= T(q * w * x)
				}
			}
		}
		f.DW(o.b.raw)[u] += T(sum * slope)
	}
}

// digamma is the derivative of ln Γ for x > 0, by recurrence and the asymptotic series.
func digamma(x float64) float64 {
	s := 0.0
	for ; x < 10; x++ {
		s -= 1 / x
	}
	q := 1 / (x * x)
	return s + math.Log(x) - 1/(2*x) - q*(1.0/12-q*(1.0/120-q*(1.0/252-q*(1.0/240-q/132))))
}

// TailIndex estimates how heavy each feature's tail is: the degrees of freedom of a t distribution with the same tail, +Inf where it is
// lighter than any power. It is Hill's estimate from the largest 2 % of |x − median| (at least 20 rows), taken as light above 30 as in
// arXiv 2206.10311.
func TailIndex[T Float](r Rows[T]) []float64 {
	const light = 30
	nu := make([]float64, r.D)
	v := make([]float64, r.N)
	for k := range nu {
		for i := range v {
			v[i] = float64(r.X[i*r.D+k])
		}
		slices.Sort(v)
		median := 0.0
		if r.N > 0 {
			median = v[r.N/2]
		}
		for i := range v {
			v[i] = math.Abs(v[i] - median)
		}
		slices.Sort(v)
		n := min(max(r.N/50, 20), r.N-1)
		nu[k] = math.Inf(1)
		if n < 20 || !(v[r.N-1-n] > 0) {
			continue
		}
		s := 0.0
		for _, x := range v[r.N-n:] {
			s += math.Log(x / v[r.N-1-n])
		}
		if alpha := float64(n) / s; alpha < light {
			nu[k] = max(alpha, 2*minFreedom)
		}
	}
	return nu
}

// A Mixture is a base of several Gaussians with diagonal covariance and learned weights, means and widths: for data of several islands,
// which a map from one Gaussian would join by bridges.
type Mixture[T Float] struct {
	K, D int
	ps   *Params[T]
	logw *ad.Param // (K)
	mean *ad.Param // (K, D)
	logs *ad.Param // (K, D), softly bounded
}

// NewMixture adds the parameters of k components of equal weight and unit width, their means drawn at standard deviation spread.
func NewMixture[T Float](ps *Params[T], name string, d, k int, spread float64, seed uint64) (*Mixture[T], error) {
	if d < 1 || k < 1 || !(spread >= 0) {
		return nil, fmt.Errorf("flows: could not make a mixture of %d Gaussians in %d dimensions with spread %g", k, d, spread)
	}
	m := &Mixture[T]{K: k, D: d, ps: ps, logw: ps.Vector(name+".weights", k), mean: ps.Matrix(name+".means", k, d), logs: ps.Matrix(name+".widths", k, d)}
	ps.Normal(m.mean, spread, seed)
	return m, nil
}

// weights writes the components' shares.
func (m *Mixture[T]) weights(w []float64) []float64 {
	norm := m.norm()
	for k := range w {
		w[k] = math.Exp(float64(m.ps.Row(m.logw, k)[0]) - norm)
	}
	return w
}

// norm is the logarithm of the sum of the raw weights.
func (m *Mixture[T]) norm() float64 {
	top, sum := math.Inf(-1), 0.0
	for k := range m.K {
		top = max(top, float64(m.ps.Row(m.logw, k)[0]))
	}
	for k := range m.K {
		sum += math.Exp(float64(m.ps.Row(m.logw, k)[0]) - top)
	}
	return top + math.Log(sum)
}

// logWidth bounds a log-width to ±ln 1000 and returns its slope.
func logWidth(raw float64) (v, slope float64) {
	r := 1 / (1 + math.Abs(raw)/math.Log(1e3))
	return raw * r, r * r
}

// Draw picks a component and draws from it.
func (m *Mixture[T]) Draw(key Key, at uint64, z []T) {
	s := key.At(at)
	u, norm, k := s.Float64(), m.norm(), 0
	for ; k < m.K-1; k++ {
		w := math.Exp(float64(m.ps.Row(m.logw, k)[0]) - norm)
		if u < w {
			break
		}
		u -= w
	}
	mean, logs := m.ps.Row(m.mean, k), m.ps.Row(m.logs, k)
	for i := range z {
		v, _ := logWidth(float64(logs[i]))
		z[i] = mean[i] + T(math.Exp(v)*s.Norm())
	}
}

// LogProb records ladj + ln Σ_k w_k N(z; mean_k, width_k).
func (m *Mixture[T]) LogProb(p *Program[T], z, ladj Tensor) Tensor {
	o := &mixtureLogProb[T]{m: m, z: z, ladj: ladj, y: p.New(1, 1), share: p.Keep(m.K, 1)}
	p.Add(o)
	return o.y
}

type mixtureLogProb[T Float] struct {
	m                 *Mixture[T]
	z, ladj, y, share Tensor
}

func (o *mixtureLogProb[T]) In() []Tensor { return []Tensor{o.z, o.ladj} }

func (o *mixtureLogProb[T]) Forward(f *ad.Frame[T]) {
	m := o.m
	z, y, share := f.V(o.z), f.V(o.y), f.V(o.share)
	copy(f.Values(o.y), f.V(o.ladj))
	w := m.weights(f.Temp64(m.K))
	for p := range f.Panels(o.z) {
		var top, sum [lanes]float64
		for e := range top {
			top[e] = math.Inf(-1)
		}
		for k := range m.K {
			mean, logs := m.ps.Row(m.mean, k), m.ps.Row(m.logs, k)
			var q [lanes]float64
			c := math.Log(w[k]) - float64(m.D)/2*math.Log(2*math.Pi)
			for d := range m.D {
				v, _ := logWidth(float64(logs[d]))
				c -= v
				over := math.Exp(-v)
				for e, x := range z[p*o.z.Stride()+d*lanes:][:lanes] {
					t := (float64(x) - float64(mean[d])) * over
					q[e] += t * t / 2
				}
			}
			for e := range q {
				l := c - q[e]
				share[p*o.share.Stride()+k*lanes+e] = T(l)
				top[e] = max(top[e], l)
			}
		}
		for k := range m.K {
			for e, l := range share[p*o.share.Stride()+k*lanes:][:lanes] {
				sum[e] += math.Exp(float64(l) - top[e])
			}
		}
		for e := range lanes {
			total := top[e] + math.Log(sum[e])
			y[p*lanes+e] += T(total)
			for k := range m.K {
				at := p*o.share.Stride() + k*lanes + e
				share[at] = T(math.Exp(float64(share[at]) - total))
			}
		}
	}
}

func (o *mixtureLogProb[T]) Backward(f *ad.Frame[T], fresh []bool) {
	m := o.m
	g := f.G(o.y)
	depositRows(f, o.ladj, g, fresh[1])
	z, share, grad := f.V(o.z), f.V(o.share), f.HasGrad(o.z)
	var gz []T
	if grad {
		gz = f.G(o.z)
		if fresh[0] {
			clear(f.Cotangents(o.z))
		}
	}
	w := m.weights(f.Temp64(m.K))
	for k := range m.K {
		mean, logs := m.ps.Row(m.mean, k), m.ps.Row(m.logs, k)
		dw := 0.0
		for p := range f.Panels(o.z) {
			for e, r := range share[p*o.share.Stride()+k*lanes:][:lanes] {
				dw += float64(g[p*lanes+e]) * (float64(r) - w[k])
			}
		}
		f.DW(m.logw)[k] += T(dw)
		for d := range m.D {
			v, slope := logWidth(float64(logs[d]))
			over := math.Exp(-v)
			var dmean, dlog float64
			for p := range f.Panels(o.z) {
				r := share[p*o.share.Stride()+k*lanes:][:lanes]
				at := p*o.z.Stride() + d*lanes
				for e, x := range z[at:][:lanes] {
					t := (float64(x) - float64(mean[d])) * over
					q := float64(g[p*lanes+e]) * float64(r[e])
					dmean += q * t * over
					dlog += q * (t*t - 1)
					if grad {
						gz[at+e] -= T(q * t * over)
					}
				}
			}
			f.DW(m.mean)[k*m.mean.LD+d] += T(dmean)
			f.DW(m.logs)[k*m.logs.LD+d] += T(dlog * slope)
		}
	}
}

// Uniform is a base of independent numbers uniform in [−Bound, Bound), for angles. Outside its density is e^−1000 of that inside: not 0, so that
// logarithms stay finite.
type Uniform[T Float] struct{ Bound float64 }

// Draw writes independent uniform numbers.
func (b Uniform[T]) Draw(key Key, at uint64, z []T) {
	s := key.At(at)
	for i := range z {
		z[i] = T(b.Bound * (2*s.Float64() - 1))
	}
}

// LogProb records ladj − D·ln(2·Bound).
func (b Uniform[T]) LogProb(p *Program[T], z, ladj Tensor) Tensor {
	o := &uniformLogProb[T]{b, z, ladj, p.New(1, 1)}
	p.Add(o)
	return o.y
}

type uniformLogProb[T Float] struct {
	b          Uniform[T]
	z, ladj, y Tensor
}

func (o *uniformLogProb[T]) In() []Tensor { return []Tensor{o.z, o.ladj} }

func (o *uniformLogProb[T]) Forward(f *ad.Frame[T]) {
	z, l, y := f.V(o.z), f.V(o.ladj), f.V(o.y)
	c := float64(o.z.Width) * math.Log(2*o.b.Bound)
	for p := range f.Panels(o.z) {
		for e := range lanes {
			y[p*lanes+e] = l[p*lanes+e] - T(c)
		}
		for u := range o.z.Width {
			for e, v := range z[p*o.z.Stride()+u*lanes:][:lanes] {
				if math.Abs(float64(v)) > o.b.Bound {
					y[p*lanes+e] -= 1000
				}
			}
		}
	}
}

func (o *uniformLogProb[T]) Backward(f *ad.Frame[T], fresh []bool) {
	depositRows(f, o.ladj, f.G(o.y), fresh[1])
	if f.HasGrad(o.z) && fresh[0] {
		clear(f.Cotangents(o.z))
	}
}
