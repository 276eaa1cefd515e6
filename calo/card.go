package calo

import (
	"fmt"
	"strings"
)

// Card says in a few lines what the model is and how it came to be.
func (m *Model) Card() string {
	var b strings.Builder
	s, t, g := &m.Settings, &m.Training, m.Geometry()
	energy, shape := m.Parameters()
	fmt.Fprintf(&b, "showers      %v, threshold %g MeV", g, g.Threshold)
	if g.Particle != "" {
		fmt.Fprintf(&b, ", %s", g.Particle)
	}
	fmt.Fprintf(&b, "\ncodec        %s\n", m.codec.Name())
	fmt.Fprintf(&b, "energies     %s network, width %d, depth %d, %d parameters\n", s.Energy.Network, s.Energy.Width, s.Energy.Depth, energy)
	if s.Latent.On {
		fmt.Fprintf(&b, "autoencoder  %d numbers of each cell of %d layers, %d sectors, %d rings\n", s.Latent.Features, s.Latent.Stride[0], s.Latent.Stride[1], s.Latent.Stride[2])
	}
	fmt.Fprintf(&b, "shapes       transformer, patches of %d layers, %d sectors, %d rings, width %d, depth %d, %d heads, %d parameters\n", s.Shape.Patch[0], s.Shape.Patch[1], s.Shape.Patch[2], s.Shape.Width, s.Shape.Depth, s.Shape.Heads, shape)
	fmt.Fprintf(&b, "training     %d showers of %.5g to %.5g MeV; %d and %d steps, best after %d and %d; held-out flow-matching losses: energies %.4f, shapes %.4f; seed %d\n",
		t.Showers, t.EnergyMin, t.EnergyMax, s.EnergySteps, s.Steps, t.EnergySteps, t.Steps, t.EnergyLoss, t.Loss, s.Seed)
	fmt.Fprintf(&b, "drawing      %s, %d steps for the shapes, %d for the energies\n", s.Solving.Solver, s.Solving.Steps, s.Solving.EnergySteps)
	for _, d := range m.Solvers {
		fmt.Fprintf(&b, "solver       %s of %d evaluations, end-point error %.3g times midpoint's\n", d.Kind, d.Evaluations, d.Error/d.MidpointError)
	}
	fmt.Fprintf(&b, "made by      hepmorph %s, kernels %s\n", t.Version, t.Kernels)
	return b.String()
}
