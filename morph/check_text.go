package morph

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// String is the check as text: what is in the samples, what their columns look like, how much they differ, what a training costs, what to change.
func (c *Check) String() string {
	var b strings.Builder
	for d, s := range c.Samples {
		for _, p := range s.Parts {
			fmt.Fprintf(&b, "%s: %s, tree %s", domainName(Domain(d)), strings.Join(p.Files, " "), p.Tree)
			if p.Label != domainName(Domain(d)) {
				fmt.Fprintf(&b, " (%s)", p.Label)
			}
			fmt.Fprintf(&b, "\n%10s  %14s  %12s  %7s  cut\n", "entries", "sum of weights", "N_eff", "")
			for i, cut := range p.CutFlow {
				name, share := cut.Expr, "100.0 %"
				if i == 0 {
					name = "all"
				} else {
					share = fmt.Sprintf("%5.1f %%", percent(int(cut.Entries), int(p.CutFlow[0].Entries)))
				}
				fmt.Fprintf(&b, "%10d  %14.6g  %12.1f  %7s  %s\n", cut.Entries, cut.SumW, nEff(cut.SumW, cut.SumW2), share, name)
			}
			if p.Runs > 0 {
				fmt.Fprintf(&b, "weight: %s / %.6g, the sum of weights in Runs\n", p.Weight, p.Runs)
			} else if p.Weight != "" {
				fmt.Fprintf(&b, "weight: %s\n", p.Weight)
			}
			if p.Negative > 0 {
				fmt.Fprintf(&b, "%.2f %% of the selected rows have a negative weight\n", 100*p.Negative)
			}
		}
		if Domain(d) == Simulation {
			c.mixture(&b)
		}
		fmt.Fprintf(&b, "%d rows to train on, %d for validation, %d set aside", s.Train, s.Validation, s.Test)
		if s.Lost > 0 {
			fmt.Fprintf(&b, ", %d blind", s.Lost)
		}
		b.WriteString("\n\n")
	}
	c.table(&b)
	if len(c.Weights) > 0 {
		b.WriteByte('\n')
		for _, l := range c.Weights {
			fmt.Fprintln(&b, l)
		}
	}
	if c.Before.N > 0 {
		fmt.Fprintf(&b, "\nclassifier, simulation against data, on %d rows set aside: AUC before %.4f +- %.4f", c.Before.N, c.Before.Value, c.Before.Err)
		if c.Floor.N > 0 {
			fmt.Fprintf(&b, "; floor %.4f +- %.4f", c.Floor.Value, c.Floor.Err)
		}
		if c.Conditions.N > 0 {
			fmt.Fprintf(&b, "; conditions alone, reweighted, %.4f +- %.4f", c.Conditions.Value, c.Conditions.Err)
		}
		b.WriteByte('\n')
	}
	if t := c.Time; t != nil {
		fmt.Fprintf(&b, "training: %d parameters, %d steps of about %v here, about %v in all; memory about %d MB\n", t.Parameters, t.Steps, t.Step.Round(100*time.Microsecond), roundTime(t.Total), t.Memory>>20)
	}
	if len(c.Findings) == 0 {
		b.WriteString("\nnothing to change\n")
		return b.String()
	}
	b.WriteByte('\n')
	for _, f := range c.Findings {
		kind := "note"
		if f.Fatal {
			kind = "PROBLEM"
		}
		fmt.Fprintf(&b, "%s: %s\n", kind, f.Text)
		if f.Line != "" {
			for _, l := range strings.Split(f.Line, "\n") {
				fmt.Fprintf(&b, "    %s\n", l)
			}
		}
	}
	return b.String()
}

// mixture says what several simulations make together, and what they are normalised to.
func (c *Check) mixture(b *strings.Builder) {
	s := &c.Samples[Simulation]
	if len(s.Parts) > 1 {
		fmt.Fprintf(b, "the simulations together, one sample:\n%10s  %14s  %12s  %7s  label\n", "rows", "sum of weights", "N_eff", "share")
		for _, p := range s.Parts {
			own := p.CutFlow.Selected()
			fmt.Fprintf(b, "%10d  %14.6g  %12.1f  %5.1f %%  %s\n", p.Rows, own.SumW, nEff(own.SumW, own.SumW2), 100*p.Share, p.Label)
		}
		fmt.Fprintf(b, "%10d  %14.6g  %12.1f  %5.1f %%  all\n", s.Selected, s.Yield, s.NEff, 100.0)
	}
	if c.Luminosity > 0 {
		where := ""
		if s.Lost > 0 {
			where = " outside the blind window"
		}
		fmt.Fprintf(b, "normalised to %v: %.6g events expected%s, %.6g in data (data / simulation %.4f)\n", c.Luminosity, s.Sighted, where, c.Samples[Data].Sighted, c.Samples[Data].Sighted/s.Sighted)
	} else {
		fmt.Fprintln(b, "normalised to data: of the sums of weights only ratios matter")
	}
}

func nEff(sum, sum2 float64) float64 {
	if sum2 == 0 {
		return 0
	}
	return sum * sum / sum2
}

func roundTime(d time.Duration) time.Duration {
	switch {
	case d > 10*time.Minute:
		return d.Round(time.Minute)
	case d > 10*time.Second:
		return d.Round(time.Second)
	}
	return d.Round(100 * time.Millisecond)
}

// table prints a line for each column; pairs are simulation / data.
func (c *Check) table(b *strings.Builder) {
	width := 8
	for _, k := range c.Columns {
		width = max(width, len(k.Name))
	}
	fmt.Fprintf(b, "%-*s %-10s %11s %11s %11s %15s %15s %6s %15s %8s %8s   (pairs: simulation / data)\n", width, "column", "kind", "min", "median", "max", "atom %", "sentinel %", "bits", "off spline %", "W1/sd", "floor")
	num := func(v float64) string { return strings.TrimSpace(fmt.Sprintf("%.4g", v)) }
	pair := func(v [2]float64) string {
		if v[0] == 0 && v[1] == 0 {
			return "-"
		}
		return fmt.Sprintf("%.2f / %.2f", 100*v[0], 100*v[1])
	}
	for _, k := range c.Columns {
		bits := "-"
		switch {
		case k.Whole:
			bits = "whole"
		case k.Bits > 0:
			bits = fmt.Sprint(k.Bits)
		}
		fmt.Fprintf(b, "%-*s %-10s %11s %11s %11s %15s %15s %6s %15s %8s %8s", width, k.Name, k.Kind, num(min(k.Min[0], k.Min[1])), num(k.Median[1]), num(max(k.Max[0], k.Max[1])),
			pair(k.Atom), pair(k.Sentinel), bits, pair(k.Outside), dash(k.W1), dash(k.W1Bar))
		if k.NotFinite[0]+k.NotFinite[1] > 0 {
			fmt.Fprintf(b, "  %d / %d not finite", k.NotFinite[0], k.NotFinite[1])
		}
		b.WriteByte('\n')
	}
}

func dash(v float64) string {
	if math.IsNaN(v) {
		return "-"
	}
	return fmt.Sprintf("%.4f", v)
}
