package config

import (
	"slices"
	"strings"
)

// Near returns at most n of the known names, those most like name, nearest first; none that differ too much.
func Near(name string, known []string, n int) []string {
	type scored struct {
		name string
		d    int
	}
	var list []scored
	low := strings.ToLower(name)
	for _, k := range known {
		kl := strings.ToLower(k)
		d := distance(low, kl)
		limit := max(1, min(len(low), len(kl))/2)
		if d <= limit || len(low) >= 3 && (strings.HasPrefix(kl, low) || strings.HasSuffix(kl, low)) {
			list = append(list, scored{k, d})
		}
	}
	slices.SortStableFunc(list, func(a, b scored) int { return a.d - b.d })
	out := make([]string, 0, n)
	for _, s := range list[:min(n, len(list))] {
		out = append(out, s.name)
	}
	return out
}

// distance counts insertions, deletions, replacements and exchanges of neighbours (optimal string alignment) of the
// first 64 bytes.
func distance(a, b string) int {
	a, b = a[:min(64, len(a))], b[:min(64, len(b))]
	var before []int
	prev := make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := range len(a) {
		cur := make([]int, len(b)+1)
		cur[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			cur[j+1] = min(prev[j+1]+1, cur[j]+1, prev[j]+cost)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				cur[j+1] = min(cur[j+1], before[j-1]+1)
			}
		}
		before, prev = prev, cur
	}
	return prev[len(b)]
}
