package gateway

import (
	"crypto/ed25519"
	"strings"
	"testing"

	"kessai"
	"kessai/authz"
	"kessai/customers"
	"kessai/pos/tether"
)

// enrol has a reader enrol through the phone with a code, as it was typed.
func (p *testPhone) enrol(key ed25519.PrivateKey, code string) (*tether.Enrol, []byte, *httpAnswer) {
	p.f.t.Helper()
	k := httpMust[[]byte](p.f.t)(tether.EnrolKey(code))
	e := httpMust[*tether.Enrol](p.f.t)(tether.NewEnrol(key, "Reader 7", k))
	body := httpMust[[]byte](p.f.t)(e.Encode())
	return e, k, p.call("POST", "/phone/v1/readers", map[string]any{"enrol": raw64(body)})
}

func (f *readerFixture) expectDetail(what string, a *httpAnswer, parts ...string) {
	f.t.Helper()
	detail, _ := a.body["detail"].(string)
	for _, part := range parts {
		if !strings.Contains(detail, part) {
			f.t.Errorf("%s: %q does not say %q", what, detail, part)
		}
	}
}

func (f *readerFixture) invite() string { f.t.Helper(); return f.inviteTo("suzuki") }

func (f *readerFixture) inviteTo(who customers.ID) string {
	f.t.Helper()
	code, _, err := f.store.InviteReader(f.keys, who, f.now())
	if err != nil {
		f.t.Fatal(err)
	}
	return code.Reveal()
}

// A reader is enrolled with the code that was typed on it, which the phone never has;
// it learns by the answer which gateway it may believe.
func TestPhone_Reader_Enrolment(t *testing.T) {
	f := newReaderFixture(t, nil)
	p := f.in("suzuki")
	_, key, _ := ed25519.GenerateKey(nil)
	_, _, a := p.enrol(key, strings.Repeat("1", 24))
	f.expect("without an invitation", a, 403, "reader_refused")
	code := f.invite()
	_, _, a = f.in("sato").enrol(key, code)
	f.expect("another customer's code", a, 403, "reader_refused")
	e, k, a := p.enrol(key, code)
	if a.status != 201 {
		t.Fatalf("%d %s", a.status, a.raw)
	}
	answer := httpMust[*tether.Enrolled](t)(tether.DecodeEnrolled(a.bytes(t, "enrolled")))
	if !answer.Check(e, k) || !answer.Gateway.Equal(f.keys.ReaderKey().Public()) {
		t.Error("the reader does not believe the answer")
	}
	reader, _ := a.body["reader"].(map[string]any)
	if reader["id"] != kessai.ReaderIDOf(e.Key).String() || reader["name"] != "Reader 7" || reader["seen_at"] != nil {
		t.Errorf("the phone hears %s", a.raw)
	}
	_, _, a = p.enrol(key, code)
	f.expect("the code twice", a, 403, "reader_refused")

	r := &testReader{f, kessai.ReaderIDOf(e.Key), key}
	id := f.askedReader("suzuki")
	offer := p.offered(id, r)
	f.expectStep("the card", p.sendCard(id, r.card(offer, httpCard)), "pin")
	f.expectEnd("the PIN", p.sendPIN(id, r.pin(offer, httpCard, readerPIN)), id, "00")

	f.expectGone("revoking it", p.call("DELETE", "/phone/v1/readers/"+r.id.String(), `{}`))
	_, _, a = p.enrol(key, f.invite())
	f.expect("a key that was revoked", a, 403, "reader_refused")
	f.expectDetail("a key that was revoked", a, "revoked", "new key pair")
	_, _, a = f.in("sato").enrol(key, f.inviteTo("sato"))
	f.expectDetail("another's key", a, "new key pair")
	f.expect("no message", p.call("POST", "/phone/v1/readers", map[string]any{"enrol": "AAAA"}), 422, "invalid_field")
	f.expect("nothing", p.call("POST", "/phone/v1/readers", `{}`), 422, "invalid_field")

	code = f.invite()
	for range 5 {
		_, another, _ := ed25519.GenerateKey(nil)
		_, _, a = p.enrol(another, strings.Repeat("9", 24))
		f.expect("a wrong code", a, 403, "reader_refused")
		f.expectDetail("a wrong code", a, "Type it again")
	}
	_, key, _ = ed25519.GenerateKey(nil)
	_, _, a = p.enrol(key, code)
	f.expect("the right one after five wrong ones", a, 403, "reader_refused")
	f.expectDetail("the right one after five wrong ones", a, "Ask for a new one")
	for range 10 {
		f.reader("suzuki")
	}
	_, _, a = p.enrol(key, f.invite())
	f.expect("an eleventh reader", a, 429, "too_many")
}

// An open phone hears of each step.
func TestPhone_Reader_Events(t *testing.T) {
	f := newReaderFixture(t, nil)
	p, r := f.in("suzuki"), f.reader("suzuki")
	h, _ := p.listen(t)
	id := f.askedReader("suzuki")
	hears := func(what, want string) {
		t.Helper()
		if got := h.next(); got != want+` {"id":"`+id+`"}` {
			t.Errorf("%s: %q", what, got)
		}
	}
	hears("asked", "sales")
	offer := p.offered(id, r)
	hears("approved", "sales")
	f.expectStep("the card", p.sendCard(id, r.card(offer, httpCard)), "pin")
	hears("the card", "sales")
	f.expectEnd("the PIN", p.sendPIN(id, r.pin(offer, httpCard, "1111")), id, "55")
	hears("the PIN", "ended")
}

// As many payments as there may be keys; the next is told to come back, and can.
func TestPhone_Reader_AsManyKeysAsMayBe(t *testing.T) {
	f := newReaderFixture(t, func(_ *phoneSetup, o *authz.ReaderOptions) { o.MaxKeys = 1 })
	p, r, other, his := f.in("suzuki"), f.reader("suzuki"), f.in("sato"), f.reader("sato")
	id, second := f.askedReader("suzuki"), f.askedReader("sato")
	offer := p.offered(id, r)
	a := other.beginReader(second, his)
	f.expect("one key too many", a, 503, "busy")
	if a.header.Get("Retry-After") == "" {
		t.Error("nobody says when to come back")
	}
	f.expectStep("it waits on", other.readerNow(second), "approve")
	f.expectStep("the card", p.sendCard(id, r.card(offer, httpCard)), "pin")
	f.expectEnd("the PIN", p.sendPIN(id, r.pin(offer, httpCard, readerPIN)), id, "00")
	other.offered(second, his)
}

// A server that is to stop takes no messages, and what it has keys for waits on.
func TestPhone_Reader_Draining(t *testing.T) {
	f := newReaderFixture(t, nil)
	p, r := f.in("suzuki"), f.reader("suzuki")
	id := f.askedReader("suzuki")
	offer := p.offered(id, r)
	f.server.Drain()
	f.expect("the card", p.sendCard(id, r.card(offer, httpCard)), 503, "draining")
	f.engine.CloseReaders()
	if n := f.engine.ReaderStats().Keys; n != 0 {
		t.Errorf("%d keys are left", n)
	}
	f.expect("how it stands", p.readerNow(id), 503, "draining")
	if tx, _ := kessai.ParseTxID(id); f.engine.Sales(customerOf(t, f.book, "suzuki"))[0].ID != tx {
		t.Error("the payment does not wait on")
	}
}
