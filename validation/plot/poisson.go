package plot

import (
	"math"

	"gonum.org/v1/gonum/stat/distuv"
)

// Poisson returns the lengths of the error bars of a count: √n from 25 on, below that the 68.27 % interval of Garwood
// (Biometrika 28 (1936) 437), [0, 1.84] for n = 0. It is meant for unweighted data; negative or not finite counts give 0, 0.
func Poisson(n float64) (lo, hi float64) {
	if !(n >= 0) || math.IsInf(n, 0) {
		return 0, 0
	}
	if n >= 25 {
		return math.Sqrt(n), math.Sqrt(n)
	}
	const tail = (1 - 0.682689492137086) / 2
	if n > 0 {
		lo = n - distuv.Gamma{Alpha: n, Beta: 1}.Quantile(tail)
	}
	return lo, distuv.Gamma{Alpha: n + 1, Beta: 1}.Quantile(1-tail) - n
}
