package iso8583

import (
	"encoding/binary"
	"encoding/hex"

	"github.com/moov-io/iso8583/field"
)

// Append writes the message behind dst and gives the longer slice. The error, a
// [*FieldError], names the field whose value the dialect cannot write; dst is
// then given back as it was.
func (d *Dialect) Append(dst []byte, m *Message) ([]byte, error) {
	start := dst
	if m.err != nil {
		return start, m.err
	}
	dst, why := d.mti.append(dst, m.MTI[:])
	if why != 0 {
		return start, &FieldError{0, why}
	}
	dst, ok := d.bitmap.append(dst, m)
	if !ok {
		return start, &FieldError{1, Undefined}
	}
	for f := range m.Fields {
		if dst, why = d.fields[f].append(dst, m.vals[f]); why != 0 {
			return start, &FieldError{f, why}
		}
	}
	return dst, nil
}

// append writes the bitmaps. It is false when a field needs a second one and
// the dialect has none.
func (form bitmapForm) append(dst []byte, m *Message) ([]byte, bool) {
	first, second := m.set[0], m.set[1]
	switch {
	case form.wide && form.fixed:
		if m.SecondaryBitmap {
			first |= 1 << 63
		}
	case form.wide:
	case form.fixed:
		if second != 0 {
			return dst, false
		}
	case second != 0 || m.SecondaryBitmap:
		first |= 1 << 63
	}
	dst = form.appendWord(dst, first)
	if form.wide || !form.fixed && first>>63 == 1 {
		dst = form.appendWord(dst, second)
	}
	return dst, true
}

func (form bitmapForm) appendWord(dst []byte, w uint64) []byte {
	if !form.hex {
		return binary.BigEndian.AppendUint64(dst, w)
	}
	for shift := 60; shift >= 0; shift -= 4 {
		dst = append(dst, upperHex[w>>shift&15])
	}
	return dst
}

const upperHex = "0123456789ABCDEF"

// append writes one field behind dst.
func (e *entry) append(dst, v []byte) ([]byte, Reason) {
	switch {
	case !e.defined:
		return dst, Undefined
	case e.moov != nil:
		return e.appendByMoov(dst, v)
	case !e.class.holds(v):
		return dst, BadContent
	}
	fill := 0
	if e.length == fixedLength && e.pad != 0 {
		fill = max(0, e.max-len(v))
	}
	n := len(v) + fill
	if n > e.max || e.length == fixedLength && n < e.max {
		return dst, BadLength
	}
	dst, ok := e.appendLength(dst, n)
	if !ok {
		return dst, BadLength
	}
	switch e.enc {
	case packed, packedZ, packedL:
		return e.appendPacked(dst, v, fill), 0
	case hexDigits:
		at := len(dst)
		dst = hex.AppendEncode(dst, v)
		upper(dst[at:])
		return dst, 0
	}
	if e.padLeft {
		dst = appendFill(dst, e.pad, fill)
	}
	dst = append(dst, v...)
	if !e.padLeft {
		dst = appendFill(dst, e.pad, fill)
	}
	return dst, 0
}

func (e *entry) appendByMoov(dst, v []byte) ([]byte, Reason) {
	f := field.NewInstanceOf(e.moov)
	if f.SetBytes(v) != nil {
		return dst, BadContent
	}
	wire, err := f.Pack()
	if err != nil { // moov's error may hold content: it is dropped
		return dst, BadContent
	}
	return append(dst, wire...), 0
}

// appendLength is false when the length has more digits than there is room for.
func (e *entry) appendLength(dst []byte, n int) ([]byte, bool) {
	at := len(dst)
	base, size := 10, e.digits
	switch e.length {
	case fixedLength:
		return dst, true
	case bcdLength:
		size = (e.digits + 1) / 2
		base = 100
	case binaryLength:
		base = 256
	}
	dst = appendFill(dst, 0, size)
	for i := at + size - 1; i >= at; i-- {
		c := byte(n % base)
		n /= base
		switch e.length {
		case asciiLength:
			c += '0'
		case bcdLength:
			c = c/10<<4 | c%10
		}
		dst[i] = c
	}
	return dst, n == 0 && (e.length != bcdLength || e.digits%2 == 0 || dst[at]>>4 == 0)
}

// appendPacked writes two characters into a byte, with padding before or after
// them and a zero in the half byte left over.
func (e *entry) appendPacked(dst, v []byte, fill int) []byte {
	n := len(v) + fill
	at := func(i int) byte {
		if e.padLeft {
			i -= fill
		}
		if i < 0 || i >= len(v) {
			return e.pad & 15
		}
		if v[i] == '=' || v[i] == 'D' {
			return 0xd
		}
		return v[i] & 15
	}
	i := 0
	if n%2 == 1 && e.enc == packed {
		dst = append(dst, at(0))
		i = 1
	}
	for ; i+1 < n; i += 2 {
		dst = append(dst, at(i)<<4|at(i+1))
	}
	if i < n {
		dst = append(dst, at(i)<<4)
	}
	return dst
}

func appendFill(dst []byte, c byte, n int) []byte {
	for range n {
		dst = append(dst, c)
	}
	return dst
}

func upper(b []byte) {
	for i, c := range b {
		if c >= 'a' && c <= 'f' {
			b[i] = c - 'a' + 'A'
		}
	}
}
