package ledger

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"

	"kessai"
)

// Wrong PINs are counted by card, and on no day: a card that had its tries stays
// locked until it is unlocked. A right PIN sets the count to zero. Each try is a
// transaction, so the counts are as durable as money. They are in the snapshot's
// head and not in briefs, because a brief is forgotten one day, and a count is not.

const defaultPINTries = 3

// pins are the counts of the cards that have any. They are in shards so that a
// snapshot need not copy them: a shard that a snapshot reads is copied when it
// changes.
type pins struct {
	shards pinShards
	shared [256]bool // a snapshot may be reading it
}

// pinShards are counts by the first byte of the card's ID, which is a digest.
type pinShards [256]map[kessai.MediumID]uint8

func (p *pins) of(m kessai.MediumID) int { return int(p.shards[m[0]][m]) }

func (p *pins) set(m kessai.MediumID, n uint8) {
	if p.of(m) == int(n) {
		return
	}
	i := m[0]
	switch {
	case p.shards[i] == nil:
		p.shards[i] = make(map[kessai.MediumID]uint8)
	case p.shared[i]:
		p.shards[i] = maps.Clone(p.shards[i])
	}
	p.shared[i] = false
	if p.shards[i][m] = n; n == 0 {
		delete(p.shards[i], m)
	}
}

// freeze gives the counts as they are now. Nobody may change them there.
func (p *pins) freeze() pinShards {
	for i := range p.shared {
		p.shared[i] = true
	}
	return p.shards
}

// append encodes the counts; nothing, where there are none.
func (all *pinShards) append(dst []byte) []byte {
	n := 0
	for _, shard := range all {
		n += len(shard)
	}
	if n == 0 {
		return dst
	}
	dst = binary.AppendUvarint(dst, uint64(n))
	for _, shard := range all {
		for m, wrong := range shard {
			dst = append(append(dst, m[:]...), wrong)
		}
	}
	return dst
}

// pins reads what pinShards.append wrote.
func (d *decoder) pins(p *pins) {
	if len(d.b) == 0 {
		return
	}
	n := d.uvarint()
	if n == 0 || n > uint64(len(d.b)) {
		d.fail()
	}
	for ; n > 0 && !d.bad; n-- {
		var m kessai.MediumID
		d.copy(m[:])
		wrong := d.byte()
		if wrong == 0 || p.of(m) != 0 {
			d.fail()
		}
		p.set(m, wrong)
	}
}

// ofCard reports whether a proof is a card in the customer's reader.
func ofCard(f kessai.Factor) bool { return f == kessai.FactorCard || f == kessai.FactorPIN }

// checkCard refuses operations that no caller should make, about cards in readers.
func (op *Op) checkCard() error {
	proof := op.Kind == kessai.Approval && ofCard(op.Factor) && (op.Verdict.IsApproval() || op.Verdict == kessai.WrongProof)
	switch {
	case op.PINTries > mostTries:
		return fmt.Errorf("%w: %d wrong PINs are allowed, at most %d can be", errOp, op.PINTries, mostTries)
	case op.Kind == kessai.SignIn && ofCard(op.Factor):
		return fmt.Errorf("%w: nobody signs in with a card", errOp)
	case op.Kind == kessai.Unlock && (op.Customer == 0) == op.Medium.IsZero():
		return fmt.Errorf("%w: it unlocks a customer and a card, or neither", errOp)
	case proof && op.Medium.IsZero():
		return fmt.Errorf("%w: an approval by card names no card", errOp)
	case proof && op.Factor == kessai.FactorCard && !op.Verdict.IsApproval():
		return fmt.Errorf("%w: a wrong PIN of a card that has none", errOp)
	case op.Asks == kessai.AsksReader && op.Verdict.IsApproval() && (!op.Medium.IsZero() || op.Last4 != kessai.Last4{} || !op.MediumLimit.isZero()):
		return fmt.Errorf("%w: it asks for a card and has one", errOp)
	}
	return nil
}

// decideCard decides about a card in the customer's reader, with its PIN if it has
// one. There is one try: whatever is wrong ends the payment. Where the card is
// locked nobody learns whether its PIN was right, and nothing counts.
func (s *state) decideCard(t *Tx, op *Op, o *Tx, wrong bool) {
	most := op.PINTries
	if most <= 0 {
		most = defaultPINTries
	}
	before := s.pins.of(t.Medium)
	locked := before >= most
	if wrong && !locked {
		t.Counted = CountedTry
	}
	switch {
	case t.Code != kessai.Approved:
		return // it is about nothing that it could confirm
	case locked:
		t.Code = kessai.TriesExceeded
	case wrong:
		if t.Code = kessai.WrongProof; before+1 >= most {
			t.Ends = kessai.TriesExceeded
		}
	case o.Kind == kessai.Purchase && !s.canPay(o, o.Foreign, o.Amount):
		t.Code = kessai.InvalidAmount
	default: // the card's limits are in its customer's currency
		t.Code = s.limit(t, o.side(o.Amount), limited{op.MediumLimit, mediumSubject(t.Medium), CountedMedium})
	}
	if t.Code == kessai.Approved {
		t.Amount, t.Foreign = o.Amount, o.Foreign
		return
	}
	t.Ends = cmp.Or(t.Ends, t.Code)
}

// tryCard counts a wrong PIN, and forgets them after a right one or an unlock.
func (s *state) tryCard(t *Tx) error {
	switch {
	case t.Factor == kessai.FactorPIN && t.Counted&CountedTry != 0:
		n := s.pins.of(t.Medium)
		if t.Medium.IsZero() || n == mostTries {
			return fmt.Errorf("a wrong PIN of no card, or one more than %d of it", mostTries)
		}
		s.pins.set(t.Medium, uint8(n)+1)
	case !t.Code.IsApproval():
	case t.Kind == kessai.Unlock && t.Customer == 0, t.Kind == kessai.Approval && t.Factor == kessai.FactorPIN:
		s.pins.set(t.Medium, 0)
	}
	return nil
}

// uncountCard takes back what a reversal undid of a payment by card, if it was
// agreed to today: the card's limits count from then on, and its approval says
// what counts.
func (s *state) uncountCard(sale *Tx, amount int64) {
	if a := s.txs.get(uint64(sale.Agreed)); a == nil || a.Counted&CountedMedium == 0 || a.Day != s.day {
		return
	}
	a := s.txs.edit(uint64(sale.Agreed))
	before, times := a.counts(), int32(0)
	a.Reversed += amount
	if sale.Status == Reversed {
		a.Status, times = Reversed, -1
	}
	s.count(a, a.counts()-before, times)
}

// counts gives what counts of a transaction against limits, in minor units. Of an
// approval it is the customer's side, because only a card's limits are in it.
func (t *Tx) counts() int64 {
	if t.Kind == kessai.Approval {
		return t.side(t.Amount) - t.side(t.Reversed)
	}
	return t.Amount - t.Reversed
}

// PINTries gives how many wrong PINs count against a card: since its last right
// one, or since it was unlocked, on whatever day.
func (b *Book) PINTries(m kessai.MediumID) int {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if b.Err() != nil {
		return 0
	}
	return b.state.pins.of(m)
}
