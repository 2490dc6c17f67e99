package customers

import (
	"encoding/base64"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
)

// The bounds of a [Verifier]. The least number of iterations is that of RFC 7677.
const (
	MinIterations = 4096
	MaxIterations = 10_000_000
	MinSalt       = 8 // bytes
	MaxSalt       = 32
)

// Verifier is what a password is checked against: a credential of SCRAM-SHA-256
// (RFC 5802, RFC 7677). The password cannot be read from it, but it can be guessed
// at with it, so it prints as **** however it is printed. The zero value stands
// for no password.
type Verifier struct {
	iterations        uint32
	salt              string
	storedKey, server [32]byte
}

// ErrVerifier says that a text is no verifier. It never repeats the text.
var ErrVerifier = fmt.Errorf("verifier must be SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>, with %d to %d iterations, a salt of %d to %d bytes, keys of 32 bytes, and all three in base64",
	MinIterations, MaxIterations, MinSalt, MaxSalt)

// NewVerifier makes a verifier of its parts.
func NewVerifier(iterations int, salt []byte, storedKey, serverKey [32]byte) (Verifier, error) {
	if iterations < MinIterations || iterations > MaxIterations || len(salt) < MinSalt || len(salt) > MaxSalt {
		return Verifier{}, ErrVerifier
	}
	return Verifier{uint32(iterations), string(salt), storedKey, serverKey}, nil
}

const verifierScheme = "SCRAM-SHA-256$"

// ParseVerifier reads the form of RFC 5803, which is that of PostgreSQL:
// SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>. It takes what
// [Verifier.Reveal] gives and nothing else.
func ParseVerifier(text string) (Verifier, error) {
	rest, ok := strings.CutPrefix(text, verifierScheme)
	begin, keys, ok2 := strings.Cut(rest, "$")
	count, salt64, ok3 := strings.Cut(begin, ":")
	stored64, server64, ok4 := strings.Cut(keys, ":")
	iterations, err := strconv.ParseUint(count, 10, 31)
	salt, err2 := base64.StdEncoding.DecodeString(salt64)
	var stored, server [32]byte
	if !ok || !ok2 || !ok3 || !ok4 || err != nil || err2 != nil || !decodeKey(&stored, stored64) || !decodeKey(&server, server64) {
		return Verifier{}, ErrVerifier
	}
	v, err := NewVerifier(int(iterations), salt, stored, server)
	if err == nil && v.Reveal() != text { // leading zeros, line breaks in the base64
		return Verifier{}, ErrVerifier
	}
	return v, err
}

func decodeKey(key *[32]byte, text string) bool {
	b, err := base64.StdEncoding.DecodeString(text)
	return err == nil && copy(key[:], b) == len(key) && len(b) == len(key)
}

// Reveal gives the text itself, for the one place that needs it; empty where there
// is no password.
func (v Verifier) Reveal() string {
	if v.IsZero() {
		return ""
	}
	b64 := base64.StdEncoding.EncodeToString
	return verifierScheme + strconv.Itoa(v.Iterations()) + ":" + b64([]byte(v.salt)) + "$" + b64(v.storedKey[:]) + ":" + b64(v.server[:])
}

// IsZero reports whether there is no password.
func (v Verifier) IsZero() bool { return v.iterations == 0 }

// Equal reports whether two verifiers are the same.
func (v Verifier) Equal(o Verifier) bool { return v == o }

// Iterations gives how often PBKDF2 hashes.
func (v Verifier) Iterations() int { return int(v.iterations) }

// Salt gives the salt, which is no secret.
func (v Verifier) Salt() []byte { return []byte(v.salt) }

// StoredKey gives SHA-256(ClientKey).
func (v Verifier) StoredKey() [32]byte { return v.storedKey }

// ServerKey gives the key that the server shows that it knows.
func (v Verifier) ServerKey() [32]byte { return v.server }

func (v Verifier) mask() string {
	if v.IsZero() {
		return ""
	}
	return "****"
}

// Format makes every verb of fmt print ****.
func (v Verifier) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(v.mask())) }

// LogValue makes slog print ****.
func (v Verifier) LogValue() slog.Value { return slog.StringValue(v.mask()) }

// MarshalText makes encoders print ****.
func (v Verifier) MarshalText() ([]byte, error) { return []byte(v.mask()), nil }

func (v Verifier) validate() error {
	if v.IsZero() {
		if v != (Verifier{}) {
			return ErrVerifier
		}
		return nil
	}
	_, err := NewVerifier(v.Iterations(), []byte(v.salt), v.storedKey, v.server)
	return err
}
