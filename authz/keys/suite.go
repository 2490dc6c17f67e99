package keys

import (
	"crypto/ecdh"
	"crypto/hpke"
	"crypto/mlkem"
	"crypto/rand"
	"crypto/sha3"
	"errors"
	"fmt"
)

// Sizes in bytes. Both kinds of private half are as large: the scalar of P-256, and
// the seed that ML-KEM's and X25519's private halves are expanded from.
const (
	privateSize  = 32
	exportedSize = 16
	tagSize      = 16 // of AES-GCM and ChaCha20-Poly1305
)

// suite is one way to seal. Between two uses a private half is privateSize bytes;
// the standard library's forms of it are made for each use and overwritten after it.
type suite struct {
	kdf       hpke.KDF
	aead      hpke.AEAD
	hybrid    bool
	encSize   int // of the encapsulated key, which ends with a point of the curve
	pointSize int
}

func newSuite(kem hpke.KEM, kdf hpke.KDF, aead hpke.AEAD) (*suite, error) {
	if kem == nil || kdf == nil || aead == nil {
		return nil, errors.New("a keeper of keys needs a KEM, a KDF and an AEAD")
	}
	s := &suite{kdf: kdf, aead: aead}
	switch kem.ID() {
	case hpke.DHKEM(ecdh.P256()).ID():
		s.encSize, s.pointSize = 65, 65
	case hpke.MLKEM768X25519().ID():
		s.hybrid, s.encSize, s.pointSize = true, mlkem.CiphertextSize768+32, 32
	default:
		return nil, fmt.Errorf("keys of KEM %#04x cannot be issued; P-256 (0x0010) and MLKEM768-X25519 (0x647a) can", kem.ID())
	}
	return s, s.proven()
}

// pair is a private half in the forms that the standard library needs.
type pair struct {
	hpke  hpke.PrivateKey
	curve exchanger
	mlkem *mlkem.DecapsulationKey768 // nil but with the hybrid
}

// exchanger agrees on a secret and never fails, so that a point that is no good (of
// a low order) is refused no earlier than anything else.
type exchanger struct {
	*ecdh.PrivateKey
	secret []byte
	bad    bool
}

func (e *exchanger) ECDH(p *ecdh.PublicKey) (secret []byte, err error) {
	if e.secret, err = e.PrivateKey.ECDH(p); err != nil {
		e.secret, e.bad = make([]byte, 32), true
	}
	return e.secret, nil
}

// pair gives nil when private is not below the order of P-256. The caller wipes it.
//
// hpke.KEM.NewPrivateKey would do for the hybrid, but it leaves the expanded seeds
// behind where nobody can overwrite them.
func (s *suite) pair(private *[privateSize]byte) *pair {
	p := new(pair)
	var err error
	if !s.hybrid {
		if p.curve.PrivateKey, err = ecdh.P256().NewPrivateKey(private[:]); err != nil {
			return nil
		}
		p.hpke, err = hpke.NewDHKEMPrivateKey(&p.curve)
	} else {
		var seeds [mlkem.SeedSize + 32]byte
		expand(private, &seeds)
		p.mlkem, _ = mlkem.NewDecapsulationKey768(seeds[:mlkem.SeedSize])
		p.curve.PrivateKey, _ = ecdh.X25519().NewPrivateKey(seeds[mlkem.SeedSize:])
		clear(seeds[:])
		p.hpke, err = hpke.NewHybridPrivateKey(p.mlkem, &p.curve)
	}
	if err != nil {
		p.wipe()
		return nil
	}
	return p
}

// expand is the key expansion of MLKEM768-X25519 (draft-ietf-hpke-pq).
func expand(private *[privateSize]byte, seeds *[mlkem.SeedSize + 32]byte) {
	x := sha3.NewSHAKE256()
	_, _ = x.Write(private[:])
	_, _ = x.Read(seeds[:])
	x.Reset() // its state could be turned back into the seed
}

// generate draws a private half and gives the public one.
func (s *suite) generate(private *[privateSize]byte) ([]byte, error) {
	for range 8 { // one of 2^32 is not below the order of P-256
		if _, err := rand.Read(private[:]); err != nil {
			return nil, err
		}
		if p := s.pair(private); p != nil {
			public := p.hpke.PublicKey().Bytes()
			p.wipe()
			return public, nil
		}
	}
	return nil, errors.New("no private key could be drawn; the system's random numbers are not random")
}

// opened is a sealed message after its opening. Without ok the rest is worth nothing.
type opened struct {
	ok              bool
	plain, exported []byte
}

func (o *opened) wipe() {
	clear(o.plain)
	clear(o.exported)
}

// open takes the same steps whatever is wrong with the message.
func (s *suite) open(private *[privateSize]byte, info, sealed []byte, exportContext string) (o opened) {
	p := s.pair(private)
	if p == nil {
		return o
	}
	defer p.wipe()
	enc, ciphertext, good := s.split(sealed, p)
	r, err := hpke.NewRecipient(enc, p.hpke, s.kdf, s.aead, info)
	if err != nil {
		return o
	}
	var notOpened, notExported error
	o.plain, notOpened = r.Open(nil, ciphertext)
	o.exported, notExported = r.Export(exportContext, exportedSize)
	o.ok = good && !p.curve.bad && notOpened == nil && notExported == nil
	return o
}

// split parts a sealed message. What cannot be used is replaced by what can.
func (s *suite) split(sealed []byte, p *pair) (enc, ciphertext []byte, good bool) {
	enc, ciphertext = make([]byte, s.encSize), make([]byte, tagSize)
	if good = len(sealed) >= s.encSize+tagSize; good {
		copy(enc, sealed)
		ciphertext = sealed[s.encSize:]
	}
	point := enc[s.encSize-s.pointSize:]
	if _, err := p.curve.Curve().NewPublicKey(point); err != nil {
		copy(point, p.curve.PublicKey().Bytes())
		good = false
	}
	return enc, ciphertext, good
}
