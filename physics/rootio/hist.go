package rootio

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"sort"
	"strings"

	"go-hep.org/x/hep/groot/rbytes"
	"go-hep.org/x/hep/groot/rhist"
	"go-hep.org/x/hep/groot/root"
	"go-hep.org/x/hep/hbook"

	"hepmorph/internal/atomicfile"
)

// Hist is a histogram with one or two axes. A profile is one whose contents are means and whose SumW2 are squared errors.
//
// Contents and SumW2 include underflow and overflow: cell 0 is the underflow, n+1 the overflow; with two axes the cell of bins
// (i, j) is i + (nx+2) j, as in ROOT. SumW2 may be nil: then the errors are those of counts.
type Hist struct {
	Name, Title            string
	XTitle, YTitle, ZTitle string
	XEdges, YEdges         []float64 // increasing; YEdges nil for one axis
	Contents, SumW2        []float64
	Entries                int64
}

func (h *Hist) check() error {
	n := 1
	for i, e := range [][]float64{h.XEdges, h.YEdges} {
		if i == 1 && e == nil {
			break
		}
		if len(e) < 2 || !sort.Float64sAreSorted(e) || e[0] >= e[len(e)-1] || math.IsInf(e[0], 0) || math.IsInf(e[len(e)-1], 0) {
			return fmt.Errorf("rootio: could not write histogram %q: edges of axis %d do not increase", h.Name, i)
		}
		n *= len(e) + 1
	}
	if len(h.Contents) != n || h.SumW2 != nil && len(h.SumW2) != n {
		return fmt.Errorf("rootio: could not write histogram %q: %d contents and %d squared sums for %d cells", h.Name, len(h.Contents), len(h.SumW2), n)
	}
	return nil
}

// uniform reports whether edges are equidistant up to rounding.
func uniform(e []float64) bool {
	n := float64(len(e) - 1)
	w := (e[len(e)-1] - e[0]) / n
	for i, x := range e {
		if math.Abs(x-(e[0]+w*float64(i))) > 1e-9*w {
			return false
		}
	}
	return true
}

// member returns the pointer to a data member of a groot object, nil where it has none of that name.
func member(o any, name string) any {
	m, ok := o.(interface{ RMembers() []rbytes.Member })
	if !ok {
		return nil
	}
	for _, v := range m.RMembers() {
		if v.Name == name {
			return v.Value
		}
	}
	return nil
}

func put[T any](o any, name string, v T) error {
	p, ok := member(o, name).(*T)
	if !ok {
		return fmt.Errorf("rootio: the encoder has no member %s of type %T", name, v)
	}
	*p = v
	return nil
}

// object makes the ROOT object. The statistics leave out underflow and overflow, as ROOT's do, and take bin centres.
func (h *Hist) object() (root.Object, error) {
	if err := h.check(); err != nil {
		return nil, err
	}
	var o root.Object
	nx := len(h.XEdges) - 1
	ny := 0
	if h.YEdges == nil {
		b := hbook.NewH1DFromEdges(h.XEdges)
		b.Annotation()["name"], b.Annotation()["title"] = h.Name, rootText(h.Title)
		o = rhist.NewH1DFrom(b)
	} else {
		ny = len(h.YEdges) - 1
		b := hbook.NewH2DFromEdges(h.XEdges, h.YEdges)
		b.Annotation()["name"], b.Annotation()["title"] = h.Name, rootText(h.Title)
		o = rhist.NewH2DFrom(b)
	}
	sumw2 := h.SumW2
	if sumw2 == nil {
		sumw2 = make([]float64, len(h.Contents))
		for i, c := range h.Contents {
			sumw2[i] = math.Abs(c)
		}
	}
	var s struct{ w, w2, wx, wx2, wy, wy2, wxy float64 }
	for j := 1; j <= max(1, ny); j++ {
		y, at := 0.0, 0
		if ny > 0 {
			y, at = (h.YEdges[j-1]+h.YEdges[j])/2, (nx+2)*j
		}
		for i := 1; i <= nx; i++ {
			x, c := (h.XEdges[i-1]+h.XEdges[i])/2, h.Contents[at+i]
			s.w, s.w2 = s.w+c, s.w2+sumw2[at+i]
			s.wx, s.wx2 = s.wx+c*x, s.wx2+c*x*x
			s.wy, s.wy2, s.wxy = s.wy+c*y, s.wy2+c*y*y, s.wxy+c*x*y
		}
	}
	errs := []error{
		put(o, "fArray", append([]float64(nil), h.Contents...)), put(o, "fSumw2", append([]float64(nil), sumw2...)),
		put(o, "fEntries", float64(h.Entries)), put(o, "fTsumw", s.w), put(o, "fTsumw2", s.w2), put(o, "fTsumwx", s.wx), put(o, "fTsumwx2", s.wx2),
	}
	if ny > 0 {
		errs = append(errs, put(o, "fTsumwy", s.wy), put(o, "fTsumwy2", s.wy2), put(o, "fTsumwxy", s.wxy))
	}
	for _, a := range []struct {
		name, title string
		edges       []float64
	}{{"fXaxis", h.XTitle, h.XEdges}, {"fYaxis", h.YTitle, h.YEdges}, {"fZaxis", h.ZTitle, nil}} {
		axis := member(o, a.name)
		errs = append(errs, put(axis, "fTitle", rootText(a.title)))
		if a.edges != nil && uniform(a.edges) {
			errs = append(errs, put(axis, "fXbins", []float64(nil)))
		}
	}
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return o, nil
}

// Hist writes a histogram into a folder of the file ("" is the top).
func (f *File) Hist(dir string, h Hist) error {
	o, err := h.object()
	if err != nil {
		return err
	}
	return f.put(strings.Trim(dir+"/"+h.Name, "/"), o)
}

// put writes an object under a path.
func (f *File) put(path string, o root.Object) error {
	d, name, err := f.dir(path)
	if err != nil {
		return err
	}
	err = guarded("write", f.path, fmt.Sprintf("%q", path), func() error { return d.Put(name, o) })
	if err != nil {
		return f.fail(&atomicfile.Error{Path: f.path, Err: err})
	}
	return nil
}

// WriteHists writes a file of histograms, folder by folder in the order of their names.
func WriteHists(path string, hists map[string][]Hist) error {
	f, err := Create(path, WriteOptions{})
	if err != nil {
		return err
	}
	defer f.Abort()
	for _, dir := range sorted(hists) {
		for _, h := range hists[dir] {
			if err := f.Hist(dir, h); err != nil {
				return err
			}
		}
	}
	return f.Close()
}

func sorted[T any](m map[string]T) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	sort.Strings(out)
	return out
}

// WriteYODA writes the histograms of one axis as YODA text, for Rivet and its plots. Those of two axes are left out.
func WriteYODA(path string, hists map[string][]Hist) error {
	return atomicfile.Write(path, func(w io.Writer) error {
		b := bufio.NewWriter(w)
		for _, dir := range sorted(hists) {
			for _, h := range hists[dir] {
				if err := h.check(); err != nil {
					return err
				}
				if h.YEdges == nil {
					h.yoda(b, "/"+strings.Trim(dir+"/"+h.Name, "/"))
				}
			}
		}
		return b.Flush()
	})
}

func (h *Hist) yoda(w io.Writer, path string) {
	n := len(h.XEdges) - 1
	row := func(lo, hi string, i int, x float64) {
		c := h.Contents[i]
		w2 := math.Abs(c)
		if h.SumW2 != nil {
			w2 = h.SumW2[i]
		}
		entries := 0.0
		if w2 > 0 {
			entries = math.Round(c * c / w2) // the effective number: the format wants whole numbers
		}
		fmt.Fprintf(w, "%s\t%s\t%e\t%e\t%e\t%e\t%.0f\n", lo, hi, c, w2, c*x, c*x*x, entries)
	}
	var sum, sum2, sumx, sumx2 float64
	for i, c := range h.Contents {
		x := 0.0
		if i > 0 && i <= n {
			x = (h.XEdges[i-1] + h.XEdges[i]) / 2
		}
		w2 := math.Abs(c)
		if h.SumW2 != nil {
			w2 = h.SumW2[i]
		}
		sum, sum2, sumx, sumx2 = sum+c, sum2+w2, sumx+c*x, sumx2+c*x*x
	}
	mean := 0.0
	if sum != 0 {
		mean = sumx / sum
	}
	fmt.Fprintf(w, "BEGIN YODA_HISTO1D_V2 %s\nPath: %s\nTitle: %q\nType: Histo1D\nXLabel: %q\nYLabel: %q\n---\n", path, path, h.Title, h.XTitle, h.YTitle)
	fmt.Fprintf(w, "# Mean: %e\n# Area: %e\n# ID\t ID\t sumw\t sumw2\t sumwx\t sumwx2\t numEntries\n", mean, sum)
	fmt.Fprintf(w, "Total   \tTotal   \t%e\t%e\t%e\t%e\t%d\n", sum, sum2, sumx, sumx2, h.Entries)
	row("Underflow", "Underflow", 0, 0)
	row("Overflow", "Overflow", n+1, 0)
	fmt.Fprintln(w, "# xlow\t xhigh\t sumw\t sumw2\t sumwx\t sumwx2\t numEntries")
	for i := 1; i <= n; i++ {
		row(fmt.Sprintf("%e", h.XEdges[i-1]), fmt.Sprintf("%e", h.XEdges[i]), i, (h.XEdges[i-1]+h.XEdges[i])/2)
	}
	fmt.Fprint(w, "END YODA_HISTO1D_V2\n\n")
}

// rootNames are the letters that ROOT's own text drawing knows by name only.
var rootNames = strings.NewReplacer(
	"α", "#alpha", "β", "#beta", "γ", "#gamma", "δ", "#delta", "ε", "#epsilon", "η", "#eta", "θ", "#theta", "κ", "#kappa", "λ", "#lambda",
	"μ", "#mu", "ν", "#nu", "π", "#pi", "ρ", "#rho", "σ", "#sigma", "τ", "#tau", "φ", "#phi", "χ", "#chi", "ψ", "#psi", "ω", "#omega",
	"Γ", "#Gamma", "Δ", "#Delta", "Λ", "#Lambda", "Σ", "#Sigma", "Φ", "#Phi", "Ω", "#Omega", "→", "#rightarrow", "×", "#times", "±", "#pm",
	"∞", "#infty", "≤", "#leq", "≥", "#geq", "²", "^{2}", "√", "#sqrt", "−", "-",
)

// rootText puts a text with Greek letters into ROOT's notation.
func rootText(s string) string { return rootNames.Replace(s) }
