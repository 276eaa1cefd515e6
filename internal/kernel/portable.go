package kernel

import "math"

// Portable returns the reference set: plain Go, for float32 and float64.
func Portable[T Float]() *Set[T] {
	return &Set[T]{
		Name:              "portable",
		Mul:               mul[T],
		RoundPairs:        roundPairs[T],
		MulPairs:          unpaired(mul[T]),
		GradW:             gradW[T],
		Transpose:         transpose[T],
		RowSum:            rowSum[T],
		Exp:               elementwise[T](exp[T]),
		Log:               elementwise[T](log[T]),
		Tanh:              elementwise[T](math.Tanh),
		Sigmoid:           elementwise[T](sigmoid),
		Softplus:          elementwise[T](softplus),
		SiLU:              elementwise[T](silu),
		GELU:              elementwise[T](gelu),
		TanhGrad:          gradient[T](func(y float64) float64 { return 1 - y*y }),
		SiLUGrad:          gradient[T](siluPrime),
		GELUGrad:          gradient[T](geluPrime),
		Axpy:              axpy[T],
		MulAdd:            mulAdd[T],
		AffineForward:     affineForward[T],
		AffineBackward:    affineBackward[T],
		AffineInverse:     affineInverse[T],
		SplineForward:     splineForward[T],
		SplineBackward:    splineBackward[T],
		SplineInverse:     splineInverse[T],
		LayerNorm:         layerNorm[T],
		LayerNormBackward: layerNormBackward[T],
		Softmax:           softmax[T],
		SoftmaxBackward:   softmaxBackward[T],
		Adam:              adam[T],
		SumSq:             sumSq[T],
		GaussMix:          gaussMix[T],
	}
}

// eachSpan calls f for every run of output units [i,j) that use [lo,hi).
func eachSpan(spans []Span, m, k int, f func(i, j, lo, hi int)) {
	if spans == nil {
		f(0, m, 0, k)
	}
	i := 0
	for _, s := range spans {
		f(i, i+int(s.Rows), int(s.Lo), int(s.Hi))
		i += int(s.Rows)
	}
}

func mul[T Float](c []T, cp int, a []T, rs, cs int, b []T, bp int, m, k, np int, spans []Span, e Epilogue[T]) {
	eachSpan(spans, m, k, func(i, j, lo, hi int) {
		if hi < lo {
			return
		}
		for p := range np {
			for i := i; i < j; i += 2 {
				mulRows(c, cp, a, rs, cs, b, bp, i, min(2, j-i), lo, hi, p, np, &e)
			}
		}
	})
}

// mulRows is the product of one or two rows with panel p.
func mulRows[T Float](c []T, cp int, a []T, rs, cs int, b []T, bp int, i, rows, lo, hi, p, np int, e *Epilogue[T]) {
	var acc [2][Lanes]T
	for r := range rows {
		if e.Bias != nil {
			for l := range acc[r] {
				acc[r][l] = e.Bias[i+r]
			}
		}
		if e.Add {
			for l, v := range c[p*cp+(i+r)*Lanes:][:Lanes] {
				acc[r][l] += v
			}
		}
	}
	if lo < hi {
		multiplyRows(&acc, a[i*rs+lo*cs:], rs*(rows-1), cs, b[p*bp+lo*Lanes:p*bp+hi*Lanes], hi-lo)
	}
	for r := range rows {
		row := c[p*cp+(i+r)*Lanes:][:Lanes]
		e.store(row, &acc[r], p, i+r)
		if e.Half && p == np-1 {
			clear(row[Lanes/2:])
		}
	}
}

// multiplyRows adds the products of two rows of a with the k rows of b, four lanes at a time so that the sums stay in registers.
func multiplyRows[T Float](acc *[2][Lanes]T, a []T, rs, cs int, b []T, k int) {
	for l := 0; l < Lanes; l += 4 {
		s0, s1, s2, s3 := acc[0][l], acc[0][l+1], acc[0][l+2], acc[0][l+3]
		t0, t1, t2, t3 := acc[1][l], acc[1][l+1], acc[1][l+2], acc[1][l+3]
		for q := range k {
			v := b[q*Lanes+l:][:4]
			w, u := a[q*cs], a[q*cs+rs]
			s0 += w * v[0]
			s1 += w * v[1]
			s2 += w * v[2]
			s3 += w * v[3]
			t0 += u * v[0]
			t1 += u * v[1]
			t2 += u * v[2]
			t3 += u * v[3]
		}
		acc[0][l], acc[0][l+1], acc[0][l+2], acc[0][l+3] = s0, s1, s2, s3
		acc[1][l], acc[1][l+1], acc[1][l+2], acc[1][l+3] = t0, t1, t2, t3
	}
}

func (e *Epilogue[T]) store(out []T, acc *[Lanes]T, p, i int) {
	if e.Act == ReLU {
		for l, v := range acc {
			acc[l] = max(v, 0)
		}
	}
	if e.Gate != nil {
		for l, v := range e.Gate[p*e.GateStride+i*Lanes:][:Lanes] {
			if !(v > 0) {
				acc[l] = 0
			}
		}
	}
	copy(out, acc[:])
}

func gradW[T Float](w []T, ld int, dy []T, dyp int, xt []T, ldx, xtp int, m, k, np int, spans []Span, add bool) {
	eachSpan(spans, m, k, func(i, j, lo, hi int) {
		if hi <= lo {
			return
		}
		lo &^= 15
		hi = min((hi+15)&^15, ld, ldx)
		for ; i < j; i++ {
			if !add {
				clear(w[i*ld+lo : i*ld+hi])
			}
			gradRow(w[i*ld+lo:i*ld+hi], dy, i*Lanes, dyp, xt, lo, ldx, xtp, np)
		}
	})
}

// gradRow adds the gradient of the weights between one output unit, at an offset in its panels, and a row of inputs from a column on.
func gradRow[T Float](row, dy []T, unit, dyp int, xt []T, column, ldx, xtp, np int) {
	for p := range np {
		g := dy[p*dyp+unit:][:Lanes]
		for e := 0; e < Lanes; e += 4 {
			x := xt[p*xtp+e*ldx+column:]
			x0, x1, x2, x3 := x[:len(row)], x[ldx:][:len(row)], x[2*ldx:][:len(row)], x[3*ldx:][:len(row)]
			g0, g1, g2, g3 := g[e], g[e+1], g[e+2], g[e+3]
			for q, v := range row {
				row[q] = v + (g0*x0[q] + g1*x1[q]) + (g2*x2[q] + g3*x3[q])
			}
		}
	}
}

func transpose[T Float](dst []T, ld, dp int, src []T, sp, rows, np int) {
	for p := range np {
		for e := range Lanes {
			row := dst[p*dp+e*ld:][:ld]
			for u := range rows {
				row[u] = src[p*sp+u*Lanes+e]
			}
			clear(row[rows:])
		}
	}
}

func rowSum[T Float](dst []T, src []T, sp, rows, np int) {
	for u := range rows {
		var s T
		for p := range np {
			for _, v := range src[p*sp+u*Lanes:][:Lanes] {
				s += v
			}
		}
		dst[u] += s
	}
}

func elementwise[T Float](f func(float64) float64) func(dst, x []T) {
	return func(dst, x []T) {
		for i, v := range x {
			dst[i] = T(f(float64(v)))
		}
	}
}

func gradient[T Float](f func(float64) float64) func(dst, gy, x []T) {
	return func(dst, gy, x []T) {
		for i, v := range x {
			dst[i] = gy[i] * T(f(float64(v)))
		}
	}
}

// exp ends at the largest T instead of overflowing.
func exp[T Float](x float64) float64 {
	if _, limit := limits[T](); x > math.Log(limit) {
		return limit
	}
	return math.Exp(x)
}

// log takes what lies below the smallest normal T for that number.
func log[T Float](x float64) float64 {
	if smallest, _ := limits[T](); x < smallest {
		return math.Log(smallest)
	}
	return math.Log(x)
}

// limits are the smallest normal and the largest T.
func limits[T Float]() (smallest, largest float64) {
	if T(1)+T(0x1p-30) == 1 {
		return 0x1p-126, math.MaxFloat32
	}
	return 0x1p-1022, math.MaxFloat64
}

func sigmoid(x float64) float64 {
	if x >= 0 {
		return 1 / (1 + math.Exp(-x))
	}
	e := math.Exp(x)
	return e / (1 + e)
}

func softplus(x float64) float64 { return max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) }

func silu(x float64) float64 { return x * sigmoid(x) }

func siluPrime(x float64) float64 {
	s := sigmoid(x)
	return s * (1 + x*(1-s))
}

// The tanh form of GELU (arXiv 1606.08415).
const geluA, geluB = 0.7978845608028654, 0.044715

func gelu(x float64) float64 { return 0.5 * x * (1 + math.Tanh(geluA*(x+geluB*x*x*x))) }

func geluPrime(x float64) float64 {
	t := math.Tanh(geluA * (x + geluB*x*x*x))
	return 0.5*(1+t) + 0.5*x*(1-t*t)*geluA*(1+3*geluB*x*x)
}

func axpy[T Float](y []T, a T, x []T) {
	for i, v := range x {
		y[i] += a * v
	}
}

func mulAdd[T Float](dst, x, a, b []T) {
	for i := range dst {
		dst[i] = x[i] + a[i]*b[i]
	}
}

// softBound limits |s| smoothly to ln(1/MinSlope) and returns the value and its derivative.
func softBound(s float64, over float64) (v, d float64) {
	r := 1 / (1 + math.Abs(s)*over)
	return s * r, r * r
}

const (
	lnSlope   = 6.907755278982137 // −ln MinSlope
	affineInv = 1 / lnSlope
	widthInv  = 2 / lnSlope
)

func affineForward[T Float](n, np int, y []T, yp int, ladj []T, x []T, xp int, theta []T, tp int, save []T, sp int) {
	for p := range np {
		for f := range n {
			for e := range Lanes {
				ls, d := softBound(float64(theta[p*tp+(2*f+1)*Lanes+e]), affineInv)
				s := math.Exp(ls)
				y[p*yp+f*Lanes+e] = T(float64(x[p*xp+f*Lanes+e])*s + float64(theta[p*tp+2*f*Lanes+e]))
				if ladj != nil {
					ladj[p*Lanes+e] += T(ls)
				}
				if save != nil {
					save[p*sp+2*f*Lanes+e], save[p*sp+(2*f+1)*Lanes+e] = T(s), T(d)
				}
			}
		}
	}
}

func affineBackward[T Float](n, np int, dx []T, dxp int, dtheta []T, dtp int, gy []T, gyp int, gl []T, x []T, xp int, theta []T, tp int, save []T, sp int) {
	for p := range np {
		for f := range n {
			for e := range Lanes {
				g := gy[p*gyp+f*Lanes+e]
				gx := g * save[p*sp+2*f*Lanes+e]
				dtheta[p*dtp+2*f*Lanes+e] = g
				dtheta[p*dtp+(2*f+1)*Lanes+e] = (gx*x[p*xp+f*Lanes+e] + gl[p*Lanes+e]) * save[p*sp+(2*f+1)*Lanes+e]
				dx[p*dxp+f*Lanes+e] = gx
			}
		}
	}
}

func affineInverse[T Float](n, np int, x []T, xp int, ladj []T, y []T, yp int, theta []T, tp int) {
	for p := range np {
		for f := range n {
			for e := range Lanes {
				ls, _ := softBound(float64(theta[p*tp+(2*f+1)*Lanes+e]), affineInv)
				x[p*xp+f*Lanes+e] = T((float64(y[p*yp+f*Lanes+e]) - float64(theta[p*tp+2*f*Lanes+e])) * math.Exp(-ls))
				if ladj != nil {
					ladj[p*Lanes+e] -= T(ls)
				}
			}
		}
	}
}

func layerNorm[T Float](y []T, yp int, mean, rstd []T, x []T, xp int, scale, shift []T, mp int, rows, np int, eps T) {
	for p := range np {
		for e := range Lanes {
			var s, q float64
			for u := range rows {
				s += float64(x[p*xp+u*Lanes+e])
			}
			s /= float64(rows)
			for u := range rows {
				d := float64(x[p*xp+u*Lanes+e]) - s
				q += d * d
			}
			r := 1 / math.Sqrt(q/float64(rows)+float64(eps))
			mean[p*Lanes+e], rstd[p*Lanes+e] = T(s), T(r)
			for u := range rows {
				v := (float64(x[p*xp+u*Lanes+e]) - s) * r
				if scale != nil {
					v = v*(1+float64(scale[p*mp+u*Lanes+e])) + float64(shift[p*mp+u*Lanes+e])
				}
				y[p*yp+u*Lanes+e] = T(v)
			}
		}
	}
}

func layerNormBackward[T Float](dx []T, dxp int, dscale, dshift []T, dmp int, gy []T, gyp int, x []T, xp int, mean, rstd []T, scale []T, mp int, rows, np int) {
	for p := range np {
		for e := range Lanes {
			m, r := float64(mean[p*Lanes+e]), float64(rstd[p*Lanes+e])
			var sg, sgx float64
			for u := range rows {
				g := float64(gy[p*gyp+u*Lanes+e])
				h := (float64(x[p*xp+u*Lanes+e]) - m) * r
				if dscale != nil {
					dscale[p*dmp+u*Lanes+e] = T(g * h)
					dshift[p*dmp+u*Lanes+e] = T(g)
				}
				if scale != nil {
					g *= 1 + float64(scale[p*mp+u*Lanes+e])
				}
				sg += g
				sgx += g * h
			}
			sg /= float64(rows)
			sgx /= float64(rows)
			for u := range rows {
				g := float64(gy[p*gyp+u*Lanes+e])
				if scale != nil {
					g *= 1 + float64(scale[p*mp+u*Lanes+e])
				}
				h := (float64(x[p*xp+u*Lanes+e]) - m) * r
				dx[p*dxp+u*Lanes+e] = T(r * (g - sg - h*sgx))
			}
		}
	}
}

func softmax[T Float](out []T, pp int, s []T, sp int, rows, valid, np int, scale T) {
	for p := range np {
		for e := range Lanes {
			top := math.Inf(-1)
			for u := range valid {
				top = max(top, float64(s[p*sp+u*Lanes+e]*scale))
			}
			sum := 0.0
			for u := range valid {
				sum += math.Exp(float64(s[p*sp+u*Lanes+e]*scale) - top)
			}
			for u := range rows {
				v := 0.0
				if u < valid {
					v = math.Exp(float64(s[p*sp+u*Lanes+e]*scale)-top) / sum
				}
				out[p*pp+u*Lanes+e] = T(v)
			}
		}
	}
}

func softmaxBackward[T Float](ds []T, dsp int, gp []T, gpp int, out []T, pp int, rows, np int, scale T) {
	for p := range np {
		for e := range Lanes {
			dot := 0.0
			for u := range rows {
				dot += float64(gp[p*gpp+u*Lanes+e]) * float64(out[p*pp+u*Lanes+e])
			}
			for u := range rows {
				ds[p*dsp+u*Lanes+e] = scale * out[p*pp+u*Lanes+e] * (gp[p*gpp+u*Lanes+e] - T(dot))
			}
		}
	}
}

func adam[T Float](w, m, v, mean []T, grads [][]T, mask []T, s AdamStep) {
	b1, b2 := T(s.Beta1), T(s.Beta2)
	for i := range w {
		if mask != nil && mask[i] == 0 {
			continue
		}
		var g T
		for _, sh := range grads {
			g += sh[i]
		}
		g *= T(s.Scale)
		m[i] = b1*m[i] + T(1-s.Beta1)*g
		v[i] = b2*v[i] + T(1-s.Beta2)*g*g
		step := m[i] * T(s.Correct1) / (T(math.Sqrt(float64(v[i]*T(s.Correct2)))) + T(s.Eps))
		w[i] -= T(s.Rate) * (step + T(s.Decay)*w[i])
		if mean != nil {
			mean[i] = w[i] + T(s.Keep)*(mean[i]-w[i])
		}
	}
}

func sumSq[T Float](grads [][]T, mask []T) float64 {
	if len(grads) == 0 {
		return 0
	}
	s := 0.0
	for i := range grads[0] {
		if mask != nil && mask[i] == 0 {
			continue
		}
		var g T
		for _, sh := range grads {
			g += sh[i]
		}
		s += float64(g) * float64(g)
	}
	return s
}

func gaussMix[T Float](f, grad []T, gp int, x []T, xp int, dim, np int, y, wy []T, ny int, c []T) {
	for p := range np {
		for e := range Lanes {
			for j := range ny {
				r2 := 0.0
				for d := range dim {
					t := float64(x[p*xp+d*Lanes+e]) - float64(y[j*dim+d])
					r2 += t * t
				}
				var k, dk float64
				for _, b := range c {
					v := math.Exp(-r2 * float64(b))
					k += v
					dk -= 2 * float64(b) * v
				}
				w := float64(wy[j]) / float64(len(c))
				f[p*Lanes+e] += T(w * k)
				if grad == nil {
					continue
				}
				for d := range dim {
					grad[p*gp+d*Lanes+e] += T(w * dk * (float64(x[p*xp+d*Lanes+e]) - float64(y[j*dim+d])))
				}
			}
		}
	}
}
