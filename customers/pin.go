package customers

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"

	"kessai"
)

// The length of a PIN in digits (ISO 9564-1).
const (
	MinPIN = 4
	MaxPIN = 12
)

// ErrPIN says that a text is no PIN. It never repeats the text.
var ErrPIN = errors.New("pin must be 4 to 12 digits")

// CheckPIN says what is wrong with a PIN; nil for nothing.
func CheckPIN[T ~string | ~[]byte](pin T) error {
	if len(pin) < MinPIN || len(pin) > MaxPIN {
		return ErrPIN
	}
	for i := range len(pin) {
		if pin[i] < '0' || pin[i] > '9' {
			return ErrPIN
		}
	}
	return nil
}

// PINVerifier is what a card's PIN is checked against: the first 16 bytes of
// HMAC-SHA-256 over the medium's ID and the PIN's digits. A PIN has so few values
// that whoever has the key too finds it at once, so it prints as **** however it is
// printed. The zero value stands for no PIN.
type PINVerifier [16]byte

// IsZero reports whether there is no PIN.
func (v PINVerifier) IsZero() bool { return v == PINVerifier{} }

func (v PINVerifier) mask() string {
	if v.IsZero() {
		return ""
	}
	return "****"
}

// Format makes every verb of fmt print ****.
func (v PINVerifier) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(v.mask())) }

// LogValue makes slog print ****.
func (v PINVerifier) LogValue() slog.Value { return slog.StringValue(v.mask()) }

// MarshalText makes encoders print ****.
func (v PINVerifier) MarshalText() ([]byte, error) { return []byte(v.mask()), nil }

// PINKey is the key of [PINVerifier]. It lies outside the store, as that of card
// numbers does, and cannot be printed. It may be used from many goroutines at once.
type PINKey struct{ key [sha256.Size]byte }

// NewPINKey derives the key from the one that card numbers are hashed with, of at
// least 32 bytes (HKDF, SHA-256).
func NewPINKey(panKey []byte) (*PINKey, error) {
	if len(panKey) < kessai.MinKeyBytes {
		return nil, fmt.Errorf("the key that card numbers are hashed with has %d bytes; it needs at least %d", len(panKey), kessai.MinKeyBytes)
	}
	b, err := hkdf.Key(sha256.New, panKey, nil, "kessai card pin", sha256.Size)
	if err != nil {
		return nil, err
	}
	return &PINKey{[sha256.Size]byte(b)}, nil
}

// Verifier makes the verifier of a medium's PIN, which is as [CheckPIN] wants it.
func (k *PINKey) Verifier(m kessai.MediumID, pin []byte) (v PINVerifier) {
	mac := hmac.New(sha256.New, k.key[:])
	mac.Write(m[:])
	mac.Write(pin)
	copy(v[:], mac.Sum(nil))
	// The hash keeps the last block that it read, which has the PIN, until the memory
	// is used for something else: another block takes its place.
	mac.Write(make([]byte, 2*sha256.BlockSize))
	return v
}

// Check reports whether it is the medium's PIN; false where the medium has none.
// How long it takes tells nothing but the number of digits.
func (k *PINKey) Check(v PINVerifier, m kessai.MediumID, pin []byte) bool {
	made := k.Verifier(m, pin)
	return hmac.Equal(made[:], v[:]) && !v.IsZero()
}

// Format keeps the key out of whatever is printed.
func (PINKey) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("****")) }

// LogValue makes slog print ****.
func (PINKey) LogValue() slog.Value { return slog.StringValue("****") }

// MarshalText keeps the key out of whatever is encoded.
func (PINKey) MarshalText() ([]byte, error) { return []byte("****"), nil }
