package iso8583

import (
	"maps"

	"github.com/moov-io/iso8583"
	"github.com/moov-io/iso8583/encoding"
	"github.com/moov-io/iso8583/field"
	"github.com/moov-io/iso8583/padding"
	"github.com/moov-io/iso8583/prefix"
)

// The names of the built-in dialects.
const (
	// ASCII is moov's Spec87ASCII: everything in ASCII, and the bitmap always
	// 32 hexadecimal digits for fields 1 to 128.
	ASCII = "iso87-ascii"
	// ASCIIHexBitmap has the same fields; the bitmap is 16 hexadecimal digits,
	// or 32 when its first bit is set.
	ASCIIHexBitmap = "iso87-ascii-hex-bitmap"
	// ASCIIBinaryBitmap has the same fields; the bitmap is 8 bytes, or 16 when
	// its first bit is set.
	ASCIIBinaryBitmap = "iso87-ascii-binary-bitmap"
	// BCD has digits and lengths in packed decimal (fields of fixed length
	// right-justified, those of variable length left-justified), and the bitmap
	// as 8 bytes, or 16 when its first bit is set.
	BCD = "iso87-bcd"
)

var builtIn = []*Dialect{
	mustCompile(ASCII, asciiFields(), &field.Spec{Length: 16, Enc: encoding.BytesToASCIIHex, Pref: prefix.Hex.Fixed, DisableAutoExpand: true}),
	mustCompile(ASCIIHexBitmap, asciiFields(), &field.Spec{Length: 8, Enc: encoding.BytesToASCIIHex, Pref: prefix.Hex.Fixed}),
	mustCompile(ASCIIBinaryBitmap, asciiFields(), &field.Spec{Length: 8, Enc: encoding.Binary, Pref: prefix.Binary.Fixed}),
	mustCompile(BCD, bcdFields(), &field.Spec{Length: 8, Enc: encoding.Binary, Pref: prefix.Binary.Fixed}),
}

// mustCompile panics on a mistake in this file, which any test of the package
// then shows.
func mustCompile(name string, fields map[int]field.Field, bitmap *field.Spec) *Dialect {
	bitmap.Description = "Bitmap"
	fields[1] = field.NewBitmap(bitmap)
	d, err := Compile(name, &iso8583.MessageSpec{Name: name, Fields: fields})
	if err != nil {
		panic(err)
	}
	return d
}

// asciiFields gives the fields of moov's Spec87 and Spec87ASCII, which are the
// same, with those that they lack, and with what is needed to write the ones
// that they can only read.
//
// The two differ in the bitmap. That of Spec87ASCII has 16 bytes and expands by
// another 16 when its first bit is set; here ([ASCII]) it does not expand, so
// that every message that Spec87ASCII can write is read the same, and messages
// that set the first bit because there is a second bitmap are read too.
func asciiFields() map[int]field.Field {
	fields := maps.Clone(iso8583.Spec87.Fields)
	for n, f := range fields {
		s := *f.Spec()
		switch n {
		case 3: // a number to moov, written without its leading zeros unless it is padded
			s.Pad = padding.Left('0')
			fields[n] = field.NewNumeric(&s)
		case 41, 42, 43: // left-justified, filled with spaces; the original wants full length
			s.Pad = padding.Right(' ')
			fields[n] = field.NewString(&s)
		case 52, 64: // the original's length counts hex digits when writing, bytes when reading
			s.Pref = prefix.ASCII.Fixed
			fields[n] = field.NewBinary(&s)
		}
	}
	for _, l := range lacking {
		s := &field.Spec{Length: l.max, Description: l.name, Enc: encoding.ASCII, Pref: prefix.ASCII.Fixed}
		switch l.digits {
		case 2:
			s.Pref = prefix.ASCII.LL
		case 3:
			s.Pref = prefix.ASCII.LLL
		}
		if classes[l.field] == classB {
			s.Enc = encoding.BytesToASCIIHex
			fields[l.field] = field.NewBinary(s)
			continue
		}
		fields[l.field] = field.NewString(s)
	}
	return fields
}

// bcdFields gives the same fields as packed terminals write them: digits two to
// a byte, binary and private data as it is, text in ASCII.
func bcdFields() map[int]field.Field {
	fields := asciiFields()
	for n, f := range fields {
		s := *f.Spec()
		switch s.Pref {
		case prefix.ASCII.LL:
			s.Pref = prefix.BCD.LL
		case prefix.ASCII.LLL:
			s.Pref = prefix.BCD.LLL
		}
		switch {
		case n == 0 || classes[n] == classN:
			s.Enc = encoding.BCD
			if s.Pref == prefix.BCD.LL {
				s.Enc = encoding.LBCD
			}
			fields[n] = field.NewString(&s)
		case n == 35:
			s.Enc = packedTrack2
			fields[n] = field.NewString(&s)
		case classes[n] == classB || classes[n] == classASCII:
			s.Enc = encoding.Binary
			fields[n] = field.NewBinary(&s)
		default:
			fields[n] = field.NewString(&s)
		}
	}
	return fields
}

// lacking are the fields of ISO 8583:1987 that Spec87ASCII does not define.
// Field 65 stays undefined: it would announce a third bitmap.
var lacking = []struct {
	field, digits, max int
	name               string
}{
	{66, 0, 1, "Settlement Code"},
	{67, 0, 2, "Extended Payment Code"},
	{68, 0, 3, "Receiving Institution Country Code"},
	{69, 0, 3, "Settlement Institution Country Code"},
	{71, 0, 4, "Message Number"},
	{72, 0, 4, "Message Number, Last"},
	{73, 0, 6, "Action Date"},
	{74, 0, 10, "Credits, Number"},
	{75, 0, 10, "Credits, Reversal Number"},
	{76, 0, 10, "Debits, Number"},
	{77, 0, 10, "Debits, Reversal Number"},
	{78, 0, 10, "Transfer, Number"},
	{79, 0, 10, "Transfer, Reversal Number"},
	{80, 0, 10, "Inquiries, Number"},
	{81, 0, 10, "Authorizations, Number"},
	{82, 0, 12, "Credits, Processing Fee Amount"},
	{83, 0, 12, "Credits, Transaction Fee Amount"},
	{84, 0, 12, "Debits, Processing Fee Amount"},
	{85, 0, 12, "Debits, Transaction Fee Amount"},
	{86, 0, 16, "Credits, Amount"},
	{87, 0, 16, "Credits, Reversal Amount"},
	{88, 0, 16, "Debits, Amount"},
	{89, 0, 16, "Debits, Reversal Amount"},
	{91, 0, 1, "File Update Code"},
	{92, 0, 2, "File Security Code"},
	{93, 0, 5, "Response Indicator"},
	{94, 0, 7, "Service Indicator"},
	{95, 0, 42, "Replacement Amounts"},
	{96, 0, 8, "Message Security Code"},
	{97, 0, 17, "Amount, Net Settlement"},
	{98, 0, 25, "Payee"},
	{99, 2, 11, "Settlement Institution Identification Code"},
	{100, 2, 11, "Receiving Institution Identification Code"},
	{101, 2, 17, "File Name"},
	{102, 2, 28, "Account Identification 1"},
	{103, 2, 28, "Account Identification 2"},
	{104, 3, 100, "Transaction Description"},
	{105, 3, 999, "Reserved (ISO)"},
	{106, 3, 999, "Reserved (ISO)"},
	{107, 3, 999, "Reserved (ISO)"},
	{108, 3, 999, "Reserved (ISO)"},
	{109, 3, 999, "Reserved (ISO)"},
	{110, 3, 999, "Reserved (ISO)"},
	{111, 3, 999, "Reserved (ISO)"},
	{112, 3, 999, "Reserved (National)"},
	{113, 3, 999, "Reserved (National)"},
	{114, 3, 999, "Reserved (National)"},
	{115, 3, 999, "Reserved (National)"},
	{116, 3, 999, "Reserved (National)"},
	{117, 3, 999, "Reserved (National)"},
	{118, 3, 999, "Reserved (National)"},
	{119, 3, 999, "Reserved (National)"},
	{120, 3, 999, "Reserved (Private)"},
	{121, 3, 999, "Reserved (Private)"},
	{122, 3, 999, "Reserved (Private)"},
	{123, 3, 999, "Reserved (Private)"},
	{124, 3, 999, "Reserved (Private)"},
	{125, 3, 999, "Reserved (Private)"},
	{126, 3, 999, "Reserved (Private)"},
	{127, 3, 999, "Reserved (Private)"},
	{128, 0, 8, "Message Authentication Code (MAC)"},
}
