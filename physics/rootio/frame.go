package rootio

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
)

// A frame between parent and child: type, length of the payload (uint32), payload, CRC-32C of type and payload (uint32). All
// numbers are little-endian.
const (
	frameHello   = 'H'
	frameRequest = 'Q'
	frameReply   = 'J' // JSON
	frameBatch   = 'B'
	frameObject  = 'O'
	frameError   = 'E' // JSON of a wireError
	frameDone    = 'D'
)

// maxFrame is the largest payload that is accepted.
const maxFrame = 1 << 30

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func writeFrame(w io.Writer, typ byte, payload []byte) error {
	if len(payload) > maxFrame {
		return fmt.Errorf("a frame of %d bytes", len(payload))
	}
	var h [5]byte
	h[0] = typ
	binary.LittleEndian.PutUint32(h[1:], uint32(len(payload)))
	if _, err := w.Write(h[:]); err != nil {
		return err
	}
	if _, err := w.Write(payload); err != nil {
		return err
	}
	sum := crc32.Update(crc32.Checksum(h[:1], castagnoli), castagnoli, payload)
	var c [4]byte
	binary.LittleEndian.PutUint32(c[:], sum)
	_, err := w.Write(c[:])
	return err
}

// readFrame reads a frame; the payload is in buf where that is large enough.
func readFrame(r *bufio.Reader, buf []byte) (typ byte, payload []byte, err error) {
	var h [5]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return 0, nil, err
	}
	n := int(binary.LittleEndian.Uint32(h[1:]))
	if n > maxFrame {
		return 0, nil, fmt.Errorf("a frame of %d bytes", n)
	}
	if cap(buf) >= n {
		payload = buf[:n]
		_, err = io.ReadFull(r, payload)
	} else {
		payload, err = readGrowing(r, n)
	}
	if err != nil {
		return 0, nil, unexpected(err)
	}
	var c [4]byte
	if _, err := io.ReadFull(r, c[:]); err != nil {
		return 0, nil, unexpected(err)
	}
	if sum := crc32.Update(crc32.Checksum(h[:1], castagnoli), castagnoli, payload); sum != binary.LittleEndian.Uint32(c[:]) {
		return 0, nil, errors.New("a frame with a wrong checksum")
	}
	return h[0], payload, nil
}

// readGrowing reads n bytes without trusting n: memory grows with what has arrived.
func readGrowing(r io.Reader, n int) ([]byte, error) {
	const step = 16 << 20
	out := make([]byte, 0, min(n, step))
	for len(out) < n {
		k := min(step, n-len(out))
		if cap(out) < len(out)+k {
			bigger := make([]byte, len(out), min(n, 2*cap(out)+k))
			copy(bigger, out)
			out = bigger
		}
		if _, err := io.ReadFull(r, out[len(out):len(out)+k]); err != nil {
			return nil, err
		}
		out = out[:len(out)+k]
	}
	return out, nil
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// encodeBatch appends a batch: first row, rows, columns; for each column its place among names, kind, offsets, values in the
// width of their type.
func encodeBatch(dst []byte, b *Batch, names []string) []byte {
	le := binary.LittleEndian
	dst = le.AppendUint64(dst, uint64(b.Lo))
	dst = le.AppendUint32(dst, uint32(b.N))
	dst = le.AppendUint32(dst, uint32(len(names)))
	for _, name := range names {
		v := b.Cols[name]
		dst = append(dst, byte(v.Kind.Elem), byte(v.Kind.Form))
		dst = le.AppendUint32(dst, uint32(v.Kind.Len))
		dst = le.AppendUint32(dst, uint32(len(v.Off)))
		dst = le.AppendUint32(dst, uint32(v.Size()))
		for _, o := range v.Off {
			dst = le.AppendUint32(dst, uint32(o))
		}
		switch e := v.Kind.Elem; {
		case e == Bool:
			for _, x := range v.B {
				c := byte(0)
				if x {
					c = 1
				}
				dst = append(dst, c)
			}
		case e == Float32:
			for _, x := range v.F32 {
				dst = le.AppendUint32(dst, math.Float32bits(x))
			}
		case e == Float64:
			for _, x := range v.F64 {
				dst = le.AppendUint64(dst, math.Float64bits(x))
			}
		case e == String:
			for _, s := range v.S {
				dst = le.AppendUint32(dst, uint32(len(s)))
				dst = append(dst, s...)
			}
		case e.Signed():
			dst = appendInts(dst, v.I, e.Size())
		case e.Unsigned():
			dst = appendInts(dst, v.U, e.Size())
		}
	}
	return dst
}

func appendInts[T int64 | uint64](dst []byte, x []T, size int) []byte {
	le := binary.LittleEndian
	switch size {
	case 1:
		for _, v := range x {
			dst = append(dst, byte(v))
		}
	case 2:
		for _, v := range x {
			dst = le.AppendUint16(dst, uint16(v))
		}
	case 4:
		for _, v := range x {
			dst = le.AppendUint32(dst, uint32(v))
		}
	default:
		for _, v := range x {
			dst = le.AppendUint64(dst, uint64(v))
		}
	}
	return dst
}

// cursor takes numbers from a payload; once it has run out it stays so.
type cursor struct {
	b   []byte
	bad bool
}

func (c *cursor) take(n int) []byte {
	if c.bad || n < 0 || n > len(c.b) {
		c.bad = true
		return nil
	}
	out := c.b[:n]
	c.b = c.b[n:]
	return out
}

func (c *cursor) u32() int {
	if b := c.take(4); b != nil {
		return int(binary.LittleEndian.Uint32(b))
	}
	return 0
}

func (c *cursor) u64() uint64 {
	if b := c.take(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

var errFrame = errors.New("a frame that can't be")

// decodeBatch is the inverse of encodeBatch. It believes nothing: sizes, kinds and offsets are checked.
func decodeBatch(p []byte, names []string) (*Batch, error) {
	c := &cursor{b: p}
	b := &Batch{Lo: int64(c.u64()), N: c.u32()}
	if n := c.u32(); c.bad || n != len(names) || b.N > 1<<24 || b.Lo < 0 {
		return nil, errFrame
	}
	b.Cols = make(map[string]*Values, len(names))
	for _, name := range names {
		h := c.take(2)
		if h == nil {
			return nil, errFrame
		}
		v := &Values{Kind: Kind{Elem: Elem(h[0]), Form: Form(h[1]), Len: c.u32()}}
		offs, n := c.u32(), c.u32()
		if c.bad || v.Kind.Elem == NoElem || v.Kind.Elem > String || v.Kind.Form > Vector {
			return nil, errFrame
		}
		if offs > 0 {
			raw := c.take(4 * offs)
			if raw == nil {
				return nil, errFrame
			}
			v.Off = make([]int32, offs)
			for i := range v.Off {
				v.Off[i] = int32(binary.LittleEndian.Uint32(raw[4*i:]))
			}
		}
		if v.Kind.Elem == String {
			for range n {
				s := c.take(c.u32())
				if c.bad {
					return nil, errFrame
				}
				v.S = append(v.S, string(s))
			}
		} else {
			raw := c.take(n * v.Kind.Elem.Size())
			if c.bad {
				return nil, errFrame
			}
			v.decode(raw, n)
		}
		if err := v.check(b.N); err != nil {
			return nil, fmt.Errorf("branch %q: %w", name, err)
		}
		b.Cols[name] = v
	}
	if len(c.b) != 0 {
		return nil, errFrame
	}
	return b, nil
}

// decode sets n values from their bytes.
func (v *Values) decode(raw []byte, n int) {
	le := binary.LittleEndian
	switch v.Kind.Elem {
	case Bool:
		v.B = make([]bool, n)
		for i, x := range raw {
			v.B[i] = x != 0
		}
	case Float32:
		v.F32 = make([]float32, n)
		for i := range v.F32 {
			v.F32[i] = math.Float32frombits(le.Uint32(raw[4*i:]))
		}
	case Float64:
		v.F64 = make([]float64, n)
		for i := range v.F64 {
			v.F64[i] = math.Float64frombits(le.Uint64(raw[8*i:]))
		}
	case Int8:
		v.I = make([]int64, n)
		for i := range v.I {
			v.I[i] = int64(int8(raw[i]))
		}
	case Int16:
		v.I = make([]int64, n)
		for i := range v.I {
			v.I[i] = int64(int16(le.Uint16(raw[2*i:])))
		}
	case Int32:
		v.I = make([]int64, n)
		for i := range v.I {
			v.I[i] = int64(int32(le.Uint32(raw[4*i:])))
		}
	case Int64:
		v.I = make([]int64, n)
		for i := range v.I {
			v.I[i] = int64(le.Uint64(raw[8*i:]))
		}
	case Uint8:
		v.U = make([]uint64, n)
		for i := range v.U {
			v.U[i] = uint64(raw[i])
		}
	case Uint16:
		v.U = make([]uint64, n)
		for i := range v.U {
			v.U[i] = uint64(le.Uint16(raw[2*i:]))
		}
	case Uint32:
		v.U = make([]uint64, n)
		for i := range v.U {
			v.U[i] = uint64(le.Uint32(raw[4*i:]))
		}
	case Uint64:
		v.U = make([]uint64, n)
		for i := range v.U {
			v.U[i] = le.Uint64(raw[8*i:])
		}
	}
}
