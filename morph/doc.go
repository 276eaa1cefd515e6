// Package morph learns from two samples, a simulated and a measured one whose events are not paired, how to move every simulated event so that the
// sample follows the law of the data in all features and their correlations.
//
// The way of a training: [Config] (YAML) says what is read; [Config.Load] streams both samples into tables; signed weights become positive ([FitPositive]);
// the conditions of the simulation are weighted to those of the data ([FitReweighter]); an [Encoder], fitted on training rows, puts features and conditions
// into the space of the network; a flow of package flows learns both samples ([Train]) under bounds on physical quantities (package mdmm). The result is a
// [Model], one file, whose [Model.Apply] writes morphed ntuples without holding them in memory.
//
// Methods and formulas: docs/methods.md. Files: docs/formats.md.
package morph
