package iso8583

import "math/bits"

// maxField is the last field that two bitmaps can announce.
const maxField = 128

// fieldSet is a set of fields, 1 to 128, in the form of the two bitmaps: field 1
// is the highest bit of the first word.
type fieldSet [2]uint64

func (s *fieldSet) has(field int) bool { return s[(field-1)>>6]>>(63-(field-1)&63)&1 == 1 }
func (s *fieldSet) add(field int)      { s[(field-1)>>6] |= 1 << (63 - (field-1)&63) }
func (s *fieldSet) remove(field int)   { s[(field-1)>>6] &^= 1 << (63 - (field-1)&63) }

// each gives the fields in ascending order.
func (s fieldSet) each(yield func(field int) bool) {
	for w, set := range s {
		for set != 0 {
			n := bits.LeadingZeros64(set)
			set &^= 1 << (63 - n)
			if !yield(w<<6 + n + 1) {
				return
			}
		}
	}
}

// last gives the highest field; 1, the bitmap itself, where there is none.
func (s fieldSet) last() int {
	if s[1] != 0 {
		return 128 - bits.TrailingZeros64(s[1])
	}
	return max(1, 64-bits.TrailingZeros64(s[0]))
}
