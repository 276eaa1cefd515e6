package rootio

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"reflect"
	"slices"
	"sync"
	"unsafe"

	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
	"go-hep.org/x/hep/groot/rbytes"
	"go-hep.org/x/hep/groot/riofs"
	"go-hep.org/x/hep/groot/rtree"
	"go-hep.org/x/hep/groot/rvers"

	"hepmorph/internal/par"
)

// The values of a branch lie in baskets: records of consecutive rows, big-endian, compressed one by one. groot's own encoder
// works row by row on one core, and where compression saves nothing but the nine bytes of its own header it writes a
// basket that every reader takes for uncompressed. So baskets are made here, from columns, side by side; groot makes
// the tree around them.

// cluster is the number of bytes, before compression, after which all branches begin a new basket at the same row: programs that
// read with several threads split a tree there.
const clusterBytes = 16 << 20

// stlVersion is what groot and ROOT write before a std::vector.
const stlVersion = 9

// byteCount marks a length before an object.
const byteCount = 0x40000000

// basket is one record, ready to be stored.
type basket struct {
	rows    int
	raw     []byte  // values
	offsets []int32 // of rows in raw, nil where rows have one size
	packed  []byte  // what goes after the key
	objlen  int     // of it before compression
	room    []byte  // where packed may lie
}

// encoder makes the baskets of one branch.
type encoder struct {
	col     WriteColumn
	width   int // bytes of a row where all have the same, else 0
	target  int // bytes of a basket
	keylen  int
	pack    *packer
	cur     basket
	done    []basket
	free    []basket // stored ones, whose memory serves again
	maximum int64    // largest value of an integer, longest text
}

func newEncoder(c WriteColumn, target int, p *packer) *encoder {
	e := &encoder{col: c, target: target, pack: p}
	size := c.Kind.Elem.Size()
	switch c.Kind.Form {
	case Scalar:
		e.width = size
	case Fixed:
		e.width = size * c.Kind.Len
	}
	return e
}

// add appends rows lo to hi of a column, which has the encoder's element type.
func (e *encoder) add(v *Values, lo, hi int) error {
	if e.width > 0 {
		per := max(1, e.target/e.width)
		for lo < hi {
			n := min(hi-lo, per-e.cur.rows)
			a, _ := v.Row(lo)
			_, z := v.Row(lo + n - 1)
			e.cur.raw = appendValues(e.cur.raw, v, a, z)
			e.cur.rows += n
			lo += n
			if e.cur.rows >= per {
				if err := e.cut(); err != nil {
					return err
				}
			}
		}
		return nil
	}
	be := binary.BigEndian
	for i := lo; i < hi; i++ {
		a, z := v.Row(i)
		e.cur.offsets = append(e.cur.offsets, int32(len(e.cur.raw)))
		switch {
		case e.col.Kind.Form == Vector:
			at := len(e.cur.raw)
			e.cur.raw = be.AppendUint32(e.cur.raw, 0)
			e.cur.raw = be.AppendUint16(e.cur.raw, stlVersion)
			e.cur.raw = be.AppendUint32(e.cur.raw, uint32(z-a))
			e.cur.raw = appendValues(e.cur.raw, v, a, z)
			be.PutUint32(e.cur.raw[at:], uint32(len(e.cur.raw)-at-4)|byteCount)
		default:
			e.cur.raw = appendValues(e.cur.raw, v, a, z)
		}
		e.cur.rows++
		if len(e.cur.raw) >= e.target {
			if err := e.cut(); err != nil {
				return err
			}
		}
	}
	return nil
}

// cut ends the basket that is being filled.
func (e *encoder) cut() error {
	if e.cur.rows == 0 {
		return nil
	}
	b := e.cur
	if n := len(e.free); n > 0 {
		old := e.free[n-1]
		e.cur, e.free = basket{raw: old.raw[:0], offsets: old.offsets[:0], room: old.room}, e.free[:n-1]
	} else {
		e.cur = basket{raw: make([]byte, 0, min(len(b.raw)+len(b.raw)/8, 2*e.target))}
	}
	if err := e.finish(&b); err != nil {
		return err
	}
	e.done = append(e.done, b)
	return nil
}

// finish adds the table of offsets, which count from the beginning of the key, and compresses.
func (e *encoder) finish(b *basket) error {
	payload := b.raw
	if b.offsets != nil {
		payload = make([]byte, len(b.raw), len(b.raw)+4*len(b.offsets)+8)
		copy(payload, b.raw)
		be := binary.BigEndian
		payload = be.AppendUint32(payload, uint32(b.rows+1))
		for _, o := range b.offsets {
			payload = be.AppendUint32(payload, uint32(int(o)+e.keylen))
		}
		payload = be.AppendUint32(payload, 0)
	}
	if len(payload) > math.MaxInt32/2 {
		return fmt.Errorf("rows of branch %q are too large: %d bytes in one basket", e.col.Name, len(payload))
	}
	b.objlen = len(payload)
	packed, err := e.pack.compress(b.room, payload)
	b.packed, b.room = payload, packed
	if len(packed) > 0 {
		b.packed = packed
	}
	return err
}

// appendValues appends values lo to hi, big-endian, in the width of their type.
func appendValues(dst []byte, v *Values, lo, hi int) []byte {
	be := binary.BigEndian
	switch e := v.Kind.Elem; e {
	case Bool:
		for _, x := range v.B[lo:hi] {
			c := byte(0)
			if x {
				c = 1
			}
			dst = append(dst, c)
		}
	case Float32:
		for _, x := range v.F32[lo:hi] {
			dst = be.AppendUint32(dst, math.Float32bits(x))
		}
	case Float64:
		for _, x := range v.F64[lo:hi] {
			dst = be.AppendUint64(dst, math.Float64bits(x))
		}
	case String:
		for _, s := range v.S[lo:hi] {
			if len(s) < 255 {
				dst = append(dst, byte(len(s)))
			} else {
				dst = be.AppendUint32(append(dst, 255), uint32(len(s)))
			}
			dst = append(dst, s...)
		}
	case Int8, Int16, Int32, Int64:
		dst = appendBig(dst, v.I[lo:hi], e.Size())
	case Uint8, Uint16, Uint32, Uint64:
		dst = appendBig(dst, v.U[lo:hi], e.Size())
	}
	return dst
}

func appendBig[T int64 | uint64](dst []byte, x []T, size int) []byte {
	be := binary.BigEndian
	switch size {
	case 1:
		for _, v := range x {
			dst = append(dst, byte(v))
		}
	case 2:
		for _, v := range x {
			dst = be.AppendUint16(dst, uint16(v))
		}
	case 4:
		for _, v := range x {
			dst = be.AppendUint32(dst, uint32(v))
		}
	default:
		for _, v := range x {
			dst = be.AppendUint64(dst, uint64(v))
		}
	}
	return dst
}

// packer compresses payloads as ROOT does. Safe for concurrent use.
type packer struct {
	codec Codec
	level int
	pool  sync.Pool
}

func newPacker(codec Codec, level int) *packer { return &packer{codec: codec, level: max(1, level)} }

// maxBlock is the largest piece that ROOT compresses at once.
const maxBlock = 0xffffff

// minPacked is the size below which compression is not tried.
const minPacked = 256

// compress returns the payload in blocks of header and compressed bytes, in the memory of room if that is enough. It returns nothing where that is not
// shorter: the payload is stored as it is, and readers tell the two apart by their length.
func (p *packer) compress(room, src []byte) ([]byte, error) {
	if p.codec == None || len(src) < minPacked {
		return room[:0], nil
	}
	out := bytes.NewBuffer(slices.Grow(room[:0], len(src)+64))
	for lo := 0; lo < len(src); lo += maxBlock {
		block := src[lo:min(lo+maxBlock, len(src))]
		at := out.Len()
		switch p.codec {
		case Zlib:
			out.Write([]byte{'Z', 'L', 8, 0, 0, 0, 0, 0, 0})
			w, _ := p.pool.Get().(*zlib.Writer)
			if w == nil {
				var err error
				if w, err = zlib.NewWriterLevel(out, p.level); err != nil {
					return nil, err
				}
			} else {
				w.Reset(out)
			}
			if _, err := w.Write(block); err != nil {
				return nil, err
			}
			if err := w.Close(); err != nil {
				return nil, err
			}
			p.pool.Put(w)
		case Zstd:
			out.Write([]byte{'Z', 'S', 1, 0, 0, 0, 0, 0, 0})
			w, _ := p.pool.Get().(*zstd.Encoder)
			if w == nil {
				var err error
				if w, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.EncoderLevel(p.level)), zstd.WithEncoderConcurrency(1)); err != nil {
					return nil, err
				}
			}
			out.Write(w.EncodeAll(block, nil))
			p.pool.Put(w)
		}
		n := out.Len() - at - 9
		if n > maxBlock {
			return room[:0], nil
		}
		h := out.Bytes()[at:]
		h[3], h[4], h[5] = byte(n), byte(n>>8), byte(n>>16)
		h[6], h[7], h[8] = byte(len(block)), byte(len(block)>>8), byte(len(block)>>16)
	}
	if out.Len() >= len(src) {
		return out.Bytes()[:0], nil
	}
	return out.Bytes(), nil
}

// baskets writes the baskets of a tree.
type baskets struct {
	f        *riofs.File
	tree     rtree.Writer
	enc      []*encoder
	branch   []branchFields
	target   int
	clusters int64 // rows of a cluster, 0 until the first rows are seen
	rows     int64
	threads  int
	end      int64  // of the newest basket in the file
	record   []byte // the basket that is stored
	blank    []byte
}

// branchFields are the fields of a branch that change as baskets are written. groot keeps them to itself; they are reached by
// name, and a name that has gone is an error before anything is written.
type branchFields struct {
	name, title           string
	bytes                 *[]int32
	entry, seek           *[]int64
	written, maxBaskets   *int
	entries, number       *int64
	totBytes, zipBytes    *int64
	leafMax               reflect.Value // of a counter or text
	leafLen               *int          // of a text
	total, zipped, cycles int64
}

// hidden returns a pointer to a field that is not exported, of the type that is expected.
func hidden[T any](v reflect.Value, name string) (*T, error) {
	f := v.FieldByName(name)
	if !f.IsValid() || !f.CanAddr() || f.Type() != reflect.TypeFor[T]() {
		return nil, fmt.Errorf("the encoder has no field %q of %v in %v", name, reflect.TypeFor[T](), v.Type())
	}
	return (*T)(unsafe.Pointer(f.UnsafeAddr())), nil
}

// structOf is the struct behind a pointer, or the embedded one of that name in it.
func structOf(p any, embedded string) reflect.Value {
	v := reflect.ValueOf(p)
	for v.Kind() == reflect.Interface || v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	if e := v.FieldByName(embedded); e.IsValid() {
		return e
	}
	return v
}

func newBaskets(f *riofs.File, tree rtree.Writer, cols []WriteColumn, opt WriteOptions, target int) (*baskets, error) {
	b := &baskets{f: f, tree: tree, target: target, threads: opt.Threads}
	pack := newPacker(opt.Codec, opt.Level)
	for i, br := range tree.Branches() {
		e := newEncoder(cols[i], target, pack)
		fields, err := fieldsOf(br)
		if err != nil {
			return nil, err
		}
		fields.title = tree.Name()
		key := riofs.NewKeyForBasketInternal(f, fields.name, fields.title, "TBasket", 1)
		e.keylen = int(key.KeyLen())
		b.enc, b.branch = append(b.enc, e), append(b.branch, fields)
	}
	return b, nil
}

func fieldsOf(br rtree.Branch) (f branchFields, err error) {
	v := structOf(br, "tbranch")
	if v.Kind() != reflect.Struct {
		return f, fmt.Errorf("a branch of the encoder is a %T", br)
	}
	f.name = br.Name()
	set := func(e error) {
		if err == nil {
			err = e
		}
	}
	var e error
	f.bytes, e = hidden[[]int32](v, "basketBytes")
	set(e)
	f.entry, e = hidden[[]int64](v, "basketEntry")
	set(e)
	f.seek, e = hidden[[]int64](v, "basketSeek")
	set(e)
	f.written, e = hidden[int](v, "writeBasket")
	set(e)
	f.maxBaskets, e = hidden[int](v, "maxBaskets")
	set(e)
	f.entries, e = hidden[int64](v, "entries")
	set(e)
	f.number, e = hidden[int64](v, "entryNumber")
	set(e)
	f.totBytes, e = hidden[int64](v, "totBytes")
	set(e)
	f.zipBytes, e = hidden[int64](v, "zipBytes")
	set(e)
	if err != nil {
		return f, err
	}
	leaf := structOf(br.Leaves()[0], "")
	if m := leaf.FieldByName("max"); m.IsValid() && m.CanAddr() && m.CanInt() {
		f.leafMax = reflect.NewAt(m.Type(), unsafe.Pointer(m.UnsafeAddr())).Elem()
	}
	if _, ok := br.Leaves()[0].(*rtree.LeafC); ok {
		f.leafLen, err = hidden[int](structOf(br.Leaves()[0], "tleaf"), "len")
	}
	return f, err
}

// write adds rows of a batch; vals are its columns in the order of the branches.
func (b *baskets) write(vals []*Values, n int) error {
	if b.clusters == 0 && n > 0 {
		size := 0
		for _, v := range vals {
			size += v.Size()*max(1, v.Kind.Elem.Size()) + 4*len(v.Off)
		}
		b.clusters = min(max(int64(clusterBytes)*int64(n)/int64(max(1, size)), 1000), 1<<20)
	}
	for lo := 0; lo < n; {
		hi := int(min(int64(n-lo), b.clusters-b.rows%b.clusters)) + lo
		b.rows += int64(hi - lo)
		if err := b.each(vals, lo, hi, b.rows%b.clusters == 0); err != nil {
			return err
		}
		lo = hi
	}
	return nil
}

// each encodes rows of all branches side by side, then stores the baskets that are full, branch by branch.
func (b *baskets) each(vals []*Values, lo, hi int, cut bool) error {
	errs := make([]error, len(b.enc))
	par.For(b.threads, len(b.enc), 1, func(k, _, _ int) {
		e := b.enc[k]
		if hi > lo {
			e.note(vals[k], lo, hi)
			errs[k] = e.add(vals[k], lo, hi)
		}
		if cut && errs[k] == nil {
			errs[k] = e.cut()
		}
	})
	for k, e := range b.enc {
		if errs[k] != nil {
			return errs[k]
		}
		for i := range e.done {
			if err := b.store(k, &e.done[i]); err != nil {
				return err
			}
		}
		e.free, e.done = append(e.free, e.done...), e.done[:0]
	}
	return nil
}

// note keeps the largest value of a counter and the longest text: readers make room by them.
func (e *encoder) note(v *Values, lo, hi int) {
	if e.col.Kind.Form != Scalar {
		return
	}
	switch k := v.Kind.Elem; {
	case k == String:
		for _, s := range v.S[lo:hi] {
			e.maximum = max(e.maximum, int64(len(s)))
		}
	case k.Signed() || k.Unsigned():
		for i := lo; i < hi; i++ {
			e.maximum = max(e.maximum, v.Int(i))
		}
	}
}

// store gives a basket its place in the file.
func (b *baskets) store(k int, bk *basket) error {
	e, f := b.enc[k], &b.branch[k]
	cycle := int16(f.cycles + 1)
	// Beyond 2 GB keys are longer, and offsets count from the key's beginning.
	if empty := riofs.NewKeyForBasketInternal(b.f, f.name, f.title, "TBasket", cycle); int(empty.KeyLen()) != e.keylen {
		e.keylen = int(empty.KeyLen())
		if err := e.finish(bk); err != nil {
			return err
		}
	}
	key, err := riofs.NewKey(nil, f.name, f.title, "TBasket", cycle, bk.packed, b.f, riofs.WithKeyCompression(0))
	if err != nil {
		return err
	}
	if int(key.KeyLen()) != e.keylen {
		return fmt.Errorf("a key of %d bytes, not %d", key.KeyLen(), e.keylen)
	}
	nbytes := key.Nbytes()
	b.blank = rbytes.ResizeU8(b.blank, bk.objlen)
	key.SetBuffer(b.blank) // the key states the length before compression
	last := e.keylen + len(bk.raw)
	rowSize := e.width
	if bk.offsets != nil || e.width == 0 {
		rowSize = bk.rows + 1
	}
	w := rbytes.NewWBuffer(make([]byte, 0, e.keylen+64), nil, 0, nil)
	if _, err := key.MarshalROOT(w); err != nil {
		return err
	}
	w.WriteI16(rvers.Basket)
	w.WriteI32(int32(max(b.target, last)))
	w.WriteI32(int32(rowSize))
	w.WriteI32(int32(bk.rows))
	w.WriteI32(int32(last))
	w.WriteU8(0)
	if w.Err() != nil || len(w.Bytes()) != e.keylen {
		return fmt.Errorf("a header of %d bytes, not %d: %v", len(w.Bytes()), e.keylen, w.Err())
	}
	b.record = append(append(b.record[:0], w.Bytes()...), bk.packed...)
	if _, err := b.f.WriteAt(b.record, key.SeekKey()); err != nil {
		return err
	}
	b.end = key.SeekKey() + int64(len(b.record))
	*f.bytes = append(*f.bytes, nbytes)
	*f.entry = append(*f.entry, (*f.entry)[len(*f.entry)-1]+int64(bk.rows))
	*f.seek = append(*f.seek, key.SeekKey())
	f.cycles++
	f.total += int64(e.keylen + bk.objlen)
	f.zipped += int64(nbytes)
	return nil
}

// close stores what is left and tells the tree what there is.
func (b *baskets) close() error {
	if err := b.each(make([]*Values, len(b.enc)), 0, 0, true); err != nil {
		return err
	}
	var total, zipped int64
	for k := range b.branch {
		f := &b.branch[k]
		*f.written, *f.maxBaskets = len(*f.seek), max(len(*f.seek)+1, 10)
		*f.entries, *f.number = b.rows, b.rows
		*f.totBytes, *f.zipBytes = f.total, f.zipped
		total, zipped = total+f.total, zipped+f.zipped
		if m := b.enc[k].maximum; f.leafLen != nil {
			*f.leafLen = max(*f.leafLen, int(m)+1)
			f.leafMax.SetInt(m + 1)
		} else if f.leafMax.IsValid() && b.enc[k].col.Kind.Form == Scalar {
			f.leafMax.SetInt(m)
		}
	}
	v := structOf(b.tree, "ttree")
	for name, n := range map[string]int64{"entries": b.rows, "totBytes": total, "zipBytes": zipped, "autoFlush": max(b.clusters, 1)} {
		p, err := hidden[int64](v, name)
		if err != nil {
			return err
		}
		*p = n
	}
	return nil
}
