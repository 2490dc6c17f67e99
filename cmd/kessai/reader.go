package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"kessai/gateway"
)

func readerCommand() *cobra.Command {
	return group(&cobra.Command{
		Use:   "reader",
		Short: "See to the card readers that hang on customers' phones",
		Example: `  kessai reader invite --data kessai-data 1234567890
  kessai reader list --data kessai-data 1234567890`,
		Long: `Where a gateway runs on the data folder, it does what is asked, through its admin
socket; where none runs, the folder is opened directly. docs/READER.md describes readers.`,
	}, readerInviteCommand(), readerListCommand(), readerRevokeCommand())
}

func readerInviteCommand() *cobra.Command {
	return customerAction(&cobra.Command{
		Use:     "invite CUSTOMER",
		Short:   "Make a code with which a customer enrols a card reader",
		Example: `  kessai reader invite --data kessai-data 1234567890`,
		Long: `Prints 24 digits that are good for one card reader and for a day. The customer, signed
in on the phone, adds a reader there and types them on the reader. Give them to the
customer alone, and not by the phone that the reader hangs on: they tell the reader which
gateway to believe, and the gateway which reader. A code before is void; five wrong ones
void it, too.`,
		Args: cobra.ExactArgs(1),
	}, "invite a card reader", about("reader_invite"), func(w io.Writer, id string, a readerCodeAnswer) {
		fmt.Fprintf(w, "%s\nfor a card reader of %s (%s), once, until %s\n", groupsOfFour(a.Code), a.Name, id, a.Until.Format(time.RFC3339))
	})
}

func groupsOfFour(digits string) string {
	var groups []string
	for group := range slices.Chunk([]byte(digits), 4) {
		groups = append(groups, string(group))
	}
	return strings.Join(groups, " ")
}

func readerListCommand() *cobra.Command {
	return customerAction(&cobra.Command{
		Use:     "list CUSTOMER",
		Short:   "List a customer's card readers",
		Example: `  kessai reader list --data kessai-data 1234567890`,
		Long: `Lists those that were revoked, too. When a reader was last used is written down every
five minutes at most, so it may be a little later than what is shown.`,
		Args: cobra.ExactArgs(1),
	}, "list the customer's card readers", about("readers"), func(w io.Writer, id string, a readersAnswer) {
		if len(a.Readers) == 0 {
			fmt.Fprintf(w, "%s (%s): no card reader is enrolled (kessai reader invite)\n", a.Name, id)
			return
		}
		fmt.Fprintf(w, "%s (%s):\n", a.Name, id)
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		for _, x := range a.Readers {
			fmt.Fprintf(t, "reader\t%s\t%s\tadded %s\t%s\t%s\n", x.ID, x.Name, x.Added.Format(time.RFC3339),
				since("used", x.Seen, "never used"), since("revoked", x.Revoked, "in use"))
		}
		_ = t.Flush()
	})
}

// since says what happened when, or what it is called that it never did.
func since(what string, at time.Time, never string) string {
	if at.IsZero() {
		return never
	}
	return what + " " + at.Format(time.RFC3339)
}

func readerRevokeCommand() *cobra.Command {
	return customerAction(&cobra.Command{
		Use:     "revoke READER",
		Short:   "End what a card reader may do, when it was lost",
		Example: `  kessai reader revoke --data kessai-data 0f1e2d3c4b5a6978`,
		Long: `Revokes a card reader, named as kessai reader list names it. A payment that it is used
for ends with its next message. A reader that was revoked stays so: to use it again, have it
make itself another key, and enrol it as another reader (kessai sim reader: with another file of
--state).`,
		Args: cobra.ExactArgs(1),
	}, "revoke the card reader", func(args []string) (gateway.CustomerAct, error) {
		return gateway.CustomerAct{What: "reader_revoke", Reader: args[0]}, nil
	}, func(w io.Writer, _ string, a readerAnswer) {
		fmt.Fprintf(w, "revoked: %s (%s) of %s\n", a.ID, a.Name, a.Customer)
	})
}
