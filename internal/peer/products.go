package main

import (
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
)

// rates are GFLOP/s on one core by the name of a benchmark of the kernels: of multiply-adds in registers, and of large products.
func rates() (map[string]float64, error) {
	r := map[string]float64{}
	for _, which := range []string{"^BenchmarkPeak$", "^Benchmark(Mul|GradW)$/^avx/^(128x128x2|256x256x8|512x512x4)"} {
		out, err := exec.Command("go", "test", "-run", "^$", "-bench", which, "-benchtime", "300ms", "./internal/kernel").Output()
		if err != nil {
			return nil, fmt.Errorf("peer: could not measure the kernels: %w", err)
		}
		for _, m := range regexp.MustCompile(`(?m)^(Benchmark\S+?)(?:-\d+)?\s.*?([0-9.]+) GFLOP/s`).FindAllStringSubmatch(string(out), -1) {
			if r[m[1]], err = strconv.ParseFloat(m[2], 64); err != nil {
				return nil, fmt.Errorf("peer: could not read a rate: %w", err)
			}
		}
	}
	return r, nil
}

// products adds, for each set of assembly kernels, the slowest of the large products as a share of its own peak.
func (b *bench) products(rates map[string]float64) {
	for _, set := range []string{"avx512", "avx2"} {
		peak, slowest := rates["BenchmarkPeak/"+set], ""
		for name, v := range rates {
			if strings.Contains(name, "/"+set+"/") && (slowest == "" || v < rates[slowest]) {
				slowest = name
			}
		}
		if peak == 0 || slowest == "" {
			continue // not on this processor
		}
		share := 100 * rates[slowest] / peak
		b.add(row{name: fmt.Sprintf("products of the kernels %s (128×128 to 512×512, with transposed weights, weight gradients), share of their own FMA peak of %.0f GFLOP/s", set, peak),
			value: share, worst: share, must: 75, unit: " %"})
	}
}
