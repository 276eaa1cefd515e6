package metric

import (
	"fmt"
	"math"
	"slices"
	"sort"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas64"
	"gonum.org/v1/gonum/mat"

	"hepmorph/internal/gbdt"
	"hepmorph/internal/par"
	"hepmorph/internal/rng"
)

// Histogram sums weights (nil: 1) in the ascending bins [edges[k], edges[k+1]); the last holds its upper edge too, as
// numpy's. What lies outside, and NaN, is dropped.
func Histogram(x, w, edges []float64) []float64 {
	out := make([]float64, len(edges)-1)
	lo, hi := edges[0], edges[len(out)]
	for i, v := range x {
		if v >= lo && v <= hi {
			out[searchEdges(edges, v)] += weight(w, i)
		}
	}
	return out
}

// Separation is the separation power ½Σ(a-b)²/(a+b) of two histograms, each normalised to 1: 0 for equal ones, 1 for
// disjoint ones. Its floor for n_bins filled bins and N events on each side is n_bins/(2N).
func Separation(a, b []float64) float64 {
	sa, sb := max(total(len(a), a), 1e-300), max(total(len(b), b), 1e-300)
	s := 0.0
	for k := range a {
		p, q := a[k]/sa, b[k]/sb
		s += (p - q) * (p - q) / (p + q + 1e-16)
	}
	return s / 2
}

// OutOfFold trains leaf-wise trees on all but one of the folds of a shuffled sample and scores the one left out: the margins of the
// rows of a and of b (200 trees of 31 leaves, rate 0.05, where set is the zero value).
func OutOfFold(a, b [][]float64, folds int, set gbdt.Settings, seed uint64, threads int) (score [2][]float64, err error) {
	if err := checkPair("test with a classifier", a, nil, b, nil); err != nil {
		return score, err
	}
	if folds < 2 {
		return score, fmt.Errorf("metric: could not test with a classifier: %d folds, at least 2 are needed", folds)
	}
	if set == (gbdt.Settings{}) {
		set = gbdt.LeafWise(200, 0.05)
	}
	set.Seed, set.Threads = seed, threads
	na, nb := len(a[0]), len(b[0])
	perm := make([]int32, na+nb)
	st := rng.NewKey(seed, "folds").At(0)
	st.Perm(perm)
	score = [2][]float64{make([]float64, na), make([]float64, nb)}
	for f := range folds {
		part := func(x [][]float64, at int, in bool) ([][]float64, []int) {
			var idx []int
			for i := range x[0] {
				if (int(perm[at+i])%folds == f) == in {
					idx = append(idx, i)
				}
			}
			out := make([][]float64, len(x))
			for j, c := range x {
				out[j] = make([]float64, len(idx))
				for k, i := range idx {
					out[j][k] = c[i]
				}
			}
			return out, idx
		}
		xa, ia := part(a, 0, false)
		xb, ib := part(b, na, false)
		if len(ia) == 0 || len(ib) == 0 {
			return score, fmt.Errorf("metric: could not test with a classifier: %d and %d rows do not fill %d folds", na, nb, folds)
		}
		x, y := make([][]float64, len(a)), make([]float64, len(ia)+len(ib))
		for j := range x {
			x[j] = append(xa[j], xb[j]...)
		}
		for i := range ib {
			y[len(ia)+i] = 1
		}
		m, err := gbdt.Train(x, y, nil, set)
		if err != nil {
			return score, fmt.Errorf("metric: could not test with a classifier: %w", err)
		}
		for side, t := range [][][]float64{a, b} {
			tx, idx := part(t, side*na, true)
			out := make([]float64, len(idx))
			m.Margin(tx, out, threads)
			for k, i := range idx {
				score[side][i] = out[k]
			}
		}
	}
	return score, nil
}

// OutOfFoldAUC is one AUC over all scores of OutOfFold: the shower judges' classifier test.
func OutOfFoldAUC(a, b [][]float64, folds int, set gbdt.Settings, seed uint64, threads int) (float64, error) {
	s, err := OutOfFold(a, b, folds, set, seed, threads)
	if err != nil {
		return 0, err
	}
	return AUC(s[0], nil, s[1], nil), nil
}

// JensenShannon is the Jensen-Shannon divergence of two samples as a classifier sees it, (ln 2 − BCE)/ln 2 with the binary cross entropy BCE
// of its calibrated scores: 0 if it sees no difference, 1 if it always does. The calibration gives the probability of sample 1 (each sample
// counts one half) and is clipped to [1e-6, 1 − 1e-6], as in the CaloChallenge (arXiv:2410.21611); it must come from other rows.
func JensenShannon(c *Calibration, s0, s1 []float64) float64 {
	bce := 0.0
	for side, s := range [][]float64{s0, s1} {
		sum := 0.0
		for _, v := range s {
			p := min(max(c.At(v), 1e-6), 1-1e-6)
			if side == 0 {
				p = 1 - p
			}
			sum -= math.Log(p)
		}
		bce += sum / float64(len(s)) / 2
	}
	return (math.Ln2 - bce) / math.Ln2
}

// rowsOf copies columns into a row-major matrix, each column divided by scale (nil: 1).
func rowsOf(x [][]float64, scale []float64) []float64 {
	d := len(x)
	out := make([]float64, len(x[0])*d)
	for j, c := range x {
		f := 1.0
		if scale != nil {
			f = scale[j]
		}
		for i, v := range c {
			out[i*d+j] = v / f
		}
	}
	return out
}

// scaleOf is the largest |reference| of each column, 1 for a column of zeros.
func scaleOf(ref [][]float64) []float64 {
	s := make([]float64, len(ref))
	for j, c := range ref {
		for _, v := range c {
			s[j] = max(s[j], math.Abs(v))
		}
		if s[j] == 0 {
			s[j] = 1
		}
	}
	return s
}

func checkFinite(verb string, x, y [][]float64) error {
	if err := checkPair(verb, x, nil, y, nil); err != nil {
		return err
	}
	for s, t := range [][][]float64{x, y} {
		for j, c := range t {
			for i, v := range c {
				if math.IsNaN(v) || math.IsInf(v, 0) {
					return fmt.Errorf("metric: could not %s: sample %d, column %d, row %d is %g", verb, s, j, i, v)
				}
			}
		}
	}
	return nil
}

// meanCov returns the mean and unbiased covariance of the given rows of a row-major matrix.
func meanCov(x []float64, d int, rows []int32) (mean []float64, cov *mat.SymDense) {
	n := len(rows)
	mean = make([]float64, d)
	for _, r := range rows {
		for j, v := range x[int(r)*d : int(r+1)*d] {
			mean[j] += v
		}
	}
	for j := range mean {
		mean[j] /= float64(n)
	}
	cov = mat.NewSymDense(d, nil)
	const block = 1024
	buf := make([]float64, block*d)
	for lo := 0; lo < n; lo += block {
		m := min(block, n-lo)
		for k, r := range rows[lo : lo+m] {
			row := buf[k*d : (k+1)*d]
			for j, v := range x[int(r)*d : int(r+1)*d] {
				row[j] = v - mean[j]
			}
		}
		blas64.Syrk(blas.Trans, 1/float64(n-1), blas64.General{Rows: m, Cols: d, Stride: d, Data: buf[:m*d]}, 1, cov.RawSymmetric())
	}
	return mean, cov
}

// rootTrace is Tr sqrt(A·B) of two covariance matrices: with A = LLᵀ the eigenvalues of A·B are those of LᵀBL.
func rootTrace(a, b *mat.SymDense) (float64, error) {
	d := a.SymmetricDim()
	l := mat.NewDense(d, d, nil)
	for j := range d { // Cholesky for matrices that may be singular: a vanishing pivot has a vanishing column
		p := a.At(j, j)
		for k := range j {
			p -= l.At(j, k) * l.At(j, k)
		}
		if p <= 1e-12*a.At(j, j) {
			continue
		}
		p = math.Sqrt(p)
		l.Set(j, j, p)
		for i := j + 1; i < d; i++ {
			s := a.At(i, j)
			li, lj := l.RawRowView(i)[:j], l.RawRowView(j)[:j]
			s -= dot(li, lj)
			l.Set(i, j, s/p)
		}
	}
	var t, m mat.Dense
	t.Mul(b, l)
	m.Mul(l.T(), &t)
	sym := mat.NewSymDense(d, nil)
	for i := range d {
		for j := range i + 1 {
			sym.SetSym(i, j, (m.At(i, j)+m.At(j, i))/2)
		}
	}
	var e mat.EigenSym
	if !e.Factorize(sym, false) {
		return 0, fmt.Errorf("metric: could not take the root of a covariance matrix: no convergence")
	}
	s := 0.0
	for _, v := range e.Values(nil) {
		s += math.Sqrt(max(0, v))
	}
	return s, nil
}

// Frechet is the squared Fréchet distance |μ1-μ2|² + Tr(C1 + C2 - 2 sqrt(C1 C2)) of the normal laws with the samples'
// moments (unbiased covariances).
func Frechet(x, y [][]float64) (float64, error) {
	if err := checkFinite("compute the Fréchet distance", x, y); err != nil {
		return 0, err
	}
	all := func(n int) []int32 { return choose(n, n, 0) }
	return frechet(rowsOf(x, nil), rowsOf(y, nil), len(x), all(len(x[0])), all(len(y[0])))
}

func frechet(x, y []float64, d int, rx, ry []int32) (float64, error) {
	if len(rx) < 2 || len(ry) < 2 {
		return 0, fmt.Errorf("metric: could not compute the Fréchet distance: %d and %d rows, at least 2 are needed", len(rx), len(ry))
	}
	m1, c1 := meanCov(x, d, rx)
	m2, c2 := meanCov(y, d, ry)
	t, err := rootTrace(c1, c2)
	if err != nil {
		return 0, err
	}
	f := -2 * t
	for j := range m1 {
		f += (m1[j]-m2[j])*(m1[j]-m2[j]) + c1.At(j, j) + c2.At(j, j)
	}
	return f, nil
}

// PhysicsSettings of FPD and KPD; the zero value is the challenge's choice, cut down to the rows there are.
type PhysicsSettings struct {
	Min, Max int // FPD: smallest and largest sample drawn. Default 10000 and 50000, at most the rows, Min at most Max/2.
	Points   int // FPD: sizes between them, at even steps of 1/N. Default 10.
	Draws    int // FPD: samples of each size. Default 20.
	Batches  int // KPD: samples. Default 10.
	Rows     int // KPD: rows of each. Default 10000, at most the rows there are.
	Seed     uint64
	Threads  int // 0: every core that is granted
}

func (s PhysicsSettings) filled(n int) PhysicsSettings {
	def := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	def(&s.Max, 50000)
	s.Max = max(4, min(s.Max, n))
	def(&s.Min, 10000)
	s.Min = max(2, min(s.Min, s.Max/2))
	def(&s.Points, 10)
	s.Points = max(2, s.Points)
	def(&s.Draws, 20)
	def(&s.Batches, 10)
	def(&s.Rows, 10000)
	s.Rows = max(2, min(s.Rows, n))
	return s
}

func drawRows(key rng.Key, addr uint64, n, size int) []int32 {
	st := key.At(addr)
	out := make([]int32, size)
	for i := range out {
		out[i] = int32(st.IntN(n))
	}
	slices.Sort(out) // the moments do not care, the cache does
	return out
}

// FPD is the Fréchet physics distance (arXiv:2211.10295): the Fréchet distance of samples drawn with replacement, averaged
// over Draws, for sizes N at even steps of 1/N; a straight line a + b/N with a, b ≥ 0 is fitted and a reported with its
// error. Columns are divided by the largest |reference|. A small positive bias remains: compare with reference against
// reference.
func FPD(ref, gen [][]float64, s PhysicsSettings) (value, sd float64, err error) {
	if err := checkFinite("compute FPD", ref, gen); err != nil {
		return 0, 0, err
	}
	s = s.filled(min(len(ref[0]), len(gen[0])))
	scale := scaleOf(ref)
	d := len(ref)
	x, y := rowsOf(ref, scale), rowsOf(gen, scale)
	key := rng.NewKey(s.Seed, "fpd")
	inv, mean := make([]float64, s.Points), make([]float64, s.Points)
	vals, errs := make([]float64, s.Points*s.Draws), make([]error, s.Points*s.Draws)
	size := make([]int, s.Points)
	for p := range size {
		f := float64(p) / float64(s.Points-1)
		size[p] = int(1 / ((1-f)/float64(s.Min) + f/float64(s.Max)))
		inv[p] = 1 / float64(size[p])
	}
	par.For(s.Threads, len(vals), 1, func(i, _, _ int) {
		n := size[i/s.Draws]
		vals[i], errs[i] = frechet(x, y, d, drawRows(key, uint64(2*i), len(ref[0]), n), drawRows(key, uint64(2*i+1), len(gen[0]), n))
	})
	for i, v := range vals {
		if errs[i] != nil {
			return 0, 0, errs[i]
		}
		mean[i/s.Draws] += v / float64(s.Draws)
	}
	value, sd = intercept(inv, mean)
	return value, sd, nil
}

// intercept fits y = a + b·x with a, b ≥ 0 and returns a and its error from the residuals.
func intercept(x, y []float64) (a, sd float64) {
	n := float64(len(x))
	var sx, sy, sxx, sxy float64
	for i := range x {
		sx += x[i]
		sy += y[i]
		sxx += x[i] * x[i]
		sxy += x[i] * y[i]
	}
	det := n*sxx - sx*sx
	a, b := (sxx*sy-sx*sxy)/det, (n*sxy-sx*sy)/det
	if a < 0 {
		a, b = 0, max(0, sxy/sxx)
	} else if b < 0 {
		a, b = max(0, sy/n), 0
	}
	r := 0.0
	for i := range x {
		r += (y[i] - a - b*x[i]) * (y[i] - a - b*x[i])
	}
	return a, math.Sqrt(r / max(1, n-2) * sxx / det)
}

// KPD is the kernel physics distance (arXiv:2211.10295): the unbiased MMD² with kernel ((x·y)/d + 1)⁴ of samples drawn with
// replacement; the median over the batches and half the width of their central 67.45 %. Columns are divided by the largest
// |reference|.
func KPD(ref, gen [][]float64, s PhysicsSettings) (value, sd float64, err error) {
	if err := checkFinite("compute KPD", ref, gen); err != nil {
		return 0, 0, err
	}
	s = s.filled(min(len(ref[0]), len(gen[0])))
	scale := scaleOf(ref)
	d := len(ref)
	x, y := rowsOf(ref, scale), rowsOf(gen, scale)
	key := rng.NewKey(s.Seed, "kpd")
	vals := make([]float64, s.Batches)
	for b := range vals {
		take := func(x []float64, addr uint64) []float64 {
			out := make([]float64, 0, s.Rows*d)
			for _, r := range drawRows(key, addr, len(x)/d, s.Rows) {
				out = append(out, x[int(r)*d:int(r+1)*d]...)
			}
			return out
		}
		vals[b] = kernelDistance(take(x, uint64(2*b)), take(y, uint64(2*b+1)), d, s.Threads)
	}
	sort.Float64s(vals)
	return percentile(vals, 50), (percentile(vals, 83.725) - percentile(vals, 16.275)) / 2, nil
}

// percentile interpolates linearly between the ordered values, as numpy's default.
func percentile(v []float64, p float64) float64 {
	f := p / 100 * float64(len(v)-1)
	k := int(f)
	if k+1 >= len(v) {
		return v[len(v)-1]
	}
	return v[k] + (f-float64(k))*(v[k+1]-v[k])
}

// kernelDistance is the unbiased MMD² with kernel ((x·y)/d+1)⁴ of two row-major samples.
func kernelDistance(x, y []float64, d, threads int) float64 {
	n, m := len(x)/d, len(y)/d
	sum := func(a, b []float64, diagonal bool) float64 {
		na, nb := len(a)/d, len(b)/d
		const block = 64
		part := make([]float64, (na+block-1)/block)
		par.For(threads, na, block, func(c, lo, hi int) {
			to := nb
			if diagonal { // the upper triangle suffices
				to = hi
			}
			k := blas64.General{Rows: hi - lo, Cols: to, Stride: to, Data: make([]float64, (hi-lo)*to)}
			blas64.Gemm(blas.NoTrans, blas.Trans, 1/float64(d), blas64.General{Rows: hi - lo, Cols: d, Stride: d, Data: a[lo*d : hi*d]},
				blas64.General{Rows: to, Cols: d, Stride: d, Data: b[:to*d]}, 0, k)
			s := 0.0
			for i := range hi - lo {
				row := k.Data[i*to : (i+1)*to]
				if diagonal {
					row = row[:lo+i]
				}
				for _, v := range row {
					v++
					v *= v
					s += v * v
				}
			}
			part[c] = s
		})
		return total(len(part), part)
	}
	fn, fm := float64(n), float64(m)
	return 2*sum(x, x, true)/(fn*(fn-1)) + 2*sum(y, y, true)/(fm*(fm-1)) - 2*sum(x, y, false)/(fn*fm)
}

// Neighbours are precision, recall, density and coverage (arXiv:2002.09797).
type Neighbours struct{ Precision, Recall, Density, Coverage float64 }

// PRDC compares generated with reference events through balls around each event that reach to its k-th neighbour of the
// same sample (5 by custom), not counting itself. Precision is the share of generated events inside any reference ball,
// recall the converse, density the mean number of reference balls around a generated event over k, coverage the share of
// reference balls that hold a generated event. Cost grows as rows²: sub-sample.
func PRDC(ref, gen [][]float64, k, threads int) (Neighbours, error) {
	if err := checkFinite("compute PRDC", ref, gen); err != nil {
		return Neighbours{}, err
	}
	n, m, d := len(ref[0]), len(gen[0]), len(ref)
	if k < 1 || k >= n || k >= m {
		return Neighbours{}, fmt.Errorf("metric: could not compute PRDC: neighbour %d of %d and %d rows", k, n, m)
	}
	x, y := rowsOf(ref, nil), rowsOf(gen, nil)
	rx, ry := radii(x, d, k, threads), radii(y, d, k, threads)
	const block = 64
	chunks := (n + block - 1) / block
	recall, covered := make([]bool, n), make([]bool, n)
	count := make([][]int32, chunks)
	distances(x, y, d, threads, block, func(c, lo int, row []float64, i int) {
		if count[c] == nil {
			count[c] = make([]int32, m)
		}
		for j, v := range row {
			if v < rx[lo+i] {
				count[c][j]++
				covered[lo+i] = true
			}
			if v < ry[j] {
				recall[lo+i] = true
			}
		}
	})
	var out Neighbours
	for j := range m {
		t := int32(0)
		for _, c := range count {
			t += c[j]
		}
		if t > 0 {
			out.Precision += 1 / float64(m)
		}
		out.Density += float64(t) / float64(m*k)
	}
	for i := range n {
		if recall[i] {
			out.Recall += 1 / float64(n)
		}
		if covered[i] {
			out.Coverage += 1 / float64(n)
		}
	}
	return out, nil
}

// distances calls f with each row of squared distances from an event of a to all events of b, in blocks.
func distances(a, b []float64, d, threads, block int, f func(c, lo int, row []float64, i int)) {
	n, m := len(a)/d, len(b)/d
	sq := func(x []float64, i int) float64 { v := x[i*d : (i+1)*d]; return dot(v, v) }
	sb := make([]float64, m)
	for j := range sb {
		sb[j] = sq(b, j)
	}
	par.For(threads, n, block, func(c, lo, hi int) {
		k := blas64.General{Rows: hi - lo, Cols: m, Stride: m, Data: make([]float64, (hi-lo)*m)}
		blas64.Gemm(blas.NoTrans, blas.Trans, -2, blas64.General{Rows: hi - lo, Cols: d, Stride: d, Data: a[lo*d : hi*d]},
			blas64.General{Rows: m, Cols: d, Stride: d, Data: b}, 0, k)
		for i := range hi - lo {
			row := k.Data[i*m : (i+1)*m]
			sa := sq(a, lo+i)
			for j := range row {
				row[j] = max(0, row[j]+sa+sb[j])
			}
			f(c, lo, row, i)
		}
	})
}

// radii returns each event's squared distance to its k-th neighbour.
func radii(x []float64, d, k, threads int) []float64 {
	out := make([]float64, len(x)/d)
	distances(x, x, d, threads, 64, func(_, lo int, row []float64, i int) {
		row[lo+i] = -1
		near := make([]float64, 0, k+2) // the k+1 smallest, ascending; the event itself is the first
		for _, v := range row {
			if len(near) == k+1 && v >= near[k] {
				continue
			}
			at, _ := slices.BinarySearch(near, v)
			near = slices.Insert(near, at, v)
			if len(near) > k+1 {
				near = near[:k+1]
			}
		}
		out[lo+i] = near[k]
	})
	return out
}
