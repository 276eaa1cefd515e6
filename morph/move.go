package morph

import (
	"fmt"

	"hepmorph/internal/ad"
	"hepmorph/internal/par"
	"hepmorph/physics"
)

// HeldOut returns the rows that a training with this configuration does not learn from, without blinded ones: those that split.train excludes
// or, where everything is trained on, all.
func (ev *Events) HeldOut(c *Config) (*Events, error) {
	blind, err := c.blinded(ev.Table)
	if err != nil {
		return nil, err
	}
	var learn []float64
	if c.Split.Train != "" {
		if learn, err = ev.Table.Col(trainColumn); err != nil {
			return nil, err
		}
	}
	var rows []int
	for i := range ev.Table.Len() {
		if (blind == nil || !blind[i]) && (learn == nil || learn[i] == 0) {
			rows = append(rows, i)
		}
	}
	if len(rows) == 0 {
		return nil, fmt.Errorf("morph: could not validate %s: split.train leaves no row to look at (--all takes training rows too): %w", domainName(ev.Domain), ErrInput)
	}
	return ev.take(rows), nil
}

// Sighted returns the rows outside blind windows.
func (ev *Events) Sighted(c *Config) (*Events, error) {
	blind, err := c.blinded(ev.Table)
	if err != nil || blind == nil {
		return ev, err
	}
	var rows []int
	for i, b := range blind {
		if !b {
			rows = append(rows, i)
		}
	}
	return ev.take(rows), nil
}

// InSlice says which rows lie in one of the configuration's slices.
func (ev *Events) InSlice(expr string) ([]bool, error) {
	v, err := ev.Table.Col(slicePrefix + expr)
	if err != nil {
		return nil, err
	}
	out := make([]bool, len(v))
	for i := range v {
		out[i] = v[i] != 0
	}
	return out, nil
}

// EventNumbers returns the id column that numbers events (event, eventNumber), nil if there is none.
func (ev *Events) EventNumbers() []int64 {
	for _, name := range []string{"event", "eventNumber"} {
		c, err := ev.Table.Column(name)
		if err != nil || c.U == nil {
			continue
		}
		out := make([]int64, len(c.U))
		for i, v := range c.U {
			out[i] = int64(v)
		}
		return out
	}
	return nil
}

// parallelRows runs f on ranges of rows and returns the first error.
func parallelRows(n, threads int, f func(lo, hi int) error) error {
	errs := make([]error, (n+encodeRows-1)/encodeRows)
	par.For(threads, n, encodeRows, func(k, lo, hi int) { errs[k] = f(lo, hi) })
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// moved are the physical values of morphed features, and what became of each row.
func (m *Model) moved(t *physics.Table, keys []uint64, mov *mover) (values [][]float64, status []uint8, err error) {
	n, d := t.Len(), m.enc.Dim()
	x, c := make([]float32, n*d), make([]float32, n*m.enc.CondDim())
	status = make([]uint8, n)
	if err := encodeAll(m.enc, t, keys, Simulation, x, c, status, mov.threads); err != nil {
		return nil, nil, err
	}
	y := make([]float32, n*d)
	mov.move(n, y, x, c, keys, m.cfg.Seed)
	values = make([][]float64, d)
	for j := range values {
		values[j] = make([]float64, n)
	}
	err = parallelRows(n, mov.threads, func(lo, hi int) error {
		part := make([][]float64, d)
		for j := range values {
			part[j] = values[j][lo:hi]
		}
		return m.enc.Decode(y[lo*d:hi*d], t, lo, hi, Data, status[lo:hi], part)
	})
	return values, status, err
}

// Move returns the morphed features of loaded events by name, and the observables that follow from them.
func (m *Model) Move(ev *Events, threads int) (map[string][]float64, error) {
	pool := ad.NewPool(threads)
	defer pool.Close()
	values, _, err := m.moved(ev.Table, ev.Keys, m.net.mover(pool))
	if err != nil {
		return nil, err
	}
	out := map[string][]float64{}
	for j, name := range m.enc.Names() {
		out[name] = values[j]
	}
	for _, o := range ev.observables {
		if !o.morphs() {
			continue
		}
		if out[o.name], err = observe(o, ev.Table, values); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// observe computes an observable from morphed features, values[feature][row].
func observe(o *observable, t *physics.Table, values [][]float64) ([]float64, error) {
	cols := make([][]float64, len(o.inputs))
	for k, in := range o.inputs {
		if in.feature >= 0 {
			cols[k] = values[in.feature]
			continue
		}
		var err error
		if cols[k], err = t.Col(in.column); err != nil {
			return nil, err
		}
	}
	return o.values(t.Len(), func(k, i int) float64 { return cols[k][i] })
}

// Factors returns, for simulated events, the kinematic factors (nil without reweighting) and positive weights for the training of classifiers (nil where the
// physics weights have no sign).
func (m *Model) Factors(ev *Events, threads int) (kinematic, positive []float64, err error) {
	if m.positive != nil && m.positive.Method != "none" {
		cols, err := tableColumns(ev.Table, m.positive.Columns)
		if err != nil {
			return nil, nil, err
		}
		positive = make([]float64, ev.Table.Len())
		m.positive.Apply(cols, weights(ev.Table), positive, threads)
	}
	kinematic, err = m.kinematic(ev.Table, threads)
	return kinematic, positive, err
}

// kinematic returns the factors that bring the conditions of rows to the data's, nil without reweighting.
func (m *Model) kinematic(t *physics.Table, threads int) ([]float64, error) {
	if m.kin == nil || m.kin.Method == "none" {
		return nil, nil
	}
	cols, err := tableColumns(t, m.kin.Columns)
	if err != nil {
		return nil, err
	}
	out := make([]float64, t.Len())
	m.kin.Apply(cols, out, threads)
	return out, nil
}

// tableColumns finds columns by name.
func tableColumns(t *physics.Table, names []string) ([][]float64, error) {
	out := make([][]float64, len(names))
	for i, name := range names {
		var err error
		if out[i], err = t.Col(name); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// weights are the physics weights of all rows.
func weights(t *physics.Table) []float64 {
	if t.Weight == nil {
		return ones(t.Len())
	}
	return t.Weight
}
