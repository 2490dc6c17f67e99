package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"kessai"
	"kessai/pos/sim"
)

const (
	crashMerchant = "CRASH0000000001"
	crashKey      = "sk_test_crash"
	crashOpening  = 50_000_000 // JPY on every card but the first
	crashPoor     = 30_000     // JPY on the first card, which runs dry
)

// crashShop is a shop with some customers, and the terminals' common clock and
// counter.
type crashShop struct {
	cards     []kessai.PAN
	terminals []string
	count     atomic.Uint32 // of attempts: STANs and idempotency keys come from it
}

func newCrashShop(random *rand.Rand) *crashShop {
	s := &crashShop{terminals: []string{"CRASH001", "CRASH002", "CRASH003"}}
	for range 8 {
		pan, err := kessai.ParsePAN(randomCard(random, 16))
		if err != nil {
			panic(err)
		}
		s.cards = append(s.cards, pan)
	}
	return s
}

func (s *crashShop) opening(card int) int64 {
	if card == 0 {
		return crashPoor
	}
	return crashOpening
}

// write makes the file that brings the shop into the registry.
func (s *crashShop) write(path string) error {
	var b strings.Builder
	fmt.Fprintf(&b, "merchants:\n  - {id: %s, name: Shop, mcc: \"5814\", currency: JPY}\n", crashMerchant)
	fmt.Fprintf(&b, "api_keys:\n  - {merchant: %s, key: %s}\nterminals:\n", crashMerchant, crashKey)
	for i, id := range s.terminals {
		fmt.Fprintf(&b, "  - {id: %s, merchant: %s, operation: attended, partial_approval: %t}\n", id, crashMerchant, i == 0)
	}
	b.WriteString("customers:\n")
	for i := range s.cards {
		fmt.Fprintf(&b, "  - {id: c%d, name: Customer, currency: JPY, opening_balance: %d}\n", i, s.opening(i))
	}
	b.WriteString("media:\n")
	for i, pan := range s.cards {
		fmt.Fprintf(&b, "  - {pan: \"%s\", customer: c%d, expiry: \"9912\"}\n", pan.Reveal(), i)
	}
	return os.WriteFile(path, []byte(b.String()), 0o600)
}

// attempt makes a new attempt at one of the terminals.
func (s *crashShop) attempt(random *rand.Rand, kind kessai.Kind, card int, over wire) *crashAttempt {
	n := s.count.Add(1)
	return &crashAttempt{
		kind: kind, card: card, over: over, key: fmt.Sprintf("attempt-%d", n), name: over == overISO || n%2 == 0,
		sale: sim.Sale{Terminal: s.terminals[random.IntN(len(s.terminals))], PAN: s.cards[card], Expiry: "9912",
			Amount: 1 + random.Int64N(500), Currency: kessai.JPY, STAN: kessai.STAN(n % 1_000_000), Time: time.Now()},
	}
}

// followUp makes an attempt about an earlier one, at the same terminal.
func (s *crashShop) followUp(random *rand.Rand, kind kessai.Kind, o *crashAttempt) *crashAttempt {
	a := s.attempt(random, kind, o.card, o.over)
	a.original, a.sale.Terminal = o, o.sale.Terminal
	a.byNumber = o.answer != nil && random.IntN(2) == 0
	a.sale.Amount = o.sale.Amount
	return a
}

// crashLane is one customer after the other, each served before the next, until
// the gateway is gone. Many lanes run beside each other.
type crashLane struct {
	shop     *crashShop
	over     wire
	own      *crashClient
	other    *crashClient // a connection of another terminal
	random   *rand.Rand
	attempts []*crashAttempt // all that were sent, whether or not they were answered
	err      error           // an answer that must not be
}

func (l *crashLane) run() {
	for l.serve() {
	}
}

// serve serves one customer. It reports whether all was answered.
func (l *crashLane) serve() bool {
	card := l.random.IntN(len(l.shop.cards))
	switch n := l.random.IntN(10); {
	case n < 3:
		return l.hold(card)
	case n < 4 && l.over == overISO:
		return l.race(card)
	case n < 5:
		return l.twin(l.shop.attempt(l.random, kessai.Purchase, card, l.over))
	default:
		return l.purchase(card)
	}
}

// purchase sells something, and may take it back in part or whole.
func (l *crashLane) purchase(card int) bool {
	sale := l.shop.attempt(l.random, kessai.Purchase, card, l.over)
	if !l.ask(sale) {
		return false
	}
	if !sale.approved() || l.random.IntN(3) != 0 {
		return true
	}
	return l.ask(l.reversal(sale))
}

func (l *crashLane) reversal(o *crashAttempt) *crashAttempt {
	r := l.shop.followUp(l.random, kessai.Reversal, o)
	if o.kind == kessai.Purchase && o.answer != nil && l.random.IntN(2) == 0 {
		r.stands = l.random.Int64N(o.answer.amount)
	}
	return r
}

// hold reserves money, and takes all or a part of it, or gives it free, or
// leaves it reserved.
func (l *crashLane) hold(card int) bool {
	hold := l.shop.attempt(l.random, kessai.PreAuthorization, card, l.over)
	if !l.ask(hold) {
		return false
	}
	if !hold.approved() {
		return true
	}
	switch l.random.IntN(5) {
	case 0:
		return true
	case 1:
		return l.ask(l.shop.followUp(l.random, kessai.Release, hold))
	case 2:
		return l.ask(l.reversal(hold))
	}
	c := l.shop.followUp(l.random, kessai.Completion, hold)
	c.sale.Amount = 1 + l.random.Int64N(hold.answer.amount)
	return l.ask(c)
}

// race sends a purchase and its reversal at the same moment.
func (l *crashLane) race(card int) bool {
	sale := l.shop.attempt(l.random, kessai.Purchase, card, overISO)
	sale.undone = true
	l.attempts = append(l.attempts, sale)
	r := l.shop.followUp(l.random, kessai.Reversal, sale)
	first := make(chan error, 1)
	go func() { first <- send(l.other, sale, false) }()
	ok := l.ask(r)
	return l.fine(<-first) && ok
}

// twin sends the same thing twice, over two connections.
func (l *crashLane) twin(a *crashAttempt) bool {
	l.attempts = append(l.attempts, a)
	b := *a // the copy is the same to the gateway
	first := make(chan error, 1)
	go func() { first <- send(l.other, &b, true) }()
	ok := l.fine(send(l.own, a, false))
	ok = l.fine(<-first) && ok
	switch {
	case a.answer == nil:
		a.answer = b.answer
	case b.answer != nil && !a.answer.same(*b.answer):
		l.err = fmt.Errorf("%s: sent twice, it was answered as %+v and %+v", a, *a.answer, *b.answer)
	}
	return ok && l.err == nil
}

func (l *crashLane) ask(a *crashAttempt) bool {
	l.attempts = append(l.attempts, a)
	return l.fine(send(l.own, a, false))
}

// send asks and notes the answer.
func send(c *crashClient, a *crashAttempt, repeat bool) error {
	answer, err := c.ask(a, repeat)
	if err == nil {
		a.answer = &answer
	}
	return err
}

// fine reports whether there was an answer. That there is none is what happens
// when a gateway is killed.
func (l *crashLane) fine(err error) bool {
	if _, ok := errors.AsType[unexpected](err); ok {
		l.err = err
	}
	return err == nil
}

func (a *crashAttempt) approved() bool { return a.answer.code == "00" || a.answer.code == "10" }

// randomCard makes up a card number of so many digits with a good check digit.
func randomCard(random *rand.Rand, digits int) string {
	b := make([]byte, digits)
	sum := 0
	for i := range b[:digits-1] {
		b[i] = '0' + byte(random.IntN(10))
		if i == 0 {
			b[i] = '2' + byte(random.IntN(8))
		}
		d := int(b[i] - '0')
		if (digits-i)%2 == 0 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
	}
	b[digits-1] = '0' + byte((10-sum%10)%10)
	return string(b)
}
