package gateway

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"strings"
	"testing"
	"time"

	"kessai"
	"kessai/authz"
	"kessai/pos/tether"
)

// A customer approves, puts their card in and types its PIN, and everybody is told.
func TestPhone_Reader_Pays(t *testing.T) {
	for _, suite := range []tether.Suite{tether.SuiteP256, tether.SuiteHybrid} {
		t.Run(suite.String(), func(t *testing.T) { paysWithReader(t, suite) })
	}
}

func paysWithReader(t *testing.T, suite tether.Suite) {
	f := newReaderFixture(t, func(_ *phoneSetup, o *authz.ReaderOptions) { o.Suite = suite })
	p, r := f.in("suzuki"), f.reader("suzuki")
	before, _ := f.balance("suzuki")
	id := f.askedReader("suzuki")
	now := p.readerNow(id)
	f.expectStep("before", now, "approve")
	shown, _ := now.body["sale"].(map[string]any)
	if shown["confirm"] != "reader" || fmt.Sprint(shown["factors"]) != "[reader]" || now.text("until") == "" || now.text("offer") != "" {
		t.Errorf("what is shown: %s", now.raw)
	}
	if waits := p.call("GET", "/phone/v1/sales", nil); !bytes.Contains(waits.raw, []byte(`"factors":["reader"]`)) {
		t.Errorf("what waits: %s", waits.raw)
	}

	offer := p.offered(id, r)
	o := httpMust[*tether.Offer](t)(tether.DecodeOffer(offer))
	if o.ID.String() != id || o.Shop != "Shop AOI000000000001" || o.Amount != (kessai.Amount{Value: 450, Currency: kessai.JPY}) || o.Reader != r.id || o.CardFor != 60 || o.PINFor != 60 {
		t.Errorf("the offer: %+v", o)
	}
	again := p.beginReader(id, r)
	if !bytes.Equal(again.bytes(t, "offer"), offer) || !tether.CheckOffer(f.keys.ReaderKey().Public().(ed25519.PublicKey), offer, again.bytes(t, "offer_signature")) {
		t.Errorf("begun again: %s", again.raw)
	}
	f.expectStep("the card", p.sendCard(id, r.card(offer, httpCard)), "pin")
	if now := p.readerNow(id); !bytes.Equal(now.bytes(t, "offer"), offer) {
		t.Errorf("a phone that was away hears %s", now.raw)
	}
	f.expectEnd("the PIN", p.sendPIN(id, r.pin(offer, httpCard, readerPIN)), id, "00")

	if after, held := f.balance("suzuki"); before-after != 450 || held != 0 {
		t.Errorf("%d were paid, %d are held", before-after, held)
	}
	shop := f.shop(id)
	if shop.text("status") != "approved" || shop.text("confirm") != "reader" || bytes.Contains(shop.raw, []byte("last4")) || bytes.Contains(shop.raw, []byte(httpCard[12:])) {
		t.Errorf("the shop sees %s", shop.raw)
	}
	if a := p.call("GET", "/phone/v1/readers", nil); !strings.Contains(string(a.raw), `"seen_at"`) {
		t.Errorf("the readers: %s", a.raw)
	}
	if history := p.call("GET", "/phone/v1/history", nil); !bytes.Contains(history.raw, []byte(`"confirm":"reader"`)) {
		t.Errorf("the history: %s", history.raw)
	}
}

// A card without a PIN settles at once.
func TestPhone_Reader_CardWithoutPIN(t *testing.T) {
	f := newReaderFixture(t, nil)
	delete(f.pins, httpCard)
	p, r := f.in("suzuki"), f.reader("suzuki")
	id := f.askedReader("suzuki")
	f.expectEnd("the card", p.sendCard(id, r.card(p.offered(id, r), httpCard)), id, "00")
}

// What is not this customer's, or not this reader's, does not exist or is refused.
func TestPhone_Reader_Guards(t *testing.T) {
	f := newReaderFixture(t, nil)
	p, other := f.in("suzuki"), f.in("sato")
	r, theirs, revoked := f.reader("suzuki"), f.reader("sato"), f.reader("suzuki")
	if err := f.store.RevokeReader("suzuki", revoked.id, time.Now()); err != nil {
		t.Fatal(err)
	}
	id := f.askedReader("suzuki")
	about := "/phone/v1/sales/" + id + "/reader"

	begin := p.approval(id, r.id)
	f.expect("another's payment", other.call("POST", about, begin), 404, "payment_not_found")
	f.expect("another's payment, how it stands", other.readerNow(id), 404, "payment_not_found")
	f.expect("another's payment, a card", other.sendCard(id, sealed{}), 404, "payment_not_found")
	f.expect("another's payment, a PIN", other.sendPIN(id, sealed{}), 404, "payment_not_found")
	f.expect("another's reader", p.beginReader(id, theirs), 403, "reader_refused")
	f.expect("a reader that was revoked", p.beginReader(id, revoked), 403, "reader_refused")
	f.expect("a reader that nobody knows", p.call("POST", about, p.approval(id, kessai.ReaderID{1})), 403, "reader_refused")
	f.expect("another reader than was signed", p.call("POST", about, map[string]any{"reader": f.reader("suzuki").id.String(), "signature": begin["signature"]}), 403, "proof_refused")
	f.expect("another phone's signature", p.call("POST", about, f.in("suzuki").approval(id, r.id)), 403, "proof_refused")
	f.expect("no ID", p.call("POST", about, map[string]any{"reader": "x", "signature": "AA"}), 422, "invalid_field")
	f.expect("an ID in capitals", p.call("POST", about, map[string]any{"reader": strings.Repeat("AB", 8), "signature": "AA"}), 422, "invalid_field")
	f.expect("no signature", p.call("POST", about, map[string]any{"reader": r.id.String()}), 403, "proof_refused")
	f.expect("something else", p.call("POST", about, `{"pin":"1234"}`), 422, "unknown_field")
	f.expect("nobody signed in", (&testPhone{f: f.phoneFixture}).call("POST", about, begin), 401, "signed_out")
	f.expect("a password", p.call("POST", "/phone/v1/sales/"+id+"/password", map[string]any{"client_first": "x"}), 403, "proof_refused")
	f.expect("a password's second half", p.call("POST", "/phone/v1/sales/"+id+"/password/x", map[string]any{"client_final": "x", "signature": "AA"}), 403, "proof_refused")
	f.expect("a passkey", p.call("POST", "/phone/v1/sales/"+id+"/passkey", `{}`), 403, "proof_refused")
	f.expect("a passkey's second half", p.call("POST", "/phone/v1/sales/"+id+"/passkey/x", map[string]any{"credential": map[string]any{}, "signature": "AA"}), 403, "proof_refused")
	f.expectStep("after all that", p.readerNow(id), "approve")

	f.made("00", "over", "/v1/payments/"+id+"/cancel", `{}`)
	second := f.askedReader("suzuki")
	f.expect("the word for another payment", p.call("POST", "/phone/v1/sales/"+second+"/reader", begin), 403, "proof_refused")
	f.made("00", "over too", "/v1/payments/"+second+"/cancel", `{}`)
	byPhone := f.asked("suzuki")
	f.expect("a payment without a reader", p.beginReader(byPhone, r), 404, "payment_not_found")
	f.expect("a payment without a reader, how it stands", p.readerNow(byPhone), 404, "payment_not_found")
	f.expect("a payment without a reader, a card", p.sendCard(byPhone, sealed{}), 404, "payment_not_found")
	if posted := f.engine.ReaderStats().Issued; posted != 0 {
		t.Errorf("%d keys were issued", posted)
	}
}

// A reader that is revoked while its customer looks for the card seals nothing more.
func TestPhone_Reader_RevokedMeanwhile(t *testing.T) {
	f := newReaderFixture(t, nil)
	p, r := f.in("suzuki"), f.reader("suzuki")
	id := f.askedReader("suzuki")
	offer := p.offered(id, r)
	f.expectGone("revoking it", p.call("DELETE", "/phone/v1/readers/"+r.id.String(), `{}`))
	f.expect("revoking it again", p.call("DELETE", "/phone/v1/readers/"+r.id.String(), `{}`), 404, "not_found")
	f.expect("revoking none", p.call("DELETE", "/phone/v1/readers/x", `{}`), 404, "not_found")
	f.expect("revoking another's", p.call("DELETE", "/phone/v1/readers/"+f.reader("sato").id.String(), `{}`), 404, "not_found")
	f.expectEnd("the card", p.sendCard(id, r.card(offer, httpCard)), id, "63")
	if a := p.call("GET", "/phone/v1/readers", nil); string(a.raw) != `{"readers":[]}` {
		t.Errorf("the readers: %s", a.raw)
	}
}

// Messages that nobody waits for change nothing.
func TestPhone_Reader_WrongOrder(t *testing.T) {
	f := newReaderFixture(t, nil)
	p, r := f.in("suzuki"), f.reader("suzuki")
	id := f.askedReader("suzuki")
	junk := sealed{[]byte("x"), make([]byte, 64)}
	f.expect("a card before the customer's word", p.sendCard(id, junk), 409, "reader_step")
	f.expect("a PIN before the customer's word", p.sendPIN(id, junk), 409, "reader_step")
	offer := p.offered(id, r)
	f.expect("a PIN before the card", p.sendPIN(id, r.pin(offer, httpCard, readerPIN)), 409, "reader_step")
	f.expect("another reader after the offer", p.beginReader(id, f.reader("suzuki")), 409, "reader_step")
	card := r.card(offer, httpCard)
	f.expectStep("the card", p.sendCard(id, card), "pin")
	f.expect("the card twice", p.sendCard(id, card), 409, "reader_step")
	f.expect("another card", p.sendCard(id, r.card(offer, httpPoor)), 409, "reader_step")
	if again := p.beginReader(id, r); again.text("step") != "pin" || !bytes.Equal(again.bytes(t, "offer"), offer) {
		t.Errorf("begun again: %s", again.raw)
	}
	pin := r.pin(offer, httpCard, readerPIN)
	f.expectEnd("the PIN", p.sendPIN(id, pin), id, "00")
	first := p.sendPIN(id, pin)
	f.expect("the PIN twice", first, 409, "reader_step")
	f.expect("a card after the end", p.sendCard(id, card), 409, "reader_step")
	f.expect("the customer's word after the end", p.beginReader(id, r), 409, "reader_step")
	if junk := p.sendPIN(id, junk); !bytes.Equal(normal(junk), normal(first)) {
		t.Errorf("after the end %s is not %s", junk.raw, first.raw)
	}
	f.expectEnd("how it stands", p.readerNow(id), id, "00")
	if n := f.engine.ReaderStats().Refused; n != 10 {
		t.Errorf("%d messages were counted as refused", n)
	}
}

// One try for a payment: whatever is wrong ends it, and who pays is told what the
// shop is told.
func TestPhone_Reader_Ends(t *testing.T) {
	f := newReaderFixture(t, nil)
	p, r := f.in("suzuki"), f.reader("suzuki")
	before, _ := f.balance("suzuki")
	for _, c := range []struct {
		what, code string
		send       func(id string, offer []byte) *httpAnswer
	}{
		{"a stolen card", "43", func(id string, offer []byte) *httpAnswer { return p.sendCard(id, r.card(offer, httpStolen)) }},
		{"a lost card", "41", func(id string, offer []byte) *httpAnswer { return p.sendCard(id, r.card(offer, httpLost)) }},
		{"another customer's card", "14", func(id string, offer []byte) *httpAnswer { return p.sendCard(id, r.card(offer, httpPoor)) }},
		{"a card that nobody knows", "14", func(id string, offer []byte) *httpAnswer { return p.sendCard(id, r.card(offer, "5105105105105100")) }},
		{"no card", "14", func(id string, offer []byte) *httpAnswer {
			return p.sendCard(id, r.sign(tether.StepCard, offer, httpMust[[]byte](t)(tether.SealCard(offer, tether.CardTrack2, []byte("no card")))))
		}},
		{"a number with a wrong check digit", "14", func(id string, offer []byte) *httpAnswer { return p.sendCard(id, r.card(offer, "4242424242424243")) }},
		{"no chip", "14", func(id string, offer []byte) *httpAnswer {
			return p.sendCard(id, r.sign(tether.StepCard, offer, httpMust[[]byte](t)(tether.SealCard(offer, tether.CardEMV, []byte{0x5a, 0x08, 0x42}))))
		}},
		{"a wrong PIN", "55", func(id string, offer []byte) *httpAnswer {
			f.expectStep("the card", p.sendCard(id, r.card(offer, httpCard)), "pin")
			return p.sendPIN(id, r.pin(offer, httpCard, "999999999999"))
		}},
		{"a PIN block for another card", "63", func(id string, offer []byte) *httpAnswer {
			f.expectStep("the card", p.sendCard(id, r.card(offer, httpCard)), "pin")
			return p.sendPIN(id, r.pin(offer, httpPoor, readerPIN))
		}},
		{"the customer's refusal before", "17", func(id string, offer []byte) *httpAnswer {
			f.expect("refusing", p.call("POST", "/phone/v1/sales/"+id+"/cancel", `{}`), 200, "cancelled")
			return p.readerNow(id)
		}},
		{"the customer's refusal at the PIN", "17", func(id string, offer []byte) *httpAnswer {
			f.expectStep("the card", p.sendCard(id, r.card(offer, httpCard)), "pin")
			f.expect("refusing", p.call("POST", "/phone/v1/sales/"+id+"/cancel", `{}`), 200, "cancelled")
			return p.readerNow(id)
		}},
		{"the shop's cancellation", "17", func(id string, offer []byte) *httpAnswer {
			f.made("00", "c"+id, "/v1/payments/"+id+"/cancel", `{}`)
			return p.readerNow(id)
		}},
	} {
		id := f.askedReader("suzuki")
		f.expectEnd(c.what, c.send(id, p.offered(id, r)), id, c.code)
	}
	if after, held := f.balance("suzuki"); after != before || held != 0 {
		t.Errorf("%d were paid, %d are held", before-after, held)
	}
}

// Three wrong PINs lock the card, the third in the same words as later ones; the
// right one does nothing any more.
func TestPhone_Reader_LocksTheCard(t *testing.T) {
	f := newReaderFixture(t, nil)
	p, r := f.in("suzuki"), f.reader("suzuki")
	try := func(pin, code string) {
		t.Helper()
		id := f.askedReader("suzuki")
		offer := p.offered(id, r)
		a := p.sendCard(id, r.card(offer, httpCard))
		if a.text("step") == "pin" {
			a = p.sendPIN(id, r.pin(offer, httpCard, pin))
		}
		f.expectEnd("the PIN", a, id, code)
	}
	try("0000", "55")
	try("0000", "55")
	try(readerPIN, "00") // and begins anew
	try("0000", "55")
	try("0000", "55")
	try("0000", "75")
	try(readerPIN, "75")
	pan := httpMust[kessai.PAN](t)(kessai.ParsePAN(httpCard))
	if err := f.engine.UnlockCard(t.Context(), f.hasher.Medium(pan)); err != nil {
		t.Fatal(err)
	}
	try(readerPIN, "00")
}
