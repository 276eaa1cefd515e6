package flows

import (
	"math"
	"sync"

	"hepmorph/internal/rng"
)

// layers of the ziggurat, and where its tail begins.
const layers, tailStart = 128, 3.442619855899

// ziggurat holds the edges of layers of equal area under exp(−x²/2) and the part of each that lies wholly inside (Marsaglia and Tsang, J. Stat.
// Softw. 5 (2000) 8; the form of Doornik 2005).
type ziggurat struct {
	x      [layers + 1]float64
	inside [layers]float64
}

var theZiggurat = sync.OnceValue(func() *ziggurat {
	z := &ziggurat{}
	f := func(x float64) float64 { return math.Exp(-x * x / 2) }
	area := tailStart*f(tailStart) + math.Sqrt(math.Pi/2)*math.Erfc(tailStart/math.Sqrt2)
	z.x[0], z.x[1] = area/f(tailStart), tailStart
	for i := 2; i < layers; i++ {
		z.x[i] = math.Sqrt(-2 * math.Log(area/z.x[i-1]+f(z.x[i-1])))
	}
	for i := range layers {
		z.inside[i] = z.x[i+1] / z.x[i]
	}
	return z
})

// split is the place in a layer that 32 random bits name, and the layer: 25 bits in (−1, 1) and 7.
func split(bits uint32) (u float64, layer uint32) {
	return (float64(bits>>7)+0.5)*0x1p-24 - 1, bits % layers
}

// fill draws standard normal numbers, those of as many calls of norm.
func fill[T Float](z *ziggurat, s *rng.Stream, x []T) {
	k := 0
	for len(x)-k >= 8 {
		w, ok := s.Eight()
		if !ok {
			break
		}
		for i, bits := range w {
			u, l := split(bits)
			if !(math.Abs(u) < z.inside[l]) {
				s.Return(&w, 8-i)
				x[k] = T(z.norm(s))
				k++
				break
			}
			x[k] = T(u * z.x[l])
			k++
		}
	}
	for ; k < len(x); k++ {
		x[k] = T(z.norm(s))
	}
}

// norm draws a standard normal number: 32 random bits and one product, nearly always.
func (z *ziggurat) norm(s *rng.Stream) float64 {
	for {
		u, i := split(s.Uint32())
		if math.Abs(u) < z.inside[i] {
			return u * z.x[i]
		}
		if i == 0 {
			for {
				x := s.Exp() / tailStart
				if 2*s.Exp() > x*x {
					return math.Copysign(tailStart+x, u)
				}
			}
		}
		x := u * z.x[i]
		low, high := math.Exp(-(z.x[i]*z.x[i]-x*x)/2), math.Exp(-(z.x[i+1]*z.x[i+1]-x*x)/2)
		if low+s.Float64()*(high-low) < 1 {
			return x
		}
	}
}
