package kernel

// Slab makes n zeros, in huge pages where the system gives such to who asks: products step over many rows at a time, each of them in another
// small page.
func Slab[T Float](n int) []T {
	s := make([]T, n)
	huge(s)
	return s
}
