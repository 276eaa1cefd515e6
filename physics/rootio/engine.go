package rootio

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"

	"go-hep.org/x/hep/groot/riofs"
	_ "go-hep.org/x/hep/groot/riofs/plugin/xrootd" // root:// files
	"go-hep.org/x/hep/groot/root"
	"go-hep.org/x/hep/groot/rtree"
)

// remote reports whether a path names a server.
func remote(path string) bool { return strings.Contains(path, "://") }

// guarded runs f and turns a panic of the decoder into an error: the decoder panics on bytes and classes that it doesn't know.
func guarded(op, file, object string, f func() error) (err error) {
	defer func() {
		r := recover()
		if r == nil {
			return
		}
		why := fmt.Sprint(r)
		if op == "write" {
			err = fmt.Errorf("rootio: could not write %q: %s: the encoder stopped: %s", file, object, brief(why))
			return
		}
		err = &Error{Op: op, File: file, Object: object, Kind: panicKind(why), Why: "the decoder stopped: " + brief(why)}
	}()
	return f()
}

// brief cuts a text of the decoder, which may spell out a class in full.
func brief(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	if i := strings.Index(s, " struct {"); i > 0 {
		s = s[:i] + " struct"
	}
	if len(s) > 240 {
		s = s[:240] + "..."
	}
	return s
}

// unknownToGroot matches the texts with which groot, and reflect under it, panic at a class or leaf that they can't decode. There is nothing
// but the text to tell such a panic from one at damaged bytes.
var unknownToGroot = regexp.MustCompile(`no (streamer|leaf for)|not (implemented|supported|yet)|could not (find (read-)?streamer|find type|build element)|` +
	`unknown C\+\+|invalid reflect type|interface conversion|reflect:|NumField of non-struct|Elem of invalid type`)

// panicKind tells a class that groot does not know from damage.
func panicKind(why string) error {
	if unknownToGroot.MatchString(why) {
		return ErrUnsupported
	}
	return ErrCorrupt
}

// wrapped turns an error of the decoder into ours.
func wrapped(op, file, object string, err error) error {
	var e *Error
	if err == nil || errors.As(err, &e) {
		return err
	}
	return &Error{Op: op, File: file, Object: object, Kind: ErrCorrupt, Err: err}
}

// precheck looks at what the header of a local file says before the decoder does.
func precheck(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			e := &Error{Op: "open", File: path, Kind: ErrNotFound}
			if dir, derr := os.ReadDir(filepath.Dir(path)); derr == nil {
				var names []string
				for _, d := range dir {
					if strings.HasSuffix(d.Name(), ".root") {
						names = append(names, d.Name())
					}
				}
				e.Have = Nearest(filepath.Base(path), names, 3)
			}
			return e
		}
		return &Error{Op: "open", File: path, Kind: ErrNotFound, Why: "could not be looked at", Err: cause(err)}
	}
	if !info.Mode().IsRegular() {
		what := "it is not a regular file"
		if info.IsDir() {
			what = "it is a folder"
		}
		return &Error{Op: "open", File: path, Kind: ErrNotROOT, Why: what}
	}
	f, err := os.Open(path)
	if err != nil {
		return &Error{Op: "open", File: path, Kind: ErrNotFound, Why: "could not be opened", Err: cause(err)}
	}
	defer f.Close()
	var h [64]byte
	n, err := io.ReadFull(f, h[:])
	if n < 4 || string(h[:4]) != "root" {
		what := "it does not begin with \"root\""
		if info.Size() == 0 {
			what = "it is empty"
		}
		return &Error{Op: "open", File: path, Kind: ErrNotROOT, Why: "not a ROOT file: " + what}
	}
	if err != nil {
		return &Error{Op: "open", File: path, Kind: ErrCorrupt, Why: fmt.Sprintf("it ends after %d bytes, within its header", n)}
	}
	be := binary.BigEndian
	var end, info64 int64
	if v := be.Uint32(h[4:]); v < 1000000 {
		end, info64 = int64(be.Uint32(h[12:])), int64(be.Uint32(h[37:]))
	} else {
		end, info64 = int64(be.Uint64(h[12:])), int64(be.Uint64(h[45:]))
	}
	switch {
	case end > info.Size():
		return &Error{Op: "open", File: path, Kind: ErrCorrupt,
			Why: fmt.Sprintf("it has %d bytes, its header says %d", info.Size(), end), Hint: "truncated? fetch it again"}
	case info64 == 0:
		return &Error{Op: "open", File: path, Kind: ErrNotClosed, Hint: "the job that wrote it was interrupted; write it again, or recover it with ROOT"}
	}
	return nil
}

// cause strips the path that os errors repeat.
func cause(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// openFile opens a file with the decoder, which must not be shared between goroutines.
func openFile(path string) (f *riofs.File, err error) {
	if !remote(path) {
		if err := precheck(path); err != nil {
			return nil, err
		}
	}
	err = guarded("open", path, "", func() error {
		registerStreamers()
		registry.Lock()
		defer registry.Unlock()
		if remote(path) {
			f, err = riofs.Open(path)
		} else {
			var b *blockFile
			if b, err = openBlocks(path); err == nil {
				if f, err = riofs.NewReader(b); err != nil {
					b.Close()
				}
			}
		}
		if err != nil {
			k := ErrCorrupt
			if remote(path) {
				k = ErrNotFound
			}
			return &Error{Op: "open", File: path, Kind: k, Err: err}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return f, nil
}

// entry is a key of a file with its folders.
type entry struct {
	path, class, title string
	dir                riofs.Directory
	key                riofs.Key
}

// walk lists the objects of a file, newest cycle only, folders first come first.
func walk(f *riofs.File) ([]entry, error) {
	var out []entry
	var visit func(dir riofs.Directory, prefix string, depth int) error
	visit = func(dir riofs.Directory, prefix string, depth int) error {
		if depth > 32 {
			return fmt.Errorf("folders nested deeper than 32")
		}
		newest := map[string]int{}
		keys := dir.Keys()
		for _, k := range keys {
			newest[k.Name()] = max(newest[k.Name()], k.Cycle())
		}
		for _, k := range keys {
			if k.Cycle() != newest[k.Name()] {
				continue
			}
			path := prefix + k.Name()
			if c := k.ClassName(); c == "TDirectory" || c == "TDirectoryFile" {
				o, err := dir.Get(k.Name())
				if err != nil {
					return err
				}
				sub, ok := o.(riofs.Directory)
				if !ok {
					return fmt.Errorf("folder %q is a %T", path, o)
				}
				if err := visit(sub, path+"/", depth+1); err != nil {
					return err
				}
				continue
			}
			out = append(out, entry{path, k.ClassName(), k.Title(), dir, k})
		}
		return nil
	}
	err := visit(f, "", 0)
	return out, err
}

func isTree(class string) bool { return class == "TTree" || class == "TNtuple" || class == "TNtupleD" }

func isRNTuple(class string) bool {
	return strings.HasPrefix(class, "ROOT::") && strings.HasSuffix(class, "RNTuple")
}

// findTree returns the tree of that path, or the only tree of the file if the path is empty.
func findTree(f *riofs.File, file, name string) (t rtree.Tree, path string, err error) {
	obj := ""
	if name != "" {
		obj = fmt.Sprintf("tree %q", name)
	}
	err = guarded("read", file, obj, func() error {
		list, err := walk(f)
		if err != nil {
			return wrapped("read", file, "its folders", err)
		}
		var trees []entry
		var names []string
		ntuple := ""
		for _, e := range list {
			if isRNTuple(e.class) && (name == "" || e.path == name) {
				ntuple = e.path
			}
			if isTree(e.class) {
				names = append(names, e.path)
				if name == "" || e.path == name {
					trees = append(trees, e)
				}
			}
		}
		switch {
		case len(trees) == 1:
		case len(trees) > 1:
			return &Error{Op: "choose a tree of", File: file, Kind: ErrTree, Why: "it has several: " + strings.Join(names, ", "), Hint: "name one"}
		case ntuple != "":
			return &Error{Op: "read", File: file, Object: fmt.Sprintf("%q", ntuple), Kind: ErrRNTuple, Why: "an RNTuple, which is not supported yet",
				Hint: "write it as a TTree, for example with ROOT's RDataFrame::Snapshot"}
		case len(list) == 0:
			return &Error{Op: "read", File: file, Kind: ErrTree, Why: "it has no objects"}
		case name == "" || len(names) == 0:
			what := make([]string, 0, 5)
			for _, e := range list[:min(5, len(list))] {
				what = append(what, e.path+" ("+e.class+")")
			}
			return &Error{Op: "find a tree in", File: file, Kind: ErrTree, Why: "it has none; it has " + strings.Join(what, ", ")}
		default:
			return &Error{Op: "find tree", File: file, Want: name, Kind: ErrTree, Why: "no such tree", Have: Nearest(name, names, 5)}
		}
		path = trees[0].path
		obj = fmt.Sprintf("tree %q", path)
		o, err := trees[0].dir.Get(trees[0].key.Name())
		if err != nil {
			return wrapped("read", file, obj, err)
		}
		var ok bool
		if t, ok = o.(rtree.Tree); !ok {
			return &Error{Op: "read", File: file, Object: obj, Kind: ErrUnsupported, Why: fmt.Sprintf("a %T", o)}
		}
		return nil
	})
	if e := (*Error)(nil); errors.As(err, &e) && e.Object == "" && obj != "" && e.Want == "" {
		e.Object = obj
	}
	return t, path, err
}

// leafRef says where a branch of ours is in the tree, and the Go type that the decoder wants.
type leafRef struct {
	branch, leaf string
	rtype        reflect.Type
}

// describe lists the branches of a tree with their kinds. Nothing is read.
func describe(t rtree.Tree) ([]Branch, []leafRef) {
	var out []Branch
	var refs []leafRef
	seen := map[string]bool{}
	var visit func(b rtree.Branch, depth int)
	visit = func(b rtree.Branch, depth int) {
		if len(b.Branches()) > 0 && depth < 8 {
			for _, sub := range b.Branches() {
				visit(sub, depth+1)
			}
			return
		}
		leaves := b.Leaves()
		for _, leaf := range leaves {
			br := Branch{Name: b.Name()}
			if len(leaves) > 1 {
				br.Name, br.Several = b.Name()+"."+leaf.Name(), true
			}
			if b.Title() != b.Name() && !strings.HasPrefix(b.Title(), leaf.Name()+"/") && !strings.HasPrefix(b.Title(), leaf.Name()+"[") {
				br.Title = b.Title()
			}
			br.Sub = depth > 0
			if class, err := hidden[string](structOf(b, ""), "class"); err == nil && depth == 0 {
				br.Type = *class // of a branch of objects, as C++ names it
			}
			ref := leafRef{branch: b.Name(), leaf: leaf.Name()}
			if err := guarded("read", "", "", func() error { return typeOf(leaf, &br, &ref) }); err != nil {
				br.Kind, br.Why = Kind{}, err.Error()
				if e := (*Error)(nil); errors.As(err, &e) {
					br.Why = e.Why
				}
				if br.Sub {
					br.Why = "a member of a split object, of a type that is not supported"
				}
			}
			if seen[br.Name] {
				br.Kind, br.Why = Kind{}, "a second branch of this name"
			}
			seen[br.Name] = true
			out, refs = append(out, br), append(refs, ref)
		}
		if len(leaves) == 0 {
			out = append(out, Branch{Name: b.Name(), Title: b.Title(), Type: b.Class(), Why: "it has no leaves"})
			refs = append(refs, leafRef{branch: b.Name()})
		}
	}
	for _, b := range t.Branches() {
		visit(b, 0)
	}
	return out, refs
}

var elemOf = map[reflect.Kind]Elem{
	reflect.Bool: Bool, reflect.Int8: Int8, reflect.Int16: Int16, reflect.Int32: Int32, reflect.Int64: Int64,
	reflect.Uint8: Uint8, reflect.Uint16: Uint16, reflect.Uint32: Uint32, reflect.Uint64: Uint64,
	reflect.Float32: Float32, reflect.Float64: Float64, reflect.String: String,
}

// typeOf finds the kind of a leaf and the Go type that the decoder needs for it: a wrong one would panic or, worse, be
// reinterpreted without a word.
func typeOf(leaf rtree.Leaf, br *Branch, ref *leafRef) error {
	rt := leaf.Type()
	if br.Type == "" {
		br.Type = brief(rt.String())
	}
	if leaf.IsUnsigned() {
		switch rt.Kind() {
		case reflect.Int8:
			rt = reflect.TypeFor[uint8]()
		case reflect.Int16:
			rt = reflect.TypeFor[uint16]()
		case reflect.Int32:
			rt = reflect.TypeFor[uint32]()
		case reflect.Int64:
			rt = reflect.TypeFor[uint64]()
		}
	}
	shape := leaf.Shape()
	switch leaf.(type) {
	case *rtree.LeafF16:
		rt = reflect.TypeFor[root.Float16]()
	case *rtree.LeafD32:
		rt = reflect.TypeFor[root.Double32]()
	}
	_, f16 := leaf.(*rtree.LeafF16)
	_, d32 := leaf.(*rtree.LeafD32)
	switch {
	case leaf.LeafCount() != nil:
		if f16 || d32 {
			shape = nil // the title of such a leaf holds the range, not a shape
		}
		br.Counter = leaf.LeafCount().Branch().Name()
		if rt.Kind() == reflect.Slice {
			rt = rt.Elem()
		}
		inner, n := rt, 1
		for i := range shape {
			inner = reflect.ArrayOf(shape[len(shape)-1-i], inner)
			n *= shape[i]
		}
		if n > 1 {
			br.Dims = shape
		}
		ref.rtype = reflect.SliceOf(inner)
		br.Kind = Kind{Elem: elemOf[rt.Kind()], Form: Counted, Len: n}
	case leaf.Kind() == reflect.String && rt.Kind() == reflect.String:
		if len(shape) > 1 {
			return fmt.Errorf("an array of strings")
		}
		ref.rtype, br.Kind = rt, Kind{Elem: String}
		br.Std = leaf.Class() == "TLeafElement"
	case leaf.Len() > 1 && rt.Kind() != reflect.Array:
		if f16 || d32 {
			shape = []int{leaf.Len()}
		}
		n := 1
		inner := rt
		for i := range shape {
			inner = reflect.ArrayOf(shape[len(shape)-1-i], inner)
			n *= shape[i]
		}
		if len(shape) > 1 {
			br.Dims = shape
		}
		ref.rtype = inner
		br.Kind = Kind{Elem: elemOf[rt.Kind()], Form: Fixed, Len: n}
	case rt.Kind() == reflect.Slice:
		ref.rtype = rt
		br.Kind = Kind{Elem: elemOf[rt.Elem().Kind()], Form: Vector}
	case rt.Kind() == reflect.Array:
		ref.rtype = rt
		n := 1
		for rt.Kind() == reflect.Array {
			br.Dims = append(br.Dims, rt.Len())
			n *= rt.Len()
			rt = rt.Elem()
		}
		if len(br.Dims) == 1 {
			br.Dims = nil
		}
		br.Kind = Kind{Elem: elemOf[rt.Kind()], Form: Fixed, Len: n}
	default:
		ref.rtype = rt
		br.Kind = Kind{Elem: elemOf[rt.Kind()]}
		br.Std = rt.Kind() == reflect.String && leaf.Class() == "TLeafElement"
	}
	if br.Kind.Elem == NoElem {
		br.Kind = Kind{}
		br.Why = "values of type " + br.Type + " can't be columns"
	}
	return nil
}
