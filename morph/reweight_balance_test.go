package morph

import (
	"errors"
	"math"
	"strings"
	"testing"

	"hepmorph/internal/modelfile"
)

// secondMoments are means, variances and covariances of two columns.
func secondMoments(cols [][]float64, w []float64) (m [5]float64) {
	sum := 0.0
	for i := range cols[0] {
		k := 1.0
		if w != nil {
			k = w[i]
		}
		x, y := cols[0][i], cols[1][i]
		sum += k
		for j, v := range [5]float64{x, y, x * x, x * y, y * y} {
			m[j] += k * v
		}
	}
	for j := range m {
		m[j] /= sum
	}
	m[2], m[3], m[4] = m[2]-m[0]*m[0], m[3]-m[0]*m[1], m[4]-m[1]*m[1]
	return m
}

func TestBalanceGivesTheMomentsOfTheData(t *testing.T) {
	const n = 20000
	inside := func(cols [][]float64) [][]float64 { // no row is farther than what phi bounds
		var keep []int
		for i := range cols[0] {
			if cols[0][i] < 4 && math.Abs(cols[1][i]) < 4 {
				keep = append(keep, i)
			}
		}
		return takeRows(cols, keep)
	}
	sim, data := inside(conditionToy(1, n, false)), inside(conditionToy(2, n, true))
	for _, method := range []string{"histogram", "classifier"} {
		far := map[bool]float64{}
		for _, balance := range []bool{false, true} {
			cfg := NewConfig().Reweight
			cfg.Method, cfg.Bins, cfg.Balance = method, 8, balance
			r, k, err := FitReweighter(cfg, []string{"pt", "eta"}, Conditioned{Cols: sim}, Conditioned{Cols: data}, 1, 0)
			if err != nil {
				t.Fatal(err)
			}
			if (r.Balance != nil) != balance {
				t.Fatalf("%s, balance %v: %+v", method, balance, r.Balance)
			}
			got, want := secondMoments(sim, k), secondMoments(data, nil)
			for j := range got {
				far[balance] = max(far[balance], math.Abs(got[j]-want[j]))
			}
			fresh := inside(conditionToy(9, n, false))
			f := make([]float64, len(fresh[0]))
			r.Apply(fresh, f, 0)
			for j, m := range secondMoments(fresh, f) {
				if balance && math.Abs(m-want[j]) > 0.03 {
					t.Errorf("%s: moment %d of rows that no fit has seen: %g, of the data %g", method, j, m, want[j])
				}
			}
			if r.Report.ESS < 0.5 {
				t.Errorf("%s, balance %v: %g of the events are left", method, balance, r.Report.ESS)
			}
		}
		if far[true] > 1e-7 || far[false] < 1e-3 {
			t.Errorf("%s: moments differ by %g with the balance, by %g without", method, far[true], far[false])
		}
	}
}

func TestNoBalance(t *testing.T) {
	uniform := func(n int) []float64 {
		w, _ := normalised(n, nil)
		return w
	}
	sample := func(seed uint64, n int, change func(x, y float64) (float64, float64)) Conditioned {
		c := conditionToy(seed, n, false)
		for i := range c[0] {
			c[0][i], c[1][i] = change(c[0][i], c[1][i])
		}
		return Conditioned{Cols: c, Weight: uniform(n)}
	}
	same := func(x, y float64) (float64, float64) { return x, y }
	for _, c := range []struct {
		what string
		rows int
		data func(x, y float64) (float64, float64)
		want int // terms of the balance
	}{
		{"equal laws", 3000, same, 5},
		{"few rows", 300, same, 2},
		{"too few rows", 100, same, 0},
		{"a constant condition", 3000, func(x, y float64) (float64, float64) { return x, 1 }, 0},
		{"data outside of the simulation", 3000, func(x, y float64) (float64, float64) { return x + 1000, y }, 0},
		{"data at the edge of the simulation", 3000, func(x, y float64) (float64, float64) { return x, 2.5 + 0.1*y }, 0},
	} {
		b := fitBalance(sample(1, c.rows, same), sample(2, c.rows, c.data))
		if b != nil {
			got := len(b.Lambda)
			if got != c.want {
				t.Errorf("%s: %d terms, want %d", c.what, got, c.want)
			}
		} else if c.want != 0 {
			t.Errorf("%s: no balance", c.what)
		}
	}
}

func TestBalanceOfOtherColumnsIsRefused(t *testing.T) {
	r, _, _ := fitToyWeights(t, "histogram", 3000)
	f, err := modelfile.Decode(stored(t, r))
	if err != nil {
		t.Fatal(err)
	}
	f.Meta["part"] = strings.Replace(f.Meta["part"], `"lambda":[`, `"lambda":[0,`, 1)
	if _, err := LoadReweighter(f, "part"); !errors.Is(err, modelfile.ErrUnusable) {
		t.Errorf("a balance of six terms for two columns is restored: %v", err)
	}
}
