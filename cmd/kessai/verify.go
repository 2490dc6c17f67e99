package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"kessai/authz/ledger"
)

func verifyCommand() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "verify --data FOLDER",
		Short: "Check the whole book while no gateway runs on it",
		Example: `  kessai verify --data kessai-data
  kessai verify --data /var/lib/kessai && echo the book is whole`,
		Long: `Reads every block of the book and checks its hash, the chain from block to
block, the witness, every posting and every sum. It changes nothing. Exit code 5:
the book is damaged, or a gateway has it open.`,
		Args: cobra.NoArgs,
	}
	cmd.Flags().StringVar(&dir, "data", "", "data `FOLDER`")
	_ = cmd.MarkFlagRequired("data")
	cmd.RunE = action("check the book", func(cmd *cobra.Command, _ []string) error {
		if _, err := os.Stat(dir); err != nil {
			return &exitError{exitConfig, "cannot check the book in " + dir, plainPath(err), "give the data folder of a gateway with --data"}
		}
		report, err := ledger.Verify(dir, progressBar(cmd.ErrOrStderr()))
		switch {
		case errors.Is(err, ledger.ErrDamaged):
			return &exitError{exitStore, "the book in " + dir + " is damaged", err.Error(),
				"keep the folder as it is and restore it from a backup or a copy; no gateway will start on it"}
		case err != nil:
			return storeError(dir, err)
		}
		out := cmd.OutOrStdout()
		fmt.Fprintf(out, "the book is whole: %d blocks, %d transactions, %d accounts, %d holds open\nlast block %x\n",
			report.Blocks, report.Transactions, report.Accounts, report.HoldsOpen, report.LastHash)
		for _, c := range slices.Sorted(maps.Keys(report.Sums)) {
			fmt.Fprintf(out, "sum over all accounts: %d %s\n", report.Sums[c], c)
		}
		for _, c := range slices.Sorted(maps.Keys(report.Float)) {
			fmt.Fprintf(out, "on media: %d %s\n", report.Float[c], c)
		}
		if report.PutBack != 0 {
			fmt.Fprintf(out, "block %d stands only in the witness; the next start puts it back\n", report.PutBack)
		}
		return nil
	})
	return cmd
}
