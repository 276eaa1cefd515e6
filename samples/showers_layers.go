package samples

import (
	"math"

	"gonum.org/v1/gonum/mathext"

	"hepmorph/internal/rng"
)

// A layerModel draws how a shower shares its energy among the layers.
type layerModel interface {
	// layers is the number of layers; draw fills their mean visible energies (MeV) for an incident energy (MeV), with all fluctuations,
	// and returns what the radial profile needs.
	layers() int
	draw(dst []float64, energy float64, s *rng.Stream) depth
}

// depth describes the longitudinal development of one shower.
type depth struct {
	early float64 // share of the first layers that ionisation near the axis gives, falling by 1/e every two layers
	max   float64 // depth of the maximum, in the unit of the layers' depths
	ratio float64 // (alpha-1)/alpha · e^<ln alpha>/(e^<ln alpha>-1) of the tau of arXiv:hep-ex/0001020
}

// gammaNoise is a factor of mean 1 and standard deviation sd.
func gammaNoise(sd float64, s *rng.Stream) float64 {
	if sd <= 0 {
		return 1
	}
	k := 1 / (sd * sd)
	return s.Gamma(k) / k
}

// sampled is an energy (MeV) after sampling fluctuations of c·sqrt(E/GeV).
func sampled(e, c float64, s *rng.Stream) float64 {
	if e <= 0 || c == 0 {
		return e
	}
	unit := c * c * 1000 // MeV
	return unit * s.Gamma(e/unit)
}

// curve is a table with straight lines between its points.
type curve struct{ x, y []float64 }

func (c curve) at(x float64) float64 {
	n := len(c.x)
	if x <= c.x[0] {
		return c.y[0]
	}
	for i := 1; i < n; i++ {
		if x <= c.x[i] {
			f := (x - c.x[i-1]) / (c.x[i] - c.x[i-1])
			return c.y[i-1]*(1-f) + c.y[i]*f
		}
	}
	return c.y[n-1]
}

// Tungsten and silicon stack of CaloChallenge datasets 2 and 3: 1.4 mm W and 0.3 mm Si, two of them a layer.
const (
	stackLayers   = 45
	stackCritical = 8.23  // MeV
	stackDepth    = 0.806 // X0 a layer
	stackZ        = 72.49
	stackEhat     = 0.704
	stackFs       = 2.482
	stackRm       = 10.87 // mm
	stackResponse = 0.784 // mean E_tot/E_inc, the real set's
)

// stack is the GFlash profile of a sampling calorimeter (arXiv:hep-ex/0001020): a gamma distribution in depth whose maximum T and
// shape alpha fluctuate, with constants adjusted, and a few terms added, so that means and correlations of the layer energies are those
// of the real dataset 2 and 3 (fitted to the anchors of showers_check.go; a part of the adjustment is a calibration of each
// layer, so a single shower is not the textbook profile).
type stack struct {
	late    curve   // relative noise of the later layers: single photons that convert far behind the shower
	persist float64 // correlation of that noise from layer to layer
	common  float64 // part of its variance that all those layers share
}

// Fitted constants. Where GFlash has a number of its own it is in brackets.
const (
	stackTOffset     = -0.2997 // added to T [0]
	stackTSlope      = -0.4183 // relative change of T's slope in ln y [0]
	stackAlphaScale  = 0.4847  // factor of alpha [1]
	stackAlphaSlope  = -0.0306 // relative change of alpha's slope [0]
	stackTSpread     = 0.6375  // factor of sigma(ln T) [1]
	stackAlphaSpread = 0.5223
	stackTConst      = 0.1902 // part of sigma(ln T) that does not fall with the energy [0]
	stackAlphaConst  = 0.1135
	stackRho         = -0.1219 // added to the correlation of ln T and ln alpha [0]
	stackStart       = 0.4145  // X0, spread of the point where the shower starts
	stackEarly       = 0.0506  // ionisation before the shower: share of layer 0 at 1 GeV, falling as E^-0.1264 and over 9.27 layers
	stackEarlyPower  = 0.1264
	stackEarlyLength = 9.2741
	stackFirst       = 0.0166 // the same in layer 0 alone, falling as 1/E
	stackTail        = 0.0006 // late photons, spread around layer 14
	stackTailLength  = 14.9212
	stackSampling    = 0.1232 // of the layers, sqrt(GeV)
	stackCommon      = 0.3559 // of the whole shower, sqrt(GeV)
)

var (
	stackFront       = []float64{0.5539, 0.3926, 0.2997, 0.2206, 0.1589} // relative noise of layers 0 to 4, then falling by 0.6 a layer
	stackCalibration = curve{
		[]float64{0, 1, 2, 3, 4, 6, 8, 12, 16, 20, 24, 28},
		[]float64{-1.846, -1.5747, -1.2169, -0.8639, -0.5514, -0.0574, 0.2734, 0.5096, 0.3515, 0.0655, -0.1819, -0.3518},
	} // logarithms
	lateLayers = []float64{8, 12, 20, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44}

	// Datasets 2 and 3 are one detector; the correlations of their late layers differ by up to 0.05.
	stackDS2 = stack{curve{lateLayers, []float64{
		0, 0.0898, 0.0946, 0.1261, 0.2010, 0.2040, 0.2074, 0.2218, 0.2247, 0.2079, 0.1978, 0.2041, 0.2272, 0.2612, 0.2720, 0.3140, 0.3346, 0.3875,
		0.4031, 0.4310, 0.4772, 0.5206, 0.6027}}, 0.3, 0.28}
	stackDS3 = stack{curve{lateLayers, []float64{
		0, 0.0898, 0.0946, 0.1261, 0.1193, 0.1305, 0.1367, 0.1475, 0.1616, 0.1601, 0.1655, 0.1646, 0.1871, 0.1899, 0.2106, 0.2100, 0.2556, 0.2723,
		0.3138, 0.3565, 0.3870, 0.4543, 0.5151}}, 0.3, 0}
)

func (m stack) layers() int { return stackLayers }

func (m stack) draw(dst []float64, energy float64, s *rng.Stream) depth {
	gev := energy / 1000
	lny := math.Log(max(energy/stackCritical, 3))
	t := lny*(1+stackTSlope) - 0.812 - 0.55/stackFs - 0.69*(1-stackEhat) + stackTOffset
	alpha := (0.81 + (0.458+2.26/stackZ)*(1+stackAlphaSlope)*lny - 0.476/stackFs) * stackAlphaScale
	meanLogAlpha := math.Log(max(alpha, 1.1))
	st := math.Hypot(min(0.5, 1/max(1.2, -2.5+1.25*lny))*stackTSpread, stackTConst)
	sa := math.Hypot(min(0.5, 1/max(1.2, -0.82+0.79*lny))*stackAlphaSpread, stackAlphaConst)
	rho := min(max(0.784-0.023*lny+stackRho, -0.95), 0.95)
	p, q := math.Sqrt((1+rho)/2), math.Sqrt((1-rho)/2)
	z1, z2 := s.Norm(), s.Norm()
	moved := math.Exp(st * (p*z1 + q*z2))
	t = max(0.2, max(t, 0.3)*moved)
	alpha = max(1.05, math.Exp(meanLogAlpha+sa*(p*z1-q*z2)))
	beta := (alpha - 1) / t
	start := stackStart * s.Norm()
	response := max(0.05, 1+stackCommon/math.Sqrt(gev)*s.Norm())

	early, sum := 0.0, 0.0
	before := mathext.GammaIncReg(alpha, beta*max(0, -start))
	for l := range dst {
		after := mathext.GammaIncReg(alpha, beta*max(0, float64(l+1)*stackDepth-start))
		core := stackEarly * math.Exp(-float64(l)/stackEarlyLength) * math.Pow(gev, -stackEarlyPower)
		if l == 0 {
			core += stackFirst / gev
		}
		w := after - before + core + stackTail*math.Exp(-math.Abs(float64(l)-14)/stackTailLength)
		if l == 0 {
			early = core / w
		}
		before = after
		dst[l] = w * math.Exp(stackCalibration.at(float64(l)))
		sum += dst[l]
	}
	late, all := s.Norm(), s.Norm()
	for l := range dst {
		front := stackFront[min(l, 4)] * math.Pow(0.6, float64(max(0, l-4)))
		e := dst[l] / sum * energy * stackResponse
		late = m.persist*late + math.Sqrt(1-m.persist*m.persist)*s.Norm()
		n := m.late.at(float64(l))
		z := math.Sqrt(m.common)*all + math.Sqrt(1-m.common)*late
		dst[l] = sampled(e*gammaNoise(front, s)*math.Exp(n*z-n*n/2), stackSampling, s) * response
	}
	// the radial profile goes with GFlash's own depths
	ownT := max(0.5, lny-0.812-0.55/stackFs-0.69*(1-stackEhat)) * moved
	ownAlpha := max(1.2, 0.81+(0.458+2.26/stackZ)*lny-0.476/stackFs)
	return depth{early: early, max: ownT, ratio: tauRatio(ownAlpha, math.Log(ownAlpha))}
}

func tauRatio(alpha, meanLogAlpha float64) float64 {
	e := math.Exp(meanLogAlpha)
	return (alpha - 1) / alpha * e / max(e-1, 0.1)
}

// photonModel is a photon in the layers of dataset 1 (ATLAS at eta 0.2: presampler, three layers of lead and liquid argon, first
// tile layer): a photon converts after an exponential depth, the shower's gamma profile fluctuates, layers fluctuate by themselves.
// Constants fitted to the real correlations of the layer energies.
type photonModel struct{}

var (
	photonEdges = []float64{1.5, 3.5, 7.5, 24, 27, 40} // X0
	photonNoise = []float64{0.2756, 0.1697, 0.0337, 0.0019, 0.4987}
)

const (
	photonCritical   = 7.4 // MeV
	photonT          = 0.2094
	photonAlpha      = 0.2171
	photonAlphaScale = 0.8174
	photonSlope      = -0.0108
	photonConversion = 0.9319 // X0
	photonLeak       = 0.0004
	photonSampling   = 0.1
	photonResponse   = 0.975
)

func (photonModel) layers() int { return 5 }

func (photonModel) draw(dst []float64, energy float64, s *rng.Stream) depth {
	lny := math.Log(energy / photonCritical)
	t := max(0.5, lny*(1+photonSlope)-0.5) * math.Exp(photonT*s.Norm())
	mean := max(1.2, (0.81+0.47*lny)*photonAlphaScale)
	alpha := max(1.1, mean*math.Exp(photonAlpha*s.Norm()))
	beta := (alpha - 1) / t
	start := photonConversion * s.Exp()
	at := func(x float64) float64 {
		if x <= start {
			return 0
		}
		return mathext.GammaIncReg(alpha, beta*(x-start))
	}
	for l := range dst {
		w := at(photonEdges[l+1]) - at(photonEdges[l])
		if l == 4 {
			w += photonLeak
		}
		dst[l] = sampled(w*energy*photonResponse*gammaNoise(photonNoise[l], s), photonSampling, s)
	}
	return depth{max: t, ratio: tauRatio(alpha, math.Log(mean))}
}

// pionModel is a charged pion in the layers of dataset 1: it loses energy by ionisation up to a first interaction at an exponential
// depth, where an electromagnetic part (short) and a hadronic part (long) begin, whose shares fluctuate. Depths in interaction lengths,
// constants fitted to the real correlations of the layer energies.
type pionModel struct{}

var (
	pionWidths = []float64{0.1, 0.2, 0.7179, 0.3769, 3.3305, 4.1, 1.8} // the fifth holds the gap before the tiles
	pionNoise  = []float64{0.5122, 0.1368, 0, 0.251, 0.3466, 0.0838, 0.5705}
)

const (
	pionFront      = 0.1763
	pionLength     = 1.229
	pionB          = 1.4346
	pionBPower     = -0.0861
	pionBSpread    = 0.3256
	pionAlpha      = 2.9126
	pionIonisation = 0.0497 // of the energy in GeV, an interaction length
	pionEM         = 0.4396
	pionEMSpread   = 0.7404
	pionEMPower    = -0.0059
	pionEMB        = 4.04
	pionEMAlpha    = 2.5
	pionSampling   = 0.5
	pionResponse   = 0.84
)

func (pionModel) layers() int { return 7 }

func (pionModel) draw(dst []float64, energy float64, s *rng.Stream) depth {
	gev := energy / 1000
	start := pionLength * s.Exp()
	b := pionB * math.Pow(gev, pionBPower) * math.Exp(pionBSpread*s.Norm())
	logit := math.Log(pionEM/(1-pionEM)) + pionEMPower*math.Log(gev/30) + pionEMSpread*s.Norm()
	em := 1 / (1 + math.Exp(-logit))
	at := func(x float64) float64 {
		if x <= start {
			return 0
		}
		return (1-em)*mathext.GammaIncReg(pionAlpha, b*(x-start)) + em*mathext.GammaIncReg(pionEMAlpha, pionEMB*(x-start))
	}
	edge, total := pionFront, 0.0
	for l := range dst {
		next := edge + pionWidths[l]
		w := at(next) - at(edge)
		if edge < start {
			w += pionIonisation / gev * (min(next, start) - edge)
		}
		dst[l] = sampled(w*energy*pionResponse*gammaNoise(pionNoise[l], s), pionSampling, s)
		total += dst[l]
		edge = next
	}
	if limit := 1.6 * energy; total > limit { // below a GeV the fluctuations would exceed the pion's energy
		for l := range dst {
			dst[l] *= limit / total
		}
	}
	return depth{max: start + (pionAlpha-1)/b, ratio: 1}
}
