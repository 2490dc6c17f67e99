package main

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"kessai"
	"kessai/pos/purse"
)

func purseCommand() *cobra.Command {
	return group(&cobra.Command{
		Use:     "purse",
		Short:   "Make media that carry e-money",
		Example: "  kessai purse issue --data kessai-data --out media.jsonl numbers.txt",
		Long: `A medium that carries e-money has a key of its own and a state; docs/PURSE.md
describes both.`,
	}, purseIssueCommand())
}

func purseIssueCommand() *cobra.Command {
	var out, currency string
	cmd := &cobra.Command{
		Use:   "issue --out FILE NUMBERS",
		Short: "Make the records that new media are personalised with",
		Example: `  kessai purse issue --data kessai-data --out media.jsonl numbers.txt
  pass show new-card | kessai purse issue --data kessai-data --out media.jsonl -`,
		Long: `Reads card numbers, one a line, from the file NUMBERS or (-) from standard input,
and writes a line of JSON for each: the medium's ID, the last four digits of its
number, its key and its first state. The file is new, and only its owner may open
it: whoever has a medium's key can make money with it. Destroy the file when the
media are made. Nothing of it is printed. A gateway may be running meanwhile.`,
		Args: cobra.ExactArgs(1),
	}
	cmd.Flags().StringVar(&out, "out", "", "the new `FILE` that the records go to, with mode 0600")
	cmd.Flags().StringVar(&currency, "currency", "JPY", "`CODE` of the media's currency (ISO 4217): that of their customers' accounts")
	_ = cmd.MarkFlagRequired("out")
	load := addConfigFlags(cmd)
	cmd.RunE = action("issue media", func(cmd *cobra.Command, args []string) error {
		in := cmd.InOrStdin()
		if args[0] != "-" {
			f, err := os.Open(args[0])
			if err != nil {
				return &exitError{exitFailed, "cannot read " + args[0], plainPath(err), "give the path of a file of card numbers, one a line"}
			}
			defer f.Close()
			in = f
		}
		code, ok := kessai.ParseCurrency(currency)
		if !ok {
			return usage("--currency is no currency", currency+" is not in ISO 4217", "give an alphabetic code such as JPY")
		}
		l, err := load()
		if err != nil {
			return err
		}
		k, err := l.openKeys()
		if err != nil {
			return err
		}
		n, err := issue(k, code, in, out)
		if err == nil {
			fmt.Fprintf(cmd.OutOrStdout(), "%d media issued in %s\n", n, out)
		}
		return err
	})
	return cmd
}

// issuer makes the records of new media.
type issuer struct {
	hasher *kessai.MediumHasher
	master *purse.Master
}

// openKeys gives the keys that media are made with.
func (c *Config) openKeys() (k issuer, err error) {
	pan, _, master, err := c.keys()
	if err != nil {
		return k, err
	}
	if k.hasher, err = kessai.NewMediumHasher(pan); err != nil {
		return k, configError("keys.pan", err)
	}
	if k.master, err = purse.NewMaster(master); err != nil {
		return k, configError("keys.purse", err)
	}
	return k, nil
}

// issuedMedium is the record of a new medium. It is written to a file that only
// its owner may open, and nowhere else.
type issuedMedium struct {
	Last4    string `json:"last4"`
	Medium   string `json:"medium"`
	Currency string `json:"currency"`
	Key      string `json:"key"`
	State    string `json:"state"`
}

func (k issuer) record(pan kessai.PAN, currency kessai.Currency) issuedMedium {
	id := k.hasher.Medium(pan)
	key := k.master.Key(id)
	first := purse.State{Medium: id, Currency: currency}
	key.SignState(&first)
	last4 := pan.Last4()
	return issuedMedium{
		Last4: string(last4[:]), Medium: id.String(), Currency: currency.String(),
		Key: hex.EncodeToString(key.Reveal()), State: first.Hex(),
	}
}

// issue writes the records of all numbers, or no file at all.
func issue(k issuer, currency kessai.Currency, in io.Reader, out string) (n int, err error) {
	f, err := os.OpenFile(out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return 0, &exitError{exitFailed, "cannot write " + out, "it is there already", "give the name of a file that is not: keys are never written over others"}
	}
	if err != nil {
		return 0, &exitError{exitFailed, "cannot write " + out, plainPath(err), "give the path of a file in a folder that can be written to"}
	}
	w := bufio.NewWriter(f)
	n, err = k.records(currency, in, json.NewEncoder(w))
	if err = errors.Join(err, w.Flush(), f.Sync(), f.Close()); err != nil {
		return 0, errors.Join(err, os.Remove(out))
	}
	return n, nil
}

func (k issuer) records(currency kessai.Currency, in io.Reader, to *json.Encoder) (n int, err error) {
	seen := make(map[kessai.MediumID]bool)
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		n++
		pan, err := kessai.ParsePAN(lines.Bytes())
		if err != nil {
			return 0, fmt.Errorf("line %d: %w", n, err)
		}
		if id := k.hasher.Medium(pan); seen[id] {
			return 0, fmt.Errorf("line %d: this number was there before", n)
		} else {
			seen[id] = true
		}
		if err := to.Encode(k.record(pan, currency)); err != nil {
			return 0, err
		}
	}
	if err := lines.Err(); err != nil {
		return 0, fmt.Errorf("line %d cannot be read: %s", n+1, plainPath(err))
	}
	if n == 0 {
		return 0, errors.New("there is no card number in it")
	}
	return n, nil
}
