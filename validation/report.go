package validation

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"html/template"
	"math"
	"path/filepath"
	"sort"
	"strings"

	"hepmorph/internal/atomicfile"
	"hepmorph/internal/par"
	"hepmorph/physics/rootio"
	"hepmorph/validation/plot"
)

// maxInline is how many bytes of figures report.html carries; the rest are links to the folder beside it.
const maxInline = 7 << 20

//go:embed report.html
var page string

var pageTemplate = template.Must(template.New("report").Parse(page))

// report collects the rows and the verdict.
func (r *run) report() *Report {
	rep := &Report{Schema: Schema, Version: r.Version, Seed: r.Seed, Inputs: r.inputs, Metrics: r.rows, looking: r.looking}
	for _, row := range r.rows {
		if row.Pass != nil {
			if *row.Pass {
				rep.Verdict.Pass++
			} else {
				rep.Verdict.Fail++
			}
		}
	}
	rep.Verdict.Worst = r.worstSlice()
	return rep
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

// write puts all files of the report into the folder.
func (r *run) write(ctx context.Context, out string, rep *Report) error {
	errs := make([]error, len(r.figures))
	for _, f := range r.figures {
		if err := atomicfile.MkdirAll(filepath.Dir(filepath.Join(out, "figures", filepath.FromSlash(f.file)))); err != nil {
			return err
		}
	}
	par.For(r.Threads, len(r.figures), 1, func(k, _, _ int) {
		if errs[k] = ctx.Err(); errs[k] != nil {
			return
		}
		f := r.figures[k]
		for _, ext := range plot.Formats {
			b, err := plot.Render(f.d, ext)
			if err == nil {
				err = atomicfile.WriteFile(filepath.Join(out, "figures", filepath.FromSlash(f.file)+"."+ext), b)
			}
			if err != nil {
				errs[k] = err
				return
			}
			if ext == "svg" {
				f.svg = b
			}
		}
	})
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	if err := rootio.WriteHists(filepath.Join(out, "histograms.root"), r.hists); err != nil {
		return err
	}
	if err := rootio.WriteYODA(filepath.Join(out, "histograms.yoda"), r.hists); err != nil {
		return err
	}
	b, err := rep.Encode()
	if err != nil {
		return fmt.Errorf("validation: could not encode metrics: %w", err)
	}
	if err := atomicfile.WriteFile(filepath.Join(out, "metrics.json"), b); err != nil {
		return err
	}
	if err := atomicfile.WriteFile(filepath.Join(out, "summary.md"), r.summary(rep)); err != nil {
		return err
	}
	h, err := r.html(rep)
	if err != nil {
		return fmt.Errorf("validation: could not make report.html: %w", err)
	}
	return atomicfile.WriteFile(filepath.Join(out, "report.html"), h)
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

// summary is the report for a terminal.
func (r *run) summary(rep *Report) []byte {
	var b bytes.Buffer
	title := r.Title
	if title == "" {
		title = "Validation"
	}
	fmt.Fprintf(&b, "# %s\n\n%s\n\n", title, verdictText(rep))
	fmt.Fprintf(&b, "%s.\n", rep.Headline())
	if rep.Verdict.Worst != nil {
		fmt.Fprintf(&b, "Worst slice: %s.\n", rep.Verdict.Worst)
	}
	fmt.Fprint(&b, "\n| sample | file | selected | N_eff |\n|---|---|---:|---:|\n")
	for _, in := range rep.Inputs {
		fmt.Fprintf(&b, "| %s | %s | %d | %.0f |\n", cell(in.Label), cell(in.File), in.Selected, float64(in.NEff))
	}
	fmt.Fprint(&b, "\n| metric | subject | before | after | floor | p | target | |\n|---|---|---:|---:|---:|---:|---:|---|\n")
	for _, row := range rep.Metrics {
		mark := ""
		if row.Pass != nil {
			mark = map[bool]string{true: "holds", false: "**missed**"}[*row.Pass]
		}
		fmt.Fprintf(&b, "| %s (%s) | %s | %s | %s | %s | %s | %s | %s |\n", row.Name, row.Method, cell(row.Subject), number(row.Before), number(row.After), number(row.Floor), number(row.P), target(row), mark)
	}
	if len(r.notes) > 0 {
		fmt.Fprint(&b, "\n")
		for _, n := range r.notes {
			fmt.Fprintf(&b, "- %s\n", strings.ReplaceAll(n, "\n", " "))
		}
	}
	return b.Bytes()
}

func cell(s string) string { return strings.NewReplacer("|", "\\|", "\n", " ").Replace(s) }

func verdictText(rep *Report) string {
	n := rep.Verdict.Pass + rep.Verdict.Fail
	switch {
	case n == 0:
		return "No target is judged: there is no morphed sample."
	case rep.Verdict.Fail == 0:
		return fmt.Sprintf("All %d targets hold.", n)
	}
	return fmt.Sprintf("%d of %d targets hold, %d are missed.", rep.Verdict.Pass, n, rep.Verdict.Fail)
}

// number writes a table's number with four significant digits.
func number(n Number) string {
	v := float64(n)
	switch {
	case !finite(v):
		return "–"
	case v == 0:
		return "0"
	case math.Abs(v) < 1e-4 || math.Abs(v) >= 1e6:
		return strings.Replace(fmt.Sprintf("%.2e", v), "-", "−", -1)
	}
	prec := max(0, 3-int(math.Floor(math.Log10(math.Abs(v)))))
	return strings.Replace(fmt.Sprintf("%.*f", min(prec, 6), v), "-", "−", 1)
}

// deviation writes a standard deviation with two digits.
func deviation(n Number) string {
	v := float64(n)
	if !finite(v) || v == 0 || math.Abs(v) < 1e-4 || math.Abs(v) >= 1e6 {
		return number(n)
	}
	prec := max(0, 1-int(math.Floor(math.Log10(math.Abs(v)))))
	return fmt.Sprintf("%.*f", prec, v)
}

func target(row *Row) string {
	if !finite(float64(row.Target)) {
		return ""
	}
	if row.holm {
		return fmt.Sprintf("p > %g", float64(row.Target))
	}
	return "≤ " + number(row.Target)
}

// page data.
type pageData struct {
	Title, Verdict, Headline, Looking, Version string
	Worst                                      *Worst
	State                                      string // good, bad, none
	Seed                                       uint64
	Inputs                                     []Input
	Failed                                     []failedRow
	Groups                                     []pageGroup
	Notes                                      []string
	After, Reference, Absolute                 bool
}

type failedRow struct{ Name, Subject, What string }

type pageGroup struct {
	Name     string // "": everything
	ID       string
	Rows     []pageRow
	Sections []pageSection
	Pass     int
	Fail     int
}

type pageRow struct {
	Name, Method, Subject, Unit, Meaning string
	Parts                                []string // of Subject, with places to break the line between them
	Before, After, Floor, Ref, P, Target string
	AfterSD, FloorSD                     string
	State                                string
	Sort                                 [7]string
}

type pageSection struct {
	Name    string
	ID      string
	Figures []pageFigure
}

type pageFigure struct {
	Src          template.URL
	Link         string
	Alt, Caption string
	Wide         bool
}

func (r *run) html(rep *Report) ([]byte, error) {
	d := pageData{Title: r.Title, Verdict: verdictText(rep), Headline: rep.Headline(), Worst: rep.Verdict.Worst, Looking: rep.looking, Version: r.Version, Seed: r.Seed,
		Inputs: rep.Inputs, Notes: r.notes, State: "none", After: r.morphed != nil, Reference: r.ref != nil, Absolute: r.Absolute}
	if d.Title == "" {
		d.Title = "Validation"
	}
	if n := rep.Verdict.Pass + rep.Verdict.Fail; n > 0 {
		d.State = map[bool]string{true: "good", false: "bad"}[rep.Verdict.Fail == 0]
	}
	for _, row := range rep.Failed() {
		what := fmt.Sprintf("%s → %s, floor %s, asked for %s", number(row.Before), number(row.After), number(row.Floor), target(row))
		if row.holm {
			what = fmt.Sprintf("%s → %s, p = %s, asked for %s", number(row.Before), number(row.After), number(row.P), target(row))
		}
		d.Failed = append(d.Failed, failedRow{row.Name, row.Subject, what})
	}
	inline := r.inline()
	names := []string{""}
	for _, s := range r.slices {
		names = append(names, s.name)
	}
	for gi, name := range names {
		g := pageGroup{Name: name, ID: fmt.Sprintf("g%d", gi)}
		for _, row := range rep.Metrics {
			if row.slice != name {
				continue
			}
			p := pageRow{Name: row.Name, Method: row.Method, Subject: strings.TrimSuffix(row.Subject, " @ "+name), Unit: row.Unit, Meaning: meaning[row.Name],
				Before: number(row.Before), After: number(row.After), Floor: number(row.Floor), Ref: number(row.Reference), P: number(row.P), Target: target(row)}
			if finite(float64(row.AfterSD)) {
				p.AfterSD = deviation(row.AfterSD)
			}
			if finite(float64(row.FloorSD)) {
				p.FloorSD = deviation(row.FloorSD)
			}
			for rest := p.Subject; rest != ""; {
				k := strings.IndexAny(rest, "+,") + 1
				if k == 0 {
					k = len(rest)
				}
				p.Parts, rest = append(p.Parts, rest[:k]), rest[k:]
			}
			for i, v := range []Number{row.Before, row.After, row.Floor, row.Reference, row.P, row.Target} {
				if finite(float64(v)) {
					p.Sort[i] = fmt.Sprintf("%.6g", float64(v))
				}
			}
			p.Sort[6] = "1"
			if row.Pass != nil {
				p.State = map[bool]string{true: "holds", false: "missed"}[*row.Pass]
				p.Sort[6] = map[bool]string{true: "2", false: "0"}[*row.Pass]
				if *row.Pass {
					g.Pass++
				} else {
					g.Fail++
				}
			}
			g.Rows = append(g.Rows, p)
		}
		for si, sec := range sections {
			s := pageSection{Name: sec, ID: fmt.Sprintf("g%ds%d", gi, si)}
			for _, f := range r.figures {
				if f.section != sec || f.slice != name {
					continue
				}
				p := pageFigure{Link: "figures/" + f.file + ".png", Alt: f.alt, Caption: f.caption}
				if inline[f] {
					p.Src = template.URL(dataURI(f.svg)) // our own drawing, not the user's text
				}
				_, p.Wide = f.d.(plot.Density)
				s.Figures = append(s.Figures, p)
			}
			if len(s.Figures) > 0 {
				g.Sections = append(g.Sections, s)
			}
		}
		if len(g.Rows) > 0 {
			d.Groups = append(d.Groups, g)
		}
	}
	var b bytes.Buffer
	err := pageTemplate.Execute(&b, d)
	return b.Bytes(), err
}

// inline chooses the figures that the page carries itself, those of low rank first.
func (r *run) inline() map[*figure]bool {
	fs := append([]*figure(nil), r.figures...)
	sort.SliceStable(fs, func(a, b int) bool { return fs[a].rank < fs[b].rank })
	out := map[*figure]bool{}
	size := 0
	for _, f := range fs {
		if size += len(f.svg) + len(f.svg)/10; size > maxInline {
			break
		}
		out[f] = true
	}
	return out
}

// dataURI writes an SVG as an address, with as little escaping as URLs need.
func dataURI(svg []byte) string {
	var b strings.Builder
	b.Grow(len(svg) + len(svg)/8)
	b.WriteString("data:image/svg+xml,")
	for _, c := range svg {
		switch {
		case c == '"':
			b.WriteByte('\'') // the drawing's attributes need no double quotes
		case c == '\n':
			b.WriteByte(' ')
		case c == '%' || c == '#' || c == '<' || c == '>' || c == '&' || c == '\'' || c == '+' || c == '`' || c > 126 || c < 32:
			fmt.Fprintf(&b, "%%%02X", c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}
