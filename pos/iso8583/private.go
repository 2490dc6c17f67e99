package iso8583

import (
	"errors"

	"kessai"
)

// Elements of the private field DE48 (additional data), which messages of this
// gateway carry where ISO 8583 has no field of its own. An element is a tag of two
// characters, a length of three digits, and that many characters; elements follow
// each other. What is binary is written in hexadecimal, so that every dialect can
// carry it.
const (
	PrivateDialogue = "DI" // the number of a dialogue
	PrivateState    = "MS" // what a medium says of itself: package pos/purse
	PrivateOrder    = "MO" // what a medium is to write: package pos/purse

	PrivateConfirm   = "CF" // the customer confirms on their phone, and how the terminal waits for it
	PrivateCustomer  = "CU" // who is asked
	PrivateReference = "TI" // the terminal's own name for the sale
	PrivateItems     = "IT" // what is sold
	PrivateNumber    = "NO" // shown at the terminal and on the phone, to compare
	PrivateQR        = "QR" // what a QR code at the terminal says, for the phone that claims the payment
	PrivateText      = "TX" // why a message was refused, for people
)

// ErrPrivate says that DE48 does not consist of whole elements, or has one twice.
var ErrPrivate = errors.New("DE48 does not consist of elements with a tag of two characters and a length of three digits, each once")

const privateHead = 5

// AppendPrivate appends an element to what will be DE48.
func AppendPrivate(dst []byte, tag string, value []byte) []byte {
	dst = kessai.AppendDigits(append(dst, tag...), uint64(len(value)), 3)
	return append(dst, value...)
}

// Private gives an element of DE48; false where it is not there. It reads all of
// the field, so that a bad one is refused whatever is looked for.
func Private(field []byte, tag string) (value []byte, ok bool, err error) {
	seen := make(map[[2]byte]struct{}, 4)
	for len(field) > 0 {
		if len(field) < privateHead {
			return nil, false, ErrPrivate
		}
		t, n := [2]byte(field), 0
		for _, c := range field[2:privateHead] {
			if c < '0' || c > '9' {
				return nil, false, ErrPrivate
			}
			n = n*10 + int(c-'0')
		}
		if _, twice := seen[t]; twice || n > len(field)-privateHead {
			return nil, false, ErrPrivate
		}
		seen[t] = struct{}{}
		if string(t[:]) == tag {
			value, ok = field[privateHead:privateHead+n], true
		}
		field = field[privateHead+n:]
	}
	return value, ok, nil
}
