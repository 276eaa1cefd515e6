package flows_test

import (
	"math"
	"testing"

	"hepmorph/flows"
	"hepmorph/internal/rng"
)

// TestFinite sends extreme numbers through flows in float32, in both directions: 10⁸ numbers with -long.
func TestFinite(t *testing.T) {
	const d, n = 8, 1 << 12
	rounds := 2
	if *long {
		rounds = 100_000_000 / (2 * d * n)
	}
	values := []float32{0, 1, -1, 5, -5, 4.9999995, -4.9999995, 5.0000005, 1e6, -1e6, 1e-38, -1e-38, 2.5, 3.75, -1.25}
	pool := flows.NewPool(0)
	defer pool.Close()
	for name, build := range map[string]func(*flows.Params[float32], flows.Settings) (*flows.Flow[float32], error){
		"maf": flows.NewMAF[float32], "nsf": flows.NewNSF[float32], "coupling": func(ps *flows.Params[float32], s flows.Settings) (*flows.Flow[float32], error) {
			s.Passes = 2
			return flows.NewNSF(ps, s)
		},
	} {
		t.Run(name, func(t *testing.T) {
			ps := flows.NewParams[float32]()
			fl, err := build(ps, flows.Settings{Features: d, Context: 2, Transforms: 3, Hidden: []int{32, 32}, Seed: 1})
			if err != nil {
				t.Fatal(err)
			}
			ev := flows.NewEvaluator(fl, flows.Best(), pool)
			x, c, y, l := make([]float32, n*d), make([]float32, n*2), make([]float32, n*d), make([]float32, n)
			for round := range rounds {
				s := rng.NewKey(1, "finite").At(uint64(round))
				scale := float32(math.Exp(6 * s.Float64()))
				draw := func(v []float32) {
					for i := range v {
						if s.IntN(3) == 0 {
							v[i] = values[s.IntN(len(values))]
						} else {
							v[i] = scale * float32(s.Norm())
						}
					}
				}
				draw(x)
				draw(c)
				check := func(what string, v []float32) {
					for i, f := range v {
						if math.IsNaN(float64(f)) || math.IsInf(float64(f), 0) {
							t.Fatalf("round %d: %s %d is %v", round, what, i, f)
						}
					}
				}
				ev.Encode(n, y, l, x, c)
				check("output", y)
				check("log-det", l)
				ev.Decode(n, y, l, x, c)
				check("output of the inverse", y)
				check("log-det of the inverse", l)
			}
		})
	}
}

// TestSinglePrecision holds that the product's float32 undoes itself to 1e-4.
func TestSinglePrecision(t *testing.T) {
	const d, n = 8, 5000
	pool := flows.NewPool(0)
	defer pool.Close()
	for name, set := range map[string]flows.Settings{"nsf": {}, "coupling": {Passes: 2}} {
		ps := flows.NewParams[float32]()
		set.Features, set.Context, set.Seed = d, 3, 2
		fl, err := flows.NewNSF(ps, set)
		if err != nil {
			t.Fatal(err)
		}
		ev := flows.NewEvaluator(fl, flows.Best(), pool)
		x, c, z, y := make([]float32, n*d), make([]float32, n*3), make([]float32, n*d), make([]float32, n*d)
		s := rng.NewKey(3, "rows").At(0)
		for i := range x {
			x[i] = 2 * float32(s.Norm())
		}
		for i := range c {
			c[i] = float32(s.Norm())
		}
		ev.Encode(n, z, nil, x, c)
		ev.Decode(n, y, nil, z, c)
		for i := range x {
			if e := math.Abs(float64(x[i] - y[i])); e > 1e-4*max(1, math.Abs(float64(x[i]))) {
				t.Errorf("%s: %v comes back as %v", name, x[i], y[i])
				break
			}
		}
	}
}
