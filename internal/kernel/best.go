package kernel

import (
	"os"
	"sync"
)

// Best returns the fastest float32 set for this processor: avx512, avx2 or portable. The environment variable HEPMORPH_CPU=avx2 or
// HEPMORPH_CPU=portable asks for a slower one; what the processor lacks is never used.
func Best() *Set[float32] { return best() }

var best = sync.OnceValue(func() *Set[float32] { return choose(os.Getenv("HEPMORPH_CPU"), fastSets()) })

// choose takes the first of the fast sets that is no faster than the one wanted.
func choose(want string, fast []*Set[float32]) *Set[float32] {
	switch want {
	case "portable":
		fast = nil
	case "avx2":
		for len(fast) > 0 && fast[0].Name != "avx2" {
			fast = fast[1:]
		}
	}
	return append(fast, Portable[float32]())[0]
}
