package plot

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"hepmorph/internal/atomicfile"
)

// Formats are the file formats, by extension.
var Formats = []string{"png", "pdf", "svg"}

// Drawing is anything that describes itself as a figure: [Ratio], [Matrix], [Profile], [History], [ROC], [Pulls], [Density], [*Figure].
type Drawing interface{ Figure() *Figure }

// Figure returns the figure itself.
func (f *Figure) Figure() *Figure { return f }

// Render draws d as "png" (200 dpi), "pdf" or "svg". The same figure always gives the same bytes.
func Render(d Drawing, format string) ([]byte, error) {
	f := d.Figure()
	w, h := f.size()
	title := f.Alt
	if title == "" {
		title = f.Title
	}
	var dev device
	switch format {
	case "png":
		dev = newRaster(w, h)
	case "pdf":
		dev = newPDF(w, h, title)
	case "svg":
		dev = newSVG(w, h, title)
	default:
		return nil, fmt.Errorf("plot: could not draw as %q: unknown format (use png, pdf or svg)", format)
	}
	f.draw(dev)
	b, err := dev.bytes()
	if err != nil {
		return nil, fmt.Errorf("plot: could not encode %s: %w", format, err)
	}
	return b, nil
}

// Write draws d as "png", "pdf" or "svg" to w.
func Write(w io.Writer, format string, d Drawing) error {
	b, err := Render(d, format)
	if err != nil {
		return err
	}
	_, err = w.Write(b)
	return err
}

// Save writes a figure to files; their extensions choose the formats. Each file appears whole or not at all.
// Errors: an unknown extension, and those of atomicfile (errors.Is(err, atomicfile.ErrWrite)).
func Save(d Drawing, paths ...string) error {
	for _, p := range paths {
		b, err := Render(d, strings.TrimPrefix(strings.ToLower(filepath.Ext(p)), "."))
		if err != nil {
			return fmt.Errorf("plot: could not save %q: %w", p, err)
		}
		if err := atomicfile.WriteFile(p, b); err != nil {
			return err
		}
	}
	return nil
}
