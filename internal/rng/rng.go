// Package rng gives addressed random numbers: a number is a function of (seed, stream name, address, counter), never
// of a state that is carried along. Any step of a training can be recomputed, a resumed run continues to the same bits,
// and results do not depend on the number of workers.
//
// The generator is Philox4x32-10 (Salmon et al., SC'11): the key comes from seed and stream name, the counter from the
// address. The same function runs on a GPU.
package rng

import (
	"math"
	"math/bits"
)

// A Key names a family of streams: one seed and one purpose.
type Key struct{ k0, k1 uint32 }

// NewKey derives a key from a seed and the name of its purpose ("shuffle", "dequantise pt").
func NewKey(seed uint64, name string) Key {
	h := Mix(seed ^ 0x9e3779b97f4a7c15)
	for i := 0; i < len(name); i++ {
		h = Mix(h ^ uint64(name[i]))
	}
	return Key{uint32(h), uint32(h >> 32)}
}

// Mix is a bijective 64-bit hash (the finaliser of SplitMix64).
func Mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// Hash folds an address of several numbers into one, e.g. the run, lumi block and event number of a row.
func Hash(v ...uint64) uint64 {
	h := uint64(len(v))
	for _, x := range v {
		h = Mix(h ^ x)
	}
	return h
}

func philox(k0, k1 uint32, c [4]uint32) [4]uint32 {
	a, b, d, e := c[0], c[1], c[2], c[3] // not an array, which would live in memory
	for range 10 {
		a, b, d, e = round(a, b, d, e, k0, k1)
		k0 += weyl0
		k1 += weyl1
	}
	return [4]uint32{a, b, d, e}
}

const weyl0, weyl1 = 0x9E3779B9, 0xBB67AE85

func round(a, b, c, d, k0, k1 uint32) (w, x, y, z uint32) {
	h0, l0 := bits.Mul32(0xD2511F53, a)
	h1, l1 := bits.Mul32(0xCD9E8D57, c)
	return h1 ^ b ^ k0, l1, h0 ^ d ^ k1, l0
}

// At opens the stream at an address. Streams at different addresses are independent.
func (k Key) At(addr uint64) Stream {
	return Stream{k0: k.k0, k1: k.k1, hi: addr}
}

// Uniform is the first number of the stream at addr, in [0,1).
func (k Key) Uniform(addr uint64) float64 {
	s := k.At(addr)
	return s.Float64()
}

// A Stream yields numbers from one address. Not safe for concurrent use; copy it or open another.
type Stream struct {
	k0, k1 uint32
	hi, lo uint64
	buf    [4]uint32
	left   int
	spare  float64
	has    bool
}

// Uint32 returns 32 uniform bits.
func (s *Stream) Uint32() uint32 {
	if s.left == 0 {
		s.buf = philox(s.k0, s.k1, [4]uint32{uint32(s.lo), uint32(s.lo >> 32), uint32(s.hi), uint32(s.hi >> 32)})
		s.lo++
		s.left = 4
	}
	s.left--
	return s.buf[3-s.left]
}

// Eight returns what eight calls of Uint32 would, in half the time. It can do so only where a block of numbers begins, as at the beginning of a stream.
func (s *Stream) Eight() (w [8]uint32, ok bool) {
	if s.left != 0 {
		return w, false
	}
	h0, h1 := uint32(s.hi), uint32(s.hi>>32)
	a0, a1, a2, a3 := uint32(s.lo), uint32(s.lo>>32), h0, h1
	b0, b1, b2, b3 := uint32(s.lo+1), uint32((s.lo+1)>>32), h0, h1
	k0, k1 := s.k0, s.k1
	for range 10 {
		a0, a1, a2, a3 = round(a0, a1, a2, a3, k0, k1)
		b0, b1, b2, b3 = round(b0, b1, b2, b3, k0, k1)
		k0 += weyl0
		k1 += weyl1
	}
	s.lo += 2
	return [8]uint32{a0, a1, a2, a3, b0, b1, b2, b3}, true
}

// Return gives the last n of the numbers that Eight has returned, n < 8, back to the stream.
func (s *Stream) Return(w *[8]uint32, n int) {
	block := w[4:]
	if n >= 4 {
		block, n = w[:4], n-4
		s.lo--
	}
	s.left = copy(s.buf[4-n:], block[4-n:])
}

// Uint64 returns 64 uniform bits.
func (s *Stream) Uint64() uint64 { return uint64(s.Uint32())<<32 | uint64(s.Uint32()) }

// Float64 returns a number uniform in [0,1).
func (s *Stream) Float64() float64 { return float64(s.Uint64()>>11) * 0x1p-53 }

// Float32 returns a number uniform in [0,1).
func (s *Stream) Float32() float32 { return float32(s.Uint32()>>8) * 0x1p-24 }

// open returns a number uniform in (0,1).
func (s *Stream) open() float64 { return (float64(s.Uint64()>>11) + 0.5) * 0x1p-53 }

// IntN returns a number uniform in [0,n); n must be positive.
func (s *Stream) IntN(n int) int {
	hi, _ := bits.Mul64(s.Uint64(), uint64(n))
	return int(hi)
}

// Norm returns a standard normal number (Box-Muller: a fixed count of draws).
func (s *Stream) Norm() float64 {
	if s.has {
		s.has = false
		return s.spare
	}
	r := math.Sqrt(-2 * math.Log(s.open()))
	sin, cos := math.Sincos(2 * math.Pi * s.Float64())
	s.spare, s.has = r*sin, true
	return r * cos
}

// Exp returns an exponential number of mean 1.
func (s *Stream) Exp() float64 { return -math.Log(s.open()) }

// Gamma returns a Gamma(shape, 1) number (Marsaglia and Tsang 2000). Shape must be positive.
func (s *Stream) Gamma(shape float64) float64 {
	if shape < 1 {
		return s.Gamma(shape+1) * math.Pow(s.open(), 1/shape)
	}
	d := shape - 1.0/3
	c := 1 / math.Sqrt(9*d)
	for {
		x := s.Norm()
		v := 1 + c*x
		if v <= 0 {
			continue
		}
		v = v * v * v
		if math.Log(s.open()) < x*x/2+d-d*v+d*math.Log(v) {
			return d * v
		}
	}
}

// Poisson returns a Poisson number of mean mu >= 0.
func (s *Stream) Poisson(mu float64) int {
	n := 0
	for mu > 30 { // split by the gamma-Poisson relation
		m := int(mu * 7 / 8)
		g := s.Gamma(float64(m))
		if g > mu {
			return n + s.binomial(m-1, mu/g)
		}
		n += m
		mu -= g
	}
	for p, l := s.open(), math.Exp(-mu); p > l; n++ {
		p *= s.open()
	}
	return n
}

func (s *Stream) binomial(n int, p float64) int {
	k := 0
	for range n {
		if s.Float64() < p {
			k++
		}
	}
	return k
}

// Perm fills p with a permutation of 0..len(p)-1.
func (s *Stream) Perm(p []int32) {
	for i := range p {
		j := s.IntN(i + 1)
		p[i] = p[j]
		p[j] = int32(i)
	}
}
