package purse

import (
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"math"

	"kessai"
)

// The labels keep apart what is made with one key: a state never passes for an
// order, and neither for a key.
const (
	labelKey   = "kessai purse key 1\x00"
	labelState = "kessai purse state 1\x00"
	labelOrder = "kessai purse order 1\x00"
)

// MinMasterBytes is the shortest master key that [NewMaster] takes.
const MinMasterBytes = 32

// Master is the key that the keys of all media are derived from. However it is
// printed, it shows as ****.
type Master struct{ key []byte }

// NewMaster takes a master key of at least 32 bytes.
func NewMaster(key []byte) (*Master, error) {
	if len(key) < MinMasterBytes {
		return nil, fmt.Errorf("the master key of the purses has %d bytes; it needs at least %d", len(key), MinMasterBytes)
	}
	return &Master{append([]byte(nil), key...)}, nil
}

// Key derives the key of one medium.
func (m *Master) Key(id kessai.MediumID) Key {
	mac := hmac.New(sha256.New, m.key)
	mac.Write([]byte(labelKey))
	mac.Write(id[:])
	return Key{[32]byte(mac.Sum(nil))}
}

// Format makes every verb of fmt print ****.
func (Master) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("****")) }

// LogValue makes slog print ****.
func (Master) LogValue() slog.Value { return slog.StringValue("****") }

// MarshalText makes encoders print ****.
func (Master) MarshalText() ([]byte, error) { return []byte("****"), nil }

// Key is the key of one medium. However it is printed, it shows as ****.
type Key struct{ key [32]byte }

// ParseKey takes the 32 bytes of a medium's key.
func ParseKey(b []byte) (k Key, err error) {
	if len(b) != len(k.key) {
		return k, fmt.Errorf("the key of a medium has %d bytes, not %d", len(k.key), len(b))
	}
	copy(k.key[:], b)
	return k, nil
}

// Reveal gives the key itself, for the record that a medium is made from.
func (k Key) Reveal() []byte { return append([]byte(nil), k.key[:]...) }

// Format makes every verb of fmt print ****.
func (Key) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("****")) }

// LogValue makes slog print ****.
func (Key) LogValue() slog.Value { return slog.StringValue("****") }

// MarshalText makes encoders print ****.
func (Key) MarshalText() ([]byte, error) { return []byte("****"), nil }

func (k Key) mac(label string, content []byte) [MACSize]byte {
	h := hmac.New(sha256.New, k.key[:])
	h.Write([]byte(label))
	h.Write(content)
	return [MACSize]byte(h.Sum(nil))
}

// SignState puts the MAC into a state.
func (k Key) SignState(s *State) { s.MAC = k.mac(labelState, s.content(nil)) }

// SignOrder puts the MAC into an order.
func (k Key) SignOrder(o *Order) { o.MAC = k.mac(labelOrder, o.content(nil)) }

// VerifyState reports whether the MAC of a state is right, in constant time.
func (k Key) VerifyState(s *State) bool {
	want := k.mac(labelState, s.content(nil))
	return hmac.Equal(want[:], s.MAC[:])
}

// VerifyOrder reports whether the MAC of an order is right, in constant time.
func (k Key) VerifyOrder(o *Order) bool {
	want := k.mac(labelOrder, o.content(nil))
	return hmac.Equal(want[:], o.MAC[:])
}

// The reasons why a medium does not take an order.
var (
	ErrOtherMedium = errors.New("the order is for another medium")
	ErrDead        = errors.New("the order is for an earlier state of the medium")
	ErrSum         = errors.New("the order's amount does not lead to its balance")
)

// Write gives the state of a medium after it has taken an order, or the reason
// why it does not take it: then nothing on it changes. A medium keeps the new
// state in one step, whole or not at all, before it answers with it.
func (k Key) Write(s State, o *Order) (State, error) {
	if !k.VerifyOrder(o) {
		return s, ErrMAC
	}
	if o.Medium != s.Medium || o.Currency != s.Currency {
		return s, ErrOtherMedium
	}
	if o.Counter != s.Counter || s.Counter == math.MaxUint32 {
		return s, ErrDead
	}
	after := s.Balance - o.Amount
	if o.Operation == Load {
		after = s.Balance + o.Amount
	}
	if after != o.Balance || after < 0 || after > kessai.MaxAmount {
		return s, ErrSum
	}
	return k.next(s, after, o.Transaction), nil
}

// Read gives the state that a medium says when it is read: its counter goes up,
// so that an order for the state before can never be written any more. A medium
// keeps it before it says it. A counter at its end stays there.
func (k Key) Read(s State) State { return k.next(s, s.Balance, s.Last) }

func (k Key) next(s State, balance int64, last kessai.TxID) State {
	if s.Counter < math.MaxUint32 {
		s.Counter++
	}
	s.Balance, s.Last = balance, last
	k.SignState(&s)
	return s
}
