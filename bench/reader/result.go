package reader

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"kessai/bench"
)

// Result is what keys for one payment cost. Its JSON names are documented in
// docs/BENCH.md and change only by addition. Numbers are medians of the rounds.
type Result struct {
	Version  string               `json:"version"`
	At       time.Time            `json:"at"`
	Settings Settings             `json:"settings"`
	Machine  bench.Machine        `json:"machine"`
	Ways     map[string]*Measured `json:"ways"`   // p256, mlkem768-x25519, rsa2048
	Ratios   map[string]float64   `json:"ratios"` // how many times more payments a second than rsa2048
}

// Settings are what was asked of the run.
type Settings struct {
	Rounds  int    `json:"rounds"`
	Slot    string `json:"slot"`
	Workers int    `json:"workers"` // processors
}

// Measured is one way. The rates are of all processors together, the times of one.
type Measured struct {
	Sales     float64   `json:"payments_per_s"`   // key issued, card opened, PIN opened, key destroyed
	IssueOpen float64   `json:"issue_open_per_s"` // key issued, card opened, key destroyed
	Issue     float64   `json:"issue_us"`
	Card      float64   `json:"card_us"`
	PIN       float64   `json:"pin_us"`
	Destroy   float64   `json:"destroy_us"`
	Payments  int       `json:"payments"` // measured in all
	Rounds    []float64 `json:"rounds"`   // payments a second in each
}

// order is the order of the table.
var order = []string{"p256", "mlkem768-x25519", rsaName}

// WriteTable prints a result for people.
func (r *Result) WriteTable(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "%d processors, medians of %d rounds\n\n", r.Settings.Workers, r.Settings.Rounds)
	fmt.Fprintf(w, "way\tpayments a second\tissue and open a second\tissue\topen card\topen PIN\tdestroy\tbeside %s\n", rsaName)
	for _, name := range order {
		m, ratio := r.Ways[name], ""
		if v := r.Ratios[name]; v > 0 {
			ratio = fmt.Sprintf("%.0f ×", v)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", name, rate(m.Sales), rate(m.IssueOpen),
			bench.Microseconds(m.Issue), bench.Microseconds(m.Card), bench.Microseconds(m.PIN), bench.Microseconds(m.Destroy), ratio)
	}
	return w.Flush()
}

func rate(v float64) string {
	if v < 100 {
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return bench.Grouped(v)
}

// WriteTo writes the result as JSON, indented.
func (r *Result) WriteTo(w io.Writer) (int64, error) {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return 0, err
	}
	n, err := w.Write(append(b, '\n'))
	return int64(n), err
}

// Bound is what a result must keep, such as p256.payments_per_s>=5000.
type Bound struct {
	text, name, than string
	value            float64
}

// values gives what can be bounded, by the names in the JSON without "ways".
func (r *Result) values() map[string]float64 {
	v := make(map[string]float64)
	for name, m := range r.Ways {
		v[name+".payments_per_s"], v[name+".issue_open_per_s"] = m.Sales, m.IssueOpen
	}
	for name, ratio := range r.Ratios {
		v["ratios."+name] = ratio
	}
	return v
}

// ParseBound reads a bound: a name, >= or <=, and a number.
func ParseBound(text string) (Bound, error) {
	b := Bound{text: strings.TrimSpace(text), than: ">="}
	name, value, ok := strings.Cut(text, b.than)
	if !ok {
		b.than = "<="
		name, value, ok = strings.Cut(text, b.than)
	}
	if !ok {
		return Bound{}, fmt.Errorf("%q is no threshold; a threshold is p256.payments_per_s>=5000 or ratios.p256>=100", text)
	}
	b.name = strings.TrimSpace(name)
	known := &Result{Ways: map[string]*Measured{}, Ratios: map[string]float64{}}
	for _, name := range order {
		known.Ways[name], known.Ratios[name] = new(Measured), 0
	}
	if _, ok := known.values()[b.name]; !ok {
		return Bound{}, fmt.Errorf("%q bounds nothing that is measured; payments_per_s and issue_open_per_s of p256, mlkem768-x25519 and rsa2048 are, and ratios.p256", text)
	}
	var err error
	if b.value, err = strconv.ParseFloat(strings.TrimSpace(value), 64); err != nil || b.value != b.value {
		return Bound{}, fmt.Errorf("%q needs a number", text)
	}
	return b, nil
}

// Check gives nothing where the result keeps the bound, and what it was where not.
func (b Bound) Check(r *Result) string {
	v, ok := r.values()[b.name]
	if ok && (b.than == ">=" && v >= b.value || b.than == "<=" && v <= b.value) {
		return ""
	}
	return fmt.Sprintf("%s: it was %s", b.text, rate(v))
}
