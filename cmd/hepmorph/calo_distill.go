package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"hepmorph/calo"
)

func (a *app) caloDistill() *cobra.Command {
	var model, out string
	o := calo.DistillOptions{}
	c := &cobra.Command{Use: "distill -m MODEL -o OUT", Short: "fit solvers of few evaluations to a model", Args: cobra.NoArgs,
		Long: `Fits bespoke solvers (non-stationary, arXiv:2403.01329, and scale-time, arXiv:2310.19075) to the paths of a model's
shape network and writes the model with them. They end where many more steps of a standard solver end; the model
itself stays as it is, and so do solvers with other numbers of evaluations that it has already. Printed are the distances of end
points from those of many RK4 steps, and the same for midpoint steps at equal cost, on showers that were not fitted.
Then: hepmorph calo generate -m OUT --solver bespoke --steps 8 ...`,
		Example: "  hepmorph calo distill -m shower/model.hmm -o shower/fast.hmm --evaluations 8",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := required("model", model); err != nil {
				return err
			}
			if err := required("output", out); err != nil {
				return err
			}
			m, err := calo.ReadModel(model)
			if err != nil {
				return err
			}
			if err := a.unused(out); err != nil {
				return err
			}
			o.Threads = a.threads
			start := time.Now()
			fits, err := m.Distill(cmd.Context(), o)
			if err != nil {
				return err
			}
			if err := m.Write(out); err != nil {
				return err
			}
			for _, d := range fits {
				a.logf("%s, %d evaluations: end points off by %.3g; midpoint %.3g", d.Kind, d.Evaluations, d.Error, d.MidpointError)
			}
			a.logf("fitted to %d showers in %v", fits[0].Showers, time.Since(start).Round(time.Second/10))
			fmt.Fprintln(a.out, out)
			return nil
		}}
	f := c.Flags()
	f.StringVarP(&model, "model", "m", "", "model file")
	f.StringVarP(&out, "output", "o", "", "model file to write")
	f.IntVar(&o.Evaluations, "evaluations", 8, "of the shape network, a shower; non-stationary any number, scale-time even ones")
	f.IntVar(&o.Showers, "showers", 192, "to fit and judge with (fewer where they are large)")
	f.IntVar(&o.Reference, "reference", 50, "steps of RK4 that count as the truth")
	f.Uint64Var(&o.Seed, "seed", 1, "seed of all random numbers")
	return c
}
