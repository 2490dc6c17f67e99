package gateway

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"net/http"
	"strings"
	"testing"
	"time"

	"kessai"
	"kessai/authz"
	"kessai/authz/ledger"
	"kessai/pos/tether"
)

// suzukiNumber is the phone number by which shops name Suzuki in these tests.
const suzukiNumber = "+815000000001"

// shopReader is Suzuki's card reader, as far as a shop's test needs one.
type shopReader struct {
	key     ed25519.PrivateKey
	gateway ed25519.PrivateKey
}

func newShopReader() *shopReader {
	return &shopReader{
		key:     ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, ed25519.SeedSize)),
		gateway: ed25519.NewKeyFromSeed(bytes.Repeat([]byte{2}, ed25519.SeedSize)),
	}
}

func (r *shopReader) id() kessai.ReaderID {
	return kessai.ReaderIDOf(r.key.Public().(ed25519.PublicKey))
}

// engine gives customers their numbers, and Suzuki the reader. Every card has the
// PIN 1234.
func (r *shopReader) engine(o *authz.Options, medium func(kessai.PAN) kessai.MediumID) {
	known := o.Phone.Customer
	o.Phone.Customer = func(id string) (authz.CustomerFacts, bool, error) {
		if id == suzukiNumber {
			id = "suzuki"
		}
		return known(id)
	}
	o.Reader = &authz.ReaderOptions{
		Reader: func(id kessai.ReaderID) (string, ed25519.PublicKey, bool, error) {
			return "suzuki", r.key.Public().(ed25519.PublicKey), id == r.id(), nil
		},
		Sign:   func(offer []byte) []byte { return ed25519.Sign(r.gateway, tether.OfferToSign(offer)) },
		Medium: medium,
		PIN: func(kessai.MediumID) (bool, func([]byte) bool, error) {
			return true, func(pin []byte) bool { return string(pin) == "1234" }, nil
		},
	}
}

// pay has Suzuki approve a payment and pay it with a card and a PIN.
func (r *shopReader) pay(t testing.TB, e *authz.Engine, id kessai.TxID, customer ledger.AccountID, number, expiry, pin string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	s, err := e.BeginReader(ctx, authz.ReaderApproval{Sale: id, Customer: customer, Reader: r.id()})
	if err != nil {
		t.Fatal(err)
	}
	send := func(step tether.Step, sealed []byte, err error) authz.ReaderMessage {
		if err != nil {
			t.Fatal(err)
		}
		return authz.ReaderMessage{Sealed: sealed, Signature: tether.SignSealed(r.key, step, s.Offer, sealed)}
	}
	sealed, err := tether.SealCard(s.Offer, tether.CardTrack2, []byte(number+"="+expiry+"101"))
	if s, err = e.ReaderCard(ctx, id, customer, send(tether.StepCard, sealed, err)); err != nil || s.Step != authz.ReaderPIN {
		t.Fatalf("%v, %v, %v", s.Step, s.Sale.Told, err)
	}
	sealed, err = tether.SealPIN(s.Offer, panOf(t, number), kessai.Secret(pin))
	if s, err = e.ReaderPIN(ctx, id, customer, send(tether.StepPIN, sealed, err)); err != nil || s.Step != authz.ReaderEnded {
		t.Fatalf("%v, %v", s.Step, err)
	}
}

// TestISO_PaidWithTheCustomersReader: the answer to CF=R comes when it is over, and
// says nothing of the card.
func TestISO_PaidWithTheCustomersReader(t *testing.T) {
	w, r := newISOShop(t), newShopReader()
	o := authz.Options{HoldFor: time.Hour, Phone: testPhones(w.book)}
	r.engine(&o, w.hasher.Medium)
	w.engine = authz.New(w.book, w.valid, o)
	t.Cleanup(w.engine.CloseReaders)
	_, addr := listenISO(t, withEngine(w))
	p := dialISO(t, addr)
	suzuki := customerOf(t, w.book, "suzuki")
	byReader := func(customer string) fields {
		return isoAsks(p, "CF", "R", "CU", customer, "IT", "2000000000015|1")
	}
	for _, c := range []struct{ customer, pin, code string }{
		{suzukiNumber, "1234", "00"}, {"suzuki", "0000", "55"},
	} {
		ask := byReader(c.customer)
		p.send(ask)
		id := awaitID(t, w, 1)
		r.pay(t, w.engine, id, suzuki, suzukiCard, "3912", c.pin)
		got := p.receive()
		expect(t, got, fields{0: "0210", 11: ask[11], 39: c.code, 37: id.RRN(), 4: yen(450), 48: "", 2: "", 35: ""})
		if strings.Contains(strings.Join([]string{got[44], got[54], got[62], got[63]}, ""), "4242") {
			t.Errorf("the terminal sees the card: %v", got)
		}
		ask[0] = "0201"
		expect(t, p.ask(ask), fields{39: c.code, 37: id.RRN()})
	}
	ask := byReader("suzuki")
	p.send(ask)
	id := awaitID(t, w, 1)
	p.send(p.financial("0400", "000000", fields{4: yen(450), 49: "392", 90: originalOf(ask)}))
	for range 2 { // the two answers come in either order
		switch got := p.receive(); got[0] {
		case "0410":
			expect(t, got, fields{39: "00"})
		default:
			expect(t, got, fields{0: "0210", 39: "17", 37: id.RRN()})
		}
	}

	expect(t, p.ask(byReader("+8150000000021")), fields{39: "05"})
	for _, customer := range []string{"", "+", "+12", "+81500000000x", "+1234567890123456"} {
		expect(t, p.ask(byReader(customer)), fields{39: "30", 37: ""})
	}
	none := authz.New(w.book, w.valid, authz.Options{Phone: testPhones(w.book)}) // it serves no readers
	w.engine = none
	_, addr = listenISO(t, withEngine(w))
	stan := p.stan
	p = dialISO(t, addr)
	p.stan = stan
	expect(t, p.ask(byReader("suzuki")), fields{39: "12"})
}

// TestHTTP_PaidWithTheCustomersReader: a shop that speaks JSON sees how it ended, and
// nothing of the card, not on the receipt either.
func TestHTTP_PaidWithTheCustomersReader(t *testing.T) {
	r := newShopReader()
	f := newHTTPFixtureOn(t, ledger.Options{Dir: t.TempDir()}, func(f *httpFixture, o *authz.Options) { r.engine(o, f.hasher.Medium) }, withCodes)
	t.Cleanup(f.engine.CloseReaders)
	body := func(customer string) string {
		return strings.Replace(httpAsks("purchase", "450", oneCoffee), `"confirm":"phone","customer":"suzuki"`, `"confirm":"reader","customer":"`+customer+`"`, 1)
	}
	a := f.asks("one", body(suzukiNumber))
	if a.text("confirm") != "reader" || a.text("number") != "01" || a.number("held") != 450 {
		t.Errorf("%s", a.raw)
	}
	at := a.header.Get("Location")
	r.pay(t, f.engine, idOf(t, a), customerOf(t, f.book, "suzuki"), httpCard, "9912", "1234")
	receipt := f.do("GET", at+"/receipt", "")
	for _, b := range []*httpAnswer{f.do("GET", at+"?wait=10s", ""), f.post("one", "/v1/payments", body(suzukiNumber)), f.do("GET", "/v1/payments?limit=10", ""), receipt} {
		if b.status/100 != 2 || bytes.Contains(b.raw, []byte(httpCard[12:])) || bytes.Contains(b.raw, []byte(`"medium"`)) || bytes.Contains(b.raw, []byte(suzukiNumber)) {
			t.Errorf("%d %s", b.status, b.raw)
		}
	}
	if b := f.do("GET", at, ""); b.text("status") != "approved" || b.text("confirm") != "reader" || b.text("approval_code") == "" {
		t.Errorf("%s", b.raw)
	}
	if !bytes.Contains(receipt.raw, []byte("own reader")) {
		t.Errorf("%s", receipt.raw)
	}
	second := f.asks("two", body("suzuki"))
	r.pay(t, f.engine, idOf(t, second), customerOf(t, f.book, "suzuki"), httpCard, "9912", "4321")
	if b := f.do("GET", second.header.Get("Location"), ""); b.text("status") != "cancelled" || b.text("response_code") != "55" {
		t.Errorf("%s", b.raw)
	}
	for field, b := range map[string]string{
		"customer": body("+12"),
		"confirm":  strings.Replace(body("suzuki"), `"reader"`, `"card"`, 1),
	} {
		if got := f.post("bad-"+field, "/v1/payments", b); got.status != http.StatusUnprocessableEntity || got.text("field") != field {
			t.Errorf("%d %s", got.status, got.raw)
		}
	}
}
