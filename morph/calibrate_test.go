package morph

import (
	"math"
	"path/filepath"
	"reflect"
	"testing"

	"hepmorph/internal/ad"
	"hepmorph/internal/modelfile"
	"hepmorph/internal/rng"
)

// linearLaw draws latent features that depend on conditions and on each other linearly.
func linearLaw(n int, seed uint64) (z, c []float32, w []float64) {
	s := rng.NewKey(seed, "linear law").At(0)
	for range n {
		a, b := s.Norm(), s.Norm()
		x := 0.05 + 0.3*a + s.Norm()
		y := -0.2*b + 0.1*x + 1.1*s.Norm()
		z = append(z, float32(x), float32(y), float32(s.Norm()))
		c = append(c, float32(a), float32(b), 1) // the last condition is constant, as the intercept is
		w = append(w, 0.5+s.Float64())
	}
	return z, c, w
}

func linearProducts(seed uint64) rowProducts {
	const n = 50000
	z, c, w := linearLaw(n, seed)
	return products(n, 3, 3, z, c, w, 2)
}

func TestCalibrationIsTheFitOfALinearLayer(t *testing.T) {
	const n = 200000
	z, c, w := linearLaw(n, 1)
	held := linearProducts(2)
	l, err := fitLinear(3, 3, products(n, 3, 3, z, c, w, 3), held)
	if err != nil {
		t.Fatal(err)
	}
	setScales([]*linearFit{l})
	gain := l.gain
	want := [][]float64{{0.05, 0.3, 0, 0}, {0, 0, -0.2, 0, 0.1}, {}}
	for j, row := range l.Weights {
		row = append([]float64(nil), row...)
		row[0], row[3] = row[0]+row[3], 0 // only the sum of intercept and constant condition is known
		for a, v := range row {
			expect := 0.0
			if a < len(want[j]) {
				expect = want[j][a]
			}
			if math.Abs(v-expect) > 0.015 {
				t.Errorf("feature %d: weight %d is %.4f, want %.4f", j, a, v, expect)
			}
		}
	}
	for j, v := range l.Scale {
		if want := []float64{1, 1.1, 1}[j]; math.Abs(v-want) > 0.01 {
			t.Errorf("feature %d: scale %.4f, want %.4f", j, v, want)
		}
	}
	again, err := fitLinear(3, 3, products(n, 3, 3, z, c, w, 1), held)
	if err != nil || !reflect.DeepEqual(l.Weights, again.Weights) {
		t.Errorf("another number of threads gives another layer: %v", err)
	}

	// On rows that the fit has not seen the log-likelihood rises by what it promised.
	z, c, w = linearLaw(n, 2)
	u, sum, norm := make([]float32, 3), 0.0, 0.0
	for i := range n {
		zi := z[3*i : 3*i+3]
		l.forward(3, zi, c[3*i:3*i+3], u)
		for j := range u {
			sum += w[i] * ((float64(zi[j])*float64(zi[j])-float64(u[j])*float64(u[j]))/2 - math.Log(l.Scale[j]))
		}
		norm += w[i]
		back := make([]float32, 3)
		l.inverse(3, u, c[3*i:3*i+3], back)
		for j := range back {
			if math.Abs(float64(back[j]-zi[j])) > 1e-5*(1+math.Abs(float64(zi[j]))) {
				t.Fatalf("row %d: %v comes back as %v", i, zi, back)
			}
		}
	}
	if sum /= norm; math.Abs(sum-gain) > 0.003 || sum < 0.05 {
		t.Errorf("the log-likelihood of new rows rises by %.4f, promised %.4f", sum, gain)
	}
}

// TestCalibrationLeavesNoiseAlone: what the rows don't call for stays as it is.
func TestCalibrationLeavesNoiseAlone(t *testing.T) {
	s := rng.NewKey(3, "white").At(0)
	const n, d, k = 20000, 4, 3
	var z, c []float32
	var w []float64
	for range n {
		for range d {
			z = append(z, float32(s.Norm()))
		}
		for range k {
			c = append(c, float32(s.Norm()))
		}
		w = append(w, 1)
	}
	sums := products(n, d, k, z, c, w, 2)
	l, err := fitLinear(d, k, sums, sums)
	if err != nil {
		t.Fatal(err)
	}
	moved, all := 0, 0
	for j, row := range l.Weights {
		for _, v := range row[:1+k+j] {
			all++
			if v != 0 {
				moved++
			}
		}
	}
	if moved > all/2 || l.gain < 0 || l.gain > 10./n {
		t.Errorf("%d of %d weights act on white noise, gain %g", moved, all, l.gain)
	}
}

func TestCalibrationFailsWhereAFeatureFollowsFromOthers(t *testing.T) {
	z := make([]float32, 2*1000)
	w := make([]float64, 1000)
	for i := range w {
		z[2*i], z[2*i+1], w[i] = float32(i%7)-3, 0, 1
	}
	sums := products(1000, 2, 0, z, nil, w, 1)
	if _, err := fitLinear(2, 0, sums, sums); err == nil {
		t.Error("a constant latent feature passes")
	}
}

// TestCalibrationScales: only a ratio that training rows show clearly and validation rows do not deny.
func TestCalibrationScales(t *testing.T) {
	type side struct{ left, held float64 } // logarithms of deviations, in percent
	for _, c := range []struct {
		name     string
		sim, dat side
		want     float64
		rows     float64
	}{
		{"clear", side{0.6, 0.5}, side{-0.4, -0.3}, 1, 5e5},
		{"known by heart in both", side{-1, 0.1}, side{-1.05, -0.1}, 0, 5e5},
		{"denied", side{0.6, -0.1}, side{-0.4, 0}, 0, 5e5},
		{"no validation rows", side{0.6, math.NaN()}, side{-0.4, math.NaN()}, 0, 5e5},
		{"too few to tell", side{0.6, 0.5}, side{-0.4, -0.3}, 0, 5e3},
	} {
		var fits []*linearFit
		for _, s := range []side{c.sim, c.dat} {
			fits = append(fits, &linearFit{linear: linear{Scale: []float64{1}}, left: []float64{s.left / 100}, held: []float64{s.held / 100}, rows: c.rows})
		}
		setScales(fits)
		sim, dat := math.Log(fits[0].Scale[0]), math.Log(fits[1].Scale[0])
		if math.Abs(sim-dat-c.want/100) > 1e-12 || math.Abs(sim+dat) > 1e-12 {
			t.Errorf("%s: scales %v and %v, want a ratio of exp %v %%", c.name, fits[0].Scale, fits[1].Scale, c.want)
		}
		if gain := fits[0].gain; (gain > 0) != (c.want != 0) || gain < 0 || gain > 1e-4 {
			t.Errorf("%s: gain %v", c.name, gain)
		}
	}
	one := &linearFit{linear: linear{Scale: []float64{1}}, left: []float64{0.01}, held: []float64{0.009}, rows: 1e5}
	if setScales([]*linearFit{one}); math.Abs(one.Scale[0]-math.Exp(0.01)) > 1e-12 {
		t.Errorf("one domain: scale %v", one.Scale)
	}
}

// TestCalibrationTakesOutTheErrorOfATraining shifts the base of both domains of an identity morph apart, as a training may leave them, and finds the morph that
// was wanted. The model file keeps it.
func TestCalibrationTakesOutTheErrorOfATraining(t *testing.T) {
	for _, method := range []Method{Switch, CNF} {
		net, err := newNetwork(method, Own, 2, 1, FlowConfig{Kind: "maf", Transforms: 2, Hidden: []int{8}}, 1)
		if err != nil {
			t.Fatal(err)
		}
		clear(net.ps.W) // the identity
		s := rng.NewKey(4, "shifted").At(0)
		const n = 50000
		sets := [2]*sampleSet{{n: n}, {n: n}}
		mean := [2]float64{0.03, -0.05}
		for d, set := range sets {
			for i := range n {
				c := s.Norm()
				set.x = append(set.x, float32(mean[d]+s.Norm()), float32((0.1+0.1*float64(d))*c+s.Norm()))
				set.c, set.given, set.keys = append(set.c, float32(c)), append(set.given, 1), append(set.keys, uint64(i))
			}
		}
		pool := ad.NewPool(2)
		defer pool.Close()
		tk := &task{net: net, td: &trainingData{sim: sets[0], simVal: sets[0], data: sets[1], dataVal: sets[1]}, pool: pool}
		if _, err := tk.calibrate(); err != nil {
			t.Fatal(err)
		}
		m := &Model{cfg: &Config{Method: method, Pairing: Own, Flow: FlowConfig{Kind: "maf", Transforms: 2, Hidden: []int{8}}, Seed: 1}, enc: &Encoder{}, net: net}
		path := filepath.Join(t.TempDir(), "model.hmm")
		if err := m.Write(path); err != nil {
			t.Fatal(err)
		}
		f, err := modelfile.Read(path)
		if err != nil {
			t.Fatal(err)
		}
		kept := &calibration{}
		if err := f.JSON("calibration", kept); err != nil || kept.check(net) != nil || !reflect.DeepEqual(kept, net.cal) {
			t.Errorf("%s: the file has %+v (%v), want %+v", method, kept, err, net.cal)
		}
		out := make([]float32, 2*n)
		net.mover(pool).move(n, out, sets[0].x, sets[0].c, sets[0].keys, 1)
		var mx, my, vy, slope float64
		for i := range n {
			mx += float64(out[2*i]) / n
			my += float64(out[2*i+1]) / n
			vy += float64(out[2*i+1]) * float64(out[2*i+1]) / n
			slope += float64(out[2*i+1]) * float64(sets[0].c[i]) / n
		}
		if math.Abs(mx-mean[1]) > 0.015 || math.Abs(my) > 0.015 || math.Abs(vy-1.04) > 0.03 || math.Abs(slope-0.2) > 0.02 {
			t.Errorf("%s: mean %.4f, %.4f, variance %.4f, slope %.4f; want -0.05, 0, 1.04, 0.2", method, mx, my, vy, slope)
		}
	}
}
