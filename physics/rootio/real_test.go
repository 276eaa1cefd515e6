package rootio

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hepmorph/internal/testdata"
)

// realFiles says what every shared file must end in: rows of a tree and readable branches, or a named error.
var realFiles = map[string]struct {
	tree     string
	entries  int64
	branches int // readable
	kind     error
	text     string
}{
	"DYJetsToLL_UL17_Skim.root":             {tree: "Events", entries: 100, branches: 1658},
	"EGamma_F_Skim.root":                    {tree: "Events", entries: 100, branches: 1594},
	"GJet_v11_Skim.root":                    {tree: "Events", entries: 100, branches: 1692},
	"ttH_M125_2017.root":                    {tree: "Events", entries: 100, branches: 1590},
	"hdna_tnp_mc.root":                      {entries: 13011, branches: 104},
	"leaves.root":                           {entries: 10, branches: 47},
	"nanoAOD_2015_CMS_Open_Data_ttbar.root": {entries: 200, branches: 947},
	"nano_dy.root":                          {tree: "Events", entries: 40, branches: 1499},
	"nano_dy_empty.root":                    {tree: "Events", entries: 0, branches: 1499},
	"nano_tt_v12.root":                      {tree: "Events", entries: 200, branches: 654},
	"nano_tt_v15.root":                      {tree: "Events", entries: 200, branches: 2656},
	"padding.root":                          {entries: 5, branches: 6},
	"phoid_mva.root":                        {entries: 1568, branches: 12},
	"rvec.root":                             {entries: 5, branches: 58},
	"small-flat-tree.root":                  {entries: 100, branches: 20},
	"uproot-HZZ.root":                       {entries: 2421, branches: 51},
	"uproot-HZZ-lz4.root":                   {entries: 2421, branches: 51},
	"uproot-HZZ-lzma.root":                  {entries: 2421, branches: 51},
	"uproot-HZZ-uncompressed.root":          {entries: 2421, branches: 51},
	"uproot-HZZ-zlib.root":                  {entries: 2421, branches: 51},
	"uproot-HZZ-zstd.root":                  {entries: 2421, branches: 51},
	"uproot-HZZ-objects.root":               {entries: 2421, branches: 11},
	"uproot-Zmumu.root":                     {entries: 2304, branches: 20},
	"uproot-issue-1502.root":                {entries: 10, branches: 1},
	"uproot-issue213.root":                  {entries: 100, branches: 3},
	"vec-vec-double.root":                   {entries: 5, branches: 0},
	"x-flat-tree.root":                      {entries: 10, branches: 41},
	"bad_delphes.root":                      {kind: ErrNotClosed, text: "not closed properly"},
	"nano_dy_rntuple.root":                  {kind: ErrRNTuple, text: "RNTuple"},
	"ntpl001_staff_rntuple_v1-0-1-0.root":   {kind: ErrRNTuple, text: "RNTuple"},
	"cmsopendata2015_ttbar_19980_NANOAOD_RNTupleImporter_rntuple_v1-0-0-1.root": {kind: ErrRNTuple, text: "RNTuple"},
	"PHYSLITE_example.root": {kind: ErrUnsupported, text: `tree "CollectionTree"`},
	"uproot-issue-214.root": {kind: ErrUnsupported, text: `tree "E"`},
	"uproot-issue443.root":  {tree: "ND280Events", kind: ErrCorrupt, text: "reader stopped"},
	"scouting_nano.root":    {tree: "Events", entries: 40, branches: 268},
	"graphs.root":           {kind: ErrTree, text: "it has none"},
	"tprofile.root":         {kind: ErrTree, text: "it has none"},
	"testSF2d.histo.root":   {kind: ErrTree, text: "it has none"},
}

// TestRealFiles reads every branch of every shared file through the guard: data or a named error, never a panic.
func TestRealFiles(t *testing.T) {
	dir := testdata.Shared(t, "root")
	files, err := filepath.Glob(filepath.Join(dir, "*.root"))
	if err != nil || len(files) < len(realFiles) {
		t.Fatalf("%d files, %v", len(files), err)
	}
	ctx := context.Background()
	for _, path := range files {
		name := filepath.Base(path)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want, ok := realFiles[name]
			if !ok {
				t.Fatal("no expectation")
			}
			c, err := Open(ctx, []string{path}, want.tree, guardedOpt)
			n := int64(0)
			var names []string
			if err == nil {
				defer c.Close()
				for _, b := range c.Branches() {
					if b.Kind.Readable() {
						names = append(names, b.Name)
					} else if b.Why == "" {
						t.Errorf("branch %q can't be read and does not say why", b.Name)
					}
				}
				err = c.Read(ctx, names, 0, -1, func(b *Batch) error { n += int64(b.N); return nil })
			}
			if want.kind != nil {
				var e *Error
				if !errors.Is(err, want.kind) || !errors.Is(err, ErrInput) || !errors.As(err, &e) || e.File != path || !strings.Contains(err.Error(), want.text) {
					t.Fatalf("%v; want %v with %q", err, want.kind, want.text)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if n != want.entries || len(names) != want.branches {
				t.Errorf("%d rows of %d, %d branches of %d", n, want.entries, len(names), want.branches)
			}
		})
	}
}

// TestCodecs: one tree in every codec gives the same values.
func TestCodecs(t *testing.T) {
	want := readAll(t, []string{testdata.Shared(t, "root/uproot-HZZ-uncompressed.root")}, "", nil, Options{})
	for _, codec := range []string{"zlib", "lz4", "lzma", "zstd"} {
		got := readAll(t, []string{testdata.Shared(t, "root/uproot-HZZ-"+codec+".root")}, "", nil, Options{})
		for name, v := range want.Cols {
			if !sameValues(v, got.Cols[name]) {
				t.Errorf("%s: %s differs", codec, name)
			}
		}
	}
}

// TestCopyReal: a copy with new columns keeps the values of every branch that it says it keeps.
func TestCopyReal(t *testing.T) {
	ctx := context.Background()
	for _, c := range []struct {
		file, tree, like string // like: the branch whose twin is added
		lost, trees      int
		guard            bool
	}{
		{"root/EGamma_F_Skim.root", "Events", "Photon_r9", 0, 2, true},
		{"root/nano_tt_v15.root", "Events", "Photon_r9", 0, 0, false},
		{"root/nano_dy_empty.root", "Events", "Photon_r9", 0, 0, true},
		{"root/uproot-HZZ-zlib.root", "events", "Photon_Px", 0, 0, true},
		{"root/x-flat-tree.root", "tree", "SliF32", 0, 0, false},
		{"root/padding.root", "tree", "", 0, 0, false},
		{"root/rvec.root", "events", "", 0, 0, false},
		{"root/uproot-HZZ-objects.root", "events", "", 11, 0, false},
		{"root/scouting_nano.root", "Events", "", 0, 0, true},
		{"diphoton/atlas-rvec.root", "analysis", "photon_pt", 0, 0, true},
	} {
		t.Run(c.file, func(t *testing.T) {
			t.Parallel()
			in := testdata.Shared(t, c.file)
			out := filepath.Join(t.TempDir(), "out.root")
			var opt CopyOptions
			chain, err := Open(ctx, []string{in}, c.tree, Options{Guard: c.guard})
			if err != nil {
				t.Fatal(err)
			}
			defer chain.Close()
			add := []WriteColumn{{Name: "morph_weight", Kind: Kind{Elem: Float64}}}
			if c.like != "" {
				b, err := chain.Branch(c.like)
				if err != nil {
					t.Fatal(err)
				}
				col := b.Column()
				col.Name += "_morphed"
				add = append(add, col)
			}
			rep, err := chain.Copy(ctx, out, add, func(b *Batch) (map[string]*Values, error) {
				w := make([]float64, b.N)
				for i := range w {
					w[i] = float64(b.Lo+int64(i)) / 2
				}
				new := map[string]*Values{"morph_weight": Float64s(w)}
				if c.like != "" {
					v := b.Cols[c.like].Clone()
					for i := range v.Size() {
						v.SetFloat(i, 2*v.Float(i))
					}
					new[c.like+"_morphed"] = v
				}
				return new, nil
			}, nil, opt)
			if err != nil {
				t.Fatal(err)
			}
			if len(rep.Lost) != c.lost || len(rep.Trees) != c.trees {
				t.Errorf("lost %v, trees %v", rep.Lost, rep.Trees)
			}
			got := readAll(t, []string{out}, c.tree, nil, Options{})
			want := readAll(t, []string{in}, c.tree, rep.Kept, Options{})
			if got.N != want.N || int64(got.N) != rep.Entries {
				t.Fatalf("%d rows, %d of them reported, the input has %d", got.N, rep.Entries, want.N)
			}
			if want.N == 0 {
				return
			}
			for _, name := range rep.Kept {
				g := got.Cols[name]
				if g == nil {
					t.Errorf("%s is not there", name)
					continue
				}
				w := want.Cols[name]
				g.Kind = w.Kind // a RVec becomes a vector, which is the same kind; Float16 becomes float32
				if !sameValues(g, w) {
					t.Errorf("%s differs", name)
				}
			}
			if c.like != "" {
				g, w := got.Cols[c.like+"_morphed"], want.Cols[c.like]
				if g.Size() != w.Size() {
					t.Fatalf("%d morphed values, %d", g.Size(), w.Size())
				}
				for i := range g.Size() {
					if float32(g.Float(i)) != float32(2*w.Float(i)) {
						t.Fatalf("morphed value %d: %g", i, g.Float(i))
					}
				}
			}
			for _, path := range rep.Trees {
				a, b := readAll(t, []string{in}, path, nil, Options{}), readAll(t, []string{out}, path, nil, Options{})
				for name, v := range a.Cols {
					if !sameValues(v, b.Cols[name]) {
						t.Errorf("%s/%s differs", path, name)
					}
				}
			}
		})
	}
}

// TestCopyRandom: a copy of random columns of every kind, from two files through the guard, has their values bit for bit.
func TestCopyRandom(t *testing.T) {
	dir := t.TempDir()
	var files []string
	for i := range 2 {
		path := filepath.Join(dir, fmt.Sprintf("in%d.root", i))
		cols, b := testTree(150+i*1000, uint64(40+i))
		writeTree(t, path, WriteOptions{Codec: Codec(i)}, cols, b)
		files = append(files, path)
	}
	out := filepath.Join(dir, "out.root")
	rep, err := copyFiles(context.Background(), files, "", out, []WriteColumn{{Name: "new", Kind: Kind{Elem: Float32}}}, func(b *Batch) (map[string]*Values, error) {
		return map[string]*Values{"new": Float64s(make([]float64, b.N))}, nil // of another width: it is converted
	}, guardedOpt)
	if err != nil || len(rep.Lost) != 0 || rep.Entries != 1300 {
		t.Fatalf("%+v %v", rep, err)
	}
	want, got := readAll(t, files, "", nil, Options{}), readAll(t, []string{out}, "", nil, Options{})
	for name, v := range want.Cols {
		if !sameValues(v, got.Cols[name]) {
			t.Errorf("%s differs", name)
		}
	}
}

// TestCopyObjects: histograms are added, texts kept, what can't be kept is named.
func TestCopyObjects(t *testing.T) {
	dir := t.TempDir()
	var files []string
	for i := range 2 {
		path := filepath.Join(dir, fmt.Sprintf("in%d.root", i))
		f, err := Create(path, WriteOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"events", "sub/runs"} {
			w, err := f.Tree(name, "", []WriteColumn{{Name: "x", Kind: Kind{Elem: Float32}}})
			if err != nil {
				t.Fatal(err)
			}
			if err := w.Write(&Batch{N: 2, Cols: map[string]*Values{"x": Float32s([]float32{float32(i), 5})}}); err != nil {
				t.Fatal(err)
			}
		}
		for dir, hs := range testHists() {
			for _, h := range hs {
				if err := f.Hist(dir, h); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		files = append(files, path)
	}
	out := filepath.Join(dir, "out.root")
	rep, err := copyFiles(context.Background(), files, "events", out, nil, nil, guardedOpt)
	if err != nil {
		t.Fatal(err)
	}
	if rep.Entries != 4 || len(rep.Trees) != 1 || len(rep.Objects) != 3 || len(rep.Left) != 0 {
		t.Errorf("%+v", rep)
	}
	if got := readAll(t, []string{out}, "events", nil, Options{}).Cols["x"].F32; fmt.Sprint(got) != "[0 5 1 5]" {
		t.Errorf("events %v", got)
	}
	if got := readAll(t, []string{out}, "sub/runs", nil, Options{}).Cols["x"].F32; fmt.Sprint(got) != "[0 5 1 5]" {
		t.Errorf("runs %v", got)
	}
	err = (&local{}).objects(out, func(o object) error {
		v, err := o.decode()
		if err != nil {
			return err
		}
		c := *member(v, "fArray").(*[]float64)
		for dir, hs := range testHists() {
			for _, h := range hs {
				if strings.Trim(dir+"/"+h.Name, "/") != o.path {
					continue
				}
				for i := range c {
					if c[i] != 2*h.Contents[i] {
						return fmt.Errorf("%s: cell %d is %g", o.path, i, c[i])
					}
				}
				if e := *member(v, "fEntries").(*float64); e != 2*float64(h.Entries) {
					return fmt.Errorf("%s: %g entries", o.path, e)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// TestCopyRealObjects: every class of the list survives a copy in a file that can be closed and read.
func TestCopyRealObjects(t *testing.T) {
	for _, name := range []string{"graphs", "tprofile", "uproot-issue213", "EGamma_F_Skim"} {
		path := testdata.Shared(t, "root/"+name+".root")
		out := filepath.Join(t.TempDir(), "out.root")
		f, err := Create(out, WriteOptions{})
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		err = (&local{}).objects(path, func(o object) error {
			if o.data == nil {
				t.Logf("%s: %s: %s", name, o.path, o.why)
				return nil
			}
			v, err := o.decode()
			if err != nil {
				return fmt.Errorf("%s: %w", o.path, err)
			}
			n++
			return f.put(o.path, v)
		})
		if err == nil {
			err = f.Close()
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		m := 0
		if err := (&local{}).objects(out, func(o object) error { m++; _, err := o.decode(); return err }); err != nil || m != n || n == 0 {
			t.Errorf("%s: %d of %d, %v", name, m, n, err)
		}
	}
}

func TestCopyRefuses(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.root")
	cols, b := testTree(5, 1)
	writeTree(t, path, WriteOptions{}, cols, b)
	ctx := context.Background()
	none := func(*Batch) (map[string]*Values, error) { return nil, nil }
	add := []WriteColumn{{Name: "float32", Kind: Kind{Elem: Float32}}}
	if _, err := copyFiles(ctx, []string{path}, "", filepath.Join(dir, "b.root"), add, none, Options{}); !errors.Is(err, ErrExists) {
		t.Errorf("a name that is there: %v", err)
	}
	if _, err := copyFiles(ctx, []string{path}, "", path, nil, none, Options{}); err == nil || !strings.Contains(err.Error(), "one of the inputs") {
		t.Errorf("onto itself: %v", err)
	}
	add[0].Name = "new"
	if _, err := copyFiles(ctx, []string{path}, "", filepath.Join(dir, "b.root"), add, none, Options{}); err == nil || !strings.Contains(err.Error(), "has no values") {
		t.Errorf("no values: %v", err)
	}
	boom := errors.New("boom")
	if _, err := copyFiles(ctx, []string{path}, "", filepath.Join(dir, "b.root"), add, func(*Batch) (map[string]*Values, error) { return nil, boom }, guardedOpt); !errors.Is(err, boom) {
		t.Errorf("failing fill: %v", err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
}

func TestFriend(t *testing.T) {
	dir := t.TempDir()
	path, out := filepath.Join(dir, "a.root"), filepath.Join(dir, "f.root")
	cols, b := testTree(50, 1)
	writeTree(t, path, WriteOptions{}, cols, b)
	add := []WriteColumn{{Name: "arr_float32_morphed", Kind: Kind{Elem: Float32, Form: Counted, Len: 1}, Counter: "n"}}
	chain, err := Open(context.Background(), []string{path}, "", Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer chain.Close()
	rep, err := chain.Friend(context.Background(), out, []string{"uint64"}, add, func(b *Batch) (map[string]*Values, error) {
		return map[string]*Values{"arr_float32_morphed": b.Cols["arr_float32"]}, nil
	}, []string{"arr_float32"}, CopyOptions{Lo: 10, Hi: 30})
	if err != nil {
		t.Fatal(err)
	}
	got := readAll(t, []string{out}, "", nil, Options{})
	if rep.Entries != 20 || len(got.Cols) != 3 || !sameValues(got.Cols["arr_float32_morphed"], b.Slice(10, 30).Cols["arr_float32"]) ||
		!sameValues(got.Cols["uint64"], b.Slice(10, 30).Cols["uint64"]) {
		t.Errorf("%+v", rep)
	}
}

// TestUnequalFiles: a chain says which file lacks what, and brings widths to those of the first file.
func TestUnequalFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, cols map[string]*Values) string {
		path := filepath.Join(dir, name)
		var list []WriteColumn
		for _, k := range sorted(cols) {
			list = append(list, WriteColumn{Name: k, Kind: cols[k].Kind})
		}
		writeTree(t, path, WriteOptions{}, list, &Batch{N: 1, Cols: cols})
		return path
	}
	a := write("a.root", map[string]*Values{"x": Float64s([]float64{1.5}), "y": Ints(Int32, []int64{-2}), "s": Strings([]string{"q"})})
	b := write("b.root", map[string]*Values{"x": Float32s([]float32{2.5}), "s": Float32s([]float32{1})})
	got := readAll(t, []string{a, b}, "", []string{"x"}, Options{}).Cols["x"]
	if fmt.Sprint(got.F64) != "[1.5 2.5]" {
		t.Errorf("%+v", got)
	}
	ctx := context.Background()
	c, err := Open(ctx, []string{a, b}, "", Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Read(ctx, []string{"y"}, 0, -1, nil); !errors.Is(err, ErrColumns) || !strings.Contains(err.Error(), "b.root") {
		t.Errorf("%v", err)
	}
	if err := c.Read(ctx, []string{"s"}, 0, -1, nil); !errors.Is(err, ErrMismatch) {
		t.Errorf("%v", err)
	}
	rep, err := copyFiles(ctx, []string{a, b}, "", filepath.Join(dir, "c.root"), nil, nil, Options{})
	if err != nil || len(rep.Lost) != 2 || fmt.Sprint(rep.Kept) != "[x]" {
		t.Errorf("%+v %v", rep, err)
	}
}

// TestDamage flips bits in copies of a file and reads them through the guard: data or a named error.
func TestDamage(t *testing.T) {
	raw, err := os.ReadFile(testdata.Shared(t, "root/uproot-Zmumu.root"))
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(11, 1))
	ctx := context.Background()
	dir := t.TempDir()
	failed := 0
	for i := range 24 {
		bad := append([]byte{}, raw...)
		switch i % 4 {
		case 0:
			bad = bad[:r.IntN(len(bad))]
		case 1: // in the header, the keys and the tree at the end, where it hurts
			bad[len(bad)-1-r.IntN(20000)] ^= 1 << r.IntN(8)
		default:
			for range 8 {
				bad[r.IntN(len(bad))] ^= 1 << r.IntN(8)
			}
		}
		path := filepath.Join(dir, fmt.Sprintf("%d.root", i))
		if err := os.WriteFile(path, bad, 0o644); err != nil {
			t.Fatal(err)
		}
		c, err := Open(ctx, []string{path}, "events", guardedOpt)
		if err == nil {
			var names []string
			for name := range c.Kinds() {
				names = append(names, name)
			}
			err = c.Read(ctx, names, 0, -1, func(*Batch) error { return nil })
			c.Close()
		}
		var e *Error
		if err != nil {
			failed++
			if !errors.As(err, &e) || !errors.Is(err, ErrInput) || e.File == "" {
				t.Errorf("copy %d: %v", i, err)
			}
		}
	}
	if failed < 8 {
		t.Errorf("only %d of 24 damaged copies were noticed", failed)
	}
}
