package ledger

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"kessai"
)

// The model: what the book should do, written with plain maps and no regard for
// speed, from the promises and not from the code.
type model struct {
	balance, held map[AccountID]int64
	overdraft     map[AccountID]int64
	txs           map[kessai.TxID]*modelTx
	open          map[kessai.TxID]*modelTx // the holds among them that may be open
	byKey         map[Key]kessai.TxID
	undoneFirst   map[Key]bool
	total         map[string]int64 // subject and day -> amount
	times         map[string]uint32
	next          kessai.TxID
	purses        map[AccountID]*modelPurse
	modelWaiting
}

type modelTx struct {
	kind           kessai.Kind
	code           kessai.ResponseCode
	asked, amount  int64
	undone, repaid int64
	gone           bool // wholly undone by reversals
	customer, shop AccountID
	merchant       kessai.MerchantID
	medium         kessai.MediumID
	terminal       kessai.TerminalID
	day            int32
	limited        bool // counts against the medium's limit
	limitedT       bool // and the terminal's
	original       kessai.TxID
	hold           string // open, captured, released, expired, reversed
	heldNow        int64
	deadline       time.Time
	doneBy         kessai.TxID
	digest         [16]byte
	purse          *modelPurse // of e-money
	after          int64       // what is on the medium once it is written
	before         kessai.TxID // what it wrote before
	modelAsk
}

func newModel() *model {
	return &model{
		balance: map[AccountID]int64{}, held: map[AccountID]int64{}, overdraft: map[AccountID]int64{},
		txs: map[kessai.TxID]*modelTx{}, open: map[kessai.TxID]*modelTx{}, byKey: map[Key]kessai.TxID{}, undoneFirst: map[Key]bool{},
		total: map[string]int64{}, times: map[string]uint32{}, next: 1, purses: map[AccountID]*modelPurse{},
		modelWaiting: newModelWaiting(),
	}
}

func dayOf(t time.Time) int32 { return int32(t.Unix() / 86_400) }

func (m *model) free(a AccountID) int64 { return m.balance[a] - m.held[a] + m.overdraft[a] }

func (m *model) post(from, to AccountID, amount int64) {
	m.balance[from] -= amount
	m.balance[to] += amount
}

func (m *model) expireHolds(now time.Time) {
	for id, t := range m.open {
		if t.hold == "open" && !now.Before(t.deadline) {
			m.unhold(t, "expired")
		}
		if t.hold == "waiting" && !now.Before(t.deadline) {
			m.endWait(t, "expired", kessai.TooLate)
		}
		if t.hold != "open" && t.hold != "waiting" {
			delete(m.open, id)
		}
	}
}

// do gives what the book should answer: the code, the amount, and whether it is
// a repeat or a conflict.
func (m *model) do(op Op, now time.Time) (code kessai.ResponseCode, amount int64, replayed, conflict bool) {
	m.expireHolds(now)
	key := op.Names[0].Key
	if id, seen := m.byKey[key]; seen {
		if m.txs[id].digest != op.Names[0].Digest {
			return 0, 0, false, true
		}
		return m.txs[id].code, m.txs[id].amount, true, false
	}
	told := op.Verdict == kessai.Approved && op.Kind == kessai.PurseSettlement
	settled := m.settle(op, told)
	t := &modelTx{
		kind: op.Kind, asked: op.Amount, customer: op.Customer, shop: op.Shop, merchant: op.Merchant,
		medium: op.Medium, terminal: op.Terminal, day: dayOf(now), digest: op.Names[0].Digest,
	}
	switch {
	case op.Kind.OfCustomer():
		t.code, t.amount = m.ofCustomer(op, t, now)
	case op.Kind.OnPurse() && op.Verdict == kessai.Approved && !m.undoneFirst[key]:
		t.code, t.amount = m.onPurse(op, t, settled)
	default:
		t.asks, t.foreign = op.Asks, op.Foreign
		t.code, t.amount = m.outcome(op, t, now)
	}
	m.txs[m.next], m.byKey[key] = t, m.next
	m.next++
	return t.code, t.amount, false, false
}

func (m *model) outcome(op Op, t *modelTx, now time.Time) (kessai.ResponseCode, int64) {
	if op.Verdict != kessai.Approved {
		return op.Verdict, 0
	}
	if m.undoneFirst[op.Names[0].Key] {
		return kessai.DoNotHonour, 0
	}
	if op.Asks != kessai.AsksNobody {
		return m.wait(op, t, now)
	}
	switch op.Kind {
	case kessai.Purchase, kessai.CashBack, kessai.PreAuthorization:
		code, amount := m.spend(op, t, t.customer, op.Partial && op.CashBack == 0)
		if !code.IsApproval() {
			return code, 0
		}
		if op.Kind == kessai.PreAuthorization {
			m.held[t.customer] += amount
			t.hold, t.heldNow, t.deadline = "open", amount, now.Add(op.HoldFor)
			m.open[m.next] = t
		} else {
			m.post(t.customer, t.shop, amount)
		}
		return code, amount
	case kessai.BalanceInquiry:
		return kessai.Approved, 0
	case kessai.Verification:
		return kessai.NoReasonToDecline, 0
	case kessai.Refund:
		if op.Original.IsZero() {
			m.post(t.shop, t.customer, op.Amount)
			return kessai.Approved, op.Amount
		}
	}
	id := op.Original.ID
	if id == 0 {
		id = m.byKey[op.Original.Key]
	}
	o := m.txs[id]
	if o == nil && op.Kind == kessai.Reversal && op.Original.ID == 0 && op.Amount == 0 {
		m.undoneFirst[op.Original.Key] = true
		return kessai.Approved, 0
	}
	if o == nil || o.merchant != op.Merchant || !op.Medium.IsZero() && op.Medium != o.medium {
		return kessai.NoSuchRecord, 0
	}
	t.original, t.customer, t.shop, t.medium = id, o.customer, o.shop, o.medium
	return m.followUp(op, t, o, now)
}

func (m *model) followUp(op Op, t, o *modelTx, now time.Time) (kessai.ResponseCode, int64) {
	isHold := o.kind == kessai.PreAuthorization && o.code.IsApproval()
	switch op.Kind {
	case kessai.Increment, kessai.Completion, kessai.Release:
		if isHold && o.hold == "expired" {
			return kessai.TooLate, 0
		}
		if !isHold || o.hold != "open" {
			return kessai.InvalidTransaction, 0
		}
	}
	switch op.Kind {
	case kessai.Increment:
		if o.asks != kessai.AsksNobody {
			return kessai.InvalidTransaction, 0
		}
		code, amount := m.spend(op, t, o.customer, false)
		if code.IsApproval() {
			m.held[o.customer] += amount
			o.heldNow += amount
			if d := now.Add(op.HoldFor); d.After(o.deadline) {
				o.deadline = d
			}
		}
		return code, amount
	case kessai.Completion:
		amount := op.Amount
		if amount == 0 {
			amount = o.heldNow
		}
		if amount == 0 || amount > o.heldNow {
			return kessai.InvalidAmount, 0
		}
		t.foreign = m.step(o, 0, amount)
		m.unhold(o, "captured")
		o.doneBy = m.next
		m.pay(o, t.foreign, amount)
		return kessai.Approved, amount
	case kessai.Release:
		m.unhold(o, "released")
		return kessai.Approved, 0
	case kessai.Refund:
		if isHold && o.hold == "captured" {
			t.original = o.doneBy
			o = m.txs[o.doneBy]
		}
		if !o.code.IsApproval() || o.kind != kessai.Purchase && o.kind != kessai.CashBack && o.kind != kessai.Completion ||
			o.gone || o.kind == kessai.Purchase && o.hold != "" {
			return kessai.InvalidTransaction, 0
		}
		left := o.amount - o.undone - o.repaid
		amount := op.Amount
		if amount == 0 {
			amount = left
		}
		if left == 0 || amount > left {
			return kessai.InvalidAmount, 0
		}
		t.foreign = m.step(o, o.undone+o.repaid, o.undone+o.repaid+amount)
		m.pay(o, t.foreign.negative(), -amount)
		o.repaid += amount
		return kessai.Approved, amount
	}
	return m.reverse(op, t, o)
}

func (m *model) reverse(op Op, t, o *modelTx) (kessai.ResponseCode, int64) {
	if o.code.IsApproval() && o.kind.OnPurse() && o.kind != kessai.PurseInquiry && o.hold != "unwritten" {
		return kessai.InvalidTransaction, 0
	}
	if o.hold == "waiting" && op.Amount == 0 {
		o.undone = o.amount
		m.endWait(o, "reversed", kessai.CustomerCancellation)
		return kessai.Approved, o.amount
	}
	if o.kind.OfCustomer() || o.hold == "waiting" || o.kind == kessai.Reversal || o.kind == kessai.Release && o.code.IsApproval() || o.kind == kessai.Release || o.hold == "captured" {
		return kessai.InvalidTransaction, 0
	}
	if !o.code.IsApproval() || o.kind == kessai.BalanceInquiry || o.kind == kessai.Verification || o.kind.OnPurse() || o.hold != "" && o.hold != "open" {
		return kessai.Approved, 0
	}
	left := o.amount - o.undone - o.repaid
	if o.gone {
		return kessai.Approved, 0
	}
	if op.Amount > o.amount {
		return kessai.InvalidAmount, 0
	}
	undo := max(0, left-op.Amount)
	switch o.kind {
	case kessai.Purchase, kessai.CashBack, kessai.Completion:
		t.foreign = m.step(o, o.undone+o.repaid, o.undone+o.repaid+undo)
		m.pay(o, t.foreign.negative(), -undo)
	case kessai.Refund:
		if sale := m.txs[o.original]; sale != nil && sale.gone {
			return kessai.InvalidTransaction, 0
		}
		theirs := Foreign{Amount: undo}
		if sale := m.txs[o.original]; sale != nil && sale.foreign.Currency != 0 {
			theirs = m.step(sale, sale.undone+sale.repaid-undo, sale.undone+sale.repaid)
			t.foreign = theirs
		}
		if theirs.Amount > m.free(o.customer) {
			t.foreign = Foreign{}
			return kessai.InsufficientFunds, 0
		}
		m.pay(o, t.foreign, undo)
		if o.original != 0 {
			m.txs[o.original].repaid -= undo
		}
	case kessai.Increment:
		h := m.txs[o.original]
		if h.hold == "captured" {
			return kessai.InvalidTransaction, 0
		}
		if h.hold != "open" {
			return kessai.Approved, 0
		}
		undo = min(undo, h.heldNow)
		h.heldNow -= undo
		m.held[o.customer] -= undo
	case kessai.PreAuthorization:
		undo = min(undo, o.heldNow)
		if op.Amount == 0 {
			m.unhold(o, "reversed")
		} else {
			m.held[o.customer] -= m.side(o, o.heldNow)
			o.heldNow -= undo
			m.held[o.customer] += m.side(o, o.heldNow)
		}
	}
	o.undone += undo
	o.gone = undo > 0 && left == undo && o.kind != kessai.PreAuthorization
	gone := o.gone || o.hold == "reversed"
	m.uncountCard(o, t.day, o.undone-undo, undo, gone)
	if t.day == o.day {
		for _, l := range []struct {
			on bool
			k  string
		}{{o.limited, fmt.Sprintf("m%x/%d", o.medium, o.day)}, {o.limitedT, fmt.Sprintf("t%s/%d", o.terminal, o.day)}} {
			if l.on {
				m.total[l.k] -= undo
				if gone && o.kind != kessai.Increment {
					m.times[l.k]--
				}
			}
		}
	}
	return kessai.Approved, undo
}

// TestModel makes random operations against the book and against the model, with
// deadlines that pass and with restarts in between, and expects the same answer
// to each and the same balances throughout.
func TestModel(t *testing.T) {
	steps := 100_000
	if raceEnabled {
		steps = 40_000
	}
	if os.Getenv("KESSAI_SOAK") != "" {
		steps = 2_000_000
	}
	seed := uint64(20260822)
	t.Logf("seed %d, %d operations", seed, steps)
	synctest.Test(t, func(t *testing.T) { runModel(t, rand.New(rand.NewPCG(seed, 1)), steps, kessai.Kinds()) })
}

func runModel(t *testing.T, rnd *rand.Rand, steps int, kinds []kessai.Kind) *model {
	o := Options{Dir: t.TempDir(), SnapshotEvery: 3_000, SnapshotPause: 1, Resident: 4 * pageSize, Logf: t.Logf}
	b := must(Open(o))
	m := newModel()
	balances := []int64{5_000, 100_000, 0, 1_000_000, 77}
	shop, customers := people(t, b, balances...)
	for i, c := range customers {
		m.balance[c] = balances[i]
	}
	g := generator{rnd: rnd, kinds: kinds, shop: shop, customers: customers, media: media(t, b, m, len(customers))}
	g.open(t, b, m)
	for done := 0; done < steps; {
		group := make([]*pending, 1+rnd.IntN(64))
		for i := range group {
			op := g.op(m)
			group[i] = &pending{tasks: []Task{{Op: op}}, done: make(chan struct{}, 1)}
			if err := b.send(group[i]); err != nil {
				t.Fatal(err)
			}
		}
		now := time.Now()
		for _, p := range group {
			<-p.done
			op, out := p.tasks[0].Op, p.tasks[0].Outcome
			code, amount, replayed, conflict := m.do(op, now)
			if p.err != nil || out.Conflict != conflict || out.Replayed != replayed || out.Tx.Code != code || out.Tx.Amount != amount {
				t.Fatalf("operation %d, %+v:\nthe book says %v, %d, replayed %v, conflict %v (error %v)\nthe model says %v, %d, replayed %v, conflict %v",
					done, op, out.Tx.Code, out.Tx.Amount, out.Replayed, out.Conflict, p.err, code, amount, replayed, conflict)
			}
			m.same(t, b, out)
			done++
			g.ordered(op, out)
		}
		g.write(t, m)
		if rnd.IntN(30) == 0 { // an overdraft is raised, or lowered under open holds
			i := rnd.IntN(len(customers))
			over := rnd.Int64N(3_000)
			if _, err := b.OpenAccounts([]AccountSpec{{Name: fmt.Sprintf("customer/%d", i), Kind: CustomerAccount, Currency: kessai.JPY, Overdraft: over}}); err != nil {
				t.Fatal(err)
			}
			m.overdraft[customers[i]] = over
		}
		if rnd.IntN(20) == 0 {
			time.Sleep(time.Duration(rnd.IntN(60)) * time.Second)
		}
		if rnd.IntN(150) == 0 {
			if err := b.Close(); err != nil {
				t.Fatal(err)
			}
			before, down := b.state.derived(), rnd.IntN(3) == 0
			if down { // deadlines and days pass while the gateway is down; they cost nothing while no store is open
				time.Sleep(30 * time.Hour)
			}
			switch rnd.IntN(8) {
			case 0:
				withoutSnapshot(t, o.Dir)
			case 1:
				os.RemoveAll(indexDir(o.Dir))
			}
			b = must(Open(o))
			m.reopened(b)
			if diff := cmp.Diff(before, b.state.derived()); diff != "" && !down {
				t.Fatalf("on opening, other things follow:\n%s", diff)
			}
		}
		m.agree(t, b)
	}
	for _, medium := range g.media {
		if slices.Contains(kinds, kessai.Load) && medium.wrote < steps/5_000 {
			t.Errorf("medium %s was written only %d times", medium.id, medium.wrote)
		}
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := Verify(o.Dir, nil)
	if err != nil || r.Transactions != uint64(m.next-1) {
		t.Fatalf("verify: %+v, %v; the model has %d transactions", r, err, m.next-1)
	}
	open, float := m.pending(), m.float()
	if r.HoldsOpen+r.Waiting != open || r.Float[kessai.JPY] != float {
		t.Fatalf("verify: %d holds are open and %d on media; the model has %d and %d", r.HoldsOpen, r.Float[kessai.JPY], open, float)
	}
	return m
}

// agree compares every balance and every amount that is held.
func (m *model) agree(t *testing.T, b *Book) {
	t.Helper()
	synctest.Wait() // deadlines that have passed are carried out
	m.expireHolds(time.Now())
	m.agreeWaiting(t, b)
	for id := range m.balance {
		if a, _ := b.Account(id); a.Balance != m.balance[id] || a.Held != m.held[id] {
			t.Fatalf("account %d: the book has %d, %d held; the model %d, %d held", id, a.Balance, a.Held, m.balance[id], m.held[id])
		}
	}
}
