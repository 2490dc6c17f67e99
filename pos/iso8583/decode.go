package iso8583

import (
	"encoding/binary"
	"encoding/hex"

	"github.com/moov-io/iso8583/field"
)

// Decode reads one message out of a frame. The values are views into the frame
// wherever the wire carries them as they are, so the frame must not change while
// the message is in use.
//
// A field is split off by its length alone, and judged only then: when one
// field is bad, the others can still be read, as far as they could be split
// off. The error, a [*FieldError], names the first bad one; a bad field counts
// as not there. Whoever answers a message with a format error (30) finds MTI,
// STAN and terminal this way.
func (d *Dialect) Decode(m *Message, frame []byte) error {
	m.Reset()
	size := d.mti.wireSize(4)
	if len(frame) < size {
		return &FieldError{0, Truncated}
	}
	var digits [4]byte
	mti, ok := d.mti.value(digits[:0], frame[:size], 4)
	if !ok || !MTI(mti).Valid() {
		return &FieldError{0, BadContent}
	}
	m.MTI = MTI(mti)
	bitmap, rest, err := d.readBitmap(m, frame[size:])
	if err != nil {
		return err
	}
	rest, err = d.readFields(m, bitmap, rest)
	if err == nil && len(rest) > 0 {
		err = &FieldError{bitmap.last(), Trailing}
	}
	return err
}

// readBitmap gives the two bitmaps without the bits that only announce another.
func (d *Dialect) readBitmap(m *Message, b []byte) (set fieldSet, rest []byte, err error) {
	form := d.bitmap
	if set[0], b, err = form.readWord(b); err != nil {
		return set, nil, err
	}
	announced := set[0]>>63 == 1
	set[0] &^= 1 << 63
	if form.wide && !form.fixed && announced {
		return set, nil, &FieldError{1, BadContent}
	}
	if form.wide || announced && !form.fixed {
		if set[1], b, err = form.readWord(b); err != nil {
			return set, nil, err
		}
		m.SecondaryBitmap = announced
	}
	return set, b, nil
}

func (form bitmapForm) readWord(b []byte) (uint64, []byte, error) {
	if !form.hex {
		if len(b) < 8 {
			return 0, nil, &FieldError{1, Truncated}
		}
		return binary.BigEndian.Uint64(b), b[8:], nil
	}
	if len(b) < 16 {
		return 0, nil, &FieldError{1, Truncated}
	}
	var raw [8]byte
	if _, err := hex.Decode(raw[:], b[:16]); err != nil {
		return 0, nil, &FieldError{1, BadContent}
	}
	return binary.BigEndian.Uint64(raw[:]), b[16:], nil
}

// readFields reads the fields that the bitmaps announce and gives what is left.
func (d *Dialect) readFields(m *Message, bitmap fieldSet, rest []byte) (_ []byte, first error) {
	for f := range bitmap.each {
		e := &d.fields[f]
		v, n, why := e.read(m, rest)
		if why != 0 && first == nil {
			first = &FieldError{f, why}
		}
		if why != 0 && why != BadContent {
			return nil, first
		}
		if why == 0 {
			m.put(f, v)
		}
		rest = rest[n:]
	}
	return rest, first
}

// read reads one field off b: its value and its size on the wire. After
// BadContent the size is right, so that reading can go on behind the field.
func (e *entry) read(m *Message, b []byte) (v []byte, size int, why Reason) {
	if !e.defined {
		return nil, 0, Undefined
	}
	if e.moov != nil {
		return e.readByMoov(b)
	}
	n, prefix, why := e.readLength(b)
	if why != 0 {
		return nil, 0, why
	}
	size = prefix + e.wireSize(n)
	if len(b) < size {
		return nil, 0, Truncated
	}
	wire := b[prefix:size:size]
	if e.enc == plain {
		v = wire
	} else {
		own, ok := e.value(m.own, wire, n)
		if !ok {
			return nil, size, BadContent
		}
		v, m.own = own[len(m.own):len(own):len(own)], own
	}
	if !e.class.holds(v) {
		return nil, size, BadContent
	}
	return v, size, 0
}

func (e *entry) readByMoov(b []byte) ([]byte, int, Reason) {
	f := field.NewInstanceOf(e.moov)
	n, err := f.Unpack(b)
	if err != nil || n > len(b) { // moov's error may hold content: it is dropped
		return nil, 0, BadLength
	}
	v, err := f.Bytes()
	if err != nil || !e.class.holds(v) {
		return nil, n, BadContent
	}
	if e.full != nil {
		v = e.full.Pad(v, e.max)
	}
	return v, n, 0
}

// readLength gives the length of the value and the size of the length itself.
func (e *entry) readLength(b []byte) (n, size int, why Reason) {
	size = e.digits
	if e.length == bcdLength {
		size = (e.digits + 1) / 2
	}
	if len(b) < size {
		return 0, 0, Truncated
	}
	switch e.length {
	case fixedLength:
		return e.max, 0, 0
	case asciiLength:
		for _, c := range b[:size] {
			if c < '0' || c > '9' {
				return 0, 0, BadLength
			}
			n = n*10 + int(c-'0')
		}
	case bcdLength:
		for _, c := range b[:size] {
			if c>>4 > 9 || c&15 > 9 {
				return 0, 0, BadLength
			}
			n = n*100 + int(c>>4*10+c&15)
		}
		if e.digits%2 == 1 && b[0]>>4 != 0 {
			return 0, 0, BadLength
		}
	case binaryLength:
		for _, c := range b[:size] {
			n = n<<8 | int(c)
		}
	}
	if n > e.max {
		return 0, 0, BadLength
	}
	return n, size, 0
}

// wireSize gives how many bytes on the wire carry a value of n characters.
func (e *entry) wireSize(n int) int {
	switch e.enc {
	case packed, packedL, packedZ:
		return (n + 1) / 2
	case hexDigits:
		return 2 * n
	}
	return n
}

// value appends the n characters of the value that wire carries. It is false
// where wire cannot be such a value.
func (e *entry) value(dst, wire []byte, n int) ([]byte, bool) {
	switch e.enc {
	case packed:
		return unpack(dst, wire, n)
	case packedL:
		return unpackLeft(dst, wire, n, '9')
	case packedZ:
		return unpackLeft(dst, wire, n, '=')
	case hexDigits:
		dst, err := hex.AppendDecode(dst, wire)
		return dst, err == nil
	}
	return append(dst, wire...), true
}

// nibbles are the characters that half a byte can stand for: a digit, or D for
// the separator of track 2, which is given as =.
const nibbles = "0123456789\xff\xff\xff=\xff\xff"

// unpack appends n right-justified digits; a half byte left over is 0.
func unpack(dst, wire []byte, n int) ([]byte, bool) {
	for i, b := range wire {
		hi, lo := nibbles[b>>4], nibbles[b&15]
		if hi > '9' || lo > '9' {
			return nil, false
		}
		if i > 0 || n%2 == 0 {
			dst = append(dst, hi)
		} else if hi != '0' {
			return nil, false
		}
		dst = append(dst, lo)
	}
	return dst, true
}

// unpackLeft appends n left-justified half bytes as characters up to last; a
// half byte left over is 0 or F.
func unpackLeft(dst, wire []byte, n int, last byte) ([]byte, bool) {
	for i, b := range wire {
		hi, lo := nibbles[b>>4], nibbles[b&15]
		spare := 2*i+1 == n
		if hi > last || !spare && lo > last || spare && b&15 != 0 && b&15 != 15 {
			return nil, false
		}
		dst = append(dst, hi)
		if !spare {
			dst = append(dst, lo)
		}
	}
	return dst, true
}
