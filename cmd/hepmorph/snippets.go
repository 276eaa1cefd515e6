package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"hepmorph/morph"
	"hepmorph/physics/rootio"
)

// next says how the first output is read, made for the file at hand.
func (a *app) next(out []morph.Applied, o morph.ApplyOptions, friend bool) {
	files, err := rootio.Expand(o.In)
	if err != nil || len(out) == 0 {
		return
	}
	if len(out) == len(files) {
		files = files[:1]
	}
	friend = friend || o.Friend
	if friend && o.Shards > 1 {
		return // rows do not stand beside those of the whole input
	}
	if text := snippets(out[0], files, friend); text != "" {
		a.logf("%s", strings.TrimRight(text, "\n"))
	}
}

// snippets is text that reads the new branches of a file: for uproot, for RDataFrame and, where the file is a friend, for AddFriend. inputs are the files that
// were morphed. Each has to run as it is.
func snippets(r morph.Applied, inputs []string, friend bool) string {
	first := ""
	for _, c := range r.Columns {
		if !slices.Contains([]string{"morph_status", "morph_kinweight", "morph_weight"}, c) {
			first = c
			break
		}
	}
	if first == "" {
		return ""
	}
	read := []string{first, "morph_status", "morph_weight"}
	path, tree := quote(absolute(r.Path)), quote(r.Tree)
	var b strings.Builder
	fmt.Fprintf(&b, "next, in Python with uproot:\n"+
		"    import uproot\n"+
		"    events = uproot.open(%s)[%s].arrays([%s])\n"+
		"    print(events[%s], events[\"morph_weight\"], sep=\"\\n\")   # morph_status 1: morphed\n", path, tree, list(read), quote(first))
	if !friend {
		fmt.Fprintf(&b, "or with ROOT's RDataFrame:\n"+
			"    import ROOT\n"+
			"    df = ROOT.RDataFrame(%s, %s)\n"+
			"    print(df.Histo1D(%s).GetMean())   # with weights: add \"morph_weight\"\n", tree, path, quote(first))
		return b.String()
	}
	fmt.Fprintf(&b, "or with ROOT, beside the branches of the input:\n"+
		"    import ROOT\n"+
		"    chain, friend = ROOT.TChain(%s), ROOT.TChain(%s)\n", tree, tree)
	for _, in := range inputs {
		fmt.Fprintf(&b, "    chain.Add(%s)\n", quote(absolute(in)))
	}
	fmt.Fprintf(&b, "    friend.Add(%s)\n"+
		"    chain.AddFriend(friend)\n"+
		"    print(ROOT.RDataFrame(chain).Histo1D(%s).GetMean())\n", path, quote(first))
	return b.String()
}

func absolute(path string) string {
	if strings.Contains(path, "://") {
		return path
	}
	if full, err := filepath.Abs(path); err == nil {
		return full
	}
	return path
}

// quote writes a text as Python does.
func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(s) + `"`
}

func list(names []string) string {
	var out []string
	for _, n := range names {
		out = append(out, quote(n))
	}
	return strings.Join(out, ", ")
}
