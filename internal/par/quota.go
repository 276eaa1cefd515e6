package par

import (
	"bytes"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path"
	"runtime"
	"strings"
	"sync"
)

// Threads is how many goroutines work where the caller asks for no number: GOMAXPROCS, or one where the control group grants at most one core. GOMAXPROCS is
// two there at the least, and the second worker would spend on waiting what the first needs. The environment variable GOMAXPROCS, where set, is followed.
func Threads() int { return threads(runtime.GOMAXPROCS(0), asked(), quota()) }

func threads(procs int, asked string, cores float64) int {
	if asked != "" || cores > 1 {
		return procs
	}
	return 1
}

// What the process was started with is read once: every loop asks.
var (
	asked = sync.OnceValue(func() string { return os.Getenv("GOMAXPROCS") })
	quota = sync.OnceValue(func() float64 { return granted(os.DirFS("/")) })
)

// granted is the number of cores that the control groups of this process may use together, the least of them and those above; +Inf where none is limited.
// Both versions of control groups are understood, mounted where systemd and containers mount them. Inside a container the path that the process is told may
// be the host's: folders that are missing are passed over, and the container's own is the topmost.
func granted(root fs.FS) float64 {
	cores := math.Inf(1)
	groups, _ := fs.ReadFile(root, "proc/self/cgroup")
	for line := range strings.Lines(string(groups)) {
		_, line, _ = strings.Cut(strings.TrimSpace(line), ":") // hierarchy:controllers:path
		controllers, group, _ := strings.Cut(line, ":")
		read := func(dir string) float64 { return quotaV1(root, dir) }
		mounts := []string{"sys/fs/cgroup/" + controllers, "sys/fs/cgroup/cpu"}
		switch {
		case controllers == "":
			read = func(dir string) float64 { return quotaV2(root, dir) }
			mounts = []string{"sys/fs/cgroup"}
		case !strings.Contains(","+controllers+",", ",cpu,"):
			continue
		}
		for _, mount := range mounts {
			for g := path.Join("/", group); ; g = path.Dir(g) {
				cores = min(cores, read(path.Join(mount, g)))
				if g == "/" {
					break
				}
			}
		}
	}
	return cores
}

func quotaV1(root fs.FS, dir string) float64 {
	q, _ := fs.ReadFile(root, path.Join(dir, "cpu.cfs_quota_us"))
	p, _ := fs.ReadFile(root, path.Join(dir, "cpu.cfs_period_us"))
	return ratio(append(append(bytes.TrimSpace(q), ' '), p...))
}

func quotaV2(root fs.FS, dir string) float64 {
	b, _ := fs.ReadFile(root, path.Join(dir, "cpu.max"))
	return ratio(b)
}

// ratio reads "quota period" in microseconds; "max" and −1 stand for no limit, as does what cannot be read.
func ratio(b []byte) float64 {
	var quota, period float64
	if n, _ := fmt.Sscan(string(b), &quota, &period); n != 2 || !(quota > 0 && period > 0) {
		return math.Inf(1)
	}
	return quota / period
}
