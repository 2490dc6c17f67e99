package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"kessai"
	"kessai/gateway"
)

func cardCommand() *cobra.Command {
	return group(&cobra.Command{
		Use:     "card",
		Short:   "See to cards",
		Example: `  kessai card unlock --data kessai-data`,
		Long: `What a card may do is in the registry: kessai import and kessai feed change that.
docs/REGISTRY.md describes it.`,
	}, cardUnlockCommand())
}

// maxPAN is the length of the longest card number.
const maxPAN = 19

func cardUnlockCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "unlock",
		Short: "Forget the wrong PINs of a card",
		Example: `  kessai card unlock --data kessai-data
  pass show card | kessai card unlock --data kessai-data`,
		Long: `After three wrong PINs without a right one between them (reader.pin_tries) a card is not
taken in a card reader any more, until this. It is recorded in the book. The number is asked
for, or read as one line from standard input: on the command line it would stand in the
shell's history and in the list of processes.`,
		Args: cobra.NoArgs,
	}
	return customerAction(cmd, "unlock the card", func([]string) (gateway.CustomerAct, error) {
		text, err := readSecret(cmd, "card number", maxPAN)
		if err != nil {
			return gateway.CustomerAct{}, err
		}
		number, err := kessai.ParsePAN(text.Reveal())
		return gateway.CustomerAct{What: "card_unlock", Card: number}, err
	}, func(w io.Writer, _ string, a cardAnswer) {
		fmt.Fprintf(w, "unlocked: %s of %s; wrong PINs until now: %d\n", a.Last4, a.Customer, a.Wrong)
	})
}
