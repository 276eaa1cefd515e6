package samples

import (
	"math"
	"sort"

	"hepmorph/internal/rng"
)

// spotModel spreads the energy of layers over their voxels, spot by spot.
type spotModel struct {
	rm       float64 // Molière radius, mm
	z        float64 // effective charge
	ehat, fs float64 // of the radial profile of sampling calorimeters
	c        float64 // sampling term that sets the number of spots
	unit     float64 // depth of a layer, X0; 0: depths do not matter to the profile
	hadronic bool
	top      int // most spots of a shower
}

// spotScratch holds the energies of a layer's spots.
type spotScratch struct{ energies []float64 }

// A sub-shower has its own axis.
type axis struct{ share, x, y float64 }

// fill draws the spots of a shower; fine are the layer energies of the model.
func (m spotModel) fill(w *showerGenerator, voxels []float32, fine []float64, energy float64, d depth, s *rng.Stream, sc *spotScratch) {
	clear(voxels)
	total := 0.0
	for _, e := range fine {
		total += e
	}
	if total <= 0 {
		return
	}
	gev := energy / 1000
	spots := min(10.3/m.c*math.Pow(gev, 0.959), float64(m.top))
	// two or three early sub-showers share 10 to 30 % of the energy each
	axes := make([]axis, 2+s.IntN(2))
	spread := 0.3 * m.rm
	if m.hadronic {
		spread = 0.6 * m.rm
	}
	for k := range axes {
		axes[k] = axis{0.1 + 0.2*s.Float64(), spread * s.Norm(), spread * s.Norm()}
	}
	fade := 1 / (1 + 0.3*math.Log(max(gev, 1))) // many secondaries at high energies: centres fluctuate less
	for k := range axes {
		axes[k].x *= fade
		axes[k].y *= fade
	}
	for l := range w.g.Layers {
		for k := range w.merge {
			at := l*w.merge + k
			e := fine[at]
			if e <= 0 {
				continue
			}
			n := 1 + s.Poisson(spots*e/total)
			if float64(n) > e/max(w.g.Threshold, 0.01) {
				n = max(1, int(e/max(w.g.Threshold, 0.01)))
			}
			m.layer(w, voxels, l, at, e, n, gev, d, axes, s, sc)
		}
	}
	for i, v := range voxels {
		if float64(v) < w.g.Threshold {
			voxels[i] = 0
		}
	}
}

// radii are core and tail radius (in rm) and the share of the core at a depth (arXiv:hep-ex/0001020, section on radial profiles).
func (m spotModel) radii(tau, gev float64) (core, tail, share float64) {
	if m.hadronic {
		return 0.35, 1.6, 0.6
	}
	lnE := math.Log(max(gev, 0.1))
	core = 0.0251 + 0.00319*lnE + (0.1162-0.000381*m.z)*tau
	tail = (0.659 - 0.00309*m.z) * (math.Exp(-2.59*(tau-0.645)) + math.Exp((0.3585+0.0412*lnE)*(tau-0.645)))
	x := (0.401 + 0.00187*m.z - tau) / (1.313 - 0.0686*lnE)
	share = (2.632 - 0.00094*m.z) * math.Exp(x-math.Exp(x))
	core += -0.0203*(1-m.ehat) + 0.0397/m.fs*math.Exp(-tau)
	tail += -0.14*(1-m.ehat) - 0.495/m.fs*math.Exp(-tau)
	share += (1 - m.ehat) * (0.348 - 0.642/m.fs*math.Exp(-(tau-1)*(tau-1)))
	return max(core, 0.02), min(max(tail, 0.1), 8), min(max(share, 0), 1)
}

func (m spotModel) layer(w *showerGenerator, voxels []float32, l, at int, e float64, n int, gev float64, d depth, axes []axis, s *rng.Stream, sc *spotScratch) {
	layer := w.g.Layers[l]
	lo, _ := w.g.Span(l)
	tau := 1.0
	if m.unit > 0 {
		tau = min((float64(at)+0.5)*m.unit/max(d.max, 0.3)*d.ratio, 4)
	}
	core, tail, share := m.radii(tau, gev)
	early := d.early * math.Exp(-float64(at)/2)
	grow := min(1, tau/0.5) // a sub-shower leaves the axis with depth
	sum := 0.0              // the spots' energies are exponential, scaled to the layer's
	sc.energies = sc.energies[:0]
	for range n {
		x := s.Exp()
		sc.energies = append(sc.energies, x)
		sum += x
	}
	rings, alphas := layer.Rings(), layer.Alpha
	for _, x := range sc.energies {
		de := e * x / sum
		r, a := 0.0, 0.0
		for try := 0; ; try++ {
			var px, py float64
			u := s.Float64()
			if u < early {
				r = 0.08 * m.rm * s.Exp()
			} else {
				scale := tail
				if s.Float64() < share {
					scale = core
				}
				v := s.Float64()
				r = m.rm * scale * math.Sqrt(v/(1-v))
				u = s.Float64()
				for _, ax := range axes {
					if u -= ax.share; u < 0 {
						px, py = ax.x*grow, ax.y*grow
						break
					}
				}
			}
			sin, cos := math.Sincos(2 * math.Pi * s.Float64())
			px += r * cos
			py += r * sin
			r, a = math.Hypot(px, py), math.Atan2(py, px)
			if r < w.radius[l] {
				break
			}
			if try == 8 {
				r = w.radius[l] * math.Sqrt(s.Float64())
				break
			}
		}
		ring := sort.SearchFloat64s(layer.REdges, r)
		ring = min(max(ring-1, 0), rings-1)
		sector := min(int((a+math.Pi)/(2*math.Pi)*float64(alphas)), alphas-1)
		voxels[lo+sector*rings+ring] += float32(de)
	}
}
