package card

import (
	"bytes"
	"fmt"

	"kessai"
)

// The longest track 2 without its sentinels (ISO/IEC 7813), and the shortest: a PAN
// of twelve digits, the separator, the month, no service code.
const (
	maxTrack2 = 37
	minTrack2 = 12 + 1 + 4 + 1
)

// ParseTrack2 reads track 2: PAN, separator, month, service code and what the issuer
// likes. It takes characters, with their sentinels (;…?, the check character behind
// the last may be there) or without, and the nibbles of tag 57 (separator D, one F at
// the end where the number is odd). The one cannot be taken for the other: where
// characters have the number, nibbles have no separator.
func ParseTrack2(b []byte) (Card, error) {
	if c, ok := parseTrack2(stripSentinels(b)); ok {
		return c, nil
	}
	var text [maxTrack2 + 1]byte
	defer clear(text[:])
	n, ok := unpackTrack2(text[:], b)
	if !ok {
		return Card{}, ErrCard
	}
	c, ok := parseTrack2(text[:n])
	if !ok {
		return Card{}, ErrCard
	}
	return c, nil
}

// stripSentinels takes off the start sentinel and, only then, the end sentinel with
// at most one check character behind it.
func stripSentinels(b []byte) []byte {
	if len(b) == 0 || b[0] != ';' {
		return b
	}
	end := bytes.IndexByte(b, '?')
	if end < 0 || len(b) > end+2 {
		return nil
	}
	return b[1:end]
}

// unpackTrack2 writes nibbles as characters, and gives how many.
func unpackTrack2(to, b []byte) (n int, ok bool) {
	if 2*len(b) > len(to) {
		return 0, false
	}
	for i, c := range b {
		for j, half := range [2]byte{c >> 4, c & 15} {
			switch {
			case half <= 9:
				to[n] = '0' + half
			case half == 0xd:
				to[n] = '='
			case half == 0xf && i == len(b)-1 && j == 1:
				return n, true
			default:
				return 0, false
			}
			n++
		}
	}
	return n, true
}

func parseTrack2(b []byte) (c Card, ok bool) {
	if len(b) < minTrack2 || len(b) > maxTrack2 {
		return c, false
	}
	at := bytes.IndexByte(b, '=')
	if at < 12 || len(b) < at+6 {
		return c, false
	}
	pan, err := kessai.ParsePAN(b[:at])
	month, rest := b[at+1:at+5], b[at+5:]
	if err != nil || !digits(month) {
		return c, false
	}
	// The service code has three digits, or is left out with a separator in its place.
	switch {
	case rest[0] == '=':
		rest = rest[1:]
	case len(rest) < 3:
		return c, false
	}
	c = Card{PAN: pan, Expiry: uint16(number(month))}
	return c, digits(rest) && isMonth(c.Expiry)
}

// AppendTrack2 appends track 2 as characters without sentinels. service has three
// digits or none; discretionary is the issuer's, digits. It gives [ErrCard] for what
// [ParseTrack2] would not take.
func AppendTrack2(dst []byte, pan kessai.PAN, expiry uint16, service, discretionary string) ([]byte, error) {
	start := len(dst)
	dst = append(pan.AppendTo(dst), '=')
	dst = fmt.Appendf(dst, "%04d", expiry)
	if service == "" {
		service = "="
	}
	dst = append(append(dst, service...), discretionary...)
	if _, ok := parseTrack2(dst[start:]); !ok {
		return dst[:start], ErrCard
	}
	return dst, nil
}
