package rootio

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"hepmorph/internal/atomicfile"
)

var allElems = []Elem{Bool, Int8, Int16, Int32, Int64, Uint8, Uint16, Uint32, Uint64, Float32, Float64, String}

// fill appends n random values, the extremes among them.
func randomValues(v *Values, n int, r *rand.Rand) {
	for range n {
		bits := r.Uint64()
		if r.IntN(10) == 0 {
			bits = [...]uint64{0, math.MaxUint64, 1 << 63, 1<<63 - 1}[r.IntN(4)]
		}
		size := v.Kind.Elem.Size()
		switch e := v.Kind.Elem; {
		case e == Bool:
			v.B = append(v.B, bits&1 == 1)
		case e.Signed():
			v.I = append(v.I, int64(bits)>>(64-8*size))
		case e.Unsigned():
			v.U = append(v.U, bits>>(64-8*size))
		case e == Float32:
			v.F32 = append(v.F32, [...]float32{float32(r.NormFloat64()), math.MaxFloat32, float32(math.Inf(-1)), 0, -1e-42}[r.IntN(5)])
		case e == Float64:
			v.F64 = append(v.F64, [...]float64{r.NormFloat64(), math.MaxFloat64, math.Inf(1), 0, -5e-324}[r.IntN(5)])
		case e == String:
			v.S = append(v.S, strings.Repeat("aβ", r.IntN(200)/(1+r.IntN(100))))
		}
	}
}

// testTree has a column of every kind.
func testTree(n int, seed uint64) ([]WriteColumn, *Batch) {
	r := rand.New(rand.NewPCG(seed, 7))
	var cols []WriteColumn
	b := &Batch{N: n, Cols: map[string]*Values{}}
	counts := make([]int, n)
	for i := range counts {
		counts[i] = r.IntN(4)
	}
	add := func(c WriteColumn, per func(i int) int) {
		v := NewValues(c.Kind, n)
		for i := range n {
			randomValues(v, per(i), r)
			if v.Off != nil {
				v.Off = append(v.Off, int32(v.Size()))
			}
		}
		cols = append(cols, c)
		b.Cols[c.Name] = v
	}
	for _, e := range allElems {
		name := e.String()
		add(WriteColumn{Name: name, Kind: Kind{Elem: e}, Title: "doc of " + name}, func(int) int { return 1 })
		add(WriteColumn{Name: "v." + name, Kind: Kind{Elem: e, Form: Vector}}, func(int) int { return r.IntN(5) })
		if e == String {
			continue
		}
		add(WriteColumn{Name: "fix/" + name, Kind: Kind{Elem: e, Form: Fixed, Len: 3}}, func(int) int { return 3 })
		add(WriteColumn{Name: "grid_" + name, Kind: Kind{Elem: e, Form: Fixed, Len: 6}, Dims: []int{2, 3}}, func(int) int { return 6 })
		add(WriteColumn{Name: "arr_" + name, Kind: Kind{Elem: e, Form: Counted, Len: 1}, Counter: "n"}, func(i int) int { return counts[i] })
	}
	return cols, b
}

func sameValues(a, b *Values) bool {
	eq := func(x, y any) bool { return reflect.DeepEqual(x, y) }
	if a.Kind != b.Kind || a.Size() != b.Size() || len(a.Off) != len(b.Off) {
		return false
	}
	for i := range a.Off {
		if a.Off[i] != b.Off[i] {
			return false
		}
	}
	for i := range a.F32 {
		if math.Float32bits(a.F32[i]) != math.Float32bits(b.F32[i]) {
			return false
		}
	}
	for i := range a.F64 {
		if math.Float64bits(a.F64[i]) != math.Float64bits(b.F64[i]) {
			return false
		}
	}
	return len(a.I) == 0 && len(b.I) == 0 && len(a.U) == 0 && len(b.U) == 0 && len(a.B) == 0 && len(b.B) == 0 && len(a.S) == 0 && len(b.S) == 0 ||
		eq(append([]int64{}, a.I...), append([]int64{}, b.I...)) && eq(append([]uint64{}, a.U...), append([]uint64{}, b.U...)) &&
			eq(append([]bool{}, a.B...), append([]bool{}, b.B...)) && eq(append([]string{}, a.S...), append([]string{}, b.S...))
}

// readAll reads whole branches as one batch.
func readAll(t testing.TB, files []string, tree string, names []string, opt Options) *Batch {
	t.Helper()
	ctx := context.Background()
	c, err := Open(ctx, files, tree, opt)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if names == nil {
		for _, b := range c.Branches() {
			if b.Kind.Readable() {
				names = append(names, b.Name)
			}
		}
	}
	out := &Batch{Cols: map[string]*Values{}}
	err = c.Read(ctx, names, 0, -1, func(b *Batch) error {
		if b.Lo != int64(out.N) {
			return fmt.Errorf("batch at %d, expected %d", b.Lo, out.N)
		}
		out.N += b.N
		for name, v := range b.Cols {
			if out.Cols[name] == nil {
				out.Cols[name] = NewValues(v.Kind, 0)
			}
			if err := out.Cols[name].Append(v); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func writeTree(t testing.TB, path string, opt WriteOptions, cols []WriteColumn, batches ...*Batch) {
	t.Helper()
	f, err := Create(path, opt)
	if err != nil {
		t.Fatal(err)
	}
	w, err := f.Tree("dir/events", "a title", cols)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range batches {
		if err := w.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestRoundTrip(t *testing.T) {
	for _, opt := range []WriteOptions{{}, {Codec: Zstd, Level: 2}, {Codec: None}, {Level: 6, Basket: 1000}} {
		t.Run(fmt.Sprint(opt), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "a.root")
			cols, b := testTree(700, uint64(opt.Level))
			writeTree(t, path, opt, cols, b.Slice(0, 300), b.Slice(300, 301), b.Slice(301, 700))
			got := readAll(t, []string{path}, "", nil, Options{})
			if got.N != b.N || len(got.Cols) != len(cols)+1 {
				t.Fatalf("%d rows, %d columns", got.N, len(got.Cols))
			}
			for _, c := range cols {
				if !sameValues(got.Cols[c.Name], b.Cols[c.Name]) {
					t.Errorf("%s came back as %v, not as it was (%v)", c.Name, got.Cols[c.Name].Kind, c.Kind)
				}
			}
			info, err := List(context.Background(), path, Options{})
			if err != nil || len(info) != 1 || info[0].Path != "dir/events" || info[0].Title != "a title" || info[0].Entries != 700 {
				t.Fatalf("%+v, %v", info, err)
			}
			for _, br := range info[0].Branches {
				if br.Name == "float32" && br.Title != "doc of float32" {
					t.Errorf("title %q", br.Title)
				}
			}
		})
	}
}

func TestEmptyTree(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.root")
	cols, _ := testTree(1, 1)
	writeTree(t, path, WriteOptions{}, cols)
	if got := readAll(t, []string{path}, "dir/events", nil, Options{}); got.N != 0 {
		t.Errorf("%d rows", got.N)
	}
}

func TestCounterGiven(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.root")
	x := &Values{Kind: Kind{Elem: Float32, Form: Counted, Len: 1}, Off: []int32{0, 2, 2}, F32: []float32{1, 2}}
	cols := []WriteColumn{{Name: "x", Kind: x.Kind, Counter: "nx"}, {Name: "nx", Kind: Kind{Elem: Uint32}}}
	b := &Batch{N: 2, Cols: map[string]*Values{"x": x, "nx": Uints(Uint32, []uint64{2, 0})}}
	writeTree(t, path, WriteOptions{}, cols, b)
	got := readAll(t, []string{path}, "", nil, Options{})
	if !sameValues(got.Cols["x"], x) || !sameValues(got.Cols["nx"], b.Cols["nx"]) {
		t.Errorf("%+v %+v", got.Cols["x"], got.Cols["nx"])
	}
	f, err := Create(path, WriteOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Abort()
	w, err := f.Tree("t", "", cols)
	if err != nil {
		t.Fatal(err)
	}
	b.Cols["nx"] = Uints(Uint32, []uint64{1, 0})
	if err := w.Write(b); err == nil || !strings.Contains(err.Error(), `row 0 has 2 values, its counter "nx" is 1`) {
		t.Errorf("a wrong counter: %v", err)
	}
}

// TestWriteRefuses: what can't be written is refused before any row, and leaves the file that was there.
func TestWriteRefuses(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.root")
	if err := os.WriteFile(path, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	f32 := Kind{Elem: Float32}
	for name, cols := range map[string][]WriteColumn{
		"twice":       {{Name: "x", Kind: f32}, {Name: "x", Kind: f32}},
		"no name":     {{Kind: f32}},
		"no counter":  {{Name: "x", Kind: Kind{Elem: Float32, Form: Counted, Len: 1}}},
		"bad counter": {{Name: "x", Kind: Kind{Elem: Float32, Form: Counted, Len: 1}, Counter: "y"}, {Name: "y", Kind: f32}},
		"strings":     {{Name: "x", Kind: Kind{Elem: String, Form: Fixed, Len: 2}}},
		"no type":     {{Name: "x"}},
		"dims":        {{Name: "x", Kind: Kind{Elem: Float32, Form: Fixed, Len: 5}, Dims: []int{2, 3}}},
	} {
		f, err := Create(path, WriteOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Tree("t", "", cols); err == nil {
			t.Errorf("%s: no error", name)
		}
		f.Abort()
	}
	for name, b := range map[string]*Batch{
		"missing": {N: 1, Cols: map[string]*Values{}},
		"short":   {N: 2, Cols: map[string]*Values{"x": Float32s([]float32{1})}},
		"text":    {N: 1, Cols: map[string]*Values{"x": Strings([]string{"a"})}},
		"jagged":  {N: 1, Cols: map[string]*Values{"x": {Kind: Kind{Elem: Float32, Form: Vector}, Off: []int32{0, 1}, F32: []float32{1}}}},
	} {
		f, err := Create(path, WriteOptions{})
		if err != nil {
			t.Fatal(err)
		}
		w, err := f.Tree("t", "", []WriteColumn{{Name: "x", Kind: f32}})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Write(b); err == nil {
			t.Errorf("%s: no error", name)
		}
		f.Abort()
	}
	if _, err := Create(filepath.Join(dir, "no/such/folder/a.root"), WriteOptions{}); !errors.Is(err, atomicfile.ErrWrite) {
		t.Errorf("missing folder: %v", err)
	}
	if _, err := Create(path, WriteOptions{Codec: Zstd, Level: 7}); err == nil {
		t.Error("zstd level 7 accepted")
	}
	left, _ := os.ReadDir(dir)
	if raw, _ := os.ReadFile(path); string(raw) != "old" || len(left) != 1 {
		t.Errorf("left behind: %q, %v", raw, left)
	}
}

// TestWriteFails: whichever step of finishing the file fails, no file or the old one is there.
func TestWriteFails(t *testing.T) {
	cols, b := testTree(10, 1)
	for _, step := range []string{"open", "sync", "close", "rename"} {
		dir := t.TempDir()
		path := filepath.Join(dir, "a.root")
		restore := atomicfile.SetHook(func(s string) error {
			if s == step {
				return errors.New("planted")
			}
			return nil
		})
		err := func() error {
			f, err := Create(path, WriteOptions{})
			if err != nil {
				return err
			}
			w, err := f.Tree("t", "", cols)
			if err != nil {
				return err
			}
			if err := w.Write(b); err != nil {
				return err
			}
			return f.Close()
		}()
		restore()
		left, _ := os.ReadDir(dir)
		if !errors.Is(err, atomicfile.ErrWrite) || len(left) != 0 {
			t.Errorf("%s: %v, left %v", step, err, left)
		}
	}
}

// TestStreamerInfos: a file describes the classes of its trees, or jsroot reads arrays wrong.
func TestStreamerInfos(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.root")
	cols, b := testTree(3, 1)
	writeTree(t, path, WriteOptions{}, cols, b)
	f, err := openFile(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	have := map[string]bool{}
	for _, si := range f.StreamerInfos() {
		have[si.Name()] = true
	}
	for _, name := range []string{"TTree", "TBranch", "TBranchElement", "TLeaf", "TLeafF", "TLeafI", "TLeafElement", "TLeafO", "TLeafC", "TAttMarker"} {
		if !have[name] {
			t.Errorf("the file does not describe %s", name)
		}
	}
}
