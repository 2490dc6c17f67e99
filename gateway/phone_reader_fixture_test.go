package gateway

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"net/http"
	"regexp"
	"strconv"
	"testing"
	"time"

	"kessai"
	"kessai/authz"
	"kessai/customers"
	"kessai/customers/phones"
	"kessai/pos/tether"
)

// readerFixture is a gateway at which customers may pay with card readers.
type readerFixture struct {
	*phoneFixture
	pins map[string]string // by card number; a card without one needs none
}

const readerPIN = "123456789012"

func newReaderFixture(t testing.TB, change func(*phoneSetup, *authz.ReaderOptions)) *readerFixture {
	t.Helper()
	r := &readerFixture{pins: map[string]string{httpCard: readerPIN, httpPoor: "4321"}}
	r.phoneFixture = newPhoneFixture(t, func(s *phoneSetup) {
		o := &authz.ReaderOptions{ApproveFor: time.Minute, CardFor: time.Minute, PINFor: time.Minute}
		s.engine = func(f *phoneFixture, h *httpFixture, all *authz.Options) {
			o.Reader = func(id kessai.ReaderID) (string, ed25519.PublicKey, bool, error) {
				x, err := f.store.Reader(id)
				if errors.Is(err, phones.ErrGone) || err == nil && !x.Revoked.IsZero() {
					return "", nil, false, nil
				}
				return string(x.Customer), x.Key, err == nil, err
			}
			o.Sign, o.Medium = f.keys.SignOffer, h.hasher.Medium
			o.PIN = func(id kessai.MediumID) (bool, func([]byte) bool, error) {
				for number, pin := range r.pins {
					if pan, err := kessai.ParsePAN(number); err == nil && h.hasher.Medium(pan) == id {
						return true, func(typed []byte) bool { return string(typed) == pin }, nil
					}
				}
				return false, nil, nil
			}
			all.Reader = o
		}
		if change != nil {
			change(s, o)
		}
	})
	return r
}

// testReader is a card reader that can also do what none does.
type testReader struct {
	f   *readerFixture
	id  kessai.ReaderID
	key ed25519.PrivateKey
}

// reader gives a customer another reader.
func (f *readerFixture) reader(customer string) *testReader {
	f.t.Helper()
	public, key, err := ed25519.GenerateKey(nil)
	if err == nil {
		err = f.store.AddReader(phones.Reader{Customer: customers.ID(customer), Name: "Reader", Key: public, Added: time.Now()})
	}
	if err != nil {
		f.t.Fatal(err)
	}
	return &testReader{f, kessai.ReaderIDOf(public), key}
}

// askedReader has a shop ask a customer to pay for a coffee with their reader.
func (f *readerFixture) askedReader(customer string) (id string) {
	f.t.Helper()
	n := f.payments.Add(1)
	a := f.post("reader-"+strconv.FormatUint(n, 10), "/v1/payments", `{"kind":"purchase","terminal":"AOI00001","amount":{"value":450,"currency":"JPY"},`+
		`"confirm":"reader","customer":"`+customer+`","items":[{"code":"2000000000015","quantity":1}]}`)
	if a.status != http.StatusAccepted {
		f.t.Fatalf("asking %s: %d %s", customer, a.status, a.raw)
	}
	return a.text("id")
}

// sealed is a message of a reader.
type sealed struct{ sealed, signature []byte }

func (s sealed) body() map[string]any {
	return map[string]any{"sealed": raw64(s.sealed), "signature": raw64(s.signature)}
}

// sign signs anything as what was sealed in a step.
func (r *testReader) sign(step tether.Step, offer, what []byte) sealed {
	return sealed{what, tether.SignSealed(r.key, step, offer, what)}
}

func (r *testReader) card(offer []byte, number string) sealed {
	r.f.t.Helper()
	return r.sign(tether.StepCard, offer, httpMust[[]byte](r.f.t)(tether.SealCard(offer, tether.CardTrack2, []byte(";"+number+"=99121010000012300?"))))
}

func (r *testReader) pin(offer []byte, number, pin string) sealed {
	r.f.t.Helper()
	pan := httpMust[kessai.PAN](r.f.t)(kessai.ParsePAN(number))
	return r.sign(tether.StepPIN, offer, httpMust[[]byte](r.f.t)(tether.SealPIN(offer, pan, kessai.Secret(pin))))
}

// approval is what a phone says to begin: the digest as it is shown, and the reader.
func (p *testPhone) approval(id string, r kessai.ReaderID) map[string]any {
	p.f.t.Helper()
	return map[string]any{"reader": r.String(), "signature": raw64(p.sign(p.digest(id), []byte("reader "+r.String())))}
}

func (p *testPhone) beginReader(id string, r *testReader) *httpAnswer {
	p.f.t.Helper()
	return p.call("POST", "/phone/v1/sales/"+id+"/reader", p.approval(id, r.id))
}

// offered begins, and gives the offer.
func (p *testPhone) offered(id string, r *testReader) []byte {
	p.f.t.Helper()
	a := p.beginReader(id, r)
	p.f.expectStep("beginning", a, "card")
	return a.bytes(p.f.t, "offer")
}

func (p *testPhone) sendCard(id string, m sealed) *httpAnswer {
	p.f.t.Helper()
	return p.call("POST", "/phone/v1/sales/"+id+"/reader/card", m.body())
}

func (p *testPhone) sendPIN(id string, m sealed) *httpAnswer {
	p.f.t.Helper()
	return p.call("POST", "/phone/v1/sales/"+id+"/reader/pin", m.body())
}

func (p *testPhone) readerNow(id string) *httpAnswer {
	p.f.t.Helper()
	return p.call("GET", "/phone/v1/sales/"+id+"/reader", nil)
}

// bytes gives a member of the body that is bytes.
func (a *httpAnswer) bytes(t testing.TB, name string) []byte {
	t.Helper()
	return httpMust[[]byte](t)(base64.RawURLEncoding.DecodeString(a.text(name)))
}

// told gives what a phone was told about a payment that has ended.
func (a *httpAnswer) told() string {
	s, _ := a.body["sale"].(map[string]any)
	told, _ := s["told"].(map[string]any)
	code, _ := told["code"].(string)
	return code
}

// expectStep compares the step that an answer gives.
func (f *phoneFixture) expectStep(what string, a *httpAnswer, step string) {
	f.t.Helper()
	if a.status != 200 || a.text("step") != step {
		f.t.Fatalf("%s: %d %s; want step %s", what, a.status, a.raw, step)
	}
}

// expectEnd compares how a payment ended, as phone and shop have it.
func (f *readerFixture) expectEnd(what string, a *httpAnswer, id, code string) {
	f.t.Helper()
	if a.status != 200 || a.text("step") != "ended" || a.told() != code {
		f.t.Errorf("%s: the phone hears %d %s; want %s", what, a.status, a.raw, code)
	}
	if shop := f.shop(id); shop.text("response_code") != code {
		f.t.Errorf("%s: the shop hears %s; want %s", what, shop.raw, code)
	}
	if a.text("offer") != "" || a.text("offer_signature") != "" || a.text("until") != "" {
		f.t.Errorf("%s: it has ended, and there is more to do: %s", what, a.raw)
	}
	if n := f.engine.ReaderStats().Keys; n != 0 {
		f.t.Errorf("%s: %d keys are left", what, n)
	}
}

// balance gives what a customer has.
func (f *readerFixture) balance(customer string) (balance, held int64) {
	f.t.Helper()
	a, ok := f.book.Account(customerOf(f.t, f.book, customer))
	if !ok {
		f.t.Fatalf("%s has no account", customer)
	}
	return a.Balance, a.Held
}

func (f *readerFixture) medium(number string) kessai.MediumID {
	f.t.Helper()
	return f.hasher.Medium(httpMust[kessai.PAN](f.t)(kessai.ParsePAN(number)))
}

// expectGone wants an answer without anything in it.
func (f *phoneFixture) expectGone(what string, a *httpAnswer) {
	f.t.Helper()
	if a.status != http.StatusNoContent {
		f.t.Errorf("%s: %d %s", what, a.status, a.raw)
	}
}

// varies is what differs between two answers that say the same of two payments: their
// IDs, what follows from them, and the time.
var varies = regexp.MustCompile(`"(?:request_id|customer|id|digest|number|rrn|time|at|sale_id)":"[^"]*"`)

// normal gives what an answer says, without what varies.
func normal(a *httpAnswer) []byte {
	return append(strconv.AppendInt(nil, int64(a.status), 10), varies.ReplaceAll(a.raw, []byte(`"*"`))...)
}
