package calo

import (
	"fmt"

	"hepmorph/calo/geometry"
	"hepmorph/internal/ad"
)

// A ShapeNet is the shape network of a geometry with equal layers by itself, without codec, showers or model: for measurements, and for
// comparisons with other programs.
type ShapeNet struct {
	Tokens, Patch int // tokens of a shower, and numbers of one that are drawn
	Extra         int // numbers of its layers that a token has beside them
	Times         int // numbers of the time; a condition follows them
	Condition     int
	Grid          [3]int // tokens along layer, sector and ring
	net           *transformer[float32]
}

// NewShapeNet adds the parameters of a network to ps and initialises them. s.Patch has to divide the geometry; condition is the length of the
// condition, numbers those that a token gets for each of its layers.
func NewShapeNet(ps *ad.Params[float32], g *geometry.Geometry, s TransformerSettings, condition, numbers int, seed uint64) (*ShapeNet, error) {
	layers, alpha, rings, uniform := g.Uniform()
	if !uniform || min(s.Patch[0], s.Patch[1], s.Patch[2]) < 1 || layers%s.Patch[0] != 0 || alpha%s.Patch[1] != 0 || rings%s.Patch[2] != 0 {
		return nil, fmt.Errorf("calo: could not cut %v into patches of %v: %w", g, s.Patch, ErrSettings)
	}
	tl := tiling{patch: s.Patch[0] * s.Patch[1] * s.Patch[2], layers: s.Patch[0], grid: [3]int{layers / s.Patch[0], alpha / s.Patch[1], rings / s.Patch[2]}}
	tl.tokens = tl.grid[0] * tl.grid[1] * tl.grid[2]
	net, err := newTransformer(ps, s, tl, Dims{ShapeCondition: condition, Layer: numbers})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSettings, err)
	}
	net.initialise(ps, seed)
	return &ShapeNet{Tokens: net.tokens, Patch: net.patch, Extra: net.extra, Times: net.times, Condition: condition, Grid: net.grid, net: net}, nil
}

// Record records the velocity: x has a row of Patch + Extra numbers for each token, items one of Times + Condition numbers for each shower.
func (n *ShapeNet) Record(p *ad.Program[float32], x, items ad.Tensor) ad.Tensor {
	return n.net.record(p, x, items)
}

// TimeFeatures writes the numbers of a time.
func (n *ShapeNet) TimeFeatures(dst []float32, t float64) { n.net.timeFeatures(dst, t, t) }

// Operations are the floating-point operations in the matrix products of one evaluation for one shower, padding not counted.
func (n *ShapeNet) Operations() float64 {
	s := n.net
	w, t := float64(s.Width), float64(n.Tokens)
	block := (4+2*float64(s.Ratio))*w*w*t + 2*t*t*w + 6*w*w
	embedding := float64(n.Patch+n.Extra)*w*t + float64(n.Times+n.Condition)*w + 2*w*w
	return 2 * (float64(s.Depth)*block + embedding + 2*w*w + float64(n.Patch)*w*t)
}
