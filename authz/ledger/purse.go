package ledger

import (
	"cmp"
	"fmt"
	"math"

	"kessai"
)

// E-money is value that a medium carries. What is on it is the balance of its
// account, and is moved in two steps: a load, an unload or a purchase from the
// medium is pending until the medium itself tells what it has written.
//
// Each state that a medium says has a counter that no other has, and the order
// that is given for a state can be written only as long as no later one was said.
// So a later state decides: if its last transaction is the pending one, that was
// written; if it is the one before, the pending one was not, and never will be.
// (Tried and left: a counter that goes up with each write only. A state at which
// the write has not happened can then be followed by the write, after the money
// was given back.)
//
// While a transaction is pending nothing else is decided on its medium, because
// every request brings a state, and that ends it. So nothing has to be held of
// the medium's account, which keeps its newest transaction in the place.

// pursePrefix begins the names of e-money accounts.
const pursePrefix = "purse/"

// PurseName names the account of a medium's e-money.
func PurseName(id kessai.MediumID) string { return pursePrefix + id.String() }

// Purse is what a medium said of the value on it, and where the book keeps that.
type Purse struct {
	Account  AccountID    // the medium's account; zero: it has none yet
	Most     int64        // the most that may be on it; zero: kessai.MaxAmount
	Refusal  PurseRefusal // why what it said counts for nothing; zero: it counts
	Counter  uint32
	Balance  int64
	Currency kessai.Currency
	Last     kessai.TxID

	settled bool         // this very state has just ended what was pending
	why     PurseRefusal // why the book refused it
}

// PurseRefusal says why a medium's state is refused.
type PurseRefusal uint8

// The reasons. The first two are for whoever reads the record, the others the book
// finds.
const (
	PurseMAC      PurseRefusal = iota + 1 // it is not the medium's
	PurseMedium                           // it is another medium's than the request's
	PurseCounter                          // it was said before, or before another that was
	PurseBalance                          // there is another balance on it than in the book
	PurseLast                             // it was last written by something that the book does not know
	PurseCurrency                         // it is in another currency than its account
	numPurseRefusals
)

var purseRefusals = [numPurseRefusals]string{"none", "mac", "medium", "counter", "balance", "last", "currency"}

func (r PurseRefusal) String() string { return purseRefusals[r%numPurseRefusals] }

// code is the answer to a state that is refused.
func (r PurseRefusal) code() kessai.ResponseCode {
	if r == PurseCurrency {
		return kessai.InvalidTransaction
	}
	return kessai.SecurityViolation
}

// PurseStats counts what media told since the book was opened.
type PurseStats struct {
	Written   uint64                   // pending transactions that their medium had written
	Unwritten uint64                   // those that it had not
	Refused   [numPurseRefusals]uint64 // states by why they were refused; the first were not
}

// PurseRefusals gives the reasons why states are refused.
func PurseRefusals() []PurseRefusal {
	all := make([]PurseRefusal, 0, numPurseRefusals-1)
	for r := PurseMAC; r < numPurseRefusals; r++ {
		all = append(all, r)
	}
	return all
}

// counter is the counter of the newest state that counts.
func (a *accountRow) counter() uint32     { return uint32(a.packed >> 24) }
func (a *accountRow) setCounter(v uint32) { a.setOverdraft(int64(v)) }

// newest is the transaction that is pending on the medium, or was written last.
func (a *accountRow) newest() kessai.TxID      { return kessai.TxID(a.held) }
func (a *accountRow) setNewest(id kessai.TxID) { a.held = int64(id) }

// sides gives the accounts that a transaction debits and credits.
func (t *Tx) sides() (debit, credit AccountID) {
	switch t.Kind {
	case kessai.Load:
		return t.Customer, t.Purse
	case kessai.Unload:
		return t.Purse, t.Customer
	case kessai.PursePurchase:
		return t.Purse, t.Shop
	}
	return t.Customer, t.Shop
}

// writes reports whether a kind of transaction has its medium written.
func writes(k kessai.Kind) bool {
	return k == kessai.Load || k == kessai.Unload || k == kessai.PursePurchase
}

// canWrite reports whether what a medium writes can be posted.
func (s *state) canWrite(t *Tx) bool {
	debit, credit := t.sides()
	return s.canMove(debit, credit, t.Amount)
}

// onMedium reports whether a transaction is, or may be, what its medium wrote or
// told.
func (t *Tx) onMedium() bool {
	return (writes(t.Kind) || t.Kind == kessai.PurseSettlement) && t.Status != Declined && t.Status != Released
}

// floats follows what is on all media.
func (s *state) floats(a *accountRow, amount int64) {
	if a.kind() == EMoneyAccount {
		s.float[a.currency()] += amount
	}
}

// hears holds what a medium said against the book. It gives the transaction that
// is pending on it, if there is one, and whether the medium has written it. A
// state that counted already may be told again where nothing follows from it.
func (s *state) hears(p *Purse, again bool) (open *Tx, written bool, why PurseRefusal) {
	if p.Refusal != 0 {
		return nil, false, p.Refusal
	}
	a := s.accounts.get(uint64(p.Account))
	if a == nil { // nothing was ever put on it
		a = &accountRow{packed: packAccount(&AccountSpec{Kind: EMoneyAccount, Currency: p.Currency})}
	}
	before := a.newest()
	if t := s.txs.get(uint64(before)); t != nil && t.Status == Pending {
		open, before = t, t.Before
		written = p.Last == t.ID
	}
	switch {
	case a.kind() != EMoneyAccount || a.currency() != p.Currency:
		why = PurseCurrency
	case p.Counter < a.counter(), p.Counter == a.counter() && !p.settled && (!again || open != nil):
		why = PurseCounter
	case !written && p.Last != before:
		why = PurseLast
	case !written && p.Balance != a.balance, written && p.Balance != open.Available:
		why = PurseBalance
	}
	return open, written, why
}

// settles makes the transaction that ends what is pending on a medium by what the
// medium said with another request; false where there is nothing to end.
func (s *state) settles(op *Op) (Tx, bool) {
	if op.Purse == nil {
		return Tx{}, false
	}
	op.Purse.settled, op.Purse.why = false, op.Purse.Refusal
	open, written, why := s.hears(op.Purse, false)
	if open == nil || why != 0 || written && !s.canWrite(open) {
		return Tx{}, false
	}
	if op.Kind == kessai.PurseSettlement && op.Verdict.IsApproval() {
		if named, ok := s.find(op.Original); op.Original.IsZero() || ok && named.ID == open.ID {
			return Tx{}, false // it is itself what ends it
		}
	}
	op.Purse.settled = true
	t := Tx{
		ID: kessai.TxID(s.txs.n + 1), Kind: kessai.PurseSettlement, Wire: op.Wire,
		Merchant: open.Merchant, Terminal: open.Terminal, Medium: open.Medium, Last4: open.Last4,
		Block: s.block + 1, Time: s.time, Day: s.day,
	}
	t.tells(open, op.Purse, written)
	return t, true
}

// heard counts what a medium told, and what became of it.
func (s *state) heard(p *Purse, t *Tx) {
	if p == nil {
		return
	}
	s.told.Refused[p.why]++
	if t.Kind != kessai.PurseSettlement {
		return
	}
	switch o := s.txs.get(uint64(t.Original)); {
	case o == nil || o.Ended != t.ID:
	case t.Amount == 0:
		s.told.Unwritten++
	default:
		s.told.Written++
	}
}

// tells fills in what a settlement says of the transaction that it is about: the
// amount is what stands of it.
func (t *Tx) tells(o *Tx, p *Purse, stands bool) {
	t.Original, t.Purse, t.Counter, t.Available = o.ID, p.Account, p.Counter, p.Balance
	t.Currency, t.Requested, t.Amount = o.Currency, o.Amount, 0
	t.Medium, t.Last4 = o.Medium, o.Last4
	if stands {
		t.Amount = o.Amount
	}
}

// decideOnPurse decides what is about the value on a medium.
func (s *state) decideOnPurse(t *Tx, op *Op) {
	p := op.Purse
	if p == nil {
		t.Code = kessai.InvalidTransaction
		return
	}
	open, written, why := s.hears(p, t.Kind == kessai.PurseSettlement)
	if why == 0 && writes(t.Kind) && p.Counter == math.MaxUint32 {
		why = PurseCounter // the medium can count no further
	}
	if p.why = why; why != 0 {
		t.Code = why.code()
		return
	}
	switch {
	case t.Kind == kessai.PurseSettlement:
		s.decideSettlement(t, op, open, written)
	case open != nil:
		t.Code = kessai.InvalidTransaction // it could not be ended
	case t.Kind == kessai.PurseInquiry:
		t.Customer, t.Shop, t.Purse, t.Counter, t.Available = 0, 0, p.Account, p.Counter, p.Balance
		t.Currency = p.Currency
	default:
		s.decideWriting(t, op)
	}
	if !t.Code.IsApproval() {
		t.Amount, t.Purse, t.Counter, t.Before, t.Available = 0, 0, 0, 0, 0
	}
}

// decideWriting decides a load, an unload, or a purchase from the medium.
func (s *state) decideWriting(t *Tx, op *Op) {
	p := op.Purse
	t.Purse, t.Counter = p.Account, p.Counter
	switch t.Kind {
	case kessai.PursePurchase:
		t.Customer = 0
	default:
		t.Shop = 0
	}
	if p.Account == 0 && t.Kind != kessai.Load {
		t.Code = kessai.InsufficientFunds
		return
	}
	debit, credit := t.sides()
	if t.Code = s.fits(t, debit, credit); t.Code != kessai.Approved {
		return
	}
	t.Before = s.accounts.get(uint64(p.Account)).newest()
	if t.Kind == kessai.Load {
		if op.Amount > cmp.Or(p.Most, kessai.MaxAmount)-p.Balance {
			t.Code = kessai.AmountLimit
			return
		}
		t.Amount, t.Code = s.spend(t, op, false)
		t.Available = p.Balance + t.Amount
		return
	}
	if t.Kind == kessai.PursePurchase { // the medium's own limits are about the customer's account
		t.Code = s.limit(t, op.Amount, limited{op.TerminalLimit, terminalSubject(t.Terminal), CountedTerminal})
	}
	t.Amount, t.Available = op.Amount, p.Balance-op.Amount
	switch {
	case t.Code != kessai.Approved:
	case t.Available < 0:
		t.Code = kessai.InsufficientFunds
	case !s.canWrite(t): // nor is nothing
		t.Code = kessai.InvalidAmount
	}
}

// decideSettlement decides what is said when a medium has been written, or should
// have been. It may be told more than once.
func (s *state) decideSettlement(t *Tx, op *Op, open *Tx, written bool) {
	o, stands := open, written
	if !op.Original.IsZero() {
		var named Tx
		if named, t.Code = s.original(t, op); t.Code != kessai.Approved {
			return
		}
		if !writes(named.Kind) || !named.Code.IsApproval() {
			t.Code = kessai.InvalidTransaction
			return
		}
		if named.Purse != op.Purse.Account {
			t.Code = kessai.NoSuchRecord
			return
		}
		if open == nil || open.ID != named.ID {
			o, stands = &named, named.Status == Posted
		}
	} else if open == nil {
		if a := s.accounts.get(uint64(op.Purse.Account)); a != nil {
			o = s.txs.get(uint64(a.newest()))
		}
		stands = true
	}
	switch {
	case o == nil:
		t.Code = kessai.NoSuchRecord
	case o == open && written && !s.canWrite(open):
		t.Code = kessai.InvalidAmount
	default:
		t.Customer, t.Shop = 0, 0
		t.tells(o, op.Purse, stands)
	}
}

// effectOnPurse carries out what was decided on a medium.
func (s *state) effectOnPurse(t *Tx) error {
	a := s.accounts.edit(uint64(t.Purse))
	if a == nil && t.Kind == kessai.PurseInquiry && t.Purse == 0 {
		return nil // nothing was ever put on it
	}
	if a == nil || a.kind() != EMoneyAccount || t.Counter < a.counter() {
		return fmt.Errorf("account %d is no medium's, or it was said before", t.Purse)
	}
	a.setCounter(t.Counter)
	switch {
	case t.Kind == kessai.PurseSettlement:
		return s.endWriting(a, t)
	case !writes(t.Kind):
		return nil
	}
	if newest := s.txs.get(uint64(a.newest())); t.Before != a.newest() || newest != nil && newest.Status == Pending || t.Amount <= 0 {
		return fmt.Errorf("the medium of account %d was last written by %d, not %d, or something is pending on it", t.Purse, a.newest(), t.Before)
	}
	a.setNewest(t.ID)
	if t.Kind == kessai.Load {
		return s.keep(t.Customer, t.Amount)
	}
	if t.Amount > a.balance {
		return fmt.Errorf("account %d does not cover %d", t.Purse, t.Amount)
	}
	return nil
}

// endWriting ends what is pending on a medium: exactly once, because only a
// pending one can end.
func (s *state) endWriting(a *accountRow, t *Tx) error {
	o := s.txs.edit(uint64(t.Original))
	if o == nil || !writes(o.Kind) || o.Purse != t.Purse {
		return fmt.Errorf("transaction %d is not on the medium of account %d", t.Original, t.Purse)
	}
	if o.Status != Pending {
		return nil // it has ended before, and is told again
	}
	if a.newest() != o.ID || t.Amount != 0 && t.Amount != o.Amount {
		return fmt.Errorf("transaction %d is not what is pending on the medium of account %d", o.ID, t.Purse)
	}
	if o.Kind == kessai.Load {
		if err := s.keep(o.Customer, -o.Held); err != nil {
			return err
		}
	}
	o.Status, o.Held, o.Ended = Released, 0, t.ID
	delete(s.pending, o.ID)
	if t.Amount == 0 {
		a.setNewest(o.Before)
		return nil
	}
	o.Status = Posted
	debit, credit := o.sides()
	if o.Kind == kessai.Load {
		return s.post(debit, credit, o.Amount) // what was held was the cover
	}
	return s.move(debit, credit, o.Amount)
}

// PurseAccount gives the account of a medium's e-money; zero where there is none.
func (b *Book) PurseAccount(id kessai.MediumID) AccountID {
	_, account := b.accountByName(PurseName(id))
	return account
}

// heldOnPurse gives what is pending to be taken off a medium.
func (b *Book) heldOnPurse(row *accountRow) int64 {
	if row.kind() != EMoneyAccount || row.newest() == 0 {
		return 0
	}
	t, ok, err := b.read(row.newest())
	if !ok || err != nil || t.Status != Pending || t.Kind == kessai.Load {
		return 0
	}
	return t.Held
}
