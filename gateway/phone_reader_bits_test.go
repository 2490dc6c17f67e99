package gateway

import (
	"bytes"
	"fmt"
	"sync"
	"testing"
	"time"

	"kessai"
	"kessai/authz"
	"kessai/pos/tether"
)

// TestPhone_Reader_OtherMessages: what was sealed for something else, or is not as it
// was sealed, ends the payment in the same words, whatever it is.
func TestPhone_Reader_OtherMessages(t *testing.T) {
	f := newReaderFixture(t, nil)
	p, r, another := f.in("suzuki"), f.reader("suzuki"), f.reader("suzuki")
	old := f.askedReader("suzuki")
	oldOffer := p.offered(old, r)
	oldCard := r.card(oldOffer, httpCard)
	f.expectStep("the old card", p.sendCard(old, oldCard), "pin")
	oldPIN := r.pin(oldOffer, httpCard, readerPIN)
	f.expectEnd("the old PIN", p.sendPIN(old, oldPIN), old, "00")

	change := func(m sealed, f func([]byte) []byte) sealed { return sealed{f(bytes.Clone(m.sealed)), m.signature} }
	var first [2][]byte
	for _, step := range []tether.Step{tether.StepCard, tether.StepPIN} {
		seal := func(offer []byte) sealed {
			if step == tether.StepCard {
				return r.card(offer, httpCard)
			}
			return r.pin(offer, httpCard, readerPIN)
		}
		for what, message := range map[string]func(offer []byte) sealed{
			"of another payment": func([]byte) sealed { return map[tether.Step]sealed{1: oldCard, 2: oldPIN}[step] },
			"of another payment, signed for this": func(o []byte) sealed {
				return r.sign(step, o, map[tether.Step]sealed{1: oldCard, 2: oldPIN}[step].sealed)
			},
			"of another step": func(o []byte) sealed {
				return map[tether.Step]sealed{2: r.card(o, httpCard), 1: r.pin(o, httpCard, "1234")}[step]
			},
			"of another step, signed for this": func(o []byte) sealed {
				return r.sign(step, o, map[tether.Step]sealed{2: r.card(o, httpCard), 1: r.pin(o, httpCard, "1234")}[step].sealed)
			},
			"of another reader":                       func(o []byte) sealed { return another.sign(step, o, seal(o).sealed) },
			"a byte shorter":                          func(o []byte) sealed { return change(seal(o), func(b []byte) []byte { return b[:len(b)-1] }) },
			"a byte shorter, signed":                  func(o []byte) sealed { b := seal(o).sealed; return r.sign(step, o, b[:len(b)-1]) },
			"a byte longer":                           func(o []byte) sealed { return change(seal(o), func(b []byte) []byte { return append(b, 0) }) },
			"a byte longer, signed":                   func(o []byte) sealed { return r.sign(step, o, append(seal(o).sealed, 0)) },
			"empty":                                   func([]byte) sealed { return sealed{} },
			"empty, signed":                           func(o []byte) sealed { return r.sign(step, o, nil) },
			"the key alone, signed":                   func(o []byte) sealed { return r.sign(step, o, seal(o).sealed[:65]) },
			"40,000 bytes, signed":                    func(o []byte) sealed { return r.sign(step, o, make([]byte, 40_000)) },
			"without a signature":                     func(o []byte) sealed { return sealed{seal(o).sealed, nil} },
			"with a signature that is too long":       func(o []byte) sealed { m := seal(o); return sealed{m.sealed, append(m.signature, 0)} },
			"no point of the curve, signed":           func(o []byte) sealed { b := seal(o).sealed; b[64] ^= 1; return r.sign(step, o, b) },
			"sealed for a key of the phone's, signed": func(o []byte) sealed { return r.sign(step, o, sealFor(t, step, otherKey(t, o))) },
			"sealed for another amount, signed":       func(o []byte) sealed { return r.sign(step, o, sealFor(t, step, otherAmount(t, o))) },
		} {
			id := f.askedReader("suzuki")
			offer := p.offered(id, r)
			var a *httpAnswer
			if step == tether.StepCard {
				a = p.sendCard(id, message(offer))
			} else {
				f.expectStep("the card", p.sendCard(id, r.card(offer, httpCard)), "pin")
				a = p.sendPIN(id, message(offer))
			}
			f.expectEnd(fmt.Sprintf("%s %s", step, what), a, id, "63")
			if n := normal(a); first[step-1] == nil {
				first[step-1] = n
			} else if !bytes.Equal(n, first[step-1]) {
				t.Errorf("%s %s: %s; of another kind: %s", step, what, n, first[step-1])
			}
		}
	}
	if !bytes.Equal(first[0], first[1]) {
		t.Errorf("a bad card gives %s, a bad PIN %s", first[0], first[1])
	}
	if n := f.book.PINTries(f.medium(httpCard)); n != 0 {
		t.Errorf("%d of them were counted as PINs", n)
	}
}

// sealFor seals something good for an offer that is not the one that was made.
func sealFor(t *testing.T, step tether.Step, offer []byte) []byte {
	t.Helper()
	if step == tether.StepCard {
		return httpMust[[]byte](t)(tether.SealCard(offer, tether.CardTrack2, []byte(httpCard+"=99121010000012300")))
	}
	pan := httpMust[kessai.PAN](t)(kessai.ParsePAN(httpCard))
	return httpMust[[]byte](t)(tether.SealPIN(offer, pan, readerPIN))
}

func otherKey(t *testing.T, offer []byte) []byte {
	t.Helper()
	o := httpMust[*tether.Offer](t)(tether.DecodeOffer(offer))
	kem, _, _, _ := o.Suite.HPKE()
	key, err := kem.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	o.PublicKey = key.PublicKey().Bytes()
	return httpMust[[]byte](t)(o.Encode())
}

func otherAmount(t *testing.T, offer []byte) []byte {
	t.Helper()
	o := httpMust[*tether.Offer](t)(tether.DecodeOffer(offer))
	o.Amount.Value++
	return httpMust[[]byte](t)(o.Encode())
}

// TestPhone_Reader_EveryBit turns over every bit of a sealed PIN and of its signature,
// and some of a sealed card, each in a payment of its own. All are answered with the
// same bytes, but for what names the payment.
func TestPhone_Reader_EveryBit(t *testing.T) {
	every := 1
	if raceEnabled || testing.Short() {
		every = 23
	}
	f := newReaderFixture(t, nil)
	var mu sync.Mutex
	var first []byte
	one := func(p *testPhone, r *testReader, number string, bit int, ofPIN bool) {
		id := f.askedReader(p.customer)
		a := p.beginReader(id, r)
		offer := a.bytes(t, "offer")
		m, send := r.card(offer, number), p.sendCard
		if ofPIN {
			send(id, m)
			m, send = r.pin(offer, number, f.pins[number]), p.sendPIN
		}
		if at := bit / 8; at < len(m.sealed) {
			m.sealed[at] ^= 1 << (bit % 8)
		} else {
			m.signature[at-len(m.sealed)] ^= 1 << (bit % 8)
		}
		a = send(id, m)
		n := normal(a)
		mu.Lock()
		defer mu.Unlock()
		if first == nil {
			first = n
		}
		if !bytes.Equal(n, first) || a.told() != "63" {
			t.Errorf("bit %d: %s; want %s", bit, n, first)
		}
	}
	var all sync.WaitGroup
	for lane, number := range []string{httpCard, httpPoor} {
		customer := []string{"suzuki", "sato"}[lane]
		p, r := f.in(customer), f.reader(customer)
		all.Go(func() {
			for bit := lane * every; bit < 8*(65+tether.PINSize+16+64) && !t.Failed(); bit += 2 * every {
				one(p, r, number, bit, true)
			}
			for bit := lane; bit < 8*(65+tether.CardSize+16+64) && !t.Failed(); bit += 61 * every {
				one(p, r, number, bit, false)
			}
		})
	}
	all.Wait()
	for _, number := range []string{httpCard, httpPoor} {
		if n := f.book.PINTries(f.medium(number)); n != 0 {
			t.Errorf("%d of them were counted as PINs", n)
		}
	}
	if s := f.engine.ReaderStats(); s.Keys != 0 || s.Ended[authz.ReaderEnd{Step: authz.ReaderPIN, Code: kessai.SecurityViolation}] == 0 {
		t.Errorf("the engine counts %+v", s)
	}
}

// A phone that vanishes at any step comes back and goes on from there; what it sealed
// before a restart is worthless.
func TestPhone_Reader_ComesBack(t *testing.T) {
	dir := t.TempDir()
	var id string
	var card, pin sealed
	var key *testReader
	for round, step := range []string{"approve", "card", "pin"} {
		f := newReaderFixture(t, func(s *phoneSetup, _ *authz.ReaderOptions) { s.dir = dir })
		p := f.in("suzuki")
		f.payments.Store(uint64(100 * round))
		if round == 0 {
			id, key = f.askedReader("suzuki"), f.reader("suzuki")
		}
		key.f = f
		f.expectStep("after the start", p.readerNow(id), "approve")
		if round > 0 {
			f.expect("a card of before", p.sendCard(id, card), 409, "reader_step")
		}
		if step != "approve" {
			offer := p.offered(id, key)
			card = key.card(offer, httpCard)
			if step == "pin" {
				f.expectStep("the card", p.sendCard(id, card), "pin")
				pin = key.pin(offer, httpCard, readerPIN)
				p = f.in("suzuki") // on another phone, too
				if a := p.readerNow(id); a.text("step") != "pin" || !bytes.Equal(a.bytes(t, "offer"), offer) {
					t.Errorf("another phone hears %s", a.raw)
				}
			}
		}
		f.stop()
		if err := f.store.Close(); err != nil {
			t.Fatal(err)
		}
	}
	f := newReaderFixture(t, func(s *phoneSetup, _ *authz.ReaderOptions) { s.dir = dir })
	f.payments.Store(1000)
	p := f.in("suzuki")
	key.f = f
	_ = p.offered(id, key)
	f.expectEnd("a card of before the restart", p.sendCard(id, card), id, "63")
	id = f.askedReader("suzuki")
	offer := p.offered(id, key)
	f.expectStep("the card", p.sendCard(id, key.card(offer, httpCard)), "pin")
	f.expectEnd("a PIN of before the restart", p.sendPIN(id, pin), id, "63")
}

// Each wait is over by itself, and everybody is told the same.
func TestPhone_Reader_TooLate(t *testing.T) {
	for step, name := range []string{"approve", "card", "pin"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newReaderFixture(t, func(_ *phoneSetup, o *authz.ReaderOptions) {
				*[]*time.Duration{&o.ApproveFor, &o.CardFor, &o.PINFor}[step] = time.Second
			})
			p, r := f.in("suzuki"), f.reader("suzuki")
			id := f.askedReader("suzuki")
			if step > 0 { // a slow machine may be too late itself: the outcome is the same
				if a := p.beginReader(id, r); a.text("step") == "card" && step > 1 {
					p.sendCard(id, r.card(a.bytes(t, "offer"), httpCard))
				}
			}
			until(t, "it is too late", func() bool { return f.shop(id).text("status") != "waiting" })
			f.expectEnd("too late", p.readerNow(id), id, "68")
			if _, held := f.balance("suzuki"); held != 0 {
				t.Errorf("%d are held", held)
			}
		})
	}
}
