package geometry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"

	"hepmorph/internal/hdf5"
	"hepmorph/physics/rootio"
)

// Names inside shower files. HDF5: datasets. ROOT: branches of the tree "showers", an array of fixed length a shower.
const (
	energiesSet = "incident_energies"
	showersSet  = "showers"
	layersSet   = "layer_energies"

	showersTree    = "showers"
	energyBranch   = "incident_energy"
	showerBranch   = "shower"
	layersBranch   = "layer_energies"
	blockBytes     = 16 << 20 // of voxels that are held at a time
	maxShowersFile = int64(1) << 40
)

// ErrShape marks a file that is sound but does not hold showers of the geometry.
var ErrShape = errors.New("not showers of this geometry")

// A Reader reads showers by ranges; it never holds a file. Safe for concurrent use.
type Reader struct {
	Path      string
	Geometry  *Geometry
	N         int64 // showers
	HasLayers bool  // the file also holds layer energies

	h5                       *hdf5.File
	energies, showers, layer *hdf5.Dataset
	root                     *rootio.Chain
	ctx                      context.Context
}

// Open opens a shower file, HDF5 or ROOT, by its first bytes. A nil geometry is guessed from the number of voxels. Errors match
// ErrShape or ErrUnknown if the file is sound but has other contents, else those of hdf5 and rootio.
func Open(ctx context.Context, path string, g *Geometry) (*Reader, error) {
	return OpenWith(ctx, path, g, rootio.Options{})
}

// OpenWith is Open with options for ROOT files, e.g. to decode them in a guarded child.
func OpenWith(ctx context.Context, path string, g *Geometry, opt rootio.Options) (*Reader, error) {
	r := &Reader{Path: path, Geometry: g, ctx: ctx}
	isRoot, err := startsLikeROOT(path)
	if err != nil {
		return nil, fmt.Errorf("geometry: could not open %q: %w", path, err)
	}
	voxels := int64(0)
	if isRoot {
		voxels, err = r.openROOT(opt)
	} else {
		voxels, err = r.openHDF5()
	}
	if err == nil && r.Geometry == nil {
		r.Geometry, err = Guess(int(min(voxels, maxVoxels+1)))
	}
	if err == nil && voxels != int64(r.Geometry.Voxels()) {
		err = fmt.Errorf("geometry: could not read %q: %d voxels a shower, %v expected: %w", path, voxels, r.Geometry, ErrShape)
	}
	if err == nil && r.HasLayers && r.layerCount() != int64(len(r.Geometry.Layers)) {
		err = fmt.Errorf("geometry: could not read %q: %d layer energies a shower, %v expected: %w", path, r.layerCount(), r.Geometry, ErrShape)
	}
	if err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

func startsLikeROOT(path string) (bool, error) {
	f, err := os.Open(path)
	if err != nil {
		var pe *os.PathError
		if errors.As(err, &pe) {
			err = pe.Err
		}
		return false, err
	}
	defer f.Close()
	var b [4]byte
	if _, err := io.ReadFull(f, b[:]); err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return false, err
	}
	return string(b[:]) == "root", nil
}

func (r *Reader) openHDF5() (voxels int64, err error) {
	if r.h5, err = hdf5.Open(r.Path); err != nil {
		return 0, err
	}
	if r.energies, err = r.h5.Dataset(energiesSet); err != nil {
		return 0, err
	}
	if r.showers, err = r.h5.Dataset(showersSet); err != nil {
		return 0, err
	}
	if r.h5.Has(layersSet) {
		if r.layer, err = r.h5.Dataset(layersSet); err != nil {
			return 0, err
		}
		r.HasLayers = true
	}
	r.N = r.showers.Rows()
	fail := func(format string, args ...any) (int64, error) {
		return 0, fmt.Errorf("geometry: could not read %q: %s: %w", r.Path, fmt.Sprintf(format, args...), ErrShape)
	}
	switch {
	case r.energies.Width() != 1:
		return fail("%s has %d columns, one expected", energiesSet, r.energies.Width())
	case r.energies.Rows() != r.N:
		return fail("%d incident energies for %d showers", r.energies.Rows(), r.N)
	case r.HasLayers && r.layer.Rows() != r.N:
		return fail("layer energies of %d showers for %d showers", r.layer.Rows(), r.N)
	case r.N > maxShowersFile:
		return fail("%d showers", r.N)
	}
	return r.showers.Width(), nil
}

func (r *Reader) openROOT(opt rootio.Options) (voxels int64, err error) {
	if r.root, err = rootio.Open(r.ctx, []string{r.Path}, showersTree, opt); err != nil {
		return 0, err
	}
	r.N = r.root.Entries()
	kinds := r.root.Kinds()
	_, r.HasLayers = kinds[layersBranch]
	for _, name := range []string{energyBranch, showerBranch, layersBranch} {
		k, ok := kinds[name]
		switch {
		case !ok && name == layersBranch:
		case !ok:
			return 0, fmt.Errorf("geometry: could not read %q: tree %q has no branch %q: %w", r.Path, showersTree, name, ErrShape)
		case !k.Elem.Numeric() || (k.Form != rootio.Fixed && name != energyBranch) || (k.Form != rootio.Scalar && name == energyBranch):
			return 0, fmt.Errorf("geometry: could not read %q: tree %q: branch %q is %v: %w", r.Path, showersTree, name, k, ErrShape)
		}
	}
	return int64(kinds[showerBranch].Len), nil
}

func (r *Reader) layerCount() int64 {
	if r.layer != nil {
		return r.layer.Width()
	}
	return int64(r.root.Kinds()[layersBranch].Len)
}

// Close releases the file.
func (r *Reader) Close() error {
	if r.root != nil {
		return r.root.Close()
	}
	if r.h5 != nil {
		return r.h5.Close()
	}
	return nil
}

// Read fills showers lo..hi-1: their incident energies, voxels (row-major) and layer energies, in MeV. Slices may be nil
// if they are not wanted; else they must fit. Layer energies that the file does not hold are sums of the voxels.
func (r *Reader) Read(lo, hi int64, energies []float64, voxels []float32, layers []float64) error {
	n := hi - lo
	nv, nl := int64(r.Geometry.Voxels()), int64(len(r.Geometry.Layers))
	if lo < 0 || n < 0 || hi > r.N || (energies != nil && int64(len(energies)) != n) || (voxels != nil && int64(len(voxels)) != n*nv) || (layers != nil && int64(len(layers)) != n*nl) {
		return fmt.Errorf("geometry: could not read %q: showers %d to %d of %d, slices of %d energies, %d voxels, %d layers", r.Path, lo, hi, r.N, len(energies), len(voxels), len(layers))
	}
	if n == 0 {
		return nil
	}
	sums := layers != nil && !r.HasLayers
	if sums && voxels == nil {
		voxels = make([]float32, n*nv)
	}
	var err error
	if r.root != nil {
		err = r.readROOT(lo, hi, energies, voxels, layers)
	} else {
		err = r.readHDF5(lo, hi, energies, voxels, layers)
	}
	if err == nil && sums {
		for i := range n {
			r.Geometry.LayerSums(layers[i*nl:(i+1)*nl], voxels[i*nv:(i+1)*nv])
		}
	}
	return err
}

func (r *Reader) readHDF5(lo, hi int64, energies []float64, voxels []float32, layers []float64) error {
	if energies != nil {
		if err := hdf5.Read(r.energies, lo, hi, energies); err != nil {
			return err
		}
	}
	if voxels != nil {
		if err := hdf5.Read(r.showers, lo, hi, voxels); err != nil {
			return err
		}
	}
	if layers != nil && r.layer != nil {
		return hdf5.Read(r.layer, lo, hi, layers)
	}
	return nil
}

func (r *Reader) readROOT(lo, hi int64, energies []float64, voxels []float32, layers []float64) error {
	var names []string
	if energies != nil {
		names = append(names, energyBranch)
	}
	if voxels != nil {
		names = append(names, showerBranch)
	}
	if layers != nil && r.HasLayers {
		names = append(names, layersBranch)
	}
	nv, nl := int64(r.Geometry.Voxels()), int64(len(r.Geometry.Layers))
	return r.root.Read(r.ctx, names, lo, hi, func(b *rootio.Batch) error {
		at := b.Lo - lo
		for _, name := range names {
			v := b.Cols[name]
			for i := range v.Size() {
				x := v.Float(i)
				switch name {
				case energyBranch:
					energies[at+int64(i)] = x
				case showerBranch:
					voxels[at*nv+int64(i)] = float32(x)
				case layersBranch:
					layers[at*nl+int64(i)] = x
				}
			}
		}
		return nil
	})
}

// Block is a number of showers of the geometry that fits well into memory at a time.
func (g *Geometry) Block() int64 { return int64(max(1, blockBytes/(4*g.Voxels()))) }

// Each reads showers lo..hi-1 block by block and calls f with each block in order: the first shower's number, energies,
// voxels and layer energies. The slices are reused.
func (r *Reader) Each(lo, hi int64, f func(at int64, energies []float64, voxels []float32, layers []float64) error) error {
	block := min(r.Geometry.Block(), max(0, hi-lo))
	nv, nl := int64(r.Geometry.Voxels()), int64(len(r.Geometry.Layers))
	e, v, l := make([]float64, block), make([]float32, block*nv), make([]float64, block*nl)
	for at := lo; at < hi; at += block {
		n := min(block, hi-at)
		if err := r.Read(at, at+n, e[:n], v[:n*nv], l[:n*nl]); err != nil {
			return err
		}
		if err := f(at, e[:n], v[:n*nv], l[:n*nl]); err != nil {
			return err
		}
	}
	return nil
}

// A Writer writes showers in blocks. Not safe for concurrent use.
type Writer struct {
	Geometry *Geometry
	path     string
	layers   bool
	n        int64

	h5                   *hdf5.Writer
	energy, shower, sums *hdf5.Appender
	root                 *rootio.File
	tree                 *rootio.TreeWriter
}

// Create starts a shower file: ROOT if the name ends in .root, else HDF5. With layers it also holds the layer energies that
// were asked for. The file appears when Close succeeds; failures match atomicfile.ErrWrite.
func Create(path string, g *Geometry, layers bool) (*Writer, error) {
	w := &Writer{Geometry: g, path: path, layers: layers}
	var err error
	if strings.EqualFold(filepath.Ext(path), ".root") {
		err = w.createROOT()
	} else {
		err = w.createHDF5()
	}
	if err != nil {
		w.Abort()
		return nil, err
	}
	return w, nil
}

func (w *Writer) createHDF5() (err error) {
	if w.h5, err = hdf5.Create(w.path); err != nil {
		return err
	}
	if w.energy, err = w.h5.Dataset(energiesSet, hdf5.Spec{Type: hdf5.Float64, Width: 1}); err != nil {
		return err
	}
	if w.layers {
		if w.sums, err = w.h5.Dataset(layersSet, hdf5.Spec{Width: int64(len(w.Geometry.Layers))}); err != nil {
			return err
		}
	}
	w.shower, err = w.h5.Dataset(showersSet, hdf5.Spec{Width: int64(w.Geometry.Voxels())})
	return err
}

func fixed(n int) rootio.Kind {
	return rootio.Kind{Elem: rootio.Float32, Form: rootio.Fixed, Len: n}
}

func (w *Writer) createROOT() (err error) {
	if w.root, err = rootio.Create(w.path, rootio.WriteOptions{}); err != nil {
		return err
	}
	cols := []rootio.WriteColumn{
		{Name: energyBranch, Kind: rootio.Kind{Elem: rootio.Float64}, Title: "incident energy in MeV"},
		{Name: showerBranch, Kind: fixed(w.Geometry.Voxels()), Title: "voxel energies in MeV, r fastest, then alpha, then layer"},
	}
	if w.layers {
		cols = append(cols, rootio.WriteColumn{Name: layersBranch, Kind: fixed(len(w.Geometry.Layers)), Title: "layer energies in MeV"})
	}
	w.tree, err = w.root.Tree(showersTree, w.Geometry.Name, cols)
	return err
}

// Write appends showers: energies (N), voxels (N × voxels), and layer energies (N × layers) if the file was created with
// them, else nil. Values must be finite and not negative.
func (w *Writer) Write(energies []float64, voxels []float32, layers []float64) error {
	n, nv, nl := len(energies), w.Geometry.Voxels(), len(w.Geometry.Layers)
	if len(voxels) != n*nv || (w.layers && len(layers) != n*nl) || (!w.layers && layers != nil) {
		return fmt.Errorf("geometry: could not write %q: %d energies, %d voxels, %d layer energies do not fit %v", w.path, n, len(voxels), len(layers), w.Geometry)
	}
	for i, e := range voxels {
		if !(e >= 0) || math.IsInf(float64(e), 1) {
			return fmt.Errorf("geometry: could not write %q: shower %d: voxel %d is %v", w.path, w.n+int64(i/nv), i%nv, e)
		}
	}
	if err := w.append(energies, voxels, layers); err != nil {
		return err
	}
	w.n += int64(n)
	return nil
}

func (w *Writer) append(energies []float64, voxels []float32, layers []float64) error {
	if w.h5 != nil {
		if err := hdf5.Append(w.energy, energies); err != nil {
			return err
		}
		if w.layers {
			if err := hdf5.Append(w.sums, layers); err != nil {
				return err
			}
		}
		return hdf5.Append(w.shower, voxels)
	}
	n := len(energies)
	cols := map[string]*rootio.Values{
		energyBranch: rootio.Float64s(energies),
		showerBranch: {Kind: fixed(w.Geometry.Voxels()), F32: voxels, Off: steps(n, w.Geometry.Voxels())},
	}
	if w.layers {
		nl := len(w.Geometry.Layers)
		f := make([]float32, len(layers))
		for i, e := range layers {
			f[i] = float32(e)
		}
		cols[layersBranch] = &rootio.Values{Kind: fixed(nl), F32: f, Off: steps(n, nl)}
	}
	return w.tree.Write(&rootio.Batch{Lo: w.n, N: n, Cols: cols})
}

func steps(n, width int) []int32 {
	off := make([]int32, n+1)
	for i := range off {
		off[i] = int32(i * width)
	}
	return off
}

// Close completes the file and puts it in place.
func (w *Writer) Close() error {
	if w.h5 != nil {
		return w.h5.Close()
	}
	return w.root.Close()
}

// Abort drops the file; what stood at its path stays. After Close it does nothing.
func (w *Writer) Abort() {
	if w.h5 != nil {
		w.h5.Abort()
	}
	if w.root != nil {
		w.root.Abort()
	}
}
