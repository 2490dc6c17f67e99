package bench

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"

	"kessai/bench/load"
)

const perFile = 1_000_000 // records; the registry takes a few millions at once

// registryFile is one file of records.
type registryFile struct {
	name, header string
	from, to     int
	line         func(w *bufio.Writer, i int)
}

// WriteRegistry writes the files that put a population into a registry, as
// docs/REGISTRY.md describes them, and gives their paths in the order in which
// they are to be imported. The card numbers in them are nobody's.
func WriteRegistry(dir string, p load.Population) (paths []string, err error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	for _, f := range registryFiles(p) {
		path := filepath.Join(dir, f.name)
		if err := f.write(path); err != nil {
			return nil, err
		}
		paths = append(paths, path)
	}
	return paths, nil
}

func registryFiles(p load.Population) []registryFile {
	files := []registryFile{
		{"merchants.csv", "id,name,mcc,currency", 0, p.Merchants(), func(w *bufio.Writer, m int) {
			fmt.Fprintf(w, "%s,Bench %d,5411,%s\n", p.MerchantID(m), m, load.Currency)
		}},
		{"api_keys.csv", "merchant,key", 0, p.Merchants(), func(w *bufio.Writer, m int) {
			fmt.Fprintf(w, "%s,%s\n", p.MerchantID(m), p.APIKey(m).Reveal())
		}},
		{"terminals.csv", "id,merchant,operation", 0, p.Terminals, func(w *bufio.Writer, t int) {
			fmt.Fprintf(w, "%s,%s,attended\n", p.TerminalID(t), p.MerchantID(p.MerchantOf(t)))
		}},
	}
	for from := 0; from < p.Media; from += perFile {
		to := min(from+perFile, p.Media)
		files = append(files,
			registryFile{fmt.Sprintf("customers-%03d.csv", from/perFile), "id,name,currency,opening_balance", from, to, func(w *bufio.Writer, i int) {
				fmt.Fprintf(w, "%s,Bench,%s,%d\n", p.CustomerID(i), load.Currency, int64(OpeningBalance))
			}},
			registryFile{fmt.Sprintf("media-%03d.csv", from/perFile), "pan,customer,expiry", from, to, func(w *bufio.Writer, i int) {
				fmt.Fprintf(w, "%s,%s,%s\n", p.PAN(i), p.CustomerID(i), load.Expiry)
			}})
	}
	return files
}

func (f *registryFile) write(path string) error {
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(out, 1<<16)
	fmt.Fprintln(w, f.header)
	for i := f.from; i < f.to; i++ {
		f.line(w, i)
	}
	err = w.Flush() // keeps the first error of any write
	if cerr := out.Close(); err == nil {
		err = cerr
	}
	return err
}
