package rootio

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"

	"hepmorph/internal/rng"
)

func TestBlockFile(t *testing.T) {
	data := make([]byte, 3*blockSize+17)
	s := rng.NewKey(1, "bytes").At(0)
	for i := range data {
		data[i] = byte(s.IntN(256))
	}
	path := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(path, data, 0o666); err != nil {
		t.Fatal(err)
	}
	f, err := openBlocks(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	ref := bytes.NewReader(data)
	for range 20000 {
		off, n := int64(s.IntN(len(data)+100)), []int{0, 1, 3, 100, blockSize / 4, blockSize}[s.IntN(6)]
		a, b := make([]byte, n), make([]byte, n)
		na, ea := f.ReadAt(a, off)
		nb, eb := ref.ReadAt(b, off)
		if n == 0 {
			continue
		}
		if na != nb || (ea == io.EOF) != (eb == io.EOF) || (ea == nil) != (eb == nil) || !bytes.Equal(a[:na], b[:nb]) {
			t.Fatalf("%d bytes at %d: %d %v, want %d %v", n, off, na, ea, nb, eb)
		}
	}
	if _, err := f.ReadAt(make([]byte, 1), -1); err == nil {
		t.Error("a negative offset passes")
	}
}
