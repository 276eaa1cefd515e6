package calo

import (
	"fmt"
	"math"

	"hepmorph/validation/metric"
	"hepmorph/validation/plot"
)

const (
	referenceLabel = "Reference"
	generatedLabel = "Generated"
)

// compare draws two histograms, both normalised to the number of reference showers, and their ratio.
func compare(name, title string, x plot.Axis, edges, ref, gen []float64, logY bool, style plot.Style) Figure {
	r := plot.Ratio{
		Style: style, X: x, Edges: edges, Data: ref, Label: referenceLabel, LogY: logY, YTitle: "Entries",
		DataLo: make([]float64, len(ref)), DataHi: make([]float64, len(ref)),
		Alt: title + ", reference and generated showers",
	}
	sr, sg := 0.0, 0.0
	for i := range ref {
		r.DataLo[i], r.DataHi[i] = plot.Poisson(ref[i])
		sr += ref[i]
		sg += gen[i]
	}
	f := sr / max(sg, 1)
	c := plot.Curve{Label: generatedLabel, Role: plot.Morphed, Y: make([]float64, len(gen)), Err: make([]float64, len(gen))}
	for i := range gen {
		c.Y[i], c.Err[i] = gen[i]*f, math.Sqrt(gen[i])*f
	}
	r.Curves = []plot.Curve{c}
	return Figure{name, title, r}
}

func spectrumFigure(edges, ref, gen []float64, style plot.Style) Figure {
	return compare("voxel_spectrum", "Voxel energies", plot.Axis{Title: "E_{voxel} [MeV]", Log: true}, edges, ref, gen, true, style)
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

func figures(ref, gen *Features, style plot.Style) []Figure {
	g := ref.Geometry
	b := newBinning(g)
	var out []Figure
	hist := func(name, title string, x plot.Axis, edges, a, c []float64, logY bool) {
		out = append(out, compare(name, title, x, edges, metric.Histogram(a, nil, edges), metric.Histogram(c, nil, edges), logY, style))
	}
	lo, hi := 0.5, 1.5
	if b.ds1 {
		lo, hi = 0.4, 1.4
	}
	hist("response", "E_{tot}/E_{inc}", plot.Axis{Title: "E_{tot}/E_{inc}"}, evenEdges(lo, hi, 100), ref.Response(), gen.Response(), true)
	out = append(out, responseFigures(ref, gen, style)...)
	out = append(out, longitudinal(ref, gen, style), radial(ref, gen, style))
	for _, l := range shownLayers(len(g.Layers)) {
		id := g.Layers[l].ID
		one := func(name, what string, x plot.Axis, edges func(int) []float64, a, c [][]float64, logY bool) {
			if a[l] != nil {
				hist(fmt.Sprintf("%s_layer%d", name, id), fmt.Sprintf("%s, layer %d", what, id), x, edges(l), a[l], c[l], logY)
			}
		}
		one("energy", "Layer energy", plot.Axis{Title: "E_{layer} [MeV]", Log: true}, func(l int) []float64 { return b.energy(ref.Layer[l]) }, ref.Layer, gen.Layer, false)
		one("centre_eta", "Centre in η", plot.Axis{Title: "⟨η⟩ [mm]"}, b.centre, ref.CentreEta, gen.CentreEta, true)
		one("centre_phi", "Centre in φ", plot.Axis{Title: "⟨φ⟩ [mm]"}, b.centre, ref.CentrePhi, gen.CentrePhi, true)
		one("width_eta", "Width in η", plot.Axis{Title: "σ_{η} [mm]"}, b.width, ref.WidthEta, gen.WidthEta, true)
		one("width_phi", "Width in φ", plot.Axis{Title: "σ_{φ} [mm]"}, b.width, ref.WidthPhi, gen.WidthPhi, true)
		one("centre_r", "Centre in r", plot.Axis{Title: "⟨r⟩ [mm]"}, b.centreR, ref.CentreR, gen.CentreR, true)
		one("width_r", "Width in r", plot.Axis{Title: "σ_{r} [mm]"}, b.widthR, ref.WidthR, gen.WidthR, true)
		one("sparsity", "Sparsity", plot.Axis{Title: "Sparsity"}, b.sparsity, ref.Sparsity, gen.Sparsity, true)
		if g.Layers[l].Alpha > 1 {
			out = append(out, picture(ref, gen, l, style))
		}
	}
	if _, _, _, ok := g.Uniform(); ok {
		out = append(out, depthPicture(ref, gen, style))
	}
	return append(out, correlations(ref, referenceLabel), correlations(gen, generatedLabel))
}

// byEnergy splits showers into bins of the incident energy of equal width in its logarithm; those of a single energy fall into one.
func byEnergy(ref *Features) []float64 {
	lo, hi := math.Inf(1), math.Inf(-1)
	for _, e := range ref.Incident {
		lo, hi = min(lo, e), max(hi, e)
	}
	if hi < lo*1.01 {
		return logEdges(lo*0.9, hi*1.1, 1)
	}
	return logEdges(lo, hi*(1+1e-9), 10)
}

// responseFigures are mean and width of E_tot/E_inc against E_inc.
func responseFigures(ref, gen *Features, style plot.Style) []Figure {
	edges := byEnergy(ref)
	n := len(edges) - 1
	type stat struct{ mean, meanErr, sd, sdErr []float64 }
	of := func(f *Features) stat {
		m := make([]moments, n)
		for i, u := range f.Response() {
			for k := range n {
				if f.Incident[i] >= edges[k] && f.Incident[i] < edges[k+1] {
					m[k].add(u)
					break
				}
			}
		}
		s := stat{make([]float64, n), make([]float64, n), make([]float64, n), make([]float64, n)}
		for k := range m {
			s.mean[k], s.sd[k] = nan, nan
			if m[k].n < 5 {
				continue
			}
			mean, sd := m[k].result()
			s.mean[k], s.meanErr[k] = mean, sd/math.Sqrt(m[k].n)
			s.sd[k] = sd / mean
			s.sdErr[k] = sd / mean / math.Sqrt(2*m[k].n)
		}
		return s
	}
	r, x := of(ref), of(gen)
	one := func(name, title, y string, data, err, curve, curveErr []float64) Figure {
		return Figure{name, title, plot.Ratio{
			Style: style, X: plot.Axis{Title: "E_{inc} [MeV]", Log: true}, Edges: edges, YTitle: y, Label: referenceLabel,
			Data: data, DataLo: err, DataHi: err, Curves: []plot.Curve{{Label: generatedLabel, Role: plot.Morphed, Y: curve, Err: curveErr}},
			Alt: title + " of reference and generated showers",
		}}
	}
	return []Figure{
		one("response_mean", "Response", "⟨E_{tot}/E_{inc}⟩", r.mean, r.meanErr, x.mean, x.meanErr),
		one("resolution", "Resolution", "σ(E_{tot}/E_{inc}) / mean", r.sd, r.sdErr, x.sd, x.sdErr),
	}
}

func longitudinal(ref, gen *Features, style plot.Style) Figure {
	n := len(ref.Layer)
	edges := make([]float64, n+1)
	for i := range edges {
		edges[i] = float64(i) - 0.5
	}
	of := func(f *Features) (mean, err []float64) {
		for _, e := range f.Layer {
			m, sd := meanSD(e)
			mean, err = append(mean, m), append(err, sd/math.Sqrt(float64(len(e))))
		}
		return mean, err
	}
	r, re := of(ref)
	x, xe := of(gen)
	return Figure{"longitudinal", "Longitudinal profile", plot.Ratio{
		Style: style, X: plot.Axis{Title: "Layer", Integer: true}, Edges: edges, YTitle: "Mean energy [MeV]", Label: referenceLabel, LogY: true,
		Data: r, DataLo: re, DataHi: re, Curves: []plot.Curve{{Label: generatedLabel, Role: plot.Morphed, Y: x, Err: xe}},
		Alt: "mean energy of each layer, reference and generated showers",
	}}
}

// radial is the mean energy per mm of radius over all layers.
func radial(ref, gen *Features, style plot.Style) Figure {
	g := ref.Geometry
	edges := g.Layers[0].REdges
	for _, l := range g.Layers { // the finest division; others are spread over it
		if len(l.REdges) > len(edges) {
			edges = l.REdges
		}
	}
	of := func(f *Features) []float64 {
		y := make([]float64, len(edges)-1)
		for l, layer := range g.Layers {
			lo, hi := g.Span(l)
			rings := layer.Rings()
			for k := lo; k < hi; k++ {
				a, b := layer.REdges[(k-lo)%rings], layer.REdges[(k-lo)%rings+1]
				for i := range y {
					if w := min(b, edges[i+1]) - max(a, edges[i]); w > 0 {
						y[i] += f.Mean[k] * w / (b - a) / (edges[i+1] - edges[i])
					}
				}
			}
		}
		return y
	}
	zero := make([]float64, len(edges)-1)
	return Figure{"radial", "Radial profile", plot.Ratio{
		Style: style, X: plot.Axis{Title: "r [mm]"}, Edges: edges, YTitle: "Mean energy [MeV/mm]", Label: referenceLabel, LogY: true,
		Data: of(ref), DataLo: zero, DataHi: zero, Curves: []plot.Curve{{Label: generatedLabel, Role: plot.Morphed, Y: of(gen), Err: zero}},
		Alt: "mean energy in rings, reference and generated showers",
	}}
}

// heats draws two maps of mean energies with one colour scale, and their difference over their sum.
func heats(x, y plot.Axis, xe, ye, ref, gen []float64, title string, style plot.Style) plot.Drawing {
	x.Min, x.Max = xe[0], xe[len(xe)-1]
	y.Min, y.Max = ye[0], ye[len(ye)-1]
	top := 0.0
	for _, v := range ref {
		top = max(top, v)
	}
	top = max(top, 1e-9)
	diff := make([]float64, len(ref))
	for i := range ref {
		diff[i] = nan
		if s := ref[i] + gen[i]; s > 0 {
			diff[i] = 2 * (gen[i] - ref[i]) / s
		}
	}
	panel := func(name string, h plot.Heat, scale string) plot.Panel {
		return plot.Panel{X: x, Y: y, Title: name, Layers: []plot.Layer{h}, Scale: &plot.Scale{Of: h, Title: scale}}
	}
	energy := func(z []float64) plot.Heat {
		return plot.Heat{XEdges: xe, YEdges: ye, Z: z, Min: top * 1e-5, Max: top, Log: true}
	}
	change := plot.Heat{XEdges: xe, YEdges: ye, Z: diff, Min: -1, Max: 1, Diverging: true}
	return &plot.Figure{
		Width: 36, Height: 13, Size: 0.5, Style: style, Title: title, Alt: title + ": reference, generated, relative difference",
		Columns: [][]plot.Panel{
			{panel(referenceLabel, energy(ref), "Mean energy [MeV]")}, {panel(generatedLabel, energy(gen), "Mean energy [MeV]")},
			{panel("Difference over mean", change, "")},
		},
	}
}

// picture is the average shower in one layer, sector against ring.
func picture(ref, gen *Features, l int, style plot.Style) Figure {
	g := ref.Geometry
	layer := g.Layers[l]
	lo, hi := g.Span(l)
	alpha := evenEdges(-math.Pi, math.Pi, layer.Alpha)
	title := fmt.Sprintf("Average shower, layer %d", layer.ID)
	return Figure{
		fmt.Sprintf("average_layer%d", layer.ID), title,
		heats(plot.Axis{Title: "r [mm]"}, plot.Axis{Title: "α"}, layer.REdges, alpha, ref.Mean[lo:hi], gen.Mean[lo:hi], title, style),
	}
}

// depthPicture is the average shower, layer against ring, summed over the sectors.
func depthPicture(ref, gen *Features, style plot.Style) Figure {
	g := ref.Geometry
	nl, na, nr, _ := g.Uniform()
	of := func(f *Features) []float64 {
		z := make([]float64, nl*nr)
		for i, e := range f.Mean {
			z[i/(na*nr)*nr+i%nr] += e
		}
		return z
	}
	edges := make([]float64, nl+1)
	for i := range edges {
		edges[i] = float64(i) - 0.5
	}
	const title = "Average shower"
	return Figure{"average_depth", title, heats(plot.Axis{Title: "r [mm]"}, plot.Axis{Title: "Layer", Integer: true}, g.Layers[0].REdges, edges, of(ref), of(gen), title, style)}
}

// correlations is the matrix of the linear correlations of the layer energies.
func correlations(f *Features, label string) Figure {
	c := metric.Pearson(f.Layer, nil, 0)
	m := plot.Matrix{Title: "Correlation of layer energies × 100, " + label, Alt: "correlations of the layer energies, " + label}
	for l, row := range c {
		m.Labels = append(m.Labels, fmt.Sprint(f.Geometry.Layers[l].ID))
		m.Values = append(m.Values, row...)
	}
	return Figure{"correlation_" + map[string]string{referenceLabel: "reference", generatedLabel: "generated"}[label], m.Title, m}
}
