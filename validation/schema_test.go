package validation

import (
	"bytes"
	"math"
	"strings"
	"testing"
)

func TestSchema(t *testing.T) {
	yes := true
	r := &Report{Schema: Schema, Version: "1", Seed: 3, Inputs: []Input{{Role: Data, Label: "Data", File: "d.root", Tree: "t", Entries: 9, Selected: 8, NEff: 7.5}},
		Metrics: []*Row{{Name: "auc", Method: "gbdt", Subject: "conditions", N: 8, Before: .7, After: Number(math.NaN()), AfterSD: Number(math.Inf(1)), Floor: .5, Pass: &yes}}, Verdict: Verdict{Pass: 1}}
	b, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	want := `{"schema":"hepmorph.metrics/1","version":"1","seed":3,"inputs":[{"role":"data","file":"d.root","tree":"t","entries":9,"selected":8,"n_eff":7.5}],` +
		`"metrics":[{"name":"auc","method":"gbdt","subject":"conditions","unit":"","n":8,"before":0.7,"after":null,"after_sd":null,"floor":0.5,"floor_sd":0,"reference":0,"p":0,"target":0,"pass":true}],` +
		`"verdict":{"pass":1,"fail":0}}`
	if got := strings.NewReplacer("\n", "", "\": ", "\":", " ", "").Replace(string(b)); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	for _, bad := range []string{"", "{", `{"schema":"x"}`, `{"schema":"hepmorph.metrics/2"}`} {
		if _, err := Decode([]byte(bad)); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"schema":"hepmorph.metrics/1","metrics":[{"name":"auc","before":null,"pass":false},null]}`))
	f.Add([]byte(`{"schema":"hepmorph.metrics/1","inputs":[{"n_eff":1e400}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := Decode(b)
		if err != nil {
			return
		}
		one, err := r.Encode()
		if err != nil {
			t.Fatal(err)
		}
		again, err := Decode(one)
		if err != nil {
			t.Fatalf("what was written can't be read: %v", err)
		}
		if two, err := again.Encode(); err != nil || !bytes.Equal(one, two) {
			t.Errorf("%s\nbecame\n%s (%v)", one, two, err)
		}
		_ = r.Headline()
		_ = r.Failed()
	})
}
