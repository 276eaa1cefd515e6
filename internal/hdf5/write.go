package hdf5

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/klauspost/compress/zlib"

	"hepmorph/internal/atomicfile"
	"hepmorph/internal/par"
)

// A Spec says how a dataset is written. Rows are appended; only the last dimension is fixed.
type Spec struct {
	Type  Type  // default Float32
	Width int64 // elements of a row; 0 makes a one-dimensional dataset

	// ChunkRows is the number of rows of a chunk. Default: about 1 MB a chunk, at most 4096 rows.
	ChunkRows int64
	// Level is the deflate level, 1 to 9. Default 4, as h5py's. Below 0: chunks are neither shuffled nor deflated.
	Level int
}

// A Writer makes an HDF5 file of one or more datasets. Datasets may be appended to in turns. Not safe for concurrent use.
type Writer struct {
	path string
	tmp  string
	out  *os.File
	at   uint64 // end of what is written
	sets []*Appender
	err  error
	done bool
}

// An Appender takes the rows of one dataset.
type Appender struct {
	w     *Writer
	name  string
	spec  Spec
	rows  int64
	buf   []byte // rows that do not fill a chunk yet
	addrs []uint64
	sizes []uint32
	row   int // bytes

	deflaters sync.Pool // of *zlib.Writer
}

const (
	superblockSize  = 96
	chunkTreeFanout = 64 // 2K of superblock version 0's fixed K = 32
	groupFanout     = 32
	symbolsPerNode  = 8
)

// Create starts a file. It appears at path when Close succeeds; until then a temporary file beside it grows. Failures to
// write match atomicfile.ErrWrite.
func Create(path string) (*Writer, error) {
	tmp, err := atomicfile.Temp(path)
	if err != nil {
		return nil, err
	}
	out, err := os.OpenFile(tmp, os.O_RDWR, 0)
	if err != nil {
		atomicfile.Discard(tmp)
		return nil, &atomicfile.Error{Path: path, Err: bare(err)}
	}
	w := &Writer{path: path, tmp: tmp, out: out}
	w.write(make([]byte, superblockSize))
	return w, w.err
}

// write appends bytes at the end of the file and returns their address, a multiple of 8.
func (w *Writer) write(b []byte) uint64 {
	at := (w.at + 7) &^ 7 // the gap reads as zeros
	w.put(b, at)
	w.at = at + uint64(len(b))
	return at
}

func (w *Writer) put(b []byte, at uint64) {
	if w.err != nil {
		return
	}
	if _, err := w.out.WriteAt(b, int64(at)); err != nil {
		w.err = &atomicfile.Error{Path: w.path, Err: bare(err)}
	}
}

// Dataset adds a dataset to the file. Names are not empty, have no slash and differ; a file holds at most 8.
func (w *Writer) Dataset(name string, s Spec) (*Appender, error) {
	fail := func(why string) (*Appender, error) {
		return nil, fmt.Errorf("hdf5: could not add dataset %q to %q: %s", name, w.path, why)
	}
	switch {
	case name == "" || strings.ContainsAny(name, "/\x00"):
		return fail("not a name")
	case len(w.sets) == symbolsPerNode:
		return fail(fmt.Sprintf("a file written here holds at most %d", symbolsPerNode))
	case slices.ContainsFunc(w.sets, func(a *Appender) bool { return a.name == name }):
		return fail("there is one already")
	case s.Type != 0 && s.Type != Float32 && s.Type != Float64:
		return fail(fmt.Sprintf("unknown type %d", s.Type))
	case s.Width < 0 || s.ChunkRows < 0 || s.Level > 9:
		return fail("negative size or level above 9")
	}
	if s.Type == 0 {
		s.Type = Float32
	}
	if s.Level == 0 {
		s.Level = 4
	}
	bytes := max(1, s.Width) * int64(s.Type.Size())
	if s.ChunkRows == 0 {
		s.ChunkRows = min(4096, max(1, (1<<20)/bytes))
	}
	if bytes > maxChunkBytes/s.ChunkRows {
		return fail(fmt.Sprintf("chunks of more than %d MB", maxChunkBytes>>20))
	}
	a := &Appender{w: w, name: name, spec: s, row: int(bytes)}
	a.deflaters.New = func() any {
		z, err := zlib.NewWriterLevel(nil, s.Level)
		if err != nil {
			panic("hdf5: bad deflate level")
		}
		return z
	}
	w.sets = append(w.sets, a)
	return a, nil
}

// Rows is the number of rows appended so far.
func (a *Appender) Rows() int64 { return a.rows }

// Append writes rows, row-major, converted to the dataset's type. rows must hold whole rows.
func Append[T float32 | float64](a *Appender, rows []T) error {
	width := int(max(1, a.spec.Width))
	switch {
	case a.w.err != nil:
		return a.w.err
	case a.w.done:
		return fmt.Errorf("hdf5: could not append to dataset %q of %q: the file is closed", a.name, a.w.path)
	case len(rows)%width != 0:
		return fmt.Errorf("hdf5: could not append to dataset %q of %q: %d elements are not whole rows of %d", a.name, a.w.path, len(rows), width)
	}
	a.rows += int64(len(rows) / width)
	full := a.row * int(a.spec.ChunkRows)
	block := max(1, (16<<20)/full) * full / a.spec.Type.Size() // elements encoded at a time
	for len(rows) > 0 {
		n := min(len(rows), max(1, block-len(a.buf)/a.spec.Type.Size()))
		a.buf = encode(a.buf, rows[:n], a.spec.Type)
		rows = rows[n:]
		if len(a.buf) >= full {
			a.flush(len(a.buf) / full)
		}
	}
	return a.w.err
}

func encode[T float32 | float64](b []byte, x []T, t Type) []byte {
	if t == Float32 {
		for _, v := range x {
			b = le.AppendUint32(b, math.Float32bits(float32(v)))
		}
		return b
	}
	for _, v := range x {
		b = le.AppendUint64(b, math.Float64bits(float64(v)))
	}
	return b
}

// flush writes the first n chunks of the buffer; compression runs on all threads, the order of the chunks is fixed.
func (a *Appender) flush(n int) {
	full := a.row * int(a.spec.ChunkRows)
	out := make([][]byte, n)
	par.For(0, n, 1, func(_, i, _ int) {
		out[i] = a.pack(a.buf[i*full : (i+1)*full])
	})
	for _, b := range out {
		a.sizes = append(a.sizes, uint32(len(b)))
		a.addrs = append(a.addrs, a.w.write(b))
	}
	a.buf = a.buf[:copy(a.buf, a.buf[n*full:])]
}

func (a *Appender) pack(b []byte) []byte {
	if a.spec.Level < 0 {
		return slices.Clone(b)
	}
	var buf bytes.Buffer
	z := a.deflaters.Get().(*zlib.Writer)
	z.Reset(&buf)
	_, err := z.Write(shuffle(b, a.spec.Type.Size()))
	if err == nil {
		err = z.Close()
	}
	if err != nil {
		panic("hdf5: writing to memory failed")
	}
	a.deflaters.Put(z)
	return buf.Bytes()
}

// Close writes what is buffered, the headers and the superblock, and puts the file in place. After an error nothing is at
// path that was not there before.
func (w *Writer) Close() error {
	if w.done {
		return w.err
	}
	w.done = true
	slices.SortFunc(w.sets, func(a, b *Appender) int { return strings.Compare(a.name, b.name) })
	headers := make([]uint64, len(w.sets))
	for i, a := range w.sets {
		if len(a.buf) > 0 {
			full := a.row * int(a.spec.ChunkRows)
			a.buf = append(a.buf, make([]byte, full-len(a.buf))...)
			a.flush(1)
		}
		headers[i] = w.write(a.header(a.tree()))
	}
	w.root(headers)
	if err := w.out.Close(); err != nil && w.err == nil {
		w.err = &atomicfile.Error{Path: w.path, Err: bare(err)}
	}
	if w.err != nil {
		atomicfile.Discard(w.tmp)
		return w.err
	}
	w.err = atomicfile.Commit(w.tmp, w.path)
	return w.err
}

// Abort drops the file; what stood at its path stays. It does nothing after Close.
func (w *Writer) Abort() {
	if w.done {
		return
	}
	w.done = true
	w.err = errors.New("hdf5: the file was dropped")
	w.out.Close()
	atomicfile.Discard(w.tmp)
}

// tree writes the chunk B-tree bottom-up and returns the address of its root.
func (a *Appender) tree() uint64 {
	if len(a.addrs) == 0 {
		return undefined
	}
	rank := a.rank()
	keySize := 8 + 8*(rank+1)
	key := func(b []byte, row int64, size uint32) []byte {
		b = le.AppendUint32(b, size)
		b = le.AppendUint32(b, 0)
		b = le.AppendUint64(b, uint64(row))
		return append(b, make([]byte, 8*rank)...) // other dimensions start at 0, the element's byte at 0
	}
	type ref struct {
		row  int64
		size uint32
		addr uint64
	}
	level := byte(0)
	nodes := make([]ref, len(a.addrs))
	for i := range nodes {
		nodes[i] = ref{int64(i) * a.spec.ChunkRows, a.sizes[i], a.addrs[i]}
	}
	end := int64(len(nodes)) * a.spec.ChunkRows
	size := 24 + chunkTreeFanout*8 + (chunkTreeFanout+1)*keySize
	for {
		var up []ref
		count := (len(nodes) + chunkTreeFanout - 1) / chunkTreeFanout
		start := (a.w.at + 7) &^ 7
		for k := range count {
			part := nodes[k*chunkTreeFanout : min(len(nodes), (k+1)*chunkTreeFanout)]
			b := append([]byte("TREE"), 1, level)
			b = le.AppendUint16(b, uint16(len(part)))
			left, right := undefined, undefined
			if k > 0 {
				left = start + uint64((k-1)*size)
			}
			if k < count-1 {
				right = start + uint64((k+1)*size)
			}
			b = le.AppendUint64(le.AppendUint64(b, left), right)
			for _, n := range part {
				b = key(b, n.row, n.size)
				b = le.AppendUint64(b, n.addr)
			}
			next := end
			if k < count-1 {
				next = nodes[(k+1)*chunkTreeFanout].row
			}
			b = key(b, next, 0)
			b = append(b, make([]byte, size-len(b))...)
			up = append(up, ref{part[0].row, part[0].size, a.w.write(b)})
		}
		if count == 1 {
			return up[0].addr
		}
		nodes = up
		level++
	}
}

func (a *Appender) rank() int {
	if a.spec.Width == 0 {
		return 1
	}
	return 2
}

// header is the dataset's version-1 object header.
func (a *Appender) header(tree uint64) []byte {
	dims := []uint64{uint64(a.rows)}
	chunk := []uint32{uint32(a.spec.ChunkRows)}
	if a.spec.Width > 0 {
		dims = append(dims, uint64(a.spec.Width))
		chunk = append(chunk, uint32(a.spec.Width))
	}
	rank := byte(len(dims))
	space := []byte{1, rank, 1, 0, 0, 0, 0, 0}
	for range 2 { // sizes, then maximal sizes
		for _, n := range dims {
			space = le.AppendUint64(space, n)
		}
	}
	kind := []byte{0x11, 0x20, 31, 0, 4, 0, 0, 0, 0, 0, 32, 0, 23, 8, 0, 23, 127, 0, 0, 0}
	if a.spec.Type == Float64 {
		kind = []byte{0x11, 0x20, 63, 0, 8, 0, 0, 0, 0, 0, 64, 0, 52, 11, 0, 52, 255, 3, 0, 0}
	}
	layout := append([]byte{3, 2, rank + 1}, le.AppendUint64(nil, tree)...)
	for _, n := range chunk {
		layout = le.AppendUint32(layout, n)
	}
	layout = le.AppendUint32(layout, uint32(a.spec.Type.Size()))
	msgs := []message{
		{msgDataspace, space},
		{msgDatatype, kind},
		{msgFill, []byte{2, 3, 2, 1, 0, 0, 0, 0}}, // allocated chunk by chunk, default fill value
		{msgLayout, layout},
	}
	if a.spec.Level >= 0 {
		f := []byte{1, 2, 0, 0, 0, 0, 0, 0}
		f = filter(f, filterShuffle, "shuffle\x00", uint32(a.spec.Type.Size()))
		f = filter(f, filterDeflate, "deflate\x00", uint32(a.spec.Level))
		msgs = append(msgs, message{msgFilters, f})
	}
	return objectHeader(msgs)
}

func filter(b []byte, id uint16, name string, value uint32) []byte {
	b = le.AppendUint16(b, id)
	b = le.AppendUint16(b, uint16(len(name)))
	b = le.AppendUint16(b, 1) // optional
	b = le.AppendUint16(b, 1) // one value
	b = append(b, name...)
	b = le.AppendUint32(b, value)
	return le.AppendUint32(b, 0)
}

func objectHeader(msgs []message) []byte {
	var body []byte
	for _, m := range msgs {
		data := append(slices.Clone(m.data), make([]byte, -len(m.data)&7)...)
		flags := byte(0)
		if m.kind == msgDatatype || m.kind == msgFill || m.kind == msgFilters {
			flags = 1 // constant
		}
		body = le.AppendUint16(body, m.kind)
		body = le.AppendUint16(body, uint16(len(data)))
		body = append(body, flags, 0, 0, 0)
		body = append(body, data...)
	}
	b := []byte{1, 0}
	b = le.AppendUint16(b, uint16(len(msgs)))
	b = le.AppendUint32(b, 1) // reference count
	b = le.AppendUint32(b, uint32(len(body)))
	b = le.AppendUint32(b, 0)
	return append(b, body...)
}

// root writes the symbol table of the root group and the superblock.
func (w *Writer) root(headers []uint64) {
	text := make([]byte, 8) // the empty name
	at := make([]uint64, len(w.sets))
	for i, a := range w.sets {
		at[i] = uint64(len(text))
		text = append(text, a.name...)
		text = append(text, 0)
		text = append(text, make([]byte, -len(text)&7)...)
	}
	data := w.write(text)
	heap := append([]byte("HEAP"), 0, 0, 0, 0)
	heap = le.AppendUint64(heap, uint64(len(text)))
	heap = le.AppendUint64(heap, 1) // no free block
	heap = le.AppendUint64(heap, data)
	heapAt := w.write(heap)

	node := append([]byte("SNOD"), 1, 0)
	node = le.AppendUint16(node, uint16(len(w.sets)))
	for i := range w.sets {
		node = le.AppendUint64(node, at[i])
		node = le.AppendUint64(node, headers[i])
		node = append(node, make([]byte, 24)...)
	}
	node = append(node, make([]byte, 8+40*symbolsPerNode-len(node))...)

	used, last := uint16(0), uint64(0)
	child := uint64(0)
	if len(w.sets) > 0 {
		used, last, child = 1, at[len(at)-1], w.write(node)
	}
	tree := append([]byte("TREE"), 0, 0)
	tree = le.AppendUint16(tree, used)
	tree = le.AppendUint64(le.AppendUint64(tree, undefined), undefined)
	tree = le.AppendUint64(le.AppendUint64(le.AppendUint64(tree, 0), child), last)
	tree = append(tree, make([]byte, 24+8*groupFanout+8*(groupFanout+1)-len(tree))...)
	treeAt := w.write(tree)
	table := le.AppendUint64(le.AppendUint64(nil, treeAt), heapAt)
	rootAt := w.write(objectHeader([]message{{msgSymbolTable, table}}))

	sb := []byte(signature)
	sb = append(sb, 0, 0, 0, 0, 0, 8, 8, 0)
	sb = le.AppendUint16(sb, symbolsPerNode/2)
	sb = le.AppendUint16(sb, groupFanout/2)
	sb = le.AppendUint32(sb, 0)
	for _, v := range []uint64{0, undefined, w.at, undefined, 0, rootAt} {
		sb = le.AppendUint64(sb, v)
	}
	sb = le.AppendUint32(sb, 1) // the scratch pad holds the addresses of tree and heap
	sb = le.AppendUint32(sb, 0)
	sb = append(sb, table...)
	w.put(sb, 0)
}
