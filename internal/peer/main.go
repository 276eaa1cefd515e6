// Command peer runs the benchmarks of flows and transformers against a Python peer, PyTorch with zuko, and says which targets hold:
//
//	go run ./internal/peer [-venv DIR] [-rounds 3] [-seconds 1] [-threads 2] [-only NAME] [-out docs/benchmarks.md]
//
// It makes a virtual environment with pinned versions (requirements.txt, about 5 GB) if there is none, then times every case in alternating
// rounds: ours, the peer eager, the peer under torch.compile. The better of the two is the peer. It prints the table of ratios, medians
// over the rounds with the worst round beside them, writes it to a file, and ends with exit code 1 if a target is missed.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"hepmorph/flows"
	"hepmorph/internal/ad"
	"hepmorph/internal/atomicfile"
	"hepmorph/internal/kernel"
	"hepmorph/internal/peer/cases"
	"hepmorph/internal/rng"
)

func main() {
	b := &bench{}
	flag.StringVar(&b.venv, "venv", ".venv/peer", "virtual environment of the peer")
	flag.IntVar(&b.rounds, "rounds", 3, "alternating rounds")
	flag.Float64Var(&b.seconds, "seconds", 1, "seconds a measurement")
	flag.IntVar(&b.threads, "threads", 2, "threads of both sides")
	flag.StringVar(&b.only, "only", "", "cases whose name contains this")
	flag.StringVar(&b.out, "out", "docs/benchmarks.md", "file for the table; empty for none")
	flag.Parse()
	ok, err := b.run()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if !ok {
		os.Exit(1)
	}
}

type bench struct {
	venv, only, out string
	rounds, threads int
	seconds         float64

	in       io.WriteCloser
	lines    *bufio.Scanner
	versions string
	compiled float64 // seconds of the slowest first step under torch.compile
	error    float64 // largest difference of a transformer from the peer's
	rows     []row
}

// A row is one line of the table. Value is the ratio to the peer or another figure, at least or at most its target.
type row struct {
	name, ours, eager, compile string
	value, worst, must         float64
	unit                       string
	most                       bool
	products                   float64 // of a transformer: share of the peak in matrix products, %
}

// enough is the share of the peak in matrix products that is as good as a ratio to the peer.
const enough = 80

func (r row) holds() bool {
	if r.products >= enough {
		return true
	}
	if r.most {
		return r.value <= r.must
	}
	return r.value >= r.must
}

// targets are those of the reference: ratios to the fastest peer on two threads.
var targets = map[string]map[string]float64{
	"train":    {"maf narrow": 3.3, "nsf narrow": 5, "coupling narrow": 4, "maf wide": 1.9, "nsf wide": 1.9, "coupling wide": 1.9},
	"log_prob": {"maf narrow": 3, "nsf narrow": 5, "coupling narrow": 4, "maf wide": 2, "nsf wide": 2, "coupling wide": 2},
	"sample":   {"maf narrow": 15, "nsf narrow": 35, "coupling narrow": 8, "maf wide": 15, "nsf wide": 15, "coupling wide": 4},
}

var flowOperations = []string{"train", "log_prob", "sample"}

func (b *bench) run() (bool, error) {
	if err := b.start(); err != nil {
		return false, err
	}
	defer b.in.Close()
	r, err := rates()
	if err != nil {
		return false, err
	}
	peak := r["BenchmarkPeak/"+kernel.Best().Name]
	if peak == 0 {
		return false, fmt.Errorf("peer: could not find the peak of the kernels %s", kernel.Best().Name)
	}
	for _, c := range cases.All() {
		if !strings.Contains(c.Name, b.only) {
			continue
		}
		if err := b.compare(c, peak); err != nil {
			return false, err
		}
	}
	if err := b.showers(peak); err != nil {
		return false, err
	}
	if strings.Contains("mmd", b.only) {
		if err := b.mmd(); err != nil {
			return false, err
		}
	}
	if strings.Contains("products", b.only) {
		b.products(r)
	}
	table := b.table(peak)
	fmt.Print(table)
	if b.out != "" {
		if err := atomicfile.WriteFile(b.out, []byte(table)); err != nil {
			return false, err
		}
	}
	for _, r := range b.rows {
		if !r.holds() {
			return false, nil
		}
	}
	return true, nil
}

// start makes the virtual environment if need be and starts the peer.
func (b *bench) start() error {
	python := filepath.Join(b.venv, "bin", "python")
	if _, err := os.Stat(python); err != nil {
		fmt.Fprintf(os.Stderr, "making %s (PyTorch and zuko, about 5 GB)\n", b.venv)
		for _, c := range [][]string{{"python3", "-m", "venv", b.venv}, {python, "-m", "pip", "install", "--quiet", "-r", "internal/peer/requirements.txt"}} {
			cmd := exec.Command(c[0], c[1:]...)
			cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
			if err := cmd.Run(); err != nil {
				return fmt.Errorf("peer: could not make %q: %w", b.venv, err)
			}
		}
	}
	cmd := exec.Command(python, "internal/peer/peer.py")
	cmd.Stderr = os.Stderr
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "OPENBLAS_CORETYPE=") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	var err error
	if b.in, err = cmd.StdinPipe(); err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	b.lines = bufio.NewScanner(out)
	return cmd.Start()
}

// A question to the peer and its answer: peer.py says what is in them.
type question map[string]any

type answer struct {
	MS, First, Error float64
	Versions         string
}

func (b *bench) ask(q question) (a answer, err error) {
	q["threads"], q["seconds"] = b.threads, b.seconds
	line, err := json.Marshal(q)
	if err != nil {
		return a, err
	}
	if _, err := fmt.Fprintf(b.in, "%s\n", line); err != nil {
		return a, err
	}
	if !b.lines.Scan() {
		return a, fmt.Errorf("peer: the Python process ended in %s", line)
	}
	if err := json.Unmarshal(b.lines.Bytes(), &a); err != nil {
		return a, err
	}
	if b.versions = a.Versions; q["mode"] == "compile" {
		b.compiled = max(b.compiled, a.First)
	}
	return a, nil
}

// against times a step of ours and the same of the peer, eager and compiled, in alternating rounds.
func (b *bench) against(name string, step func(), q question, must float64) (row, error) {
	var ours, eager, compile, ratio []float64
	for range b.rounds {
		o := b.measure(step)
		q["mode"] = "eager"
		e, err := b.ask(q)
		if err != nil {
			return row{}, err
		}
		q["mode"] = "compile"
		k, err := b.ask(q)
		if err != nil {
			return row{}, err
		}
		ours, eager, compile = append(ours, o), append(eager, e.MS), append(compile, k.MS)
		ratio = append(ratio, min(e.MS, k.MS)/o)
	}
	return row{name: name, ours: ms(median(ours)), eager: ms(median(eager)), compile: ms(median(compile)),
		value: median(ratio), worst: slices.Min(ratio), must: must, unit: "×"}, nil
}

// measure is the median time of a step in milliseconds.
func (b *bench) measure(step func()) float64 {
	step()
	var ms []float64
	for end := time.Now().Add(time.Duration(b.seconds * 1e9)); len(ms) < 3 || time.Now().Before(end); {
		start := time.Now()
		step()
		ms = append(ms, float64(time.Since(start).Nanoseconds())/1e6)
	}
	return median(ms)
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

func (b *bench) compare(c cases.Case, peak float64) error {
	r, err := cases.New(c, kernel.Best(), b.threads, ad.Settings{})
	if err != nil {
		return err
	}
	defer r.Close()
	steps := map[string]func(){"train": func() { r.Train() }, "log_prob": r.LogProb, "sample": r.Sample}
	for _, op := range flowOperations {
		r, err := b.against(op+" "+c.Name, steps[op], question{"kind": c.Kind, "hidden": c.Hidden, "batch": c.Batch, "op": op}, targets[op][c.Name])
		if err != nil {
			return err
		}
		b.add(r)
	}
	return b.alone(c, r, peak)
}

// alone measures what needs no peer: share of the processor's peak, scaling, garbage.
func (b *bench) alone(c cases.Case, r *cases.Runner, peak float64) error {
	one, err := cases.New(c, kernel.Best(), 1, ad.Settings{})
	if err != nil {
		return err
	}
	defer one.Close()
	var share, scaling []float64
	var last float64
	for range b.rounds {
		many, single := b.measure(func() { r.Train() }), b.measure(func() { one.Train() })
		last = many
		share = append(share, 100*r.Work()/(many*1e6)/(peak*float64(b.threads)))
		scaling = append(scaling, single/many)
	}
	must := map[string]float64{"maf narrow": 60, "maf wide": 75}[c.Name]
	b.add(row{name: "share of the FMA peak in a training step, " + c.Name, ours: ms(last), value: median(share), worst: slices.Min(share), must: must, unit: " %"})
	if b.threads == 2 {
		b.add(row{name: "1 to 2 threads, training, " + c.Name, ours: ms(last), value: median(scaling), worst: slices.Min(scaling), must: 1.7, unit: "×"})
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	const steps = 50
	for range steps {
		r.Train()
	}
	runtime.ReadMemStats(&after)
	// the runtime's own housekeeping makes some hundred bytes now and then
	garbage := float64((after.TotalAlloc - before.TotalAlloc) / steps / 64)
	b.add(row{name: "garbage of a training step, " + c.Name, value: 64 * garbage, worst: 64 * garbage, unit: " B", most: true})
	return nil
}

// mmd compares the discrepancy of two samples with a training step of a spline flow of the same batch.
func (b *bench) mmd() error {
	const n, d = 2048, 10
	c := cases.Case{Name: "nsf narrow", Kind: "nsf", Features: d, Hidden: []int{128, 128}, Batch: n}
	r, err := cases.New(c, kernel.Best(), b.threads, ad.Settings{})
	if err != nil {
		return err
	}
	defer r.Close()
	pool := ad.NewPool(b.threads)
	defer pool.Close()
	var s [2]flows.Rows[float32]
	for i := range s {
		st := rng.NewKey(1, "mmd").At(uint64(i))
		s[i] = flows.Rows[float32]{N: n, D: d, X: make([]float32, n*d), W: make([]float64, n)}
		for k := range s[i].X {
			s[i].X[k] = float32(st.Norm())
		}
		for k := range s[i].W {
			s[i].W[k] = 1
		}
	}
	mmd := flows.NewMMD(kernel.Best(), pool, 1, 2, 4)
	grad := make([]float32, n*d)
	var share []float64
	var last float64
	for range b.rounds {
		last = b.measure(func() { mmd.Value(s[0], s[1], grad, 1) })
		share = append(share, 100*last/b.measure(func() { r.Train() }))
	}
	b.add(row{name: "MMD of 2×2048 events in 10 dimensions with gradient, share of a step of nsf narrow on them", ours: ms(last), value: median(share), worst: slices.Max(share), must: 50, unit: " %", most: true})
	return nil
}

func ms(v float64) string { return strconv.FormatFloat(v, 'f', digits(v), 64) }

func digits(v float64) int {
	switch {
	case v < 1:
		return 3
	case v < 10:
		return 2
	}
	return 1
}

func (b *bench) add(r row) {
	b.rows = append(b.rows, r)
	fmt.Fprint(os.Stderr, r.line())
}

func (r row) line() string {
	must, holds := "", ""
	if r.must > 0 || r.most {
		sign := "≥"
		if r.most {
			sign = "≤"
		}
		must = fmt.Sprintf("%s %g%s", sign, r.must, r.unit)
		if r.products > 0 {
			must += fmt.Sprintf(", or products at ≥ %d %% of the peak: %.0f %%", enough, r.products)
		}
		holds = "yes"
		if !r.holds() {
			holds = "**no**"
		}
	}
	f := func(v float64) string { return strconv.FormatFloat(v, 'f', digits(v+1), 64) + r.unit }
	return fmt.Sprintf("| %s | %s | %s | %s | %s | %s | %s | %s |\n", r.name, r.ours, r.eager, r.compile, f(r.value), f(r.worst), must, holds)
}

func (b *bench) table(peak float64) string {
	var s strings.Builder
	agree := ""
	if b.error > 0 {
		agree = fmt.Sprintf("; velocity, loss and gradients agree with the peer's from the same parameters to %.1g of the largest number", b.error)
	}
	fmt.Fprintf(&s, `# Benchmarks

Made by `+"`make bench-peer`"+`, %s: %s, %d threads, kernels %s, FMA peak %.0f GFLOP/s a core, %s, %s.
Milliseconds a step, medians; ratios are the better of the peer's two times over ours, median of %d alternating rounds and worst round.
8 features, 4 conditions, 5 transforms; narrow is 2×128 with batches of 1024, wide 3×256 with batches of 4096. The peer's first step under
torch.compile takes up to %.0f s, which is not counted. Transformers are those of showers: 45 tokens, width 96, depth 4 (the default of the small
geometry, batches of 64), 135 tokens, width 128, depth 4 (batches of 32), and 135 tokens, width 480, depth 6, 26 M parameters (published for
dataset 2, batches of 16)%s.
Part of the gain is algorithmic: products skip what the masks make zero, and the inverse of an autoregressive flow is one incremental pass. The
share of the peak counts the multiply-adds that the masks leave, those of slopes that splines need not compute among them, and none for padding.

| what | ours | eager | compiled | figure | worst round | must | holds |
|---|---|---|---|---|---|---|---|
`, time.Now().Format(time.DateOnly), processor(), b.threads, kernel.Best().Name, peak, runtime.Version(), b.versions, b.rounds, b.compiled, agree)
	for _, r := range b.rows {
		s.WriteString(r.line())
	}
	return s.String()
}

// processor is the name that Linux gives.
func processor() string {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err == nil {
		if m := regexp.MustCompile(`(?m)^model name\s*: (.+)$`).FindSubmatch(info); m != nil {
			return string(m[1])
		}
	}
	return runtime.GOARCH
}
