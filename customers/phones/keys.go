package phones

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"kessai"
	"kessai/customers"
	"kessai/pos/tether"
)

// Keys are what the gateway derives from its one key for phones (phone.key): the
// codes of claims and receipts, the numbers that customers compare, and what
// evidence is sealed with. They cannot be printed.
type Keys struct {
	claim, number, receipt, fake, handle []byte
	evidence, enrolment                  cipher.AEAD
	offers                               ed25519.PrivateKey
}

// NewKeys derives the keys from a secret of at least 32 bytes (HKDF, SHA-256).
func NewKeys(secret []byte) (*Keys, error) {
	if len(secret) < kessai.MinKeyBytes {
		return nil, fmt.Errorf("the key has %d bytes; it needs at least %d", len(secret), kessai.MinKeyBytes)
	}
	k := new(Keys)
	var evidence, enrolment, offers []byte
	for _, sub := range []struct {
		into  *[]byte
		label string
	}{
		{&k.claim, "claim"}, {&k.number, "number"}, {&k.receipt, "receipt"}, {&k.fake, "fake-salt"},
		{&k.handle, "user-handle"}, {&evidence, "evidence"},
		{&enrolment, "reader enrolment"}, {&offers, "reader offers"},
	} {
		var err error
		if *sub.into, err = hkdf.Key(sha256.New, secret, nil, "kessai phone "+sub.label, 32); err != nil {
			return nil, err
		}
	}
	k.offers = ed25519.NewKeyFromSeed(offers)
	var err error
	if k.evidence, err = newGCM(evidence); err == nil {
		k.enrolment, err = newGCM(enrolment)
	}
	return k, err
}

func newGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// Format keeps the keys out of whatever is printed.
func (k Keys) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("****")) }

// MarshalText keeps the keys out of whatever is encoded.
func (k Keys) MarshalText() ([]byte, error) { return []byte("****"), nil }

// crockford is base32 without the letters that are taken for others.
var crockford = base32.NewEncoding("0123456789ABCDEFGHJKMNPQRSTVWXYZ").WithPadding(base32.NoPadding)

const (
	macBytes  = 10 // 80 bits: nobody guesses one in the time that a payment waits
	claimSize = 24 // characters: 40 bits of number, 80 of MAC
)

func txMAC(key []byte, id kessai.TxID) []byte {
	return mac(key, binary.BigEndian.AppendUint64(nil, uint64(id)))[:macBytes]
}

// ClaimCode gives the code with which a phone claims a payment: 24 characters of
// Crockford's base32. Whoever has it can claim, so it is shown at the machine only.
func (k *Keys) ClaimCode(id kessai.TxID) string {
	number := binary.BigEndian.AppendUint64(nil, uint64(id))[3:] // RRNs have twelve digits: 40 bits
	return crockford.EncodeToString(append(number, txMAC(k.claim, id)...))
}

// ParseClaim reads a code of [Keys.ClaimCode], in capitals or not. False: nobody
// here made it.
func (k *Keys) ParseClaim(code string) (kessai.TxID, bool) {
	code = strings.ToUpper(code)
	b, err := crockford.DecodeString(code)
	// The decoder passes over ends of lines.
	if err != nil || len(code) != claimSize || len(b) != crockford.DecodedLen(claimSize) {
		return 0, false
	}
	id := kessai.TxID(binary.BigEndian.Uint64(append(make([]byte, 3, 8), b[:5]...)))
	return id, id != 0 && hmac.Equal(b[5:], txMAC(k.claim, id))
}

// Number gives the two digits, 10 to 99, that terminal and phone both show.
func (k *Keys) Number(id kessai.TxID) string {
	n := binary.BigEndian.Uint64(txMAC(k.number, id)) % 90
	return string(kessai.AppendDigits(nil, 10+n, 2))
}

// ReceiptCode gives what stands behind /r/ in the address at which a receipt can
// be checked: the RRN and a MAC, so that nobody reads through other people's.
func (k *Keys) ReceiptCode(id kessai.TxID) string {
	return id.RRN() + "-" + crockford.EncodeToString(txMAC(k.receipt, id))
}

// ParseReceipt reads a code of [Keys.ReceiptCode]. False: nobody here made it.
func (k *Keys) ParseReceipt(code string) (kessai.TxID, bool) {
	rrn, sum, ok := strings.Cut(strings.ToUpper(code), "-")
	if !ok || len(rrn) != 12 || len(sum) != crockford.EncodedLen(macBytes) {
		return 0, false
	}
	id, ok := kessai.ParseTxID(rrn)
	b, err := crockford.DecodeString(sum)
	return id, ok && err == nil && hmac.Equal(b, txMAC(k.receipt, id))
}

// fakeVerifier gives what somebody who is no customer is answered from: always
// the same salt, and keys that no password has.
func (k *Keys) fakeVerifier(id customers.ID, iterations int) verifier {
	v := verifier{iterations: iterations, salt: mac(k.fake, []byte("salt\x00"), []byte(id))[:saltBytes]}
	copy(v.storedKey[:], mac(k.fake, []byte("stored\x00"), []byte(id)))
	copy(v.serverKey[:], mac(k.fake, []byte("server\x00"), []byte(id)))
	return v
}

// userHandle names a customer to an authenticator, which must not learn who it is.
func (k *Keys) userHandle(id customers.ID) []byte { return mac(k.handle, []byte(id)) }

var errSealed = errors.New("what is sealed cannot be opened: it was changed, or it was sealed with another key or for another payment")

// seal encrypts something that belongs to a payment, and to that one only.
func (k *Keys) seal(id kessai.TxID, secret []byte) []byte {
	return sealWith(k.evidence, secret, binary.BigEndian.AppendUint64(nil, uint64(id)))
}

func (k *Keys) open(id kessai.TxID, sealed []byte) ([]byte, error) {
	return openWith(k.evidence, sealed, binary.BigEndian.AppendUint64(nil, uint64(id)))
}

// sealWith encrypts something that belongs to what owner names.
func sealWith(a cipher.AEAD, secret, owner []byte) []byte {
	nonce := random(a.NonceSize())
	return a.Seal(nonce, nonce, secret, owner)
}

func openWith(a cipher.AEAD, sealed, owner []byte) ([]byte, error) {
	n := a.NonceSize()
	if len(sealed) < n {
		return nil, errSealed
	}
	secret, err := a.Open(nil, sealed[:n], sealed[n:], owner)
	if err != nil {
		return nil, errSealed
	}
	return secret, nil
}

// ReaderKey gives the key that offers to card readers are signed with. A reader
// learns its public half when it is enrolled.
func (k *Keys) ReaderKey() ed25519.PrivateKey { return k.offers }

func (k *Keys) SignOffer(offer []byte) []byte {
	return ed25519.Sign(k.offers, tether.OfferToSign(offer))
}
