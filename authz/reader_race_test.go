package authz

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"kessai"
	"kessai/authz/ledger"
)

// pick gives the first number, or the second under the race detector.
func pick(n, racing int) int {
	if raceEnabled {
		return racing
	}
	return n
}

// TestR_OneWinnerAndEverybodyAgrees: approvals, cards and PINs, right and wrong, come
// together with cancellations, reversals, the end of their time and restarts, some of
// them twice. Each sale ends once; shop, phone and book say the same of it, and so
// does the money; and no key is left.
func TestR_OneWinnerAndEverybodyAgrees(t *testing.T) {
	together, rounds := pick(120, 60), pick(15, 5)
	onReaderFloor(t, together, func(t *testing.T, f *readerFloor) {
		won := make(map[kessai.ResponseCode]int)
		paid, settled := 0, 0
		for round := range rounds {
			sales := make([]contested, together)
			var all sync.WaitGroup
			for i := range sales {
				all.Go(func() { sales[i].prepare(f, i, round) })
			}
			all.Wait()
			f.contest(sales, round)
			for i := range sales {
				code, stands := sales[i].check(f, i)
				won[code]++
				if code.IsApproval() {
					settled++
				}
				if stands {
					paid++
				}
				if err := f.UnlockCard(background, hasher.Medium(pinCard(i))); err != nil {
					t.Fatal(err)
				}
			}
			if s := f.ReaderStats(); s.Keys != 0 || s.Waiting != [ReaderEnded]int{} {
				t.Fatalf("when all is over: %+v", s)
			}
		}
		t.Logf("%v", won)
		for _, code := range []kessai.ResponseCode{kessai.Approved, kessai.WrongProof, kessai.CustomerCancellation, kessai.TooLate} {
			if won[code] == 0 {
				t.Errorf("nothing ever ended with %v: %v", code, won)
			}
		}
		if a, _ := f.book.AccountByName("merchant/aoi"); a.Balance != int64(paid)*450 {
			t.Errorf("the shop has %d of %d payments (%d were settled)", a.Balance, paid, settled)
		}
	})
}

// contested is a sale that many are about to end.
type contested struct {
	ending
	step  ReaderStep
	m     ReaderMessage
	wrong bool
	until time.Time
	undo  bool
}

// prepare brings a sale to one of the steps.
func (c *contested) prepare(f *readerFloor, i, round int) {
	c.step, c.wrong, c.undo = ReaderStep((i+round)%3), i%2 == 1, i%5 == 0
	c.waits.Tx.ID = f.buy(i)
	id, device := c.waits.Tx.ID, f.readerOf(i)
	f.listen(&c.ending)
	if c.step == ReaderApproves {
		c.until = f.step(i, id, c.step).Until
		return
	}
	s, err := f.approve(i, id)
	if err != nil {
		f.t.Error(err)
		return
	}
	pan, pin := plainCard(i), rightPIN
	if c.step == ReaderPIN {
		pan = pinCard(i)
	}
	c.m = device.card(f.t, s.Offer, pan)
	if c.step == ReaderPIN {
		if s, err = f.ReaderCard(background, id, f.customer(i), c.m); err != nil {
			f.t.Error(err)
			return
		}
		if c.wrong {
			pin = "0000"
		}
		c.m = device.pin(f.t, s.Offer, pan, pin)
	}
	c.until = s.Until
}

// contest has everybody come at the end of the sales' time.
func (f *readerFloor) contest(sales []contested, round int) {
	var all sync.WaitGroup
	e, restart := f.Engine, round%3 == 2
	for i := range sales {
		c := &sales[i]
		id, who, reader := c.waits.Tx.ID, f.customer(i), f.readerOf(i).id
		at := c.until.Add(-time.Duration((i + round) % 4))
		act := func(do func() error) {
			all.Go(func() {
				time.Sleep(time.Until(at))
				if err := do(); err != nil && err != ErrStep && !(restart && errors.Is(err, ledger.ErrClosed)) {
					f.t.Error(err)
				}
			})
		}
		for range 2 {
			act(func() (err error) {
				switch c.step {
				case ReaderApproves:
					_, err = e.BeginReader(background, ReaderApproval{Sale: id, Customer: who, Reader: reader})
				case ReaderCard:
					_, err = e.ReaderCard(background, id, who, c.m)
				default:
					_, err = e.ReaderPIN(background, id, who, c.m)
				}
				return err
			})
		}
		if i%3 == 0 {
			act(func() error {
				_, _, err := e.CancelByCustomer(background, id, who)
				return err
			})
		}
		if c.undo {
			r := f.request(i)
			r.Kind, r.Confirm, r.Amount, r.Original.ID, r.Attempt.MTI = kessai.Reversal, nil, kessai.Amount{}, id, MTI(kessai.Reversal)
			act(func() error {
				_, err := e.AuthorizeOne(background, &r)
				return err
			})
		}
		if restart && i == len(sales)/2 {
			act(func() error { return e.book.Close() })
		}
	}
	all.Wait()
	if restart {
		e.CloseReaders()
		f.open()
		for i := range sales {
			f.listen(&sales[i].ending)
		}
	}
	time.Sleep(5 * time.Minute) // whatever still waits
	synctest.Wait()
}

// check holds what was heard about one sale against the book.
func (c *contested) check(f *readerFloor, i int) (code kessai.ResponseCode, stands bool) {
	f.t.Helper()
	now, ok := f.book.Find(ledger.Ref{ID: c.waits.Tx.ID})
	if !ok || now.Status == ledger.Waiting || now.Status == ledger.Pending {
		f.t.Fatalf("payment %d is %v", now.ID, now.Status)
	}
	code = now.Standing()
	f.floor.mu.Lock()
	heard := c.heard
	f.floor.mu.Unlock()
	if len(heard) != 1 || heard[0].Standing() != code {
		f.t.Errorf("payment %d is told %v; the terminal heard %v", now.ID, code, heard)
	}
	if s, err := f.ReaderNow(now.ID, f.customer(i)); err != nil || s.Step != ReaderEnded || s.Sale.Standing() != code {
		f.t.Errorf("payment %d is told %v; the phone hears %v, %v", now.ID, code, s.Sale.Standing(), err)
	}
	if a, _ := f.book.Account(f.customer(i)); a.Held != 0 {
		f.t.Errorf("%d are still held from customer %d", a.Held, i)
	}
	tries := f.book.PINTries(hasher.Medium(pinCard(i)))
	if (code == kessai.WrongProof && tries != 1) || tries > 1 || tries == 1 && (c.step != ReaderPIN || !c.wrong) {
		f.t.Errorf("payment %d is told %v, and %d wrong PINs are counted", now.ID, code, tries)
	}
	if (now.Agreed != 0) != !now.Medium.IsZero() || now.Agreed != 0 && c.step == ReaderPIN && c.wrong {
		f.t.Errorf("payment %d: agreed %d", now.ID, now.Agreed)
	}
	return code, now.Status == ledger.Posted
}

// TestR_BeganTwiceAtOnce has one key; of the same message twice at once, one counts.
func TestR_BeganTwiceAtOnce(t *testing.T) {
	onReaderFloor(t, 1, func(t *testing.T, f *readerFloor) {
		id, device := f.buy(0), f.readerOf(0)
		const times = 20
		var all sync.WaitGroup
		offers := make(chan string, times)
		for range times {
			all.Go(func() {
				s, err := f.approve(0, id)
				if err != nil || s.Step != ReaderCard {
					t.Error(s.Step, err)
				}
				offers <- string(s.Offer)
			})
		}
		all.Wait()
		offer := <-offers
		for range times - 1 {
			if <-offers != offer {
				t.Error("there are two offers")
			}
		}
		if n := f.ReaderStats().Issued; n != 1 {
			t.Errorf("%d keys were made", n)
		}
		m := device.card(t, []byte(offer), pinCard(0))
		var mu sync.Mutex
		took := 0
		for range times {
			all.Go(func() {
				s, err := f.ReaderCard(background, id, f.customer(0), m)
				mu.Lock()
				defer mu.Unlock()
				if err == nil && s.Step == ReaderPIN {
					took++
				} else if err != ErrStep {
					t.Error(s.Step, err)
				}
			})
		}
		all.Wait()
		if took != 1 {
			t.Errorf("the same message was taken %d times", took)
		}
		f.step(0, id, ReaderPIN)
	})
}

// TestR_PINsInParallelCountExactly: however many sales of a card are asked for its PIN
// at once, three wrong ones are all there are.
func TestR_PINsInParallelCountExactly(t *testing.T) {
	const shops = 20
	onReaderFloor(t, shops, func(t *testing.T, f *readerFloor) {
		offers := make(map[kessai.TxID][]byte)
		for i := range shops {
			r := f.byReader(i)
			r.Confirm.Customer = "0"
			id := f.ask(r).Tx.ID
			s, err := f.approve(0, id)
			if err != nil {
				t.Fatal(err)
			}
			if s, err = f.ReaderCard(background, id, f.customer(0), f.readerOf(0).card(t, s.Offer, pinCard(0))); err != nil || s.Step != ReaderPIN {
				t.Fatal(s.Step, err)
			}
			offers[id] = s.Offer
		}
		var all sync.WaitGroup
		var mu sync.Mutex
		told := make(map[kessai.ResponseCode]int)
		for id, offer := range offers {
			all.Go(func() {
				s, err := f.ReaderPIN(background, id, f.customer(0), typed("0000")(f, offer))
				mu.Lock()
				defer mu.Unlock()
				told[s.Sale.Standing()]++
				if err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if told[kessai.WrongProof] != 2 || told[kessai.TriesExceeded] != shops-2 || f.book.PINTries(hasher.Medium(pinCard(0))) != 3 {
			t.Errorf("%v, %d are counted", told, f.book.PINTries(hasher.Medium(pinCard(0))))
		}
	})
}

// TestR_TheBookIsBusy: whether the PIN was right or wrong, nothing was done; the sale
// ends as soon as the book has room, and there is no second try.
func TestR_TheBookIsBusy(t *testing.T) {
	for _, pin := range []string{rightPIN, "0000"} {
		f := new(readerFloor)
		f.furnish(&floor{t: t, dir: t.TempDir(), n: 2, queue: 1}, ReaderOptions{})
		f.open()
		id, offer := f.asked(0)
		other := f.waits(1).Tx.ID
		entered, gate := make(chan struct{}), make(chan struct{})
		f.book.OnEnded(func(sales []ledger.Tx) {
			if sales[0].ID == other {
				close(entered)
				<-gate
			}
			f.Engine.ended(sales)
		})
		var all sync.WaitGroup
		all.Go(func() { // it makes a block, and is held up at its end
			if _, _, err := f.CancelByCustomer(background, other, f.customer(1)); err != nil {
				t.Error(err)
			}
		})
		<-entered
		var full atomic.Int32
		for full.Load() < 2 { // until the queue is full
			all.Go(func() {
				if err := f.UnlockCard(background, hasher.Medium(pinCard(1))); errors.Is(err, ledger.ErrBusy) {
					full.Add(1)
				} else if err != nil {
					t.Error(err)
				}
			})
			time.Sleep(20 * time.Millisecond)
		}
		s, err := f.ReaderPIN(background, id, f.customer(0), typed(pin)(f, offer))
		if !errors.Is(err, ledger.ErrBusy) || s.Offer != nil || f.ReaderStats().Keys != 0 {
			t.Errorf("%v, %v, %+v", s.Step, err, f.ReaderStats())
		}
		if _, err := f.ReaderPIN(background, id, f.customer(0), typed(rightPIN)(f, offer)); err != ErrStep {
			t.Error("a second try:", err)
		}
		if _, err := f.approve(0, id); err != ErrStep {
			t.Error("a second approval:", err)
		}
		close(gate)
		all.Wait()
		if _, err := f.AwaitCtx(background, id); err != nil {
			t.Error(err)
		}
		f.ended(0, id, kessai.SystemMalfunction)
		if n := f.book.PINTries(hasher.Medium(pinCard(0))); n != 0 {
			t.Errorf("%d wrong PINs are counted", n)
		}
		f.CloseReaders()
		if err := f.book.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestR_WhoHangsUpStillCounts: a wrong PIN counts though the phone is gone.
func TestR_WhoHangsUpStillCounts(t *testing.T) {
	onReaderFloor(t, 1, func(t *testing.T, f *readerFloor) {
		id, offer := f.asked(0)
		gone, leave := context.WithCancel(background)
		leave()
		if _, err := f.ReaderPIN(gone, id, f.customer(0), typed("0000")(f, offer)); err != nil {
			t.Error(err)
		}
		f.ended(0, id, kessai.WrongProof)
		if n := f.book.PINTries(hasher.Medium(pinCard(0))); n != 1 {
			t.Errorf("%d wrong PINs are counted", n)
		}
	})
}
