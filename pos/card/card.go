package card

import (
	"errors"
	"fmt"
	"log/slog"

	"kessai"
)

// Card is what a reader read from a card.
type Card struct {
	PAN      kessai.PAN
	Expiry   uint16 // last valid month as YYMM, for example 2912
	Sequence uint8  // the card's number among those with this PAN, 0 to 99 (tag 5F34); 0 where it says none
	EMV      *EMV   // nil for a magnetic stripe
}

// ErrCard says that data is not that of a card. It is the same for every cause and
// never repeats the data.
var ErrCard = errors.New("this is not the data of a card: it is cut off, contradicts itself, or has no valid card number or month")

// Format makes every verb of fmt print ****.
func (Card) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("****")) }

// String gives ****.
func (Card) String() string { return "****" }

// LogValue makes slog print ****.
func (Card) LogValue() slog.Value { return slog.StringValue("****") }

// MarshalText makes encoders print ****.
func (Card) MarshalText() ([]byte, error) { return []byte("****"), nil }

// Format makes every verb of fmt print ****.
func (EMV) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("****")) }

// String gives ****.
func (EMV) String() string { return "****" }

// LogValue makes slog print ****.
func (EMV) LogValue() slog.Value { return slog.StringValue("****") }

// MarshalText makes encoders print ****.
func (EMV) MarshalText() ([]byte, error) { return []byte("****"), nil }

// digits reports whether b holds decimal digits and nothing else.
func digits(b []byte) bool {
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

// number reads a few decimal digits, which the caller has looked at.
func number(b []byte) (n int64) {
	for _, c := range b {
		n = n*10 + int64(c-'0')
	}
	return n
}

func isMonth(yymm uint16) bool { return yymm <= 9912 && yymm%100 >= 1 && yymm%100 <= 12 }
