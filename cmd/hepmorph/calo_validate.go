package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"math"
	"path/filepath"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"hepmorph/calo"
	"hepmorph/calo/geometry"
	"hepmorph/internal/atomicfile"
	"hepmorph/validation"
	"hepmorph/validation/plot"
)

// errShowers is a file of showers that did not pass its checks.
var errShowers = errors.New("the showers are not sound")

func (a *app) caloValidate() *cobra.Command {
	var reference, generated, truth, out, geo, particle string
	var s calo.EvaluateSettings
	c := &cobra.Command{Use: "validate --reference FILE --generated FILE --out DIR", Short: "compare generated with simulated showers", Args: cobra.NoArgs,
		Long: `Writes DIR/report.html (self-contained), metrics.json and figures as PDF and PNG: high-level features, separation
powers, classifiers, FPD, KPD, precision, recall, density, coverage, profiles, response and voxel spectrum, by the
definitions of the CaloChallenge (arXiv:2410.21611). With --truth, a second simulated file, every number stands beside
that of truth against truth.`,
		Example: "  hepmorph calo validate --reference reference.h5 --generated showers.h5 --truth reference2.h5 --out report",
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, f := range [][2]string{{"reference", reference}, {"generated", generated}, {"out", out}} {
				if err := required(f[0], f[1]); err != nil {
					return err
				}
			}
			for _, name := range []string{"report.html", "metrics.json"} {
				if err := a.unused(inside(out, name)); err != nil {
					return err
				}
			}
			g, err := caloGeometry(geo, particle)
			if err != nil {
				return err
			}
			rep := &validation.Report{Schema: validation.Schema, Version: version(), Seed: s.Seed}
			var sources []calo.Source
			for _, f := range [][2]string{{validation.Data, reference}, {validation.Morphed, generated}, {validation.Reference, truth}} {
				if f[1] == "" {
					continue
				}
				r, err := openShowers(cmd, f[1], g)
				if err != nil {
					return err
				}
				defer r.Close()
				g = r.Geometry
				sources = append(sources, calo.FileSource{File: r, Hi: r.N})
				rep.Inputs = append(rep.Inputs, validation.Input{Role: f[0], File: base(f[1]), Tree: "showers", Entries: r.N, Selected: r.N, NEff: validation.Number(r.N)})
			}
			if len(sources) == 3 {
				s.Truth = sources[2]
			}
			s.Threads = a.threads
			e, err := calo.Evaluate(cmd.Context(), sources[0], sources[1], s)
			if err != nil {
				return err
			}
			undo := folders(out)
			if err := caloReport(out, g, rep, e); err != nil {
				undo()
				return err
			}
			if err := printMetrics(a, e); err != nil {
				return err
			}
			fmt.Fprintln(a.out, inside(out, "report.html"))
			return nil
		}}
	f := c.Flags()
	f.StringVar(&reference, "reference", "", "simulated showers")
	f.StringVar(&generated, "generated", "", "generated showers")
	f.StringVar(&truth, "truth", "", "more simulated showers, for the floor of every number")
	f.StringVar(&out, "out", "", "folder of the report")
	f.BoolVar(&s.Quick, "quick", false, "fewer draws and smaller classifiers: seconds instead of minutes")
	f.Uint64Var(&s.Seed, "seed", 1, "seed of all random numbers")
	geometryFlags(c, &geo, &particle)
	for _, name := range []string{"reference", "generated", "truth"} {
		c.RegisterFlagCompletionFunc(name, showerFiles)
	}
	return c
}

func number(v float64) string {
	if math.IsNaN(v) {
		return "-"
	}
	return fmt.Sprintf("%.5g", v)
}

func printMetrics(a *app, e *calo.Evaluation) error {
	t := tabwriter.NewWriter(a.out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "metric\tmethod\tsubject\tgenerated\terror\ttruth\t")
	for _, m := range e.Metrics {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t\n", m.Name, m.Method, m.Subject, number(m.Value), number(m.SD), number(m.Floor))
	}
	return t.Flush()
}

var caloPage = template.Must(template.New("calo").Funcs(template.FuncMap{"number": number}).Parse(`<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Generated showers</title>
<style>body{font-family:sans-serif;max-width:75em;margin:1em auto;padding:0 1em}table{border-collapse:collapse}td,th{padding:.2em .8em;border-bottom:1px solid #ccc;text-align:left}
td.n,th.n{text-align:right}figure{display:inline-block;margin:.5em}img{width:34em;max-width:100%}</style></head><body>
<h1>Generated against simulated showers</h1>
<p>{{.Geometry}}. hepmorph {{.Report.Version}}, seed {{.Report.Seed}}.</p>
<table><tr><th>sample</th><th>file</th><th class="n">showers</th></tr>
{{range .Report.Inputs}}<tr><td>{{.Label}}</td><td>{{.File}}</td><td class="n">{{.Entries}}</td></tr>{{end}}</table>
<h2>Numbers</h2>
<p>Truth is what a second simulated sample shows against the reference: what a perfect generator would get.</p>
<table><tr><th>metric</th><th>method</th><th>subject</th><th class="n">generated</th><th class="n">error</th><th class="n">truth</th></tr>
{{range .Metrics}}<tr><td>{{.Name}}</td><td>{{.Method}}</td><td>{{.Subject}}</td><td class="n">{{number .Value}}</td><td class="n">{{number .SD}}</td><td class="n">{{number .Floor}}</td></tr>{{end}}</table>
<h2>Figures</h2>
{{range .Figures}}<figure><img alt="{{.Title}}" src="{{.Data}}"><figcaption>{{.Title}}</figcaption></figure>
{{end}}</body></html>
`))

// caloReport writes the report's files.
func caloReport(dir string, g *geometry.Geometry, rep *validation.Report, e *calo.Evaluation) error {
	num := func(v float64) validation.Number { return validation.Number(v) }
	for _, m := range e.Metrics {
		rep.Metrics = append(rep.Metrics, &validation.Row{Name: m.Name, Method: m.Method, Subject: m.Subject, Unit: m.Unit, N: m.N, Before: num(math.NaN()), After: num(m.Value),
			AfterSD: num(m.SD), Floor: num(m.Floor), FloorSD: num(m.FloorSD), Reference: num(math.NaN()), P: num(math.NaN()), Target: num(math.NaN())})
	}
	for i := range rep.Inputs {
		in := &rep.Inputs[i]
		in.Label = map[string]string{validation.Data: "reference", validation.Morphed: "generated", validation.Reference: "truth"}[in.Role]
	}
	type figure struct {
		Title string
		Data  template.URL
	}
	var figures []figure
	if err := atomicfile.MkdirAll(inside(dir, "figures")); err != nil {
		return err
	}
	for _, f := range e.Figures {
		path := filepath.Join(dir, "figures", f.Name)
		if err := plot.Save(f.Drawing, path+".pdf"); err != nil {
			return err
		}
		b, err := plot.Render(f.Drawing, "png")
		if err != nil {
			return err
		}
		if err := atomicfile.WriteFile(path+".png", b); err != nil {
			return err
		}
		figures = append(figures, figure{f.Title, template.URL("data:image/png;base64," + base64.StdEncoding.EncodeToString(b))})
	}
	text, err := json.MarshalIndent(rep, "", " ")
	if err != nil {
		return err
	}
	if err := atomicfile.WriteFile(inside(dir, "metrics.json"), append(text, '\n')); err != nil {
		return err
	}
	var page bytes.Buffer
	if err := caloPage.Execute(&page, map[string]any{"Geometry": g.String(), "Report": rep, "Metrics": e.Metrics, "Figures": figures}); err != nil {
		return err
	}
	return atomicfile.WriteFile(inside(dir, "report.html"), page.Bytes())
}
