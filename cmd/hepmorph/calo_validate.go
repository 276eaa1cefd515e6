package main

import (
	"errors"
	"fmt"
	"html/template"
	"math"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"hepmorph/calo"
	"hepmorph/calo/geometry"
	"hepmorph/physics/rootio"
	"hepmorph/validation"
)

// errShowers is a file of showers that did not pass its checks.
var errShowers = errors.New("the showers are not sound")

// showerFilesOf are the files of a comparison.
type showerFilesOf struct{ reference, generated, floor string }

func (a *app) caloValidate() *cobra.Command {
	var in showerFilesOf
	var out, geo, particle string
	var strict bool
	var s calo.EvaluateSettings
	c := &cobra.Command{Use: "validate --reference FILE --generated FILE --out DIR", Short: "compare generated with simulated showers", Args: cobra.NoArgs,
		Long: `Writes DIR/report.html (self-contained), metrics.json, summary.md, histograms.root and figures as PDF, PNG and SVG:
high-level features, separation powers, classifiers on them (boosted trees) and on voxels (a network), FPD, KPD,
precision, recall, density, coverage, profiles, response, resolution and voxel spectrum, by the definitions of the
CaloChallenge (arXiv:2410.21611). Every number stands beside its floor, that of simulated showers in the place of the
generated ones: those of --floor, or, without it, of one half of the reference against the other half.

Energies of the generated showers should be independent of the reference's: generate at the energies of the floor file.`,
		Example: "  hepmorph calo validate --reference reference.h5 --generated showers.h5 --floor reference2.h5 --out report\n  hepmorph calo validate --reference reference.h5 --generated showers.h5 --out report --targets must --strict",
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, f := range [][2]string{{"reference", in.reference}, {"generated", in.generated}, {"out", out}} {
				if err := required(f[0], f[1]); err != nil {
					return err
				}
			}
			g, err := caloGeometry(geo, particle)
			if err != nil {
				return err
			}
			rep, _, err := a.validateShowers(cmd, in, g, out, s)
			if err != nil {
				return err
			}
			fmt.Fprintln(a.out, inside(out, "report.html"))
			if strict && len(rep.Failed()) > 0 {
				return errThreshold
			}
			return nil
		}}
	f := c.Flags()
	f.StringVar(&in.reference, "reference", "", "simulated showers")
	f.StringVar(&in.generated, "generated", "", "generated showers")
	f.StringVar(&in.floor, "floor", "", "more simulated showers, for the floor of every number (default: the reference is halved)")
	f.StringVar(&out, "out", "", "folder of the report")
	f.StringVar(&s.Targets, "targets", "good", "what is asked for: "+strings.Join(calo.Levels(), ", "))
	f.BoolVar(&strict, "strict", false, "exit with 7 if a target is missed")
	f.BoolVar(&s.Quick, "quick", false, "fewer draws and smaller classifiers: seconds instead of minutes")
	f.Uint64Var(&s.Seed, "seed", 1, "seed of all random numbers")
	geometryFlags(c, &geo, &particle)
	for _, name := range []string{"reference", "generated", "floor"} {
		c.RegisterFlagCompletionFunc(name, showerFiles)
	}
	return c
}

// validateShowers compares files, writes the report and prints its table.
func (a *app) validateShowers(cmd *cobra.Command, in showerFilesOf, g *geometry.Geometry, out string, s calo.EvaluateSettings) (*validation.Report, *calo.Evaluation, error) {
	for _, name := range []string{"report.html", "metrics.json", "summary.md", "histograms.root"} {
		if err := a.unused(inside(out, name)); err != nil {
			return nil, nil, err
		}
	}
	rep := &validation.Report{Schema: validation.Schema, Version: version(), Seed: s.Seed}
	var sources []calo.Source
	for _, f := range [][3]string{{validation.Data, "Reference", in.reference}, {validation.Morphed, "Generated", in.generated}, {validation.Reference, "Truth", in.floor}} {
		if f[2] == "" {
			continue
		}
		r, err := openShowers(cmd, f[2], g)
		if err != nil {
			return nil, nil, err
		}
		defer r.Close()
		g = r.Geometry
		sources = append(sources, calo.FileSource{File: r, Hi: r.N})
		rep.Inputs = append(rep.Inputs, validation.Input{Role: f[0], Label: f[1], File: base(f[2]), Tree: "showers", Entries: r.N, Selected: r.N, NEff: validation.Number(r.N)})
	}
	if len(sources) == 3 {
		s.Truth = sources[2]
	}
	s.Threads = a.threads
	e, err := calo.Evaluate(cmd.Context(), sources[0], sources[1], s)
	if err != nil {
		return nil, nil, err
	}
	undo := folders(out)
	if err := showersPage(e, rep, s, a.threads).Write(cmd.Context(), out); err != nil {
		undo()
		return nil, nil, err
	}
	return rep, e, printMetrics(a, e)
}

func decimal(v float64) string {
	if math.IsNaN(v) {
		return "-"
	}
	return fmt.Sprintf("%.4g", v)
}

func printMetrics(a *app, e *calo.Evaluation) error {
	t := tabwriter.NewWriter(a.out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "metric\tmethod\tsubject\tgenerated\terror\tfloor\tasked for\t")
	for i := range e.Metrics {
		m := &e.Metrics[i]
		asked := ""
		if pass, ok := m.Passes(); ok {
			asked = "<= " + decimal(m.Target) + map[bool]string{true: "  holds", false: "  MISSED"}[pass]
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t\n", m.Name, m.Method, m.Subject, decimal(m.Value), decimal(m.SD), decimal(m.Floor), asked)
	}
	return t.Flush()
}

// showerMeaning explains the names of the metrics of showers.
var showerMeaning = map[string]string{
	"auc":             "area under the ROC curve of a classifier trained to tell generated from reference showers: 0.5 if it can't",
	"jsd":             "Jensen-Shannon divergence as the calibrated classifier sees it: 0 if it can't tell, 1 if it always can",
	"separation":      "separation power ½Σ(a−b)²/(a+b) of normalised histograms in the official bins, averaged over the layers: 0 for equal, 1 for disjoint ones",
	"fpd":             "Fréchet physics distance of the high-level features, extrapolated to infinite samples (arXiv:2211.10295)",
	"kpd":             "kernel physics distance of the high-level features, an unbiased MMD² (arXiv:2211.10295)",
	"mean":            "difference of the means to the reference",
	"width":           "difference of the standard deviations to the reference",
	"precision":       "share of generated showers near a reference shower",
	"recall":          "share of reference showers near a generated shower",
	"density":         "mean number of reference neighbourhoods that a generated shower lies in, over k",
	"coverage":        "share of reference neighbourhoods that hold a generated shower",
	"below_threshold": "voxels between zero and the threshold of the readout",
	"negative":        "voxels below zero",
	"not_finite":      "voxels that are no numbers",
}

// showersPage is the report of an evaluation.
func showersPage(e *calo.Evaluation, rep *validation.Report, s calo.EvaluateSettings, threads int) *validation.Page {
	for i := range e.Metrics {
		m := &e.Metrics[i]
		row := &validation.Row{Name: m.Name, Method: m.Method, Subject: m.Subject, Unit: m.Unit, N: m.N, Before: validation.Number(math.NaN()), After: validation.Number(m.Value),
			AfterSD: validation.Number(m.SD), Floor: validation.Number(m.Floor), FloorSD: validation.Number(m.FloorSD), Reference: validation.Number(math.NaN()),
			P: validation.Number(math.NaN()), Target: validation.Number(m.Target)}
		if pass, ok := m.Passes(); ok {
			row.Pass = &pass
		}
		rep.Metrics = append(rep.Metrics, row)
	}
	p := &validation.Page{Report: rep, Title: "Generated against simulated showers", Lead: showersLead(e), Columns: validation.Columns{After: "Generated", Floor: "Floor"},
		Sections: calo.Sections(), Folded: []string{"Average shower in each layer"}, Histograms: map[string][]rootio.Hist{}, Meaning: showerMeaning, Threads: threads}
	level := s.Targets
	if level == "" {
		level = "good"
	}
	p.About = []template.HTML{
		"<b>Generated</b> compares generated showers with the reference, <b>floor</b> compares simulated ones with it in the same way and of the same number: what a perfect generator would show. " +
			"Voxels below the threshold are set to zero first. Features, bins, separation powers, FPD, KPD and the networks' inputs are those of the CaloChallenge (arXiv:2410.21611).",
		"Boosted trees: 200 trees of 31 leaves, rate 0.05, scored out of fold. Networks: three hidden layers of 256, the epoch that is best on held-out showers, AUC on others; the error is the standard deviation over trainings. " +
			"Both are calibrated by isotonic regression on showers that are not judged.",
		template.HTML("Targets are of the level <b>" + level + "</b>: largest AUC, separation powers above their floors, FPD over its floor, no voxel below the threshold, below zero, or not finite."),
	}
	p.Notes = append(p.Notes, "Geometry: "+e.Reference.Geometry.String()+".")
	if e.Halved {
		p.Notes = append(p.Notes, "There is no second simulated sample: every second shower of the reference is the reference here, the others give the floors. A file for --floor makes all numbers more precise.")
	}
	if e.SameEnergies {
		p.Notes = append(p.Notes, "The showers were generated at the incident energies of the reference, one by one. What depends on the energy fluctuates less than between independent samples, so the floors are too high for it.")
	}
	for i := range e.Figures {
		f := &e.Figures[i]
		rank := 1
		switch {
		case f.Section == "Layers":
			rank = 3
		case strings.HasPrefix(f.Name, "average_layer"):
			rank = 2
		}
		p.Figures = append(p.Figures, &validation.Figure{File: f.Name, Section: f.Section, Caption: f.Caption, Alt: f.Alt, Drawing: f.Drawing, Wide: f.Wide, Rank: rank})
		if len(f.Histograms) > 0 {
			p.Histograms[f.Name] = f.Histograms
		}
	}
	return p
}

// showersLead are the sentences below the verdict.
func showersLead(e *calo.Evaluation) []string {
	auc := func(method, subject string) string {
		m := e.Find("auc", method, subject)
		if m == nil {
			return "not tried"
		}
		return fmt.Sprintf("%.4f ± %.4f (floor %.4f)", m.Value, m.SD, m.Floor)
	}
	lead := []string{fmt.Sprintf("Classifiers, AUC: boosted trees on high-level features %s, on layer energies %s; network on voxels %s.", auc("gbdt", "high-level features"),
		auc("gbdt", "layer energies"), auc("mlp", "voxels"))}
	if m := e.Find("fpd", "jetnet", "high-level features"); m != nil {
		lead = append(lead, fmt.Sprintf("FPD %.4f ± %.4f, floor %.4f ± %.4f.", m.Value, m.SD, m.Floor, m.FloorSD))
	}
	worst := -1
	for i, m := range e.Metrics {
		if m.Name == "separation" && (worst < 0 || m.Value-m.Floor > e.Metrics[worst].Value-e.Metrics[worst].Floor) {
			worst = i
		}
	}
	if worst >= 0 {
		m := e.Metrics[worst]
		lead = append(lead, fmt.Sprintf("Largest separation power above its floor: %s, %.2f × 10⁻³ (floor %.2f × 10⁻³).", m.Subject, 1e3*m.Value, 1e3*m.Floor))
	}
	return lead
}
