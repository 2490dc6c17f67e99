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
	if t.Code.IsApproval() {
		if err := s.effect(t); err != nil {
			return fmt.Errorf("transaction %d: %w", t.ID, err)
		}
	}
	s.txs.add(*t)
	s.index(t)
	return nil
}

func (s *state) effect(t *Tx) error {
	switch t.Kind {
	case kessai.Purchase, kessai.CashBack:
		return s.move(t.Customer, t.Shop, t.Amount)
	case kessai.PreAuthorization:
		return s.keep(t.Customer, t.Amount)
	case kessai.Refund:
		if t.Original != 0 {
			o := s.txs.edit(uint64(t.Original))
			if o == nil || t.Amount > o.Remaining() {
				return fmt.Errorf("refunds more than %d left", t.Original)
			}
			o.Refunded += t.Amount
		}
		return s.move(t.Shop, t.Customer, t.Amount)
	case kessai.Increment, kessai.Completion, kessai.Release:
		return s.effectOnHold(t)
	case kessai.Reversal:
		if t.Original == 0 || t.Amount == 0 && !s.endsHold(t) {
			return nil
		}
		return s.undo(t)
	case kessai.Load, kessai.Unload, kessai.PursePurchase, kessai.PurseInquiry, kessai.PurseSettlement:
		return s.effectOnPurse(t)
	}
	return nil
}

func (s *state) effectOnHold(t *Tx) error {
	h := s.txs.edit(uint64(t.Original))
	if h == nil || h.Status != Pending || h.Kind.OnPurse() {
		return fmt.Errorf("transaction %d is no open hold", t.Original)
	}
	if t.Kind == kessai.Increment {
		h.Held += t.Amount
		if d := t.Time + t.HoldFor*int64(time.Second); d > h.Deadline {
			h.Deadline = d
			s.await(hold{d, h.ID})
		}
		return s.keep(t.Customer, t.Amount)
	}
	status := Released
	if t.Kind == kessai.Completion {
		status = Captured
	}
	if err := s.endHold(h, status, t.ID); err != nil {
		return err
	}
	if t.Kind == kessai.Completion {
		return s.post(t.Customer, t.Shop, t.Amount) // the hold was the cover
	}
	return nil
}

// endHold ends a hold: exactly once, because only a pending one can end.
func (s *state) endHold(h *Tx, status Status, by kessai.TxID) error {
	if err := s.keep(h.Customer, -h.Held); err != nil {
		return err
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
	o.Reversed += t.Amount
	if o.Remaining() == 0 && o.Kind != kessai.PreAuthorization {
		o.Status = Reversed
	}
	var err error
	switch o.Kind {
	case kessai.Purchase, kessai.CashBack, kessai.Completion:
		err = s.move(o.Shop, o.Customer, t.Amount)
	case kessai.Refund:
		if o.Original != 0 {
			sale := s.txs.edit(uint64(o.Original))
			if sale == nil || sale.Status != Posted {
				return fmt.Errorf("the sale %d that was refunded does not stand", o.Original)
			}
			sale.Refunded -= t.Amount
		}
		err = s.move(o.Customer, o.Shop, t.Amount)
	case kessai.PreAuthorization:
		if ends {
			err = s.endHold(o, Reversed, t.ID)
		} else {
			o.Held -= t.Amount
			err = s.keep(o.Customer, -t.Amount)
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
	if h == nil || h.Status != Pending || h.Kind.OnPurse() || h.Deadline > s.time {
		return fmt.Errorf("transaction %d is no hold that is due", id)
	}
	return s.endHold(h, Expired, 0)
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
