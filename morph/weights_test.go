package morph

import (
	"errors"
	"math"
	"strings"
	"testing"

	"hepmorph/internal/modelfile"
	"hepmorph/internal/rng"
)

// saver is what goes into a model file.
type saver interface {
	Save(f *modelfile.File, name string) error
}

func stored(t testing.TB, s saver) []byte {
	t.Helper()
	f := &modelfile.File{}
	if err := s.Save(f, "part"); err != nil {
		t.Fatal(err)
	}
	b, err := f.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// signedToy has weights whose sign is more often negative at small x[0]; the mean weight is 1 - 0.8 exp(-x0), times a
// factor that depends on x[1].
func signedToy(seed uint64, n int) (cols [][]float64, w []float64) {
	s := rng.NewKey(seed, "signed toy").At(0)
	cols = [][]float64{make([]float64, n), make([]float64, n), make([]float64, n)}
	w = make([]float64, n)
	for i := range n {
		x, y := s.Exp(), s.Norm()
		cols[0][i], cols[1][i], cols[2][i] = x, y, s.Norm()
		p := 0.4 * math.Exp(-x)
		w[i] = math.Exp(0.3*s.Norm()) * (1 + 0.2*math.Tanh(y))
		if s.Float64() < p {
			w[i] = -w[i]
		}
	}
	return cols, w
}

// Means of functions of x agree with the signed weights' within their errors; |w| does not.
func TestPositiveWeightsKeepTheLaw(t *testing.T) {
	cols, w := signedToy(1, 40000)
	tests := map[string]func(i int) float64{
		"x0 < 0.5": func(i int) float64 {
			if cols[0][i] < 0.5 {
				return 1
			}
			return 0
		},
		"x0":      func(i int) float64 { return cols[0][i] },
		"x1":      func(i int) float64 { return cols[1][i] },
		"x0 * x1": func(i int) float64 { return cols[0][i] * cols[1][i] },
	}
	mean := func(w []float64, f func(i int) float64) (m, err float64) {
		var s, sw, v float64
		for i := range w {
			s += w[i] * f(i)
			sw += w[i]
		}
		m = s / sw
		for i := range w {
			v += w[i] * w[i] * (f(i) - m) * (f(i) - m)
		}
		return m, math.Sqrt(v) / sw
	}
	for _, method := range []string{"auto", "classifier", "abs"} {
		p, pos, err := FitPositive(method, []string{"a", "b", "c"}, cols, w, 1, 0)
		if err != nil {
			t.Fatal(err)
		}
		worst, worstName := 0.0, ""
		for name, f := range tests {
			want, sd := mean(w, f)
			got, _ := mean(pos, f)
			if d := math.Abs(got-want) / sd; d > worst {
				worst, worstName = d, name
			}
		}
		if method == "abs" != (worst > 5) || method != "abs" && worst > 3 {
			t.Errorf("%s: %s is off by %.1f standard errors", method, worstName, worst)
		}
		for i, v := range pos {
			if !(v >= 0) {
				t.Fatalf("%s: weight %d is %v", method, i, v)
			}
		}
		if method == "auto" && (p.Method != "regress" || p.Report.After < 1.3*p.Report.Before || p.Report.Negative < 0.1) {
			t.Errorf("%s", p.Report.String())
		}
		sum, want := 0.0, 0.0
		for i := range w {
			sum += pos[i]
			want += w[i]
		}
		if math.Abs(sum-want) > 1e-9*want {
			t.Errorf("%s: the sum of weights became %v from %v", method, sum, want)
		}
	}
}

func TestPositiveWeightsAreStored(t *testing.T) {
	cols, w := signedToy(2, 3000)
	fresh, wf := signedToy(3, 500)
	for _, method := range []string{"abs", "classifier", "regress"} {
		p, pos, err := FitPositive(method, []string{"a", "b", "c"}, cols, w, 1, 1)
		if err != nil {
			t.Fatal(err)
		}
		_, again, err := FitPositive(method, []string{"a", "b", "c"}, cols, w, 1, 3)
		if err != nil {
			t.Fatal(err)
		}
		for i := range pos {
			if pos[i] != again[i] {
				t.Fatalf("%s: other weights with other threads", method)
			}
		}
		f, err := modelfile.Decode(stored(t, p))
		if err != nil {
			t.Fatal(err)
		}
		back, err := LoadPositive(f, "part")
		if err != nil {
			t.Fatal(err)
		}
		a, b := make([]float64, len(wf)), make([]float64, len(wf))
		p.Apply(fresh, wf, a, 0)
		back.Apply(fresh, wf, b, 0)
		for i := range a {
			if a[i] != b[i] || !(a[i] > 0) {
				t.Fatalf("%s: row %d: %v, restored %v", method, i, a[i], b[i])
			}
		}
	}
}

func TestWeightsThatCannotBeUsed(t *testing.T) {
	cols := [][]float64{{1, 2, 3}}
	for name, c := range map[string]struct {
		method, want string
		w            []float64
	}{
		"all zero":     {"auto", "all are 0", []float64{0, 0, 0}},
		"negative sum": {"auto", "not positive", []float64{1, -2, 0}},
		"NaN":          {"auto", "weight 1 is NaN", []float64{1, math.NaN(), 0}},
		"no rows":      {"auto", "no rows", nil},
		"not wanted":   {"none", "1 of 3 are negative", []float64{3, -1, 1}},
		"unknown":      {"x", "unknown method", []float64{1, 1, 1}},
	} {
		_, _, err := FitPositive(c.method, []string{"a"}, cols, c.w, 1, 1)
		if !errors.Is(err, ErrInput) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	p, out, err := FitPositive("auto", nil, nil, []float64{1, 2, 0}, 1, 1)
	if err != nil || p.Method != "none" || out[1] != 2 {
		t.Errorf("%+v, %v, %v", p, out, err)
	}
}
