package modelfile

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"hepmorph/internal/atomicfile"
	"hepmorph/internal/rng"
)

func sample() *File {
	f := &File{Meta: map[string]string{"kind": "switch", "title": "γγ <b> & \"quoted\"\n", "empty": ""}}
	f.Add("w", []float32{1, -2.5, float32(math.Pi), math.SmallestNonzeroFloat32, 0, 6}, 2, 3)
	f.Add("scalar", []float64{1.0 / 3})
	f.Add("bytes", []uint8{0, 255, 7}, 3)
	f.Add("none", []float64{}, 0, 4)
	f.Add("counts", []int64{math.MinInt64, math.MaxInt64}, 2)
	f.Add("events/ids", []uint64{math.MaxUint64}, 1)
	return f
}

func encode(t testing.TB, f *File) []byte {
	t.Helper()
	b, err := f.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestRoundTrip(t *testing.T) {
	f := sample()
	b := encode(t, f)
	got, err := Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	f.Tensors[1].Shape = []int{}
	if !reflect.DeepEqual(f, got) {
		t.Errorf("read %+v\nwrote %+v", got, f)
	}
	if !bytes.Equal(encode(t, got), b) {
		t.Error("written again it has other bytes")
	}
	path := filepath.Join(t.TempDir(), "m.hmm")
	if err := f.Write(path); err != nil {
		t.Fatal(err)
	}
	on, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(on, b) {
		t.Errorf("Write and Encode differ (%v)", err)
	}
	if got, err = Read(path); err != nil || !reflect.DeepEqual(f, got) {
		t.Errorf("Read: %v", err)
	}
	if sum, err := f.Hash(); err != nil || !bytes.Contains(b, []byte(sum)) {
		t.Errorf("Hash %q, %v: not in the file", sum, err)
	}
}

func TestAccess(t *testing.T) {
	f := sample()
	if w, err := Get[float32](f, "w", 2, -1); err != nil || len(w) != 6 {
		t.Errorf("%v, %v", w, err)
	}
	for name, err := range map[string]error{
		"shape":   second(Get[float32](f, "w", 3, 2)),
		"type":    second(Get[float64](f, "w", 2, 3)),
		"missing": second(Get[float64](f, "v")),
		"json":    f.JSON("title", new(int)),
		"absent":  f.JSON("nothing", new(int)),
	} {
		if !errors.Is(err, ErrUnusable) {
			t.Errorf("%s: %v", name, err)
		}
	}
	type point struct{ X, Y float64 }
	want := point{0.1, -1e-300}
	if err := f.SetJSON("point", want); err != nil {
		t.Fatal(err)
	}
	var got point
	if err := f.JSON("point", &got); err != nil || got != want {
		t.Errorf("%v, %v", got, err)
	}
	f.Meta["point"] = `{"X":1,"Z":2}`
	if err := f.JSON("point", &got); !errors.Is(err, ErrUnusable) {
		t.Errorf("unknown field: %v", err)
	}
}

func second[T any](_ T, err error) error { return err }

func TestContentsThatCannotBeWritten(t *testing.T) {
	for name, change := range map[string]func(*File){
		"duplicate":   func(f *File) { f.Add("w", []uint8{1}, 1) },
		"reserved":    func(f *File) { f.Add("__metadata__", []uint8{1}, 1) },
		"empty name":  func(f *File) { f.Add("", []uint8{1}, 1) },
		"shape":       func(f *File) { f.Add("x", []uint8{1}, 2) },
		"type":        func(f *File) { f.Add("x", []int{1}, 1) },
		"NaN":         func(f *File) { f.Add("x", []float32{float32(math.NaN())}, 1) },
		"Inf":         func(f *File) { f.Add("x", []float64{math.Inf(-1)}, 1) },
		"own key":     func(f *File) { f.Meta["sha256"] = "x" },
		"not UTF-8":   func(f *File) { f.Meta["x"] = "\xff" },
		"huge header": func(f *File) { f.Meta["x"] = strings.Repeat("x", MaxHeader) },
	} {
		f := sample()
		change(f)
		if _, err := f.Encode(); err == nil {
			t.Errorf("%s: written", name)
		}
	}
}

// M1 of the reliability tests: one bit flipped anywhere, and every truncation, is refused.
func TestDamageIsRefused(t *testing.T) {
	b := encode(t, sample())
	for i := range len(b) * 8 {
		b[i/8] ^= 1 << (i % 8)
		if _, err := Decode(b); !errors.Is(err, ErrUnusable) {
			t.Fatalf("bit %d of byte %d flipped: %v", i%8, i/8, err)
		}
		b[i/8] ^= 1 << (i % 8)
	}
	for n := range len(b) {
		if _, err := Decode(b[:n]); !errors.Is(err, ErrUnusable) {
			t.Fatalf("cut at %d: %v", n, err)
		}
	}
	if _, err := Decode(append(b, 0)); !errors.Is(err, ErrUnusable) {
		t.Errorf("one byte more: %v", err)
	}
}

// forge puts a right hash into a wrong file.
func forge(header string, payload []byte) []byte {
	for len(header)%8 != 0 {
		header += " "
	}
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	b = append(append(b, header...), payload...)
	sum := sha256.Sum256(b)
	return bytes.Replace(b, []byte(blankHash), []byte(hex.EncodeToString(sum[:])), 1)
}

// M2: tampered with, the hash made right again.
func TestTamperedTablesAreRefused(t *testing.T) {
	meta := `"__metadata__":{"schema":"` + Schema + `","sha256":"` + blankHash + `"}`
	one := `"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}`
	sorted := func(rest string) string { return "{" + meta + rest + "}" }
	if _, err := Decode(forge(sorted(","+one), make([]byte, 8))); err != nil {
		t.Fatalf("the untampered file: %v", err)
	}
	nan := binary.LittleEndian.AppendUint32(nil, math.Float32bits(float32(math.NaN())))
	many := strings.Builder{}
	for i := range 9000 {
		fmt.Fprintf(&many, `,"t%d":{"dtype":"F64","shape":[1099511627776],"data_offsets":[%d,%d]}`, i, i<<43, (i+1)<<43)
	}
	for name, b := range map[string][]byte{
		"overlap":          forge(sorted(`,`+one+`,"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}`), make([]byte, 12)),
		"gap":              forge(sorted(`,`+one+`,"b":{"dtype":"F32","shape":[1],"data_offsets":[12,16]}`), make([]byte, 16)),
		"backwards":        forge(sorted(`,"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}`), make([]byte, 8)),
		"beyond":           forge(sorted(`,"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}`), make([]byte, 8)),
		"rest":             forge(sorted(`,`+one), make([]byte, 16)),
		"shape overflow":   forge(sorted(`,"a":{"dtype":"F32","shape":[4294967296,4294967296,2],"data_offsets":[0,8]}`), make([]byte, 8)),
		"negative shape":   forge(sorted(`,"a":{"dtype":"F32","shape":[-1,-2],"data_offsets":[0,8]}`), make([]byte, 8)),
		"shape too large":  forge(sorted(many.String()), make([]byte, 8)),
		"wrong type":       forge(sorted(`,"a":{"dtype":"F16","shape":[4],"data_offsets":[0,8]}`), make([]byte, 8)),
		"duplicate":        forge(sorted(`,`+one+`,"a":{"dtype":"F32","shape":[0],"data_offsets":[8,8]}`), make([]byte, 8)),
		"duplicate meta":   forge(`{"__metadata__":{"schema":"`+Schema+`","schema":"`+Schema+`","sha256":"`+blankHash+`"}}`, nil),
		"two metadata":     forge(`{`+meta+`,`+meta+`}`, nil),
		"no metadata":      forge(`{`+one+`}`, make([]byte, 8)),
		"metadata number":  forge(`{"__metadata__":{"schema":1}}`, nil),
		"NaN":              forge(sorted(`,"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}`), nan),
		"other version":    forge(`{"__metadata__":{"schema":"hepmorph.model/99","sha256":"`+blankHash+`"}}`, nil),
		"not an object":    forge(`[]`, nil),
		"trailing":         forge(sorted("")+"{}", nil),
		"space inside":     forge(sorted(", "+one), make([]byte, 8)),
		"unknown field":    forge(sorted(`,"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":1}`), make([]byte, 8)),
		"deep":             forge(sorted(`,"a":`+strings.Repeat("[", 20000)), nil),
		"header of 2 GiB":  append(binary.LittleEndian.AppendUint64(nil, 2<<30), make([]byte, 64)...),
		"header of 16 EiB": append(binary.LittleEndian.AppendUint64(nil, math.MaxUint64), make([]byte, 64)...),
		"empty":            {},
		"text":             []byte("<!DOCTYPE html><html><head><title>404</title></head></html>"),
	} {
		var err error
		if n := testing.AllocsPerRun(1, func() { _, err = Decode(b) }); n > 200000 {
			t.Errorf("%s: %v allocations", name, n)
		}
		if !errors.Is(err, ErrUnusable) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestFilesThatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	if _, err := Read(filepath.Join(dir, "no")); !errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrUnusable) {
		t.Errorf("missing: %v", err)
	}
	if _, err := Read(dir); err == nil {
		t.Error("a folder was read")
	}
	path := filepath.Join(dir, "f")
	if err := os.WriteFile(path, []byte("x"), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(path); !errors.Is(err, ErrUnusable) || !strings.Contains(err.Error(), path) {
		t.Errorf("short: %v", err)
	}
}

func TestPlainSafetensors(t *testing.T) {
	b := forge(`{"b":{"dtype":"BOOL","shape":[2],"data_offsets":[4,6]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"__metadata__":{"format":"pt"}}`, []byte{0, 0, 128, 63, 1, 0})
	f, err := DecodePlain(b)
	if err != nil {
		t.Fatal(err)
	}
	if a, err := Get[float32](f, "a", 1); err != nil || a[0] != 1 {
		t.Errorf("a = %v, %v", a, err)
	}
	if m, err := Get[uint8](f, "b", 2); err != nil || m[0] != 1 || f.Meta["format"] != "pt" {
		t.Errorf("b = %v, %v", m, err)
	}
	if _, err := Decode(b); !errors.Is(err, ErrUnusable) {
		t.Errorf("without a hash it passes: %v", err)
	}
}

// C4: fail at call k until the write succeeds.
func TestFailingWrites(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.hmm")
	old := &File{Meta: map[string]string{"v": "old"}}
	if err := old.Write(path); err != nil {
		t.Fatal(err)
	}
	for k := 1; ; k++ {
		n, last := 0, ""
		restore := atomicfile.SetHook(func(step string) error {
			last = step
			if n++; n == k {
				return syscall.ENOSPC
			}
			return nil
		})
		err := sample().Write(path)
		restore()
		if err == nil {
			break
		}
		got, rerr := Read(path)
		if !errors.Is(err, atomicfile.ErrWrite) || rerr != nil {
			t.Fatalf("step %d: write %v, then read %v", k, err, rerr)
		}
		if last != "syncdir" && last != "synced" && got.Meta["v"] != "old" {
			t.Fatalf("step %d: the previous file is gone", k)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(encode(f, sample()))
	f.Add(encode(f, &File{}))
	f.Add(forge(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, make([]byte, 4)))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 1<<16 {
			return
		}
		if got, err := Decode(b); err == nil {
			if again := encode(t, got); !bytes.Equal(again, b) {
				t.Error("accepted bytes that it would not write")
			}
		} else if !errors.Is(err, ErrUnusable) {
			t.Error(err)
		}
		if got, err := DecodePlain(b); err == nil {
			delete(got.Meta, schemaKey)
			delete(got.Meta, hashKey)
			if got.check() == nil {
				if back, err := Decode(encode(t, got)); err != nil || !reflect.DeepEqual(len(back.Tensors), len(got.Tensors)) {
					t.Error(err)
				}
			}
		}
	})
}

func BenchmarkRead(b *testing.B) {
	f := &File{}
	data := make([]float32, 1<<20)
	s := rng.NewKey(1, "bench").At(0)
	for i := range data {
		data[i] = s.Float32()
	}
	f.Add("w", data, len(data))
	raw := encode(b, f)
	b.SetBytes(int64(len(raw)))
	for b.Loop() {
		if _, err := Decode(raw); err != nil {
			b.Fatal(err)
		}
	}
}
