package main

import (
	"fmt"
	"io"
	"strings"

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

// maxTypedPAN bounds a card number as it is typed: 19 digits, and a space between
// any two.
const maxTypedPAN = 2*19 - 1

func cardUnlockCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "unlock",
		Short: "Forget the wrong PINs of a card",
		Example: `  kessai card unlock --data kessai-data
  pass show card | kessai card unlock --data kessai-data`,
		Long: `After three wrong PINs without a right one between them (reader.pin_tries) a card is not
taken in a card reader any more, until this. It is recorded in the book. The number is asked
for, or read as one line from standard input, with or without spaces: on the command line
it would stand in the shell's history and in the list of processes.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			return usage("the card's number is not taken from the command line", "it would stand in the shell's history and in the list of processes",
				"give the command without it, and type the number when it is asked for, or pipe it to standard input")
		},
	}
	return customerAction(cmd, "unlock the card", func([]string) (gateway.CustomerAct, error) {
		text, err := readSecret(cmd, "card number", maxTypedPAN)
		if err != nil {
			return gateway.CustomerAct{}, err
		}
		if len(text.Reveal()) > maxTypedPAN { // of which the end is missing
			return gateway.CustomerAct{}, kessai.ErrPAN
		}
		number, err := kessai.ParsePAN(strings.ReplaceAll(text.Reveal(), " ", ""))
		return gateway.CustomerAct{What: "card_unlock", Card: number}, err
	}, func(w io.Writer, _ string, a cardAnswer) {
		fmt.Fprintf(w, "unlocked: %s of %s; wrong PINs until now: %d\n", a.Last4, a.Customer, a.Wrong)
	})
}
