package rootio

import (
	"sync"

	"go-hep.org/x/hep/groot/rbytes"
	"go-hep.org/x/hep/groot/rdict"
	"go-hep.org/x/hep/groot/riofs"
	"go-hep.org/x/hep/groot/rmeta"
)

var registerOnce sync.Once

// registerStreamers adds what the decoder's registry of class layouts lacks, once for the process.
func registerStreamers() {
	registerOnce.Do(func() {
		// A file of an old ROOT makes the encoder look for version 2 of this class, which has the same members.
		if si, err := rdict.StreamerInfos.StreamerInfo("TAttMarker", -1); err == nil {
			rdict.StreamerInfos.Add(rdict.NewCxxStreamerInfo("TAttMarker", 2, uint32(si.CheckSum()), si.Elements()))
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
	})
}

// renamed hides the name of a streamer info while it is being registered: the encoder leaves out classes whose name is in its
// list of built-in ones. ROOT and uproot know those classes; jsroot doesn't and would read x[n] arrays wrong without a word.
//
// The encoder asks for the name three times: whether it is registered with the process already (never, by the first answer), to
// register it, and whether it is built-in. Then it writes it, under the right name.
type renamed struct {
	*rdict.StreamerInfo
	asked int
	done  bool
}

func (r *renamed) Name() string {
	if r.done {
		return r.StreamerInfo.Name()
	}
	r.asked++
	if r.asked == 1 {
		return "__new__" + r.StreamerInfo.Name()
	}
	return "__" + r.StreamerInfo.Name()
}

var _ rbytes.StreamerInfo = (*renamed)(nil)

// treeClasses are those that a tree brings into a file.
var treeClasses = []string{
	"TLeaf", "TLeafF", "TLeafI", "TLeafL", "TLeafD", "TLeafO", "TLeafS", "TLeafB", "TLeafC", "TLeafG",
	"TLeafF16", "TLeafD32", "TLeafElement", "TBranchElement", "TBranch", "TAttMarker",
}

// describeTrees puts the layouts of the classes of a tree into a file. It must run before the tree's writer is made.
func describeTrees(f *riofs.File) {
	for _, name := range treeClasses {
		si, err := rdict.StreamerInfos.StreamerInfo(name, -1)
		if err != nil {
			continue // not a class that the encoder can write
		}
		if c, ok := si.(*rdict.StreamerInfo); ok {
			r := &renamed{StreamerInfo: c}
			f.RegisterStreamer(r)
			r.done = true
		}
	}
}
