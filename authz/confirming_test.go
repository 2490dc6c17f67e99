package authz

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"kessai"
	"kessai/authz/confirm"
	"kessai/authz/ledger"
	"kessai/cache"
	"kessai/pos/sale"
)

// floor is a shop with many terminals and many customers with phones.
type floor struct {
	*Engine
	t     *testing.T
	dir   string
	n     int
	first ledger.AccountID // of a customer
	stan  kessai.STAN
	asked []kessai.TxID // by push
	mu    sync.Mutex
	stage func(Stage)

	reader *ReaderOptions // as the next engine has it; nil: nobody pays with one
	media  map[kessai.MediumID]cache.Medium
	queue  int // of the next book; zero: the default
}

func (f *floor) terminal(i int) kessai.TerminalID {
	id, _ := kessai.ParseTerminalID(fmt.Sprintf("T%07d", i))
	return id
}

// open opens the book, with the customers of the floor, and an engine on it.
func (f *floor) open() {
	f.t.Helper()
	b, err := ledger.Open(ledger.Options{Dir: f.dir, Logf: f.t.Logf, MaxQueue: f.queue})
	if err != nil {
		f.t.Fatal(err)
	}
	specs := []ledger.AccountSpec{{Name: "merchant/aoi", Kind: ledger.MerchantAccount, Currency: kessai.JPY}}
	for i := range f.n {
		specs = append(specs, ledger.AccountSpec{Name: fmt.Sprintf("customer/%d", i), Kind: ledger.CustomerAccount, Currency: kessai.JPY, Opening: 1_000_000})
	}
	ids, err := b.OpenAccounts(specs)
	if err != nil {
		f.t.Fatal(err)
	}
	f.first = ids[1]
	_, facts := sound()
	facts.Terminal.Account = uint32(ids[0])
	s := cache.NewBuilder(cache.Both, 1, f.n)
	s.AddMerchant(shop)
	for id, m := range f.media {
		m.Account += uint32(f.first) // they are made before there are accounts
		s.AddMedium(id, m)
	}
	for i := range f.n {
		s.AddTerminal(f.terminal(i), facts.Terminal)
	}
	valid := new(cache.Cache)
	valid.Swap(s.Snapshot(time.Now(), 1))
	f.Engine = New(b, valid, Options{
		HoldFor: time.Hour,
		Observe: func(s Stage, _ time.Duration, _ int) {
			if f.stage != nil {
				f.stage(s)
			}
		},
		Phone: PhoneOptions{
			Customer: func(id string) (CustomerFacts, bool, error) {
				id = strings.TrimPrefix(id, "+8150") // their phone numbers
				a, ok := b.AccountByName("customer/" + id)
				return CustomerFacts{ID: id, Account: a.ID, Currency: a.Currency, Reachable: true}, ok, nil
			},
			Ask: func(_ ledger.AccountID, id kessai.TxID) {
				f.mu.Lock()
				defer f.mu.Unlock()
				f.asked = append(f.asked, id)
			},
			Room: confirm.Options{PerAccount: 1 << 30},
		},
		Reader: f.reader,
	})
}

// customer gives an account by its number on the floor.
func (f *floor) customer(i int) ledger.AccountID { return f.first + ledger.AccountID(i) }

// request is a purchase at a terminal that the customer of the same number confirms.
func (f *floor) request(i int) Request {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stan++
	return Request{
		Wire: ledger.WireISO, Kind: kessai.Purchase, Merchant: shop, Terminal: f.terminal(i), Received: time.Now(),
		Amount:  kessai.Amount{Value: 450, Currency: kessai.JPY},
		Attempt: Attempt{MTI: [4]byte([]byte("0200")), STAN: f.stan, Transmitted: time.Now()},
		Confirm: &Confirm{Asks: kessai.AsksPhone, Customer: fmt.Sprint(i), Items: []sale.Item{{Name: "Coffee", Quantity: 1, Price: 450, Tax: sale.TaxUnknown}}},
	}
}

func (f *floor) ask(r Request) Reply {
	f.t.Helper()
	reply, err := f.AuthorizeOne(context.Background(), &r)
	if err != nil {
		f.t.Fatal(err)
	}
	return reply
}

// waits is a payment that waits for its customer.
func (f *floor) waits(i int) Reply {
	f.t.Helper()
	reply := f.ask(f.request(i))
	if reply.Code != kessai.RequestInProgress || reply.Tx.Status != ledger.Waiting {
		f.t.Fatalf("%v, %v; want a payment that waits", reply.Code, reply.Tx.Status)
	}
	return reply
}

// onFloor runs a test on a floor with so many terminals and customers, in virtual
// time.
func onFloor(t *testing.T, n int, test func(t *testing.T, f *floor)) {
	t.Helper()
	onFloorWith(t, n, func(*floor) {}, test)
}

// onFloorWith is onFloor with something done before the engine is made.
func onFloorWith(t *testing.T, n int, before func(*floor), test func(t *testing.T, f *floor)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		f := &floor{t: t, dir: dir, n: n}
		before(f)
		f.open()
		defer func() { f.book.Close() }()
		test(t, f)
	})
}

// TestP7_NothingIsAskedBeforeTheHoldIsOnDisk, and nobody misses the end of a payment
// that ends between its commit and its place in the waiting room.
func TestP7_NothingIsAskedBeforeTheHoldIsOnDisk(t *testing.T) {
	onFloor(t, 1, func(t *testing.T, f *floor) {
		var once sync.Once
		f.stage = func(s Stage) {
			if s != StageCommit {
				return
			}
			once.Do(func() { // between the commit and everything that follows from it
				if len(f.asked) != 0 {
					t.Error("the phone was asked before the hold was on disk")
				}
				waiting := f.book.Waiting()
				if len(waiting) != 1 {
					t.Fatalf("%d payments wait in the book", len(waiting))
				}
				if _, code, err := f.CancelByCustomer(context.Background(), waiting[0].ID, f.customer(0)); code != kessai.Approved || err != nil {
					t.Fatal(code, err)
				}
			})
		}
		r := f.request(0)
		reply := f.ask(r)
		if reply.Code != kessai.CustomerCancellation || reply.Tx.Status != ledger.Cancelled {
			t.Errorf("the terminal hears %v, the payment is %v", reply.Code, reply.Tx.Status)
		}
		if len(f.asked) != 0 || f.PhoneStats().Waiting != 0 {
			t.Errorf("%v were asked, %d wait", f.asked, f.PhoneStats().Waiting)
		}
		heard := make(chan ledger.Tx, 1)
		if _, err := f.Await(reply.Tx.ID, func(t ledger.Tx) { heard <- t }); err != nil || (<-heard).Told != kessai.CustomerCancellation {
			t.Error("who waits for what has ended does not hear at once", err)
		}
		if again := f.ask(r); !again.Replayed || again.Code != kessai.CustomerCancellation {
			t.Errorf("the repeat hears %v", again.Code)
		}
		f.waits(0) // there is room again
		if len(f.asked) != 1 {
			t.Errorf("%v were asked", f.asked)
		}
	})
}

// TestP_RepeatsShareOnePlace: a repeat that comes while its first sending is on its
// way to the book is no second question.
func TestP_RepeatsShareOnePlace(t *testing.T) {
	onFloor(t, 1, func(t *testing.T, f *floor) {
		r := f.request(0)
		var all sync.WaitGroup
		var mu sync.Mutex
		codes := make(map[kessai.ResponseCode]int)
		ids := make(map[kessai.TxID]int)
		for range 20 {
			one := r
			c := *r.Confirm
			one.Confirm = &c
			all.Go(func() {
				reply, err := f.AuthorizeOne(context.Background(), &one)
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					t.Error(err)
				}
				codes[reply.Code]++
				ids[reply.Tx.ID]++
			})
		}
		all.Wait()
		if codes[kessai.RequestInProgress] != 20 || len(ids) != 1 || len(f.asked) != 1 || f.PhoneStats().Waiting != 1 {
			t.Errorf("%v, %v, %v, %+v", codes, ids, f.asked, f.PhoneStats())
		}
	})
}

// TestP_RestartFillsTheRoom: what waits in the book waits on, with its place and its
// customer, who is asked once more.
func TestP_RestartFillsTheRoom(t *testing.T) {
	onFloor(t, 2, func(t *testing.T, f *floor) {
		r := f.request(0)
		id := f.ask(r).Tx.ID
		late := f.waits(1).Tx.ID
		f.book.Close()
		time.Sleep(time.Minute)
		f.asked = nil
		f.open()
		if s := f.PhoneStats(); s.Waiting != 2 || len(f.Sales(f.customer(0))) != 1 || len(f.asked) != 2 {
			t.Fatalf("%+v, %v were asked", s, f.asked)
		}
		if reply := f.ask(f.request(0)); reply.Code != kessai.CountLimit {
			t.Errorf("a second question at the same terminal: %v", reply.Code)
		}
		if reply := f.ask(r); !reply.Replayed || reply.Tx.ID != id || reply.Code != kessai.RequestInProgress {
			t.Errorf("the repeat: %v", reply.Code)
		}
		heard := make(chan kessai.ResponseCode, 2)
		for _, id := range []kessai.TxID{id, late} {
			if _, err := f.Await(id, func(t ledger.Tx) { heard <- t.Standing() }); err != nil {
				t.Fatal(err)
			}
		}
		if _, code, err := f.Approve(context.Background(), Proof{Sale: id, Customer: f.customer(0), Factor: kessai.FactorPasskey}); code != kessai.Approved || err != nil {
			t.Fatal(code, err)
		}
		if code := <-heard; code != kessai.Approved {
			t.Error(code)
		}
		if code := <-heard; code != kessai.TooLate { // its time is what it was before the restart
			t.Error(code)
		}
		if f.PhoneStats().Waiting != 0 {
			t.Error("somebody waits")
		}
	})
}

// TestP_CommitThatFailsAsksNobody: where nobody knows what was done, nobody is told.
func TestP_CommitThatFailsAsksNobody(t *testing.T) {
	onFloor(t, 1, func(t *testing.T, f *floor) {
		f.book.Close()
		r := f.request(0)
		if _, err := f.AuthorizeOne(context.Background(), &r); !errors.Is(err, ledger.ErrClosed) {
			t.Fatal(err)
		}
		if len(f.asked) != 0 || f.PhoneStats().Waiting != 0 {
			t.Errorf("%v were asked, %d wait", f.asked, f.PhoneStats().Waiting)
		}
	})
}

// TestP_SaleIsWhatWasShown: the sale that is signed is made from the book alone, the
// same whenever it is asked for.
func TestP_SaleIsWhatWasShown(t *testing.T) {
	onFloor(t, 1, func(t *testing.T, f *floor) {
		reply := f.waits(0)
		before, err := f.Sale(&reply.Tx)
		if err != nil {
			t.Fatal(err)
		}
		digest, err := before.Digest()
		if err != nil {
			t.Fatal(err)
		}
		f.book.Close()
		f.open()
		if _, _, err := f.Approve(context.Background(), Proof{Sale: reply.Tx.ID, Customer: f.customer(0), Factor: kessai.FactorPasskey}); err != nil {
			t.Fatal(err)
		}
		now, _ := f.book.Find(ledger.Ref{ID: reply.Tx.ID})
		after, err := f.Sale(&now)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := after.Digest(); err != nil || again != digest {
			t.Errorf("it is another one after the restart: %+v, %v", after, err)
		}
	})
}

// silence stands for an answer that did not come.
const silence kessai.ResponseCode = 99

// ending is what the parties of one payment heard.
type ending struct {
	waits    Reply
	approved kessai.ResponseCode // to the phone that approves
	denied   kessai.ResponseCode // to the phone that cancels
	undone   Reply               // to the terminal that reverses
	heard    []ledger.Tx         // by the terminal that waits
}

// TestP_OneWinnerAndEverybodyAgrees: approval, cancellation, deadline, reversal and a
// restart come at the same moment, thousands of times. Each payment ends once; the
// terminal that waits, the phone and the book say the same of it, and so does the
// money.
func TestP_OneWinnerAndEverybodyAgrees(t *testing.T) {
	const together, rounds = 200, 50
	onFloor(t, together, func(t *testing.T, f *floor) {
		won := make(map[string]int)
		paid := 0
		for round := range rounds {
			endings := make([]ending, together)
			var all sync.WaitGroup
			for i := range endings {
				all.Go(func() { endings[i].waits = f.waits(i) })
			}
			all.Wait()
			f.race(endings, round)
			for i := range endings {
				if f.agree(i, &endings[i], won) {
					paid++
				}
			}
			if n := f.PhoneStats().Waiting; n != 0 {
				t.Fatalf("%d payments wait when all is over", n)
			}
		}
		t.Log(won)
		if sum := won["approved"] + won["cancelled"] + won["expired"] + won["reversed"]; sum != together*rounds {
			t.Errorf("%v, that is %d of %d", won, sum, together*rounds)
		}
		for _, how := range []string{"approved", "cancelled", "expired", "reversed"} {
			if won[how] == 0 {
				t.Errorf("nothing was ever %s: %v", how, won)
			}
		}
		a, _ := f.book.AccountByName("merchant/aoi")
		if a.Balance != int64(paid)*450 {
			t.Errorf("the shop has %d of %d payments", a.Balance, paid)
		}
	})
}

// race has everybody who can end a payment do so at the moment of its deadline, or
// a little before; in every fifth round the gateway restarts at that moment too, and
// whoever gets no answer from it asks the next one how the payment stands.
func (f *floor) race(endings []ending, round int) {
	var all sync.WaitGroup
	g, restart := f.Engine, round%5 == 4
	failed := func(err error) bool {
		if err != nil && !(restart && errors.Is(err, ledger.ErrClosed)) {
			f.t.Error(err)
		}
		return err != nil
	}
	for i := range endings {
		e := &endings[i]
		e.approved, e.denied, e.undone.Code = silence, silence, silence
		id, deadline := e.waits.Tx.ID, time.Unix(0, e.waits.Tx.Deadline)
		f.listen(e)
		at := deadline.Add(-time.Duration((i+round)%3) * time.Nanosecond)
		act := func(do func()) {
			all.Go(func() {
				time.Sleep(time.Until(at))
				do()
			})
		}
		act(func() {
			_, code, err := g.Approve(context.Background(), Proof{Sale: id, Customer: f.customer(i), Factor: kessai.FactorPasskey})
			if !failed(err) {
				e.approved = code
			}
		})
		act(func() {
			_, code, err := g.CancelByCustomer(context.Background(), id, f.customer(i))
			if !failed(err) {
				e.denied = code
			}
		})
		if (i+round)%4 == 0 {
			r := f.request(i)
			r.Kind, r.Confirm, r.Amount, r.Original.ID, r.Attempt.MTI = kessai.Reversal, nil, kessai.Amount{}, id, MTI(kessai.Reversal)
			act(func() {
				if reply, err := g.AuthorizeOne(context.Background(), &r); !failed(err) {
					e.undone = reply
				}
			})
		}
		if restart && i == len(endings)/2 {
			act(func() { g.book.Close() })
		}
	}
	all.Wait()
	if restart {
		f.open()
		for i := range endings {
			f.listen(&endings[i])
		}
	}
	time.Sleep(time.Second)
	synctest.Wait()
}

// listen has a terminal wait for its payment, unless it has heard already.
func (f *floor) listen(e *ending) {
	f.t.Helper()
	f.mu.Lock()
	heard := len(e.heard) > 0
	f.mu.Unlock()
	if heard {
		return
	}
	if _, err := f.Await(e.waits.Tx.ID, func(t ledger.Tx) {
		f.mu.Lock()
		defer f.mu.Unlock()
		if t.Status != 0 { // the book says nothing while it closes
			e.heard = append(e.heard, t)
		}
	}); err != nil {
		f.t.Fatal(err)
	}
}

// agree holds what was heard about one payment against the book. It is true where
// the money stands with the shop.
func (f *floor) agree(i int, e *ending, won map[string]int) (paid bool) {
	f.t.Helper()
	now, ok := f.book.Find(ledger.Ref{ID: e.waits.Tx.ID})
	if !ok {
		f.t.Fatal("the payment is gone")
	}
	undone := now.Reversed > 0 || e.undone.Code == kessai.Approved
	var how string
	switch {
	case now.Agreed != 0:
		how, paid = "approved", !undone
	case now.Status == ledger.Cancelled:
		how = "cancelled"
	case now.Status == ledger.Expired:
		how = "expired"
	case now.Status == ledger.Reversed:
		how = "reversed"
	default:
		f.t.Fatalf("payment %d is %v", now.ID, now.Status)
	}
	won[how]++
	if e.approved != silence && (e.approved == kessai.Approved) != (how == "approved") ||
		e.denied != silence && (e.denied == kessai.Approved) != (how == "cancelled") {
		f.t.Errorf("payment %d is %s; the approval was answered with %v, the cancellation with %v", now.ID, how, e.approved, e.denied)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(e.heard) != 1 || e.heard[0].Standing() != now.Standing() {
		f.t.Errorf("payment %d is told %v; the terminal heard %v", now.ID, now.Standing(), e.heard)
	}
	if a, _ := f.book.Account(f.customer(i)); a.Held != 0 {
		f.t.Errorf("%d are still held from customer %d", a.Held, i)
	}
	return paid
}
