//go:build !amd64

package kernel

// fastSets is empty: there is no assembly for this processor.
func fastSets() []*Set[float32] { return nil }

func peakRounds(string, int) float64 { return 0 }
