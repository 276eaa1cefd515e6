package rootio

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"

	"github.com/klauspost/compress/zlib"
	"go-hep.org/x/hep/groot/rbytes"
	"go-hep.org/x/hep/groot/riofs"
	"go-hep.org/x/hep/groot/rtree"

	"hepmorph/internal/par"
)

// A flat branch has one number a row, so that its baskets are arrays. It is read by whole baskets; the decoder, which goes row by row and
// asks its buffers for single bytes, needs twice the time. Where anything is not as expected, reading is an error and the decoder has the word.
type flat struct {
	f     *riofs.File
	name  string
	kind  Kind
	seek  []int64 // baskets in the file
	size  []int32
	first []int64 // row of each, then the number of rows

	loaded   int    // basket in values, -1: none
	values   []byte // little-endian, the first so many
	have     int
	gathered []byte

	record   []byte
	blocks   []byte // of record, not begun
	block    bytes.Reader
	left     int // of what the block gives
	inflater io.ReadCloser
}

var (
	errNotFlat  = errors.New("not an array of numbers")
	errChecksum = errors.New("the checksum of its compressed bytes is wrong") // the decoder does not look at it
)

// newFlat returns a reader of a branch, nil if it is not flat.
func newFlat(f *riofs.File, t rtree.Tree, name string, k Kind) *flat {
	i := slices.IndexFunc(t.Branches(), func(b rtree.Branch) bool { return b.Name() == name })
	if i < 0 || k.Form != Scalar || !k.Elem.Numeric() {
		return nil
	}
	b := t.Branches()[i]
	if b.Class() != "TBranch" || len(b.Branches()) > 0 || len(b.Leaves()) != 1 {
		return nil
	}
	switch b.Leaves()[0].(type) {
	case *rtree.LeafO, *rtree.LeafB, *rtree.LeafS, *rtree.LeafI, *rtree.LeafL, *rtree.LeafF, *rtree.LeafD:
	default:
		return nil
	}
	v := structOf(b, "tbranch")
	offsets, err1 := hidden[int](v, "entryOffsetLen")
	seek, err2 := hidden[[]int64](v, "basketSeek")
	size, err3 := hidden[[]int32](v, "basketBytes")
	entry, err4 := hidden[[]int64](v, "basketEntry")
	if errors.Join(err1, err2, err3, err4) != nil || *offsets != 0 {
		return nil
	}
	n := slices.Index(*seek, 0) // tables have room for more baskets
	if n < 0 {
		n = len(*seek)
	}
	if n == 0 || len(*size) < n || len(*entry) <= n || (*entry)[0] != 0 || (*entry)[n] != t.Entries() {
		return nil
	}
	for i := range n {
		if (*entry)[i] >= (*entry)[i+1] {
			return nil
		}
	}
	return &flat{f: f, name: name, kind: k, loaded: -1, seek: slices.Clone((*seek)[:n]), size: slices.Clone((*size)[:n]), first: slices.Clone((*entry)[:n+1])}
}

// readArrays returns rows lo to hi of flat branches, errNotFlat or errChecksum.
func readArrays(branches []*flat, lo, hi int64) ([]*Values, error) {
	out, errs := make([]*Values, len(branches)), make([]error, len(branches))
	par.For(0, len(branches), 1, func(i, _, _ int) {
		errs[i] = guarded("read", "", "", func() (err error) {
			out[i], err = branches[i].read(lo, hi)
			return err
		})
	})
	switch err := errors.Join(errs...); {
	case errors.Is(err, errChecksum):
		return nil, err
	case err != nil:
		return nil, errNotFlat
	}
	return out, nil
}

// read returns rows lo to hi.
func (c *flat) read(lo, hi int64) (*Values, error) {
	width := int64(c.kind.Elem.Size())
	var raw []byte
	for at := lo; at < hi; {
		i, found := slices.BinarySearch(c.first, at)
		if !found {
			i--
		}
		if i != c.loaded {
			if err := c.load(i); err != nil {
				return nil, err
			}
		}
		end := min(hi, c.first[i+1])
		if err := c.inflate(int((end - c.first[i]) * width)); err != nil {
			return nil, err
		}
		part := c.values[(at-c.first[i])*width : (end-c.first[i])*width]
		if at == lo && end == hi {
			raw = part
		} else {
			c.gathered = append(c.gathered[:int(at-lo)*int(width)], part...)
			raw = c.gathered
		}
		at = end
	}
	v := &Values{Kind: c.kind}
	v.decode(raw, int(hi-lo))
	return v, nil
}

// load reads a basket; what is packed by zlib is left to inflate.
func (c *flat) load(i int) error {
	c.loaded = -1
	c.record = rbytes.ResizeU8(c.record, int(c.size[i]))
	if _, err := c.f.ReadAt(c.record, c.seek[i]); err != nil {
		return err
	}
	var b rtree.Basket
	if err := b.UnmarshalROOT(rbytes.NewRBuffer(c.record, nil, 0, c.f)); err != nil {
		return err
	}
	v := reflect.ValueOf(&b).Elem()
	key, err1 := hidden[riofs.Key](v, "key")
	offsets, err2 := hidden[[]int32](v, "offsets")
	rows, err3 := hidden[int](v, "nevbuf")
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	width, n := c.kind.Elem.Size(), c.first[i+1]-c.first[i]
	if int64(*rows) != n || len(*offsets) > 0 || int64(key.ObjLen()) != n*int64(width) || int(key.KeyLen()) > len(c.record) {
		return errNotFlat
	}
	c.values, c.have = rbytes.ResizeU8(c.values, int(key.ObjLen())), 0
	c.blocks, c.left = c.record[key.KeyLen():], 0
	switch {
	case len(c.blocks) == len(c.values):
		c.have = copy(c.values, c.blocks)
	case !bytes.HasPrefix(c.blocks, []byte("ZL")):
		key.SetFile(c.f)
		if _, err := key.Load(c.values); err != nil {
			return err
		}
		c.have = len(c.values)
	}
	toLittleEndian(c.values[:c.have], width)
	c.loaded = i
	return nil
}

// inflate goes on with a basket until it has the first n bytes of its values.
func (c *flat) inflate(n int) (err error) {
	start := c.have
	for c.have < n {
		if c.left == 0 {
			b := c.blocks
			if len(b) < 9 || string(b[:2]) != "ZL" {
				return errNotFlat
			}
			packed := int(b[3]) | int(b[4])<<8 | int(b[5])<<16
			c.left = int(b[6]) | int(b[7])<<8 | int(b[8])<<16
			if packed > len(b)-9 || c.left > len(c.values)-c.have || c.left == 0 {
				return errNotFlat
			}
			c.block.Reset(b[9 : 9+packed])
			c.blocks = b[9+packed:]
			if c.inflater == nil {
				c.inflater, err = zlib.NewReader(&c.block)
			} else {
				err = c.inflater.(zlib.Resetter).Reset(&c.block, nil)
			}
			if err != nil {
				return err
			}
		}
		k := min(c.left, n-c.have)
		if _, err := io.ReadFull(c.inflater, c.values[c.have:c.have+k]); err != nil {
			return err
		}
		c.have += k
		c.left -= k
		if c.left == 0 {
			switch _, err := c.inflater.Read(make([]byte, 1)); {
			case errors.Is(err, zlib.ErrChecksum):
				return fmt.Errorf("branch %q: the basket of rows %d to %d: %w", c.name, c.first[c.loaded], c.first[c.loaded+1], errChecksum)
			case err != io.EOF:
				return errNotFlat
			}
		}
	}
	if start < n {
		toLittleEndian(c.values[start:n], c.kind.Elem.Size())
	}
	return nil
}

// toLittleEndian turns big-endian numbers of so many bytes round.
func toLittleEndian(b []byte, width int) {
	le, be := binary.LittleEndian, binary.BigEndian
	switch width {
	case 2:
		for ; len(b) >= 2; b = b[2:] {
			le.PutUint16(b, be.Uint16(b))
		}
	case 4:
		for ; len(b) >= 4; b = b[4:] {
			le.PutUint32(b, be.Uint32(b))
		}
	case 8:
		for ; len(b) >= 8; b = b[8:] {
			le.PutUint64(b, be.Uint64(b))
		}
	}
}
