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
// One row of a batch is one entry of the tree. A column is stored in one flat slice; arrays and vectors carry the offsets
// of their rows ([Values]).
package rootio
