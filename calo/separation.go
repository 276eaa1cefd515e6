package calo

import (
	"math"
	"slices"
	"sort"

	"hepmorph/calo/geometry"
	"hepmorph/validation/metric"
)

// linear and logarithmic bin edges.
func evenEdges(lo, hi float64, bins int) []float64 {
	e := make([]float64, bins+1)
	for i := range e {
		e[i] = lo + (hi-lo)*float64(i)/float64(bins)
	}
	e[bins] = hi
	return e
}

func logEdges(lo, hi float64, bins int) []float64 {
	e := make([]float64, bins+1)
	for i := range e {
		e[i] = lo * math.Pow(hi/lo, float64(i)/float64(bins))
	}
	e[0], e[bins] = lo, hi
	return e
}

// binning are the ranges of the official histograms.
type binning struct {
	ds1    bool
	photon bool
	g      *geometry.Geometry
	rMax   float64
}

func newBinning(g *geometry.Geometry) binning {
	b := binning{g: g}
	for _, name := range []string{"ds1-photons", "ds1-pions"} {
		if d, err := geometry.Lookup(name); err == nil && d.Equal(g) {
			b.ds1, b.photon = true, name == "ds1-photons"
		}
	}
	for _, l := range g.Layers {
		b.rMax = max(b.rMax, l.REdges[l.Rings()])
	}
	return b
}

// ofDS2 is a length of datasets 2 and 3, whose voxels reach to 41.85 mm, in proportion.
func (b binning) ofDS2(x float64) float64 {
	if math.Abs(b.rMax-41.85) < 1e-9 {
		return x
	}
	return x * b.rMax / 41.85
}

func (b binning) deep(l int) bool { id := b.g.Layers[l].ID; return id == 12 || id == 13 }

func (b binning) centre(l int) []float64 {
	x := b.ofDS2(30)
	if b.ds1 {
		if x = 100; b.deep(l) {
			x = 500
		}
	}
	return evenEdges(-x, x, 100)
}

func (b binning) width(l int) []float64 {
	x := b.ofDS2(30)
	if b.ds1 {
		if x = 100; b.deep(l) {
			x = 400
		}
	}
	return evenEdges(0, x, 100)
}

func (b binning) centreR(l int) []float64 {
	x := b.ofDS2(42)
	if b.ds1 {
		if x = 500; b.g.Layers[l].ID >= 12 {
			x = 1500
		}
	}
	return evenEdges(0, x, 100)
}

func (b binning) widthR(l int) []float64 {
	if b.ds1 {
		return b.centreR(l)
	}
	return evenEdges(0, b.ofDS2(20), 100)
}

func (b binning) sparsity(int) []float64 { return evenEdges(0, 1, 20) }

// floorOf is a threshold that logarithmic bins can start at.
func (b binning) floorOf(largest float64) float64 {
	if b.g.Threshold > 0 {
		return b.g.Threshold
	}
	return max(largest, 1e-3) * 1e-6
}

func (b binning) energy(ref []float64) []float64 {
	top := slices.Max(ref)
	lo := b.floorOf(top)
	return logEdges(lo, max(top, 2*lo), 39)
}

// spectrum are the bins of the voxel energies; largest is the reference's.
func (b binning) spectrum(largest float64) []float64 {
	lo := b.floorOf(largest)
	return logEdges(lo, max(largest, 2*lo), 49)
}

// A Separation is the separation power of one group of observables: 0 for equal histograms, 1 for disjoint ones, the mean over the
// layers. Floor is n_bins/(2N) of as many filled bins, what two samples of the same law show.
type Separation struct {
	Group    string
	Value    float64
	Floor    float64
	PerLayer []float64
}

// Separations compares features in the official bins (CaloChallenge evaluation): E_tot/E_inc, E_layer, centres and widths, sparsity.
func Separations(ref, gen *Features) []Separation {
	b := newBinning(ref.Geometry)
	var out []Separation
	add := func(group string, x, y [][]float64, edges func(l int) []float64) {
		s := Separation{Group: group}
		for l := range x {
			if x[l] == nil {
				continue
			}
			v, floor := separation(x[l], y[l], edges(l))
			s.PerLayer = append(s.PerLayer, v)
			s.Value += v
			s.Floor += floor
		}
		if n := float64(len(s.PerLayer)); n > 0 {
			s.Value /= n
			s.Floor /= n
			out = append(out, s)
		}
	}
	ru, gu := ref.Response(), gen.Response()
	if b.ds1 {
		ru, gu, edges := b.byEnergy(ref, gen, ru, gu)
		add("E_tot/E_inc", ru, gu, func(l int) []float64 { return edges[l] })
	} else {
		add("E_tot/E_inc", [][]float64{ru}, [][]float64{gu}, func(int) []float64 { return evenEdges(0.5, 1.5, 100) })
	}
	add("E_layer", ref.Layer, gen.Layer, func(l int) []float64 { return b.energy(ref.Layer[l]) })
	add("EC_eta", ref.CentreEta, gen.CentreEta, b.centre)
	add("EC_phi", ref.CentrePhi, gen.CentrePhi, b.centre)
	add("W_eta", ref.WidthEta, gen.WidthEta, b.width)
	add("W_phi", ref.WidthPhi, gen.WidthPhi, b.width)
	add("EC_r", ref.CentreR, gen.CentreR, b.centreR)
	add("W_r", ref.WidthR, gen.WidthR, b.widthR)
	add("sparsity", ref.Sparsity, gen.Sparsity, b.sparsity)
	return out
}

// byEnergy splits the response of dataset 1 by its discrete incident energies: 20 bins in [0.4,1.4], for photons from the fifth
// energy on in [0.9,1.1].
func (b binning) byEnergy(ref, gen *Features, ru, gu []float64) (x, y, edges [][]float64) {
	var energies []float64
	seen := map[float64]int{}
	for _, e := range ref.Incident {
		if _, ok := seen[e]; !ok {
			seen[e] = 0
			energies = append(energies, e)
		}
	}
	sort.Float64s(energies)
	if len(energies) > 64 { // not the discrete energies of dataset 1
		return [][]float64{ru}, [][]float64{gu}, [][]float64{evenEdges(0.4, 1.4, 100)}
	}
	for i, e := range energies {
		seen[e] = i
		edge := evenEdges(0.4, 1.4, 20)
		if b.photon && i >= 4 {
			edge = evenEdges(0.9, 1.1, 20)
		}
		edges = append(edges, edge)
	}
	x, y = make([][]float64, len(energies)), make([][]float64, len(energies))
	for i, e := range ref.Incident {
		x[seen[e]] = append(x[seen[e]], ru[i])
	}
	for i, e := range gen.Incident {
		if k, ok := seen[e]; ok {
			y[k] = append(y[k], gu[i])
		}
	}
	for i := range y {
		if y[i] == nil {
			y[i] = []float64{}
		}
	}
	return x, y, edges
}

func separation(x, y, edges []float64) (value, floor float64) {
	a, b := metric.Histogram(x, nil, edges), metric.Histogram(y, nil, edges)
	filled, na, nb := 0.0, 0.0, 0.0
	for i := range a {
		if a[i]+b[i] > 0 {
			filled++
		}
		na += a[i]
		nb += b[i]
	}
	if na > 0 && nb > 0 {
		floor = filled / 4 * (1/na + 1/nb)
	}
	return metric.Separation(a, b), floor
}

// Spectrum is the histogram of the voxel energies of a source between threshold and the largest voxel of the reference, in the official
// 49 bins.
func Spectrum(src Source, largest float64) (edges, counts []float64, err error) {
	edges = newBinning(src.Geometry()).spectrum(largest)
	counts = make([]float64, len(edges)-1)
	scale := float64(len(counts)) / math.Log(edges[len(counts)]/edges[0])
	err = src.Each(func(_ []float64, voxels []float32) error {
		for _, v := range voxels {
			x := float64(v)
			if !(x >= edges[0]) || x > edges[len(counts)] {
				continue
			}
			k := min(int(math.Log(x/edges[0])*scale), len(counts)-1)
			for k > 0 && x < edges[k] {
				k--
			}
			for k < len(counts)-1 && x >= edges[k+1] {
				k++
			}
			counts[k]++
		}
		return nil
	})
	return edges, counts, err
}
