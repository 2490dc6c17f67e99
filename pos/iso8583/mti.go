package iso8583

// MTI is a message type indicator: version, class, function, origin. For
// example 0200 is a financial request of the 1987 version, from an acquirer.
type MTI [4]byte

func (t MTI) String() string { return string(t[:]) }

// Valid reports whether t consists of four digits.
func (t MTI) Valid() bool { return classN.holds(t[:]) }

// IsRepeat reports whether t says of itself that it was sent before (0201, 0401).
func (t MTI) IsRepeat() bool { return t[3]&1 == 1 }

// Reply gives the type of the message that answers t: 0210 for 0200 and 0201,
// 0430 for 0420 and 0421. It is false where none can exist: t is an answer
// itself, a notification, or of a class or origin that the standard reserves.
func (t MTI) Reply() (MTI, bool) {
	if !t.Valid() || t[1] == '0' || t[1] == '9' || t[2] != '0' && t[2] != '2' || t[3] > '5' {
		return MTI{}, false
	}
	t[2]++
	t[3] &^= 1
	return t, true
}
