package authz

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"

	"kessai"
	"kessai/authz/ledger"
)

// TestR_TheWrongOrderChangesNothing: what nobody waits for is refused, and the sale
// goes on.
func TestR_TheWrongOrderChangesNothing(t *testing.T) {
	onReaderFloor(t, 1, func(t *testing.T, f *readerFloor) {
		id, device, who := f.buy(0), f.readerOf(0), f.customer(0)
		says := func(what string, step ReaderStep, s ReaderState, err error) {
			t.Helper()
			if err != ErrStep || s.Step != step || s.Sale.ID != id {
				t.Errorf("%s: %v, %v, payment %d", what, s.Step, err, s.Sale.ID)
			}
		}
		s, err := f.ReaderCard(background, id, who, ReaderMessage{})
		says("a card before the offer", ReaderApproves, s, err)
		s, err = f.ReaderPIN(background, id, who, ReaderMessage{})
		says("a PIN before the offer", ReaderApproves, s, err)
		if s, err = f.approve(0, id); err != nil {
			t.Fatal(err)
		}
		offer := s.Offer
		card, pin := device.card(t, offer, pinCard(0)), device.pin(t, offer, pinCard(0), rightPIN)
		s, err = f.ReaderPIN(background, id, who, pin)
		says("a PIN before the card", ReaderCard, s, err)
		if s, err = f.ReaderCard(background, id, who, card); err != nil || s.Step != ReaderPIN {
			t.Fatal(s.Step, err)
		}
		s, err = f.ReaderCard(background, id, who, card)
		says("the card once more", ReaderPIN, s, err)
		if s, err = f.ReaderPIN(background, id, who, pin); err != nil {
			t.Fatal(err)
		}
		for _, m := range []ReaderMessage{card, pin} {
			s, err = f.ReaderCard(background, id, who, m)
			says("a card after the end", ReaderEnded, s, err)
			s, err = f.ReaderPIN(background, id, who, m)
			says("a PIN after the end", ReaderEnded, s, err)
		}
		s, err = f.approve(0, id)
		says("an approval after the end", ReaderEnded, s, err)
		f.ended(0, id, kessai.Approved)
		if n := f.ReaderStats(); n.Refused != 9 || n.Issued != 1 {
			t.Errorf("%+v", n)
		}
		next, _ := f.offered(0)
		if _, err := f.ReaderCard(background, next, who, card); err != nil { // recorded and replayed
			t.Fatal(err)
		}
		f.ended(0, next, kessai.SecurityViolation)
	})
}

// TestR_EachWaitHasItsOwnTime: a moment before its end it is in time, at its end the
// sale is over, and all hear 68.
func TestR_EachWaitHasItsOwnTime(t *testing.T) {
	onReaderFloorWith(t, 1, ReaderOptions{ApproveFor: 50 * time.Second, CardFor: 40 * time.Second, PINFor: 30 * time.Second}, func(t *testing.T, f *readerFloor) {
		in := func(s ReaderState, d time.Duration) {
			t.Helper()
			if left := time.Until(s.Until); left != d {
				t.Errorf("in step %v there are %v left, want %v", s.Step, left, d)
			}
		}
		id := f.buy(0)
		in(f.step(0, id, ReaderApproves), 50*time.Second)
		time.Sleep(50*time.Second - 1)
		s, err := f.approve(0, id)
		if err != nil {
			t.Fatal(err)
		}
		in(s, 40*time.Second)
		time.Sleep(40*time.Second - 1)
		if s, err = f.ReaderCard(background, id, f.customer(0), f.readerOf(0).card(t, s.Offer, pinCard(0))); err != nil {
			t.Fatal(err)
		}
		in(s, 30*time.Second)
		time.Sleep(30*time.Second - 1)
		if _, err = f.ReaderPIN(background, id, f.customer(0), typed(rightPIN)(f, s.Offer)); err != nil {
			t.Fatal(err)
		}
		f.ended(0, id, kessai.Approved)

		late := func(step ReaderStep, id kessai.TxID, d time.Duration) {
			t.Helper()
			time.Sleep(d)
			synctest.Wait()
			f.ended(0, id, kessai.TooLate)
			if n := f.ReaderStats().Ended[ReaderEnd{step, kessai.TooLate}]; n != 1 {
				t.Errorf("%v: %+v", step, f.ReaderStats())
			}
		}
		late(ReaderApproves, f.buy(0), 50*time.Second)
		id, _ = f.offered(0)
		late(ReaderCard, id, 40*time.Second)
		id, _ = f.asked(0)
		late(ReaderPIN, id, 30*time.Second)
		if n := f.PhoneStats().Ended; n[EndedExpired] != 3 || n[EndedApproved] != 1 {
			t.Error(n)
		}
	})
}

// TestR_ThePhoneComesBack: it finds what there is, and the same offer, without a new
// key.
func TestR_ThePhoneComesBack(t *testing.T) {
	onReaderFloor(t, 2, func(t *testing.T, f *readerFloor) {
		id, offer := f.offered(0)
		time.Sleep(30 * time.Second)
		again, err := f.approve(0, id)
		if err != nil || again.Step != ReaderCard || !bytes.Equal(again.Offer, offer) || time.Until(again.Until) != 30*time.Second {
			t.Fatal(again.Step, err, time.Until(again.Until))
		}
		other := f.readerOf(1)
		f.change(func() { other.owner = "0" }) // a second reader of the same customer
		if s, err := f.approveWith(0, id, other.id); err != ErrStep || s.Step != ReaderCard {
			t.Error("another reader:", s.Step, err)
		}
		if _, err := f.ReaderCard(background, id, f.customer(0), f.readerOf(0).card(t, again.Offer, pinCard(0))); err != nil {
			t.Fatal(err)
		}
		if s := f.step(0, id, ReaderPIN); !bytes.Equal(s.Offer, offer) {
			t.Error("another offer")
		}
		if again, err = f.approve(0, id); err != nil || again.Step != ReaderPIN || !bytes.Equal(again.Offer, offer) {
			t.Fatal(again.Step, err)
		}
		if _, err := f.ReaderPIN(background, id, f.customer(0), typed(rightPIN)(f, offer)); err != nil {
			t.Fatal(err)
		}
		f.ended(0, id, kessai.Approved)
		if n := f.ReaderStats().Issued; n != 1 {
			t.Errorf("%d keys were made", n)
		}
	})
}

// TestR_ARestartForgetsTheKeys: the sale waits on, the customer approves it once more,
// and what was sealed before is worthless. The time of the whole is not begun anew.
func TestR_ARestartForgetsTheKeys(t *testing.T) {
	onReaderFloor(t, 1, func(t *testing.T, f *readerFloor) {
		id, offer := f.offered(0)
		old := f.readerOf(0).card(t, offer, plainCard(0))
		restart := func() {
			f.CloseReaders()
			if n := f.ReaderStats().Keys; n != 0 {
				t.Errorf("%d keys live", n)
			}
			if _, err := f.ReaderCard(background, id, f.customer(0), old); err != ledger.ErrClosed {
				t.Error("a card while the gateway stops:", err)
			}
			f.book.Close()
			f.open()
		}
		restart()
		f.step(0, id, ReaderApproves)
		if s, err := f.ReaderCard(background, id, f.customer(0), old); err != ErrStep || s.Step != ReaderApproves {
			t.Error(s.Step, err)
		}
		s, err := f.approve(0, id)
		if err != nil || bytes.Equal(s.Offer, offer) {
			t.Fatal("the same offer, or none", err)
		}
		if _, err := f.ReaderCard(background, id, f.customer(0), old); err != nil {
			t.Fatal(err)
		}
		f.ended(0, id, kessai.SecurityViolation)

		id, _ = f.offered(0)
		time.Sleep(55 * time.Second)
		restart()
		time.Sleep(2*time.Minute - 1)
		s, err = f.approve(0, id)
		if left := time.Until(s.Until); err != nil || left != time.Minute {
			t.Fatal(left, err)
		}
		time.Sleep(time.Minute - 1)
		if s, err = f.ReaderCard(background, id, f.customer(0), f.readerOf(0).card(t, s.Offer, pinCard(0))); err != nil || s.Step != ReaderPIN {
			t.Fatal(s.Step, err)
		}
		if left := time.Until(s.Until); left > 6*time.Second {
			t.Errorf("%v are left after the time of the whole", left)
		}
		time.Sleep(6 * time.Second)
		synctest.Wait()
		f.ended(0, id, kessai.TooLate)
	})
}

// TestR_NoKeyIsMadeForWhatHasEnded: the sale ends at the last moment before its key is
// put in its place, in whatever way.
func TestR_NoKeyIsMadeForWhatHasEnded(t *testing.T) {
	for name, end := range map[string]func(f *readerFloor, id kessai.TxID){
		"cancelled": func(f *readerFloor, id kessai.TxID) {
			if _, code, err := f.CancelByCustomer(background, id, f.customer(0)); !code.IsApproval() || err != nil {
				f.t.Error(code, err)
			}
		},
		"reversed": func(f *readerFloor, id kessai.TxID) {
			r := f.request(0)
			r.Kind, r.Confirm, r.Amount, r.Original.ID, r.Attempt.MTI = kessai.Reversal, nil, kessai.Amount{}, id, MTI(kessai.Reversal)
			f.ask(r)
		},
		"late": func(f *readerFloor, id kessai.TxID) {
			time.Sleep(3 * time.Minute)
			synctest.Wait()
		},
		"stopped": func(f *readerFloor, _ kessai.TxID) { f.CloseReaders() },
	} {
		t.Run(name, func(t *testing.T) {
			onReaderFloor(t, 1, func(t *testing.T, f *readerFloor) {
				id := f.buy(0)
				f.signs = func(id kessai.TxID) {
					if f.ReaderStats().Keys != 1 {
						t.Error("there is no key yet")
					}
					end(f, id)
				}
				s, err := f.approve(0, id)
				if err != ErrStep || s.Offer != nil || f.ReaderStats().Keys != 0 {
					t.Errorf("%v, %v, %+v", s.Step, err, f.ReaderStats())
				}
			})
		})
	}
}
