package geometry

import (
	"bytes"
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hepmorph/internal/hdf5"
	"hepmorph/internal/testdata"
)

func lookup(t testing.TB, name string) *Geometry {
	t.Helper()
	g, err := Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// Sizes of the CaloChallenge datasets (arXiv:2410.21611).
func TestSizes(t *testing.T) {
	for _, c := range []struct {
		name           string
		layers, voxels int
	}{{"ds1-photons", 5, 368}, {"ds1-pions", 7, 533}, {"ds2", 45, 6480}, {"ds3", 45, 40500}, {"mini", 15, 1080}} {
		g := lookup(t, c.name)
		if len(g.Layers) != c.layers || g.Voxels() != c.voxels {
			t.Errorf("%v: %d layers, %d voxels", g, len(g.Layers), g.Voxels())
		}
		if h, err := Guess(c.voxels); err != nil || h.Name != c.name {
			t.Errorf("%d voxels: %v %v", c.voxels, h, err)
		}
		if nl, na, nr, ok := g.Uniform(); ok != !strings.HasPrefix(c.name, "ds1") || (ok && nl*na*nr != c.voxels) {
			t.Errorf("%v: uniform %v", g, ok)
		}
	}
	if _, err := Lookup("ds4"); !errors.Is(err, ErrUnknown) || !strings.Contains(err.Error(), "ds1-pions") {
		t.Error(err)
	}
	if _, err := Guess(7); !errors.Is(err, ErrUnknown) {
		t.Error(err)
	}
	names := Names()
	if len(names) != 5 || !slices.IsSorted(names) {
		t.Error(names)
	}
}

func TestCentres(t *testing.T) {
	g := lookup(t, "ds2")
	r, eta, phi := g.Centres()
	// voxel (layer 3, sector 5, ring 2)
	at := 3*144 + 5*9 + 2
	alpha := -math.Pi + 5.5*2*math.Pi/16
	want := 2.5 * 4.65
	if math.Abs(r[at]-want) > 1e-12 || math.Abs(eta[at]-want*math.Cos(alpha)) > 1e-12 || math.Abs(phi[at]-want*math.Sin(alpha)) > 1e-12 {
		t.Error(r[at], eta[at], phi[at])
	}
	p := lookup(t, "ds1-photons")
	if r, _, _ = p.Centres(); len(r) != 368 || r[0] != 2.5 || r[367] != 1500 {
		t.Error(len(r), r[0], r[367])
	}
	if lo, hi := p.Span(1); lo != 8 || hi != 168 {
		t.Error(lo, hi)
	}
}

func TestCoarsenMakesMini(t *testing.T) {
	ds2, mini := lookup(t, "ds2"), lookup(t, "mini")
	g, err := Coarsen(ds2, "mini", 3, 2, 1)
	if err != nil || !g.Equal(mini) {
		t.Fatal(g, err)
	}
	src, dst := make([]float32, ds2.Voxels()), make([]float32, mini.Voxels())
	for i := range src {
		src[i] = 1
	}
	src[(44*16+15)*9+8] = 5
	if err := Rebin(dst, mini, src, ds2); err != nil {
		t.Fatal(err)
	}
	for i, v := range dst {
		if want := float32(6); v != want && i != len(dst)-1 || i == len(dst)-1 && v != 10 {
			t.Fatalf("voxel %d is %v", i, v)
		}
	}
	if _, err := Coarsen(ds2, "x", 2, 1, 1); err == nil {
		t.Error("45 layers in pairs")
	}
	if _, err := Coarsen(lookup(t, "ds1-pions"), "x", 1, 1, 1); err == nil {
		t.Error("coarsened what is not uniform")
	}
	if err := Rebin(dst, lookup(t, "ds3"), src, ds2); err == nil {
		t.Error("rebinned to a finer geometry")
	}
}

const photonXML = `<?xml version="1.0"?>
<Bins>
  <Bin pid="211" etaMin="0" etaMax="130" name="pion"><Layer id="0" r_edges="0,1" n_bin_alpha="1" /></Bin>
  <Bin pid="22" etaMin="0" etaMax="130" name="photon">
    <Layer id="0" r_edges="0,5,10,30,50,100,200,400,600" n_bin_alpha="1" />
    <Layer id="1" r_edges="0,2,4,6,8,10,12,15,20,30,40,50,70,90,120,150,200" n_bin_alpha="10" />
    <Layer id="2" r_edges="0,2,5,10,15,20,25,30,40,50,60,80,100,130,160,200,250,300,350,400" n_bin_alpha="10" />
    <Layer id="3" r_edges="0,50,100,200,400,600" n_bin_alpha="1" />
    <Layer id="4" r_edges="0" n_bin_alpha="1" />
    <Layer id="12" r_edges="0, 100, 200, 400, 1000, 2000" n_bin_alpha="1" />
  </Bin>
</Bins>`

func TestReadsTheBinningFile(t *testing.T) {
	g, err := ReadXML(strings.NewReader(photonXML), "photon")
	if err != nil {
		t.Fatal(err)
	}
	if !g.Equal(lookup(t, "ds1-photons")) || g.PDG != 22 || g.Threshold != ThresholdDS1 {
		t.Error(g)
	}
	for _, name := range Names() {
		want := lookup(t, name)
		var b bytes.Buffer
		if err := WriteXML(&b, want); err != nil {
			t.Fatal(err)
		}
		got, err := ReadXML(&b, "")
		if err != nil || !got.Equal(want) || got.Threshold != want.Threshold {
			t.Errorf("%v: %v %v", want, got, err)
		}
	}
	path := filepath.Join(t.TempDir(), "b.xml")
	if err := os.WriteFile(path, []byte(photonXML), 0o666); err != nil {
		t.Fatal(err)
	}
	if g, err := ReadXMLFile(path, "pion"); err != nil || g.Voxels() != 1 {
		t.Error(g, err)
	}
}

func TestBadBinningFiles(t *testing.T) {
	layer := func(s string) string { return `<Bins><Bin pid="1" name="x">` + s + `</Bin></Bins>` }
	for _, c := range []struct{ name, xml, want string }{
		{"not XML", "hello", "binning file"},
		{"another root", "<Foo></Foo>", "binning file"},
		{"no such particle", strings.ReplaceAll(photonXML, `"photon"`, `"kaon"`), "pion, kaon"},
		{"twice", strings.ReplaceAll(photonXML, `"pion"`, `"photon"`), "two bins"},
		{"no voxels", strings.ReplaceAll(layer(`<Layer id="0" r_edges="0" n_bin_alpha="1"/>`), `"x"`, `"photon"`), "no layer"},
		{"falling", strings.ReplaceAll(layer(`<Layer id="7" r_edges="0,2,1" n_bin_alpha="1"/>`), `"x"`, `"photon"`), "layer 7: radial edges must rise"},
		{"not a number", strings.ReplaceAll(layer(`<Layer id="7" r_edges="0,a" n_bin_alpha="1"/>`), `"x"`, `"photon"`), `"a"`},
		{"NaN", strings.ReplaceAll(layer(`<Layer id="7" r_edges="0,NaN" n_bin_alpha="1"/>`), `"x"`, `"photon"`), "NaN"},
		{"no sectors", strings.ReplaceAll(layer(`<Layer id="7" r_edges="0,1" n_bin_alpha="0"/>`), `"x"`, `"photon"`), "0 sectors"},
		{"huge", strings.ReplaceAll(layer(`<Layer id="7" r_edges="0,1" n_bin_alpha="999999999"/>`), `"x"`, `"photon"`), "999999999"},
	} {
		if _, err := ReadXML(strings.NewReader(c.xml), "photon"); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func FuzzReadXML(f *testing.F) {
	f.Add([]byte(photonXML))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, particle := range []string{"", "photon"} {
			g, err := ReadXML(bytes.NewReader(b), particle)
			if err == nil && (g.Voxels() < 1 || g.Voxels() > maxVoxels) {
				t.Error(g)
			}
		}
	})
}

func showers(g *Geometry, n int) (energies []float64, voxels []float32, layers []float64) {
	energies, voxels, layers = make([]float64, n), make([]float32, n*g.Voxels()), make([]float64, n*len(g.Layers))
	for i := range n {
		energies[i] = 1000 * float64(i+1)
		v := voxels[i*g.Voxels() : (i+1)*g.Voxels()]
		for k := range v {
			if (k*7+i)%5 == 0 {
				v[k] = float32(energies[i]) / float32(len(v)) * float32(1+k%3)
			}
		}
		g.LayerSums(layers[i*len(g.Layers):(i+1)*len(g.Layers)], v)
	}
	return energies, voxels, layers
}

func TestFilesKeepShowers(t *testing.T) {
	ctx := context.Background()
	for _, name := range []string{"mini", "ds1-pions"} {
		for _, ext := range []string{".h5", ".root"} {
			for _, withLayers := range []bool{false, true} {
				g := lookup(t, name)
				path := filepath.Join(t.TempDir(), "s"+ext)
				e, v, l := showers(g, 23)
				w, err := Create(path, g, withLayers)
				if err != nil {
					t.Fatal(err)
				}
				nl := len(g.Layers)
				for _, b := range [][2]int{{0, 10}, {10, 11}, {11, 23}} {
					var part []float64
					if withLayers {
						part = l[b[0]*nl : b[1]*nl]
					}
					if err := w.Write(e[b[0]:b[1]], v[b[0]*g.Voxels():b[1]*g.Voxels()], part); err != nil {
						t.Fatal(err)
					}
				}
				if err := w.Close(); err != nil {
					t.Fatal(err)
				}
				r, err := Open(ctx, path, nil)
				if err != nil {
					t.Fatal(err)
				}
				if r.N != 23 || r.HasLayers != withLayers || !r.Geometry.Equal(g) {
					t.Fatalf("%s%s: %d showers of %v", name, ext, r.N, r.Geometry)
				}
				ge, gv, gl := make([]float64, 9), make([]float32, 9*g.Voxels()), make([]float64, 9*nl)
				if err := r.Read(5, 14, ge, gv, gl); err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(ge, e[5:14]) || !slices.Equal(gv, v[5*g.Voxels():14*g.Voxels()]) {
					t.Errorf("%s%s: showers changed", name, ext)
				}
				for i := range gl {
					if math.Abs(gl[i]-l[5*nl+i]) > 1e-6*l[5*nl+i] {
						t.Errorf("%s%s: layer energy %v, want %v", name, ext, gl[i], l[5*nl+i])
					}
				}
				if err := r.Read(0, 23, nil, nil, make([]float64, 23*nl)); err != nil {
					t.Error(err)
				}
				if err := r.Read(0, 24, nil, nil, nil); err == nil {
					t.Error("read beyond the end")
				}
				rep, err := Verify(ctx, r)
				if err != nil || !rep.OK() || (len(rep.Checks) == 6) != withLayers {
					t.Errorf("%s%s: %+v %v", name, ext, rep, err)
				}
				r.Close()
			}
		}
	}
}

func TestWriterChecksShowers(t *testing.T) {
	g := lookup(t, "mini")
	w, err := Create(filepath.Join(t.TempDir(), "a.h5"), g, false)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	e, v, l := showers(g, 2)
	if err := w.Write(e, v[:len(v)-1], nil); err == nil {
		t.Error("took a part of a shower")
	}
	if err := w.Write(e, v, l); err == nil {
		t.Error("took layer energies")
	}
	for _, bad := range []float32{-1, float32(math.NaN()), float32(math.Inf(1))} {
		x := slices.Clone(v)
		x[1080+7] = bad
		if err := w.Write(e, x, nil); err == nil || !strings.Contains(err.Error(), "shower 1: voxel 7") {
			t.Error(err)
		}
	}
}

func TestWrongFiles(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	make5 := func(name string, sets map[string][2]int64) string {
		path := filepath.Join(dir, name)
		w, err := hdf5.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, set := range []string{energiesSet, showersSet, layersSet} {
			s, ok := sets[set]
			if !ok {
				continue
			}
			a, err := w.Dataset(set, hdf5.Spec{Width: s[1]})
			if err != nil {
				t.Fatal(err)
			}
			if err := hdf5.Append(a, make([]float32, s[0]*s[1])); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return path
	}
	text := filepath.Join(dir, "text.h5")
	if err := os.WriteFile(text, []byte("no showers here"), 0o666); err != nil {
		t.Fatal(err)
	}
	fake := filepath.Join(dir, "fake.root")
	if err := os.WriteFile(fake, []byte("rootless"), 0o666); err != nil {
		t.Fatal(err)
	}
	mini := lookup(t, "mini")
	for _, c := range []struct {
		path string
		g    *Geometry
		kind error
		want string
	}{
		{make5("a", map[string][2]int64{energiesSet: {3, 1}, showersSet: {3, 6480}}), mini, ErrShape, "6480 voxels"},
		{make5("b", map[string][2]int64{energiesSet: {3, 1}, showersSet: {3, 77}}), nil, ErrUnknown, "77 voxels"},
		{make5("c", map[string][2]int64{energiesSet: {2, 1}, showersSet: {3, 1080}}), mini, ErrShape, "2 incident energies for 3 showers"},
		{make5("d", map[string][2]int64{energiesSet: {3, 2}, showersSet: {3, 1080}}), mini, ErrShape, "2 columns"},
		{make5("e", map[string][2]int64{energiesSet: {3, 1}}), mini, hdf5.ErrNotFound, showersSet},
		{make5("f", map[string][2]int64{energiesSet: {3, 1}, showersSet: {3, 1080}, layersSet: {3, 14}}), mini, ErrShape, "14 layer energies"},
		{make5("g", map[string][2]int64{energiesSet: {3, 1}, showersSet: {3, 1080}, layersSet: {4, 15}}), mini, ErrShape, "layer energies of 4"},
		{text, mini, hdf5.ErrDamaged, "text.h5"},
		{filepath.Join(dir, "none.h5"), mini, os.ErrNotExist, "none.h5"},
		{fake, mini, nil, "fake.root"},
	} {
		_, err := Open(ctx, c.path, c.g)
		if err == nil || (c.kind != nil && !errors.Is(err, c.kind)) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", filepath.Base(c.path), err)
		}
	}
}

func TestVerifyFindsFaults(t *testing.T) {
	ctx := context.Background()
	g := lookup(t, "mini")
	for _, c := range []struct {
		name  string
		spoil func(e []float64, v []float32, l []float64)
		check string
	}{
		{"sound", func([]float64, []float32, []float64) {}, ""},
		{"a layer off by 2e-5", func(_ []float64, v []float32, l []float64) { l[17] *= 1 + 2e-5 }, "layer sums"},
		{"energy in a layer that should be empty", func(_ []float64, v []float32, l []float64) { l[17] = 0 }, "layer sums"},
		{"a lost layer", func(_ []float64, v []float32, l []float64) { clear(v[1080+72 : 1080+144]) }, "layer sums"},
		{"below the threshold", func(_ []float64, v []float32, l []float64) { v[0] = 0.015; g.LayerSums(l[:15], v[:1080]) }, "threshold"},
		{"GeV", func(e []float64, v []float32, l []float64) {
			for i := range e {
				e[i] /= 1000
			}
		}, "unit"},
		{"all GeV", func(e []float64, v []float32, l []float64) {
			for i := range e {
				e[i] /= 1000
			}
			for i := range v {
				v[i] /= 1000
			}
			for i := range l {
				l[i] /= 1000
			}
		}, "unit"},
		{"no energy", func(e []float64, v []float32, l []float64) { e[1] = 0 }, "incident energies"},
		{"not a number", func(e []float64, v []float32, l []float64) { e[1] = math.NaN() }, "incident energies"},
	} {
		e, v, l := showers(g, 3)
		c.spoil(e, v, l)
		path := filepath.Join(t.TempDir(), "a.h5")
		w, err := Create(path, g, true)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(w.Write(e, v, l), w.Close()); err != nil {
			t.Fatal(err)
		}
		f, err := Open(ctx, path, g)
		if err != nil {
			t.Fatal(err)
		}
		rep, err := Verify(ctx, f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		failed := ""
		for _, k := range rep.Checks {
			if !k.OK && (failed == "" || k.Name == c.check) {
				failed = k.Name
			}
		}
		if failed != c.check || rep.OK() != (c.check == "") {
			t.Errorf("%s: %+v", c.name, rep.Checks)
		}
	}
}

func TestVerifySharedShowers(t *testing.T) {
	f, err := Open(context.Background(), testdata.Shared(t, "showers/ds2_small_train.h5"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rep, err := Verify(context.Background(), f)
	if err != nil || !rep.OK() || rep.Showers != 1500 || rep.Geometry.Name != "ds2" || rep.BelowThreshold != 0 {
		t.Errorf("%+v %v", rep, err)
	}
	if math.Abs(rep.ResponseMean-0.784) > 0.005 {
		t.Errorf("E_tot/E_inc = %v", rep.ResponseMean)
	}
}
