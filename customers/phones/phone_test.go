package phones

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-webauthn/webauthn/protocol/webauthncbor"
	"github.com/xdg-go/scram"

	"kessai"
	"kessai/customers"
	"kessai/pos/sale"
)

const testIterations = customers.MinIterations

// house is a gateway as far as phones see it, with a clock that stands still.
type house struct {
	*Service
	store *Store
	keys  *Keys

	mu     sync.Mutex
	now    time.Time
	people map[customers.ID]customers.Customer
	wrong  map[customers.ID]int // sign-ins counted as wrong
	right  map[customers.ID]int
}

const most = 5 // wrong sign-ins a day

func newHouse(t *testing.T) *house {
	t.Helper()
	store, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	h := &house{
		store: store, now: time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC),
		people: make(map[customers.ID]customers.Customer), wrong: make(map[customers.ID]int), right: make(map[customers.ID]int),
	}
	if h.keys, err = NewKeys(bytes.Repeat([]byte{7}, 32)); err != nil {
		t.Fatal(err)
	}
	h.Service, err = New(Options{
		Store: store, Keys: h.keys, Origin: "https://pay.example.com", Iterations: testIterations,
		Customer: func(id customers.ID) (customers.Customer, bool, error) {
			h.mu.Lock()
			defer h.mu.Unlock()
			c, ok := h.people[id]
			return c, ok, nil
		},
		SetVerifier: func(id customers.ID, v customers.Verifier) error {
			h.mu.Lock()
			defer h.mu.Unlock()
			c := h.people[id]
			c.Verifier = v
			h.people[id] = c
			return nil
		},
		Count: func(_ context.Context, id customers.ID, wrong bool) (bool, error) {
			h.mu.Lock()
			defer h.mu.Unlock()
			open := h.wrong[id] < most
			if wrong {
				h.wrong[id]++
			} else {
				h.right[id]++
			}
			return open, nil
		},
		Pad: time.Millisecond,
		Now: func() time.Time { h.mu.Lock(); defer h.mu.Unlock(); return h.now },
	})
	if err != nil {
		t.Fatal(err)
	}
	h.people["suzuki"] = customers.Customer{ID: "suzuki", Name: "Suzuki", Verifier: h.verifierOf(t, "aoi-1234")}
	h.people["sato"] = customers.Customer{ID: "sato", Name: "Sato", Verifier: h.verifierOf(t, "umi-5678")}
	h.people["tanaka"] = customers.Customer{ID: "tanaka", Name: "Tanaka"} // no password yet
	return h
}

func (h *house) verifierOf(t *testing.T, password kessai.Secret) customers.Verifier {
	t.Helper()
	v, err := MakeVerifier(password, testIterations)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func (h *house) pass(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now = h.now.Add(d)
}

// phone is a customer's phone. Its SCRAM is the library's: another's work than
// the half that it talks to.
type phone struct {
	t        *testing.T
	h        *house
	key      *ecdsa.PrivateKey
	spki     []byte
	customer string
	scram    *scram.Client
	in       Session
	token    kessai.Secret
	passkey  *authenticator
}

func (h *house) phone(t *testing.T, customer, password string) *phone {
	t.Helper()
	p := &phone{t: t, h: h, customer: customer}
	var err error
	if p.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	if p.spki, err = x509.MarshalPKIXPublicKey(&p.key.PublicKey); err != nil {
		t.Fatal(err)
	}
	if p.scram, err = scram.SHA256.NewClient(customer, password, ""); err != nil {
		t.Fatal(err)
	}
	return p
}

// run is a phone's side of one run of SCRAM, bound to something.
type run struct {
	*scram.ClientConversation
	first string
}

func (p *phone) run(binding string, digest [32]byte) run {
	p.t.Helper()
	c := p.scram.NewConversationWithChannelBinding(scram.ChannelBinding{Type: scram.ChannelBindingType(binding), Data: digest[:]})
	first, err := c.Step("")
	if err != nil {
		p.t.Fatal(err)
	}
	return run{c, first}
}

// final gives the last message, and what both sides signed.
func (p *phone) final(r run, serverFirst string) (final string, message []byte) {
	p.t.Helper()
	final, err := r.Step(serverFirst)
	if err != nil {
		p.t.Fatal(err)
	}
	_, bare, _ := strings.Cut(r.first, ",,")
	return final, []byte(bare + "," + serverFirst + "," + final[:strings.LastIndex(final, ",")])
}

// sign signs as WebCrypto does.
func (p *phone) sign(digest [32]byte, said []byte) []byte {
	p.t.Helper()
	h := sha256.Sum256(said)
	text := sha256.Sum256(append(append([]byte("kessai approve v1\x00"), digest[:]...), h[:]...))
	r, s, err := ecdsa.Sign(rand.Reader, p.key, text[:])
	if err != nil {
		p.t.Fatal(err)
	}
	sig := make([]byte, 64)
	r.FillBytes(sig[:32])
	s.FillBytes(sig[32:])
	return sig
}

func (p *phone) signIn() error {
	p.t.Helper()
	digest := sha256.Sum256(p.spki)
	r := p.run("kessai-device", digest)
	try, serverFirst, err := p.h.BeginSignIn("192.0.2.1", r.first, p.spki)
	if err != nil {
		return err
	}
	final, message := p.final(r, serverFirst)
	in, err := p.h.FinishSignIn(p.t.Context(), try, final, p.sign(digest, message), PhoneNames{Name: "Pixel", Lang: "ja"})
	if err != nil {
		return err
	}
	if _, err := r.Step(in.ServerFinal); err != nil || !r.Valid() {
		p.t.Errorf("the gateway does not prove that it knows the verifier: %v", err)
	}
	p.in, p.token = in.Session, in.Token
	return nil
}

func (p *phone) mustSignIn() *phone {
	p.t.Helper()
	if err := p.signIn(); err != nil {
		p.t.Fatal(err)
	}
	return p
}

func testSale(t *testing.T, id kessai.TxID, customer string) Shown {
	t.Helper()
	s := &sale.Sale{
		ID: id, Merchant: "KISSATENAOI0001", Shop: "Kissaten Aoi", Terminal: "AOI00001", Customer: customer, Kind: kessai.Purchase,
		Time: time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC), Total: kessai.Amount{Value: 450, Currency: kessai.JPY},
		Items: []sale.Item{{Name: "Coffee", Quantity: 1, Price: 450, Tax: 1000}},
	}
	b, err := s.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return Shown{id, b}
}

// approve gives what the gateway makes of a password for a sale that the phone saw
// as seen and the gateway has as has.
func (p *phone) approve(seen, has Shown, change func(final string, signature []byte) (string, []byte)) (Proof, error) {
	p.t.Helper()
	digest := sha256.Sum256(seen.Canonical)
	r := p.run("kessai-sale", digest)
	try, serverFirst, err := p.h.BeginPassword(p.in, seen.ID, r.first)
	if err != nil {
		return Proof{}, err
	}
	final, message := p.final(r, serverFirst)
	signature := p.sign(digest, message)
	if change != nil {
		final, signature = change(final, signature)
	}
	return p.h.FinishPassword(p.in, has, try, final, signature)
}

// authenticator is a passkey in software.
type authenticator struct {
	key    *ecdsa.PrivateKey
	id     []byte
	handle []byte
	count  uint32
}

const (
	userPresent, userVerified, attested = 1, 4, 64
)

func (a *authenticator) data(flags byte) []byte {
	party := sha256.Sum256([]byte("pay.example.com"))
	a.count++
	return binary.BigEndian.AppendUint32(append(party[:], flags), a.count)
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func clientData(kind, challenge, origin string) []byte {
	return fmt.Appendf(nil, `{"type":%q,"challenge":%q,"origin":%q,"crossOrigin":false}`, kind, challenge, origin)
}

// addPasskey makes a passkey and has it added.
func (p *phone) addPasskey() (Passkey, error) {
	p.t.Helper()
	a := &authenticator{id: random(16)}
	a.key, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	var options struct {
		PublicKey struct {
			Challenge string
			User      struct{ ID string }
		}
	}
	// The digest is not known before the passkey is made; SCRAM needs it last.
	var digest [32]byte
	r := p.run("kessai-change", digest)
	try, serverFirst, raw, err := p.h.BeginAddPasskey(p.in, r.first)
	if err != nil {
		return Passkey{}, err
	}
	if err := json.Unmarshal(raw, &options); err != nil {
		p.t.Fatal(err)
	}
	a.handle, _ = base64.RawURLEncoding.DecodeString(options.PublicKey.User.ID)
	point, _ := a.key.PublicKey.Bytes()
	cose, err := webauthncbor.Marshal(map[int]any{1: 2, 3: -7, -1: 1, -2: point[1:33], -3: point[33:]})
	if err != nil {
		p.t.Fatal(err)
	}
	data := a.data(userPresent | userVerified | attested)
	data = append(append(append(data, make([]byte, 16)...), 0, byte(len(a.id))), a.id...)
	object, err := webauthncbor.Marshal(map[string]any{"fmt": "none", "attStmt": map[string]any{}, "authData": append(data, cose...)})
	if err != nil {
		p.t.Fatal(err)
	}
	credential, _ := json.Marshal(map[string]any{
		"id": b64(a.id), "rawId": b64(a.id), "type": "public-key", "clientExtensionResults": map[string]any{},
		"response": map[string]any{
			"clientDataJSON":    b64(clientData("webauthn.create", options.PublicKey.Challenge, "https://pay.example.com")),
			"attestationObject": b64(object),
		},
	})
	final := p.rebound(r, serverFirst, sha256.Sum256(object))
	added, serverFinal, err := p.h.FinishAddPasskey(p.t.Context(), p.in, try, final, credential, "Laptop")
	if err == nil && !strings.HasPrefix(serverFinal, "v=") {
		p.t.Errorf("server final %q", serverFinal)
	}
	if err == nil {
		p.passkey = a
	}
	return added, err
}

// rebound runs SCRAM's last step with data that were not known at its first.
func (p *phone) rebound(r run, serverFirst string, digest [32]byte) string {
	p.t.Helper()
	_, bare, _ := strings.Cut(r.first, ",,")
	nonce := strings.TrimPrefix(strings.Split(bare, ",")[1], "r=")
	again := p.scram.WithNonceGenerator(func() string { return nonce })
	c := again.NewConversationWithChannelBinding(scram.ChannelBinding{Type: "kessai-change", Data: digest[:]})
	if _, err := c.Step(""); err != nil {
		p.t.Fatal(err)
	}
	p.scram.WithNonceGenerator(func() string { return b64(random(18)) })
	final, err := c.Step(serverFirst)
	if err != nil {
		p.t.Fatal(err)
	}
	return final
}

// answer is what a browser gives for a passkey.
type answer struct{ clientData, data, signature, handle []byte }

func (p *phone) assert(challenge string, flags byte) answer {
	p.t.Helper()
	a := answer{clientData: clientData("webauthn.get", challenge, "https://pay.example.com"), data: p.passkey.data(flags), handle: p.passkey.handle}
	hash := sha256.Sum256(a.clientData)
	text := sha256.Sum256(append(bytes.Clone(a.data), hash[:]...))
	var err error
	if a.signature, err = ecdsa.SignASN1(rand.Reader, p.passkey.key, text[:]); err != nil {
		p.t.Fatal(err)
	}
	return a
}

func (p *phone) credential(a answer) json.RawMessage {
	b, _ := json.Marshal(map[string]any{
		"id": b64(p.passkey.id), "rawId": b64(p.passkey.id), "type": "public-key", "clientExtensionResults": map[string]any{},
		"response": map[string]any{
			"clientDataJSON": b64(a.clientData), "authenticatorData": b64(a.data), "signature": b64(a.signature), "userHandle": b64(a.handle),
		},
	})
	return b
}

// approveByPasskey is approve with a passkey. The device signs what comes out of
// change: it is as bad as the rest.
func (p *phone) approveByPasskey(seen, has Shown, change func(*answer)) (Proof, error) {
	p.t.Helper()
	try, _, nonce, err := p.h.BeginPasskey(p.in, seen)
	if err != nil {
		return Proof{}, err
	}
	digest := sha256.Sum256(seen.Canonical)
	h := sha256.Sum256(append(append([]byte("kessai passkey v1\x00"), digest[:]...), nonce...))
	a := p.assert(b64(h[:]), userPresent|userVerified)
	if change != nil {
		change(&a)
	}
	return p.h.FinishPasskey(p.in, has, try, p.credential(a), p.sign(sha256.Sum256(has.Canonical), a.clientData))
}

func challengeOf(t *testing.T, a *answer) string {
	t.Helper()
	var said struct{ Challenge string }
	if err := json.Unmarshal(a.clientData, &said); err != nil {
		t.Fatal(err)
	}
	return said.Challenge
}
