package config

import (
	"fmt"
	"strings"
	"time"
)

// A Duration is a time budget like 90s, 15m or 1h30m.
type Duration time.Duration

// SetScalar reads a duration.
func (d *Duration) SetScalar(text string) error {
	v, err := time.ParseDuration(text)
	if err != nil || v <= 0 {
		return fmt.Errorf("%q is no time (like 90s, 15m or 1h30m)", text)
	}
	*d = Duration(v)
	return nil
}

func (d Duration) String() string {
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}
