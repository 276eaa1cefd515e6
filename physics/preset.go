package physics

import (
	"fmt"
	"slices"
	"strings"

	"hepmorph/physics/rootio"
)

// Spec proposes a column of a preset: what it is, how to transform it, how to draw it.
type Spec struct {
	Name      string
	Expr      string // "" is the name
	Unit      string
	Label     string // text of figures
	Transform string // "" (choose), none, log, logit, periodic
	Bounds    []float64
	Gap       []float64 // forbidden interval
	Atom      *float64  // a value of its own, like an isolation of exactly 0
	Sentinels []float64
	Mantissa  int // stored bits of a truncated float, 0 where they are full
	Range     []float64
	Blind     []float64
	Peak      []float64
	Log       bool
}

// Preset is what is known about a kind of ntuple.
type Preset struct {
	Name   string
	About  string
	Tree   string
	ID     []string
	Row    string // "" is event
	Weight string // of simulation; data have weight 1
	// Cross section in pb, k-factor, filter efficiency and sum of weights of simulation, where the tree has them.
	XSec, KFactor, FilterEff, SumOfWeights string
	Define                                 []Definition
	Select                                 []string
	Split                                  string // which rows are for training
	Features                               []Spec
	Conditions                             []Spec
	Observables                            []Spec
	Slices                                 []string
	Energy                                 string // of the collisions, for figures
	// Notes are caveats that belong into every report.
	Notes []string
}

func atom(x float64) *float64 { return &x }

// both puts a condition on the photons 0 and 1 of an event: # stands for the index.
func both(src string) string {
	return strings.ReplaceAll(src, "#", "0") + " && " + strings.ReplaceAll(src, "#", "1")
}

// abs(eta) < 2.37 without the gap of the barrel, written so that it is a veto: outside 1.37-1.52 is "< 1.37 or > 1.52".
const atlasEta = "abs(photon_eta[#]) < 2.37 && (abs(photon_eta[#]) < 1.37 || abs(photon_eta[#]) > 1.52)"

var (
	massSpec = Spec{Name: "m_gg", Expr: "m", Unit: "GeV", Label: "m_{γγ}", Range: []float64{100, 160}, Peak: []float64{115, 135}}
	ptggSpec = Spec{Name: "pt_gg", Expr: "pt", Unit: "GeV", Label: "p_{T}^{γγ}", Range: []float64{0, 200}, Log: true}
)

// presets: selections and weights of arXiv 2504.12343 and of the official analysis code of the ATLAS Open Data releases.
var presets = []Preset{
	{
		Name: "oneflow", About: "the toy of arXiv 2403.18582, as hepmorph samples oneflow writes it", Tree: "oneflow",
		Features: []Spec{
			{Name: "v1A", Label: "v_{1}^{A}", Range: []float64{-4, 3}},
			{Name: "v2A", Label: "v_{2}^{A}", Range: []float64{-3, 4}},
			{Name: "v1B", Label: "v_{1}^{B}", Atom: atom(0), Transform: "log", Range: []float64{0, 8}, Log: true},
			{Name: "v2B", Label: "v_{2}^{B}", Atom: atom(0), Transform: "log", Range: []float64{0, 8}, Log: true},
		},
		Conditions: []Spec{
			{Name: "pt", Label: "p_{T}", Transform: "log", Range: []float64{0, 6}, Log: true},
			{Name: "eta", Label: "η", Range: []float64{0, 3}},
			{Name: "noise", Label: "noise", Range: []float64{0, 3}},
		},
	},
	{
		Name: "diphoton", About: "flat diphoton ntuples, as hepmorph samples diphoton writes them", Tree: "diphoton",
		ID: []string{"eventNumber"}, Weight: "weight", Energy: "13.6 TeV", Split: "eventNumber % 10 < 7",
		Define: []Definition{
			{"m", "pair_mass(lead_pt, lead_eta, lead_phi, sublead_pt, sublead_eta, sublead_phi)"},
			{"pt", "pair_pt(lead_pt, lead_phi, sublead_pt, sublead_phi)"},
			{"dphi", "abs(deltaphi(lead_phi, sublead_phi))"},
		},
		Select: []string{
			"lead_pt > 25 && sublead_pt > 20",
			"abs(lead_eta) < 2.5 && (abs(lead_eta) < 1.4442 || abs(lead_eta) > 1.566) && abs(sublead_eta) < 2.5 && (abs(sublead_eta) < 1.4442 || abs(sublead_eta) > 1.566)",
			"m > 62",
		},
		Features: []Spec{
			{Name: "lead_pt", Unit: "GeV", Label: "p_{T,1}", Transform: "log", Range: []float64{25, 200}, Log: true},
			{Name: "sublead_pt", Unit: "GeV", Label: "p_{T,2}", Transform: "log", Range: []float64{20, 150}, Log: true},
			{Name: "lead_r9", Label: "R_{9}, leading", Transform: "logit", Bounds: []float64{0, 1.1}, Range: []float64{0.3, 1.05}},
			{Name: "sublead_r9", Label: "R_{9}, subleading", Transform: "logit", Bounds: []float64{0, 1.1}, Range: []float64{0.3, 1.05}},
			{Name: "lead_sieie", Label: "σ_{iηiη}, leading", Transform: "log", Range: []float64{0.005, 0.04}},
			{Name: "sublead_sieie", Label: "σ_{iηiη}, subleading", Transform: "log", Range: []float64{0.005, 0.04}},
		},
		Conditions: []Spec{
			{Name: "lead_eta", Label: "η_{1}", Range: []float64{-2.5, 2.5}},
			{Name: "sublead_eta", Label: "η_{2}", Range: []float64{-2.5, 2.5}},
			{Name: "dphi", Label: "|Δφ|", Range: []float64{0, 3.1416}},
			{Name: "rho", Unit: "GeV", Label: "ρ", Range: []float64{0, 60}},
		},
		Observables: []Spec{massSpec, ptggSpec},
	},
	{
		Name: "atlas-2020", About: "ATLAS Open Data for education, 13 TeV, 10 fb^-1 (2016): tree mini, MeV", Tree: "mini",
		ID: []string{"runNumber", "eventNumber"}, Energy: "13 TeV", Split: "eventNumber % 10 < 7",
		Weight: "scaleFactor_PHOTON * scaleFactor_PhotonTRIGGER * scaleFactor_PILEUP * mcWeight",
		Define: []Definition{
			{"m", "diphoton_mass(photon_pt, photon_eta, photon_phi) / 1000"},
			{"pt", "diphoton_pt(photon_pt, photon_eta, photon_phi) / 1000"},
		},
		Select: []string{
			"trigP",
			"size(photon_pt) >= 2 && " + both("photon_isTightID[#]") + " && size(photon_pt) == 2",
			both("photon_pt[#] > 25000"),
			both(atlasEta),
			both("photon_ptcone30[#] / photon_pt[#] < 0.065"),
			both("photon_etcone20[#] / photon_pt[#] < 0.065"),
			"photon_pt[0] / 1000 / m > 0.35 && photon_pt[1] / 1000 / m > 0.25",
			"m > 105 && m < 160",
		},
		Features: []Spec{
			{Name: "ptcone30", Expr: "photon_ptcone30[0]", Unit: "MeV", Label: "p_{T}^{cone30}", Atom: atom(0), Transform: "log", Log: true},
			{Name: "etcone20", Expr: "photon_etcone20[0]", Unit: "MeV", Label: "E_{T}^{cone20}"},
			{Name: "ptcone30_2", Expr: "photon_ptcone30[1]", Unit: "MeV", Label: "p_{T}^{cone30}, subleading", Atom: atom(0), Transform: "log", Log: true},
			{Name: "etcone20_2", Expr: "photon_etcone20[1]", Unit: "MeV", Label: "E_{T}^{cone20}, subleading"},
		},
		Conditions: []Spec{
			{Name: "pt1", Expr: "photon_pt[0]", Unit: "MeV", Label: "p_{T,1}", Transform: "log", Log: true},
			{Name: "eta1", Expr: "photon_eta[0]", Label: "η_{1}", Range: []float64{-2.37, 2.37}},
			{Name: "pt2", Expr: "photon_pt[1]", Unit: "MeV", Label: "p_{T,2}", Transform: "log", Log: true},
			{Name: "eta2", Expr: "photon_eta[1]", Label: "η_{2}", Range: []float64{-2.37, 2.37}},
		},
		Observables: []Spec{{Name: "m_gg", Expr: "m", Unit: "GeV", Label: "m_{γγ}", Range: []float64{105, 160}, Blind: []float64{120, 130}}, ptggSpec},
		Slices:      []string{"abs(photon_eta[0]) < 0.75 && abs(photon_eta[1]) < 0.75 && photon_convType[0] == 0 && photon_convType[1] == 0"},
		Notes:       []string{"The release has no diphoton background simulation: data are mostly continuum, simulation is Higgs only.", composition},
	},
	{
		Name: "atlas-2025", About: "ATLAS Open Data for education, 13 TeV, 36 fb^-1 (2015-16): tree analysis, GeV", Tree: "analysis",
		ID: []string{"runNumber", "eventNumber"}, Energy: "13 TeV", Split: "eventNumber % 10 < 7",
		Weight: "ScaleFactor_PHOTON * ScaleFactor_PILEUP * mcWeight", XSec: "xsec", KFactor: "kfac", FilterEff: "filteff", SumOfWeights: "sum_of_weights",
		Define: []Definition{
			{"m", "diphoton_mass_e(photon_pt, photon_eta, photon_phi, photon_e)"},
			{"pt", "diphoton_pt(photon_pt, photon_eta, photon_phi)"},
		},
		Select: []string{
			"size(photon_pt) >= 2 && " + both("photon_isTightID[#]"),
			"photon_pt[0] > 50 && photon_pt[1] > 30",
			both("photon_ptcone20[#] / photon_pt[#] < 0.055"),
			both(atlasEta),
			"m != 0",
			"m > 100 && m < 160",
			both("photon_pt[#] / m > 0.35"),
		},
		Features: []Spec{
			{Name: "ptcone20", Expr: "photon_ptcone20[0]", Unit: "GeV", Label: "p_{T}^{cone20}", Atom: atom(0), Transform: "log", Range: []float64{0, 4}, Log: true},
			{Name: "topoetcone40", Expr: "photon_topoetcone40[0]", Unit: "GeV", Label: "E_{T}^{topo,cone40}", Sentinels: []float64{-999}, Range: []float64{-5, 20}},
			{Name: "ptcone20_2", Expr: "photon_ptcone20[1]", Unit: "GeV", Label: "p_{T}^{cone20}, subleading", Atom: atom(0), Transform: "log", Range: []float64{0, 3}, Log: true},
			{Name: "topoetcone40_2", Expr: "photon_topoetcone40[1]", Unit: "GeV", Label: "E_{T}^{topo,cone40}, subleading", Sentinels: []float64{-999}, Range: []float64{-5, 20}},
		},
		Conditions: []Spec{
			{Name: "pt1", Expr: "photon_pt[0]", Unit: "GeV", Label: "p_{T,1}", Transform: "log", Range: []float64{50, 200}, Log: true},
			{Name: "eta1", Expr: "photon_eta[0]", Label: "η_{1}", Range: []float64{-2.37, 2.37}},
			{Name: "pt2", Expr: "photon_pt[1]", Unit: "GeV", Label: "p_{T,2}", Transform: "log", Range: []float64{30, 150}, Log: true},
			{Name: "eta2", Expr: "photon_eta[1]", Label: "η_{2}", Range: []float64{-2.37, 2.37}},
		},
		Observables: []Spec{{Name: "m_gg", Expr: "m", Unit: "GeV", Label: "m_{γγ}", Range: []float64{100, 160}, Blind: []float64{120, 130}, Peak: []float64{115, 135}}, ptggSpec},
		Slices:      []string{"abs(photon_eta[0]) < 0.75 && abs(photon_eta[1]) < 0.75"},
		Notes:       []string{composition},
	},
	{
		Name: "cms-nanoaod", About: "CMS NanoAOD: tree Events, GeV, the two leading photons", Tree: "Events",
		ID: []string{"run", "luminosityBlock", "event"}, Weight: "genWeight", Energy: "13 TeV", Split: "event % 10 < 7",
		Define: []Definition{
			{"m", "diphoton_mass(Photon_pt, Photon_eta, Photon_phi)"},
			{"pt", "diphoton_pt(Photon_pt, Photon_eta, Photon_phi)"},
		},
		Select: []string{
			"size(Photon_pt) >= 2",
			"Photon_pt[0] > 25 && Photon_pt[1] > 20",
			both("abs(Photon_eta[#]) < 2.5 && (abs(Photon_eta[#]) < 1.4442 || abs(Photon_eta[#]) > 1.566)"),
			"m > 62",
		},
		Features: []Spec{
			{Name: "r9", Expr: "Photon_r9[0]", Label: "R_{9}", Transform: "logit", Bounds: []float64{0, 1.1}, Mantissa: 10, Range: []float64{0.3, 1.05}},
			{Name: "sieie", Expr: "Photon_sieie[0]", Label: "σ_{iηiη}", Transform: "log", Mantissa: 10, Range: []float64{0.005, 0.04}},
			{Name: "hoe", Expr: "Photon_hoe[0]", Label: "H/E", Atom: atom(0), Transform: "log", Mantissa: 10, Range: []float64{0, 0.1}, Log: true},
			{Name: "mvaID", Expr: "Photon_mvaID[0]", Label: "photon ID", Transform: "logit", Bounds: []float64{-1, 1}, Mantissa: 10, Range: []float64{-1, 1}},
		},
		Conditions: []Spec{
			{Name: "pt1", Expr: "Photon_pt[0]", Unit: "GeV", Label: "p_{T}", Transform: "log", Range: []float64{25, 200}, Log: true},
			{Name: "eta1", Expr: "Photon_eta[0]", Label: "η", Range: []float64{-2.5, 2.5}},
			{Name: "phi1", Expr: "Photon_phi[0]", Label: "φ", Transform: "periodic", Range: []float64{-3.1416, 3.1416}},
			{Name: "rho", Expr: "fixedGridRhoFastjetAll", Unit: "GeV", Label: "ρ", Range: []float64{0, 60}},
		},
		Observables: []Spec{massSpec, ptggSpec},
		Slices:      []string{"abs(Photon_eta[0]) < 1.4442", "abs(Photon_eta[0]) > 1.566"},
	},
}

const composition = "Tight isolated data are about 75-80 % prompt photon pairs, the rest photon + jet and jets: morphing a pure simulation into them absorbs composition as well as detector."

// Presets lists the names of the presets.
func Presets() []string {
	out := make([]string, len(presets))
	for i, p := range presets {
		out[i] = p.Name
	}
	return out
}

// GetPreset returns a preset by name. The error lists what there is.
func GetPreset(name string) (Preset, error) {
	for _, p := range presets {
		if p.Name == name {
			return p, nil
		}
	}
	return Preset{}, fmt.Errorf("physics: could not find preset %q: there are %s", name, strings.Join(Presets(), ", "))
}

// GuessPreset returns the preset whose columns are in a tree, most matching first; ok is false where none fits.
func GuessPreset(tree string, branches []rootio.Branch) (best Preset, ok bool) {
	kinds := map[string]rootio.Kind{}
	for _, b := range branches {
		if b.Kind.Readable() {
			kinds[b.Name] = b.Kind
		}
	}
	most := 0
	for _, p := range presets {
		n, total := 0, 0
		for _, s := range slices.Concat(p.Features, p.Conditions) {
			total++
			if _, err := compileWith(s.source(), p.Define, kinds); err == nil {
				n++
			}
		}
		score := 2 * n
		if p.Tree == tree {
			score++
		}
		if 2*n > total && score > most {
			best, most, ok = p, score, true
		}
	}
	return best, ok
}

func (s Spec) source() string {
	if s.Expr == "" {
		return s.Name
	}
	return s.Expr
}

// compileWith compiles an expression that may use definitions.
func compileWith(src string, defs []Definition, kinds map[string]rootio.Kind) (*Expr, error) {
	p := &Program{defs: map[string]*Expr{}, kinds: map[string]rootio.Kind{}}
	for name, k := range kinds {
		p.kinds[name] = k
	}
	if err := p.define(defs); err != nil {
		return Compile(src, kinds)
	}
	return Compile(src, p.kinds)
}
