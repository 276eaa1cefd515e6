//go:build !linux

package kernel

func huge[T Float]([]T) {}
