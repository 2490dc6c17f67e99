package tether

import (
	"crypto/ecdh"
	"crypto/hpke"
)

// Version is the first byte of everything in this package that has a version.
const Version = 1

// Suite is how the messages of one payment are sealed (RFC 9180). The numbers go over
// the wire, so they never change meaning.
type Suite uint8

// The suites.
const (
	SuiteP256   Suite = 1 // DHKEM(P-256, HKDF-SHA256), HKDF-SHA256, AES-256-GCM
	SuiteHybrid Suite = 2 // MLKEM768-X25519 (X-Wing), HKDF-SHA256, AES-256-GCM
)

// HPKE gives the three parts of the suite; ok is false for a suite that is not known.
func (s Suite) HPKE() (kem hpke.KEM, kdf hpke.KDF, aead hpke.AEAD, ok bool) {
	switch s {
	case SuiteP256:
		kem = hpke.DHKEM(ecdh.P256())
	case SuiteHybrid:
		kem = hpke.MLKEM768X25519()
	default:
		return nil, nil, nil, false
	}
	return kem, hpke.HKDFSHA256(), hpke.AES256GCM(), true
}

// The lengths of public keys and of encapsulated keys, in bytes.
const (
	publicP256, encP256     = 65, 65
	publicHybrid, encHybrid = 1216, 1120
)

// PublicSize gives the length of a public key in bytes; 0 for an unknown suite.
func (s Suite) PublicSize() int { return s.pick(publicP256, publicHybrid) }

// SealedSize gives the length of a sealed message in bytes: encapsulated key, message
// and tag. It is the same for every card and every PIN; 0 for what is not known.
func (s Suite) SealedSize(step Step) int {
	enc := s.pick(encP256, encHybrid)
	switch {
	case enc == 0:
		return 0
	case step == StepCard:
		return enc + CardSize + tagSize
	case step == StepPIN:
		return enc + PINSize + tagSize
	}
	return 0
}

func (s Suite) pick(p256, hybrid int) int {
	switch s {
	case SuiteP256:
		return p256
	case SuiteHybrid:
		return hybrid
	}
	return 0
}

const (
	nameP256   = "p256"
	nameHybrid = "mlkem768-x25519"
)

func (s Suite) String() string {
	switch s {
	case SuiteP256:
		return nameP256
	case SuiteHybrid:
		return nameHybrid
	}
	return "unknown"
}

// ParseSuite reads what [Suite.String] gives: p256 or mlkem768-x25519.
func ParseSuite(s string) (Suite, bool) {
	switch s {
	case nameP256:
		return SuiteP256, true
	case nameHybrid:
		return SuiteHybrid, true
	}
	return 0, false
}

// Step is what a sealed message is for.
type Step uint8

// The steps. Zero is none.
const (
	StepCard Step = 1
	StepPIN  Step = 2
)

func (s Step) String() string {
	switch s {
	case StepCard:
		return "card"
	case StepPIN:
		return "pin"
	}
	return "none"
}
