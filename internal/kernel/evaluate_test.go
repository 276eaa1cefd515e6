package kernel

import (
	"fmt"
	"math"
	"slices"
	"testing"
)

// A forward pass that keeps nothing gives the bits of one that does, with a log-determinant and without.
func TestForwardWithoutSave(t *testing.T) {
	eachSet(t, func(t *testing.T, set *Set[float32]) {
		const n, np = 3, 2
		maps := map[string]struct {
			params, save int
			forward      func(y, ladj, x, theta, save []float32)
		}{
			"affine": {2, AffineSave, func(y, ladj, x, theta, save []float32) {
				set.AffineForward(n, np, y, n*Lanes, ladj, x, n*Lanes, theta, 2*n*Lanes, save, AffineSave*n*Lanes)
			}},
		}
		for _, s := range []Spline{{Bins: 8, Bound: 5}, {Bins: 5, Bound: 3}, {Bins: 8, Bound: math.Pi, Circular: true}, {Bins: 40, Bound: 5}} {
			maps[fmt.Sprintf("%+v", s)] = struct {
				params, save int
				forward      func(y, ladj, x, theta, save []float32)
			}{s.Params(), s.Save(), func(y, ladj, x, theta, save []float32) {
				set.SplineForward(s, n, np, y, n*Lanes, ladj, x, n*Lanes, theta, n*s.Params()*Lanes, save, n*s.Save()*Lanes)
			}}
		}
		r := random(3)
		for name, m := range maps {
			x, theta, start := make([]float32, np*n*Lanes), make([]float32, np*n*m.params*Lanes), make([]float32, np*Lanes)
			for _, v := range [][]float32{x, theta, start} {
				for i := range v {
					v[i] = float32(3 * r.NormFloat64())
				}
			}
			y, ladj := make([]float32, len(x)), slices.Clone(start)
			m.forward(y, ladj, x, theta, make([]float32, np*n*m.save*Lanes))
			z, without := make([]float32, len(x)), slices.Clone(start)
			m.forward(z, without, x, theta, nil)
			if !slices.Equal(y, z) || !slices.Equal(ladj, without) {
				t.Errorf("%s: other numbers where nothing is kept", name)
			}
			clear(z)
			m.forward(z, nil, x, theta, nil)
			if !slices.Equal(y, z) {
				t.Errorf("%s: other numbers without a log-determinant", name)
			}
		}
	})
}
