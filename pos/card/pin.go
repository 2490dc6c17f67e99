package card

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"reflect"

	"kessai"
)

// The lengths of a PIN (ISO 9564-1), in digits.
const (
	MinPIN = 4
	MaxPIN = 12
)

// ErrPIN says that something is no PIN, or that a block holds none for this card and
// under this key. It is the same for every cause.
var ErrPIN = errors.New("this is no PIN block of ISO 9564-1 format 4 for this card, or no PIN of 4 to 12 digits")

// PIN is what a holder typed. However it is printed, it shows as ****. Whoever has
// used it calls [PIN.Wipe].
type PIN struct {
	digits [MaxPIN]byte
	n      uint8
}

// Digits gives the digits as characters. They are those in p, until it is wiped.
func (p *PIN) Digits() []byte { return p.digits[:p.n] }

// Wipe overwrites the PIN. None is left.
func (p *PIN) Wipe() { *p = PIN{} }

// Format makes every verb of fmt print ****.
func (PIN) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("****")) }

// String gives ****.
func (PIN) String() string { return "****" }

// LogValue makes slog print ****.
func (PIN) LogValue() slog.Value { return slog.StringValue("****") }

// MarshalText makes encoders print ****.
func (PIN) MarshalText() ([]byte, error) { return []byte("****"), nil }

// ValidPIN reports whether b is a PIN: 4 to 12 digits.
func ValidPIN[T ~string | ~[]byte](b T) bool {
	if len(b) < MinPIN || len(b) > MaxPIN {
		return false
	}
	for i := range len(b) {
		if b[i] < '0' || b[i] > '9' {
			return false
		}
	}
	return true
}

// PINBlock makes the block of ISO 9564-1, format 4, under an AES-128 key. random must
// be new for every block.
func PINBlock(key [16]byte, pan kessai.PAN, pin kessai.Secret, random [8]byte) (block [16]byte, err error) {
	digits := pin.Reveal()
	account, ok := panField(pan)
	if !ok || !ValidPIN(digits) {
		return block, ErrPIN
	}
	defer clear(account[:])
	for i := range 8 {
		block[i] = 0xaa
	}
	block[0] = 0x40 | byte(len(digits))
	for i := range len(digits) {
		put(block[1:], i, digits[i]-'0')
	}
	copy(block[8:], random[:])
	c, err := aes.NewCipher(key[:])
	if err != nil {
		return [16]byte{}, err
	}
	defer wipeCipher(c)
	c.Encrypt(block[:], block[:])
	subtle.XORBytes(block[:], block[:], account[:])
	c.Encrypt(block[:], block[:])
	return block, nil
}

// OpenPINBlock gives the PIN in a block that was made for this card under this key.
func OpenPINBlock(key [16]byte, pan kessai.PAN, block [16]byte) (pin PIN, err error) {
	account, ok := panField(pan)
	if !ok {
		return pin, ErrPIN
	}
	c, err := aes.NewCipher(key[:])
	if err != nil {
		return pin, err
	}
	defer wipeCipher(c)
	defer clear(account[:])
	defer clear(block[:])
	c.Decrypt(block[:], block[:])
	subtle.XORBytes(block[:], block[:], account[:])
	c.Decrypt(block[:], block[:])
	n := int(block[0] & 15)
	if block[0]>>4 != 4 || n < MinPIN || n > MaxPIN {
		return pin, ErrPIN
	}
	for i := range 14 {
		half := block[1+i/2] >> 4
		if i%2 == 1 {
			half = block[1+i/2] & 15
		}
		if i < n != (half <= 9) || i >= n && half != 0xa {
			pin.Wipe()
			return pin, ErrPIN
		}
		if i < n {
			pin.digits[i] = '0' + half
		}
	}
	pin.n = uint8(n)
	return pin, nil
}

// panField is the account number as format 4 has it: how many digits it has more than
// twelve, its digits, and zeros.
func panField(pan kessai.PAN) (f [16]byte, ok bool) {
	var buf [24]byte
	defer clear(buf[:])
	digits := pan.AppendTo(buf[:0])
	if len(digits) < 12 {
		return f, false
	}
	f[0] = byte(len(digits)-12) << 4
	for i, d := range digits {
		put(f[:], i+1, d-'0')
	}
	return f, true
}

// put sets one half of a byte, the higher half first.
func put(b []byte, i int, half byte) {
	if i%2 == 0 {
		b[i/2] = b[i/2]&0x0f | half<<4
	} else {
		b[i/2] = b[i/2]&0xf0 | half
	}
}

// wipeCipher overwrites the round keys. crypto/aes has no function for it.
func wipeCipher(c cipher.Block) {
	if v := reflect.ValueOf(c); v.Kind() == reflect.Pointer {
		v.Elem().SetZero()
	}
}
