package kernel

import (
	"math"
	"slices"
)

func (s isa) layerNorm(y []float32, yp int, mean, rstd []float32, x []float32, xp int, scale, shift []float32, mp int, rows, np int, eps float32) {
	if rows <= 0 || np <= 0 {
		return
	}
	needPanels(y, yp, rows, np)
	needPanels(x, xp, rows, np)
	needPanels(mean, Lanes, 1, np)
	needPanels(rstd, Lanes, 1, np)
	if scale != nil {
		needPanels(scale, mp, rows, np)
		needPanels(shift, mp, rows, np)
	}
	c := [2]float32{1 / float32(rows), eps}
	for p := range np {
		y, mean, rstd, x := ptr(y, p*yp), ptr(mean, p*Lanes), ptr(rstd, p*Lanes), ptr(x, p*xp)
		var a, b *float32
		if scale != nil {
			a, b = ptr(scale, p*mp), ptr(shift, p*mp)
		}
		if s == avx512 {
			layerNormAVX512(rows, y, mean, rstd, x, a, b, &c[0])
		} else {
			layerNormAVX2(rows, y, mean, rstd, x, a, b, &c[0])
		}
	}
}

func (s isa) layerNormBackward(dx []float32, dxp int, dscale, dshift []float32, dmp int, gy []float32, gyp int, x []float32, xp int, mean, rstd []float32, scale []float32, mp int, rows, np int) {
	if rows <= 0 || np <= 0 {
		return
	}
	needPanels(dx, dxp, rows, np)
	needPanels(gy, gyp, rows, np)
	needPanels(x, xp, rows, np)
	needPanels(mean, Lanes, 1, np)
	needPanels(rstd, Lanes, 1, np)
	if scale != nil {
		needPanels(scale, mp, rows, np)
	}
	if dscale != nil {
		needPanels(dscale, dmp, rows, np)
		needPanels(dshift, dmp, rows, np)
	}
	inv := 1 / float32(rows)
	for p := range np {
		dx, gy, x, mean, rstd := ptr(dx, p*dxp), ptr(gy, p*gyp), ptr(x, p*xp), ptr(mean, p*Lanes), ptr(rstd, p*Lanes)
		var a, da, db *float32
		if scale != nil {
			a = ptr(scale, p*mp)
		}
		if dscale != nil {
			da, db = ptr(dscale, p*dmp), ptr(dshift, p*dmp)
		}
		if s == avx512 {
			layerNormBackwardAVX512(rows, dx, da, db, gy, x, mean, rstd, a, inv)
		} else {
			layerNormBackwardAVX2(rows, dx, da, db, gy, x, mean, rstd, a, inv)
		}
	}
}

func (s isa) softmax(out []float32, pp int, in []float32, sp int, rows, valid, np int, scale float32) {
	if rows <= 0 || np <= 0 {
		return
	}
	if valid < 0 || valid > rows {
		panic("kernel: more valid rows than rows")
	}
	needPanels(out, pp, rows, np)
	needPanels(in, sp, rows, np)
	for p := range np {
		out, in := ptr(out, p*pp), ptr(in, p*sp)
		if s == avx512 {
			softmaxAVX512(valid, rows-valid, out, in, scale)
		} else {
			softmaxAVX2(valid, rows-valid, out, in, scale)
		}
	}
}

func (s isa) softmaxBackward(ds []float32, dsp int, gp []float32, gpp int, out []float32, pp int, rows, np int, scale float32) {
	if rows <= 0 || np <= 0 {
		return
	}
	needPanels(ds, dsp, rows, np)
	needPanels(gp, gpp, rows, np)
	needPanels(out, pp, rows, np)
	for p := range np {
		ds, gp, out := ptr(ds, p*dsp), ptr(gp, p*gpp), ptr(out, p*pp)
		if s == avx512 {
			softmaxBackwardAVX512(rows, ds, gp, out, scale)
		} else {
			softmaxBackwardAVX2(rows, ds, gp, out, scale)
		}
	}
}

func (s isa) gaussMix(f, grad []float32, gp int, x []float32, xp int, dim, np int, y, wy []float32, ny int, c []float32) {
	if np <= 0 || ny <= 0 || len(c) == 0 || dim <= 0 {
		return
	}
	needPanels(f, Lanes, 1, np)
	needPanels(x, xp, dim, np)
	need(y, ny*dim)
	need(wy, ny)
	if grad != nil {
		needPanels(grad, gp, dim, np)
	}
	var buf [16]float32
	scaled := append(buf[:0], c...)
	slices.Sort(scaled)
	mode := growth(scaled)
	for i := range scaled {
		scaled[i] *= -math.Log2E
	}
	fw := 1 / float32(len(c))
	for p := range np {
		f, x, y, wy := ptr(f, p*Lanes), ptr(x, p*xp), ptr(y, 0), ptr(wy, 0)
		var g *float32
		if grad != nil {
			g = ptr(grad, p*gp)
		}
		if s == avx512 {
			gaussMixAVX512(f, g, x, dim, y, wy, ny, &scaled[0], len(c), mode, fw, 2*fw/math.Log2E)
		} else {
			gaussMixAVX2(f, g, x, dim, y, wy, ny, &scaled[0], len(c), mode, fw, 2*fw/math.Log2E)
		}
	}
}

// growth is 2 or 4 if every number is that many times the one before, and 0 otherwise.
func growth(c []float32) int {
	for _, f := range []float32{2, 4} {
		same := len(c) > 1 && len(c) <= 6 // repeated squaring doubles the relative error each time
		for i := 1; i < len(c); i++ {
			r := c[i] / (f * c[i-1])
			same = same && r > 1-1e-6 && r < 1+1e-6
		}
		if same {
			return int(f)
		}
	}
	return 0
}
