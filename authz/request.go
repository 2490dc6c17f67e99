package authz

import (
	"crypto/sha256"
	"encoding/binary"
	"time"

	"kessai"
	"kessai/authz/ledger"
	"kessai/pos/purse"
)

// Attempt is what a terminal says to make a message unique: acquirer (DE32),
// MTI, transmission date and time (DE7, UTC) and STAN (DE11). Merchant and
// terminal, which belong to it, stand in the [Request].
type Attempt struct {
	Acquirer    kessai.AcquirerID // zero: the gateway's own
	MTI         [4]byte           // zero: no attempt is named
	STAN        kessai.STAN
	Transmitted time.Time // the year is not part of the name: DE7 has none
}

// IsZero reports whether no attempt is named.
func (a Attempt) IsZero() bool { return a.MTI == [4]byte{} }

// Original points to the earlier transaction that a follow-up is about: by its
// number (RRN, DE37) or by its attempt (DE90).
type Original struct {
	ID      kessai.TxID
	Attempt Attempt
}

// Request is what a terminal asks, whichever wire it came over.
type Request struct {
	Wire     ledger.Wire
	Kind     kessai.Kind       // KindNone: nothing that is served; answered with 12
	Merchant kessai.MerchantID // zero: the terminal's own merchant
	Terminal kessai.TerminalID // zero: the merchant itself asks (JSON follow-ups)
	Medium   kessai.MediumID   // zero: none given; a follow-up takes the original's
	Last4    kessai.Last4
	BadPAN   bool          // a card number was given, and it is no card number
	Expiry   uint16        // as the terminal read it, YYMM; zero: not given
	Amount   kessai.Amount // of a reversal: what is to stand; zero undoes all of it
	CashBack int64         // the part of Amount that is cash handed over

	Attempt        Attempt  // by what the terminal says; may be zero over JSON
	IdempotencyKey string   // by what the merchant says; empty over ISO 8583
	BodyDigest     [16]byte // of all that was sent under the idempotency key
	Original       Original
	Dialogue       *InDialogue  // nil: the one-message form
	Confirm        *Confirm     // the customer is to confirm it; nil: nobody is asked
	Purse          *purse.State // what the medium says of the value on it; nil: nothing
	Note           []byte       // item lines and the like, kept with the transaction
	Received       time.Time    // the gateway's clock
}

// Reply is what the terminal is told. Tx is the transaction as it was decided;
// its number is zero where nothing was recorded (a conflict, code 94).
type Reply struct {
	Tx       ledger.Tx
	Code     kessai.ResponseCode
	Replayed bool         // this very attempt was answered before; this is that answer
	Order    *purse.Order // what the medium is to write; nil: nothing
	Refusal  *Refusal     // why nothing was recorded of what a customer was to confirm
}

// names gives the names under which the book is to know the attempt.
func (r *Request) names(own kessai.AcquirerID) (n [2]ledger.Name) {
	if !r.Attempt.IsZero() {
		n[0] = ledger.Name{Key: r.attemptKey(r.Attempt, own), Digest: r.digest()}
	}
	if r.IdempotencyKey != "" {
		b := append([]byte("idempotency\x00"), r.Merchant[:]...)
		n[1] = ledger.Name{Key: truncated(append(b, r.IdempotencyKey...)), Digest: r.BodyDigest}
	}
	if r.Confirm != nil && r.Confirm.Reference != "" {
		at := 0
		if n[0].Key != (ledger.Key{}) && n[1].Key == (ledger.Key{}) {
			at = 1
		}
		n[at] = ledger.Name{Key: r.saleKey(), Digest: r.digest()}
	}
	return n
}

// original turns what the terminal says of an earlier transaction into what the
// book knows it by.
func (r *Request) original(own kessai.AcquirerID) ledger.Ref {
	if r.Original.ID != 0 || r.Original.Attempt.IsZero() {
		return ledger.Ref{ID: r.Original.ID}
	}
	return ledger.Ref{Key: r.attemptKey(r.Original.Attempt, own)}
}

// attemptKey names an attempt of this request's merchant and terminal. A repeat
// (0201, 0401) has the name of its first sending.
func (r *Request) attemptKey(a Attempt, own kessai.AcquirerID) ledger.Key {
	if a.Acquirer == (kessai.AcquirerID{}) {
		a.Acquirer = own
	}
	at := a.Transmitted.UTC()
	_, month, day := at.Date()
	hour, minute, second := at.Clock()
	var b [64]byte // fixed in size, and short enough for one round of SHA-256
	n := append(b[:0], 'a')
	n = append(n, a.Acquirer[:]...)
	n = append(n, r.Merchant[:]...)
	n = append(n, r.Terminal[:]...)
	n = append(n, byte(month), byte(day), byte(hour), byte(minute), byte(second))
	n = append(n, byte(a.STAN>>16), byte(a.STAN>>8), byte(a.STAN))
	n = append(n, a.MTI[0], a.MTI[1], a.MTI[2], a.MTI[3]&^1)
	return truncated(n)
}

// digest gives the digest of what is asked, the same over every wire. Item lines
// and the names of the attempt are not part of it; nor is what a follow-up takes
// from its original and may repeat (the card), nor the currency of no amount. The
// card of a dialogue counts as it was sent: when the dialogue is gone, a repeat
// that left it out is still told from another request.
func (r *Request) digest() [16]byte {
	var b [64]byte // short enough for one round of SHA-256
	n := append(b[:0], 'r', byte(r.Kind))
	n = binary.BigEndian.AppendUint64(n, uint64(r.Amount.Value))
	n = binary.BigEndian.AppendUint64(n, uint64(r.CashBack))
	if r.Amount.Value != 0 {
		n = binary.BigEndian.AppendUint16(n, uint16(r.Amount.Currency))
	}
	switch in := r.Dialogue; {
	case in != nil:
		n = append(append(n, in.sent[:]...), in.ID[:]...)
	case r.standsAlone():
		n = append(n, r.Medium[:]...)
	}
	if r.Purse != nil {
		n = append(n, r.Purse.MAC[:8]...)
	}
	if r.Confirm != nil {
		n = r.Confirm.appendTo(n)
	}
	return truncated(n)
}

func truncated(b []byte) (k [16]byte) {
	sum := sha256.Sum256(b)
	copy(k[:], sum[:])
	return k
}

// MTI gives the message type under which a kind of transaction is named when it
// comes over a wire that has none (JSON), so that both wires lead to the same
// attempt.
func MTI(k kessai.Kind) [4]byte {
	switch k {
	case kessai.PreAuthorization, kessai.Increment, kessai.Verification:
		return [4]byte([]byte("0100"))
	case kessai.Completion, kessai.Release, kessai.PurseSettlement:
		return [4]byte([]byte("0220"))
	case kessai.Reversal, kessai.Cancellation:
		return [4]byte([]byte("0400"))
	}
	return [4]byte([]byte("0200"))
}
