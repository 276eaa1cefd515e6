package samples_test

import (
	"fmt"

	"hepmorph/samples"
)

// A pair in memory: the same settings give the same events, and the truth is the simulation as data would have seen it.
func ExampleDiphoton() {
	s := samples.DiphotonSettings{Events: 1000, Seed: 1}
	simulation, err := samples.Diphoton(s, samples.Simulation)
	if err != nil {
		fmt.Println(err)
		return
	}
	truth, err := samples.Diphoton(s, samples.Truth)
	if err != nil {
		fmt.Println(err)
		return
	}
	a, err := simulation.Col("lead_pt")
	if err != nil {
		fmt.Println(err)
		return
	}
	b, err := truth.Col("lead_pt")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%d events, first leading photon %.2f GeV in simulation, %.2f GeV in data\n", simulation.Len(), a[0], b[0])
	// Output: 1000 events, first leading photon 87.12 GeV in simulation, 86.75 GeV in data
}
