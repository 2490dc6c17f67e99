package iso8583

// class is the set of characters that a field may hold: the attributes of ISO
// 8583:1987, section 4.3.
type class uint8

const (
	classN     class = 1 << iota // n: digits
	classAN                      // an: letters, digits, and the spaces that pad them
	classANS                     // ans: printable ASCII
	classZ                       // z: track 2 as read, with = or D as separator
	classXN                      // x+n: C or D, then digits
	classASCII                   // private data: any 7-bit character
	classB                       // b: any byte
)

// chars gives for each byte the classes that it belongs to.
var chars = func() (t [256]class) {
	for c := range t {
		t[c] = classB
		if c < 0x80 {
			t[c] |= classASCII
		}
		if c >= ' ' && c <= '~' {
			t[c] |= classANS
		}
		switch {
		case c >= '0' && c <= '9':
			t[c] |= classN | classAN | classZ | classXN
		case c >= 'A' && c <= 'Z', c >= 'a' && c <= 'z', c == ' ':
			t[c] |= classAN
		}
	}
	t['='] |= classZ
	t['D'] |= classZ
	return t
}()

func (c class) holds(v []byte) bool {
	if c == classXN {
		return len(v) > 0 && (v[0] == 'C' || v[0] == 'D') && classXNDigits(v[1:])
	}
	all := c
	for _, b := range v {
		all &= chars[b]
	}
	return all != 0
}

func classXNDigits(v []byte) bool { return classN.holds(v) }

// classes gives the attribute of each field, as ISO 8583:1987 table 5 has it.
// Fields for private and national use (46 to 48, 55 to 63, 105 to 127) hold
// whatever their owners agreed on.
var classes = func() (t [maxField + 1]class) {
	fill := func(c class, from, to int) {
		for f := from; f <= to; f++ {
			t[f] = c
		}
	}
	fill(classN, 2, 27)
	fill(classXN, 28, 31)
	fill(classN, 32, 33)
	fill(classANS, 34, 34)
	fill(classZ, 35, 35)
	fill(classANS, 36, 36)
	fill(classAN, 37, 40)
	fill(classANS, 41, 45)
	fill(classASCII, 46, 48)
	fill(classAN, 49, 51)
	fill(classB, 52, 52)
	fill(classN, 53, 53)
	fill(classAN, 54, 54)
	fill(classASCII, 55, 63)
	fill(classB, 64, 65)
	fill(classN, 66, 90)
	fill(classAN, 91, 95)
	fill(classB, 96, 96)
	fill(classXN, 97, 97)
	fill(classANS, 98, 98)
	fill(classN, 99, 100)
	fill(classANS, 101, 104)
	fill(classASCII, 105, 127)
	fill(classB, 128, 128)
	return t
}()
