package validation

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"
)

// VALIDATION_EVENTS=1000000 go test -run Scale -v measures a report on that many events a sample and 20 columns.
func TestScale(t *testing.T) {
	n, err := strconv.Atoi(os.Getenv("VALIDATION_EVENTS"))
	if err != nil {
		t.Skip("VALIDATION_EVENTS is not set")
	}
	samples, vars := toy(n, 0)
	if os.Getenv("VALIDATION_QUICK") == "" {
		for k := range 13 { // 20 columns
			name := fmt.Sprintf("x%d", k)
			vars = append(vars, Variable{Name: name, Kind: Feature})
			for _, s := range samples {
				c := make([]float64, n)
				for i := range c {
					c[i] = s.Cols["sieie"][i]*float64(k) + s.Cols["m"][i] + s.Cols["eta"][(i+k*17)%n]
				}
				s.Cols[name] = c
			}
		}
	}
	start := time.Now()
	rep, err := Run(context.Background(), t.TempDir(), samples, vars, Settings{Seed: 1, Quick: os.Getenv("VALIDATION_QUICK") != ""})
	if err != nil {
		t.Fatal(err)
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	t.Logf("%d + %d + %d events, %d columns: %.1f s, %.2f GB from the system; %s", n, n, n, len(vars), time.Since(start).Seconds(), float64(m.Sys)/1e9, rep.Headline())
}
