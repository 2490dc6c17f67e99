package ledger

import (
	"fmt"
	"maps"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kessai"
)

// player makes operations from bytes and gives them to a state, in blocks, without
// a disk.
type player struct {
	s       *state
	t       batch
	raw     [][]byte
	in      []byte
	now     int64
	opening map[AccountID]int64
	ended   map[kessai.TxID]int
}

// The accounts of a player: clearing/JPY, the shop, two customers, clearing/EUR,
// two customers in euros.
const (
	playShop = 2
)

var playClients = [8]AccountID{3, 4, 6, 7, 3, 6, 3, 0} // of some more, because much is declined otherwise

func (p *player) byte() byte {
	if len(p.in) == 0 {
		return 0
	}
	v := p.in[0]
	p.in = p.in[1:]
	return v
}

// play makes blocks until there are no more bytes, and checks the state after each.
func play(t *testing.T, in []byte) *player {
	t.Helper()
	p := &player{s: newState(), in: in, now: 1_700_000_000_000_000_000, opening: map[AccountID]int64{}, ended: map[kessai.TxID]int{}}
	p.block(t, func() {
		specs := []AccountSpec{{Name: "merchant/aoi", Kind: MerchantAccount, Currency: kessai.JPY}}
		for i, opening := range []int64{1_000_000, 500, 70_000, 90} {
			c := []kessai.Currency{kessai.JPY, kessai.EUR}[i/2]
			specs = append(specs, AccountSpec{Name: fmt.Sprintf("customer/%d", i), Kind: CustomerAccount, Currency: c, Opening: opening})
		}
		q := pending{specs: specs}
		if err := p.t.openAccounts(p.s, &q); err != nil || q.err != nil {
			t.Fatal(err, q.err)
		}
		for i, id := range q.ids {
			p.opening[id] = specs[i].Opening
		}
	})
	for len(p.in) > 0 {
		if b := p.byte(); b < 250 {
			p.now += int64(b%8) * int64(time.Second) / 4
		} else {
			p.now += 40 * int64(time.Second) // deadlines and days pass
		}
		p.block(t, func() {
			for range 1 + p.byte()%4 {
				op := p.op()
				if op.check() != nil {
					continue
				}
				var out Outcome
				if err := p.t.one(p.s, &op, &out); err != nil {
					t.Fatalf("%+v: %v", op, err)
				}
			}
		})
		p.check(t)
	}
	return p
}

func (p *player) block(t *testing.T, fill func()) {
	p.s.begin(p.now, int32(p.now/int64(20*time.Second)))
	p.t.begin(p.s)
	if err := p.t.expire(p.s); err != nil {
		t.Fatal(err)
	}
	fill()
	raw, hash := p.t.block.append(nil)
	p.s.block, p.s.hash = p.t.number, hash
	p.raw = append(p.raw, raw)
	for _, id := range p.s.ended {
		p.ended[id]++
	}
}

var playKinds = []kessai.Kind{
	kessai.Purchase, kessai.PreAuthorization, kessai.Approval, kessai.Claim, kessai.Cancellation, kessai.Refund, kessai.Reversal, kessai.Completion,
	kessai.Release, kessai.Increment, kessai.SignIn, kessai.Unlock, kessai.Approval, kessai.Purchase, kessai.Refund, kessai.CashBack,
}

func (p *player) op() Op {
	b := p.byte()
	op := Op{Kind: playKinds[b%16], Merchant: aoi, Terminal: aoiPOS, Currency: kessai.JPY, Names: [2]Name{{Key: Key{1, p.byte(), p.byte() % 4}}}}
	flags := p.byte()
	amount := int64(p.byte())
	client := playClients[p.byte()%8]
	if flags == 255 {
		client = AccountID(amount % 12) // anything
	}
	op.Amount = amount * amount
	if flags&1 != 0 {
		op.Amount = amount
	}
	if flags&2 != 0 {
		op.TerminalLimit = Limit{MaxTotal: 80_000, MaxCount: 12}
	}
	op.WaitFor, op.HoldFor = time.Duration(1+p.byte()%16)*time.Second, 20*time.Second
	op.MaxTries, op.DayTries, op.PINTries, op.Factor = int(flags>>2)%4, int(flags>>3)%4, int(flags>>2)%4, kessai.Factor(flags>>4)%3
	switch op.Kind {
	case kessai.Purchase, kessai.PreAuthorization:
		op.Customer, op.Shop, op.Asks = client, playShop, kessai.Asks(flags>>6)
		if op.Asks == kessai.AsksClaim {
			op.Customer = 0
		}
	case kessai.CashBack:
		op.Customer, op.Shop = client, playShop
	default:
		op.Original.ID = p.s.near(p.byte(), op.Kind)
		op.Customer = client
		if op.Kind == kessai.Approval && flags&32 != 0 {
			op.Verdict = kessai.WrongProof
		}
		if op.Kind == kessai.Reversal && op.Amount > 0 && flags&64 != 0 {
			op.Amount = 0
		}
		if o := p.s.txs.get(uint64(op.Original.ID)); o != nil && flags&192 != 0 && op.Kind.OfCustomer() && op.Kind != kessai.Claim {
			op.Customer = o.Customer
		}
		o := p.s.txs.get(uint64(op.Original.ID))
		if op.Kind == kessai.Approval && (flags&4 != 0 || o != nil && o.Asks == kessai.AsksReader && flags&24 != 0) {
			op.Factor, op.Medium = kessai.FactorCard+kessai.Factor(flags>>1)%2, kessai.MediumID{byte(amount) % 64, 1}
			op.MediumLimit = Limit{MaxTotal: amount * 1_000, MaxCount: uint32(flags>>3) % 8}
		}
		if op.Kind == kessai.Unlock && flags&4 != 0 {
			op.Customer, op.Medium = 0, kessai.MediumID{byte(amount) % 64, 1}
		}
		if op.Kind.OfCustomer() {
			op.Merchant, op.Terminal, op.Names = kessai.MerchantID{}, kessai.TerminalID{}, [2]Name{}
		}
	}
	if (op.Asks != 0 || op.Kind == kessai.Claim) && (op.Customer > 4) == (flags != 254) {
		op.Foreign = Foreign{kessai.EUR, int64(p.byte()) * int64(flags)}
		if op.Asks == kessai.AsksClaim {
			op.Foreign = Foreign{}
		}
	}
	return op
}

// near gives one of the last transactions: most often one that the kind can be about.
func (s *state) near(back byte, kind kessai.Kind) kessai.TxID {
	id := max(0, int64(s.txs.n)-int64(back%16))
	if back >= 200 {
		return kessai.TxID(id)
	}
	for ; id > 0; id-- {
		switch t := s.txs.get(uint64(id)); {
		case kind == kessai.Approval || kind == kessai.Claim || kind == kessai.Cancellation:
			if t.Status == Waiting {
				return t.ID
			}
		case t.Status == Posted, t.Status == Pending:
			return t.ID
		}
	}
	return 0
}

// check holds the state against what its transactions say of themselves.
func (p *player) check(t *testing.T) {
	t.Helper()
	if _, err := p.s.sums(); err != nil {
		t.Fatal(err)
	}
	balance, held := maps.Clone(p.opening), map[AccountID]int64{}
	moved := func(t *Tx, sign int64) {
		theirs := t.Amount
		if t.Foreign.Currency != 0 {
			theirs = t.Foreign.Amount
		}
		balance[t.Customer] -= sign * theirs
		balance[t.Shop] += sign * t.Amount
	}
	p.s.txs.each(func(tx *Tx) {
		if tx.Status == Pending || tx.Status == Waiting {
			held[tx.Customer] += tx.side(tx.Held)
		}
		if tx.Status == Waiting && tx.Customer == 0 && tx.Held != 0 || tx.Tries > 0 && tx.Asks == 0 {
			t.Fatalf("%+v", tx)
		}
		_, waits := p.s.waiting[tx.ID]
		_, open := p.s.pending[tx.ID]
		began := tx.Asks != 0 && tx.Code.IsApproval()
		if waits != (tx.Status == Waiting) || open != (tx.Status == Waiting || tx.Status == Pending) || began && (p.ended[tx.ID] == 1) == waits || p.ended[tx.ID] > 1 {
			t.Fatalf("waits %v, open %v, ended %d times: %+v", waits, open, p.ended[tx.ID], tx)
		}
		if began && (tx.Agreed != 0) == (tx.Told != 0) && tx.Status != Waiting {
			t.Fatalf("it ended in two ways, or in none: %+v", tx)
		}
		o := p.s.txs.get(uint64(tx.Original))
		switch {
		case !tx.Code.IsApproval():
		case tx.Kind == kessai.CashBack, tx.Kind == kessai.Purchase && tx.Asks == 0, tx.Kind == kessai.Completion,
			tx.Kind == kessai.Approval && o.Kind == kessai.Purchase:
			moved(tx, 1)
		case tx.Kind == kessai.Refund:
			moved(tx, -1)
		case tx.Kind == kessai.Reversal && o != nil && tx.Amount > 0 && o.Told == 0:
			switch o.Kind {
			case kessai.Purchase, kessai.CashBack, kessai.Completion:
				moved(tx, -1)
			case kessai.Refund:
				moved(tx, 1)
			}
		}
	})
	for id, want := range balance {
		a := p.s.accounts.get(uint64(id))
		if a.balance != want || a.held != held[id] || a.kind() == CustomerAccount && a.available() < 0 {
			t.Fatalf("account %d has %d and holds %d; the transactions say %d and %d", id, a.balance, a.held, want, held[id])
		}
	}
}

// derived is what follows from blocks or pages, and is compared.
type derived struct {
	Pending, Waiting map[kessai.TxID]int64
	Tries            map[AccountID][2]int32
	PINs             map[kessai.MediumID]int
	Usage            map[subject][2]int64
	Float            map[kessai.Currency]int64
	Day              int32
	Block, Txs       uint64
}

func (s *state) derived() derived {
	d := derived{
		Pending: maps.Clone(s.pending), Waiting: map[kessai.TxID]int64{}, Tries: map[AccountID][2]int32{}, PINs: map[kessai.MediumID]int{}, Usage: map[subject][2]int64{},
		Float: map[kessai.Currency]int64{}, Day: s.day, Block: s.block, Txs: s.txs.n,
	}
	for id := range s.waiting {
		d.Waiting[id] = s.pending[id]
	}
	for id, n := range s.tries {
		d.Tries[id] = [2]int32{n.sales, n.signIns}
	}
	for _, shard := range s.pins.shards {
		for m, n := range shard {
			d.PINs[m] = int(n)
		}
	}
	for _, all := range s.usage {
		for who, u := range all {
			if u != (usage{}) {
				d.Usage[who] = [2]int64{u.total, int64(u.count)}
			}
		}
	}
	for c, v := range s.float {
		if v != 0 {
			d.Float[c] = v
		}
	}
	return d
}

// again reads the blocks of a player back, and compares what comes of them.
func (p *player) again(t *testing.T) {
	t.Helper()
	s := newState()
	for _, raw := range p.raw {
		b, hash, err := parseBlock(raw)
		if err == nil {
			err = s.replay(&b, hash)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(p.s.derived(), s.derived()); diff != "" {
		t.Fatalf("read back, other things follow:\n%s", diff)
	}
	for id := range p.s.txs.n {
		live, back := p.s.txs.get(id+1), s.txs.get(id+1)
		d := decoder{b: appendRow(nil, live)}
		if row := d.row(); *live != *back || row != *live || d.bad {
			t.Fatalf("read back, transaction %d is another:\n%s%s", id+1, cmp.Diff(*live, *back), cmp.Diff(*live, row))
		}
	}
	for id := range p.s.accounts.n {
		if live, back := p.s.accounts.get(id+1), s.accounts.get(id+1); *live != *back {
			t.Fatalf("read back, account %d is another: %+v, %+v", id+1, *live, *back)
		}
	}
}

// TestP_MoneyIsConserved plays at random: after each block the sums are zero, each
// account has and holds what the transactions say, nobody has spent what they do
// not have, and each waiting payment that ended did so once and in one way. What is
// read back is the same.
func TestP_MoneyIsConserved(t *testing.T) {
	rnd := rand.New(rand.NewPCG(20261125, 1))
	rounds := 400
	if raceEnabled {
		rounds = 120
	}
	seen := map[string]int{}
	for range rounds {
		in := make([]byte, 4_000)
		for i := range in {
			in[i] = byte(rnd.Uint32())
		}
		p := play(t, in)
		p.again(t)
		p.s.txs.each(func(tx *Tx) {
			if tx.Foreign.Currency != 0 && tx.Code.IsApproval() && tx.Asks == 0 {
				seen["foreign "+tx.Kind.String()]++
			}
			if tx.Asks != 0 {
				seen[tx.Status.String()]++
			}
		})
	}
	t.Log(seen)
	for _, what := range []string{"foreign refund", "foreign reversal", "foreign completion", "cancelled", "expired", "reversed", "posted", "captured", "released"} {
		if seen[what] == 0 {
			t.Errorf("nothing was %s", what)
		}
	}
}

// FuzzWaiting does the same with any bytes.
func FuzzWaiting(f *testing.F) {
	rnd := rand.New(rand.NewPCG(1, 1))
	for range 4 {
		in := make([]byte, 300)
		for i := range in {
			in[i] = byte(rnd.Uint32())
		}
		f.Add(in)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) < 5_000 {
			play(t, in).again(t)
		}
	})
}

// TestP_SharesAddUp holds shares against exact arithmetic: each is rounded half up,
// none is more than the whole, and parts add up to it.
func TestP_SharesAddUp(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 7))
	some := func() int64 {
		return []int64{1, 2, 3, 7, 100, kessai.MaxAmount, kessai.MaxAmount - 1, math.MaxInt64, 1 + rnd.Int64N(1000), 1 + rnd.Int64N(math.MaxInt64)}[rnd.IntN(10)]
	}
	for range 20_000 {
		whole, of := some(), some()
		part := rnd.Int64N(of)
		want := new(big.Rat).SetFrac(new(big.Int).Mul(big.NewInt(whole), big.NewInt(part)), big.NewInt(of))
		want.Add(want, big.NewRat(1, 2))
		if got := share(whole, part, of); new(big.Int).Div(want.Num(), want.Denom()).Cmp(big.NewInt(got)) != 0 {
			t.Fatalf("%d of %d of %d is %d", part, of, whole, got)
		}
		sale := Tx{Amount: of, Foreign: Foreign{kessai.EUR, whole}}
		cuts := []int64{0, rnd.Int64N(of), rnd.Int64N(of), rnd.Int64N(of), of}
		slices.Sort(cuts)
		sum := int64(0)
		for i := 1; i < len(cuts); i++ {
			sale.Refunded = cuts[i-1]
			back := sale.back(cuts[i] - cuts[i-1])
			if sum += back.Amount; back.Amount < 0 || back.Currency != kessai.EUR {
				t.Fatalf("%d of %d: %v", cuts[i]-cuts[i-1], of, back)
			}
		}
		if sum != whole {
			t.Fatalf("the parts of %d add up to %d", whole, sum)
		}
	}
}
