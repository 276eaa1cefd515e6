package kernel

import "unsafe"

// headers points at a list of slices for the assembly.
func headers(s [][]float32) *byte { return (*byte)(unsafe.Pointer(unsafe.SliceData(s))) }

func (s isa) adam(w, m, v, mean []float32, grads [][]float32, mask []float32, step AdamStep) {
	n := len(w)
	if n == 0 {
		return
	}
	need(m, n)
	need(v, n)
	if mean != nil {
		need(mean, n)
	}
	for _, g := range grads {
		need(g, n)
	}
	if mask != nil {
		need(mask, n)
	}
	// the order of gen/adam.go
	b1, b2 := float32(step.Beta1), float32(step.Beta2)
	c := [...]float32{float32(step.Rate), b1, float32(1 - step.Beta1), b2, float32(1 - step.Beta2), float32(step.Eps), float32(step.Decay), float32(step.Scale), float32(step.Correct1), float32(step.Correct2), float32(step.Keep)}
	if s == avx512 {
		adamAVX512(n, &w[0], &m[0], &v[0], unsafe.SliceData(mean), unsafe.SliceData(mask), headers(grads), len(grads), &c[0])
	} else {
		adamAVX2(n, &w[0], &m[0], &v[0], unsafe.SliceData(mean), unsafe.SliceData(mask), headers(grads), len(grads), &c[0])
	}
}

func (s isa) sumSq(grads [][]float32, mask []float32) float64 {
	if len(grads) == 0 || len(grads[0]) == 0 {
		return 0
	}
	n := len(grads[0])
	for _, g := range grads {
		need(g, n)
	}
	if mask != nil {
		need(mask, n)
	}
	var part [8]float64
	if s == avx512 {
		sumSquaresAVX512(&part[0], n, unsafe.SliceData(mask), headers(grads), len(grads))
	} else {
		sumSquaresAVX2(&part[0], n, unsafe.SliceData(mask), headers(grads), len(grads))
	}
	return ((part[0] + part[1]) + (part[2] + part[3])) + ((part[4] + part[5]) + (part[6] + part[7]))
}
