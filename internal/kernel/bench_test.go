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
		measure(b, peakRounds(set.Name, 1000), "GFLOP/s", func() { peakRounds(set.Name, 1000) })
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
			for _, transposed := range []bool{false, true} {
				b.Run(fmt.Sprintf("%dx%dx%d,transposed=%v", m, k, np, transposed), func(b *testing.B) {
					w, x, y, bias := aligned(m*k), aligned(k*np*Lanes), aligned(m*np*Lanes), aligned(m)
					rs, cs := k, 1
					if transposed {
						rs, cs = 1, m
					}
					measure(b, 2*float64(m*k*np*Lanes), "GFLOP/s", func() {
						set.Mul(y, m*Lanes, w, rs, cs, x, k*Lanes, m, k, np, nil, Epilogue[float32]{Bias: bias, Act: ReLU})
					})
				})
			}
		}
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
		spans = append(spans, Span{0, int32(i + Block)})
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
						set.GradW(w, ld, y, m*Lanes, x, ld, ld*Lanes, m, k, np, nil)
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
					set.GradW(w, m, y, m*Lanes, x, m, m*Lanes, m, m, np, spans)
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
