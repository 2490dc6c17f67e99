package phones

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"kessai"
	"kessai/customers"
	"kessai/pos/tether"
)

// testReader is a card reader as far as its enrolment and its signatures go.
type testReader struct {
	t   *testing.T
	key ed25519.PrivateKey
	id  kessai.ReaderID
}

func newTestReader(t *testing.T) *testReader {
	t.Helper()
	public, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &testReader{t, key, kessai.ReaderIDOf(public)}
}

// enrol gives the reader's message, and what it would check the answer with.
func (x *testReader) enrol(code kessai.Secret) (message, key []byte, e *tether.Enrol) {
	x.t.Helper()
	key, err := tether.EnrolKey(code.Reveal())
	if err != nil {
		x.t.Fatal(err)
	}
	if e, err = tether.NewEnrol(x.key, "Reader", key); err != nil {
		x.t.Fatal(err)
	}
	if message, err = e.Encode(); err != nil {
		x.t.Fatal(err)
	}
	return message, key, e
}

func (h *house) inviteReader(t *testing.T, id customers.ID) kessai.Secret {
	t.Helper()
	code, until, err := h.InviteReader(id)
	if err != nil || len(code.Reveal()) != tether.CodeDigits || !until.Equal(h.now.Add(EnrolmentLifetime)) {
		t.Fatalf("%v, %v", until, err)
	}
	return code
}

// enrolled is a reader that a customer has enrolled.
func (p *phone) enrolled(x *testReader) *testReader {
	p.t.Helper()
	message, key, e := x.enrol(p.h.inviteReader(p.t, p.in.Customer))
	answer, _, err := p.h.EnrolReader(p.in, message)
	if err != nil {
		p.t.Fatal(err)
	}
	if d, err := tether.DecodeEnrolled(answer); err != nil || !d.Check(e, key) {
		p.t.Fatalf("%+v, %v", d, err)
	}
	return x
}

// A reader is enrolled with a code; both sides know one another afterwards.
func TestR_AReaderIsEnrolled(t *testing.T) {
	h := newHouse(t)
	p := h.phone(t, "suzuki", "aoi-1234").mustSignIn()
	x := newTestReader(t)
	message, key, e := x.enrol(h.inviteReader(t, "suzuki"))
	answer, got, err := h.EnrolReader(p.in, message)
	if err != nil || got.ID != x.id || got.Customer != "suzuki" || got.Name != "Reader" || !got.Added.Equal(h.now) {
		t.Fatalf("%+v, %v", got, err)
	}
	d, err := tether.DecodeEnrolled(answer)
	if err != nil || !d.Check(e, key) || !d.Gateway.Equal(h.keys.ReaderKey().Public()) {
		t.Fatalf("%+v, %v", d, err)
	}
	offer := []byte("an offer")
	if !tether.CheckOffer(d.Gateway, offer, h.keys.SignOffer(offer)) || tether.CheckOffer(d.Gateway, []byte("another"), h.keys.SignOffer(offer)) {
		t.Error("the gateway's signature does not hold, or holds for another offer")
	}
	kept, err := h.store.Reader(x.id)
	if err != nil || kept.Customer != "suzuki" || !kept.Key.Equal(x.key.Public()) || !kept.Revoked.IsZero() {
		t.Errorf("%+v, %v", kept, err)
	}
	// The answer may have been lost: the same message gets it again, no other does.
	if again, _, err := h.EnrolReader(p.in, message); err != nil || !bytes.Equal(again, answer) {
		t.Errorf("once more: %v", err)
	}
	other, _, _ := newTestReader(t).enrol(kessai.Secret(strings.Repeat("1", 24)))
	if _, _, err := h.EnrolReader(p.in, other); !errors.Is(err, ErrGone) {
		t.Errorf("another reader with the same code: %v", err)
	}
	if all, err := h.store.Readers("suzuki"); len(all) != 1 || all[0].ID != x.id || err != nil {
		t.Errorf("%+v, %v", all, err)
	}
	// The same reader again, with a code of its own, is the same reader.
	p.enrolled(x)
	if all, err := h.store.Readers("suzuki"); len(all) != 1 || err != nil {
		t.Errorf("%+v, %v", all, err)
	}
}

// Wrong codes are counted, also by a reader that vanishes; the fifth ends the code.
// The right one helps nobody else, and nobody whose time is up.
func TestR_EnrolmentThatFails(t *testing.T) {
	h := newHouse(t)
	p, q := h.phone(t, "suzuki", "aoi-1234").mustSignIn(), h.phone(t, "sato", "umi-5678").mustSignIn()
	x := newTestReader(t)
	wrong, _, _ := x.enrol(kessai.Secret(strings.Repeat("0", 24)))
	if _, _, err := h.EnrolReader(p.in, wrong); !errors.Is(err, ErrGone) {
		t.Errorf("without a code: %v", err)
	}
	code := h.inviteReader(t, "suzuki")
	right, _, _ := x.enrol(code)
	if _, _, err := h.EnrolReader(q.in, right); !errors.Is(err, ErrGone) {
		t.Errorf("another customer: %v", err)
	}
	for n := range maxEnrolTries - 1 {
		if _, _, err := h.EnrolReader(p.in, wrong); !errors.Is(err, ErrRefused) {
			t.Errorf("try %d: %v", n, err)
		}
	}
	if _, _, err := h.EnrolReader(p.in, right); err != nil {
		t.Errorf("the right code after four wrong ones: %v", err)
	}
	code = h.inviteReader(t, "suzuki")
	right, _, _ = x.enrol(code)
	for range maxEnrolTries {
		if _, _, err := h.EnrolReader(p.in, wrong); !errors.Is(err, ErrRefused) {
			t.Error(err)
		}
	}
	if _, _, err := h.EnrolReader(p.in, right); !errors.Is(err, ErrGone) {
		t.Errorf("the right code after five wrong ones: %v", err)
	}
	first := h.inviteReader(t, "suzuki")
	second := h.inviteReader(t, "suzuki")
	void, _, _ := x.enrol(first)
	if _, _, err := h.EnrolReader(p.in, void); !errors.Is(err, ErrRefused) {
		t.Errorf("a code that another took the place of: %v", err)
	}
	right, _, _ = x.enrol(second)
	h.pass(EnrolmentLifetime)
	if _, _, err := h.EnrolReader(p.in, right); !errors.Is(err, ErrGone) {
		t.Errorf("after a day: %v", err)
	}
	for name, message := range map[string][]byte{"nothing": nil, "cut": right[:len(right)-1], "longer": append(bytes.Clone(right), 0)} {
		if _, _, err := h.EnrolReader(p.in, message); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	right, _, _ = x.enrol(h.inviteReader(t, "suzuki"))
	for bit := range 8 * len(right) {
		if _, got, err := h.EnrolReader(p.in, flipped(right, bit)); err == nil {
			t.Fatalf("bit %d makes no difference: %+v", bit, got)
		}
		if bit%3 == 0 {
			right, _, _ = x.enrol(h.inviteReader(t, "suzuki"))
		}
	}
}

// A reader that was revoked, or is another's, is not enrolled again, whatever code
// there is; one that was not is one customer's, however many try at once.
func TestR_ReadersThatAreRefused(t *testing.T) {
	h := newHouse(t)
	p, q := h.phone(t, "suzuki", "aoi-1234").mustSignIn(), h.phone(t, "sato", "umi-5678").mustSignIn()
	x := p.enrolled(newTestReader(t))
	theirs, _, _ := x.enrol(h.inviteReader(t, "sato"))
	if _, _, err := h.EnrolReader(q.in, theirs); !errors.Is(err, ErrReader) || errors.Is(err, ErrRevoked) {
		t.Errorf("another's reader: %v", err)
	}
	if err := h.store.RevokeReader("sato", x.id, h.now); !errors.Is(err, ErrGone) {
		t.Errorf("another's reader is revoked: %v", err)
	}
	if err := h.store.RevokeReader("suzuki", x.id, h.now); err != nil {
		t.Fatal(err)
	}
	if err := h.store.RevokeReader("suzuki", x.id, h.now); !errors.Is(err, ErrGone) {
		t.Errorf("twice: %v", err)
	}
	again, _, _ := x.enrol(h.inviteReader(t, "suzuki"))
	for _, who := range []*phone{p, q} {
		if _, _, err := h.EnrolReader(who.in, again); err == nil || errors.Is(err, ErrRefused) && who == p {
			t.Errorf("a revoked reader of %s: %v", who.customer, err)
		}
	}
	if _, _, err := h.EnrolReader(p.in, again); !errors.Is(err, ErrRevoked) {
		t.Errorf("its customer is told %v", err)
	}
	theirs, _, _ = x.enrol(h.inviteReader(t, "sato"))
	if _, _, err := h.EnrolReader(q.in, theirs); !errors.Is(err, ErrReader) || errors.Is(err, ErrRevoked) {
		t.Errorf("another customer is told %v", err)
	}
	if kept, err := h.store.Reader(x.id); err != nil || !kept.Revoked.Equal(h.now) {
		t.Errorf("%+v, %v", kept, err)
	}

	y := newTestReader(t)
	var done sync.WaitGroup
	results := make([]error, 8)
	for i := range results {
		done.Go(func() {
			results[i] = h.store.AddReader(Reader{Customer: customers.ID(fmt.Sprint("c", i)), Name: "x", Key: y.key.Public().(ed25519.PublicKey), Added: h.now})
		})
	}
	done.Wait()
	won := 0
	for _, err := range results {
		if err == nil {
			won++
		} else if !errors.Is(err, ErrReader) {
			t.Error(err)
		}
	}
	if won != 1 {
		t.Errorf("%d customers have the same reader", won)
	}
}

func TestR_ReadersAreBounded(t *testing.T) {
	h := newHouse(t)
	add := func() (kessai.ReaderID, error) {
		x := newTestReader(t)
		return x.id, h.store.AddReader(Reader{Customer: "suzuki", Name: "x", Key: x.key.Public().(ed25519.PublicKey), Added: h.now})
	}
	ids := []kessai.ReaderID{}
	for range MaxReaders {
		id, err := add()
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	if _, err := add(); !errors.Is(err, ErrFull) {
		t.Errorf("one more than %d: %v", MaxReaders, err)
	}
	n := MaxReaders
	for ; n < 2*maxReadersEver; n++ {
		if err := h.store.RevokeReader("suzuki", ids[0], h.now); err != nil {
			t.Fatal(err)
		}
		id, err := add()
		if errors.Is(err, ErrFull) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids[1:], id)
	}
	if n != maxReadersEver {
		t.Errorf("%d readers are kept", n)
	}
	if _, _, readers, err := h.store.RevokeAll("suzuki", h.now); readers != MaxReaders-1 || err != nil {
		t.Errorf("%d readers revoked, %v", readers, err)
	}
	if all, err := h.store.Readers("suzuki"); len(all) != maxReadersEver || err != nil {
		t.Errorf("%d known, %v", len(all), err)
	}
}

func TestR_ReadersAreSeen(t *testing.T) {
	h := newHouse(t)
	p := h.phone(t, "suzuki", "aoi-1234").mustSignIn()
	x := p.enrolled(newTestReader(t))
	for _, step := range []struct{ after, seen time.Duration }{{0, 0}, {seenEvery - time.Second, 0}, {time.Second, seenEvery}} {
		h.pass(step.after)
		if err := h.store.SeenReader(x.id, h.now); err != nil {
			t.Fatal(err)
		}
		if kept, err := h.store.Reader(x.id); err != nil || !kept.Seen.Equal(kept.Added.Add(step.seen)) {
			t.Errorf("%+v: seen %v, %v", step, kept.Seen, err)
		}
	}
	if err := h.store.SeenReader(kessai.ReaderID{1}, h.now); !errors.Is(err, ErrGone) {
		t.Errorf("nobody's: %v", err)
	}
}

// The code is nowhere in the store, and what is kept of it opens with phone.key only,
// and for its customer only.
func TestR_CodesStayInside(t *testing.T) {
	h := newHouse(t)
	p := h.phone(t, "suzuki", "aoi-1234").mustSignIn()
	code := h.inviteReader(t, "suzuki")
	key, err := tether.EnrolKey(code.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	r, err := h.store.read("suzuki")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := openWith(h.keys.enrolment, r.Enrolment.Sealed, []byte("suzuki")); err != nil || !bytes.Equal(got, key) {
		t.Errorf("what is sealed is not the key: %v", err)
	}
	other, _ := NewKeys(bytes.Repeat([]byte{8}, 32))
	if _, err := openWith(other.enrolment, r.Enrolment.Sealed, []byte("suzuki")); err == nil {
		t.Error("it opens with another key")
	}
	if _, err := openWith(h.keys.enrolment, r.Enrolment.Sealed, []byte("sato")); err == nil {
		t.Error("it opens for another customer")
	}
	if bytes.Equal(other.ReaderKey(), h.keys.ReaderKey()) {
		t.Error("two gateways sign with one key")
	}
	json, _ := json.Marshal(key)
	found := 0
	err = filepath.WalkDir(filepath.Dir(h.store.db.Opts().Dir), func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		for _, secret := range []string{code.Reveal(), string(key), fmt.Sprintf("%x", key), strings.Trim(string(json), `"`)} {
			if bytes.Contains(b, []byte(secret)) {
				t.Errorf("%s has the code", d.Name())
			}
		}
		found += bytes.Count(b, []byte("enrolment"))
		return err
	})
	if err != nil || found == 0 {
		t.Errorf("the search finds nothing: %v", err)
	}
	_ = p
}

// readerEvidence gives what is kept of a payment with card and PIN, and with a card.
func readerEvidence(t *testing.T) (h *house, x *testReader, coffee Shown, withPIN, card []byte) {
	t.Helper()
	h = newHouse(t)
	p := h.phone(t, "suzuki", "aoi-1234").mustSignIn()
	x, coffee = p.enrolled(newTestReader(t)), testSale(t, 42, "suzuki")
	signature := p.approveFor(coffee, x.id)
	if err := h.ApproveForReader(p.in, coffee, x.id, signature); err != nil {
		t.Fatal(err)
	}
	proof := ReaderProof{OfferHash: hashOf([]byte("offer")), CardHash: hashOf([]byte("card"))}
	proof.CardSignature = ed25519.Sign(x.key, tether.SealedToSign(tether.StepCard, proof.OfferHash, proof.CardHash))
	card, err := h.ReaderEvidence(p.in, coffee, signature, x.id, proof)
	if err != nil {
		t.Fatal(err)
	}
	proof.PINHash = hashOf([]byte("pin"))
	proof.PINSignature = ed25519.Sign(x.key, tether.SealedToSign(tether.StepPIN, proof.OfferHash, proof.PINHash))
	if withPIN, err = h.ReaderEvidence(p.in, coffee, signature, x.id, proof); err != nil {
		t.Fatal(err)
	}
	return h, x, coffee, withPIN, card
}

// approveFor is what a phone signs to approve a sale with a reader.
func (p *phone) approveFor(has Shown, id kessai.ReaderID) []byte {
	return p.sign(hashOf(has.Canonical), []byte("reader "+id.String()))
}

// A phone approves a sale for one reader: its signature holds for no other sale,
// customer, reader or device.
func TestR4_ApprovalForAReader(t *testing.T) {
	h := newHouse(t)
	p, q := h.phone(t, "suzuki", "aoi-1234").mustSignIn(), h.phone(t, "sato", "umi-5678").mustSignIn()
	x, y, theirs := p.enrolled(newTestReader(t)), p.enrolled(newTestReader(t)), q.enrolled(newTestReader(t))
	coffee, tea := testSale(t, 42, "suzuki"), testSale(t, 43, "suzuki")
	signature := p.approveFor(coffee, x.id)
	if err := h.ApproveForReader(p.in, coffee, x.id, signature); err != nil {
		t.Error(err)
	}
	for name, c := range map[string]struct {
		in        Session
		shown     Shown
		reader    kessai.ReaderID
		signature []byte
		want      error
	}{
		"another sale":     {p.in, tea, x.id, signature, ErrRefused},
		"another reader":   {p.in, coffee, y.id, signature, ErrRefused},
		"another's reader": {p.in, coffee, theirs.id, p.approveFor(coffee, theirs.id), ErrReader},
		"no reader":        {p.in, coffee, kessai.ReaderID{}, p.approveFor(coffee, kessai.ReaderID{}), ErrReader},
		"another device":   {p.in, coffee, x.id, q.approveFor(coffee, x.id), ErrRefused},
		"no signature":     {p.in, coffee, x.id, nil, ErrRefused},
		"another word":     {p.in, coffee, x.id, p.sign(hashOf(coffee.Canonical), []byte("Reader "+x.id.String())), ErrRefused},
	} {
		if err := h.ApproveForReader(c.in, c.shown, c.reader, c.signature); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	for bit := 0; bit < 8*len(signature); bit += 5 {
		if err := h.ApproveForReader(p.in, coffee, x.id, flipped(signature, bit)); !errors.Is(err, ErrRefused) {
			t.Errorf("bit %d: %v", bit, err)
		}
	}
	if err := h.store.RevokeReader("suzuki", x.id, h.now); err != nil {
		t.Fatal(err)
	}
	if err := h.ApproveForReader(p.in, coffee, x.id, signature); !errors.Is(err, ErrReader) {
		t.Errorf("a revoked reader: %v", err)
	}
}

func TestR16_ReaderEvidenceHolds(t *testing.T) {
	h, x, coffee, withPIN, card := readerEvidence(t)
	for factor, kept := range map[string][]byte{"card": card, "card_pin": withPIN} {
		r, err := Verify(kept, coffee, nil)
		if err != nil || !r.Holds() || r.Missing == "" || r.Factor != factor || r.Reader.ID != x.id.String() || r.Reader.Name != "Reader" || len(r.Checks) < 6 {
			t.Errorf("%s: %+v, %v", factor, r, err)
		}
		for name, has := range map[string]Shown{"another payment": testSale(t, 43, "suzuki"), "another customer": testSale(t, 42, "sato"), "another ID": {43, coffee.Canonical}} {
			if r, err := Verify(kept, has, h.keys); err != nil || r.Holds() {
				t.Errorf("%s: evidence for %s holds (%v)", factor, name, err)
			}
		}
		var e Evidence
		if err := json.Unmarshal(kept, &e); err != nil {
			t.Fatal(err)
		}
		holds := func() bool {
			b, err := json.Marshal(e)
			if err != nil {
				t.Fatal(err)
			}
			r, err := Verify(b, coffee, h.keys)
			return err == nil && r.Holds()
		}
		parts := map[string]*[]byte{
			"sale": &e.Sale, "device key": &e.Device.Key, "device signature": &e.Device.Signature, "reader key": &e.Reader.Key,
			"offer": &e.Reader.OfferHash, "card": &e.Reader.CardHash, "card signature": &e.Reader.CardSignature,
			"PIN": &e.Reader.PINHash, "PIN signature": &e.Reader.PINSignature,
		}
		for name, part := range parts {
			was := *part
			for bit := 0; bit < 8*len(was); bit += 3 {
				if *part = flipped(was, bit); holds() {
					t.Fatalf("%s: bit %d of the %s makes no difference", factor, bit, name)
				}
			}
			if *part = nil; len(was) > 0 && name != "sale" && holds() {
				t.Errorf("%s: it holds without the %s", factor, name)
			}
			*part = was
		}
		swapped := e
		reader := *e.Reader
		swapped.Reader = &reader
		reader.PINHash, reader.PINSignature = reader.CardHash, reader.CardSignature
		if e = swapped; holds() {
			t.Errorf("%s: the card's signature holds for the PIN", factor)
		}
	}
	for name, change := range map[string]string{`"card_pin"`: `"card"`, `"factor":"card_pin"`: `"factor":"password"`} {
		if r, err := Verify([]byte(strings.Replace(string(withPIN), name, change, 1)), coffee, nil); err == nil && r.Holds() {
			t.Errorf("evidence of card and PIN holds as %s", change)
		}
	}
}
