package rootio

import (
	"errors"
	"fmt"
	"reflect"
	"strings"

	"go-hep.org/x/hep/groot/riofs"
	"go-hep.org/x/hep/groot/rtree"

	"hepmorph/internal/atomicfile"
)

// Codec is a compression of written files.
type Codec uint8

// The codecs. LZ4 and LZMA are read but not written: the encoder's LZ4 breaks on data that hardly compress, its LZMA is
// fifty times slower than zlib.
const (
	Zlib Codec = iota
	Zstd
	None
)

func (c Codec) String() string { return [...]string{"zlib", "zstd", "none"}[min(c, None)] }

// WriteOptions say how a file is written. The zero value is zlib level 1, which is what reading speed and size ask for.
type WriteOptions struct {
	Codec Codec
	Level int // zlib 1-9, zstd 1-4. Default 1
	// Basket is the number of bytes of a branch that are compressed together. Default 128 kB, 32 kB for trees with more than 200 branches.
	Basket int
	// Threads that encode and compress. Default: every core that is granted. It does not change a byte of the values.
	Threads int
}

func (o WriteOptions) check() error {
	top := 9
	if o.Codec == Zstd {
		top = 4
	}
	if o.Codec > None || o.Level < 0 || o.Level > top || o.Basket < 0 {
		return fmt.Errorf("rootio: could not use codec %v level %d, baskets of %d bytes: zlib has levels 1-9, zstd 1-4", o.Codec, o.Level, o.Basket)
	}
	return nil
}

// WriteColumn describes a branch to be written.
type WriteColumn struct {
	Name string
	Kind Kind
	// Counter is the branch that counts the elements of a Counted column. Columns may share one. It may be a column of the
	// tree, an integer; otherwise it is made, as an int32.
	Counter string
	Title   string // documentation, optional
	Dims    []int  // as in Branch, optional
	Std     bool   // a text is a std::string, not a C string
}

// Column describes a branch that is read as one to be written.
func (b Branch) Column() WriteColumn {
	return WriteColumn{Name: b.Name, Kind: b.Kind, Counter: b.Counter, Title: b.Title, Dims: b.Dims, Std: b.Std}
}

// File is a ROOT file that is being made. Nothing appears under its name before Close. Not safe for concurrent use.
type File struct {
	path      string
	tmp       string
	opt       WriteOptions
	f         *riofs.File
	trees     []*TreeWriter
	dirs      map[string]riofs.Directory
	names     map[string]bool
	described bool  // the layouts of tree classes are in
	begun     int64 // end of what is on its way to the disk
	err       error
}

// Create begins a file. Its folder must exist.
func Create(path string, opt WriteOptions) (*File, error) {
	if err := opt.check(); err != nil {
		return nil, err
	}
	if remote(path) {
		return nil, fmt.Errorf("rootio: could not write %q: %w: writing to a server is not supported (write a local file and copy it)", path, ErrOutput)
	}
	registerStreamers()
	tmp, err := atomicfile.Temp(path)
	if err != nil {
		return nil, err
	}
	f, err := riofs.Create(tmp)
	if err != nil {
		atomicfile.Discard(tmp)
		return nil, &atomicfile.Error{Path: path, Err: err}
	}
	return &File{path: path, tmp: tmp, opt: opt, f: f, dirs: map[string]riofs.Directory{"": f}, names: map[string]bool{}}, nil
}

// fail remembers that the file can't be finished.
func (w *File) fail(err error) error {
	if err != nil && w.err == nil {
		w.err = err
	}
	return err
}

// beginBytes are sent on their way to the disk together.
const beginBytes = 4 << 20

// begin sends what was written before end on its way to the disk.
func (w *File) begin(end int64) {
	if end-w.begun >= beginBytes {
		atomicfile.Begin(w.tmp, w.begun, end)
		w.begun = end
	}
}

// dir makes the folders of a path and returns the last and the name in it.
func (w *File) dir(path string) (riofs.Directory, string, error) {
	folder, name := "", path
	if i := strings.LastIndex(path, "/"); i >= 0 {
		folder, name = path[:i], path[i+1:]
	}
	if name == "" || w.names[path] {
		return nil, "", fmt.Errorf("rootio: could not write %q into %q: the name is empty or taken", path, w.path)
	}
	w.names[path] = true
	d, ok := w.dirs[folder]
	if !ok {
		var err error
		parent := riofs.Directory(w.f)
		at := ""
		for _, part := range strings.Split(folder, "/") {
			at = strings.TrimPrefix(at+"/"+part, "/")
			if d, ok = w.dirs[at]; !ok {
				if d, err = parent.Mkdir(part); err != nil {
					return nil, "", &atomicfile.Error{Path: w.path, Err: err}
				}
				w.dirs[at] = d
			}
			parent = d
		}
	}
	return d, name, nil
}

// TreeWriter writes rows into a tree.
type TreeWriter struct {
	file    *File
	path    string
	w       rtree.Writer
	dir     riofs.Directory
	name    string // in dir
	baskets *baskets
	cols    []*writeCol
	checks  [][]int // for each counter: its column, then the columns it counts
	entries int64
	closed  bool
}

// writeCol is a branch and its values in the batch at hand.
type writeCol struct {
	WriteColumn
	made bool // a counter that no batch has
	cur  *Values
}

// Tree begins a tree. The name may have folders. Several trees may be open at a time.
func (w *File) Tree(name, title string, cols []WriteColumn) (t *TreeWriter, err error) {
	t = &TreeWriter{file: w, path: name}
	place := fmt.Sprintf("rootio: could not write tree %q into %q", name, w.path)
	order, err := arrange(cols)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", place, err)
	}
	index := map[string]int{}
	vars := make([]rtree.WriteVar, len(order))
	for i := range order {
		c := &order[i]
		index[c.Name] = i
		ptr, err := c.variable()
		if err != nil {
			return nil, fmt.Errorf("%s: branch %q: %w", place, c.Name, err)
		}
		vars[i] = rtree.WriteVar{Name: c.Name, Value: ptr}
		if c.Kind.Form == Counted {
			vars[i].Count = c.Counter
		}
		t.cols = append(t.cols, c)
	}
	groups := map[string]int{}
	for i, c := range t.cols {
		if c.Kind.Form != Counted {
			continue
		}
		g, ok := groups[c.Counter]
		if !ok {
			g = len(t.checks)
			groups[c.Counter] = g
			t.checks = append(t.checks, []int{index[c.Counter]})
		}
		t.checks[g] = append(t.checks[g], i)
	}
	d, last, err := w.dir(name)
	if err != nil {
		return nil, err
	}
	basket := w.opt.Basket
	if basket == 0 {
		basket = 128 << 10
		if len(cols) > 200 {
			basket = 32 << 10
		}
	}
	if !w.described {
		if err := describeTrees(w.f); err != nil {
			return nil, w.fail(fmt.Errorf("%s: %w", place, err))
		}
		w.described = true
	}
	err = guarded("write", w.path, fmt.Sprintf("tree %q", name), func() (err error) {
		if t.w, err = rtree.NewWriter(d, last, vars, rtree.WithTitle(title), rtree.WithBasketSize(basket)); err != nil {
			return err
		}
		list := make([]WriteColumn, len(t.cols))
		for i, c := range t.cols {
			list[i] = c.WriteColumn
		}
		if err := shape(w.f, t.w, t.cols); err != nil {
			return err
		}
		t.dir, t.name = d, last
		t.baskets, err = newBaskets(w.f, t.w, list, w.opt, basket)
		return err
	})
	if err != nil {
		return nil, w.fail(fmt.Errorf("%s: %w", place, err))
	}
	w.trees = append(w.trees, t)
	return t, nil
}

// arrange checks the columns and puts counters, made or given, before the arrays that they count: a counter that is not there,
// or comes later, is a memory fault in the encoder, and a name that comes twice can't be read again.
func arrange(cols []WriteColumn) ([]writeCol, error) {
	given := map[string]WriteColumn{}
	for _, c := range cols {
		if _, ok := given[c.Name]; ok {
			return nil, fmt.Errorf("two branches are called %q", c.Name)
		}
		if c.Name == "" {
			return nil, errors.New("a branch has no name")
		}
		given[c.Name] = c
	}
	var out []writeCol
	placed := map[string]bool{}
	for _, c := range cols {
		if placed[c.Name] {
			continue
		}
		if c.Kind.Form == Counted {
			n, ok := given[c.Counter]
			switch {
			case c.Counter == "":
				return nil, fmt.Errorf("branch %q has no counter", c.Name)
			case !ok:
				if !placed[c.Counter] {
					out = append(out, writeCol{WriteColumn: WriteColumn{Name: c.Counter, Kind: Kind{Elem: Int32}}, made: true})
				}
			case n.Kind.Form != Scalar || !n.Kind.Elem.Signed() && !n.Kind.Elem.Unsigned():
				return nil, fmt.Errorf("branch %q: its counter %q is %v, not an integer", c.Name, c.Counter, n.Kind)
			case !placed[c.Counter]:
				out = append(out, writeCol{WriteColumn: n})
			}
			placed[c.Counter] = true
		}
		placed[c.Name] = true
		out = append(out, writeCol{WriteColumn: c})
	}
	return out, nil
}

var goTypes = map[Elem]reflect.Type{
	Bool: reflect.TypeFor[bool](), Int8: reflect.TypeFor[int8](), Int16: reflect.TypeFor[int16](), Int32: reflect.TypeFor[int32](),
	Int64: reflect.TypeFor[int64](), Uint8: reflect.TypeFor[uint8](), Uint16: reflect.TypeFor[uint16](), Uint32: reflect.TypeFor[uint32](),
	Uint64: reflect.TypeFor[uint64](), Float32: reflect.TypeFor[float32](), Float64: reflect.TypeFor[float64](), String: reflect.TypeFor[string](),
}

// variable makes the variable that tells the encoder the type of a branch. It never holds a value.
func (c *writeCol) variable() (ptr any, err error) {
	et, ok := goTypes[c.Kind.Elem]
	if !ok {
		return nil, fmt.Errorf("values of %v can't be written", c.Kind)
	}
	inner := max(1, c.Kind.Len)
	dims := c.Dims
	switch c.Kind.Form {
	case Scalar:
		if !c.element() {
			return reflect.New(et).Interface(), nil
		}
		return reflect.New(reflect.SliceOf(et)).Interface(), nil
	case Vector:
		return reflect.New(reflect.SliceOf(et)).Interface(), nil
	}
	if c.Kind.Elem == String {
		return nil, errors.New("arrays of strings can't be written, vectors can")
	}
	if len(dims) == 0 && (c.Kind.Form == Fixed || inner > 1) {
		dims = []int{inner}
	}
	n := 1
	for _, d := range dims {
		n *= d
	}
	if n != inner {
		return nil, fmt.Errorf("dimensions %v do not make %v", dims, c.Kind)
	}
	for i := range dims {
		et = reflect.ArrayOf(dims[len(dims)-1-i], et)
	}
	if c.Kind.Form == Counted {
		et = reflect.SliceOf(et)
	}
	return reflect.New(et).Interface(), nil
}

// Write adds the rows of a batch, which must have every column of the tree; values of another numeric type are converted.
// Columns that the tree doesn't have are left out.
func (t *TreeWriter) Write(b *Batch) error {
	place := func(name string) string {
		return fmt.Sprintf("rootio: could not write %q: tree %q: branch %q", t.file.path, t.path, name)
	}
	if t.closed || t.file.err != nil {
		return fmt.Errorf("rootio: could not write %q: tree %q is closed, or an earlier write failed", t.file.path, t.path)
	}
	for _, c := range t.cols {
		if c.made {
			continue
		}
		v, ok := b.Cols[c.Name]
		if !ok {
			return fmt.Errorf("%s: the batch has no values", place(c.Name))
		}
		if v.Kind.Elem != c.Kind.Elem {
			if !v.Kind.Elem.Numeric() || !c.Kind.Elem.Numeric() {
				return fmt.Errorf("%s: it is %v, the values are %v", place(c.Name), c.Kind, v.Kind)
			}
			k := v.Kind
			k.Elem = c.Kind.Elem
			v = v.Convert(k)
		}
		if (v.Kind.Form == Scalar) != (c.Kind.Form == Scalar) || c.Kind.Form == Fixed && (v.Kind.Form != Fixed || v.Kind.Len != c.Kind.Len) {
			return fmt.Errorf("%s: it is %v, the values are %v", place(c.Name), c.Kind, v.Kind)
		}
		if err := v.check(b.N); err != nil {
			return fmt.Errorf("%s: %w", place(c.Name), err)
		}
		c.cur = v
	}
	if err := t.counters(b.N, place); err != nil {
		return err
	}
	err := guarded("write", t.file.path, fmt.Sprintf("tree %q", t.path), func() error {
		vals := make([]*Values, len(t.cols))
		for i, c := range t.cols {
			vals[i] = c.cur
		}
		if err := t.baskets.write(vals, b.N); err != nil {
			return &atomicfile.Error{Path: t.file.path, Err: err}
		}
		return nil
	})
	if err != nil {
		return t.file.fail(err)
	}
	t.entries += int64(b.N)
	t.file.begin(t.baskets.end)
	return nil
}

// counters fills the counters that are made and compares the others with the arrays.
func (t *TreeWriter) counters(n int, place func(string) string) error {
	for _, g := range t.checks {
		counter := t.cols[g[0]]
		if counter.made {
			a := t.cols[g[1]]
			k := int32(max(1, a.Kind.Len))
			x := make([]int64, n)
			for i := range x {
				x[i] = int64((a.cur.Off[i+1] - a.cur.Off[i]) / k)
			}
			counter.cur = Ints(Int32, x)
		}
		for _, j := range g[1:] {
			a := t.cols[j]
			k := int64(max(1, a.Kind.Len))
			for i := range n {
				if d := int64(a.cur.Off[i+1] - a.cur.Off[i]); d != k*counter.cur.Int(i) {
					return fmt.Errorf("%s: row %d has %d values, its counter %q is %d", place(a.Name), t.entries+int64(i), d, counter.Name, counter.cur.Int(i))
				}
			}
		}
	}
	return nil
}

// Entries is the number of rows written.
func (t *TreeWriter) Entries() int64 { return t.entries }

// Close ends the tree. File.Close does it too.
func (t *TreeWriter) Close() error {
	if t.closed {
		return nil
	}
	t.closed = true
	err := guarded("write", t.file.path, fmt.Sprintf("tree %q", t.path), func() error {
		if err := t.baskets.close(); err != nil {
			return err
		}
		return t.dir.Put(t.name, t.w)
	})
	if err != nil {
		return t.file.fail(&atomicfile.Error{Path: t.file.path, Err: err})
	}
	return nil
}

// Abort gives the file up; nothing is left of it. After Close it does nothing.
func (w *File) Abort() {
	if w.f == nil {
		return
	}
	_ = guarded("write", w.path, "", w.f.Close)
	w.f = nil
	atomicfile.Discard(w.tmp)
}

// Close ends the open trees, opens the file again, counts, and renames it. After any failure nothing is left and a previous
// file of that name stands.
func (w *File) Close() error {
	if w.f == nil {
		return fmt.Errorf("rootio: could not close %q: it is closed", w.path)
	}
	err := w.err
	for _, t := range w.trees {
		if err == nil {
			err = t.Close()
		}
	}
	if err != nil {
		w.Abort()
		return err
	}
	f := w.f
	w.f = nil
	if err = guarded("write", w.path, "", func() error { return finish(f, w.dirs) }); err != nil {
		atomicfile.Discard(w.tmp)
		return &atomicfile.Error{Path: w.path, Err: err}
	}
	if err = w.verify(); err != nil {
		atomicfile.Discard(w.tmp)
		return &atomicfile.Error{Path: w.path, Err: fmt.Errorf("what was written can't be read again: %w", err)}
	}
	return atomicfile.Commit(w.tmp, w.path)
}

// verify opens the file again: every object must be there, and every tree have its entries.
func (w *File) verify() error {
	f, err := openFile(w.tmp)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := complete(f); err != nil {
		return err
	}
	objs, err := walk(f)
	if err != nil {
		return err
	}
	if len(objs) != len(w.names) {
		return fmt.Errorf("it has %d objects, not %d", len(objs), len(w.names))
	}
	for _, t := range w.trees {
		tree, _, err := findTree(f, w.tmp, t.path)
		if err != nil {
			return err
		}
		if tree.Entries() != t.entries {
			return fmt.Errorf("tree %q has %d entries, not %d", t.path, tree.Entries(), t.entries)
		}
	}
	return nil
}
