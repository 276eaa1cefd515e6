package calo

import (
	"encoding/json"
	"fmt"
	"math"

	"hepmorph/calo/geometry"
	"hepmorph/internal/rng"
)

// momentCodec is the default codec: quantile, and the energy network draws where the energy of each layer lies, too.
//
// Energy vector (1 + 8L): that of quantile, then six numbers a layer, through their distributions given the number of filled voxels: the excess of the mean
// radius over that of the innermost ring, of which all energy in the innermost ring is the atom; the variance of the radius over the excess;
// the centre over the mean radius and the quadrupole over the mean squared radius, two numbers each. In layers of few voxels, where such
// numbers are not continuous, they are noise and mean nothing.
//
// The shape network is given these numbers, and decoding tilts the voxels of layers of many (see tilt) so that they come out.
type momentCodec struct {
	quantile
	Plane [][]table `json:"planes"` // [layer][4]: excess, variance, centre, quadrupole
	axes  [][]planeAxes
}

// Numbers of a layer's plane, and the least filled voxels that they need.
const (
	planeNumbers = 6
	planeLeast   = 3
	tiltLeast    = 20 // to be tilted to them: what few voxels have is a matter of single particles
	planeTables  = 4
)

// planeAxes are r, r², r cos α, r sin α, r² cos 2α, r² sin 2α of a voxel.
type planeAxes [planeNumbers]float64

func newMoments(q quantile) *momentCodec {
	m := &momentCodec{quantile: q}
	r, eta, phi := q.g.Centres()
	for l := range q.g.Layers {
		lo, hi := q.g.Span(l)
		var axes []planeAxes
		for k := lo; k < hi; k++ {
			x, y := eta[k], phi[k]
			if q.g.Layers[l].Alpha == 1 {
				x, y = 0, 0
			}
			axes = append(axes, planeAxes{r[k], r[k] * r[k], x, y, x*x - y*y, 2 * x * y})
		}
		m.axes = append(m.axes, axes)
	}
	return m
}

func (m *momentCodec) Name() string { return "moments" }

func (m *momentCodec) Dims() Dims {
	d, l := m.quantile.Dims(), len(m.g.Layers)
	d.Energy += planeNumbers * l
	d.Layer += planeNumbers
	d.ShapeCondition += planeNumbers * l
	return d
}

// inner is the radius of the innermost ring of layer l.
func (m *momentCodec) inner(l int) float64 { return m.axes[l][0][0] }

// located says whether the numbers of a layer's plane mean something.
func located(e *Energies, l int) bool { return e.Filled[l] >= planeLeast && e.Planes[l].R > 0 }

// The numbers whose distributions are tabulated.
const (
	excess = iota
	variance
	centre
	quadrupole
)

// measures calls visit with the table and the value of each number of a located layer; filled is false for an atom.
func (m *momentCodec) measures(l int, p Plane, visit func(number, table int, x float64, filled bool)) {
	r0 := m.inner(l)
	over, square := p.R/r0-1, (p.RR-p.R*p.R)/(r0*r0)
	outside := over > 1e-7
	visit(0, excess, math.Log(over), outside)
	if outside {
		visit(1, variance, math.Log(square/over), square > 1e-9)
	}
	if m.g.Layers[l].Alpha > 1 {
		visit(2, centre, p.X/p.R, true)
		visit(3, centre, p.Y/p.R, true)
		visit(4, quadrupole, p.Q/p.RR, true)
		visit(5, quadrupole, p.U/p.RR, true)
	}
}

func (m *momentCodec) EncodeEnergies(dst []float32, e *Energies, s *rng.Stream) {
	m.quantile.EncodeEnergies(dst, e, s)
	var sec section
	for l := range e.Layers {
		f := dst[1+2*len(e.Layers)+planeNumbers*l:][:planeNumbers]
		for k := range f {
			f[k] = float32(s.Norm())
		}
		if !located(e, l) {
			continue
		}
		c := math.Log(float64(e.Filled[l]))
		m.measures(l, e.Planes[l], func(number, table int, x float64, filled bool) {
			m.Plane[l][table].at(&sec, c)
			if u := s.Float64(); filled {
				f[number] = float32(sec.forward(x, u))
			} else {
				f[number] = float32(sec.spread(u))
			}
		})
	}
}

func (m *momentCodec) DecodeEnergies(e *Energies, x []float32) {
	n := 1 + 2*len(e.Layers)
	m.quantile.DecodeEnergies(e, x[:n])
	for l := range e.Layers {
		e.Planes[l] = Plane{}
		if e.Layers[l] > 0 && e.Filled[l] >= planeLeast {
			e.Planes[l] = m.plane(l, e.Filled[l], x[n+planeNumbers*l:][:planeNumbers])
		}
	}
}

// plane is the inverse of measures, kept to what a layer can have.
func (m *momentCodec) plane(l, filled int, x []float32) Plane {
	const most = 0.98 // of the largest possible
	var s section
	c := math.Log(float64(filled))
	number := func(k, table int) (v float64, filled bool) {
		m.Plane[l][table].at(&s, c)
		g := finite(x[k])
		return s.inverse(g), g > s.cut || s.empty < minEmpty
	}
	r0, r1 := m.inner(l), m.axes[l][m.g.Layers[l].Rings()-1][0]
	p := Plane{R: r0}
	square := 0.0
	if v, outside := number(0, excess); outside {
		p.R = min(r0*(1+math.Exp(v)), r0+most*(r1-r0))
		if v, filled := number(1, variance); filled {
			square = min(math.Exp(v)*r0*(p.R-r0), most*(p.R-r0)*(r1-p.R))
		}
	}
	p.RR = p.R*p.R + square
	if m.g.Layers[l].Alpha > 1 {
		within := func(k, table int, length float64) (a, b float64) {
			a, _ = number(k, table)
			b, _ = number(k+1, table)
			scale := length * min(1, most/max(math.Hypot(a, b), 1e-12))
			return a * scale, b * scale
		}
		p.X, p.Y = within(2, centre, p.R)
		p.Q, p.U = within(4, quadrupole, p.RR)
	}
	return p
}

func (m *momentCodec) ShapeCondition(dst, layers []float32, e *Energies) {
	var s section
	m.condition(dst, layers, e, layerFeatures+planeNumbers, func(f []float32, l int) {
		if !located(e, l) {
			return
		}
		c := math.Log(float64(e.Filled[l]))
		m.measures(l, e.Planes[l], func(number, table int, x float64, filled bool) {
			m.Plane[l][table].at(&s, c)
			g := s.cut - 0.5
			if filled {
				g = s.forward(x, 0.5)
			}
			f[number] = float32(min(max(g, -4), 4))
		})
	})
}

func (m *momentCodec) DecodeShape(voxels []float32, e *Energies, x []float32, _ *rng.Stream) {
	var t tilter
	m.decode(voxels, e, x, func(l int, margin []float64) {
		rings := m.g.Layers[l].Rings()
		if !located(e, l) || rings == 1 {
			return
		}
		if e.Planes[l].R > m.inner(l)*(1+1e-7) { // somewhere outside of the innermost ring
			best := 1
			for v := range margin {
				if v%rings != 0 && margin[v] > margin[best] {
					best = v
				}
			}
			margin[best] = max(margin[best], 2*maxNormal)
		} else if e.Filled[l] <= m.g.Layers[l].Alpha { // nowhere
			for v := range margin {
				if v%rings != 0 {
					margin[v] -= 4 * maxNormal
				}
			}
		}
	}, func(l int, r *ranks) {
		if p := e.Planes[l]; located(e, l) && e.Filled[l] >= tiltLeast {
			t.tilt(r, e.Layers[l], m.axes[l], planeAxes{p.R, p.RR, p.X, p.Y, p.Q, p.U})
		}
	})
}

func fitMoments(src Source, seed uint64) (Codec, error) {
	q, err := fitQuantile("moments", src, seed)
	if err != nil {
		return nil, err
	}
	m := newMoments(*q)
	g := m.g
	fits := make([][]*tabler, len(g.Layers))
	for l, layer := range g.Layers {
		for range planeTables {
			fits[l] = append(fits[l], newTabler(math.Log(planeLeast), math.Log(float64(max(planeLeast+1, layer.Voxels())))))
		}
	}
	pass := func(fill func(t *tabler, c, x float64), empty func(t *tabler, c float64)) error {
		e := NewEnergies(g)
		return src.Each(func(incident []float64, voxels []float32) error {
			for i, inc := range incident {
				e.Measure(g, inc, voxels[i*g.Voxels():(i+1)*g.Voxels()])
				for l := range g.Layers {
					if !located(e, l) {
						continue
					}
					c := math.Log(float64(e.Filled[l]))
					m.measures(l, e.Planes[l], func(_, table int, x float64, filled bool) {
						switch {
						case !filled:
							empty(fits[l][table], c)
						case table == centre || table == quadrupole: // all directions are alike
							fill(fits[l][table], c, x)
							fill(fits[l][table], c, -x)
						default:
							fill(fits[l][table], c, x)
						}
					})
				}
			}
			return nil
		})
	}
	if err := pass((*tabler).add, (*tabler).addEmpty); err != nil {
		return nil, err
	}
	for _, layer := range fits {
		for _, t := range layer {
			t.fitLocation()
		}
	}
	if err := pass((*tabler).addShape, func(*tabler, float64) {}); err != nil {
		return nil, err
	}
	for _, layer := range fits {
		var tables []table
		for _, t := range layer {
			tables = append(tables, t.table())
		}
		m.Plane = append(m.Plane, tables)
	}
	return m, nil
}

func (m *momentCodec) Describe() ([]byte, error) { return json.Marshal(m) }

func restoreMoments(g *geometry.Geometry, b []byte) (Codec, error) {
	m := newMoments(quantile{g: g})
	fail := func(err error) (Codec, error) {
		return nil, fmt.Errorf("calo: could not restore codec \"moments\": %w", err)
	}
	if err := json.Unmarshal(b, m); err != nil {
		return fail(err)
	}
	if err := m.check(); err != nil {
		return fail(err)
	}
	if len(m.Plane) != len(g.Layers) {
		return fail(fmt.Errorf("planes of %d layers, %v expected", len(m.Plane), g))
	}
	for l, t := range m.Plane {
		if len(t) != planeTables {
			return fail(fmt.Errorf("layer %d: %d tables of the plane, %d expected", l, len(t), planeTables))
		}
		if err := checkTables(t); err != nil {
			return fail(fmt.Errorf("layer %d: %w", l, err))
		}
	}
	return m, nil
}
