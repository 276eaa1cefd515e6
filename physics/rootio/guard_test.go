package rootio

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hepmorph/internal/testdata"
)

func TestMain(m *testing.M) {
	MaybeChild()
	m.Run()
}

var guardedOpt = Options{Guard: true, Timeout: 20 * time.Second}

// TestGuardSame: through the child comes what is read in this process.
func TestGuardSame(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.root")
	cols, b := testTree(900, 5)
	writeTree(t, path, WriteOptions{}, cols, b)
	got := readAll(t, []string{path, path}, "", nil, guardedOpt)
	want := readAll(t, []string{path, path}, "", nil, Options{})
	if got.N != 1800 || len(got.Cols) != len(want.Cols) {
		t.Fatalf("%d rows, %d columns", got.N, len(got.Cols))
	}
	for name, v := range want.Cols {
		if !sameValues(v, got.Cols[name]) {
			t.Errorf("%s differs", name)
		}
	}
	a, err := List(context.Background(), path, guardedOpt)
	if err != nil {
		t.Fatal(err)
	}
	c, err := List(context.Background(), path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(a) != fmt.Sprint(c) {
		t.Errorf("%v\n%v", a, c)
	}
}

// TestGuardErrors: an error keeps its type and text through the child, and the child lives on.
func TestGuardErrors(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.root")
	cols, b := testTree(10, 5)
	writeTree(t, path, WriteOptions{}, cols, b)
	ctx := context.Background()
	for _, file := range []string{filepath.Join(dir, "no.root"), dir} {
		_, e1 := Open(ctx, []string{file}, "", Options{})
		_, e2 := Open(ctx, []string{file}, "", guardedOpt)
		if e1 == nil || e2 == nil || e1.Error() != e2.Error() || !errors.Is(e2, ErrInput) {
			t.Errorf("%v\n%v", e1, e2)
		}
	}
	_, err := Open(ctx, []string{path}, "evnts", guardedOpt)
	var e *Error
	if !errors.Is(err, ErrTree) || !errors.As(err, &e) || e.Want != "evnts" || len(e.Have) != 1 {
		t.Errorf("tree: %v", err)
	}
	c, err := Open(ctx, []string{path}, "", guardedOpt)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	err = c.Read(ctx, []string{"flot32"}, 0, -1, func(*Batch) error { return nil })
	if !errors.Is(err, ErrColumns) || !strings.Contains(err.Error(), "nearest: float32") {
		t.Errorf("branch: %v", err)
	}
	stop := errors.New("stop")
	if err := c.Read(ctx, []string{"float32"}, 0, -1, func(*Batch) error { return stop }); err != stop {
		t.Errorf("an error of the caller comes back as %v", err)
	}
	if err := c.Read(ctx, []string{"float32"}, 3, 7, func(b *Batch) error {
		if b.Lo != 3 || b.N != 4 {
			t.Errorf("rows %d+%d", b.Lo, b.N)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

// TestGuardSurvives: a stack overflow, which ends the process that reads, ends the child only.
func TestGuardSurvives(t *testing.T) {
	path := testdata.Shared(t, "root/uproot-issue443.root")
	_, err := List(context.Background(), path, guardedOpt)
	if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "reader stopped") {
		t.Fatalf("%v", err)
	}
	t.Log(err)
}

func TestGuardCancel(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.root")
	cols, b := testTree(10, 5)
	writeTree(t, path, WriteOptions{}, cols, b)
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(errors.New("enough"))
	if _, err := Open(ctx, []string{path}, "", guardedOpt); err == nil || err.Error() != "enough" {
		t.Errorf("%v", err)
	}
}

// TestGuardReadCancel: a cancelled read ends at once, and the chain can be read again.
func TestGuardReadCancel(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.root")
	cols, b := testTree(10, 5)
	writeTree(t, path, WriteOptions{}, cols, b)
	c, err := Open(context.Background(), []string{path, path, path}, "", guardedOpt)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithCancelCause(context.Background())
	enough := errors.New("enough")
	n := 0
	err = c.Read(ctx, []string{"float32"}, 0, -1, func(*Batch) error { n++; cancel(enough); return nil })
	if !errors.Is(err, enough) || n != 1 {
		t.Errorf("%d batches, %v", n, err)
	}
	n = 0
	if err := c.Read(context.Background(), []string{"float32"}, 0, -1, func(*Batch) error { n++; return nil }); err != nil || n != 3 {
		t.Errorf("%d batches, %v", n, err)
	}
}

func TestFrames(t *testing.T) {
	var buf bytes.Buffer
	for i, p := range []string{"", "abc", strings.Repeat("x", 100000)} {
		if err := writeFrame(&buf, byte('A'+i), []byte(p)); err != nil {
			t.Fatal(err)
		}
	}
	raw := append([]byte{}, buf.Bytes()...)
	r := bufio.NewReader(&buf)
	for i, want := range []string{"", "abc", strings.Repeat("x", 100000)} {
		typ, p, err := readFrame(r, nil)
		if err != nil || typ != byte('A'+i) || string(p) != want {
			t.Fatalf("frame %d: %c %d bytes, %v", i, typ, len(p), err)
		}
	}
	for _, at := range []int{0, 1, 10, 12, 15, 60000, len(raw) - 1} {
		bad := append([]byte{}, raw...)
		bad[at] ^= 4
		r := bufio.NewReader(bytes.NewReader(bad))
		var err error
		for err == nil {
			_, _, err = readFrame(r, nil)
		}
		if err.Error() == "EOF" {
			t.Errorf("a flipped bit at %d is not noticed", at)
		}
	}
}

func FuzzFrame(f *testing.F) {
	cols, b := testTree(5, 1)
	var names []string
	for _, c := range cols[:12] {
		names = append(names, c.Name)
	}
	f.Add(encodeBatch(nil, b, names))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, p []byte) {
		b, err := decodeBatch(p, names)
		if err != nil {
			return
		}
		for name, v := range b.Cols {
			if err := v.check(b.N); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		r := bufio.NewReader(bytes.NewReader(p))
		_, _, _ = readFrame(r, nil)
	})
}

func FuzzWireError(f *testing.F) {
	p, _ := json.Marshal(toWire(&Error{Op: "read", File: "x", Kind: ErrColumns, Want: "a", Have: []string{"b"}}))
	f.Add(p)
	f.Fuzz(func(t *testing.T, p []byte) {
		var w wireError
		if json.Unmarshal(p, &w) == nil && !errors.Is(w.err(), ErrInput) {
			t.Fatal("an error that is no bad input")
		}
	})
}

// FuzzOpen reads damaged headers through the child: nothing may come of it but data or an error.
func FuzzOpen(f *testing.F) {
	dir := f.TempDir()
	path := filepath.Join(dir, "a.root")
	cols, b := testTree(3, 1)
	writeTree(f, path, WriteOptions{}, cols[:3], b)
	raw, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw[:100])
	f.Add([]byte("root"))
	f.Fuzz(func(t *testing.T, head []byte) {
		p := filepath.Join(t.TempDir(), "b.root")
		if err := os.WriteFile(p, append(append([]byte{}, head...), raw[min(len(head), len(raw)):]...), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := precheck(p); err != nil && !errors.Is(err, ErrInput) {
			t.Fatal(err)
		}
	})
}

func TestProcessorTimeOfAProcess(t *testing.T) {
	begun, known := cpuTime(os.Getpid())
	if !known {
		t.Skip("processor times of processes can't be told here")
	}
	for start := time.Now(); time.Since(start) < 10*time.Second; {
		for s := 0; s < 1<<20; s++ {
			_ = s * s
		}
		if used, _ := cpuTime(os.Getpid()); used-begun >= 50*time.Millisecond {
			return
		}
	}
	t.Error("10 s of work are no processor time")
}
