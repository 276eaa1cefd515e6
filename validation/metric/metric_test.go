package metric

import (
	"math"
	"slices"
	"testing"

	"hepmorph/internal/gbdt"
	"hepmorph/internal/rng"
)

// normals draws d independent normal columns; mod may change a row.
func normals(seed uint64, n, d int, mod func(row []float64, s *rng.Stream)) [][]float64 {
	x := make([][]float64, d)
	for j := range x {
		x[j] = make([]float64, n)
	}
	key := rng.NewKey(seed, "normals")
	row := make([]float64, d)
	for i := range n {
		s := key.At(uint64(i))
		for j := range row {
			row[j] = s.Norm()
		}
		if mod != nil {
			mod(row, &s)
		}
		for j, v := range row {
			x[j][i] = v
		}
	}
	return x
}

// signed draws weights of which one in ten is negative.
func signed(seed uint64, n int) []float64 {
	w := make([]float64, n)
	key := rng.NewKey(seed, "signed")
	for i := range w {
		s := key.At(uint64(i))
		w[i] = 0.5 + s.Float64()
		if s.Float64() < 0.1 {
			w[i] = -w[i]
		}
	}
	return w
}

func TestKnownAnswers(t *testing.T) {
	near := func(what string, got, want, tol float64) {
		t.Helper()
		if got != want && !(math.Abs(got-want) <= tol) {
			t.Errorf("%s: %g, want %g", what, got, want)
		}
	}
	near("W1 of a shift", W1([]float64{3, 5, 1}, nil, []float64{0, 2, 4}, nil), 1/math.Sqrt(8./3), 1e-12)
	near("W1 of equal samples", W1([]float64{1, 2}, []float64{2, 2}, []float64{2, 1, 2, 1}, nil), 0, 1e-12)
	near("weights are only ratios", W1([]float64{1, 2}, []float64{1e-9, 3e-9}, []float64{1, 2}, []float64{5, 5}), 0.25/0.5, 1e-12)
	near("NaN is left out", W1([]float64{1, math.NaN(), 2}, []float64{1, 7, 1}, []float64{1, 2}, nil), 0, 1e-12)
	near("W1 with infinite values on one side", W1([]float64{1, math.Inf(1)}, nil, []float64{1, 2}, nil), math.Inf(1), 0)
	d, _ := KS([]float64{1, 2, 3, 4}, nil, []float64{3, 4, 5, 6}, nil)
	near("KS", d, 0.5, 1e-12)
	near("Kolmogorov's law at 1.36", kolmogorov(1.3581), 0.05, 1e-4)
	near("Kolmogorov's law, both series", kolmogorov(0.9999999)-kolmogorov(1.0000001), 0, 1e-6)
	near("AUC, separated", AUC([]float64{1, 2}, nil, []float64{3, 4}, nil), 1, 0)
	near("AUC, ties", AUC([]float64{1, 1, 2}, nil, []float64{1, 2}, nil), (2./2+2+0.5)/6, 1e-12)
	near("AUC, signed", AUC([]float64{1, 2, 3}, []float64{1, -0.5, 1}, []float64{2.5}, nil), 0.5/1.5, 1e-12)
	near("N_eff", NEff([]float64{1, 1, -1}), 1./3, 1e-12)
	near("χ² tail", chi2P(3.841459, 1), 0.05, 1e-7)
	if got := Holm([]float64{0.01, 0.04, math.NaN(), 0.03}); !slices.Equal(got[:2], []float64{0.03, 0.06}) || got[2] == got[2] || got[3] != 0.06 {
		t.Errorf("Holm: %v, want [0.03 0.06 NaN 0.06]", got)
	}
	q := Quantiles([]float64{5, 1, 3, 2, 4}, nil, 0, 0.2, 0.21, 0.5, 1)
	if !slices.Equal(q, []float64{1, 1, 2, 3, 5}) {
		t.Errorf("quantiles %v", q)
	}
	x := [][]float64{{1, 2, 3, 4}, {2, 4, 6, 8}, {1, 4, 9, 16}, {1, 1, 1, 1}}
	p, s := Pearson(x, nil, 1), Spearman(x, nil, 1)
	near("Pearson of a line", p[0][1], 1, 1e-12)
	near("Spearman of a curve", s[0][2], 1, 1e-12)
	near("a constant column", p[0][3], 0, 0)
	roc := ROC([]float64{1, 2, 3}, nil, []float64{2, 3, 4}, nil, 100)
	area := 0.0
	for i := 1; i < len(roc.True); i++ {
		area += (roc.False[i] - roc.False[i-1]) * (roc.True[i] + roc.True[i-1]) / 2
	}
	near("area under ROC", area, AUC([]float64{1, 2, 3}, nil, []float64{2, 3, 4}, nil), 1e-12)
	near("separation of disjoint histograms", Separation([]float64{1, 0}, []float64{0, 5}), 1, 1e-12)
	near("separation of equal histograms", Separation([]float64{1, 3}, []float64{2, 6}), 0, 1e-12)
	if h := Histogram([]float64{0, 0.5, 1, 2, 3, -1, math.NaN()}, nil, []float64{0, 1, 2}); !slices.Equal(h, []float64{2, 2}) {
		t.Errorf("histogram %v, want [2 2]", h)
	}
	abs, sq := Transport([][]float64{{0, 1}}, [][]float64{{2, 0}}, []float64{1, 3}, []float64{2})
	near("transport", abs[0], (1*1+3*0.5)/4, 1e-12)
	near("square transport", sq[0], (1*1+3*0.25)/4, 1e-12)
	near("transport's bound", TransportBound([][]float64{{0, 1}}, [][]float64{{1, 0}}, nil, nil, 1)[0], 0, 1e-12)
	near("dependence", Dependence([]float64{0, 1, 2, 3}, []float64{9, 1, 4, 9}, nil, func(i int) bool { return i > 0 }), 1, 1e-12)
	m := Moments([]float64{1, 3, 10}, nil, 0, 5)
	near("mean in a window", m.Mean, 2, 1e-12)
	near("error of the mean", m.MeanErr, 1/math.Sqrt2, 1e-12)
}

func TestEdgesHoldEqualShares(t *testing.T) {
	x := normals(1, 5000, 1, nil)[0]
	c, err := Sort(x, nil)
	if err != nil {
		t.Fatal(err)
	}
	e := c.Edges(50)
	if len(e) != 51 {
		t.Fatalf("%d edges, want 51", len(e))
	}
	n, _ := c.counts(e)
	for k, v := range n {
		if v != 100 {
			t.Errorf("bin %d holds %g of 5000 rows", k, v)
		}
	}
	for i := range x { // an atom of 60 %
		if i%10 < 6 {
			x[i] = 0
		}
	}
	if c, err = Sort(x, nil); err != nil {
		t.Fatal(err)
	}
	e = c.Edges(50)
	if !slices.IsSorted(e) || len(e) < 20 || len(e) > 30 {
		t.Errorf("%d edges with an atom of 60 %%", len(e))
	}
}

// TestFalseAlarms looks at 200 pairs of samples of one law, with signed weights on one side: p-values are uniform.
func TestFalseAlarms(t *testing.T) {
	const pairs, n = 200, 800
	p := map[string][]float64{}
	for k := range uint64(pairs) {
		x, y := normals(1000+2*k, n, 3, nil), normals(1001+2*k, n, 3, nil)
		w := signed(k, n)
		_, ks := KS(x[0], nil, y[0], nil)
		p["KS"] = append(p["KS"], ks)
		_, ks = KS(x[1], w, y[1], nil)
		p["KS, signed"] = append(p["KS, signed"], ks)
		p["chi2"] = append(p["chi2"], Chi2(x[0], nil, y[0], nil, 20).P)
		p["chi2, signed"] = append(p["chi2, signed"], Chi2(x[1], w, y[1], nil, 20).P)
		tilted := normals(5000+k, n, 1, func(r []float64, _ *rng.Stream) { r[0] -= 0.8 })[0] // with exp(0.8 v) the law of y[2]
		heavy := make([]float64, n)
		for i, v := range tilted {
			heavy[i] = w[i] * math.Exp(0.8*v)
		}
		a, b, err := sortTwo(tilted, heavy, y[2], nil)
		if err != nil {
			t.Fatal(err)
		}
		p["share, heavy at high values"] = append(p["share, heavy at high values"], math.Erfc(math.Abs(sharePull(a, b, b.Quantiles(0.9)[0]))/math.Sqrt2))
		s := PairSettings{Rows: 100, Permutations: 99, Seed: k}
		for name, w := range map[string][]float64{"": nil, ", signed": w} {
			m, err := MMDTest(x, w, y, nil, s)
			if err != nil {
				t.Fatal(err)
			}
			e, err := EnergyTest(x, w, y, nil, s)
			if err != nil {
				t.Fatal(err)
			}
			// A permutation's p is a multiple of 1/100: spread it evenly over its step.
			p["MMD"+name] = append(p["MMD"+name], m.P-rng.NewKey(1, "m").Uniform(k)/100)
			p["energy"+name] = append(p["energy"+name], e.P-rng.NewKey(1, "e").Uniform(k)/100)
		}
	}
	for name, v := range p {
		uniform := make([]float64, 100000)
		for i := range uniform {
			uniform[i] = (float64(i) + 0.5) / float64(len(uniform))
		}
		if d, q := KS(v, nil, uniform, nil); q < 0.01 {
			t.Errorf("%s: p-values of equal laws are not uniform: KS distance %.3f, p %.2g", name, d, q)
		}
	}
}

// TestPower: a shift of 3 % of a standard deviation at 1e5 events is found in one column, a correlation in all together.
func TestPower(t *testing.T) {
	const n = 100000
	y := normals(2, n, 1, nil)[0]
	c, err := Sort(y, nil)
	if err != nil {
		t.Fatal(err)
	}
	f, _ := c.Floors(c, 20, 1, 0)
	if want := 0.00576; math.Abs(f.Mean-want) > 0.0012 {
		t.Errorf("floor of W1 at 1e5 normal events %.5f, theory %.5f", f.Mean, want)
	}
	x := normals(3, n, 1, func(r []float64, _ *rng.Stream) { r[0] += 0.03 })[0]
	if w := W1(x, nil, y, nil); w < f.Mean+3*f.SD {
		t.Errorf("W1 %.5f of a 3 %% shift is not above its floor %.5f ± %.5f", w, f.Mean, f.SD)
	}
	if _, p := KS(x, nil, y, nil); p > 0.01 {
		t.Errorf("KS misses a 3 %% shift: p = %.3g", p)
	}
	a := normals(4, 2000, 3, func(r []float64, _ *rng.Stream) { r[1] = 0.5*r[0] + math.Sqrt(0.75)*r[1] })
	b := normals(5, 2000, 3, nil)
	m, err := MMDTest(a, nil, b, nil, PairSettings{Rows: 700})
	if err != nil {
		t.Fatal(err)
	}
	if m.Z < 3 || m.P > 0.01 {
		t.Errorf("MMD misses a correlation of 0.5: z = %.1f, p = %.3f", m.Z, m.P)
	}
	cd := CompareCorr(Pearson(a, nil, 1), Pearson(b, nil, 1))
	corr := FloorCorr(a, nil, b, nil, false, 20, 1, 0)
	if cd.Max < corr.Max.Mean+5*corr.Max.SD || cd.I != 0 || cd.J != 1 || math.Abs(cd.Max-0.5) > 0.05 {
		t.Errorf("correlation of 0.5: %+v, floor %.3f ± %.3f", cd, corr.Max.Mean, corr.Max.SD)
	}
	if want := math.Sqrt(2. / 2000); math.Abs(corr.SD[1][2]-want) > 0.4*want {
		t.Errorf("a correlation of none is known to %.4f, theory %.4f", corr.SD[1][2], want)
	}
	sx, err := SlicedW1(a, nil, b, nil, SlicedSettings{})
	if err != nil {
		t.Fatal(err)
	}
	fs, err := FloorSlicedW1(a, nil, b, nil, 5, SlicedSettings{})
	if err != nil {
		t.Fatal(err)
	}
	if sx < fs.Mean+3*fs.SD {
		t.Errorf("sliced W1 %.4f is not above its floor %.4f ± %.4f", sx, fs.Mean, fs.SD)
	}
}

func TestFloorsAreWhatEqualSamplesShow(t *testing.T) {
	const n = 4000
	y := normals(6, n, 5, nil)
	wf, kf := Floors(y[0], nil, y[0], nil, 50, 1, 0)
	corr := FloorCorr(y, nil, y, nil, false, 50, 1, 0)
	var w, k, c, d float64
	const reps = 20
	for r := range uint64(reps) {
		a, b := normals(100+2*r, n, 5, nil), normals(101+2*r, n, 5, nil)
		w += W1(a[0], nil, b[0], nil) / reps
		dist, _ := KS(a[0], nil, b[0], nil)
		k += dist / reps
		cd := CompareCorr(Pearson(a, nil, 1), Pearson(b, nil, 1))
		c += cd.Max / reps
		d += cd.Frob / reps
	}
	for _, v := range []struct {
		name string
		f    Floor
		got  float64
	}{{"W1", wf, w}, {"KS", kf, k}, {"largest Δρ", corr.Max, c}, {"D_corr", corr.Frob, d}} {
		if math.Abs(v.f.Mean-v.got) > 4*v.f.SD/math.Sqrt(reps) {
			t.Errorf("%s: floor %.4f ± %.4f, independent samples show %.4f", v.name, v.f.Mean, v.f.SD, v.got)
		}
	}
}

// TestOutliersDoNotRaiseTheirFloor: what lies beyond all data is no statistical fluctuation.
func TestOutliersDoNotRaiseTheirFloor(t *testing.T) {
	const n = 4000
	x, y := normals(20, n, 1, nil), normals(21, n, 1, nil)
	x[0][7] = 1e6
	f, _ := Floors(x[0], nil, y[0], nil, 20, 1, 0)
	if w := W1(x[0], nil, y[0], nil); w < 100*f.Mean || f.Mean > 0.06 {
		t.Errorf("W1 with one event far away %.3g, floor %.3g", w, f.Mean)
	}
}

// TestFloorsKnowWhereEventsWeighMore: a perfect simulation with few heavy events at high values, a tenth of them negative,
// shows what its floors say; the effective number of all its events would promise less.
func TestFloorsKnowWhereEventsWeighMore(t *testing.T) {
	const n, reps = 6000, 100
	sample := func(seed uint64) (x [][]float64, w []float64, data [][]float64) {
		key := rng.NewKey(seed, "weights by value")
		x, w, data = square(2), make([]float64, n), square(2)
		for j := range x {
			x[j], data[j] = make([]float64, n), make([]float64, n)
		}
		for i := range n {
			s := key.At(uint64(i))
			x[0][i], data[0][i] = s.Exp()/1.3, s.Exp() // exp(-1.3 v) weighted to exp(-v)
			x[1][i], data[1][i] = x[0][i]+s.Exp(), data[0][i]+s.Exp()
			w[i] = math.Exp(0.3 * x[0][i])
			if s.Float64() < 0.1 {
				w[i] = -w[i]
			}
		}
		return x, w, data
	}
	names := []string{"W1", "KS", "correlation", "sliced W1"}
	var shown, floors, naive [4][]float64
	for r := range uint64(reps) {
		x, w, y := sample(r)
		d, _ := KS(x[0], w, y[0], nil)
		add := func(to *[4][]float64, v ...float64) {
			for k := range v {
				to[k] = append(to[k], v[k])
			}
		}
		set := SlicedSettings{Directions: 10}
		sliced, err := SlicedW1(x, w, y, nil, set)
		if err != nil {
			t.Fatal(err)
		}
		add(&shown, W1(x[0], w, y[0], nil), d, CompareCorr(Pearson(x, w, 1), Pearson(y, nil, 1)).Max, sliced)
		add(&floors, floorsOf(t, x, w, y, set, r)...)
		m := int(NEff(w))
		equal := [][]float64{y[0][:m], y[1][:m]}
		add(&naive, floorsOf(t, equal, nil, y, set, r)...)
	}
	for k, name := range names {
		got, sd := meanSD(shown[k], nil)
		err := sd / math.Sqrt(reps)
		f, _ := meanSD(floors[k], nil)
		e, _ := meanSD(naive[k], nil)
		t.Logf("%s: perfect simulations show %.4f ± %.4f, floor %.4f, by the effective number alone %.4f", name, got, err, f, e)
		if math.Abs(got-f) > 3*err {
			t.Errorf("%s: floor %.4f, perfect simulations show %.4f ± %.4f", name, f, got, err)
		}
		if name == "W1" && got-e < 4*err {
			t.Errorf("%s by the effective number alone is %.4f, perfect simulations show %.4f ± %.4f: the test tests nothing", name, e, got, err)
		}
	}
}

// floorsOf are the means of the floors of W1, KS, the correlation and sliced W1.
func floorsOf(t *testing.T, x [][]float64, w []float64, y [][]float64, set SlicedSettings, seed uint64) []float64 {
	w1, ks := Floors(x[0], w, y[0], nil, 10, seed, 0)
	set.Seed = seed
	sliced, err := FloorSlicedW1(x, w, y, nil, 10, set)
	if err != nil {
		t.Fatal(err)
	}
	return []float64{w1.Mean, ks.Mean, FloorCorr(x, w, y, nil, false, 10, seed, 0).Max.Mean, sliced.Mean}
}

func TestClassifierFindsAPlantedDifference(t *testing.T) {
	const n = 40000
	// A shift of δ along one of 7 columns gives at best AUC = Φ(δ/√2), 0.521 for 0.075; trees on so few rows reach 0.507-0.514
	// (so does xgboost on samples of this law).
	b := Side{X: normals(8, n, 7, nil)}
	floor, err := ClassifierTest(Side{X: normals(9, n, 7, nil)}, b, ClassifierSettings{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	if math.Abs(floor.AUC-0.5) > 3*floor.Err || math.Abs(floor.Err-1/math.Sqrt(6*n)) > 0.4/math.Sqrt(6*n) {
		t.Errorf("equal laws: AUC %.4f ± %.4f; error by theory %.4f", floor.AUC, floor.Err, 1/math.Sqrt(6*n))
	}
	a := Side{X: normals(10, n, 7, func(r []float64, _ *rng.Stream) { r[2] += 0.075 })}
	r, err := ClassifierTest(a, b, ClassifierSettings{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	if r.AUC > 0.521 || r.AUC < 0.5+3*r.Err {
		t.Errorf("planted difference: AUC %.4f ± %.4f", r.AUC, r.Err)
	}
	if g := r.Gain; g[2] != slices.Max(g) {
		t.Errorf("gain %v does not name column 2", g)
	}
}

// TestQuotedErrorOfTheClassifier: over samples of one law the AUC lies within its error of 0.5 in about 68 % of the cases
// (measured on 200 pairs each: 64 % with 3 columns, 66 % with 10; the two folds' AUCs are slightly correlated).
func TestQuotedErrorOfTheClassifier(t *testing.T) {
	const pairs, n = 80, 600
	in := 0
	for k := range uint64(pairs) {
		r, err := ClassifierTest(Side{X: normals(2*k+5000, n, 4, nil)}, Side{X: normals(2*k+5001, n, 4, nil)}, ClassifierSettings{Seed: k, Bootstrap: 30})
		if err != nil {
			t.Fatal(err)
		}
		if math.Abs(r.AUC-0.5) < r.Err {
			in++
		}
	}
	if share := float64(in) / pairs; share < 0.52 || share > 0.84 { // 3 binomial errors
		t.Errorf("AUC within its error of 0.5 in %.0f %% of the pairs, want about 68", 100*share)
	}
}

func TestWhereNamesTheCorner(t *testing.T) {
	const n = 60000
	corner := func(r []float64, _ *rng.Stream) {
		if r[1] > 1.6449 { // 5 % of the events
			r[0] += 0.3
		}
	}
	a, b := Side{X: normals(11, n, 4, corner)}, Side{X: normals(12, n, 4, nil)}
	r, err := ClassifierTest(a, b, ClassifierSettings{Seed: 1, Bootstrap: 10})
	if err != nil {
		t.Fatal(err)
	}
	reg, err := Where(a, b, r, 20, 3, 0)
	if err != nil {
		t.Fatal(err)
	}
	if w := reg[0]; w.Column != 1 || math.Abs(w.Lo-1.6449) > 0.05 || w.Feature != 0 || w.P > 1e-6 || math.Abs(w.Share-0.05) > 0.005 {
		t.Errorf("the corner is column 1 above 1.645 and feature 0; found %+v", w)
	}
	if reg[1].P < 0.01 {
		t.Errorf("another corner: %+v", reg[1])
	}
}

func TestSameResultsAtAnyNumberOfThreads(t *testing.T) {
	const n = 40000
	x, y := normals(13, n, 4, nil), normals(14, n, 4, nil)
	w := signed(1, n)
	type result struct {
		p, s    [][]float64
		auc     *ClassifierResult
		mmd, en *PairTest
		sl      float64
		fl      Floor
		fpd     float64
	}
	run := func(threads int) (r result) {
		var err error
		r.p, r.s = Pearson(x, w, threads), Spearman(x, w, threads)
		if r.auc, err = ClassifierTest(Side{X: x, Eval: w}, Side{X: y}, ClassifierSettings{Threads: threads, Bootstrap: 5, Trees: gbdt.Settings{Trees: 5}}); err != nil {
			t.Fatal(err)
		}
		if r.mmd, err = MMDTest(x, w, y, nil, PairSettings{Rows: 300, Permutations: 20, Threads: threads}); err != nil {
			t.Fatal(err)
		}
		if r.en, err = EnergyTest(x, nil, y, nil, PairSettings{Rows: 300, Permutations: 20, Threads: threads}); err != nil {
			t.Fatal(err)
		}
		if r.sl, err = SlicedW1(x, w, y, nil, SlicedSettings{Rows: 5000, Directions: 20, Threads: threads}); err != nil {
			t.Fatal(err)
		}
		r.fl = FloorCorr(y, nil, y, nil, true, 4, 1, threads).Max
		if r.fpd, _, err = FPD(y, x, PhysicsSettings{Min: 500, Max: 1000, Draws: 3, Threads: threads}); err != nil {
			t.Fatal(err)
		}
		return r
	}
	want := run(1)
	for _, threads := range []int{2, 5} {
		got := run(threads)
		for i := range want.p {
			if !slices.Equal(got.p[i], want.p[i]) || !slices.Equal(got.s[i], want.s[i]) {
				t.Errorf("%d threads: other correlations", threads)
			}
		}
		if got.auc.AUC != want.auc.AUC || got.auc.Err != want.auc.Err || !slices.Equal(got.auc.Score[0], want.auc.Score[0]) {
			t.Errorf("%d threads: another classifier", threads)
		}
		if got.mmd.Value != want.mmd.Value || got.mmd.Z != want.mmd.Z || got.en.Value != want.en.Value || got.sl != want.sl || got.fl != want.fl || got.fpd != want.fpd {
			t.Errorf("%d threads: other distances", threads)
		}
	}
}

func TestReweightMatchesTheConditions(t *testing.T) {
	const n = 30000
	sim := normals(15, n, 2, nil)
	data := normals(16, n, 2, func(r []float64, _ *rng.Stream) { r[0] = 0.3 + 0.9*r[0] })
	r, err := Reweight(sim, data, nil, nil, ReweightSettings{Models: 2})
	if err != nil {
		t.Fatal(err)
	}
	k := make([]float64, n)
	r.Factors(sim, k, 0)
	if m := total(n, k) / n; math.Abs(m-1) > 1e-9 {
		t.Errorf("mean factor %g, want 1", m)
	}
	if top := slices.Max(k) * r.Norm; top > 10 {
		t.Errorf("largest factor %g is above the clip", top)
	}
	test := normals(17, n, 2, nil)
	r.Factors(test, k, 0)
	if before, after := W1(test[0], nil, data[0], nil), W1(test[0], k, data[0], nil); after > 0.1*before {
		t.Errorf("W1 of the shifted condition: %.4f before, %.4f after", before, after)
	}
	// The true factor is a ratio of normal densities.
	for i := 0; i < n; i += 1000 {
		x := test[0][i]
		truth := math.Exp(x*x/2-(x-0.3)*(x-0.3)/(2*0.81)) / 0.9
		if math.Abs(x) < 1.5 && math.Abs(k[i]/truth-1) > 0.35 {
			t.Errorf("factor at %.2f: %.3f, true %.3f", x, k[i], truth)
		}
	}
}

func TestProfileFindsABentMedian(t *testing.T) {
	const n = 50000
	y := normals(18, n, 2, nil)
	x := normals(19, n, 2, func(r []float64, _ *rng.Stream) {
		if r[1] > 1.15 { // the last of eight bins
			r[0] += 0.15
		}
	})
	bins, err := Profile(x[0], x[1], nil, y[0], y[1], nil, 8)
	if err != nil {
		t.Fatal(err)
	}
	if len(bins) != 8 {
		t.Fatalf("%d bins", len(bins))
	}
	for k, b := range bins {
		for q, p := range b.Pull {
			if (k == 7) != (math.Abs(p) > 3) {
				t.Errorf("bin %d, quantile %d: pull %.1f", k, q, p)
			}
		}
		if want := math.Sqrt(0.25/b.N[0]) * math.Sqrt(2*math.Pi); math.Abs(b.Err[0][1]-want) > 0.5*want {
			t.Errorf("error of the median %.4f, theory %.4f", b.Err[0][1], want)
		}
	}
	// Atoms and grids: equal laws give small pulls.
	grid := func(c [][]float64) []float64 {
		out := make([]float64, n)
		for i, v := range c[0] {
			out[i] = max(0, math.Round(8*v)/8)
		}
		return out
	}
	bins, err = Profile(grid(normals(20, n, 2, nil)), y[1], nil, grid(y), y[1], nil, 8)
	if err != nil {
		t.Fatal(err)
	}
	for k, b := range bins {
		for q, p := range b.Pull {
			if math.Abs(p) > 3.5 {
				t.Errorf("grid and atom, bin %d, quantile %d: pull %.1f", k, q, p)
			}
		}
	}
}

func TestRatios(t *testing.T) {
	const n = 100000
	a, b, err := sortTwo(normals(21, n, 1, nil)[0], nil, normals(22, n, 1, nil)[0], nil)
	if err != nil {
		t.Fatal(err)
	}
	edges := b.Central(0.98, 50)
	r := a.Ratios(b, edges, 0.01)
	if r.Outside > 1 || math.Abs(r.Pull) > 4.2 {
		t.Errorf("equal laws: %d bins outside, worst pull %.1f", r.Outside, r.Pull)
	}
	shifted, err := Sort(normals(23, n, 1, func(r []float64, _ *rng.Stream) { r[0] += 0.1 })[0], nil)
	if err != nil {
		t.Fatal(err)
	}
	if r := shifted.Ratios(b, edges, 0.01); r.Outside < 5 {
		t.Errorf("a shift of 0.1: only %d bins outside", r.Outside)
	}
}

func TestShowerMetrics(t *testing.T) {
	const n = 4000
	ref, same := normals(24, n, 4, nil), normals(25, n, 4, nil)
	far := normals(26, n, 4, func(r []float64, _ *rng.Stream) { r[0] += 0.5 })
	set := PhysicsSettings{Min: 500, Draws: 5, Rows: 1000}
	f0, s0, err := FPD(ref, same, set)
	if err != nil {
		t.Fatal(err)
	}
	f1, _, err := FPD(ref, far, set)
	if err != nil {
		t.Fatal(err)
	}
	scale := scaleOf(ref)[0]
	if want := 0.25 / scale / scale; math.Abs(f1-want) > 0.15*want || f0 > 0.1*want {
		t.Errorf("FPD %.5f for equal laws (± %.5f), %.5f for a shift of 0.5, theory %.5f", f0, s0, f1, want)
	}
	k0, e0, err := KPD(ref, same, set)
	if err != nil {
		t.Fatal(err)
	}
	k1, _, err := KPD(ref, far, set)
	if err != nil {
		t.Fatal(err)
	}
	if math.Abs(k0) > 4*e0+1e-6 || k1 < 10*math.Abs(k0) {
		t.Errorf("KPD %.2e ± %.2e for equal laws, %.2e for a shift", k0, e0, k1)
	}
	auc, err := OutOfFoldAUC(head(ref, 2000), head(far, 2000), 5, gbdt.LeafWise(50, 0.05), 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	if best := 0.6382; auc > best+0.02 || auc < best-0.05 { // Φ(0.5/√2)
		t.Errorf("out-of-fold AUC %.3f of a shift with optimum %.3f", auc, best)
	}
	copied := slices.Clone(ref)
	copied[0] = ones(n) // a constant column makes the covariance singular
	if v, err := Frechet(copied, copied); err != nil || math.Abs(v) > 1e-7 {
		t.Errorf("Fréchet distance of a singular sample to itself: %g, %v", v, err)
	}
	p, err := PRDC(head(ref, 500), head(same, 500), 5, 0)
	if err != nil {
		t.Fatal(err)
	}
	if p.Precision < 0.85 || p.Recall < 0.85 || math.Abs(p.Density-1) > 0.1 || p.Coverage < 0.9 {
		t.Errorf("PRDC of equal laws: %+v", p)
	}
}

func TestIsotonicNeverFalls(t *testing.T) {
	x := normals(27, 5000, 1, nil)[0]
	y := make([]float64, len(x))
	u := uniforms(5, len(x))
	for i := range y {
		if u[i] < gbdt.Sigmoid(2*x[i]) {
			y[i] = 1
		}
	}
	c := Isotonic(x, y, signed(9, len(x)))
	if !slices.IsSorted(c.P) || !slices.IsSorted(c.Score) {
		t.Fatal("the calibration falls")
	}
	for _, at := range []float64{-1.5, 0, 1.5} {
		if d := c.At(at) - gbdt.Sigmoid(2*at); math.Abs(d) > 0.08 {
			t.Errorf("calibration at %.1f is off by %.3f", at, d)
		}
	}
	if v := (&Calibration{}).At(0); v == v {
		t.Error("an empty calibration has a value")
	}
}

func TestErrorsOnBadInput(t *testing.T) {
	x, y := [][]float64{{1, 2, 3}}, [][]float64{{1, 2, 4}}
	nan := [][]float64{{1, math.NaN(), 3}}
	for name, f := range map[string]func() error{
		"no columns": func() error { _, err := MMDTest(nil, nil, y, nil, PairSettings{}); return err },
		"no rows":    func() error { _, err := EnergyTest([][]float64{{}}, nil, y, nil, PairSettings{}); return err },
		"columns":    func() error { _, err := SlicedW1([][]float64{{1}, {2}}, nil, y, nil, SlicedSettings{}); return err },
		"rows":       func() error { _, err := MMDTest([][]float64{{1, 2}, {1}}, nil, y, nil, PairSettings{}); return err },
		"weights":    func() error { _, err := MMDTest(x, []float64{1}, y, nil, PairSettings{}); return err },
		"NaN weight": func() error { _, err := MMDTest(x, []float64{1, math.NaN(), 1}, y, nil, PairSettings{}); return err },
		"sum 0":      func() error { _, err := MMDTest(x, []float64{1, -1, 0}, y, nil, PairSettings{}); return err },
		"NaN":        func() error { _, err := MMDTest(nan, nil, y, nil, PairSettings{}); return err },
		"FPD NaN":    func() error { _, _, err := FPD(nan, y, PhysicsSettings{}); return err },
		"KPD shape":  func() error { _, _, err := KPD(x, nil, PhysicsSettings{}); return err },
		"PRDC k":     func() error { _, err := PRDC(x, y, 3, 1); return err },
		"constant": func() error {
			_, err := MMDTest([][]float64{{1, 1}}, nil, [][]float64{{1, 1}}, nil, PairSettings{})
			return err
		},
		"fold": func() error {
			_, err := ClassifierTest(Side{X: x, Fold: []uint8{0, 0, 0}}, Side{X: y}, ClassifierSettings{})
			return err
		},
		"negative": func() error { _, err := Reweight(x, y, []float64{1, -1, 1}, nil, ReweightSettings{}); return err },
		"sort":     func() error { _, err := Sort([]float64{math.NaN()}, nil); return err },
		"one fold": func() error { _, err := OutOfFoldAUC(x, y, 1, gbdt.Settings{}, 0, 0); return err },
		"half":     func() error { _, err := ClassifierFloor(Side{X: x}, []uint8{1}, ClassifierSettings{}); return err },
	} {
		if f() == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
