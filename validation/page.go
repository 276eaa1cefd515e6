package validation

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"html/template"
	"math"
	"path/filepath"
	"slices"
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

// A Page is a finished comparison and how to show it. Run makes one of samples of events; other comparisons fill their own and call Write.
type Page struct {
	*Report
	Title      string
	Lead       []string // sentences below the verdict, the number that counts most first
	Text       string   // lines below them, shown as they are
	Columns    Columns
	Sections   []string // of figures, in their order
	Folded     []string // sections that the reader opens
	Figures    []*Figure
	Histograms map[string][]rootio.Hist // the numbers behind the figures, a folder each
	Meaning    map[string]string        // of the names of metrics
	About      []template.HTML          // paragraphs on how the numbers are to be read
	Notes      []string
	Roles      bool // show the role of an input beside its label
	Threads    int  // 0: every core that is granted

	slices []string
}

// Columns are the headings of the columns of numbers; one that is empty isn't shown.
type Columns struct{ Before, After, Floor, Reference string }

// Figure is one picture of a page.
type Figure struct {
	File    string // below figures/, without extension
	Section string
	Caption string // HTML-free text
	Alt     string
	Drawing plot.Drawing
	Wide    bool // takes the whole width of the page
	Rank    int  // the page takes low ranks first when it grows too large

	slice string
	svg   []byte
}

// judge counts the targets that hold and that do not.
func (r *Report) judge() {
	r.Verdict.Pass, r.Verdict.Fail = 0, 0
	for _, row := range r.Metrics {
		if row.Pass != nil {
			if *row.Pass {
				r.Verdict.Pass++
			} else {
				r.Verdict.Fail++
			}
		}
	}
}

// Write puts report.html, metrics.json, summary.md, histograms.root, histograms.yoda and the figures as PDF, PNG and SVG into a folder.
// Errors: errors.Is(err, atomicfile.ErrWrite) if it cannot be written; the context's error.
func (p *Page) Write(ctx context.Context, out string) error {
	p.judge()
	errs := make([]error, len(p.Figures))
	for _, f := range p.Figures {
		if err := atomicfile.MkdirAll(filepath.Dir(filepath.Join(out, "figures", filepath.FromSlash(f.File)))); err != nil {
			return err
		}
	}
	par.For(p.Threads, len(p.Figures), 1, func(k, _, _ int) {
		if errs[k] = ctx.Err(); errs[k] != nil {
			return
		}
		f := p.Figures[k]
		for _, ext := range plot.Formats {
			b, err := plot.Render(f.Drawing, ext)
			if err == nil {
				err = atomicfile.WriteFile(filepath.Join(out, "figures", filepath.FromSlash(f.File)+"."+ext), b)
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
	if err := rootio.WriteHists(filepath.Join(out, "histograms.root"), p.Histograms); err != nil {
		return err
	}
	if err := rootio.WriteYODA(filepath.Join(out, "histograms.yoda"), p.Histograms); err != nil {
		return err
	}
	b, err := p.Encode()
	if err != nil {
		return fmt.Errorf("validation: could not encode metrics: %w", err)
	}
	if err := atomicfile.WriteFile(filepath.Join(out, "metrics.json"), b); err != nil {
		return err
	}
	if err := atomicfile.WriteFile(filepath.Join(out, "summary.md"), p.summary()); err != nil {
		return err
	}
	h, err := p.html()
	if err != nil {
		return fmt.Errorf("validation: could not make report.html: %w", err)
	}
	return atomicfile.WriteFile(filepath.Join(out, "report.html"), h)
}

// title is that of the page.
func (p *Page) title() string {
	if p.Title == "" {
		return "Validation"
	}
	return p.Title
}

// heading is one column of the table of metrics.
type heading struct {
	Title string
	Key   string // for narrow screens: those of a class are hidden
	value func(*Row) string
	sort  func(*Row) float64
	sd    func(*Row) Number
}

// headings are the columns that have something to show.
func (p *Page) headings() []heading {
	var out []heading
	plain := func(title, key string, v func(*Row) Number, sd func(*Row) Number) {
		if title != "" {
			out = append(out, heading{title, key, func(r *Row) string { return number(v(r)) }, func(r *Row) float64 { return float64(v(r)) }, sd})
		}
	}
	some := func(v func(*Row) Number) bool {
		for _, r := range p.Metrics {
			if finite(float64(v(r))) {
				return true
			}
		}
		return false
	}
	plain(p.Columns.Before, "", func(r *Row) Number { return r.Before }, nil)
	plain(p.Columns.After, "", func(r *Row) Number { return r.After }, func(r *Row) Number { return r.AfterSD })
	plain(p.Columns.Floor, "", func(r *Row) Number { return r.Floor }, func(r *Row) Number { return r.FloorSD })
	plain(p.Columns.Reference, "m", func(r *Row) Number { return r.Reference }, nil)
	if p.Columns.After == "" {
		return out
	}
	if p := func(r *Row) Number { return r.P }; some(p) {
		plain("p", "m", p, nil)
	}
	if t := func(r *Row) Number { return r.Target }; some(t) {
		out = append(out, heading{"Target", "m", target, func(r *Row) float64 { return float64(r.Target) }, nil})
	}
	return out
}

// summary is the report for a terminal.
func (p *Page) summary() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# %s\n\n%s\n\n", p.title(), p.verdict())
	for _, s := range p.Lead {
		fmt.Fprintf(&b, "%s\n", s)
	}
	fmt.Fprint(&b, "\n| sample | file | selected | N_eff |\n|---|---|---:|---:|\n")
	for _, in := range p.Inputs {
		fmt.Fprintf(&b, "| %s | %s | %d | %.0f |\n", cell(in.Label), cell(in.File), in.Selected, float64(in.NEff))
	}
	heads := p.headings()
	fmt.Fprint(&b, "\n| metric | subject |")
	for _, h := range heads {
		fmt.Fprintf(&b, " %s |", strings.ToLower(h.Title))
	}
	fmt.Fprint(&b, " |\n|---|---|", strings.Repeat("---:|", len(heads)), "---|\n")
	for _, row := range p.Metrics {
		fmt.Fprintf(&b, "| %s (%s) | %s |", row.Name, row.Method, cell(row.Subject))
		for _, h := range heads {
			fmt.Fprintf(&b, " %s |", h.value(row))
		}
		mark := ""
		if row.Pass != nil {
			mark = map[bool]string{true: "holds", false: "**missed**"}[*row.Pass]
		}
		fmt.Fprintf(&b, " %s |\n", mark)
	}
	if len(p.Notes) > 0 {
		fmt.Fprint(&b, "\n")
		for _, n := range p.Notes {
			fmt.Fprintf(&b, "- %s\n", strings.ReplaceAll(n, "\n", " "))
		}
	}
	return b.Bytes()
}

func cell(s string) string { return strings.NewReplacer("|", "\\|", "\n", " ").Replace(s) }

func (r *Report) verdict() string {
	n := r.Verdict.Pass + r.Verdict.Fail
	switch {
	case n == 0:
		return "No target is judged: there is no morphed sample."
	case r.Verdict.Fail == 0:
		return fmt.Sprintf("All %d targets hold.", n)
	}
	return fmt.Sprintf("%d of %d targets hold, %d are missed.", r.Verdict.Pass, n, r.Verdict.Fail)
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
	*Page
	Title    string
	Verdict  string
	State    string // good, bad, none
	Failed   []failedRow
	Headings []heading
	Judged   bool // there are targets
	Groups   []pageGroup
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
	*Row
	Meaning string
	Parts   []string // of Subject, with places to break the line between them
	Cells   []pageCell
	State   string
	Order   string
}

type pageCell struct{ Key, Text, SD, Sort string }

type pageSection struct {
	Name    string
	ID      string
	Folded  bool
	Figures []pageFigure
}

type pageFigure struct {
	Src          template.URL
	Link         string
	Alt, Caption string
	Wide         bool
}

func (p *Page) html() ([]byte, error) {
	d := pageData{Page: p, Title: p.title(), Verdict: p.verdict(), State: "none", Headings: p.headings()}
	if n := p.Report.Verdict.Pass + p.Report.Verdict.Fail; n > 0 {
		d.Judged = true
		d.State = map[bool]string{true: "good", false: "bad"}[p.Report.Verdict.Fail == 0]
	}
	for _, row := range p.Report.Failed() {
		what := number(row.After)
		if finite(float64(row.Before)) {
			what = number(row.Before) + " → " + what
		}
		if row.holm {
			what += ", p = " + number(row.P)
		} else {
			what += ", floor " + number(row.Floor)
		}
		d.Failed = append(d.Failed, failedRow{row.Name, row.Subject, what + ", asked for " + target(row)})
	}
	inline := p.inline()
	for gi, name := range append([]string{""}, p.slices...) {
		g := pageGroup{Name: name, ID: fmt.Sprintf("g%d", gi)}
		for _, row := range p.Metrics {
			if row.slice != name {
				continue
			}
			r := pageRow{Row: row, Meaning: p.Meaning[row.Name], Parts: parts(strings.TrimSuffix(row.Subject, " @ "+name)), Order: "1"}
			for _, h := range d.Headings {
				c := pageCell{Key: h.Key, Text: h.value(row)}
				if v := h.sort(row); finite(v) {
					c.Sort = fmt.Sprintf("%.6g", v)
				}
				if h.sd != nil && finite(float64(h.sd(row))) {
					c.SD = deviation(h.sd(row))
				}
				r.Cells = append(r.Cells, c)
			}
			if row.Pass != nil {
				if *row.Pass {
					r.State, r.Order = "holds", "2"
					g.Pass++
				} else {
					r.State, r.Order = "missed", "0"
					g.Fail++
				}
			}
			g.Rows = append(g.Rows, r)
		}
		for si, sec := range p.Sections {
			s := pageSection{Name: sec, ID: fmt.Sprintf("g%ds%d", gi, si), Folded: slices.Contains(p.Folded, sec)}
			for _, f := range p.Figures {
				if f.Section != sec || f.slice != name {
					continue
				}
				q := pageFigure{Link: "figures/" + f.File + ".png", Alt: f.Alt, Caption: f.Caption, Wide: f.Wide}
				if inline[f] {
					q.Src = template.URL(dataURI(f.svg)) // our own drawing, not the user's text
				}
				s.Figures = append(s.Figures, q)
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

// parts cuts a subject where a line may break.
func parts(s string) (out []string) {
	for s != "" {
		k := strings.IndexAny(s, "+,") + 1
		if k == 0 {
			k = len(s)
		}
		out, s = append(out, s[:k]), s[k:]
	}
	return out
}

// inline chooses the figures that the page carries itself, those of low rank first.
func (p *Page) inline() map[*Figure]bool {
	fs := append([]*Figure(nil), p.Figures...)
	sort.SliceStable(fs, func(a, b int) bool { return fs[a].Rank < fs[b].Rank })
	out := map[*Figure]bool{}
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
