package ledger

import (
	"math/rand/v2"
	"time"

	"kessai"
)

// generator makes operations that often refer to what went before.
type generator struct {
	rnd       *rand.Rand
	shop      AccountID
	customers []AccountID
	n         uint64
	last      []Op
	media     []*realMedium // one for each customer
	kinds     []kessai.Kind
	euros     []AccountID // of customers with another currency
}

func (g *generator) op(m *model) Op {
	if len(g.last) > 0 && g.rnd.IntN(12) == 0 { // a repeat, sometimes with other content
		op := g.last[g.rnd.IntN(len(g.last))]
		if g.rnd.IntN(5) == 0 {
			op.Names[0].Digest[0]++
		}
		return op
	}
	g.n++
	who := g.rnd.IntN(len(g.customers))
	op := Op{
		Kind: g.kinds[g.rnd.IntN(len(g.kinds))], Names: named1(g.n), Merchant: aoi, Terminal: aoiPOS,
		Medium: kessai.MediumID{1, byte(who)}, Customer: g.customers[who], Shop: g.shop, Currency: kessai.JPY,
		Amount: 1 + g.rnd.Int64N(2_000), HoldFor: time.Duration(1+g.rnd.IntN(100)) * time.Second, Partial: g.rnd.IntN(3) == 0,
	}
	if g.rnd.IntN(2) == 0 {
		op.MediumLimit = Limit{MaxTotal: 20_000, MaxCount: 15}
	}
	if g.rnd.IntN(4) == 0 {
		op.TerminalLimit = Limit{MaxTotal: 100_000}
	}
	if op.Kind == kessai.CashBack {
		op.CashBack = 1
	}
	if op.Kind.FollowsUp() || op.Kind == kessai.Refund && g.rnd.IntN(2) == 0 {
		back := uint64(g.rnd.IntN(40)) // sometimes one that has not come yet
		if g.rnd.IntN(4) == 0 {
			back = uint64(g.rnd.IntN(5_000)) // sometimes one that has left memory
		}
		op.Original = Ref{Key: keyOf(g.n + 5 - min(back, g.n+4))}
		if g.rnd.IntN(2) == 0 {
			op.Original = Ref{ID: kessai.TxID(max(1, int64(m.next)-g.rnd.Int64N(40)))}
		}
		if g.rnd.IntN(8) > 0 {
			op.Medium = kessai.MediumID{}
		}
		if g.rnd.IntN(2) == 0 && (op.Kind == kessai.Reversal || op.Kind == kessai.Completion || op.Kind == kessai.Refund) {
			op.Amount = 0
		}
		op.Customer, op.Shop = 0, 0
	}
	if op.Kind.OfCustomer() || !op.Kind.OnPurse() && g.rnd.IntN(3) == 0 {
		g.ask(&op, m)
	}
	if op.Kind.OnPurse() || g.rnd.IntN(10) == 0 {
		g.onPurse(&op, m, g.media[who])
	}
	if g.rnd.IntN(25) == 0 {
		op.Verdict = kessai.StolenCard
	}
	if g.last = append(g.last, op); len(g.last) > 200 {
		g.last = g.last[1:]
	}
	return op
}
