package morph

import (
	"fmt"

	"hepmorph/flows"
	"hepmorph/internal/ad"
	"hepmorph/internal/kernel"
	"hepmorph/internal/rng"
)

// A Method says how a flow over features and conditions turns a simulated event into one that looks like data.
type Method string

const (
	// Switch is one conditional flow over both samples with the domain as one more context number: encode as simulation, decode as data
	// (arXiv 2403.18582). Deterministic and invertible.
	Switch Method = "switch"
	// CNF is a conditional flow of the data, sampled at the conditions of a simulated event (arXiv 2504.12343): the right law, no map of events.
	CNF Method = "cnf"
)

// Pairing says which context a cnf is trained with.
type Pairing string

const (
	Own     Pairing = "own"     // the kinematics that a data event has itself
	Shuffle Pairing = "shuffle" // the features and conditions of an unrelated simulated event: the literal unpaired reading; the flow learns to ignore them
)

// network is a flow in model space: D features, C conditions, all of order one.
type network struct {
	method  Method
	pairing Pairing
	d, c    int // features, conditions
	ps      *ad.Params[float32]
	flow    *flows.Flow[float32]
	domain  []int        // places of the weights on the domain, for a switch
	cal     *calibration // nil: none
}

// contextDim is the width of the flow's context.
func (n *network) contextDim() int {
	switch {
	case n.method == Switch:
		return n.c + 1
	case n.pairing == Shuffle:
		return n.d + n.c
	}
	return n.c
}

func newNetwork(method Method, pairing Pairing, d, c int, fc FlowConfig, seed uint64) (*network, error) {
	n := &network{method: method, pairing: pairing, d: d, c: c, ps: ad.NewParams[float32]()}
	s := flows.Settings{Features: d, Context: n.contextDim(), Transforms: fc.Transforms, Hidden: fc.Hidden, Bins: fc.Bins, Passes: fc.Passes, Seed: seed}
	if method == Switch {
		s.ZeroContext = []int{c}
	}
	var err error
	switch fc.Kind {
	case "nsf", "":
		n.flow, err = flows.NewNSF(n.ps, s)
	case "coupling":
		s.Passes = 2
		n.flow, err = flows.NewNSF(n.ps, s)
	case "maf":
		n.flow, err = flows.NewMAF(n.ps, s)
	default:
		err = fmt.Errorf("morph: could not make a flow of kind %q (nsf, coupling or maf)", fc.Kind)
	}
	if err != nil || method != Switch {
		return n, err
	}
	for _, b := range n.flow.Bijectors {
		if a, ok := b.(*flows.Autoregressive[float32]); ok {
			n.domain = append(n.domain, a.Net.ContextWeights(c)...)
		}
	}
	return n, nil
}

// contexts writes the contexts of n rows: that of encoding, or training, for the domain, and that of decoding. x (n,D), c (n,C).
func (n *network) contexts(rows int, x, c []float32, domain float32) (encode, decode []float32) {
	k := n.contextDim()
	encode = make([]float32, rows*k)
	for i := range rows {
		d := encode[i*k:][:k]
		if n.method == CNF && n.pairing == Shuffle {
			d = d[copy(d, x[i*n.d:(i+1)*n.d]):]
		}
		d = d[copy(d, c[i*n.c:(i+1)*n.c]):]
		if n.method == Switch {
			d[0] = domain
		}
	}
	if n.method != Switch {
		return encode, encode
	}
	decode = append([]float32(nil), encode...)
	for i := range rows {
		decode[i*k+n.c] = 1
	}
	return encode, decode
}

// morphProgram records what moves a simulated event: inputs x, or noise, then the contexts. It returns the morphed features.
func (n *network) morphProgram() (*ad.Program[float32], ad.Tensor) {
	p := ad.NewProgram(n.ps)
	x := p.Input(n.d)
	c0 := p.Input(n.contextDim())
	if n.method == CNF {
		return p, n.flow.Bijectors.Inverse(p, x, c0, p.Sum(1))
	}
	c1 := p.Input(n.contextDim())
	z := n.flow.Bijectors.Forward(p, x, c0, p.Sum(1))
	return p, n.flow.Bijectors.Inverse(p, z, c1, p.Sum(1))
}

// A mover applies a network to rows: in one program or, with a calibration, in two with the calibration between them. Not safe for concurrent use.
type mover struct {
	n              *network
	threads        int
	encode, decode pass // encode alone without a calibration
}

// pass is a compiled program with its result.
type pass struct {
	exec *ad.Exec[float32]
	out  ad.Tensor
}

func (p *pass) run(rows int, out []float32, in ...[]float32) {
	var sources []ad.Source[float32]
	for _, v := range in {
		sources = append(sources, ad.Source[float32]{Data: v})
	}
	p.exec.Run(&ad.Run[float32]{N: rows, Inputs: sources, Outputs: []ad.Sink[float32]{{Tensor: p.out, Data: out}}})
}

func (n *network) mover(pool *ad.Pool) *mover {
	m := &mover{n: n, threads: pool.Workers()}
	compile := func(p *ad.Program[float32], out ad.Tensor) pass {
		return pass{p.Compile(kernel.Best(), pool, nil, ad.Settings{Shards: 64}), out}
	}
	if n.cal == nil {
		m.encode = compile(n.morphProgram())
		return m
	}
	p := ad.NewProgram(n.ps)
	m.encode = compile(p, n.flow.Bijectors.Forward(p, p.Input(n.d), p.Input(n.contextDim()), p.Sum(1)))
	p = ad.NewProgram(n.ps)
	m.decode = compile(p, n.flow.Bijectors.Inverse(p, p.Input(n.d), p.Input(n.contextDim()), p.Sum(1)))
	return m
}

// move writes the morphed features of simulated rows. keys address the noise of a cnf.
func (m *mover) move(rows int, out, x, c []float32, keys []uint64, seed uint64) {
	c0, c1 := m.n.contexts(rows, x, c, 0)
	z := x
	if m.n.method == CNF {
		z = noise(rows, m.n.d, keys, seed)
	}
	switch {
	case m.n.cal == nil && m.n.method == CNF:
		m.encode.run(rows, out, z, c0)
	case m.n.cal == nil:
		m.encode.run(rows, out, z, c0, c1)
	default:
		if m.n.method == Switch {
			z = make([]float32, rows*m.n.d)
			m.encode.run(rows, z, x, c0)
		}
		m.n.cal.between(m.n, rows, z, c, m.threads)
		m.decode.run(rows, out, z, c1)
	}
}

// noise is the latent point of each row, a function of its key.
func noise(rows, d int, keys []uint64, seed uint64) []float32 {
	k := rng.NewKey(seed, "latent")
	z := make([]float32, rows*d)
	for i := range rows {
		s := k.At(keys[i])
		for j := range d {
			z[i*d+j] = float32(s.Norm())
		}
	}
	return z
}
