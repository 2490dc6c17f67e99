package authz

import (
	"testing"

	"kessai"
	"kessai/authz/ledger"
	"kessai/cache"
	"kessai/pos/purse"
)

var testPurses = func() *purse.Master {
	m, err := purse.NewMaster([]byte("the master key of purses in tests"))
	if err != nil {
		panic(err)
	}
	return m
}()

// chip is what is on a medium, with the key that it has.
type chip struct {
	purse.State
	key purse.Key
}

func newChip(id kessai.MediumID, currency kessai.Currency) *chip {
	return &chip{purse.State{Medium: id, Currency: currency}, testPurses.Key(id)}
}

func (c *chip) read() *purse.State {
	c.State = c.key.Read(c.State)
	s := c.State
	return &s
}

func (c *chip) write(t *testing.T, o *purse.Order) *purse.State {
	t.Helper()
	if o == nil {
		t.Fatal("there is no order")
	}
	s, err := c.key.Write(c.State, o)
	if err != nil {
		t.Fatal(err)
	}
	c.State = s
	return &s
}

// TestV7_LoadOpensTheAccountAndMakesItsOrderAgain: the first load opens the
// medium's account, and a repeat gets the very same order, from the book alone.
func TestV7_LoadOpensTheAccountAndMakesItsOrderAgain(t *testing.T) {
	e, b := open(t, Options{Purse: PurseOptions{Master: testPurses, Most: 5_000}}, cache.Limits{}, cache.Limits{})
	c := newChip(card, kessai.JPY)
	state := c.read()
	load := func(r *Request) { r.Kind, r.Amount.Value, r.Purse = kessai.Load, 700, state }
	first := ask(t, e, load)
	again := ask(t, e, load)
	if first.Code != kessai.Approved || first.Order == nil || !again.Replayed || *again.Order != *first.Order {
		t.Fatalf("%v %+v, again %v %+v", first.Code, first.Order, again.Code, again.Order)
	}
	a, ok := b.AccountByName(ledger.PurseName(card))
	if !ok || a.Kind != ledger.EMoneyAccount || a.Balance != 0 {
		t.Fatalf("%+v", a)
	}
	told := c.write(t, first.Order)
	confirm := ask(t, e, func(r *Request) {
		*r = Request{Wire: r.Wire, Kind: kessai.PurseSettlement, Terminal: r.Terminal, Received: r.Received, Purse: told, Attempt: r.Attempt}
		r.Attempt.STAN = 2
	})
	if confirm.Code != kessai.Approved || confirm.Tx.Amount != 700 || confirm.Tx.Original != first.Tx.ID || confirm.Order != nil {
		t.Fatalf("%+v", confirm)
	}
	if late := ask(t, e, load); !late.Replayed || *late.Order != *first.Order || late.Tx != first.Tx {
		t.Error("after it was settled a repeat gets another answer")
	}
	changed := c.read()
	if other := ask(t, e, func(r *Request) { load(r); r.Purse = changed }); other.Code != kessai.DuplicateTransmission || other.Order != nil {
		t.Errorf("the same attempt with another state: %v", other.Code)
	}
	if s := b.Stats(); s.Float[kessai.JPY] != 700 || s.Purses.Written != 1 {
		t.Errorf("%+v", s)
	}
}

// TestV7_WhatIsRefusedIsCountedByItsReason: each way in which a state can be wrong,
// with its code, its reason, and nothing moved.
func TestV7_WhatIsRefusedIsCountedByItsReason(t *testing.T) {
	e, b := open(t, Options{Purse: PurseOptions{Master: testPurses}}, cache.Limits{}, cache.Limits{})
	c := newChip(card, kessai.JPY)
	c.write(t, ask(t, e, func(r *Request) { r.Kind, r.Purse = kessai.Load, c.read() }).Order)
	stan := kessai.STAN(1)
	said := *c.read()
	if reply := ask(t, e, func(r *Request) {
		stan++
		r.Kind, r.Amount, r.Purse, r.Attempt.STAN = kessai.PurseInquiry, kessai.Amount{}, &said, stan
	}); reply.Code != kessai.Approved {
		t.Fatal(reply.Code)
	}
	signed := func(change func(*purse.State)) *purse.State {
		s := *c.read()
		change(&s)
		c.key.SignState(&s)
		return &s
	}
	for reason, s := range map[ledger.PurseRefusal]*purse.State{
		ledger.PurseMAC:      func() *purse.State { s := *c.read(); s.Balance++; return &s }(),
		ledger.PurseMedium:   newChip(kessai.MediumID{9}, kessai.JPY).read(),
		ledger.PurseCounter:  &said,
		ledger.PurseBalance:  signed(func(s *purse.State) { s.Balance++ }),
		ledger.PurseLast:     signed(func(s *purse.State) { s.Last++ }),
		ledger.PurseCurrency: signed(func(s *purse.State) { s.Currency = kessai.EUR }),
	} {
		stan++
		reply := ask(t, e, func(r *Request) { r.Kind, r.Amount.Value, r.Purse, r.Attempt.STAN = kessai.PursePurchase, 1, s, stan })
		want := kessai.SecurityViolation
		if reason == ledger.PurseCurrency {
			want = kessai.InvalidTransaction
		}
		if reply.Code != want || reply.Order != nil || b.Stats().Purses.Refused[reason] != 1 {
			t.Errorf("%s: %v, counted %v", reason, reply.Code, b.Stats().Purses.Refused)
		}
	}
	if a, _ := b.AccountByName(ledger.PurseName(card)); a.Balance != c.Balance || a.Held != 0 {
		t.Errorf("the book has %d, %d held, and the medium %d", a.Balance, a.Held, c.Balance)
	}
}

// TestV7_NoAccountInAnotherCurrency: a medium of another currency than its
// customer's account is not loaded, and gets no account.
func TestV7_NoAccountInAnotherCurrency(t *testing.T) {
	e, b := open(t, Options{Purse: PurseOptions{Master: testPurses}}, cache.Limits{}, cache.Limits{})
	c := newChip(card, kessai.EUR)
	if reply := ask(t, e, func(r *Request) { r.Kind, r.Purse = kessai.Load, c.read() }); reply.Code != kessai.InvalidTransaction {
		t.Error(reply.Code)
	}
	if b.PurseAccount(card) != 0 {
		t.Error("it has an account")
	}
}

// TestV7_WithoutAMasterKeyThereIsNoEMoney: an engine that was given none declines
// e-money, and takes no notice of what media say.
func TestV7_WithoutAMasterKeyThereIsNoEMoney(t *testing.T) {
	e, _ := open(t, Options{}, cache.Limits{}, cache.Limits{})
	c := newChip(card, kessai.JPY)
	if reply := ask(t, e, func(r *Request) { r.Kind, r.Purse = kessai.Load, c.read() }); reply.Code != kessai.InvalidTransaction || reply.Order != nil {
		t.Error(reply.Code)
	}
	if reply := ask(t, e, func(r *Request) { r.Purse, r.Attempt.STAN = c.read(), 2 }); reply.Code != kessai.Approved {
		t.Error(reply.Code)
	}
}

// TestV7_AnyMessageMayBringAState: what is pending is settled by an ordinary
// purchase that brings what the medium says.
func TestV7_AnyMessageMayBringAState(t *testing.T) {
	e, b := open(t, Options{Purse: PurseOptions{Master: testPurses}}, cache.Limits{}, cache.Limits{})
	c := newChip(card, kessai.JPY)
	load := ask(t, e, func(r *Request) { r.Kind, r.Purse = kessai.Load, c.read() })
	told := c.write(t, load.Order)
	reply := ask(t, e, func(r *Request) { r.Purse, r.Attempt.STAN = told, 2 }) // an ordinary purchase that brings a state
	if reply.Code != kessai.Approved || b.Stats().Purses.Written != 1 {
		t.Errorf("%v, %+v", reply.Code, b.Stats().Purses)
	}
}
