package gbdt

import (
	"math"

	"hepmorph/internal/par"
	"hepmorph/internal/rank"
)

// Loss is what the trees minimise.
type Loss uint8

const (
	Logistic Loss = iota // y is 0 or 1; the margin is the log-odds
	Squared              // y is any number; the margin estimates its mean
)

// node is one node of a tree in the form that prediction walks: left<<32 | feature<<16 | threshold<<8 | offset. The next
// node is left, or left+1 if the row's bin plus the offset (modulo 256) lies above the threshold. An offset of 1 makes
// "missing" (255) wrap round to 0 and go left. A leaf has threshold 255 and leads to itself.
type node uint64

func newNode(left, feat int, thr, off uint8) node {
	return node(left)<<32 | node(feat)<<16 | node(thr)<<8 | node(off)
}

func (n node) left() int32 { return int32(n >> 32) }
func (n node) feat() int   { return int(n >> 16 & 0xffff) }
func (n node) thr() uint8  { return uint8(n >> 8) }
func (n node) off() uint8  { return uint8(n) }

// right is 1 if a row with this bin goes right, else 0; without a branch, for it is a coin toss.
func (n node) right(bin uint8) int32 {
	return int32(uint32(int32(n.thr())-int32(bin+n.off())) >> 31)
}

type featGain struct {
	feat int
	gain float64
}

// tree: value is used at leaves only.
type tree struct {
	nodes []node
	value []float64
	depth int
	gain  []featGain // of its splits; summed into Model.gain
}

func splitNode(left int, s split) node {
	if s.missLeft {
		return newNode(left, s.feat, s.bin+1, 1)
	}
	return newNode(left, s.feat, s.bin, 0)
}

func leafNode(k int) node { return newNode(k, 0, 255, 0) }

// A Model is a sum of trees. It is immutable and safe for concurrent use.
type Model struct {
	loss  Loss
	base  float64
	cuts  [][]float64 // of each feature
	trees []tree
	gain  []float64 // of each feature

	// Rounds is the number of trees kept, ValidLoss the loss on the validation part at that number (NaN without one).
	Rounds    int
	ValidLoss float64
}

// Features returns the number of columns that the model was trained on.
func (m *Model) Features() int { return len(m.cuts) }

// Gain returns each feature's share of the loss reduction of all splits; the shares add up to 1 (0 without any split).
func (m *Model) Gain() []float64 {
	out := make([]float64, len(m.gain))
	total := 0.0
	for _, g := range m.gain {
		total += g
	}
	if total > 0 {
		for i, g := range m.gain {
			out[i] = g / total
		}
	}
	return out
}

// blockRows is how many rows go through one tree before the next.
const blockRows = 8192

// Margin writes the model's output for each row of cols ([feature][row]) to out: log-odds for Logistic, the mean for
// Squared. NaN counts as missing. It panics if the number of columns or rows disagrees. threads 0 means every core that is granted.
func (m *Model) Margin(cols [][]float64, out []float64, threads int) {
	if len(cols) != len(m.cuts) {
		panic("gbdt: bad number of columns")
	}
	for _, c := range cols {
		if len(c) != len(out) {
			panic("gbdt: bad number of rows")
		}
	}
	cuts := make([]*rank.List, len(cols))
	for f := range cuts {
		cuts[f] = rank.New(m.cuts[f])
	}
	par.For(threads, len(out), blockRows, func(_, lo, hi int) {
		buf := make([]uint8, len(cols)*blockRows)
		for f, c := range cols {
			list, b := cuts[f], buf[f*blockRows:]
			for i, x := range c[lo:hi] {
				if x != x {
					b[i] = missingBin
					continue
				}
				b[i] = uint8(list.NotAbove(x))
			}
		}
		sums := out[lo:hi]
		for i := range sums {
			sums[i] = m.base
		}
		var l lookup
		for i := range m.trees {
			t := &m.trees[i]
			if len(sums) >= lookupRows && l.set(t) {
				l.add(sums, buf)
			} else {
				t.add(sums, buf)
			}
		}
	})
}

// add walks all rows through the tree; bin of feature f and row r is buf[f*blockRows+r].
func (t *tree) add(sums []float64, buf []uint8) {
	nodes, value := t.nodes, t.value
	step := func(k int32, r int) int32 {
		n := nodes[k]
		return n.left() + n.right(buf[n.feat()*blockRows+r])
	}
	r := 0
	for ; r+4 <= len(sums); r += 4 { // four walks at a time hide each other's latency
		var a, b, c, d int32
		for range t.depth {
			a, b, c, d = step(a, r), step(b, r+1), step(c, r+2), step(d, r+3)
		}
		sums[r] += value[a]
		sums[r+1] += value[b]
		sums[r+2] += value[c]
		sums[r+3] += value[d]
	}
	for ; r < len(sums); r++ {
		k := int32(0)
		for range t.depth {
			k = step(k, r)
		}
		sums[r] += value[k]
	}
}

// leaf walks one row of packed bins.
func (t *tree) leaf(b *bins, row int) int32 {
	k := int32(0)
	for {
		n := t.nodes[k]
		if n.left() == k {
			return k
		}
		k = n.left() + n.right(b.at(n.feat(), row))
	}
}

// Sigmoid is 1/(1+exp(-x)), without overflow.
func Sigmoid(x float64) float64 {
	if x >= 0 {
		return 1 / (1 + math.Exp(-x))
	}
	e := math.Exp(x)
	return e / (1 + e)
}

// Probability is Margin as a probability of class 1; for Logistic models.
func (m *Model) Probability(cols [][]float64, out []float64, threads int) {
	m.Margin(cols, out, threads)
	for i, v := range out {
		out[i] = Sigmoid(v)
	}
}
