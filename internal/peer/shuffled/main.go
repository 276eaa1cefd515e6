// Command shuffled compares the separation powers of generated showers with those of showers whose layers were shuffled among events:
//
//	go run ./internal/peer/shuffled REFERENCE GENERATED TRUTH
//
// The three files are showers of one geometry. The layers of TRUTH are exchanged, each layer by a permutation of its own, which leaves the distribution of all
// that concerns a single layer as it is: over all energies only E_tot/E_inc shows it. So the powers are also taken in three ranges of the incident
// energy, equally filled by the reference, and averaged. It fails if a generated power is not below that of the shuffled showers there.
package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"text/tabwriter"

	"hepmorph/calo"
	"hepmorph/calo/geometry"
	"hepmorph/internal/rng"
	"hepmorph/validation/metric"
)

const ranges = 3

func main() {
	err := errors.New("shuffled: three files are expected: reference, generated, truth")
	if len(os.Args) == 4 {
		err = compare(os.Args[1], os.Args[2], os.Args[3])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// read takes all showers of a file.
func read(path string) (*calo.Showers, error) {
	f, err := geometry.Open(context.Background(), path, nil)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	s := &calo.Showers{Geo: f.Geometry, Incident: make([]float64, f.N), Voxels: make([]float32, int(f.N)*f.Geometry.Voxels())}
	return s, f.Read(0, f.N, s.Incident, s.Voxels, nil)
}

// shuffle exchanges the layers of showers.
func shuffle(s *calo.Showers) *calo.Showers {
	out := &calo.Showers{Geo: s.Geo, Incident: s.Incident, Voxels: make([]float32, len(s.Voxels))}
	from := make([]int32, s.Len())
	for l := range s.Geo.Layers {
		stream := rng.NewKey(1, "shuffled layers").At(uint64(l))
		stream.Perm(from)
		lo, hi := s.Geo.Span(l)
		for i, k := range from {
			copy(out.Shower(i)[lo:hi], s.Shower(int(k))[lo:hi])
		}
	}
	return out
}

// within are the showers with incident energies in [lo,hi).
func within(s *calo.Showers, lo, hi float64) *calo.Showers {
	out := &calo.Showers{Geo: s.Geo}
	for i, e := range s.Incident {
		if e >= lo && e < hi {
			out.Incident, out.Voxels = append(out.Incident, e), append(out.Voxels, s.Shower(i)...)
		}
	}
	return out
}

// powers are the official separation powers and that of the spectrum of the voxels, with their names.
func powers(ref, x *calo.Showers) (names []string, values []float64, err error) {
	r, err := calo.Measure(ref, 0)
	if err != nil {
		return nil, nil, err
	}
	g, err := calo.Measure(x, 0)
	if err != nil {
		return nil, nil, err
	}
	for _, s := range calo.Separations(r, g) {
		names, values = append(names, s.Group), append(values, s.Value)
	}
	edges := make([]float64, 51)
	lo, hi := max(ref.Geo.Threshold, 1e-6), float64(slices.Max(ref.Voxels))
	for i := range edges {
		edges[i] = lo * math.Pow(hi/lo, float64(i)/float64(len(edges)-1))
	}
	spectrum := func(s *calo.Showers) []float64 {
		v := make([]float64, len(s.Voxels))
		for i, x := range s.Voxels {
			v[i] = float64(x)
		}
		return metric.Histogram(v, nil, edges)
	}
	return append(names, "voxel"), append(values, metric.Separation(spectrum(ref), spectrum(x))), nil
}

func compare(reference, generated, truth string) error {
	var s [3]*calo.Showers
	for i, path := range []string{reference, generated, truth} {
		var err error
		if s[i], err = read(path); err != nil {
			return err
		}
		if s[i].Geo.Voxels() != s[0].Geo.Voxels() || s[i].Len() < 10*ranges {
			return fmt.Errorf("shuffled: could not compare %q: %d showers of %d voxels", path, s[i].Len(), s[i].Geo.Voxels())
		}
	}
	ref, others := s[0], []*calo.Showers{s[1], shuffle(s[2]), s[2]}
	edges := slices.Sorted(slices.Values(ref.Incident))
	var names []string
	var all, mean [3][]float64
	for k, x := range others {
		var err error
		if names, all[k], err = powers(ref, x); err != nil {
			return err
		}
		mean[k] = make([]float64, len(names))
		for j := range ranges {
			lo, hi := edges[j*len(edges)/ranges], math.Inf(1)
			if j == 0 {
				lo = 0
			}
			if j < ranges-1 {
				hi = edges[(j+1)*len(edges)/ranges]
			}
			_, values, err := powers(within(ref, lo, hi), within(x, lo, hi))
			if err != nil {
				return err
			}
			for i, v := range values {
				mean[k][i] += v / ranges
			}
		}
	}
	t := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "1e-3\tgenerated\tshuffled\ttruth\tgenerated\tshuffled\ttruth\t(first three: all energies)")
	worse := 0
	for i, name := range names {
		fmt.Fprintf(t, "%s", name)
		for _, v := range []*[3][]float64{&all, &mean} {
			for k := range others {
				fmt.Fprintf(t, "\t%.3g", 1e3*v[k][i])
			}
		}
		fmt.Fprintln(t)
		if !(mean[0][i] < mean[1][i]) {
			worse++
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if worse > 0 {
		return fmt.Errorf("shuffled: %d powers of the generated showers are not below those of shuffled ones", worse)
	}
	return nil
}
