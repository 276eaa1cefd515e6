package calo

import (
	"math"
	"slices"
	"testing"

	"hepmorph/internal/rng"
)

func TestTimes(t *testing.T) {
	const n = 40000
	for kind, want := range map[string]float64{uniformTimes: 0.25, logitNormal: 0.1335} { // P(t < 1/4) = Φ(ln(1/3)) of logit-normal ones
		s := rng.NewKey(1, "times").At(0)
		low, mean := 0, 0.0
		for range n {
			x := drawTime(kind, &s)
			if !(x >= 0 && x <= 1) {
				t.Fatalf("%s: time %v", kind, x)
			}
			if x < 0.25 {
				low++
			}
			mean += x / n
		}
		if kind == logitNormal {
			want = normalCDF(math.Log(1.0 / 3))
		}
		if got := float64(low) / n; math.Abs(got-want) > 4*math.Sqrt(want/n) || math.Abs(mean-0.5) > 0.01 {
			t.Errorf("%s: mean %v, %v below 1/4, %v expected", kind, mean, got, want)
		}
	}
}

// TestTurnCoupling holds that noise is turned to where it is nearest, and that it stays normal noise if showers are turned at random.
func TestTurnCoupling(t *testing.T) {
	c := Codec(newPublished("vit4hep", lookup(t, "ds1-photons")))
	turns := newTurnCoupling(c)
	d := c.Dims().Shape
	for _, to := range turns {
		sorted := slices.Clone(to)
		slices.Sort(sorted)
		for k, v := range sorted {
			if int(v) != k {
				t.Fatal("a turn is no permutation")
			}
		}
	}
	key := rng.NewKey(1, "coupling")
	shower := make([]float32, d)
	s := key.At(0)
	for k := range shower {
		shower[k] = float32(s.Norm())
	}
	noise, shape, lying := make([]float32, d), make([]float32, d), make([]float32, d)
	const n = 20000
	// a number of a layer with sectors where the shower is high: independent of it, the noise has mean 0 there before and after
	at := 0
	for k := range shower {
		if turns[2][k] != int32(k) && shower[k] > shower[at] {
			at = k
		}
	}
	var mean, square, nearer, before float64
	for i := range n {
		s := key.At(uint64(1 + i))
		for k := range noise {
			noise[k] = float32(s.Norm())
		}
		for k, to := range turns[s.IntN(len(turns))] {
			shape[to] = shower[k]
		}
		turns.turn(lying, noise, shape)
		for k := range noise {
			nearer += float64(lying[k]*shape[k]) / n
			before += float64(noise[k]*shape[k]) / n
		}
		mean += float64(lying[at]) / n
		square += float64(lying[at]*lying[at]) / n
	}
	if math.Abs(mean) > 0.03 || math.Abs(square-1) > 0.05 {
		t.Errorf("a number of turned noise has mean %v and square %v", mean, square)
	}
	if !(nearer > before+10) {
		t.Errorf("product of noise and shower %v, %v before", nearer, before)
	}
}
