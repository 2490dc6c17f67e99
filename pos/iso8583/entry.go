package iso8583

import (
	"strings"

	"github.com/moov-io/iso8583/encoding"
	"github.com/moov-io/iso8583/field"
	"github.com/moov-io/iso8583/padding"
)

// entry is one field of a compiled dialect.
type entry struct {
	defined bool
	length  lengthForm
	digits  int // of a length that is written
	enc     valueForm
	max     int  // characters, digits or bytes; of a fixed field: exactly
	padLeft bool // where the padding goes
	pad     byte // zero: a value must have its full length
	class   class
	hex     bool        // no text: shown in hexadecimal
	moov    field.Field // what the table cannot express, moov reads and writes

	full padding.Padder // brings what moov read to its full length
}

// lengthForm says how the length of a field is written.
type lengthForm uint8

const (
	fixedLength lengthForm = iota
	asciiLength
	bcdLength
	binaryLength
)

// valueForm says how the value of a field is written.
type valueForm uint8

const (
	plain     valueForm = iota // one byte on the wire is one byte of the value
	packed                     // two digits in a byte, right-justified
	packedL                    // two digits in a byte, left-justified
	packedZ                    // track 2: two characters in a byte, left-justified
	hexDigits                  // two hexadecimal digits on the wire are one byte of the value
)

// compileField makes the table's entry for one field. What c allows is the
// standard's word; the specification may only narrow it.
func compileField(f field.Field, c class) entry {
	e := entry{defined: true, max: f.Spec().Length, class: c}
	switch f.(type) {
	case *field.String, *field.Track1, *field.Track2, *field.Track3:
	case *field.Numeric:
		e.class = classN
	default:
		e.class, e.hex = classB, true
	}
	if table := e; table.compile(f) {
		return table
	}
	e.moov = f
	if e.full = f.Spec().Pad; !fixed(f.Spec()) {
		e.full = nil
	} else if e.class == classN && e.full == nil {
		e.full = padding.Left('0') // moov has a number, without leading zeros
	}
	return e
}

func fixed(s *field.Spec) bool {
	return s.Pref != nil && strings.HasSuffix(s.Pref.Inspect(), ".Fixed")
}

// compile is false where the table cannot express the field.
func (e *entry) compile(f field.Field) bool {
	s := f.Spec()
	if s.Packer != nil || s.Unpacker != nil || s.Pref == nil || !e.compileLength(s.Pref.Inspect()) {
		return false
	}
	if _, structured := f.(*field.Composite); structured {
		return true
	}
	if s.Enc == nil || !e.compileEncoding(s.Enc) || !e.compilePadding(s) {
		return false
	}
	return s.Pref.Inspect() != "Hex.Fixed" || e.enc == hexDigits // else it counts differently when writing
}

func (e *entry) compileLength(prefixer string) bool {
	code, ls, _ := strings.Cut(prefixer, ".")
	if ls == "Fixed" {
		return code != "None"
	}
	switch code {
	case "ASCII":
		e.length = asciiLength
	case "BCD":
		e.length = bcdLength
	case "Binary":
		e.length = binaryLength
	default:
		return false
	}
	e.digits = len(ls)
	return e.digits <= 4 && strings.Trim(ls, "L") == ""
}

func (e *entry) compileEncoding(enc encoding.Encoder) bool {
	switch enc {
	case encoding.ASCII:
		e.enc = plain
		if e.class == classB {
			e.class = classASCII
		}
	case encoding.Binary:
		e.enc, e.class, e.hex = plain, classB, true
	case encoding.BytesToASCIIHex:
		e.enc, e.class, e.hex = hexDigits, classB, true
	case encoding.BCD:
		e.enc, e.class = packed, classN
	case encoding.LBCD:
		e.enc, e.class = packedL, classN
	case packedTrack2:
		e.enc, e.class = packedZ, classZ
	default:
		return false
	}
	return true
}

// compilePadding notes the padding of a fixed field. In a field of variable
// length, where it is rare, moov sees to it.
func (e *entry) compilePadding(s *field.Spec) bool {
	if s.Pad == nil || len(s.Pad.Inspect()) == 0 {
		return true
	}
	if e.length != fixedLength || len(s.Pad.Inspect()) != 1 {
		return false
	}
	e.pad = s.Pad.Inspect()[0]
	e.padLeft = s.Pad.Pad([]byte{e.pad + 1}, 2)[0] == e.pad
	digits := e.enc == packed || e.enc == packedL || e.enc == packedZ
	return e.pad < 0x80 && e.enc != hexDigits && (!digits || classN.holds([]byte{e.pad})) && e.class.holds([]byte{e.pad})
}
