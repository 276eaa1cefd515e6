package calo

import (
	"math"

	"hepmorph/calo/geometry"
	"hepmorph/internal/par"
)

// Features are the high-level numbers of many showers, as the CaloChallenge defines them (arXiv:2410.21611): voxels below the
// threshold are set to zero first. Of a layer: its energy; the centre Σxe/(Σe+1e-16) and the width sqrt(max(0, Σx²e/(Σe+1e-16) -
// centre²)) in eta, phi (r cos α, r sin α) and r, in mm; the sparsity, which is 1 minus the share of filled voxels. Index [layer][shower];
// nil for eta and phi of layers with one sector.
type Features struct {
	Geometry                               *geometry.Geometry
	Incident, Total                        []float64 // MeV
	Layer, Sparsity                        [][]float64
	CentreEta, CentrePhi, CentreR          [][]float64
	WidthEta, WidthPhi, WidthR             [][]float64
	REdges                                 []float64   // mm, those of the layer with most rings
	Ring                                   [][]float64 // energy between them, all layers together, MeV; index [ring][shower]
	Mean                                   []float64   // energy of each voxel, averaged over the showers, MeV
	Largest                                float64     // voxel, MeV
	BelowThreshold, Negative, NotFinite, N int64       // voxels; N is the number of showers
}

// Measure computes the features of all showers of a source. Voxels that are negative or not finite are counted and taken as zero.
// The result does not depend on the number of threads (0: all).
func Measure(src Source, threads int) (*Features, error) {
	g := src.Geometry()
	nl, nv := len(g.Layers), g.Voxels()
	f := &Features{Geometry: g, Mean: make([]float64, nv)}
	each := []*[][]float64{&f.Layer, &f.Sparsity, &f.CentreEta, &f.CentrePhi, &f.CentreR, &f.WidthEta, &f.WidthPhi, &f.WidthR}
	for _, p := range each {
		*p = make([][]float64, nl)
	}
	r, eta, phi := g.Centres()
	shares := f.rings()
	err := src.Each(func(incident []float64, voxels []float32) error {
		n, at := len(incident), len(f.Incident)
		f.Incident = append(f.Incident, incident...)
		f.Total = append(f.Total, make([]float64, n)...)
		for k, p := range each {
			for l := range *p {
				if flat := k == 2 || k == 3 || k == 5 || k == 6; !flat || g.Layers[l].Alpha > 1 {
					(*p)[l] = append((*p)[l], make([]float64, n)...)
				}
			}
		}
		for k := range f.Ring {
			f.Ring[k] = append(f.Ring[k], make([]float64, n)...)
		}
		const chunk = 64
		type part struct {
			mean                []float64
			largest             float64
			below, neg, notReal int64
		}
		parts := make([]part, (n+chunk-1)/chunk)
		par.For(threads, n, chunk, func(c, lo, hi int) {
			p := part{mean: make([]float64, nv)}
			for i := lo; i < hi; i++ {
				v := voxels[i*nv : (i+1)*nv]
				for l := range g.Layers {
					a, b := g.Span(l)
					var s, filled, xe, xp, xr, x2e, x2p, x2r float64
					for k := a; k < b; k++ {
						if !above(v[k], g.Threshold) || math.IsInf(float64(v[k]), 1) {
							switch x := float64(v[k]); {
							case math.IsNaN(x) || math.IsInf(x, 0):
								p.notReal++
							case x < 0:
								p.neg++
							case x > 0:
								p.below++
							}
							continue
						}
						e := float64(v[k])
						p.mean[k] += e
						p.largest = max(p.largest, e)
						s += e
						filled++
						xe += e * eta[k]
						xp += e * phi[k]
						xr += e * r[k]
						x2e += e * eta[k] * eta[k]
						x2p += e * phi[k] * phi[k]
						x2r += e * r[k] * r[k]
						for _, c := range shares[k] {
							f.Ring[c.ring][at+i] += e * c.share
						}
					}
					d := s + 1e-16
					width := func(centre, square float64) float64 {
						return math.Sqrt(max(0, square/d-centre*centre))
					}
					j := at + i
					f.Layer[l][j] = s
					f.Total[j] += s
					f.Sparsity[l][j] = 1 - filled/float64(b-a)
					f.CentreR[l][j] = xr / d
					f.WidthR[l][j] = width(xr/d, x2r)
					if g.Layers[l].Alpha > 1 {
						f.CentreEta[l][j], f.CentrePhi[l][j] = xe/d, xp/d
						f.WidthEta[l][j], f.WidthPhi[l][j] = width(xe/d, x2e), width(xp/d, x2p)
					}
				}
			}
			parts[c] = p
		})
		for _, p := range parts {
			for k, m := range p.mean {
				f.Mean[k] += m
			}
			f.Largest = max(f.Largest, p.largest)
			f.BelowThreshold += p.below
			f.Negative += p.neg
			f.NotFinite += p.notReal
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	f.N = int64(len(f.Incident))
	for k := range f.Mean {
		f.Mean[k] /= float64(max(1, f.N))
	}
	return f, nil
}

// ringShare is the part of a voxel's width that lies in a ring.
type ringShare struct {
	ring  int
	share float64
}

// rings chooses the rings of the radial profile and says which voxel lies in which.
func (f *Features) rings() [][]ringShare {
	g := f.Geometry
	for _, l := range g.Layers {
		if len(l.REdges) > len(f.REdges) {
			f.REdges = l.REdges
		}
	}
	f.Ring = make([][]float64, len(f.REdges)-1)
	out := make([][]ringShare, g.Voxels())
	for l, layer := range g.Layers {
		lo, hi := g.Span(l)
		for k := lo; k < hi; k++ {
			a, b := layer.REdges[(k-lo)%layer.Rings()], layer.REdges[(k-lo)%layer.Rings()+1]
			for i := range f.Ring {
				if w := min(b, f.REdges[i+1]) - max(a, f.REdges[i]); w > 0 {
					out[k] = append(out[k], ringShare{i, w / (b - a)})
				}
			}
		}
	}
	return out
}

// Slice is showers lo..hi-1, sharing memory. The mean voxels stay those of all.
func (f *Features) Slice(lo, hi int) *Features {
	out := *f
	cut := func(x [][]float64) [][]float64 {
		y := make([][]float64, len(x))
		for l := range x {
			if x[l] != nil {
				y[l] = x[l][lo:hi]
			}
		}
		return y
	}
	out.Incident, out.Total = f.Incident[lo:hi], f.Total[lo:hi]
	out.Layer, out.Sparsity = cut(f.Layer), cut(f.Sparsity)
	out.CentreEta, out.CentrePhi, out.CentreR = cut(f.CentreEta), cut(f.CentrePhi), cut(f.CentreR)
	out.WidthEta, out.WidthPhi, out.WidthR = cut(f.WidthEta), cut(f.WidthPhi), cut(f.WidthR)
	out.Ring = cut(f.Ring)
	out.N = int64(hi - lo)
	return &out
}

func mapped(x []float64, f func(float64) float64) []float64 {
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = f(v)
	}
	return y
}

func logOf(x float64) float64      { return math.Log10(x) }
func logOfSmall(x float64) float64 { return math.Log10(x + 1e-8) }
func hundredth(x float64) float64  { return x / 100 }

// HighLevel are the inputs of the high-level classifier and of FPD and KPD, column by column: log10 E_inc, log10(E_layer + 1e-8),
// centres and widths in eta and phi over 100, log10(E_tot + 1e-8), sparsities, centres and widths in r over 100. 122 columns
// for mini, 362 for datasets 2 and 3, 30 for photons and 46 for pions of dataset 1.
func (f *Features) HighLevel() [][]float64 {
	out := [][]float64{mapped(f.Incident, logOf)}
	group := func(x [][]float64, fn func(float64) float64) {
		for _, c := range x {
			if c != nil {
				out = append(out, mapped(c, fn))
			}
		}
	}
	group(f.Layer, logOfSmall)
	group(f.CentreEta, hundredth)
	group(f.CentrePhi, hundredth)
	group(f.WidthEta, hundredth)
	group(f.WidthPhi, hundredth)
	out = append(out, mapped(f.Total, logOfSmall))
	group(f.Sparsity, func(x float64) float64 { return x })
	group(f.CentreR, hundredth)
	group(f.WidthR, hundredth)
	return out
}

// Response is E_tot/E_inc.
func (f *Features) Response() []float64 {
	u := make([]float64, len(f.Total))
	for i := range u {
		u[i] = f.Total[i] / f.Incident[i]
	}
	return u
}

// LayerEnergies are the inputs of the classifier on layer energies: log10 E_inc, log10(E_layer + 1e-8), E_tot/E_inc.
func (f *Features) LayerEnergies() [][]float64 {
	out := [][]float64{mapped(f.Incident, logOf)}
	for _, c := range f.Layer {
		out = append(out, mapped(c, logOfSmall))
	}
	return append(out, f.Response())
}
