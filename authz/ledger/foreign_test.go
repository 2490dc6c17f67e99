package ledger

import (
	"testing"
	"time"

	"kessai"
)

// euros opens two accounts in euros.
func euros(t *testing.T, b *Book, balances ...int64) []AccountID {
	t.Helper()
	var specs []AccountSpec
	for i, v := range balances {
		specs = append(specs, AccountSpec{Name: "customer/euro" + string(rune('0'+i)), Kind: CustomerAccount, Currency: kessai.EUR, Opening: v})
	}
	return must(b.OpenAccounts(specs))
}

func wantChanged(t *testing.T, b *Book, c kessai.Currency, want int64) {
	t.Helper()
	if a, _ := b.AccountByName(exchangeName(c)); a.Balance != want {
		t.Fatalf("exchange/%v has %d, want %d", c, a.Balance, want)
	}
}

// TestP13_ForeignPurchase: the customer pays in their currency, the shop gets its
// own, and what is given back in parts adds up.
func TestP13_ForeignPurchase(t *testing.T) {
	b := openTest(t, Options{Dir: t.TempDir()})
	shop, _ := people(t, b)
	c := euros(t, b, 1_000, 1)
	before := b.Stats().Accounts
	op := asking(1, c[0], shop, 100)
	op.Foreign = Foreign{kessai.EUR, 62}
	sale := wantCode(t, commit(t, b, op), kessai.Approved)
	if n := b.Stats().Accounts - before; n != 2 {
		t.Errorf("%d accounts were opened, want exchange/EUR and exchange/JPY", n)
	}
	wantBalance(t, b, c[0], 1_000, 62)
	b = reopen(t, b)
	yes := wantCode(t, commit(t, b, ofCustomer(kessai.Approval, sale.ID, c[0])), kessai.Approved)
	if yes.Foreign != op.Foreign || yes.Amount != 100 || sale.Foreign != op.Foreign {
		t.Errorf("the approval: %+v", yes)
	}
	wantBalance(t, b, c[0], 938, 0)
	wantBalance(t, b, shop, 100, 0)
	wantChanged(t, b, kessai.EUR, 62)
	wantChanged(t, b, kessai.JPY, -100)
	for i, step := range []struct{ amount, theirs int64 }{{33, 20}, {33, 21}, {1, 1}, {3, 1}} { // 20.46, 40.92, 41.54, 43.4
		tx := wantCode(t, commit(t, b, Op{Kind: kessai.Refund, Original: Ref{ID: sale.ID}, Amount: step.amount}), kessai.Approved)
		if want := (Foreign{kessai.EUR, step.theirs}); tx.Foreign != want {
			t.Errorf("refund %d gave %v back, want %v", i+1, tx.Foreign, want)
		}
	}
	wantBalance(t, b, c[0], 981, 0)
	last, _ := b.Find(Ref{ID: sale.ID})
	refund := kessai.TxID(b.Stats().Transactions) // of 3, which gave 1 back
	if tx := wantCode(t, commit(t, b, Op{Kind: kessai.Reversal, Original: Ref{ID: refund}}), kessai.Approved); tx.Foreign != (Foreign{kessai.EUR, 1}) || last.Refunded != 70 {
		t.Errorf("its reversal took %v; %+v", tx.Foreign, last)
	}
	if tx := wantCode(t, commit(t, b, Op{Kind: kessai.Reversal, Original: Ref{ID: sale.ID}}), kessai.Approved); tx.Foreign != (Foreign{kessai.EUR, 20}) {
		t.Errorf("the rest was %v", tx.Foreign)
	}
	wantBalance(t, b, c[0], 1_000, 0)
	wantChanged(t, b, kessai.EUR, 0)
	wantChanged(t, b, kessai.JPY, 0)

	poor := asking(2, c[1], shop, 100)
	poor.Foreign = Foreign{kessai.EUR, 2}
	wantCode(t, commit(t, b, poor), kessai.InsufficientFunds)
}

// TestP13_ForeignHold: a machine takes a part of what is held.
func TestP13_ForeignHold(t *testing.T) {
	b := openTest(t, Options{Dir: t.TempDir()})
	shop, yen := people(t, b, 1_000)
	c := euros(t, b, 1_000)
	op := asking(1, 0, shop, 300)
	op.Kind, op.Asks, op.HoldFor = kessai.PreAuthorization, kessai.AsksClaim, time.Hour
	sale := wantCode(t, commit(t, b, op), kessai.Approved)
	claim := ofCustomer(kessai.Claim, sale.ID, c[0])
	wantCode(t, commit(t, b, claim), kessai.InvalidTransaction) // their account has another currency
	claim.Foreign = Foreign{kessai.USD, 2}
	wantCode(t, commit(t, b, claim), kessai.InvalidTransaction)
	claim.Foreign, claim.Customer = Foreign{kessai.JPY, 300}, yen[0]
	wantCode(t, commit(t, b, claim), kessai.InvalidTransaction)
	claim.Foreign, claim.Customer = Foreign{kessai.EUR, 0}, c[0]
	wantCode(t, commit(t, b, claim), kessai.InvalidAmount)
	wantStanding(t, b, sale.ID, Waiting, kessai.RequestInProgress)
	claim.Foreign = Foreign{kessai.EUR, 200}
	wantCode(t, commit(t, b, claim), kessai.Approved)
	wantBalance(t, b, c[0], 1_000, 200)
	wantCode(t, commit(t, b, ofCustomer(kessai.Approval, sale.ID, c[0])), kessai.Approved)
	wantCode(t, commit(t, b, Op{Kind: kessai.Reversal, Original: Ref{ID: sale.ID}, Amount: 250}), kessai.Approved) // 250 may stand
	wantBalance(t, b, c[0], 1_000, 167)
	b = reopen(t, b)
	done := wantCode(t, commit(t, b, Op{Kind: kessai.Completion, Original: Ref{ID: sale.ID}, Amount: 100}), kessai.Approved)
	if done.Foreign != (Foreign{kessai.EUR, 67}) {
		t.Errorf("the machine took %v", done.Foreign)
	}
	wantBalance(t, b, c[0], 933, 0)
	wantBalance(t, b, shop, 100, 0)
	for _, step := range []struct{ amount, theirs int64 }{{50, 34}, {50, 33}} {
		tx := wantCode(t, commit(t, b, Op{Kind: kessai.Refund, Original: Ref{ID: sale.ID}, Amount: step.amount}), kessai.Approved)
		if tx.Foreign != (Foreign{kessai.EUR, step.theirs}) || tx.Original != done.ID {
			t.Errorf("%+v", tx)
		}
	}
	wantBalance(t, b, c[0], 1_000, 0)
	wantChanged(t, b, kessai.EUR, 0)

	// A claim that is not covered ends the payment, and the customer sees it.
	op = asking(2, 0, shop, 300)
	op.Asks = kessai.AsksClaim
	sale = wantCode(t, commit(t, b, op), kessai.Approved)
	claim = ofCustomer(kessai.Claim, sale.ID, c[0])
	claim.Foreign = Foreign{kessai.EUR, 1_001}
	wantCode(t, commit(t, b, claim), kessai.InsufficientFunds)
	now := wantStanding(t, b, sale.ID, Cancelled, kessai.InsufficientFunds)
	if list, err := b.List(Query{Customer: c[0], Limit: 1}); err != nil || len(list) != 1 || list[0] != now {
		t.Errorf("%+v are listed, %v", list, err)
	}
	wantCode(t, commit(t, b, claim), kessai.InvalidTransaction)
	wantBalance(t, b, c[0], 1_000, 0)
}

// TestP13_RoundedToNothing: a part that is worth less than half of the customer's
// minor unit moves only the shop's side.
func TestP13_RoundedToNothing(t *testing.T) {
	b := openTest(t, Options{Dir: t.TempDir()})
	shop, _ := people(t, b)
	c := euros(t, b, 10)
	op := asking(1, c[0], shop, 900)
	op.Foreign = Foreign{kessai.EUR, 1}
	sale := wantCode(t, commit(t, b, op), kessai.Approved)
	wantCode(t, commit(t, b, ofCustomer(kessai.Approval, sale.ID, c[0])), kessai.Approved)
	for _, step := range []struct{ amount, theirs int64 }{{449, 0}, {1, 1}, {450, 0}} {
		tx := wantCode(t, commit(t, b, Op{Kind: kessai.Refund, Original: Ref{ID: sale.ID}, Amount: step.amount}), kessai.Approved)
		if tx.Foreign != (Foreign{kessai.EUR, step.theirs}) {
			t.Errorf("%d gave back %v", step.amount, tx.Foreign)
		}
	}
	wantBalance(t, b, c[0], 10, 0)
	wantBalance(t, b, shop, 0, 0)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if r, err := Verify(b.o.Dir, nil); err != nil || len(r.Sums) != 2 {
		t.Errorf("%+v, %v", r, err)
	}
}
