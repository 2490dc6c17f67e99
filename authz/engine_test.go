package authz

import (
	"testing"
	"time"

	"kessai"
	"kessai/authz/ledger"
	"kessai/cache"
)

// open makes an engine with one card and one terminal on a book of its own.
func open(t *testing.T, o Options, card1, pos1 cache.Limits) (*Engine, *ledger.Book) {
	t.Helper()
	b, err := ledger.Open(ledger.Options{Dir: t.TempDir(), Logf: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	ids, err := b.OpenAccounts([]ledger.AccountSpec{
		{Name: "merchant/aoi", Kind: ledger.MerchantAccount, Currency: kessai.JPY},
		{Name: "customer/1", Kind: ledger.CustomerAccount, Currency: kessai.JPY, Opening: 1_000_000},
	})
	if err != nil {
		t.Fatal(err)
	}
	valid := new(cache.Cache)
	s := cache.NewBuilder(cache.Both, 1, 1)
	_, f := sound()
	f.Terminal.Account, f.Terminal.Limits = uint32(ids[0]), pos1
	f.Medium.Account, f.Medium.Limits = uint32(ids[1]), card1
	s.AddMerchant(shop)
	s.AddTerminal(pos, f.Terminal)
	s.AddMedium(card, f.Medium)
	valid.Swap(s.Snapshot(morning, 1))
	o.HoldFor = time.Hour
	return New(b, valid, o), b
}

func ask(t *testing.T, e *Engine, change func(*Request)) Reply {
	t.Helper()
	r, _ := sound()
	r.Wire, r.Attempt = ledger.WireISO, Attempt{MTI: [4]byte([]byte("0200")), STAN: 1, Transmitted: morning}
	change(&r)
	reply, err := e.AuthorizeOne(t.Context(), &r)
	if err != nil {
		t.Fatal(err)
	}
	return reply
}

func TestStaleCacheDeclinesForNowOnly(t *testing.T) {
	e, b := open(t, Options{MaxAge: time.Minute}, cache.Limits{}, cache.Limits{})
	late := func(r *Request) { r.Received = morning.Add(2 * time.Minute) }
	if reply := ask(t, e, late); reply.Code != kessai.SystemMalfunction || reply.Tx.ID != 0 {
		t.Fatalf("with a stale cache: %v, recorded as %v", reply.Code, reply.Tx.ID)
	}
	e.valid.Swap(e.valid.Load().Confirmed(morning.Add(2 * time.Minute)))
	if reply := ask(t, e, late); reply.Code != kessai.Approved || reply.Replayed {
		t.Fatalf("sent again when the cache was fresh: %v", reply.Code)
	}
	if n := b.Stats().Transactions; n != 1 {
		t.Fatalf("%d transactions", n)
	}
}

// TestIncrementIsHeldToEveryLimit raises holds in the ways that leave the card or
// the terminal out.
func TestIncrementIsHeldToEveryLimit(t *testing.T) {
	e, _ := open(t, Options{}, cache.Limits{Single: 500}, cache.Limits{DayTotal: 700})
	hold := ask(t, e, func(r *Request) { r.Kind, r.Attempt.MTI = kessai.PreAuthorization, [4]byte([]byte("0100")) })
	if hold.Code != kessai.Approved {
		t.Fatal(hold.Code)
	}
	more := func(stan kessai.STAN, amount int64, change func(*Request)) kessai.ResponseCode {
		return ask(t, e, func(r *Request) {
			r.Kind, r.Medium, r.Expiry, r.Amount.Value = kessai.Increment, kessai.MediumID{}, 0, amount
			r.Attempt.STAN, r.Original.ID = stan, hold.Tx.ID
			change(r)
		}).Code
	}
	byMerchant := func(r *Request) { r.Attempt, r.IdempotencyKey, r.Terminal = Attempt{}, "key", kessai.TerminalID{} }
	for name, c := range map[string]struct{ got, want kessai.ResponseCode }{
		"over the card's limit, card left out":         {more(2, 501, func(*Request) {}), kessai.AmountLimit},
		"over the terminal's day, terminal left out":   {more(3, 300, byMerchant), kessai.AmountLimit},
		"of a hold that has not come":                  {more(4, 1, func(r *Request) { r.Original.ID += 10 }), kessai.NoSuchRecord},
		"of a hold that has not come, by its merchant": {more(5, 1, func(r *Request) { byMerchant(r); r.IdempotencyKey = "other"; r.Original.ID += 10 }), kessai.NoSuchRecord},
		"within both": {more(6, 200, func(*Request) {}), kessai.Approved},
	} {
		if c.got != c.want {
			t.Errorf("%s: %v, want %v", name, c.got, c.want)
		}
	}
}

func TestStrangersLeaveNothingInTheBook(t *testing.T) {
	e, b := open(t, Options{}, cache.Limits{}, cache.Limits{})
	for code, change := range map[kessai.ResponseCode]func(*Request){
		kessai.NotPermittedToTerminal: func(r *Request) { r.Terminal[7]++ },
		kessai.InvalidMerchant:        func(r *Request) { r.Terminal[7]++; r.Merchant[0]++ },
	} {
		if reply := ask(t, e, change); reply.Code != code || reply.Tx.ID != 0 {
			t.Errorf("%v, recorded as %v; want %v and no record", reply.Code, reply.Tx.ID, code)
		}
	}
	if n := b.Stats().Transactions; n != 0 {
		t.Errorf("%d transactions were recorded", n)
	}
}
