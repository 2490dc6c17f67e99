package ledger

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"kessai"
)

// Sample says what book [Generate] writes.
type Sample struct {
	Transactions uint64
	Customers    int // at least 1
	Merchants    int // at least 1; each has one terminal
	Seed         uint64
}

// Generate writes a big book, to measure with: sales mostly, with some declines,
// holds, completions and reversals among them, a few for each millisecond up to
// now. It decides, applies and encodes what it writes as a gateway does, but in
// full blocks and without a sync for each, so the book counts only when Generate
// returns. The folder must have no book yet.
func Generate(o Options, want Sample) error {
	o.unsynced = true
	b, err := open(o)
	if err != nil {
		return err
	}
	if b.state.block != 0 {
		return errors.Join(fmt.Errorf("%s has a book already", o.Dir), b.release())
	}
	b.done.Add(1)
	go b.follow.run()
	g := maker{
		b: b, want: want, rnd: rand.New(rand.NewPCG(want.Seed, 1)),
		now: time.Now().Add(-time.Duration(want.Transactions) * 10 * time.Microsecond),
	}
	err = g.accounts()
	for err == nil && b.state.txs.n < want.Transactions {
		b.o.Progress("writing the book", b.state.txs.n, want.Transactions)
		err = g.block(g.transactions)
	}
	if err == nil {
		err = b.log.flush()
	}
	if err == nil {
		err = b.follow.await(b.state.txs.n)
	}
	return errors.Join(err, b.Close())
}

// maker makes the blocks of a book.
type maker struct {
	b     *Book
	t     batch
	want  Sample
	rnd   *rand.Rand
	now   time.Time
	holds []kessai.TxID
	shops []shop
}

type shop struct {
	id       kessai.MerchantID
	terminal kessai.TerminalID
}

// block makes and stores one block.
func (g *maker) block(fill func() error) error {
	b := g.b
	b.mu.Lock()
	g.now = g.now.Add(40 * time.Millisecond)
	b.state.begin(g.now.UnixNano(), b.o.BusinessDay(g.now))
	g.t.begin(b.state)
	err := fill()
	if err == nil {
		g.t.raw, b.state.hash = g.t.block.append(g.t.raw[:0])
		b.state.block = g.t.number
		err = b.log.write(g.t.number, g.t.raw)
	}
	if err != nil {
		b.fail(err)
	}
	b.mu.Unlock()
	b.follow.wake()
	b.snapshotIfDue()
	for err == nil && g.flooded() { // the disk is slower than the processor
		time.Sleep(time.Millisecond)
		b.snapshotIfDue()
		err = b.Err()
	}
	return err
}

func (g *maker) flooded() bool {
	g.b.mu.RLock()
	defer g.b.mu.RUnlock()
	return g.b.state.flooded()
}

// accounts opens the accounts: merchants first.
func (g *maker) accounts() error {
	g.shops = make([]shop, g.want.Merchants)
	for i := range g.shops {
		copy(g.shops[i].id[:], fmt.Sprintf("GEN%012d", i))
		copy(g.shops[i].terminal[:], fmt.Sprintf("T%07d", i))
	}
	at, all := 0, g.want.Merchants+g.want.Customers
	for at < all {
		err := g.block(func() error {
			for at < all && !g.t.full(1<<20) {
				spec := AccountSpec{Name: fmt.Sprintf("merchant/GEN%012d", at), Kind: MerchantAccount, Currency: kessai.JPY}
				if i := at - g.want.Merchants; i >= 0 {
					spec = AccountSpec{Name: fmt.Sprintf("customer/%010d", i), Kind: CustomerAccount, Currency: kessai.JPY, Opening: 10_000_000}
				}
				p := pending{specs: []AccountSpec{spec}}
				if err := errors.Join(g.t.openAccounts(g.b.state, &p), p.err); err != nil {
					return err
				}
				at++
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (g *maker) transactions() error {
	var op Op
	var out Outcome
	for g.b.state.txs.n < g.want.Transactions && !g.t.full(4_096) {
		g.next(&op)
		if err := g.t.one(g.b.state, &op, &out); err != nil {
			return err
		}
		g.t.ops++
		if op.Kind == kessai.PreAuthorization && out.Tx.Status == Pending {
			g.holds = append(g.holds, out.Tx.ID)
		}
	}
	return nil
}

// next makes the next operation. Account 1 is the clearing account.
func (g *maker) next(op *Op) {
	at := g.rnd.IntN(g.want.Merchants)
	customer := g.rnd.IntN(g.want.Customers)
	n := g.b.state.txs.n + 1
	*op = Op{
		Kind: kessai.Purchase, Currency: kessai.JPY, Amount: 1 + g.rnd.Int64N(5_000), Wire: WireISO,
		STAN: kessai.STAN(n%999_999 + 1), Transmitted: g.now, Last4: kessai.Last4{'4', '2', '4', '2'},
		Shop: AccountID(at + 2), Customer: AccountID(g.want.Merchants + 2 + customer),
		HoldFor: 24 * time.Hour, MediumLimit: Limit{MaxTotal: 1_000_000_000},
	}
	op.Merchant, op.Terminal = g.shops[at].id, g.shops[at].terminal
	binary.BigEndian.PutUint64(op.Medium[:], uint64(customer)+1)
	key := &op.Names[0].Key
	binary.LittleEndian.PutUint64(key[:], g.rnd.Uint64())
	binary.LittleEndian.PutUint64(key[8:], n)
	binary.LittleEndian.PutUint64(op.Names[0].Digest[:], g.rnd.Uint64())
	switch n % 100 {
	case 3, 53:
		op.Kind = kessai.PreAuthorization
	case 30, 31:
		op.Amount = 20_000_000 // more than there is
	case 77, 78:
		if len(g.holds) > 0 {
			g.follow(op, kessai.Completion, g.holds[0])
			g.holds = g.holds[1:]
		}
	case 90:
		g.follow(op, kessai.Reversal, kessai.TxID(n-5))
		op.Amount = 0
	}
}

// follow makes the operation one about an earlier transaction.
func (g *maker) follow(op *Op, kind kessai.Kind, id kessai.TxID) {
	o := g.b.state.txs.get(uint64(id))
	if o == nil {
		return
	}
	op.Kind, op.Original, op.Customer, op.Shop = kind, Ref{ID: id}, 0, 0
	op.Merchant, op.Terminal, op.Medium, op.Last4 = o.Merchant, o.Terminal, kessai.MediumID{}, kessai.Last4{}
	if kind == kessai.Completion {
		op.Amount = 0
	}
}
