package kessai

import "fmt"

// Kind says what a transaction is. The numbers are written into the book, so
// they never change meaning; new kinds are added at the end.
type Kind uint8

// The kinds of transaction, with their ISO 8583:1987 form (MTI, first two
// digits of the processing code DE3).
const (
	KindNone         Kind = iota
	Purchase              // 0200, 00
	CashBack              // 0200, 09: a purchase with cash handed over the counter
	Refund                // 0200, 20
	BalanceInquiry        // 0100 or 0200, 31
	Verification          // 0100 or 0200, 00 with amount zero: is this card good?
	PreAuthorization      // 0100, 00: opens a hold
	Increment             // 0100, 00 naming a hold: adds to it
	Completion            // 0120 or 0220 naming a hold: posts all or part of it
	Release               // 0120 or 0220 naming a hold, amount zero: ends it without money
	Reversal              // 0400, 0420: undoes all or part of an earlier transaction
	Load                  // 0200, 40 from account 00 to 60: puts value on a medium
	Unload                // 0200, 40 from account 60 to 00: takes value off a medium
	PursePurchase         // 0200, 00 from account 60: pays with the value on a medium
	PurseInquiry          // 0100 or 0200, 31 of account 60: what is on a medium
	PurseSettlement       // 0220, 40 or 00 with account 60: the medium's counter tells what was written
	Approval              // the customer says yes to a waiting payment
	Cancellation          // a waiting payment ends without money
	Claim                 // a customer takes a waiting payment that named none
	SignIn                // a customer proves who they are, without a payment
	Unlock                // what a customer got wrong is forgotten
	numKinds
)

var kindNames = [numKinds]string{
	"none", "purchase", "cash_back", "refund", "balance_inquiry", "verification",
	"pre_authorization", "increment", "completion", "release", "reversal",
	"load", "unload", "purse_purchase", "purse_inquiry", "purse_settlement",
	"approval", "cancellation", "claim", "sign_in", "unlock",
}

// Kinds lists every kind of transaction, in the order of their numbers.
func Kinds() []Kind {
	all := make([]Kind, 0, numKinds-1)
	for k := KindNone + 1; k < numKinds; k++ {
		all = append(all, k)
	}
	return all
}

func (k Kind) String() string {
	if k < numKinds {
		return kindNames[k]
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// ParseKind reads the name that [Kind.String] gives.
func ParseKind(s string) (Kind, bool) {
	for k := KindNone + 1; k < numKinds; k++ {
		if kindNames[k] == s {
			return k, true
		}
	}
	return KindNone, false
}

// OnPurse reports whether the kind is about the value that a medium carries.
func (k Kind) OnPurse() bool { return k >= Load && k <= PurseSettlement }

// OfCustomer reports whether the kind is what a customer does on their own phone,
// or what is done for them. No terminal can ask for it.
func (k Kind) OfCustomer() bool { return k >= Approval && k <= Unlock }

// FollowsUp reports whether the kind always names an earlier transaction.
// A refund may name one, and need not.
func (k Kind) FollowsUp() bool { return k >= Increment && k <= Reversal }

// KindSet is a set of kinds, one bit each.
type KindSet uint32

// AllKinds is the set of every kind.
const AllKinds = KindSet(1<<numKinds - 2)

// KindSetOf makes the set of the kinds named.
func KindSetOf(kinds ...Kind) (s KindSet) {
	for _, k := range kinds {
		s |= 1 << k
	}
	return s
}

// Has reports whether k is in the set.
func (s KindSet) Has(k Kind) bool { return s&(1<<k) != 0 }

// ResponseCode is the outcome of a request in the terms of ISO 8583:1987 DE39.
// JSON callers see the same two digits.
type ResponseCode uint8

// The response codes that the gateway gives.
const (
	Approved               ResponseCode = 0
	InvalidMerchant        ResponseCode = 3
	PickUpCard             ResponseCode = 4
	DoNotHonour            ResponseCode = 5
	RequestInProgress      ResponseCode = 9
	PartialApproval        ResponseCode = 10
	InvalidTransaction     ResponseCode = 12
	InvalidAmount          ResponseCode = 13
	InvalidCardNumber      ResponseCode = 14
	CustomerCancellation   ResponseCode = 17
	NoSuchRecord           ResponseCode = 25
	FormatError            ResponseCode = 30
	LostCard               ResponseCode = 41
	StolenCard             ResponseCode = 43
	InsufficientFunds      ResponseCode = 51
	ExpiredCard            ResponseCode = 54
	WrongProof             ResponseCode = 55
	NotPermittedToCard     ResponseCode = 57
	NotPermittedToTerminal ResponseCode = 58
	AmountLimit            ResponseCode = 61
	SecurityViolation      ResponseCode = 63
	CountLimit             ResponseCode = 65
	TooLate                ResponseCode = 68
	TriesExceeded          ResponseCode = 75
	NoReasonToDecline      ResponseCode = 85
	DuplicateTransmission  ResponseCode = 94
	SystemMalfunction      ResponseCode = 96
)

var codeTexts = map[ResponseCode]string{
	Approved:               "approved",
	InvalidMerchant:        "invalid merchant",
	PickUpCard:             "keep the card",
	DoNotHonour:            "do not honour",
	RequestInProgress:      "waiting for the customer",
	PartialApproval:        "approved for a part of the amount",
	InvalidTransaction:     "invalid transaction",
	InvalidAmount:          "invalid amount",
	InvalidCardNumber:      "invalid card number",
	CustomerCancellation:   "cancelled by the customer",
	NoSuchRecord:           "no such record",
	FormatError:            "format error",
	LostCard:               "lost card, keep it",
	StolenCard:             "stolen card, keep it",
	InsufficientFunds:      "insufficient funds",
	ExpiredCard:            "expired card",
	WrongProof:             "wrong password or PIN",
	NotPermittedToCard:     "transaction not permitted to this card",
	NotPermittedToTerminal: "transaction not permitted to this terminal",
	AmountLimit:            "exceeds an amount limit",
	SecurityViolation:      "security violation",
	CountLimit:             "exceeds a count limit",
	TooLate:                "too late: the hold has ended",
	TriesExceeded:          "too many wrong tries",
	NoReasonToDecline:      "no reason to decline",
	DuplicateTransmission:  "duplicate transmission with different content",
	SystemMalfunction:      "system malfunction, nothing was done",
}

// String gives the two digits of DE39.
func (c ResponseCode) String() string { return string([]byte{'0' + byte(c)/10%10, '0' + byte(c)%10}) }

// Text gives the code's meaning in English.
func (c ResponseCode) Text() string { return codeTexts[c] }

// IsApproval reports whether the code tells the terminal to go ahead.
func (c ResponseCode) IsApproval() bool {
	return c == Approved || c == PartialApproval || c == NoReasonToDecline
}

// ResponseCodes lists every code that the gateway gives, in ascending order.
func ResponseCodes() []ResponseCode {
	var all []ResponseCode
	for c := range ResponseCode(100) {
		if _, ok := codeTexts[c]; ok {
			all = append(all, c)
		}
	}
	return all
}
