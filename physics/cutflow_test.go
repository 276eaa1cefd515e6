package physics

import (
	"reflect"
	"testing"
)

// Parts of a sample may have cuts of their own after those of all.
func TestCutFlowAddOtherCuts(t *testing.T) {
	a := CutFlow{{"", 10, 10, 10}, {"x", 6, 6, 6}}
	b := CutFlow{{"", 20, 40, 80}, {"x", 8, 16, 32}, {"y", 4, 8, 16}}
	want := CutFlow{{"", 30, 50, 90}, {"x", 14, 22, 38}, {"cuts of each part", 10, 14, 22}}
	if got := a.Add(b); !reflect.DeepEqual(got, want) {
		t.Errorf("%v", got)
	}
	if got := b.Add(a); !reflect.DeepEqual(got, want) {
		t.Errorf("the other way round: %v", got)
	}
	if a[1].Entries != 6 || len(b) != 3 {
		t.Error("the parts were changed")
	}
}
