package gateway

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"kessai"
)

// The oracle knows the truth about every medium, terminal and merchant at each
// moment, as far as anybody can: what was acknowledged before a request began is
// true for it, what began after it ended is not, and of what overlaps with it
// either may be.

// truthClock orders what is seen: a later tick happened after an earlier one.
type truthClock struct{ n atomic.Int64 }

func (c *truthClock) tick() int64 { return c.n.Add(1) }

// subject is one medium, terminal or merchant with all that became of it. One
// goroutine changes it; many ask about it.
type subject struct {
	name  string
	first string // its status at the start

	mu      sync.Mutex
	changes []truthChange
}

type truthChange struct {
	to          string
	begun, done int64 // done is zero until it is acknowledged
}

// begin notes that a change is about to be made.
func (s *subject) begin(c *truthClock, to string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changes = append(s.changes, truthChange{to: to, begun: c.tick()})
}

// end notes that the last change was acknowledged.
func (s *subject) end(c *truthClock) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changes[len(s.changes)-1].done = c.tick()
}

// between gives every status that the subject may have had for a request from one
// tick to another.
func (s *subject) between(from, to int64) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	may := []string{s.first}
	for _, c := range s.changes {
		switch {
		case c.done != 0 && c.done < from:
			may = append(may[:0], c.to)
		case c.begun < to:
			may = append(may, c.to)
		}
	}
	return may
}

// verdictOf gives the code that a request has to get.
func verdictOf(merchant, terminal, medium string) kessai.ResponseCode {
	switch {
	case merchant != "active":
		return kessai.InvalidMerchant
	case terminal != "registered":
		return kessai.NotPermittedToTerminal
	}
	return map[string]kessai.ResponseCode{
		"active": kessai.Approved, "issued": kessai.DoNotHonour, "lost": kessai.LostCard, "stolen": kessai.StolenCard,
		"withdrawn": kessai.PickUpCard, "expired": kessai.ExpiredCard, "unknown": kessai.InvalidCardNumber,
	}[medium]
}

// truth holds answers against the truth.
type truth struct {
	clock    truthClock
	checked  atomic.Int64
	open     atomic.Int64 // of these, those of which more than one answer would have been right
	refused  atomic.Int64 // valid, and refused
	accepted atomic.Int64 // invalid, and accepted
	other    atomic.Int64 // refused for another reason than the true one

	mu     sync.Mutex
	faults []string
}

// check holds one answer against what it may be.
func (o *truth) check(merchant, terminal, medium *subject, code kessai.ResponseCode, from, to int64) {
	var right []kessai.ResponseCode
	merchants, terminals, media := merchant.between(from, to), terminal.between(from, to), medium.between(from, to)
	for _, m := range merchants {
		for _, t := range terminals {
			for _, c := range media {
				right = append(right, verdictOf(m, t, c))
			}
		}
	}
	o.checked.Add(1)
	if slices.ContainsFunc(right, func(c kessai.ResponseCode) bool { return c != right[0] }) {
		o.open.Add(1)
	}
	if slices.Contains(right, code) {
		return
	}
	switch {
	case code.IsApproval():
		o.accepted.Add(1)
	case slices.Contains(right, kessai.Approved):
		o.refused.Add(1)
	default:
		o.other.Add(1)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.faults) < 10 {
		o.faults = append(o.faults, fmt.Sprintf("%s (%v), %s (%v), %s (%v): answered with %s", merchant.name, merchants, terminal.name, terminals, medium.name, media, code))
	}
}

func (o *truth) wrong() int64 { return o.refused.Load() + o.accepted.Load() + o.other.Load() }

func (o *truth) String() string {
	return fmt.Sprintf("%d answers checked, %d of them while a change was under way; valid and refused: %d, invalid and accepted: %d, another reason: %d",
		o.checked.Load(), o.open.Load(), o.refused.Load(), o.accepted.Load(), o.other.Load())
}
