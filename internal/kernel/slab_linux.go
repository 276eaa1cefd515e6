package kernel

import (
	"syscall"
	"unsafe"
)

// hugePage is the size of a huge page in bytes.
const hugePage = 2 << 20

// huge asks for huge pages where s fills some. It is a wish, so that a refusal is no error.
func huge[T Float](s []T) {
	p := unsafe.Pointer(unsafe.SliceData(s))
	size := uintptr(len(s)) * unsafe.Sizeof(*new(T))
	skip := -uintptr(p) & (hugePage - 1)
	if size < skip+hugePage {
		return
	}
	whole := unsafe.Slice((*byte)(unsafe.Add(p, skip)), (size-skip)&^(hugePage-1))
	syscall.Madvise(whole, syscall.MADV_HUGEPAGE)
}
