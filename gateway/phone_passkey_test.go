package gateway

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/go-webauthn/webauthn/protocol/webauthncbor"
	"github.com/xdg-go/scram"

	"kessai/customers/phones"
)

// testPasskey is an authenticator in software. It counts nothing: many do not.
type testPasskey struct {
	key        *ecdsa.PrivateKey
	id, handle []byte
}

const (
	flagsGet    = 1 | 4      // user present and verified
	flagsCreate = 1 | 4 | 64 // and a credential
)

func (k *testPasskey) data(flags byte) []byte {
	party := sha256.Sum256([]byte("localhost"))
	return append(append(party[:], flags), 0, 0, 0, 0)
}

func clientDataOf(kind, challenge string) []byte {
	return fmt.Appendf(nil, `{"type":%q,"challenge":%q,"origin":"http://localhost:8080","crossOrigin":false}`, kind, challenge)
}

// passkeyAnswer is what a browser says for a passkey.
type passkeyAnswer struct{ id, said, data, signature, handle []byte }

func (a *passkeyAnswer) credential() map[string]any {
	return map[string]any{
		"id": raw64(a.id), "rawId": raw64(a.id), "type": "public-key", "clientExtensionResults": map[string]any{},
		"response": map[string]any{
			"clientDataJSON": raw64(a.said), "authenticatorData": raw64(a.data), "signature": raw64(a.signature), "userHandle": raw64(a.handle),
		},
	}
}

// answers signs what a browser is asked to have signed.
func (p *testPhone) answers(begun *httpAnswer) passkeyAnswer {
	p.f.t.Helper()
	k := p.passkey
	a := passkeyAnswer{id: k.id, said: clientDataOf("webauthn.get", challengeIn(p.f.t, begun)), data: k.data(flagsGet), handle: k.handle}
	hash := sha256.Sum256(a.said)
	text := sha256.Sum256(append(bytes.Clone(a.data), hash[:]...))
	a.signature = httpMust[[]byte](p.f.t)(ecdsa.SignASN1(rand.Reader, k.key, text[:]))
	return a
}

type passkeyOptions struct {
	Options struct {
		PublicKey struct {
			Challenge string
			User      struct{ ID string }
		} `json:"publicKey"`
	}
}

func challengeIn(t testing.TB, a *httpAnswer) string {
	t.Helper()
	var o passkeyOptions
	if err := json.Unmarshal(a.raw, &o); err != nil || o.Options.PublicKey.Challenge == "" {
		t.Fatalf("no challenge: %d %s, %v", a.status, a.raw, err)
	}
	return o.Options.PublicKey.Challenge
}

// addPasskey makes a passkey and has it added, with the password.
func (p *testPhone) addPasskey() *httpAnswer {
	p.f.t.Helper()
	nonce := rand.Text()
	client := httpMust[*scram.Client](p.f.t)(scram.SHA256.NewClient(p.customer, phonePasswords[p.customer], ""))
	client.WithNonceGenerator(func() string { return nonce })
	a := p.call("POST", "/phone/v1/passkeys", map[string]any{"client_first": "p=kessai-change,,n=" + p.customer + ",r=" + nonce})
	if a.status != 200 {
		return a
	}
	var o passkeyOptions
	if err := json.Unmarshal(a.raw, &o); err != nil {
		p.f.t.Fatal(err)
	}
	k := &testPasskey{key: httpMust[*ecdsa.PrivateKey](p.f.t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)), id: []byte(rand.Text())}
	k.handle, _ = base64.RawURLEncoding.DecodeString(o.Options.PublicKey.User.ID)
	point := httpMust[[]byte](p.f.t)(k.key.PublicKey.Bytes())
	cose := httpMust[[]byte](p.f.t)(webauthncbor.Marshal(map[int]any{1: 2, 3: -7, -1: 1, -2: point[1:33], -3: point[33:]}))
	data := append(append(append(k.data(flagsCreate), make([]byte, 16)...), 0, byte(len(k.id))), k.id...)
	object := httpMust[[]byte](p.f.t)(webauthncbor.Marshal(map[string]any{"fmt": "none", "attStmt": map[string]any{}, "authData": append(data, cose...)}))
	digest := sha256.Sum256(object)
	talk := client.NewConversationWithChannelBinding(scram.ChannelBinding{Type: "kessai-change", Data: digest[:]})
	httpMust[string](p.f.t)(talk.Step(""))
	final := httpMust[string](p.f.t)(talk.Step(a.text("server_first")))
	a = p.call("POST", "/phone/v1/passkeys/"+a.text("try"), map[string]any{"client_final": final, "name": "Laptop", "credential": map[string]any{
		"id": raw64(k.id), "rawId": raw64(k.id), "type": "public-key", "clientExtensionResults": map[string]any{},
		"response": map[string]any{"clientDataJSON": raw64(clientDataOf("webauthn.create", o.Options.PublicKey.Challenge)), "attestationObject": raw64(object)},
	}})
	if a.status == 201 {
		p.passkey = k
	}
	return a
}

// approveByPasskey gives the outcome; change may alter what the browser says, and
// the device signs that.
func (p *testPhone) approveByPasskey(id string, change func(*passkeyAnswer)) *httpAnswer {
	p.f.t.Helper()
	return p.proveByPasskey(id, p.digest(id), change)
}

func (p *testPhone) proveByPasskey(id string, digest [32]byte, change func(*passkeyAnswer)) *httpAnswer {
	p.f.t.Helper()
	begun := p.call("POST", "/phone/v1/sales/"+id+"/passkey", nil)
	if begun.status != 200 {
		return begun
	}
	a := p.answers(begun)
	if change != nil {
		change(&a)
	}
	return p.call("POST", "/phone/v1/sales/"+id+"/passkey/"+begun.text("try"), map[string]any{"credential": a.credential(), "signature": raw64(p.sign(digest, a.said))})
}

// TestPhone_Passkey: added with the password, it approves a payment and signs
// another phone in, until it is removed.
func TestPhone_Passkey(t *testing.T) {
	f := newPhoneFixture(t, nil)
	p := f.in("suzuki")
	id := f.asked("suzuki")
	f.expect("a passkey that there is not", p.approveByPasskey(id, nil), 409, "no_passkeys")
	added := p.addPasskey()
	if added.status != 201 || !strings.HasPrefix(added.text("server_final"), "v=") {
		t.Fatalf("adding: %d %s", added.status, added.raw)
	}
	f.expect("approving", p.approveByPasskey(id, nil), 200, "approved")
	f.expect("approving again", p.approveByPasskey(id, nil), 200, "ended")

	other := f.phone("suzuki", "")
	other.passkey = p.passkey
	signIn := func(change func(*passkeyAnswer)) *httpAnswer {
		begun := other.call("POST", "/phone/v1/sign-in/passkey", `{}`)
		a := other.answers(begun)
		change(&a)
		return other.call("POST", "/phone/v1/sign-in/passkey/"+begun.text("try"), map[string]any{
			"credential": a.credential(), "device_key": raw64(other.spki), "signature": raw64(other.sign(sha256.Sum256(other.spki), a.said)),
		})
	}
	f.expect("another's handle", signIn(func(a *passkeyAnswer) { a.handle = bytes.Repeat([]byte{1}, 32) }), 401, "sign_in_refused")
	if a := signIn(func(*passkeyAnswer) {}); a.status != 200 || other.cookie == "" {
		t.Fatalf("signing in by passkey: %d %s", a.status, a.raw)
	}
	key, _ := added.body["passkey"].(map[string]any)
	path := "/phone/v1/passkeys/" + key["id"].(string)
	if a := other.call("DELETE", path, `{}`); a.status != 204 {
		t.Errorf("removing: %d %s", a.status, a.raw)
	}
	f.expect("removing it again", other.call("DELETE", path, `{}`), 404, "not_found")
	f.expect("a passkey that was removed", signIn(func(*passkeyAnswer) {}), 401, "sign_in_refused")
}

// TestPhone_EveryByteOfAPasskeyCounts turns over a bit of every byte of what a browser
// says, each time another; customers/phones does so with all of them.
func TestPhone_EveryByteOfAPasskeyCounts(t *testing.T) {
	f := newPhoneFixture(t, func(s *phoneSetup) {
		s.asks.MaxTries, s.phone.Tries = 255, 255
	})
	p := f.in("suzuki")
	if a := p.addPasskey(); a.status != 201 {
		t.Fatalf("adding: %d %s", a.status, a.raw)
	}
	fields := [...]func(*passkeyAnswer) *[]byte{
		func(a *passkeyAnswer) *[]byte { return &a.id }, func(a *passkeyAnswer) *[]byte { return &a.said },
		func(a *passkeyAnswer) *[]byte { return &a.data }, func(a *passkeyAnswer) *[]byte { return &a.signature },
		func(a *passkeyAnswer) *[]byte { return &a.handle },
	}
	id := f.asked("suzuki")
	like := p.answers(p.call("POST", "/phone/v1/sales/"+id+"/passkey", nil))
	wrong := 0
	for field, of := range fields {
		for from, size := 0, len(*of(&like)); from < size; from += phones.MaxDeviceTries {
			if wrong += phones.MaxDeviceTries; wrong > 255 {
				p.call("POST", "/phone/v1/sales/"+id+"/cancel", `{}`)
				id, wrong = f.asked("suzuki"), phones.MaxDeviceTries
			}
			digest := p.digest(id)
			var all sync.WaitGroup
			for i := from; i < min(size, from+phones.MaxDeviceTries); i++ {
				all.Go(func() {
					a := p.proveByPasskey(id, digest, func(a *passkeyAnswer) {
						part := of(a)
						if i < len(*part) { // a signature may be a byte shorter
							*part = bytes.Clone(*part)
							(*part)[i] ^= 1 << (i % 8)
						} else {
							*part = append(bytes.Clone(*part), 0)
						}
					})
					if a.status == 200 && a.text("outcome") != "wrong" || a.status != 200 && a.status != 422 {
						t.Errorf("field %d, byte %d: %d %s", field, i, a.status, a.raw)
					}
				})
			}
			all.Wait()
			if t.Failed() {
				return
			}
		}
	}
	f.expect("with nothing turned over", p.approveByPasskey(id, nil), 200, "approved")
}
