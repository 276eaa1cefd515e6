package cases

import (
	"context"
	"math"

	"hepmorph/calo"
	"hepmorph/calo/geometry"
	"hepmorph/internal/ad"
	"hepmorph/internal/rng"
)

// A Generator draws showers of dataset 2 with a network of the published size (arXiv 2405.09629) in 16 evaluations, energy network included. It
// was trained for one step: time does not depend on what it learned.
type Generator struct {
	model *calo.Model
	ops   float64
}

// evaluations of the shape network and the energy network a shower: midpoint, 8 and 25 steps.
const shapeEvaluations, energyEvaluations = 16, 50

// showers is a source of voxels without physics.
type showers struct{ g *geometry.Geometry }

func (s showers) Geometry() *geometry.Geometry { return s.g }

func (s showers) Each(f func(incident []float64, voxels []float32) error) error {
	const n = 8
	r := rng.NewKey(1, "voxels").At(0)
	incident, voxels := make([]float64, n), make([]float32, n*s.g.Voxels())
	for i := range voxels {
		voxels[i] = float32(math.Exp(r.Norm()))
	}
	for i := range incident {
		incident[i] = 1e4 * float64(1+i)
	}
	return f(incident, voxels)
}

// NewGenerator makes the model.
func NewGenerator() (*Generator, error) {
	c := Showers()[2]
	net, err := c.network(ad.NewParams[float32]())
	if err != nil {
		return nil, err
	}
	g, err := geometry.Lookup(c.Geometry)
	if err != nil {
		return nil, err
	}
	t, err := calo.Train(context.Background(), showers{g}, calo.Settings{Codec: "calodream", Shape: c.Settings, Steps: 1, EnergySteps: 1, Batch: 1, EnergyBatch: 1},
		calo.TrainOptions{})
	if err != nil {
		return nil, err
	}
	energy, _ := t.Model.Parameters()
	return &Generator{t.Model, shapeEvaluations*net.Operations() + energyEvaluations*2*float64(energy)}, nil
}

// Generate draws n showers of 1 GeV to 1 TeV.
func (g *Generator) Generate(n int64, threads int) error {
	return g.model.Generate(context.Background(), calo.LogUniform(1e3, 1e6, n, 1), calo.GenerateOptions{Threads: threads, Solving: calo.Solving{Steps: shapeEvaluations / 2, EnergySteps: energyEvaluations / 2}},
		func([]float64, []float32, []float64) error { return nil })
}

// Operations are the floating-point operations in matrix products of a shower.
func (g *Generator) Operations() float64 { return g.ops }
