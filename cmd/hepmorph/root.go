package main

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"hepmorph/internal/config"
	"hepmorph/internal/train"
)

// app is what all commands share.
type app struct {
	stdio
	threads int
	quiet   bool
	json    bool // log format
	force   bool
}

// run executes a command line and returns the exit code.
func run(ctx context.Context, args []string, io stdio) int {
	a := &app{stdio: io}
	root := a.command()
	root.SetArgs(args)
	root.SetIn(io.in)
	root.SetOut(io.out)
	root.SetErr(io.err)
	err, cmd, trace := execute(ctx, root)
	code := exitCode(err)
	if code == exitOK {
		return code
	}
	msg := strings.TrimPrefix(err.Error(), "hepmorph: ")
	switch {
	case code == exitStopped && !errors.Is(err, train.ErrStopped):
		msg = "stopped; every output is complete or not there (run the same command again)"
	case code == exitStopped:
		msg += " (run the same command again to continue)"
	}
	fmt.Fprintf(io.err, "hepmorph: %s\n", msg)
	switch {
	case trace != nil:
		fmt.Fprintf(io.err, "this is a bug in hepmorph %s; please report it with:\n%s", version(), trace)
	case code == exitBug:
		fmt.Fprintf(io.err, "hepmorph %s did not expect this; if the message does not help, please report it\n", version())
	case code == exitUsage:
		fmt.Fprintf(io.err, "see: %s --help\n", cmd.CommandPath())
	}
	return code
}

// execute runs a command. A panic becomes an error with its stack.
func execute(ctx context.Context, root *cobra.Command) (err error, cmd *cobra.Command, trace []byte) {
	cmd = root
	defer func() {
		if bug := recover(); bug != nil {
			err, trace = fmt.Errorf("%v", bug), debug.Stack()
		}
	}()
	cmd, err = root.ExecuteContextC(ctx)
	return err, cmd, nil
}

func (a *app) command() *cobra.Command {
	c := &cobra.Command{
		Use:   "hepmorph",
		Short: "make simulation look like data",
		Long: `hepmorph learns from a simulated and a measured ntuple (ROOT, events not paired) how to move every
simulated event so that the sample looks like data in all features and their correlations, applies
it to any number of files, and proves it in a report.

The main job, on built-in samples:    hepmorph demo
The main job, step by step:           hepmorph morph init > run.yaml     a commented config
                                      hepmorph morph train -c run.yaml --out run
                                      hepmorph morph apply -m run/model.hmm -o out.root mc.root
                                      hepmorph morph validate -m run/model.hmm --out report`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          knownCommand,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRunE: func(*cobra.Command, []string) error {
			if a.threads < 0 {
				return usageError{fmt.Errorf("--threads %d: 0 or more is expected", a.threads)}
			}
			return nil
		},
	}
	f := c.PersistentFlags()
	f.IntVar(&a.threads, "threads", 0, "threads to use (0: as many as the machine or its cgroup grants); results do not depend on it")
	f.BoolVarP(&a.quiet, "quiet", "q", false, "no progress, only results and errors")
	f.BoolVar(&a.json, "log-json", false, "progress as JSON lines")
	f.BoolVar(&a.force, "force", false, "replace outputs that exist")
	c.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	c.AddCommand(a.demoCommand(), a.samplesCommand(), a.morphCommand(), a.caloCommand(), a.rootCommand(), a.modelCommand(), a.versionCommand())
	wrapArgs(c)
	return c
}

// wrapArgs makes wrong arguments usage errors.
func wrapArgs(c *cobra.Command) {
	if check := c.Args; check != nil {
		c.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return usageError{err}
			}
			return nil
		}
	}
	for _, s := range c.Commands() {
		wrapArgs(s)
	}
}

// group is a command that only has subcommands.
func group(use, short string, sub ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Args: knownCommand, RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	c.AddCommand(sub...)
	return c
}

// knownCommand refuses arguments that are no subcommand, and says which come near.
func knownCommand(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var names []string
	for _, s := range c.Commands() {
		if s.IsAvailableCommand() {
			names = append(names, s.Name())
		}
	}
	hint := ""
	if near := config.Near(args[0], names, 1); len(near) > 0 {
		hint = " (did you mean " + near[0] + "?)"
	}
	return fmt.Errorf("unknown command %q for %q%s", args[0], c.CommandPath(), hint)
}

func required(flag, value string) error {
	if value == "" {
		return usageError{errors.New("missing --" + flag)}
	}
	return nil
}
