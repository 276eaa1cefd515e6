// Package modelfile reads and writes the one format of models and checkpoints. Its layout is that of safetensors, so any
// reader of those opens it:
//
//	8 bytes   length of the header, little-endian
//	header    JSON, at most 1 MiB, padded with spaces to a multiple of 8
//	payload   the tensors, little-endian, in the order of the header, without holes
//
// The header's __metadata__ maps strings to strings; whatever has structure is JSON in one of them. Two keys are the
// format's own: "schema", and "sha256", the hash of length, header (with that value blanked) and payload. Equal contents
// give equal bytes: no clock, host or path goes in.
//
// Reading executes nothing, checks every length before it allocates, and refuses a file in which any bit has changed.
package modelfile

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"maps"
	"math"
	"math/bits"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"hepmorph/internal/atomicfile"
)

// Schema is the version of the format, stored under the key "schema".
const Schema = "hepmorph.model/1"

// MaxHeader bounds the JSON header in bytes.
const MaxHeader = 1 << 20

// ErrNotFinite marks a tensor with NaN or Inf, which is never written.
var ErrNotFinite = errors.New("not finite")

// ErrUnusable marks a file that is damaged, tampered with, or of another version or kind (exit code 8). A file that can't
// be opened at all gives the error of the file system instead.
var ErrUnusable = errors.New("model not usable")

const (
	metaKey   = "__metadata__"
	schemaKey = "schema"
	hashKey   = "sha256"
	blankHash = "0000000000000000000000000000000000000000000000000000000000000000"
)

// A Tensor is a named array. Data is []float32, []float64, []uint8, []int64 or []uint64, of as many elements as Shape
// says (row-major); an empty Shape is a scalar.
type Tensor struct {
	Name  string
	Shape []int
	Data  any
}

// A File is the content of a model or checkpoint.
type File struct {
	Meta    map[string]string
	Tensors []Tensor
}

// Add appends a tensor.
func (f *File) Add(name string, data any, shape ...int) {
	f.Tensors = append(f.Tensors, Tensor{name, shape, data})
}

// Tensor finds a tensor by name.
func (f *File) Tensor(name string) (*Tensor, error) {
	for i := range f.Tensors {
		if f.Tensors[i].Name == name {
			return &f.Tensors[i], nil
		}
	}
	return nil, unusable("has no tensor %q", name)
}

// Get returns the data of a tensor whose type and shape must be as expected. A negative size in shape matches any.
func Get[T float32 | float64 | uint8 | int64 | uint64](f *File, name string, shape ...int) ([]T, error) {
	t, err := f.Tensor(name)
	if err != nil {
		return nil, err
	}
	data, ok := t.Data.([]T)
	if !ok {
		return nil, unusable("tensor %q holds %T, want %T", name, t.Data, data)
	}
	if !slices.EqualFunc(t.Shape, shape, func(have, want int) bool { return want < 0 || have == want }) {
		return nil, unusable("tensor %q has shape %v, want %v", name, t.Shape, shape)
	}
	return data, nil
}

// SetJSON stores v as JSON under key.
func (f *File) SetJSON(key string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("modelfile: could not store %q: %w", key, err)
	}
	if f.Meta == nil {
		f.Meta = map[string]string{}
	}
	f.Meta[key] = string(b)
	return nil
}

// JSON decodes the value under key into v, strictly: unknown fields are refused.
func (f *File) JSON(key string, v any) error {
	s, ok := f.Meta[key]
	if !ok {
		return unusable("has no %q in its metadata", key)
	}
	dec := json.NewDecoder(strings.NewReader(s))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return unusable("metadata %q: %v", key, err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return unusable("metadata %q: something follows the value", key)
	}
	return nil
}

func unusable(format string, a ...any) error {
	return fmt.Errorf("modelfile: %s: %w", fmt.Sprintf(format, a...), ErrUnusable)
}

// Finite returns an error that matches ErrNotFinite if a tensor holds NaN or Inf: such a file can't be written.
func (f *File) Finite() error {
	for _, t := range f.Tensors {
		if i, bad := nonFinite(t.Data); bad {
			return fmt.Errorf("modelfile: tensor %q: element %d is %w", t.Name, i, ErrNotFinite)
		}
	}
	return nil
}

// Write writes the file atomically.
func (f *File) Write(path string) error {
	head, err := f.seal()
	if err != nil {
		return err
	}
	return atomicfile.Write(path, func(w io.Writer) error {
		if _, err := w.Write(head); err != nil {
			return err
		}
		return f.payload(w)
	})
}

// Encode returns the bytes of the file.
func (f *File) Encode() ([]byte, error) {
	head, err := f.seal()
	if err != nil {
		return nil, err
	}
	buf := bytes.NewBuffer(head)
	if err := f.payload(buf); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

// Hash returns the SHA-256 that the written file carries, in hexadecimal.
func (f *File) Hash() (string, error) {
	if err := f.check(); err != nil {
		return "", err
	}
	head, err := f.header(blankHash)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	_, _ = h.Write(head) // a hash never fails
	if err := f.payload(h); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func (f *File) seal() ([]byte, error) {
	sum, err := f.Hash()
	if err != nil {
		return nil, err
	}
	return f.header(sum)
}

// check refuses contents that could not be read again.
func (f *File) check() error {
	for k, v := range f.Meta {
		if k == schemaKey || k == hashKey {
			return fmt.Errorf("modelfile: could not write: metadata key %q belongs to the format", k)
		}
		if !utf8.ValidString(k) || !utf8.ValidString(v) {
			return fmt.Errorf("modelfile: could not write: metadata %q is not UTF-8", k)
		}
	}
	seen := map[string]bool{}
	for _, t := range f.Tensors {
		if t.Name == "" || t.Name == metaKey || seen[t.Name] || !utf8.ValidString(t.Name) {
			return fmt.Errorf("modelfile: could not write tensor %q: the name is empty, reserved, taken or not UTF-8", t.Name)
		}
		seen[t.Name] = true
		code, n := kind(t.Data)
		if code == "" {
			return fmt.Errorf("modelfile: could not write tensor %q: type %T is not supported", t.Name, t.Data)
		}
		if count, ok := elements(t.Shape); !ok || count != n {
			return fmt.Errorf("modelfile: could not write tensor %q: shape %v, but %d elements", t.Name, t.Shape, n)
		}
		if i, bad := nonFinite(t.Data); bad {
			return fmt.Errorf("modelfile: could not write tensor %q: element %d is %w", t.Name, i, ErrNotFinite)
		}
	}
	return nil
}

func kind(data any) (code string, n int) {
	switch d := data.(type) {
	case []float32:
		return "F32", len(d)
	case []float64:
		return "F64", len(d)
	case []uint8:
		return "U8", len(d)
	case []int64:
		return "I64", len(d)
	case []uint64:
		return "U64", len(d)
	}
	return "", 0
}

var width = map[string]int{"F32": 4, "F64": 8, "U8": 1, "I64": 8, "U64": 8}

// elements multiplies a shape; not ok if a size is negative or the product exceeds 2^40.
func elements(shape []int) (int, bool) {
	n := uint64(1)
	for _, s := range shape {
		hi, lo := bits.Mul64(n, uint64(s))
		if s < 0 || hi != 0 || lo > 1<<40 {
			return 0, false
		}
		n = lo
	}
	return int(n), true
}

func nonFinite(data any) (int, bool) {
	switch d := data.(type) {
	case []float32:
		for i, v := range d {
			if v-v != 0 {
				return i, true
			}
		}
	case []float64:
		for i, v := range d {
			if v-v != 0 {
				return i, true
			}
		}
	}
	return 0, false
}

type entry struct {
	Dtype   string   `json:"dtype"`
	Shape   []int    `json:"shape"`
	Offsets [2]int64 `json:"data_offsets"`
}

// header returns length and JSON header, with the given hash in its place.
func (f *File) header(sum string) ([]byte, error) {
	meta := map[string]string{schemaKey: Schema, hashKey: sum}
	maps.Copy(meta, f.Meta)
	var b bytes.Buffer
	b.Write(make([]byte, 8))
	b.WriteString(`{"` + metaKey + `":`)
	if err := appendJSON(&b, meta); err != nil {
		return nil, err
	}
	at := int64(0)
	for _, t := range f.Tensors {
		code, n := kind(t.Data)
		end := at + int64(n)*int64(width[code])
		shape := t.Shape
		if shape == nil {
			shape = []int{}
		}
		b.WriteByte(',')
		if err := appendJSON(&b, t.Name); err != nil {
			return nil, err
		}
		b.WriteByte(':')
		if err := appendJSON(&b, entry{code, shape, [2]int64{at, end}}); err != nil {
			return nil, err
		}
		at = end
	}
	b.WriteByte('}')
	for b.Len()%8 != 0 {
		b.WriteByte(' ')
	}
	out := b.Bytes()
	if len(out)-8 > MaxHeader {
		return nil, fmt.Errorf("modelfile: could not write: the header has %d bytes, more than %d", len(out)-8, MaxHeader)
	}
	binary.LittleEndian.PutUint64(out, uint64(len(out)-8))
	return out, nil
}

// appendJSON writes v with sorted keys and without escaping <, > and &.
func appendJSON(b *bytes.Buffer, v any) error {
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("modelfile: could not write the header: %w", err)
	}
	b.Truncate(b.Len() - 1) // Encode ends with a line feed
	return nil
}

func (f *File) payload(w io.Writer) error {
	buf := make([]byte, 0, 1<<16)
	for _, t := range f.Tensors {
		var err error
		switch d := t.Data.(type) {
		case []float32:
			err = put(w, buf, d, func(b []byte, v float32) []byte { return binary.LittleEndian.AppendUint32(b, math.Float32bits(v)) })
		case []float64:
			err = put(w, buf, d, func(b []byte, v float64) []byte { return binary.LittleEndian.AppendUint64(b, math.Float64bits(v)) })
		case []int64:
			err = put(w, buf, d, func(b []byte, v int64) []byte { return binary.LittleEndian.AppendUint64(b, uint64(v)) })
		case []uint64:
			err = put(w, buf, d, binary.LittleEndian.AppendUint64)
		case []uint8:
			_, err = w.Write(d)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func put[T any](w io.Writer, buf []byte, data []T, add func([]byte, T) []byte) error {
	for chunk := range slices.Chunk(data, cap(buf)/8) {
		buf = buf[:0]
		for _, v := range chunk {
			buf = add(buf, v)
		}
		if _, err := w.Write(buf); err != nil {
			return err
		}
	}
	return nil
}

// Read reads and verifies a file that Write has written.
func Read(path string) (*File, error) { return read(path, false) }

// ReadPlain reads any safetensors file whose tensors have types of this package (BOOL is read as uint8), for weights that
// come from elsewhere: lengths and offsets are checked, there is no hash to verify.
func ReadPlain(path string) (*File, error) { return read(path, true) }

func read(path string, plain bool) (*File, error) {
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "read", Path: path, Err: errors.New("not a regular file")}
	}
	var file *os.File
	if err == nil {
		file, err = os.Open(path)
	}
	if err != nil {
		var pe *fs.PathError
		if errors.As(err, &pe) {
			err = pe.Err
		}
		return nil, fmt.Errorf("modelfile: could not read %q: %w", path, err)
	}
	defer file.Close()
	f, err := decode(file, info.Size(), plain)
	if err != nil {
		return nil, fmt.Errorf("modelfile: could not use %q: %w", path, err)
	}
	return f, nil
}

// Decode reads and verifies the bytes of a file.
func Decode(b []byte) (*File, error) { return wrap(decode(bytes.NewReader(b), int64(len(b)), false)) }

// DecodePlain is ReadPlain from memory.
func DecodePlain(b []byte) (*File, error) {
	return wrap(decode(bytes.NewReader(b), int64(len(b)), true))
}

func wrap(f *File, err error) (*File, error) {
	if err != nil {
		return nil, fmt.Errorf("modelfile: could not decode: %w", err)
	}
	return f, nil
}

func broken(format string, a ...any) error {
	return fmt.Errorf("%s (%w)", fmt.Sprintf(format, a...), ErrUnusable)
}

func decode(r io.Reader, size int64, plain bool) (*File, error) {
	var head [8]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, broken("%d bytes are too few for a model file", size)
	}
	n := binary.LittleEndian.Uint64(head[:])
	if n > MaxHeader || int64(n) > size-8 || n < 2 {
		return nil, broken("header of %d bytes in a file of %d: not a model file, or damaged", n, size)
	}
	raw := make([]byte, n)
	if _, err := io.ReadFull(r, raw); err != nil {
		return nil, broken("the header ends early: %v", err)
	}
	f, sum, err := parseHeader(raw, size-8-int64(n), plain)
	if err != nil {
		return nil, err
	}
	var h hash.Hash
	if !plain {
		blank, err := f.header(blankHash)
		if err != nil {
			return nil, err
		}
		h = sha256.New()
		_, _ = h.Write(blank) // a hash never fails
		r = io.TeeReader(r, h)
	}
	buf := make([]byte, 1<<16)
	for i := range f.Tensors {
		if err := f.Tensors[i].fill(r, buf); err != nil {
			return nil, broken("tensor %q ends early: %v", f.Tensors[i].Name, err)
		}
	}
	if !plain {
		got := hex.EncodeToString(h.Sum(nil))
		if got != sum {
			return nil, broken("damaged: SHA-256 is %s..., the file says %.12s...", got[:12], sum)
		}
		want, err := f.header(sum)
		if err != nil {
			return nil, err
		}
		if !bytes.Equal(want[8:], raw) {
			return nil, broken("damaged: the header is not in its canonical form")
		}
	}
	for _, t := range f.Tensors {
		if i, bad := nonFinite(t.Data); bad {
			return nil, broken("tensor %q: element %d is not finite", t.Name, i)
		}
	}
	return f, nil
}

// parseHeader checks the whole table against the size of the payload before it allocates any tensor.
func parseHeader(raw []byte, payload int64, plain bool) (f *File, sum string, err error) {
	type named struct {
		name string
		entry
	}
	var table []named
	f = &File{Meta: map[string]string{}}
	seen := map[string]bool{}
	dec := json.NewDecoder(bytes.NewReader(raw))
	if err := open(dec); err != nil {
		return nil, "", err
	}
	for dec.More() {
		name, err := str(dec)
		if err != nil {
			return nil, "", err
		}
		if seen[name] {
			return nil, "", broken("header: %q occurs twice", name)
		}
		seen[name] = true
		if name == metaKey {
			if err := readMeta(dec, f.Meta); err != nil {
				return nil, "", err
			}
			continue
		}
		e := named{name: name}
		if err := dec.Decode(&e.entry); err != nil {
			return nil, "", broken("header: tensor %q: %v", name, err)
		}
		table = append(table, e)
	}
	if _, err := dec.Token(); err != nil {
		return nil, "", broken("header: %v", err)
	}
	if rest, err := io.ReadAll(dec.Buffered()); err != nil || len(bytes.Trim(rest, " ")) > 0 {
		return nil, "", broken("header: something follows the JSON object")
	}
	if plain {
		slices.SortStableFunc(table, func(a, b named) int {
			return cmp.Or(cmp.Compare(a.Offsets[0], b.Offsets[0]), cmp.Compare(a.Offsets[1], b.Offsets[1]))
		})
	} else {
		if f.Meta[schemaKey] != Schema {
			return nil, "", broken("schema %.40q, this program reads %q", f.Meta[schemaKey], Schema)
		}
		sum = f.Meta[hashKey]
		delete(f.Meta, schemaKey)
		delete(f.Meta, hashKey)
	}
	at := int64(0)
	for _, e := range table {
		code := e.Dtype
		if plain && code == "BOOL" {
			code = "U8"
		}
		w, ok := width[code]
		count, fits := elements(e.Shape)
		switch {
		case !ok:
			return nil, "", broken("header: tensor %q: type %.20q is not supported", e.name, e.Dtype)
		case !fits:
			return nil, "", broken("header: tensor %q: impossible shape", e.name)
		case e.Offsets[0] != at || e.Offsets[1] != at+int64(count)*int64(w):
			return nil, "", broken("header: tensor %q: offsets %d, do not follow %d by %d elements of %d bytes", e.name, e.Offsets, at, count, w)
		case e.Offsets[1] > payload:
			return nil, "", broken("header: tensor %q ends at byte %d of a payload of %d", e.name, e.Offsets[1], payload)
		}
		at = e.Offsets[1]
	}
	if at != payload {
		return nil, "", broken("the tensors have %d bytes, the payload %d", at, payload)
	}
	for _, e := range table {
		code := e.Dtype
		if code == "BOOL" {
			code = "U8"
		}
		n, _ := elements(e.Shape)
		if e.Shape == nil {
			e.Shape = []int{}
		}
		f.Add(e.name, alloc(code, n), e.Shape...)
	}
	return f, sum, nil
}

func open(dec *json.Decoder) error {
	tok, err := dec.Token()
	if err != nil || tok != json.Delim('{') {
		return broken("header: not a JSON object")
	}
	return nil
}

func str(dec *json.Decoder) (string, error) {
	tok, err := dec.Token()
	s, ok := tok.(string)
	if err != nil || !ok {
		return "", broken("header: expected a string, found %v", tok)
	}
	return s, nil
}

func readMeta(dec *json.Decoder, meta map[string]string) error {
	if err := open(dec); err != nil {
		return err
	}
	for dec.More() {
		k, err := str(dec)
		if err != nil {
			return err
		}
		v, err := str(dec)
		if err != nil {
			return err
		}
		if _, dup := meta[k]; dup {
			return broken("header: metadata %q occurs twice", k)
		}
		meta[k] = v
	}
	if _, err := dec.Token(); err != nil {
		return broken("header: %v", err)
	}
	return nil
}

func alloc(code string, n int) any {
	switch code {
	case "F32":
		return make([]float32, n)
	case "F64":
		return make([]float64, n)
	case "I64":
		return make([]int64, n)
	case "U64":
		return make([]uint64, n)
	}
	return make([]uint8, n)
}

func (t *Tensor) fill(r io.Reader, buf []byte) error {
	switch d := t.Data.(type) {
	case []float32:
		return get(r, buf, d, 4, func(b []byte) float32 { return math.Float32frombits(binary.LittleEndian.Uint32(b)) })
	case []float64:
		return get(r, buf, d, 8, func(b []byte) float64 { return math.Float64frombits(binary.LittleEndian.Uint64(b)) })
	case []int64:
		return get(r, buf, d, 8, func(b []byte) int64 { return int64(binary.LittleEndian.Uint64(b)) })
	case []uint64:
		return get(r, buf, d, 8, binary.LittleEndian.Uint64)
	case []uint8:
		_, err := io.ReadFull(r, d)
		return err
	}
	return nil
}

func get[T any](r io.Reader, buf []byte, data []T, w int, one func([]byte) T) error {
	for len(data) > 0 {
		n := min(len(data), len(buf)/w)
		if _, err := io.ReadFull(r, buf[:n*w]); err != nil {
			return err
		}
		for i := range n {
			data[i] = one(buf[i*w:])
		}
		data = data[n:]
	}
	return nil
}
