package kessai

import (
	"crypto/sha256"
	"encoding/hex"
)

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
	FactorCard // a card that needs no PIN, in the customer's own reader
	FactorPIN  // the card and its PIN
	numFactors
)

func (f Factor) String() string {
	return [...]string{"none", "password", "passkey", "card", "card_pin"}[f%numFactors]
}

// Known reports whether it is one of the factors.
func (f Factor) Known() bool { return f < numFactors }

// ReaderID names a card reader that hangs on a customer's phone: the first eight
// bytes of the SHA-256 of its public key.
type ReaderID [8]byte

// ReaderIDOf gives the ID of the reader with a public key.
func ReaderIDOf(key []byte) ReaderID {
	sum := sha256.Sum256(key)
	return ReaderID(sum[:len(ReaderID{})])
}

// ParseReaderID reads what [ReaderID.String] gives.
func ParseReaderID(s string) (id ReaderID, ok bool) {
	if len(s) != 2*len(id) {
		return id, false
	}
	_, err := hex.Decode(id[:], []byte(s))
	return id, err == nil && id.String() == s
}

// String gives 16 hexadecimal digits, in small letters.
func (id ReaderID) String() string { return hex.EncodeToString(id[:]) }
