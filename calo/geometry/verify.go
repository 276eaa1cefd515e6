package geometry

import (
	"context"
	"fmt"
	"math"
)

// A Check is one property of a shower file.
type Check struct {
	Name  string
	OK    bool
	Found string // what was found, with its unit
}

// A Report is what Verify found.
type Report struct {
	Path     string
	Geometry *Geometry
	Showers  int64
	Checks   []Check

	EnergyMin, EnergyMax       float64 // incident, MeV
	ResponseMean, ResponseSD   float64 // E_tot/E_inc
	Filled                     float64 // mean number of voxels at or above threshold
	EmptyShowers, EmptyLayers  int64   // showers without energy; layers without energy in all showers
	BelowThreshold             int64   // voxels above zero and below the threshold
	NotFinite, Negative        int64   // voxels
	LayerOff                   int64   // showers with a layer whose sum is off by more than the tolerance
	WorstSum                   float64 // largest |sum - E_layer|/E_layer
	worstShower, worstLayer    int64
	badEnergies                int64
	sumResponse, sumResponse2  float64
	filledVoxels, countedShows int64
}

// OK tells whether every check passed.
func (r *Report) OK() bool {
	for _, c := range r.Checks {
		if !c.OK {
			return false
		}
	}
	return true
}

// SumTolerance is how far the sum of a layer's voxels may be from its layer energy, as a fraction of it.
const SumTolerance = 1e-5

// Verify reads a shower file through and checks its shape, that energies are finite, positive and in MeV, that no voxel lies
// between zero and the threshold, and that voxels add up to the layer energies. The two last are checked where the
// file holds layer energies, as generated files do; simulated files may keep energies below the threshold.
// An error means that the file could not be read; what is wrong with its contents is in the report.
func Verify(ctx context.Context, f *Reader) (*Report, error) {
	g := f.Geometry
	r := &Report{Path: f.Path, Geometry: g, Showers: f.N, EnergyMin: math.Inf(1), EnergyMax: math.Inf(-1)}
	sums := make([]float64, len(g.Layers))
	err := f.Each(0, f.N, func(at int64, energies []float64, voxels []float32, layers []float64) error {
		for i, e := range energies {
			v := voxels[i*g.Voxels() : (i+1)*g.Voxels()]
			g.LayerSums(sums, v)
			r.shower(at+int64(i), e, v, sums, layers[i*len(sums):(i+1)*len(sums)])
		}
		return ctx.Err()
	})
	if err != nil {
		return nil, err
	}
	r.conclude(f.HasLayers)
	return r, nil
}

func (r *Report) shower(n int64, energy float64, voxels []float32, sums, layers []float64) {
	if !(energy > 0) || math.IsInf(energy, 1) {
		r.badEnergies++
	} else {
		r.EnergyMin, r.EnergyMax = min(r.EnergyMin, energy), max(r.EnergyMax, energy)
	}
	// a float32 at the threshold may be one rounding below it
	threshold := r.Geometry.Threshold * (1 - 1e-6)
	for _, e := range voxels {
		x := float64(e)
		switch {
		case math.IsNaN(x) || math.IsInf(x, 0):
			r.NotFinite++
		case x < 0:
			r.Negative++
		case x >= threshold && x > 0:
			r.filledVoxels++
		case x > 0:
			r.BelowThreshold++
		}
	}
	total, off := 0.0, false
	for l, s := range sums {
		total += s
		if s == 0 {
			r.EmptyLayers++
		}
		d := math.Abs(s - layers[l])
		if layers[l] != 0 {
			d /= math.Abs(layers[l])
		} else if d > 0 {
			d = math.Inf(1)
		}
		if !(d <= SumTolerance) {
			off = true
		}
		if d > r.WorstSum {
			r.WorstSum, r.worstShower, r.worstLayer = d, n, int64(l)
		}
	}
	if off {
		r.LayerOff++
	}
	if total == 0 {
		r.EmptyShowers++
	}
	if u := total / energy; !math.IsNaN(u) && !math.IsInf(u, 0) {
		r.sumResponse += u
		r.sumResponse2 += u * u
		r.countedShows++
	}
}

func (r *Report) conclude(layers bool) {
	n := float64(max(1, r.countedShows))
	r.ResponseMean = r.sumResponse / n
	r.ResponseSD = math.Sqrt(max(0, r.sumResponse2/n-r.ResponseMean*r.ResponseMean))
	r.Filled = float64(r.filledVoxels) / float64(max(1, r.Showers))
	add := func(name string, ok bool, format string, args ...any) {
		r.Checks = append(r.Checks, Check{name, ok, fmt.Sprintf(format, args...)})
	}
	add("showers", r.Showers > 0, "%d of %v", r.Showers, r.Geometry)
	if r.Showers == 0 {
		return
	}
	add("incident energies", r.badEnergies == 0, "%d not finite or not above zero; %.4g to %.4g MeV", r.badEnergies, r.EnergyMin, r.EnergyMax)
	add("voxels", r.NotFinite == 0 && r.Negative == 0, "%d not finite, %d negative; %.1f of %d filled a shower", r.NotFinite, r.Negative, r.Filled, r.Geometry.Voxels())
	why := ""
	ok := r.ResponseMean > 0.02 && r.ResponseMean < 20
	if !ok {
		why = " (incident energies and voxels in different units?)"
	} else if r.EnergyMax < 100 {
		ok, why = false, " (energies look like GeV, MeV expected)"
	}
	add("unit", ok, "E_tot/E_inc = %.4f ± %.4f, E_inc up to %.4g%s", r.ResponseMean, r.ResponseSD, r.EnergyMax, why)
	if layers {
		add("threshold", r.BelowThreshold == 0, "%d voxels between 0 and %g MeV", r.BelowThreshold, r.Geometry.Threshold)
		found := fmt.Sprintf("%d showers off by more than %.0e; worst %.1e", r.LayerOff, SumTolerance, r.WorstSum)
		if r.LayerOff > 0 {
			found += fmt.Sprintf(" (shower %d, layer %d)", r.worstShower, r.worstLayer)
		}
		add("layer sums", r.LayerOff == 0, "%s", found)
	}
}
