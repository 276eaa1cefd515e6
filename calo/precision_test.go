package calo

import (
	"context"
	"errors"
	"math"
	"slices"
	"testing"

	"hepmorph/calo/geometry"
	"hepmorph/internal/ad"
)

// TestPrecision holds that bf16 changes velocities by what rounding to 8 bits does, and that showers keep their promises.
func TestPrecision(t *testing.T) {
	g := lookup(t, "mini")
	tr, err := Train(context.Background(), toy(g, 150, 2), small("moments"), TrainOptions{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	m := tr.Model
	pool := ad.NewPool(2)
	defer pool.Close()
	const n = 30
	velocity := func(precision string) []float32 {
		w, err := m.newGenerator(pool, GenerateOptions{Seed: 3, Solving: m.solving(Solving{Precision: precision})})
		if err != nil {
			t.Fatal(err)
		}
		w.resize(n)
		for i := range w.incident {
			w.incident[i] = 1e4
		}
		if err := w.begin(0, n); err != nil {
			t.Fatal(err)
		}
		v := make([]float32, n*w.shapeField.Dim())
		w.shapeField.Velocity(v, w.x, n, 0.5) // where it is the network alone
		return v
	}
	full, rounded := velocity("float32"), velocity("bf16")
	var off, size float64
	for i, v := range full {
		off += float64((v - rounded[i]) * (v - rounded[i]))
		size += float64(v * v)
	}
	if r := math.Sqrt(off / size); !(r > 5e-4 && r < 2e-2) { // 2⁻⁹ = 2e-3 for one rounding
		t.Errorf("velocities of bf16 differ by %.2g of their size", r)
	}

	in := LogUniform(1e3, 1e5, n, 5)
	o := GenerateOptions{Seed: 3, Solving: Solving{Steps: 2, EnergySteps: 2, Precision: "bf16"}, Threads: 2}
	voxels, layers := drawn(t, m, in, o)
	sums := make([]float64, len(g.Layers))
	for i := range n {
		g.LayerSums(sums, voxels[i*g.Voxels():(i+1)*g.Voxels()])
		for l, want := range layers[i*len(sums) : (i+1)*len(sums)] {
			if math.Abs(sums[l]-want) > geometry.SumTolerance*want {
				t.Errorf("shower %d: layer %d has %v MeV, %v were drawn", i, l, sums[l], want)
			}
		}
	}
	o.Threads = 1
	if one, _ := drawn(t, m, in, o); !slices.Equal(one, voxels) {
		t.Error("the number of threads changes showers")
	}
	o.Precision = "float32"
	straight, _ := drawn(t, m, in, o)
	if slices.Equal(straight, voxels) {
		t.Error("the precision changes nothing")
	}
	m.Settings.Solving.Precision = "bf16"
	o.Precision = ""
	if own, _ := drawn(t, m, in, o); !slices.Equal(own, voxels) {
		t.Error("the model's precision is not used")
	}
	o.Precision = "float16"
	if err := m.Generate(context.Background(), in, o, nil); !errors.Is(err, ErrSettings) {
		t.Errorf("an unknown precision: %v", err)
	}
}
