package rootio

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"testing"

	"go-hep.org/x/hep/groot/rhist"
	"go-hep.org/x/hep/groot/riofs"
	"go-hep.org/x/hep/groot/root"
	"go-hep.org/x/hep/hbook/yodacnv"
)

func testHists() map[string][]Hist {
	h1 := Hist{Name: "mgg", Title: "diphoton mass", XTitle: "m_{γγ} [GeV]", YTitle: "Events", XEdges: []float64{100, 110, 120, 130}, Contents: []float64{1, 2, -3, 4, 5}, SumW2: []float64{1, 4, 9, 16, 25}, Entries: 12}
	v := Hist{Name: "iso", XEdges: []float64{0, 1, 3}, Contents: []float64{0, 2, 7, 1}, Entries: 10}
	h2 := Hist{Name: "corr", XTitle: "η", YTitle: "p_{T} [GeV]", XEdges: []float64{-1, 0, 1}, YEdges: []float64{0, 1, 2, 4}, Contents: make([]float64, 20), Entries: 20}
	for i := range h2.Contents {
		h2.Contents[i] = float64(i)
	}
	return map[string][]Hist{"": {h1}, "a/b": {v, h2}}
}

func TestWriteHists(t *testing.T) {
	path := filepath.Join(t.TempDir(), "h.root")
	if err := WriteHists(path, testHists()); err != nil {
		t.Fatal(err)
	}
	f, err := riofs.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	o, err := f.Get("mgg")
	if err != nil {
		t.Fatal(err)
	}
	h := o.(*rhist.H1D)
	want := testHists()[""][0]
	for i, c := range want.Contents {
		if h.XBinContent(i) != c || math.Abs(h.XBinError(i)-math.Sqrt(want.SumW2[i])) > 1e-12 {
			t.Errorf("bin %d: %g ± %g", i, h.XBinContent(i), h.XBinError(i))
		}
	}
	if h.Entries() != 12 || h.SumW() != 3 || h.XAxis().(root.Named).Title() != "m_{#gamma#gamma} [GeV]" {
		t.Errorf("entries %g, sum %g, title %q", h.Entries(), h.SumW(), h.XAxis().(root.Named).Title())
	}
	if o, err = riofs.Dir(f).Get("a/b/corr"); err != nil {
		t.Fatal(err)
	}
	h2 := o.(*rhist.H2D)
	if got := h2.Array().Data; len(got) != 20 || got[13] != 13 {
		t.Errorf("2-D contents %v", got)
	}
	if got := *member(member(h2, "fYaxis"), "fXbins").(*[]float64); len(got) != 4 {
		t.Errorf("variable edges %v", got)
	}
	if got := *member(member(h2, "fXaxis"), "fXbins").(*[]float64); len(got) != 0 {
		t.Errorf("uniform edges %v", got)
	}
}

func TestWriteYODA(t *testing.T) {
	path := filepath.Join(t.TempDir(), "h.yoda")
	if err := WriteYODA(path, testHists()); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	objs, err := yodacnv.Read(bytes.NewReader(raw))
	if err != nil || len(objs) != 2 {
		t.Fatalf("%d objects, %v\n%s", len(objs), err, raw)
	}
}

func TestBadHists(t *testing.T) {
	dir := t.TempDir()
	for name, h := range map[string]Hist{
		"edges":    {Name: "h", XEdges: []float64{1, 0}, Contents: make([]float64, 3)},
		"contents": {Name: "h", XEdges: []float64{0, 1}, Contents: make([]float64, 2)},
		"no name":  {XEdges: []float64{0, 1}, Contents: make([]float64, 3)},
	} {
		if err := WriteHists(filepath.Join(dir, "h.root"), map[string][]Hist{"": {h}}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}
