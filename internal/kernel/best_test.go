package kernel

func fastSets() []*Set[float32] { return nil }
