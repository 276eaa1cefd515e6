package kernel

// Best returns the fastest float32 set for this processor.
func Best() *Set[float32] { return Portable[float32]() }
