package samples

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"hepmorph/internal/atomicfile"
	"hepmorph/physics"
	"hepmorph/physics/rootio"
)

// ErrSettings marks settings outside their ranges.
var ErrSettings = errors.New("settings out of range")

type settingsError struct{ error }

func (e settingsError) Unwrap() error { return e.error }

func (settingsError) Is(target error) bool { return target == ErrSettings }

// rows of a block that is made at once and written.
const blockRows = 1 << 14

// A target is a file to be written.
type target struct {
	path string
	rows int64
	make func(ctx context.Context, f *rootio.File, wrote func(rows int)) error
}

// write makes the folder and the files, one after another. It returns the paths of those that are complete.
func write(ctx context.Context, dir string, files []target, force bool, progress func(done, total int64)) ([]string, error) {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, &atomicfile.Error{Path: dir, Err: err}
	}
	var done, total int64
	for _, t := range files {
		total += t.rows
		if _, err := os.Lstat(t.path); err == nil && !force {
			return nil, &atomicfile.Error{Path: t.path, Err: fmt.Errorf("%w (to replace it: --force)", fs.ErrExist), Kept: true}
		} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, &atomicfile.Error{Path: t.path, Err: err}
		}
	}
	wrote := func(rows int) {
		done += int64(rows)
		if progress != nil {
			progress(done, total)
		}
	}
	var paths []string
	for _, t := range files {
		f, err := rootio.Create(t.path, rootio.WriteOptions{})
		if err != nil {
			return paths, err
		}
		if err := t.make(ctx, f, wrote); err != nil {
			f.Abort()
			return paths, err
		}
		if err := f.Close(); err != nil {
			return paths, err
		}
		paths = append(paths, t.path)
	}
	return paths, nil
}

// blocks writes n rows into a tree; the next block is made while one is written.
func blocks(ctx context.Context, w *rootio.TreeWriter, n int64, block func(lo, hi int64) *rootio.Batch, wrote func(rows int)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ready := make(chan *rootio.Batch)
	go func() {
		defer close(ready)
		for lo := int64(0); lo < n; lo += blockRows {
			select {
			case ready <- block(lo, min(n, lo+blockRows)):
			case <-ctx.Done():
				return
			}
		}
	}()
	for b := range ready {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := w.Write(b); err != nil {
			return err
		}
		wrote(b.N)
	}
	return ctx.Err()
}

// WriteDiphoton writes the samples into dir, which is made: diphoton-simulation.root (with Processes one each, such as
// diphoton-simulation-yj.root), diphoton-data.root and, with Truth, diphoton-truth.root beside every simulation. Trees are called
// diphoton, Events or analysis by layout. It returns the paths written; memory does not grow with the number of events.
//
// It fails on settings outside their ranges (ErrSettings), when ctx ends (its error), and on files that can't be written or exist without Force
// (atomicfile.ErrWrite); a file is complete or not there.
func WriteDiphoton(ctx context.Context, dir string, s DiphotonSettings) ([]string, error) {
	s, err := s.resolve()
	if err != nil {
		return nil, err
	}
	var files []target
	add := func(w Which, n int) {
		name := "diphoton-" + w.String()
		if w != Data && len(s.Processes) > 0 {
			name += "-" + s.Processes[n].String()
		}
		g := s.sampler(w, n)
		files = append(files, target{filepath.Join(dir, name+".root"), s.Events, func(ctx context.Context, f *rootio.File, wrote func(int)) error {
			return s.writeEvents(ctx, f, g, wrote)
		}})
	}
	for n := range max(1, len(s.Processes)) {
		add(Simulation, n)
	}
	add(Data, 0)
	if s.Truth {
		for n := range max(1, len(s.Processes)) {
			add(Truth, n)
		}
	}
	return write(ctx, dir, files, s.Force, s.Progress)
}

func (s *DiphotonSettings) writeEvents(ctx context.Context, f *rootio.File, g *sampler, wrote func(int)) error {
	l := layouts[s.Layout]
	branches := l.columns(g, s.Events, s.Threads)
	cols := make([]rootio.WriteColumn, len(branches))
	for i, b := range branches {
		cols[i] = rootio.WriteColumn{Name: b.name, Kind: b.kind(), Counter: b.counter, Title: b.title}
	}
	tree, err := f.Tree(l.tree, l.title, cols)
	if err != nil {
		return err
	}
	// One buffer is enough: a batch holds copies, and the next is begun when the last is taken.
	ev := make([]event, min(blockRows, s.Events))
	var sum, sum2 float64
	err = blocks(ctx, tree, s.Events, func(lo, hi int64) *rootio.Batch {
		ev := ev[:hi-lo]
		g.events(ev, lo, l.collection, s.Threads)
		b := &rootio.Batch{Lo: lo, N: len(ev), Cols: make(map[string]*rootio.Values, len(branches))}
		for _, br := range branches {
			b.Cols[br.name] = br.fill(ev)
		}
		for i := range ev {
			sum += ev[i].gen
			sum2 += ev[i].gen * ev[i].gen
		}
		return b
	}, wrote)
	if err != nil || s.Layout != NanoAOD {
		return err
	}
	if err := tree.Close(); err != nil {
		return err
	}
	return writeRuns(f, g, s.Events, sum, sum2)
}

// writeRuns writes the tree Runs of NanoAOD: one row, for simulation with the sums of generator weights.
func writeRuns(f *rootio.File, g *sampler, n int64, sum, sum2 float64) error {
	cols := []rootio.WriteColumn{{Name: "run", Kind: rootio.Kind{Elem: rootio.Uint32}, Title: "run/i"}}
	b := &rootio.Batch{N: 1, Cols: map[string]*rootio.Values{"run": rootio.Uints(rootio.Uint32, []uint64{g.run()})}}
	if g.weighted {
		cols = append(cols,
			rootio.WriteColumn{Name: "genEventCount", Kind: rootio.Kind{Elem: rootio.Int64}, Title: "event count"},
			rootio.WriteColumn{Name: "genEventSumw", Kind: rootio.Kind{Elem: rootio.Float64}, Title: "sum of gen weights"},
			rootio.WriteColumn{Name: "genEventSumw2", Kind: rootio.Kind{Elem: rootio.Float64}, Title: "sum of gen (weight^2)"})
		b.Cols["genEventCount"] = rootio.Ints(rootio.Int64, []int64{n})
		b.Cols["genEventSumw"] = rootio.Float64s([]float64{sum})
		b.Cols["genEventSumw2"] = rootio.Float64s([]float64{sum2})
	}
	runs, err := f.Tree("Runs", "Runs", cols)
	if err != nil {
		return err
	}
	return runs.Write(b)
}

// WriteOneflow writes oneflow-simulation.root and oneflow-data.root, tree oneflow, into dir, which is made. A sample is in memory as
// a whole, as reordering needs it. It returns the paths written and fails as [WriteDiphoton] does.
func WriteOneflow(ctx context.Context, dir string, s OneflowSettings) ([]string, error) {
	s, err := s.resolve()
	if err != nil {
		return nil, err
	}
	var files []target
	for _, w := range []Which{Simulation, Data} {
		files = append(files, target{filepath.Join(dir, "oneflow-"+w.String()+".root"), int64(s.Events), func(ctx context.Context, f *rootio.File, wrote func(int)) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			t, err := Oneflow(s, w)
			if err != nil {
				return err
			}
			return writeOneflow(ctx, f, t, wrote)
		}})
	}
	return write(ctx, dir, files, s.Force, s.Progress)
}

func writeOneflow(ctx context.Context, f *rootio.File, t *physics.Table, wrote func(int)) error {
	kind := rootio.Kind{Elem: rootio.Float32}
	var cols []rootio.WriteColumn
	for _, name := range t.Names() {
		cols = append(cols, rootio.WriteColumn{Name: name, Kind: kind})
	}
	tree, err := f.Tree("oneflow", "the one-flow toy (arXiv 2403.18582)", cols)
	if err != nil {
		return err
	}
	return blocks(ctx, tree, int64(t.Len()), func(lo, hi int64) *rootio.Batch {
		b := &rootio.Batch{Lo: lo, N: int(hi - lo), Cols: map[string]*rootio.Values{}}
		for _, c := range t.Columns {
			x := make([]float32, b.N)
			for i, v := range c.F[lo:hi] {
				x[i] = float32(v)
			}
			b.Cols[c.Name] = rootio.Float32s(x)
		}
		return b
	}, wrote)
}
