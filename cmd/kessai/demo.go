package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"kessai/configs"
	"kessai/merchants"
)

// sampleKeys are the API keys in configs/demo.yaml, by merchant.
var sampleKeys = map[string]string{"AOI000000000001": "sk_test_aoi", "VEND00000000001": "sk_test_vend"}

// sampleRatesAge is how old the sample rates may be: a demo is shown for years.
const sampleRatesAge = "87600h"

// demo is a gateway with sample data that leaves nothing behind.
type demo struct {
	http, iso, data, ready, logLevel string
}

func demoCommand() *cobra.Command {
	var d demo
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Run a gateway with sample data, to try things",
		Example: `  kessai demo
  kessai demo --http 127.0.0.1:0 --iso 127.0.0.1:0 --ready ready.json
  kessai demo --data demo-data --log-level info`,
		Long: `Starts a gateway on a new folder with the sample merchants, terminals, customers
and cards of configs/demo.yaml, and prints how to try it. Ctrl-C ends it; the
folder goes with it unless --data names one.`,
		Args: cobra.NoArgs,
	}
	f := cmd.Flags()
	f.StringVar(&d.http, "http", "127.0.0.1:8080", "`ADDRESS` of the JSON API; port 0 takes any free port")
	f.StringVar(&d.iso, "iso", "127.0.0.1:8583", "`ADDRESS` of the ISO 8583 listener; port 0 takes any free port")
	f.StringVar(&d.data, "data", "", "data `FOLDER`, which is kept (default: a temporary one, which is not)")
	f.StringVar(&d.ready, "ready", "", "once everything answers, write the addresses to `FILE` as JSON")
	f.StringVar(&d.logLevel, "log-level", "error", "debug, info, warn or error")
	cmd.RunE = action("run the demo", func(cmd *cobra.Command, _ []string) error {
		return d.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
	})
	return cmd
}

func (d *demo) run(ctx context.Context, stdout, stderr io.Writer) error {
	data := d.data
	if data == "" {
		temp, err := os.MkdirTemp("", "kessai-demo-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(temp)
		data = temp
	}
	data, err := filepath.Abs(data)
	if err != nil {
		return err
	}
	listeners, err := json.Marshal([]map[string]string{{"address": d.iso}}) // JSON is YAML too
	if err != nil {
		return err
	}
	rates := filepath.Join(data, "eurofxref-daily.xml")
	l, err := settings{
		flags: map[string]string{"http": d.http, "data": data},
		set: []string{"log.format=text", "log.level=" + d.logLevel, listenersKey + "=" + string(listeners),
			"rates.file=" + rates, "rates.max_age=" + sampleRatesAge},
	}.load()
	if err != nil {
		return err
	}
	floor, err := demoFloor()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(data, 0o700); err != nil {
		return storeError(data, err)
	}
	reader, err := newDemoReader(data)
	if err != nil {
		return storeError(data, err)
	}
	floor.Reader = reader.floor()
	var opened *stores
	return run(ctx, &l.Config, surroundings{
		log: newLogger(stderr, l.Log), listen: net.Listen, floor: floor,
		prepare: func(s *stores) error {
			opened = s
			if err := writeFile(rates, configs.Rates, 0o644); err != nil {
				return storeError(data, err)
			}
			return importSamples(ctx, s)
		},
		ready: func(a addresses) error {
			if err := reader.enrol(opened.phones); err != nil {
				return storeError(data, err)
			}
			d.welcome(stdout, a, data)
			return d.announce(a, data)
		},
	})
}

func importSamples(ctx context.Context, s *stores) error {
	im, err := merchants.ParseImport("demo.yaml", bytes.NewReader(configs.Demo))
	if err != nil {
		return err
	}
	_, err = s.importRecords(ctx, im, nil)
	return err
}

// welcome says where everything is, and gives two lines that can be run as they
// stand, again and again.
func (d *demo) welcome(w io.Writer, a addresses, data string) {
	host := "http://" + a.HTTP
	_, port, _ := net.SplitHostPort(a.HTTP)
	fmt.Fprintf(w, `Kessai runs with sample data. Ctrl-C ends it.

Open the shop floor in a browser and buy a coffee with a phone:

    http://localhost:%[5]s/demo

A till, a vending machine, and a customer's phone with a card reader stand there side
by side: sign in on the phone, press Coffee at the till, and agree on the phone.
Three wrong PINs in a row lock a card. This unlocks the one with chip:

    echo 4242424242424242 | %[4]s card unlock --data %[6]s

HTTP      %[1]s     API key %[3]s
ISO 8583  %[2]s            iso87-ascii, length of two bytes

Or buy it with a card, over JSON and over ISO 8583:

curl -sS %[1]s/v1/payments -H 'Authorization: Bearer %[3]s' -H 'Content-Type: application/json' -H "Idempotency-Key: $(date +%%s%%N)" -d '{"kind":"purchase","merchant":"AOI000000000001","terminal":"AOI00001","amount":{"value":450,"currency":"JPY"},"medium":{"pan":"4242424242424242","expiry":"2912"}}'

%[4]s iso send --to %[2]s --fill 0=0200 2=4242424242424242 3=000000 4=450 14=2912 41=AOI00001 49=392

metrics %[1]s/metrics   health %[1]s/readyz   API docs %[1]s/docs
`, host, a.ISO[0], sampleKeys["AOI000000000001"], self(), port, data)
}

// self gives what the reader has to type to run this binary again.
func self() string {
	name := os.Args[0]
	if strings.Contains(name, string(filepath.Separator)+"go-build") {
		return "go run ./cmd/kessai" // the binary is gone when go run ends
	}
	base := filepath.Base(name)
	if found, err := exec.LookPath(base); err == nil && base == "kessai" {
		if me, err := os.Executable(); err == nil && sameFile(me, found) {
			return base
		}
	}
	return name
}

func sameFile(a, b string) bool {
	x, errX := os.Stat(a)
	y, errY := os.Stat(b)
	return errX == nil && errY == nil && os.SameFile(x, y)
}

// announce writes the file that scripts wait for.
func (d *demo) announce(a addresses, data string) error {
	if d.ready == "" {
		return nil
	}
	b, err := json.Marshal(struct {
		HTTP    string            `json:"http"`
		ISO     string            `json:"iso"`
		Data    string            `json:"data"`
		APIKeys map[string]string `json:"api_keys"`
	}{a.HTTP, a.ISO[0], data, sampleKeys})
	if err != nil {
		return err
	}
	if err := writeFile(d.ready, append(b, '\n'), 0o644); err != nil {
		return fail("cannot write "+d.ready, errors.New(plainPath(err)), "give --ready a file in a folder that exists")
	}
	return nil
}
