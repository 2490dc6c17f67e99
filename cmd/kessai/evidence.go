package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"kessai/gateway"
	"kessai/pos/sale"
)

func evidenceCommand() *cobra.Command {
	return group(&cobra.Command{
		Use:     "evidence",
		Short:   "Check what is kept of a customer's approval",
		Example: "  kessai evidence verify --data kessai-data pay_000000000042",
		Long:    "docs/EVIDENCE.md describes what is kept and what it proves.",
	}, evidenceVerifyCommand())
}

func evidenceVerifyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "verify PAYMENT",
		Short: "Say what a customer was shown and signed, and whether it holds",
		Example: `  kessai evidence verify --data kessai-data pay_000000000042
  kessai evidence verify --data kessai-data 000000000042`,
		Long: `Takes the evidence of an approval out of the book and does all the checks again: that
the sale in the book is the one that was shown, that the password's proof or the passkey
fits it, and that the device, and the card reader where there was one, signed. It changes nothing, and works while a gateway runs
on the folder and while none does. Exit code 1: something does not hold, or there is no
evidence.`,
		Args: cobra.ExactArgs(1),
	}
	load := addConfigFlags(cmd)
	cmd.RunE = action("verify the evidence", func(cmd *cobra.Command, args []string) error {
		l, err := load()
		if err != nil {
			return err
		}
		var a evidenceAnswer
		err = l.ask(cmd.Context(), newLogger(cmd.ErrOrStderr(), l.Log), gateway.CustomerAct{What: "evidence", Payment: args[0]}, &a)
		if err != nil {
			return err
		}
		if err := printEvidence(cmd.OutOrStdout(), &a); err != nil {
			return err
		}
		if !a.Holds {
			return &exitError{exitFailed, "the evidence of " + a.Payment + " does not hold", "at least one check failed",
				"check the book with kessai verify, and keep the data folder as it is"}
		}
		return nil
	})
	return cmd
}

func printEvidence(w io.Writer, a *evidenceAnswer) error {
	var s sale.Sale
	if err := s.UnmarshalJSON(a.Sale); err != nil {
		return err
	}
	fmt.Fprintf(w, "payment   %s, approved by %s\n", a.Payment, a.Approval)
	fmt.Fprintf(w, "shown     %s (%s), terminal %s, to customer %s, %s\n", s.Shop, s.Merchant, s.Terminal, s.Customer, s.Time.Format(time.RFC3339Nano))
	for _, it := range s.Items {
		fmt.Fprintf(w, "          %d × %s\n", it.Quantity, it.Name)
	}
	fmt.Fprintf(w, "total     %s\n", s.Total)
	if s.Foreign != nil {
		fmt.Fprintf(w, "          %s, at %s of %s\n", s.Foreign.Total, s.Foreign.Rate, s.Foreign.Date)
	}
	fmt.Fprintf(w, "digest    %s\n", a.Digest)
	from := ""
	if a.Origin != "" {
		from = ", on the page of " + a.Origin
	}
	fmt.Fprintf(w, "signed    by %s, at %s, recorded at %s\n", a.Factor, a.Time.Format(time.RFC3339Nano), a.Recorded.Format(time.RFC3339Nano))
	fmt.Fprintf(w, "device    %s %q%s\n", a.Device, a.Name, from)
	if a.Reader != nil {
		fmt.Fprintf(w, "reader    %s %q, %s\n", a.Reader.ID, a.Reader.Name, readerNow(a.Reader, s.Customer))
	}
	if !a.Known {
		fmt.Fprintln(w, "          not one of the customer's phones now: it was removed since, or never was one")
	}
	for _, c := range a.Checks {
		word := "holds "
		if !c.OK {
			word = "FAILS "
		}
		fmt.Fprintf(w, "  %s  %s\n", word, c.What)
	}
	if a.Missing != "" {
		fmt.Fprintf(w, "  not checked: %s\n", a.Missing)
	}
	if a.Holds {
		fmt.Fprintln(w, "the evidence holds")
	}
	return nil
}

// readerNow says what has become of the card reader.
func readerNow(x *readerAnswer, customer string) string {
	switch {
	case x.Customer == "":
		return "which is not enrolled now"
	case x.Customer != customer:
		return "which is enrolled by another customer now"
	}
	return "enrolled " + x.Added.Format(time.RFC3339) + ", " + since("revoked", x.Revoked, "in use")
}
