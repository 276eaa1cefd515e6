// Package ad is the numeric engine: models are described once as a static program of fused operations, then executed forward and
// backward, tile by tile, on persistent workers.
//
//	ps := ad.NewParams[float32]()
//	p := ad.NewProgram(ps)
//	x := p.Input("x", 4)                 // row-major (N,4) when it runs
//	h := nn.Linear(p, ...)               // operations append themselves
//	e := p.Compile(ad.Settings{})        // fixes the buffers
//	e.Run(&ad.Run[float32]{N: 1000, Inputs: []ad.Source[float32]{{Data: rows}}})
//
// A Tensor is opaque: inside a program it lives in panels of 32 rows (package kernel). An item is what a batch counts, an event or a
// shower; a tensor has Rep rows an item (a transformer's tokens), 1 unless said. A tile is a fixed number of items; all buffers are
// sized once for a tile, so that a step makes no garbage. Gradients are summed in a fixed number of shards, each of which owns a
// fixed range of tiles, and the shards are added in order: results do not depend on the number of workers.
//
// A loss that is a sum over items is an operation at the end of the program and a step is one pass. A loss that couples items (MMD,
// moments) splits the step in two: Run with Keep, compute the loss and its cotangents from the outputs, then Back.
//
// There is no eager mode. Programs are generic over float32 (the product) and float64 (gradient checks, exact inverses).
package ad
