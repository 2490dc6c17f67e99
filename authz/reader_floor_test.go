package authz

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"testing"

	"kessai"
	"kessai/authz/ledger"
	"kessai/cache"
	cards "kessai/pos/card"
	"kessai/pos/tether"
)

// gatewayKey signs the offers of every test.
var gatewayKey = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))

var hasher, _ = kessai.NewMediumHasher(bytes.Repeat([]byte{9}, kessai.MinKeyBytes))

// readerFloor is a floor on which every customer has a reader, a card with a PIN and
// one without. The tests change what is registered.
type readerFloor struct {
	*floor

	mu       sync.Mutex
	readers  map[kessai.ReaderID]*tethered
	pins     map[kessai.MediumID]string
	fails    error // what the registry says
	signs    func(kessai.TxID)
	evidence func(ReaderProof) []byte
	proofs   []ReaderProof
}

// tethered is one customer's reader.
type tethered struct {
	id      kessai.ReaderID
	key     ed25519.PrivateKey
	owner   string
	revoked bool
}

const rightPIN = "1234"

// panOf gives a card number: an even one has a PIN, an odd one has none.
func panOf(n int) kessai.PAN {
	for digit := range 10 {
		if p, err := kessai.ParsePAN(fmt.Sprintf("400000%09d%d", n, digit)); err == nil {
			return p
		}
	}
	return kessai.PAN{}
}

func pinCard(i int) kessai.PAN   { return panOf(2 * i) }
func plainCard(i int) kessai.PAN { return panOf(2*i + 1) }

// onReaderFloor runs a test on a floor with so many customers and readers, in virtual
// time. At its end no key lives.
func onReaderFloor(t *testing.T, n int, test func(t *testing.T, f *readerFloor)) {
	t.Helper()
	onReaderFloorWith(t, n, ReaderOptions{}, test)
}

func onReaderFloorWith(t *testing.T, n int, o ReaderOptions, test func(t *testing.T, f *readerFloor)) {
	t.Helper()
	f := new(readerFloor)
	onFloorWith(t, n, func(plain *floor) { f.furnish(plain, o) }, func(t *testing.T, _ *floor) {
		defer func() {
			f.CloseReaders()
			if n := f.ReaderStats().Keys; n != 0 {
				t.Errorf("%d keys live when all is over", n)
			}
		}()
		test(t, f)
		f.noKeys()
	})
}

// furnish gives the customers of a floor their readers and cards.
func (f *readerFloor) furnish(plain *floor, o ReaderOptions) {
	*f = readerFloor{floor: plain, readers: make(map[kessai.ReaderID]*tethered), pins: make(map[kessai.MediumID]string)}
	f.evidence = func(ReaderProof) []byte { return []byte("{}") }
	f.media = make(map[kessai.MediumID]cache.Medium)
	_, facts := sound()
	for i := range f.n {
		r := f.readerOf(i)
		r.owner = fmt.Sprint(i)
		f.readers[r.id] = r
		facts.Medium.Account = uint32(i)
		f.media[hasher.Medium(pinCard(i))] = facts.Medium
		f.media[hasher.Medium(plainCard(i))] = facts.Medium
		f.pins[hasher.Medium(pinCard(i))] = rightPIN
	}
	f.reader = f.options(o)
}

// noKeys makes sure that a key lives for each sale that waits for a card or a PIN,
// and none else.
func (f *readerFloor) noKeys() {
	f.t.Helper()
	s := f.ReaderStats()
	if n := s.Waiting[ReaderCard] + s.Waiting[ReaderPIN]; s.Keys != n {
		f.t.Errorf("%d keys live, and %d sales need one", s.Keys, n)
	}
}

func (f *readerFloor) options(o ReaderOptions) *ReaderOptions {
	o.Reader = func(id kessai.ReaderID) (string, ed25519.PublicKey, bool, error) {
		f.mu.Lock()
		defer f.mu.Unlock()
		r := f.readers[id]
		if r == nil || r.revoked {
			return "", nil, false, f.fails
		}
		return r.owner, r.key.Public().(ed25519.PublicKey), true, f.fails
	}
	o.Sign = func(offer []byte) []byte {
		if f.signs != nil {
			d, err := tether.DecodeOffer(offer)
			if err != nil {
				f.t.Error(err)
				return nil
			}
			f.signs(d.ID)
		}
		return ed25519.Sign(gatewayKey, tether.OfferToSign(offer))
	}
	o.Medium = hasher.Medium
	o.PIN = func(m kessai.MediumID) (bool, func([]byte) bool, error) {
		f.mu.Lock()
		defer f.mu.Unlock()
		pin, ok := f.pins[m]
		return ok, func(typed []byte) bool { return string(typed) == pin }, f.fails
	}
	return &o
}

// readerOf gives the reader of a customer, as it was made.
func (f *readerFloor) readerOf(i int) *tethered {
	seed := sha256.Sum256(fmt.Appendf(nil, "reader %d", i))
	key := ed25519.NewKeyFromSeed(seed[:])
	id := kessai.ReaderIDOf(key.Public().(ed25519.PublicKey))
	f.mu.Lock()
	defer f.mu.Unlock()
	if r := f.readers[id]; r != nil {
		return r
	}
	return &tethered{id: id, key: key}
}

// change changes what is known of a reader, a PIN or the registry.
func (f *readerFloor) change(do func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	do()
}

// buy puts a payment into the book that waits for the card of a customer.
func (f *readerFloor) buy(i int) kessai.TxID {
	f.t.Helper()
	reply := f.ask(f.byReader(i))
	if reply.Code != kessai.RequestInProgress || reply.Tx.Status != ledger.Waiting {
		f.t.Fatalf("%v, %v; want a payment that waits", reply.Code, reply.Tx.Status)
	}
	return reply.Tx.ID
}

func (f *readerFloor) byReader(i int) Request {
	r := f.request(i)
	r.Confirm.Asks = kessai.AsksReader
	return r
}

// approve is the customer's word on the phone.
func (f *readerFloor) approve(i int, id kessai.TxID) (ReaderState, error) {
	return f.approveWith(i, id, f.readerOf(i).id)
}

func (f *readerFloor) approveWith(i int, id kessai.TxID, r kessai.ReaderID) (ReaderState, error) {
	return f.BeginReader(context.Background(), ReaderApproval{
		Sale: id, Customer: f.customer(i), Reader: r,
		Evidence: func(p ReaderProof) []byte {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.proofs = append(f.proofs, p)
			return f.evidence(p)
		},
	})
}

// offered is a payment that was approved, with the offer for its reader.
func (f *readerFloor) offered(i int) (kessai.TxID, []byte) {
	f.t.Helper()
	id := f.buy(i)
	s, err := f.approve(i, id)
	if err != nil || s.Step != ReaderCard || !ed25519.Verify(gatewayKey.Public().(ed25519.PublicKey), tether.OfferToSign(s.Offer), s.Signature) {
		f.t.Fatalf("%v, %v", s.Step, err)
	}
	return id, s.Offer
}

// asked is a payment whose card was read, and that waits for the PIN.
func (f *readerFloor) asked(i int) (kessai.TxID, []byte) {
	f.t.Helper()
	id, offer := f.offered(i)
	s, err := f.ReaderCard(context.Background(), id, f.customer(i), f.readerOf(i).card(f.t, offer, pinCard(i)))
	if err != nil || s.Step != ReaderPIN {
		f.t.Fatalf("%v, %v, %v", s.Step, s.Sale.Told, err)
	}
	return id, s.Offer
}

// card seals what is on a card's stripe.
func (r *tethered) card(t testing.TB, offer []byte, pan kessai.PAN) ReaderMessage {
	t.Helper()
	track, err := cards.AppendTrack2(nil, pan, 2912, "101", "")
	if err != nil {
		t.Fatal(err)
	}
	return r.data(t, offer, tether.CardTrack2, track)
}

func (r *tethered) data(t testing.TB, offer []byte, kind tether.CardKind, data []byte) ReaderMessage {
	t.Helper()
	sealed, err := tether.SealCard(offer, kind, data)
	if err != nil {
		t.Fatal(err)
	}
	return r.sign(tether.StepCard, offer, sealed)
}

func (r *tethered) pin(t testing.TB, offer []byte, pan kessai.PAN, pin string) ReaderMessage {
	t.Helper()
	sealed, err := tether.SealPIN(offer, pan, kessai.Secret(pin))
	if err != nil {
		t.Fatal(err)
	}
	return r.sign(tether.StepPIN, offer, sealed)
}

func (r *tethered) sign(step tether.Step, offer, sealed []byte) ReaderMessage {
	return ReaderMessage{Sealed: sealed, Signature: tether.SignSealed(r.key, step, offer, sealed)}
}

// ended makes sure that a payment has ended with a code, in the book and for whoever
// asks, that nothing is held any more, and that its key is gone.
func (f *readerFloor) ended(i int, id kessai.TxID, code kessai.ResponseCode) {
	f.t.Helper()
	s, err := f.ReaderNow(id, f.customer(i))
	if err != nil || s.Step != ReaderEnded || s.Offer != nil || s.Sale.Standing() != code {
		f.t.Errorf("payment %d: %v, %v, %v; want it to end with %v", id, s.Step, s.Sale.Standing(), err, code)
	}
	if a, _ := f.book.Account(f.customer(i)); a.Held != 0 {
		f.t.Errorf("%d are still held", a.Held)
	}
	f.noKeys()
}

// step makes sure that a payment waits in a step.
func (f *readerFloor) step(i int, id kessai.TxID, step ReaderStep) ReaderState {
	f.t.Helper()
	s, err := f.ReaderNow(id, f.customer(i))
	if err != nil || s.Step != step || s.Sale.Status != ledger.Waiting && step != ReaderEnded {
		f.t.Errorf("payment %d: %v, %v, %v; want %v", id, s.Step, s.Sale.Status, err, step)
	}
	return s
}

var errRegistry = errors.New("the registry cannot be read")
