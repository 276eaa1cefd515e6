package gbdt

import "math/bits"

const (
	lookupLeaves   = 16   // of 16 bits
	lookupFeatures = 6    // with more, walking is as fast
	lookupRows     = 1024 // with fewer, making the lookup takes longer than it saves
)

// A lookup is a small tree in another form: for each feature that it asks for and each bin, the leaves that a row with that bin can still reach. Those of all its
// features have one leaf in common (as in QuickScorer, Lucchese et al. 2015). A row takes half the time of a walk, and no step waits for the one before.
type lookup struct {
	feats []int
	reach [lookupFeatures][256]uint16
	value [lookupLeaves]float64
}

// set makes l the form of t and reports whether it has one.
func (l *lookup) set(t *tree) bool {
	var leaves [2*lookupLeaves - 1]uint16 // below each node
	if len(t.nodes) > len(leaves) {
		return false
	}
	l.feats = l.feats[:0]
	count := 0
	for i := len(t.nodes) - 1; i >= 0; i-- { // children come after their parents
		n := t.nodes[i]
		left := int(n.left())
		if left == i {
			l.value[count] = t.value[i]
			leaves[i] = 1 << count
			count++
			continue
		}
		leaves[i] = leaves[left] | leaves[left+1]
		k := l.feature(n.feat())
		if k < 0 {
			return false
		}
		first := int(n.thr()) + 1 - int(n.off()) // bins that go right, up to the one that stands for "missing"
		for bin := range l.reach[k][:first] {
			l.reach[k][bin] &^= leaves[left+1]
		}
		for bin := first; bin < missingBin; bin++ {
			l.reach[k][bin] &^= leaves[left]
		}
		l.reach[k][missingBin] &^= leaves[left+1-int(n.right(missingBin))]
	}
	for n := len(l.feats); n < lookupFeatures && n != lookupFeatures-2; n++ { // add knows two numbers of features
		l.place(0)
	}
	return true
}

// feature is the place of a feature in l, -1 if there is none left.
func (l *lookup) feature(f int) int {
	for k, have := range l.feats {
		if have == f {
			return k
		}
	}
	if len(l.feats) == lookupFeatures {
		return -1
	}
	return l.place(f)
}

// place gives a feature a place from which all leaves can be reached.
func (l *lookup) place(f int) int {
	k := len(l.feats)
	l.feats = append(l.feats, f)
	for bin := range l.reach[k] {
		l.reach[k][bin] = 1<<lookupLeaves - 1
	}
	return k
}

// add adds the values of rows; bin of feature f and row r is buf[f*blockRows+r].
func (l *lookup) add(sums []float64, buf []uint8) {
	bins := func(k int) []uint8 { return buf[l.feats[k]*blockRows:][:len(sums)] }
	a, b, c, d := bins(0), bins(1), bins(2), bins(3)
	inA, inB, inC, inD := &l.reach[0], &l.reach[1], &l.reach[2], &l.reach[3]
	if len(l.feats) == lookupFeatures {
		e, f, inE, inF := bins(4), bins(5), &l.reach[4], &l.reach[5]
		for r := range sums {
			left := inA[a[r]] & inB[b[r]] & inC[c[r]] & inD[d[r]] & inE[e[r]] & inF[f[r]]
			sums[r] += l.value[bits.TrailingZeros16(left)%lookupLeaves]
		}
		return
	}
	for r := range sums {
		left := inA[a[r]] & inB[b[r]] & inC[c[r]] & inD[d[r]]
		sums[r] += l.value[bits.TrailingZeros16(left)%lookupLeaves]
	}
}

// addRows adds their values to the sums of some rows of b.
func (l *lookup) addRows(sums []float64, rows []int32, b *bins) {
	var words [lookupFeatures][]uint32
	var shift [lookupFeatures]int
	for k, f := range l.feats {
		words[k], shift[k] = b.words[f/pack], 8*(f%pack)
	}
	for _, r := range rows {
		left := uint16(1<<lookupLeaves - 1)
		for k := range l.feats {
			left &= l.reach[k][uint8(words[k][r]>>shift[k])]
		}
		sums[r] += l.value[bits.TrailingZeros16(left)%lookupLeaves]
	}
}
