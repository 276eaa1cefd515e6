package kernel

// peakChains matches gen/peak.go.
const peakChains = 12

// peakRounds runs n rounds of independent multiply-adds with the instructions of a set and returns the floating-point operations done;
// 0 for a set without such a loop.
func peakRounds(name string, n int) float64 {
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
