package par

import (
	"sync/atomic"
	"testing"
)

func TestForVisitsEachIndexOnce(t *testing.T) {
	for _, n := range []int{0, 1, 7, 64, 1000} {
		for _, threads := range []int{1, 2, 5} {
			seen := make([]atomic.Int32, n)
			For(threads, n, 8, func(_, lo, hi int) {
				for i := lo; i < hi; i++ {
					seen[i].Add(1)
				}
			})
			for i := range seen {
				if seen[i].Load() != 1 {
					t.Fatalf("n=%d threads=%d: index %d seen %d times", n, threads, i, seen[i].Load())
				}
			}
		}
	}
}

func TestSumDoesNotDependOnThreads(t *testing.T) {
	f := func(lo, hi int) float64 {
		s := 0.0
		for i := lo; i < hi; i++ {
			s += 1 / float64(i+1)
		}
		return s
	}
	want := Sum(1, 12345, 100, f)
	for _, threads := range []int{2, 3, 8} {
		if got := Sum(threads, 12345, 100, f); got != want {
			t.Errorf("%d threads: %v, want %v", threads, got, want)
		}
	}
}

func TestPanicReachesTheCaller(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	For(2, 10, 1, func(c, _, _ int) {
		if c == 3 {
			panic("x")
		}
	})
}
