// Command hepmorph makes simulation look like data: it morphs simulated ROOT ntuples into data by conditional normalizing flows, and
// proves it. See hepmorph help, and docs/ in the repository.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"hepmorph/physics/rootio"
)

func main() {
	rootio.MaybeChild()
	ctx, cancel := signalContext()
	defer cancel()
	os.Exit(run(ctx, os.Args[1:], stdio{os.Stdin, os.Stdout, os.Stderr}))
}

// stdio is what a command talks to: results go to out, everything else to err.
type stdio struct {
	in       io.Reader
	out, err io.Writer
}

// signalContext ends at the first SIGINT, SIGTERM, SIGHUP or SIGUSR1, so that work is saved; a second SIGINT leaves at once.
func signalContext() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	ch := make(chan os.Signal, 4)
	signal.Notify(ch, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1)
	go func() {
		<-ch
		cancel()
		for s := range ch {
			if s == os.Interrupt {
				time.Sleep(10 * time.Millisecond)
				os.Exit(exitInterrupted)
			}
		}
	}()
	return ctx, cancel
}
