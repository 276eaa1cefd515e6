package calo

import (
	"fmt"
	"math"

	"hepmorph/calo/geometry"
	"hepmorph/internal/rng"
)

// Energies are the coarse numbers of a shower. Layers, Filled and Planes have one entry a layer of the geometry.
type Energies struct {
	Incident float64   // MeV
	Layers   []float64 // MeV
	Filled   []int     // voxels above zero; codecs that do not draw counts leave them 0
	Planes   []Plane   // codecs that do not draw them leave them zero
}

// A Plane says where the energy of a layer lies around the axis of the particle: means, weighted with the energy of the voxels, of r, r² and of
// r and r² times cosine and sine of α and 2α; r in mm. All are 0 where there is no energy.
type Plane struct{ R, RR, X, Y, Q, U float64 }

// NewEnergies has room for the layers of g.
func NewEnergies(g *geometry.Geometry) *Energies {
	return &Energies{Layers: make([]float64, len(g.Layers)), Filled: make([]int, len(g.Layers)), Planes: make([]Plane, len(g.Layers))}
}

// Total is the sum of the layers.
func (e *Energies) Total() float64 {
	s := 0.0
	for _, x := range e.Layers {
		s += x
	}
	return s
}

// Measure fills e from a shower. Voxels below the geometry's threshold count as empty.
func (e *Energies) Measure(g *geometry.Geometry, incident float64, voxels []float32) {
	e.Incident = incident
	r, eta, phi := g.Centres()
	for l := range g.Layers {
		lo, hi := g.Span(l)
		sum, n := 0.0, 0
		var p Plane
		for k, v := range voxels[lo:hi] {
			if !above(v, g.Threshold) {
				continue
			}
			w, r, x, y := float64(v), r[lo+k], eta[lo+k], phi[lo+k]
			sum += w
			n++
			p = Plane{p.R + w*r, p.RR + w*r*r, p.X + w*x, p.Y + w*y, p.Q + w*(x*x-y*y), p.U + w*2*x*y}
		}
		if sum > 0 {
			p = Plane{p.R / sum, p.RR / sum, p.X / sum, p.Y / sum, p.Q / sum, p.U / sum}
		}
		e.Layers[l], e.Filled[l], e.Planes[l] = sum, n, p
	}
}

// above says whether a voxel counts as filled. A float32 that stands for the threshold may be one rounding below it.
func above(v float32, threshold float64) bool {
	return v > 0 && float64(v) >= threshold*(1-1e-6)
}

// A Codec turns showers into the vectors that the networks draw, and back. It is fitted on training showers and is part of
// the model. Encoding may draw random numbers from s, to spread what is discrete; of decodings only that of an autoencoder's numbers draws any. Safe for
// concurrent use once fitted.
type Codec interface {
	Name() string
	Geometry() *geometry.Geometry

	// Dims are the lengths of the vectors: what the energy network draws and its condition; what the shape network draws, its
	// condition, and the numbers of each layer that may be given to the tokens of that layer.
	Dims() Dims

	// EnergyCondition writes the condition of the energy network.
	EnergyCondition(dst []float32, incident float64)
	// EncodeEnergies writes the energy vector.
	EncodeEnergies(dst []float32, e *Energies, s *rng.Stream)
	// DecodeEnergies fills layers and counts from an energy vector; e.Incident is given.
	DecodeEnergies(e *Energies, x []float32)

	// ShapeCondition writes the condition of the shape network, and the numbers of each layer (layer by layer).
	ShapeCondition(dst, layers []float32, e *Energies)
	// EncodeShape writes the shape vector of a shower with these energies.
	EncodeShape(dst []float32, e *Energies, voxels []float32, s *rng.Stream)
	// DecodeShape fills voxels from a shape vector, so that they add up to the energies.
	DecodeShape(voxels []float32, e *Energies, x []float32, s *rng.Stream)

	// Describe returns the fitted numbers, to be stored with the model and given to Restore.
	Describe() ([]byte, error)
}

// Dims are the lengths of a codec's vectors. With SkipEmpty the shape vector means nothing in layers without energy.
type Dims struct {
	Energy, EnergyCondition, Shape, ShapeCondition, Layer int
	SkipEmpty                                             bool
}

// Codecs lists the codecs by name.
func Codecs() []string { return []string{"moments", "quantile", "calodream", "vit4hep"} }

// A Source gives training showers, block by block, as often as needed: Each calls f with incident energies (n) and voxels (n × voxels)
// until the end. The slices are reused.
type Source interface {
	Geometry() *geometry.Geometry
	Each(f func(incident []float64, voxels []float32) error) error
}

// Fit makes a codec from training showers. Names are those of Codecs.
func Fit(name string, src Source, seed uint64) (Codec, error) {
	switch name {
	case "moments":
		return fitMoments(src, seed)
	case "quantile":
		return fitQuantile(name, src, seed)
	case "calodream", "vit4hep":
		return fitPublished(name, src)
	}
	return nil, fmt.Errorf("calo: could not find codec %q: there are moments, quantile, calodream, vit4hep", name)
}

// Restore makes a codec from what Describe returned. It checks every number.
func Restore(name string, g *geometry.Geometry, description []byte) (Codec, error) {
	switch name {
	case "moments":
		return restoreMoments(g, description)
	case "quantile":
		return restoreQuantile(g, description)
	case "calodream", "vit4hep":
		return restorePublished(name, g, description)
	}
	return nil, fmt.Errorf("calo: could not find codec %q: there are moments, quantile, calodream, vit4hep", name)
}

// Showers in memory are a Source.
type Showers struct {
	Geo      *geometry.Geometry
	Incident []float64
	Voxels   []float32
}

// Geometry is that of the showers.
func (s *Showers) Geometry() *geometry.Geometry { return s.Geo }

// Len is the number of showers.
func (s *Showers) Len() int { return len(s.Incident) }

// Shower is the voxels of shower i.
func (s *Showers) Shower(i int) []float32 {
	n := s.Geo.Voxels()
	return s.Voxels[i*n : (i+1)*n]
}

// Slice is showers lo..hi-1, sharing memory.
func (s *Showers) Slice(lo, hi int) *Showers {
	n := s.Geo.Voxels()
	return &Showers{s.Geo, s.Incident[lo:hi], s.Voxels[lo*n : hi*n]}
}

// Each gives all showers in one block.
func (s *Showers) Each(f func([]float64, []float32) error) error { return f(s.Incident, s.Voxels) }

// FileSource reads showers lo..hi-1 of a file, block by block, every time they are asked for.
type FileSource struct {
	File   *geometry.Reader
	Lo, Hi int64
}

// Geometry is that of the file.
func (s FileSource) Geometry() *geometry.Geometry { return s.File.Geometry }

// Each reads the range once.
func (s FileSource) Each(f func([]float64, []float32) error) error {
	return s.File.Each(s.Lo, s.Hi, func(_ int64, e []float64, v []float32, _ []float64) error { return f(e, v) })
}

// fillLayer sets the voxels of a layer to energy·w/Σw in float32, so that their float64 sum is the float32 value of energy to half a
// unit of the largest voxel, and none lies between 0 and threshold. w > 0 marks the voxels that may be filled. Those that would come out
// below the threshold are emptied, or raised to it with keep; at least one voxel stays. The energy must be 0 or not below the threshold.
// The largest voxel takes what rounding leaves. w is overwritten.
func fillLayer(dst []float32, w []float64, energy, threshold float64, keep bool) {
	clear(dst)
	if energy <= 0 {
		return
	}
	energy = float64(float32(energy))
	floor := float64(math.Nextafter32(float32(threshold), math.MaxFloat32))
	if threshold == 0 {
		floor = 0
	}
	big := 0
	for i, x := range w {
		if x > w[big] {
			big = i
		}
	}
	if !(w[big] > 0) || math.IsInf(w[big], 1) {
		w[big] = 1
	}
	fixed := 0.0 // energy of raised voxels, whose weight is now 0
	for {
		sum := 0.0
		for _, x := range w {
			if x > 0 {
				sum += x
			}
		}
		scale := (energy - fixed) / sum
		again := false
		for i, x := range w {
			if x <= 0 || i == big || x*scale >= floor {
				continue
			}
			w[i], again = 0, true
			if keep && energy-fixed-floor >= floor {
				dst[i] = float32(floor)
				fixed += floor
			}
		}
		if again {
			continue
		}
		left := energy - fixed
		for i, x := range w {
			if x > 0 && i != big {
				dst[i] = float32(x * scale)
				left -= float64(dst[i])
			}
		}
		dst[big] = float32(left)
		return
	}
}
