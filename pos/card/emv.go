package card

import (
	"encoding/binary"
	"time"

	"kessai"
)

// EMV is what a chip said of one transaction (EMV Book 3, annex A).
type EMV struct {
	Cryptogram    [8]byte         // 9F26, for the issuer
	Information   byte            // 9F27: what kind of cryptogram it is
	IssuerData    []byte          // 9F10, up to 32 bytes, for the issuer; may be missing
	Counter       uint16          // 9F36: the chip's transactions
	Unpredictable [4]byte         // 9F37: the reader's random number
	Profile       [2]byte         // 82: what the chip can do
	Results       [5]byte         // 95: what the reader found
	Date          [3]byte         // 9A: the reader's day, YYMMDD in packed decimal
	Type          byte            // 9C: first two digits of the processing code, packed
	Amount        int64           // 9F02, in minor units of the currency
	Other         int64           // 9F03: cash, part of the amount; may be missing
	Currency      kessai.Currency // 5F2A
	Country       uint16          // 9F1A, ISO 3166 numeric: where the reader is
}

// The tags that are read. Others are passed over.
const (
	tagPAN           = 0x5a
	tagTrack2        = 0x57
	tagExpiry        = 0x5f24
	tagSequence      = 0x5f34
	tagCryptogram    = 0x9f26
	tagInformation   = 0x9f27
	tagIssuerData    = 0x9f10
	tagCounter       = 0x9f36
	tagUnpredictable = 0x9f37
	tagProfile       = 0x82
	tagResults       = 0x95
	tagDate          = 0x9a
	tagType          = 0x9c
	tagAmount        = 0x9f02
	tagOther         = 0x9f03
	tagCurrency      = 0x5f2a
	tagCountry       = 0x9f1a
)

// tags gives the length of each value, from and to, in bytes, and whether it must be
// there. Of 5A and 57 one must be; 57 has the month, where 5F24 is missing.
var tags = [...]struct {
	tag      uint32
	from, to int
	must     bool
}{
	{tagPAN, 6, 10, false},
	{tagTrack2, minTrack2 / 2, (maxTrack2 + 1) / 2, false},
	{tagExpiry, 3, 3, false},
	{tagSequence, 1, 1, false},
	{tagCryptogram, 8, 8, true},
	{tagInformation, 1, 1, true},
	{tagIssuerData, 1, 32, false},
	{tagCounter, 2, 2, true},
	{tagUnpredictable, 4, 4, true},
	{tagProfile, 2, 2, true},
	{tagResults, 5, 5, true},
	{tagDate, 3, 3, true},
	{tagType, 1, 1, true},
	{tagAmount, 6, 6, true},
	{tagOther, 6, 6, false},
	{tagCurrency, 2, 2, true},
	{tagCountry, 2, 2, true},
}

// ParseEMV reads the data of a chip: BER-TLV objects, one after the other, in any
// order. Tags that are not known are passed over; one that is known stands at most
// once. The number and the month must agree wherever they stand.
func ParseEMV(b []byte) (Card, error) {
	values, ok := takeApart(b)
	if !ok {
		return Card{}, ErrCard
	}
	c, ok := identify(&values)
	if !ok {
		return Card{}, ErrCard
	}
	if c.EMV, ok = values.emv(); !ok {
		return Card{}, ErrCard
	}
	return c, nil
}

// values holds the value of each tag, in the order of tags; nil: not there.
type values [len(tags)][]byte

func (v *values) of(tag uint32) []byte {
	for i := range tags {
		if tags[i].tag == tag {
			return v[i]
		}
	}
	return nil
}

func takeApart(b []byte) (v values, ok bool) {
	for len(b) > 0 {
		tag, value, rest, ok := object(b)
		if !ok {
			return v, false
		}
		b = rest
		for i := range tags {
			if tags[i].tag != tag {
				continue
			}
			if v[i] != nil || len(value) < tags[i].from || len(value) > tags[i].to {
				return v, false
			}
			v[i] = value
		}
	}
	for i := range tags {
		if tags[i].must && v[i] == nil {
			return v, false
		}
	}
	return v, true
}

// object takes one object from the front: a tag of one to three bytes, and a length
// in its shortest form (up to 65535). The byte 00, with which some chips fill up, is
// no tag.
func object(b []byte) (tag uint32, value, rest []byte, ok bool) {
	tag, b = uint32(b[0]), b[1:]
	if tag == 0 {
		return 0, nil, nil, false
	}
	if more := tag&0x1f == 0x1f; more {
		for n := 1; more; n++ {
			if n == 3 || len(b) == 0 {
				return 0, nil, nil, false
			}
			more = b[0]&0x80 != 0
			tag, b = tag<<8|uint32(b[0]), b[1:]
		}
	}
	if len(b) == 0 {
		return 0, nil, nil, false
	}
	n, b := int(b[0]), b[1:]
	switch {
	case n < 0x80:
	case n == 0x81 && len(b) >= 1 && b[0] >= 0x80:
		n, b = int(b[0]), b[1:]
	case n == 0x82 && len(b) >= 2 && b[0] > 0:
		n, b = int(binary.BigEndian.Uint16(b)), b[2:]
	default:
		return 0, nil, nil, false
	}
	if n > len(b) {
		return 0, nil, nil, false
	}
	return tag, b[:n:n], b[n:], true
}

// identify finds out which card it is: by 5A, by 57, or by both where they agree.
func identify(v *values) (c Card, ok bool) {
	if b := v.of(tagTrack2); b != nil {
		var text [maxTrack2 + 1]byte
		defer clear(text[:])
		n, ok := unpackTrack2(text[:], b)
		if !ok {
			return c, false
		}
		if c, ok = parseTrack2(text[:n]); !ok {
			return c, false
		}
	}
	if b := v.of(tagPAN); b != nil {
		pan, ok := unpackPAN(b)
		if !ok || !c.PAN.IsZero() && pan != c.PAN {
			return c, false
		}
		c.PAN = pan
	}
	if b := v.of(tagExpiry); b != nil {
		day, ok := packed(b)
		month := uint16(day / 100)
		if !ok || !isDay(day) || c.Expiry != 0 && month != c.Expiry {
			return c, false
		}
		c.Expiry = month
	}
	if b := v.of(tagSequence); b != nil {
		n, ok := packed(b)
		if !ok {
			return c, false
		}
		c.Sequence = uint8(n)
	}
	return c, !c.PAN.IsZero() && c.Expiry != 0
}

func (v *values) emv() (*EMV, bool) {
	e := &EMV{
		Cryptogram:    [8]byte(v.of(tagCryptogram)),
		Information:   v.of(tagInformation)[0],
		IssuerData:    append([]byte(nil), v.of(tagIssuerData)...),
		Counter:       binary.BigEndian.Uint16(v.of(tagCounter)),
		Unpredictable: [4]byte(v.of(tagUnpredictable)),
		Profile:       [2]byte(v.of(tagProfile)),
		Results:       [5]byte(v.of(tagResults)),
		Date:          [3]byte(v.of(tagDate)),
		Type:          v.of(tagType)[0],
	}
	day, dayOK := packed(e.Date[:])
	_, typeOK := packed([]byte{e.Type})
	amount, amountOK := packed(v.of(tagAmount))
	other, otherOK := packed(v.of(tagOther))
	currency, currencyOK := packed(v.of(tagCurrency))
	country, countryOK := packed(v.of(tagCountry))
	e.Amount, e.Other, e.Currency, e.Country = amount, other, kessai.Currency(currency), uint16(country)
	return e, dayOK && isDay(day) && typeOK && amountOK && otherOK && currencyOK && currency <= 999 && countryOK && country <= 999
}

// unpackPAN reads packed digits with F in every half that is left over.
func unpackPAN(b []byte) (kessai.PAN, bool) {
	var text [20]byte
	defer clear(text[:])
	n := 0
	for _, c := range b {
		for _, half := range [2]byte{c >> 4, c & 15} {
			text[n] = '0' + half
			n++
		}
	}
	for n > 0 && text[n-1] == '0'+15 {
		n--
	}
	pan, err := kessai.ParsePAN(text[:n])
	return pan, err == nil
}

// packed reads packed decimal digits. Nothing is zero.
func packed(b []byte) (n int64, ok bool) {
	for _, c := range b {
		if c>>4 > 9 || c&15 > 9 {
			return 0, false
		}
		n = n*100 + int64(c>>4)*10 + int64(c&15)
	}
	return n, true
}

// isDay reports whether YYMMDD is a day of this century.
func isDay(yymmdd int64) bool {
	y, m, d := int(yymmdd/10000), time.Month(yymmdd/100%100), int(yymmdd%100)
	t := time.Date(2000+y, m, d, 0, 0, 0, 0, time.UTC)
	return t.Month() == m && t.Day() == d
}
