package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"kessai/bench"
	loadgen "kessai/bench/load"
)

func benchRegistryCommand() *cobra.Command {
	var p loadgen.Population
	var out string
	cmd := &cobra.Command{
		Use:   "registry",
		Short: "Write the files that fill a registry for kessai bench --addr",
		Example: `  kessai bench registry --out bench-registry
  kessai bench registry --out big --media 10000000 --terminals 10000`,
		Long: `Writes cards, customers, terminals, merchants and API keys as CSV, and prints the
command that imports them. The card numbers are valid in form and nobody's; the API
keys are known to everyone: fill no registry with them that handles money.`,
		Args: cobra.NoArgs,
	}
	f := cmd.Flags()
	f.IntVar(&p.Media, "media", 100_000, "cards, each with a customer")
	f.IntVar(&p.Terminals, "terminals", 1000, "terminals, of a hundred merchants at most")
	f.StringVar(&out, "out", "", "`FOLDER` for the files; made where it is missing")
	_ = cmd.MarkFlagRequired("out")
	cmd.RunE = action("write the files", func(cmd *cobra.Command, _ []string) error {
		if err := p.Validate(); err != nil {
			return usage("the registry cannot be made so", err.Error(), "see kessai bench registry --help")
		}
		if err := os.MkdirAll(out, 0o700); err != nil {
			return fail("cannot write to "+out, err, "give --out a folder that this user can write to")
		}
		files, err := bench.WriteRegistry(out, p)
		if err != nil {
			return fail("cannot write to "+out, err, "give --out a folder that this user can write to")
		}
		fmt.Fprintf(cmd.OutOrStdout(), "kessai import %s\n", strings.Join(files, " "))
		return nil
	})
	return cmd
}
