package validation

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
)

// Schema is the name and version of metrics.json.
const Schema = "hepmorph.metrics/1"

// Number is a JSON number; NaN and Inf are null. Ten digits are kept.
type Number float64

// MarshalJSON writes a number or null.
func (n Number) MarshalJSON() ([]byte, error) {
	if !finite(float64(n)) {
		return []byte("null"), nil
	}
	v, err := strconv.ParseFloat(strconv.FormatFloat(float64(n), 'g', 10, 64), 64)
	if err != nil {
		return nil, err
	}
	return json.Marshal(v)
}

// UnmarshalJSON reads a number; null becomes NaN.
func (n *Number) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		*n = Number(math.NaN())
		return nil
	}
	var v float64
	if err := json.Unmarshal(b, &v); err != nil {
		return err
	}
	*n = Number(v)
	return nil
}

// Input is a sample that was compared.
type Input struct {
	Role     string `json:"role"`
	Label    string `json:"-"`
	File     string `json:"file"`
	Tree     string `json:"tree"`
	Entries  int64  `json:"entries"`
	Selected int64  `json:"selected"`
	NEff     Number `json:"n_eff"`
}

// Row is one metric of one subject.
//
// Before, After and Reference compare simulation, morphed simulation and the reference with data; Floor is what equal laws would give.
// For tests with a p-value (P, after Holm's correction over all subjects of the metric) Target is the smallest p that passes; for all
// others it is the largest value of After. Pass is nil where nothing is demanded or there is no morphed sample.
type Row struct {
	Name      string `json:"name"`
	Method    string `json:"method"`
	Subject   string `json:"subject"` // in a slice: "subject @ slice"
	Unit      string `json:"unit"`
	N         int64  `json:"n"` // events of the smaller sample
	Before    Number `json:"before"`
	After     Number `json:"after"`
	AfterSD   Number `json:"after_sd"`
	Floor     Number `json:"floor"`
	FloorSD   Number `json:"floor_sd"`
	Reference Number `json:"reference"`
	P         Number `json:"p"`
	Target    Number `json:"target"`
	Pass      *bool  `json:"pass"`

	slice string // part of Subject
	holm  bool   // P takes part in the correction over its subjects
	large bool   // passes in spite of a small p: the difference is too small to matter
}

// Verdict counts the targets that hold and that do not, and names the slice in which the classifier does best.
type Verdict struct {
	Pass  int    `json:"pass"`
	Fail  int    `json:"fail"`
	Worst *Worst `json:"worst_slice,omitempty"` // nil without slices, or where the classifier could not be trained in any
}

// Worst is a slice: the one whose AUC, after the morph if there is one, lies most standard errors above its floor.
type Worst struct {
	Slice  string `json:"slice"`
	Before Number `json:"before"`
	After  Number `json:"after"`
	Floor  Number `json:"floor"`
	Pass   int    `json:"pass"` // targets of the slice
	Fail   int    `json:"fail"`
}

func (w *Worst) String() string {
	if !finite(float64(w.After)) {
		return fmt.Sprintf("%s: AUC %s before, floor %s", w.Slice, format("%.4f", w.Before), format("%.4f", w.Floor))
	}
	return fmt.Sprintf("%s: AUC %s after, floor %s, %d of its %d targets missed", w.Slice, format("%.4f", w.After), format("%.4f", w.Floor), w.Fail, w.Pass+w.Fail)
}

// Report is what Run found; its JSON is metrics.json.
type Report struct {
	Schema  string  `json:"schema"`
	Version string  `json:"version"`
	Seed    uint64  `json:"seed"`
	Inputs  []Input `json:"inputs"`
	Metrics []*Row  `json:"metrics"`
	Verdict Verdict `json:"verdict"`
}

// Find returns the row of a metric, nil if there is none. In a slice the subject is "subject @ slice".
func (r *Report) Find(name, method, subject string) *Row {
	for _, m := range r.Metrics {
		if m != nil && m.Name == name && m.Method == method && m.Subject == subject {
			return m
		}
	}
	return nil
}

// Decode reads a metrics.json. Errors: not JSON, or of another schema.
func Decode(b []byte) (*Report, error) {
	var r Report
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, fmt.Errorf("validation: could not read metrics: %w", err)
	}
	if r.Schema != Schema {
		return nil, fmt.Errorf("validation: could not read metrics: schema %q, this program reads %q", r.Schema, Schema)
	}
	return &r, nil
}

// Encode writes a metrics.json: the same report gives the same bytes.
func (r *Report) Encode() ([]byte, error) {
	b, err := json.MarshalIndent(r, "", " ")
	return append(b, '\n'), err
}
