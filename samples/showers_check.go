package samples

import (
	"context"
	_ "embed"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"text/tabwriter"

	"hepmorph/calo/geometry"
)

// Pearson correlations of the layer energies in the real Geant4 sets, lower triangles, from the CaloChallenge's result files
// (arXiv:2410.21611, github.com/CaloChallenge/homepage).
var (
	//go:embed showers_correlation_ds1-photons.csv
	photonCorrelation string
	//go:embed showers_correlation_ds1-pions.csv
	pionCorrelation string
	//go:embed showers_correlation_ds2.csv
	ds2Correlation string
	//go:embed showers_correlation_ds3.csv
	ds3Correlation string
)

// stackFractions are the shares of layers 0 to 43 in the real dataset 2: the means of logit u_i that CaloDREAM publishes
// (github.com/luigifvr/calo_dreamer, arXiv:2405.09629), turned into ratios, multiplied out and scaled to sum 1. The average of
// logarithms is not that of energies, so generated showers are put through the same.
var stackFractions = []float64{
	0.00544, 0.01310, 0.02455, 0.03916, 0.05480, 0.06883, 0.07949, 0.08547, 0.08632, 0.08365, 0.07752, 0.06864, 0.05964, 0.05000, 0.04145,
	0.03353, 0.02688, 0.02124, 0.01684, 0.01316, 0.01021, 0.00823, 0.00622, 0.00496, 0.00389, 0.00308, 0.00245, 0.00190, 0.00152, 0.00123,
	0.00097, 0.00084, 0.00071, 0.00058, 0.00049, 0.00043, 0.00038, 0.00034, 0.00030, 0.00029, 0.00028, 0.00027, 0.00031, 0.00042,
}

// Tolerances of the anchors.
const (
	correlationTolerance = 0.05
	fractionTolerance    = 0.25
	responseTolerance    = 0.01
)

// An Anchor compares generated showers with a number of the real set.
type Anchor struct {
	Quantity        string
	Got, Want, Tol  float64
	Relative, OK    bool
	Layer1, Layer2  int     // of a correlation
	GotSD, WantSD   float64 // of the response; 0 where there is none
	Showers         int
	WorstOfAllPairs bool
}

// CheckShowers compares layer energies (one slice of the layers a shower, MeV) with what is public of the real set of a geometry: the
// largest difference of the layer correlations and some of them, the layer fractions, the mean response. The energies must follow the
// real set's law, as they do by default. Mini has no real set: only its response is compared.
func CheckShowers(g *geometry.Geometry, incident []float64, layers [][]float64) ([]Anchor, error) {
	n := len(incident)
	if n < 100 || len(layers) != n {
		return nil, fmt.Errorf("samples: could not check showers: %d energies and %d showers, 100 are needed", n, len(layers))
	}
	var out []Anchor
	mean, sd := 0.0, 0.0
	for i, e := range incident {
		u := 0.0
		for _, x := range layers[i] {
			u += x
		}
		mean += u / e
		sd += u * u / e / e
	}
	mean /= float64(n)
	sd = math.Sqrt(max(0, sd/float64(n)-mean*mean))
	if len(g.Layers) == stackLayers || g.Name == "mini" {
		a := Anchor{Quantity: "mean E_tot/E_inc", Got: mean, Want: stackResponse, Tol: responseTolerance, GotSD: sd, WantSD: 0.113}
		if g.Name == "mini" {
			a.WantSD = 0
		}
		out = append(out, a)
	}
	reference := map[string]string{"ds1-photons": photonCorrelation, "ds1-pions": pionCorrelation, "ds2": ds2Correlation, "ds3": ds3Correlation}[g.Name]
	if reference != "" {
		c, err := correlationAnchors(reference, layers)
		if err != nil {
			return nil, err
		}
		out = append(out, c...)
	}
	if len(g.Layers) == stackLayers {
		f := chainedFractions(layers)
		for l := 0; l <= 28; l++ {
			a := Anchor{Quantity: fmt.Sprintf("fraction of layer %d", l), Got: f[l], Want: stackFractions[l], Tol: fractionTolerance, Relative: true}
			if l < 4 {
				a.Tol = math.Inf(1) // shown, not demanded: the real front has one layer's worth of material less
			}
			out = append(out, a)
		}
	}
	for i := range out {
		a := &out[i]
		a.Showers = n
		d := math.Abs(a.Got - a.Want)
		if a.Relative {
			d /= a.Want
		}
		a.OK = d <= a.Tol
	}
	return out, nil
}

func parseCorrelation(csv string) ([][]float64, error) {
	out := [][]float64{{}}
	for _, line := range strings.Split(strings.TrimSpace(csv), "\n") {
		var row []float64
		for _, s := range strings.Split(line, ",") {
			v, err := strconv.ParseFloat(s, 64)
			if err != nil {
				return nil, fmt.Errorf("samples: could not read a correlation: %w", err)
			}
			row = append(row, v)
		}
		out = append(out, row)
	}
	return out, nil
}

func correlationAnchors(csv string, layers [][]float64) ([]Anchor, error) {
	want, err := parseCorrelation(csv)
	if err != nil {
		return nil, err
	}
	nl := len(want)
	if len(layers[0]) != nl {
		return nil, fmt.Errorf("samples: could not check showers: %d layers, %d expected", len(layers[0]), nl)
	}
	n := float64(len(layers))
	mean := make([]float64, nl)
	for _, e := range layers {
		for l, x := range e {
			mean[l] += x / n
		}
	}
	cov := make([][]float64, nl)
	for a := range cov {
		cov[a] = make([]float64, nl)
	}
	for _, e := range layers {
		for a := range cov {
			da := e[a] - mean[a]
			for b := range a + 1 {
				cov[a][b] += da * (e[b] - mean[b])
			}
		}
	}
	got := func(a, b int) float64 { return cov[a][b] / math.Sqrt(cov[a][a]*cov[b][b]) }
	anchor := func(a, b int) Anchor {
		return Anchor{Quantity: fmt.Sprintf("correlation of layers %d and %d", b, a), Got: got(a, b), Want: want[a][b], Tol: correlationTolerance, Layer1: b, Layer2: a}
	}
	worst := Anchor{}
	for a := range want {
		for b := range want[a] {
			if c := anchor(a, b); math.Abs(c.Got-c.Want) >= math.Abs(worst.Got-worst.Want) {
				worst = c
			}
		}
	}
	worst.Quantity += " (the worst of all)"
	worst.WorstOfAllPairs = true
	out := []Anchor{worst}
	pairs := [][2]int{{1, 0}, {4, 0}, {8, 4}, {12, 8}, {24, 8}, {44, 8}, {44, 0}}
	if nl < stackLayers {
		pairs = nil
		for a := 1; a < nl; a++ {
			for b := range a {
				pairs = append(pairs, [2]int{a, b})
			}
		}
	}
	for _, p := range pairs {
		out = append(out, anchor(p[0], p[1]))
	}
	return out, nil
}

// chainedFractions averages logit u_i over the showers (u_i = E_{i-1}/(E_{i-1}+...), x(1-2δ)+δ with δ = 1e-6), turns the means into
// ratios, multiplies out, and scales all but the last layer to sum 1.
func chainedFractions(layers [][]float64) []float64 {
	nl := len(layers[0])
	mean := make([]float64, nl-1)
	for _, e := range layers {
		rest := e[nl-1]
		for l := nl - 2; l >= 0; l-- {
			rest += e[l]
			u := e[l]/(rest+1e-10)*(1-2e-6) + 1e-6
			mean[l] += math.Log(u/(1-u)) / float64(len(layers))
		}
	}
	out := make([]float64, nl-1)
	left, sum := 1.0, 0.0
	for l, z := range mean {
		u := 1 / (1 + math.Exp(-z))
		out[l] = left * u
		left *= 1 - u
		sum += out[l]
	}
	for l := range out {
		out[l] /= sum
	}
	return out
}

// AnchorShowers generates showers and checks them: the table that says how near the generator is to the real sets.
func AnchorShowers(ctx context.Context, set ShowerSettings) ([]Anchor, error) {
	w, err := newShowerGenerator(set)
	if err != nil {
		return nil, err
	}
	var incident []float64
	var layers [][]float64
	err = Showers(ctx, set, func(_ int64, energies []float64, voxels []float32) error {
		incident = append(incident, energies...)
		for i := range energies {
			sums := make([]float64, len(w.g.Layers))
			w.g.LayerSums(sums, voxels[i*w.g.Voxels():(i+1)*w.g.Voxels()])
			layers = append(layers, sums)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return CheckShowers(w.g, incident, layers)
}

// PrintAnchors writes the comparison as a table.
func PrintAnchors(out io.Writer, anchors []Anchor) error {
	t := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "quantity\tgenerated\treal\ttolerance\t")
	for _, a := range anchors {
		tol := fmt.Sprintf("%.3g", a.Tol)
		if a.Relative {
			tol = fmt.Sprintf("%.0f %%", 100*a.Tol)
		}
		if math.IsInf(a.Tol, 1) {
			tol = "-"
		}
		ok := "ok"
		if !a.OK {
			ok = "NO"
		}
		fmt.Fprintf(t, "%s\t%.4f\t%.4f\t%s\t%s\n", a.Quantity, a.Got, a.Want, tol, ok)
		if a.GotSD > 0 && a.WantSD > 0 {
			fmt.Fprintf(t, "sd E_tot/E_inc\t%.4f\t%.4f\t-\t\n", a.GotSD, a.WantSD)
		}
	}
	return t.Flush()
}
