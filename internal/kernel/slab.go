package kernel

import "sync/atomic"

// Slab makes n zeros, in huge pages where the system gives such to who asks: products step over many rows at a time, each of them in another
// small page. Slabs begin at different places of their pages, since what an optimizer reads together would else fall on the same lines of the cache.
func Slab[T Float](n int) []T {
	const line, lines = 16, 64
	skip := int(slabs.Add(1)) * 5 % lines * line
	s := make([]T, skip+n)[skip:]
	huge(s)
	return s
}

var slabs atomic.Uint32
