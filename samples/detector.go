package samples

import (
	"math"

	"hepmorph/internal/rng"
)

// A pair of constants: barrel and endcap.
type region [2]float64

// detector holds the constants of a response; the formulas are in doc.go. Two of them exist, simulation and data.
type detector struct {
	scale, width float64 // of the energy: E'/E = 1 + scale + width (what the simulation adds)

	r9Loc, r9Sig         region
	r9Pt, r9Conv         float64
	sieieLoc, sieieSig   region
	sieieCorr, sieieConv float64
	sieiePt, sieieRho    float64

	hoeZero, hoeZeroRho, hoeScale, hoeScaleRho    float64
	isoCorr                                       float64
	chZero, chZeroRho, chZeroEta, chMin           float64
	chScale, chScaleRho                           float64
	phZero, phZeroRho, phScale, phScaleRho, phLin float64

	trkZero, trkZeroRho, trkScale             float64
	topoLoc, topoRho, topoSig, topoPt, topoEx float64

	idLoc, idSig, errScale, errSig float64
	lost, sentinel, veto           float64
	rhoScale                       float64
	muMean, muSig                  float64
}

var simulated = detector{
	scale: 0, width: 1,
	r9Loc: region{3.10, 2.85}, r9Sig: region{0.40, 0.46}, r9Pt: 0.10, r9Conv: 2.4,
	sieieLoc: region{0.00890, 0.0248}, sieieSig: region{0.040, 0.048}, sieieCorr: -0.30, sieieConv: 0.060, sieiePt: -0.015, sieieRho: 0.004,
	hoeZero: 0.60, hoeZeroRho: -0.22, hoeScale: 0.0110, hoeScaleRho: 0.0022, isoCorr: 0.35,
	chZero: 0.62, chZeroRho: -0.20, chZeroEta: 0, chMin: 0.20, chScale: 0.80, chScaleRho: 0.14,
	phZero: -0.45, phZeroRho: -0.28, phScale: 1.10, phScaleRho: 0.30, phLin: 0.006,
	trkZero: 0.75, trkZeroRho: -0.18, trkScale: 0.90,
	topoLoc: 0.10, topoRho: 0.35, topoSig: 1.00, topoPt: 0.006, topoEx: 0.70,
	idLoc: 1.70, idSig: 0.50, errScale: 1, errSig: 0.10,
	lost: 0.008, sentinel: 0.0015, veto: 0.985,
	rhoScale: 1, muMean: 38, muSig: 13,
}

var measured = detector{
	scale: -0.003, width: 1.1,
	r9Loc: region{3.02, 2.72}, r9Sig: region{0.44, 0.51}, r9Pt: 0.14, r9Conv: 2.55,
	sieieLoc: region{0.00878, 0.0251}, sieieSig: region{0.044, 0.054}, sieieCorr: -0.50, sieieConv: 0.070, sieiePt: -0.020, sieieRho: 0.006,
	hoeZero: 0.45, hoeZeroRho: -0.27, hoeScale: 0.0122, hoeScaleRho: 0.0027, isoCorr: 0.50,
	chZero: 0.48, chZeroRho: -0.24, chZeroEta: -0.06, chMin: 0.23, chScale: 0.90, chScaleRho: 0.16,
	phZero: -0.58, phZeroRho: -0.31, phScale: 1.22, phScaleRho: 0.34, phLin: 0.0075,
	trkZero: 0.55, trkZeroRho: -0.23, trkScale: 1.02,
	topoLoc: 0.40, topoRho: 0.45, topoSig: 1.15, topoPt: 0.009, topoEx: 0.85,
	idLoc: 1.52, idSig: 0.55, errScale: 1.08, errSig: 0.115,
	lost: 0.012, sentinel: 0.0025, veto: 0.980,
	rhoScale: 1.03, muMean: 42, muSig: 11,
}

// Common to both detectors.
const (
	boundary            = 1.479      // |eta| between barrel and endcap
	gapAt, gapWidth     = 1.48, 0.05 // worse response in between
	trkMin              = 1.0        // GeV, threshold of a track in ptcone20
	muMin, muMax        = 5.0, 85.0  // interactions
	sentinelValue       = -999.0     // topoetcone40 that could not be computed
	thirdShare          = 0.04       // events with a third, soft photon
	thirdMin, thirdMean = 8.0, 5.0   // its pT is thirdMin + Exp(thirdMean) GeV
)

// photon is a true photon, or a jet taken for one.
type photon struct {
	pt, eta, phi float64
	fake         bool
	index        int // 0, 1: of the hard event; -1: the soft one
}

// reco is a photon as a detector sees it. Energies in GeV.
type reco struct {
	photon
	r9, sieie, hoe, chIso, phIso, id, energyErr float64
	ptcone, topo                                float64
	veto, lost                                  bool
}

// respond gives what a detector sees of a photon. The latents come from s in a fixed order: the same stream through another
// detector is the same photon there.
func (d *detector) respond(s rng.Stream, p photon, rho float64) reco {
	zE, zR, zS, zF := s.Norm(), s.Norm(), s.Norm(), s.Norm()
	zIso, zH, zC, zP := s.Norm(), s.Norm(), s.Norm(), s.Norm()
	zTrk, zTopo, zID, zErr := s.Norm(), s.Norm(), s.Norm(), s.Norm()
	uConv, uTail, uLost, uSent, uVeto := s.Float64(), s.Float64(), s.Float64(), s.Float64(), s.Float64()
	tail, topoTail := s.Exp(), s.Exp()

	ae := math.Abs(p.eta)
	r := 0
	if ae > boundary {
		r = 1
	}
	gap := math.Exp(-(ae - gapAt) * (ae - gapAt) / (gapWidth * gapWidth))
	l, dr := math.Log(p.pt/50), (rho-20)/10
	f := 0.0
	if p.fake {
		f = 1
	}

	conv := 0.18 + 0.08*ae*ae // probability, then strength of a conversion
	strength := max(0, 1-uConv/conv)

	e := p.pt * math.Cosh(p.eta)
	stoch, constant := 0.05, 0.009
	if r == 1 {
		stoch, constant = 0.09, 0.016
	}
	sigma := math.Sqrt(stoch*stoch/e+constant*constant) * (1 + 0.6*strength) * (1 + gap) * (1 + 0.5*f)
	shift := sigma*zE + 0.006*(conv/2-strength)
	if uTail < 0.01 {
		shift -= 0.02 * tail
	}
	response := max(0.3, 1+d.scale+d.width*shift)

	o := reco{photon: p}
	o.pt = p.pt * response

	q := d.r9Loc[r] + d.r9Pt*l + d.r9Sig[r]*zR - d.r9Conv*strength*(1+0.2*zR) - f*(0.5+0.8*math.Abs(zF)) - 1.2*gap
	o.r9 = 1.01 * sigmoid(q)

	shape := 0.07 * (ae / boundary) * (ae / boundary)
	if r == 1 {
		shape = 0.10 * (etaMax - ae)
	}
	w := d.sieieSig[r]*correlate(d.sieieCorr, zR, zS) + d.sieieConv*strength + d.sieiePt*l + d.sieieRho*dr + 0.10*f*math.Abs(zF)
	o.sieie = d.sieieLoc[r] * math.Exp(shape+w+0.25*gap)

	o.hoe = atom(normCDF(zH), sigmoid(d.hoeZero+d.hoeZeroRho*dr-0.2*l-0.4*float64(r)-1.2*f), 0, max(0.002, d.hoeScale+d.hoeScaleRho*dr)*(1+1.6*f))
	o.chIso = atom(normCDF(correlate(d.isoCorr, zIso, zC)), sigmoid(d.chZero+d.chZeroRho*dr+d.chZeroEta*ae-2.0*f), d.chMin,
		max(0.2, d.chScale+d.chScaleRho*dr)*(1+2.2*f)+0.02*p.pt*f)
	o.phIso = atom(normCDF(correlate(d.isoCorr, zIso, zP)), sigmoid(d.phZero+d.phZeroRho*dr-0.35*strength-1.4*f), 0,
		(max(0.2, d.phScale+d.phScaleRho*dr)+d.phLin*p.pt)*(1+1.2*f))
	o.ptcone = atom(normCDF(correlate(d.isoCorr, zIso, zTrk)), sigmoid(d.trkZero+d.trkZeroRho*dr-2.0*f), trkMin, d.trkScale*(1+2.0*f)+0.02*p.pt*f)
	o.topo = d.topoLoc + d.topoRho*dr + d.topoPt*p.pt + d.topoSig*math.Sqrt(max(0.2, 1+0.3*dr))*correlate(d.isoCorr, zIso, zTopo) + (d.topoEx+3*f)*topoTail
	if uSent < d.sentinel {
		o.topo = sentinelValue
	}

	o.id = math.Tanh((d.idLoc + 0.6*math.Tanh(q-3) - 5*min(0.5, max(-0.2, w)) - 0.2*min(8, 0.6*o.chIso+0.4*o.phIso) - 8*min(0.15, o.hoe) + 0.25*l - 0.15*float64(r) + d.idSig*zID) / 1.6)
	o.energyErr = e * response * sigma * d.errScale * math.Exp(d.errSig*zErr)
	o.lost, o.veto = uLost < d.lost, uVeto < d.veto-0.05*strength
	return o
}

// correlate mixes two independent normals into one that has correlation c with the first.
func correlate(c, a, b float64) float64 { return c*a + math.Sqrt(1-c*c)*b }

// atom is 0 with probability p, else t + Exp(scale), as the quantile function of u.
func atom(u, p, t, scale float64) float64 {
	if u < p {
		return 0
	}
	return t - scale*math.Log(max(1e-15, 1-(u-p)/(1-p)))
}

func sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

// pileup draws the number of interactions, the energy density rho (GeV per unit area) and the number of vertices.
func (d *detector) pileup(s *rng.Stream) (mu, rho float64, vertices int) {
	for {
		mu = d.muMean + d.muSig*s.Norm()
		if muMin < mu && mu < muMax {
			break
		}
	}
	rho = (0.5*mu + 1.2) * math.Exp(0.13*s.Norm()) * d.rhoScale
	return mu, rho, 1 + s.Poisson(0.68*mu)
}

// muDensity is the density of the number of interactions at mu.
func (d *detector) muDensity(mu float64) float64 {
	if mu <= muMin || mu >= muMax {
		return 0
	}
	z := (mu - d.muMean) / d.muSig
	norm := normCDF((muMax-d.muMean)/d.muSig) - normCDF((muMin-d.muMean)/d.muSig)
	return math.Exp(-z*z/2) / (math.Sqrt(2*math.Pi) * d.muSig * norm)
}
