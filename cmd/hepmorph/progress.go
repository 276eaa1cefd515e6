package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"
)

// A meter shows how far a long piece of work is: a bar on a terminal, a plain line every ten seconds in a batch log.
type meter struct {
	mu    sync.Mutex
	what  string
	w     io.Writer
	json  bool
	bars  *mpb.Progress
	bar   *mpb.Bar
	note  string
	begin time.Time // of the first report
	first int64     // done then
	last  time.Time
	total int64
}

const lineEvery = 10 * time.Second

func (a *app) progress(what string) *meter {
	m := &meter{what: what, w: a.err, json: a.json, last: time.Now()}
	if a.quiet {
		m.w = io.Discard
		return m
	}
	if f, ok := a.err.(*os.File); ok && !a.json && term.IsTerminal(int(f.Fd())) {
		m.bars = mpb.New(mpb.WithOutput(f), mpb.WithWidth(48))
		m.bar = m.bars.AddBar(0, mpb.BarRemoveOnComplete(),
			mpb.PrependDecorators(decor.Name(what+" ")),
			mpb.AppendDecorators(decor.Percentage(), decor.Any(func(decor.Statistics) string { return "  " + m.note }),
				decor.Name("  "), decor.AverageETA(decor.ET_STYLE_MMSS)))
	}
	return m
}

func (m *meter) set(done, total int64) { m.say(done, total, "") }

// say updates the meter with a note such as the present loss.
func (m *meter) say(done, total int64, note string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.begin.IsZero() {
		m.begin, m.first = time.Now(), done
	}
	if m.bar != nil {
		m.note = note
		if total != m.total {
			m.bar.SetTotal(total, false)
			m.total = total
		}
		m.bar.SetCurrent(done)
		return
	}
	if time.Since(m.last) < lineEvery {
		return
	}
	m.last = time.Now()
	if m.json {
		b, err := json.Marshal(map[string]any{"what": m.what, "done": done, "total": total, "note": note})
		if err == nil {
			fmt.Fprintf(m.w, "%s\n", b)
		}
		return
	}
	left := ""
	if done > m.first {
		left = fmt.Sprintf(", about %v left", time.Duration(float64(time.Since(m.begin))*float64(total-done)/float64(done-m.first)).Round(time.Second))
	}
	fmt.Fprintln(m.w, strings.TrimRight(fmt.Sprintf("%s %d of %d%s  %s", m.what, done, total, left, note), " "))
}

func (m *meter) done() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.bars != nil {
		m.bar.Abort(true)
		m.bars.Wait()
	}
}

// logf writes a line for people to standard error.
func (a *app) logf(format string, args ...any) {
	if a.quiet {
		return
	}
	s := fmt.Sprintf(format, args...)
	if a.json {
		b, err := json.Marshal(map[string]string{"message": s})
		if err == nil {
			fmt.Fprintf(a.err, "%s\n", b)
		}
		return
	}
	fmt.Fprintln(a.err, s)
}
