package cases

import (
	"math"
	"testing"

	"hepmorph/internal/ad"
)

// The published network of dataset 2 has 26,042,688 parameters and takes 4.72 GFLOP an evaluation (arXiv 2405.09629, 2410.21611).
func TestPublishedNetwork(t *testing.T) {
	ps := ad.NewParams[float32]()
	net, err := Showers()[2].network(ps)
	if err != nil {
		t.Fatal(err)
	}
	if n := ps.Count(); n != 26042688 {
		t.Errorf("%d parameters", n)
	}
	if f := net.Operations(); math.Abs(f/4.72e9-1) > 0.005 {
		t.Errorf("%g operations an evaluation", f)
	}
}
