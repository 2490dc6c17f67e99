package authz

import (
	"testing"
	"time"

	"kessai"
	"kessai/authz/ledger"
	"kessai/cache"
)

var (
	shop    = kessai.MerchantID([]byte("AOI000000000001"))
	pos     = kessai.TerminalID([]byte("AOI00001"))
	card    = kessai.MediumID{1}
	morning = time.Date(2026, 11, 22, 3, 39, 12, 0, time.UTC)
)

// sound is a purchase that nothing speaks against.
func sound() (Request, Facts) {
	r := Request{
		Kind: kessai.Purchase, Merchant: shop, Terminal: pos, Medium: card, Expiry: 2912,
		Amount: kessai.Amount{Value: 450, Currency: kessai.JPY}, Received: morning,
	}
	f := Facts{
		KnownMerchant: true,
		Terminal:      cache.Terminal{Status: cache.TerminalRegistered, Merchant: shop, Account: 1, Currency: kessai.JPY, Allowed: kessai.AllKinds},
		Medium:        cache.Medium{Status: cache.MediumActive, Expiry: 2912, Allowed: kessai.AllKinds, Account: 2},
	}
	return r, f
}

// TestV3_DecideFromMemory changes one thing at a time in a sound request and
// names the code that it must get.
func TestV3_DecideFromMemory(t *testing.T) {
	original := Original{ID: 1}
	for _, c := range []struct {
		name   string
		change func(*Request, *Facts)
		want   kessai.ResponseCode
	}{
		{"nothing", func(*Request, *Facts) {}, kessai.Approved},
		{"merchant not registered", func(r *Request, f *Facts) { f.KnownMerchant, f.Terminal = false, cache.Terminal{} }, kessai.InvalidMerchant},
		{"terminal of another merchant", func(r *Request, f *Facts) { f.Terminal.Merchant[0] = 'X' }, kessai.InvalidMerchant},
		{"merchant blocked", func(r *Request, f *Facts) { f.KnownMerchant = false }, kessai.InvalidMerchant},
		{"terminal not registered", func(r *Request, f *Facts) { f.Terminal = cache.Terminal{} }, kessai.NotPermittedToTerminal},
		{"terminal suspended", func(r *Request, f *Facts) { f.Terminal.Status = cache.TerminalSuspended }, kessai.NotPermittedToTerminal},
		{"terminal withdrawn", func(r *Request, f *Facts) { f.Terminal.Status = cache.TerminalWithdrawn }, kessai.NotPermittedToTerminal},
		{"kind not allowed at the terminal", func(r *Request, f *Facts) { f.Terminal.Allowed = kessai.KindSetOf(kessai.Refund) }, kessai.NotPermittedToTerminal},
		{"kind not allowed to the card", func(r *Request, f *Facts) { f.Medium.Allowed = kessai.KindSetOf(kessai.Refund) }, kessai.NotPermittedToCard},
		{"kind not served", func(r *Request, f *Facts) { r.Kind = kessai.KindNone }, kessai.InvalidTransaction},
		{"another currency", func(r *Request, f *Facts) { r.Amount.Currency = kessai.EUR }, kessai.InvalidTransaction},
		{"no amount", func(r *Request, f *Facts) { r.Amount.Value = 0 }, kessai.InvalidAmount},
		{"a negative amount", func(r *Request, f *Facts) { r.Amount.Value = -1 }, kessai.InvalidAmount},
		{"too large an amount", func(r *Request, f *Facts) { r.Amount.Value = kessai.MaxAmount + 1 }, kessai.InvalidAmount},
		{"cash in a plain purchase", func(r *Request, f *Facts) { r.CashBack = 1 }, kessai.InvalidAmount},
		{"cash back without cash", func(r *Request, f *Facts) { r.Kind = kessai.CashBack }, kessai.InvalidAmount},
		{"more cash than amount", func(r *Request, f *Facts) { r.Kind, r.CashBack = kessai.CashBack, 451 }, kessai.InvalidAmount},
		{"cash back", func(r *Request, f *Facts) { r.Kind, r.CashBack = kessai.CashBack, 400 }, kessai.Approved},
		{"verification with an amount", func(r *Request, f *Facts) { r.Kind = kessai.Verification }, kessai.InvalidAmount},
		{"no card number", func(r *Request, f *Facts) { r.BadPAN = true }, kessai.InvalidCardNumber},
		{"card not registered", func(r *Request, f *Facts) { f.Medium = cache.Medium{} }, kessai.InvalidCardNumber},
		{"card stolen", func(r *Request, f *Facts) { f.Medium.Status = cache.MediumStolen }, kessai.StolenCard},
		{"card lost", func(r *Request, f *Facts) { f.Medium.Status = cache.MediumLost }, kessai.LostCard},
		{"card withdrawn", func(r *Request, f *Facts) { f.Medium.Status = cache.MediumWithdrawn }, kessai.PickUpCard},
		{"card retained", func(r *Request, f *Facts) { f.Medium.Status = cache.MediumRetained }, kessai.PickUpCard},
		{"card not active yet", func(r *Request, f *Facts) { f.Medium.Status = cache.MediumIssued }, kessai.DoNotHonour},
		{"another customer's terminal", func(r *Request, f *Facts) { f.Terminal.User = 3 }, kessai.NotPermittedToTerminal},
		{"the customer's own terminal", func(r *Request, f *Facts) { f.Terminal.User = 2 }, kessai.Approved},
		{"card past its month", func(r *Request, f *Facts) { f.Medium.Expiry, r.Expiry = 2610, 2610 }, kessai.ExpiredCard},
		{"card in its last month", func(r *Request, f *Facts) { f.Medium.Expiry, r.Expiry = 2611, 2611 }, kessai.Approved},
		{"another expiry than registered", func(r *Request, f *Facts) { r.Expiry = 3001 }, kessai.ExpiredCard},
		{"no expiry given", func(r *Request, f *Facts) { r.Expiry = 0 }, kessai.Approved},
		{"over the card's limit", func(r *Request, f *Facts) { f.Medium.Limits.Single = 449 }, kessai.AmountLimit},
		{"at the card's limit", func(r *Request, f *Facts) { f.Medium.Limits.Single = 450 }, kessai.Approved},
		{"over the terminal's limit", func(r *Request, f *Facts) { f.Terminal.Limits.Single = 449 }, kessai.AmountLimit},
		{"a refund over the card's limit", func(r *Request, f *Facts) { r.Kind, f.Medium.Limits.Single = kessai.Refund, 449 }, kessai.AmountLimit},
		{"a refund over the terminal's limit", func(r *Request, f *Facts) { r.Kind, f.Terminal.Limits.Single = kessai.Refund, 449 }, kessai.AmountLimit},
		{"a cache too old", func(r *Request, f *Facts) { f.Stale = true }, kessai.SystemMalfunction},
		{"a stolen card by a cache too old", func(r *Request, f *Facts) { f.Stale, f.Medium.Status = true, cache.MediumStolen }, kessai.StolenCard},
		{"follow-up without an original", func(r *Request, f *Facts) { r.Kind = kessai.Completion }, kessai.NoSuchRecord},
		{"completion for a card stolen meanwhile", func(r *Request, f *Facts) {
			r.Kind, r.Original, f.Medium.Status = kessai.Completion, original, cache.MediumStolen
		}, kessai.Approved},
		{"completion at a suspended terminal", func(r *Request, f *Facts) {
			r.Kind, r.Original, f.Terminal.Status = kessai.Completion, original, cache.TerminalSuspended
		}, kessai.NotPermittedToTerminal},
		{"reversal at a suspended terminal", func(r *Request, f *Facts) {
			r.Kind, r.Original, f.Terminal.Status = kessai.Reversal, original, cache.TerminalSuspended
		}, kessai.Approved},
		{"release at a suspended terminal", func(r *Request, f *Facts) {
			r.Kind, r.Original, r.Amount.Value, f.Terminal.Status = kessai.Release, original, 0, cache.TerminalSuspended
		}, kessai.Approved},
		{"increment for a card stolen meanwhile", func(r *Request, f *Facts) {
			r.Kind, r.Original, f.Medium.Status = kessai.Increment, original, cache.MediumStolen
		}, kessai.StolenCard},
		{"increment by nothing", func(r *Request, f *Facts) { r.Kind, r.Original, r.Amount.Value = kessai.Increment, original, 0 }, kessai.InvalidAmount},
		{"refund to a stolen card by its original", func(r *Request, f *Facts) {
			r.Kind, r.Original, f.Medium.Status = kessai.Refund, original, cache.MediumStolen
		}, kessai.Approved},
		{"refund to a stolen card", func(r *Request, f *Facts) { r.Kind, f.Medium.Status = kessai.Refund, cache.MediumStolen }, kessai.StolenCard},
		{"the merchant by itself, a follow-up", func(r *Request, f *Facts) {
			r.Kind, r.Original, r.Terminal, f.Terminal = kessai.Refund, original, kessai.TerminalID{}, cache.Terminal{}
		}, kessai.Approved},
		{"a blocked merchant by itself, a refund", func(r *Request, f *Facts) {
			r.Kind, r.Original, r.Terminal, f.Terminal, f.KnownMerchant = kessai.Refund, original, kessai.TerminalID{}, cache.Terminal{}, false
		}, kessai.InvalidMerchant},
		{"a blocked merchant by itself, a reversal", func(r *Request, f *Facts) {
			r.Kind, r.Original, r.Terminal, f.Terminal, f.KnownMerchant = kessai.Reversal, original, kessai.TerminalID{}, cache.Terminal{}, false
		}, kessai.Approved},
		{"the merchant by itself, a sale", func(r *Request, f *Facts) { r.Terminal, f.Terminal = kessai.TerminalID{}, cache.Terminal{} }, kessai.InvalidMerchant},
	} {
		r, f := sound()
		c.change(&r, &f)
		if got := Decide(&r, &f); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// TestAttemptNames holds the rules of naming: a repeat has the name of its first
// sending, and everything that makes an attempt another one changes it.
func TestAttemptNames(t *testing.T) {
	own := kessai.AcquirerID([]byte("12345600000"))
	base, _ := sound()
	base.Attempt = Attempt{MTI: [4]byte([]byte("0200")), STAN: 123, Transmitted: morning}
	same := func(change func(*Request)) bool {
		r := base
		change(&r)
		return r.names(own)[0].Key == base.names(own)[0].Key
	}
	for name, change := range map[string]func(*Request){
		"a repeat":              func(r *Request) { r.Attempt.MTI[3] = '1' },
		"the own acquirer":      func(r *Request) { r.Attempt.Acquirer = own },
		"another year":          func(r *Request) { r.Attempt.Transmitted = morning.AddDate(1, 0, 0) },
		"another zone":          func(r *Request) { r.Attempt.Transmitted = morning.In(time.FixedZone("JST", 9*3600)) },
		"other content":         func(r *Request) { r.Amount.Value++ },
		"another wire and note": func(r *Request) { r.Wire, r.Note = 2, []byte("x") },
	} {
		if !same(change) {
			t.Errorf("%s: another name", name)
		}
	}
	for name, change := range map[string]func(*Request){
		"another acquirer": func(r *Request) { r.Attempt.Acquirer[0] = '9' },
		"another merchant": func(r *Request) { r.Merchant[0] = 'X' },
		"another terminal": func(r *Request) { r.Terminal[0] = 'X' },
		"another STAN":     func(r *Request) { r.Attempt.STAN++ },
		"another second":   func(r *Request) { r.Attempt.Transmitted = morning.Add(time.Second) },
		"an advice":        func(r *Request) { r.Attempt.MTI[2] = '2' },
	} {
		if same(change) {
			t.Errorf("%s: the same name", name)
		}
	}
	if r := base; r.original(own) != (ledger.Ref{}) {
		t.Error("a request without an original refers to something")
	}
	r := base
	r.Original.Attempt = base.Attempt
	if r.original(own).Key != base.names(own)[0].Key {
		t.Error("an original is not found by the attempt that it was")
	}
}

// TestDigestTellsContentApart changes what is asked, one thing at a time.
func TestDigestTellsContentApart(t *testing.T) {
	base, _ := sound()
	for name, change := range map[string]func(*Request){
		"kind":      func(r *Request) { r.Kind = kessai.Refund },
		"card":      func(r *Request) { r.Medium[0]++ },
		"amount":    func(r *Request) { r.Amount.Value++ },
		"currency":  func(r *Request) { r.Amount.Currency = kessai.EUR },
		"cash back": func(r *Request) { r.CashBack++ },
	} {
		r := base
		if change(&r); r.digest() == base.digest() {
			t.Errorf("another %s has the same digest", name)
		}
	}
}

// TestAllocDecide holds judging to no allocation at all.
func TestAllocDecide(t *testing.T) {
	valid := new(cache.Cache)
	b := cache.NewBuilder(cache.Both, 1, 1)
	_, f := sound()
	b.AddMedium(card, f.Medium)
	b.AddTerminal(pos, f.Terminal)
	b.AddMerchant(shop)
	valid.Swap(b.Snapshot(morning, 1))
	e := New(nil, valid, Options{})
	r, _ := sound()
	r.Attempt = Attempt{MTI: [4]byte([]byte("0200")), STAN: 123, Transmitted: morning}
	allocs := testing.AllocsPerRun(1_000, func() {
		facts := e.judge(&r)
		if code := Decide(&r, &facts); code != kessai.Approved {
			t.Fatal(code)
		}
		e.op(&sink, &r, &facts, kessai.Approved)
	})
	if allocs != 0 {
		t.Errorf("judging and deciding allocate %v times, want none", allocs)
	}
}

var sink ledger.Op
