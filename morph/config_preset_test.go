package morph

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"hepmorph/physics/rootio"
)

// Every preset prints a config that is read back without a mistake, comments included.
func TestPresetConfigs(t *testing.T) {
	for _, name := range PresetNames() {
		text, err := PresetConfig(name)
		if err != nil {
			t.Fatal(err)
		}
		c, err := DecodeConfig(name+".yaml", text)
		if err != nil {
			t.Errorf("%s: %v\n%s", name, err, text)
			continue
		}
		if len(c.Features) == 0 || len(c.Conditions) == 0 || !strings.Contains(string(text), "# columns that are morphed") {
			t.Errorf("%s:\n%s", name, text)
		}
		plain, err := c.YAML(false)
		if err != nil {
			t.Fatal(err)
		}
		back, err := DecodeConfig(name, plain)
		if err != nil || !reflect.DeepEqual(back, c) {
			t.Errorf("%s: printed without comments it is read as another config (%v)", name, err)
		}
		if !strings.Contains(PresetList(), name) {
			t.Errorf("%s is not in the list", name)
		}
	}
	if _, err := PresetConfig("nosuch"); err == nil {
		t.Error("an unknown preset is printed")
	}
}

func TestProposeConfig(t *testing.T) {
	f32 := rootio.Kind{Elem: rootio.Float32}
	text, err := ProposeConfig("my.root", "tree", []rootio.Branch{{Name: "a", Kind: f32}, {Name: "b", Kind: f32}, {Name: "s", Kind: rootio.Kind{Elem: rootio.String}}})
	if err != nil {
		t.Fatal(err)
	}
	c, err := DecodeConfig("my.yaml", text)
	if err != nil || !reflect.DeepEqual(c.Features.Names(), []string{"a", "b"}) || c.Inputs.Simulation[0].Files[0] != "my.root" {
		t.Errorf("%v\n%s", err, text)
	}
	toy := []rootio.Branch{}
	for _, n := range []string{"pt", "eta", "noise", "v1A", "v2A", "v1B", "v2B"} {
		toy = append(toy, rootio.Branch{Name: n, Kind: f32})
	}
	if text, err = ProposeConfig("toy.root", "oneflow", toy); err != nil || !strings.Contains(string(text), "layout oneflow") {
		t.Errorf("%v\n%s", err, text)
	}
	if _, err := ProposeConfig("x.root", "t", nil); !errors.Is(err, ErrInput) {
		t.Errorf("%v", err)
	}
}
