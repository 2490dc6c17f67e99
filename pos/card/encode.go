package card

import (
	"encoding/binary"

	"kessai"
)

// AppendEMV appends the data of a chip as [ParseEMV] reads it: number, month,
// sequence and all the rest. It gives [ErrCard] for what [ParseEMV] would not take,
// and for a card without [Card.EMV]. The last day of the month is taken to be its
// 28th, since only the month counts.
func AppendEMV(dst []byte, c *Card) ([]byte, error) {
	if c.EMV == nil || c.Expiry > 9912 || c.Sequence > 99 {
		return dst, ErrCard
	}
	e, start := c.EMV, len(dst)
	dst = appendPAN(dst, c.PAN)
	dst = appendPacked(dst, tagExpiry, int64(c.Expiry)*100+28, 3)
	dst = appendPacked(dst, tagSequence, int64(c.Sequence), 1)
	dst = appendObject(dst, tagCryptogram, e.Cryptogram[:]...)
	dst = appendObject(dst, tagInformation, e.Information)
	if len(e.IssuerData) > 0 {
		dst = appendObject(dst, tagIssuerData, e.IssuerData...)
	}
	dst = appendObject(dst, tagCounter, byte(e.Counter>>8), byte(e.Counter))
	dst = appendObject(dst, tagUnpredictable, e.Unpredictable[:]...)
	dst = appendObject(dst, tagProfile, e.Profile[:]...)
	dst = appendObject(dst, tagResults, e.Results[:]...)
	dst = appendObject(dst, tagDate, e.Date[:]...)
	dst = appendObject(dst, tagType, e.Type)
	dst = appendPacked(dst, tagAmount, e.Amount, 6)
	dst = appendPacked(dst, tagOther, e.Other, 6)
	dst = appendPacked(dst, tagCurrency, int64(e.Currency), 2)
	dst = appendPacked(dst, tagCountry, int64(e.Country), 2)
	if len(e.IssuerData) > 32 || !e.inRange() {
		return dst[:start], ErrCard
	}
	if _, err := ParseEMV(dst[start:]); err != nil {
		return dst[:start], ErrCard
	}
	return dst, nil
}

func (e *EMV) inRange() bool {
	return e.Amount >= 0 && e.Amount <= kessai.MaxAmount && e.Other >= 0 && e.Other <= kessai.MaxAmount && e.Currency <= 999 && e.Country <= 999
}

func appendObject(dst []byte, tag uint16, value ...byte) []byte {
	if tag > 0xff {
		dst = binary.BigEndian.AppendUint16(dst, tag)
	} else {
		dst = append(dst, byte(tag))
	}
	return append(append(dst, byte(len(value))), value...)
}

func appendPacked(dst []byte, tag uint16, n int64, size int) []byte {
	dst = appendObject(dst, tag, make([]byte, size)...)
	for i := range size {
		dst[len(dst)-1-i] = byte(n/10%10<<4 | n%10)
		n /= 100
	}
	return dst
}

func appendPAN(dst []byte, pan kessai.PAN) []byte {
	var buf [24]byte
	defer clear(buf[:])
	text := pan.AppendTo(buf[:0])
	value := [10]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	defer clear(value[:])
	for i, d := range text {
		put(value[:], i, d-'0')
	}
	return appendObject(dst, tagPAN, value[:(len(text)+1)/2]...)
}
