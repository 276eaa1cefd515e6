package plot

import (
	"image/color"
	"strings"
	"sync"
	"unicode"

	"gonum.org/v1/plot/palette/moreland"
)

// Style is what the caller of a whole report decides once.
type Style struct {
	// Experiment is printed in bold at the upper left. Empty: "hepmorph"; "-": nothing.
	Experiment string
	// Status follows in italics: "Work in progress", "Preliminary", "Simulation". Empty by default.
	Status string
	// Lumi and Energy stand above the frame at the right: "59.8 fb^{-1}", "13 TeV".
	Lumi, Energy string
}

func (s Style) name() string {
	switch s.Experiment {
	case "":
		return "hepmorph"
	case "-":
		return ""
	}
	return s.Experiment
}

func (s Style) corner() string {
	switch {
	case s.Lumi != "" && s.Energy != "":
		return s.Lumi + " (" + s.Energy + ")"
	case s.Energy != "":
		return "(" + s.Energy + ")"
	}
	return s.Lumi
}

// Colours of the figures: opaque, and different in grey too; dashes and marker shapes carry the difference as well.
var (
	Black      = color.RGBA{A: 255}
	Red        = color.RGBA{R: 200, A: 255}
	Blue       = color.RGBA{B: 220, A: 255}
	BlueTint   = color.RGBA{R: 196, G: 200, B: 255, A: 255}
	RedTint    = color.RGBA{R: 255, G: 206, B: 200, A: 255}
	Green      = color.RGBA{R: 0, G: 130, B: 84, A: 255}
	GreenTint  = color.RGBA{R: 190, G: 232, B: 212, A: 255}
	Grey       = color.RGBA{R: 205, G: 205, B: 205, A: 255}
	LightGrey  = color.RGBA{R: 232, G: 232, B: 232, A: 255}
	DarkGrey   = color.RGBA{R: 110, G: 110, B: 110, A: 255}
	GreyTint   = color.RGBA{R: 218, G: 218, B: 218, A: 255}
	petroff    = [...]uint32{0x3f90da, 0xffa90e, 0xbd1f01, 0x94a4a2, 0x832db6, 0xa96b59, 0xe76300, 0xb9ac70, 0x717581, 0x92dadd}
	whiteColor = color.RGBA{R: 255, G: 255, B: 255, A: 255}
)

type rgba = color.RGBA

// Palette returns the i-th of ten colours that colour-blind readers can tell apart (arXiv:2107.02270); it repeats after ten.
func Palette(i int) color.RGBA {
	v := petroff[((i%len(petroff))+len(petroff))%len(petroff)]
	return color.RGBA{R: uint8(v >> 16), G: uint8(v >> 8), B: uint8(v), A: 255}
}

// tint is a colour mixed with white, for bands that need no transparency.
func tint(c color.RGBA, k float64) color.RGBA {
	f := func(v uint8) uint8 { return uint8(255 - k*(255-float64(v))) }
	return color.RGBA{f(c.R), f(c.G), f(c.B), 255}
}

// ramp maps 0…1 to a colour; grey in the middle for diverging ones.
type ramp []color.RGBA

func (r ramp) at(f float64) color.RGBA {
	i := int(f * float64(len(r)))
	return r[max(0, min(len(r)-1, i))]
}

func newRamp(f func(float64) (color.Color, error)) ramp {
	out := make(ramp, 255)
	for i := range out {
		c, err := f(float64(i) / float64(len(out)-1))
		if err != nil {
			continue
		}
		r, g, b, _ := c.RGBA()
		out[i] = color.RGBA{uint8(r >> 8), uint8(g >> 8), uint8(b >> 8), 255}
	}
	return out
}

// ramps are Moreland's blue-grey-red for signed values, and viridis (by its authors in the public domain) for contents: equal steps look
// equal, in grey and to colour-blind readers too.
var ramps = sync.OnceValues(func() (diverging, sequential ramp) {
	d := moreland.SmoothBlueRed()
	d.SetMin(0)
	d.SetMax(1)
	viridis := [...]uint32{0x440154, 0x482878, 0x3e4989, 0x31688e, 0x26828e, 0x1f9e89, 0x35b779, 0x6ece58, 0xb5de2b, 0xfde725}
	return newRamp(d.At), newRamp(func(f float64) (color.Color, error) {
		x := f * float64(len(viridis)-1)
		i := min(int(x), len(viridis)-2)
		t, a, b := x-float64(i), viridis[i], viridis[i+1]
		mix := func(shift uint) uint8 {
			return uint8((1-t)*float64(a>>shift&255) + t*float64(b>>shift&255) + 0.5)
		}
		return color.RGBA{mix(16), mix(8), mix(0), 255}, nil
	})
})

// printable is a text without the marks of scripts, for titles and alternative texts.
func printable(s string) string {
	s = strings.NewReplacer("_{", "", "^{", "", "}", "").Replace(s)
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == unicode.ReplacementChar {
			return -1
		}
		return r
	}, s)
}
