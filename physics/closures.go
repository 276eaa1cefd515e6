package physics

import (
	"fmt"
	"math"

	"github.com/expr-lang/expr/ast"

	"hepmorph/physics/rootio"
)

// code is an expression as a closure; one of the three is set. They take a row of the batch that the state holds, and report a
// failure in the state.
type code struct {
	f func(s *state, r int) float64
	i func(s *state, r int) int64
	b func(s *state, r int) bool
}

func (c code) none() bool   { return c.f == nil && c.i == nil && c.b == nil }
func (c code) number() bool { return c.f != nil || c.i != nil }

// float is the value as float64, a truth value as 0 or 1.
func (c code) float() func(s *state, r int) float64 {
	switch {
	case c.f != nil:
		return c.f
	case c.i != nil:
		i := c.i
		return func(s *state, r int) float64 { return float64(i(s, r)) }
	}
	b := c.b
	return func(s *state, r int) float64 {
		if b(s, r) {
			return 1
		}
		return 0
	}
}

func (s *state) fail(format string, args ...any) {
	if s.why == "" {
		s.why = fmt.Sprintf(format, args...)
	}
}

// compiler turns the tree of a checked expression into closures. It knows the part of the language that selections and columns
// are made of; ok is false for the rest, which the virtual machine runs. Both give the same values (a test compares them).
type compiler struct{ e *Expr }

func (c compiler) column(name string) (int, rootio.Kind, bool) {
	for i, n := range c.e.names {
		if n == name {
			return i, c.e.kinds[i], true
		}
	}
	return 0, rootio.Kind{}, false
}

func (c compiler) compile(node ast.Node) (code, bool) {
	switch n := node.(type) {
	case *ast.IntegerNode:
		x := int64(n.Value)
		if t := n.Type(); t != nil && t.Kind().String() == "float64" {
			return code{f: func(*state, int) float64 { return float64(x) }}, true
		}
		return code{i: func(*state, int) int64 { return x }}, true
	case *ast.FloatNode:
		x := n.Value
		return code{f: func(*state, int) float64 { return x }}, true
	case *ast.BoolNode:
		x := n.Value
		return code{b: func(*state, int) bool { return x }}, true
	case *ast.IdentifierNode:
		k, kind, ok := c.column(n.Value)
		if !ok {
			x, ok := constants[n.Value]
			return code{f: func(*state, int) float64 { return x }}, ok
		}
		if kind.Form != rootio.Scalar {
			return code{}, false
		}
		return value(k, kind.Elem)
	case *ast.MemberNode:
		return c.element(n)
	case *ast.UnaryNode:
		return c.unary(n)
	case *ast.BinaryNode:
		return c.binary(n)
	case *ast.ConditionalNode:
		cond, ok1 := c.compile(n.Cond)
		a, ok2 := c.compile(n.Exp1)
		b, ok3 := c.compile(n.Exp2)
		if !ok1 || !ok2 || !ok3 || cond.b == nil {
			return code{}, false
		}
		t := cond.b
		switch {
		case a.b != nil && b.b != nil:
			return code{b: func(s *state, r int) bool {
				if t(s, r) {
					return a.b(s, r)
				}
				return b.b(s, r)
			}}, true
		case a.i != nil && b.i != nil:
			return code{i: func(s *state, r int) int64 {
				if t(s, r) {
					return a.i(s, r)
				}
				return b.i(s, r)
			}}, true
		case a.number() && b.number():
			x, y := a.float(), b.float()
			return code{f: func(s *state, r int) float64 {
				if t(s, r) {
					return x(s, r)
				}
				return y(s, r)
			}}, true
		}
	case *ast.BuiltinNode:
		return c.builtin(n)
	case *ast.CallNode:
		return c.call(n)
	}
	return code{}, false
}

// value reads value r of a column: the value of row r for a scalar.
func value(k int, e rootio.Elem) (code, bool) {
	switch {
	case e == rootio.Float32:
		return code{f: func(s *state, r int) float64 { return float64(s.cols[k].F32[r]) }}, true
	case e == rootio.Float64:
		return code{f: func(s *state, r int) float64 { return s.cols[k].F64[r] }}, true
	case e == rootio.Bool:
		return code{b: func(s *state, r int) bool { return s.cols[k].B[r] }}, true
	case e.Signed():
		return code{i: func(s *state, r int) int64 { return s.cols[k].I[r] }}, true
	case e.Unsigned():
		return code{i: func(s *state, r int) int64 { return int64(s.cols[k].U[r]) }}, true
	}
	return code{}, false
}

// element is x[i]; a negative index counts from the end, as in the language.
func (c compiler) element(n *ast.MemberNode) (code, bool) {
	id, ok := n.Node.(*ast.IdentifierNode)
	if !ok || n.Optional || n.Method {
		return code{}, false
	}
	k, kind, ok := c.column(id.Value)
	if !ok || kind.Form == rootio.Scalar {
		return code{}, false
	}
	index, ok := c.compile(n.Property)
	if !ok || index.i == nil {
		return code{}, false
	}
	name := c.e.branches[k]
	at := func(s *state, r int) int {
		lo, hi := s.cols[k].Row(r)
		i := index.i(s, r)
		if i < 0 {
			i += int64(hi - lo)
		}
		if i < 0 || i >= int64(hi-lo) {
			s.fail("index %d of %s, which has %d elements", index.i(s, r), name, hi-lo)
			return -1
		}
		return lo + int(i)
	}
	v, ok := value(k, kind.Elem)
	switch {
	case v.f != nil:
		return code{f: func(s *state, r int) float64 {
			if j := at(s, r); j >= 0 {
				return v.f(s, j)
			}
			return math.NaN()
		}}, ok
	case v.i != nil:
		return code{i: func(s *state, r int) int64 {
			if j := at(s, r); j >= 0 {
				return v.i(s, j)
			}
			return 0
		}}, ok
	case v.b != nil:
		return code{b: func(s *state, r int) bool {
			j := at(s, r)
			return j >= 0 && v.b(s, j)
		}}, ok
	}
	return code{}, false
}

func (c compiler) unary(n *ast.UnaryNode) (code, bool) {
	x, ok := c.compile(n.Node)
	if !ok {
		return code{}, false
	}
	switch n.Operator {
	case "+":
		return x, x.number()
	case "-":
		if x.i != nil {
			return code{i: func(s *state, r int) int64 { return -x.i(s, r) }}, true
		}
		if x.f != nil {
			return code{f: func(s *state, r int) float64 { return -x.f(s, r) }}, true
		}
	case "!", "not":
		if x.b != nil {
			return code{b: func(s *state, r int) bool { return !x.b(s, r) }}, true
		}
	}
	return code{}, false
}

func (c compiler) binary(n *ast.BinaryNode) (code, bool) {
	x, ok1 := c.compile(n.Left)
	y, ok2 := c.compile(n.Right)
	if !ok1 || !ok2 {
		return code{}, false
	}
	switch n.Operator {
	case "&&", "and":
		return code{b: func(s *state, r int) bool { return x.b(s, r) && y.b(s, r) }}, x.b != nil && y.b != nil
	case "||", "or":
		return code{b: func(s *state, r int) bool { return x.b(s, r) || y.b(s, r) }}, x.b != nil && y.b != nil
	}
	if x.b != nil && y.b != nil {
		switch n.Operator {
		case "==":
			return code{b: func(s *state, r int) bool { return x.b(s, r) == y.b(s, r) }}, true
		case "!=":
			return code{b: func(s *state, r int) bool { return x.b(s, r) != y.b(s, r) }}, true
		}
	}
	if !x.number() || !y.number() {
		return code{}, false
	}
	if x.i != nil && y.i != nil {
		if out, ok := integers(n.Operator, x.i, y.i); ok {
			return out, true
		}
	}
	a, b := x.float(), y.float()
	switch n.Operator {
	case "+":
		return code{f: func(s *state, r int) float64 { return a(s, r) + b(s, r) }}, true
	case "-":
		return code{f: func(s *state, r int) float64 { return a(s, r) - b(s, r) }}, true
	case "*":
		return code{f: func(s *state, r int) float64 { return a(s, r) * b(s, r) }}, true
	case "/":
		return code{f: func(s *state, r int) float64 { return a(s, r) / b(s, r) }}, true
	case "**", "^":
		return code{f: func(s *state, r int) float64 { return math.Pow(a(s, r), b(s, r)) }}, true
	case "<":
		return code{b: func(s *state, r int) bool { return a(s, r) < b(s, r) }}, true
	case "<=":
		return code{b: func(s *state, r int) bool { return a(s, r) <= b(s, r) }}, true
	case ">":
		return code{b: func(s *state, r int) bool { return a(s, r) > b(s, r) }}, true
	case ">=":
		return code{b: func(s *state, r int) bool { return a(s, r) >= b(s, r) }}, true
	case "==":
		return code{b: func(s *state, r int) bool { return a(s, r) == b(s, r) }}, true
	case "!=":
		return code{b: func(s *state, r int) bool { return a(s, r) != b(s, r) }}, true
	}
	return code{}, false
}

func integers(op string, a, b func(*state, int) int64) (code, bool) {
	switch op {
	case "+":
		return code{i: func(s *state, r int) int64 { return a(s, r) + b(s, r) }}, true
	case "-":
		return code{i: func(s *state, r int) int64 { return a(s, r) - b(s, r) }}, true
	case "*":
		return code{i: func(s *state, r int) int64 { return a(s, r) * b(s, r) }}, true
	case "%":
		return code{i: func(s *state, r int) int64 {
			d := b(s, r)
			if d == 0 {
				s.fail("integer divide by zero")
				return 0
			}
			return a(s, r) % d
		}}, true
	case "<":
		return code{b: func(s *state, r int) bool { return a(s, r) < b(s, r) }}, true
	case "<=":
		return code{b: func(s *state, r int) bool { return a(s, r) <= b(s, r) }}, true
	case ">":
		return code{b: func(s *state, r int) bool { return a(s, r) > b(s, r) }}, true
	case ">=":
		return code{b: func(s *state, r int) bool { return a(s, r) >= b(s, r) }}, true
	case "==":
		return code{b: func(s *state, r int) bool { return a(s, r) == b(s, r) }}, true
	case "!=":
		return code{b: func(s *state, r int) bool { return a(s, r) != b(s, r) }}, true
	}
	return code{}, false
}

// array returns the column of an argument that is a whole array.
func (c compiler) array(node ast.Node) (int, rootio.Kind, bool) {
	id, ok := node.(*ast.IdentifierNode)
	if !ok {
		return 0, rootio.Kind{}, false
	}
	k, kind, ok := c.column(id.Value)
	return k, kind, ok && kind.Form != rootio.Scalar
}

func length(k int) code {
	return code{i: func(s *state, r int) int64 { lo, hi := s.cols[k].Row(r); return int64(hi - lo) }}
}

// builtin knows abs, min, max, floor, ceil, round, int, float of numbers and len of an array.
func (c compiler) builtin(n *ast.BuiltinNode) (code, bool) {
	if n.Name == "len" && len(n.Arguments) == 1 {
		k, _, ok := c.array(n.Arguments[0])
		return length(k), ok
	}
	args := make([]code, len(n.Arguments))
	whole := true
	for i, a := range n.Arguments {
		x, ok := c.compile(a)
		if !ok || !x.number() {
			return code{}, false
		}
		args[i] = x
		whole = whole && x.i != nil
	}
	switch {
	case len(args) == 1:
		x := args[0]
		switch n.Name {
		case "abs":
			if whole {
				return code{i: func(s *state, r int) int64 {
					if v := x.i(s, r); v < 0 {
						return -v
					} else {
						return v
					}
				}}, true
			}
			return code{f: func(s *state, r int) float64 { return math.Abs(x.f(s, r)) }}, true
		case "floor", "ceil", "round":
			f := map[string]func(float64) float64{"floor": math.Floor, "ceil": math.Ceil, "round": math.Round}[n.Name]
			v := x.float()
			return code{f: func(s *state, r int) float64 { return f(v(s, r)) }}, true
		case "float":
			return code{f: x.float()}, true
		case "int":
			if whole {
				return x, true
			}
			return code{i: func(s *state, r int) int64 { return int64(x.f(s, r)) }}, true
		}
	case len(args) == 2 && (n.Name == "min" || n.Name == "max"):
		// As the language has it: a NaN in the first argument stays, one in the second is dropped.
		x, y := args[0], args[1]
		lower := n.Name == "min"
		if whole {
			return code{i: func(s *state, r int) int64 {
				a, b := x.i(s, r), y.i(s, r)
				if lower == (b < a) && a != b {
					return b
				}
				return a
			}}, true
		}
		if x.f == nil || y.f == nil {
			return code{}, false // of an int and a float the language returns whichever it is, with its type
		}
		return code{f: func(s *state, r int) float64 {
			a, b := x.f(s, r), y.f(s, r)
			if lower && b < a || !lower && b > a {
				return b
			}
			return a
		}}, true
	}
	return code{}, false
}

// call knows our own functions.
func (c compiler) call(n *ast.CallNode) (code, bool) {
	id, ok := n.Callee.(*ast.IdentifierNode)
	if !ok {
		return code{}, false
	}
	if id.Value == "size" && len(n.Arguments) == 1 {
		k, _, ok := c.array(n.Arguments[0])
		return length(k), ok
	}
	if f, ok := scalarFuncs[id.Value]; ok {
		args := make([]func(*state, int) float64, len(n.Arguments))
		for i, a := range n.Arguments {
			x, ok := c.compile(a)
			if !ok {
				return code{}, false
			}
			args[i] = x.float()
		}
		if g := f.f1; g != nil {
			x := args[0]
			return code{f: func(s *state, r int) float64 { return g(x(s, r)) }}, true
		}
		if g := f.f2; g != nil {
			x, y := args[0], args[1]
			return code{f: func(s *state, r int) float64 { return g(x(s, r), y(s, r)) }}, true
		}
		return code{f: func(s *state, r int) float64 {
			base := len(s.args)
			for _, a := range args {
				x := a(s, r)
				s.args = append(s.args, x)
			}
			y := f.f(s.args[base:])
			s.args = s.args[:base]
			return y
		}}, true
	}
	if f, ok := arrayFuncs[id.Value]; ok {
		cols := make([]int, len(n.Arguments))
		for i, a := range n.Arguments {
			k, kind, ok := c.array(a)
			if !ok || kind.Elem != rootio.Float32 && kind.Elem != rootio.Float64 {
				return code{}, false
			}
			cols[i] = k
		}
		name := id.Value
		return code{f: func(s *state, r int) float64 {
			n, base := len(cols), len(s.args)
			s.args = append(s.args, make([]float64, 2*n)...)
			a, b := s.args[base:base+n], s.args[base+n:]
			s.args = s.args[:base]
			for i, k := range cols {
				v := s.cols[k]
				lo, hi := v.Row(r)
				if hi-lo < 2 {
					s.fail("%s: needs two elements, argument %d has %d", name, i+1, hi-lo)
					return math.NaN()
				}
				a[i], b[i] = v.Float(lo), v.Float(lo+1)
			}
			return f.f(a, b)
		}}, true
	}
	return code{}, false
}
