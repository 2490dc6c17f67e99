package sim_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"

	"kessai"
	"kessai/pos/sim"
)

// desk is a gateway that knows one payment, and says what it is told to.
type desk struct {
	status string // of the payment
	cancel string // what a cancellation makes of it
	lose   int    // answers that are lost, after the gateway has done what it was asked
	refuse int    // the status of HTTP with which everything but asking is refused; 0: nothing is

	heard []string          // "capture 280", in the order in which they came, repeats left out
	keys  map[string]string // what was said under each idempotency key
	t     *testing.T
}

func (d *desk) RoundTrip(r *http.Request) (*http.Response, error) {
	a := httptest.NewRecorder()
	a.Header().Set("Content-Type", "application/json")
	said := struct {
		Amount struct{ Value int64 }
		Kind   string
	}{}
	if r.Body != nil {
		if err := json.NewDecoder(r.Body).Decode(&said); err != nil {
			d.t.Error(err)
		}
	}
	verb := r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]
	value := int64(0)
	if r.Method == "POST" {
		key := r.Header.Get("Idempotency-Key")
		known, again := d.keys[key]
		switch {
		case key == "" || again && known != verb:
			d.t.Errorf("%s is said under the key %q, under which was said %q", verb, key, known)
		case !again:
			d.keys[key] = verb
			d.heard = append(d.heard, verb)
		}
		switch verb {
		case "cancel":
			d.status = d.cancel
		case "capture":
			d.status, value = "captured", said.Amount.Value
		case "release":
			d.status = "released"
		}
	}
	switch {
	case d.lose > 0 && verb != "payments":
		d.lose--
		return nil, errors.New("the line is cut")
	case d.refuse > 0 && verb != "payments":
		a.WriteHeader(d.refuse)
		_, _ = a.WriteString(`{"code":"not_found","detail":"There is no such payment."}`)
	default:
		_ = json.NewEncoder(a).Encode(map[string]any{"id": "pay_1", "status": d.status, "response_code": "00", "amount": map[string]any{"value": value}})
	}
	return a.Result(), nil
}

// note is a memory.
type note struct{ kept []byte }

func (n *note) Load() ([]byte, error) { return n.kept, nil }
func (n *note) Save(b []byte) error   { n.kept = b; return nil }

func TestVending(t *testing.T) {
	tests := []struct {
		name  string
		desk  desk
		cut   sim.Moment
		jam   bool
		paid  int64
		heard string
	}{
		{name: "two drinks", desk: desk{status: "authorized"}, paid: 280, heard: "payments capture"},
		{name: "answers are lost", desk: desk{status: "authorized", lose: 3}, paid: 280, heard: "payments capture"},
		{name: "nothing falls", desk: desk{status: "authorized"}, jam: true, heard: "payments release"},
		{name: "the customer does not agree", desk: desk{status: "cancelled"}, heard: "payments"},
		{name: "power fails while it waits", desk: desk{status: "waiting", cancel: "cancelled"}, cut: sim.WhileWaiting, heard: "payments cancel"},
		{name: "the customer was quicker", desk: desk{status: "waiting", cancel: "authorized"}, cut: sim.WhileWaiting, heard: "payments cancel release"},
		{name: "power fails before a drink falls", desk: desk{status: "authorized"}, cut: sim.AfterDecision, heard: "payments release"},
		{name: "power fails after a drink fell", desk: desk{status: "authorized"}, cut: sim.AfterCounting, paid: 120, heard: "payments capture"},
		{name: "power fails before the answer", desk: desk{status: "authorized"}, cut: sim.BeforeAnswer, paid: 280, heard: "payments capture"},
		{name: "power fails before it is forgotten", desk: desk{status: "authorized"}, cut: sim.BeforeForgetting, paid: 280, heard: "payments capture"},
		{name: "power fails before it is kept", desk: desk{status: "waiting"}, cut: sim.BeforeKeeping, heard: "payments"},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c.desk.t, c.desk.keys = t, make(map[string]string)
				memory := new(note)
				machine, err := sim.NewVending(sim.VendingOptions{
					Base: "http://kessai/", Key: "key", Merchant: "M", Terminal: "T", Currency: kessai.JPY, Most: 3, Memory: memory,
					Drinks: []sim.Drink{{Code: "A1", Price: 120}, {Code: "A2", Price: 160}}, Client: &http.Client{Transport: &c.desk},
					Show:   func(sim.VendingPayment) {},
					Choose: func(n int) (string, bool) { return []string{"A1", "A2", ""}[n], n < 2 },
					Drop:   func(sim.Drink) bool { return !c.jam },
					Fails: func(m sim.Moment) bool {
						fails := m == c.cut
						if fails {
							c.cut = 0
						}
						return fails
					},
				})
				if err != nil {
					t.Fatal(err)
				}
				off := c.cut != 0
				r, err := machine.Sell(t.Context())
				if off != errors.Is(err, sim.ErrPower) || !off && err != nil {
					t.Fatalf("it sells, and says %v", err)
				}
				if off {
					if r, err = machine.Settle(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				if r.Paid != c.paid || strings.Join(c.desk.heard, " ") != c.heard {
					t.Errorf("%d is paid, the gateway hears %q, want %d and %q", r.Paid, c.desk.heard, c.paid, c.heard)
				}
				if len(memory.kept) > 0 {
					t.Errorf("it has not forgotten %s", memory.kept)
				}
				if r, err := machine.Settle(t.Context()); err != nil || r.Payment != "" {
					t.Errorf("there is something left to settle: %+v, %v", r, err)
				}
			})
		})
	}
}

// A machine that is refused keeps what it knows: its owner may look at it.
func TestVendingKeepsWhatIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &desk{status: "authorized", t: t, keys: make(map[string]string)}
		memory := new(note)
		machine, err := sim.NewVending(sim.VendingOptions{
			Currency: kessai.JPY, Memory: memory, Drinks: []sim.Drink{{Code: "A1", Price: 120}}, Client: &http.Client{Transport: d},
			Show: func(sim.VendingPayment) {}, Drop: func(sim.Drink) bool { return true },
			Choose: func(int) (string, bool) { d.refuse = http.StatusNotFound; return "A1", true },
		})
		if err != nil {
			t.Fatal(err)
		}
		var refused *sim.Problem
		if _, err := machine.Sell(t.Context()); !errors.As(err, &refused) || refused.Status != http.StatusNotFound || refused.Code != "not_found" {
			t.Fatalf("it says %v", err)
		}
		if !strings.Contains(string(memory.kept), `"A1"`) {
			t.Fatalf("its memory holds %s", memory.kept)
		}
		d.refuse = 0
		if r, err := machine.Settle(t.Context()); err != nil || r.Paid != 120 {
			t.Fatalf("later: %+v, %v", r, err)
		}
	})
	if _, err := sim.NewVending(sim.VendingOptions{Memory: new(note)}); !errors.Is(err, sim.ErrMachine) {
		t.Errorf("a machine without drinks: %v", err)
	}
}
