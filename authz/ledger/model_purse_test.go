package ledger

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"kessai"
)

// The model's part about e-money. There are two sides: media, which are real as
// far as the book is concerned, and what the book should make of what they say.

// realMedium is a medium: it counts, takes the order for its newest state or
// misses it, and never lies. What stands between it and the book may.
type realMedium struct {
	id      kessai.MediumID
	account AccountID
	counter uint32
	balance int64
	last    kessai.TxID

	said   []Purse // what it said, to be said again by somebody else
	orders []Tx    // those that were made in this group
	wrote  int
}

// modelPurse is what the book should know of a medium.
type modelPurse struct {
	counter uint32
	value   int64
	last    kessai.TxID
	open    *modelTx // what is pending
	number  kessai.TxID
}

// media opens an account for the medium of each customer.
func media(t *testing.T, b *Book, m *model, n int) (all []*realMedium) {
	t.Helper()
	for i := range n {
		medium := &realMedium{id: kessai.MediumID{1, byte(i)}}
		ids, err := b.OpenAccounts([]AccountSpec{{Name: PurseName(medium.id), Kind: EMoneyAccount, Currency: kessai.JPY}})
		if err != nil {
			t.Fatal(err)
		}
		medium.account = ids[0]
		m.purses[ids[0]], m.balance[ids[0]] = new(modelPurse), 0
		all = append(all, medium)
	}
	return all
}

// read is what the medium says when it is asked.
func (r *realMedium) read() Purse {
	r.counter++
	p := Purse{Account: r.account, Counter: r.counter, Balance: r.balance, Currency: kessai.JPY, Last: r.last}
	r.said = append(r.said, p)
	return p
}

// onPurse makes an operation one that brings what a medium says, or what somebody
// else says in its name.
func (g *generator) onPurse(op *Op, m *model, medium *realMedium) {
	var p Purse
	switch n := g.rnd.IntN(16); {
	case n == 0 && len(medium.said) > 0: // said before
		p = medium.said[len(medium.said)-1-g.rnd.IntN(min(3, len(medium.said)))]
	case n == 1:
		p = medium.read()
		p.Balance += 7_000_007
	case n == 2:
		p = medium.read()
		p.Last += 1 << 32
	case n == 3:
		p = medium.read()
		p.Currency = kessai.EUR
	case n == 4:
		p = medium.read()
		p.Refusal = PurseMAC
	default:
		p = medium.read()
	}
	p.Most = 9_000
	op.Purse = &p
	if op.Kind.OnPurse() {
		op.Medium = medium.id
		op.MediumLimit.MaxCount = 0 // or nothing would be left of the day for loading
	}
	if op.Kind == kessai.PurseSettlement {
		op.Customer, op.Shop = 0, 0
		switch g.rnd.IntN(4) {
		case 0:
			op.Original = Ref{ID: kessai.TxID(max(1, int64(m.next)-g.rnd.Int64N(40)))}
		case 1:
			if known := m.purses[medium.account]; known.open != nil {
				op.Original = Ref{ID: known.number}
			}
		}
	}
}

// ordered keeps what the book has told a medium to write.
func (g *generator) ordered(op Op, out Outcome) {
	if op.Purse == nil || !writes(op.Kind) || out.Tx.Code != kessai.Approved {
		return
	}
	for _, medium := range g.media {
		if medium.account == op.Purse.Account {
			medium.orders = append(medium.orders, out.Tx)
		}
	}
}

// write has the media write what they were told, or not, and compares what is on
// them with what the book has.
func (g *generator) write(t *testing.T, m *model) {
	t.Helper()
	for _, medium := range g.media {
		for _, tx := range medium.orders {
			if tx.Counter == medium.counter && g.rnd.IntN(3) > 0 {
				medium.counter++
				medium.balance, medium.last = tx.Available, tx.ID
				medium.wrote++
			}
		}
		medium.orders = medium.orders[:0]
		known := m.purses[medium.account]
		if medium.balance != known.value && (known.open == nil || medium.balance != known.open.after || medium.last != known.number) {
			t.Fatalf("medium %s carries %d, the book has %d for it", medium.id, medium.balance, known.value)
		}
	}
}

// fits reports whether a state can be what a medium says, and whether it says
// that what is pending was written.
func (p *modelPurse) fits(said *Purse, atLeast uint32) (written, ok bool) {
	if said.Refusal != 0 || said.Currency != kessai.JPY || said.Counter < atLeast {
		return false, false
	}
	if p.open != nil && said.Last == p.number {
		return true, said.Balance == p.open.after
	}
	return false, said.Last == p.last && said.Balance == p.value
}

// settle ends what is pending by a state that came along, as a transaction of its
// own. What is told of it is left to itself.
func (m *model) settle(op Op, told bool) (settled bool) {
	if op.Purse == nil {
		return false
	}
	p := m.purses[op.Purse.Account]
	written, ok := p.fits(op.Purse, p.counter+1)
	if p.open == nil || !ok {
		return false
	}
	if named := m.named(op); told && (op.Original.IsZero() || named == p.number) {
		return false
	}
	o := p.open
	t := &modelTx{kind: kessai.PurseSettlement, code: kessai.Approved, merchant: o.merchant, medium: o.medium, purse: p}
	m.txs[m.next] = t
	m.next++
	m.end(p, written, op.Purse.Counter)
	return true
}

func (m *model) named(op Op) kessai.TxID {
	if op.Original.ID != 0 {
		return op.Original.ID
	}
	return m.byKey[op.Original.Key]
}

// end ends what is pending.
func (m *model) end(p *modelPurse, written bool, counter uint32) {
	o := p.open
	p.open, p.counter = nil, counter
	from, to := o.sides()
	m.held[from] -= o.amount
	o.hold = "unwritten"
	if written {
		o.hold = "written"
		p.value, p.last = o.after, p.number
		m.post(from, to, o.amount)
	}
}

func (t *modelTx) sides() (from, to AccountID) {
	switch t.kind {
	case kessai.Load:
		return t.customer, t.shop
	default:
		return t.shop, t.customer
	}
}

// onPurse gives the outcome of what is about a medium. Its account stands where
// the shop's does otherwise.
func (m *model) onPurse(op Op, t *modelTx, settled bool) (kessai.ResponseCode, int64) {
	p := m.purses[op.Purse.Account]
	t.purse = p
	least := p.counter + 1
	if settled || op.Kind == kessai.PurseSettlement && p.open == nil {
		least = p.counter
	}
	written, ok := p.fits(op.Purse, least)
	switch {
	case !ok && op.Purse.Refusal == 0 && op.Purse.Currency != kessai.JPY:
		return kessai.InvalidTransaction, 0
	case !ok:
		return kessai.SecurityViolation, 0
	case op.Kind == kessai.PurseSettlement:
		return m.told(op, t, p, written)
	case op.Kind == kessai.PurseInquiry:
		p.counter = op.Purse.Counter
		return kessai.Approved, 0
	}
	customer := op.Customer
	if op.Kind == kessai.PursePurchase {
		customer = op.Shop
	}
	t.customer, t.shop, t.after = customer, op.Purse.Account, p.value-op.Amount
	payer := op.Purse.Account
	switch op.Kind {
	case kessai.Load:
		if t.after = p.value + op.Amount; t.after > op.Purse.Most {
			return kessai.AmountLimit, 0
		}
		payer = customer
	case kessai.Unload:
		op.MediumLimit, op.TerminalLimit = Limit{}, Limit{}
	case kessai.PursePurchase:
		op.MediumLimit = Limit{}
	}
	code, amount := m.spend(op, t, payer, false)
	if !code.IsApproval() {
		return code, 0
	}
	m.held[payer] += amount
	t.amount, t.before, t.hold = amount, p.last, "pending"
	p.open, p.number, p.counter = t, m.next, op.Purse.Counter
	return code, amount
}

// told gives the outcome of being told what a medium wrote.
func (m *model) told(op Op, t *modelTx, p *modelPurse, written bool) (kessai.ResponseCode, int64) {
	number := p.last
	if p.open != nil {
		number = p.number
	}
	if !op.Original.IsZero() {
		number = m.named(op)
		o := m.txs[number]
		switch {
		case o == nil || o.merchant != op.Merchant || o.medium != op.Medium:
			return kessai.NoSuchRecord, 0
		case !o.code.IsApproval() || !writes(o.kind):
			return kessai.InvalidTransaction, 0
		}
	}
	o := m.txs[number]
	if o == nil {
		return kessai.NoSuchRecord, 0
	}
	if p.open == o {
		m.end(p, written, op.Purse.Counter)
	}
	p.counter = op.Purse.Counter
	t.medium = o.medium
	if o.hold != "written" {
		return kessai.Approved, 0
	}
	return kessai.Approved, o.amount
}

// pending counts what is open: holds, and what media are to write.
func (m *model) pending() (n uint64) {
	m.expireHolds(time.Now())
	for _, p := range m.purses {
		if p.open != nil {
			n++
		}
	}
	return n + uint64(len(m.open))
}

// float is what is on all media, as far as the book should know.
func (m *model) float() (sum int64) {
	for _, p := range m.purses {
		sum += p.value
	}
	return sum
}

// TestV7_EMoneyAgreesWithModel is the model with e-money and what it is reversed
// with alone: most orders are written, some are not, and some states are said
// again or altered.
func TestV7_EMoneyAgreesWithModel(t *testing.T) {
	seed := uint64(20261122)
	steps := 30_000
	if raceEnabled {
		steps = 6_000
	}
	t.Logf("seed %d, %d operations", seed, steps)
	kinds := []kessai.Kind{kessai.Load, kessai.Load, kessai.Unload, kessai.PursePurchase, kessai.PurseInquiry, kessai.PurseSettlement, kessai.Reversal, kessai.Refund}
	synctest.Test(t, func(t *testing.T) { runModel(t, rand.New(rand.NewPCG(seed, 1)), steps, kinds) })
}
