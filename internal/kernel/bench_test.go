package kernel

import (
	"fmt"
	"testing"
	"time"
)

func eachBench(b *testing.B, f func(b *testing.B, set *Set[float32])) {
	for _, set := range sets() {
		b.Run(set.Name, func(b *testing.B) { f(b, set) })
	}
}

// measure reports the rate of f, which does work (operations, elements) a call, over the fastest of many short runs: what others do on
// the machine matters little.
func measure(b *testing.B, work float64, unit string, f func()) {
	f()
	reps, best := 1, time.Duration(1<<62)
	for {
		start := time.Now()
		for range reps {
			f()
		}
		if time.Since(start) > 20*time.Microsecond {
			break
		}
		reps *= 2
	}
	for b.Loop() {
		start := time.Now()
		for range reps {
			f()
		}
		best = min(best, time.Since(start))
	}
	b.ReportMetric(work*float64(reps)/float64(best.Nanoseconds())*map[string]float64{"GFLOP/s": 1, "Melem/s": 1e3}[unit], unit)
}

func BenchmarkPeak(b *testing.B) {
	eachBench(b, func(b *testing.B, set *Set[float32]) {
		if set.Name == "portable" {
			b.Skip("no loop that reaches the peak")
		}
		measure(b, PeakRounds(set.Name, 1000), "GFLOP/s", func() { PeakRounds(set.Name, 1000) })
	})
}

// aligned returns n normal numbers at the start of a cache line.
func aligned(n int) []float32 {
	r := random(1)
	s := make([]float32, n+1<<14)[:n]
	for i := range s {
		s[i] = float32(r.NormFloat64())
	}
	return s
}

var productSizes = [][3]int{{128, 16, 2}, {128, 128, 2}, {16, 128, 2}, {184, 128, 2}, {256, 16, 2}, {256, 256, 2}, {256, 256, 8}, {184, 256, 2}, {512, 512, 4}, {512, 128, 4}, {128, 512, 4}, {1024, 1024, 4}}

func BenchmarkMul(b *testing.B) {
	eachBench(b, func(b *testing.B, set *Set[float32]) {
		for _, sz := range productSizes {
			m, k, np := sz[0], sz[1], sz[2]
			row := func(n int) int { // as package ad makes them
				if n%1024 == 0 {
					return n + 16
				}
				return n
			}
			for _, transposed := range []bool{false, true} {
				b.Run(fmt.Sprintf("%dx%dx%d,transposed=%v", m, k, np, transposed), func(b *testing.B) {
					rs, cs, size := row(k), 1, m*row(k)
					if transposed {
						rs, cs, size = 1, row(m), k*row(m)
					}
					w, x, y, bias := aligned(size), aligned(k*np*Lanes), aligned(m*np*Lanes), aligned(m)
					measure(b, 2*float64(m*k*np*Lanes), "GFLOP/s", func() {
						set.Mul(y, m*Lanes, w, rs, cs, x, k*Lanes, m, k, np, nil, Epilogue[float32]{Bias: bias, Act: ReLU})
					})
				})
			}
		}
	})
}

// Products of the transformers of showers, of numbers and of pairs of bfloat16 numbers, the rounding of the panels included.
func BenchmarkMulPairs(b *testing.B) {
	eachBench(b, func(b *testing.B, set *Set[float32]) {
		for _, sz := range [][3]int{{96, 96, 6}, {384, 96, 6}, {96, 384, 6}, {480, 480, 17}, {1920, 480, 17}, {480, 1920, 17}} {
			m, k, np := sz[0], sz[1], sz[2]
			w, x, y := aligned(m*k), aligned(k*np*Lanes), aligned(m*np*Lanes)
			a, pairs := make([]uint32, m*k/2), make([]uint32, k/2*np*Lanes)
			RoundRow(a, w)
			name := fmt.Sprintf("%dx%dx%d", m, k, np)
			b.Run(name+",float32", func(b *testing.B) {
				measure(b, 2*float64(m*k*np*Lanes), "GFLOP/s", func() {
					set.Mul(y, m*Lanes, w, k, 1, x, k*Lanes, m, k, np, nil, Epilogue[float32]{})
				})
			})
			b.Run(name+",bfloat16", func(b *testing.B) {
				measure(b, 2*float64(m*k*np*Lanes), "GFLOP/s", func() {
					set.RoundPairs(pairs, k/2*Lanes, x, k*Lanes, k, np)
					set.MulPairs(y, m*Lanes, a, k/2, pairs, k/2*Lanes, m, k/2, np, Epilogue[float32]{})
				})
			})
		}
	})
}

// A panel with at most 16 rows, as where one shower modulates its tokens.
func BenchmarkMulHalf(b *testing.B) {
	eachBench(b, func(b *testing.B, set *Set[float32]) {
		const m, k = 128, 128
		w, x, y := aligned(m*k), aligned(k*Lanes), aligned(m*Lanes)
		measure(b, 2*m*k*Lanes/2, "GFLOP/s", func() {
			set.Mul(y, m*Lanes, w, k, 1, x, k*Lanes, m, k, 1, nil, Epilogue[float32]{Half: true})
		})
	})
}

func BenchmarkMulRows(b *testing.B) {
	eachBench(b, func(b *testing.B, set *Set[float32]) {
		for m := 1; m <= 9; m++ {
			const k, np = 128, 2
			b.Run(fmt.Sprintf("%dx%dx%d", m, k, np), func(b *testing.B) {
				w, x, y := aligned(m*k), aligned(k*np*Lanes), aligned(m*np*Lanes)
				measure(b, 2*float64(m*k*np*Lanes), "GFLOP/s", func() {
					set.Mul(y, m*Lanes, w, k, 1, x, k*Lanes, m, k, np, nil, Epilogue[float32]{Act: ReLU})
				})
			})
		}
	})
}

// The masked layers of an autoregressive net: block i of 8 units uses the first (i+1)/blocks of the inputs.
func BenchmarkMulSpans(b *testing.B) {
	eachBench(b, func(b *testing.B, set *Set[float32]) {
		for _, m := range []int{128, 256} {
			const np = 2
			b.Run(fmt.Sprint(m), func(b *testing.B) {
				spans, flops := triangle(m)
				w, x, y := aligned(m*m), aligned(m*np*Lanes), aligned(m*np*Lanes)
				measure(b, flops*np*Lanes, "GFLOP/s", func() {
					set.Mul(y, m*Lanes, w, m, 1, x, m*Lanes, m, m, np, spans, Epilogue[float32]{Act: ReLU})
				})
			})
		}
	})
}

func triangle(m int) (spans []Span, flops float64) {
	for i := 0; i < m; i += Block {
		spans = append(spans, Span{0, int32(i + Block), Block})
		flops += 2 * Block * float64(i+Block)
	}
	return
}

func BenchmarkGradW(b *testing.B) {
	eachBench(b, func(b *testing.B, set *Set[float32]) {
		for _, sz := range productSizes {
			m, k, np := sz[0], sz[1], sz[2]
			for _, pad := range []int{0, 16} {
				b.Run(fmt.Sprintf("%dx%dx%d+%d", m, k, np, pad), func(b *testing.B) {
					ld := k + pad
					w, x, y := aligned(m*ld), aligned(ld*np*Lanes), aligned(m*np*Lanes)
					measure(b, 2*float64(m*k*np*Lanes), "GFLOP/s", func() {
						set.GradW(w, ld, y, m*Lanes, x, ld, ld*Lanes, m, k, np, nil, true)
					})
				})
			}
		}
		for _, m := range []int{128, 256} {
			const np = 2
			b.Run(fmt.Sprintf("triangle%d", m), func(b *testing.B) {
				spans, flops := triangle(m)
				w, x, y := aligned(m*m), aligned(m*np*Lanes), aligned(m*np*Lanes)
				measure(b, flops*np*Lanes, "GFLOP/s", func() {
					set.GradW(w, m, y, m*Lanes, x, m, m*Lanes, m, m, np, spans, true)
				})
			})
		}
	})
}

func BenchmarkTranspose(b *testing.B) {
	eachBench(b, func(b *testing.B, set *Set[float32]) {
		for _, k := range []int{12, 128, 256} {
			b.Run(fmt.Sprint(k), func(b *testing.B) {
				ld := (k + 15) &^ 15
				x, y := aligned(k*2*Lanes), aligned(ld*2*Lanes)
				measure(b, float64(k*2*Lanes), "Melem/s", func() {
					set.Transpose(y, ld, ld*Lanes, x, k*Lanes, k, 2)
				})
			})
		}
	})
}

func BenchmarkRowSum(b *testing.B) {
	eachBench(b, func(b *testing.B, set *Set[float32]) {
		x, y := aligned(128*2*Lanes), aligned(128)
		measure(b, 128*2*Lanes, "Melem/s", func() {
			set.RowSum(y, x, 128*Lanes, 128, 2)
		})
	})
}

func BenchmarkElementwise(b *testing.B) {
	eachBench(b, func(b *testing.B, set *Set[float32]) {
		const n = 4096
		x, g, y := aligned(n), aligned(n), aligned(n)
		for i := range x {
			if x[i] < 0 {
				x[i] = -x[i]
			}
		}
		for _, c := range mapCases() {
			f := c.of(set)
			b.Run(c.name, func(b *testing.B) { measure(b, n, "Melem/s", func() { f(y, x) }) })
		}
		for name, f := range map[string]func(dst, gy, x []float32){"tanhGrad": set.TanhGrad, "siluGrad": set.SiLUGrad, "geluGrad": set.GELUGrad} {
			b.Run(name, func(b *testing.B) { measure(b, n, "Melem/s", func() { f(y, g, x) }) })
		}
		b.Run("mulAdd", func(b *testing.B) { measure(b, n, "Melem/s", func() { set.MulAdd(y, x, g, x) }) })
		b.Run("axpy", func(b *testing.B) { measure(b, n, "Melem/s", func() { set.Axpy(y, 1e-9, x) }) })
	})
}

func BenchmarkAffine(b *testing.B) {
	eachBench(b, func(b *testing.B, set *Set[float32]) {
		const n, np = 8, 2
		x, y, theta, save, ladj := aligned(n*np*Lanes), aligned(n*np*Lanes), aligned(2*n*np*Lanes), aligned(2*n*np*Lanes), aligned(np*Lanes)
		b.Run("forward", func(b *testing.B) {
			measure(b, n*np*Lanes, "Melem/s", func() {
				set.AffineForward(n, np, y, n*Lanes, ladj, x, n*Lanes, theta, 2*n*Lanes, save, 2*n*Lanes)
			})
		})
		b.Run("backward", func(b *testing.B) {
			dx, dth := aligned(n*np*Lanes), aligned(2*n*np*Lanes)
			measure(b, n*np*Lanes, "Melem/s", func() {
				set.AffineBackward(n, np, dx, n*Lanes, dth, 2*n*Lanes, y, n*Lanes, ladj, x, n*Lanes, theta, 2*n*Lanes, save, 2*n*Lanes)
			})
		})
		b.Run("inverse", func(b *testing.B) {
			measure(b, n*np*Lanes, "Melem/s", func() {
				set.AffineInverse(n, np, y, n*Lanes, nil, x, n*Lanes, theta, 2*n*Lanes)
			})
		})
	})
}

func BenchmarkSpline(b *testing.B) {
	eachBench(b, func(b *testing.B, set *Set[float32]) {
		for _, s := range []Spline{{Bins: 8, Bound: 5}, {Bins: 16, Bound: 5}, {Bins: 8, Bound: 5, Circular: true}} {
			const n, np = 4, 2
			bins := fmt.Sprint(s.Bins, map[bool]string{true: "circular"}[s.Circular])
			tp, sp := s.Params()*n*Lanes, s.Save()*n*Lanes
			x, y, theta, save, ladj := aligned(n*np*Lanes), aligned(n*np*Lanes), aligned(np*tp), aligned(np*sp), aligned(np*Lanes)
			b.Run("forward"+bins, func(b *testing.B) {
				measure(b, n*np*Lanes, "Melem/s", func() {
					set.SplineForward(s, n, np, y, n*Lanes, ladj, x, n*Lanes, theta, tp, save, sp)
				})
			})
			b.Run("backward"+bins, func(b *testing.B) {
				dx, dth := aligned(n*np*Lanes), aligned(np*tp)
				set.SplineForward(s, n, np, y, n*Lanes, ladj, x, n*Lanes, theta, tp, save, sp)
				measure(b, n*np*Lanes, "Melem/s", func() {
					set.SplineBackward(s, n, np, dx, n*Lanes, dth, tp, y, n*Lanes, ladj, x, n*Lanes, theta, tp, save, sp)
				})
			})
			b.Run("inverse"+bins, func(b *testing.B) {
				measure(b, n*np*Lanes, "Melem/s", func() {
					set.SplineInverse(s, n, np, y, n*Lanes, nil, x, n*Lanes, theta, tp)
				})
			})
			if set.SplineForwardLate == nil || s.LateSlopes() == 0 {
				continue
			}
			const hidden = 128
			w, uses := aligned(n*7*hidden), []int32{hidden, hidden, hidden, hidden}
			late := Slopes[float32]{Hidden: aligned(np * hidden * Lanes), Stride: hidden * Lanes, Table: aligned(n * 8 * (1 + hidden)), Step: 8 * (1 + hidden), Uses: uses}
			b.Run("late"+bins, func(b *testing.B) {
				measure(b, n*np*Lanes, "Melem/s", func() {
					for f := range n {
						set.SlopeTable(late.Table[f*late.Step:], w, w[f*7*hidden:], hidden, hidden)
					}
					set.SplineInverseLate(s, n, np, y, n*Lanes, nil, x, n*Lanes, theta, tp, late)
				})
			})
		}
	})
}

func BenchmarkAdam(b *testing.B) {
	eachBench(b, func(b *testing.B, set *Set[float32]) {
		const n = 1 << 13
		w, m, v, mask := aligned(n), aligned(n), aligned(n), aligned(n)
		for i := range v {
			v[i] *= v[i]
		}
		g := [][]float32{aligned(n), aligned(n)}
		b.Run("step", func(b *testing.B) {
			measure(b, n, "Melem/s", func() {
				set.Adam(w, m, v, nil, g, mask, AdamStep{Rate: 1e-6, Beta1: 0.9, Beta2: 0.999, Eps: 1, Scale: 1, Correct1: 1, Correct2: 1})
			})
		})
		b.Run("sumsq", func(b *testing.B) { measure(b, n, "Melem/s", func() { set.SumSq(g, mask) }) })
	})
}

func BenchmarkLayerNorm(b *testing.B) {
	eachBench(b, func(b *testing.B, set *Set[float32]) {
		const rows, np = 128, 2
		x, y, z, s, t, u, v := aligned(rows*np*Lanes), aligned(rows*np*Lanes), aligned(rows*np*Lanes), aligned(rows*np*Lanes), aligned(rows*np*Lanes), aligned(rows*np*Lanes), aligned(rows*np*Lanes)
		mean, rstd := aligned(np*Lanes), aligned(np*Lanes)
		const p = rows * Lanes
		b.Run("forward", func(b *testing.B) {
			measure(b, rows*np*Lanes, "Melem/s", func() { set.LayerNorm(y, p, mean, rstd, x, p, s, t, p, rows, np, 1e-6) })
		})
		b.Run("backward", func(b *testing.B) {
			measure(b, rows*np*Lanes, "Melem/s", func() { set.LayerNormBackward(z, p, u, v, p, y, p, x, p, mean, rstd, s, p, rows, np) })
		})
	})
}

func BenchmarkSoftmax(b *testing.B) {
	eachBench(b, func(b *testing.B, set *Set[float32]) {
		const rows, np = 135, 2
		const p = rows * Lanes
		x, y, z := aligned(np*p), aligned(np*p), aligned(np*p)
		b.Run("forward", func(b *testing.B) {
			measure(b, np*p, "Melem/s", func() { set.Softmax(y, p, x, p, rows, rows, np, 0.2) })
		})
		b.Run("backward", func(b *testing.B) {
			measure(b, np*p, "Melem/s", func() { set.SoftmaxBackward(z, p, x, p, y, p, rows, np, 0.2) })
		})
	})
}

// Pairs of points a second, in 10 dimensions with 5 bandwidths.
func BenchmarkGaussMix(b *testing.B) {
	eachBench(b, func(b *testing.B, set *Set[float32]) {
		const dim, ny, np = 10, 256, 2
		x, grad, f, y, wy := aligned(dim*np*Lanes), aligned(dim*np*Lanes), aligned(np*Lanes), aligned(dim*ny), aligned(ny)
		c := []float32{0.03125, 0.125, 0.5, 2, 8}
		b.Run("gradient", func(b *testing.B) {
			measure(b, ny*np*Lanes, "Melem/s", func() { set.GaussMix(f, grad, dim*Lanes, x, dim*Lanes, dim, np, y, wy, ny, c) })
		})
		b.Run("value", func(b *testing.B) {
			measure(b, ny*np*Lanes, "Melem/s", func() { set.GaussMix(f, nil, 0, x, dim*Lanes, dim, np, y, wy, ny, c) })
		})
	})
}
