package train

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"hepmorph/internal/atomicfile"
)

type owner struct {
	PID  int
	Host string
}

// lock takes a run folder for this process. The lock of a dead process of this host is taken over.
func lock(dir string) (release func(), err error) {
	path := filepath.Join(dir, ".lock")
	host, _ := os.Hostname()
	if b, err := os.ReadFile(path); err == nil {
		var o owner
		if json.Unmarshal(b, &o) == nil && !(o.Host == host && (o.PID == os.Getpid() || dead(o.PID))) {
			return nil, fmt.Errorf("train: could not use %q: %w by process %d on %s (remove %s if that is wrong)", dir, ErrLocked, o.PID, o.Host, path)
		}
	}
	b, err := json.Marshal(owner{os.Getpid(), host})
	if err != nil {
		return nil, err
	}
	if err := atomicfile.WriteFile(path, b); err != nil {
		return nil, err
	}
	return func() { os.Remove(path) }, nil
}

func dead(pid int) bool { return errors.Is(unix.Kill(pid, 0), unix.ESRCH) }
