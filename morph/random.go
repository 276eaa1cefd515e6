package morph

// random reports whether the encoding of some feature draws random numbers: atoms, integers, truncated floats.
func (e *Encoder) random() bool {
	for i := range e.Features {
		f := &e.Features[i]
		if len(f.Atoms) > 0 || f.Grid.active() {
			return true
		}
	}
	return false
}
