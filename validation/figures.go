package validation

import (
	"fmt"
	"math"
	"sort"
	"strings"
	"unicode"

	"hepmorph/physics/rootio"
	"hepmorph/validation/metric"
	"hepmorph/validation/plot"
)

// Sections of the report, in their order.
const (
	secTraining   = "Training"
	secFeatures   = "Features"
	secObs        = "Derived observables"
	secConditions = "Conditions"
	secCorr       = "Correlations"
	secProfiles   = "Profiles"
	secClassifier = "Classifier test"
	secWeights    = "Weights"
)

var sections = []string{secFeatures, secObs, secConditions, secCorr, secProfiles, secClassifier, secWeights, secTraining}

// histFile is histograms.root: folder → histograms.
type histFile map[string][]rootio.Hist

// slug makes a name that every file system takes.
func slug(s string) string {
	out := strings.Map(func(r rune) rune {
		switch {
		case unicode.IsLetter(r) || unicode.IsDigit(r) || r == '-' || r == '.':
			return r
		}
		return '_'
	}, s)
	if out == "" || out[0] == '.' {
		out = "_" + out
	}
	if len(out) > 100 {
		out = out[:100]
	}
	return strings.ToValidUTF8(out, "_")
}

// describe makes the figures of a scope and the histograms behind them.
func (r *run) describe(sc *scopeTables, results []varResult, m mats, profs []profile, s scores) {
	dir := ""
	if sc.name != "" {
		dir = slug(sc.name) + "/"
	}
	if r.hists == nil {
		r.hists = histFile{}
	}
	add := func(file, section, caption, alt string, rank int, d plot.Drawing) {
		if r.NoFigures {
			return
		}
		if sc.name != "" {
			rank += 10
			alt += ", " + sc.name
		}
		_, wide := d.(plot.Density)
		r.figures = append(r.figures, &Figure{File: dir + file, Section: section, Caption: caption, Alt: alt, Drawing: d, Wide: wide, Rank: rank, slice: sc.name})
	}
	var notes []string
	if r.Selection != "" {
		notes = append(notes, r.Selection)
	}
	if sc.name != "" {
		notes = append(notes, sc.name)
	}
	for _, res := range results {
		if !res.ok {
			continue
		}
		section := map[string]string{Feature: secFeatures, Condition: secConditions, Observable: secObs}[res.v.Kind]
		name := slug(res.v.Name)
		counted := append(append([]string(nil), notes...), r.normalised())
		add(name, section, r.ratioCaption(sc, &res), "Histogram of "+plain(res.v.title())+" in data and simulation with the ratio of data to simulation", 0, r.ratio(sc, &res, counted))
		if len(res.parts) > 1 && sc.mor != nil {
			before := *sc
			before.mor, before.ref = nil, nil
			add(name+"-processes", section, plain(res.v.label())+" before the morph, the simulated processes one upon the other; "+r.normalised()+".",
				"Stacked histogram of "+plain(res.v.title())+" in the simulated processes, with data", 4, r.ratio(&before, &res, counted))
		}
		r.rootHists(dir+name, sc, &res)
		if sc.mor != nil && res.v.Kind != Condition {
			d, q := res.hists[Data], res.hists[Morphed]
			var pulls []float64
			for i := 1; i < len(d.n)-1; i++ {
				z := (d.n[i] - q.n[i]) / math.Sqrt(d.q[i]+q.q[i])
				if d.q[i]+q.q[i] == 0 || inBlind(res.v, res.bin, i-1) {
					z = math.NaN()
				}
				pulls = append(pulls, z)
			}
			if res.v.Kind == Observable {
				add(name+"-pulls", section, "Pulls of "+plain(res.v.label())+": (data − morphed) over the error of the difference, bin by bin.", "Pulls of "+plain(res.v.title()), 3,
					plot.Pulls{Style: r.style(), X: axis(res.v, res.bin), Edges: res.bin.edges, Y: pulls, Notes: append(counted, chiNote(pulls))})
			}
		}
	}
	if m.data != nil {
		r.matrices(sc, dir, m, add)
	}
	r.profileFigures(sc, dir, profs, notes, add)
	r.densities(sc, m, add)
	r.classifierFigures(sc, s, notes, dir, add)
	if sc.name == "" {
		r.weightFigure(sc, notes, add)
		if r.History != nil {
			add("history", secTraining, "Losses, constrained quantities with their bounds (dashed), and multipliers over the training. The dotted line is the stored model.", "Training history", 1, *r.History)
		}
	}
}

// normalised says what the histograms of simulation are scaled to.
func (r *run) normalised() string {
	if r.Absolute {
		return "MC normalised to luminosity"
	}
	return "MC normalised to data"
}

func plain(s string) string { return strings.NewReplacer("_{", "", "^{", "", "}", "").Replace(s) }

func axis(v Variable, b binning) plot.Axis { return plot.Axis{Title: v.title(), Log: b.log} }

func inBlind(v Variable, b binning, i int) bool {
	return v.blinded() && b.edges[i] < v.Blind[1] && b.edges[i+1] > v.Blind[0]
}

func chiNote(z []float64) string {
	c, n := 0.0, -1
	for _, v := range z {
		if finite(v) {
			c, n = c+v*v, n+1
		}
	}
	if n < 1 {
		return ""
	}
	return fmt.Sprintf("χ^{2}/ndf = %.1f/%d", c, n)
}

func (r *run) ratio(sc *scopeTables, res *varResult, notes []string) plot.Ratio {
	p := plot.Ratio{Style: r.style(), X: axis(res.v, res.bin), Unit: res.v.Unit, Edges: res.bin.edges, LogY: res.bin.logY, Blind: res.v.Blind, Label: sc.data.label,
		Notes: append([]string(nil), notes...), Alt: plain(res.v.title())}
	if res.bin.whole && res.bin.edges[1]-res.bin.edges[0] == 1 {
		p.YTitle = "Events"
		p.X.Integer = true
	}
	d := res.hists[Data]
	n, e := d.inner()
	p.Data = n
	p.DataLo, p.DataHi = e, e
	if d.counts() {
		p.DataLo, p.DataHi = make([]float64, len(n)), make([]float64, len(n))
		for i, v := range n {
			p.DataLo[i], p.DataHi[i] = plot.Poisson(v)
		}
	}
	if res.bin.note != "" {
		p.Notes = append(p.Notes, res.bin.note)
	}
	if o := d.outside(); o > 0.005 {
		p.Notes = append(p.Notes, percent(o)+" of data outside")
	}
	if len(res.parts) > 1 && sc.mor == nil {
		for k, h := range res.parts {
			y, _ := h.inner()
			p.Stack = append(p.Stack, plot.Part{Label: r.parts[k], Y: y})
		}
	}
	for _, t := range sc.samples()[1:] {
		y, e := res.hists[t.role].inner()
		role := map[string]plot.Role{Simulation: plot.Simulation, Morphed: plot.Morphed, Reference: plot.Reference}[t.role]
		p.Curves = append(p.Curves, plot.Curve{Label: t.label, Role: role, Y: y, Err: e})
	}
	return p
}

// ratioCaption repeats the numbers that belong to the figure.
func (r *run) ratioCaption(sc *scopeTables, res *varResult) string {
	c := plain(res.v.label())
	for _, row := range res.rows {
		switch {
		case row.Name == "w1":
			c += fmt.Sprintf(": W1/sd %s, floor %s", beforeAfter(row, "%.4f"), format("%.4f", row.Floor))
		case row.Name == "chi2":
			c += fmt.Sprintf("; χ²/ndf (%s) %s", row.Method, beforeAfter(row, "%.2f"))
		}
	}
	if res.bin.note != "" {
		c += "; " + res.bin.note
	}
	return c + "."
}

func beforeAfter(row *Row, f string) string {
	if !finite(float64(row.After)) {
		return format(f, row.Before)
	}
	return format(f, row.Before) + " → " + format(f, row.After)
}

func format(f string, n Number) string {
	if !finite(float64(n)) {
		return "–"
	}
	return strings.Replace(fmt.Sprintf(f, float64(n)), "-", "−", 1)
}

func (r *run) rootHists(folder string, sc *scopeTables, res *varResult) {
	for _, t := range sc.samples() {
		h := res.hists[t.role]
		r.hists[folder] = append(r.hists[folder], rootio.Hist{Name: t.role, Title: t.label, XTitle: res.v.title(), YTitle: "Events", XEdges: strictly(res.bin.edges),
			Contents: h.n, SumW2: h.q, Entries: h.entries})
	}
	for k, h := range res.parts {
		r.hists[folder] = append(r.hists[folder], rootio.Hist{Name: fmt.Sprintf("simulation_%d", k), Title: r.parts[k], XTitle: res.v.title(), YTitle: "Events",
			XEdges: strictly(res.bin.edges), Contents: h.n, SumW2: h.q, Entries: h.entries})
	}
}

// strictly copies edges, pulling apart neighbours that a reader would take for equal.
func strictly(e []float64) []float64 {
	o := append([]float64(nil), e...)
	w := (e[len(e)-1] - e[0]) / float64(len(e)-1)
	for i := 1; i+1 < len(o); i++ {
		if math.Abs(o[i]) < 1e-12*w { // the atom's edge: the smallest number above 0
			o[i] = 1e-12 * w
		}
	}
	return o
}

// matrices are the three correlation matrices.
func (r *run) matrices(sc *scopeTables, dir string, m mats, add func(file, section, caption, alt string, rank int, d plot.Drawing)) {
	n := len(m.vars)
	var labels []string
	edges := make([]float64, n+1)
	for i := range edges {
		edges[i] = float64(i)
	}
	for _, v := range m.vars {
		labels = append(labels, v.label())
	}
	flat := func(a, b [][]float64) []float64 {
		z := make([]float64, n*n)
		for i := range n {
			for j := range n {
				z[j*n+i] = a[i][j]
				if b != nil {
					z[j*n+i] -= b[i][j]
				}
			}
		}
		return z
	}
	store := func(name, title string, z []float64) {
		h := rootio.Hist{Name: name, Title: title, XTitle: "variable", YTitle: "variable", XEdges: edges, YEdges: edges, Contents: make([]float64, (n+2)*(n+2)), Entries: int64(n * n)}
		h.SumW2 = make([]float64, len(h.Contents))
		for j := range n {
			copy(h.Contents[(j+1)*(n+2)+1:], z[j*n:(j+1)*n])
		}
		r.hists[dir+"correlations"] = append(r.hists[dir+"correlations"], h)
	}
	z := flat(m.data, nil)
	add("correlation-data", secCorr, "Linear correlation coefficients in data, × 100.", "Correlation matrix of data", 1, plot.Matrix{Title: "Linear correlation × 100, data", Labels: labels, Values: z, Alt: "Correlation matrix of data"})
	store("data", "data", z)
	half := 0.2
	for _, v := range []float64{m.simMax, m.morMax} {
		for v > half && half < 2 {
			half = math.Min(2, half*2.5)
		}
	}
	diff := func(file, name string, a [][]float64, largest float64) {
		if a == nil {
			return
		}
		z := flat(a, m.data)
		foot := fmt.Sprintf("Largest |Δρ| %.4f, statistical floor %.4f", largest, m.floor)
		add(file, secCorr, "Difference of the linear correlations × 100, "+name+" − data. "+foot+".", "Difference of correlation matrices, "+name+" minus data", 1,
			plot.Matrix{Title: "Linear correlation × 100, " + name + " − data", Labels: labels, Values: z, Range: half, Notes: foot, Alt: "Correlation matrix, " + name + " minus data"})
		store(strings.ReplaceAll(file, "correlation-", ""), name+" - data", z)
	}
	diff("correlation-morphed", "morphed simulation", m.mor, m.morMax)
	diff("correlation-simulation", "simulation", m.sim, m.simMax)
}

// profileFigures draws every profile if there are few, else the worst ones.
func (r *run) profileFigures(sc *scopeTables, dir string, profs []profile, notes []string, add func(file, section, caption, alt string, rank int, d plot.Drawing)) {
	const most = 60
	show := map[int]bool{}
	idx := make([]int, 0, len(profs))
	for i := range profs {
		if len(profs[i].edges) > 0 {
			idx = append(idx, i)
		}
	}
	sort.SliceStable(idx, func(a, b int) bool { return profs[idx[a]].worst > profs[idx[b]].worst })
	limit := most
	if sc.name != "" {
		limit = 12
	}
	for _, i := range idx[:min(limit, len(idx))] {
		show[i] = true
	}
	for i, p := range profs {
		if len(p.edges) == 0 {
			continue
		}
		file := slug(p.y.Name) + "-vs-" + slug(p.x.Name)
		fig := plot.Profile{Style: r.style(), X: plot.Axis{Title: p.x.title(), Log: p.x.Log && p.edges[0] > 0}, YTitle: p.y.title(), Edges: p.edges, Notes: notes,
			Alt: plain(p.y.title() + " in bins of " + p.x.title())}
		for _, t := range sc.samples()[1:] {
			b := p.bins[t.role]
			if b == nil {
				continue
			}
			if fig.Data.Median == nil {
				fig.Data = spread(b, 1)
				r.profileHist(dir+"profiles/"+file, Data, p, fig.Data)
			}
			s := spread(b, 0)
			s.Label = t.label
			s.Role = map[string]plot.Role{Simulation: plot.Simulation, Morphed: plot.Morphed, Reference: plot.Reference}[t.role]
			fig.Curves = append(fig.Curves, s)
			r.profileHist(dir+"profiles/"+file, t.role, p, s)
		}
		if show[i] && fig.Data.Median != nil {
			caption := fmt.Sprintf("%s in bins of %s", plain(p.y.label()), plain(p.x.label()))
			if sc.mor != nil {
				caption += fmt.Sprintf(": largest pull of a quantile after the morph %.1f", p.worst)
			}
			add(file, secProfiles, caption+".", fig.Alt+": medians and 16 to 84 % quantiles", 2, fig)
		}
	}
}

func spread(b []metric.ProfileBin, side int) plot.Spread {
	var s plot.Spread
	for _, q := range b {
		s.Lower, s.Median, s.Upper = append(s.Lower, q.Q[side][0]), append(s.Median, q.Q[side][1]), append(s.Upper, q.Q[side][2])
		s.Err = append(s.Err, q.Err[side][1])
	}
	return s
}

func (r *run) profileHist(folder, role string, p profile, s plot.Spread) {
	for _, q := range []struct {
		name string
		v    []float64
	}{{"median", s.Median}, {"q16", s.Lower}, {"q84", s.Upper}} {
		h := rootio.Hist{Name: role + "_" + q.name, Title: role, XTitle: p.x.title(), YTitle: p.y.title(), XEdges: p.edges, Contents: make([]float64, len(p.edges)+1), SumW2: make([]float64, len(p.edges)+1), Entries: int64(len(q.v))}
		for i, v := range q.v {
			if finite(v) {
				h.Contents[i+1] = v
				if e := s.Err[i]; q.name == "median" && finite(e) {
					h.SumW2[i+1] = e * e
				}
			}
		}
		r.hists[folder] = append(r.hists[folder], h)
	}
}

// densities shows the pairs of columns whose correlation the simulation gets most wrong.
func (r *run) densities(sc *scopeTables, m mats, add func(file, section, caption, alt string, rank int, d plot.Drawing)) {
	if sc.name != "" || m.data == nil {
		return
	}
	type pair struct {
		i, j int
		d    float64
	}
	var pairs []pair
	for i := range m.vars {
		for j := range i {
			if m.vars[i].Kind == Feature || m.vars[j].Kind == Feature {
				pairs = append(pairs, pair{j, i, math.Abs(m.sim[i][j] - m.data[i][j])})
			}
		}
	}
	sort.SliceStable(pairs, func(a, b int) bool { return pairs[a].d > pairs[b].d })
	cells := int(max(10, min(40, 0.9*math.Cbrt(nEff(sc.data.w))))) // a side: some ten events in a filled cell
	for _, p := range pairs[:min(4, len(pairs))] {
		x, y := m.vars[p.i], m.vars[p.j]
		edges := func(v Variable) []float64 {
			c := sc.data.cols[v.Name]
			q := metric.Quantiles(onlyFinite(c), sc.data.weights(v), 0.005, 0.995)
			lo, hi := q[0], q[1]
			if v.Hi > v.Lo {
				lo, hi = v.Lo, v.Hi
			}
			if !(hi > lo) {
				hi = lo + 1
			}
			return uniform(lo, hi, cells)
		}
		d := plot.Density{Style: r.style(), X: plot.Axis{Title: x.title()}, Y: plot.Axis{Title: y.title()}, XEdges: edges(x), YEdges: edges(y)}
		total := 0.0
		for _, t := range sc.samples() {
			z, sum := grid2(t, x, y, d.XEdges, d.YEdges)
			if t.role == Data {
				total = sum
			}
			k := total / sum
			if r.Absolute && t.role != Reference {
				k = 1
			}
			for i := range z {
				z[i] *= k
				if z[i] <= 0 {
					z[i] = math.NaN()
				}
			}
			d.Planes = append(d.Planes, plot.Plane{Title: t.label, Z: z})
		}
		d.Alt = plain(x.label() + " against " + y.label())
		add("pair-"+slug(x.Name)+"-"+slug(y.Name), secCorr, "Density of "+plain(x.label())+" and "+plain(y.label())+", one of the pairs whose correlation simulation gets most wrong. The lines hold 39, 68 and 95 % of data; "+r.normalised()+".",
			d.Alt+": densities in data, simulation and morphed simulation with the contours of data", 4, d)
	}
}

func grid2(t *table, x, y Variable, ex, ey []float64) ([]float64, float64) {
	nx, ny := len(ex)-1, len(ey)-1
	z := make([]float64, nx*ny)
	w := t.weights(x)
	sum := 0.0
	for i := range t.n {
		a, b := t.cols[x.Name][i], t.cols[y.Name][i]
		u, v := (a-ex[0])/(ex[nx]-ex[0])*float64(nx), (b-ey[0])/(ey[ny]-ey[0])*float64(ny)
		sum += w[i]
		if u >= 0 && u < float64(nx) && v >= 0 && v < float64(ny) {
			z[int(v)*nx+int(u)] += w[i]
		}
	}
	return z, sum
}

func (r *run) classifierFigures(sc *scopeTables, s scores, notes []string, dir string, add func(file, section, caption, alt string, rank int, d plot.Drawing)) {
	if s.before == nil {
		return
	}
	roc := plot.ROC{Style: r.style(), Notes: append([]string{"boosted trees, cross-fitted"}, notes...), Alt: "ROC curve"}
	curve := func(name string, role plot.Role, c *metric.ClassifierResult, side metric.Side) {
		q := metric.ROC(c.Score[0], side.Eval, c.Score[1], s.dataSide.Eval, 200)
		roc.Curves = append(roc.Curves, plot.Operating{Label: fmt.Sprintf("%s, AUC %.4f ± %.4f", name, c.AUC, c.Err), Role: role, FPR: q.False, TPR: q.True})
	}
	curve("before", plot.Simulation, s.before, s.simSide)
	if s.after != nil {
		curve("after", plot.Morphed, s.after, s.morSide)
	}
	add("classifier-roc", secClassifier, "Receiver operating characteristic of a classifier that tells simulation from data, before and after the morph, in features and conditions.",
		"ROC curves of the classifier test", 1, roc)
	score := func(file, caption string, c *metric.ClassifierResult, side metric.Side, label string, role plot.Role, rank int) {
		col, err := metric.Sort(c.Score[1], s.dataSide.Eval)
		if err != nil {
			return
		}
		v := Variable{Name: "score", Label: "Classifier output (log-odds)"}
		b := newBinning(v, col)
		h := fill(b, c.Score[1], s.dataSide.Eval)
		p := fill(b, c.Score[0], side.Eval)
		p = p.scale(h.sum() / p.sum())
		fig := plot.Ratio{Style: r.style(), X: plot.Axis{Title: v.Label}, Edges: b.edges, Label: sc.data.label, Notes: append(append([]string(nil), notes...), "MC normalised to data"), Alt: "Classifier output"}
		fig.Data, fig.DataLo = h.inner()
		fig.DataHi = fig.DataLo
		y, e := p.inner()
		fig.Curves = []plot.Curve{{Label: label, Role: role, Y: y, Err: e}}
		add(file, secClassifier, caption, "Distribution of the classifier's output in data and "+label, rank, fig)
		r.hists[dir+"classifier"] = append(r.hists[dir+"classifier"],
			rootio.Hist{Name: file + "_data", XTitle: v.Label, YTitle: "Events", XEdges: strictly(b.edges), Contents: h.n, SumW2: h.q, Entries: h.entries},
			rootio.Hist{Name: file + "_" + side2role(role), XTitle: v.Label, YTitle: "Events", XEdges: strictly(b.edges), Contents: p.n, SumW2: p.q, Entries: p.entries})
	}
	if s.after != nil {
		score("classifier-score-after", "Output of the classifier trained to tell morphed simulation from data: equal shapes mean that it can't.", s.after, s.morSide, sc.mor.label, plot.Morphed, 2)
	}
	score("classifier-score-before", "Output of the classifier trained to tell simulation from data, before the morph.", s.before, s.simSide, sc.sim.label, plot.Simulation, 3)
}

func side2role(r plot.Role) string {
	if r == plot.Morphed {
		return Morphed
	}
	return Simulation
}

// weightFigure shows the distribution of the weights, if there are any but 1.
func (r *run) weightFigure(sc *scopeTables, notes []string, add func(file, section, caption, alt string, rank int, d plot.Drawing)) {
	var layers []plot.Layer
	var lines []string
	lo, hi := math.Inf(1), 0.0
	for _, t := range sc.samples() {
		mean := 0.0
		for _, w := range t.w {
			mean += math.Abs(w) / float64(t.n)
		}
		for _, w := range t.w {
			if a := math.Abs(w) / mean; a > 0 {
				lo, hi = math.Min(lo, a), math.Max(hi, a)
			}
		}
	}
	if !(hi > lo*1.001) {
		return
	}
	lo = math.Max(lo, hi*1e-6)
	e := uniform(math.Log(lo*0.99), math.Log(hi*1.01), 60)
	for i := range e {
		e[i] = math.Exp(e[i])
	}
	for _, t := range sc.samples() {
		mean, neg := 0.0, 0.0
		a := make([]float64, t.n)
		one := make([]float64, t.n)
		for i, w := range t.w {
			mean += math.Abs(w) / float64(t.n)
			if w < 0 {
				neg++
			}
			a[i], one[i] = math.Abs(w), 1/float64(t.n)
		}
		for i := range a {
			a[i] /= mean
		}
		y, _ := fill(binning{edges: e}, a, one).inner()
		col, dash := plot.Black, []float64(nil)
		switch t.role {
		case Simulation:
			col, dash = plot.Red, plot.Dash
		case Morphed:
			col = plot.Blue
		case Reference:
			col, dash = plot.Green, plot.DashDot
		}
		layers = append(layers, plot.Steps{Edges: e, Y: y, Color: col, Dash: dash, Label: t.label})
		lines = append(lines, fmt.Sprintf("%s: N_{eff}/N = %.3f, negative %s", t.label, nEff(t.w)/float64(t.n), percent(neg/float64(t.n))))
	}
	p := plot.Panel{X: plot.Axis{Title: "|weight| / mean", Log: true, Min: e[0], Max: e[len(e)-1]}, Y: plot.Axis{Title: "Share of events", Log: true}, Layers: layers, Legend: true, Head: 1.45}
	add("weights", secWeights, plain(strings.Join(lines, "; "))+".", "Distribution of the absolute weights", 3, &plot.Figure{Style: r.style(), Label: true, Notes: append(append([]string(nil), notes...), lines...), Columns: [][]plot.Panel{{p}}})
}
