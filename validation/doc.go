// Package validation proves, or refutes, that one sample looks like another: it compares simulation, morphed simulation and, where there
// is one, a sample with the right answer, to data, and writes one folder that anyone can open.
//
//	report.html      verdict, table, all figures; one file, no network
//	metrics.json     every number, schema hepmorph.metrics/1 (docs/formats.md)
//	summary.md       the same table for a terminal
//	histograms.root  the numbers behind the figures, a folder a variable; histograms.yoda too
//	figures/         every figure as PNG, PDF and SVG
//
// It sees columns and weights, never a model. Every metric is three numbers: before (simulation against data), after (morphed against
// data) and floor (what two samples of one law of these sizes would show), after arXiv:1506.02169's rule that a distance alone says nothing.
//
//	sample      weights in features and observables    weights in conditions
//	data        Weight                                 Weight
//	simulation  Weight × KinWeight                     Weight
//	morphed     Weight × KinWeight                     Weight × KinWeight
//	reference   Weight × KinWeight                     Weight × KinWeight
//
// So the morph alone is judged in the features, and the kinematic reweighting alone in the conditions. Simulation is normalised to data
// or, with Settings.Absolute, to luminosity; figures of events say which. Several samples of role simulation are one mixture, drawn as a stack before the morph.
// Signed weights count as they are. A row whose variable lies in a declared blind window is left out of every number, in all samples.
//
// The result depends on the inputs and the seed, not on the number of threads.
package validation
