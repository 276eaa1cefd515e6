package atomicfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func content(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func temps(t *testing.T, dir string) []string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(dir, ".tmp-*"))
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestWriteReplaces(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a-b.txt")
	for _, want := range []string{"one", "", strings.Repeat("x", 1<<20)} {
		if err := WriteFile(path, []byte(want)); err != nil {
			t.Fatal(err)
		}
		if got := content(t, path); got != want {
			t.Errorf("file holds %d bytes, want %d", len(got), len(want))
		}
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(path, []byte("y")); err != nil {
		t.Fatal(err)
	}
	if info, _ := os.Stat(path); info.Mode().Perm() != 0o640 {
		t.Errorf("permissions became %v", info.Mode())
	}
	if left := temps(t, filepath.Dir(path)); left != nil {
		t.Errorf("temporary files left: %v", left)
	}
}

func TestTheCallersErrorIsReturnedAsItIs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := WriteFile(path, []byte("old")); err != nil {
		t.Fatal(err)
	}
	mine := errors.New("mine")
	err := Write(path, func(w io.Writer) error {
		if _, err := w.Write(bytes.Repeat([]byte("n"), 1<<20)); err != nil {
			return err
		}
		return mine
	})
	if err != mine || errors.Is(err, ErrWrite) {
		t.Errorf("error %v", err)
	}
	if content(t, path) != "old" || temps(t, filepath.Dir(path)) != nil {
		t.Error("the target changed or a temporary file is left")
	}
}

// Fail at call k for k = 1, 2, ... until the write succeeds.
func TestFailAtEveryStep(t *testing.T) {
	for _, cause := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EACCES, syscall.EROFS} {
		dir := t.TempDir()
		path := filepath.Join(dir, "out")
		if err := WriteFile(path, []byte("old")); err != nil {
			t.Fatal(err)
		}
		k := 0
		for {
			k++
			n, at := 0, ""
			restore := SetHook(func(step string) error {
				if n++; n == k {
					at = step
					return cause
				}
				return nil
			})
			err := Write(path, func(w io.Writer) error {
				_, err := w.Write(bytes.Repeat([]byte("n"), 1<<20))
				return err
			})
			restore()
			if left := temps(t, dir); left != nil {
				t.Fatalf("%v at %s: left %v", cause, at, left)
			}
			if err == nil {
				break
			}
			if !errors.Is(err, ErrWrite) || !errors.Is(err, cause) {
				t.Fatalf("%v at %s: error %v", cause, at, err)
			}
			if !strings.Contains(err.Error(), `could not write "`+path+`"`) || strings.Contains(err.Error(), ".tmp-") {
				t.Errorf("%v at %s: message %q", cause, at, err)
			}
			if at == "syncdir" || at == "synced" {
				continue // the new file is complete in place
			}
			if content(t, path) != "old" {
				t.Fatalf("%v at %s: the previous file is gone", cause, at)
			}
		}
		if k < 7 {
			t.Errorf("only %d steps seen", k-1)
		}
		if len(content(t, path)) != 1<<20 {
			t.Error("the last write did not arrive")
		}
	}
}

// A child process is killed at each step; the name always holds the old or the new file, and the next process sweeps.
func TestKilledAtEveryStep(t *testing.T) {
	if path := os.Getenv("ATOMICFILE_CHILD"); path != "" {
		var at int
		if _, err := fmt.Sscan(os.Getenv("ATOMICFILE_STEP"), &at); err != nil {
			t.Fatal(err)
		}
		n := 0
		SetHook(func(string) error {
			if n++; n == at {
				p, _ := os.FindProcess(os.Getpid())
				_ = p.Kill()
				select {}
			}
			return nil
		})
		if err := WriteFile(path, bytes.Repeat([]byte("n"), 1<<20)); err != nil {
			t.Fatal(err)
		}
		return
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "model")
	seenOld, seenNew, swept := 0, 0, 0
	for k := 1; ; k++ {
		if err := os.WriteFile(path, []byte("old"), 0o666); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(os.Args[0], "-test.run=^TestKilledAtEveryStep$")
		cmd.Env = append(os.Environ(), "ATOMICFILE_CHILD="+path, fmt.Sprintf("ATOMICFILE_STEP=%d", k))
		err := cmd.Run()
		switch got := content(t, path); {
		case got == "old":
			seenOld++
		case len(got) == 1<<20:
			seenNew++
		default:
			t.Fatalf("killed at step %d: the file holds %d bytes", k, len(got))
		}
		swept += len(temps(t, dir))
		Sweep(dir)
		if left := temps(t, dir); left != nil {
			t.Fatalf("stale %v", left)
		}
		if err == nil {
			break
		}
		if k > 50 {
			t.Fatal("the child never succeeds")
		}
	}
	if seenOld < 4 || seenNew < 2 || swept < 3 {
		t.Errorf("old %d, new %d times, %d stale files", seenOld, seenNew, swept)
	}
}

func TestTargetsThatCannotBeWritten(t *testing.T) {
	dir := t.TempDir()
	for name, path := range map[string]string{
		"missing folder": filepath.Join(dir, "no", "f"),
		"folder":         dir,
		"empty":          "",
		"device":         os.DevNull,
	} {
		if err := WriteFile(path, []byte("x")); !errors.Is(err, ErrWrite) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := Temp(path); !errors.Is(err, ErrWrite) {
			t.Errorf("%s: Temp: %v", name, err)
		}
	}
	if err := WriteFile(filepath.Join(dir, "no", "f"), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the cause is lost: %v", err)
	}
	if err := MkdirAll(filepath.Join(os.DevNull, "x")); !errors.Is(err, ErrWrite) {
		t.Errorf("MkdirAll: %v", err)
	}
}

func TestSymbolicLinkIsFollowed(t *testing.T) {
	dir := t.TempDir()
	real, link := filepath.Join(dir, "big", "real"), filepath.Join(dir, "link")
	if err := MkdirAll(filepath.Dir(real)); err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(real, []byte("old")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(real, link); err != nil {
		t.Skipf("no symbolic links here: %v", err)
	}
	if err := WriteFile(link, []byte("new")); err != nil {
		t.Fatal(err)
	}
	if info, _ := os.Lstat(link); info.Mode()&fs.ModeSymlink == 0 || content(t, real) != "new" {
		t.Error("the link was replaced")
	}
}

func TestSweepSparesOthers(t *testing.T) {
	dir := t.TempDir()
	mine := tempName("a", os.Getpid(), 1)
	foreign := strings.Replace(tempName("a", 999999999, 1), host(), "00000000", 1)
	dead := tempName("a-b.c", 999999999, 1)
	for _, name := range []string{mine, foreign, dead, ".tmp-user", ".tmp-a-b-c-d"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	Sweep(dir)
	if got := len(temps(t, dir)); got != 4 {
		t.Errorf("%d of 5 files left, want all but the dead process's", got)
	}
	if _, err := os.Stat(filepath.Join(dir, dead)); err == nil {
		t.Error("the dead process's file is still there")
	}
	Discard(filepath.Join(dir, ".tmp-user"))
	if got := len(temps(t, dir)); got != 4 {
		t.Error("Discard removed a file that is not ours")
	}
}

func TestNeed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := Need(path, 1); err != nil {
		t.Error(err)
	}
	if _, ok := freeSpace(filepath.Dir(path)); !ok {
		t.Skip("free space is not known on this system")
	}
	if err := Need(path, 1<<62); !errors.Is(err, ErrWrite) || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("4 EB fit: %v", err)
	}
}
