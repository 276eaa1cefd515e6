package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"hepmorph/internal/atomicfile"
	"hepmorph/morph"
	"hepmorph/samples"
	"hepmorph/validation"
)

const demoConfig = `# the config of hepmorph demo
seed: 1
inputs:
  simulation: [{files: [%[1]s/diphoton-simulation.root], tree: diphoton, weight: weight}]
  data: [{files: [%[1]s/diphoton-data.root], tree: diphoton}]
id: [eventNumber]
select:
  - lead_pt > 35 && sublead_pt > 25
  - abs(lead_eta) < 2.5 && (abs(lead_eta) < 1.4442 || abs(lead_eta) > 1.566)
  - abs(sublead_eta) < 2.5 && (abs(sublead_eta) < 1.4442 || abs(sublead_eta) > 1.566)
split: {train: "eventNumber %% 10 < 7", validation: 0.1}
features:
  pt1: {expr: lead_pt, unit: GeV, label: "p_{T}^{γ1}"}
  pt2: {expr: sublead_pt, unit: GeV, label: "p_{T}^{γ2}"}
  r9: {expr: lead_r9, label: "R_{9}^{γ1}"}
  sieie: {expr: lead_sieie, label: "σ_{iηiη}^{γ1}"}
  iso: {expr: lead_pfChargedIso, unit: GeV, atom: 0, label: "I_{ch}^{γ1}"}
  id: {expr: lead_mvaID, label: "ID score^{γ1}"}
conditions:
  eta1: {expr: lead_eta, label: "η^{γ1}"}
  eta2: {expr: sublead_eta, label: "η^{γ2}"}
  dphi: {expr: "abs(deltaphi(lead_phi, sublead_phi))", label: "|Δφ|"}
  rho: {expr: rho, unit: GeV, label: "ρ"}
observables:
  m: {expr: "pair_mass(lead_pt, lead_eta, lead_phi, sublead_pt, sublead_eta, sublead_phi)", unit: GeV, label: "m_{γγ}", range: [100, 160], bins: 30, peak: [115, 135]}
  ptgg: {expr: "pair_pt(lead_pt, lead_phi, sublead_pt, sublead_phi)", unit: GeV, label: "p_{T}^{γγ}", range: [0, 150]}
flow: {kind: nsf, transforms: 4, hidden: [64, 64], bins: 8}
train: {steps: %[2]d, batch: 1024, rate: 2e-3, evaluations: 10, early_stop: 0}
constraints: [{quantity: mmd, max: 2 sd over floor}]
validation: {title: "hepmorph demo: a simulated diphoton sample, morphed into data", label: "Built-in samples", energy: "13.6 TeV"}
`

func (a *app) demoCommand() *cobra.Command {
	var out string
	var events int64
	var steps int
	c := &cobra.Command{Use: "demo", Short: "the main job end to end on built-in samples", Args: cobra.NoArgs,
		Long:    "Makes a diphoton simulation and data, trains a morph, applies it, and writes the report that proves it. It takes about a minute on two cores.",
		Example: "  hepmorph demo --out demo",
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			if err := atomicfile.MkdirAll(out); err != nil {
				return err
			}
			a.logf("1/4 samples: %d simulated events, %d of data", events, events)
			if _, err := samples.WriteDiphoton(ctx, inside(out, "samples"), samples.DiphotonSettings{Events: events, Seed: 2, Truth: true, Threads: a.threads, Force: a.force}); err != nil {
				return err
			}
			text := fmt.Sprintf(demoConfig, inside(out, "samples"), steps)
			if err := atomicfile.WriteFile(inside(out, "demo.yaml"), []byte(text)); err != nil {
				return err
			}
			cfg, err := morph.DecodeConfig("demo.yaml", []byte(text))
			if err != nil {
				return err
			}
			a.logf("2/4 train: hepmorph morph train -c %s --out %s", inside(out, "demo.yaml"), inside(out, "run"))
			t, err := a.train(cmd, cfg, inside(out, "run"), 0)
			if err != nil {
				return err
			}
			sim := inside(inside(out, "samples"), "diphoton-simulation.root")
			a.logf("3/4 apply: hepmorph morph apply -m %s -o %s %s", t.Path, inside(out, "morphed.root"), sim)
			if err := a.apply(cmd, t.Model, morph.ApplyOptions{In: []string{sim}, Out: inside(out, "morphed.root")}); err != nil {
				return err
			}
			a.logf("4/4 validate: hepmorph morph validate -m %s --out %s", t.Path, inside(out, "report"))
			rep, err := a.validate(ctx, cfg, t.Model, validateOptions{out: inside(out, "report"), quick: true, history: historyOf(t),
				reference: inside(inside(out, "samples"), "diphoton-truth.root")})
			if err != nil {
				return err
			}
			return a.demoResult(rep, inside(inside(out, "report"), "report.html"))
		}}
	c.Flags().StringVar(&out, "out", "demo", "folder to write to")
	c.Flags().Int64Var(&events, "events", 80000, "events of each sample")
	c.Flags().IntVar(&steps, "steps", 3000, "steps of the training")
	return c
}

func (a *app) demoResult(rep *validation.Report, path string) error {
	if r := rep.Find("auc", "gbdt", "features+conditions"); r != nil {
		fmt.Fprintf(a.out, "a classifier tells simulation from data: AUC %.4f before the morph, %.4f ± %.4f after; floor %.4f ± %.4f, perfect morph %.4f\n",
			float64(r.Before), float64(r.After), float64(r.AfterSD), float64(r.Floor), float64(r.FloorSD), float64(r.Reference))
	}
	fmt.Fprintln(a.out, path)
	if _, err := os.Stat(path); err != nil {
		return err
	}
	return nil
}
