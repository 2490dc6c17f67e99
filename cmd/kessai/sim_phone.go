package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"kessai"
	"kessai/pos/sim"
)

// simPhone is a simulated phone on the command line.
type simPhone struct {
	gateway, customer, reader, passwordFile string
	yes, once, enrol                        bool

	*sim.Phone
	password kessai.Secret
	in       *bufio.Reader
	out      io.Writer
}

func simPhoneCommand() *cobra.Command {
	var s simPhone
	cmd := &cobra.Command{
		Use:   "phone",
		Short: "Be a customer's phone, with or without a card reader",
		Example: `  kessai sim phone --customer 1234567890
  kessai sim phone --customer 1234567890 --reader 127.0.0.1:8593 --enrol
  echo aoi-1234 | kessai sim phone --customer 1234567890 --reader 127.0.0.1:8593 --yes --once`,
		Long: `Signs in, shows what waits for the customer, and asks whether to agree. A payment
that asks for the card reader is taken to its end with the reader at --reader (kessai
sim reader); any other is agreed to with the password. At its end it takes its device off the
customer's list again.

The password is asked for, or comes from --password-file, or is the first line of
standard input; the answers (y or n) are the lines after it.`,
		Args: cobra.NoArgs,
	}
	f := cmd.Flags()
	f.StringVar(&s.gateway, "gateway", "http://127.0.0.1:8080", "`URL` of the gateway")
	f.StringVar(&s.customer, "customer", "", "`ID` of the customer whose phone it is")
	f.StringVar(&s.reader, "reader", "", "`ADDRESS` of the card reader that hangs on the phone")
	f.StringVar(&s.passwordFile, "password-file", "", "`FILE` with the customer's password")
	f.BoolVar(&s.yes, "yes", false, "agree to everything without asking")
	f.BoolVar(&s.once, "once", false, "end after one payment, with exit code 1 if nothing was paid; with --enrol, as soon as the reader is enrolled")
	f.BoolVar(&s.enrol, "enrol", false, "first enrol the reader as the customer's, with the code of kessai reader invite")
	cmd.RunE = action("be a phone", func(cmd *cobra.Command, _ []string) (err error) {
		if s.customer == "" || s.enrol && s.reader == "" {
			return usage("it is not clear whose phone it is, or which reader hangs on it", "--customer is missing, or --enrol stands without --reader",
				"name the customer with --customer and the reader with --reader")
		}
		s.in, s.out = bufio.NewReader(cmd.InOrStdin()), cmd.OutOrStdout()
		if s.password, err = s.readPassword(cmd); err != nil {
			return err
		}
		return s.run(cmd.Context())
	})
	return cmd
}

// readPassword reads the password from where the flags say.
func (s *simPhone) readPassword(cmd *cobra.Command) (kessai.Secret, error) {
	if s.passwordFile != "" {
		b, err := os.ReadFile(s.passwordFile)
		if err != nil {
			err = fmt.Errorf("%s cannot be read: %s", s.passwordFile, plainPath(err))
		}
		return checkPassword(strings.TrimRight(string(b), "\r\n"), err)
	}
	if f, ok := cmd.InOrStdin().(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return readPassword(cmd) // without an echo
	}
	line, err := s.in.ReadString('\n')
	if line == "" {
		return "", usage("there is no password", "standard input is empty, and there is no --password-file", "give the password as the first line of standard input, or in a file with --password-file")
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return checkPassword(strings.TrimRight(line, "\r\n"), err)
}

// phonePoll is how often it is asked what waits.
const phonePoll = time.Second

func (s *simPhone) run(ctx context.Context) (err error) {
	if s.Phone, err = sim.NewPhone(s.gateway, s.customer, &http.Client{Timeout: 30 * time.Second}); err != nil {
		return err
	}
	if err := s.SignIn(ctx, s.password.Reveal()); err != nil {
		return s.notSignedIn(err)
	}
	defer s.leave(ctx)
	fmt.Fprintf(s.out, "signed in as %s\n", s.customer)
	if s.reader != "" {
		if err := s.plugIn(ctx); err != nil {
			return err
		}
	}
	if s.enrol {
		fmt.Fprintln(s.out, "type the code of kessai reader invite on the reader")
		r, err := s.EnrolReader(ctx)
		if err != nil {
			return fail("the reader is not enrolled", err, "ask for a new code with kessai reader invite "+s.customer+", and type it on the reader")
		}
		fmt.Fprintf(s.out, "enrolled reader %s (%s)\n", r.ID, r.Name)
		if s.once {
			return nil
		}
	}
	s.Agreed = func() { fmt.Fprintln(s.out, "approved: put the card into the reader") }
	return s.watch(ctx)
}

// notSignedIn says why the phone cannot sign in. A gateway tells a stranger only that.
func (s *simPhone) notSignedIn(err error) error {
	if broken, ok := errors.AsType[*url.Error](err); ok {
		return &exitError{exitConnect, "the gateway at " + s.gateway + " does not answer", plainNet(broken.Err), "start it, or name another one with --gateway"}
	}
	next := "see to the customer's number and password"
	if p, ok := errors.AsType[*sim.Problem](err); ok && p.Status == http.StatusTooManyRequests {
		next = "remove phones that are not used: kessai customer devices " + s.customer + " lists them, kessai customer revoke removes one; or wait two minutes"
	}
	return fail("customer "+s.customer+" cannot sign in at "+s.gateway, err, next)
}

// leave takes the device off the customer's list, which has room for a few; also after
// Ctrl-C, when the context is over.
func (s *simPhone) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := s.Remove(ctx); err != nil {
		fmt.Fprintf(s.out, "the device %s stays on the customer's list (%v): kessai customer revoke %s %s removes it\n", s.Device, err, s.customer, s.Device)
	}
}

// plugIn plugs the reader in.
func (s *simPhone) plugIn(ctx context.Context) error {
	var d net.Dialer
	line, err := d.DialContext(ctx, "tcp", s.reader)
	if err != nil {
		return &exitError{exitConnect, "there is no card reader at " + s.reader, plainNet(err), "start one with kessai sim reader, or name another address with --reader"}
	}
	hello, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	id, err := s.Attach(hello, line)
	if err != nil {
		line.Close()
		return &exitError{exitConnect, "what listens at " + s.reader + " is no card reader", err.Error(), "start one with kessai sim reader"}
	}
	fmt.Fprintf(s.out, "reader %s is plugged in\n", id)
	return nil
}

// watch shows each payment that waits, once, and does what the customer says.
func (s *simPhone) watch(ctx context.Context) error {
	seen := make(map[string]bool)
	for tick := time.NewTicker(phonePoll); ; {
		waiting, err := s.Sales(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fail("the gateway at "+s.gateway+" does not say what waits", err, "start the phone again")
		}
		for i := range waiting {
			w := &waiting[i]
			if id := w.Sale.ID.String(); !seen[id] {
				seen[id] = true
				end, err := s.decide(ctx, w)
				if err != nil {
					fmt.Fprintf(s.out, "%v\n", err)
				}
				if s.once {
					return s.paid(&end)
				}
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// paid says how one payment ended.
func (s *simPhone) paid(end *sim.PhoneSale) error {
	if end.ApprovalCode != "" {
		return nil
	}
	next := "ask for it again"
	switch {
	case end.Told.Code == "75":
		next = "unlock the card with kessai card unlock, and ask for it again"
	case end.Status == "waiting":
		next = "put right what it says, and start the phone again: the payment still waits"
	}
	return fail("the payment did not come about", errors.New("see the lines above"), next)
}

// decide shows a payment, agrees or refuses as the customer says, and gives what is known
// of it then.
func (s *simPhone) decide(ctx context.Context, w *sim.PhoneSale) (end sim.PhoneSale, err error) {
	fmt.Fprintf(s.out, "%s asks for %s (number %s)\n", w.Sale.Shop, w.Sale.Total, w.Number)
	for _, it := range w.Sale.Items {
		fmt.Fprintf(s.out, "  %d x %s\n", it.Quantity, it.Name)
	}
	if !s.agreed(ctx) {
		out, err := s.Cancel(ctx, w.Sale.ID.String())
		fmt.Fprintln(s.out, "refused")
		return out.Sale, err
	}
	if w.Confirm == "reader" {
		step, rerr := s.withReader(ctx, w)
		end, err = step.Sale, rerr
	} else {
		out, aerr := s.Approve(ctx, w, s.password.Reveal())
		end, err = out.Sale, aerr
	}
	if err != nil { // how it stands, only the gateway knows now
		if now, serr := s.Sale(ctx, w.Sale.ID.String()); serr == nil {
			end = now
		}
	}
	switch {
	case end.ApprovalCode != "":
		fmt.Fprintf(s.out, "paid %s, approval code %s\n", end.Sale.Total, end.ApprovalCode)
	case end.Status == "waiting":
		fmt.Fprintln(s.out, "not paid; the payment still waits")
	case end.Told.Code != "":
		fmt.Fprintf(s.out, "not paid: %s %s\n", end.Told.Code, end.Told.Text)
	default:
		fmt.Fprintln(s.out, "not paid")
	}
	return end, err
}

// withReader takes a payment to its end with the reader, which is plugged in again
// where its line broke.
func (s *simPhone) withReader(ctx context.Context, w *sim.PhoneSale) (sim.ReaderStep, error) {
	for attempt := 1; ; attempt++ {
		step, err := s.ApproveWithReader(ctx, w)
		if !errors.Is(err, sim.ErrReaderLost) || attempt == 5 {
			return step, err
		}
		time.Sleep(phonePoll)
		if err := s.plugIn(ctx); err != nil {
			return step, err
		}
	}
}

// agreed asks whether to agree; whoever says nothing does not.
func (s *simPhone) agreed(ctx context.Context) bool {
	if s.yes {
		return true
	}
	fmt.Fprintln(s.out, "agree? [y/n]")
	said := make(chan string, 1)
	go func() { // a read cannot be given up, so nobody waits for it
		line, _ := s.in.ReadString('\n')
		said <- line
	}()
	select {
	case line := <-said:
		return strings.HasPrefix(strings.ToLower(strings.TrimSpace(line)), "y")
	case <-ctx.Done():
		return false
	}
}
