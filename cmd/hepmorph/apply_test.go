package main

import (
	"context"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"hepmorph/physics"
	"hepmorph/physics/rootio"
)

// A layout is a training on one of the shapes that ntuples have.
type layout struct {
	name, samples, tree, config string
}

var layouts = []layout{
	// plain columns, one of them an integer, features that are computed, and definitions
	{"flat", "flat", "diphoton", `id: [eventNumber]
define: {ratio: lead_pt/sublead_pt}
select: [lead_pt > 40, "sublead_pt > 25"]
split: {train: "eventNumber % 10 < 7", validation: 0.2}
features:
  r9: {expr: lead_r9}
  pt1: {expr: lead_pt}
  iso: {expr: lead_pfChargedIso, atom: 0}
  logsieie: {expr: log(sublead_sieie)}
  npv: {integer: true}
conditions: {eta1: {expr: lead_eta}, twice: {expr: 2*ratio}}
observables:
  m: {expr: "pair_mass(lead_pt, lead_eta, lead_phi, sublead_pt, sublead_eta, sublead_phi)", unit: GeV}
`},
	// counted arrays, first and second photon
	{"nano", "nanoaod", "Events", `id: [run, luminosityBlock, event]
define: {m: "diphoton_mass(Photon_pt, Photon_eta, Photon_phi)"}
select: [nPhoton >= 2, "Photon_pt[0] > 35 && Photon_pt[1] > 25", m > 80]
split: {train: "event % 10 < 7", validation: 0.2}
features:
  l_r9: {expr: "Photon_r9[0]"}
  s_r9: {expr: "Photon_r9[1]"}
  l_iso: {expr: "Photon_pfChargedIso[0]", atom: 0}
  l_pt: {expr: "Photon_pt[0]"}
  dr9: {expr: "Photon_r9[0] + Photon_sieie[0]"}
conditions: {eta: {expr: "Photon_eta[0]"}}
observables: {m: {unit: GeV, range: [80, 200]}}
`},
	// a row is a photon
	{"nano photons", "nanoaod", "Events", `id: [run, luminosityBlock, event]
row: photon
select: [Photon_pt > 25, abs(Photon_eta) < 2.5]
split: {train: "event % 10 < 7", validation: 0.2}
features:
  r9: {expr: Photon_r9}
  iso: {expr: Photon_pfChargedIso, atom: 0}
  rel: {expr: Photon_energyErr / Photon_pt}
conditions: {eta: {expr: Photon_eta}, rho: {expr: fixedGridRhoFastjetAll}}
`},
	// std::vector
	{"atlas", "atlas-2025", "analysis", `id: [runNumber, eventNumber]
select: [photon_n >= 2, "photon_pt[0] > 35 && photon_pt[1] > 25", "photon_topoetcone40[0] > -900"]
split: {train: "eventNumber % 10 < 7", validation: 0.2}
features:
  pt: {expr: "photon_pt[0]"}
  cone: {expr: "photon_ptcone20[0]", atom: 0}
  topo: {expr: "photon_topoetcone40[0]"}
conditions: {eta: {expr: "photon_eta[0]"}}
`},
	{"atlas photons", "atlas-2025", "analysis", `id: [runNumber, eventNumber]
row: photon
select: [photon_pt > 25, photon_topoetcone40 > -900]
split: {train: "eventNumber % 10 < 7", validation: 0.2}
features:
  cone: {expr: photon_ptcone20, atom: 0}
  topo: {expr: photon_topoetcone40}
conditions: {eta: {expr: photon_eta}}
`},
}

func (l layout) dir(t testing.TB) string { return layoutSamples(t, l.samples) }

func (l layout) weight() string {
	return map[string]string{"flat": "weight", "nanoaod": "genWeight*puWeight", "atlas-2025": "mcWeight*ScaleFactor_PILEUP"}[l.samples]
}

func (l layout) input(t testing.TB) string {
	return filepath.Join(l.dir(t), "diphoton-simulation.root")
}

// model trains the layout's morph, a little.
func (l layout) model(t testing.TB) string {
	s := l.dir(t)
	return filepath.Join(fixture(t, "model-"+l.name, func(dir string) {
		conf := filepath.Join(t.TempDir(), "run.yaml")
		write(t, conf, fmt.Sprintf("seed: 4\ninputs:\n  simulation: [{files: [%[1]s/diphoton-simulation.root], tree: %[2]s, weight: %[3]s}]\n  data: [{files: [%[1]s/diphoton-data.root], tree: %[2]s}]\n%[4]s"+
			"reweight: {method: histogram, bins: 5}\nflow: {kind: nsf, transforms: 2, hidden: [16], bins: 4}\ntrain: {steps: 30, batch: 128, evaluations: 2}\n", s, l.tree, l.weight(), l.config))
		mustRun(t, "morph", "train", "-q", "-c", conf, "--out", dir)
	}), "model.hmm")
}

// same compares branches bit by bit, NaN included.
func same(a, b *rootio.Values) bool {
	if a == nil || b == nil || a.Kind != b.Kind || a.Size() != b.Size() || !slices.Equal(a.Off, b.Off) {
		return false
	}
	for i := range a.Size() {
		if a.Kind.Elem.Numeric() && math.Float64bits(a.Float(i)) != math.Float64bits(b.Float(i)) {
			return false
		}
	}
	return slices.Equal(a.S, b.S) && slices.Equal(a.U, b.U) && slices.Equal(a.I, b.I)
}

// apply runs morph apply and reads what it wrote.
func (l layout) apply(t testing.TB, args ...string) *tree {
	t.Helper()
	out := filepath.Join(t.TempDir(), "out.root")
	mustRun(t, append([]string{"morph", "apply", "-q", "-m", l.model(t), "-o", out}, args...)...)
	return readTree(t, l.tree, out)
}

func TestApplyKeepsEverything(t *testing.T) {
	for _, l := range layouts {
		t.Run(l.name, func(t *testing.T) {
			in, out := readTree(t, l.tree, l.input(t)), l.apply(t, l.input(t))
			if in.n != out.n {
				t.Fatalf("%d entries of %d", out.n, in.n)
			}
			for _, b := range in.branches {
				if !same(in.cols[b.Name], out.cols[b.Name]) {
					t.Errorf("branch %s differs from the input's", b.Name)
				}
			}
			for _, b := range out.branches {
				if !b.Kind.Elem.Numeric() {
					continue
				}
				for i, x := range out.floats(t, b.Name) {
					if x-x != 0 {
						t.Fatalf("branch %s: value %d is %v", b.Name, i, x)
					}
				}
			}
		})
	}
}

// selected says which entries an expression selects, by an evaluation that does not know apply.
func (l layout) selected(t testing.TB, tr *tree, expr string) []bool {
	t.Helper()
	kinds := map[string]rootio.Kind{}
	b := &rootio.Batch{N: tr.n, Cols: tr.cols}
	for _, br := range tr.branches {
		kinds[br.Name] = br.Kind
	}
	e, err := physics.Compile(expr, kinds)
	if err != nil {
		t.Fatal(err)
	}
	out := make([]bool, tr.n)
	for i := range out {
		if v, err := e.Eval(b, []int{i}); err == nil {
			out[i] = v[0] != 0
		}
	}
	return out
}

func TestApplyFlat(t *testing.T) {
	l := layouts[0]
	out := l.apply(t, l.input(t))
	var names []string
	for _, b := range out.branches {
		if strings.HasSuffix(b.Name, "_morphed") || strings.HasPrefix(b.Name, "morph_") {
			names = append(names, b.Name+" "+b.Kind.String())
		}
	}
	want := []string{"lead_r9_morphed float32", "lead_pt_morphed float32", "lead_pfChargedIso_morphed float32", "logsieie_morphed float32", "npv_morphed int32", "m_morphed float64",
		"morph_status uint8", "morph_kinweight float64", "morph_weight float64"}
	if !slices.Equal(names, want) {
		t.Errorf("new branches %v, want %v", names, want)
	}
	sel := l.selected(t, out, "lead_pt > 40 && sublead_pt > 25")
	status, kin, weight, own := out.floats(t, "morph_status"), out.floats(t, "morph_kinweight"), out.floats(t, "morph_weight"), out.floats(t, "weight")
	r9, r9m, npv, npvm := out.floats(t, "lead_r9"), out.floats(t, "lead_r9_morphed"), out.floats(t, "npv"), out.floats(t, "npv_morphed")
	sieie, logm, m, mm := out.floats(t, "sublead_sieie"), out.floats(t, "logsieie_morphed"), out.floats(t, "m_gg"), out.floats(t, "m_morphed")
	get := func(name string, i int) float64 { return out.cols[name].Float(i) }
	moved, negative, beyond := 0, 0, 0
	for i := range out.n {
		if status[i] != 0 != sel[i] || status[i] > 2 {
			t.Fatalf("entry %d: status %v, selected %v", i, status[i], sel[i])
		}
		mass := physics.Mass(get("lead_pt_morphed", i), get("lead_eta", i), get("lead_phi", i), get("sublead_pt", i), get("sublead_eta", i), get("sublead_phi", i))
		if math.Abs(mass-mm[i]) > 1e-5*mass {
			t.Fatalf("entry %d: m_morphed %v, of the morphed momenta %v", i, mm[i], mass)
		}
		if math.Abs(weight[i]-own[i]*kin[i]) > 1e-12*math.Abs(own[i]) {
			t.Fatalf("entry %d: morph_weight %v is not weight %v times morph_kinweight %v", i, weight[i], own[i], kin[i])
		}
		if weight[i] < 0 {
			negative++
		}
		if npvm[i] != math.Trunc(npvm[i]) {
			t.Fatalf("entry %d: npv_morphed %v", i, npvm[i])
		}
		if status[i] == 2 {
			beyond++
		}
		if status[i] == 1 {
			if r9[i] != r9m[i] {
				moved++
			}
			continue
		}
		if r9[i] != r9m[i] || npv[i] != npvm[i] || kin[i] != 1 && !sel[i] || math.Abs(logm[i]-math.Log(sieie[i])) > 1e-6 || math.Abs(mm[i]-m[i]) > 1e-3*m[i] {
			t.Fatalf("entry %d has status %v and does not carry its own values", i, status[i])
		}
	}
	if moved < out.n/2 || negative == 0 || beyond > 10 {
		t.Errorf("of %d entries %d moved, %d have negative weights, %d are outside", out.n, moved, negative, beyond)
	}
}

// TestApplyArrays: of an array only the elements that are features change.
func TestApplyArrays(t *testing.T) {
	l := layouts[1]
	out := l.apply(t, l.input(t))
	for _, b := range out.branches {
		switch b.Name {
		case "Photon_r9_morphed", "Photon_pfChargedIso_morphed", "Photon_pt_morphed":
			if b.Counter != "nPhoton" || b.Kind.String() != "float32[n]" {
				t.Errorf("%s is %v counted by %q", b.Name, b.Kind, b.Counter)
			}
		}
	}
	r9, r9m := out.cols["Photon_r9"], out.cols["Photon_r9_morphed"]
	iso, isom := out.cols["Photon_pfChargedIso"], out.cols["Photon_pfChargedIso_morphed"]
	status := out.floats(t, "morph_status")
	changed := [3]int{}
	for i := range out.n {
		for j := r9.Off[i]; j < r9.Off[i+1]; j++ {
			k := j - r9.Off[i]
			if status[i] != 1 || k > 1 {
				if r9.F32[j] != r9m.F32[j] || iso.F32[j] != isom.F32[j] {
					t.Fatalf("entry %d, photon %d: changed with status %v", i, k, status[i])
				}
			}
			if k == 1 && iso.F32[j] != isom.F32[j] {
				t.Fatalf("entry %d: the isolation of photon 1 is no feature", i)
			}
			if k < 2 && r9.F32[j] != r9m.F32[j] {
				changed[k]++
			}
			if bits := math.Float32bits(r9m.F32[j]); bits&(1<<13-1) != 0 { // 10 bits of mantissa are stored
				t.Fatalf("entry %d: Photon_r9_morphed %v is off the grid of the branch (%#x)", i, r9m.F32[j], bits)
			}
		}
	}
	if changed[0] < out.n/4 || changed[1] < out.n/4 {
		t.Errorf("of %d entries %v moved", out.n, changed)
	}
	runs := readTree(t, "Runs", l.input(t))
	outFile := filepath.Join(t.TempDir(), "out.root")
	mustRun(t, "morph", "apply", "-q", "-m", l.model(t), "-o", outFile, l.input(t))
	copied := readTree(t, "Runs", outFile)
	for name, v := range runs.cols {
		if !same(v, copied.cols[name]) {
			t.Errorf("tree Runs: branch %s differs", name)
		}
	}
}

// TestApplyPhotons: every photon that passes is morphed, on its own.
func TestApplyPhotons(t *testing.T) {
	for _, c := range []struct {
		l                     layout
		pt, eta, feature, rel string
	}{{layouts[2], "Photon_pt", "Photon_eta", "Photon_r9", "rel_morphed"}, {layouts[4], "photon_pt", "photon_eta", "photon_ptcone20", ""}} {
		t.Run(c.l.name, func(t *testing.T) {
			out := c.l.apply(t, c.l.input(t))
			pt, eta := out.floats(t, c.pt), out.floats(t, c.eta)
			x, xm := out.floats(t, c.feature), out.floats(t, c.feature+"_morphed")
			status, kin := out.floats(t, "morph_status"), out.floats(t, "morph_kinweight")
			if len(status) != len(pt) || len(kin) != len(pt) || len(xm) != len(pt) {
				t.Fatalf("%d photons, %d states, %d factors, %d values", len(pt), len(status), len(kin), len(xm))
			}
			moved := 0
			for i := range pt {
				sel := pt[i] > 25
				if c.l.samples == "nanoaod" {
					sel = sel && math.Abs(eta[i]) < 2.5
				} else {
					sel = sel && out.cols["photon_topoetcone40"].Float(i) > -900
				}
				if sel != (status[i] != 0) || status[i] > 2 {
					t.Fatalf("photon %d: status %v, selected %v", i, status[i], sel)
				}
				if !sel && (x[i] != xm[i] || kin[i] != 1) {
					t.Fatalf("photon %d is not selected and changed", i)
				}
				if !sel && c.rel != "" {
					if own := out.cols["Photon_energyErr"].Float(i) / pt[i]; math.Abs(out.cols[c.rel].Float(i)-own) > 1e-6*own {
						t.Fatalf("photon %d is not selected: %s is %v, its own is %v", i, c.rel, out.cols[c.rel].Float(i), own)
					}
				}
				if x[i] != xm[i] {
					moved++
				}
			}
			if moved < len(pt)/5 {
				t.Errorf("%d of %d photons moved", moved, len(pt))
			}
		})
	}
}

func TestApplyFriend(t *testing.T) {
	for _, l := range layouts {
		t.Run(l.name, func(t *testing.T) {
			whole, friend := l.apply(t, l.input(t)), l.apply(t, "--friend", l.input(t))
			in := readTree(t, l.tree, l.input(t))
			id, _, _ := strings.Cut(strings.TrimPrefix(l.config, "id: ["), "]")
			want := strings.Split(id, ", ")
			for _, b := range whole.branches {
				if in.cols[b.Name] == nil {
					want = append(want, b.Name)
				}
				if in.cols[b.Name] == nil && b.Counter != "" && !slices.Contains(want, b.Counter) {
					want = append(want, b.Counter)
				}
			}
			slices.Sort(want)
			if got := slices.Sorted(maps.Keys(friend.cols)); !slices.Equal(got, want) {
				t.Errorf("branches %v, want %v", got, want)
			}
			for name, v := range friend.cols {
				if w := whole.cols[name]; w.Kind.Elem == v.Kind.Elem && !same(w, v) {
					t.Errorf("branch %s differs from that of the whole file", name)
				}
			}
		})
	}
}

func TestApplyShards(t *testing.T) {
	for _, l := range []layout{layouts[0], layouts[1]} {
		t.Run(l.name, func(t *testing.T) {
			dir := t.TempDir()
			whole := l.apply(t, l.input(t))
			var parts []string
			for i := range 3 {
				parts = append(parts, filepath.Join(dir, fmt.Sprintf("part%d.root", i)))
				mustRun(t, "morph", "apply", "-q", "-m", l.model(t), "-o", parts[i], "--shard", fmt.Sprintf("%d/3", i+1), l.input(t))
			}
			joined := readTree(t, l.tree, parts...)
			if joined.n != whole.n {
				t.Fatalf("%d entries, %d in the whole file", joined.n, whole.n)
			}
			for name, v := range whole.cols {
				if !same(v, joined.cols[name]) {
					t.Errorf("branch %s of the shards differs from the whole", name)
				}
			}
			for i, p := range parts {
				list, err := rootio.List(context.Background(), p, rootio.Options{})
				if err != nil {
					t.Fatal(err)
				}
				if runs := slices.ContainsFunc(list, func(o rootio.TreeInfo) bool { return o.Path == "Runs" }); runs != (i == 0 && l.tree == "Events") {
					t.Errorf("shard %d: tree Runs: %v", i+1, runs)
				}
			}
		})
	}
}

// TestApplyMoreShardsThanEntries: every entry is in one shard.
func TestApplyMoreShardsThanEntries(t *testing.T) {
	l := layouts[0]
	in := readTree(t, l.tree, l.input(t))
	for name, v := range in.cols {
		in.cols[name] = v.Take([]int{0, 1})
	}
	small := filepath.Join(t.TempDir(), "small.root")
	writeTree(t, small, l.tree, 2, in.cols)
	n := 0
	for i := range 5 {
		n += l.apply(t, "--shard", fmt.Sprintf("%d/5", i+1), small).n
	}
	if n != 2 {
		t.Errorf("%d entries in 5 shards of 2", n)
	}
}

// TestApplySeveralInputs: into one file in order, into a folder one each; an event gets the same values wherever it stands.
func TestApplySeveralInputs(t *testing.T) {
	l := layouts[0]
	in := readTree(t, l.tree, l.input(t))
	dir := t.TempDir()
	var order []int
	for i := range in.n {
		order = append(order, in.n-1-i)
	}
	half := in.n / 2
	var files []string
	for i, rows := range [][]int{order[:half], order[half:]} {
		cols := map[string]*rootio.Values{}
		for name, v := range in.cols {
			cols[name] = v.Take(rows)
		}
		files = append(files, filepath.Join(dir, fmt.Sprintf("in%d.root", i)))
		writeTree(t, files[i], l.tree, len(rows), cols)
	}
	whole, one := l.apply(t, l.input(t)), l.apply(t, files...)
	r := mustRun(t, "morph", "apply", "-q", "-m", l.model(t), "-o", filepath.Join(dir, "out")+"/", filepath.Join(dir, "in*.root"))
	outs := strings.Fields(r.out)
	if want := []string{filepath.Join(dir, "out", "in0.root"), filepath.Join(dir, "out", "in1.root")}; !slices.Equal(outs, want) {
		t.Fatalf("wrote %v, want %v", outs, want)
	}
	each := readTree(t, l.tree, outs...)
	for name, v := range whole.cols {
		if !same(v.Take(order), one.cols[name]) {
			t.Errorf("branch %s depends on the order of events", name)
		}
		if !same(one.cols[name], each.cols[name]) {
			t.Errorf("branch %s of a folder differs from that of one file", name)
		}
	}
	// The folder is there now: it is one without the slash.
	mustRun(t, "morph", "apply", "-q", "--force", "-m", l.model(t), "-o", filepath.Join(dir, "out"), files[0])
}

// TestApplyStatus: sentinels are kept, and rows outside the trained range keep their values.
func TestApplyStatus(t *testing.T) {
	l := layouts[0]
	in := readTree(t, l.tree, l.input(t))
	write := func(dir string, change func(cols map[string]*rootio.Values)) string {
		cols := map[string]*rootio.Values{}
		for name, v := range in.cols {
			cols[name] = v.Clone()
		}
		set(cols["lead_pt"], 60) // all are selected
		set(cols["sublead_pt"], 40)
		change(cols)
		path := filepath.Join(dir, "in.root")
		writeTree(t, path, l.tree, in.n, cols)
		return path
	}
	dir := t.TempDir()
	conf := configFile(t, l.dir(t), "r9: {expr: lead_r9}", "r9: {expr: lead_r9, sentinels: [-1]}")
	mustRun(t, "morph", "train", "-q", "-c", conf, "--out", dir)
	path := write(dir, func(cols map[string]*rootio.Values) {
		cols["lead_r9"].SetFloat(3, -1)
		cols["lead_eta"].SetFloat(5, 1e6)
		cols["lead_r9"].SetFloat(6, math.NaN())
		cols["lead_eta"].SetFloat(7, math.NaN())
		cols["lead_pfChargedIso"].SetFloat(8, 1e30)
		cols["lead_pt"].SetFloat(9, 1)
	})
	file := filepath.Join(dir, "out.root")
	r := mustRun(t, "morph", "apply", "-m", filepath.Join(dir, "model.hmm"), "-o", file, path)
	out := readTree(t, l.tree, file)
	status := out.floats(t, "morph_status")
	for i, want := range map[int]float64{0: 1, 3: 3, 5: 2, 6: 2, 7: 2, 8: 2, 9: 0} {
		if status[i] != want {
			t.Errorf("entry %d: status %v, want %v", i, status[i], want)
		}
		for _, name := range []string{"lead_r9", "lead_pt", "lead_pfChargedIso"} {
			was, is := out.cols[name].F32[i], out.cols[name+"_morphed"].F32[i]
			keeps := want == 0 || want == 2 || want == 3 && name == "lead_r9"
			if keeps && math.Float32bits(was) != math.Float32bits(is) {
				t.Errorf("entry %d with status %v: %s was %v, is %v", i, want, name, was, is)
			}
			if !keeps && is-is != 0 {
				t.Errorf("entry %d: %s is %v", i, name, is)
			}
		}
	}
	count := map[float64]int{}
	for _, s := range status {
		count[s]++
	}
	if !strings.Contains(r.err, fmt.Sprintf("%d rows morphed, 1 not selected, %d outside the trained range, 1 with a sentinel kept", count[1], count[2])) {
		t.Errorf("it says %q", r.err)
	}
	for i, x := range out.floats(t, "morph_kinweight") {
		if !(x > 0) || math.IsInf(x, 0) {
			t.Errorf("entry %d: morph_kinweight %v", i, x)
		}
	}
}

// TestApplyNothing: files without entries, and without selected ones, give files of the same kind.
func TestApplyNothing(t *testing.T) {
	l := layouts[0]
	in := readTree(t, l.tree, l.input(t))
	dir := t.TempDir()
	for _, n := range []int{0, 10} {
		rows := make([]int, n)
		cols := map[string]*rootio.Values{}
		for name, v := range in.cols {
			cols[name] = v.Take(rows)
		}
		set(cols["lead_pt"], 1)
		path := filepath.Join(dir, fmt.Sprintf("in%d.root", n))
		writeTree(t, path, l.tree, n, cols)
		out := l.apply(t, path)
		if out.n == 0 && n == 0 {
			continue
		}
		if out.n != n || len(out.cols["morph_status"].U) != n || slices.ContainsFunc(out.cols["morph_status"].U, func(s uint64) bool { return s != 0 }) {
			t.Errorf("%d entries: %d written, status %v", n, out.n, out.cols["morph_status"])
		}
	}
}

// TestApplySuffixAndTree: names and the tree can be chosen, so that a morphed file can be morphed again.
func TestApplySuffixAndTree(t *testing.T) {
	l := layouts[0]
	dir := t.TempDir()
	first, second := filepath.Join(dir, "a.root"), filepath.Join(dir, "b.root")
	mustRun(t, "morph", "apply", "-q", "-m", l.model(t), "-o", first, "--friend", "--suffix", "_up", l.input(t))
	tr := readTree(t, l.tree, first)
	if tr.cols["lead_r9_up"] == nil {
		t.Errorf("branches %v", slices.Sorted(maps.Keys(tr.cols)))
	}
	in := readTree(t, l.tree, l.input(t))
	writeTree(t, second, "other", in.n, in.cols)
	out := filepath.Join(dir, "c.root")
	mustRun(t, "morph", "apply", "-q", "-m", l.model(t), "-o", out, "--tree", "other", second)
	if got := readTree(t, "other", out); !reflect.DeepEqual(got.cols["lead_r9_morphed"], l.apply(t, l.input(t)).cols["lead_r9_morphed"]) {
		t.Error("the tree's name changes the result")
	}
}
