// Command kessai is the gateway and its tools in one binary. It reads the
// configuration, builds the whole from its parts, and is the only package that
// knows all of them.
//
// What it is for: the command line, its exit codes and messages. What it is not
// for: rules (authz), storage (authz/ledger, merchants), wires (gateway). Start
// reading with serve in run.go.
package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"
	_ "time/tzdata" // business days need time zones on machines that have none

	"github.com/spf13/cobra"
)

func main() { os.Exit(Main()) }

// Main runs the command that os.Args names and gives its exit code.
func Main() int {
	ctx, stop := untilSignal(context.Background())
	defer stop()
	root := newRoot()
	root.SetArgs(os.Args[1:])
	cmd, err := root.ExecuteContextC(ctx)
	return report(os.Stderr, cmd, err)
}

// untilSignal gives a context that SIGINT or SIGTERM ends. A second signal ends
// the process at once.
func untilSignal(parent context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancel(parent)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		cancel()
		<-signals
		os.Exit(exitFailed)
	}()
	return ctx, cancel
}

const helpTemplate = `{{if .HasExample}}Examples:
{{.Example}}

{{end}}{{with (or .Long .Short)}}{{. | trimTrailingWhitespaces}}

{{end}}{{if or .Runnable .HasSubCommands}}{{.UsageString}}{{end}}`

const usageTemplate = `Usage:{{if .HasAvailableSubCommands}}
  {{.CommandPath}} COMMAND{{else}}
  {{.UseLine}}{{end}}{{if .HasAvailableSubCommands}}

Commands:{{range .Commands}}{{if .IsAvailableCommand}}
  {{rpad .Name .NamePadding}} {{.Short}}{{end}}{{end}}{{end}}{{if .HasAvailableLocalFlags}}

Flags:
{{.LocalFlags.FlagUsages | trimTrailingWhitespaces}}{{end}}
`

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "kessai",
		Short: "Payment-authorization gateway",
		Long: `Kessai is an acquirer-style payment-authorization gateway: terminals ask over
ISO 8583 or JSON, the gateway judges, moves the money durably, and answers.

Exit codes: 0 fine, 1 failed, 2 usage, 3 configuration, 4 cannot connect or
bind, 5 store locked or damaged, 6 threshold missed.`,
		Example: `  kessai demo                                 a gateway with sample data, to try things
  kessai serve --config configs/kessai.yaml   a gateway of your own
  kessai iso send --fill 0=0200 3=000000 4=450 2=4242424242424242 14=2912 41=AOI00001 49=392`,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetHelpTemplate(helpTemplate)
	root.SetUsageTemplate(usageTemplate)
	root.SetHelpCommand(&cobra.Command{Use: "no-help", Hidden: true})
	root.CompletionOptions.DisableDefaultCmd = true
	return group(root,
		serveCommand(), demoCommand(), importCommand(), feedCommand(), reloadCommand(),
		refreshCommand(), validityCommand(),
		isoCommand(), verifyCommand(), benchCommand(),
		configCommand(), customerCommand(), readerCommand(), cardCommand(), evidenceCommand(), purseCommand(), simCommand(), versionCommand(), completionCommand(),
	)
}

// action wraps what a command does, so that report can tell its failures from
// cobra's complaints about the command line.
func action(what string, run func(cmd *cobra.Command, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		err := run(cmd, args)
		if _, ok := errors.AsType[*exitError](err); ok || err == nil {
			return err
		}
		return fail("cannot "+what, err, "put right what it says and try again")
	}
}

// group makes a command that only has others below it.
func group(c *cobra.Command, below ...*cobra.Command) *cobra.Command {
	c.Args, c.RunE = cobra.NoArgs, func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	c.AddCommand(below...)
	return c
}
