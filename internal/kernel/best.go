package kernel

import (
	"os"
	"sync"
)

// Best returns the fastest float32 set for this processor: avx512, avx2 or portable. The environment variable HEPMORPH_CPU=avx2 or
// HEPMORPH_CPU=portable asks for a slower one; what the processor lacks is never used.
func Best() *Set[float32] { return best() }

var best = sync.OnceValue(func() *Set[float32] {
	fast := fastSets()
	switch os.Getenv("HEPMORPH_CPU") {
	case "portable":
		fast = nil
	case "avx2":
		for len(fast) > 0 && fast[0].Name != "avx2" {
			fast = fast[1:]
		}
	}
	return append(fast, Portable[float32]())[0]
})
