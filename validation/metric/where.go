package metric

import (
	"fmt"
	"math"
	"slices"

	"hepmorph/internal/par"
)

// Region is a slice of one column in which a classifier tells the samples apart.
type Region struct {
	Column  int     // of the slice
	Lo, Hi  float64 // Lo <= value < Hi
	Share   float64 // of sample 1's weight
	AUC     float64 // of the cross-fitted scores inside
	Err     float64 // its error for equal laws, from the effective numbers of events
	Z       float64 // (AUC - 0.5)/Err
	Feature int     // the column whose own distribution differs most inside the slice
	KS      float64 // its distance
	P       float64 // and p-value, times the number of columns
}

// Where says where in feature space the classifier sees a difference. Each column is cut into bins of equal weight of
// sample 1; the AUC of the scores that ClassifierTest gave is taken inside each. The top slices come first, by Z.
//
// A difference in one corner shows as few slices with a large Z, a global one as many. A difference in correlations only
// has no guilty feature: P is then near 1, and ClassifierResult.Gain tells more.
func Where(a, b Side, r *ClassifierResult, bins, top, threads int) ([]Region, error) {
	if len(a.X) == 0 || len(a.X) != len(b.X) || len(r.Score[0]) != len(a.X[0]) || len(r.Score[1]) != len(b.X[0]) {
		return nil, fmt.Errorf("metric: could not locate a difference: the result belongs to other samples")
	}
	found := make([][]Region, len(a.X))
	fails := make([]error, len(a.X))
	par.For(threads, len(a.X), 1, func(j, _, _ int) {
		ref, err := Sort(b.X[j], b.Eval)
		if err != nil {
			fails[j] = err
			return
		}
		edges := ref.Edges(bins)
		rows := [2][][]int32{make([][]int32, len(edges)-1), make([][]int32, len(edges)-1)}
		for s, side := range []*Side{&a, &b} {
			for i, v := range side.X[j] {
				if v == v {
					k := searchEdges(edges, v)
					rows[s][k] = append(rows[s][k], int32(i))
				}
			}
		}
		for k := range len(edges) - 1 {
			reg := Region{Column: j, Lo: edges[k], Hi: edges[k+1]}
			sum, variance, folds := 0.0, 0.0, 0.0
			share := 0.0
			for f := range uint8(2) {
				var score, w [2][]float64
				for s, side := range []*Side{&a, &b} {
					for _, i := range rows[s][k] {
						if side.fold(int(i)) == f {
							score[s] = append(score[s], r.Score[s][i])
							w[s] = append(w[s], weight(side.Eval, int(i)))
						}
					}
				}
				n0, n1 := NEff(w[0]), NEff(w[1])
				share += total(len(w[1]), w[1])
				if n0 < 20 || n1 < 20 {
					continue
				}
				sum += AUC(score[0], w[0], score[1], w[1])
				variance += (1/n0 + 1/n1) / 12
				folds++
			}
			if folds == 0 {
				continue
			}
			reg.AUC, reg.Err = sum/folds, math.Sqrt(variance)/folds
			reg.Z = (reg.AUC - 0.5) / reg.Err
			reg.Share = share / ref.Sum
			found[j] = append(found[j], reg)
		}
	})
	var all []Region
	for j, f := range found {
		if fails[j] != nil {
			return nil, fails[j]
		}
		all = append(all, f...)
	}
	slices.SortStableFunc(all, func(x, y Region) int {
		switch {
		case x.Z > y.Z:
			return -1
		case x.Z < y.Z:
			return 1
		}
		return 0
	})
	if len(all) > top {
		all = all[:top]
	}
	par.For(threads, len(all), 1, func(k, _, _ int) { all[k].blame(&a, &b) })
	return all, nil
}

// blame finds the column whose distribution differs most inside the region.
func (r *Region) blame(a, b *Side) {
	r.P = 1
	inside := func(s *Side) (idx []int, w []float64) {
		for i, v := range s.X[r.Column] {
			if v >= r.Lo && v < r.Hi {
				idx = append(idx, i)
				w = append(w, weight(s.Eval, i))
			}
		}
		return idx, w
	}
	ia, wa := inside(a)
	ib, wb := inside(b)
	worst := math.Inf(-1)
	for j := range a.X {
		take := func(x []float64, idx []int) []float64 {
			out := make([]float64, len(idx))
			for k, i := range idx {
				out[k] = x[i]
			}
			return out
		}
		ca, cb, err := sortTwo(take(a.X[j], ia), wa, take(b.X[j], ib), wb)
		if err != nil {
			continue
		}
		d, p := ca.KS(cb)
		if z := d * math.Sqrt(ca.N*cb.N/(ca.N+cb.N)); z > worst {
			worst = z
			r.Feature, r.KS, r.P = j, d, min(1, p*float64(len(a.X)))
		}
	}
}
