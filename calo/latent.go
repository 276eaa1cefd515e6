package calo

import (
	"encoding/json"
	"fmt"
	"math"
	"sync"

	"hepmorph/internal/ad"
	"hepmorph/internal/kernel"
	"hepmorph/internal/par"
	"hepmorph/internal/rng"
)

// latent is a codec whose shape vector is that of an autoencoder of another codec's, standardised; energies and conditions are the other codec's. Encoding draws
// the numbers of the cells from what the encoder says of the other codec's numbers, decoding draws those from what the decoder says. So what the
// cells do not hold is drawn as noise of the right size, and whatever the other codec's decoding keeps is kept.
type latent struct {
	Codec
	net      *autoencoder[float32]
	mean, sd []float32
	coders   sync.Pool
}

func newLatent(c Codec, s LatentSettings, seed uint64) (*latent, error) {
	s.resolve()
	net, err := newAutoencoder(ad.NewParams[float32](), s, c.Geometry(), c.Dims(), seed)
	if err != nil {
		return nil, fmt.Errorf("calo: could not make the autoencoder: %w: %w", err, ErrSettings)
	}
	l := &latent{Codec: c, net: net, mean: make([]float32, net.cells()*net.Features), sd: make([]float32, net.cells()*net.Features)}
	for k := range l.sd {
		l.sd[k] = 1
	}
	l.coders.New = func() any { return newCoder(net, c.Dims(), len(c.Geometry().Layers)) }
	return l, nil
}

func (c *latent) Dims() Dims {
	d := c.Codec.Dims()
	d.Shape, d.SkipEmpty = len(c.mean), false
	return d
}

// tiling cuts the cells, as newTiling cuts voxels.
func (c *latent) tiling(patch [3]int) (*tiling, error) {
	n := c.net
	if n.grid[0]%patch[0] != 0 || n.grid[1]%patch[1] != 0 || n.grid[2]%patch[2] != 0 {
		return nil, fmt.Errorf("calo: could not cut %d × %d × %d cells into patches of %d × %d × %d: they do not divide them", n.grid[0], n.grid[1], n.grid[2], patch[0], patch[1], patch[2])
	}
	t := &tiling{patch: patch[0] * patch[1] * patch[2] * n.Features, layers: patch[0] * n.Stride[0],
		grid: [3]int{n.grid[0] / patch[0], n.grid[1] / patch[1], n.grid[2] / patch[2]}}
	t.tokens = t.grid[0] * t.grid[1] * t.grid[2]
	for token := range t.tokens {
		l0, a0, r0 := token/(t.grid[1]*t.grid[2])*patch[0], token/t.grid[2]%t.grid[1]*patch[1], token%t.grid[2]*patch[2]
		t.first = append(t.first, int32(l0*n.Stride[0]))
		for l := range patch[0] {
			for a := range patch[1] {
				for r := range patch[2] {
					cell := ((l0+l)*n.grid[1]+a0+a)*n.grid[2] + r0 + r
					for k := range n.Features {
						t.place = append(t.place, int32(cell*n.Features+k))
						t.layer = append(t.layer, int32((l0+l)*n.Stride[0]))
					}
				}
			}
		}
	}
	return t, nil
}

// A coder runs the autoencoder for one shower at a time.
type coder struct {
	enc, dec           *ad.Exec[float32]
	cells, voxels      ad.Tensor // means and logarithms of variances
	z, x, stats, shape []float32
	layers, condition  []float32
}

func newCoder(n *autoencoder[float32], d Dims, layers int) *coder {
	k := &coder{z: make([]float32, n.cells()*n.Features), x: make([]float32, len(n.place)), stats: make([]float32, 2*max(len(n.place), n.cells()*n.Features)),
		shape: make([]float32, len(n.place)), layers: make([]float32, d.Layer*layers), condition: make([]float32, d.ShapeCondition)}
	pool := ad.NewPool(1) // it has no workers beside the caller
	set := ad.Settings{Items: 1, Shards: 1}
	p := ad.NewProgram(n.ps)
	mean, _ := n.encode(p, p.InputRows(n.voxels(), n.cells()), n.inputs(p))
	k.cells, k.enc = mean.Tensor, p.Compile(kernel.Best(), pool, nil, set)
	p = ad.NewProgram(n.ps)
	mean, _ = n.decode(p, p.InputRows(n.Features, n.cells()), n.inputs(p))
	k.voxels, k.dec = mean.Tensor, p.Compile(kernel.Best(), pool, nil, set)
	return k
}

// run writes draws from what a side says of x: each row of its outputs has means and logarithms of variances of width numbers.
func (k *coder) run(e *ad.Exec[float32], x []float32, out ad.Tensor, y []float32, s *rng.Stream) {
	in := []ad.Source[float32]{{Data: x}, {Data: k.condition}}
	if len(k.layers) > 0 {
		in = append(in, ad.Source[float32]{Data: k.layers})
	}
	e.Run(&ad.Run[float32]{N: 1, Inputs: in, Outputs: []ad.Sink[float32]{{Tensor: out, Data: k.stats}}})
	width := out.Width / 2
	for i := range y {
		row := k.stats[i/width*out.Width:]
		y[i] = float32(float64(row[i%width]) + math.Exp(float64(row[width+i%width])/2)*s.Norm())
	}
}

func (c *latent) EncodeShape(dst []float32, e *Energies, voxels []float32, s *rng.Stream) {
	k := c.coders.Get().(*coder)
	defer c.coders.Put(k)
	c.ShapeCondition(k.condition, k.layers, e)
	c.Codec.EncodeShape(k.shape, e, voxels, s)
	for i, v := range c.net.place {
		k.x[i] = k.shape[v]
	}
	k.run(k.enc, k.x, k.cells, dst, s)
	for i, v := range dst {
		dst[i] = (v - c.mean[i]) / c.sd[i]
	}
}

func (c *latent) DecodeShape(voxels []float32, e *Energies, x []float32, s *rng.Stream) {
	k := c.coders.Get().(*coder)
	defer c.coders.Put(k)
	c.ShapeCondition(k.condition, k.layers, e)
	for i, v := range x {
		k.z[i] = v*c.sd[i] + c.mean[i]
	}
	k.run(k.dec, k.z, k.voxels, k.x, s)
	for i, v := range c.net.place {
		k.shape[v] = k.x[i]
	}
	c.Codec.DecodeShape(voxels, e, k.shape, s)
}

// standardise fixes mean and deviation of the numbers from showers.
func (c *latent) standardise(st *store, rows []int32, seed uint64) {
	n := len(c.mean)
	key := rng.NewKey(seed, "calo latent numbers")
	e, voxels, x := NewEnergies(c.Geometry()), make([]float32, c.Geometry().Voxels()), make([]float32, n)
	sum, square := make([]float64, n), make([]float64, n)
	for i, row := range rows {
		s := key.At(uint64(i))
		st.shower(e, voxels, row, nil)
		c.EncodeShape(x, e, voxels, &s)
		for k, v := range x {
			sum[k] += float64(v)
			square[k] += float64(v) * float64(v)
		}
	}
	count := float64(len(rows))
	for k := range x {
		mean := sum[k] / count
		c.mean[k], c.sd[k] = float32(mean), float32(math.Sqrt(max(square[k]/count-mean*mean, 1e-6)))
	}
}

// latentNumbers is the most showers that standardise looks at.
const latentNumbers = 4096

// latentMatching trains the autoencoder.
func latentMatching(c *latent, st *store, pool *ad.Pool, turns bool, used, held []int32, s matchSettings) *matching {
	n, g := c.net, c.Geometry()
	d := c.Codec.Dims()
	cells, each := len(n.slab)*n.Features, len(g.Layers)*d.Layer
	x, weight := make([]float32, s.batch*d.Shape), make([]float32, s.batch*d.Shape)
	noise, cell := make([]float32, s.batch*cells), make([]float32, s.batch*len(n.slab))
	conds, layers := make([]float32, s.batch*d.ShapeCondition), make([]float32, s.batch*each)
	key := rng.NewKey(s.seed, "calo autoencoder")
	turned := [][]int32{nil}
	if turns {
		turned = turnings(c)
	}
	p := ad.NewProgram(n.ps)
	n.loss(p)
	return newMatching(p, pool, used, held, s, func(step uint64, index []int32) []ad.Source[float32] {
		one := 1 / float32(len(index)*d.Shape)
		par.For(pool.Workers(), len(index), encodeChunk, func(_, lo, hi int) {
			e := NewEnergies(g)
			shower, shape := make([]float32, g.Voxels()), make([]float32, d.Shape)
			for i := lo; i < hi; i++ {
				r := key.At(rng.Hash(step, uint64(i)))
				st.shower(e, shower, index[i], turned[r.IntN(len(turned))])
				c.Codec.EncodeShape(shape, e, shower, &r)
				c.ShapeCondition(conds[i*d.ShapeCondition:(i+1)*d.ShapeCondition], layers[i*each:(i+1)*each], e)
				for k := range noise[i*cells : (i+1)*cells] {
					noise[i*cells+k] = float32(r.Norm())
				}
				for k, v := range n.place {
					w := one
					if d.SkipEmpty && e.Layers[int(v)*len(g.Layers)/g.Voxels()] <= 0 {
						w = 0
					}
					x[i*d.Shape+k], weight[i*d.Shape+k] = shape[v], w
				}
				for k := range n.slab {
					cell[i*len(n.slab)+k] = float32(n.KL) * float32(n.Features) * one
				}
			}
		})
		in := []ad.Source[float32]{{Data: x}, {Data: noise}, {Data: weight}, {Data: cell}, {Data: conds}}
		if each > 0 {
			in = append(in, ad.Source[float32]{Data: layers})
		}
		return in
	})
}

// latentState is what Describe stores beside the codec of the energies.
type latentState struct {
	Energies json.RawMessage `json:"energies"`
	Mean     []float32       `json:"mean"`
	SD       []float32       `json:"sd"`
}

// Describe stores the standardisation; the autoencoder's weights are stored with those of the networks.
func (c *latent) Describe() ([]byte, error) {
	inner, err := c.Codec.Describe()
	if err != nil {
		return nil, err
	}
	return json.Marshal(latentState{inner, c.mean, c.sd})
}

func (c *latent) restore(s latentState) error {
	if len(s.Mean) != len(c.mean) || len(s.SD) != len(c.sd) {
		return fmt.Errorf("%d and %d numbers of an autoencoder that has %d", len(s.Mean), len(s.SD), len(c.mean))
	}
	for k := range s.Mean {
		if m, sd := float64(s.Mean[k]), float64(s.SD[k]); math.IsNaN(m) || math.IsInf(m, 0) || !(sd > 0) || math.IsInf(sd, 1) {
			return fmt.Errorf("number %d of the autoencoder: mean %v, deviation %v", k, m, sd)
		}
	}
	copy(c.mean, s.Mean)
	copy(c.sd, s.SD)
	return nil
}
