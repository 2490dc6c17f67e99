package ledger

import (
	"bytes"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kessai"
)

// fullTx has every field set that is written into a block.
func fullTx() Tx {
	return Tx{
		ID: 7, Kind: kessai.PreAuthorization, Code: kessai.PartialApproval, Wire: WireJSON,
		Names:    [2]Name{{Key: Key{1}, Digest: [16]byte{2}}, {Key: Key{3}, Digest: [16]byte{4}}},
		Merchant: aoi, Terminal: aoiPOS, Medium: kessai.MediumID{5}, Last4: kessai.Last4{'4', '2', '4', '2'},
		STAN: 123_456, Transmitted: -1, Block: 9, Time: 1_700_000_000_000_000_001, Day: 20_000,
		Customer: 3, Shop: 4, Currency: kessai.JPY, Requested: kessai.MaxAmount, Amount: 450, CashBack: 50,
		Available: -7, Original: 6, OriginalKey: Key{8}, Counted: CountedMedium | CountedTerminal | CountedTry, HoldFor: 60, HasNote: true,
		Asks: kessai.AsksReader, Factor: kessai.FactorPasskey, Ends: kessai.TriesExceeded, WaitFor: 86_400, Foreign: Foreign{kessai.EUR, -1},
	}
}

func TestEncodingKeepsEveryField(t *testing.T) {
	tx := fullTx()
	full := tx
	full.Status, full.Reversed, full.Refunded, full.Held, full.Deadline, full.Ended = Captured, 1, 2, 3, 4, 5
	full.Told, full.Tries, full.Agreed = kessai.CustomerCancellation, 255, 6
	d := decoder{b: appendRow(nil, &full)}
	if got := d.row(); d.bad || len(d.b) > 0 || got != full {
		t.Errorf("a row came back changed:\n%s", cmp.Diff(full, got))
	}
	b := block{number: 9, time: tx.Time, day: tx.Day, prev: [32]byte{1}, count: 5}
	b.body = appendTx(b.body, &tx, []byte("note"))
	b.body = appendAccount(b.body, &AccountSpec{Name: "customer/1", Kind: CustomerAccount, Currency: kessai.EUR, Opening: 5, Overdraft: 6})
	b.body = appendOverdraft(b.body, 3, 9)
	b.body = appendExpire(b.body, 12)
	b.body = appendAlias(b.body, 13, Name{Key: Key{1}, Digest: [16]byte{2}})
	raw, hash := b.append(nil)
	back, hash2, err := parseBlock(raw)
	if err != nil || hash != hash2 || back.number != 9 || back.prev != b.prev {
		t.Fatalf("block %+v, %v", back, err)
	}
	var got []entry
	if err := back.entries(func(e *entry) error { got = append(got, *e); return nil }); err != nil {
		t.Fatal(err)
	}
	want := []entry{
		{kind: entryTx, tx: tx, note: []byte("note")},
		{kind: entryAccount, account: AccountSpec{Name: "customer/1", Kind: CustomerAccount, Currency: kessai.EUR, Opening: 5, Overdraft: 6}},
		{kind: entryOverdraft, id: 3, overdraft: 9},
		{kind: entryExpire, id: 12},
		{kind: entryAlias, id: 13, name: Name{Key: Key{1}, Digest: [16]byte{2}}},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(entry{})); diff != "" {
		t.Error(diff)
	}
}

func TestEveryBitOfABlockIsHashed(t *testing.T) {
	tx := fullTx()
	b := block{number: 1, count: 1}
	b.body = appendTx(nil, &tx, []byte("note"))
	raw, _ := b.append(nil)
	for i := range raw {
		for bit := range 8 {
			raw[i] ^= 1 << bit
			if _, _, err := parseBlock(raw); err == nil {
				t.Fatalf("bit %d of byte %d can change unseen", bit, i)
			}
			raw[i] ^= 1 << bit
		}
	}
}

// FuzzBlock reads arbitrary bytes as a block and replays it: no panic, whatever
// it says, and what is accepted keeps every sum at zero.
func FuzzBlock(f *testing.F) {
	tx := fullTx()
	body := appendAccount(nil, &AccountSpec{Name: "clearing/JPY", Kind: ClearingAccount, Currency: kessai.JPY})
	body = appendAccount(body, &AccountSpec{Name: "customer/1", Kind: CustomerAccount, Currency: kessai.JPY, Opening: 500})
	f.Add(uint32(2), body)
	f.Add(uint32(3), appendTx(body, &tx, []byte("note")))
	f.Add(uint32(1), appendExpire(nil, 1))
	f.Add(uint32(1), appendAlias(nil, 1, Name{}))
	load := Tx{ID: 1, Kind: kessai.Load, Customer: 2, Purse: 3, Currency: kessai.JPY, Requested: 500, Amount: 500, Available: 500, Counter: 1}
	told := Tx{ID: 2, Kind: kessai.PurseSettlement, Purse: 3, Currency: kessai.JPY, Original: 1, Requested: 500, Amount: 500, Available: 500, Counter: 2}
	media := appendAccount(body[:len(body):len(body)], &AccountSpec{Name: PurseName(kessai.MediumID{1}), Kind: EMoneyAccount, Currency: kessai.JPY})
	f.Add(uint32(5), appendTx(appendTx(media, &load, nil), &told, nil))
	shop := appendAccount(body[:len(body):len(body)], &AccountSpec{Name: "merchant/1", Kind: MerchantAccount, Currency: kessai.JPY})
	asks := Tx{ID: 1, Kind: kessai.Purchase, Asks: kessai.AsksClaim, Shop: 3, Currency: kessai.JPY, Requested: 500, Amount: 500, WaitFor: 60}
	claims := Tx{ID: 2, Kind: kessai.Claim, Customer: 2, Shop: 3, Currency: kessai.JPY, Original: 1}
	wrong := Tx{ID: 3, Kind: kessai.Approval, Code: kessai.WrongProof, Customer: 2, Shop: 3, Currency: kessai.JPY, Original: 1, Counted: CountedTry}
	agrees := Tx{ID: 4, Kind: kessai.Approval, Customer: 2, Shop: 3, Currency: kessai.JPY, Original: 1, Amount: 500}
	waits := appendTx(appendTx(shop, &asks, nil), &claims, nil)
	f.Add(uint32(6), appendExpire(waits[:len(waits):len(waits)], 1))
	f.Add(uint32(7), appendTx(appendTx(waits[:len(waits):len(waits)], &wrong, nil), &agrees, nil))
	changed := appendAccount(shop[:len(shop):len(shop)], &AccountSpec{Name: "exchange/JPY", Kind: ClearingAccount, Currency: kessai.JPY})
	for _, name := range []string{"exchange/EUR", "clearing/EUR"} {
		changed = appendAccount(changed, &AccountSpec{Name: name, Kind: ClearingAccount, Currency: kessai.EUR})
	}
	changed = appendAccount(changed, &AccountSpec{Name: "customer/2", Kind: CustomerAccount, Currency: kessai.EUR, Opening: 9})
	asks.Asks, asks.Customer, asks.Foreign = kessai.AsksPhone, 7, Foreign{kessai.EUR, 7}
	agrees.ID, agrees.Customer, agrees.Foreign = 2, 7, asks.Foreign
	refund := Tx{ID: 3, Kind: kessai.Refund, Customer: 7, Shop: 3, Currency: kessai.JPY, Original: 1, Amount: 250, Foreign: Foreign{kessai.EUR, 4}}
	f.Add(uint32(10), appendTx(appendTx(appendTx(changed, &asks, nil), &agrees, nil), &refund, nil))
	f.Fuzz(func(t *testing.T, count uint32, body []byte) {
		if len(body) > maxBlock {
			return
		}
		raw, _ := (&block{number: 1, count: count, body: body}).append(nil)
		b, hash, err := parseBlock(raw)
		if err != nil {
			t.Fatal(err)
		}
		s := newState()
		if s.replay(&b, hash) == nil {
			if _, err := s.sums(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// FuzzRow reads arbitrary bytes as a row of a snapshot: no panic, and what is
// read is written and read again without a change. (A name without a key is no
// name; its digest is not kept.)
func FuzzRow(f *testing.F) {
	tx := fullTx()
	f.Add(appendRow(nil, &tx))
	tx.Kind, tx.Purse, tx.Counter, tx.Before = kessai.Load, 7, 8, 9
	f.Add(appendRow(nil, &tx))
	f.Fuzz(func(t *testing.T, raw []byte) {
		d := decoder{b: raw}
		if got := d.row(); !d.bad {
			written := appendRow(nil, &got)
			again := decoder{b: written}
			if back := again.row(); again.bad || !bytes.Equal(appendRow(nil, &back), written) {
				t.Fatal(cmp.Diff(got, back))
			}
		}
		d = decoder{b: raw}
		d.accountRow()
	})
}

func TestReplayRefusesWhatCannotBe(t *testing.T) {
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
	purchase := func(change func(*Tx)) Tx {
		tx := Tx{ID: 1, Kind: kessai.Purchase, Customer: 2, Shop: 3, Currency: kessai.JPY, Requested: 500, Amount: 500}
		change(&tx)
		return tx
	}
	for name, tx := range map[string]Tx{
		"more than there is":     purchase(func(t *Tx) { t.Amount = 501 }),
		"a negative amount":      purchase(func(t *Tx) { t.Amount = -1 }),
		"an unknown account":     purchase(func(t *Tx) { t.Shop = 9 }),
		"a gap in the numbers":   purchase(func(t *Tx) { t.ID = 2 }),
		"a completion of a sale": purchase(func(t *Tx) { t.Kind, t.Original = kessai.Completion, 1 }),
		"a refund of nothing":    purchase(func(t *Tx) { t.Kind, t.Original = kessai.Refund, 5 }),
		"a reversal of nothing":  purchase(func(t *Tx) { t.Kind, t.Original = kessai.Reversal, 5 }),
	} {
		if err := s.apply(&tx); err == nil {
			t.Errorf("%s was applied", name)
		}
	}
	waiting := func(id kessai.TxID, change func(*Tx)) Tx {
		tx := Tx{ID: id, Kind: kessai.Purchase, Asks: kessai.AsksPhone, Customer: 2, Shop: 3, Currency: kessai.JPY, Requested: 100, Amount: 100, WaitFor: 60}
		if change != nil {
			change(&tx)
		}
		return tx
	}
	first, claimed := waiting(1, nil), waiting(2, func(t *Tx) { t.Asks, t.Customer = kessai.AsksClaim, 0 })
	if err := errors.Join(s.apply(&first), s.apply(&claimed)); err != nil {
		t.Fatal(err)
	}
	ofCustomer := func(kind kessai.Kind, original kessai.TxID, change func(*Tx)) Tx {
		tx := Tx{ID: 3, Kind: kind, Original: original, Customer: 2, Shop: 3, Currency: kessai.JPY}
		if change != nil {
			change(&tx)
		}
		return tx
	}
	for name, tx := range map[string]Tx{
		"more than there is, waiting":     waiting(3, func(t *Tx) { t.Amount = 401 }),
		"a foreign one without exchange":  waiting(3, func(t *Tx) { t.Foreign = Foreign{kessai.EUR, 1} }),
		"a claim with its customer":       waiting(3, func(t *Tx) { t.Asks = kessai.AsksClaim }),
		"an approval of another's":        ofCustomer(kessai.Approval, 1, func(t *Tx) { t.Customer = 3 }),
		"an approval of nobody's":         ofCustomer(kessai.Approval, 2, func(t *Tx) { t.Customer = 0 }),
		"an approval of nothing":          ofCustomer(kessai.Approval, 9, nil),
		"a wrong proof for nothing":       ofCustomer(kessai.Approval, 9, func(t *Tx) { t.Code = kessai.WrongProof }),
		"a cancellation with an approval": ofCustomer(kessai.Cancellation, 1, nil),
		"a claim of one that asks":        ofCustomer(kessai.Claim, 1, nil),
		"a claim by nobody":               ofCustomer(kessai.Claim, 2, func(t *Tx) { t.Customer = 0 }),
		"a claim by the shop":             ofCustomer(kessai.Claim, 2, func(t *Tx) { t.Customer = 3 }),
		"a completion of one that waits":  ofCustomer(kessai.Completion, 1, func(t *Tx) { t.Amount = 1 }),
		"a refund of one that waits":      ofCustomer(kessai.Refund, 1, func(t *Tx) { t.Amount = 1 }),
		"half a reversal of one":          ofCustomer(kessai.Reversal, 1, func(t *Tx) { t.Amount, t.Requested = 50, 50 }),
	} {
		copied := *s.txs.get(1)
		if err := s.apply(&tx); err == nil {
			t.Errorf("%s was applied", name)
		}
		*s.txs.get(1) = copied
	}
	if err := s.expire(99); err == nil {
		t.Error("a hold that does not exist expired")
	}
	if err := errors.Join(s.alias(99, Name{}), nil); err == nil {
		t.Error("a transaction that does not exist got a name")
	}
}
