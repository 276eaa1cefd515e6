package calo

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"hepmorph/calo/geometry"
	"hepmorph/internal/rng"
	"hepmorph/internal/testdata"
)

func lookup(t testing.TB, name string) *geometry.Geometry {
	t.Helper()
	g, err := geometry.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// toy makes simple showers for any geometry: exponential profiles with random depth and empty layers.
func toy(g *geometry.Geometry, n int, seed uint64) *Showers {
	s := &Showers{Geo: g, Incident: make([]float64, n), Voxels: make([]float32, n*g.Voxels())}
	r, _, _ := g.Centres()
	key := rng.NewKey(seed, "toy showers")
	for i := range n {
		k := key.At(uint64(i))
		e := 1000 * math.Exp(math.Log(100)*k.Float64())
		s.Incident[i] = e
		v := s.Shower(i)
		depth := float64(len(g.Layers)) * (0.2 + 0.2*k.Float64())
		for l := range g.Layers {
			lo, hi := g.Span(l)
			el := 0.5 * e * k.Gamma(5) / 5 * math.Exp(-math.Abs(float64(l)-depth)*1.2)
			width := 0.05 * r[hi-1]
			for x := lo; x < hi; x++ {
				if d := el * math.Exp(-r[x]/width) * k.Exp() / 10; d >= g.Threshold {
					v[x] = float32(d)
				}
			}
		}
		sum := 0.0
		for _, x := range v {
			sum += float64(x)
		}
		for x := range v {
			v[x] *= float32(e * (0.6 + 0.2*k.Float64()) / max(sum, 1))
			if float64(v[x]) < g.Threshold {
				v[x] = 0
			}
		}
	}
	return s
}

// showers reads the first n training showers of the mini geometry.
func showers(t testing.TB, n int) *Showers { return load(t, "showers/mini_train.h5", n) }

func load(t testing.TB, file string, n int) *Showers {
	t.Helper()
	f, err := geometry.Open(context.Background(), testdata.Shared(t, file), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s := &Showers{Geo: f.Geometry, Incident: make([]float64, n), Voxels: make([]float32, n*f.Geometry.Voxels())}
	if err := f.Read(0, int64(n), s.Incident, s.Voxels, nil); err != nil {
		t.Fatal(err)
	}
	return s
}

func fit(t testing.TB, name string, s *Showers) Codec {
	t.Helper()
	c, err := Fit(name, s, 1)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// relative is |a-b| over the larger, 0 for equal numbers.
func relative(a, b float64) float64 {
	if a == b {
		return 0
	}
	return math.Abs(a-b) / max(math.Abs(a), math.Abs(b))
}

func TestRoundTrip(t *testing.T) {
	for _, geo := range []string{"mini", "ds1-photons", "ds1-pions"} {
		s := toy(lookup(t, geo), 500, 1)
		for _, name := range Codecs() {
			t.Run(geo+" "+name, func(t *testing.T) { roundTrip(t, name, s, 1) })
		}
	}
}

// Narrow empty voxels (Settings.Empties) stay below the point where zeros end and near it, and showers come back as before.
func TestRoundTripOfNarrowEmpties(t *testing.T) {
	s := toy(lookup(t, "mini"), 500, 1)
	for _, name := range []string{"moments", "quantile"} {
		roundTrip(t, name, s, 0.25)
	}
	q := fit(t, "quantile", s).(*quantile)
	// of numbers below the point where zeros end, and farther from it than a quarter of their part of the line
	count := func() (below, far int) {
		x, e := make([]float32, q.Dims().Shape), NewEnergies(s.Geo)
		for i := range s.Len() {
			e.Measure(s.Geo, s.Incident[i], s.Shower(i))
			st := rng.NewKey(1, "test").At(uint64(i))
			q.EncodeShape(x, e, s.Shower(i), &st)
			for l, el := range e.Layers {
				if el <= 0 {
					continue
				}
				var sec section
				_, hi := s.Geo.Span(l)
				q.ring(l, el, &sec, func(first, rings int) {
					for v := first; v < hi; v += rings {
						if d := sec.cut - float64(x[v]); d > 0 && sec.empty >= minEmpty {
							below++
							if d > 0.25*(sec.cut+maxNormal)+1e-6 {
								far++
							}
						}
					}
				})
			}
		}
		return below, far
	}
	empties, wide := count()
	q.narrow(0.25)
	if same, far := count(); wide == 0 || far > 0 || same != empties {
		t.Errorf("%d numbers below the cut, %d of them far from it; %d and %d if narrow", empties, wide, same, far)
	}
}

func TestRoundTripOfCascadeShowers(t *testing.T) {
	s := showers(t, 600)
	for _, name := range Codecs() {
		t.Run(name, func(t *testing.T) { roundTrip(t, name, s, 1) })
	}
}

func roundTrip(t *testing.T, name string, s *Showers, empties float64) {
	c := fit(t, name, s)
	if empties < 1 {
		c.(interface{ narrow(float64) }).narrow(empties)
	}
	if again, err := Restore(name, s.Geo, describe(t, c)); err != nil {
		t.Fatal(err)
	} else {
		c = again // what comes back from a file does the work
	}
	d := c.Dims()
	key := rng.NewKey(1, "test")
	x, y := make([]float32, d.Energy), make([]float32, d.Shape)
	back := make([]float32, s.Geo.Voxels())
	sums := make([]float64, len(s.Geo.Layers))
	e, f := NewEnergies(s.Geo), NewEnergies(s.Geo)
	worst, far, voxels := 0.0, 0, 0
	for i := range s.Len() {
		v := s.Shower(i)
		st := key.At(uint64(i))
		e.Measure(s.Geo, s.Incident[i], v)
		c.EncodeEnergies(x, e, &st)
		f.Incident = e.Incident
		c.DecodeEnergies(f, x)
		for l := range e.Layers {
			// the logit keeps a fraction to about 1e-7 of the rest, the tables all but the far tails
			d := math.Abs(e.Layers[l]-f.Layers[l]) / e.Total()
			if worst = max(worst, d); d > 2e-3 {
				far++
			}
			if (name == "quantile" || name == "moments") && (e.Layers[l] > 0) != (f.Layers[l] > 0) {
				t.Fatalf("shower %d: layer %d has %v MeV, back come %v", i, l, e.Layers[l], f.Layers[l])
			}
		}
		c.EncodeShape(y, e, v, &st)
		for k, z := range y {
			if math.IsNaN(float64(z)) || math.Abs(float64(z)) > 50 {
				t.Fatalf("shower %d: number %d of the shape is %v", i, k, z)
			}
		}
		c.DecodeShape(back, e, y, nil)
		s.Geo.LayerSums(sums, back)
		for l := range sums {
			if r := relative(sums[l], e.Layers[l]); r > 1e-6 {
				t.Fatalf("shower %d: layer %d sums to %v, want %v", i, l, sums[l], e.Layers[l])
			}
			if lo, hi := s.Geo.Span(l); (name == "quantile" || name == "moments") && e.Filled[l] != count(back[lo:hi]) {
				t.Fatalf("shower %d: layer %d has %d filled voxels, back come %d", i, l, e.Filled[l], count(back[lo:hi]))
			}
		}
		for k := range v {
			a, b := float64(v[k]), float64(back[k])
			if a == 0 && b == 0 {
				continue
			}
			voxels++
			if math.Abs(a-b) > 2e-3*e.Total() && relative(a, b) > 0.05 {
				far++
			}
		}
	}
	if far > voxels/2000 {
		t.Errorf("%d of %d numbers do not come back; worst layer energy off by %.2g of the total", far, voxels, worst)
	}
}

func count(v []float32) int {
	n := 0
	for _, x := range v {
		if x > 0 {
			n++
		}
	}
	return n
}

func describe(t testing.TB, c Codec) []byte {
	t.Helper()
	b, err := c.Describe()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Whatever a network draws, the result is a shower with these layer energies, no voxel below the threshold, nothing lost.
func TestAnyNumbersDecodeToAShower(t *testing.T) {
	for _, f := range [][2]string{{"mini", "quantile"}, {"mini", "moments"}, {"ds1-pions", "quantile"}, {"ds1-pions", "moments"}} {
		geo := f[0] + " " + f[1]
		g := lookup(t, f[0])
		c := fit(t, f[1], toy(g, 800, 2))
		d := c.Dims()
		x, y := make([]float32, d.Energy), make([]float32, d.Shape)
		v, sums := make([]float32, g.Voxels()), make([]float64, len(g.Layers))
		e := NewEnergies(g)
		key := rng.NewKey(3, "any")
		for i := range 600 {
			s := key.At(uint64(i))
			width := []float64{0, 1, 3, 100}[i%4]
			for k := range x {
				x[k] = float32(width * s.Norm())
			}
			for k := range y {
				y[k] = float32(width * s.Norm())
			}
			if i%97 == 0 {
				x[1], y[7] = float32(math.NaN()), float32(math.Inf(1))
			}
			e.Incident = 500 * math.Exp(7*s.Float64()) // beyond the trained range as well
			c.DecodeEnergies(e, x)
			c.DecodeShape(v, e, y, nil)
			g.LayerSums(sums, v)
			for l := range sums {
				lo, hi := g.Span(l)
				if relative(sums[l], e.Layers[l]) > 1e-6 || (e.Layers[l] > 0) != (e.Filled[l] > 0) || count(v[lo:hi]) != e.Filled[l] {
					t.Fatalf("%s %d: layer %d: %v MeV in %d voxels wanted, %v in %d found", geo, i, l, e.Layers[l], e.Filled[l], sums[l], count(v[lo:hi]))
				}
			}
			for k, x := range v {
				if x != 0 && !(float64(x) >= g.Threshold) {
					t.Fatalf("%s %d: voxel %d is %v", geo, i, k, x)
				}
			}
		}
	}
}

// Single numbers of the vectors are standard normal, whatever the energy: what the default codec promises.
func TestQuantileNumbersAreNormal(t *testing.T) {
	s := showers(t, 3000)
	c := fit(t, "quantile", s)
	d := c.Dims()
	key := rng.NewKey(1, "normal")
	e := NewEnergies(s.Geo)
	x, y := make([]float32, d.Energy), make([]float32, d.Shape)
	type acc struct{ n, sum, sq float64 }
	for _, r := range [][2]float64{{1e3, 3e3}, {1e4, 3e4}, {5e4, 1e5}} {
		energy, ring := make([]acc, d.Energy), make([]acc, 15*9)
		for i := range s.Len() {
			if s.Incident[i] < r[0] || s.Incident[i] > r[1] {
				continue
			}
			st := key.At(uint64(i))
			e.Measure(s.Geo, s.Incident[i], s.Shower(i))
			c.EncodeEnergies(x, e, &st)
			c.EncodeShape(y, e, s.Shower(i), &st)
			for k, z := range x {
				energy[k].n++
				energy[k].sum += float64(z)
				energy[k].sq += float64(z) * float64(z)
			}
			for k, z := range y {
				if e.Layers[k/72] > 0 {
					a := &ring[k/72*9+k%9]
					a.n++
					a.sum += float64(z)
					a.sq += float64(z) * float64(z)
				}
			}
		}
		check := func(what string, a acc, tol float64) {
			mean := a.sum / a.n
			sd := math.Sqrt(a.sq/a.n - mean*mean)
			if math.Abs(mean) > tol+4/math.Sqrt(a.n) || math.Abs(sd-1) > tol+3/math.Sqrt(a.n) {
				t.Errorf("%v MeV: %s: mean %.3f, deviation %.3f of %v", r, what, mean, sd, a.n)
			}
		}
		for k, a := range energy[:16] { // counts are normal given the energy of their layer
			check(fmt.Sprintf("energy %d", k), a, 0.08)
		}
		for k, a := range ring {
			if a.n > 1000 {
				check(fmt.Sprintf("layer %d ring %d", k/9, k%9), a, 0.25)
			}
		}
	}
}

// blocks gives showers a few at a time.
type blocks struct {
	*Showers
	size int
}

func (b blocks) Each(f func([]float64, []float32) error) error {
	for lo := 0; lo < b.Len(); lo += b.size {
		s := b.Slice(lo, min(lo+b.size, b.Len()))
		if err := f(s.Incident, s.Voxels); err != nil {
			return err
		}
	}
	return nil
}

func TestSameCodecInBlocksOfAnySize(t *testing.T) {
	s := toy(lookup(t, "ds1-pions"), 300, 5)
	for _, name := range Codecs() {
		whole := describe(t, fit(t, name, s))
		for _, size := range []int{1, 77} {
			c, err := Fit(name, blocks{s, size}, 1)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(describe(t, c), whole) {
				t.Errorf("%s: another codec from blocks of %d", name, size)
			}
		}
	}
}

func TestFileSource(t *testing.T) {
	f, err := geometry.Open(context.Background(), testdata.Shared(t, "showers/ds2_small_reference.h5"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s := FileSource{File: f, Lo: 100, Hi: 130}
	if s.Geometry().Name != "ds2" {
		t.Error(s.Geometry())
	}
	m, err := Measure(s, 0)
	if err != nil || m.N != 30 {
		t.Fatal(m, err)
	}
	want := load(t, "showers/ds2_small_reference.h5", 130)
	if !slices.Equal(m.Incident, want.Incident[100:]) {
		t.Error("other showers")
	}
}

// u_0 = 0.35 E_tot/E_inc and u_i = E_{i-1}/(E_{i-1}+...) by hand; the logit of section 2.1 of the notes on the published chain.
func TestPublishedNumbers(t *testing.T) {
	g := lookup(t, "ds1-photons")
	s := toy(g, 400, 4)
	p := fit(t, "calodream", s).(*published)
	for i := range p.UMean {
		p.UMean[i], p.USD[i] = 0, 1
	}
	e := &Energies{Incident: 1000, Layers: []float64{100, 300, 0, 150, 50}}
	x := make([]float32, 5)
	p.EncodeEnergies(x, e, nil)
	for i, u := range []float64{0.35 * 0.6, 1.0 / 6, 0.6, 0, 0.75} {
		u = u*(1-2e-6) + 1e-6
		if want := math.Log(u / (1 - u)); math.Abs(float64(x[i])-want) > 1e-5 {
			t.Errorf("u_%d: %v, want %v", i, x[i], want)
		}
	}
	var c [1]float32
	for _, r := range [][2]float64{{1e3, 0}, {1e6, 1}} {
		if p.EnergyCondition(c[:], r[0]); math.Abs(float64(c[0])-r[1]) > 1e-6 {
			t.Errorf("condition at %v MeV is %v", r[0], c[0])
		}
	}
	back := NewEnergies(g)
	back.Incident = 1000
	p.DecodeEnergies(back, x)
	for l, want := range e.Layers {
		if math.Abs(back.Layers[l]-want) > 0.01 {
			t.Errorf("layer %d: %v, want %v", l, back.Layers[l], want)
		}
	}
}

// Sizes after the padding of layers with one sector: 440 for photons, 625 for pions (arXiv:2601.05289's configurations).
func TestPaddedSizes(t *testing.T) {
	for _, c := range []struct {
		geo, name string
		want      int
	}{{"ds1-photons", "vit4hep", 440}, {"ds1-pions", "vit4hep", 625}, {"ds1-photons", "calodream", 368}, {"ds2", "vit4hep", 6480}} {
		if got := newPublished(c.name, lookup(t, c.geo)).dim; got != c.want {
			t.Errorf("%s of %s: %d, want %d", c.name, c.geo, got, c.want)
		}
	}
}

func TestFillLayer(t *testing.T) {
	key := rng.NewKey(1, "fill")
	for i := range 20000 {
		s := key.At(uint64(i))
		n := 1 + s.IntN(20)
		w := make([]float64, n)
		filled := 0
		for k := range w {
			if s.Float64() < 0.6 {
				w[k] = math.Exp(6 * s.Norm())
				filled++
			}
		}
		thr := []float64{0.01515, 1, 0}[i%3]
		energy := float64(float32(thr * (1 + 1e-6) * math.Exp(6*s.Float64())))
		if thr == 0 {
			energy = math.Exp(6 * s.Norm())
		}
		if i%50 == 0 {
			energy = 0
		}
		keep := i%2 == 0
		dst := make([]float32, n)
		fillLayer(dst, w, energy, thr, keep)
		sum := 0.0
		for _, x := range dst {
			sum += float64(x)
			if x != 0 && float64(x) < thr {
				t.Fatalf("%d: voxel of %v, threshold %v", i, x, thr)
			}
		}
		if relative(sum, float64(float32(energy))) > 1e-7 {
			t.Fatalf("%d: sum %v, want %v", i, sum, energy)
		}
		got := count(dst)
		if energy > 0 && got < 1 || got > max(1, filled) {
			t.Fatalf("%d: %d voxels of %d", i, got, filled)
		}
		if keep && energy > float64(filled)*thr*(1+1e-5) && energy > 0 && filled > 0 && got != filled {
			t.Fatalf("%d: kept %d of %d voxels with %v MeV", i, got, filled, energy)
		}
	}
}

func TestTable(t *testing.T) {
	key := rng.NewKey(9, "table")
	tb := newTabler(0, 2)
	// empty with c/2·0.8; else x normal around 3c with deviation 0.5+c
	fill := func(add func(c, x float64), empty func(c float64)) {
		for i := range 60000 {
			s := key.At(uint64(i))
			c := 2 * s.Float64()
			if s.Float64() < 0.4*c {
				empty(c)
			} else {
				add(c, 3*c+(0.5+c)*s.Norm())
			}
		}
	}
	fill(tb.add, tb.addEmpty)
	tb.fitLocation()
	fill(tb.addShape, func(float64) {})
	tab := tb.table()
	if err := tab.check(); err != nil {
		t.Fatal(err)
	}
	var s section
	for _, c := range []float64{0.1, 0.7, 1.3, 1.9} {
		tab.at(&s, c)
		if math.Abs(s.empty-0.4*c) > 0.03 || math.Abs(s.mu-3*c) > 0.2 || math.Abs(s.sd-0.5-c) > 0.15 {
			t.Errorf("c = %v: %v %v %v", c, s.empty, s.mu, s.sd)
		}
		for _, z := range []float64{-3.5, -2, -1, 0, 0.3, 2.5, 3.5} {
			x := 3*c + (0.5+c)*z
			g := s.forward(x, 0)
			want := normalQuantile(0.4*c + (1-0.4*c)*normalCDF(z))
			if math.Abs(g-want) > 0.2 && math.Abs(z) <= 2.5 {
				t.Errorf("c = %v, z = %v: %v, want %v", c, z, g, want)
			}
			if g <= s.cut {
				t.Errorf("c = %v, z = %v: below the cut", c, z)
			}
			if b := s.inverse(float64(float32(g))); math.Abs(b-x) > 2e-3*(1+math.Abs(x)) {
				t.Errorf("c = %v, z = %v: %v comes back as %v", c, z, x, b)
			}
		}
		for _, u := range []float64{0, 0.3, 0.999999} {
			if g := s.spread(u); g > s.cut {
				t.Errorf("c = %v: an empty one at %v, cut %v", c, g, s.cut)
			}
		}
	}
}

func TestNormalFunctions(t *testing.T) {
	for _, z := range []float64{-5, -1.959963984540054, 0, 1, 4.5} {
		if b := normalQuantile(normalCDF(z)); math.Abs(b-z) > 1e-9*math.Exp(z*z/2) {
			t.Errorf("%v comes back as %v", z, b)
		}
	}
	if p := normalCDF(-1.959963984540054); math.Abs(p-0.025) > 1e-12 {
		t.Error(p)
	}
}

func TestFitAndRestoreRefuse(t *testing.T) {
	g := lookup(t, "mini")
	for _, name := range append(Codecs(), "magic") {
		if _, err := Fit(name, toy(g, 1, 1), 1); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := Restore(name, g, []byte(`{"x":1}`)); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	bad := toy(g, 10, 1)
	bad.Incident[3] = -1
	if _, err := Fit("quantile", bad, 1); err == nil {
		t.Error("fitted showers of negative energy")
	}
	b := describe(t, fit(t, "quantile", toy(g, 300, 1)))
	for _, c := range [][2]string{{`"sd":[`, `"sd":[-1,`}, {`"c":[`, `"c":[99,`}, {`"q":[[`, `"q":[[9,`}, {`"layer_sd":[`, `"layer_sd":[0,`}} {
		if _, err := Restore("quantile", g, []byte(strings.Replace(string(b), c[0], c[1], 1))); err == nil {
			t.Errorf("restored with %s", c[1])
		}
	}
	if _, err := Restore("quantile", lookup(t, "ds1-photons"), b); err == nil {
		t.Error("restored for another geometry")
	}
}

func FuzzRestore(f *testing.F) {
	g, err := geometry.Lookup("ds1-photons")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range Codecs() {
		c, err := Fit(name, toy(g, 60, 1), 1)
		if err != nil {
			f.Fatal(err)
		}
		b, err := c.Describe()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(name, b)
	}
	f.Fuzz(func(t *testing.T, name string, b []byte) {
		c, err := Restore(name, g, b)
		if err != nil {
			return
		}
		e := NewEnergies(g)
		e.Incident = 1e4
		c.DecodeEnergies(e, make([]float32, c.Dims().Energy))
		c.DecodeShape(make([]float32, g.Voxels()), e, make([]float32, c.Dims().Shape), nil)
	})
}
