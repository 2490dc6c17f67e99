package kessai

import (
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"log/slog"
	"strings"
	"sync"
)

// PAN is a primary account number (ISO/IEC 7812, 12 to 19 digits). It is a
// secret: it lives in memory only, and however it is printed, it shows as ****.
// Everything behind the door works with [MediumID] and [Last4] instead.
type PAN struct {
	digits [19]byte
	n      uint8
}

// ErrPAN says that a text is no card number. It never repeats the text.
var ErrPAN = errors.New("card number must have 12 to 19 digits and a valid check digit")

// ParsePAN reads a card number and checks its Luhn digit (ISO/IEC 7812-1,
// annex B). On an error the digits, if they are digits, are still returned, so
// that a request with a mistyped number can be recorded and answered with 14.
func ParsePAN[T ~string | ~[]byte](s T) (PAN, error) {
	var p PAN
	if len(s) == 0 || len(s) > len(p.digits) {
		return PAN{}, ErrPAN
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return PAN{}, ErrPAN
		}
		p.digits[i] = s[i]
	}
	p.n = uint8(len(s))
	if len(s) < 12 || !p.luhn() {
		return p, ErrPAN
	}
	return p, nil
}

func (p *PAN) luhn() bool {
	sum, double := 0, false
	for i := int(p.n) - 1; i >= 0; i-- {
		d := int(p.digits[i] - '0')
		if double {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum, double = sum+d, !double
	}
	return sum%10 == 0
}

// IsZero reports whether no number is held.
func (p PAN) IsZero() bool { return p.n == 0 }

// Last4 gives the last four digits, the only part that may be shown or stored.
func (p PAN) Last4() (l Last4) {
	if p.n >= 4 {
		copy(l[:], p.digits[p.n-4:p.n])
	}
	return l
}

// Reveal gives the digits themselves. Only code that puts a card number onto a
// wire (a simulated terminal, a load generator) has a reason to call it.
func (p PAN) Reveal() string { return string(p.digits[:p.n]) }

// Format makes every verb of fmt print ****.
func (PAN) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("****")) }

// LogValue makes slog print ****.
func (PAN) LogValue() slog.Value { return slog.StringValue("****") }

// MarshalText makes encoders print ****.
func (PAN) MarshalText() ([]byte, error) { return []byte("****"), nil }

// Last4 is the last four digits of a card number; zero bytes where unknown.
type Last4 [4]byte

// String shows the digits behind a mask, for example ****4242.
func (l Last4) String() string {
	if l == (Last4{}) {
		return ""
	}
	return "****" + string(l[:])
}

// MediumID names a medium (a card or another carrier) without giving its number
// away: the first 16 bytes of HMAC-SHA-256 over the PAN's digits, keyed with a
// secret that is kept outside the store. The zero value names none.
type MediumID [16]byte

// IsZero reports whether id names no medium.
func (id MediumID) IsZero() bool { return id == MediumID{} }

func (id MediumID) String() string { return fmt.Sprintf("%x", id[:]) }

// MediumHasher turns card numbers into medium IDs. It may be used from many
// goroutines at once and does not allocate once warm.
type MediumHasher struct {
	pool sync.Pool
}

type pooledHash struct {
	h   hash.Hash
	in  [19]byte
	sum [sha256.Size]byte
}

// MinKeyBytes is the shortest key that [NewMediumHasher] takes.
const MinKeyBytes = 32

// NewMediumHasher makes a hasher with the given secret key of at least 32 bytes.
func NewMediumHasher(key []byte) (*MediumHasher, error) {
	if len(key) < MinKeyBytes {
		return nil, fmt.Errorf("the key that card numbers are hashed with has %d bytes; it needs at least %d", len(key), MinKeyBytes)
	}
	key = append([]byte(nil), key...)
	m := new(MediumHasher)
	m.pool.New = func() any { return &pooledHash{h: hmac.New(sha256.New, key)} }
	return m, nil
}

// Medium gives the ID of the medium with this card number; zero for no number.
func (m *MediumHasher) Medium(p PAN) (id MediumID) {
	if p.IsZero() {
		return id
	}
	s := m.pool.Get().(*pooledHash)
	s.h.Reset()
	s.in = p.digits
	s.h.Write(s.in[:p.n])
	copy(id[:], s.h.Sum(s.sum[:0]))
	s.in = [19]byte{}
	m.pool.Put(s)
	return id
}

// Secret is a text that must not be printed: an API key, a password. However
// it is printed, it shows as ****; an empty one shows as nothing.
type Secret string

// Reveal gives the text itself, for the one place that needs it.
func (s Secret) Reveal() string { return string(s) }

func (s Secret) mask() string { return strings.Repeat("*", min(4, len(s))) }

// Format makes every verb of fmt print ****.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.mask())) }

// LogValue makes slog print ****.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.mask()) }

// MarshalText makes encoders print ****.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.mask()), nil }
