package conversations

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"kessai"
	"kessai/authz"
	"kessai/authz/ledger"
	"kessai/pos/sim"
)

const (
	vendingMachines = 25
	vendingRounds   = 2  // the gateway crashes between them
	vendingSales    = 20 // of each machine in a round
	vendingMost     = 3  // drinks in one sale
	vendingOpening  = 100_000
	// Less than outside: what time costs is the stores' housekeeping, every 50 ms of it.
	vendingWait = 30 * time.Second // for the customer
	vendingHold = time.Minute      // from the approval on
)

var vendingDrinks = []sim.Drink{{Code: "A1", Name: "Water", Price: 120}, {Code: "A2", Name: "Green tea", Price: 160}, {Code: "B2", Name: "Orange juice", Price: 170}}

// TestP14_WhatFellIsPaidOnce sells a thousand times at vending machines whose power
// fails at every moment, whose drinks get stuck, and whose customers come, change
// their minds or never come, and the gateway crashes in between. What was paid is
// what the sensors counted before the holds had ended: never more than was held,
// nothing twice, and in the end nothing is held (system P, steps P-3 and P-14).
func TestP14_WhatFellIsPaidOnce(t *testing.T) {
	warmUp(t)
	dir := dataFolder(t)
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(begin))
		p := newPlay(t, dir, newCoverage())
		defer p.end()
		p.o.phone.Timeout, p.o.phone.HoldFor = vendingWait, vendingHold
		if err := p.start(); err != nil {
			t.Fatal(err)
		}
		hall := newHall(t, p)
		defer hall.http.CloseIdleConnections()
		for round := range vendingRounds {
			if round > 0 {
				hall.http.CloseIdleConnections()
				if err := p.crash(); err != nil {
					t.Fatal(err)
				}
			}
			hall.sell()
		}
		for _, m := range hall.machines {
			m.settle()
		}
		time.Sleep(vendingHold + time.Minute)
		hall.count()
	})
}

// hall is a hall full of vending machines.
type hall struct {
	t        *testing.T
	p        *play
	http     *http.Client
	machines []*vending
}

func newHall(t *testing.T, p *play) *hall {
	var b strings.Builder
	b.WriteString("merchants: [{id: HALL00000000001, name: Hall, mcc: \"5499\", currency: JPY}]\n")
	b.WriteString("api_keys: [{merchant: HALL00000000001, key: sk_test_hall}]\nterminals:\n")
	for i := range vendingMachines {
		fmt.Fprintf(&b, "  - {id: HALL%04d, merchant: HALL00000000001, operation: vending}\n", i)
	}
	b.WriteString("customers:\n")
	for i := range vendingMachines {
		fmt.Fprintf(&b, "  - {id: hall%d, name: Customer, currency: JPY, opening_balance: %d}\n", i, vendingOpening)
	}
	if _, err := p.house.imported("hall.yaml", []byte(b.String())); err != nil {
		t.Fatal(err)
	}
	h := &hall{t: t, p: p}
	h.http = &http.Client{Transport: &http.Transport{
		DialContext:         func(context.Context, string, string) (net.Conn, error) { return p.http.dial() },
		MaxIdleConnsPerHost: vendingMachines,
	}}
	for i := range vendingMachines {
		h.machines = append(h.machines, newVending(h, i))
	}
	return h
}

// sell has all machines sell at once, and returns when nobody is left.
func (h *hall) sell() {
	var open sync.WaitGroup
	for _, m := range h.machines {
		open.Go(func() {
			for range vendingSales {
				m.settle()
				m.sell()
			}
		})
	}
	open.Wait()
	for _, m := range h.machines {
		m.customers.Wait()
	}
}

// count compares what the machines know with the book.
func (h *hall) count() {
	var paid, sales int64
	late, lost, twice := 0, 0, 0
	moments := make(map[sim.Moment]int)
	book := h.p.house.book
	for i, m := range h.machines {
		var own int64
		for id, s := range m.sales {
			sales++
			own += s.paid
			if s.paid != s.want() {
				h.t.Errorf("payment %s: %d paid, %d fell and was reported while it was held: %+v", id, s.paid, s.want(), s)
			}
			if s.paid > vendingMost*170 {
				h.t.Errorf("payment %s: %d paid, which is more than was held", id, s.paid)
			}
			late, lost, twice = late+count(s.late()), lost+count(s.lost), twice+count(s.reports > 1)
		}
		for moment, n := range m.cuts {
			moments[moment] += n
		}
		if a, _ := book.AccountByName(fmt.Sprintf("customer/hall%d", i)); a.Balance != vendingOpening-own || a.Held != 0 {
			h.t.Errorf("customer %d has %d and %d held, and has paid %d", i, a.Balance, a.Held, own)
		}
		if b, _ := m.memory.Load(); len(b) > 0 {
			h.t.Errorf("machine %d has not forgotten %s", i, b)
		}
		paid += own
	}
	if a, _ := book.AccountByName("merchant/HALL00000000001"); a.Balance != paid {
		h.t.Errorf("the merchant has %d, the machines say %d", a.Balance, paid)
	}
	s := book.Stats()
	if s.HoldsOpen != 0 || s.Waiting != 0 {
		h.t.Errorf("%d holds are open, %d payments wait", s.HoldsOpen, s.Waiting)
	}
	if said := h.p.bookSays(); !strings.HasSuffix(said, "sum 0\n") {
		h.t.Error(said)
	}
	for _, moment := range sim.Moments() {
		if moments[moment] < 20 {
			h.t.Errorf("the power failed %d times %s", moments[moment], moment)
		}
	}
	if late == 0 || lost == 0 || twice == 0 {
		h.t.Errorf("something never happened: %d reports came too late, %d drinks fell uncounted, %d reports came again", late, lost, twice)
	}
	h.t.Logf("%d sales shown, %d JPY paid, the power failed %v, %d reports came too late, %d drinks fell uncounted, %d sales were reported again",
		sales, paid, moments, late, lost, twice)
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}

// vendingSale is what really happened in one sale, as somebody sees it who watches.
type vendingSale struct {
	approved time.Time // zero: the customer did not agree
	counted  int64     // price of what fell and was counted
	lost     bool      // something fell as the power failed, and was not counted
	told     time.Time // when the gateway first heard a report
	reports  int
	paid     int64
}

func (s *vendingSale) late() bool {
	return s.counted > 0 && !s.told.Before(s.approved.Add(vendingHold))
}

func (s *vendingSale) want() int64 {
	if s.late() {
		return 0
	}
	return s.counted
}

// vending is a machine, with whoever stands before it.
type vending struct {
	*sim.Vending
	hall      *hall
	customer  string
	memory    *nvram
	customers sync.WaitGroup

	mu       sync.Mutex // guards what the customer sees too
	rnd      *rand.Rand
	cut      sim.Moment // at which the power fails next; zero: it stays
	cuts     map[sim.Moment]int
	now      string // the payment that is being made
	sales    map[string]*vendingSale
	falling  int64 // price of what has fallen and is not counted yet
	unsettle bool  // the power is off
}

// nvram keeps what it is given; the machine's power does not matter to it.
type nvram struct{ kept []byte }

func (m *nvram) Load() ([]byte, error) { return m.kept, nil }
func (m *nvram) Save(b []byte) error   { m.kept = b; return nil }

func newVending(h *hall, i int) *vending {
	m := &vending{
		hall: h, customer: fmt.Sprintf("hall%d", i), memory: new(nvram), rnd: rand.New(rand.NewPCG(20261122, uint64(i))),
		cuts: make(map[sim.Moment]int), sales: make(map[string]*vendingSale),
	}
	machine, err := sim.NewVending(sim.VendingOptions{
		Base: "http://kessai", Key: "sk_test_hall", Merchant: "HALL00000000001", Terminal: fmt.Sprintf("HALL%04d", i), Currency: kessai.JPY,
		Drinks: vendingDrinks, Most: vendingMost, Memory: m.memory, Client: h.http,
		Show: m.shown, Choose: m.chosen, Drop: m.dropped, Fails: m.fails,
	})
	if err != nil {
		h.t.Fatal(err)
	}
	m.Vending = machine
	return m
}

// sell sells once. Two of three times the power fails at some moment.
func (m *vending) sell() {
	m.mu.Lock()
	m.now, m.falling, m.cut = "", 0, 0
	if all := sim.Moments(); m.rnd.IntN(3) > 0 {
		m.cut = all[m.rnd.IntN(len(all))]
	}
	m.mu.Unlock()
	m.heard(m.Sell(context.Background()))
}

// settle switches the machine on again, after a while, as often as the power fails.
func (m *vending) settle() {
	for m.unsettle {
		m.unsettle = false
		m.mu.Lock()
		off := []time.Duration{time.Second, 5 * time.Second, 30 * time.Second, 2 * vendingHold}[m.rnd.IntN(4)]
		off += time.Duration(m.rnd.IntN(1e6)) * time.Microsecond
		m.cut = 0
		if m.rnd.IntN(4) == 0 {
			m.cut = []sim.Moment{sim.BeforeAnswer, sim.BeforeForgetting}[m.rnd.IntN(2)]
		}
		m.mu.Unlock()
		time.Sleep(off)
		m.heard(m.Settle(context.Background()))
	}
}

// heard notes what a machine says that became of a sale.
func (m *vending) heard(r sim.VendingReport, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case errors.Is(err, sim.ErrPower):
		m.unsettle = true
	case err != nil:
		m.hall.t.Errorf("%s: %v", m.customer, err)
	}
	if s := m.sales[r.Payment]; s != nil {
		s.paid = r.Paid
		if s.told.IsZero() {
			s.told = time.Now()
		}
	}
}

func (m *vending) fails(at sim.Moment) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.sales[m.now]
	switch at {
	case sim.AfterCounting:
		s.counted, m.falling = s.counted+m.falling, 0
	case sim.BeforeAnswer: // the gateway has it
		if s.told.IsZero() {
			s.told = time.Now()
		}
		s.reports++
	}
	if m.cut != at {
		return false
	}
	m.cut = 0
	m.cuts[at]++
	if at == sim.BeforeCounting {
		s.lost = true
	}
	return true
}

// shown has a customer come, sooner or later, or nobody.
func (m *vending) shown(p sim.VendingPayment) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := &vendingSale{}
	m.now, m.sales[p.ID] = p.ID, s
	will := m.rnd.IntN(20)
	comes, decides := time.Duration(m.rnd.IntN(15_000))*time.Millisecond, time.Duration(m.rnd.IntN(10_000))*time.Millisecond
	if will == 0 {
		return // nobody comes
	}
	id, _ := kessai.ParseTxID(p.ID)
	engine, ctx := m.hall.p.house.engine, context.Background()
	m.customers.Go(func() {
		time.Sleep(comes)
		if _, code, err := engine.Claim(ctx, id, m.customer); err != nil || code != kessai.Approved {
			return // the machine was switched on again, and has given the sale up
		}
		a, _ := m.hall.p.house.book.AccountByName("customer/" + m.customer)
		time.Sleep(decides)
		if will == 1 {
			_, _, _ = engine.CancelByCustomer(ctx, id, a.ID)
			return
		}
		t, code, err := engine.Approve(ctx, authz.Proof{Sale: id, Customer: a.ID, Factor: kessai.FactorPassword, Evidence: []byte(`{"version":1}`)})
		m.mu.Lock()
		defer m.mu.Unlock()
		if err == nil && code == kessai.Approved && t.Status == ledger.Pending {
			s.approved = time.Now()
		}
	})
}

// chosen presses a button, after some thought.
func (m *vending) chosen(n int) (string, bool) {
	m.mu.Lock()
	more, think, drink := n == 0 || m.rnd.IntN(2) == 0, m.rnd.IntN(5_000), m.rnd.IntN(len(vendingDrinks))
	m.mu.Unlock()
	time.Sleep(time.Duration(think) * time.Millisecond)
	return vendingDrinks[drink].Code, more
}

// dropped has a drink fall, unless it gets stuck.
func (m *vending) dropped(d sim.Drink) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.rnd.IntN(6) == 0 {
		return false
	}
	m.falling = d.Price
	return true
}
