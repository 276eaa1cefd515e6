package rootio

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"
)

// Options say how files are read. The zero value reads in this process.
type Options struct {
	Guard    bool          // decode in a re-executed child; the program must call MaybeChild first in main
	MemLimit int64         // bytes of address space of the child. Default 4 GiB
	Timeout  time.Duration // longest wait for one batch from the child. Default 60 s
}

// A source reads files, in this process or in a child. Not safe for concurrent use.
type source interface {
	list(path string) ([]TreeInfo, error)
	describe(path, tree string) (TreeInfo, error)
	read(path, tree string, names []string, lo, hi, base int64, emit func(*Batch) error) error
	objects(path string, emit func(object) error) error
	use(ctx context.Context) // from now on
	close()
}

func newSource(ctx context.Context, opt Options) source {
	if opt.Guard {
		return newGuard(ctx, opt)
	}
	return &local{ctx: ctx}
}

// local reads in this process.
type local struct{ ctx context.Context }

func (l *local) close() {}

func (l *local) use(ctx context.Context) { l.ctx = ctx }

func (l *local) list(path string) ([]TreeInfo, error) { return listFile(path) }

func (l *local) describe(path, tree string) (info TreeInfo, err error) {
	f, err := openFile(path)
	if err != nil {
		return info, err
	}
	defer f.Close()
	t, at, err := findTree(f, path, tree)
	if err != nil {
		return info, err
	}
	info = TreeInfo{Path: at, Class: t.Class(), Title: t.Title(), Entries: t.Entries()}
	err = guarded("read", path, fmt.Sprintf("tree %q", at), func() error {
		info.Branches, _ = describe(t)
		return nil
	})
	return info, err
}

func (l *local) read(path, tree string, names []string, lo, hi, base int64, emit func(*Batch) error) error {
	next := lo
	err := l.readRange(path, tree, names, lo, hi, base, true, func(b *Batch) error {
		next = b.Lo - base + int64(b.N)
		return emit(b)
	})
	if errors.Is(err, errNotFlat) {
		return l.readRange(path, tree, names, next, hi, base, false, emit)
	}
	return err
}

func (l *local) readRange(path, tree string, names []string, lo, hi, base int64, flats bool, emit func(*Batch) error) error {
	f, err := openFile(path)
	if err != nil {
		return err
	}
	defer f.Close()
	t, at, err := findTree(f, path, tree)
	if err != nil {
		return err
	}
	if err := embedded(path, at, t); err != nil {
		return err
	}
	return readRange(f, path, at, t, names, lo, hi, base, flats, func(b *Batch) error {
		if l.ctx != nil && l.ctx.Err() != nil {
			return context.Cause(l.ctx)
		}
		return emit(b)
	})
}

// listFile describes every object of a file. A tree that can't be read has a Why.
func listFile(path string) (out []TreeInfo, err error) {
	f, err := openFile(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	err = guarded("list", path, "", func() error {
		objs, err := walk(f)
		if err != nil {
			return wrapped("list", path, "its folders", err)
		}
		for _, e := range objs {
			info := TreeInfo{Path: e.path, Class: e.class, Title: e.title}
			switch {
			case isRNTuple(e.class):
				info.Why = "an RNTuple, which is not supported yet"
			case isTree(e.class):
				t, _, err := findTree(f, path, e.path)
				if err == nil {
					err = guarded("read", path, e.path, func() error {
						info.Entries = t.Entries()
						info.Branches, _ = describe(t)
						return embedded(path, e.path, t)
					})
				}
				if err != nil {
					info.Why = why(err)
				}
			}
			out = append(out, info)
		}
		return nil
	})
	return out, err
}

// why is the part of an error that says what was found.
func why(err error) string {
	if e, ok := err.(*Error); ok && e.Why != "" {
		return e.Why
	}
	return err.Error()
}

// List describes every object of a file: folders, classes, and for trees entries and branches.
func List(ctx context.Context, path string, opt Options) ([]TreeInfo, error) {
	s := newSource(ctx, opt)
	defer s.close()
	return s.list(path)
}

// Expand replaces patterns (*, ?, [...]) by the files they match, sorted; other names stay as they are. A pattern that
// matches nothing is an error.
func Expand(patterns []string) ([]string, error) {
	var out []string
	for _, p := range patterns {
		if remote(p) || !strings.ContainsAny(p, "*?[") {
			out = append(out, p)
			continue
		}
		if _, err := os.Stat(p); err == nil {
			out = append(out, p)
			continue
		}
		m, err := filepath.Glob(p)
		if err != nil || len(m) == 0 {
			return nil, &Error{Op: "find", File: p, Kind: ErrNotFound, Why: "the pattern matches no file", Err: err}
		}
		sort.Strings(m)
		out = append(out, m...)
	}
	return out, nil
}

// Part is one file of a chain.
type Part struct {
	Path    string
	First   int64 // entry of its first row in the chain
	Entries int64
	Info    TreeInfo
	size    int64
	mtime   time.Time
	index   map[string]int // of the branches
}

// branch returns the branch of a file.
func (f *Part) branch(name string) (Branch, bool) {
	i, ok := f.index[name]
	if !ok {
		return Branch{}, false
	}
	return f.Info.Branches[i], true
}

// Chain is a tree that goes over several files. Read may be called from several goroutines; each call opens the files anew.
type Chain struct {
	Files []Part
	Tree  string // path of the tree

	opt  Options
	ctx  context.Context
	mu   sync.Mutex
	idle []source
	done bool
}

// Open looks at the headers of all files of a chain. Nothing but headers is read. The tree may be "" where every file has only one.
func Open(ctx context.Context, files []string, tree string, opt Options) (*Chain, error) {
	if len(files) == 0 {
		return nil, &Error{Op: "open", File: "", Kind: ErrNotFound, Why: "no files given"}
	}
	c := &Chain{opt: opt, ctx: ctx, Tree: tree}
	s := c.source()
	for _, path := range files {
		f := Part{Path: path}
		if st, err := os.Stat(path); err == nil {
			f.size, f.mtime = st.Size(), st.ModTime()
		}
		info, err := s.describe(path, tree)
		if err != nil {
			s.close()
			return nil, err
		}
		f.Info, f.Entries, f.First = info, info.Entries, c.Entries()
		f.index = make(map[string]int, len(info.Branches))
		for i, b := range info.Branches {
			if _, ok := f.index[b.Name]; !ok {
				f.index[b.Name] = i
			}
		}
		if c.Tree == "" {
			c.Tree = info.Path
		}
		c.Files = append(c.Files, f)
	}
	c.release(s)
	return c, nil
}

// Close stops the children. A chain that was closed can't be read.
func (c *Chain) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.done = true
	for _, s := range c.idle {
		s.close()
	}
	c.idle = nil
	return nil
}

func (c *Chain) source() source {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(c.idle); n > 0 {
		s := c.idle[n-1]
		c.idle = c.idle[:n-1]
		s.use(c.ctx)
		return s
	}
	return newSource(c.ctx, c.opt)
}

func (c *Chain) release(s source) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done || len(c.idle) > 1 {
		s.close()
		return
	}
	c.idle = append(c.idle, s)
}

// Entries is the number of rows over all files.
func (c *Chain) Entries() int64 {
	if len(c.Files) == 0 {
		return 0
	}
	f := c.Files[len(c.Files)-1]
	return f.First + f.Entries
}

// Branches lists the branches of the first file.
func (c *Chain) Branches() []Branch {
	return c.Files[0].Info.Branches
}

// Kinds maps every readable branch of the first file to its kind.
func (c *Chain) Kinds() map[string]Kind {
	out := map[string]Kind{}
	for _, b := range c.Branches() {
		if b.Kind.Readable() {
			out[b.Name] = b.Kind
		}
	}
	return out
}

// Branch returns a branch of the first file. The error lists the nearest names.
func (c *Chain) Branch(name string) (Branch, error) {
	if b, ok := c.Files[0].branch(name); ok {
		return b, nil
	}
	return Branch{}, noBranch(c.Files[0].Path, c.Tree, name, c.Branches())
}

// check makes sure that every file has the branches, with kinds that can be brought to those of the first file.
func (c *Chain) check(names []string) (map[string]Kind, error) {
	want := map[string]Kind{}
	for k := range c.Files {
		f := &c.Files[k]
		for _, name := range names {
			b, ok := f.branch(name)
			if !ok {
				return nil, noBranch(f.Path, f.Info.Path, name, f.Info.Branches)
			}
			obj := fmt.Sprintf("tree %q: branch %q", f.Info.Path, name)
			if !b.Kind.Readable() {
				return nil, &Error{Op: "read", File: f.Path, Object: obj, Kind: ErrUnsupported, Why: b.Why}
			}
			if k == 0 {
				want[name] = b.Kind
				continue
			}
			if w := want[name]; w != b.Kind && !(w.Elem.Numeric() && b.Kind.Elem.Numeric() && sameForm(w, b.Kind)) {
				return nil, &Error{Op: "read", File: f.Path, Object: obj, Kind: ErrMismatch, Why: fmt.Sprintf("it is %v, in %q it is %v", b.Kind, c.Files[0].Path, w)}
			}
		}
	}
	return want, nil
}

func sameForm(a, b Kind) bool {
	if a.Jagged() && b.Jagged() {
		return max(1, a.Len) == max(1, b.Len)
	}
	return a.Form == b.Form && a.Len == b.Len
}

// Read calls f with the rows lo to hi (hi < 0: all) in order, batch by batch, with only these branches. A branch has the same
// kind in all batches, that of the first file. An error of f ends the reading and is returned as it is.
func (c *Chain) Read(ctx context.Context, branches []string, lo, hi int64, f func(*Batch) error) error {
	if hi < 0 {
		hi = c.Entries()
	}
	if lo < 0 || lo > hi || hi > c.Entries() {
		return &Error{Op: "read", File: c.Files[0].Path, Kind: ErrMismatch, Why: fmt.Sprintf("rows [%d, %d) of %d", lo, hi, c.Entries())}
	}
	names := slices.Clone(branches)
	sort.Strings(names)
	names = slices.Compact(names)
	want, err := c.check(names)
	if err != nil {
		return err
	}
	s := c.source()
	s.use(ctx)
	ok := false
	defer func() {
		if ok {
			c.release(s)
		} else {
			s.close()
		}
	}()
	for i := range c.Files {
		file := &c.Files[i]
		a, z := max(lo, file.First), min(hi, file.First+file.Entries)
		if a >= z {
			continue
		}
		at := a
		err := s.read(file.Path, file.Info.Path, names, a-file.First, z-file.First, file.First, func(b *Batch) error {
			if err := ctx.Err(); err != nil {
				return context.Cause(ctx)
			}
			if b.Lo != at || at+int64(b.N) > z {
				return &Error{Op: "read", File: file.Path, Kind: ErrCorrupt, Why: fmt.Sprintf("got rows from %d, wanted %d", b.Lo, at)}
			}
			at += int64(b.N)
			for name, v := range b.Cols {
				if w := want[name]; v.Kind != w {
					b.Cols[name] = v.Convert(w)
				}
			}
			return f(b)
		})
		if err != nil {
			return err
		}
		if at != z {
			return &Error{Op: "read", File: file.Path, Kind: ErrCorrupt, Why: fmt.Sprintf("got %d of %d rows", at-a, z-a)}
		}
		if err := file.unchanged(); err != nil {
			return err
		}
	}
	ok = true
	return nil
}

func (f *Part) unchanged() error {
	if f.mtime.IsZero() {
		return nil
	}
	st, err := os.Stat(f.Path)
	if err != nil {
		return &Error{Op: "read", File: f.Path, Kind: ErrChanged, Err: cause(err)}
	}
	if st.Size() != f.size || !st.ModTime().Equal(f.mtime) {
		return &Error{Op: "read", File: f.Path, Kind: ErrChanged}
	}
	return nil
}
