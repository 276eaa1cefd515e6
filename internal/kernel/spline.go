package kernel

import "math"

// maxBins bounds the number of bins of a spline.
const maxBins = 64

// knots are the bins of one spline and what their parameters do to them.
type knots struct {
	x, y, d    [maxBins + 1]float64 // positions and slopes
	w, h       [maxBins]float64     // softmax weights
	dw, dh, dd [maxBins + 1]float64 // derivatives of the soft bounds
}

func cumulate(x, p []float64, bins int, bound float64) {
	x[0] = -bound
	s := 0.0
	for k := range bins {
		s += p[k]
		x[k+1] = bound * (2*s - 1)
	}
	x[bins] = bound
}

func (q *knots) fill(s Spline, at func(row int) float64) {
	bins := s.Bins
	row := func(from, n int, p, d []float64) {
		top := math.Inf(-1)
		for k := range n {
			p[k], d[k] = softBound(at(from+k), widthInv)
			top = max(top, p[k])
		}
		sum := 0.0
		for k := range n {
			p[k] = math.Exp(p[k] - top)
			sum += p[k]
		}
		for k := range n {
			p[k] /= sum
		}
	}
	row(0, bins, q.w[:], q.dw[:])
	row(bins, bins, q.h[:], q.dh[:])
	cumulate(q.x[:], q.w[:], bins, s.Bound)
	cumulate(q.y[:], q.h[:], bins, s.Bound)
	if s.Circular {
		for k := range bins {
			v, d := softBound(at(2*bins+k), affineInv)
			q.d[k], q.dd[k] = math.Exp(v), d
		}
		q.d[bins], q.dd[bins] = q.d[0], q.dd[0]
		return
	}
	q.d[0], q.d[bins] = 1, 1
	for k := 1; k < bins; k++ {
		v, d := softBound(at(2*bins+k-1), affineInv)
		q.d[k], q.dd[k] = math.Exp(v), d
	}
}

// bin counts the knots strictly below v and clips to a bin.
func bin(x []float64, bins int, v float64) int {
	k := 0
	for k < bins-1 && x[k+1] < v {
		k++
	}
	return k
}

// piece is the spline on one bin, evaluated at z in [0,1].
type piece struct{ x0, w, y0, h, d0, d1, s float64 }

func (q *knots) piece(k int) piece {
	p := piece{x0: q.x[k], w: q.x[k+1] - q.x[k], y0: q.y[k], h: q.y[k+1] - q.y[k], d0: q.d[k], d1: q.d[k+1]}
	p.s = p.h / p.w
	return p
}

func (p piece) at(z float64) (y, slope float64) {
	u := z * (1 - z)
	den := p.s + (p.d0+p.d1-2*p.s)*u
	y = p.y0 + p.h*(p.s*z*z+p.d0*u)/den
	slope = p.s * p.s * (2*p.s*u + p.d0*(1-z)*(1-z) + p.d1*z*z) / (den * den)
	return
}

func splineForward[T Float](s Spline, n, np int, y []T, yp int, ladj []T, x []T, xp int, theta []T, tp int, save []T, sp int) {
	var q knots
	pr := s.Params()
	for p := range np {
		for f := range n {
			for e := range Lanes {
				v := float64(x[p*xp+f*Lanes+e])
				if !(v > -s.Bound && v < s.Bound) {
					y[p*yp+f*Lanes+e] = T(v)
					continue
				}
				th := theta[p*tp+f*pr*Lanes+e:]
				q.fill(s, func(r int) float64 { return float64(th[r*Lanes]) })
				c := q.piece(bin(q.x[:], s.Bins, v))
				out, slope := c.at(min(max((v-c.x0)/c.w, 0), 1))
				y[p*yp+f*Lanes+e] = T(out)
				if ladj != nil {
					ladj[p*Lanes+e] += T(math.Log(slope))
				}
			}
		}
	}
}

// splineBackward recomputes the bin from theta and differentiates y and log dy/dx with respect to x, the six numbers of the bin and
// through them the parameters.
func splineBackward[T Float](s Spline, n, np int, dx []T, dxp int, dtheta []T, dtp int, gy []T, gyp int, gl []T, x []T, xp int, theta []T, tp int, save []T, sp int) {
	var q knots
	pr := s.Params()
	var out [3 * maxBins]float64
	for p := range np {
		for f := range n {
			for e := range Lanes {
				v := float64(x[p*xp+f*Lanes+e])
				g, l := float64(gy[p*gyp+f*Lanes+e]), float64(gl[p*Lanes+e])
				clear(out[:pr])
				if !(v > -s.Bound && v < s.Bound) {
					dx[p*dxp+f*Lanes+e] = T(g)
				} else {
					th := theta[p*tp+f*pr*Lanes+e:]
					q.fill(s, func(r int) float64 { return float64(th[r*Lanes]) })
					dx[p*dxp+f*Lanes+e] = T(q.backward(s, v, g, l, out[:pr]))
				}
				for r := range pr {
					dtheta[p*dtp+(f*pr+r)*Lanes+e] = T(out[r])
				}
			}
		}
	}
}

// backward returns the gradient with respect to x and writes that of the raw parameters, for cotangents g of y and l of log dy/dx.
func (q *knots) backward(s Spline, v, g, l float64, out []float64) float64 {
	bins := s.Bins
	k := bin(q.x[:], bins, v)
	c := q.piece(k)
	z := min(max((v-c.x0)/c.w, 0), 1)
	u := z * (1 - z)
	du := 1 - 2*z
	t := c.d0 + c.d1 - 2*c.s
	den := c.s + t*u
	num := c.s*z*z + c.d0*u
	r := num / den
	b := 2*c.s*u + c.d0*(1-z)*(1-z) + c.d1*z*z
	// y = y0 + h·r;  log slope = 2 log s + log b − 2 log den
	dnum := func(dz, ds, d0 float64) float64 { return 2*c.s*z*dz + z*z*ds + d0*u + c.d0*du*dz }
	dden := func(dz, ds, d0, d1 float64) float64 { return ds + (d0+d1-2*ds)*u + t*du*dz }
	db := func(dz, ds, d0, d1 float64) float64 {
		return 2*u*ds + 2*c.s*du*dz + (1-z)*(1-z)*d0 - 2*c.d0*(1-z)*dz + z*z*d1 + 2*c.d1*z*dz
	}
	partial := func(dz, ds, d0, d1 float64) float64 {
		dd := dden(dz, ds, d0, d1)
		return g*c.h*(dnum(dz, ds, d0)-r*dd)/den + l*(2*ds/c.s+db(dz, ds, d0, d1)/b-2*dd/den)
	}
	gz := partial(1, 0, 0, 0)
	gs := partial(0, 1, 0, 0)
	g0 := partial(0, 0, 1, 0)
	g1 := partial(0, 0, 0, 1)
	gx := gz / c.w
	// z = (v−x0)/w, s = h/w
	gw := -gz*z/c.w - gs*c.s/c.w
	gh := g*r + gs/c.w
	var gX, gY [maxBins + 1]float64 // cotangents of the knots
	gX[k] = -gx - gw
	gX[k+1] = gw
	gY[k] = g - gh
	gY[k+1] = gh
	through := func(gk []float64, p, d []float64, out []float64) {
		// knot j+1 = bound(2 Σ_{i<=j} p_i − 1); the outer two are fixed
		var gp [maxBins]float64
		acc, mean := 0.0, 0.0
		for i := bins - 1; i >= 0; i-- {
			if i+1 < bins {
				acc += gk[i+1]
			}
			gp[i] = 2 * s.Bound * acc
			mean += p[i] * gp[i]
		}
		for i := range bins {
			out[i] = p[i] * (gp[i] - mean) * d[i]
		}
	}
	through(gX[:], q.w[:], q.dw[:], out[:bins])
	through(gY[:], q.h[:], q.dh[:], out[bins:2*bins])
	slope := func(k int, g float64) {
		if s.Circular {
			out[2*bins+k%bins] += g * q.d[k] * q.dd[k]
		} else if k > 0 && k < bins {
			out[2*bins+k-1] += g * q.d[k] * q.dd[k]
		}
	}
	slope(k, g0)
	slope(k+1, g1)
	return gx
}

func splineInverse[T Float](s Spline, n, np int, x []T, xp int, ladj []T, y []T, yp int, theta []T, tp int) {
	var q knots
	pr := s.Params()
	for p := range np {
		for f := range n {
			for e := range Lanes {
				v := float64(y[p*yp+f*Lanes+e])
				if !(v > -s.Bound && v < s.Bound) {
					x[p*xp+f*Lanes+e] = T(v)
					continue
				}
				th := theta[p*tp+f*pr*Lanes+e:]
				q.fill(s, func(r int) float64 { return float64(th[r*Lanes]) })
				c := q.piece(bin(q.y[:], s.Bins, v))
				r := min(max(v-c.y0, 0), c.h)
				t := c.d0 + c.d1 - 2*c.s
				a := c.h*(c.s-c.d0) + r*t
				b := c.h*c.d0 - r*t
				disc := max(b*b+4*a*c.s*r, 0)
				z := 0.0
				if r > 0 {
					z = min(2*c.s*r/(b+math.Sqrt(disc)), 1)
				}
				x[p*xp+f*Lanes+e] = T(c.x0 + z*c.w)
				if ladj != nil {
					_, slope := c.at(z)
					ladj[p*Lanes+e] -= T(math.Log(slope))
				}
			}
		}
	}
}
