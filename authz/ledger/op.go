package ledger

import (
	"time"

	"kessai"
)

// AccountID numbers an account, from 1 upwards without gaps. Zero means none.
type AccountID uint32

// Key names an attempt: a digest of whatever makes it unique (acquirer,
// merchant, terminal, transmission time, STAN and kind of message; or merchant
// and idempotency key). The zero key names nothing.
type Key [16]byte

// Name is one name of an attempt, with the digest of what was asked under it. A
// second request under the same key is a repeat when the digests are equal, and
// a conflict when they are not.
type Name struct {
	Key    Key
	Digest [16]byte
}

// Ref points to an earlier transaction: by number, or by the key of its attempt.
type Ref struct {
	ID  kessai.TxID
	Key Key
}

// IsZero reports whether the reference points nowhere.
func (r Ref) IsZero() bool { return r == Ref{} }

// Limit bounds what a medium or a terminal may do in one business day. A limit
// that is set during the day counts from then on. What counts is what was approved
// on that day (purchases, cash back, pre-authorizations, increments, loads; at a
// terminal also what is paid from media), less what was reversed on the same day.
// A hold that is released, expires or is completed for less gives nothing back, nor
// does a write that its medium did not do.
type Limit struct {
	MaxTotal int64  // minor units; zero: no limit
	MaxCount uint32 // zero: no limit
}

func (l Limit) isZero() bool { return l == Limit{} }

// Op asks one thing of the book. It is a plain value that holds all that is
// needed to do it, so that the book asks nobody anything at commit.
type Op struct {
	Kind    kessai.Kind
	Verdict kessai.ResponseCode // not an approval: record a decline with this code, move nothing

	Names [2]Name // the attempt's names; unused ones are zero

	Merchant    kessai.MerchantID
	Terminal    kessai.TerminalID
	Medium      kessai.MediumID // of an approval by card, or an unlock: the card that it is about
	Last4       kessai.Last4
	STAN        kessai.STAN
	Transmitted time.Time // by the terminal's word; zero where it gave none
	Wire        Wire

	Customer AccountID // the medium's account; zero: taken from the original
	Shop     AccountID // the merchant's account; zero: taken from the original
	Currency kessai.Currency
	// Amount is in minor units. Of a completion or of a refund that names its
	// original, zero means all that is left. Of a reversal it is what is to stand.
	Amount   int64
	CashBack int64 // the part of Amount that is cash handed over
	Partial  bool  // a part of Amount may be approved

	// What has to do with the customer's agreement: see waiting.go.
	Asks   kessai.Asks         // who must agree to a purchase or pre-authorization before it stands
	Factor kessai.Factor       // what the customer proved who they are with; whether it was right is the Verdict
	Ends   kessai.ResponseCode // of a cancellation: what the terminal is told. Zero: CustomerCancellation

	Original Ref           // what a follow-up refers to, or what a customer does
	HoldFor  time.Duration // how long a new hold stands; of a payment that asks, from when the customer agreed
	WaitFor  time.Duration // how long a payment waits for its customer: 1 s to MaxWait
	MaxTries int           // wrong proofs that end a payment, at most 255. Zero: 3
	DayTries int           // wrong passwords of an account in one business day that lock the password. Zero: 5
	PINTries int           // wrong PINs of a card, since the last right one, that lock it, at most 255. Zero: 3
	Foreign  Foreign       // the customer's side, where their account has another currency

	MediumLimit   Limit
	TerminalLimit Limit

	Purse *Purse // what the medium said of the value on it; nil: it said nothing

	Note []byte // kept with the entry and given back as it is: item lines and the like
}

// Wire says how a request came in.
type Wire uint8

// The wires.
const (
	WireNone Wire = iota
	WireISO
	WireJSON
)

func (w Wire) String() string { return [...]string{"none", "iso8583", "json"}[w%3] }

// Status says what has become of a transaction.
type Status uint8

// The states of a transaction. Only Pending, Posted and Waiting ones can still
// change, and approvals by card, which are Reversed with what they agreed to.
const (
	Declined  Status = iota + 1 // refused; no money moved
	Noted                       // nothing to move of its own: balance, verification, release, a reversal with no effect or one that came first, what a customer did
	Pending                     // a hold is open, or a medium is being written
	Posted                      // money moved, or a hold was changed
	Released                    // the hold was ended by a release, or the medium was not written
	Expired                     // the hold's deadline passed
	Captured                    // the hold was ended by a completion
	Reversed                    // wholly undone by reversals
	Waiting                     // the customer has not agreed yet
	Cancelled                   // the wait ended without money, and before its time
)

var statusNames = [...]string{"none", "declined", "noted", "pending", "posted", "released", "expired", "captured", "reversed", "waiting", "cancelled"}

func (s Status) String() string { return statusNames[int(s)%len(statusNames)] }

// Tx is one transaction as the book has it. The first part never changes once
// it is committed; the second part, from Status on, is what later transactions made
// of it. A claim also fills in Customer and Foreign, and an approval by card Medium.
type Tx struct {
	ID          kessai.TxID
	Kind        kessai.Kind
	Code        kessai.ResponseCode
	Wire        Wire
	Counted     Counted             // whose limits it counts against
	HasNote     bool                // see Book.Note
	Asks        kessai.Asks         // who must agree before it stands
	Factor      kessai.Factor       // of an approval or sign-in: what the customer proved who they are with
	Ends        kessai.ResponseCode // what it ends the waiting payment with that it refers to; zero: it does not end it without money
	Names       [2]Name
	Merchant    kessai.MerchantID
	Terminal    kessai.TerminalID
	Medium      kessai.MediumID
	Last4       kessai.Last4
	STAN        kessai.STAN
	Transmitted int64 // Unix seconds; zero where the terminal gave none
	Block       uint64
	Time        int64 // Unix nanoseconds: when the block was made
	Day         int32 // the business day, in days since 1970-01-01
	Customer    AccountID
	Shop        AccountID
	Currency    kessai.Currency
	Requested   int64       // what was asked for
	Amount      int64       // what was approved, or moved by a reversal
	CashBack    int64       //
	Available   int64       // of a balance inquiry: what the customer can spend; of e-money: what is on the medium, once it is written
	Original    kessai.TxID // the transaction that it refers to
	OriginalKey Key         // the attempt that a reversal which came first refers to
	HoldFor     int64       // seconds that a new hold stands
	Foreign     Foreign     // the customer's side of what it moves or asks for, where their account has another currency

	Before  kessai.TxID // of e-money that is written: what the medium wrote before
	Purse   AccountID   // of e-money: the medium's account
	Counter uint32      // of e-money: the counter of the state that came with it
	WaitFor int32       // seconds that it waits for the customer

	Status   Status
	Told     kessai.ResponseCode // of a payment that asked: what the terminal is told where it ended without the customer's agreement
	Tries    uint8               // of a payment that asks: wrong proofs
	Reversed int64               // undone by reversals
	Refunded int64               // given back by refunds
	Held     int64               // still held
	Deadline int64               // Unix nanoseconds: when the wait or the hold ends, or would have ended, by itself
	Ended    kessai.TxID         // the transaction that ended the hold or the wait, or told what the medium wrote
	Agreed   kessai.TxID         // of a payment that asks: the approval by which the customer agreed
}

// Counted says against whose running limits a transaction counts.
type Counted uint8

// The subjects of running limits.
const (
	CountedMedium Counted = 1 << iota
	CountedTerminal
	CountedTry // a wrong proof: it counts against its account's tries of the day; a wrong PIN against its card's
)

// AsDecided gives the transaction as it stood when it was decided: the answer
// that a repeat gets.
func (t Tx) AsDecided() Tx {
	t.Reversed, t.Refunded, t.Ended = 0, 0, 0
	t.Agreed, t.Told, t.Tries = 0, 0, 0
	if t.Asks == kessai.AsksClaim {
		t.Customer, t.Foreign = 0, Foreign{}
	}
	if t.Asks == kessai.AsksReader && t.Code.IsApproval() {
		t.Medium = kessai.MediumID{}
	}
	t.begin()
	return t
}

// begin gives a transaction the status with which it begins. What a medium is to
// write has no deadline: only the medium can tell what became of it.
func (t *Tx) begin() {
	t.Status, t.Held, t.Deadline = t.firstStatus(), 0, 0
	switch {
	case t.Status == Waiting:
		t.Deadline = t.Time + int64(t.WaitFor)*int64(time.Second)
		if t.Asks != kessai.AsksClaim {
			t.Held = t.Amount
		}
	case t.Status == Pending:
		t.Held = t.Amount
		if !t.Kind.OnPurse() {
			t.Deadline = t.Time + t.HoldFor*int64(time.Second)
		}
	}
}

// Remaining is what still stands of a posted transaction, in minor units.
func (t Tx) Remaining() int64 { return t.Amount - t.Reversed - t.Refunded }

func (t Tx) firstStatus() Status {
	switch {
	case !t.Code.IsApproval():
		return Declined
	case t.Asks != kessai.AsksNobody && (t.Kind == kessai.Purchase || t.Kind == kessai.PreAuthorization):
		return Waiting
	case t.Kind == kessai.PreAuthorization, t.Kind == kessai.Load, t.Kind == kessai.Unload, t.Kind == kessai.PursePurchase:
		return Pending
	case t.Kind == kessai.BalanceInquiry, t.Kind == kessai.Verification, t.Kind == kessai.Release,
		t.Kind == kessai.PurseInquiry, t.Kind == kessai.PurseSettlement, t.Kind.OfCustomer():
		return Noted
	case t.Kind == kessai.Reversal && t.Amount == 0:
		return Noted
	}
	return Posted
}

// Outcome is what the book answers to one [Op].
type Outcome struct {
	Tx       Tx
	Replayed bool // the attempt was made before; Tx is what was decided then
	Conflict bool // the attempt's name stands for something else; nothing was done, Tx is empty
}
