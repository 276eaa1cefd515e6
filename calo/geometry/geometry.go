package geometry

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
)

// A Layer is one sampling of the calorimeter.
type Layer struct {
	ID     int       // number in the detector
	REdges []float64 // mm, rising, one more than rings
	Alpha  int       // sectors, equal in [-π,π]
}

// Rings is the number of bins in r.
func (l Layer) Rings() int { return len(l.REdges) - 1 }

// Voxels is the number of voxels of the layer.
func (l Layer) Voxels() int { return l.Rings() * l.Alpha }

// A Geometry is a stack of layers. It is not changed after it was made; safe for concurrent use.
type Geometry struct {
	Name      string
	Particle  string // photon, pion, electron
	PDG       int
	Layers    []Layer
	Threshold float64 // MeV; what is below counts as empty in the evaluation
	offset    []int
	r         []float64 // of the voxels' centres
	eta, phi  []float64
}

// New checks a stack of layers and makes a geometry of it.
func New(name, particle string, pdg int, threshold float64, layers []Layer) (*Geometry, error) {
	fail := func(format string, args ...any) (*Geometry, error) {
		return nil, fmt.Errorf("geometry: could not use %q: %s", name, fmt.Sprintf(format, args...))
	}
	if len(layers) == 0 {
		return fail("no layer has voxels")
	}
	if !(threshold >= 0) || math.IsInf(threshold, 1) {
		return fail("threshold %v MeV", threshold)
	}
	g := &Geometry{Name: name, Particle: particle, PDG: pdg, Threshold: threshold}
	n := 0
	for _, l := range layers {
		if l.Rings() < 1 || l.Alpha < 1 || l.Alpha > maxVoxels {
			return fail("layer %d has %d radial edges and %d sectors", l.ID, len(l.REdges), l.Alpha)
		}
		for i, e := range l.REdges {
			if math.IsNaN(e) || math.IsInf(e, 0) || e < 0 || (i > 0 && e <= l.REdges[i-1]) {
				return fail("layer %d: radial edges must rise from 0 or above, edge %d is %v", l.ID, i, e)
			}
		}
		g.offset = append(g.offset, n)
		if n += l.Voxels(); n > maxVoxels {
			return fail("more than %d voxels", maxVoxels)
		}
		g.Layers = append(g.Layers, Layer{l.ID, slices.Clone(l.REdges), l.Alpha})
	}
	g.offset = append(g.offset, n)
	g.place()
	return g, nil
}

const maxVoxels = 1 << 22

// Voxels is the number of voxels of a shower.
func (g *Geometry) Voxels() int { return g.offset[len(g.Layers)] }

// Span is the range of voxels [lo,hi) of layer l (counted from 0, not its ID).
func (g *Geometry) Span(l int) (lo, hi int) { return g.offset[l], g.offset[l+1] }

// Uniform gives layers × sectors × rings where all layers are cut alike.
func (g *Geometry) Uniform() (layers, alpha, rings int, ok bool) {
	first := g.Layers[0]
	for _, l := range g.Layers[1:] {
		if l.Alpha != first.Alpha || l.Rings() != first.Rings() {
			return 0, 0, 0, false
		}
	}
	return len(g.Layers), first.Alpha, first.Rings(), true
}

// LayerSums writes the energy of each layer into sums, in the order of the layers, summed in float64. voxels is one shower.
func (g *Geometry) LayerSums(sums []float64, voxels []float32) {
	for l := range g.Layers {
		s := 0.0
		for _, e := range voxels[g.offset[l]:g.offset[l+1]] {
			s += float64(e)
		}
		sums[l] = s
	}
}

// Centres are the coordinates of every voxel: the middle of its ring (mm), and r cos α and r sin α with α the middle of its
// sector, which the CaloChallenge calls eta and phi. They belong to the geometry.
func (g *Geometry) Centres() (r, eta, phi []float64) { return g.r, g.eta, g.phi }

func (g *Geometry) place() {
	for _, l := range g.Layers {
		for a := range l.Alpha {
			alpha := (float64(a)+0.5)/float64(l.Alpha)*2*math.Pi - math.Pi
			sin, cos := math.Sincos(alpha)
			for k := range l.Rings() {
				c := (l.REdges[k] + l.REdges[k+1]) / 2
				g.r, g.eta, g.phi = append(g.r, c), append(g.eta, c*cos), append(g.phi, c*sin)
			}
		}
	}
}

// Equal tells whether two geometries put their voxels at the same places.
func (g *Geometry) Equal(o *Geometry) bool {
	return slices.EqualFunc(g.Layers, o.Layers, func(a, b Layer) bool {
		return a.ID == b.ID && a.Alpha == b.Alpha && slices.Equal(a.REdges, b.REdges)
	})
}

// String is the name and the size.
func (g *Geometry) String() string {
	if nl, na, nr, ok := g.Uniform(); ok {
		return fmt.Sprintf("%s (%d layers × %d sectors × %d rings = %d voxels)", g.Name, nl, na, nr, g.Voxels())
	}
	return fmt.Sprintf("%s (%d layers, %d voxels)", g.Name, len(g.Layers), g.Voxels())
}

// The thresholds of the CaloChallenge evaluation: 1 MeV for dataset 1; 0.5 keV in silicon over the sampling fraction 0.033
// for datasets 2 and 3.
const (
	ThresholdDS1 = 1.0
	ThresholdDS2 = 0.01515
)

// Names lists the built-in geometries.
func Names() []string { return []string{"ds1-photons", "ds1-pions", "ds2", "ds3", "mini"} }

// ErrUnknown marks a name or a number of voxels that no geometry has.
var ErrUnknown = errors.New("unknown geometry")

// Lookup gives a built-in geometry. The error (ErrUnknown) lists the names there are.
func Lookup(name string) (*Geometry, error) {
	switch name {
	case "ds1-photons":
		return New(name, "photon", 22, ThresholdDS1, photonLayers)
	case "ds1-pions":
		return New(name, "pion", 211, ThresholdDS1, pionLayers)
	case "ds2":
		return New(name, "electron", 11, ThresholdDS2, stack(45, 16, 9, 4.65))
	case "ds3":
		return New(name, "electron", 11, ThresholdDS2, stack(45, 50, 18, 2.325))
	case "mini":
		return New(name, "electron", 11, ThresholdDS2, stack(15, 8, 9, 4.65))
	}
	return nil, fmt.Errorf("geometry: could not find %q: %w (there are %s)", name, ErrUnknown, strings.Join(Names(), ", "))
}

// Guess gives the built-in geometry with this number of voxels a shower; those of the built-in ones all differ.
func Guess(voxels int) (*Geometry, error) {
	for _, name := range Names() {
		g, err := Lookup(name)
		if err != nil {
			return nil, err
		}
		if g.Voxels() == voxels {
			return g, nil
		}
	}
	return nil, fmt.Errorf("geometry: could not guess a geometry: %w: none of %s has %d voxels (give a binning file)", ErrUnknown, strings.Join(Names(), ", "), voxels)
}

func stack(layers, alpha, rings int, width float64) []Layer {
	edges := make([]float64, rings+1)
	for k := range edges {
		edges[k] = width * float64(k)
	}
	out := make([]Layer, layers)
	for i := range out {
		out[i] = Layer{i, edges, alpha}
	}
	return out
}

// Edges of dataset 1: binning_dataset_1_photons.xml and binning_dataset_1_pions.xml of the CaloChallenge.
var (
	presampler = []float64{0, 5, 10, 30, 50, 100, 200, 400, 600}
	back       = []float64{0, 50, 100, 200, 400, 600}

	photonLayers = []Layer{
		{0, presampler, 1},
		{1, []float64{0, 2, 4, 6, 8, 10, 12, 15, 20, 30, 40, 50, 70, 90, 120, 150, 200}, 10},
		{2, []float64{0, 2, 5, 10, 15, 20, 25, 30, 40, 50, 60, 80, 100, 130, 160, 200, 250, 300, 350, 400}, 10},
		{3, back, 1},
		{12, []float64{0, 100, 200, 400, 1000, 2000}, 1},
	}
	pionLayers = []Layer{
		{0, presampler, 1},
		{1, []float64{0, 1, 4, 7, 10, 15, 30, 50, 90, 150, 200}, 10},
		{2, []float64{0, 5, 10, 20, 30, 50, 80, 130, 200, 300, 400}, 10},
		{3, back, 1},
		{12, []float64{0, 10, 20, 30, 50, 80, 100, 130, 160, 200, 250, 300, 350, 400, 1000, 2000}, 10},
		{13, []float64{0, 10, 20, 30, 50, 80, 100, 130, 160, 200, 250, 300, 350, 400, 600, 1000, 2000}, 10},
		{14, []float64{0, 50, 100, 150, 200, 250, 300, 400, 600, 1000, 2000}, 1},
	}
)

// Coarsen sums layers, sectors and rings in groups of kl, ka, kr, which must divide them; the geometry must be uniform.
// Coarsen(ds2, 3, 2, 1) is mini.
func Coarsen(g *Geometry, name string, kl, ka, kr int) (*Geometry, error) {
	nl, na, nr, ok := g.Uniform()
	if !ok || kl < 1 || ka < 1 || kr < 1 || nl%kl != 0 || na%ka != 0 || nr%kr != 0 {
		return nil, fmt.Errorf("geometry: could not coarsen %v by %d × %d × %d: the numbers must divide those of a uniform geometry", g, kl, ka, kr)
	}
	layers := make([]Layer, nl/kl)
	for i := range layers {
		var edges []float64
		for k := 0; k <= nr; k += kr {
			edges = append(edges, g.Layers[0].REdges[k])
		}
		layers[i] = Layer{i, edges, na / ka}
	}
	return New(name, g.Particle, g.PDG, g.Threshold, layers)
}

// Rebin sums the voxels of a shower of geometry from into the coarser geometry to, as Coarsen made it.
func Rebin(dst []float32, to *Geometry, src []float32, from *Geometry) error {
	nl, na, nr, ok1 := from.Uniform()
	ml, ma, mr, ok2 := to.Uniform()
	if !ok1 || !ok2 || nl%ml != 0 || na%ma != 0 || nr%mr != 0 || len(src) != from.Voxels() || len(dst) != to.Voxels() {
		return fmt.Errorf("geometry: could not rebin %v to %v: shapes do not divide", from, to)
	}
	kl, ka, kr := nl/ml, na/ma, nr/mr
	for i := range dst {
		dst[i] = 0
	}
	for l := range nl {
		for a := range na {
			for r := range nr {
				dst[((l/kl)*ma+a/ka)*mr+r/kr] += src[(l*na+a)*nr+r]
			}
		}
	}
	return nil
}
