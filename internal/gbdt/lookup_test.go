package gbdt

import (
	"math"
	"testing"
)

// TestLookup: a tree that is looked up gives the bits of one that is walked, missing values too.
func TestLookup(t *testing.T) {
	for features, settings := range map[int]Settings{
		1: {Trees: 5, Depth: 1}, 3: {Trees: 20, Depth: 3}, 4: {Trees: 30, Depth: 4}, 6: {Trees: 30, Depth: 4},
	} {
		cols, y, w := toy(5, 3000, features)
		for i := 0; i < len(y); i += 7 {
			cols[i%features][i] = math.NaN()
		}
		settings.EarlyStop, settings.ValidFraction = -1, -1
		m, err := Train(cols, y, w, settings)
		if err != nil {
			t.Fatal(err)
		}
		buf := make([]uint8, features*blockRows)
		for f, c := range cols {
			for i, x := range c {
				buf[f*blockRows+i] = find(orderedAll(m.cuts[f]), x)
			}
		}
		var l lookup
		for k := range m.trees {
			tree := &m.trees[k]
			if !l.set(tree) {
				t.Fatalf("%d features: tree %d of %d nodes has no lookup", features, k, len(tree.nodes))
			}
			walked, looked := make([]float64, len(y)), make([]float64, len(y))
			tree.add(walked, buf)
			l.add(looked, buf)
			for i := range walked {
				if walked[i] != looked[i] {
					t.Fatalf("%d features: tree %d: row %d gets %v, walked %v", features, k, i, looked[i], walked[i])
				}
			}
		}
	}
	cols, y, w := toy(5, 3000, 9)
	m, err := Train(cols, y, w, Settings{Trees: 1, Depth: 6, EarlyStop: -1, ValidFraction: -1})
	if err != nil {
		t.Fatal(err)
	}
	if new(lookup).set(&m.trees[0]) {
		t.Errorf("a tree of %d nodes has a lookup", len(m.trees[0].nodes))
	}
}
