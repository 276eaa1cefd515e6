package gbdt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// The binary form, little endian: "hmgbdt1\n", loss u8, base f64, valid loss f64, features u32, trees u32; per feature
// gain f64, cuts u8, cuts × f64; per tree nodes u32, then per node the word of node as u64, value f64.
const magic = "hmgbdt1\n"

const (
	maxTrees = 1 << 16
	maxNodes = 1 << 20 // of one tree
)

// ErrCorrupt is wrapped by every error of UnmarshalBinary.
var ErrCorrupt = errors.New("model bytes are damaged")

// MarshalBinary writes the model; the same model gives the same bytes.
func (m *Model) MarshalBinary() ([]byte, error) {
	le := binary.LittleEndian
	b := []byte(magic)
	f64 := func(v float64) { b = le.AppendUint64(b, math.Float64bits(v)) }
	b = append(b, byte(m.loss))
	f64(m.base)
	f64(m.ValidLoss)
	b = le.AppendUint32(b, uint32(len(m.cuts)))
	b = le.AppendUint32(b, uint32(len(m.trees)))
	for f, cuts := range m.cuts {
		f64(m.gain[f])
		b = append(b, byte(len(cuts)))
		for _, c := range cuts {
			f64(c)
		}
	}
	for _, t := range m.trees {
		b = le.AppendUint32(b, uint32(len(t.nodes)))
		for i, n := range t.nodes {
			b = le.AppendUint64(b, uint64(n))
			f64(t.value[i])
		}
	}
	return b, nil
}

type reader struct {
	b   []byte
	bad bool
}

func (r *reader) next(n int) []byte {
	if r.bad || n > len(r.b) {
		r.bad = true
		return make([]byte, n)
	}
	v := r.b[:n]
	r.b = r.b[n:]
	return v
}
func (r *reader) u8() uint8    { return r.next(1)[0] }
func (r *reader) u32() uint32  { return binary.LittleEndian.Uint32(r.next(4)) }
func (r *reader) u64() uint64  { return binary.LittleEndian.Uint64(r.next(8)) }
func (r *reader) f64() float64 { return math.Float64frombits(r.u64()) }

// fits tells whether n things of at least size bytes can still follow, so that nothing is allocated for a false count.
func (r *reader) fits(n uint32, size int) bool {
	if uint64(n)*uint64(size) > uint64(len(r.b)) {
		r.bad = true
	}
	return !r.bad
}

// UnmarshalBinary reads what MarshalBinary wrote and checks all of it: sizes, finite numbers, ascending cuts, trees
// without cycles. m is unchanged if it fails.
func (m *Model) UnmarshalBinary(data []byte) error {
	fail := func(why string, args ...any) error {
		return fmt.Errorf("gbdt: could not read model: %s: %w", fmt.Sprintf(why, args...), ErrCorrupt)
	}
	r := &reader{b: data}
	if string(r.next(len(magic))) != magic {
		return fail("does not begin with %q", magic)
	}
	out := Model{loss: Loss(r.u8()), base: r.f64(), ValidLoss: r.f64()}
	feats, trees := r.u32(), r.u32()
	if out.loss > Squared || !finite(out.base) || feats == 0 || feats > math.MaxUint16 || trees > maxTrees || !r.fits(feats, 9) || !r.fits(trees, 4) {
		return fail("loss %d, %d features, %d trees", out.loss, feats, trees)
	}
	out.cuts, out.gain = make([][]float64, feats), make([]float64, feats)
	for f := range out.cuts {
		out.gain[f] = r.f64()
		n := r.u8()
		if !r.fits(uint32(n), 8) || n > maxBins-1 || !(out.gain[f] >= 0) {
			return fail("feature %d: %d cuts, gain %g", f, n, out.gain[f])
		}
		if n > 0 {
			out.cuts[f] = make([]float64, n)
		}
		for i := range out.cuts[f] {
			c := r.f64()
			if c != c || i > 0 && !(c > out.cuts[f][i-1]) {
				return fail("feature %d: cut %d is %g", f, i, c)
			}
			out.cuts[f][i] = c
		}
	}
	for k := range trees {
		n := r.u32()
		if n == 0 || n > maxNodes || !r.fits(n, 16) {
			return fail("tree %d: %d nodes", k, n)
		}
		t := tree{nodes: make([]node, n), value: make([]float64, n)}
		seen, depth := make([]bool, n), make([]uint8, n)
		for i := range t.nodes {
			nd := node(r.u64())
			t.value[i] = r.f64()
			left := int(nd.left())
			leaf := left == i
			switch {
			case nd.feat() >= len(out.cuts) || nd.off() > 1 || !finite(t.value[i]):
				return fail("tree %d: node %d: feature %d, offset %d, value %g", k, i, nd.feat(), nd.off(), t.value[i])
			case leaf && nd != leafNode(i):
				return fail("tree %d: node %d: a leaf with threshold %d", k, i, nd.thr())
			case !leaf && (left < i || left+1 >= int(n) || depth[i] >= 64 || seen[left] || seen[left+1] || nd.thr() == 255):
				return fail("tree %d: node %d: children at %d", k, i, left)
			}
			if !leaf {
				seen[left], seen[left+1] = true, true
				depth[left], depth[left+1] = depth[i]+1, depth[i]+1
			}
			t.nodes[i] = nd
			t.depth = max(t.depth, int(depth[i]))
		}
		out.trees = append(out.trees, t)
	}
	if r.bad || len(r.b) != 0 {
		return fail("%d bytes too many, or too few", len(r.b))
	}
	out.Rounds = len(out.trees)
	*m = out
	return nil
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }
