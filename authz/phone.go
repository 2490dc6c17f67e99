package authz

import (
	"cmp"
	"encoding/binary"
	"sync/atomic"
	"time"

	"kessai"
	"kessai/authz/confirm"
	"kessai/authz/ledger"
	"kessai/pos/sale"
)

// Confirm says that a payment stands only when the customer has confirmed it on
// their own phone (system P). The terminal never learns what they confirm it with.
type Confirm struct {
	Asks      kessai.Asks // AsksPhone, AsksReader or AsksClaim
	Customer  string      // of AsksPhone and AsksReader: the customer's ID, or their phone number (E.164, with its +)
	Reference string      // the terminal's own name for the sale (P-2), see checkReference; may be empty
	Items     []sale.Item // as they were sent; name and price may be left to the item file

	ready prompt
}

// prompt is what is made of it before it goes to the book.
type prompt struct {
	place   *confirm.Place[ledger.Tx]
	account ledger.AccountID
	foreign ledger.Foreign
	note    []byte
}

// PhoneOptions says how customers confirm payments. Zero numbers and times stand
// for their defaults. The functions may be called from many goroutines at once.
type PhoneOptions struct {
	Customer func(id string) (CustomerFacts, bool, error)                                         // nil: nobody can be asked
	Shop     func(kessai.MerchantID) (name string, mustMatch bool)                                // nil: a shop is called by its ID
	Item     func(m kessai.MerchantID, code string) (sale.Item, bool, error)                      // nil: there is no item file
	Convert  func(kessai.Amount, kessai.Currency) (a kessai.Amount, rate, date string, err error) // nil: accounts pay in their own currency only
	Ask      func(account ledger.AccountID, id kessai.TxID)                                       // told of each payment that asks; must not block; may be nil

	Timeout  time.Duration // how long a payment waits. Default 2 min
	HoldFor  time.Duration // how long a claimed pre-authorization stands. Default 10 min
	MaxTries int           // wrong proofs that end a payment. Default 3
	DayTries int           // wrong passwords of an account and day that lock the password. Default 5
	Room     confirm.Options
}

// CustomerFacts is what is known of a customer who is to be asked.
type CustomerFacts struct {
	ID        string
	Account   ledger.AccountID
	Currency  kessai.Currency // of the account
	Reachable bool            // a phone is registered
}

func (o *PhoneOptions) defaults() {
	if o.Timeout == 0 {
		o.Timeout = 2 * time.Minute
	}
	if o.HoldFor == 0 {
		o.HoldFor = 10 * time.Minute
	}
	if o.MaxTries == 0 {
		o.MaxTries = 3
	}
	if o.DayTries == 0 {
		o.DayTries = 5
	}
	if o.Shop == nil {
		o.Shop = func(kessai.MerchantID) (string, bool) { return "", false }
	}
	if o.Item == nil {
		o.Item = func(kessai.MerchantID, string) (sale.Item, bool, error) { return sale.Item{}, false, nil }
	}
	if o.Ask == nil {
		o.Ask = func(ledger.AccountID, kessai.TxID) {}
	}
}

// phoneCounts counts what has to do with customers' phones.
type phoneCounts struct {
	asked                       atomic.Uint64
	full, open, tooMany, claims atomic.Uint64
	ended                       [numEndings]atomic.Uint64
}

// openRoom makes the waiting room, and gives those a place in it who wait in the
// book. It hears of their ends before it looks, so that none is missed.
func (e *Engine) openRoom() {
	e.room = confirm.New[ledger.Tx](e.o.Phone.Room)
	e.readers = newReaders(e.o.Reader)
	if e.book == nil { // it only judges
		return
	}
	e.book.OnEnded(e.ended)
	for _, t := range e.book.Waiting() {
		e.room.Restore(whose(&t), t.ID, time.Unix(0, t.Time))
		e.awaitReader(&t)
		now, ok := e.book.Find(ledger.Ref{ID: t.ID})
		switch {
		case ok && now.Status != ledger.Waiting:
			e.room.End(t.ID, now)
		case t.Customer != 0: // nobody knows whether their phone was reached before
			e.o.Phone.Ask(t.Customer, t.ID)
		}
	}
}

func whose(t *ledger.Tx) confirm.Who {
	return confirm.Who{
		Account: uint32(t.Customer), Terminal: t.Terminal,
		Names: [2]confirm.Name{confirm.Name(t.Names[0].Key), confirm.Name(t.Names[1].Key)},
	}
}

// decideConfirm judges what a customer is to confirm, apart from the customer.
func decideConfirm(r *Request, f *Facts) kessai.ResponseCode {
	switch {
	case r.Kind != kessai.Purchase && r.Kind != kessai.PreAuthorization, !r.standsAlone(), r.Dialogue != nil,
		r.Confirm.Asks == kessai.AsksNobody || r.Confirm.Asks > kessai.AsksReader:
		return kessai.InvalidTransaction
	case f.Stale:
		return kessai.SystemMalfunction
	case over(r.Amount.Value, f.Terminal.Limits.Single):
		return kessai.AmountLimit
	}
	return kessai.Approved
}

// prompt makes what a customer is to confirm (P-1 to P-5), and keeps a place for it
// in the waiting room, before it is put into the book. It may change the code with
// which it is recorded. It is false where the sale cannot be shown to anybody: then
// nothing is recorded, and the reply says why.
func (e *Engine) prompt(a *Ask, code *kessai.ResponseCode) bool {
	r := &a.Request
	if r.Confirm == nil || !code.IsApproval() {
		return true
	}
	names := r.names(e.o.Acquirer)
	shop, items, refusal := e.shown(r)
	if refusal != nil {
		*code = refusal.Code
		if e.knows(&names) { // a repeat has the stored answer, though the clock or the item file went on
			return true
		}
		a.Reply.Refusal = refusal
		return false
	}
	note := saleNote{Version: 1, Shop: shop, Customer: r.Confirm.Customer, Reference: r.Confirm.Reference}
	note.Items = make([]noteItem, len(items))
	for i, it := range items {
		note.Items[i] = noteItem(it)
	}
	if r.Confirm.Asks != kessai.AsksClaim {
		*code = e.findCustomer(r, &note)
	}
	ready := &r.Confirm.ready
	if ready.note, refusal = note.encode(); refusal != nil {
		*code, a.Reply.Refusal = refusal.Code, refusal
		return false
	}
	if !code.IsApproval() {
		return true
	}
	who := confirm.Who{Account: uint32(ready.account), Terminal: r.Terminal}
	for i := range names {
		who.Names[i] = confirm.Name(names[i].Key)
	}
	var err error
	if ready.place, err = e.room.Reserve(who, r.Received); err != nil {
		*code, refusal = e.noPlace(err)
	}
	a.Reply.Refusal = refusal
	return refusal == nil || e.knows(&names)
}

// knows reports whether the book has an attempt of one of the names.
func (e *Engine) knows(names *[2]ledger.Name) bool {
	for _, n := range names {
		if n.Key == (ledger.Key{}) {
			continue
		}
		if _, ok := e.book.Find(ledger.Ref{Key: n.Key}); ok {
			return true
		}
	}
	return false
}

// findCustomer finds whom to ask (P-5), and what they pay where their account has
// another currency (P-13). A customer who is not known and one who has no phone are
// the same to whoever asks.
func (e *Engine) findCustomer(r *Request, note *saleNote) kessai.ResponseCode {
	reader := r.Confirm.Asks == kessai.AsksReader
	if e.o.Phone.Customer == nil || reader && e.readers == nil {
		return kessai.InvalidTransaction
	}
	c, ok, err := e.o.Phone.Customer(r.Confirm.Customer)
	switch {
	case reader && e.readers.fault != nil:
		return kessai.SystemMalfunction
	case err != nil:
		return kessai.SystemMalfunction
	case !ok || !c.Reachable || c.Account == 0:
		return kessai.DoNotHonour
	}
	ready := &r.Confirm.ready
	ready.account, note.Customer = c.Account, cmp.Or(c.ID, note.Customer) // they may be named by their number
	var code kessai.ResponseCode
	ready.foreign, note.Rate, note.Date, code = e.convert(r.Amount, c.Currency)
	return code
}

// convert gives the customer's side of an amount; zero where the currency is the
// same.
func (e *Engine) convert(a kessai.Amount, to kessai.Currency) (f ledger.Foreign, rate, date string, code kessai.ResponseCode) {
	if a.Currency == to {
		return f, "", "", kessai.Approved
	}
	if e.o.Phone.Convert == nil {
		return f, "", "", kessai.InvalidTransaction
	}
	converted, rate, date, err := e.o.Phone.Convert(a, to)
	if err != nil || converted.Currency != to {
		return f, "", "", kessai.InvalidTransaction
	}
	if converted.Value < 1 || converted.Value > kessai.MaxAmount {
		return f, "", "", kessai.InvalidAmount
	}
	return ledger.Foreign{Currency: to, Amount: converted.Value}, rate, date, kessai.Approved
}

// noPlace gives the code for why there is no place in the waiting room. Where it is
// full nothing is recorded, so that the same message can be sent again.
func (e *Engine) noPlace(err error) (kessai.ResponseCode, *Refusal) {
	switch err {
	case confirm.ErrOpen:
		e.count.open.Add(1)
	case confirm.ErrTooMany:
		e.count.tooMany.Add(1)
	case confirm.ErrClaims:
		e.count.claims.Add(1)
	default:
		e.count.full.Add(1)
		return kessai.SystemMalfunction, &Refusal{Code: kessai.SystemMalfunction, Why: "As many payments wait for their customers as are allowed."}
	}
	return kessai.CountLimit, nil
}

// onPhone adds to an operation who is to confirm it, and for how long it waits.
func (e *Engine) onPhone(op *ledger.Op, r *Request) {
	if r.Kind != kessai.Purchase && r.Kind != kessai.PreAuthorization {
		return // it is declined: see decideConfirm
	}
	o, ready := &e.o.Phone, &r.Confirm.ready
	op.Asks, op.WaitFor, op.MaxTries = r.Confirm.Asks, o.Timeout, o.MaxTries
	op.Customer, op.Foreign, op.Note, op.Partial = ready.account, ready.foreign, ready.note, false
	switch {
	case op.Asks == kessai.AsksClaim:
		op.HoldFor = o.HoldFor
	case op.Asks == kessai.AsksReader && e.readers != nil:
		op.WaitFor = e.readers.o.waitFor()
	}
}

// saleKey names an attempt by the terminal's own name for the sale.
func (r *Request) saleKey() ledger.Key {
	b := append([]byte("sale\x00"), r.Merchant[:]...)
	b = append(b, r.Terminal[:]...)
	return truncated(append(b, r.Confirm.Reference...))
}

// appendTo appends what tells one sale from another, for a digest.
func (c *Confirm) appendTo(b []byte) []byte {
	text := func(s string) { b = append(binary.AppendUvarint(b, uint64(len(s))), s...) }
	b = append(b, 'c', byte(c.Asks))
	text(c.Customer)
	text(c.Reference)
	for i := range c.Items {
		it := &c.Items[i]
		text(it.Code)
		text(it.Name)
		b = binary.AppendVarint(binary.AppendVarint(b, it.Quantity), it.Price)
		b = binary.AppendVarint(b, int64(it.Tax))
	}
	return b
}
