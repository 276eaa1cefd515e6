package morph

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"hepmorph/internal/modelfile"
	"hepmorph/internal/rng"
	"hepmorph/physics"
)

// conditionToy draws two correlated conditions; the data are shifted, narrower, and correlated otherwise.
func conditionToy(seed uint64, n int, data bool) [][]float64 {
	s := rng.NewKey(seed, "condition toy").At(0)
	cols := [][]float64{make([]float64, n), make([]float64, n)}
	for i := range n {
		a, b := s.Norm(), s.Norm()
		if data {
			a, b = 0.3+0.9*a, 0.9*b+0.3*a
		}
		cols[0][i], cols[1][i] = math.Exp(0.5*a), b
	}
	return cols
}

// logRatio is the truth of the toy.
func logRatio(x, y float64) float64 {
	a := 2 * math.Log(x)
	u := (a - 0.3) / 0.9
	v := (y - 0.3*u) / 0.9
	return (a*a+y*y-u*u-v*v)/2 - 2*math.Log(0.9)
}

func fitToyWeights(t testing.TB, method string, n int) (*Reweighter, []float64, [][]float64) {
	t.Helper()
	cfg := NewConfig().Reweight
	cfg.Method, cfg.Bins = method, 12
	sim := conditionToy(1, n, false)
	r, k, err := FitReweighter(cfg, []string{"pt", "eta"}, Conditioned{Cols: sim}, Conditioned{Cols: conditionToy(2, n, true)}, 1, 0)
	if err != nil {
		t.Fatal(err)
	}
	return r, k, sim
}

func TestReweighting(t *testing.T) {
	const n = 20000
	errs := map[string]float64{}
	for _, method := range []string{"none", "histogram", "classifier"} {
		r, k, sim := fitToyWeights(t, method, n)
		// on rows that no fit has seen
		fresh := conditionToy(9, n, false)
		f := make([]float64, n)
		r.Apply(fresh, f, 0)
		var sum, mean float64
		for i := range f {
			if !(f[i] > 0) || f[i] > 10.5 {
				t.Fatalf("%s: factor %v", method, f[i])
			}
			sum += math.Abs(math.Log(f[i]) - logRatio(fresh[0][i], fresh[1][i]))
			mean += k[i] / n
		}
		errs[method] = sum / n
		if math.Abs(mean-1) > 1e-9 {
			t.Errorf("%s: mean factor of the training rows %v", method, mean)
		}
		if method == "none" {
			continue
		}
		rep := r.Report
		if rep.Before < 0.58 || rep.After > 0.52 || rep.ESS > 0.9 || rep.ESS < 0.5 || rep.Columns[0].After > rep.Columns[0].Before/3 {
			t.Errorf("%s: %s", method, rep.String())
		}
		if text := rep.String(); !strings.Contains(text, "pt") || strings.Count(text, "\n") != 2 {
			t.Errorf("%s", text)
		}
		_ = sim
	}
	if errs["histogram"] > errs["none"]/2 || errs["classifier"] > errs["histogram"] {
		t.Errorf("mean errors of the log factor: %v", errs)
	}
}

func TestReweighterIsStoredExactly(t *testing.T) {
	for _, method := range []string{"none", "histogram", "classifier"} {
		r, _, sim := fitToyWeights(t, method, 3000)
		f, err := modelfile.Decode(stored(t, r))
		if err != nil {
			t.Fatal(err)
		}
		back, err := LoadReweighter(f, "part")
		if err != nil {
			t.Fatal(err)
		}
		a, b := make([]float64, 3000), make([]float64, 3000)
		r.Apply(sim, a, 1)
		back.Apply(sim, b, 2)
		for i := range a {
			if a[i] != b[i] {
				t.Fatalf("%s: row %d: %v, restored %v", method, i, a[i], b[i])
			}
		}
		f.Meta["part"] = strings.Replace(f.Meta["part"], method, "magic", 1)
		if _, err := LoadReweighter(f, "part"); !errors.Is(err, modelfile.ErrUnusable) {
			t.Errorf("%s: an unknown method is restored: %v", method, err)
		}
	}
	if _, err := LoadReweighter(&modelfile.File{}, "x"); !errors.Is(err, modelfile.ErrUnusable) {
		t.Error("restored from nothing")
	}
}

// Samples of one law get factors near 1, and the classifier finds nothing to do.
func TestNothingToReweight(t *testing.T) {
	cfg := NewConfig().Reweight
	const n = 10000
	r, k, err := FitReweighter(cfg, []string{"pt", "eta"}, Conditioned{Cols: conditionToy(1, n, false)}, Conditioned{Cols: conditionToy(2, n, false)}, 1, 0)
	if err != nil {
		t.Fatal(err)
	}
	worst := 0.0
	for _, f := range k {
		worst = max(worst, math.Abs(math.Log(f)))
	}
	if worst > 0.3 || r.Report.ESS < 0.99 {
		t.Errorf("largest |log factor| %.3f; %s", worst, r.Report.String())
	}
}

func TestReweightingWithoutCommonGround(t *testing.T) {
	cfg := NewConfig().Reweight
	cfg.Method = "histogram"
	sim, data := conditionToy(1, 1000, false), conditionToy(2, 1000, true)
	for i := range sim[0] {
		sim[0][i] += 1000
	}
	r, _, err := FitReweighter(cfg, []string{"pt", "eta"}, Conditioned{Cols: sim}, Conditioned{Cols: data}, 1, 0)
	if err == nil && r.Report.Lost < 0.9 {
		t.Errorf("lost %v of the data", r.Report.Lost)
	}
	if _, _, err := FitReweighter(cfg, []string{"pt"}, Conditioned{Cols: sim[:1], Weight: make([]float64, 1000)}, Conditioned{Cols: data[:1]}, 1, 0); !errors.Is(err, ErrInput) {
		t.Errorf("all weights 0: %v", err)
	}
}

// TestFactorStaysOutOfPhysicsWeights: what is learned given the conditions has the weights of the sample, what is averaged over them the factor too.
func TestFactorStaysOutOfPhysicsWeights(t *testing.T) {
	const n = 4000
	cfg, err := DecodeConfig("run.yaml", []byte("inputs: {simulation: [mc.root], data: [data.root]}\nfeatures: {x: {}}\nconditions: {pt: {}, eta: {}}\nreweight: {method: histogram, bins: 5}\n"))
	if err != nil {
		t.Fatal(err)
	}
	var ev [2]*Events
	var split [2]parts
	for d := range ev {
		c := conditionToy(uint64(d), n, Domain(d) == Data)
		tab := physics.NewTable(n)
		for name, v := range map[string][]float64{"x": c[1], "pt": c[0], "eta": c[1]} {
			if err := tab.Add(physics.Column{Name: name, F: v}); err != nil {
				t.Fatal(err)
			}
		}
		tab.Weight = make([]float64, n)
		for i := range n {
			tab.Weight[i] = 0.5 + float64(i%3)
		}
		ev[d] = &Events{Domain: Domain(d), Table: tab}
		split[d].train = upTo(n)
	}
	_, w, err := (&prepared{model: &Model{cfg: cfg}}).weigh(cfg, ev, split, TrainOptions{Threads: 2, Log: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	for d := range ev {
		if !slices.Equal(w.given[d], ev[d].Table.Weight) {
			t.Errorf("%s: the weights given the conditions are not those of the sample", domainName(Domain(d)))
		}
	}
	if !slices.Equal(w.all[Data], w.given[Data]) {
		t.Error("the data have a factor")
	}
	mean := func(v, w []float64) float64 {
		m, _ := moments(v, w)
		return m
	}
	pt, err := ev[Simulation].Table.Col("pt")
	if err != nil {
		t.Fatal(err)
	}
	want, err := ev[Data].Table.Col("pt")
	if err != nil {
		t.Fatal(err)
	}
	target := mean(want, w.all[Data])
	if before, after := mean(pt, w.given[Simulation])-target, mean(pt, w.all[Simulation])-target; math.Abs(after) > 0.1*math.Abs(before) {
		t.Errorf("the factor leaves %.4f of a difference of %.4f in the mean of pt", after, before)
	}
}
