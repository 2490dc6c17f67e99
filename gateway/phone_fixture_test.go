package gateway

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/xdg-go/scram"

	"kessai"
	"kessai/authz"
	"kessai/authz/ledger"
	"kessai/customers"
	"kessai/customers/phones"
	"kessai/pos/sale"
)

// The customers of the fixture. The third has no password.
var phonePasswords = map[string]string{"suzuki": "aoi-1234", "sato": "umi-5678"}

// phoneFixture is a server with the side for phones, a book and a store of phones.
// Only the clock of the sessions can be set.
type phoneFixture struct {
	*httpFixture
	store *phones.Store
	keys  *phones.Keys

	mu       sync.Mutex
	ahead    time.Duration
	people   map[customers.ID]customers.Customer
	payments atomic.Uint64
	held     chan struct{} // nothing is known of Sato until it is closed; may be nil
}

// phoneSetup is what a test may choose.
type phoneSetup struct {
	dir    string // of book and store; empty: new ones
	phone  PhoneOptions
	asks   authz.PhoneOptions // MaxTries, DayTries and Timeout count
	http   func(*HTTPOptions)
	origin string
	pad    time.Duration
	push   **phones.Pusher // to be made; nil: none
	engine func(*phoneFixture, *httpFixture, *authz.Options)
}

// The verifiers are made once: that is the slow part.
var phoneVerifiers = sync.OnceValue(func() map[string]customers.Verifier {
	all := make(map[string]customers.Verifier)
	for id, password := range phonePasswords {
		v, err := phones.MakeVerifier(kessai.Secret(password), customers.MinIterations)
		if err != nil {
			panic(err)
		}
		all[id] = v
	}
	return all
})

func newPhoneFixture(t testing.TB, change func(*phoneSetup)) *phoneFixture {
	t.Helper()
	s := phoneSetup{phone: PhoneOptions{Tries: 3, DayTries: 5}, asks: authz.PhoneOptions{MaxTries: 3, DayTries: 5}, pad: time.Millisecond, origin: "http://localhost:8080"}
	if change != nil {
		change(&s)
	}
	if s.dir == "" {
		s.dir = t.TempDir()
	}
	f := &phoneFixture{people: make(map[customers.ID]customers.Customer)}
	for _, id := range []string{"suzuki", "sato", "third"} {
		f.people[customers.ID(id)] = customers.Customer{ID: customers.ID(id), Name: strings.ToUpper(id[:1]) + id[1:], Currency: kessai.JPY, Verifier: phoneVerifiers()[id]}
	}
	f.keys = httpMust[*phones.Keys](t)(phones.NewKeys(bytes.Repeat([]byte{7}, 32)))
	f.store = httpMust[*phones.Store](t)(phones.Open(s.dir + "/phones"))
	t.Cleanup(func() { _ = f.store.Close() })
	f.httpFixture = newHTTPFixtureOn(t, ledger.Options{Dir: s.dir, BusinessDay: func(time.Time) int32 { return 20_000 }}, func(h *httpFixture, all *authz.Options) {
		o := &all.Phone
		o.MaxTries, o.DayTries, o.Timeout = s.asks.MaxTries, s.asks.DayTries, s.asks.Timeout
		if s.asks.Convert != nil {
			o.Convert = s.asks.Convert
		}
		if s.engine != nil {
			s.engine(f, h, all)
		}
	}, func(o *HTTPOptions) {
		o.Phone = f.side(t, &s, o.Engine, o.Book)
		o.Codes = PhoneCodes{Number: f.keys.Number, Claim: f.keys.ClaimCode, Receipt: f.keys.ReceiptCode, Origin: s.origin}
		if s.http != nil {
			s.http(o)
		}
	})
	return f
}

// side makes the options of the phones' side.
func (f *phoneFixture) side(t testing.TB, s *phoneSetup, engine *authz.Engine, book *ledger.Book) *PhoneOptions {
	o := &s.phone
	o.Store, o.Keys, o.Origin = f.store, f.keys, s.origin
	o.Account = func(id customers.ID) (ledger.AccountID, kessai.Currency, bool) {
		a, ok := book.AccountByName(customers.AccountName(id))
		return a.ID, a.Currency, ok
	}
	if s.push != nil {
		o.Push = httpMust[*phones.Pusher](t)(phones.NewPusher(phones.PushOptions{Store: f.store, Key: bytes.Repeat([]byte{7}, 32), Contact: "ops@example.com"}))
		t.Cleanup(o.Push.Close)
		*s.push = o.Push
	}
	o.Service = httpMust[*phones.Service](t)(phones.New(phones.Options{
		Store: f.store, Keys: f.keys, Origin: s.origin, Iterations: customers.MinIterations, Pad: s.pad, Now: f.now,
		Customer: func(id customers.ID) (customers.Customer, bool, error) {
			if id == "sato" && f.held != nil {
				<-f.held
			}
			f.mu.Lock()
			defer f.mu.Unlock()
			c, ok := f.people[id]
			return c, ok, nil
		},
		SetVerifier: func(id customers.ID, v customers.Verifier) error {
			f.mu.Lock()
			defer f.mu.Unlock()
			c := f.people[id]
			c.Verifier = v
			f.people[id] = c
			return nil
		},
		Count: func(ctx context.Context, id customers.ID, wrong bool) (bool, error) {
			account, _, _ := o.Account(id)
			code, err := engine.SignIn(ctx, account, wrong)
			return code != kessai.TriesExceeded, err
		},
	}))
	return o
}

func (f *phoneFixture) now() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return time.Now().Add(f.ahead)
}

// pass lets time pass for sessions and tries; the book's clock goes on as it did.
func (f *phoneFixture) pass(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ahead += d
}

// asked has a shop ask a customer for a coffee, each time another one.
func (f *phoneFixture) asked(customer string) (id string) {
	f.t.Helper()
	n := f.payments.Add(1)
	a := f.post("phone-"+strconv.FormatUint(n, 10), "/v1/payments", `{"kind":"purchase","terminal":"AOI00001","amount":{"value":450,"currency":"JPY"},`+
		`"confirm":"phone","customer":"`+customer+`","items":[{"code":"2000000000015","quantity":1}]}`)
	if a.status != http.StatusAccepted {
		f.t.Fatalf("asking %s: %d %s", customer, a.status, a.raw)
	}
	return a.text("id")
}

// ask is what the shop sees of a payment.
func (f *phoneFixture) shop(id string) *httpAnswer { return f.do("GET", "/v1/payments/"+id, "") }

// testPhone is a phone that can also do what none does.
type testPhone struct {
	f        *phoneFixture
	customer string
	key      *ecdsa.PrivateKey
	spki     []byte
	scram    *scram.Client
	cookie   string
	origin   string // empty: the server's own address
	device   string
	passkey  *testPasskey
}

func (f *phoneFixture) phone(customer, password string) *testPhone {
	f.t.Helper()
	p := &testPhone{f: f, customer: customer, key: httpMust[*ecdsa.PrivateKey](f.t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))}
	p.spki = httpMust[[]byte](f.t)(x509.MarshalPKIXPublicKey(&p.key.PublicKey))
	p.scram = httpMust[*scram.Client](f.t)(scram.SHA256.NewClient(customer, password, ""))
	return p
}

// in gives a phone of a customer that is signed in.
func (f *phoneFixture) in(customer string) *testPhone {
	f.t.Helper()
	p := f.phone(customer, phonePasswords[customer])
	if a := p.signIn(); a.status != 200 {
		f.t.Fatalf("signing in: %d %s", a.status, a.raw)
	}
	return p
}

// call asks as the app does; headers may change that.
func (p *testPhone) call(method, path string, body any, headers ...string) *httpAnswer {
	p.f.t.Helper()
	text := ""
	switch b := body.(type) {
	case nil:
	case string:
		text = b
	default:
		text = string(httpMust[[]byte](p.f.t)(json.Marshal(b)))
	}
	own := []string{"Authorization", "", headerPhone, "1", "Origin", cmp.Or(p.origin, p.f.url), "Cookie", p.cookie}
	a := p.f.do(method, path, text, append(own, headers...)...)
	for _, c := range (&http.Response{Header: a.header}).Cookies() {
		if c.Name == phoneCookie {
			p.cookie = ""
			if c.Value != "" {
				p.cookie = c.Name + "=" + c.Value
			}
		}
	}
	return a
}

// proof is one run of SCRAM, bound to a digest, with the device's signature.
type proof struct {
	by         testPhone
	try, final string
	signature  []byte
}

func (p *testPhone) begin(binding string, digest [32]byte, path string, with map[string]any) (*httpAnswer, proof) {
	p.f.t.Helper()
	talk := p.scram.NewConversationWithChannelBinding(scram.ChannelBinding{Type: scram.ChannelBindingType(binding), Data: digest[:]})
	first := httpMust[string](p.f.t)(talk.Step(""))
	body := map[string]any{"client_first": first}
	for k, v := range with {
		body[k] = v
	}
	a := p.call("POST", path, body)
	if a.status != 200 {
		return a, proof{}
	}
	final := httpMust[string](p.f.t)(talk.Step(a.text("server_first")))
	_, bare, _ := strings.Cut(first, ",,")
	said := bare + "," + a.text("server_first") + "," + final[:strings.LastIndex(final, ",")]
	return a, proof{by: *p, try: a.text("try"), final: final, signature: p.sign(digest, []byte(said))}
}

func (p *testPhone) sign(digest [32]byte, said []byte) []byte {
	p.f.t.Helper()
	hash := sha256.Sum256(phones.SignedBytes(digest, said))
	r, s, err := ecdsa.Sign(rand.Reader, p.key, hash[:])
	if err != nil {
		p.f.t.Fatal(err)
	}
	return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
}

func raw64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func (p *testPhone) signIn() *httpAnswer {
	p.f.t.Helper()
	a, y := p.begin("kessai-device", sha256.Sum256(p.spki), "/phone/v1/sign-in", map[string]any{"device_key": raw64(p.spki)})
	if a.status != 200 {
		return a
	}
	a = p.call("POST", "/phone/v1/sign-in/"+y.try, map[string]any{"client_final": y.final, "signature": raw64(y.signature), "device_name": "Pixel", "lang": "ja"})
	if d, ok := a.body["device"].(map[string]any); ok {
		p.device, _ = d["id"].(string)
	}
	return a
}

// digest gives what the phone signs for a sale: made from what it is shown.
func (p *testPhone) digest(id string) [32]byte {
	p.f.t.Helper()
	var shown struct{ Sale sale.Sale }
	a := p.call("GET", "/phone/v1/sales/"+id, nil)
	if err := json.Unmarshal(a.raw, &shown); err != nil || a.status != 200 {
		p.f.t.Fatalf("the sale: %d %s, %v", a.status, a.raw, err)
	}
	return httpMust[[32]byte](p.f.t)(shown.Sale.Digest())
}

func (p *testPhone) beginSale(id string) proof {
	p.f.t.Helper()
	a, y := p.begin("kessai-sale", p.digest(id), "/phone/v1/sales/"+id+"/password", nil)
	if a.status != 200 {
		p.f.t.Fatalf("beginning: %d %s", a.status, a.raw)
	}
	return y
}

func (p *testPhone) finishSale(id string, y proof) *httpAnswer {
	p.f.t.Helper()
	return p.call("POST", "/phone/v1/sales/"+id+"/password/"+y.try, map[string]any{"client_final": y.final, "signature": raw64(y.signature)})
}

// approve gives the outcome of a proof.
func (p *testPhone) approve(id string) *httpAnswer { return p.finishSale(id, p.beginSale(id)) }

// wrong is the same phone with a password that is none.
func (p *testPhone) wrong() *testPhone {
	q := *p
	q.scram = httpMust[*scram.Client](p.f.t)(scram.SHA256.NewClient(p.customer, "wrong", ""))
	return &q
}

func (f *phoneFixture) expect(what string, a *httpAnswer, status int, word string) {
	f.t.Helper()
	said := a.text("code")
	if a.status == 200 {
		said = a.text("outcome")
	}
	if a.status != status || said != word {
		f.t.Errorf("%s: %d %s; want %d %s", what, a.status, a.raw, status, word)
	}
}
