package physics

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"hepmorph/internal/testdata"
	"hepmorph/physics/rootio"
)

func TestMain(m *testing.M) {
	rootio.MaybeChild()
	m.Run()
}

func writeBatch(t *testing.T, b *rootio.Batch) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a.root")
	f, err := rootio.Create(path, rootio.WriteOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var cols []rootio.WriteColumn
	for _, name := range sortedKeys(b.Cols) {
		c := rootio.WriteColumn{Name: name, Kind: b.Cols[name].Kind}
		if c.Kind.Form == rootio.Counted {
			c.Counter = "n" + name // as uproot writes: each array has its own
		}
		cols = append(cols, c)
	}
	w, err := f.Tree("t", "", cols)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestLoad compares with a loop over the events.
func TestLoad(t *testing.T) {
	b := testBatch(4000, 12)
	b.Lo = 0
	path := writeBatch(t, b)
	s := Sample{
		Files: []string{path, path}, Weight: "x * y", Scale: 2,
		Define: []Definition{{"ratio", "m / pt[0]"}, {"m", "diphoton_mass(pt, eta, phi)"}, {"central", "abs(eta[0]) < 1"}, {"three", "k + 3"}, {"back", "k - 3"}},
		Select: []string{"size(pt) >= 3", "central", "pt[2] > 30 && three >= 0 && back <= 0"},
		Read:   rootio.Options{Guard: true},
	}
	tab, flow, err := Load(context.Background(), s, []Column{
		{Name: "m", Unit: "GeV", Role: Observable}, {Name: "r", Expr: "ratio + 1"}, {Name: "event", Role: ID}, {Name: "back"},
	})
	if err != nil {
		t.Fatal(err)
	}
	var n [4]int64
	var w [4]float64
	row := 0
	pt, eta, phi := b.Cols["pt"], b.Cols["eta"], b.Cols["phi"]
	for pass := range 2 {
		for i := range b.N {
			wi := 2 * float64(b.Cols["x"].F32[i]) * b.Cols["y"].F64[i]
			lo, hi := pt.Row(i)
			count := func(k int) { n[k]++; w[k] += wi }
			count(0)
			if hi-lo < 3 {
				continue
			}
			count(1)
			if math.Abs(float64(eta.F32[lo])) >= 1 {
				continue
			}
			count(2)
			if pt.F32[lo+2] <= 30 {
				continue
			}
			count(3)
			m := Mass(float64(pt.F32[lo]), float64(eta.F32[lo]), float64(phi.F32[lo]), float64(pt.F32[lo+1]), float64(eta.F32[lo+1]), float64(phi.F32[lo+1]))
			back := float64(b.Cols["k"].I[i] - 3)
			if tab.Columns[0].F[row] != m || tab.Columns[1].F[row] != m/float64(pt.F32[lo])+1 || tab.Columns[2].U[row] != b.Cols["event"].U[i] ||
				tab.Columns[3].F[row] != back || tab.Entry[row] != int64(pass*b.N+i) || tab.Weight[row] != wi {
				t.Fatalf("row %d (entry %d): %v", row, i, tab.Columns)
			}
			row++
		}
	}
	if tab.Len() != row || row < 100 || tab.Columns[0].Unit != "GeV" {
		t.Errorf("%d rows of %d", tab.Len(), row)
	}
	for k, c := range flow {
		if c.Entries != n[k] || math.Abs(c.SumW-w[k]) > 1e-9*float64(b.N) {
			t.Errorf("step %d: %+v, want %d %g", k, c, n[k], w[k])
		}
	}
	if got := flow.String(); strings.Count(got, "\n") != 4 || !strings.Contains(got, "all") {
		t.Error(got)
	}
}

// TestLoadElements: one row for each element of a collection; event branches are repeated.
func TestLoadElements(t *testing.T) {
	b := testBatch(300, 5)
	b.Lo = 0
	cols := map[string]*rootio.Values{"event": b.Cols["event"], "x": b.Cols["x"]}
	for name, v := range map[string]string{"Photon_pt": "pt", "Photon_eta": "eta"} {
		cols[name] = b.Cols[v]
	}
	path := writeBatch(t, &rootio.Batch{N: b.N, Cols: cols})
	tab, flow, err := Load(context.Background(), Sample{Files: []string{path}, Row: "photon", Weight: "x", Select: []string{"Photon_pt > 40"}},
		[]Column{{Name: "pt", Expr: "Photon_pt"}, {Name: "d", Expr: "Photon_eta - x"}, {Name: "second", Expr: "element == 1"}})
	if err != nil {
		t.Fatal(err)
	}
	row, all := 0, 0
	for i := range b.N {
		lo, hi := b.Cols["pt"].Row(i)
		for j := lo; j < hi; j++ {
			all++
			if b.Cols["pt"].F32[j] <= 40 {
				continue
			}
			x := float64(b.Cols["x"].F32[i])
			if tab.Entry[row] != int64(i) || int(tab.Elem[row]) != j-lo || tab.Columns[0].F[row] != float64(b.Cols["pt"].F32[j]) ||
				tab.Columns[1].F[row] != float64(b.Cols["eta"].F32[j])-x || tab.Weight[row] != x || (tab.Columns[2].F[row] == 1) != (j-lo == 1) {
				t.Fatalf("row %d", row)
			}
			row++
		}
	}
	if tab.Len() != row || flow[0].Entries != int64(all) {
		t.Errorf("%d rows of %d, %v", tab.Len(), row, flow)
	}
}

func TestLoadErrors(t *testing.T) {
	b := testBatch(20, 5)
	b.Lo = 0
	b.Cols["y"].F64[3] = math.NaN()
	path := writeBatch(t, b)
	for _, c := range []struct {
		name string
		s    Sample
		col  Column
		is   error
		text string
	}{
		{"no file", Sample{Files: []string{path + "x"}}, Column{Name: "x"}, rootio.ErrNotFound, "no such file"},
		{"no match", Sample{Files: []string{filepath.Dir(path) + "/b*.root"}}, Column{Name: "x"}, rootio.ErrNotFound, "matches no file"},
		{"no tree", Sample{Tree: "tt"}, Column{Name: "x"}, rootio.ErrTree, "nearest: t"},
		{"no branch", Sample{}, Column{Name: "evnt"}, rootio.ErrColumns, "nearest: event"},
		{"selection of a number", Sample{Select: []string{"x"}}, Column{Name: "x"}, ErrExpr, "not true or false"},
		{"bad weight", Sample{Weight: "y"}, Column{Name: "x"}, ErrExpr, "entry 3: it is NaN"},
		{"index", Sample{Select: []string{"pt[5] > 2"}}, Column{Name: "x"}, ErrExpr, "entry 0: index 5 of pt"},
		{"circle", Sample{Define: []Definition{{"a", "b + 1"}, {"b", "a + 1"}}}, Column{Name: "x"}, ErrExpr, "uses itself"},
		{"self", Sample{Define: []Definition{{"a", "a + 1"}}}, Column{Name: "x"}, ErrExpr, "no branch or definition"},
		{"shadow", Sample{Define: []Definition{{"x", "y"}}}, Column{Name: "x"}, ErrExpr, "has a branch of that name"},
		{"twice", Sample{Define: []Definition{{"a", "y"}, {"a", "x"}}}, Column{Name: "x"}, ErrExpr, "defined twice"},
		{"collection", Sample{Row: "photn"}, Column{Name: "x"}, ErrExpr, "no collection"},
		{"id", Sample{}, Column{Name: "x", Role: ID}, ErrExpr, "must be an integer"},
	} {
		if c.s.Files == nil {
			c.s.Files = []string{path}
		}
		_, _, err := Load(context.Background(), c.s, []Column{c.col})
		if !errors.Is(err, c.is) || !strings.Contains(fmt.Sprint(err), c.text) {
			t.Errorf("%s: %v, want %v with %q", c.name, err, c.is, c.text)
		}
	}
	tab, flow, err := Load(context.Background(), Sample{Files: []string{path}, Select: []string{"x > 1e9", "pt[0] / x > 2"}}, []Column{{Name: "x"}})
	if err != nil || tab.Len() != 0 || flow.Selected().Entries != 0 || len(flow) != 3 {
		t.Errorf("nothing selected: %v %v", flow, err)
	}
}

// TestReferenceSelections: the counts that the reference data's own description gives.
func TestReferenceSelections(t *testing.T) {
	if testing.Short() {
		t.Skip("reads a quarter of a million events")
	}
	atlas := Sample{
		Define: []Definition{{"m", "diphoton_mass_e(photon_pt, photon_eta, photon_phi, photon_e)"}},
		Select: []string{"size(photon_pt) >= 2 && " + both("photon_isTightID[#]"), "photon_pt[0] > 25 && photon_pt[1] > 20", both(atlasEta), both("photon_ptcone20[#]/photon_pt[#] < 0.055"), "m > 62"},
	}
	flat, err := GetPreset("diphoton")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		file string
		s    Sample
		want int64
	}{
		{"atlas-simulation", atlas, 12166}, {"atlas-data", atlas, 8537}, {"atlas-rvec", atlas, 1398},
		{"flat-simulation", Sample{Define: flat.Define, Select: flat.Select}, 56694}, {"flat-data", Sample{Define: flat.Define, Select: flat.Select}, 54785},
	} {
		c.s.Files = []string{testdata.Shared(t, "diphoton/"+c.file+".root")}
		c.s.Read.Guard = true
		_, flow, err := Load(context.Background(), c.s, []Column{{Name: "m"}})
		if err != nil {
			t.Errorf("%s: %v", c.file, err)
			continue
		}
		// One event lies at 62 GeV to the last bit of a float32.
		if got := flow.Selected().Entries; got < c.want-1 || got > c.want+1 {
			t.Errorf("%s: %d selected, want %d\n%v", c.file, got, c.want, flow)
		}
	}
}

// TestPresets: every preset compiles for the layout it is for, and is recognised.
func TestPresets(t *testing.T) {
	f32, vec := rootio.Kind{Elem: rootio.Float32}, rootio.Kind{Elem: rootio.Float32, Form: rootio.Vector}
	vbool := rootio.Kind{Elem: rootio.Bool, Form: rootio.Vector}
	layouts := map[string]map[string]rootio.Kind{
		"oneflow": {"pt": f32, "eta": f32, "noise": f32, "v1A": f32, "v2A": f32, "v1B": f32, "v2B": f32},
		"atlas-2020": {"runNumber": {Elem: rootio.Int32}, "eventNumber": {Elem: rootio.Int32}, "trigP": {Elem: rootio.Bool}, "mcWeight": f32, "scaleFactor_PHOTON": f32, "scaleFactor_PhotonTRIGGER": f32,
			"scaleFactor_PILEUP": f32, "photon_pt": vec, "photon_eta": vec, "photon_phi": vec, "photon_E": vec, "photon_isTightID": vbool, "photon_ptcone30": vec, "photon_etcone20": vec,
			"photon_convType": {Elem: rootio.Int32, Form: rootio.Vector}},
	}
	check := func(name, tree string, branches []rootio.Branch) {
		t.Helper()
		p, err := GetPreset(name)
		if err != nil {
			t.Fatal(err)
		}
		var cols []Column
		for _, s := range append(append(append([]Spec{}, p.Features...), p.Conditions...), p.Observables...) {
			cols = append(cols, Column{Name: s.Name, Expr: s.Expr})
		}
		for _, id := range p.ID {
			cols = append(cols, Column{Name: "id_" + id, Expr: id, Role: ID})
		}
		if _, err := Prepare(branches, Sample{Weight: p.Weight, Define: p.Define, Select: append(append([]string{}, p.Select...), p.Slices...)}, cols); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if g, ok := GuessPreset(tree, branches); !ok || g.Name != name {
			t.Errorf("%s was taken for %q", name, g.Name)
		}
	}
	for name, kinds := range layouts {
		var list []rootio.Branch
		for _, b := range sortedKeys(kinds) {
			list = append(list, rootio.Branch{Name: b, Kind: kinds[b]})
		}
		p, _ := GetPreset(name)
		check(name, p.Tree, list)
	}
	for name, file := range map[string]string{"diphoton": "flat-simulation", "atlas-2025": "atlas-simulation", "cms-nanoaod": "nano-simulation"} {
		c, err := rootio.Open(context.Background(), []string{testdata.Shared(t, "diphoton/"+file+".root")}, "", rootio.Options{})
		if err != nil {
			t.Fatal(err)
		}
		check(name, c.Tree, c.Branches())
	}
	if _, err := GetPreset("atlas"); err == nil || !strings.Contains(err.Error(), "atlas-2025") {
		t.Error(err)
	}
	// The gap veto removes the gap.
	e, err := Compile(strings.ReplaceAll(atlasEta, "#", "0"), map[string]rootio.Kind{"photon_eta": vec})
	if err != nil {
		t.Fatal(err)
	}
	v := &rootio.Values{Kind: vec, Off: []int32{0, 1, 2, 3, 4, 5}, F32: []float32{0.5, -1.45, 1.6, -2.3, 2.4}}
	rows, err := e.Select(&rootio.Batch{N: 5, Cols: map[string]*rootio.Values{"photon_eta": v}}, nil)
	if err != nil || fmt.Sprint(rows) != "[0 2 3]" {
		t.Errorf("%v %v", rows, err)
	}
}

func TestTable(t *testing.T) {
	a := NewTable(3)
	if err := a.Add(Column{Name: "x", F: []float64{1, 2, 3}}); err != nil {
		t.Fatal(err)
	}
	if err := a.Add(Column{Name: "id", Role: ID, U: []uint64{1 << 63, 2, 3}}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []Column{{Name: "x", F: make([]float64, 3)}, {Name: "y", F: make([]float64, 2)}} {
		if err := a.Add(c); err == nil {
			t.Errorf("column %q was added", c.Name)
		}
	}
	b := a.Take([]int{2, 0})
	if err := b.Append(a); err != nil {
		t.Fatal(err)
	}
	if b.Len() != 5 || fmt.Sprint(b.Columns[0].F) != "[3 1 1 2 3]" || b.Columns[1].U[1] != 1<<63 || fmt.Sprint(a.Columns[0].F) != "[1 2 3]" {
		t.Errorf("%+v", b)
	}
	if _, err := b.Col("X"); err == nil || !strings.Contains(err.Error(), "nearest: x") {
		t.Error(err)
	}
	if err := b.Append(NewTable(1)); err == nil {
		t.Error("unlike tables were joined")
	}
	if got := a.ByRole(ID); len(got) != 1 || got[0] != "id" {
		t.Error(got)
	}
}
