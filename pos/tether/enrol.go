package tether

import (
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"

	"kessai"
)

// CodeDigits is how many decimal digits an enrolment code has.
const CodeDigits = 24

// MaxName is how many bytes a reader's name has at most.
const MaxName = 32

// The errors of enrolment. None repeats the code.
var (
	ErrCode  = errors.New("an enrolment code has 24 digits; spaces and hyphens between them do not count")
	ErrEnrol = errors.New("bad enrolment message")
)

const (
	labelEnrolKey = "kessai reader enrolment v1"
	enrolledSize  = 1 + 32 + 8 + 32
	maxEnrol      = 1 + 32 + 16 + 2 + MaxName + 64 + 32
)

// EnrolKey derives the key of 32 bytes that both sides prove to know from the code
// that the customer typed.
func EnrolKey(code string) ([]byte, error) {
	var digits []byte
	for _, c := range []byte(code) {
		switch {
		case c >= '0' && c <= '9' && len(digits) < CodeDigits:
			digits = append(digits, c)
		case c != ' ' && c != '-':
			return nil, ErrCode
		}
	}
	defer clear(digits)
	if len(digits) != CodeDigits {
		return nil, ErrCode
	}
	return hkdf.Key(sha256.New, digits, nil, labelEnrolKey, 32)
}

// Enrol is what a reader says to become a customer's: who it is, that it has the key
// it names, and that it was told the code.
type Enrol struct {
	Key       ed25519.PublicKey
	Name      string // for people, 1 to 32 bytes of UTF-8
	Nonce     [16]byte
	Signature [64]byte
	MAC       [32]byte
}

// NewEnrol makes the message of a reader. k is what [EnrolKey] gives.
func NewEnrol(key ed25519.PrivateKey, name string, k []byte) (*Enrol, error) {
	if len(key) != ed25519.PrivateKeySize {
		return nil, fmt.Errorf("%w: the reader has no key", ErrEnrol)
	}
	e := &Enrol{Key: key.Public().(ed25519.PublicKey), Name: name}
	if err := e.check(); err != nil {
		return nil, err
	}
	_, _ = rand.Read(e.Nonce[:]) // never fails
	copy(e.Signature[:], ed25519.Sign(key, e.toSign()))
	copy(e.MAC[:], e.mac(k))
	return e, nil
}

// Reader gives the ID that follows from the reader's key.
func (e *Enrol) Reader() kessai.ReaderID { return kessai.ReaderIDOf(e.Key) }

// Check reports whether the reader has the key that it names and knows the code.
func (e *Enrol) Check(k []byte) bool {
	return hmac.Equal(e.mac(k), e.MAC[:]) && verify(e.Key, e.toSign(), e.Signature[:])
}

func (e *Enrol) check() error {
	if len(e.Key) != ed25519.PublicKeySize {
		return fmt.Errorf("%w: the reader's key has not 32 bytes", ErrEnrol)
	}
	if smallOrder(e.Key) {
		return fmt.Errorf("%w: the reader's key is one under which anybody can sign", ErrEnrol)
	}
	if len(e.Name) < 1 || len(e.Name) > MaxName || !utf8.ValidString(e.Name) || hasControl(e.Name) {
		return fmt.Errorf("%w: the name must be 1 to %d bytes of UTF-8 without control characters", ErrEnrol, MaxName)
	}
	return nil
}

// smallOrder reports whether a key is a point whose order is 8 or less, in any
// encoding: under such a key there are signatures that fit every message, and RFC 8032
// does not refuse them.
func smallOrder(key []byte) bool {
	y := [32]byte(key)
	y[31] &= 0x7f // the sign of x
	return slices.Contains(smallPoints, y)
}

// smallPoints are the y coordinates of those points, lowest byte first: 0, 1, -1, the
// two of order 8, and the two that are not reduced by the prime.
var smallPoints = func() (all [][32]byte) {
	for _, s := range [...]string{
		"0000000000000000000000000000000000000000000000000000000000000000",
		"0100000000000000000000000000000000000000000000000000000000000000",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	} {
		b, _ := hex.DecodeString(s)
		all = append(all, [32]byte(b))
	}
	return all
}()

// content is everything before the signature.
func (e *Enrol) content(b []byte) []byte {
	b = append(append(append(b, Version), e.Key...), e.Nonce[:]...)
	return appendField(b, e.Name)
}

func (e *Enrol) toSign() []byte { return e.content([]byte(labelEnrol)) }

func (e *Enrol) mac(k []byte) []byte {
	return mac(k, append(e.content([]byte(labelEnrolMAC)), e.Signature[:]...))
}

func mac(k, message []byte) []byte {
	h := hmac.New(sha256.New, k)
	h.Write(message)
	return h.Sum(nil)
}

// Encode gives the one encoding of the message.
func (e *Enrol) Encode() ([]byte, error) {
	if err := e.check(); err != nil {
		return nil, err
	}
	b := append(e.content(nil), e.Signature[:]...)
	return append(b, e.MAC[:]...), nil
}

// DecodeEnrol reads what [Enrol.Encode] gives, and refuses anything else. Whether it
// is true is for [Enrol.Check] to say.
func DecodeEnrol(b []byte) (*Enrol, error) {
	r := reader{b: b}
	version := r.byte()
	e := &Enrol{Key: append(ed25519.PublicKey(nil), r.take(32)...), Nonce: [16]byte(r.take(16)), Name: string(r.field())}
	e.Signature, e.MAC = [64]byte(r.take(64)), [32]byte(r.take(32))
	if !r.done() || len(b) > maxEnrol || version != Version {
		return nil, fmt.Errorf("%w: it is cut off, too long or of another version", ErrEnrol)
	}
	return e, e.check()
}

// Enrolled is the gateway's answer: the key that it signs offers with, which the
// reader keeps and believes from then on.
type Enrolled struct {
	Gateway ed25519.PublicKey
	Reader  kessai.ReaderID
	MAC     [32]byte
}

// NewEnrolled makes the answer to a message that [Enrol.Check] found right.
func NewEnrolled(e *Enrol, gateway ed25519.PublicKey, k []byte) *Enrolled {
	d := &Enrolled{Gateway: gateway, Reader: e.Reader()}
	copy(d.MAC[:], d.mac(e, k))
	return d
}

// Check reports whether this answers the reader's own message, and comes from one who
// knows the code.
func (d *Enrolled) Check(e *Enrol, k []byte) bool {
	return len(d.Gateway) == ed25519.PublicKeySize && d.Reader == e.Reader() && hmac.Equal(d.mac(e, k), d.MAC[:])
}

func (d *Enrolled) mac(e *Enrol, k []byte) []byte {
	b := append([]byte(labelEnrolled), e.Nonce[:]...)
	b = append(append(b, e.Key...), d.Gateway...)
	return mac(k, append(b, d.Reader[:]...))
}

// Encode gives the one encoding of the answer.
func (d *Enrolled) Encode() ([]byte, error) {
	if len(d.Gateway) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("%w: the gateway's key has not 32 bytes", ErrEnrol)
	}
	b := append([]byte{Version}, d.Gateway...)
	b = append(b, d.Reader[:]...)
	return append(b, d.MAC[:]...), nil
}

// DecodeEnrolled reads what [Enrolled.Encode] gives, and refuses anything else.
func DecodeEnrolled(b []byte) (*Enrolled, error) {
	if len(b) != enrolledSize || b[0] != Version {
		return nil, fmt.Errorf("%w: the answer is cut off, too long or of another version", ErrEnrol)
	}
	return &Enrolled{
		Gateway: append(ed25519.PublicKey(nil), b[1:33]...),
		Reader:  kessai.ReaderID(b[33:41]),
		MAC:     [32]byte(b[41:]),
	}, nil
}
