package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"kessai"
	"kessai/customers/phones"
	"kessai/gateway"
)

func customerCommand() *cobra.Command {
	return group(&cobra.Command{
		Use:   "customer",
		Short: "See to customers and the phones that they confirm payments with",
		Example: `  kessai customer invite --data kessai-data 1234567890
  kessai customer devices --data kessai-data 1234567890`,
		Long: `Where a gateway runs on the data folder, it does what is asked, through its admin
socket; where none runs, the folder is opened directly.`,
	}, inviteCommand(), devicesCommand(), revokeCommand(), unlockCommand(), verifierCommand())
}

// customerAction makes a command about one customer that asks for one thing and
// prints the answer.
func customerAction[T any](cmd *cobra.Command, what string, act func(args []string) (gateway.CustomerAct, error), print func(w io.Writer, id string, answer T)) *cobra.Command {
	load := addConfigFlags(cmd)
	cmd.RunE = action(what, func(cmd *cobra.Command, args []string) error {
		a, err := act(args)
		if err != nil {
			return err
		}
		l, err := load()
		if err != nil {
			return err
		}
		var answer T
		if err := l.ask(cmd.Context(), newLogger(cmd.ErrOrStderr(), l.Log), a, &answer); err != nil {
			return err
		}
		print(cmd.OutOrStdout(), a.Customer, answer)
		return nil
	})
	return cmd
}

func about(what string) func([]string) (gateway.CustomerAct, error) {
	return func(args []string) (gateway.CustomerAct, error) {
		return gateway.CustomerAct{What: what, Customer: args[0]}, nil
	}
}

func inviteCommand() *cobra.Command {
	return customerAction(&cobra.Command{
		Use:     "invite CUSTOMER",
		Short:   "Make an address at which a customer sets a password",
		Example: `  kessai customer invite --data kessai-data 1234567890`,
		Long: `Prints an address that is good once and for a day. Whoever opens it on a phone sets
the customer's password there and is signed in, so give it to the customer alone. An
invitation before it is void. The password never leaves the phone.`,
		Args: cobra.ExactArgs(1),
	}, "invite the customer", about("invite"), func(w io.Writer, id string, a invitedAnswer) {
		fmt.Fprintf(w, "%s\nfor %s (%s), once, until %s\n", a.URL, a.Name, id, a.Until.Format(time.RFC3339))
	})
}

func devicesCommand() *cobra.Command {
	return customerAction(&cobra.Command{
		Use:     "devices CUSTOMER",
		Short:   "List a customer's phones and passkeys",
		Example: `  kessai customer devices --data kessai-data 1234567890`,
		Args:    cobra.ExactArgs(1),
	}, "list the customer's devices", about("devices"), printDevices)
}

func printDevices(w io.Writer, id string, a devicesAnswer) {
	password := "no password yet (kessai customer invite)"
	if a.Password {
		password = fmt.Sprintf("wrong passwords today: %d for payments, %d to sign in", a.WrongPayments, a.WrongSignIns)
	}
	fmt.Fprintf(w, "%s (%s): %s\n", a.Name, id, password)
	if len(a.Devices)+len(a.Passkeys) == 0 {
		fmt.Fprintln(w, "no device has signed in")
		return
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, d := range a.Devices {
		push := "no push"
		if d.Push {
			push = "push"
		}
		fmt.Fprintf(t, "device\t%s\t%s\t%s\tadded %s\tseen %s\t%s\n", d.ID, d.Name, d.Lang, d.Added.Format(time.RFC3339), d.Seen.Format(time.RFC3339), push)
	}
	for _, p := range a.Passkeys {
		used := "never used"
		if !p.Used.IsZero() {
			used = "used " + p.Used.Format(time.RFC3339)
		}
		fmt.Fprintf(t, "passkey\t%s\t%s\t\tadded %s\t%s\t\n", p.ID, p.Name, p.Added.Format(time.RFC3339), used)
	}
	_ = t.Flush()
}

func revokeCommand() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "revoke CUSTOMER [DEVICE]",
		Short: "End what a phone or a passkey may do, when it was lost",
		Example: `  kessai customer revoke --data kessai-data 1234567890 0f1e2d3c4b5a6978
  kessai customer revoke --data kessai-data --all 1234567890`,
		Long: `Removes a device or a passkey, named as kessai customer devices names it, or all of
them, and with all of them revokes the card readers. A device's session ends at once. The password stays: where somebody else may know
it, invite the customer as well, to set another.`,
		Args: cobra.RangeArgs(1, 2),
	}
	cmd.Flags().BoolVar(&all, "all", false, "all devices and passkeys of the customer")
	return customerAction(cmd, "revoke", func(args []string) (gateway.CustomerAct, error) {
		switch {
		case all == (len(args) == 2):
			return gateway.CustomerAct{}, usage("it is not clear what to revoke", "neither or both of a device and --all were given", "name a device or a passkey of kessai customer devices, or give --all")
		case all:
			return gateway.CustomerAct{What: "revoke_all", Customer: args[0]}, nil
		}
		return gateway.CustomerAct{What: "revoke", Customer: args[0], Device: args[1]}, nil
	}, func(w io.Writer, _ string, a revokedAnswer) {
		fmt.Fprintf(w, "revoked: %d devices, %d passkeys, %d card readers\n", a.Devices, a.Passkeys, a.Readers)
	})
}

func unlockCommand() *cobra.Command {
	return customerAction(&cobra.Command{
		Use:     "unlock CUSTOMER",
		Short:   "Forget the wrong passwords of today",
		Example: `  kessai customer unlock --data kessai-data 1234567890`,
		Long: `After too many wrong passwords on one day (phone.day_tries) a customer's password is
not taken any more, until the next business day or until this. It is recorded in the
book.`,
		Args: cobra.ExactArgs(1),
	}, "unlock the customer", about("unlock"), func(w io.Writer, id string, _ struct{}) {
		fmt.Fprintf(w, "unlocked: the wrong passwords of %s are forgotten\n", id)
	})
}

func verifierCommand() *cobra.Command {
	var iterations int
	cmd := &cobra.Command{
		Use:   "verifier",
		Short: "Make what a file of customers has in a password's place",
		Example: `  kessai customer verifier
  pass show customer | kessai customer verifier`,
		Long: `Reads a password, asking for it or as one line from standard input, and prints its
SCRAM-SHA-256 verifier, for the field verifier of kessai import. It is needed for tests
and samples: real customers are invited, and nobody else ever sees their passwords.`,
		Args: cobra.NoArgs,
	}
	cmd.Flags().IntVar(&iterations, "iterations", phones.DefaultIterations, "`ROUNDS` of PBKDF2; the setting phone.iterations of the gateway")
	cmd.RunE = action("make a verifier", func(cmd *cobra.Command, _ []string) error {
		password, err := readPassword(cmd)
		if err != nil {
			return err
		}
		v, err := phones.MakeVerifier(password, iterations)
		if err != nil {
			return err
		}
		fmt.Fprintln(cmd.OutOrStdout(), v.Reveal())
		return nil
	})
	return cmd
}

// maxPassword bounds a password, in bytes.
const maxPassword = 1024

func readPassword(cmd *cobra.Command) (kessai.Secret, error) {
	s, err := readSecret(cmd, "password", maxPassword)
	return checkPassword(s.Reveal(), err)
}

func checkPassword(s string, err error) (kessai.Secret, error) {
	if err == nil && (s == "" || len(s) > maxPassword) {
		err = fmt.Errorf("a password has 1 to %d bytes", maxPassword)
	}
	return kessai.Secret(s), err
}

// readSecret asks for a secret at a terminal, or reads it as one line from standard
// input. One that is longer than most bytes comes longer, but not whole.
func readSecret(cmd *cobra.Command, what string, most int) (kessai.Secret, error) {
	in := cmd.InOrStdin()
	if f, ok := in.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		fmt.Fprintf(cmd.ErrOrStderr(), "%s (it is not shown): ", what)
		b, err := term.ReadPassword(int(f.Fd()))
		fmt.Fprintln(cmd.ErrOrStderr())
		return kessai.Secret(b), err
	}
	line, err := bufio.NewReaderSize(io.LimitReader(in, int64(most)+2), most+2).ReadString('\n')
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return kessai.Secret(strings.TrimRight(line, "\r\n")), err
}
