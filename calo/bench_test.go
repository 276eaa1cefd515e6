package calo

import (
	"testing"

	"hepmorph/internal/ad"
	"hepmorph/internal/nn"
)

// BenchmarkStep is a training step of both networks at their default sizes, encoding included.
func BenchmarkStep(b *testing.B) {
	src := showers(b, 2000)
	c := fit(b, "quantile", src)
	st, err := newStore(src)
	if err != nil {
		b.Fatal(err)
	}
	s := Settings{Codec: "quantile"}.resolve(c)
	nets, err := newNetworks(c, s)
	if err != nil {
		b.Fatal(err)
	}
	nets.shape.initialise(nets.shapeParams, 1)
	pool := ad.NewPool(0)
	defer pool.Close()
	rows := make([]int32, st.n)
	for i := range rows {
		rows[i] = int32(i)
	}
	adam := nn.AdamSettings{Clip: 1, Average: 0.999}
	for name, m := range map[string]*matching{
		"energies": energyMatching(c, st, nets.energy, nets.energyParams, pool, true, rows, rows, matchSettings{batch: 512, rate: 2e-3, adam: adam, seed: 1}),
		"shapes":   shapeMatching(c, st, nets.shape, nets.shapeParams, pool, true, rows, rows, matchSettings{batch: 64, rate: 2e-3, adam: adam, seed: 1}),
	} {
		b.Run(name, func(b *testing.B) {
			for i := range b.N {
				if _, err := m.Step(i, b.N, 1); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
