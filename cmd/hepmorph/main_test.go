package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"hepmorph/physics/rootio"
)

// asCommand makes the test binary the command itself, for tests that need a process to kill.
const asCommand = "HEPMORPH_TEST_COMMAND"

func TestMain(m *testing.M) {
	rootio.MaybeChild()
	if os.Getenv(asCommand) != "" {
		main()
	}
	dir, err := os.MkdirTemp("", "hepmorph")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	shared.dir = dir
	code := m.Run()
	if err := os.RemoveAll(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// result is what a command left behind.
type result struct {
	code     int
	out, err string
}

func command(ctx context.Context, args ...string) result {
	var out, err bytes.Buffer
	code := run(ctx, args, stdio{strings.NewReader(""), &out, &err})
	return result{code, out.String(), err.String()}
}

// mustRun runs a command that has to succeed.
func mustRun(t testing.TB, args ...string) result {
	t.Helper()
	r := command(context.Background(), args...)
	if r.code != 0 {
		t.Fatalf("hepmorph %s: exit code %d\n%s", strings.Join(args, " "), r.code, r.err)
	}
	return r
}

// shared are samples and models that tests read and do not change; each is made by the first test that asks.
var shared struct {
	dir  string
	mu   sync.Mutex
	made map[string]bool
}

// fixture returns a folder of the shared ones, filled by make.
func fixture(t testing.TB, name string, fill func(dir string)) string {
	t.Helper()
	shared.mu.Lock()
	defer shared.mu.Unlock()
	dir := filepath.Join(shared.dir, name)
	if shared.made == nil {
		shared.made = map[string]bool{}
	}
	if !shared.made[name] {
		fill(dir)
		shared.made[name] = true
	}
	return dir
}

// layoutSamples are small samples of a layout: simulation, data and truth.
func layoutSamples(t testing.TB, layout string) string {
	return fixture(t, "samples-"+layout, func(dir string) {
		mustRun(t, "samples", "diphoton", "--out", dir, "--layout", layout, "--events", "1500", "--truth", "--seed", "5")
	})
}

// flatConfig is a small training on the flat layout: SAMPLES stands for the folder.
const flatConfig = `seed: 3
inputs:
  simulation: [{files: [SAMPLES/diphoton-simulation.root], tree: diphoton, weight: weight}]
  data: [{files: [SAMPLES/diphoton-data.root], tree: diphoton}]
id: [eventNumber]
select: [lead_pt > 35 && sublead_pt > 25]
split: {train: "eventNumber % 10 < 7", validation: 0.2}
features:
  r9: {expr: lead_r9}
  iso: {expr: lead_pfChargedIso, atom: 0}
  pt1: {expr: lead_pt}
conditions:
  eta1: {expr: lead_eta}
observables:
  m: {expr: "pair_mass(lead_pt, lead_eta, lead_phi, sublead_pt, sublead_eta, sublead_phi)", unit: GeV, range: [100, 160], bins: 20}
reweight: {method: histogram, bins: 5}
flow: {kind: nsf, transforms: 2, hidden: [16], bins: 4}
train: {steps: 20, batch: 128, evaluations: 4}
`

// configFile writes flatConfig for a folder of samples, with pairs of texts replaced.
func configFile(t testing.TB, samples string, replace ...string) string {
	t.Helper()
	text := flatConfig
	for i := 0; i < len(replace); i += 2 {
		if !strings.Contains(text, replace[i]) {
			t.Fatalf("the config does not have %q", replace[i])
		}
		text = strings.ReplaceAll(text, replace[i], replace[i+1])
	}
	path := filepath.Join(t.TempDir(), "run.yaml")
	write(t, path, strings.ReplaceAll(text, "SAMPLES", samples))
	return path
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
}

func read(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// flatModel is a model trained by flatConfig.
func flatModel(t testing.TB) string {
	s := layoutSamples(t, "flat")
	conf := configFile(t, s)
	return filepath.Join(fixture(t, "flat-model", func(dir string) {
		mustRun(t, "morph", "train", "-c", conf, "--out", dir)
	}), "model.hmm")
}

// tree is the content of a tree in memory.
type tree struct {
	n        int
	branches []rootio.Branch
	cols     map[string]*rootio.Values
}

func readTree(t testing.TB, name string, files ...string) *tree {
	t.Helper()
	ctx := context.Background()
	c, err := rootio.Open(ctx, files, name, rootio.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	tr := &tree{n: int(c.Entries()), branches: c.Branches(), cols: map[string]*rootio.Values{}}
	var names []string
	for _, b := range tr.branches {
		if b.Kind.Readable() {
			names = append(names, b.Name)
		}
	}
	err = c.Read(ctx, names, 0, c.Entries(), func(b *rootio.Batch) error {
		for _, n := range names {
			if tr.cols[n] == nil {
				tr.cols[n] = b.Cols[n].Clone()
			} else if err := tr.cols[n].Append(b.Cols[n]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func (tr *tree) floats(t testing.TB, name string) []float64 {
	t.Helper()
	v := tr.cols[name]
	if v == nil {
		t.Fatalf("there is no branch %q; there are %v", name, slices.Sorted(maps.Keys(tr.cols)))
	}
	out := make([]float64, v.Size())
	for i := range out {
		out[i] = v.Float(i)
	}
	return out
}

// writeTree makes a ROOT file with one tree of scalar branches.
func writeTree(t testing.TB, path, name string, n int, cols map[string]*rootio.Values) {
	t.Helper()
	f, err := rootio.Create(path, rootio.WriteOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var wc []rootio.WriteColumn
	for _, c := range slices.Sorted(maps.Keys(cols)) {
		wc = append(wc, rootio.WriteColumn{Name: c, Kind: cols[c].Kind})
	}
	w, err := f.Tree(name, "", wc)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(&rootio.Batch{N: n, Cols: cols}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// snapshot lists a folder: names, and sizes, times and contents of files.
func snapshot(t testing.TB, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.Walk(dir, func(p string, info os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%s %v", p, info.Mode())
		if info.Mode().IsRegular() {
			fmt.Fprintf(&b, " %d bytes %x", info.ModTime().UnixNano(), sha256.Sum256([]byte(read(t, p))))
		}
		fmt.Fprintln(&b)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}
