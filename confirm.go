package kessai

// Asks says who must agree before a payment stands. The numbers are written into
// the book, so they never change meaning.
type Asks uint8

// Who is asked.
const (
	AsksNobody Asks = iota
	AsksPhone       // the customer that the terminal names, on their own phone
	AsksClaim       // whoever claims the payment with a signed-in phone
	AsksReader      // the customer's card reader, which hangs on their phone
)

// Factor is what a customer proved who they are with. The numbers are written
// into the book, so they never change meaning.
type Factor uint8

// The factors.
const (
	FactorNone Factor = iota
	FactorPassword
	FactorPasskey
)

func (f Factor) String() string { return [...]string{"none", "password", "passkey"}[f%3] }
