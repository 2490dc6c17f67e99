package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"time"

	"github.com/spf13/cobra"

	"kessai/pos/iso8583"
	"kessai/pos/sim"
)

// sender is the other end of one ISO 8583 conversation: one request, one reply.
type sender struct {
	form    isoForm
	to      string
	timeout time.Duration
	fill    bool
	tls     bool
	ca      string
	cert    string
	key     string
}

func isoSendCommand() *cobra.Command {
	var s sender
	cmd := &cobra.Command{
		Use:   "send [FIELD=VALUE... | FILE]",
		Short: "Send one ISO 8583 message and print the reply",
		Example: `  kessai iso send --fill 0=0200 2=4242424242424242 3=000000 4=450 14=2912 41=AOI00001 49=392
  kessai iso send --fill 0=0800 70=301
  kessai iso send --to 127.0.0.1:8583 --dialect iso87-bcd --framing bcd2 purchase.json`,
		Long: `Sends a message, given as for encode, and prints the reply as JSON, masked
unless --unmasked is given. A decline is a reply too: the exit code is 0. --fill
adds what is missing of transmission date and time (7), a random STAN (11), and
local time and date (12, 13), so that the same line can be run again and again.`,
	}
	s.form.flags(cmd, iso8583.Binary2.String())
	f := cmd.Flags()
	f.StringVar(&s.to, "to", "127.0.0.1:8583", "`ADDRESS` of the listener")
	f.DurationVar(&s.timeout, "timeout", 10*time.Second, "how long connecting and waiting for the reply may take")
	f.BoolVar(&s.fill, "fill", false, "add transmission time, STAN and local time where they are missing")
	f.BoolVar(&s.form.unmasked, "unmasked", false, "print every value in clear, secrets too")
	f.BoolVar(&s.tls, "tls", false, "use TLS")
	f.StringVar(&s.ca, "tls-ca", "", "PEM `FILE` of the authorities that the server's certificate must come from (default: the system's)")
	f.StringVar(&s.cert, "tls-cert", "", "PEM `FILE` of the client's certificate")
	f.StringVar(&s.key, "tls-key", "", "PEM `FILE` of its key")
	cmd.RunE = action("send", func(cmd *cobra.Command, args []string) error {
		d, framing, tpdu, err := s.form.resolve()
		if err != nil {
			return err
		}
		if !s.form.framed() {
			return usage("--framing none cannot be sent", "a connection carries many messages", "use binary2, ascii4 or bcd2")
		}
		var request iso8583.Message
		if err := readMessage(d, &request, cmd.InOrStdin(), args); err != nil {
			return err
		}
		if s.fill {
			if err := fillIn(&request, time.Now()); err != nil {
				return err
			}
		}
		// Checked here, so that the network is not blamed for it.
		if _, err := d.Append(nil, &request); err != nil {
			return unwritable(err)
		}
		reply, err := s.exchange(cmd.Context(), &request, sim.Options{
			Dialect: d, Framing: framing, TPDU: tpdu, MaxFrame: maxFrame, Timeout: s.timeout,
		})
		if err != nil {
			return err
		}
		return s.form.show(cmd.OutOrStdout(), d, reply)
	})
	return cmd
}

// fillIn adds what a terminal would know by itself.
func fillIn(m *iso8583.Message, now time.Time) error {
	stan, err := rand.Int(rand.Reader, big.NewInt(999_999))
	if err != nil {
		return err
	}
	for field, value := range map[int]string{
		7:  now.UTC().Format("0102150405"),
		11: fmt.Sprintf("%06d", stan.Int64()+1),
		12: now.Format("150405"),
		13: now.Format("0102"),
	} {
		if !m.Has(field) {
			m.SetString(field, value)
		}
	}
	return nil
}

// exchange sends one message and gives the reply to it.
func (s *sender) exchange(ctx context.Context, request *iso8583.Message, o sim.Options) (*iso8583.Message, error) {
	dialling, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	conn, err := s.dial(dialling)
	if _, ok := errors.AsType[*exitError](err); ok {
		return nil, err
	}
	if err != nil {
		return nil, &exitError{exitConnect, "cannot connect to " + s.to, plainNet(err), "check that a gateway listens there (kessai demo starts one), and --tls"}
	}
	client := sim.New(conn, o)
	defer client.Close()
	reply, err := client.Do(ctx, request)
	if err != nil {
		return nil, fail("no reply came", err, "check that --dialect, --framing and --tpdu are the listener's; the gateway's log says why it closed a connection")
	}
	return reply, nil
}

func (s *sender) dial(ctx context.Context) (net.Conn, error) {
	if !s.tls {
		return new(net.Dialer).DialContext(ctx, "tcp", s.to)
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if s.ca != "" {
		pem, err := os.ReadFile(s.ca)
		c.RootCAs = x509.NewCertPool()
		if err != nil || !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, usage("--tls-ca "+s.ca+" cannot be used", "it holds no certificate in PEM form", "give the certificate of the authority")
		}
	}
	if s.cert != "" {
		pair, err := tls.LoadX509KeyPair(s.cert, s.key)
		if err != nil {
			return nil, usage("--tls-cert and --tls-key cannot be used", err.Error(), "give both, in PEM form")
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return (&tls.Dialer{Config: c}).DialContext(ctx, "tcp", s.to)
}
