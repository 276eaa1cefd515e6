package morph

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"hepmorph/physics"
	"hepmorph/physics/rootio"
)

// An observable is a quantity of an event that follows from features and from what else the event has, and is computed again from morphed
// values. Its expression may use scalars, elements of arrays (pt[0]) and whole arrays where a function takes those of the first two photons.
type observable struct {
	name   string
	expr   string // with definitions put in
	inputs []input
	eval   *physics.Expr
}

// input is a number that an observable needs: a scalar, or one element of an array.
type input struct {
	branch  string
	element int // -1 for a scalar
	column  string
	feature int // that stands for it, -1 if it is not morphed
}

var token = regexp.MustCompile(`"[^"]*"|'[^']*'|[A-Za-z_][A-Za-z0-9_.]*(?:\s*\[\s*\d+\s*\])?(?:\s*\()?`)

// inline puts definitions, in brackets, in the place of their names.
func inline(expr string, define map[string]string) (string, error) {
	for range 20 {
		changed := false
		expr = token.ReplaceAllStringFunc(expr, func(s string) string {
			if d, ok := define[strings.TrimSpace(s)]; ok {
				changed = true
				return "(" + d + ")"
			}
			return s
		})
		if !changed {
			return expr, nil
		}
	}
	return "", fmt.Errorf("morph: could not use %q: its definitions go round in a circle", expr)
}

// squash removes the blanks of an expression, for comparing.
func squash(s string) string {
	s = strings.Join(strings.Fields(s), "")
	for strings.HasPrefix(s, "(") && strings.HasSuffix(s, ")") {
		s = s[1 : len(s)-1]
	}
	return s
}

// pairElements is how many elements of a whole array an observable sees: those of the photon pair.
const pairElements = 2

// newObservable takes an expression apart. kinds are the branches as expressions see them; features are the expressions of the morphed
// features.
func newObservable(name, expr string, define map[string]string, kinds map[string]rootio.Kind, features []string) (*observable, error) {
	expr, err := inline(expr, define)
	if err != nil {
		return nil, err
	}
	o := &observable{name: name, expr: expr}
	seen := map[string]bool{}
	add := func(branch string, element int) {
		in := input{branch: branch, element: element, column: branch, feature: -1}
		if element >= 0 {
			in.column = branch + "[" + strconv.Itoa(element) + "]"
		}
		if seen[in.column] {
			return
		}
		seen[in.column] = true
		for i, f := range features {
			if squash(f) == in.column {
				in.feature = i
			}
		}
		o.inputs = append(o.inputs, in)
	}
	flat := map[string]rootio.Kind{}
	for _, m := range token.FindAllString(expr, -1) {
		if strings.HasSuffix(m, "(") || m[0] == '"' || m[0] == '\'' {
			continue
		}
		branch, rest, indexed := strings.Cut(squash(m), "[")
		k, ok := kinds[branch]
		if !ok {
			continue
		}
		flat[branch] = rootio.Kind{Elem: rootio.Float64, Len: 1}
		if k.Form == rootio.Scalar {
			add(branch, -1)
			continue
		}
		flat[branch] = rootio.Kind{Elem: rootio.Float64, Form: rootio.Vector, Len: 1}
		if indexed {
			i, err := strconv.Atoi(strings.TrimSuffix(rest, "]"))
			if err != nil || i > 15 {
				return nil, fmt.Errorf("morph: could not use observable %q: %s: an index from 0 to 15 is expected", name, m)
			}
			for e := range i + 1 {
				add(branch, e)
			}
			continue
		}
		for e := range pairElements {
			add(branch, e)
		}
	}
	if o.eval, err = physics.Compile(expr, flat); err != nil {
		return nil, fmt.Errorf("morph: could not use observable %q: %w", name, err)
	}
	return o, nil
}

// columns are the columns that a table must have for the observable.
func (o *observable) columns() []physics.Column {
	var c []physics.Column
	for _, in := range o.inputs {
		c = append(c, physics.Column{Name: in.column, Expr: in.column, Role: physics.Other})
	}
	return c
}

// morphs reports whether the observable changes when features do.
func (o *observable) morphs() bool {
	for _, in := range o.inputs {
		if in.feature >= 0 {
			return true
		}
	}
	return false
}

// values computes the observable of n rows. at gives input k of row i.
func (o *observable) values(n int, at func(k, i int) float64) ([]float64, error) {
	b := &rootio.Batch{N: n, Cols: map[string]*rootio.Values{}}
	length := map[string]int{}
	for _, in := range o.inputs {
		if in.element >= 0 {
			length[in.branch] = max(length[in.branch], in.element+1)
		}
	}
	for k, in := range o.inputs {
		if in.element < 0 {
			v := make([]float64, n)
			for i := range v {
				v[i] = at(k, i)
			}
			b.Cols[in.branch] = rootio.Float64s(v)
			continue
		}
		m := length[in.branch]
		v := b.Cols[in.branch]
		if v == nil {
			v = &rootio.Values{Kind: rootio.Kind{Elem: rootio.Float64, Form: rootio.Vector, Len: 1}, Off: make([]int32, n+1), F64: make([]float64, n*m)}
			for i := range v.Off {
				v.Off[i] = int32(i * m)
			}
			b.Cols[in.branch] = v
		}
		for i := range n {
			v.F64[i*m+in.element] = at(k, i)
		}
	}
	h, err := o.eval.Eval(b, nil)
	if err != nil {
		return nil, fmt.Errorf("morph: could not compute observable %q: %w", o.name, err)
	}
	return h, nil
}
