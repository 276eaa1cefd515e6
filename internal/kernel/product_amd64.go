package kernel

import "unsafe"

// An isa is a set of assembly kernels. The wrappers below check lengths once and hand pointers over; which assembly runs is a direct
// call behind a branch, so that nothing escapes to the heap.
type isa uint8

const (
	avx2 isa = iota
	avx512
)

// width is the number of float32 numbers in a vector.
func (s isa) width() int {
	if s == avx512 {
		return 16
	}
	return 8
}

// mulTask and gradTask are read, and used up, by the assembly: gen/product.go has their offsets. Distances are in bytes. The cursors
// are no pointers for the garbage collector, since they run past the ends.
type mulTask struct {
	a, c, bias, gate, spans, b unsafe.Pointer
	rs, cs, k, m, flags        int
	cursors                    [5]uintptr
}

const (
	mulFlagAdd = 1 << iota
	mulFlagReLU
)

type gradTask struct {
	w, dy, xt                unsafe.Pointer
	ld, dyp, ldx, xtp, np, m int
	add                      int // 1: to what is there
	cursors                  [2]uintptr
}

// A word is an element of 32 bits: a number, or a pair of bfloat16 numbers.
type word interface{ float32 | uint32 }

// at is a pointer to element i, which may be one past the end.
func at[E word](s []E, i int) unsafe.Pointer {
	return unsafe.Add(unsafe.Pointer(unsafe.SliceData(s)), 4*i)
}

func ptr(s []float32, i int) *float32 { return (*float32)(at(s, i)) }

func need[E word](s []E, n int) {
	if len(s) < n {
		panic("kernel: slice too short")
	}
}

// needPanels checks np panels of rows rows at a stride.
func needPanels[E word](s []E, stride, rows, np int) {
	if stride < 0 || rows < 0 {
		panic("kernel: negative size")
	}
	if np > 0 && rows > 0 {
		need(s, (np-1)*stride+rows*Lanes)
	}
}

func needSpans(spans []Span, m, k int) {
	if spans == nil {
		return
	}
	rows := 0
	for _, s := range spans {
		if s.Lo < 0 || s.Hi < 0 || s.Hi >= s.Lo && int(s.Hi) > k || s.Rows < 1 {
			panic("kernel: span out of range")
		}
		rows += int(s.Rows)
	}
	if rows != m {
		panic("kernel: spans of another number of rows")
	}
}

// chunk is the size in numbers of the part of the weights that one round over the panels uses: it stays in the level-2 cache.
const chunk = 1 << 16

// A product of more than few panels, or with weights that are read across their rows, sums over at most deepest numbers at a time, so that the
// panel, or the rows, stay there too; what it has so far waits in the result.
const (
	few     = 8
	deepest = 1024
)

func (s isa) mul(c []float32, cp int, a []float32, rs, cs int, b []float32, bp int, m, k, np int, spans []Span, e Epilogue[float32]) {
	if m <= 0 || np <= 0 {
		return
	}
	needSpans(spans, m, k)
	if k > 0 {
		needPanels(b, bp, k, np)
		if rs < 0 || cs < 0 {
			panic("kernel: negative stride")
		}
		need(a, (m-1)*rs+(k-1)*cs+1)
	}
	s.multiply(c, cp, factors{a: at(a, 0), b: at(b, 0), rs: rs, cs: cs, bp: bp}, m, k, np, spans, e)
}

// mulPairs needs AVX512_BF16.
func (s isa) mulPairs(c []float32, cp int, a []uint32, rs int, b []uint32, bp int, m, pairs, np int, e Epilogue[float32]) {
	if m <= 0 || np <= 0 {
		return
	}
	if pairs > 0 {
		needPanels(b, bp, pairs, np)
		if rs < 0 {
			panic("kernel: negative stride")
		}
		need(a, (m-1)*rs+pairs)
	}
	s.multiply(c, cp, factors{pairs: true, a: at(a, 0), b: at(b, 0), rs: rs, cs: 1, bp: bp}, m, pairs, np, nil, e)
}

func (s isa) roundPairs(dst []uint32, dp int, src []float32, sp, rows, np int) {
	if rows <= 0 || np <= 0 {
		return
	}
	needPanels(src, sp, rows, np)
	needPanels(dst, dp, (rows+1)/2, np)
	for p := range np {
		if to, from := (*uint32)(at(dst, p*dp)), ptr(src, p*sp); s == avx512 {
			roundPairsAVX512(to, from, rows/2)
		} else {
			roundPairsAVX2(to, from, rows/2)
		}
		if rows%2 != 0 {
			roundPairs(dst[p*dp+rows/2*Lanes:], 0, src[p*sp+(rows-1)*Lanes:], 0, 1, 1)
		}
	}
}

// factors are those of a product, of numbers or of pairs, and their strides, all in elements of 32 bits.
type factors struct {
	pairs      bool
	a, b       unsafe.Pointer
	rs, cs, bp int
}

func (s isa) multiply(c []float32, cp int, f factors, m, k, np int, spans []Span, e Epilogue[float32]) {
	needPanels(c, cp, m, np)
	if e.Bias != nil {
		need(e.Bias, m)
	}
	if e.Gate != nil {
		needPanels(e.Gate, e.GateStride, m, np)
	}
	rows, depth := m, max(k, 1)
	if m*k > 2*chunk {
		if spans == nil && (np > few || f.cs > 1) {
			depth = (k-1)/((k+deepest-1)/deepest) + 1
		}
		if np > 1 {
			rows = max(chunk/depth&^(Block-1), Block)
			rows = ((m-1)/((m+rows-1)/rows) + Block) &^ (Block - 1) // of equal size
		}
	}
	for i, next := 0, 0; i < m; i = next {
		first := spans
		if next = min(i+rows, m); spans != nil && rows < m {
			next, spans = cutSpans(spans, i, rows)
		}
		for q := 0; q == 0 || q < k; q += depth {
			flags, last := 0, q+depth >= k
			if e.Add || q > 0 {
				flags |= mulFlagAdd
			}
			if last && e.Act == ReLU {
				flags |= mulFlagReLU
			}
			t := mulTask{a: unsafe.Add(f.a, 4*(i*f.rs+q*f.cs)), rs: 4 * f.rs, cs: 4 * f.cs, k: min(depth, k-q), flags: flags}
			if e.Bias != nil && q == 0 {
				t.bias = at(e.Bias, i)
			}
			if spans != nil {
				t.spans = unsafe.Pointer(unsafe.SliceData(first))
			}
			for p := range np {
				t.b, t.c, t.m = unsafe.Add(f.b, 4*(p*f.bp+q*Lanes)), at(c, p*cp+i*Lanes), next-i // the assembly counts m down
				if e.Gate != nil && last {
					t.gate = at(e.Gate, p*e.GateStride+i*Lanes)
				}
				task := (*byte)(unsafe.Pointer(&t))
				switch half := e.Half && p == np-1; {
				case half && f.pairs:
					mulPairsHalfAVX512(task)
				case f.pairs:
					mulPairsAVX512(task)
				case half && s == avx512:
					mulHalfAVX512(task)
				case half:
					mulHalfAVX2(task)
				case s == avx512:
					mulAVX512(task)
				default:
					mulAVX2(task)
				}
			}
		}
	}
}

// cutSpans passes over the spans of about rows rows from i on, and returns the row behind them and the spans that are left.
func cutSpans(spans []Span, i, rows int) (next int, left []Span) {
	next = i
	for len(spans) > 0 && (next == i || next+int(spans[0].Rows) <= i+rows) {
		next += int(spans[0].Rows)
		spans = spans[1:]
	}
	return next, spans
}

func (s isa) gradW(w []float32, ld int, dy []float32, dyp int, xt []float32, ldx, xtp int, m, k, np int, spans []Span, add bool) {
	if m <= 0 || np <= 0 && add {
		return
	}
	if ld&15 != 0 || ldx&15 != 0 || k > ld || k > ldx {
		panic("kernel: row lengths of a weight gradient are multiples of 16 that hold all columns")
	}
	need(w, (m-1)*ld+(k+15)&^15)
	needPanels(dy, dyp, m, np)
	if np > 0 {
		need(xt, (np-1)*xtp+Lanes*ldx)
	}
	needSpans(spans, m, k)
	t := gradTask{ld: 4 * ld, dyp: 4 * dyp, ldx: 4 * ldx, xtp: 4 * xtp}
	if add {
		t.add = 1
	}
	for lo := 0; lo < k; lo += 32 {
		hi := min(lo+32, (k+15)&^15)
		if spans == nil {
			s.gradColumns(&t, w, ld, dy, xt, lo, hi, 0, m, np)
			continue
		}
		// runs of spans that use the same columns of these
		for i, q := 0, 0; q < len(spans); {
			from, to := columns(spans[q], lo, hi)
			j := i
			for ; q < len(spans); q++ {
				if f, g := columns(spans[q], lo, hi); f != from || g != to {
					break
				}
				j += int(spans[q].Rows)
			}
			s.gradColumns(&t, w, ld, dy, xt, from, to, i, j, np)
			i = j
		}
	}
}

// columns is the part of [lo,hi) that a span, rounded out to multiples of 16, covers.
func columns(s Span, lo, hi int) (int, int) {
	if s.Hi <= s.Lo {
		return lo, lo
	}
	from, to := max(lo, int(s.Lo)&^15), min(hi, (int(s.Hi)+15)&^15)
	return from, max(from, to)
}

// gradColumns is the gradient of the columns [lo,hi), 16 or 32 of them, in the rows [i,j).
func (s isa) gradColumns(t *gradTask, w []float32, ld int, dy, xt []float32, lo, hi, i, j, np int) {
	if hi <= lo || j <= i {
		return
	}
	t.w, t.dy, t.xt, t.np, t.m = at(w, i*ld+lo), at(dy, i*Lanes), at(xt, lo), np, j-i
	task := (*byte)(unsafe.Pointer(t))
	switch full := hi-lo == 32; {
	case full && s == avx512:
		gradFullAVX512(task)
	case full:
		gradFullAVX2(task)
	case s == avx512:
		gradHalfAVX512(task)
	default:
		gradHalfAVX2(task)
	}
}

func (s isa) transpose(dst []float32, ld, dp int, src []float32, sp, rows, np int) {
	if np <= 0 || ld <= 0 {
		return
	}
	if ld&15 != 0 || rows > ld {
		panic("kernel: the row length of a transpose is a multiple of 16 that holds all rows")
	}
	needPanels(src, sp, rows, np)
	need(dst, (np-1)*dp+Lanes*ld)
	for p := range np {
		for u := 0; u < ld; u += 16 {
			to, from := ptr(dst, p*dp+u), ptr(src, p*sp+min(u, max(rows, 0))*Lanes)
			if s == avx512 {
				transpose16AVX512(to, 4*ld, from, rows-u)
			} else {
				transpose16AVX2(to, 4*ld, from, rows-u)
			}
		}
	}
}

func (s isa) rowSum(dst, src []float32, sp, rows, np int) {
	if rows <= 0 || np <= 0 {
		return
	}
	need(dst, rows)
	needPanels(src, sp, rows, np)
	groups := rows / s.width()
	if s == avx512 {
		rowSumAVX512(ptr(dst, 0), ptr(src, 0), 4*sp, groups, np)
	} else {
		rowSumAVX2(ptr(dst, 0), ptr(src, 0), 4*sp, groups, np)
	}
	for u := groups * s.width(); u < rows; u++ {
		dst[u] += s.sum(src[u*Lanes:], sp, np)
	}
}

// sum adds a row of all panels.
func (s isa) sum(src []float32, sp, np int) float32 {
	var a [8]float32
	for p := range np {
		row := (*[Lanes]float32)(src[p*sp:])
		for l := 0; l < Lanes; l += 8 {
			for i := range a {
				a[i] += row[l+i]
			}
		}
	}
	return ((a[0] + a[1]) + (a[2] + a[3])) + ((a[4] + a[5]) + (a[6] + a[7]))
}
