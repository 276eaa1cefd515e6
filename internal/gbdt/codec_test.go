package gbdt

import (
	"errors"
	"math"
	"testing"

	"hepmorph/internal/rng"
)

func small(t testing.TB) (*Model, []byte) {
	cols, y, w := toy(9, 300, 4)
	for i := 0; i < len(y); i += 3 {
		cols[1][i] = math.NaN()
	}
	m, err := Train(cols, y, w, Settings{Trees: 3, Depth: 3, Bins: 16, MinChild: 4, EarlyStop: -1})
	if err != nil {
		t.Fatal(err)
	}
	b, err := m.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	return m, b
}

func TestModelSurvivesItsBytes(t *testing.T) {
	m, b := small(t)
	var back Model
	if err := back.UnmarshalBinary(b); err != nil {
		t.Fatal(err)
	}
	cols, _, _ := toy(10, 1000, 4)
	cols[1][3], cols[0][5], cols[2][7] = math.NaN(), math.Inf(1), math.Inf(-1)
	want, got := make([]float64, 1000), make([]float64, 1000)
	m.Margin(cols, want, 1)
	back.Margin(cols, got, 2)
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("row %d: %g after, %g before", i, got[i], want[i])
		}
	}
	if back.Rounds != m.Rounds || math.Float64bits(back.ValidLoss) != math.Float64bits(m.ValidLoss) || back.Gain()[0] != m.Gain()[0] {
		t.Error("rounds, loss or gain changed")
	}
}

func TestDamagedBytesAreRefused(t *testing.T) {
	_, b := small(t)
	for n := range b {
		var m Model
		if err := m.UnmarshalBinary(b[:n]); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("cut to %d of %d bytes: %v", n, len(b), err)
		}
	}
	var m Model
	if err := m.UnmarshalBinary(append(append([]byte{}, b...), 0)); !errors.Is(err, ErrCorrupt) {
		t.Errorf("one byte more: %v", err)
	}
}

// FuzzUnmarshal: any bytes end in an error, or in a model that predicts finite numbers and writes the same bytes again.
func FuzzUnmarshal(f *testing.F) {
	_, b := small(f)
	f.Add(b)
	f.Add([]byte(magic))
	k := rng.NewKey(1, "damage")
	for i := range uint64(20) {
		s := k.At(i)
		c := append([]byte{}, b...)
		c[s.IntN(len(c))] ^= 1 << s.IntN(8)
		f.Add(c)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 1<<16 {
			t.Skip()
		}
		var m Model
		if err := m.UnmarshalBinary(b); err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		if m.Features() > 1000 {
			return
		}
		cols := make([][]float64, m.Features())
		for j := range cols {
			cols[j] = []float64{-1, 0, 1, math.NaN(), math.Inf(1), math.Inf(-1)}
		}
		m.Margin(cols, make([]float64, 6), 1)
		back, err := m.MarshalBinary()
		if err != nil || string(back) != string(b) {
			t.Fatalf("written again: other bytes, %v", err)
		}
	})
}
