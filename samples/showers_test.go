package samples

import (
	"bytes"
	"context"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hepmorph/calo/geometry"
	"hepmorph/internal/rng"
)

func collect(t testing.TB, set ShowerSettings) (energies []float64, voxels []float32) {
	t.Helper()
	err := Showers(context.Background(), set, func(at int64, e []float64, v []float32) error {
		if at != int64(len(energies)) {
			t.Errorf("block at %d after %d showers", at, len(energies))
		}
		energies, voxels = append(energies, e...), append(voxels, v...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return energies, voxels
}

// Layer energies alone, many of them: correlations of the real sets within 0.05 at large numbers (the printed table has them for
// complete showers); here with what 30 000 showers fluctuate.
func TestShowersFollowTheRealLayerEnergies(t *testing.T) {
	for _, name := range []string{"ds2", "ds3", "ds1-photons", "ds1-pions"} {
		w, err := newShowerGenerator(ShowerSettings{Geometry: name, Seed: 5})
		if err != nil {
			t.Fatal(err)
		}
		const n = 30000
		incident, layers := make([]float64, n), make([][]float64, n)
		for i := range layers {
			s := w.key.At(uint64(i))
			incident[i] = w.incident(&s)
			layers[i] = make([]float64, w.model.layers())
			w.model.draw(layers[i], incident[i], &s)
			for l, e := range layers[i] {
				if e < w.g.Threshold {
					layers[i][l] = 0
				}
			}
		}
		anchors, err := CheckShowers(w.g, incident, layers)
		if err != nil {
			t.Fatal(err)
		}
		if len(anchors) < 9 {
			t.Errorf("%s: %d anchors", name, len(anchors))
		}
		for _, a := range anchors {
			tol := a.Tol
			if a.Layer2 > 0 {
				tol += 0.02
			}
			d := math.Abs(a.Got - a.Want)
			if a.Relative {
				d /= a.Want
			}
			if d > tol {
				t.Errorf("%s: %s: %.4f, real %.4f", name, a.Quantity, a.Got, a.Want)
			}
		}
		var b bytes.Buffer
		if err := PrintAnchors(&b, anchors); err != nil || !strings.Contains(b.String(), "correlation of layers 0 and 1") {
			t.Error(b.String(), err)
		}
	}
}

func TestShowersAreTheSameOnAnyThreads(t *testing.T) {
	for _, name := range geometry.Names() {
		n := int64(70)
		e1, v1 := collect(t, ShowerSettings{Geometry: name, Events: n, Seed: 3, Threads: 1})
		e4, v4 := collect(t, ShowerSettings{Geometry: name, Events: n, Seed: 3, Threads: 4})
		if !slices.Equal(e1, e4) || !slices.Equal(v1, v4) {
			t.Errorf("%s: another number of threads, other showers", name)
		}
		e2, _ := collect(t, ShowerSettings{Geometry: name, Events: n, Seed: 4})
		if slices.Equal(e1, e2) {
			t.Errorf("%s: another seed, the same showers", name)
		}
	}
}

func TestShowersAreSound(t *testing.T) {
	for _, name := range geometry.Names() {
		g, err := geometry.Lookup(name)
		if err != nil {
			t.Fatal(err)
		}
		n := 200
		if name == "ds3" {
			n = 40
		}
		energies, voxels := collect(t, ShowerSettings{Geometry: name, Events: int64(n), Seed: 1})
		sums := make([]float64, len(g.Layers))
		filled := 0
		for i, e := range energies {
			v := voxels[i*g.Voxels() : (i+1)*g.Voxels()]
			total := 0.0
			g.LayerSums(sums, v)
			for _, x := range sums {
				total += x
			}
			if u := total / e; u < 0 || u > 2.5 {
				t.Errorf("%s: shower %d of %v MeV: E_tot/E_inc = %v", name, i, e, u)
			}
			for k, x := range v {
				if x < 0 || math.IsNaN(float64(x)) || (x > 0 && float64(x) < g.Threshold) {
					t.Fatalf("%s: shower %d voxel %d: %v", name, i, k, x)
				}
				if x > 0 {
					filled++
				}
			}
		}
		if share := float64(filled) / float64(n*g.Voxels()); share < 0.01 || share > 0.9 {
			t.Errorf("%s: %.3f of the voxels filled", name, share)
		}
	}
}

// The centre of a shower fluctuates, equally in both directions, and neighbouring layers lean the same way.
func TestShowersHaveAxes(t *testing.T) {
	g, err := geometry.Lookup("mini")
	if err != nil {
		t.Fatal(err)
	}
	_, eta, phi := g.Centres()
	_, voxels := collect(t, ShowerSettings{Events: 3000, Seed: 2, EnergyMin: 2e4, EnergyMax: 2e4})
	centre := func(v []float32, l int, x []float64) float64 {
		lo, hi := g.Span(l)
		a, s := 0.0, 0.0
		for k := lo; k < hi; k++ {
			a += float64(v[k]) * x[k]
			s += float64(v[k])
		}
		return a / max(s, 1e-9)
	}
	var see, spp, se, sp, next float64
	n := 0.0
	for i := range 3000 {
		v := voxels[i*1080 : (i+1)*1080]
		e, p := centre(v, 3, eta), centre(v, 3, phi)
		n++
		se, sp, see, spp, next = se+e, sp+p, see+e*e, spp+p*p, next+e*centre(v, 4, eta)
	}
	sdE, sdP := math.Sqrt(see/n), math.Sqrt(spp/n)
	if math.Abs(se/n) > 4*sdE/math.Sqrt(n) || math.Abs(sp/n) > 4*sdP/math.Sqrt(n) {
		t.Errorf("mean centre %v %v, spread %v %v", se/n, sp/n, sdE, sdP)
	}
	if sdE < 0.2 || math.Abs(sdE/sdP-1) > 0.1 {
		t.Errorf("spread of the centre %v %v mm", sdE, sdP)
	}
	if c := next / see; c < 0.25 {
		t.Errorf("the next layer's centre follows by %v", c)
	}
}

func TestGammaNoiseAndSampling(t *testing.T) {
	key := rng.NewKey(1, "noise")
	for _, sd := range []float64{0.1, 0.5, 1} {
		sum, sq := 0.0, 0.0
		const n = 40000
		for i := range n {
			s := key.At(uint64(i))
			x := gammaNoise(sd, &s)
			sum += x
			sq += x * x
		}
		if m, v := sum/n, sq/n-sum/n*sum/n; math.Abs(m-1) > 5*sd/200 || math.Abs(v/sd/sd-1) > 0.08 {
			t.Errorf("sd %v: mean %v, variance %v", sd, m, v)
		}
	}
	sum, sq := 0.0, 0.0
	for i := range 40000 {
		s := key.At(uint64(i))
		x := sampled(4000, 0.2, &s) // 4 GeV with 20 %/sqrt(GeV): 400 MeV
		sum += x
		sq += x * x
	}
	if m, sd := sum/40000, math.Sqrt(sq/40000-sum/40000*sum/40000); math.Abs(m-4000) > 10 || math.Abs(sd-400) > 10 {
		t.Error(m, sd)
	}
}

// r = R sqrt(q/(1-q)) is the quantile of f(r) = 2rR²/(r²+R²)²; deep in a shower the radial profile is broader.
func TestRadialProfile(t *testing.T) {
	m := spotModel{rm: stackRm, z: stackZ, ehat: stackEhat, fs: stackFs, unit: stackDepth}
	// GFlash's own table for this stack at 10 GeV (tau .5, 1, 2): without rounding in the third digit
	for _, c := range []struct{ tau, core, tail, share float64 }{{0.5, 0.080, 0.878, 0.986}, {1, 0.121, 0.570, 0.905}, {2, 0.206, 0.749, 0.620}} {
		core, tail, share := m.radii(c.tau, 10)
		if math.Abs(core-c.core) > 0.002 || math.Abs(tail-c.tail) > 0.01 || math.Abs(share-c.share) > 0.01 {
			t.Errorf("tau %v: %.3f %.3f %.3f, want %.3f %.3f %.3f", c.tau, core, tail, share, c.core, c.tail, c.share)
		}
	}
}

func TestWriteShowers(t *testing.T) {
	ctx := context.Background()
	for _, file := range []string{"s.h5", "s.root"} {
		path := filepath.Join(t.TempDir(), file)
		last := int64(0)
		if err := WriteShowers(ctx, path, ShowerSettings{Events: 90, Seed: 1}, func(done, total int64) { last = done }); err != nil {
			t.Fatal(err)
		}
		f, err := geometry.Open(ctx, path, nil)
		if err != nil {
			t.Fatal(err)
		}
		rep, err := geometry.Verify(ctx, f)
		f.Close()
		if err != nil || !rep.OK() || rep.Showers != 90 || last != 90 || rep.BelowThreshold != 0 {
			t.Errorf("%s: %+v %v", file, rep, err)
		}
	}
}

func TestShowersRefuse(t *testing.T) {
	ctx := context.Background()
	none := func(int64, []float64, []float32) error { return nil }
	for _, set := range []ShowerSettings{{Geometry: "ds4"}, {Events: -1}, {EnergyMin: 1, EnergyMax: 10}, {EnergyMin: 1e4, EnergyMax: 1e3}, {EnergyMin: math.NaN(), EnergyMax: 1e4}} {
		if err := Showers(ctx, set, none); err == nil {
			t.Errorf("took %+v", set)
		}
	}
	done, stop := context.WithCancel(ctx)
	stop()
	if err := Showers(done, ShowerSettings{}, none); err == nil {
		t.Error("went on after the end")
	}
	if _, err := CheckShowers(nil, make([]float64, 3), make([][]float64, 3)); err == nil {
		t.Error("checked three showers")
	}
}
