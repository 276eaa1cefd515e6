package calo

import (
	"hepmorph/calo/geometry"
	"hepmorph/internal/ad"
	"hepmorph/internal/kernel"
	"hepmorph/internal/modelfile"
	"hepmorph/internal/nn"
	"hepmorph/internal/par"
	"hepmorph/internal/rng"
	"hepmorph/internal/train"
)

// store holds training showers: the voxels that are not 0, and the incident energies.
type store struct {
	g        *geometry.Geometry
	n        int
	incident []float64
	start    []int64 // n+1
	voxel    []int32
	value    []float32
}

func newStore(src Source) (*store, error) {
	g := src.Geometry()
	s := &store{g: g, start: []int64{0}}
	err := src.Each(func(incident []float64, voxels []float32) error {
		for i, inc := range incident {
			s.incident = append(s.incident, inc)
			for k, x := range voxels[i*g.Voxels() : (i+1)*g.Voxels()] {
				if x > 0 {
					s.voxel, s.value = append(s.voxel, int32(k)), append(s.value, x)
				}
			}
			s.start = append(s.start, int64(len(s.voxel)))
			s.n++
		}
		return nil
	})
	return s, err
}

// voxels writes shower i, each voxel to its place in to.
func (s *store) voxels(dst []float32, i int32, to []int32) {
	clear(dst)
	for k := s.start[i]; k < s.start[i+1]; k++ {
		v := s.voxel[k]
		if to != nil {
			v = to[v]
		}
		dst[v] = s.value[k]
	}
}

// shower writes shower i, each voxel to its place in to, and measures it.
func (s *store) shower(e *Energies, voxels []float32, i int32, to []int32) {
	s.voxels(voxels, i, to)
	e.Measure(s.g, s.incident[i], voxels)
}

// order walks through rows in a new permutation each epoch.
type order struct {
	key   rng.Key
	rows  []int32
	epoch int
	perm  []int32
}

func (o *order) at(i int) int32 {
	if e := i/len(o.rows) + 1; e != o.epoch {
		if o.perm == nil {
			o.perm = make([]int32, len(o.rows))
		}
		s := o.key.At(uint64(e))
		s.Perm(o.perm)
		o.epoch = e
	}
	return o.rows[o.perm[i%len(o.rows)]]
}

// matchSettings are the numbers of a training.
type matchSettings struct {
	batch int
	rate  float64
	adam  nn.AdamSettings
	seed  uint64

	times, coupling string // as in Settings
}

// warm is the number of steps in which the rate rises.
const warm = 100

// matching trains one velocity by conditional flow matching (arXiv:2210.02747): x_t = (1-t)x_0 + t x_1 from normal numbers x_0 to the data
// x_1, loss |v(x_t,t,c) - (x_1-x_0)|². It implements train.Task.
type matching struct {
	matchSettings
	ps    *ad.Params[float32]
	pool  *ad.Pool
	sh    *ad.Shards[float32]
	opt   *nn.Adam[float32]
	exec  *ad.Exec[float32]
	run   ad.Run[float32]
	loss  []float64
	order order
	rows  []int32
	held  []int32 // rows of the validation
	best  []float32
	// fill makes the inputs for rows. Its random numbers are functions of step and the number in the batch.
	fill func(step uint64, rows []int32) []ad.Source[float32]
}

// newMatching compiles a program whose losses' sum is to be lowered on the rows used, judged on the rows held.
func newMatching(p *ad.Program[float32], pool *ad.Pool, used, held []int32, s matchSettings, fill func(uint64, []int32) []ad.Source[float32]) *matching {
	m := &matching{matchSettings: s, ps: p.Params, pool: pool, held: held, fill: fill, loss: make([]float64, p.Losses()), rows: make([]int32, s.batch),
		order: order{key: rng.NewKey(s.seed, "order of showers"), rows: used}}
	m.sh = ad.NewShards(m.ps, m.ps.Shards())
	m.opt = nn.NewAdam(m.ps, m.sh, kernel.Best(), pool, s.adam)
	m.exec = p.Compile(kernel.Best(), pool, m.sh, ad.Settings{})
	m.best = append([]float32(nil), m.ps.W...)
	return m
}

func (m *matching) pass(step uint64, rows []int32, backward bool) float64 {
	clear(m.loss)
	m.run = ad.Run[float32]{N: len(rows), Inputs: m.fill(step, rows), Backward: backward, Losses: m.loss}
	m.exec.Run(&m.run)
	sum := 0.0
	for _, l := range m.loss {
		sum += l
	}
	return sum
}

// Step implements train.Task.
func (m *matching) Step(step, total int, rate float64) ([]train.Value, error) {
	for i := range m.rows {
		m.rows[i] = m.order.at(step*m.batch + i)
	}
	loss := m.pass(uint64(step), m.rows, true)
	lr := m.rate * rate * nn.Cosine(min(warm, 1+total/10))(step, total)
	norm := m.opt.Update(lr)
	return []train.Value{{Name: "loss", Value: loss}, {Name: "rate", Value: lr}, {Name: "gradient", Value: norm}}, nil
}

// heldStep numbers the random numbers of the validation, the same each time.
const heldStep = 1 << 62

// Evaluate implements train.Task: the loss of the averaged parameters on the rows held.
func (m *matching) Evaluate() (float64, []train.Value, error) {
	if m.opt.Mean != nil {
		own := append([]float32(nil), m.ps.W...)
		copy(m.ps.W, m.opt.Mean)
		defer func() { copy(m.ps.W, own) }()
	}
	sum := 0.0
	for lo := 0; lo < len(m.held); lo += m.batch {
		rows := m.held[lo:min(len(m.held), lo+m.batch)]
		sum += m.pass(heldStep+uint64(lo), rows, false) * float64(len(rows))
	}
	return sum / float64(len(m.held)), nil, nil
}

// Keep implements train.Task.
func (m *matching) Keep() {
	copy(m.best, m.ps.W)
	if m.opt.Mean != nil {
		copy(m.best, m.opt.Mean)
	}
}

// finish makes the best parameters the network's.
func (m *matching) finish() { copy(m.ps.W, m.best) }

type namedVector struct {
	name string
	data []float32
}

func (m *matching) vectors() []namedVector {
	v := []namedVector{{"parameters", m.ps.W}, {"first moment", m.opt.M}, {"second moment", m.opt.V}, {"best", m.best}}
	if m.opt.Mean != nil {
		v = append(v, namedVector{"average", m.opt.Mean})
	}
	return v
}

// Save implements train.Task.
func (m *matching) Save(f *modelfile.File) error {
	for _, v := range m.vectors() {
		f.Add("task."+v.name, append([]float32(nil), v.data...), len(v.data))
	}
	return f.SetJSON("optimizer step", m.opt.Step)
}

// Load implements train.Task.
func (m *matching) Load(f *modelfile.File) error {
	for _, v := range m.vectors() {
		d, err := modelfile.Get[float32](f, "task."+v.name, len(v.data))
		if err != nil {
			return err
		}
		copy(v.data, d)
	}
	m.sh.Clear(m.pool)
	return f.JSON("optimizer step", &m.opt.Step)
}

// encodeChunk is the number of showers that one worker encodes at a time.
const encodeChunk = 8

// shapeMatching trains the shape network. With turns, showers are turned and mirrored around the axis of the particle.
func shapeMatching(c Codec, st *store, net *transformer[float32], ps *ad.Params[float32], pool *ad.Pool, turns bool, used, held []int32, s matchSettings) *matching {
	d, g := c.Dims(), c.Geometry()
	in := net.patch + net.extra
	width, items := in+2*net.patch, net.items()
	tokens, conds, weight := make([]float32, s.batch*net.tokens*width), make([]float32, s.batch*items), make([]float32, s.batch*net.tokens)
	drawn, square := make([]int, s.batch), make([]float32, s.batch)
	key := rng.NewKey(s.seed, "calo shapes")
	var turned [][]int32
	if turns {
		turned = turnings(c)
	}
	var coupled turnCoupling
	if s.coupling == byTurns {
		coupled = newTurnCoupling(c)
	}

	var means *meanTargets
	if net.Mean {
		means = newMeanTargets(net, ps, pool, s)
	}

	p := ad.NewProgram(ps)
	rows, item, w := p.InputRows(width, net.tokens), p.Input(items), p.InputRows(1, net.tokens)
	v := net.record(p, p.Slice(rows, 0, in), item)
	v = p.Product(v, p.Slice(rows, in+net.patch, width))
	p.SquaredError(v, p.Slice(rows, in, in+net.patch), w)

	return newMatching(p, pool, used, held, s, func(step uint64, index []int32) []ad.Source[float32] {
		par.For(pool.Workers(), len(index), encodeChunk, func(_, lo, hi int) {
			e := NewEnergies(g)
			voxels, shape := make([]float32, g.Voxels()), make([]float32, d.Shape)
			noise, lying := make([]float32, d.Shape), make([]float32, d.Shape)
			layers := make([]float32, d.Layer*len(g.Layers))
			for i := lo; i < hi; i++ {
				r := key.At(rng.Hash(step, uint64(i)))
				var to []int32
				if turned != nil {
					to = turned[r.IntN(len(turned))]
				}
				st.shower(e, voxels, index[i], to)
				c.EncodeShape(shape, e, voxels, &r)
				t := drawTime(s.times, &r)
				until := t
				if means != nil {
					t, until = means.draw(i, t, &r)
				}
				it := conds[i*items : (i+1)*items]
				net.timeFeatures(it, t, until)
				c.ShapeCondition(it[net.times:], layers, e)
				row := tokens[i*net.tokens*width : (i+1)*net.tokens*width]
				net.giveLayers(row[net.patch:], layers, width)
				drawn[i] = net.mask(row[in+net.patch:], e, d.SkipEmpty, width)
				net.cut(row[in:], shape, width)
				if coupled != nil {
					for k := range noise {
						noise[k] = float32(r.Norm())
					}
					coupled.turn(lying, noise, shape)
					net.cut(row, lying, width)
				}
				from, skip, out := net.precondition(t, until)
				square[i] = float32(out * out)
				for token := range net.tokens {
					x, target, mask := row[token*width:][:net.patch], row[token*width+in:][:net.patch], row[token*width+in+net.patch:][:net.patch]
					for k, x1 := range target {
						x0 := x[k]
						if coupled == nil {
							x0 = float32(r.Norm())
						}
						x0 *= mask[k]
						x1 *= mask[k]
						xt := float32(1-t)*x0 + float32(t)*x1
						x[k], target[k] = float32(from)*xt, (x1-x0-float32(skip)*xt)/float32(out)
					}
				}
			}
		})
		if means != nil {
			means.targets(tokens, conds, len(index))
		}
		n := 0
		for _, k := range drawn[:len(index)] {
			n += k
		}
		for i := range index {
			for k := range net.tokens {
				weight[i*net.tokens+k] = square[i] * float32(net.patch) / float32(max(n, 1))
			}
		}
		return []ad.Source[float32]{{Data: tokens}, {Data: conds}, {Data: weight}}
	})
}

// giveLayers writes the numbers of a token's layers into its row, stride apart.
func (n *transformer[T]) giveLayers(dst, layers []T, stride int) {
	if n.extra == 0 {
		return
	}
	each := n.extra / n.layers
	for token := range n.tokens {
		copy(dst[token*stride:][:n.extra], layers[int(n.first[token])*each:])
	}
}

// turnings are the new places of voxels for all turns around the axis that are whole sectors in every layer, and their mirror images.
func turnings(c Codec) [][]int32 {
	g := c.Geometry()
	steps := 0
	for _, l := range g.Layers {
		if l.Alpha > 1 {
			steps = gcd(steps, l.Alpha)
		}
	}
	var out [][]int32
	for turn := range max(steps, 1) {
		for _, sign := range []int{1, -1} {
			to := make([]int32, g.Voxels())
			for l, layer := range g.Layers {
				lo, _ := g.Span(l)
				shift := 0
				if layer.Alpha > 1 {
					shift = turn * layer.Alpha / steps
				}
				for a := range layer.Alpha {
					b := ((sign*a+shift)%layer.Alpha + layer.Alpha) % layer.Alpha
					for r := range layer.Rings() {
						to[lo+a*layer.Rings()+r] = int32(lo + b*layer.Rings() + r)
					}
				}
			}
			out = append(out, to)
		}
	}
	return out
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
