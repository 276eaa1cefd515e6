// Package rootio is the only door of hepmorph to ROOT files: it reads trees as columns in row ranges, copies a tree and
// adds branches, and writes trees and histograms that ROOT, uproot and jsroot read without a warning.
//
// Reading never trusts a file. A branch has the type that the file says ([Kind]) and is converted; what can't be read
// (RNTuple, experiment classes, damaged records) ends in an [*Error] that names the file and the object in it. With
// [Options.Guard] the file is decoded in a re-executed child with memory and time limits, because some damage ends the
// process that meets it: the program must call [MaybeChild] first in main.
//
// Writing is atomic: a file appears under its name when it is whole, reopened and counted, or not at all.
//
// What is written differs from what groot alone would write, where that is wrong: baskets are made here, because groot's
// lose those that compression leaves at their length; each class layout is in a file once, because ROOT crashes on a second;
// vectors and texts have the class, version and leaf type that ROOT gives them, because uproot reads others as arrays of
// shorts; branches keep their documentation; all branches of a tree begin a new basket at the same rows, so that ROOT can read
// a tree with several threads. testdata has scripts that compare a written file with its input by uproot, jsroot and ROOT.
//
// One row of a batch is one entry of the tree. A column is stored in one flat slice; arrays and vectors carry the offsets
// of their rows ([Values]).
package rootio
