package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// app is what all commands share.
type app struct {
	stdio
	threads int
	quiet   bool
	json    bool // log format
	force   bool
	seed    uint64
	set     []string
}

// run executes a command line and returns the exit code.
func run(ctx context.Context, args []string, io stdio) int {
	a := &app{stdio: io}
	cmd := a.command()
	cmd.SetArgs(args)
	cmd.SetIn(io.in)
	cmd.SetOut(io.out)
	cmd.SetErr(io.err)
	var err error
	var bug any
	func() {
		defer func() {
			if bug = recover(); bug != nil {
				err = fmt.Errorf("%v", bug)
			}
		}()
		err = cmd.ExecuteContext(ctx)
	}()
	code := exitCode(err)
	if err == nil || code == exitOK {
		return code
	}
	msg := err.Error()
	fmt.Fprintf(io.err, "hepmorph: %s\n", strings.TrimPrefix(msg, "hepmorph: "))
	if bug != nil {
		fmt.Fprintf(io.err, "this is a bug in hepmorph %s; please report it with:\n%s", version(), stack())
	}
	if code == exitUsage {
		fmt.Fprintln(io.err, "see: hepmorph help")
	}
	return code
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
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	f := c.PersistentFlags()
	f.IntVar(&a.threads, "threads", 0, "threads to use (0: as many as the machine or its cgroup grants); results do not depend on it")
	f.BoolVarP(&a.quiet, "quiet", "q", false, "no progress, only results and errors")
	f.BoolVar(&a.json, "log-json", false, "progress as JSON lines")
	f.BoolVar(&a.force, "force", false, "replace outputs that exist")
	c.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	c.AddCommand(a.demoCommand(), a.samplesCommand(), a.morphCommand(), a.rootCommand(), a.modelCommand(), a.versionCommand())
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
	c := &cobra.Command{Use: use, Short: short, Args: func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		return fmt.Errorf("unknown command %q for %q", args[0], cmd.CommandPath())
	}, RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	c.AddCommand(sub...)
	return c
}

func required(flag, value string) error {
	if value == "" {
		return usageError{errors.New("missing --" + flag)}
	}
	return nil
}
