// Package iso8583 reads and writes ISO 8583:1987 messages: dialects, framing,
// codec and masking.
//
// What it is for: turning bytes from a terminal into a [Message] and back,
// without allocating. What it is not for: what a message means and which
// fields it must have (gateway), or connections (gateway, pos/sim). Start
// reading with [Dialect.Decode]; docs/ISO8583.md is the specification that a
// terminal developer works from.
//
// # Dialects
//
// A [Dialect] says how each field is written: its encoding, length and padding.
// It is a message specification of github.com/moov-io/iso8583, compiled into a
// table. Fields that the table cannot express are read and written by moov
// itself, field by field. Fields with an inner structure (composites, TLV) are
// not taken apart: their value is the bytes inside.
//
// What a field holds (digits, letters, anything) is the standard's, the same in
// every dialect: ISO 8583:1987, section 4.3.
//
// # Where this package is stricter than moov
//
// moov is the judge: where both accept a message, both see the same values
// (a padded field is given here in its full length, by moov without padding).
// This package refuses these messages, which moov accepts:
//
//   - bytes after the last field;
//   - a character that the standard does not allow in the field: letters in an
//     amount, control characters in a name (moov looks at the encoding only);
//   - a length in ASCII that is not all digits ("+5", "-0");
//   - a length or value in packed decimal whose unused half byte is not zero
//     (or, for left-justified values, neither zero nor F);
//   - a value in packed decimal with a filler F within its digits, which moov
//     gives back as a zero byte;
//   - a third bitmap (fields 129 to 192), even an empty one.
package iso8583
