package morph

import (
	"reflect"
	"strings"
	"testing"
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
