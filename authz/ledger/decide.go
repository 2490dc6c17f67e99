package ledger

import (
	"errors"
	"fmt"
	"time"

	"kessai"
)

// errOp says that an operation makes no sense; nothing was done.
var errOp = errors.New("the operation is malformed: nothing was done")

// MaxNote is the longest note that is kept with a transaction, in bytes.
const MaxNote = 32 << 10

// check refuses operations that no caller should make.
func (op *Op) check() error {
	switch {
	case len(op.Note) > MaxNote:
		return fmt.Errorf("%w: note of %d bytes, at most %d are kept", errOp, len(op.Note), MaxNote)
	case op.Asks != kessai.AsksNobody || op.Kind.OfCustomer() || op.Foreign != (Foreign{}):
		if err := op.checkAsking(); err != nil || op.Kind.OfCustomer() {
			return err
		}
	}
	switch {
	case !op.Verdict.IsApproval():
		return nil // recorded as it was asked, however odd; nothing moves
	case op.Amount < 0 || op.Amount > kessai.MaxAmount || op.CashBack < 0 || op.CashBack > op.Amount:
		return fmt.Errorf("%w: amount out of range", errOp)
	case op.Kind.FollowsUp() && op.Original.IsZero():
		return fmt.Errorf("%w: a %s names no original", errOp, op.Kind)
	case op.Kind.FollowsUp() || op.Kind == kessai.Refund && !op.Original.IsZero():
		return nil
	case op.Kind.OnPurse() && op.Purse == nil:
		return fmt.Errorf("%w: a %s without what the medium said", errOp, op.Kind)
	case op.Kind.OnPurse():
		return nil
	case op.Customer == 0 && op.Asks != kessai.AsksClaim || op.Shop == 0 || op.Customer == op.Shop:
		return fmt.Errorf("%w: a %s without its two accounts", errOp, op.Kind)
	}
	return nil
}

// repeat answers an attempt that was made before.
func (s *state) repeat(op *Op) (out Outcome, again bool) {
	var t *Tx
	for _, n := range op.Names {
		was := s.attempt(n.Key)
		if was == nil {
			continue
		}
		for _, name := range was.Names {
			if name.Key == n.Key && name.Digest != n.Digest || t != nil && t.ID != was.ID {
				return Outcome{Conflict: true}, true
			}
		}
		t = was
	}
	if t == nil {
		return Outcome{}, false
	}
	orig, ok := s.find(op.Original)
	if ok && t.Original != 0 && t.Original != orig.ID && t.Original != orig.Ended ||
		t.OriginalKey != (Key{}) && t.OriginalKey != op.Original.Key {
		return Outcome{Conflict: true}, true
	}
	return Outcome{Tx: t.AsDecided(), Replayed: true}, true
}

// decide makes the transaction that op becomes, with its outcome, and changes
// nothing. What it decides, apply carries out.
func (s *state) decide(op *Op) Tx {
	t := Tx{
		ID: kessai.TxID(s.txs.n + 1), Kind: op.Kind, Code: op.Verdict, Wire: op.Wire, Names: op.Names,
		Merchant: op.Merchant, Terminal: op.Terminal, Medium: op.Medium, Last4: op.Last4, STAN: op.STAN,
		Block: s.block + 1, Time: s.time, Day: s.day, Customer: op.Customer, Shop: op.Shop,
		Currency: op.Currency, Requested: op.Amount, CashBack: op.CashBack, HasNote: len(op.Note) > 0,
	}
	if !op.Transmitted.IsZero() {
		t.Transmitted = op.Transmitted.Unix()
	}
	if op.Asks != kessai.AsksNobody {
		t.Asks, t.WaitFor, t.Foreign = op.Asks, int32(op.WaitFor/time.Second), op.Foreign
	}
	if op.Kind.OfCustomer() {
		s.decideOfCustomer(&t, op)
		return t
	}
	if !t.Code.IsApproval() {
		return t
	}
	for _, n := range op.Names {
		if s.undoneFirst(n.Key) {
			t.Code = kessai.DoNotHonour
			return t
		}
	}
	if t.Asks != kessai.AsksNobody {
		s.decideWaiting(&t, op)
		return t
	}
	switch op.Kind {
	case kessai.Purchase, kessai.CashBack, kessai.PreAuthorization:
		t.Amount, t.Code = s.spend(&t, op, op.Partial && op.CashBack == 0)
		t.HoldFor = int64(op.HoldFor.Seconds())
	case kessai.Refund:
		s.decideRefund(&t, op)
	case kessai.BalanceInquiry:
		t.Code = s.fits(&t, t.Customer)
		if t.Code == kessai.Approved {
			t.Available = s.accounts.get(uint64(t.Customer)).available()
		}
	case kessai.Verification:
		t.Code = kessai.NoReasonToDecline
	case kessai.Increment, kessai.Completion, kessai.Release:
		s.decideOnHold(&t, op)
	case kessai.Reversal:
		s.decideReversal(&t, op)
	case kessai.Load, kessai.Unload, kessai.PursePurchase, kessai.PurseInquiry, kessai.PurseSettlement:
		s.decideOnPurse(&t, op)
	default:
		t.Code = kessai.InvalidTransaction
	}
	return t
}

// fits checks that the accounts exist in the transaction's currency. A medium's
// account takes part only in what is about that medium.
func (s *state) fits(t *Tx, ids ...AccountID) kessai.ResponseCode {
	for _, id := range ids {
		a := s.accounts.get(uint64(id))
		if a == nil || a.currency() != t.Currency || a.kind() == EMoneyAccount && id != t.Purse {
			return kessai.InvalidTransaction
		}
	}
	return kessai.Approved
}

// limited is a running limit and whose it is.
type limited struct {
	Limit
	who  subject
	flag Counted
}

// limit decides whether running limits allow an amount, and notes against which of
// them it counts.
func (s *state) limit(t *Tx, amount int64, limits ...limited) kessai.ResponseCode {
	t.Counted = 0
	for i := range limits {
		l := &limits[i]
		if l.isZero() {
			continue
		}
		u := s.usage[l.who.shard()][l.who]
		if l.MaxCount > 0 && u.count >= l.MaxCount && t.Kind != kessai.Increment {
			return kessai.CountLimit
		}
		if l.MaxTotal > 0 && amount > l.MaxTotal-u.total {
			return kessai.AmountLimit
		}
		t.Counted |= l.flag
	}
	return kessai.Approved
}

// spend decides how much of the requested amount the customer can spend.
func (s *state) spend(t *Tx, op *Op, partial bool) (int64, kessai.ResponseCode) {
	debit, credit := t.sides()
	if code := s.fits(t, debit, credit); code != kessai.Approved {
		return 0, code
	}
	if op.Amount == 0 {
		return 0, kessai.InvalidAmount
	}
	code := s.limit(t, op.Amount,
		limited{op.MediumLimit, mediumSubject(t.Medium), CountedMedium},
		limited{op.TerminalLimit, terminalSubject(t.Terminal), CountedTerminal})
	if code != kessai.Approved {
		return 0, code
	}
	amount := op.Amount
	if have := s.accounts.get(uint64(debit)).available(); amount > have {
		if !partial || have <= 0 {
			return 0, kessai.InsufficientFunds
		}
		amount, code = have, kessai.PartialApproval
	}
	if _, err := kessai.Add(s.accounts.get(uint64(credit)).balance, amount); err != nil {
		return 0, kessai.InvalidAmount
	}
	return amount, code
}

// original finds what a follow-up is about and takes over what it leaves out.
// A transaction of another merchant, or of another card than the one named, is
// answered like one that does not exist.
func (s *state) original(t *Tx, op *Op) (Tx, kessai.ResponseCode) {
	o, ok := s.find(op.Original)
	if !ok || o.Merchant != t.Merchant || !t.Medium.IsZero() && t.Medium != o.Medium {
		return Tx{}, kessai.NoSuchRecord
	}
	t.Original = o.ID
	t.Medium, t.Last4, t.Customer, t.Shop = o.Medium, o.Last4, o.Customer, o.Shop
	if t.Terminal.IsZero() {
		t.Terminal = o.Terminal
	}
	if t.Currency == 0 {
		t.Currency = o.Currency
	}
	if t.Currency != o.Currency {
		return o, kessai.InvalidTransaction
	}
	return o, kessai.Approved
}

// decideOnHold decides what becomes of a hold: more, money, or nothing.
func (s *state) decideOnHold(t *Tx, op *Op) {
	var o Tx
	if o, t.Code = s.original(t, op); t.Code != kessai.Approved {
		return
	}
	switch {
	case o.Kind == kessai.PreAuthorization && o.Status == Expired:
		t.Code = kessai.TooLate
	case o.Kind != kessai.PreAuthorization || o.Status != Pending:
		t.Code = kessai.InvalidTransaction
	case t.Kind == kessai.Increment && o.Asks != kessai.AsksNobody:
		t.Code = kessai.InvalidTransaction // it would take more than the customer agreed to
	case t.Kind == kessai.Increment:
		t.Amount, t.Code = s.spend(t, op, false)
		t.HoldFor = int64(op.HoldFor.Seconds())
	case t.Kind == kessai.Completion:
		t.Amount = op.Amount
		if t.Amount == 0 {
			t.Amount = o.Held
		}
		if t.Amount > o.Held || t.Amount == 0 {
			t.Amount, t.Code = 0, kessai.InvalidAmount
		} else if t.Foreign = o.part(0, t.Amount); !s.canPay(t, t.Foreign, t.Amount) {
			t.Amount, t.Foreign, t.Code = 0, Foreign{}, kessai.InvalidAmount
		}
	}
}

// decideRefund decides a refund, with or without an original.
func (s *state) decideRefund(t *Tx, op *Op) {
	t.Amount = op.Amount
	if !op.Original.IsZero() {
		var o Tx
		if o, t.Code = s.original(t, op); t.Code == kessai.Approved && o.Kind == kessai.PreAuthorization && o.Status == Captured {
			o, _ = s.find(Ref{ID: o.Ended}) // a refund of a captured hold is about its completion
			t.Original = o.ID
		}
		switch {
		case t.Code != kessai.Approved:
		case o.Status != Posted || o.Kind != kessai.Purchase && o.Kind != kessai.CashBack && o.Kind != kessai.Completion:
			t.Code = kessai.InvalidTransaction
		case op.Amount > o.Remaining() || o.Remaining() == 0:
			t.Code = kessai.InvalidAmount
		case op.Amount == 0:
			t.Amount = o.Remaining()
		}
		t.Foreign = o.back(t.Amount)
	}
	if t.Code == kessai.Approved && t.Foreign.Currency == 0 {
		t.Code = s.fits(t, t.Customer, t.Shop)
	}
	if t.Code == kessai.Approved && !s.canGiveBack(t, t.Foreign, t.Amount) {
		t.Code = kessai.InvalidAmount
	}
	if t.Code != kessai.Approved {
		t.Amount, t.Foreign = 0, Foreign{}
	}
}

// canMove reports whether a posting fits into 64 bits, and moves something.
func (s *state) canMove(debit, credit AccountID, amount int64) bool {
	_, err1 := kessai.Add(s.accounts.get(uint64(debit)).balance, -amount)
	_, err2 := kessai.Add(s.accounts.get(uint64(credit)).balance, amount)
	return amount > 0 && err1 == nil && err2 == nil
}

// decideReversal decides how much of the original is undone, so that what is to
// stand stands. It is the same however often it is sent. An attempt that has not
// come yet is remembered, and refused when it comes; that is only so for a
// reversal that leaves nothing standing.
func (s *state) decideReversal(t *Tx, op *Op) {
	o, code := s.original(t, op)
	if code == kessai.NoSuchRecord && op.Amount == 0 {
		if _, exists := s.find(op.Original); !exists && op.Original.ID == 0 {
			t.OriginalKey = op.Original.Key
			return
		}
	}
	if t.Code = code; code != kessai.Approved {
		return
	}
	switch {
	case o.Kind == kessai.Reversal || o.Kind == kessai.Release || o.Status == Captured, o.Kind.OfCustomer(),
		o.Status == Waiting && op.Amount != 0, // the customer is asked for all of it
		o.onMedium():                          // only the medium undoes what it wrote
		t.Code = kessai.InvalidTransaction
		return
	case o.Status == Waiting:
		t.Amount = o.Amount
		return
	case o.Status != Posted && o.Status != Pending:
		return // it moved nothing, or stands no more: nothing to undo
	case op.Amount > o.Amount:
		t.Code = kessai.InvalidAmount
		return
	}
	undo := max(0, o.Remaining()-op.Amount)
	switch o.Kind {
	case kessai.Purchase, kessai.Completion:
		if o.Foreign.Currency == 0 || undo == 0 {
			break
		}
		if t.Foreign = o.back(undo); !s.canGiveBack(&o, t.Foreign, undo) {
			t.Code, t.Foreign = kessai.InvalidAmount, Foreign{}
			return
		}
	case kessai.Increment:
		h := s.txs.get(uint64(o.Original))
		if h != nil && h.Status == Captured {
			t.Code = kessai.InvalidTransaction
			return
		}
		if h == nil || h.Status != Pending {
			return // the hold has ended, and with it what was added
		}
		undo = min(undo, h.Held)
	case kessai.PreAuthorization:
		undo = min(undo, o.Held)
	case kessai.Refund:
		sale := s.txs.get(uint64(o.Original))
		switch {
		case o.Original != 0 && sale == nil:
			t.Code = kessai.NoSuchRecord // too old: it has left memory
			return
		case o.Original != 0 && sale.Status != Posted:
			t.Code = kessai.InvalidTransaction // the sale was undone; the refund is part of that
			return
		}
		theirs := Foreign{0, undo}
		if o.Original != 0 && sale.Foreign.Currency != 0 && undo > 0 {
			theirs = sale.again(undo)
			t.Foreign = theirs
		}
		switch {
		case theirs.Amount > s.accounts.get(uint64(o.Customer)).available():
			t.Code, t.Foreign = kessai.InsufficientFunds, Foreign{}
			return
		case theirs.Currency != 0 && !s.canPay(&o, theirs, undo):
			t.Code, t.Foreign = kessai.InvalidAmount, Foreign{}
			return
		}
	}
	t.Amount = undo
}
