package kessai

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"strings"
)

// PAN is a primary account number (ISO/IEC 7812, 12 to 19 digits). It is a
// secret: it lives in memory only, and however it is printed, it shows as ****.
// Everything behind the door works with [MediumID] and [Last4] instead.
//
// The digits stand in three words, as bytes from the lowest on, with zeros behind
// them; the highest byte is their number. So it is passed in registers.
type PAN struct{ a, b, c uint64 }

// maxDigits is the length of the longest card number.
const maxDigits = 19

// ErrPAN says that a text is no card number. It never repeats the text.
var ErrPAN = errors.New("card number must have 12 to 19 digits and a valid check digit")

// ParsePAN reads a card number and checks its Luhn digit (ISO/IEC 7812-1,
// annex B). On an error the digits, if they are digits, are still returned, so
// that a request with a mistyped number can be recorded and answered with 14.
func ParsePAN[T ~string | ~[]byte](s T) (PAN, error) {
	n := len(s)
	if n == 0 || n > maxDigits {
		return PAN{}, ErrPAN
	}
	text := [24]byte([]byte("000000000000000000000000"))
	copy(text[:], s)
	a, b, c := binary.LittleEndian.Uint64(text[:]), binary.LittleEndian.Uint64(text[8:]), binary.LittleEndian.Uint64(text[16:])
	return parsePAN(a, b, c, n)
}

// eight is a word of eight equal bytes.
const eight = 0x0101010101010101

// parsePAN reads n digits, behind which there are characters 0. It looks at eight
// characters at a time: a branch on each digit would be foretold wrong half of the
// time.
func parsePAN(a, b, c uint64, n int) (p PAN, err error) {
	x, y, z := a^'0'*eight, b^'0'*eight, c^'0'*eight // 0 to 9 where it is a digit
	if (x|y|z|(x+6*eight)|(y+6*eight)|(z+6*eight))&(0xf0*eight) != 0 {
		return p, ErrPAN
	}
	behind := 8 * n
	p.a, p.b, p.c = a&^(^uint64(0)<<behind), b&^(^uint64(0)<<max(behind-64, 0)), c&^(^uint64(0)<<max(behind-128, 0))|uint64(n)<<56
	if n < 12 || (luhn(x, n)+luhn(y, n)+luhn(z, n))%10 != 0 {
		return p, ErrPAN
	}
	return p, nil
}

// luhn gives what eight of n digits add to the sum: every other one, counted from
// the last of the n, its double without nines.
func luhn(digits uint64, n int) uint64 {
	const lanes = 0x0001000100010001
	doubled, single := digits&(0xff*lanes), digits>>8&(0xff*lanes)
	if n%2 != 0 {
		doubled, single = single, doubled
	}
	nines := (2*doubled + 6*lanes) >> 4 & lanes // 1 where the double is more than 9
	return (2*doubled - 9*nines + single) * lanes >> 48
}

func (p PAN) len() int { return int(p.c >> 56) }

// put puts the digits at the beginning of a block, with zeros behind them.
func (p PAN) put(to []byte) {
	_ = to[23]
	binary.LittleEndian.PutUint64(to, p.a)
	binary.LittleEndian.PutUint64(to[8:], p.b)
	binary.LittleEndian.PutUint64(to[16:], p.c<<8>>8)
}

// IsZero reports whether no number is held.
func (p PAN) IsZero() bool { return p == PAN{} }

// Last4 gives the last four digits, the only part that may be shown or stored.
func (p PAN) Last4() (l Last4) {
	if n := p.len(); n >= 4 {
		var b [24]byte
		p.put(b[:])
		copy(l[:], b[n-4:n])
	}
	return l
}

// Reveal gives the digits themselves. Only code that puts a card number onto a
// wire (a simulated terminal, a load generator) has a reason to call it.
func (p PAN) Reveal() string {
	var b [24]byte
	p.put(b[:])
	return string(b[:p.len()])
}

// AppendTo appends the digits of [PAN.Reveal], for code that wipes them afterwards:
// a string cannot be wiped.
func (p PAN) AppendTo(dst []byte) []byte {
	var b [24]byte
	p.put(b[:])
	dst = append(dst, b[:p.len()]...)
	clear(b[:])
	return dst
}

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
// goroutines at once and does not allocate.
//
// It is HMAC-SHA-256 (RFC 2104) for texts of at most one block. crypto/hmac, which
// takes texts of any length, needs twice the time.
type MediumHasher struct{ inner, outer keyedHash }

// MinKeyBytes is the shortest key that [NewMediumHasher] takes.
const MinKeyBytes = 32

// NewMediumHasher makes a hasher with the given secret key of at least 32 bytes.
func NewMediumHasher(key []byte) (*MediumHasher, error) {
	if len(key) < MinKeyBytes {
		return nil, fmt.Errorf("the key that card numbers are hashed with has %d bytes; it needs at least %d", len(key), MinKeyBytes)
	}
	m := new(MediumHasher)
	if !m.inner.set(key, 0x36) || !m.outer.set(key, 0x5c) || !m.proven(key) {
		return nil, errors.New("card numbers cannot be hashed: crypto/sha256 marshals its state in a form that is not known here; build with the version of Go that go.mod names")
	}
	return m, nil
}

// proven compares with crypto/hmac. With other IDs, every card would be unknown.
func (m *MediumHasher) proven(key []byte) bool {
	const number = "4242424242424242"
	p, err := ParsePAN(number)
	id, mac := m.Medium(p), hmac.New(sha256.New, key)
	mac.Write([]byte(number))
	return err == nil && hmac.Equal(id[:], mac.Sum(nil)[:len(id)])
}

// Medium gives the ID of the medium with this card number; zero for no number.
func (m *MediumHasher) Medium(p PAN) (id MediumID) {
	if p.IsZero() {
		return id
	}
	var h keyedHash
	p.put(h.block())
	h.sum(&m.inner, p.len())
	h.sum(&m.outer, sha256.Size)
	copy(id[:], h.block())
	return id
}

// keyedHash is SHA-256 behind a block that holds the key, as crypto/sha256 marshals
// it: a word that says what it is, the hash, room for a block, and the length.
type keyedHash [4 + sha256.Size + sha256.BlockSize + 8]byte

// block is the part that begins with the hash, with zeros behind it: already laid
// out as the next block to hash.
func (h *keyedHash) block() []byte { return h[4:][:sha256.BlockSize] }

func (h *keyedHash) set(key []byte, pad byte) bool {
	if len(key) > sha256.BlockSize {
		sum := sha256.Sum256(key)
		key = sum[:]
	}
	block := bytes.Repeat([]byte{pad}, sha256.BlockSize)
	subtle.XORBytes(block, block, key)
	s := sha256.New()
	s.Write(block)
	b, err := s.(encoding.BinaryAppender).AppendBinary(nil)
	return err == nil && copy(h[:], b) == len(h) && len(b) == len(h)
}

// sum hashes the n bytes in the block behind a key, into the same place. The
// padding is made here, and the hash read from the marshalled state, because
// hash.Hash's Sum copies the state and the padding several times.
func (h *keyedHash) sum(key *keyedHash, n int) {
	block := h.block()
	block[n] = 0x80
	binary.BigEndian.PutUint64(block[sha256.BlockSize-8:], 8*uint64(sha256.BlockSize+n))
	s := sha256.New()
	_ = s.(encoding.BinaryUnmarshaler).UnmarshalBinary(key[:])
	s.Write(block)
	_, _ = s.(encoding.BinaryAppender).AppendBinary(h[:0])
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
