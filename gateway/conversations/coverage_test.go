package conversations

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"kessai"
	"kessai/authz/ledger"
)

// coverage is what all stories together have seen.
type coverage struct {
	mu  sync.Mutex
	has map[string]bool
}

func newCoverage() *coverage { return &coverage{has: make(map[string]bool)} }

func (c *coverage) add(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.has[fmt.Sprintf(format, args...)] = true
}

// book looks through all transactions of a book.
func (c *coverage) book(b *ledger.Book) {
	for id := range b.Stats().Transactions {
		t, ok := b.Find(ledger.Ref{ID: kessai.TxID(id + 1)})
		if ok && t.Code.IsApproval() {
			c.add("%s: %s is approved", t.Wire, t.Kind)
		}
	}
}

// notOverJSON are the codes that JSON callers are told as problems: 25 is 404, 30
// is 400 or 422, 94 is 422, and 96 is 503.
var notOverJSON = map[kessai.ResponseCode]bool{
	kessai.NoSuchRecord: true, kessai.FormatError: true, kessai.DuplicateTransmission: true,
	kessai.SystemMalfunction: true,
}

// wanted lists what has to be there.
func wanted() (all []string) {
	for _, wire := range []ledger.Wire{ledger.WireISO, ledger.WireJSON} {
		for _, k := range kessai.Kinds() {
			if k.OfCustomer() { // nobody can ask for it over a wire
				continue
			}
			all = append(all, fmt.Sprintf("%s: %s is approved", wire, k))
		}
		for _, code := range kessai.ResponseCodes() {
			if code != kessai.WrongProof && (wire == ledger.WireISO || !notOverJSON[code]) {
				all = append(all, fmt.Sprintf("%s: %s is heard", wire, code))
			}
		}
	}
	for _, mti := range strings.Fields("0100 0101 0120 0121 0200 0201 0220 0221 0400 0401 0420 0421 0800") {
		all = append(all, mti+" is answered with 00")
	}
	for _, code := range strings.Fields("001 002 301") {
		all = append(all, "network management "+code+" is answered with 00")
	}
	for _, problem := range strings.Fields("payment_not_found missing_field attempt_reused draining") {
		all = append(all, "problem "+problem)
	}
	for _, how := range []string{"90", "37"} {
		all = append(all, "a reversal by DE"+how, "a partial reversal by DE"+how)
	}
	for n := range 13 {
		all = append(all, fmt.Sprintf("step V-%d", n+1))
	}
	for n := range 14 {
		all = append(all, fmt.Sprintf("step P-%d", n+1))
	}
	for n := range 16 {
		all = append(all, fmt.Sprintf("step R-%d", n+1))
	}
	for _, code := range strings.Fields("00 12 25 51 55 75") {
		all = append(all, "phone: "+code+" is heard")
	}
	return append(all, "json: a stored answer is heard", "problem dialogue_not_found")
}

func (c *coverage) missing() bool {
	for _, w := range wanted() {
		if !c.has[w] {
			return true
		}
	}
	return false
}

func (c *coverage) check(t *testing.T) {
	for _, w := range wanted() {
		if !c.has[w] {
			t.Errorf("no story shows this: %s", w)
		}
	}
}
