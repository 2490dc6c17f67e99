package tether

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"kessai"
)

// Offer is what a reader gets for one payment: what is to be paid, and the public key
// that card and PIN are sealed with. The gateway signs it ([OfferToSign]).
type Offer struct {
	Suite     Suite
	ID        kessai.TxID
	Merchant  kessai.MerchantID
	Shop      string // its name, 1 to 80 characters
	Amount    kessai.Amount
	Reader    kessai.ReaderID
	CardFor   uint16 // how long the card may take, in seconds, 1 to 3600
	PINFor    uint16 // how long the PIN may take, in seconds, 1 to 3600
	PublicKey []byte // [Suite.PublicSize] bytes
}

const (
	maxID      = 999_999_999_999
	maxShop    = 80 // characters
	maxSeconds = 3600

	// MaxOffer is the length of the longest offer, in bytes.
	MaxOffer = 1 + 1 + 8 + 2 + 15 + 2 + 4*maxShop + 8 + 6 + 8 + 2 + 2 + 2 + publicHybrid
)

// ErrOffer is in every error about an offer.
var ErrOffer = errors.New("bad offer")

func badOffer(what string) error { return fmt.Errorf("%w: %s", ErrOffer, what) }

// Encode gives the one encoding of the offer. It refuses what no reader may be shown.
func (o *Offer) Encode() ([]byte, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	b := make([]byte, 0, 128+len(o.Shop)+len(o.PublicKey))
	b = append(b, Version, byte(o.Suite))
	b = binary.BigEndian.AppendUint64(b, uint64(o.ID))
	b = appendField(b, o.Merchant.String())
	b = appendField(b, o.Shop)
	b = binary.BigEndian.AppendUint64(b, uint64(o.Amount.Value))
	b = appendCurrency(b, o.Amount.Currency)
	b = append(b, o.Reader[:]...)
	b = binary.BigEndian.AppendUint16(b, o.CardFor)
	b = binary.BigEndian.AppendUint16(b, o.PINFor)
	return appendField(b, o.PublicKey), nil
}

// appendCurrency writes a currency so that a reader needs no table of them: its
// number, its letters and its decimals.
func appendCurrency(b []byte, c kessai.Currency) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(c))
	b = append(b, c.String()...)
	return append(b, byte(c.Exponent()))
}

// check says what of an offer cannot be.
func (o *Offer) check() error {
	kem, _, _, ok := o.Suite.HPKE()
	switch {
	case !ok:
		return badOffer("the suite is not one that there is")
	case o.ID == 0 || o.ID > maxID:
		return badOffer("the transaction's number is zero or has more than twelve digits")
	case o.Merchant.IsZero():
		return badOffer("there is no merchant")
	case o.Amount.Value < 1 || o.Amount.Value > kessai.MaxAmount || !o.Amount.Currency.Known():
		return badOffer("the amount is not 1 to 999999999999 minor units of a currency of ISO 4217")
	case o.CardFor < 1 || o.CardFor > maxSeconds || o.PINFor < 1 || o.PINFor > maxSeconds:
		return badOffer("a time is not 1 to 3600 seconds")
	case len(o.PublicKey) != o.Suite.PublicSize():
		return badOffer("the public key has not the length of its suite")
	}
	if _, err := kem.NewPublicKey(o.PublicKey); err != nil {
		return badOffer("the public key is none of its suite")
	}
	return checkText("the shop's name", o.Shop, maxShop)
}

// checkText refuses texts that a display cannot show: no UTF-8, or controls. What a
// customer signs on the phone is judged more strictly (pos/sale).
func checkText(what, s string, most int) error {
	if n := utf8.RuneCountInString(s); n < 1 || n > most || !utf8.ValidString(s) {
		return badOffer(fmt.Sprintf("%s must be UTF-8 of 1 to %d characters", what, most))
	}
	if hasControl(s) {
		return badOffer(what + " has control characters")
	}
	return nil
}

func hasControl(s string) bool {
	return strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c >= 0x7f && c <= 0x9f })
}

// DecodeOffer reads an offer. It refuses whatever [Offer.Encode] would not have
// written; a signature is not looked at.
func DecodeOffer(b []byte) (*Offer, error) {
	if len(b) > MaxOffer {
		return nil, badOffer("it is too long")
	}
	r := reader{b: b}
	if r.byte() != Version {
		return nil, badOffer("it does not begin as this version does")
	}
	o := &Offer{Suite: Suite(r.byte()), ID: kessai.TxID(r.uint64())}
	merchant := r.field()
	o.Shop = string(r.field())
	o.Amount = kessai.Amount{Value: int64(r.uint64())}
	o.Amount.Currency = r.currency()
	o.Reader = kessai.ReaderID(r.take(8))
	o.CardFor, o.PINFor = r.uint16(), r.uint16()
	o.PublicKey = append([]byte(nil), r.field()...)
	if !r.done() {
		return nil, badOffer("a field is missing, cut off, or not in its one form")
	}
	var err error
	if o.Merchant, err = kessai.ParseMerchantID(merchant); err != nil || o.Merchant.String() != string(merchant) {
		return nil, badOffer("the merchant is not 1 to 15 printable characters")
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	return o, nil
}

// The labels keep what is signed, sealed and authenticated apart from each other and
// from whatever else may be.
const (
	labelOffer    = "kessai reader offer v1\x00"
	labelSeal     = "kessai reader seal v1\x00"
	labelSealed   = "kessai reader sealed v1\x00"
	labelEnrol    = "kessai reader enrol v1\x00"
	labelEnrolMAC = "kessai reader enrol mac v1\x00"
	labelEnrolled = "kessai reader enrolled v1\x00"
)

// OfferToSign gives what the gateway signs with its Ed25519 key: label, offer.
func OfferToSign(offer []byte) []byte { return append([]byte(labelOffer), offer...) }

// OfferHash gives the SHA-256 of an offer as it is encoded.
func OfferHash(offer []byte) [32]byte { return sha256.Sum256(offer) }

// Info gives HPKE's info for one step: label, step, offer. So a sealed message can be
// opened for this transaction, amount, reader, key and step only.
func Info(step Step, offer []byte) []byte {
	b := make([]byte, 0, len(labelSeal)+1+len(offer))
	b = append(append(b, labelSeal...), byte(step))
	return append(b, offer...)
}
