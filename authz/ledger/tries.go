package ledger

import (
	"cmp"
	"slices"
	"time"

	"kessai"
)

// Wrong proofs are counted by account and business day: those for waiting payments
// apart from those for signing in, so that a stranger who knows a customer's ID
// cannot lock the password of devices that are signed in. An unlock sets both to
// zero. Each is a transaction, so the counts are as durable as money; on opening
// they are made from the briefs. Wrong PINs are not here: see pins.go.

// tries counts the wrong proofs of an account.
type tries struct{ sales, signIns int32 }

// tried is a wrong proof, or an unlock.
type tried struct {
	id      kessai.TxID
	day     int32
	account AccountID
	what    byte
}

// What was tried. The numbers are on disk.
const (
	triedSale   = 1
	triedSignIn = 2
	triedUnlock = 3
)

// triesProof reports whether a transaction is a wrong proof that counts against an
// account, or the unlock of one.
func (t *Tx) triesProof() bool {
	return t.Counted&CountedTry != 0 && t.Factor != kessai.FactorPIN || t.Kind == kessai.Unlock && t.Code.IsApproval() && t.Customer != 0
}

func whatTried(t *Tx) byte {
	switch t.Kind {
	case kessai.SignIn:
		return triedSignIn
	case kessai.Unlock:
		return triedUnlock
	}
	return triedSale
}

// try counts what was tried on the state's day.
func (s *state) try(x tried) {
	if x.day != s.day {
		return
	}
	n := s.tries[x.account]
	switch x.what {
	case triedSale:
		n.sales++
	case triedSignIn:
		n.signIns++
	case triedUnlock:
		delete(s.tries, x.account)
		return
	}
	s.tries[x.account] = n
}

// tryAll counts what the briefs hold, in the order in which it was tried: an
// unlock takes back only what was before it.
func (s *state) tryAll(all []tried) {
	slices.SortFunc(all, func(a, b tried) int { return cmp.Compare(a.id, b.id) })
	for _, x := range all {
		s.try(x)
	}
}

// Tries gives how many wrong passwords count against an account today: for waiting
// payments, and for signing in.
func (b *Book) Tries(customer AccountID) (sales, signIns int) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if b.Err() != nil || b.o.BusinessDay(time.Now()) > b.state.day {
		return 0, 0
	}
	n := b.state.tries[customer]
	return int(n.sales), int(n.signIns)
}
