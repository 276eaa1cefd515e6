package kernel

func (s isa) affineForward(n, np int, y []float32, yp int, ladj []float32, x []float32, xp int, theta []float32, tp int, save []float32, sp int) {
	if n <= 0 || np <= 0 {
		return
	}
	needPanels(y, yp, n, np)
	needPanels(x, xp, n, np)
	needPanels(theta, tp, 2*n, np)
	if save == nil {
		s.affineEvaluate(n, np, y, yp, ladj, x, xp, theta, tp)
		return
	}
	needPanels(ladj, Lanes, 1, np)
	needPanels(save, sp, AffineSave*n, np)
	for p := range np {
		y, ladj, x, theta, save := ptr(y, p*yp), ptr(ladj, p*Lanes), ptr(x, p*xp), ptr(theta, p*tp), ptr(save, p*sp)
		if s == avx512 {
			affineForwardAVX512(n, y, ladj, x, theta, save)
		} else {
			affineForwardAVX2(n, y, ladj, x, theta, save)
		}
	}
}

// affineEvaluate is a forward pass that keeps nothing; the lengths of y, x and theta are right.
func (s isa) affineEvaluate(n, np int, y []float32, yp int, ladj []float32, x []float32, xp int, theta []float32, tp int) {
	if ladj != nil {
		needPanels(ladj, Lanes, 1, np)
	}
	var unused [Lanes]float32
	for p := range np {
		y, x, theta, l := ptr(y, p*yp), ptr(x, p*xp), ptr(theta, p*tp), &unused[0]
		if ladj != nil {
			l = ptr(ladj, p*Lanes)
		}
		if s == avx512 {
			affineEvaluateAVX512(n, y, l, x, theta)
		} else {
			affineEvaluateAVX2(n, y, l, x, theta)
		}
	}
}

func (s isa) affineBackward(n, np int, dx []float32, dxp int, dtheta []float32, dtp int, gy []float32, gyp int, gl []float32, x []float32, xp int, theta []float32, tp int, save []float32, sp int) {
	if n <= 0 || np <= 0 {
		return
	}
	needPanels(dx, dxp, n, np)
	needPanels(dtheta, dtp, 2*n, np)
	needPanels(gy, gyp, n, np)
	needPanels(gl, Lanes, 1, np)
	needPanels(x, xp, n, np)
	needPanels(save, sp, AffineSave*n, np)
	for p := range np {
		dx, dtheta, gy, gl, x, save := ptr(dx, p*dxp), ptr(dtheta, p*dtp), ptr(gy, p*gyp), ptr(gl, p*Lanes), ptr(x, p*xp), ptr(save, p*sp)
		if s == avx512 {
			affineBackwardAVX512(n, dx, dtheta, gy, gl, x, save)
		} else {
			affineBackwardAVX2(n, dx, dtheta, gy, gl, x, save)
		}
	}
}

func (s isa) affineInverse(n, np int, x []float32, xp int, ladj []float32, y []float32, yp int, theta []float32, tp int) {
	if n <= 0 || np <= 0 {
		return
	}
	needPanels(x, xp, n, np)
	needPanels(y, yp, n, np)
	needPanels(theta, tp, 2*n, np)
	if ladj != nil {
		needPanels(ladj, Lanes, 1, np)
	}
	var unused [Lanes]float32
	for p := range np {
		x, y, theta, l := ptr(x, p*xp), ptr(y, p*yp), ptr(theta, p*tp), &unused[0]
		if ladj != nil {
			l = ptr(ladj, p*Lanes)
		}
		if s == avx512 {
			affineInverseAVX512(n, x, l, y, theta)
		} else {
			affineInverseAVX2(n, x, l, y, theta)
		}
	}
}
