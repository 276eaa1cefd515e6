package flows

import (
	"fmt"
	"math"

	"hepmorph/internal/kernel"
	"hepmorph/internal/modelfile"
	"hepmorph/internal/nn"
)

// ReadZuko makes the flow that a MAF or NSF of zuko 1.6 describes, coupling ones included, from a safetensors file of its state_dict, with
// any order of features. Its parameters are added to ps under the prefix name. Splines have zuko's bound 5, or 1-feature flows an unmasked
// conditioner, as there. Everything is read from the shapes and masks in the file; an error says what is missing or of another kind.
func ReadZuko[T Float](ps *Params[T], path, name string) (*Flow[T], error) {
	f, err := modelfile.ReadPlain(path)
	if err != nil {
		return nil, fmt.Errorf("flows: could not read %q: %w", path, err)
	}
	fl, err := fromZuko(ps, f, name)
	if err != nil {
		return nil, fmt.Errorf("flows: could not use %q: %w", path, err)
	}
	return fl, nil
}

func fromZuko[T Float](ps *Params[T], f *modelfile.File, name string) (*Flow[T], error) {
	loc, err := modelfile.Get[float32](f, "base.loc", -1)
	if err != nil {
		return nil, err
	}
	scale, err := modelfile.Get[float32](f, "base.scale", len(loc))
	if err != nil {
		return nil, err
	}
	for i := range loc {
		if loc[i] != 0 || scale[i] != 1 {
			return nil, fmt.Errorf("its base is not a standard normal")
		}
	}
	fl := &Flow[T]{Params: ps}
	for t := 0; ; t++ {
		prefix := fmt.Sprintf("transform.transforms.%d.hyper.", t)
		if _, err := f.Tensor(prefix + "0.weight"); err != nil {
			if t == 0 {
				return nil, err
			}
			return fl, nil
		}
		b, err := zukoTransform(ps, f, prefix, fmt.Sprintf("%s.%d", name, t), len(loc), t)
		if err != nil {
			return nil, err
		}
		fl.Bijectors = append(fl.Bijectors, b)
	}
}

// zukoTransform reads one masked autoregressive transform of d features.
func zukoTransform[T Float](ps *Params[T], f *modelfile.File, prefix, name string, d, t int) (*Autoregressive[T], error) {
	var weights, biases [][]float32
	var shapes [][]int
	for l := 0; ; l++ {
		key := fmt.Sprintf("%s%d.", prefix, 2*l)
		w, err := f.Tensor(key + "weight")
		if err != nil {
			break
		}
		data, ok := w.Data.([]float32)
		if !ok || len(w.Shape) != 2 {
			return nil, fmt.Errorf("tensor %q holds %T of shape %v, want float32 of 2 dimensions", w.Name, w.Data, w.Shape)
		}
		b, err := modelfile.Get[float32](f, key+"bias", w.Shape[0])
		if err != nil {
			return nil, err
		}
		if l > 0 && w.Shape[1] != shapes[l-1][0] {
			return nil, fmt.Errorf("tensor %q has %d columns for %d units", w.Name, w.Shape[1], shapes[l-1][0])
		}
		weights, biases, shapes = append(weights, data), append(biases, b), append(shapes, w.Shape)
	}
	s := nn.MADESettings{Name: name, Group: make([]int, d), Context: shapes[0][1]}
	if d > 1 {
		order, err := modelfile.Get[int64](f, fmt.Sprintf("transform.transforms.%d.order", t), d)
		if err != nil {
			return nil, err
		}
		for i, g := range order {
			if g < 0 || g >= int64(d) {
				return nil, fmt.Errorf("the order of transform %d is %v", t, order)
			}
			s.Group[i] = int(g)
		}
		s.Context -= d
	}
	last := len(shapes) - 1
	s.Params = shapes[last][0] / d
	if s.Context < 0 || last > 8 || s.Params*d != shapes[last][0] || s.Params < 2 || s.Params%3 != 2 {
		return nil, fmt.Errorf("transform %d has %d layers from %d to %d numbers for %d features, which fits neither affine maps nor splines", t, last+1, shapes[0][1], shapes[last][0], d)
	}
	for _, shape := range shapes[:last] {
		s.Hidden = append(s.Hidden, shape[0])
	}
	if missing := missingGroup(s.Group); missing >= 0 {
		return nil, fmt.Errorf("the order of transform %d has no feature %d", t, missing)
	}
	a := &Autoregressive[T]{Net: nn.NewMADE(ps, s), Map: Affine[T]{}}
	if s.Params > 2 {
		bins := (s.Params + 1) / 3
		if bins > 32 {
			return nil, fmt.Errorf("transform %d has splines of %d bins, more than 32", t, bins)
		}
		a.Map = Spline[T]{kernel.Spline{Bins: bins, Bound: 5}}
	}
	inputs, outputs := make([]int, 0, s.Context+d), make([]int, 0, d*s.Params)
	for i := range s.Context {
		inputs = append(inputs, i)
		if d > 1 {
			inputs[i] += d
		}
	}
	for _, k := range a.Net.Feature {
		inputs = append(inputs, k)
		for r := range s.Params {
			outputs = append(outputs, k*s.Params+r)
		}
	}
	hidden := make([][]int, last)
	for l, n := range s.Hidden {
		for _, j := range nn.UnitOrder(n, a.Net.Groups, s.Context) {
			hidden[l] = append(hidden[l], j)
		}
	}
	if d == 1 { // zuko's conditioner takes the context alone; ours has the feature as a masked input
		inputs[s.Context] = s.Context
		weights[0] = widen(weights[0], shapes[0][0], s.Context)
	}
	err := a.Net.Import(ps, inputs, hidden, outputs, func(l int) []float32 { return weights[l] }, func(l int) []float32 { return biases[l] })
	for _, w := range weights {
		for _, v := range w {
			if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
				return nil, fmt.Errorf("transform %d has weights that are not finite", t)
			}
		}
	}
	return a, err
}

// missingGroup is the first number below the largest that no feature has, or -1.
func missingGroup(group []int) int {
	seen := make([]bool, len(group))
	top := 0
	for _, g := range group {
		seen[g] = true
		top = max(top, g)
	}
	for g := range top {
		if !seen[g] {
			return g
		}
	}
	return -1
}

// widen adds a column of zeros to a matrix.
func widen(w []float32, rows, cols int) []float32 {
	out := make([]float32, rows*(cols+1))
	for i := range rows {
		copy(out[i*(cols+1):], w[i*cols:(i+1)*cols])
	}
	return out
}
