package flows_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"hepmorph/internal/ad"
	"hepmorph/internal/kernel"
	"hepmorph/internal/par"
	"hepmorph/internal/peer/cases"
)

// TestHalfACore holds that under a quota of half a core, as batch systems give them, training runs at half the speed of one core at least: workers that
// wait awake must not burn what they are granted. Compared are steps for a second of processor time, all of which a quota grants half the time: others on
// the machine matter little. Rounds alternate, as the machine's speed drifts; a core that pauses by itself shows what its neighbours take meanwhile.
func TestHalfACore(t *testing.T) {
	if how := os.Getenv("HEPMORPH_QUOTA"); how != "" {
		trainFor(t, 3*time.Second, how == "pause")
		return
	}
	if !*long {
		t.Skip("takes a minute: go test ./flows -run HalfACore -args -long")
	}
	dir := "/sys/fs/cgroup/hepmorph-test"
	quota := map[string]string{"cpu.max": "50000 100000"}
	if _, err := os.Stat("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"); err == nil {
		dir, quota = "/sys/fs/cgroup/cpu/hepmorph-test", map[string]string{"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "50000"}
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Skipf("no control group can be made here: %v", err)
	}
	defer os.Remove(dir)
	for file, v := range quota {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(v), 0o644); err != nil {
			t.Skipf("no quota can be set here: %v", err)
		}
	}
	run := func(env string, wrap ...string) (steps float64, threads int) {
		cmd := exec.Command(wrap[0], append(wrap[1:], os.Args[0], "-test.run", "^TestHalfACore$", "-test.v")...)
		cmd.Env = append(os.Environ(), env)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		for line := range strings.Lines(string(out)) {
			fmt.Sscanf(line, "%g steps for a second of processor time, %d threads", &steps, &threads)
		}
		return
	}
	var halved, pause []float64
	for range 7 {
		one, _ := run("HEPMORPH_QUOTA=one", "env", "GOMAXPROCS=1")
		half, threads := run("HEPMORPH_QUOTA=half", "sh", "-c", `echo $$ > "$0/cgroup.procs" && exec "$@"`, dir)
		paused, _ := run("HEPMORPH_QUOTA=pause", "env", "GOMAXPROCS=1")
		t.Logf("steps for a second of processor time: %.0f on one core, %.0f in half a core on %d thread(s), %.0f on one core that pauses half the time", one, half, threads, paused)
		halved, pause = append(halved, half/one), append(pause, paused/one)
		if threads != 1 {
			t.Errorf("%d threads share half a core", threads)
		}
	}
	slices.Sort(halved)
	slices.Sort(pause)
	t.Logf("half a core is %.2f (%.2f to %.2f) of half the speed of one, a pause of half the time %.2f (%.2f to %.2f)", halved[3], halved[0], halved[6], pause[3], pause[0], pause[6])
	if !(halved[3] >= 0.9) {
		t.Errorf("half a core trains at %.2f of half the speed of one", halved[3])
	}
}

// trainFor prints what a second of processor time trains of the narrow spline flow; with pauses, half of each 100 ms is slept away.
func trainFor(t *testing.T, d time.Duration, pauses bool) {
	const period = 100 * time.Millisecond
	r, err := cases.New(cases.All()[1], kernel.Best(), 0, ad.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	r.Train()
	n, start, spent := 0, time.Now(), processorTime()
	for turn := start; time.Since(start) < d; n++ {
		r.Train()
		if pauses && time.Since(turn) > period/2 {
			time.Sleep(period / 2)
			turn = time.Now()
		}
	}
	fmt.Printf("%g steps for a second of processor time, %d threads\n", float64(n)/(processorTime()-spent).Seconds(), par.Threads())
}

// processorTime is what all threads of this process have used.
func processorTime() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
