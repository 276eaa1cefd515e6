// Package physics says what an event is: named columns with units and roles ([Table]), expressions over the branches of an
// ntuple ([Compile]), selections with their cut flow ([Load]), diphoton kinematics, and presets for known layouts ([Preset]).
//
// Units are those of the input, GeV unless a preset says otherwise; angles are in rad. Columns are float64, identifiers
// (run, event) exact uint64. A row of a table is an event or one element of a collection, and knows its entry in the chain.
package physics
