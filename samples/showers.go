package samples

import (
	"context"
	"fmt"
	"math"

	"hepmorph/calo/geometry"
	"hepmorph/internal/par"
	"hepmorph/internal/rng"
)

// ShowerSettings describe a sample of generated showers.
type ShowerSettings struct {
	Geometry string // ds1-photons, ds1-pions, ds2, ds3 or mini. Default mini.
	Events   int64  // default 10 000
	Seed     uint64
	Threads  int // 0: all

	// EnergyMin and EnergyMax (MeV) bound the incident energies, which are uniform in their logarithm. Equal ones give a fixed energy.
	// Default: 1 to 100 GeV for mini, 1 GeV to 1 TeV for ds2 and ds3. For dataset 1 the default is its fifteen energies, 256 MeV to 4.2 TeV by
	// factors of two, in the numbers of the real set.
	EnergyMin, EnergyMax float64
}

// A showerGenerator draws showers of one geometry.
type showerGenerator struct {
	g        *geometry.Geometry
	model    layerModel
	merge    int // layers of the model in one of the geometry
	discrete bool
	lo, hi   float64
	spots    spotModel
	key      rng.Key
	radius   []float64 // outer edge of each layer, mm
}

func newShowerGenerator(set ShowerSettings) (*showerGenerator, error) {
	if set.Geometry == "" {
		set.Geometry = "mini"
	}
	g, err := geometry.Lookup(set.Geometry)
	if err != nil {
		return nil, fmt.Errorf("samples: could not generate showers: %w", err)
	}
	w := &showerGenerator{g: g, merge: 1, lo: 1e3, hi: 1e6, key: rng.NewKey(set.Seed, "showers "+g.Name)}
	switch g.Name {
	case "ds1-photons":
		w.model, w.spots, w.discrete = photonModel{}, spotModel{rm: 45, z: 70, ehat: 0.8, fs: 4, c: 0.1, top: 2000}, true
	case "ds1-pions":
		w.model, w.spots, w.discrete = pionModel{}, spotModel{rm: 60, z: 60, ehat: 0.8, fs: 4, c: 0.5, hadronic: true, top: 2000}, true
	case "ds2":
		w.model = stackDS2
	case "ds3":
		w.model = stackDS3
	case "mini":
		w.model, w.merge, w.hi = stackDS2, 3, 1e5
	}
	if !w.discrete {
		w.spots = spotModel{rm: stackRm, z: stackZ, ehat: stackEhat, fs: stackFs, c: 0.2, unit: stackDepth, top: 40000}
	}
	if set.EnergyMin != 0 || set.EnergyMax != 0 {
		w.lo, w.hi, w.discrete = set.EnergyMin, set.EnergyMax, false
	}
	if !(w.lo >= 100) || !(w.hi >= w.lo) || w.hi > 1e8 {
		return nil, fmt.Errorf("samples: could not generate showers: incident energies from %v to %v MeV, 100 MeV to 100 TeV are possible", w.lo, w.hi)
	}
	for _, l := range g.Layers {
		w.radius = append(w.radius, l.REdges[l.Rings()])
	}
	return w, nil
}

// Numbers of showers, in thousands, of the energies 2^8 to 2^22 MeV in dataset 1 (arXiv:2410.21611).
var datasetOneNumbers = []float64{10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 5, 3, 2, 1}

func (w *showerGenerator) incident(s *rng.Stream) float64 {
	if !w.discrete {
		return w.lo * math.Exp(math.Log(w.hi/w.lo)*s.Float64())
	}
	total := 0.0
	for _, n := range datasetOneNumbers {
		total += n
	}
	u := total * s.Float64()
	for k, n := range datasetOneNumbers {
		if u -= n; u < 0 {
			return math.Exp2(float64(8 + k))
		}
	}
	return math.Exp2(22)
}

// shower draws shower number i.
func (w *showerGenerator) shower(i uint64, voxels []float32, fine []float64, sc *spotScratch) (energy float64) {
	s := w.key.At(i)
	energy = w.incident(&s)
	d := w.model.draw(fine, energy, &s)
	w.spots.fill(w, voxels, fine, energy, d, &s, sc)
	return energy
}

// Showers generates showers in the manner of GFlash (arXiv:hep-ex/0001020) and gives them to f block by block, in order: the number
// of the first, incident energies (n) and voxels (n × voxels) in MeV; the slices are reused. Voxels below the geometry's threshold are 0.
//
// The layer energies follow a gamma profile whose maximum and shape fluctuate together, with ionisation before the shower, sampling
// fluctuations and noise of single layers, adjusted to the real sets' correlations and means (CheckShowers). Within a layer, spots
// fall around the axis by the GFlash radial profile, a part of them around the axes of early sub-showers, so that centres fluctuate
// and voxels of neighbouring layers belong together.
//
// Shower i depends on seed, geometry, energy range and i alone. Errors: unknown geometries and impossible energies; errors of f; the
// context's.
func Showers(ctx context.Context, set ShowerSettings, f func(first int64, energies []float64, voxels []float32) error) error {
	w, err := newShowerGenerator(set)
	if err != nil {
		return err
	}
	if set.Events == 0 {
		set.Events = 10000
	}
	if set.Events < 0 {
		return fmt.Errorf("samples: could not generate showers: %d events", set.Events)
	}
	nv := w.g.Voxels()
	block := max(64, min(w.g.Block(), 4096))
	energies, voxels := make([]float64, min(block, set.Events)), make([]float32, min(block, set.Events)*int64(nv))
	for at := int64(0); at < set.Events; at += block {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		n := int(min(block, set.Events-at))
		par.For(set.Threads, n, 32, func(_, lo, hi int) {
			fine := make([]float64, w.model.layers())
			var sc spotScratch
			for i := lo; i < hi; i++ {
				energies[i] = w.shower(uint64(at)+uint64(i), voxels[i*nv:(i+1)*nv], fine, &sc)
			}
		})
		if err := f(at, energies[:n], voxels[:n*nv]); err != nil {
			return err
		}
	}
	return nil
}

// WriteShowers generates showers into a file, HDF5 or ROOT by its name, with progress told after each block.
func WriteShowers(ctx context.Context, path string, set ShowerSettings, progress func(done, total int64)) error {
	w, err := newShowerGenerator(set)
	if err != nil {
		return err
	}
	if set.Events == 0 {
		set.Events = 10000
	}
	out, err := geometry.Create(path, w.g, false)
	if err != nil {
		return err
	}
	defer out.Abort()
	err = Showers(ctx, set, func(at int64, energies []float64, voxels []float32) error {
		if err := out.Write(energies, voxels, nil); err != nil {
			return err
		}
		if progress != nil {
			progress(at+int64(len(energies)), set.Events)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return out.Close()
}
