package physics

import (
	"errors"
	"fmt"
	"sort"
	"strings"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/parser"
	"github.com/expr-lang/expr/vm"

	"hepmorph/physics/rootio"
)

// ErrExpr marks every error of an expression: its text, its types, or its evaluation.
var ErrExpr = errors.New("expression")

// ExprError says what is wrong with an expression, and in which row where it is one.
type ExprError struct {
	Src  string
	Row  int64    // entry in the chain, -1 when the expression can't be compiled
	Why  string   // what is wrong
	Want string   // the unknown name, where it is one
	Have []string // the nearest names
}

func (e *ExprError) Error() string {
	var b strings.Builder
	if e.Row < 0 {
		fmt.Fprintf(&b, "physics: could not compile %q: %s", e.Src, e.Why)
	} else {
		fmt.Fprintf(&b, "physics: could not evaluate %q: entry %d: %s", e.Src, e.Row, e.Why)
	}
	if len(e.Have) > 0 {
		b.WriteString(": nearest: " + strings.Join(e.Have, ", "))
	}
	return b.String()
}

// Unwrap: an unknown name is a missing branch too, and bad input.
func (e *ExprError) Unwrap() []error {
	if e.Want != "" {
		return []error{ErrExpr, rootio.ErrColumns, rootio.ErrInput}
	}
	return []error{ErrExpr}
}

// Expr is a compiled expression over the branches of a tree. Safe for concurrent use.
//
// The language is that of github.com/expr-lang/expr. A scalar branch is a number, truth value or text; an array or vector is an
// array: x[0] is its first element, size(x) its length, any(x, # > 1), all, count, sum, min, max, filter, map take it whole.
// Numbers are float64 and int (64 bits, wraps for unsigned branches above 2^63); / always divides floats. Arithmetic on whole
// arrays is not in the language. Functions: [Functions].
//
// Expressions without predicates, texts and variables are compiled to closures over the columns, the others run on expr's virtual machine.
type Expr struct {
	src      string
	branches []string
	names    []string // of the branches in the program
	kinds    []rootio.Kind
	prog     *vm.Program
	code     code
	plain    bool // the value of a scalar branch as it is
}

// Functions lists the functions of the language beyond those built into it, with a line of documentation.
func Functions() []string {
	var out []string
	for name, f := range scalarFuncs {
		out = append(out, strings.TrimSpace(name+"\t"+f.doc))
	}
	for name, f := range arrayFuncs {
		out = append(out, name+"\t"+f.doc)
	}
	out = append(out, "size\tsize(x): the number of elements of an array")
	sort.Strings(out)
	return out
}

// zero is a value of the type that the language gives a branch.
func zero(k rootio.Kind) any {
	array := k.Form != rootio.Scalar
	switch {
	case k.Elem == rootio.Bool && array:
		return []bool{}
	case k.Elem == rootio.Bool:
		return false
	case k.Elem == rootio.String && array:
		return []string{}
	case k.Elem == rootio.String:
		return ""
	case (k.Elem.Signed() || k.Elem.Unsigned()) && array:
		return []int{}
	case k.Elem.Signed() || k.Elem.Unsigned():
		return 0
	case array:
		return []float64{}
	}
	return 0.0
}

// names collects the identifiers of an expression that are neither functions nor its own variables.
type names struct {
	used  map[string]bool
	local map[string]bool
}

func (n *names) Visit(node *ast.Node) {
	switch x := (*node).(type) {
	case *ast.IdentifierNode:
		n.used[x.Value] = true
	case *ast.VariableDeclaratorNode:
		n.local[x.Name] = true
	}
}

// Compile compiles an expression over branches of the given kinds. Unknown names are an error with the nearest branches.
func Compile(src string, branches map[string]rootio.Kind) (*Expr, error) {
	fail := func(format string, args ...any) error {
		return &ExprError{Src: src, Row: -1, Why: fmt.Sprintf(format, args...)}
	}
	if strings.TrimSpace(src) == "" {
		return nil, fail("it is empty")
	}
	e := &Expr{src: src}
	if k, ok := branches[strings.TrimSpace(src)]; ok && k.Form == rootio.Scalar && k.Elem.Numeric() {
		// Also the way to branches whose name is not a name of the language.
		e.plain, e.branches, e.kinds = true, []string{strings.TrimSpace(src)}, []rootio.Kind{k}
		return e, nil
	}
	text, dotted := undot(src, branches)
	tree, err := parser.Parse(text)
	if err != nil {
		return nil, fail("%s", firstLine(err))
	}
	n := &names{used: map[string]bool{}, local: map[string]bool{}}
	ast.Walk(&tree.Node, n)
	env := map[string]any{}
	opts := []expr.Option{expr.Env(env), expr.Optimize(false)}
	for _, b := range []string{"now", "date", "duration", "timezone"} {
		opts = append(opts, expr.DisableBuiltin(b)) // the clock has no place in a selection
	}
	used := make([]string, 0, len(n.used))
	for name := range n.used {
		used = append(used, name)
	}
	sort.Strings(used)
	for _, name := range used {
		if n.local[name] {
			continue
		}
		branch := name
		if d, ok := dotted[name]; ok {
			branch = d
		}
		if k, ok := branches[branch]; ok {
			if !k.Readable() {
				return nil, fail("branch %q can't be read", branch)
			}
			env[name] = zero(k)
			e.branches, e.names, e.kinds = append(e.branches, branch), append(e.names, name), append(e.kinds, k)
			continue
		}
		if v, ok := constants[name]; ok {
			env[name] = v
			continue
		}
		_, scalar := scalarFuncs[name]
		_, array := arrayFuncs[name]
		if scalar || array || name == "size" {
			continue
		}
		have := make([]string, 0, len(branches)+len(scalarFuncs)+len(arrayFuncs))
		for b := range branches {
			have = append(have, b)
		}
		sort.Strings(have)
		near := rootio.Nearest(name, have, 5)
		return nil, &ExprError{Src: src, Row: -1, Why: fmt.Sprintf("no branch or definition %q", name), Want: name, Have: near}
	}
	for _, name := range sortedKeys(scalarFuncs) {
		if _, hidden := env[name]; !hidden {
			opts = append(opts, expr.Function(name, callScalar(name, scalarFuncs[name]), new(func(...any) float64)))
		}
	}
	for _, name := range sortedKeys(arrayFuncs) {
		if _, hidden := env[name]; !hidden {
			opts = append(opts, expr.Function(name, callArray(name, arrayFuncs[name]), new(func(...any) float64)))
		}
	}
	if _, hidden := env["size"]; !hidden {
		opts = append(opts, expr.Function("size", callSize, new(func(any) int)))
	}
	if e.prog, err = expr.Compile(text, opts...); err != nil {
		return nil, fail("%s", firstLine(err))
	}
	if err := checkCalls(e.prog.Node()); err != nil {
		return nil, fail("%v", err)
	}
	c := compiler{e}
	e.code, _ = c.compile(e.prog.Node())
	if e.code.none() {
		switch t := e.prog.Node().Type(); {
		case t == nil:
		case strings.HasPrefix(t.String(), "[]"):
			return nil, fail("its value is an array, not a number (index it, or take size, sum, min, max, any)")
		case t.Kind().String() == "string" || t.Kind().String() == "map":
			return nil, fail("its value is a %v, not a number", t)
		}
	}
	return e, nil
}

// undot replaces branches whose names have dots, which the language takes for members of an object, by names of its own.
func undot(src string, branches map[string]rootio.Kind) (text string, dotted map[string]string) {
	var names []string
	for name := range branches {
		if strings.Contains(name, ".") && strings.Contains(src, name) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return src, nil
	}
	sort.Slice(names, func(i, j int) bool {
		return len(names[i]) > len(names[j]) || len(names[i]) == len(names[j]) && names[i] < names[j]
	})
	part := func(c byte) bool {
		return c == '_' || c == '.' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
	}
	dotted = map[string]string{}
	var b strings.Builder
	quote := byte(0)
	for i := 0; i < len(src); {
		c := src[i]
		if quote != 0 || c == '"' || c == '\'' || c == '`' {
			switch {
			case quote == 0:
				quote = c
			case c == quote:
				quote = 0
			case c == '\\' && i+1 < len(src):
				b.WriteByte(c)
				i++
				c = src[i]
			}
			b.WriteByte(c)
			i++
			continue
		}
		found := false
		if i == 0 || !part(src[i-1]) {
			for k, name := range names {
				if strings.HasPrefix(src[i:], name) && (i+len(name) == len(src) || !part(src[i+len(name)])) {
					own := fmt.Sprintf("dotted%d__", k)
					dotted[own] = name
					b.WriteString(own)
					i += len(name)
					found = true
					break
				}
			}
		}
		if !found {
			b.WriteByte(c)
			i++
		}
	}
	return b.String(), dotted
}

// checkCalls compares the number of arguments of our functions.
func checkCalls(node ast.Node) (err error) {
	v := callChecker{}
	ast.Walk(&node, &v)
	return v.err
}

type callChecker struct{ err error }

func (c *callChecker) Visit(node *ast.Node) {
	call, ok := (*node).(*ast.CallNode)
	if !ok {
		return
	}
	id, ok := call.Callee.(*ast.IdentifierNode)
	if !ok {
		return
	}
	want := -1
	if f, ok := scalarFuncs[id.Value]; ok {
		want = f.args
	} else if f, ok := arrayFuncs[id.Value]; ok {
		want = f.args
	}
	if want >= 0 && want != len(call.Arguments) && c.err == nil {
		c.err = fmt.Errorf("%s takes %d arguments, not %d", id.Value, want, len(call.Arguments))
	}
}

func sortedKeys[T any](m map[string]T) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	sort.Strings(out)
	return out
}

func firstLine(err error) string {
	s, _, _ := strings.Cut(err.Error(), "\n")
	return s
}

// String is the source.
func (e *Expr) String() string { return e.src }

// Branches lists the branches that the expression needs, sorted.
func (e *Expr) Branches() []string { return e.branches }

// Bool reports whether the value is true or false.
func (e *Expr) Bool() bool {
	if e.plain {
		return e.kinds[0].Elem == rootio.Bool
	}
	if !e.code.none() {
		return e.code.b != nil
	}
	t := e.prog.Node().Type()
	return t != nil && t.Kind().String() == "bool"
}

// Integer reports whether the value is an integer, so that Uints gives it exactly.
func (e *Expr) Integer() bool {
	if e.plain {
		return e.kinds[0].Elem.Signed() || e.kinds[0].Elem.Unsigned()
	}
	return e.code.i != nil
}

// state is what one evaluation works on.
type state struct {
	cols []*rootio.Values
	args []float64 // of the calls that are being made, the innermost last
	why  string    // first failure
}

func (e *Expr) bind(b *rootio.Batch) (*state, error) {
	s := &state{cols: make([]*rootio.Values, len(e.branches))}
	for i, name := range e.branches {
		v, ok := b.Cols[name]
		if !ok {
			return nil, fmt.Errorf("physics: could not evaluate %q: the batch has no column %q", e.src, name)
		}
		if v.Kind.Elem != e.kinds[i].Elem || (v.Off == nil) != (e.kinds[i].Form == rootio.Scalar) {
			return nil, fmt.Errorf("physics: could not evaluate %q: column %q is %v, not %v", e.src, name, v.Kind, e.kinds[i])
		}
		s.cols[i] = v
	}
	return s, nil
}

// failed is the error of a row.
func (e *Expr) failed(b *rootio.Batch, row int, why string) error {
	return &ExprError{Src: e.src, Row: b.Lo + int64(row), Why: why}
}

// Eval returns the value in each of the given rows of a batch, or in all of them when rows is nil; true is 1, false 0.
func (e *Expr) Eval(b *rootio.Batch, rows []int) ([]float64, error) {
	s, err := e.bind(b)
	if err != nil {
		return nil, err
	}
	if e.plain && rows == nil {
		return s.cols[0].Floats(), nil
	}
	n := b.N
	if rows != nil {
		n = len(rows)
	}
	out := make([]float64, n)
	if e.plain {
		for k, r := range rows {
			out[k] = s.cols[0].Float(r)
		}
		return out, nil
	}
	if e.code.none() {
		return out, e.machine(b, s, rows, func(k, r int, v any) bool {
			var ok bool
			out[k], ok = toFloat(v)
			return ok
		})
	}
	f := e.code.float()
	for k := range out {
		r := k
		if rows != nil {
			r = rows[k]
		}
		out[k] = f(s, r)
		if s.why != "" {
			return nil, e.failed(b, r, s.why)
		}
	}
	return out, nil
}

// Uints is Eval for an expression of integers, exact: negative values wrap.
func (e *Expr) Uints(b *rootio.Batch, rows []int) ([]uint64, error) {
	s, err := e.bind(b)
	if err != nil {
		return nil, err
	}
	if !e.Integer() {
		return nil, &ExprError{Src: e.src, Row: -1, Why: "its value is not an integer"}
	}
	n := b.N
	if rows != nil {
		n = len(rows)
	}
	out := make([]uint64, n)
	for k := range out {
		r := k
		if rows != nil {
			r = rows[k]
		}
		if e.plain {
			out[k] = uint64(s.cols[0].Int(r))
			continue
		}
		out[k] = uint64(e.code.i(s, r))
		if s.why != "" {
			return nil, e.failed(b, r, s.why)
		}
	}
	return out, nil
}

// Select returns those of the given rows (nil: all) in which the expression is true. It must be a truth value.
func (e *Expr) Select(b *rootio.Batch, rows []int) ([]int, error) {
	if !e.Bool() {
		return nil, &ExprError{Src: e.src, Row: -1, Why: "its value is a number, not true or false"}
	}
	s, err := e.bind(b)
	if err != nil {
		return nil, err
	}
	n := b.N
	if rows != nil {
		n = len(rows)
	}
	out := make([]int, 0, n)
	if !e.plain && e.code.none() {
		err := e.machine(b, s, rows, func(k, r int, v any) bool {
			keep, ok := v.(bool)
			if keep {
				out = append(out, r)
			}
			return ok
		})
		return out, err
	}
	for k := range n {
		r := k
		if rows != nil {
			r = rows[k]
		}
		var keep bool
		if e.plain {
			keep = s.cols[0].B[r]
		} else {
			keep = e.code.b(s, r)
		}
		if s.why != "" {
			return nil, e.failed(b, r, s.why)
		}
		if keep {
			out = append(out, r)
		}
	}
	return out, nil
}

// machine runs expr's virtual machine on each row.
func (e *Expr) machine(b *rootio.Batch, s *state, rows []int, use func(k, r int, v any) bool) error {
	env := map[string]any{}
	for name, v := range constants {
		env[name] = v
	}
	n := b.N
	if rows != nil {
		n = len(rows)
	}
	var m vm.VM
	for k := range n {
		r := k
		if rows != nil {
			r = rows[k]
		}
		for i, name := range e.names {
			env[name] = boxed(s.cols[i], r)
		}
		v, err := m.Run(e.prog, env)
		if err != nil {
			return e.failed(b, r, firstLine(err))
		}
		if !use(k, r, v) {
			return e.failed(b, r, fmt.Sprintf("its value is a %T, not a number", v))
		}
	}
	return nil
}

// boxed is the value of a column in a row as the language has it.
func boxed(v *rootio.Values, r int) any {
	e := v.Kind.Elem
	if v.Off == nil {
		switch {
		case e == rootio.Bool:
			return v.B[r]
		case e == rootio.String:
			return v.S[r]
		case e.Signed() || e.Unsigned():
			return int(v.Int(r))
		}
		return v.Float(r)
	}
	lo, hi := v.Row(r)
	switch {
	case e == rootio.Bool:
		return v.B[lo:hi]
	case e == rootio.String:
		return v.S[lo:hi]
	case e == rootio.Float64:
		return v.F64[lo:hi]
	case e.Signed() || e.Unsigned():
		x := make([]int, hi-lo)
		for i := range x {
			x[i] = int(v.Int(lo + i))
		}
		return x
	}
	x := make([]float64, hi-lo)
	for i := range x {
		x[i] = v.Float(lo + i)
	}
	return x
}
