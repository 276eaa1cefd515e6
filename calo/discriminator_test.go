package calo

import (
	"context"
	"math"
	"testing"

	"hepmorph/internal/ad"
)

// TestDiscriminatorSeesWhatIsThere: it can't tell two samples of one law apart, and can if one has its voxels shuffled around the axis.
func TestDiscriminatorSeesWhatIsThere(t *testing.T) {
	g := lookup(t, "mini")
	keep := func(s *Showers) *store {
		st, err := newStore(s)
		if err != nil {
			t.Fatal(err)
		}
		return st
	}
	ref, same, other := toy(g, 1500, 1), toy(g, 1500, 2), toy(g, 1500, 3)
	for i := range other.Len() { // ring 0 loses a third, which ring 1 gets
		v := other.Shower(i)
		for k := 0; k < len(v); k += 9 {
			d := v[k] / 3
			v[k] -= d
			v[k+1] += d
		}
	}
	var first *verdict
	for _, threads := range []int{1, 3} {
		pool := ad.NewPool(threads)
		defer pool.Close()
		set := discriminatorSettings{Width: 32, Epochs: 12, Batch: 100, Repeat: 1}
		for _, w := range views(g.Threshold) {
			run := func(x *Showers) *verdict {
				r, err := discriminate(context.Background(), keep(ref), keep(x), w, g.Voxels(), g.Threshold, set, 7, pool)
				if err != nil {
					t.Fatal(err)
				}
				return r
			}
			got := run(other)
			if got.AUC < 0.8 || got.JSD < 0.1 {
				t.Errorf("%s: AUC %.3f and divergence %.3f of different samples", w.name, got.AUC, got.JSD)
			}
			if threads > 1 {
				if w.name == "voxels" && (got.AUC != first.AUC || got.JSD != first.JSD) {
					t.Errorf("%d threads: %v and %v, 1 thread: %v and %v", threads, got.AUC, got.JSD, first.AUC, first.JSD)
				}
				continue
			}
			if first == nil {
				first = got
			}
			if got := run(same); math.Abs(got.AUC-0.5) > 0.1 || got.JSD > 0.05 {
				t.Errorf("%s: AUC %.3f and divergence %.3f of equal samples", w.name, got.AUC, got.JSD)
			}
			n := 0
			for side, p := range got.Prob {
				n += len(p)
				if len(p) != len(got.Score[side]) {
					t.Errorf("%d probabilities for %d scores", len(p), len(got.Score[side]))
				}
				for _, x := range p {
					if !(x >= 0 && x <= 1) {
						t.Fatalf("probability %v", x)
					}
				}
			}
			if n != 600 {
				t.Errorf("%d showers are judged, 600 are a fifth of both samples", n)
			}
		}
	}
}

// TestViewsOfAShower holds the inputs of the networks to their definition.
func TestViewsOfAShower(t *testing.T) {
	g := lookup(t, "mini")
	s := &Showers{Geo: g, Incident: []float64{1000, 50000}, Voxels: make([]float32, 2*1080)}
	s.Voxels[7], s.Voxels[8], s.Voxels[1080+100] = 20, 0.01, 0.01515*10
	st, err := newStore(s)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ energy, first, second float32 }{{3, 0.02, 0.1515 / 50000}, {-1, float32((math.Log10(20/0.01515) + 0.5) / 3), 0.5}} {
		p := newPairs(st, st, views(g.Threshold)[map[bool]int{true: 0, false: 1}[c.energy == 3]], g.Threshold)
		p.rows = []int32{0, 3}
		x := make([]float32, 2*1081)
		p.fill(x, 0, 2)
		near := func(got, want float32) bool { return math.Abs(float64(got-want)) < 1e-5*math.Abs(float64(want))+1e-9 }
		if !near(x[0], c.energy) || !near(x[8], c.first) || x[9] != 0 || !near(x[1081+101], c.second) {
			t.Errorf("inputs %v, %v, %v, %v: %v, %v, 0, %v expected", x[0], x[8], x[9], x[1081+101], c.energy, c.first, c.second)
		}
	}
}
