package ledger

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
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
	if n := len(m.byCards); n > 0 && op.Kind == kessai.Reversal && g.rnd.IntN(2) == 0 {
		op.Original, op.Medium = Ref{ID: m.byCards[n-1-g.rnd.IntN(min(n, 8))]}, kessai.MediumID{}
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

// open opens two accounts in euros, and lets the model listen.
func (g *generator) open(t *testing.T, b *Book, m *model) {
	t.Helper()
	m.shop = g.shop
	ids, err := b.OpenAccounts([]AccountSpec{
		{Name: "customer/euros", Kind: CustomerAccount, Currency: kessai.EUR, Opening: 100_000_000},
		{Name: "customer/few", Kind: CustomerAccount, Currency: kessai.EUR, Opening: 900},
	})
	if err != nil {
		t.Fatal(err)
	}
	m.balance[ids[0]], m.balance[ids[1]] = 100_000_000, 900
	m.euros[ids[0]], m.euros[ids[1]] = true, true
	g.euros = ids
	m.reopened(b)
}

// somebody gives a customer, and their side of an amount.
func (g *generator) somebody(amount int64) (AccountID, Foreign) {
	if g.rnd.IntN(3) > 0 {
		return g.customers[g.rnd.IntN(len(g.customers))], Foreign{}
	}
	theirs := Foreign{kessai.EUR, 1 + amount*int64(1+g.rnd.IntN(90))/100}
	switch g.rnd.IntN(30) {
	case 0:
		theirs = Foreign{}
	case 1:
		theirs.Currency = kessai.USD
	case 2:
		theirs.Amount = 0
	}
	return g.euros[g.rnd.IntN(2)], theirs
}

// ask makes an operation one that asks, or one of a customer.
func (g *generator) ask(op *Op, m *model) {
	switch {
	case op.Kind == kessai.Purchase || op.Kind == kessai.PreAuthorization:
		op.Asks, op.WaitFor = kessai.AsksPhone, time.Duration(5+g.rnd.IntN(200))*time.Second
		op.Customer, op.Foreign = g.somebody(op.Amount)
		if g.rnd.IntN(4) == 0 {
			op.Asks, op.Customer, op.Foreign = kessai.AsksClaim, 0, Foreign{}
		} else if g.rnd.IntN(2) == 0 {
			g.askReader(op)
		}
		return
	case !op.Kind.OfCustomer():
		return
	}
	op.Medium, op.Shop, op.Amount, op.Partial = kessai.MediumID{}, 0, 0, false
	op.MediumLimit, op.TerminalLimit, op.HoldFor = Limit{}, Limit{}, 0
	op.Customer, op.Foreign = g.somebody(100)
	op.Factor = kessai.Factor(1 + g.rnd.IntN(2))
	op.MaxTries, op.DayTries = g.rnd.IntN(5), g.rnd.IntN(8)
	if g.rnd.IntN(2) == 0 {
		op.Merchant, op.Terminal = kessai.MerchantID{}, kessai.TerminalID{}
	}
	if g.rnd.IntN(4) == 0 {
		op.Verdict = kessai.WrongProof
	}
	if op.Kind == kessai.SignIn || op.Kind == kessai.Unlock {
		g.card(op, nil)
		return
	}
	if op.Kind == kessai.Cancellation {
		op.Ends = []kessai.ResponseCode{0, kessai.DoNotHonour, kessai.SecurityViolation}[g.rnd.IntN(3)]
	}
	op.Original = Ref{ID: kessai.TxID(max(1, int64(m.next)-g.rnd.Int64N(60)))}
	open := slices.Sorted(maps.Keys(m.open))
	if len(open) > 0 && g.rnd.IntN(5) > 0 {
		op.Original.ID = open[g.rnd.IntN(len(open))]
	}
	o := m.txs[op.Original.ID]
	if o != nil && op.Kind == kessai.Claim && o.amount > 0 && op.Foreign.Amount > 0 {
		op.Foreign.Amount = 1 + o.amount*3/7
	}
	g.card(op, o)
	switch {
	case op.Kind == kessai.Cancellation && g.rnd.IntN(2) == 0:
		op.Customer = 0
	case o != nil && o.customer != 0 && op.Kind != kessai.Claim && g.rnd.IntN(6) > 0:
		op.Customer = o.customer
	case g.rnd.IntN(40) == 0:
		op.Customer = g.shop
	}
}
