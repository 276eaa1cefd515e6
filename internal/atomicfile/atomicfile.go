// Package atomicfile is the only way files come into being: written beside their target, synchronised, renamed. A path
// holds the previous complete file or the new complete file, after any kill or power cut.
//
// The sequence is that of restic's local backend: create a temporary file in the target's folder, write, check the byte
// count, fsync, close, rename, fsync the folder. Any failure removes the temporary file and leaves the target as it was.
// Temporary files of dead processes are removed the first time their folder is written to.
package atomicfile

import (
	"bufio"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
)

// ErrWrite marks every failure to create or replace a file: a full disk, a quota, missing permission, a read-only file
// system, a missing folder. Such failures are permanent; nothing is retried.
var ErrWrite = errors.New("cannot write output")

// An Error says which file could not be written and why. It matches ErrWrite.
type Error struct {
	Path    string
	Err     error
	Written bool // the file is complete in place, only its folder could not be synchronised
	Kept    bool // a previous file stands at Path, unchanged
}

func (e *Error) Error() string {
	note := ""
	switch {
	case e.Written:
		note = " (the file is complete, but a power cut now could undo its rename)"
	case e.Kept:
		note = " (previous file unchanged)"
	}
	return fmt.Sprintf("atomicfile: could not write %q: %v%s", e.Path, e.Err, note)
}

// Unwrap returns the cause and ErrWrite.
func (e *Error) Unwrap() []error { return []error{e.Err, ErrWrite} }

func failed(path string, err error) *Error {
	var pe *fs.PathError
	var le *os.LinkError
	if errors.As(err, &pe) {
		err = pe.Err // the temporary name means nothing to the user
	} else if errors.As(err, &le) {
		err = le.Err
	}
	_, serr := os.Lstat(path)
	return &Error{Path: path, Err: err, Kept: serr == nil}
}

var hook atomic.Pointer[func(step string) error]

// SetHook calls f before every step (open, write, sync, close, rename, syncdir, synced); an error that f returns stands for the
// failure of that step. It is for tests of what a crash or a full disk leaves behind. The returned function removes it.
func SetHook(f func(step string) error) (restore func()) {
	hook.Store(&f)
	return func() { hook.Store(nil) }
}

func step(name string) error {
	if f := hook.Load(); f != nil {
		return (*f)(name)
	}
	return nil
}

// Write replaces path by what f writes. If f fails without a failed write, its error is returned as it is; the target
// is untouched then too.
func Write(path string, f func(w io.Writer) error) error {
	tmp, err := Temp(path)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(tmp, os.O_WRONLY, 0)
	if err != nil {
		Discard(tmp)
		return failed(path, err)
	}
	out := &output{file: file}
	err = fill(out, f)
	if cerr := file.Close(); err == nil && cerr != nil {
		err, out.err = cerr, cerr
	}
	if err != nil {
		Discard(tmp)
		if out.err != nil {
			return failed(path, out.err)
		}
		return err
	}
	return Commit(tmp, path)
}

// fill writes and checks that the file has as many bytes as were accepted.
func fill(out *output, f func(w io.Writer) error) error {
	w := bufio.NewWriterSize(out, 1<<18)
	if err := f(w); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	info, err := out.file.Stat()
	if err == nil && info.Size() != out.n {
		err = fmt.Errorf("wrote %d bytes, the file has %d", out.n, info.Size())
	}
	if err != nil {
		out.err = err
	}
	return err
}

// output counts bytes and remembers the first failure of the file itself.
type output struct {
	file *os.File
	n    int64
	err  error
}

func (o *output) Write(p []byte) (int, error) {
	if o.err != nil {
		return 0, o.err
	}
	if o.err = step("write"); o.err != nil {
		return 0, o.err
	}
	n, err := o.file.Write(p)
	o.n += int64(n)
	o.err = err
	return n, err
}

// WriteFile replaces path by data.
func WriteFile(path string, data []byte) error {
	return Write(path, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

// Temp creates an empty temporary file in the folder of path, for writers that want a path of their own. It has to end
// in Commit or Discard.
func Temp(path string) (tmp string, err error) {
	target, err := resolve(path)
	if err != nil {
		return "", failed(path, err)
	}
	dir, name := filepath.Split(target)
	sweepOnce(dir)
	for range 100 {
		if err = step("open"); err != nil {
			return "", failed(path, err)
		}
		tmp = filepath.Join(dir, tempName(name, os.Getpid(), serial.Add(1)))
		file, ferr := os.OpenFile(tmp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o666)
		if errors.Is(ferr, fs.ErrExist) {
			continue
		}
		if ferr != nil {
			return "", failed(path, ferr)
		}
		if err = file.Close(); err != nil {
			Discard(tmp)
			return "", failed(path, err)
		}
		return tmp, nil
	}
	return "", failed(path, errors.New("no free temporary name"))
}

// Commit makes tmp, which Temp has returned for the same path, the file at path. On failure tmp is gone and the file at
// path is the previous one, unless the error says Written.
func Commit(tmp, path string) error {
	target, err := resolve(path)
	if err == nil {
		err = settle(tmp, target)
	}
	if err != nil {
		Discard(tmp)
		return failed(path, err)
	}
	if err := syncDir(filepath.Dir(target)); err != nil {
		e := failed(path, err)
		e.Kept, e.Written = false, true
		return e
	}
	return nil
}

func settle(tmp, target string) error {
	if info, err := os.Stat(target); err == nil {
		if err := os.Chmod(tmp, info.Mode().Perm()); err != nil {
			return err
		}
	}
	file, err := os.OpenFile(tmp, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if err = step("sync"); err == nil {
		err = fsync(file)
	}
	if serr := step("close"); err == nil {
		err = serr
	}
	if cerr := file.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	if err := step("rename"); err != nil {
		return err
	}
	return os.Rename(tmp, target)
}

// fsync is fsync(2), where the file system knows it.
func fsync(f *os.File) error {
	err := f.Sync()
	if errors.Is(err, syscall.ENOTSUP) || errors.Is(err, syscall.EINVAL) {
		return nil
	}
	return err
}

func syncDir(dir string) error {
	if err := step("syncdir"); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if errors.Is(err, fs.ErrPermission) {
		return nil // a folder that may be written to but not listed
	}
	if err != nil {
		return err
	}
	err = fsync(d)
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	return step("synced")
}

// Discard removes a temporary file that Temp has made. It never touches another file.
func Discard(tmp string) {
	if _, ok := parseTemp(filepath.Base(tmp)); ok {
		_ = os.Remove(tmp) // nothing to do about a file that is gone or can't go; the next process sweeps
	}
}

// MkdirAll makes a folder and its parents for outputs.
func MkdirAll(dir string) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return failed(dir, err)
	}
	return nil
}

// Need refuses early: it fails if the file system of path's folder has less than bytes free. Where that can't be known it
// passes.
func Need(path string, bytes int64) error {
	free, ok := freeSpace(filepath.Dir(path))
	if !ok || bytes <= 0 || free >= uint64(bytes) {
		return nil
	}
	return failed(path, fmt.Errorf("%w: needs %s, %s free", syscall.ENOSPC, size(uint64(bytes)), size(free)))
}

func size(n uint64) string {
	if n < 1e9 {
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	}
	return fmt.Sprintf("%.1f GB", float64(n)/1e9)
}

// resolve follows a symbolic link at path, so that the file it names is replaced and not the link, and refuses targets
// that are not regular files.
func resolve(path string) (string, error) {
	if path == "" {
		return "", errors.New("empty name")
	}
	info, err := os.Lstat(path)
	if err == nil && info.Mode()&fs.ModeSymlink != 0 {
		to, err := filepath.EvalSymlinks(path)
		if err != nil {
			return "", err
		}
		path = to
		info, err = os.Lstat(path)
		if err != nil {
			return "", err
		}
	}
	switch {
	case err != nil && errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return "", err
	case info.IsDir():
		return "", errors.New("is a folder")
	case !info.Mode().IsRegular():
		return "", errors.New("is not a regular file")
	}
	return path, nil
}

const tempPrefix = ".tmp-"

var serial atomic.Uint32

// tempName is ".tmp-NAME-HOST-PID-SERIAL"; NAME is cut so that the whole stays within a file system's 255 bytes.
func tempName(name string, pid int, serial uint32) string {
	if len(name) > 160 {
		name = name[:160]
	}
	return fmt.Sprintf("%s%s-%s-%d-%08x", tempPrefix, name, host(), pid, serial)
}

var host = sync.OnceValue(func() string {
	name, err := os.Hostname()
	if err != nil {
		name = "?"
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(name)) // never fails
	return fmt.Sprintf("%08x", h.Sum32())
})

// parseTemp returns the process that made a temporary file on this host: 0 for one of another host.
func parseTemp(base string) (pid int, ok bool) {
	rest, ok := strings.CutPrefix(base, tempPrefix)
	part := strings.Split(rest, "-")
	if !ok || len(part) < 4 {
		return 0, false
	}
	part = part[len(part)-3:]
	pid, err := strconv.Atoi(part[1])
	if err != nil || pid <= 0 || len(part[0]) != 8 || len(part[2]) != 8 {
		return 0, false
	}
	if part[0] != host() {
		pid = 0
	}
	return pid, true
}

var swept sync.Map

func sweepOnce(dir string) {
	if abs, err := filepath.Abs(dir); err == nil {
		if _, done := swept.LoadOrStore(abs, true); !done {
			Sweep(abs)
		}
	}
}

// Sweep removes the temporary files in dir that processes of this host left behind when they died.
func Sweep(dir string) {
	list, err := os.ReadDir(dir)
	if err != nil {
		return // writing to the folder will say what is wrong with it
	}
	for _, e := range list {
		if pid, ok := parseTemp(e.Name()); ok && pid > 0 && pid != os.Getpid() && !alive(pid) {
			_ = os.Remove(filepath.Join(dir, e.Name())) // another process may have been faster
		}
	}
}

func alive(pid int) bool {
	p, err := os.FindProcess(pid)
	if err != nil {
		return false
	}
	err = p.Signal(syscall.Signal(0))
	return err == nil || errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EPERM)
}
