//go:build !unix

package rootio

import "os/exec"

func limitProcess(int64) error { return nil }

func detach(*exec.Cmd) {}
