package flows_test

import (
	"fmt"
	"math"
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
	{"coupling nsf", flowtest.Options{Identity: true}, func(ps params, d, c int) (bijector, error) {
		return chain(flows.NewNSF(ps, flows.Settings{Features: d, Context: c, Transforms: 3, Hidden: []int{24, 20}, Passes: 2, Seed: 3}))
	}},
	{"circular nsf", flowtest.Options{Identity: true, Bounded: math.Pi}, func(ps params, d, c int) (bijector, error) {
		return chain(flows.NewNSF(ps, flows.Settings{Features: d, Context: c, Transforms: 2, Hidden: []int{24}, Bound: math.Pi, Circular: true, Seed: 3}))
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
