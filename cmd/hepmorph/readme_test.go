package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"hepmorph/morph"
)

const repository = "../.."

// marked returns the code blocks of a Markdown text that a test runs: those that begin with ```sh test.
func marked(text string) []string {
	var blocks []string
	for {
		_, rest, found := strings.Cut(text, "```sh test\n")
		if !found {
			return blocks
		}
		var block string
		if block, text, found = strings.Cut(rest, "```"); !found {
			return blocks
		}
		blocks = append(blocks, block)
	}
}

// TestReadme runs the tour of README.md as it is printed, on small samples, with a short training.
func TestReadme(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("there is no bash: ", err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Skip(err)
	}
	blocks := marked(read(t, filepath.Join(repository, "README.md")))
	if len(blocks) < 4 {
		t.Fatalf("%d blocks to run", len(blocks))
	}
	dir, bin := t.TempDir(), t.TempDir()
	wrapper := fmt.Sprintf("#!%s\nargs=()\nfor a in \"$@\"; do [[ $a == train.budget=* ]] && a=train.steps=20; args+=(\"$a\"); done\n%s=1 exec %q \"${args[@]}\"\n", bash, asCommand, self)
	if err := os.WriteFile(filepath.Join(bin, "hepmorph"), []byte(wrapper), 0o777); err != nil {
		t.Fatal(err)
	}
	mustRun(t, "samples", "oneflow", "--out", dir, "--events", "2000") // few columns, so few figures
	for _, n := range [][2]string{{"oneflow-simulation.root", "mc.root"}, {"oneflow-data.root", "data.root"}} {
		if err := os.Rename(filepath.Join(dir, n[0]), filepath.Join(dir, n[1])); err != nil {
			t.Fatal(err)
		}
	}
	for _, block := range blocks {
		cmd := exec.Command(bash, "-euo", "pipefail", "-c", block)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s\n%s", err, block, out)
		}
	}
	for _, name := range []string{"run.yaml", "run/model.hmm", "run/log.jsonl", "run/history.pdf", "run/config.resolved.yaml", "morphed.root", "friends/mc.root", "report/report.html",
		"report/metrics.json", "report/histograms.root"} {
		if _, err := os.Stat(filepath.Join(dir, filepath.FromSlash(name))); err != nil {
			t.Error(err)
		}
	}
	for _, name := range []string{"morphed.root", "friends/mc.root"} {
		out := readTree(t, "oneflow", filepath.Join(dir, filepath.FromSlash(name)))
		for _, branch := range []string{"v1A_morphed", "morph_weight", "morph_status"} {
			if out.cols[branch] == nil {
				t.Errorf("%s lacks the branch %s", name, branch)
			}
		}
	}
}

// TestExamplesParse takes every example of a help text as a command line.
func TestExamplesParse(t *testing.T) {
	var all func(c *cobra.Command)
	seen := 0
	all = func(c *cobra.Command) {
		if c.Runnable() && !c.HasSubCommands() && c.Name() != "version" && c.Example == "" {
			t.Errorf("%s has no example", c.CommandPath())
		}
		for line := range strings.SplitSeq(c.Example, "\n") {
			if line = strings.TrimSpace(line); line == "" {
				continue
			}
			seen++
			line, _, _ = strings.Cut(line, " > ")
			args := strings.Fields(line)
			root := (&app{}).command()
			found, rest, err := root.Find(args[1:])
			if err != nil || args[0] != "hepmorph" || found.CommandPath() != c.CommandPath() {
				t.Errorf("%s: the example %q is for another command: %v", c.CommandPath(), line, err)
				continue
			}
			if err := found.ParseFlags(rest); err != nil {
				t.Errorf("%s: %q: %v", c.CommandPath(), line, err)
			} else if err := found.ValidateArgs(found.Flags().Args()); err != nil {
				t.Errorf("%s: %q: %v", c.CommandPath(), line, err)
			}
		}
		for _, s := range c.Commands() {
			all(s)
		}
	}
	all((&app{}).command())
	if seen < 8 {
		t.Errorf("%d examples", seen)
	}
}

// TestDocumentsNameCommandsThatExist takes every `hepmorph ...` in the documents, and every line of their shell blocks that begins so, as a command with its flags.
func TestDocumentsNameCommandsThatExist(t *testing.T) {
	docs, err := filepath.Glob(filepath.Join(repository, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, path := range append(docs, filepath.Join(repository, "README.md")) {
		shell := false
		for i, line := range strings.Split(read(t, path), "\n") {
			if strings.HasPrefix(line, "```") {
				shell = strings.HasPrefix(line, "```sh")
				continue
			}
			parts := strings.Split(line, "`hepmorph ")[1:]
			if rest, found := strings.CutPrefix(line, "hepmorph "); found && shell {
				parts = append(parts, rest)
			}
			for _, rest := range parts {
				rest, _, _ = strings.Cut(rest, "`")
				rest, _, _ = strings.Cut(rest, " > ")
				if strings.HasPrefix(rest, "devel") { // a version
					continue
				}
				seen++
				root := (&app{}).command()
				found, args, err := root.Find(strings.Fields(rest))
				if err != nil || found == root || found.HasSubCommands() && len(args) > 0 {
					t.Errorf("%s:%d: %q is no command: %v", path, i+1, rest, err)
				} else if err := found.ParseFlags(args); err != nil {
					t.Errorf("%s:%d: %q: %v", path, i+1, rest, err)
				}
			}
		}
	}
	if seen < 30 {
		t.Errorf("%d commands", seen)
	}
}

// TestGuideConfigs: every piece of YAML in the guide is accepted, put into a config.
func TestGuideConfigs(t *testing.T) {
	text := read(t, filepath.Join(repository, "docs", "guide.md"))
	n := 0
	for _, block := range strings.Split(text, "```yaml\n")[1:] {
		block, _, _ = strings.Cut(block, "```")
		n++
		rest := "features: {r9: {}}\nreweight: {method: none}\n"
		if !strings.Contains(block, "inputs:") {
			rest += "inputs: {simulation: [mc.root], data: [data.root]}\n"
		}
		if _, err := morph.DecodeConfig("guide.md", []byte(block+rest)); err != nil {
			t.Errorf("%v\n%s", err, block)
		}
	}
	if n < 2 {
		t.Errorf("%d blocks", n)
	}
	for _, piece := range regexp.MustCompile("`((?:flow|weights): \\{[^`]*\\})`").FindAllStringSubmatch(text, -1) {
		if _, err := morph.DecodeConfig("guide.md", []byte("features: {r9: {}}\nreweight: {method: none}\ninputs: {simulation: [mc.root], data: [data.root]}\n"+piece[1])); err != nil {
			t.Errorf("%s: %v", piece[1], err)
		}
	}
}

// TestHelp: every command explains itself, and completion and help end well.
func TestHelp(t *testing.T) {
	for _, args := range [][]string{{}, {"--help"}, {"morph"}, {"morph", "train", "--help"}, {"completion", "bash"}, {"help", "morph", "apply"}, {"version"}, {"version", "--json"}} {
		if r := mustRun(t, args...); r.out == "" || r.err != "" {
			t.Errorf("hepmorph %v: output %q, errors %q", args, r.out, r.err)
		}
	}
	if out := mustRun(t, "version").out; !strings.Contains(out, "kernels: ") || !strings.Contains(out, "go1.") {
		t.Errorf("version: %q", out)
	}
}
