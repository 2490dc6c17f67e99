package ledger

import (
	"fmt"
	"time"

	"kessai"
)

// apply carries out what was decided. It is the only place where money moves,
// both when a transaction is committed and when blocks are read back, so a book
// that is read back ends as it was. An error means that the entry contradicts
// the state: the book is damaged.
func (s *state) apply(t *Tx) error {
	if uint64(t.ID) != s.txs.n+1 {
		return fmt.Errorf("transaction %d follows %d", t.ID, s.txs.n)
	}
	t.begin()
	if t.Code.IsApproval() || t.Kind.OfCustomer() {
		if err := s.effect(t); err != nil {
			return fmt.Errorf("transaction %d: %w", t.ID, err)
		}
	}
	s.txs.add(*t)
	s.index(t)
	return nil
}

func (s *state) effect(t *Tx) error {
	if t.Status == Waiting {
		return s.beginWaiting(t)
	}
	switch t.Kind {
	case kessai.Purchase, kessai.CashBack:
		return s.move(t.Customer, t.Shop, t.Amount)
	case kessai.PreAuthorization:
		return s.keep(t.Customer, t.Amount)
	case kessai.Refund:
		if t.Original != 0 {
			o := s.txs.edit(uint64(t.Original))
			if o == nil || o.Status != Posted || t.Amount > o.Remaining() {
				return fmt.Errorf("refunds more than %d left", t.Original)
			}
			if err := t.checkSide(o.back(t.Amount)); err != nil {
				return err
			}
			o.Refunded += t.Amount
		} else if t.Foreign != (Foreign{}) {
			return t.checkSide(Foreign{})
		}
		return s.giveBack(t, t.Foreign, t.Amount)
	case kessai.Increment, kessai.Completion, kessai.Release:
		return s.effectOnHold(t)
	case kessai.Reversal:
		if t.Original == 0 || t.Amount == 0 && !s.endsHold(t) {
			return nil
		}
		return s.undo(t)
	case kessai.Load, kessai.Unload, kessai.PursePurchase, kessai.PurseInquiry, kessai.PurseSettlement:
		return s.effectOnPurse(t)
	case kessai.Approval, kessai.Cancellation, kessai.Claim, kessai.SignIn, kessai.Unlock:
		return s.effectOfCustomer(t)
	}
	return nil
}

func (s *state) effectOnHold(t *Tx) error {
	h := s.txs.edit(uint64(t.Original))
	if h == nil || h.Status != Pending || h.Kind.OnPurse() {
		return fmt.Errorf("transaction %d is no open hold", t.Original)
	}
	if t.Kind == kessai.Increment {
		if h.Asks != kessai.AsksNobody {
			return fmt.Errorf("the customer agreed to transaction %d as it is", h.ID)
		}
		h.Held += t.Amount
		if d := t.Time + t.HoldFor*int64(time.Second); d > h.Deadline {
			h.Deadline = d
			s.await(hold{d, h.ID})
		}
		return s.keep(t.Customer, t.Amount)
	}
	if t.Kind == kessai.Release {
		return s.endHold(h, Released, t.ID)
	}
	if err := t.checkSide(h.part(0, t.Amount)); err != nil {
		return err
	}
	if err := s.endHold(h, Captured, t.ID); err != nil {
		return err
	}
	return s.pay(t, t.Foreign, t.Amount) // the hold was the cover
}

// endHold ends a hold: exactly once, because only a pending or waiting one can
// end. Of a payment that nobody has claimed nothing is held, and of nobody.
func (s *state) endHold(h *Tx, status Status, by kessai.TxID) error {
	if h.Held != 0 {
		if err := s.keep(h.Customer, -h.side(h.Held)); err != nil {
			return err
		}
	}
	h.Status, h.Held, h.Ended = status, 0, by
	delete(s.pending, h.ID)
	return nil
}

// endsHold reports whether a reversal leaves nothing standing of a pending hold.
// Increments may stand on a hold whose own amount is already wholly undone.
func (s *state) endsHold(t *Tx) bool {
	o := s.txs.get(uint64(t.Original))
	return o != nil && o.Kind == kessai.PreAuthorization && o.Status == Pending && t.Requested == 0
}

// undo carries out a reversal.
func (s *state) undo(t *Tx) error {
	ends := s.endsHold(t)
	o := s.txs.edit(uint64(t.Original))
	if o == nil || t.Amount > o.Remaining() {
		return fmt.Errorf("reverses more than %d left", t.Original)
	}
	if o.Status == Waiting {
		if o.Reversed = t.Amount; t.Requested != 0 || o.Remaining() != 0 {
			return fmt.Errorf("a part of %d is reversed, which waits", o.ID)
		}
		return s.endWaiting(o, Reversed, kessai.CustomerCancellation, t.ID)
	}
	back := o.back(t.Amount)
	o.Reversed += t.Amount
	if o.Remaining() == 0 && o.Kind != kessai.PreAuthorization {
		o.Status = Reversed
	}
	var err error
	switch o.Kind {
	case kessai.Purchase, kessai.CashBack, kessai.Completion:
		if err = t.checkSide(back); err == nil {
			err = s.giveBack(o, t.Foreign, t.Amount)
		}
	case kessai.Refund:
		err = s.takeAgain(o, t)
	case kessai.PreAuthorization:
		if ends {
			err = s.endHold(o, Reversed, t.ID)
		} else {
			held := o.side(o.Held)
			o.Held -= t.Amount
			err = s.keep(o.Customer, o.side(o.Held)-held)
		}
	case kessai.Increment:
		h := s.txs.edit(uint64(o.Original))
		if h == nil || h.Status != Pending {
			return fmt.Errorf("transaction %d is no open hold", o.Original)
		}
		h.Held -= t.Amount
		err = s.keep(o.Customer, -t.Amount)
	default:
		err = fmt.Errorf("a %s cannot be reversed", o.Kind)
	}
	s.uncount(o, t.Amount)
	return err
}

// takeAgain undoes a refund, or a part of it.
func (s *state) takeAgain(o, t *Tx) error {
	if o.Original == 0 {
		return s.move(o.Customer, o.Shop, t.Amount)
	}
	sale := s.txs.edit(uint64(o.Original))
	if sale == nil || sale.Status != Posted {
		return fmt.Errorf("the sale %d that was refunded does not stand", o.Original)
	}
	if err := t.checkSide(sale.again(t.Amount)); err != nil {
		return err
	}
	sale.Refunded -= t.Amount
	if t.Foreign.Currency == 0 {
		return s.move(o.Customer, o.Shop, t.Amount)
	}
	if a := s.accounts.get(uint64(o.Customer)); a == nil || a.available() < t.Foreign.Amount {
		return fmt.Errorf("account %d does not cover %d", o.Customer, t.Foreign.Amount)
	}
	return s.pay(o, t.Foreign, t.Amount)
}

// move posts an amount that the account must cover.
func (s *state) move(debit, credit AccountID, amount int64) error {
	if d := s.accounts.get(uint64(debit)); d != nil && d.covers() && d.available() < amount {
		return fmt.Errorf("account %d does not cover %d", debit, amount)
	}
	return s.post(debit, credit, amount)
}

// post debits one account and credits another.
func (s *state) post(debit, credit AccountID, amount int64) error {
	d, c := s.accounts.edit(uint64(debit)), s.accounts.edit(uint64(credit))
	if d == nil || c == nil || d == c || d.currency() != c.currency() || amount <= 0 {
		return fmt.Errorf("cannot move %d from account %d to %d", amount, debit, credit)
	}
	from, err1 := kessai.Add(d.balance, -amount)
	to, err2 := kessai.Add(c.balance, amount)
	if err1 != nil || err2 != nil {
		return fmt.Errorf("moving %d from account %d to %d: %w", amount, debit, credit, kessai.ErrOverflow)
	}
	d.balance, c.balance = from, to
	s.floats(d, -amount)
	s.floats(c, amount)
	return nil
}

// keep changes what is held of an account.
func (s *state) keep(id AccountID, amount int64) error {
	a := s.accounts.edit(uint64(id))
	if a == nil || a.kind() == EMoneyAccount || a.held+amount < 0 || amount > 0 && a.available() < amount {
		return fmt.Errorf("account %d cannot hold %d more", id, amount)
	}
	a.held += amount
	return nil
}

// expire ends a hold whose deadline has passed.
func (s *state) expire(id kessai.TxID) error {
	h := s.txs.edit(uint64(id))
	switch {
	case h == nil || h.Kind.OnPurse() || h.Deadline > s.time:
	case h.Status == Pending:
		return s.endHold(h, Expired, 0)
	case h.Status == Waiting:
		return s.endWaiting(h, Expired, kessai.TooLate, 0)
	}
	return fmt.Errorf("transaction %d is no hold that is due", id)
}

// openAccount adds an account and puts its opening balance in.
func (s *state) openAccount(spec AccountSpec) error {
	if was := s.accountNumber(spec.Name); was != 0 {
		return fmt.Errorf("account number %d is opened twice", was)
	}
	if spec.Kind == EMoneyAccount && (spec.Overdraft != 0 || spec.Opening != 0) {
		return fmt.Errorf("account %s is opened with money or an overdraft", spec.Name)
	}
	if spec.Overdraft < 0 || spec.Overdraft > kessai.MaxAmount {
		return fmt.Errorf("an account cannot have an overdraft of %d", spec.Overdraft)
	}
	hash, rest := nameDigest(spec.Name)
	id := s.accounts.add(accountRow{packed: packAccount(&spec), rest: rest})
	s.labels.add(label{spec.Name, spec.Opening})
	s.byName.add(hash, id)
	if spec.Opening == 0 {
		return nil
	}
	return s.move(s.accountNumber(clearingName(spec.Currency)), AccountID(id), spec.Opening)
}

// clearingName names the account that stands for the world outside: what is put
// into the book is debited there.
func clearingName(c kessai.Currency) string { return "clearing/" + c.String() }

// setOverdraft changes how far below zero an account may go.
func (s *state) setOverdraft(id AccountID, overdraft int64) error {
	a := s.accounts.edit(uint64(id))
	if a == nil || a.kind() == EMoneyAccount || overdraft < 0 || overdraft > kessai.MaxAmount {
		return fmt.Errorf("cannot set the overdraft of account %d", id)
	}
	a.setOverdraft(overdraft)
	return nil
}

// alias gives an attempt a second name.
func (s *state) alias(id kessai.TxID, n Name) error {
	t := s.txs.edit(uint64(id))
	if t == nil {
		return fmt.Errorf("no transaction %d to name", id)
	}
	for i := range t.Names {
		if t.Names[i].Key == (Key{}) {
			t.Names[i] = n
			s.name(n.Key, id)
			return nil
		}
	}
	return fmt.Errorf("transaction %d has two names already", id)
}
