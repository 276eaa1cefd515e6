package calo

import "fmt"

// A tiling cuts a codec's shape vector into tokens of equal length.
type tiling struct {
	tokens, patch int
	layers        int     // of a token
	grid          [3]int  // tokens along layer, sector and ring; 0 where the layers differ
	place         []int32 // of each number of each token in the shape vector, -1 for padding
	layer         []int32 // of each number of each token, -1 for padding
	first         []int32 // layer of each token
}

// defaultPatch is the published patch of datasets 2 and mini, and its like elsewhere.
func defaultPatch(c Codec) [3]int {
	if v, ok := c.(*latent); ok {
		return [3]int{1, v.net.grid[1], 1}
	}
	layers, alpha, rings, uniform := c.Geometry().Uniform()
	if !uniform {
		if c.Dims().Shape != c.Geometry().Voxels() {
			return [3]int{1, 1, 5} // of the padded layers (arXiv:2601.05289)
		}
		return [3]int{1, 1, 10}
	}
	p := [3]int{1, 1, 1}
	if layers%3 == 0 {
		p[0] = 3
	}
	for k := 1; k <= 16; k++ {
		if alpha%k == 0 {
			p[1] = k
		}
	}
	for rings%p[2] != 0 || rings/p[2] > 9 {
		p[2]++
	}
	return p
}

// newTiling cuts into patches of layers × sectors × rings, in the order layer, sector, ring, both of the tokens and inside of one. Where
// the layers differ, a token is a run of patch[2] numbers of one layer; the last of a layer is padded.
func newTiling(c Codec, patch [3]int) (*tiling, error) {
	g := c.Geometry()
	fail := func(why string) (*tiling, error) {
		return nil, fmt.Errorf("calo: could not cut %v into patches of %d layers × %d sectors × %d rings: %s", g, patch[0], patch[1], patch[2], why)
	}
	for _, p := range patch {
		if p < 1 || p > g.Voxels()*5 {
			return fail("numbers above 0 that divide the geometry are expected")
		}
	}
	if v, ok := c.(*latent); ok {
		return v.tiling(patch)
	}
	layers, alpha, rings, uniform := g.Uniform()
	t := &tiling{patch: patch[0] * patch[1] * patch[2], layers: patch[0]}
	if !uniform {
		if patch[0] != 1 || patch[1] != 1 {
			return fail("its layers differ: only 1,1,N is possible")
		}
		at := 0
		for l, n := range shapeLengths(c) {
			for lo := 0; lo < n; lo += patch[2] {
				t.first = append(t.first, int32(l))
				for k := range patch[2] {
					if lo+k < n {
						t.place, t.layer = append(t.place, int32(at+lo+k)), append(t.layer, int32(l))
					} else {
						t.place, t.layer = append(t.place, -1), append(t.layer, -1)
					}
				}
			}
			at += n
		}
		t.tokens = len(t.first)
		return t, nil
	}
	if layers%patch[0] != 0 || alpha%patch[1] != 0 || rings%patch[2] != 0 {
		return fail("they do not divide it")
	}
	t.grid = [3]int{layers / patch[0], alpha / patch[1], rings / patch[2]}
	t.tokens = t.grid[0] * t.grid[1] * t.grid[2]
	for token := range t.tokens {
		l0, a0, r0 := token/(t.grid[1]*t.grid[2])*patch[0], token/t.grid[2]%t.grid[1]*patch[1], token%t.grid[2]*patch[2]
		t.first = append(t.first, int32(l0))
		for l := range patch[0] {
			for a := range patch[1] {
				for r := range patch[2] {
					t.place = append(t.place, int32(((l0+l)*alpha+a0+a)*rings+r0+r))
					t.layer = append(t.layer, int32(l0+l))
				}
			}
		}
	}
	return t, nil
}

// shapeLengths are the numbers of each layer in the shape vector.
func shapeLengths(c Codec) []int {
	var n []int
	for l, layer := range c.Geometry().Layers {
		k := layer.Voxels()
		if p, ok := c.(*published); ok {
			k *= p.pad[l]
		}
		n = append(n, k)
	}
	return n
}

// width is the length of all tokens of a shower.
func (t *tiling) width() int { return t.tokens * t.patch }

// cut writes the tokens of a shape vector, stride numbers apart; padding is 0.
func (t *tiling) cut(dst, shape []float32, stride int) {
	for token := range t.tokens {
		for k, p := range t.place[token*t.patch:][:t.patch] {
			v := float32(0)
			if p >= 0 {
				v = shape[p]
			}
			dst[token*stride+k] = v
		}
	}
}

// join is the inverse of cut.
func (t *tiling) join(shape, tokens []float32) {
	for k, p := range t.place {
		if p >= 0 {
			shape[p] = tokens[k]
		}
	}
}

// mask writes 1 where a number is drawn and 0 at padding and, for a codec that asks for it, in layers without energy. It returns the
// number of ones.
func (t *tiling) mask(dst []float32, e *Energies, skip bool, stride int) int {
	n := 0
	for token := range t.tokens {
		for k, l := range t.layer[token*t.patch:][:t.patch] {
			v := float32(0)
			if l >= 0 && (!skip || e.Layers[l] > 0) {
				v = 1
				n++
			}
			dst[token*stride+k] = v
		}
	}
	return n
}
