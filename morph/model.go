package morph

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"hepmorph/internal/modelfile"
)

// A Model is a trained morph: the configuration it was made from, the transforms of its columns, the weights of its kinematics and the
// network. Its file says everything; nothing else is needed to apply it.
type Model struct {
	cfg      *Config
	enc      *Encoder
	net      *network
	kin      *Reweighter // nil: none
	positive *Positive   // nil: the weights have no sign
	Training Training
}

// Training is how a model came to be.
type Training struct {
	Steps, Planned, BestStep int
	Score                    float64 // held-out negative log-likelihood of the best step, in model space, before the calibration
	Calibrated               float64 // by how much the calibration should raise the log-likelihood of new rows; 0: there is none
	Early                    bool
	Inputs                   []InputFile
	Runs                     []float64 `json:",omitempty"` // of each simulation with sum_of_weights: Runs that sum; apply needs it for any of the files
	Version                  string
	Kernels                  string
}

// InputFile names a file that a model was trained on, without its folder.
type InputFile struct {
	Role    string
	Name    string
	Tree    string
	Entries int64
	Bytes   int64
	SHA256  string `json:",omitempty"` // not of root:// files
}

// Config returns the resolved configuration of the model.
func (m *Model) Config() *Config { return m.cfg }

// Encoder returns the transforms of the model's columns.
func (m *Model) Encoder() *Encoder { return m.enc }

// Parameters is the number of weights of the network.
func (m *Model) Parameters() int { return m.net.ps.Count() }

const modelKind = "morph"

// Write writes the model file. Equal models give equal bytes.
func (m *Model) Write(path string) error {
	text, err := m.cfg.YAML(false)
	if err != nil {
		return err
	}
	f := &modelfile.File{Meta: map[string]string{"kind": modelKind, "config": string(text)}}
	enc, err := json.Marshal(m.enc)
	if err != nil {
		return fmt.Errorf("morph: could not store the transforms: %w", err)
	}
	f.Add("encoder", enc, len(enc)) // as tensors: the header is bounded
	if m.kin != nil {
		if err := m.kin.Save(f, "kinematics"); err != nil {
			return err
		}
	}
	if m.positive != nil {
		if err := m.positive.Save(f, "positive"); err != nil {
			return err
		}
	}
	if err := f.SetJSON("training", m.Training); err != nil {
		return err
	}
	if m.net.cal != nil {
		if err := f.SetJSON("calibration", m.net.cal); err != nil {
			return err
		}
	}
	named := m.net.ps.Named()
	for _, p := range m.net.ps.List {
		f.Add("flow."+p.Name, named[p.Name], p.Rows, p.Cols)
	}
	return f.Write(path)
}

// ReadModel reads a model file. Errors match modelfile.ErrUnusable where the file is no sound model.
func ReadModel(path string) (*Model, error) {
	f, err := modelfile.Read(path)
	if err != nil {
		return nil, err
	}
	bad := func(err error) (*Model, error) {
		return nil, fmt.Errorf("morph: could not use %q: %w: %w", path, modelfile.ErrUnusable, err)
	}
	if f.Meta["kind"] != modelKind {
		return bad(fmt.Errorf("it holds %q, not a morph", f.Meta["kind"]))
	}
	m := &Model{}
	if m.cfg, err = DecodeConfig(filepath.Base(path), []byte(f.Meta["config"])); err != nil {
		return bad(err)
	}
	enc, err := modelfile.Get[uint8](f, "encoder", -1)
	if err != nil {
		return bad(err)
	}
	m.enc = &Encoder{}
	if err := json.Unmarshal(enc, m.enc); err != nil {
		return bad(err)
	}
	if _, there := f.Meta["kinematics"]; there {
		if m.kin, err = LoadReweighter(f, "kinematics"); err != nil {
			return bad(err)
		}
	}
	if _, there := f.Meta["positive"]; there {
		if m.positive, err = LoadPositive(f, "positive"); err != nil {
			return bad(err)
		}
	}
	if err := f.JSON("training", &m.Training); err != nil {
		return bad(err)
	}
	if m.net, err = newNetwork(m.cfg.Method, m.cfg.Pairing, m.enc.Dim(), m.enc.CondDim(), m.cfg.Flow, m.cfg.Seed); err != nil {
		return bad(err)
	}
	named := map[string][]float32{}
	for _, p := range m.net.ps.List {
		if named[p.Name], err = modelfile.Get[float32](f, "flow."+p.Name, p.Rows, p.Cols); err != nil {
			return bad(err)
		}
	}
	if err := m.net.ps.SetNamed(named); err != nil {
		return bad(err)
	}
	if _, there := f.Meta["calibration"]; there {
		m.net.cal = &calibration{}
		if err := f.JSON("calibration", m.net.cal); err != nil {
			return bad(err)
		}
		if err := m.net.cal.check(m.net); err != nil {
			return bad(err)
		}
	}
	return m, nil
}

// hashInputs describes the files of a sample.
func hashInputs(ev *Events) ([]InputFile, error) {
	var out []InputFile
	for _, p := range ev.Parts {
		for _, path := range p.Files {
			in := InputFile{Role: domainName(ev.Domain), Name: filepath.Base(path), Tree: p.Tree}
			if !strings.Contains(path, "://") {
				if err := in.hash(path); err != nil {
					return nil, err
				}
			}
			out = append(out, in)
		}
	}
	return out, nil
}

func (in *InputFile) hash(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("morph: could not read %q: %w", path, err)
	}
	defer f.Close()
	h := sha256.New()
	if in.Bytes, err = io.Copy(h, f); err != nil {
		return fmt.Errorf("morph: could not read %q: %w", path, err)
	}
	in.SHA256 = hex.EncodeToString(h.Sum(nil))
	return nil
}

func splitLines(s string) []string { return strings.Split(strings.TrimRight(s, "\n"), "\n") }

// Card describes a model for people.
func (m *Model) Card() string {
	var b strings.Builder
	c, t := m.cfg, m.Training
	fmt.Fprintf(&b, "method       %s: %s\n", c.Method, map[Method]string{Switch: "encode as simulation, decode as data", CNF: "a conditional flow of the data, sampled"}[c.Method])
	fmt.Fprintf(&b, "flow         %s, %d transforms, hidden %v, %d bins, %d parameters\n", c.Flow.Kind, c.Flow.Transforms, c.Flow.Hidden, c.Flow.Bins, m.Parameters())
	fmt.Fprintf(&b, "training     %d of %d steps of %d rows, best at %d with a held-out negative log-likelihood of %.5f; seed %d\n", t.Steps, t.Planned, c.Train.Batch, t.BestStep, t.Score, c.Seed)
	if t.Calibrated != 0 {
		fmt.Fprintf(&b, "calibrated   log-likelihood of new rows raised by %.3g, expected\n", t.Calibrated)
	}
	fmt.Fprintf(&b, "made by      hepmorph %s, kernels %s\n", t.Version, t.Kernels)
	for _, in := range t.Inputs {
		fmt.Fprintf(&b, "%-12s %s, tree %s, %d bytes, sha256 %.12s\n", in.Role, in.Name, in.Tree, in.Bytes, in.SHA256)
	}
	for _, k := range c.Constraints {
		fmt.Fprintf(&b, "constraint   %s <= %s\n", k.Quantity, k.Max)
	}
	b.WriteByte('\n')
	b.WriteString(m.enc.Describe())
	return b.String()
}
