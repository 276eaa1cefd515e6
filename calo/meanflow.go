package calo

import (
	"hepmorph/flows"
	"hepmorph/internal/ad"
	"hepmorph/internal/kernel"
	"hepmorph/internal/rng"
)

// meanTargets turns pairs of a batch into those of mean velocities (arXiv:2505.13447, see flows.MeanTarget): for the share of the showers whose
// two times differ, the network is asked twice, before and after on the straight path of the pair.
type meanTargets struct {
	net   *transformer[float32]
	kind  string // of the times
	times [][2]float64
	exec  *ad.Exec[float32]
	out   ad.Tensor

	apart       []int
	rows, items []float32 // inputs of the two sides
	u           []float32
}

// meanShare is the share of different times, the best one of the paper.
const meanShare = 0.25

func newMeanTargets(net *transformer[float32], ps *ad.Params[float32], pool *ad.Pool, s matchSettings) *meanTargets {
	m := &meanTargets{net: net, kind: s.times, times: make([][2]float64, s.batch)}
	p := ad.NewProgram(ps)
	m.out = net.record(p, p.InputRows(net.patch+net.extra, net.tokens), p.Input(net.items()))
	m.exec = p.Compile(kernel.Best(), pool, nil, ad.Settings{Shards: fieldShards})
	return m
}

// draw gives shower i of the batch its two times, of which one has been drawn.
func (m *meanTargets) draw(i int, t float64, r *rng.Stream) (from, until float64) {
	from, until = t, t
	if r.Float64() < meanShare {
		other := drawTime(m.kind, r)
		from, until = min(t, other), max(t, other)
	}
	m.times[i] = [2]float64{from, until}
	return from, until
}

// targets replaces the targets of the first n showers. Rows of tokens hold what shapeMatching says: inputs, targets, mask.
func (m *meanTargets) targets(tokens, conds []float32, n int) {
	net := m.net
	in, patch, items := net.patch+net.extra, net.patch, net.items()
	width := in + 2*patch
	m.apart = m.apart[:0]
	for i, t := range m.times[:n] {
		if t[1] > t[0] {
			m.apart = append(m.apart, i)
		}
	}
	sides := 2 * len(m.apart)
	m.rows, m.items, m.u = room(m.rows, sides*net.tokens*in), room(m.items, sides*items), room(m.u, sides*net.tokens*patch)
	// each calls f with x_t, v and mask of every token of a pair, made of what its row holds
	each := func(i int, f func(token int, row []float32, x, v func(k int) float32)) {
		from, skip, out := net.precondition(m.times[i][0], m.times[i][1])
		for token := range net.tokens {
			row := tokens[(i*net.tokens+token)*width:][:width]
			x := func(k int) float32 { return row[k] / float32(from) }
			f(token, row, x, func(k int) float32 { return float32(out)*row[in+k] + float32(skip)*x(k) })
		}
	}
	steps := [2]float64{flows.MeanStep, -flows.MeanStep}
	for j, i := range m.apart {
		t, until := m.times[i][0], m.times[i][1]
		for side, h := range steps {
			from, _, _ := net.precondition(t+h, until)
			at := 2*j + side
			item := m.items[at*items:][:items]
			copy(item, conds[i*items:])
			net.timeFeatures(item, t+h, until)
			each(i, func(token int, row []float32, x, v func(int) float32) {
				to := m.rows[(at*net.tokens+token)*in:][:in]
				copy(to, row)
				for k := range patch {
					to[k] = float32(from) * (x(k) + float32(h)*v(k))
				}
			})
		}
	}
	if sides == 0 {
		return
	}
	m.exec.Run(&ad.Run[float32]{N: sides, Inputs: []ad.Source[float32]{{Data: m.rows}, {Data: m.items}}, Outputs: []ad.Sink[float32]{{Tensor: m.out, Data: m.u}}})
	for j, i := range m.apart {
		t, until := m.times[i][0], m.times[i][1]
		_, skip, out := net.precondition(t, until)
		each(i, func(token int, row []float32, x, v func(int) float32) {
			for k := range patch {
				var u [2]float32
				for side, h := range steps {
					_, skip, out := net.precondition(t+h, until)
					u[side] = float32(skip)*(x(k)+float32(h)*v(k)) + float32(out)*m.u[((2*j+side)*net.tokens+token)*patch+k]
				}
				target := flows.MeanTarget(v(k), u[0], u[1], t, until)
				row[in+k] = row[in+patch+k] * (target - float32(skip)*x(k)) / float32(out)
			}
		})
	}
}
