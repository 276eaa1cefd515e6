package rootio

import "fmt"

// Elem is the type of one value of a branch.
type Elem uint8

// The types of values. NoElem stands for what can't be read as columns.
const (
	NoElem Elem = iota
	Bool
	Int8
	Int16
	Int32
	Int64
	Uint8
	Uint16
	Uint32
	Uint64
	Float32
	Float64
	String
)

var elemNames = [...]string{"none", "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64", "string"}

func (e Elem) String() string {
	if int(e) < len(elemNames) {
		return elemNames[e]
	}
	return fmt.Sprintf("elem(%d)", uint8(e))
}

// Signed reports whether values lie in Values.I.
func (e Elem) Signed() bool { return Int8 <= e && e <= Int64 }

// Unsigned reports whether values lie in Values.U.
func (e Elem) Unsigned() bool { return Uint8 <= e && e <= Uint64 }

// Numeric reports whether values can be taken as float64; bool counts as 0 and 1.
func (e Elem) Numeric() bool { return Bool <= e && e <= Float64 }

// Size is the number of bytes of a value in a file and in a frame of the guarded reader; 0 for strings.
func (e Elem) Size() int {
	switch e {
	case Bool, Int8, Uint8:
		return 1
	case Int16, Uint16:
		return 2
	case Int32, Uint32, Float32:
		return 4
	case Int64, Uint64, Float64:
		return 8
	}
	return 0
}

// Form says how many values a row of a branch has.
type Form uint8

// The forms of branches.
const (
	Scalar  Form = iota // one value
	Fixed               // x[3]: the same number of values in every row
	Counted             // x[n]: as many as the branch n says
	Vector              // std::vector<T>, RVec<T>
)

// Kind is the type of a branch.
type Kind struct {
	Elem Elem
	Form Form
	Len  int // Fixed: values of a row. Counted: values of each element, 1 unless the branch is x[n][3]
}

// Jagged reports whether rows have different numbers of values.
func (k Kind) Jagged() bool { return k.Form == Counted || k.Form == Vector }

// Readable reports whether the branch can be read as a column.
func (k Kind) Readable() bool { return k.Elem != NoElem }

func (k Kind) String() string {
	switch k.Form {
	case Fixed:
		return fmt.Sprintf("%v[%d]", k.Elem, k.Len)
	case Counted:
		if k.Len > 1 {
			return fmt.Sprintf("%v[n][%d]", k.Elem, k.Len)
		}
		return k.Elem.String() + "[n]"
	case Vector:
		return "vector<" + k.Elem.String() + ">"
	}
	return k.Elem.String()
}

// Branch describes a branch of a tree, or one leaf of a branch that has several.
type Branch struct {
	Name    string // of the branch; "branch.leaf" where a branch has several leaves
	Kind    Kind
	Counter string `json:",omitempty"` // the branch that counts the elements of a Counted one
	Dims    []int  `json:",omitempty"` // shape of a row of a Fixed branch, of an element of a Counted one, where it has more than one dimension
	Title   string `json:",omitempty"` // documentation, as NanoAOD stores it
	Type    string // the type as the file names it
	Why     string `json:",omitempty"` // why it can't be read, where it can't
	Several bool   `json:",omitempty"` // one of several leaves of a branch
	Std     bool   `json:",omitempty"` // a text that is a std::string
	Sub     bool   `json:",omitempty"` // a member of a split object
}

// TreeInfo describes an object of a file; for a tree also what is in it.
type TreeInfo struct {
	Path     string // folders and name, without the cycle
	Class    string
	Title    string
	Entries  int64    // of a tree, else 0
	Branches []Branch // of a tree
	Why      string   `json:",omitempty"` // why it can't be read, where it can't
}

// IsTree reports whether the object is a tree that can be read.
func (t TreeInfo) IsTree() bool {
	return t.Why == "" && (t.Class == "TTree" || t.Class == "TNtuple" || t.Class == "TNtupleD")
}
