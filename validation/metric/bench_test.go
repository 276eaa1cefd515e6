package metric

import (
	"testing"

	"hepmorph/internal/par"
)

// BenchmarkColumns is W1, KS, χ² and both correlation matrices of 1e5 + 1e5 events × 20 columns.
func BenchmarkColumns(b *testing.B) { benchColumns(b, 100000) }

// BenchmarkColumnsMillion is the same with 1e6 + 1e6 events.
func BenchmarkColumnsMillion(b *testing.B) { benchColumns(b, 1000000) }

func benchColumns(b *testing.B, n int) {
	x, y := normals(1, n, 20, nil), normals(2, n, 20, nil)
	w := signed(1, n)
	for b.Loop() {
		par.For(0, len(x), 1, func(j, _, _ int) {
			p, q, err := sortTwo(x[j], w, y[j], nil)
			if err != nil {
				b.Error(err)
				return
			}
			p.W1(q)
			p.KS(q)
			p.Chi2(q, q.Edges(50))
		})
		CompareCorr(Pearson(x, w, 0), Pearson(y, nil, 0))
		CompareCorr(Spearman(x, w, 0), Spearman(y, nil, 0))
	}
}

func BenchmarkFloors(b *testing.B) {
	c, err := Sort(normals(1, 100000, 1, nil)[0], nil)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		c.Floors(c, 40, 1, 0)
	}
}

func BenchmarkMMDTest(b *testing.B) {
	x, y := normals(1, 2000, 10, nil), normals(2, 2000, 10, nil)
	for b.Loop() {
		if _, err := MMDTest(x, nil, y, nil, PairSettings{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSlicedW1(b *testing.B) {
	x, y := normals(1, 50000, 10, nil), normals(2, 50000, 10, nil)
	for b.Loop() {
		if _, err := SlicedW1(x, nil, y, nil, SlicedSettings{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkClassifierTest(b *testing.B) {
	a, s := Side{X: normals(1, 50000, 14, nil)}, Side{X: normals(2, 50000, 14, nil)}
	for b.Loop() {
		if _, err := ClassifierTest(a, s, ClassifierSettings{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkFloorCorr(b *testing.B) {
	x, y := normals(1, 100000, 10, nil), normals(2, 100000, 10, nil)
	for b.Loop() {
		FloorCorr(x, nil, y, nil, true, 4, 1, 0)
	}
}

func BenchmarkFloorSlicedW1(b *testing.B) {
	x, y := normals(1, 20000, 10, nil), normals(2, 20000, 10, nil)
	for b.Loop() {
		if _, err := FloorSlicedW1(x, nil, y, nil, 40, SlicedSettings{Directions: 100}); err != nil {
			b.Fatal(err)
		}
	}
}
