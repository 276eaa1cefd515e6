// Package hdf5 reads and writes the subset of HDF5 that shower files use and that h5py writes by default: superblock
// version 0 or 1, datasets in the root group (a symbol table), little-endian IEEE floats of 4 or 8 bytes, stored contiguously,
// compactly or in chunks behind a version-1 B-tree, with the filters shuffle and deflate.
//
//	f, err := hdf5.Open("dataset_2_1.hdf5")
//	d, err := f.Dataset("showers")                  // d.Dims = [100000 6480]
//	err = hdf5.Read(d, 500, 700, rows)              // rows 500..699 into a []float32 or []float64
//
//	w, err := hdf5.Create("out.h5")
//	s, err := w.Dataset("showers", hdf5.Spec{Type: hdf5.Float32, Width: 6480})
//	err = hdf5.Append(s, rows)                      // as often as needed; memory holds one band of chunks
//	err = w.Close()                                 // the file appears at its path here, whole
//
// Everything in a file is treated as foreign: sizes are checked against the file and against fixed limits before memory is
// allocated, and what is outside the subset is named (files of libver="latest", other filters, big-endian or integer
// data). The package does not read nested groups, attributes, strings or compound types.
//
// Source of the format: HDF5 File Format Specification, versions 1.1 and 3.0 (The HDF Group).
package hdf5

import "errors"

// ErrDamaged marks a file whose bytes contradict the format: cut short, overwritten, not HDF5 at all.
var ErrDamaged = errors.New("damaged or not an HDF5 file")

// ErrUnsupported marks a file that may be sound but uses something outside the subset.
var ErrUnsupported = errors.New("outside the HDF5 subset that is read here")

// ErrNotFound marks a dataset that the root group does not hold.
var ErrNotFound = errors.New("no such dataset")

// A Type is the type of a dataset's elements in the file.
type Type uint8

// The element types.
const (
	Float32 Type = 4
	Float64 Type = 8
)

// Size is the number of bytes of an element.
func (t Type) Size() int { return int(t) }

func (t Type) String() string {
	if t == Float32 {
		return "float32"
	}
	return "float64"
}

// Limits of what is accepted from a file. The largest official shower file has 100 000 × 40 500 elements and chunks of
// about 1 MB.
const (
	maxRank       = 8
	maxChunkBytes = 256 << 20
	maxChunks     = 16 << 20
	maxHeader     = 1 << 20
	maxMessages   = 4096
	maxDatasets   = 4096
	maxDepth      = 32
	maxElements   = int64(1) << 50
	cacheBytes    = 64 << 20
)

const undefined = ^uint64(0)

const signature = "\x89HDF\r\n\x1a\n"

// Numbers of the object header messages.
const (
	msgDataspace    = 0x01
	msgDatatype     = 0x03
	msgFill         = 0x05
	msgLayout       = 0x08
	msgFilters      = 0x0b
	msgContinuation = 0x10
	msgSymbolTable  = 0x11
)

// Numbers of the filters.
const (
	filterDeflate = 1
	filterShuffle = 2
)

var filterNames = map[uint16]string{3: "fletcher32", 4: "szip", 5: "nbit", 6: "scaleoffset", 32000: "lzf", 32001: "blosc", 32004: "lz4", 32015: "zstd"}
