package gbdt

import "testing"

func BenchmarkTrain(b *testing.B) {
	cols, y, w := toy(1, 100000, 14)
	for name, s := range map[string]Settings{
		"depth6": {Trees: 100, EarlyStop: -1, ValidFraction: -1},
		"leaf31": LeafWise(100, 0.1),
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := Train(cols, y, w, s); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkMargin(b *testing.B) {
	cols, y, w := toy(1, 100000, 14)
	m, err := Train(cols, y, w, Settings{Trees: 100, EarlyStop: -1, ValidFraction: -1})
	if err != nil {
		b.Fatal(err)
	}
	out := make([]float64, len(y))
	for b.Loop() {
		m.Margin(cols, out, 0)
	}
}

func BenchmarkBin(b *testing.B) {
	cols, _, w := toy(1, 100000, 14)
	rows := make([]int32, len(w))
	for i := range rows {
		rows[i] = int32(i)
	}
	for b.Loop() {
		bin(cols, w, rows, maxBins, 0)
	}
}
