package gateway

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"kessai"
	"kessai/authz/ledger"
	"kessai/customers"
	"kessai/customers/phones"
)

// renew has the phone prove itself with its own key.
func (p *testPhone) renew() *httpAnswer {
	p.f.t.Helper()
	a := p.call("POST", "/phone/v1/renewals", map[string]any{"device": p.device})
	challenge, err := base64.RawURLEncoding.DecodeString(a.text("challenge"))
	if err != nil || len(challenge) != 32 {
		p.f.t.Fatalf("the challenge: %d %s", a.status, a.raw)
	}
	return p.call("POST", "/phone/v1/renewals/"+a.text("try"), map[string]any{"signature": raw64(p.sign(sha256.Sum256(p.spki), challenge))})
}

func (p *testPhone) session() *httpAnswer { return p.call("GET", "/phone/v1/session", nil) }

// TestPhone_Sessions: one lasts while it is used, twelve hours at most; the phone
// renews it with its key, until it is revoked.
func TestPhone_Sessions(t *testing.T) {
	f := newPhoneFixture(t, nil)
	p, other := f.in("suzuki"), f.in("suzuki")
	a := p.session()
	customer, _ := a.body["customer"].(map[string]any)
	device, _ := a.body["device"].(map[string]any)
	if a.status != 200 || customer["name"] != "Suzuki" || customer["currency"] != "JPY" || device["id"] != p.device || device["name"] != "Pixel" || device["this"] != true || a.body["push"] != false {
		t.Fatalf("%d %s", a.status, a.raw)
	}
	f.pass(50 * time.Minute)
	f.expect("after fifty minutes", p.session(), 200, "")
	f.pass(50 * time.Minute)
	f.expect("fifty minutes later", p.session(), 200, "")
	f.expect("one that was not used", other.session(), 401, "signed_out")
	for range 20 {
		f.pass(50 * time.Minute)
		if a = p.session(); a.status != 200 {
			break
		}
	}
	f.expect("after twelve hours", a, 401, "signed_out")
	old := p.cookie
	if a := p.renew(); a.status != 200 || p.cookie == old || p.cookie == "" {
		t.Fatalf("renewing: %d %s", a.status, a.raw)
	}
	f.expect("renewed", p.session(), 200, "")
	thief := *other
	thief.device = p.device
	f.expect("renewing with another key", thief.renew(), 401, "sign_in_refused")
	nobody := *other
	nobody.device = strings.Repeat("0", 16)
	f.expect("renewing nobody's", nobody.renew(), 401, "sign_in_refused")
	nobody.device = strings.Repeat("0", 60_000)
	f.expect("renewing what is no device", nobody.renew(), 401, "sign_in_refused")
	used := p.cookie
	p.renew()
	q := *p
	q.cookie = used
	f.expect("a session in whose place there is another", q.session(), 401, "signed_out")

	other.renew()
	if a := p.call("DELETE", "/phone/v1/devices/"+other.device, `{}`); a.status != 204 {
		t.Errorf("revoking: %d %s", a.status, a.raw)
	}
	f.expect("revoking it again", p.call("DELETE", "/phone/v1/devices/"+other.device, `{}`), 404, "not_found")
	f.expect("a revoked phone", other.session(), 401, "signed_out")
	f.expect("a revoked phone renews", other.renew(), 401, "sign_in_refused")
	sato := f.in("sato")
	f.expect("revoking somebody else's", sato.call("DELETE", "/phone/v1/devices/"+p.device, `{}`), 404, "not_found")
	kept := p.cookie
	if a := p.call("DELETE", "/phone/v1/session", `{}`); a.status != 204 || p.cookie != "" {
		t.Errorf("signing out: %d, %q is left", a.status, p.cookie)
	}
	p.cookie = kept
	f.expect("signed out", p.session(), 401, "signed_out")
	for _, cookie := range []string{"", phoneCookie + "=", phoneCookie + "=x", phoneCookie + "=" + strings.Repeat("A", 43), phoneCookie + "=" + strings.Repeat("x", 4000)} {
		p.cookie = cookie
		f.expect("the cookie "+cookie[:min(20, len(cookie))], p.session(), 401, "signed_out")
	}
}

// Everything about another customer's payment is as about one that never was.
func TestPhone_OtherCustomersPayments(t *testing.T) {
	f := newPhoneFixture(t, nil)
	sato, suzuki := f.in("sato"), f.in("suzuki")
	his := f.asked("suzuki")
	y := suzuki.beginSale(his)
	for _, r := range f.server.phone.routes() {
		if !strings.Contains(r.path, "/sales/:id") && !strings.Contains(r.path, "/receipts/:id") {
			continue
		}
		body := map[string]any{}
		switch {
		case r.method == "GET":
			body = nil
		case strings.HasSuffix(r.path, "/password"):
			body["client_first"] = "p=kessai-sale,,n=sato,r=" + rand.Text()
		case strings.HasSuffix(r.path, "/password/:try"):
			body["client_final"], body["signature"] = y.final, raw64(y.signature)
		case strings.HasSuffix(r.path, "/passkey/:try"):
			body["credential"], body["signature"] = map[string]any{"id": "x"}, raw64(y.signature)
		}
		ask := func(id string) *httpAnswer {
			path := strings.NewReplacer(":id", id, ":try", y.try).Replace(r.path)
			if body == nil {
				return sato.call(r.method, path, nil, headerRequestID, "same")
			}
			return sato.call(r.method, path, body, headerRequestID, "same")
		}
		a, b := ask(his), ask("pay_000000099999")
		f.expect(r.method+" "+r.path, a, 404, "payment_not_found")
		if string(a.raw) != string(b.raw) {
			t.Errorf("%s: %s and %s", r.path, a.raw, b.raw)
		}
	}
	if a := sato.call("GET", "/phone/v1/sales", nil); strings.Contains(string(a.raw), his) {
		t.Errorf("Sato sees %s", a.raw)
	}
	f.expect("the try is as it was", suzuki.finishSale(his, y), 200, "approved")
}

// TestPhone_RefusedSignInsAreAlike: an unknown customer, one without a password, a
// wrong password, a locked one and a try that is used up are the same to whoever
// asks, to the byte.
func TestPhone_RefusedSignInsAreAlike(t *testing.T) {
	f := newPhoneFixture(t, nil)
	refused := make(map[string]*httpAnswer)
	started := make(map[string]*httpAnswer)
	finish := func(p *testPhone, y proof) *httpAnswer {
		return p.call("POST", "/phone/v1/sign-in/"+y.try, map[string]any{"client_final": y.final, "signature": raw64(y.signature)}, headerRequestID, "same")
	}
	try := func(what, customer, password string) {
		p := f.phone(customer, password)
		a, y := p.begin("kessai-device", sha256.Sum256(p.spki), "/phone/v1/sign-in", map[string]any{"device_key": raw64(p.spki)})
		started[what], refused[what] = a, finish(p, y)
		refused[what+", again"] = finish(p, y)
	}
	try("unknown", "nobody", "x")
	try("without a password", "third", "x")
	try("wrong", "suzuki", "x")
	for range 5 {
		f.phone("suzuki", "x").signIn()
	}
	if _, n := f.book.Tries(customerOf(t, f.book, "suzuki")); n != 5 {
		t.Fatalf("%d wrong sign-ins count", n)
	}
	try("locked, the right one", "suzuki", phonePasswords["suzuki"])
	try("locked, a wrong one", "suzuki", "x")
	like := refused["wrong"]
	for _, a := range refused {
		a.header.Del("Date")
	}
	for what, a := range refused {
		f.expect(what, a, 401, "sign_in_refused")
		if string(a.raw) != string(like.raw) || !sameHeaders(a.header, like.header) {
			t.Errorf("%s: %s %v; a wrong password: %s %v", what, a.raw, a.header, like.raw, like.header)
		}
	}
	for what, a := range started {
		salt := strings.Split(a.text("server_first"), ",")[1]
		if a.status != 200 || len(salt) != len("s=")+24 || !strings.HasSuffix(a.text("server_first"), ",i=4096") || len(a.raw) != len(started["wrong"].raw) {
			t.Errorf("%s begins with %s", what, a.raw)
		}
	}
	// Whoever asks twice about nobody hears the same salt twice.
	p := f.phone("nobody", "x")
	a, _ := p.begin("kessai-device", sha256.Sum256(p.spki), "/phone/v1/sign-in", map[string]any{"device_key": raw64(p.spki)})
	if x, y := strings.Split(a.text("server_first"), ",")[1], strings.Split(started["unknown"].text("server_first"), ",")[1]; x != y {
		t.Errorf("nobody has the salts %s and %s", x, y)
	}
}

func sameHeaders(a, b http.Header) bool {
	if len(a) != len(b) {
		return false
	}
	for name := range a {
		if !slices.Equal(a[name], b[name]) {
			return false
		}
	}
	return true
}

// A stranger who guesses locks out other strangers for the day, and not the phones
// that are signed in.
func TestPhone_StrangersLockNoApproval(t *testing.T) {
	f := newPhoneFixture(t, nil)
	p := f.in("suzuki")
	id := f.asked("suzuki")
	for range 8 {
		f.expect("a stranger", f.phone("suzuki", "guess").signIn(), 401, "sign_in_refused")
	}
	f.expect("the customer signs in on a new phone", f.phone("suzuki", phonePasswords["suzuki"]).signIn(), 401, "sign_in_refused")
	if a := p.renew(); a.status != 200 {
		t.Errorf("the phone renews its session: %d %s", a.status, a.raw)
	}
	f.expect("the phone approves", p.approve(id), 200, "approved")
	if err := f.engine.Unlock(t.Context(), customerOf(t, f.book, "suzuki")); err != nil {
		t.Fatal(err)
	}
	if a := f.phone("suzuki", phonePasswords["suzuki"]).signIn(); a.status != 200 {
		t.Errorf("after the unlock: %d %s", a.status, a.raw)
	}
}

// TestPhone_Invitation: a code sets the password once, for whom it was made.
func TestPhone_Invitation(t *testing.T) {
	f := newPhoneFixture(t, nil)
	code, _, err := f.store.Invite("sato", f.now())
	if err != nil {
		t.Fatal(err)
	}
	p := f.phone("sato", "new-password")
	ask := func(code string) *httpAnswer {
		return p.call("POST", "/phone/v1/invitations", map[string]any{"code": code})
	}
	if a := ask(code.Reveal()); a.status != 200 || a.body["customer"].(map[string]any)["id"] != "sato" {
		t.Fatalf("%d %s", a.status, a.raw)
	}
	f.expect("guessing", ask(rand.Text()), 410, "try_gone")
	verifier := httpMust[customers.Verifier](t)(phones.MakeVerifier("new-password", customers.MinIterations))
	accept := func(code, verifier string) *httpAnswer {
		return p.call("POST", "/phone/v1/invitations/accept", map[string]any{
			"code": code, "verifier": verifier, "device_key": raw64(p.spki), "signature": raw64(p.sign(sha256.Sum256(p.spki), []byte(verifier))),
		})
	}
	f.expect("guessing at the end", accept(rand.Text(), verifier.Reveal()), 410, "try_gone")
	f.expect("a verifier that is none", accept(code.Reveal(), "x"), 422, "invalid_field")
	if a := accept(code.Reveal(), verifier.Reveal()); a.status != 200 || p.cookie == "" {
		t.Fatalf("accepting: %d %s", a.status, a.raw)
	}
	f.expect("again", accept(code.Reveal(), verifier.Reveal()), 410, "try_gone")
	if a := f.phone("sato", "new-password").signIn(); a.status != 200 {
		t.Errorf("signing in with the new password: %d %s", a.status, a.raw)
	}
	f.expect("the old password", f.phone("sato", phonePasswords["sato"]).signIn(), 401, "sign_in_refused")
	for _, secret := range []string{code.Reveal(), verifier.Reveal(), strings.TrimPrefix(p.cookie, phoneCookie+"=")} {
		if strings.Contains(f.log.String(), secret) {
			t.Error("a secret is in the log")
		}
	}
	if !strings.Contains(f.log.String(), `"route":"/phone/v1/invitations/accept"`) {
		t.Error("the log has no line of the invitation")
	}
}

// What a phone does in the book is told apart from what terminals ask for: nobody
// can ask for it over the merchants' API.
func TestPhone_KindsOfCustomersAreNoKindsOfTerminals(t *testing.T) {
	f := newPhoneFixture(t, nil)
	id := f.asked("suzuki")
	for _, kind := range []kessai.Kind{kessai.Approval, kessai.Cancellation, kessai.Claim, kessai.SignIn, kessai.Unlock} {
		a := f.post("kind-"+kind.String(), "/v1/payments", `{"kind":"`+kind.String()+`","terminal":"AOI00001","amount":{"value":1,"currency":"JPY"},"medium":{"pan":"`+httpCard+`"}}`)
		f.expect(kind.String(), a, 422, "invalid_field")
	}
	number, _ := kessai.ParseTxID(id)
	if tx, _ := f.book.Find(ledger.Ref{ID: number}); tx.Status != ledger.Waiting {
		t.Errorf("the payment is %v", tx.Status)
	}
}
