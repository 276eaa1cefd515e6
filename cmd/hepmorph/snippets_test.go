package main

import (
	"path/filepath"
	"strings"
	"testing"
)

// Apply says how its output is read; quiet it says nothing.
func TestApplySaysWhatNext(t *testing.T) {
	in := filepath.Join(layoutSamples(t, "flat"), "diphoton-simulation.root")
	model := flatModel(t)
	out := filepath.Join(t.TempDir(), "out.root")
	r := mustRun(t, "morph", "apply", "-m", model, "-o", out, in)
	for _, want := range []string{`uproot.open("` + out + `")["diphoton"]`, `ROOT.RDataFrame("diphoton", "` + out + `")`, `"lead_r9_morphed"`} {
		if !strings.Contains(r.err, want) {
			t.Errorf("%q is not said:\n%s", want, r.err)
		}
	}
	friend := filepath.Join(t.TempDir(), "friend.root")
	r = mustRun(t, "morph", "apply", "-m", model, "-o", friend, "--friend", in)
	for _, want := range []string{`chain.Add("` + in + `")`, `friend.Add("` + friend + `")`, "chain.AddFriend(friend)"} {
		if !strings.Contains(r.err, want) {
			t.Errorf("%q is not said:\n%s", want, r.err)
		}
	}
	if r = mustRun(t, "morph", "apply", "-q", "-m", model, "-o", out, "--force", in); strings.Contains(r.err, "uproot") {
		t.Errorf("not quiet: %s", r.err)
	}
}
