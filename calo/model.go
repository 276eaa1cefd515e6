package calo

import (
	"encoding/json"
	"fmt"

	"hepmorph/calo/geometry"
	"hepmorph/internal/ad"
	"hepmorph/internal/modelfile"
)

// A Model draws showers of one geometry. Its file says everything.
type Model struct {
	Settings Settings
	Training Training
	Solvers  []Distilled // bespoke ones, for its shape network alone
	codec    Codec
	*networks
}

// Training is how a model came to be.
type Training struct {
	Showers              int     // that were trained on
	EnergyMin, EnergyMax float64 // of the incident energies, MeV
	EnergyLoss, Loss     float64 // flow-matching losses on held-out showers
	EnergySteps, Steps   int
	Version, Kernels     string
}

// Geometry is that of the showers.
func (m *Model) Geometry() *geometry.Geometry { return m.codec.Geometry() }

// Codec is what stands between showers and networks.
func (m *Model) Codec() Codec { return m.codec }

// Parameters are the numbers of weights of the energy and of the shape network.
func (m *Model) Parameters() (energy, shape int) {
	return m.energyParams.Count(), m.shapeParams.Count()
}

// ModelKind is what a model file of showers says of itself.
const ModelKind = "calo"

// described is a geometry in a model file.
type described struct {
	Name, Particle string
	PDG            int
	Threshold      float64
	Layers         []geometry.Layer
}

// Write writes the model file. Equal models give equal bytes.
func (m *Model) Write(path string) error {
	f := &modelfile.File{Meta: map[string]string{"kind": ModelKind}}
	g := m.Geometry()
	geo, err := json.Marshal(described{g.Name, g.Particle, g.PDG, g.Threshold, g.Layers})
	if err != nil {
		return fmt.Errorf("calo: could not store the geometry: %w", err)
	}
	codec, err := m.codec.Describe()
	if err != nil {
		return fmt.Errorf("calo: could not store the codec: %w", err)
	}
	f.Add("geometry", geo, len(geo)) // as tensors: the header is bounded
	f.Add("codec", codec, len(codec))
	if err := f.SetJSON("settings", m.Settings); err != nil {
		return err
	}
	if err := f.SetJSON("training", m.Training); err != nil {
		return err
	}
	if len(m.Solvers) > 0 {
		if err := f.SetJSON("solvers", m.Solvers); err != nil {
			return err
		}
	}
	for _, ps := range m.params() {
		named := ps.Named()
		for _, p := range ps.List {
			f.Add(prefix(m, ps)+p.Name, named[p.Name], p.Rows, p.Cols)
		}
	}
	return f.Write(path)
}

// params are the weights of all networks.
func (m *Model) params() []*ad.Params[float32] {
	all := []*ad.Params[float32]{m.energyParams, m.shapeParams}
	if c, ok := m.codec.(*latent); ok {
		all = append(all, c.net.ps)
	}
	return all
}

func prefix(m *Model, ps *ad.Params[float32]) string {
	switch ps {
	case m.shapeParams:
		return "shape."
	case m.energyParams:
		return ""
	}
	return "autoencoder."
}

// ReadModel reads a model file. Errors match modelfile.ErrUnusable where the file is no sound model.
func ReadModel(path string) (*Model, error) {
	f, err := modelfile.Read(path)
	if err != nil {
		return nil, err
	}
	m, err := decodeModel(f)
	if err != nil {
		return nil, fmt.Errorf("calo: could not use %q: %w: %w", path, modelfile.ErrUnusable, err)
	}
	return m, nil
}

func decodeModel(f *modelfile.File) (*Model, error) {
	if f.Meta["kind"] != ModelKind {
		return nil, fmt.Errorf("it holds %q, not a model of showers", f.Meta["kind"])
	}
	m := &Model{}
	if err := f.JSON("settings", &m.Settings); err != nil {
		return nil, err
	}
	if err := f.JSON("training", &m.Training); err != nil {
		return nil, err
	}
	if f.Meta["solvers"] != "" {
		if err := f.JSON("solvers", &m.Solvers); err != nil {
			return nil, err
		}
		for i := range m.Solvers {
			if err := m.Solvers[i].check(); err != nil {
				return nil, err
			}
		}
	}
	text, err := modelfile.Get[uint8](f, "geometry", -1)
	if err != nil {
		return nil, err
	}
	var d described
	if err := json.Unmarshal(text, &d); err != nil {
		return nil, err
	}
	g, err := geometry.New(d.Name, d.Particle, d.PDG, d.Threshold, d.Layers)
	if err != nil {
		return nil, err
	}
	if text, err = modelfile.Get[uint8](f, "codec", -1); err != nil {
		return nil, err
	}
	if m.codec, err = m.restoreCodec(g, text); err != nil {
		return nil, err
	}
	if err := m.Settings.check(); err != nil {
		return nil, err
	}
	if m.networks, err = newNetworks(m.codec, m.Settings); err != nil {
		return nil, err
	}
	for _, ps := range m.params() {
		named := map[string][]float32{}
		for _, p := range ps.List {
			if named[p.Name], err = modelfile.Get[float32](f, prefix(m, ps)+p.Name, p.Rows, p.Cols); err != nil {
				return nil, err
			}
		}
		if err := ps.SetNamed(named); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// restoreCodec makes the codec from its description. An autoencoder has no weights yet.
func (m *Model) restoreCodec(g *geometry.Geometry, text []byte) (Codec, error) {
	if !m.Settings.Latent.On {
		return Restore(m.Settings.Codec, g, text)
	}
	var s latentState
	if err := json.Unmarshal(text, &s); err != nil {
		return nil, err
	}
	inner, err := Restore(m.Settings.Codec, g, s.Energies)
	if err != nil {
		return nil, err
	}
	c, err := newLatent(inner, m.Settings.Latent, m.Settings.Seed)
	if err != nil {
		return nil, err
	}
	return c, c.restore(s)
}
