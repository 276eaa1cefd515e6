package flows_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"hepmorph/internal/ad"
	"hepmorph/internal/kernel"
	"hepmorph/internal/peer/cases"
)

// TestHalfACore holds that under a quota of half a core, as batch systems give them, training runs at half the speed of one core at least: workers that
// wait awake must not burn what they are granted. Compared are steps for a second of processor time, all of which a quota grants half the time: others on
// the machine matter little.
func TestHalfACore(t *testing.T) {
	if os.Getenv("HEPMORPH_QUOTA") != "" {
		trainFor(t, 4*time.Second)
		return
	}
	if !*long {
		t.Skip("takes ten seconds: go test ./flows -run HalfACore -args -long")
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
	run := func(env string, wrap ...string) (perSecond, perProcessorSecond float64, procs int) {
		cmd := exec.Command(wrap[0], append(wrap[1:], os.Args[0], "-test.run", "^TestHalfACore$", "-test.v")...)
		cmd.Env = append(os.Environ(), "HEPMORPH_QUOTA=1", env)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		for line := range strings.Lines(string(out)) {
			var n int
			if k, _ := fmt.Sscanf(line, "%d steps %g a second procs %d", &n, &perSecond, &procs); k == 3 {
				perProcessorSecond = float64(n) / (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
			}
		}
		return
	}
	one, oneCost, _ := run("GOMAXPROCS=1", "env")
	half, halfCost, procs := run("X=", "sh", "-c", `echo $$ > "$0/cgroup.procs" && exec "$@"`, dir)
	t.Logf("one core: %.0f steps a second, %.0f a second of processor time; half a core: %.0f and %.0f, GOMAXPROCS %d of %d", one, oneCost, half, halfCost, procs, runtime.NumCPU())
	if !(halfCost >= 0.9*oneCost) {
		t.Errorf("half a core trains at %.2f of half the speed of one", halfCost/oneCost)
	}
}

// trainFor prints the steps a second of the narrow spline flow.
func trainFor(t *testing.T, d time.Duration) {
	r, err := cases.New(cases.All()[1], kernel.Best(), 0, ad.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	r.Train()
	n, start := 0, time.Now()
	for ; time.Since(start) < d; n++ {
		r.Train()
	}
	fmt.Printf("%d steps %g a second procs %d\n", n, float64(n)/time.Since(start).Seconds(), runtime.GOMAXPROCS(0))
}
