package authz

import (
	"context"

	"kessai"
	"kessai/authz/confirm"
	"kessai/authz/ledger"
)

// tell goes on with payments that customers are to confirm, when their holds are on
// disk (P-7): each takes its place in the waiting room, and its customer is asked.
// What has ended while it was on its way there is found in the book.
func (e *Engine) tell(asks []Ask) {
	for i := range asks {
		if asks[i].Request.Confirm != nil {
			e.tellOne(&asks[i])
		}
	}
}

func (e *Engine) tellOne(a *Ask) {
	ready, t := &a.Request.Confirm.ready, &a.Reply.Tx
	if a.Err != nil || t.ID == 0 || t.Asks == kessai.AsksNobody || !t.Code.IsApproval() {
		told := a.Err == nil && !a.Reply.Replayed && a.Reply.Code == kessai.InsufficientFunds
		if ready.place != nil {
			e.room.Drop(ready.place, told)
		}
		if told && ready.account != 0 { // P-6: the phone is told
			e.askPhones(ready.account, confirm.Event{ID: t.ID, Ended: true})
		}
		return
	}
	if a.Reply.Replayed {
		e.reread(t)
	}
	first := false
	switch {
	case ready.place == nil:
	case t.Status != ledger.Waiting:
		e.room.Drop(ready.place, false)
	default:
		first = e.room.Take(ready.place, t.ID)
		if e.reread(t); t.Status != ledger.Waiting {
			e.room.End(t.ID, *t)
			first = false
		}
	}
	if first {
		e.count.asked.Add(1)
		e.awaitReader(t)
		if ready.account != 0 {
			e.askPhones(ready.account, confirm.Event{ID: t.ID})
		}
	}
	a.Reply.Code = t.Standing()
}

// reread brings a transaction up to date.
func (e *Engine) reread(t *ledger.Tx) {
	if now, ok := e.book.Find(ledger.Ref{ID: t.ID}); ok {
		*t = now
	}
}

// askPhones tells the phones that are open, and has the others called.
func (e *Engine) askPhones(account ledger.AccountID, event confirm.Event) {
	e.room.Tell(uint32(account), event)
	e.o.Phone.Ask(account, event.ID)
}

// Ending says how a payment that waited for its customer ended.
type PhoneEnding uint8

// The ways in which it ends.
const (
	EndedApproved PhoneEnding = iota
	EndedCancelled
	EndedByTries
	EndedUncovered
	EndedExpired
	EndedReversed
	numEndings
)

func (n PhoneEnding) String() string {
	return [...]string{"approved", "cancelled", "wrong_proofs", "not_covered", "expired", "reversed"}[n%numEndings]
}

func endingOf(t *ledger.Tx) PhoneEnding {
	switch {
	case t.Agreed != 0:
		return EndedApproved
	case t.Status == ledger.Expired, t.Told == kessai.TooLate:
		return EndedExpired
	case t.Status == ledger.Reversed:
		return EndedReversed
	case t.Told == kessai.TriesExceeded:
		return EndedByTries
	case t.Told == kessai.InsufficientFunds:
		return EndedUncovered
	}
	return EndedCancelled
}

// ended is told by the book which payments wait no more. It must not block.
func (e *Engine) ended(sales []ledger.Tx) {
	for i := range sales {
		e.count.ended[endingOf(&sales[i])].Add(1)
		if e.readers != nil && sales[i].Asks == kessai.AsksReader {
			e.readers.finished(&sales[i])
		}
		e.room.End(sales[i].ID, sales[i])
	}
}

// Proof is what a phone proved about a payment, after the proof was checked: this
// package takes the word of its caller.
type Proof struct {
	Sale     kessai.TxID
	Customer ledger.AccountID
	Factor   kessai.Factor
	Wrong    bool   // it was none: it counts against the payment, and against the password of the day
	Evidence []byte // kept with the approval, at most ledger.MaxNote bytes
}

// Approve puts a customer's proof into the book (P-9 to P-11). It gives the payment
// as it stands then, and the outcome of the proof itself: Approved; WrongProof;
// TriesExceeded where too many passwords were wrong today, and the payment waits on;
// InvalidTransaction where the payment has ended; NoSuchRecord, with no payment,
// where it is not this customer's. Errors are those of [Engine.Authorize].
func (e *Engine) Approve(ctx context.Context, p Proof) (sale ledger.Tx, code kessai.ResponseCode, err error) {
	if t, over := e.over(p.Sale, p.Customer); over && !p.Wrong {
		return t, kessai.InvalidTransaction, nil
	}
	op := e.ofCustomer(kessai.Approval, p.Sale, p.Customer)
	op.Factor, op.Note = p.Factor, p.Evidence
	if p.Wrong {
		op.Verdict = kessai.WrongProof
	}
	return e.commitOf(ctx, &op)
}

// CancelByCustomer ends a payment that waits (P-8). The outcome is as in
// [Engine.Approve].
func (e *Engine) CancelByCustomer(ctx context.Context, id kessai.TxID, customer ledger.AccountID) (sale ledger.Tx, code kessai.ResponseCode, err error) {
	if t, over := e.over(id, customer); over {
		return t, kessai.InvalidTransaction, nil
	}
	op := e.ofCustomer(kessai.Cancellation, id, customer)
	op.Ends = kessai.CustomerCancellation
	return e.commitOf(ctx, &op)
}

// over gives a payment of a customer that waits no more. What they do about it
// changes nothing and is not recorded, or they could fill the book with it.
func (e *Engine) over(id kessai.TxID, customer ledger.AccountID) (ledger.Tx, bool) {
	t, ok := e.book.Find(ledger.Ref{ID: id})
	return t, ok && t.Asks != kessai.AsksNobody && t.Customer == customer && t.Status != ledger.Waiting
}

// Claim makes a payment that named nobody that of a customer (P-3). The outcome is
// Approved also where they claimed it before; NoSuchRecord where somebody else did;
// InsufficientFunds where their account does not cover it, which ends the payment;
// InvalidTransaction where it has ended, or no rate is known for their currency.
func (e *Engine) Claim(ctx context.Context, id kessai.TxID, customer string) (sale ledger.Tx, code kessai.ResponseCode, err error) {
	if e.o.Phone.Customer == nil {
		return sale, kessai.InvalidTransaction, nil
	}
	c, ok, err := e.o.Phone.Customer(customer)
	if err != nil || !ok || c.Account == 0 {
		return sale, kessai.NoSuchRecord, err
	}
	t, ok := e.book.Find(ledger.Ref{ID: id})
	if !ok || t.Asks != kessai.AsksClaim {
		return sale, kessai.NoSuchRecord, nil
	}
	op := e.ofCustomer(kessai.Claim, id, c.Account)
	note := saleNote{Version: 1, Customer: c.ID}
	if t.Status == ledger.Waiting && t.Customer == 0 {
		op.Foreign, note.Rate, note.Date, code = e.convert(kessai.Amount{Value: t.Requested, Currency: t.Currency}, c.Currency)
		if !code.IsApproval() {
			return sale, code, nil
		}
	}
	op.Note, _ = note.encode() // two short texts: it fits
	op.Names[0] = ledger.Name{Key: claimKey(id, c.Account)}
	if sale, code, err = e.commitOf(ctx, &op); err == nil && sale.Customer == c.Account && sale.Status == ledger.Waiting {
		e.room.Claim(id, uint32(c.Account))
	}
	return sale, code, err
}

// SignIn counts a try to sign in with a password: Approved, WrongProof, or
// TriesExceeded where too many were wrong today. Then nothing is recorded, or a
// stranger who knows a customer's ID could fill the book.
func (e *Engine) SignIn(ctx context.Context, customer ledger.AccountID, wrong bool) (kessai.ResponseCode, error) {
	if _, n := e.book.Tries(customer); n >= e.o.Phone.DayTries {
		return kessai.TriesExceeded, nil
	}
	op := e.ofCustomer(kessai.SignIn, 0, customer)
	op.Factor = kessai.FactorPassword
	if wrong {
		op.Verdict = kessai.WrongProof
	}
	_, code, err := e.commitOf(ctx, &op)
	return code, err
}

// Unlock forgets what a customer got wrong today.
func (e *Engine) Unlock(ctx context.Context, customer ledger.AccountID) error {
	op := e.ofCustomer(kessai.Unlock, 0, customer)
	_, _, err := e.commitOf(ctx, &op)
	return err
}

func (e *Engine) ofCustomer(k kessai.Kind, about kessai.TxID, customer ledger.AccountID) ledger.Op {
	return ledger.Op{
		Kind: k, Verdict: kessai.Approved, Original: ledger.Ref{ID: about}, Customer: customer,
		MaxTries: e.o.Phone.MaxTries, DayTries: e.o.Phone.DayTries,
	}
}

// commitOf has the book do what a customer wants, and gives the payment that it is
// about as it stands then, if it is theirs.
func (e *Engine) commitOf(ctx context.Context, op *ledger.Op) (sale ledger.Tx, code kessai.ResponseCode, err error) {
	out, err := e.book.Commit(ctx, op)
	if err != nil {
		return sale, kessai.SystemMalfunction, err
	}
	if t, ok := e.book.Find(op.Original); ok && t.Customer == op.Customer {
		sale = t
	}
	return sale, out.Tx.Code, nil
}

// Await has f called once with a payment as it stands when it waits no more: at
// once where it does not wait, and else by whoever ends it, so that f must not
// block. [Engine.Leave] gives up. The error is confirm.ErrWatchers.
func (e *Engine) Await(id kessai.TxID, f func(ledger.Tx)) (confirm.Ticket, error) {
	ticket, err := e.room.Wait(id, f)
	if err != nil {
		return ticket, err
	}
	if t, _ := e.book.Find(ledger.Ref{ID: id}); t.Status != ledger.Waiting {
		t.ID = id
		e.room.End(id, t)
	}
	return ticket, nil
}

// Leave gives up an [Engine.Await]. It is false where f was called, or is being.
func (e *Engine) Leave(t confirm.Ticket) bool { return e.room.Leave(t) }

// AwaitCtx waits until a payment waits no more, or for as long as ctx lasts, and
// gives it as it stands then.
func (e *Engine) AwaitCtx(ctx context.Context, id kessai.TxID) (ledger.Tx, error) {
	decided := make(chan ledger.Tx, 1)
	ticket, err := e.Await(id, func(t ledger.Tx) { decided <- t })
	if err != nil {
		return ledger.Tx{}, err
	}
	select {
	case t := <-decided:
		return t, nil
	case <-ctx.Done():
		e.Leave(ticket)
		t, _ := e.book.Find(ledger.Ref{ID: id})
		return t, nil
	}
}

// Sales gives the payments that wait for one customer, the oldest first.
func (e *Engine) Sales(customer ledger.AccountID) []ledger.Tx {
	open := e.room.Open(uint32(customer))
	sales := make([]ledger.Tx, 0, len(open))
	for _, id := range open {
		if t, ok := e.book.Find(ledger.Ref{ID: id}); ok && t.Status == ledger.Waiting && t.Customer == customer {
			sales = append(sales, t)
		}
	}
	return sales
}

// Subscribe opens a phone of a customer: it hears of what waits for them and of
// what has ended, until it is closed with [Engine.Unsubscribe].
func (e *Engine) Subscribe(customer ledger.AccountID) (*confirm.Phone, error) {
	return e.room.Subscribe(uint32(customer))
}

// Unsubscribe closes a phone.
func (e *Engine) Unsubscribe(p *confirm.Phone) { e.room.Unsubscribe(p) }

// PhoneStats is what there is to count about customers' phones.
type PhoneStats struct {
	Waiting  int    // payments that wait now
	Watching int    // requests and connections that wait for them
	Asked    uint64 // payments that began to wait
	Ended    map[PhoneEnding]uint64
	Refused  map[string]uint64 // payments that could not wait, by why
}

// PhoneStats counts.
func (e *Engine) PhoneStats() PhoneStats {
	c := &e.count
	s := PhoneStats{
		Waiting: e.room.Waiting(), Watching: e.room.Watching(), Asked: c.asked.Load(),
		Ended: make(map[PhoneEnding]uint64, numEndings),
		Refused: map[string]uint64{
			"full": c.full.Load(), "open": c.open.Load(), "too_many": c.tooMany.Load(), "claims": c.claims.Load(),
		},
	}
	for n := range numEndings {
		s.Ended[n] = c.ended[n].Load()
	}
	return s
}
