package kernel

// door checks the lengths of an element-wise map and returns the number of elements.
func door(dst, x []float32) int {
	need(dst, len(x))
	return len(x)
}

func door3(dst, gy, x []float32) int {
	need(gy, len(x))
	return door(dst, x)
}

func (s isa) exp(dst, x []float32) {
	if n := door(dst, x); n == 0 {
		return
	} else if s == avx512 {
		expAVX512(&dst[0], &x[0], n)
	} else {
		expAVX2(&dst[0], &x[0], n)
	}
}

func (s isa) log(dst, x []float32) {
	if n := door(dst, x); n == 0 {
		return
	} else if s == avx512 {
		logAVX512(&dst[0], &x[0], n)
	} else {
		logAVX2(&dst[0], &x[0], n)
	}
}

func (s isa) tanh(dst, x []float32) {
	if n := door(dst, x); n == 0 {
		return
	} else if s == avx512 {
		tanhAVX512(&dst[0], &x[0], n)
	} else {
		tanhAVX2(&dst[0], &x[0], n)
	}
}

func (s isa) sigmoid(dst, x []float32) {
	if n := door(dst, x); n == 0 {
		return
	} else if s == avx512 {
		sigmoidAVX512(&dst[0], &x[0], n)
	} else {
		sigmoidAVX2(&dst[0], &x[0], n)
	}
}

func (s isa) softplus(dst, x []float32) {
	if n := door(dst, x); n == 0 {
		return
	} else if s == avx512 {
		softplusAVX512(&dst[0], &x[0], n)
	} else {
		softplusAVX2(&dst[0], &x[0], n)
	}
}

func (s isa) silu(dst, x []float32) {
	if n := door(dst, x); n == 0 {
		return
	} else if s == avx512 {
		siluAVX512(&dst[0], &x[0], n)
	} else {
		siluAVX2(&dst[0], &x[0], n)
	}
}

func (s isa) gelu(dst, x []float32) {
	if n := door(dst, x); n == 0 {
		return
	} else if s == avx512 {
		geluAVX512(&dst[0], &x[0], n)
	} else {
		geluAVX2(&dst[0], &x[0], n)
	}
}

func (s isa) tanhGrad(dst, gy, x []float32) {
	if n := door3(dst, gy, x); n == 0 {
		return
	} else if s == avx512 {
		tanhGradAVX512(&dst[0], &gy[0], &x[0], n)
	} else {
		tanhGradAVX2(&dst[0], &gy[0], &x[0], n)
	}
}

func (s isa) siluGrad(dst, gy, x []float32) {
	if n := door3(dst, gy, x); n == 0 {
		return
	} else if s == avx512 {
		siluGradAVX512(&dst[0], &gy[0], &x[0], n)
	} else {
		siluGradAVX2(&dst[0], &gy[0], &x[0], n)
	}
}

func (s isa) geluGrad(dst, gy, x []float32) {
	if n := door3(dst, gy, x); n == 0 {
		return
	} else if s == avx512 {
		geluGradAVX512(&dst[0], &gy[0], &x[0], n)
	} else {
		geluGradAVX2(&dst[0], &gy[0], &x[0], n)
	}
}

func (s isa) mulAdd(dst, x, a, b []float32) {
	n := len(dst)
	if n == 0 {
		return
	}
	need(x, n)
	need(a, n)
	need(b, n)
	if s == avx512 {
		mulAddAVX512(&dst[0], &x[0], &a[0], &b[0], n)
	} else {
		mulAddAVX2(&dst[0], &x[0], &a[0], &b[0], n)
	}
}

func (s isa) axpy(y []float32, a float32, x []float32) {
	if n := door(y, x); n == 0 {
		return
	} else if s == avx512 {
		axpyAVX512(&y[0], a, &x[0], n)
	} else {
		axpyAVX2(&y[0], a, &x[0], n)
	}
}
