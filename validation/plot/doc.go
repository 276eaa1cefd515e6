// Package plot draws the figures of a validation report as a paper of a large experiment would print them: closed frames with
// inward ticks on all sides, ratio panels, correlation matrices, profiles, training histories.
//
// A [Figure] is one description; [Save] and [Write] turn it into PNG (200 dpi), PDF or SVG. The package sees numbers only and computes
// no statistics beyond ranges: histograms, errors and ratios' inputs come from the caller.
//
//	quantity        convention
//	lengths         points (1/72 inch) of a figure 16 cm wide; they scale with the figure's width
//	edges, contents len(edges) = len(contents)+1, edges rising
//	errors          lengths of the bars, never half of them (100 entries: ±10)
//	NaN, Inf        a value that is not drawn
//	text            UTF-8 with _{…} and ^{…}, nested as deep as wanted: "p_{T}^{γ_{1}} [GeV]"
//
// Text goes out as filled outlines of Liberation Sans (the metrics of Helvetica), the same in all three formats, without fonts in the
// files. All colours are opaque. The same figure gives the same bytes: no format carries a date.
//
// The drawing is our own from the text down (golang.org/x/image/vector rasterises, sfnt reads the outlines): a figure costs a few
// milliseconds, and an SVG some 20 kB, since each glyph is stored once.
package plot
