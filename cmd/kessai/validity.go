package main

import (
	"context"
	"encoding/json"

	"github.com/spf13/cobra"

	"kessai/gateway"
)

func validityCommand() *cobra.Command {
	return askValidity(&cobra.Command{
		Use:   "validity",
		Short: "Say what a running gateway judges media and terminals by",
		Example: `  kessai validity --data kessai-data
  kessai validity --config configs/kessai.yaml`,
		Long: `Prints, as JSON, what the gateway that runs on the data folder has in memory: the
mode, how many media and terminals, the memory that they take in bytes, the
registry's version, when it was read, and the error of the last refresh if that
failed. docs/OPERATION.md says what to make of it.`,
	}, func(context.Context, string) error { return nil })
}

func refreshCommand() *cobra.Command {
	return askValidity(&cobra.Command{
		Use:     "refresh",
		Short:   "Have a running gateway read its registry again at once",
		Example: "  kessai refresh --data kessai-data",
		Long: `The gateway that runs on the data folder reads all that it judges by from its
registry again. What it had serves meanwhile, and for longer if this fails. Prints
what it judges by then, as kessai validity does. A change of the registry is in
force without this.`,
	}, gateway.AdminRefresh)
}

// askValidity completes a command that asks what is judged by, after something
// that it does first.
func askValidity(cmd *cobra.Command, first func(ctx context.Context, socket string) error) *cobra.Command {
	cmd.Args = cobra.NoArgs
	load := addConfigFlags(cmd)
	cmd.RunE = action(cmd.Name(), func(cmd *cobra.Command, _ []string) error {
		l, err := load()
		if err != nil {
			return err
		}
		var v gateway.Validity
		if err = first(cmd.Context(), l.adminSocket()); err == nil {
			v, err = gateway.AdminValidity(cmd.Context(), l.adminSocket())
		}
		if err != nil {
			return socketError(cmd.Name(), err)
		}
		e := json.NewEncoder(cmd.OutOrStdout())
		e.SetIndent("", "  ")
		return e.Encode(v)
	})
	return cmd
}
