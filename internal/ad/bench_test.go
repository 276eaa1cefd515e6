package ad_test

import (
	"testing"

	"hepmorph/internal/ad"
	"hepmorph/internal/kernel"
)

// BenchmarkPool is a fork and join around little work.
func BenchmarkPool(b *testing.B) {
	pool := ad.NewPool(2)
	defer pool.Close()
	x := make([]float32, 4*4096)
	k := kernel.Best()
	f := func(_, t int) {
		for range 16 {
			k.Axpy(x[t*4096:][:4096], 1e-3, x[t*4096:][:4096])
		}
	}
	for b.Loop() {
		pool.Run(4, f)
	}
}
