package gbdt

import (
	"hepmorph/internal/par"
)

// sum is gradient and hessian summed over rows.
type sum struct{ g, h float64 }

// grad is gradient and hessian of one row, already times its weight.
type grad struct{ g, h float32 }

// hist holds, for every feature, 256 bins of sums (and row counts where the settings ask for a smallest leaf in rows).
type hist struct {
	s []sum
	n []int32
}

// split is the best cut of a node found so far; feat < 0: none.
type split struct {
	gain     float64
	feat     int
	bin      uint8 // bins up to this one go left
	missLeft bool
	left     sum
}

// open is a node that may still be split: its rows are rows[lo:hi].
type open struct {
	node, depth int
	lo, hi      int
	sum         sum
	hist        *hist
	best        split
}

// grower grows one tree after another on the same binned columns.
type grower struct {
	s       Settings
	b       *bins
	minGain float64
	gh      []grad
	rows    []int32 // the tree's rows, permuted so that each node holds a range of them
	spare   []int32
	free    []*hist
	leaves  []open // of the tree grown last
}

func (g *grower) newHist() *hist {
	if n := len(g.free); n > 0 {
		h := g.free[n-1]
		g.free = g.free[:n-1]
		clear(h.s)
		clear(h.n)
		return h
	}
	h := &hist{s: make([]sum, len(g.b.words)*pack*256)}
	if g.s.MinRows > 1 {
		h.n = make([]int32, len(h.s))
	}
	return h
}

// grow returns a tree fitted to the gradients of g.rows; g.leaves then tells which rows each leaf holds.
func (g *grower) grow() *tree {
	t := &tree{nodes: make([]node, 1, 64), value: make([]float64, 1, 64)}
	g.leaves = g.leaves[:0]
	root := open{hi: len(g.rows), hist: g.newHist()}
	root.sum = g.total()
	g.fill([]*open{&root})
	front := []open{root}
	g.search(front)
	leaves := 1
	for len(front) > 0 {
		// Which nodes are split next: all of the level, or the best one.
		var now, later []open
		if g.s.Leaves == 0 {
			now = front
		} else {
			best := 0
			for i := range front {
				if front[i].best.gain > front[best].best.gain {
					best = i
				}
			}
			now = []open{front[best]}
			later = append(later, front[:best]...)
			later = append(later, front[best+1:]...)
		}
		var parents []open
		for _, o := range now {
			if o.best.feat < 0 || (g.s.Leaves > 0 && leaves >= g.s.Leaves) {
				g.close(t, o)
				continue
			}
			leaves++
			parents = append(parents, o)
		}
		kids := g.divide(t, parents)
		g.search(kids)
		front = append(later, kids...)
	}
	for _, l := range g.leaves {
		t.depth = max(t.depth, l.depth)
	}
	return t
}

// close makes a leaf of o.
func (g *grower) close(t *tree, o open) {
	t.nodes[o.node] = leafNode(o.node)
	t.value[o.node] = -o.sum.g / (o.sum.h + g.s.L2) * g.s.Rate
	if o.hist != nil {
		g.free = append(g.free, o.hist)
		o.hist = nil
	}
	g.leaves = append(g.leaves, o)
}

func (g *grower) total() sum {
	chunks := (len(g.rows) + chunkRows - 1) / chunkRows
	part := make([]sum, chunks)
	par.For(g.s.Threads, len(g.rows), chunkRows, func(c, lo, hi int) {
		var a, b float64
		for _, r := range g.rows[lo:hi] {
			v := g.gh[r]
			a += float64(v.g)
			b += float64(v.h)
		}
		part[c] = sum{a, b}
	})
	var t sum
	for _, p := range part {
		t.g += p.g
		t.h += p.h
	}
	return t
}

// divide splits each parent: new nodes in t, rows partitioned, histograms of the smaller children summed and of the
// larger ones taken as parent minus smaller. Children that can be split no further come back without a histogram.
func (g *grower) divide(t *tree, parents []open) []open {
	if len(parents) == 0 {
		return nil
	}
	type piece struct{ parent, lo, hi, nleft int }
	var pieces []piece
	for p, o := range parents {
		for lo := o.lo; lo < o.hi; lo += chunkRows {
			pieces = append(pieces, piece{p, lo, min(lo+chunkRows, o.hi), 0})
		}
	}
	// Each piece gathers its left rows at its beginning and its right rows at its end, in order.
	par.For(g.s.Threads, len(pieces), 1, func(i, _, _ int) {
		pc := &pieces[i]
		sp := parents[pc.parent].best
		words, shift := g.b.words[sp.feat/pack], 8*(sp.feat%pack)
		in, out := g.rows[pc.lo:pc.hi], g.spare[pc.lo:pc.hi]
		n := splitNode(0, sp)
		l, r := 0, len(out)-1
		for _, row := range in {
			out[l], out[r] = row, row
			right := int(n.right(uint8(words[row] >> shift)))
			l += 1 - right
			r -= right
		}
		pc.nleft = l
	})
	nleft := make([]int, len(parents))
	for _, pc := range pieces {
		nleft[pc.parent] += pc.nleft
	}
	type target struct{ l, r int }
	targets := make([]target, len(pieces))
	al, ar := make([]int, len(parents)), make([]int, len(parents))
	for p, o := range parents {
		al[p], ar[p] = o.lo, o.lo+nleft[p]
	}
	for i, pc := range pieces {
		targets[i] = target{al[pc.parent], ar[pc.parent]}
		al[pc.parent] += pc.nleft
		ar[pc.parent] += pc.hi - pc.lo - pc.nleft
	}
	par.For(g.s.Threads, len(pieces), 1, func(i, _, _ int) {
		pc := pieces[i]
		out := g.spare[pc.lo:pc.hi]
		copy(g.rows[targets[i].l:], out[:pc.nleft])
		at := targets[i].r
		for k := len(out) - 1; k >= pc.nleft; k-- { // they were laid down backwards
			g.rows[at] = out[k]
			at++
		}
	})
	kids := make([]open, 0, 2*len(parents))
	for p, o := range parents {
		sp := o.best
		l := len(t.nodes)
		t.nodes = append(t.nodes, leafNode(l), leafNode(l+1))
		t.value = append(t.value, 0, 0)
		t.nodes[o.node] = splitNode(l, sp)
		t.gain = append(t.gain, featGain{sp.feat, sp.gain})
		mid := o.lo + nleft[p]
		kids = append(kids,
			open{node: l, depth: o.depth + 1, lo: o.lo, hi: mid, sum: sp.left, best: split{feat: -1}},
			open{node: l + 1, depth: o.depth + 1, lo: mid, hi: o.hi, sum: sum{o.sum.g - sp.left.g, o.sum.h - sp.left.h}, best: split{feat: -1}})
	}
	var small []*open
	var sub []int
	for p := range parents {
		a, b := &kids[2*p], &kids[2*p+1]
		if !g.splittable(a) && !g.splittable(b) {
			g.free = append(g.free, parents[p].hist)
			continue
		}
		if b.hi-b.lo < a.hi-a.lo {
			a, b = b, a
		}
		a.hist, b.hist = g.newHist(), parents[p].hist
		small = append(small, a)
		sub = append(sub, p)
	}
	g.fill(small)
	nf := len(g.b.words)
	par.For(g.s.Threads, len(sub)*nf, max(1, nf/4), func(_, lo, hi int) {
		for i := lo; i < hi; i++ {
			p, j := sub[i/nf], i%nf
			a, b := kids[2*p].hist, kids[2*p+1].hist
			if small[i/nf] == &kids[2*p] {
				a, b = b, a
			}
			big, less := a.s[j*pack*256:(j+1)*pack*256], b.s[j*pack*256:(j+1)*pack*256]
			for k, v := range less {
				big[k].g -= v.g
				big[k].h -= v.h
			}
			if a.n != nil {
				bn, ln := a.n[j*pack*256:(j+1)*pack*256], b.n[j*pack*256:(j+1)*pack*256]
				for k, v := range ln {
					bn[k] -= v
				}
			}
		}
	})
	return kids
}

func (g *grower) splittable(o *open) bool {
	return o.depth < g.s.Depth && o.sum.h >= 2*g.s.MinChild && o.hi-o.lo >= 2*max(1, g.s.MinRows)
}

// fill sums the histograms of the nodes, in tasks of one chunk of rows times four features.
func (g *grower) fill(nodes []*open) {
	type task struct {
		lo, hi, word int
		into         *hist
	}
	var tasks []task
	type merge struct {
		into *hist
		part *hist
	}
	var merges []merge
	for _, o := range nodes {
		for lo := o.lo; lo < o.hi; lo += chunkRows {
			into := o.hist
			if lo > o.lo {
				into = g.newHist()
				merges = append(merges, merge{o.hist, into})
			}
			for j := range g.b.words {
				tasks = append(tasks, task{lo, min(lo+chunkRows, o.hi), j, into})
			}
		}
	}
	par.For(g.s.Threads, len(tasks), 1, func(i, _, _ int) {
		t := tasks[i]
		at := t.word * pack * 256
		sumWord((*[pack * 256]sum)(t.into.s[at:]), g.rows[t.lo:t.hi], g.b.words[t.word], g.gh)
		if t.into.n != nil {
			countWord((*[pack * 256]int32)(t.into.n[at:]), g.rows[t.lo:t.hi], g.b.words[t.word])
		}
	})
	if len(merges) == 0 {
		return
	}
	par.For(g.s.Threads, len(g.b.words), 1, func(j, _, _ int) {
		for _, m := range merges {
			a, b := m.into.s[j*pack*256:(j+1)*pack*256], m.part.s[j*pack*256:(j+1)*pack*256]
			for k, v := range b {
				a[k].g += v.g
				a[k].h += v.h
			}
			if m.into.n != nil {
				an, bn := m.into.n[j*pack*256:(j+1)*pack*256], m.part.n[j*pack*256:(j+1)*pack*256]
				for k, v := range bn {
					an[k] += v
				}
			}
		}
	})
	for _, m := range merges {
		g.free = append(g.free, m.part)
	}
}

// sumWord adds the rows' gradients to the bins of four features: h[256k+bin] for feature k of the word.
func sumWord(h *[pack * 256]sum, rows []int32, words []uint32, gh []grad) {
	h0, h1, h2, h3 := (*[256]sum)(h[0:]), (*[256]sum)(h[256:]), (*[256]sum)(h[512:]), (*[256]sum)(h[768:])
	for _, r := range rows {
		w := words[r]
		v := gh[r]
		a, b := float64(v.g), float64(v.h)
		p0 := &h0[uint8(w)]
		p0.g += a
		p0.h += b
		p1 := &h1[uint8(w>>8)]
		p1.g += a
		p1.h += b
		p2 := &h2[uint8(w>>16)]
		p2.g += a
		p2.h += b
		p3 := &h3[uint8(w>>24)]
		p3.g += a
		p3.h += b
	}
}

func countWord(n *[pack * 256]int32, rows []int32, words []uint32) {
	n0, n1, n2, n3 := (*[256]int32)(n[0:]), (*[256]int32)(n[256:]), (*[256]int32)(n[512:]), (*[256]int32)(n[768:])
	for _, r := range rows {
		w := words[r]
		n0[uint8(w)]++
		n1[uint8(w>>8)]++
		n2[uint8(w>>16)]++
		n3[uint8(w>>24)]++
	}
}

// search finds the best split of each node that has a histogram and may be split.
func (g *grower) search(nodes []open) {
	nf := g.b.feats
	found := make([]split, len(nodes)*nf)
	par.For(g.s.Threads, len(found), pack, func(_, lo, hi int) {
		for i := lo; i < hi; i++ {
			o := &nodes[i/nf]
			found[i] = split{feat: -1}
			if o.hist != nil && g.splittable(o) {
				found[i] = g.scan(o, i%nf)
			}
		}
	})
	for i := range nodes {
		o := &nodes[i]
		o.best = split{feat: -1, gain: g.minGain}
		for _, s := range found[i*nf : (i+1)*nf] {
			if s.feat >= 0 && s.gain > o.best.gain {
				o.best = s
			}
		}
	}
}

// scan finds the best cut of one feature: gain G_L²/(H_L+λ) + G_R²/(H_R+λ) - G²/(H+λ), missing values tried on both sides.
func (g *grower) scan(o *open, f int) split {
	best := split{feat: -1, gain: g.minGain}
	h := (*[256]sum)(o.hist.s[f*256:])
	var cnt *[256]int32
	if o.hist.n != nil {
		cnt = (*[256]int32)(o.hist.n[f*256:])
	}
	l2, least := g.s.L2, g.s.MinChild
	base := o.sum.g * o.sum.g / (o.sum.h + l2)
	last := len(g.b.cuts[f]) - 1 // with bins 0..len(cuts), the last useful cut is after bin len(cuts)-1
	has := g.b.missing[f] && h[missingBin].h != 0
	for side := range 2 {
		var gl, hl float64
		var nl int32
		if side == 1 {
			if !has {
				break
			}
			gl, hl = h[missingBin].g, h[missingBin].h
			if cnt != nil {
				nl = cnt[missingBin]
			}
		} else if has {
			last++ // all values left, missing right
		}
		for b := 0; b <= last; b++ {
			v := &h[uint8(b)]
			if cnt != nil {
				nl += cnt[uint8(b)]
			}
			if v.h == 0 && v.g == 0 {
				continue
			}
			gl += v.g
			hl += v.h
			hr := o.sum.h - hl
			if hl < least {
				continue
			}
			if hr < least {
				break
			}
			if cnt != nil && (int(nl) < g.s.MinRows || o.hi-o.lo-int(nl) < g.s.MinRows) {
				continue
			}
			gr := o.sum.g - gl
			if gain := gl*gl/(hl+l2) + gr*gr/(hr+l2) - base; gain > best.gain {
				left := side == 1
				if !has { // unseen in training: with the larger side
					left = hl >= hr
				}
				best = split{gain, f, uint8(b), left, sum{gl, hl}}
			}
		}
		if side == 0 && has {
			last--
		}
	}
	return best
}
