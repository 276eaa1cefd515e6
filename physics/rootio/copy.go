package rootio

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sort"
	"strings"
	"sync"

	"go-hep.org/x/hep/groot/root"
)

// CopyOptions say how a tree is copied. The zero value copies everything.
type CopyOptions struct {
	Write  WriteOptions
	Lo, Hi int64 // rows of the chain; Hi 0 is all
	// Only lists the branches to keep, nil keeps all that can be. It may name none: []string{}.
	Only []string
	// Bare leaves out the other trees, histograms and texts of the inputs.
	Bare bool
	// Fills is how many batches are filled at a time. Default 1.
	Fills int
	// Progress, where set, is told the rows written so far and their final number, from one goroutine.
	Progress func(done, total int64)
}

// Lost is something of the input that the output doesn't have.
type Lost struct{ Name, Why string }

// CopyReport says what a copy has.
type CopyReport struct {
	Entries int64
	Kept    []string // branches of the input
	Added   []string
	Changed []Lost // branches kept in another form
	Lost    []Lost // branches that are not in the output
	Trees   []string
	Objects []string
	Left    []Lost // trees and objects that are not in the output
}

// Fill computes the new columns of a batch, which has the kept and the needed branches. It must return every added column, and be safe for
// as many calls at a time as CopyOptions.Fills says.
type Fill func(*Batch) (map[string]*Values, error)

// plan finds the branches that a copy keeps.
func (c *Chain) plan(only []string) (keep []WriteColumn, rep CopyReport, err error) {
	wanted := map[string]bool{}
	for _, name := range only {
		if _, err := c.Branch(name); err != nil {
			return nil, rep, err
		}
		wanted[name] = true
	}
	seen := map[string]bool{}
	for _, b := range c.Branches() {
		switch {
		case seen[b.Name]:
			rep.Lost = append(rep.Lost, Lost{b.Name, "a second branch of this name"})
			continue
		case only != nil && !wanted[b.Name]:
			continue
		case !b.Kind.Readable():
			rep.Lost = append(rep.Lost, Lost{b.Name, b.Why})
			continue
		case b.Sub:
			rep.Lost = append(rep.Lost, Lost{b.Name, "a member of a split object"})
			continue
		case b.Kind.Elem == String && b.Kind.Form != Scalar && b.Kind.Form != Vector:
			rep.Lost = append(rep.Lost, Lost{b.Name, "an array of strings"})
			continue
		}
		if _, err := c.check([]string{b.Name}); err != nil {
			rep.Lost = append(rep.Lost, Lost{b.Name, "not the same in all files: " + why(err)})
			continue
		}
		if b.Several {
			rep.Changed = append(rep.Changed, Lost{b.Name, "was a leaf of a branch with several, is a branch"})
		}
		seen[b.Name] = true
		col := b.Column()
		if b.Kind.Form == Counted {
			if n, err := c.Branch(b.Counter); err != nil || n.Kind.Form != Scalar || !n.Kind.Elem.Signed() && !n.Kind.Elem.Unsigned() {
				col.Counter = "n" + strings.ReplaceAll(b.Name, ".", "_")
				rep.Changed = append(rep.Changed, Lost{b.Name, "its counter " + b.Counter + " can't be kept, " + col.Counter + " counts"})
			}
		}
		keep = append(keep, col)
		rep.Kept = append(rep.Kept, b.Name)
	}
	// A branch of a later file only is lost too.
	for _, f := range c.Files[1:] {
		for _, b := range f.Info.Branches {
			if !seen[b.Name] && (only == nil || wanted[b.Name]) {
				if _, err := c.Branch(b.Name); err != nil {
					seen[b.Name] = true
					rep.Lost = append(rep.Lost, Lost{b.Name, fmt.Sprintf("only in %q", f.Path)})
				}
			}
		}
	}
	return keep, rep, nil
}

// Friend writes a file whose tree has the same rows as the inputs, in the same order, but only the branches ids and the new
// ones: for TTree::AddFriend.
func (c *Chain) Friend(ctx context.Context, out string, ids []string, add []WriteColumn, fill Fill, need []string, opt CopyOptions) (CopyReport, error) {
	opt.Bare = true
	opt.Only = append([]string{}, ids...)
	return c.Copy(ctx, out, add, fill, need, opt)
}

// Copy writes one file with a tree that has the rows of all inputs in order, with their branches and new ones; other trees
// are concatenated, histograms added, texts kept. need lists further branches that fill wants. Memory does not grow with the
// number of rows: reading, fill and writing run side by side, a few batches apart, and the writer gets the batches in order.
func (c *Chain) Copy(ctx context.Context, out string, add []WriteColumn, fill Fill, need []string, opt CopyOptions) (rep CopyReport, err error) {
	for _, f := range c.Files {
		a, err1 := os.Stat(f.Path)
		b, err2 := os.Stat(out)
		if err1 == nil && err2 == nil && os.SameFile(a, b) {
			return rep, fmt.Errorf("rootio: could not write %q: %w: it is one of the inputs", out, ErrOutput)
		}
	}
	keep, rep, err := c.plan(opt.Only)
	if err != nil {
		return rep, err
	}
	cols := slices.Clone(keep)
	for _, a := range add {
		if slices.ContainsFunc(keep, func(k WriteColumn) bool { return k.Name == a.Name }) {
			return rep, &Error{Op: "add branch", Want: a.Name, File: c.Files[0].Path, Object: fmt.Sprintf("tree %q", c.Tree), Kind: ErrExists, Hint: "choose another suffix"}
		}
		cols = append(cols, a)
		rep.Added = append(rep.Added, a.Name)
	}
	// Counters that are kept come as columns; they must be read.
	read := slices.Concat(rep.Kept, need)
	hi := opt.Hi
	if hi == 0 {
		hi = c.Entries()
	}

	w, err := Create(out, opt.Write)
	if err != nil {
		return rep, err
	}
	defer w.Abort()
	t, err := w.Tree(c.Tree, c.Files[0].Info.Title, cols)
	if err != nil {
		return rep, err
	}
	err = c.stream(ctx, read, opt.Lo, hi, opt.Fills, func(b *Batch) error {
		if len(add) == 0 {
			return nil
		}
		got, err := fill(b)
		if err != nil {
			return err
		}
		for _, a := range add {
			v, ok := got[a.Name]
			if !ok {
				return fmt.Errorf("rootio: could not write %q: the new branch %q has no values", out, a.Name)
			}
			b.Cols[a.Name] = v
		}
		return nil
	}, func(b *Batch) error {
		err := t.Write(b)
		if err == nil && opt.Progress != nil {
			opt.Progress(t.Entries(), hi-opt.Lo)
		}
		return err
	})
	if err != nil {
		return rep, err
	}
	rep.Entries = t.Entries()
	if rep.Entries != hi-opt.Lo {
		return rep, fmt.Errorf("rootio: could not write %q: %d rows of %d", out, rep.Entries, hi-opt.Lo)
	}
	if err := t.Close(); err != nil {
		return rep, err
	}
	if !opt.Bare {
		if err := c.rest(ctx, w, &rep); err != nil {
			return rep, err
		}
	}
	return rep, w.Close()
}

// stream reads, works and writes side by side, with the given number of works at a time. Batches are written in order.
func (c *Chain) stream(ctx context.Context, names []string, lo, hi int64, works int, work, write func(*Batch) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	type task struct {
		b    *Batch
		done chan struct{}
	}
	works = max(1, works)
	raw, order := make(chan task, 1), make(chan task, works+1)
	var wg sync.WaitGroup
	start := func(f func() error) {
		wg.Go(func() {
			if err := f(); err != nil {
				cancel(err) // the first failure counts; the others follow from it
			}
		})
	}
	start(func() error {
		defer close(raw)
		defer close(order)
		return c.Read(ctx, names, lo, hi, func(b *Batch) error {
			t := task{b, make(chan struct{})}
			for _, ch := range []chan<- task{order, raw} {
				select {
				case ch <- t:
				case <-ctx.Done():
					return context.Cause(ctx)
				}
			}
			return nil
		})
	})
	for range works {
		start(func() error {
			for t := range raw {
				if err := work(t.b); err != nil {
					return err
				}
				close(t.done)
			}
			return nil
		})
	}
	start(func() error {
		for t := range order {
			select {
			case <-t.done:
			case <-ctx.Done():
				return nil
			}
			if err := write(t.b); err != nil {
				return err
			}
		}
		return nil
	})
	wg.Wait()
	return context.Cause(ctx)
}

// rest copies the other trees, histograms and texts of the inputs.
func (c *Chain) rest(ctx context.Context, w *File, rep *CopyReport) error {
	trees := map[string][]string{} // path → files
	var order []string
	objs := map[string]root.Object{}
	failed := map[string]string{}
	s := c.source()
	defer c.release(s)
	for _, f := range c.Files {
		list, err := s.list(f.Path)
		if err != nil {
			return err
		}
		for _, o := range list {
			if o.Path == f.Info.Path {
				continue
			}
			if isRNTuple(o.Class) || isTree(o.Class) && o.Why != "" {
				failed[o.Path] = o.Why
			} else if isTree(o.Class) {
				if trees[o.Path] == nil {
					order = append(order, o.Path)
				}
				trees[o.Path] = append(trees[o.Path], f.Path)
			}
		}
		err = s.objects(f.Path, func(o object) error {
			if o.path == f.Info.Path || isRNTuple(o.class) {
				return nil
			}
			if o.data == nil {
				failed[o.path] = o.why
				return nil
			}
			v, err := o.decode()
			if err != nil {
				failed[o.path] = why(err)
				return nil
			}
			if old := objs[o.path]; old == nil {
				objs[o.path] = v
			} else if o.class == "TObjString" {
				return nil // texts: the first file's
			} else if err := sum(old, v); err != nil {
				failed[o.path] = err.Error()
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	for _, path := range order {
		if failed[path] != "" || w.names[path] {
			continue
		}
		if err := copyTree(ctx, w, trees[path], path, c.opt, rep); err != nil {
			return err
		}
	}
	for _, path := range sorted(objs) {
		if failed[path] != "" {
			continue
		}
		if err := w.put(path, objs[path]); err != nil {
			return err
		}
		rep.Objects = append(rep.Objects, path)
	}
	for _, path := range sorted(failed) {
		rep.Left = append(rep.Left, Lost{path, failed[path]})
	}
	sort.Strings(rep.Trees)
	return nil
}

// copyTree copies a tree as it is.
func copyTree(ctx context.Context, w *File, files []string, path string, read Options, rep *CopyReport) error {
	c, err := Open(ctx, files, path, read)
	if err != nil {
		return err
	}
	defer c.Close()
	keep, r, err := c.plan(nil)
	if err != nil {
		return err
	}
	for _, l := range r.Lost {
		rep.Left = append(rep.Left, Lost{path + "/" + l.Name, l.Why})
	}
	t, err := w.Tree(path, c.Files[0].Info.Title, keep)
	if err != nil {
		return err
	}
	err = c.stream(ctx, r.Kept, 0, c.Entries(), 1, func(*Batch) error { return nil }, t.Write)
	if err != nil {
		return err
	}
	rep.Trees = append(rep.Trees, path)
	return t.Close()
}
