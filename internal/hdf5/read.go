package hdf5

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"sort"
	"strings"
	"sync"

	"hepmorph/internal/par"
)

// A File is an HDF5 file open for reading. Safe for concurrent use.
type File struct {
	path  string
	r     io.ReaderAt
	close func() error
	size  int64 // of the HDF5 part, from base on
	base  int64 // bytes of a user block before the superblock
	names []string
	sets  map[string]uint64
}

// A Dataset is an array of floats in a file; its first dimension counts rows. Safe for concurrent use.
type Dataset struct {
	Name      string
	Dims      []int64 // at least one
	Type      Type
	ChunkDims []int64 // nil: not chunked
	Shuffle   bool
	Deflate   bool

	f       *File
	filters []uint16 // in the order of writing
	addr    uint64   // contiguous data, or the root of the chunk tree
	length  uint64   // of contiguous data
	compact []byte
	fill    []byte

	once   sync.Once
	chunks []chunk
	err    error

	mu     sync.Mutex
	cached map[int][]byte
	bytes  int
}

type chunk struct {
	at   []int64 // first element, one number a dimension
	addr uint64
	size uint32
	mask uint32
}

// Open reads the superblock and the root group of path. The error matches ErrDamaged or ErrUnsupported, or is that of
// the operating system.
func Open(path string) (*File, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("hdf5: could not open %q: %w", path, bare(err))
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("not a regular file")
	}
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("hdf5: could not open %q: %w", path, bare(err))
	}
	f, err := newFile(path, file, info.Size())
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("hdf5: could not open %q: %w", path, err)
	}
	f.close = file.Close
	return f, nil
}

func bare(err error) error {
	var pe *os.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// Close releases the file.
func (f *File) Close() error {
	if f.close == nil {
		return nil
	}
	return f.close()
}

// Names lists the objects of the root group, sorted.
func (f *File) Names() []string { return slices.Clone(f.names) }

// Has tells whether the root group holds an object of this name.
func (f *File) Has(name string) bool {
	_, ok := f.sets[name]
	return ok
}

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrDamaged, fmt.Sprintf(format, args...))
}

func unsupported(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrUnsupported, fmt.Sprintf(format, args...))
}

// at reads n bytes at an address of the file.
func (f *File) at(what string, addr uint64, n int) ([]byte, error) {
	if addr > uint64(f.size) || uint64(n) > uint64(f.size)-addr {
		return nil, damaged("%s at byte %d needs %d bytes, the file ends at %d (copied in full?)", what, addr, n, f.size)
	}
	b := make([]byte, n)
	if _, err := f.r.ReadAt(b, f.base+int64(addr)); err != nil {
		return nil, fmt.Errorf("%s at byte %d: %w", what, addr, bare(err))
	}
	return b, nil
}

var le = binary.LittleEndian

func newFile(path string, r io.ReaderAt, size int64) (*File, error) {
	f := &File{path: path, r: r, size: size, sets: map[string]uint64{}}
	if err := f.superblock(size); err != nil {
		return nil, err
	}
	return f, nil
}

func (f *File) superblock(size int64) error {
	if size == 0 {
		return damaged("the file is empty")
	}
	head := make([]byte, 104)
	for off := int64(0); ; off = max(512, 2*off) {
		if off+8 > size {
			return damaged("no HDF5 signature")
		}
		var sig [8]byte
		if _, err := f.r.ReadAt(sig[:], off); err != nil {
			return fmt.Errorf("superblock: %w", bare(err))
		}
		if string(sig[:]) == signature {
			f.base = off
			break
		}
	}
	n, err := f.r.ReadAt(head[:min(int64(len(head)), size-f.base)], f.base)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("superblock: %w", bare(err))
	}
	if n < 9 {
		return damaged("superblock cut short")
	}
	version := head[8]
	switch {
	case version == 2 || version == 3:
		return unsupported(`superblock version %d, as written with libver="latest" (write it again with h5py's default libver, or: h5repack --low=0 --high=0 IN OUT)`, version)
	case version > 3:
		return damaged("superblock version %d", version)
	}
	skip := 0
	if version == 1 {
		skip = 4
	}
	if n < 96+skip {
		return damaged("superblock cut short: %d bytes", n)
	}
	if head[13] != 8 || head[14] != 8 {
		return unsupported("addresses of %d and lengths of %d bytes, 8 and 8 expected", head[13], head[14])
	}
	b := head[24+skip:]
	if base := le.Uint64(b); base != 0 && base != uint64(f.base) {
		return unsupported("base address %d", base)
	}
	f.size = size - f.base
	if eof := le.Uint64(b[16:]); eof > uint64(size) {
		return damaged("the superblock says %d bytes, the file has %d (copied in full?)", eof, size)
	}
	header := le.Uint64(b[40:])
	msgs, err := f.header("root group", header)
	if err != nil {
		return err
	}
	for _, m := range msgs {
		if m.kind == msgSymbolTable {
			if len(m.data) < 16 {
				return damaged("root group: symbol table message of %d bytes", len(m.data))
			}
			if err := f.group(le.Uint64(m.data), le.Uint64(m.data[8:])); err != nil {
				return fmt.Errorf("root group: %w", err)
			}
			sort.Strings(f.names)
			return nil
		}
	}
	return unsupported("the root group has no symbol table")
}

type message struct {
	kind uint16
	data []byte
}

// header reads a version-1 object header and its continuations.
func (f *File) header(what string, addr uint64) ([]message, error) {
	b, err := f.at(what+": object header", addr, 16)
	if err != nil {
		return nil, err
	}
	if string(b[:4]) == "OHDR" {
		return nil, unsupported(`%s: object header version 2, as written with libver="latest" or track_order (write it again with h5py's defaults, or: h5repack --low=0 --high=0 IN OUT)`, what)
	}
	if b[0] != 1 {
		return nil, damaged("%s: object header version %d at byte %d", what, b[0], addr)
	}
	type block struct {
		addr uint64
		size uint64
	}
	blocks := []block{{addr + 16, uint64(le.Uint32(b[8:]))}}
	var msgs []message
	total := uint64(0)
	for i := 0; i < len(blocks); i++ {
		if total += blocks[i].size; total > maxHeader || i > 256 {
			return nil, damaged("%s: object header is longer than %d bytes", what, maxHeader)
		}
		b, err := f.at(what+": object header", blocks[i].addr, int(blocks[i].size))
		if err != nil {
			return nil, err
		}
		for len(b) >= 8 {
			m := message{kind: le.Uint16(b)}
			n, flags := int(le.Uint16(b[2:])), b[4]
			b = b[8:]
			if n > len(b) {
				return nil, damaged("%s: message %#x of %d bytes, %d are left", what, m.kind, n, len(b))
			}
			m.data, b = b[:n], b[n:]
			if flags&2 != 0 && m.kind != 0 && m.kind != msgContinuation {
				if m.kind == msgDatatype || m.kind == msgDataspace || m.kind == msgFilters {
					return nil, unsupported("%s: shared message %#x", what, m.kind)
				}
				continue
			}
			if m.kind == msgContinuation {
				if n < 16 {
					return nil, damaged("%s: continuation of %d bytes", what, n)
				}
				blocks = append(blocks, block{le.Uint64(m.data), le.Uint64(m.data[8:])})
				continue
			}
			if msgs = append(msgs, m); len(msgs) > maxMessages {
				return nil, damaged("%s: more than %d messages", what, maxMessages)
			}
		}
	}
	return msgs, nil
}

// group walks the B-tree of a symbol table and fills names and sets.
func (f *File) group(tree, heap uint64) error {
	b, err := f.at("name heap", heap, 32)
	if err != nil {
		return err
	}
	if string(b[:4]) != "HEAP" {
		return damaged("no name heap at byte %d", heap)
	}
	size := le.Uint64(b[8:])
	if size > maxHeader {
		return damaged("name heap of %d bytes", size)
	}
	text, err := f.at("name heap", le.Uint64(b[24:]), int(size))
	if err != nil {
		return err
	}
	return f.walk(tree, 0, 8, maxDepth, map[uint64]bool{}, func(_ []byte, child uint64) error {
		b, err := f.at("symbol node", child, 8)
		if err != nil {
			return err
		}
		if string(b[:4]) != "SNOD" {
			return damaged("no symbol node at byte %d", child)
		}
		n := int(le.Uint16(b[6:]))
		b, err = f.at("symbol node", child+8, 40*n)
		if err != nil {
			return err
		}
		for ; len(b) >= 40; b = b[40:] {
			at := le.Uint64(b)
			if at >= uint64(len(text)) {
				return damaged("name at byte %d of a heap of %d", at, len(text))
			}
			name, _, ok := strings.Cut(string(text[at:]), "\x00")
			if !ok || name == "" {
				return damaged("name without an end in the heap")
			}
			if _, twice := f.sets[name]; twice {
				return damaged("two objects named %q", name)
			}
			if len(f.names) >= maxDatasets {
				return damaged("more than %d objects", maxDatasets)
			}
			f.names = append(f.names, name)
			f.sets[name] = le.Uint64(b[8:])
		}
		return nil
	})
}

// walk visits the leaves of a version-1 B-tree in order. keySize is that of one key; no node is visited twice.
func (f *File) walk(addr uint64, kind byte, keySize, depth int, seen map[uint64]bool, leaf func(key []byte, child uint64) error) error {
	if seen[addr] {
		return damaged("B-tree node at byte %d is its own descendant", addr)
	}
	seen[addr] = true
	b, err := f.at("B-tree node", addr, 24)
	if err != nil {
		return err
	}
	if string(b[:4]) != "TREE" || b[4] != kind {
		return damaged("no B-tree node of type %d at byte %d", kind, addr)
	}
	level, used := int(b[5]), int(le.Uint16(b[6:]))
	if level >= depth {
		return damaged("B-tree node at byte %d has level %d", addr, level)
	}
	if used == 0 {
		return nil
	}
	step := keySize + 8
	b, err = f.at("B-tree node", addr+24, used*step+keySize)
	if err != nil {
		return err
	}
	for i := range used {
		key, child := b[i*step:i*step+keySize], le.Uint64(b[i*step+keySize:])
		if level == 0 {
			err = leaf(key, child)
		} else {
			err = f.walk(child, kind, keySize, level, seen, leaf)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Dataset opens a dataset of the root group. The error names what the file holds (ErrNotFound), or what is damaged or
// unsupported.
func (f *File) Dataset(name string) (*Dataset, error) {
	addr, ok := f.sets[name]
	if !ok {
		return nil, fmt.Errorf("hdf5: could not find dataset %q in %q: the file holds %s: %w", name, f.path, strings.Join(f.names, ", "), ErrNotFound)
	}
	d := &Dataset{Name: name, f: f, cached: map[int][]byte{}}
	if err := d.open(addr); err != nil {
		return nil, fmt.Errorf("hdf5: could not open dataset %q in %q: %w", name, f.path, err)
	}
	return d, nil
}

func (d *Dataset) open(addr uint64) error {
	msgs, err := d.f.header("dataset", addr)
	if err != nil {
		return err
	}
	var have [32]bool
	var layout []byte
	for _, m := range msgs {
		if int(m.kind) < len(have) {
			have[m.kind] = true
		}
		switch m.kind {
		case msgDataspace:
			err = d.dataspace(m.data)
		case msgDatatype:
			err = d.datatype(m.data)
		case msgLayout:
			layout = m.data
		case msgFilters:
			err = d.pipeline(m.data)
		case msgFill:
			err = d.fillValue(m.data)
		}
		if err != nil {
			return err
		}
	}
	switch {
	case have[msgSymbolTable]:
		return unsupported("it is a group, not a dataset")
	case !have[msgDataspace] || !have[msgDatatype] || layout == nil:
		return damaged("dataset without shape, type or layout")
	}
	if len(d.fill) != 0 && len(d.fill) != d.Type.Size() {
		return damaged("fill value of %d bytes", len(d.fill))
	}
	return d.layout(layout)
}

func (d *Dataset) dataspace(b []byte) error {
	if len(b) < 4 {
		return damaged("dataspace of %d bytes", len(b))
	}
	rank, at := int(b[1]), 8
	switch b[0] {
	case 1:
	case 2:
		at = 4
	default:
		return damaged("dataspace version %d", b[0])
	}
	if rank < 1 || rank > maxRank {
		return unsupported("dataset of %d dimensions, 1 to %d are read", rank, maxRank)
	}
	if len(b) < at+8*rank {
		return damaged("dataspace cut short")
	}
	d.Dims = make([]int64, rank)
	n := int64(1)
	for i := range d.Dims {
		v := le.Uint64(b[at+8*i:])
		if v > uint64(maxElements) || (v > 0 && n > maxElements/int64(v)) {
			return damaged("dimension %d has %d elements", i, v)
		}
		d.Dims[i] = int64(v)
		n *= max(1, int64(v))
	}
	return nil
}

func (d *Dataset) datatype(b []byte) error {
	if len(b) < 8 {
		return damaged("datatype of %d bytes", len(b))
	}
	class, size := b[0]&15, le.Uint32(b[4:])
	if class != 1 {
		names := []string{"an integer", "a float", "a time", "a string", "a bit field", "an opaque", "a compound", "a reference", "an enumeration", "a variable-length", "an array"}
		what := "an unknown"
		if int(class) < len(names) {
			what = names[class]
		}
		return unsupported("it holds %s type, float32 or float64 expected", what)
	}
	if b[1]&0x41 != 0 {
		return unsupported("big-endian floats, little-endian expected")
	}
	if len(b) < 20 {
		return damaged("datatype cut short")
	}
	ieee := [2][12]byte{{0, 0, 32, 0, 23, 8, 0, 23, 127}, {0, 0, 64, 0, 52, 11, 0, 52, 0xff, 3}}
	switch {
	case size == 4 && [12]byte(b[8:20]) == ieee[0]:
		d.Type = Float32
	case size == 8 && [12]byte(b[8:20]) == ieee[1]:
		d.Type = Float64
	default:
		return unsupported("floats of %d bytes that are not IEEE float32 or float64", size)
	}
	return nil
}

func (d *Dataset) pipeline(b []byte) error {
	if len(b) < 2 {
		return damaged("filter message of %d bytes", len(b))
	}
	version, n := b[0], int(b[1])
	at := 2
	switch version {
	case 1:
		at = 8
	case 2:
	default:
		return damaged("filter message version %d", version)
	}
	for range n {
		if len(b) < at+8 {
			return damaged("filter message cut short")
		}
		id, names, vals := le.Uint16(b[at:]), 0, 0
		if version == 1 || id >= 256 {
			names, vals = int(le.Uint16(b[at+2:])), int(le.Uint16(b[at+6:]))
			at += 8
			if version == 1 {
				names = (names + 7) &^ 7
			}
		} else {
			vals = int(le.Uint16(b[at+4:]))
			at += 6
		}
		at += names + 4*vals
		if version == 1 && vals%2 == 1 {
			at += 4
		}
		if at > len(b) {
			return damaged("filter message cut short")
		}
		switch id {
		case filterDeflate:
			d.Deflate = true
		case filterShuffle:
			d.Shuffle = true
		default:
			name := filterNames[id]
			if name == "" {
				name = "unknown"
			}
			return unsupported("filter %d (%s), deflate and shuffle are read (try: h5repack -f SHUF -f GZIP=4 IN OUT)", id, name)
		}
		if slices.Contains(d.filters, id) {
			return unsupported("filter %d twice", id)
		}
		d.filters = append(d.filters, id)
	}
	return nil
}

// fillValue keeps what elements of chunks that were never written hold. Absent means zero.
func (d *Dataset) fillValue(b []byte) error {
	if len(b) < 4 {
		return damaged("fill value message of %d bytes", len(b))
	}
	switch b[0] {
	case 1, 2:
		if b[0] == 2 && b[3] == 0 {
			return nil
		}
		b = b[4:]
	case 3:
		if b[1]&0x20 == 0 {
			return nil
		}
		b = b[2:]
	default:
		return damaged("fill value message version %d", b[0])
	}
	if len(b) < 4 {
		return nil
	}
	n := le.Uint32(b)
	if n == 0 || n > 8 {
		return nil
	}
	if len(b) < 4+int(n) {
		return damaged("fill value cut short")
	}
	d.fill = slices.Clone(b[4 : 4+n])
	return nil
}

func (d *Dataset) layout(b []byte) error {
	if len(b) < 2 {
		return damaged("layout message of %d bytes", len(b))
	}
	switch {
	case b[0] == 4:
		return unsupported(`layout version 4, as written with libver="latest" (write it again with h5py's default libver, or: h5repack --low=0 --high=0 IN OUT)`)
	case b[0] == 1 || b[0] == 2:
		return unsupported("layout version %d, as written before HDF5 1.6.3 (try: h5repack IN OUT)", b[0])
	case b[0] != 3:
		return damaged("layout version %d", b[0])
	}
	total := uint64(d.Type.Size())
	for _, n := range d.Dims {
		total *= uint64(n)
	}
	class := b[1]
	if class != 2 && len(d.filters) > 0 {
		return damaged("filters on a dataset that is not chunked")
	}
	switch class {
	case 0:
		if len(b) < 4 || len(b) < 4+int(le.Uint16(b[2:])) {
			return damaged("compact data cut short")
		}
		d.compact = b[4 : 4+int(le.Uint16(b[2:]))]
		if uint64(len(d.compact)) < total {
			return damaged("compact data of %d bytes, shape %v needs %d", len(d.compact), d.Dims, total)
		}
	case 1:
		if len(b) < 18 {
			return damaged("layout message cut short")
		}
		d.addr, d.length = le.Uint64(b[2:]), le.Uint64(b[10:])
		if d.addr == undefined {
			return nil // never written: all fill values
		}
		if d.length < total {
			return damaged("data of %d bytes, shape %v needs %d", d.length, d.Dims, total)
		}
		if d.addr > uint64(d.f.size) || total > uint64(d.f.size)-d.addr {
			return damaged("data at byte %d need %d bytes, the file ends at %d (copied in full?)", d.addr, total, d.f.size)
		}
	case 2:
		if len(b) < 3 || int(b[2]) != len(d.Dims)+1 || len(b) < 11+4*int(b[2]) {
			return damaged("chunk layout does not fit %d dimensions", len(d.Dims))
		}
		d.addr = le.Uint64(b[3:])
		d.ChunkDims = make([]int64, len(d.Dims))
		bytes := int64(d.Type.Size())
		for i := range d.ChunkDims {
			n := int64(le.Uint32(b[11+4*i:]))
			if n == 0 || bytes > maxChunkBytes/n {
				return damaged("chunk dimension %d of %d elements (at most %d MB a chunk)", i, n, maxChunkBytes>>20)
			}
			d.ChunkDims[i] = n
			bytes *= n
		}
		if n := le.Uint32(b[11+4*len(d.Dims):]); int(n) != d.Type.Size() {
			return damaged("chunks of %d-byte elements in a dataset of %v", n, d.Type)
		}
	default:
		return unsupported("layout class %d", class)
	}
	return nil
}

// Rows is the first dimension.
func (d *Dataset) Rows() int64 { return d.Dims[0] }

// Width is the number of elements of a row: the product of the other dimensions.
func (d *Dataset) Width() int64 {
	w := int64(1)
	for _, n := range d.Dims[1:] {
		w *= n
	}
	return w
}

// index reads the chunk tree, once.
func (d *Dataset) index() error {
	d.once.Do(func() {
		if d.addr == undefined {
			return
		}
		rank := len(d.Dims)
		d.err = d.f.walk(d.addr, 1, 8+8*(rank+1), maxDepth, map[uint64]bool{}, func(key []byte, child uint64) error {
			c := chunk{size: le.Uint32(key), mask: le.Uint32(key[4:]), addr: child, at: make([]int64, rank)}
			for i := range c.at {
				v := le.Uint64(key[8+8*i:])
				if v > uint64(maxElements) || int64(v)%d.ChunkDims[i] != 0 {
					return damaged("chunk at element %d of dimension %d, chunks are %v", v, i, d.ChunkDims)
				}
				c.at[i] = int64(v)
			}
			if c.size > 2*maxChunkBytes {
				return damaged("chunk %v of %d bytes", c.at, c.size)
			}
			if len(d.chunks) >= maxChunks {
				return damaged("more than %d chunks", maxChunks)
			}
			d.chunks = append(d.chunks, c)
			return nil
		})
		if d.err != nil {
			d.chunks = nil
			return
		}
		slices.SortFunc(d.chunks, func(a, b chunk) int { return slices.Compare(a.at, b.at) })
		for i := 1; i < len(d.chunks); i++ {
			if slices.Equal(d.chunks[i].at, d.chunks[i-1].at) {
				d.err = damaged("two chunks at %v", d.chunks[i].at)
				return
			}
		}
	})
	return d.err
}

// Read fills dst with rows lo..hi-1, row-major, converted to T where the file's type is another. dst must have
// (hi-lo)·Width elements. Rows outside the dataset, a short dst and damaged chunks are errors. Chunks are decoded on all
// threads; those of the last rows are kept, so that reading block after block decodes each chunk once.
func Read[T float32 | float64](d *Dataset, lo, hi int64, dst []T) error {
	if err := read(d, lo, hi, dst); err != nil {
		return fmt.Errorf("hdf5: could not read %q: dataset %q: rows %d to %d: %w", d.f.path, d.Name, lo, hi, err)
	}
	return nil
}

func read[T float32 | float64](d *Dataset, lo, hi int64, dst []T) error {
	width := d.Width()
	switch {
	case lo < 0 || hi < lo || hi > d.Rows():
		return fmt.Errorf("the dataset has %d rows", d.Rows())
	case int64(len(dst)) != (hi-lo)*width:
		return fmt.Errorf("%d rows of %d elements do not fit a slice of %d", hi-lo, width, len(dst))
	case len(dst) == 0:
		return nil
	}
	if d.ChunkDims == nil {
		return readPlain(d, lo*width, dst)
	}
	if err := d.index(); err != nil {
		return err
	}
	fill := fillOf[T](d)
	for i := range dst {
		dst[i] = fill
	}
	first := sort.Search(len(d.chunks), func(i int) bool { return d.chunks[i].at[0]+d.ChunkDims[0] > lo })
	last := sort.Search(len(d.chunks), func(i int) bool { return d.chunks[i].at[0] >= hi })
	d.evict(first)
	errs := make([]error, max(0, last-first))
	par.For(0, len(errs), 1, func(_, a, _ int) {
		i := first + a
		raw, err := d.chunk(i)
		if err != nil {
			errs[a] = fmt.Errorf("chunk at %v: %w", d.chunks[i].at, err)
			return
		}
		copyChunk(dst, raw, d, d.chunks[i].at, lo, hi)
	})
	return errors.Join(errs...)
}

// copyChunk copies the elements of a chunk that lie in rows lo..hi-1 and inside the dataset, run by run along the last
// dimension.
func copyChunk[T float32 | float64](dst []T, raw []byte, d *Dataset, at []int64, lo, hi int64) {
	rank := len(d.Dims)
	from, to := make([]int64, rank), make([]int64, rank)
	for k := range from {
		from[k], to[k] = at[k], min(at[k]+d.ChunkDims[k], d.Dims[k])
	}
	from[0], to[0] = max(from[0], lo), min(to[0], hi)
	for k := range from {
		if from[k] >= to[k] {
			return
		}
	}
	last := rank - 1
	pos := slices.Clone(from)
	for {
		src, out := pos[0]-at[0], pos[0]-lo
		for k := 1; k < rank; k++ {
			src = src*d.ChunkDims[k] + pos[k] - at[k]
			out = out*d.Dims[k] + pos[k]
		}
		convert(dst[out:out+to[last]-from[last]], raw[src*int64(d.Type.Size()):], d.Type)
		k := last - 1
		for ; k >= 0; k-- {
			if pos[k]++; pos[k] < to[k] {
				break
			}
			pos[k] = from[k]
		}
		if k < 0 {
			return
		}
	}
}

// fillOf is the value of elements that were never written.
func fillOf[T float32 | float64](d *Dataset) T {
	var one [1]T
	if d.fill != nil {
		convert(one[:], d.fill, d.Type)
	}
	return one[0]
}

func readPlain[T float32 | float64](d *Dataset, from int64, dst []T) error {
	es := int64(d.Type.Size())
	if d.compact != nil {
		convert(dst, d.compact[from*es:], d.Type)
		return nil
	}
	if d.addr == undefined {
		fill := fillOf[T](d)
		for i := range dst {
			dst[i] = fill
		}
		return nil
	}
	const block = 1 << 17
	for at := int64(0); at < int64(len(dst)); at += block {
		n := min(block, int64(len(dst))-at)
		b, err := d.f.at("data", d.addr+uint64((from+at)*es), int(n*es))
		if err != nil {
			return err
		}
		convert(dst[at:at+n], b, d.Type)
	}
	return nil
}

func convert[T float32 | float64](dst []T, b []byte, t Type) {
	if t == Float32 {
		_ = b[:4*len(dst)]
		for i := range dst {
			dst[i] = T(math.Float32frombits(le.Uint32(b[4*i:])))
		}
		return
	}
	_ = b[:8*len(dst)]
	for i := range dst {
		dst[i] = T(math.Float64frombits(le.Uint64(b[8*i:])))
	}
}

// evict forgets decoded chunks before chunk first.
func (d *Dataset) evict(first int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, b := range d.cached {
		if i < first {
			d.bytes -= len(b)
			delete(d.cached, i)
		}
	}
}

// chunk returns the decoded bytes of chunk i.
func (d *Dataset) chunk(i int) ([]byte, error) {
	d.mu.Lock()
	b := d.cached[i]
	d.mu.Unlock()
	if b != nil {
		return b, nil
	}
	c := d.chunks[i]
	want := d.Type.Size()
	for _, n := range d.ChunkDims {
		want *= int(n)
	}
	b, err := d.f.at("chunk", c.addr, int(c.size))
	if err != nil {
		return nil, err
	}
	if b, err = decode(b, want, d.Type.Size(), d.filters, c.mask); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.cached[i] == nil && d.bytes+len(b) <= cacheBytes {
		d.cached[i] = b
		d.bytes += len(b)
	}
	return b, nil
}
