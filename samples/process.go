package samples

import (
	"fmt"
	"math"
	"strings"

	"hepmorph/internal/rng"
)

// Process is a hard process of the diphoton generator.
type Process uint8

// The processes. Their names on the command line are yy, signal and yj.
const (
	Continuum Process = iota // two prompt photons, a falling mass spectrum
	Signal                   // two prompt photons from a narrow resonance of 125 GeV
	GammaJet                 // one prompt photon, one jet that passes as a photon
	processes
)

var processNames = [processes]string{"yy", "signal", "yj"}

func (p Process) String() string {
	if p < processes {
		return processNames[p]
	}
	return fmt.Sprintf("process(%d)", uint8(p))
}

// ParseProcess returns the process of that name.
func ParseProcess(name string) (Process, error) {
	for p, n := range processNames {
		if n == name {
			return Process(p), nil
		}
	}
	return 0, fmt.Errorf("samples: could not use process %q: there are %s", name, strings.Join(processNames[:], ", "))
}

// PeakMass is the mass of the resonance in GeV; it has no natural width.
const PeakMass = 125.0

// A CrossSection normalises the simulation of a process: it stands for Sigma*KFactor*FilterEff pb.
type CrossSection struct {
	Sigma     float64 // pb
	KFactor   float64
	FilterEff float64
}

// Effective is Sigma*KFactor*FilterEff in pb.
func (c CrossSection) Effective() float64 { return c.Sigma * c.KFactor * c.FilterEff }

// spectrum holds what distinguishes the processes before the detector; the formulas are in doc.go.
type spectrum struct {
	power      float64      // of the falling mass spectrum; 0 for the resonance
	ptA, ptB   float64      // scale of pT_yy in GeV: ptA + ptB (m - 100 GeV)
	ptC        float64      // tail of pT_yy
	rapidity   float64      // sd of the pair's rapidity
	negA, negB float64      // P(weight < 0) = negA + negB (1 - exp(-pT_yy/25 GeV)) < 1/2
	xs         CrossSection // of the resonance: set by its share
}

var spectra = [processes]spectrum{
	Continuum: {power: 4.6, ptA: 15, ptB: 0.04, ptC: 2.2, rapidity: 1.10, negA: 0.02, negB: 0.12, xs: CrossSection{52, 1.25, 0.60}},
	Signal:    {ptA: 30, ptB: 0.08, ptC: 2.6, rapidity: 0.95, negA: 0.06, negB: 0.16, xs: CrossSection{0, 1.70, 0.0025}},
	GammaJet:  {power: 5.2, ptA: 19, ptB: 0.04, ptC: 2.0, rapidity: 1.15, negA: 0.01, negB: 0.06, xs: CrossSection{910, 1.20, 0.010}},
}

// Limits of the generator, on true quantities (GeV). Selections on what the detectors measure must be tighter by some five
// resolutions: pT > 35 and 25 GeV is safe.
const (
	massMin, massMax  = 76.0, 600.0
	massTurn, massSig = 95.0, 5.0 // turn-on of the trigger
	leadMin, subMin   = 31.0, 21.5
	etaMax            = 2.5
	etaStarMax        = 1.7 // atanh |cos theta*| of continuum photons
)

// crossSection of a process beside the listed ones: that of the resonance gives it the share peak of them all (with no other
// listed, as if the continuum were).
func crossSection(p Process, list []Process, peak float64) CrossSection {
	x := spectra[p].xs
	if p == Signal {
		rest := 0.0
		for _, q := range list {
			if q != Signal {
				rest += spectra[q].xs.Effective()
			}
		}
		if rest == 0 {
			rest = spectra[Continuum].xs.Effective()
		}
		x.Sigma = peak / (1 - peak) * rest / (x.KFactor * x.FilterEff)
	}
	return x
}

// mixture returns the share of each process in a sample of the listed ones, and their cross section together in pb.
func mixture(list []Process, peak float64) (share [processes]float64, sum float64) {
	for _, p := range list {
		share[p] = crossSection(p, list, peak).Effective()
		sum += share[p]
	}
	for p := range share {
		share[p] /= sum
	}
	return share, sum
}

// hard is a true event: two photons, the first of higher pT.
type hard struct {
	process      Process
	pt, eta, phi [2]float64
	fake         [2]bool // is a jet
	m, ptgg      float64
}

// generate draws a true event from the mixture with the given shares. tilt is the factor in eta by which data differ.
func generate(s *rng.Stream, share *[processes]float64, tilt bool) hard {
	for {
		p := Process(0)
		for u := s.Float64(); p < processes-1; p++ {
			if u -= share[p]; u < 0 {
				break
			}
		}
		h := generateOf(s, p)
		if tilt && s.Float64() > Tilt(h.eta[0], h.eta[1]) {
			continue // with the process, so that the law of all processes together has the factor
		}
		return h
	}
}

// Tilt is the factor, up to normalisation, by which the law of data differs from that of the simulation in the true eta of both
// photons. A detector moves no eta, so weights in eta undo it.
func Tilt(eta1, eta2 float64) float64 { return 1 - 0.02*(math.Abs(eta1)+math.Abs(eta2)) }

// generateOf draws a true event of a process inside the generator's limits.
func generateOf(s *rng.Stream, p Process) hard {
	sp := &spectra[p]
	for {
		h := hard{process: p}
		c := 0.0 // cos theta*
		if p == Signal {
			h.m = PeakMass
			c = 2*s.Float64() - 1
		} else {
			a, b := math.Pow(massMin, 1-sp.power), math.Pow(massMax, 1-sp.power)
			h.m = math.Pow(a+(b-a)*s.Float64(), 1/(1-sp.power))
			if s.Float64() > normCDF((h.m-massTurn)/massSig) {
				continue
			}
			c = math.Tanh(etaStarMax * (2*s.Float64() - 1))
			if p == Continuum && 2*s.Float64() > 1+c*c {
				continue
			}
		}
		h.ptgg = (sp.ptA + sp.ptB*(h.m-100)) * math.Sqrt(math.Pow(1-s.Float64(), 1/(1-sp.ptC))-1)
		y := sp.rapidity * s.Norm()
		phiStar, phi := 2*math.Pi*s.Float64(), math.Pi*(2*s.Float64()-1)

		// rest frame → transverse boost along x → longitudinal boost → azimuth
		st := math.Sqrt(1 - c*c)
		kx, ky, kz, k := h.m/2*st*math.Cos(phiStar), h.m/2*st*math.Sin(phiStar), h.m/2*c, h.m/2
		g, bg := math.Sqrt(1+h.ptgg*h.ptgg/(h.m*h.m)), h.ptgg/h.m
		for i, sign := range [2]float64{1, -1} {
			x, yy, z := g*sign*kx+bg*k, sign*ky, sign*kz
			h.pt[i] = math.Hypot(x, yy)
			h.eta[i] = math.Asinh(z/h.pt[i]) + y
			h.phi[i] = wrap(math.Atan2(yy, x) + phi)
		}
		if h.pt[1] > h.pt[0] {
			h.pt[0], h.pt[1] = h.pt[1], h.pt[0]
			h.eta[0], h.eta[1] = h.eta[1], h.eta[0]
			h.phi[0], h.phi[1] = h.phi[1], h.phi[0]
		}
		if p == GammaJet {
			i := 1
			if s.Float64() < 0.3 {
				i = 0
			}
			h.fake[i] = true
		}
		if h.pt[0] < leadMin || h.pt[1] < subMin || math.Abs(h.eta[0]) > etaMax || math.Abs(h.eta[1]) > etaMax {
			continue
		}
		return h
	}
}

// negative is the probability of a negative generator weight.
func (h *hard) negative() float64 {
	sp := &spectra[h.process]
	return sp.negA - sp.negB*math.Expm1(-h.ptgg/25)
}

// weight draws the generator weight: its sign depends on pT_yy, its size makes up for it, so that E[weight | event] = 1.
func (h *hard) weight(s *rng.Stream) float64 {
	p := h.negative()
	w := math.Exp(0.1*s.Norm()-0.005) / (1 - 2*p)
	if s.Float64() < p {
		return -w
	}
	return w
}

func normCDF(x float64) float64 { return 0.5 * math.Erfc(-x*math.Sqrt2/2) }

// wrap brings an angle into (-pi, pi].
func wrap(x float64) float64 {
	x = math.Remainder(x, 2*math.Pi)
	if x <= -math.Pi {
		x = math.Pi
	}
	return x
}
