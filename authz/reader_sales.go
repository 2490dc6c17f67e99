package authz

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"kessai"
	"kessai/authz/keys"
	"kessai/authz/ledger"
	"kessai/pos/tether"
)

// A sale with a card reader is in the book from its beginning, and all that counts is
// decided there. What is here lives in memory only: which step it is in, when that
// step's time is over, and its key. Whoever ends the sale, the book tells (finish),
// and the key is destroyed; a key that is made meanwhile finds the sale over.
//
// Three locks, never one inside another but in this order: the turn, which is held
// over everything that is slow; readers.mu; readerSale.mu. The book's hook takes the
// last two only, so that it never waits for anybody's disk or arithmetic.

// readers are the sales that wait for a card reader.
type readers struct {
	o     ReaderOptions
	keys  *keys.Keeper
	fault error // there are no keys

	refused atomic.Uint64
	waiting [ReaderEnded]atomic.Int64 // sales in each step

	mu     sync.Mutex
	closed bool
	sales  map[kessai.TxID]*readerSale
	ended  map[ReaderEnd]uint64
}

// readerSale is one of them.
type readerSale struct {
	id       kessai.TxID
	account  ledger.AccountID
	deadline time.Time     // in the book
	turn     chan struct{} // holds a token while somebody works on the sale

	// Of who has the turn.
	approval ReaderApproval
	customer string
	signer   []byte // the reader's public key
	proof    ReaderProof
	medium   kessai.MediumID // the card, while its PIN is asked for: its number is with the key

	mu               sync.Mutex
	step             ReaderStep
	over             bool      // the book has ended it, or the gateway is stopping
	failed           bool      // it is to end, and the book may not have heard yet
	key              *keys.Key // from the offer on, until the step after it is sure
	offer, signature []byte
	until            time.Time
	timer            *time.Timer
	round            int // counts the timers: one that is late finds that it is over
}

func (o *ReaderOptions) defaults() {
	if o.Suite == 0 {
		o.Suite = tether.SuiteP256
	}
	if o.ApproveFor == 0 {
		o.ApproveFor = 2 * time.Minute
	}
	if o.CardFor == 0 {
		o.CardFor = time.Minute
	}
	if o.PINFor == 0 {
		o.PINFor = time.Minute
	}
	if o.PINTries == 0 {
		o.PINTries = 3
	}
}

// waitFor is how long a sale may wait in all.
func (o *ReaderOptions) waitFor() time.Duration { return o.ApproveFor + o.CardFor + o.PINFor }

// newReaders makes what readers need; nil where nobody pays with one.
func newReaders(o *ReaderOptions) *readers {
	if o == nil {
		return nil
	}
	r := &readers{o: *o, sales: make(map[kessai.TxID]*readerSale), ended: make(map[ReaderEnd]uint64)}
	r.o.defaults()
	kem, kdf, aead, ok := r.o.Suite.HPKE()
	if !ok {
		r.fault = errors.New("card readers: the suite is none of those that there are")
		return r
	}
	r.keys, r.fault = keys.New(keys.Options{Max: r.o.MaxKeys, KEM: kem, KDF: kdf, AEAD: aead})
	return r
}

// readerSale finds a sale that waits: nil where it waits no more. The look into the
// book after it got its place makes sure that none stays that has ended.
func (e *Engine) readerSale(id kessai.TxID, customer ledger.AccountID) (*readerSale, ledger.Tx, error) {
	t, ok := e.book.Find(ledger.Ref{ID: id})
	if !ok || e.readers == nil || t.Asks != kessai.AsksReader || t.Customer != customer {
		return nil, ledger.Tx{}, ErrNoSale
	}
	if t.Status != ledger.Waiting {
		return nil, t, nil
	}
	s, fresh, err := e.readers.enter(&t)
	if err != nil {
		return nil, t, err
	}
	if fresh {
		e.await(s, e.readers.o.ApproveFor)
	}
	if e.reread(&t); t.Status != ledger.Waiting {
		if fresh {
			e.readers.leave(id)
		}
		return nil, t, nil
	}
	return s, t, nil
}

// awaitReader begins the waits of a sale that waits for a card reader.
func (e *Engine) awaitReader(t *ledger.Tx) {
	if t.Asks == kessai.AsksReader {
		_, _, _ = e.readerSale(t.ID, t.Customer) // there is nobody to tell why not
	}
}

// enter gives a sale its place, or the one that it has.
func (r *readers) enter(t *ledger.Tx) (s *readerSale, fresh bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || r.fault != nil {
		return nil, false, ledger.ErrClosed
	}
	if s = r.sales[t.ID]; s != nil {
		return s, false, nil
	}
	s = &readerSale{id: t.ID, account: t.Customer, deadline: time.Unix(0, t.Deadline), turn: make(chan struct{}, 1)}
	r.sales[t.ID] = s
	r.waiting[ReaderApproves].Add(1)
	return s, true, nil
}

// leave ends a sale here, whoever calls first, and destroys its key. It gives the
// step in which it was.
func (r *readers) leave(id kessai.TxID) (step ReaderStep) {
	r.mu.Lock()
	s := r.sales[id]
	delete(r.sales, id)
	r.mu.Unlock()
	if s == nil {
		return ReaderApproves // nobody has begun with it
	}
	s.mu.Lock()
	s.over = true
	key, step := s.rest(), s.step
	s.mu.Unlock()
	destroy(key)
	r.waiting[step].Add(-1)
	return step
}

// finished is told by the book of each sale that has ended. It must not block.
func (r *readers) finished(t *ledger.Tx) {
	end := ReaderEnd{Step: r.leave(t.ID), Code: t.Standing()}
	r.mu.Lock()
	r.ended[end]++
	r.mu.Unlock()
}

// rest stops the timer and takes the key away; the caller holds the lock, and
// destroys the key when it has let go.
func (s *readerSale) rest() *keys.Key {
	s.round++
	if s.timer != nil {
		s.timer.Stop()
	}
	key := s.key
	s.key, s.until = nil, time.Time{}
	return key
}

func destroy(k *keys.Key) {
	if k != nil {
		k.Destroy()
	}
}

// await begins the wait of a step, which ends with the sale's own at the latest.
func (e *Engine) await(s *readerSale, d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.over && !s.failed {
		e.awaitLocked(s, d)
	}
}

func (e *Engine) awaitLocked(s *readerSale, d time.Duration) {
	now := time.Now()
	if s.until = now.Add(d); s.until.After(s.deadline) {
		s.until = s.deadline
	}
	s.round++
	round := s.round
	if s.timer != nil {
		s.timer.Stop()
	}
	s.timer = time.AfterFunc(s.until.Sub(now), func() { e.late(s, round) })
}

// enterStep goes on to a step; the caller holds the sale's lock.
func (e *Engine) enterStep(s *readerSale, step ReaderStep, d time.Duration) {
	e.readers.waiting[s.step].Add(-1)
	e.readers.waiting[step].Add(1)
	s.step = step
	e.awaitLocked(s, d)
}

// late ends a sale whose step took too long.
func (e *Engine) late(s *readerSale, round int) {
	s.mu.Lock()
	if s.over || s.round != round {
		s.mu.Unlock()
		return
	}
	s.failed = true
	last := s.until.Equal(s.deadline)
	key := s.rest()
	s.mu.Unlock()
	destroy(key)
	if !last { // or else the book ends it by itself, now
		_ = e.endReader(s, kessai.TooLate) // nobody waits for the answer
	}
}

// failReader ends a sale without money, with what the shop is told. Nothing can come
// of the sale from here on, whatever the book says. The error is [ErrStep] where
// somebody else was quicker, and is about to end it.
func (e *Engine) failReader(s *readerSale, code kessai.ResponseCode) error {
	s.mu.Lock()
	over, failed := s.over, s.failed
	s.failed = true
	var key *keys.Key
	if !over && !failed {
		key = s.rest()
	}
	s.mu.Unlock()
	switch {
	case over:
		return nil
	case failed:
		return ErrStep
	}
	destroy(key)
	return e.endReader(s, code)
}

// again is how long to wait before the book is told once more what it had no room
// for.
const again = time.Second

// endReader tells the book that a sale ends, until the book takes it.
func (e *Engine) endReader(s *readerSale, code kessai.ResponseCode) error {
	if _, over := e.over(s.id, s.account); over {
		return nil // somebody else was quicker
	}
	op := e.ofCustomer(kessai.Cancellation, s.id, 0)
	op.Ends = code
	_, err := e.book.Commit(context.Background(), &op)
	switch {
	case errors.Is(err, ledger.ErrBusy):
		s.mu.Lock()
		if !s.over {
			s.timer = time.AfterFunc(again, func() { _ = e.endReader(s, code) })
		}
		s.mu.Unlock()
	case err != nil:
		e.readers.close() // the book has no more to say: the process is to stop
	}
	return err
}

// close destroys every key for good.
func (r *readers) close() {
	r.mu.Lock()
	r.closed = true
	all := slices.Collect(maps.Keys(r.sales))
	r.mu.Unlock()
	for _, id := range all {
		r.leave(id)
	}
	if r.keys != nil {
		_ = r.keys.Close() // it gives memory back that nobody uses any more
	}
}

func (r *readers) isClosed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.closed
}

func (r *readers) stats() ReaderStats {
	st := ReaderStats{Refused: r.refused.Load()}
	if r.keys != nil {
		st.Keys, st.Issued = r.keys.Live(), r.keys.Issued()
	}
	for step := range st.Waiting {
		st.Waiting[step] = int(r.waiting[step].Load())
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	st.Ended = maps.Clone(r.ended)
	return st
}
