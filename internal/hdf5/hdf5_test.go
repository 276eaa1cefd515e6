package hdf5

import (
	"bytes"
	"errors"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/batchatco/go-native-netcdf/netcdf"

	"hepmorph/internal/atomicfile"
	"hepmorph/internal/testdata"
)

// The files in testdata come from h5py: testdata/make.py.
func value(i, j int) float64 { return float64(i) + float64(j)/64 }

func TestReadsWhatH5pyWrites(t *testing.T) {
	for _, c := range []struct {
		name   string
		typ    Type
		chunks bool
	}{
		{"f4_contiguous", Float32, false}, {"f8_contiguous", Float64, false}, {"f4_gzip", Float32, true},
		{"f4_shuffle_gzip", Float32, true}, {"f8_shuffle_gzip", Float64, true}, {"f4_chunks", Float32, true},
		{"f4_resizable", Float32, true}, {"f4_userblock", Float32, true}, {"f4_attributes", Float32, false}, {"f4_many", Float32, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, err := Open(filepath.Join("testdata", c.name+".h5"))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			d, err := f.Dataset("x")
			if err != nil {
				t.Fatal(err)
			}
			if d.Type != c.typ || d.Rows() != 37 || d.Width() != 11 || (d.ChunkDims != nil) != c.chunks {
				t.Fatalf("found %v, shape %v, chunks %v", d.Type, d.Dims, d.ChunkDims)
			}
			for _, r := range [][2]int64{{0, 37}, {0, 1}, {36, 37}, {5, 6}, {7, 29}, {12, 12}} {
				x32 := make([]float32, (r[1]-r[0])*11)
				x64 := make([]float64, len(x32))
				if err := errors.Join(Read(d, r[0], r[1], x32), Read(d, r[0], r[1], x64)); err != nil {
					t.Fatal(err)
				}
				for i := range x64 {
					if want := value(int(r[0])+i/11, i%11); x64[i] != want || float64(x32[i]) != want {
						t.Fatalf("rows %v: element %d is %v and %v, want %v", r, i, x64[i], x32[i], want)
					}
				}
			}
		})
	}
}

func TestReadsOneDimensionAndFillValues(t *testing.T) {
	f, err := Open("testdata/f8_one.h5")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	d, err := f.Dataset("x")
	if err != nil {
		t.Fatal(err)
	}
	x := make([]float64, 3)
	if err := Read(d, 10, 13, x); err != nil || x[0] != 10 || x[2] != 12 {
		t.Fatal(x, err)
	}
	h, err := Open("testdata/f4_holes.h5")
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if d, err = h.Dataset("x"); err != nil {
		t.Fatal(err)
	}
	x = make([]float64, 37*11)
	if err := Read(d, 0, 37, x); err != nil {
		t.Fatal(err)
	}
	for i, v := range x {
		want := -5.0
		if i/11 >= 8 && i/11 < 16 {
			want = value(i/11, i%11)
		}
		if v != want {
			t.Fatalf("element %d is %v, want %v", i, v, want)
		}
	}
}

func TestNamesWhatItDoesNotRead(t *testing.T) {
	for _, c := range []struct{ name, want string }{
		{"bad_latest", `libver="latest"`}, {"bad_lzf", "lzf"}, {"bad_fletcher32", "fletcher32"}, {"bad_big_endian", "big-endian"},
		{"bad_integers", "integer"}, {"bad_half", "2 bytes"}, {"bad_scalar", "0 dimensions"}, {"bad_group", "group"},
	} {
		f, err := Open("testdata/" + c.name + ".h5")
		if err == nil {
			_, err = f.Dataset("x")
			f.Close()
		}
		if !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.name) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestErrorsOfUse(t *testing.T) {
	f, err := Open("testdata/f4_many.h5")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if n := f.Names(); len(n) != 24 || n[0] != "set00" || n[23] != "x" || !f.Has("set22") || f.Has("y") {
		t.Error(n)
	}
	if _, err := f.Dataset("showers"); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "set03") {
		t.Error(err)
	}
	d, err := f.Dataset("x")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range []error{Read(d, 0, 38, make([]float32, 38*11)), Read(d, -1, 1, make([]float32, 22)), Read(d, 0, 2, make([]float32, 21))} {
		if e == nil || !strings.Contains(e.Error(), `dataset "x"`) {
			t.Error(e)
		}
	}
	if _, err := Open("testdata/none.h5"); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if _, err := Open("testdata"); err == nil {
		t.Error("opened a folder")
	}
}

func rows(from, n, width int) []float64 {
	x := make([]float64, n*width)
	for i := range x {
		x[i] = value(from+i/width, i%width)
	}
	return x
}

func write(t testing.TB, path string, s Spec, n int, blocks ...int) {
	t.Helper()
	w, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	e, err := w.Dataset("incident_energies", Spec{Type: Float64, Width: 1, ChunkRows: 7})
	if err != nil {
		t.Fatal(err)
	}
	x, err := w.Dataset("x", s)
	if err != nil {
		t.Fatal(err)
	}
	for at := 0; at < n; {
		for _, b := range blocks {
			b = min(b, n-at)
			if err := errors.Join(Append(x, rows(at, b, int(max(1, s.Width)))), Append(e, rows(at, b, 1))); err != nil {
				t.Fatal(err)
			}
			at += b
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

var specs = []struct {
	name string
	s    Spec
	n    int
}{
	{"default", Spec{Width: 11}, 300}, {"float64", Spec{Type: Float64, Width: 11, ChunkRows: 5}, 300},
	{"two levels", Spec{Width: 3, ChunkRows: 1}, 200}, {"three levels", Spec{Width: 1, ChunkRows: 1, Level: 1}, 64*64 + 5},
	{"stored", Spec{Width: 4, ChunkRows: 9, Level: -1}, 100}, {"one dimension", Spec{ChunkRows: 10}, 95}, {"empty", Spec{Width: 2}, 0},
	{"whole chunks", Spec{Width: 2, ChunkRows: 10, Level: 9}, 100},
}

func TestRoundTrip(t *testing.T) {
	for _, c := range specs {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "a.h5")
			write(t, path, c.s, c.n, 1, 13, 40)
			check(t, path, c.s, c.n)
			secondOpinion(t, path, c.s, c.n)
		})
	}
}

func check(t *testing.T, path string, s Spec, n int) {
	t.Helper()
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	d, err := f.Dataset("x")
	if err != nil {
		t.Fatal(err)
	}
	width := int(max(1, s.Width))
	if int(d.Rows()) != n || int(d.Width()) != width || d.Type != max(s.Type, Float32) {
		t.Fatalf("shape %v, type %v", d.Dims, d.Type)
	}
	got := make([]float64, n*width)
	if err := Read(d, 0, int64(n), got); err != nil {
		t.Fatal(err)
	}
	for i, want := range rows(0, n, width) {
		if got[i] != want {
			t.Fatalf("element %d is %v, want %v", i, got[i], want)
		}
	}
}

// secondOpinion reads the file with another pure Go library.
func secondOpinion(t *testing.T, path string, s Spec, n int) {
	t.Helper()
	if n == 0 {
		return
	}
	g, err := netcdf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	v, err := g.GetVariable("x")
	if err != nil {
		t.Fatal(err)
	}
	var got []float64
	switch x := v.Values.(type) {
	case [][]float32:
		for _, r := range x {
			for _, e := range r {
				got = append(got, float64(e))
			}
		}
	case [][]float64:
		for _, r := range x {
			got = append(got, r...)
		}
	case []float32:
		for _, e := range x {
			got = append(got, float64(e))
		}
	default:
		t.Fatalf("the other library finds %T", v.Values)
	}
	for i, want := range rows(0, n, int(max(1, s.Width))) {
		if i >= len(got) || got[i] != want {
			t.Fatalf("the other library reads %d elements, element %d differs", len(got), i)
		}
	}
}

// h5dump is Debian's hdf5-tools; without it the test is skipped.
func TestH5dumpReadsIt(t *testing.T) {
	h5dump, err := exec.LookPath("h5dump")
	if err != nil {
		t.Skip("h5dump is not installed")
	}
	for _, c := range specs {
		path := filepath.Join(t.TempDir(), "a.h5")
		write(t, path, c.s, c.n, 50)
		var errs bytes.Buffer
		raw := filepath.Join(t.TempDir(), "x.bin")
		cmd := exec.Command(h5dump, "-d", "/x", "-b", "LE", "-o", raw, path)
		cmd.Stderr = &errs
		if out, err := cmd.Output(); err != nil || errs.Len() > 0 {
			t.Fatalf("%s: %v: %s%s", c.name, err, out, errs.Bytes())
		}
		b, err := os.ReadFile(raw)
		if err != nil {
			t.Fatal(err)
		}
		typ := max(c.s.Type, Float32)
		want := rows(0, c.n, int(max(1, c.s.Width)))
		if len(b) != len(want)*typ.Size() {
			t.Fatalf("%s: h5dump gives %d bytes", c.name, len(b))
		}
		got := make([]float64, len(want))
		convert(got, b, typ)
		for i := range want {
			if got[i] != want[i] {
				t.Fatalf("%s: h5dump reads %v at %d, want %v", c.name, got[i], i, want[i])
			}
		}
	}
}

func TestShowerFilesAgreeWithTheOtherLibrary(t *testing.T) {
	path := testdata.Shared(t, "showers/ds2_small_reference.h5")
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	d, err := f.Dataset("showers")
	if err != nil {
		t.Fatal(err)
	}
	g, err := netcdf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	v, err := g.GetVariable("showers") // its GetSlice is wrong where a slice crosses chunks
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range [][2]int64{{0, 60}, {720, 777}, {1490, 1500}} {
		x := make([]float32, (r[1]-r[0])*d.Width())
		if err := Read(d, r[0], r[1], x); err != nil {
			t.Fatal(err)
		}
		for i, row := range v.Values.([][]float32)[r[0]:r[1]] {
			for j, e := range row {
				if x[i*len(row)+j] != e {
					t.Fatalf("row %d element %d: %v and %v", r[0]+int64(i), j, x[i*len(row)+j], e)
				}
			}
		}
	}
}

func TestWriterRefuses(t *testing.T) {
	w, err := Create(filepath.Join(t.TempDir(), "a.h5"))
	if err != nil {
		t.Fatal(err)
	}
	a, err := w.Dataset("x", Spec{Width: 3})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", "a/b", "x"} {
		if _, err := w.Dataset(name, Spec{Width: 1}); err == nil {
			t.Errorf("took %q", name)
		}
	}
	for _, s := range []Spec{{Type: 3}, {Width: -1}, {Level: 10}, {Width: 1 << 20, ChunkRows: 1 << 20}} {
		if _, err := w.Dataset("y", s); err == nil {
			t.Errorf("took %+v", s)
		}
	}
	if err := Append(a, make([]float32, 4)); err == nil {
		t.Error("took a part of a row")
	}
	w.Abort()
	if err := Append(a, make([]float32, 3)); err == nil {
		t.Error("took rows after Abort")
	}
}

func TestNothingAppearsBeforeCloseOrAfterAbort(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.h5")
	write(t, path, Spec{Width: 2}, 10, 10)
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	w, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	a, err := w.Dataset("x", Spec{Width: 2, ChunkRows: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := Append(a, rows(5, 20, 2)); err != nil {
		t.Fatal(err)
	}
	now, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(before, now) {
		t.Error("the file changed before Close")
	}
	w.Abort()
	names, err := os.ReadDir(dir)
	if err != nil || len(names) != 1 {
		t.Errorf("left behind: %v %v", names, err)
	}
	if _, err := Create(filepath.Join(dir, "none", "a.h5")); !errors.Is(err, atomicfile.ErrWrite) {
		t.Error(err)
	}
}

func TestFailedWritesLeaveTheOldFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.h5")
	write(t, path, Spec{Width: 2}, 10, 10)
	for _, at := range []string{"open", "sync", "close", "rename"} {
		restore := atomicfile.SetHook(func(step string) error {
			if step == at {
				return errors.New("disk on fire")
			}
			return nil
		})
		err := func() error {
			w, err := Create(path)
			if err != nil {
				return err
			}
			return w.Close()
		}()
		restore()
		if !errors.Is(err, atomicfile.ErrWrite) {
			t.Errorf("%s: %v", at, err)
		}
		check(t, path, Spec{Width: 2}, 10)
		if names, _ := os.ReadDir(dir); len(names) != 1 {
			t.Errorf("%s: left behind %v", at, names)
		}
	}
}

func TestSameBytesAtAnyBlockSize(t *testing.T) {
	a, b := filepath.Join(t.TempDir(), "a.h5"), filepath.Join(t.TempDir(), "b.h5")
	write(t, a, Spec{Width: 5, ChunkRows: 4}, 101, 101)
	write(t, b, Spec{Width: 5, ChunkRows: 4}, 101, 101)
	x, _ := os.ReadFile(a)
	y, _ := os.ReadFile(b)
	if len(x) == 0 || !bytes.Equal(x, y) {
		t.Error("two runs differ")
	}
}

// readAll opens bytes as a file and reads everything it offers, up to a limit.
func readAll(b []byte) error {
	f, err := newFile("memory", bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range f.Names() {
		d, err := f.Dataset(name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		w := d.Width()
		if w > 1<<16 {
			continue
		}
		hi := min(d.Rows(), 64)
		errs = append(errs, Read(d, 0, hi, make([]float32, hi*w)), Read(d, d.Rows()-hi, d.Rows(), make([]float64, hi*w)))
	}
	return errors.Join(errs...)
}

func TestDamage(t *testing.T) {
	sound, err := os.ReadFile("testdata/f4_shuffle_gzip.h5")
	if err != nil {
		t.Fatal(err)
	}
	if err := readAll(sound); err != nil {
		t.Fatal(err)
	}
	find := func(s string) int { return bytes.LastIndex(sound, []byte(s)) }
	tree := find("TREE") // of the chunks
	if sound[tree+4] != 1 {
		tree = find("TREE\x01")
	}
	set := func(at int, v ...byte) func([]byte) []byte {
		return func(b []byte) []byte { copy(b[at:], v); return b }
	}
	cut := func(n int) func([]byte) []byte { return func(b []byte) []byte { return b[:n] } }
	for _, c := range []struct {
		name   string
		change func([]byte) []byte
		want   string
	}{
		{"empty", cut(0), "empty"},
		{"not HDF5", set(0, 'P', 'K'), "signature"},
		{"cut in the superblock", cut(50), "cut short"},
		{"cut in half", cut(len(sound) / 2), "copied in full"},
		{"superblock 2", set(8, 2), "latest"},
		{"superblock 9", set(8, 9), "superblock version 9"},
		{"4-byte addresses", set(13, 4), "addresses of 4"},
		{"no root header", set(64, 0xff, 0xff, 0xff), "object header"},
		{"no heap", set(find("HEAP"), 'X'), "heap"},
		{"no symbol node", set(find("SNOD"), 'X'), "symbol node"},
		{"no chunk tree", set(tree, 'X'), "B-tree"},
		{"level of the chunk tree", set(tree+5, 200), "level"},
		{"chunk at an odd row", set(tree+24+8, 3), "chunk at"},
		{"chunk beyond the file", set(tree+24+32, 0xff, 0xff, 0xff, 0x7f), "copied in full"},
		{"chunk of no bytes", set(tree+24, 0, 0, 0, 0), "chunk"},
	} {
		err := readAll(c.change(bytes.Clone(sound)))
		if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// Any single byte changed: an error or numbers, never a panic and never more memory than the limits allow.
func TestEveryByteDamaged(t *testing.T) {
	for _, name := range []string{"f4_shuffle_gzip", "f4_holes"} {
		sound, err := os.ReadFile("testdata/" + name + ".h5")
		if err != nil {
			t.Fatal(err)
		}
		for at := range sound {
			for _, v := range []byte{0, 1, 0x7f, 0xff} {
				if sound[at] == v || (v != 0xff && at%31 != 0) {
					continue
				}
				b := bytes.Clone(sound)
				b[at] = v
				_ = readAll(b)
			}
		}
	}
}

func FuzzRead(f *testing.F) {
	names, err := filepath.Glob("testdata/*.h5")
	if err != nil || len(names) == 0 {
		f.Fatal("no seeds")
	}
	for _, n := range names {
		b, err := os.ReadFile(n)
		if err != nil {
			f.Fatal(err)
		}
		if len(b) < 1<<14 {
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 1<<16 {
			return
		}
		if err := readAll(b); err != nil && !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrUnsupported) {
			t.Errorf("an error of another kind: %v", err)
		}
	})
}

func TestShuffle(t *testing.T) {
	b := []byte{1, 2, 3, 4, 5, 6, 7, 8, 9}
	if s := shuffle(b, 4); !bytes.Equal(s, []byte{1, 5, 2, 6, 3, 7, 4, 8, 9}) || !bytes.Equal(unshuffle(s, 4), b) {
		t.Error(s)
	}
}

func TestNaNAndInfinitySurvive(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.h5")
	w, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	a, err := w.Dataset("x", Spec{Width: 2})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(Append(a, []float32{float32(math.NaN()), float32(math.Inf(-1))}), w.Close()); err != nil {
		t.Fatal(err)
	}
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	d, err := f.Dataset("x")
	if err != nil {
		t.Fatal(err)
	}
	x := make([]float64, 2)
	if err := Read(d, 0, 1, x); err != nil || !math.IsNaN(x[0]) || !math.IsInf(x[1], -1) {
		t.Error(x, err)
	}
}
