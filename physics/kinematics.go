package physics

import "math"

// The kinematics of two massless particles given by pt (any unit, that of the result), eta and phi (rad). All are computed
// in a form that does not cancel for near-collinear photons: cosh De - cos Df = 2 (sinh^2(De/2) + sin^2(Df/2)).

// DeltaPhi is the azimuthal difference a - b in (-pi, pi].
func DeltaPhi(a, b float64) float64 {
	d := math.Remainder(a-b, 2*math.Pi)
	if d <= -math.Pi {
		d = math.Pi
	}
	return d
}

// DeltaR is sqrt(De^2 + Df^2).
func DeltaR(eta1, phi1, eta2, phi2 float64) float64 {
	return math.Hypot(eta1-eta2, DeltaPhi(phi1, phi2))
}

// Mass is the invariant mass of two photons, sqrt(2 pt1 pt2 (cosh De - cos Df)).
func Mass(pt1, eta1, phi1, pt2, eta2, phi2 float64) float64 {
	sh, s := math.Sinh((eta1-eta2)/2), math.Sin((phi1-phi2)/2)
	return 2 * math.Sqrt(pt1*pt2*(sh*sh+s*s))
}

// PtGG is the transverse momentum of a pair, sqrt((pt1-pt2)^2 + 4 pt1 pt2 cos^2(Df/2)).
func PtGG(pt1, phi1, pt2, phi2 float64) float64 {
	c := math.Cos((phi1 - phi2) / 2)
	return math.Sqrt((pt1-pt2)*(pt1-pt2) + 4*pt1*pt2*c*c)
}

// RapidityGG is the rapidity of a pair, 0.5 ln((E+pz)/(E-pz)) = 0.5 ln(sum pt e^eta / sum pt e^-eta).
func RapidityGG(pt1, eta1, pt2, eta2 float64) float64 {
	return 0.5 * math.Log((pt1*math.Exp(eta1)+pt2*math.Exp(eta2))/(pt1*math.Exp(-eta1)+pt2*math.Exp(-eta2)))
}

// CosThetaStar is |cos theta*| of a pair in the Collins-Soper frame, |sinh De| 2 pt1 pt2 / (m^2 sqrt(1 + (pT/m)^2)).
func CosThetaStar(pt1, eta1, phi1, pt2, eta2, phi2 float64) float64 {
	m := Mass(pt1, eta1, phi1, pt2, eta2, phi2)
	pt := PtGG(pt1, phi1, pt2, phi2)
	return math.Abs(math.Sinh(eta1-eta2)) * 2 * pt1 * pt2 / (m * math.Sqrt(m*m+pt*pt))
}

// MassE is the invariant mass of two four-vectors (pt, eta, phi, e), 0 where rounding makes its square negative.
func MassE(pt1, eta1, phi1, e1, pt2, eta2, phi2, e2 float64) float64 {
	px := pt1*math.Cos(phi1) + pt2*math.Cos(phi2)
	py := pt1*math.Sin(phi1) + pt2*math.Sin(phi2)
	pz := pt1*math.Sinh(eta1) + pt2*math.Sinh(eta2)
	e := e1 + e2
	return math.Sqrt(max(0, e*e-px*px-py*py-pz*pz))
}

// MassGrad returns the derivatives of Mass by its six arguments (0 for a massless pair).
func MassGrad(pt1, eta1, phi1, pt2, eta2, phi2 float64) (g [6]float64) {
	m := Mass(pt1, eta1, phi1, pt2, eta2, phi2)
	if m == 0 {
		return g
	}
	de := pt1 * pt2 * math.Sinh(eta1-eta2) / m
	df := pt1 * pt2 * math.Sin(phi1-phi2) / m
	return [6]float64{m / (2 * pt1), de, df, m / (2 * pt2), -de, -df}
}
