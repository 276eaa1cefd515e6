package samples

import (
	"context"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"testing"

	"hepmorph/internal/atomicfile"
	"hepmorph/physics/rootio"
)

// read returns all rows of a tree as one batch.
func read(t *testing.T, path, tree string) (*rootio.Chain, map[string]*rootio.Values) {
	t.Helper()
	c, err := rootio.Open(context.Background(), []string{path}, tree, rootio.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	var names []string
	for _, b := range c.Branches() {
		names = append(names, b.Name)
	}
	cols := map[string]*rootio.Values{}
	err = c.Read(context.Background(), names, 0, -1, func(b *rootio.Batch) error {
		for name, v := range b.Cols {
			if cols[name] == nil {
				cols[name] = rootio.NewValues(v.Kind, b.N)
			}
			if err := cols[name].Append(v); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return c, cols
}

func TestFlatFileHoldsTheTable(t *testing.T) {
	dir := t.TempDir()
	s := DiphotonSettings{Events: 20000, Seed: 9, Truth: true} // more than a block
	var last, total int64
	s.Progress = func(done, all int64) { last, total = done, all }
	paths, err := WriteDiphoton(context.Background(), filepath.Join(dir, "new"), s)
	if err != nil {
		t.Fatal(err)
	}
	if last != 3*s.Events || total != last {
		t.Errorf("progress ended at %d of %d", last, total)
	}
	for k, w := range []Which{Simulation, Data, Truth} {
		if want := filepath.Join(dir, "new", "diphoton-"+w.String()+".root"); paths[k] != want {
			t.Fatalf("wrote %q, want %q", paths[k], want)
		}
		c, cols := read(t, paths[k], "diphoton")
		if c.Entries() != s.Events {
			t.Fatalf("%d entries", c.Entries())
		}
		tab := table(t, s, w)
		for _, column := range tab.Columns {
			v := cols[column.Name]
			if v == nil {
				t.Fatalf("%v: no branch %q", w, column.Name)
			}
			for i := range tab.Len() {
				if column.U != nil && v.U[i] != column.U[i] || column.F != nil && v.Float(i) != column.F[i] {
					t.Fatalf("%v: %s[%d] is %g in the file, %g in the table", w, column.Name, i, v.Float(i), column.F[i])
				}
			}
		}
		first := uint64(1)
		if w == Data {
			first = 100000001
			if cols["xsec"] != nil || cols["gen_process"] != nil {
				t.Error("data with branches of a generator")
			}
		} else if sum := mean(cols["weight"].F64, nil) * float64(s.Events); math.Abs(cols["sum_of_weights"].F64[0]/sum-1) > 0.1 {
			t.Errorf("sum_of_weights %g, weights sum to %g", cols["sum_of_weights"].F64[0], sum)
		}
		if cols["eventNumber"].U[0] != first {
			t.Errorf("%v begins at event %d", w, cols["eventNumber"].U[0])
		}
	}
}

func TestNanoAODFile(t *testing.T) {
	dir := t.TempDir()
	s := DiphotonSettings{Events: 4000, Seed: 9, Layout: NanoAOD, Truth: true}
	paths, err := WriteDiphoton(context.Background(), dir, s)
	if err != nil {
		t.Fatal(err)
	}
	for k, w := range []Which{Simulation, Data, Truth} {
		ev := testEvents(s, w, 0, true)
		c, cols := read(t, paths[k], "Events")
		if b, err := c.Branch("Photon_r9"); err != nil || b.Counter != "nPhoton" || b.Kind.Form != rootio.Counted {
			t.Errorf("Photon_r9 is %+v, %v", b, err)
		}
		counts := map[int]int{}
		sum := 0.0
		for i := range ev {
			e := &ev[i]
			counts[e.n]++
			sum += e.gen
			if cols["event"].U[i] != e.number || cols["nPhoton"].U[i] != uint64(e.n) {
				t.Fatalf("entry %d: event %d with %d photons", i, cols["event"].U[i], cols["nPhoton"].U[i])
			}
			lo, hi := cols["Photon_pt"].Row(i)
			if hi-lo != e.n {
				t.Fatalf("entry %d: %d values for %d photons", i, hi-lo, e.n)
			}
			for k := range e.n {
				if got, want := cols["Photon_pt"].F32[lo+k], Truncate(e.ph[k].pt, 12); got != want {
					t.Fatalf("entry %d: pt[%d] = %g, want %g", i, k, got, want)
				}
				if got, want := cols["Photon_pfChargedIso"].F32[lo+k], Truncate(e.ph[k].chIso, 10); got != want {
					t.Fatalf("entry %d: pfChargedIso[%d] = %g, want %g", i, k, got, want)
				}
				if k > 0 && cols["Photon_pt"].F32[lo+k] > cols["Photon_pt"].F32[lo+k-1] {
					t.Fatalf("entry %d: photons not sorted by pt", i)
				}
			}
		}
		if counts[3] == 0 || counts[1] == 0 || float64(counts[2]) < 0.9*float64(len(ev)) {
			t.Errorf("%v: events by number of photons: %v", w, counts)
		}
		for name, bits := range map[string]int{"Photon_r9": 10, "Photon_sieie": 10, "Photon_eta": 12, "fixedGridRhoFastjetAll": 12} {
			for _, x := range cols[name].F32 {
				if math.Float32bits(x)&(1<<(23-bits)-1) != 0 {
					t.Fatalf("%v: %s = %g has more than %d mantissa bits", w, name, x, bits)
				}
			}
		}
		_, runs := read(t, paths[k], "Runs")
		if w == Data {
			if cols["genWeight"] != nil || runs["genEventSumw"] != nil || runs["run"].U[0] != cols["run"].U[0] {
				t.Error("data with weights of a generator, or another run")
			}
		} else if runs["genEventCount"].I[0] != s.Events || math.Abs(runs["genEventSumw"].F64[0]-sum) > 1e-9*sum {
			t.Errorf("Runs: %d events, sum of weights %g, want %d, %g", runs["genEventCount"].I[0], runs["genEventSumw"].F64[0], s.Events, sum)
		}
	}
}

func TestATLASFile(t *testing.T) {
	dir := t.TempDir()
	s := DiphotonSettings{Events: 4000, Seed: 9, Layout: ATLAS2025, Processes: []Process{Continuum, GammaJet}}
	paths, err := WriteDiphoton(context.Background(), dir, s)
	if err != nil {
		t.Fatal(err)
	}
	for k, name := range []string{"simulation-yy", "simulation-yj", "data"} {
		if filepath.Base(paths[k]) != "diphoton-"+name+".root" {
			t.Fatalf("wrote %q", paths[k])
		}
		w, part := Simulation, k
		if k == 2 {
			w, part = Data, 0
		}
		ev := testEvents(s, w, part, true)
		c, cols := read(t, paths[k], "analysis")
		for name, want := range map[string]string{"photon_pt": "vector<float32>", "photon_isTightID": "vector<bool>", "photon_n": "int32", "eventNumber": "uint64"} {
			if b, err := c.Branch(name); err != nil || b.Kind.String() != want {
				t.Errorf("%s is %v, want %s (%v)", name, b.Kind, want, err)
			}
		}
		sum, negative, sentinels := 0.0, 0, 0
		for i := range ev {
			lo, hi := cols["photon_e"].Row(i)
			if hi-lo != ev[i].n || int(cols["photon_n"].I[i]) != ev[i].n {
				t.Fatalf("entry %d: %d photons, want %d", i, hi-lo, ev[i].n)
			}
			for j := lo; j < hi; j++ {
				e := cols["photon_pt"].Float(j) * math.Cosh(cols["photon_eta"].Float(j))
				if math.Abs(cols["photon_e"].Float(j)-e) > 1e-5*e {
					t.Fatalf("entry %d: energy %g, want %g", i, cols["photon_e"].Float(j), e)
				}
				if x := cols["photon_topoetcone40"].F32[j]; x == sentinelValue {
					sentinels++
				} else if x < 0 {
					negative++
				}
			}
			sum += ev[i].gen
		}
		if negative == 0 || sentinels == 0 {
			t.Errorf("%s: topoetcone40 has %d negative values and %d sentinels", name, negative, sentinels)
		}
		if w == Data {
			continue
		}
		x, err := s.CrossSection(s.Processes[part])
		if err != nil {
			t.Fatal(err)
		}
		if got := cols["sum_of_weights"].F64[0]; math.Abs(got-sum) > 1e-9*math.Abs(sum) {
			t.Errorf("%s: sum_of_weights %g, want %g", name, got, sum)
		}
		if got := cols["xsec"].F64[0] * cols["kfac"].F64[0] * cols["filteff"].F64[0]; math.Abs(got-x.Effective()) > 1e-12*got {
			t.Errorf("%s: cross section %g pb, want %g", name, got, x.Effective())
		}
	}
}

func TestOneflowFile(t *testing.T) {
	paths, err := WriteOneflow(context.Background(), t.TempDir(), OneflowSettings{Events: 5000, Seed: 3})
	if err != nil {
		t.Fatal(err)
	}
	for k, w := range []Which{Simulation, Data} {
		if want := "oneflow-" + w.String() + ".root"; filepath.Base(paths[k]) != want {
			t.Fatalf("wrote %q, want %q", paths[k], want)
		}
		c, cols := read(t, paths[k], "oneflow")
		tab := oneflowTable(t, OneflowSettings{Events: 5000, Seed: 3}, w)
		if len(c.Branches()) != len(tab.Columns) {
			t.Fatalf("%d branches", len(c.Branches()))
		}
		for _, column := range tab.Columns {
			for i, x := range column.F {
				if float64(cols[column.Name].F32[i]) != x {
					t.Fatalf("%s[%d] = %g, want %g", column.Name, i, cols[column.Name].F32[i], x)
				}
			}
		}
	}
}

func TestFilesAreNotOverwrittenUnasked(t *testing.T) {
	dir := t.TempDir()
	s := DiphotonSettings{Events: 200}
	if err := os.WriteFile(filepath.Join(dir, "diphoton-data.root"), []byte("mine"), 0o666); err != nil {
		t.Fatal(err)
	}
	paths, err := WriteDiphoton(context.Background(), dir, s)
	if !errors.Is(err, atomicfile.ErrWrite) || !errors.Is(err, fs.ErrExist) || len(paths) != 0 {
		t.Errorf("wrote %v, error %v", paths, err)
	}
	if left := names(t, dir); len(left) != 1 {
		t.Errorf("the folder holds %v", left)
	}
	s.Force = true
	if paths, err = WriteDiphoton(context.Background(), dir, s); err != nil || len(paths) != 2 {
		t.Errorf("with force: wrote %v, error %v", paths, err)
	}
	if left := names(t, dir); len(left) != 2 {
		t.Errorf("the folder holds %v", left)
	}
}

func names(t *testing.T, dir string) (out []string) {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		out = append(out, e.Name())
	}
	return out
}

func TestStoppedInTheMiddleNothingIsLeft(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	s := DiphotonSettings{Events: 3 * blockRows, Progress: func(done, _ int64) { cancel() }}
	paths, err := WriteDiphoton(ctx, dir, s)
	if !errors.Is(err, context.Canceled) || len(paths) != 0 {
		t.Errorf("wrote %v, error %v", paths, err)
	}
	if left := names(t, dir); len(left) != 0 {
		t.Errorf("the folder holds %v", left)
	}
}

func TestFolderThatCannotBeMade(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := WriteOneflow(context.Background(), filepath.Join(file, "dir"), OneflowSettings{Events: 100}); !errors.Is(err, atomicfile.ErrWrite) {
		t.Errorf("error %v", err)
	}
}

func TestTruncate(t *testing.T) {
	for _, c := range []struct {
		x    float64
		bits int
		want float64
	}{
		{0, 10, 0}, {1, 10, 1}, {1 + 1.0/1024, 10, 1 + 1.0/1024}, {1 + 0.4/1024, 10, 1}, {1 + 0.5/1024, 10, 1 + 1.0/1024},
		{-3.1, 2, -3}, {1.9999, 3, 2}, {math.Inf(1), 10, math.Inf(1)},
	} {
		if got := Truncate(c.x, c.bits); float64(got) != c.want {
			t.Errorf("Truncate(%g, %d) = %g, want %g", c.x, c.bits, got, c.want)
		}
	}
	if got := Truncate(math.NaN(), 10); got == got {
		t.Errorf("Truncate(NaN) = %g", got)
	}
	for x := 0.01; x < 300; x *= 1.37 {
		if r := Truncate(x, 10); Truncate(float64(r), 10) != r || math.Abs(float64(r)/x-1) > 1.0/2048+1e-7 {
			t.Errorf("Truncate(%g, 10) = %g", x, r)
		}
	}
}
