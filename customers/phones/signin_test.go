package phones

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"kessai"
	"kessai/customers"
)

func TestASessionFromBeginningToEnd(t *testing.T) {
	h := newHouse(t)
	p := h.phone(t, "suzuki", "aoi-1234").mustSignIn()
	in, err := h.Session(p.token)
	if err != nil || in.Customer != "suzuki" || in.Name != "Suzuki" || in.Device.Name != "Pixel" || in.Device.Lang != "ja" || !bytes.Equal(in.Device.Key, p.spki) {
		t.Fatalf("%+v, %v", in, err)
	}
	if in.Expires.Sub(h.now) != time.Hour {
		t.Errorf("the session is good for %v", in.Expires.Sub(h.now))
	}
	// Use keeps it alive, up to twelve hours; then the device renews it.
	for range 14 {
		h.pass(50 * time.Minute)
		if _, err := h.Session(p.token); err != nil {
			t.Fatalf("after %v: %v", h.now.Sub(in.Started), err)
		}
	}
	h.pass(20 * time.Minute)
	if _, err := h.Session(p.token); !errors.Is(err, ErrGone) {
		t.Errorf("after twelve hours: %v", err)
	}
	renew := func(p *phone, change func([]byte) []byte) (SignedIn, error) {
		try, challenge := h.BeginRenewal("192.0.2.1", p.in.Device.ID)
		return h.FinishRenewal(try, change(p.sign(sha256.Sum256(p.spki), challenge)))
	}
	same := func(b []byte) []byte { return b }
	again, err := renew(p, same)
	if err != nil || again.Device.ID != p.in.Device.ID || again.Token == p.token {
		t.Fatalf("%+v, %v", again, err)
	}
	if _, err := renew(p, func(b []byte) []byte { return flipped(b, 100) }); !errors.Is(err, ErrRefused) {
		t.Errorf("renewed with a wrong signature: %v", err)
	}
	if _, err := h.Session(again.Token); err != nil {
		t.Error(err)
	}
	h.pass(time.Hour)
	if _, err := h.Session(again.Token); !errors.Is(err, ErrGone) {
		t.Errorf("after an hour without use: %v", err)
	}
	// Signing out ends the session, and leaves the device.
	if again, err = renew(p, same); err != nil {
		t.Fatal(err)
	}
	if err := h.SignOut(again.Session); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Session(again.Token); !errors.Is(err, ErrGone) {
		t.Errorf("after signing out: %v", err)
	}
	// Revoking ends both.
	if again, err = renew(p, same); err != nil {
		t.Fatal(err)
	}
	if err := h.store.Revoke("suzuki", again.Device.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Session(again.Token); !errors.Is(err, ErrGone) {
		t.Errorf("after revoking: %v", err)
	}
	if _, err := renew(p, same); !errors.Is(err, ErrRefused) {
		t.Errorf("a revoked device renewed its session: %v", err)
	}
	if reachable, err := h.store.Reachable("suzuki"); reachable || err != nil {
		t.Errorf("reachable without a device: %v, %v", reachable, err)
	}
	stranger := h.phone(t, "suzuki", "")
	stranger.in.Device.ID = "0123456789abcdef"
	if _, err := renew(stranger, same); !errors.Is(err, ErrRefused) {
		t.Errorf("a device that never was: %v", err)
	}
	for _, token := range []kessai.Secret{"", "x", kessai.Secret(b64(random(32))), kessai.Secret(strings.Repeat("=", 43))} {
		if _, err := h.Session(token); !errors.Is(err, ErrGone) {
			t.Errorf("a token that never was: %v", err)
		}
	}
}

// TestP5_StrangersLearnNothing: whoever is no customer is answered as one is.
func TestP5_StrangersLearnNothing(t *testing.T) {
	h := newHouse(t)
	h.wrong["sato"] = most // locked
	form := regexp.MustCompile(`^r=[A-Za-z0-9+/=_-]{56},s=([A-Za-z0-9+/]{22}==),i=4096$`)
	salts := make(map[string]string)
	for _, who := range []struct{ id, password string }{
		{"suzuki", "wrong"}, {"sato", "umi-5678"}, {"sato", "wrong"}, {"tanaka", "any"}, {"nobody", "any"}, {"somebody", "any"},
	} {
		for range 2 {
			p := h.phone(t, who.id, who.password)
			digest := sha256.Sum256(p.spki)
			r := p.run("kessai-device", digest)
			try, serverFirst, err := h.BeginSignIn("192.0.2.1", r.first, p.spki)
			m := form.FindStringSubmatch(serverFirst)
			if err != nil || m == nil || len(try) != 22 {
				t.Fatalf("%s is answered %q, %q, %v", who.id, try, serverFirst, err)
			}
			if salts[who.id] != "" && salts[who.id] != m[1] {
				t.Errorf("the salt of %s changes", who.id)
			}
			salts[who.id] = m[1]
			final, message := p.final(r, serverFirst)
			began := time.Now()
			in, err := h.FinishSignIn(t.Context(), try, final, p.sign(digest, message), PhoneNames{})
			if err != ErrRefused || in.Token != "" {
				t.Errorf("%s gets %+v, %v", who.id, in, err)
			}
			if time.Since(began) < h.o.Pad {
				t.Errorf("%s is refused within %v", who.id, time.Since(began))
			}
		}
	}
	if len(salts) != 5 {
		t.Fatal(salts)
	}
	seen := make(map[string]bool)
	for _, s := range salts {
		seen[s] = true
	}
	if len(seen) != len(salts) {
		t.Error("two customers have the same salt")
	}
	// Only customers with a password are counted, each try once.
	if h.wrong["suzuki"] != 2 || h.wrong["sato"] != most+2 || h.right["sato"] != 2 || len(h.wrong) != 2 {
		t.Errorf("counted: wrong %v, right %v", h.wrong, h.right)
	}
}

func TestASignInNeedsTheDevice(t *testing.T) {
	h := newHouse(t)
	p, thief := h.phone(t, "suzuki", "aoi-1234"), h.phone(t, "suzuki", "aoi-1234")
	digest := sha256.Sum256(p.spki)
	try := func(binding [32]byte, key *phone) error {
		r := p.run("kessai-device", binding)
		id, serverFirst, err := h.BeginSignIn("192.0.2.1", r.first, p.spki)
		if err != nil {
			t.Fatal(err)
		}
		final, message := p.final(r, serverFirst)
		_, err = h.FinishSignIn(t.Context(), id, final, key.sign(digest, message), PhoneNames{})
		return err
	}
	if err := try(digest, thief); err != ErrRefused || len(h.wrong)+len(h.right) != 0 {
		t.Errorf("another key signed: %v, counted %v %v", err, h.wrong, h.right)
	}
	if err := try(sha256.Sum256(thief.spki), p); err != ErrRefused {
		t.Errorf("the password was given to another device: %v", err)
	}
	if err := try(digest, p); err != nil {
		t.Error(err)
	}
	// The same device again is the same device.
	if err := try(digest, p); err != nil {
		t.Error(err)
	}
	if devices, err := h.store.Devices("suzuki"); len(devices) != 1 || err != nil {
		t.Errorf("%d devices, %v", len(devices), err)
	}
}

func TestSignInThatCannotBeRead(t *testing.T) {
	h := newHouse(t)
	p := h.phone(t, "suzuki", "aoi-1234")
	first := "p=kessai-device,,n=suzuki,r=" + b64(random(18))
	for _, bad := range []string{
		"", "n,," + first[len("p=kessai-device,,"):], "p=kessai-sale,," + first[len("p=kessai-device,,"):], "p=tls-exporter,,n=suzuki,r=0123456789abcdef",
		"p=kessai-device,a=x,n=suzuki,r=0123456789abcdef", "p=kessai-device,,n=suzuki", "p=kessai-device,,n=su=2Czuki,r=0123456789abcdef",
		"p=kessai-device,,n=suzuki,r=0123456789abcde", "p=kessai-device,,n=suzuki,r=0123456789abcdef,x=y", "p=kessai-device,,n=,r=0123456789abcdef",
		"p=kessai-device,,m=1,n=suzuki,r=0123456789abcdef", "p=kessai-device,,n=suzuki,r=0123456789abcde\x7f", "p=kessai-device,,n=suzuki,r=" + strings.Repeat("x", 129),
	} {
		if _, _, err := h.BeginSignIn("192.0.2.1", bad, p.spki); !errors.Is(err, ErrMalformed) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	for name, key := range map[string][]byte{"none": nil, "cut": p.spki[:90], "long": append(bytes.Clone(p.spki), 0), "off the curve": flipped(p.spki, 8*90)} {
		if _, _, err := h.BeginSignIn("192.0.2.1", first, key); !errors.Is(err, ErrMalformed) {
			t.Errorf("device key, %s: %v", name, err)
		}
	}
	good := "c=" + "AAAA" + ",r=x,p=" + "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
	if _, err := parseClientFinal(good); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"", "c=AAAA,r=x", good + ",", good + ",x=y", "c=AAA,r=x,p=" + good[len(good)-44:], "c=AAAA,r=x,x=y,p=" + good[len(good)-44:],
		"c=AAAA\n,r=x,p=" + good[len(good)-44:], strings.Replace(good, "AA=", "AB=", 1), "c=AAAA,r=x,p=AAAA", "c=" + strings.Repeat("AAAA", 300) + good[6:]} {
		if _, err := h.FinishSignIn(t.Context(), "x", bad, nil, PhoneNames{}); !errors.Is(err, ErrMalformed) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	for _, names := range []PhoneNames{{Name: "a\nb"}, {Name: strings.Repeat("x", 65)}, {Lang: "e n"}, {Lang: "123456789"}, {Lang: "abcdefghi"}} {
		if _, err := h.FinishSignIn(t.Context(), "x", good, nil, names); !errors.Is(err, ErrMalformed) {
			t.Errorf("%+v: %v", names, err)
		}
	}
}

func TestInvitation(t *testing.T) {
	h := newHouse(t)
	p := h.phone(t, "tanaka", "kumo-9999")
	verifier := kessai.Secret(h.verifierOf(t, "kumo-9999").Reveal())
	accept := func(p *phone, code kessai.Secret) (SignedIn, error) {
		return h.AcceptInvitation(code, verifier, p.spki, p.sign(sha256.Sum256(p.spki), []byte(verifier.Reveal())), PhoneNames{Name: "Pixel"})
	}
	old, _, err := h.store.Invite("tanaka", h.now)
	if err != nil {
		t.Fatal(err)
	}
	code, until, err := h.store.Invite("tanaka", h.now)
	if err != nil || until.Sub(h.now) != InvitationLifetime {
		t.Fatal(until, err)
	}
	if _, err := h.Invitation(old); !errors.Is(err, ErrGone) {
		t.Errorf("the invitation before: %v", err)
	}
	if id, err := h.Invitation(code); id != "tanaka" || err != nil {
		t.Errorf("%q, %v", id, err)
	}
	if _, err := h.AcceptInvitation(code, verifier, p.spki, p.sign(sha256.Sum256(p.spki), []byte("x")), PhoneNames{}); !errors.Is(err, ErrRefused) {
		t.Errorf("signed otherwise: %v", err)
	}
	weak := kessai.Secret(strings.Replace(verifier.Reveal(), "$4096:", "$4097:", 1))
	for _, bad := range []kessai.Secret{"", weak, verifier + "x"} {
		if _, err := h.AcceptInvitation(code, bad, p.spki, nil, PhoneNames{}); !errors.Is(err, ErrMalformed) || strings.Contains(err.Error(), "$4097") {
			t.Errorf("a bad verifier: %v", err)
		}
	}
	// Of many at once, one is let in.
	var won, gone atomic.Int32
	var all sync.WaitGroup
	for range 5 {
		other := h.phone(t, "tanaka", "kumo-9999")
		all.Go(func() {
			if _, err := accept(other, code); err == nil {
				won.Add(1)
			} else if errors.Is(err, ErrGone) {
				gone.Add(1)
			}
		})
	}
	if all.Wait(); won.Load() != 1 || gone.Load() != 4 {
		t.Errorf("%d were let in, %d were not", won.Load(), gone.Load())
	}
	if err := p.signIn(); err != nil {
		t.Errorf("the new password: %v", err)
	}
	late, _, err := h.store.Invite("tanaka", h.now)
	if err != nil {
		t.Fatal(err)
	}
	h.pass(InvitationLifetime)
	if _, err := accept(p, late); !errors.Is(err, ErrGone) {
		t.Errorf("a day later: %v", err)
	}
}

func TestPasskeySignIn(t *testing.T) {
	h := newHouse(t)
	p := h.phone(t, "suzuki", "aoi-1234").mustSignIn()
	if _, err := p.addPasskey(); err != nil {
		t.Fatal(err)
	}
	signIn := func(p *phone, flags byte, change func(*answer)) (SignedIn, error) {
		t.Helper()
		try, options, err := h.BeginPasskeySignIn("192.0.2.1")
		if err != nil {
			t.Fatal(err)
		}
		a := p.assert(regexp.MustCompile(`"challenge":"([^"]+)"`).FindStringSubmatch(string(options))[1], flags)
		change(&a)
		return h.FinishPasskeySignIn(try, p.credential(a), p.spki, p.sign(sha256.Sum256(p.spki), a.clientData), PhoneNames{Name: "Tablet"})
	}
	tablet := h.phone(t, "", "")
	tablet.passkey = p.passkey
	in, err := signIn(tablet, userPresent|userVerified, func(*answer) {})
	if err != nil || in.Customer != "suzuki" || in.Device.ID == p.in.Device.ID || in.Device.Name != "Tablet" {
		t.Fatalf("%+v, %v", in, err)
	}
	if _, err := h.Session(in.Token); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*answer){
		"another signature": func(a *answer) { a.signature = flipped(a.signature, 300) },
		"another's handle":  func(a *answer) { a.handle = h.keys.userHandle("sato") },
		"no handle":         func(a *answer) { a.handle = nil },
		"another challenge": func(a *answer) { *a = tablet.assert(b64(random(32)), userPresent|userVerified) },
	} {
		if in, err := signIn(tablet, userPresent|userVerified, change); !errors.Is(err, ErrRefused) {
			t.Errorf("%s: %+v, %v", name, in, err)
		}
	}
	if in, err := signIn(tablet, userPresent, func(*answer) {}); !errors.Is(err, ErrRefused) {
		t.Errorf("without verification of the user: %+v, %v", in, err)
	}
	stranger := h.phone(t, "", "")
	stranger.passkey = &authenticator{id: random(16), handle: random(32), key: p.passkey.key}
	if in, err := signIn(stranger, userPresent|userVerified, func(*answer) {}); !errors.Is(err, ErrRefused) {
		t.Errorf("a passkey that nobody knows: %+v, %v", in, err)
	}
}

func TestAddingAPasskeyNeedsThePassword(t *testing.T) {
	h := newHouse(t)
	p := h.phone(t, "suzuki", "aoi-1234").mustSignIn()
	thief := h.phone(t, "suzuki", "wrong")
	thief.in, thief.key = p.in, p.key
	if _, err := thief.addPasskey(); !errors.Is(err, ErrRefused) || h.wrong["suzuki"] != 1 {
		t.Errorf("%v, counted %d", err, h.wrong["suzuki"])
	}
	h.wrong["suzuki"] = most
	if _, err := p.addPasskey(); !errors.Is(err, ErrLocked) {
		t.Errorf("while it is locked: %v", err)
	}
	h.wrong["suzuki"] = 0
	for i := range MaxPasskeys {
		if _, err := p.addPasskey(); err != nil {
			t.Fatalf("passkey %d: %v", i, err)
		}
	}
	if _, err := p.addPasskey(); !errors.Is(err, ErrFull) {
		t.Errorf("one more: %v", err)
	}
	if err := h.store.RemovePasskey("suzuki", "AAAA"); !errors.Is(err, ErrGone) {
		t.Error(err)
	}
}

func TestWithoutAHostNameThereAreNoPasskeys(t *testing.T) {
	h := newHouse(t)
	o := h.o
	o.Origin = "http://127.0.0.1:8080"
	s, err := New(o)
	if err != nil || s.Passkeys() {
		t.Fatal(s, err)
	}
	p := h.phone(t, "suzuki", "aoi-1234").mustSignIn()
	r := p.run("kessai-change", [32]byte{})
	if _, _, _, err := s.BeginAddPasskey(p.in, r.first); !errors.Is(err, ErrNoPasskeys) {
		t.Error(err)
	}
	if _, _, err := s.BeginPasskeySignIn("192.0.2.1"); !errors.Is(err, ErrNoPasskeys) {
		t.Error(err)
	}
	if _, _, _, err := s.BeginPasskey(p.in, testSale(t, 1, "suzuki")); !errors.Is(err, ErrNoPasskeys) {
		t.Error(err)
	}
	for _, bad := range []string{"", "pay.example.com", "ftp://pay.example.com", "https://"} {
		o.Origin = bad
		if _, err := New(o); err == nil {
			t.Errorf("the public address %q is taken", bad)
		}
	}
}

func TestTheVerifierIsTheBrowsers(t *testing.T) {
	// RFC 7677, section 3: user "user", password "pencil".
	v, err := customers.ParseVerifier("SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=")
	if err != nil {
		t.Fatal(err)
	}
	c := &conversation{
		v: verifierOf(v), header: "n,,", nonce: "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
		firstBare:   "n=user,r=rOprNGfwEbeRWgbNEkqO",
		serverFirst: "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
	}
	final, err := parseClientFinal("c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
	if err != nil {
		t.Fatal(err)
	}
	if !proofHolds(c.authMessage(final), final.proof, c.v.storedKey) {
		t.Error("the proof of RFC 7677 does not hold")
	}
	if got := "v=" + base64.StdEncoding.EncodeToString(mac(c.v.serverKey[:], c.authMessage(final))); got != "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=" {
		t.Error(got)
	}
}
