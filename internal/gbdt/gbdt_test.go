package gbdt

import (
	"math"
	"slices"
	"testing"

	"hepmorph/internal/rng"
)

// toy draws n rows of f normal columns and a class whose log-odds is a curved function of the first three columns.
func toy(seed uint64, n, f int) (cols [][]float64, y, w []float64) {
	k := rng.NewKey(seed, "toy")
	cols = make([][]float64, f)
	for j := range cols {
		cols[j] = make([]float64, n)
	}
	y, w = make([]float64, n), make([]float64, n)
	for i := range n {
		s := k.At(uint64(i))
		for j := range cols {
			cols[j][i] = s.Norm()
		}
		x := func(j int) float64 { return cols[j%f][i] }
		if s.Float64() < Sigmoid(x(0)+0.7*x(1)*x(2)-0.3*x(2)*x(2)) {
			y[i] = 1
		}
		w[i] = s.Exp()
	}
	return cols, y, w
}

func auc(score, y []float64) float64 {
	idx := make([]int, len(y))
	for i := range idx {
		idx[i] = i
	}
	slices.SortFunc(idx, func(a, b int) int {
		if score[a] < score[b] {
			return -1
		} else if score[a] > score[b] {
			return 1
		}
		return 0
	})
	var below, area, pos float64
	for _, i := range idx {
		if y[i] == 1 {
			area += below
			pos++
		} else {
			below++
		}
	}
	return area / below / pos
}

func TestLearnsTheTruth(t *testing.T) {
	cols, y, w := toy(1, 20000, 5)
	test, ty, _ := toy(2, 20000, 5)
	truth := make([]float64, len(ty))
	for i := range truth {
		truth[i] = test[0][i] + 0.7*test[1][i]*test[2][i] - 0.3*test[2][i]*test[2][i]
	}
	best := auc(truth, ty)
	for name, s := range map[string]Settings{"depth-wise": {}, "leaf-wise": LeafWise(100, 0.1)} {
		m, err := Train(cols, y, w, s)
		if err != nil {
			t.Fatal(err)
		}
		out := make([]float64, len(ty))
		m.Margin(test, out, 0)
		if a := auc(out, ty); a < best-0.015 {
			t.Errorf("%s: AUC %.4f, the truth has %.4f", name, a, best)
		}
		// The margin is the log-odds: the mean probability matches the class share in slices of it.
		for lo := -1.5; lo < 1.5; lo += 0.5 {
			var p, c, n float64
			for i, v := range out {
				if v >= lo && v < lo+0.5 {
					p += Sigmoid(v)
					c += ty[i]
					n++
				}
			}
			if d := (p - c) / n; math.Abs(d) > 0.06 {
				t.Errorf("%s: log-odds %.1f..%.1f: probability off by %.3f", name, lo, lo+0.5, d)
			}
		}
		g := m.Gain()
		if g[0]+g[1]+g[2] < 0.85 {
			t.Errorf("%s: gain %v is not in the three features that matter", name, g)
		}
	}
}

func TestSameAtAnyNumberOfThreads(t *testing.T) {
	cols, y, w := toy(3, 70000, 6) // several chunks of rows
	for i := 0; i < len(y); i += 7 {
		cols[1][i] = math.NaN()
	}
	for name, s := range map[string]Settings{"depth-wise": {Trees: 8}, "leaf-wise": LeafWise(4, 0.1), "squared": {Loss: Squared, Trees: 5}} {
		var want []byte
		for _, threads := range []int{1, 2, 5} {
			s.Threads = threads
			m, err := Train(cols, y, w, s)
			if err != nil {
				t.Fatal(err)
			}
			got, err := m.MarshalBinary()
			if err != nil {
				t.Fatal(err)
			}
			if want == nil {
				want = got
			} else if !slices.Equal(got, want) {
				t.Errorf("%s: %d threads give another model than 1", name, threads)
			}
		}
	}
}

func TestWeightsCountLikeCopies(t *testing.T) {
	cols, y, _ := toy(4, 3000, 3)
	w := make([]float64, len(y))
	var twice [][]float64
	for range cols {
		twice = append(twice, nil)
	}
	var ty []float64
	for i := range y {
		w[i] = float64(1 + i%3)
		for range 1 + i%3 {
			for j := range cols {
				twice[j] = append(twice[j], cols[j][i])
			}
			ty = append(ty, y[i])
		}
	}
	s := Settings{Trees: 10, Subsample: 1, ValidFraction: -1, MinChild: 40}
	a, err := Train(cols, y, w, s)
	if err != nil {
		t.Fatal(err)
	}
	s.MinChild *= 2 // in units of the mean weight, which is 2 on one side and 1 on the other
	b, err := Train(twice, ty, nil, s)
	if err != nil {
		t.Fatal(err)
	}
	pa, pb := make([]float64, len(y)), make([]float64, len(y))
	a.Margin(cols, pa, 0)
	b.Margin(cols, pb, 0)
	var d, v float64
	for i := range pa {
		d += (pa[i] - pb[i]) * (pa[i] - pb[i])
		v += pa[i] * pa[i]
	}
	if d > 0.05*v { // the two penalties differ by the factor 2; the rest is the same
		t.Errorf("a weight of k differs from k copies: relative square difference %.3g", d/v)
	}
}

func TestMissingHasALearntSide(t *testing.T) {
	n := 4000
	cols := [][]float64{make([]float64, n)}
	y := make([]float64, n)
	k := rng.NewKey(5, "missing")
	for i := range n {
		s := k.At(uint64(i))
		cols[0][i] = s.Float64()
		y[i] = float64(i % 2)
		if i%2 == 1 && s.Float64() < 0.5 {
			cols[0][i] = math.NaN()
		}
	}
	m, err := Train(cols, y, nil, Settings{Trees: 50, EarlyStop: -1})
	if err != nil {
		t.Fatal(err)
	}
	out := make([]float64, n)
	m.Probability(cols, out, 1)
	var present, count float64
	for i, x := range cols[0] {
		if x == x {
			present += out[i]
			count++
		} else if out[i] < 0.95 {
			t.Fatalf("P(class 1) of a missing value is %.3f, true is 1", out[i])
		}
	}
	if p := present / count; math.Abs(p-1.0/3) > 0.03 {
		t.Errorf("P(class 1) of present values is %.3f, true is 1/3", p)
	}
}

func TestSquaredLossFitsTheMean(t *testing.T) {
	n := 20000
	cols := [][]float64{make([]float64, n)}
	y, w := make([]float64, n), make([]float64, n)
	k := rng.NewKey(6, "mean")
	for i := range n {
		s := k.At(uint64(i))
		x := s.Float64()
		cols[0][i], w[i] = x, 1e-7*(1+s.Float64())
		y[i] = 1e5 * (math.Sin(6*x) + 0.3*s.Norm())
	}
	m, err := Train(cols, y, w, Settings{Loss: Squared})
	if err != nil {
		t.Fatal(err)
	}
	grid, out := []float64{0.05, 0.25, 0.5, 0.75, 0.95}, make([]float64, 5)
	m.Margin([][]float64{grid}, out, 1)
	for i, x := range grid {
		if d := out[i]/1e5 - math.Sin(6*x); math.Abs(d) > 0.08 {
			t.Errorf("mean at %.2f is off by %.3f", x, d)
		}
	}
}

func TestCuts(t *testing.T) {
	rows := func(n int) []int32 {
		r := make([]int32, n)
		for i := range r {
			r[i] = int32(i)
		}
		return r
	}
	nan := math.NaN()
	if got := cutsOf([]float64{3, 1, nan, 2, 1}, nil, rows(5), 255); !slices.Equal(got, []float64{2, 3}) {
		t.Errorf("few values: cuts %v, want [2 3]", got)
	}
	if got := cutsOf([]float64{nan, nan}, nil, rows(2), 255); len(got) != 0 {
		t.Errorf("only missing values: cuts %v", got)
	}
	if got := cutsOf([]float64{1, 2, 3}, []float64{1, 0, 1}, rows(3), 255); !slices.Equal(got, []float64{3}) {
		t.Errorf("values without weight: cuts %v, want [3]", got)
	}
	// 60 % of the rows share one value: it keeps a bin of its own and the others are cut evenly.
	n := 10000
	x, w := make([]float64, n), make([]float64, n)
	k := rng.NewKey(7, "cuts")
	for i := range x {
		s := k.At(uint64(i))
		w[i] = s.Float64()
		if s.Float64() > 0.6 {
			x[i] = s.Exp()
		}
	}
	cuts := cutsOf(x, w, rows(n), 64)
	if len(cuts) < 60 || len(cuts) > 63 {
		t.Fatalf("%d cuts for 64 bins", len(cuts))
	}
	if !slices.IsSorted(cuts) {
		t.Error("cuts are not ascending")
	}
	keys := orderedAll(cuts)
	mass := make([]float64, 256)
	for i := range x {
		mass[find(keys, x[i])] += w[i]
	}
	if find(keys, 0) != 0 || find(keys, math.Copysign(0, -1)) != 0 || find(keys, cuts[0]) != 1 || find(keys, math.Inf(1)) != uint8(len(cuts)) {
		t.Error("the atom is not the first bin")
	}
	total := 0.0
	for _, m := range mass[1:] {
		total += m
	}
	for b := 1; b <= len(cuts); b++ {
		if share := mass[b] / total * float64(len(cuts)); share < 0.7 || share > 1.4 {
			t.Errorf("bin %d holds %.2f of an even share", b, share)
		}
	}
}

func TestTrainRefuses(t *testing.T) {
	x := [][]float64{{1, 2, 3, 4}}
	y := []float64{0, 1, 0, 1}
	for name, f := range map[string]func() error{
		"negative weight": func() error { _, err := Train(x, y, []float64{1, -1, 1, 1}, Settings{}); return err },
		"NaN weight":      func() error { _, err := Train(x, y, []float64{1, math.NaN(), 1, 1}, Settings{}); return err },
		"zero weights":    func() error { _, err := Train(x, y, make([]float64, 4), Settings{}); return err },
		"one class":       func() error { _, err := Train(x, []float64{1, 1, 1, 1}, nil, Settings{}); return err },
		"class 2":         func() error { _, err := Train(x, []float64{1, 2, 1, 1}, nil, Settings{}); return err },
		"NaN target": func() error {
			_, err := Train(x, []float64{1, math.NaN(), 1, 1}, nil, Settings{Loss: Squared})
			return err
		},
		"no rows":       func() error { _, err := Train([][]float64{{}}, nil, nil, Settings{}); return err },
		"no columns":    func() error { _, err := Train(nil, y, nil, Settings{}); return err },
		"short column":  func() error { _, err := Train([][]float64{{1}}, y, nil, Settings{}); return err },
		"short weights": func() error { _, err := Train(x, y, []float64{1}, Settings{}); return err },
		"bins":          func() error { _, err := Train(x, y, nil, Settings{Bins: 300}); return err },
		"rate":          func() error { _, err := Train(x, y, nil, Settings{Rate: 2}); return err },
	} {
		if f() == nil {
			t.Errorf("%s: no error", name)
		}
	}
	m, err := Train(x, y, nil, Settings{}) // too few rows for any split is not an error
	if err != nil {
		t.Fatal(err)
	}
	out := make([]float64, 4)
	m.Margin(x, out, 1)
	if out[0] != out[3] {
		t.Errorf("margins of a model without splits: %v, want equal ones", out)
	}
}

func TestPredictionAgreesWithTraining(t *testing.T) {
	cols, y, w := toy(8, 5000, 7)
	for i := 0; i < len(y); i += 5 {
		cols[2][i], cols[3][i] = math.NaN(), math.Inf(1-2*(i%2))
	}
	for name, s := range map[string]Settings{"depth-wise": {Trees: 20}, "leaf-wise": LeafWise(20, 0.1)} {
		s, err := s.filled()
		if err != nil {
			t.Fatal(err)
		}
		rows := make([]int32, len(y))
		for i := range rows {
			rows[i] = int32(i)
		}
		tr := newTrainer(cols, y, w, rows[:4000], rows[4000:], s)
		m := tr.run()
		if len(m.trees) != m.Rounds {
			t.Fatal("trees were not cut back")
		}
		out := make([]float64, len(y))
		m.Margin(cols, out, 2)
		want := make([]float64, len(y))
		for i := range want {
			want[i] = m.base
			for k := range m.trees {
				want[i] += m.trees[k].value[m.trees[k].leaf(tr.g.b, i)]
			}
		}
		for i := range out {
			if math.Abs(out[i]-want[i]) > 1e-12 {
				t.Fatalf("%s: row %d: %g by values, %g by bins", name, i, out[i], want[i])
			}
		}
	}
}
