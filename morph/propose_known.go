package morph

import (
	"regexp"
	"slices"
	"strings"

	"hepmorph/physics"
	"hepmorph/physics/rootio"
)

// knownColumn is a photon quantity under the names that experiments and frameworks give it, best first: NanoAOD v9 to v15, HiggsDNA, ATLAS Open Data.
// Only the first that a file has is proposed: the others are versions of the same.
type knownColumn struct {
	names  []string // in lower case, without the collection's prefix
	label  string
	unit   string
	bounds []float64 // proposed where the file's values respect them
	log    bool
}

var knownFeatures = []knownColumn{
	{names: []string{"r9"}, label: "R_{9}"},
	{names: []string{"s4"}, label: "S_{4}"},
	{names: []string{"sieie", "sigmaietaieta"}, label: "σ_{iηiη}"},
	{names: []string{"sieip", "covietaiphi"}, label: "cov_{iηiφ}"},
	{names: []string{"sipip"}, label: "σ_{iφiφ}"},
	{names: []string{"etawidth"}, label: "η width"},
	{names: []string{"phiwidth"}, label: "φ width"},
	{names: []string{"hoe", "hovere", "hadronicoverem", "hoe_pucorr", "hoe_tower"}, label: "H/E", log: true},
	{names: []string{"pfchargediso", "pfchargedisopfpv", "chargedhadroniso", "chgisowrtchosenvtx"}, label: "I_{ch}", unit: "GeV", log: true},
	{names: []string{"pfchargedisoworstvtx", "chgisowrtworstvtx"}, label: "I_{ch}, worst vertex", unit: "GeV", log: true},
	{names: []string{"pfphoiso03", "photoniso", "phoiso03"}, label: "I_{γ}", unit: "GeV", log: true},
	{names: []string{"pfreliso03_all", "pfreliso03_all_quadratic", "pfreliso03_all_fall17v2"}, label: "I_{rel}", log: true},
	{names: []string{"pfreliso03_chg", "pfreliso03_chg_quadratic", "pfreliso03_chg_fall17v2"}, label: "I_{rel, ch}", log: true},
	{names: []string{"smaj"}, label: "σ_{major}"},
	{names: []string{"smin"}, label: "σ_{minor}"},
	{names: []string{"ecalpfclusteriso", "ecaliso"}, label: "I_{ECAL}", unit: "GeV", log: true},
	{names: []string{"hcalpfclusteriso", "hcaliso"}, label: "I_{HCAL}", unit: "GeV", log: true},
	{names: []string{"trksumpthollowconedr03"}, label: "I_{trk}", unit: "GeV", log: true},
	{names: []string{"eseffsigmarr"}, label: "σ_{RR}"},
	{names: []string{"esenergyoverrawe"}, label: "E_{ES}/E"},
	{names: []string{"energyraw", "scrawe"}, label: "E_{raw}", unit: "GeV", log: true},
	{names: []string{"energyerr"}, label: "σ_{E}", unit: "GeV", log: true},
	{names: []string{"ecorr"}, label: "E correction"},
	{names: []string{"ptcone20"}, label: "p_{T}^{cone20}", log: true},
	{names: []string{"ptcone30"}, label: "p_{T}^{cone30}", log: true},
	{names: []string{"etcone20"}, label: "E_{T}^{cone20}"},
	{names: []string{"topoetcone20"}, label: "E_{T}^{topo,cone20}"},
	{names: []string{"topoetcone40"}, label: "E_{T}^{topo,cone40}"},
	{names: []string{"iso"}, label: "isolation"},
	{names: []string{"mvaid", "mvaid_fall17v2", "mvaidv1", "mvaid_fall17v1p1"}, label: "ID score", bounds: []float64{-1, 1}},
}

// rhoNames are the names of the energy density, best first, without prefix.
var rhoNames = []string{"fixedgridrhofastjetall", "rho_fixedgridrhofastjetall", "fixedgridrhoall", "rho_fixedgridrhoall", "rho", "mu", "npv", "pv_npvs"}

// weightFactors are the factors of an event's weight, in their order, where no branch is called weight.
var weightFactors = []string{"ScaleFactor_PHOTON", "scaleFactor_PHOTON", "scaleFactor_PhotonTRIGGER", "ScaleFactor_PILEUP", "scaleFactor_PILEUP", "mcWeight",
	"genWeight", "puWeight", "pileupWeight"}

// normalisationNames are of columns that weigh events too, and are no features.
var normalisationNames = []string{"weight", "xsec", "kfac", "filteff", "sum_of_weights", "sum_of_weights_squared"}

// columnsOf are the branches that can be used, by their names in lower case.
type columnsOf map[string]rootio.Branch

func columnsOfTree(branches []rootio.Branch) columnsOf {
	c := columnsOf{}
	for _, b := range branches {
		numeric := b.Kind.Elem.Numeric()
		if _, taken := c[strings.ToLower(b.Name)]; !taken && b.Kind.Readable() && numeric && b.Kind.Len <= 1 {
			c[strings.ToLower(b.Name)] = b
		}
	}
	return c
}

// find returns the first of the names that has a column of that form, behind the prefix.
func (c columnsOf) find(prefix string, jagged bool, names ...string) (string, bool) {
	for _, n := range names {
		if b, ok := c[prefix+n]; ok && b.Kind.Jagged() == jagged {
			return b.Name, true
		}
	}
	return "", false
}

func (c columnsOf) integer(name string) bool {
	b, ok := c[strings.ToLower(name)]
	e := b.Kind.Elem
	return ok && b.Name == name && b.Kind.Form == rootio.Scalar && (e.Signed() || e.Unsigned())
}

var simpleName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// photons says where a tree keeps them: an array for each quantity, or numbers with one prefix for each photon.
type photons struct {
	jagged   bool
	prefixes []string // in lower case; of a jagged one, the collection's
	atlas    bool
}

// findPhotons finds the photons of a tree by the quantities that it has.
func findPhotons(c columnsOf) (photons, bool) {
	score := func(prefix string, jagged bool) int {
		n := 0
		for _, k := range knownFeatures {
			if _, ok := c.find(prefix, jagged, k.names...); ok {
				n++
			}
		}
		return n
	}
	var best photons
	most := 0
	try := func(jagged bool, prefixes ...string) {
		n := score(prefixes[0], jagged)
		for _, p := range prefixes[1:] {
			if score(p, jagged) != n {
				return
			}
		}
		if n > most {
			best, most = photons{jagged: jagged, prefixes: prefixes}, n
		}
	}
	for _, p := range []string{"photon_", "photons_", "pho_", "phoselected_", "scoutingphoton_"} {
		try(true, p)
	}
	try(false, "lead_", "sublead_")
	try(false, "leading_", "subleading_")
	try(false, "photon1_", "photon2_")
	for _, p := range []string{"probe_", "photon_", "pho_", ""} { // the tag of a tag-and-probe pair is biased by its selection
		try(false, p)
	}
	if most == 0 || best.prefixes[0] == "" && most < 3 {
		return photons{}, false
	}
	_, cone := c.find(best.prefixes[0], best.jagged, "ptcone20", "ptcone30")
	best.atlas = cone
	return best, true
}

// rows is how a row of the training is made.
type rows int

const (
	rowPair   rows = iota // an event with its two photons
	rowPhoton             // each element of the collection
	rowOne                // an event with one photon, or what the tree calls so
)

// proposed is a layout made from a tree's branches.
type proposed struct {
	physics.Preset
	skipped []string // branches that are versions of proposed ones
}

// layoutFor makes the columns of one kind of rows; false where the tree has not what it needs. strict asks for the usual selection.
func layoutFor(c columnsOf, ph photons, kind rows, strict bool) (proposed, bool) {
	p := proposed{}
	switch {
	case kind == rowPair && !ph.jagged && len(ph.prefixes) != 2, kind == rowPhoton && !ph.jagged, kind == rowOne && (ph.jagged || len(ph.prefixes) != 1):
		return p, false
	}
	type leg struct{ prefix, name, index, label string }
	legs := []leg{{prefix: ph.prefixes[0]}}
	if kind == rowPair {
		second := ph.prefixes[len(ph.prefixes)-1]
		legs = []leg{{ph.prefixes[0], "lead_", "", ", leading"}, {second, "sublead_", "", ", subleading"}}
		if ph.jagged {
			legs[0].index, legs[1].index = "[0]", "[1]"
		}
	}
	column := func(l leg, names ...string) (string, bool) {
		n, ok := c.find(l.prefix, ph.jagged, names...)
		return n + l.index, ok
	}
	pt, eta, phi := make([]string, len(legs)), make([]string, len(legs)), make([]string, len(legs))
	for i, l := range legs {
		pt[i], _ = column(l, "pt", "corr_pt")
		eta[i], _ = column(l, "eta", "sceta", "superclustereta")
		phi[i], _ = column(l, "phi")
		px, ok1 := column(l, "px")
		py, ok2 := column(l, "py")
		pz, ok3 := column(l, "pz")
		if pt[i] == l.index && ok1 && ok2 && ok3 {
			pt[i] = "hypot(" + px + ", " + py + ")"
			eta[i] = "asinh(" + pz + " / max(hypot(" + px + ", " + py + "), 1e-6))"
			phi[i] = "atan2(" + py + ", " + px + ")"
		}
		for _, s := range []*string{&pt[i], &eta[i], &phi[i]} {
			if *s == l.index {
				*s = ""
			}
		}
		if kind == rowPair && (pt[i] == "" || eta[i] == "" || phi[i] == "") {
			return p, false
		}
	}
	mev := ph.atlas && c["scalefactor_photontrigger"].Name != ""
	gev, unit := "", "GeV"
	if mev {
		gev, unit = " / 1000", "MeV"
	}
	for _, k := range knownFeatures {
		for _, l := range legs {
			src, ok := column(l, k.names...)
			if !ok {
				continue
			}
			base, _ := c.find(l.prefix, ph.jagged, k.names...)
			for _, n := range k.names {
				if b, there := c[l.prefix+n]; there && b.Name != base && b.Kind.Jagged() == ph.jagged && !slices.Contains(p.skipped, b.Name) {
					p.skipped = append(p.skipped, b.Name)
				}
			}
			s := physics.Spec{Name: l.name + strings.ToLower(k.names[0]), Expr: src, Unit: k.unit, Label: k.label + l.label, Bounds: k.bounds, Log: k.log}
			if short := base[len(l.prefix):]; simpleName.MatchString(short) {
				s.Name = l.name + short
			}
			if ph.atlas && strings.Contains(k.names[0], "cone") {
				s.Unit = unit
			}
			p.Features = append(p.Features, s)
		}
	}
	name := func(i int, what string) string {
		if n := legs[i].name + what; kind == rowPair || ph.jagged || c[n].Name == "" {
			return n
		}
		return what
	}
	add := func(s physics.Spec) { p.Conditions = append(p.Conditions, s) }
	for i, l := range legs {
		if pt[i] != "" {
			add(physics.Spec{Name: name(i, "pt"), Expr: pt[i], Unit: unit, Label: "p_{T}" + l.label, Log: true})
		}
		if eta[i] != "" {
			add(physics.Spec{Name: name(i, "eta"), Expr: eta[i], Label: "η" + l.label})
		}
		if phi[i] != "" && kind != rowPair {
			add(physics.Spec{Name: name(i, "phi"), Expr: phi[i], Label: "φ", Transform: "periodic"})
		}
	}
	if kind == rowPair {
		p.Define = append(p.Define, physics.Definition{Name: "dphi", Expr: "abs(deltaphi(" + phi[0] + ", " + phi[1] + "))"})
		add(physics.Spec{Name: "dphi", Label: "|Δφ|"})
	}
	rho, ok := c.find("", false, rhoNames...)
	if !ok {
		rho, ok = column(legs[0], rhoNames...)
	}
	if ok && rho != "" {
		s := physics.Spec{Name: "rho", Expr: rho, Unit: "GeV", Label: "ρ"}
		if low := strings.ToLower(rho); strings.HasSuffix(low, "mu") || strings.Contains(low, "npv") {
			s.Name, s.Unit, s.Label = "pileup", "", "pile-up ("+rho+")"
		}
		add(s)
	}
	if pt[0] == "" { // something must say how hard the photon is
		for i, f := range p.Features {
			if f.Label == "E_{raw}" {
				add(f)
				p.Features = slices.Delete(p.Features, i, i+1)
				break
			}
		}
	}
	edges, gap := "2.5", [2]string{"1.4442", "1.566"}
	if ph.atlas {
		edges, gap = "2.37", [2]string{"1.37", "1.52"}
	}
	inside := func(e string) string {
		return "abs(" + e + ") < " + edges + " && (abs(" + e + ") < " + gap[0] + " || abs(" + e + ") > " + gap[1] + ")"
	}
	low := map[bool][3]string{false: {"25", "20", "20"}, true: {"25000", "20000", "20000"}}[mev]
	if kind == rowPair && ph.jagged {
		if b, ok := c.find(ph.prefixes[0], true, "pt", "px"); ok {
			p.Select = append(p.Select, "size("+b+") >= 2")
		}
	}
	if strict && pt[0] != "" {
		if ph.atlas && kind != rowOne {
			id := []string{}
			for _, l := range legs {
				if n, ok := c.find(l.prefix, ph.jagged, "istightid"); ok {
					id = append(id, n+l.index)
				}
			}
			if len(id) == len(legs) {
				p.Select = append(p.Select, strings.Join(id, " && "))
			}
		}
		if kind == rowPair {
			p.Select = append(p.Select, pt[0]+" > "+low[0]+" && "+pt[1]+" > "+low[1])
		} else {
			p.Select = append(p.Select, pt[0]+" > "+low[2])
		}
		for _, e := range eta {
			if e != "" {
				p.Select = append(p.Select, inside(e))
			}
		}
	}
	p.Slices = nil
	if eta[0] != "" {
		p.Slices = []string{"abs(" + eta[0] + ") < " + gap[0], "abs(" + eta[0] + ") > " + gap[1]}
	}
	p.mass(c, kind, ph, pt, eta, phi, gev, strict)
	if kind == rowPhoton {
		p.Row = strings.TrimSuffix(ph.prefixes[0], "_")
	}
	p.event(c)
	return p, len(p.Features) > 0
}

// mass adds the mass and transverse momentum of a pair as observables. That of two photons is blind where a Higgs boson would be.
func (p *proposed) mass(c columnsOf, kind rows, ph photons, pt, eta, phi []string, gev string, strict bool) {
	if kind != rowPair {
		if b, ok := c.find("", false, "mass"); ok && ph.prefixes[0] == "probe_" {
			p.Observables = append(p.Observables, physics.Spec{Name: "mass", Expr: b, Unit: "GeV", Label: "m_{ee}", Range: []float64{60, 120}, Peak: []float64{80, 100}})
		}
		return
	}
	m := "pair_mass(" + pt[0] + ", " + eta[0] + ", " + phi[0] + ", " + pt[1] + ", " + eta[1] + ", " + phi[1] + ")" + gev
	t := "pair_pt(" + pt[0] + ", " + phi[0] + ", " + pt[1] + ", " + phi[1] + ")" + gev
	if strict {
		p.Define = append(p.Define, physics.Definition{Name: "pair_m", Expr: m})
		p.Select = append(p.Select, "pair_m > 62")
		m = "pair_m"
	}
	p.Observables = append(p.Observables,
		physics.Spec{Name: "m_gg", Expr: m, Unit: "GeV", Label: "m_{γγ}", Range: []float64{100, 160}, Blind: []float64{120, 130}},
		physics.Spec{Name: "pt_gg", Expr: t, Unit: "GeV", Label: "p_{T}^{γγ}", Range: []float64{0, 200}, Log: true})
	if _, taken := c["m_gg"]; taken {
		p.Observables[0].Name = "mass_gg"
	}
}

// event adds what identifies and weighs an event.
func (p *proposed) event(c columnsOf) {
	number := ""
	for _, n := range []string{"event", "eventNumber", "EventNumber"} {
		if c.integer(n) {
			number = n
			break
		}
	}
	p.Split = physics.EntryName + " % 10 < 7"
	if number != "" {
		for _, n := range []string{"run", "runNumber", "luminosityBlock", "lumi"} {
			if c.integer(n) {
				p.ID = append(p.ID, n)
			}
		}
		p.ID = append(p.ID, number)
		p.Split = number + " % 10 < 7"
	}
	var w []string
	for _, n := range weightFactors {
		if b, ok := c[strings.ToLower(n)]; ok && b.Name == n && b.Kind.Form == rootio.Scalar {
			w = append(w, n)
		}
	}
	p.Weight = strings.Join(w, " * ")
	if b, ok := c["weight"]; ok && b.Kind.Form == rootio.Scalar {
		p.Weight = b.Name // the whole of it
		return
	}
	scalar := func(name string) string {
		if b, ok := c[name]; ok && b.Name == name && b.Kind.Form == rootio.Scalar {
			return name
		}
		return ""
	}
	if p.XSec, p.SumOfWeights = scalar("xsec"), scalar("sum_of_weights"); p.XSec == "" || p.SumOfWeights == "" {
		p.XSec, p.SumOfWeights = "", ""
		return
	}
	p.KFactor, p.FilterEff = scalar("kfac"), scalar("filteff")
}
