package geometry

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// The binning file of the CaloChallenge: one Bin a particle, one Layer a layer of the detector; r_edges="0" is a layer without
// voxels.
type xmlBins struct {
	XMLName xml.Name `xml:"Bins"`
	Bins    []xmlBin `xml:"Bin"`
}

type xmlBin struct {
	PID    int        `xml:"pid,attr"`
	EtaMin string     `xml:"etaMin,attr,omitempty"`
	EtaMax string     `xml:"etaMax,attr,omitempty"`
	Name   string     `xml:"name,attr"`
	Layers []xmlLayer `xml:"Layer"`
}

type xmlLayer struct {
	ID     int    `xml:"id,attr"`
	REdges string `xml:"r_edges,attr"`
	Alpha  int    `xml:"n_bin_alpha,attr"`
}

const maxXML = 4 << 20

// ReadXMLFile reads a binning file; see ReadXML.
func ReadXMLFile(path, particle string) (*Geometry, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("geometry: could not read %q: %w", path, err)
	}
	defer f.Close()
	g, err := ReadXML(f, particle)
	if err != nil {
		return nil, fmt.Errorf("geometry: could not read %q: %w", path, err)
	}
	return g, nil
}

// ReadXML reads the published geometry description. particle (photon, pion, electron) picks a Bin; empty picks the only
// one. The threshold is that of dataset 1 for photons and pions and that of datasets 2 and 3 for electrons. The error names
// the layer that is wrong.
func ReadXML(r io.Reader, particle string) (*Geometry, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxXML+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxXML {
		return nil, fmt.Errorf("binning file of more than %d MB", maxXML>>20)
	}
	var doc xmlBins
	if err := xml.NewDecoder(bytes.NewReader(b)).Decode(&doc); err != nil {
		return nil, fmt.Errorf("not a binning file: %w", err)
	}
	var names []string
	var found *xmlBin
	for i := range doc.Bins {
		names = append(names, doc.Bins[i].Name)
		if doc.Bins[i].Name == particle || (particle == "" && len(doc.Bins) == 1) {
			if found != nil {
				return nil, fmt.Errorf("two bins of particle %q", particle)
			}
			found = &doc.Bins[i]
		}
	}
	if found == nil {
		return nil, fmt.Errorf("no bin of particle %q: the file has %s", particle, strings.Join(names, ", "))
	}
	var layers []Layer
	for _, l := range found.Layers {
		if strings.TrimSpace(l.REdges) == "0" {
			continue
		}
		var edges []float64
		for _, s := range strings.Split(l.REdges, ",") {
			e, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
			if err != nil {
				return nil, fmt.Errorf("layer %d: radial edge %q: %w", l.ID, s, errors.Unwrap(err))
			}
			edges = append(edges, e)
		}
		layers = append(layers, Layer{l.ID, edges, l.Alpha})
	}
	threshold := ThresholdDS1
	if found.Name == "electron" {
		threshold = ThresholdDS2
	}
	return New(found.Name, found.Name, found.PID, threshold, layers)
}

// WriteXML writes a geometry as a binning file. Its name and threshold are not part of the format.
func WriteXML(w io.Writer, g *Geometry) error {
	bin := xmlBin{PID: g.PDG, Name: g.Particle}
	next := 0
	for _, l := range g.Layers {
		for ; next < l.ID; next++ {
			bin.Layers = append(bin.Layers, xmlLayer{ID: next, REdges: "0", Alpha: 1})
		}
		next = l.ID + 1
		var edges []string
		for _, e := range l.REdges {
			edges = append(edges, strconv.FormatFloat(e, 'g', -1, 64))
		}
		bin.Layers = append(bin.Layers, xmlLayer{l.ID, strings.Join(edges, ","), l.Alpha})
	}
	b, err := xml.MarshalIndent(xmlBins{Bins: []xmlBin{bin}}, "", "  ")
	if err != nil {
		return err
	}
	_, err = w.Write(append(b, '\n'))
	return err
}
