package metric_test

import (
	"fmt"

	"hepmorph/internal/rng"
	"hepmorph/validation/metric"
)

// A distance means something only next to its floor: what two samples of the same law show at the same size.
func Example() {
	const n = 20000
	key := rng.NewKey(1, "example")
	simulation, data := make([]float64, n), make([]float64, n)
	for i := range n {
		s := key.At(uint64(i))
		data[i] = s.Norm()
		simulation[i] = 0.1 + 1.1*s.Norm()
	}
	w1 := metric.W1(simulation, nil, data, nil)
	floor, _ := metric.Floors(simulation, nil, data, nil, 20, 1, 0)
	_, p := metric.KS(simulation, nil, data, nil)
	fmt.Printf("W1/sd %.2f, floor %.2f, KS p < 1e-6: %v\n", w1, floor.Mean, p < 1e-6)
	// Output: W1/sd 0.12, floor 0.01, KS p < 1e-6: true
}
