package ledger

import (
	"fmt"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"kessai"
)

// The model's part about payments that wait for their customers, and about those
// whose customers have another currency.

type modelWaiting struct {
	shop     AccountID
	euros    map[AccountID]bool // accounts in euros; all others are in yen
	changed  map[kessai.Currency]int64
	wrong    map[string]int // account, day and what for -> wrong passwords
	heard    map[kessai.TxID]int
	excused  map[kessai.TxID]bool // ended while nobody could be told
	asked    []kessai.TxID
	outcomes map[string]int
	modelReader
}

func newModelWaiting() modelWaiting {
	return modelWaiting{
		euros: map[AccountID]bool{}, changed: map[kessai.Currency]int64{}, wrong: map[string]int{},
		heard: map[kessai.TxID]int{}, excused: map[kessai.TxID]bool{}, outcomes: map[string]int{},
		modelReader: modelReader{pins: map[kessai.MediumID]int{}},
	}
}

// modelAsk is what a payment that asks has besides.
type modelAsk struct {
	asks     kessai.Asks
	agreedBy *modelTx // the approval by card
	foreign  Foreign
	holdFor  time.Duration
	tries    int
	tell     kessai.ResponseCode // what the terminal is told, where it ended without money
	waited   bool
}

func (f Foreign) negative() Foreign { return Foreign{f.Currency, -f.Amount} }

// limits reports what speaks against an operation.
func (m *model) limits(op Op, t *modelTx) kessai.ResponseCode {
	for _, l := range m.limitsOf(op, t) {
		if l.MaxCount > 0 && op.Kind != kessai.Increment && m.times[l.k]+1 > l.MaxCount {
			return kessai.CountLimit
		}
		if l.MaxTotal > 0 && m.total[l.k]+op.Amount > l.MaxTotal {
			return kessai.AmountLimit
		}
	}
	return kessai.Approved
}

type modelLimit struct {
	k string
	Limit
	on *bool
}

func (m *model) limitsOf(op Op, t *modelTx) []modelLimit {
	return []modelLimit{
		{fmt.Sprintf("m%x/%d", t.medium, t.day), op.MediumLimit, &t.limited},
		{fmt.Sprintf("t%s/%d", t.terminal, t.day), op.TerminalLimit, &t.limitedT},
	}
}

func (m *model) count(op Op, t *modelTx, amount int64) {
	for _, l := range m.limitsOf(op, t) {
		if l.MaxCount > 0 || l.MaxTotal > 0 {
			*l.on = true
			m.total[l.k] += amount
			if op.Kind != kessai.Increment {
				m.times[l.k]++
			}
		}
	}
}

func (m *model) spend(op Op, t *modelTx, customer AccountID, partial bool) (kessai.ResponseCode, int64) {
	if code := m.limits(op, t); code != kessai.Approved {
		return code, 0
	}
	amount, code := op.Amount, kessai.Approved
	if m.free(customer) < amount {
		if amount = m.free(customer); !partial || amount <= 0 {
			return kessai.InsufficientFunds, 0
		}
		code = kessai.PartialApproval
	}
	m.count(op, t, amount)
	return code, amount
}

// side is what an amount of a payment is on the customer's side: half a minor unit
// is rounded up.
func (m *model) side(t *modelTx, amount int64) int64 {
	if t.foreign.Currency == 0 {
		return amount
	}
	r := big.NewRat(t.foreign.Amount, t.amount)
	r.Mul(r, big.NewRat(amount, 1))
	r.Add(r, big.NewRat(1, 2))
	return new(big.Int).Div(r.Num(), r.Denom()).Int64()
}

func (m *model) step(t *modelTx, from, to int64) Foreign {
	if t.foreign.Currency == 0 || from == to {
		return Foreign{}
	}
	return Foreign{t.foreign.Currency, m.side(t, to) - m.side(t, from)}
}

// pay moves money from a payment's customer to its shop; back, if it is negative.
func (m *model) pay(t *modelTx, theirs Foreign, amount int64) {
	if theirs.Currency == 0 {
		m.post(t.customer, t.shop, amount)
		return
	}
	m.balance[t.customer] -= theirs.Amount
	m.changed[theirs.Currency] += theirs.Amount
	m.changed[kessai.JPY] -= amount
	m.balance[t.shop] += amount
}

// unhold ends a hold.
func (m *model) unhold(t *modelTx, how string) {
	m.held[t.customer] -= m.side(t, t.heldNow)
	t.hold, t.heldNow = how, 0
}

// endWait ends a payment that was waiting, without money.
func (m *model) endWait(t *modelTx, how string, tell kessai.ResponseCode) {
	if t.heldNow > 0 {
		m.unhold(t, how)
	}
	t.hold, t.tell = how, tell
	m.outcomes[how+" "+tell.String()]++
	for _, l := range []struct {
		on bool
		k  string
	}{{t.limited, fmt.Sprintf("m%x/%d", t.medium, t.day)}, {t.limitedT, fmt.Sprintf("t%s/%d", t.terminal, t.day)}} {
		if l.on {
			m.total[l.k] -= t.amount
			m.times[l.k]--
		}
	}
	t.limited, t.limitedT = false, false // not once more by its reversal
}

// fits reports whether a customer can be asked to pay.
func (m *model) fits(customer AccountID, theirs Foreign) kessai.ResponseCode {
	_, known := m.balance[customer]
	own := kessai.JPY
	if m.euros[customer] {
		own = kessai.EUR
	}
	switch {
	case !known || customer == m.shop || theirs.Currency == 0 && own != kessai.JPY, theirs.Currency != 0 && theirs.Currency != own,
		theirs.Currency == kessai.JPY:
		return kessai.InvalidTransaction
	case theirs.Currency != 0 && theirs.Amount <= 0:
		return kessai.InvalidAmount
	}
	return kessai.Approved
}

func (m *model) wait(op Op, t *modelTx, now time.Time) (kessai.ResponseCode, int64) {
	if t.asks != kessai.AsksClaim {
		if code := m.fits(t.customer, t.foreign); code != kessai.Approved {
			return code, 0
		}
	}
	if op.Amount == 0 {
		return kessai.InvalidAmount, 0
	}
	if code := m.limits(op, t); code != kessai.Approved {
		return code, 0
	}
	t.amount = op.Amount
	if t.asks != kessai.AsksClaim && m.free(t.customer) < m.side(t, t.amount) {
		return kessai.InsufficientFunds, 0
	}
	m.count(op, t, t.amount)
	t.hold, t.waited, t.deadline, t.holdFor = "waiting", true, now.Add(op.WaitFor), op.HoldFor
	if t.asks != kessai.AsksClaim {
		m.take(t)
	}
	m.open[m.next] = t
	return kessai.Approved, t.amount
}

func (m *model) take(t *modelTx) {
	t.heldNow = t.amount
	m.held[t.customer] += m.side(t, t.amount)
}

func (m *model) ofCustomer(op Op, t *modelTx, now time.Time) (kessai.ResponseCode, int64) {
	wrong := op.Verdict == kessai.WrongProof && (op.Kind == kessai.Approval || op.Kind == kessai.SignIn)
	if op.Verdict != kessai.Approved && !wrong {
		return op.Verdict, 0
	}
	if op.Customer == m.shop {
		return kessai.InvalidTransaction, 0
	}
	tried := fmt.Sprintf("%d/%d/", op.Customer, t.day)
	switch op.Kind {
	case kessai.SignIn:
		return m.proof(op, tried+"sign-in", kessai.Approved, wrong), 0
	case kessai.Unlock:
		if op.Customer == 0 {
			delete(m.pins, op.Medium)
			return kessai.Approved, 0
		}
		delete(m.wrong, tried+"sign-in")
		delete(m.wrong, tried+"sale")
		return kessai.Approved, 0
	}
	id := m.named(op)
	o := m.txs[id]
	code := kessai.Approved
	switch {
	case o == nil || o.asks == kessai.AsksNobody, !op.Merchant.IsZero() && op.Merchant != o.merchant,
		op.Kind == kessai.Claim && o.asks != kessai.AsksClaim,
		op.Customer != 0 && op.Customer != o.customer && (op.Kind != kessai.Claim || o.customer != 0):
		code = kessai.NoSuchRecord
	case o.hold != "waiting":
		code = kessai.InvalidTransaction
	}
	byCard := op.Factor == kessai.FactorCard || op.Factor == kessai.FactorPIN
	if op.Kind == kessai.Approval && code == kessai.Approved && byCard != (o.asks == kessai.AsksReader) {
		code = kessai.InvalidTransaction
	}
	switch {
	case op.Kind == kessai.Approval && byCard:
		code = m.byCard(op, t, o, code, wrong)
	case op.Kind == kessai.Approval:
		code = m.proof(op, tried+"sale", code, wrong)
		if code == kessai.WrongProof {
			most := op.MaxTries
			if most == 0 {
				most = 3
			}
			if o.tries++; o.tries >= most {
				m.endWait(o, "cancelled", kessai.TriesExceeded)
			}
		}
	}
	if code != kessai.Approved {
		return code, 0
	}
	switch op.Kind {
	case kessai.Cancellation:
		tell := op.Ends
		if tell == 0 {
			tell = kessai.CustomerCancellation
		}
		m.endWait(o, "cancelled", tell)
		return kessai.Approved, 0
	case kessai.Claim:
		return m.claim(op, t, o), 0
	}
	m.outcomes["agreed"]++
	t.foreign = o.foreign
	if o.kind == kessai.PreAuthorization {
		o.hold, o.deadline = "open", now.Add(o.holdFor)
		return kessai.Approved, o.amount
	}
	m.unhold(o, "")
	m.pay(o, o.foreign, o.amount)
	return kessai.Approved, o.amount
}

// proof gives what a proof is worth.
func (m *model) proof(op Op, tried string, code kessai.ResponseCode, wrong bool) kessai.ResponseCode {
	most := op.DayTries
	if most == 0 {
		most = 5
	}
	if op.Factor == kessai.FactorPassword {
		if m.wrong[tried] >= most {
			if code == kessai.Approved {
				code = kessai.TriesExceeded
			}
			return code
		}
		if wrong {
			m.wrong[tried]++
		}
	}
	if wrong && code == kessai.Approved {
		code = kessai.WrongProof
	}
	return code
}

func (m *model) claim(op Op, t, o *modelTx) kessai.ResponseCode {
	if o.customer != 0 {
		t.foreign = o.foreign
		return kessai.Approved
	}
	if code := m.fits(op.Customer, op.Foreign); code != kessai.Approved {
		return code
	}
	o.customer, o.foreign, t.foreign = op.Customer, op.Foreign, op.Foreign
	if m.free(o.customer) < m.side(o, o.amount) {
		m.endWait(o, "cancelled", kessai.InsufficientFunds)
		return kessai.InsufficientFunds
	}
	m.take(o)
	m.outcomes["claimed"]++
	return kessai.Approved
}

// standing is what the terminal should be told of a payment that asked.
func (t *modelTx) standing() kessai.ResponseCode {
	switch {
	case t.hold == "waiting":
		return kessai.RequestInProgress
	case t.tell != 0:
		return t.tell
	}
	return t.code
}

// same compares what a single answer says of the customer's side.
func (m *model) same(t *testing.T, b *Book, out Outcome) {
	t.Helper()
	if out.Conflict {
		return
	}
	o := m.txs[out.Tx.ID]
	if out.Tx.Asks != kessai.AsksNobody && out.Tx.Code.IsApproval() && out.Tx.Standing() != kessai.RequestInProgress {
		t.Fatalf("%d was decided as %v", out.Tx.ID, out.Tx.Standing())
	}
	if !out.Replayed && out.Tx.Code.IsApproval() && out.Tx.Amount != 0 && out.Tx.Foreign != o.foreign {
		t.Fatalf("%d, a %v: the customer's side is %v, the model has %v", out.Tx.ID, out.Tx.Kind, out.Tx.Foreign, o.foreign)
	}
	if out.Tx.Asks != kessai.AsksNobody && !out.Replayed {
		m.asked = append(m.asked, out.Tx.ID)
	}
}

// agreeWaiting compares the payments that asked, and what was counted.
func (m *model) agreeWaiting(t *testing.T, b *Book) {
	t.Helper()
	for c, want := range m.changed {
		if a, _ := b.AccountByName(exchangeName(c)); a.Balance != want {
			t.Fatalf("%d %v were changed; the model has %d", a.Balance, c, want)
		}
	}
	day := dayOf(time.Now())
	for id := range m.balance {
		sales, signIns := b.Tries(id)
		tried := fmt.Sprintf("%d/%d/", id, day)
		if sales != m.wrong[tried+"sale"] || signIns != m.wrong[tried+"sign-in"] {
			t.Fatalf("account %d: %d and %d wrong proofs; the model has %d and %d", id, sales, signIns, m.wrong[tried+"sale"], m.wrong[tried+"sign-in"])
		}
	}
	m.agreePINs(t, b)
	var waiting []kessai.TxID
	for id, o := range m.open {
		if o.hold == "waiting" {
			waiting = append(waiting, id)
		}
	}
	slices.Sort(waiting)
	var got []kessai.TxID
	for _, tx := range b.Waiting() {
		got = append(got, tx.ID)
	}
	if !slices.Equal(got, waiting) {
		t.Fatalf("%v wait; the model has %v", got, waiting)
	}
	if len(m.asked) > 30 {
		m.asked = m.asked[len(m.asked)-30:]
	}
	for _, id := range m.asked {
		o := m.txs[id]
		tx, ok := b.Find(Ref{ID: id})
		told := 0
		if o.waited && o.hold != "waiting" && !m.excused[id] {
			told = 1
		}
		if !ok || tx.Standing() != o.standing() || int(tx.Tries) != o.tries || tx.Held != o.heldNow || tx.Customer != o.customer || tx.Medium != o.medium ||
			(tx.Agreed != 0) != (o.waited && o.hold != "waiting" && o.tell == 0) || m.heard[id] != told {
			t.Fatalf("payment %d stands at %+v, told of %d times; the model has %+v, %d times", id, tx, m.heard[id], *o, told)
		}
	}
}

// reopened begins to listen to a book. What ended on opening it may not hear.
func (m *model) reopened(b *Book) {
	b.OnEnded(func(all []Tx) {
		for _, t := range all {
			m.heard[t.ID]++
		}
	})
	synctest.Wait()
	for id, t := range m.open {
		if t.hold == "waiting" && !time.Now().Before(t.deadline) {
			m.excused[id], m.heard[id] = true, 0
		}
	}
}

// TestP_WaitingAgreesWithModel is the model with payments that wait, and with what
// becomes of them, alone.
func TestP_WaitingAgreesWithModel(t *testing.T) {
	seed := uint64(20261123)
	steps := 40_000
	if raceEnabled {
		steps = 8_000
	}
	t.Logf("seed %d, %d operations", seed, steps)
	kinds := []kessai.Kind{
		kessai.Purchase, kessai.Purchase, kessai.PreAuthorization, kessai.PreAuthorization, kessai.Approval, kessai.Approval, kessai.Approval,
		kessai.Cancellation, kessai.Claim, kessai.Claim, kessai.SignIn, kessai.Unlock, kessai.Completion, kessai.Refund, kessai.Reversal, kessai.Reversal, kessai.Reversal, kessai.Release,
	}
	synctest.Test(t, func(t *testing.T) {
		m := runModel(t, rand.New(rand.NewPCG(seed, 1)), steps, kinds)
		t.Logf("%v; changed %v", m.outcomes, m.changed)
		for _, what := range []string{"agreed", "claimed", "cancelled 05", "cancelled 17", "cancelled 51", "cancelled 55", "cancelled 61", "cancelled 65", "cancelled 75", "expired 68", "reversed 17", "agreed by card", "given back to a card"} {
			if m.outcomes[what] < steps/4_000 {
				t.Errorf("only %d payments were %s", m.outcomes[what], what)
			}
		}
		if m.changed[kessai.EUR] == 0 {
			t.Error("no money was changed")
		}
	})
}
