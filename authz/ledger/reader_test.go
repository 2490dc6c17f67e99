package ledger

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"kessai"
)

var (
	card      = kessai.MediumID{7, 1}
	otherCard = kessai.MediumID{7, 2}
)

// askingReader makes a purchase that waits for a card.
func askingReader(n uint64, customer, shop AccountID, amount int64) Op {
	op := asking(n, customer, shop, amount)
	op.Asks = kessai.AsksReader
	return op
}

// shortDays opens a book whose days take ten minutes: in a bubble much time takes
// long.
func shortDays(t *testing.T, dir string) *Book {
	t.Helper()
	return openTest(t, Options{Dir: dir, Resident: 1, BusinessDay: func(t time.Time) int32 { return int32(t.Unix() / 600) }})
}

func reopenShortDays(t *testing.T, b *Book) *Book {
	t.Helper()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	return shortDays(t, b.o.Dir)
}

func byCard(id kessai.TxID, customer AccountID, factor kessai.Factor, verdict kessai.ResponseCode) Op {
	return Op{Kind: kessai.Approval, Original: Ref{ID: id}, Customer: customer, Factor: factor, Medium: card, Verdict: verdict}
}

func wantPINs(t testing.TB, b *Book, m kessai.MediumID, want int) {
	t.Helper()
	if got := b.PINTries(m); got != want {
		t.Fatalf("%d wrong PINs count against card %v, want %d", got, m, want)
	}
}

// TestR14_ACardAgrees: a payment that waits for a card is held for its customer, is
// settled by a card, has that card from then on, and shows it in no repeat.
func TestR14_ACardAgrees(t *testing.T) {
	b := openTest(t, Options{Dir: t.TempDir()})
	shop, c := people(t, b, 10_000, 10_000)
	for n, factor := range []kessai.Factor{kessai.FactorCard, kessai.FactorPIN} {
		op := askingReader(uint64(n), c[0], shop, 600)
		sale := wantCode(t, commit(t, b, op), kessai.Approved)
		wantStanding(t, b, sale.ID, Waiting, kessai.RequestInProgress)
		wantBalance(t, b, c[0], 10_000-int64(n)*600, 600)
		b = reopen(t, b)
		wantCode(t, commit(t, b, byCard(sale.ID, c[1], factor, 0)), kessai.NoSuchRecord)
		yes := wantCode(t, commit(t, b, byCard(sale.ID, c[0], factor, 0)), kessai.Approved)
		now := wantStanding(t, b, sale.ID, Posted, kessai.Approved)
		if now.Medium != card || now.Last4 != (kessai.Last4{}) || now.Agreed != yes.ID || now.AsDecided() != sale || yes.Factor != factor || yes.Medium != card {
			t.Errorf("it became %+v by %+v", now, yes)
		}
		b = reopen(t, b)
		if again, _ := b.Find(Ref{ID: sale.ID}); again != now {
			t.Errorf("reopened, it is %+v; it was %+v", again, now)
		}
		if again := commit(t, b, op); !again.Replayed || again.Tx != sale {
			t.Errorf("a repeat gets %+v", again)
		}
		wantCode(t, commit(t, b, byCard(sale.ID, c[0], factor, 0)), kessai.InvalidTransaction)
	}
	wantBalance(t, b, c[0], 8_800, 0)
	wantBalance(t, b, shop, 1_200, 0)

	held := askingReader(9, c[0], shop, 500)
	held.Kind, held.HoldFor = kessai.PreAuthorization, time.Hour
	sale := wantCode(t, commit(t, b, held), kessai.Approved)
	wantCode(t, commit(t, b, byCard(sale.ID, c[0], kessai.FactorPIN, 0)), kessai.Approved)
	wantStanding(t, b, sale.ID, Pending, kessai.Approved)
	done := wantCode(t, commit(t, b, Op{Kind: kessai.Completion, Original: Ref{ID: sale.ID}, Amount: 200}), kessai.Approved)
	if done.Medium != card {
		t.Errorf("the completion is of card %v", done.Medium)
	}
	wantCode(t, commit(t, b, Op{Kind: kessai.Refund, Original: Ref{ID: done.ID}, Amount: 50}), kessai.Approved)
	wantBalance(t, b, c[0], 8_650, 0)
}

// TestR13_WhoeverProvesAnotherWay: a reader's payment takes cards, and no other
// payment does. What is wrong counts nonetheless, and right and wrong ones get the
// same answer.
func TestR13_WhoeverProvesAnotherWay(t *testing.T) {
	b := openTest(t, Options{Dir: t.TempDir()})
	shop, c := people(t, b, 10_000)
	reader := wantCode(t, commit(t, b, askingReader(1, c[0], shop, 600)), kessai.Approved)
	phone := wantCode(t, commit(t, b, asking(2, c[0], shop, 600)), kessai.Approved)
	for _, verdict := range []kessai.ResponseCode{kessai.Approved, kessai.WrongProof} {
		for _, factor := range []kessai.Factor{kessai.FactorPassword, kessai.FactorPasskey} {
			op := ofCustomer(kessai.Approval, reader.ID, c[0])
			op.Factor, op.Verdict = factor, verdict
			wantCode(t, commit(t, b, op), kessai.InvalidTransaction)
		}
		wantCode(t, commit(t, b, byCard(phone.ID, c[0], kessai.FactorPIN, verdict)), kessai.InvalidTransaction)
		wantCode(t, commit(t, b, byCard(99, c[0], kessai.FactorPIN, verdict)), kessai.NoSuchRecord)
	}
	wantCode(t, commit(t, b, byCard(phone.ID, c[0], kessai.FactorCard, 0)), kessai.InvalidTransaction)
	wantStanding(t, b, phone.ID, Waiting, kessai.RequestInProgress)
	if now := wantStanding(t, b, reader.ID, Waiting, kessai.RequestInProgress); now != reader {
		t.Errorf("%+v; it was %+v", now, reader)
	}
	wantPINs(t, b, card, 2)
	if sales, signIns := b.Tries(c[0]); sales != 1 || signIns != 0 {
		t.Errorf("%d and %d wrong passwords count, want 1 and 0", sales, signIns)
	}
	b = reopen(t, b)
	wantPINs(t, b, card, 2)
}

// TestR13_WrongPINsLockTheCard: a wrong PIN ends its payment. The third locks the
// card, whatever day it is, until it is unlocked; a right one before that sets the
// count to zero.
func TestR13_WrongPINsLockTheCard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := shortDays(t, t.TempDir())
		shop, c := people(t, b, 10_000)
		n := uint64(0)
		pin := func(factor kessai.Factor, verdict, code kessai.ResponseCode, status Status, told kessai.ResponseCode) {
			t.Helper()
			n++
			op := askingReader(n, c[0], shop, 10)
			op.WaitFor = time.Minute
			sale := bubbled(t, b, op)
			answer := bubbled(t, b, byCard(sale.ID, c[0], factor, verdict))
			if answer.Code != code {
				t.Fatalf("sale %d: the PIN is answered with %v, want %v", n, answer.Code, code)
			}
			if now := wantStanding(t, b, sale.ID, status, told); status == Cancelled && now.Ended != answer.ID {
				t.Fatalf("%+v was not ended by %d", now, answer.ID)
			}
		}
		wrong := func(told kessai.ResponseCode) {
			t.Helper()
			pin(kessai.FactorPIN, kessai.WrongProof, kessai.WrongProof, Cancelled, told)
		}
		right := func() { t.Helper(); pin(kessai.FactorPIN, 0, kessai.Approved, Posted, kessai.Approved) }
		wrong(kessai.WrongProof)
		wrong(kessai.WrongProof)
		right()
		wantPINs(t, b, card, 0)
		wrong(kessai.WrongProof)
		time.Sleep(20 * time.Minute)
		wrong(kessai.WrongProof)
		pin(kessai.FactorCard, 0, kessai.Approved, Posted, kessai.Approved)
		wantPINs(t, b, card, 2)
		time.Sleep(20 * time.Minute)
		wrong(kessai.TriesExceeded)
		for range 3 {
			for _, verdict := range []kessai.ResponseCode{kessai.Approved, kessai.WrongProof} {
				pin(kessai.FactorPIN, verdict, kessai.TriesExceeded, Cancelled, kessai.TriesExceeded)
			}
			pin(kessai.FactorCard, 0, kessai.TriesExceeded, Cancelled, kessai.TriesExceeded)
			wantPINs(t, b, card, 3)
			time.Sleep(20 * time.Minute)
			b = reopenShortDays(t, b)
		}
		if tx := bubbled(t, b, Op{Kind: kessai.Unlock, Medium: otherCard}); tx.Code != kessai.Approved || tx.Status != Noted {
			t.Errorf("%+v", tx)
		}
		bubbled(t, b, Op{Kind: kessai.Unlock, Customer: c[0]})
		wantPINs(t, b, card, 3)
		bubbled(t, b, Op{Kind: kessai.Unlock, Medium: card})
		wantPINs(t, b, card, 0)
		right()
		if sales, signIns := b.Tries(c[0]); sales+signIns != 0 {
			t.Errorf("%d and %d wrong passwords count", sales, signIns)
		}
		wantBalance(t, b, c[0], 10_000-3*10, 0)
	})
}

// TestR13_PINTriesAreExact has somebody guess at many payments at once, while pages
// and heads are saved: what is counted is exact, and stays so whatever becomes of the
// gateway.
func TestR13_PINTriesAreExact(t *testing.T) {
	b := openTest(t, Options{Dir: t.TempDir(), Resident: 1, SnapshotEvery: 1 << 30})
	shop, c := people(t, b, 10_000_000)
	n := uint64(0)
	guess := func(m kessai.MediumID, times, want int) {
		t.Helper()
		codes := make([]kessai.ResponseCode, times)
		tasks := make([]Task, times)
		for i := range tasks {
			n++
			tasks[i].Op = askingReader(n, c[0], shop, 10)
		}
		if err := b.CommitAll(t.Context(), tasks); err != nil {
			t.Fatal(err)
		}
		var running sync.WaitGroup
		if n%20 < uint64(times) {
			running.Go(func() {
				for range 3 {
					if err := errors.Join(b.save(true), b.save(false)); err != nil {
						t.Error(err)
					}
				}
			})
		}
		for i := range codes {
			running.Go(func() {
				op := byCard(tasks[i].Outcome.Tx.ID, c[0], kessai.FactorPIN, kessai.WrongProof)
				op.Medium, op.PINTries = m, 5
				codes[i] = commit(t, b, op).Tx.Code
			})
		}
		running.Wait()
		slices.Sort(codes)
		if i, _ := slices.BinarySearch(codes, kessai.TriesExceeded); i != want {
			t.Fatalf("%d of %d guesses were tried, want %d: %v", i, times, want, codes)
		}
	}
	guess(card, 60, 5)
	for i := range 3 * pageSize { // many cards, and pages that leave memory
		guess(kessai.MediumID{byte(i), byte(i >> 8), 9}, 1, 1)
	}
	same := func(what string, b *Book) {
		t.Helper()
		wantPINs(t, b, card, 5)
		wantPINs(t, b, otherCard, 0)
		if got := b.state.derived().PINs; len(got) != 3*pageSize+1 {
			t.Fatalf("%s: %d cards have wrong PINs, want %d", what, len(got), 3*pageSize+1)
		}
	}
	same("at once", b)
	if err := errors.Join(b.save(true), b.forget(time.Now().Add(time.Hour))); err != nil {
		t.Fatal(err)
	}
	same("after a kill", openTest(t, Options{Dir: copyBook(t, b.o.Dir), Resident: 1}))
	guess(otherCard, 3, 3)
	bubbled(t, b, Op{Kind: kessai.Unlock, Medium: otherCard}) // only the blocks know
	same("after a kill behind a snapshot", openTest(t, Options{Dir: copyBook(t, b.o.Dir), Resident: 1}))
	b = reopen(t, b)
	same("from pages, of which most are forgotten", b)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	withoutSnapshot(t, b.o.Dir)
	b = openTest(t, Options{Dir: b.o.Dir})
	same("from blocks", b)
}

// TestR14_LimitsOfTheCard: what a card agrees to counts on the day on which it does,
// with what it paid otherwise. What its limits refuse ends, and what is reversed on
// the same day is given back.
func TestR14_LimitsOfTheCard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := shortDays(t, t.TempDir())
		shop, c := people(t, b, 100_000)
		n := uint64(0)
		limit := Limit{MaxTotal: 1_000, MaxCount: 3}
		wait := func(amount int64) Tx {
			n++
			return bubbled(t, b, askingReader(n, c[0], shop, amount))
		}
		agree := func(sale Tx, code kessai.ResponseCode) {
			t.Helper()
			op := byCard(sale.ID, c[0], kessai.FactorPIN, 0)
			op.MediumLimit = limit
			if tx := bubbled(t, b, op); tx.Code != code {
				t.Fatalf("%d: %v, want %v", sale.ID, tx.Code, code)
			}
			status := Posted
			if code != kessai.Approved {
				status = Cancelled
			}
			wantStanding(t, b, sale.ID, status, code)
		}
		undo := func(sale Tx, stands int64) {
			t.Helper()
			n++
			if tx := bubbled(t, b, Op{Kind: kessai.Reversal, Names: named1(n), Original: Ref{ID: sale.ID}, Amount: stands}); tx.Code != kessai.Approved {
				t.Fatalf("%+v", tx)
			}
		}
		n++
		swiped := *purchaseOp(n, c[0], shop, 400)
		swiped.Medium, swiped.MediumLimit = card, limit
		bubbled(t, b, swiped)
		first := wait(600)
		agree(wait(601), kessai.AmountLimit)
		agree(first, kessai.Approved)
		agree(wait(1), kessai.AmountLimit)
		undo(first, 200)
		b = reopenShortDays(t, b)
		agree(wait(401), kessai.AmountLimit)
		second := wait(100)
		agree(second, kessai.Approved)
		agree(wait(1), kessai.CountLimit)
		undo(first, 0)
		undo(second, 0)
		b = reopenShortDays(t, b)
		agree(wait(601), kessai.AmountLimit)

		time.Sleep(10*time.Minute - time.Duration(time.Now().UnixNano())%(10*time.Minute) - time.Second)
		first, second = wait(1_000), wait(1_000)
		time.Sleep(2 * time.Second) // the next day
		agree(first, kessai.Approved)
		b = reopenShortDays(t, b)
		agree(second, kessai.AmountLimit)
		undo(first, 0)
		b = reopenShortDays(t, b)
		agree(wait(1_000), kessai.Approved)
	})
}

// TestR14_LimitsInTheCardsCurrency: a card's limits are in its customer's currency,
// whatever the shop's is.
func TestR14_LimitsInTheCardsCurrency(t *testing.T) {
	o := Options{Dir: t.TempDir(), BusinessDay: func(time.Time) int32 { return 1 }}
	b := openTest(t, o)
	shop, _ := people(t, b)
	abroad, err := b.OpenAccounts([]AccountSpec{{Name: "customer/euros", Kind: CustomerAccount, Currency: kessai.EUR, Opening: 100_000}})
	if err != nil {
		t.Fatal(err)
	}
	n := uint64(0)
	pay := func(yen, cents int64, code kessai.ResponseCode) Tx {
		t.Helper()
		n++
		op := askingReader(n, abroad[0], shop, yen)
		op.Foreign = Foreign{kessai.EUR, cents}
		sale := wantCode(t, commit(t, b, op), kessai.Approved)
		yes := byCard(sale.ID, abroad[0], kessai.FactorPIN, 0)
		yes.MediumLimit = Limit{MaxTotal: 1_000}
		wantCode(t, commit(t, b, yes), code)
		return sale
	}
	sale := pay(90_000, 600, kessai.Approved)
	pay(1, 401, kessai.AmountLimit)
	pay(60_000, 400, kessai.Approved)
	pay(1, 1, kessai.AmountLimit)
	wantCode(t, commit(t, b, Op{Kind: kessai.Reversal, Original: Ref{ID: sale.ID}, Amount: 30_000}), kessai.Approved)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	b = openTest(t, o)
	pay(1, 401, kessai.AmountLimit)
	pay(60_000, 399, kessai.Approved)
	wantCode(t, commit(t, b, Op{Kind: kessai.Reversal, Original: Ref{ID: sale.ID}}), kessai.Approved)
	pay(1, 202, kessai.AmountLimit)
	pay(1, 201, kessai.Approved)
}

// TestR_WhatMakesNoSenseIsRefused: no caller should ask for these.
func TestR_WhatMakesNoSenseIsRefused(t *testing.T) {
	b := openTest(t, Options{Dir: t.TempDir()})
	shop, c := people(t, b, 1_000)
	sale := func(change func(*Op)) Op {
		op := askingReader(1, c[0], shop, 1)
		change(&op)
		return op
	}
	approval := func(change func(*Op)) Op {
		op := byCard(1, c[0], kessai.FactorPIN, 0)
		change(&op)
		return op
	}
	for what, op := range map[string]Op{
		"a sale with a card":          sale(func(op *Op) { op.Medium = card }),
		"a sale with its digits":      sale(func(op *Op) { op.Last4 = kessai.Last4{'4'} }),
		"a sale with a card's limits": sale(func(op *Op) { op.MediumLimit.MaxCount = 1 }),
		"nobody to ask":               sale(func(op *Op) { op.Customer = 0 }),
		"no card":                     approval(func(op *Op) { op.Medium = kessai.MediumID{} }),
		"a wrong PIN of no card":      approval(func(op *Op) { op.Medium, op.Verdict = kessai.MediumID{}, kessai.WrongProof }),
		"a wrong PIN, and none":       approval(func(op *Op) { op.Factor, op.Verdict = kessai.FactorCard, kessai.WrongProof }),
		"a thousand PINs":             approval(func(op *Op) { op.PINTries = 1_000 }),
		"a sign-in with a card":       approval(func(op *Op) { op.Kind = kessai.SignIn }),
		"unlocked card and customer":  {Kind: kessai.Unlock, Customer: c[0], Medium: card},
		"nothing unlocked":            {Kind: kessai.Unlock},
	} {
		if _, err := b.Commit(t.Context(), &op); !errors.Is(err, errOp) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if n := b.Stats().Transactions; n != 0 {
		t.Errorf("%d were recorded", n)
	}
	// A decline is recorded as it was asked, with the card that came with it.
	op := sale(func(op *Op) { op.Medium, op.Verdict = card, kessai.InvalidTransaction })
	if tx := wantCode(t, commit(t, b, op), kessai.InvalidTransaction); tx.Medium != card {
		t.Errorf("%+v", tx)
	}
	if again := commit(t, b, op); !again.Replayed || again.Tx.Medium != card {
		t.Errorf("%+v", again)
	}
}

// TestR_TheGatewayEnds: the gateway ends a payment with whatever its reason is.
func TestR_TheGatewayEnds(t *testing.T) {
	b := openTest(t, Options{Dir: t.TempDir()})
	shop, c := people(t, b, 1_000)
	for n, code := range []kessai.ResponseCode{
		kessai.SecurityViolation, kessai.InvalidCardNumber, kessai.ExpiredCard, kessai.LostCard, kessai.StolenCard, kessai.PickUpCard,
		kessai.NotPermittedToCard, kessai.AmountLimit, kessai.CountLimit, kessai.TooLate, kessai.TriesExceeded, kessai.SystemMalfunction,
	} {
		sale := wantCode(t, commit(t, b, askingReader(uint64(n), c[0], shop, 1_000)), kessai.Approved)
		wantCode(t, commit(t, b, Op{Kind: kessai.Cancellation, Original: Ref{ID: sale.ID}, Ends: code}), kessai.Approved)
		wantStanding(t, b, sale.ID, Cancelled, code)
		wantCode(t, commit(t, b, byCard(sale.ID, c[0], kessai.FactorPIN, 0)), kessai.InvalidTransaction)
	}
	wantBalance(t, b, c[0], 1_000, 0)
}
