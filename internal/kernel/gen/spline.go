package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
)

// A spline is one variant of the rational-quadratic spline kernels: with a fixed number of bins everything is unrolled (and on AVX-512
// the exponentials and masks stay in registers), with 0 the number is only known at run time and loops run over the bins.
//
// All kernels work on one panel of n features; the steps are the bytes from one feature's rows to the next one's (where nothing is kept
// saveStep says whether the log-determinant is wanted). In units of the interval, with e_j the exponentials of the softened parameters and S
// their sum, a knot is at Σ_{i<j} e_i/S. The kernels first place the argument t, scaled by S, among the sums of e_j.
type spline struct {
	*machine
	name     string
	fixed    int
	circular bool
	late     bool // theta has no slopes: the two that an event needs are computed here

	x, y, ladj, theta, save, scratch, c gp
	bins                                gp  // at run time
	at                                  int // of the vector at hand: its distance in bytes from the pointers
	ge                                  []mask
	bin, index                          vector
	e                                   []vector
}

// Rows of save after the 2·bins products of exponentials e_j and derivatives (r_j·log2 e)² of the soft bounds.
const (
	saveZ = iota
	saveS
	saveD0
	saveD1
	saveWidths  // 1/S of the widths
	saveHeights // 1/S of the heights
	saveC       // Σ_{i<bin} of the widths
	saveE       // e_bin of the widths
	saveYC
	saveH
	saveBin
	saveInside
	saveR0
	saveR1
)

// Constants at c, the order of splineConstants in spline_amd64.go.
const (
	boundOf = 4 * iota
	minusBound
	twiceBound
	inverseTwiceBound
	lastBin
	binsOf
)

// rowsAt are rows at a distance from a pointer; when bins are looped over, cur is where the loop is.
type rowsAt struct {
	base        gp
	shift, step int
	cur         gp
}

func (s *spline) row(base gp) *rowsAt    { return &rowsAt{base: base, shift: s.at, step: 128} }
func (s *spline) kept() *rowsAt          { return &rowsAt{base: s.scratch, step: s.bytes()} }
func (s *spline) mem(p gp) Mem           { return at(p, s.at) }
func (s *spline) unrolled() bool         { return s.fixed > 0 }
func (s *spline) inRegisters() bool      { return s.fixed > 0 && s.wide }
func (s *spline) constant(d int) vector  { x := s.vec(); VBROADCASTSS(at(s.c, d), x); return x }
func (s *spline) pointer(p gp, n int) gp { return s.offset(p, n, 0) }

// offset is the pointer to row n·bins + extra after p.
func (s *spline) offset(p gp, n, extra int) gp {
	q := GP64()
	if s.unrolled() {
		LEAQ(at(p, 128*(n*s.fixed+extra)), q)
		return q
	}
	MOVQ(s.bins, q)
	SHLQ(Imm(7), q)
	if n == 2 {
		ADDQ(q, q)
	}
	ADDQ(p, q)
	advanceBy(q, 128*extra)
	return q
}

func advanceBy(q gp, d int) {
	if d != 0 {
		LEAQ(at(q, d), q)
	}
}

func (r *rowsAt) at(j int) Mem {
	if r.cur != nil {
		return at(r.cur, 0)
	}
	return at(r.base, r.shift+r.step*j)
}

// each runs the body for the bins from first to the last but less; j is the bin where it is known.
func (s *spline) each(first, less int, rows []*rowsAt, body func(j int)) {
	if s.unrolled() {
		for j := first; j < s.fixed-less; j++ {
			body(j)
		}
		return
	}
	for _, r := range rows {
		r.cur = GP64()
		LEAQ(at(r.base, r.shift+r.step*first), r.cur)
	}
	s.index = s.set(float64(first))
	n := GP64()
	MOVQ(s.bins, n)
	if d := first + less; d > 0 {
		SUBQ(Imm(uint64(d)), n)
	}
	times(n, func() {
		body(-1)
		s.machine.add(1, s.index, s.index)
		for _, r := range rows {
			advance(r.step, r.cur)
		}
	})
	for _, r := range rows {
		r.cur = nil
	}
}

// above selects the lanes whose bin is at least j + d.
func (s *spline) above(j, d int) mask {
	if s.inRegisters() && s.ge != nil {
		return s.ge[j+d]
	}
	if s.unrolled() {
		return s.compareTo(greaterOrEqual, s.bin, float64(j+d))
	}
	if d == 0 {
		return s.compare(greaterOrEqual, s.bin, s.index)
	}
	i := s.vec()
	s.machine.add(float64(d), s.index, i)
	return s.compare(greaterOrEqual, s.bin, i)
}

func (s *spline) is(bin vector, j, d int) mask {
	if s.unrolled() {
		return s.compareTo(equal, bin, float64(j+d))
	}
	if d == 0 {
		return s.compare(equal, bin, s.index)
	}
	i := s.vec()
	s.machine.add(float64(d), s.index, i)
	return s.compare(equal, bin, i)
}

// 2^x on [−½, ½], relative error 8e-8.
var exp2Poly = []float64{0.0013276460671089669, 0.009675552865492645, 0.05550713394983795, 0.24022119511349285, 0.6931469669359984, 1}

// Adding toInteger leaves a small number rounded in the low bits.
const toInteger = 3 << 22

// exponential reads a raw width or height x and returns e_j = e^(x·r), r = 1/(1+|x|·widthInv); with save it keeps e_j·(r·log2 e)²,
// where r² is the derivative of the soft bound. The factor log2 e comes with the reciprocal, so that e_j is 2^(x·r·log2 e).
func (s *spline) exponential(j int, theta, save *rowsAt) vector {
	x := s.load(theta.at(j))
	a, r, p := s.abs(x), s.vec(), s.set(2)
	s.horner(1/log2e, s.set(widthInv/log2e), a)
	if s.wide {
		VRCP14PS(a, r)
	} else {
		VRCPPS(a, r)
	}
	VFNMADD231PS(a, r, p) // one Newton step
	VMULPS(p, r, r)
	VMULPS(r, x, x)
	n := s.vec()
	if s.wide {
		s.round(x, n)
		VSUBPS(n, x, x)
	} else {
		whole := s.vec()
		s.machine.add(toInteger, x, n)
		s.sub(toInteger, n, whole)
		VSUBPS(whole, x, x)
	}
	VBROADCASTSS(s.machine.c(exp2Poly[0]), p)
	for _, c := range exp2Poly[1:] {
		s.horner(c, x, p)
	}
	if s.wide {
		VSCALEFPS(n, p, p)
	} else {
		VPSLLD(Imm(23), n, n)
		VPADDD(n, p, p)
	}
	if save != nil {
		VMULPS(r, r, r)
		VMULPS(p, r, r)
		VMOVUPS(r, save.at(j))
	}
	return p
}

// search places v, scaled from the interval to the sum of the exponentials, among these: t, Σ_{i<bin} e_i, e_bin, S. It leaves the masks or, where they are not
// in registers or something is kept, s.bin.
func (s *spline) search(v vector, theta, save *rowsAt) (t, c, e, sum vector) {
	sum = s.zero()
	kept := s.kept()
	rows := []*rowsAt{theta, kept}
	if save != nil {
		rows = append(rows, save)
	}
	s.e = nil
	s.each(0, 0, rows, func(j int) {
		x := s.exponential(j, theta, save)
		VADDPS(x, sum, sum)
		if s.inRegisters() {
			s.e = append(s.e, x)
		} else {
			VMOVUPS(x, kept.at(j))
		}
	})
	t = v
	VMINPS(t, s.constant(boundOf), t)
	VMAXPS(t, s.constant(minusBound), t)
	VADDPS(s.constant(boundOf), t, t)
	VMULPS(s.constant(inverseTwiceBound), t, t)
	VMULPS(sum, t, t)

	at := func(j int) vector {
		if s.inRegisters() {
			return s.e[j]
		}
		return s.load(kept.at(j))
	}
	s.bin, c, e = s.zero(), s.zero(), s.copy(at(0))
	total := s.copy(e)
	s.ge = make([]mask, s.fixed+1)
	s.each(1, 0, []*rowsAt{kept}, func(j int) {
		x := at(j)
		k := s.compare(greaterThan, t, total)
		s.merge(k, total, c)
		s.merge(k, x, e)
		VADDPS(x, total, total)
		switch {
		case s.inRegisters() && save == nil && !s.late:
		case s.wide:
			VADDPS_BCST(s.machine.c(1), s.bin, k.k, s.bin)
		default:
			one := s.vec()
			VANDPS(s.machine.c(1), k.v, one)
			VADDPS(one, s.bin, s.bin)
		}
		if s.inRegisters() {
			s.ge[j] = k
		}
	})
	return t, c, e, sum
}

// pick returns Σ_{i<bin} e_i, e_bin and S of the other coordinate's parameters.
func (s *spline) pick(theta, save *rowsAt) (c, e, sum vector) {
	c, e, sum = s.zero(), s.vec(), s.zero()
	rows := []*rowsAt{theta}
	if save != nil {
		rows = append(rows, save)
	}
	if !s.unrolled() {
		VXORPS(e, e, e)
	}
	s.each(0, 0, rows, func(j int) {
		x := s.exponential(j, theta, save)
		if j == 0 {
			VMOVAPS(x, e)
			VMOVAPS(x, sum)
			return
		}
		k := s.above(j, 0)
		s.merge(k, sum, c)
		s.merge(k, x, e)
		VADDPS(x, sum, sum)
	})
	return
}

// slopes returns the raw slope parameters at the two ends of the bin; 0 stands for the fixed slope 1 at the ends of the interval.
func (s *spline) slopes(theta *rowsAt) (d0, d1 vector) {
	d0, d1 = s.zero(), s.zero()
	last := func(v vector) {
		if s.inRegisters() {
			s.merge(s.ge[s.fixed-1], v, d1)
		} else {
			s.merge(s.compare(greaterOrEqual, s.bin, s.constant(lastBin)), v, d1)
		}
	}
	if s.circular {
		s.each(0, 0, []*rowsAt{theta}, func(j int) {
			v := s.load(theta.at(j))
			s.merge(s.above(j, 0), v, d0)
			s.merge(s.above(j, -1), v, d1)
		})
		last(s.load(theta.at(0)))
		return
	}
	s.each(0, 1, []*rowsAt{theta}, func(j int) {
		v := s.load(theta.at(j))
		if j == 0 {
			VMOVAPS(v, d1)
		} else {
			s.merge(s.above(j, 0), v, d1)
		}
		s.merge(s.above(j, 1), v, d0)
	})
	last(s.zero())
	return
}

func (s *spline) text(what, signature string) {
	if s.late {
		signature += ", hidden, table *float32, tableStep int, uses *int32"
	}
	s.machine.text(s.name+what, "func(bins, n int, c, scratch *float32, thetaStep, saveStep int, "+signature+")")
}

// begin loads the parameters that all kernels have.
func (s *spline) begin() {
	s.c, s.theta = arg("c"), arg("theta")
	if !s.inRegisters() {
		s.scratch = arg("scratch")
	}
	if !s.unrolled() {
		s.bins = arg("bins")
	}
	s.ge = nil
}

func paramAddress(name string) Mem {
	b, err := Param(name).Resolve()
	if err != nil {
		panic(err)
	}
	return b.Addr
}

// features runs the body for the vectors of all features, the given number of them at a time, moving the pointers on.
func (s *spline) features(together int, body func(), across []gp) {
	none := label("none")
	CMPQ(paramAddress("n"), Imm(0))
	JLE(LabelRef(none))
	Label("feature")
	left := GP64()
	MOVQ(U32(uint32(s.vectors()/together)), left)
	Label("vector")
	body()
	ps := append([]gp{s.theta}, across...)
	if s.save != nil {
		ps = append(ps, s.save)
	}
	if s.ladj != nil {
		ps = append(ps, s.ladj)
	}
	advance(together*s.bytes(), ps...)
	DECQ(left)
	JNZ(LabelRef("vector"))
	ADDQ(paramAddress("thetaStep"), s.theta)
	if s.save != nil {
		ADDQ(paramAddress("saveStep"), s.save)
	}
	if s.ladj != nil {
		SUBQ(U32(128), s.ladj)
	}
	if s.late {
		step := GP64()
		MOVQ(paramAddress("tableStep"), step)
		ADDQ(step, paramAddress("table"))
		ADDQ(Imm(4), paramAddress("uses"))
	}
	DECQ(paramAddress("n"))
	JNZ(LabelRef("feature"))
	Label(none)
	s.end()
}

// side is how many vectors a map is computed for side by side: what follows the search is one long chain, so that one would wait for itself.
func (s *spline) side() int {
	if s.wide {
		return 2
	}
	return 1
}

// a piece is the spline on the bin of a vector, as far as it is known. In the order of the steps that use them: the fraction z of the bin (or, for the inverse,
// the height t above its lower knot); 1/width or h/w; sums of the exponentials or their reciprocals; lower knots and sizes of the bin in units of these;
// raw or real slopes at its ends.
type piece struct {
	at                   int
	z, slope, sum, sumH  vector
	xc, w, yc, h, d0, d1 vector
	i0, i1               vector // of late slopes: their places in a row of the table
	rden, height, p      vector // of curve
}

// pieces makes the pieces that are computed side by side.
func (s *spline) pieces() []*piece {
	all := make([]*piece, s.side())
	for k := range all {
		all[k] = &piece{at: k * s.bytes()}
	}
	return all
}

// steps computes pieces side by side, step by step; masks do not go from one step to the next.
func (s *spline) steps(all []*piece, list ...func(p *piece)) {
	for _, step := range list {
		for _, p := range all {
			s.at = p.at
			step(p)
		}
	}
	s.at = 0
}

// unlessZero emits the body to be run unless a parameter is 0.
func (s *spline) unlessZero(name string, body func()) {
	skip := label(name)
	CMPQ(paramAddress(name), Imm(0))
	JE(LabelRef(skip))
	body()
	Label(skip)
}

// ends are the raw slopes at the two ends of the bin of a piece.
func (s *spline) ends(p *piece) {
	if !s.late {
		p.d0, p.d1 = s.slopes(s.row(s.pointer(s.theta, 2)))
		return
	}
	p.i0 = s.vec()
	VCVTPS2DQ(s.bin, p.i0)
}

// lateSlopes sums the raw slopes at the ends of the bins. The first row of the table has the biases of those at the knots 0 to 7, the others their weights of one
// hidden unit each, all of them 0 at the first knot; a row stands in both halves of a vector, so that the last knot finds that 0 as well.
func (s *spline) lateSlopes(all []*piece) {
	if !s.late {
		return
	}
	n, hidden, table := GP64(), GP64(), GP64()
	MOVQ(paramAddress("uses"), n)
	MOVLQSX(at(n, 0), n)
	MOVQ(paramAddress("hidden"), hidden)
	MOVQ(paramAddress("table"), table)
	next := func() vector {
		row := s.vec()
		VBROADCASTF64X4(at(table, 0), row)
		advance(32, table)
		return row
	}
	biases := next()
	for _, p := range all {
		p.i1, p.d0, p.d1 = s.vec(), s.vec(), s.vec()
		VPADDD_BCST(s.bits(1), p.i0, p.i1)
		VPERMPS(biases, p.i0, p.d0)
		VPERMPS(biases, p.i1, p.d1)
	}
	times(n, func() {
		row := next()
		for _, p := range all {
			h := s.load(at(hidden, p.at))
			for _, end := range []struct{ i, d vector }{{p.i0, p.d0}, {p.i1, p.d1}} {
				w := s.vec()
				VPERMPS(row, end.i, w)
				VFMADD231PS(h, w, end.d)
			}
		}
		advance(128, hidden)
	})
}

// slopeTable emits the weights in the table of late slopes: dst[k][0] = 0 and dst[k][i] = w[(i−1)·ld + k] for i from 1 to 7, in blocks of 16 k.
func (m *machine) slopeTable() {
	m.text("slopeTable", "func(dst, w *float32, ld, blocks int)")
	dst, w, ld, blocks := arg("dst"), arg("w"), arg("ld"), arg("blocks")
	rows := newRows(7, w, ld)
	times(blocks, func() {
		r := []vector{m.zero()}
		for i := range 7 {
			r = append(r, m.load(rows.at(i)))
		}
		t, u := m.vecs(8), m.vecs(8)
		for i := 0; i < 8; i += 2 {
			VUNPCKLPS(r[i+1], r[i], t[i])
			VUNPCKHPS(r[i+1], r[i], t[i+1])
		}
		for i := 0; i < 8; i += 4 { // u[i+c]: 128-bit lane l holds column 4l+c of rows i to i+3
			VUNPCKLPD(t[i+2], t[i], u[i])
			VUNPCKHPD(t[i+2], t[i], u[i+1])
			VUNPCKLPD(t[i+3], t[i+1], u[i+2])
			VUNPCKHPD(t[i+3], t[i+1], u[i+3])
		}
		for i, v := range u {
			for l := range 4 {
				VEXTRACTF32X4(Imm(uint64(l)), v, at(dst, 32*(4*l+i%4)+16*(i/4)))
			}
		}
		for _, p := range rows.bases {
			advance(64, p)
		}
		advance(32*16, dst)
	})
	m.end()
}

// reciprocals returns 1/a and 1/b with one division; both are lost.
func (s *spline) reciprocals(a, b vector) (ra, rb vector) {
	q, p := s.set(1), s.vec()
	VMULPS(a, b, p)
	VDIVPS(p, q, q)
	VMULPS(q, a, a)
	VMULPS(q, b, b)
	return b, a
}

// softenBoth is soften of two raw slopes.
func (s *spline) softenBoth(x, y vector) (rx, ry vector) {
	a, b := s.abs(x), s.abs(y)
	for _, v := range []vector{a, b} {
		s.mul(affineInv, v, v)
		s.machine.add(1, v, v)
	}
	rx, ry = s.reciprocals(a, b)
	VMULPS(rx, x, x)
	VMULPS(ry, y, y)
	return
}

// curve evaluates the spline on its bin at z: the reciprocal denominator, r = num·rden (the height within the bin) and the
// numerator p of the slope s²·p·rden².
func (s *spline) curve(z, slope, d0, d1 vector) (rden, r, p vector) {
	one := s.set(1)
	u, z2, q := s.vec(), s.vec(), s.vec()
	VSUBPS(z, one, q)
	VMULPS(q, z, u)
	VMULPS(z, z, z2)
	VMULPS(q, q, q)
	rden = s.vec()
	VADDPS(d0, d1, rden)
	s.fms(2, slope, rden)
	VFMADD213PS(slope, u, rden)
	VDIVPS(rden, one, rden)
	r, p = s.vec(), s.vec()
	VMULPS(u, slope, p)
	VADDPS(p, p, p)
	VFMADD231PS(q, d0, p)
	VFMADD231PS(z2, d1, p)
	VMULPS(z2, slope, r)
	VFMADD231PS(u, d0, r)
	VMULPS(rden, r, r)
	return
}

// logSlope is ln(s²·p·rden²); all three are lost.
func (s *spline) logSlope(slope, rden, p vector) vector {
	VMULPS(slope, rden, rden)
	VMULPS(rden, rden, rden)
	VMULPS(rden, p, p)
	return s.logNormal(p)
}

func (s *spline) inside(v vector) mask { return s.compare(lessThan, s.abs(v), s.constant(boundOf)) }

// forward emits the map. The variant that keeps fills save for the backward pass; the other one has nothing to keep, and saveStep says whether the
// log-determinant is wanted.
func (s *spline) forward(keeps bool) {
	if keeps {
		s.text("Forward", "y, ladj, x, theta, save *float32")
	} else {
		s.text("Evaluate", "y, ladj, x, theta *float32")
	}
	s.begin()
	s.x, s.y, s.ladj, s.save = arg("x"), arg("y"), arg("ladj"), nil
	if keeps {
		s.save = arg("save")
	}
	s.features(s.side(), func() {
		var more gp
		keep := func(int, vector) {}
		if keeps {
			more = s.offset(s.save, 2, 0)
			keep = func(row int, v vector) { VMOVUPS(v, at(more, s.at+128*row)) }
		}
		saved := func(n int) *rowsAt {
			if !keeps {
				return nil
			}
			if n == 0 {
				return s.row(s.save)
			}
			return s.row(s.pointer(s.save, n))
		}
		logDet := func(p *piece) {
			l := s.logSlope(p.slope, p.rden, p.p)
			s.machine.keep(s.inside(s.load(s.mem(s.x))), l, l)
			VADDPS(s.mem(s.ladj), l, l)
			VMOVUPS(l, s.mem(s.ladj))
		}
		all := s.pieces()
		s.steps(all, func(p *piece) {
			t, c, e, sum := s.search(s.load(s.mem(s.x)), s.row(s.theta), saved(0))
			keep(saveBin, s.bin)
			keep(saveC, c)
			keep(saveE, e)
			p.z, p.slope, p.sum = t, s.set(1), sum
			VDIVPS(e, p.slope, p.slope)
			VSUBPS(c, p.z, p.z)
			VMULPS(p.slope, p.z, p.z)
			s.minimum(1, p.z, p.z)
			keep(saveZ, p.z)
			VMULPS(p.sum, p.slope, p.slope)
			spill := keeps && !s.wide // to have registers meanwhile
			if spill {
				keep(saveWidths, p.sum)
				keep(saveS, p.slope)
			}
			p.yc, p.h, p.sumH = s.pick(s.row(s.pointer(s.theta, 1)), saved(1))
			keep(saveYC, p.yc)
			keep(saveH, p.h)
			if spill {
				p.sum, p.slope = s.load(at(more, 128*saveWidths)), s.load(at(more, 128*saveS))
			}
			s.ends(p)
		})
		s.lateSlopes(all)
		s.steps(all, func(p *piece) {
			p.sum, p.sumH = s.reciprocals(p.sum, p.sumH)
			keep(saveWidths, p.sum)
			keep(saveHeights, p.sumH)
			VMULPS(p.sumH, p.h, p.h)
			VMULPS(p.h, p.slope, p.slope)
			keep(saveS, p.slope)
		}, func(p *piece) {
			r0, r1 := s.softenBoth(p.d0, p.d1)
			if keeps {
				VMULPS(r0, r0, r0)
				VMULPS(r1, r1, r1)
				keep(saveR0, r0)
				keep(saveR1, r1)
			}
		}, func(p *piece) {
			p.d0, p.d1 = s.expSmall(p.d0), s.expSmall(p.d1)
			keep(saveD0, p.d0)
			keep(saveD1, p.d1)
		}, func(p *piece) {
			p.rden, p.height, p.p = s.curve(p.z, p.slope, p.d0, p.d1)
		}, func(p *piece) {
			y, x := s.vec(), s.load(s.mem(s.x))
			VMULPS(p.sumH, p.yc, y)
			VFMADD231PS(p.height, p.h, y)
			VMULPS(s.constant(twiceBound), y, y)
			VADDPS(s.constant(minusBound), y, y)
			in := s.inside(x)
			s.merge(in, y, x)
			VMOVUPS(x, s.mem(s.y))
			if keeps {
				one := s.set(1)
				s.machine.keep(in, one, one)
				keep(saveInside, one)
			}
		})
		finish := func() { s.steps(all, logDet) }
		if keeps {
			finish()
		} else {
			s.unlessZero("saveStep", finish)
		}
	}, []gp{s.x, s.y})
}

func (s *spline) inverse() {
	s.text("Inverse", "x, ladj, y, theta *float32")
	s.begin()
	s.x, s.y, s.ladj, s.save = arg("x"), arg("y"), arg("ladj"), nil
	s.features(s.side(), func() {
		all := s.pieces()
		s.steps(all, func(p *piece) {
			p.z, p.yc, p.h, p.sumH = s.search(s.load(s.mem(s.y)), s.row(s.pointer(s.theta, 1)), nil)
			VSUBPS(p.yc, p.z, p.z)
			VMINPS(p.h, p.z, p.z)
			p.xc, p.w, p.sum = s.pick(s.row(s.theta), nil)
			s.ends(p)
		})
		s.lateSlopes(all)
		s.steps(all, func(p *piece) {
			p.sum, p.sumH = s.reciprocals(p.sum, p.sumH)
			VMULPS(p.sumH, p.h, p.h) // height
			VMULPS(p.sumH, p.z, p.z) // y − y0
			VMULPS(p.sum, p.w, p.w)
			VMULPS(p.sum, p.xc, p.xc)
		}, func(p *piece) {
			s.softenBoth(p.d0, p.d1)
		}, func(p *piece) {
			p.d0, p.d1 = s.expSmall(p.d0), s.expSmall(p.d1)
			p.slope = s.vec()
			VDIVPS(p.w, p.h, p.slope)
		}, func(p *piece) {
			// a z² + b z − s·t = 0 with a = h(s − d0) + t·dd, b = h·d0 − t·dd
			t, dd, a, b := p.z, s.vec(), s.vec(), s.vec()
			VADDPS(p.d0, p.d1, dd)
			s.fms(2, p.slope, dd)
			VMULPS(t, dd, dd)
			VSUBPS(p.d0, p.slope, a)
			VFMADD213PS(dd, p.h, a)
			VMULPS(p.d0, p.h, b)
			VSUBPS(dd, b, b)
			VMULPS(p.slope, t, t)
			VMULPS(t, a, a)
			s.mul(4, a, a)
			VFMADD231PS(b, b, a)
			s.maximum(0, a, a)
			VSQRTPS(a, a)
			VADDPS(b, a, a)
			VADDPS(t, t, t)
			VDIVPS(a, t, t)
			s.minimum(1, t, t)
		}, func(p *piece) {
			VFMADD231PS(p.z, p.w, p.xc)
			VMULPS(s.constant(twiceBound), p.xc, p.xc)
			VADDPS(s.constant(minusBound), p.xc, p.xc)
			y := s.load(s.mem(s.y))
			s.merge(s.inside(y), p.xc, y)
			VMOVUPS(y, s.mem(s.x))
		})
		s.unlessZero("saveStep", func() {
			s.steps(all, func(p *piece) {
				rden, _, q := s.curve(p.z, p.slope, p.d0, p.d1)
				l := s.logSlope(p.slope, rden, q)
				s.machine.keep(s.inside(s.load(s.mem(s.y))), l, l)
				old := s.load(s.mem(s.ladj))
				VSUBPS(l, old, old)
				VMOVUPS(old, s.mem(s.ladj))
			})
		})
	}, []gp{s.x, s.y})
}

func (s *spline) backward() {
	s.text("Backward", "dx, theta, gy, gl, save *float32")
	s.begin() // theta is where the gradient goes
	dx, gy, gl := arg("dx"), arg("gy"), arg("gl")
	s.save, s.ladj, s.ge, s.bin = arg("save"), gl, nil, nil
	s.features(1, func() {
		more := s.offset(s.save, 2, 0)
		row := func(r int) Mem { return at(more, 128*r) }
		ld := func(r int) vector { return s.load(row(r)) }
		z, slope, d0, d1 := ld(saveZ), ld(saveS), ld(saveD0), ld(saveD1)
		one := s.set(1)
		u, oz := s.vec(), s.vec()
		VSUBPS(z, one, oz)
		VMULPS(oz, z, u)
		mixed := func() vector { // d0 + d1 − 2s
			v := s.vec()
			VADDPS(d0, d1, v)
			s.fms(2, slope, v)
			return v
		}
		dd := mixed()
		rden := s.copy(dd)
		VFMADD213PS(slope, u, rden)
		VDIVPS(rden, one, rden)
		beta, rp, tmp := s.vec(), s.vec(), s.vec()
		VMULPS(z, z, tmp)
		VMULPS(tmp, slope, beta)
		VFMADD231PS(u, d0, beta)
		VMULPS(rden, beta, beta) // height within the bin
		p := s.vec()
		VMULPS(u, slope, p)
		VADDPS(p, p, p)
		VFMADD231PS(tmp, d1, p)
		VMULPS(oz, oz, tmp)
		VFMADD231PS(tmp, d0, p)
		VDIVPS(p, one, rp)
		local := func(p gp) vector { // the cotangent inside, 0 outside
			v := ld(saveInside)
			VMULPS(at(p, 0), v, v)
			return v
		}
		g, gyh := local(gl), local(gy)
		VMULPS(s.constant(twiceBound), gyh, gyh)
		VMULPS(row(saveHeights), gyh, gyh)
		VMULPS(row(saveH), gyh, gyh) // gradient of beta

		// d0 and d1: gyh·u·(1−beta)·rden + g((1−z)²/p − 2u·rden) and −gyh·u·beta·rden + g(z²/p − 2u·rden)
		ur, gd0, gd1 := s.vec(), s.vec(), s.vec()
		VMULPS(rden, u, ur)
		VMULPS(ur, gyh, gd0)
		VMULPS(beta, gd0, gd1)
		VSUBPS(gd1, gd0, gd0)
		VMULPS(rp, tmp, tmp)
		s.fms(2, ur, tmp)
		VFMADD231PS(g, tmp, gd0)
		VMULPS(z, z, tmp)
		VMULPS(rp, tmp, tmp)
		s.fms(2, ur, tmp)
		VMULPS(g, tmp, tmp)
		VSUBPS(gd1, tmp, gd1)
		VMULPS(row(saveD0), gd0, gd0)
		VMULPS(row(saveR0), gd0, gd0)
		VMULPS(row(saveD1), gd1, gd1)
		VMULPS(row(saveR1), gd1, gd1)
		s.bin = ld(saveBin)
		s.masks()
		s.emitSlopes(gd0, gd1)
		if !s.wide { // read again, to have registers meanwhile
			z, slope, d0, d1, g = ld(saveZ), ld(saveS), ld(saveD0), ld(saveD1), local(gl)
			oz = s.set(1)
			VSUBPS(z, oz, oz)
			dd = mixed()
		}

		// z: gyh·s·p·rden² + 2g((s(1−2z) − d0(1−z) + d1·z)/p − dd(1−2z)·rden)
		gz, omz, pz := s.vec(), s.vec(), s.vec()
		VMULPS(rden, slope, gz)
		VMULPS(rden, gz, gz)
		VMULPS(p, gz, gz)
		VMULPS(gyh, gz, gz)
		VSUBPS(z, oz, omz)
		VMULPS(omz, slope, pz)
		VFNMADD231PS(oz, d0, pz)
		VFMADD231PS(z, d1, pz)
		VMULPS(rp, pz, pz)
		VMULPS(omz, dd, dd)
		VFNMADD231PS(rden, dd, pz)
		VADDPS(pz, pz, pz)
		VFMADD231PS(g, pz, gz)
		// s: gyh(z² − beta(1−2u))·rden + 2g(1/s + u/p − (1−2u)·rden)
		om2, gs, rs := s.set(1), s.vec(), s.set(1)
		s.fms(2, u, om2)
		VMULPS(z, z, gs)
		VFNMADD231PS(om2, beta, gs)
		VMULPS(rden, gs, gs)
		VMULPS(gyh, gs, gs)
		VDIVPS(slope, rs, rs)
		VFMADD231PS(u, rp, rs)
		VFNMADD231PS(om2, rden, rs)
		VADDPS(rs, rs, rs)
		VFMADD231PS(g, rs, gs)

		rw := s.set(1) // 1/width
		w := ld(saveWidths)
		VMULPS(row(saveE), w, w)
		VMULPS(s.constant(twiceBound), w, w)
		VDIVPS(w, rw, rw)
		gxz := s.vec()
		VMULPS(rw, gz, gxz)
		out := s.load(at(gy, 0))
		in := s.compare(equal, s.set(1), row(saveInside))
		s.merge(in, gxz, out)
		VMOVUPS(out, at(dx, 0))
		// width: −(gs·s + gz·z)/width; height: gy·beta + gs/width
		a, b := s.vec(), s.zero()
		VMULPS(slope, gs, a)
		VFMADD231PS(z, gz, a)
		VMULPS(rw, a, a)
		VSUBPS(a, b, a)
		VSUBPS(gxz, b, b)
		gh, gylocal := s.vec(), local(gy)
		VMULPS(beta, gylocal, gh)
		VFMADD231PS(rw, gs, gh)
		s.bin = ld(saveBin)
		s.masks()
		s.emit(s.row(s.theta), s.row(s.save), more, saveWidths, saveC, saveE, a, b)
		s.emit(s.row(s.pointer(s.theta, 1)), s.row(s.pointer(s.save, 1)), more, saveHeights, saveYC, saveH, gh, gylocal)
	}, []gp{dx, gy})
}

// masks fills the mask registers from the bin.
func (s *spline) masks() {
	s.ge = nil
	if !s.inRegisters() {
		return
	}
	ge := make([]mask, s.fixed+1)
	for j := 1; j < s.fixed; j++ {
		ge[j] = s.compareTo(greaterOrEqual, s.bin, float64(j))
	}
	s.ge = ge
}

// emit writes the gradients of raw widths or heights: bin j gets (a if j = bin, b if j < bin, 0 above, minus the mean over the
// softmax) · 2·bound·e_j·r_j²/S; save holds the products with (log2 e)². a and b are lost.
func (s *spline) emit(theta, save *rowsAt, more gp, sum, c, e int, a, b vector) {
	rs := s.load(at(more, 128*sum))
	base := s.vec()
	VMULPS(at(more, 128*e), a, base)
	VFMADD231PS(at(more, 128*c), b, base)
	VMULPS(rs, base, base)
	VMULPS(s.constant(twiceBound), rs, rs)
	s.mul(1/(log2e*log2e), rs, rs)
	VSUBPS(base, a, a)
	VSUBPS(base, b, b)
	VMULPS(rs, a, a)
	VMULPS(rs, b, b)
	VMULPS(rs, base, base)
	base = s.neg(base)
	s.each(0, 0, []*rowsAt{theta, save}, func(j int) {
		r := s.copy(base)
		if j == 0 {
			VMOVAPS(a, r)
		} else {
			s.merge(s.above(j, 0), a, r)
		}
		if j != s.fixed-1 || !s.unrolled() {
			s.merge(s.above(j, 1), b, r)
		}
		VMULPS(save.at(j), r, r)
		VMOVUPS(r, theta.at(j))
	})
}

func (s *spline) emitSlopes(gd0, gd1 vector) {
	theta := s.row(s.pointer(s.theta, 2))
	if s.circular {
		next := s.vec()
		s.machine.add(1, s.bin, next)
		inRange := s.compare(lessThan, next, s.constant(binsOf))
		s.machine.keep(inRange, next, next)
		s.each(0, 0, []*rowsAt{theta}, func(j int) {
			a, b := s.vec(), s.vec()
			s.machine.keep(s.is(s.bin, j, 0), gd0, a)
			s.machine.keep(s.is(next, j, 0), gd1, b)
			VADDPS(a, b, a)
			VMOVUPS(a, theta.at(j))
		})
		return
	}
	zero := s.zero()
	s.each(0, 1, []*rowsAt{theta}, func(j int) {
		r := s.vec()
		if !s.inRegisters() {
			s.machine.keep(s.is(s.bin, j, 0), gd1, r)
			s.merge(s.is(s.bin, j, 1), gd0, r)
			VMOVUPS(r, theta.at(j))
			return
		}
		if j == 0 {
			VMOVAPS(gd1, r)
		} else {
			s.machine.keep(s.ge[j], gd1, r)
		}
		s.merge(s.ge[j+1], gd0, r)
		if j+2 < s.fixed {
			s.merge(s.ge[j+2], zero, r)
		}
		VMOVUPS(r, theta.at(j))
	})
}

func (m *machine) splines() {
	for _, s := range []spline{{name: "spline8", fixed: 8}, {name: "spline"}, {name: "splineCircular", circular: true}} {
		s.machine = m
		s.forward(true)
		s.forward(false)
		s.backward()
		s.inverse()
	}
	if m.wide {
		s := spline{machine: m, name: "spline8Late", fixed: 8, late: true}
		s.forward(true)
		s.forward(false)
		s.inverse()
		m.slopeTable()
	}
}
