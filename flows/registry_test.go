package flows_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"hepmorph/flows"
	"hepmorph/flows/flowtest"
)

type (
	params   = *flows.Params[float64]
	bijector = flows.Bijector[float64]
)

func chain(fl *flows.Flow[float64], err error) (bijector, error) {
	if err != nil {
		return nil, err
	}
	return fl.Bijectors, nil
}

// registry lists every bijector and every named flow; the contract holds for each. d and c are features and context.
var registry = []struct {
	name string
	flowtest.Options
	make func(ps params, d, c int) (bijector, error)
}{
	{"maf", flowtest.Options{Identity: true}, func(ps params, d, c int) (bijector, error) {
		return chain(flows.NewMAF(ps, flows.Settings{Features: d, Context: c, Transforms: 3, Hidden: []int{24, 16}, Seed: 3}))
	}},
	{"iaf", flowtest.Options{Identity: true}, func(ps params, d, c int) (bijector, error) {
		return chain(flows.NewIAF(ps, flows.Settings{Features: d, Context: c, Transforms: 2, Hidden: []int{24}, Seed: 3}))
	}},
	{"affine coupling", flowtest.Options{Identity: true}, func(ps params, d, c int) (bijector, error) {
		return chain(flows.NewRealNVP(ps, flows.Settings{Features: d, Context: c, Transforms: 3, Hidden: []int{24, 16}, Seed: 3}))
	}},
	{"nsf", flowtest.Options{Identity: true}, func(ps params, d, c int) (bijector, error) {
		return chain(flows.NewNSF(ps, flows.Settings{Features: d, Context: c, Transforms: 2, Hidden: []int{24, 20}, Seed: 3}))
	}},
	{"nsf 5 bins", flowtest.Options{Identity: true}, func(ps params, d, c int) (bijector, error) {
		return chain(flows.NewNSF(ps, flows.Settings{Features: d, Context: c, Transforms: 2, Hidden: []int{17}, Bins: 5, Seed: 3}))
	}},
	{"nsf, fewer units than features", flowtest.Options{Identity: true}, func(ps params, d, c int) (bijector, error) {
		return chain(flows.NewNSF(ps, flows.Settings{Features: d, Context: c, Transforms: 2, Hidden: []int{7, 6}, Seed: 3}))
	}},
	{"coupling nsf", flowtest.Options{Identity: true}, func(ps params, d, c int) (bijector, error) {
		return chain(flows.NewNSF(ps, flows.Settings{Features: d, Context: c, Transforms: 3, Hidden: []int{24, 20}, Passes: 2, Seed: 3}))
	}},
	{"circular nsf", flowtest.Options{Identity: true, Bounded: math.Pi}, func(ps params, d, c int) (bijector, error) {
		return chain(flows.NewNSF(ps, flows.Settings{Features: d, Context: c, Transforms: 2, Hidden: []int{24}, Bound: math.Pi, Circular: true, Seed: 3}))
	}},
	{"coupling of angles", flowtest.Options{Identity: true, Bounded: math.Pi}, func(ps params, d, c int) (bijector, error) {
		b, err := chain(flows.NewNSF(ps, flows.Settings{Features: d, Context: c, Transforms: 2, Hidden: []int{24}, Passes: 2, Bound: math.Pi, Circular: true, Seed: 3}))
		for _, p := range ps.List {
			if strings.HasSuffix(p.Name, "rotation") {
				ps.Normal(p, 0.5, 4)
			}
		}
		return b, err
	}},
	{"rotation", flowtest.Options{Identity: true, Bounded: math.Pi}, func(ps params, d, c int) (bijector, error) {
		b, err := flows.NewRotation(ps, "turn", d, math.Pi)
		random(ps, 1)
		return b, err
	}},
	{"permutation", flowtest.Options{}, func(ps params, d, c int) (bijector, error) {
		order := make([]int, d)
		for i := range order {
			order[i] = (3*i + 1) % d
		}
		if d%3 == 0 {
			return nil, fmt.Errorf("%d", d)
		}
		return flows.NewPermutation[float64](order)
	}},
	{"lu", flowtest.Options{Identity: true}, func(ps params, d, c int) (bijector, error) {
		b, err := flows.NewLU(ps, "lu", d)
		random(ps, 0.4)
		return b, err
	}},
	{"orthogonal", flowtest.Options{Identity: true}, func(ps params, d, c int) (bijector, error) {
		b, err := flows.NewOrthogonal(ps, "orthogonal", d, 3, 3)
		random(ps, 0.4)
		return b, err
	}},
	{"actnorm", flowtest.Options{Identity: true}, func(ps params, d, c int) (bijector, error) {
		b, err := flows.NewActNorm(ps, "norm", d)
		random(ps, 0.4)
		return b, err
	}},
	{"glow", flowtest.Options{}, func(ps params, d, c int) (bijector, error) {
		norm, err := flows.NewActNorm(ps, "norm", d)
		if err != nil {
			return nil, err
		}
		lu, err := flows.NewLU(ps, "lu", d)
		if err != nil {
			return nil, err
		}
		random(ps, 0.3)
		fl, err := flows.NewRealNVP(ps, flows.Settings{Features: d, Context: c, Transforms: 1, Hidden: []int{16}, Seed: 3})
		if err != nil {
			return nil, err
		}
		return flows.Chain[float64]{norm, lu, fl.Bijectors}, nil
	}},
}

// random fills the parameters whose start is zero.
func random(ps params, sd float64) {
	for _, p := range ps.List {
		ps.Normal(p, sd, 4)
	}
}

func TestRegistry(t *testing.T) {
	for _, e := range registry {
		for _, dc := range [][2]int{{1, 0}, {1, 2}, {2, 0}, {5, 3}, {8, 1}} {
			t.Run(fmt.Sprintf("%s/%d-%d", e.name, dc[0], dc[1]), func(t *testing.T) {
				flowtest.Bijector(t, e.Options, func(ps params) (bijector, error) { return e.make(ps, dc[0], dc[1]) })
			})
		}
	}
}

// TestSeam holds that a flow of angles has no seam: the density is the same, and its slope nearly so, on both sides of ±π, in every feature, also
// where it stands among the conditions of another one.
func TestSeam(t *testing.T) {
	ps := flows.NewParams[float64]()
	fl, err := flows.NewNSF(ps, flows.Settings{Features: 3, Context: 1, Transforms: 3, Hidden: []int{24, 24}, Bound: math.Pi, Circular: true, Seed: 3})
	if err != nil {
		t.Fatal(err)
	}
	for i := range ps.W {
		ps.W[i] *= 3
	}
	for _, p := range ps.List {
		if strings.HasSuffix(p.Name, "rotation") {
			ps.Normal(p, 1, 4)
		}
	}
	pool := flows.NewPool(1)
	defer pool.Close()
	ev := flows.NewEvaluator(fl, flows.Portable[float64](), pool)
	const h = 1e-5
	at := func(feature int, v float64) float64 {
		x := []float64{0.3, -2, 1.1}
		x[feature] = v
		lp := make([]float64, 1)
		ev.LogProb(1, lp, x, []float64{0.5})
		return lp[0]
	}
	moved := 0.0
	for k := range 3 {
		left, right := at(k, math.Pi-h), at(k, -math.Pi+h)
		if math.Abs(left-right) > 1e-3 {
			t.Errorf("feature %d: ln p is %.6f and %.6f on the sides of the seam", k, left, right)
		}
		moved = max(moved, math.Abs(left-at(k, 0)))
	}
	if moved < 0.05 {
		t.Error("the density is flat: nothing was tested")
	}
	// it integrates to one over one angle of a flow of one
	qs := flows.NewParams[float64]()
	one, err := flows.NewNSF(qs, flows.Settings{Features: 1, Transforms: 2, Hidden: []int{8}, Bound: math.Pi, Circular: true, Seed: 5})
	if err != nil {
		t.Fatal(err)
	}
	for i := range qs.W {
		qs.W[i] *= 2
	}
	const n = 20000
	x, lp := make([]float64, n), make([]float64, n)
	for i := range x {
		x[i] = -math.Pi + 2*math.Pi*(float64(i)+0.5)/n
	}
	flows.NewEvaluator(one, flows.Portable[float64](), pool).LogProb(n, lp, x, nil)
	sum := 0.0
	for _, l := range lp {
		sum += math.Exp(l) * 2 * math.Pi / n
	}
	if math.Abs(sum-1) > 1e-4 {
		t.Errorf("integrates to %.6f", sum)
	}
}
