package kernel

// fastBins is the largest number of bins of the assembly, whose scratch is a row a bin; beyond, the portable kernels serve.
const fastBins = 32

type splineScratch [fastBins * 16]float32

// splineConstants are in the order of gen/spline.go.
func splineConstants(s Spline) [6]float32 {
	b := float32(s.Bound)
	return [6]float32{b, -b, 2 * b, float32(1 / (2 * s.Bound)), float32(s.Bins - 1), float32(s.Bins)}
}

func (i isa) splineForward(s Spline, n, np int, y []float32, yp int, ladj []float32, x []float32, xp int, theta []float32, tp int, save []float32, sp int) {
	if n <= 0 || np <= 0 {
		return
	}
	if s.Bins > fastBins {
		splineForward(s, n, np, y, yp, ladj, x, xp, theta, tp, save, sp)
		return
	}
	needPanels(y, yp, n, np)
	needPanels(x, xp, n, np)
	needPanels(theta, tp, s.Params()*n, np)
	if save == nil {
		i.splineEvaluate(s, n, np, y, yp, ladj, x, xp, theta, tp)
		return
	}
	needPanels(ladj, Lanes, 1, np)
	needPanels(save, sp, s.Save()*n, np)
	var scratch splineScratch
	constants := splineConstants(s)
	c, tmp := &constants[0], &scratch[0]
	ts, ss := 4*Lanes*(s.Params()-1), 4*Lanes*(s.Save()-1)
	for p := range np {
		y, ladj, x, theta, save := ptr(y, p*yp), ptr(ladj, p*Lanes), ptr(x, p*xp), ptr(theta, p*tp), ptr(save, p*sp)
		switch {
		case i == avx512 && s.Circular:
			splineCircularForwardAVX512(s.Bins, n, c, tmp, ts, ss, y, ladj, x, theta, save)
		case i == avx512 && s.Bins == 8:
			spline8ForwardAVX512(s.Bins, n, c, tmp, ts, ss, y, ladj, x, theta, save)
		case i == avx512:
			splineForwardAVX512(s.Bins, n, c, tmp, ts, ss, y, ladj, x, theta, save)
		case s.Circular:
			splineCircularForwardAVX2(s.Bins, n, c, tmp, ts, ss, y, ladj, x, theta, save)
		case s.Bins == 8:
			spline8ForwardAVX2(s.Bins, n, c, tmp, ts, ss, y, ladj, x, theta, save)
		default:
			splineForwardAVX2(s.Bins, n, c, tmp, ts, ss, y, ladj, x, theta, save)
		}
	}
}

// splineEvaluate is a forward pass that keeps nothing; the lengths of y, x and theta are right.
func (i isa) splineEvaluate(s Spline, n, np int, y []float32, yp int, ladj []float32, x []float32, xp int, theta []float32, tp int) {
	if ladj != nil {
		needPanels(ladj, Lanes, 1, np)
	}
	var scratch splineScratch
	constants := splineConstants(s)
	c, tmp := &constants[0], &scratch[0]
	ts := 4 * Lanes * (s.Params() - 1)
	for p := range np {
		y, x, theta := ptr(y, p*yp), ptr(x, p*xp), ptr(theta, p*tp)
		l, want := y, 0
		if ladj != nil {
			l, want = ptr(ladj, p*Lanes), 1
		}
		switch {
		case i == avx512 && s.Circular:
			splineCircularEvaluateAVX512(s.Bins, n, c, tmp, ts, want, y, l, x, theta)
		case i == avx512 && s.Bins == 8:
			spline8EvaluateAVX512(s.Bins, n, c, tmp, ts, want, y, l, x, theta)
		case i == avx512:
			splineEvaluateAVX512(s.Bins, n, c, tmp, ts, want, y, l, x, theta)
		case s.Circular:
			splineCircularEvaluateAVX2(s.Bins, n, c, tmp, ts, want, y, l, x, theta)
		case s.Bins == 8:
			spline8EvaluateAVX2(s.Bins, n, c, tmp, ts, want, y, l, x, theta)
		default:
			splineEvaluateAVX2(s.Bins, n, c, tmp, ts, want, y, l, x, theta)
		}
	}
}

// splineBackward needs only what the forward kept.
func (i isa) splineBackward(s Spline, n, np int, dx []float32, dxp int, dtheta []float32, dtp int, gy []float32, gyp int, gl []float32, x []float32, xp int, theta []float32, tp int, save []float32, sp int) {
	if n <= 0 || np <= 0 {
		return
	}
	if s.Bins > fastBins {
		splineBackward(s, n, np, dx, dxp, dtheta, dtp, gy, gyp, gl, x, xp, theta, tp, save, sp)
		return
	}
	needPanels(dx, dxp, n, np)
	needPanels(dtheta, dtp, s.Params()*n, np)
	needPanels(gy, gyp, n, np)
	needPanels(gl, Lanes, 1, np)
	needPanels(save, sp, s.Save()*n, np)
	var scratch splineScratch
	constants := splineConstants(s)
	c, tmp := &constants[0], &scratch[0]
	ts, ss := 4*Lanes*(s.Params()-1), 4*Lanes*(s.Save()-1)
	for p := range np {
		dx, dtheta, gy, gl, save := ptr(dx, p*dxp), ptr(dtheta, p*dtp), ptr(gy, p*gyp), ptr(gl, p*Lanes), ptr(save, p*sp)
		switch {
		case i == avx512 && s.Circular:
			splineCircularBackwardAVX512(s.Bins, n, c, tmp, ts, ss, dx, dtheta, gy, gl, save)
		case i == avx512 && s.Bins == 8:
			spline8BackwardAVX512(s.Bins, n, c, tmp, ts, ss, dx, dtheta, gy, gl, save)
		case i == avx512:
			splineBackwardAVX512(s.Bins, n, c, tmp, ts, ss, dx, dtheta, gy, gl, save)
		case s.Circular:
			splineCircularBackwardAVX2(s.Bins, n, c, tmp, ts, ss, dx, dtheta, gy, gl, save)
		case s.Bins == 8:
			spline8BackwardAVX2(s.Bins, n, c, tmp, ts, ss, dx, dtheta, gy, gl, save)
		default:
			splineBackwardAVX2(s.Bins, n, c, tmp, ts, ss, dx, dtheta, gy, gl, save)
		}
	}
}

func (i isa) splineInverse(s Spline, n, np int, x []float32, xp int, ladj []float32, y []float32, yp int, theta []float32, tp int) {
	if n <= 0 || np <= 0 {
		return
	}
	if s.Bins > fastBins {
		splineInverse(s, n, np, x, xp, ladj, y, yp, theta, tp)
		return
	}
	needPanels(x, xp, n, np)
	needPanels(y, yp, n, np)
	needPanels(theta, tp, s.Params()*n, np)
	if ladj != nil {
		needPanels(ladj, Lanes, 1, np)
	}
	constants := splineConstants(s)
	c, tmp := &constants[0], (*float32)(nil)
	if i != avx512 || s.Bins != 8 || s.Circular { // that one needs no scratch, and its call is short
		var scratch splineScratch
		tmp = &scratch[0]
	}
	ts := 4 * Lanes * (s.Params() - 1)
	for p := range np {
		x, y, theta := ptr(x, p*xp), ptr(y, p*yp), ptr(theta, p*tp)
		l, want := x, 0
		if ladj != nil {
			l, want = ptr(ladj, p*Lanes), 1
		}
		switch {
		case i == avx512 && s.Circular:
			splineCircularInverseAVX512(s.Bins, n, c, tmp, ts, want, x, l, y, theta)
		case i == avx512 && s.Bins == 8:
			spline8InverseAVX512(s.Bins, n, c, tmp, ts, want, x, l, y, theta)
		case i == avx512:
			splineInverseAVX512(s.Bins, n, c, tmp, ts, want, x, l, y, theta)
		case s.Circular:
			splineCircularInverseAVX2(s.Bins, n, c, tmp, ts, want, x, l, y, theta)
		case s.Bins == 8:
			spline8InverseAVX2(s.Bins, n, c, tmp, ts, want, x, l, y, theta)
		default:
			splineInverseAVX2(s.Bins, n, c, tmp, ts, want, x, l, y, theta)
		}
	}
}

// needSlopes checks late slopes of n features.
func needSlopes(s Spline, n, np int, late *Slopes[float32]) {
	if s.LateSlopes() == 0 {
		panic("kernel: no slopes of this spline come late")
	}
	if len(late.Uses) < n {
		panic("kernel: slice too short")
	}
	for f, uses := range late.Uses[:n] {
		if late.Step < 0 || uses < 0 {
			panic("kernel: negative size")
		}
		needPanels(late.Hidden, late.Stride, int(uses), np)
		need(late.Table, f*late.Step+8*(1+int(uses)))
	}
}

func splineForwardLate(s Spline, n, np int, y []float32, yp int, ladj []float32, x []float32, xp int, theta []float32, tp int, save []float32, sp int, late Slopes[float32]) {
	if n <= 0 || np <= 0 {
		return
	}
	needPanels(y, yp, n, np)
	needPanels(x, xp, n, np)
	needPanels(theta, tp, s.Params()*n, np)
	if ladj != nil || save != nil {
		needPanels(ladj, Lanes, 1, np)
	}
	if save != nil {
		needPanels(save, sp, s.Save()*n, np)
	}
	needSlopes(s, n, np, &late)
	constants := splineConstants(s)
	c, table, uses := &constants[0], ptr(late.Table, 0), &late.Uses[0]
	ts, ss := 4*Lanes*(s.Params()-1), 4*Lanes*(s.Save()-1)
	for p := range np {
		y, x, theta, hidden := ptr(y, p*yp), ptr(x, p*xp), ptr(theta, p*tp), ptr(late.Hidden, p*late.Stride)
		switch {
		case save != nil:
			spline8LateForwardAVX512(s.Bins, n, c, nil, ts, ss, y, ptr(ladj, p*Lanes), x, theta, ptr(save, p*sp), hidden, table, 4*late.Step, uses)
		case ladj != nil:
			spline8LateEvaluateAVX512(s.Bins, n, c, nil, ts, 1, y, ptr(ladj, p*Lanes), x, theta, hidden, table, 4*late.Step, uses)
		default:
			spline8LateEvaluateAVX512(s.Bins, n, c, nil, ts, 0, y, y, x, theta, hidden, table, 4*late.Step, uses)
		}
	}
}

func splineInverseLate(s Spline, n, np int, x []float32, xp int, ladj []float32, y []float32, yp int, theta []float32, tp int, late Slopes[float32]) {
	if n <= 0 || np <= 0 {
		return
	}
	needPanels(x, xp, n, np)
	needPanels(y, yp, n, np)
	needPanels(theta, tp, s.Params()*n, np)
	needSlopes(s, n, np, &late)
	l, want := x, 0
	if ladj != nil {
		needPanels(ladj, Lanes, 1, np)
		l, want = ladj, 1
	}
	constants := splineConstants(s)
	c, table, uses := &constants[0], ptr(late.Table, 0), &late.Uses[0]
	ts := 4 * Lanes * (s.Params() - 1)
	for p := range np {
		spline8LateInverseAVX512(s.Bins, n, c, nil, ts, want, ptr(x, p*xp), ptr(l, p*Lanes*want), ptr(y, p*yp), ptr(theta, p*tp), ptr(late.Hidden, p*late.Stride), table, 4*late.Step, uses)
	}
}

func slopeTable(table, bias, w []float32, ld, uses int) {
	table[0] = 0
	copy(table[1:8], bias[:7])
	if uses <= 0 {
		return
	}
	table, uses = table[8:], (uses+15)&^15
	if ld < 0 {
		panic("kernel: negative stride")
	}
	need(table, 8*uses)
	need(w, 6*ld+uses)
	slopeTableAVX512(ptr(table, 0), ptr(w, 0), 4*ld, uses/16)
}
