package samples

import (
	"math"
	"slices"
	"testing"

	"hepmorph/internal/gbdt"
	"hepmorph/physics"
)

func table(t testing.TB, s DiphotonSettings, w Which) *physics.Table {
	t.Helper()
	tab, err := Diphoton(s, w)
	if err != nil {
		t.Fatal(err)
	}
	return tab
}

func col(t testing.TB, tab *physics.Table, name string) []float64 {
	t.Helper()
	c, err := tab.Col(name)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func testEvents(s DiphotonSettings, w Which, part int, collection bool) []event {
	s, err := s.resolve()
	if err != nil {
		panic(err)
	}
	ev := make([]event, s.Events)
	s.sampler(w, part).events(ev, 0, collection, 0)
	return ev
}

func mean(x, w []float64) float64 {
	s, n := 0.0, 0.0
	for i, v := range x {
		k := 1.0
		if w != nil {
			k = w[i]
		}
		s += k * v
		n += k
	}
	return s / n
}

func quantile(x []float64, q float64) float64 {
	x = slices.Clone(x)
	slices.Sort(x)
	return x[int(q*float64(len(x)-1))]
}

// near fails unless got is within 4 standard errors of want.
func near(t *testing.T, what string, got, want, err float64) {
	t.Helper()
	if !(math.Abs(got-want) <= 4*err) {
		t.Errorf("%s is %.6g, want %.6g +- %.2g", what, got, want, err)
	}
}

func TestSameEventsAtAnyNumberOfThreads(t *testing.T) {
	for _, w := range []Which{Simulation, Data, Truth} {
		one := table(t, DiphotonSettings{Events: 3000, Seed: 3, Threads: 1}, w)
		for _, s := range []DiphotonSettings{{Events: 3000, Seed: 3, Threads: 2}, {Events: 5000, Seed: 3, Threads: 5}} {
			other := table(t, s, w)
			for _, c := range one.Columns {
				o, err := other.Column(c.Name)
				if err != nil {
					t.Fatal(err)
				}
				if c.U != nil && !slices.Equal(c.U, o.U[:len(c.U)]) || c.F != nil && !slices.Equal(c.F, o.F[:len(c.F)]) {
					t.Errorf("%v, %d threads, %d events: column %q differs", w, s.Threads, s.Events, c.Name)
				}
			}
		}
	}
	a, b := table(t, DiphotonSettings{Events: 100, Seed: 3}, Data), table(t, DiphotonSettings{Events: 100, Seed: 4}, Data)
	if slices.Equal(col(t, a, "rho"), col(t, b, "rho")) {
		t.Error("another seed, same events")
	}
}

func TestKinematicsAreThoseOfThePair(t *testing.T) {
	for i, e := range testEvents(DiphotonSettings{Events: 5000, Peak: 0.3}, Simulation, 0, false) {
		m := physics.Mass(e.pt[0], e.eta[0], e.phi[0], e.pt[1], e.eta[1], e.phi[1])
		pt := physics.PtGG(e.pt[0], e.phi[0], e.pt[1], e.phi[1])
		if math.Abs(m-e.m) > 1e-9*m || math.Abs(pt-e.ptgg) > 1e-8*m {
			t.Fatalf("event %d: m %g, pT %g, drawn %g, %g", i, m, pt, e.m, e.ptgg)
		}
		if e.pt[0] < e.pt[1] || e.pt[0] < leadMin || e.pt[1] < subMin || max(math.Abs(e.eta[0]), math.Abs(e.eta[1])) > etaMax {
			t.Fatalf("event %d lies outside the limits: %+v", i, e.hard)
		}
		for _, phi := range e.phi {
			if !(-math.Pi < phi && phi <= math.Pi) {
				t.Fatalf("event %d: phi %g", i, phi)
			}
		}
		if e.process == Signal && e.m != PeakMass {
			t.Fatalf("event %d: resonance of mass %g", i, e.m)
		}
	}
}

// After the usual selection the continuum falls with a power of the mass between 3 and 5.
func TestContinuumFalls(t *testing.T) {
	tab := table(t, DiphotonSettings{Events: 40000, Peak: -1}, Data)
	var low, high float64
	pt1, pt2 := col(t, tab, "lead_pt"), col(t, tab, "sublead_pt")
	for i, m := range col(t, tab, "m_gg") {
		if pt1[i] < 35 || pt2[i] < 25 {
			continue
		}
		if 105 < m && m < 115 {
			low++
		}
		if 145 < m && m < 155 {
			high++
		}
	}
	if p := math.Log(low/high) / math.Log(150.0/110); p < 3 || p > 5 {
		t.Errorf("the mass spectrum falls with power %.2f", p)
	}
}

func TestSignedWeightsAreRightAndAbsoluteOnesWrong(t *testing.T) {
	const n = 40000
	ev := testEvents(DiphotonSettings{Events: n, Seed: 1}, Simulation, 0, false)
	var sum, sq, negative, expected, spread, pt, ptSigned, ptAbs, abs float64
	for i := range ev {
		e := &ev[i]
		sum += e.gen
		sq += e.gen * e.gen
		if e.gen < 0 {
			negative++
		}
		p := e.negative()
		expected += p
		spread += p * (1 - p)
		pt += e.ptgg / n
		ptSigned += e.gen * e.ptgg
		ptAbs += math.Abs(e.gen) * e.ptgg
		abs += math.Abs(e.gen)
	}
	near(t, "mean generator weight", sum/n, 1, math.Sqrt(sq/n-1)/math.Sqrt(n))
	near(t, "number of negative weights", negative, expected, math.Sqrt(spread))
	if share := negative / n; share < 0.05 || share > 0.12 {
		t.Errorf("%.3f of the weights are negative", share)
	}
	near(t, "pT_yy with signed weights", ptSigned/sum, pt, 20/math.Sqrt(n))
	if ptAbs/abs < pt+8*20/math.Sqrt(n) {
		t.Errorf("pT_yy with absolute weights is %.3f, without %.3f: the sign does not depend on it", ptAbs/abs, pt)
	}
}

func TestPileupWeights(t *testing.T) {
	const n = 40000
	sim, dat := testEvents(DiphotonSettings{Events: n, Seed: 1}, Simulation, 0, false), testEvents(DiphotonSettings{Events: n, Seed: 1}, Data, 0, false)
	var sum, sq, mu, muW, muD float64
	for i := range sim {
		sum += sim[i].pu
		sq += sim[i].pu * sim[i].pu
		mu += sim[i].mu / n
		muW += sim[i].pu * sim[i].mu
		muD += dat[i].mu / n
		if dat[i].weight() != 1 {
			t.Fatal("data with a weight")
		}
	}
	near(t, "mean pile-up weight", sum/n, 1, math.Sqrt(sq/n-1)/math.Sqrt(n))
	near(t, "mean interactions, weighted", muW/sum, muD, 20/math.Sqrt(n))
	if muD-mu < 3 {
		t.Errorf("interactions: %.2f in simulation, %.2f in data: no difference to weight for", mu, muD)
	}
}

func TestPeak(t *testing.T) {
	s := DiphotonSettings{Events: 30000, Seed: 1, Processes: []Process{Signal}}
	width := map[Which]float64{}
	middle := map[Which]float64{}
	for _, w := range []Which{Simulation, Truth, Data} {
		m := col(t, table(t, s, w), "m_gg")
		middle[w], width[w] = quantile(m, 0.5), (quantile(m, 0.84)-quantile(m, 0.16))/2
	}
	t.Logf("peak: %.3f +- %.3f simulation, %.3f +- %.3f data", middle[Simulation], width[Simulation], middle[Data], width[Data])
	near(t, "peak of simulation", middle[Simulation], 125, 0.01)
	near(t, "peak of truth", middle[Truth]/middle[Simulation], 0.997, 2e-5)
	near(t, "peak of data", middle[Data], middle[Truth], 0.015)
	near(t, "width of truth", width[Truth]/width[Simulation], 1.1, 0.003)
	near(t, "width of data", width[Data], width[Truth], 0.012)
	if width[Simulation] < 0.9 || width[Simulation] > 1.6 {
		t.Errorf("the peak is %.3f GeV wide", width[Simulation])
	}
}

// Entry by entry the truth is the same event: number, weights, rho; energies by the closed form.
func TestTruthIsTheSameEvent(t *testing.T) {
	s := DiphotonSettings{Events: 5000, Seed: 2, Processes: []Process{Continuum, GammaJet}}
	for part := range s.Processes {
		sim, truth := testEvents(s, Simulation, part, false), testEvents(s, Truth, part, false)
		for i := range sim {
			a, b := &sim[i], &truth[i]
			if a.number != b.number || a.weight() != b.weight() || a.rho != b.rho || a.hard != b.hard || a.vertices != b.vertices {
				t.Fatalf("entry %d is another event", i)
			}
			if a.ph[0].pt < a.ph[1].pt || b.ph[0].pt < b.ph[1].pt {
				t.Fatalf("entry %d: photons not sorted", i)
			}
			for _, p := range a.ph[:2] {
				q := &b.ph[0]
				if q.index != p.index {
					q = &b.ph[1]
				}
				if want := 0.997 + 1.1*(p.pt/a.pt[p.index]-1); math.Abs(q.pt/a.pt[p.index]-want) > 1e-12 {
					t.Fatalf("entry %d: response %g, want %g", i, q.pt/a.pt[p.index], want)
				}
				if q.eta != p.eta || q.phi != p.phi {
					t.Fatalf("entry %d: direction moved", i)
				}
			}
		}
	}
}

// The share of zeros is the mean of the closed form, in both detectors.
func TestAtoms(t *testing.T) {
	const n = 40000
	for _, w := range []Which{Simulation, Data} {
		d := &simulated
		if w == Data {
			d = &measured
		}
		ev := testEvents(DiphotonSettings{Events: n, Seed: 5}, w, 0, false)
		var got, want, spread [3]float64
		lowest := math.Inf(1)
		for i := range ev {
			e := &ev[i]
			for _, p := range e.ph[:2] {
				dr, l, r := (e.rho-20)/10, math.Log(e.pt[p.index]/50), 0.0
				if math.Abs(p.eta) > boundary {
					r = 1
				}
				for k, c := range [3]struct{ x, p float64 }{
					{p.hoe, sigmoid(d.hoeZero + d.hoeZeroRho*dr - 0.2*l - 0.4*r)},
					{p.chIso, sigmoid(d.chZero + d.chZeroRho*dr + d.chZeroEta*math.Abs(p.eta))},
					{p.ptcone, sigmoid(d.trkZero + d.trkZeroRho*dr)},
				} {
					if c.x == 0 {
						got[k]++
					}
					want[k] += c.p
					spread[k] += c.p * (1 - c.p)
				}
				if p.chIso > 0 {
					lowest = min(lowest, p.chIso)
				}
				if p.ptcone > 0 && p.ptcone < trkMin {
					t.Fatalf("ptcone20 of %g", p.ptcone)
				}
			}
		}
		for k, name := range []string{"hoe", "pfChargedIso", "ptcone20"} {
			near(t, w.String()+": zeros of "+name, got[k], want[k], math.Sqrt(spread[k]))
		}
		if lowest < d.chMin || lowest > d.chMin+0.01 {
			t.Errorf("%v: pfChargedIso begins at %g, want %g", w, lowest, d.chMin)
		}
	}
}

// conditionWeights are the exact kinematic weights of simulation and truth: what the laws of the conditions differ by.
func conditionWeights(t testing.TB, tab *physics.Table) []float64 {
	density := func(rho, scale float64) float64 { // of rho over the interactions of data
		sum := 0.0
		for mu := muMin + 0.25; mu < muMax; mu += 0.5 {
			z := math.Log(rho/((0.5*mu+1.2)*scale)) / 0.13
			sum += measured.muDensity(mu) * math.Exp(-z*z/2)
		}
		return sum
	}
	const step = 0.1
	var ratio []float64 // at rho = step (i + 1), read off by interpolation
	for rho := step; rho < 150; rho += step {
		ratio = append(ratio, density(rho, measured.rhoScale)/density(rho, 1))
	}
	e1, e2 := col(t, tab, "lead_eta"), col(t, tab, "sublead_eta")
	k := make([]float64, tab.Len())
	for i, rho := range col(t, tab, "rho") {
		x := rho/step - 1
		n := int(x)
		k[i] = Tilt(e1[i], e2[i]) * (ratio[n] + (x-float64(n))*(ratio[n+1]-ratio[n]))
	}
	return k
}

// ksTest compares two weighted samples; weights may be negative. It returns the distance and the probability of a larger one.
func ksTest(x, wx, y, wy []float64) (d, p float64) {
	type point struct{ x, f float64 }
	var all []point
	neff := func(x, w []float64, sign float64) float64 {
		s, s2 := 0.0, 0.0
		for i := range x {
			s += w[i]
			s2 += w[i] * w[i]
		}
		for i := range x {
			all = append(all, point{x[i], sign * w[i] / s})
		}
		return s * s / s2
	}
	a, b := neff(x, wx, 1), neff(y, wy, -1)
	slices.SortFunc(all, func(a, b point) int {
		switch {
		case a.x < b.x:
			return -1
		case a.x > b.x:
			return 1
		}
		return 0
	})
	f := 0.0
	for i, q := range all {
		f += q.f
		if i+1 == len(all) || all[i+1].x > q.x {
			d = max(d, math.Abs(f))
		}
	}
	l := d * math.Sqrt(a*b/(a+b))
	for k := 1.0; k < 50; k++ {
		p += 2 * math.Pow(-1, k-1) * math.Exp(-2*k*k*l*l)
	}
	return d, min(1, max(0, p))
}

var kinematics = []string{"lead_pt", "sublead_pt", "lead_eta", "sublead_eta", "rho"}

func shapes() (out []string) {
	for _, k := range []string{"lead_", "sublead_"} {
		for _, q := range []string{"r9", "sieie", "hoe", "pfChargedIso", "pfPhoIso03", "mvaID"} {
			out = append(out, k+q)
		}
	}
	return out
}

// selected applies the usual selection and returns columns and weights times kinematic weights (simulation, truth).
func selected(t testing.TB, tab *physics.Table, names []string, w Which) (cols [][]float64, weight, positive []float64) {
	pt1, pt2 := col(t, tab, "lead_pt"), col(t, tab, "sublead_pt")
	e1, e2 := col(t, tab, "lead_eta"), col(t, tab, "sublead_eta")
	ok := func(eta float64) bool { a := math.Abs(eta); return a < 1.4442 || a > 1.566 }
	var rows []int
	for i := range pt1 {
		if pt1[i] > 35 && pt2[i] > 25 && ok(e1[i]) && ok(e2[i]) {
			rows = append(rows, i)
		}
	}
	kin := make([]float64, tab.Len())
	for i := range kin {
		kin[i] = 1
	}
	if w != Data {
		kin = conditionWeights(t, tab)
	}
	p1, p2 := col(t, tab, "lead_phi"), col(t, tab, "sublead_phi")
	raw := col(t, tab, "weight")
	for _, i := range rows {
		weight = append(weight, raw[i]*kin[i])
		// E[weight | measured] is nearly what remains of |w| by the sign's probability at the measured pT_yy
		p := 0.02 - 0.12*math.Expm1(-physics.PtGG(pt1[i], p1[i], pt2[i], p2[i])/25)
		if w == Data {
			p = 0
		}
		positive = append(positive, math.Abs(raw[i])*(1-2*p)*kin[i])
	}
	for _, name := range names {
		c := make([]float64, len(rows))
		switch name {
		case "dphi":
			for k, i := range rows {
				c[k] = math.Abs(physics.DeltaPhi(p1[i], p2[i]))
			}
		case "pt_gg":
			for k, i := range rows {
				c[k] = physics.PtGG(pt1[i], p1[i], pt2[i], p2[i])
			}
		default:
			full := col(t, tab, name)
			for k, i := range rows {
				c[k] = full[i]
			}
		}
		cols = append(cols, c)
	}
	return cols, weight, positive
}

func TestTruthFollowsTheLawOfData(t *testing.T) {
	s := DiphotonSettings{Events: 60000, Seed: 1}
	names := append(append([]string{"m_gg", "pt_gg", "dphi"}, kinematics...), shapes()...)
	truth, wt, _ := selected(t, table(t, s, Truth), names, Truth)
	data, wd, _ := selected(t, table(t, s, Data), names, Data)
	sim, ws, _ := selected(t, table(t, s, Simulation), names, Simulation)
	for k, name := range names {
		d, p := ksTest(truth[k], wt, data[k], wd)
		before, q := ksTest(sim[k], ws, data[k], wd)
		t.Logf("%-22s truth %.4f (p %.3f)  simulation %.4f (p %.2g)", name, d, p, before, q)
		if p < 0.01 {
			t.Errorf("%s: truth differs from data: KS %.4f, p = %.2g", name, d, p)
		}
		if slices.Contains(shapes(), name) && q > 1e-4 {
			t.Errorf("%s: simulation does not differ from data: KS %.4f, p = %.2g", name, before, q)
		}
	}
}

// classify returns the cross-fitted AUC of two weighted samples.
func classify(t *testing.T, a [][]float64, wa, pa []float64, b [][]float64, wb, pb []float64) float64 {
	mid := [2]int{len(wa) / 2, len(wb) / 2}
	total := 0.0
	for f := range 2 {
		cut := func(n, m int, train bool) (lo, hi int) {
			if (f == 0) == train {
				return 0, m
			}
			return m, n
		}
		take := func(train bool) (cols [][]float64, y, w, p []float64) {
			la, ha := cut(len(wa), mid[0], train)
			lb, hb := cut(len(wb), mid[1], train)
			for k := range a {
				cols = append(cols, append(slices.Clone(a[k][la:ha]), b[k][lb:hb]...))
			}
			for _, part := range []struct {
				w, p []float64
				y    float64
			}{{wa[la:ha], pa[la:ha], 0}, {wb[lb:hb], pb[lb:hb], 1}} {
				scale := mean(part.p, nil)
				for i := range part.w {
					y, w, p = append(y, part.y), append(w, part.w[i]), append(p, part.p[i]/scale)
				}
			}
			return cols, y, w, p
		}
		cols, y, _, p := take(true)
		m, err := gbdt.Train(cols, y, p, gbdt.Settings{Trees: 150, Depth: 4, Rate: 0.1, Seed: 1})
		if err != nil {
			t.Fatal(err)
		}
		cols, y, w, _ := take(false)
		score := make([]float64, len(y))
		m.Margin(cols, score, 0)
		order := ascending(score)
		var below, area, sa, sb float64
		for lo := 0; lo < len(order); {
			hi, a, b := lo, 0.0, 0.0 // weights at one score
			for ; hi < len(order) && score[order[hi]] == score[order[lo]]; hi++ {
				if i := order[hi]; y[i] == 0 {
					a += w[i]
				} else {
					b += w[i]
				}
			}
			area += b * (below + a/2)
			below += a
			sa, sb, lo = sa+a, sb+b, hi
		}
		total += area / (sa * sb) / 2
	}
	return total
}

func TestClassifierSeesSimulationAndNotTruth(t *testing.T) {
	s := DiphotonSettings{Events: 24000, Seed: 2}
	names := append(append([]string{"dphi"}, kinematics...), shapes()...)
	data, wd, pd := selected(t, table(t, s, Data), names, Data)
	auc := map[Which]float64{}
	for _, w := range []Which{Simulation, Truth} {
		x, wx, px := selected(t, table(t, s, w), names, w)
		auc[w] = classify(t, x, wx, px, data, wd, pd)
	}
	t.Logf("AUC against data: simulation %.4f, truth %.4f", auc[Simulation], auc[Truth])
	if auc[Simulation] < 0.65 {
		t.Errorf("AUC of simulation %.4f, must be at least 0.65", auc[Simulation])
	}
	if math.Abs(auc[Truth]-0.5) > 0.012 { // 3 standard errors
		t.Errorf("AUC of truth %.4f", auc[Truth])
	}
}

// Several simulations by their cross sections make up data.
func TestProcessesMixByCrossSection(t *testing.T) {
	const n = 40000
	s := DiphotonSettings{Events: n, Seed: 7, Processes: []Process{Continuum, GammaJet, Signal}}
	share, err := s.Shares()
	if err != nil {
		t.Fatal(err)
	}
	near(t, "share of the signal", share[Signal], 0.02, 1e-12)
	near(t, "share of the continuum", share[Continuum], 0.98*39/(39+10.92), 1e-12)
	var count [processes]float64
	var spectrum [8]float64 // of data in pT_yy
	bin := func(e *event) int { return min(7, int(e.ptgg/10)) }
	for _, e := range testEvents(s, Data, 0, false) {
		count[e.process]++
		spectrum[bin(&e)]++
	}
	for p, c := range count {
		// the tilt in eta favours processes by less than 1 %
		near(t, "data events of "+Process(p).String(), c, n*share[p], math.Sqrt(n*share[p])+0.0025*n*share[p])
	}
	var want, err2 [8]float64
	negative := [processes]float64{}
	for part, p := range s.Processes {
		x, err := s.CrossSection(p)
		if err != nil {
			t.Fatal(err)
		}
		resolved, err := s.resolve()
		if err != nil {
			t.Fatal(err)
		}
		sum, _ := resolved.sampler(Simulation, part).sumWeights(n, 0)
		total := 0.0
		for _, e := range testEvents(s, Simulation, part, false) {
			if e.process != p {
				t.Fatalf("a %v in the simulation of %v", e.process, p)
			}
			w := e.gen * x.Effective() / sum
			total += e.gen
			want[bin(&e)] += w
			err2[bin(&e)] += w * w
			if e.gen < 0 {
				negative[p]++
			}
		}
		if math.Abs(total-sum) > 1e-6*n {
			t.Errorf("%v: weights sum to %g, sum_of_weights is %g", p, total, sum)
		}
	}
	if negative[GammaJet] > 0.7*negative[Continuum] || negative[Signal] < 1.5*negative[Continuum] {
		t.Errorf("negative weights: %v", negative)
	}
	all := 0.0
	for _, w := range want {
		all += w
	}
	for k := range want {
		near(t, "data in a bin of pT_yy", spectrum[k]/n, want[k]/all, math.Sqrt(spectrum[k])/n+math.Sqrt(err2[k])/all)
	}
}

// A jet that passes as a photon is worse in shape and isolation.
func TestFakes(t *testing.T) {
	ev := testEvents(DiphotonSettings{Events: 5000, Seed: 1, Processes: []Process{GammaJet}}, Simulation, 0, false)
	var r9, iso [2][]float64
	for i := range ev {
		fakes := 0
		for _, p := range ev[i].ph[:2] {
			k := 0
			if p.fake {
				k = 1
				fakes++
			}
			r9[k] = append(r9[k], p.r9)
			iso[k] = append(iso[k], p.chIso)
		}
		if fakes != 1 {
			t.Fatalf("event %d has %d jets", i, fakes)
		}
	}
	if mean(r9[1], nil) > mean(r9[0], nil)-0.03 || mean(iso[1], nil) < 3*mean(iso[0], nil) {
		t.Errorf("photon, jet: r9 %.3f, %.3f; charged isolation %.2f, %.2f", mean(r9[0], nil), mean(r9[1], nil), mean(iso[0], nil), mean(iso[1], nil))
	}
}

func TestSettingsOutOfRange(t *testing.T) {
	for _, s := range []DiphotonSettings{
		{Events: -1}, {Events: maxEvents + 1}, {Peak: 1}, {Peak: math.NaN()}, {Layout: "csv"},
		{Processes: []Process{9}}, {Processes: []Process{Signal, Signal}}, {Processes: []Process{Signal}, Peak: -1},
	} {
		if _, err := Diphoton(s, Data); err == nil {
			t.Errorf("no error for %+v", s)
		}
	}
	if _, err := Diphoton(DiphotonSettings{Events: 10}, 9); err == nil {
		t.Error("no error for an unknown sample")
	}
	if _, err := ParseProcess("gg"); err == nil {
		t.Error("no error for an unknown process")
	}
	for p := range processes {
		if q, err := ParseProcess(p.String()); err != nil || q != p {
			t.Errorf("ParseProcess(%q) = %v, %v", p.String(), q, err)
		}
	}
}

func BenchmarkDiphoton(b *testing.B) {
	for b.Loop() {
		if _, err := Diphoton(DiphotonSettings{Events: 100000}, Simulation); err != nil {
			b.Fatal(err)
		}
	}
}
