package physics

import (
	"math"
	"math/rand/v2"
	"testing"
)

// vec is a massless four-vector.
func vec(pt, eta, phi float64) [4]float64 {
	return [4]float64{pt * math.Cos(phi), pt * math.Sin(phi), pt * math.Sinh(eta), pt * math.Cosh(eta)}
}

func TestKinematics(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		pt1, pt2 := 20+80*r.Float64(), 20+80*r.Float64()
		e1, e2 := 5*r.Float64()-2.5, 5*r.Float64()-2.5
		f1, f2 := 2*math.Pi*(r.Float64()-0.5), 2*math.Pi*(r.Float64()-0.5)
		a, b := vec(pt1, e1, f1), vec(pt2, e2, f2)
		var s [4]float64
		for i := range s {
			s[i] = a[i] + b[i]
		}
		m2 := s[3]*s[3] - s[0]*s[0] - s[1]*s[1] - s[2]*s[2]
		m := Mass(pt1, e1, f1, pt2, e2, f2)
		near(t, "m2", m*m, m2, 1e-9*s[3]*s[3])
		near(t, "mE", MassE(pt1, e1, f1, a[3], pt2, e2, f2, b[3]), m, 1e-6*s[3])
		near(t, "pt", PtGG(pt1, f1, pt2, f2), math.Hypot(s[0], s[1]), 1e-10*s[3])
		near(t, "y", RapidityGG(pt1, e1, pt2, e2), 0.5*math.Log((s[3]+s[2])/(s[3]-s[2])), 1e-9)
		// Collins-Soper by its definition: 2 (k1+ k2- - k1- k2+) / (m sqrt(m^2+pT^2)), k± = (E ± pz)/sqrt 2.
		cs := math.Abs((a[3]+a[2])*(b[3]-b[2])-(a[3]-a[2])*(b[3]+b[2])) / (m * math.Sqrt(m*m+s[0]*s[0]+s[1]*s[1]))
		near(t, "cos", CosThetaStar(pt1, e1, f1, pt2, e2, f2), cs, 1e-9)
		d := DeltaPhi(f1, f2)
		near(t, "dphi", math.Cos(d), math.Cos(f1-f2), 1e-12)
		if d <= -math.Pi || d > math.Pi {
			t.Fatalf("DeltaPhi(%g, %g) = %g", f1, f2, d)
		}
		x := [6]float64{pt1, e1, f1, pt2, e2, f2}
		g := MassGrad(pt1, e1, f1, pt2, e2, f2)
		for i := range x {
			h := 1e-5 * max(1, math.Abs(x[i]))
			up, down := x, x
			up[i] += h
			down[i] -= h
			num := (Mass(up[0], up[1], up[2], up[3], up[4], up[5]) - Mass(down[0], down[1], down[2], down[3], down[4], down[5])) / (2 * h)
			near(t, "grad", g[i], num, 1e-5*(1+math.Abs(num)))
		}
	}
}

func near(t *testing.T, what string, got, want, tol float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tol) {
		t.Fatalf("%s: %.12g, want %.12g", what, got, want)
	}
}

// TestMassCollinear: for photons 1e-6 apart the plain cosh - cos form has no correct digit left in float32 and few in float64.
func TestMassCollinear(t *testing.T) {
	m := Mass(50, 0, 0, 60, 3e-9, 4e-9)
	near(t, "m", m, math.Sqrt(50*60)*5e-9, 1e-15)
}

func TestDeltaPhiEdges(t *testing.T) {
	for _, c := range [][3]float64{{math.Pi, 0, math.Pi}, {-math.Pi, 0, math.Pi}, {3, -3, 6 - 2*math.Pi}, {0, 0, 0}} {
		near(t, "dphi", DeltaPhi(c[0], c[1]), c[2], 1e-12)
	}
}
