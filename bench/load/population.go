package load

import (
	"encoding/binary"
	"fmt"

	"kessai"
)

// Population is who takes part: cards and terminals that are known by their
// number, from 0, so that a generator and a registry agree on them without
// telling each other.
type Population struct {
	Media     int // cards, each with a customer and an account of its own
	Terminals int
}

// The limits of a population.
const (
	MaxMedia     = 100_000_000
	MaxTerminals = 1_000_000
	maxMerchants = 100
)

// The same for every terminal, card and merchant of a population.
const (
	Currency = "JPY"
	currency = "392"  // the same, as DE49 says it
	Expiry   = "9912" // YYMM

	ExpiryMonth = 9912 // the same as a number
)

// Validate checks the sizes.
func (p Population) Validate() error {
	if p.Media < 1 || p.Media > MaxMedia {
		return fmt.Errorf("the number of cards must be 1 to %d", MaxMedia)
	}
	if p.Terminals < 1 || p.Terminals > MaxTerminals {
		return fmt.Errorf("the number of terminals must be 1 to %d", MaxTerminals)
	}
	return nil
}

// Merchants gives the number of merchants: at most a hundred.
func (p Population) Merchants() int { return min(maxMerchants, p.Terminals) }

// TerminalID gives the ID (DE41) of a terminal.
func (p Population) TerminalID(t int) string { return fmt.Sprintf("B%07d", t) }

// MerchantOf gives the number of a terminal's merchant.
func (p Population) MerchantOf(t int) int { return t % p.Merchants() }

// MerchantID gives the ID (DE42) of a merchant.
func (p Population) MerchantID(m int) string { return fmt.Sprintf("BENCH%010d", m) }

// APIKey gives the key that a merchant's JSON requests carry. It opens nothing but
// the registry of a benchmark.
func (p Population) APIKey(m int) kessai.Secret {
	return kessai.Secret(fmt.Sprintf("sk_bench_%010d", m))
}

// CustomerID gives the ID of the customer whose a card is.
func (p Population) CustomerID(card int) string { return fmt.Sprintf("b%09d", card) }

// panPrefix begins with 9, which ISO/IEC 7812 leaves to national bodies, and
// belongs to no card scheme: no number of a population is anybody's.
const (
	panPrefix    = 999_900
	panPrefixSum = 9 + 9 + 9 + 9 + 0 + 0 // each 9 doubled is 18, and so 9 again
)

// PAN gives the number of a card: 16 digits, of which the last is the check digit.
func (p Population) PAN(card int) string { return string(appendDigits(nil, pan(uint32(card)), 16)) }

// PutPAN writes the number of a card into 16 bytes.
func (p Population) PutPAN(dst []byte, card int) { putDigits(dst[:16], pan(uint32(card))) }

// PutTerminalID writes the ID of a terminal into 8 bytes.
func (p Population) PutTerminalID(dst []byte, t int) {
	putDigits(dst[:8], uint64(t))
	dst[0] = 'B'
}

func pan(card uint32) uint64 {
	sum, rest := uint32(panPrefixSum), card
	for rest > 0 {
		sum += uint32(luhnPair[rest%100])
		rest /= 100
	}
	return panPrefix*1e10 + uint64(card)*10 + uint64((10-sum%10)%10)
}

// luhnPair gives what two digits before the check digit add to its sum (ISO/IEC
// 7812-1, annex B): the right one is doubled, and the digits of that added up.
var luhnPair = func() (t [100]uint8) {
	for i := range t {
		twice := i % 10 * 2
		t[i] = uint8(i/10 + twice/10 + twice%10)
	}
	return t
}()

// pairs are the two digits of each number below 100.
var pairs = func() (t [100]uint16) {
	for i := range t {
		t[i] = binary.LittleEndian.Uint16([]byte{'0' + byte(i/10), '0' + byte(i%10)})
	}
	return t
}()

// putDigits fills dst, of even length, with the decimal digits of v.
func putDigits(dst []byte, v uint64) {
	for i := len(dst) - 2; i >= 0; i -= 2 {
		binary.LittleEndian.PutUint16(dst[i:], pairs[v%100])
		v /= 100
	}
}

func appendDigits(dst []byte, v uint64, n int) []byte { return kessai.AppendDigits(dst, v, n) }
