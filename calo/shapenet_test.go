package calo_test

import (
	"testing"
	"time"

	"hepmorph/internal/kernel"
	"hepmorph/internal/peer/cases"
)

// BenchmarkShapeNet runs the transformers that are compared with PyTorch: training steps, and the velocity of 100 showers and of one.
func BenchmarkShapeNet(b *testing.B) {
	for _, c := range cases.Showers() {
		b.Run(c.Name, func(b *testing.B) {
			r, err := cases.NewShower(c, kernel.Best(), 0)
			if err != nil {
				b.Fatal(err)
			}
			defer r.Close()
			for _, op := range []struct {
				name string
				step func()
				work float64
			}{
				{"train", r.Train, r.Work()},
				{"velocity100", func() { r.Velocity(100) }, 100 * r.Net.Operations()},
				{"velocity1", func() { r.Velocity(1) }, r.Net.Operations()},
				{"bf16velocity100", func() { r.RoundedVelocity(100) }, 100 * r.Net.Operations()},
				{"bf16velocity1", func() { r.RoundedVelocity(1) }, r.Net.Operations()},
			} {
				b.Run(op.name, func(b *testing.B) {
					op.step()
					b.ReportAllocs()
					best := time.Duration(1 << 62)
					for b.Loop() {
						start := time.Now()
						op.step()
						best = min(best, time.Since(start))
					}
					b.ReportMetric(float64(best.Microseconds())/1000, "best-ms")
					b.ReportMetric(op.work/float64(best.Nanoseconds()), "GFLOP/s")
				})
			}
		})
	}
}
