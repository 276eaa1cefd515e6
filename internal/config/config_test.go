package config

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
)

type bound struct {
	Value float64
	Unit  string
}

func (b *bound) SetScalar(text string) error {
	num, unit, _ := strings.Cut(text, " ")
	x, err := strconv.ParseFloat(num, 64)
	if err != nil {
		return fmt.Errorf("expected a number and a unit, found %q", text)
	}
	*b = bound{x, unit}
	return nil
}

func (b bound) String() string {
	return strings.TrimSpace(strconv.FormatFloat(b.Value, 'g', -1, 64) + " " + b.Unit)
}

type column struct {
	Expr   string    `yaml:"expr" expr:"true"`
	Bounds []float64 `yaml:"bounds,omitempty" len:"2"`
	Atom   *float64  `yaml:"atom,omitempty"`
	Skip   []float64 `yaml:"skip,omitempty" nonfinite:"true"`
}

func (c *column) SetScalar(text string) error { *c = column{Expr: text}; return nil }

type flow struct {
	Kind   string `yaml:"kind" oneof:"nsf maf coupling" help:"the kind of flow"`
	Bins   int    `yaml:"bins" min:"2" max:"64" help:"bins of the spline"`
	Hidden []int  `yaml:"hidden" min:"1"`
}

type settings struct {
	Seed     uint64      `yaml:"seed" help:"of all random numbers"`
	Files    []string    `yaml:"files" required:"true"`
	Rate     float64     `yaml:"rate" above:"0" below:"1"`
	On       bool        `yaml:"on"`
	Flow     flow        `yaml:"flow"`
	Features Map[column] `yaml:"features"`
	Limits   []bound     `yaml:"limits,omitempty"`
	Blind    []float64   `yaml:"blind,omitempty" len:"2"`
	Max      bound       `yaml:"max"`
}

func (s *settings) Validate(r *Report) {
	for _, f := range s.Features {
		if b := f.Value.Bounds; len(b) == 2 && b[0] >= b[1] {
			r.Errorf("features."+f.Name+".bounds", "%v is empty", b)
		}
	}
}

func defaults() *settings {
	return &settings{Seed: 1, Rate: 0.1, Flow: flow{Kind: "nsf", Bins: 8, Hidden: []int{128, 128}}, Max: bound{2, "sd"}}
}

const good = `
seed: 18446744073709551615
files: a.root            # one string for a list
rate: 1e-3
flow: {bins: 16, hidden: [64]}
features:
  z: {expr: "x[0]", bounds: [0, 1.5], atom: 0}
  a: y + 1
  m: {expr: 1, skip: [-999, .nan, .inf]}
limits: [3 MeV, 4]
max: 50 MeV
blind:
`

func TestDecode(t *testing.T) {
	s := defaults()
	if err := Decode("run.yaml", []byte(good), s, "flow.kind=maf", "features.b=q", "files.1=b.root", "features.z.bounds[1]=2", "blind=[1,2]"); err != nil {
		t.Fatal(err)
	}
	zero := 0.0
	if !math.IsNaN(s.Features[2].Value.Skip[1]) {
		t.Error("NaN lost")
	}
	s.Features[2].Value.Skip[1] = 0
	want := &settings{
		Seed: math.MaxUint64, Files: []string{"a.root", "b.root"}, Rate: 1e-3,
		Flow: flow{"maf", 16, []int{64}},
		Features: Map[column]{
			{"z", column{Expr: "x[0]", Bounds: []float64{0, 2}, Atom: &zero}}, {"a", column{Expr: "y + 1"}},
			{"m", column{Expr: "1", Skip: []float64{-999, 0, math.Inf(1)}}}, {"b", column{Expr: "q"}},
		},
		Limits: []bound{{3, "MeV"}, {4, ""}}, Max: bound{50, "MeV"}, Blind: []float64{1, 2},
	}
	if !reflect.DeepEqual(s, want) {
		t.Errorf("got  %+v\nwant %+v", s, want)
	}
}

func TestSettingListElements(t *testing.T) {
	s := defaults()
	if err := Decode("", []byte("files: [a, b]\n"), s, "files.1=c", "files[2]=d", "flow.hidden=[1,2]", "flow.hidden.0=7"); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(s.Files, []string{"a", "c", "d"}) || !reflect.DeepEqual(s.Flow.Hidden, []int{7, 2}) {
		t.Errorf("%v %v", s.Files, s.Flow.Hidden)
	}
}

// Everything wrong at once, sorted by line.
func TestAllErrorsAtOnce(t *testing.T) {
	text := `seed: -1
files: {a: 1}
rate: 2
on: yes
flow:
  bnis: 8
  kind: nfs
  bins: 1
  hidden: [128, x, 0]
  bins: 9
features:
  z: {expr: "x", bounds: [2, 1]}
  y: {expr: [1], bounds: [1]}
  w: {expr: x, skip: [a]}
hidden: [1]
limits: [x MeV]
max: .nan
blind: 3
colour: red
`
	err := Decode("run.yaml", []byte(text), defaults(), "flow.bins2=3", "rate=abc", "nothing")
	want := []string{
		`config: run.yaml:1: seed: expected a whole number of at least 0, found the number -1`,
		`config: run.yaml:2: files: expected a list, found a mapping`,
		`config: run.yaml:4: on: expected true or false, found the text "yes"`,
		`config: run.yaml:6: flow.bnis: unknown key (did you mean bins?)`,
		`config: run.yaml:7: flow.kind: "nfs" is unknown (did you mean nsf?)`,
		`config: run.yaml:9: flow.hidden[1]: expected a whole number, found the text "x"`,
		`config: run.yaml:9: flow.hidden[2]: 0 is below 1`,
		`config: run.yaml:10: flow.bins: duplicate key (first in line 8)`,
		`config: run.yaml:12: features.z.bounds: [2 1] is empty`,
		`config: run.yaml:13: features.y.expr: expected text, found a list`,
		`config: run.yaml:13: features.y.bounds: has 1 elements, not 2`,
		`config: run.yaml:14: features.w.skip[0]: expected a number, found the text "a"`,
		`config: run.yaml:15: hidden: unknown key here (did you mean flow.hidden?)`,
		`config: run.yaml:16: limits[0]: expected a number and a unit, found "x MeV"`,
		`config: run.yaml:17: max: expected a number and a unit, found ".nan"`,
		`config: run.yaml:18: blind: expected a list, found the number 3`,
		`config: run.yaml:19: colour: unknown key (known: seed, files, rate, on, flow, features, limits, blind, max)`,
		`config: --set rate=abc: rate: expected a number, found the text "abc"`,
		`config: --set flow.bins2=3: flow.bins2: unknown key (did you mean bins?)`,
		`config: --set nothing: expected key=value`,
	}
	if !errors.Is(err, ErrInvalid) {
		t.Fatalf("not ErrInvalid: %v", err)
	}
	got := err.Error()
	for _, w := range want {
		if !strings.Contains(got+"\n", w+"\n") {
			t.Errorf("missing: %s", w)
		}
	}
	var errs Errors
	if !errors.As(err, &errs) {
		t.Fatal("not of type Errors")
	}
	if len(errs) != len(want) {
		t.Errorf("%d messages, want %d:\n%s", len(errs), len(want), got)
	}
	for i := 1; i < len(errs); i++ {
		if errs[i].Line > 0 && errs[i].Line < errs[i-1].Line {
			t.Errorf("not sorted by line: %v after %v", errs[i], errs[i-1])
		}
	}
}

func TestDocumentsThatCannotBeRead(t *testing.T) {
	bomb := "files: [x]\nfeatures:\n  a: &a {expr: x, skip: [" + strings.Repeat("1,", 2000) + "1]}\n"
	for i := range 300 {
		bomb += fmt.Sprintf("  b%d: *a\n", i)
	}
	for name, c := range map[string]struct{ text, want string }{
		"tab":         {"flow:\n\tbins: 3\n", "config: x.yaml:2: a tab can't indent"},
		"syntax":      {"flow: [1\nseed: 2\n", "config: x.yaml:"},
		"list":        {"- a\n", "config: x.yaml:1: expected keys and values, found a list"},
		"text":        {"hello", "expected keys and values, found the text \"hello\""},
		"two":         {"files: a\n---\nfiles: b\n", "a second document"},
		"merge":       {"files: a\nx: &x {bins: 3}\nflow:\n  <<: *x\n", "merging with << is not supported"},
		"cycle":       {"files: &f [*f]\n", "files[0]: expected text, found a list"},
		"bomb":        {bomb, "more than 200000 values"},
		"complex key": {"? [a, b]\n: c\n", "a key must be a plain word"},
		"large":       {"files: " + strings.Repeat("x", MaxBytes), "more than 1048576 bytes"},
		"missing":     {"", "config: x.yaml: files: is required"},
		"int range":   {"files: a\nseed: 99999999999999999999\n", "seed: expected a whole number"},
		"fraction":    {"files: a\nflow: {bins: 2.5}\n", "flow.bins: expected a whole number, found the number 2.5"},
		"null in":     {"files: [a, ~]\n", "files[1]: the element has no value"},
	} {
		err := Decode("x.yaml", []byte(c.text), defaults())
		if !errors.Is(err, ErrInvalid) || !strings.Contains(fmt.Sprint(err), c.want) {
			t.Errorf("%s: %v\nwant %s", name, err, c.want)
		}
	}
	if err := Load(filepath.Join(t.TempDir(), "no.yaml"), defaults()); !errors.Is(err, ErrInvalid) || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
}

func TestAnchors(t *testing.T) {
	s := defaults()
	if err := Decode("", []byte("files: a\nfeatures:\n  p: &p {expr: x, atom: 0}\n  q: *p\n"), s, "features.q.atom=1"); err != nil {
		t.Fatal(err)
	}
	if *s.Features[0].Value.Atom != 0 || *s.Features[1].Value.Atom != 1 || s.Features[1].Value.Expr != "x" {
		t.Errorf("%+v", s.Features)
	}
}

func TestNumbers(t *testing.T) {
	s := defaults()
	if err := Decode("", []byte("files: a\nseed: 1e6\nflow: {bins: 0x10}\n"), s); err != nil {
		t.Error(err)
	}
	if s.Seed != 1000000 || s.Flow.Bins != 16 {
		t.Errorf("%d %d", s.Seed, s.Flow.Bins)
	}
}

func TestCheck(t *testing.T) {
	s := defaults()
	s.Files = []string{"a"}
	if err := Check(s); err != nil {
		t.Error(err)
	}
	s.Flow.Bins = 1
	if err := Check(s); !errors.Is(err, ErrInvalid) || err.Error() != "config: flow.bins: 1 is below 2" {
		t.Errorf("%v", err)
	}
}

func TestPrintRoundTrip(t *testing.T) {
	s := defaults()
	if err := Decode("", []byte(good), s); err != nil {
		t.Fatal(err)
	}
	s.Features[2].Value.Skip = []float64{math.Inf(-1), 1e-300, 0.1, -3, 1e22}
	s.Files = []string{"- tricky: #\n", "", " x ", "true", "12", "null", "γγ", "a{b}: c, d"}
	for _, comments := range []bool{false, true} {
		out, err := Print(s, comments)
		if err != nil {
			t.Fatal(err)
		}
		got := &settings{}
		if err := Decode("out.yaml", out, got); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if !reflect.DeepEqual(s, got) {
			t.Errorf("read %+v\nfrom\n%s", got, out)
		}
		if comments != strings.Contains(string(out), "# bins of the spline") {
			t.Errorf("comments %v:\n%s", comments, out)
		}
	}
	a, err := Digest(s)
	s.Rate *= 1 + 1e-15
	b, err2 := Digest(s)
	if a == b || len(a) != 64 || err != nil || err2 != nil {
		t.Error("the digest does not follow the values")
	}
}

func TestNear(t *testing.T) {
	known := []string{"pho_pt", "pho_phi", "pho_eta", "pho_r9", "pho_pt_raw", "MET_phi"}
	if got := Near("phopt", known, 3); len(got) == 0 || got[0] != "pho_pt" {
		t.Errorf("%v", got)
	}
	if got := Near("xxxxxxx", known, 3); len(got) != 0 {
		t.Errorf("%v", got)
	}
	if got := Near("pho_tp", known, 1); got[0] != "pho_pt" || distance("pho_tp", "pho_pt") != 1 {
		t.Errorf("%v", got)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(good, "flow.bins=3")
	f.Add("a: &a [*a]\n", "a.0.b=*a")
	f.Add("features: {x: {bounds: [1, 2]}}\nfiles: [a]", "features.x.bounds.1=3")
	f.Add("? {a: b}\n: [c]\n", "=")
	f.Fuzz(func(t *testing.T, text, set string) {
		s := defaults()
		err := Decode("f.yaml", []byte(text), s, set)
		if err != nil {
			if !errors.Is(err, ErrInvalid) {
				t.Error(err)
			}
			return
		}
		out, err := Print(s, false)
		if err != nil {
			return // text that YAML can't hold
		}
		got := defaults()
		if err := Decode("out.yaml", out, got); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		again, err := Print(got, false)
		if err != nil || string(again) != string(out) {
			t.Errorf("printed again:\n%s\nwas:\n%s", again, out)
		}
	})
}
