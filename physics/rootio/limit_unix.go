//go:build unix

package rootio

import (
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// limitProcess caps the address space of this process and forbids core files.
func limitProcess(mem int64) error {
	if err := setLimit(unix.RLIMIT_CORE, 0); err != nil {
		return err
	}
	if !limitMemory {
		return nil
	}
	return setLimit(unix.RLIMIT_AS, uint64(mem))
}

func setLimit(what int, n uint64) error {
	var old unix.Rlimit
	if err := unix.Getrlimit(what, &old); err != nil {
		return err
	}
	n = min(n, uint64(old.Max)) // a limit that is lower already stays
	return unix.Setrlimit(what, &unix.Rlimit{Cur: n, Max: n})
}

// detach puts a child into a process group of its own.
func detach(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }
