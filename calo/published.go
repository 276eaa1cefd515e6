package calo

import (
	"encoding/json"
	"fmt"
	"math"

	"hepmorph/calo/geometry"
	"hepmorph/internal/rng"
)

// Constants of the published preprocessing (arXiv:2405.09629 and its configurations; arXiv:2601.05289).
const (
	pubScale  = 0.35  // of energies, so that u_0 <= 1
	pubDelta  = 1e-6  // of the logit
	pubCut    = 1e-7  // normalised voxels up to this are 0 after the inverse
	pubEps    = 1e-10 // in denominators
	pubLogMin = 6.907755
	pubLogMax = 13.815510
)

// published is the preprocessing of CaloDREAM and of vit4hep.
//
// Forward: voxels over their layer's sum; u_0..u_{L-1}, u_0 scaled by 0.35; logit(x(1-2δ)+δ); standardise. CaloDREAM scales all
// voxels instead of u_0, which is the same, and standardises each voxel by itself; vit4hep takes one mean and deviation over the
// voxels that are neither empty nor the whole layer. Where layers have different numbers of sectors, vit4hep surrounds the
// voxels of layers with one sector by two zeros on either side, so that every layer is a multiple of 5 voxels; the inverse
// takes the largest of the five. The condition is [c, u], c = (ln E_inc - ln 1 GeV)/ln 1000.
type published struct {
	name string
	g    *geometry.Geometry
	pad  []int // sectors that a layer's single one becomes; 1 leaves a layer as it is
	dim  int

	Mean, SD   []float64 // of the voxels' logits; one entry for vit4hep
	UMean, USD []float64 // of the u's logits
}

func newPublished(name string, g *geometry.Geometry) *published {
	p := &published{name: name, g: g}
	_, _, _, uniform := g.Uniform()
	for _, l := range g.Layers {
		pad := 1
		if name == "vit4hep" && !uniform && l.Alpha == 1 {
			pad = 5
		}
		p.pad = append(p.pad, pad)
		p.dim += l.Voxels() * pad
	}
	return p
}

func (p *published) Name() string                 { return p.name }
func (p *published) Geometry() *geometry.Geometry { return p.g }
func (p *published) Dims() Dims {
	n := len(p.g.Layers)
	return Dims{Energy: n, EnergyCondition: 1, Shape: p.dim, ShapeCondition: n + 1}
}

func logit(x float64) float64 {
	x = x*(1-2*pubDelta) + pubDelta
	return math.Log(x / (1 - x))
}

func unlogit(z float64) float64 { return (1/(1+math.Exp(-z)) - pubDelta) / (1 - 2*pubDelta) }

// ratios writes u_0..u_{L-1}; u_0 is scaled.
func ratios(u []float64, e *Energies) {
	rest := 0.0
	for i := len(u) - 1; i > 0; i-- {
		rest += e.Layers[i]
		u[i] = e.Layers[i-1] / (e.Layers[i-1] + rest + pubEps)
	}
	u[0] = pubScale * (e.Layers[0] + rest) / e.Incident
}

func (p *published) EnergyCondition(dst []float32, incident float64) {
	dst[0] = float32((math.Log(incident) - pubLogMin) / (pubLogMax - pubLogMin))
}

func (p *published) EncodeEnergies(dst []float32, e *Energies, _ *rng.Stream) {
	u := make([]float64, len(dst))
	ratios(u, e)
	for i, x := range u {
		dst[i] = float32((clampedLogit(x) - p.UMean[i]) / p.USD[i])
	}
}

// clampedLogit keeps a u_0 above 1 (a response above 1/0.35) finite.
func clampedLogit(x float64) float64 { return logit(min(max(x, 0), 1)) }

func (p *published) DecodeEnergies(e *Energies, x []float32) {
	u := make([]float64, len(x))
	for i, v := range x {
		u[i] = unlogit(float64(v)*p.USD[i] + p.UMean[i])
		u[i] = min(max(u[i], 0), 1)
	}
	rest := e.Incident * u[0] / pubScale
	for l := range e.Layers {
		e.Layers[l] = rest
		if l+1 < len(u) {
			e.Layers[l] = rest * u[l+1]
		}
		rest -= e.Layers[l]
		e.Filled[l] = 0
	}
}

func (p *published) ShapeCondition(dst, _ []float32, e *Energies) {
	p.EnergyCondition(dst[:1], e.Incident)
	p.EncodeEnergies(dst[1:], e, nil)
}

// slot calls f for each voxel of layer l with its place in the shape vector.
func (p *published) slot(l, at int, f func(voxel, place int)) int {
	lo, hi := p.g.Span(l)
	for v := lo; v < hi; v++ {
		f(v, at+(v-lo)*p.pad[l]+(p.pad[l]-1)/2)
	}
	return at + (hi-lo)*p.pad[l]
}

func (p *published) standard(place int) (mean, sd float64) {
	if len(p.Mean) == 1 {
		return p.Mean[0], p.SD[0]
	}
	return p.Mean[place], p.SD[place]
}

// logits writes the logits of the voxels over their layer, padding included.
func (p *published) logits(dst []float64, e *Energies, voxels []float32) {
	for i := range dst {
		dst[i] = logit(0)
	}
	at := 0
	for l := range p.g.Layers {
		at = p.slot(l, at, func(v, place int) {
			dst[place] = logit(float64(voxels[v]) / (e.Layers[l] + pubEps))
		})
	}
}

func (p *published) EncodeShape(dst []float32, e *Energies, voxels []float32, _ *rng.Stream) {
	z := make([]float64, len(dst))
	p.logits(z, e, voxels)
	for i, x := range z {
		mean, sd := p.standard(i)
		dst[i] = float32((x - mean) / sd)
	}
}

// DecodeShape is the published inverse: no voxel is cut at the threshold, which belongs to the evaluation.
func (p *published) DecodeShape(voxels []float32, e *Energies, x []float32, _ *rng.Stream) {
	w := make([]float64, p.g.Voxels())
	at := 0
	for l := range p.g.Layers {
		lo, hi := p.g.Span(l)
		from := at
		at = p.slot(l, at, func(v, _ int) {
			best := 0.0
			for k := range p.pad[l] {
				place := from + (v-lo)*p.pad[l] + k
				mean, sd := p.standard(place)
				best = max(best, unlogit(float64(x[place])*sd+mean))
			}
			if best <= pubCut {
				best = 0
			}
			w[v] = best
		})
		sum := 0.0
		for _, x := range w[lo:hi] {
			sum += x
		}
		if sum == 0 {
			clear(voxels[lo:hi])
			continue
		}
		fillLayer(voxels[lo:hi], w[lo:hi], e.Layers[l], 0, false)
	}
}

// moments adds up numbers for a mean and an unbiased standard deviation.
type moments struct{ n, sum, sq, shift float64 }

func (m *moments) add(x float64) {
	if m.n == 0 {
		m.shift = x // deviations from the first number, so that squares do not cancel
	}
	x -= m.shift
	m.n++
	m.sum += x
	m.sq += x * x
}

// result is the mean and the deviation; a deviation of 0, as of a voxel that is never filled, becomes 1.
func (m *moments) result() (mean, sd float64) {
	if m.n == 0 {
		return 0, 1
	}
	mean = m.sum / m.n
	if m.n > 1 {
		sd = math.Sqrt(max(0, (m.sq-m.n*mean*mean)/(m.n-1)))
	}
	if sd < 1e-9 {
		sd = 1
	}
	return m.shift + mean, sd
}

func fitPublished(name string, src Source) (Codec, error) {
	p := newPublished(name, src.Geometry())
	global := name == "vit4hep"
	n := p.dim
	if global {
		n = 1
	}
	voxel, us := make([]moments, n), make([]moments, len(p.g.Layers))
	e := NewEnergies(p.g)
	z, u := make([]float64, p.dim), make([]float64, len(p.g.Layers))
	low := logit(0)
	count := 0
	err := src.Each(func(incident []float64, voxels []float32) error {
		for i, inc := range incident {
			v := voxels[i*p.g.Voxels() : (i+1)*p.g.Voxels()]
			e.Measure(p.g, inc, v)
			p.logits(z, e, v)
			for k, x := range z {
				if !global {
					voxel[k].add(x)
				} else if x > low && x < -low {
					voxel[0].add(x)
				}
			}
			ratios(u, e)
			for k, x := range u {
				us[k].add(clampedLogit(x))
			}
			count++
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if count < 2 {
		return nil, fmt.Errorf("calo: could not fit codec %q: %d showers", name, count)
	}
	for _, m := range voxel {
		mean, sd := m.result()
		p.Mean, p.SD = append(p.Mean, mean), append(p.SD, sd)
	}
	for _, m := range us {
		mean, sd := m.result()
		p.UMean, p.USD = append(p.UMean, mean), append(p.USD, sd)
	}
	return p, nil
}

func (p *published) Describe() ([]byte, error) { return json.Marshal(p) }

func restorePublished(name string, g *geometry.Geometry, b []byte) (Codec, error) {
	p := newPublished(name, g)
	if err := json.Unmarshal(b, p); err != nil {
		return nil, fmt.Errorf("calo: could not restore codec %q: %w", name, err)
	}
	want := p.dim
	if name == "vit4hep" {
		want = 1
	}
	if len(p.Mean) != want || len(p.SD) != want || len(p.UMean) != len(g.Layers) || len(p.USD) != len(g.Layers) {
		return nil, fmt.Errorf("calo: could not restore codec %q: %d means of voxels and %d of layers, %d and %d expected for %v", name, len(p.Mean), len(p.UMean), want, len(g.Layers), g)
	}
	for _, s := range [][]float64{p.SD, p.USD} {
		for i, x := range s {
			if !(x > 0) {
				return nil, fmt.Errorf("calo: could not restore codec %q: deviation %d is %v", name, i, x)
			}
		}
	}
	return p, nil
}
