// Package flows has bijectors, conditioners, base distributions and normalizing flows on the project's engine. It knows nothing of physics.
//
// Conventions:
//
//	Forward   x → z, the density direction; Encode is Forward, Decode is Inverse
//	log-det   ln|det J| of the direction that was run
//	shapes    rows are events: x, z (N, D); context c (N, C), C may be 0; log-det (N). Public slices are row-major
//	domain    splines act on [−bound, bound], bound 5 by default, and are the identity outside: standardise first
//
// A bijector bounds its own parameters: no finite input, however extreme, gives NaN or Inf. A named flow (MAF, NSF) is a short
// recipe of public parts. Gradients flow through both directions, those of a Decode by an implicit solve: one incremental pass by group.
package flows
