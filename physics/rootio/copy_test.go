package rootio

import (
	"context"
	"errors"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
)

// copyFiles copies a tree of files with new columns.
func copyFiles(ctx context.Context, in []string, tree, out string, add []WriteColumn, fill Fill, read Options) (CopyReport, error) {
	c, err := Open(ctx, in, tree, read)
	if err != nil {
		return CopyReport{}, err
	}
	defer c.Close()
	return c.Copy(ctx, out, add, fill, nil, CopyOptions{})
}

// TestSeveralFills: batches that are filled at a time are written in their order, and the failure of one ends the copy.
func TestSeveralFills(t *testing.T) {
	const n = 6*batchRows + 5
	x := make([]int64, n)
	for i := range x {
		x[i] = int64(i % 1000)
	}
	dir := t.TempDir()
	in, out := filepath.Join(dir, "a.root"), filepath.Join(dir, "b.root")
	writeTree(t, in, WriteOptions{}, []WriteColumn{{Name: "i", Kind: Kind{Elem: Int16}}}, &Batch{N: n, Cols: map[string]*Values{"i": Ints(Int16, x)}})
	c, err := Open(context.Background(), []string{in}, "", Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	boom := errors.New("boom")
	var running, most atomic.Int64
	for _, fails := range []int64{-1, 3} {
		rep, err := c.Copy(context.Background(), out, []WriteColumn{{Name: "entry", Kind: Kind{Elem: Int64}}}, func(b *Batch) (map[string]*Values, error) {
			k := b.Lo / batchRows
			if k == fails {
				return nil, boom
			}
			now := running.Add(1)
			defer running.Add(-1)
			for m := most.Load(); now > m && !most.CompareAndSwap(m, now); m = most.Load() {
			}
			time.Sleep(time.Duration(7-k) * 5 * time.Millisecond) // later ones are done first
			entry := make([]int64, b.N)
			for i := range entry {
				entry[i] = b.Lo + int64(i)
			}
			return map[string]*Values{"entry": Ints(Int64, entry)}, nil
		}, nil, CopyOptions{Fills: 3})
		if fails >= 0 {
			if !errors.Is(err, boom) {
				t.Errorf("the failure of a batch ended in %v", err)
			}
			continue
		}
		if err != nil || rep.Entries != n {
			t.Fatalf("%d rows of %d, %v", rep.Entries, n, err)
		}
		if m := most.Load(); m < 2 || m > 3 {
			t.Errorf("%d batches were filled at a time", m)
		}
		got := readAll(t, []string{out}, "", nil, Options{})
		for i := range x {
			if got.Cols["entry"].I[i] != int64(i) || got.Cols["i"].I[i] != x[i] {
				t.Fatalf("row %d is %d, %d", i, got.Cols["entry"].I[i], got.Cols["i"].I[i])
			}
		}
	}
}
