// Package kernel holds what the numeric engine runs on: fused loops over panels of events.
//
// A panel is 32 rows (events, or tokens of a transformer) in structure-of-arrays order: a tensor of width W is, per panel,
// W runs of 32 consecutive numbers; panels follow each other at a stride given in numbers (W·32 for a tensor that stands
// alone, more for a part of a wider one). In the shapes below [p][u][e] is panel, unit, lane.
//
// A Set is one implementation of all kernels. Portable is plain Go, generic over float32 and float64, and the reference that
// every other set is tested against; Best returns the fastest float32 set for this processor (HEPMORPH_CPU=avx2|portable
// forces another). Kernels panic on misuse with a constant text; lengths are checked once at the door.
//
// All kernels are deterministic: the same inputs give the same bits on one set.
package kernel

// Lanes is the number of rows of a panel.
const Lanes = 32

// Block is the number of output units that products take at a time.
const Block = 8

// Float is the element type of a Set.
type Float interface{ float32 | float64 }

// Act is an activation that a product applies before it stores.
type Act uint8

const (
	Identity Act = iota
	ReLU
)

// A Span is the half-open range of the summed index that the next so many output units use. Masked layers keep their units sorted
// by degree, so that a mask is a range. Where Hi < Lo the units are left as they are.
type Span struct{ Lo, Hi, Rows int32 }

// An Epilogue says what happens to a product before it is stored.
type Epilogue[T Float] struct {
	Bias []T // (m), nil for none
	Act  Act
	Add  bool // add to what the destination holds instead of overwriting (before Gate)
	Half bool // the last panel has at most 16 rows: the other lanes of the result are 0 there
	// Gate, if not nil, has the destination's shape (panel stride GateStride): the result is kept where Gate > 0 and 0 elsewhere,
	// the backward of ReLU.
	Gate       []T
	GateStride int
}

// A Set is one implementation of every kernel for one element type. np is the number of panels; a stride named xp belongs to the
// panels of x. Unless said otherwise a kernel overwrites its destinations, and sources and destinations don't overlap.
type Set[T Float] struct {
	Name string

	// Mul is the matrix product c[p][i][e] = epilogue(Σ_k a[i·rs + k·cs] · b[p][k][e]) for i < m, k < k. spans, whose Rows
	// add up to m, restrict k; nil means [0,k). With swapped rs and cs it is the gradient with respect to the input.
	Mul func(c []T, cp int, a []T, rs, cs int, b []T, bp int, m, k, np int, spans []Span, e Epilogue[T])
	// RoundPairs rounds to bfloat16, half to even, and puts two rows into one: dst[p][j][e] holds src[p][2j][e] in its lower 16 bits and
	// src[p][2j+1][e], or 0 beyond the last row, in its upper ones.
	RoundPairs func(dst []uint32, dp int, src []T, sp, rows, np int)
	// MulPairs is Mul of factors that are pairs of bfloat16 numbers: c[p][i][e] = epilogue(Σ_j a[i·rs + j] · b[p][j][e]), j < pairs, where the
	// product of two pairs is the sum of the products of their lower and of their upper numbers. Sums are T, except that numbers below the
	// smallest normal one may count as 0. RoundRow makes a, RoundPairs b.
	MulPairs func(c []T, cp int, a []uint32, rs int, b []uint32, bp int, m, pairs, np int, e Epilogue[T])
	// GradW is the weight gradient w[i·ld + k] = Σ_p Σ_e dy[p][i][e] · xt[p][e][k], or, with add, += it, xt as Transpose makes it (row length
	// ldx, panel stride xtp). ld and ldx are multiples of 16; spans as in Mul, rounded out to multiples of 16 (the caller's mask handles the
	// rest, which stays as it is).
	GradW func(w []T, ld int, dy []T, dyp int, xt []T, ldx, xtp int, m, k, np int, spans []Span, add bool)
	// Transpose writes dst[p][e][u] = src[p][u][e] for u < rows and zeros for rows <= u < ld. ld is a multiple of 16.
	Transpose func(dst []T, ld, dp int, src []T, sp, rows, np int)
	// RowSum ADDS dst[u] += Σ_p Σ_e src[p][u][e], u < rows.
	RowSum func(dst []T, src []T, sp, rows, np int)

	// Element-wise maps over equal lengths; dst and x may be the same slice. Finite input gives finite output: Exp ends at the largest
	// number and may be 0 where e^x < 2e-38, Log takes what lies below the smallest normal number for it. NaN gives NaN.
	Exp, Log, Tanh, Sigmoid, Softplus, SiLU, GELU func(dst, x []T)
	// dst = gy · f'(x), at the input x of the forward map (TanhGrad: at its output y). dst may be gy.
	TanhGrad, SiLUGrad, GELUGrad func(dst, gy, x []T)
	// Axpy ADDS a·x to y.
	Axpy func(y []T, a T, x []T)
	// MulAdd is dst = x + a·b, point by point, over the length of dst, which may be x.
	MulAdd func(dst, x, a, b []T)

	// The monotonic affine transform of n features, zuko-compatible: theta rows 2f (shift) and 2f+1 (raw log-scale s);
	// ls = s/(1+|s/ln 1e-3|), y = x·exp(ls) + shift, ladj[p][e] += Σ_f ls. save keeps what Backward needs (AffineSave rows a feature);
	// if it is nil nothing is kept, and ladj may be nil too.
	AffineForward func(n, np int, y []T, yp int, ladj []T, x []T, xp int, theta []T, tp int, save []T, sp int)
	// AffineBackward writes dx and dtheta, given gy for y and gl[p][e] for ladj. x, theta and save are the forward's. dtheta may be theta.
	AffineBackward func(n, np int, dx []T, dxp int, dtheta []T, dtp int, gy []T, gyp int, gl []T, x []T, xp int, theta []T, tp int, save []T, sp int)
	// AffineInverse writes x with y = x·exp(ls) + shift and, if ladj is not nil, ADDS the log-det of the inverse, −Σ_f ls.
	AffineInverse func(n, np int, x []T, xp int, ladj []T, y []T, yp int, theta []T, tp int)

	// The monotonic rational-quadratic spline of n features with bins bins on [-bound, bound], identity outside (arXiv 1906.04032;
	// parameters as in zuko: widths, heights, inner derivatives: 3·bins−1 theta rows a feature; circular: 3·bins rows, the last
	// group's first derivative serves both ends). ladj[p][e] += Σ_f log dy/dx. save and ladj as in AffineForward.
	SplineForward  func(s Spline, n, np int, y []T, yp int, ladj []T, x []T, xp int, theta []T, tp int, save []T, sp int)
	SplineBackward func(s Spline, n, np int, dx []T, dxp int, dtheta []T, dtp int, gy []T, gyp int, gl []T, x []T, xp int, theta []T, tp int, save []T, sp int)
	SplineInverse  func(s Spline, n, np int, x []T, xp int, ladj []T, y []T, yp int, theta []T, tp int)
	// SplineForwardLate and SplineInverseLate are the same, to the bit, for a spline that has LateSlopes, and slopes that are still to come; nil in a set
	// that gains nothing by them. SplineBackward of another one asks theta for nothing: it finds all that it needs in save. SlopeTable is what they
	// read of the biases (7) and weights (7 rows of length ld) of the slopes of one feature: table[0] = (0, bias) and table[1+k] = (0, w[i·ld + k]) of
	// every i, for k < uses, rounded up to a multiple of 16.
	SplineForwardLate func(s Spline, n, np int, y []T, yp int, ladj []T, x []T, xp int, theta []T, tp int, save []T, sp int, late Slopes[T])
	SplineInverseLate func(s Spline, n, np int, x []T, xp int, ladj []T, y []T, yp int, theta []T, tp int, late Slopes[T])
	SlopeTable        func(table, bias, w []T, ld, uses int)

	// LayerNorm normalises each row over its units: y = (x−mean)·rstd·(1+scale) + shift; scale and shift, of x's shape with panel
	// stride mp, may be nil (both). mean, rstd: (np·32), kept for the backward pass. Biased variance; source: arXiv 1607.06450.
	LayerNorm func(y []T, yp int, mean, rstd []T, x []T, xp int, scale, shift []T, mp int, rows, np int, eps T)
	// LayerNormBackward writes dx and, if not nil, dscale and dshift.
	LayerNormBackward func(dx []T, dxp int, dscale, dshift []T, dmp int, gy []T, gyp int, x []T, xp int, mean, rstd []T, scale []T, mp int, rows, np int)
	// Softmax over the first valid of rows units of each lane, after scaling by scale; the other units get 0. p may be s.
	Softmax func(p []T, pp int, s []T, sp int, rows, valid, np int, scale T)
	// SoftmaxBackward: ds = scale · p · (gp − Σ_u gp·p). ds may be gp.
	SoftmaxBackward func(ds []T, dsp int, gp []T, gpp int, p []T, pp int, rows, np int, scale T)

	// Adam updates n parameters and, if it is not nil, their moving average: see AdamStep.
	Adam func(w, m, v, mean []T, grads [][]T, mask []T, s AdamStep)
	// SumSq returns Σ (Σ_j grads[j][i] · mask[i])², mask 0 or 1, in a fixed order, in float64.
	SumSq func(grads [][]T, mask []T) float64

	// GaussMix ADDS, for each lane e of the panels x (dim rows) the weighted sums over the ny points of y (row-major, dim numbers a
	// point, weights wy): f[p][e] += Σ_j wy[j]·k(x_e, y_j) and, if grad is not nil, grad[p][d][e] += Σ_j wy[j]·∂k/∂x_d. k is the mean over
	// the bandwidths of exp(−|x−y|²·c_q), c_q = 1/(2h_q²).
	GaussMix func(f, grad []T, gp int, x []T, xp int, dim, np int, y, wy []T, ny int, c []T)
}

// A Spline holds the constants of a rational-quadratic spline.
type Spline struct {
	Bins     int
	Bound    float64
	Circular bool // equal end derivatives, period 2·Bound
}

// Params is the number of theta rows a feature.
func (s Spline) Params() int {
	if s.Circular {
		return 3 * s.Bins
	}
	return 3*s.Bins - 1
}

// LateSlopes is the number of inner slopes that may come late, 0 if none may.
func (s Spline) LateSlopes() int {
	if s.Bins != 8 || s.Circular {
		return 0
	}
	return s.Bins - 1
}

// Slopes are the inner slopes of n splines that theta does not have yet: slope i of feature f is bias[f][i] + Σ_k w[f][i][k] · Hidden[p][k][e],
// k < Uses[f]. An event needs two of them, those at the ends of its bin, and which these are is only known when the bin is.
type Slopes[T Float] struct {
	Hidden []T // panels at Stride
	Stride int
	Table  []T // by feature, at Step: what SlopeTable makes of its w
	Step   int
	Uses   []int32 // (n)
}

// From is s without the first n features.
func (s Slopes[T]) From(n int) Slopes[T] {
	s.Table, s.Uses = s.Table[n*s.Step:], s.Uses[n:]
	return s
}

// MinSlope bounds the softened log-parameters: widths, heights and slopes stay within this factor (zuko's slope=1e-3).
const MinSlope = 1e-3

// AffineSave and Spline.Save are the rows a feature that the forward keeps for the backward pass.
const AffineSave = 2

// Save is the number of rows a feature that SplineForward keeps for SplineBackward.
func (s Spline) Save() int { return 2*s.Bins + 16 }

// An AdamStep holds the constants of one step of Adam or AdamW (arXiv 1412.6980, 1711.05101), with the global gradient scale (clipping) in
// Scale: g = Scale·Σ_j grads[j]·mask; m ← β1 m + (1−β1) g; v ← β2 v + (1−β2) g²; w ← w − Rate·(m·Correct1/(√(v·Correct2)+Eps) + Decay·w·mask).
// mean ← w + Keep (mean − w). mask nil means all ones; where it is 0, w stays, m and v have to be 0, mean has to be w, and gradients have no effect.
type AdamStep struct {
	Rate, Beta1, Beta2, Eps, Decay, Scale float64
	Correct1, Correct2                    float64 // 1/(1−β^t)
	Keep                                  float64
}
