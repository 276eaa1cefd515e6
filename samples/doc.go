// Package samples makes samples whose answer is known: a simulated and a measured diphoton sample that differ in known closed form
// ([WriteDiphoton], [Diphoton]), the published one-flow toy ([WriteOneflow], [Oneflow]), showers, and in package toys densities in a
// few dimensions. Everything is synthetic; only layouts, branch names and habits (truncated floats, atoms at zero, sentinels, signed
// weights) are those of experiments.
//
// Event i of a sample is a function of (seed, sample, i): the same at any number of threads and in files of any length.
// Energies, momenta and masses are in GeV, angles in rad.
//
// # Diphoton events
//
// A true event is drawn by process, with u uniform and z normal numbers:
//
//	m        continuum (yy), photon + jet (yj): m^-n above 76 GeV, kept with probability Phi((m - 95)/5) (trigger); n = 4.6, 5.2
//	         resonance (signal): 125
//	pT_yy    b sqrt((1-u)^(1/(1-c)) - 1), b = b0 + b1 (m - 100); (b0, b1, c) = yy (15, 0.04, 2.2), signal (30, 0.08, 2.6), yj (19, 0.04, 2.0)
//	y        N(0, 1.10), signal 0.95, yj 1.15
//	cos th*  yy: (1+c^2)/(1-c^2) for |c| < tanh 1.7; yj: 1/(1-c^2); signal: flat. th* and phi* are the direction in the rest frame, which is
//	         boosted by pT_yy/m across the beam and by y along it, and turned by phi; phi*, phi uniform
//	limits   true pT > 31 and 21.5, |eta| < 2.5 of both photons: a selection of measured pT > 35 and 25 lies well inside
//	yj       one of the two is a jet that passes as a photon: the one of lower pT in 70 %
//
// The default pair is a continuum with 2 % resonance; with DiphotonSettings.Processes there is a simulation for each process, and data mix
// them by cross section: yy 52 pb x 1.25 x 0.60 = 39.0 pb, yj 910 pb x 1.20 x 0.010 = 10.92 pb, signal what gives it its share.
//
// Weights of simulation: genWeight is negative with P = p0 + p1 (1 - exp(-pT_yy/25)), (p0, p1) = yy (0.02, 0.12), signal (0.06, 0.16), yj (0.01,
// 0.06), of size exp(0.1 z - 0.005)/(1 - 2P). So E[genWeight | event] = 1: the signed sample has the law above, its absolute values
// distort pT_yy. Interactions mu ~ N(38, 13) in simulation, N(42, 11) in data, in 5..85; puWeight is the ratio of the two densities.
//
//	rho = (0.5 mu + 1.2) exp(0.13 z), in data times 1.03; npv = 1 + Poisson(0.68 mu)
//
// Data differ before the detector in two more ways, both in conditions, so that weights in (eta1, eta2, rho) undo them: the factor 1.03 of
// rho, and [Tilt] in eta. Everything else is the detector.
//
// # Response
//
// Of a photon of true pT, eta (f = 1 for a jet), in an event of measured rho. l = ln(pT/50), d = (rho - 20)/10, E = pT cosh eta; barrel and endcap,
// the pairs below, meet at |eta| = 1.479; g = exp(-((|eta| - 1.48)/0.05)^2). z.. are normal, u.. uniform latents, the same in both detectors. mix(c, a, b) =
// c a + sqrt(1-c^2) b. [x f] stands for a factor 1 + x f.
//
//	conversion    p = 0.18 + 0.08 eta^2; s = max(0, 1 - u/p)
//	energy        sigma = sqrt((0.05, 0.09)^2/E + (0.009, 0.016)^2) (1 + 0.6 s)(1 + g)[0.5 f]
//	              D = sigma zE + 0.006 (p/2 - s) - (0.02 Exp(1) in 1 %)
//	              E'/E = 1 + D in simulation, 1 - 0.003 + 1.1 D in data: scale -0.3 %, resolution +10 %; eta, phi are not moved
//	r9            q = r9Loc + r9Pt l + r9Sig zR - r9Conv s (1 + 0.2 zR) - f (0.5 + 0.8 |zF|) - 1.2 g; r9 = 1.01 sigmoid(q)
//	sieie         w = sieieSig mix(sieieCorr, zR, zS) + sieieConv s + sieiePt l + sieieRho d + 0.1 f |zF|
//	              sieieLoc exp(w + 0.25 g + (0.07 (eta/1.479)^2, 0.10 (2.5 - |eta|)))
//	atom(u,p,t,S) 0 where u < p, else t - S ln(1 - (u-p)/(1-p))
//	hoe           atom(Phi(zH), sigmoid(hoeZero + hoeZeroRho d - 0.2 l - (0, 0.4) - 1.2 f), 0, (hoeScale + hoeScaleRho d)[1.6 f])
//	pfChargedIso  atom(Phi(mix(isoCorr, zIso, zC)), sigmoid(chZero + chZeroRho d + chZeroEta |eta| - 2 f), chMin, (chScale + chScaleRho d)[2.2 f] + 0.02 pT f)
//	pfPhoIso03    atom(Phi(mix(isoCorr, zIso, zP)), sigmoid(phZero + phZeroRho d - 0.35 s - 1.4 f), 0, (phScale + phScaleRho d + phLin pT)[1.2 f])
//	ptcone20      atom(Phi(mix(isoCorr, zIso, zT)), sigmoid(trkZero + trkZeroRho d - 2 f), 1, trkScale [2 f] + 0.02 pT f)
//	topoetcone40  topoLoc + topoRho d + topoPt pT + topoSig sqrt(1 + 0.3 d) mix(isoCorr, zIso, zTopo) + (topoEx + 3 f) Exp(1); -999 where u < sentinel
//	mvaID         tanh((idLoc + 0.6 tanh(q - 3) - 5 clip(w, -0.2, 0.5) - 0.2 min(8, 0.6 pfChargedIso + 0.4 pfPhoIso03) - 8 min(0.15, hoe) + 0.25 l - (0, 0.15) + idSig zID)/1.6)
//	energyErr     E' sigma errScale exp(errSig zErr)
//	lost          u < lost; electronVeto: u < veto - 0.05 s
//
// Lower limits that keep scales positive at small rho are in the code, which this describes: hoeScale.. >= 0.002, chScale.., phScale.. >= 0.2, 1 + 0.3 d >= 0.2.
//
//	constant     simulation        data              constant    simulation  data    constant   simulation  data
//	r9Loc        (3.10, 2.85)      (3.02, 2.72)      hoeZero     0.60        0.45    trkZero    0.75        0.55
//	r9Sig        (0.40, 0.46)      (0.44, 0.51)      hoeZeroRho  -0.22       -0.27   trkZeroRho -0.18       -0.23
//	r9Pt         0.10              0.14              hoeScale    0.0110      0.0122  trkScale   0.90        1.02
//	r9Conv       2.4               2.55              hoeScaleRho 0.0022      0.0027  topoLoc    0.10        0.40
//	sieieLoc     (0.00890, 0.0248) (0.00878, 0.0251) isoCorr     0.35        0.50    topoRho    0.35        0.45
//	sieieSig     (0.040, 0.048)    (0.044, 0.054)    chZero      0.62        0.48    topoSig    1.00        1.15
//	sieieCorr    -0.30             -0.50             chZeroRho   -0.20       -0.24   topoPt     0.006       0.009
//	sieieConv    0.060             0.070             chZeroEta   0           -0.06   topoEx     0.70        0.85
//	sieiePt      -0.015            -0.020            chMin       0.20        0.23    idLoc      1.70        1.52
//	sieieRho     0.004             0.006             chScale     0.80        0.90    idSig      0.50        0.55
//	phZero       -0.45             -0.58             chScaleRho  0.14        0.16    errScale   1           1.08
//	phZeroRho    -0.28             -0.31             phScale     1.10        1.22    errSig     0.10        0.115
//	phScaleRho   0.30              0.34              phLin       0.006       0.0075  lost       0.008       0.012
//	sentinel     0.0015            0.0025            veto        0.985       0.980
//
// The truth sample puts the events of the simulation, with their rho and weights, through the detector of data: entry by entry the answer of a
// perfect morph. Photons are sorted by measured pT, so two photons may trade places between the two; genIdx (0, 1) says which is which.
// Layouts with collections (NanoAOD, ATLAS) lose photons and have a third one (a jet of pT = 8 + Exp(5), eta uniform) in 4 % of the events.
//
// # Layouts
//
// Event numbers: simulation 1.. (with Processes 1.., 1000000001.., 2000000001.. for yy, signal, yj), truth the same, data 100000001.. . A simulated
// event stands for luminosity x xsec x kfac x filteff x weight / sum_of_weights of data, weight = genWeight puWeight, sum_of_weights
// the sum of genWeight over all entries of the file.
//
//	flat        diphoton: eventNumber (uint64), rho, npv, {lead,sublead}_{pt, eta, phi, r9, sieie, hoe, pfChargedIso, pfPhoIso03, mvaID}, m_gg (float32),
//	            weight (float64); simulation, truth: gen_process (0 yy, 1 signal, 2 yj), {lead,sublead}_genIdx, xsec (pb, with its factors), sum_of_weights
//	nanoaod     Events: run, luminosityBlock, event, fixedGridRhoFastjetAll, PV_npvs, nPhoton (uint32), Photon_{pt, eta, phi} (12 mantissa bits), Photon_{energyErr,
//	            r9, sieie, hoe, pfChargedIso, pfPhoIso03, mvaID} (10), Photon_{electronVeto, isScEtaEB, isScEtaEE, cutBased}, HLT_*, MET_*, nJet, Jet_*; simulation,
//	            truth: genWeight, puWeight (12), Pileup_nTrueInt, Generator_process, Photon_genPart{Flav, Idx}; Runs with genEventCount, genEventSumw(2);
//	            cross sections are not in the file: DiphotonSettings.CrossSection. cutBased goes stale when its inputs are morphed
//	atlas-2025  analysis, full floats, std::vector: runNumber, eventNumber, channelNumber, mu, rho, npv, trigP, photon_n, photon_{pt, eta, phi, e, ptcone20, topoetcone40},
//	            photon_is{LooseID, TightID, LooseIso, TightIso, TrigMatched}, jet_*, met; simulation, truth: mcWeight, ScaleFactor_{PILEUP, PHOTON}, xsec, kfac, filteff,
//	            sum_of_weights, sum_of_weights_squared, num_events, truth_process, truth_index
//
// # The one-flow toy
//
// See [Oneflow]. Conditions pt, eta, noise; features v1A, v2A (Gaussian), v1B, v2B (zero-inflated).
package samples
