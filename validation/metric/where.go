package metric

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"hepmorph/internal/par"
)

// Region is a slice of one column in which the samples differ.
type Region struct {
	Column  int     // of the slice
	Lo, Hi  float64 // Lo <= value < Hi
	Share   float64 // of sample 1's weight
	AUC     float64 // of the cross-fitted scores inside
	Err     float64 // its error for equal laws, from the effective numbers of events
	Z       float64 // (AUC - 0.5)/Err
	Feature int     // the column whose own distribution differs most inside the slice
	KS      float64 // its distance
	P       float64 // smallest p-value of the slice, by AUC or by KS, for all slices and columns looked at (Bonferroni)
	logP    float64 // of P, which may underflow
}

// Where says where in feature space the samples differ. Each column is cut into bins of equal weight of sample 1. Inside each
// slice the AUC of the scores that ClassifierTest gave is taken, and every column's distribution is compared by KS. The top
// slices come first, by P.
//
// A difference in one corner shows as few slices with a small P, a global one as many. The second look is the sharper one for a
// small corner, where trees stop before they find it; the first sees correlations, which have no guilty feature.
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
			reg.blame(&a, &b, rows[0][k], rows[1][k])
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
	for k := range all {
		r := &all[k]
		r.logP += math.Log(float64(len(a.X)))
		if r.Z > 1 { // Mills' ratio: the tail of a normal number
			r.logP = min(r.logP, -r.Z*r.Z/2-math.Log(r.Z*math.Sqrt(2*math.Pi)))
		}
		r.logP = min(0, r.logP+math.Log(float64(len(all))))
		r.P = math.Exp(r.logP)
	}
	slices.SortStableFunc(all, func(x, y Region) int { return cmp.Compare(x.logP, y.logP) })
	return all[:min(top, len(all))], nil
}

// blame finds the column whose distribution differs most over the given rows.
func (r *Region) blame(a, b *Side, ia, ib []int32) {
	take := func(x []float64, idx []int32) []float64 {
		out := make([]float64, len(idx))
		for k, i := range idx {
			out[k] = weight(x, int(i))
		}
		return out
	}
	wa, wb := take(a.Eval, ia), take(b.Eval, ib)
	worst := math.Inf(-1)
	for j := range a.X {
		ca, cb, err := sortTwo(take(a.X[j], ia), wa, take(b.X[j], ib), wb)
		if err != nil {
			continue
		}
		d, _ := ca.KS(cb)
		n := math.Sqrt(ca.N * cb.N / (ca.N + cb.N))
		if t := d * (n + 0.12 + 0.11/n); t > worst {
			worst = t
			r.Feature, r.KS, r.logP = j, d, logKolmogorov(t)
		}
	}
}

// logKolmogorov is the logarithm of kolmogorov, beyond where that underflows.
func logKolmogorov(t float64) float64 {
	if t > 3 {
		return math.Ln2 - 2*t*t
	}
	return math.Log(kolmogorov(t))
}
