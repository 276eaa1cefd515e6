package samples

import (
	"cmp"
	"fmt"
	"slices"

	"hepmorph/internal/par"
	"hepmorph/internal/rng"
	"hepmorph/physics"
)

// Which says what a sample stands for.
type Which uint8

// The samples of a pair, and the answer.
const (
	Simulation Which = iota // the simulated detector, with generator and pile-up weights
	Data                    // other events in the other detector, all of weight 1
	Truth                   // the events of the simulation, entry by entry, in the detector of data: what a perfect morph gives
)

var whichNames = [...]string{"simulation", "data", "truth"}

func (w Which) String() string {
	if int(w) < len(whichNames) {
		return whichNames[w]
	}
	return fmt.Sprintf("which(%d)", uint8(w))
}

// DiphotonSettings describe a pair of diphoton samples. The zero value is the recommended pair.
type DiphotonSettings struct {
	Events    int64                   // of each sample. Default 100000, at most 99999999 (data begin at event number 100000001)
	Seed      uint64                  // same seed, same events
	Peak      float64                 // share of the 125 GeV resonance, in [0, 1). 0 means the default 0.02, a negative number none
	Processes []Process               // empty: one simulation, of continuum and resonance. Else one simulation each; data mix them by cross section
	Layout    Layout                  // of the files. Default Flat
	Truth     bool                    // write the answer too
	Threads   int                     // 0: all
	Force     bool                    // overwrite files
	Progress  func(done, total int64) // events written so far, of all files; may be nil
}

// Shares returns the expected share of each process in data, in the order Continuum, Signal, GammaJet.
func (s DiphotonSettings) Shares() ([3]float64, error) {
	s, err := s.resolve()
	if err != nil {
		return [3]float64{}, err
	}
	share, _ := mixture(s.simulated(), s.Peak)
	return share, nil
}

// CrossSection is what the simulation of a process is normalised to. That of the resonance follows from its share of all
// processes that are simulated.
func (s DiphotonSettings) CrossSection(p Process) (CrossSection, error) {
	s, err := s.resolve()
	if err != nil {
		return CrossSection{}, err
	}
	if p >= processes {
		return CrossSection{}, fmt.Errorf("samples: could not find the cross section of %v: no such process", p)
	}
	return crossSection(p, s.simulated(), s.Peak), nil
}

func (s DiphotonSettings) resolve() (DiphotonSettings, error) {
	fail := func(format string, a ...any) (DiphotonSettings, error) {
		return s, settingsError{fmt.Errorf("samples: could not make diphoton samples: "+format, a...)}
	}
	if s.Events == 0 {
		s.Events = 100000
	}
	if s.Events < 0 || s.Events > maxEvents {
		return fail("%d events asked for, must be 1 to %d", s.Events, maxEvents)
	}
	switch {
	case s.Peak == 0:
		s.Peak = 0.02
	case s.Peak < 0:
		s.Peak = 0
	case !(s.Peak < 1):
		return fail("a share of %g for the peak, must be below 1", s.Peak)
	}
	for i, p := range s.Processes {
		if p >= processes || slices.Contains(s.Processes[:i], p) {
			return fail("process %v named twice or unknown", p)
		}
		if p == Signal && s.Peak == 0 {
			return fail("a simulation of the signal with a share of 0")
		}
	}
	if s.Layout == "" {
		s.Layout = Flat
	}
	if _, ok := layouts[s.Layout]; !ok {
		return fail("layout %q is unknown: there are %v", s.Layout, Layouts())
	}
	return s, nil
}

// simulated lists the processes of the pair.
func (s *DiphotonSettings) simulated() []Process {
	switch {
	case len(s.Processes) > 0:
		return s.Processes
	case s.Peak > 0:
		return []Process{Continuum, Signal}
	}
	return []Process{Continuum}
}

const (
	maxEvents  = 99_999_999
	dataOffset = 100_000_000
)

// A sampler makes the events of one file. Event i is a function of seed, name and i.
type sampler struct {
	which     Which
	share     [processes]float64
	xs        CrossSection
	det       *detector
	weighted  bool
	first     uint64 // event number of event 0
	hard      rng.Key
	surround  rng.Key // pile-up, weights
	photons   rng.Key
	bystander rng.Key
}

// sampler returns that of a simulation or its truth (of the processes that are to be simulated: the n-th), or of data.
func (s *DiphotonSettings) sampler(w Which, n int) *sampler {
	g := &sampler{which: w, det: &simulated, weighted: w != Data, first: 1}
	list := s.simulated()
	sum := 0.0
	g.share, sum = mixture(list, s.Peak)
	g.xs = spectra[Continuum].xs // for several together: the factors of the continuum, the cross section of all
	g.xs.Sigma = sum / (g.xs.KFactor * g.xs.FilterEff)
	name := "diphoton simulation"
	switch {
	case w == Data:
		name, g.first = "diphoton data", dataOffset+1
	case len(s.Processes) > 0:
		p := s.Processes[n]
		g.share = [processes]float64{}
		g.share[p] = 1
		g.xs = crossSection(p, list, s.Peak)
		name += " " + p.String()
		g.first = uint64(p)*1_000_000_000 + 1
	}
	if w != Simulation {
		g.det = &measured
	}
	g.hard = rng.NewKey(s.Seed, name+" hard process")
	g.surround = rng.NewKey(s.Seed, name+" surroundings")
	g.photons = rng.NewKey(s.Seed, name+" photons")
	g.bystander = rng.NewKey(s.Seed, name+" bystanders")
	return g
}

// event is a finished event: photons sorted by falling measured pT.
type event struct {
	hard
	number       uint64
	mu, rho      float64
	vertices     int
	gen, pu      float64 // weights, 1 for data
	photonFactor float64 // scale factor, 1 for data
	ph           [3]reco
	n            int // of ph
	bystanders   bystanders
}

// bystanders are branches that no morph touches.
type bystanders struct {
	met, metPhi float64
	jets        int
	jet         [4][4]float64 // pt, eta, phi, mass
}

func (e *event) weight() float64 { return e.gen * e.pu }

// at makes event i. Collections lose photons and have a third, soft one now and then; pairs always have two.
func (g *sampler) at(i int64, collection bool) (e event) {
	a := uint64(i)
	e.number = g.first + a
	s := g.hard.At(a)
	e.hard = generate(&s, &g.share, g.which == Data)

	s = g.surround.At(a)
	source := &simulated // pile-up belongs to the event, also where it goes through the other detector
	if g.which == Data {
		source = &measured
	}
	e.mu, e.rho, e.vertices = source.pileup(&s)
	e.gen, e.pu, e.photonFactor = 1, 1, 1
	if g.weighted {
		e.gen = float64(float32(e.hard.weight(&s)))
		e.pu = float64(float32(measured.muDensity(e.mu) / simulated.muDensity(e.mu)))
		e.photonFactor = 0.98 * (1 + 0.01*s.Norm())
	}

	for k := range 2 {
		e.add(g.det.respond(g.photons.At(4*a+uint64(k)), photon{e.pt[k], e.eta[k], e.phi[k], e.fake[k], k}, e.rho), collection)
	}
	if collection {
		s = g.bystander.At(a)
		third := s.Float64() < thirdShare
		p := photon{thirdMin + thirdMean*s.Exp(), etaMax * (2*s.Float64() - 1), wrap(6.3 * s.Float64()), true, -1}
		if third {
			e.add(g.det.respond(g.photons.At(4*a+2), p, e.rho), true)
		}
		e.bystanders.draw(&s, e.ptgg)
	}
	slices.SortStableFunc(e.ph[:e.n], func(a, b reco) int { return cmp.Compare(b.pt, a.pt) })
	return e
}

func (e *event) add(p reco, collection bool) {
	if !collection || !p.lost {
		e.ph[e.n] = p
		e.n++
	}
}

func (b *bystanders) draw(s *rng.Stream, ptgg float64) {
	b.met, b.metPhi = 8*(s.Exp()+s.Exp()), wrap(6.3*s.Float64())
	b.jets = min(len(b.jet), s.Poisson(0.2+ptgg/60))
	pt := 18 + max(0, ptgg-20)*0.9
	for k := range b.jets {
		pt = 18 + (pt-18)*s.Float64() + 6*s.Exp()
		b.jet[k] = [4]float64{pt, 1.6 * s.Norm(), wrap(6.3 * s.Float64()), 0.12 * pt * (0.5 + s.Float64())}
	}
	slices.SortFunc(b.jet[:b.jets], func(x, y [4]float64) int { return cmp.Compare(y[0], x[0]) })
}

// events fills dst with the events from lo on.
func (g *sampler) events(dst []event, lo int64, collection bool, threads int) {
	par.For(threads, len(dst), 1024, func(_, a, b int) {
		for i := a; i < b; i++ {
			dst[i] = g.at(lo+int64(i), collection)
		}
	})
}

// sumWeights adds the generator weights of the first n events.
func (g *sampler) sumWeights(n int64, threads int) (sum, sum2 float64) {
	if !g.weighted {
		return float64(n), float64(n)
	}
	const size = 8192
	part := make([][2]float64, (n+size-1)/size)
	par.For(threads, int(n), size, func(c, lo, hi int) {
		for i := lo; i < hi; i++ {
			s := g.hard.At(uint64(i))
			h := generate(&s, &g.share, false)
			s = g.surround.At(uint64(i))
			simulated.pileup(&s)
			w := float64(float32(h.weight(&s)))
			part[c][0] += w
			part[c][1] += w * w
		}
	})
	for _, p := range part {
		sum += p[0]
		sum2 += p[1]
	}
	return sum, sum2
}

// Diphoton makes a sample in memory, with the columns of the flat layout; floats are rounded as in the file. With Processes, the
// simulations follow one another in that order, of Events each.
// It fails on settings outside their ranges.
func Diphoton(s DiphotonSettings, which Which) (*physics.Table, error) {
	s, err := s.resolve()
	if err != nil {
		return nil, err
	}
	if which > Truth {
		return nil, fmt.Errorf("samples: could not make diphoton samples: no such sample: %v", which)
	}
	parts := 1
	if which != Data {
		parts = max(1, len(s.Processes))
	}
	n := int(s.Events)
	cols := flatColumns(which)
	f, u := make([][]float64, len(cols)), make([][]uint64, len(cols))
	for k, c := range cols {
		if c.role == physics.ID {
			u[k] = make([]uint64, n*parts)
		} else {
			f[k] = make([]float64, n*parts)
		}
	}
	for part := range parts {
		g := s.sampler(which, part)
		base := n * part
		par.For(s.Threads, n, 1024, func(_, lo, hi int) {
			for i := lo; i < hi; i++ {
				e := g.at(int64(i), false)
				for k := range cols {
					if u[k] != nil {
						u[k][base+i] = e.number
					} else {
						f[k][base+i] = cols[k].value(&e)
					}
				}
			}
		})
	}
	t := physics.NewTable(n * parts)
	for k, c := range cols {
		if err := t.Add(physics.Column{Name: c.name, Unit: c.unit, Expr: c.name, Role: c.role, F: f[k], U: u[k]}); err != nil {
			return nil, err
		}
		if c.name == "weight" {
			t.Weight = f[k]
		}
	}
	return t, nil
}
