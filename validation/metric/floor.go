package metric

import (
	"math"
	"slices"

	"hepmorph/internal/gbdt/order"
	"hepmorph/internal/par"
	"hepmorph/internal/rng"
)

// Floor is what a distance shows between two samples of one law: mean and standard deviation.
type Floor struct{ Mean, SD float64 }

// floorOf repeats draw, which compares two random samples of one law.
func floorOf(n, threads int, draw func(rep int) []float64) []Floor {
	all := make([][]float64, n)
	par.For(threads, n, 1, func(r, _, _ int) { all[r] = draw(r) })
	out := make([]Floor, len(all[0]))
	for k := range out {
		v := make([]float64, n)
		for r := range all {
			v[r] = all[r][k]
		}
		m, sd := meanSD(v, nil)
		out[k] = Floor{m, sd * math.Sqrt(float64(n)/float64(max(1, n-1)))}
	}
	return out
}

// Floors are the floors of W1 (over the standard deviation of y) and of KS's distance: what x shows against y if both
// follow the law of y, as precise as they are.
func Floors(x, wx, y, wy []float64, reps int, seed uint64, threads int) (w1, ks Floor) {
	a, b, err := sortTwo(x, wx, y, wy)
	if err != nil {
		nan := Floor{math.NaN(), math.NaN()}
		return nan, nan
	}
	w1, ks = a.Floors(b, reps, seed, threads)
	_, sd := b.MeanSD()
	return Floor{w1.Mean / sd, w1.SD / sd}, ks
}

// Floors are the floors of a.W1(b), in the column's unit, and of a.KS(b): what they show if a follows the law of b.
// Where events weigh more, the distribution functions are less certain, so that the effective number of all events says
// too little (kinematic weights that grow with pT, say): the squared weights of both samples are taken at their values.
// reps times the difference is drawn as a Brownian bridge with the variance of these weights and the law of b; what
// a has beyond the values of b counts at the last of them.
func (a *Column) Floors(b *Column, reps int, seed uint64, threads int) (w1, ks Floor) {
	cells := bridge(a, b)
	key := rng.NewKey(seed, "floor")
	f := floorOf(reps, threads, func(rep int) []float64 {
		s := key.At(uint64(rep))
		at := make([]float64, len(cells))
		sum := 0.0
		for i, c := range cells {
			sum += c.sd * s.Norm()
			at[i] = sum
		}
		var w1, ks, before float64
		for i, c := range cells {
			d := math.Abs(at[i] - sum*c.cdf)
			w1 += c.width*(before+d)/2 + c.gap*d
			ks = max(ks, d)
			before = d
		}
		return []float64{w1, ks}
	})
	return f[0], f[1]
}

// cell is an interval of values over which a difference of distribution functions changes by a normal number.
type cell struct {
	sd         float64 // of that number
	cdf        float64 // of the reference, at the upper end
	width, gap float64 // of the cell, and from it to the next
}

const (
	cellShare = 1. / 4000 // of the variance, at most, that is put into one cell of several values
	tailShare = 0.01      // of what lies towards the nearer end, at most: tails keep their values
)

// bridge puts the values of both columns into cells.
func bridge(a, b *Column) []cell {
	var cells []cell
	i, j := 0, 0
	lowest := func() float64 { // of the values that are left
		v := math.Inf(1)
		if i < len(a.V) {
			v = a.V[i]
		}
		if j < len(b.V) {
			v = min(v, b.V[j])
		}
		return v
	}
	within := func(v float64) float64 { return max(b.V[0], min(v, b.V[len(b.V)-1])) }
	var variance, all, cdf float64 // of the open cell, of the cells before, of the reference
	total := 1/a.N + 1/b.N
	start := lowest()
	for v := start; i < len(a.V) || j < len(b.V); {
		if variance == 0 {
			start = v
		}
		if i < len(a.V) && a.V[i] == v {
			variance += a.Q[i] / (a.Sum * a.Sum)
			i++
		}
		if j < len(b.V) && b.V[j] == v {
			variance += b.Q[j] / (b.Sum * b.Sum)
			cdf += b.W[j] / b.Sum
			j++
		}
		next := lowest()
		if share := (all + variance) / total; variance >= total*min(cellShare, tailShare*min(share, 1-share)) {
			cells = append(cells, cell{math.Sqrt(variance), cdf, within(v) - within(start), within(next) - within(v)})
			all += variance
			variance = 0
		}
		v = next
	}
	return cells
}

// CorrFloor is what CompareCorr shows between samples that have the same correlations.
type CorrFloor struct {
	Max, Frob Floor
	SD        [][]float64 // of each pair's Δρ
}

// FloorCorr is the floor of CompareCorr for the samples x and y (Pearson, or Spearman if ranks): by how much the
// correlations of both change when their rows are drawn anew with their weights, reps times. Of columns with heavy tails
// few events make the linear correlations, and the floor says so.
func FloorCorr(x [][]float64, wx []float64, y [][]float64, wy []float64, ranks bool, reps int, seed uint64, threads int) CorrFloor {
	corr := Pearson
	if ranks {
		corr = Spearman
	}
	key := rng.NewKey(seed, "correlation floor")
	redrawn := func(side int, x [][]float64, w []float64) [][][]float64 {
		out := make([][][]float64, reps)
		centre := corr(x, w, threads)
		n := len(x[0])
		m := min(n, corrRows)
		scale := math.Sqrt(float64(m) / float64(n))
		par.For(threads, reps, 1, func(rep, _, _ int) {
			s := key.At(uint64(2*rep + side))
			sub, drawn := make([][]float64, len(x)), make([]float64, m)
			for j := range sub {
				sub[j] = make([]float64, m)
			}
			for i := range m {
				k := s.IntN(n)
				drawn[i] = weight(w, k)
				for j := range x {
					sub[j][i] = x[j][k]
				}
			}
			out[rep] = corr(sub, drawn, 1)
			for i, row := range out[rep] {
				for j := range row {
					row[j] = (row[j] - centre[i][j]) * scale
				}
			}
		})
		return out
	}
	a, b := redrawn(0, x, wx), redrawn(1, y, wy)
	f := floorOf(reps, threads, func(rep int) []float64 {
		c := CompareCorr(a[rep], b[rep])
		return []float64{c.Max, c.Frob}
	})
	sd := square(len(x))
	for i := range sd {
		for j := range sd {
			sum := 0.0
			for rep := range a {
				d := a[rep][i][j] - b[rep][i][j]
				sum += d * d
			}
			sd[i][j] = math.Sqrt(sum / float64(reps))
		}
	}
	return CorrFloor{f[0], f[1], sd}
}

// corrRows of a sample are enough for its share in a floor, which is scaled: differences of correlations shrink as 1/√N.
const corrRows = 100000

// FloorSlicedW1 is SlicedW1's floor between x and y, by reps draws: along each direction a bridge as that of
// Column.Floors, of the same random numbers for a row.
func FloorSlicedW1(x [][]float64, wx []float64, y [][]float64, wy []float64, reps int, s SlicedSettings) (Floor, error) {
	if err := checkPair("compute the floor of sliced W1", x, wx, y, wy); err != nil {
		return Floor{}, err
	}
	s = s.filled()
	mean, sd := standard(y, wy, s.Threads)
	zx, vx := thin(x, wx, s.Rows, s.Seed)
	zy, vy := thin(y, wy, s.Rows, s.Seed+1)
	nx, ny := len(zx[0]), len(zy[0])
	tx, ty := total(nx, vx), total(ny, vy)
	part := make([]float64, nx+ny) // of the weight of its sample
	for i := range part {
		if i < nx {
			part[i] = weight(vx, i) / tx
		} else {
			part[i] = weight(vy, i-nx) / ty
		}
	}
	key := rng.NewKey(s.Seed, "sliced floor")
	change := make([][]float64, reps)
	par.For(s.Threads, reps, 1, func(rep, _, _ int) {
		st := key.At(uint64(rep))
		change[rep] = make([]float64, nx+ny)
		for i, p := range part {
			change[rep][i] = p * st.Norm()
		}
	})
	along := make([][]float64, s.Directions)
	project(zx, zy, mean, sd, s, func(k int, px, py []float64) {
		lo, hi := slices.Min(py), slices.Max(py)
		v := append(px, py...)
		idx := order.Of(v)
		along[k] = make([]float64, reps)
		for rep, c := range change {
			sum := 0.0
			for _, d := range c {
				sum += d
			}
			var at, cdf, w1 float64
			for n, i := range idx[:len(idx)-1] {
				at += c[i]
				if int(i) >= nx {
					cdf += part[i]
				}
				w1 += math.Abs(at-sum*cdf) * (max(lo, min(v[idx[n+1]], hi)) - max(lo, min(v[i], hi)))
			}
			along[k][rep] = w1
		}
	})
	return floorOf(reps, s.Threads, func(rep int) []float64 {
		t := 0.0
		for _, w1 := range along {
			t += w1[rep] / float64(s.Directions)
		}
		return []float64{t}
	})[0], nil
}
