package tether

import (
	"crypto/ed25519"
	"crypto/hpke"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"kessai"
	"kessai/pos/card"
)

// The lengths of what is sealed, in bytes. Card data is padded, so that its length
// does not tell one card from another.
const (
	CardSize = 512
	PINSize  = 16
	tagSize  = 16 // of AES-256-GCM

	// MaxCardData is the longest card data.
	MaxCardData = CardSize - 3
	// MaxSealed is the longest sealed message.
	MaxSealed = encHybrid + CardSize + tagSize
)

// PINKeyContext is the context of the 16 bytes that HPKE exports beside the sealed
// PIN: the AES key of its block.
const PINKeyContext = "kessai reader pin v1"

// CardKind says how card data is written. The numbers go over the wire.
type CardKind uint8

// The kinds of card data.
const (
	CardTrack2 CardKind = 1 // [card.ParseTrack2]
	CardEMV    CardKind = 2 // [card.ParseEMV]
)

// ErrPadding says that card data is not as [PadCard] writes it. It never repeats it.
var ErrPadding = errors.New("card data is not in its one form: kind, length, 1 to 509 bytes, zeros up to 512")

// PadCard writes card data as it is sealed: kind, length, data, zeros up to 512 bytes.
func PadCard(kind CardKind, data []byte) ([]byte, error) {
	if kind != CardTrack2 && kind != CardEMV || len(data) < 1 || len(data) > MaxCardData {
		return nil, ErrPadding
	}
	b := make([]byte, CardSize)
	b[0] = byte(kind)
	binary.BigEndian.PutUint16(b[1:], uint16(len(data)))
	copy(b[3:], data)
	return b, nil
}

// UnpadCard reads what [PadCard] writes, and refuses anything else. data lies in b.
func UnpadCard(b []byte) (kind CardKind, data []byte, err error) {
	if len(b) != CardSize {
		return 0, nil, ErrPadding
	}
	n := int(binary.BigEndian.Uint16(b[1:]))
	kind = CardKind(b[0])
	if kind != CardTrack2 && kind != CardEMV || n < 1 || n > MaxCardData {
		return 0, nil, ErrPadding
	}
	rest := byte(0)
	for _, c := range b[3+n:] {
		rest |= c
	}
	if rest != 0 {
		return 0, nil, ErrPadding
	}
	return kind, b[3 : 3+n : 3+n], nil
}

// ParseCard reads a card from what [PadCard] wrote. The errors are [ErrPadding] and
// [card.ErrCard].
func ParseCard(b []byte) (card.Card, error) {
	kind, data, err := UnpadCard(b)
	switch {
	case err != nil:
		return card.Card{}, err
	case kind == CardTrack2:
		return card.ParseTrack2(data)
	}
	return card.ParseEMV(data)
}

// SealCard seals card data for the key in an offer, as a reader does it. offer is the
// offer as it was received, whose signature has been checked.
func SealCard(offer []byte, kind CardKind, data []byte) ([]byte, error) {
	b, err := PadCard(kind, data)
	if err != nil {
		return nil, err
	}
	defer clear(b)
	enc, sender, err := newSender(StepCard, offer)
	if err != nil {
		return nil, err
	}
	return seal(enc, sender, b)
}

// SealPIN seals a PIN for the key in an offer, as a reader does it: a PIN block under
// a key that HPKE exports from the same context.
func SealPIN(offer []byte, pan kessai.PAN, pin kessai.Secret) ([]byte, error) {
	enc, sender, err := newSender(StepPIN, offer)
	if err != nil {
		return nil, err
	}
	key, err := sender.Export(PINKeyContext, 16)
	if err != nil {
		return nil, fmt.Errorf("no key for the PIN block: %w", err)
	}
	defer clear(key)
	var random [8]byte
	_, _ = rand.Read(random[:]) // never fails
	block, err := card.PINBlock([16]byte(key), pan, pin, random)
	if err != nil {
		return nil, err
	}
	defer clear(block[:])
	return seal(enc, sender, block[:])
}

func newSender(step Step, offer []byte) ([]byte, *hpke.Sender, error) {
	o, err := DecodeOffer(offer)
	if err != nil {
		return nil, nil, err
	}
	kem, kdf, aead, _ := o.Suite.HPKE()
	key, err := kem.NewPublicKey(o.PublicKey)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: its public key: %w", ErrOffer, err)
	}
	enc, sender, err := hpke.NewSender(key, kdf, aead, Info(step, offer))
	if err != nil {
		return nil, nil, fmt.Errorf("cannot seal for this key: %w", err)
	}
	return enc, sender, nil
}

func seal(enc []byte, sender *hpke.Sender, plain []byte) ([]byte, error) {
	ciphertext, err := sender.Seal(nil, plain)
	if err != nil {
		return nil, fmt.Errorf("cannot seal: %w", err)
	}
	return append(enc, ciphertext...), nil
}

// SealedToSign gives what a reader signs with its Ed25519 key: label, step, the SHA-256
// of the offer and that of the sealed message.
func SealedToSign(step Step, offerHash, sealedHash [32]byte) []byte {
	b := append([]byte(labelSealed), byte(step))
	return append(append(b, offerHash[:]...), sealedHash[:]...)
}

// SignSealed gives a reader's signature of a sealed message.
func SignSealed(key ed25519.PrivateKey, step Step, offer, sealed []byte) []byte {
	return ed25519.Sign(key, SealedToSign(step, sha256.Sum256(offer), sha256.Sum256(sealed)))
}

// CheckSealed reports whether a reader signed a sealed message for this offer and step.
func CheckSealed(key ed25519.PublicKey, step Step, offer, sealed, signature []byte) bool {
	return verify(key, SealedToSign(step, sha256.Sum256(offer), sha256.Sum256(sealed)), signature)
}

// CheckOffer reports whether a gateway signed an offer.
func CheckOffer(gateway ed25519.PublicKey, offer, signature []byte) bool {
	return verify(gateway, OfferToSign(offer), signature)
}

// verify is ed25519.Verify without its panic for a key of the wrong length.
func verify(key ed25519.PublicKey, message, signature []byte) bool {
	return len(key) == ed25519.PublicKeySize && ed25519.Verify(key, message, signature)
}
