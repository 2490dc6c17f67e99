package ledger

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"kessai"
)

// asking makes a purchase that asks its customer.
func asking(n uint64, customer, shop AccountID, amount int64) Op {
	op := *purchaseOp(n, customer, shop, amount)
	op.Asks, op.WaitFor = kessai.AsksPhone, time.Hour
	return op
}

func wantStanding(t testing.TB, b *Book, id kessai.TxID, status Status, code kessai.ResponseCode) Tx {
	t.Helper()
	tx, ok := b.Find(Ref{ID: id})
	if !ok || tx.Status != status || tx.Standing() != code {
		t.Fatalf("transaction %d is %v and stands at %v, want %v and %v", id, tx.Status, tx.Standing(), status, code)
	}
	return tx
}

func ofCustomer(kind kessai.Kind, id kessai.TxID, customer AccountID) Op {
	return Op{Kind: kind, Original: Ref{ID: id}, Customer: customer, Factor: kessai.FactorPassword}
}

// TestP6_HeldUntilTheCustomerAgrees: what is checked when the payment comes is
// there when the customer agrees, and a proof works once.
func TestP6_HeldUntilTheCustomerAgrees(t *testing.T) {
	b := openTest(t, Options{Dir: t.TempDir()})
	shop, c := people(t, b, 1_000, 1_000)
	op := asking(1, c[0], shop, 600)
	sale := wantCode(t, commit(t, b, op), kessai.Approved)
	wantStanding(t, b, sale.ID, Waiting, kessai.RequestInProgress)
	wantBalance(t, b, c[0], 1_000, 600)
	wantCode(t, commit(t, b, *purchaseOp(2, c[0], shop, 401)), kessai.InsufficientFunds)
	for _, kind := range []kessai.Kind{kessai.Completion, kessai.Increment, kessai.Release, kessai.Refund} {
		wantCode(t, commit(t, b, Op{Kind: kind, Original: Ref{ID: sale.ID}, Amount: 1}), kessai.InvalidTransaction)
	}
	if again := commit(t, b, op); !again.Replayed || again.Tx != sale {
		t.Errorf("while it waits a repeat gets %+v", again)
	}
	b = reopen(t, b)
	wantCode(t, commit(t, b, ofCustomer(kessai.Approval, sale.ID, c[1])), kessai.NoSuchRecord)
	wantCode(t, commit(t, b, ofCustomer(kessai.Cancellation, sale.ID, c[1])), kessai.NoSuchRecord)
	wantCode(t, commit(t, b, ofCustomer(kessai.Claim, sale.ID, c[0])), kessai.NoSuchRecord)
	yes := wantCode(t, commit(t, b, ofCustomer(kessai.Approval, sale.ID, c[0])), kessai.Approved)
	wantCode(t, commit(t, b, ofCustomer(kessai.Approval, sale.ID, c[0])), kessai.InvalidTransaction)
	wantCode(t, commit(t, b, ofCustomer(kessai.Cancellation, sale.ID, c[0])), kessai.InvalidTransaction)
	if now := wantStanding(t, b, sale.ID, Posted, kessai.Approved); now.Agreed != yes.ID || now.Ended != yes.ID || now.AsDecided() != sale {
		t.Errorf("it became %+v", now)
	}
	wantBalance(t, b, c[0], 400, 0)
	wantBalance(t, b, shop, 600, 0)
	if again := commit(t, b, op); !again.Replayed || again.Tx != sale {
		t.Errorf("afterwards a repeat gets %+v", again)
	}
	other := op
	other.Names[0].Digest[0] = 9
	if out := commit(t, b, other); !out.Conflict {
		t.Error("another payment under its name is no conflict")
	}
	wantCode(t, commit(t, b, Op{Kind: kessai.Reversal, Original: Ref{ID: yes.ID}}), kessai.InvalidTransaction)
	wantCode(t, commit(t, b, Op{Kind: kessai.Refund, Original: Ref{ID: sale.ID}, Amount: 100}), kessai.Approved)
	wantCode(t, commit(t, b, Op{Kind: kessai.Reversal, Original: Ref{ID: sale.ID}}), kessai.Approved)
	wantStanding(t, b, sale.ID, Reversed, kessai.Approved)
	wantBalance(t, b, c[0], 1_000, 0)
}

// TestP14_PreAuthorizationAgreedTo: a machine holds the dearest item, and takes
// what it gave out. It cannot take more than the customer agreed to.
func TestP14_PreAuthorizationAgreedTo(t *testing.T) {
	b := openTest(t, Options{Dir: t.TempDir()})
	shop, c := people(t, b, 1_000)
	op := asking(1, 0, shop, 500)
	op.Kind, op.Asks, op.HoldFor = kessai.PreAuthorization, kessai.AsksClaim, 2*time.Hour
	sale := wantCode(t, commit(t, b, op), kessai.Approved)
	wantCode(t, commit(t, b, ofCustomer(kessai.Approval, sale.ID, c[0])), kessai.NoSuchRecord) // nobody's yet
	claim := wantCode(t, commit(t, b, ofCustomer(kessai.Claim, sale.ID, c[0])), kessai.Approved)
	wantBalance(t, b, c[0], 1_000, 500)
	wantCode(t, commit(t, b, ofCustomer(kessai.Claim, sale.ID, c[0])), kessai.Approved) // once more, without effect
	wantCode(t, commit(t, b, ofCustomer(kessai.Claim, sale.ID, shop)), kessai.InvalidTransaction)
	wantBalance(t, b, c[0], 1_000, 500)
	b = reopen(t, b)
	yes := wantCode(t, commit(t, b, ofCustomer(kessai.Approval, sale.ID, c[0])), kessai.Approved)
	now := wantStanding(t, b, sale.ID, Pending, kessai.Approved)
	if now.Deadline != yes.Time+int64(2*time.Hour) || now.AsDecided() != sale || claim.Status != Noted {
		t.Errorf("%+v; it was %+v", now, sale)
	}
	wantCode(t, commit(t, b, Op{Kind: kessai.Increment, Original: Ref{ID: sale.ID}, Amount: 1}), kessai.InvalidTransaction)
	wantCode(t, commit(t, b, Op{Kind: kessai.Completion, Original: Ref{ID: sale.ID}, Amount: 501}), kessai.InvalidAmount)
	wantCode(t, commit(t, b, Op{Kind: kessai.Completion, Original: Ref{ID: sale.ID}, Amount: 120}), kessai.Approved)
	if now := wantStanding(t, b, sale.ID, Captured, kessai.Approved); now.Agreed != yes.ID {
		t.Errorf("the approval is %d, want %d", now.Agreed, yes.ID)
	}
	wantBalance(t, b, c[0], 880, 0)
}

// TestP_ReversalFirst: a payment that was reversed before it came never waits.
func TestP_ReversalFirst(t *testing.T) {
	b := openTest(t, Options{Dir: t.TempDir()})
	shop, c := people(t, b, 1_000)
	wantCode(t, commit(t, b, Op{Kind: kessai.Reversal, Names: named1(2), Original: Ref{Key: keyOf(1)}}), kessai.Approved)
	wantCode(t, commit(t, b, asking(1, c[0], shop, 600)), kessai.DoNotHonour)
	sale := wantCode(t, commit(t, b, asking(3, c[0], shop, 600)), kessai.Approved)
	wantCode(t, commit(t, b, Op{Kind: kessai.Reversal, Names: named1(4), Original: Ref{Key: keyOf(3)}, Amount: 300}), kessai.InvalidTransaction)
	undo := Op{Kind: kessai.Reversal, Names: named1(5), Original: Ref{Key: keyOf(3)}}
	if tx := wantCode(t, commit(t, b, undo), kessai.Approved); tx.Amount != 600 {
		t.Errorf("%d were undone", tx.Amount)
	}
	if again := commit(t, b, undo); !again.Replayed || again.Tx.Amount != 600 {
		t.Errorf("once more: %+v", again)
	}
	undo.Names = named1(6)
	if tx := wantCode(t, commit(t, b, undo), kessai.Approved); tx.Amount != 0 {
		t.Errorf("%d were undone again", tx.Amount)
	}
	wantStanding(t, b, sale.ID, Reversed, kessai.CustomerCancellation)
	wantCode(t, commit(t, b, ofCustomer(kessai.Approval, sale.ID, c[0])), kessai.InvalidTransaction)
	wantBalance(t, b, c[0], 1_000, 0)
}

// TestP_LimitsAreGivenBack: what ends without money counts against no limit, also
// after restarts; what stands does.
func TestP_LimitsAreGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := openTest(t, Options{Dir: t.TempDir(), Resident: 1})
		shop, c := people(t, b, 100_000)
		n := uint64(0)
		one := func(code kessai.ResponseCode) Tx {
			t.Helper()
			n++
			op := asking(n, c[0], shop, 100)
			op.WaitFor, op.Medium = time.Second, kessai.MediumID{7}
			op.MediumLimit, op.TerminalLimit = Limit{MaxTotal: 200, MaxCount: 2}, Limit{MaxCount: 2}
			tx := bubbled(t, b, op)
			if tx.Code != code {
				t.Fatalf("payment %d: %v, want %v", n, tx.Code, code)
			}
			return tx
		}
		ends := []func(kessai.TxID){
			func(id kessai.TxID) { bubbled(t, b, ofCustomer(kessai.Cancellation, id, c[0])) },
			func(id kessai.TxID) { bubbled(t, b, Op{Kind: kessai.Reversal, Original: Ref{ID: id}}) },
			func(kessai.TxID) { time.Sleep(time.Second); synctest.Wait() },
			func(id kessai.TxID) {
				op := ofCustomer(kessai.Approval, id, c[0])
				op.Verdict, op.MaxTries = kessai.WrongProof, 1
				bubbled(t, b, op)
			},
		}
		for _, end := range ends {
			first, second := one(kessai.Approved), one(kessai.Approved)
			one(kessai.CountLimit)
			end(first.ID)
			end(second.ID)
		}
		b = reopen(t, b)
		stands := one(kessai.Approved)
		bubbled(t, b, ofCustomer(kessai.Approval, stands.ID, c[0]))
		last := one(kessai.Approved)
		one(kessai.CountLimit)
		b = reopen(t, b)
		one(kessai.CountLimit)
		bubbled(t, b, ofCustomer(kessai.Cancellation, last.ID, c[0]))
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		withoutSnapshot(t, b.o.Dir)
		b = openTest(t, Options{Dir: b.o.Dir})
		one(kessai.Approved)
		one(kessai.CountLimit)
	})
}

// TestP_ThousandsExpireAtOnce: what is due ends before anything else is done, each
// is told of once, and who comes with the deadline is too late.
func TestP_ThousandsExpireAtOnce(t *testing.T) {
	const n = 3*maxExpired + 7
	synctest.Test(t, func(t *testing.T) {
		b := openTest(t, Options{Dir: t.TempDir(), Resident: 1, SnapshotEvery: 1 << 30})
		shop, c := people(t, b, 100_000)
		var mu sync.Mutex
		heard := map[kessai.TxID]int{}
		b.OnEnded(func(all []Tx) {
			mu.Lock()
			defer mu.Unlock()
			for _, tx := range all {
				if heard[tx.ID]++; tx.Status != Expired || tx.Told != kessai.TooLate || tx.Held != 0 {
					t.Errorf("%+v", tx)
				}
			}
		})
		tasks := make([]Task, n)
		for i := range tasks {
			tasks[i].Op = asking(uint64(i)+1, c[0], shop, 10)
			tasks[i].Op.WaitFor = time.Second
		}
		if err := commitTasks(b, tasks); err != nil {
			t.Fatal(err)
		}
		if err := saveInBubble(b, false); err != nil { // their pages leave memory
			t.Fatal(err)
		}
		if stats := b.Stats(); stats.Waiting != n || stats.HoldsOpen != 0 {
			t.Fatalf("%d wait, %d holds are open", stats.Waiting, stats.HoldsOpen)
		}
		time.Sleep(time.Second)
		for _, i := range []int{0, n / 2, n - 1} {
			if tx := bubbled(t, b, ofCustomer(kessai.Approval, tasks[i].Outcome.Tx.ID, c[0])); tx.Code != kessai.InvalidTransaction {
				t.Errorf("an approval that came with the deadline: %v", tx.Code)
			}
		}
		synctest.Wait()
		if len(heard) != n || slices.Max(slices.Collect(maps.Values(heard))) != 1 || len(b.Waiting()) != 0 {
			t.Errorf("%d were told of, %d wait", len(heard), len(b.Waiting()))
		}
		wantBalance(t, b, c[0], 100_000, 0)
		b = reopen(t, b)
		wantBalance(t, b, c[0], 100_000, 0)
	})
}

// TestP_WaitingIsNotForgotten: pages with payments that wait stay findable however
// old they are, and what waited while the gateway was down ends when it is back.
func TestP_WaitingIsNotForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := openTest(t, Options{Dir: t.TempDir(), Resident: 1, SnapshotEvery: 1 << 30})
		shop, c := people(t, b, 1_000_000)
		tasks := make([]Task, 3*pageSize)
		for i := range tasks {
			tasks[i].Op = *purchaseOp(uint64(i)+1, c[0], shop, 10)
		}
		tasks[200].Op = asking(201, c[0], shop, 1_000)
		tasks[201].Op = asking(202, 0, shop, 1_000)
		tasks[201].Op.Asks = kessai.AsksClaim
		if err := commitTasks(b, tasks); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(saveInBubble(b, true), b.forget(time.Now().Add(time.Hour))); err != nil {
			t.Fatal(err)
		}
		sale, unclaimed := tasks[200].Outcome.Tx, tasks[201].Outcome.Tx
		if _, ok := b.Find(Ref{Key: keyOf(1)}); ok {
			t.Error("nothing was forgotten")
		}
		if tx, ok := b.Find(Ref{Key: keyOf(201)}); !ok || tx.ID != sale.ID {
			t.Error("what waits was forgotten")
		}
		if w := b.Waiting(); len(w) != 2 || w[0] != sale || w[1] != unclaimed {
			t.Errorf("%+v wait", w)
		}
		if tx := bubbled(t, b, ofCustomer(kessai.Claim, unclaimed.ID, c[0])); tx.Code != kessai.Approved {
			t.Errorf("the claim: %v", tx.Code)
		}
		wantBalance(t, b, c[0], 1_000_000-10*(3*pageSize-2), 2_000)
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Hour)
		b = openTest(t, Options{Dir: b.o.Dir})
		synctest.Wait()
		wantStanding(t, b, sale.ID, Expired, kessai.TooLate)
		wantStanding(t, b, unclaimed.ID, Expired, kessai.TooLate)
		wantBalance(t, b, c[0], 1_000_000-10*(3*pageSize-2), 0)
	})
}

// TestP_ListOfCustomer lists what asked a customer, what they claimed too, and
// nothing else, a page at a time.
func TestP_ListOfCustomer(t *testing.T) {
	b := openTest(t, Options{Dir: t.TempDir(), Resident: 1, SnapshotEvery: 100, SnapshotPause: 1})
	shop, c := people(t, b, 100_000, 100_000)
	var want, claims []Tx
	for n := range uint64(300) {
		op := asking(n+1, c[n%2], shop, 1)
		op.Merchant[14] = byte('a' + n%3)
		switch n % 5 {
		case 1:
			op.Asks = kessai.AsksNobody
		case 2:
			op.Asks, op.Customer = kessai.AsksClaim, 0
		}
		tx := commit(t, b, op).Tx
		switch {
		case n%5 == 2:
			claims = append(claims, tx)
		case n%5 != 1 && n%2 == 0:
			want = append(want, tx)
		}
	}
	for i, tx := range claims {
		claim := ofCustomer(kessai.Claim, tx.ID, c[i%2])
		claim.Merchant = tx.Merchant
		wantCode(t, commit(t, b, claim), kessai.Approved)
		if i%2 == 0 {
			now, _ := b.Find(Ref{ID: tx.ID})
			want = append(want, now)
		}
		claim.Customer = c[(i+1)%2]
		wantCode(t, commit(t, b, claim), kessai.NoSuchRecord)
	}
	slices.SortFunc(want, func(a, b Tx) int { return int(b.ID) - int(a.ID) })
	for range 2 {
		var got []Tx
		for before := kessai.TxID(0); ; before = got[len(got)-1].ID {
			page, err := b.List(Query{Customer: c[0], Before: before, Limit: 17})
			if err != nil {
				t.Fatal(err)
			}
			if got = append(got, page...); len(page) < 17 {
				break
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%d are listed, want %d", len(got), len(want))
		}
		few, err := b.List(Query{Customer: c[0], Merchant: want[0].Merchant, Limit: 1000})
		if err != nil || len(few) == 0 || len(few) == len(want) {
			t.Errorf("%d of one merchant are listed, %v", len(few), err)
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		withoutSnapshot(t, b.o.Dir)
		b = openTest(t, Options{Dir: b.o.Dir})
	}
}

// TestP_WhatMakesNoSenseIsRefused: no caller should ask for these.
func TestP_WhatMakesNoSenseIsRefused(t *testing.T) {
	b := openTest(t, Options{Dir: t.TempDir()})
	shop, c := people(t, b, 1_000)
	sale := func(change func(*Op)) Op {
		op := asking(1, c[0], shop, 1)
		change(&op)
		return op
	}
	for what, op := range map[string]Op{
		"no time to wait":           sale(func(op *Op) { op.WaitFor = time.Second - 1 }),
		"a week to wait":            sale(func(op *Op) { op.WaitFor = 7 * 24 * time.Hour }),
		"a refund that asks":        sale(func(op *Op) { op.Kind = kessai.Refund }),
		"an unknown way to ask":     sale(func(op *Op) { op.Asks = 4 }),
		"a claim with a customer":   sale(func(op *Op) { op.Asks = kessai.AsksClaim }),
		"nobody to ask":             sale(func(op *Op) { op.Customer = 0 }),
		"the shop as its customer":  sale(func(op *Op) { op.Customer = shop }),
		"foreign, and asks nobody":  sale(func(op *Op) { op.Asks, op.Foreign = 0, Foreign{kessai.EUR, 1} }),
		"a claim in two currencies": sale(func(op *Op) { op.Asks, op.Customer, op.Foreign = kessai.AsksClaim, 0, Foreign{kessai.EUR, 1} }),
		"an approval by nobody":     ofCustomer(kessai.Approval, 1, 0),
		"an approval of nothing":    ofCustomer(kessai.Approval, 0, c[0]),
		"a claim of nothing":        ofCustomer(kessai.Claim, 0, c[0]),
		"a sign-in of nobody":       ofCustomer(kessai.SignIn, 0, 0),
		"cancelled and approved":    {Kind: kessai.Cancellation, Original: Ref{ID: 1}, Ends: kessai.PartialApproval},
		"an unknown factor":         {Kind: kessai.SignIn, Customer: c[0], Factor: 9},
		"a thousand tries":          {Kind: kessai.Approval, Original: Ref{ID: 1}, Customer: c[0], MaxTries: 1000},
	} {
		if _, err := b.Commit(t.Context(), &op); !errors.Is(err, errOp) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if n := b.Stats().Transactions; n != 0 {
		t.Errorf("%d were recorded", n)
	}
	// A decline is recorded as it was asked, with its customer.
	op := asking(1, c[0], shop, 1)
	op.Verdict, op.WaitFor = kessai.CountLimit, 0
	if tx := wantCode(t, commit(t, b, op), kessai.CountLimit); tx.Status != Declined || tx.Customer != c[0] || tx.Standing() != kessai.CountLimit {
		t.Errorf("%+v", tx)
	}
	if list, err := b.List(Query{Customer: c[0], Limit: 9}); err != nil || len(list) != 1 {
		t.Errorf("%d are listed, %v", len(list), err)
	}
}

// TestP_HookTellsInOrder: who is told of the end is told before the one who ended
// it, and sees it as it stands.
func TestP_HookTellsInOrder(t *testing.T) {
	b := openTest(t, Options{Dir: t.TempDir()})
	shop, c := people(t, b, 100_000)
	var heard []string
	b.OnEnded(func(all []Tx) { // callers come one after another here
		for _, tx := range all {
			if now, ok := b.Find(Ref{ID: tx.ID}); !ok || now != tx {
				t.Errorf("told of %+v, and there is %+v", tx, now)
			}
			heard = append(heard, fmt.Sprint(tx.ID, " ", tx.Status))
		}
	})
	var want []string
	for n := range uint64(50) {
		sale := commit(t, b, asking(n, c[0], shop, 1)).Tx
		kind, status := kessai.Approval, Posted
		if n%2 == 0 {
			kind, status = kessai.Cancellation, Cancelled
		}
		if n%7 == 0 { // all in one block
			tasks := []Task{{Op: ofCustomer(kind, sale.ID, c[0])}, {Op: Op{Kind: kessai.Reversal, Merchant: aoi, Currency: kessai.JPY, Original: Ref{ID: sale.ID}}}}
			if err := b.CommitAll(t.Context(), tasks); err != nil {
				t.Fatal(err)
			}
			if status == Posted {
				status = Reversed
			}
		} else {
			wantCode(t, commit(t, b, ofCustomer(kind, sale.ID, c[0])), kessai.Approved)
		}
		want = append(want, fmt.Sprint(sale.ID, " ", status))
		if !slices.Equal(heard, want) {
			t.Fatalf("heard %v, want %v", heard, want)
		}
	}
}

// TestP_NothingIsToldThatIsNotOnDisk: where the block of an end cannot be written
// nobody is told of it, and nobody can read it.
func TestP_NothingIsToldThatIsNotOnDisk(t *testing.T) {
	b := must(Open(Options{Dir: t.TempDir(), Logf: t.Logf}))
	shop, c := people(t, b, 1_000)
	sale := commit(t, b, asking(1, c[0], shop, 10)).Tx
	b.OnEnded(func(all []Tx) { t.Errorf("told of %+v", all) })
	b.log.f.Close() // writes fail from now on
	op := ofCustomer(kessai.Approval, sale.ID, c[0])
	if _, err := b.Commit(t.Context(), &op); !errors.Is(err, ErrUnknown) {
		t.Fatalf("got %v, want ErrUnknown", err)
	}
	if tx, ok := b.Find(Ref{ID: sale.ID}); ok || len(b.Waiting()) != 0 {
		t.Errorf("%+v can be read", tx)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	b = openTest(t, Options{Dir: copyBook(t, b.o.Dir)})
	wantStanding(t, b, sale.ID, Waiting, kessai.RequestInProgress)
	wantCode(t, commit(t, b, op), kessai.Approved)
}

// TestP_ManyWait: many wait, each for another customer, and are found again after a
// restart, in the list of each customer too.
func TestP_ManyWait(t *testing.T) {
	const n = 40_000 // more keys than one step of the index takes
	b := openTest(t, Options{Dir: t.TempDir()})
	shop, c := people(t, b, slices.Repeat([]int64{1_000}, 2_000)...)
	tasks := make([]Task, n)
	for i := range tasks {
		tasks[i].Op = asking(uint64(i)+1, c[i%len(c)], shop, 10)
	}
	if err := b.CommitAll(t.Context(), tasks); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		all := b.Waiting()
		if len(all) != n || b.Stats().Waiting != n {
			t.Fatalf("%d wait, want %d", len(all), n)
		}
		for i := range all {
			if all[i] != tasks[i].Outcome.Tx {
				t.Fatalf("%+v waits, want %+v", all[i], tasks[i].Outcome.Tx)
			}
		}
		if list, err := b.List(Query{Customer: c[7], Limit: 100}); err != nil || len(list) != n/len(c) {
			t.Fatalf("%d are listed, want %d; %v", len(list), n/len(c), err)
		}
		b = reopen(t, b)
	}
}
