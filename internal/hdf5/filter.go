package hdf5

import (
	"bytes"
	"errors"
	"io"
	"sync"

	"github.com/klauspost/compress/zlib"
)

// decode undoes the filters of a chunk, the last one first. A bit set in mask says that the filter of that place was skipped.
// The result has want bytes, or it is an error.
func decode(b []byte, want, elem int, filters []uint16, mask uint32) ([]byte, error) {
	for i := len(filters) - 1; i >= 0; i-- {
		if i < 32 && mask&(1<<i) != 0 {
			continue
		}
		switch filters[i] {
		case filterDeflate:
			if want > 1100*len(b)+1024 { // deflate can't compress by more than 1032
				return nil, damaged("%d deflated bytes can't hold a chunk of %d", len(b), want)
			}
			z, err := inflater(b)
			if err != nil {
				return nil, damaged("deflate: %v", err)
			}
			defer inflaters.Put(z)
			out := make([]byte, want)
			n, err := io.ReadFull(z, out)
			if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
				return nil, damaged("deflate: %v", err)
			}
			if n < want {
				return nil, damaged("deflate gives %d bytes, %d expected", n, want)
			}
			if n, err := z.Read(make([]byte, 1)); n != 0 {
				return nil, damaged("deflate gives more than %d bytes", want)
			} else if err != nil && !errors.Is(err, io.EOF) {
				return nil, damaged("deflate: %v", err)
			}
			b = out
		case filterShuffle:
			b = unshuffle(b, elem)
		}
	}
	if len(b) != want {
		return nil, damaged("%d bytes, %d expected", len(b), want)
	}
	return b, nil
}

var inflaters sync.Pool // of io.ReadCloser that are zlib.Resetter

func inflater(b []byte) (io.ReadCloser, error) {
	if z, ok := inflaters.Get().(io.ReadCloser); ok {
		return z, z.(zlib.Resetter).Reset(bytes.NewReader(b), nil)
	}
	return zlib.NewReader(bytes.NewReader(b))
}

// shuffle gathers byte k of every element: the k-th stretch of the result holds the k-th bytes.
func shuffle(b []byte, elem int) []byte {
	n := len(b) / elem
	out := make([]byte, len(b))
	for k := range elem {
		o := out[k*n : (k+1)*n]
		for i := range o {
			o[i] = b[i*elem+k]
		}
	}
	copy(out[n*elem:], b[n*elem:])
	return out
}

func unshuffle(b []byte, elem int) []byte {
	n := len(b) / elem
	out := make([]byte, len(b))
	for k := range elem {
		s := b[k*n : (k+1)*n]
		for i := range s {
			out[i*elem+k] = s[i]
		}
	}
	copy(out[n*elem:], b[n*elem:])
	return out
}
