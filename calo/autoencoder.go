package calo

import (
	"fmt"

	"hepmorph/calo/geometry"
	"hepmorph/internal/ad"
	"hepmorph/internal/kernel"
)

// LatentSettings describe an autoencoder of the voxels whose numbers the shape network then draws in their place. The zero value of a field
// other than On is its default.
type LatentSettings struct {
	On       bool
	Stride   [3]int  // layers, sectors and rings of a cell, the kernel and the stride of the coarsening; default 3,2,1
	Channels int     // default 16
	Blocks   int     // residual convolutions of encoder and of decoder, over neighbouring cells; default 1
	Features int     // numbers of a cell; default 2
	KL       float64 // weight of the divergence from normal numbers, 1 is that of a likelihood; default 0.001
	Steps    int     // of its training; or a fifth of the budget
	Batch    int     // default 128
	Rate     float64 // default 5e-3
}

func (s *LatentSettings) resolve() {
	if s.Stride == [3]int{} {
		s.Stride = [3]int{3, 2, 1}
	}
	for _, d := range []struct {
		field *int
		value int
	}{{&s.Channels, 16}, {&s.Blocks, 1}, {&s.Features, 2}, {&s.Batch, 128}} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	if s.KL == 0 {
		s.KL = 0.001
	}
	if s.Rate == 0 {
		s.Rate = 5e-3
	}
}

func (s *LatentSettings) check(g *geometry.Geometry) error {
	layers, alpha, rings, uniform := g.Uniform()
	switch {
	case !uniform:
		return fmt.Errorf("an autoencoder needs equal layers, not %v", g)
	case s.Stride[0] < 1 || s.Stride[1] < 1 || s.Stride[2] < 1 || layers%s.Stride[0] != 0 || alpha%s.Stride[1] != 0 || rings%s.Stride[2] != 0:
		return fmt.Errorf("cells of %d layers × %d sectors × %d rings do not divide %v", s.Stride[0], s.Stride[1], s.Stride[2], g)
	case s.Channels < 1 || s.Channels > 1024 || s.Blocks < 0 || s.Blocks > 64 || s.Features < 1 || s.Features > 256 || s.Batch < 1 || s.Batch > 1<<20 || s.Steps < 0:
		return fmt.Errorf("an autoencoder of %d blocks of %d channels, %d numbers a cell, batches of %d, %d steps", s.Blocks, s.Channels, s.Features, s.Batch, s.Steps)
	case !(s.KL >= 0 && s.KL <= 1) || !(s.Rate > 0 && s.Rate <= 1):
		return fmt.Errorf("an autoencoder with KL weight %v and rate %v", s.KL, s.Rate)
	}
	return nil
}

// autoencoder is a variational autoencoder (arXiv:1312.6114) of a codec's numbers of the voxels, which are about normal: its decoder says a mean and a
// deviation for each number. A convolution whose kernel is its stride makes cells of voxels; residual 3×3×3 convolutions, closed around the
// axis, look at neighbouring cells; both sides know the condition of the shape network, the numbers of a cell's own layers, and where it is.
type autoencoder[T kernel.Float] struct {
	LatentSettings
	ps         *ad.Params[T]
	grid       [3]int    // cells along layer, sector and ring
	place      []int32   // voxel of each number of each cell
	neighbours [][]int32 // cells around each cell
	slab       [][]int32 // the one slab, of Stride[0] layers, of each cell
	condition  int
	given      int // numbers of a slab's layers
	enc, dec   coderNet
}

// A coderNet is one side.
type coderNet struct {
	in, out                dense
	positions              *ad.Param
	condition, slab, given dense // what is given to the cells of a slab
	blocks                 []dense
}

// givenWidth is the number of hidden units between condition and cells.
const givenWidth = 100

func newAutoencoder[T kernel.Float](ps *ad.Params[T], s LatentSettings, g *geometry.Geometry, d Dims, seed uint64) (*autoencoder[T], error) {
	if err := s.check(g); err != nil {
		return nil, err
	}
	layers, alpha, rings, _ := g.Uniform()
	if d.Shape != g.Voxels() {
		return nil, fmt.Errorf("an autoencoder needs one number a voxel, not %d for %d", d.Shape, g.Voxels())
	}
	n := &autoencoder[T]{LatentSettings: s, ps: ps, condition: d.ShapeCondition, given: s.Stride[0] * d.Layer, grid: [3]int{layers / s.Stride[0], alpha / s.Stride[1], rings / s.Stride[2]}}
	n.eachCell(func(l, a, r int) {
		for i := range s.Stride[0] {
			for j := range s.Stride[1] {
				for k := range s.Stride[2] {
					n.place = append(n.place, int32(((l*s.Stride[0]+i)*alpha+a*s.Stride[1]+j)*rings+r*s.Stride[2]+k))
				}
			}
		}
		var around []int32
		for i := l - 1; i <= l+1; i++ {
			for j := a - 1; j <= a+1; j++ {
				for k := r - 1; k <= r+1; k++ {
					cell := int32(-1)
					if i >= 0 && i < n.grid[0] && k >= 0 && k < n.grid[2] {
						cell = int32((i*n.grid[1]+(j+n.grid[1])%n.grid[1])*n.grid[2] + k)
					}
					around = append(around, cell)
				}
			}
		}
		n.neighbours, n.slab = append(n.neighbours, around), append(n.slab, []int32{int32(l)})
	})
	m := maker[T]{ps, seed}
	side := func(name string, in, out int) coderNet {
		c := coderNet{in: m.dense(name+".in", s.Channels, in), out: m.dense(name+".out", out, s.Channels), positions: ps.Matrix(name+".positions", n.cells(), s.Channels),
			condition: m.dense(name+".condition", givenWidth, n.condition), given: m.dense(name+".given", s.Channels, givenWidth)}
		if n.given > 0 {
			c.slab = m.dense(name+".slab", givenWidth, n.given)
		}
		ps.Normal(c.positions, 0.1, seed)
		for i := range s.Blocks {
			c.blocks = append(c.blocks, m.dense(fmt.Sprintf("%s.block%d", name, i), s.Channels, len(n.neighbours[0])*s.Channels))
		}
		return c
	}
	n.enc, n.dec = side("encoder", n.voxels(), 2*s.Features), side("decoder", s.Features, 2*n.voxels())
	ps.Constant(n.dec.out.w, 0) // normal numbers that say nothing of each other
	return n, nil
}

func (n *autoencoder[T]) cells() int  { return n.grid[0] * n.grid[1] * n.grid[2] }
func (n *autoencoder[T]) voxels() int { return n.Stride[0] * n.Stride[1] * n.Stride[2] } // of a cell

// eachCell calls f for the cells in their order.
func (n *autoencoder[T]) eachCell(f func(l, a, r int)) {
	for l := range n.grid[0] {
		for a := range n.grid[1] {
			for r := range n.grid[2] {
				f(l, a, r)
			}
		}
	}
}

// A known is what both sides are given: the condition, and the numbers of the layers of each slab, unless there are none.
type known struct{ condition, slabs ad.Tensor }

func (n *autoencoder[T]) inputs(p *ad.Program[T]) known {
	k := known{condition: p.Input(n.condition)}
	if n.given > 0 {
		k.slabs = p.InputRows(n.given, n.grid[0])
	}
	return k
}

func (n *autoencoder[T]) record(p *ad.Program[T], c coderNet, x ad.Tensor, k known) (first, second ad.Part) {
	linear := func(d dense, x ad.Tensor) ad.Tensor { return p.Linear(x, d.w, d.b) }
	given := p.Expand(linear(c.condition, k.condition), n.grid[0])
	if n.given > 0 {
		given = p.Sum2(given, linear(c.slab, k.slabs))
	}
	given = p.Neighbours(linear(c.given, p.Activate(ad.SiLU, given)), n.slab)
	h := p.Activate(ad.SiLU, p.Sum2(p.AddTable(linear(c.in, x), c.positions), given))
	for _, b := range c.blocks {
		h = p.Sum2(h, p.Activate(ad.SiLU, linear(b, p.Neighbours(h, n.neighbours))))
	}
	out := linear(c.out, h)
	return out.Part(0, out.Width/2), out.Part(out.Width/2, out.Width)
}

// encode records means and logarithms of variances of the cells' numbers from those of their voxels.
func (n *autoencoder[T]) encode(p *ad.Program[T], voxels ad.Tensor, k known) (mean, logvar ad.Part) {
	return n.record(p, n.enc, voxels, k)
}

// decode records means and logarithms of variances of the voxels' numbers.
func (n *autoencoder[T]) decode(p *ad.Program[T], z ad.Tensor, k known) (mean, logvar ad.Part) {
	return n.record(p, n.dec, z, k)
}

// loss records how unlikely the voxels' numbers are to the decoder, and KL times the divergence of the cells' from normal ones. Inputs: numbers of the voxels;
// noise; weights of the voxels and of the cells; what is known.
func (n *autoencoder[T]) loss(p *ad.Program[T]) {
	voxels, noise := p.InputRows(n.voxels(), n.cells()), p.InputRows(n.Features, n.cells())
	w, cell := p.InputRows(n.voxels(), n.cells()), p.InputRows(1, n.cells())
	k := n.inputs(p)
	mean, logvar := n.encode(p, voxels, k)
	m, v := n.decode(p, p.GaussianSample(mean, logvar, noise), k)
	p.GaussianFit(m, v, voxels, w)
	p.GaussianKL(mean, logvar, cell)
}
