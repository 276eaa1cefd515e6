package rootio

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// flatSample is 20 columns of float32 and an int64, nearly incompressible.
func flatSample(n int) ([]WriteColumn, *Batch, []string) {
	r := rand.New(rand.NewPCG(1, 2))
	b := &Batch{N: n, Cols: map[string]*Values{}}
	var cols []WriteColumn
	var names []string
	for k := range 20 {
		x := make([]float32, n)
		for i := range x {
			x[i] = float32(r.NormFloat64())
			if k%2 == 1 {
				x[i] = float32(math.Exp(float64(x[i])))
			}
		}
		name := fmt.Sprintf("x%02d", k)
		names = append(names, name)
		cols = append(cols, WriteColumn{Name: name, Kind: Kind{Elem: Float32}})
		b.Cols[name] = Float32s(x)
	}
	id := make([]int64, n)
	for i := range id {
		id[i] = int64(i)
	}
	cols = append(cols, WriteColumn{Name: "id", Kind: Kind{Elem: Int64}})
	b.Cols["id"] = Ints(Int64, id)
	return cols, b, names
}

func benchFile(b *testing.B, n int) (string, []string, []WriteColumn, *Batch) {
	path := filepath.Join(b.TempDir(), "a.root")
	cols, batch, names := flatSample(n)
	writeTree(b, path, WriteOptions{}, cols, batch)
	return path, names, cols, batch
}

func benchRead(b *testing.B, opt Options) {
	const n = 500000
	path, names, _, _ := benchFile(b, n)
	for b.Loop() {
		c, err := Open(context.Background(), []string{path}, "", opt)
		if err != nil {
			b.Fatal(err)
		}
		if err := c.Read(context.Background(), names, 0, -1, func(*Batch) error { return nil }); err != nil {
			b.Fatal(err)
		}
		c.Close()
	}
	b.ReportMetric(n*float64(b.N)/b.Elapsed().Seconds()/1e6, "Mev/s")
}

func BenchmarkRead20(b *testing.B)        { benchRead(b, Options{}) }
func BenchmarkReadGuarded20(b *testing.B) { benchRead(b, Options{Guard: true}) }

func BenchmarkWrite20(b *testing.B) {
	const n = 500000
	path, _, cols, batch := benchFile(b, n)
	for b.Loop() {
		writeTree(b, path, WriteOptions{}, cols, batch)
	}
	b.ReportMetric(n*float64(b.N)/b.Elapsed().Seconds()/1e6, "Mev/s")
}

// BenchmarkCopy20 is what apply does apart from the network: guarded reading, five new columns, writing.
func BenchmarkCopy20(b *testing.B) {
	const n = 500000
	path, names, _, _ := benchFile(b, n)
	out := filepath.Join(filepath.Dir(path), "out.root")
	var add []WriteColumn
	for _, name := range names[:5] {
		add = append(add, WriteColumn{Name: name + "_morphed", Kind: Kind{Elem: Float32}})
	}
	for b.Loop() {
		_, err := copyFiles(context.Background(), []string{path}, "", out, add, func(b *Batch) (map[string]*Values, error) {
			m := map[string]*Values{}
			for _, name := range names[:5] {
				m[name+"_morphed"] = b.Cols[name]
			}
			return m, nil
		}, Options{Guard: true})
		if err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(n*float64(b.N)/b.Elapsed().Seconds()/1e6, "Mev/s")
	os.Remove(out)
}
