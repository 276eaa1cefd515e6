package rng

import (
	"math"
	"testing"
)

// The known answers of Philox4x32-10 come from the Random123 distribution (kat_vectors).
func TestPhiloxKnownAnswers(t *testing.T) {
	for _, c := range []struct {
		k0, k1    uint32
		ctr, want [4]uint32
	}{
		{0, 0, [4]uint32{}, [4]uint32{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
		{0xffffffff, 0xffffffff, [4]uint32{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, [4]uint32{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
		{0xa4093822, 0x299f31d0, [4]uint32{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, [4]uint32{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
	} {
		if got := philox(c.k0, c.k1, c.ctr); got != c.want {
			t.Errorf("philox(%x,%x,%x) = %x, want %x", c.k0, c.k1, c.ctr, got, c.want)
		}
	}
}

func TestMoments(t *testing.T) {
	k := NewKey(1, "moments")
	const n = 200000
	for _, c := range []struct {
		name       string
		draw       func(*Stream) float64
		mean, vari float64
	}{
		{"uniform", (*Stream).Float64, 0.5, 1.0 / 12},
		{"normal", (*Stream).Norm, 0, 1},
		{"exponential", (*Stream).Exp, 1, 1},
		{"gamma 0.3", func(s *Stream) float64 { return s.Gamma(0.3) }, 0.3, 0.3},
		{"gamma 7", func(s *Stream) float64 { return s.Gamma(7) }, 7, 7},
		{"poisson 2", func(s *Stream) float64 { return float64(s.Poisson(2)) }, 2, 2},
		{"poisson 200", func(s *Stream) float64 { return float64(s.Poisson(200)) }, 200, 200},
	} {
		sum, sq := 0.0, 0.0
		for i := range uint64(n) {
			s := k.At(i)
			x := c.draw(&s)
			sum += x
			sq += (x - c.mean) * (x - c.mean)
		}
		if d := math.Abs(sum/n-c.mean) / math.Sqrt(c.vari/n); d > 4.5 {
			t.Errorf("%s: mean off by %.1f standard errors", c.name, d)
		}
		if r := sq / n / c.vari; math.Abs(r-1) > 0.05 {
			t.Errorf("%s: variance is %.3f of what it should be", c.name, r)
		}
	}
}

func TestStreamsAreFunctionsOfTheirAddress(t *testing.T) {
	k := NewKey(7, "a")
	a, b := k.At(3), k.At(3)
	for range 10 {
		if a.Uint64() != b.Uint64() {
			t.Fatal("same address, other numbers")
		}
	}
	if k.Uniform(3) == k.Uniform(4) || k.Uniform(3) == NewKey(7, "b").Uniform(3) || k.Uniform(3) == NewKey(8, "a").Uniform(3) {
		t.Error("other address, same number")
	}
}

func TestEight(t *testing.T) {
	for back := range 8 {
		a := NewKey(3, "eight").At(1<<40 + 5)
		b := a
		for range 3 {
			w, ok := a.Eight()
			if !ok {
				t.Fatal("no numbers at the beginning of a block")
			}
			a.Return(&w, back)
			for i := range 16 {
				var v uint32
				if i < 8-back {
					v = w[i]
				} else {
					v = a.Uint32()
				}
				if want := b.Uint32(); v != want {
					t.Fatalf("%d given back: number %d is %x, want %x", back, i, v, want)
				}
			}
		}
	}
	s := NewKey(3, "eight").At(0)
	s.Uint32()
	if _, ok := s.Eight(); ok {
		t.Error("numbers within a block")
	}
}

func TestPerm(t *testing.T) {
	s := NewKey(1, "perm").At(0)
	p := make([]int32, 101)
	s.Perm(p)
	seen := make([]bool, len(p))
	for _, v := range p {
		if seen[v] {
			t.Fatal("not a permutation")
		}
		seen[v] = true
	}
}
