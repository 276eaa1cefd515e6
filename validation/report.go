package validation

import (
	"html/template"
	"math"
	"strings"
)

// report collects the rows and the verdict.
func (r *run) report() *Report {
	rep := &Report{Schema: Schema, Version: r.Version, Seed: r.Seed, Inputs: r.inputs, Metrics: r.rows}
	rep.judge()
	rep.Verdict.Worst = r.worstSlice()
	return rep
}

// page is the report of samples of events.
func (r *run) page(rep *Report) *Page {
	lead := "Classifier test on features and conditions: " + rep.Headline() + "."
	if r.looking != "" {
		lead += " Most of what it uses: " + r.looking + "."
	}
	p := &Page{Report: rep, Title: r.Title, Lead: []string{lead}, Text: r.Text, Columns: Columns{Before: "Before", Floor: "Floor"}, Sections: sections, Figures: r.figures, Histograms: r.hists,
		Meaning: meaning, About: r.about(), Notes: r.notes, Roles: true, Threads: r.Threads}
	if w := rep.Verdict.Worst; w != nil {
		p.Lead = append(p.Lead, "Worst slice: "+w.String()+".")
	}
	if r.morphed != nil {
		p.Columns.After = "After"
	}
	if r.ref != nil {
		p.Columns.Reference = "Reference"
	}
	for _, s := range r.slices {
		p.slices = append(p.slices, s.name)
	}
	return p
}

func (r *run) about() []template.HTML {
	normalised := "Simulation is normalised to data."
	if r.Absolute {
		normalised = "Simulation is normalised to luminosity in the histograms; metrics compare shapes."
	}
	return []template.HTML{
		"<b>Before</b> compares simulation with data, <b>after</b> the morphed simulation with data; <b>floor</b> is what two samples of one law and of these sizes would show, with its standard deviation. " +
			"In features and observables the kinematic weights are applied before and after, so that the morph alone is judged; in conditions only after. " + template.HTML(normalised),
		"A distance (w1, corr_max, sliced_w1) should be at most 1.5 (sliced: 1.2) times its floor, or 2.5 standard deviations above it where that is more. A test with a p-value should have p &gt; 0.01 after " +
			"Holm's correction over its subjects (0.05 for the fixed bins of observables). The classifier should be within two standard deviations of its floor.",
	}
}

// worstSlice is the slice in which the classifier does best, in units of its error above the floor.
func (r *run) worstSlice() *Worst {
	var worst *Worst
	most := math.Inf(-1)
	for _, row := range r.rows {
		if row.slice == "" || row.Name != "auc" || !strings.HasPrefix(row.Subject, "features+conditions") {
			continue
		}
		auc, sd := float64(row.After), float64(row.AfterSD)
		if r.morphed == nil {
			auc, sd = float64(row.Before), 0
		}
		if z := (auc - float64(row.Floor)) / math.Hypot(sd, float64(row.FloorSD)); z > most {
			most = z
			worst = &Worst{Slice: row.slice, Before: row.Before, After: row.After, Floor: row.Floor}
		}
	}
	if worst == nil {
		return nil
	}
	for _, row := range r.rows {
		if row.slice == worst.Slice && row.Pass != nil {
			if *row.Pass {
				worst.Pass++
			} else {
				worst.Fail++
			}
		}
	}
	return worst
}

// Failed lists the rows whose target does not hold.
func (r *Report) Failed() []*Row {
	var out []*Row
	for _, row := range r.Metrics {
		if row != nil && row.Pass != nil && !*row.Pass {
			out = append(out, row)
		}
	}
	return out
}

// Headline is one sentence on the classifier test, the number that counts most.
func (r *Report) Headline() string {
	row := r.Find("auc", "gbdt", "features+conditions")
	if row == nil {
		return "no classifier test"
	}
	s := "AUC " + format("%.4f", row.Before) + " before"
	if finite(float64(row.After)) {
		s += ", " + format("%.4f", row.After) + " ± " + format("%.4f", row.AfterSD) + " after"
	}
	if finite(float64(row.Reference)) {
		s += ", " + format("%.4f", row.Reference) + " for the reference"
	}
	return s + ", floor " + format("%.4f", row.Floor) + " ± " + format("%.4f", row.FloorSD)
}

// meaning explains the names of the metrics in the words of the table's tooltips and of summary.md.
var meaning = map[string]string{
	"auc":        "area under the ROC curve of a classifier trained to tell the sample from data: 0.5 if it can't",
	"w1":         "Wasserstein distance of the marginal distributions over the standard deviation of data",
	"ks":         "largest difference of the cumulative distributions",
	"chi2":       "χ² over degrees of freedom of the binned shapes",
	"ratio":      "bins of the central 98 % whose ratio to data is off by more than 1 % and more than 3 errors",
	"mean":       "difference of the means to data",
	"width":      "difference of the standard deviations to data",
	"atom":       "difference to data of the share of events at exactly this value",
	"transport":  "mean distance by which the morph moves events; the floor is the least that any map with this result could",
	"dependence": "rank correlation of morphed and original values: 1 if the order of events is kept",
	"corr_max":   "largest difference of a correlation coefficient to data",
	"corr_frob":  "Frobenius norm of the difference of the correlation matrices",
	"corr":       "difference of this pair's correlation to data",
	"mmd2":       "squared maximum mean discrepancy of all columns at once, unbiased",
	"energy":     "energy distance of all columns at once, unbiased",
	"sliced_w1":  "Wasserstein distance averaged over random directions in the space of all columns",
	"profile":    "largest pull of the 16, 50 and 84 % quantiles in bins of the condition",
}
