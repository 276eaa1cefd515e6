package par

import (
	"math"
	"testing"
	"testing/fstest"
)

func TestGranted(t *testing.T) {
	inf := math.Inf(1)
	for name, c := range map[string]struct {
		files map[string]string
		want  float64
	}{
		"no control groups":       {nil, inf},
		"version 2, half a core":  {map[string]string{"proc/self/cgroup": "0::/job\n", "sys/fs/cgroup/job/cpu.max": "50000 100000\n"}, 0.5},
		"version 2, no limit":     {map[string]string{"proc/self/cgroup": "0::/job\n", "sys/fs/cgroup/job/cpu.max": "max 100000\n"}, inf},
		"the group above limits":  {map[string]string{"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/cpu.max": "150000 100000\n", "sys/fs/cgroup/a/b/cpu.max": "max 100000\n"}, 1.5},
		"in a container":          {map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "200000 100000\n"}, 2},
		"path of another machine": {map[string]string{"proc/self/cgroup": "0::/../host/x\n", "sys/fs/cgroup/cpu.max": "25000 50000\n"}, 0.5},
		"version 1": {map[string]string{"proc/self/cgroup": "4:memory:/m\n3:cpu,cpuacct:/job\n0::/\n",
			"sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us": "50000\n", "sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_period_us": "100000\n"}, 0.5},
		"version 1, path of the host": {map[string]string{"proc/self/cgroup": "1:cpu:/docker/0123\n",
			"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "75000\n", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"}, 0.75},
		"version 1, no limit": {map[string]string{"proc/self/cgroup": "1:cpu:/\n",
			"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"}, inf},
		"other controllers": {map[string]string{"proc/self/cgroup": "1:cpuset:/x\n",
			"sys/fs/cgroup/cpuset/x/cpu.cfs_quota_us": "50000\n", "sys/fs/cgroup/cpuset/x/cpu.cfs_period_us": "100000\n"}, inf},
		"zero period": {map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "50000 0\n"}, inf},
	} {
		if got := granted(disk(c.files)); got != c.want {
			t.Errorf("%s: %g cores, want %g", name, got, c.want)
		}
	}
}

func TestThreads(t *testing.T) {
	for _, c := range []struct {
		procs int
		asked string
		cores float64
		want  int
	}{
		{4, "", math.Inf(1), 4}, {2, "", 1.5, 2}, {2, "", 1, 1}, {2, "", 0.5, 1}, {2, "2", 0.5, 2}, {1, "1", math.Inf(1), 1},
	} {
		if got := threads(c.procs, c.asked, c.cores); got != c.want {
			t.Errorf("GOMAXPROCS %d (asked %q), %g cores granted: %d threads, want %d", c.procs, c.asked, c.cores, got, c.want)
		}
	}
}

func disk(files map[string]string) fstest.MapFS {
	m := fstest.MapFS{}
	for name, text := range files {
		m[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return m
}

func FuzzGranted(f *testing.F) {
	f.Add("0::/job\n", "50000 100000\n")
	f.Add("3:cpu,cpuacct:/job\n", "-1")
	f.Add("::../..\n:", "max")
	f.Fuzz(func(t *testing.T, groups, limit string) {
		if c := granted(disk(map[string]string{"proc/self/cgroup": groups, "sys/fs/cgroup/cpu.max": limit, "sys/fs/cgroup/job/cpu.max": limit})); !(c > 0) {
			t.Errorf("%g cores", c)
		}
	})
}
