package calo

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"slices"

	"hepmorph/calo/geometry"
	"hepmorph/internal/rng"
)

// quantile is the codec whose every number is normal by itself.
//
// Energy vector (1 + 2L): E_tot/E_inc and the layer fractions E_l/E_tot, each through its distribution given ln E_inc, then the
// number of filled voxels of each layer through its distribution given ln E_l. An empty layer is an atom of its fraction's
// distribution; its count is noise.
//
// Shape vector (voxels): the energy of a voxel through its distribution in that ring of that layer, given the layer's energy. In MeV, not as
// a fraction, so that the edge that single particles make in the spectrum stays at its place. An empty voxel is the atom, over all of its part of the line or
// (Empties) nearer to the point where it ends. Layers without energy are 0, and the network's velocity there is not looked at.
//
// Decoding takes the counts at their word: the voxels that stand highest above the point where zeros end are the filled ones;
// the layer is shifted by what separates them from the next, which is near 0 in a well-trained model.
type quantile struct {
	g *geometry.Geometry

	LogMin   float64   `json:"log_energy_min"` // ln MeV, of the training showers
	LogMax   float64   `json:"log_energy_max"`
	Total    table     `json:"total"`     // of ln(E_tot/E_inc) given ln E_inc
	Fraction []table   `json:"fractions"` // of ln(E_l/E_tot) given ln E_inc
	Count    []table   `json:"counts"`    // of the root of the count given ln E_l
	Voxel    [][]table `json:"voxels"`    // [layer][ring], of ln e given ln E_l
	LayerMu  []float64 `json:"layer_mean"`
	LayerSD  []float64 `json:"layer_sd"`          // of ln E_l of layers with energy
	Empties  float64   `json:"empties,omitempty"` // Settings.Empties
}

// narrow sets Settings.Empties.
func (q *quantile) narrow(empties float64) { q.Empties = empties }

// empty is the number of an empty voxel.
func (q *quantile) empty(s *section, u float64) float64 {
	g := s.spread(u)
	if q.Empties > 0 && q.Empties < 1 && s.empty >= minEmpty { // models of before have 0
		g = s.cut - q.Empties*(s.cut-g)
	}
	return g
}

func (q *quantile) Name() string                 { return "quantile" }
func (q *quantile) Geometry() *geometry.Geometry { return q.g }

// Numbers of the conditions.
const (
	energyFeatures = 7
	layerFeatures  = 3
)

func (q *quantile) Dims() Dims {
	l := len(q.g.Layers)
	return Dims{
		Energy: 1 + 2*l, EnergyCondition: energyFeatures, Shape: q.g.Voxels(),
		ShapeCondition: 2 + layerFeatures*l, Layer: layerFeatures, SkipEmpty: true,
	}
}

// scaled is ln E_inc on [-1.5,1.5] over the training range.
func (q *quantile) scaled(incident float64) float64 {
	return 3*(math.Log(incident)-q.LogMin)/max(q.LogMax-q.LogMin, 1e-3) - 1.5
}

func (q *quantile) EnergyCondition(dst []float32, incident float64) {
	c := q.scaled(incident)
	dst[0] = float32(c)
	for k := range 3 { // half waves over the range, and their halves
		sin, cos := math.Sincos(c / 3 * math.Pi * float64(int(1)<<k))
		dst[1+2*k], dst[2+2*k] = float32(sin), float32(cos)
	}
}

func (q *quantile) EncodeEnergies(dst []float32, e *Energies, s *rng.Stream) {
	c := math.Log(e.Incident)
	total := e.Total()
	var sec section
	encode := func(t *table, cov float64, x float64, filled bool) float32 {
		t.at(&sec, cov)
		u := s.Float64()
		if !filled {
			return float32(sec.spread(u))
		}
		return float32(sec.forward(x, u))
	}
	dst[0] = encode(&q.Total, c, math.Log(total/e.Incident), total > 0)
	n := len(e.Layers)
	for l, el := range e.Layers {
		dst[1+l] = encode(&q.Fraction[l], c, math.Log(el/total), el > 0)
		if el <= 0 {
			dst[1+n+l] = float32(s.Norm())
			continue
		}
		x := math.Sqrt(float64(e.Filled[l]) - s.Float64())
		dst[1+n+l] = encode(&q.Count[l], math.Log(el), x, true)
	}
}

func finite(x float32) float64 {
	v := float64(x)
	if math.IsNaN(v) {
		return 0
	}
	return min(max(v, -maxNormal), maxNormal)
}

func (q *quantile) DecodeEnergies(e *Energies, x []float32) {
	c := math.Log(e.Incident)
	n := len(e.Layers)
	clear(e.Layers)
	clear(e.Filled)
	var s section
	q.Total.at(&s, c)
	g := finite(x[0])
	if g <= s.cut && s.empty >= minEmpty {
		return // a shower without energy
	}
	total := e.Incident * math.Exp(s.inverse(g))
	if total < q.g.Threshold {
		return
	}
	best, margin := 0, math.Inf(-1)
	for l := range n {
		q.Fraction[l].at(&s, c)
		g := finite(x[1+l])
		if d := g - s.cut; d > margin {
			best, margin = l, d
		}
		if g > s.cut || s.empty < minEmpty {
			e.Layers[l] = math.Exp(s.inverse(g))
		}
	}
	if e.Total() == 0 {
		e.Layers[best] = 1
	}
	share(e.Layers, total, q.g.Threshold)
	for l, el := range e.Layers {
		if el == 0 {
			continue
		}
		q.Count[l].at(&s, math.Log(el))
		x := max(0, s.inverse(finite(x[1+n+l])))
		most := q.g.Layers[l].Voxels()
		if q.g.Threshold > 0 {
			most = int(min(float64(most), el/(q.g.Threshold*(1+1e-6))))
		}
		e.Filled[l] = max(1, min(int(x*x)+1, most))
	}
}

// share scales fractions to a total, dropping those below the threshold; the largest stays. The results are float32 values.
func share(fractions []float64, total, threshold float64) {
	big := 0
	for l, f := range fractions {
		if f > fractions[big] {
			big = l
		}
	}
	for again := true; again; {
		again = false
		sum := 0.0
		for _, f := range fractions {
			sum += f
		}
		for l, f := range fractions {
			if f > 0 && l != big && f/sum*total < threshold*(1+1e-6) {
				fractions[l], again = 0, true
			}
		}
		if !again {
			for l, f := range fractions {
				fractions[l] = float64(float32(f / sum * total))
			}
		}
	}
}

func (q *quantile) ShapeCondition(dst, layers []float32, e *Energies) {
	q.condition(dst, layers, e, layerFeatures, nil)
}

// condition writes each numbers a layer, of which more, unless nil, fills those after the first layerFeatures.
func (q *quantile) condition(dst, layers []float32, e *Energies, each int, more func(f []float32, l int)) {
	clear(dst)
	dst[0] = float32(q.scaled(e.Incident))
	total := e.Total()
	var s section
	if total > 0 {
		q.Total.at(&s, math.Log(e.Incident))
		dst[1] = float32(s.forward(math.Log(total/e.Incident), 0.5))
	}
	for l, el := range e.Layers {
		f := dst[2+each*l:][:each]
		if el > 0 {
			q.Count[l].at(&s, math.Log(el))
			f[0] = 1
			f[1] = float32(min(max((math.Log(el)-q.LayerMu[l])/q.LayerSD[l], -6), 6))
			f[2] = float32(min(max(s.forward(math.Sqrt(float64(max(1, e.Filled[l]))-0.5), 0.5), -4), 4))
			if more != nil {
				more(f[layerFeatures:], l)
			}
		}
		if layers != nil {
			copy(layers[each*l:], f)
		}
	}
}

// ring calls f with each ring of layer l: its table at the energy of the layer, and the first voxel; the ring's voxels are rings apart.
func (q *quantile) ring(l int, energy float64, s *section, f func(first, rings int)) {
	lo, _ := q.g.Span(l)
	rings := q.g.Layers[l].Rings()
	c := math.Log(energy)
	for r := range rings {
		q.Voxel[l][r].at(s, c)
		f(lo+r, rings)
	}
}

func (q *quantile) EncodeShape(dst []float32, e *Energies, voxels []float32, s *rng.Stream) {
	clear(dst)
	var sec section
	for l, el := range e.Layers {
		if el <= 0 {
			continue
		}
		_, hi := q.g.Span(l)
		q.ring(l, el, &sec, func(first, rings int) {
			for v := first; v < hi; v += rings {
				u := s.Float64()
				if above(voxels[v], q.g.Threshold) {
					dst[v] = float32(sec.forward(math.Log(float64(voxels[v])), u))
				} else {
					dst[v] = float32(q.empty(&sec, u))
				}
			}
		})
	}
}

func (q *quantile) DecodeShape(voxels []float32, e *Energies, x []float32, _ *rng.Stream) {
	q.decode(voxels, e, x, nil, nil)
}

// decode makes voxels of shape numbers. For each layer prefer, unless nil, may change how far voxels stand above the point where zeros end, and
// adjust the ranks of the filled ones, whose energies add up to that of the layer.
func (q *quantile) decode(voxels []float32, e *Energies, x []float32, prefer func(l int, margin []float64), adjust func(l int, r *ranks)) {
	var sec section
	var margin, w []float64
	var order []int
	var all ranks
	for l, el := range e.Layers {
		lo, hi := q.g.Span(l)
		if el <= 0 {
			clear(voxels[lo:hi])
			continue
		}
		margin = slices.Grow(margin[:0], hi-lo)[:hi-lo]
		w = slices.Grow(w[:0], hi-lo)[:hi-lo]
		order = slices.Grow(order[:0], hi-lo)[:hi-lo]
		q.ring(l, el, &sec, func(first, rings int) {
			for v := first; v < hi; v += rings {
				margin[v-lo], order[v-lo] = finite(x[v])-sec.cut, v-lo
			}
		})
		if prefer != nil {
			prefer(l, margin)
		}
		slices.SortFunc(order, func(a, b int) int {
			return cmp.Or(cmp.Compare(margin[b], margin[a]), cmp.Compare(a, b))
		})
		n := min(max(1, e.Filled[l]), hi-lo)
		shift := between0(margin[order[n-1]], margin[order[min(n, hi-lo-1)]], n == hi-lo)
		filled := order[:n]
		clear(w)
		for _, v := range filled {
			w[v] = 1
		}
		all.clear()
		q.ring(l, el, &sec, func(first, rings int) {
			for v := first; v < hi; v += rings {
				if w[v-lo] > 0 {
					all.rank = append(all.rank, rank{v - lo, len(all.sections), sec.below(max(finite(x[v])-shift, sec.cut))})
				}
			}
			all.sections = append(all.sections, sec)
		})
		all.sumTo(el)
		if adjust != nil {
			adjust(l, &all)
		}
		for i, r := range all.rank {
			w[r.voxel] = all.energy(i, 0)
		}
		fillLayer(voxels[lo:hi], w, el, q.g.Threshold, true)
	}
}

// between0 is the number nearest to 0 that separates the last filled margin from the first empty one.
func between0(last, next float64, all bool) float64 {
	switch {
	case all:
		return min(0, last-1e-3)
	case last > 0 && next <= 0:
		return 0
	case last <= 0:
		return max((last+next)/2, last-0.05)
	}
	return min((last+next)/2, next+0.05)
}

func fitQuantile(name string, src Source, seed uint64) (*quantile, error) {
	g := src.Geometry()
	q := &quantile{g: g, LogMin: math.Inf(1), LogMax: math.Inf(-1)}
	layers := len(g.Layers)
	count := 0
	each := func(f func(i int, e *Energies, voxels []float32)) error {
		e := NewEnergies(g)
		i := 0
		return src.Each(func(incident []float64, voxels []float32) error {
			for k, inc := range incident {
				v := voxels[k*g.Voxels() : (k+1)*g.Voxels()]
				e.Measure(g, inc, v)
				f(i, e, v)
				i++
			}
			return nil
		})
	}
	logs := make([]moments, layers)
	least, most := math.Inf(1), math.Inf(-1) // of ln E_l
	err := each(func(i int, e *Energies, _ []float32) {
		count++
		c := math.Log(e.Incident)
		q.LogMin, q.LogMax = min(q.LogMin, c), max(q.LogMax, c)
		for l, el := range e.Layers {
			if el > 0 {
				x := math.Log(el)
				logs[l].add(x)
				least, most = min(least, x), max(most, x)
			}
		}
	})
	if err != nil {
		return nil, err
	}
	if count < 2 || math.IsInf(least, 1) || math.IsNaN(q.LogMin) || math.IsInf(q.LogMin-q.LogMax, 0) {
		return nil, fmt.Errorf("calo: could not fit codec %q: %d showers, energies from %v to %v", name, count, math.Exp(q.LogMin), math.Exp(q.LogMax))
	}
	for l := range logs {
		mean, sd := logs[l].result()
		q.LayerMu, q.LayerSD = append(q.LayerMu, mean), append(q.LayerSD, sd)
	}

	total := newTabler(q.LogMin, q.LogMax)
	fraction, counts := make([]*tabler, layers), make([]*tabler, layers)
	voxel := make([][]*tabler, layers)
	for l, layer := range g.Layers {
		fraction[l] = newTabler(q.LogMin, q.LogMax)
		counts[l] = newTabler(least, most)
		for range layer.Rings() {
			voxel[l] = append(voxel[l], newTabler(least, most))
		}
	}
	key := rng.NewKey(seed, "calo quantile counts")
	// pass calls fill(t, c, x) for every filled number and empty(t, c) for every empty one
	pass := func(fill func(t *tabler, c, x float64), empty func(t *tabler, c float64)) error {
		return each(func(i int, e *Energies, v []float32) {
			s := key.At(uint64(i))
			c := math.Log(e.Incident)
			sum := e.Total()
			if sum > 0 {
				fill(total, c, math.Log(sum/e.Incident))
			} else {
				empty(total, c)
			}
			for l, el := range e.Layers {
				if el <= 0 {
					empty(fraction[l], c)
					continue
				}
				fill(fraction[l], c, math.Log(el/sum))
				fill(counts[l], math.Log(el), math.Sqrt(float64(e.Filled[l])-s.Float64()))
				lo, hi := g.Span(l)
				rings := g.Layers[l].Rings()
				n := math.Log(el)
				for k := lo; k < hi; k++ {
					t := voxel[l][(k-lo)%rings]
					if above(v[k], g.Threshold) {
						fill(t, n, math.Log(float64(v[k])))
					} else {
						empty(t, n)
					}
				}
			}
		})
	}
	all := append(append([]*tabler{total}, fraction...), counts...)
	for _, t := range voxel {
		all = append(all, t...)
	}
	if err := pass((*tabler).add, (*tabler).addEmpty); err != nil {
		return nil, err
	}
	for _, t := range all {
		t.fitLocation()
	}
	if err := pass((*tabler).addShape, func(*tabler, float64) {}); err != nil {
		return nil, err
	}
	q.Total = total.table()
	for l := range layers {
		q.Fraction = append(q.Fraction, fraction[l].table())
		q.Count = append(q.Count, counts[l].table())
		var rings []table
		for _, t := range voxel[l] {
			rings = append(rings, t.table())
		}
		q.Voxel = append(q.Voxel, rings)
	}
	return q, nil
}

func (q *quantile) Describe() ([]byte, error) { return json.Marshal(q) }

func restoreQuantile(g *geometry.Geometry, b []byte) (Codec, error) {
	q := &quantile{g: g}
	if err := json.Unmarshal(b, q); err != nil {
		return nil, fmt.Errorf("calo: could not restore codec \"quantile\": %w", err)
	}
	if err := q.check(); err != nil {
		return nil, fmt.Errorf("calo: could not restore codec \"quantile\": %w", err)
	}
	return q, nil
}

// check refuses numbers that fit does not make.
func (q *quantile) check() error {
	n := len(q.g.Layers)
	if len(q.Fraction) != n || len(q.Count) != n || len(q.Voxel) != n || len(q.LayerMu) != n || len(q.LayerSD) != n {
		return fmt.Errorf("tables of %d layers, %v expected", len(q.Fraction), q.g)
	}
	if !(q.Empties >= 0 && q.Empties <= 1) {
		return fmt.Errorf("empty voxels over %v of their part of the line", q.Empties)
	}
	if !(q.LogMax >= q.LogMin) || math.IsInf(q.LogMax-q.LogMin, 0) {
		return fmt.Errorf("energies from %v to %v", math.Exp(q.LogMin), math.Exp(q.LogMax))
	}
	tables := append(append([]table{q.Total}, q.Fraction...), q.Count...)
	for l, t := range q.Voxel {
		if len(t) != q.g.Layers[l].Rings() {
			return fmt.Errorf("layer %d: tables of %d rings, %d expected", l, len(t), q.g.Layers[l].Rings())
		}
		if !(q.LayerSD[l] > 0) {
			return fmt.Errorf("layer %d: deviation %v", l, q.LayerSD[l])
		}
		tables = append(tables, t...)
	}
	return checkTables(tables)
}

func checkTables(tables []table) error {
	for i := range tables {
		if err := tables[i].check(); err != nil {
			return fmt.Errorf("table %d: %w", i, err)
		}
	}
	return nil
}
