package rootio

import (
	"io"
	"os"
	"sync"
)

// blockSize is what a local file is read in where less is asked for.
const blockSize = 256 << 10

// A blockFile reads a local file in blocks: groot's LZMA decoder asks for single bytes, each of them a system call otherwise (15 of 25 seconds for
// the 16 MB of a NanoAOD file).
type blockFile struct {
	f *os.File

	mu    sync.Mutex
	start int64 // of block in the file
	block []byte
	buf   []byte
}

func openBlocks(path string) (*blockFile, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	return &blockFile{f: f}, nil
}

func (b *blockFile) Read(p []byte) (int, error) { return b.f.Read(p) }

func (b *blockFile) Close() error { return b.f.Close() }

// ReadAt implements io.ReaderAt.
func (b *blockFile) ReadAt(p []byte, off int64) (int, error) {
	if len(p) >= blockSize/4 || off < 0 {
		return b.f.ReadAt(p, off)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	end := off + int64(len(p))
	if off < b.start || end > b.start+int64(len(b.block)) {
		if b.buf == nil {
			b.buf = make([]byte, blockSize)
		}
		b.block = b.buf[:0]
		n, err := b.f.ReadAt(b.buf, off)
		if n == 0 && err != nil {
			return 0, err
		}
		if err != nil && err != io.EOF {
			return b.f.ReadAt(p, off)
		}
		b.start, b.block = off, b.buf[:n]
	}
	n := copy(p, b.block[off-b.start:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}
