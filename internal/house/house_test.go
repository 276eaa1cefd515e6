package house

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	module = "hepmorph"
	root   = "../.."
)

type listed struct {
	ImportPath, Name, Doc                    string
	Imports, TestImports, XTestImports, Deps []string
}

func list(t *testing.T, args ...string) []listed {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-e", "-json=ImportPath,Name,Doc,Imports,TestImports,XTestImports,Deps"}, args...)...)
	cmd.Dir = root
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if errors.Is(err, exec.ErrNotFound) {
		t.Skip("the go command is not here")
	}
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.Bytes())
	}
	var pkgs []listed
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := d.Decode(&p); err == io.EOF {
			return pkgs
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
}

// leaves may be imported by anyone who is not closed.
var leaves = []string{"internal/rng", "internal/par", "internal/rank", "internal/atomicfile", "internal/modelfile", "internal/config", "internal/gbdt", "internal/gbdt/order", "internal/hdf5"}

// closed packages import what their rule names and nothing else, not even leaves.
var closed = []string{"mdmm", "internal/kernel", "internal/rng", "internal/par", "internal/rank", "internal/atomicfile", "internal/modelfile", "internal/config", "internal/gbdt", "internal/hdf5",
	"internal/testdata", "internal/house"}

// engine is what networks run on.
var engine = []string{"internal/train", "internal/nn", "internal/ad", "internal/kernel"}

// arrows says what a package may import beside leaves and packages below itself; "*" is everything.
var arrows = map[string][]string{
	"cmd/hepmorph":              {"*"},
	"morph":                     append([]string{"flows", "mdmm", "physics", "physics/rootio", "validation/metric", "validation/plot"}, engine...),
	"calo":                      append([]string{"flows", "mdmm", "physics", "physics/rootio", "validation/metric", "validation/plot"}, engine...),
	"calo/geometry":             {"physics/rootio"},
	"validation":                {"physics", "physics/rootio"},
	"validation/metric":         nil,
	"validation/plot":           nil,
	"samples":                   {"physics", "physics/rootio", "calo/geometry"},
	"physics":                   nil,
	"physics/rootio":            nil,
	"flows":                     engine,
	"mdmm":                      nil,
	"internal/train":            {"internal/nn", "internal/ad", "internal/kernel"},
	"internal/nn":               {"internal/ad", "internal/kernel"},
	"internal/ad":               {"internal/kernel"},
	"internal/kernel":           nil,
	"internal/rng":              nil,
	"internal/par":              nil,
	"internal/rank":             nil,
	"internal/atomicfile":       nil,
	"internal/modelfile":        {"internal/atomicfile"},
	"internal/config":           nil,
	"internal/gbdt":             {"internal/par", "internal/rank", "internal/rng"},
	"internal/hdf5":             {"internal/atomicfile", "internal/par"},
	"internal/house":            nil,
	"internal/testdata":         nil,
	"internal/peer":             append([]string{"flows", "calo", "calo/geometry", "validation/metric"}, engine...), // benchmarks against peers and makers of golden files
	"internal/peer/sweepfigure": {"validation/plot"},
}

// rule returns the nearest package at or above p that has a rule.
func rule(p string) (string, bool) {
	for p != "." {
		if _, ok := arrows[p]; ok {
			return p, true
		}
		p = path.Dir(p)
	}
	return "", false
}

func allowed(from, to string) bool {
	r, ok := rule(from)
	if !ok {
		return false
	}
	switch may := arrows[r]; {
	case strings.HasPrefix(to, r+"/"), to == r, slices.Contains(may, to), slices.Contains(may, "*"):
		return true
	default:
		return slices.Contains(leaves, to) && !slices.Contains(closed, r)
	}
}

func TestArrowsThemselves(t *testing.T) {
	for _, c := range []struct {
		from, to string
		want     bool
	}{
		{"flows", "physics", false}, {"flows", "internal/ad", true}, {"flows", "internal/rng", true}, {"morph", "calo", false}, {"calo", "morph", false},
		{"validation", "morph", false}, {"validation/metric", "internal/gbdt", true}, {"validation/metric", "physics", false}, {"mdmm", "internal/rng", false},
		{"samples/toys", "physics", true}, {"samples", "calo", false}, {"internal/kernel", "internal/ad", false}, {"nowhere", "internal/rng", false},
	} {
		if got := allowed(c.from, c.to); got != c.want {
			t.Errorf("allowed(%s, %s) = %v", c.from, c.to, got)
		}
	}
}

func TestImportArrows(t *testing.T) {
	for _, p := range list(t, "./...") {
		from := strings.TrimPrefix(p.ImportPath, module+"/")
		if _, ok := rule(from); !ok {
			t.Errorf("package %s has no place in the house", from)
			continue
		}
		for _, imp := range p.Imports {
			if to, ours := strings.CutPrefix(imp, module+"/"); ours {
				if to == "internal/testdata" || to == "internal/house" || strings.HasPrefix(to, "internal/peer") && !strings.HasPrefix(from, "internal/peer") {
					t.Errorf("%s imports %s, which is for tests and measurements only", from, to)
				} else if !allowed(from, to) {
					t.Errorf("%s must not import %s", from, to)
				}
			}
		}
	}
}

// homes says which packages alone may import others' modules.
var homes = map[string][]string{
	"go-hep.org/x/hep":                      {"physics/rootio"},
	"github.com/batchatco/go-native-netcdf": {},
	"github.com/spf13/cobra":                {"cmd/hepmorph"},
	"github.com/vbauerster/mpb/v8":          {"cmd/hepmorph"},
	"golang.org/x/term":                     {"cmd/hepmorph"},
	"github.com/expr-lang/expr":             {"physics"},
	"go.yaml.in/yaml/v3":                    {"internal/config"},
	"gonum.org/v1/plot":                     {"validation/plot"},
	"golang.org/x/image":                    {"validation/plot"},
	"gorgonia.org/cu":                       {"internal/kernel/cuda"},
}

func TestForeignModulesHaveOneHome(t *testing.T) {
	for _, p := range list(t, "./...") {
		from := strings.TrimPrefix(p.ImportPath, module+"/")
		for _, imp := range p.Imports {
			for mod, where := range homes {
				if (imp == mod || strings.HasPrefix(imp, mod+"/")) && !slices.ContainsFunc(where, func(h string) bool { return from == h || strings.HasPrefix(from, h+"/") }) {
					t.Errorf("%s imports %s; only %v may", from, imp, where)
				}
			}
		}
	}
}

func TestCoreHasNoNetwork(t *testing.T) {
	var core []string
	for _, p := range []string{"flows", "mdmm", "internal/...", "validation/metric", "validation/plot"} {
		core = append(core, "./"+p)
	}
	for _, p := range list(t, core...) {
		if strings.HasPrefix(p.ImportPath, module+"/internal/peer") {
			continue
		}
		for _, d := range p.Deps {
			if d == "net/http" || d == "net" {
				t.Errorf("%s depends on %s", p.ImportPath, d)
			}
		}
	}
}

func TestPackagesSayWhatTheyAre(t *testing.T) {
	for _, p := range list(t, "./...") {
		if p.Doc == "" {
			t.Errorf("%s has no package comment", p.ImportPath)
		}
	}
}

// files lists the repository: what git tracks, or, without git, what .gitignore does not name.
func files(t *testing.T) []string {
	t.Helper()
	cmd := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	cmd.Dir = root
	if out, err := cmd.Output(); err == nil && len(out) > 0 {
		var names []string
		for n := range strings.SplitSeq(strings.TrimRight(string(out), "\x00"), "\x00") {
			if _, err := os.Stat(filepath.Join(root, n)); err == nil {
				names = append(names, n)
			}
		}
		return names
	}
	ignored, err := os.ReadFile(filepath.Join(root, ".gitignore"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	err = filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if d.IsDir() {
			if d.Name() == ".git" || strings.Contains(string(ignored), "/"+rel+"/\n") {
				return fs.SkipDir
			}
			return nil
		}
		names = append(names, rel)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestTopLevel(t *testing.T) {
	want := []string{"go.mod", "go.sum", "cmd", "physics", "morph", "calo", "flows", "mdmm", "validation", "samples", "internal", "docs", "Makefile", "README.md", "CHANGELOG.md",
		"LICENSE", ".ci", ".gitignore"}
	for _, name := range files(t) {
		if top, _, _ := strings.Cut(name, "/"); !slices.Contains(want, top) {
			t.Errorf("%s: the top level holds %v only", name, want)
		}
	}
}

func TestNothingIsLeftToDo(t *testing.T) {
	words := []string{"TO" + "DO", "FIX" + "ME", "XX" + "X:", "/" + "work/", "/" + "home/"}
	text := []string{".go", ".s", ".md", ".yaml", ".yml", ".py", ".mjs", ".sh", ".html", ".css", ".js", "", ".mod"}
	for _, name := range files(t) {
		if !slices.Contains(text, path.Ext(name)) || path.Base(name) == ".gitignore" || strings.Contains(name, "testdata/fuzz/") {
			continue
		}
		b, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		for i, line := range strings.Split(string(b), "\n") {
			for _, w := range words {
				if strings.Contains(line, w) && !strings.Contains(line, "://") {
					t.Errorf("%s:%d: %q: %s", name, i+1, w, strings.TrimSpace(line))
				}
			}
		}
	}
}

// A call that only some places may make.
type restricted struct {
	pkg   string   // import path
	names []string // functions
	where []string // packages or files that may
	mains bool     // commands may
	why   string
}

var calls = []restricted{
	{"os", []string{"Create", "WriteFile", "CreateTemp", "OpenFile"}, []string{"internal/atomicfile"}, false, "files come into being by internal/atomicfile"},
	{"os", []string{"Exit"}, []string{"cmd", "physics/rootio/guard.go"}, true, "only the command exits (and the guarded reader, which is a process of its own)"},
	{"log", []string{"Fatal", "Fatalf", "Fatalln", "Panic", "Panicf", "Printf", "Println", "Print"}, []string{"cmd"}, true, "libraries return errors"},
	{"fmt", []string{"Print", "Printf", "Println"}, []string{"cmd"}, true, "libraries do not print"},
	{"time", []string{"Now", "Since"}, []string{"cmd", "internal/train", "internal/ad/pool.go", "morph/task.go", "morph/constraints.go", "internal/peer"}, false,
		"results depend on no clock (allowed: checkpoints, the scheduler's measurements, the calibration of a time budget)"},
}

func TestRestrictedCalls(t *testing.T) {
	parsed(t, func(name string, f *ast.File, set *token.FileSet) {
		for _, imp := range f.Imports {
			if p, err := strconv.Unquote(imp.Path.Value); err == nil && (p == "math/rand" || p == "math/rand/v2") {
				t.Errorf("%s: random numbers come from internal/rng", name)
			}
		}
		ast.Inspect(f, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			if id, ok := call.Fun.(*ast.Ident); ok && id.Name == "panic" && len(call.Args) == 1 {
				if inner, ok := call.Args[0].(*ast.CallExpr); ok {
					if p, _ := selector(f, inner.Fun); p == "fmt" {
						t.Errorf("%s: panic with a formatted text: a panic means that hepmorph is wrong, its text is constant", set.Position(n.Pos()))
					}
				}
			}
			pkg, fn := selector(f, call.Fun)
			for _, r := range calls {
				if pkg != r.pkg || !slices.Contains(r.names, fn) || r.mains && f.Name.Name == "main" {
					continue
				}
				if fn == "OpenFile" && !creates(call) {
					continue
				}
				if !slices.ContainsFunc(r.where, func(w string) bool { return name == w || strings.HasPrefix(name, w+"/") }) {
					t.Errorf("%s: %s.%s: %s", set.Position(n.Pos()), pkg, fn, r.why)
				}
			}
			return true
		})
	})
}

// creates says whether a call of os.OpenFile may make a file.
func creates(call *ast.CallExpr) bool {
	found := false
	ast.Inspect(call, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok && s.Sel.Name == "O_CREATE" {
			found = true
		}
		return true
	})
	return found
}

// selector resolves pkg.Name by the imports of a file.
func selector(f *ast.File, e ast.Expr) (pkg, name string) {
	s, ok := e.(*ast.SelectorExpr)
	if !ok {
		return "", ""
	}
	id, ok := s.X.(*ast.Ident)
	if !ok {
		return "", ""
	}
	for _, imp := range f.Imports {
		p, err := strconv.Unquote(imp.Path.Value)
		if err != nil {
			continue
		}
		if imp.Name != nil && imp.Name.Name == id.Name || imp.Name == nil && path.Base(p) == id.Name {
			return p, s.Sel.Name
		}
	}
	return "", ""
}

// parsed calls f for every Go file that is no test.
func parsed(t *testing.T, f func(name string, file *ast.File, set *token.FileSet)) {
	t.Helper()
	each(t, func(name string) bool { return !strings.HasSuffix(name, "_test.go") }, f)
}

func each(t *testing.T, want func(name string) bool, f func(name string, file *ast.File, set *token.FileSet)) {
	t.Helper()
	for _, name := range files(t) {
		if path.Ext(name) != ".go" || strings.Contains(name, "testdata/") || !want(name) {
			continue
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, filepath.Join(root, name), nil, parser.ParseComments)
		if err != nil {
			t.Error(err)
			continue
		}
		f(name, file, set)
	}
}

func TestFuzzTargetsHaveSeeds(t *testing.T) {
	found := 0
	each(t, func(name string) bool { return strings.HasSuffix(name, "_test.go") }, func(name string, f *ast.File, _ *token.FileSet) {
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Recv != nil || !strings.HasPrefix(fn.Name.Name, "Fuzz") {
				continue
			}
			found++
			seeds := false
			ast.Inspect(fn, func(n ast.Node) bool {
				if s, ok := n.(*ast.SelectorExpr); ok && s.Sel.Name == "Add" {
					seeds = true
				}
				return true
			})
			corpus, err := filepath.Glob(filepath.Join(root, path.Dir(name), "testdata", "fuzz", fn.Name.Name, "*"))
			if err != nil {
				t.Fatal(err)
			}
			if !seeds && len(corpus) == 0 {
				t.Errorf("%s: %s has neither seeds nor a corpus", name, fn.Name.Name)
			}
		}
	})
	if found == 0 {
		t.Error("no fuzz target was found")
	}
}

func TestMakefileTargetsAreExplained(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"help", "build", "test", "demo", "bench", "bench-peer", "check", "measure"} {
		if !strings.Contains(string(b), fmt.Sprintf("\n%s:", name)) {
			t.Errorf("make %s is missing", name)
		}
	}
	for _, word := range []string{"@latest", "go get", "go list -m all"} {
		if strings.Contains(string(b), word) {
			t.Errorf("the Makefile has %q: what is built must not depend on the day", word)
		}
	}
}

func TestEveryDependencyHasAReason(t *testing.T) {
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile(filepath.Join(root, "docs", "dependencies.md"))
	if err != nil {
		t.Fatal(err)
	}
	direct, _, _ := strings.Cut(string(mod), "\n)")
	for line := range strings.SplitSeq(direct, "\n") {
		if name, version, ok := strings.Cut(strings.TrimSpace(line), " "); ok && strings.HasPrefix(version, "v") {
			if !strings.Contains(string(doc), name) {
				t.Errorf("docs/dependencies.md does not say why %s is needed", name)
			}
		}
	}
}
