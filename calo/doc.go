// Package calo draws calorimeter showers as a detector simulation would: a network draws the energies of the layers, another
// one the voxels, both by conditional flow matching (CaloDREAM, arXiv:2405.09629).
//
// A Codec stands between showers and networks. It turns a shower into an energy vector (what the energy network draws, given
// the incident energy) and a shape vector (what the shape network draws, given incident and layer energies), and back.
// Energies are in MeV; a shower is a row of voxels as in package calo/geometry.
//
//	codec       energy vector                              shape vector
//	calodream   logit u_0..u_{L-1}, standardised           logit of voxels over their layer, standardised voxel by voxel
//	vit4hep     the same                                   the same, one mean and deviation for all filled voxels
//	quantile    E_tot, layer fractions and counts of       voxels through their distribution in that ring at that
//	            filled voxels, each through its            layer energy to a normal number; below the point
//	            distribution at that energy to a           where zeros end, a voxel is empty
//	            normal number
//	moments     the same, and for each layer mean and      the same; decoding tilts the voxels to the moments
//	(default)   variance of the radius, centre and
//	            quadrupole, through theirs at that count
//
// u_0 = E_tot/E_inc and u_i = E_{i-1}/(E_{i-1}+...+E_{L-1}).
//
// With these two codecs every number that a network may produce is a valid one: there is no gap between empty and filled, and
// single distributions are right before any training; the networks learn how the numbers hang together. A layer that has energy
// keeps it: the count says how many voxels are filled, and their sum is the layer's energy to a float32 rounding. What a small network
// learns in a minute, where energy lies on the whole, need not be learned from single voxels.
//
// Networks learn the difference from what would be right if nothing depended on anything (see precondition), and from showers turned and
// mirrored at random; drawn showers are turned and mirrored at random, too.
//
// The energy network is one residual network for the whole energy vector, or a transformer that draws its numbers one after another or all
// at once. The shape network is a vision transformer with adaLN-Zero over patches of layers, sectors and rings; each token also gets the numbers
// of its own layers. An autoencoder of the voxels' numbers, whose decoder is a distribution, may stand between voxels and shape network. All are trained by Train, with a moving average of their
// weights, and drawn from by Model.Generate; Model.Distill fits solvers of few evaluations:
//
//	t, err := calo.Train(ctx, calo.FileSource{File: f, Hi: f.N}, calo.Settings{Budget: 15 * time.Minute}, calo.TrainOptions{Dir: "shower", Clock: clock})
//	err = t.Model.Generate(ctx, calo.LogUniform(1e3, 1e5, 10000, 1), calo.GenerateOptions{}, func(incident []float64, voxels []float32, layers []float64) error { ... })
package calo
