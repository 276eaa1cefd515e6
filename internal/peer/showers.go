package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"hepmorph/internal/kernel"
	"hepmorph/internal/peer/cases"
)

// showers compares the transformers of showers. The target is a ratio to the peer, or a share of the peak in matrix products.
func (b *bench) showers(peak float64) error {
	for _, c := range cases.Showers() {
		if !strings.Contains(c.Name, b.only) {
			continue
		}
		if err := b.shower(c, peak); err != nil {
			return err
		}
	}
	if strings.Contains("generate", b.only) {
		return b.generate(peak)
	}
	return nil
}

// An operation of a transformer that is timed: its name, the peer's, its batch, how to run it and the work in its matrix products.
type operation struct {
	name, op string
	batch    int
	run      func(r *cases.ShowerRunner)
	work     func(r *cases.ShowerRunner) float64
}

func velocityOf(name string, n int) operation {
	return operation{name, "velocity", n, func(r *cases.ShowerRunner) { r.Velocity(n) }, func(r *cases.ShowerRunner) float64 { return float64(n) * r.Net.Operations() }}
}

func (b *bench) shower(c cases.Shower, peak float64) error {
	operations := []operation{{"train", "train", c.Batch, (*cases.ShowerRunner).Train, (*cases.ShowerRunner).Work},
		velocityOf("velocity of 100,", 100), velocityOf("velocity of 1,", 1)}
	share, err := b.productShares(c, operations, peak)
	if err != nil {
		return err
	}
	r, err := cases.NewShower(c, kernel.Best(), b.threads)
	if err != nil {
		return err
	}
	defer r.Close()
	net := map[string]any{"patch": r.Net.Patch, "extra": r.Net.Extra, "times": r.Net.Times, "condition": r.Net.Condition, "grid": r.Net.Grid,
		"width": c.Settings.Width, "depth": c.Settings.Depth, "heads": c.Settings.Heads, "ratio": c.Settings.Ratio, "published": c.Settings.Published}
	if err := b.same(r, net); err != nil {
		return err
	}
	for i, op := range operations {
		row, err := b.against(op.name+" "+c.Name, func() { op.run(r) }, question{"kind": "vit", "net": net, "batch": op.batch, "op": op.op}, 1.3)
		if err != nil {
			return err
		}
		row.products = share[i]
		b.add(row)
	}
	return nil
}

// productShares are the shares of the peak, in %, that the matrix products of operations reach.
func (b *bench) productShares(c cases.Shower, operations []operation, peak float64) ([]float64, error) {
	clock, timed := products(kernel.Best())
	r, err := cases.NewShower(c, timed, b.threads)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var shares []float64
	for _, op := range operations {
		op.run(r)
		var share []float64
		for range 3 {
			clock.Store(0)
			op.run(r)
			share = append(share, 100*op.work(r)/float64(clock.Load())/peak)
		}
		shares = append(shares, median(share))
	}
	return shares, nil
}

// same has the peer compute velocity, loss and gradient from our parameters and fails where they differ.
func (b *bench) same(r *cases.ShowerRunner, net map[string]any) error {
	dir, err := os.MkdirTemp("", "peer")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "check.safetensors")
	if err := r.Write(file); err != nil {
		return err
	}
	a, err := b.ask(question{"kind": "vit", "net": net, "op": "check", "file": file})
	if err != nil {
		return err
	}
	if !(a.Error < 1e-4) {
		return fmt.Errorf("peer: %s computes something else than the peer: by %g of its largest number", r.Name, a.Error)
	}
	b.error = max(b.error, a.Error)
	return nil
}

// products returns k with a clock in its matrix products: nanoseconds, added over the workers.
func products(k *kernel.Set[float32]) (*atomic.Int64, *kernel.Set[float32]) {
	var clock atomic.Int64
	timed := *k
	timed.Mul = func(c []float32, cp int, a []float32, rs, cs int, b []float32, bp int, m, n, np int, spans []kernel.Span, e kernel.Epilogue[float32]) {
		start := time.Now()
		k.Mul(c, cp, a, rs, cs, b, bp, m, n, np, spans, e)
		clock.Add(time.Since(start).Nanoseconds())
	}
	timed.GradW = func(w []float32, ld int, dy []float32, dyp int, xt []float32, ldx, xtp int, m, n, np int, spans []kernel.Span, add bool) {
		start := time.Now()
		k.GradW(w, ld, dy, dyp, xt, ldx, xtp, m, n, np, spans, add)
		clock.Add(time.Since(start).Nanoseconds())
	}
	return &clock, &timed
}

// generate measures showers of dataset 2 from energies to voxels, 16 evaluations.
func (b *bench) generate(peak float64) error {
	g, err := cases.NewGenerator()
	if err != nil {
		return err
	}
	for _, n := range []int64{100, 1} {
		var share []float64
		var last float64
		for range b.rounds {
			start := time.Now()
			if err := g.Generate(n, b.threads); err != nil {
				return err
			}
			last = float64(time.Since(start).Nanoseconds()) / float64(n)
			share = append(share, 100*g.Operations()/last/(peak*float64(b.threads)))
		}
		must := map[int64]float64{100: 50}[n]
		b.add(row{name: fmt.Sprintf("generate dataset 2 with 26 M parameters, 16 evaluations, energies included, batches of %d: a shower, share of the FMA peak", n), ours: ms(last / 1e6),
			value: median(share), worst: slices.Min(share), must: must, unit: " %"})
	}
	return nil
}
