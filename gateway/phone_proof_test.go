package gateway

import (
	"bytes"
	"context"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"kessai"
	"kessai/authz/ledger"
)

// TestPhone_WrongPasswords: three end a payment, five a day lock the password; the
// payment waits on, and an unlock opens it again.
func TestPhone_WrongPasswords(t *testing.T) {
	f := newPhoneFixture(t, nil)
	p := f.in("suzuki")
	id := f.asked("suzuki")
	for left := 2; left > 0; left-- {
		a := p.wrong().approve(id)
		f.expect("a wrong password", a, 200, "wrong")
		if sale := a.body["sale"].(map[string]any); sale["tries_left"] != float64(left) || a.text("server_final") != "" {
			t.Errorf("%d are left: %s", left, a.raw)
		}
	}
	f.expect("the third", p.wrong().approve(id), 200, "cancelled")
	if a := f.shop(id); a.text("response_code") != "75" || a.text("status") != "cancelled" || a.number("held") != 0 {
		t.Errorf("the shop hears %s", a.raw)
	}
	id = f.asked("suzuki")
	f.expect("the fourth of the day", p.wrong().approve(id), 200, "wrong")
	a := p.wrong().approve(id)
	f.expect("the fifth of the day", a, 200, "wrong")
	if a.text("unlock") == "" {
		t.Errorf("nobody says how to go on: %s", a.raw)
	}
	a = p.approve(id)
	f.expect("the right one", a, 200, "locked")
	if a.text("unlock") == "" || f.shop(id).text("response_code") != "09" {
		t.Errorf("%s; the shop hears %s", a.raw, f.shop(id).raw)
	}
	if s := p.call("GET", "/phone/v1/sales/"+id, nil); s.body["factors"] != nil {
		t.Errorf("factors: %s", s.raw)
	}
	// The lock is this account's, and not that of the shop or of others.
	sato := f.in("sato")
	other := f.asked("sato")
	f.expect("somebody else", sato.approve(other), 200, "approved")
	if err := f.engine.Unlock(t.Context(), customerOf(t, f.book, "suzuki")); err != nil {
		t.Fatal(err)
	}
	f.expect("after the unlock", p.approve(id), 200, "approved")
}

// Fifty wrong proofs at once: exactly three are taken for a payment and five of a
// day, and no more after a restart.
func TestPhone_WrongPasswordsAtOnceAndAcrossARestart(t *testing.T) {
	dir := t.TempDir()
	f := newPhoneFixture(t, func(s *phoneSetup) { s.dir = dir })
	p := f.in("suzuki")
	words := func(f *phoneFixture, p *testPhone, id string) map[string]int {
		proofs := make([]proof, 50)
		for i := range proofs {
			if i%10 == 0 { // a phone has sixteen under way at most
				p = f.in("suzuki")
			}
			proofs[i] = p.wrong().beginSale(id)
		}
		var mu sync.Mutex
		said := make(map[string]int)
		var all sync.WaitGroup
		for _, y := range proofs {
			all.Go(func() {
				a := y.by.finishSale(id, y)
				mu.Lock()
				defer mu.Unlock()
				said[a.text("outcome")]++
			})
		}
		all.Wait()
		return said
	}
	id := f.asked("suzuki")
	if said := words(f, p, id); said["wrong"] != 2 || said["cancelled"]+said["ended"] != 48 || said["cancelled"] < 1 {
		t.Errorf("fifty were told %v", said)
	}
	if a := f.shop(id); a.text("response_code") != "75" {
		t.Errorf("the shop hears %s", a.raw)
	}
	sales, signIns := f.book.Tries(customerOf(t, f.book, "suzuki"))
	if sales != 5 || signIns != 0 {
		t.Errorf("%d wrong passwords count, and %d of signing in", sales, signIns)
	}
	second := f.asked("suzuki")
	f.stop()
	if err := f.store.Close(); err != nil {
		t.Fatal(err)
	}

	f = newPhoneFixture(t, func(s *phoneSetup) { s.dir = dir })
	p.f = f // the same phone: its session goes on
	f.expect("locked as before", p.approve(second), 200, "locked")
	if after, _ := f.book.Tries(customerOf(t, f.book, "suzuki")); after != 5 {
		t.Errorf("%d wrong passwords count after the restart", after)
	}
}

// A proof is for one payment, for one use, by one phone, and in time.
func TestPhone_ProofsAreForOneThing(t *testing.T) {
	f := newPhoneFixture(t, nil)
	p, other := f.in("suzuki"), f.in("suzuki")
	id := f.asked("suzuki")
	y := p.beginSale(id)
	f.expect("for another payment", p.finishSale("pay_000000000001", y), 404, "payment_not_found")
	f.expect("by another phone", other.finishSale(id, y), 410, "try_gone")
	signed := y
	signed.signature = other.beginSale(id).signature
	f.expect("signed by another phone", p.finishSale(id, signed), 403, "proof_refused")
	f.expect("that was used up", p.finishSale(id, y), 410, "try_gone")
	y = p.beginSale(id)
	f.expect("as it should be", p.finishSale(id, y), 200, "approved")
	f.expect("again", p.finishSale(id, y), 410, "try_gone")
	if a := f.shop(id); a.text("status") != "approved" {
		t.Errorf("the shop hears %s", a.raw)
	}
	id = f.asked("suzuki")
	y = p.beginSale(id)
	f.pass(3 * time.Minute)
	f.expect("too old", p.finishSale(id, y), 410, "try_gone")
	// A stolen cookie alone: without the phone's key no password is even tried.
	thief := f.phone("suzuki", phonePasswords["suzuki"])
	thief.cookie = p.cookie
	f.expect("a stolen cookie and password", thief.approve(id), 403, "proof_refused")
	if sales, _ := f.book.Tries(customerOf(t, f.book, "suzuki")); sales != 0 {
		t.Errorf("%d wrong passwords were counted", sales)
	}
	f.expect("somebody else's name", f.phone("sato", "umi-5678").with(p).tryFirst(id), 403, "proof_refused")
}

// with gives the phone another's cookie.
func (p *testPhone) with(q *testPhone) *testPhone {
	p.cookie = q.cookie
	return p
}

// tryFirst sends the first half of a proof.
func (p *testPhone) tryFirst(id string) *httpAnswer {
	a, _ := p.begin("kessai-sale", [32]byte{}, "/phone/v1/sales/"+id+"/password", nil)
	return a
}

// A proof that comes after the payment's time is over changes nothing, and says so.
func TestPhone_ProofAfterTheDeadline(t *testing.T) {
	f := newPhoneFixture(t, func(s *phoneSetup) { s.asks.Timeout = time.Second })
	p := f.in("suzuki")
	id := f.asked("suzuki")
	y := p.beginSale(id)
	until(t, "the time is over", func() bool { return f.shop(id).text("status") == "expired" })
	f.expect("too late", p.finishSale(id, y), 200, "ended")
	f.expect("cancelling too late", p.call("POST", "/phone/v1/sales/"+id+"/cancel", `{}`), 200, "ended")
	if a := f.shop(id); a.text("response_code") != "68" || a.number("held") != 0 {
		t.Errorf("the shop hears %s", a.raw)
	}
}

// Two phones of a customer, and one who cancels: one wins, and all are told the same.
func TestPhone_OneWinner(t *testing.T) {
	f := newPhoneFixture(t, nil)
	p, q := f.in("suzuki"), f.in("suzuki")
	won := make(map[string]int)
	for range 20 {
		id := f.asked("suzuki")
		y, z := p.beginSale(id), q.beginSale(id)
		answers := make([]*httpAnswer, 3)
		var all sync.WaitGroup
		all.Go(func() { answers[0] = p.finishSale(id, y) })
		all.Go(func() { answers[1] = q.finishSale(id, z) })
		all.Go(func() { answers[2] = p.call("POST", "/phone/v1/sales/"+id+"/cancel", `{}`) })
		all.Wait()
		shop, winners := f.shop(id), 0
		for _, a := range answers {
			sale, _ := a.body["sale"].(map[string]any)
			told, _ := sale["told"].(map[string]any)
			if a.status != 200 || sale["status"] != shop.text("status") || told["code"] != shop.text("response_code") {
				t.Fatalf("the shop has %s, a phone %d %s", shop.raw, a.status, a.raw)
			}
			if a.text("outcome") != "ended" {
				winners++
				won[a.text("outcome")]++
			}
		}
		if winners != 1 {
			t.Fatalf("%d won", winners)
		}
	}
	t.Logf("won: %v", won)
}

// TestPhone_EveryBitOfAProofCounts turns over every bit of the last message and of
// the signature.
func TestPhone_EveryBitOfAProofCounts(t *testing.T) {
	f := newPhoneFixture(t, func(s *phoneSetup) {
		s.asks.MaxTries, s.phone.Tries, s.asks.DayTries, s.phone.DayTries = 255, 255, 1<<20, 1<<20
	})
	p := f.in("suzuki")
	id, wrong := f.asked("suzuki"), 0
	digest := p.digest(id)
	begin := func() proof {
		_, y := p.begin("kessai-sale", digest, "/phone/v1/sales/"+id+"/password", nil)
		return y
	}
	y := begin()
	judge := func(what string, a *httpAnswer) {
		t.Helper()
		switch a.status {
		case http.StatusOK:
			if a.text("outcome") != "wrong" {
				t.Fatalf("%s: %s", what, a.raw)
			}
			if wrong++; wrong%250 == 0 {
				p.call("POST", "/phone/v1/sales/"+id+"/cancel", `{}`)
				id = f.asked("suzuki")
				digest = p.digest(id)
			}
		case http.StatusForbidden, http.StatusUnprocessableEntity, http.StatusBadRequest:
		default:
			t.Fatalf("%s: %d %s", what, a.status, a.raw)
		}
		if a.status != http.StatusUnprocessableEntity && a.status != http.StatusBadRequest { // then the proof was not looked at, and stays
			y = begin()
		}
	}
	for bit := range 8 * len(y.final) {
		z := y
		b := []byte(y.final)
		b[bit/8] ^= 1 << (bit % 8)
		z.final = string(b)
		judge("bit "+strconv.Itoa(bit)+" of client_final", p.finishSale(id, z))
	}
	for bit := range 8 * len(y.signature) {
		z := y
		z.signature = bytes.Clone(y.signature)
		z.signature[bit/8] ^= 1 << (bit % 8)
		judge("bit "+strconv.Itoa(bit)+" of the signature", p.finishSale(id, z))
	}
	f.expect("with nothing turned over", p.finishSale(id, y), 200, "approved")
}

// A proof that came in before the server shuts down is judged and answered.
func TestPhone_ProofWhileShuttingDown(t *testing.T) {
	f := newPhoneFixture(t, nil)
	p := f.in("suzuki")
	id := f.asked("suzuki")
	y := p.beginSale(id)
	f.server.Drain()
	f.expect("while it drains", p.finishSale(id, y), 503, "draining")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := f.server.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	number, _ := kessai.ParseTxID(id)
	if tx, ok := f.book.Find(ledger.Ref{ID: number}); !ok || tx.Status != ledger.Waiting {
		t.Errorf("the payment is %v: it waits for the gateway to be back", tx.Status)
	}
}
