//go:build !race

package rootio

const limitMemory = true
