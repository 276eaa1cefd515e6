// Package par runs loops over fixed chunks on several goroutines. Chunks do not depend on the number of workers, so a
// result that is reduced chunk by chunk in order is the same at any number of threads.
package par

import (
	"sync"
	"sync/atomic"
)

// For calls f(chunk, lo, hi) for each of the ceil(n/size) chunks of 0..n-1, on at most threads goroutines
// (0: [Threads]). It returns when all are done. A panic in f is raised again in the caller.
func For(threads, n, size int, f func(chunk, lo, hi int)) {
	if n <= 0 {
		return
	}
	chunks := (n + size - 1) / size
	if threads <= 0 {
		threads = Threads()
	}
	threads = min(threads, chunks)
	if threads == 1 {
		for c := range chunks {
			f(c, c*size, min(n, (c+1)*size))
		}
		return
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	var mu sync.Mutex
	var failed any
	for range threads {
		wg.Add(1)
		go func() {
			defer wg.Done()
			defer func() {
				if r := recover(); r != nil {
					mu.Lock()
					failed = r
					mu.Unlock()
				}
			}()
			for {
				c := int(next.Add(1)) - 1
				if c >= chunks {
					return
				}
				f(c, c*size, min(n, (c+1)*size))
			}
		}()
	}
	wg.Wait()
	if failed != nil {
		panic(failed)
	}
}

// Sum adds f(lo, hi) over fixed chunks in their order, in float64.
func Sum(threads, n, size int, f func(lo, hi int) float64) float64 {
	if n <= 0 {
		return 0
	}
	part := make([]float64, (n+size-1)/size)
	For(threads, n, size, func(c, lo, hi int) { part[c] = f(lo, hi) })
	s := 0.0
	for _, p := range part {
		s += p
	}
	return s
}
