package cases

import (
	"math"

	"hepmorph/calo"
	"hepmorph/calo/geometry"
	"hepmorph/internal/ad"
	"hepmorph/internal/kernel"
	"hepmorph/internal/modelfile"
	"hepmorph/internal/nn"
	"hepmorph/internal/rng"
)

// A Shower is a transformer of showers and its batch.
type Shower struct {
	Name      string // "ViT mini"
	Geometry  string
	Settings  calo.TransformerSettings
	Condition int // numbers of the condition
	Layer     int // numbers that a token gets for each of its layers
	Batch     int // of a training step
}

// Showers lists the transformers: the default network of the small geometry; the 1.2 M parameters on 135 tokens, an older measure; the published
// network of dataset 2 (arXiv 2405.09629), 26 M parameters.
func Showers() []Shower {
	return []Shower{
		{"ViT mini", "mini", calo.TransformerSettings{Patch: [3]int{3, 8, 1}, Width: 96, Depth: 4, Heads: 4, Ratio: 4}, 47, 3, 64},
		{"ViT 135×128", "ds2", calo.TransformerSettings{Patch: [3]int{3, 16, 1}, Width: 128, Depth: 4, Heads: 4, Ratio: 4}, 46, 0, 32},
		{"ViT dataset 2", "ds2", calo.TransformerSettings{Patch: [3]int{3, 16, 1}, Width: 480, Depth: 6, Heads: 6, Ratio: 4, Published: true}, 46, 0, 16},
	}
}

func (c Shower) network(ps *ad.Params[float32]) (*calo.ShapeNet, error) {
	g, err := geometry.Lookup(c.Geometry)
	if err != nil {
		return nil, err
	}
	return calo.NewShapeNet(ps, g, c.Settings, c.Condition, c.Layer, 1)
}

// A ShowerRunner holds a transformer ready to run on random rows.
type ShowerRunner struct {
	Shower
	Net    *calo.ShapeNet
	Params *ad.Params[float32]

	pool             *ad.Pool
	shards           *ad.Shards[float32]
	train, velocity  *ad.Exec[float32]
	rounded          *ad.Exec[float32]
	adam             *nn.Adam[float32]
	x, items, target []float32
	weight, out      []float32
	run              ad.Run[float32]
}

// most is the largest batch of a ShowerRunner's Velocity.
const most = 100

// NewShower prepares a transformer for a number of workers (0: all). No parameter is zero, so that all of them matter.
func NewShower(c Shower, k *kernel.Set[float32], threads int) (*ShowerRunner, error) {
	ps := ad.NewParams[float32]()
	net, err := c.network(ps)
	if err != nil {
		return nil, err
	}
	for _, p := range ps.List {
		if ps.Row(p, 0)[0] == 0 {
			ps.Normal(p, 0.3/math.Sqrt(float64(p.Cols)), 1)
		}
	}
	r := &ShowerRunner{Shower: c, Net: net, Params: ps, pool: ad.NewPool(threads), shards: ad.NewShards(ps, ps.Shards())}
	record := func() (*ad.Program[float32], ad.Tensor) {
		p := ad.NewProgram(ps)
		x, items := p.InputRows(net.Patch+net.Extra, net.Tokens), p.Input(net.Times+net.Condition)
		return p, net.Record(p, x, items)
	}
	p, v := record()
	p.SquaredError(v, p.InputRows(net.Patch, net.Tokens), p.InputRows(1, net.Tokens))
	r.train = p.Compile(k, r.pool, r.shards, ad.Settings{})
	r.adam = nn.NewAdam(ps, r.shards, k, r.pool, nn.AdamSettings{})
	p, v = record()
	r.velocity = p.Compile(k, r.pool, nil, ad.Settings{Shards: 32})
	p, _ = record()
	r.rounded = p.Compile(k, r.pool, nil, ad.Settings{Shards: 32, BFloat16: true})

	s := rng.NewKey(1, "shower").At(0)
	draw := func(n int) []float32 {
		d := make([]float32, n)
		for i := range d {
			d[i] = float32(s.Norm())
		}
		return d
	}
	n := max(most, c.Batch)
	r.x, r.items = draw(n*net.Tokens*(net.Patch+net.Extra)), draw(n*(net.Times+net.Condition))
	for i := range n {
		net.TimeFeatures(r.items[i*(net.Times+net.Condition):][:net.Times], s.Float64())
	}
	r.target, r.weight = draw(c.Batch*net.Tokens*net.Patch), make([]float32, c.Batch*net.Tokens)
	for i := range r.weight {
		r.weight[i] = 1 / float32(len(r.weight))
	}
	r.out = make([]float32, n*net.Tokens*net.Patch)
	r.run = ad.Run[float32]{Losses: make([]float64, 1)}
	r.run.Outputs = []ad.Sink[float32]{{Tensor: v, Data: r.out}}
	return r, nil
}

// Close ends the workers.
func (r *ShowerRunner) Close() { r.pool.Close() }

// gradient adds the gradient of the mean squared error over the training batch to the shards and returns the error.
func (r *ShowerRunner) gradient() float64 {
	run := ad.Run[float32]{N: r.Batch, Backward: true, Losses: r.run.Losses,
		Inputs: []ad.Source[float32]{{Data: r.x}, {Data: r.items}, {Data: r.target}, {Data: r.weight}}}
	run.Losses[0] = 0
	r.train.Run(&run)
	return run.Losses[0]
}

// Train makes one step: mean squared error, gradients, Adam.
func (r *ShowerRunner) Train() {
	r.gradient()
	r.adam.Update(1e-5)
}

// Velocity evaluates the network for n showers, at most 100.
func (r *ShowerRunner) Velocity(n int) []float32 { return r.evaluate(r.velocity, n) }

// RoundedVelocity is Velocity with products of bfloat16 numbers, of the parameters that NewShower has drawn.
func (r *ShowerRunner) RoundedVelocity(n int) []float32 { return r.evaluate(r.rounded, n) }

func (r *ShowerRunner) evaluate(e *ad.Exec[float32], n int) []float32 {
	e.Run(&ad.Run[float32]{N: n, Inputs: []ad.Source[float32]{{Data: r.x}, {Data: r.items}}, Outputs: r.run.Outputs})
	return r.out[:n*r.Net.Tokens*r.Net.Patch]
}

// Work is the number of floating-point operations of a training step in matrix products; the gradient by the input is not computed.
func (r *ShowerRunner) Work() float64 {
	return float64(r.Batch) * (3*r.Net.Operations() - 2*float64((r.Net.Patch+r.Net.Extra)*r.Net.Tokens*r.Settings.Width))
}

// Write writes parameters, a training batch, and what comes of it: the velocity, the loss and its gradient by parameter, as tensors x, items,
// target, velocity, loss, parameter.NAME, gradient.NAME.
func (r *ShowerRunner) Write(path string) error {
	n := r.Batch
	net := r.Net
	f := &modelfile.File{Meta: map[string]string{}}
	f.Add("velocity", r.Velocity(n), n, net.Tokens, net.Patch)
	loss := r.gradient()
	f.Add("loss", []float64{loss}, 1)
	f.Add("x", r.x[:n*net.Tokens*(net.Patch+net.Extra)], n, net.Tokens, net.Patch+net.Extra)
	f.Add("items", r.items[:n*(net.Times+net.Condition)], n, net.Times+net.Condition)
	f.Add("target", r.target, n, net.Tokens, net.Patch)
	for _, p := range r.Params.List {
		shape := []int{p.Rows, p.Cols}
		if p.Cols == 1 {
			shape = shape[:1]
		}
		grad := make([]float32, 0, p.Rows*p.Cols)
		for i := range p.Rows {
			for j := range p.Cols {
				sum := float32(0)
				for _, g := range r.shards.G {
					sum += g[p.Off+i*p.LD+j]
				}
				grad = append(grad, sum)
			}
		}
		f.Add("parameter."+p.Name, r.Params.Named()[p.Name], shape...)
		f.Add("gradient."+p.Name, grad, shape...)
	}
	r.shards.Clear(r.pool)
	return f.Write(path)
}
