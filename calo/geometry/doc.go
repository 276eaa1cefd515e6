// Package geometry says where the voxels of a calorimeter are, and reads and writes files of showers.
//
// A geometry is a stack of layers, each cut into rings in r and sectors in alpha around the axis of the incoming particle. The
// voxels of a shower stand one after another, r fastest, then alpha, then layer, as in the CaloChallenge files
// (arXiv:2410.21611). Energies are in MeV, lengths in mm.
//
//	g, err := geometry.Lookup("ds2")                 // 45 layers × 16 sectors × 9 rings = 6480 voxels
//	r, err := geometry.Open("dataset_2_1.hdf5", g)   // HDF5 or ROOT
//	err = r.Read(lo, hi, energies, voxels)
//
// Built in are the geometries of CaloChallenge datasets 1 (photons, pions), 2 and 3, and "mini", dataset 2 with three layers
// and two sectors summed. Others come from the challenge's binning files (ReadXML).
package geometry
