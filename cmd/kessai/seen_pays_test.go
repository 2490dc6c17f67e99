package main

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"kessai"
	"kessai/customers"
	"kessai/customers/phones"
	"kessai/pos/sim"
	"kessai/pos/tether"
)

// pays has a customer sign in, plug a reader in and be asked three times.
func (r *seenRun) pays(i int) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c := &r.people[i]
	phone, err := sim.NewPhone("http://"+r.at.HTTP, c.id, r.client)
	if err != nil {
		return err
	}
	if err := phone.SignIn(ctx, seenPassword); err != nil {
		return err
	}
	reader, err := sim.NewReader(sim.ReaderOptions{})
	if err != nil {
		return err
	}
	here, there := net.Pipe()
	defer here.Close()
	go func() { _ = reader.Serve(there) }()
	line := &recordedConn{here, r.searched.stream("line"), r.searched.stream("line")}
	if _, err := phone.Attach(ctx, line); err != nil {
		return err
	}
	if err := r.enrol(ctx, i, phone, reader); err != nil {
		return fmt.Errorf("enrolling: %w", err)
	}
	for n := range seenEach {
		if err := r.paysOnce(ctx, i, n, phone, reader); err != nil {
			return fmt.Errorf("payment %d: %w", n, err)
		}
	}
	return nil
}

// enrol makes the reader the customer's: the first by typing a code on it, the others
// as a maker would who fills the store.
func (r *seenRun) enrol(ctx context.Context, i int, phone *sim.Phone, reader *sim.Reader) error {
	p := r.stores.phones
	if i >= 20 {
		err := p.store.AddReader(phones.Reader{Customer: customers.ID(phone.Customer), Name: "Reader", Key: reader.PublicKey(), Added: time.Now()})
		if err != nil {
			return err
		}
		return reader.Trust(p.keys.ReaderKey().Public().(ed25519.PublicKey))
	}
	code, _, err := p.store.InviteReader(p.keys, customers.ID(phone.Customer), time.Now())
	if err != nil {
		return err
	}
	go func() {
		if reader.AwaitPhase(ctx, "code") == nil {
			reader.Type(code.Reveal() + string(sim.KeyOK))
		}
	}()
	_, err = phone.EnrolReader(ctx)
	return err
}

// seenWays are what customers do with their readers, and what everybody is told then.
var seenWays = []struct {
	code string
	do   func(r *seenRun, ctx context.Context, i int, reader *sim.Reader) error
}{
	{"55", func(r *seenRun, ctx context.Context, i int, reader *sim.Reader) error {
		pin := []byte(r.people[i].pin)
		slices.Reverse(pin)
		return r.inserts(ctx, reader, r.people[i].track2(), string(pin))
	}},
	{"14", func(r *seenRun, ctx context.Context, i int, reader *sim.Reader) error { // somebody else's
		return r.inserts(ctx, reader, r.people[(i+1)%len(r.people)].track2(), "")
	}},
	{"14", func(r *seenRun, ctx context.Context, i int, reader *sim.Reader) error { // it cannot be read
		return r.inserts(ctx, reader, strings.Replace(r.people[i].track2(), "=", "?", 1), "")
	}},
	{"17", func(r *seenRun, ctx context.Context, i int, reader *sim.Reader) error {
		if err := reader.AwaitPhase(ctx, "card"); err != nil {
			return err
		}
		reader.Press(sim.KeyCancel)
		return nil
	}},
	{"17", func(r *seenRun, ctx context.Context, i int, reader *sim.Reader) error {
		if err := r.inserts(ctx, reader, r.people[i].track2(), ""); err != nil {
			return err
		}
		if err := reader.AwaitPhase(ctx, "pin"); err != nil {
			return err
		}
		reader.Type(r.people[i].pin[:6])
		reader.Remove()
		return nil
	}},
}

// track2 is what a customer's card has on its stripe.
func (c *seenCustomer) track2() string { return ";" + c.card + "=9912" + seenService + c.data + "?" }

// inserts puts a card in as soon as the reader asks for one, and types a PIN if there
// is one.
func (r *seenRun) inserts(ctx context.Context, reader *sim.Reader, track2, pin string) error {
	if err := reader.AwaitPhase(ctx, "card"); err != nil {
		return err
	}
	pan, _ := kessai.ParsePAN(track2[1:17]) // a PIN is bound to it
	reader.Insert(sim.ReaderCard{PAN: pan, Raw: []byte(track2), Kind: tether.CardTrack2})
	if pin == "" {
		return nil
	}
	if err := reader.AwaitPhase(ctx, "pin"); err != nil {
		return err
	}
	reader.Type(pin + string(sim.KeyOK))
	return nil
}

// insertsChip is the same with a chip instead of the stripe.
func (c *seenCustomer) insertsChip(ctx context.Context, reader *sim.Reader) error {
	pan, err := kessai.ParsePAN(c.card)
	if err == nil {
		err = reader.AwaitPhase(ctx, "card")
	}
	if err != nil {
		return err
	}
	reader.Insert(sim.ReaderCard{PAN: pan, Expiry: 9912, Chip: true})
	if err := reader.AwaitPhase(ctx, "pin"); err != nil {
		return err
	}
	reader.Type(c.pin + string(sim.KeyOK))
	return nil
}

// paysOnce makes one payment. Nine of ten are settled; half are asked for over each
// wire, and a third by the customer's phone number.
func (r *seenRun) paysOnce(ctx context.Context, i, n int, phone *sim.Phone, reader *sim.Reader) error {
	k := i*seenEach + n
	c := &r.people[i]
	want, do := "00", func(ctx context.Context) error { return r.inserts(ctx, reader, c.track2(), c.pin) }
	if n == 1 {
		do = func(ctx context.Context) error { return c.insertsChip(ctx, reader) }
	}
	if k%10 == 0 {
		way := seenWays[k/10%len(seenWays)]
		want, do = way.code, func(ctx context.Context) error { return way.do(r, ctx, i, reader) }
	}
	who := []string{c.id, c.phone, c.id}[n]
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var told string
	var parts sync.WaitGroup
	errs := make(chan error, 3)
	part := func(name string, f func() error) {
		parts.Go(func() {
			if err := f(); err != nil {
				errs <- fmt.Errorf("%s: %w", name, err)
				cancel()
			}
		})
	}
	part("the shop", func() (err error) {
		if told, err = r.asks(ctx, k, who); err == nil && told != want {
			err = fmt.Errorf("told %q, not %s", told, want)
		}
		return err
	})
	part("the reader", func() error { return do(ctx) })
	part("the phone", func() error {
		reader.Remove() // of the payment before
		shown, err := r.waits(ctx, phone)
		if err != nil {
			return err
		}
		step, err := phone.ApproveWithReader(ctx, shown)
		if _, cancelled := err.(*sim.ReaderFault); err != nil && !cancelled {
			return err
		}
		if step.Sale.Told.Code != want {
			return fmt.Errorf("told %q, not %s; %v", step.Sale.Told.Code, want, err)
		}
		return nil
	})
	parts.Wait()
	close(errs)
	var all error
	for err := range errs {
		all = errors.Join(all, err)
	}
	if all != nil {
		return all
	}
	r.ended[(told[0]-'0')*10+told[1]-'0'].Add(1)
	return nil
}

// waits gives the payment that waits for a customer.
func (r *seenRun) waits(ctx context.Context, phone *sim.Phone) (*sim.PhoneSale, error) {
	for {
		all, err := phone.Sales(ctx)
		if err != nil {
			return nil, err
		}
		if len(all) > 0 {
			return &all[0], nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// asks has the shop ask for a payment, and gives how it ended.
func (r *seenRun) asks(ctx context.Context, k int, customer string) (code string, err error) {
	if k%2 == 0 {
		m := sim.Sale{Terminal: "SECRET01", Merchant: crashMerchant, Amount: 450, Currency: kessai.JPY, STAN: kessai.STAN(k%999_999 + 1), Time: time.Now()}.Purchase()
		m.SetString(48, fmt.Sprintf("CF001RCU%03d%sIT013|1|450|Coffee", len(customer), customer))
		reply, err := r.till.Do(ctx, m)
		if err != nil {
			return "", err
		}
		return string(reply.Get(39)), nil
	}
	body := `{"kind":"purchase","terminal":"SECRET01","confirm":"reader","customer":"` + customer + `","amount":{"value":450,"currency":"JPY"},` +
		`"items":[{"name":"Coffee","quantity":1,"price":450}]}`
	said, err := r.ask(ctx, "POST", "/v1/payments", fmt.Sprint("seen-", k), body)
	for err == nil && said.Status == "waiting" {
		said, err = r.ask(ctx, "GET", "/v1/payments/"+said.ID+"?wait=60s", "", "")
	}
	return said.Code, err
}

type seenPayment struct {
	ID     string `json:"id"`
	Status string `json:"status"`
	Code   string `json:"response_code"`
}

func (r *seenRun) ask(ctx context.Context, method, path, key, body string) (p seenPayment, err error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+r.at.HTTP+path, strings.NewReader(body))
	if err != nil {
		return p, err
	}
	req.Header.Set("Authorization", "Bearer "+crashKey)
	req.Header.Set("Content-Type", "application/json")
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return p, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil {
		err = json.Unmarshal(b, &p)
	}
	if err == nil && p.ID == "" {
		err = fmt.Errorf("%d %s", resp.StatusCode, b)
	}
	return p, err
}

func (r *seenRun) get(path string) []byte {
	r.t.Helper()
	resp, err := r.client.Get("http://" + r.at.HTTP + path)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return b
}

// expectEnds: most payments were settled, and of each other end there were some.
func (r *seenRun) expectEnds(payments int) {
	r.t.Helper()
	total := int64(0)
	for code := range r.ended {
		if n := r.ended[code].Load(); n > 0 {
			total += n
			r.t.Logf("%02d: %d payments", code, n)
		}
	}
	settled := r.ended[0].Load()
	if total != int64(payments) || settled < total*8/10 || r.ended[55].Load() == 0 || r.ended[14].Load() == 0 || r.ended[17].Load() == 0 {
		r.t.Errorf("%d payments of %d, %d of them settled", total, payments, settled)
	}
}

// buysInClear has the shop send a card number, as shops with readers of their own do.
func (r *seenRun) buysInClear(number string) {
	r.t.Helper()
	pan, err := kessai.ParsePAN(number)
	if err != nil {
		r.t.Fatal(err)
	}
	m := sim.Sale{Terminal: "SECRET01", Merchant: crashMerchant, PAN: pan, Expiry: "9912", Amount: 1, Currency: kessai.JPY, STAN: 999_999, Time: time.Now()}.Purchase()
	if _, err := r.till.Do(context.Background(), m); err != nil {
		r.t.Error(err)
	}
	if _, err := r.ask(context.Background(), "POST", "/v1/payments", "clear", `{"kind":"purchase","terminal":"SECRET01","amount":{"value":1,"currency":"JPY"},"medium":{"pan":"`+number+`","expiry":"9912"}}`); err != nil {
		r.t.Error(err)
	}
}
