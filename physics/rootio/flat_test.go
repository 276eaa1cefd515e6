package rootio

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// flatsOf opens the tree of a file and its flat branches.
func flatsOf(t *testing.T, path string, cols []WriteColumn) map[string]*flat {
	t.Helper()
	f, err := openFile(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	tree, _, err := findTree(f, path, "")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]*flat{}
	for _, c := range cols {
		if b := newFlat(f, tree, c.Name, c.Kind); b != nil {
			out[c.Name] = b
		}
	}
	return out
}

func TestFlatBranches(t *testing.T) {
	cols, b := testTree(700, 3)
	for _, opt := range []WriteOptions{{Basket: 1000}, {Codec: Zstd, Level: 2, Basket: 3000}, {Codec: None, Basket: 1000}} {
		t.Run(fmt.Sprint(opt), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "a.root")
			writeTree(t, path, opt, cols, b)
			flats := flatsOf(t, path, cols)
			for _, c := range cols {
				got := flats[c.Name]
				if want := c.Kind.Form == Scalar && c.Kind.Elem != String; (got != nil) != want {
					t.Fatalf("%s, %v: flat is %v", c.Name, c.Kind, !want)
				} else if !want {
					continue
				}
				for _, r := range [][2]int{{0, 700}, {0, 1}, {699, 700}, {100, 130}, {130, 690}, {20, 20}} {
					v, err := got.read(int64(r[0]), int64(r[1]))
					if err != nil {
						t.Fatal(err)
					}
					if !sameValues(v, b.Slice(r[0], r[1]).Cols[c.Name]) {
						t.Errorf("%s: rows %v differ", c.Name, r)
					}
				}
			}
		})
	}
}

// flatFile writes n rows of one branch i in baskets of 10000, and returns them and the bytes of the file.
func flatFile(t *testing.T, n int) (path string, cols []WriteColumn, x []int64, file []byte) {
	t.Helper()
	x = make([]int64, n)
	for i := range x {
		x[i] = int64(i / 50)
	}
	cols, path = []WriteColumn{{Name: "i", Kind: Kind{Elem: Int32}}}, filepath.Join(t.TempDir(), "a.root")
	writeTree(t, path, WriteOptions{Basket: 40000}, cols, &Batch{N: n, Cols: map[string]*Values{"i": Ints(Int32, x)}})
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return path, cols, x, file
}

// TestFlatGivesWay: where a basket is not what it should be, the decoder reads on, from the right row, or says what is wrong.
func TestFlatGivesWay(t *testing.T) {
	const n = 3 * batchRows
	path, cols, x, file := flatFile(t, n)
	c := flatsOf(t, path, cols)["i"]
	at := int(c.seek[5]) // beyond the first batch
	at += bytes.Index(file[at:], []byte("ZL\x08"))

	binary.BigEndian.PutUint32(file[at-9:], 77) // rows, which the decoder does not look at
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	c = flatsOf(t, path, cols)["i"]
	if _, err := readArrays([]*flat{c}, 0, n); !errors.Is(err, errNotFlat) {
		t.Fatalf("the changed basket was read: %v", err)
	}
	if got := readAll(t, []string{path}, "", nil, Options{}); got.N != n || !sameValues(got.Cols["i"], Ints(Int32, x)) {
		t.Errorf("%d rows of %d, or other values", got.N, n)
	}

	file[at+9] = 0 // head of the compressed bytes
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	chain, err := Open(context.Background(), []string{path}, "", Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer chain.Close()
	rows := 0
	err = chain.Read(context.Background(), []string{"i"}, 0, -1, func(b *Batch) error { rows += b.N; return nil })
	if !errors.Is(err, ErrCorrupt) || rows != batchRows {
		t.Errorf("%d rows, then %v", rows, err)
	}
}

// TestFlatChecksum: bytes that inflate, but not to what was packed, are no data.
func TestFlatChecksum(t *testing.T) {
	const n = 2 * batchRows
	path, cols, _, file := flatFile(t, n)
	c := flatsOf(t, path, cols)["i"]
	file[c.seek[1]+int64(c.size[1])-1] ^= 1 // the last byte of the sum
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	chain, err := Open(context.Background(), []string{path}, "", Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer chain.Close()
	err = chain.Read(context.Background(), []string{"i"}, 0, -1, func(*Batch) error { return nil })
	if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), `branch "i": the basket of rows 10000 to 20000`) || !strings.Contains(err.Error(), "fetch it again") {
		t.Error(err)
	}
}
