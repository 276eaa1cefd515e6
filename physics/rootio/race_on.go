//go:build race

package rootio

// The race detector reserves more address space than any limit that would make sense.
const limitMemory = false
