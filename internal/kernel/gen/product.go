package main

import (
	"fmt"
	"slices"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
)

// Offsets in mulTask and gradTask of product_amd64.go. The pointers of a task stay as they are, since the garbage collector may look
// at them; positions move in the fields after cursors.
const (
	mulB, mulRS, mulCS, mulK, mulM, mulFlags  = 40, 48, 56, 64, 72, 80
	mulCursors                                = 88
	mulA, mulC, mulBias, mulGate, mulSpans    = 88, 96, 104, 112, 120
	gradXT, gradLD, gradDYP, gradLDX, gradXTP = 16, 24, 32, 40, 48
	gradNP, gradM, gradAdd                    = 56, 64, 72
	gradCursors, gradWeights, gradDY          = 80, 80, 88
)

// Offsets in Span.
const spanLo, spanHi, spanRows, spanBytes = 0, 4, 8, 12

// cursors copies the first n pointers of a task to the fields that move.
func cursors(t gp, to, n int) {
	x := GP64()
	for i := range n {
		MOVQ(at(t, 8*i), x)
		MOVQ(x, at(t, to+8*i))
	}
}

// tiles are the heights of register tiles that are the given number of vectors wide, tallest first.
func (m *machine) tiles(vectors int) []int {
	switch {
	case m.wide && vectors == 1:
		return []int{16, 8, 7, 6, 5, 4, 3, 2, 1}
	case m.wide:
		return []int{8, 7, 6, 5, 4, 3, 2, 1}
	case vectors == 2:
		return []int{6, 3, 2, 1}
	}
	return []int{3, 2, 1}
}

func tileName(n int) string { return fmt.Sprintf("rows%d", n) }

// split jumps to the tile for the rows that are left; one row falls through.
func (m *machine) split(rows gp, tiles []int, vectors int) {
	name := tileName
	if m.wide {
		for _, n := range tiles[:len(tiles)-1] {
			CMPQ(rows, Imm(uint64(n)))
			JGE(LabelRef(name(n)))
		}
		return
	}
	if vectors == 2 {
		CMPQ(rows, Imm(6))
		JGE(LabelRef(name(6)))
	}
	CMPQ(rows, Imm(4)) // 4 = 2 + 2
	JG(LabelRef(name(3)))
	JE(LabelRef(name(2)))
	CMPQ(rows, Imm(2))
	JG(LabelRef(name(3)))
	JE(LabelRef(name(2)))
}

// rowsOf addresses rows at a distance that is only known in a register, with a base for every four rows.
type rowsOf struct {
	bases  []gp
	d1, d3 gp
}

func newRows(n int, a, distance gp) rowsOf {
	r := rowsOf{bases: []gp{a}, d1: distance}
	if n > 3 {
		r.d3 = GP64()
		LEAQ(Mem{Base: distance, Index: distance, Scale: 2}, r.d3)
	}
	for i := 4; i < n; i += 4 {
		b := GP64()
		LEAQ(Mem{Base: r.bases[len(r.bases)-1], Index: distance, Scale: 4}, b)
		r.bases = append(r.bases, b)
	}
	return r
}

func (r rowsOf) at(i int) Mem {
	m := Mem{Base: r.bases[i/4]}
	switch i % 4 {
	case 1:
		m.Index, m.Scale = r.d1, 1
	case 2:
		m.Index, m.Scale = r.d1, 2
	case 3:
		m.Index, m.Scale = r.d3, 1
	}
	return m
}

// outer adds to acc the outer product of one number a row and the vectors at b.
func (m *machine) outer(acc [][]vector, row func(i int) Mem, b func(j int) Mem) {
	if m.wide && len(acc[0]) == 1 {
		bv := m.load(b(0))
		for i := range acc {
			VFMADD231PS_BCST(row(i), bv, acc[i][0])
		}
		return
	}
	if m.wide || len(acc) > len(acc[0]) { // whichever needs fewer registers
		var bv []vector
		for j := range acc[0] {
			bv = append(bv, m.load(b(j)))
		}
		for i := range acc {
			t := m.vec()
			VBROADCASTSS(row(i), t)
			for j := range bv {
				VFMADD231PS(t, bv[j], acc[i][j])
			}
		}
		return
	}
	t := m.vecs(len(acc))
	for i := range acc {
		VBROADCASTSS(row(i), t[i])
	}
	for j := range acc[0] {
		bv := m.load(b(j))
		for i := range acc {
			VFMADD231PS(t[i], bv, acc[i][j])
		}
	}
}

func (m *machine) accumulators(rows, vectors int) [][]vector {
	acc := make([][]vector, rows)
	for i := range acc {
		acc[i] = m.vecs(vectors)
	}
	return acc
}

// product emits the matrix product of one panel: c = epilogue(a·b) for all m rows, those of a span (or, without spans, all of them)
// at a time, in register tiles over its 32 lanes, or over the first 16, where the others become 0.
func (m *machine) product(lanes int) {
	m.text(map[int]string{32: "mul", 16: "mulHalf"}[lanes], "func(task *byte)")
	m.products(lanes, inner{m.accumulators, m.outer})
}

// An inner part of a product has its accumulators, and adds to them the outer product of one element a row and the vectors at b.
type inner struct {
	accumulators func(rows, vectors int) [][]vector
	add          func(acc [][]vector, row func(i int) Mem, b func(j int) Mem)
}

func (m *machine) products(lanes int, in inner) {
	vectors := lanes / m.width
	tiles := m.tiles(vectors)
	if tiles[0] > 8 { // rows at distances that only registers know
		tiles = tiles[1:]
	}
	t := arg("task")
	cursors(t, mulCursors, 5)
	rows := GP64() // left in this block
	Label("block")
	MOVQ(at(t, mulM), rows)
	spans := GP64()
	MOVQ(at(t, mulSpans), spans)
	TESTQ(spans, spans)
	JZ(LabelRef("tile"))
	MOVLQSX(at(spans, spanRows), rows)
	lo, hi := GP64(), GP64()
	MOVLQSX(at(spans, spanLo), lo)
	MOVLQSX(at(spans, spanHi), hi)
	CMPQ(hi, lo)
	JL(LabelRef("leave"))
	Label("tile")
	m.split(rows, tiles, vectors)
	for _, n := range slices.Backward(tiles) {
		Label(tileName(n))
		m.mulTile(t, rows, n, vectors, in)
	}
	Label("blockDone")
	MOVQ(at(t, mulSpans), spans)
	TESTQ(spans, spans)
	JZ(LabelRef("done"))
	ADDQ(Imm(spanBytes), at(t, mulSpans))
	CMPQ(at(t, mulM), Imm(0))
	JG(LabelRef("block"))
	Label("done")
	m.end()

	Label("leave")
	SUBQ(rows, at(t, mulM))
	skip := func(cursor int, perRow func(rows gp)) {
		n, none := GP64(), label("none")
		CMPQ(at(t, cursor), Imm(0))
		JE(LabelRef(none))
		MOVQ(rows, n)
		perRow(n)
		ADDQ(n, at(t, cursor))
		Label(none)
	}
	skip(mulA, func(n gp) { IMULQ(at(t, mulRS), n) })
	skip(mulBias, func(n gp) { SHLQ(Imm(2), n) })
	for _, cursor := range []int{mulC, mulGate} {
		skip(cursor, func(n gp) { SHLQ(Imm(7), n) })
	}
	JMP(LabelRef("blockDone"))
}

func (m *machine) mulTile(t, rows gp, n, nv int, in inner) {
	acc := in.accumulators(n, nv)
	a, b, k, cs := GP64(), GP64(), GP64(), GP64()
	MOVQ(at(t, mulA), a)
	MOVQ(at(t, mulB), b)
	MOVQ(at(t, mulK), k)
	MOVQ(at(t, mulCS), cs)
	ready := label("ready")
	spans := GP64()
	MOVQ(at(t, mulSpans), spans)
	TESTQ(spans, spans)
	JZ(LabelRef(ready))
	lo := GP64()
	MOVLQSX(at(spans, spanLo), lo)
	MOVLQSX(at(spans, spanHi), k)
	SUBQ(lo, k)
	skip := GP64()
	MOVQ(lo, skip)
	IMULQ(cs, skip)
	ADDQ(skip, a)
	SHLQ(Imm(7), lo)
	ADDQ(lo, b)
	Label(ready)

	bias, zero, add, start := GP64(), label("zero"), label("add"), label("start")
	MOVQ(at(t, mulBias), bias)
	TESTQ(bias, bias)
	JZ(LabelRef(zero))
	for i := range acc {
		VBROADCASTSS(at(bias, 4*i), acc[i][0])
		for _, v := range acc[i][1:] {
			VMOVAPS(acc[i][0], v)
		}
	}
	ADDQ(Imm(uint64(4*n)), at(t, mulBias))
	JMP(LabelRef(add))
	Label(zero)
	for i := range acc {
		for _, v := range acc[i] {
			VXORPS(v, v, v)
		}
	}
	Label(add)
	flags, c := GP64(), GP64()
	MOVQ(at(t, mulFlags), flags)
	MOVQ(at(t, mulC), c)
	TESTQ(U32(1), flags)
	JZ(LabelRef(start))
	for i := range acc {
		for j, v := range acc[i] {
			VADDPS(at(c, 128*i+m.bytes()*j), v, v)
		}
	}
	Label(start)

	rs := GP64()
	MOVQ(at(t, mulRS), rs)
	ra := newRows(n, a, rs)
	times(k, func() {
		in.add(acc, ra.at, func(j int) Mem { return at(b, m.bytes()*j) })
		advance(128, b)
		for _, p := range ra.bases {
			ADDQ(cs, p)
		}
	})

	gate, store, gated := GP64(), label("store"), label("gated")
	MOVQ(at(t, mulFlags), flags)
	MOVQ(at(t, mulC), c)
	TESTQ(U32(2), flags)
	JZ(LabelRef(gated))
	z := m.zero()
	for i := range acc {
		for _, v := range acc[i] {
			VMAXPS(v, z, v)
		}
	}
	Label(gated)
	MOVQ(at(t, mulGate), gate)
	TESTQ(gate, gate)
	JZ(LabelRef(store))
	z = m.zero()
	for i := range acc {
		for j, v := range acc[i] {
			if m.wide {
				k := K()
				VCMPPS(Imm(lessThan), at(gate, 128*i+m.bytes()*j), z, k)
				VMOVAPS_Z(v, k, v)
			} else {
				h := m.vec()
				VCMPPS(Imm(lessThan), at(gate, 128*i+m.bytes()*j), z, h)
				VANDPS(h, v, v)
			}
		}
	}
	ADDQ(U32(uint32(128*n)), at(t, mulGate))
	Label(store)
	for i := range acc {
		for j, v := range acc[i] {
			VMOVUPS(v, at(c, 128*i+m.bytes()*j))
		}
	}
	if nv < m.vectors() {
		z = m.zero()
		for i := range acc {
			for j := nv; j < m.vectors(); j++ {
				VMOVUPS(z, at(c, 128*i+m.bytes()*j))
			}
		}
	}
	ADDQ(U32(uint32(128*n)), at(t, mulC))
	IMUL3Q(Imm(uint64(n)), rs, rs)
	ADDQ(rs, at(t, mulA))
	SUBQ(Imm(uint64(n)), at(t, mulM))
	SUBQ(Imm(uint64(n)), rows)
	JG(LabelRef("tile"))
	JMP(LabelRef("blockDone"))
}

// weightGradient emits w[m][columns] = Σ dy·xt, or += if the task says so, for columns = 16 or 32.
func (m *machine) weightGradient(columns int) {
	name := map[int]string{16: "gradHalf", 32: "gradFull"}[columns]
	m.text(name, "func(task *byte)")
	t := arg("task")
	cursors(t, gradCursors, 2)
	rows := GP64()
	MOVQ(at(t, gradM), rows)
	Label("tile")
	m.split(rows, m.tiles(columns/m.width), columns/m.width)
	for _, n := range slices.Backward(m.tiles(columns / m.width)) {
		Label(tileName(n))
		m.gradTile(t, rows, n, columns)
	}
	Label("done")
	m.end()
}

func (m *machine) gradTile(t, rows gp, n, columns int) {
	nv := columns / m.width
	acc := m.accumulators(n, nv)
	for i := range acc {
		for _, v := range acc[i] {
			VXORPS(v, v, v)
		}
	}
	w, ld := GP64(), GP64()
	MOVQ(at(t, gradWeights), w)
	MOVQ(at(t, gradLD), ld)
	for range acc { // the weights' gradients are far away, and wanted at the end
		for j := 0; j < 4*columns; j += 64 {
			PREFETCHT0(at(w, j))
		}
		ADDQ(ld, w)
	}
	dy, xt, ldx, np := GP64(), GP64(), GP64(), GP64()
	MOVQ(at(t, gradDY), dy)
	MOVQ(at(t, gradXT), xt)
	MOVQ(at(t, gradLDX), ldx)
	MOVQ(at(t, gradNP), np)
	times(np, func() {
		d, x, e := GP64(), GP64(), GP64()
		MOVQ(dy, d)
		MOVQ(xt, x)
		MOVQ(U32(32), e)
		top := label("lane")
		Label(top)
		m.outer(acc, func(i int) Mem { return at(d, 128*i) }, func(j int) Mem { return at(x, m.bytes()*j) })
		ADDQ(ldx, x)
		ADDQ(Imm(4), d)
		DECQ(e)
		JNZ(LabelRef(top))
		ADDQ(at(t, gradDYP), dy)
		ADDQ(at(t, gradXTP), xt)
	})
	MOVQ(at(t, gradWeights), w)
	MOVQ(at(t, gradLD), ld)
	rowsOfGradient := func(each func(v vector, at Mem)) {
		for i := range acc {
			for j, v := range acc[i] {
				each(v, at(w, m.bytes()*j))
			}
			ADDQ(ld, w)
		}
	}
	add, stored := label("add"), label("stored")
	CMPQ(at(t, gradAdd), Imm(0))
	JNE(LabelRef(add))
	rowsOfGradient(func(v vector, at Mem) { VMOVUPS(v, at) })
	JMP(LabelRef(stored))
	Label(add)
	rowsOfGradient(func(v vector, at Mem) {
		VADDPS(at, v, v)
		VMOVUPS(v, at)
	})
	Label(stored)
	MOVQ(w, at(t, gradWeights))
	ADDQ(U32(uint32(128*n)), at(t, gradDY))
	SUBQ(Imm(uint64(n)), rows)
	JG(LabelRef("tile"))
	JMP(LabelRef("done"))
}

// transpose emits dst[e][0..16) = src[0..16)[e] for the 32 lanes of a panel; of the 16 rows only the first rows exist, the others are 0.
func (m *machine) transpose() {
	m.text("transpose16", "func(dst *float32, ld int, src *float32, rows int)")
	dst, ld, src, rows := arg("dst"), arg("ld"), arg("src"), arg("rows")
	if m.wide {
		for half := range 2 {
			r := m.loadRows(src, rows, 16, 64*half)
			m.transpose16(r, func(i int, v vector) {
				VMOVUPS(v, at(dst, 0))
				ADDQ(ld, dst)
			})
		}
		m.end()
		return
	}
	for u := range 2 {
		p := GP64()
		LEAQ(at(dst, 32*u), p)
		q := GP64()
		LEAQ(at(src, 1024*u), q)
		quarter := GP64()
		MOVQ(U32(4), quarter)
		times(quarter, func() {
			m.transpose8(m.loadRows(q, rows, 8, 0), func(i int, v vector) {
				VMOVUPS(v, at(p, 0))
				ADDQ(ld, p)
			})
			advance(32, q)
		})
		SUBQ(Imm(8), rows)
	}
	m.end()
}

// loadRows loads a vector of each of n rows of a panel, zero for those beyond the rows that there are.
func (m *machine) loadRows(src, rows gp, n, disp int) []vector {
	r := m.vecs(n)
	out := label("loaded")
	for _, v := range r {
		VXORPS(v, v, v)
	}
	for i, v := range r {
		CMPQ(rows, Imm(uint64(i)))
		JLE(LabelRef(out))
		VMOVUPS(at(src, 128*i+disp), v)
	}
	Label(out)
	return r
}

func (m *machine) transpose16(r []vector, store func(i int, v vector)) {
	t := m.vecs(16)
	for i := 0; i < 16; i += 2 {
		VUNPCKLPS(r[i+1], r[i], t[i])
		VUNPCKHPS(r[i+1], r[i], t[i+1])
	}
	u := m.vecs(16) // u[4g+c]: 128-bit lane l holds column 4l+c of rows 4g to 4g+3
	for i := 0; i < 16; i += 4 {
		VUNPCKLPD(t[i+2], t[i], u[i])
		VUNPCKHPD(t[i+2], t[i], u[i+1])
		VUNPCKLPD(t[i+3], t[i+1], u[i+2])
		VUNPCKHPD(t[i+3], t[i+1], u[i+3])
	}
	v := m.vecs(16)
	for c := range 4 {
		VSHUFF32X4(Imm(0x88), u[4+c], u[c], v[4*c])
		VSHUFF32X4(Imm(0xdd), u[4+c], u[c], v[4*c+1])
		VSHUFF32X4(Imm(0x88), u[12+c], u[8+c], v[4*c+2])
		VSHUFF32X4(Imm(0xdd), u[12+c], u[8+c], v[4*c+3])
	}
	w := m.vecs(16)
	for c := range 4 {
		VSHUFF32X4(Imm(0x88), v[4*c+2], v[4*c], w[c])
		VSHUFF32X4(Imm(0x88), v[4*c+3], v[4*c+1], w[4+c])
		VSHUFF32X4(Imm(0xdd), v[4*c+2], v[4*c], w[8+c])
		VSHUFF32X4(Imm(0xdd), v[4*c+3], v[4*c+1], w[12+c])
	}
	for i := range w {
		store(i, w[i])
	}
}

func (m *machine) transpose8(r []vector, store func(i int, v vector)) {
	t := m.vecs(8)
	for i := 0; i < 8; i += 2 {
		VUNPCKLPS(r[i+1], r[i], t[i])
		VUNPCKHPS(r[i+1], r[i], t[i+1])
	}
	u := m.vecs(8) // u[4g+c]: 128-bit lane l holds column 4l+c of rows 4g to 4g+3
	for i := 0; i < 8; i += 4 {
		VUNPCKLPD(t[i+2], t[i], u[i])
		VUNPCKHPD(t[i+2], t[i], u[i+1])
		VUNPCKLPD(t[i+3], t[i+1], u[i+2])
		VUNPCKHPD(t[i+3], t[i+1], u[i+3])
	}
	w := m.vecs(8)
	for c := range 4 {
		VPERM2F128(Imm(0x20), u[4+c], u[c], w[c])
		VPERM2F128(Imm(0x31), u[4+c], u[c], w[4+c])
	}
	for i := range w {
		store(i, w[i])
	}
}

// rowSum emits dst[u] += Σ_p Σ_e src[p][u][e] for as many groups of width rows; the sums of a group are folded together.
func (m *machine) rowSum() {
	m.text("rowSum", "func(dst, src *float32, stride, groups, np int)")
	dst, src, stride, groups, np := arg("dst"), arg("src"), arg("stride"), arg("groups"), arg("np")
	times(groups, func() {
		m.sumGroup(dst, src, stride, np)
		advance(128*m.width, src)
		advance(m.bytes(), dst)
	})
	m.end()
}

func (m *machine) sumGroup(dst, src, stride, np gp) {
	acc := m.vecs(m.width)
	for _, v := range acc {
		VXORPS(v, v, v)
	}
	p, n := GP64(), GP64()
	MOVQ(src, p)
	MOVQ(np, n)
	times(n, func() {
		for i, v := range acc {
			for j := range m.vectors() {
				VADDPS(at(p, 128*i+m.bytes()*j), v, v)
			}
		}
		ADDQ(stride, p)
	})
	sum := m.fold(acc)
	VADDPS(at(dst, 0), sum, sum)
	VMOVUPS(sum, at(dst, 0))
}

// fold returns the sums of as many vectors as one has lanes, lane i the sum of vector i.
func (m *machine) fold(v []vector) vector {
	pairs := func(v []vector) []vector { // 128-bit lanes: sums of pairs, then of fours
		var s []vector
		for i := 0; i < len(v); i += 2 {
			lo, hi := m.vec(), m.vec()
			VUNPCKLPS(v[i+1], v[i], lo)
			VUNPCKHPS(v[i+1], v[i], hi)
			VADDPS(lo, hi, lo)
			s = append(s, lo)
		}
		var q []vector
		for i := 0; i < len(s); i += 2 {
			lo, hi := m.vec(), m.vec()
			VUNPCKLPD(s[i+1], s[i], lo)
			VUNPCKHPD(s[i+1], s[i], hi)
			VADDPS(lo, hi, lo)
			q = append(q, lo)
		}
		return q
	}
	q := pairs(v) // q[g]: in every 128-bit lane partial sums of vectors 4g to 4g+3
	if !m.wide {
		lo, hi := m.vec(), m.vec()
		VPERM2F128(Imm(0x20), q[1], q[0], lo)
		VPERM2F128(Imm(0x31), q[1], q[0], hi)
		VADDPS(lo, hi, lo)
		return lo
	}
	half := func(a, b vector) vector {
		lo, hi := m.vec(), m.vec()
		VSHUFF32X4(Imm(0x88), b, a, lo)
		VSHUFF32X4(Imm(0xdd), b, a, hi)
		VADDPS(lo, hi, lo)
		return lo
	}
	return half(half(q[0], q[1]), half(q[2], q[3]))
}
