package kernel

// peakChains matches gen/peak.go.
const peakChains = 12

// PeakRounds runs n rounds of independent multiply-adds in registers, with the instructions of the set of that name, and returns the
// floating-point operations done: divided by the time (take the best of several runs of n = 100,000) they are the peak of one core.
// It returns 0 for a set without such a loop.
func PeakRounds(name string, n int) float64 {
	switch name {
	case "avx512":
		peakAVX512(n)
		return 2 * 16 * peakChains * float64(n)
	case "avx2":
		peakAVX2(n)
		return 2 * 8 * peakChains * float64(n)
	}
	return 0
}
