// Package metric compares two samples: by how much do they differ, and is that more than statistics allows?
//
// It sees arrays and weights only. One column is []float64, several are [][]float64 as [column][row]; weights may be nil
// (all 1) and, wherever it makes sense, negative: generator weights enter sums as they are. Samples are normalised, so
// only ratios of weights matter. By convention the first sample is simulation or morphed simulation, the second ("data",
// the reference) fixes units, bin edges and bandwidths.
//
//	one column     W1, KS, Chi2, Chi2Edges, Ratios, Moments, Profile
//	matrices       Pearson, Spearman, CompareCorr
//	all columns    ClassifierTest, MMDTest, EnergyTest, SlicedW1
//	event maps     Transport, TransportBound, Dependence
//	weights        NEff, Reweight, Isotonic
//	many tests     Holm
//	showers        FPD, KPD, PRDC, OutOfFold, JensenShannon
//
// A distance is never 0 between finite samples, so each has a floor: what two samples of one law show at the same sizes
// (Floors, FloorCorr, FloorSlicedW1, ClassifierFloor). Definitions follow arXiv:2504.12343's companions as collected in
// the project's notes; the classifier test repeats, with own trees, what an independent judge does with xgboost.
//
// Results do not depend on the number of threads, random numbers are addressed by a seed. NaN values are left out
// together with their weight by functions of one column; the matrix functions and the classifier take them as the
// function says.
package metric
