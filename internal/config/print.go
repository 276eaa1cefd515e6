package config

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Print writes v as YAML that Decode reads back to the same values. With comments, the help of each key stands before
// it.
func Print(v any, comments bool) ([]byte, error) {
	p := printer{comments: comments}
	n := p.node(reflect.ValueOf(v), "", false)
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(n); err != nil {
		return nil, fmt.Errorf("config: could not print: %w", err)
	}
	if err := enc.Close(); err != nil {
		return nil, fmt.Errorf("config: could not print: %w", err)
	}
	return b.Bytes(), nil
}

// Digest is the SHA-256, in hexadecimal, of v as Print writes it without comments.
func Digest(v any) (string, error) {
	b, err := Print(v, false)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), nil
}

// lineLength is how long a list may be on one line.
const lineLength = 90

type printer struct{ comments bool }

func text(tag, value string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: value}
}

func str(s string) *yaml.Node {
	n := text("!!str", s)
	if s == "" || strings.ContainsAny(s, "\n\t") || strings.TrimSpace(s) != s {
		n.Style = yaml.DoubleQuotedStyle
	}
	return n
}

// node returns nil for a nil pointer.
func (p printer) node(v reflect.Value, tag reflect.StructTag, flow bool) *yaml.Node {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return nil
		}
		return p.node(v.Elem(), tag, flow)
	}
	if s, ok := v.Interface().(fmt.Stringer); ok && scalarType(v.Type()) {
		return plain(s.String())
	}
	if _, ok := v.Interface().(ordered); ok {
		n := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
		for i := range v.Len() {
			n.Content = append(n.Content, str(v.Index(i).Field(0).String()), p.node(v.Index(i).Field(1), "", true))
		}
		return n
	}
	switch v.Kind() {
	case reflect.Struct:
		return p.mapping(v, flow)
	case reflect.Slice:
		n := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
		simple, length := true, 0
		for i := range v.Len() {
			e := p.node(v.Index(i), tag, true)
			simple = simple && e.Kind == yaml.ScalarNode
			length += len(e.Value) + 2
			n.Content = append(n.Content, e)
		}
		if simple && (flow || length <= lineLength) {
			n.Style = yaml.FlowStyle
		}
		return n
	case reflect.Bool:
		return text("!!bool", strconv.FormatBool(v.Bool()))
	case reflect.Int, reflect.Int64:
		return text("!!int", strconv.FormatInt(v.Int(), 10))
	case reflect.Uint64:
		return text("!!int", strconv.FormatUint(v.Uint(), 10))
	case reflect.Float64:
		return float(v.Float())
	}
	return str(v.String())
}

func scalarType(t reflect.Type) bool {
	return reflect.PointerTo(t).Implements(reflect.TypeFor[Scalar]())
}

// plain writes a scalar that a Scalar has printed: as a number where it is one.
func plain(s string) *yaml.Node {
	if x, err := strconv.ParseFloat(s, 64); err == nil && !math.IsNaN(x) && !math.IsInf(x, 0) && !strings.ContainsAny(s, "xXpP_") {
		if _, err := strconv.ParseInt(s, 10, 64); err == nil {
			return text("!!int", s)
		}
		return float(x)
	}
	return str(s)
}

func float(x float64) *yaml.Node {
	switch {
	case math.IsNaN(x):
		return text("!!float", ".nan")
	case math.IsInf(x, 1):
		return text("!!float", ".inf")
	case math.IsInf(x, -1):
		return text("!!float", "-.inf")
	}
	s := strconv.FormatFloat(x, 'g', -1, 64)
	if x == math.Trunc(x) && math.Abs(x) < 1e15 {
		s = strconv.FormatFloat(x, 'f', -1, 64)
		if math.Signbit(x) && x == 0 {
			s = "-0.0"
		}
		return text("!!int", s)
	}
	if mant, exp, ok := strings.Cut(s, "e"); ok && !strings.Contains(mant, ".") {
		s = mant + ".0e" + exp // YAML 1.1 wants the point
	}
	return text("!!float", s)
}

func (p printer) mapping(v reflect.Value, flow bool) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	simple := true
	for _, f := range fieldsOf(v.Type()) {
		fv := v.Field(f.index)
		if f.omit && (fv.IsZero() || fv.Kind() == reflect.Slice && fv.Len() == 0) {
			continue
		}
		val := p.node(fv, f.tag, false)
		if val == nil {
			continue
		}
		if val.Kind != yaml.ScalarNode && val.Style != yaml.FlowStyle {
			simple = false
		}
		key := str(f.name)
		if help := f.tag.Get("help"); p.comments && !flow && help != "" {
			key.HeadComment = help
		}
		n.Content = append(n.Content, key, val)
	}
	if flow && simple {
		n.Style = yaml.FlowStyle
	}
	return n
}
