package ledger

import (
	"errors"
	"maps"
	"math/rand/v2"
	"testing"

	"kessai"
)

// TestR13_ASnapshotKeepsItsCounts: counts that change while a head is being written
// are not in it, and what is in it is read back. Where no card has wrong PINs, a head
// is as it always was.
func TestR13_ASnapshotKeepsItsCounts(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 3))
	var p pins
	want := map[kessai.MediumID]uint8{}
	change := func() {
		m, n := kessai.MediumID{byte(rnd.IntN(7)), byte(rnd.IntN(40))}, uint8(rnd.IntN(256))
		if n < 120 {
			n = 0
		}
		p.set(m, n)
		if want[m] = n; n == 0 {
			delete(want, m)
		}
	}
	if none := p.freeze(); len(none.append(nil)) != 0 {
		t.Error("without wrong PINs something is written")
	}
	for range 300 {
		for range rnd.IntN(30) {
			change()
		}
		frozen, then := p.freeze(), maps.Clone(want)
		for range rnd.IntN(30) {
			change()
		}
		var back pins
		d := decoder{b: frozen.append(nil)}
		d.pins(&back)
		got := map[kessai.MediumID]uint8{}
		for _, shard := range back.shards {
			maps.Copy(got, shard)
		}
		if d.bad || len(d.b) > 0 || !maps.Equal(got, then) {
			t.Fatalf("read back: %v, want %v", got, then)
		}
	}
	raw, one := p.freeze(), []byte{16: 3}
	good := raw.append(nil)
	for name, b := range map[string][]byte{
		"cut off":     good[:len(good)-1],
		"none":        {0},
		"a zero":      append([]byte{1}, make([]byte, 17)...),
		"one twice":   append(append([]byte{2}, one...), one...),
		"far too few": {255, 255, 255, 255, 15, 1},
	} {
		var back pins
		d := decoder{b: b}
		if d.pins(&back); !d.bad && len(d.b) == 0 {
			t.Errorf("%s was read", name)
		}
	}
}

// TestR_ReplayRefusesWhatCannotBe: what contradicts the book is damage.
func TestR_ReplayRefusesWhatCannotBe(t *testing.T) {
	s := newState()
	for _, spec := range []AccountSpec{
		{Name: "clearing/JPY", Kind: ClearingAccount, Currency: kessai.JPY},
		{Name: "customer/1", Kind: CustomerAccount, Currency: kessai.JPY, Opening: 500},
		{Name: "merchant/1", Kind: MerchantAccount, Currency: kessai.JPY},
	} {
		if err := s.openAccount(spec); err != nil {
			t.Fatal(err)
		}
	}
	tx := func(id kessai.TxID, kind kessai.Kind, change func(*Tx)) Tx {
		x := Tx{ID: id, Kind: kind, Customer: 2, Shop: 3, Currency: kessai.JPY, Requested: 100, Amount: 100}
		if kind == kessai.Purchase {
			x.Asks, x.WaitFor = kessai.AsksReader, 60
		} else {
			x.Original, x.Factor, x.Medium = 1, kessai.FactorPIN, card
		}
		if change != nil {
			change(&x)
		}
		return x
	}
	sale, phone := tx(1, kessai.Purchase, nil), tx(2, kessai.Purchase, func(t *Tx) { t.Asks = kessai.AsksPhone })
	if err := errors.Join(s.apply(&sale), s.apply(&phone)); err != nil {
		t.Fatal(err)
	}
	for name, x := range map[string]Tx{
		"a sale that has its card":     tx(3, kessai.Purchase, func(t *Tx) { t.Medium = card }),
		"an approval by password":      tx(3, kessai.Approval, func(t *Tx) { t.Factor = kessai.FactorPassword }),
		"an approval without a card":   tx(3, kessai.Approval, func(t *Tx) { t.Medium = kessai.MediumID{} }),
		"a card for a phone's payment": tx(3, kessai.Approval, func(t *Tx) { t.Original = 2 }),
		"more wrong PINs than can be":  tx(3, kessai.Approval, func(t *Tx) { t.Code, t.Counted = kessai.WrongProof, CountedTry }),
		"a wrong PIN of no card":       tx(3, kessai.Approval, func(t *Tx) { t.Code, t.Counted, t.Medium = kessai.WrongProof, CountedTry, kessai.MediumID{} }),
		"a refusal of nothing":         tx(3, kessai.Approval, func(t *Tx) { t.Code, t.Ends, t.Original = 75, 75, 9 }),
		"a refusal of another's":       tx(3, kessai.Approval, func(t *Tx) { t.Code, t.Ends, t.Customer = 75, 75, 9 }),
	} {
		s.pins.set(card, mostTries)
		if err := s.apply(&x); err == nil {
			t.Errorf("%s was applied", name)
		}
	}
}
