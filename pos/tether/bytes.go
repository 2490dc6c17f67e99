package tether

import (
	"encoding/binary"
	"math"

	"kessai"
)

// appendField appends a length in two bytes and the value. What callers hand in is
// shorter than 64 KiB: they have checked it.
func appendField[T ~string | ~[]byte](b []byte, value T) []byte {
	n := min(len(value), math.MaxUint16)
	b = binary.BigEndian.AppendUint16(b, uint16(n))
	return append(b, value[:n]...)
}

// reader takes values from the front. The first that is not there makes it bad, and
// everything after it zero.
type reader struct {
	b   []byte
	bad bool
}

// zeros is what a bad reader gives, for values of a fixed length.
var zeros [128]byte

func (r *reader) take(n int) []byte {
	if r.bad || n > len(r.b) {
		r.bad = true
		return zeros[:min(n, len(zeros))]
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

func (r *reader) byte() byte     { return r.take(1)[0] }
func (r *reader) uint16() uint16 { return binary.BigEndian.Uint16(r.take(2)) }
func (r *reader) uint64() uint64 { return binary.BigEndian.Uint64(r.take(8)) }
func (r *reader) done() bool     { return !r.bad && len(r.b) == 0 }

func (r *reader) field() []byte {
	n := int(r.uint16())
	if r.bad || n > len(r.b) {
		r.bad = true
		return nil
	}
	return r.take(n)
}

// bool takes one byte, 0 or 1.
func (r *reader) bool() bool {
	b := r.byte()
	r.bad = r.bad || b > 1
	return b == 1
}

// currency takes number, letters and decimals, which must belong together.
func (r *reader) currency() kessai.Currency {
	c := kessai.Currency(r.uint16())
	letters, decimals := r.take(3), r.byte()
	if !c.Known() || c.String() != string(letters) || c.Exponent() != int(decimals) {
		r.bad = true
	}
	return c
}
