package samples

import (
	"math"
	"slices"

	"hepmorph/physics"
	"hepmorph/physics/rootio"
)

// Layout is how a diphoton sample lies in its file.
type Layout string

// The layouts of diphoton files.
const (
	Flat      Layout = "flat"       // tree diphoton: a column for each photon's quantity, as analyses keep them
	NanoAOD   Layout = "nanoaod"    // tree Events: counted arrays, truncated floats, tree Runs with sums of weights
	ATLAS2025 Layout = "atlas-2025" // tree analysis: vectors, as in ATLAS Open Data 2025
)

// Layouts lists the layouts by name.
func Layouts() []string {
	var out []string
	for l := range layouts {
		out = append(out, string(l))
	}
	slices.Sort(out)
	return out
}

type layout struct {
	tree, title string
	collection  bool // events lose photons and have third ones
	columns     func(g *sampler, n int64, threads int) []branch
}

var layouts = map[Layout]layout{
	Flat:      {"diphoton", "photon pairs", false, flatBranches},
	NanoAOD:   {"Events", "Events", true, nanoBranches},
	ATLAS2025: {"analysis", "analysis", true, atlasBranches},
}

// branch is a branch and how it is filled: one value an event, or one for each element of a collection.
type branch struct {
	name    string
	title   string // documentation, may be empty
	elem    rootio.Elem
	form    rootio.Form
	counter string
	number  func(*event) uint64  // unsigned integers
	value   func(*event) float64 // all other scalars
	text    func(*event) string  // strings
	size    func(*event) int     // elements of a collection
	element func(e *event, k int) float64
}

func (b branch) kind() rootio.Kind {
	k := rootio.Kind{Elem: b.elem, Form: b.form}
	if b.form == rootio.Counted {
		k.Len = 1
	}
	return k
}

// fill makes the column of a block of events.
func (b branch) fill(ev []event) *rootio.Values {
	v := rootio.NewValues(b.kind(), len(ev))
	add := func(x float64) {
		switch {
		case b.elem == rootio.Float32:
			v.F32 = append(v.F32, float32(x))
		case b.elem == rootio.Float64:
			v.F64 = append(v.F64, x)
		case b.elem == rootio.Bool:
			v.B = append(v.B, x != 0)
		case b.elem.Signed():
			v.I = append(v.I, int64(x))
		case b.elem.Unsigned():
			v.U = append(v.U, uint64(x))
		}
	}
	for i := range ev {
		e := &ev[i]
		switch {
		case b.text != nil:
			v.S = append(v.S, b.text(e))
		case b.number != nil:
			v.U = append(v.U, b.number(e))
		case b.value != nil:
			add(b.value(e))
		default:
			for k := range b.size(e) {
				add(b.element(e, k))
			}
			v.Off = append(v.Off, int32(v.Size()))
		}
	}
	return v
}

func scalar(name string, t rootio.Elem, f func(*event) float64) branch {
	return branch{name: name, elem: t, value: f}
}

func constant(name string, t rootio.Elem, x float64) branch {
	return scalar(name, t, func(*event) float64 { return x })
}

// flatColumn is a column of the flat layout, in memory or in a file.
type flatColumn struct {
	name, unit string
	role       physics.Role
	elem       rootio.Elem
	value      func(*event) float64
}

// quantities of a photon in the flat layout.
var quantities = []struct {
	name, unit string
	role       physics.Role
	value      func(*reco) float64
}{
	{"pt", "GeV", physics.Feature, func(p *reco) float64 { return p.pt }},
	{"eta", "", physics.Condition, func(p *reco) float64 { return p.eta }},
	{"phi", "rad", physics.Other, func(p *reco) float64 { return p.phi }},
	{"r9", "", physics.Feature, func(p *reco) float64 { return p.r9 }},
	{"sieie", "", physics.Feature, func(p *reco) float64 { return p.sieie }},
	{"hoe", "", physics.Feature, func(p *reco) float64 { return p.hoe }},
	{"pfChargedIso", "GeV", physics.Feature, func(p *reco) float64 { return p.chIso }},
	{"pfPhoIso03", "GeV", physics.Feature, func(p *reco) float64 { return p.phIso }},
	{"mvaID", "", physics.Feature, func(p *reco) float64 { return p.id }},
}

// flatColumns lists the columns of the flat layout. Float32 values are rounded to float32, so that memory and file agree.
func flatColumns(w Which) []flatColumn {
	cols := []flatColumn{
		{"eventNumber", "", physics.ID, rootio.Uint64, nil},
		{"rho", "GeV", physics.Condition, rootio.Float32, func(e *event) float64 { return e.rho }},
		{"npv", "", physics.Other, rootio.Int32, func(e *event) float64 { return float64(e.vertices) }},
	}
	for k, prefix := range [2]string{"lead_", "sublead_"} {
		for _, q := range quantities {
			cols = append(cols, flatColumn{prefix + q.name, q.unit, q.role, rootio.Float32, func(e *event) float64 { return q.value(&e.ph[k]) }})
		}
	}
	cols = append(cols,
		flatColumn{"m_gg", "GeV", physics.Observable, rootio.Float32, func(e *event) float64 {
			a, b := &e.ph[0], &e.ph[1]
			return physics.Mass(a.pt, a.eta, a.phi, b.pt, b.eta, b.phi)
		}},
		flatColumn{"weight", "", physics.Weight, rootio.Float64, (*event).weight})
	if w != Data {
		cols = append(cols, flatColumn{"gen_process", "", physics.Other, rootio.Int32, func(e *event) float64 { return float64(e.process) }})
		for k, prefix := range [2]string{"lead_", "sublead_"} {
			cols = append(cols, flatColumn{prefix + "genIdx", "", physics.Other, rootio.Int32, func(e *event) float64 { return float64(e.ph[k].index) }})
		}
	}
	for i := range cols {
		if f := cols[i].value; cols[i].elem == rootio.Float32 {
			cols[i].value = func(e *event) float64 { return float64(float32(f(e))) }
		}
	}
	return cols
}

func flatBranches(g *sampler, n int64, threads int) []branch {
	var out []branch
	for _, c := range flatColumns(g.which) {
		b := branch{name: c.name, elem: c.elem, value: c.value}
		if c.role == physics.ID {
			b.number = func(e *event) uint64 { return e.number }
		}
		out = append(out, b)
	}
	if g.weighted {
		sum, _ := g.sumWeights(n, threads)
		out = append(out, constant("xsec", rootio.Float64, g.xs.Effective()), constant("sum_of_weights", rootio.Float64, sum))
	}
	return out
}

// Truncate rounds x to the float32 with the given number of mantissa bits, as NanoAOD stores its floats; ties away from zero.
// bits must be 1 to 22; NaN and infinities stay.
func Truncate(x float64, bits int) float32 {
	f := float32(x)
	if f != f || math.IsInf(float64(f), 0) {
		return f
	}
	drop := uint(23 - bits)
	return math.Float32frombits((math.Float32bits(f) + 1<<(drop-1)) &^ (1<<drop - 1))
}

func truncated(name string, bits int, f func(*event) float64) branch {
	return scalar(name, rootio.Float32, func(e *event) float64 { return float64(Truncate(f(e), bits)) })
}

func photons(e *event) int { return e.n }
func jets(e *event) int    { return e.bystanders.jets }

func nanoBranches(g *sampler, _ int64, _ int) []branch {
	ofPhoton := func(name string, t rootio.Elem, f func(*reco) float64) branch {
		return branch{name: "Photon_" + name, elem: t, form: rootio.Counted, counter: "nPhoton", size: photons,
			element: func(e *event, k int) float64 { return f(&e.ph[k]) }}
	}
	rounded := func(name string, bits int, f func(*reco) float64) branch {
		return ofPhoton(name, rootio.Float32, func(p *reco) float64 { return float64(Truncate(f(p), bits)) })
	}
	out := []branch{
		{name: "run", elem: rootio.Uint32, number: func(*event) uint64 { return g.run() }},
		{name: "luminosityBlock", elem: rootio.Uint32, number: func(e *event) uint64 { return 1 + (e.number-1)%1_000_000/1000 }},
		{name: "event", elem: rootio.Uint64, number: func(e *event) uint64 { return e.number }},
		truncated("fixedGridRhoFastjetAll", 12, func(e *event) float64 { return e.rho }),
		scalar("PV_npvs", rootio.Int32, func(e *event) float64 { return float64(e.vertices) }),
	}
	if g.weighted {
		out = append(out,
			scalar("genWeight", rootio.Float32, func(e *event) float64 { return e.gen }),
			truncated("puWeight", 12, func(e *event) float64 { return e.pu }),
			truncated("Pileup_nTrueInt", 10, func(e *event) float64 { return e.mu }),
			scalar("Generator_process", rootio.Int32, func(e *event) float64 { return float64(e.process) }))
	}
	out = append(out,
		branch{name: "nPhoton", elem: rootio.Uint32, number: func(e *event) uint64 { return uint64(e.n) }},
		rounded("pt", 12, func(p *reco) float64 { return p.pt }),
		rounded("eta", 12, func(p *reco) float64 { return p.eta }),
		rounded("phi", 12, func(p *reco) float64 { return p.phi }),
		rounded("energyErr", 10, func(p *reco) float64 { return p.energyErr }),
		rounded("r9", 10, func(p *reco) float64 { return p.r9 }),
		rounded("sieie", 10, func(p *reco) float64 { return p.sieie }),
		rounded("hoe", 10, func(p *reco) float64 { return p.hoe }),
		rounded("pfChargedIso", 10, func(p *reco) float64 { return p.chIso }),
		rounded("pfPhoIso03", 10, func(p *reco) float64 { return p.phIso }),
		rounded("mvaID", 10, func(p *reco) float64 { return p.id }),
		ofPhoton("electronVeto", rootio.Bool, func(p *reco) float64 { return flag(p.veto) }),
		ofPhoton("isScEtaEB", rootio.Bool, func(p *reco) float64 { return flag(math.Abs(p.eta) < 1.4442) }),
		ofPhoton("isScEtaEE", rootio.Bool, func(p *reco) float64 { return flag(math.Abs(p.eta) > 1.566) }),
		ofPhoton("cutBased", rootio.Int32, func(p *reco) float64 { return float64(p.cutBased()) }))
	if g.weighted {
		out = append(out,
			ofPhoton("genPartFlav", rootio.Uint8, func(p *reco) float64 { return 1 - flag(p.fake) }),
			ofPhoton("genPartIdx", rootio.Int32, func(p *reco) float64 { return float64(p.index) }))
	}
	ofJet := func(name string, q int) branch {
		return branch{name: "Jet_" + name, elem: rootio.Float32, form: rootio.Counted, counter: "nJet", size: jets,
			element: func(e *event, k int) float64 { return float64(Truncate(e.bystanders.jet[k][q], 8)) }}
	}
	return append(out,
		scalar("HLT_Diphoton30_22_R9Id_Mass90", rootio.Bool, func(e *event) float64 { return flag(e.n >= 2 && e.ph[0].pt > 30 && e.ph[1].pt > 22) }),
		scalar("HLT_Photon33", rootio.Bool, func(e *event) float64 { return flag(e.n >= 1 && e.ph[0].pt > 33) }),
		truncated("MET_pt", 8, func(e *event) float64 { return e.bystanders.met }),
		truncated("MET_phi", 8, func(e *event) float64 { return e.bystanders.metPhi }),
		branch{name: "nJet", elem: rootio.Uint32, number: func(e *event) uint64 { return uint64(e.bystanders.jets) }},
		ofJet("pt", 0), ofJet("eta", 1), ofJet("phi", 2), ofJet("mass", 3))
}

// run is 1 for simulation, as generators have it.
func (g *sampler) run() uint64 {
	if g.which == Data {
		return 362_000
	}
	return 1
}

func flag(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// cutBased is the tightest of three working points in H/E, charged isolation and the shower width.
func (p *reco) cutBased() int {
	widest := 0.0106
	if math.Abs(p.eta) > boundary {
		widest = 0.0300
	}
	for id, k := range [3]float64{1, 1.3, 2} {
		if p.hoe < 0.025*k && p.chIso < 1.1*k && p.sieie < widest*(1+0.04*float64(id)) {
			return 3 - id
		}
	}
	return 0
}

func atlasBranches(g *sampler, n int64, threads int) []branch {
	ofPhoton := func(name string, t rootio.Elem, f func(*reco) float64) branch {
		return branch{name: "photon_" + name, elem: t, form: rootio.Vector, size: photons,
			element: func(e *event, k int) float64 { return f(&e.ph[k]) }}
	}
	ofJet := func(name string, q int) branch {
		return branch{name: "jet_" + name, elem: rootio.Float32, form: rootio.Vector, size: jets,
			element: func(e *event, k int) float64 { return e.bystanders.jet[k][q] }}
	}
	channel := uint64(0)
	if g.weighted {
		channel = 364352
		for p, share := range g.share {
			if share == 1 {
				channel = [processes]uint64{364352, 343981, 423099}[p]
			}
		}
	}
	out := []branch{
		{name: "runNumber", elem: rootio.Uint32, number: func(*event) uint64 { return g.run() }},
		{name: "eventNumber", elem: rootio.Uint64, number: func(e *event) uint64 { return e.number }},
		{name: "channelNumber", elem: rootio.Uint32, number: func(*event) uint64 { return channel }},
		scalar("mu", rootio.Float32, func(e *event) float64 { return e.mu }),
		scalar("rho", rootio.Float32, func(e *event) float64 { return e.rho }),
		scalar("npv", rootio.Int32, func(e *event) float64 { return float64(e.vertices) }),
		scalar("trigP", rootio.Bool, func(e *event) float64 { return flag(e.n >= 2 && e.ph[0].pt > 35 && e.ph[1].pt > 25) }),
		scalar("photon_n", rootio.Int32, func(e *event) float64 { return float64(e.n) }),
		ofPhoton("pt", rootio.Float32, func(p *reco) float64 { return p.pt }),
		ofPhoton("eta", rootio.Float32, func(p *reco) float64 { return p.eta }),
		ofPhoton("phi", rootio.Float32, func(p *reco) float64 { return p.phi }),
		ofPhoton("e", rootio.Float32, func(p *reco) float64 { return p.pt * math.Cosh(p.eta) }),
		ofPhoton("ptcone20", rootio.Float32, func(p *reco) float64 { return p.ptcone }),
		ofPhoton("topoetcone40", rootio.Float32, func(p *reco) float64 { return p.topo }),
		ofPhoton("isLooseID", rootio.Bool, func(p *reco) float64 { return flag(p.id > -0.4) }),
		ofPhoton("isTightID", rootio.Bool, func(p *reco) float64 { return flag(p.id > 0) }),
		ofPhoton("isLooseIso", rootio.Bool, func(p *reco) float64 { return flag(p.ptcone < 0.05*p.pt && p.topo < 0.065*p.pt) }),
		ofPhoton("isTightIso", rootio.Bool, func(p *reco) float64 { return flag(p.ptcone < 0.05*p.pt && p.topo < 0.022*p.pt+2.45) }),
		ofPhoton("isTrigMatched", rootio.Bool, func(p *reco) float64 { return flag(p.veto) }),
		scalar("jet_n", rootio.Int32, func(e *event) float64 { return float64(e.bystanders.jets) }),
		ofJet("pt", 0), ofJet("eta", 1), ofJet("phi", 2), ofJet("mass", 3),
		scalar("met", rootio.Float32, func(e *event) float64 { return e.bystanders.met }),
	}
	if !g.weighted {
		return out
	}
	sum, sum2 := g.sumWeights(n, threads)
	return append(out,
		scalar("mcWeight", rootio.Float32, func(e *event) float64 { return e.gen }),
		scalar("ScaleFactor_PILEUP", rootio.Float32, func(e *event) float64 { return e.pu }),
		scalar("ScaleFactor_PHOTON", rootio.Float32, func(e *event) float64 { return e.photonFactor }),
		constant("xsec", rootio.Float64, g.xs.Sigma),
		constant("kfac", rootio.Float64, g.xs.KFactor),
		constant("filteff", rootio.Float64, g.xs.FilterEff),
		constant("sum_of_weights", rootio.Float64, sum),
		constant("sum_of_weights_squared", rootio.Float64, sum2),
		constant("num_events", rootio.Float64, float64(n)),
		scalar("truth_process", rootio.Int32, func(e *event) float64 { return float64(e.process) }),
		branch{name: "truth_index", elem: rootio.Int32, form: rootio.Vector, size: photons,
			element: func(e *event, k int) float64 { return float64(e.ph[k].index) }})
}
