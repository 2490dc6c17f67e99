package authz

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"kessai"
	"kessai/authz/ledger"
)

// TestR13_LockedTellsNothing: many sales with one card give their PINs at once, one of
// them the right one. Whatever is refused leaves the same traces, right or wrong.
func TestR13_LockedTellsNothing(t *testing.T) {
	const shops = 12
	for right := range shops {
		onReaderFloor(t, shops, func(t *testing.T, f *readerFloor) {
			var says []func()
			for i := range shops {
				r := f.byReader(i)
				r.Confirm.Customer = "0"
				id := f.ask(r).Tx.ID
				s, err := f.approve(0, id)
				if err == nil {
					s, err = f.ReaderCard(background, id, f.customer(0), f.readerOf(0).card(t, s.Offer, pinCard(0)))
				}
				if err != nil || s.Step != ReaderPIN {
					t.Fatal(s.Step, err)
				}
				pin := "0000"
				if i == right {
					pin = rightPIN
				}
				m := typed(pin)(f, s.Offer)
				says = append(says, func() {
					if _, err := f.ReaderPIN(background, id, f.customer(0), m); err != nil {
						t.Error(err)
					}
				})
			}
			var all sync.WaitGroup
			for _, say := range says {
				all.Go(say)
			}
			all.Wait()
			for id := range f.book.Stats().Transactions {
				tx, _ := f.book.Find(ledger.Ref{ID: kessai.TxID(id + 1)})
				if tx.Kind == kessai.Approval && tx.HasNote != tx.Code.IsApproval() {
					t.Errorf("an approval is %s, and has a note: %v", tx.Code, tx.HasNote)
				}
			}
			if n := f.book.PINTries(hasher.Medium(pinCard(0))); n > 3 {
				t.Errorf("%d wrong PINs were taken", n)
			}
		})
	}
}

// TestR16_DrainAtAnyMoment: the gateway stops while PINs come. No key is left, no
// money is held by nothing, and whoever hears that a PIN was wrong, had it counted.
func TestR16_DrainAtAnyMoment(t *testing.T) {
	const sales = 6
	for round := range 20 {
		onReaderFloor(t, sales, func(t *testing.T, f *readerFloor) {
			var all sync.WaitGroup
			var says []func()
			for i := range sales {
				id, offer := f.asked(i)
				pin := rightPIN
				if i%2 == 1 {
					pin = "0000"
				}
				m := f.readerOf(i).pin(t, offer, pinCard(i), pin)
				says = append(says, func() {
					time.Sleep(time.Duration(i*round) * time.Microsecond)
					s, err := f.ReaderPIN(background, id, f.customer(i), m)
					if n := f.book.PINTries(hasher.Medium(pinCard(i))); err == nil && s.Step == ReaderEnded && n != i%2 {
						t.Errorf("the sale has ended with %s, and %d wrong PINs count", s.Sale.Standing(), n)
					}
				})
			}
			for _, say := range says {
				all.Go(say)
			}
			time.Sleep(time.Duration(round*3) * time.Microsecond)
			f.CloseReaders()
			all.Wait()
			synctest.Wait()
			if n := f.ReaderStats().Keys; n != 0 {
				t.Errorf("%d keys live on", n)
			}
			waiting := make(map[ledger.AccountID]bool)
			for _, tx := range f.book.Waiting() {
				waiting[tx.Customer] = true
			}
			for i := range sales {
				if a, _ := f.book.Account(f.customer(i)); a.Held != 0 && !waiting[a.ID] {
					t.Errorf("%d is held for no sale", a.Held)
				}
			}
		})
	}
}

// TestR9_DayLimitsAreGivenBack: what is settled with a card counts against its day,
// and what is undone does not, in parts, once, and over a restart.
func TestR9_DayLimitsAreGivenBack(t *testing.T) {
	onReaderFloor(t, 1, func(t *testing.T, f *readerFloor) {
		again := func() {
			f.CloseReaders()
			if err := f.book.Close(); err != nil {
				t.Fatal(err)
			}
			f.open()
		}
		id := hasher.Medium(plainCard(0))
		m := f.media[id]
		m.Limits.DayTotal, m.Limits.DayCount = 900, 2
		f.media[id] = m
		again()
		pay := func(want kessai.ResponseCode) kessai.TxID { // 450
			t.Helper()
			id, offer := f.offered(0)
			s, err := f.ReaderCard(background, id, f.customer(0), f.readerOf(0).card(t, offer, plainCard(0)))
			if err != nil || s.Sale.Standing() != want {
				t.Fatalf("%v, %v, want %v", s.Sale.Standing(), err, want)
			}
			return id
		}
		undo := func(id kessai.TxID, stands int64) {
			t.Helper()
			r := f.request(0)
			r.Kind, r.Confirm, r.Original.ID, r.Attempt.MTI = kessai.Reversal, nil, id, MTI(kessai.Reversal)
			if r.Amount = (kessai.Amount{Value: stands}); stands != 0 {
				r.Amount.Currency = kessai.JPY
			}
			if reply, err := f.AuthorizeOne(background, &r); err != nil || !reply.Code.IsApproval() {
				t.Fatal(reply.Code, err)
			}
		}
		first := pay(kessai.Approved)
		undo(first, 200)
		second := pay(kessai.Approved) // 650 in two
		pay(kessai.CountLimit)
		undo(first, 0)
		undo(first, 0) // nothing more to give back
		again()
		third := pay(kessai.Approved) // 900 in two
		undo(second, 0)
		undo(third, 1)
		pay(kessai.Approved) // 451 in two
		pay(kessai.CountLimit)
	})
}
