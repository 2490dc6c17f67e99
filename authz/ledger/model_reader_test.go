package ledger

import (
	"fmt"
	"maps"
	"testing"
	"time"

	"kessai"
)

// The model's part about cards in the customers' readers.

type modelReader struct {
	pins    map[kessai.MediumID]int // wrong PINs
	byCards []kessai.TxID           // payments that cards agreed to
}

// byCard gives what a card in a reader is worth, with its PIN if it has one. What
// is wrong ends the payment.
func (m *model) byCard(op Op, t, o *modelTx, code kessai.ResponseCode, wrong bool) kessai.ResponseCode {
	most := op.PINTries
	if most == 0 {
		most = 3
	}
	locked := m.pins[op.Medium] >= most
	if wrong && !locked {
		m.pins[op.Medium]++
	}
	if code != kessai.Approved {
		return code
	}
	counted := op
	counted.Amount = m.side(o, o.amount)
	switch {
	case locked:
		m.endWait(o, "cancelled", kessai.TriesExceeded)
		return kessai.TriesExceeded
	case wrong:
		tell := kessai.WrongProof
		if m.pins[op.Medium] == most {
			tell = kessai.TriesExceeded
		}
		o.tries++
		m.endWait(o, "cancelled", tell)
		return kessai.WrongProof
	}
	if code := m.limits(counted, t); code != kessai.Approved {
		m.endWait(o, "cancelled", code)
		return code
	}
	m.count(counted, t, counted.Amount)
	if op.Factor == kessai.FactorPIN {
		delete(m.pins, op.Medium)
	}
	o.medium, o.agreedBy = op.Medium, t
	m.byCards = append(m.byCards, m.named(op))
	m.outcomes["agreed by card"]++
	return kessai.Approved
}

// uncountCard takes back what a reversal undid of a payment by card, from an
// amount on, if the card agreed to it on that day.
func (m *model) uncountCard(o *modelTx, day int32, from, undo int64, gone bool) {
	a := o.agreedBy
	if a == nil || !a.limited || a.day != day {
		return
	}
	m.outcomes["given back to a card"]++
	k := fmt.Sprintf("m%x/%d", a.medium, a.day)
	m.total[k] -= m.side(o, from+undo) - m.side(o, from)
	if gone {
		m.times[k]--
	}
}

// agreePINs compares the wrong PINs of each card.
func (m *model) agreePINs(t *testing.T, b *Book) {
	t.Helper()
	for i := range 8 {
		id := kessai.MediumID{1, byte(i)}
		if got := b.PINTries(id); got != m.pins[id] {
			t.Fatalf("card %d has %d wrong PINs; the model has %d", i, got, m.pins[id])
		}
	}
	if got := b.state.derived().PINs; len(got) != len(m.pins) {
		t.Fatalf("%v have wrong PINs; the model has %v", got, maps.Clone(m.pins))
	}
}

// card makes an operation one by card: an approval, or an unlock.
func (g *generator) card(op *Op, o *modelTx) {
	card := kessai.MediumID{1, byte(g.rnd.IntN(len(g.customers)))}
	if op.Kind == kessai.Unlock && g.rnd.IntN(2) == 0 {
		op.Customer, op.Medium = 0, card
	}
	reader := o != nil && o.asks == kessai.AsksReader
	if op.Kind != kessai.Approval || reader == (g.rnd.IntN(8) == 0) {
		return
	}
	op.Medium, op.Factor, op.PINTries = card, kessai.FactorCard+kessai.Factor(g.rnd.IntN(2)), g.rnd.IntN(5)
	if op.Verdict == kessai.WrongProof {
		op.Factor = kessai.FactorPIN
	}
	switch g.rnd.IntN(3) {
	case 0:
		op.MediumLimit = Limit{MaxTotal: 20_000, MaxCount: 15}
	case 1:
		op.MediumLimit = Limit{MaxTotal: 1_500 + g.rnd.Int64N(3_000)}
	}
}

// askReader makes a payment wait for a card.
func (g *generator) askReader(op *Op) {
	op.Asks, op.Medium, op.Last4, op.MediumLimit = kessai.AsksReader, kessai.MediumID{}, kessai.Last4{}, Limit{}
	op.WaitFor = time.Duration(5+g.rnd.IntN(400)) * time.Second
}
