package physics

import (
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"hepmorph/physics/rootio"
)

func testBatch(n int, seed uint64) *rootio.Batch {
	r := rand.New(rand.NewPCG(seed, 1))
	f32 := make([]float32, n)
	f64 := make([]float64, n)
	i32, u64 := make([]int64, n), make([]uint64, n)
	bs, ss := make([]bool, n), make([]string, n)
	pt := rootio.NewValues(rootio.Kind{Elem: rootio.Float32, Form: rootio.Counted}, n)
	eta, phi := rootio.NewValues(pt.Kind, n), rootio.NewValues(pt.Kind, n)
	id := rootio.NewValues(rootio.Kind{Elem: rootio.Int32, Form: rootio.Vector}, n)
	for i := range n {
		f32[i], f64[i] = float32(r.NormFloat64()), r.ExpFloat64()
		i32[i], u64[i] = int64(r.IntN(7))-3, r.Uint64N(1<<40)
		bs[i], ss[i] = r.IntN(2) == 0, []string{"a", "bc"}[r.IntN(2)]
		for range 2 + r.IntN(3) {
			pt.F32 = append(pt.F32, float32(20+50*r.Float64()))
			eta.F32 = append(eta.F32, float32(r.NormFloat64()))
			phi.F32 = append(phi.F32, float32(6*r.Float64()-3))
			id.I = append(id.I, int64(r.IntN(4)))
		}
		for _, v := range []*rootio.Values{pt, eta, phi, id} {
			v.Off = append(v.Off, int32(v.Size()))
		}
	}
	return &rootio.Batch{Lo: 100, N: n, Cols: map[string]*rootio.Values{
		"x": rootio.Float32s(f32), "y": rootio.Float64s(f64), "k": rootio.Ints(rootio.Int32, i32), "event": rootio.Uints(rootio.Uint64, u64),
		"ok": rootio.Bools(bs), "tag": rootio.Strings(ss), "pt": pt, "p4.fE": rootio.Float64s(f64), "p4.fP": pt, "eta": eta, "phi": phi, "id": id,
	}}
}

func kindsOf(b *rootio.Batch) map[string]rootio.Kind {
	out := map[string]rootio.Kind{}
	for name, v := range b.Cols {
		out[name] = v.Kind
	}
	return out
}

var expressions = []string{
	"x", "-x", "+y", "x + y * 2", "(x - y) / 3", "x / k", "k / 2", "k * k - 1", "k % 2 == 0", "event % 10 < 7", "k ** 2", "y ^ 0.5", "2 * k + 0.5",
	"x > 0 && y < 1", "x > 0 || ok", "!ok", "not (x > 0)", "ok == (x > 0)", "ok != false", "x > 0 ? y : -y", "ok ? k : k + 1", "ok ? k : x",
	"abs(x)", "abs(k)", "floor(y)", "ceil(x)", "round(x)", "int(y)", "float(k)", "min(x, y)", "max(x, y)", "min(k, 1)", "max(k, 1)", "max(k, x)", "min(x, y, 0.1)",
	"sqrt(y)", "log(y)", "exp(x)", "cosh(x) - cos(y)", "atan2(x, y)", "pow(y, 2)", "hypot(x, y)", "deltaphi(x, y)", "deltar(x, y, 0, 1)",
	"pt[0]", "pt[1] > 30", "pt[-1]", "id[0] == 2", "size(pt)", "size(pt) >= 3", "len(id)", "pt[0] > 25 and abs(eta[0]) < 2.37 and not (abs(eta[0]) > 1.37 and abs(eta[0]) < 1.52)",
	"diphoton_mass(pt, eta, phi)", "diphoton_pt(pt, eta, phi) / diphoton_mass(pt, eta, phi)", "diphoton_costhetastar(pt, eta, phi)", "diphoton_rapidity(pt, eta, phi)",
	"pair_mass(pt[0], eta[0], phi[0], pt[1], eta[1], phi[1])", "2 * pi", "sum(pt)", "any(pt, # > 60)", "all(eta, abs(#) < 2)", "count(id, # == 1)", "max(pt)", "tag == \"bc\"", "k in 1..3",
	"x == x", "k <= 1", "k != 1", "k >= 0 ? 1 : 0", "x <= y", "event", "k - 1 > 0", "let a = x * 2; a + 1", "p4.fE * 2 + p4.fP[0]", "tag == \"p4.fE\" ? 1 : p4.fE", "1.5 * p4.fE", "size(p4.fP) > 2", "k % 3 + event % 5",
}

// TestClosuresAgainstMachine: both ways to run an expression give the same values, and every expression of the list compiles.
func TestClosuresAgainstMachine(t *testing.T) {
	b := testBatch(500, 3)
	kinds := kindsOf(b)
	rows := []int{3, 17, 499}
	closures := 0
	for _, src := range expressions {
		e, err := Compile(src, kinds)
		if err != nil {
			t.Errorf("%s: %v", src, err)
			continue
		}
		got, err := e.Eval(b, nil)
		if err != nil {
			t.Errorf("%s: %v", src, err)
			continue
		}
		some, err := e.Eval(b, rows)
		if err != nil {
			t.Fatal(err)
		}
		for k, r := range rows {
			if some[k] != got[r] {
				t.Errorf("%s: row %d: %g and %g", src, r, some[k], got[r])
			}
		}
		if e.plain || e.code.none() {
			continue
		}
		closures++
		slow := &Expr{src: e.src, branches: e.branches, names: e.names, kinds: e.kinds, prog: e.prog}
		want, err := slow.Eval(b, nil)
		if err != nil {
			t.Errorf("%s on the machine: %v", src, err)
			continue
		}
		for r := range want {
			if got[r] != want[r] && !(math.IsNaN(got[r]) && math.IsNaN(want[r])) {
				t.Errorf("%s: row %d: closure %g, machine %g", src, r, got[r], want[r])
				break
			}
		}
	}
	if closures < 55 {
		t.Errorf("only %d expressions run as closures", closures)
	}
}

func TestExprValues(t *testing.T) {
	b := testBatch(50, 9)
	for _, c := range []struct {
		src  string
		want func(i int) float64
	}{
		{"x", func(i int) float64 { return float64(b.Cols["x"].F32[i]) }},
		{"event % 10", func(i int) float64 { return float64(b.Cols["event"].U[i] % 10) }},
		{"pt[1] * 2", func(i int) float64 { lo, _ := b.Cols["pt"].Row(i); return 2 * float64(b.Cols["pt"].F32[lo+1]) }},
		{"size(pt)", func(i int) float64 { lo, hi := b.Cols["pt"].Row(i); return float64(hi - lo) }},
		{"k / 2", func(i int) float64 { return float64(b.Cols["k"].I[i]) / 2 }},
	} {
		e, err := Compile(c.src, kindsOf(b))
		if err != nil {
			t.Fatal(err)
		}
		v, err := e.Eval(b, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := range v {
			if v[i] != c.want(i) {
				t.Fatalf("%s: row %d: %g, want %g", c.src, i, v[i], c.want(i))
			}
		}
	}
}

func TestExprErrors(t *testing.T) {
	b := testBatch(20, 4)
	kinds := kindsOf(b)
	for src, part := range map[string]string{
		"":                    "empty",
		"evnt > 2":            "nearest: event",
		"x +":                 "unexpected token",
		"tag + 1":             "invalid operation",
		"pt":                  "array",
		"pt[0":                "unexpected token",
		"deltaphi(x)":         "takes 2 arguments, not 1",
		"diphoton_mass(pt)":   "takes 3 arguments",
		"nosuch(x)":           "nosuch",
		"now().Year() > 2000": "now",
		"tag":                 "not a number",
	} {
		_, err := Compile(src, kinds)
		if err == nil || !strings.Contains(err.Error(), part) || !errors.Is(err, ErrExpr) {
			t.Errorf("%q: %v, want something with %q", src, err, part)
		}
	}
	if _, err := Compile("evnt > 2", kinds); !errors.Is(err, rootio.ErrColumns) {
		t.Errorf("an unknown branch is %v", err)
	}
	for src, part := range map[string]string{
		"pt[7]":                       "entry 100: index 7 of pt",
		"1 % (k - k)":                 "divide by zero",
		"diphoton_mass(id, eta, phi)": "",
		"filter(pt, # > 1000)[0]":     "entry 100",
	} {
		e, err := Compile(src, kinds)
		if err == nil {
			_, err = e.Eval(b, nil)
		}
		if err == nil || !strings.Contains(err.Error(), part) || !errors.Is(err, ErrExpr) {
			t.Errorf("%q: %v, want something with %q", src, err, part)
		}
	}
	e, err := Compile("x", kinds)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Select(b, nil); err == nil {
		t.Error("a number selects")
	}
}

func FuzzCompile(f *testing.F) {
	for _, s := range expressions {
		f.Add(s)
	}
	b := testBatch(3, 1)
	kinds := kindsOf(b)
	f.Fuzz(func(t *testing.T, src string) {
		if len(src) > 200 || strings.Contains(src, "..") || strings.Contains(src, "repeat") {
			return // ranges and repetitions may be as large as they like: expr's own limits hold
		}
		e, err := Compile(src, kinds)
		if err != nil {
			if !errors.Is(err, ErrExpr) {
				t.Fatalf("%q: %v", src, err)
			}
			return
		}
		if _, err := e.Eval(b, nil); err != nil && !errors.Is(err, ErrExpr) {
			t.Fatalf("%q: %v", src, err)
		}
	})
}

func benchExpr(b *testing.B, src string, slow bool) {
	batch := testBatch(1<<15, 2)
	e, err := Compile(src, kindsOf(batch))
	if err != nil {
		b.Fatal(err)
	}
	if slow {
		e = &Expr{src: e.src, branches: e.branches, names: e.names, kinds: e.kinds, prog: e.prog}
	}
	for b.Loop() {
		if _, err := e.Eval(batch, nil); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(batch.N)*float64(b.N)/b.Elapsed().Seconds()/1e6, "Mrows/s")
}

func BenchmarkExprPlain(b *testing.B) { benchExpr(b, "x", false) }
func BenchmarkExprIndex(b *testing.B) { benchExpr(b, "pt[0]", false) }
func BenchmarkExprSelect(b *testing.B) {
	benchExpr(b, "pt[0] > 25 && abs(eta[0]) < 2.37 && event % 10 < 7", false)
}
func BenchmarkExprMachine(b *testing.B) {
	benchExpr(b, "pt[0] > 25 && abs(eta[0]) < 2.37 && event % 10 < 7", true)
}
func BenchmarkExprMass(b *testing.B) { benchExpr(b, "diphoton_mass(pt, eta, phi)", false) }
