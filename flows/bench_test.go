package flows_test

import (
	"testing"
	"time"

	"hepmorph/internal/ad"
	"hepmorph/internal/kernel"
	"hepmorph/internal/peer/cases"
)

func benchmark(b *testing.B, f func(r *cases.Runner) func(), work bool) {
	for _, c := range cases.All() {
		b.Run(c.Name, func(b *testing.B) {
			r, err := cases.New(c, kernel.Best(), 0, ad.Settings{})
			if err != nil {
				b.Fatal(err)
			}
			defer r.Close()
			step := f(r)
			step()
			b.ReportAllocs()
			best := time.Duration(1 << 62)
			for b.Loop() {
				start := time.Now()
				step()
				best = min(best, time.Since(start))
			}
			b.ReportMetric(float64(best.Microseconds())/1000, "best-ms")
			if work {
				b.ReportMetric(r.Work()/float64(best.Nanoseconds()), "GFLOP/s")
			}
		})
	}
}

func BenchmarkTrain(b *testing.B) {
	benchmark(b, func(r *cases.Runner) func() { return func() { r.Train() } }, true)
}

func BenchmarkLogProb(b *testing.B) {
	benchmark(b, func(r *cases.Runner) func() { return r.LogProb }, false)
}

func BenchmarkSample(b *testing.B) {
	benchmark(b, func(r *cases.Runner) func() { return r.Sample }, false)
}
