package calo

import (
	"fmt"
	"math"
	"strings"

	"hepmorph/physics/rootio"
	"hepmorph/validation/metric"
	"hepmorph/validation/plot"
)

// labels and roles of the three samples of a figure.
var (
	labels = [3]string{"Reference", "Generated", "Truth"}
	roles  = [3]plot.Role{0, plot.Morphed, plot.Reference}
)

// series are values with errors of one sample.
type series struct{ y, err []float64 }

// counted is a histogram with its Poisson errors.
func counted(x, edges []float64) series {
	s := series{y: metric.Histogram(x, nil, edges)}
	s.err = mapped(s.y, math.Sqrt)
	return s
}

// scaled multiplies by a number.
func (s series) scaled(f float64) series {
	by := func(x float64) float64 { return x * f }
	return series{mapped(s.y, by), mapped(s.err, by)}
}

func total(x []float64) (s float64) {
	for _, v := range x {
		s += v
	}
	return s
}

// bars is a histogram of the file of histograms.
func (s series) bars(name, title string, x plot.Axis, y string, edges []float64) rootio.Hist {
	h := rootio.Hist{Name: name, Title: title, XTitle: x.Title, YTitle: y, XEdges: edges, Contents: make([]float64, len(s.y)+2), SumW2: make([]float64, len(s.y)+2), Entries: int64(len(s.y))}
	for i, v := range s.y {
		if !math.IsNaN(v) {
			h.Contents[i+1], h.SumW2[i+1] = v, s.err[i]*s.err[i]
		}
	}
	return h
}

// a graph is a figure of one quantity in bins, of reference, generated showers and, if there is room for a third curve, truth.
type graph struct {
	name, section, caption string
	x                      plot.Axis
	y                      string // default: showers of a bin
	edges                  []float64
	of                     []series
	counts                 bool // contents are numbers of entries
	logY                   bool
}

func (v *evaluator) graph(g graph) {
	if g.y == "" {
		g.y = "Showers / bin"
	}
	r := plot.Ratio{Style: v.s.Style, X: g.x, YTitle: g.y, Edges: g.edges, Label: labels[0], LogY: g.logY, Free: !g.counts, Ratio: "Ref. / gen."}
	f := Figure{Name: g.name, Section: g.section, Caption: g.caption}
	for i, s := range g.of {
		if g.counts && i > 0 {
			s = s.scaled(total(g.of[0].y) / max(total(s.y), 1))
		}
		f.Histograms = append(f.Histograms, s.bars([]string{"reference", "generated", "truth"}[i], labels[i], g.x, g.y, g.edges))
		if i > 0 {
			r.Curves = append(r.Curves, plot.Curve{Label: labels[i], Role: roles[i], Y: s.y, Err: s.err})
			continue
		}
		r.Data, r.DataLo, r.DataHi = s.y, s.err, s.err
		if g.counts {
			r.DataLo, r.DataHi = make([]float64, len(s.y)), make([]float64, len(s.y))
			for k, n := range s.y {
				r.DataLo[k], r.DataHi[k] = plot.Poisson(n)
			}
		}
	}
	f.Drawing, f.Alt = r, g.caption+" Reference and generated showers, and their ratio."
	v.e.Figures = append(v.e.Figures, f)
}

// powers writes a separation power and its floor for a caption.
func powers(value, floor float64) string {
	return fmt.Sprintf("separation power %.2f × 10⁻³, floor %.2f × 10⁻³", 1e3*value, 1e3*floor)
}

// shownLayers are up to five layers over the depth.
func shownLayers(n int) []int {
	if n <= 5 {
		out := make([]int, n)
		for i := range out {
			out[i] = i
		}
		return out
	}
	return []int{0, n / 6, n / 3, n / 2, 5 * n / 6}
}

func (v *evaluator) figures() {
	g := v.of[0].Geometry
	b := newBinning(g)
	each := func(of func(*Features) []float64, edges []float64) (out []series) {
		for _, x := range v.of {
			out = append(out, counted(of(x.Features), edges))
		}
		return out
	}
	lo, hi := 0.5, 1.5
	if b.ds1 {
		lo, hi = 0.4, 1.4
	}
	edges := evenEdges(lo, hi, 100)
	s := each((*Features).Response, edges)
	rm, _ := meanSD(v.of[0].Response())
	gm, _ := meanSD(v.of[1].Response())
	v.graph(graph{"response", secEnergies, fmt.Sprintf("E_tot/E_inc: %s; mean %.4f generated, %.4f reference.", powers(metric.Separation(s[0].y, s[1].y), metric.Separation(s[0].y, s[2].y)), gm, rm),
		plot.Axis{Title: "E_{tot}/E_{inc}"}, "", edges, s[:2], true, true})
	v.byEnergy()
	v.longitudinal()
	v.radial()
	v.classifierFigures()
	v.graph(graph{"voxel_spectrum", secVoxels, "Energies of voxels: " + powers(metric.Separation(v.spectra[0], v.spectra[1]), metric.Separation(v.spectra[0], v.spectra[2])) + ".",
		plot.Axis{Title: "E_{voxel} [MeV]", Log: true}, "Voxels", v.edges, []series{{v.spectra[0], mapped(v.spectra[0], math.Sqrt)}, {v.spectra[1], mapped(v.spectra[1], math.Sqrt)}}, true, true})
	most := 1.0
	for _, n := range v.of[0].occupancy() {
		most = max(most, n)
	}
	width := max(1, math.Ceil(most/50))
	edges = evenEdges(-0.5, -0.5+width*math.Ceil((most+1)/width), int(math.Ceil((most+1)/width)))
	v.graph(graph{"filled_voxels", secVoxels, "Filled voxels of a shower.", plot.Axis{Title: "Filled voxels"}, "", edges, each((*Features).occupancy, edges)[:2], true, false})
	if _, _, _, ok := g.Uniform(); ok {
		v.depthPicture()
	}
	for l := range g.Layers {
		if g.Layers[l].Alpha > 1 {
			v.picture(l)
		}
	}
	v.byLayer()
	for _, l := range shownLayers(len(g.Layers)) {
		id := g.Layers[l].ID
		one := func(name, what string, x plot.Axis, edges func(int) []float64, of func(*Features) [][]float64, logY bool) {
			if of(v.of[0].Features)[l] == nil {
				return
			}
			e := edges(l)
			s := each(func(f *Features) []float64 { return of(f)[l] }, e)
			v.graph(graph{fmt.Sprintf("%s_layer%d", name, id), secLayers,
				fmt.Sprintf("%s, layer %d: %s.", what, id, powers(metric.Separation(s[0].y, s[1].y), metric.Separation(s[0].y, s[2].y))), x, "", e, s[:2], true, logY})
		}
		one("energy", "Layer energy", plot.Axis{Title: "E_{layer} [MeV]", Log: true}, func(l int) []float64 { return b.energy(v.of[0].Layer[l]) }, func(f *Features) [][]float64 { return f.Layer }, false)
		one("centre_eta", "Centre in η", plot.Axis{Title: "⟨η⟩ [mm]"}, b.centre, func(f *Features) [][]float64 { return f.CentreEta }, true)
		one("centre_phi", "Centre in φ", plot.Axis{Title: "⟨φ⟩ [mm]"}, b.centre, func(f *Features) [][]float64 { return f.CentrePhi }, true)
		one("width_eta", "Width in η", plot.Axis{Title: "σ_{η} [mm]"}, b.width, func(f *Features) [][]float64 { return f.WidthEta }, true)
		one("width_phi", "Width in φ", plot.Axis{Title: "σ_{φ} [mm]"}, b.width, func(f *Features) [][]float64 { return f.WidthPhi }, true)
		one("centre_r", "Centre in r", plot.Axis{Title: "⟨r⟩ [mm]"}, b.centreR, func(f *Features) [][]float64 { return f.CentreR }, true)
		one("width_r", "Width in r", plot.Axis{Title: "σ_{r} [mm]"}, b.widthR, func(f *Features) [][]float64 { return f.WidthR }, true)
		one("sparsity", "Sparsity", plot.Axis{Title: "Sparsity"}, b.sparsity, func(f *Features) [][]float64 { return f.Sparsity }, true)
	}
	v.correlations()
}

// energyBins are bins of the incident energy of equal width in its logarithm; showers of a single energy fall into one.
func energyBins(ref *Features) []float64 {
	lo, hi := math.Inf(1), math.Inf(-1)
	for _, e := range ref.Incident {
		lo, hi = min(lo, e), max(hi, e)
	}
	if hi < lo*1.01 {
		return logEdges(lo*0.9, hi*1.1, 1)
	}
	return logEdges(lo, hi*(1+1e-9), 10)
}

// byEnergy shows mean and width of E_tot/E_inc against E_inc.
func (v *evaluator) byEnergy() {
	edges := energyBins(v.of[0].Features)
	n := len(edges) - 1
	var mean, width []series
	for _, x := range v.of {
		m := make([]moments, n)
		for i, u := range x.Response() {
			for k := range n {
				if e := x.Incident[i]; e >= edges[k] && e < edges[k+1] {
					m[k].add(u)
					break
				}
			}
		}
		a, b := series{make([]float64, n), make([]float64, n)}, series{make([]float64, n), make([]float64, n)}
		for k := range m {
			a.y[k], b.y[k] = nan, nan
			if m[k].n >= 5 {
				mu, sd := m[k].result()
				a.y[k], a.err[k] = mu, sd/math.Sqrt(m[k].n)
				b.y[k], b.err[k] = sd/mu, sd/mu/math.Sqrt(2*m[k].n)
			}
		}
		mean, width = append(mean, a), append(width, b)
	}
	axis := plot.Axis{Title: "E_{inc} [MeV]", Log: true}
	v.graph(graph{"response_mean", secEnergies, "Response: mean of E_tot/E_inc in bins of E_inc.", axis, "⟨E_{tot}/E_{inc}⟩", edges, mean, false, false})
	v.graph(graph{"resolution", secEnergies, "Resolution: standard deviation of E_tot/E_inc over its mean, in bins of E_inc.", axis, "σ(E_{tot}/E_{inc}) / mean", edges, width, false, false})
}

// means are mean energies and their errors.
func means(of [][]float64, scale func(i int) float64) (s series) {
	for i, e := range of {
		m, sd := meanSD(e)
		s.y, s.err = append(s.y, m*scale(i)), append(s.err, sd*scale(i)/math.Sqrt(float64(len(e))))
	}
	return s
}

func (v *evaluator) longitudinal() {
	edges := evenEdges(-0.5, float64(len(v.of[0].Layer))-0.5, len(v.of[0].Layer))
	var s []series
	for _, x := range v.of {
		s = append(s, means(x.Layer, func(int) float64 { return 1 }))
	}
	v.graph(graph{"longitudinal", secProfiles, "Longitudinal profile: mean energy of each layer.", plot.Axis{Title: "Layer", Integer: true}, "⟨E_{layer}⟩ [MeV]", edges, s, false, true})
}

func (v *evaluator) radial() {
	edges := v.of[0].REdges
	var s []series
	for _, x := range v.of {
		s = append(s, means(x.Ring, func(i int) float64 { return 1 / (edges[i+1] - edges[i]) }))
	}
	v.graph(graph{"radial", secProfiles, "Radial profile: mean energy over the width of a ring, all layers together.", plot.Axis{Title: "r [mm]"}, "⟨dE/dr⟩ [MeV/mm]", edges, s, false, true})
}

// heats draws two maps of mean energies with one colour scale, and their difference over their sum.
func (v *evaluator) heats(section, name, caption, title string, x, y plot.Axis, xe, ye, ref, gen []float64) {
	x.Min, x.Max = xe[0], xe[len(xe)-1]
	y.Min, y.Max = ye[0], ye[len(ye)-1]
	top, bottom := 1e-9, math.Inf(1)
	for i, e := range ref {
		top = max(top, e)
		for _, e := range []float64{e, gen[i]} {
			if e > 0 {
				bottom = min(bottom, e)
			}
		}
	}
	bottom = max(top*1e-5, min(bottom, top/10))
	diff := make([]float64, len(ref))
	for i := range ref {
		diff[i] = nan
		if s := ref[i] + gen[i]; s > 0 {
			diff[i] = 2 * (gen[i] - ref[i]) / s
		}
	}
	panel := func(name string, h plot.Heat, scale string) []plot.Panel {
		return []plot.Panel{{X: x, Y: y, Title: name, Layers: []plot.Layer{h}, Scale: &plot.Scale{Of: h, Title: scale}}}
	}
	energy := func(z []float64) plot.Heat {
		return plot.Heat{XEdges: xe, YEdges: ye, Z: z, Min: bottom, Max: top, Log: true}
	}
	change := plot.Heat{XEdges: xe, YEdges: ye, Z: diff, Min: -1, Max: 1, Diverging: true}
	f := Figure{Name: name, Section: section, Caption: caption, Alt: caption + " Reference, generated, relative difference.", Wide: true}
	f.Drawing = &plot.Figure{Width: 36, Height: 10.5, Size: 0.5, Style: v.s.Style, Title: title, Alt: f.Alt, Columns: [][]plot.Panel{
		panel(labels[0], energy(ref), "⟨E⟩ [MeV]"), panel(labels[1], energy(gen), "⟨E⟩ [MeV]"), panel("Difference / mean", change, "")}}
	for i, z := range [][]float64{ref, gen} {
		nx, ny := len(xe)-1, len(ye)-1
		h := rootio.Hist{Name: []string{"reference", "generated"}[i], Title: labels[i], XTitle: x.Title, YTitle: y.Title, XEdges: xe, YEdges: ye, Contents: make([]float64, (nx+2)*(ny+2)), Entries: v.n}
		for k := range ny {
			copy(h.Contents[(k+1)*(nx+2)+1:], z[k*nx:(k+1)*nx])
		}
		h.SumW2 = make([]float64, len(h.Contents))
		f.Histograms = append(f.Histograms, h)
	}
	v.e.Figures = append(v.e.Figures, f)
}

// picture is the average shower in one layer, sector against ring.
func (v *evaluator) picture(l int) {
	g := v.of[0].Geometry
	layer := g.Layers[l]
	lo, hi := g.Span(l)
	v.heats(secAverageLayer, fmt.Sprintf("average_layer%d", layer.ID), fmt.Sprintf("Average shower in layer %d: mean energy of each voxel.", layer.ID), fmt.Sprintf("Layer %d", layer.ID),
		plot.Axis{Title: "r [mm]"}, plot.Axis{Title: "α [rad]"}, layer.REdges, evenEdges(-math.Pi, math.Pi, layer.Alpha), v.of[0].Mean[lo:hi], v.of[1].Mean[lo:hi])
}

// depthPicture is the average shower, layer against ring, summed over the sectors.
func (v *evaluator) depthPicture() {
	g := v.of[0].Geometry
	nl, na, nr, _ := g.Uniform()
	of := func(f *Features) []float64 {
		z := make([]float64, nl*nr)
		for i, e := range f.Mean {
			z[i/(na*nr)*nr+i%nr] += e
		}
		return z
	}
	v.heats(secAverage, "average_depth", "Average shower: mean energy of each layer and ring, all sectors together.", "", plot.Axis{Title: "r [mm]"}, plot.Axis{Title: "Layer", Integer: true},
		g.Layers[0].REdges, evenEdges(-0.5, float64(nl)-0.5, nl), of(v.of[0].Features), of(v.of[1].Features))
}

// byLayer shows the separation powers of every layer.
func (v *evaluator) byLayer() {
	n := len(v.of[0].Layer)
	edges := evenEdges(-0.5, float64(n)-0.5, n)
	x := plot.Axis{Title: "Layer", Integer: true, Min: edges[0], Max: edges[n]}
	gen, truth := Separations(v.of[0].Features, v.of[1].Features), Separations(v.of[0].Features, v.of[2].Features)
	lo, hi := make([]float64, n), make([]float64, n)
	for l := range lo {
		lo[l], hi[l] = math.Inf(1), 0
	}
	f := Figure{Name: "separation_by_layer", Section: secLayers, Caption: "Separation powers in each layer. Grey: the range of the floors of these quantities."}
	var lines []plot.Layer
	least, most := math.Inf(1), 0.0
	for i, s := range gen {
		if len(s.PerLayer) != n || s.Group == "E_tot/E_inc" {
			continue
		}
		for l := range n {
			lo[l], hi[l] = min(lo[l], truth[i].PerLayer[l]), max(hi[l], truth[i].PerLayer[l])
			most = max(most, s.PerLayer[l], hi[l])
			for _, x := range []float64{s.PerLayer[l], lo[l]} {
				if x > 0 {
					least = min(least, x)
				}
			}
		}
		lines = append(lines, plot.Steps{Edges: edges, Y: s.PerLayer, Color: plot.Palette(len(lines)), Label: s.Group})
		for k, y := range [][]float64{s.PerLayer, truth[i].PerLayer} {
			f.Histograms = append(f.Histograms, series{y, make([]float64, n)}.bars(rootName(s.Group)+[]string{"", "_floor"}[k], s.Group, x, "separation power", edges))
		}
	}
	panel := plot.Panel{X: x, Y: plot.Axis{Title: "Separation power", Log: true, Min: least / 2, Max: most * math.Pow(most/least, 0.9)}, Legend: true}
	panel.Layers = append([]plot.Layer{plot.Band{Edges: edges, Lo: lo, Hi: hi, Color: plot.GreyTint, Label: "Floors"}}, lines...)
	f.Alt = f.Caption
	f.Drawing = &plot.Figure{Style: v.s.Style, Label: true, Alt: f.Alt, Columns: [][]plot.Panel{{panel}}}
	v.e.Figures = append(v.e.Figures, f)
}

// rootName is a name without the characters that ROOT takes for paths.
func rootName(s string) string {
	out := []rune(s)
	for i, c := range out {
		if c == '/' || c == ' ' {
			out[i] = '_'
		}
	}
	return string(out)
}

// classifierFigures are operating characteristics and the calibrated scores.
func (v *evaluator) classifierFigures() {
	for _, j := range v.judged {
		name := j.method + "_" + rootName(j.subject)
		what := map[string]string{"gbdt": "Boosted trees on ", "mlp": "Network on "}[j.method] + j.subject
		roc := plot.ROC{Style: v.s.Style, Alt: what + ": operating characteristic."}
		for i, d := range []*verdict{j.generated, j.truth} {
			c := metric.ROC(d.Score[0], nil, d.Score[1], nil, 200)
			roc.Curves = append(roc.Curves, plot.Operating{Label: fmt.Sprintf("%s, AUC %.3f", labels[i+1], d.AUC), Role: roles[i+1], FPR: c.False, TPR: c.True})
		}
		v.e.Figures = append(v.e.Figures, Figure{Name: "roc_" + name, Section: secClassifiers, Alt: roc.Alt, Drawing: roc,
			Caption: strings.ReplaceAll(fmt.Sprintf("%s: AUC %.4f, truth %.4f; Jensen-Shannon divergence after calibration %.4f, truth %.4f.", what, j.generated.AUC, j.truth.AUC,
				j.generated.JSD, j.truth.JSD), " -", " −")})
		edges := evenEdges(0, 1, 10) // a calibrated probability takes few values
		v.graph(graph{"probability_" + name, secClassifiers, what + ": probability of being generated, calibrated by isotonic regression, of showers that it was not trained on.",
			plot.Axis{Title: "P(generated)"}, "", edges, []series{counted(j.generated.Prob[0], edges), counted(j.generated.Prob[1], edges)}, true, false})
	}
}

// correlations shows the linear correlations of the layer energies.
func (v *evaluator) correlations() {
	ref := metric.Pearson(v.of[0].Layer, nil, 0)
	var names []string
	for _, l := range v.of[0].Geometry.Layers {
		names = append(names, fmt.Sprint(l.ID))
	}
	add := func(name, title, caption, foot string, c [][]float64, width float64) {
		m := plot.Matrix{Title: title, Labels: names, Alt: caption, Notes: foot, Range: width}
		for _, row := range c {
			m.Values = append(m.Values, row...)
		}
		v.e.Figures = append(v.e.Figures, Figure{Name: name, Section: secCorrelations, Caption: caption, Alt: caption, Drawing: m})
	}
	add("correlation_reference", "Correlation of layer energies × 100, reference", "Linear correlation coefficients of the layer energies of the reference, × 100.", "", ref, 1)
	var diff [2][][]float64
	var largest [2]float64
	for i, x := range v.of[1:] {
		diff[i] = metric.Pearson(x.Layer, nil, 0)
		for a := range ref {
			for b := range ref {
				diff[i][a][b] -= ref[a][b]
				if d := math.Abs(diff[i][a][b]); d > largest[i] {
					largest[i] = d
				}
			}
		}
	}
	foot := fmt.Sprintf("Largest |Δρ| %.3f, truth %.3f", largest[0], largest[1])
	add("correlation_generated", "Correlation × 100, generated − reference", "Difference of the correlations × 100, generated − reference. "+foot+".", foot, diff[0], 0.2)
}
