//go:build !linux && !darwin

package atomicfile

func freeSpace(string) (bytes uint64, ok bool) { return 0, false }
