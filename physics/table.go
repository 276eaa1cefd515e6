package physics

import (
	"fmt"
	"slices"
	"strings"

	"hepmorph/physics/rootio"
)

// Role says what a column is for.
type Role uint8

// The roles of columns.
const (
	Other      Role = iota
	Feature         // is morphed
	Condition       // the morph depends on it and leaves it as it is
	Observable      // derived, looked at, not morphed itself
	Weight          // of the event, may be negative
	ID              // identifies the event; exact integers
)

var roleNames = [...]string{"other", "feature", "condition", "observable", "weight", "id"}

func (r Role) String() string {
	if int(r) < len(roleNames) {
		return roleNames[r]
	}
	return fmt.Sprintf("role(%d)", uint8(r))
}

// Column is a named quantity, one value a row. F holds it; an ID column has exact integers in U and F nil.
type Column struct {
	Name string
	Unit string
	Expr string // where it came from, in terms of branches
	Role Role
	F    []float64
	U    []uint64
}

// Len is the number of rows.
func (c *Column) Len() int {
	if c.F == nil {
		return len(c.U)
	}
	return len(c.F)
}

// Table holds selected rows as columns. Not safe for concurrent changes.
type Table struct {
	Entry   []int64   // entry of the row in the chain of files, nil when the rows come from no file
	Elem    []int32   // element of the collection, nil for event rows
	Weight  []float64 // weight of the row as the sample defines it, nil means 1
	Columns []Column

	n     int
	index map[string]int
}

// NewTable returns a table of n rows without columns.
func NewTable(n int) *Table { return &Table{n: n, index: map[string]int{}} }

// Len is the number of rows.
func (t *Table) Len() int { return t.n }

// Add adds a column. The name must be new and the length that of the table; an empty table takes the length of its first column.
func (t *Table) Add(c Column) error {
	if len(t.Columns) == 0 && t.n == 0 && len(t.Entry) == 0 {
		t.n = c.Len()
	}
	if c.Len() != t.n {
		return fmt.Errorf("physics: could not add column %q: %d values for %d rows", c.Name, c.Len(), t.n)
	}
	if _, ok := t.index[c.Name]; ok {
		return fmt.Errorf("physics: could not add column %q: the table has one of that name", c.Name)
	}
	if t.index == nil {
		t.index = map[string]int{}
	}
	t.index[c.Name] = len(t.Columns)
	t.Columns = append(t.Columns, c)
	return nil
}

// Column returns the column of that name; the error lists the nearest names.
func (t *Table) Column(name string) (*Column, error) {
	i, ok := t.index[name]
	if !ok {
		return nil, fmt.Errorf("physics: could not find column %q: nearest: %s", name, strings.Join(rootio.Nearest(name, t.Names(), 5), ", "))
	}
	return &t.Columns[i], nil
}

// Has reports whether there is a column of that name.
func (t *Table) Has(name string) bool { _, ok := t.index[name]; return ok }

// Col returns the values of a column, those of the table, not a copy. Exact integers are converted.
func (t *Table) Col(name string) ([]float64, error) {
	c, err := t.Column(name)
	if err != nil {
		return nil, err
	}
	if c.F == nil && c.U != nil {
		f := make([]float64, len(c.U))
		for i, u := range c.U {
			f[i] = float64(u)
		}
		return f, nil
	}
	return c.F, nil
}

// Names lists the columns in their order.
func (t *Table) Names() []string {
	out := make([]string, len(t.Columns))
	for i := range t.Columns {
		out[i] = t.Columns[i].Name
	}
	return out
}

// ByRole lists the columns of a role, in their order.
func (t *Table) ByRole(r Role) []string {
	var out []string
	for i := range t.Columns {
		if t.Columns[i].Role == r {
			out = append(out, t.Columns[i].Name)
		}
	}
	return out
}

// Take returns the given rows, in that order, as a table of its own.
func (t *Table) Take(rows []int) *Table {
	out := NewTable(len(rows))
	out.Entry, out.Elem, out.Weight = take(t.Entry, rows), take(t.Elem, rows), take(t.Weight, rows)
	for _, c := range t.Columns {
		c.F, c.U = take(c.F, rows), take(c.U, rows)
		out.index[c.Name] = len(out.Columns)
		out.Columns = append(out.Columns, c)
	}
	return out
}

func take[T any](x []T, rows []int) []T {
	if x == nil {
		return nil
	}
	out := make([]T, len(rows))
	for i, r := range rows {
		out[i] = x[r]
	}
	return out
}

// Append adds the rows of o, which must have the same columns in the same order. An empty table without columns takes those of o.
func (t *Table) Append(o *Table) error {
	if len(t.Columns) == 0 && t.n == 0 {
		rows := make([]int, o.n)
		for i := range rows {
			rows[i] = i
		}
		*t = *o.Take(rows)
		return nil
	}
	if !slices.Equal(t.Names(), o.Names()) {
		return fmt.Errorf("physics: could not append a table: it has columns %v, not %v", o.Names(), t.Names())
	}
	if (t.Elem == nil) != (o.Elem == nil) || (t.Entry == nil) != (o.Entry == nil) {
		return fmt.Errorf("physics: could not append a table: its rows are of another kind")
	}
	if t.Weight != nil || o.Weight != nil {
		t.Weight = append(ones(t.Weight, t.n), ones(o.Weight, o.n)...)
	}
	t.Entry, t.Elem = append(t.Entry, o.Entry...), append(t.Elem, o.Elem...)
	for i := range t.Columns {
		a, b := &t.Columns[i], &o.Columns[i]
		a.F, a.U = append(a.F, b.F...), append(a.U, b.U...)
	}
	t.n += o.n
	return nil
}

func ones(w []float64, n int) []float64 {
	if w != nil {
		return w
	}
	w = make([]float64, n)
	for i := range w {
		w[i] = 1
	}
	return w
}
