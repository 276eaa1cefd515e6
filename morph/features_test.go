package morph

import (
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"

	"hepmorph/internal/rng"
	"hepmorph/physics"
)

// toyTables makes a simulation and a data table with columns of every kind.
func toyTables(t testing.TB, n int) [2]*physics.Table {
	t.Helper()
	var out [2]*physics.Table
	for d := range out {
		s := rng.NewKey(7, "toy").At(uint64(d))
		shift := 0.1 * float64(d)
		cols := map[string][]float64{}
		order := []string{"pt", "eta", "phi", "r9", "iso", "trunc", "count", "angle", "s4", "plain"}
		for range n {
			pt := 25 + 20*s.Exp()
			eta := 2.37 * s.Float64()
			for eta > 1.37 && eta < 1.52 {
				eta = 2.37 * s.Float64()
			}
			iso := 0.0
			if s.Float64() > 0.4+0.3*math.Exp(-pt/50)+shift {
				iso = 0.2 + s.Exp()
			}
			s4 := s.Norm()
			if s.Float64() < 0.01 {
				s4 = -999
			}
			add := func(name string, v float64) { cols[name] = append(cols[name], v) }
			add("pt", pt)
			add("eta", eta)
			add("phi", 2*math.Pi*s.Float64()-math.Pi)
			add("r9", 1.1/(1+math.Exp(-2-shift-s.Norm())))
			add("iso", iso)
			add("trunc", grid{Mantissa: 10}.snap(0.03*math.Exp(0.1*s.Norm()+shift)))
			add("count", float64(s.Poisson(4)))
			add("angle", mod(2+0.7*s.Norm()+shift+math.Pi, 2*math.Pi)-math.Pi)
			add("s4", s4)
			add("plain", 5+shift+2*s.Norm())
		}
		tab := physics.NewTable(n)
		for _, name := range order {
			if err := tab.Add(physics.Column{Name: name, F: cols[name]}); err != nil {
				t.Fatal(err)
			}
		}
		out[d] = tab
	}
	return out
}

func ptr(x float64) *float64 { return &x }

func toySpecs() ([]FeatureSpec, []ConditionSpec) {
	return []FeatureSpec{
			{Name: "r9", Transform: "logit", Bounds: []float64{0, 1.1}},
			{Name: "iso", Atom: ptr(0), Transform: "log"},
			{Name: "trunc"},
			{Name: "count", Integer: true, Bounds: []float64{0}},
			{Name: "angle", Transform: "periodic"},
			{Name: "s4", Sentinels: Floats{-999, math.NaN()}, Transform: "none", Robust: true},
			{Name: "plain"},
		}, []ConditionSpec{
			{Name: "pt", Transform: "log", Bounds: []float64{25}},
			{Name: "eta", Transform: "logit", Bounds: []float64{0, 2.37}, Gap: []float64{1.37, 1.52}},
			{Name: "phi", Transform: "periodic"},
		}
}

func fitToy(t testing.TB, tabs [2]*physics.Table, change func([]FeatureSpec)) *Encoder {
	t.Helper()
	f, c := toySpecs()
	if change != nil {
		change(f)
	}
	e, err := FitEncoder(f, c, tabs[:], [][]float64{nil, nil}, 11)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func rowKeys(n int) []uint64 {
	k := make([]uint64, n)
	for i := range k {
		k[i] = rng.Mix(uint64(i))
	}
	return k
}

func featureColumns(t testing.TB, e *Encoder, tab *physics.Table) [][]float64 {
	t.Helper()
	cols, err := e.columns(tab)
	if err != nil {
		t.Fatal(err)
	}
	return cols
}

func matrix(cols, rows int) [][]float64 {
	m := make([][]float64, cols)
	for i := range m {
		m[i] = make([]float64, rows)
	}
	return m
}

// Through model space and back in float64: smooth columns to 1e-9, atoms, grids, integers and sentinels exactly.
func TestEncoderRoundTrip(t *testing.T) {
	tabs := toyTables(t, 4000)
	for _, treatment := range []string{"smear", "hurdle"} {
		e := fitToy(t, tabs, func(f []FeatureSpec) { f[1].AtomTreatment = treatment })
		for d, tab := range tabs {
			cols := featureColumns(t, e, tab)
			p, err := e.Features[1].shares(tab, 0, tab.Len(), Domain(d))
			if err != nil {
				t.Fatal(err)
			}
			err = e.each(tab, 0, tab.Len(), rowKeys(tab.Len()), Domain(d), func(row, col int, c class, z, l float64) {
				f, x := &e.Features[col], cols[col][row]
				if z-z != 0 || l-l != 0 {
					t.Fatalf("%s: not finite at %v", f.Spec.Name, x)
				}
				if c == sentinel || c == outside {
					if c == outside || x != -999 {
						t.Fatalf("%s: %v is of class %d", f.Spec.Name, x, c)
					}
					return
				}
				s := 0.0
				if col == 1 {
					s = share(p, row)
				}
				v, _ := f.decode(z, s, Domain(d))
				got := f.finish(v, Domain(d))
				exact := c == atom || f.Grid.active()
				if exact && got != x || math.Abs(got-x) > 1e-9*max(1, math.Abs(x)) {
					t.Fatalf("%s (%s): %v comes back as %v", f.Spec.Name, treatment, x, got)
				}
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
}

// In model space all columns of both samples together are near standard normal (iso has two bumps, count steps).
func TestEncodedColumnsAreStandard(t *testing.T) {
	tabs := toyTables(t, 10000)
	e := fitToy(t, tabs, nil)
	n := tabs[0].Len()
	z := make([]float32, 2*n*e.Dim())
	for d, tab := range tabs {
		status := make([]uint8, n)
		if err := e.Encode(tab, 0, n, rowKeys(n), Domain(d), z[d*n*e.Dim():], status); err != nil {
			t.Fatal(err)
		}
		s4 := featureColumns(t, e, tab)[5]
		for i, s := range status {
			if (s == StatusSentinel) != (s4[i] == -999) || s == StatusOutside {
				t.Fatalf("row %d: status %d", i, s)
			}
		}
	}
	for j, name := range e.Names() {
		col, w := make([]float64, 2*n), make([]float64, 2*n)
		for i := range col {
			col[i], w[i] = float64(z[i*e.Dim()+j]), 1
		}
		mean, sd := moments(col, w)
		if math.Abs(mean) > 0.1 || math.Abs(sd-1) > 0.1 {
			t.Errorf("%s: mean %.3f, sd %.3f", name, mean, sd)
		}
	}
	for _, in := range e.Info() {
		if in.Beyond[0] > 1e-3 || in.Beyond[1] > 1e-3 {
			t.Errorf("%s: %v beyond 5 sd", in.Name, in.Beyond)
		}
		switch in.Name {
		case "trunc":
			if in.Mantissa != 10 {
				t.Errorf("trunc: %d bits found", in.Mantissa)
			}
		case "iso":
			if in.Atom[1] < in.Atom[0]+0.05 || in.Min < 0.2 {
				t.Errorf("iso: %+v", in)
			}
		case "s4":
			if in.Sentinel[0] < 0.005 || in.Sentinel[0] > 0.02 {
				t.Errorf("s4: %+v", in)
			}
		}
	}
	if text := e.Describe(); !strings.Contains(text, "trunc") || strings.Count(text, "\n") != 8 {
		t.Errorf("described as\n%s", text)
	}
}

// Rows can be encoded in any portions, in any order, and after a trip through JSON, to the same bits.
func TestEncoderIsStoredExactlyAndRowwise(t *testing.T) {
	tabs := toyTables(t, 1500)
	for _, treatment := range []string{"smear", "hurdle"} {
		e := fitToy(t, tabs, func(f []FeatureSpec) { f[1].AtomTreatment = treatment })
		text, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		back := new(Encoder)
		if err := json.Unmarshal(text, back); err != nil {
			t.Fatal(err)
		}
		again, err := json.Marshal(back)
		if err != nil || string(again) != string(text) {
			t.Fatalf("stored again it differs (%v)", err)
		}
		n, keys := tabs[0].Len(), rowKeys(tabs[0].Len())
		whole, parts := make([]float32, n*e.Dim()), make([]float32, n*e.Dim())
		if err := e.Encode(tabs[0], 0, n, keys, Simulation, whole, nil); err != nil {
			t.Fatal(err)
		}
		for lo := n - n%7; lo >= 0; lo -= 7 {
			hi := min(lo+7, n)
			if err := back.Encode(tabs[0], lo, hi, keys, Simulation, parts[lo*e.Dim():], nil); err != nil {
				t.Fatal(err)
			}
		}
		cw, cp := make([]float32, n*e.CondDim()), make([]float32, n*e.CondDim())
		if err := e.EncodeConditions(tabs[0], 0, n, cw, nil); err != nil {
			t.Fatal(err)
		}
		if err := back.EncodeConditions(tabs[0], 0, n, cp, nil); err != nil {
			t.Fatal(err)
		}
		for i := range whole {
			if whole[i] != parts[i] {
				t.Fatalf("%s: element %d is %v, in portions %v", treatment, i, whole[i], parts[i])
			}
		}
		for i := range cw {
			if cw[i] != cp[i] || e.CondDim() != 4 {
				t.Fatalf("condition element %d: %v, %v", i, cw[i], cp[i])
			}
		}
	}
}

func TestDecode(t *testing.T) {
	tabs := toyTables(t, 2000)
	e := fitToy(t, tabs, nil)
	n, d := tabs[0].Len(), e.Dim()
	keys := rowKeys(n)
	z, status := make([]float32, n*d), make([]uint8, n)
	if err := e.Encode(tabs[0], 0, n, keys, Simulation, z, status); err != nil {
		t.Fatal(err)
	}
	out := matrix(d, n)
	if err := e.Decode(z, tabs[0], 0, n, Data, status, out); err != nil {
		t.Fatal(err)
	}
	cols := featureColumns(t, e, tabs[0])
	moved := 0
	for j := range cols {
		for i, x := range cols[j] {
			if out[j][i] != x && math.Abs(out[j][i]-x) > 2e-5*max(1, math.Abs(x)) {
				moved++ // a value spread to within 1e-7 of a cell's border
			}
		}
	}
	if moved > 5 {
		t.Errorf("%d of %d values moved in a round trip through float32", moved, n*d)
	}
	// Wild model values end inside the bounds, on the grid, finite.
	s := rng.NewKey(1, "wild").At(0)
	for i := range z {
		z[i] = float32(s.Norm() * math.Pow(10, float64(s.IntN(7))))
	}
	if err := e.Decode(z, tabs[0], 0, n, Data, nil, out); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		r9, iso, trunc, count, angle := out[0][i], out[1][i], out[2][i], out[3][i], out[4][i]
		switch {
		case r9 < 0 || r9 > 1.1:
			t.Fatalf("r9 = %v", r9)
		case iso != 0 && iso < e.Features[1].Info.Min:
			t.Fatalf("iso = %v", iso)
		case trunc < 0 || trunc != (grid{Mantissa: 10}).snap(trunc):
			t.Fatalf("trunc = %v", trunc)
		case count < 0 || count != math.Trunc(count):
			t.Fatalf("count = %v", count)
		case !(angle > -math.Pi && angle <= math.Pi):
			t.Fatalf("angle = %v", angle)
		}
		for j := range out {
			if v := out[j][i]; v-v != 0 || math.Abs(v) > math.MaxFloat32 {
				t.Fatalf("%s = %v", e.Names()[j], v)
			}
		}
	}
	// Rows outside and sentinels keep their own values.
	status[3] = StatusOutside
	if err := e.Decode(z, tabs[0], 0, n, Data, status, out); err != nil {
		t.Fatal(err)
	}
	for j := range out {
		if out[j][3] != cols[j][3] {
			t.Errorf("%s of a row outside changed", e.Names()[j])
		}
	}
	for i, x := range cols[5] {
		if x == -999 && out[5][i] != -999 {
			t.Fatal("a sentinel changed")
		}
	}
}

// Tails that begin at different points above an atom begin at the same point in model space, and a row decoded as one sample is not below where that begins.
func TestTailsBeginTogether(t *testing.T) {
	const n = 4000
	start, zero := [2]float64{0.5, 0.8}, 0.0
	var x [2][]float64
	samples := func(soft float64, g grid) []*physics.Table {
		var tabs []*physics.Table
		for d := range x {
			s := rng.NewKey(uint64(d), "tails").At(0)
			c := make([]float64, n)
			x[d] = make([]float64, n)
			for i := range n {
				c[i] = s.Float64()
				if s.Float64() < 0.6 {
					x[d][i] = g.snap(start[d] + s.Exp() + soft*math.Abs(s.Norm()))
				}
			}
			tab := new(physics.Table)
			for name, v := range map[string][]float64{"iso": x[d], "c": c} {
				if err := tab.Add(physics.Column{Name: name, F: v}); err != nil {
					t.Fatal(err)
				}
			}
			tabs = append(tabs, tab)
		}
		return tabs
	}
	fit := func(treatment string, g grid, tabs []*physics.Table) *Encoder {
		bits := g.Mantissa
		if bits == 0 {
			bits = -1
		}
		e, err := FitEncoder([]FeatureSpec{{Name: "iso", Atom: &zero, AtomTreatment: treatment, Mantissa: bits}}, []ConditionSpec{{Name: "c"}}, tabs, [][]float64{nil, nil}, 1)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	positive := func(x []float64) (least float64) {
		least = math.Inf(1)
		for _, v := range x {
			if v > 0 {
				least = min(least, v)
			}
		}
		return least
	}
	for _, treatment := range []string{"smear", "hurdle"} {
		for _, g := range []grid{{}, {Mantissa: 9}} {
			tabs := samples(0, g)
			b, err := json.Marshal(fit(treatment, g, tabs))
			e := new(Encoder)
			if err != nil || json.Unmarshal(b, e) != nil {
				t.Fatal("it does not come back from its file")
			}
			z, out := make([]float32, n), matrix(1, n)
			for from := range Domain(2) {
				if err := e.Encode(tabs[from], 0, n, rowKeys(n), from, z, nil); err != nil {
					t.Fatal(err)
				}
				for to := range Domain(2) {
					if err := e.Decode(z, tabs[from], 0, n, to, nil, out); err != nil {
						t.Fatal(err)
					}
					moved := 0.0
					for i, y := range out[0] {
						moved = max(moved, math.Abs(y-x[from][i]))
					}
					begins, want := positive(out[0]), positive(x[to])
					if begins < want || begins > want+5e-3 || from == to && moved > 1e-4 || from != to && moved < 0.1 {
						t.Errorf("%s, %d bits, sample %d decoded as %d begins at %v instead of %v; largest change %v", treatment, g.Mantissa, from, to, begins, want, moved)
					}
				}
			}
			if text := e.Describe(); !strings.Contains(text, "values begin at 0.5") {
				t.Errorf("the table of features does not say where tails begin:\n%s", text)
			}
		}
	}
	// what splines put below the start is mirrored: it does not pile up there
	tabs := samples(0, grid{})
	e, z, out := fit("smear", grid{}, tabs), make([]float32, n), matrix(1, n)
	for i := range z {
		z[i] = -3 + 3*float32(i)/n
	}
	if err := e.Decode(z, tabs[0], 0, n, Data, nil, out); err != nil {
		t.Fatal(err)
	}
	begin, low, at := positive(x[Data]), 0, 0
	for _, y := range out[0] {
		if y > 0 && y < begin+0.2 {
			low++
		}
		if y == begin {
			at++
		}
	}
	if low < 100 || at > 1 {
		t.Errorf("of %d values near the start %d lie on it", low, at)
	}
	physical, slopes := matrix(1, n), matrix(1, n)
	if err := e.DecodeGrad(z, tabs[0], 0, n, Data, physical, slopes); err != nil {
		t.Fatal(err)
	}
	mirrored := 0
	for i := 1; i < n; i++ {
		a, b, slope := physical[0][i-1], physical[0][i], (slopes[0][i-1]+slopes[0][i])/2
		if a < begin || a > begin+5e-3 || slopes[0][i-1] > 0 || slopes[0][i] > 0 {
			continue
		}
		mirrored++
		if want := (b - a) / (float64(z[i]) - float64(z[i-1])); math.Abs(slope-want) > 0.02*math.Abs(want) {
			t.Errorf("slope at %v is %v, differences give %v", z[i], slope, want)
		}
	}
	if mirrored < 3 {
		t.Errorf("%d values below the start were looked at", mirrored)
	}
	if e := fit("smear", grid{}, samples(1, grid{})); e.Features[0].Shift != [2]float64{} {
		t.Errorf("tails that rise slowly are shifted by %v", e.Features[0].Shift)
	}
}

func TestSlopes(t *testing.T) {
	tabs := toyTables(t, 3000)
	for _, treatment := range []string{"smear", "hurdle"} {
		e := fitToy(t, tabs, func(f []FeatureSpec) { f[1].AtomTreatment = treatment })
		n, d := 300, e.Dim()
		keys := rowKeys(tabs[0].Len())
		sum := make([]float64, n)
		if err := e.LogJac(tabs[0], 0, n, keys, Simulation, sum); err != nil {
			t.Fatal(err)
		}
		want := make([]float64, n)
		z := make([]float32, n*d)
		if err := e.Encode(tabs[0], 0, n, keys, Simulation, z, nil); err != nil {
			t.Fatal(err)
		}
		x, dx, up, down := matrix(d, n), matrix(d, n), matrix(d, n), matrix(d, n)
		if err := e.DecodeGrad(z, tabs[0], 0, n, Simulation, x, dx); err != nil {
			t.Fatal(err)
		}
		const h = 1.0 / 1024
		zu, zd := make([]float32, n*d), make([]float32, n*d)
		for i := range z {
			zu[i], zd[i] = z[i]+h, z[i]-h
		}
		if err := e.DecodeGrad(zu, tabs[0], 0, n, Simulation, up, nil); err != nil {
			t.Fatal(err)
		}
		if err := e.DecodeGrad(zd, tabs[0], 0, n, Simulation, down, nil); err != nil {
			t.Fatal(err)
		}
		cols := featureColumns(t, e, tabs[0])
		bad := 0
		for j := range d {
			for i := range n {
				isAtom := j == 1 && cols[1][i] == 0
				kept := cols[j][i] == -999
				if isAtom || kept {
					if isAtom && dx[j][i] != 0 {
						t.Fatal("an atom moves")
					}
					continue
				}
				want[i] -= math.Log(dx[j][i])
				width := float64(zu[i*d+j]) - float64(zd[i*d+j])
				if diff := (up[j][i] - down[j][i]) / width; math.Abs(diff-dx[j][i]) > 0.02*math.Abs(dx[j][i]) {
					bad++
				}
			}
		}
		if bad > n*d/50 {
			t.Errorf("%s: %d of %d slopes disagree with differences", treatment, bad, n*d)
		}
		for i := range sum {
			if math.Abs(sum[i]-want[i]) > 1e-4*max(1, math.Abs(want[i])) {
				t.Fatalf("%s, row %d: log Jacobian %v, from decoding %v", treatment, i, sum[i], want[i])
			}
		}
	}
}

// The hurdle alone, with a perfect map of ranks, moves the share of zeros of the simulation to that of the data.
func TestHurdleMovesTheAtomsShare(t *testing.T) {
	tabs := toyTables(t, 20000)
	e := fitToy(t, tabs, func(f []FeatureSpec) { f[1].AtomTreatment = "hurdle" })
	n, d := tabs[0].Len(), e.Dim()
	z, out := make([]float32, n*d), matrix(d, n)
	if err := e.Encode(tabs[0], 0, n, rowKeys(n), Simulation, z, nil); err != nil {
		t.Fatal(err)
	}
	if err := e.Decode(z, tabs[0], 0, n, Data, nil, out); err != nil {
		t.Fatal(err)
	}
	zeros := func(x []float64) (p float64) {
		for _, v := range x {
			if v == 0 {
				p += 1 / float64(len(x))
			}
		}
		return p
	}
	before, after, want := zeros(featureColumns(t, e, tabs[0])[1]), zeros(out[1]), zeros(featureColumns(t, e, tabs[1])[1])
	if math.Abs(after-want) > 0.012 || want-before < 0.05 {
		t.Errorf("zeros: %.4f before, %.4f after, %.4f in data", before, after, want)
	}
	for i, x := range featureColumns(t, e, tabs[0])[1] {
		if x == 0 && out[1][i] != 0 {
			t.Fatal("a zero left the atom although data have more zeros")
		}
	}
}

func TestSentinelsAsAtoms(t *testing.T) {
	tabs := toyTables(t, 3000)
	e := fitToy(t, tabs, func(f []FeatureSpec) { f[5].SentinelAsAtom = true })
	n, d := tabs[0].Len(), e.Dim()
	z, status, out := make([]float32, n*d), make([]uint8, n), matrix(d, n)
	if err := e.Encode(tabs[0], 0, n, rowKeys(n), Simulation, z, status); err != nil {
		t.Fatal(err)
	}
	if err := e.Decode(z, tabs[0], 0, n, Data, status, out); err != nil {
		t.Fatal(err)
	}
	for i, x := range featureColumns(t, e, tabs[0])[5] {
		if status[i] != 0 || (out[5][i] == -999) != (x == -999) {
			t.Fatalf("row %d: %v comes back as %v, status %d", i, x, out[5][i], status[i])
		}
	}
}

func TestConditionsOutsideAreMarked(t *testing.T) {
	tabs := toyTables(t, 500)
	e := fitToy(t, tabs, nil)
	odd := tabs[0].Take([]int{0, 1, 2, 3})
	pt, err := odd.Col("pt")
	if err != nil {
		t.Fatal(err)
	}
	pt[1], pt[2] = 1e5, math.NaN()
	c, status := make([]float32, 4*e.CondDim()), make([]uint8, 4)
	if err := e.EncodeConditions(odd, 0, 4, c, status); err != nil {
		t.Fatal(err)
	}
	if status[0] != 0 || status[1] != StatusOutside || status[2] != StatusOutside || status[3] != 0 {
		t.Errorf("status %v", status)
	}
	for _, v := range c {
		if v-v != 0 {
			t.Error("a condition is not finite")
		}
	}
	r9, err := odd.Col("r9")
	if err != nil {
		t.Fatal(err)
	}
	r9[0], r9[3] = 1.2, math.Inf(1)
	z := make([]float32, 4*e.Dim())
	status = make([]uint8, 4)
	if err := e.Encode(odd, 0, 4, rowKeys(4), Simulation, z, status); err != nil {
		t.Fatal(err)
	}
	if status[0] != StatusOutside || status[3] != StatusOutside || z[0] != 0 || z[3*e.Dim()] != 0 {
		t.Errorf("status %v, z %v", status, z)
	}
}

// What can't be used is named, with the column, a count and a way out.
func TestUnusableColumns(t *testing.T) {
	for name, c := range map[string]struct {
		change func(f []FeatureSpec, c []ConditionSpec, tab *physics.Table, w []float64)
		want   string
	}{
		"missing": {func(f []FeatureSpec, _ []ConditionSpec, _ *physics.Table, _ []float64) { f[0].Name = "r8" }, `"r8"`},
		"NaN": {func(_ []FeatureSpec, _ []ConditionSpec, tab *physics.Table, _ []float64) {
			set(tab, "plain", 3, math.NaN())
		}, `feature "plain": 1 of 300 values in simulation are not finite`},
		"NaN condition": {func(_ []FeatureSpec, _ []ConditionSpec, tab *physics.Table, _ []float64) {
			set(tab, "pt", 3, math.Inf(1))
		}, `condition "pt": 1 of 300 values in simulation are not finite`},
		"out of bounds":   {func(f []FeatureSpec, _ []ConditionSpec, _ *physics.Table, _ []float64) { f[0].Bounds[1] = 0.9 }, `feature "r9"`},
		"condition bound": {func(_ []FeatureSpec, c []ConditionSpec, _ *physics.Table, _ []float64) { c[1].Bounds[1] = 2 }, `condition "eta"`},
		"no integer":      {func(f []FeatureSpec, _ []ConditionSpec, _ *physics.Table, _ []float64) { f[6].Integer = true }, "no integer"},
		"below the atom":  {func(f []FeatureSpec, _ []ConditionSpec, _ *physics.Table, _ []float64) { f[1].Atom = ptr(0.5) }, "below the atom"},
		"negative weight": {func(_ []FeatureSpec, _ []ConditionSpec, _ *physics.Table, w []float64) { w[2] = -1 }, "weight 2 is -1"},
		"no weight":       {func(_ []FeatureSpec, _ []ConditionSpec, _ *physics.Table, w []float64) { clear(w) }, "all weights are 0"},
		"constant":        {func(f []FeatureSpec, _ []ConditionSpec, _ *physics.Table, _ []float64) { f[6].Name = "same" }, `feature "same": it is constant`},
		"constant condition": {func(_ []FeatureSpec, c []ConditionSpec, _ *physics.Table, _ []float64) {
			c[0] = ConditionSpec{Name: "same"}
		}, `condition "same": it is constant`},
		"logit": {func(f []FeatureSpec, _ []ConditionSpec, _ *physics.Table, _ []float64) { f[6].Transform = "logit" }, "needs bounds"},
	} {
		tabs := toyTables(t, 300)
		for _, tab := range tabs {
			same := make([]float64, 300)
			if err := tab.Add(physics.Column{Name: "same", F: same}); err != nil {
				t.Fatal(err)
			}
		}
		f, cond := toySpecs()
		w := make([]float64, 300)
		for i := range w {
			w[i] = 1
		}
		c.change(f, cond, tabs[0], w)
		_, err := FitEncoder(f, cond, tabs[:], [][]float64{w, nil}, 1)
		if !errors.Is(err, ErrInput) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v\nwant %s", name, err, c.want)
		}
	}
	if _, err := FitEncoder(nil, nil, []*physics.Table{physics.NewTable(0), physics.NewTable(0)}, [][]float64{nil, nil}, 1); !errors.Is(err, ErrInput) {
		t.Errorf("no rows: %v", err)
	}
}

func set(tab *physics.Table, name string, row int, v float64) {
	c, err := tab.Col(name)
	if err != nil {
		panic(err)
	}
	c[row] = v
}

func TestFloatsSurviveJSON(t *testing.T) {
	f := Floats{-999, math.NaN(), math.Inf(1), math.Inf(-1), 0.1}
	text, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	var back Floats
	if err := json.Unmarshal(text, &back); err != nil || len(back) != 5 || !back.holds(math.NaN()) || back[2] != f[2] || back[3] != f[3] || back[4] != 0.1 {
		t.Errorf("%v (%v)", back, err)
	}
}

func TestSuspiciousColumnsAreNamed(t *testing.T) {
	tabs := toyTables(t, 2000)
	e := fitToy(t, tabs, func(f []FeatureSpec) { f[1] = FeatureSpec{Name: "iso", Transform: "none"} })
	if text := e.Describe(); !strings.Contains(text, "iso: ") || !strings.Contains(text, "lies exactly at 0 (declare an atom") {
		t.Errorf("described as\n%s", text)
	}
}

// A tampered encoder is refused or works; it never panics.
func FuzzEncoder(f *testing.F) {
	tabs := toyTables(f, 200)
	text, err := json.Marshal(fitToy(f, tabs, nil))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"features":[{"spec":{"name":"pt","gap":[1]},"tail":[],"final":{"mean":0,"sd":1}}]}`))
	f.Add([]byte(`{"features":[{"spec":{"name":"pt"},"atoms":[0,"NaN"],"tail":[{"kind":"log","params":{"min":1e308,"s":1e308}}],"final":{"mean":-1e308,"sd":1e-308}}],"conditions":[{"spec":{"name":"pt"},"lo":0,"hi":1}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		e := new(Encoder)
		if len(b) > 1<<16 || json.Unmarshal(b, e) != nil {
			return
		}
		n := 5
		z, c, status, out := make([]float32, n*e.Dim()), make([]float32, n*e.CondDim()), make([]uint8, n), matrix(e.Dim(), n)
		if e.Encode(tabs[0], 0, n, rowKeys(200), Data, z, status) != nil || e.EncodeConditions(tabs[0], 0, n, c, status) != nil {
			return
		}
		if err := e.Decode(z, tabs[0], 0, n, Data, status, out); err != nil {
			t.Error(err)
		}
	})
}

// What a flow leaves between an atom and the tail above it is the mirror image of the tail's start; atoms never lie there.
func TestStripBelongsToTheTail(t *testing.T) {
	e := fitToy(t, toyTables(t, 10000), nil)
	f := &e.Features[1]
	at := func(u float64) float64 { z, _ := f.Final.forward(u); return z }
	for i := 1; i < 100; i++ {
		d := strip * float64(i) / 100
		got, slope := f.decode(at(-band-d), 0, Data)
		want, up := f.decode(at(-band+d), 0, Data)
		if math.Abs(got-want) > 1e-9 || math.Abs(slope+up) > 1e-9*up {
			t.Fatalf("%v below the tail: %v with slope %v, mirrored %v with slope %v", d, got, slope, want, up)
		}
	}
	key := rng.NewKey(1, "atoms")
	for i := range uint64(100000) {
		s := key.At(i)
		if x, _ := f.decode(float64(float32(f.encodeAtom(0, 0, &s))), 0, Data); x != f.Atoms[0] {
			t.Fatalf("an atom comes back as %v", x)
		}
	}
}
