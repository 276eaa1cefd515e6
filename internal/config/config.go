// Package config decodes YAML into Go structs strictly: unknown keys (with the nearest known one), wrong types,
// duplicates and values out of range are all reported at once, sorted by line. Single values can be overridden by
// "a.b=c" settings, and a struct can be printed back as YAML, with comments or without.
//
// Fields are described by tags:
//
//	yaml:"name,omitempty"   the key; omitempty leaves a zero value out when printing (only where zero is the default)
//	help:"..."              the comment that Print writes
//	min:"0" max:"1"         inclusive limits of numbers, for each element of a list
//	above:"0" below:"1"     exclusive limits
//	len:"2"                 a list is empty or has this many elements
//	oneof:"a b c"           allowed strings
//	required:"true"         must not be empty
//	expr:"true"             a string that may be written as a number or boolean (an expression)
//	nonfinite:"true"        .nan and .inf are allowed
//
// A list of strings may be written as one string. A type may take a scalar by implementing Scalar.
package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// MaxBytes bounds the size of a configuration.
const MaxBytes = 1 << 20

// maxNodes bounds the values visited, so that nested anchors can't grow without limit.
const maxNodes = 200_000

// ErrInvalid marks everything that is wrong with a configuration (exit code 3).
var ErrInvalid = errors.New("invalid configuration")

// A Scalar is a type that reads itself from a scalar: "15m", "2 sd over floor", 50. A struct that implements it may be
// written as a mapping too. SetScalar gets the text of the scalar.
type Scalar interface{ SetScalar(text string) error }

// A Validator checks what tags can't say. Decode calls it after decoding.
type Validator interface{ Validate(r *Report) }

// A Map is a YAML mapping that keeps its order.
type Map[T any] []Item[T]

// An Item is one entry of a Map.
type Item[T any] struct {
	Name  string
	Value T
}

// Get finds an entry by name.
func (m Map[T]) Get(name string) (T, bool) {
	for _, it := range m {
		if it.Name == name {
			return it.Value, true
		}
	}
	var zero T
	return zero, false
}

// Names lists the keys in their order.
func (m Map[T]) Names() []string {
	names := make([]string, len(m))
	for i, it := range m {
		names[i] = it.Name
	}
	return names
}

func (Map[T]) ordered() {}

type ordered interface{ ordered() }

// An Error is one thing wrong.
type Error struct {
	File string // file name, or the setting it came from; empty for a configuration made in Go
	Line int    // 0: unknown
	Path string // key, like flow.bins or constraints[1].max
	Msg  string
}

func (e Error) Error() string {
	var b strings.Builder
	b.WriteString("config: ")
	if e.File != "" {
		b.WriteString(e.File + ":")
		if e.Line > 0 {
			fmt.Fprintf(&b, "%d:", e.Line)
		}
		b.WriteByte(' ')
	}
	if e.Path != "" {
		b.WriteString(e.Path + ": ")
	}
	b.WriteString(e.Msg)
	return b.String()
}

// Errors lists everything wrong, sorted by line. It matches ErrInvalid.
type Errors []Error

func (e Errors) Error() string {
	const most = 50
	lines := make([]string, 0, len(e))
	for i, one := range e {
		if i == most {
			lines = append(lines, fmt.Sprintf("config: and %d more", len(e)-most))
			break
		}
		lines = append(lines, one.Error())
	}
	return strings.Join(lines, "\n")
}

// Is reports whether target is ErrInvalid.
func (Errors) Is(target error) bool { return target == ErrInvalid }

// A Report collects errors and knows the lines of keys.
type Report struct {
	file string
	pos  map[string]int // line, or -1-i for setting i
	sets []string
	errs Errors
}

// Errorf notes that the value at path is wrong. A key inside a value that is wrong already is not reported again.
func (r *Report) Errorf(path, format string, a ...any) {
	for _, e := range r.errs {
		if e.Path == path || strings.HasPrefix(path, e.Path+".") || strings.HasPrefix(path, e.Path+"[") {
			return
		}
	}
	r.add(path, r.line(path), fmt.Sprintf(format, a...))
}

func (r *Report) line(path string) int {
	for {
		if line, ok := r.pos[path]; ok || path == "" {
			return line
		}
		path = path[:max(0, strings.LastIndexAny(path, ".["))]
	}
}

func (r *Report) add(path string, line int, msg string) {
	e := Error{File: r.file, Line: line, Path: path, Msg: msg}
	if line < 0 {
		e.File, e.Line = "--set "+r.sets[-1-line], 0
	}
	r.errs = append(r.errs, e)
}

func (r *Report) result() error {
	if len(r.errs) == 0 {
		return nil
	}
	slices.SortStableFunc(r.errs, func(a, b Error) int {
		if (a.Line == 0) != (b.Line == 0) { // settings, and what has no line, last
			return b.Line - a.Line
		}
		return a.Line - b.Line
	})
	return r.errs
}

// Check validates a configuration that was made in Go.
func Check(v any) error {
	r := &Report{}
	c := &decoder{Report: r}
	c.limits(reflect.ValueOf(v), "", "")
	if val, ok := v.(Validator); ok {
		val.Validate(r)
	}
	return r.result()
}

// Load reads a file and decodes it into v, a pointer to a struct that holds the defaults.
func Load(path string, v any, sets ...string) error {
	f, err := os.Open(path)
	if err != nil {
		var pe *os.PathError
		if errors.As(err, &pe) {
			err = pe.Err
		}
		return fmt.Errorf("config: could not read %q: %w (%w)", path, err, ErrInvalid)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxBytes+1))
	if err != nil {
		return fmt.Errorf("config: could not read %q: %w (%w)", path, err, ErrInvalid)
	}
	return Decode(path, data, v, sets...)
}

// Decode decodes YAML into v, a pointer to a struct that holds the defaults. The name stands in messages. Settings of
// the form "a.b=c" override the document. The error is of type Errors.
func Decode(name string, data []byte, v any, sets ...string) error {
	r := &Report{file: name, pos: map[string]int{}, sets: sets}
	c := &decoder{Report: r, root: reflect.TypeOf(v).Elem()}
	root := c.parse(data)
	if root == nil {
		return r.result()
	}
	for i, s := range sets {
		c.override(root, i, s)
	}
	c.value(root, reflect.ValueOf(v).Elem(), "", "")
	c.limits(reflect.ValueOf(v), "", "")
	if val, ok := v.(Validator); ok {
		val.Validate(r)
	}
	return r.result()
}

type decoder struct {
	*Report
	root  reflect.Type
	nodes int
}

// parse returns the top mapping; an empty document gives an empty one.
func (c *decoder) parse(data []byte) *yaml.Node {
	empty := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	if len(data) > MaxBytes {
		c.add("", 0, fmt.Sprintf("more than %d bytes", MaxBytes))
		return nil
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc yaml.Node
	if err := dec.Decode(&doc); err == io.EOF {
		return empty
	} else if err != nil {
		c.syntax(data, err)
		return nil
	}
	var more yaml.Node
	if err := dec.Decode(&more); err != io.EOF {
		c.add("", more.Line, "a second document begins (only one is read)")
		return nil
	}
	if len(doc.Content) == 0 || doc.Content[0].Tag == "!!null" {
		return empty
	}
	root := doc.Content[0]
	if root.Kind != yaml.MappingNode {
		c.add("", root.Line, "expected keys and values, found "+describe(root))
		return nil
	}
	return root
}

// syntax turns the parser's message into one with a line of its own.
func (c *decoder) syntax(data []byte, err error) {
	msg := strings.TrimPrefix(err.Error(), "yaml: ")
	line := 0
	if rest, ok := strings.CutPrefix(msg, "line "); ok {
		if num, text, ok := strings.Cut(rest, ": "); ok {
			if n, err := strconv.Atoi(num); err == nil {
				line, msg = n, text
			}
		}
	}
	lines := bytes.Split(data, []byte("\n"))
	for i := max(0, line-2); i < min(len(lines), line+1); i++ {
		text := bytes.TrimLeft(lines[i], " ")
		if bytes.HasPrefix(text, []byte("\t")) {
			line, msg = i+1, "a tab can't indent (use spaces)"
			break
		}
	}
	c.add("", line, msg)
}

// override puts the value of setting i, "a.b[2].c=value", into the document.
func (c *decoder) override(root *yaml.Node, i int, set string) {
	line := -1 - i
	path, text, ok := strings.Cut(set, "=")
	path = strings.TrimSpace(path)
	if !ok || path == "" {
		c.add("", line, "expected key=value")
		return
	}
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
		c.add(path, line, strings.TrimPrefix(err.Error(), "yaml: "))
		return
	}
	val := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Value: "null"}
	if len(doc.Content) > 0 {
		val = doc.Content[0]
	}
	relabel(val, line)
	at := root
	keys := strings.Split(strings.ReplaceAll(strings.ReplaceAll(path, "[", "."), "]", ""), ".")
	for k, key := range keys {
		next := c.child(at, key, line)
		if next == nil {
			c.add(path, line, fmt.Sprintf("%q is not an element of the list there", key))
			return
		}
		if k == len(keys)-1 {
			*next = *val
			return
		}
		if next.Kind == yaml.AliasNode {
			*next = *clone(next.Alias, 0)
		}
		if _, err := strconv.Atoi(keys[k+1]); err == nil && next.Kind == yaml.ScalarNode && next.Tag != "!!null" {
			one := *next // a single value that may stand for a list
			*next = yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq", Line: one.Line, Content: []*yaml.Node{&one}}
		}
		if next.Kind != yaml.SequenceNode && next.Kind != yaml.MappingNode {
			*next = yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Line: line}
		}
		at = next
	}
}

// child finds the value under a key, or makes it; nil if the list has no such element. One element may be appended.
func (c *decoder) child(at *yaml.Node, key string, line int) *yaml.Node {
	if at.Kind == yaml.SequenceNode {
		i, err := strconv.Atoi(key)
		if err != nil || i < 0 || i > len(at.Content) {
			return nil
		}
		if i == len(at.Content) {
			at.Content = append(at.Content, &yaml.Node{Line: line})
		}
		return at.Content[i]
	}
	for i := 0; i+1 < len(at.Content); i += 2 {
		if at.Content[i].Value == key {
			at.Content[i].Line = line
			return at.Content[i+1]
		}
	}
	val := &yaml.Node{Line: line}
	at.Content = append(at.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: key, Line: line}, val)
	return val
}

func relabel(n *yaml.Node, line int) {
	n.Line = line
	for _, c := range n.Content {
		relabel(c, line)
	}
}

func clone(n *yaml.Node, depth int) *yaml.Node {
	out := *n
	out.Anchor = ""
	out.Content = nil
	if depth > 100 {
		return &out
	}
	for _, c := range n.Content {
		out.Content = append(out.Content, clone(c, depth+1))
	}
	return &out
}

func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	switch n.Tag {
	case "!!int", "!!float":
		return "the number " + n.Value
	case "!!bool":
		return "the boolean " + n.Value
	case "!!null":
		return "nothing"
	}
	return fmt.Sprintf("the text %.60q", n.Value)
}

// value decodes n into v. Type errors are added to the report; the rest of the document is still read.
func (c *decoder) value(n *yaml.Node, v reflect.Value, path string, tag reflect.StructTag) {
	if c.nodes++; c.nodes > maxNodes {
		if c.nodes == maxNodes+1 {
			c.add(path, n.Line, fmt.Sprintf("more than %d values (anchors inside anchors?)", maxNodes))
		}
		return
	}
	if path != "" {
		if _, ok := c.pos[path]; !ok {
			c.pos[path] = n.Line
		}
	}
	if n.Kind == yaml.AliasNode {
		n = n.Alias // a cycle ends where the types do
	}
	if n.Kind == 0 || n.Tag == "!!null" {
		return // no value: the default stays
	}
	if v.Kind() == reflect.Pointer {
		p := reflect.New(v.Type().Elem())
		c.value(n, p.Elem(), path, tag)
		v.Set(p)
		return
	}
	if s, ok := v.Addr().Interface().(Scalar); ok && n.Kind == yaml.ScalarNode {
		if err := s.SetScalar(n.Value); err != nil {
			c.add(path, n.Line, err.Error())
		}
		return
	}
	if _, ok := v.Interface().(ordered); ok {
		c.items(n, v, path, tag)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		c.structure(n, v, path)
	case reflect.Slice:
		c.list(n, v, path, tag)
	case reflect.String, reflect.Bool, reflect.Int, reflect.Int64, reflect.Uint64, reflect.Float64:
		c.scalar(n, v, path, tag)
	default:
		panic("config: a field has a type that can't be decoded")
	}
}

// pairs calls f for each entry of a mapping; false if n is no mapping.
func (c *decoder) pairs(n *yaml.Node, path string, f func(key, val *yaml.Node, at string)) bool {
	if n.Kind != yaml.MappingNode {
		c.add(path, n.Line, "expected keys and values, found "+describe(n))
		return false
	}
	first := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, val := n.Content[i], n.Content[i+1]
		if key.Kind != yaml.ScalarNode {
			c.add(path, key.Line, "a key must be a plain word")
			continue
		}
		at := join(path, key.Value)
		if key.Tag == "!!merge" {
			c.add(at, key.Line, "merging with << is not supported (repeat the keys)")
			continue
		}
		if line, dup := first[key.Value]; dup {
			c.add(at, key.Line, fmt.Sprintf("duplicate key (first in line %d)", line))
			continue
		}
		first[key.Value] = key.Line
		c.pos[at] = key.Line
		f(key, val, at)
	}
	return true
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func (c *decoder) structure(n *yaml.Node, v reflect.Value, path string) {
	fields := fieldsOf(v.Type())
	c.pairs(n, path, func(key, val *yaml.Node, at string) {
		for _, f := range fields {
			if f.name == key.Value {
				c.value(val, v.Field(f.index), at, f.tag)
				return
			}
		}
		names := make([]string, len(fields))
		for i, f := range fields {
			names[i] = f.name
		}
		c.add(at, key.Line, "unknown key"+c.hint(key.Value, names))
	})
}

// hint suggests the nearest sibling, else a key of the same name elsewhere, else lists what is known here.
func (c *decoder) hint(key string, known []string) string {
	if near := Near(key, known, 1); len(near) > 0 {
		return " (did you mean " + near[0] + "?)"
	}
	if at := search(c.root, key, "", 0); at != "" {
		return " here (did you mean " + at + "?)"
	}
	return " (known: " + strings.Join(known, ", ") + ")"
}

func search(t reflect.Type, key, path string, depth int) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || depth > 8 {
		return ""
	}
	for _, f := range fieldsOf(t) {
		at := join(path, f.name)
		if f.name == key {
			return at
		}
		if found := search(t.Field(f.index).Type, key, at, depth+1); found != "" {
			return found
		}
	}
	return ""
}

func (c *decoder) items(n *yaml.Node, v reflect.Value, path string, tag reflect.StructTag) {
	out := reflect.MakeSlice(v.Type(), 0, len(n.Content)/2)
	item := v.Type().Elem()
	if c.pairs(n, path, func(key, val *yaml.Node, at string) {
		e := reflect.New(item).Elem()
		e.Field(0).SetString(key.Value)
		c.value(val, e.Field(1), at, tag)
		out = reflect.Append(out, e)
	}) {
		v.Set(out)
	}
}

func (c *decoder) list(n *yaml.Node, v reflect.Value, path string, tag reflect.StructTag) {
	content := n.Content
	switch {
	case n.Kind == yaml.SequenceNode:
	case n.Kind == yaml.ScalarNode && v.Type().Elem().Kind() == reflect.String:
		content = []*yaml.Node{n}
	default:
		if s, ok := reflect.New(v.Type().Elem()).Interface().(Scalar); ok && s != nil && n.Kind == yaml.ScalarNode {
			content = []*yaml.Node{n}
			break
		}
		c.add(path, n.Line, "expected a list, found "+describe(n))
		return
	}
	out := reflect.MakeSlice(v.Type(), len(content), len(content))
	for i, e := range content {
		if e.Tag == "!!null" || e.Kind == 0 {
			c.add(fmt.Sprintf("%s[%d]", path, i), e.Line, "the element has no value")
			continue
		}
		c.value(e, out.Index(i), fmt.Sprintf("%s[%d]", path, i), tag)
	}
	v.Set(out)
}

func (c *decoder) scalar(n *yaml.Node, v reflect.Value, path string, tag reflect.StructTag) {
	wrong := func(want string) { c.add(path, n.Line, "expected "+want+", found "+describe(n)) }
	number := n.Tag == "!!int" || n.Tag == "!!float"
	if n.Kind != yaml.ScalarNode {
		wrong(kindName(v.Kind()))
		return
	}
	switch v.Kind() {
	case reflect.String:
		if n.Tag != "!!str" && tag.Get("expr") == "" {
			wrong("text")
			return
		}
		v.SetString(n.Value)
	case reflect.Bool:
		if n.Tag != "!!bool" {
			wrong("true or false")
			return
		}
		v.SetBool(strings.EqualFold(n.Value, "true"))
	case reflect.Float64:
		var x float64
		if !number || n.Decode(&x) != nil {
			wrong("a number")
			return
		}
		if (math.IsNaN(x) || math.IsInf(x, 0)) && tag.Get("nonfinite") == "" {
			wrong("a finite number")
			return
		}
		v.SetFloat(x)
	case reflect.Int, reflect.Int64:
		var x int64
		if !number || integer(n, &x) != nil {
			wrong("a whole number")
			return
		}
		v.SetInt(x)
	case reflect.Uint64:
		var x uint64
		if !number || integer(n, &x) != nil {
			wrong("a whole number of at least 0")
			return
		}
		v.SetUint(x)
	}
}

// integer accepts 1000 and 1e3.
func integer[T int64 | uint64](n *yaml.Node, x *T) error {
	if n.Tag == "!!int" {
		return n.Decode(x)
	}
	var f float64
	if err := n.Decode(&f); err != nil {
		return err
	}
	if f != math.Trunc(f) || math.Abs(f) > 1<<53 || f < 0 && T(0)-1 > 0 {
		return errors.New("not whole")
	}
	*x = T(f)
	return nil
}

func kindName(k reflect.Kind) string {
	switch k {
	case reflect.String:
		return "text"
	case reflect.Bool:
		return "true or false"
	case reflect.Float64:
		return "a number"
	}
	return "a whole number"
}

type field struct {
	name  string
	index int
	omit  bool
	tag   reflect.StructTag
}

func fieldsOf(t reflect.Type) []field {
	var out []field
	for i := range t.NumField() {
		f := t.Field(i)
		name, opt, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if !f.IsExported() || name == "-" || name == "" {
			continue
		}
		out = append(out, field{name, i, opt == "omitempty", f.Tag})
	}
	return out
}

// limits checks what the tags say, over the whole struct, defaults included.
func (c *decoder) limits(v reflect.Value, path string, tag reflect.StructTag) {
	if tag.Get("required") != "" && v.IsZero() {
		c.Errorf(path, "is required")
	}
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			c.limits(v.Elem(), path, tag)
		}
	case reflect.Struct:
		for _, f := range fieldsOf(v.Type()) {
			c.limits(v.Field(f.index), join(path, f.name), f.tag)
		}
	case reflect.Slice:
		if _, ok := v.Interface().(ordered); ok {
			if tag.Get("required") != "" && v.Len() == 0 {
				c.Errorf(path, "is required")
			}
			for i := range v.Len() {
				c.limits(v.Index(i).Field(1), join(path, v.Index(i).Field(0).String()), without(tag))
			}
			return
		}
		if want := tag.Get("len"); want != "" && v.Len() > 0 && strconv.Itoa(v.Len()) != want {
			c.Errorf(path, "has %d elements, not %s", v.Len(), want)
		}
		if tag.Get("required") != "" && v.Len() == 0 {
			c.Errorf(path, "is required")
		}
		for i := range v.Len() {
			c.limits(v.Index(i), fmt.Sprintf("%s[%d]", path, i), without(tag))
		}
	case reflect.String:
		if list := tag.Get("oneof"); list != "" && v.Len() > 0 {
			known := strings.Fields(list)
			if !slices.Contains(known, v.String()) {
				hint := " (known: " + strings.Join(known, ", ") + ")"
				if near := Near(v.String(), known, 1); len(near) > 0 {
					hint = " (did you mean " + near[0] + "?)"
				}
				c.Errorf(path, "%q is unknown%s", v.String(), hint)
			}
		}
	case reflect.Int, reflect.Int64:
		c.bounds(float64(v.Int()), path, tag)
	case reflect.Uint64:
		c.bounds(float64(v.Uint()), path, tag)
	case reflect.Float64:
		c.bounds(v.Float(), path, tag)
	}
}

// without drops what concerns the list itself, so that its elements are checked for limits only.
func without(tag reflect.StructTag) reflect.StructTag {
	var keep []string
	for _, k := range []string{"min", "max", "above", "below", "oneof"} {
		if s, ok := tag.Lookup(k); ok {
			keep = append(keep, k+":"+strconv.Quote(s))
		}
	}
	return reflect.StructTag(strings.Join(keep, " "))
}

func (c *decoder) bounds(x float64, path string, tag reflect.StructTag) {
	for _, b := range []struct {
		key, text string
		bad       func(limit float64) bool
	}{
		{"min", "is below", func(l float64) bool { return x < l }},
		{"max", "is above", func(l float64) bool { return x > l }},
		{"above", "is not above", func(l float64) bool { return x <= l }},
		{"below", "is not below", func(l float64) bool { return x >= l }},
	} {
		if s := tag.Get(b.key); s != "" {
			limit, err := strconv.ParseFloat(s, 64)
			if err != nil {
				panic("config: a tag holds no number")
			}
			if b.bad(limit) {
				c.Errorf(path, "%v %s %s", x, b.text, s)
				return
			}
		}
	}
}
