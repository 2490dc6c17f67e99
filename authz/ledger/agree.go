package ledger

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"kessai"
)

// beginWaiting holds what a payment takes that begins to wait.
func (s *state) beginWaiting(t *Tx) error {
	if t.Asks == kessai.AsksClaim {
		if t.Customer != 0 || t.Foreign != (Foreign{}) || s.fits(t, t.Shop) != kessai.Approved {
			return fmt.Errorf("it names a customer and waits for a claim, or account %d is no shop's", t.Shop)
		}
		return nil
	}
	if t.Asks == kessai.AsksReader && !t.Medium.IsZero() {
		return errors.New("it waits for a card and has one")
	}
	return s.reserve(t)
}

// reserve holds what a waiting payment takes.
func (s *state) reserve(t *Tx) error {
	if t.Amount <= 0 || s.parties(t) != kessai.Approved {
		return fmt.Errorf("accounts %d and %d cannot make a payment of %d", t.Customer, t.Shop, t.Amount)
	}
	return s.keep(t.Customer, t.side(t.Amount))
}

// effectOfCustomer carries out what a customer did, and counts what was wrong.
func (s *state) effectOfCustomer(t *Tx) error {
	if t.triesProof() {
		s.try(tried{id: t.ID, day: t.Day, account: t.Customer, what: whatTried(t)})
	}
	if err := s.tryCard(t); err != nil {
		return err
	}
	wrong := t.Kind == kessai.Approval && t.Code == kessai.WrongProof && t.Original != 0
	refused := t.Ends != 0 && !t.Code.IsApproval()
	if t.Kind == kessai.SignIn || t.Kind == kessai.Unlock || !t.Code.IsApproval() && !wrong && !refused {
		return nil
	}
	o := s.txs.edit(uint64(t.Original))
	if o == nil || o.Status != Waiting || t.Kind == kessai.Approval && (t.Customer == 0 || t.Customer != o.Customer) {
		return fmt.Errorf("transaction %d does not wait for account %d", t.Original, t.Customer)
	}
	switch {
	case wrong:
		if o.Tries == mostTries {
			return fmt.Errorf("more than %d wrong proofs for transaction %d", mostTries, o.ID)
		}
		if o.Tries++; t.Ends == 0 {
			return nil
		}
	case t.Kind == kessai.Approval && !refused:
		return s.agree(o, t)
	case t.Kind == kessai.Claim:
		if err := s.claim(o, t); err != nil || !refused {
			return err
		}
	}
	if t.Ends.IsApproval() {
		return fmt.Errorf("transaction %d ends without money, and with an approval", o.ID)
	}
	return s.endWaiting(o, Cancelled, t.Ends, t.ID)
}

// agree lets a payment stand that waited for its customer.
func (s *state) agree(o, t *Tx) error {
	if t.Amount != o.Amount || t.Foreign != o.Foreign {
		return fmt.Errorf("an approval of %d, and transaction %d is of %d", t.Amount, o.ID, o.Amount)
	}
	byCard := o.Asks == kessai.AsksReader
	if byCard != ofCard(t.Factor) || byCard && t.Medium.IsZero() {
		return fmt.Errorf("transaction %d waits for a card and got none, or the other way round", o.ID)
	}
	if byCard {
		o.Medium = t.Medium
	}
	o.Agreed = t.ID
	s.ended = append(s.ended, o.ID)
	delete(s.waiting, o.ID)
	if o.Kind == kessai.PreAuthorization {
		o.Status, o.Deadline = Pending, t.Time+o.HoldFor*int64(time.Second)
		s.await(hold{o.Deadline, o.ID})
		return nil
	}
	if err := s.endHold(o, Posted, t.ID); err != nil {
		return err
	}
	return s.pay(o, o.Foreign, o.Amount) // the hold was the cover
}

// claim gives a payment its customer. Where they do not cover it nothing is held:
// it ends at once.
func (s *state) claim(o, t *Tx) error {
	if o.Asks != kessai.AsksClaim || t.Customer == 0 || o.Customer != 0 && (o.Customer != t.Customer || t.Ends != 0) {
		return fmt.Errorf("account %d cannot claim transaction %d", t.Customer, o.ID)
	}
	if o.Customer != 0 {
		return nil // claimed before
	}
	o.Customer, o.Foreign = t.Customer, t.Foreign
	if t.Ends != 0 {
		return nil
	}
	if err := s.reserve(o); err != nil {
		return err
	}
	o.Held = o.Amount
	return nil
}

// endWaiting ends a waiting payment without money, and gives back what it counted
// for: exactly once, because only a waiting one can end.
func (s *state) endWaiting(o *Tx, status Status, told kessai.ResponseCode, by kessai.TxID) error {
	o.Told = told
	if err := s.endHold(o, status, by); err != nil {
		return err
	}
	s.ended = append(s.ended, o.ID)
	delete(s.waiting, o.ID)
	s.uncount(o, o.Amount)
	return nil
}

// stood gives the waiting payments that ended in the block that is being made, as
// they stand. Their pages have just changed, so they are in memory.
func (s *state) stood() []Tx {
	if len(s.ended) == 0 {
		return nil
	}
	all := make([]Tx, 0, len(s.ended))
	for _, id := range s.ended {
		if t := s.txs.get(uint64(id)); t != nil {
			all = append(all, *t)
		}
	}
	return all
}

// OnEnded sets who is told of waiting payments that wait no more, be it by
// approval, cancellation, deadline or reversal: once of each, as it stands at the
// end of the block in which it ended. f is called when that block is on disk and
// readers can see it, before those hear whose operations are in it, and in the
// order of the blocks. It must return soon, and must not call Commit, OpenAccounts
// or Close: the book makes no block meanwhile. What ended while the gateway was
// down is told of when it is ended, which is after Open; what is read back is not.
func (b *Book) OnEnded(f func([]Tx)) { b.onEnded.Store(&f) }

func (b *Book) tellEnded(ended []Tx) {
	if f := b.onEnded.Load(); f != nil && *f != nil && len(ended) > 0 {
		(*f)(ended)
	}
}

// Waiting gives the payments that wait for their customers now, oldest first. Who
// sets OnEnded before asking, and then looks once more at what they were given,
// misses none that ends.
func (b *Book) Waiting() []Tx {
	b.mu.RLock()
	ids := slices.Sorted(maps.Keys(b.state.waiting))
	b.mu.RUnlock()
	all := make([]Tx, 0, len(ids))
	var page []Tx // the last that had to be read: after a restart nearly all must be
	for _, id := range ids {
		at := int(id-1) % pageSize
		b.mu.RLock()
		row, _ := b.state.txs.peek(uint64(id))
		if row != nil && row.Status == Waiting && b.Err() == nil {
			all = append(all, *row)
		}
		b.mu.RUnlock()
		if row != nil {
			continue
		}
		if at >= len(page) || page[at].ID != id {
			var err error
			if page, _, err = readPageOf(b, &b.state.txs, b.state.files.txs, uint64(id), (*decoder).row); err != nil {
				b.o.Logf("transaction %d cannot be read: %v", id, err)
			}
		}
		if at < len(page) && page[at].Status == Waiting {
			all = append(all, page[at])
		}
	}
	return all
}
