package rootio

import (
	"errors"
	"fmt"
	"sort"
	"strings"
)

// What can be wrong with an input. Every [*Error] of reading is one of these and also ErrInput.
var (
	ErrInput       = errors.New("bad input")
	ErrNotFound    = errors.New("no such file")
	ErrNotROOT     = errors.New("not a ROOT file")
	ErrNotClosed   = errors.New("file was not closed properly")
	ErrCorrupt     = errors.New("file is damaged")
	ErrColumns     = errors.New("no such branch")
	ErrTree        = errors.New("no such tree")
	ErrRNTuple     = errors.New("RNTuple is not supported")
	ErrUnsupported = errors.New("not supported")
	ErrMismatch    = errors.New("files differ")
	ErrChanged     = errors.New("file changed while it was read")
	ErrExists      = errors.New("the input has a branch of that name")
)

// ErrOutput marks an output that can't be written where it was asked for: onto an input, or to a server.
var ErrOutput = errors.New("output can't be there")

var kinds = map[string]error{
	"notfound": ErrNotFound, "notroot": ErrNotROOT, "notclosed": ErrNotClosed, "corrupt": ErrCorrupt, "columns": ErrColumns,
	"tree": ErrTree, "rntuple": ErrRNTuple, "unsupported": ErrUnsupported, "mismatch": ErrMismatch, "changed": ErrChanged, "exists": ErrExists,
}

// Error says what could not be done with which object of which file.
type Error struct {
	Op     string   // "open", "read", "find branch", ...
	File   string   // path, as given
	Object string   // `tree "Events": branch "pt"`, may be empty
	Kind   error    // ErrNotFound, ErrCorrupt, ...
	Why    string   // what was found
	Want   string   // ErrColumns, ErrTree: the name asked for
	Have   []string // ErrColumns, ErrTree: the nearest names that exist, best first, at most 5
	Hint   string   // what to do
	Err    error    // the cause, where there is one
}

func (e *Error) Error() string {
	var b strings.Builder
	if e.Want != "" {
		fmt.Fprintf(&b, "rootio: could not %s %q in %q", e.Op, e.Want, e.File)
	} else {
		fmt.Fprintf(&b, "rootio: could not %s %q", e.Op, e.File)
	}
	if e.Object != "" {
		b.WriteString(": " + e.Object)
	}
	why := e.Why
	if why == "" && e.Kind != nil {
		why = e.Kind.Error()
	}
	if why != "" {
		b.WriteString(": " + why)
	}
	if e.Err != nil {
		b.WriteString(": " + e.Err.Error())
	}
	if len(e.Have) > 0 {
		b.WriteString(": nearest: " + strings.Join(e.Have, ", "))
	}
	if e.Hint != "" {
		b.WriteString(" (" + e.Hint + ")")
	}
	return b.String()
}

// Unwrap makes errors.Is work with the kind, with ErrInput and with the cause.
func (e *Error) Unwrap() []error {
	out := []error{e.Kind, ErrInput}
	if e.Err != nil {
		out = append(out, e.Err)
	}
	return out
}

// wireError is an Error on its way from the guarded child.
type wireError struct {
	Op, File, Object, Kind, Why, Want, Hint string
	Have                                    []string
}

func toWire(err error) wireError {
	var e *Error
	if !errors.As(err, &e) {
		return wireError{Op: "read", Kind: "corrupt", Why: err.Error()}
	}
	w := wireError{Op: e.Op, File: e.File, Object: e.Object, Why: e.Why, Want: e.Want, Hint: e.Hint, Have: e.Have}
	if e.Err != nil {
		if w.Why != "" {
			w.Why += ": "
		}
		w.Why += e.Err.Error()
	}
	for name, k := range kinds {
		if k == e.Kind {
			w.Kind = name
		}
	}
	return w
}

func (w wireError) err() error {
	k := kinds[w.Kind]
	if k == nil {
		k = ErrCorrupt
	}
	return &Error{Op: w.Op, File: w.File, Object: w.Object, Kind: k, Why: w.Why, Want: w.Want, Hint: w.Hint, Have: w.Have}
}

// Nearest returns at most n of the names that are most like want, best first: names that contain it or are contained in it,
// then by edit distance without regard to case.
func Nearest(want string, names []string, n int) []string {
	type scored struct {
		name string
		d    int
	}
	w := strings.ToLower(want)
	list := make([]scored, 0, len(names))
	for _, name := range names {
		l := strings.ToLower(name)
		d := 2 * distance(w, l)
		if strings.Contains(l, w) || strings.Contains(w, l) && len(l) > 2 {
			d = d/2 + 1
		}
		list = append(list, scored{name, d})
	}
	sort.SliceStable(list, func(i, j int) bool {
		if list[i].d != list[j].d {
			return list[i].d < list[j].d
		}
		return list[i].name < list[j].name
	})
	out := make([]string, 0, n)
	for _, s := range list {
		if len(out) == n {
			break
		}
		out = append(out, s.name)
	}
	return out
}

// distance is the Levenshtein distance of two strings, in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diag := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			up := row[j]
			c := diag
			if a[i-1] != b[j-1] {
				c++
			}
			row[j] = min(c, up+1, row[j-1]+1)
			diag = up
		}
	}
	return row[len(b)]
}
