package physics

import (
	"fmt"
	"math"
)

// A scalarFunc takes numbers and returns one. Angles are in rad.
type scalarFunc struct {
	args int
	f    func(x []float64) float64
	doc  string
	f1   func(x float64) float64    // set too where args is 1
	f2   func(x, y float64) float64 // set too where args is 2
}

func one(f func(float64) float64, doc string) scalarFunc {
	return scalarFunc{args: 1, f: func(x []float64) float64 { return f(x[0]) }, doc: doc, f1: f}
}

func two(f func(a, b float64) float64, doc string) scalarFunc {
	return scalarFunc{args: 2, f: func(x []float64) float64 { return f(x[0], x[1]) }, doc: doc, f2: f}
}

func more(n int, f func(x []float64) float64, doc string) scalarFunc {
	return scalarFunc{args: n, f: f, doc: doc}
}

var scalarFuncs = map[string]scalarFunc{
	"sqrt": one(math.Sqrt, "square root"), "cbrt": one(math.Cbrt, "cube root"), "exp": one(math.Exp, "e^x"),
	"log": one(math.Log, "natural logarithm"), "log10": one(math.Log10, "decimal logarithm"), "log1p": one(math.Log1p, "log(1+x)"),
	"sin": one(math.Sin, ""), "cos": one(math.Cos, ""), "tan": one(math.Tan, ""),
	"asin": one(math.Asin, ""), "acos": one(math.Acos, ""), "atan": one(math.Atan, ""), "atan2": two(math.Atan2, "atan2(y, x)"),
	"sinh": one(math.Sinh, ""), "cosh": one(math.Cosh, ""), "tanh": one(math.Tanh, ""), "asinh": one(math.Asinh, ""),
	"pow": two(math.Pow, "x^y"), "hypot": two(math.Hypot, "sqrt(x^2+y^2)"),
	"deltaphi": two(DeltaPhi, "difference of two azimuths, in (-pi, pi]"),
	"deltar": more(4, func(x []float64) float64 { return DeltaR(x[0], x[1], x[2], x[3]) },
		"deltar(eta1, phi1, eta2, phi2)"),
	"pair_mass": more(6, func(x []float64) float64 { return Mass(x[0], x[1], x[2], x[3], x[4], x[5]) },
		"pair_mass(pt1, eta1, phi1, pt2, eta2, phi2): invariant mass of two photons"),
	"pair_mass_e": more(8, func(x []float64) float64 { return MassE(x[0], x[1], x[2], x[3], x[4], x[5], x[6], x[7]) },
		"pair_mass_e(pt1, eta1, phi1, e1, pt2, eta2, phi2, e2): invariant mass of two four-vectors"),
	"pair_pt": more(4, func(x []float64) float64 { return PtGG(x[0], x[1], x[2], x[3]) },
		"pair_pt(pt1, phi1, pt2, phi2)"),
	"pair_rapidity": more(4, func(x []float64) float64 { return RapidityGG(x[0], x[1], x[2], x[3]) },
		"pair_rapidity(pt1, eta1, pt2, eta2)"),
	"pair_costhetastar": more(6, func(x []float64) float64 { return CosThetaStar(x[0], x[1], x[2], x[3], x[4], x[5]) },
		"pair_costhetastar(pt1, eta1, phi1, pt2, eta2, phi2): |cos theta*|, Collins-Soper"),
}

// An arrayFunc takes arrays and uses their first two elements.
type arrayFunc struct {
	args int
	f    func(a, b []float64) float64 // the arguments' first and second elements
	doc  string
}

var arrayFuncs = map[string]arrayFunc{
	"diphoton_mass": {3, func(a, b []float64) float64 { return Mass(a[0], a[1], a[2], b[0], b[1], b[2]) },
		"diphoton_mass(pt, eta, phi): invariant mass of the first two"},
	"diphoton_mass_e": {4, func(a, b []float64) float64 { return MassE(a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3]) },
		"diphoton_mass_e(pt, eta, phi, e): the same from four-vectors"},
	"diphoton_pt": {3, func(a, b []float64) float64 { return PtGG(a[0], a[2], b[0], b[2]) },
		"diphoton_pt(pt, eta, phi): transverse momentum of the pair"},
	"diphoton_rapidity": {3, func(a, b []float64) float64 { return RapidityGG(a[0], a[1], b[0], b[1]) },
		"diphoton_rapidity(pt, eta, phi)"},
	"diphoton_costhetastar": {3, func(a, b []float64) float64 { return CosThetaStar(a[0], a[1], a[2], b[0], b[1], b[2]) },
		"diphoton_costhetastar(pt, eta, phi): |cos theta*|, Collins-Soper"},
	"diphoton_deltaeta": {3, func(a, b []float64) float64 { return a[1] - b[1] }, "diphoton_deltaeta(pt, eta, phi)"},
	"diphoton_deltaphi": {3, func(a, b []float64) float64 { return DeltaPhi(a[2], b[2]) }, "diphoton_deltaphi(pt, eta, phi)"},
	"diphoton_deltar":   {3, func(a, b []float64) float64 { return DeltaR(a[1], a[2], b[1], b[2]) }, "diphoton_deltar(pt, eta, phi)"},
}

var constants = map[string]float64{"pi": math.Pi}

// callScalar and callArray are the functions as the virtual machine calls them.
func callScalar(name string, f scalarFunc) func(...any) (any, error) {
	return func(p ...any) (any, error) {
		x := make([]float64, len(p))
		for i, v := range p {
			var ok bool
			if x[i], ok = toFloat(v); !ok {
				return nil, fmt.Errorf("%s: argument %d is %T, not a number", name, i+1, v)
			}
		}
		return f.f(x), nil
	}
}

func callArray(name string, f arrayFunc) func(...any) (any, error) {
	return func(p ...any) (any, error) {
		a, b := make([]float64, len(p)), make([]float64, len(p))
		for i, v := range p {
			x, ok := v.([]float64)
			if !ok {
				return nil, fmt.Errorf("%s: argument %d is %T, not an array of floats", name, i+1, v)
			}
			if len(x) < 2 {
				return nil, fmt.Errorf("%s: needs two elements, argument %d has %d", name, i+1, len(x))
			}
			a[i], b[i] = x[0], x[1]
		}
		return f.f(a, b), nil
	}
}

func callSize(p ...any) (any, error) {
	switch x := p[0].(type) {
	case []float64:
		return len(x), nil
	case []int:
		return len(x), nil
	case []bool:
		return len(x), nil
	case []string:
		return len(x), nil
	}
	return nil, fmt.Errorf("size: %T is not an array", p[0])
}

func toFloat(v any) (float64, bool) {
	switch x := v.(type) {
	case float64:
		return x, true
	case int:
		return float64(x), true
	case bool:
		if x {
			return 1, true
		}
		return 0, true
	}
	return 0, false
}
