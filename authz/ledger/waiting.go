package ledger

import (
	"cmp"
	"fmt"
	"time"

	"kessai"
)

// A waiting payment is a purchase or pre-authorization that its customer has not
// agreed to yet. What it takes is held from the beginning. It ends exactly once: by
// an approval, a cancellation, a claim that is not covered, too many wrong proofs, a
// card that was refused, its deadline or a reversal. Whoever comes first in the book
// wins; whoever comes after is told what stands.
//
// What is decided is here; agree.go carries it out, tries.go counts wrong proofs,
// pins.go decides about cards and counts wrong PINs, and foreign.go knows of
// customers with another currency.
//
// Not here: who is asked and how, and whether a proof is right. The book is told
// that (Verdict), and counts what was wrong.

// MaxWait is the longest that a payment waits for its customer.
const MaxWait = 24 * time.Hour

const (
	defaultMaxTries = 3
	defaultDayTries = 5
	mostTries       = 255
)

// checkAsking refuses operations that no caller should make, about payments that
// ask and what customers do.
func (op *Op) checkAsking() error {
	if err := op.checkCard(); err != nil {
		return err
	}
	switch {
	case op.Asks > kessai.AsksReader, !op.Factor.Known(), op.Ends > 99, op.Ends != 0 && op.Ends.IsApproval():
		return fmt.Errorf("%w: who is asked, the proof's factor or the code that it ends with is not one of those that there are", errOp)
	case op.MaxTries > mostTries:
		return fmt.Errorf("%w: %d wrong proofs are allowed, at most %d can be", errOp, op.MaxTries, mostTries)
	case op.Kind.OfCustomer() && op.Kind != kessai.Cancellation && op.Kind != kessai.Unlock && op.Customer == 0:
		return fmt.Errorf("%w: a %s without a customer", errOp, op.Kind)
	case op.WaitFor < 0 || op.WaitFor > MaxWait:
		return fmt.Errorf("%w: it is to wait for %v; 1 s to %v are possible", errOp, op.WaitFor, MaxWait)
	case op.Foreign != (Foreign{}) && op.Asks == kessai.AsksNobody && op.Kind != kessai.Claim:
		return fmt.Errorf("%w: a %s that asks nobody names the customer's own currency", errOp, op.Kind)
	case op.Asks != kessai.AsksNobody && op.Kind != kessai.Purchase && op.Kind != kessai.PreAuthorization:
		return fmt.Errorf("%w: nobody can be asked about a %s", errOp, op.Kind)
	case (op.Kind == kessai.Approval || op.Kind == kessai.Cancellation || op.Kind == kessai.Claim) && op.Original.IsZero():
		return fmt.Errorf("%w: a %s names no original", errOp, op.Kind)
	case op.Asks == kessai.AsksNobody || !op.Verdict.IsApproval():
		return nil
	case op.WaitFor < time.Second:
		return fmt.Errorf("%w: it is to wait for %v; 1 s to %v are possible", errOp, op.WaitFor, MaxWait)
	case (op.Asks == kessai.AsksClaim) != (op.Customer == 0), op.Asks == kessai.AsksClaim && op.Foreign != (Foreign{}):
		return fmt.Errorf("%w: it asks for a claim and names a customer, or asks a customer and names none", errOp)
	}
	return nil
}

// decideWaiting decides whether a payment may wait for its customer: all that can
// be judged is judged, so that their agreement is all that lacks. A part of the
// amount is never approved, because the customer would be shown another one.
func (s *state) decideWaiting(t *Tx, op *Op) {
	claim := t.Asks == kessai.AsksClaim
	if claim {
		t.Code = s.fits(t, t.Shop)
	} else {
		t.Code = s.parties(t)
	}
	if t.Code != kessai.Approved {
		return
	}
	if op.Amount == 0 {
		t.Code = kessai.InvalidAmount
		return
	}
	t.Code = s.limit(t, op.Amount,
		limited{op.MediumLimit, mediumSubject(t.Medium), CountedMedium},
		limited{op.TerminalLimit, terminalSubject(t.Terminal), CountedTerminal})
	if t.Code != kessai.Approved {
		return
	}
	t.Amount = op.Amount
	switch {
	case !claim:
		t.Code = s.covered(t)
	case !s.canTake(t.Shop, t.Amount):
		t.Code = kessai.InvalidAmount
	}
	if t.Code != kessai.Approved {
		t.Amount = 0
	} else if t.Kind == kessai.PreAuthorization {
		t.HoldFor = int64(op.HoldFor.Seconds())
	}
}

// parties checks the accounts of a payment that asks: a customer's and a
// merchant's, in the currencies that it says.
func (s *state) parties(t *Tx) kessai.ResponseCode {
	c, m := s.accounts.get(uint64(t.Customer)), s.accounts.get(uint64(t.Shop))
	theirs := cmp.Or(t.Foreign.Currency, t.Currency)
	if c == nil || m == nil || c.kind() != CustomerAccount || m.kind() != MerchantAccount ||
		c.currency() != theirs || m.currency() != t.Currency {
		return kessai.InvalidTransaction
	}
	if t.Foreign == (Foreign{}) {
		return kessai.Approved
	}
	switch {
	case theirs == t.Currency, s.exchangeAccount(theirs) == 0, s.exchangeAccount(t.Currency) == 0:
		return kessai.InvalidTransaction
	case t.Foreign.Amount <= 0 || t.Foreign.Amount > kessai.MaxAmount:
		return kessai.InvalidAmount
	}
	return kessai.Approved
}

// covered checks that the customer covers a payment, and that it can be posted.
func (s *state) covered(t *Tx) kessai.ResponseCode {
	switch {
	case t.side(t.Amount) > s.accounts.get(uint64(t.Customer)).available():
		return kessai.InsufficientFunds
	case !s.canPay(t, t.Foreign, t.Amount):
		return kessai.InvalidAmount
	}
	return kessai.Approved
}

// decideOfCustomer decides what a customer does. A verdict of WrongProof is not
// only recorded: it counts.
func (s *state) decideOfCustomer(t *Tx, op *Op) {
	t.Factor, t.Requested, t.CashBack = op.Factor, 0, 0
	wrong := op.Verdict == kessai.WrongProof && (t.Kind == kessai.Approval || t.Kind == kessai.SignIn)
	if !op.Verdict.IsApproval() && !wrong {
		return // recorded as it was asked
	}
	t.Code = kessai.Approved
	if a := s.accounts.get(uint64(t.Customer)); t.Customer != 0 && (a == nil || a.kind() != CustomerAccount) {
		t.Code = kessai.InvalidTransaction
		return
	}
	switch t.Kind {
	case kessai.SignIn:
		s.decideProof(t, op, s.tries[t.Customer].signIns, wrong)
	case kessai.Unlock:
	default:
		o, code := s.asked(t, op)
		if t.Code = code; t.Kind == kessai.Approval {
			s.decideApproval(t, op, &o, wrong)
			if ofCard(t.Factor) && !t.Code.IsApproval() {
				t.HasNote = false // it would tell a right PIN that was refused from a wrong one
			}
		} else if t.Code == kessai.Approved && t.Kind == kessai.Cancellation {
			t.Ends = cmp.Or(op.Ends, kessai.CustomerCancellation)
		} else if t.Code == kessai.Approved {
			s.decideClaim(t, op, &o)
		}
	}
}

// asked finds the waiting payment that a customer's act is about. Another's is
// answered like one that does not exist. Whoever names no customer acts for the
// gateway or the terminal.
func (s *state) asked(t *Tx, op *Op) (Tx, kessai.ResponseCode) {
	o, ok := s.find(op.Original)
	unclaimed := t.Kind == kessai.Claim && o.Asks == kessai.AsksClaim && o.Customer == 0
	if !ok || o.Asks == kessai.AsksNobody || !t.Merchant.IsZero() && t.Merchant != o.Merchant ||
		t.Customer != 0 && t.Customer != o.Customer && !unclaimed || t.Kind == kessai.Claim && o.Asks != kessai.AsksClaim {
		return Tx{}, kessai.NoSuchRecord
	}
	t.Original, t.Shop, t.Currency, t.Requested = o.ID, o.Shop, o.Currency, o.Requested
	t.Customer, t.Terminal = cmp.Or(t.Customer, o.Customer), cmp.Or(t.Terminal, o.Terminal)
	if o.Status != Waiting {
		return o, kessai.InvalidTransaction
	}
	return o, kessai.Approved
}

// decideProof decides what a proof is worth, after so many wrong ones today. Where
// the password is locked nobody learns whether it was right, and nothing counts.
func (s *state) decideProof(t *Tx, op *Op, today int32, wrong bool) {
	most := op.DayTries
	if most <= 0 {
		most = defaultDayTries
	}
	password := t.Factor == kessai.FactorPassword
	locked := password && int(today) >= most
	if wrong && password && !locked {
		t.Counted |= CountedTry
	}
	switch {
	case t.Code != kessai.Approved: // it is about nothing that it could confirm
	case locked:
		t.Code = kessai.TriesExceeded
	case wrong:
		t.Code = kessai.WrongProof
	}
}

func (s *state) decideApproval(t *Tx, op *Op, o *Tx, wrong bool) {
	if t.Code == kessai.Approved && (o.Asks == kessai.AsksReader) != ofCard(t.Factor) {
		t.Code = kessai.InvalidTransaction
	}
	if ofCard(t.Factor) {
		s.decideCard(t, op, o, wrong)
		return
	}
	s.decideProof(t, op, s.tries[t.Customer].sales, wrong)
	switch {
	case t.Code == kessai.WrongProof:
		most := op.MaxTries
		if most <= 0 {
			most = defaultMaxTries
		}
		if int(o.Tries)+1 >= most {
			t.Ends = kessai.TriesExceeded
		}
	case t.Code != kessai.Approved:
	case o.Kind == kessai.Purchase && !s.canPay(o, o.Foreign, o.Amount):
		t.Code = kessai.InvalidAmount
	default:
		t.Amount, t.Foreign = o.Amount, o.Foreign
	}
}

// decideClaim decides whose payment it is from now on. One that its claimer does
// not cover ends.
func (s *state) decideClaim(t *Tx, op *Op, o *Tx) {
	if o.Customer != 0 {
		t.Foreign = o.Foreign
		return // it is theirs already
	}
	t.Foreign = op.Foreign
	if t.Code = s.parties(t); t.Code != kessai.Approved {
		t.Foreign = Foreign{}
		return
	}
	t.Amount = o.Amount
	if t.Code = s.covered(t); t.Code == kessai.InsufficientFunds {
		t.Ends = t.Code
	}
	if t.Amount = 0; t.Code == kessai.InvalidAmount {
		t.Foreign = Foreign{}
	}
}

// Standing is what the terminal is told of a transaction as it stands now:
// RequestInProgress while it waits for the customer, what it ended with where they
// did not agree, and its own code otherwise.
func (t *Tx) Standing() kessai.ResponseCode {
	switch {
	case t.Status == Waiting:
		return kessai.RequestInProgress
	case t.Told != 0:
		return t.Told
	}
	return t.Code
}
