// Command sweepfigure draws what a sweep of the bound on transport has cost in likelihood:
//
//	go run ./internal/peer/sweepfigure SWEEP.json FIGURE.svg
//
// SWEEP.json: {"bounds": [0.5, 1, 2, 0], "nll": [[...], ...], "transport": [[...], ...]}, one list of seeds for each bound, in units of the free
// transport; bound 0 is none.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"

	"hepmorph/validation/plot"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "sweepfigure:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 2 {
		return errors.New("usage: sweepfigure SWEEP.json FIGURE.svg")
	}
	text, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	var in struct {
		Bounds    []float64   `json:"bounds"`
		NLL       [][]float64 `json:"nll"`
		Transport [][]float64 `json:"transport"`
	}
	if err := json.Unmarshal(text, &in); err != nil {
		return err
	}
	if len(in.NLL) != len(in.Bounds) || len(in.Transport) != len(in.Bounds) {
		return fmt.Errorf("%d bounds, %d likelihoods, %d transports", len(in.Bounds), len(in.NLL), len(in.Transport))
	}
	free := len(in.Bounds) - 1
	base, spread := meanSD(in.NLL[free])
	freeTransport, _ := meanSD(in.Transport[free])
	seeds := len(in.NLL[free])
	label := "mean and sd of seeds"
	if seeds == 1 {
		label = "one seed"
	}
	nll := plot.Points{Label: label, Color: plot.Black, Marker: plot.Circle}
	reached := plot.Points{Color: plot.Black, Marker: plot.Circle}
	for i, b := range in.Bounds[:free] {
		m, sd := meanSD(in.NLL[i])
		nll.X, nll.Y = append(nll.X, b), append(nll.Y, m-base)
		nll.Lo, nll.Hi = append(nll.Lo, sd), append(nll.Hi, sd)
		t, tsd := meanSD(in.Transport[i])
		reached.X, reached.Y = append(reached.X, b), append(reached.Y, t/freeTransport)
		reached.Lo, reached.Hi = append(reached.Lo, tsd/freeTransport), append(reached.Hi, tsd/freeTransport)
	}
	edges := []float64{0.3, 2.4}
	x := plot.Axis{Title: "Bound on transport / free transport", Min: edges[0], Max: edges[1]}
	cost := []plot.Layer{plot.Line{X: edges, Y: []float64{0, 0}, Color: plot.Palette(0), Dash: plot.Dash, Label: "without bound"}, nll}
	if seeds > 1 {
		cost = append([]plot.Layer{plot.Band{Edges: edges, Lo: []float64{-2 * spread}, Hi: []float64{2 * spread}, Color: plot.GreyTint, Label: "±2 sd of seeds"}}, cost...)
	}
	f := &plot.Figure{
		Alt: "Held-out negative log-likelihood and transport reached against the bound on transport",
		Columns: [][]plot.Panel{{
			{X: x, Y: plot.Axis{Title: "Held-out NLL − without bound"}, Share: 0.6, Legend: true, Layers: cost},
			{X: x, Y: plot.Axis{Title: "Transport / free"}, Share: 0.4, Legend: true, Layers: []plot.Layer{
				plot.Line{X: []float64{0.3, 1, 2.4}, Y: []float64{0.3, 1, 1}, Color: plot.Palette(1), Dash: plot.Dash, Label: "bound, or free"}, reached}},
		}},
	}
	return plot.Save(f, args[1])
}

func meanSD(v []float64) (mean, sd float64) {
	for _, x := range v {
		mean += x / float64(len(v))
	}
	for _, x := range v {
		sd += (x - mean) * (x - mean) / math.Max(1, float64(len(v)-1))
	}
	return mean, math.Sqrt(sd)
}
