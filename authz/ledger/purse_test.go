package ledger

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kessai"
)

var chipID = kessai.MediumID{0xc1}

// purseBook is a book with a shop, a customer of 10,000 JPY, and the account of
// the customer's medium.
func purseBook(t *testing.T, o Options) (b *Book, shop, customer, medium AccountID) {
	t.Helper()
	b = openTest(t, o)
	shop, customers := people(t, b, 10_000)
	ids, err := b.OpenAccounts([]AccountSpec{{Name: PurseName(chipID), Kind: EMoneyAccount, Currency: kessai.JPY}})
	if err != nil {
		t.Fatal(err)
	}
	return b, shop, customers[0], ids[0]
}

func tells(account AccountID, counter uint32, balance int64, last kessai.TxID) *Purse {
	return &Purse{Account: account, Counter: counter, Balance: balance, Currency: kessai.JPY, Last: last}
}

// TestV7_EMoneyTakesTwoSteps: what is loaded is held first, and moves when the
// medium says that it has it; and so on with what is paid and taken off.
func TestV7_EMoneyTakesTwoSteps(t *testing.T) {
	dir := t.TempDir()
	b, shop, c, m := purseBook(t, Options{Dir: dir})
	load := wantCode(t, commit(t, b, Op{Kind: kessai.Load, Names: named1(1), Medium: chipID, Customer: c, Amount: 3_000, Purse: tells(m, 1, 0, 0)}), kessai.Approved)
	if load.Status != Pending || load.Available != 3_000 || load.Deadline != 0 || load.Shop != 0 {
		t.Errorf("%+v", load)
	}
	wantBalance(t, b, c, 10_000, 3_000)
	wantBalance(t, b, m, 0, 0)
	b = reopen(t, b)
	wantBalance(t, b, c, 10_000, 3_000)
	told := wantCode(t, commit(t, b, Op{Kind: kessai.PurseSettlement, Names: named1(2), Purse: tells(m, 2, 3_000, load.ID)}), kessai.Approved)
	if told.Original != load.ID || told.Amount != 3_000 || told.Medium != chipID {
		t.Errorf("%+v", told)
	}
	wantBalance(t, b, c, 7_000, 0)
	wantBalance(t, b, m, 3_000, 0)

	pay := wantCode(t, commit(t, b, Op{Kind: kessai.PursePurchase, Names: named1(3), Medium: chipID, Shop: shop, Amount: 450, Purse: tells(m, 3, 3_000, load.ID)}), kessai.Approved)
	wantBalance(t, b, m, 3_000, 450)
	// The next contact, whatever it is, ends it: here the medium was not written.
	unload := wantCode(t, commit(t, b, Op{Kind: kessai.Unload, Names: named1(4), Medium: chipID, Customer: c, Amount: 1_000, Purse: tells(m, 4, 3_000, load.ID)}), kessai.Approved)
	if was, _ := b.Find(Ref{ID: pay.ID}); was.Status != Released || was.Ended != unload.ID-1 || unload.Before != load.ID {
		t.Errorf("%+v, then %+v", was, unload)
	}
	withoutCode := commit(t, b, Op{Kind: kessai.Purchase, Verdict: kessai.StolenCard, Names: named1(5), Medium: chipID, Customer: c, Shop: shop, Amount: 1, Purse: tells(m, 5, 2_000, unload.ID)})
	wantCode(t, withoutCode, kessai.StolenCard) // declined, and settled nevertheless
	wantBalance(t, b, c, 8_000, 0)
	wantBalance(t, b, m, 2_000, 0)
	if s := b.Stats(); s.Float[kessai.JPY] != 2_000 || s.HoldsOpen != 0 || s.Purses.Written != 2 || s.Purses.Unwritten != 1 {
		t.Errorf("%+v", s)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := Verify(dir, nil)
	if err != nil || r.Float[kessai.JPY] != 2_000 {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestV7_FloatOutlivesSnapshots: what is followed of the float is the same from a
// snapshot and from the blocks.
func TestV7_FloatOutlivesSnapshots(t *testing.T) {
	dir := t.TempDir()
	b, _, c, m := purseBook(t, Options{Dir: dir})
	load := commit(t, b, Op{Kind: kessai.Load, Names: named1(1), Medium: chipID, Customer: c, Amount: 3_000, Purse: tells(m, 1, 0, 0)}).Tx
	commit(t, b, Op{Kind: kessai.PurseInquiry, Names: named1(2), Medium: chipID, Purse: tells(m, 2, 3_000, load.ID)})
	b = reopen(t, b)
	if f := b.Stats().Float[kessai.JPY]; f != 3_000 {
		t.Errorf("from a snapshot %d", f)
	}
	wantCode(t, commit(t, b, Op{Kind: kessai.PurseInquiry, Names: named1(3), Medium: chipID, Purse: tells(m, 2, 3_000, load.ID)}), kessai.SecurityViolation)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	withoutSnapshot(t, dir)
	b = openTest(t, Options{Dir: dir})
	if f := b.Stats().Float[kessai.JPY]; f != 3_000 {
		t.Errorf("from the blocks %d", f)
	}
	wantCode(t, commit(t, b, Op{Kind: kessai.PurseInquiry, Names: named1(4), Medium: chipID, Purse: tells(m, 2, 3_000, load.ID)}), kessai.SecurityViolation)
}

func TestEMoneyAccountsAreForMediaOnly(t *testing.T) {
	b, shop, c, m := purseBook(t, Options{Dir: t.TempDir()})
	for name, spec := range map[string]AccountSpec{
		"a customer's":   {Name: PurseName(kessai.MediumID{2}), Kind: CustomerAccount, Currency: kessai.JPY},
		"of a customer":  {Name: "customer/x", Kind: EMoneyAccount, Currency: kessai.JPY},
		"with money":     {Name: PurseName(kessai.MediumID{2}), Kind: EMoneyAccount, Currency: kessai.JPY, Opening: 1},
		"with overdraft": {Name: PurseName(kessai.MediumID{2}), Kind: EMoneyAccount, Currency: kessai.JPY, Overdraft: 1},
		"of no medium":   {Name: "purse/x", Kind: EMoneyAccount, Currency: kessai.JPY},
		"in EUR":         {Name: PurseName(chipID), Kind: EMoneyAccount, Currency: kessai.EUR},
	} {
		if _, err := b.OpenAccounts([]AccountSpec{spec}); err == nil {
			t.Errorf("an e-money account %s was opened", name)
		}
	}
	// Nor does anything else touch them.
	for _, op := range []Op{
		{Kind: kessai.Purchase, Customer: m, Shop: shop, Amount: 1},
		{Kind: kessai.PreAuthorization, Customer: m, Shop: shop, Amount: 1},
		{Kind: kessai.Refund, Customer: m, Shop: shop, Amount: 1},
		{Kind: kessai.Purchase, Customer: c, Shop: m, Amount: 1},
		{Kind: kessai.Load, Customer: c, Amount: 1, Purse: tells(c, 1, 10_000, 0)},
	} {
		op.Names = named1(uint64(op.Kind) + 100*uint64(op.Customer))
		if out := commit(t, b, op); out.Tx.Code.IsApproval() {
			t.Errorf("a %s of account %d to %d is approved", op.Kind, op.Customer, op.Shop)
		}
	}
}

func TestEncodingKeepsEMoney(t *testing.T) {
	tx := fullTx()
	tx.Kind, tx.Purse, tx.Counter, tx.Before = kessai.Load, 7, 1<<32-1, 1<<40-1
	d := decoder{b: appendRow(nil, &tx)}
	if got := d.row(); d.bad || len(d.b) > 0 || got != tx {
		t.Error(cmp.Diff(tx, got))
	}
	plain := fullTx()
	size := len(appendRow(nil, &plain))
	plain.Purse, plain.Counter = 7, 9
	if got := len(appendRow(nil, &plain)); got != size {
		t.Errorf("a row without e-money takes %d bytes for it", got-size)
	}
	row := accountRow{balance: 5, packed: packAccount(&AccountSpec{Kind: EMoneyAccount, Currency: kessai.JPY})}
	row.setCounter(1<<32 - 1)
	row.setNewest(1<<40 - 1)
	d = decoder{b: appendAccountRow(nil, &row)}
	if got := d.accountRow(); got != row || got.counter() != 1<<32-1 || got.newest() != 1<<40-1 || got.kind() != EMoneyAccount || got.overdraft() != 0 || got.available() != 5 {
		t.Errorf("%+v", got)
	}
}

// TestReplayRefusesEMoneyThatCannotBe: blocks that say what no medium can have
// done are damage.
func TestReplayRefusesEMoneyThatCannotBe(t *testing.T) {
	fresh := func() *state {
		s := newState()
		for _, spec := range []AccountSpec{
			{Name: "clearing/JPY", Kind: ClearingAccount, Currency: kessai.JPY},
			{Name: "customer/1", Kind: CustomerAccount, Currency: kessai.JPY, Opening: 500},
			{Name: "merchant/1", Kind: MerchantAccount, Currency: kessai.JPY},
			{Name: PurseName(chipID), Kind: EMoneyAccount, Currency: kessai.JPY},
		} {
			if err := s.openAccount(spec); err != nil {
				t.Fatal(err)
			}
		}
		return s
	}
	load := Tx{ID: 1, Kind: kessai.Load, Customer: 2, Purse: 4, Currency: kessai.JPY, Requested: 500, Amount: 500, Available: 500, Counter: 1}
	told := Tx{ID: 2, Kind: kessai.PurseSettlement, Purse: 4, Currency: kessai.JPY, Original: 1, Requested: 500, Amount: 500, Available: 500, Counter: 2}
	for name, change := range map[string]func(a, b *Tx){
		"":                             func(*Tx, *Tx) {},
		"a load of more than there is": func(a, b *Tx) { a.Amount = 501 },
		"a load of nothing":            func(a, b *Tx) { a.Amount = 0 },
		"a load onto a customer":       func(a, b *Tx) { a.Purse = 2 },
		"a load after one that is not": func(a, b *Tx) { a.Before = 9 },
		"a purchase of nothing there":  func(a, b *Tx) { a.Kind, a.Shop = kessai.PursePurchase, 3 },
		"a counter that goes back":     func(a, b *Tx) { b.Counter = 0 },
		"two pending at once":          func(a, b *Tx) { *b = load; b.ID, b.Counter, b.Amount, b.Before = 2, 2, 0, 1 },
		"a part of a load":             func(a, b *Tx) { b.Amount = 400 },
		"a settlement of nothing":      func(a, b *Tx) { b.Original = 7 },
		"a settlement on another":      func(a, b *Tx) { b.Purse = 3 },
	} {
		s := fresh()
		a, b := load, told
		change(&a, &b)
		err := s.apply(&a)
		if err == nil {
			err = s.apply(&b)
		}
		if (err == nil) != (name == "") {
			t.Errorf("%q: %v", name, err)
		}
	}
	s := fresh()
	if err := s.apply(&load); err != nil {
		t.Fatal(err)
	}
	s.time = 1 << 62
	if id, _ := s.due(s.time); id != 0 || s.expire(1) == nil {
		t.Error("what is pending on a medium expires")
	}
	release := Tx{ID: 2, Kind: kessai.Release, Original: 1}
	if err := s.apply(&release); err == nil || !strings.Contains(err.Error(), "no open hold") {
		t.Errorf("what is pending on a medium is released as a hold is: %v", err)
	}
	if err := errors.Join(s.keep(4, 1), s.setOverdraft(4, 1)); err == nil {
		t.Error("something is held of a medium's account")
	}
}
