package kernel

import "testing"

func TestChoose(t *testing.T) {
	wide, narrow := &Set[float32]{Name: "avx512"}, &Set[float32]{Name: "avx2"}
	for _, c := range []struct {
		want string
		fast []*Set[float32]
		name string
	}{
		{"", []*Set[float32]{wide, narrow}, "avx512"},
		{"", []*Set[float32]{narrow}, "avx2"},
		{"", nil, "portable"},
		{"avx2", []*Set[float32]{wide, narrow}, "avx2"},
		{"avx2", []*Set[float32]{narrow}, "avx2"},
		{"avx2", nil, "portable"},
		{"avx512", []*Set[float32]{narrow}, "avx2"},
		{"portable", []*Set[float32]{wide, narrow}, "portable"},
	} {
		if got := choose(c.want, c.fast).Name; got != c.name {
			t.Errorf("HEPMORPH_CPU=%q: %s, want %s", c.want, got, c.name)
		}
	}
}

// A set is the whole contract: no kernel may be missing.
func TestSetsAreComplete(t *testing.T) {
	eachSet(t, func(t *testing.T, set *Set[float32]) {
		for name, missing := range map[string]bool{
			"Mul": set.Mul == nil, "GradW": set.GradW == nil, "Transpose": set.Transpose == nil, "RowSum": set.RowSum == nil,
			"RoundPairs": set.RoundPairs == nil, "MulPairs": set.MulPairs == nil,
			"Axpy": set.Axpy == nil, "MulAdd": set.MulAdd == nil, "Affine": set.AffineForward == nil || set.AffineBackward == nil || set.AffineInverse == nil,
			"Spline":    set.SplineForward == nil || set.SplineBackward == nil || set.SplineInverse == nil,
			"Late":      (set.SplineForwardLate == nil) != (set.SplineInverseLate == nil) || (set.SplineForwardLate == nil) != (set.SlopeTable == nil),
			"LayerNorm": set.LayerNorm == nil || set.LayerNormBackward == nil, "Softmax": set.Softmax == nil || set.SoftmaxBackward == nil,
			"Adam": set.Adam == nil, "SumSq": set.SumSq == nil, "GaussMix": set.GaussMix == nil,
		} {
			if missing {
				t.Errorf("%s is missing", name)
			}
		}
	})
}
