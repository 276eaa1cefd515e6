package samples

import (
	"math"
	"slices"
	"testing"

	"hepmorph/internal/rng"
	"hepmorph/physics"
)

func oneflowTable(t testing.TB, s OneflowSettings, w Which) *physics.Table {
	t.Helper()
	tab, err := Oneflow(s, w)
	if err != nil {
		t.Fatal(err)
	}
	return tab
}

func correlation(a, b []float64) float64 {
	ma, mb := mean(a, nil), mean(b, nil)
	var ab, aa, bb float64
	for i := range a {
		ab += (a[i] - ma) * (b[i] - mb)
		aa += (a[i] - ma) * (a[i] - ma)
		bb += (b[i] - mb) * (b[i] - mb)
	}
	return ab / math.Sqrt(aa*bb)
}

// The normal-score correlations are those that were asked for. Zero-inflated columns count with their ties broken, so they are
// looked at before rounding; the rest of the deviation is that ranks of a mixture are not quite normal.
func TestOneflowCorrelations(t *testing.T) {
	const n = 100000
	for w, o := range oneflows {
		s := OneflowSettings{Events: n, Seed: 42}
		cols := o.draw(s, w)
		before := make([][]float64, 7)
		for k := range cols {
			before[k] = slices.Clone(cols[k])
		}
		want := o.matrix()
		imanConover(cols, want, 0)
		if !slices.Equal(cols[0], before[0]) {
			t.Errorf("%v: pt was reordered", w)
		}
		score := make([][]float64, 7)
		for k := range cols {
			score[k], _ = normalScores(cols[k])
			slices.Sort(before[k])
			after := slices.Clone(cols[k])
			slices.Sort(after)
			if !slices.Equal(before[k], after) {
				t.Errorf("%v: the values of column %d changed", w, k)
			}
		}
		for i := range 7 {
			for j := range i {
				if got := correlation(score[i], score[j]); math.Abs(got-want[7*i+j]) > 0.012 {
					t.Errorf("%v: correlation of %s and %s is %.4f, want %.4f", w, oneflowColumns[j], oneflowColumns[i], got, want[7*i+j])
				}
			}
		}
	}
}

// The matrices must be positive definite, and their entries where the paper's code puts them.
func TestOneflowMatrices(t *testing.T) {
	for w, o := range oneflows {
		c := o.matrix()
		l := cholesky(c)
		for i := range 7 {
			if !(l[8*i] > 0) {
				t.Errorf("%v: the matrix is not positive definite", w)
			}
			for j := range 7 {
				if got := dot(l[7*i:7*i+7], l[7*j:7*j+7]); math.Abs(got-c[7*i+j]) > 1e-12 {
					t.Errorf("%v: L L^T [%d][%d] = %g, want %g", w, i, j, got, c[7*i+j])
				}
			}
		}
		m := timesInverse(l, cholesky(oneflows[Data].matrix()))
		q := cholesky(oneflows[Data].matrix())
		for i := range 7 {
			for j := range 7 {
				s := 0.0
				for k := range 7 {
					s += m[7*i+k] * q[7*k+j]
				}
				if math.Abs(s-l[7*i+j]) > 1e-12 {
					t.Errorf("P Q^-1 Q [%d][%d] = %g, want %g", i, j, s, l[7*i+j])
				}
			}
		}
	}
	d, s := oneflows[Data].matrix(), oneflows[Simulation].matrix()
	if d[7*3+6] != .0095 || d[7*5+6] != .3432 || s[7*2+3] != -.0236 || s[7*0+6] != -.4747 {
		t.Error("entries of the matrices are not where they belong")
	}
}

// Columns drawn before reordering follow their formulas, and the sample keeps their marginals.
func TestOneflowMarginals(t *testing.T) {
	const n = 100000
	root := math.Sqrt(n)
	for _, c := range []struct {
		w          Which
		pt         float64
		zero1      float64 // E[clip(r + d pt - 0.1 noise, 0, 1)], noise uniform in (0,3), by hand where it does not clip
		low1, low2 float64 // where the tails begin
		m1, a1     float64
	}{
		{Data, 1, -1, 0.8, 0.9, -0.5, 0.20},
		{Simulation, 0.95, 0.5 + 0.15*0.95 - 0.15, 0.5, 0.8, -0.6, 0.25},
	} {
		tab := oneflowTable(t, OneflowSettings{Events: n, Seed: 43}, c.w)
		if got := tab.Names(); !slices.Equal(got, []string{"pt", "eta", "noise", "v1A", "v2A", "v1B", "v2B"}) {
			t.Fatalf("columns %v", got)
		}
		near(t, "mean pt", mean(col(t, tab, "pt"), nil), c.pt, c.pt/root)
		near(t, "mean eta", mean(col(t, tab, "eta"), nil), 1, 0.65/root)
		near(t, "mean noise", mean(col(t, tab, "noise"), nil), 1.5, 0.87/root)
		near(t, "mean v1A", mean(col(t, tab, "v1A"), nil), c.m1-c.a1, 1/root)
		zeros, lowest := 0.0, math.Inf(1)
		for _, x := range col(t, tab, "v1B") {
			if x == 0 {
				zeros++
			} else {
				lowest = min(lowest, x)
			}
		}
		if c.zero1 > 0 { // pt above (0.5 + 0.1 noise)/0.15 clips, a few per mille
			near(t, "zeros of v1B", zeros/n, c.zero1, 0.5/root+0.001)
		}
		if lowest < c.low1-1e-6 || lowest > c.low1+0.01 {
			t.Errorf("%v: v1B begins at %g, want %g", c.w, lowest, c.low1)
		}
		lowest = math.Inf(1)
		for _, x := range col(t, tab, "v2B") {
			if x != 0 {
				lowest = min(lowest, x)
			}
		}
		if lowest < c.low2-1e-6 || lowest > c.low2+0.01 {
			t.Errorf("%v: v2B begins at %g, want %g", c.w, lowest, c.low2)
		}
		for _, column := range tab.Columns {
			for _, x := range column.F {
				if float64(float32(x)) != x || math.IsNaN(x) || math.IsInf(x, 0) {
					t.Fatalf("%s holds %g, not a finite float32", column.Name, x)
				}
			}
		}
	}
}

func TestOneflowSameAtAnyNumberOfThreads(t *testing.T) {
	for _, w := range []Which{Simulation, Data} {
		one := oneflowTable(t, OneflowSettings{Events: 20000, Seed: 1, Threads: 1}, w)
		for _, threads := range []int{2, 5} {
			other := oneflowTable(t, OneflowSettings{Events: 20000, Seed: 1, Threads: threads}, w)
			for k := range one.Columns {
				if !slices.Equal(one.Columns[k].F, other.Columns[k].F) {
					t.Errorf("%v: column %s differs with %d threads", w, one.Columns[k].Name, threads)
				}
			}
		}
	}
}

func TestNormalScoresShareTies(t *testing.T) {
	score, sorted := normalScores([]float64{3, 1, 2, 1})
	if !slices.Equal(sorted, []float64{1, 1, 2, 3}) {
		t.Errorf("sorted %v", sorted)
	}
	// ranks 4, 1.5, 3, 1.5 of 4
	for i, p := range []float64{0.8, 0.3, 0.6, 0.3} {
		if math.Abs(normCDF(score[i])-p) > 1e-12 {
			t.Errorf("score %d is %g, want the quantile of %g", i, score[i], p)
		}
	}
}

// A classifier tells the samples apart. (Larger trees on 230000 + 230000 events reach 0.885, published 0.88.)
func TestOneflowClassifier(t *testing.T) {
	s := OneflowSettings{Events: 20000, Seed: 1}
	get := func(w Which) (cols [][]float64, ones []float64) {
		tab := oneflowTable(t, s, w)
		for _, c := range tab.Columns {
			cols = append(cols, c.F)
		}
		ones = make([]float64, tab.Len())
		for i := range ones {
			ones[i] = 1
		}
		return cols, ones
	}
	a, wa := get(Simulation)
	b, wb := get(Data)
	auc := classify(t, a, wa, wa, b, wb, wb)
	t.Logf("AUC %.4f", auc)
	if auc < 0.84 || auc > 0.90 {
		t.Errorf("AUC %.4f, must be about 0.86", auc)
	}
}

func TestOneflowSettings(t *testing.T) {
	for _, s := range []OneflowSettings{{Events: -1}, {Events: 99}} {
		if _, err := Oneflow(s, Data); err == nil {
			t.Errorf("no error for %+v", s)
		}
	}
	if _, err := Oneflow(OneflowSettings{}, Truth); err == nil {
		t.Error("no error for the truth, which does not exist")
	}
}

func BenchmarkOneflow(b *testing.B) {
	for b.Loop() {
		if _, err := Oneflow(OneflowSettings{Events: 1 << 20, Seed: rng.Mix(1)}, Data); err != nil {
			b.Fatal(err)
		}
	}
}
