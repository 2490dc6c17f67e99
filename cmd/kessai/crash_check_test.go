package main

import (
	"errors"
	"fmt"
	"sync"

	"kessai"
)

// errLost says that something that was acknowledged is not in the book.
var errLost = errors.New("an acknowledged transaction is lost")

// crashBooks is what the crash test knows must be so: what the customers have,
// and every transaction that it has seen in the book. It follows the book by the
// answers and the lists of the API, and never looks inside.
type crashBooks struct {
	shop      *crashShop
	available []int64          // what each card can spend
	hold      map[uint64]int64 // open holds
	left      map[uint64]int64 // what stands of each posted transaction
	booked    []crashBooked    // by number, from 1
}

type crashBooked struct {
	kind, code, approval, stan, terminal string
	amount                               int64
}

func newCrashBooks(s *crashShop) *crashBooks {
	b := &crashBooks{shop: s, hold: make(map[uint64]int64), left: make(map[uint64]int64)}
	for card := range s.cards {
		b.available = append(b.available, s.opening(card))
	}
	return b
}

func bookedOf(p *crashPayment) crashBooked {
	return crashBooked{p.Kind, p.ResponseCode, p.ApprovalCode, p.STAN, p.Terminal, p.Amount.Value}
}

// claims says which attempt each new transaction in the book comes from.
type claims map[uint64]*crashAttempt

// claim checks that a listed transaction is the attempt's, and nobody else's.
func (c claims) claim(a *crashAttempt, listed map[uint64]*crashPayment) error {
	id := a.answer.id
	p := listed[id]
	switch other := c[id]; {
	case p == nil:
		return fmt.Errorf("%w: %s was answered with %s, RRN %d, which is not in the list", errLost, a, a.answer.code, id)
	case other != nil:
		return fmt.Errorf("%w: %s and %s were both answered with RRN %d", errLost, a, other, id)
	case p.Kind != a.kind.String() || p.Terminal != a.sale.Terminal || a.name && p.STAN != a.sale.STAN.String() ||
		p.ResponseCode != a.answer.code || p.ApprovalCode != a.answer.approval:
		return fmt.Errorf("%w: %s was answered with %s, RRN %d, but that is a %s at %s, STAN %s, %s", errLost, a, a.answer.code, id,
			p.Kind, p.Terminal, p.STAN, p.ResponseCode)
	case a.approved() && a.kind != kessai.Reversal && a.kind != kessai.Release && a.kind != kessai.BalanceInquiry && p.Amount.Value != a.answer.amount:
		return fmt.Errorf("%s was answered with an amount of %d, RRN %d, but the list says %d", a, a.answer.amount, id, p.Amount.Value)
	}
	c[id] = a
	return nil
}

// unclaimed gives an error for a transaction that no attempt accounts for.
func (c claims) unclaimed(from, to uint64, listed map[uint64]*crashPayment) error {
	for id := from; id <= to; id++ {
		if p := listed[id]; c[id] == nil {
			return fmt.Errorf("transaction %d (%s at %s, STAN %s, %s) is nobody's: something was done twice, or never asked for",
				id, p.Kind, p.Terminal, p.STAN, p.ResponseCode)
		}
	}
	return nil
}

// listedFrom gives the list after a number as a map, and checks that it has
// every number up to last once.
func listedFrom(c *crashClient, after, last uint64) (map[uint64]*crashPayment, error) {
	list, err := c.list(after)
	if err != nil {
		return nil, err
	}
	listed := make(map[uint64]*crashPayment, len(list))
	for i := range list {
		if want := after + 1 + uint64(i); list[i].number != want {
			return nil, fmt.Errorf("the list has transaction %d where %d should be", list[i].number, want)
		}
		listed[list[i].number] = &list[i]
	}
	if after+uint64(len(list)) != last {
		return nil, fmt.Errorf("the list ends at transaction %d, the book at %d", after+uint64(len(list)), last)
	}
	return listed, nil
}

// post follows the book by one transaction. It does the sums on its own: what is
// posted, held, given back.
func (b *crashBooks) post(a *crashAttempt, p *crashPayment) error {
	wrong := func(format string, args ...any) error {
		return fmt.Errorf("transaction %d, %s, answered with %s: %s", p.number, a, p.ResponseCode, fmt.Sprintf(format, args...))
	}
	if a.original != nil && p.Original == "" && !a.original.undone {
		return wrong("it names no original")
	}
	if a.original != nil && a.original.answer != nil && p.Original != "" && p.Original != kessai.TxID(a.original.answer.id).String() {
		return wrong("its original is %s, not %d", p.Original, a.original.answer.id)
	}
	moved := p.Amount.Value
	switch p.ResponseCode {
	case "00":
	case "10":
		if moved < 1 || moved >= a.sale.Amount || b.available[a.card] != moved {
			return wrong("%d were approved, where %d were there", moved, b.available[a.card])
		}
	case "51":
		if moved != 0 || b.available[a.card] >= a.sale.Amount {
			return wrong("%d were there", b.available[a.card])
		}
		return nil
	case "05":
		if moved != 0 || !a.undone {
			return wrong("nothing speaks against it")
		}
		return nil
	default:
		return wrong("this was not to be expected")
	}
	switch a.kind {
	case kessai.Reversal, kessai.Release, kessai.BalanceInquiry:
	default:
		if p.ResponseCode == "00" && moved != a.sale.Amount {
			return wrong("%d were moved", moved)
		}
	}
	if why := b.effect(a, p.number, moved); why != "" {
		return wrong("%s", why)
	}
	if b.available[a.card] < 0 {
		return wrong("the customer is %d below zero", -b.available[a.card])
	}
	return nil
}

// effect carries out what was approved. It says what is wrong with it.
func (b *crashBooks) effect(a *crashAttempt, number uint64, moved int64) (why string) {
	var of uint64
	if a.original != nil && a.original.answer != nil {
		of = a.original.answer.id
	}
	held, open := b.hold[of]
	switch a.kind {
	case kessai.Purchase:
		b.available[a.card] -= moved
		b.left[number] = moved
	case kessai.PreAuthorization:
		b.available[a.card] -= moved
		b.hold[number] = moved
	case kessai.Completion, kessai.Release:
		if !open || a.kind == kessai.Completion && moved > held {
			return fmt.Sprintf("the hold is open: %t, and has %d", open, held)
		}
		delete(b.hold, of)
		b.available[a.card] += held
		if a.kind == kessai.Completion {
			b.available[a.card] -= moved
			b.left[number] = moved
		}
	case kessai.Reversal:
		left := b.left[of]
		if open {
			left = held
			delete(b.hold, of)
		}
		if of > number { // the reversal was first: it keeps its original from being carried out
			left = 0
		}
		if undo := max(0, left-a.stands); moved != undo {
			return fmt.Sprintf("it undid %d, not %d", moved, undo)
		}
		b.available[a.card] += moved
		if !open && of < number {
			b.left[of] = left - moved
		}
	case kessai.BalanceInquiry:
		if a.answer.available != b.available[a.card] {
			return fmt.Sprintf("the customer has %d, and should have %d", a.answer.available, b.available[a.card])
		}
	}
	return ""
}

// agrees checks what the list says has become of a transaction.
func (b *crashBooks) agrees(p *crashPayment) error {
	want := p.Status
	switch approved := p.ResponseCode == "00" || p.ResponseCode == "10"; {
	case !approved:
		want = "declined"
	case p.Kind == "pre_authorization":
		if held, open := b.hold[p.number]; p.Held != held || open != (p.Status == "authorized") {
			return fmt.Errorf("transaction %d is %s and holds %d, where %d should be held", p.number, p.Status, p.Held, held)
		}
	case p.Kind == "purchase" || p.Kind == "completion":
		if want = "approved"; b.left[p.number] == 0 {
			want = "reversed"
		}
	}
	if p.Status != want {
		return fmt.Errorf("transaction %d is %s and should be %s", p.number, p.Status, want)
	}
	return nil
}

// inParallel does n things, some at a time, and gives the first error.
func inParallel(n int, do func(i int) error) error {
	const atOnce = 32
	var wait sync.WaitGroup
	var once sync.Once
	var first error
	next := make(chan int)
	for range min(n, atOnce) {
		wait.Go(func() {
			for i := range next {
				if err := do(i); err != nil {
					once.Do(func() { first = err })
				}
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wait.Wait()
	return first
}
