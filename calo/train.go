package calo

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"hepmorph/internal/ad"
	"hepmorph/internal/atomicfile"
	"hepmorph/internal/kernel"
	"hepmorph/internal/modelfile"
	"hepmorph/internal/nn"
	"hepmorph/internal/train"
)

// TrainOptions say how a training runs, not what it results in.
type TrainOptions struct {
	Dir        string // run folder: model.hmm, and checkpoints in energies, shapes and autoencoder; "" keeps nothing on disk
	Threads    int
	Force      bool // start over where a run is
	Version    string
	Checkpoint int // steps between checkpoints; 0: by time
	Log        func(format string, args ...any)
	Progress   func(network string, p train.Progress)
	Clock      func() time.Duration // needed with a budget: time since some start
}

// Trained is the outcome of a training.
type Trained struct {
	Model            *Model
	Path             string // of the model file
	Energies, Shapes *train.Result
	Latent           *train.Result // of an autoencoder, nil without one
}

// Shares of a budget.
const (
	energyPart = 0.125
	latentPart = 0.2
)

// evaluations is the number of looks at the held-out showers in a training.
const evaluations = 20

// Train learns to draw showers like those of src, which it holds in memory without the empty voxels. A run that was stopped continues where
// it was, to the same bits. Errors match ErrSettings, those of train.Run and those of the source.
func Train(ctx context.Context, src Source, s Settings, o TrainOptions) (*Trained, error) {
	if o.Log == nil {
		o.Log = func(string, ...any) {}
	}
	if o.Progress == nil {
		o.Progress = func(string, train.Progress) {}
	}
	if s.Codec == "" {
		s.Codec = Codecs()[0]
	}
	if !slices.Contains(Codecs(), s.Codec) {
		return nil, fmt.Errorf("calo: could not find codec %q: there are %v: %w", s.Codec, Codecs(), ErrSettings)
	}
	if (s.Steps == 0 || s.EnergySteps == 0 || s.Latent.On && s.Latent.Steps == 0) && (s.Budget == 0 || o.Clock == nil) {
		return nil, fmt.Errorf("calo: could not plan the training: neither the steps of all networks nor a time: %w", ErrSettings)
	}
	st, err := newStore(src)
	if err != nil {
		return nil, err
	}
	share := s.Validation
	if share == 0 {
		share = 0.05
	}
	held := min(640, max(1, int(share*float64(st.n))))
	if !(share > 0 && share <= 0.9) || st.n-held < 2 {
		return nil, fmt.Errorf("calo: could not train on %d showers, of which %g are set aside: %w", st.n, share, ErrSettings)
	}
	used := st.n - held
	c, err := Fit(s.Codec, first{src, used}, s.Seed)
	if err != nil {
		return nil, err
	}
	if n, ok := c.(interface{ narrow(empties float64) }); ok {
		n.narrow(s.Empties)
	}
	var inner *latent
	if s.Latent.On {
		if inner, err = newLatent(c, s.Latent, s.Seed); err != nil {
			return nil, err
		}
		c = inner
	}
	s = s.resolve(c)
	if err := s.check(); err != nil {
		return nil, err
	}
	m := &Model{Settings: s, codec: c}
	if m.networks, err = newNetworks(c, s); err != nil {
		return nil, err
	}
	m.shape.initialise(m.shapeParams, s.Seed)
	pool := ad.NewPool(o.Threads)
	defer pool.Close()
	n1, n2 := m.Parameters()
	o.Log("%v: %d showers to train on, %d set aside; energy network %d parameters, shape network %d in %d tokens of %d, kernels %s",
		c.Geometry(), used, held, n1, n2, m.shape.tokens, m.shape.patch, kernel.Best().Name)

	rows := make([]int32, st.n)
	for i := range rows {
		rows[i] = int32(i)
	}
	digest, err := st.digest(c, s)
	if err != nil {
		return nil, err
	}
	adam := nn.AdamSettings{Decay: s.Decay, Clip: s.Clip, Average: s.Average}
	out := &Trained{Model: m}
	run := func(name string, part float64, steps int, mt *matching) (*train.Result, error) {
		set := train.Settings{Steps: steps, Evaluations: evaluations, Digest: digest, Fresh: o.Force, Checkpoint: o.Checkpoint,
			Progress: func(p train.Progress) { o.Progress(name, p) }}
		if o.Dir != "" {
			set.Dir = filepath.Join(o.Dir, name)
		}
		if steps == 0 {
			set.Budget = time.Duration(part * float64(s.Budget))
			set.StepsIn = func(b time.Duration) (int, error) {
				n, err := mt.stepsIn(b, o.Clock)
				if err == nil {
					o.Log("%s: %v of training are %d steps here", name, b.Round(time.Second/10), n)
				}
				return n, err
			}
		}
		r, err := train.Run(ctx, mt, set)
		if err != nil {
			return nil, fmt.Errorf("calo: could not train the %s: %w", name, err)
		}
		mt.finish()
		return r, nil
	}
	shapePart := 1 - energyPart
	if inner != nil {
		mt := latentMatching(inner, st, pool, s.Turns == "on", rows[:used], rows[used:], matchSettings{batch: s.Latent.Batch, rate: s.Latent.Rate, adam: adam, seed: s.Seed})
		if out.Latent, err = run("autoencoder", latentPart, s.Latent.Steps, mt); err != nil {
			return nil, err
		}
		inner.standardise(st, rows[:min(used, latentNumbers)], s.Seed)
		shapePart -= latentPart
		m.Settings.Latent.Steps = out.Latent.Planned
	}
	mt := energyMatching(c, st, m.energy, m.energyParams, pool, s.Turns == "on", rows[:used], rows[used:], matchSettings{batch: s.EnergyBatch, rate: s.EnergyRate, adam: adam, seed: s.Seed, times: s.Times})
	if out.Energies, err = run("energies", energyPart, s.EnergySteps, mt); err != nil {
		return nil, err
	}
	mt = shapeMatching(c, st, m.shape, m.shapeParams, pool, s.Turns == "on", rows[:used], rows[used:], matchSettings{batch: s.Batch, rate: s.Rate, adam: adam, seed: s.Seed, times: s.Times, coupling: s.Coupling})
	if out.Shapes, err = run("shapes", shapePart, s.Steps, mt); err != nil {
		return nil, err
	}
	m.Settings.Budget, m.Settings.EnergySteps, m.Settings.Steps = 0, out.Energies.Planned, out.Shapes.Planned
	m.Training = Training{Showers: used, EnergyMin: slices.Min(st.incident), EnergyMax: slices.Max(st.incident), EnergyLoss: out.Energies.Best, Loss: out.Shapes.Best,
		EnergySteps: out.Energies.BestStep, Steps: out.Shapes.BestStep, Version: o.Version, Kernels: kernel.Best().Name}
	if o.Dir == "" {
		return out, nil
	}
	if err := atomicfile.MkdirAll(o.Dir); err != nil {
		return nil, err
	}
	out.Path = filepath.Join(o.Dir, "model.hmm")
	return out, m.Write(out.Path)
}

// first is the beginning of a source.
type first struct {
	Source
	n int
}

func (f first) Each(visit func([]float64, []float32) error) error {
	left, width := f.n, f.Geometry().Voxels()
	enough := errors.New("enough")
	err := f.Source.Each(func(incident []float64, voxels []float32) error {
		n := min(left, len(incident))
		if left -= n; n > 0 {
			if err := visit(incident[:n], voxels[:n*width]); err != nil {
				return err
			}
		}
		if left == 0 {
			return enough
		}
		return nil
	})
	if errors.Is(err, enough) {
		return nil
	}
	return err
}

// digest names everything that fixes the result of a training: showers, codec and settings.
func (s *store) digest(c Codec, set Settings) (string, error) {
	h := sha256.New()
	for _, v := range []any{s.incident, s.start, s.voxel, s.value} {
		if err := binary.Write(h, binary.LittleEndian, v); err != nil {
			return "", fmt.Errorf("calo: could not name the training: %w", err)
		}
	}
	text, err := json.Marshal(set)
	if err != nil {
		return "", fmt.Errorf("calo: could not name the training: %w", err)
	}
	h.Write(text)
	if text, err = c.Describe(); err != nil {
		return "", fmt.Errorf("calo: could not name the training: %w", err)
	}
	h.Write(text)
	return hex.EncodeToString(h.Sum(nil)), nil
}

// stepsIn measures a training and says how many steps fit into a budget. The state is as before.
func (m *matching) stepsIn(budget time.Duration, clock func() time.Duration) (int, error) {
	f := &modelfile.File{Meta: map[string]string{}}
	if err := m.Save(f); err != nil {
		return 0, err
	}
	const before, trial = 3, 12
	var start time.Duration
	for i := range before + trial {
		if i == before {
			start = clock()
		}
		if _, err := m.Step(i, 1<<30, 1); err != nil {
			return 0, err
		}
	}
	one := (clock() - start).Seconds() / trial
	start = clock()
	if _, _, err := m.Evaluate(); err != nil {
		return 0, err
	}
	left := 0.96*budget.Seconds() - evaluations*(clock()-start).Seconds()
	if left < one {
		return 0, fmt.Errorf("calo: could not train in %v: evaluations alone take longer (a longer budget): %w", budget, ErrSettings)
	}
	return int(left / max(one, 1e-6)), m.Load(f)
}
