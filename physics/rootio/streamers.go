package rootio

import (
	"errors"
	"fmt"
	"sync"

	"go-hep.org/x/hep/groot/rbytes"
	"go-hep.org/x/hep/groot/rdict"
	"go-hep.org/x/hep/groot/riofs"
	"go-hep.org/x/hep/groot/rmeta"
)

var (
	registerOnce sync.Once
	// builtin are the class layouts that the process has by itself, before a file was opened: opening one replaces them by
	// the file's.
	builtin []rbytes.StreamerInfo
	// registry is held while a file is opened, which changes the registered layouts, and while one is finished, which
	// looks them up.
	registry sync.Mutex
)

// registerStreamers adds what the decoder's registry of class layouts lacks, once for the process, before any file is opened.
func registerStreamers() {
	registerOnce.Do(func() {
		// A file of an old ROOT makes the encoder look for version 2 of this class, which has the same members. They must be
		// objects of their own: the encoder writes those that it meets again as references to the first.
		if si, err := rdict.StreamerInfos.StreamerInfo("TAttMarker", -1); err == nil {
			var elems []rbytes.StreamerElement
			for _, e := range si.Elements() {
				if b, ok := e.(*rdict.StreamerBasicType); ok {
					c := *b
					elems = append(elems, &c)
				}
			}
			rdict.StreamerInfos.Add(rdict.NewCxxStreamerInfo("TAttMarker", 2, uint32(si.CheckSum()), elems))
		}
		// RDataFrame writes columns of its own vector class without saying what that is: it streams like std::vector.
		for _, v := range []struct {
			cxx  string
			elem rmeta.Enum
		}{
			{"bool", rmeta.Bool}, {"char", rmeta.Int8}, {"signed char", rmeta.Int8}, {"unsigned char", rmeta.Uint8}, {"short", rmeta.Int16},
			{"unsigned short", rmeta.Uint16}, {"int", rmeta.Int32}, {"unsigned int", rmeta.Uint32}, {"long", rmeta.Int64}, {"Long64_t", rmeta.Int64},
			{"unsigned long", rmeta.Uint64}, {"ULong64_t", rmeta.Uint64}, {"float", rmeta.Float32}, {"double", rmeta.Float64},
		} {
			for _, class := range []string{
				"ROOT::VecOps::RVec<" + v.cxx + ">",
				"vector<" + v.cxx + ",ROOT::Detail::VecOps::RAdoptAllocator<" + v.cxx + "> >",
			} {
				this := rdict.NewStreamerSTL("This", rmeta.STLvector, v.elem)
				for version := range int32(13) {
					rdict.StreamerInfos.Add(rdict.NewCxxStreamerInfo(class, version, 0, []rbytes.StreamerElement{this}))
				}
			}
		}
		builtin = rdict.StreamerInfos.Values()
	})
}

// treeClasses are those of a tree whose layouts the encoder leaves out, because ROOT and uproot have them built in. jsroot does
// not, and would read x[n] arrays wrong without a word.
var treeClasses = []string{
	"TLeafF", "TLeafI", "TLeafL", "TLeafD", "TLeafO", "TLeafS", "TLeafB", "TLeafC", "TLeafG", "TLeafF16", "TLeafD32", "TLeafElement",
	"TBranch", "TBranchElement", "TLeaf", "TAttMarker",
}

// layouts are the class layouts that a file under construction is going to have. The encoder's own way to add one refuses those
// that are registered with the process.
type layouts struct {
	list *[]rbytes.StreamerInfo
	set  *map[rbytes.StreamerInfo]struct{}
}

func layoutsOf(f *riofs.File) (l layouts, err error) {
	if l.list, err = hidden[[]rbytes.StreamerInfo](structOf(f, ""), "sinfos"); err != nil {
		return l, err
	}
	l.set, err = hidden[map[rbytes.StreamerInfo]struct{}](structOf(f, ""), "simap")
	return l, err
}

func (l layouts) add(si rbytes.StreamerInfo) {
	if _, ok := (*l.set)[si]; ok {
		return
	}
	(*l.set)[si] = struct{}{}
	*l.list = append(*l.list, si)
}

// drop takes out what satisfies a condition.
func (l layouts) drop(out func(si rbytes.StreamerInfo) bool) {
	kept := (*l.list)[:0]
	for _, si := range *l.list {
		if out(si) {
			delete(*l.set, si)
		} else {
			kept = append(kept, si)
		}
	}
	*l.list = kept
}

// describeTrees puts the layouts of the classes of a tree into a file.
func describeTrees(f *riofs.File) error {
	l, err := layoutsOf(f)
	if err != nil {
		return err
	}
	for _, name := range treeClasses {
		var last rbytes.StreamerInfo
		for _, si := range builtin {
			if si.Name() == name && (last == nil || si.ClassVersion() > last.ClassVersion()) {
				last = si
			}
		}
		if last != nil {
			l.add(last)
		}
	}
	return nil
}

// finish closes a file. What the encoder adds are layouts of the registry; they must be the very ones that the file has
// already, or they would be there twice, and ROOT crashes on that.
func finish(f *riofs.File, folders map[string]riofs.Directory) error {
	registry.Lock()
	defer registry.Unlock()
	l, err := layoutsOf(f)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	if f.IsBigFile() {
		// Beyond 2 GB the lists of folders need 64-bit addresses. There is room for them, but the encoder does not use it.
		for path, d := range folders {
			if path == "" {
				continue
			}
			v, err := hidden[int16](structOf(d, "dir"), "rvers")
			if err != nil {
				return errors.Join(err, f.Close())
			}
			if *v < 1000 {
				*v += 1000
			}
		}
	}
	own := map[string]rbytes.StreamerInfo{}
	id := func(si rbytes.StreamerInfo) string { return fmt.Sprintf("%s;%d", si.Name(), si.ClassVersion()) }
	for _, si := range builtin {
		rdict.StreamerInfos.Add(si)
		own[id(si)] = si
	}
	seen := map[string]bool{}
	var list []rbytes.StreamerInfo
	for _, si := range *l.list {
		key := id(si)
		if b := own[key]; b != nil {
			si = b
		}
		if !seen[key] {
			seen[key] = true
			list = append(list, si)
		}
	}
	l.drop(func(rbytes.StreamerInfo) bool { return true })
	for _, si := range list {
		l.add(si)
	}
	return f.Close()
}
