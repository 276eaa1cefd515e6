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

func (b *bench) shower(c cases.Shower, peak float64) error {
	r, err := cases.NewShower(c, kernel.Best(), b.threads)
	if err != nil {
		return err
	}
	defer r.Close()
	clock, timed := products(kernel.Best())
	t, err := cases.NewShower(c, timed, b.threads)
	if err != nil {
		return err
	}
	defer t.Close()
	net := map[string]any{"patch": r.Net.Patch, "extra": r.Net.Extra, "times": r.Net.Times, "condition": r.Net.Condition, "grid": r.Net.Grid,
		"width": c.Settings.Width, "depth": c.Settings.Depth, "heads": c.Settings.Heads, "ratio": c.Settings.Ratio, "published": c.Settings.Published}
	if err := b.same(r, net); err != nil {
		return err
	}
	for _, op := range []struct {
		name, op    string
		batch       int
		ours, timed func()
		work        float64
	}{
		{"train", "train", c.Batch, r.Train, t.Train, r.Work()},
		{"velocity of 100,", "velocity", 100, func() { r.Velocity(100) }, func() { t.Velocity(100) }, 100 * r.Net.Operations()},
		{"velocity of 1,", "velocity", 1, func() { r.Velocity(1) }, func() { t.Velocity(1) }, r.Net.Operations()},
	} {
		row, err := b.against(op.name+" "+c.Name, op.ours, question{"kind": "vit", "net": net, "batch": op.batch, "op": op.op}, 1.3)
		if err != nil {
			return err
		}
		op.timed()
		var share []float64
		for range 3 {
			clock.Store(0)
			op.timed()
			share = append(share, 100*op.work/float64(clock.Load())/peak)
		}
		row.products = median(share)
		b.add(row)
	}
	return nil
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
	timed.GradW = func(w []float32, ld int, dy []float32, dyp int, xt []float32, ldx, xtp int, m, n, np int, spans []kernel.Span) {
		start := time.Now()
		k.GradW(w, ld, dy, dyp, xt, ldx, xtp, m, n, np, spans)
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
