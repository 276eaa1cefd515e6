package calo

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// Levels of the targets, from the least to the most that is asked for.
func Levels() []string { return []string{"must", "good", "stretch"} }

// demand is the largest value of a metric that passes at each level: At, added to the floor where Above says so, or so many times the floor.
type demand struct {
	name, method string
	subjects     []string // nil: all
	above, times bool
	at           [3]float64
}

// targets are those of the project for a generator of the mini geometry; AUCs of the same size are expected of others.
var targets = []demand{
	{"auc", "gbdt", []string{"layer energies"}, false, false, [3]float64{0.65, 0.57, 0.54}},
	{"auc", "gbdt", []string{"high-level features"}, false, false, [3]float64{0.80, 0.65, 0.58}},
	{"auc", "mlp", []string{"voxels"}, false, false, [3]float64{0.85, 0.70, 0.60}},
	{"separation", "official", []string{"E_tot/E_inc", "E_layer"}, true, false, [3]float64{1e-2, 3e-3, 1e-3}},
	{"separation", "official", []string{"EC_eta", "EC_phi", "EC_r", "W_eta", "W_phi", "W_r"}, true, false, [3]float64{2e-2, 5e-3, 2e-3}},
	{"fpd", "jetnet", nil, false, true, [3]float64{100, 10, 3}},
	{"below_threshold", "count", nil, false, false, [3]float64{}},
	{"negative", "count", nil, false, false, [3]float64{}},
	{"not_finite", "count", nil, false, false, [3]float64{}},
}

// level is a number of Levels.
type level int

// demands finds a level by its name; "" is good.
func demands(name string) (level, error) {
	if name == "" {
		name = "good"
	}
	k := slices.Index(Levels(), name)
	if k < 0 {
		return 0, fmt.Errorf("calo: could not find targets %q: there are %s: %w", name, strings.Join(Levels(), ", "), ErrSettings)
	}
	return level(k), nil
}

// of is the target of a metric, NaN where nothing is demanded.
func (k level) of(m *Metric) float64 {
	for _, d := range targets {
		if d.name != m.Name || d.method != m.Method || d.subjects != nil && !slices.Contains(d.subjects, m.Subject) {
			continue
		}
		switch at := d.at[k]; {
		case d.above:
			return m.Floor + at
		case d.times: // a floor of 0 is one that was not seen
			return at * max(m.Floor, m.FloorSD)
		default:
			return at
		}
	}
	return math.NaN()
}

// Level is the highest level whose target a metric keeps, "" if none; ok is false where nothing is demanded.
func (m *Metric) Level() (name string, ok bool) {
	for k, l := range Levels() {
		t := level(k).of(m)
		if math.IsNaN(t) {
			return "", false
		}
		if m.Value <= t {
			name = l
		}
	}
	return name, true
}
